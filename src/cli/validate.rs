//! `podspec validate`: every problem of pod files, and nothing of the machine touched but files, where
//! `--fix` says so.

use super::error::{CliError, report_problems};
use super::file::PodFile;
use super::machine::{self, Found};
use super::{fix, output};
use crate::spec::problem::{Problem, Severity};
use crate::spec::{mend, pages};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check pod files, show problems at their place; touches nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec validate                   ./pod.yaml
  podspec validate pods/ a.yaml      also what is below pods/
  podspec validate --fix             mend what is sure, show the changes
  podspec validate --format json -   of standard input, for an editor
  podspec validate --format sarif .  for code scanning

Exit code: 0 where all files are well (warnings or not), 2 where one is not.
`podspec explain CODE` tells more of a problem.")]
pub(super) struct Validate {
    /// Pod files or directories, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Reporting::Human)]
    format: Reporting,
    /// Take warnings for errors
    #[arg(long, value_name = "WHAT")]
    deny: Option<Denied>,
    /// Mend the files where it is sure what was meant; comments and layout stay
    #[arg(long)]
    fix: bool,
}

/// How problems are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Reporting {
    // Not doc comments: clap would make a page of the two.
    Human,
    Json,
    Sarif,
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Denied {
    Warnings,
}

impl Validate {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        if self.fix && self.files.iter().any(|file| file == Path::new("-")) {
            return Err(CliError::usage("standard input cannot be mended: name a file"));
        }
        let mut files = Vec::new();
        if self.files.is_empty() {
            files.push(None);
        }
        for named in &self.files {
            if named.is_dir() {
                files.extend(pod_files(named)?.into_iter().map(Some));
            } else {
                files.push(Some(named.clone()));
            }
        }
        let mut all_well = true;
        let mut found = Vec::new();
        for path in &files {
            all_well &= self.one(path.as_deref(), &mut found)?;
        }
        match self.format {
            Reporting::Human => {}
            Reporting::Json => even_unread(output::json(&machine::list(&found)))?,
            Reporting::Sarif => {
                let title =
                    |code: &str| pages::find(code).map_or(code, |page| page.title).to_owned();
                even_unread(output::json(&machine::sarif(&found, title)))?;
            }
            Reporting::Github => {
                for one in &found {
                    even_unread(output::line(&machine::github(one)))?;
                }
            }
        }
        Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }

    /// Judges one file; whether it is well.
    fn one(&self, path: Option<&Path>, found: &mut Vec<Found>) -> Result<bool, CliError> {
        let mut file = match PodFile::read(path) {
            Ok(file) => file,
            Err(error) if self.format == Reporting::Human => {
                error.report();
                return Ok(false);
            }
            Err(error) => {
                let name = path.unwrap_or(Path::new("pod.yaml")).display().to_string();
                found.push(machine::unreadable(&name, error.message(), error.hint()));
                return Ok(false);
            }
        };
        if self.fix {
            self.mend(&mut file, path.unwrap_or(Path::new("pod.yaml")))?;
        }
        let judged = file.judge();
        let (mut problems, names): (Vec<Problem>, Vec<String>) = match judged {
            Ok(loaded) => {
                let names = loaded.pods.iter().map(|pod| pod.spec.name.to_string()).collect();
                (loaded.warnings, names)
            }
            Err(problems) => (problems, Vec::new()),
        };
        if self.deny == Some(Denied::Warnings) {
            problems.iter_mut().for_each(|problem| problem.severity = Severity::Error);
        }
        let is_well = problems.iter().all(|problem| problem.severity == Severity::Warning);
        if self.format != Reporting::Human {
            found.append(&mut machine::found(&file.name, &file.text, &problems));
            return Ok(is_well);
        }
        if !problems.is_empty() {
            output::error_text(&report_problems(&file, &problems));
        }
        if is_well {
            even_unread(output::done(&format!("{}: ok ({})", file.name, names.join(", "))))?;
        } else if !self.fix && path != Some(Path::new("-")) {
            let count = problems.iter().filter(|problem| !problem.fix.is_empty()).count();
            // The command of just this file.
            let name = path.map_or(String::new(), |_| format!(" {}", file.name));
            if count > 0 {
                output::error_line(&format!(
                    "`podspec validate --fix{name}` mends {count} of them"
                ));
            }
        }
        Ok(is_well)
    }

    /// Writes what can be mended, and shows it.
    fn mend(&self, file: &mut PodFile, path: &Path) -> Result<(), CliError> {
        let judge = |text: &str| {
            let file = file.with_text(text);
            file.judge().map_or_else(|problems| problems, |loaded| loaded.warnings)
        };
        let (text, count) = mend::mend(&file.text, judge);
        if text == file.text {
            return Ok(());
        }
        fix::replace(path, &text)
            .map_err(|error| CliError::host(format!("cannot write {}", file.name), &error))?;
        if self.format == Reporting::Human {
            let diff = fix::diff(&file.name, &file.text, &text);
            even_unread(output::raw(output::harmless(&diff).as_bytes()))?;
            let many = if count == 1 { "problem" } else { "problems" };
            even_unread(output::line(&format!("{}: {count} {many} mended", file.name)))?;
        }
        file.text = text;
        Ok(())
    }
}

/// Where nobody reads any more (`| head`), the rest is judged all the same: the exit code tells the truth.
fn even_unread(written: Result<(), CliError>) -> Result<(), CliError> {
    match written {
        Err(CliError::BrokenPipe) => Ok(()),
        written => written,
    }
}

/// The pod files below a directory, by the names that editors know: `pod.yaml`, `*.pod.yaml`, and the
/// same with `.yml`. Hidden directories and links are not followed.
fn pod_files(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let is_pod_file = |name: &str| {
        let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
        stem.is_some_and(|stem| stem == "pod" || stem.ends_with(".pod"))
    };
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    let mut has_yaml = false;
    while let Some(at) = directories.pop() {
        let entries = std::fs::read_dir(&at).map_err(|error| {
            CliError::usage(format!("cannot read the directory {}: {error}", at.display()))
        })?;
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !name.starts_with('.') => directories.push(path),
                Ok(kind) if kind.is_file() && is_pod_file(&name) => files.push(path),
                Ok(kind) if kind.is_file() && name.ends_with(".yaml") => {
                    has_yaml |= at == directory;
                }
                _ => {}
            }
        }
    }
    if files.is_empty() {
        let named = "in a directory a pod file is named `pod.yaml` or `NAME.pod.yaml`";
        let hint = match has_yaml {
            true => {
                let all = directory.join("*.yaml");
                format!("{named}; name the others: `podspec validate {}`", all.display())
            }
            false => format!("{named}; `podspec init` writes a first one"),
        };
        return Err(CliError::Usage {
            message: format!("there is no pod file in {}", directory.display()),
            hint: Some(hint),
        });
    }
    files.sort();
    // What is below `.` is named as one would type it.
    let short = |path: PathBuf| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path);
    Ok(files.into_iter().map(short).collect())
}
