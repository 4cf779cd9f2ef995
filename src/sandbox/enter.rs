//! A further process in a running container (`podspec exec`, probes): all of the container's namespaces by the pidfd
//! of its first process, born in its pid namespace and its cgroup, with its own terminal where one is wanted.

use super::channel::{last_word, pair, receive_terminal};
use super::error::{At, SandboxError, Stage};
use super::identity::{Home, become_user, guard, make_files_as, score};
use super::namespaces::{ChildrenIn, NEWTIME};
use super::schedule::{self, When};
use super::terminal::take_terminal;
use super::{Child, Extras, mounts, root};
use super::{owned, program};
use crate::sys::clone::clone3;
use crate::sys::descriptors::{beyond, keep_beyond, place};
use crate::sys::filter::Program;
use crate::sys::identity::{default_signals, join_new_session_keyring};
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::process::Signal;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The pidfd of the container's first process.
    pub target: BorrowedFd<'a>,
    /// The container's.
    pub oci: &'a Spec,
    pub process: &'a Process,
    /// The container's own; none where it has none.
    pub filter: Option<&'a Program>,
    pub cgroup: BorrowedFd<'a>,
    /// As [`Order::join`](super::Order::join).
    pub join: &'a [OwnedFd],
    pub extras: Extras<'a>,
    /// A new terminal of the container's devpts is stdin, stdout and stderr.
    pub terminal: bool,
    /// /dev/null where None.
    pub stdin: Option<BorrowedFd<'a>>,
    pub stdout: Option<BorrowedFd<'a>>,
    pub stderr: Option<BorrowedFd<'a>>,
}

#[derive(Debug)]
pub struct Entered {
    pub child: Child,
    /// The master of the terminal.
    pub terminal: Option<OwnedFd>,
}

/// Starts the process; it reports Running or Failed, and needs no `start`.
pub fn enter(entry: &Entry<'_>) -> Result<Entered, SandboxError> {
    let (parent, child) = pair()?;
    let births = ChildrenIn::new(entry.target, Path::new("pid of the container"))?;
    let cloned = clone3(0, Some(entry.cgroup)).at(Stage::Clone, "in the container")?;
    let run = |channel: BorrowedFd<'_>| become_entered(entry, channel);
    let entered = super::after_clone(cloned, Some(births), parent, child.as_fd(), run)?;
    // The parent's copy; with it open the child's end would never be seen.
    drop(child);
    if !entry.terminal {
        return Ok(Entered { child: entered, terminal: None });
    }
    match receive_terminal(entered.channel.as_fd()) {
        Ok(master) => Ok(Entered { child: entered, terminal: Some(master) }),
        Err(error) => {
            super::discard(&entered);
            Err(error)
        }
    }
}

fn become_entered(entry: &Entry<'_>, channel: BorrowedFd<'_>) -> Result<Infallible, SandboxError> {
    guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
    let stdio = [entry.stdin, entry.stdout, entry.stderr];
    let joined = schedule::take_processors(entry.process, When::Initial)
        .and_then(|()| super::join_cgroups(entry.join))
        .and_then(|()| schedule::take_processors(entry.process, When::Final));
    let kept = keep_beyond(stdio, entry.extras.preserved, &[channel, entry.target]);
    let kept = kept.at(Stage::Stdio, "of the container")?;
    let [channel, target] = &kept[..] else { return Err(SandboxError::unsupported("channel")) };
    last_word(channel, joined.and_then(|()| join(entry, channel.as_fd(), target.as_fd())))
}

fn join(
    entry: &Entry<'_>,
    channel: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    default_signals().at(Stage::Identity, "signals")?;
    score(entry.process)?;
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP
        | time(entry.oci);
    let maps = has(entry.oci, LinuxNamespaceType::User).then(|| owned::maps(entry.oci));
    nix::sched::setns(target, kinds).at(Stage::Join, "of the container")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    let uid = entry.process.user().uid();
    let mut owner = uid;
    if let Some(maps) = &maps {
        make_files_as(maps.owner(0, 0))?;
        owner = maps.owner(uid, 0).0;
    }
    let root = root::current()?;
    if entry.terminal {
        take_terminal(&root, owner, entry.process.console_size(), channel)?;
    } else {
        fill_with_null(entry, &root)?;
    }
    root::change_directory(&root, entry.process.cwd(), false)?;
    let home = maps.map(|_| Home { namespace: target, own_mounts: false });
    schedule::take(entry.oci, entry.process)?;
    if !entry.extras.keep_keyring {
        join_new_session_keyring().at(Stage::Identity, "session keyring")?;
    }
    become_user(entry.process, home, entry.filter.is_some(), Some(Signal::KILL))?;
    let umask = entry.process.user().umask().unwrap_or(super::UMASK);
    rustix::process::umask(Mode::from_raw_mode(umask));
    let mut program = program::Program::find(entry.process)?;
    program.close_from = beyond(entry.extras.preserved);
    program.run(entry.filter)
}

fn has(oci: &Spec, kind: LinuxNamespaceType) -> bool {
    let listed = oci.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    listed.into_iter().flatten().any(|namespace| namespace.typ() == kind)
}

/// Only where the container has one of its own: a kernel may know none.
fn time(oci: &Spec) -> CloneFlags {
    if has(oci, LinuxNamespaceType::Time) { NEWTIME } else { CloneFlags::empty() }
}

/// The container's null, not the host's: through a descriptor of that, root in the container could change its mode.
fn fill_with_null(entry: &Entry<'_>, root: &root::Root) -> Result<(), SandboxError> {
    let given = [entry.stdin, entry.stdout, entry.stderr];
    if given.iter().all(Option::is_some) {
        return Ok(());
    }
    let dev = root.find(Path::new("/dev"), ResolveFlags::NO_SYMLINKS).at(Stage::Stdio, "/dev")?;
    let null = mounts::own_null(dev.as_fd(), OFlags::RDWR)?;
    for (number, _) in (0..).zip(given).filter(|(_, given)| given.is_none()) {
        place(null.as_fd(), number).at(Stage::Stdio, "/dev/null")?;
    }
    Ok(())
}
