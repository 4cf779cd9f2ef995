//! Tar, either way: a sink that packs what it is told, and unpacking into a container's root.

use super::attributes::Attributes;
use super::place::{ANY, DIRECTORY, Place, Source, Target, kind, status};
use super::tree::Tree;
use super::walk::{self, Sink};
use super::{CopyError, Meta, Owner, Skipped};
use crate::sys::ids::Maps;
use crate::sys::paths::reopen;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder, EntryType, Header};

/// Writes a tree or a file as an archive, with the owners that whoever has these ids sees.
pub fn pack(source: &Source, ids: &Maps, to: impl Write) -> Result<Vec<Skipped>, CopyError> {
    let mut sink = Pack { archive: Builder::new(to), within: PathBuf::new(), ids };
    let skipped = if source.is_contents() {
        walk::children(source, &mut sink)?
    } else {
        walk::whole(source, source.name(), &mut sink)?
    };
    let written = sink.archive.into_inner().and_then(|mut to| to.flush());
    written.map_err(|source| CopyError::WriteArchive { source })?;
    Ok(skipped)
}

struct Pack<'a, W: Write> {
    archive: Builder<W>,
    within: PathBuf,
    ids: &'a Maps,
}

impl<W: Write> Pack<'_, W> {
    fn header(&self, meta: &Meta, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        let (uid, gid) = self.ids.inside(meta.uid, meta.gid);
        header.set_entry_type(kind);
        header.set_mode(meta.mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(meta.modified.tv_sec.try_into().unwrap_or(0));
        header.set_size(size);
        header
    }

    /// In front of the entry that has them.
    fn attributes(&mut self, meta: &Meta) -> Result<(), CopyError> {
        let records = meta.attributes.records();
        let records = records.iter().map(|(key, value)| (key.as_str(), *value));
        self.archive.append_pax_extensions(records).map_err(cannot_write)
    }
}

fn cannot_write(source: io::Error) -> CopyError {
    CopyError::WriteArchive { source }
}

impl<W: Write> Sink for Pack<'_, W> {
    fn enter(&mut self, name: &OsStr, meta: &Meta, _path: &Path) -> Result<(), CopyError> {
        self.within.push(name);
        self.attributes(meta)?;
        let mut header = self.header(meta, EntryType::Directory, 0);
        // A directory's name ends with a slash.
        let name = self.within.join("");
        self.archive.append_data(&mut header, name, io::empty()).map_err(cannot_write)
    }

    fn leave(&mut self, _meta: &Meta, _path: &Path) -> Result<(), CopyError> {
        self.within.pop();
        Ok(())
    }

    fn file(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        content: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(), CopyError> {
        let error = |source| CopyError::File { what: "read", path: path.to_owned(), source };
        self.attributes(meta)?;
        let mut header = self.header(meta, EntryType::Regular, meta.size);
        // The archive says how long it is before its content comes: it may change as it likes meanwhile.
        let content = std::fs::File::from(content.try_clone_to_owned().map_err(error)?);
        let exactly = content.chain(io::repeat(0)).take(meta.size);
        self.archive.append_data(&mut header, self.within.join(name), exactly).map_err(cannot_write)
    }

    fn link(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        target: &CStr,
        _path: &Path,
    ) -> Result<(), CopyError> {
        let mut header = self.header(meta, EntryType::Symlink, 0);
        let target = OsStr::from_bytes(target.to_bytes());
        self.archive.append_link(&mut header, self.within.join(name), target).map_err(cannot_write)
    }
}

/// Unpacks an archive into a directory of `place`. Links that are there are followed as the container
/// itself would, inside its root.
pub fn unpack(
    from: impl Read,
    place: &Place,
    target: &Path,
    owner: Owner<'_>,
) -> Result<Vec<Skipped>, CopyError> {
    let reading = |source| CopyError::ReadArchive { source };
    let top = Target::directory(place, target)?;
    let mut unpack = Unpack { place, target, owner, directories: Vec::new(), skipped: Vec::new() };
    let mut archive = Archive::new(from);
    for entry in archive.entries().map_err(reading)? {
        unpack.entry(&mut entry.map_err(reading)?, &top)?;
    }
    unpack.finish()
}

struct Unpack<'a> {
    place: &'a Place,
    target: &'a Path,
    owner: Owner<'a>,
    /// Get their times at the end: what is made in them changes those.
    directories: Vec<(PathBuf, Meta)>,
    skipped: Vec<Skipped>,
}

impl Unpack<'_> {
    fn entry(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        top: &Target,
    ) -> Result<(), CopyError> {
        let named = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let inside = below(&named)?;
        let mut meta = meta(entry.header()).map_err(|source| CopyError::ReadArchive { source })?;
        meta.attributes = attributes(entry)?;
        let Some(name) = inside.file_name().map(OsStr::to_owned) else {
            // The directory itself, as `tar -C DIR .` has it.
            self.directories.push((PathBuf::new(), meta));
            return Ok(());
        };
        let error = |errno| CopyError::file("unpack", &named, errno);
        let parent = inside.parent().unwrap_or(Path::new(""));
        let parent = Target {
            directory: self.make_directories(parent).map_err(error)?,
            name: None,
            path: top.path.clone(),
        };
        let mut tree = Tree::begin(&parent, self.owner)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                self.make_directories(&inside).map_err(error)?;
                self.directories.push((inside, meta));
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                tree.put(&name, &meta, &mut |to| fill(entry, to)).map_err(error)
            }
            EntryType::Symlink => {
                let link = entry.link_name_bytes().unwrap_or_default();
                let link = CString::new(link.as_ref()).map_err(|_| error(Errno::INVAL))?;
                tree.put_link(&name, &meta, &link).map_err(error)
            }
            EntryType::Link => {
                let other = entry.link_name_bytes().unwrap_or_default();
                let other = below(Path::new(OsStr::from_bytes(&other)))?;
                self.hard_link(&other, &parent.directory, &name).map_err(error)
            }
            EntryType::Fifo => self.skip(named, "FIFO"),
            EntryType::Char | EntryType::Block => self.skip(named, "device"),
            _ => self.skip(named, "thing of unknown kind"),
        }
    }

    fn skip(&mut self, path: PathBuf, kind: &'static str) -> Result<(), CopyError> {
        self.skipped.push(Skipped { path, kind });
        Ok(())
    }

    /// mkdir -p below the target.
    fn make_directories(&self, inside: &Path) -> Result<OwnedFd, Errno> {
        let mut path = self.target.to_owned();
        let mut directory = self.place.open(&path, DIRECTORY)?;
        for name in inside.components() {
            path.push(name);
            directory = match self.place.open(&path, DIRECTORY) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&directory, name.as_os_str(), Mode::from_raw_mode(0o755))?;
                    self.place.open(&path, DIRECTORY)?
                }
                other => other?,
            };
        }
        Ok(directory)
    }

    /// Another name for a file that is there.
    fn hard_link(&self, other: &Path, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let file = self.place.open(&self.target.join(other), ANY | OFlags::NOFOLLOW)?;
        if kind(&status(file.as_fd())?) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        // What was opened, whatever has its name by now.
        let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, opened, parent, name, AtFlags::SYMLINK_FOLLOW)
    }

    fn finish(self) -> Result<Vec<Skipped>, CopyError> {
        let top = Target::directory(self.place, self.target)?;
        let tree = Tree::begin(&top, self.owner)?;
        for (inside, meta) in self.directories.iter().rev() {
            let path = self.target.join(inside);
            let dress = || {
                let directory = self.place.open(&path, DIRECTORY)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                tree.dress(reopen(directory.as_fd(), flags)?.as_fd(), meta)
            };
            dress()
                .map_err(|errno| CopyError::file("set owner, mode and time of", &path, errno))?;
        }
        Ok(self.skipped)
    }
}

/// The names of an entry's path, without what leads to the root; none may climb.
fn below(named: &Path) -> Result<PathBuf, CopyError> {
    let mut inside = PathBuf::new();
    for part in named.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(CopyError::Climbs { path: named.to_owned() });
            }
        }
    }
    Ok(inside)
}

fn meta(header: &Header) -> io::Result<Meta> {
    Ok(Meta {
        mode: header.mode()? & 0o7777,
        uid: u32::try_from(header.uid()?).map_err(io::Error::other)?,
        gid: u32::try_from(header.gid()?).map_err(io::Error::other)?,
        modified: Timespec { tv_sec: header.mtime()?.try_into().unwrap_or(0), tv_nsec: 0 },
        size: header.size()?,
        attributes: Attributes::default(),
    })
}

fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> Result<Attributes, CopyError> {
    let reading = |source| CopyError::ReadArchive { source };
    let mut found = Attributes::default();
    for record in entry.pax_extensions().map_err(reading)?.into_iter().flatten() {
        let record = record.map_err(reading)?;
        if let Ok(key) = record.key() {
            found.take_record(key, record.value_bytes());
        }
    }
    Ok(found)
}

fn fill(from: &mut impl Read, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let failed =
        |error: io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    let mut to = std::fs::File::from(to.try_clone_to_owned().map_err(failed)?);
    io::copy(from, &mut to).map(drop).map_err(failed)
}
