//! What a bundle begins with, and what this runtime can do: `spec`, `features`.

use super::print;
use crate::oci::{self, OciError};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a config.json to begin with
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci spec
  podspec oci spec --bundle demo")]
pub(super) struct Spec {
    /// Where it goes
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
}

impl Spec {
    pub(super) fn run(self) -> Result<ExitCode, OciError> {
        let path = self.bundle.join("config.json");
        let value = serde_json::to_value(oci::default_document()).unwrap_or_default();
        // What is there may be somebody's work.
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{value:#}"));
        written.map_err(|source| OciError::File { operation: "write", path, source })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Show what this runtime can do, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci features")]
pub(super) struct Features {}

impl Features {
    pub(super) fn run(self) -> Result<ExitCode, OciError> {
        let has = |path: &str| std::path::Path::new(path).exists();
        let features = json!({
            "ociVersionMin": "1.0.0",
            "ociVersionMax": oci::VERSION,
            "hooks": [
                "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
                "poststop"
            ],
            "mountOptions": oci::MOUNT_OPTIONS,
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
                "capabilities": oci::capabilities(),
                "cgroup": {
                    "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true
                },
                "seccomp": {
                    "enabled": true,
                    "actions": [
                        "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                        "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"
                    ],
                    "operators": [
                        "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                        "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"
                    ]
                },
                "mountExtensions": { "idmap": { "enabled": true } },
                "apparmor": { "enabled": has("/sys/kernel/security/apparmor") },
                "selinux": { "enabled": has("/sys/fs/selinux/enforce") },
                "intelRdt": { "enabled": false }
            },
            "annotations": { "podspec.version": env!("CARGO_PKG_VERSION") }
        });
        print(format!("{features:#}\n").as_bytes())
    }
}
