//! What lies in podspec's directories and no pod uses, and removing it: for `prune`, `volume` and the first
//! command of another boot. Nothing is judged without a lock that keeps it from coming into use meanwhile.

use super::error::CliError;
use super::{down, running, target, up};
use crate::cgroup::Hierarchy;
use crate::exec::network;
use crate::host;
use crate::names::{ContainerName, PodId, PodName, VolumeName};
use crate::plan::step::{Launch, Plan, Step, VolumeContent};
use crate::state::StateError;
use crate::state::lock::{Locks, Range};
use crate::state::store::{Store, disk_usage, remove_tree};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Something that no pod uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unused {
    pub kind: Kind,
    /// The pod, `POD/VOLUME`, the address, the bridge, or the id of a pod that is gone.
    pub name: String,
    pub path: PathBuf,
    /// On disk.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// What containers of a pod wrote to their roots.
    Layers,
    /// A name in the store of images.
    Image,
    /// A layer that no image needs.
    #[serde(rename = "imageLayer")]
    ImageLayer,
    /// An address.
    Lease,
    Logs,
    /// The bridge and the firewall's table, which the pods of the machine share.
    Network,
    /// What a crash left of a pod.
    Pod,
    Volume,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Image => "image",
            Self::ImageLayer => "image layer",
            Self::Lease => "lease",
            Self::Logs => "logs",
            Self::Network => "network",
            Self::Pod => "pod",
            Self::Volume => "volume",
        }
    }
}

/// Finds what is unused and, unless it is a trial, removes it.
pub(super) struct Sweep<'a> {
    store: &'a Store,
    hierarchy: Hierarchy,
    locks: Locks,
    trial: bool,
    pub(super) found: Vec<Unused>,
}

fn failed(error: &dyn std::error::Error) -> CliError {
    CliError::host("cannot remove what no pod uses", error)
}

impl<'a> Sweep<'a> {
    pub(super) fn new(store: &'a Store, trial: bool) -> Result<Self, CliError> {
        store.make_directories().map_err(|error| failed(&error))?;
        Ok(Self {
            store,
            hierarchy: Hierarchy::open().map_err(|error| failed(&error))?,
            locks: Locks::open(&store.run).map_err(|error| failed(&error))?,
            trial,
            found: Vec::new(),
        })
    }

    /// Pods that a crash left: no supervisor, no process.
    pub(super) fn dead_pods(&mut self) -> Result<(), CliError> {
        for pod in self.store.pods().map_err(|error| failed(&error))? {
            if !self.locks.try_take(Range::Pod(&pod)).map_err(|error| failed(&error))? {
                continue;
            }
            let dead = !target::is_supervised(self.store, &pod).map_err(|error| failed(&error))?
                && !down::has_processes(self.store, &pod)?;
            if dead && self.store.pod(&pod).exists() {
                let layers = self.store.layers().join(self.id(&pod));
                let bytes = disk_usage(&layers).map_err(|error| failed(&error))?;
                if !self.trial {
                    down::clean(self.store, &pod)?;
                }
                let path = self.store.pod(&pod).path().to_owned();
                self.found.push(Unused { kind: Kind::Pod, name: pod.to_string(), path, bytes });
            }
            self.locks.release(Range::Pod(&pod)).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Layers and leases of pods that are gone. Under the lock of the network: an `up` that holds it has
    /// made neither yet, and one that has let go of it has made the pod's directory.
    pub(super) fn layers_and_leases(&mut self) -> Result<(), CliError> {
        self.locks.take(Range::Network).map_err(|error| failed(&error))?;
        self.layers_and_leases_under_lock()
    }

    /// As `layers_and_leases`; `false` where somebody has the lock, and nothing was done.
    pub(super) fn try_layers_and_leases(&mut self) -> Result<bool, CliError> {
        if !self.locks.try_take(Range::Network).map_err(|error| failed(&error))? {
            return Ok(false);
        }
        self.layers_and_leases_under_lock().map(|()| true)
    }

    fn layers_and_leases_under_lock(&mut self) -> Result<(), CliError> {
        let ids = self.ids()?;
        let mut layers = Vec::new();
        for (id, path) in entries(&self.store.layers())? {
            if is_aside(&id) || !(ids.contains(&id) || self.is_anothers(&id)?) {
                layers.push((id, path));
            }
        }
        let mut leases = Vec::new();
        for (address, path) in entries(&self.store.leases())? {
            let holder = std::fs::read_link(&path).unwrap_or_default();
            if holder.to_str().is_none_or(|holder| !ids.contains(holder)) {
                leases.push((address, path));
            }
        }
        for (address, path) in leases {
            self.take_out(Kind::Lease, address, path)?;
        }
        // Out of the way under the lock, removed without it: trees can be large.
        let mut aside = Vec::new();
        for (id, path) in layers {
            let to = self.store.layers().join(format!("{ASIDE}{}", id.trim_start_matches(ASIDE)));
            if !self.trial && path != to {
                std::fs::rename(&path, &to)
                    .map_err(|source| failed(&StateError::Remove { path: path.clone(), source }))?;
            }
            aside.push((id, path, to));
        }
        self.locks.release(Range::Network).map_err(|error| failed(&error))?;
        for (id, path, to) in aside {
            let lies = if self.trial { path.clone() } else { to };
            let bytes = disk_usage(&lies).map_err(|error| failed(&error))?;
            if !self.trial {
                remove_tree(&lies).map_err(|error| failed(&error))?;
            }
            let name = id.trim_start_matches(ASIDE).to_owned();
            self.found.push(Unused { kind: Kind::Layers, name, path, bytes });
        }
        Ok(())
    }

    /// What the pods of the machine share of its network, where there is none.
    pub(super) fn network(&mut self) -> Result<(), CliError> {
        self.locks.take(Range::Network).map_err(|error| failed(&error))?;
        let swept = self.network_under_lock();
        self.locks.release(Range::Network).map_err(|error| failed(&error))?;
        swept
    }

    /// An `up` that has let go of the lock has made the pod's directory.
    fn network_under_lock(&mut self) -> Result<(), CliError> {
        let bridge = host::bridge().map_err(|error| failed(&error))?;
        if !self.ids()?.is_empty() || !network::is_idle(&bridge).map_err(|error| failed(&error))? {
            return Ok(());
        }
        if !self.trial {
            network::remove(self.store, &bridge).map_err(|error| failed(&error))?;
        }
        let path = Path::new("/sys/class/net").join(bridge.as_str());
        self.found.push(Unused { kind: Kind::Network, name: bridge.to_string(), path, bytes: 0 });
        Ok(())
    }

    /// Logs of pods that are down.
    pub(super) fn logs(&mut self) -> Result<(), CliError> {
        for (name, path) in entries(&self.store.all_logs())? {
            let Ok(pod) = PodName::try_from(name.as_str()) else { continue };
            if self.hold_if_down(&pod)? {
                let taken = self.take_out(Kind::Logs, name, path);
                self.locks.release(Range::Pod(&pod)).map_err(|error| failed(&error))?;
                taken?;
            }
        }
        Ok(())
    }

    /// Volumes that the pods which are up do not use.
    pub(super) fn volumes(&mut self) -> Result<(), CliError> {
        for volume in volumes(self.store)? {
            self.volume(&volume)?;
        }
        Ok(())
    }

    /// `false` where the volume is in use.
    pub(super) fn volume(&mut self, volume: &VolumeOnDisk) -> Result<bool, CliError> {
        let is_free = self.hold_if_down(&volume.pod)?;
        if is_free {
            let taken = self.take_out(Kind::Volume, volume.to_string(), volume.path.clone());
            if !self.trial
                && let Some(parent) = volume.path.parent()
            {
                // The last volume of its pod: else it is not empty.
                let _ = std::fs::remove_dir(parent);
            }
            self.locks.release(Range::Pod(&volume.pod)).map_err(|error| failed(&error))?;
            taken?;
        }
        Ok(is_free)
    }

    /// Whether pods of another runtime directory keep something here: nobody tells what.
    pub(super) fn is_shared(&self) -> Result<bool, CliError> {
        let ids = self.ids()?;
        for (id, _) in entries(&self.store.layers())? {
            if !ids.contains(&id) && self.is_anothers(&id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the pod's lock if nothing of the pod is there; who has the lock is about to use it.
    fn hold_if_down(&self, pod: &PodName) -> Result<bool, CliError> {
        if !self.locks.try_take(Range::Pod(pod)).map_err(|error| failed(&error))? {
            return Ok(false);
        }
        let is_down = !self.store.pod(pod).exists() && !self.is_anothers(&self.id(pod))?;
        if !is_down {
            self.locks.release(Range::Pod(pod)).map_err(|error| failed(&error))?;
        }
        Ok(is_down)
    }

    fn take_out(&mut self, kind: Kind, name: String, path: PathBuf) -> Result<(), CliError> {
        let bytes = disk_usage(&path).map_err(|error| failed(&error))?;
        if !self.trial {
            let removed = if kind == Kind::Lease {
                std::fs::remove_file(&path)
                    .map_err(|source| StateError::Remove { path: path.clone(), source })
            } else {
                remove_tree(&path)
            };
            removed.map_err(|error| failed(&error))?;
        }
        self.found.push(Unused { kind, name, path, bytes });
        Ok(())
    }

    fn id(&self, pod: &PodName) -> String {
        PodId::new(&self.store.run, pod).as_str().to_owned()
    }

    /// Of every pod that has a directory.
    fn ids(&self) -> Result<BTreeSet<String>, CliError> {
        let pods = self.store.pods().map_err(|error| failed(&error))?;
        Ok(pods.iter().map(|pod| self.id(pod)).collect())
    }

    /// Whether a pod with this id has a cgroup: its first step makes it, the last undoing removes it.
    fn is_anothers(&self, id: &str) -> Result<bool, CliError> {
        let path = up::directories(self.store).cgroup(id);
        let cgroup = self.hierarchy.find(&path).map_err(|error| failed(&error))?;
        Ok(cgroup.is_some())
    }
}

/// Layers that are being removed, and are nobody's any more.
const ASIDE: &str = ".removed-";

fn is_aside(id: &str) -> bool {
    id.starts_with(ASIDE)
}

/// A named volume, whoever uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumeOnDisk {
    pub pod: PodName,
    pub name: VolumeName,
    pub path: PathBuf,
}

impl std::fmt::Display for VolumeOnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.pod, self.name)
    }
}

/// Every named volume, by pod.
pub(super) fn volumes(store: &Store) -> Result<Vec<VolumeOnDisk>, CliError> {
    let mut volumes = Vec::new();
    for (pod, directory) in entries(&store.all_volumes())? {
        let Ok(pod) = PodName::try_from(pod) else { continue };
        for (name, path) in entries(&directory)? {
            if let Ok(name) = VolumeName::try_from(name) {
                volumes.push(VolumeOnDisk { pod: pod.clone(), name, path });
            }
        }
    }
    Ok(volumes)
}

/// Which containers of a pod that is there use which of its named volumes; `None` where the pod is down.
pub(super) fn users(
    store: &Store,
    pod: &PodName,
) -> Result<Option<BTreeMap<PathBuf, Vec<ContainerName>>>, CliError> {
    if !store.pod(pod).exists() {
        return Ok(None);
    }
    let plan = running::plan(store, pod)?;
    let mut users = BTreeMap::new();
    for planned in &plan.steps {
        if let Step::MakeVolume(volume) = &planned.step
            && volume.content == VolumeContent::Persistent
        {
            users.insert(volume.path.clone(), containers_with(&plan, &volume.path));
        }
    }
    Ok(Some(users))
}

fn containers_with(plan: &Plan, path: &Path) -> Vec<ContainerName> {
    let launches = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::CreateContainer(launch) => Some(&**launch),
        _ => None,
    });
    let mounts = |launch: &&Launch| {
        let mut sources = launch.oci.mounts().iter().flatten().filter_map(|m| m.source().as_ref());
        sources.any(|source| source.starts_with(path))
    };
    launches.filter(mounts).map(|launch| launch.container.clone()).collect()
}

/// Names and paths of what is in a directory, sorted; none where it is missing.
fn entries(path: &Path) -> Result<Vec<(String, PathBuf)>, CliError> {
    let read = |source| failed(&StateError::Read { path: path.to_owned(), source });
    let all = match std::fs::read_dir(path) {
        Ok(all) => all,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let mut entries = Vec::new();
    for entry in all {
        let entry = entry.map_err(read)?;
        entries.extend(entry.file_name().into_string().ok().map(|name| (name, entry.path())));
    }
    entries.sort();
    Ok(entries)
}
