//! `podspec completions`: a completion script for a shell.

use super::error::CliError;
use super::{Cli, output};
use clap::CommandFactory;
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: podspec completions bash > /etc/bash_completion.d/podspec")]
pub(super) struct Completions {
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "podspec", &mut script);
        output::raw(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
