//! Many pods at once: processes that share one bridge, one table and one pool of addresses, and do not
//! disturb each other.

use crate::host::{Host, http_wait, server};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn fifty_pods_by_fifty_processes() {
    const PODS: u16 = 50;
    let Some(host) = Host::new() else { return };
    let name = |number: u16| format!("p{number}");
    let files: Vec<String> = (0..PODS)
        .map(|number| {
            let port = format!("{}:80", 10000 + number);
            let web = json!({ "rootfs": "host", "command": server(&name(number), &[80]) });
            host.pod(
                &json!({ "name": name(number), "ports": [port], "containers": { "web": web } }),
            )
        })
        .collect();

    let starting: Vec<_> =
        files.iter().map(|file| host.start_podspec(["up", "-d", file])).collect();
    let started: Vec<_> = starting.into_iter().map(|child| host.finish(child)).collect();
    for outcome in started {
        outcome.success();
    }

    let mut addresses = BTreeSet::new();
    for number in 0..PODS {
        let answer = http_wait(&format!("127.0.0.1:{}", 10000 + number));
        assert!(answer.starts_with(&format!("{} 80 ", name(number))), "{answer}");
        addresses.insert(host.inspect(&name(number))["network"]["ipv4"].to_string());
    }
    assert_eq!(addresses.len(), usize::from(PODS), "two pods have one address: {addresses:?}");

    let stopping: Vec<_> =
        (0..PODS).map(|number| host.start_podspec(["down", &name(number)])).collect();
    let stopped: Vec<_> = stopping.into_iter().map(|child| host.finish(child)).collect();
    for outcome in stopped {
        outcome.success();
    }
    host.assert_clean();
}

#[test]
fn one_pod_by_ten_processes() {
    let Some(host) = Host::new() else { return };
    let web = json!({ "rootfs": "host", "command": ["sleep", "infinity"] });
    let file =
        host.pod(&json!({ "name": "p", "ports": ["8080:80"], "containers": { "web": web } }));
    for _ in 0..3 {
        let starting: Vec<_> = (0..10).map(|_| host.start_podspec(["up", "-d", &file])).collect();
        let started: Vec<_> = starting.into_iter().map(|child| host.finish(child)).collect();
        for outcome in started {
            outcome.success();
        }
        let sleepers =
            host.processes().iter().filter(|(_, what)| what.contains("infinity")).count();
        assert_eq!(sleepers, 1);
        host.down("p");
    }
    host.assert_clean();
}

#[test]
fn up_and_down_of_one_pod_at_the_same_time() {
    let Some(host) = Host::new() else { return };
    let web = json!({ "rootfs": "host", "command": ["sleep", "infinity"] });
    let file =
        host.pod(&json!({ "name": "p", "ports": ["8080:80"], "containers": { "web": web } }));
    for _ in 0..10 {
        let both = [host.start_podspec(["up", "-d", &file]), host.start_podspec(["down", "p"])];
        for child in both {
            host.finish(child);
        }
    }
    host.podspec(["down", "p"]);
    host.assert_clean();
}
