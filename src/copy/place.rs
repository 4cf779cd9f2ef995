//! Where a copy begins and where it ends. On the host a path is the user's own and resolved as ever; in a
//! container it is resolved inside its root.

use super::{CopyError, kind_name};
use crate::sys::paths::open_in_root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// As many links as the kernel follows in one path.
const LINKS_MAX: u32 = 40;

pub(super) const ANY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
pub(super) const DIRECTORY: OFlags = ANY.union(OFlags::DIRECTORY);

/// The host, or a container by its root.
#[derive(Debug)]
pub enum Place {
    Host,
    Root(OwnedFd),
}

impl Place {
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        match self {
            Self::Host => rustix::fs::open(path, flags, Mode::empty()),
            Self::Root(root) => {
                open_in_root(root.as_fd(), path, flags, Mode::empty(), ResolveFlags::empty())
            }
        }
    }
}

pub(super) fn status(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What is copied: opened, and not to be found anew.
#[derive(Debug)]
pub struct Source {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
    /// As the user wrote it, for messages.
    pub(super) path: PathBuf,
    name: OsString,
    contents: bool,
}

impl Source {
    /// A link that the path itself names is followed, links below it are copied. `DIR/.` is what is in it.
    pub fn find(place: &Place, path: &Path) -> Result<Self, CopyError> {
        let error = |errno| CopyError::file("find", path, errno);
        let fd = place.open(path, ANY).map_err(error)?;
        let stat = status(fd.as_fd()).map_err(error)?;
        let is_directory = kind(&stat) == FileType::Directory;
        match kind(&stat) {
            FileType::Directory => {}
            FileType::RegularFile if ends_with_slash(path) => {
                return Err(CopyError::NotDirectory { path: path.to_owned() });
            }
            FileType::RegularFile => {}
            other => {
                return Err(CopyError::Special { path: path.to_owned(), kind: kind_name(other) });
            }
        }
        let bytes = path.as_os_str().as_bytes();
        let dotted = bytes == b"." || bytes.ends_with(b"/.") || path.file_name().is_none();
        Ok(Self {
            fd,
            stat,
            // Without dots.
            path: path.components().collect(),
            name: path.file_name().unwrap_or_default().to_owned(),
            contents: is_directory && dotted,
        })
    }

    pub fn is_directory(&self) -> bool {
        kind(&self.stat) == FileType::Directory
    }

    /// Whether what is in the directory is meant, and not the directory.
    pub(super) fn is_contents(&self) -> bool {
        self.contents
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// Where a copy goes: a name in a directory that is held, or (None) what is in that directory.
#[derive(Debug)]
pub struct Target {
    pub(super) directory: OwnedFd,
    pub(super) name: Option<OsString>,
    /// As the user wrote it, for messages.
    pub(super) path: PathBuf,
}

impl Target {
    /// As cp(1) has it: into a directory that is there, in the place of a file, or under a new name.
    pub fn find(place: &Place, path: &Path, source: &Source) -> Result<Self, CopyError> {
        let error = |errno| CopyError::file("find", path, errno);
        let not_directory = || CopyError::NotDirectory { path: path.to_owned() };
        let found = match place.open(path, ANY) {
            Ok(found) => found,
            Err(Errno::NOENT) if source.is_directory() || !ends_with_slash(path) => {
                return Self::new_name(place, path);
            }
            Err(Errno::NOTDIR) => return Err(not_directory()),
            Err(errno) => return Err(error(errno)),
        };
        let stat = status(found.as_fd()).map_err(error)?;
        match (kind(&stat), source.is_directory()) {
            (FileType::Directory, _) => {
                Ok(Self { directory: found, name: None, path: path.to_owned() })
            }
            (_, true) => Err(not_directory()),
            (FileType::RegularFile, false) => Self::new_name(place, path),
            // To put a file in the place of /dev/null is never what is meant.
            (other, false) => {
                Err(CopyError::Special { path: path.to_owned(), kind: kind_name(other) })
            }
        }
    }

    /// A directory that is there.
    pub fn directory(place: &Place, path: &Path) -> Result<Self, CopyError> {
        match place.open(path, DIRECTORY) {
            Ok(directory) => Ok(Self { directory, name: None, path: path.to_owned() }),
            Err(Errno::NOTDIR) => Err(CopyError::NotDirectory { path: path.to_owned() }),
            Err(errno) => Err(CopyError::file("find", path, errno)),
        }
    }

    /// The name behind the links that the path ends in, in a directory that must be there. What is put
    /// there takes the place of whatever has the name by then, and follows nothing.
    fn new_name(place: &Place, path: &Path) -> Result<Self, CopyError> {
        let error = |errno| CopyError::file("find", path, errno);
        let mut at = path.to_owned();
        for _ in 0..LINKS_MAX {
            let name = at.file_name().ok_or(Errno::NOENT).map_err(error)?.to_owned();
            let parent = match at.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
                _ => PathBuf::from("."),
            };
            let directory = place.open(&parent, DIRECTORY).map_err(error)?;
            match rustix::fs::readlinkat(&directory, &name, Vec::new()) {
                Ok(link) => at = parent.join(OsStr::from_bytes(link.to_bytes())),
                Err(Errno::INVAL | Errno::NOENT) => {
                    return Ok(Self { directory, name: Some(name), path: path.to_owned() });
                }
                Err(errno) => return Err(error(errno)),
            }
        }
        Err(error(Errno::LOOP))
    }

    /// Whether it lies in the source: the copy would find itself on its way.
    pub(super) fn is_within(&self, source: &Source) -> Result<bool, CopyError> {
        let error = |errno| CopyError::file("find", &self.path, errno);
        let identity = |stat: &Stat| (stat.st_dev, stat.st_ino);
        let mut at = rustix::io::dup(&self.directory).map_err(error)?;
        let mut below = None;
        loop {
            let here = identity(&status(at.as_fd()).map_err(error)?);
            if here == identity(&source.stat) {
                return Ok(true);
            }
            // The root is its own parent.
            if below == Some(here) {
                return Ok(false);
            }
            below = Some(here);
            at = rustix::fs::openat(&at, "..", DIRECTORY, Mode::empty()).map_err(error)?;
        }
    }

    pub(super) fn name(&self) -> Option<&OsStr> {
        self.name.as_deref()
    }
}
