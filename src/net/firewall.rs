//! Published ports: elements of the port maps of the table `inet podspec`. Single ports live in
//! hash maps, ranges in interval maps beside them; what uses the maps is in `table`, who hears that
//! the table went in `watch`.

use crate::names::IfName;
use crate::net::NetError;
use crate::net::netlink::{
    ACK, Attributes, Batch, CREATE, Dump, EXCL, Message, NetlinkError, Socket, attributes, find,
    text, with_nfnetlink,
};
use nix::errno::Errno;
use std::fmt;
use std::net::Ipv4Addr;

mod table;
mod watch;

pub use table::{Table, make_table, remove_table};
pub use watch::{table_lost, watch_table};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(in crate::net) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    pub(in crate::net) fn of(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports of the host that lead to ports of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Forward {
    /// None: every address of the host.
    pub address: Option<Ipv4Addr>,
    pub protocol: Protocol,
    /// The first port.
    pub host: u16,
    /// How many, at least 1.
    pub count: u16,
    pub target: Ipv4Addr,
    pub target_port: u16,
}

/// What is published now, and what the firewall looks like otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// `publish` refuses to act on a firewall that has changed since.
    pub generation: u32,
    /// (tag, forward)
    pub forwards: Vec<(String, Forward)>,
    /// Our table is there, with its rules.
    pub table: bool,
    /// Foreign chains in the forward hook that drop what they do not know.
    pub foreign_drops: Vec<ForeignChain>,
}

/// A chain that is not ours, by the names that nft(8) gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignChain {
    pub family: &'static str,
    pub table: String,
    pub chain: String,
}

pub(in crate::net) const TABLE: &str = "podspec";

/// linux/netfilter/nf_tables.h: messages, each behind the subsystem's number.
const SUBSYSTEM: u16 = 10 << 8;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const NEWRULE: u16 = SUBSYSTEM | 6;
const GETRULE: u16 = SUBSYSTEM | 7;
const NEWSETELEM: u16 = SUBSYSTEM | 12;
const GETSETELEM: u16 = SUBSYSTEM | 13;
const DELSETELEM: u16 = SUBSYSTEM | 14;
const GETGEN: u16 = SUBSYSTEM | 16;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENID: u16 = 1;

const FAMILY_ANY: [u8; 4] = [0, 0, 0, 0];
const FAMILY_INET: [u8; 4] = [1, 0, 0, 0];
const FAMILY_IPV4: u8 = 2;
/// `struct nfgenmsg`.
const HEADER: usize = 4;
const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_USERDATA: u16 = 6;
const ELEM_KEY_END: u16 = 10;
const HOOK_FORWARD: u32 = 2;
const POLICY_DROP: u32 = 0;

/// One of the four port maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Map {
    PortsAt,
    Ports,
    RangesAt,
    Ranges,
}

impl Map {
    /// In the order in which they are asked: the more exact first.
    const ALL: [Self; 4] = [Self::PortsAt, Self::Ports, Self::RangesAt, Self::Ranges];

    fn of(forward: &Forward) -> Self {
        match (forward.address.is_some(), forward.count > 1) {
            (true, false) => Self::PortsAt,
            (false, false) => Self::Ports,
            (true, true) => Self::RangesAt,
            (false, true) => Self::Ranges,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::PortsAt => "ports_at",
            Self::Ports => "ports",
            Self::RangesAt => "ranges_at",
            Self::Ranges => "ranges",
        }
    }

    fn has_address(self) -> bool {
        matches!(self, Self::PortsAt | Self::RangesAt)
    }

    fn has_ranges(self) -> bool {
        matches!(self, Self::RangesAt | Self::Ranges)
    }
}

/// The forwards as the maps can hold them. The kernel takes `port` into a range of `size` ports from `min`
/// on to min + port mod size (NF_NAT_RANGE_PROTO_OFFSET over base 0). So a range is its own element where
/// its length divides its first port, and else as few as can be of such, at most 32. A larger range of
/// numbers would need no pieces, but where two flows of one client would look alike to the namespace,
/// the kernel goes on to the next port of what it was given, and that would be one that nobody published.
fn elements(forwards: &[Forward]) -> Vec<Forward> {
    let mut elements = Vec::with_capacity(forwards.len());
    for forward in forwards {
        let mut rest = *forward;
        while rest.count > 1 {
            let divides = |size: &u16| rest.host.is_multiple_of(*size);
            let size = (1..=rest.count.min(rest.host)).rev().find(divides).unwrap_or(1);
            elements.push(Forward { count: size, ..rest });
            rest.count -= size;
            // Of the last piece these are beyond the range, perhaps beyond the last port.
            rest.host = rest.host.wrapping_add(size);
            rest.target_port = rest.target_port.wrapping_add(size);
        }
        if rest.count == 1 {
            elements.push(rest);
        }
    }
    elements
}

fn key(forward: &Forward, port: u16) -> Vec<u8> {
    let address = forward.address.map(|address| address.octets());
    let mut key = address.map(Vec::from).unwrap_or_default();
    key.extend([forward.protocol.number(), 0, 0, 0]);
    key.extend(port.to_be_bytes());
    key.extend([0, 0]);
    key
}

fn put_key(a: &mut Attributes<'_>, forward: &Forward) {
    a.nest(ELEM_KEY, |a| a.bytes(DATA_VALUE, &key(forward, forward.host)));
    if Map::of(forward).has_ranges() {
        let last = forward.host.saturating_add(forward.count - 1);
        a.nest(ELEM_KEY_END, |a| a.bytes(DATA_VALUE, &key(forward, last)));
    }
}

fn put_data(a: &mut Attributes<'_>, forward: &Forward) {
    let first = forward.target_port;
    let last = (forward.count > 1).then(|| first.saturating_add(forward.count - 1));
    let mut data = forward.target.octets().to_vec();
    for port in std::iter::once(first).chain(last) {
        data.extend(port.to_be_bytes());
        data.extend([0, 0]);
    }
    a.nest(ELEM_DATA, |a| a.bytes(DATA_VALUE, &data));
}

fn in_element(a: &mut Attributes<'_>, map: Map, fill: impl FnOnce(&mut Attributes<'_>)) {
    a.text(1, TABLE);
    a.text(2, map.name());
    a.nest(3, |a| a.nest(LIST_ELEM, fill));
}

/// A comment as nft writes it, so that `nft list` shows it.
fn comment(tag: &str) -> Vec<u8> {
    // The kernel keeps at most 256 bytes with an element.
    let tag = tag.get(..200).unwrap_or(tag);
    let mut comment = vec![0, (tag.len() + 1) as u8];
    comment.extend(tag.as_bytes());
    comment.push(0);
    comment
}

fn begin(batch: &mut Batch, generation: Option<u32>) {
    batch.message(BATCH_BEGIN, 0, &[0, 0, 0, 10], |a| {
        if let Some(generation) = generation {
            a.net32(BATCH_GENID, generation);
        }
    });
}

fn end(batch: &mut Batch) {
    batch.message(BATCH_END, 0, &[0, 0, 0, 10], |_| {});
}

/// Adds the ports, all or none. With a generation, only if the firewall is still the one read.
pub fn publish(tag: &str, forwards: &[Forward], generation: Option<u32>) -> Result<(), NetError> {
    let failed = |source| NetError::Publish { tag: tag.to_owned(), source };
    let elements = elements(forwards);
    if elements.is_empty() {
        return Ok(());
    }
    let batch = additions(tag, &elements, generation, EXCL);
    let refusals = with_nfnetlink(|socket| socket.refusals(&batch)).map_err(failed)?;
    let Some(refusal) = refusals.into_iter().next() else { return Ok(()) };
    // The batch's first message opens the transaction.
    let refused = refusal.message.checked_sub(1).and_then(|number| elements.get(number));
    match (refusal.errno, refused) {
        // What overlaps a range without being it is "not empty".
        (Errno::EEXIST | Errno::ENOTEMPTY, Some(forward)) => Err(NetError::PortTaken {
            address: forward.address,
            protocol: forward.protocol,
            port: forward.host,
        }),
        (Errno::ERESTART, _) => Err(NetError::Stale),
        _ => Err(failed(NetlinkError::Refused(refusal))),
    }
}

/// Adds the ports again after a loss; those that are there already stay.
pub fn publish_again(tag: &str, forwards: &[Forward]) -> Result<(), NetError> {
    let elements = elements(forwards);
    if elements.is_empty() {
        return Ok(());
    }
    // Without EXCL the kernel accepts an element that is the same, and refuses one that leads elsewhere.
    let batch = additions(tag, &elements, None, 0);
    with_nfnetlink(|socket| socket.run(&batch))
        .map_err(|source| NetError::Publish { tag: tag.to_owned(), source })
}

fn additions(tag: &str, elements: &[Forward], generation: Option<u32>, exclusive: u16) -> Batch {
    let mut batch = Batch::new();
    begin(&mut batch, generation);
    for forward in elements {
        batch.message(NEWSETELEM, ACK | CREATE | exclusive, &FAMILY_INET, |a| {
            in_element(a, Map::of(forward), |a| {
                put_key(a, forward);
                put_data(a, forward);
                a.bytes(ELEM_USERDATA, &comment(tag));
            });
        });
    }
    end(&mut batch);
    batch
}

/// Whether the table is there, with its rules, and these ports in its maps.
pub fn holds(forwards: &[Forward]) -> Result<bool, NetError> {
    let there = |socket: &Socket| {
        if table::marker(socket)?.is_none() {
            return Ok(false);
        }
        let found = read_forwards(socket)?;
        let is_there = |wanted| found.iter().any(|(_, forward)| *forward == wanted);
        Ok(elements(forwards).into_iter().all(is_there))
    };
    with_nfnetlink(there).map_err(NetError::ReadRuleset)
}

/// Takes the ports back. What is not there, or leads elsewhere by now, is left alone.
pub fn unpublish(forwards: &[Forward]) -> Result<(), NetError> {
    let there = with_nfnetlink(read_forwards).map_err(NetError::Unpublish)?;
    let ours: Vec<Forward> = elements(forwards)
        .into_iter()
        .filter(|forward| there.iter().any(|(_, found)| found == forward))
        .collect();
    match remove(&ours) {
        // One message that fails takes the whole transaction with it, so each gets its own.
        Err(e) if e.errno() == Some(Errno::ENOENT) => {
            for forward in &ours {
                match remove(std::slice::from_ref(forward)) {
                    Err(e) if e.errno() == Some(Errno::ENOENT) => {}
                    done => done.map_err(NetError::Unpublish)?,
                }
            }
            Ok(())
        }
        done => done.map_err(NetError::Unpublish),
    }
}

fn remove(forwards: &[Forward]) -> Result<(), NetlinkError> {
    if forwards.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    begin(&mut batch, None);
    for forward in forwards {
        batch.message(DELSETELEM, ACK, &FAMILY_INET, |a| {
            in_element(a, Map::of(forward), |a| put_key(a, forward));
        });
    }
    end(&mut batch);
    with_nfnetlink(|socket| socket.run(&batch))
}

/// Reads the firewall. The generation is read first: a change after that makes `publish` stale.
pub fn read() -> Result<Ruleset, NetError> {
    let read = |socket: &Socket| {
        let mut batch = Batch::new();
        batch.message(GETGEN, 0, &FAMILY_ANY, |_| {});
        let answer = socket.ask(&batch)?;
        let generation = answer
            .get(HEADER..)
            .and_then(|a| net32(find(a, &[1])?))
            .ok_or(NetlinkError::Malformed)?;
        Ok(Ruleset {
            generation,
            forwards: read_forwards(socket)?,
            table: table::marker(socket)?.is_some(),
            foreign_drops: foreign_drops(socket)?,
        })
    };
    with_nfnetlink(read).map_err(NetError::ReadRuleset)
}

fn net32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn foreign_drops(socket: &Socket) -> Result<Vec<ForeignChain>, NetlinkError> {
    let chains = socket.dump(GETCHAIN, &FAMILY_ANY, |_| {})?;
    // (chain, whether its policy drops)
    let forwarding = |message: Message<'_>| {
        let family = match *message.payload.first()? {
            FAMILY_IPV4 => "ip",
            family if family == FAMILY_INET[0] => "inet",
            _ => return None,
        };
        let chain = message.payload.get(HEADER..)?;
        let table = find(chain, &[1]).map(text)?.to_owned();
        let ours = family == "inet" && table == TABLE;
        let forwards = find(chain, &[4, 1]).and_then(net32)? == HOOK_FORWARD;
        let drops = find(chain, &[5]).and_then(net32)? == POLICY_DROP;
        let chain = find(chain, &[3]).map(text)?.to_owned();
        (!ours && forwards).then_some((ForeignChain { family, table, chain }, drops))
    };
    let mut found = Vec::new();
    for (chain, drops) in chains.iter().filter_map(forwarding) {
        // firewalld accepts by policy and rejects by its last rule.
        let rules = rules_of(socket, &chain)?;
        let last = rules.iter().filter(|message| message.kind == NEWRULE).last();
        if drops || last.is_some_and(|rule| refuses_all(&rule)) {
            found.push(chain);
        }
    }
    Ok(found)
}

fn rules_of(socket: &Socket, chain: &ForeignChain) -> Result<Dump, NetlinkError> {
    let family = if chain.family == "ip" { [FAMILY_IPV4, 0, 0, 0] } else { FAMILY_INET };
    socket.dump(GETRULE, &family, |a| {
        a.text(1, &chain.table);
        a.text(2, &chain.chain);
    })
}

/// Whether a rule drops or rejects whatever comes to it.
fn refuses_all(rule: &Message<'_>) -> bool {
    const EXPRESSIONS: u16 = 4;
    const VERDICT_CODE: [u16; 4] = [2, 2, 2, 1];
    let list = rule.payload.get(HEADER..).and_then(|a| find(a, &[EXPRESSIONS]));
    let mut refuses = false;
    for (_, expression) in attributes(list.unwrap_or_default()) {
        match find(expression, &[1]).map(text) {
            Some("counter" | "log") => {}
            Some("reject") => refuses = true,
            Some("immediate") => {
                refuses = find(expression, &VERDICT_CODE).and_then(net32) == Some(POLICY_DROP);
            }
            _ => return false,
        }
    }
    refuses
}

/// Whether a rule of the chain names the link: somebody has thought of it.
pub fn names_link(chain: &ForeignChain, link: &IfName) -> Result<bool, NetError> {
    let rules = with_nfnetlink(|socket| rules_of(socket, chain)).map_err(NetError::ReadRuleset)?;
    let name = link.as_str().as_bytes();
    Ok(rules.iter().any(|rule| rule.payload.windows(name.len()).any(|part| part == name)))
}

fn read_forwards(socket: &Socket) -> Result<Vec<(String, Forward)>, NetlinkError> {
    let mut forwards = Vec::new();
    for map in Map::ALL {
        let dump = socket.dump(GETSETELEM, &FAMILY_INET, |a| {
            a.text(1, TABLE);
            a.text(2, map.name());
        });
        let dump = match dump {
            // No table, so no maps.
            Err(e) if e.errno() == Some(Errno::ENOENT) => return Ok(forwards),
            dump => dump?,
        };
        for message in dump.iter().filter(|message| message.kind == NEWSETELEM) {
            let list = message.payload.get(HEADER..).and_then(|a| find(a, &[3]));
            let elements = attributes(list.unwrap_or_default());
            forwards.extend(elements.filter_map(|(_, element)| decode(map, element)));
        }
    }
    Ok(forwards)
}

/// None: not an element that this program wrote.
fn decode(map: Map, element: &[u8]) -> Option<(String, Forward)> {
    let value = |kind| find(element, &[kind, DATA_VALUE]);
    let port_at =
        |bytes: &[u8], at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let quad = |bytes: &[u8]| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?));
    let (key, data) = (value(ELEM_KEY)?, value(ELEM_DATA)?);
    let fields = if map.has_address() { key.get(4..)? } else { key };
    let host = port_at(fields, 4)?;
    let (count, target_port) = if map.has_ranges() {
        let last = port_at(value(ELEM_KEY_END)?, key.len() - 4)?;
        let (min, max) = (u32::from(port_at(data, 4)?), u32::from(port_at(data, 8)?));
        let size = max.checked_sub(min)? + 1;
        (last.checked_sub(host)?.checked_add(1)?, u16::try_from(min + u32::from(host) % size).ok()?)
    } else {
        (1, port_at(data, 4)?)
    };
    let comment = find(element, &[ELEM_USERDATA]).and_then(|userdata| userdata.get(2..));
    let forward = Forward {
        address: if map.has_address() { Some(quad(key)?) } else { None },
        protocol: Protocol::of(*fields.first()?)?,
        host,
        count,
        target: quad(data)?,
        target_port,
    };
    Some((comment.map(text).unwrap_or_default().to_owned(), forward))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Subnet;
    use crate::net::rig::{self, name};

    fn forward(host: u16, count: u16, target_port: u16) -> Forward {
        let (address, protocol) = (None, Protocol::Tcp);
        let target = Ipv4Addr::new(10, 89, 0, 7);
        Forward { address, protocol, host, count, target, target_port }
    }

    pub(super) fn host_table() -> Table {
        let network = Subnet { address: rig::GATEWAY, prefix: 16 };
        Table { bridge: name("podspec0"), network, guard_forwarding: true }
    }

    /// Where the kernel takes a port that meets the element, after nf_nat_l4proto_unique_tuple() of
    /// net/netfilter/nf_nat_core.c: 16 bits throughout, and the base is 0.
    fn translated(element: &Forward, port: u16) -> u16 {
        let (min, max) = (element.target_port, element.target_port + (element.count - 1));
        let size = u32::from(max - min) + 1;
        (u32::from(min) + u32::from(port) % size).try_into().unwrap()
    }

    fn assert_leads(range: &Forward) {
        let pieces = elements(std::slice::from_ref(range));
        assert!(pieces.len() <= 32, "{range:?}: {} elements", pieces.len());
        let mut next = u32::from(range.host);
        for piece in &pieces {
            assert_eq!(u32::from(piece.host), next, "{range:?}: a gap, or twice, in {pieces:?}");
            next += u32::from(piece.count);
            for port in piece.host..=piece.host + (piece.count - 1) {
                let wanted = range.target_port + (port - range.host);
                assert_eq!(translated(piece, port), wanted, "{range:?}: port {port} by {piece:?}");
            }
            // Whatever port of an element the kernel takes, it is a published one.
            let last = piece.target_port + (piece.count - 1);
            assert!(piece.target_port >= range.target_port);
            assert!(last <= range.target_port + (range.count - 1), "{range:?}: {piece:?}");
        }
        assert_eq!(next, u32::from(range.host) + u32::from(range.count), "{pieces:?}");
    }

    #[test]
    fn a_range_is_one_element_where_its_length_divides_its_first_port() {
        for (host, count, target) in
            [(9000, 100, 80), (80, 10, 60000), (10_000, 10_000, 1), (7, 7, 7)]
        {
            assert_eq!(elements(&[forward(host, count, target)]).len(), 1, "{host} {count}");
        }
        let pieces = elements(&[forward(9001, 100, 81)]);
        let shown: Vec<_> = pieces.iter().map(|p| (p.host, p.count, p.target_port)).collect();
        assert_eq!(
            shown,
            [(9001, 1, 81), (9002, 14, 82), (9016, 56, 96), (9072, 28, 152), (9100, 1, 180)]
        );
    }

    #[test]
    fn the_longest_ranges_lead_where_they_should() {
        for (host, count, target) in [
            (1, 65535, 1),
            (2, 65534, 1),
            (1, 65534, 2),
            (65535, 1, 1),
            (65534, 2, 1),
            (4, 28879, 9),
        ] {
            assert_leads(&forward(host, count, target));
        }
    }

    proptest::proptest! {
        #[test]
        fn every_port_of_a_range_leads_to_its_own(
            host in 1..=65535_u16, target in 1..=65535_u16, long in 0..=65534_u16, short in 0..2000_u16,
            is_long in proptest::bool::weighted(0.1),
        ) {
            let most = (65535 - host).min(65535 - target);
            let more = if is_long { long } else { short };
            assert_leads(&forward(host, more.min(most) + 1, target));
        }
    }

    #[test]
    fn what_is_published_is_read_back_and_taken_back() {
        rig::on_new_host(|| {
            rig::bridge();
            let empty = read().unwrap();
            assert!(!empty.table && empty.forwards.is_empty() && empty.foreign_drops.is_empty());
            unpublish(&[forward(80, 1, 8080)]).unwrap();
            make_table(&host_table()).unwrap();
            let at = |f: Forward| Forward { address: Some(Ipv4Addr::LOCALHOST), ..f };
            let all = [
                forward(80, 1, 8080),
                at(forward(80, 1, 8081)),
                forward(9000, 10, 9000),
                at(forward(9000, 10, 80)),
                Forward { protocol: Protocol::Udp, ..forward(80, 1, 53) },
            ];
            publish("0123456789", &all, Some(read().unwrap().generation)).unwrap();
            let found = read().unwrap();
            assert!(found.table && found.foreign_drops.is_empty());
            assert!(found.forwards.iter().all(|(tag, _)| tag == "0123456789"));
            let mut read_back: Vec<_> = found.forwards.iter().map(|(_, f)| *f).collect();
            let mut wanted = all.to_vec();
            read_back.sort();
            wanted.sort();
            assert_eq!(read_back, wanted);
            let shown = rig::run("nft", "list table inet podspec");
            assert!(shown.contains(r#"tcp . 80 comment "0123456789""#), "{shown}");

            let elsewhere = Forward { target: Ipv4Addr::new(10, 89, 0, 9), ..all[0] };
            unpublish(&[elsewhere]).unwrap();
            assert_eq!(read().unwrap().forwards.len(), 5, "another's element stays");
            unpublish(&all[1..]).unwrap();
            unpublish(&all).unwrap();
            unpublish(&all).unwrap();
            assert!(read().unwrap().forwards.is_empty());
        });
    }

    #[test]
    fn a_taken_port_or_a_stale_view_changes_nothing() {
        rig::on_new_host(|| {
            rig::bridge();
            make_table(&host_table()).unwrap();
            let before = read().unwrap().generation;
            publish("a", &[forward(80, 1, 80), forward(9000, 10, 9000)], Some(before)).unwrap();
            let stale = publish("b", &[forward(81, 1, 81)], Some(before));
            assert!(matches!(stale, Err(NetError::Stale)), "{stale:?}");
            for taken in [forward(80, 1, 81), forward(9000, 10, 9000), forward(9005, 10, 9005)] {
                let done = publish("b", &[forward(82, 1, 82), taken], None);
                let port = taken.host;
                assert!(
                    matches!(done, Err(NetError::PortTaken { port: p, .. }) if p == port),
                    "{done:?}"
                );
            }
            assert_eq!(read().unwrap().forwards.len(), 2);
        });
    }

    #[test]
    fn many_ports_fit_in_one_transaction() {
        rig::on_new_host(|| {
            rig::bridge();
            make_table(&host_table()).unwrap();
            let many: Vec<_> = (1000..4000).map(|port| forward(port, 1, port)).collect();
            publish("many", &many, None).unwrap();
            assert_eq!(read().unwrap().forwards.len(), 3000);
            unpublish(&many).unwrap();
            assert!(read().unwrap().forwards.is_empty());
        });
    }

    #[test]
    fn foreign_chains_that_drop_are_seen() {
        rig::on_new_host(|| {
            rig::run("nft", "add table ip filter");
            rig::run(
                "nft",
                "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
            );
            rig::bridge();
            make_table(&host_table()).unwrap();
            let found = read().unwrap().foreign_drops;
            let (table, chain) = ("filter".to_owned(), "FORWARD".to_owned());
            assert_eq!(found, [ForeignChain { family: "ip", table, chain }]);
            let podspec0 = name("podspec0");
            assert!(!names_link(&found[0], &podspec0).unwrap());
            rig::run("nft", "insert rule ip filter FORWARD iifname podspec0 accept");
            assert!(names_link(&found[0], &podspec0).unwrap());
        });
    }

    #[test]
    fn a_chain_may_drop_by_its_last_rule() {
        rig::on_new_host(|| {
            rig::run("nft", "add table inet other");
            let chain = "{ type filter hook forward priority 10; policy accept; }";
            rig::run("nft", &format!("add chain inet other forwarded {chain}"));
            for (rule, shut) in [
                ("ct state established accept", false),
                ("tcp dport 80 drop", false),
                ("ip saddr 192.0.2.7 reject", false),
                ("counter drop", true),
                ("accept", false),
                ("log prefix x counter reject with icmpx type admin-prohibited", true),
            ] {
                rig::run("nft", &format!("add rule inet other forwarded {rule}"));
                assert_eq!(!read().unwrap().foreign_drops.is_empty(), shut, "{rule}");
            }
        });
    }

    #[test]
    fn lost_ports_are_published_again_and_no_others_taken() {
        rig::on_new_host(|| {
            rig::bridge();
            make_table(&host_table()).unwrap();
            let all = [forward(80, 1, 8080), forward(9000, 10, 80)];
            assert!(holds(&[]).unwrap() && !holds(&all).unwrap());
            publish("a", &all[..1], None).unwrap();
            publish_again("a", &all).unwrap();
            publish_again("a", &all).unwrap();
            assert!(holds(&all).unwrap());
            assert_eq!(read().unwrap().forwards.len(), 2);
            let elsewhere = Forward { target: Ipv4Addr::new(10, 89, 0, 9), ..all[0] };
            assert!(publish_again("b", &[elsewhere]).is_err());
            rig::run("nft", "flush ruleset");
            assert!(!holds(&[]).unwrap());
        });
    }
}
