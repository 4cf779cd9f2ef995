//! Signals read from a descriptor, for commands that wait for several things at once.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;

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
