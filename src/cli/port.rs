//! `podspec port`: where a pod's ports are to be found on this machine.

use super::error::CliError;
use super::target::{self, Target, TargetArg};
use super::{Format, output};
use crate::names::{ContainerName, PodName};
use crate::plan::step::{Plan, Step};
use crate::state::record::{PodRecord, PortRecord};
use crate::state::store::Store;
use oci_spec::runtime::LinuxNamespaceType;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::str::FromStr;

/// Show where a pod's ports are published
///
/// Of a container, those that lead to it: the pod's where it shares the pod's network, else its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec port shop              80/tcp -> 0.0.0.0:8080, a line for each
  podspec port shop 80           0.0.0.0:8080
  podspec port shop/web 53/udp
  podspec port / 80              of the pod of ./pod.yaml
  podspec port shop --format json | jq .[].host

Exit code: 0; 1 where the port that was asked for is not published.")]
pub(super) struct Port {
    /// The pod, or one container of it; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    target: Option<TargetArg>,
    /// A port as the container has it; tcp where no protocol is named
    #[arg(value_name = "CONTAINERPORT[/PROTOCOL]")]
    port: Option<Inside>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

/// A port inside.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inside {
    port: u16,
    protocol: String,
}

impl FromStr for Inside {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (port, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        if !matches!(protocol, "tcp" | "udp") {
            return Err(format!("`{protocol}` is neither tcp nor udp"));
        }
        match port.parse() {
            Ok(port @ 1..) => Ok(Self { port, protocol: protocol.to_owned() }),
            _ => Err(format!("`{port}` is not a port, 1 to 65535")),
        }
    }
}

impl Port {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let target = target::one(self.target.as_ref())?;
        let record = target::find(store, &target.pod)?;
        let mut ports = match target.container.as_ref() {
            None => record.ports,
            some => of_container(store, &record, &target::container(&record, some)?.name)?,
        };
        if let Some(inside) = &self.port {
            ports = ports.iter().filter_map(|port| exactly(port, inside)).collect();
            if ports.is_empty() {
                return Err(not_published(&target, inside));
            }
        }
        match self.format {
            Format::Json => output::json(&ports)?,
            Format::Human => {
                for port in &ports {
                    output::line(&match self.port {
                        Some(_) => port.outside(),
                        None => format!("{} -> {}", port.inside(), port.outside()),
                    })?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn not_published(target: &Target, Inside { port, protocol }: &Inside) -> CliError {
    let Target { pod, container } = target;
    let of = container.as_ref().map_or_else(|| pod.to_string(), |name| format!("{pod}/{name}"));
    CliError::refused(
        format!("port {port}/{protocol} of `{of}` is not published"),
        format!("`podspec port {of}` lists what is"),
    )
}

/// Those that lead to the network namespace that the container is in.
fn of_container(
    store: &Store,
    record: &PodRecord,
    name: &ContainerName,
) -> Result<Vec<PortRecord>, CliError> {
    let address = plan(store, &record.name)?.and_then(|plan| address(&plan, name));
    Ok(record.ports.iter().filter(|port| Some(port.target) == address).cloned().collect())
}

/// What the pod was made by; `None` where it is just going.
fn plan(store: &Store, pod: &PodName) -> Result<Option<Plan>, CliError> {
    let journal = store.pod(pod).read_journal();
    let journal = journal
        .map_err(|error| CliError::host(format!("cannot read what `{pod}` was made by"), &error))?;
    Ok(journal.map(|found| found.header.plan))
}

/// The address of the network namespace that the container is in; none where it is the machine's.
fn address(plan: &Plan, name: &ContainerName) -> Option<Ipv4Addr> {
    let netns = plan.steps.iter().find_map(|planned| match &planned.step {
        Step::CreateContainer(launch) if launch.container == *name => {
            let linux = launch.oci.linux().as_ref()?;
            let mut namespaces = linux.namespaces().iter().flatten();
            let network =
                namespaces.find(|namespace| namespace.typ() == LinuxNamespaceType::Network)?;
            network.path().clone()
        }
        _ => None,
    })?;
    plan.steps.iter().find_map(|planned| match &planned.step {
        Step::Connect(connection) if connection.netns == netns => Some(connection.address),
        _ => None,
    })
}

/// The part of a published range that is this one port.
fn exactly(published: &PortRecord, inside: &Inside) -> Option<PortRecord> {
    let nth = inside.port.checked_sub(published.container)?;
    let leads = published.protocol == inside.protocol && nth < published.count;
    let (host, container) = (published.host.checked_add(nth)?, inside.port);
    leads.then(|| PortRecord { host, container, count: 1, ..published.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_of_a_range_is_found() {
        let inside = |word: &str| word.parse::<Inside>();
        let range = PortRecord {
            address: None,
            host: 9000,
            container: 80,
            count: 100,
            protocol: "tcp".to_owned(),
            target: Ipv4Addr::new(10, 89, 0, 7),
        };
        let door_of =
            |word: &str| exactly(&range, &inside(word).unwrap()).map(|port| port.outside());
        assert_eq!(door_of("80").as_deref(), Some("0.0.0.0:9000"));
        assert_eq!(door_of("179/tcp").as_deref(), Some("0.0.0.0:9099"));
        for beside in ["79", "180", "80/udp"] {
            assert_eq!(door_of(beside), None, "{beside}");
        }
        for bad in ["", "0", "65536", "80/", "80/sctp", "/tcp", "-1"] {
            assert!(inside(bad).is_err(), "{bad}");
        }
    }
}
