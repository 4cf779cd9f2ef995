//! `podspec plan`: what `up` would do, without doing it.

use super::error::CliError;
use super::file::PodFile;
use super::up::{self, plan_error};
use super::{Format, output};
use crate::plan::{self, Goal};
use crate::state::store::Store;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what `up` would do, step by step; touches nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec plan examples/hello.yaml
  podspec plan --format json --oci shop.yaml

Steps of one level run side by side; each waits for those of its edges alone.")]
pub(super) struct Plan {
    /// Pod file, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    /// With the OCI runtime spec of every container (JSON only)
    #[arg(long)]
    oci: bool,
}

impl Plan {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let file = PodFile::read(self.file.as_deref())?;
        let loaded = file.load()?;
        let mut documents = Vec::new();
        for pod in &loaded.pods {
            let observed = up::observe(store, &pod.spec.name)?;
            let facts = up::facts(store, &pod.spec)?;
            let plan = plan::plan(Goal::Up(&pod.spec), observed.as_ref(), &facts)
                .map_err(|error| plan_error(store, &file, pod, &error))?;
            up::notices(&plan, &facts).iter().for_each(|notice| output::error_line(notice));
            match self.format {
                Format::Human => output::raw(plan::render::text(&plan).as_bytes())?,
                Format::Json => documents.push(plan::render::json(&plan, self.oci)),
            }
        }
        if self.format == Format::Json {
            // One pod is an object, several are a list of them.
            match documents.as_slice() {
                [one] => output::json(one)?,
                many => output::json(&many)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
