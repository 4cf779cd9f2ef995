//! Paths in a root that may be hostile, resolved by the kernel (openat2), and opened things opened again.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Opens `path` with `root` as its root; links, `..` and the links of /proc cannot lead out of it.
pub fn open_in_root(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    extra: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | extra;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags, mode, how) {
            // A rename somewhere on the machine while `..` was resolved (openat2(2)).
            Err(Errno::AGAIN) if tries < 1000 => tries += 1,
            other => return other,
        }
    }
}

/// Whether something is at `path` in `root`, as far as the kernel knows by heart: no file system is asked, and
/// so none can keep us waiting (RESOLVE_CACHED, Linux 5.12). False: it is not known to be there.
pub fn is_known_in_root(root: BorrowedFd<'_>, path: &Path) -> bool {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
    rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how).is_ok()
}

/// Opens exactly what an O_PATH descriptor was opened for, whatever has its name by now.
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
}
