//! `podspec volume`: the named volumes, who uses them, and removing those that nobody does.

use super::error::CliError;
use super::prune::{confirm, refuse_shared, show};
use super::table::{Cell, Relief, table};
use super::target::{self, TargetArg};
use super::unused::{self, Sweep, VolumeOnDisk};
use super::{Format, output};
use crate::names::ContainerName;
use crate::state::record::PodStatus;
use crate::state::store::{Store, disk_usage};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// List, inspect and remove named volumes
///
/// A named volume belongs to its pod and stays when the pod goes down, until it is removed here or by
/// `down --volumes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec volume ls
  podspec volume inspect shop/data        its place, its size, who uses it
  podspec volume rm shop/data             beside ./pod.yaml also /data
  podspec volume prune --dry-run          those of pods that are down")]
pub(super) struct Volume {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List volumes and who uses them
    #[command(after_help = "\
Examples:
  podspec volume ls
  podspec volume ls -q                 the names alone
  podspec volume ls --format json")]
    Ls {
        /// How to report
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
        format: Format,
    },
    /// Remove volumes; one that a pod uses stays
    #[command(after_help = "Example:\n  podspec volume rm shop/data blog/uploads")]
    Rm {
        /// Volumes; `/VOLUME` is of the pod of ./pod.yaml
        #[arg(required = true, value_name = "POD/VOLUME")]
        volumes: Vec<TargetArg>,
        /// How to report
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
        format: Format,
    },
    /// Show volumes with their size, as JSON
    #[command(after_help = "Example:\n  podspec volume inspect shop/data | jq '.[].bytes'")]
    Inspect {
        /// Volumes; `/VOLUME` is of the pod of ./pod.yaml
        #[arg(required = true, value_name = "POD/VOLUME")]
        volumes: Vec<TargetArg>,
        /// How to report; JSON either way
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json, hide = true)]
        format: Format,
    },
    /// Remove the volumes of every pod that is down
    #[command(
        after_help = "Examples:\n  podspec volume prune --dry-run\n  podspec volume prune --force"
    )]
    Prune {
        /// Only show what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Remove without asking
        #[arg(short, long)]
        force: bool,
        /// How to report
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
        format: Format,
    },
}

/// A volume and who uses it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    pod: String,
    name: String,
    path: PathBuf,
    pod_status: Option<PodStatus>,
    used_by: Vec<ContainerName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Volume {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        match self.command {
            Command::Ls { format } => list(store, format)?,
            Command::Rm { volumes, format } => return remove(store, &volumes, format),
            Command::Inspect { volumes, .. } => inspect(store, &volumes)?,
            Command::Prune { dry_run, force, format } => {
                if !dry_run && !force {
                    confirm("remove the named volumes of every pod that is down")?;
                }
                let mut sweep = Sweep::new(store, dry_run)?;
                refuse_shared(&sweep, store)?;
                sweep.volumes()?;
                show(&sweep.found, dry_run, format)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(store: &Store, format: Format) -> Result<(), CliError> {
    let volumes = unused::volumes(store)?;
    let known = volumes.iter().map(|volume| known(store, volume)).collect::<Result<Vec<_>, _>>()?;
    if format == Format::Json {
        return output::json(&known);
    }
    if output::is_quiet() {
        let names = known.iter().map(|known| format!("{}/{}", known.pod, known.name));
        return names.into_iter().try_for_each(|name| output::line(&name));
    }
    let row = |known: &Known| {
        let users = known.used_by.iter().map(ToString::to_string).collect();
        vec![
            Cell::Name(format!("{}/{}", known.pod, known.name)),
            Cell::Text(known.pod_status.map_or("down", PodStatus::word).to_owned()),
            Cell::List(users),
        ]
    };
    let rows: Vec<Vec<Cell>> = known.iter().map(row).collect();
    let relief =
        [Relief::Shrink("USED BY", 16), Relief::Shrink("VOLUME", 16), Relief::Shrink("USED BY", 8)];
    let heads = ["VOLUME", "POD IS", "USED BY"];
    output::line(&table(&heads, &rows, &relief, output::stdout_width()))
}

fn known(store: &Store, volume: &VolumeOnDisk) -> Result<Known, CliError> {
    let record = target::read(store, &volume.pod)?;
    let users = unused::users(store, &volume.pod)?.unwrap_or_default();
    Ok(Known {
        pod: volume.pod.to_string(),
        name: volume.name.to_string(),
        path: volume.path.clone(),
        pod_status: record.map(|record| record.status),
        used_by: users.get(&volume.path).cloned().unwrap_or_default(),
        bytes: None,
    })
}

fn inspect(store: &Store, wanted: &[TargetArg]) -> Result<(), CliError> {
    let mut all = Vec::new();
    for wanted in wanted {
        let volume = find(store, wanted)?;
        let mut known = known(store, &volume)?;
        let bytes = disk_usage(&volume.path)
            .map_err(|error| CliError::host(format!("cannot measure volume {volume}"), &error))?;
        known.bytes = Some(bytes);
        all.push(known);
    }
    output::json(&all)
}

fn remove(store: &Store, wanted: &[TargetArg], format: Format) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    // A name that is wrong removes nothing.
    let volumes = wanted.iter().map(|wanted| find(store, wanted)).collect::<Result<Vec<_>, _>>()?;
    let mut sweep = Sweep::new(store, false)?;
    refuse_shared(&sweep, store)?;
    for volume in &volumes {
        match (sweep.volume(volume)?, format) {
            (false, _) => code = in_use(store, volume).report(),
            (true, Format::Human) => output::done(&format!("{volume} is removed"))?,
            (true, Format::Json) => {}
        }
    }
    if format == Format::Json {
        show(&sweep.found, false, format)?;
    }
    Ok(code)
}

fn in_use(store: &Store, volume: &VolumeOnDisk) -> CliError {
    let users = known(store, volume).map(|known| known.used_by).unwrap_or_default();
    let users: Vec<&str> = users.iter().map(ContainerName::as_str).collect();
    let by = if users.is_empty() { String::new() } else { format!(", by {}", users.join(", ")) };
    let pod = &volume.pod;
    CliError::refused(
        format!("cannot remove volume {volume}: pod `{pod}` is up and has it{by}"),
        format!("`podspec down --volumes {pod}` takes the pod down and removes its volumes"),
    )
}

fn find(store: &Store, wanted: &TargetArg) -> Result<VolumeOnDisk, CliError> {
    let wanted = target::one(Some(wanted))?;
    let Some(name) = wanted.container else {
        return Err(CliError::Usage {
            message: format!("`{}` names a pod, and no volume of it", wanted.pod),
            hint: Some(format!("write {}/VOLUME; `podspec volume ls` lists them", wanted.pod)),
        });
    };
    let all = unused::volumes(store)?;
    let mut of_pod = all.into_iter().filter(|volume| volume.pod == wanted.pod);
    of_pod.find(|volume| volume.name.as_str() == name.as_str()).ok_or_else(|| {
        CliError::refused(
            format!("there is no volume {}/{name}", wanted.pod),
            "`podspec volume ls` lists the volumes",
        )
    })
}
