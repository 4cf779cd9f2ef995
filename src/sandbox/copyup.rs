//! `tmpcopyup`: a tmpfs that begins with the files of what it covers. Everything goes by descriptors, no link is
//! followed, and what is no file, directory or link stays behind.

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, mkdirat, openat,
    readlinkat, statat, symlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Directories in directories; a root can hold more than a stack.
const DEPTH_MAX: u32 = 64;

/// `from` may be opened for its path alone.
pub(super) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(from, ".", flags, Mode::empty())?;
    copy_directory(from.as_fd(), to, 0)
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(Errno::LOOP.into());
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            copy(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: u32) -> io::Result<()> {
    let status = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let open =
        |flags| openat(from, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(to, name, flags, Mode::empty())?;
            copy_directory(
                open(OFlags::RDONLY | OFlags::DIRECTORY)?.as_fd(),
                made.as_fd(),
                depth + 1,
            )?;
        }
        FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?, to, name)?,
        FileType::RegularFile => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let made = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            // A file that became a FIFO meanwhile is not waited for.
            let mut read = File::from(open(OFlags::RDONLY | OFlags::NONBLOCK)?);
            io::copy(&mut read, &mut File::from(made))?;
        }
        _ => return Ok(()),
    }
    keep_owner(to, name, &status)
}

fn keep_owner(to: BorrowedFd<'_>, name: &CStr, status: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
        // After the owner, whose change takes the set-user-id bit away.
        chmodat(to, name, Mode::from_raw_mode(status.st_mode & 0o7777), AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn files_keep_mode_and_place() {
        let base = std::env::temp_dir().join(format!("podspec-copyup-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("a/b/file"), "text").unwrap();
        fs::set_permissions(from.join("a/b/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("/etc/shadow", from.join("link")).unwrap();
        let open = |path| File::open(path).unwrap();
        copy_up(open(&from).as_fd(), open(&to).as_fd()).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/file")).unwrap(), "text");
        assert_eq!(
            fs::metadata(to.join("a/b/file")).unwrap().permissions().mode() & 0o7777,
            0o4751
        );
        assert_eq!(fs::read_link(to.join("link")).unwrap().to_str(), Some("/etc/shadow"));
        fs::remove_dir_all(base).unwrap();
    }
}
