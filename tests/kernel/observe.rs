//! What processes do and use, as `top` and `stats` tell it from outside; and that nothing a container says
//! of itself is obeyed by a terminal.

use crate::host::{Host, wait_for, wait_some};
use crate::terminal::Terminal;
use serde_json::{Value, json};
use std::fs;

/// OSC 52 (the clipboard), CSI, DEL, a C1 CSI, text turned round: whatever a terminal might obey.
const HOSTILE: &str = "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\u{7f}\u{9b}31m\u{202e}evil\u{2066}";

fn perl(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["perl", "-e", script] })
}

/// Text as a literal of perl: a pod file takes no control characters.
fn literal(text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{escaped}\"")
}

#[track_caller]
fn assert_harmless(text: &str) {
    let obeyed = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(obeyed), "a terminal would obey {text:?}");
}

fn json_of(host: &Host, args: &[&str]) -> Value {
    serde_json::from_str(&host.podspec(args).success()).unwrap()
}

#[test]
fn top_shows_the_processes_of_the_host_and_obeys_none() {
    let Some(host) = Host::new() else { return };
    let script = format!(
        "$| = 1; $0 = {}; if (!fork) {{ exec 'sleep', '1000' }} print qq(ready\\n); sleep",
        literal(HOSTILE)
    );
    let mut web = perl(&script);
    web["user"] = json!("33:33");
    let containers = json!({ "web": web, "db": perl("sleep") });
    host.up(&json!({ "name": "shop", "network": "none", "containers": containers }));
    host.wait_log("shop/web", "ready");
    wait_for("the second program", || {
        host.podspec(["top", "shop"]).success().contains("sleep 1000")
    });
    let table = host.podspec(["top", "shop"]).success();
    assert_harmless(&table);
    assert_eq!(table.lines().count(), 1 + 4, "infra, db, and two of web:\n{table}");
    assert!(table.contains("evil"), "{table}");

    let rows = json_of(&host, &["top", "shop/web", "--format", "json"]);
    let pid = host.container("shop", "web")["pid"].clone();
    let [first, second] = rows.as_array().unwrap().as_slice() else { panic!("{rows:#}") };
    assert_eq!((&first["pid"], &first["pidInside"]), (&pid, &json!(1)));
    assert_eq!((&first["uid"], &first["container"]), (&json!(33), &json!("web")));
    assert_eq!(first["command"], json!([HOSTILE]), "JSON has it as it is");
    assert_eq!(second["parent"], pid);
    assert_eq!(second["command"], json!(["sleep", "1000"]));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(first["rssBytes"], json!(kib * 1024));
    assert_harmless(&host.podspec(["top", "shop", "--format", "json"]).success());
    host.down("shop");
    assert!(host.podspec(["top", "shop"]).fails(1).contains("no pod `shop`"));
    host.assert_clean();
}

#[test]
fn stats_measure_each_container_and_the_network_of_the_pod() {
    let Some(host) = Host::new() else { return };
    let hungry = "my $x = 'x' x (32 << 20); print \"ready\\n\"; $| = 1; print ''; sleep";
    let containers = json!({
        "busy": perl("while (1) {}"),
        "hungry": perl(&format!("$| = 1; {hungry}")),
    });
    host.up(&json!({ "name": "shop", "containers": containers }));
    host.wait_log("shop/hungry", "ready");
    // Not connected: nobody listens there, and a connected socket would hear of that.
    let send = "use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); \
                send(S, 'x' x 1000, 0, pack_sockaddr_in(9, inet_aton($ARGV[0]))) for 1..20";
    let gateway = host.inspect("shop")["network"]["gateway"].as_str().unwrap().to_owned();
    host.podspec(["exec", "shop/busy", "--", "perl", "-e", send, &gateway]).success();

    let sample = json_of(&host, &["stats", "shop", "--format", "json"]);
    let pod = &sample["pods"][0];
    let container = |name: &str| {
        let all = pod["containers"].as_array().unwrap();
        all.iter().find(|c| c["name"] == name).unwrap().clone()
    };
    let cpu = |of: &Value| of["cpu"]["percent"].as_f64().unwrap();
    let (busy, hungry) = (container("busy"), container("hungry"));
    assert!(cpu(&busy) > 0.0 && cpu(&busy) > cpu(&hungry), "{sample:#}");
    assert!(cpu(pod) >= cpu(&busy));
    let memory = |of: &Value| of["memory"]["used"].as_u64().unwrap();
    assert!(memory(&hungry) >= 32 << 20 && memory(&busy) < 32 << 20, "{sample:#}");
    assert!(memory(pod) >= memory(&hungry) + memory(&busy));
    assert_eq!(pod["tasks"]["used"], 3, "two and infra");
    assert_eq!(busy["network"], Value::Null, "it is the pod's");
    assert_eq!(pod["network"]["source"], "veth");
    let sent = pod["network"]["sent"].as_u64().unwrap();
    assert!((20_000..100_000).contains(&sent), "{sent} bytes for 20 datagrams of 1000");

    let one = json_of(&host, &["stats", "shop/busy", "--format", "json"]);
    assert!(one["pods"][0].get("cpu").is_none(), "the pod was not asked for: {one:#}");
    assert_eq!(one["pods"][0]["containers"].as_array().unwrap().len(), 1);
    let table = host.podspec(["stats"]).success();
    assert_eq!(table.lines().count(), 4, "one sample where there is no terminal:\n{table}");
    assert!(host.podspec(["stats", "nope"]).fails(1).contains("no pod `nope`"));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn live_stats_are_drawn_in_place_and_ctrl_c_ends_them() {
    let Some(host) = Host::new() else { return };
    // It is drawn only where something has changed.
    let growing = "while (1) { push @x, 'x' x 200000; select undef, undef, undef, 0.05 }";
    host.up(&json!({ "name": "shop", "network": "none", "containers": { "web": perl(growing) } }));
    let mut terminal = Terminal::start(&host, &["stats"]);
    terminal.wait_text("shop  web");
    terminal.wait_text("PRESSURE");
    wait_for("a second drawing over the first", || terminal.text().contains("\u{1b}[3A\u{1b}[J"));
    terminal.resize(45, 30);
    let narrow = |text: String| text.rsplit("\u{1b}[J").next().unwrap().to_owned();
    wait_some("lines of 45 columns", || {
        let last = narrow(terminal.text());
        (last.contains("shop  web") && !last.contains("PRESSURE")).then_some(())
    });
    terminal.keys(b"\x03");
    terminal.end(&host).success();
    assert!(terminal.is_restored());

    // Where it is no terminal, Ctrl-C is SIGINT, and each sample a line.
    let mut watch = host.start_podspec(["stats", "--watch", "--format", "json", "shop"]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let samples: Vec<Value> =
        lines.by_ref().take(2).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_ne!(samples[0]["time"], samples[1]["time"]);
    // The pod ends, and with it what there is to watch.
    host.down("shop");
    assert_eq!(host.finish(watch).code, Some(0));
    host.assert_clean();
}

/// Two containers that write hostile text by turns, one of them with a terminal.
fn hostile_pod(host: &Host, name: &str) {
    let script = format!(
        "$| = 1; $0 = {0}; print {0}, qq(\\n); print STDERR qq(error\\n); sleep",
        literal(HOSTILE)
    );
    let mut tty = perl(&script);
    tty["tty"] = json!(true);
    let containers = json!({ "web": perl(&script), "tty": tty });
    host.up(&json!({ "name": name, "network": "none", "containers": containers }));
    for container in ["web", "tty"] {
        host.wait_log(&format!("{name}/{container}"), "error");
    }
}

#[test]
fn logs_of_several_pods_are_one_by_time_and_json_says_whose() {
    let Some(host) = Host::new() else { return };
    for name in ["one", "three"] {
        hostile_pod(&host, name);
    }
    let text = host.podspec(["logs", "one", "three"]).success();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8);
    assert!(lines[..4].iter().all(|line| line.starts_with("one/")), "by time:\n{text}");
    assert!(lines[0].starts_with("one/web   | ") || lines[0].starts_with("one/tty   | "), "{text}");
    assert!(text.contains(HOSTILE), "a pipe gets the bytes as they are");

    let json = host.podspec(["logs", "--format", "json", "one/web", "three/tty"]).success();
    assert_harmless(&json);
    let records: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let hostile = records.iter().filter(|record| record["text"] == HOSTILE).count();
    assert_eq!((records.len(), hostile), (4, 1), "the terminal's end with CR: {records:#?}");
    let error = records.iter().find(|r| r["stream"] == "stderr").unwrap();
    assert_eq!(
        (&error["pod"], &error["container"], &error["text"]),
        (&json!("one"), &json!("web"), &json!("error"))
    );
    let times: Vec<&str> = records.iter().map(|r| r["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    // A pod and one of its containers is the pod.
    assert_eq!(host.podspec(["logs", "one/web", "one"]).success().lines().count(), 4);
    assert!(host.podspec(["logs", "--raw", "--format", "json", "one"]).code == Some(2));

    let mut follow = host.start_podspec(["logs", "-f", "--format", "json", "one", "three"]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    assert_eq!(lines.by_ref().take(8).count(), 8);
    host.down("one");
    host.down("three");
    assert_eq!(host.finish(follow).code, Some(0));
    host.assert_clean();
}

/// Text from a container, by every command that prints some, on a terminal.
#[test]
fn no_command_lets_a_container_drive_the_terminal() {
    let Some(host) = Host::new() else { return };
    hostile_pod(&host, "shop");
    let shown = |args: &[&str]| {
        let mut terminal = Terminal::start(&host, args);
        terminal.end(&host).stdout
    };
    // What a terminal turns LF into, and the colours that are ours.
    let plain = |text: String| {
        let text = text.replace("\r\n", "\n");
        let ours =
            ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[36m"];
        ours.iter().fold(text, |text, code| text.replace(code, ""))
    };
    for args in [
        &["logs", "shop"][..],
        &["logs", "-t", "shop/web"],
        &["logs", "shop/tty"],
        &["logs", "--format", "json", "shop"],
        &["top", "--once", "shop"],
        &["top", "--format", "json", "shop"],
        &["ps"],
        &["inspect", "shop"],
        &["stats", "--no-stream", "shop"],
        &["exec", "shop/web", "--", "\u{1b}]0;x\u{7}"],
        &["cp", "shop/web:/\u{1b}]0;x\u{7}", "x"],
    ] {
        let text = plain(shown(args));
        assert!(!text.trim().is_empty(), "{args:?} says nothing");
        assert_harmless(&text);
    }
    assert!(shown(&["logs", "--raw", "shop/web"]).contains(HOSTILE), "unless it is asked for");
    host.down("shop");

    // A start that fails shows the last output.
    let script = format!("print {}, qq(\\n); exit 1", literal(HOSTILE));
    let mut pod =
        json!({ "name": "shop", "network": "none", "containers": { "web": perl(&script) } });
    let file = host.pod(&pod);
    let front = plain(shown(&["up", &file]));
    // The view of the start is drawn in place.
    let mut drawn = front.clone();
    for code in ["\r", "\u{1b}[1A", "\u{1b}[J", "\u{1b}[2A"] {
        drawn = drawn.replace(code, "");
    }
    assert!(drawn.contains("evil"), "{front:?}");
    assert_harmless(&drawn);
    pod["containers"]["web"]["command"] = json!(["/no/such/program"]);
    let file = host.pod(&pod);
    assert!(shown(&["up", "-d", &file]).contains("/no/such/program"));
    host.assert_clean();
}

/// Who follows, and whose reader goes away, ends at once and has nothing to say of it.
#[test]
fn who_follows_ends_quietly_with_its_reader() {
    let Some(host) = Host::new() else { return };
    // It speaks once: no second line shows that nobody reads any more.
    let script =
        "$| = 1; print qq(once\\n); $SIG{USR1} = sub { print qq(again\\n) }; sleep 999 while 1";
    host.up(&json!({ "name": "p", "network": "none", "containers": { "c": perl(script) } }));
    host.wait_log("p/c", "once");
    let followers: [&[&str]; 4] = [
        &["logs", "-f", "p"],
        &["events", "-f", "p"],
        &["stats", "--watch", "--format", "json", "p"],
        &["attach", "--no-stdin", "p/c"],
    ];
    for args in followers {
        let mut child = host.start_podspec(args);
        if args[0] == "attach" {
            // It is there when what is written comes.
            let (mut out, (said, hears)) =
                (child.stdout.take().unwrap(), std::sync::mpsc::channel());
            std::thread::spawn(move || {
                let heard = std::io::Read::read_exact(&mut out, &mut [0; 5]);
                let _ = said.send(heard.map(|()| out));
            });
            let out = wait_some("it to be attached", || {
                host.podspec(["kill", "-s", "USR1", "p/c"]).success();
                hears.try_recv().ok()
            });
            child.stdout = Some(out.unwrap());
        } else {
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 4]).unwrap();
        }
        drop(child.stdout.take());
        let ended = host.finish_named(child, args[0]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    host.down("p");
    host.assert_clean();
}
