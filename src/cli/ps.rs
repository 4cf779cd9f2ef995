//! `podspec ps`: the pods and their containers, from what their supervisors wrote down.

use super::Format;
use super::error::CliError;
use super::output::{self, sanitize};
use super::table::{Cell, Relief, table};
use super::target::{self, TargetArg};
use crate::names::{ContainerName, PodName};
use crate::plan::step::Role;
use crate::spec::signal;
use crate::state::record::{ContainerRecord, ContainerStatus, PodRecord, PodStatus, PortRecord};
use crate::state::store::{Store, boot_id};
use std::process::ExitCode;

/// List pods and their containers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec ps
  podspec ps shop blog/web
  podspec ps -q | xargs podspec down     every pod
  podspec ps --format json               a list of what `inspect` shows

The first line of a pod is the pod itself, with the process that holds its namespaces; its containers
follow. A status with `?` is the last known one: the supervisor of that pod is gone, and `podspec down POD`
ends what is left. A terminal that is too narrow is shown less; a pipe is shown all. With -q only the
names of the pods are listed.")]
pub(super) struct Ps {
    /// These pods, or containers of them, only
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

/// A pod of the list.
enum Listed {
    Known(Box<PodRecord>),
    /// It has a directory, and nothing that tells how it is.
    Unknown(PodName, &'static str),
}

impl Ps {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let listed = self.listed(store)?;
        if output::is_quiet() && self.format == Format::Human {
            return self.show_names(store, &listed);
        }
        let mut code = ExitCode::SUCCESS;
        let mut pods = Vec::new();
        for (name, wanted) in &listed {
            match target::read(store, name) {
                Ok(Some(mut record)) => {
                    for name in wanted {
                        target::container(&record, Some(name))?;
                    }
                    record.containers.retain(|c| wanted.is_empty() || wanted.contains(&c.name));
                    pods.push(Listed::Known(Box::new(record)));
                }
                Ok(None) if store.pod(name).exists() => {
                    pods.push(Listed::Unknown(name.clone(), unrecorded_status(store, name)));
                }
                // One that was listed is gone by now; one that was named should be there.
                Ok(None) if self.targets.is_empty() => {}
                Ok(None) => return target::find(store, name).map(|_| code),
                Err(error) => {
                    code = error.report();
                    pods.push(Listed::Unknown(name.clone(), "unreadable"));
                }
            }
        }
        match self.format {
            Format::Json => {
                let known = pods.iter().filter_map(|pod| match pod {
                    Listed::Known(record) => Some(record),
                    Listed::Unknown(..) => None,
                });
                output::json(&known.collect::<Vec<_>>())?;
            }
            Format::Human => {
                let boot =
                    boot_id().map_err(|error| CliError::host("cannot list the pods", &error))?;
                let now = jiff::Timestamp::now();
                let rows: Vec<_> = pods.iter().flat_map(|pod| pod.rows(&boot, now)).collect();
                output::line(&list(&rows, output::stdout_width()))?;
            }
        }
        Ok(code)
    }

    /// The pods, each with its containers that are wanted; none: all of them.
    fn listed(&self, store: &Store) -> Result<Vec<(PodName, Vec<ContainerName>)>, CliError> {
        if !self.targets.is_empty() {
            return Ok(target::by_pod(target::many(&self.targets)?));
        }
        let pods = store.pods().map_err(|error| CliError::host("cannot list the pods", &error))?;
        Ok(pods.into_iter().map(|pod| (pod, Vec::new())).collect())
    }

    fn show_names(
        &self,
        store: &Store,
        listed: &[(PodName, Vec<ContainerName>)],
    ) -> Result<ExitCode, CliError> {
        for (name, _) in listed {
            if !self.targets.is_empty() {
                target::find(store, name)?;
            }
            output::line(name.as_str())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How a pod is whose first record is yet to be written, or was lost.
pub(super) fn unrecorded_status(store: &Store, name: &PodName) -> &'static str {
    let is_supervised = target::is_supervised(store, name).unwrap_or(false);
    if is_supervised { "starting" } else { "unsupervised, not recorded" }
}

const HEADS: [&str; 7] = ["NAME", "STATUS", "RESTARTS", "AGE", "PORTS", "ADDRESS", "PID"];

/// What a narrow terminal does without.
const RELIEF: [Relief; 16] = [
    Relief::Shrink("PORTS", 48),
    Relief::Shrink("STATUS", 40),
    Relief::Drop("PID"),
    Relief::Shrink("NAME", 32),
    Relief::Shrink("PORTS", 24),
    Relief::Drop("ADDRESS"),
    Relief::Shrink("STATUS", 24),
    Relief::Shrink("NAME", 24),
    Relief::Shrink("PORTS", 20),
    Relief::Drop("RESTARTS"),
    Relief::Shrink("STATUS", 16),
    Relief::Shrink("NAME", 16),
    Relief::Drop("AGE"),
    Relief::Drop("PORTS"),
    Relief::Shrink("NAME", 8),
    Relief::Shrink("STATUS", 8),
];

/// Containers of `initContainers` are marked.
pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Main => "",
        Role::Init => " (init)",
        Role::Sidecar => " (sidecar)",
    }
}

fn list(rows: &[Vec<Cell>], width: usize) -> String {
    table(&HEADS, rows, &RELIEF, width)
}

impl Listed {
    /// A row for the pod, then one for each container.
    fn rows(&self, boot: &str, now: jiff::Timestamp) -> Vec<Vec<Cell>> {
        let record = match self {
            Self::Known(record) => record,
            Self::Unknown(name, status) => {
                let mut row = vec![Cell::Text(String::new()); HEADS.len()];
                row[0] = Cell::Name(name.to_string());
                row[1] = Cell::Text((*status).to_owned());
                return vec![row];
            }
        };
        let text = |value: Option<String>| Cell::Text(value.unwrap_or_default());
        let number = |value: Option<String>| Cell::Number(value.unwrap_or_default());
        let mut rows = vec![vec![
            Cell::Name(record.name.to_string()),
            Cell::Text(pod_status(record, boot)),
            number(None),
            number(age(&record.created_at, now)),
            Cell::List(record.ports.iter().map(arrow).collect()),
            text(record.network.as_ref().map(|network| network.ipv4.to_string())),
            number(record.infra.map(|infra| infra.pid.to_string())),
        ]];
        rows.extend(record.containers.iter().map(|container| {
            vec![
                Cell::Name(format!("  {}{}", container.name, role(container.role))),
                Cell::Text(container_status(record.status, container)),
                number(Some(container.restarts.to_string())),
                number(container.started_at.as_deref().and_then(|at| age(at, now))),
                Cell::List(Vec::new()),
                text(container.ipv4.map(|address| address.to_string())),
                number(container.pid.map(|pid| pid.to_string())),
            ]
        }));
        rows
    }
}

/// Without an address it is every address of the host, as in the file.
pub(super) fn arrow(port: &PortRecord) -> String {
    let text = port.to_string();
    text.strip_prefix("0.0.0.0:").map_or(text.clone(), str::to_owned)
}

pub(super) fn pod_status(record: &PodRecord, boot: &str) -> String {
    let word = record.status.word();
    match &record.reason {
        _ if record.boot != boot => format!("{word} (before the restart)"),
        Some(reason) => format!("{word}: {}", sanitize(reason)),
        None => word.to_owned(),
    }
}

pub(super) fn container_status(pod: PodStatus, container: &ContainerRecord) -> String {
    let words = describe(container.status, container.exit_code, container.reason.as_deref());
    if pod == PodStatus::Unsupervised { format!("{words}?") } else { words }
}

/// A container's status in a few words, here and in the live view of `up`.
pub(super) fn describe(
    status: ContainerStatus,
    exit_code: Option<i32>,
    reason: Option<&str>,
) -> String {
    use ContainerStatus::{
        Created, Exited, Failed, Restarting, Running, Stopped, Stopping, Waiting,
    };
    let word = status.word();
    match (status, exit_code, reason) {
        // Set up or not, it waits.
        (Waiting | Created, _, Some(reason)) if reason.starts_with("for ") => {
            format!("waiting {}", sanitize(reason))
        }
        (Running, _, Some(reason)) => format!("{word}, {}", sanitize(reason)),
        (Failed | Waiting | Restarting | Stopping, _, Some(reason)) => {
            format!("{word}: {}", sanitize(reason))
        }
        (Exited | Failed | Restarting | Stopped, Some(code), _) => {
            format!("{word} ({})", ending(code))
        }
        _ => word.to_owned(),
    }
}

/// `3`, or `137, SIGKILL`.
fn ending(code: i32) -> String {
    match signal::name(code - 128) {
        name if name.starts_with("SIG") => format!("{code}, {name}"),
        _ => code.to_string(),
    }
}

/// How long ago a time was, in its largest unit.
pub(super) fn age(since: &str, now: jiff::Timestamp) -> Option<String> {
    let since = since.parse::<jiff::Timestamp>().ok()?;
    let seconds = now.duration_since(since).as_secs().max(0);
    Some(match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn container(
        name: &str,
        status: &str,
        code: Option<i32>,
        rest: serde_json::Value,
    ) -> serde_json::Value {
        let mut container = json!({
            "name": name, "status": status, "pid": null, "startTime": null, "exitCode": code,
            "restarts": 0, "startedAt": "2026-11-23T11:58:20Z", "finishedAt": null, "ipv4": null,
        });
        for (key, value) in rest.as_object().unwrap() {
            container[key] = value.clone();
        }
        container
    }

    fn pod(
        name: &str,
        status: &str,
        ports: &[(&str, u16, u16)],
        containers: serde_json::Value,
    ) -> Listed {
        let ports: Vec<_> = ports
            .iter()
            .map(|(address, host, count)| {
                let address = (!address.is_empty()).then_some(address);
                json!({ "address": address, "host": host, "container": host, "count": count,
                    "protocol": "tcp", "target": "10.89.0.2" })
            })
            .collect();
        let record = json!({
            "name": name, "id": "0123456789", "labels": {}, "status": status,
            "createdAt": "2026-11-20T12:00:00Z", "boot": "b", "supervisor": { "pid": 1, "startTime": 1 },
            "infra": { "pid": 1234567, "startTime": 1 }, "namespaces": {},
            "network": { "interface": "eth0", "ipv4": "10.89.3.27", "gateway": "10.89.0.1", "mac": "" },
            "ports": ports, "containers": containers,
        });
        Listed::Known(Box::new(serde_json::from_value(record).unwrap()))
    }

    fn shown(pods: &[Listed], width: usize) -> String {
        let now = NOW.parse().unwrap();
        let rows: Vec<_> = pods.iter().flat_map(|pod| pod.rows("b", now)).collect();
        list(&rows, width)
    }

    fn pods() -> Vec<Listed> {
        let web = json!({ "pid": 1234570, "restarts": 12 });
        let why =
            json!({ "reason": "its program /usr/local/bin/serve is not there", "startedAt": null });
        vec![
            pod(
                "shop",
                "running",
                &[("", 8080, 1), ("127.0.0.1", 8443, 1), ("", 9000, 100), ("", 5000, 1)],
                json!([
                    container("db", "running", None, json!({ "pid": 1234569 })),
                    container("web", "running", None, web),
                    container("migrate", "exited", Some(0), json!({})),
                ]),
            ),
            pod(
                "a-pod-with-a-name-that-is-as-long-as-they-come-in-production",
                "failed",
                &[],
                json!([
                    container("first", "failed", Some(137), json!({ "ipv4": "10.89.200.201" })),
                    container("another-rather-long-name-of-a-container", "failed", None, why),
                ]),
            ),
            pod(
                "lost",
                "unsupervised",
                &[],
                json!([container("c", "running", None, json!({ "pid": 99 }))]),
            ),
            Listed::Unknown("new".parse().unwrap(), "starting"),
        ]
    }

    #[test]
    fn at_80_columns() {
        let expected = "
NAME                      STATUS                       AGE  PORTS
shop                      running                       3d  8080->8080/tcp, +3
  db                      running                       1m
  web                     running                       1m
  migrate                 exited (0)                    1m
a-pod-with-..-production  failed                        3d
  first                   failed (137, SIGKILL)         1m
  another-r..a-container  failed: its program /usr...
lost                      unsupervised                  3d
  c                       running?                      1m
new                       starting
";
        assert_eq!(shown(&pods(), 80), expected.trim_matches('\n'));
    }

    #[test]
    fn at_120_columns() {
        let expected = "
NAME                              STATUS                                         RESTARTS  AGE  PORTS
shop                              running                                                   3d  8080->8080/tcp, +3
  db                              running                                               0   1m
  web                             running                                              12   1m
  migrate                         exited (0)                                            0   1m
a-pod-with-a-na..e-in-production  failed                                                    3d
  first                           failed (137, SIGKILL)                                 0   1m
  another-rathe..-of-a-container  failed: its program /usr/local/bin/serve i...         0
lost                              unsupervised                                              3d
  c                               running?                                              0   1m
new                               starting
";
        assert_eq!(shown(&pods(), 120), expected.trim_matches('\n'));
    }

    #[test]
    fn at_200_columns() {
        let expected = "
NAME                                                          STATUS                                             RESTARTS  AGE  PORTS                                             ADDRESS            PID
shop                                                          running                                                       3d  8080->8080/tcp, 127.0.0.1:8443->8443/tcp, +2      10.89.3.27     1234567
  db                                                          running                                                   0   1m                                                                   1234569
  web                                                         running                                                  12   1m                                                                   1234570
  migrate                                                     exited (0)                                                0   1m
a-pod-with-a-name-that-is-as-long-as-they-come-in-production  failed                                                        3d                                                    10.89.3.27     1234567
  first                                                       failed (137, SIGKILL)                                     0   1m                                                    10.89.200.201
  another-rather-long-name-of-a-container                     failed: its program /usr/local/bin/serve is no...         0
lost                                                          unsupervised                                                  3d                                                    10.89.3.27     1234567
  c                                                           running?                                                  0   1m                                                                        99
new                                                           starting
";
        assert_eq!(shown(&pods(), 200), expected.trim_matches('\n'));
    }

    #[test]
    fn any_width_is_kept_and_a_pipe_is_shown_all() {
        for width in 20..220 {
            for line in shown(&pods(), width).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        let all = shown(&pods(), usize::MAX);
        assert!(all.contains("a-pod-with-a-name-that-is-as-long-as-they-come-in-production"));
        assert!(all.contains("8080->8080/tcp, 127.0.0.1:8443->8443/tcp, 9000-9099->9000-9099/tcp"));
    }

    #[test]
    fn a_pod_of_another_boot_is_said_to_be() {
        let Listed::Known(mut record) = pod("p", "unsupervised", &[], json!([])) else { panic!() };
        assert_eq!(pod_status(&record, "b"), "unsupervised");
        assert_eq!(pod_status(&record, "c"), "unsupervised (before the restart)");
        record.reason = Some("infra \u{1b}[2J died".to_owned());
        assert_eq!(pod_status(&record, "b"), "unsupervised: infra \u{fffd}[2J died");
    }

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let now = jiff::Timestamp::now();
        let ago = |seconds: i64| {
            let then = now - jiff::SignedDuration::from_secs(seconds);
            age(&then.to_string(), now).unwrap()
        };
        assert_eq!([5, 65, 7300, 200_000, -5].map(ago), ["5s", "1m", "2h", "2d", "0s"]);
        assert_eq!(age("yesterday", now), None);
    }
}
