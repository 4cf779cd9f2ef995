//! `podspec completions`: a completion script for a shell. The scripts ask `podspec __complete` for what
//! could stand next, so that they know the pods that run now; `complete.rs` answers.

use super::error::CliError;
use super::output;
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  . <(podspec completions bash)          for this shell
  podspec completions bash > /etc/bash_completion.d/podspec
  podspec completions zsh > /usr/local/share/zsh/site-functions/_podspec
  podspec completions fish > ~/.config/fish/completions/podspec.fish

The shell then completes commands, options, pod files, and the names of the pods, containers and volumes
that are there.")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        output::raw(match self.shell {
            Shell::Bash => include_bytes!("completions/podspec.bash"),
            Shell::Zsh => include_bytes!("completions/podspec.zsh"),
            Shell::Fish => include_bytes!("completions/podspec.fish"),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
