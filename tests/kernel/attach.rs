//! `stdin` and `tty` of a container, and who attaches to it.

use crate::host::{Host, wait_for, wait_some};
use crate::terminal::Terminal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::process::Stdio;

fn pod(container: Value) -> Value {
    json!({ "name": "shop", "network": "none", "containers": { "c": container } })
}

/// A shell on a terminal, whose prompt is `% `.
fn shell() -> Value {
    let shell = json!({ "rootfs": "host", "tty": true, "stdin": true, "command": ["sh"] });
    let mut shell = shell;
    shell["env"] = json!({ "PS1": "% " });
    shell
}

fn is_alive(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_terminal_is_the_containers_own_and_ours_is_lent_to_it() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(shell()));
    let mut terminal = Terminal::start(&host, &["attach", "shop"]);
    wait_for("the terminal to be raw", || !terminal.is_restored());
    terminal.keys(b"tty; stty size; echo $((40 + 2))\r");
    terminal.wait_text("/dev/pts/0\r\n30 100\r\n42\r\n");
    // One more, who sees it too, and types as well.
    let mut other = Terminal::start(&host, &["attach", "shop/c"]);
    wait_for("the other terminal to be raw", || !other.is_restored());
    other.keys(b"echo second $((1 + 1))\r");
    other.wait_text("second 2\r\n");
    terminal.wait_text("second 2\r\n");
    terminal.resize(77, 22);
    wait_for("the size to arrive", || {
        terminal.keys(b"stty size\r");
        terminal.text().contains("22 77\r\n")
    });
    terminal.keys(b"\x10\x11");
    let left = terminal.end(&host).success();
    assert!(left.contains("detached from shop/c, which runs on"), "{left}");
    assert!(terminal.is_restored());

    // What ends podspec gives the terminal back, too.
    host.sh(&format!("kill -TERM {}", host.pid_of("attach shop/c"))).success();
    other.end(&host).success();
    assert!(other.is_restored());

    let mut third = Terminal::start(&host, &["attach", "--detach-keys", "x,y", "shop"]);
    wait_for("the third terminal to be raw", || !third.is_restored());
    third.keys(b"exit 7\r");
    assert_eq!(third.end(&host).code, Some(7), "the container's code");
    assert!(third.is_restored());
    assert_eq!(host.wait_status("shop", "c", "failed")["exitCode"], 7);
    let log = host.logs("shop/c");
    assert!(log.contains("42") && log.contains("second 2"), "{log}");
    assert!(host.podspec(["attach", "shop"]).fails(1).contains("shop/c is not running"));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn a_terminal_outlives_the_supervisor_and_each_run_has_its_own() {
    let Some(host) = Host::new() else { return };
    let mut container = shell();
    container["command"] = json!(["sh", "-c", "tty; read x; echo \"read $x\"; exit 3"]);
    container["restart"] = json!("always");
    host.up(&pod(container));
    let first = host.wait_status("shop", "c", "running")["pid"].clone();
    let mut terminal = Terminal::start(&host, &["attach", "shop"]);
    wait_for("the terminal to be raw", || !terminal.is_restored());
    terminal.keys(b"again\r");
    assert_eq!(terminal.end(&host).code, Some(3));
    let second = wait_some("another run", || {
        let container = host.container("shop", "c");
        (container["status"] == "running" && container["pid"] != first)
            .then(|| container["pid"].clone())
    });
    let keepers = || {
        host.processes()
            .into_iter()
            .filter(|(_, what)| what.starts_with("podspec-terminal"))
            .count()
    };
    // One that has just been made is called as its parent until its exec. The first run's went with that.
    wait_for("one keeper of the terminal", || keepers() == 1);
    host.wait_log("shop", "read again");

    let supervisor = host.inspect("shop")["supervisor"]["pid"].clone();
    host.kill(&supervisor, "KILL");
    wait_for("the supervisor to be gone", || !is_alive(&supervisor));
    // A hangup would have come with its last descriptor.
    assert!(is_alive(&second), "the container was hung up");
    assert_eq!(keepers(), 1);
    assert!(host.podspec(["attach", "shop"]).fails(1).contains("its supervisor is gone"));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn stdin_stays_open_whoever_comes_and_goes() {
    let Some(host) = Host::new() else { return };
    let script = "while read x; do echo \"got $x\"; echo \"err $x\" >&2; done; echo END";
    let container = json!({ "rootfs": "host", "stdin": true, "user": "33:33",
        "command": ["sh", "-c", script] });
    host.up(&pod(container));
    for word in ["one", "two"] {
        let mut command = host.command(["attach", "shop"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut attached = host.spawn(&mut command);
        writeln!(attached.stdin.take().unwrap(), "{word}").unwrap();
        // Our end is not the container's: attach goes on, and shows what comes.
        let mut answer = vec![0; "got one\n".len()];
        attached.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("got {word}\n"));
        let mut answer = vec![0; "err one\n".len()];
        attached.stderr.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("err {word}\n"), "by its stream");
        attached.kill().unwrap();
        host.finish(attached);
    }
    assert_eq!(host.container("shop", "c")["status"], "running");
    assert!(!host.logs("shop").contains("END"));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn signals_go_to_the_container_without_a_terminal() {
    let Some(host) = Host::new() else { return };
    let script = "$| = 1; $SIG{INT} = sub { print qq(interrupted\\n); exit 5 }; \
                  while (1) { print qq(tick\\n); select undef, undef, undef, 0.05 }";
    host.up(&pod(json!({ "rootfs": "host", "command": ["perl", "-e", script] })));
    let mut terminal = Terminal::start(&host, &["attach", "--sig-proxy=false", "shop"]);
    terminal.wait_text("tick");
    terminal.keys(b"\x03");
    assert_eq!(terminal.end(&host).code, None, "Ctrl-C ends podspec");
    assert_eq!(host.container("shop", "c")["status"], "running");

    let mut terminal = Terminal::start(&host, &["attach", "shop"]);
    terminal.wait_text("tick");
    terminal.keys(b"\x03");
    terminal.wait_text("interrupted");
    assert_eq!(terminal.end(&host).code, Some(5));
    host.down("shop");
    host.assert_clean();
}

/// A client that does not read costs neither the container nor the log anything.
#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    let Some(host) = Host::new() else { return };
    let script =
        "$| = 1; <STDIN>; for (1..20000) { print 'x' x 999, qq(\\n) } print qq(done\\n); sleep";
    host.up(&pod(json!({ "rootfs": "host", "stdin": true, "command": ["perl", "-e", script] })));
    let mut command = host.command(["attach", "shop"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut attached = host.spawn(&mut command);
    attached.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let log = wait_some("20 MB to be logged", || {
        Some(host.podspec(["logs", "--tail", "1", "shop"]).stdout).filter(|log| log == "done\n")
    });
    assert_eq!(log, "done\n");
    assert_eq!(host.container("shop", "c")["status"], "running");
    attached.kill().unwrap();
    host.finish(attached);
    host.down("shop");
    host.assert_clean();
}

/// CVE-2025-64329: who attaches and is killed leaves nothing with the supervisor, nor with the container.
#[test]
fn who_attaches_and_leaves_costs_the_supervisor_nothing() {
    let Some(host) = Host::new() else { return };
    let command = json!(["sh", "-c", "while :; do echo tick; sleep 0.01; done"]);
    host.up(&json!({ "name": "p", "containers": { "c": { "rootfs": "host", "stdin": true, "command": command } } }));
    let supervisor = host.inspect("p")["supervisor"]["pid"].clone();
    let held =
        || host.sh(&format!("ls -l /proc/{supervisor}/fd /proc/{supervisor}/task")).success();
    let attach = || {
        let mut child = host.start_podspec(["attach", "p/c"]);
        let mut line = [0; 4];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    };
    assert_eq!(&attach(), b"tick");
    let before = held();
    for _ in 0..60 {
        attach();
    }
    // What tells it of the firewall may have been opened meanwhile.
    let most = before.lines().count() + 1;
    wait_for(&format!("the supervisor to hold what it held:\n{before}"), || {
        held().lines().count() <= most
    });
    host.down("p");
    host.assert_clean();
}
