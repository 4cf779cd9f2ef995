//! Tests only: packets through the whole of it. A host with two pods on the bridge and a neighbour
//! on another link; every place from which a published port must, or must not, be reached.

use crate::net::firewall::{self, Forward, Protocol, Table};
use crate::net::link::{self, Bridge};
use crate::net::rig::{self, ip, name, within};
use crate::net::{Subnet, conntrack, netns};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 121, 2);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 168, 121, 3);
const POD: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 7);
const SOON: Duration = Duration::from_millis(1500);
const NEVER: Duration = Duration::from_millis(250);

struct World {
    host: OwnedFd,
    pod: OwnedFd,
    other: OwnedFd,
    neighbour: OwnedFd,
}

/// A machine on a link of the host's that is not podspec's.
fn neighbour(link: &str, veth: &str, host: Ipv4Addr, address: Ipv4Addr) -> OwnedFd {
    link::make_bridge(&Bridge { name: name(link), address: host, prefix: 24, mtu: 1400 }).unwrap();
    let machine = netns::create().unwrap();
    let veth = link::Veth {
        bridge: name(link),
        prefix: 24,
        gateway: host,
        ..rig::veth(veth, address.octets())
    };
    link::connect(&veth, machine.as_fd()).unwrap();
    machine
}

impl World {
    fn new(bridge_nf: &str, guard_forwarding: bool) -> Self {
        rig::bridge();
        let neighbour = neighbour("up0", "nb0", OUTSIDE, NEIGHBOUR);
        link::forward(true).unwrap();
        let world = Self {
            host: netns::open("/proc/thread-self/ns/net".as_ref()).unwrap(),
            pod: rig::pod("ps1", POD.octets()),
            other: rig::pod("ps2", [10, 89, 0, 8]),
            neighbour,
        };
        std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", bridge_nf).unwrap();
        let network = Subnet { address: rig::GATEWAY, prefix: 16 };
        let bridge = name("podspec0");
        firewall::make_table(&Table { bridge, network, guard_forwarding }).unwrap();
        world
    }

    /// (what it is, where it is, by which address it asks)
    fn places(&self) -> [(&'static str, &OwnedFd, Ipv4Addr); 6] {
        [
            ("a neighbour", &self.neighbour, OUTSIDE),
            ("the host by its own address", &self.host, OUTSIDE),
            ("the host by 127.0.0.1", &self.host, Ipv4Addr::LOCALHOST),
            ("another pod", &self.other, OUTSIDE),
            ("another pod by the gateway", &self.other, rig::GATEWAY),
            ("the pod itself", &self.pod, OUTSIDE),
        ]
    }
}

fn forward(protocol: Protocol, host: u16, count: u16, target_port: u16) -> Forward {
    Forward { address: None, protocol, host, count, target: POD, target_port }
}

fn listener(at: &OwnedFd, port: u16) -> TcpListener {
    within(at, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())
}

fn udp(at: &OwnedFd, port: u16, patience: Duration) -> UdpSocket {
    let socket = within(at, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
    socket.set_read_timeout(Some(patience)).unwrap();
    socket
}

/// A word there and a word back; returns who the server saw.
fn tcp_talk(
    from: &OwnedFd,
    to: (Ipv4Addr, u16),
    server: &TcpListener,
    patience: Duration,
) -> io::Result<IpAddr> {
    let to = SocketAddr::V4(SocketAddrV4::new(to.0, to.1));
    let mut client = within(from, || TcpStream::connect_timeout(&to, patience))?;
    server.set_nonblocking(true)?;
    let (mut served, peer) = server.accept()?;
    served.write_all(b"hello")?;
    drop(served);
    let mut heard = String::new();
    client.read_to_string(&mut heard)?;
    assert_eq!(heard, "hello");
    Ok(peer.ip())
}

fn udp_talk(from: &OwnedFd, to: (Ipv4Addr, u16), server: &UdpSocket) -> io::Result<IpAddr> {
    let client = udp(from, 0, SOON);
    client.connect(to)?;
    client.send(b"x")?;
    let mut buffer = [0; 8];
    let (_, peer) = server.recv_from(&mut buffer)?;
    server.send_to(b"hello", peer)?;
    let length = client.recv(&mut buffer)?;
    assert_eq!(&buffer[..length], b"hello");
    Ok(peer.ip())
}

/// (host, count, target): a single port; ranges that are one element, up and down; ranges in pieces, of which
/// one is a single port; the last ports there are.
const RANGES: [(u16, u16, u16); 8] = [
    (8080, 1, 80),
    (9000, 11, 9000),
    (9100, 100, 8100),
    (9200, 100, 19200),
    (9401, 11, 401),
    (9502, 120, 29502),
    (10_007, 3000, 5),
    (65530, 6, 60001),
];

fn every_port_from_every_place(bridge_nf: &str) {
    let world = World::new(bridge_nf, true);
    let tcp = Protocol::Tcp;
    let at = Forward { address: Some(OUTSIDE), ..forward(tcp, 9300, 5, 9300) };
    let mut all = vec![forward(tcp, 8089, 1, 89)];
    for (host, count, target) in RANGES {
        all.extend([tcp, Protocol::Udp].map(|protocol| forward(protocol, host, count, target)));
    }
    firewall::publish("a", &all, None).unwrap();
    firewall::publish("b", &[at, Forward { host: 8081, count: 1, ..at }], None).unwrap();
    for (host, count, target) in RANGES {
        for n in [0, count / 2, count - 1] {
            let (port, target) = (host + n, target + n);
            let (tcp, udp) = (listener(&world.pod, target), udp(&world.pod, target, SOON));
            for (place, from, address) in world.places() {
                let done = tcp_talk(from, (address, port), &tcp, SOON);
                assert!(done.is_ok(), "bridge-nf {bridge_nf}: {place} to tcp {port}: {done:?}");
                let done = udp_talk(from, (address, port), &udp);
                assert!(done.is_ok(), "bridge-nf {bridge_nf}: {place} to udp {port}: {done:?}");
            }
        }
    }
    let server = listener(&world.pod, 9302);
    for (place, from, address) in world.places() {
        let silent = tcp_talk(from, (address, 8089), &server, SOON).unwrap_err();
        assert_eq!(silent.kind(), ErrorKind::ConnectionRefused, "{place}: nobody listens");
        let one_address = tcp_talk(from, (address, 9302), &server, SOON);
        assert_eq!(one_address.is_ok(), address == OUTSIDE, "{place}: {one_address:?}");
    }
    let seen = tcp_talk(&world.neighbour, (OUTSIDE, 9302), &server, SOON).unwrap();
    assert_eq!(seen, NEIGHBOUR, "a pod sees who asks");
    for port in [8999, 9011, 9099, 9299, 9305, 9400, 9412, 10_006, 13_007] {
        let beside = tcp_talk(&world.neighbour, (OUTSIDE, port), &server, SOON).unwrap_err();
        assert_eq!(beside.kind(), ErrorKind::ConnectionRefused, "port {port} is not published");
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    rig::on_new_host(|| every_port_from_every_place("0"));
}

#[test]
fn a_published_port_is_reached_where_bridges_are_filtered() {
    rig::on_new_host(|| every_port_from_every_place("1"));
}

#[test]
fn a_neighbour_reaches_neither_127_0_0_1_nor_a_pod_directly() {
    rig::on_new_host(|| {
        let world = World::new("0", false);
        let local = |protocol, host, target| Forward {
            address: Some(Ipv4Addr::LOCALHOST),
            ..forward(protocol, host, 1, target)
        };
        let ports = [local(Protocol::Udp, 5000, 6000), local(Protocol::Tcp, 5000, 6000)];
        firewall::publish("a", &ports, None).unwrap();
        // As an attacker does: 127.0.0.1 is somebody else's.
        for (machine, gateway) in [(&world.neighbour, OUTSIDE), (&world.other, rig::GATEWAY)] {
            within(machine, || {
                ip("addr flush dev lo");
                ip(&format!("route add 127.0.0.1/32 via {gateway} dev eth0"));
            });
        }
        let server = udp(&world.pod, 6000, NEVER);
        let arrives = |from: &OwnedFd, to: (Ipv4Addr, u16)| {
            udp(from, 0, NEVER).send_to(b"x", to).unwrap();
            server.recv_from(&mut [0; 8]).is_ok()
        };
        assert!(arrives(&world.host, (Ipv4Addr::LOCALHOST, 5000)));
        assert!(!arrives(&world.neighbour, (Ipv4Addr::LOCALHOST, 5000)));
        assert!(!arrives(&world.other, (Ipv4Addr::LOCALHOST, 5000)));
        assert!(!arrives(&world.neighbour, (POD, 6000)));
        assert!(arrives(&world.host, (POD, 6000)));
        assert!(arrives(&world.other, (POD, 6000)));
        let tcp = listener(&world.pod, 6000);
        tcp_talk(&world.host, (Ipv4Addr::LOCALHOST, 5000), &tcp, SOON).unwrap();
        for (_, from, _) in world.places().into_iter().filter(|p| p.2 == OUTSIDE) {
            let refused = tcp_talk(from, (OUTSIDE, 5000), &tcp, SOON).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        // The other half: it is the drops that hold them off.
        rig::run("nft", "flush chain inet podspec raw");
        assert!(arrives(&world.neighbour, (Ipv4Addr::LOCALHOST, 5000)));
        assert!(arrives(&world.other, (Ipv4Addr::LOCALHOST, 5000)));
        assert!(arrives(&world.neighbour, (POD, 6000)));
    });
}

#[test]
fn a_pod_reaches_out_and_its_ports_take_nothing_that_passes() {
    rig::on_new_host(|| {
        let world = World::new("0", true);
        firewall::publish("a", &[forward(Protocol::Tcp, 5353, 1, 53)], None).unwrap();
        let outside = listener(&world.neighbour, 5353);
        for pod in [&world.pod, &world.other] {
            let seen = tcp_talk(pod, (NEIGHBOUR, 5353), &outside, SOON).unwrap();
            assert_eq!(seen, IpAddr::V4(OUTSIDE), "leaves under the host's address");
        }
    });
}

#[test]
fn the_guard_keeps_the_host_from_being_a_router() {
    for guard in [true, false] {
        rig::on_new_host(|| {
            let world = World::new("0", guard);
            let address = Ipv4Addr::new(192, 168, 122, 3);
            let second = neighbour("up1", "nb1", Ipv4Addr::new(192, 168, 122, 2), address);
            let server = listener(&second, 80);
            let patience = if guard { NEVER } else { SOON };
            let done = tcp_talk(&world.neighbour, (address, 80), &server, patience);
            assert_eq!(done.is_err(), guard, "{done:?}");
        });
    }
}

#[test]
fn a_client_that_never_pauses_is_heard_once_its_entry_is_forgotten() {
    rig::on_new_host(|| {
        let world = World::new("0", true);
        conntrack::forget(&[], &[POD]).unwrap();
        let port = forward(Protocol::Udp, 5353, 1, 53);
        let server = udp(&world.pod, 53, NEVER);
        let client = udp(&world.neighbour, 0, NEVER);
        let arrives = || {
            client.send_to(b"x", (OUTSIDE, 5353)).unwrap();
            server.recv_from(&mut [0; 8]).is_ok()
        };
        // Somebody on the host has the port first, and the client's way is known from then on.
        let before = udp(&world.host, 5353, SOON);
        assert!(!arrives());
        before.recv_from(&mut [0; 8]).unwrap();
        drop(before);
        firewall::publish("a", &[port], None).unwrap();
        assert!(!arrives(), "else this test proves nothing");
        let elsewhere = Forward { host: 5354, ..port };
        conntrack::forget(&[elsewhere], &[Ipv4Addr::new(10, 89, 0, 99)]).unwrap();
        assert!(!arrives(), "what was asked for is all that is forgotten");
        conntrack::forget(&[port], &[]).unwrap();
        assert!(arrives());
        firewall::unpublish(&[port]).unwrap();
        assert!(arrives(), "an entry outlives its element");
        conntrack::forget(&[], &[POD]).unwrap();
        assert!(!arrives());
    });
}

/// Where two flows of one client would look alike to the pod, the kernel takes the next port of what it was given. That
/// must be one that is published.
#[test]
fn a_client_that_uses_a_port_twice_reaches_no_port_beside_the_range() {
    rig::on_new_host(|| {
        let world = World::new("0", true);
        let second = Ipv4Addr::new(192, 168, 121, 12);
        ip(&format!("addr add {second}/24 dev up0"));
        firewall::publish("a", &[forward(Protocol::Udp, 9000, 11, 7000)], None).unwrap();
        let last = udp(&world.pod, 7010, NEVER);
        let beside: Vec<UdpSocket> =
            [6998, 6999, 7011, 7012].map(|port| udp(&world.pod, port, NEVER)).into();
        let client = udp(&world.neighbour, 0, NEVER);
        client.send_to(b"x", (OUTSIDE, 9010)).unwrap();
        last.recv_from(&mut [0; 8]).unwrap();
        client.send_to(b"y", (second, 9010)).unwrap();
        for server in &beside {
            let found = server.recv_from(&mut [0; 8]);
            assert!(found.is_err(), "{:?} was reached", server.local_addr());
        }
    });
}
