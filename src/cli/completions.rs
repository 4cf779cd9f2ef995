//! `podspec completions`: a completion script for a shell.

use super::error::CliError;
use super::{Cli, output};
use clap::CommandFactory;
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  . <(podspec completions bash)                                     for this shell
  podspec completions bash > /etc/bash_completion.d/podspec
  podspec completions zsh > /usr/local/share/zsh/site-functions/_podspec
  podspec completions fish > ~/.config/fish/completions/podspec.fish")]
pub(super) struct Completions {
    /// The shell
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
