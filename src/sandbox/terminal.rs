//! Terminals of a container's own devpts: taken from inside, so that the container knows them by name, and
//! kept from hanging up by a process of their own.

use super::channel::send_terminal;
use super::error::{At, SandboxError, Stage};
use super::identity::{drop_everything, guard};
use super::infra::PROGRAM;
use super::root::{self, Root};
use crate::sys::clone::{Cloned, clone3, exit_now};
use crate::sys::descriptors::{keep_only, place};
use crate::sys::identity::default_signals;
use crate::sys::process;
use crate::sys::program::{exec_fd, sealed_memfd};
use oci_spec::runtime::Box as Cells;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, FdFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DEVPTS_MAGIC: i64 = 0x1cd1;

/// The container may have put anything under this name: it must be the ptmx of a devpts, reached without links, and
/// its peer is taken from itself, not from a path. It has its size before a program can ask for it.
pub(super) fn take_terminal(
    root: &Root,
    uid: u32,
    size: Option<Cells>,
    channel: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
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
        if let Some(size) = size {
            let cells = |cells: u64| u16::try_from(cells).unwrap_or(u16::MAX);
            let (ws_row, ws_col) = (cells(size.height()), cells(size.width()));
            let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
            rustix::termios::tcsetwinsize(&master, size)?;
        }
        Ok((master, slave))
    };
    let (master, slave) = open().at(Stage::Terminal, "of the container")?;
    for number in 0..3 {
        place(slave.as_fd(), number).at(Stage::Terminal, "of the container")?;
    }
    send_terminal(channel, master.as_fd())
}

/// A process that holds the master of a terminal and does nothing else. As long as it lives the terminal
/// does not hang up, whoever else lets go of it; it is ended when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    pidfd: OwnedFd,
}

impl Keeper {
    /// Starts it; what it runs is infra's program.
    pub fn start(master: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<Self, SandboxError> {
        match clone3(0, Some(cgroup)).at(Stage::Clone, "of the terminal")? {
            Cloned::Parent { pidfd, .. } => Ok(Self { pidfd }),
            Cloned::Child => {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| keep(master)));
                exit_now(1)
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        process::end(self.pidfd.as_fd());
    }
}

/// Nobody waits for what goes wrong here: the terminal then hangs up with whoever else holds it.
fn keep(master: BorrowedFd<'_>) -> Result<Infallible, SandboxError> {
    guard(None).at(Stage::Identity, "dumpable")?;
    let kept = keep_only([None; 3], &[master]).at(Stage::Stdio, "of the terminal")?;
    for master in &kept {
        rustix::io::fcntl_setfd(master, FdFlags::empty()).at(Stage::Stdio, "of the terminal")?;
    }
    default_signals().at(Stage::Identity, "signals")?;
    let program =
        sealed_memfd(c"podspec-terminal", PROGRAM).at(Stage::Program, "of the terminal")?;
    drop_everything()?;
    Err(exec_fd(program.as_fd(), &[c"podspec-terminal".to_owned()], &[]))
        .at(Stage::Execute, "of the terminal")
}
