//! The road of a container's first process from clone3 to its program. The order is the kernel's: what is shared is joined
//! before what is private is made, mounts and devices are made as host root, ids and capabilities go last.

use super::channel::{await_start, last_word, say_ready};
use super::error::{At, SandboxError, Stage};
use super::identity::{become_user, guard, make_files_as, score};
use super::namespaces::Namespaces;
use super::owned::Made;
use super::program::Program;
use super::terminal::take_terminal;
use super::{Order, mounts, root};
use crate::sys::descriptors::{keep_only, place};
use crate::sys::identity::default_signals;
use crate::sys::ids::Maps;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Process, Spec};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::process::Signal;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

/// What a document may ask for and this runtime does not do must not be taken for done.
pub(super) fn check(order: &Order<'_>) -> Result<(), SandboxError> {
    let oci = order.oci;
    let process = process_of(oci)?;
    let linux = oci.linux().as_ref();
    let asked = [
        ("hooks", oci.hooks().is_some()),
        ("ioPriority", process.io_priority().is_some()),
        ("scheduler", process.scheduler().is_some()),
        ("execCPUAffinity", process.exec_cpu_affinity().is_some()),
        ("seccomp", order.filter.is_none() && linux.is_some_and(|l| l.seccomp().is_some())),
        (
            "mountLabel",
            linux.is_some_and(|l| l.mount_label().as_ref().is_some_and(|l| !l.is_empty())),
        ),
        ("personality", linux.is_some_and(|l| l.personality().is_some())),
        ("netDevices", linux.is_some_and(|l| l.net_devices().is_some())),
        ("memoryPolicy", linux.is_some_and(|l| l.memory_policy().is_some())),
        ("intelRdt", linux.is_some_and(|l| l.intel_rdt().is_some())),
        // What this runtime does in any case.
        (
            "rootfsPropagation",
            linux.and_then(|l| l.rootfs_propagation().as_deref()).is_some_and(|p| p != "private"),
        ),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(SandboxError::unsupported(what)),
        None => Ok(()),
    }
}

fn process_of(oci: &Spec) -> Result<&Process, SandboxError> {
    oci.process().as_ref().ok_or_else(|| SandboxError::unsupported("missing process"))
}

/// Ends in `execve`; returns only to say why it could not.
pub(super) fn become_container(
    order: &Order<'_>,
    namespaces: &Namespaces<'_>,
    made: Option<&Made>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let stdio = [order.stdin, Some(order.stdout), Some(order.stderr)];
    let joined = super::join_cgroups(order.join);
    let user = made.and_then(|made| made.user.as_ref());
    let others = made.map_or(&[][..], |made| &made.others);
    let mut kept = vec![channel];
    kept.extend(others.iter().map(|(_, namespace)| namespace.as_fd()));
    kept.extend(user.map(|(user, _)| user.as_fd()));
    // At once: a sibling's channel or FIFO held here would hide that sibling's end.
    let kept = keep_only(stdio, &kept).at(Stage::Stdio, "of the container")?;
    let [channel, namespaces_kept @ ..] = &kept[..] else {
        return Err(SandboxError::unsupported("channel"));
    };
    let kinds = others.iter().map(|(kind, _)| *kind);
    let prepared: Vec<_> = kinds.zip(namespaces_kept.iter().map(AsFd::as_fd)).collect();
    let user = user.and_then(|(_, maps)| {
        let namespace = namespaces_kept.last()?.as_fd();
        Some(User { namespace, root: maps.owner(0, 0), maps })
    });
    let entry = Way { namespaces, prepared: &prepared, user };
    last_word(channel, joined.and_then(|()| set_up(order, &entry, channel.as_fd())))
}

/// The container's user namespace, which it enters last.
#[derive(Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) namespace: BorrowedFd<'a>,
    pub(super) maps: &'a Maps,
    /// Whom its root is outside: (uid, gid).
    root: (u32, u32),
}

impl User<'_> {
    /// Gives a file to its root.
    pub(super) fn own(&self, file: BorrowedFd<'_>) -> Result<(), rustix::io::Errno> {
        let (uid, gid) = (Uid::from_raw(self.root.0), Gid::from_raw(self.root.1));
        rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
    }
}

/// Its way into its namespaces.
struct Way<'a> {
    namespaces: &'a Namespaces<'a>,
    prepared: &'a [(CloneFlags, BorrowedFd<'a>)],
    user: Option<User<'a>>,
}

fn set_up(
    order: &Order<'_>,
    way: &Way<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let namespaces = way.namespaces;
    let process = process_of(order.oci)?;
    guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    default_signals().at(Stage::Identity, "signals")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    score(process)?;
    // Modes of what is made below are exact.
    rustix::process::umask(Mode::empty());
    namespaces.enter(way.prepared)?;
    if let Some(user) = way.user {
        make_files_as(user.root)?;
    }
    name_host(order.oci, namespaces)?;
    build_root(order, way, process, channel)?;
    let namespace = way.user.map(|user| user.namespace);
    become_user(process, namespace, order.filter.is_some(), Some(Signal::KILL))?;
    let umask = process.user().umask().unwrap_or(super::UMASK);
    rustix::process::umask(Mode::from_raw_mode(umask));
    let program = Program::find(process)?;
    say_ready(channel)?;
    await_start(channel)?;
    if order.init {
        return program.run_under_reaper(process.terminal().unwrap_or(false), order.filter);
    }
    program.run(order.filter)
}

/// Where uts is shared, its name is infra's to give.
fn name_host(oci: &Spec, namespaces: &Namespaces<'_>) -> Result<(), SandboxError> {
    let Some(hostname) = oci.hostname() else { return Ok(()) };
    if !namespaces.made.contains(CloneFlags::CLONE_NEWUTS) {
        return Ok(());
    }
    rustix::system::sethostname(hostname.as_bytes()).at(Stage::Hostname, hostname)
}

fn build_root(
    order: &Order<'_>,
    way: &Way<'_>,
    process: &Process,
    channel: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    root::isolate_mounts()?;
    let mounts = order.oci.mounts().as_deref().unwrap_or(&[]);
    let sources = mounts::open_sources(mounts, order.beneath, way.user)?;
    let root = root::assemble(order.overlays, way.user.map(|user| user.namespace))?;
    let site = mounts::Place { root: &root, namespaces: way.namespaces, user: way.user };
    let dev = mounts::mount_all(site, order.oci, sources)?;
    if let Some(linux) = order.oci.linux() {
        mounts::make_readonly(&root, linux.readonly_paths().as_deref().unwrap_or(&[]))?;
        mounts::mask(&root, dev.as_fd(), linux.masked_paths().as_deref().unwrap_or(&[]))?;
    }
    root::pivot(root.fd())?;
    root::change_directory(&root, process.cwd(), true)?;
    if order.oci.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
        mounts::make_root_readonly(&root)?;
    }
    if process.terminal().unwrap_or(false) {
        let uid = process.user().uid();
        let owner = way.user.map_or(uid, |user| user.maps.owner(uid, 0).0);
        return take_terminal(&root, owner, channel);
    }
    if order.stdin.is_some() {
        return Ok(());
    }
    let null = mounts::own_null(dev.as_fd(), OFlags::RDWR)?;
    place(null.as_fd(), 0).at(Stage::Stdio, "/dev/null")
}
