//! kill -9 of the client, of the supervisor and of infra, at any moment. Whatever happened, `down`
//! leaves nothing; and what a dead supervisor leaves running can be looked at and stopped.

use crate::host::{Host, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// A pod with something of everything that can be left behind.
fn busy() -> Value {
    let one = json!({ "rootfs": "host", "command": ["sleep", "infinity"], "volumes": ["v:/v", "t:/t"],
                "resources": { "memory": "64Mi", "cpus": 0.5, "pids": 50 } });
    let apart = json!({ "rootfs": "host", "command": ["sleep", "infinity"], "namespaces": { "net": "private" } });
    json!({
        "name": "p",
        "ports": ["8080:80", "9000-9010:9000-9010/udp"],
        "volumes": { "v": { "emptyDir": {} }, "t": { "tmpfs": "1Mi" } },
        "resources": { "memory": "1Gi", "cpuset": "0" },
        "containers": { "a": one, "b": one, "c": apart },
    })
}

/// Other moments in each run, the same within one so that a failure names its own.
fn moments(count: u64, longest: Duration) -> impl Iterator<Item = Duration> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut state = u64::from(now.subsec_nanos()) | 1;
    let longest = u64::try_from(longest.as_micros()).unwrap();
    (0..count).map(move |_| {
        // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_micros(state % longest)
    })
}

/// How long an undisturbed `up` takes here: moments later than that would test nothing.
fn time_of_up(host: &Host, file: &str) -> Duration {
    let begin = Instant::now();
    host.podspec(["up", "-d", file]).success();
    let took = begin.elapsed();
    host.down("p");
    took
}

fn supervisor(host: &Host) -> Option<u32> {
    let all = host.processes();
    let of_ours = |pid: &u32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A session of its own: field 6, the second after the parent's pid.
        let session = status.rsplit(") ").next()?.split(' ').nth(3)?.parse::<u32>().ok()?;
        (comm.starts_with("podspec") && session == *pid).then_some(*pid)
    };
    all.iter().find_map(|(pid, _)| of_ours(pid))
}

#[test]
fn a_client_killed_at_any_moment() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&busy());
    let longest = time_of_up(&host, &file);
    for moment in moments(40, longest) {
        let mut client = host.start_podspec(["up", "-d", &file]);
        std::thread::sleep(moment);
        client.kill().unwrap();
        client.wait().unwrap();
        let down = host.podspec(["down", &file]);
        assert_eq!(down.code, Some(0), "after a kill at {moment:?}: {down}");
        wait_for(
            &format!("nothing to be left after a kill at {moment:?}: {:?}", host.leftovers()),
            || host.leftovers().is_empty(),
        );
    }
    host.assert_clean();
}

#[test]
fn a_supervisor_killed_at_any_moment_of_up() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&busy());
    let longest = time_of_up(&host, &file);
    for moment in moments(40, longest) {
        let client = host.start_podspec(["up", "-d", &file]);
        let begin = Instant::now();
        let pid = loop {
            let found = supervisor(&host);
            if found.is_some() || begin.elapsed() > Duration::from_secs(1) {
                break found;
            }
        };
        std::thread::sleep(moment);
        if let Some(pid) = pid {
            host.sh(&format!("kill -9 {pid}"));
        }
        host.finish(client);
        let down = host.podspec(["down", &file]);
        assert_eq!(down.code, Some(0), "after a kill at {moment:?}: {down}");
        let left = host.leftovers();
        assert!(left.is_empty(), "after a kill at {moment:?} of up: {left:#?}");
    }
    host.assert_clean();
}

#[test]
fn both_killed_and_up_again_without_down() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&busy());
    let longest = time_of_up(&host, &file);
    for moment in moments(10, longest) {
        let mut client = host.start_podspec(["up", "-d", &file]);
        std::thread::sleep(moment);
        client.kill().unwrap();
        client.wait().unwrap();
        if let Some(pid) = supervisor(&host) {
            host.sh(&format!("kill -9 {pid}"));
        }
        // What is half made may be finished, or undone and made anew; `up` must not be stuck.
        let again = host.podspec(["up", "-d", "--recreate", &file]);
        assert_eq!(again.code, Some(0), "after a kill at {moment:?}: {again}");
        host.podspec(["down", &file]).success();
        let left = host.leftovers();
        assert!(left.is_empty(), "after a kill at {moment:?} of up: {left:#?}");
    }
    host.assert_clean();
}

#[test]
fn down_killed_at_any_moment_can_be_repeated() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&busy());
    let longest = time_of_up(&host, &file);
    for moment in moments(15, longest) {
        host.podspec(["up", "-d", &file]).success();
        let mut client = host.start_podspec(["down", "p"]);
        std::thread::sleep(moment);
        client.kill().unwrap();
        client.wait().unwrap();
        host.podspec(["down", &file]).success();
        let left = host.leftovers();
        assert!(left.is_empty(), "after a kill at {moment:?} of down: {left:#?}");
    }
    host.assert_clean();
}

/// Lines `line N` of a log file's records, in order.
fn numbers(log: &str) -> Vec<u64> {
    let number = |line: &str| {
        let digits = line.rsplit_once("line ")?.1;
        digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    };
    log.lines().filter_map(number).collect()
}

#[test]
fn a_dead_supervisor_costs_no_container_and_no_line() {
    let Some(host) = Host::new() else { return };
    let script = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done";
    let file = host.up(&json!({ "name": "p", "ports": ["8080:80"], "containers": {
        "c": { "rootfs": "host", "command": ["sh", "-c", script] } } }));
    host.wait_log("p/c", "line 10");
    let before = host.inspect("p");
    host.kill(&before["supervisor"]["pid"], "KILL");
    wait_for("p to be unsupervised", || host.inspect("p")["status"] == "unsupervised");
    assert!(host.podspec(["ps"]).success().contains("unsupervised"));
    let container = host.container("p", "c");
    assert_eq!(container["pid"], before["containers"][0]["pid"]);
    host.podspec(["exec", "p/c", "--", "true"]).success();
    let seen = numbers(&host.logs("p/c")).last().copied().unwrap();
    // Lines that are written now have nobody to read them but `down`.
    std::thread::sleep(Duration::from_millis(500));
    host.podspec(["down", &file]).success();
    let log = fs::read_to_string(host.data().join("logs/p/c.log")).unwrap();
    let kept = numbers(&log);
    assert_eq!(
        kept,
        (0..u64::try_from(kept.len()).unwrap()).collect::<Vec<_>>(),
        "lines are missing"
    );
    assert!(*kept.last().unwrap() > seen + 20, "{} after {seen}", kept.last().unwrap());
    host.assert_clean();
}

#[test]
fn infras_death_is_the_pods() {
    let Some(host) = Host::new() else { return };
    host.up(&busy());
    let waiter = host.start_podspec(["wait", "p"]);
    host.kill(&host.inspect("p")["infra"]["pid"], "KILL");
    wait_some("p to be failed", || Some(()).filter(|()| host.inspect("p")["status"] == "failed"));
    // Its containers were stopped, and have not failed; it has.
    assert_eq!(host.inspect("p")["exitCode"], 1);
    // It is failed from the moment on that its containers begin to end.
    wait_for("the containers to end with infra", || {
        !host.processes().iter().any(|(_, what)| what.contains("infinity"))
    });
    assert_eq!(host.finish(waiter).success(), "1\n");
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_container_killed_from_outside_is_restarted_alone() {
    let Some(host) = Host::new() else { return };
    let mut pod = busy();
    pod["containers"]["a"]["restart"] = json!("always");
    host.up(&pod);
    let (a, b) = (host.container("p", "a"), host.container("p", "b"));
    host.kill(&a["pid"], "KILL");
    let again = wait_some("another process of p/a", || {
        Some(host.container("p", "a"))
            .filter(|now| now["status"] == "running" && now["pid"] != a["pid"])
    });
    assert_eq!(again["restarts"], 1);
    assert_eq!(host.container("p", "b"), b);
    host.down("p");
    host.assert_clean();
}
