//! What survives us, on disk: what a pod is, what was done for it, and who may change it.
//!
//! ```text
//! RUN/lock                    one file of byte-range locks, never unlinked
//! RUN/boot, DATA/boot         the boot that all of it is of
//! RUN/net/leases/10.89.3.7    a link to the id of the pod that has this address
//! RUN/net/released            addresses given back, a line each, oldest first
//! RUN/net/ip_forward          what it was before podspec turned it on
//! RUN/pods/NAME/journal       the plan, then what of it was begun and done
//! RUN/pods/NAME/state.json    what `ps` and `inspect` show; replaced as a whole
//! RUN/pods/NAME/control.sock  the supervisor listens here
//! RUN/pods/NAME/io/           FIFOs that are the containers' stdout and stderr
//! RUN/pods/NAME/mnt/          a tmpfs: pins, generated files, shared memory
//! DATA/layers/ID/             what containers write to their roots; gone at `down`
//! DATA/volumes/NAME/          named volumes; gone at `down --volumes`
//! DATA/logs/NAME/             the last run's logs
//! ```
//! Nothing in RUN is synced to disk: it need outlive a kill, not a power cut. Only who changes a pod
//! writes here; the commands that report read it without a lock.

pub mod journal;
pub mod lock;
pub mod record;
pub mod store;

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot make the directory {}", path.display())]
    MakeDirectory { path: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{} is not what podspec wrote: somebody has changed it since the pod was started", path.display())]
    Altered { path: PathBuf },
    #[error("cannot lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot tell which boot this is")]
    Boot { source: io::Error },
}
