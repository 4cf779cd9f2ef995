//! The network of a pod: which subnet, who gets which address, what links are called. All of it from
//! facts, so that a conflict is known before anything is touched.

use crate::names::{ContainerName, IfName, digest};
use crate::plan::error::PlanError;
use crate::plan::facts::{HostFacts, NetworkFacts, Subnet};
use crate::plan::places::Places;
use crate::plan::ports;
use crate::plan::step::{Connection, Forward, Namespace, Network};
use crate::spec::model::{Container, NetworkMode, PodSpec, Scope, Shared};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

const BRIDGE: &str = "podspec0";
const MTU: u32 = 1500;
/// A route that is shorter than this is a default route, or half of one as VPNs set it: it says where
/// everything goes, not what is in use.
const DEFAULT_ROUTE_BELOW: u8 = 2;

/// Which network namespace a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side<'a> {
    /// Infra's.
    Pod,
    /// One of its own.
    Own,
    Host,
    /// Somebody else's.
    At(&'a Path),
}

pub(super) fn side<'a>(spec: &'a PodSpec, container: &'a Container) -> Side<'a> {
    match (container.namespaces.get(&Shared::Net), &spec.network) {
        (Some(Scope::Host), _) | (None, NetworkMode::Host) => Side::Host,
        (Some(Scope::At(path)), _) | (None, NetworkMode::At(path)) => Side::At(path),
        (None, _) if spec.share.contains(&Shared::Net) => Side::Pod,
        (Some(Scope::Private) | None, _) => Side::Own,
    }
}

/// All that was chosen for one pod.
#[derive(Debug, Default)]
pub(super) struct PodNetwork {
    /// The machine's part, where something of it is missing.
    pub(super) machine: Option<Network>,
    /// Infra's, and those of containers with a network namespace of their own.
    pub(super) pod: Option<Connection>,
    pub(super) own: BTreeMap<ContainerName, Connection>,
    /// The pod's ports, then the containers', in the order of the file.
    pub(super) forwards: Vec<Forward>,
}

impl PodNetwork {
    /// Every connection, the pod's first.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.pod.iter().chain(self.own.values())
    }
}

pub(super) fn choose(
    spec: &PodSpec,
    facts: &HostFacts,
    places: &Places<'_>,
) -> Result<PodNetwork, PlanError> {
    let mut network = PodNetwork::default();
    if spec.network == NetworkMode::Bridge {
        let wire = Wire::choose(&facts.network)?;
        let mtu = spec.mtu.unwrap_or(wire.mtu);
        let connect = |container, taken: &mut BTreeSet<Ipv4Addr>| {
            wire.connect(places, container, taken, &facts.network)
                .map(|connection| Connection { mtu, ..connection })
        };
        let mut taken: BTreeSet<Ipv4Addr> = facts.network.leases.keys().copied().collect();
        network.pod = Some(connect(None, &mut taken)?);
        for (name, container) in &spec.containers {
            if side(spec, container) == Side::Own {
                network.own.insert(name.clone(), connect(Some(name), &mut taken)?);
            }
        }
        network.machine = wire.missing(&facts.network, places);
    }
    network.forwards = ports::forwards(spec, &network, &facts.network, places)?;
    Ok(network)
}

/// What all connections of the machine have in common.
struct Wire {
    bridge: IfName,
    gateway: Subnet,
    mtu: u32,
}

impl Wire {
    fn choose(facts: &NetworkFacts) -> Result<Self, PlanError> {
        #[expect(clippy::expect_used, reason = "the constant is an interface name, tested below")]
        let bridge = IfName::try_from(BRIDGE).expect("a constant name");
        let gateway = match facts.bridge {
            Some(bridge) => bridge,
            None => free_subnet(&facts.routes).ok_or(PlanError::NoSubnet)?,
        };
        Ok(Self { bridge, gateway, mtu: if facts.mtu == 0 { MTU } else { facts.mtu } })
    }

    fn missing(&self, facts: &NetworkFacts, places: &Places<'_>) -> Option<Network> {
        let complete = facts.bridge.is_some() && facts.table && facts.ip_forward;
        (!complete).then(|| Network {
            bridge: self.bridge.clone(),
            gateway: self.gateway,
            mtu: self.mtu,
            enable_forwarding: !facts.ip_forward,
            guard_forwarding: !facts.ip_forward || facts.forwards_for_pods,
            forwarding_record: places.forwarding_record(),
        })
    }

    fn connect(
        &self,
        places: &Places<'_>,
        container: Option<&ContainerName>,
        taken: &mut BTreeSet<Ipv4Addr>,
        facts: &NetworkFacts,
    ) -> Result<Connection, PlanError> {
        let key = key(places, container);
        let address = free_address(self.gateway, &key, taken, &facts.released)
            .ok_or(PlanError::NoAddress { subnet: network_of(self.gateway) })?;
        taken.insert(address);
        Ok(Connection {
            container: container.cloned(),
            netns: match container {
                None => places.pin(Namespace::Net),
                Some(name) => places.own_netns(name),
            },
            host: link(places, container),
            peer: eth0(),
            bridge: self.bridge.clone(),
            mac: [0x02, key[8], key[9], key[10], key[11], key[12]],
            address,
            gateway: self.gateway,
            mtu: self.mtu,
        })
    }
}

/// A hash over (runtime directory, pod, container), from which address and MAC begin.
fn key(places: &Places<'_>, container: Option<&ContainerName>) -> [u8; 32] {
    use std::os::unix::ffi::OsStrExt;
    let run = places.directories().run.as_os_str().as_bytes();
    let container = container.map_or("", ContainerName::as_str);
    digest(&[run, places.pod.as_str().as_bytes(), container.as_bytes()])
}

/// The host's side of a veth pair: found again from the pod's name, and for a container from both names.
pub fn link(places: &Places<'_>, container: Option<&ContainerName>) -> IfName {
    let hex = match container {
        None => places.id.to_string(),
        Some(_) => key(places, container)[..5].iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    #[expect(clippy::expect_used, reason = "12 letters and digits are an interface name")]
    IfName::try_from(format!("ps{hex}")).expect("12 letters and digits")
}

fn eth0() -> IfName {
    #[expect(clippy::expect_used, reason = "the constant is an interface name, tested below")]
    IfName::try_from("eth0").expect("a constant name")
}

fn network_of(gateway: Subnet) -> Subnet {
    Subnet { address: gateway.network(), prefix: gateway.prefix }
}

/// The first of our networks that the host does not use, as its gateway's address.
fn free_subnet(routes: &[Subnet]) -> Option<Subnet> {
    let big = [(10, 89..=99), (172, 30..=31), (172, 24..=29)]
        .into_iter()
        .flat_map(|(first, seconds)| seconds.map(move |second| ([first, second, 0, 1], 16)));
    let small = (200..=250).map(|third| ([192, 168, third, 1], 24));
    let mut candidates =
        big.chain(small).map(|(address, prefix)| Subnet { address: address.into(), prefix });
    candidates.find(|candidate| {
        let used = routes.iter().filter(|route| route.prefix >= DEFAULT_ROUTE_BELOW);
        !used.into_iter().any(|route| route.overlaps(*candidate))
    })
}

/// Begins where the hash says and takes the first address that nobody has or had. When all were used
/// before, the one that has been unused longest: neighbours may still remember the others.
fn free_address(
    gateway: Subnet,
    key: &[u8; 32],
    taken: &BTreeSet<Ipv4Addr>,
    released: &BTreeMap<Ipv4Addr, u64>,
) -> Option<Ipv4Addr> {
    let size = u64::from(!gateway.mask()) + 1;
    if size < 4 {
        return None;
    }
    let begin = u64::from(u32::from_be_bytes([key[0], key[1], key[2], key[3]]));
    let network = u32::from(gateway.network());
    let mut oldest: Option<(u64, Ipv4Addr)> = None;
    // The network's own address and the broadcast address are the first and the last.
    for place in (0..size - 2).map(|n| 1 + (begin + n) % (size - 2)) {
        let address = Ipv4Addr::from(network | u32::try_from(place).ok()?);
        if address == gateway.address || taken.contains(&address) {
            continue;
        }
        match released.get(&address) {
            None => return Some(address),
            Some(&when) if oldest.is_none_or(|(oldest, _)| when < oldest) => {
                oldest = Some((when, address));
            }
            Some(_) => {}
        }
    }
    oldest.map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn subnet(text: &str) -> Subnet {
        let (address, prefix) = text.split_once('/').unwrap();
        Subnet { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[test]
    fn constant_names_are_names() {
        assert_eq!(eth0().as_str(), "eth0");
        assert_eq!(Wire::choose(&NetworkFacts::default()).unwrap().bridge.as_str(), BRIDGE);
    }

    #[test]
    fn the_first_subnet_that_no_route_touches() {
        let free = |routes: &[&str]| {
            free_subnet(&routes.iter().map(|route| subnet(route)).collect::<Vec<_>>())
        };
        assert_eq!(free(&[]), Some(subnet("10.89.0.1/16")));
        assert_eq!(free(&["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"]), Some(subnet("10.89.0.1/16")));
        assert_eq!(free(&["10.89.7.0/24", "10.90.0.0/15"]), Some(subnet("10.92.0.1/16")));
        assert_eq!(free(&["10.0.0.0/8"]), Some(subnet("172.30.0.1/16")));
        assert_eq!(free(&["10.0.0.0/8", "172.16.0.0/12"]), Some(subnet("192.168.200.1/24")));
        assert_eq!(free(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]), None);
    }

    #[test]
    fn an_existing_bridge_decides_the_subnet() {
        let mut facts = sample::facts();
        facts.network.bridge = Some(subnet("10.95.0.1/16"));
        facts.network.routes = vec![subnet("10.0.0.0/8")];
        facts.network.table = true;
        facts.network.ip_forward = true;
        let spec = sample::pod("shop", &["web"]);
        let places = Places::new(&facts.directories, &spec.name);
        let network = choose(&spec, &facts, &places).unwrap();
        assert_eq!(network.machine, None);
        assert!(subnet("10.95.0.1/16").contains(network.pod.unwrap().address));
        facts.network.ip_forward = false;
        let network = choose(&spec, &facts, &places).unwrap();
        let machine = network.machine.unwrap();
        assert!(machine.enable_forwarding && machine.guard_forwarding);
        (facts.network.ip_forward, facts.network.table) = (true, false);
        for ours in [false, true] {
            facts.network.forwards_for_pods = ours;
            let machine = choose(&spec, &facts, &places).unwrap().machine.unwrap();
            assert!(!machine.enable_forwarding);
            assert_eq!(machine.guard_forwarding, ours, "who turned it on decides");
        }
    }

    #[test]
    fn addresses_avoid_the_edges_the_gateway_and_the_taken() {
        let gateway = subnet("10.0.0.1/29");
        let mut taken = BTreeSet::new();
        while let Some(address) = free_address(gateway, &[7; 32], &taken, &BTreeMap::new()) {
            assert!(taken.insert(address), "{address} twice");
        }
        let expected: BTreeSet<Ipv4Addr> = (2..=6).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        assert_eq!(taken, expected);
        for prefix in [31, 32] {
            let tiny = Subnet { prefix, ..gateway };
            assert_eq!(free_address(tiny, &[7; 32], &BTreeSet::new(), &BTreeMap::new()), None);
        }
    }

    #[test]
    fn an_address_that_was_never_used_comes_before_the_longest_unused() {
        let gateway = subnet("10.0.0.1/29");
        let address = |n| Ipv4Addr::new(10, 0, 0, n);
        let mut released: BTreeMap<_, _> =
            [(2, 50), (3, 40), (4, 30), (6, 60)].map(|(n, when)| (address(n), when)).into();
        let choose =
            |released: &BTreeMap<_, _>| free_address(gateway, &[7; 32], &BTreeSet::new(), released);
        assert_eq!(choose(&released), Some(address(5)));
        released.insert(address(5), 70);
        assert_eq!(choose(&released), Some(address(4)));
    }
}
