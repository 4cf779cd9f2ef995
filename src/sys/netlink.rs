//! Options of netlink sockets that neither nix nor rustix knows: extended acks, and a classic BPF
//! filter. Nothing here knows what a message means.
#![allow(unsafe_code)]

use crate::sys::filter::{self, Instruction};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Errors then come with the kernel's own sentence (`NETLINK_EXT_ACK`), and an ack does not carry
/// the whole request back (`NETLINK_CAP_ACK`).
pub fn explain_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, &1_i32)?;
    set(socket, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &1_i32)
}

/// What the filter returns 0 for never wakes the socket's reader.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    // The kernel copies the program during the call; `program` outlives it.
    let program = filter::kernel_program(program)?;
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

fn set<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a live T of exactly `size` bytes, the kernel only reads it, and the
    // borrowed socket is open for the whole call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
