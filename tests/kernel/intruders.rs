//! Pods and neighbours that reach over the network for what is not theirs: the host's loopback, its routes, traffic that
//! only passes through, a family of addresses that nobody asked for.

use crate::host::{HOST, Host, http_get, udp_ask, udp_server, wait_for, wait_some};
use serde_json::{Value, json};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;

fn pod(name: &str, ports: &Value, command: &[String]) -> Value {
    json!({ "name": name, "ports": ports, "containers": { "c": { "rootfs": "host", "command": command } } })
}

fn sleeper(name: &str, ports: &Value) -> Value {
    pod(name, ports, &["sleep".to_owned(), "infinity".to_owned()])
}

/// CVE-2025-67499: a published port is the host's, and not that of whoever is spoken to through it.
#[test]
fn a_published_port_is_not_taken_from_what_passes_through() {
    let Some(host) = Host::with_neighbour() else { return };
    let mut outside = Command::new("ip");
    outside.args(["netns", "exec", "neighbour"]).args(udp_server("outside", 5300));
    let mut outside = host.start(&mut outside);
    host.up(&pod("names", &json!(["5300:5300/udp"]), &udp_server("names", 5300)));
    host.up(&sleeper("asks", &json!([])));
    host.wait_log("names/c", "listening");
    let answer = wait_some("the neighbour's answer", || {
        host.within("asks", || udp_ask("192.0.2.2:5300", "who")).ok()
    });
    assert_eq!(answer, "outside who");
    assert_eq!(udp_ask("192.0.2.1:5300", "who").unwrap(), "names who");
    outside.kill().unwrap();
    outside.wait().unwrap();
    host.podspec(["down", "names", "asks"]).success();
    host.assert_clean();
}

/// CVE-2020-8558: what the host serves on 127.0.0.1 alone, reached for from a pod whose bridge routes 127/8.
#[test]
fn a_service_of_the_hosts_loopback_is_not_a_pods() {
    let Some(host) = Host::with_neighbour() else { return };
    let service = UdpSocket::bind("127.0.0.1:9000").unwrap();
    host.up(&sleeper("web", &json!(["127.0.0.1:8080:80"])));
    assert_eq!(host.sh("sysctl -n net.ipv4.conf.podspec0.route_localnet").success(), "1\n");
    let gateway = host.inspect("web")["network"]["gateway"].as_str().unwrap().to_owned();
    // As one who has taken the pod's network over; on the neighbour `lo` is down.
    let attack = format!(
        "sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1; \
         ip address del 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via {gateway} dev eth0; ip route get 127.0.0.1"
    );
    let routed = host.sh(&format!("ip netns exec web sh -c '{attack}'")).success();
    assert!(routed.contains("dev eth0"), "{routed}");
    host.sh("ip -n neighbour route add 127.0.0.1/32 via 192.0.2.1 dev eth0").success();
    for from in ["web", "neighbour"] {
        host.within(from, || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(format!("intruder {from}").as_bytes(), "127.0.0.1:9000").unwrap();
        });
    }
    // What came before would be read before this.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"local", "127.0.0.1:9000").unwrap();
    let mut text = [0; 64];
    let length = service.recv(&mut text).unwrap();
    assert_eq!(&text[..length], b"local");
    host.down("web");
    host.assert_clean();
}

/// A router advertisement (RFC 4861) for this prefix, as a frame to all nodes.
const ADVERTISE: &str = r#"
    use Socket; my ($prefix) = @ARGV;
    my ($source, $all) = map { Socket::inet_pton(AF_INET6, $_) } "fe80::2", "ff02::1";
    my $option = pack "C4 N3 a16", 3, 4, 64, 0xc0, 1800, 1800, 0, Socket::inet_pton(AF_INET6, $prefix);
    my $body = pack("C2 n C2 n N2", 134, 0, 0, 64, 0, 1800, 0, 0) . $option;
    my $sum = 0; $sum += $_ for unpack "n*", $source . $all . pack("N2", length $body, 58) . $body;
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    substr($body, 2, 2) = pack "n", ~$sum & 0xffff;
    my $frame = pack("H12 H12 n N n C2", "333300000001", "020000000002", 0x86dd, 6 << 28, length $body, 58, 255) . $source . $all . $body;
    socket my $s, 17, 3, 0 or die "socket: $!";
    open my $i, "<", "/sys/class/net/eth0/ifindex" or die; chomp(my $index = <$i>);
    send $s, $frame, 0, pack("S n l S C C a8", 17, 0x86dd, $index, 0, 0, 6, "") or die "send: $!";"#;

/// CVE-2020-10749 and CVE-2020-13401: a pod that may send raw frames plays the router.
#[test]
fn a_router_advertisement_of_a_pod_is_not_heard() {
    let Some(host) = Host::with_neighbour() else { return };
    let mut web = sleeper("web", &json!([]));
    web["containers"]["c"]["security"] = json!({ "capabilities": { "add": ["NET_RAW"] } });
    host.up(&web);
    let routes = || host.sh("ip -6 route; ip -6 address show dev podspec0").success();
    let before = routes();
    let advertise = |prefix: &str| {
        host.podspec(["exec", "web/c", "--", "perl", "-e", ADVERTISE, prefix]).success();
    };
    advertise("2001:db8:a::");
    assert_eq!(routes(), before);
    // It would be: the same, to a bridge that is told to listen.
    host.sh("sysctl -qw net.ipv6.conf.podspec0.disable_ipv6=0 net.ipv6.conf.podspec0.accept_ra=2 net.ipv6.conf.podspec0.forwarding=0")
        .success();
    wait_for("the route to the second prefix", || {
        advertise("2001:db8:b::");
        routes().contains("2001:db8:b::")
    });
    assert!(!routes().contains("2001:db8:a::"), "{}", routes());
    host.sh("sysctl -qw net.ipv6.conf.podspec0.disable_ipv6=1").success();
    host.down("web");
    host.assert_clean();
}

/// CVE-2024-32473: where a pod has no IPv6 there is none.
#[test]
fn a_pod_of_ipv4_has_no_other_address() {
    let Some(host) = Host::with_neighbour() else { return };
    host.up(&pod("web", &json!(["8080:80"]), &crate::host::server("web", &[80])));
    host.up(&sleeper("other", &json!([])));
    crate::host::http_wait("127.0.0.1:8080");
    let addresses = host.podspec(["exec", "other/c", "--", "cat", "/proc/net/if_inet6"]).success();
    assert_eq!(addresses, "");
    let refused = TcpStream::connect("[::1]:8080").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
    assert!(http_get(&format!("{HOST}:8080")).is_ok());
    host.podspec(["down", "web", "other"]).success();
    host.assert_clean();
}
