//! The embedded runtime for others: a bundle of the OCI runtime spec becomes a container with a life of its own, and
//! every later command finds it by its id in a directory. `sandbox` carries the document out, `cgroup` bounds it; here
//! is what a command line of OCI's has beside that. Knows no pods; prints nothing.
//!
//! A container that was created waits behind a socket in its directory (`start.sock`): who connects starts it, and hears
//! on that connection why it could not be. Whether somebody waits there is what tells `created` from `running`.

mod bundle;
mod cgroups;
mod create;
mod default;
mod devices;
mod enter;
mod environment;
mod hooks;
mod life;
mod resources;
mod store;
mod update;

pub use crate::sandbox::MOUNT_OPTIONS;
pub use bundle::{Document, capabilities, load, process};
pub use cgroups::Manager;
pub use create::{Ask, Fresh, create};
pub use default::default_document;
pub use devices::{of_document as all_device_rules, rules as device_rules};
pub use enter::{Further, enter, initial_processors};
pub use life::{delete, destroy, kill, pause, processes, resume, start};
pub use store::{Container, Status, Store};
pub use update::update;

use crate::cgroup::CgroupError;
use crate::sandbox::SandboxError;
use crate::seccomp::SeccompError;
use std::io;
use std::path::{Path, PathBuf};

/// The version of the runtime spec that is spoken.
pub const VERSION: &str = "1.2.1";

#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error(
        "the container id `{id}` must be of letters, digits, `_`, `+`, `-` and `.`, at most 255, and not `.` or `..`"
    )]
    Id { id: String },
    #[error("container with given ID already exists: {id}")]
    Exists { id: String },
    #[error("container `{id}` does not exist")]
    Unknown { id: String },
    #[error("cannot {operation} container `{id}`: it is {status}")]
    Status { operation: &'static str, id: String, status: Status },
    #[error("container not running: `{id}` is {status}")]
    NotRunning { id: String, status: Status },
    #[error("{}: {message}", path.display())]
    Document { path: PathBuf, message: String },
    #[error("{}: cannot be understood", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("cannot {operation} {}", path.display())]
    File { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("this limit cannot be held: {what}: {remedy}")]
    Limit { what: String, remedy: String },
    #[error("container's cgroup is not empty: {} has processes of somebody else", path.display())]
    CgroupInUse { path: PathBuf },
    #[error("container's cgroup unexpectedly frozen: {}", path.display())]
    CgroupFrozen { path: PathBuf },
    #[error("cannot join the cgroup `{word}`: {why}")]
    NoSuchCgroup { word: String, why: &'static str },
    #[error(
        "cannot exec in a paused container: `{id}` (`--ignore-paused` waits until it is resumed)"
    )]
    Paused { id: String },
    #[error("{message}")]
    Usage { message: String },
    #[error("the container's first process ended before it was set up")]
    Died,
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("cannot carry out the document's `linux.seccomp`")]
    Seccomp(#[from] SeccompError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

impl OciError {
    fn file(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::File { operation, path: path.to_owned(), source: source.into() }
    }

    fn document(path: &Path, message: impl Into<String>) -> Self {
        Self::Document { path: path.to_owned(), message: message.into() }
    }
}
