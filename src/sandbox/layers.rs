//! The layers of an overlay, opened; where the container has a user namespace, through mounts in which its ids are those
//! of the files.

use super::Overlay;
use super::error::{At, SandboxError, Stage};
use super::root::PATH_ONLY;
use crate::sys::mounts::{MountAttr, mount_setattr};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub(super) struct Layers {
    /// Topmost first.
    pub(super) lower: Vec<OwnedFd>,
    pub(super) upper: OwnedFd,
    pub(super) work: OwnedFd,
    pub(super) covers: Covers,
}

/// Mounts that lie over what they are of, only as long as the overlay is made: it has its own copies then. One that
/// stayed over `/` would be what is let go of in place of the host's root (`pivot`).
pub(super) struct Covers(Vec<OwnedFd>);

impl Covers {
    /// With /proc/self/fd as working directory.
    pub(super) fn uncover(&self) -> Result<(), Errno> {
        let uncover = |cover: &OwnedFd| {
            rustix::mount::unmount(cover.as_raw_fd().to_string(), UnmountFlags::DETACH)
        };
        self.0.iter().rev().try_for_each(uncover)
    }
}

impl Layers {
    pub(super) fn open(
        overlay: &Overlay,
        user: Option<BorrowedFd<'_>>,
    ) -> Result<Self, SandboxError> {
        let lower = overlay.lower.iter().map(|path| &**path);
        let Some(user) = user else {
            return Ok(Self {
                lower: lower.map(open_layer).collect::<Result<_, _>>()?,
                upper: open_layer(&overlay.upper)?,
                work: open_layer(&overlay.work)?,
                covers: Covers(Vec::new()),
            });
        };
        let mut covers = Vec::new();
        let mut layers = Vec::with_capacity(overlay.lower.len());
        for path in lower {
            let layer = map_ids_of(path, user)?;
            covers.push(layer.try_clone().at(Stage::MapLayer, path)?);
            layers.push(layer);
        }
        // Upper and work directory must be reached by one mount: that of the directory they are in.
        let parent = overlay.upper.parent().filter(|at| overlay.work.parent() == Some(*at));
        let parent =
            parent.ok_or_else(|| SandboxError::unsupported("upper layer apart from its work"))?;
        let both = map_ids_of(parent, user)?;
        let open = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            let flags = PATH_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            rustix::fs::openat(&both, name, flags, Mode::empty()).at(Stage::OpenLayer, path)
        };
        let (upper, work) = (open(&overlay.upper)?, open(&overlay.work)?);
        covers.push(both);
        Ok(Self { lower: layers, upper, work, covers: Covers(covers) })
    }
}

pub(super) fn open_layer(path: &Path) -> Result<OwnedFd, SandboxError> {
    rustix::fs::openat(CWD, path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty())
        .at(Stage::OpenLayer, path)
}

/// Covers the directory with a mount of itself in which ids are those of the user namespace. It is attached because
/// before Linux 6.15 an overlay takes no layer of a detached mount; only this process ever sees it.
fn map_ids_of(path: &Path, user: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, path, flags).at(Stage::OpenLayer, path)?;
    let attr = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP,
        propagation: libc::MS_PRIVATE,
        userns: u64::from(user.as_raw_fd().cast_unsigned()),
        ..MountAttr::default()
    };
    mount_setattr(tree.as_fd(), attr, false).at(Stage::MapLayer, path)?;
    let empty_path = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&tree, "", CWD, path, empty_path).at(Stage::MapLayer, path)?;
    Ok(tree)
}
