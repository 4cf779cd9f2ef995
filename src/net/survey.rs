//! What the machine's network looks like before anything is changed. Reads only.

use crate::names::IfName;
use crate::net::netlink::{Batch, NetlinkError, REQUEST, Socket, find, u32_at};
use crate::net::{NetError, Subnet};
use nix::net::if_::if_nametoindex;
use std::net::Ipv4Addr;

const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
/// Of `struct rtmsg` and `struct ifaddrmsg`.
const ROUTE_HEADER: usize = 12;
const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;
const TABLE_LOCAL: u8 = 255;
const ETHERNET_MTU: u32 = 1500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The bridge's address, when the bridge is there and has one.
    pub bridge: Option<Subnet>,
    /// Other IPv4 routes and addresses, none of them over our bridge; the default route left out.
    pub routes: Vec<Subnet>,
    /// Of the link that the default route leaves by; 1500 without one. Bytes.
    pub mtu: u32,
    pub ip_forward: bool,
}

pub fn survey(bridge: &IfName) -> Result<Survey, NetError> {
    let failed = |what| move |source| NetError::Survey { what, source };
    let socket = Socket::route().map_err(failed("links"))?;
    let bridge = if_nametoindex(bridge.as_str()).ok();
    let mut survey =
        Survey { bridge: None, routes: Vec::new(), mtu: ETHERNET_MTU, ip_forward: forwards()? };
    read_addresses(&socket, bridge, &mut survey).map_err(failed("addresses"))?;
    let default = read_routes(&socket, bridge, &mut survey).map_err(failed("routes"))?;
    if let Some((_, link)) = default {
        survey.mtu = mtu(&socket, link).map_err(failed("default route's link"))?;
    }
    survey.routes.sort();
    survey.routes.dedup();
    Ok(survey)
}

fn forwards() -> Result<bool, NetError> {
    let path = std::path::PathBuf::from("/proc/sys/net/ipv4/ip_forward");
    match std::fs::read_to_string(&path) {
        Ok(value) => Ok(value.trim() != "0"),
        Err(source) => Err(NetError::ReadSetting { path, source }),
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

fn read_addresses(
    socket: &Socket,
    bridge: Option<u32>,
    survey: &mut Survey,
) -> Result<(), NetlinkError> {
    let dump = socket.dump(GETADDR, &[2, 0, 0, 0, 0, 0, 0, 0], |_| {})?;
    for message in dump.iter().filter(|m| m.kind == NEWADDR) {
        let attributes = message.payload.get(ADDRESS_HEADER..).ok_or(NetlinkError::Malformed)?;
        let Some(address) = find(attributes, &[2]).and_then(address) else { continue };
        let subnet = Subnet { address, prefix: message.payload[1] };
        if bridge.is_some() && u32_at(message.payload, 4) == bridge {
            survey.bridge.get_or_insert(subnet);
        } else {
            survey.routes.push(subnet);
        }
    }
    Ok(())
}

/// Returns (metric, link) of the best default route.
fn read_routes(
    socket: &Socket,
    bridge: Option<u32>,
    survey: &mut Survey,
) -> Result<Option<(u32, u32)>, NetlinkError> {
    let mut default: Option<(u32, u32)> = None;
    let header = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let dump = socket.dump(GETROUTE, &header, |_| {})?;
    for message in dump.iter().filter(|m| m.kind == NEWROUTE) {
        let attributes = message.payload.get(ROUTE_HEADER..).ok_or(NetlinkError::Malformed)?;
        let (prefix, table) = (message.payload[1], message.payload[4]);
        let number = |kind| find(attributes, &[kind]).and_then(|value| u32_at(value, 0));
        // Of a route with several next hops, the first: length, flags, hops, then the link.
        let link = number(4).or_else(|| find(attributes, &[9]).and_then(|hops| u32_at(hops, 4)));
        if table == TABLE_LOCAL || (bridge.is_some() && link == bridge) {
            continue;
        }
        if prefix > 0 {
            survey.routes.extend(
                find(attributes, &[1]).and_then(address).map(|address| Subnet { address, prefix }),
            );
        } else if let Some(link) = link {
            let found = (number(6).unwrap_or(0), link);
            default = Some(default.map_or(found, |best| best.min(found)));
        }
    }
    Ok(default)
}

fn mtu(socket: &Socket, link: u32) -> Result<u32, NetlinkError> {
    let header = [[0; 4], link.to_ne_bytes(), [0; 4], [0; 4]].concat();
    let mut batch = Batch::new();
    // Statistics are most of a link's answer, and nobody reads them here.
    batch.message(GETLINK, REQUEST, &header, |a| a.host32(29, 8));
    let link = socket.ask(&batch)?;
    let attributes = link.get(LINK_HEADER..).ok_or(NetlinkError::Malformed)?;
    Ok(find(attributes, &[4]).and_then(|value| u32_at(value, 0)).unwrap_or(ETHERNET_MTU))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::rig::{self, ip, name};

    #[test]
    fn the_bridge_stands_apart_from_what_else_is_routed() {
        rig::on_new_host(|| {
            // A new namespace begins with what the machine has.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
            let empty = survey(&name("podspec0")).unwrap();
            assert_eq!((empty.bridge, empty.mtu, empty.ip_forward), (None, 1500, false));
            let subnet = |a: [u8; 4], prefix| Subnet { address: Ipv4Addr::from(a), prefix };
            rig::bridge();
            ip("link add up0 mtu 1380 type bridge");
            ip("link set up0 up");
            ip("addr add 192.168.7.2/24 dev up0");
            ip("route add 172.20.0.0/16 via 192.168.7.1");
            ip("route add default via 192.168.7.1 metric 50");
            ip("route add default via 10.89.0.9 metric 100");
            let found = survey(&name("podspec0")).unwrap();
            assert_eq!(found.bridge, Some(subnet([10, 89, 0, 1], 16)));
            assert_eq!(found.mtu, 1380);
            for wanted in [
                subnet([127, 0, 0, 1], 8),
                subnet([192, 168, 7, 2], 24),
                subnet([192, 168, 7, 0], 24),
                subnet([172, 20, 0, 0], 16),
            ] {
                assert!(found.routes.contains(&wanted), "{wanted:?} not in {:?}", found.routes);
            }
            assert!(found.routes.iter().all(|r| r.address.octets()[..2] != [10, 89]));
            crate::net::link::forward(true).unwrap();
            assert!(survey(&name("podspec0")).unwrap().ip_forward);
        });
    }
}
