//! Every kind of probe with every outcome, as the table of docs/probes.md has them, and that a probe leads nowhere
//! outside of its container.

use crate::host::{Host, wait_for};
use crate::probes::{noted, pod, sh, with};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;

const PAGE: &str = include_str!("../../docs/probes.md");
const OK: &str = r#""HTTP/1.1 200 OK\r\n\r\n""#;
const FLAPS: &str = "ready and not ready in turn";

fn perl(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["perl", "-MIO::Socket::INET", "-e", script] })
}

/// Answers each request with this, in the order of the list, the last one for ever.
fn server(answers: &str) -> Value {
    perl(&format!(
        r#"my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 80, Listen => 9, ReuseAddr => 1) or die;
           my @a = ({answers}); $SIG{{PIPE}} = "IGNORE";
           while (1) {{ my $c = $s->accept or next; my $n = sysread($c, my $q, 4096) or next; my $a = @a > 1 ? shift @a : $a[0];
           ref $a ? $a->($c) : print $c $a; close $c }}"#
    ))
}

/// Speaks sd_notify by `$s`.
fn says(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["perl", "-MIO::Socket::UNIX", "-e", format!(
        "my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{{NOTIFY_SOCKET}}) or die; {script}"
    )] })
}

/// Says this by sd_notify, then waits.
fn notifying(text: &str) -> Value {
    says(&format!(r#"print $s "{text}"; $s->flush; sleep 999"#))
}

const TLS: &str = "openssl s_server -quiet -4 -accept 80 -key /tmp/key -cert /tmp/cert";

/// With a certificate that nobody knows.
fn tls(script: &str) -> Value {
    sh(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=nobody \
         -keyout /tmp/key -out /tmp/cert 2>/dev/null; {script}"
    ))
}

/// Answers every request with 200.
fn tls_server(more: &str) -> Value {
    tls(&format!("exec {TLS} -www {more}"))
}

/// Does this and undoes it, for ever.
fn in_turn(make: &str, undo: &str) -> Value {
    sh(&format!("while :; do {make}; sleep 0.1; {undo}; sleep 0.1; done"))
}

/// A row of the table: kind, what happens, the container, its probe.
type Row = (&'static str, &'static str, Value, Value);

fn sleeps() -> Value {
    sh("exec sleep 999")
}

/// This often, and one failure is enough: to see it flap.
fn nervous(probe: &Value) -> Value {
    with(probe.clone(), &json!({ "interval": "20ms", "failureThreshold": 1 }))
}

fn http(more: &Value) -> Value {
    json!({ "http": with(json!({ "port": 80 }), more), "timeout": "300ms" })
}

fn https(more: &Value) -> Value {
    // What a handshake takes on a machine that has much to do is not what is tried here.
    let timeout = if *more == json!({ "path": "/silent" }) { "300ms" } else { "20s" };
    with(http(&with(json!({ "scheme": "https" }), more)), &json!({ "timeout": timeout }))
}

fn tcp_rows() -> Vec<Row> {
    let listen = r#"my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 80, Listen => 1, ReuseAddr => 1) or die;"#;
    // Nobody accepts: when the queue is full the kernel answers nobody.
    let full = format!(
        r#"{listen} my @c = map {{ IO::Socket::INET->new(PeerAddr => "127.0.0.1:80", Blocking => 0) }} 1 .. 4; sleep 999"#
    );
    let late = format!("select undef, undef, undef, 0.3; {listen} sleep 999");
    let flaps = format!(
        "while (1) {{ {listen} select undef, undef, undef, 0.1; close $s; select undef, undef, undef, 0.1 }}"
    );
    vec![
        ("tcp", "somebody listens", server(OK), json!({ "tcp": 80 })),
        ("tcp", "somebody listens after a while", perl(&late), json!({ "tcp": 80 })),
        ("tcp", "nobody listens", sleeps(), json!({ "tcp": 80 })),
        // Asked again soon: the first time may come before the queue is full.
        (
            "tcp",
            "its queue is full",
            perl(&full),
            nervous(&json!({ "tcp": 80, "timeout": "200ms" })),
        ),
        (
            "tcp",
            "it listens, and does not, in turn",
            perl(&flaps),
            nervous(&json!({ "tcp": 80, "timeout": "200ms" })),
        ),
    ]
}

fn http_rows() -> Vec<Row> {
    let row = |what, answers: &str, more| ("http", what, server(answers), http(&more));
    let late = format!(r#""HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n", {OK}"#);
    let redirects = r#""HTTP/1.1 302 Go\r\nLocation: http://192.0.2.1/\r\n\r\n""#;
    let drips = r#"sub { my $c = shift; $c->autoflush; for (1 .. 999) { print $c "H"; sleep 1 } }"#;
    let endless = r#"sub { my $c = shift; print $c "HTTP/1.1 100 x\r\n"; print $c "x" x 65536 for 1 .. 999 }"#;
    let flaps =
        r#"sub { my $c = shift; print $c "HTTP/1.1 ", $n++ % 2 ? 500 : 200, " x\r\n\r\n" }"#;
    vec![
        row("it answers 200", OK, json!({ "path": "/a" })),
        ("http", "nobody listens", sleeps(), http(&json!({}))),
        row("it answers 503, and later 200", &late, json!({})),
        row("it answers 500", r#""HTTP/1.1 500 No\r\n\r\n""#, json!({})),
        row("it answers 200, not the `status` of the probe", OK, json!({ "status": 204 })),
        row("it redirects to somewhere else", redirects, json!({})),
        row("it answers nothing", "sub { sleep 999 }", json!({})),
        row("it answers a letter a second", drips, json!({})),
        row("it answers something else", r#""SSH-2.0\r\n""#, json!({})),
        row("it closes without a word", r#""""#, json!({})),
        row("its answer has no end", endless, json!({})),
        // OpenSSL says nothing to such a greeting; others send this alert.
        row("it speaks TLS", r#""\x15\x03\x03\x00\x02\x02\x46""#, json!({})),
        ("http", "it answers well and badly in turn", server(flaps), nervous(&http(&json!({})))),
    ]
}

fn https_rows() -> Vec<Row> {
    vec![
        (
            "https",
            "it answers 200, with a certificate that nobody knows",
            tls_server(""),
            https(&json!({})),
        ),
        ("https", "it speaks TLS 1.2 and no other", tls_server("-tls1_2"), https(&json!({}))),
        ("https", "nobody listens", sleeps(), https(&json!({}))),
        (
            "https",
            "it answers 200, not the `status` of the probe",
            tls_server(""),
            https(&json!({ "status": 204 })),
        ),
        ("https", "it speaks no TLS", server(OK), https(&json!({}))),
        (
            "https",
            "it answers nothing",
            server("sub { sleep 999 }"),
            https(&json!({ "path": "/silent" })),
        ),
        (
            "https",
            "it answers a letter a second",
            // What it reads goes to whoever is connected.
            tls(&format!("while :; do printf H; sleep 1; done | {TLS}")),
            with(https(&json!({})), &json!({ "timeout": "1s" })),
        ),
        (
            "https",
            "it answers, and does not, in turn",
            tls(&format!("while :; do timeout 0.5 {TLS} -www; sleep 0.1; done")),
            nervous(&https(&json!({}))),
        ),
    ]
}

fn exec_rows() -> Vec<Row> {
    let row = |what, argv: &[&str]| ("exec", what, sleeps(), json!({ "exec": argv }));
    let slow =
        |what, argv: &[&str]| ("exec", what, sleeps(), json!({ "exec": argv, "timeout": "200ms" }));
    vec![
        row("it ends with 0", &["true"]),
        row("it ends with another code", &["sh", "-c", "echo one; echo two; exit 7"]),
        row("there is no such program", &["/no/such"]),
        row("a signal ends it", &["sh", "-c", "kill -9 $$$$"]),
        slow("it takes too long", &["sleep", "998"]),
        slow("its output has no end", &["cat", "/dev/zero"]),
        row("it ends with 0 and leaves a child", &["sh", "-c", "setsid sleep 997 & exit 0"]),
        slow("it forks and hangs", &["sh", "-c", "setsid sleep 996 & sleep 996"]),
        (
            "exec",
            "it ends well and badly in turn",
            in_turn("touch /tmp/x", "rm /tmp/x"),
            nervous(&json!({ "exec": ["test", "-e", "/tmp/x"] })),
        ),
    ]
}

fn event_rows() -> Vec<Row> {
    let log = |script, pattern| (sh(script), json!({ "log": pattern, "interval": "100ms" }));
    let (matches, matching) =
        log("echo almost; printf 'ready '; sleep 0.1; echo 12; exec sleep 999", r"^ready \d+$");
    let (silent, never) = log("echo almost; exec sleep 999", "ready");
    let (long, after) =
        log("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo ready; exec sleep 999", "^ready$");
    let file = |what, script, path| ("file", what, sh(script), json!({ "file": path }));
    let notify = |what, text| ("notify", what, notifying(text), json!({ "notify": true }));
    let reloads = says(
        r#"while (1) { for my $t ("READY=1", "RELOADING=1") { print $s $t; $s->flush; select undef, undef, undef, 0.1 } }"#,
    );
    vec![
        ("log", "a line matches", matches, matching),
        ("log", "no line matches", silent, never),
        ("log", "a line without end, then one that matches", long, after),
        file(
            "it comes, and its directories before it",
            "sleep 0.1; mkdir -p /tmp/a/b; sleep 0.1; touch /tmp/a/b/c; exec sleep 999",
            "/tmp/a/b/c",
        ),
        file("it is not there", "exec sleep 999", "/tmp/a"),
        file(
            "a link leads out of the container",
            "ln -s ../../../../../../proc/1/cwd /tmp/x; exec sleep 999",
            "/tmp/x/nothing",
        ),
        (
            "file",
            "it comes and goes",
            in_turn("touch /tmp/x", "rm /tmp/x"),
            nervous(&json!({ "file": "/tmp/x" })),
        ),
        notify("READY=1", "READY=1"),
        (
            "notify",
            "READY=1 after a while",
            says("select undef, undef, undef, 0.3; print $s q(READY=1); $s->flush; sleep 999"),
            json!({ "notify": true }),
        ),
        notify("something else", "STATUS=warming up"),
        (
            "notify",
            "something else, without end",
            says(
                "while (1) { print $s q(STATUS=so); $s->flush; select undef, undef, undef, 0.001 }",
            ),
            json!({ "notify": true }),
        ),
        notify("READY=1, then STOPPING=1", "READY=1\\nSTOPPING=1"),
        ("notify", "READY=1 and RELOADING=1 in turn", reloads, json!({ "notify": true })),
    ]
}

/// What the table of the page says of each row.
fn said() -> Vec<(String, String, String)> {
    let table = PAGE.split_once("| kind | what happens | said |").unwrap().1;
    let cell = |cell: &str| cell.trim().trim_matches(['`', ' ']).to_owned();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            // The words of a row may have backquotes within.
            let cells: Vec<&str> = line.split('|').collect();
            (cell(cells[1]), cells[2].trim().to_owned(), cell(cells[3]))
        })
        .collect()
}

/// A container's name, of a row.
fn named((kind, what, ..): &Row) -> String {
    let letters = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("{kind}-{what}").chars().map(letters).take(60).collect();
    name.trim_end_matches('-').to_owned()
}

/// Whether it has come to what is said of it.
fn has_come(host: &Host, name: &str, said: &str) -> bool {
    let container = host.container("p", name);
    assert_eq!(container["status"], "running", "{name}: {container}");
    let reason = container["reason"].as_str().unwrap_or_default();
    match said {
        "ready" => container["ready"] == true && reason.is_empty(),
        FLAPS => {
            let events = host.podspec(["events", "--format", "json", "p"]).success();
            let count = |event: &str| {
                let of_it = |line: &&str| {
                    let entry: Value = serde_json::from_str(line).unwrap();
                    entry["container"] == name && entry["event"] == event
                };
                events.lines().filter(of_it).count()
            };
            count("ready") > 2 && count("unready") > 1
        }
        words => container["ready"] == false && reason.contains(words),
    }
}

#[test]
fn every_kind_of_probe_by_every_outcome() {
    let Some(host) = Host::new() else { return };
    let table: Vec<Row> =
        [tcp_rows(), http_rows(), https_rows(), exec_rows(), event_rows()].concat();
    let said = said();
    let of_page: BTreeSet<_> = said.iter().map(|(kind, what, _)| (&kind[..], &what[..])).collect();
    let of_test: BTreeSet<_> = table.iter().map(|(kind, what, ..)| (*kind, *what)).collect();
    assert_eq!(of_page, of_test, "the table of docs/probes.md");
    let container = |row: &Row| {
        // Each has the ports to itself.
        let more = json!({ "readinessProbe": row.3, "namespaces": { "net": "private" } });
        (named(row), with(row.2.clone(), &more))
    };
    let containers: serde_json::Map<String, Value> = table.iter().map(container).collect();
    assert_eq!(containers.len(), table.len(), "two of one name");
    host.up(&pod(&Value::Object(containers)));
    for row in &table {
        let (kind, what, words) =
            said.iter().find(|(kind, what, _)| (&kind[..], &what[..]) == (row.0, row.1)).unwrap();
        let name = named(row);
        wait_for(&format!("{kind}, {what}: {words}"), || has_come(&host, &name, words));
    }
    wait_for("what a check has left behind to be gone", || host.pids_of("sleep 997").is_empty());
    wait_for("one check at a time, and its children with it", || {
        host.pids_of("sleep 996").len() <= 2
    });
    assert!(host.container("p", "notify-something-else")["statusText"] == "warming up");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

/// Of each kind one that fails, and what its failure is called.
const FAILING: [(&str, &str, &str); 6] = [
    ("exec", r#"{ "exec": ["false"] }"#, "exec false: exit code 1"),
    ("http", r#"{ "http": { "port": 80 } }"#, "http 80 /: refused"),
    ("tcp", r#"{ "tcp": 80 }"#, "tcp 80: refused"),
    ("log", r#"{ "log": "ready" }"#, "log ready: no line matches"),
    ("file", r#"{ "file": "/tmp/a" }"#, "file /tmp/a: "),
    ("notify", r#"{ "notify": true }"#, "notify: no "),
];

#[test]
fn a_failed_probe_of_any_kind_restarts_exactly_as_often_as_the_policy_says() {
    let Some(host) = Host::new() else { return };
    let times = json!({ "interval": "40ms", "timeout": "5s", "failureThreshold": 2 });
    let restart =
        json!({ "policy": "on-failure:2", "backoff": { "initial": "1ms", "max": "5ms" } });
    let mut containers = serde_json::Map::new();
    for (kind, probe, _) in FAILING {
        for task in ["startup", "liveness"] {
            let probe = with(serde_json::from_str(probe).unwrap(), &times);
            let name = format!("{task}-{kind}");
            let script = format!("echo {name} >> /v/notes; exec sleep 999");
            let more =
                json!({ format!("{task}Probe"): probe, "restart": restart, "stopTimeout": "0s" });
            containers.insert(name, with(sh(&script), &more));
        }
    }
    host.up(&pod(&Value::Object(containers)));
    for (kind, _, words) in FAILING {
        for task in ["startup", "liveness"] {
            let name = format!("{task}-{kind}");
            let failed = host.wait_status("p", &name, "failed");
            assert_eq!(failed["restarts"], 2, "{failed}");
            let reason = failed["reason"].as_str().unwrap();
            let expected = format!("its {task} probe failed: {words}");
            assert!(reason.starts_with(&expected), "{reason}, not {expected}");
            let begun = noted(&host, "notes").lines().filter(|line| *line == name).count();
            assert_eq!(begun, 3, "{name} has begun so often");
        }
    }
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn a_probe_leads_nowhere_outside_of_its_container() {
    let Some(host) = Host::new() else { return };
    // What listens on the machine, where a pod can and where it cannot reach it.
    let machine = TcpListener::bind("0.0.0.0:8099").unwrap();
    machine.set_nonblocking(true).unwrap();
    let to_machine = "http://10.89.0.1:8099/";
    let redirects = format!(
        r#""HTTP/1.1 302 Go\r\nLocation: {to_machine}\r\nRefresh: 0; url={to_machine}\r\n\r\n""#
    );
    // A whole URL as the path, and a server that would be asked as a proxy.
    let path = format!("/{to_machine}");
    let hook = json!({ "http": { "port": 8099, "headers": { "Host": "10.89.0.1:8099" } } });
    let headers = json!({ "Host": "10.89.0.1:8099", "Forwarded": "host=10.89.0.1:8099" });
    let private = json!({ "namespaces": { "net": "private" } });
    let one = |container: Value, probe: Value| {
        with(with(container, &json!({ "readinessProbe": probe })), &private)
    };
    let mut p = pod(&json!({
        "tcp": one(sleeps(), json!({ "tcp": 8099 })),
        "http": one(sleeps(), json!({ "http": { "port": 8099, "headers": headers } })),
        "redirect": one(server(&redirects), json!({ "http": { "port": 80 } })),
        "url": one(server(OK), json!({ "http": { "port": 80, "path": path } })),
        "hook": with(with(sleeps(), &json!({ "lifecycle": { "postStart": hook } })), &private),
    }));
    p.as_object_mut().unwrap().remove("network");
    host.up(&p);
    for (name, words) in [("tcp", "tcp 8099: refused"), ("http", "http 8099 /: refused")] {
        wait_for(words, || has_come(&host, name, words));
    }
    for name in ["redirect", "url"] {
        wait_for(name, || has_come(&host, name, "ready"));
    }
    let failed = host.wait_status("p", "hook", "failed");
    assert_eq!(failed["reason"], "its postStart hook failed: http 8099 /: refused", "{failed}");
    let heard = machine.accept().map(|(_, peer)| peer);
    assert_eq!(heard.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    // It was there all the time, for whoever is of this machine or goes there by himself.
    std::net::TcpStream::connect("127.0.0.1:8099").unwrap();
    machine.accept().unwrap();
    host.sh("ip netns exec p.url perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"10.89.0.1:8099\") or die'")
        .success();
    machine.accept().unwrap();
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}
