//! `podspec validate`: every problem of pod files, and nothing of the machine touched.

use super::error::CliError;
use super::file::PodFile;
use super::output;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check pod files and show every problem at its place
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: podspec validate pod.yaml")]
pub(super) struct Validate {
    /// Pod files, `-` for standard input; ./pod.yaml where none is named
    files: Vec<PathBuf>,
}

impl Validate {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let files =
            if self.files.is_empty() { vec![PathBuf::from("pod.yaml")] } else { self.files };
        let mut broken = false;
        for path in &files {
            match PodFile::read(Some(path)).and_then(|file| Ok((file.load()?, file))) {
                Ok((loaded, file)) => {
                    let names: Vec<&str> =
                        loaded.pods.iter().map(|pod| pod.spec.name.as_str()).collect();
                    output::line(&format!("{}: ok ({})", file.name, names.join(", ")))?;
                }
                Err(error) => {
                    error.report();
                    broken = true;
                }
            }
        }
        Ok(if broken { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }
}
