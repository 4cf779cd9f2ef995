//! bpf(2), for programs that decide on devices, and the few instructions that these are made of
//! (Documentation/bpf/standardization/instruction-set.rst).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction, as the kernel has it in memory.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones (little endian) or the other way round.
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_U32: u8 = 0x61;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const SET: u8 = 0xb7;
const COPY: u8 = 0xbf;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

impl Instruction {
    const fn new(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Self {
        let registers =
            if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        Self { code, registers, offset, value }
    }

    pub const fn load_u32(to: u8, from: u8, offset: i16) -> Self {
        Self::new(LOAD_U32, to, from, offset, 0)
    }

    pub const fn and(register: u8, value: i32) -> Self {
        Self::new(AND, register, 0, 0, value)
    }

    pub const fn shift_right(register: u8, by: i32) -> Self {
        Self::new(SHIFT_RIGHT, register, 0, 0, by)
    }

    pub const fn set(register: u8, value: i32) -> Self {
        Self::new(SET, register, 0, 0, value)
    }

    pub const fn copy(to: u8, from: u8) -> Self {
        Self::new(COPY, to, from, 0, 0)
    }

    /// Jumps where the register has this value; [`over`](Self::over) says how far.
    pub const fn if_equal(register: u8, value: i32) -> Self {
        Self::new(JUMP_EQUAL, register, 0, 0, value)
    }

    /// Jumps where it has another.
    pub const fn unless_equal(register: u8, value: i32) -> Self {
        Self::new(JUMP_NOT_EQUAL, register, 0, 0, value)
    }

    pub const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }

    pub const fn is_jump(self) -> bool {
        matches!(self.code, JUMP_EQUAL | JUMP_NOT_EQUAL)
    }

    /// Past this many instructions.
    pub const fn over(self, count: i16) -> Self {
        Self { offset: count, ..self }
    }
}

// linux/bpf.h
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Programs of cgroups above go on being asked, too.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// `union bpf_attr` as BPF_PROG_LOAD has it, up to what we set.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// And as BPF_PROG_ATTACH has it.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Has the kernel check and take a program that decides on devices.
pub fn load_for_devices(program: &[Instruction]) -> io::Result<OwnedFd> {
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` and what it points to are valid for the whole call, for their sizes.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor (close-on-exec), and nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The program is asked for every process of the cgroup and below, as long as the cgroup is there.
pub fn attach_to_cgroup(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attach` is valid for the whole call, for its size.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<Attach>())
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Carries a program out over a context of 32-bit words, for tests of whoever assembles one.
#[cfg(test)]
pub(crate) fn run(program: &[Instruction], context: &[u32]) -> u64 {
    let mut registers = [0_u64; 11];
    let mut at = 0;
    loop {
        let Instruction { code, registers: pair, offset, value } = program[at];
        let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
        at += 1;
        let wide = i64::from(value).cast_unsigned();
        let jump = at + usize::try_from(offset).unwrap_or(0);
        match code {
            LOAD_U32 => registers[to] = context[usize::try_from(offset).unwrap() / 4].into(),
            AND => registers[to] &= wide,
            SHIFT_RIGHT => registers[to] >>= value,
            SET => registers[to] = wide,
            COPY => registers[to] = registers[from],
            JUMP_EQUAL if registers[to] == wide => at = jump,
            JUMP_NOT_EQUAL if registers[to] != wide => at = jump,
            JUMP_EQUAL | JUMP_NOT_EQUAL => {}
            EXIT => return registers[0],
            code => panic!("no instruction: {code:x}"),
        }
    }
}
