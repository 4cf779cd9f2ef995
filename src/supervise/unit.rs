//! A container's handles on the kernel. Where it is in its life says `life.rs`.

use super::checks::Checks;
use super::logs::{self, Log, Stream};
use super::senses::Senses;
use crate::exec::launch::{Created, Output, Terminal};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

#[derive(Debug, Default)]
pub(super) struct Unit {
    pub(super) created: Option<Created>,
    pub(super) output: Option<Output>,
    /// Of this run, where it has one.
    pub(super) terminal: Option<Terminal>,
    /// Clients that see what it writes.
    pub(super) watchers: usize,
    /// What they have not been sent yet.
    pub(super) fresh: Vec<(Stream, Vec<u8>)>,
    pub(super) log: Option<Log>,
    /// Another runtime runs it.
    pub(super) is_anothers: bool,
    /// That one's runner stands for its first process, which is not born yet.
    pub(super) is_runner: bool,
    /// That one was told to let its program begin, and has not said that it does.
    pub(super) is_starting: bool,
    /// As PID 1 it cannot hear its stop signal, and nobody was told so yet.
    pub(super) deaf: bool,
    pub(super) checks: Checks,
    /// Of this run.
    pub(super) senses: Option<Box<Senses>>,
    /// The socket of sd_notify, where it has one.
    pub(super) notify: Option<OwnedFd>,
}

impl Unit {
    /// Allocates what it keeps anew.
    pub(super) fn relocate(&mut self) {
        if let Some(log) = &mut self.log {
            log.relocate();
        }
        if let Some(created) = &mut self.created {
            created.cgroup.relocate();
        }
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
        let mut left = if all { rustix::io::ioctl_fionread(fd).unwrap_or(0) } else { 1 };
        let mut memory = Vec::new();
        while left > 0
            && let Ok(bite @ [_, ..]) = logs::bite(fd.as_fd(), &mut memory)
        {
            log.write(stream, bite, jiff::Timestamp::now());
            if let Some(senses) = &mut self.senses {
                senses.read(stream, bite);
            }
            if self.watchers > 0 {
                self.fresh.push((stream, bite.to_vec()));
            }
            left = left.saturating_sub(bite.len() as u64);
        }
    }

    /// As `read_output`, from the terminal; `false` once that has ended. Of what is in it `all` takes no
    /// more than a terminal holds: another process may have it open, and write on.
    pub(super) fn read_terminal(&mut self, all: bool) -> bool {
        const HOLDS: usize = 128 * 1024;
        let (Some(terminal), Some(log)) = (&self.terminal, &mut self.log) else { return false };
        let mut memory = Vec::new();
        let mut taken = 0;
        loop {
            let bite = match logs::bite(terminal.master.as_fd(), &mut memory) {
                Ok(bite @ [_, ..]) => bite,
                Err(Errno::AGAIN | Errno::INTR) => return true,
                // EIO: nobody has the other side open any more.
                Ok(_) | Err(_) => return false,
            };
            log.write(Stream::Stdout, bite, jiff::Timestamp::now());
            if let Some(senses) = &mut self.senses {
                senses.read(Stream::Stdout, bite);
            }
            if self.watchers > 0 {
                self.fresh.push((Stream::Stdout, bite.to_vec()));
            }
            taken += bite.len();
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
