//! A container's first process where it asks for a reaper (`init: true`): buries the dead, hands on signals, and ends as
//! the program ends. No libc, no heap, no input but the number of its one child.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const SIGPROCMASK: usize = 14;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const SIGPROCMASK: usize = 135;
    pub const WAIT4: usize = 260;
    pub const KILL: usize = 129;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const PRCTL: usize = 167;
    pub const EXIT_GROUP: usize = 94;
}

// The kernel leaves the count of arguments, then their addresses, where the stack begins.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call {}", sym begin);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl {}", sym begin);

const PR_SET_NAME: usize = 15;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const SIG_SETMASK: usize = 2;
const WNOHANG: usize = 1;
const SIGCHLD: isize = 17;
/// Job control (SIGTSTP, SIGTTIN, SIGTTOU) is between the program and its terminal.
const OF_THE_TERMINAL: core::ops::RangeInclusive<isize> = 20..=22;

static NAME: [u8; 13] = *b"podspec-init\0";
static ALL: u64 = u64::MAX;

#[cfg(target_arch = "x86_64")]
fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the calls below hand over statics, a local that outlives the call, or null where the kernel allows it.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the calls below hand over statics, a local that outlives the call, or null where the kernel allows it.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] as isize => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], options(nostack));
    }
    result
}

/// Its second argument, a number in digits.
fn child(stack: *const usize) -> isize {
    let mut number = 0;
    // SAFETY: who starts this program gives it two arguments, which the kernel ends with a zero byte each.
    unsafe {
        let mut digit = stack.add(2).read() as *const u8;
        while digit.read() != 0 {
            number = number * 10 + isize::from(digit.read().wrapping_sub(b'0'));
            digit = digit.add(1);
        }
    }
    number
}

extern "C" fn begin(stack: *const usize) -> ! {
    let program = child(stack);
    // Blocked they wait to be taken; they were when this program was started, too, so none is lost.
    call(number::SIGPROCMASK, [SIG_SETMASK, &raw const ALL as usize, 0, 8]);
    call(number::PRCTL, [PR_SET_NAME, &raw const NAME as usize, 0, 0]);
    // Where it is not PID 1.
    call(number::PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0]);
    loop {
        let mut status: i32 = 0;
        loop {
            let dead = call(number::WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0]);
            if dead == program {
                end(status);
            }
            if dead <= 0 {
                break;
            }
        }
        let signal = call(number::SIGTIMEDWAIT, [&raw const ALL as usize, 0, 0, 8]);
        if signal > 0 && signal != SIGCHLD && !OF_THE_TERMINAL.contains(&signal) {
            call(number::KILL, [program as usize, signal as usize, 0, 0]);
        }
    }
}

/// As the program: its code, or 128 and the signal that ended it.
fn end(status: i32) -> ! {
    let signal = status & 0x7f;
    let code = if signal == 0 { (status >> 8) & 0xff } else { 128 + signal };
    loop {
        call(number::EXIT_GROUP, [code as usize, 0, 0, 0]);
    }
}
