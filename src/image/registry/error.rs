//! Why a registry did not give what it was asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{url}: {why}")]
    Connection { url: String, why: String, kind: Trouble },
    #[error("{url} answered {status}{}", words(.said))]
    Status { url: String, status: u16, said: String, after: Option<Duration> },
    #[error("{registry} refuses: {}", or_status(.said, *.status))]
    Denied { registry: String, status: u16, said: String, logged_in: bool },
    #[error("{registry} does not know it{}", words(.said))]
    NotFound { registry: String, said: String },
    #[error("{url} leads to {to}, and on from there: more than {most} redirects")]
    Redirects { url: String, to: String, most: usize },
    #[error("{url} leads to {to}, which is not encrypted")]
    Downgrade { url: String, to: String },
    #[error("{url} leads nowhere: {to}")]
    Nowhere { url: String, to: String },
    #[error("{registry} sends its logins to {realm}, which is not encrypted")]
    PlainRealm { registry: String, realm: String },
    #[error("{registry} asks for a login in a way that podspec does not know: {asked}")]
    Challenge { registry: String, asked: String },
    #[error("{url} sent {what} that cannot be understood")]
    Answer { url: String, what: &'static str },
    #[error("{url} sent {what} of more than {most} bytes")]
    TooLong { url: String, what: &'static str, most: u64 },
    #[error("{url} announces {found} bytes where the manifest says {wanted}")]
    Length { url: String, found: u64, wanted: u64 },
    #[error("{url} was cut off after {at} of {size} bytes, {tries} times")]
    Cut { url: String, at: u64, size: u64, tries: u32, source: Box<Self> },
    #[error("it ended early")]
    Ended,
    #[error("it brought {bytes} bytes in {seconds} s")]
    Slow { bytes: u64, seconds: u64 },
    #[error("{url} wants {} s of patience", .after.as_secs())]
    TooBusy { url: String, after: Duration },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no file of logins", path.display())]
    AuthFile { path: PathBuf, source: serde_json::Error },
    #[error("{}: what it has for {registry} is not `user:password` in base64", path.display())]
    Login { path: PathBuf, registry: String },
    #[error("{} names the helper `{helper}`, which cannot be asked: {why}", path.display())]
    Helper { path: PathBuf, helper: String, why: String },
    #[error("{} is no certificate", path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("`{proxy}` is no proxy")]
    Proxy { proxy: String },
    #[error("{} cannot be understood: {why}", path.display())]
    Conf { path: PathBuf, why: String },
    #[error("{} blocks `{prefix}`", path.display())]
    Blocked { path: PathBuf, prefix: String },
}

/// What kind of trouble a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The peer's certificate is not to be trusted.
    Certificate,
    /// It does not speak TLS.
    NoTls,
    /// Nobody is there, or it went away: may be better in a moment.
    Network,
}

impl RegistryError {
    /// Whether it may be better in a moment.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Connection { kind, .. } => *kind == Trouble::Network,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Ended | Self::Slow { .. } => true,
            _ => false,
        }
    }

    /// How long the registry itself wants us to wait.
    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            Self::Status { after, .. } => *after,
            _ => None,
        }
    }
}

fn words(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn or_status(said: &str, status: u16) -> String {
    if said.is_empty() { format!("status {status}") } else { said.to_owned() }
}
