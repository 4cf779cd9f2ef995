//! `podspec prune`: removes what no pod uses.

use super::Format;
use super::error::CliError;
use super::table::{Cell, table};
use super::unused::{Sweep, Unused};
use super::{images, output};
use crate::state::store::Store;
use serde::Serialize;
use std::process::ExitCode;

/// Remove what no pod uses
///
/// Logs of pods that are down, what a crash left of containers' roots, addresses of pods that are gone, layers
/// of images that no image needs any more; where no pod is up, the bridge and the firewall's table, and IPv4 is
/// forwarded again only as it was before the first pod. Images themselves go only with --all.
/// Named volumes are data: they go only with --volumes. What a pod that is up uses is never touched, also
/// while others come up and go down.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec prune --dry-run          what it would remove, how much that is
  podspec prune
  podspec prune --all              also the images that no pod uses
  podspec prune --volumes --force  also the data of every pod that is down")]
pub(super) struct Prune {
    /// Also named volumes
    #[arg(long)]
    volumes: bool,
    /// Also images that no pod uses
    #[arg(short, long)]
    all: bool,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove volumes without asking
    #[arg(short, long)]
    force: bool,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Prune {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        if self.volumes && !self.dry_run && !self.force {
            confirm("remove the named volumes of every pod that is down")?;
        }
        let mut sweep = Sweep::new(store, self.dry_run)?;
        sweep.dead_pods()?;
        sweep.layers_and_leases()?;
        sweep.network()?;
        if refuse_shared(&sweep, store).is_ok() {
            sweep.logs()?;
            if self.volumes {
                sweep.volumes()?;
            }
            sweep.found.extend(images::prune(store, self.all, self.dry_run)?);
        } else {
            output::progress(&format!("note: {}; logs, volumes and images stay", shared(store)));
        }
        show(&sweep.found, self.dry_run, self.format)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Logs and volumes are found by the names of pods, and those of another runtime directory are not known.
pub(super) fn refuse_shared(sweep: &Sweep<'_>, store: &Store) -> Result<(), CliError> {
    if sweep.is_shared()? {
        return Err(CliError::refused(shared(store), "name that directory with `--run`, too"));
    }
    Ok(())
}

fn shared(store: &Store) -> String {
    format!("pods of another --run directory than {} use this --root", store.run.display())
}

/// Asks on the terminal; where there is none, the user must have said it.
pub(super) fn confirm(what: &str) -> Result<(), CliError> {
    let refused =
        |message: String, hint: &str| CliError::Usage { message, hint: Some(hint.to_owned()) };
    let answer = output::ask(&format!("{what}? [y/N] ")).ok_or_else(|| {
        refused(format!("nobody can be asked whether to {what}"), "say so with `--force`")
    })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(refused("nothing was removed".to_owned(), "`--dry-run` shows what would be"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    dry_run: bool,
    removed: &'a [Unused],
    bytes: u64,
}

/// What was removed, and how much that was.
pub(super) fn show(removed: &[Unused], dry_run: bool, format: Format) -> Result<(), CliError> {
    let bytes = removed.iter().map(|unused| unused.bytes).sum();
    if format == Format::Json {
        return output::json(&Report { dry_run, removed, bytes });
    }
    let row = |unused: &Unused| {
        vec![
            Cell::Text(unused.kind.word().to_owned()),
            Cell::Name(unused.name.clone()),
            Cell::Number(output::size(unused.bytes)),
        ]
    };
    if removed.is_empty() {
        return output::done("nothing to remove");
    }
    let rows: Vec<Vec<Cell>> = removed.iter().map(row).collect();
    output::line(&table(&["KIND", "NAME", "SIZE"], &rows, &[], output::stdout_width()))?;
    let verb = if dry_run { "would free" } else { "freed" };
    output::line(&format!("{verb} {bytes} bytes ({})", output::size(bytes)))
}
