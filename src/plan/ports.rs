//! Published ports: which door of the host leads to which port of a namespace, whether it is free, and
//! which free one is taken where the file leaves that open (host port 0).

use crate::names::digest;
use crate::plan::error::{Holder, PlanError};
use crate::plan::facts::NetworkFacts;
use crate::plan::network::PodNetwork;
use crate::plan::places::Places;
use crate::plan::step::{Connection, Forward, Protocol};
use crate::spec::model::{self, PodSpec, Port};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Where nobody registers a port (RFC 6335).
pub const DYNAMIC: RangeInclusive<u16> = 49152..=65535;

/// A port of the file on its way to a forward.
struct Wanted {
    /// Where it stands, `ports.0`.
    place: String,
    /// Host port 0: not chosen yet.
    forward: Forward,
}

/// Every published port of the file with its namespace's address, if it is free: the pod's, then the
/// containers', in the order of the file.
pub(super) fn forwards(
    spec: &PodSpec,
    network: &PodNetwork,
    facts: &NetworkFacts,
    places: &Places<'_>,
) -> Result<Vec<Forward>, PlanError> {
    let mut wanted = wanted(spec, network)?;
    for (n, Wanted { place, forward }) in wanted.iter().enumerate() {
        if forward.host == 0 {
            continue;
        }
        if let Some(other) = wanted[..n].iter().find(|other| collide(&other.forward, forward)) {
            let (place, other) = (place.clone(), other.place.clone());
            return Err(PlanError::PortTwice { place, port: forward.to_string(), other });
        }
        if let Some(by) = holder(forward, facts) {
            let (place, port) = (place.clone(), forward.to_string());
            return Err(PlanError::PortTaken { place, port, by });
        }
    }
    // After all that the file names: none of those may be taken for one that is free.
    for n in 0..wanted.len() {
        if wanted[n].forward.host == 0 {
            wanted[n].forward.host = free_port(&wanted, n, facts, places).ok_or_else(|| {
                let Wanted { place, forward } = &wanted[n];
                PlanError::NoFreePort { place: place.clone(), protocol: forward.protocol }
            })?;
        }
    }
    Ok(wanted.into_iter().map(|wanted| wanted.forward).collect())
}

/// In the order of the file.
fn wanted(spec: &PodSpec, network: &PodNetwork) -> Result<Vec<Wanted>, PlanError> {
    let pod = spec.ports.iter().enumerate();
    let pod = pod.map(|(n, port)| (format!("ports.{n}"), network.pod.as_ref(), port));
    let own = spec.containers.iter().flat_map(|(name, container)| {
        container.ports.iter().enumerate().map(move |(n, port)| {
            (format!("containers.{name}.ports.{n}"), network.own.get(name), port)
        })
    });
    let wanted = |(place, connection, port): (String, Option<&Connection>, &Port)| match connection
    {
        Some(connection) => Ok(Wanted { place, forward: forward(port, connection.address) }),
        None => Err(PlanError::NoNetwork { port: display(port), place }),
    };
    pod.chain(own).map(wanted).collect()
}

/// Begins where the hash says, so that a pod that comes again most often gets the port it had. Ports that
/// the kernel itself hands out come last: a program that binds port 0, or an outgoing connection, may
/// have any of them at the next `up`. What the administrator has reserved is somebody's.
fn free_port(
    wanted: &[Wanted],
    n: usize,
    facts: &NetworkFacts,
    places: &Places<'_>,
) -> Option<u16> {
    let Wanted { place, forward } = &wanted[n];
    let within = |ranges: &[(u16, u16)], port| {
        ranges.iter().any(|&(first, last)| (first..=last).contains(&port))
    };
    let candidates = DYNAMIC.filter(|&port| !within(&facts.reserved_ports, port));
    let (last, first): (Vec<u16>, Vec<u16>) =
        candidates.partition(|&port| within(facts.local_ports.as_slice(), port));
    // Not the item's number: an item before it may come or go.
    let list = place.rsplit_once('.').map_or("", |(list, _)| list);
    let port = format!("{forward}:{}", forward.target_port);
    let key = digest(&[places.id.as_str().as_bytes(), list.as_bytes(), port.as_bytes()]);
    let begin = u32::from_be_bytes([key[0], key[1], key[2], key[3]]) as usize;
    let is_free = |port: &u16| {
        let forward = Forward { host: *port, ..forward.clone() };
        !wanted.iter().any(|other| collide(&other.forward, &forward))
            && holder(&forward, facts).is_none()
    };
    let find = |ports: Vec<u16>| {
        let begin = begin.checked_rem(ports.len())?;
        ports[begin..].iter().chain(&ports[..begin]).copied().find(is_free)
    };
    find(first).or_else(|| find(last))
}

fn forward(port: &Port, target: Ipv4Addr) -> Forward {
    Forward {
        address: port.address.filter(|address| !address.is_unspecified()),
        protocol: match port.protocol {
            model::Protocol::Tcp => Protocol::Tcp,
            model::Protocol::Udp => Protocol::Udp,
        },
        host: port.host,
        count: port.count,
        target,
        target_port: port.container,
    }
}

fn display(port: &Port) -> String {
    forward(port, Ipv4Addr::UNSPECIFIED).to_string()
}

/// Pods first: a pod's reserving socket is in the list of sockets too, and says less.
fn holder(forward: &Forward, facts: &NetworkFacts) -> Option<Holder> {
    let pod = facts.forwards.iter().find(|(_, other)| collide(other, forward));
    if let Some((id, _)) = pod {
        return Some(Holder::Pod(id.to_string()));
    }
    let socket = facts.listeners.iter().find(|socket| {
        let address = Some(socket.address).filter(|address| !address.is_unspecified());
        socket.protocol == forward.protocol
            && addresses_meet(address, forward.address)
            && forward.host <= socket.port
            && socket.port <= last(forward)
    })?;
    Some(Holder::Socket { inode: socket.inode })
}

fn collide(a: &Forward, b: &Forward) -> bool {
    a.protocol == b.protocol
        && addresses_meet(a.address, b.address)
        && a.host <= last(b)
        && b.host <= last(a)
}

/// No address is every address.
fn addresses_meet(a: Option<Ipv4Addr>, b: Option<Ipv4Addr>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

fn last(forward: &Forward) -> u16 {
    forward.host.saturating_add(forward.count.saturating_sub(1))
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The host's side: `127.0.0.1:9000-9099/udp`.
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}:")?;
        }
        write!(f, "{}", self.host)?;
        if self.count > 1 {
            write!(f, "-{}", last(self))?;
        }
        write!(f, "/{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::PodId;
    use crate::plan::facts::Listener;
    use crate::plan::network::choose;
    use crate::plan::sample;

    fn port(text: &str) -> Port {
        sample::port(text)
    }

    fn conflict(wanted: &[&str], change: impl FnOnce(&mut NetworkFacts)) -> Option<PlanError> {
        let mut facts = sample::facts();
        change(&mut facts.network);
        let mut spec = sample::pod("shop", &["web"]);
        spec.ports = wanted.iter().map(|text| port(text)).collect();
        choose(&spec, &facts, &Places::new(&facts.directories, &spec.name)).err()
    }

    #[test]
    fn ports_of_other_pods_are_respected() {
        let other = |text: &str| {
            let id = PodId::try_from("0123456789".to_owned()).unwrap();
            (id, forward(&port(text), Ipv4Addr::new(10, 89, 0, 9)))
        };
        let cases = [
            ("8080:80", "8080:81", true),
            ("8080:80", "127.0.0.1:8080:80", true),
            ("127.0.0.1:8080:80", "8080:80", true),
            ("127.0.0.1:8080:80", "127.0.0.2:8080:80", false),
            ("8080:80", "8080:80/udp", false),
            ("9000-9099:9000-9099", "9099:1", true),
            ("9100:1", "9000-9099:9000-9099", false),
            ("8999-9000:8999-9000", "9000-9099:9000-9099", true),
        ];
        for (wanted, held, taken) in cases {
            let error = conflict(&[wanted], |facts| facts.forwards.push(other(held)));
            assert_eq!(error.is_some(), taken, "{wanted} against {held}: {error:?}");
            if let Some(PlanError::PortTaken { by, place, .. }) = error {
                assert_eq!(by, Holder::Pod("0123456789".into()));
                assert_eq!(place, "ports.0");
            }
        }
    }

    #[test]
    fn ports_of_programs_are_respected() {
        let listener = |address: &str| Listener {
            protocol: Protocol::Tcp,
            address: address.parse().unwrap(),
            port: 8080,
            inode: 77,
        };
        for (wanted, held, taken) in [
            ("8080:80", "127.0.0.1", true),
            ("127.0.0.1:8080:80", "0.0.0.0", true),
            ("127.0.0.1:8080:80", "127.0.0.53", false),
            ("8000-8100:8000-8100", "0.0.0.0", true),
            ("8080:80/udp", "0.0.0.0", false),
            ("8081:80", "0.0.0.0", false),
        ] {
            let error = conflict(&[wanted], |facts| facts.listeners.push(listener(held)));
            assert_eq!(error.is_some(), taken, "{wanted} against {held}: {error:?}");
        }
    }

    #[test]
    fn a_port_twice_in_the_file_is_named_by_its_place() {
        let error = conflict(&["80:80", "81:80", "80-82:80-82"], |_| {}).unwrap();
        assert_eq!(error.place().as_deref(), Some("ports.2"));
        assert_eq!(error.to_string(), "port 80-82/tcp is published twice, also by `ports.0`");
    }

    /// The host ports of a pod with these ports.
    fn chosen(
        wanted: &[&str],
        change: impl FnOnce(&mut NetworkFacts),
    ) -> Result<Vec<u16>, PlanError> {
        let mut facts = sample::facts();
        facts.network.local_ports = Some((32768, 60999));
        change(&mut facts.network);
        let mut spec = sample::pod("shop", &["web"]);
        spec.ports = wanted.iter().map(|text| port(text)).collect();
        let network = choose(&spec, &facts, &Places::new(&facts.directories, &spec.name))?;
        Ok(network.forwards.iter().map(|forward| forward.host).collect())
    }

    #[test]
    fn a_free_port_is_the_same_every_time_and_none_that_the_kernel_hands_out() {
        let first = chosen(&["0:80"], |_| {}).unwrap()[0];
        assert!(first >= 61000, "{first}");
        assert_eq!(chosen(&["0:80"], |_| {}).unwrap(), [first]);
        assert_ne!(chosen(&["0:81"], |_| {}).unwrap(), [first]);
        // Somebody has it, in one of three ways; the next one is taken then.
        let next = if first == 65535 { 61000 } else { first + 1 };
        let of_pod = chosen(&["0:80"], |facts| {
            let id = PodId::try_from("0123456789".to_owned()).unwrap();
            let taken = forward(&port(&format!("{first}:80")), Ipv4Addr::new(10, 89, 0, 9));
            facts.forwards.push((id, taken));
        });
        let of_program = chosen(&["0:80"], |facts| {
            let (protocol, address) = (Protocol::Tcp, Ipv4Addr::UNSPECIFIED);
            facts.listeners.push(Listener { protocol, address, port: first, inode: 7 });
        });
        let reserved = chosen(&["0:80"], |facts| facts.reserved_ports.push((first, first)));
        assert_eq!((of_pod.unwrap(), of_program.unwrap()), (vec![next], vec![next]));
        // One candidate less moves where the hash begins, too.
        assert_ne!(reserved.unwrap(), [first]);
    }

    #[test]
    fn what_the_file_names_itself_is_not_free() {
        let free = chosen(&["0:80"], |_| {}).unwrap()[0];
        let named = format!("{free}:81");
        let found = chosen(&["0:80", &named, "0:80/udp", "0:80"], |_| {}).unwrap();
        assert_ne!(found[0], free);
        assert_eq!(found[1], free);
        assert_ne!(found[0], found[3], "two of one protocol");
    }

    #[test]
    fn where_the_kernel_hands_out_every_port_one_of_those_is_taken() {
        let everything = |facts: &mut NetworkFacts| facts.local_ports = Some((1024, 65535));
        let found = chosen(&["0:80"], everything).unwrap();
        assert!(DYNAMIC.contains(&found[0]));
        let error = chosen(&["0:80"], |facts| facts.reserved_ports.push((49152, 65535)));
        assert_eq!(error.unwrap_err().place().as_deref(), Some("ports.0"));
    }
}
