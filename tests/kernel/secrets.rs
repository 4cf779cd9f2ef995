//! Secrets: who sees them, how, and where else they are not.

use crate::host::{Host, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const TEXT: &str = "hunter2-of-the-file";
const OTHER: &str = "hunter2-of-the-variable";

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

fn with(mut container: Value, more: &Value) -> Value {
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

/// Files below that have one of the secrets in them, however it is written.
fn with_a_secret(below: &Path, found: &mut Vec<String>) {
    let numbers = |text: &str| {
        let numbers: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
        numbers.join(",")
    };
    let traces = [TEXT, OTHER].map(|text| [text.to_owned(), numbers(text)]).concat();
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            with_a_secret(&entry.path(), found);
        } else if kind.is_file() {
            let text = fs::read(entry.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if traces.iter().any(|trace| text.contains(trace)) {
                found.push(entry.path().display().to_string());
            }
        }
    }
}

#[test]
fn a_secret_is_seen_by_whom_it_is_given_and_is_nowhere_else() {
    let Some(host) = Host::new() else { return };
    host.file("password.txt", TEXT);
    let file = host.pod(&json!({
        "name": "p",
        "secrets": { "password": { "file": "./password.txt" }, "token": { "env": "TOKEN" } },
        "containers": {
            "db": with(sh("exec sleep 9999"), &json!({
                "user": "70:71",
                "secrets": ["password", { "name": "token", "target": "/srv/db/token", "mode": "0440" }],
            })),
            "web": sh("exec sleep 9999"),
        },
    }));
    for said in [["config", &file], ["plan", &file]] {
        let child = host.start(host.command(said).env("TOKEN", OTHER));
        let said = host.finish(child).success();
        assert!(!said.contains("hunter2"), "{said}");
    }
    host.finish(host.start(host.command(["up", "-d", &file]).env("TOKEN", OTHER))).success();
    let look = "cat /run/secrets/password; echo; cat /srv/db/token; echo; \
                stat -c '%a %u %g %F' /run/secrets/password /srv/db/token; \
                stat -f -c %T /run/secrets/password /srv/db/token";
    let seen = host.podspec(["exec", "p/db", "--", "sh", "-c", look]).success();
    let expected =
        format!("{TEXT}\n{OTHER}\n400 70 71 regular file\n440 70 71 regular file\ntmpfs\ntmpfs\n");
    assert_eq!(seen, expected);
    let write = "chmod 600 /run/secrets/password";
    let refused = host.podspec(["exec", "p/db", "--", "sh", "-c", write]);
    assert!(refused.stderr.contains("Read-only file system"), "{refused:?}");
    let mounts = host.podspec(["exec", "p/db", "--", "cat", "/proc/self/mountinfo"]).success();
    let mount = mounts.lines().find(|line| line.contains(" /srv/db/token ")).unwrap();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(mount.split([' ', ',']).any(|word| word == option), "{option}: {mount}");
    }
    host.podspec(["exec", "p/web", "--", "sh", "-c", "ls /run/secrets /srv/db"]).fails(2);
    // It outlives a run of its container, and the supervisor's rest.
    host.podspec(["restart", "p/db"]).success();
    wait_for("it to run", || host.podspec(["exec", "p/db", "--", "true"]).code == Some(0));
    assert_eq!(host.podspec(["exec", "p/db", "--", "sh", "-c", look]).success(), expected);

    let mut found = Vec::new();
    with_a_secret(&host.data(), &mut found);
    with_a_secret(host.run_dir(), &mut found);
    // The files themselves, each on the tmpfs that the container showed.
    let own = host.run_dir().join("pods/p/mnt/secrets/db");
    found.retain(|path| Path::new(path).parent() != Some(own.as_path()));
    assert_eq!(found, [""; 0], "on the disk, or where only the state is");
    for said in [
        vec!["inspect", "p"],
        vec!["logs", "p"],
        vec!["events", "p"],
        vec!["ps", "--format", "json"],
    ] {
        let said = host.podspec(said).success();
        assert!(!said.contains("hunter2"), "{said}");
    }
    host.down("p");
    host.assert_clean();
}

#[test]
fn in_a_user_namespace_a_secret_is_its_users_too() {
    let Some(host) = Host::new() else { return };
    host.file("password.txt", TEXT);
    let look = ["exec", "p/db", "--", "stat", "-c", "%a %u %g", "/run/secrets/password"];
    host.up(&json!({
        "name": "p",
        "share": ["net", "uts", "ipc", "user"],
        "secrets": { "password": { "file": "./password.txt" } },
        "containers": { "db": {
            "rootfs": "host",
            "command": ["sleep", "9999"],
            "user": "70:71",
            "secrets": ["password"],
        } },
    }));
    assert_eq!(host.podspec(look).success(), "400 70 71\n");
    let text = host.podspec(["exec", "p/db", "--", "cat", "/run/secrets/password"]).success();
    assert_eq!(text, TEXT);
    host.down("p");
    host.assert_clean();
}

#[test]
fn what_cannot_be_a_secret_is_refused_and_nothing_is_touched() {
    let Some(host) = Host::new() else { return };
    let large = host.file("large.txt", vec![b'x'; (1 << 20) + 1]);
    fs::set_permissions(&large, PermissionsExt::from_mode(0o600)).unwrap();
    let fifo = host.file("fifo.txt", "").with_file_name("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [("./large.txt", "more than 1 MiB"), ("./fifo", "no regular file")] {
        let file = host.pod(&json!({
            "name": "p",
            "secrets": { "s": { "file": path } },
            "containers": { "c": with(sh("exec sleep 9999"), &json!({ "secrets": ["s"] })) },
        }));
        let said = host.podspec(["up", "-d", &file]).fails(2);
        // However long its lines are.
        let words: Vec<_> = said.split_whitespace().filter(|word| *word != "│").collect();
        assert!(words.join(" ").contains(why) && said.contains("P0667"), "{said}");
    }
    host.assert_clean();
}
