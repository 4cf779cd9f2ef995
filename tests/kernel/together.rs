//! Several pods of one file in front: shown together, and ended together.

use crate::host::{Host, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

/// A file with pods `one` and `two`, of a container each.
fn file(host: &Host, one: &Value, two: &Value) -> String {
    let document = |name: &str, container: &Value| {
        let pod = json!({ "name": name, "network": "none", "containers": { "c": container } });
        host.pod(&pod);
        pod.to_string()
    };
    let text = format!("{}\n---\n{}\n", document("one", one), document("two", two));
    host.file("both.yaml", text).to_str().unwrap().to_owned()
}

#[test]
fn ctrl_c_ends_all_of_them() {
    let Some(host) = Host::new() else { return };
    let talks =
        |word: &str| sh(&format!("trap 'echo bye; exit 0' TERM; echo {word}; sleep 1000 & wait"));
    let both = file(&host, &talks("hello"), &talks("world"));
    let mut up = host.start_podspec(["up", &both]);
    let mut out = BufReader::new(up.stdout.take().unwrap());
    let mut shown = String::new();
    // Both are shown, so the last is up.
    while !(shown.contains("hello\n") && shown.contains("world\n")) {
        assert_ne!(out.read_line(&mut shown).unwrap(), 0, "the end came early: {shown}");
    }
    let pid = Pid::from_raw(i32::try_from(up.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    out.read_to_string(&mut shown).unwrap();
    host.finish(up).success();
    for line in ["one/c | hello", "one/c | bye", "two/c | world", "two/c | bye"] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    host.assert_clean();
}

#[test]
fn the_death_of_the_client_ends_all_of_them() {
    let Some(host) = Host::new() else { return };
    let sleeps = sh("echo here; exec sleep 1000");
    let up = host.start_podspec(["up", &file(&host, &sleeps, &sleeps)]);
    host.wait_log("two", "here");
    kill(Pid::from_raw(i32::try_from(up.id()).unwrap()), Signal::SIGKILL).unwrap();
    host.finish(up);
    wait_for("both to be down", || host.podspec(["ps", "-q"]).success().is_empty());
    host.assert_clean();
}

#[test]
fn each_ends_by_itself_and_the_first_failure_is_the_exit_code() {
    let Some(host) = Host::new() else { return };
    let both = file(&host, &sh("echo one; exit 0"), &sh("echo two; exit 4"));
    let ended = host.podspec(["up", &both]);
    assert_eq!(ended.code, Some(4), "{ended}");
    assert!(
        ended.stdout.contains("one/c | one\n") && ended.stdout.contains("two/c | two\n"),
        "{ended}"
    );
    host.assert_clean();
}

#[test]
fn one_that_cannot_start_takes_the_others_down() {
    let Some(host) = Host::new() else { return };
    let wrong = json!({ "rootfs": "host", "command": ["/no/such/program"] });
    let error = host.podspec(["up", &file(&host, &sh("exec sleep 1000"), &wrong)]).fails(1);
    assert!(error.contains("cannot start pod `two`") && error.contains("one is down"), "{error}");
    host.assert_clean();
}
