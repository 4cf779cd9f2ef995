//! `podspec stop`: containers end, and start again only when a user says so; the pod stays.

use super::error::CliError;
use super::target::TargetArg;
use super::{Format, request};
use crate::state::store::Store;
use crate::supervise::protocol::Request;
use std::process::ExitCode;
use std::time::Duration;

/// Stop containers, and keep the pod
///
/// Each gets its stop signal, and SIGKILL when its time is over. Of a whole pod those stop first that
/// others do not depend on; its address, its ports and what containers wrote stay. What was stopped is
/// started by `start`, `restart` or `up`, and by no restart policy. A pod in front (`up` without -d) ends when
/// all of its containers have.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec stop shop             all of the pod; `down` would remove it
  podspec stop shop/web
  podspec stop -t 2 shop        at most two seconds each; 0 kills at once")]
pub(super) struct Stop {
    /// Seconds that each may take, instead of its stopTimeout
    #[arg(short, long, value_name = "SECONDS", value_parser = request::seconds)]
    #[arg(allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Pods, or containers of them; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Stop {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let groups = request::groups(store, &self.targets)?;
        request::each(&groups, self.format, |group| {
            let stop = Request::Stop { containers: group.containers(), grace: self.timeout };
            let within = request::stop_time(store, group, self.timeout);
            request::ask(store, group, &stop, ("stop", Some(within)))
        })
    }
}
