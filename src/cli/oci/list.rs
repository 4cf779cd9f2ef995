//! What containers there are and what they are doing: `state`, `list`, `ps`.

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
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        let found = store.list()?;
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

/// List the pids of a container's processes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci ps demo1
  podspec oci ps --format json demo1")]
pub(super) struct Ps {
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Ps {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        let pids = oci::processes(store, &self.id)?;
        match self.format {
            Format::Json => print(format!("{}\n", serde_json::Value::from(pids)).as_bytes()),
            Format::Table => {
                let lines = pids.iter().map(|pid| format!("{pid}\n"));
                let text: String = std::iter::once("PID\n".to_owned()).chain(lines).collect();
                print(text.as_bytes())
            }
        }
    }
}
