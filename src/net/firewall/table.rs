//! The table itself: maps, chains and rules, made in one transaction. DNAT never stands without the
//! raw drops that keep 127.0.0.1 and the pods' own addresses from the neighbours.

use super::{ACK, Attributes, Batch, CREATE, FAMILY_INET, FAMILY_IPV4, GETRULE, HEADER, LIST_ELEM};
use super::{
    Map, NEWRULE, NetError, NetlinkError, SUBSYSTEM, Socket, TABLE, begin, end, find, text,
};
use crate::names::IfName;
use crate::net::netlink::{APPEND, with_nfnetlink};
use crate::net::{Subnet, link};
use nix::errno::Errno;

/// What the table is made for: one bridge and its network.
pub struct Table {
    pub bridge: IfName,
    pub network: Subnet,
    /// Drop what is forwarded between other links: set where forwarding is on for our sake alone.
    pub guard_forwarding: bool,
}

const NEWTABLE: u16 = SUBSYSTEM;
const DELTABLE: u16 = SUBSYSTEM | 2;
const NEWCHAIN: u16 = SUBSYSTEM | 3;
const DELRULE: u16 = SUBSYSTEM | 8;
const NEWSET: u16 = SUBSYSTEM | 9;

const RULE_USERDATA: u16 = 7;
/// Registers of 32 bits.
const REGISTER: u32 = 8;

const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// (name, hook, priority, type)
const CHAINS: [(&str, u32, i32, &str); 5] = [
    (RAW, PREROUTING, -300, "filter"),
    ("prerouting", PREROUTING, -100, "nat"),
    ("output", OUTPUT, -100, "nat"),
    ("postrouting", POSTROUTING, 100, "nat"),
    ("forward", FORWARD, 0, "filter"),
];
const RAW: &str = "raw";
const PUBLISHED: &str = "published";

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const STATUS_DNAT: u32 = 1 << 5;
const NAT_PORT: u32 = 1 << 1;
const NAT_PORT_OFFSET: u32 = 1 << 5;

#[derive(Clone, Copy)]
enum Is {
    Equal,
    Not,
}

/// The expressions of one rule, in order.
struct Rule<'a, 'b>(&'a mut Attributes<'b>);

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.0.nest(LIST_ELEM, |a| {
            a.text(1, name);
            a.nest(2, fill);
        });
        self
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |a| {
            a.net32(1, register);
            a.net32(2, key);
        })
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) -> &mut Self {
        self.expression("payload", |a| {
            a.net32(1, register);
            a.net32(2, base);
            a.net32(3, offset);
            a.net32(4, length);
        })
    }

    fn compare(&mut self, is: Is, value: &[u8]) -> &mut Self {
        self.expression("cmp", |a| {
            a.net32(1, REGISTER);
            a.net32(2, matches!(is, Is::Not).into());
            a.nest(3, |a| a.bytes(1, value));
        })
    }

    /// Ands the register with a mask of the value's own length.
    fn mask(&mut self, mask: [u8; 4]) -> &mut Self {
        self.expression("bitwise", |a| {
            a.net32(1, REGISTER);
            a.net32(2, REGISTER);
            a.net32(3, 4);
            a.nest(4, |a| a.bytes(1, &mask));
            a.nest(5, |a| a.bytes(1, &[0; 4]));
        })
    }

    fn ipv4(&mut self) -> &mut Self {
        self.meta(META_NFPROTO, REGISTER).compare(Is::Equal, &[FAMILY_IPV4])
    }

    fn link(&mut self, key: u32, is: Is, link: &str) -> &mut Self {
        let mut name = [0; 16];
        name[..link.len()].copy_from_slice(link.as_bytes());
        self.meta(key, REGISTER).compare(is, &name)
    }

    fn within(&mut self, offset: u32, network: Subnet) -> &mut Self {
        self.payload(NETWORK_HEADER, offset, 4, REGISTER)
            .mask(network.mask().to_be_bytes())
            .compare(Is::Equal, &network.network().octets())
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) -> &mut Self {
        self.expression("immediate", |a| {
            a.net32(1, 0);
            a.nest(2, |a| {
                a.nest(2, |a| {
                    a.net32(1, code.cast_unsigned());
                    if let Some(chain) = chain {
                        a.text(2, chain);
                    }
                });
            });
        })
    }

    fn drop_it(&mut self) -> &mut Self {
        self.verdict(0, None)
    }

    fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| {})
    }

    /// Looks the packet up in a map and rewrites its destination; no element, no effect.
    fn forward_by(&mut self, map: Map) -> &mut Self {
        let mut register = REGISTER;
        if map.has_address() {
            self.payload(NETWORK_HEADER, DESTINATION, 4, register);
            register += 1;
        }
        self.meta(META_L4PROTO, register)
            .payload(TRANSPORT_HEADER, 2, 2, register + 1)
            .expression("lookup", |a| {
                a.text(1, map.name());
                a.net32(2, REGISTER);
                a.net32(3, REGISTER);
            })
            .expression("nat", |a| {
                a.net32(1, 1);
                a.net32(2, FAMILY_IPV4.into());
                a.net32(3, REGISTER);
                a.net32(5, REGISTER + 1);
                if map.has_ranges() {
                    a.net32(6, REGISTER + 2);
                    a.net32(7, NAT_PORT | NAT_PORT_OFFSET);
                } else {
                    a.net32(7, NAT_PORT);
                }
            })
    }
}

/// Makes the table, or finds it as it should be. Rules that differ are replaced and the maps keep
/// their elements; a guard that stands is kept. The bridge must be there.
pub fn make_table(t: &Table) -> Result<(), NetError> {
    let there = with_nfnetlink(marker).map_err(NetError::MakeTable)?;
    let guarded = t.guard_forwarding || there.as_deref() == Some(&fingerprint(t, true)[..]);
    let wanted = fingerprint(t, guarded);
    if there.as_deref() != Some(&wanted[..]) {
        let transaction = transaction(t, guarded, &wanted);
        with_nfnetlink(|socket| socket.run(&transaction)).map_err(NetError::MakeTable)?;
    }
    // After the transaction: the drops must stand before 127.0.0.0/8 may be routed at all.
    link::route_loopback(&t.bridge, true)
}

/// Removes the table with all that is in it.
pub fn remove_table() -> Result<(), NetError> {
    let mut batch = Batch::new();
    begin(&mut batch, None);
    batch.message(DELTABLE, ACK, &FAMILY_INET, |a| a.text(1, TABLE));
    end(&mut batch);
    match with_nfnetlink(|socket| socket.run(&batch)) {
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(()),
        done => done.map_err(NetError::RemoveTable),
    }
}

/// Names all that the rules depend on; the number grows when the rules of this file change.
fn fingerprint(t: &Table, guarded: bool) -> Vec<u8> {
    let network = t.network.network();
    let guard = if guarded { " guarded" } else { "" };
    super::comment(&format!("podspec 1 {} {network}/{}{guard}", t.bridge, t.network.prefix))
}

/// The fingerprint on the table's first rule; None without a table or without its rules.
pub(super) fn marker(socket: &Socket) -> Result<Option<Vec<u8>>, NetlinkError> {
    let dump = socket.dump(GETRULE, &FAMILY_INET, |a| {
        a.text(1, TABLE);
        a.text(2, RAW);
    });
    let dump = match dump {
        Err(e) if e.errno() == Some(Errno::ENOENT) => return Ok(None),
        dump => dump?,
    };
    let marker = dump
        .iter()
        .filter(|message| message.kind == NEWRULE)
        .find_map(|message| find(message.payload.get(HEADER..)?, &[RULE_USERDATA]))
        .filter(|marker| text(marker.get(2..).unwrap_or_default()).starts_with("podspec "));
    Ok(marker.map(<[u8]>::to_vec))
}

fn transaction(t: &Table, guarded: bool, marker: &[u8]) -> Batch {
    let mut batch = Batch::new();
    begin(&mut batch, None);
    batch.message(NEWTABLE, ACK | CREATE, &FAMILY_INET, |a| a.text(1, TABLE));
    // Whatever rules an older or half-flushed table holds.
    batch.message(DELRULE, ACK, &FAMILY_INET, |a| a.text(1, TABLE));
    for map in Map::ALL {
        put_map(&mut batch, map);
    }
    for (name, hook, priority, kind) in CHAINS {
        batch.message(NEWCHAIN, ACK | CREATE, &FAMILY_INET, |a| {
            a.text(1, TABLE);
            a.text(3, name);
            a.nest(4, |a| {
                a.net32(1, hook);
                a.net32(2, priority.cast_unsigned());
            });
            a.text(7, kind);
            a.net32(5, 1);
        });
    }
    batch.message(NEWCHAIN, ACK | CREATE, &FAMILY_INET, |a| {
        a.text(1, TABLE);
        a.text(3, PUBLISHED);
    });
    put_drops(&mut batch, t, marker);
    put_translation(&mut batch, t);
    if guarded {
        put_rule(&mut batch, "forward", &[], |r| {
            r.link(META_IIFNAME, Is::Not, t.bridge.as_str())
                .link(META_OIFNAME, Is::Not, t.bridge.as_str())
                .drop_it();
        });
    }
    end(&mut batch);
    batch
}

/// Keys and data carry nft's type numbers too, so that `nft list` can print them.
fn put_map(batch: &mut Batch, map: Map) {
    const ADDRESS: u32 = 7;
    const PROTOCOL_PORT: u32 = (12 << 6) | 13;
    const PORT: u32 = 13;
    let (key_type, key_length) =
        if map.has_address() { ((ADDRESS << 12) | PROTOCOL_PORT, 12) } else { (PROTOCOL_PORT, 8) };
    let (data_type, data_length) = if map.has_ranges() {
        ((ADDRESS << 12) | (PORT << 6) | PORT, 12)
    } else {
        ((ADDRESS << 6) | PORT, 8)
    };
    // Map; with intervals over several fields: interval, concatenated.
    let flags = if map.has_ranges() { 0x8 | 0x4 | 0x80 } else { 0x8 };
    let fields: &[u32] = if map.has_address() { &[4, 1, 2] } else { &[1, 2] };
    batch.message(NEWSET, ACK | CREATE, &FAMILY_INET, |a| {
        a.text(1, TABLE);
        a.text(2, map.name());
        a.net32(3, flags);
        a.net32(4, key_type);
        a.net32(5, key_length);
        a.net32(6, data_type);
        a.net32(7, data_length);
        // Required, and only used inside this transaction.
        a.net32(10, map as u32 + 1);
        if map.has_ranges() {
            a.nest(9, |a| {
                a.nest(2, |a| {
                    for length in fields {
                        a.nest(LIST_ELEM, |a| a.net32(1, *length));
                    }
                });
            });
        }
    });
}

fn put_rule(batch: &mut Batch, chain: &str, comment: &[u8], fill: impl FnOnce(&mut Rule<'_, '_>)) {
    batch.message(NEWRULE, ACK | CREATE | APPEND, &FAMILY_INET, |a| {
        a.text(1, TABLE);
        a.text(2, chain);
        a.nest(4, |a| fill(&mut Rule(a)));
        if !comment.is_empty() {
            a.bytes(RULE_USERDATA, comment);
        }
    });
}

const LOOPBACK: Subnet = Subnet { address: std::net::Ipv4Addr::LOCALHOST, prefix: 8 };

/// What no neighbour may send: to 127.0.0.0/8, which DNAT would take before the kernel's own check;
/// and to a pod's address around its published ports.
fn put_drops(batch: &mut Batch, t: &Table, marker: &[u8]) {
    put_rule(batch, RAW, marker, |r| {
        r.ipv4().link(META_IIFNAME, Is::Not, "lo").within(DESTINATION, LOOPBACK).drop_it();
    });
    put_rule(batch, RAW, &[], |r| {
        r.ipv4()
            .link(META_IIFNAME, Is::Not, "lo")
            .link(META_IIFNAME, Is::Not, t.bridge.as_str())
            .within(DESTINATION, t.network)
            .drop_it();
    });
}

fn put_translation(batch: &mut Batch, t: &Table) {
    const JUMP: i32 = -3;
    const TYPE_LOCAL: u32 = 2;
    let bridge = t.bridge.as_str();
    for map in Map::ALL {
        put_rule(batch, PUBLISHED, &[], |r| {
            r.forward_by(map);
        });
    }
    for chain in ["prerouting", "output"] {
        put_rule(batch, chain, &[], |r| {
            // fib daddr type local: what is only passing through is nobody's published port.
            r.ipv4()
                .expression("fib", |a| {
                    a.net32(1, REGISTER);
                    a.net32(2, 3);
                    a.net32(3, 2);
                })
                .compare(Is::Equal, &TYPE_LOCAL.to_ne_bytes())
                .verdict(JUMP, Some(PUBLISHED));
        });
    }
    put_rule(batch, "postrouting", &[], |r| {
        r.ipv4().link(META_OIFNAME, Is::Equal, bridge).within(SOURCE, LOOPBACK).masquerade();
    });
    // Hairpin: an answer straight from pod to pod would not come from the address that was asked.
    put_rule(batch, "postrouting", &[], |r| {
        r.ipv4()
            .link(META_OIFNAME, Is::Equal, bridge)
            .within(SOURCE, t.network)
            .expression("ct", |a| {
                a.net32(1, REGISTER);
                a.net32(2, 2);
            })
            .mask(STATUS_DNAT.to_ne_bytes())
            .compare(Is::Not, &[0; 4])
            .masquerade();
    });
    put_rule(batch, "postrouting", &[], |r| {
        r.ipv4()
            .link(META_OIFNAME, Is::Not, bridge)
            .link(META_OIFNAME, Is::Not, "lo")
            .within(SOURCE, t.network)
            .masquerade();
    });
}

#[cfg(test)]
mod tests {
    use super::super::{read, tests::host_table};
    use super::*;
    use crate::net::rig;

    #[test]
    fn the_table_is_made_once_and_mended() {
        rig::on_new_host(|| {
            rig::bridge();
            make_table(&host_table()).unwrap();
            let made = rig::run("nft", "list table inet podspec");
            let generation = read().unwrap().generation;
            make_table(&Table { guard_forwarding: false, ..host_table() }).unwrap();
            assert_eq!(read().unwrap().generation, generation, "nothing was to be done");
            rig::run("nft", "flush table inet podspec");
            assert!(!read().unwrap().table, "a table without its rules is none");
            make_table(&host_table()).unwrap();
            assert_eq!(rig::run("nft", "list table inet podspec"), made);
            let routed = "/proc/sys/net/ipv4/conf/podspec0/route_localnet";
            assert_eq!(std::fs::read_to_string(routed).unwrap(), "1\n");
            let all = "/proc/sys/net/ipv4/conf/all/route_localnet";
            assert_eq!(std::fs::read_to_string(all).unwrap(), "0\n");
        });
    }
}
