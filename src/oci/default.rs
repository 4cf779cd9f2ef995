//! The document that `podspec oci spec` writes: a shell in a root that it cannot change, as other runtimes have it.

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// What a container may, by default: what a shell without any privilege still needs.
const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// To be changed by whoever uses it.
pub fn default_document() -> Spec {
    let document = json!({
        "ociVersion": super::VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "podspec",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" }
            ],
            "maskedPaths": crate::spec::hidden::MASKED,
            "readonlyPaths": crate::spec::hidden::READ_ONLY
        }
    });
    #[expect(clippy::expect_used, reason = "the document is above, and a test reads it")]
    serde_json::from_value(document).expect("a document")
}

fn mounts() -> Value {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let kernels = ["nosuid", "noexec", "nodev"];
    json!([
        mount("/proc", "proc", &kernels),
        mount("/dev", "tmpfs", &dev),
        mount("/dev/pts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", &shm),
        mount("/dev/mqueue", "mqueue", &kernels),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_document() {
        let spec = super::default_document();
        assert_eq!(spec.version(), super::super::VERSION);
        assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
    }
}
