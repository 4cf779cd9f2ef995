//! What containers there are and what they are doing: `state`, `list`, `ps`.

use super::log::Log;
use super::print;
use crate::oci::{self, Container, OciError, Store};
use std::fmt::Write;
use std::process::ExitCode;

/// Show the state of a container, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci state demo1")]
pub(super) struct State {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl State {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        let state = store.find(&self.id)?.state();
        let value: serde_json::Value = serde_json::from_slice(&state).unwrap_or_default();
        print(format!("{value:#}\n").as_bytes())
    }
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// List the containers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci list
  podspec oci list --format json")]
pub(super) struct List {
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Ids alone
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    pub(super) fn run(self, store: &Store, log: &Log) -> Result<ExitCode, OciError> {
        let (found, damaged) = store.list()?;
        log.warn(&damaged.iter().map(ToString::to_string).collect::<Vec<_>>());
        if self.quiet {
            let ids: String = found.iter().map(|found| format!("{}\n", found.id())).collect();
            return print(ids.as_bytes());
        }
        match self.format {
            Format::Table => print(table(&found).as_bytes()),
            Format::Json => {
                let states: Vec<serde_json::Value> = found
                    .iter()
                    .map(|found| serde_json::from_slice(&found.state()).unwrap_or_default())
                    .collect();
                print(format!("{}\n", serde_json::Value::from(states)).as_bytes())
            }
        }
    }
}

fn table(found: &[Container]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for container in found {
        let owner = container.owner();
        rows.push([
            container.id().to_owned(),
            container.pid().unwrap_or(0).to_string(),
            container.status.to_string(),
            container.bundle().display().to_string(),
            container.created().to_owned(),
            if owner == 0 { "root".to_owned() } else { owner.to_string() },
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

/// List the processes of a container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci ps demo1
  podspec oci ps --format json demo1              the pids alone
  podspec oci ps demo1 -o pid,comm                with options of ps(1)")]
pub(super) struct Ps {
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// Options of ps(1), which shows them; without any, `-ef`
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Ps {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        let pids = oci::processes(store, &self.id)?;
        match self.format {
            Format::Json => print(format!("{}\n", serde_json::Value::from(pids)).as_bytes()),
            Format::Table => print(rows(&self.shown()?, &pids)?.as_bytes()),
        }
    }

    /// All that ps(1) says of the machine.
    fn shown(&self) -> Result<String, OciError> {
        let default = ["-ef".to_owned()];
        let options = if self.options.is_empty() { &default[..] } else { &self.options };
        let output = std::process::Command::new("ps").args(options).output();
        let output = output.map_err(|source| OciError::File {
            operation: "run",
            path: "ps".into(),
            source,
        })?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(OciError::Usage { message: format!("ps {}: {said}", options.join(" ")) })
            }
        }
    }
}

/// The heading and the rows of these pids.
fn rows(shown: &str, pids: &[i32]) -> Result<String, OciError> {
    let mut lines = shown.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|word| word == "PID") else {
        let message = "ps shows no column PID with these options".to_owned();
        return Err(OciError::Usage { message });
    };
    let is_theirs = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let kept = std::iter::once(heading).chain(lines.filter(is_theirs));
    Ok(kept.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_pid() {
        let shown = "  PID TTY      CMD\n    7 pts/0    sh\n   70 ?        cat 7\n";
        assert_eq!(rows(shown, &[7]).unwrap(), "  PID TTY      CMD\n    7 pts/0    sh\n");
        assert!(rows("CMD\nsh\n", &[7]).is_err());
    }
}
