//! What is asked of a container while it runs, how often, and what is done beside its start and its stop:
//! its probes and hooks, with every value chosen.

use crate::names::ContainerName;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where a container finds the socket of sd_notify(3), where a probe of it listens.
pub const NOTIFY_SOCKET: &str = "/run/notify/notify.sock";

/// Of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Health {
    /// Holds the other two off until it has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// The container has started when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Check>,
    /// Comes before the stop signal, within the stop time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Check>,
    /// Containers whose restart restarts this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarts_with: Vec<ContainerName>,
    /// The socket that is [`NOTIFY_SOCKET`] inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<PathBuf>,
}

impl Health {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    pub check: Check,
    pub initial_delay: Duration,
    pub interval: Duration,
    pub timeout: Duration,
    /// In a row.
    pub successes: u32,
    /// In a row.
    pub failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// A program in the container that ends with 0.
    Exec {
        argv: Vec<String>,
    },
    Http(Request),
    Tcp {
        port: u16,
    },
    /// A line of the container's output.
    Log {
        pattern: String,
    },
    /// A file in the container.
    File {
        path: PathBuf,
    },
    /// READY=1 of sd_notify(3); to stay alive, WATCHDOG=1.
    Notify,
}

/// A GET of HTTP/1.1, over TLS or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub port: u16,
    pub path: String,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub tls: bool,
    #[serde(skip_serializing_if = "IndexMap::is_empty", default)]
    pub headers: IndexMap<String, String>,
    /// None: 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
}

impl Request {
    /// The name that the request is for: without its port, what the file's `Host` says.
    pub fn host(&self) -> &str {
        let is_host = |(name, _): &(&String, &String)| name.eq_ignore_ascii_case("host");
        let Some((_, host)) = self.headers.iter().find(is_host) else { return "localhost" };
        let port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        host.rsplit_once(':').filter(|(_, end)| port(end)).map_or(host.as_str(), |(name, _)| name)
    }
}

impl Check {
    /// Answered by something that happens, which is waited for, and not by asking again and again.
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Log { .. } | Self::File { .. } | Self::Notify)
    }
}

/// As a person is told of it: `tcp 5432`.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec { argv } => write!(f, "exec {}", argv.join(" ")),
            Self::Http(Request { port, path, tls, .. }) => {
                write!(f, "{} {port} {path}", if *tls { "https" } else { "http" })
            }
            Self::Tcp { port } => write!(f, "tcp {port}"),
            Self::Log { pattern } => write!(f, "log {pattern}"),
            Self::File { path } => write!(f, "file {}", path.display()),
            Self::Notify => f.write_str("notify"),
        }
    }
}
