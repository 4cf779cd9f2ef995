//! Infra's side of the sandbox: a process that makes the pod's shared namespaces and then gives up everything else:
//! root directory, descriptors, capabilities, and podspec's own program.

use super::channel::{self, last_word, pair};
use super::error::{At, SandboxError, Stage};
use super::namespaces::{self, NamespaceKind, unshare};
use super::owned::{self, Offsets, Owner, Wanted};
use super::{Child, discard, mounts, root};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::descriptors::{close_at_exec, keep_only};
use crate::sys::identity::{default_signals, set_gid, set_groups, set_uid};
use crate::sys::ids::Maps;
use crate::sys::program::{exec_fd, sealed_memfd};
use nix::sched::CloneFlags;
use rustix::process::Signal;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Built by src/infra/build.rs from src/infra/infra.rs.
pub(super) const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/infra"));

#[derive(Debug, Clone, Copy)]
pub struct InfraOrder<'a> {
    /// Made new; of the kinds not listed infra has the host's.
    pub namespaces: &'a [NamespaceKind],
    /// Set in the new uts namespace.
    pub hostname: Option<&'a str>,
    pub cgroup: BorrowedFd<'a>,
    /// Of the new user namespace, which owns the others.
    pub ids: Option<&'a Maps>,
    /// What becomes the root of the new cgroup namespace.
    pub cgroup_root: Option<BorrowedFd<'a>>,
    /// Of the new time namespace.
    pub offsets: Offsets,
}

impl InfraOrder<'_> {
    fn has(&self, kind: NamespaceKind) -> bool {
        self.namespaces.contains(&kind)
    }

    /// What infra cannot make itself: the root of a cgroup namespace is where its maker is, and offsets are written
    /// by who has the rights outside.
    fn made_for_it(&self) -> CloneFlags {
        let kinds = [NamespaceKind::Cgroup, NamespaceKind::Time].into_iter();
        kinds.filter(|kind| self.has(*kind)).map(NamespaceKind::flag).collect()
    }

    /// It waits until its parent has done what only its parent can do.
    fn waits(&self) -> bool {
        self.ids.is_some() || !self.made_for_it().is_empty()
    }
}

/// Starts infra. It reports Ready as soon as its namespaces can be pinned, and Running when it is nothing but infra;
/// it needs no `start`.
pub fn start_infra(order: &InfraOrder<'_>) -> Result<Child, SandboxError> {
    if order.hostname.is_some() && !order.has(NamespaceKind::Uts) {
        return Err(SandboxError::unsupported("hostname without a uts namespace"));
    }
    if order.ids.is_some() != order.has(NamespaceKind::User) {
        return Err(SandboxError::unsupported("ids without a user namespace"));
    }
    let (parent, child) = pair()?;
    // Together, so that the one owns the other.
    let at_birth = [NamespaceKind::Pid, NamespaceKind::User].into_iter();
    let flags: CloneFlags =
        at_birth.filter(|kind| order.has(*kind)).map(NamespaceKind::flag).collect();
    match clone3(flags.bits(), Some(order.cgroup)).at(Stage::Clone, "infra")? {
        Cloned::Parent { pid, pidfd } => {
            let infra = Child { pid, pidfd, channel: parent };
            if order.waits() {
                provide(order, &infra).inspect_err(|_| discard(&infra))?;
            }
            Ok(infra)
        }
        Cloned::Child => super::in_child(child.as_fd(), |channel| become_infra(order, channel)),
    }
}

/// Its ids, its cgroup namespace, its clocks; then it goes on.
fn provide(order: &InfraOrder<'_>, infra: &Child) -> Result<(), SandboxError> {
    let mut user = None;
    if let Some(maps) = order.ids {
        maps.write(infra.pid).at(Stage::Map, &maps.to_string())?;
        user = Some(namespaces::open(Path::new(&format!("/proc/{}/ns/user", infra.pid)))?);
    }
    let mut made = Vec::new();
    if !order.made_for_it().is_empty() {
        let wanted = |root| Wanted {
            owner: user.as_ref().map_or(Owner::Caller, |user| Owner::At(user.as_fd())),
            kinds: order.made_for_it(),
            offsets: order.offsets,
            cgroup: Some(root),
        };
        let root = order.cgroup_root.unwrap_or(order.cgroup);
        made = match owned::make(&wanted(root)) {
            // Where controllers are on, no process may be in a cgroup that has others below it, however shortly: the
            // root is then infra's own.
            Err(error) if error.is_busy() => owned::make(&wanted(order.cgroup))?.others,
            made => made?.others,
        };
    }
    let fds: Vec<BorrowedFd<'_>> = made.iter().map(|(_, namespace)| namespace.as_fd()).collect();
    channel::start_with(infra.channel.as_fd(), &fds)
}

fn become_infra(
    order: &InfraOrder<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let kept = keep_only([None; 3], &[channel]).at(Stage::Stdio, "none")?;
    let [channel] = &kept[..] else { return Err(SandboxError::unsupported("channel")) };
    last_word(channel, give_up_everything(order, channel.as_fd()))
}

/// Its ids are mapped now: it becomes root in there, who is nobody outside.
fn take_provided(order: &InfraOrder<'_>, channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let namespaces = channel::await_start_with(channel)?;
    if order.ids.is_some() {
        set_groups(&[]).at(Stage::Identity, "groups")?;
        set_gid(0).at(Stage::Identity, "gid")?;
        set_uid(0).at(Stage::Identity, "uid")?;
        super::identity::guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    }
    for namespace in namespaces {
        // Of whichever kind it is.
        nix::sched::setns(namespace, CloneFlags::empty()).at(Stage::Join, "of its own")?;
    }
    Ok(())
}

fn give_up_everything(
    order: &InfraOrder<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    super::identity::guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    if order.waits() {
        take_provided(order, channel)?;
    }
    let kinds: CloneFlags = order.namespaces.iter().map(|kind| kind.flag()).collect();
    let at_birth = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWUSER;
    unshare(kinds - at_birth - order.made_for_it() - CloneFlags::CLONE_NEWNS)?;
    if let Some(hostname) = order.hostname {
        rustix::system::sethostname(hostname.as_bytes()).at(Stage::Hostname, hostname)?;
    }
    channel::say_ready(channel)?;
    default_signals().at(Stage::Identity, "signals")?;
    let program = sealed_memfd(c"podspec-infra", PROGRAM).at(Stage::Program, "infra")?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    root::isolate_mounts()?;
    let empty = mounts::empty_directory().at(Stage::Mount, "/")?;
    root::attach_over_root(empty.as_fd()).at(Stage::Mount, "/")?;
    root::pivot(empty.as_fd())?;
    super::identity::drop_everything()?;
    rustix::process::set_parent_process_death_signal(None).at(Stage::Identity, "parent")?;
    // Not even null: who may look into infra could change the mode of the machine's own.
    close_at_exec(0).at(Stage::Stdio, "none")?;
    Err(exec_fd(program.as_fd(), &[c"podspec-infra".to_owned()], &[])).at(Stage::Execute, "infra")
}
