//! Byte-range locks of one open file description (`fcntl(2)`, F_OFD_SETLK) in a file that is never unlinked,
//! for an unlinked lock file has two holders. The kernel lets go of them when the last copy of the descriptor
//! is closed, so no kill leaves one behind.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// An open lock file, and the bytes of it that are ours.
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

fn range(kind: i32, byte: i64) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or(0),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: byte,
        l_len: 1,
        // fcntl(2): must be 0 for locks of an open file description.
        l_pid: 0,
    }
}

impl LockFile {
    /// Holds nothing yet.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(path)
            .map(|file| Self { file })
    }

    /// Takes over locks that came as a descriptor from another process.
    pub fn adopt(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }

    /// Waits until the byte is ours alone.
    pub fn take(&self, byte: i64) -> io::Result<()> {
        self.wait(libc::F_WRLCK, byte)
    }

    /// Waits until nobody has the byte alone; others may share it.
    pub fn share(&self, byte: i64) -> io::Result<()> {
        self.wait(libc::F_RDLCK, byte)
    }

    fn wait(&self, kind: i32, byte: i64) -> io::Result<()> {
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&range(kind, byte))) {
                Err(Errno::EINTR) => {}
                other => return other.map(drop).map_err(io::Error::from),
            }
        }
    }

    /// Takes the byte if nobody has it.
    pub fn try_take(&self, byte: i64) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, byte))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets go of the byte, for every process that has this descriptor.
    pub fn release(&self, byte: i64) -> io::Result<()> {
        let lock = range(libc::F_UNLCK, byte);
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)).map(drop).map_err(io::Error::from)
    }

    /// Whether somebody else holds the byte.
    pub fn is_held(&self, byte: i64) -> io::Result<bool> {
        let mut lock = range(libc::F_WRLCK, byte);
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
