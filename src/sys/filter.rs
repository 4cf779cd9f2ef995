//! Programs of classic BPF as data, and the one system call by which a process puts one in front of its own
//! system calls. Nothing here knows what a program means.
#![allow(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::io;

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub if_true: u8,
    pub if_false: u8,
    pub value: u32,
}

// Four numbers in a list: a program is some hundred of them.
impl Serialize for Instruction {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.code, self.if_true, self.if_false, self.value).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Instruction {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (code, if_true, if_false, value) = Deserialize::deserialize(from)?;
        Ok(Self { code, if_true, if_false, value })
    }
}

/// A filter of system calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// SECCOMP_FILTER_FLAG_….
    pub flags: u32,
    pub instructions: Vec<Instruction>,
}

/// From here on every system call of this thread, and of whatever it becomes or starts, goes through
/// `program` (seccomp(2)). Needs no_new_privs or CAP_SYS_ADMIN.
pub fn filter_system_calls(program: &Program) -> io::Result<()> {
    let filter = kernel_program(&program.instructions)?;
    // SAFETY: the kernel copies the filter during the call and writes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            program.flags,
            &raw const filter,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How the kernel takes a program; it points to `instructions`.
pub(super) fn kernel_program(instructions: &[Instruction]) -> io::Result<libc::sock_fprog> {
    let len = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = instructions.as_ptr().cast::<libc::sock_filter>().cast_mut();
    Ok(libc::sock_fprog { len, filter })
}
