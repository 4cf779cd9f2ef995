//! Sysctls of namespaces that exist, written from outside through a procfs of our own: what is mounted at /proc, and where,
//! is nothing to rely on.

use super::error::{SandboxError, Stage};
use super::identity;
use super::namespaces::{NamespaceKind, Stay};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// Writes them, by their names as sysctl(8) has them, as a thread of these pinned namespaces. Which namespaces a sysctl may
/// be of is for the caller to know: one that is of none of them would be the machine's.
pub fn set(
    namespaces: &[(NamespaceKind, &Path)],
    sysctls: &BTreeMap<String, String>,
) -> Result<(), SandboxError> {
    let proc = procfs().map_err(|e| SandboxError::step(Stage::Mount, "a procfs", e))?;
    let stays: Result<Vec<Stay>, _> =
        namespaces.iter().map(|(kind, at)| Stay::enter(*kind, at)).collect();
    let stays = stays?;
    let written = sysctls.iter().try_for_each(|(name, value)| {
        write(proc.as_fd(), &path(name), value).map_err(|errno| refused(name, value, errno))
    });
    // Each brings the thread home, whatever came of the writing.
    stays.into_iter().try_for_each(Stay::leave)?;
    written
}

/// Below /proc/sys. A link may have dots in its name, which is why the two are swapped.
fn path(name: &str) -> String {
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(swapped).collect()
}

pub(super) fn procfs() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&context)?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// No link and no `..` leads anywhere from `sys`: the latter stays beneath it, but not in the directory of the namespace that
/// the name began with.
pub(super) fn write(proc: BorrowedFd<'_>, path: &str, value: &str) -> Result<(), Errno> {
    if Path::new(path).components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(Errno::PERM);
    }
    let sys = rustix::fs::openat(proc, "sys", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let open = |flags: OFlags| {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&sys, path, flags | OFlags::CLOEXEC, Mode::empty(), how)
    };
    let write = || rustix::io::write(open(OFlags::WRONLY)?, value.as_bytes()).map(drop);
    match write() {
        // Since Linux 6.11 a sysctl of an ipc namespace is for root of the user namespace that owns it, and no
        // capability counts.
        Err(Errno::ACCESS) => {
            let owner = rustix::fs::fstat(open(OFlags::PATH)?)?.st_uid;
            if owner == 0 { Err(Errno::ACCESS) } else { identity::as_user(owner, write)? }
        }
        written => written,
    }
}

/// What an errno means here, where that can be known.
fn refused(name: &str, value: &str, errno: Errno) -> SandboxError {
    let why = match errno {
        Errno::NOENT => {
            Some("no namespace has it: it is of the whole machine, or unknown to this kernel")
        }
        Errno::ACCESS | Errno::PERM => Some("it cannot be set, or not from within a namespace"),
        Errno::INVAL | Errno::RANGE => Some("the kernel does not take this value"),
        _ => None,
    };
    let source = io::Error::from(errno);
    let source = match why {
        Some(why) => io::Error::new(source.kind(), format!("{why} ({source})")),
        None => source,
    };
    SandboxError::step(Stage::Sysctl, format!("{name} to `{value}`"), source)
}
