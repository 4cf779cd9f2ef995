//! The road of a container's first process from clone3 to its program. The order is the kernel's: what is shared is joined
//! before what is private is made, mounts and devices are made as host root, ids and capabilities go last.

use super::channel::{await_start, last_word, say_ready};
use super::error::{At, SandboxError, Stage};
use super::identity::{become_user, guard, score};
use super::namespaces::Namespaces;
use super::program::Program;
use super::terminal::take_terminal;
use super::{Order, mounts, root};
use crate::sys::descriptors::{keep_only, place};
use crate::sys::identity::default_signals;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Process, Spec};
use rustix::fs::{Mode, OFlags};
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
            "uidMappings",
            linux.is_some_and(|l| l.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())),
        ),
        ("timeOffsets", linux.is_some_and(|l| l.time_offsets().is_some())),
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
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let stdio = [order.stdin, Some(order.stdout), Some(order.stderr)];
    let joined = super::join_cgroups(order.join);
    // At once: a sibling's channel or FIFO held here would hide that sibling's end.
    let kept = keep_only(stdio, &[channel]).at(Stage::Stdio, "of the container")?;
    let [channel] = &kept[..] else { return Err(SandboxError::unsupported("channel")) };
    last_word(channel, joined.and_then(|()| set_up(order, namespaces, channel.as_fd())))
}

fn set_up(
    order: &Order<'_>,
    namespaces: &Namespaces<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let process = process_of(order.oci)?;
    guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    default_signals().at(Stage::Identity, "signals")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    score(process)?;
    // Modes of what is made below are exact.
    rustix::process::umask(Mode::empty());
    namespaces.enter()?;
    name_host(order.oci, namespaces)?;
    build_root(order, namespaces, process, channel)?;
    become_user(process, order.filter.is_some(), Some(Signal::KILL))?;
    let umask = process.user().umask().unwrap_or(super::UMASK);
    rustix::process::umask(Mode::from_raw_mode(umask));
    let program = Program::find(process)?;
    say_ready(channel)?;
    await_start(channel)?;
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
    namespaces: &Namespaces<'_>,
    process: &Process,
    channel: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    root::isolate_mounts()?;
    let mounts = order.oci.mounts().as_deref().unwrap_or(&[]);
    let sources = mounts::open_sources(mounts, order.beneath)?;
    let root = root::assemble(order.overlays)?;
    let dev = mounts::mount_all(&root, order.oci, namespaces, sources)?;
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
        return take_terminal(&root, process.user().uid(), channel);
    }
    if order.stdin.is_some() {
        return Ok(());
    }
    let null = mounts::own_null(dev.as_fd(), OFlags::RDWR)?;
    place(null.as_fd(), 0).at(Stage::Stdio, "/dev/null")
}
