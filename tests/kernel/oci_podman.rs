//! Debian's podman drives `podspec oci` through conmon: what a user of podman does works as with its own runtimes.
//! `inspector.rs` has the same podman with a runtime of its own.

use crate::host::{Host, Outcome};
use std::path::{Path, PathBuf};

/// A podman of its own, whose runtime is a link to podspec. On a hybrid machine podman wants the v2 hierarchy
/// elsewhere than at /sys/fs/cgroup/unified, and every one asks for limits that this user may have.
const SET_UP: &str = r#"
set -e
work=$1; runtime=$2; script=$3
if mountpoint -q /sys/fs/cgroup/unified; then
  mkdir -p /run/cgroup2
  mount --bind /sys/fs/cgroup/unified /run/cgroup2
  umount -l /sys/fs/cgroup/unified
  # podman and crun make plain directories for controllers that are nowhere mounted: not among the machine's.
  mkdir -p /run/cgroups
  mount -t tmpfs cgroups /run/cgroups
  for controller in /sys/fs/cgroup/*; do
    mountpoint -q $controller || continue
    mkdir /run/cgroups/$(basename $controller)
    mount --bind $controller /run/cgroups/$(basename $controller)
  done
  mount --rbind /run/cgroups /sys/fs/cgroup
fi
cat > $work/containers.conf <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
cat > $work/storage.conf <<CONF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "/run/containers/storage"
CONF
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
podman() { command podman --runtime $runtime "$@"; }
tar -C $work/rootfs -c . | podman import -q - localhost/box:latest >/dev/null 2>&1
parent=/$(basename $work)
run() { podman run --network none --cgroup-parent $parent "$@"; }
set +e
eval "$script"
podman rm -fa >/dev/null
podman rmi -fa >/dev/null
umount -l $work/storage/overlay 2>/dev/null
# podman leaves the cgroups above its containers.
find /sys/fs/cgroup /run/cgroup2 -depth -path "*/$(basename $work)*" -type d -exec rmdir {} + 2>/dev/null
exit 0
"#;

/// A root with a busybox, below the test's directory.
pub fn box_root(host: &Host) -> PathBuf {
    let root = host.dir.join("rootfs");
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "cat", "id", "ps", "sleep", "grep", "tty", "touch", "echo", "test"] {
        let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(name));
    }
    root
}

/// A script that calls podman with this runtime; `$work` is the test's directory, whose root is the image `box`, and
/// `run` is `podman run` without a network.
pub fn podman_by(host: &Host, runtime: &Path, script: &str) -> Outcome {
    let file = host.file("set-up", SET_UP);
    // Its mounts, and what it hides, are in a mount namespace of their own.
    let command = format!(
        "unshare --mount sh {} {} {} '{}'",
        file.display(),
        host.dir.display(),
        runtime.display(),
        script.replace('\'', r"'\''")
    );
    host.sh(&command)
}

fn podman(host: &Host, script: &str) -> Outcome {
    box_root(host);
    let link = host.dir.join("podspec-oci");
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_podspec"), &link);
    podman_by(host, &link, script)
}

#[test]
fn podman_runs_containers_with_it() {
    let Some(host) = Host::new() else { return };
    let ended = podman(
        &host,
        r#"
        run --rm box echo plain
        echo typed | run --rm -i box cat
        run --rm --user 1000:1000 --cap-drop all box sh -c 'id; grep CapBnd /proc/self/status; exit 3'
        echo code $?
        run --rm --read-only box sh -c 'touch /x 2>/dev/null || echo root is read-only; touch /tmp/y && echo tmp is not'
        run --rm --memory 64m box sh -c 'sed -n s/.*:memory://p /proc/self/cgroup; cat /proc/self/cgroup' > $work/cgroup
        grep -q "memory:.*libpod-" $work/cgroup || grep -q "^0::.*libpod-" $work/cgroup && echo in its cgroup
        run --rm -t box sh -c 'tty; test -t 0 && echo terminal'
        run --rm box nothing 2>$work/error
        echo missing $?
        grep -o "command that was not found" $work/error
        run --rm --privileged box grep CapEff /proc/self/status
        "#,
    );
    let text = ended.success().replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "plain",
        "typed",
        "uid=1000 gid=1000 groups=1000",
        "CapBnd:\t0000000000000000",
        "code 3",
        "root is read-only",
        "tmp is not",
        "in its cgroup",
        "/dev/pts/0",
        "terminal",
        "missing 127",
        "command that was not found",
    ];
    assert_eq!(lines[..expected.len()], expected, "{text}");
    assert!(lines[expected.len()].starts_with("CapEff:\t00000"), "{text}");
    host.assert_clean();
}

#[test]
fn podman_keeps_containers_with_it() {
    let Some(host) = Host::new() else { return };
    let ended = podman(
        &host,
        r#"
        run -d --name long box sh -c 'echo begins; exec sleep 1000' >/dev/null
        podman inspect long --format '{{.State.Status}}'
        podman exec long ps | grep -c 'sleep 1000'
        podman exec --user 7 long sh -c 'id -u; exit 9'
        echo code $?
        podman exec -t long tty
        podman exec long nothing 2>/dev/null
        echo missing $?
        podman logs long
        podman pause long >/dev/null; podman inspect long --format '{{.State.Status}}'
        podman unpause long >/dev/null; podman inspect long --format '{{.State.Status}}'
        podman kill long >/dev/null
        podman wait long
        podman start long >/dev/null; podman inspect long --format '{{.State.Status}}'
        podman rm -f -t 0 long
        podman pod create --cgroup-parent $parent --name pod --share pid,ipc,uts --network none >/dev/null
        podman run --rm --pod pod box ps | grep -c catatonit
        podman pod rm -f pod >/dev/null; echo gone $?
        "#,
    );
    let text = ended.success().replace('\r', "");
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "running",
        "1",
        "7",
        "code 9",
        "/dev/pts/0",
        "missing 127",
        "begins",
        "paused",
        "running",
        "137",
        "running",
        "long",
        "1",
        "gone 0",
    ];
    assert_eq!(lines, expected, "{text}");
    host.assert_clean();
}
