//! Namespaces that a user namespace owns, made for a process that is not in it yet. Who enters a user namespace has no
//! rights outside any more, and who has them makes namespaces that the machine owns: so a process of its own enters,
//! makes them, and is ended as soon as they have been taken from it.

use super::channel::{self, await_report, pair};
use super::error::{At, SandboxError, Stage};
use super::identity::guard;
use super::namespaces::{NEWTIME, open, unshare};
use super::{Child, Report, discard};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::ids::Maps;
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, LinuxTimeOffset, Mount, Spec};
use rustix::process::Signal;
use std::collections::HashMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Those of a document.
pub fn maps(oci: &Spec) -> Maps {
    let linux = oci.linux().as_ref();
    maps_of(
        linux.and_then(|linux| linux.uid_mappings().as_ref()),
        linux.and_then(|linux| linux.gid_mappings().as_ref()),
    )
}

/// Those of one of its mounts.
pub fn maps_of_mount(mount: &Mount) -> Maps {
    maps_of(mount.uid_mappings().as_ref(), mount.gid_mappings().as_ref())
}

fn maps_of(uids: Option<&Vec<LinuxIdMapping>>, gids: Option<&Vec<LinuxIdMapping>>) -> Maps {
    let ranges = |listed: Option<&Vec<LinuxIdMapping>>| {
        let listed = listed.into_iter().flatten();
        listed.map(|range| (range.container_id(), range.host_id(), range.size())).collect()
    };
    Maps { uids: ranges(uids), gids: ranges(gids) }
}

/// The container's user namespace, with its maps: the one that its document names, else one of the same maps that nobody
/// is in. In the parent.
pub(super) fn user(oci: &Spec) -> Result<Option<(OwnedFd, Maps)>, SandboxError> {
    let listed = oci.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let mut kinds = listed.unwrap_or(&[]).iter();
    let Some(own) = kinds.find(|namespace| namespace.typ() == LinuxNamespaceType::User) else {
        return Ok(None);
    };
    let maps = maps(oci);
    match own.path() {
        Some(path) => Ok(Some((open(path)?, maps))),
        None => with_maps(&maps),
    }
}

/// A user namespace that nobody is in.
fn with_maps(maps: &Maps) -> Result<Option<(OwnedFd, Maps)>, SandboxError> {
    let wanted = Wanted {
        owner: Owner::New(maps),
        kinds: CloneFlags::empty(),
        offsets: Offsets::default(),
        cgroup: None,
    };
    Ok(make(&wanted)?.user)
}

/// A user namespace that nobody is in, for each mapping that mounts of the document have and its container has not.
/// In the parent: whoever makes one names its process by the /proc that he sees.
pub(super) fn for_mounts(oci: &Spec) -> Result<Vec<(Maps, OwnedFd)>, SandboxError> {
    let own = maps(oci);
    let mut made: Vec<(Maps, OwnedFd)> = Vec::new();
    for maps in oci.mounts().iter().flatten().map(maps_of_mount) {
        if maps.is_empty() || maps == own || made.iter().any(|(known, _)| *known == maps) {
            continue;
        }
        let user = with_maps(&maps)?;
        made.extend(user.map(|(namespace, _)| (maps, namespace)));
    }
    Ok(made)
}

/// Nanoseconds that the clocks of a time namespace are ahead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offsets {
    pub boottime: i64,
    pub monotonic: i64,
}

impl Offsets {
    pub(super) fn of(listed: Option<&HashMap<String, LinuxTimeOffset>>) -> Self {
        const SECOND: i64 = 1_000_000_000;
        let of = |clock: &str| {
            let offset = listed.and_then(|listed| listed.get(clock));
            offset.map_or(0, |offset| {
                let nanos = i64::from(offset.nanosecs().unwrap_or(0));
                offset.secs().unwrap_or(0).saturating_mul(SECOND).saturating_add(nanos)
            })
        };
        Self { boottime: of("boottime"), monotonic: of("monotonic") }
    }

    /// Into a time namespace that nobody is in yet: the one of this process's children (time_namespaces(7)).
    fn write(self, pid: i32) -> Result<(), SandboxError> {
        const SECOND: i64 = 1_000_000_000;
        let line = |clock: &str, nanos: i64| {
            format!("{clock} {} {}\n", nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND))
        };
        let text = line("monotonic", self.monotonic) + &line("boottime", self.boottime);
        std::fs::write(format!("/proc/{pid}/timens_offsets"), &text)
            .at(Stage::Clock, &text.trim_end().replace('\n', ", "))
    }
}

/// Which user namespace the others are to be owned by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner<'a> {
    /// The caller's own.
    Caller,
    New(&'a Maps),
    At(BorrowedFd<'a>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) owner: Owner<'a>,
    /// Neither mount nor pid.
    pub(super) kinds: CloneFlags,
    pub(super) offsets: Offsets,
    /// Where it is born: the root of a cgroup namespace.
    pub(super) cgroup: Option<BorrowedFd<'a>>,
}

/// They live as long as these descriptors.
#[derive(Debug)]
pub(super) struct Made {
    /// Where the owner is not the caller's own, with its maps.
    pub(super) user: Option<(OwnedFd, Maps)>,
    pub(super) others: Vec<(CloneFlags, OwnedFd)>,
}

/// In /proc/PID/ns; a time namespace is that of children, for nobody is in it yet.
const FILES: [(CloneFlags, &str); 5] = [
    (CloneFlags::CLONE_NEWNET, "net"),
    (CloneFlags::CLONE_NEWUTS, "uts"),
    (CloneFlags::CLONE_NEWIPC, "ipc"),
    (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
    (NEWTIME, "time_for_children"),
];

pub(super) fn make(wanted: &Wanted<'_>) -> Result<Made, SandboxError> {
    let (parent, child) = pair()?;
    let flags = match wanted.owner {
        Owner::New(_) => CloneFlags::CLONE_NEWUSER,
        Owner::Caller | Owner::At(_) => CloneFlags::empty(),
    };
    match clone3(flags.bits(), wanted.cgroup).at(Stage::Clone, "that makes namespaces")? {
        Cloned::Child => super::in_child(child.as_fd(), |channel| make_and_wait(wanted, channel)),
        Cloned::Parent { pid, pidfd } => {
            drop(child);
            let child = Child { pid, pidfd, channel: parent };
            let made = take(wanted, &child);
            discard(&child);
            made
        }
    }
}

fn make_and_wait(wanted: &Wanted<'_>, channel: BorrowedFd<'_>) -> Result<Infallible, SandboxError> {
    guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    if let Owner::At(user) = wanted.owner {
        nix::sched::setns(user, CloneFlags::CLONE_NEWUSER).at(Stage::Join, "user")?;
    }
    unshare(wanted.kinds)?;
    channel::say_ready(channel)?;
    channel::await_start(channel)?;
    Err(SandboxError::unsupported("start of a process that only makes namespaces"))
}

fn take(wanted: &Wanted<'_>, child: &Child) -> Result<Made, SandboxError> {
    match await_report(child.channel.as_fd())? {
        Report::Ready => {}
        Report::Failed(error) => return Err(error),
        _ => {
            return Err(rustix::io::Errno::PIPE).at(Stage::Channel, "the maker of namespaces");
        }
    }
    if let Owner::New(maps) = wanted.owner {
        maps.write(child.pid).at(Stage::Map, &maps.to_string())?;
    }
    if wanted.kinds.contains(NEWTIME) && wanted.offsets != Offsets::default() {
        wanted.offsets.write(child.pid)?;
    }
    let file = |name: &str| open(&Path::new("/proc").join(format!("{}/ns/{name}", child.pid)));
    let user = match wanted.owner {
        Owner::Caller => None,
        Owner::New(_) | Owner::At(_) => {
            let maps = Maps::read(child.pid).at(Stage::Map, "of the user namespace")?;
            Some((file("user")?, maps))
        }
    };
    let mut others = Vec::new();
    for (kind, name) in FILES.into_iter().filter(|(kind, _)| wanted.kinds.contains(*kind)) {
        others.push((kind, file(name)?));
    }
    Ok(Made { user, others })
}

/// A new network namespace that the user namespace at this path owns.
pub fn network(user: &Path) -> Result<OwnedFd, SandboxError> {
    let user = open(user)?;
    let wanted = Wanted {
        owner: Owner::At(user.as_fd()),
        kinds: CloneFlags::CLONE_NEWNET,
        offsets: Offsets::default(),
        cgroup: None,
    };
    let made = make(&wanted)?.others.pop();
    made.map(|(_, netns)| netns).ok_or_else(|| SandboxError::unsupported("network namespace"))
}
