//! `podspec inspect`: all that is known of a pod, as one JSON object.

use super::error::CliError;
use super::target::{Target, find};
use super::{Format, output};
use crate::state::store::Store;
use std::process::ExitCode;

/// Show all that is known of a pod, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec inspect shop
  podspec inspect shop/web
  podspec inspect shop | jq -r .network.ipv4")]
pub(super) struct Inspect {
    /// The pod, or one container of it
    #[arg(value_name = "POD[/CONTAINER]")]
    target: Target,
    /// How to report; JSON either way
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json, hide = true)]
    format: Format,
}

impl Inspect {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let record = find(store, &self.target.pod)?;
        match &self.target.container {
            None => output::json(&record)?,
            Some(name) => {
                let container = record.containers.iter().find(|c| c.name == *name);
                output::json(container.ok_or_else(|| {
                    let pod = &self.target.pod;
                    CliError::refused(
                        format!("there is no container `{name}` in pod `{pod}`"),
                        format!("`podspec inspect {pod}` shows the pod"),
                    )
                })?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
