//! Signals read from a descriptor, for commands that wait for several things at once.

use super::terminal::wait;
use crate::sys::process::ignores;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::os::fd::AsFd;

/// Blocks these signals and reads them instead; a second reader in one process takes them anew.
pub(super) fn take(signals: &[Signal]) -> io::Result<SignalFd> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// The signals that have come.
pub(super) fn read(from: &SignalFd) -> impl Iterator<Item = Signal> {
    std::iter::from_fn(|| from.read_signal().ok().flatten())
        .filter_map(|info| Signal::try_from(info.ssi_signo.cast_signed()).ok())
}

/// Does the work. A signal that ends this process meanwhile does so as ever, but after the last words.
pub(super) fn with_last_words<T>(
    words: impl Fn() + Send,
    work: impl FnOnce() -> T,
) -> io::Result<T> {
    let before = SigSet::thread_get_mask()?;
    // One that is ignored, or that somebody else reads, ends nothing.
    let ends = |signal: &Signal| !ignores(*signal as i32) && !before.contains(*signal);
    let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let signals = take(&all.into_iter().filter(ends).collect::<Vec<_>>())?;
    let (over, working) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let done = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut fds = [
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(over.as_fd(), PollFlags::IN),
            ];
            if wait(&mut fds, None).is_ok()
                && let Some(signal) = read(&signals).next()
            {
                words();
                let _ = SigSet::from(signal).thread_unblock().and_then(|()| raise(signal));
            }
        });
        let done = work();
        drop(working);
        done
    });
    before.thread_set_mask()?;
    Ok(done)
}
