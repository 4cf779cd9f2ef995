//! `podspec init`: a first pod file, and the schema that an editor explains it by.

use super::error::CliError;
use super::output;
use crate::names::PodName;
use crate::spec;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const TEMPLATE: &str = include_str!("init.yaml");
const SCHEMA: &str = "pod.schema.json";

/// Write a first pod file, with comments, here
///
/// NAME.pod.yaml, or pod.yaml where no name is given: then the pod is named after the directory. Beside it
/// goes pod.schema.json, by which an editor with a YAML language server completes and checks the file,
/// without a network and for everybody who has the directory. Nothing that is there is overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec init shop && podspec up shop.pod.yaml
  mkdir shop && cd shop && podspec init && podspec up

A newer podspec may know more keys; its schema: podspec schema > pod.schema.json")]
pub(super) struct Init {
    /// The pod's name
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Init {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let (name, file) = match &self.name {
            Some(word) => (checked(word)?, PathBuf::from(format!("{word}.pod.yaml"))),
            None => (of_directory()?, PathBuf::from("pod.yaml")),
        };
        let text = TEMPLATE.replace("{{NAME}}", name.as_str());
        let text = text.replace("{{FILE}}", &file.display().to_string());
        if !create(&file, &text)? {
            return Err(CliError::Usage {
                message: format!("{} is there already, and stays as it is", file.display()),
                hint: Some("give another name: `podspec init NAME`".to_owned()),
            });
        }
        let schema = serde_json::to_string_pretty(&spec::schema()).unwrap_or_default() + "\n";
        output::done(&format!("wrote {}", file.display()))?;
        if create(Path::new(SCHEMA), &schema)? {
            output::done(&format!("wrote {SCHEMA}, which your editor reads"))?;
        } else if std::fs::read_to_string(SCHEMA).is_ok_and(|there| there != schema) {
            let renew = "`podspec schema > pod.schema.json` writes this podspec's";
            output::done(&format!("{SCHEMA} is there already, and another; {renew}"))?;
        }
        output::done(&format!("next: podspec up {}", file.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn checked(word: &str) -> Result<PodName, CliError> {
    PodName::try_from(word).map_err(|error| CliError::Usage {
        message: format!("`{word}` cannot be the name of a pod: {error}"),
        hint: Some("such as `podspec init shop`".to_owned()),
    })
}

fn of_directory() -> Result<PodName, CliError> {
    let unknown = |error: io::Error| CliError::usage(format!("where is this? {error}"));
    let here = std::env::current_dir().map_err(unknown)?;
    let word = spec::default_name(&here.join("pod.yaml"));
    word.and_then(|word| PodName::try_from(word.as_str()).ok()).ok_or_else(|| CliError::Usage {
        message: format!("no pod can be named after {}", here.display()),
        hint: Some("name it: `podspec init NAME`".to_owned()),
    })
}

/// False where something of this name is there.
fn create(path: &Path, text: &str) -> Result<bool, CliError> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(CliError::host(format!("cannot write {}", path.display()), &error)),
    }
}
