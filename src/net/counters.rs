//! What has gone over links. Reads only.

use crate::names::IfName;
use crate::net::NetError;
use crate::net::netlink::{NetlinkError, Socket, find, text};
use std::collections::BTreeMap;

const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
/// In `struct rtnl_link_stats64`.
const RX_BYTES: usize = 16;
const TX_BYTES: usize = 24;

/// Bytes, as the link itself counts: what a veth's end on the host receives, its peer has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
}

/// Of every link of this network namespace, in one dump.
pub fn counters() -> Result<BTreeMap<IfName, Counters>, NetError> {
    let failed = |source| NetError::Survey { what: "counters", source };
    let socket = Socket::route().map_err(failed)?;
    let dump = socket.dump(GETLINK, &[0; LINK_HEADER], |_| {}).map_err(failed)?;
    let mut all = BTreeMap::new();
    for message in dump.iter().filter(|message| message.kind == NEWLINK) {
        let attributes =
            message.payload.get(LINK_HEADER..).ok_or(NetlinkError::Malformed).map_err(failed)?;
        let name =
            find(attributes, &[IFLA_IFNAME]).and_then(|name| IfName::try_from(text(name)).ok());
        let stats = find(attributes, &[IFLA_STATS64]);
        let number = |at: usize| {
            let bytes = stats?.get(at..at + 8)?;
            Some(u64::from_ne_bytes(bytes.try_into().ok()?))
        };
        if let (Some(name), Some(received), Some(sent)) = (name, number(RX_BYTES), number(TX_BYTES))
        {
            all.insert(name, Counters { received, sent });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::rig::{name, within};
    use crate::net::{link, netns};
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn what_loopback_carries_is_counted() {
        let host = netns::create().unwrap();
        link::loopback_up(host.as_fd()).unwrap();
        within(&host, || {
            let before = counters().unwrap()[&name("lo")];
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
            let after = counters().unwrap()[&name("lo")];
            assert!(after.sent - before.sent >= 1000, "{before:?} {after:?}");
            assert_eq!(after.sent, after.received);
        });
    }
}
