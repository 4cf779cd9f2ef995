//! Reads a tree: each entry is opened by its name in the directory that is held, without following it, and
//! told to a sink by what was opened.

use super::attributes::Attributes;
use super::place::{ANY, Source, kind, status};
use super::{CopyError, Meta, Skipped, kind_name};
use crate::sys::paths::reopen;
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Each costs descriptors, and nobody needs so many.
pub(super) const DEEPEST: usize = 250;

/// Takes a tree, in order; a directory's entries come between its `enter` and its `leave`.
pub(super) trait Sink {
    fn enter(&mut self, name: &OsStr, meta: &Meta, path: &Path) -> Result<(), CopyError>;
    fn leave(&mut self, meta: &Meta, path: &Path) -> Result<(), CopyError>;
    fn file(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        content: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(), CopyError>;
    fn link(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        target: &CStr,
        path: &Path,
    ) -> Result<(), CopyError>;
}

/// The source itself, under this name.
pub(super) fn whole(
    source: &Source,
    name: &OsStr,
    sink: &mut dyn Sink,
) -> Result<Vec<Skipped>, CopyError> {
    let mut walk = Walk { sink, skipped: Vec::new() };
    walk.entry((source.fd.as_fd(), &source.stat), name, &source.path, 0)?;
    Ok(walk.skipped)
}

/// What is in the source, a directory.
pub(super) fn children(source: &Source, sink: &mut dyn Sink) -> Result<Vec<Skipped>, CopyError> {
    let mut walk = Walk { sink, skipped: Vec::new() };
    walk.children(source.fd.as_fd(), &source.path, 0)?;
    Ok(walk.skipped)
}

struct Walk<'a> {
    sink: &'a mut dyn Sink,
    skipped: Vec<Skipped>,
}

impl Walk<'_> {
    fn entry(
        &mut self,
        (fd, stat): (BorrowedFd<'_>, &Stat),
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), CopyError> {
        let mut meta = Meta::of(stat);
        match kind(stat) {
            FileType::Directory => {
                let listed = list(fd, path)?;
                meta.attributes = attributes(listed.as_fd(), path)?;
                self.sink.enter(name, &meta, path)?;
                self.listed(listed, path, depth + 1)?;
                self.sink.leave(&meta, path)
            }
            FileType::RegularFile => {
                // What was opened, whatever has its name by now.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let content =
                    reopen(fd, flags).map_err(|errno| CopyError::file("read", path, errno))?;
                meta.attributes = attributes(content.as_fd(), path)?;
                self.sink.file(name, &meta, content.as_fd(), path)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(fd, c"", Vec::new())
                    .map_err(|errno| CopyError::file("read the link", path, errno))?;
                self.sink.link(name, &meta, &target, path)
            }
            other => {
                self.skipped.push(Skipped { path: path.to_owned(), kind: kind_name(other) });
                Ok(())
            }
        }
    }

    fn children(
        &mut self,
        directory: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> Result<(), CopyError> {
        self.listed(list(directory, path)?, path, depth)
    }

    fn listed(&mut self, listed: OwnedFd, path: &Path, depth: usize) -> Result<(), CopyError> {
        if depth > DEEPEST {
            return Err(CopyError::TooDeep { path: path.to_owned() });
        }
        let error = |errno| CopyError::file("read the directory", path, errno);
        let directory = listed.try_clone().map_err(|_| error(Errno::MFILE))?;
        for entry in Dir::new(listed).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path: PathBuf = path.join(OsStr::from_bytes(name.to_bytes()));
            let Some((fd, stat)) = open(directory.as_fd(), name, &path)? else { continue };
            let name = OsStr::from_bytes(name.to_bytes());
            self.entry((fd.as_fd(), &stat), name, &path, depth)?;
        }
        Ok(())
    }
}

/// Opens a directory that is held, to be read.
fn list(directory: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, CopyError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, Mode::empty())
        .map_err(|errno| CopyError::file("read the directory", path, errno))
}

fn attributes(fd: BorrowedFd<'_>, path: &Path) -> Result<Attributes, CopyError> {
    Attributes::of(fd).map_err(|errno| CopyError::file("read the attributes of", path, errno))
}

/// `None`: it has gone since it was listed.
fn open(
    directory: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
) -> Result<Option<(OwnedFd, Stat)>, CopyError> {
    let error = |errno| CopyError::file("open", path, errno);
    let fd = match rustix::fs::openat(directory, name, ANY | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(error(errno)),
    };
    let stat = status(fd.as_fd()).map_err(error)?;
    Ok(Some((fd, stat)))
}
