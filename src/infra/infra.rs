//! The infra process of a pod: it keeps the shared namespaces alive and, where the pid namespace is one of them,
//! buries the dead as PID 1. No libc, no heap, no input: a few system calls in a loop that ends only by a signal.
#![no_std]
#![no_main]

use core::arch::asm;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const SIGPROCMASK: usize = 14;
    pub const WAIT4: usize = 61;
    pub const SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const RESTART_SYSCALL: usize = 219;
    pub const MACHINE: u32 = 0xc000_003e;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const SIGPROCMASK: usize = 135;
    pub const WAIT4: usize = 260;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const PRCTL: usize = 167;
    pub const RESTART_SYSCALL: usize = 128;
    pub const MACHINE: u32 = 0xc000_00b7;
}

const PR_SET_DUMPABLE: usize = 4;
const PR_SET_NAME: usize = 15;
const PR_SET_SECCOMP: usize = 22;
const SECCOMP_MODE_FILTER: usize = 2;
const SIG_BLOCK: usize = 0;
const SIGCHLD: u64 = 17;
const WNOHANG: usize = 1;

static NAME: [u8; 14] = *b"podspec-infra\0";
static CHILD: u64 = 1 << (SIGCHLD - 1);

/// `struct sock_filter` and `struct sock_fprog` of the kernel.
#[repr(C)]
struct Instruction(u16, u8, u8, u32);
#[repr(C)]
struct Program(u16, *const Instruction);

const KILL: u32 = 0x8000_0000;
const ALLOW: u32 = 0x7fff_0000;

/// The calls of the loop below, and no other (seccomp(2)): load the machine, load the call's number.
static FILTER: [Instruction; 9] = [
    Instruction(0x20, 0, 0, 4),
    Instruction(0x15, 1, 0, number::MACHINE),
    Instruction(0x06, 0, 0, KILL),
    Instruction(0x20, 0, 0, 0),
    Instruction(0x15, 3, 0, number::WAIT4 as u32),
    Instruction(0x15, 2, 0, number::SIGTIMEDWAIT as u32),
    Instruction(0x15, 1, 0, number::RESTART_SYSCALL as u32),
    Instruction(0x06, 0, 0, KILL),
    Instruction(0x06, 0, 0, ALLOW),
];

#[cfg(target_arch = "x86_64")]
fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the calls below hand over only what lives as long, or null where the kernel allows it.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the calls below hand over only what lives as long, or null where the kernel allows it.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] as isize => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], options(nostack));
    }
    result
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    call(number::PRCTL, [PR_SET_DUMPABLE, 0, 0, 0]);
    call(number::PRCTL, [PR_SET_NAME, &raw const NAME as usize, 0, 0]);
    // Blocked, so that a death between the look and the wait stays pending; ignored, it would never wake us.
    call(number::SIGPROCMASK, [SIG_BLOCK, &raw const CHILD as usize, 0, 8]);
    // Whoever starts this has set no_new_privs, or the kernel refuses and infra is as it was.
    let filter = Program(FILTER.len() as u16, FILTER.as_ptr());
    let filter = &raw const filter as usize;
    call(number::PRCTL, [PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter, 0]);
    loop {
        while call(number::WAIT4, [usize::MAX, 0, WNOHANG, 0]) > 0 {}
        call(number::SIGTIMEDWAIT, [&raw const CHILD as usize, 0, 0, 8]);
    }
}
