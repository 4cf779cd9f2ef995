//! `podspec explain`: what a problem's code means, with an example of wrong and of right.

use super::error::CliError;
use super::output;
use crate::spec::{pages, problem};
use std::process::ExitCode;

/// Explain a problem's code, with an example; without one, list them all
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec explain P0108   what it means, a wrong file and a right one
  podspec explain         every code, a line each")]
pub(super) struct Explain {
    /// A code as `validate` prints it
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let Some(word) = self.code else {
            for page in pages::all() {
                output::line(&format!("{}  {}", page.code, page.title))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        // `108`, `p0108` and `P108` are as clear.
        let digits = word.trim_start_matches(['P', 'p']);
        let code = format!("P{digits:0>4}");
        let Some(page) = pages::find(&code) else {
            let codes: Vec<&str> = pages::all().map(|page| page.code).collect();
            let near = problem::did_you_mean(&code, codes);
            return Err(CliError::Usage {
                message: format!("there is no code `{word}`"),
                hint: Some(near.unwrap_or_else(|| "`podspec explain` lists them all".to_owned())),
            });
        };
        output::line(&format!("{}: {}\n\n{}", page.code, page.title, page.text.trim()))?;
        Ok(ExitCode::SUCCESS)
    }
}
