//! `init: true`: what the first process does for its program.

use crate::host::{Host, wait_for};
use serde_json::{Value, json};

fn pod(name: &str, command: &str, more: &Value) -> Value {
    let mut container = json!({ "rootfs": "host", "init": true, "command": ["sh", "-c", command] });
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    json!({ "name": name, "containers": { "a": container } })
}

fn states(host: &Host, target: &str) -> String {
    let script = "for p in /proc/[0-9]*; do read -r line < $p/stat && echo \"$line\"; done; true";
    host.podspec(["exec", target, "--", "sh", "-c", script]).success()
}

#[test]
fn orphans_are_buried_and_signals_arrive_once() {
    let Some(host) = Host::new() else { return };
    let command = "(sleep 0.2 & :); trap 'echo asked; exit 7' TERM; trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done";
    host.up(&pod("reaped", command, &json!({})));
    host.wait_log("reaped/a", "up");
    assert!(states(&host, "reaped").contains("1 (podspec-init)"));
    // The orphan is dead, and nobody is left that waits for its burial.
    wait_for("the end of the orphan", || {
        let seen = states(&host, "reaped");
        !seen.contains("sleep) Z") && !seen.lines().any(|line| line.contains("(sleep) S 1 "))
    });
    host.podspec(["kill", "-s", "HUP", "reaped/a"]).success();
    host.wait_log("reaped/a", "hup");
    host.podspec(["stop", "reaped/a"]).success();
    let ended = host.container("reaped", "a");
    assert_eq!(ended["exitCode"], 7, "{ended}");
    let log = host.logs("reaped/a");
    assert_eq!((log.matches("hup").count(), log.matches("asked").count()), (1, 1), "{log}");
    host.down("reaped");
    host.assert_clean();
}

#[test]
fn it_ends_as_its_program_ends() {
    let Some(host) = Host::new() else { return };
    for (name, command, code) in [("three", "exit 3", 3), ("killed", "kill -KILL $$$$", 137)] {
        host.up(&pod(name, command, &json!({})));
        let ended = host.wait_status(name, "a", "failed");
        assert_eq!(ended["exitCode"], code, "{ended}");
        host.down(name);
    }
    let mut missing = pod("missing", "", &json!({}));
    missing["containers"]["a"]["command"] = json!(["/none/such"]);
    let said = host.podspec(["up", "-d", &host.pod(&missing)]).fails(1);
    assert!(said.contains("/none/such"), "{said}");
    host.assert_clean();
}

#[test]
fn it_is_the_same_with_a_terminal_in_user_and_shared_pid_namespaces() {
    let Some(host) = Host::new() else { return };
    let mut shared = pod(
        "shared",
        "test -t 0 && ps -o pid=,pgid=,tpgid= -p $$$$; exec sleep infinity",
        &json!({ "tty": true, "user": "33:33" }),
    );
    shared["share"] = json!(["+pid", "+user"]);
    host.up(&shared);
    let said = host.wait_log("shared/a", " ");
    let numbers: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(numbers.len(), 3, "{said}");
    assert!(numbers.iter().all(|number| *number == numbers[0]), "in front: {said}");
    assert!(states(&host, "shared").contains("(podspec-init)"));
    host.down("shared");
    host.assert_clean();
}
