//! Undoes steps: one `match` says what each leaves behind, then all of it goes in the order that waits
//! least. Undoing is idempotent (gone already is fine), tries everything, and never stops at an error:
//! it is the same for a failed `up`, for `down`, and for what a crash left.

use super::ExecError;
use super::apply::{datagrams, firewall_forwards};
use super::launch::known;
use crate::cgroup::{self, Hierarchy, Legacy};
use crate::names::IfName;
use crate::net::{conntrack, firewall, link, netns};
use crate::plan::step::{Namespace, Plan, Runtime, Step, StepId, VolumeContent};
use crate::state::StateError;
use crate::state::store::{release, remove_tree};
use nix::mount::{MntFlags, umount2};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the kernel may take to drop the links of namespaces that died.
const LINKS_GO_WITHIN: Duration = Duration::from_millis(100);

/// What steps have left on the machine.
#[derive(Debug, Default, PartialEq)]
pub struct Remains {
    /// Containers of other runtimes.
    pub(super) runtimes: Vec<Runtime>,
    pub(super) cgroups: Vec<PathBuf>,
    /// Mounts of v1 hierarchies where the cgroups may be, too.
    pub(super) legacy: Vec<PathBuf>,
    pub(super) links: Vec<IfName>,
    pub(super) forwards: Vec<firewall::Forward>,
    pub(super) netns: Vec<PathBuf>,
    pub(super) mounts: Vec<PathBuf>,
    pub(super) leases: Vec<(PathBuf, Ipv4Addr)>,
    pub(super) ids: Option<PathBuf>,
    pub(super) directories: Vec<PathBuf>,
}

/// Undoes the steps that were begun, and returns what could not be undone.
pub fn undo(hierarchy: &Hierarchy, plan: &Plan, begun: &[StepId]) -> Vec<ExecError> {
    let steps = begun.iter().rev().filter_map(|id| plan.steps.get(*id));
    remains(steps.map(|planned| &planned.step)).clear(hierarchy, plan.id.as_str())
}

/// What steps have left, newest first.
pub fn remains<'a>(steps: impl Iterator<Item = &'a Step>) -> Remains {
    let mut remains = Remains::default();
    steps.for_each(|step| remains.of(step));
    remains
}

impl Remains {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is left of a step, newest first.
    pub fn of(&mut self, step: &Step) {
        match step {
            // The machine's, and other pods' too.
            Step::MakeNetwork(_) | Step::LoadProfile { .. } => {}
            // Gone with the pod's cgroup, the tmpfs or the network namespace.
            Step::StartInfra(_)
            | Step::LoopbackUp { .. }
            | Step::ReservePorts { .. }
            | Step::SetSysctls { .. }
            | Step::WriteFiles { .. }
            | Step::StartContainer { .. } => {}
            // So is it, but what another runtime has made of it only that one knows.
            Step::CreateContainer(launch) => self.runtimes.extend(launch.runtime.clone()),
            Step::MountPodTmpfs { at } | Step::MountShm { at, .. } => self.mounts.push(at.clone()),
            Step::MakeCgroup { cgroup, limits } => {
                self.cgroups.push(cgroup.clone());
                self.legacy.extend(limits.legacy.iter().map(|of| of.mount.clone()));
            }
            Step::PinNamespaces { pins } => {
                // The others lie on the pod's tmpfs and go with it.
                self.netns.extend(pins.get(&Namespace::Net).cloned());
            }
            Step::TakeIds { lease, .. } => self.ids = Some(lease.clone()),
            Step::MakeNetns { pin, .. } => self.netns.push(pin.clone()),
            Step::TakeAddress { lease, address, .. } => self.leases.push((lease.clone(), *address)),
            Step::Connect(connection) => self.links.push(connection.host.clone()),
            Step::Publish { forwards } => self.forwards.extend(firewall_forwards(forwards)),
            Step::MakeSecrets { at, .. } => self.mounts.push(at.clone()),
            Step::MakeVolume(volume) => match volume.content {
                VolumeContent::EmptyDir => self.directories.push(volume.path.clone()),
                VolumeContent::Tmpfs { .. } => self.mounts.push(volume.path.clone()),
                VolumeContent::Persistent | VolumeContent::Files { .. } | VolumeContent::Host => {}
            },
            Step::MakeLayers { overlays, .. } => {
                let layers = overlays.iter().flat_map(|overlay| [&overlay.work, &overlay.upper]);
                self.directories.extend(layers.cloned());
            }
        }
    }

    /// Pins go first: the kernel takes a network namespace apart once nobody holds it, and nothing here takes as
    /// long. Meanwhile no port leads to the pod any more, mounts are let go while the last processes die, then the files
    /// go. A lease is given back last: until the link is gone, somebody may still answer on the address.
    pub fn clear(&self, hierarchy: &Hierarchy, holder: &str) -> Vec<ExecError> {
        let mut errors = Vec::new();
        let mut attempt = |result: Result<(), ExecError>| errors.extend(result.err());
        let watch = if self.links.is_empty() { None } else { link::LinkWatch::open().ok() };
        for pin in &self.netns {
            attempt(netns::unpin(pin).map_err(ExecError::from));
        }
        attempt(self.unpublish());
        for runtime in &self.runtimes {
            attempt(known(runtime).delete().map_err(ExecError::from));
        }
        for at in outermost(&self.mounts) {
            attempt(unmount(at));
        }
        let legacy = self.legacy();
        for cgroup in &self.cgroups {
            attempt(hierarchy.remove(cgroup).map_err(ExecError::from));
            for mount in &legacy {
                let legacy = Legacy { mount, path: cgroup };
                attempt(legacy.remove().map_err(ExecError::from));
            }
        }
        for directory in &self.directories {
            attempt(remove_layer(directory).map_err(ExecError::from));
        }
        let parents: BTreeSet<_> = self.directories.iter().filter_map(|at| at.parent()).collect();
        parents.into_iter().for_each(remove_if_empty);
        attempt(self.await_links(watch));
        for (lease, address) in &self.leases {
            attempt(give_back(lease, *address, holder));
        }
        if let Some(lease) = &self.ids {
            attempt(remove_tree(lease).map_err(ExecError::from));
        }
        errors
    }

    /// Other runtimes make cgroups in every hierarchy of v1.
    fn legacy(&self) -> BTreeSet<PathBuf> {
        let all = if self.runtimes.is_empty() { None } else { cgroup::legacy_hierarchies().ok() };
        all.into_iter().flatten().chain(self.legacy.iter().cloned()).collect()
    }

    fn unpublish(&self) -> Result<(), ExecError> {
        let forwards = &self.forwards;
        let unpublished = if forwards.is_empty() { Ok(()) } else { firewall::unpublish(forwards) };
        let forgotten = conntrack::forget(&datagrams(forwards.clone()), &[]);
        unpublished.and(forgotten).map_err(ExecError::from)
    }

    /// Whoever still holds a namespace (an `ip netns exec`) keeps its link: that is deleted under them.
    fn await_links(&self, watch: Option<link::LinkWatch>) -> Result<(), ExecError> {
        let left = match &watch {
            Some(watch) => watch.await_gone(&self.links, LINKS_GO_WITHIN)?,
            None => self.links.clone(),
        };
        left.iter().try_for_each(link::delete).map_err(ExecError::from)
    }
}

/// One directory of an overlay. Most are empty, but for what overlayfs makes in the work directory, and a
/// tree is walked at ten times the cost.
fn remove_layer(directory: &Path) -> Result<(), StateError> {
    if directory.extension().is_some_and(|kind| kind == "work") {
        let _ = std::fs::remove_file(directory.join("work/incompat/volatile/dirty"));
        for made in ["work/incompat/volatile", "work/incompat", "work"] {
            let _ = std::fs::remove_dir(directory.join(made));
        }
    }
    match std::fs::remove_dir(directory) {
        Ok(()) => Ok(()),
        Err(_) => remove_tree(directory),
    }
}

/// A directory, and those between `layers` and it; one that holds something stays.
fn remove_if_empty(directory: &Path) {
    let stays = |error: io::Error| error.kind() != io::ErrorKind::NotFound;
    for at in directory.ancestors() {
        if at.ends_with("layers") || std::fs::remove_dir(at).is_err_and(stays) {
            return;
        }
    }
}

/// Those that are below none of the others: what is mounted below a mount goes with it.
fn outermost(mounts: &[PathBuf]) -> Vec<&Path> {
    let sorted: BTreeSet<&Path> = mounts.iter().map(PathBuf::as_path).collect();
    let mut outermost: Vec<&Path> = Vec::new();
    for at in sorted {
        if outermost.last().is_none_or(|last| !at.starts_with(last)) {
            outermost.push(at);
        }
    }
    outermost
}

fn unmount(at: &Path) -> Result<(), ExecError> {
    use nix::errno::Errno;
    match umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(ExecError::Unmount { at: at.to_owned(), source: errno.into() }),
    }
}

/// The most that is remembered of addresses given back, bytes; older ones count as never used.
const RELEASED_MAX: u64 = 64 * 1024;

/// Notes when the address was given back (a line of `net/released`), so that the longest unused is
/// taken next, then frees it.
pub(super) fn give_back(lease: &Path, address: Ipv4Addr, holder: &str) -> Result<(), ExecError> {
    if let Some(network) = lease.parent().and_then(Path::parent) {
        // Only a preference: a disk that is full must not keep the address, and the pod, for ever.
        let _ = note_released(&network.join("released"), address);
    }
    Ok(release(lease, holder)?)
}

/// Appends a line; a file that has grown long begins anew with its later half. Two who do that at once
/// lose a line or two of what is only a preference.
fn note_released(path: &Path, address: Ipv4Addr) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    // In one write: others append too.
    file.write_all(format!("{address}\n").as_bytes())?;
    if file.metadata()?.len() > RELEASED_MAX {
        let text = std::fs::read_to_string(path)?;
        let later = text[text.len() / 2..].split_once('\n').map_or("", |(_, later)| later);
        let next = path.with_extension("next");
        std::fs::write(&next, later)?;
        std::fs::rename(next, path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_of_addresses_is_bounded_and_the_latest_is_kept() {
        let path = std::env::temp_dir().join(format!("podspec-released-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        for n in 0..20_000u32 {
            note_released(&path, Ipv4Addr::from(0x0a59_0000 + n)).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= RELEASED_MAX, "{} bytes", text.len());
        assert!(text.lines().all(|line| line.parse::<Ipv4Addr>().is_ok()), "a cut line");
        assert_eq!(text.lines().last(), Some("10.89.78.31"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_mount_below_another_goes_with_it() {
        let mounts = ["/p/mnt/shm", "/v/data", "/p/mnt", "/p/mnt-2", "/p/mnt/secrets/web"];
        let mounts = mounts.map(PathBuf::from);
        assert_eq!(outermost(&mounts), ["/p/mnt", "/p/mnt-2", "/v/data"].map(Path::new));
        assert!(outermost(&[]).is_empty());
    }
}
