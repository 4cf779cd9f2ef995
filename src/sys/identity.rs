//! Ids, the session keyring and signal dispositions of the calling thread, by plain system calls: glibc's set*id
//! functions signal every thread that it knows of, and in a cloned child these do not exist.
#![allow(unsafe_code)]

use std::io;

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer is valid for `len` ids of 32 bits, which is what the kernel reads.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

pub fn set_gid(gid: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
}

pub fn set_uid(uid: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// For files and signals alike; the real and the saved id stay. Away from 0 the effective capabilities go, back to 0
/// they are what is permitted (capabilities(7)).
pub fn set_effective_uid(uid: u32) -> io::Result<()> {
    const SAME: u32 = u32::MAX;
    // SAFETY: takes numbers only.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, SAME, uid, SAME) })
}

/// A new anonymous session keyring, so that the caller's keys stay with the caller.
pub fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is read.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>())
    };
    match checked(result) {
        // A kernel without keys has none to leak.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other,
    }
}

/// A caller may have left SIGCHLD ignored, which execve keeps: the kernel then throws exit codes away (wait(2)).
pub fn keep_exit_codes() {
    // SAFETY: installs no code; SIGCHLD has a default.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Every signal waits, across execve too.
pub fn block_signals() -> io::Result<()> {
    let (mask, none) = (u64::MAX, std::ptr::null::<u64>());
    // SAFETY: the kernel reads 8 bytes of `mask` and writes nothing.
    checked(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, none, 8)
    })
}

/// Every signal back to its default, SIGPIPE (which Rust ignores) too, and none blocked. glibc would leave its own two
/// (32 and 33) as they are, ignored by whoever started us.
pub fn default_signals() -> io::Result<()> {
    const SET_BYTES: usize = 8;
    /// The kernel's `struct sigaction`, which is no longer than this: zeros are SIG_DFL, no flags, no mask.
    const DEFAULT: [u64; 4] = [0; 4];
    let none = std::ptr::null::<u64>();
    for signal in 1..=64 {
        // SAFETY: the kernel reads DEFAULT and installs no code; for KILL and STOP it refuses, which is right.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_BYTES) };
    }
    let mask = 0_u64;
    // SAFETY: the kernel reads 8 bytes of `mask` and writes nothing.
    checked(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, none, SET_BYTES)
    })
}
