//! Who may change what of the pods: byte ranges of `RUN/lock`.

use super::StateError;
use crate::names::{PodName, digest};
use crate::sys::locks::LockFile;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
}

/// Locks held together and passed on together.
#[derive(Debug)]
pub struct Locks {
    file: LockFile,
    path: PathBuf,
}

impl Locks {
    /// Opens `RUN/lock`, which holds nothing yet.
    pub fn open(run: &Path) -> Result<Self, StateError> {
        let path = run.join("lock");
        let file = LockFile::open(&path)
            .map_err(|source| StateError::Lock { path: path.clone(), source })?;
        Ok(Self { file, path })
    }

    /// Takes over locks that came as a descriptor from another process.
    pub fn adopt(fd: OwnedFd) -> Self {
        Self { file: LockFile::adopt(fd), path: PathBuf::from("lock") }
    }

    /// Waits until the range is ours.
    pub fn take(&self, range: Range<'_>) -> Result<(), StateError> {
        self.file.take(range.byte()).map_err(|source| self.error(source))
    }

    /// Takes the range if nobody has it.
    pub fn try_take(&self, range: Range<'_>) -> Result<bool, StateError> {
        self.file.try_take(range.byte()).map_err(|source| self.error(source))
    }

    /// Lets go of the range, for every process that has this descriptor.
    pub fn release(&self, range: Range<'_>) -> Result<(), StateError> {
        self.file.release(range.byte()).map_err(|source| self.error(source))
    }

    /// Whether somebody else holds the range.
    pub fn is_held(&self, range: Range<'_>) -> Result<bool, StateError> {
        self.file.is_held(range.byte()).map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> StateError {
        StateError::Lock { path: self.path.clone(), source }
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
