//! The standard streams of a command that runs in a container, carried between it and ours. It never gets the caller's
//! terminal itself (TIOCSTI, CVE-2017-5226): a terminal of the container's own, else pipes.

use super::signals;
use super::terminal::{Carried, DetachKeys, Input, RawTerminal, copy_size, wait, write_all};
use crate::sys::process::pidfd_send_signal;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::isatty;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The command's standard streams: its ends, and ours where something must be carried between.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) child: [Option<OwnedFd>; 3],
    input: Option<Input>,
    /// What comes back, and to which of our streams.
    outputs: Vec<(OwnedFd, Destination)>,
    /// Signals that are the process's, and not ours.
    passed_on: Option<SignalFd>,
    /// What was sent to us while our terminal was lent.
    ended_by: Option<Signal>,
}

/// While our terminal is lent its keys are no signals; those that still come are for us, unless they are
/// passed on, but for the first.
const OURS: [Signal; 3] = [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP];

#[derive(Debug, Clone, Copy)]
enum Destination {
    Stdout,
    Stderr,
}

impl Streams {
    /// Ours are handed on as they are, but a terminal never is.
    pub(super) fn open(interactive: bool, tty: bool) -> io::Result<Self> {
        let mut streams = Self::default();
        if tty {
            return Ok(streams);
        }
        if interactive && isatty(io::stdin()) {
            let (read, write) = pipe()?;
            streams.child[0] = Some(read);
            streams.input = Some(Input::new(write, b"", DetachKeys::default())?);
        } else if interactive {
            streams.child[0] = Some(io::stdin().as_fd().try_clone_to_owned()?);
        }
        streams.child[1] = streams.output(io::stdout().as_fd(), Destination::Stdout)?;
        streams.child[2] = streams.output(io::stderr().as_fd(), Destination::Stderr)?;
        Ok(streams)
    }

    /// From here on these signals go to the process alone.
    pub(super) fn pass_on(&mut self, signals: &[Signal]) -> io::Result<()> {
        self.passed_on = Some(signals::take(signals)?);
        Ok(())
    }

    fn output(&mut self, ours: BorrowedFd<'_>, to: Destination) -> io::Result<Option<OwnedFd>> {
        if !isatty(ours) {
            return Ok(Some(ours.try_clone_to_owned()?));
        }
        let (read, write) = pipe()?;
        self.outputs.push((read, to));
        Ok(Some(write))
    }

    /// Carries bytes until the process has ended and all that it wrote is out.
    pub(super) fn relay(
        mut self,
        pidfd: BorrowedFd<'_>,
        terminal: Option<&OwnedFd>,
        interactive: bool,
    ) -> io::Result<()> {
        self.child = [None, None, None];
        let mut raw = None;
        let mut ours = None;
        if let Some(master) = terminal {
            self.outputs.push((master.try_clone()?, Destination::Stdout));
            if interactive {
                // A terminal has no end: its user presses Ctrl-D, on a line of its own or twice.
                let keys = DetachKeys::default();
                self.input = Some(Input::new(master.try_clone()?, b"\x04\x04", keys)?);
            }
            if interactive && isatty(io::stdin()) {
                raw = Some(RawTerminal::enter()?);
            }
            if isatty(io::stdin()) {
                let passed_on = self.passed_on.is_some();
                ours = Some(signals::take(if passed_on { &OURS[..1] } else { &OURS })?);
                copy_size(master.as_fd(), false);
            }
        }
        let carried = self.carry(pidfd, terminal, ours.as_ref());
        drop(raw);
        if let Some(signal) = self.ended_by {
            // As it would have ended us, had the terminal not been lent.
            SigSet::from(signal).thread_unblock()?;
            raise(signal)?;
        }
        carried
    }

    fn carry(
        &mut self,
        pidfd: BorrowedFd<'_>,
        terminal: Option<&OwnedFd>,
        ours: Option<&SignalFd>,
    ) -> io::Result<()> {
        let stdin = io::stdin();
        while self.ended_by.is_none() {
            let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            for (from, _) in &self.outputs {
                fds.push(PollFd::new(from, PollFlags::IN));
            }
            let input_at = fds.len();
            fds.extend(self.input.as_ref().map(|input| input.poll_fd(&stdin)));
            let ours_at = fds.len();
            if let Some(ours) = ours {
                fds.push(PollFd::new(ours, PollFlags::IN));
            }
            if let Some(signals) = &self.passed_on {
                fds.push(PollFd::new(signals, PollFlags::IN));
            }
            wait(&mut fds, None)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            for signal in self.passed_on.iter().flat_map(signals::read) {
                // It may have ended; then that comes next.
                let _ = pidfd_send_signal(pidfd, signal as i32);
            }
            if let (Some(ours), Some(master)) = (ours, terminal) {
                for signal in signals::read(ours) {
                    match signal {
                        Signal::SIGWINCH => copy_size(master.as_fd(), false),
                        end => self.ended_by = Some(end),
                    }
                }
            }
            if input_at < ours_at
                && ready[input_at]
                && self.input.as_mut().is_some_and(|input| input.carry() != Carried::GoOn)
            {
                self.input = None;
            }
            self.carry_outputs(&ready[1..input_at])?;
            if ready[0] {
                return self.drain();
            }
        }
        Ok(())
    }

    /// Takes a bite of each output that has something; those that ended go.
    fn carry_outputs(&mut self, ready: &[bool]) -> io::Result<()> {
        let mut ended = Vec::new();
        for (index, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            let (from, to) = &self.outputs[index];
            let mut bite = [0; 16 * 1024];
            match (rustix::io::read(from, &mut bite), to) {
                // The terminal's input is not waited for, and so its output is not either.
                (Err(rustix::io::Errno::AGAIN), _) => {}
                // A terminal whose other side is closed says EIO instead of end of file.
                (Ok(0) | Err(_), _) => ended.push(index),
                (Ok(read), Destination::Stdout) => {
                    write_all(io::stdout(), &bite[..read])?;
                }
                (Ok(read), Destination::Stderr) => {
                    write_all(io::stderr(), &bite[..read])?;
                }
            }
        }
        for index in ended.into_iter().rev() {
            self.outputs.remove(index);
        }
        Ok(())
    }

    /// What the process wrote before it ended; what its children still hold open is not waited for.
    fn drain(&mut self) -> io::Result<()> {
        while !self.outputs.is_empty() {
            let mut fds: Vec<PollFd<'_>> =
                self.outputs.iter().map(|(from, _)| PollFd::new(from, PollFlags::IN)).collect();
            wait(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if !ready.contains(&true) {
                break;
            }
            self.carry_outputs(&ready)?;
        }
        Ok(())
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}
