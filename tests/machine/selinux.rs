//! SELinux, which a kernel has instead of AppArmor: tests/vm/run boots once more for it, and there it only warns.

use crate::host::Host;
use serde_json::{Value, json};
use std::fs;

#[test]
fn selinux_labels_where_the_kernel_has_it() {
    let Some(host) = Host::new() else { return };
    let labelled = |label: &str| -> Value {
        let script = "cat /proc/self/attr/current; echo; exec sleep infinity";
        let container = json!({
            "rootfs": "host",
            "command": ["/bin/sh", "-c", script],
            "security": { "selinux": label },
        });
        json!({ "name": "p", "containers": { "c": container } })
    };
    let label = "system_u:system_r:sshd_t:s0";
    host.up(&labelled(label));
    host.wait_log("p/c", label);
    let pid = host.container("p", "c")["pid"].clone();
    let seen = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
    assert_eq!(seen.trim_end_matches('\0'), label);
    let further = host.podspec(["exec", "p", "--", "cat", "/proc/self/attr/current"]).success();
    assert_eq!(further.trim_end_matches('\0'), label);
    host.down("p");
    let file = host.pod(&labelled("system_u:system_r:no_such_t:s0"));
    let refused = host.podspec(["up", "-d", &file]).fails(1);
    assert!(refused.contains("no_such_t") && refused.contains("loaded here?"), "{refused}");
    host.assert_clean();
}
