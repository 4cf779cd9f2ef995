//! `podspec ps`: the pods and their containers, from what their supervisors wrote down.

use super::error::CliError;
use super::output::{self, sanitize};
use super::{Format, target};
use crate::names::PodName;
use crate::state::record::{ContainerRecord, ContainerStatus, PodRecord, PodStatus};
use crate::state::store::Store;
use std::process::ExitCode;

/// List pods and their containers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec ps
  podspec ps shop
  podspec ps --format json     a list of what `inspect` shows

The first line of a pod is the pod itself, with the process that holds its namespaces. A status with `?`
is the last known one: the supervisor of that pod is gone. `podspec down POD` ends what is left.")]
pub(super) struct Ps {
    /// These pods only
    #[arg(value_name = "POD")]
    pods: Vec<PodName>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Ps {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let mut records = Vec::new();
        if self.pods.is_empty() {
            let names =
                store.pods().map_err(|error| CliError::host("cannot list the pods", &error))?;
            for name in names {
                records.extend(target::read(store, &name)?);
            }
        } else {
            for name in &self.pods {
                records.push(target::find(store, name)?);
            }
        }
        match self.format {
            Format::Json => output::json(&records)?,
            Format::Human => {
                let header =
                    ["POD", "CONTAINER", "STATUS", "PID", "RESTARTS", "ADDRESS", "PORTS", "AGE"];
                let rows = records.iter().flat_map(rows).collect();
                output::line(&output::table(&header, rows))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A row for the pod, then one for each container.
fn rows(record: &PodRecord) -> Vec<Vec<String>> {
    let ports: Vec<String> = record.ports.iter().map(ToString::to_string).collect();
    let dash = || "-".to_owned();
    let mut rows = vec![vec![
        record.name.to_string(),
        dash(),
        record.status.word().to_owned(),
        record.infra.map_or_else(dash, |infra| infra.pid.to_string()),
        dash(),
        record.network.as_ref().map_or_else(dash, |network| network.ipv4.to_string()),
        if ports.is_empty() { dash() } else { ports.join(",") },
        age(&record.created_at),
    ]];
    rows.extend(record.containers.iter().map(|container| {
        vec![
            record.name.to_string(),
            container.name.to_string(),
            status(record.status, container),
            container.pid.map_or_else(dash, |pid| pid.to_string()),
            container.restarts.to_string(),
            container.ipv4.map_or_else(dash, |address| address.to_string()),
            dash(),
            container.started_at.as_deref().map_or_else(dash, age),
        ]
    }));
    rows
}

fn status(pod: PodStatus, container: &ContainerRecord) -> String {
    let word = container.status.word();
    if pod == PodStatus::Unsupervised {
        return format!("{word}?");
    }
    describe(container.status, container.exit_code, container.reason.as_deref())
}

/// A container's status in a few words, here and in the live view of `up`.
pub(super) fn describe(
    status: ContainerStatus,
    exit_code: Option<i32>,
    reason: Option<&str>,
) -> String {
    use ContainerStatus::{Exited, Failed, Restarting, Waiting};
    let word = status.word();
    match (status, exit_code, reason) {
        (Failed | Waiting, _, Some(reason)) => format!("{word}: {}", sanitize(reason)),
        (Exited | Failed | Restarting, Some(code), _) => format!("{word} ({code})"),
        _ => word.to_owned(),
    }
}

/// How long ago a time was, in its largest unit.
fn age(since: &str) -> String {
    let Ok(since) = since.parse::<jiff::Timestamp>() else { return "-".to_owned() };
    let seconds = jiff::Timestamp::now().duration_since(since).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let ago = |seconds: i64| {
            let then = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
            age(&then.to_string())
        };
        assert_eq!((ago(5), ago(65), ago(7300), ago(200_000)).1, "1m");
        assert_eq!(ago(7300), "2h");
        assert_eq!(ago(200_000), "2d");
        assert_eq!(age("yesterday"), "-");
    }
}
