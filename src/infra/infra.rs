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
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const SIGPROCMASK: usize = 135;
    pub const WAIT4: usize = 260;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const PRCTL: usize = 167;
}

const PR_SET_DUMPABLE: usize = 4;
const PR_SET_NAME: usize = 15;
const SIG_BLOCK: usize = 0;
const SIGCHLD: u64 = 17;
const WNOHANG: usize = 1;

static NAME: [u8; 14] = *b"podspec-infra\0";
static CHILD: u64 = 1 << (SIGCHLD - 1);

#[cfg(target_arch = "x86_64")]
fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the calls below hand over only statics, or null where the kernel allows it.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
fn call(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the calls below hand over only statics, or null where the kernel allows it.
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
    loop {
        while call(number::WAIT4, [usize::MAX, 0, WNOHANG, 0]) > 0 {}
        call(number::SIGTIMEDWAIT, [&raw const CHILD as usize, 0, 0, 8]);
    }
}
