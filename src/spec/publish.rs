//! Published ports: the long and the short form to the model's, and which of them want the same door.

use super::model::{Container, NetworkMode, Port, Protocol, Root, Shared};
use super::port::{self, PortWord, WordProtocol};
use super::problem::{Problem, Problems};
use super::raw::{self, Either, RawPod};
use super::tree::{Entry, Node};
use super::validate::Checks;
use super::{advice, foreign};
use crate::names::ContainerName;
use indexmap::IndexMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

/// Published ports with their places.
pub(super) type Ports = Vec<(Port, Range<usize>)>;

/// The ports of a pod or a container, as far as they are good.
pub(super) fn ports(
    raw: Option<&Either<String, Vec<Either<raw::ShortPort, raw::Port>>>>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Vec<Port> {
    let (Some(raw), Some(entry)) = (raw, node.entry("ports")) else { return Vec::new() };
    let list = match raw {
        Either::Short(word) if word == "auto" => {
            network_for_ports(entry, checks);
            return Vec::new();
        }
        Either::Short(word) => {
            let message = "`ports` is a list, or the word `auto`";
            let place = entry.value.span.clone();
            let items: Vec<&str> =
                word.split([',', ' ', '\n']).filter(|item| !item.is_empty()).collect();
            // The space behind a `-` is missing: YAML joins the lines to one text.
            let items = items.iter().map(|item| item.trim_start_matches('-'));
            let items: Vec<String> = items.map(advice::with_both_ends).collect();
            let help = format!("write `ports: [{}]`", items.join(", "));
            checks.report(Problem::error("P0423", message, place, "this is neither").help(help));
            return Vec::new();
        }
        Either::Long(list) => list,
    };
    if !list.is_empty() {
        network_for_ports(entry, checks);
    }
    let mut ports = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let Some(place) = entry.value.item(index) else { continue };
        let Some((word, name)) = port_word(item, place, checks) else { continue };
        if let Some(port) = supported(word, name, place, checks) {
            checks.ports.push((port.clone(), place.span.clone()));
            ports.push(port);
        }
    }
    ports
}

/// Whether the pod's ports are what its images expose.
pub(super) fn is_auto(raw: &RawPod) -> bool {
    matches!(&raw.ports, Some(Either::Short(word)) if word == "auto")
}

/// What ports mean once all containers are known.
pub(super) fn of_all(
    raw: &RawPod,
    containers: &IndexMap<ContainerName, Container>,
    node: &Node,
    checks: &mut Checks<'_>,
) {
    warn_of_refused_ports(raw, node, checks);
    refuse_auto_of_nothing(raw, containers, node, checks);
    listeners(checks);
}

/// Without an image nobody says what is to be published.
fn refuse_auto_of_nothing(
    raw: &RawPod,
    containers: &IndexMap<ContainerName, Container>,
    node: &Node,
    checks: &mut Checks<'_>,
) {
    let has_image = containers.values().any(|one| matches!(one.root, Root::Image(_)));
    // One that was not understood may have one.
    let is_whole = raw.containers.as_ref().map_or(0, IndexMap::len)
        == containers.values().filter(|c| c.role.is_main()).count();
    let Some(entry) = node.entry("ports").filter(|_| is_auto(raw) && !has_image && is_whole) else {
        return;
    };
    let message = "`ports: auto` publishes what images expose, and no container has an image";
    let place = entry.value.span.clone();
    let problem = Problem::error("P0643", message, place, "of no image");
    checks
        .report(problem.help("write the ports that programs listen on, as `ports: [\"8080:80\"]`"));
}

/// Ports need a network of podspec's.
fn network_for_ports(entry: &Entry, checks: &mut Checks<'_>) {
    if checks.network != NetworkMode::Bridge {
        let (message, help) = match checks.network {
            NetworkMode::Host => (
                "with `network: host` there is nothing to publish",
                "remove `ports`: programs listen on the machine's own addresses",
            ),
            NetworkMode::At(_) => (
                "in the network of a path there is nothing to publish",
                "remove `ports`: who has made that network publishes them",
            ),
            NetworkMode::None | NetworkMode::Bridge => (
                "with `network: none` no port can be reached",
                "remove `ports`, or write `network: bridge`",
            ),
        };
        checks
            .report(Problem::error("P0511", message, entry.key.clone(), "these ports").help(help));
    }
}

fn port_word(
    item: &Either<raw::ShortPort, raw::Port>,
    place: &Node,
    checks: &mut Checks<'_>,
) -> Option<(PortWord, Option<String>)> {
    let long = match item {
        Either::Short(word) => {
            let word = checks.quantity("P0424", port::parse(&word.0), place.span.clone())?;
            return Some((word, None));
        }
        Either::Long(long) => long,
    };
    let at = |key: &str| place.get(key).map_or_else(|| place.head(), |node| node.span.clone());
    let host = checks.quantity("P0424", port::range(&long.host.0, &long.host.0), at("host"));
    let container = checks.quantity(
        "P0424",
        port::range(&long.container.0, &long.container.0),
        at("container"),
    );
    let address = match &long.address {
        Some(text) => Some(checks.address(text, &at("address"))?),
        None => None,
    };
    if let Some(name) = &long.name
        && !checks.one_line(name, &at("name"))
    {
        return None;
    }
    let protocol = match long.protocol {
        None | Some(raw::Protocol::Tcp) => WordProtocol::Tcp,
        Some(raw::Protocol::Udp) => WordProtocol::Udp,
    };
    let text = format!("{}:{}", long.host.0, long.container.0);
    let word = port::build(&text, address, host?, container?, protocol);
    Some((checks.quantity("P0424", word, place.head())?, long.name.clone()))
}

/// The port as this version can publish it.
fn supported(
    word: PortWord,
    name: Option<String>,
    place: &Node,
    checks: &mut Checks<'_>,
) -> Option<Port> {
    let refuse = |(what, help), checks: &mut Checks<'_>| {
        checks.report(Problem::not_yet(what, place.span.clone()).help(help));
        None
    };
    let address = match word.address {
        Some(IpAddr::V6(_)) => {
            let help = "write an IPv4 address, such as `127.0.0.1`, or none for every one of them";
            return refuse(("publishing on an IPv6 address", help), checks);
        }
        Some(IpAddr::V4(address)) => Some(address).filter(|address| !address.is_unspecified()),
        None => None,
    };
    let Some(protocol) = Option::<Protocol>::from(word.protocol) else {
        return refuse(foreign::later("protocol", "sctp")?, checks);
    };
    let count = u16::try_from(u32::from(word.host.1 - word.host.0) + 1).ok()?;
    Some(Port { address, host: word.host.0, container: word.container.0, count, protocol, name })
}

/// Pod ports lead to infra where `net` is not shared, and nothing listens there.
fn warn_of_refused_ports(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) {
    let some = matches!(&raw.ports, Some(Either::Long(list)) if !list.is_empty());
    if !some || checks.share.contains(&Shared::Net) {
        return;
    }
    let Some(entry) = node.entry("ports") else { return };
    let message = "connections to these ports will be refused";
    let label = "they lead to the pod's own namespace, where nothing listens";
    let problem = Problem::error("P0550", message, entry.key.clone(), label).warning();
    checks.report(problem.help("`net` is not shared: put `ports` on the container that listens"));
}

/// Two containers that listen on one port of the namespace that they share.
fn listeners(checks: &mut Checks<'_>) {
    let mut all = std::mem::take(&mut checks.listeners);
    all.sort_by_key(|(port, place, _)| (port.protocol, port.container, place.start));
    let end = |port: &Port| u32::from(port.container) + u32::from(port.count);
    let mut furthest: Option<usize> = None;
    for (index, (port, place, word)) in all.iter().enumerate() {
        if let Some((other, first, its)) = furthest.map(|index| &all[index])
            && other.protocol == port.protocol
            && end(other) > u32::from(port.container)
            && its != word
        {
            let message = format!(
                "`{its}` and `{word}` both listen on port {}, and share `net`",
                port.container
            );
            let (early, late) =
                if first.start <= place.start { (first, place) } else { (place, first) };
            let problem = Problem::error("P0517", message, late.clone(), "here too");
            checks.report(
                problem.also(early.clone(), "taken here").help(
                    "let one listen on another port, or give it `namespaces: { net: private }`",
                ),
            );
        }
        let further = furthest.is_none_or(|known| {
            all[known].0.protocol != port.protocol || end(&all[known].0) < end(port)
        });
        if further {
            furthest = Some(index);
        }
    }
}

/// The first ports of the host, so many, from `first` on, that none of these sorted ones takes.
fn free(ports: &[(Port, Range<usize>)], mut first: u32, count: u16) -> Option<String> {
    let last = |first: u32| first + u32::from(count) - 1;
    for (port, _) in ports {
        if u32::from(port.host) > last(first) {
            break;
        }
        first = first.max(u32::from(port.host) + u32::from(port.count));
    }
    let last = u16::try_from(last(first)).ok()?;
    Some(if count == 1 { format!("{last}") } else { format!("{first}-{last}") })
}

/// Two ports that want the same door of the host.
pub(super) fn conflicts(mut ports: Ports, problems: &mut Problems) {
    // Host port 0 is a free one, chosen at `up`.
    ports.retain(|(port, _)| port.host != 0);
    ports.sort_by_key(|(port, place)| (port.protocol, port.host, place.start));
    let end = |port: &Port| u32::from(port.host) + u32::from(port.count);
    for one_protocol in ports.chunk_by(|(one, _), (other, _)| one.protocol == other.protocol) {
        // By address, the port of those so far that reaches furthest; that of any address too.
        let mut furthest: HashMap<Option<IpAddr>, usize> = HashMap::new();
        let mut any: Option<usize> = None;
        for (index, (port, place)) in one_protocol.iter().enumerate() {
            let address = port.address.map(IpAddr::from);
            let reach = |index: usize| end(&one_protocol[index].0);
            let rival = match address {
                None => any,
                Some(_) => {
                    let both = [furthest.get(&address), furthest.get(&None)];
                    both.into_iter().flatten().copied().max_by_key(|index| reach(*index))
                }
            };
            let further = |known: Option<usize>| match known {
                Some(known) if reach(known) >= end(port) => known,
                _ => index,
            };
            any = Some(further(any));
            let own = further(furthest.get(&address).copied());
            furthest.insert(address, own);
            if let Some(rival) = rival.filter(|rival| reach(*rival) > u32::from(port.host)) {
                let (other, its) = &one_protocol[rival];
                let (early, late, count) = match its.start <= place.start {
                    true => (its, place, port.count),
                    false => (place, its, other.count),
                };
                let others = &one_protocol[index + 1..];
                let free = match problems.is_full() {
                    true => None,
                    false => free(others, any.map_or(0, reach), count),
                };
                let free = free.map_or(String::new(), |free| format!(", such as {free},"));
                let message = format!("host port {} is published twice", port.host);
                problems.push(
                    Problem::error("P0512", message, late.clone(), "here again")
                        .also(early.clone(), "first here")
                        .help(format!(
                            "publish it on another host port{free} or each on an address of its own"
                        )),
                );
            }
        }
    }
}
