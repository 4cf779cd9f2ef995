//! The sink that writes files. What is made has a name of its own until it is whole, and then takes the
//! place of whatever has its name: nothing is written through a link, into a FIFO or a device, or into a
//! file that somebody else has open.

use super::place::Target;
use super::walk::Sink;
use super::{CopyError, Meta, Owner};
use crate::sys::paths::reopen;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A file whose size says nothing, as those of /proc, is read up to here.
const UNSIZED_MOST: u64 = 16 << 20;

pub(super) struct Tree<'a> {
    /// The directories that were entered, outermost first.
    within: Vec<OwnedFd>,
    owner: Owner<'a>,
    /// Makes names that nobody has.
    made: u32,
}

impl<'a> Tree<'a> {
    pub(super) fn begin(target: &Target, owner: Owner<'a>) -> Result<Self, CopyError> {
        let top = target.directory.try_clone().map_err(|source| CopyError::File {
            what: "open",
            path: target.path.clone(),
            source,
        })?;
        Ok(Self { within: vec![top], owner, made: 0 })
    }

    fn here(&self) -> Result<&OwnedFd, Errno> {
        self.within.last().ok_or(Errno::BADF)
    }

    /// Makes a file under this name, with what `fill` writes to it.
    pub(super) fn put(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        fill: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let here = self.here()?.try_clone().map_err(|_| Errno::MFILE)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let (own, file) = self.own_name(|own| {
            rustix::fs::openat(&here, own, flags | OFlags::NOFOLLOW, Mode::from_raw_mode(0o600))
        })?;
        let put = fill(file.as_fd())
            .and_then(|()| self.dress(file.as_fd(), meta))
            .and_then(|()| take_place(&here, &own, name, file.as_fd()));
        if put.is_err() {
            let _ = rustix::fs::unlinkat(&here, &own, AtFlags::empty());
        }
        put
    }

    pub(super) fn put_link(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        target: &CStr,
    ) -> Result<(), Errno> {
        let here = self.here()?.try_clone().map_err(|_| Errno::MFILE)?;
        let (own, ()) = self.own_name(|own| rustix::fs::symlinkat(target, &here, own))?;
        let (uid, gid) = self.owner_of(meta);
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        let put = rustix::fs::chownat(&here, &own, uid, gid, no_follow)
            .and_then(|()| rustix::fs::utimensat(&here, &own, &times(meta), no_follow))
            .and_then(|()| rustix::fs::renameat(&here, &own, &here, name));
        if put.is_err() {
            let _ = rustix::fs::unlinkat(&here, &own, AtFlags::empty());
        }
        put
    }

    fn own_name<T>(
        &mut self,
        make: impl Fn(&OsStr) -> Result<T, Errno>,
    ) -> Result<(OsString, T), Errno> {
        let mut tries = 0;
        loop {
            self.made = self.made.wrapping_add(1);
            let name = format!(".podspec-cp-{}-{}", std::process::id(), self.made);
            match make(OsStr::new(&name)) {
                Err(Errno::EXIST) if tries < 1000 => tries += 1,
                made => return made.map(|made| (name.into(), made)),
            }
        }
    }

    /// The directory of this name, made where it is missing; a link in its place is none.
    pub(super) fn directory(&self, name: &OsStr) -> Result<OwnedFd, Errno> {
        let here = self.here()?;
        match rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(here, name, flags, Mode::empty())
    }

    /// Owner, mode, attributes and time. The owner first: to change it clears bits of the mode, and capabilities.
    pub(super) fn dress(&self, fd: BorrowedFd<'_>, meta: &Meta) -> Result<(), Errno> {
        let (uid, gid) = self.owner_of(meta);
        let mode = match self.owner {
            Owner::Keep { .. } => meta.mode,
            Owner::As { .. } => meta.mode & !0o6000,
        };
        rustix::fs::fchown(fd, uid, gid)?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
        meta.attributes.give(fd, matches!(self.owner, Owner::Keep { .. }))?;
        rustix::fs::futimens(fd, &times(meta))
    }

    fn owner_of(&self, meta: &Meta) -> (Option<Uid>, Option<Gid>) {
        let (uid, gid) = match self.owner {
            Owner::Keep { from, to } => {
                let (uid, gid) = from.inside(meta.uid, meta.gid);
                to.owner(uid, gid)
            }
            Owner::As { uid, gid } => (uid, gid),
        };
        (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    }
}

fn times(meta: &Meta) -> Timestamps {
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    Timestamps { last_access: now, last_modification: meta.modified }
}

/// Gives a whole file its name. One that is a mount of its own (/etc/hosts of a container) cannot be
/// replaced, and is written instead.
fn take_place(
    here: &OwnedFd,
    own: &OsStr,
    name: &OsStr,
    file: BorrowedFd<'_>,
) -> Result<(), Errno> {
    match rustix::fs::renameat(here, own, here, name) {
        Err(Errno::BUSY) => {}
        other => return other,
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mounted = rustix::fs::openat(here, name, flags, Mode::empty())?;
    let stat = super::place::status(mounted.as_fd())?;
    if super::place::kind(&stat) != FileType::RegularFile {
        return Err(Errno::BUSY);
    }
    let mounted = reopen(mounted.as_fd(), OFlags::WRONLY | OFlags::TRUNC)?;
    let size = rustix::fs::fstat(file)?.st_size;
    copy_content(file, mounted.as_fd(), size.try_into().unwrap_or(0))?;
    rustix::fs::unlinkat(here, own, AtFlags::empty())
}

/// As much as the file had when it was looked at, holes as holes.
pub(super) fn copy_content(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    size: u64,
) -> Result<(), Errno> {
    if size == 0 {
        return copy_range(from, to, 0..UNSIZED_MOST).map(drop);
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(data)).unwrap_or(size).clamp(data, size);
        let reached = copy_range(from, to, data..end)?;
        if reached < end {
            // It has become shorter since.
            return rustix::fs::ftruncate(to, reached);
        }
        at = end;
    }
    rustix::fs::ftruncate(to, size)
}

/// Up to where it came.
fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    range: std::ops::Range<u64>,
) -> Result<u64, Errno> {
    let mut bite = vec![0; 128 * 1024];
    let mut at = range.start;
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(bite.len());
        let read = match rustix::io::pread(from, &mut bite[..most], at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        let mut rest = &bite[..read];
        while !rest.is_empty() {
            match rustix::io::pwrite(to, rest, at) {
                Ok(written) => {
                    rest = &rest[written..];
                    at += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(at)
}

impl Sink for Tree<'_> {
    fn enter(&mut self, name: &OsStr, _meta: &Meta, path: &Path) -> Result<(), CopyError> {
        let directory = self
            .directory(name)
            .map_err(|errno| CopyError::file("make the directory for", path, errno))?;
        self.within.push(directory);
        Ok(())
    }

    fn leave(&mut self, meta: &Meta, path: &Path) -> Result<(), CopyError> {
        let error = |errno| CopyError::file("set owner, mode and time of the copy of", path, errno);
        let directory = self.within.pop().ok_or(Errno::BADF).map_err(error)?;
        self.dress(directory.as_fd(), meta).map_err(error)
    }

    fn file(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        content: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(), CopyError> {
        self.put(name, meta, &mut |to| copy_content(content, to, meta.size))
            .map_err(|errno| CopyError::file("copy", path, errno))
    }

    fn link(
        &mut self,
        name: &OsStr,
        meta: &Meta,
        target: &CStr,
        path: &Path,
    ) -> Result<(), CopyError> {
        self.put_link(name, meta, target)
            .map_err(|errno| CopyError::file("copy the link", path, errno))
    }
}
