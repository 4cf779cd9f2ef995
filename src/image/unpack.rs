//! One layer's archive to a directory in overlayfs' own form: what it deletes is a 0/0 device, what it makes
//! anew is opaque. The archive is hostile: every name is resolved by the kernel with the directory as root,
//! what is made is made by one name in a directory that is held, and nothing is written through a link.

use super::OPAQUE;
use super::error::shown;
use super::tar::{Entry, Reader, Skip, Sparse, TarError, read_error};
use crate::sys::paths::open_in_root;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// What the name of a deletion begins with; nothing can be called so.
const WHITEOUT: &[u8] = b".wh.";
/// Entries of one layer: ten times the most that one sees.
pub(super) const ENTRIES_MAX: u64 = 4_000_000;
/// A tree cannot be deeper than a path is long, however its links lead.
const PATH_MAX: usize = 4096;

/// Bytes of the names of directories that are noted: of any image that somebody made for use, a few.
const NOTED_MAX: usize = 32 << 20;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What is wrong with an entry of a layer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("its name leads out of the image by `..`")]
    Climbs,
    #[error("its name has a zero byte in it")]
    Zero,
    #[error("it would take the place of the root directory")]
    Root,
    #[error("it deletes nothing that has a name")]
    Whiteout,
    #[error("it is in a directory whose name says that something is deleted")]
    InWhiteout,
    #[error("its hard link leads to `{0}`, which is no file of this layer")]
    LinkTarget(String),
    #[error("a directory on its way is deeper than a path can be long")]
    TooDeep,
    #[error(
        "it is in one of too many directories that no entry describes, or that something is deleted in"
    )]
    TooManyNoted,
    #[error("its attribute `{0}` would steer overlayfs")]
    Attribute(String),
    #[error("it is of the kind `{0}`, which no image has")]
    Kind(char),
    #[error("cannot {0}")]
    Call(&'static str, #[source] io::Error),
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Tar(#[from] TarError),
    #[error("`{entry}` cannot be unpacked")]
    Entry { entry: String, source: Fault },
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// What there is to know of a layer that was unpacked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Nothing of the layers below is to be seen: overlayfs does not ask this of a root.
    pub opaque: bool,
    /// Directories that entries are in and that no entry describes; the root is an empty path. What they are
    /// like the layers below say, and which those are every image says anew (`inherit.rs`).
    pub implied: BTreeSet<PathBuf>,
    /// Directories, other than the root, that something is deleted in.
    pub deleting: BTreeSet<PathBuf>,
}

trait Call<T> {
    fn call(self, what: &'static str) -> Result<T, Fault>;
}

impl<T> Call<T> for Result<T, Errno> {
    fn call(self, what: &'static str) -> Result<T, Fault> {
        self.map_err(|errno| Fault::Call(what, errno.into()))
    }
}

/// Unpacks into `root`, an empty directory that nobody else writes to. What follows the end of the archive is
/// left in `from`.
pub(super) fn unpack(from: &mut impl Skip, root: BorrowedFd<'_>) -> Result<Unpacked, UnpackError> {
    let mut archive = Reader::new(from);
    let mut tree = Tree {
        root,
        parent: None,
        directories: Vec::new(),
        done: Unpacked { implied: BTreeSet::from([PathBuf::new()]), ..Unpacked::default() },
        noted_bytes: 0,
        buffer: vec![0; 128 << 10],
    };
    while let Some(entry) = archive.next()? {
        tree.done.entries += 1;
        if tree.done.entries > ENTRIES_MAX {
            return Err(UnpackError::TooMany);
        }
        if let Err(problem) = tree.entry(&entry, &mut archive) {
            return Err(match problem {
                // Of the stream, and not of the entry that it was cut in.
                Problem::Content(error) => read_error(error).into(),
                Problem::Entry(source) => UnpackError::Entry {
                    entry: shown(&String::from_utf8_lossy(&entry.name)),
                    source,
                },
            });
        }
    }
    tree.finish();
    Ok(tree.done)
}

enum Problem {
    Entry(Fault),
    Content(io::Error),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Entry(fault)
    }
}

struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// The directory that the last entry was in: mostly the next one is in it, too.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Get their times at the end: what is made in them changes those.
    directories: Vec<(PathBuf, Timespec)>,
    done: Unpacked,
    /// Of the names that were ever noted.
    noted_bytes: usize,
    buffer: Vec<u8>,
}

/// A path without `.` and doubled slashes, below the root.
fn normal(name: &[u8]) -> Result<PathBuf, Fault> {
    if name.contains(&0) {
        return Err(Fault::Zero);
    }
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Fault::Climbs),
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

fn stat(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Fault> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).call("look at what is there"),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A name in a directory that is held, as a path that calls without a descriptor take.
fn path_of(parent: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name)
}

impl Tree<'_> {
    fn entry<R: Skip>(&mut self, entry: &Entry, content: &mut Reader<R>) -> Result<(), Problem> {
        let path = normal(&entry.name)?;
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Ok(self.root_entry(entry)?);
        };
        match parent.iter().find_map(|part| part.as_bytes().strip_prefix(WHITEOUT)) {
            // Book-keeping of aufs: as where it is not below.
            Some(deleted) if deleted.starts_with(WHITEOUT) => return Ok(()),
            Some(_) => return Err(Fault::InWhiteout.into()),
            None => {}
        }
        let parent = self.enter(parent)?;
        let parent = parent.as_fd();
        if let Some(deleted) = name.as_bytes().strip_prefix(WHITEOUT) {
            return Ok(self.whiteout(parent, &path, deleted)?);
        }
        match entry.kind {
            EntryType::Directory => self.directory(parent, name, &path, entry)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.clear(parent, name)?;
                self.file(parent, name, entry, content)?;
            }
            EntryType::Symlink => {
                self.clear(parent, name)?;
                if entry.link.contains(&0) {
                    return Err(Fault::Zero.into());
                }
                let target = OsStr::from_bytes(&entry.link);
                rustix::fs::symlinkat(target, parent, name).call("make the link")?;
                dress_name(parent, name, entry, None)?;
            }
            EntryType::Link => self.hard_link(parent, name, &path, &entry.link)?,
            EntryType::Char => self.special(parent, name, entry, FileType::CharacterDevice)?,
            EntryType::Block => self.special(parent, name, entry, FileType::BlockDevice)?,
            EntryType::Fifo => self.special(parent, name, entry, FileType::Fifo)?,
            other => return Err(Fault::Kind(other.as_byte().into()).into()),
        }
        Ok(())
    }

    /// `.` or `/`: what the root directory itself is like.
    fn root_entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != EntryType::Directory {
            return Err(Fault::Root);
        }
        dress(self.root, entry)?;
        self.done.implied.remove(Path::new(""));
        self.directories.push((PathBuf::new(), entry.modified));
        Ok(())
    }

    /// The directory of this path, made where it is missing; links are followed inside the root.
    fn enter(&mut self, path: &Path) -> Result<OwnedFd, Fault> {
        if let Some((known, fd)) = &self.parent
            && known == path
        {
            return fd.try_clone().map_err(|source| Fault::Call("copy a descriptor", source));
        }
        let fd = match self.open(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => self.make(path)?,
            other => other.call("open the directory that it is in")?,
        };
        let own = rustix::fs::readlinkat(
            rustix::fs::CWD,
            format!("/proc/self/fd/{}", fd.as_raw_fd()),
            Vec::new(),
        );
        match own {
            Ok(own) if own.as_bytes().len() < PATH_MAX - 300 => {}
            Ok(_) | Err(Errno::NAMETOOLONG) => return Err(Fault::TooDeep),
            Err(errno) => return Err(errno).call("find the directory that it is in"),
        }
        let copy = fd.try_clone().map_err(|source| Fault::Call("copy a descriptor", source))?;
        self.parent = Some((path.to_owned(), copy));
        Ok(fd)
    }

    fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        open_in_root(self.root, path, DIRECTORY, Mode::empty(), ResolveFlags::empty())
    }

    /// mkdir -p: what no entry describes is root's, 0755, and noted.
    fn make(&mut self, path: &Path) -> Result<OwnedFd, Fault> {
        let what = "make the directory that it is in";
        let mut made = PathBuf::new();
        let mut fd = self.open(&made).call(what)?;
        for name in path.iter() {
            made.push(name);
            let below = match self.open(&made) {
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    let opaque = match stat(fd.as_fd(), name)? {
                        Some(found) if is_whiteout(&found) => {
                            rustix::fs::unlinkat(&fd, name, AtFlags::empty()).call(what)?;
                            true
                        }
                        // A file, or a link that leads nowhere.
                        Some(_) => return Err(Errno::NOTDIR).call(what),
                        None => false,
                    };
                    rustix::fs::mkdirat(&fd, name, Mode::from_raw_mode(0o755)).call(what)?;
                    let below = self.open(&made).call(what)?;
                    rustix::fs::fchmod(&below, Mode::from_raw_mode(0o755)).call(what)?;
                    if opaque {
                        make_opaque(below.as_fd())?;
                    } else {
                        self.imply(below.as_fd())?;
                    }
                    below
                }
                other => other.call(what)?,
            };
            fd = below;
        }
        Ok(fd)
    }

    /// Where an opened directory is in the layer, without links.
    fn place(&self, directory: BorrowedFd<'_>) -> Result<PathBuf, Fault> {
        let own = |fd: BorrowedFd<'_>| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let path = rustix::fs::readlink(link, Vec::new()).call("find a directory")?;
            Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
        };
        let (root, place) = (own(self.root)?, own(directory)?);
        Ok(place.strip_prefix(&root).unwrap_or(&place).to_owned())
    }

    fn imply(&mut self, directory: BorrowedFd<'_>) -> Result<(), Fault> {
        let place = self.place(directory)?;
        self.afford(&place)?;
        self.done.implied.insert(place);
        Ok(())
    }

    fn delete_in(&mut self, directory: BorrowedFd<'_>) -> Result<(), Fault> {
        let place = self.place(directory)?;
        if place.as_os_str().is_empty() || self.done.deleting.contains(&place) {
            return Ok(());
        }
        self.afford(&place)?;
        self.done.deleting.insert(place);
        Ok(())
    }

    fn afford(&mut self, place: &Path) -> Result<(), Fault> {
        self.noted_bytes += place.as_os_str().len();
        if self.noted_bytes > NOTED_MAX { Err(Fault::TooManyNoted) } else { Ok(()) }
    }

    /// Takes away what has the name; whether there was something.
    fn clear(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Fault> {
        let what = "take away what was there before it";
        let Some(found) = stat(parent, name)? else { return Ok(false) };
        if kind(&found) == FileType::Directory {
            // It may be the one that is remembered, or above it.
            self.parent = None;
            std::fs::remove_dir_all(path_of(parent, name))
                .map_err(|source| Fault::Call(what, source))?;
        } else {
            if kind(&found) == FileType::Symlink {
                self.parent = None;
            }
            rustix::fs::unlinkat(parent, name, AtFlags::empty()).call(what)?;
        }
        Ok(true)
    }

    fn directory(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        entry: &Entry,
    ) -> Result<(), Fault> {
        let there = stat(parent, name)?.is_some_and(|found| kind(&found) == FileType::Directory);
        // What a file or a deletion of this layer stood for is not seen through the directory.
        let opaque = !there && self.clear(parent, name)?;
        if !there {
            let mode = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(parent, name, mode).call("make the directory")?;
        }
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let fd =
            rustix::fs::openat(parent, name, flags, Mode::empty()).call("open the directory")?;
        if opaque {
            make_opaque(fd.as_fd())?;
        }
        dress(fd.as_fd(), entry)?;
        if self.done.implied.len() > 1 {
            let place = self.place(fd.as_fd())?;
            self.done.implied.remove(&place);
        }
        self.directories.push((path.to_owned(), entry.modified));
        Ok(())
    }

    fn file<R: Skip>(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
        content: &mut Reader<R>,
    ) -> Result<(), Problem> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = rustix::fs::openat(parent, name, flags, mode).call("make the file")?;
        match &entry.sparse {
            None => self.fill(file.as_fd(), 0, entry.size, content)?,
            Some(Sparse { real, segments }) => {
                for (at, length) in segments {
                    self.fill(file.as_fd(), *at, *length, content)?;
                }
                rustix::fs::ftruncate(&file, *real).call("set the length of the file")?;
            }
        }
        Ok(dress(file.as_fd(), entry)?)
    }

    fn fill<R: Skip>(
        &mut self,
        file: BorrowedFd<'_>,
        mut at: u64,
        mut left: u64,
        content: &mut Reader<R>,
    ) -> Result<(), Problem> {
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = match content.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(Problem::Content(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Problem::Content(error)),
            };
            let mut rest = &self.buffer[..read];
            while !rest.is_empty() {
                let written = rustix::io::pwrite(file, rest, at).call("write the file")?;
                rest = &rest[written..];
                at += written as u64;
            }
            left -= read as u64;
            self.done.bytes += read as u64;
        }
        Ok(())
    }

    fn special(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), Fault> {
        self.clear(parent, name)?;
        let number = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), number)
            .call("make the device or FIFO")?;
        dress_name(parent, name, entry, Some(mode))
    }

    /// Another name for a file of this layer; a link is not followed, but can have two names itself.
    fn hard_link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        target: &[u8],
    ) -> Result<(), Fault> {
        let no_target = || Fault::LinkTarget(shown(&String::from_utf8_lossy(target)));
        let other = normal(target).map_err(|_| no_target())?;
        let (Some(other_name), Some(other_parent)) = (other.file_name(), other.parent()) else {
            return Err(no_target());
        };
        if other == path {
            return stat(parent, name)?.map(drop).ok_or_else(no_target);
        }
        let directory = match self.open(other_parent) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(no_target()),
            opened => opened.call("open the directory of its target")?,
        };
        let found = stat(directory.as_fd(), other_name)?.ok_or_else(no_target)?;
        if kind(&found) == FileType::Directory || is_whiteout(&found) {
            return Err(no_target());
        }
        let own = stat(parent, name)?;
        if own.is_some_and(|own| (own.st_dev, own.st_ino) == (found.st_dev, found.st_ino)) {
            return Ok(());
        }
        self.clear(parent, name)?;
        let linked = rustix::fs::linkat(&directory, other_name, parent, name, AtFlags::empty());
        // The target was in what has just been taken away.
        if matches!(linked, Err(Errno::NOENT)) { Err(no_target()) } else { linked.call("link it") }
    }

    /// `.wh.NAME` deletes what layers below have under that name, `.wh..wh..opq` all they have in this directory.
    fn whiteout(
        &mut self,
        parent: BorrowedFd<'_>,
        path: &Path,
        deleted: &[u8],
    ) -> Result<(), Fault> {
        match deleted {
            b".wh..opq" => {
                if path.parent().is_some_and(|parent| parent.as_os_str().is_empty()) {
                    self.done.opaque = true;
                }
                return make_opaque(parent);
            }
            // Book-keeping of aufs, which docker leaves out, too.
            other if other.starts_with(WHITEOUT) => return Ok(()),
            b"" | b"." | b".." => return Err(Fault::Whiteout),
            _ => {}
        }
        let name = OsString::from_vec(deleted.to_vec());
        match stat(parent, &name)? {
            // It means layers below: what this one has under the name stays, wherever it stands in the archive.
            Some(found) if kind(&found) == FileType::Directory => {
                let flags = DIRECTORY | OFlags::NOFOLLOW;
                let fd = rustix::fs::openat(parent, &name, flags, Mode::empty())
                    .call("open the directory")?;
                // It and what is in it have nothing below them any more.
                let place = self.place(fd.as_fd())?;
                let below = self.done.implied.range(place.clone()..);
                let below = below.take_while(|path| path.starts_with(&place)).cloned();
                for path in below.collect::<Vec<_>>() {
                    self.done.implied.remove(&path);
                }
                make_opaque(fd.as_fd())
            }
            Some(_) => Ok(()),
            None => {
                let nothing = Mode::empty();
                rustix::fs::mknodat(parent, &name, FileType::CharacterDevice, nothing, 0)
                    .call("note that it deletes something")?;
                self.delete_in(parent)
            }
        }
    }

    /// The times of directories, the deepest first. One that a later entry replaced has none to be set.
    fn finish(&mut self) {
        for (path, modified) in std::mem::take(&mut self.directories).into_iter().rev() {
            if let Ok(fd) = self.open(&path) {
                let _ = rustix::fs::futimens(&fd, &times(modified));
            }
        }
    }
}

fn make_opaque(directory: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
        .call("note that it hides what is below")
}

fn times(modified: Timespec) -> Timestamps {
    Timestamps { last_access: modified, last_modification: modified }
}

/// Owner, attributes, mode and time, in this order: a change of owner takes away setuid and capabilities.
pub(super) fn dress(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::fchown(fd, Some(uid), Some(gid)).call("set its owner")?;
    for (name, value) in attributes(entry)? {
        match rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()) {
            // The file system has none of that kind.
            Err(Errno::OPNOTSUPP) if !name.as_bytes().starts_with(b"security.") => {}
            set => set.call("set an attribute")?,
        }
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).call("set its mode")?;
    rustix::fs::futimens(fd, &times(entry.modified)).call("set its time")
}

/// The same for what cannot be opened: links, devices, FIFOs. `mode` where it has one.
fn dress_name(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    entry: &Entry,
    mode: Option<Mode>,
) -> Result<(), Fault> {
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), no_follow).call("set its owner")?;
    for (key, value) in attributes(entry)? {
        let path = path_of(parent, name);
        match rustix::fs::lsetxattr(path, key, value, XattrFlags::empty()) {
            // user.* is for files and directories alone (xattr(7)).
            Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            set => set.call("set an attribute")?,
        }
    }
    if let Some(mode) = mode {
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).call("set its mode")?;
    }
    rustix::fs::utimensat(parent, name, &times(entry.modified), no_follow).call("set its time")
}

/// Those of its extended attributes that are an image's to set. What labels a file for this machine's own
/// policy is left out (security.selinux, security.ima); what would steer the overlay is an attack.
fn attributes(entry: &Entry) -> Result<Vec<(&OsStr, &[u8])>, Fault> {
    let mut wanted = Vec::new();
    for (name, value) in &entry.xattrs {
        let attack = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if attack || name.contains(&0) {
            return Err(Fault::Attribute(shown(&String::from_utf8_lossy(name))));
        }
        if is_an_images(name) {
            wanted.push((OsStr::from_bytes(name), value.as_slice()));
        }
    }
    Ok(wanted)
}

/// Whether an attribute of this name is an image's to set.
pub(super) fn is_an_images(name: &[u8]) -> bool {
    name == b"security.capability"
        || name.starts_with(b"system.posix_acl_")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}
