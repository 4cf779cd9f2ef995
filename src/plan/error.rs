//! Why there is no plan, and which place of the pod file each reason belongs to. Nothing of the machine
//! has been touched when one of these appears.

use crate::names::{ContainerName, PodName};
use crate::plan::facts::Subnet;
use crate::plan::step::Protocol;
use crate::spec::model::Rlimit;
use std::fmt;

/// Why this pod cannot be brought to what is asked for on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("there is no pod to take down")]
    NotObserved,
    #[error("pod `{pod}` runs from another version of the file: {}", differences.join("; "))]
    Changed { pod: PodName, differences: Vec<String> },
    #[error("containers wait for each other in a circle: {}", circle(path))]
    Cycle { path: Vec<ContainerName> },
    #[error("`{what}` is not declared in this pod")]
    NotDeclared { place: String, what: String },
    #[error("{container}: {what}")]
    NotThere { container: ContainerName, field: String, what: String },
    #[error("{container}: the image {image} is not here")]
    NoImage { container: ContainerName, image: String },
    #[error("{container}: the image {image} {what}")]
    BadImage { container: ContainerName, image: String, what: String },
    #[error("{container}: the root's /etc/passwd has no user `{user}`")]
    NoSuchUser { container: ContainerName, user: String },
    #[error("{container}: the root's /etc/group has no group `{group}`")]
    NoSuchGroup { container: ContainerName, group: String, place: String },
    #[error("port {port} cannot be published: the namespace it leads to has no network")]
    NoNetwork { place: String, port: String },
    #[error("port {port} is published twice, also by `{other}`")]
    PortTwice { place: String, port: String, other: String },
    #[error("port {port} is taken by {by}")]
    PortTaken { place: String, port: String, by: Holder },
    #[error("no {protocol} port from 49152 to 65535 is free on this host")]
    NoFreePort { place: String, protocol: Protocol },
    #[error("{container}: the ulimit `{kind}` of {} is above your own hard limit of {}", bound(*wanted), bound(*most))]
    AboveLimit { container: ContainerName, kind: Rlimit, wanted: u64, most: u64 },
    #[error(
        "{container}: an oomScoreAdj of {wanted} is below your own, {least}, and you lack CAP_SYS_RESOURCE"
    )]
    BelowOomScore { container: ContainerName, wanted: i32, least: i32 },
    #[error("this limit cannot be held: {what}")]
    NoLimit { place: String, what: String, remedy: String },
    #[error("{container}: it may not run as root, and its user is root")]
    RunsAsRoot { container: ContainerName },
    #[error("{container}: you lack CAP_{capability} yourself, and so cannot add it")]
    LacksCapability { container: ContainerName, capability: &'static str },
    #[error(
        "{container}: this machine's kernel has no {module}, and so no `{name}`: leave `security.{field}` out"
    )]
    NoSecurityModule {
        container: ContainerName,
        module: &'static str,
        field: &'static str,
        name: String,
    },
    #[error("{container}: its seccomp profile cannot be used: {source}")]
    Seccomp { container: ContainerName, source: crate::seccomp::SeccompError },
    #[error("the pod's network: {what}")]
    NoNamespace { what: String },
    #[error("no {size} ids in a row are free on this host for a user namespace")]
    NoIds { place: String, size: u32 },
    #[error("{container}: the {kind} id {id} is not mapped in its user namespace")]
    IdNotMapped { container: ContainerName, field: &'static str, kind: &'static str, id: u32 },
    #[error(
        "a clock cannot be set back to before 0: this machine has run for {uptime} s, and `{clock}` asks for {} s less",
        offset.unsigned_abs()
    )]
    BeforeBoot { clock: &'static str, offset: i64, uptime: u64 },
    #[error("this host routes every network that podspec would use for its bridge")]
    NoSubnet,
    #[error("every address of {subnet} is taken")]
    NoAddress { subnet: Subnet },
}

/// Who has a port already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The id of a pod.
    Pod(String),
    /// A socket, whose process can be found in /proc.
    Socket { inode: u64 },
}

impl PlanError {
    /// The value of the pod file that the error is about, as a dotted path: `containers.web.user`.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::NotDeclared { place, .. }
            | Self::NoIds { place, .. }
            | Self::NoSuchGroup { place, .. }
            | Self::NoNetwork { place, .. }
            | Self::NoLimit { place, .. }
            | Self::PortTwice { place, .. }
            | Self::NoFreePort { place, .. }
            | Self::PortTaken { place, .. } => Some(place.clone()),
            Self::Cycle { path } => path.first().map(|c| format!("containers.{c}.dependsOn")),
            Self::NotThere { container, field, .. } => {
                Some(format!("containers.{container}.{field}"))
            }
            Self::AboveLimit { container, kind, .. } => {
                Some(format!("containers.{container}.ulimits.{kind}"))
            }
            Self::IdNotMapped { container, field, .. } => {
                Some(format!("containers.{container}.{field}"))
            }
            Self::NoNamespace { .. } => Some("network".to_owned()),
            Self::BeforeBoot { clock, .. } => Some(format!("time.{clock}")),
            Self::BelowOomScore { container, .. } => {
                Some(format!("containers.{container}.oomScoreAdj"))
            }
            Self::NoImage { container, .. } | Self::BadImage { container, .. } => {
                Some(format!("containers.{container}.image"))
            }
            Self::RunsAsRoot { container } => {
                Some(format!("containers.{container}.security.runAsNonRoot"))
            }
            Self::LacksCapability { container, .. } => {
                Some(format!("containers.{container}.security.capabilities"))
            }
            Self::NoSecurityModule { container, field, .. } => {
                Some(format!("containers.{container}.security.{field}"))
            }
            Self::Seccomp { container, .. } => {
                Some(format!("containers.{container}.security.seccomp"))
            }
            Self::NoSuchUser { container, .. } => Some(format!("containers.{container}.user")),
            Self::NotObserved | Self::Changed { .. } | Self::NoSubnet | Self::NoAddress { .. } => {
                None
            }
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(id) => write!(f, "the pod with id {id}"),
            Self::Socket { inode } => write!(f, "a process (socket {inode})"),
        }
    }
}

/// A limit of a process, of which the largest is none.
fn bound(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

/// The containers of a cycle, the first again at the end.
fn circle(path: &[ContainerName]) -> String {
    let names: Vec<&str> = path.iter().chain(path.first()).map(ContainerName::as_str).collect();
    names.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_drawn_whole() {
        let path = ["a", "b", "c"].map(|name| name.parse().unwrap()).to_vec();
        let error = PlanError::Cycle { path };
        assert!(error.to_string().ends_with("a -> b -> c -> a"), "{error}");
        assert_eq!(error.place().as_deref(), Some("containers.a.dependsOn"));
    }
}
