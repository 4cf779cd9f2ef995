//! How registries are reached: all that the command line, the environment and the user's files may say of it.
//! `cli` fills it; nothing here reads the environment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Hears a line.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// How registries are reached.
#[derive(Clone, Default)]
pub struct Settings {
    /// For URLs of either scheme.
    pub https_proxy: Option<String>,
    pub http_proxy: Option<String>,
    /// Hosts that are asked without a proxy, as in NO_PROXY.
    pub no_proxy: String,
    /// Registries, as references name them, whose certificate is not checked and that may speak plain HTTP.
    pub insecure: Vec<String>,
    /// Directories with one directory a registry (`certs.d`).
    pub certs_d: Vec<PathBuf>,
    /// A directory with certificates for every registry; it must be there.
    pub cert_dir: Option<PathBuf>,
    /// Files with logins, the first that knows the registry wins. One that is not there is no error.
    pub auth_files: Vec<PathBuf>,
    /// As `auth_files`, alone, and it must be there.
    pub auth_file: Option<PathBuf>,
    /// Podman's registries.conf, the first of these that is there.
    pub registries_confs: Vec<PathBuf>,
    /// In the place of those; it must be there.
    pub registries_conf: Option<PathBuf>,
    /// Directories with further such files (`registries.conf.d`).
    pub registries_dirs: Vec<PathBuf>,
    pub patience: Patience,
    /// Hears what is tried again, and why.
    pub notice: Option<Notice>,
}

/// When to give up.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// Without a byte.
    pub silence: Duration,
    /// A blob that brings less than `window` times `SLOWEST` in a window is asked for anew.
    pub window: Duration,
    /// Tries of one thing without getting on.
    pub tries: u32,
    /// Before the second try; doubled before each further one.
    pub pause: Duration,
    /// The longest that a registry may have us wait (Retry-After).
    pub longest_pause: Duration,
}

/// Bytes a second.
pub(super) const SLOWEST: u64 = 1024;

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            window: Duration::from_secs(30),
            tries: 5,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(120),
        }
    }
}
