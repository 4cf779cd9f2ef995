//! `podspec exec`: a further process in a running container, with that container's namespaces, cgroup,
//! user and capabilities.

use super::error::CliError;
use super::running;
use super::streams::Streams;
use super::target::{self, Target, TargetArg};
use super::terminal::own_size;
use crate::cgroup::Hierarchy;
use crate::exec::{beside, launch};
use crate::plan::step::Launch;
use crate::sandbox::runtime::Further;
use crate::sandbox::{self, Entry, Report, SandboxError};
use crate::state::store::Store;
use crate::supervise::protocol::chain;
use crate::sys::process;
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, BorrowedFd};
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
    /// As `exec -it`.
    pub(super) fn on_terminal(target: &Target, command: Vec<String>) -> Self {
        Self { interactive: true, tty: true, target: target.clone().into(), command }
    }

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
        super::oci::seal().map_err(|error| {
            CliError::host("cannot start from a read-only copy of podspec", &error)
        })?;
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
        let cgroup = hierarchy
            .make(&launch.cgroup)
            .and_then(|own| hierarchy.home_of_further(own, container.pid.unwrap_or_default()))
            .map_err(|error| failed(&error))?;
        let process = self.process(launch, &name)?;
        let streams = Streams::open(self.interactive, self.tty).map_err(|error| failed(&error))?;
        let [stdin, stdout, stderr] =
            streams.child.each_ref().map(|one| Some(one.as_ref()?.as_fd()));
        let entered = match &launch.runtime {
            Some(runtime) => {
                sandbox::runtime::take_orphans(true);
                launch::known(runtime).exec(&Further {
                    process: &process,
                    bundle: &runtime.bundle,
                    streams: [stdin, stdout, stderr],
                    home: cgroup.fd(),
                })
            }
            None => {
                let join = beside::legacy_cgroups(launch).map_err(|error| failed(&error))?;
                sandbox::enter(&Entry {
                    target: target.as_fd(),
                    oci: &launch.oci,
                    process: &process,
                    filter: plan.filter(launch),
                    cgroup: cgroup.fd(),
                    join: &join,
                    terminal: self.tty,
                    stdin,
                    stdout,
                    stderr,
                    extras: sandbox::Extras::default(),
                })
            }
        };
        let entered = entered.map_err(|error| not_started(&name, &error))?;
        let relayed =
            streams.relay(entered.child.pidfd.as_fd(), entered.terminal.as_ref(), self.interactive);
        relayed.map_err(|error| CliError::of_writing(error, |error| failed(&error)))?;
        if let Report::Failed(error) = sandbox::report(entered.child.channel.as_fd()) {
            return Err(not_started(&name, &error));
        }
        Ok(exit_code(entered.child.pidfd.as_fd()))
    }

    /// As the container's own, with the command in the place of its program.
    fn process(&self, launch: &Launch, name: &str) -> Result<Process, CliError> {
        let mut process = launch.oci.process().clone().ok_or_else(|| {
            CliError::refused(
                format!("{name} has no process"),
                "its pod was not started by podspec",
            )
        })?;
        process.set_args(Some(self.command.clone())).set_terminal(Some(self.tty));
        process.set_console_size(own_size().filter(|_| self.tty));
        sandbox::within_own_limits(&mut process);
        Ok(process)
    }
}

fn not_started(name: &str, error: &SandboxError) -> CliError {
    let code = match error {
        SandboxError::NotFound { .. } => NOT_FOUND,
        SandboxError::NotExecutable { .. } => NOT_EXECUTABLE,
        SandboxError::Runtime { what } => code_of(what),
        SandboxError::Step { .. } | SandboxError::Hook { .. } => REFUSED,
    };
    let (message, causes) = match error {
        SandboxError::Step { .. } => (format!("cannot run the command in {name}"), chain(error)),
        // These say it all.
        plain => (format!("{name}: {plain}"), Vec::new()),
    };
    CliError::Host { message, causes, hint: None, code }
}

/// Another runtime says by words alone why there is no program.
fn code_of(what: &str) -> u8 {
    let what = what.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| what.contains(words));
    if says(&["not found", "no such file"]) {
        NOT_FOUND
    } else if says(&["permission denied", "exec format error", "is a directory"]) {
        NOT_EXECUTABLE
    } else {
        REFUSED
    }
}

pub(super) fn exit_code(pidfd: BorrowedFd<'_>) -> ExitCode {
    let code = process::exit_code(pidfd, true).unwrap_or_else(|| REFUSED.into());
    ExitCode::from(u8::try_from(code).unwrap_or(REFUSED))
}
