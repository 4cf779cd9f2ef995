//! `podspec inspect`: all that is known of a pod, as one JSON object.

use super::error::CliError;
use super::target::{self, TargetArg};
use super::{Format, output};
use crate::state::store::Store;
use std::process::ExitCode;

/// Show all that is known of a pod, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec inspect shop
  podspec inspect shop/web
  podspec inspect              the pod of ./pod.yaml
  podspec inspect shop | jq -r .network.ipv4")]
pub(super) struct Inspect {
    /// The pod, or one container of it; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    target: Option<TargetArg>,
    /// How to report; JSON either way
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json, hide = true)]
    format: Format,
}

impl Inspect {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let target = target::one(self.target.as_ref())?;
        let record = target::find(store, &target.pod)?;
        match target.container.as_ref() {
            None => output::json(&record)?,
            some => output::json(target::container(&record, some)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
