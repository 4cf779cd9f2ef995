//! Running a program from a descriptor: podspec's own binary from a detached read-only clone of its file, and
//! small embedded programs from a sealed memfd. Neither can be written through /proc/PID/exe.
#![allow(unsafe_code)]

use crate::sys::mounts::{MountAttr, mount_setattr};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mount::OpenTreeFlags;
use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Where execvp looks, too, when there is no PATH, and where an administrator's programs are.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const OWN: &CStr = c"/proc/self/exe";

/// A detached read-only clone of the running binary, for `exec_fd`.
pub fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match rustix::mount::open_tree(CWD, OWN, flags) {
        Ok(clone) => {
            let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
            mount_setattr(clone.as_fd(), MountAttr { set, ..MountAttr::default() }, false)?;
            Ok(clone)
        }
        // The running binary is itself on a mount outside of this namespace: a clone made before (sealed
        // already), or something else, which is then copied.
        Err(rustix::io::Errno::INVAL) => {
            let own = rustix::fs::open(OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let read_only = rustix::fs::StatVfsMountFlags::RDONLY;
            if rustix::fs::fstatvfs(&own)?.f_flag.contains(read_only) {
                return Ok(own);
            }
            sealed_memfd(c"podspec", &std::fs::read("/proc/self/exe")?)
        }
        Err(e) => Err(e.into()),
    }
}

/// Starts this program again from a clone of itself that nobody can write, unless it runs from such a one. Its
/// arguments and environment stay; returns only where nothing is to be done, or to say why it could not.
pub fn seal(argv: &[CString], env: &[CString]) -> io::Result<()> {
    let own = rustix::fs::open(OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let read_only = rustix::fs::StatVfsMountFlags::RDONLY;
    let is_memfd = || {
        let name = rustix::fs::readlinkat(CWD, OWN, Vec::new());
        name.is_ok_and(|name| name.to_bytes().starts_with(b"/memfd:"))
    };
    if rustix::fs::fstatvfs(&own)?.f_flag.contains(read_only) || is_memfd() {
        return Ok(());
    }
    Err(exec_fd(sealed_copy()?.as_fd(), argv, env))
}

/// An executable memfd that nobody can change any more.
pub fn sealed_memfd(name: &CStr, content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // MFD_EXEC is of Linux 6.3; before, every memfd was executable and the flag unknown.
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    let mut file = std::fs::File::from(fd);
    file.write_all(content)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Replaces this process by the program behind `fd`; returns only to say why it could not.
pub fn exec_fd(fd: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to C strings that live through the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Replaces this process by the program at `path`; returns only to say why it could not.
pub fn exec_path(path: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: as for exec_fd; `path` is a C string.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sealed_copy_cannot_be_written() {
        let copy = sealed_copy().unwrap();
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let error = std::fs::OpenOptions::new().write(true).open(path).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EROFS | libc::ETXTBSY)), "{error}");
        assert!(
            rustix::fs::fstatvfs(&copy)
                .unwrap()
                .f_flag
                .contains(rustix::fs::StatVfsMountFlags::RDONLY)
        );
    }

    #[test]
    fn the_memfd_is_sealed() {
        let fd = sealed_memfd(c"x", b"content").unwrap();
        assert!(std::fs::File::from(fd).write_all(b"y").is_err());
    }
}
