//! What a pod leaves can be found from its names alone: for a pod whose journal cannot be read, or was
//! lost with RUN. Every object is named by the pod, or tagged with its id; nothing else is touched.

use super::ExecError;
use super::undo::{Remains, give_back};
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::names::{ContainerName, IfName};
use crate::net::firewall;
use crate::plan::network;
use crate::plan::places::Places;
use crate::plan::step::Namespace;
use crate::state::StateError;
use crate::state::store::remove_tree;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Undoes all that bears the pod's names, and returns what could not be undone.
pub fn undo(hierarchy: &Hierarchy, places: &Places<'_>) -> Vec<ExecError> {
    let forwards = match firewall::read() {
        Ok(rules) => rules.forwards,
        Err(error) => return vec![error.into()],
    };
    let ours = forwards.into_iter().filter(|(tag, _)| tag == places.id.as_str());
    let netns = pins(places);
    let remains = Remains {
        // What they know of it lies on the pod's tmpfs.
        runtimes: Vec::new(),
        cgroups: vec![places.cgroup()],
        // A machine that shows no mounts has none of ours.
        legacy: cgroup::legacy_hierarchies().unwrap_or_default(),
        links: links(places, &netns),
        forwards: ours.map(|(_, forward)| forward).collect(),
        netns,
        mounts: vec![places.mnt()],
        leases: leases(places),
        directories: vec![places.layers()],
        ids: Some(places.id_lease()),
    };
    remains.clear(hierarchy, places.id.as_str())
}

/// Removes what a pod of another boot left on disk, and returns what could not be removed. What bears its
/// names in the kernel now is somebody else's: no cgroup, link, port, mount or live namespace is touched.
pub fn forget(places: &Places<'_>) -> Vec<ExecError> {
    let mut errors = Vec::new();
    // A pin whose mount is gone is an empty file.
    for pin in pins(places).into_iter().filter(|pin| !is_namespace(pin)) {
        match std::fs::remove_file(&pin) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                errors.push(StateError::Remove { path: pin, source }.into());
            }
            _ => {}
        }
    }
    for (lease, address) in leases(places) {
        errors.extend(give_back(&lease, address, places.id.as_str()).err());
    }
    for left in [places.id_lease(), places.layers()] {
        errors.extend(remove_tree(&left).err().map(ExecError::from));
    }
    errors
}

fn is_namespace(pin: &Path) -> bool {
    rustix::fs::statfs(pin).is_ok_and(|found| found.f_type == libc::NSFS_MAGIC)
}

/// Whether processes of the pod are alive, whatever RUN says.
pub fn is_populated(hierarchy: &Hierarchy, places: &Places<'_>) -> Result<bool, ExecError> {
    match hierarchy.find(&places.cgroup())? {
        Some(cgroup) => Ok(Cgroup::populated(cgroup.events()?.as_fd())?),
        None => Ok(false),
    }
}

/// The pod's own pin and its containers': no pod's name has a dot.
fn pins(places: &Places<'_>) -> Vec<PathBuf> {
    let own = places.pin(Namespace::Net);
    let prefix = format!("{}.", places.pod);
    let beside = own.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let of_containers = beside
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path());
    of_containers.chain([own.clone()]).collect()
}

/// The host's ends of the pod's veth pairs: one for each pin.
fn links(places: &Places<'_>, pins: &[PathBuf]) -> Vec<IfName> {
    let prefix = format!("{}.", places.pod);
    let containers = pins.iter().filter_map(|pin| {
        let name = pin.file_name()?.to_str()?.strip_prefix(&prefix)?;
        ContainerName::try_from(name).ok()
    });
    let of_containers = containers.map(|name| network::link(places, Some(&name)));
    of_containers.chain([network::link(places, None)]).collect()
}

/// Links to the pod's id, each named by an address.
fn leases(places: &Places<'_>) -> Vec<(PathBuf, Ipv4Addr)> {
    let all = std::fs::read_dir(places.leases()).into_iter().flatten().flatten();
    all.filter_map(|entry| {
        let holder = std::fs::read_link(entry.path()).ok()?;
        let address = entry.file_name().to_str()?.parse().ok()?;
        (holder.as_os_str() == places.id.as_str()).then(|| (entry.path(), address))
    })
    .collect()
}
