//! Processes by pidfd and by /proc: opening, signalling, and the start time that tells one user of a pid from the
//! next.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

/// rustix takes a negative pid as a bug of the caller; here it may come from a file.
fn pid_of(pid: i32) -> io::Result<Pid> {
    let known = if pid > 0 { Pid::from_raw(pid) } else { None };
    known.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::empty())?)
}

/// Waits for a child's end: its exit code, or 128 + the signal that ended it; None: there is none to be waited for.
/// `reaped`: the kernel forgets it then.
pub fn exit_code(pidfd: BorrowedFd<'_>, reaped: bool) -> Option<i32> {
    let kept = if reaped { WaitIdOptions::empty() } else { WaitIdOptions::NOWAIT };
    let end = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | kept);
    let end = end.ok().flatten()?;
    end.exit_status().or_else(|| end.terminating_signal().map(|signal| 128 + signal))
}

/// Sends `signal` to exactly the process that the pidfd was opened for. By number: rustix has no real-time signals.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes numbers, and a null siginfo means that of kill(2).
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Kills a child, and waits for its end.
pub fn end(pidfd: BorrowedFd<'_>) {
    // It may be dead already; either way the wait returns.
    let _ = pidfd_send_signal(pidfd, libc::SIGKILL);
    let _ = rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
}

/// Clock ticks from the machine's boot to the start of the process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    since_boot(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Field 22 of /proc/PID/stat, which the kernel tells everyone by the clocks of his own time namespace: two that talk of
/// one process may be in two.
fn since_boot(stat: &[u8]) -> Option<u64> {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let offset = OFFSET.get_or_init(|| boot_offset(&read()).unwrap_or(0));
    Some(parse_start_time(stat)?.wrapping_add_signed(-offset))
}

/// In clock ticks: what a time namespace adds to the time since boot (time_namespaces(7)). A kernel without time
/// namespaces says nothing.
fn boot_offset(text: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let ticks = i64::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(seconds * ticks + nanos / (1_000_000_000 / ticks))
}

/// What /proc/PID/stat says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// As ps(1) has it.
    pub state: char,
    /// As `start_time`.
    pub start: u64,
}

/// Whether and how a process lives.
pub fn life(pid: i32) -> io::Result<Life> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    let parse = || {
        // Its name may have anything in it, a parenthesis too.
        let after = stat.iter().rposition(|byte| *byte == b')')?;
        let state = char::from(*stat.get(after + 2)?);
        Some(Life { state, start: since_boot(&stat)? })
    };
    parse().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The root directory of exactly the process that the pidfd was opened for, in its mount namespace.
pub fn root(pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    // Had it ended, another process could have its pid by now. Signal 0 asks, and does nothing.
    pidfd_send_signal(pidfd, 0)?;
    Ok(root)
}

/// Whether the process is PID 1 of its pid namespace and neither handles, blocks, ignores nor awaits the
/// signal: the kernel then drops it (pid_namespaces(7)). A process that is gone is not deaf.
pub fn is_deaf_init(pid: i32, signal: i32) -> bool {
    let seems_deaf = || {
        let status = shown(pid, "status").unwrap_or_default();
        parse_deaf_init(&status, signal).unwrap_or(false)
    };
    // Twice: it may have gone from one such wait to the next in between.
    (0..2).all(|_| seems_deaf() && !awaits_signal(pid))
}

/// What /proc says of a process, which is rarely long: it is asked of each that is to end.
fn shown(pid: i32, file: &str) -> io::Result<String> {
    let file = std::fs::File::open(format!("/proc/{pid}/{file}"))?;
    let mut text = String::with_capacity(4096);
    // Beneath `take` nobody asks for the size, which /proc does not know.
    file.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether the process is in sigwaitinfo(2), as the inits of many images are (tini, dumb-init). What it waits
/// for is not shown as blocked meanwhile, but is not dropped either. For which signals is not shown.
fn awaits_signal(pid: i32) -> bool {
    /// Of 64-bit programs; with 64-bit times, and before them, of 32-bit ones on x86.
    const WAITS: [libc::c_long; 3] = [libc::SYS_rt_sigtimedwait, 421, 177];
    let call = shown(pid, "syscall").unwrap_or_default();
    let number = call.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.is_some_and(|number: libc::c_long| WAITS.contains(&number))
}

/// As `is_deaf_init`, of exactly the process that the pidfd was opened for.
pub fn is_deaf_init_behind(pidfd: BorrowedFd<'_>, signal: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let pid = info.ok().and_then(|info| {
        info.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
    });
    // -1: it is gone.
    pid.is_some_and(|pid: i32| pid > 0 && is_deaf_init(pid, signal))
}

/// Whether this process ignores the signal, as one of `nohup` does SIGHUP.
pub fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal - 1).ok().and_then(|shift| 1u64.checked_shl(shift));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

fn parse_deaf_init(status: &str, signal: i32) -> Option<bool> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().last()
    };
    if matches!(signal, libc::SIGKILL | libc::SIGSTOP) || field("NSpid:")? != "1" {
        return Some(false);
    }
    let bit = 1u64.checked_shl(u32::try_from(signal - 1).ok()?)?;
    for mask in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        if u64::from_str_radix(field(mask)?, 16).ok()? & bit != 0 {
            return Some(false);
        }
    }
    Some(true)
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
    fn a_time_namespace_moves_no_start() {
        let text = "monotonic   -5         0\nboottime        100 250000000\n";
        assert_eq!(boot_offset(text), Some(10_025));
        assert_eq!(boot_offset("monotonic 0 0\nboottime -1 500000000\n"), Some(-50));
        assert_eq!(boot_offset(""), None);
    }

    #[test]
    fn who_waits_for_a_signal_is_seen() {
        let mut child = std::process::Command::new("perl")
            .args(["-e", "my $set = pack('Q', 1 << 14); syscall(0 + shift, $set, 0, 0, 8)"])
            .arg(libc::SYS_rt_sigtimedwait.to_string())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        while !awaits_signal(pid) {
            assert!(child.try_wait().unwrap().is_none(), "it does not wait");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!awaits_signal(std::process::id() as i32));
    }

    #[test]
    fn an_init_without_a_handler_is_deaf() {
        let status = |pids: &str, caught: &str| {
            format!("NSpid:\t{pids}\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t{caught}\n")
        };
        let term = 1 << (libc::SIGTERM - 1);
        let deaf = |text: &str| parse_deaf_init(text, libc::SIGTERM);
        assert_eq!(deaf(&status("77\t1", "0")), Some(true));
        assert_eq!(deaf(&status("77\t1", &format!("{term:x}"))), Some(false));
        assert_eq!(deaf(&status("77\t12", "0")), Some(false));
        assert_eq!(parse_deaf_init(&status("77\t1", "0"), libc::SIGKILL), Some(false));
        assert_eq!(deaf(""), None);
    }

    #[test]
    fn a_pid_that_cannot_be_is_refused() {
        assert!(pidfd_open(0).is_err());
        assert!(pidfd_open(-1).is_err());
    }
}
