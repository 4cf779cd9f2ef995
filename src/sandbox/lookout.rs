//! Whether a file is in a container's root, asked by a child: a file system of the container's can keep whoever
//! asks waiting for as long as it likes. The child enters nothing and runs no program; it ends with 0 when
//! the file is there.

use super::error::{At, SandboxError, Stage};
use super::identity::guard;
use crate::sys::clone::{Cloned, clone3, exit_now};
use crate::sys::descriptors::keep_only;
use crate::sys::paths::open_in_root;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::process::Signal;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What no watch tells of (behind a link, on a network's file system) is looked for at this pace.
const PACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A child that looks, and where `waits` looks on until the file is there. Its pidfd.
pub fn look_for(
    root: BorrowedFd<'_>,
    path: &Path,
    cgroup: BorrowedFd<'_>,
    waits: bool,
) -> Result<OwnedFd, SandboxError> {
    match clone3(0, Some(cgroup)).at(Stage::Clone, "that looks for a file")? {
        Cloned::Parent { pidfd, .. } => Ok(pidfd),
        Cloned::Child => {
            let look = std::panic::AssertUnwindSafe(|| look(root, path, waits));
            exit_now(i32::from(!std::panic::catch_unwind(look).unwrap_or(false)))
        }
    }
}

fn look(root: BorrowedFd<'_>, path: &Path, waits: bool) -> bool {
    if guard(Some(Signal::KILL)).is_err() {
        return false;
    }
    let Ok(kept) = keep_only([None; 3], &[root]) else { return false };
    let Some(root) = kept.first() else { return false };
    loop {
        // Watched before it is looked for, or what comes between would be missed.
        let watch = if waits { watch(root.as_fd(), path) } else { None };
        if open(root.as_fd(), path, OFlags::PATH).is_some() {
            return true;
        }
        if !waits {
            return false;
        }
        let mut fds: Vec<PollFd<'_>> =
            watch.iter().map(|watch| PollFd::new(watch, PollFlags::IN)).collect();
        let _ = poll(&mut fds, Some(&PACE));
    }
}

fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Option<OwnedFd> {
    open_in_root(root, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty()).ok()
}

/// Of the nearest directory above it that is there.
fn watch(root: BorrowedFd<'_>, path: &Path) -> Option<Inotify> {
    let above = path.ancestors().skip(1);
    let mut directories =
        above.filter_map(|above| open(root, above, OFlags::PATH | OFlags::DIRECTORY));
    let directory = directories.next()?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
    let what = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF;
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    watch.add_watch(path.as_str(), what).ok()?;
    Some(watch)
}
