//! Infra's side of the sandbox: a process that makes the pod's shared namespaces and then gives up everything else:
//! root directory, descriptors, capabilities, and podspec's own program.

use super::channel::{self, last_word, pair};
use super::error::{At, SandboxError, Stage};
use super::namespaces::{NamespaceKind, unshare};
use super::{Child, mounts, root};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::descriptors::{close_at_exec, keep_only, place};
use crate::sys::identity::default_signals;
use crate::sys::program::{exec_fd, sealed_memfd};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Signal;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};

/// Built by src/infra/build.rs from src/infra/infra.rs.
pub(super) const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/infra"));

#[derive(Debug, Clone, Copy)]
pub struct InfraOrder<'a> {
    /// Made new; of the kinds not listed infra has the host's.
    pub namespaces: &'a [NamespaceKind],
    /// Set in the new uts namespace.
    pub hostname: Option<&'a str>,
    pub cgroup: BorrowedFd<'a>,
}

/// Starts infra. It reports Ready as soon as its namespaces can be pinned, and Running when it is nothing but infra;
/// it needs no `start`.
pub fn start_infra(order: &InfraOrder<'_>) -> Result<Child, SandboxError> {
    if order.hostname.is_some() && !order.namespaces.contains(&NamespaceKind::Uts) {
        return Err(SandboxError::unsupported("hostname without a uts namespace"));
    }
    let (parent, child) = pair()?;
    let at_birth = order.namespaces.contains(&NamespaceKind::Pid);
    let flags = if at_birth { CloneFlags::CLONE_NEWPID } else { CloneFlags::empty() };
    match clone3(flags.bits(), Some(order.cgroup)).at(Stage::Clone, "infra")? {
        Cloned::Parent { pid, pidfd } => Ok(Child { pid, pidfd, channel: parent }),
        Cloned::Child => super::in_child(child.as_fd(), |channel| become_infra(order, channel)),
    }
}

fn become_infra(
    order: &InfraOrder<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let kept = keep_only([None; 3], &[channel]).at(Stage::Stdio, "none")?;
    let [channel] = &kept[..] else { return Err(SandboxError::unsupported("channel")) };
    last_word(channel, give_up_everything(order, channel.as_fd()))
}

fn give_up_everything(
    order: &InfraOrder<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    super::identity::guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    let kinds =
        order.namespaces.iter().map(|kind| kind.flag()).fold(CloneFlags::empty(), |a, b| a | b);
    unshare(kinds - CloneFlags::CLONE_NEWPID - CloneFlags::CLONE_NEWNS)?;
    if let Some(hostname) = order.hostname {
        rustix::system::sethostname(hostname.as_bytes()).at(Stage::Hostname, hostname)?;
    }
    channel::say_ready(channel)?;
    default_signals().at(Stage::Identity, "signals")?;
    let null = rustix::fs::openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .at(Stage::Stdio, "/dev/null")?;
    for number in 0..3 {
        place(null.as_fd(), number).at(Stage::Stdio, "/dev/null")?;
    }
    let program = sealed_memfd(c"podspec-infra", PROGRAM).at(Stage::Program, "infra")?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    root::isolate_mounts()?;
    let empty = mounts::empty_directory().at(Stage::Mount, "/")?;
    root::attach_over_root(empty.as_fd()).at(Stage::Mount, "/")?;
    root::pivot(empty.as_fd())?;
    super::identity::drop_everything()?;
    rustix::process::set_parent_process_death_signal(None).at(Stage::Identity, "parent")?;
    close_at_exec(3).at(Stage::Stdio, "none")?;
    Err(exec_fd(program.as_fd(), &[c"podspec-infra".to_owned()], &[])).at(Stage::Execute, "infra")
}
