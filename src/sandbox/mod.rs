//! The child's side, between clone3 and execve: infra, a container, a further process in a container. Each is one linear
//! road without threads, locks or logging that ends in execve or in one word to the parent of why not.
//! Takes an OCI document, paths and descriptors; knows nothing of pods, and makes no cgroup and no network.

mod bundle;
mod cgroups;
mod channel;
mod container;
mod copyup;
mod enter;
mod error;
mod hooks;
mod identity;
pub mod infra;
mod layers;
mod lookout;
mod mounts;
mod namespaces;
mod owned;
mod program;
mod remains;
mod root;
pub mod runner;
pub mod runtime;
mod schedule;
pub mod sysctl;
mod terminal;

pub use channel::{Report, report, start, start_telling};
pub use enter::{Entered, Entry, enter};
pub use error::{SandboxError, Stage};
pub use hooks::{Site, run_hook};
pub use identity::{make_files_as, outlive_others, within_own_limits};
pub use infra::{InfraOrder, start_infra};
pub use lookout::look_for;
pub use mounts::{MOUNT_OPTIONS, is_bind};
pub use namespaces::NamespaceKind;
pub use owned::{Offsets, maps, maps_of_mount, network as owned_network};
pub use remains::{Remains, merged, remains};
pub use schedule::numbers;
pub use terminal::Keeper;

use crate::sys::clone::{Cloned, clone3, exit_now};
use crate::sys::filter::Program;
use error::At;
use namespaces::{ChildrenIn, Namespaces, PidNamespace};
use nix::sched::CloneFlags;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where the document names none.
const UMASK: u32 = 0o022;

/// One overlay of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Where in the container's root; `/` is the first.
    pub at: PathBuf,
    /// Topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// A container to be made.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    pub oci: &'a oci_spec::runtime::Spec,
    /// What the document's `linux.seccomp` was compiled to, or what stands for it; none: no filter.
    pub filter: Option<&'a Program>,
    /// None: the root is the directory that the document names.
    pub overlays: &'a [Overlay],
    /// Bind mounts (by target) whose source is to be found beneath a directory, for what is in that
    /// directory may be a container's work.
    pub beneath: &'a BTreeMap<PathBuf, PathBuf>,
    /// /dev/null where None. Where the document asks for a terminal, that is stdin, stdout and stderr.
    pub stdin: Option<BorrowedFd<'a>>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    pub cgroup: BorrowedFd<'a>,
    /// The first process is a reaper, and the program its child.
    pub init: bool,
    /// `tasks` of further cgroups, of v1, which the process joins itself.
    pub join: &'a [OwnedFd],
    pub extras: Extras<'a>,
}

/// What the command line of a runtime can ask for beside the document. A pod asks for nothing of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras<'a> {
    /// These descriptors, from 3 on, are the program's, too.
    pub preserved: &'a [i32],
    /// The program has the caller's session keyring.
    pub keep_keyring: bool,
    /// The root is moved over the old one, for who stands in a root that cannot be left by pivot_root(2).
    pub no_pivot: bool,
    /// A socket that listens: who connects to it starts the program, long after the parent has gone.
    pub listener: Option<BorrowedFd<'a>>,
    /// Hooks that run before the program stand here.
    pub bundle: Option<&'a Path>,
    /// Cgroups of v1 that a mount of type `cgroup` shows beside v2's: each by the name of its hierarchy.
    pub legacy: &'a [Shown],
}

/// A cgroup of v1 as its container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// As in `cpu,cpuacct`.
    pub hierarchy: String,
    pub directory: PathBuf,
}

/// A process that sets itself up, to be waited for by its pidfd.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Read by `report`, non-blocking.
    pub channel: OwnedFd,
}

/// Makes the container's first process, which then sets itself up side by side with its parent, reports Ready, and
/// waits for `start`. OCI's `create`.
pub fn create(order: &Order<'_>) -> Result<Child, SandboxError> {
    container::check(order)?;
    let namespaces = Namespaces::of(order.oci)?;
    let made = namespaces.prepare(order.oci, order.cgroup)?;
    let mapped = owned::for_mounts(order.oci)?;
    let (parent, child) = channel::pair()?;
    let mut flags = CloneFlags::empty();
    let births = match namespaces.pid {
        PidNamespace::Shared => None,
        PidNamespace::Private => {
            flags |= CloneFlags::CLONE_NEWPID;
            None
        }
        PidNamespace::At(path) => Some(ChildrenIn::new(namespaces::open(path)?.as_fd(), path)?),
    };
    let cloned = clone3(flags.bits(), Some(order.cgroup)).at(Stage::Clone, "of the container")?;
    let prepared = container::Prepared { made: made.as_ref(), mapped: &mapped };
    let run = |channel: BorrowedFd<'_>| {
        container::become_container(order, &namespaces, prepared, channel)
    };
    after_clone(cloned, births, parent, child.as_fd(), run)
}

/// Both ways on from a clone: the child's does not return.
fn after_clone(
    cloned: Cloned,
    births: Option<ChildrenIn>,
    parent: OwnedFd,
    child: BorrowedFd<'_>,
    run: impl FnOnce(BorrowedFd<'_>) -> Result<Infallible, SandboxError>,
) -> Result<Child, SandboxError> {
    match cloned {
        Cloned::Child => in_child(child, run),
        Cloned::Parent { pid, pidfd } => {
            let child = Child { pid, pidfd, channel: parent };
            if let Some(Err(error)) = births.map(ChildrenIn::end) {
                discard(&child);
                return Err(error);
            }
            Ok(child)
        }
    }
}

/// In the child, before anything else: the cgroup namespace that it makes shows where it is by then. v1 moves
/// the thread that writes, and the child has no other.
fn join_cgroups(join: &[OwnedFd]) -> Result<(), SandboxError> {
    let written = join.iter().try_for_each(|tasks| rustix::io::write(tasks, b"0").map(drop));
    written.at(Stage::Limit, "cgroup v1")
}

/// A panic must not unwind into the parent's half of the program.
fn in_child(
    channel: BorrowedFd<'_>,
    run: impl FnOnce(BorrowedFd<'_>) -> Result<Infallible, SandboxError>,
) -> ! {
    let run = std::panic::AssertUnwindSafe(|| run(channel));
    match std::panic::catch_unwind(run) {
        Ok(outcome) => channel::last_word(&channel, outcome),
        Err(_) => exit_now(70),
    }
}

/// Ends a child that nobody will hear of, and waits for it.
fn discard(child: &Child) {
    crate::sys::process::end(child.pidfd.as_fd());
}

#[cfg(test)]
mod tests;
