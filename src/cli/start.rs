//! `podspec start`: containers that have ended start again.

use super::error::CliError;
use super::request::{self, Group};
use super::target::TargetArg;
use super::{Format, output, up};
use crate::names::ContainerName;
use crate::plan;
use crate::plan::step::Step;
use crate::state::store::Store;
use crate::supervise::protocol::Request;
use std::process::ExitCode;

/// Start containers that were stopped or have failed
///
/// Of a whole pod whatever was stopped or ended with an error; what has done its work (ended with 0) is left
/// alone unless it is named. What a container depends on starts before it, also where it is not named.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec start shop
  podspec start shop/migrate    again, also where it has ended well")]
pub(super) struct Start {
    /// Pods, or containers of them; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Start {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let groups = request::groups(store, &self.targets)?;
        request::each(&groups, self.format, |group| {
            let containers = startable(store, group, "start")?;
            if containers.is_empty() {
                let pod = &group.record.name;
                output::progress(&format!("{pod}: nothing to start"));
                return Ok(Vec::new());
            }
            request::ask(store, group, &Request::Start { containers }, ("start", None))
        })
    }
}

/// What of the pod is to be started, with what that needs, as the planner says.
pub(super) fn startable(
    store: &Store,
    group: &Group,
    verb: &str,
) -> Result<Vec<ContainerName>, CliError> {
    let Some(observed) = up::observe(store, &group.record.name)? else {
        return Err(request::unsupervised(&group.record.name, verb));
    };
    let plan = plan::start_again(&observed, &group.named);
    let starts = plan.steps.into_iter().filter_map(|planned| match planned.step {
        Step::StartContainer { container } => Some(container),
        _ => None,
    });
    Ok(starts.collect())
}
