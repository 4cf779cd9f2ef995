//! `podspec exec`: a further process in a running container, with that container's namespaces, cgroup,
//! user and capabilities. It never gets the caller's terminal itself (TIOCSTI, CVE-2017-5226): with `-t`
//! a terminal of the container's own, else pipes.

use super::error::CliError;
use super::target::{self, TargetArg};
use super::terminal::{Carried, DetachKeys, Input, RawTerminal, copy_size, wait, write_all};
use super::{running, signals};
use crate::cgroup::Hierarchy;
use crate::exec::beside;
use crate::sandbox::{self, Entered, Entry, Report, SandboxError};
use crate::state::store::Store;
use crate::supervise::protocol::chain;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::isatty;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

/// What podspec itself could not do.
const REFUSED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Run a command in a running container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec exec -it shop/web -- sh
  podspec exec -it /web -- sh      in the pod of ./pod.yaml
  podspec exec shop/db -- ps -ef
  podspec exec -i shop/db -- psql < dump.sql

Exit code: the command's; 128 + N where signal N ended it; 125 podspec could not run it, 126 it is no
program, 127 there is no such program.")]
pub(super) struct Exec {
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// The container; a pod with one container needs only the pod
    #[arg(value_name = "POD[/CONTAINER]")]
    target: TargetArg,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        self.enter(store).map_err(|error| match error {
            // Whatever keeps podspec from running the command is 125, as podman has it.
            CliError::Host { message, causes, hint, code: 1 } => {
                CliError::Host { message, causes, hint, code: REFUSED }
            }
            other => other,
        })
    }

    fn enter(&self, store: &Store) -> Result<ExitCode, CliError> {
        let wanted = target::one(Some(&self.target))?;
        let record = target::find(store, &wanted.pod)?;
        let container = target::container(&record, wanted.container.as_ref())?;
        let plan = running::plan(store, &record.name)?;
        let launch = running::launch(&plan, &container.name)?;
        let name = format!("{}/{}", record.name, container.name);
        let failed =
            |error: &dyn std::error::Error| CliError::host(format!("cannot enter {name}"), error);
        let target = running::first_process(container)
            .ok_or_else(|| running::not_running(&name, &record.name))?;
        let hierarchy = Hierarchy::open().map_err(|error| failed(&error))?;
        let cgroup = hierarchy.make(&launch.cgroup).map_err(|error| failed(&error))?;
        let join = beside::legacy_cgroups(launch).map_err(|error| failed(&error))?;
        let mut process = launch.oci.process().clone().ok_or_else(|| {
            CliError::refused(
                format!("{name} has no process"),
                "its pod was not started by podspec",
            )
        })?;
        process.set_args(Some(self.command.clone()));
        let streams = Streams::open(self.interactive, self.tty).map_err(|error| failed(&error))?;
        let entered = sandbox::enter(&Entry {
            target: target.as_fd(),
            oci: &launch.oci,
            process: &process,
            filter: plan.filter(launch),
            cgroup: cgroup.fd(),
            join: &join,
            terminal: self.tty,
            stdin: streams.child[0].as_ref().map(AsFd::as_fd),
            stdout: streams.child[1].as_ref().map(AsFd::as_fd),
            stderr: streams.child[2].as_ref().map(AsFd::as_fd),
        });
        let entered = entered.map_err(|error| not_started(&name, &error))?;
        streams.relay(&entered, self.interactive).map_err(|error| failed(&error))?;
        if let Report::Failed(error) = sandbox::report(entered.child.channel.as_fd()) {
            return Err(not_started(&name, &error));
        }
        Ok(exit_code(entered.child.pidfd.as_fd()))
    }
}

fn not_started(name: &str, error: &SandboxError) -> CliError {
    let code = match error {
        SandboxError::NotFound { .. } => NOT_FOUND,
        SandboxError::NotExecutable { .. } => NOT_EXECUTABLE,
        SandboxError::Step { .. } => REFUSED,
    };
    let (message, causes) = match error {
        SandboxError::Step { .. } => (format!("cannot run the command in {name}"), chain(error)),
        // These say it all.
        plain => (format!("{name}: {plain}"), Vec::new()),
    };
    CliError::Host { message, causes, hint: None, code }
}

fn exit_code(pidfd: BorrowedFd<'_>) -> ExitCode {
    let code = match waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED) {
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        _ => i32::from(REFUSED),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(REFUSED))
}

/// The command's standard streams: its ends, and ours where something must be carried between.
#[derive(Debug, Default)]
struct Streams {
    child: [Option<OwnedFd>; 3],
    input: Option<Input>,
    /// What comes back, and to which of our streams.
    outputs: Vec<(OwnedFd, Destination)>,
}

#[derive(Debug, Clone, Copy)]
enum Destination {
    Stdout,
    Stderr,
}

impl Streams {
    /// Ours are handed on as they are, but a terminal never is.
    fn open(interactive: bool, tty: bool) -> io::Result<Self> {
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

    fn output(&mut self, ours: BorrowedFd<'_>, to: Destination) -> io::Result<Option<OwnedFd>> {
        if !isatty(ours) {
            return Ok(Some(ours.try_clone_to_owned()?));
        }
        let (read, write) = pipe()?;
        self.outputs.push((read, to));
        Ok(Some(write))
    }

    /// Carries bytes until the process has ended and all that it wrote is out.
    fn relay(mut self, entered: &Entered, interactive: bool) -> io::Result<()> {
        self.child = [None, None, None];
        let mut raw = None;
        let mut resized = None;
        if let Some(master) = &entered.terminal {
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
                resized = Some(signals::take(&[Signal::SIGWINCH])?);
                copy_size(master.as_fd(), false);
            }
        }
        let carried = self.carry(entered, resized.as_ref());
        drop(raw);
        carried
    }

    fn carry(&mut self, entered: &Entered, resized: Option<&SignalFd>) -> io::Result<()> {
        let stdin = io::stdin();
        let pidfd = entered.child.pidfd.as_fd();
        loop {
            let mut fds = vec![PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
            for (from, _) in &self.outputs {
                fds.push(PollFd::new(from, PollFlags::IN));
            }
            let input_at = fds.len();
            fds.extend(self.input.as_ref().map(|input| input.poll_fd(&stdin)));
            let resized_at = fds.len();
            if let Some(resized) = resized {
                fds.push(PollFd::new(resized, PollFlags::IN));
            }
            wait(&mut fds, None)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready.get(resized_at) == Some(&true)
                && let (Some(resized), Some(master)) = (resized, &entered.terminal)
            {
                while let Ok(Some(_)) = resized.read_signal() {}
                copy_size(master.as_fd(), false);
            }
            if input_at < resized_at
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
