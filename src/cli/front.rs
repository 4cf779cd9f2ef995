//! Several pods in front: each was brought up as one that is alone, and from then on all are shown together. What
//! ends the client ends all of them.

use super::error::CliError;
use super::live::{ENDS, Ending, Live, count_ends, take_signals};
use super::service;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Shows them until the last has ended. The exit code is that of the first pod that did not end well.
pub(super) fn show(mut lives: Vec<Live<'_>>) -> Result<u8, CliError> {
    let signals = take_signals(&ENDS)?;
    let mut shown = 0;
    for live in &mut lives {
        shown += live.stand_beside(shown);
    }
    let mut code = 0;
    let mut told = Told::default();
    while !lives.is_empty() {
        let mut ended = Vec::new();
        for (index, live) in lives.iter_mut().enumerate() {
            match live.catch_up() {
                Ok(None) => {}
                Ok(Some(ending)) => {
                    ended.push(index);
                    if let (0, Ending::Code(other)) = (code, ending) {
                        code = other;
                    }
                }
                Err(error) => {
                    drop(lives.remove(index));
                    end(lives);
                    return Err(error);
                }
            }
        }
        told.tell(&lives);
        for index in ended.into_iter().rev() {
            lives.remove(index);
        }
        wait(&mut lives, &signals)?;
    }
    Ok(code)
}

/// What the service manager knows: of all pods together, each thing once.
#[derive(Default)]
struct Told {
    ready: bool,
    stopping: bool,
}

impl Told {
    fn tell(&mut self, lives: &[Live<'_>]) {
        if !self.ready && lives.iter().all(Live::is_ready) {
            self.ready = true;
            service::tell("READY=1");
        }
        // One that ends while others go on is no end of the service.
        if !self.stopping && lives.iter().all(Live::is_stopping) {
            self.stopping = true;
            service::tell("STOPPING=1");
        }
    }
}

/// One could not be brought up, or was lost: the others do not go on without it.
pub(super) fn end(lives: Vec<Live<'_>>) {
    for live in lives {
        if let Err(error) = live.take_down() {
            error.report();
        }
    }
}

/// For anything to be said, written or asked for.
fn wait(lives: &mut [Live<'_>], signals: &SignalFd) -> Result<(), CliError> {
    if lives.is_empty() {
        return Ok(());
    }
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let most = lives.iter().any(Live::has_more).then_some(&now);
    let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
    fds.extend(lives.iter().flat_map(Live::sources));
    match poll(&mut fds, most) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(CliError::host("cannot wait", &std::io::Error::from(errno))),
    }
    drop(fds);
    for _ in 0..count_ends(signals) {
        lives.iter_mut().for_each(Live::interrupt);
    }
    Ok(())
}
