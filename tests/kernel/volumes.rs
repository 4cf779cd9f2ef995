//! Volumes: parts of them, and how what is mounted below them spreads.

use crate::host::Host;
use serde_json::{Value, json};

fn pod(volumes: &Value, mount: &Value) -> Value {
    let container = json!({ "rootfs": "host", "command": ["sleep", "infinity"],
        "security": { "capabilities": { "add": ["SYS_ADMIN"] } }, "volumes": [mount] });
    json!({ "name": "p", "network": "none", "volumes": volumes, "containers": { "c": container } })
}

#[test]
fn a_part_that_is_missing_is_made_and_one_of_files_is_not() {
    let Some(host) = Host::new() else { return };
    let volumes =
        json!({ "kept": {}, "memory": { "tmpfs": "1Mi" }, "gone": { "emptyDir": {} }, "none": {} });
    for (name, mode) in [("kept", "755"), ("memory", "1777"), ("gone", "777")] {
        let mount = json!({ "source": name, "target": "/v", "subPath": "a/b" });
        host.up(&pod(&volumes, &mount));
        let script = "echo x > /v/x && stat -c %a /v";
        let mode_seen = host.podspec(["exec", "p", "--", "sh", "-c", script]).success();
        assert_eq!(mode_seen.trim(), mode, "{name}");
        host.down("p");
    }
    // What was there stays.
    assert!(host.data().join("volumes/p/kept/a/b/x").exists());
    host.podspec(["volume", "rm", "p/kept", "p/none"]).success();

    let files = json!({ "f": { "files": { "app.conf": "text" } } });
    let file = host.pod(&pod(&files, &json!({ "source": "f", "target": "/v", "subPath": "typo" })));
    let error = host.podspec(["up", "-d", &file]).fails(1);
    assert!(error.contains("No such file or directory"), "{error}");
    host.assert_clean();
}

#[test]
fn what_cannot_cover_its_target_is_told_so() {
    let Some(host) = Host::new() else { return };
    for (mount, wanted) in [
        ("/etc:/etc/hosts", "cannot mount a directory onto the file /etc/hosts"),
        ("/etc/hostname:/etc", "cannot mount a file onto the directory /etc"),
    ] {
        let file = host.pod(&pod(&json!({}), &json!(mount)));
        let error = host.podspec(["up", "-d", &file]).fails(1);
        assert!(error.contains(wanted), "{error}");
    }
    host.assert_clean();
}

#[test]
fn mounts_spread_as_far_as_the_file_says() {
    let Some(host) = Host::new() else { return };
    let shared = host.dir.join("shared");
    let (at, mount) = (shared.display(), |propagation: &str| {
        let mount = json!({ "source": shared, "target": "/m", "propagation": propagation });
        pod(&json!({}), &mount)
    });
    host.sh(&format!("mkdir {at} && mount -t tmpfs tmpfs {at} && mkdir {at}/out {at}/in"))
        .success();
    let file = host.pod(&mount("rslave"));
    let error = host.podspec(["up", "-d", &file]).fails(2);
    assert!(error.contains("mount --make-rshared"), "{error}");
    host.sh(&format!("mount --make-rshared {at}")).success();

    let inside = |script: &str| host.podspec(["exec", "p", "--", "sh", "-c", script]);
    for (propagation, arrives, leaves) in
        [("private", false, false), ("rslave", true, false), ("rshared", true, true)]
    {
        host.up(&mount(propagation));
        host.sh(&format!("mount -t tmpfs tmpfs {at}/out && touch {at}/out/of-the-host")).success();
        assert_eq!(inside("ls /m/out").success().contains("of-the-host"), arrives, "{propagation}");
        inside("mount -t tmpfs tmpfs /m/in && touch /m/in/of-the-container").success();
        let seen = host.sh(&format!("ls {at}/in")).success();
        assert_eq!(seen.contains("of-the-container"), leaves, "{propagation}");
        host.down("p");
        host.sh(&format!("umount {at}/out; umount {at}/in 2>/dev/null; true")).success();
    }
    host.sh(&format!("umount {at}")).success();
    host.assert_clean();
}
