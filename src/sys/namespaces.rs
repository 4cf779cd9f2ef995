//! Questions to a namespace by its descriptor (ioctl_ns(2)), which nix and rustix lack.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// The CLONE_NEW… of its kind; None: it is no namespace.
pub fn kind_of(namespace: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: takes numbers and returns one.
    let kind = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) };
    (kind > 0).then_some(kind)
}
