//! The ids of user namespaces: which of the machine's are whose, so that no two pods have one in common.

use crate::names::{ContainerName, digest};
use crate::plan::error::PlanError;
use crate::plan::facts::{HostFacts, IdFacts, Span};
use crate::plan::places::Places;
use crate::plan::step::{IdMaps, Step};
use crate::spec::model::{Container, IdRange, PodSpec, Scope, Shared, UserNs};
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder};
use std::collections::BTreeMap;

/// Where systemd, too, puts containers (systemd.io/UIDS-GIDS): above all users, below the last ids.
const FIRST: u32 = 0x0008_0000;
const END: u32 = 0x7000_0000;
/// Ranges begin at multiples of it.
const STEP: u32 = 0x0001_0000;

/// The maps of one pod.
#[derive(Debug, Default)]
pub(super) struct PodIds {
    /// Of the user namespace that containers share.
    pub(super) pod: Option<IdMaps>,
    own: BTreeMap<ContainerName, IdMaps>,
    joined: BTreeMap<ContainerName, IdMaps>,
}

impl PodIds {
    /// What ids in this container are outside; none: themselves.
    pub(super) fn of(&self, spec: &PodSpec, name: &ContainerName) -> Option<&IdMaps> {
        let container = spec.containers.get(name)?;
        match container.namespaces.get(&Shared::User) {
            Some(Scope::Host) => None,
            Some(Scope::Private) => self.own.get(name),
            Some(Scope::At(_)) => self.joined.get(name),
            None => self.pod.as_ref(),
        }
    }

    /// Keeps the ids from other pods, where there are some.
    pub(super) fn lease(&self, places: &Places<'_>) -> Option<Step> {
        let ids: Vec<IdMaps> = self.pod.iter().chain(self.own.values()).cloned().collect();
        (!ids.is_empty()).then(|| Step::TakeIds { lease: places.id_lease(), ids })
    }
}

pub(super) fn choose(
    spec: &PodSpec,
    facts: &HostFacts,
    places: &Places<'_>,
) -> Result<PodIds, PlanError> {
    let mut ids = PodIds::default();
    if !spec.share.contains(&Shared::User) && !spec.containers.values().any(|c| spec.maps_ids(c)) {
        return Ok(ids);
    }
    let mut free = Free::of(&facts.ids);
    if spec.share.contains(&Shared::User) {
        ids.pod = Some(match &spec.userns {
            UserNs::Auto { size } => free.take(*size, places.pod.as_str(), "userns")?,
            UserNs::Maps { uids, gids } => {
                let maps = IdMaps { uids: uids.clone(), gids: gids.clone() };
                free.used(&maps);
                maps
            }
        });
    }
    for (name, container) in &spec.containers {
        match container.namespaces.get(&Shared::User) {
            Some(Scope::Private) => {
                let key = format!("{}/{name}", places.pod);
                let place = format!("containers.{name}.namespaces.user");
                ids.own.insert(name.clone(), free.take(UserNs::SIZE, &key, &place)?);
            }
            Some(Scope::At(path)) => {
                let maps = facts.ids.joined.get(path).cloned().unwrap_or_default();
                ids.joined.insert(name.clone(), maps);
            }
            Some(Scope::Host) | None => {}
        }
    }
    Ok(ids)
}

/// What is left to take.
struct Free<'a> {
    facts: &'a IdFacts,
    uids: Vec<Span>,
    gids: Vec<Span>,
}

impl<'a> Free<'a> {
    fn of(facts: &'a IdFacts) -> Self {
        Self { facts, uids: facts.used_uids.clone(), gids: facts.used_gids.clone() }
    }

    /// Of the user `containers`, as podman does it, else anywhere; the same for the same pod, if it can be.
    fn take(&mut self, size: u32, key: &str, place: &str) -> Result<IdMaps, PlanError> {
        let none = || PlanError::NoIds { place: place.to_owned(), size };
        let given = (&self.facts.containers_uids, &self.facts.containers_gids);
        let (uid, gid) = if given.0.is_empty() && given.1.is_empty() {
            let id = anywhere(size, key, &[&self.uids, &self.gids]).ok_or_else(none)?;
            (id, id)
        } else {
            let uid = first_fit(size, given.0, &self.uids).ok_or_else(none)?;
            (uid, first_fit(size, given.1, &self.gids).ok_or_else(none)?)
        };
        let range = |host| vec![IdRange { container: 0, host, count: size }];
        let maps = IdMaps { uids: range(uid), gids: range(gid) };
        self.used(&maps);
        Ok(maps)
    }

    fn used(&mut self, maps: &IdMaps) {
        let span = |range: &IdRange| Span { first: range.host, count: range.count };
        self.uids.extend(maps.uids.iter().map(span));
        self.gids.extend(maps.gids.iter().map(span));
    }
}

fn first_fit(size: u32, given: &[Span], used: &[Span]) -> Option<u32> {
    given.iter().find_map(|range| {
        let mut first = range.first;
        loop {
            let wanted = Span { first, count: size };
            if wanted.end() > range.end() {
                return None;
            }
            match used.iter().find(|other| other.meets(wanted)) {
                None => return Some(first),
                Some(other) => first = u32::try_from(other.end()).ok()?,
            }
        }
    })
}

/// Begins where the hash says.
fn anywhere(size: u32, key: &str, used: &[&Vec<Span>]) -> Option<u32> {
    let slots = (END - FIRST) / STEP;
    let hash = digest(&[b"ids", key.as_bytes()]);
    let begin = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let slot = |n: u32| FIRST + (begin.wrapping_add(n) % slots) * STEP;
    (0..slots).map(slot).find(|first| {
        let wanted = Span { first: *first, count: size };
        let free = |used: &&Vec<Span>| !used.iter().any(|other| other.meets(wanted));
        wanted.end() <= u64::from(END) && used.iter().all(free)
    })
}

/// What this id is outside.
pub(super) fn outside(map: &[IdRange], id: u32) -> Option<u32> {
    map.iter().find_map(|range| range.outside(id))
}

/// A program's ids must be some: nobody could become another.
pub(super) fn check(
    name: &ContainerName,
    container: &Container,
    maps: &IdMaps,
    user: &oci_spec::runtime::User,
) -> Result<(), PlanError> {
    let extra = user.additional_gids().iter().flatten();
    let mut gids = std::iter::once(user.gid()).chain(extra.copied());
    let bad_gid = gids.find(|gid| outside(&maps.gids, *gid).is_none());
    let (kind, id) = match (outside(&maps.uids, user.uid()), bad_gid) {
        (None, _) => ("user", user.uid()),
        (_, Some(gid)) => ("group", gid),
        (Some(_), None) => return Ok(()),
    };
    let field = if kind == "group" && !container.groups.is_empty() { "groups" } else { "user" };
    Err(PlanError::IdNotMapped { container: name.clone(), field, kind, id })
}

pub(super) fn oci(map: &[IdRange]) -> Vec<LinuxIdMapping> {
    // Fails only where one of the three is not set.
    let one = |range: &IdRange| {
        LinuxIdMappingBuilder::default()
            .container_id(range.container)
            .host_id(range.host)
            .size(range.count)
            .build()
            .ok()
    };
    map.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn span(first: u32, count: u32) -> Span {
        Span { first, count }
    }

    fn chosen(change: impl FnOnce(&mut PodSpec, &mut HostFacts)) -> Result<PodIds, PlanError> {
        let (mut spec, mut facts) = (sample::pod("shop", &["web", "db"]), sample::facts());
        spec.share.insert(Shared::User);
        change(&mut spec, &mut facts);
        let places = Places::new(&facts.directories, &spec.name);
        choose(&spec, &facts, &places)
    }

    #[test]
    fn without_a_range_of_its_own_a_pod_takes_one_that_nobody_has() {
        let first = chosen(|_, _| {}).unwrap().pod.unwrap();
        assert_eq!(first.uids, first.gids);
        let IdRange { container, host, count } = first.uids[0];
        assert_eq!((container, count, host % STEP), (0, 65536, 0));
        assert!((FIRST..END).contains(&host));
        let again = chosen(|_, facts| facts.ids.used_gids = vec![span(host + 9, 1)]).unwrap();
        assert_ne!(again.pod.unwrap().uids[0].host, host, "one id of it is used");
        assert_eq!(chosen(|_, _| {}).unwrap().pod.unwrap(), first, "the same pod, the same ids");
    }

    #[test]
    fn the_ranges_of_containers_come_first_and_are_not_left() {
        let in_range = |size, used: Vec<Span>| {
            chosen(|spec, facts| {
                spec.userns = UserNs::Auto { size };
                facts.ids.containers_uids = vec![span(100, 10), span(1000, 3000)];
                facts.ids.containers_gids = vec![span(5000, 3000)];
                facts.ids.used_uids = used;
            })
        };
        let maps = in_range(1000, vec![]).unwrap().pod.unwrap();
        assert_eq!((maps.uids[0].host, maps.gids[0].host), (1000, 5000));
        let maps = in_range(1000, vec![span(1000, 1500)]).unwrap().pod.unwrap();
        assert_eq!(maps.uids[0].host, 2500);
        let error = in_range(1000, vec![span(1999, 1500)]).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("userns"));
        assert!(in_range(3001, vec![]).is_err());
    }

    #[test]
    fn a_container_of_its_own_has_other_ids_than_its_pod() {
        let ids = chosen(|spec, _| {
            spec.containers[0].namespaces.insert(Shared::User, Scope::Private);
            spec.containers[1].namespaces.insert(Shared::User, Scope::Host);
        });
        let ids = ids.unwrap();
        let own = ids.own.values().next().unwrap();
        assert_ne!(Some(own), ids.pod.as_ref());
        assert_eq!(ids.own.len(), 1);
    }

    #[test]
    fn an_id_is_outside_what_its_range_says() {
        let map = [
            IdRange { container: 0, host: 1000, count: 10 },
            IdRange { container: 33, host: 5, count: 1 },
        ];
        for (id, host) in [(0, Some(1000)), (9, Some(1009)), (10, None), (33, Some(5)), (34, None)]
        {
            assert_eq!(outside(&map, id), host, "{id}");
        }
    }
}
