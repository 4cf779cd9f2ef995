//! `podspec attach`: a running container's own input and output, as it comes. With a terminal ours is lent
//! to it, and what it writes is obeyed as by any terminal.

use super::error::CliError;
use super::target::{self, TargetArg};
use super::terminal::{Carried, DetachKeys, Input, RawTerminal, copy_size, wait, write_all};
use super::{output, running, signals};
use crate::names::ContainerName;
use crate::plan::step;
use crate::state::record::ContainerStatus;
use crate::state::store::Store;
use crate::supervise::control::connect;
use crate::supervise::logs::Stream;
use crate::supervise::protocol::{Event, Output, Request};
use crate::supervise::wire::{Received, Wire};
use crate::sys::process;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::termios::isatty;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

/// Attach to a running container's input and output
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec attach shop/shell                  leave with Ctrl-P Ctrl-Q
  podspec attach --no-stdin shop/web         see what it writes
  echo reload | podspec attach shop/worker

What is typed reaches a container with `stdin: true`; with `tty: true` it has a terminal, which
takes the size of yours. Any number of clients may be attached; each sees what comes from now on,
`podspec logs` what came before. `up` in front shows output and attaches nobody. The output is passed
on as it is: whatever the container writes, your terminal obeys.

Without a terminal in the container, signals such as Ctrl-C go to its first process
(`--sig-proxy=false`: they end podspec instead). Exit code: the container's, where it ends; 0 after
the keys that leave.")]
pub(super) struct Attach {
    /// The keys that leave the container alone; an empty word: none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Pass nothing on to the container
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to a container without a terminal
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    /// The container; a pod with one container needs only the pod, and that of ./pod.yaml nothing
    #[arg(value_name = "POD[/CONTAINER]")]
    target: Option<TargetArg>,
}

/// How it ended.
enum Ending {
    Detached,
    /// The container's exit code.
    Ended(i32),
}

impl Attach {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let wanted = target::one(self.target.as_ref())?;
        let record = target::find(store, &wanted.pod)?;
        let container = target::container(&record, wanted.container.as_ref())?;
        let name = format!("{}/{}", record.name, container.name);
        let plan = running::plan(store, &record.name)?;
        let input = &running::launch(&plan, &container.name)?.stdio.input;
        let failed = |error: io::Error| CliError::host(format!("cannot attach to {name}"), &error);
        let connected = connect(&store.pod(&record.name).socket()).map_err(failed)?;
        let mut wire = connected.ok_or_else(|| {
            CliError::refused(
                format!("cannot attach to {name}: its supervisor is gone"),
                format!("`podspec down {}` ends what is left of it", record.name),
            )
        })?;
        let request = Request::Attach { container: container.name.clone() };
        wire.send(&request).map_err(failed)?;
        let Some(master) = answer(&mut wire).map_err(failed)? else {
            return Err(running::not_running(&name, &record.name));
        };
        wire.stream().set_nonblocking(true).map_err(failed)?;
        let first = running::first_process(container);
        let mut session = Session { wire, container: &container.name, first, master, input: None };
        session.input = self.input(input, session.master.as_ref()).map_err(failed)?;
        // Where nobody reads, that is of the container's output.
        let carried = self.carry(&mut session);
        match carried.map_err(|error| CliError::of_writing(error, failed))? {
            Ending::Ended(code) => {
                Ok(ExitCode::from(u8::try_from(code.clamp(0, 255)).unwrap_or(1)))
            }
            Ending::Detached => {
                output::error_line(&format!("detached from {name}, which runs on"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// Where what is typed goes.
    fn input(&self, to: &step::Input, master: Option<&OwnedFd>) -> io::Result<Option<Input>> {
        let to = match (to, master) {
            _ if self.no_stdin => None,
            (step::Input::Terminal { open: true }, Some(master)) => Some(master.try_clone()?),
            (step::Input::Fifo { path }, _) => Some(open_fifo(path)?),
            _ => None,
        };
        let keys = if master.is_some() { self.detach_keys.clone() } else { DetachKeys::default() };
        // The end of ours is not the container's: another client may come.
        to.map(|to| Input::new(to, b"", keys)).transpose()
    }

    /// With a terminal it is ours to lend; its signals are keys then, and those that still come are for us.
    fn carry(&self, session: &mut Session<'_>) -> io::Result<Ending> {
        const OURS: [Signal; 4] =
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGWINCH];
        const PROXIED: [Signal; 6] = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ];
        let Some(master) = &session.master else {
            let signals = if self.sig_proxy { Some(signals::take(&PROXIED)?) } else { None };
            return session.carry(signals.as_ref());
        };
        let signals = signals::take(&OURS)?;
        let ours = isatty(io::stdin());
        if ours {
            copy_size(master.as_fd(), true);
        }
        let raw = if ours && session.input.is_some() { Some(RawTerminal::enter()?) } else { None };
        let ending = session.carry(Some(&signals));
        if raw.is_some() {
            // The container's last line may have no end.
            let _ = write_all(io::stdout(), b"\r\n");
        }
        drop(raw);
        ending
    }
}

/// `Some` once attached, with the master of the container's terminal; `None` where it does not run.
fn answer(wire: &mut Wire) -> io::Result<Option<Option<OwnedFd>>> {
    while let Some((frame, fd)) = wire.receive_with()? {
        match serde_json::from_slice(&frame)? {
            Event::Attached { terminal } if terminal == fd.is_some() => return Ok(Some(fd)),
            Event::Attached { .. } => return Err(io::ErrorKind::InvalidData.into()),
            Event::NotAttached { .. } | Event::Gone { .. } => return Ok(None),
            // News for everyone.
            _ => {}
        }
    }
    Ok(None)
}

/// The container's FIFO, where one reads; a link in its place is not followed.
fn open_fifo(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

struct Session<'a> {
    wire: Wire,
    container: &'a ContainerName,
    /// A pidfd of the container's first process.
    first: Option<OwnedFd>,
    /// Of its terminal.
    master: Option<OwnedFd>,
    input: Option<Input>,
}

impl Session<'_> {
    fn carry(&mut self, signals: Option<&SignalFd>) -> io::Result<Ending> {
        let stdin = io::stdin();
        loop {
            // Of several frames that came at once all but the first are ours already.
            if let Some(ending) = self.hear()? {
                return Ok(ending);
            }
            let mut fds = vec![PollFd::from_borrowed_fd(self.wire.stream().as_fd(), PollFlags::IN)];
            fds.push(output::reader());
            fds.extend(signals.map(|signals| PollFd::new(signals, PollFlags::IN)));
            let input_at = fds.len();
            fds.extend(self.input.as_ref().map(|input| input.poll_fd(&stdin)));
            wait(&mut fds, None)?;
            if !fds[1].revents().is_empty() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let typed = fds.get(input_at).is_some_and(|fd| !fd.revents().is_empty());
            drop(fds);
            if let Some(signals) = signals
                && signals::read(signals).any(|signal| self.is_end(signal))
            {
                return Ok(Ending::Detached);
            }
            match self.input.as_mut().filter(|_| typed).map(Input::carry) {
                Some(Carried::Detached) => return Ok(Ending::Detached),
                Some(Carried::Over) => self.input = None,
                Some(Carried::GoOn) | None => {}
            }
        }
    }

    /// All that the supervisor has said.
    fn hear(&mut self) -> io::Result<Option<Ending>> {
        loop {
            let frame = match self.wire.receive_frame()? {
                Received::Frame(frame) => frame,
                Received::Nothing => return Ok(None),
                Received::Closed => return Err(io::ErrorKind::ConnectionReset.into()),
            };
            if let Some(Output { stream, text }) = Output::decode(&frame) {
                match stream {
                    Stream::Stdout => write_all(io::stdout(), text)?,
                    Stream::Stderr => write_all(io::stderr(), text)?,
                }
                continue;
            }
            match serde_json::from_slice(&frame)? {
                Event::Container(state) if state.name == *self.container => {
                    use ContainerStatus::{Exited, Failed, Restarting, Stopped};
                    if matches!(state.status, Exited | Failed | Restarting | Stopped) {
                        return Ok(Some(Ending::Ended(state.exit_code.unwrap_or(0))));
                    }
                }
                Event::Gone { .. } => return Ok(Some(Ending::Ended(0))),
                _ => {}
            }
        }
    }

    /// Passes a signal on; `true` for one that ends us. A process 1 that has no handler for it would never
    /// see it, and the user never get away.
    fn is_end(&self, signal: Signal) -> bool {
        if let (Some(master), Signal::SIGWINCH) = (&self.master, signal) {
            copy_size(master.as_fd(), false);
            return false;
        }
        let first = self.first.as_ref().filter(|_| self.master.is_none());
        let Some(first) = first else { return true };
        process::is_deaf_init_behind(first.as_fd(), signal as i32)
            || process::pidfd_send_signal(first.as_fd(), signal as i32).is_err()
    }
}
