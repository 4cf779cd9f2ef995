//! `podspec schema`: the JSON schema of the pod file, for editors.

use super::error::CliError;
use super::output;
use std::process::ExitCode;

/// Print the JSON schema of the pod file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  podspec schema > pod.schema.json

With this first line in a pod file an editor with a YAML language server completes and checks it:
  # yaml-language-server: $schema=pod.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        output::json(&crate::spec::schema())?;
        Ok(ExitCode::SUCCESS)
    }
}
