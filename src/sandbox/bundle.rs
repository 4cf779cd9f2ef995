//! What documents ask for that others wrote, and no pod's: a root that is a directory of the bundle, seen at its place
//! by hooks; how mounts reach it and leave it; a root without a /dev of its own; /dev/console.

use super::error::{At, SandboxError, Stage};
use super::mounts;
use super::root::{Root, attach, attach_over_root};
use oci_spec::runtime::Spec;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How mounts of the host and of the container reach each other: `linux.rootfsPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Propagation(MountPropagationFlags);

impl Propagation {
    pub(super) fn of(oci: &Spec) -> Result<Self, SandboxError> {
        let word = oci.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
        let kind = word.unwrap_or("private");
        let plain = kind.strip_prefix('r').unwrap_or(kind);
        let flag = match plain {
            "" | "private" => MountPropagationFlags::PRIVATE,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "shared" => MountPropagationFlags::SHARED,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => return Err(SandboxError::unsupported(&format!("rootfsPropagation {kind}"))),
        };
        let recursive = if plain.len() < kind.len() {
            MountPropagationFlags::REC
        } else {
            MountPropagationFlags::empty()
        };
        Ok(Self(flag | recursive))
    }

    /// What is mounted from here on is this process's alone, unless the document shares it; what the host mounts may
    /// still arrive.
    pub(super) fn isolate(self) -> Result<(), SandboxError> {
        let kind = match self.0.contains(MountPropagationFlags::SHARED) {
            true => MountPropagationFlags::SHARED,
            false => MountPropagationFlags::DOWNSTREAM,
        };
        rustix::mount::mount_change("/", kind | MountPropagationFlags::REC)
            .at(Stage::ReadOnly, "mount propagation of /")
    }

    /// After the pivot: the root itself. Private is what it is.
    pub(super) fn apply(self) -> Result<(), SandboxError> {
        if self.0.contains(MountPropagationFlags::PRIVATE) {
            return Ok(());
        }
        rustix::mount::mount_change("/", self.0).at(Stage::ReadOnly, "mount propagation of /")
    }
}

/// The directory that the document names as its root, mounted onto itself: hooks find the container's mounts below it.
pub(super) fn directory(oci: &Spec, own_mounts: bool) -> Result<Root, SandboxError> {
    let Some(root) = oci.root() else { return Err(SandboxError::unsupported("missing root")) };
    let path = root.path();
    let make = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        if own_mounts {
            // Else the mount would be the host's, too, and pivot_root(2) refuses.
            make_parent_private(path)?;
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(&place, "", flags)?;
        attach(tree.as_fd(), place.as_fd())?;
        Ok::<_, Errno>(tree)
    };
    let tree = make().at(Stage::OpenLayer, path)?;
    mounts::set_propagation(tree.as_fd(), libc::MS_PRIVATE).at(Stage::OpenLayer, path)?;
    Ok(Root::of_bundle(tree))
}

/// The mount that holds `path`: the first way up that is the root of one.
fn make_parent_private(path: &Path) -> Result<(), Errno> {
    for place in path.ancestors() {
        match rustix::mount::mount_change(place, MountPropagationFlags::PRIVATE) {
            Err(Errno::INVAL) => {}
            other => return other,
        }
    }
    Ok(())
}

/// For who stands in an initramfs, which pivot_root(2) cannot leave: the root is moved over `/`.
pub(super) fn move_over_root(root: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let change = || {
        rustix::process::fchdir(root)?;
        attach_over_root(root)
    };
    change().at(Stage::Pivot, "the rootfs")?;
    change_root(root)
}

/// For who shares the caller's mounts, of which none may be unmounted.
pub(super) fn change_root(root: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let change = || {
        rustix::process::fchdir(root)?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    };
    change().at(Stage::Pivot, "the rootfs")
}

/// Whether a document that others wrote may cover what the kernel shows there. Of /proc only what programs take for
/// data (lxcfs makes such files); of /sys what it names itself, reached by no link.
pub(super) fn may_cover(at: &Path, is_proc: bool) -> bool {
    const OF_PROC: [&str; 10] = [
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "uptime",
        "sys/crypto/fips_enabled",
    ];
    match is_proc {
        true => OF_PROC.iter().any(|name| at == Path::new("/proc").join(name)),
        false => at.starts_with("/sys"),
    }
}

/// Nodes that are certainly the kernel's null, for a root that brings its own /dev: a tmpfs that nobody sees. It hangs
/// below the old root, with which it goes, for before Linux 6.15 a detached mount cannot be cloned.
pub(super) fn hidden_dev() -> Result<OwnedFd, SandboxError> {
    let make = || {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "mode", "0755")?;
        rustix::mount::fsconfig_create(&context)?;
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let made = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)?;
        let mode = Mode::from_raw_mode(0o666);
        let number = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(&made, "null", FileType::CharacterDevice, mode, number)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::openat(CWD, "/dev", flags, Mode::empty())?;
        attach(made.as_fd(), place.as_fd())?;
        Ok::<_, Errno>(made)
    };
    make().at(Stage::Device, "null")
}

/// The terminal that is standard input by now stands at /dev/console, too, in a /dev of podspec's making.
pub(super) fn console(dev: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let make = || {
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let place = rustix::fs::openat(dev, "console", flags | OFlags::NONBLOCK, mode)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let terminal = rustix::mount::open_tree(rustix::stdio::stdin(), "", flags)?;
        attach(terminal.as_fd(), place.as_fd())
    };
    make().at(Stage::Terminal, "at /dev/console")
}

/// Where a document has its own /dev, or none is mounted: what is there is used as it is.
pub(super) fn brings_dev(oci: &Spec) -> bool {
    let at = |path: &PathBuf| path == Path::new(mounts::DEV);
    oci.mounts().iter().flatten().any(|mount| at(mount.destination()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Linux;

    #[test]
    fn words_of_propagation() {
        let of = |word: &str| {
            let mut linux = Linux::default();
            linux.set_rootfs_propagation(Some(word.to_owned()));
            let mut oci = Spec::default();
            oci.set_linux(Some(linux));
            Propagation::of(&oci).map(|propagation| propagation.0)
        };
        use MountPropagationFlags as Flags;
        assert_eq!(of("rprivate").unwrap(), Flags::PRIVATE | Flags::REC);
        assert_eq!(of("rslave").unwrap(), Flags::DOWNSTREAM | Flags::REC);
        assert_eq!(of("shared").unwrap(), Flags::SHARED);
        assert_eq!(of("").unwrap(), Flags::PRIVATE);
        assert!(of("r").is_ok_and(|flags| flags.contains(Flags::PRIVATE)));
        assert!(of("everywhere").is_err());
    }

    #[test]
    fn little_of_the_kernels_files_may_be_covered() {
        assert!(may_cover(Path::new("/proc/meminfo"), true));
        assert!(!may_cover(Path::new("/proc/sys"), true));
        assert!(!may_cover(Path::new("/proc"), true));
        assert!(may_cover(Path::new("/sys/fs/bpf"), false));
        assert!(!may_cover(Path::new("/data"), false), "a link led there");
    }
}
