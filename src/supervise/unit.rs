//! One container as its supervisor sees it: where it is in its life, and its handles on the kernel.

use super::logs::{Log, Stream};
use crate::exec::launch::{Created, Output, Terminal};
use crate::names::ContainerName;
use crate::plan::step::StepId;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its turn has not come.
    Waiting,
    /// A process sets itself up.
    Creating,
    /// The process waits for its start.
    Created,
    /// Told to start; its program does not run yet.
    Releasing,
    Running,
    /// Its first process ended, others of its cgroup have not.
    Emptying,
    /// Starts again when its wait is over.
    BackOff,
    Ended,
}

/// What is to happen at a unit's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It had its time to stop.
    Kill,
    /// Its back-off is over.
    Restart,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: ContainerName,
    /// Its CreateContainer step.
    pub(super) create: StepId,
    /// Its StartContainer step.
    pub(super) start: StepId,
    pub(super) phase: Phase,
    pub(super) created: Option<Created>,
    pub(super) output: Option<Output>,
    /// Of this run, where it has one.
    pub(super) terminal: Option<Terminal>,
    /// Clients that see what it writes.
    pub(super) watchers: usize,
    /// What they have not been sent yet.
    pub(super) fresh: Vec<(Stream, Vec<u8>)>,
    pub(super) log: Option<Log>,
    pub(super) deadline: Option<(Instant, Due)>,
    pub(super) started: Option<Instant>,
    pub(super) finished: Option<Instant>,
    /// Of the run that ended last.
    pub(super) code: Option<i32>,
    /// Starts after the first, in all.
    pub(super) restarts: u32,
    /// Starts since the last good run, for the back-off.
    pub(super) tries: u32,
    /// The user wants it ended.
    pub(super) stopping: bool,
    /// As PID 1 it cannot hear its stop signal, and nobody was told so yet.
    pub(super) deaf: bool,
    /// Its processes were sent SIGKILL, all of them.
    pub(super) killed: bool,
    /// Why it can never start, or could not start again.
    pub(super) problem: Option<String>,
}

impl Unit {
    pub(super) fn new(name: ContainerName, create: StepId, start: StepId) -> Self {
        Self {
            name,
            create,
            start,
            phase: Phase::Waiting,
            created: None,
            output: None,
            terminal: None,
            watchers: 0,
            fresh: Vec::new(),
            log: None,
            deadline: None,
            started: None,
            finished: None,
            code: None,
            restarts: 0,
            tries: 0,
            stopping: false,
            deaf: false,
            killed: false,
            problem: None,
        }
    }

    /// Whether it is between its creation and its program's begin.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Creating | Phase::Created | Phase::Releasing)
    }

    /// Whether the step is one of its own.
    pub(super) fn owns(&self, step: StepId) -> bool {
        step == self.create || step == self.start
    }

    /// Whether it has processes.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Waiting | Phase::BackOff | Phase::Ended)
    }

    /// Whether nothing of it need be waited for but the kernel's clearing away.
    pub(super) fn is_over(&self) -> bool {
        self.killed || !self.is_alive()
    }

    /// Whether it has ended for good, and not well.
    pub(super) fn has_failed(&self) -> bool {
        self.phase == Phase::Ended && (self.problem.is_some() || self.code.is_some_and(|c| c != 0))
    }

    /// Moves what the container wrote to its log. `all`: what is in the FIFO now, else one bite, so that
    /// one container that writes much does not keep the others waiting. Never until it is empty: whoever
    /// still holds the other end could keep it from ever being so.
    pub(super) fn read_output(&mut self, stream: Stream, all: bool) {
        let (Some(output), Some(log)) = (&self.output, &mut self.log) else { return };
        let fd = match stream {
            Stream::Stdout => &output.stdout,
            Stream::Stderr => &output.stderr,
        };
        let mut bite = [0; 64 * 1024];
        let mut left = if all { rustix::io::ioctl_fionread(fd).unwrap_or(0) } else { 1 };
        while left > 0
            && let Some(read) = read_some(fd, &mut bite)
        {
            log.write(stream, &bite[..read], jiff::Timestamp::now());
            if self.watchers > 0 {
                self.fresh.push((stream, bite[..read].to_vec()));
            }
            left = left.saturating_sub(read as u64);
        }
    }

    /// As `read_output`, from the terminal; `false` once that has ended. Of what is in it `all` takes no
    /// more than a terminal holds: another process may have it open, and write on.
    pub(super) fn read_terminal(&mut self, all: bool) -> bool {
        const HOLDS: usize = 128 * 1024;
        let (Some(terminal), Some(log)) = (&self.terminal, &mut self.log) else { return false };
        let mut bite = [0; 16 * 1024];
        let mut taken = 0;
        loop {
            let read = match nix::unistd::read(&terminal.master, &mut bite) {
                Ok(read @ 1..) => read,
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return true,
                // EIO: nobody has the other side open any more.
                Ok(_) | Err(_) => return false,
            };
            log.write(Stream::Stdout, &bite[..read], jiff::Timestamp::now());
            if self.watchers > 0 {
                self.fresh.push((Stream::Stdout, bite[..read].to_vec()));
            }
            taken += read;
            if !all || taken >= HOLDS {
                return true;
            }
        }
    }

    /// The container is gone: all that it wrote goes to its log.
    pub(super) fn close_output(&mut self) {
        self.read_output(Stream::Stdout, true);
        self.read_output(Stream::Stderr, true);
        self.read_terminal(true);
        if let Some(log) = &mut self.log {
            log.finish(jiff::Timestamp::now());
        }
    }
}

fn read_some(fd: &OwnedFd, into: &mut [u8]) -> Option<usize> {
    let read = nix::unistd::read(fd, into).ok()?;
    (read > 0).then_some(read)
}
