//! Processes by pidfd and by /proc: opening, signalling, and the start time that tells one user of a pid from the
//! next.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags};

/// rustix takes a negative pid as a bug of the caller; here it may come from a file.
fn pid_of(pid: i32) -> io::Result<Pid> {
    let known = if pid > 0 { Pid::from_raw(pid) } else { None };
    known.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::empty())?)
}

/// Sends `signal` to exactly the process that the pidfd was opened for. By number: rustix has no real-time signals.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes numbers, and a null siginfo means that of kill(2).
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Field 22 of /proc/PID/stat: clock ticks from boot to the start of the process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The name in parentheses may hold spaces, parentheses and newlines, so fields count from the last `)`.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|&b| b == b')')?;
    let text = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    text.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_a_hostile_name() {
        let stat = b"7 (a) b\n( c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_start_time(stat), Some(4242));
        assert_eq!(parse_start_time(b"7 (a"), None);
        assert!(start_time(std::process::id() as i32).unwrap() > 0);
    }

    #[test]
    fn a_pid_that_cannot_be_is_refused() {
        assert!(pidfd_open(0).is_err());
        assert!(pidfd_open(-1).is_err());
    }
}
