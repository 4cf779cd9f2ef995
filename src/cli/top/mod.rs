//! `podspec top`: pods on a whole screen, to look at and to act on; where that is not wanted, or there is no
//! terminal, the processes of one pod as a table.
//!
//! ```text
//!  source -> model <- input        source: records, usage, what waits for what, as files and cgroups have it
//!              |                   model:  all that is shown and selected; pure
//!            view                  input:  a key to a command; view: the model to a buffer; both pure
//! ```
//! `live.rs` is the loop around them, `session.rs` the terminal while it is ours, `job.rs` what was asked of
//! a supervisor, `tail.rs` the log that is shown.

mod input;
mod job;
mod live;
mod log;
mod model;
mod processes;
#[cfg(test)]
mod sample;
mod session;
mod source;
mod tail;
mod tree;
mod view;

use super::error::CliError;
use super::target::{self, Target, TargetArg};
use super::{Format, output};
use crate::state::store::Store;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

/// Watch pods on the whole screen, or list the processes of one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec top                      all pods, on the whole screen
  podspec top shop/web             one pod, its container `web` selected
  podspec top --once shop          its processes, as a table
  podspec top --once shop/web
  podspec top shop --format json | jq '.[].pid'

On a terminal it shows every container with its state, what it waits for and what it uses, as it changes.
Keys, which `?` shows too:
  up, down, j, k  select; PgUp, PgDn, Home, End; Tab: the next pod
  Enter           the log of what is selected; Esc leads back
  r, s            restart, stop; asked first
  e, x            a shell in the container; its end leads back
  t               containers below what they wait for, or in file order
  /               only what has this in its name
  q               quit

With --once, with --format, or where input or output is no terminal, it lists the processes of one pod that
the host sees: PID and USER are the host's, INSIDE is the pid that the container knows, and the line without a
container is the process that holds the pod's namespaces. %CPU is of the whole life of the process, as ps(1)
has it. A COMMAND in brackets is the name of a process that has no arguments, such as one that has ended and
was not waited for.")]
pub(super) struct Top {
    /// The pod, or one container of it; where none is named all pods, in a table the pod of ./pod.yaml
    #[arg(value_name = "POD[/CONTAINER]")]
    target: Option<TargetArg>,
    /// List the processes once, also on a terminal
    #[arg(long)]
    once: bool,
    /// How to report the processes, once [default: human]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Top {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        if self.once || self.format.is_some() || !has_terminal() {
            let target = target::one(self.target.as_ref())?;
            return processes::show(store, &target, self.format.unwrap_or(Format::Human));
        }
        let target = self.target.as_ref().map(|target| target::one(Some(target))).transpose()?;
        if let Some(target) = &target {
            check(store, target)?;
        }
        live::run(store, target)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A name that is wrong is said before anything is drawn.
fn check(store: &Store, target: &Target) -> Result<(), CliError> {
    let record = target::find(store, &target.pod)?;
    match &target.container {
        Some(name) => target::container(&record, Some(name)).map(|_| ()),
        None => Ok(()),
    }
}

fn has_terminal() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the command line is who reads it")]
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdin().is_terminal() && output::stdout_is_terminal() && !dumb
}
