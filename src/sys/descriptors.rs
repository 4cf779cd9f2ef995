//! The descriptor table of a child: which few descriptors it keeps, by number, and that all others close.
//! Nothing here opens anything.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

/// Gives `stdio` the numbers 0 to 2 (a None stays what it was), `others` the numbers from 3, and closes
/// everything else. The returned descriptors are `others`, close-on-exec; whatever the caller held before
/// is gone, so this is for a fresh child that never drops its parent's values.
pub fn keep_only(
    stdio: [Option<BorrowedFd<'_>>; 3],
    others: &[BorrowedFd<'_>],
) -> io::Result<Vec<OwnedFd>> {
    keep_beyond(stdio, &[], others)
}

/// As `keep_only`, but the `inherited` ones stay what they are, and `others` come after them.
pub fn keep_beyond(
    stdio: [Option<BorrowedFd<'_>>; 3],
    inherited: &[RawFd],
    others: &[BorrowedFd<'_>],
) -> io::Result<Vec<OwnedFd>> {
    let first = beyond(inherited) as RawFd;
    let stay = std::iter::repeat_n(None, first as usize - 3);
    let wanted: Vec<Option<BorrowedFd<'_>>> =
        stdio.into_iter().chain(stay).chain(others.iter().copied().map(Some)).collect();
    let floor = wanted.len() as RawFd;
    let mut copies = Vec::with_capacity(wanted.len());
    for fd in &wanted {
        // First out of the way: a wanted number may be the source of another.
        copies.push(fd.map(|fd| above(fd, floor)).transpose()?);
    }
    for (number, copy) in copies.iter().enumerate() {
        if let Some(copy) = copy {
            let flags = if number < 3 { 0 } else { libc::O_CLOEXEC };
            // SAFETY: dup3 takes numbers only; the source was made above and is not the target.
            if unsafe { libc::dup3(*copy, number as RawFd, flags) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    for number in (3..first).filter(|number| !inherited.contains(number)) {
        // One that is not open is closed already.
        // SAFETY: the child has nobody else who owns it.
        unsafe { libc::close(number) };
    }
    close_range(floor as u32, 0)?;
    // SAFETY: dup3 has just made these numbers, and the child has nobody else who owns them.
    Ok((first..floor).map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Puts `fd` at 0, 1 or 2, kept across exec.
pub fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes numbers only.
    if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Takes over a descriptor that this program was started with, close-on-exec from now on.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl takes numbers only; one that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and called once, first thing in `main`, nobody else owns it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Which of the first `count` descriptors from 3 on this program was started with: its own are close-on-exec.
pub fn inherited_among(count: u32) -> Vec<RawFd> {
    // SAFETY: fcntl takes numbers only; of one that is not open it is -1, which has every flag.
    let flags = |number: RawFd| unsafe { libc::fcntl(number, libc::F_GETFD) };
    (3..3 + count as RawFd).filter(|number| flags(*number) & libc::FD_CLOEXEC == 0).collect()
}

/// The first number after those, which are from 3 on.
pub fn beyond(inherited: &[RawFd]) -> u32 {
    inherited.iter().map(|number| number.cast_unsigned() + 1).max().unwrap_or(3)
}

/// What this program was started with, for its children.
static OPEN_FILES: OnceLock<libc::rlimit> = OnceLock::new();

/// Lets this process open as many files as it may: the soft limit of most sessions is 1024.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write `limit`, which lives through them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            let all = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
            // Where it is refused the old one stays.
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const all);
            let _ = OPEN_FILES.set(limit);
        }
    }
}

/// In a child: the limit as it was before `raise_open_files`. Programs that use select(2) need it low.
pub fn restore_open_files() {
    if let Some(limit) = OPEN_FILES.get() {
        // SAFETY: the kernel reads `limit`, which is static.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const *limit) };
    }
}

/// Everything from `first` on closes at exec.
pub fn close_at_exec(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

fn above(fd: BorrowedFd<'_>, floor: RawFd) -> io::Result<RawFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC takes numbers only.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) };
    if copy < 0 { Err(io::Error::last_os_error()) } else { Ok(copy) }
}

fn close_range(first: u32, flags: u32) -> io::Result<()> {
    // SAFETY: close_range takes numbers only; who calls it for closing owns the whole table (see keep_only).
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
