//! The record of a pod: what `ps` and `inspect` show. The supervisor alone writes it, as a whole.

use crate::names::{ContainerName, PodId, PodName};
use crate::plan::step::{ImageUsed, Role};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;

/// One pod, as of the last change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRecord {
    pub name: PodName,
    pub id: PodId,
    pub labels: IndexMap<String, String>,
    pub status: PodStatus,
    /// Why, where the status is `failed`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Of the first container that failed for good, else 0; there once the pod's containers have ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// The boot that the processes are of.
    pub boot: String,
    pub supervisor: Process,
    pub infra: Option<Process>,
    /// Inode numbers of the shared namespaces.
    pub namespaces: BTreeMap<String, u64>,
    pub network: Option<NetworkRecord>,
    pub ports: Vec<PortRecord>,
    /// Limits of all containers together, in the words of the file.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub resources: Value,
    pub containers: Vec<ContainerRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PodStatus {
    /// Being brought up.
    Starting,
    /// At least one container runs, or will start again.
    Running,
    /// Every container has ended, all of them well.
    Exited,
    /// Every container has ended, one with an error; or one can never start.
    Failed,
    /// Every container has ended, one because a user stopped it.
    Stopped,
    /// Being brought down.
    Stopping,
    /// Its supervisor is gone; containers may run on.
    Unsupervised,
}

impl PodStatus {
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Unsupervised => "unsupervised",
        }
    }
}

/// A process that may be gone: a pid alone may be another's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub pid: i32,
    /// Clock ticks after boot (field 22 of /proc/PID/stat, proc_pid_stat(5)).
    pub start_time: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    pub interface: String,
    pub ipv4: Ipv4Addr,
    pub gateway: Ipv4Addr,
    pub mac: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortRecord {
    /// None: every address of the host.
    pub address: Option<Ipv4Addr>,
    pub host: u16,
    pub container: u16,
    pub count: u16,
    pub protocol: String,
    /// Where it leads.
    pub target: Ipv4Addr,
}

impl PortRecord {
    /// On the host: `0.0.0.0:9000-9099`.
    pub fn outside(&self) -> String {
        let address = self.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        format!("{address}:{}", self.span(self.host))
    }

    /// In the pod: `80-179/tcp`.
    pub fn inside(&self) -> String {
        format!("{}/{}", self.span(self.container), self.protocol)
    }

    fn span(&self, first: u16) -> String {
        match self.count {
            0 | 1 => first.to_string(),
            count => format!("{first}-{}", u32::from(first) + u32::from(count) - 1),
        }
    }
}

impl std::fmt::Display for PortRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}->{}", self.outside(), self.inside())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerRecord {
    pub name: ContainerName,
    /// `init` and `sidecar` are of `initContainers`, `main` of `containers`.
    #[serde(default)]
    pub role: Role,
    pub status: ContainerStatus,
    pub pid: Option<i32>,
    /// With `pid`: the same process, as in [`Process`].
    pub start_time: Option<u64>,
    /// Of the last run: the program's, or 128 + the signal that ended it.
    pub exit_code: Option<i32>,
    pub restarts: u32,
    /// It runs, and its probes, where it has any, say that it can do its work.
    #[serde(default)]
    pub ready: bool,
    /// What it says of itself (STATUS= of sd_notify).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status_text: Option<String>,
    /// RFC 3339, UTC, of the last start.
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    /// Its own address, where it does not share the pod's network.
    pub ipv4: Option<Ipv4Addr>,
    /// Its limits, in the words of the file.
    #[serde(skip_serializing_if = "is_null", default)]
    pub resources: Rc<Value>,
    /// What it waits for, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What its root is of, where that is an image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<Rc<ImageUsed>>,
}

impl PodRecord {
    /// Makes it small: containers are often of one kind, and what they have in common is kept once.
    pub fn compact(&mut self) {
        self.containers.shrink_to_fit();
        let mut kinds: Vec<Rc<Value>> = Vec::new();
        let mut images: Vec<Rc<ImageUsed>> = Vec::new();
        for container in &mut self.containers {
            share(&mut kinds, &mut container.resources);
            if let Some(image) = &mut container.image {
                share(&mut images, image);
            }
        }
    }
}

/// Makes `one` the same as what is known and equal to it.
fn share<T: PartialEq>(known: &mut Vec<Rc<T>>, one: &mut Rc<T>) {
    // To look through more would cost more than they are worth.
    const KINDS: usize = 16;
    match known.iter().find(|known| *known == one) {
        Some(known) => *one = known.clone(),
        None if known.len() < KINDS => known.push(one.clone()),
        None => {}
    }
}

fn is_null(value: &Rc<Value>) -> bool {
    value.is_null()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// For another container, or for its turn.
    Waiting,
    /// Set up, its program not begun.
    Created,
    Running,
    /// It is to end, and has not yet.
    Stopping,
    /// Its program ended, and it starts again when its back-off is over.
    Restarting,
    /// Ended well.
    Exited,
    /// Ended with an error and starts no more, or can never start.
    Failed,
    /// Ended because it was to; starts when a user starts it.
    Stopped,
}

impl ContainerStatus {
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}
