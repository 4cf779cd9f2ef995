//! A further process in a running container (`podspec exec`, probes): all of the container's namespaces by the pidfd
//! of its first process, born in its pid namespace and its cgroup, with its own terminal where one is wanted.

use super::channel::{last_word, pair, receive_terminal, send_terminal};
use super::error::{At, SandboxError, Stage};
use super::identity::{become_user, guard, score};
use super::namespaces::ChildrenIn;
use super::program::Program;
use super::{Child, mounts, root};
use crate::sys::clone::clone3;
use crate::sys::descriptors::{keep_only, place};
use crate::sys::identity::default_signals;
use nix::sched::CloneFlags;
use oci_spec::runtime::Process;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DEVPTS_MAGIC: i64 = 0x1cd1;

#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The pidfd of the container's first process.
    pub target: BorrowedFd<'a>,
    pub process: &'a Process,
    pub cgroup: BorrowedFd<'a>,
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
    let kept = keep_only(stdio, &[channel, entry.target]).at(Stage::Stdio, "of the container")?;
    let [channel, target] = &kept[..] else { return Err(SandboxError::unsupported("channel")) };
    last_word(channel, join(entry, channel.as_fd(), target.as_fd()))
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
        | CloneFlags::CLONE_NEWCGROUP;
    nix::sched::setns(target, kinds).at(Stage::Join, "of the container")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    let root = root::current()?;
    if entry.terminal {
        take_terminal(&root, entry.process.user().uid(), channel)?;
    } else {
        fill_with_null(entry, &root)?;
    }
    root::change_directory(&root, entry.process.cwd(), false)?;
    become_user(entry.process, Some(Signal::KILL))?;
    let umask = entry.process.user().umask().unwrap_or(super::UMASK);
    rustix::process::umask(Mode::from_raw_mode(umask));
    Program::find(entry.process)?.run()
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

/// The container may have put anything under this name: it must be the ptmx of a devpts, reached without links, and
/// its peer is taken from itself, not from a path.
fn take_terminal(root: &root::Root, uid: u32, channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let open = || {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let place = rustix::fs::openat2(
            root.fd(),
            "/dev/pts/ptmx",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            how,
        )?;
        let status = root::status(place.as_fd())?;
        let devpts = rustix::fs::fstatfs(&place)?.f_type == DEVPTS_MAGIC;
        let character = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
        if !(devpts && character && status.st_rdev == rustix::fs::makedev(5, 2)) {
            return Err(Errno::NOTTY);
        }
        let master = rustix::fs::openat2(root.fd(), "/dev/pts/ptmx", flags, Mode::empty(), how)?;
        if root::status(master.as_fd())?.st_rdev != status.st_rdev {
            return Err(Errno::NOTTY);
        }
        rustix::pty::unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        rustix::process::ioctl_tiocsctty(&slave)?;
        rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(uid)), None)?;
        Ok((master, slave))
    };
    let (master, slave) = open().at(Stage::Terminal, "of the container")?;
    for number in 0..3 {
        place(slave.as_fd(), number).at(Stage::Terminal, "of the container")?;
    }
    send_terminal(channel, master.as_fd())
}
