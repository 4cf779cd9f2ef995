//! What a container sees of cgroups: its own ones, or the host's to look at.

use super::error::{At, SandboxError, Stage};
use super::mounts::{Options, Place, READ_ONLY, attach_filesystem, new_filesystem};
use super::namespaces::unshare;
use super::root::attach;
use crate::sys::mounts::{MountAttr, mount_setattr};
use nix::sched::CloneFlags;
use oci_spec::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As on a machine that has both versions: a directory for each hierarchy of v1, with the container's own cgroup, and
/// one for v2.
pub(super) fn mount_all(mount: &Mount, place: Place<'_>) -> Result<(), SandboxError> {
    let at = mount.destination();
    let make = || {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "source", "cgroup")?;
        rustix::mount::fsconfig_set_string(&context, "mode", "0755")?;
        rustix::mount::fsconfig_create(&context)?;
        let attr =
            MountAttrFlags::from_bits_retain(flags(mount) & !(libc::MOUNT_ATTR_RDONLY as u32));
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
    };
    let all = make().at(Stage::Mount, at)?;
    attach_filesystem(place.root, mount, all.as_fd())?;
    let mut unified = mount.clone();
    unified.set_typ(Some("cgroup2".to_owned()));
    let unified = new_filesystem(&unified, place)?;
    put(all.as_fd(), "unified", unified.as_fd()).at(Stage::Mount, at)?;
    for shown in place.legacy {
        let open = || {
            let flags_of_tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = rustix::mount::open_tree(CWD, &shown.directory, flags_of_tree)?;
            let set = u64::from(flags(mount));
            let attr = MountAttr { set, propagation: libc::MS_PRIVATE, ..MountAttr::default() };
            mount_setattr(tree.as_fd(), attr, false)?;
            put(all.as_fd(), &shown.hierarchy, tree.as_fd())?;
            let controllers = shown.hierarchy.split(',').filter(|name| **name != *shown.hierarchy);
            for controller in controllers {
                rustix::fs::symlinkat(&*shown.hierarchy, &all, controller)?;
            }
            Ok::<_, std::io::Error>(())
        };
        open().at(Stage::Mount, &shown.directory)?;
    }
    match Options::of(mount).is_readonly() {
        true => mount_setattr(all.as_fd(), READ_ONLY, false).at(Stage::Mount, at),
        false => Ok(()),
    }
}

fn flags(mount: &Mount) -> u32 {
    Options::of(mount).flags().set as u32
}

fn put(into: BorrowedFd<'_>, name: &str, made: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::mkdirat(into, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(into, name, flags, Mode::empty())?;
    attach(made, place.as_fd())
}

/// As the host has them, read-only to the last one.
pub(super) fn hosts(mount: &Mount) -> Result<OwnedFd, SandboxError> {
    let options = Options::of(mount);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let open = || {
        let tree = rustix::mount::open_tree(CWD, "/sys/fs/cgroup", flags)?;
        let flags = options.flags().forbid_only();
        let set = flags.set | libc::MOUNT_ATTR_RDONLY;
        let attr = MountAttr { set, propagation: libc::MS_PRIVATE, ..flags.attr() };
        mount_setattr(tree.as_fd(), attr, true)?;
        Ok::<_, std::io::Error>(tree)
    };
    open().at(Stage::Mount, mount.destination())
}

/// Without a cgroup namespace the container sees what is below its own cgroup all the same, as in one; its /proc tells
/// where that is.
pub(super) fn own(mount: &Mount) -> Result<OwnedFd, SandboxError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = rustix::fs::openat(CWD, "/proc/self/ns/cgroup", flags, Mode::empty());
    let home = home.at(Stage::Join, "of cgroups")?;
    unshare(CloneFlags::CLONE_NEWCGROUP)?;
    let options = Options::of(mount);
    let make = || {
        let context = rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        let attr = MountAttrFlags::from_bits_retain(options.flags().set as u32);
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
    };
    let made = make().at(Stage::Mount, mount.destination());
    nix::sched::setns(&home, CloneFlags::CLONE_NEWCGROUP).at(Stage::Join, "of cgroups")?;
    made
}
