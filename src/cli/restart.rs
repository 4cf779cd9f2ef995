//! `podspec restart`: containers end and start again, in their order.

use super::error::CliError;
use super::request::{self, Group};
use super::start::startable;
use super::target::TargetArg;
use super::{Format, output};
use crate::names::ContainerName;
use crate::state::record::ContainerStatus;
use crate::state::store::Store;
use crate::supervise::protocol::Request;
use std::process::ExitCode;
use std::time::Duration;

/// Stop containers and start them again
///
/// Of a whole pod all but what has done its work (ended with 0): those stop first that others do not depend
/// on, and start last. The pod's address and ports stay, and so does what containers wrote.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec restart shop
  podspec restart -t 2 shop/web")]
pub(super) struct Restart {
    /// Seconds that each may take to stop, instead of its stopTimeout
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

impl Restart {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let groups = request::groups(store, &self.targets)?;
        request::each(&groups, self.format, |group| {
            let containers = restartable(store, group)?;
            if containers.is_empty() {
                output::progress(&format!("{}: nothing to restart", group.record.name));
                return Ok(Vec::new());
            }
            let restart = Request::Restart { containers, grace: self.timeout };
            request::ask(store, group, &restart, ("restart", None))
        })
    }
}

/// What is named and what that needs; of a whole pod all whose work is not done.
pub(super) fn restartable(store: &Store, group: &Group) -> Result<Vec<ContainerName>, CliError> {
    let starts = startable(store, group, "restart")?;
    let mut containers = group.named.clone();
    if containers.is_empty() {
        let all = group.record.containers.iter();
        let undone = all.filter(|container| container.status != ContainerStatus::Exited);
        containers = undone.map(|container| container.name.clone()).collect();
    }
    let more: Vec<_> = starts.into_iter().filter(|name| !containers.contains(name)).collect();
    containers.extend(more);
    Ok(containers)
}
