//! Files in and out of a root that may be hostile (`podspec cp`). Of a path given by a user every component
//! is resolved by the kernel with the container's root as its root; below that nothing has a path any more:
//! each entry is opened once by its name in the directory that is held, no link is followed, and what was
//! opened is what is read. Whoever swaps a directory for a link meanwhile changes nothing.
//!
//! ```text
//! place.rs   where a copy begins and ends: the host, or a container's root
//! walk.rs    reads a tree, and hands it to a sink
//! tree.rs    the sink that writes files    archive.rs   tar, either way
//! attributes.rs   extended attributes that travel with a file
//! ```

mod archive;
mod attributes;
mod place;
mod tree;
mod walk;

pub use archive::{pack, unpack};
pub use place::{Place, Source, Target};

use attributes::Attributes;

use crate::sys::ids::Maps;
use rustix::fs::{FileType, Stat, Timespec};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a directory", path.display())]
    NotDirectory { path: PathBuf },
    #[error("{} is a {kind}: only files, directories and links are copied", path.display())]
    Special { path: PathBuf, kind: &'static str },
    #[error("{} has more than {} directories in each other", path.display(), walk::DEEPEST)]
    TooDeep { path: PathBuf },
    #[error("{} cannot be copied into itself", path.display())]
    IntoItself { path: PathBuf },
    #[error("the archive names {}, which leads out of the directory", path.display())]
    Climbs { path: PathBuf },
    #[error("cannot read the archive")]
    ReadArchive { source: io::Error },
    #[error("cannot write the archive")]
    WriteArchive { source: io::Error },
}

impl CopyError {
    fn file(what: &'static str, path: &Path, errno: Errno) -> Self {
        Self::File { what, path: path.to_owned(), source: errno.into() }
    }
}

/// Whose what is written becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// Of this user and group; nothing gives its rights to whoever runs it (setuid, setgid).
    As { uid: u32, gid: u32 },
    /// As it was, by number, with all bits of its mode: by the number that each side sees.
    Keep { from: &'a Maps, to: &'a Maps },
}

/// What was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    pub kind: &'static str,
}

/// What travels beside the content.
#[derive(Debug, Clone)]
struct Meta {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: Timespec,
    size: u64,
    attributes: Attributes,
}

impl Meta {
    fn of(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
            size: stat.st_size.try_into().unwrap_or(0),
            attributes: Attributes::default(),
        }
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Directory => "directory",
        FileType::RegularFile => "file",
        FileType::Symlink => "link",
        FileType::Unknown => "thing of unknown kind",
    }
}

/// Copies a tree or a file.
pub fn copy(source: &Source, target: &Target, owner: Owner<'_>) -> Result<Vec<Skipped>, CopyError> {
    if source.is_directory() && target.is_within(source)? {
        return Err(CopyError::IntoItself { path: source.path.clone() });
    }
    let mut tree = tree::Tree::begin(target, owner)?;
    match (source.is_contents(), target.name()) {
        // Into a directory that is there.
        (true, None) => walk::children(source, &mut tree),
        (_, Some(name)) => walk::whole(source, name, &mut tree),
        (false, None) => walk::whole(source, source.name(), &mut tree),
    }
}
