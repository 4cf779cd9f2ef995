//! `podspec graph`: the pod as a picture.

use super::error::CliError;
use super::file::PodFile;
use super::output;
use crate::draw::{self, Picture};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Draw the pod: its containers, and what each waits for
///
/// Looks at the file alone, so it needs no root and no machine that could run the pod. `podspec plan
/// --format svg` draws the same, and with `--steps` each step.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec graph shop.yaml > shop.svg          a drawing, light or dark
  podspec graph -o shop.svg shop.yaml
  podspec graph --format mermaid shop.yaml    for a README on GitHub
  podspec graph --format dot | dot -Tpdf > shop.pdf

The critical path is the chain of containers that decides how long a start takes. Nothing has been timed:
a wait for a program to complete counts more than any number of others, then the longer chain does.")]
pub(super) struct Graph {
    /// Pod file, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What to draw
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Drawing::Svg)]
    format: Drawing,
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Drawing {
    Svg,
    Dot,
    Mermaid,
}

impl Drawing {
    pub(super) fn draw(self, picture: &Picture) -> String {
        match self {
            Self::Svg => draw::svg(picture),
            Self::Dot => draw::dot(picture),
            Self::Mermaid => draw::mermaid(picture),
        }
    }
}

impl Graph {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let file = PodFile::read(self.file.as_deref())?.alone();
        let loaded = file.load()?;
        let [pod] = loaded.pods.as_slice() else { return Err(several(&file, loaded.pods.len())) };
        let drawn = self.format.draw(&draw::containers(&pod.spec));
        match &self.output {
            Some(path) => write(path, &drawn)?,
            None => output::raw(drawn.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A picture is of one pod.
pub(super) fn several(file: &PodFile, count: usize) -> CliError {
    CliError::Usage {
        message: format!("{} has {count} pods, and a picture is of one", file.name),
        hint: Some(
            "give it a file with one of them, or that one on standard input (`-`)".to_owned(),
        ),
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |error| CliError::host(format!("cannot write {}", path.display()), &error);
    std::fs::write(path, text).map_err(failed)
}
