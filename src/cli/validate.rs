//! `podspec validate`: every problem of pod files, and nothing of the machine touched.

use super::error::{CliError, report_problems};
use super::file::PodFile;
use super::report::json_problems;
use super::{Format, output};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check pod files and show every problem at its place; touches nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec validate                        ./pod.yaml
  podspec validate pods/*.yaml
  podspec validate --format json a.yaml   a list of problems, for an editor or for CI

Exit code: 0 where all files are well (warnings or not), 2 where one is not.")]
pub(super) struct Validate {
    /// Pod files, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Validate {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let named: Vec<Option<&Path>> = match self.files.as_slice() {
            [] => vec![None],
            files => files.iter().map(|file| Some(file.as_path())).collect(),
        };
        let mut all_well = true;
        let mut list = Vec::new();
        for path in named {
            all_well &= match self.format {
                Format::Human => show(path)?,
                Format::Json => collect(path, &mut list),
            };
        }
        if self.format == Format::Json {
            output::json(&list)?;
        }
        Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

/// Shows what is wrong with a file; whether it is well.
fn show(path: Option<&Path>) -> Result<bool, CliError> {
    let file = match PodFile::read(path) {
        Ok(file) => file,
        Err(error) => {
            error.report();
            return Ok(false);
        }
    };
    let judged = file.judge();
    let problems = match &judged {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    };
    if !problems.is_empty() {
        output::error_text(&report_problems(&file, problems));
    }
    if let Ok(loaded) = &judged {
        let names: Vec<&str> = loaded.pods.iter().map(|pod| pod.spec.name.as_str()).collect();
        output::line(&format!("{}: ok ({})", file.name, names.join(", ")))?;
    }
    Ok(judged.is_ok())
}

fn collect(path: Option<&Path>, list: &mut Vec<Value>) -> bool {
    match PodFile::read(path) {
        Ok(file) => {
            let judged = file.judge();
            let is_well = judged.is_ok();
            let problems = judged.map_or_else(|problems| problems, |loaded| loaded.warnings);
            list.extend(json_problems(&file.name, &file.text, &problems));
            is_well
        }
        Err(error) => {
            // A file that cannot be read has no lines.
            let name = path.unwrap_or(Path::new("pod.yaml")).display().to_string();
            let message = error.message();
            list.push(json!({ "file": name, "severity": "error", "message": message }));
            false
        }
    }
}
