//! What only many repetitions show: things that pile up, and orders of commands that nobody thought of.
//! All but the last is bounded by counts; how long it takes is told by tests/bench.

use crate::host::{Host, Outcome, wait_for};
use crate::random::Random;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

/// Memory of its own that a supervisor may have more at the end than near the beginning: one that loses
/// 100 bytes in each of these tests' repetitions has more than this.
const SLACK_KIB: u64 = 16;

/// Rounds after which a supervisor's memory is measured first. It gives all that is free back once the pod
/// is up, and what it works with afterwards is mapped again in the rounds before this one.
const WARM: usize = 20;

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

/// What a process holds.
#[derive(Debug)]
struct Held {
    descriptors: BTreeMap<String, usize>,
    kib: u64,
}

impl Held {
    fn by(pid: &Value) -> Self {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let target = fs::read_link(entry.unwrap().path()).unwrap();
            // `socket:[4711]`: the number is another one each time.
            let kind = target.to_string_lossy().split('[').next().unwrap().to_owned();
            *descriptors.entry(kind).or_default() += 1;
        }
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        // Not Private_Dirty: that has pages of a program just built, too, until they are on the disk.
        let own = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
        Self { descriptors, kib: own.trim().trim_end_matches(" kB").parse().unwrap() }
    }

    fn is_within(&self, before: &Self) -> bool {
        let count = |held: &Self, kind: &str| held.descriptors.get(kind).copied().unwrap_or(0);
        let kinds = self.descriptors.keys();
        let mut more = kinds.filter(|kind| count(self, kind) > count(before, kind));
        more.next().is_none() && self.kib <= before.kib + SLACK_KIB
    }
}

/// Waits, for what happened last may still be seen to.
#[track_caller]
fn assert_holds_no_more(pid: &Value, before: &Held) {
    wait_for(&format!("process {pid} to hold no more than {before:?}"), || {
        let now = Held::by(pid);
        let calm = now.is_within(before);
        if !calm {
            eprintln!("now {now:?}");
        }
        calm
    });
}

/// Sockets of the host. A supervisor that has gone takes a moment to close its last one.
fn sockets(host: &Host) -> usize {
    let text = host.sh("cd /proc/net; cat unix netlink packet raw tcp udp | wc -l").success();
    text.trim().parse().unwrap()
}

/// What is kept of past lives, in bounds that the tests of their own modules reach.
const HISTORIES: [&str; 2] = ["events.jsonl", "released"];

/// Every file below, with its size.
fn files(below: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        let is_history = HISTORIES.iter().any(|name| entry.file_name() == *name);
        let size = if kind.is_file() && !is_history { entry.metadata().unwrap().len() } else { 0 };
        into.insert(format!("{} {size}", entry.path().display()));
        if kind.is_dir() {
            files(&entry.path(), into);
        }
    }
}

/// Whatever the host has, by kind. Beside what `leftovers` looks for: routes, rules, neighbours, numbers
/// of namespaces, and every file.
fn inventory(host: &Host) -> BTreeMap<&'static str, BTreeSet<String>> {
    let left = host.leftovers().into_iter().collect();
    let lines = |command: &str| {
        let text = host.sh(command).success();
        text.lines().enumerate().map(|(number, line)| format!("{number} {line}")).collect()
    };
    let mut stored = BTreeSet::new();
    files(host.run_dir(), &mut stored);
    files(&host.data(), &mut stored);
    BTreeMap::from([
        ("leftovers", left),
        ("files", stored),
        ("mounts", lines("cut -d' ' -f4- /proc/1/mountinfo")),
        ("links", lines("ip -o link | cut -d: -f2 | sort")),
        ("routes", lines("ip route show table all; ip rule; ip -6 route show table all")),
        ("neighbours", lines("ip neighbour")),
        ("namespaces", lines("ip netns list-id; ip netns")),
        ("nftables", lines("nft list ruleset")),
    ])
}

#[test]
fn two_hundred_lives_of_a_pod_leave_what_ten_do() {
    let Some(host) = Host::new() else { return };
    // It sees all that the others change in the firewall and on the bridge.
    host.up(
        &json!({ "name": "stays", "ports": ["9000:80"], "containers": { "c": sh("sleep 9999") } }),
    );
    let supervisor = host.inspect("stays")["supervisor"]["pid"].clone();
    let file = host.pod(&json!({
        "name": "cycle",
        "ports": ["8080:80", "20000-20099:20000-20099"],
        "containers": { "web": sh("echo out; exec sleep 9999"), "db": sh("echo err >&2; exec sleep 9999") },
    }));
    let mut early = None;
    for cycle in 1..=200 {
        host.podspec(["up", "-d", &file]).success();
        // Its line is in the log before it ends: what is left is the same each time.
        host.wait_log("cycle/web", "out");
        host.wait_log("cycle/db", "err");
        host.down("cycle");
        if cycle == 10 {
            early = Some((inventory(&host), sockets(&host), Held::by(&supervisor)));
        }
    }
    let (things, open, held) = early.unwrap();
    let now = inventory(&host);
    for (kind, before) in &things {
        assert_eq!(&now[kind], before, "{kind}");
    }
    wait_for(&format!("no more than {open} sockets"), || sockets(&host) <= open);
    assert_holds_no_more(&supervisor, &held);
    host.down("stays");
    host.assert_clean();
}

#[test]
fn a_thousand_restarts_cost_the_supervisor_nothing() {
    const CONTAINERS: usize = 20;
    let Some(host) = Host::new() else { return };
    let containers: serde_json::Map<String, Value> =
        (0..CONTAINERS).map(|n| (format!("c{n}"), sh("echo started; exec sleep 9999"))).collect();
    // By command and not by policy, whose back-off would make this a matter of hours.
    host.up(&json!({ "name": "p", "containers": containers }));
    let supervisor = host.inspect("p")["supervisor"]["pid"].clone();
    let mut early = None;
    for round in 1..=50 {
        host.podspec(["restart", "p"]).success();
        let expected = (round + 1) * CONTAINERS;
        wait_for("all to have said so", || host.logs("p").matches("started").count() == expected);
        if round == WARM {
            early = Some(Held::by(&supervisor));
        }
    }
    assert_eq!(host.inspect("p")["supervisor"]["pid"], supervisor, "another supervisor");
    assert_holds_no_more(&supervisor, &early.unwrap());
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_thousand_commands_in_a_container_cost_its_supervisor_nothing() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "p", "containers": { "c": sh("sleep 9999") } }));
    let supervisor = host.inspect("p")["supervisor"]["pid"].clone();
    let mut early = None;
    for round in 1..=50 {
        let running: Vec<Child> =
            (0..20).map(|_| host.start_podspec(["exec", "p/c", "--", "true"])).collect();
        for child in running {
            host.finish(child).success();
        }
        if round == WARM {
            early = Some(Held::by(&supervisor));
        }
    }
    assert_holds_no_more(&supervisor, &early.unwrap());
    host.down("p");
    host.assert_clean();
}

#[test]
fn twenty_pods_of_three_at_once() {
    const PODS: usize = 20;
    let Some(host) = Host::new() else { return };
    let pod = |number: usize| {
        let containers = json!({
            "first": sh("echo ready; exec sleep 9999"),
            "second": sh("exec sleep 9999"),
            "once": sh("exit 0"),
        });
        let port = format!("{}:80", 10_000 + number);
        host.pod(
            &json!({ "name": format!("p{number}"), "ports": [port], "containers": containers }),
        )
    };
    let files: Vec<String> = (0..PODS).map(pod).collect();
    let together = |args: &dyn Fn(usize) -> Vec<String>| -> Vec<Outcome> {
        let running: Vec<Child> = (0..PODS).map(|n| host.start_podspec(args(n))).collect();
        running.into_iter().map(|child| host.finish(child)).collect()
    };
    let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    for _ in 0..3 {
        for outcome in together(&|n| words(&["up", "-d", &files[n]])) {
            outcome.success();
        }
        let said = together(&|n| words(&["exec", &format!("p{n}/first"), "--", "hostname"]));
        for (n, outcome) in said.into_iter().enumerate() {
            assert_eq!(outcome.success(), format!("p{n}\n"));
        }
        let listed = host.podspec(["ps", "--format", "json"]).success();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), PODS, "{listed:#}");
        for outcome in together(&|n| words(&["down", &format!("p{n}")])) {
            outcome.success();
        }
        host.assert_clean();
    }
}

/// A command that was begun.
struct Begun {
    words: String,
    child: Child,
}

/// Waits for its end, whatever that is: it may have come too early or too late for its pod. It has to end
/// by itself, though, and to say why it failed.
fn end(host: &Host, begun: Begun) {
    let outcome = host.finish_named(begun.child, &begun.words);
    let code = outcome.code.unwrap_or_else(|| panic!("{}: {outcome}", begun.words));
    let explained = outcome.stderr.contains("error: ");
    // A command in a container that goes down dies with it.
    let is_killed = begun.words.starts_with("exec") && matches!(code, 137 | 143);
    assert!(code == 0 || is_killed || explained, "{}: {outcome}", begun.words);
    assert!(!outcome.stderr.contains("panicked"), "{}: {outcome}", begun.words);
}

/// One of seventeen.
fn command<'a>(which: usize, file: &'a str, pod: &'a str, talks: &'a str) -> Vec<&'a str> {
    match which {
        0..=3 => vec!["up", "-d", file],
        4..=5 => vec!["down", pod],
        6..=7 => vec!["ps"],
        8..=10 => vec!["exec", talks, "--", "sh", "-c", "echo $$"],
        11 => vec!["logs", pod],
        12 => vec!["inspect", pod],
        13 => vec!["stop", talks],
        14 => vec!["start", pod],
        15 => vec!["restart", pod],
        _ => vec!["logs", "-f", pod],
    }
}

/// Ends those that have ended by themselves.
fn end_the_finished(host: &Host, followers: &mut Vec<Begun>) {
    let all = std::mem::take(followers);
    for mut begun in all {
        match begun.child.try_wait().unwrap() {
            Some(_) => end(host, begun),
            None => followers.push(begun),
        }
    }
}

/// For a minute. Again with what failed: SOAK_SEED=…
#[test]
fn commands_in_any_order_neither_hang_nor_leave_anything() {
    const PODS: usize = 4;
    const LASTS: Duration = Duration::from_secs(60);
    const AT_ONCE: usize = 6;
    const FOLLOWERS: usize = 20;
    let Some(host) = Host::new() else { return };
    let mut random = Random::of("SOAK_SEED");
    let files: Vec<String> = (0..PODS)
        .map(|n| {
            let talks = sh("while echo line; do sleep 0.05; done");
            let mut waits = sh("exit 1");
            waits["restart"] = json!("always");
            let containers = json!({ "talks": talks, "waits": waits, "once": sh("echo once") });
            let ports = [format!("{}:80", 8000 + n)];
            host.pod(&json!({ "name": format!("p{n}"), "ports": ports, "containers": containers }))
        })
        .collect();
    let (mut running, mut followers) = (VecDeque::new(), Vec::new());
    let until = Instant::now() + LASTS;
    let mut count = 0;
    while Instant::now() < until {
        let n = random.below(PODS);
        let (pod, talks) = (format!("p{n}"), format!("p{n}/talks"));
        let words = command(random.below(17), &files[n], &pod, &talks);
        let follows = words.contains(&"-f");
        if follows {
            end_the_finished(&host, &mut followers);
            if followers.len() == FOLLOWERS {
                continue;
            }
        }
        count += 1;
        let begun = Begun { words: words.join(" "), child: host.start_podspec(&words) };
        if follows {
            followers.push(begun);
        } else {
            running.push_back(begun);
        }
        while running.len() > AT_ONCE {
            end(&host, running.remove(random.below(AT_ONCE)).unwrap());
        }
    }
    running.into_iter().for_each(|begun| end(&host, begun));
    for n in 0..PODS {
        host.podspec(["down", &format!("p{n}")]);
    }
    eprintln!("{count} commands");
    // The pods are gone, so there is nothing more to follow.
    followers.into_iter().for_each(|begun| end(&host, begun));
    host.assert_clean();
}
