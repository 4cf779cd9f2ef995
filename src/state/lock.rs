//! Who may change what: byte-range locks of one open file description (`fcntl(2)`, F_OFD_SETLK) in a
//! file that is never unlinked, for an unlinked lock file has two holders. The kernel lets go of them
//! when the last copy of the descriptor is closed, so no kill leaves one behind.

use super::StateError;
use crate::names::{PodName, digest};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a lock is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range<'a> {
    /// Leases, the bridge and the port maps.
    Network,
    /// Bringing one pod up or down.
    Pod(&'a PodName),
    /// Held by a pod's supervisor as long as it lives.
    Life(&'a PodName),
}

impl Range<'_> {
    /// The byte that stands for it. Two names on one byte only wait for each other.
    fn byte(self) -> i64 {
        let of = |kind: &[u8], pod: &PodName| {
            let hash = digest(&[kind, pod.as_str().as_bytes()]);
            let mut word = [0; 8];
            word.copy_from_slice(&hash[..8]);
            // Offsets are signed; byte 0 is the network's.
            (i64::from_le_bytes(word) & 0x3fff_ffff_ffff_ffff).max(1)
        };
        match self {
            Range::Network => 0,
            Range::Pod(pod) => of(b"pod", pod),
            Range::Life(pod) => of(b"life", pod),
        }
    }

    fn flock(self, kind: i32) -> libc::flock {
        libc::flock {
            l_type: i16::try_from(kind).unwrap_or(0),
            l_whence: i16::try_from(libc::SEEK_SET).unwrap_or(0),
            l_start: self.byte(),
            l_len: 1,
            // fcntl(2): must be 0 for locks of an open file description.
            l_pid: 0,
        }
    }
}

/// Locks held together and passed on together.
#[derive(Debug)]
pub struct Locks {
    file: File,
    path: PathBuf,
}

impl Locks {
    /// Opens `RUN/lock`, which holds nothing yet.
    pub fn open(run: &Path) -> Result<Self, StateError> {
        let path = run.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|source| StateError::Lock { path: path.clone(), source })?;
        Ok(Self { file, path })
    }

    /// Takes over locks that came as a descriptor from another process.
    pub fn adopt(fd: OwnedFd) -> Self {
        Self { file: File::from(fd), path: PathBuf::from("lock") }
    }

    /// Waits until the range is ours.
    pub fn take(&self, range: Range<'_>) -> Result<(), StateError> {
        let lock = range.flock(libc::F_WRLCK);
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&lock)) {
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(self.error(errno)),
            }
        }
    }

    /// Takes the range if nobody has it.
    pub fn try_take(&self, range: Range<'_>) -> Result<bool, StateError> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range.flock(libc::F_WRLCK))) {
            Ok(_) => Ok(true),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
            Err(errno) => Err(self.error(errno)),
        }
    }

    /// Lets go of the range, for every process that has this descriptor.
    pub fn release(&self, range: Range<'_>) -> Result<(), StateError> {
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range.flock(libc::F_UNLCK)))
            .map(drop)
            .map_err(|errno| self.error(errno))
    }

    /// Whether somebody else holds the range.
    pub fn is_held(&self, range: Range<'_>) -> Result<bool, StateError> {
        let mut lock = range.flock(libc::F_WRLCK);
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(|errno| self.error(errno))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    fn error(&self, errno: nix::errno::Errno) -> StateError {
        StateError::Lock { path: self.path.clone(), source: errno.into() }
    }
}

impl AsFd for Locks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_one_holder_and_ranges_do_not_meet() {
        let run = tempdir();
        let (shop, blog) = ("shop".parse().unwrap(), "blog".parse().unwrap());
        let mine = Locks::open(&run).unwrap();
        let theirs = Locks::open(&run).unwrap();
        mine.take(Range::Pod(&shop)).unwrap();
        assert!(!theirs.try_take(Range::Pod(&shop)).unwrap(), "two holders of one pod");
        assert!(theirs.is_held(Range::Pod(&shop)).unwrap());
        assert!(theirs.try_take(Range::Pod(&blog)).unwrap(), "another pod's lock is free");
        assert!(theirs.try_take(Range::Life(&shop)).unwrap(), "a pod's life is another range");
        mine.release(Range::Pod(&shop)).unwrap();
        assert!(theirs.try_take(Range::Pod(&shop)).unwrap());
    }

    #[test]
    fn a_copy_of_the_descriptor_keeps_the_lock() {
        let run = tempdir();
        let mine = Locks::open(&run).unwrap();
        mine.take(Range::Network).unwrap();
        let passed_on = Locks::adopt(mine.as_fd().try_clone_to_owned().unwrap());
        drop(mine);
        let theirs = Locks::open(&run).unwrap();
        assert!(theirs.is_held(Range::Network).unwrap());
        drop(passed_on);
        assert!(!theirs.is_held(Range::Network).unwrap());
    }

    fn tempdir() -> PathBuf {
        let name = format!("podspec-lock-{}-{:?}", std::process::id(), std::thread::current().id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}
