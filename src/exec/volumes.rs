//! Volumes of a pod: made where they are missing, with the parts of them that containers mount. What is there
//! stays as it is.

use super::ExecError;
use super::apply::{mount_tmpfs, write_files};
use crate::plan::step::{VolumeContent, VolumeStep};
use crate::state::store::make_directory;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub(super) fn make(volume: &VolumeStep) -> Result<(), ExecError> {
    let VolumeStep { path, content, parts, .. } = volume;
    match content {
        VolumeContent::Persistent | VolumeContent::Host => make_open_directory(path, 0o755)?,
        VolumeContent::EmptyDir => make_open_directory(path, 0o777)?,
        VolumeContent::Tmpfs { size } => {
            make_directory(path)?;
            mount_tmpfs(path, &format!("mode=1777,size={size}"))?;
        }
        VolumeContent::Files { files } => {
            make_open_directory(path, 0o755)?;
            let files = files.iter().map(|(name, text)| (path.join(name), text.clone()));
            write_files(&files.collect())?;
        }
    }
    parts.iter().try_for_each(|part| {
        make_part(path, part)
            .map_err(|errno| ExecError::WriteFile { path: path.join(part), source: errno.into() })
    })
}

/// Makes a directory that containers' users may enter, in parents that only root may; the mode is what
/// is asked for, whatever the caller's umask.
fn make_open_directory(path: &Path, mode: u32) -> Result<(), ExecError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    let error = |source| ExecError::WriteFile { path: path.to_owned(), source };
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(error),
        Err(problem) if problem.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {
            Ok(())
        }
        Err(source) => Err(error(source)),
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A directory inside a volume, which its parents may be missing of, too; each with owner and mode of the volume
/// itself. Containers of an earlier run may have put links there: none leads out.
fn make_part(volume: &Path, part: &Path) -> Result<(), Errno> {
    let top = rustix::fs::openat(CWD, volume, DIRECTORY, Mode::empty())?;
    let like = rustix::fs::fstat(&top)?;
    let mut at = PathBuf::new();
    let mut directory = top.try_clone().map_err(|_| Errno::MFILE)?;
    for name in part.components() {
        at.push(name);
        directory = match open_beneath(&top, &at) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&directory, name.as_os_str(), Mode::from_raw_mode(0o700))?;
                let made = open_beneath(&top, &at)?;
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(like.st_uid),
                    rustix::fs::Gid::from_raw(like.st_gid),
                );
                rustix::fs::fchown(&made, Some(uid), Some(gid))?;
                rustix::fs::fchmod(&made, Mode::from_raw_mode(like.st_mode & 0o7777))?;
                made
            }
            // A file can be a part, too.
            Err(Errno::NOTDIR) => return Ok(()),
            opened => opened?,
        };
    }
    Ok(())
}

fn open_beneath(top: &OwnedFd, part: &Path) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(top, part, DIRECTORY, Mode::empty(), how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_part_is_made_inside_its_volume_and_nowhere_else() {
        let outer = std::env::temp_dir().join(format!("podspec-parts-{}", std::process::id()));
        let volume = outer.join("v");
        std::fs::create_dir_all(&volume).unwrap();
        std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o751)).unwrap();
        make_part(&volume, Path::new("a/b")).unwrap();
        make_part(&volume, Path::new("a/b/c")).unwrap();
        let mode = |path: &str| volume.join(path).metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("a"), mode("a/b/c")), (0o751, 0o751));
        std::os::unix::fs::symlink("a", volume.join("inside")).unwrap();
        make_part(&volume, Path::new("inside/d")).unwrap();
        assert!(volume.join("a/d").is_dir());
        std::os::unix::fs::symlink("..", volume.join("out")).unwrap();
        assert_eq!(make_part(&volume, Path::new("out/e")), Err(Errno::XDEV));
        assert!(!outer.join("e").exists(), "made outside of the volume");
        std::fs::write(volume.join("file"), "").unwrap();
        make_part(&volume, Path::new("file")).unwrap();
        std::fs::remove_dir_all(&outer).unwrap();
    }
}
