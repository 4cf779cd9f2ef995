//! What the article ran and what it saw, section by section, on the pods of examples/. The commands
//! are the article's own where podspec is not involved: `ip netns`, `ip a`, `curl`, `hostname`, `ps -ef`.

use crate::host::{Host, http_wait};
use serde_json::{Value, json};
use std::path::Path;

/// The IPv4 addresses of a named network namespace, `lo` left out: (link, address).
fn addresses(host: &Host, netns: &str) -> Vec<(String, String)> {
    let text = host.sh(&format!("ip netns exec {netns} ip -j -4 address")).success();
    let links: Value = serde_json::from_str(&text).unwrap();
    let links = links.as_array().unwrap().iter().filter(|link| link["ifname"] != "lo");
    links
        .flat_map(|link| {
            let name = link["ifname"].as_str().unwrap().to_owned();
            let infos = link["addr_info"].as_array().unwrap().clone();
            infos
                .into_iter()
                .map(move |info| (name.clone(), info["local"].as_str().unwrap().to_owned()))
        })
        .collect()
}

fn address(of: &Value) -> String {
    of.as_str().unwrap_or_default().split('/').next().unwrap().to_owned()
}

fn namespace_of(pid: &Value, kind: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn hello_answers() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("hello")]).success();
    http_wait("127.0.0.1:8080");
    let body = host.sh("curl -sS --max-time 5 localhost:8080").success();
    assert_eq!(body, "Hello from a pod, visitor 2\n");
    assert!(host.logs("hello/front").contains("answered 200 OK"));
    // The greeter listens on the pod's own 127.0.0.1 and nowhere else.
    host.sh("curl -sS --max-time 5 localhost:7000").fails(7);
    host.down("hello");
    host.assert_clean();
}

/// What `podspec init` writes runs as it is.
#[test]
fn a_first_file_answers() {
    let Some(host) = Host::new() else { return };
    // So that leftovers of a pod of this name are noticed.
    let here = Path::new(&host.pod(&json!({ "name": "first" }))).parent().unwrap().to_owned();
    host.finish(host.start(host.command(["init", "first"]).current_dir(&here))).success();
    host.podspec(["up", "-d", here.join("first.pod.yaml").to_str().unwrap()]).success();
    http_wait("127.0.0.1:8080");
    let body = host.sh("curl -sS --max-time 5 localhost:8080").success();
    assert_eq!(body, "Hello from first\n");
    host.podspec(["down", "--volumes", "first"]).success();
    host.assert_clean();
}

#[test]
fn net_shared_one_namespace_and_one_address() {
    let Some(host) = Host::new() else { return };
    assert_eq!(host.netns(), [""; 0], "a namespace before any pod");
    host.podspec(["up", "-d", &host.example("netshared")]).success();

    assert_eq!(host.netns(), ["netshared"]);
    let pod = host.inspect("netshared");
    let eth0 = addresses(&host, "netshared");
    assert_eq!(eth0, [("eth0".to_owned(), address(&pod["network"]["ipv4"]))]);
    assert_eq!(pod["network"]["interface"], "eth0");
    let container = &pod["containers"][0];
    assert_eq!(address(&container["ipv4"]), "", "the container has an address of its own");
    assert_eq!(
        namespace_of(&container["pid"], "net"),
        format!("net:[{}]", pod["namespaces"]["net"])
    );
    assert_eq!(namespace_of(&container["pid"], "net"), namespace_of(&pod["infra"]["pid"], "net"));

    http_wait("127.0.0.1:8080");
    let body = host.sh("curl -sS --max-time 5 localhost:8080").success();
    assert_eq!(body, "<html><body><h1>It works!</h1></body></html>\n");
    host.down("netshared");
    assert_eq!(host.netns(), [""; 0], "a namespace after the pod");
    host.assert_clean();
}

#[test]
fn none_a_namespace_and_an_address_each() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("none")]).success();

    assert_eq!(host.netns(), ["none", "none.none1", "none.none2"]);
    let pod = host.inspect("none");
    let infra = address(&pod["network"]["ipv4"]);
    let none1 = address(&host.container("none", "none1")["ipv4"]);
    let none2 = address(&host.container("none", "none2")["ipv4"]);
    assert_eq!(addresses(&host, "none"), [("eth0".to_owned(), infra.clone())]);
    assert_eq!(addresses(&host, "none.none1"), [("eth0".to_owned(), none1.clone())]);
    assert_eq!(addresses(&host, "none.none2"), [("eth0".to_owned(), none2.clone())]);
    assert!(infra != none1 && none1 != none2 && infra != none2, "{infra} {none1} {none2}");

    // 7: the connection was refused. The published port leads to infra, where nobody listens; the
    // web server itself is well.
    http_wait(&format!("{none1}:80"));
    host.sh("curl -sS --max-time 5 localhost:9090").fails(7);
    host.sh(&format!("curl -sS --max-time 5 {infra}")).fails(7);
    let body = host.sh(&format!("curl -sS --max-time 5 {none1}")).success();
    assert_eq!(body, "<html><body><h1>It works!</h1></body></html>\n");
    host.down("none");
    host.assert_clean();
}

#[test]
fn the_pod_of_none_and_of_net_side_by_side() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("netshared")]).success();
    host.podspec(["up", "-d", &host.example("none")]).success();
    assert_eq!(host.netns(), ["netshared", "none", "none.none1", "none.none2"]);
    host.podspec(["down", "netshared", "none"]).success();
    host.assert_clean();
}

#[test]
fn uts_shared_one_host_name() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("utsshared")]).success();
    host.podspec(["up", "-d", &host.example("none")]).success();
    let hostname = |of: &str| host.podspec(["exec", of, "hostname"]).success();
    assert_eq!(hostname("utsshared/uts1"), "utsshared\n");
    assert_eq!(hostname("utsshared/uts2"), "utsshared\n");
    assert_eq!(hostname("none/none1"), "none1\n");
    assert_eq!(hostname("none/none2"), "none2\n");
    host.podspec(["down", "utsshared", "none"]).success();
    host.assert_clean();
}

/// What follows `word` on each line, in order.
fn after<'a>(log: &'a str, word: &str) -> Vec<&'a str> {
    log.lines().filter_map(|line| line.split_once(word).map(|(_, rest)| rest.trim())).collect()
}

#[test]
fn ipc_shared_the_messages_arrive_in_order() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("ipcshared")]).success();
    let consumer = host.wait_log("ipcshared/ipc2", "Consumed: done");
    let producer = host.logs("ipcshared/ipc1");
    let mut produced = after(&producer, "Produced:");
    assert_eq!(produced.len(), 5, "{producer}");
    produced.push("done");
    assert_eq!(after(&consumer, "Consumed:"), produced);
    host.down("ipcshared");
    host.assert_clean();
}

#[test]
fn ipc_not_shared_the_consumer_sees_nothing() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("ipcnone")]).success();
    let consumer = host.wait_log("ipcnone/ipc2", "maybe I cannot access the same memory");
    assert_eq!(after(&consumer, "Consumed:"), [""; 0]);
    assert_eq!(after(&host.logs("ipcnone/ipc1"), "Produced:").len(), 5);
    host.down("ipcnone");
    host.assert_clean();
}

#[test]
fn pid_shared_all_processes_in_view() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("pidshared")]).success();
    let infra = host.inspect("pidshared")["infra"]["pid"].clone();
    let seen = host.podspec(["exec", "pidshared/pid3", "--", "ps", "-ef"]).success();
    let first = seen.lines().nth(1).unwrap();
    let words: Vec<&str> = first.split_whitespace().collect();
    assert_eq!(words[1], "1", "{seen}");
    for other in ["httpd.pl", "worker", "sleep infinity", "ps -ef"] {
        assert!(seen.contains(other), "{other} is not in view:\n{seen}");
    }
    let worker = seen.lines().find(|line| line.contains("worker")).unwrap();
    assert!(!worker.starts_with("root"), "{worker}");
    let inside = std::fs::read_to_string(format!("/proc/{infra}/status")).unwrap();
    let pids = inside.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert!(pids.ends_with("\t1"), "infra is not PID 1 of the pod: {pids}");
    host.down("pidshared");
    host.assert_clean();
}

#[test]
fn pid_not_shared_only_its_own_processes() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("none")]).success();
    let seen = host.podspec(["exec", "none/none2", "--", "ps", "-ef"]).success();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 3, "more than a header, its own first process and ps:\n{seen}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words[1], "1", "{seen}");
    assert!(lines[1].ends_with("sleep infinity") && lines[2].ends_with("ps -ef"), "{seen}");
    host.down("none");
    host.assert_clean();
}
