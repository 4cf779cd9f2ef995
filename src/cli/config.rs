//! `podspec config`: the pod file as it is understood.

use super::error::CliError;
use super::file::PodFile;
use super::output;
use crate::spec::{write, yaml};
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the pod file as podspec understands it
///
/// Every default is written out, variables and anchors are replaced, files of variables are read, paths are
/// absolute. What comes out is a pod file that means the same; a dollar in it is doubled, as in any other.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec config shop.yaml
  podspec config --format json shop.yaml | jq '.containers | keys'
  diff <(podspec config old.yaml) <(podspec config new.yaml)")]
pub(super) struct Config {
    /// Pod file, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Written::Yaml)]
    format: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Written {
    // Not doc comments: clap would make a page of the two.
    Yaml,
    Json,
}

impl Config {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let file = PodFile::read(self.file.as_deref())?.alone();
        let loaded = file.load()?;
        let pods: Vec<Value> = loaded.pods.iter().map(|pod| write::document(&pod.spec)).collect();
        match (self.format, pods.as_slice()) {
            (Written::Yaml, pods) => {
                let documents: Result<Vec<String>, CliError> = pods.iter().map(document).collect();
                output::raw(documents?.join("---\n").as_bytes())?;
            }
            (Written::Json, [one]) => output::json(one)?,
            (Written::Json, many) => output::json(&many)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// JSON is YAML too, and can spell out what a terminal would obey.
fn document(pod: &Value) -> Result<String, CliError> {
    let text = yaml::text(pod);
    if text.chars().any(|c| c != '\n' && output::is_harmful(c)) {
        return Ok(output::json_text(pod)? + "\n");
    }
    Ok(text)
}
