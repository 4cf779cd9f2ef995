//! `podspec explain`: what a problem's code means, with an example of wrong and of right.

use super::error::CliError;
use super::{Format, output};
use crate::spec::{pages, problem};
use std::process::ExitCode;

/// Explain a problem's code, with an example, or list all codes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec explain P0108   what it means, a wrong file and a right one
  podspec explain         every code, a line each
  podspec explain --format json | jq -r '.[].code'")]
pub(super) struct Explain {
    /// A code as `validate` prints it
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let Some(word) = self.code else {
            if self.format == Format::Json {
                output::json(&pages::all().collect::<Vec<_>>())?;
                return Ok(ExitCode::SUCCESS);
            }
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
        if self.format == Format::Json {
            output::json(&[page])?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = wrapped(page.text.trim(), output::stdout_width().min(WIDEST));
        output::line(&format!("{}: {}\n\n{text}", page.code, page.title))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Longer lines are hard to read.
const WIDEST: usize = 100;

/// Paragraphs in lines of this width; examples and tables as they are.
fn wrapped(text: &str, width: usize) -> String {
    let (mut out, mut column, mut is_example) = (String::new(), 0, false);
    for line in text.lines() {
        let is_fence = line.starts_with("```");
        if is_example || is_fence || line.is_empty() || line.starts_with(['|', '-', ' ']) {
            is_example ^= is_fence;
            if column > 0 {
                out.push('\n');
            }
            out.push_str(line);
            out.push('\n');
            column = 0;
            continue;
        }
        for word in line.split(' ') {
            let long = word.chars().count();
            if column > 0 && column + 1 + long > width {
                out.push('\n');
                column = 0;
            }
            if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += long;
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_and_examples_are_not() {
        let text = "one two\nthree four\n\n| a | table that is wide |\n\n```yaml\n# a long comment\n\nb: 1\n```\nfive";
        let narrow = "one two\nthree\nfour\n\n| a | table that is wide |\n\n```yaml\n# a long comment\n\nb: 1\n```\nfive";
        assert_eq!(wrapped(text, 8), narrow);
        for page in pages::all() {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let shown = wrapped(page.text, 40);
            assert_eq!(words(&shown), words(page.text), "{}", page.code);
        }
    }
}
