//! The network: names, fds and numbers in, kernel changes out. Everything goes over netlink and
//! nfnetlink from this process; nothing here starts a child process or knows of pods.

use crate::names::IfName;
use crate::net::firewall::Protocol;
use crate::net::netlink::NetlinkError;
use nix::errno::Errno;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

pub mod conntrack;
pub mod counters;
pub mod dial;
pub mod firewall;
pub mod http;
pub mod link;
pub mod netlink;
pub mod netns;
#[cfg(test)]
mod rig;
pub mod sockets;
pub mod survey;
pub mod tls;
#[cfg(test)]
mod traffic;

/// An IPv4 network, or an address in one: host bits may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Subnet {
    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    /// The network's own address, host bits cleared.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }
}

/// What the kernel would not do for the network, and to which object.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("cannot make a network namespace")]
    CreateNetns(#[source] Errno),
    #[error("cannot open the network namespace {}", path.display())]
    OpenNetns { path: PathBuf, source: io::Error },
    #[error("cannot enter a network namespace")]
    Enter(#[source] Errno),
    #[error("cannot return to the network namespace that the thread came from")]
    Leave(#[source] Errno),
    #[error("cannot make a socket inside a network namespace")]
    Socket(#[source] Errno),
    #[error("cannot speak TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot talk to the kernel inside a network namespace")]
    Inside(#[source] NetlinkError),
    #[error("cannot pin a network namespace at {}", at.display())]
    Pin { at: PathBuf, source: io::Error },
    #[error("{} exists already, and it is not podspec's", at.display())]
    PinTaken { at: PathBuf },
    #[error("cannot remove the pin {}", at.display())]
    Unpin { at: PathBuf, source: io::Error },
    #[error("cannot make the bridge {bridge}")]
    MakeBridge { bridge: IfName, source: NetlinkError },
    #[error("the link {link} exists already, and it is not a bridge with the address {address}")]
    NotOurBridge { link: IfName, address: Ipv4Addr },
    #[error("there is no bridge {bridge}")]
    NoBridge { bridge: IfName, source: Errno },
    #[error("cannot make the veth pair {host} <-> {peer}")]
    MakeVeth { host: IfName, peer: IfName, source: NetlinkError },
    #[error("cannot set up {address} on {peer} in its network namespace")]
    Configure { peer: IfName, address: Ipv4Addr, source: NetlinkError },
    #[error("cannot bring up the loopback link of a network namespace")]
    Loopback(#[source] NetlinkError),
    #[error("cannot delete the link {host}")]
    Delete { host: IfName, source: NetlinkError },
    #[error("cannot watch the links")]
    WatchLinks(#[source] NetlinkError),
    #[error("cannot read the {what} of the machine")]
    Survey { what: &'static str, source: NetlinkError },
    #[error("cannot read {}", path.display())]
    ReadSetting { path: PathBuf, source: io::Error },
    #[error("cannot set {} to {value}", path.display())]
    WriteSetting { path: PathBuf, value: &'static str, source: io::Error },
    #[error("cannot read the port maps")]
    ReadRuleset(#[source] NetlinkError),
    #[error("cannot make the table `inet podspec`")]
    MakeTable(#[source] NetlinkError),
    #[error("cannot remove the table `inet podspec`")]
    RemoveTable(#[source] NetlinkError),
    #[error("port {port}/{protocol} of {} is taken", display_address(*address))]
    PortTaken { address: Option<Ipv4Addr>, protocol: Protocol, port: u16 },
    #[error("the firewall has changed since it was read")]
    Stale,
    #[error("cannot publish the ports of `{tag}`")]
    Publish { tag: String, source: NetlinkError },
    #[error("cannot take back published ports")]
    Unpublish(#[source] NetlinkError),
    #[error("cannot watch the table `inet podspec`")]
    WatchTable(#[source] NetlinkError),
    #[error("cannot delete tracked connections")]
    Forget(#[source] NetlinkError),
    #[error("cannot reserve port {port}/{protocol} of {}", display_address(*address))]
    Reserve { address: Option<Ipv4Addr>, protocol: Protocol, port: u16, source: Errno },
}

fn display_address(address: Option<Ipv4Addr>) -> String {
    address.map_or_else(|| "every address".to_owned(), |a| a.to_string())
}
