//! `podspec docs`: the reference of the pod file.

use super::error::CliError;
use super::output;
use std::process::ExitCode;

/// Print the reference of the pod file, as Markdown
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec docs | less
  podspec docs | grep -A3 '`stopTimeout`'")]
pub(super) struct Docs {}

impl Docs {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        output::raw(crate::spec::reference().as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
