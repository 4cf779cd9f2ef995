//! Links: the bridge, a veth pair for each namespace, loopback, and the settings that belong to
//! them. A set-up is one send; the links' own rules (who may talk to whom) are the firewall's.

use crate::names::IfName;
use crate::net::NetError;
use crate::net::netlink::{
    ACK, Attributes, Batch, CREATE, EXCL, Message, NetlinkError, REQUEST, Socket, find, messages,
    receive, room, text, u32_at,
};
use crate::net::netns::Visit;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::RecvFlags;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_AF_SPEC: u16 = 26;
const INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const BRPORT_HAIRPIN: u16 = 4;

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u16 = 10;
/// The number, in the batch that makes a veth pair, of the message that may fail.
const WITHOUT_IPV6: usize = 1;
/// `lo` is made first in every network namespace.
const LOOPBACK: u32 = 1;
/// The peer's index in its namespace is chosen here, so that one send can name it.
const PEER: u32 = 2;
const UP: u32 = 1;
const GROUP_LINK: u32 = 1;
/// `struct ifinfomsg`, family to change mask.
const LINK_HEADER: usize = 16;

pub struct Bridge {
    pub name: IfName,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub mtu: u32,
}

pub struct Veth {
    pub host: IfName,
    /// The other end's name inside its namespace.
    pub peer: IfName,
    pub bridge: IfName,
    /// Of the end inside.
    pub mac: [u8; 6],
    pub mtu: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
}

/// `struct ifinfomsg`; `up` sets the flag IFF_UP, and no other is changed.
fn link_header(index: u32, up: bool) -> Vec<u8> {
    let flags = if up { UP } else { 0 };
    [[0; 4], index.to_ne_bytes(), flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

fn address_header(prefix: u8, index: u32) -> Vec<u8> {
    [[FAMILY_IPV4, prefix, 0, 0], index.to_ne_bytes()].concat()
}

fn put_address(a: &mut Attributes<'_>, address: Ipv4Addr, prefix: u8) {
    let broadcast = u32::from(address) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    a.bytes(1, &address.octets());
    a.bytes(2, &address.octets());
    a.bytes(4, &broadcast.to_be_bytes());
}

fn index_of(name: &IfName) -> Result<u32, Errno> {
    if_nametoindex(name.as_str())
}

fn set(path: &Path, value: &'static str) -> Result<(), NetError> {
    std::fs::write(path, value).map_err(|source| NetError::WriteSetting {
        path: path.to_owned(),
        value,
        source,
    })
}

/// A setting of IPv6, which a kernel without IPv6 does not have.
fn set_ipv6(path: &str, value: &'static str) -> Result<(), NetError> {
    match set(path.as_ref(), value) {
        Err(NetError::WriteSetting { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        done => done,
    }
}

/// Whether the machine forwards IPv4. The planner asks for it only where it was off.
pub fn forward(on: bool) -> Result<(), NetError> {
    set("/proc/sys/net/ipv4/ip_forward".as_ref(), if on { "1" } else { "0" })
}

/// Whether 127.0.0.0/8 may be routed over the bridge; never set on any other link, nor on `all`.
pub fn route_loopback(bridge: &IfName, allowed: bool) -> Result<(), NetError> {
    let path = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
    set(path.as_ref(), if allowed { "1" } else { "0" })
}

/// Makes the bridge, or finds that it is there as it should be.
pub fn make_bridge(b: &Bridge) -> Result<(), NetError> {
    let failed = |source| NetError::MakeBridge { bridge: b.name.clone(), source };
    let socket = Socket::route().map_err(failed)?;
    let mut batch = Batch::new();
    // The MAC is given: a bridge without one takes the lowest of its ports, a new one with each
    // pod, and the neighbours' ARP caches would be wrong each time.
    batch.message(NEWLINK, ACK | CREATE | EXCL, &link_header(0, false), |a| {
        a.text(IFLA_IFNAME, b.name.as_str());
        a.bytes(IFLA_ADDRESS, &bridge_mac(b.address));
        a.host32(IFLA_MTU, b.mtu);
        a.nest(IFLA_LINKINFO, |a| a.text(INFO_KIND, "bridge"));
    });
    match socket.run(&batch) {
        Err(e) if e.errno() == Some(Errno::EEXIST) => check_bridge(&socket, b)?,
        done => done.map_err(failed)?,
    }
    let index = bridge_index(&b.name)?;
    set_ipv6(&format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", b.name), "1")?;
    set_ipv6(&format!("/proc/sys/net/ipv6/conf/{}/accept_ra", b.name), "0")?;
    let mut batch = Batch::new();
    let address =
        batch.message(NEWADDR, ACK | CREATE | EXCL, &address_header(b.prefix, index), |a| {
            put_address(a, b.address, b.prefix);
        });
    batch.message(NEWLINK, ACK, &link_header(index, true), |_| {});
    for refusal in socket.refusals(&batch).map_err(failed)? {
        if refusal.message != address || refusal.errno != Errno::EEXIST {
            return Err(failed(NetlinkError::Refused(refusal)));
        }
    }
    Ok(())
}

/// Of our own making, and told from the address, so that the bridge is known by it.
fn bridge_mac(address: Ipv4Addr) -> Vec<u8> {
    [[0x02, 0x70].as_slice(), &address.octets()].concat()
}

fn bridge_index(bridge: &IfName) -> Result<u32, NetError> {
    index_of(bridge).map_err(|source| NetError::NoBridge { bridge: bridge.clone(), source })
}

/// A bridge of that name is ours if it has our address, or our MAC and no address yet: another `up`
/// may be between making the bridge and giving it the address.
fn check_bridge(socket: &Socket, b: &Bridge) -> Result<(), NetError> {
    let failed = |source| NetError::MakeBridge { bridge: b.name.clone(), source };
    let mut batch = Batch::new();
    batch.message(GETLINK, REQUEST, &link_header(0, false), |a| {
        a.text(IFLA_IFNAME, b.name.as_str());
    });
    let link = socket.ask(&batch).map_err(failed)?;
    let attributes = link.get(LINK_HEADER..).unwrap_or_default();
    let is_bridge = find(attributes, &[IFLA_LINKINFO, INFO_KIND]).map(text) == Some("bridge");
    let index = u32_at(&link, 4).ok_or_else(|| failed(NetlinkError::Malformed))?;
    let dump = socket.dump(GETADDR, &address_header(0, 0), |_| {}).map_err(failed)?;
    let addresses: Vec<_> = dump
        .iter()
        .filter(|m| m.kind == NEWADDR && u32_at(m.payload, 4) == Some(index))
        .map(|m| (m.payload[1], find(&m.payload[8..], &[2]).map(<[u8]>::to_vec)))
        .collect();
    let ours = (b.prefix, Some(b.address.octets().to_vec()));
    let our_mac = find(attributes, &[IFLA_ADDRESS]) == Some(&bridge_mac(b.address)[..]);
    if is_bridge && (addresses.contains(&ours) || (our_mac && addresses.is_empty())) {
        return Ok(());
    }
    Err(NetError::NotOurBridge { link: b.name.clone(), address: b.address })
}

/// Settings of a pod's namespace, for the thread that is inside: /proc/sys/net shows the namespace
/// of whoever opens a file. They stand before any link, which inherits them.
fn settle() -> Result<(), NetError> {
    set("/proc/sys/net/ipv4/ip_unprivileged_port_start".as_ref(), "0")?;
    // The kernel copies `all` to `default` here, unlike with most settings.
    set_ipv6("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")
}

/// Sets the namespace's sysctls and returns a socket of it.
fn settled_socket(netns: BorrowedFd<'_>) -> Result<Socket, NetError> {
    let visit = Visit::enter(netns)?;
    settle()?;
    let socket = Socket::route().map_err(NetError::Inside)?;
    visit.leave()?;
    Ok(socket)
}

/// `lo` up and the settings, for a namespace that stays alone.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<(), NetError> {
    let socket = settled_socket(netns)?;
    let mut batch = Batch::new();
    batch.message(NEWLINK, ACK, &link_header(LOOPBACK, true), |_| {});
    socket.run(&batch).map_err(NetError::Loopback)
}

/// A veth pair between the bridge and a namespace, and all that the namespace needs to use it.
pub fn connect(v: &Veth, netns: BorrowedFd<'_>) -> Result<(), NetError> {
    let inside = settled_socket(netns)?;
    let bridge = bridge_index(&v.bridge)?;
    let failed = |source| NetError::MakeVeth { host: v.host.clone(), peer: v.peer.clone(), source };
    let outside = Socket::route().map_err(failed)?;
    let refusals = outside.refusals(&pair(v, bridge, netns)).map_err(failed)?;
    let no_ipv6 = [Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP];
    let refused =
        refusals.into_iter().find(|r| r.message != WITHOUT_IPV6 || !no_ipv6.contains(&r.errno));
    if let Some(refusal) = refused {
        // What the first message could not make is somebody else's.
        if refusal.message > 0 {
            let _ = delete(&v.host);
        }
        return Err(failed(NetlinkError::Refused(refusal)));
    }
    inside.run(&interior(v)).map_err(|source| {
        // A set-up is whole or not there; its own error is the one to tell.
        let _ = delete(&v.host);
        NetError::Configure { peer: v.peer.clone(), address: v.address, source }
    })
}

fn pair(v: &Veth, bridge: u32, netns: BorrowedFd<'_>) -> Batch {
    let queues = |a: &mut Attributes<'_>| {
        // One for each CPU otherwise, which a big machine pays for at each start.
        a.host32(IFLA_NUM_TX_QUEUES, 1);
        a.host32(IFLA_NUM_RX_QUEUES, 1);
    };
    let mut batch = Batch::new();
    batch.message(NEWLINK, ACK | CREATE | EXCL, &link_header(0, false), |a| {
        a.text(IFLA_IFNAME, v.host.as_str());
        a.host32(IFLA_MTU, v.mtu);
        a.host32(IFLA_MASTER, bridge);
        queues(a);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(INFO_KIND, "veth");
            a.nest(INFO_DATA, |a| {
                a.nest(VETH_INFO_PEER, |a| {
                    // Not up: the kernel opens the peer before its other end exists (ENOTCONN).
                    a.raw(&link_header(PEER, false));
                    a.text(IFLA_IFNAME, v.peer.as_str());
                    a.bytes(IFLA_ADDRESS, &v.mac);
                    a.host32(IFLA_MTU, v.mtu);
                    queues(a);
                    a.host32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
                });
            });
        });
    });
    // A port of a bridge needs no address; a kernel without IPv6 refuses this, and may.
    let number = batch.message(NEWLINK, ACK, &link_header(0, false), |a| {
        a.text(IFLA_IFNAME, v.host.as_str());
        a.nest(IFLA_AF_SPEC, |a| {
            a.nest(FAMILY_IPV6, |a| a.bytes(INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]));
        });
    });
    debug_assert_eq!(number, WITHOUT_IPV6);
    // Only a link that has its master can be told how to be its port. Hairpin: a pod that comes
    // back to itself through a published port leaves by the port that it came in by.
    batch.message(NEWLINK, ACK, &link_header(0, true), |a| {
        a.text(IFLA_IFNAME, v.host.as_str());
        a.nest(IFLA_LINKINFO, |a| {
            a.text(INFO_SLAVE_KIND, "bridge");
            a.nest(INFO_SLAVE_DATA, |a| a.bytes(BRPORT_HAIRPIN, &[1]));
        });
    });
    batch
}

fn interior(v: &Veth) -> Batch {
    let mut batch = Batch::new();
    batch.message(NEWLINK, ACK, &link_header(LOOPBACK, true), |_| {});
    batch.message(NEWLINK, ACK, &link_header(PEER, true), |_| {});
    batch.message(NEWADDR, ACK | CREATE | EXCL, &address_header(v.prefix, PEER), |a| {
        put_address(a, v.address, v.prefix);
    });
    // Table main, static, universe, unicast.
    let default_route = [FAMILY_IPV4, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    batch.message(NEWROUTE, ACK | CREATE | EXCL, &default_route, |a| {
        a.bytes(5, &v.gateway.octets());
        a.host32(4, PEER);
    });
    batch
}

/// Whether the bridge is there, and no link is in it.
pub fn is_idle_bridge(bridge: &IfName) -> Result<bool, NetError> {
    let Ok(index) = index_of(bridge) else { return Ok(false) };
    let failed = |source| NetError::Survey { what: "links", source };
    let socket = Socket::route().map_err(failed)?;
    let links = socket.dump(GETLINK, &link_header(0, false), |_| {}).map_err(failed)?;
    let master = |message: Message<'_>| {
        let attributes = message.payload.get(LINK_HEADER..)?;
        find(attributes, &[IFLA_MASTER]).and_then(|value| u32_at(value, 0))
    };
    Ok(!links.iter().filter_map(master).any(|master| master == index))
}

/// Deletes a link, and with a veth its other end, whoever still holds that namespace.
pub fn delete(host: &IfName) -> Result<(), NetError> {
    let failed = |source| NetError::Delete { host: host.clone(), source };
    let mut batch = Batch::new();
    batch.message(DELLINK, ACK, &link_header(0, false), |a| a.text(IFLA_IFNAME, host.as_str()));
    match Socket::route().and_then(|socket| socket.run(&batch)) {
        Err(e) if e.errno() == Some(Errno::ENODEV) => Ok(()),
        done => done.map_err(failed),
    }
}

/// Hears of links that go. Opened before the processes are killed, it misses none.
pub struct LinkWatch(Socket);

impl LinkWatch {
    pub fn open() -> Result<Self, NetError> {
        Socket::route_events(GROUP_LINK).map(Self).map_err(NetError::WatchLinks)
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits until the links are gone; returns those that are not by then.
    pub fn await_gone(&self, hosts: &[IfName], at_most: Duration) -> Result<Vec<IfName>, NetError> {
        let failed = |errno| NetError::WatchLinks(NetlinkError::Receive(errno));
        let until = Instant::now() + at_most;
        let mut left = present(hosts);
        while !left.is_empty() {
            let rest = until.saturating_duration_since(Instant::now());
            // Rounded up: poll would otherwise spin through the last millisecond.
            let rest = i32::try_from(rest.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            let mut fds = [PollFd::new(self.fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX)) {
                Ok(0) => return Ok(present(&left)),
                Ok(_) => self.drain(&mut left)?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(left)
    }

    fn drain(&self, left: &mut Vec<IfName>) -> Result<(), NetError> {
        let mut room = room();
        loop {
            let datagram = match receive(self.fd(), &mut room, RecvFlags::DONTWAIT) {
                Ok(datagram) => datagram,
                Err(NetlinkError::Receive(Errno::EAGAIN)) => return Ok(()),
                // Events were lost: what is there now decides.
                Err(NetlinkError::Receive(Errno::ENOBUFS)) => {
                    *left = present(left);
                    continue;
                }
                Err(e) => return Err(NetError::WatchLinks(e)),
            };
            // A port that leaves its bridge is announced as deleted too, by the bridge family.
            let gone =
                messages(datagram).filter(|m| m.kind == DELLINK && m.payload.first() == Some(&0));
            for name in gone.filter_map(|m| find(m.payload.get(LINK_HEADER..)?, &[IFLA_IFNAME])) {
                left.retain(|host| host.as_str() != text(name));
            }
        }
    }
}

fn present(hosts: &[IfName]) -> Vec<IfName> {
    hosts.iter().filter(|host| index_of(host).is_ok()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netns;
    use crate::net::rig::{self, ip, name};

    fn bridge() -> Bridge {
        Bridge {
            name: name("podspec0"),
            address: Ipv4Addr::new(10, 89, 0, 1),
            prefix: 16,
            mtu: 1400,
        }
    }

    #[test]
    fn a_bridge_is_made_once_and_found_again() {
        rig::on_new_host(|| {
            make_bridge(&bridge()).unwrap();
            make_bridge(&bridge()).unwrap();
            let shown = ip("-d addr show podspec0");
            assert!(shown.contains("inet 10.89.0.1/16 brd 10.89.255.255"), "{shown}");
            assert!(shown.contains("mtu 1400") && shown.contains("UP"), "{shown}");
            assert!(!shown.contains("inet6"), "{shown}");
            let other = Bridge { address: Ipv4Addr::new(10, 90, 0, 1), ..bridge() };
            let refused = make_bridge(&other);
            assert!(matches!(refused, Err(NetError::NotOurBridge { .. })), "{refused:?}");
            let loopback = Bridge { name: name("lo"), ..bridge() };
            let refused = make_bridge(&loopback);
            assert!(matches!(refused, Err(NetError::NotOurBridge { .. })), "{refused:?}");
        });
    }

    #[test]
    fn a_namespace_is_connected_until_its_link_is_deleted() {
        rig::on_new_host(|| {
            make_bridge(&bridge()).unwrap();
            let inside = rig::pod("ps1", [10, 89, 0, 7]);
            let addresses = ip("addr show ps1");
            assert!(addresses.contains("UP") && !addresses.contains("inet"), "{addresses}");
            let port = ip("-d link show ps1");
            assert!(port.contains("master podspec0") && port.contains("hairpin on"), "{port}");
            let shown = rig::within(&inside, || ip("-d addr"));
            assert!(shown.contains("2: eth0") && shown.contains("inet 10.89.0.7/16"), "{shown}");
            assert!(shown.contains("mtu 1400") && shown.contains("02:00:00:00:00:07"), "{shown}");
            assert!(!shown.contains("inet6"), "{shown}");
            let routes = rig::within(&inside, || ip("route"));
            assert!(routes.contains("default via 10.89.0.1 dev eth0"), "{routes}");
            let settings = rig::within(&inside, || {
                let read = |path: &str| std::fs::read_to_string(path).unwrap();
                read("/proc/sys/net/ipv4/ip_unprivileged_port_start")
                    + &read("/proc/sys/net/ipv6/conf/default/disable_ipv6")
            });
            assert_eq!(settings, "0\n1\n");
            let there = name("ps1");
            delete(&there).unwrap();
            delete(&there).unwrap();
            assert!(index_of(&there).is_err());
        });
    }

    #[test]
    fn a_failed_connect_leaves_no_link() {
        rig::on_new_host(|| {
            make_bridge(&bridge()).unwrap();
            let inside = netns::create().unwrap();
            let _first = rig::pod("ps2", [10, 89, 0, 8]);
            let refused = connect(&rig::veth("ps2", [10, 89, 0, 7]), inside.as_fd()).unwrap_err();
            assert!(matches!(refused, NetError::MakeVeth { .. }), "{refused:?}");
            assert!(index_of(&name("ps2")).is_ok(), "another's link stays");
            let veth =
                Veth { gateway: Ipv4Addr::new(192, 0, 2, 1), ..rig::veth("ps1", [10, 89, 0, 7]) };
            let refused = connect(&veth, inside.as_fd()).unwrap_err();
            assert!(matches!(refused, NetError::Configure { .. }), "{refused:?}");
            let reason = std::error::Error::source(&refused).unwrap().to_string();
            assert!(reason.contains("gateway"), "{reason}");
            assert!(index_of(&name("ps1")).is_err());
        });
    }

    #[test]
    fn the_watch_tells_who_is_gone_and_who_stays() {
        rig::on_new_host(|| {
            make_bridge(&bridge()).unwrap();
            let first = rig::pod("ps1", [10, 89, 0, 7]);
            let _second = rig::pod("ps2", [10, 89, 0, 8]);
            let both = [name("ps1"), name("ps2")];
            let watch = LinkWatch::open().unwrap();
            drop(first);
            let left = watch.await_gone(&both[..1], Duration::from_secs(5)).unwrap();
            assert_eq!(left, []);
            let left = watch.await_gone(&both, Duration::from_millis(30)).unwrap();
            assert_eq!(left, [name("ps2")]);
        });
    }

    #[test]
    fn a_lone_namespace_has_its_loopback() {
        rig::on_new_host(|| {
            let inside = netns::create().unwrap();
            loopback_up(inside.as_fd()).unwrap();
            let shown = rig::within(&inside, || ip("addr"));
            assert!(shown.contains("127.0.0.1/8") && !shown.contains("inet6"), "{shown}");
        });
    }
}
