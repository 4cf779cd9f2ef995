//! The only place where plan meets mechanism. `apply.rs` has the one `match` that does a step, `undo.rs`
//! the one that undoes it, `network.rs` has what all pods share, `restore.rs` puts back what others took, `traces.rs` undoes what no journal tells of, `progress.rs` says which step may
//! be done next, `launch.rs` starts a container, `beside.rs` a program beside it, `volumes.rs` and
//! `secrets.rs` make what it mounts. Whatever could be decided in `plan` must be decided there: nothing here asks what a pod is.

mod apparmor;
pub mod apply;
pub mod beside;
pub mod launch;
pub mod network;
pub mod progress;
pub mod restore;
pub mod secrets;
pub mod traces;
pub mod undo;
mod volumes;

use crate::cgroup::CgroupError;
use crate::net::NetError;
use crate::sandbox::SandboxError;
use crate::state::StateError;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("cannot load AppArmor's profile `{name}`")]
    Profile { name: String, source: io::Error },
    #[error("cannot mount a tmpfs at {}", at.display())]
    MountTmpfs { at: PathBuf, source: io::Error },
    #[error("cannot unmount {}", at.display())]
    Unmount { at: PathBuf, source: io::Error },
    #[error("cannot open the namespace {}", path.display())]
    OpenNamespace { path: PathBuf, source: io::Error },
    #[error("cannot pin a namespace at {}", at.display())]
    Pin { at: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    WriteFile { path: PathBuf, source: io::Error },
    #[error("cannot make the FIFO {}", path.display())]
    MakeFifo { path: PathBuf, source: io::Error },
    #[error("cannot open the FIFO {}", path.display())]
    OpenFifo { path: PathBuf, source: io::Error },
    #[error("cannot make a pipe")]
    Pipe { source: io::Error },
    #[error("cannot make the socket {} for sd_notify", path.display())]
    NotifySocket { path: PathBuf, source: io::Error },
    #[error("cannot use the terminal that it has made")]
    Terminal { source: io::Error },
    #[error("the address {address} was taken meanwhile")]
    AddressTaken { address: Ipv4Addr },
    #[error("it was killed while it was set up (exit code {code})")]
    DiedInSetUp { code: i32 },
    #[error("it was killed while it was set up (out of memory, {limit})")]
    TooLittleMemory { limit: String },
    #[error("cannot send it a signal")]
    Signal { source: io::Error },
    #[error("the plan creates no such container")]
    NotCreated,
    #[error("the secret `{name}` was not handed over")]
    NoSecret { name: crate::names::SecretName },
    #[error("infra is not running")]
    NoInfra,
}

impl ExecError {
    /// Whether the step failed because somebody else has what it was to make: undoing it would take that
    /// from them.
    pub fn is_anothers(&self) -> bool {
        matches!(self, Self::Net(NetError::PinTaken { .. }))
    }

    /// Whether the machine has changed since the plan was made, so that another plan may succeed.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::AddressTaken { .. } | Self::Net(NetError::Stale))
    }
}
