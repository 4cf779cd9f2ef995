//! Tracked connections, over ctnetlink: those that were begun before a port was published, or that
//! lead to an address that is no longer a pod's, are forgotten. A client that never pauses would
//! otherwise keep its old way for ever.

use crate::net::NetError;
use crate::net::firewall::Forward;
use crate::net::netlink::{ACK, Batch, Dump, NetlinkError, Socket, find, with_nfnetlink};
use nix::errno::Errno;
use std::net::Ipv4Addr;

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const FAMILY_IPV4: [u8; 4] = [2, 0, 0, 0];
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
/// `struct nfgenmsg`.
const HEADER: usize = 4;

/// One direction of a connection.
#[derive(Debug, Clone, Copy)]
struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    port: u16,
}

impl Tuple {
    fn read(attributes: &[u8], direction: u16) -> Option<Self> {
        let tuple = find(attributes, &[direction])?;
        let address = |kind| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = find(tuple, &[TUPLE_IP, kind])?.try_into().ok()?;
            Some(octets.into())
        };
        let port = find(tuple, &[TUPLE_PROTOCOL, 3]).and_then(|port| port.try_into().ok());
        Some(Self {
            source: address(1)?,
            destination: address(2)?,
            protocol: *find(tuple, &[TUPLE_PROTOCOL, 1])?.first()?,
            port: port.map_or(0, u16::from_be_bytes),
        })
    }

    fn names(&self, addresses: &[Ipv4Addr]) -> bool {
        addresses.contains(&self.source) || addresses.contains(&self.destination)
    }

    fn is_for(&self, forward: &Forward) -> bool {
        self.protocol == forward.protocol.number()
            && self.port.checked_sub(forward.host).is_some_and(|n| n < forward.count.max(1))
            && forward.address.is_none_or(|address| address == self.destination)
    }
}

/// Forgets connections to the forwards' host ports, and all that name one of the addresses.
pub fn forget(forwards: &[Forward], addresses: &[Ipv4Addr]) -> Result<(), NetError> {
    if forwards.is_empty() && addresses.is_empty() {
        return Ok(());
    }
    let forget = |socket: &Socket| {
        if is_empty(socket)? {
            return Ok(());
        }
        let dump = socket.dump(GET, &FAMILY_IPV4, |_| {})?;
        let batch = deletions(&dump, forwards, addresses)?;
        if batch.is_empty() {
            return Ok(());
        }
        let refusals = socket.refusals(&batch)?;
        // It may have ended by itself meanwhile.
        match refusals.into_iter().find(|refusal| refusal.errno != Errno::ENOENT) {
            Some(refusal) => Err(NetlinkError::Refused(refusal)),
            None => Ok(()),
        }
    };
    with_nfnetlink(forget).map_err(NetError::Forget)
}

/// A dump walks every bucket of the machine's one hash table, however few entries there are
/// (262144 of them: 10 ms), so it is worth asking first.
fn is_empty(socket: &Socket) -> Result<bool, NetlinkError> {
    const GET_STATISTICS: u16 = (1 << 8) | 5;
    const ENTRIES: u16 = 1;
    let mut batch = Batch::new();
    batch.message(GET_STATISTICS, 0, &[0; 4], |_| {});
    let answer = socket.ask(&batch)?;
    Ok(answer.get(HEADER..).and_then(|a| find(a, &[ENTRIES])) == Some(&[0; 4]))
}

fn deletions(
    dump: &Dump,
    forwards: &[Forward],
    addresses: &[Ipv4Addr],
) -> Result<Batch, NetlinkError> {
    let (mut batch, mut local) = (Batch::new(), None);
    for message in dump.iter() {
        let Some(entry) = message.payload.get(HEADER..) else { continue };
        let Some(original) = Tuple::read(entry, ORIGINAL) else { continue };
        let reply = Tuple::read(entry, REPLY);
        let mut doomed = original.names(addresses) || reply.is_some_and(|r| r.names(addresses));
        if !doomed && forwards.iter().any(|forward| original.is_for(forward)) {
            // The same port of another machine, which somebody here talks to, is not ours.
            if local.is_none() {
                local = Some(local_addresses()?);
            }
            doomed = original.destination.is_loopback()
                || local.as_ref().is_some_and(|l| l.contains(&original.destination));
        }
        if doomed {
            batch.message(DELETE, ACK, &FAMILY_IPV4, |a| {
                for kind in [ORIGINAL, ID] {
                    if let Some(value) = find(entry, &[kind]) {
                        a.bytes(if kind == ORIGINAL { kind | 0x8000 } else { kind }, value);
                    }
                }
            });
        }
    }
    Ok(batch)
}

fn local_addresses() -> Result<Vec<Ipv4Addr>, NetlinkError> {
    const GETADDR: u16 = 22;
    const IFA_LOCAL: u16 = 2;
    let dump = Socket::route()?.dump(GETADDR, &[2, 0, 0, 0, 0, 0, 0, 0], |_| {})?;
    let address = |attributes| {
        let octets: [u8; 4] = find(attributes, &[IFA_LOCAL])?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Ok(dump.iter().filter_map(|message| message.payload.get(8..).and_then(address)).collect())
}
