//! Published ports: from every place that should reach them, from none that should not, refused and not
//! hung where nobody listens, and conflicts found before anything is touched.

use crate::host::{HOST, Host, Outcome, http_get, http_wait, server, udp_ask, udp_server};
use nix::sys::socket;
use serde_json::{Value, json};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn pod(name: &str, ports: &Value, command: &[String]) -> Value {
    json!({ "name": name, "ports": ports, "containers": { "c": { "rootfs": "host", "command": command } } })
}

fn sleeper(name: &str, ports: &Value) -> Value {
    pod(name, ports, &["sleep".to_owned(), "infinity".to_owned()])
}

/// Refused, and at once: a connection that hangs is a packet that got lost.
#[track_caller]
fn assert_refused(what: &str, ask: impl FnOnce() -> io::Result<String>) {
    let begin = Instant::now();
    match ask() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        other => panic!("{what}: {other:?} after {:?}", begin.elapsed()),
    }
}

/// `http_get` from each of the places that a published port must answer.
fn from_everywhere(host: &Host, port: u16) -> Vec<(&'static str, io::Result<String>)> {
    let (outside, inside) = (format!("{HOST}:{port}"), format!("127.0.0.1:{port}"));
    vec![
        ("another host", host.within("neighbour", || http_get(&outside))),
        ("the host's own address", http_get(&outside)),
        ("127.0.0.1", http_get(&inside)),
        ("another pod", host.within("other", || http_get(&outside))),
        ("the pod itself", host.within("web", || http_get(&outside))),
    ]
}

#[test]
fn a_published_port_answers_from_five_places() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&pod("web", &json!(["8080:80"]), &server("web", &[80])));
    host.up(&sleeper("other", &json!([])));
    http_wait("127.0.0.1:8080");
    // With and without bridged frames passing through the IP hooks, where the kernel has the module.
    for setting in ["0", "1"] {
        let knob = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if std::path::Path::new(knob).exists() {
            std::fs::write(knob, setting).unwrap();
        }
        for (place, answer) in from_everywhere(&host, 8080) {
            let answer = answer.unwrap_or_else(|e| panic!("{place} (bridge-nf {setting}): {e}"));
            assert!(answer.starts_with("web 80 "), "{place} (bridge-nf {setting}): {answer}");
        }
    }
    // The client's address stays where it can.
    let answer = host.within("neighbour", || http_get(&format!("{HOST}:8080"))).unwrap();
    assert_eq!(answer, "web 80 192.0.2.2");
    host.podspec(["down", "web", "other"]).success();
    host.assert_clean();
}

#[test]
fn where_nobody_listens_a_connection_is_refused() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&sleeper("web", &json!(["8080:80"])));
    host.up(&sleeper("other", &json!([])));
    for (place, answer) in from_everywhere(&host, 8080) {
        assert_refused(place, || answer);
    }
    host.podspec(["down", "web", "other"]).success();
    for address in ["127.0.0.1:8080", "192.0.2.1:8080"] {
        assert_refused("after down", || http_get(address));
    }
    host.assert_clean();
}

#[test]
fn a_loopback_port_is_closed_to_neighbours() {
    let Some(host) = Host::with_neighbour() else { return };
    let ports = json!(["127.0.0.1:8080:80/udp", "127.0.0.1:8081:81"]);
    host.up(&pod("web", &ports, &udp_server("web", 80)));
    host.wait_log("web/c", "listening");
    assert_eq!(udp_ask("127.0.0.1:8080", "local").unwrap(), "web local");
    // Over a wire with the destination 127.0.0.1, as moby #45610 was reached.
    host.sh("ip -n neighbour route add 127.0.0.1/32 via 192.0.2.1 dev eth0").success();
    host.within("neighbour", || {
        let socket = UdpSocket::bind("192.0.2.2:0").unwrap();
        for address in ["127.0.0.1:8080", "192.0.2.1:8080"] {
            let _ = socket.send_to(b"intruder", address);
        }
    });
    assert_refused("the host's own address", || http_get("192.0.2.1:8081"));
    assert_refused("a neighbour", || host.within("neighbour", || http_get("192.0.2.1:8081")));
    // What came before would have been answered before this.
    assert_eq!(udp_ask("127.0.0.1:8080", "last").unwrap(), "web last");
    // The answer may overtake the line on its way through the supervisor.
    let log = host.wait_log("web/c", "received last");
    assert!(!log.contains("intruder"), "{log}");
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_port_that_is_not_published_is_closed_to_neighbours() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&pod("web", &json!([]), &udp_server("web", 6000)));
    host.wait_log("web/c", "listening");
    let address = host.inspect("web")["network"]["ipv4"].as_str().unwrap().to_owned();
    let address = address.split('/').next().unwrap().to_owned();
    assert_eq!(udp_ask(&format!("{address}:6000"), "host").unwrap(), "web host");
    // A neighbour that routes the pods' network over this host.
    host.sh(&format!("ip -n neighbour route add {address}/32 via {HOST}")).success();
    let answer = host.within("neighbour", || udp_ask(&format!("{address}:6000"), "intruder"));
    assert!(answer.is_err(), "{answer:?}");
    assert!(!host.logs("web/c").contains("intruder"));
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_port_of_one_address_is_not_open_on_others() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&pod("web", &json!(["192.0.2.1:8080:80"]), &server("web", &[80])));
    http_wait("192.0.2.1:8080");
    host.within("neighbour", || http_get("192.0.2.1:8080")).unwrap();
    assert_refused("127.0.0.1", || http_get("127.0.0.1:8080"));
    host.down("web");
    host.assert_clean();
}

#[test]
fn two_pods_publish_one_port_on_two_addresses() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&pod("one", &json!(["127.0.0.1:8080:80"]), &server("one", &[80])));
    host.up(&pod("two", &json!(["192.0.2.1:8080:80"]), &server("two", &[80])));
    assert!(http_wait("127.0.0.1:8080").starts_with("one"));
    assert!(http_wait("192.0.2.1:8080").starts_with("two"));
    host.podspec(["down", "one", "two"]).success();
    host.assert_clean();
}

#[test]
fn a_range_is_open_from_its_first_to_its_last_port() {
    let Some(host) = Host::with_neighbour() else { return };
    let ports = json!(["9000-9010:9000-9010"]);
    host.up(&pod("web", &ports, &server("web", &[8999, 9000, 9005, 9010, 9011])));
    http_wait("127.0.0.1:9000");
    for port in [9000, 9005, 9010] {
        for address in ["127.0.0.1", HOST] {
            let answer = http_get(&format!("{address}:{port}")).unwrap();
            assert!(answer.starts_with(&format!("web {port} ")), "{answer}");
        }
        let answer = host.within("neighbour", || http_get(&format!("{HOST}:{port}"))).unwrap();
        assert!(answer.starts_with(&format!("web {port} ")), "{answer}");
    }
    for port in [8999, 9011] {
        assert_refused("outside the range", || http_get(&format!("127.0.0.1:{port}")));
    }
    assert_refused("nobody listens", || http_get("127.0.0.1:9004"));
    host.down("web");
    host.assert_clean();
}

/// The first, a middle and the last port of each, from each place.
#[test]
fn a_range_may_lead_to_other_numbers() {
    let Some(host) = Host::with_neighbour() else { return };
    // Down and up; one that is an element as it is, and one that is not; over the ephemeral ports.
    let ranges =
        [(9000_u16, 80_u16, 100_u16), (2000, 30_000, 100), (9201, 1001, 120), (40_007, 7, 3000)];
    let spread = |(host, target, count): (u16, u16, u16)| {
        [0, count / 2, count - 1].map(|n| (host + n, target + n))
    };
    let ports: Vec<String> = ranges
        .iter()
        .map(|(host, target, count)| {
            let last = count - 1;
            format!("{host}-{}:{target}-{}", host + last, target + last)
        })
        .collect();
    let listening: Vec<u16> = ranges.into_iter().flat_map(spread).map(|(_, port)| port).collect();
    host.up(&pod("web", &json!(ports), &server("web", &listening)));
    host.up(&sleeper("other", &json!([])));
    http_wait("127.0.0.1:9000");
    for (port, target) in ranges.into_iter().flat_map(spread) {
        for (place, answer) in from_everywhere(&host, port) {
            let answer = answer.unwrap_or_else(|e| panic!("{place} to {port}: {e}"));
            assert!(answer.starts_with(&format!("web {target} ")), "{place} to {port}: {answer}");
        }
    }
    for port in [8999, 9100, 9200, 9321] {
        assert_refused("beside the range", || http_get(&format!("127.0.0.1:{port}")));
    }
    let doors = host.podspec(["port", "web"]).success();
    assert_eq!(doors.lines().next(), Some("80-179/tcp -> 0.0.0.0:9000-9099"), "{doors}");
    assert_eq!(host.podspec(["port", "web/c", "30099"]).success(), "0.0.0.0:2099\n");
    host.podspec(["down", "web", "other"]).success();
    host.assert_clean();
}

#[test]
fn a_free_port_is_chosen_and_shown() {
    let Some(host) = Host::with_neighbour() else { return };
    let ports = json!(["0:80", { "host": 0, "container": 81, "address": "127.0.0.1" }]);
    let web = pod("web", &ports, &server("web", &[80, 81]));
    let file = host.pod(&web);
    let shown = host.podspec(["up", "-d", &file]);
    let ports = host.inspect("web")["ports"].clone();
    let chosen = |n: usize| ports[n]["host"].as_u64().unwrap();
    assert!(shown.stderr.contains(&format!("0.0.0.0:{}->80/tcp", chosen(0))), "{shown}");
    assert!(http_wait(&format!("127.0.0.1:{}", chosen(0))).starts_with("web 80 "));
    assert!(http_wait(&format!("127.0.0.1:{}", chosen(1))).starts_with("web 81 "));
    assert_refused("another address", || http_get(&format!("{HOST}:{}", chosen(1))));
    let found = host.podspec(["port", "web", "80"]).success();
    assert_eq!(found, format!("0.0.0.0:{}\n", chosen(0)));
    let range = host.sh("cat /proc/sys/net/ipv4/ip_local_port_range").success();
    let last: u64 = range.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(chosen(0) > last, "the kernel hands out ports up to {last}");
    assert!(host.podspec(["ps"]).success().contains(&chosen(0).to_string()));

    // The file is what runs, and the port stays.
    let again = host.podspec(["up", "-d", &file]).success();
    assert!(again.contains("unchanged"), "{again}");
    assert_eq!(host.inspect("web")["ports"], ports);
    host.down("web");

    // Somebody holds it, without listening, when the pod comes again.
    let kind = socket::SockType::Stream;
    let silent = socket::socket(socket::AddressFamily::Inet, kind, socket::SockFlag::empty(), None);
    let silent = silent.unwrap();
    let at = socket::SockaddrIn::new(127, 0, 0, 1, chosen(0) as u16);
    socket::bind(silent.as_raw_fd(), &at).unwrap();
    host.up(&web);
    let next = host.inspect("web")["ports"][0]["host"].as_u64().unwrap();
    assert_ne!(next, chosen(0));
    drop(silent);
    host.down("web");
    host.assert_clean();
}

#[test]
fn port_tells_of_the_namespace_that_a_container_is_in() {
    let Some(host) = Host::new() else { return };
    let sleep = json!(["sleep", "infinity"]);
    host.up(&json!({ "name": "web", "ports": ["8080:80", "5300-5309:53-62/udp"], "containers": {
        "shared": { "rootfs": "host", "command": sleep },
        "apart": { "rootfs": "host", "command": sleep, "namespaces": { "net": "private" },
                   "ports": ["8081:80"] },
        "host": { "rootfs": "host", "command": sleep, "namespaces": { "net": "host" } },
    }}));
    let port = |words: &[&str]| host.podspec([&["port"], words].concat());
    let shared = "80/tcp -> 0.0.0.0:8080\n53-62/udp -> 0.0.0.0:5300-5309\n";
    assert_eq!(port(&["web/shared"]).success(), shared);
    assert_eq!(port(&["web/apart"]).success(), "80/tcp -> 0.0.0.0:8081\n");
    assert_eq!(port(&["web/host"]).success(), "");
    assert_eq!(port(&["web", "80"]).success(), "0.0.0.0:8080\n0.0.0.0:8081\n");
    assert_eq!(port(&["web", "62/udp"]).success(), "0.0.0.0:5309\n");
    let json: Value =
        serde_json::from_str(&port(&["web", "55/udp", "--format", "json"]).success()).unwrap();
    assert_eq!((&json[0]["host"], &json[0]["count"]), (&json!(5302), &json!(1)));
    let error = port(&["web", "53"]).fails(1);
    assert!(error.contains("port 53/tcp of `web` is not published"), "{error}");
    port(&["web/nobody"]).fails(1);
    port(&["web", "http"]).fails(2);
    host.down("web");
    host.assert_clean();
}

#[test]
fn udp_answers_from_the_address_it_was_asked_at() {
    let Some(host) = Host::with_neighbour() else { return };
    let web = pod("web", &json!(["5300:53/udp"]), &udp_server("web", 53));
    // A client that talks before the pod is there must be heard once it is.
    let early = UdpSocket::bind("127.0.0.1:0").unwrap();
    early.connect("127.0.0.1:5300").unwrap();
    let _ = early.send(b"too early");
    host.up(&web);
    host.wait_log("web/c", "listening");
    for address in ["127.0.0.1:5300", "192.0.2.1:5300"] {
        assert_eq!(udp_ask(address, "hi").unwrap(), "web hi", "{address}");
    }
    assert_eq!(host.within("neighbour", || udp_ask("192.0.2.1:5300", "hi")).unwrap(), "web hi");
    early.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut answer = [0; 64];
    // The first call may report the refusal of the datagram that came too early.
    let mut ask = || early.send(b"again").and_then(|_| early.recv(&mut answer));
    let length = ask().or_else(|_| ask()).unwrap();
    assert_eq!(&answer[..length], b"web again");
    host.down("web");
    host.assert_clean();
}

/// The conflict is reported, exit 1, with these words; and nothing has been touched.
#[track_caller]
fn assert_conflict(host: &Host, refused: Outcome, words: &[&str]) {
    let error = refused.fails(1);
    for word in words {
        assert!(error.contains(word), "{word:?} is not in:\n{error}");
    }
    assert!(!host.podspec(["ps"]).success().contains("second"));
}

#[test]
fn a_conflict_names_the_pod_that_holds_the_port() {
    let Some(host) = Host::new() else { return };
    host.up(&sleeper("first", &json!(["8080:80", "9000-9010:9000-9010", "127.0.0.1:7000:70"])));
    for (ports, port) in [
        (json!(["8080:81"]), "8080"),
        (json!(["127.0.0.1:8080:81"]), "8080"),
        (json!(["9005:81"]), "9005"),
        (json!(["9010-9020:9010-9020"]), "9010"),
        (json!(["8990-9030:8990-9030"]), "90"),
        (json!(["7000:70"]), "7000"),
    ] {
        let file = host.pod(&sleeper("second", &ports));
        assert_conflict(&host, host.podspec(["up", "-d", &file]), &[port, "first"]);
    }
    // The same port of another protocol, or of another address, is another port.
    host.up(&sleeper("second", &json!(["8080:80/udp", "127.0.0.2:7000:70"])));
    host.podspec(["down", "first", "second"]).success();
    host.assert_clean();
}

#[test]
fn a_conflict_names_the_process_that_holds_the_port() {
    let Some(host) = Host::new() else { return };
    let mut holder =
        host.start(std::process::Command::new("perl").args(server("x", &[8080]).split_off(1)));
    http_wait("127.0.0.1:8080");
    let pid = host.processes().first().unwrap().0.to_string();
    let file = host.pod(&sleeper("second", &json!(["8080:80"])));
    assert_conflict(&host, host.podspec(["up", "-d", &file]), &["8080", &pid, "perl"]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    host.assert_clean();
}

#[test]
fn nobody_else_can_bind_a_published_port() {
    let Some(host) = Host::new() else { return };
    host.up(&sleeper("web", &json!(["8080:80"])));
    let bound = TcpListener::bind("0.0.0.0:8080");
    assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    host.down("web");
    TcpListener::bind("0.0.0.0:8080").unwrap();
    host.assert_clean();
}

#[test]
fn a_port_is_free_again_after_down() {
    let Some(host) = Host::new() else { return };
    let web = pod("web", &json!(["8080:80"]), &server("web", &[80]));
    for _ in 0..5 {
        host.up(&web);
        // Connections that the server closes first are in TIME_WAIT when the next pod comes.
        http_wait("127.0.0.1:8080");
        host.down("web");
    }
    host.assert_clean();
}

#[test]
fn pods_reach_other_hosts_and_look_like_this_one() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&sleeper("web", &json!([])));
    let listener = host.within("neighbour", || TcpListener::bind("192.0.2.2:80").unwrap());
    let _client = host.within("web", || TcpStream::connect("192.0.2.2:80").unwrap());
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), HOST);
    host.down("web");
    host.assert_clean();
}

#[test]
fn containers_that_share_net_meet_on_localhost() {
    let Some(host) = Host::new() else { return };
    let client = ["curl", "-sS", "--retry", "50", "--retry-connrefused", "--retry-delay", "0"];
    let client: Vec<&str> = client.into_iter().chain(["http://127.0.0.1:80"]).collect();
    host.up(&json!({ "name": "web", "containers": {
        "server": { "rootfs": "host", "command": server("web", &[80]) },
        "client": { "rootfs": "host", "command": client, "dependsOn": ["server"] },
    }}));
    host.wait_log("web/client", "web 80 127.0.0.1");
    host.down("web");
    host.assert_clean();
}

#[test]
fn nothing_foreign_is_changed() {
    let Some(host) = Host::with_neighbour() else { return };
    // Turning ip_forward on makes the kernel reset other knobs by itself.
    host.sh("sysctl -w net.ipv4.ip_forward=1").success();
    let rules = "nft 'add table inet foreign; add chain inet foreign c { type filter hook input priority 0; }; \
                 add rule inet foreign c tcp dport 22 accept'";
    host.sh(rules).success();
    let knobs = "nft list table inet foreign; sysctl net.ipv4.conf.all net.ipv4.conf.uplink \
                 net.ipv4.conf.default net.ipv4.conf.lo | grep -v ' net.ipv4.conf.all.forwarding'";
    let before = host.sh(knobs).success();
    host.up(&sleeper("web", &json!(["8080:80"])));
    // ip_forward is set where it must be, and then every link forwards.
    let without =
        |text: &str| text.lines().filter(|l| !l.contains("forwarding")).collect::<String>();
    assert_eq!(without(&host.sh(knobs).success()), without(&before));
    let local = host.sh("sysctl -n net.ipv4.conf.podspec0.route_localnet").success();
    assert_eq!(local, "1\n", "127.0.0.1 is published through the bridge alone");
    host.down("web");
    assert_eq!(without(&host.sh(knobs).success()), without(&before));
    host.assert_clean();
}

#[test]
fn a_pod_without_a_network_has_lo_alone() {
    let Some(host) = Host::new() else { return };
    let mut web = sleeper("web", &json!([]));
    web["network"] = json!("none");
    host.up(&web);
    let links = host.podspec(["exec", "web/c", "--", "ip", "-o", "link"]).success();
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo:") && links.contains(",UP"), "{links}");
    host.down("web");
    host.assert_clean();
}

#[test]
fn the_interfaces_of_a_pod_have_the_mtu_of_the_file() {
    let Some(host) = Host::new() else { return };
    let mut web = sleeper("web", &json!([]));
    web["network"] = json!({ "mode": "bridge", "mtu": 1380 });
    web["containers"]["apart"] = json!({ "rootfs": "host", "command": ["sleep", "infinity"], "namespaces": { "net": "private" } });
    host.up(&web);
    for container in ["c", "apart"] {
        let read = ["exec", &format!("web/{container}"), "--", "cat", "/sys/class/net/eth0/mtu"];
        assert_eq!(host.podspec(read).success(), "1380\n", "{container}");
    }
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_container_that_opts_out_has_its_own_address_and_ports() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "web", "containers": {
        "shared": { "rootfs": "host", "command": server("shared", &[80]) },
        "apart": { "rootfs": "host", "command": server("apart", &[80]),
                   "namespaces": { "net": "private" }, "ports": ["8081:80"] },
        "host": { "rootfs": "host", "command": ["sleep", "infinity"], "namespaces": { "net": "host" } },
    }}));
    assert!(http_wait("127.0.0.1:8081").starts_with("apart"));
    assert_eq!(host.netns(), ["web", "web.apart"]);
    let links = host.podspec(["exec", "web/host", "--", "ip", "-o", "link"]).success();
    assert!(links.contains("podspec0"), "the host's links are not in view:\n{links}");
    host.down("web");
    host.assert_clean();
}
