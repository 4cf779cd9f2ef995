//! The machine is not ours alone: firewalls are flushed and drop what they do not know, bridges, pins and
//! cgroups are removed. Pods come back as they were, and `down` leaves nothing whatever is gone.

use crate::host::{
    HOST, Host, cgroup2_root, http_get, http_wait, server, udp_ask, udp_server, wait_for,
};
use podspec::state::lock::{Locks, Range};
use serde_json::{Value, json};
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const ROUTED: &str = "/proc/sys/net/ipv4/conf/podspec0/route_localnet";
const RECORD: &str = "net/ip_forward";
const GUARD: &str = r#"iifname != "podspec0" oifname != "podspec0" drop"#;

fn web(ports: &Value) -> Value {
    json!({ "name": "web", "ports": ports, "containers": {
        "c": { "rootfs": "host", "command": server("web", &[80, 9000, 9001]) },
        "u": { "rootfs": "host", "command": udp_server("web", 53) },
    }})
}

fn sleeper(name: &str, ports: &Value) -> Value {
    json!({ "name": name, "ports": ports, "containers": {
        "c": { "rootfs": "host", "command": ["sleep", "infinity"] },
    }})
}

fn ports() -> Value {
    json!(["8080:80", "127.0.0.1:8081:80", "9000-9001:9000-9001", "5300:53/udp"])
}

/// The table in words, whatever the order of elements in its maps.
fn table(host: &Host) -> Option<Vec<String>> {
    let shown = host.sh("nft list table inet podspec");
    let words = shown.stdout.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty());
    let mut words: Vec<String> = words.map(str::to_owned).collect();
    words.sort();
    (shown.code == Some(0)).then_some(words)
}

fn guarded(host: &Host) -> bool {
    host.sh("nft list table inet podspec").success().contains(GUARD)
}

#[track_caller]
fn assert_open(host: &Host) {
    for port in [8080, 8081, 9000, 9001] {
        http_get(&format!("127.0.0.1:{port}")).unwrap_or_else(|e| panic!("127.0.0.1:{port}: {e}"));
    }
    for port in [8080, 9001] {
        let answer = host.within("neighbour", || http_get(&format!("{HOST}:{port}")));
        assert!(answer.unwrap().starts_with("web "), "{port} from the neighbour");
    }
    assert_eq!(udp_ask("127.0.0.1:5300", "hi").unwrap(), "web hi");
}

#[test]
fn a_flushed_firewall_comes_back() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&web(&ports()));
    host.up(&sleeper("other", &json!(["7000:70"])));
    host.wait_log("web/u", "listening");
    for port in [8080, 9000, 9001] {
        http_wait(&format!("127.0.0.1:{port}"));
    }
    let before = table(&host).unwrap();
    let flushes = ["nft flush ruleset", "nft delete table inet podspec"];
    // The first time at once, when the supervisors have hardly begun; later ones find them idle.
    for flush in flushes.iter().chain(&flushes).chain(&flushes) {
        host.sh(flush).success();
        wait_for(&format!("the table after `{flush}`"), || table(&host).as_ref() == Some(&before));
        wait_for("route_localnet", || fs::read_to_string(ROUTED).unwrap() == "1\n");
        assert_open(&host);
        std::thread::sleep(Duration::from_millis(150));
    }
    host.podspec(["down", "web", "other"]).success();
    host.assert_clean();
}

#[test]
fn many_pods_put_back_their_own() {
    const PODS: u16 = 15;
    let Some(host) = Host::new() else { return };
    let name = |n: u16| format!("pod-{n}");
    for n in 0..PODS {
        host.up(&sleeper(&name(n), &json!([format!("{}:80", 7000 + n)])));
    }
    let before = table(&host).unwrap();
    // Also while they are at it.
    for _ in 0..20 {
        host.sh("nft flush ruleset; sleep 0.00$(($$ % 10))").success();
    }
    wait_for("every pod's port", || table(&host).as_ref() == Some(&before));
    wait_for("route_localnet", || fs::read_to_string(ROUTED).unwrap() == "1\n");
    let mut down = vec!["down".to_owned()];
    down.extend((0..PODS).map(name));
    host.podspec(down).success();
    host.assert_clean();
}

#[test]
fn a_udp_client_that_never_pauses_is_heard_again() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&web(&ports()));
    host.wait_log("web/u", "listening");
    // Somebody else's rule, so that connections are tracked without our table too.
    host.sh(
        "nft 'add table ip other; add chain ip other c { type filter hook output priority 0; }; \
         add rule ip other c ct state established accept'",
    )
    .success();
    let client = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:5300").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        socket
    };
    let ask = |socket: &UdpSocket| {
        let _ = socket.send(b"again");
        socket.recv(&mut [0; 64]).is_ok()
    };
    let early = client();
    wait_for("the first answer", || ask(&early));
    let lock = Locks::open(host.run_dir()).unwrap();
    lock.take(Range::Network).unwrap();
    host.sh("nft delete table inet podspec").success();
    let late = client();
    for _ in 0..5 {
        ask(&early);
        assert!(!ask(&late), "nothing leads to the pod");
    }
    lock.release(Range::Network).unwrap();
    for socket in [&early, &late] {
        wait_for("an answer to the same client", || ask(socket));
    }
    host.down("web");
    host.assert_clean();
}

#[test]
fn without_the_table_nothing_is_open() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&web(&ports()));
    http_wait("127.0.0.1:8080");
    // While somebody has the network's lock, nobody may put the table back.
    let lock = Locks::open(host.run_dir()).unwrap();
    lock.take(Range::Network).unwrap();
    host.sh("nft flush ruleset").success();
    wait_for("route_localnet 0", || fs::read_to_string(ROUTED).unwrap() == "0\n");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(table(&host), None, "made without the lock");
    // And the supervisor hears its clients all the same.
    assert_eq!(host.inspect("web")["status"], "running");
    lock.release(Range::Network).unwrap();
    http_wait("127.0.0.1:8080");
    host.down("web");
    host.assert_clean();
}

#[test]
fn an_idle_supervisor_sleeps_while_others_come_and_go() {
    let Some(host) = Host::new() else { return };
    host.up(&sleeper("idle", &json!(["8080:80"])));
    let pid = host.inspect("idle")["supervisor"]["pid"].as_u64().unwrap();
    let switches = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // Its watch begins a moment after the start.
    std::thread::sleep(Duration::from_millis(500));
    let before = switches();
    let many: Vec<String> = (0..40).map(|n| format!("{}:80", 9000 + 2 * n)).collect();
    for ports in [json!(["7000:70", "7100-7199:7100-7199"]), json!(many)] {
        host.up(&sleeper("other", &ports));
        host.down("other");
    }
    host.sh("nft 'add table ip foreign; add chain ip foreign c; flush table ip foreign'").success();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(switches(), before, "the idle supervisor was woken");
    host.sh("nft delete table inet podspec").success();
    wait_for("the loss to wake it", || switches() != before && table(&host).is_some());
    host.down("idle");
    host.assert_clean();
}

#[test]
fn forwarding_that_podspec_turned_on_is_guarded_and_remembered() {
    let Some(host) = Host::with_neighbour() else { return };
    let record = host.run_dir().join(RECORD);
    let first = host.pod(&sleeper("first", &json!(["8080:80"])));
    let planned = host.podspec(["plan", &first]);
    assert!(planned.stderr.contains("ip_forward was off"), "{planned}");
    assert!(!record.exists(), "`plan` changes nothing");
    let up = host.podspec(["up", "-d", &first]);
    let notes = up.stderr.lines().filter(|line| line.contains("ip_forward")).count();
    assert_eq!(notes, 1, "{up}");
    assert_eq!(fs::read_to_string(&record).unwrap(), "0\n");
    let second = host.pod(&sleeper("second", &json!(["8081:80"])));
    let up = host.podspec(["up", "-d", &second]);
    assert!(!up.stderr.contains("ip_forward"), "{up}");
    host.sh("nft flush ruleset").success();
    wait_for("the table", || table(&host).is_some());
    assert!(guarded(&host), "after a flush");
    host.podspec(["down", "first", "second"]).success();
    host.sh("nft flush ruleset").success();
    host.podspec(["up", "-d", &first]).success();
    assert!(guarded(&host), "made anew for a later pod");
    host.down("first");
    host.assert_clean();
}

#[test]
fn forwarding_that_was_on_is_nobody_elses_business() {
    let Some(host) = Host::with_neighbour() else { return };
    host.sh("sysctl -w net.ipv4.ip_forward=1").success();
    let file = host.pod(&sleeper("web", &json!([])));
    let up = host.podspec(["up", "-d", &file]);
    assert!(!up.stderr.contains("ip_forward"), "{up}");
    assert!(!host.run_dir().join(RECORD).exists());
    assert!(!guarded(&host), "a router must go on routing");
    std::thread::sleep(Duration::from_millis(150));
    host.sh("nft flush ruleset").success();
    wait_for("the table", || table(&host).is_some());
    assert!(!guarded(&host), "nor after a flush");
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_foreign_chain_that_drops_is_named_with_what_admits_pods() {
    let Some(host) = Host::with_neighbour() else { return };
    // As docker makes it with iptables-nft, and as firewalld does.
    host.sh("nft 'add table ip filter; add table inet firewalld; \
         add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; \
         add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; }; \
         add rule inet firewalld filter_FORWARD ct state established accept; \
         add rule inet firewalld filter_FORWARD reject with icmpx type admin-prohibited'")
        .success();
    let foreign = || host.sh("nft list table ip filter; nft list table inet firewalld").success();
    let before = foreign();
    let file = host.pod(&web(&ports()));
    let planned = host.podspec(["plan", &file]);
    let up = host.podspec(["up", "-d", &file]);
    assert_eq!(foreign(), before, "podspec changes no foreign chain");
    let warnings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("warning: "));
        lines.map(|line| line.split_once("admits them: ").unwrap().1.to_owned()).collect()
    };
    assert_eq!(warnings(&planned.stderr), warnings(&up.stderr));
    let cures = warnings(&up.stderr);
    assert_eq!(cures.len(), 2, "{up}");
    http_wait("127.0.0.1:8080");
    let from_neighbour = || host.within("neighbour", || http_get(&format!("{HOST}:8080")));
    assert!(from_neighbour().is_err(), "the chain drops what is forwarded");
    for cure in cures {
        host.sh(&cure).success();
    }
    assert!(from_neighbour().unwrap().starts_with("web 80 "));
    let other = host.pod(&sleeper("other", &json!([])));
    let planned = host.podspec(["plan", &other]);
    assert_eq!(warnings(&planned.stderr), [""; 0], "{planned}");
    host.down("web");
    host.assert_clean();
}

/// A pod with an address of its own and one of a container's.
fn two_addresses() -> Value {
    let sleep = json!(["sleep", "infinity"]);
    json!({ "name": "web", "ports": ["8080:80", "9000-9010:9000-9010/udp"], "containers": {
        "c": { "rootfs": "host", "command": sleep },
        "apart": { "rootfs": "host", "command": sleep, "namespaces": { "net": "private" } },
    }})
}

#[test]
fn down_leaves_nothing_whatever_is_gone() {
    let Some(host) = Host::new() else { return };
    let id = podspec::names::PodId::new(host.run_dir(), &"web".parse().unwrap());
    let root = cgroup2_root().unwrap();
    let cgroup = root.join("podspec").join(id.as_str());
    let (root, cgroup) = (root.display(), cgroup.display());
    let no_table = "nft delete table inet podspec";
    let no_bridge = "ip link delete podspec0";
    let no_mount = "umount /run/netns/web /run/netns/web.apart";
    let no_pin = "ip netns delete web; ip netns delete web.apart";
    let no_link = format!("ip link delete ps{id}");
    let no_cgroup = format!(
        "set -e; for pid in $(cat {cgroup}/*/cgroup.procs); do echo $pid >{root}/cgroup.procs; done; \
         rmdir {cgroup}/*/ {cgroup}"
    );
    let nothing = [no_table, no_bridge, no_pin, &no_cgroup].join("; ");
    let losses = [no_table, no_bridge, no_mount, no_pin, &no_link, &no_cgroup, &nothing];
    for supervised in [true, false] {
        for loss in losses {
            host.up(&two_addresses());
            let supervisor = host.inspect("web")["supervisor"]["pid"].clone();
            if !supervised {
                host.kill(&supervisor, "KILL");
            }
            let lost = host.sh(loss);
            assert_eq!(lost.code, Some(0), "{loss}: {lost}");
            let begin = Instant::now();
            let down = host.podspec(["down", "web"]);
            assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
            assert_eq!(down.code, Some(0), "supervised: {supervised}, after `{loss}`: {down}");
            let gone = || host.leftovers().is_empty();
            let what = format!("nothing left (supervised: {supervised}) after `{loss}`");
            let begin = Instant::now();
            while !gone() && begin.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(gone(), "{what}: {:#?}", host.leftovers());
        }
    }
    host.assert_clean();
}

#[test]
fn a_pod_comes_up_on_a_machine_that_lost_its_bridge() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&sleeper("first", &json!(["7000:70"])));
    host.sh("ip link delete podspec0").success();
    host.up(&web(&ports()));
    host.wait_log("web/u", "listening");
    http_wait("127.0.0.1:9001");
    assert_open(&host);
    host.podspec(["down", "web", "first"]).success();
    host.assert_clean();
}
