//! clone3, used like fork: nix and rustix have no birth into a cgroup and no pidfd of the child in one call.
//! The child runs on a copy of the caller's memory and must end in `execve` or `exit_now`; where the
//! caller has other threads it must stay away from locks that these may hold.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which side of the clone this is.
pub enum Cloned {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Wider than the `c_int` that libc has for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` up to `cgroup` (VER2, Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child with the namespaces of `flags` (CLONE_NEW…), born in `cgroup` where one is given.
pub fn clone3(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: u64::from(flags.cast_unsigned()) | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` is valid for its size; without CLONE_VM and with no stack the child continues here on
    // its own copy of everything, as after fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD has just made this descriptor (close-on-exec), and nobody else holds it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// As clone3 without its means, which a filter of system calls may keep from programs. None: this is the child.
pub fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the caller is a child of clone3 with one thread, and goes on to execve on both sides.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process without running destructors or exit handlers, which belong to the parent's copy.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit touches no memory and does not return.
    unsafe { libc::_exit(code) }
}
