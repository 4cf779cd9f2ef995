//! A pod on its way up, and in front: its containers' states as they change, then their output. What
//! ends the client ends the pod, unless it was asked to detach.

use super::error::CliError;
use super::logs::Follower;
use super::output::{self, paint, sanitize};
use crate::names::{ContainerName, PodName};
use crate::state::record::ContainerStatus;
use crate::state::store::Store;
use crate::supervise::protocol::{Event, Failure, Request};
use crate::supervise::wire::{Received, Wire};
use anstyle::{AnsiColor, Style};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::AsFd;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Well,
    Code(u8),
}

pub(super) struct Live<'a> {
    store: &'a Store,
    pod: &'a PodName,
    wire: Wire,
    /// Leave when the pod is up.
    detach: bool,
    begun: std::time::Instant,
    /// What all containers ended with, once they have.
    code: Option<u8>,
    follower: Option<Follower>,
    /// The supervisor has spoken, and so made the directory of the logs.
    heard: bool,
}

/// What an event means for us.
enum Heard {
    GoOn,
    /// The machine changed: another plan may be sent.
    Stale,
    End(Ending),
}

impl<'a> Live<'a> {
    pub(super) fn new(store: &'a Store, pod: &'a PodName, wire: Wire, detach: bool) -> Self {
        let begun = std::time::Instant::now();
        Self { store, pod, wire, detach, begun, code: None, follower: None, heard: false }
    }

    /// Shows until the end; the pod was up before.
    pub(super) fn show(mut self) -> Result<Ending, CliError> {
        Ok(self.show_start()?.unwrap_or(Ending::Well))
    }

    /// Shows until the end; `None` where the plan is stale and all is undone.
    pub(super) fn show_start(&mut self) -> Result<Option<Ending>, CliError> {
        let signals = if self.detach { None } else { Some(self.take_signals()?) };
        loop {
            if let Some(signals) = &signals {
                self.wait(signals)?;
            }
            match self.wire.receive::<Event>() {
                Ok(Received::Frame(event)) => match self.hear(event)? {
                    Heard::GoOn => {}
                    Heard::Stale => return Ok(None),
                    Heard::End(ending) => return Ok(Some(ending)),
                },
                Ok(Received::Nothing) => {}
                Ok(Received::Closed) | Err(_) => return self.orphaned().map(Some),
            }
        }
    }

    pub(super) fn into_wire(self) -> Wire {
        // In front the stream does not block; the next plan is sent as the first was.
        let _ = self.wire.stream().set_nonblocking(false);
        self.wire
    }

    fn take_signals(&self) -> Result<SignalFd, CliError> {
        let failed = |error: std::io::Error| CliError::host("cannot wait for signals", &error);
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().map_err(|errno| failed(errno.into()))?;
        self.wire.stream().set_nonblocking(true).map_err(failed)?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|errno| failed(errno.into()))
    }

    /// In front: output is shown while we wait for the supervisor; a signal asks it to end the pod.
    fn wait(&mut self, signals: &SignalFd) -> Result<(), CliError> {
        if self.follower.is_none() && self.heard {
            self.follower = Follower::open(self.store, self.pod, &[], true).ok();
        }
        let mut at_once = None;
        if let Some(follower) = &mut self.follower
            && follower.show_some()?
        {
            at_once = Some(rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.wire.stream().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if let Some(follower) = &self.follower {
            fds.push(PollFd::from_borrowed_fd(follower.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, at_once.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(CliError::host("cannot wait", &std::io::Error::from(errno)));
            }
        }
        while let Ok(Some(_)) = signals.read_signal() {
            // A supervisor that is gone is noticed by the next read.
            let _ = self.wire.send(&Request::Down);
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<Heard, CliError> {
        match event {
            Event::Container { name, status, exit_code, reason } => {
                self.heard = true;
                self.show_state(&name, status, exit_code, reason.as_deref());
            }
            Event::Up { never } => return self.up(&never),
            Event::Note { text } => output::error_line(&sanitize(&text)),
            Event::Stale { .. } => return Ok(Heard::Stale),
            Event::Failed(failure) => return Err(self.failed(failure)),
            Event::Ended { code } => {
                self.code = Some(u8::try_from(code.clamp(0, 255)).unwrap_or(1));
            }
            Event::Stopping => {
                output::error_line(&format!("{}: stopping", self.pod));
            }
            Event::Gone { errors } => return self.gone(errors).map(Heard::End),
        }
        Ok(Heard::GoOn)
    }

    fn failed(&self, mut failure: Failure) -> CliError {
        // A supervisor that broke off (at no step) leaves its journal, by which the rest is undone from
        // here. Otherwise all is undone, and a pod that is there now is somebody else's.
        if failure.step.is_empty()
            && let Err(error) = super::down::take_down(self.store, self.pod)
        {
            failure.leftovers.extend(error.causes());
        }
        CliError::Start { pod: self.pod.to_string(), failure: Box::new(failure) }
    }

    fn up(&self, never: &[(ContainerName, String)]) -> Result<Heard, CliError> {
        for (container, reason) in never {
            let text = format!("{}/{container} will never start: {reason}", self.pod);
            output::error_line(&format!("{} {}", output::paint_error("error:"), sanitize(&text)));
        }
        let millis = self.begun.elapsed().as_secs_f64() * 1000.0;
        output::error_line(&format!("{} is up ({millis:.1} ms)", self.pod));
        Ok(match (self.detach, never.is_empty()) {
            (true, true) => Heard::End(Ending::Well),
            (true, false) => Heard::End(Ending::Code(1)),
            (false, _) => Heard::GoOn,
        })
    }

    fn show_state(
        &self,
        name: &ContainerName,
        status: ContainerStatus,
        exit_code: Option<i32>,
        reason: Option<&str>,
    ) {
        let (color, _) = output::error_style();
        let style: Style = match status {
            ContainerStatus::Running => AnsiColor::Green.on_default(),
            ContainerStatus::Failed => AnsiColor::Red.on_default(),
            _ => AnsiColor::Yellow.on_default(),
        };
        let word = paint(&format!("{:<10}", status.word()), style, color);
        let detail = match (status, exit_code, reason) {
            (ContainerStatus::Failed, _, Some(reason)) => reason.to_owned(),
            (
                ContainerStatus::Exited | ContainerStatus::Failed | ContainerStatus::Restarting,
                Some(code),
                _,
            ) => {
                format!("exit code {code}")
            }
            _ => String::new(),
        };
        let line = format!("{}/{name}  {word} {}", self.pod, sanitize(&detail));
        output::error_line(line.trim_end());
    }

    fn gone(&mut self, errors: Vec<String>) -> Result<Ending, CliError> {
        if let Some(follower) = &mut self.follower {
            follower.show_new()?;
        }
        output::error_line(&format!("{} is down", self.pod));
        if !errors.is_empty() {
            return Err(CliError::Host {
                message: format!("not all of pod `{}` could be removed", self.pod),
                causes: errors,
                hint: Some(format!("`podspec down {}` tries again", self.pod)),
                code: 1,
            });
        }
        Ok(self.code.map_or(Ending::Well, Ending::Code))
    }

    /// The supervisor went away without a word: whatever it made is removed from here.
    fn orphaned(&self) -> Result<Ending, CliError> {
        super::down::take_down(self.store, self.pod)?;
        Err(CliError::refused(
            format!("the supervisor of `{}` died; what was done is undone", self.pod),
            "`podspec up` starts the pod anew",
        ))
    }
}
