//! The container's root: its overlays, the one way in which a path inside it is resolved, and the change into it.
//! A rootfs is hostile input: every path in it goes through openat2 with RESOLVE_IN_ROOT once, and only the
//! descriptor is used after that.

use super::Overlay;
use super::error::{At, SandboxError, Stage};
use super::layers::Layers;
use crate::sys::paths::open_in_root;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use std::ffi::{CString, OsStr};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As many as the kernel follows in one path.
const SYMLINKS_MAX: u32 = 40;

pub(super) const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// What a mount target has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// The root directory of the container, by descriptor.
pub(super) struct Root {
    fd: OwnedFd,
    /// Of `rootfs: host` the overlays that lie over it.
    overlays: Vec<OwnedFd>,
    /// Others wrote the document: it may ask for what a pod may not, and other runtimes do.
    pub(super) is_bundles: bool,
}

impl Root {
    pub(super) fn of_bundle(fd: OwnedFd) -> Self {
        Self { fd, overlays: Vec::new(), is_bundles: true }
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The mounts that it is made of.
    pub(super) fn mounts(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.fd()).chain(self.overlays.iter().map(AsFd::as_fd))
    }

    /// Resolves `path` with this directory as its root; symlinks and `..` cannot lead out of it.
    pub(super) fn find(&self, path: &Path, extra: ResolveFlags) -> Result<OwnedFd, Errno> {
        self.open(path, PATH_ONLY, Mode::empty(), extra)
    }

    fn open(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        extra: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        open_in_root(self.fd.as_fd(), path, flags, mode, extra)
    }

    /// The place for a mount, made (in the upper layer) where it is missing.
    pub(super) fn target(
        &self,
        path: &Path,
        kind: Kind,
        extra: ResolveFlags,
    ) -> Result<OwnedFd, SandboxError> {
        match self.find(path, extra) {
            Err(Errno::NOENT) => self.make(path, kind, extra).at(Stage::MakeTarget, path),
            other => other.at(Stage::FindTarget, path),
        }
    }

    fn make(&self, path: &Path, kind: Kind, extra: ResolveFlags) -> Result<OwnedFd, Errno> {
        match kind {
            Kind::Directory => self.make_directory(path, extra, 0),
            Kind::File => {
                let parent = path.parent().ok_or(Errno::NOENT)?;
                self.make_directory(parent, extra, 0)?;
                // O_CREAT follows a dangling link, too, and stays inside.
                let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                self.open(path, flags, Mode::from_raw_mode(0o644), extra)
            }
        }
    }

    /// mkdir -p inside the root. A dangling link on the way is made to point to something.
    pub(super) fn make_directory(
        &self,
        path: &Path,
        extra: ResolveFlags,
        depth: u32,
    ) -> Result<OwnedFd, Errno> {
        if depth > SYMLINKS_MAX {
            return Err(Errno::LOOP);
        }
        match self.open(path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty(), extra) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::NOENT);
        };
        let directory = self.make_directory(parent, extra, depth)?;
        match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let link = rustix::fs::readlinkat(&directory, name, Vec::new())?;
                let leads = parent.join(OsStr::from_bytes(link.to_bytes()));
                self.make_directory(&leads, extra, depth + 1)?;
            }
            Err(e) => return Err(e),
        }
        self.open(path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty(), extra)
    }
}

/// What is mounted from here on is this process's alone; what the host mounts may still arrive.
pub(super) fn isolate_mounts() -> Result<(), SandboxError> {
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).at(Stage::ReadOnly, "mount propagation of /")
}

/// Mounts the overlays over each other, and the first where `attach_first` puts it.
pub(super) fn assemble(
    overlays: &[Overlay],
    user: Option<BorrowedFd<'_>>,
    attach_first: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<Root, SandboxError> {
    let Some((first, more)) = overlays.split_first() else {
        return Err(SandboxError::unsupported("missing root overlay"));
    };
    let mut mounts = Vec::with_capacity(overlays.len());
    // All before the first is attached: the host's paths are looked up while nothing covers them.
    for overlay in overlays {
        mounts.push(mount_overlay(overlay, user)?);
    }
    let mut mounts = mounts.into_iter();
    let root = mounts.next().ok_or_else(|| SandboxError::unsupported("missing root overlay"))?;
    attach_first(root.as_fd()).at(Stage::MountOverlay, &first.at)?;
    let mut root = Root { fd: root, overlays: Vec::new(), is_bundles: false };
    for (overlay, mount) in more.iter().zip(mounts) {
        let target = root.target(&overlay.at, Kind::Directory, ResolveFlags::empty())?;
        attach(mount.as_fd(), target.as_fd()).at(Stage::MountOverlay, &overlay.at)?;
        root.overlays.push(mount);
    }
    Ok(root)
}

/// One overlay, detached. It is volatile: what a container writes to its root goes with the pod, so nothing of
/// it is flushed, and no container's end waits until the whole disk is. The layers are named by descriptor
/// from /proc/self/fd as working directory: no path is resolved by the kernel a second time, and the names
/// are short. No device in it can be opened: a root is hostile, and /dev is a file system of its own.
fn mount_overlay(overlay: &Overlay, user: Option<BorrowedFd<'_>>) -> Result<OwnedFd, SandboxError> {
    let Layers { lower: layers, upper, work, covers } = Layers::open(overlay, user)?;
    let mount = || {
        forget_last_mount(work.as_fd())?;
        rustix::process::chdir("/proc/self/fd")?;
        let mounted = match new_mount(&layers, &upper, &work) {
            // Linux 6.8 takes more layers than fit into the 255 bytes of one option; before it mount(2) does.
            Err(Errno::INVAL) if names(&layers).len() > OPTION_MAX => {
                old_mount(&layers, overlay, &work)?
            }
            mounted => mounted?,
        };
        covers.uncover()?;
        Ok::<_, Errno>(mounted)
    };
    mount().at(Stage::MountOverlay, &overlay.at)
}

/// Bytes of one option of fsconfig.
const OPTION_MAX: usize = 255;

/// Descriptors of layers as overlayfs reads a list of them.
fn names(layers: &[OwnedFd]) -> String {
    let mut names = String::new();
    for layer in layers {
        // Writing to a String cannot fail.
        let _ = write!(names, "{}{}", if names.is_empty() { "" } else { ":" }, layer.as_raw_fd());
    }
    names
}

fn new_mount(layers: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", "podspec")?;
    let lower = names(layers);
    if lower.len() <= OPTION_MAX {
        rustix::mount::fsconfig_set_string(&context, "lowerdir", &lower)?;
    } else {
        for layer in layers {
            let name = layer.as_raw_fd().to_string();
            rustix::mount::fsconfig_set_string(&context, "lowerdir+", name)?;
        }
    }
    rustix::mount::fsconfig_set_string(&context, "upperdir", upper.as_raw_fd().to_string())?;
    rustix::mount::fsconfig_set_string(&context, "workdir", work.as_raw_fd().to_string())?;
    rustix::mount::fsconfig_set_flag(&context, "volatile")?;
    rustix::mount::fsconfig_create(&context)?;
    let attr = MountAttrFlags::MOUNT_ATTR_NODEV;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// By mount(2), whose options may fill a page: for a moment over the upper directory, of which a detached copy
/// is taken. This process's mount namespace is its own.
fn old_mount(layers: &[OwnedFd], overlay: &Overlay, work: &OwnedFd) -> Result<OwnedFd, Errno> {
    let upper = rustix::fs::openat(CWD, &overlay.upper, PATH_ONLY, Mode::empty())?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        names(layers),
        upper.as_raw_fd(),
        work.as_raw_fd()
    );
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::NODEV;
    rustix::mount::mount("podspec", &overlay.upper, "overlay", flags, Some(options.as_c_str()))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = rustix::mount::open_tree(CWD, &overlay.upper, flags);
    rustix::mount::unmount(&overlay.upper, UnmountFlags::DETACH)?;
    copy
}

/// A volatile overlay (overlayfs.rst) leaves a mark in its work directory, so that nobody trusts after a
/// crash what was never flushed. Here nothing is ever kept beyond a crash: it is the mark of the last run.
fn forget_last_mount(work: BorrowedFd<'_>) -> Result<(), Errno> {
    let marks = [
        ("work/incompat/volatile/dirty", AtFlags::empty()),
        ("work/incompat/volatile", AtFlags::REMOVEDIR),
        ("work/incompat", AtFlags::REMOVEDIR),
    ];
    for (mark, kind) in marks {
        match rustix::fs::unlinkat(work, mark, kind) {
            Err(Errno::NOENT) => return Ok(()),
            removed => removed?,
        }
    }
    Ok(())
}

/// Puts a detached mount onto the place that `target` is.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags)
}

/// Covers a directory of this mount namespace.
pub(super) fn attach_over(mount: BorrowedFd<'_>, at: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Covers `/`, which this process goes on seeing as it was until it pivots.
pub(super) fn attach_over_root(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    attach_over(mount, Path::new("/"))
}

/// Makes `root` the root of the mount namespace and lets go of everything that was there before.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let change = || {
        rustix::process::fchdir(root)?;
        rustix::process::pivot_root(".", ".")?;
        // The old root now lies over the new one (pivot_root(2)).
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    change().at(Stage::Pivot, "the rootfs")
}

/// Changes into `path`, inside the root whatever it is made of; `make` it where it is missing.
pub(super) fn change_directory(root: &Root, path: &Path, make: bool) -> Result<(), SandboxError> {
    let nothing = ResolveFlags::empty();
    let change = || {
        let directory = if make {
            root.make_directory(path, nothing, 0)?
        } else {
            root.open(path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty(), nothing)?
        };
        rustix::process::fchdir(&directory)?;
        // The kernel writes "(unreachable)" before a directory that is not below the root.
        if rustix::process::getcwd(Vec::new())?.to_bytes().first() != Some(&b'/') {
            return Err(Errno::XDEV);
        }
        Ok(())
    };
    change().at(Stage::WorkingDirectory, path)
}

/// The root as this process sees it after `pivot` or setns.
pub(super) fn current() -> Result<Root, SandboxError> {
    let fd = rustix::fs::openat(CWD, "/", PATH_ONLY | OFlags::DIRECTORY, Mode::empty());
    Ok(Root { fd: fd.at(Stage::Pivot, "/")?, overlays: Vec::new(), is_bundles: false })
}

/// The type and the device number of what a descriptor is.
pub(super) fn status(fd: BorrowedFd<'_>) -> Result<rustix::fs::Stat, Errno> {
    rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)
}

/// What a mount of it has to lie on.
pub(super) fn kind_of(source: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let is_directory = FileType::from_raw_mode(status(source)?.st_mode) == FileType::Directory;
    Ok(if is_directory { Kind::Directory } else { Kind::File })
}

#[cfg(test)]
mod tests {
    use super::super::layers::open_layer;
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::fs;

    /// On a thread with mounts and a working directory of its own.
    fn with_layers(count: usize, test: impl FnOnce(&Overlay, Vec<OwnedFd>) + Send) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/tmp")
            .join(format!("overlay-{count}-{}", std::process::id()));
        let layer = |n: usize| dir.join(format!("a-layer-with-a-long-name-{n}"));
        for n in 0..count {
            fs::create_dir_all(layer(n)).unwrap();
            fs::write(layer(n).join(format!("file-{n}")), n.to_string()).unwrap();
            fs::write(layer(n).join("top"), n.to_string()).unwrap();
        }
        for part in ["upper", "work"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        let overlay = Overlay {
            at: "/".into(),
            lower: (0..count).map(layer).collect(),
            upper: dir.join("upper"),
            work: dir.join("work"),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
                isolate_mounts().unwrap();
                let layers = overlay.lower.iter().map(|path| open_layer(path).unwrap()).collect();
                test(&overlay, layers);
            });
        });
        fs::remove_dir_all(dir).unwrap();
    }

    fn check(mount: &OwnedFd, count: usize) {
        let of =
            |name: &str| fs::read_to_string(format!("/proc/self/fd/{}/{name}", mount.as_raw_fd()));
        assert_eq!(of("top").unwrap(), "0", "the first is the topmost");
        for n in 0..count {
            assert_eq!(of(&format!("file-{n}")).unwrap(), n.to_string());
        }
    }

    #[test]
    fn a_root_may_have_many_layers() {
        for count in [1, 100, 400] {
            with_layers(count, |overlay, _| check(&mount_overlay(overlay, None).unwrap(), count));
        }
    }

    #[test]
    fn and_as_many_where_the_kernel_is_old() {
        with_layers(120, |overlay, layers| {
            let work = open_layer(&overlay.work).unwrap();
            rustix::process::chdir("/proc/self/fd").unwrap();
            let mount = old_mount(&layers, overlay, &work).unwrap();
            check(&mount, 120);
            let below = fs::read_dir(&overlay.upper).unwrap().count();
            assert_eq!(below, 0, "the mount is gone from where it was for a moment");
        });
    }
}
