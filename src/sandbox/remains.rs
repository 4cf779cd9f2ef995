//! The root of a container that does not run, to be read: its layers, and what was mounted into them from outside,
//! put together for this process alone. The caller sees to it that the container is not started meanwhile.

use super::Overlay;
use super::error::{At, SandboxError, Stage};
use super::mounts::{self, Place};
use super::namespaces::{self, Namespaces};
use super::root;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What is left of a container.
#[derive(Debug, Clone, Copy)]
pub struct Remains<'a> {
    pub oci: &'a Spec,
    pub overlays: &'a [Overlay],
    /// As [`Order::beneath`](super::Order::beneath).
    pub beneath: &'a BTreeMap<PathBuf, PathBuf>,
}

/// The container's root. From here on the caller, which has no second thread, has a mount namespace of its own. Ids are
/// those of the files: no user namespace is asked for others.
pub fn remains(of: &Remains<'_>) -> Result<OwnedFd, SandboxError> {
    let oci = without_kernel(of.oci);
    let namespaces = Namespaces::of(&oci)?;
    namespaces::unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    root::isolate_mounts()?;
    let listed = oci.mounts().as_deref().unwrap_or(&[]);
    let beneath = of.beneath;
    let sources = mounts::Sources { beneath, user: None, mapped: &[], is_bundles: false };
    let sources = mounts::open_sources(listed, sources)?;
    // Layers are mounted from elsewhere, and what the caller reads and writes next may be named from here.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::open(".", flags, Mode::empty()).at(Stage::WorkingDirectory, ".")?;
    let root = root::assemble(of.overlays, None, root::attach_over_root)?;
    rustix::process::fchdir(&here).at(Stage::WorkingDirectory, ".")?;
    let place = Place { root: &root, namespaces: &namespaces, user: None, legacy: &[] };
    let dev = mounts::mount_all(place, &oci, sources)?;
    let masked = oci.linux().as_ref().and_then(|linux| linux.masked_paths().as_deref());
    if let Some(dev) = dev {
        mounts::mask(&root, dev.mount.as_fd(), masked.unwrap_or(&[]))?;
    }
    Ok(root.into_fd())
}

/// Layers put together as the root of a container would be, on a mount that is nowhere. From here on the caller has a mount
/// namespace of its own, and another working directory.
pub fn merged(overlays: &[Overlay]) -> Result<OwnedFd, SandboxError> {
    namespaces::unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    root::isolate_mounts()?;
    Ok(root::assemble(overlays, None, |_| Ok(()))?.into_fd())
}

/// The document without what a kernel shows to who runs, and without ids of a user namespace.
fn without_kernel(oci: &Spec) -> Spec {
    let is_kept = |mount: &Mount| mounts::is_bind(mount) || mount.typ().as_deref() == Some("tmpfs");
    let mut kept: Vec<Mount> =
        oci.mounts().iter().flatten().filter(|m| is_kept(m)).cloned().collect();
    for mount in &mut kept {
        let options = mount.options().iter().flatten().filter(|word| !word.ends_with("idmap"));
        let options = options.cloned().collect();
        mount.set_options(Some(options));
    }
    let mut oci = oci.clone();
    oci.set_mounts(Some(kept));
    if let Some(mut linux) = oci.linux().clone() {
        linux.set_sysctl(None).set_uid_mappings(None).set_gid_mappings(None);
        oci.set_linux(Some(linux));
    }
    oci
}
