//! A pod at rest: its supervisor gives back what only a start needs, and starts containers all the same.

use crate::host::{Host, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;

/// The pages that a process has written to and keeps, but for those of files: of a program just built the linker's
/// own are many, and no pod's matter.
fn kib(pid: &Value) -> u64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut sum = 0;
    let mut counts = false;
    for line in smaps.lines() {
        match line.split_once(':') {
            Some((field, value)) if !field.contains(' ') => {
                if counts && field == "Anonymous" {
                    sum += value.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
                }
            }
            // The line of a mapping; in the fifth column an inode, or none.
            _ => counts = line.split_whitespace().nth(4) == Some("0"),
        }
    }
    sum
}

/// Waits until a supervisor has put its plan away: then there is the mapping of what stays.
fn wait_rest(supervisor: &Value) {
    wait_for("the supervisor to be at rest", || {
        let maps = fs::read_to_string(format!("/proc/{supervisor}/maps")).unwrap();
        maps.lines().any(|line| {
            let (begin, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
            let number = |hex| u64::from_str_radix(hex, 16).unwrap();
            number(end) - number(begin) == 64 << 20
        })
    });
}

fn pod(containers: usize) -> Value {
    let sleeps = json!({ "rootfs": "host", "command": ["sleep", "9999"], "stopTimeout": "0s" });
    let containers: serde_json::Map<String, Value> =
        (0..containers).map(|n| (format!("c{n}"), sleeps.clone())).collect();
    json!({ "name": format!("p{}", containers.len()), "containers": containers })
}

fn at_rest(host: &Host, pod: &str) -> u64 {
    let supervisor = host.inspect(pod)["supervisor"]["pid"].clone();
    wait_rest(&supervisor);
    let mut least = u64::MAX;
    // What follows the rest at once, the last look at the firewall, gives its own back.
    wait_some("what it has not to grow less", || {
        let now = kib(&supervisor);
        let settled = now >= least;
        least = least.min(now);
        settled.then_some(least)
    })
}

#[test]
fn two_hundred_containers_cost_their_supervisor_little_more_than_one() {
    const CONTAINERS: usize = 200;
    /// 1.3 KiB each, measured, and what a heap may have more at one time than at another.
    const MOST: u64 = CONTAINERS as u64 * 3 / 2 + 64;
    let Some(host) = Host::new() else { return };
    host.up(&pod(1));
    host.up(&pod(CONTAINERS));
    let (one, many) = (at_rest(&host, "p1"), at_rest(&host, "p200"));
    assert!(many <= one + MOST, "{many} KiB for {CONTAINERS} containers, {one} KiB for one");
    assert!(many <= 1024, "{many} KiB");
    host.down("p1");
    host.down("p200");
    host.assert_clean();
}

#[test]
fn at_rest_a_container_starts_as_it_was_planned_and_never_otherwise() {
    let Some(host) = Host::new() else { return };
    let script = "echo says $WORD; exec sleep 9999";
    let says =
        json!({ "rootfs": "host", "command": ["sh", "-c", script], "env": { "WORD": "original" } });
    host.up(&json!({
        "name": "p",
        "ports": ["8080:80"],
        "volumes": { "v": { "emptyDir": {} } },
        "containers": { "c": says },
    }));
    let supervisor = host.inspect("p")["supervisor"]["pid"].clone();
    wait_rest(&supervisor);
    host.podspec(["restart", "p/c"]).success();
    wait_for("it to start again", || host.logs("p/c").matches("says original").count() == 2);
    // Somebody writes to the journal: of the same length, and still a journal.
    let journal = host.run_dir().join("pods/p/journal");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replace("WORD=original", "WORD=faked-up")).unwrap();
    wait_rest(&supervisor);
    host.podspec(["restart", "p/c"]);
    let container = host.wait_status("p", "c", "failed");
    let reason = container["reason"].as_str().unwrap();
    assert!(reason.contains("journal is not what podspec wrote"), "{reason}");
    assert!(!host.logs("p/c").contains("faked-up"));
    host.down("p");
    host.assert_clean();
}

#[test]
fn what_somebody_flushes_comes_back_at_rest() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({
        "name": "p",
        "ports": ["8080:80", "20000-20099:20000-20099"],
        "containers": { "c": { "rootfs": "host", "command": ["sleep", "9999"] } },
    }));
    wait_rest(&host.inspect("p")["supervisor"]["pid"]);
    let table = || host.sh("nft list table inet podspec 2>/dev/null | grep -v packets").stdout;
    let before = table();
    assert!(before.contains("8080"), "{before}");
    host.sh("nft flush ruleset").success();
    wait_for("the table to come back", || table() == before);
    host.down("p");
    host.assert_clean();
}
