//! What no pod uses: named volumes, logs, what a crash left, what another boot left; and that removing it
//! takes nothing from a pod that is up.

use crate::host::{Host, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

/// A pod with a named volume, in which its container has written a mebibyte.
fn with_data(name: &str) -> Value {
    let mut c = sh("head -c 1048576 /dev/urandom > /data/file; echo written; sleep infinity");
    c["volumes"] = json!(["data:/data"]);
    json!({ "name": name, "network": "none", "containers": { "c": c }, "volumes": { "data": {} } })
}

fn json_of(host: &Host, args: &[&str]) -> Value {
    serde_json::from_str(&host.podspec(args).success()).unwrap()
}

#[test]
fn a_volume_stays_until_it_is_removed_and_while_it_is_used() {
    let Some(host) = Host::new() else { return };
    for name in ["p", "q"] {
        host.up(&with_data(name));
        host.wait_log(name, "written");
    }
    let table = host.podspec(["volume", "ls"]).success();
    assert!(table.contains("p/data") && table.contains("running"), "{table}");
    let listed = json_of(&host, &["volume", "ls", "--format", "json"]);
    assert_eq!(listed[0]["usedBy"], json!(["c"]), "{listed}");
    let shown = json_of(&host, &["volume", "inspect", "p/data"]);
    let bytes = shown[0]["bytes"].as_u64().unwrap();
    assert!((1 << 20..2 << 20).contains(&bytes), "{shown}");

    let refused = host.podspec(["volume", "rm", "p/data"]).fails(1);
    assert!(refused.contains("pod `p` is up and has it, by c"), "{refused}");
    assert!(host.podspec(["volume", "prune", "--force"]).success().contains("nothing to remove"));
    let refused = host.podspec(["volume", "rm", "p/nothing"]).fails(1);
    assert!(refused.contains("there is no volume p/nothing"), "{refused}");
    host.down("p");

    let refused = host.podspec(["volume", "prune"]).fails(2);
    assert!(refused.contains("nobody can be asked") && refused.contains("--force"), "{refused}");
    let trial = json_of(&host, &["volume", "prune", "--dry-run", "--format", "json"]);
    assert_eq!((&trial["removed"][0]["name"], &trial["dryRun"]), (&json!("p/data"), &json!(true)));
    assert_eq!(trial["bytes"], bytes, "what is said before and after is one");
    let file = host.data().join("volumes/p/data/file");
    assert!(file.exists());
    let done = host.podspec(["volume", "prune", "-f"]).success();
    assert!(done.contains(&format!("freed {bytes} bytes")), "{done}");
    assert!(!file.exists() && !host.data().join("volumes/p").exists());
    assert!(host.data().join("volumes/q/data/file").exists(), "that of a pod that is up");
    host.down("q");
    host.file("q/pod.yaml", "name: q\n");
    assert_eq!(host.podspec(["volume", "rm", "q/data"]).success(), "q/data is removed\n");
    assert_eq!(host.podspec(["volume", "ls"]).success(), "VOLUME  POD IS  USED BY\n");
    host.assert_clean();
}

#[test]
fn prune_removes_what_no_pod_uses_and_says_how_much() {
    let Some(host) = Host::new() else { return };
    host.up(&with_data("live"));
    host.wait_log("live", "written");
    host.up(&with_data("gone"));
    host.wait_log("gone", "written");
    host.down("gone");
    // As a crash leaves them.
    host.file("data/layers/0123456789/c/0/upper/file", vec![1; 1 << 16]);
    std::os::unix::fs::symlink("0123456789", host.run_dir().join("net/leases/10.89.7.7")).unwrap();

    let trial = json_of(&host, &["prune", "--dry-run", "--volumes", "--format", "json"]);
    let names = |report: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = report["removed"].as_array().unwrap().iter();
        all.map(|one| (text(&one["kind"]), text(&one["name"]))).collect()
    };
    let expected = [
        ("lease", "10.89.7.7"),
        ("layers", "0123456789"),
        ("logs", "gone"),
        ("volume", "gone/data"),
    ];
    let expected = expected.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    assert_eq!(names(&trial), expected);
    assert!(host.data().join("logs/gone").exists(), "a trial removes nothing");
    assert!(host.data().join("layers/0123456789").exists(), "a trial removes nothing");

    assert!(host.podspec(["prune", "--volumes"]).fails(2).contains("--force"));
    let done = json_of(&host, &["prune", "--format", "json"]);
    assert_eq!(names(&done), expected[..3], "volumes are data");
    assert!(done["bytes"].as_u64().unwrap() >= 1 << 16, "{done}");
    for gone in ["logs/gone", "layers/0123456789"] {
        assert!(!host.data().join(gone).exists(), "{gone}");
    }
    assert!(host.data().join("volumes/gone/data/file").exists());
    assert_eq!(host.podspec(["exec", "live", "--", "ls", "/data"]).success(), "file\n");
    assert!(host.logs("live").contains("written"));
    assert_eq!(host.podspec(["prune"]).success(), "nothing to remove\n");
    let done = host.podspec(["prune", "--volumes", "--force"]).success();
    assert!(done.contains("gone/data"), "{done}");
    host.down("live");
    host.assert_clean();
}

#[test]
fn prune_removes_the_network_that_pods_share_when_none_is_up() {
    let Some(host) = Host::new() else { return };
    host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward").success();
    let there =
        || host.sh("ip -br link; nft list tables; cat /proc/sys/net/ipv4/ip_forward").success();
    let before = there();
    host.up(&json!({ "name": "p", "containers": { "c": sh("exec sleep infinity") } }));
    let made = there();
    assert!(made.contains("podspec0") && made.ends_with("table inet podspec\n1\n"), "{made}");
    assert_eq!(host.podspec(["prune"]).success(), "nothing to remove\n");
    host.down("p");

    let trial = host.podspec(["prune", "--dry-run"]).success();
    assert!(trial.contains("network  podspec0"), "{trial}");
    assert_ne!(there(), before, "a trial removes nothing");
    host.podspec(["prune"]).success();
    assert_eq!(there(), before);
    assert_eq!(host.podspec(["prune"]).success(), "nothing to remove\n");
    // And a pod comes up as if it were the first.
    host.up(&json!({ "name": "p", "containers": { "c": sh("exec sleep infinity") } }));
    assert!(there().ends_with("table inet podspec\n1\n"));
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_pod_that_a_crash_left_is_pruned_and_one_that_runs_on_is_not() {
    let Some(host) = Host::new() else { return };
    for name in ["dead", "alive"] {
        host.up(&json!({ "name": name, "containers": { "c": sh("exec sleep infinity") } }));
        let pod = host.inspect(name);
        host.kill(&pod["supervisor"]["pid"], "KILL");
        if name == "dead" {
            host.kill(&pod["containers"][0]["pid"], "KILL");
            host.kill(&pod["infra"]["pid"], "KILL");
        }
        wait_for("the supervisor to be gone", || host.inspect(name)["status"] == "unsupervised");
    }
    wait_for("the dead pod's processes to be gone", || {
        let trial = json_of(&host, &["prune", "--dry-run", "--format", "json"]);
        trial["removed"][0]["name"] == "dead"
    });
    let done = host.podspec(["prune"]).success();
    assert!(done.contains("pod") && done.contains("dead") && !done.contains("alive"), "{done}");
    assert_eq!(host.netns(), ["alive"]);
    host.down("alive");
    host.assert_clean();
}

#[test]
fn prune_beside_up_and_down_takes_nothing_from_them() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&with_data("p"));
    let stop = host.dir.join("stop");
    let podspec = format!(
        "{} --run {} --root {}",
        env!("CARGO_BIN_EXE_podspec"),
        host.run_dir().display(),
        host.data().display()
    );
    let loop_of = format!(
        "n=0; while [ ! -e {} ]; do {podspec} prune >/dev/null || exit 1; n=$((n+1)); done; echo $n",
        stop.display()
    );
    let pruner = host.start(std::process::Command::new("sh").arg("-c").arg(loop_of));
    for _ in 0..15 {
        host.podspec(["up", "-d", &file]).success();
        host.wait_log("p", "written");
        host.podspec(["exec", "p", "--", "test", "-s", "/data/file"]).success();
        host.down("p");
    }
    fs::write(stop, "").unwrap();
    let rounds: u32 = host.finish(pruner).success().trim().parse().unwrap();
    assert!(rounds > 5, "pruned {rounds} times beside it");
    assert!(host.data().join("volumes/p/data/file").exists());
    host.assert_clean();
}

/// What a pod has on disk, as if the machine had lost power while it ran: kernel objects are gone, the
/// files are not.
fn lose_power(host: &Host, pod: &str) {
    let id = host.inspect(pod)["id"].as_str().unwrap().to_owned();
    let address = host.inspect(pod)["network"]["ipv4"].as_str().unwrap().to_owned();
    let kept = host.dir.join("kept");
    let state = host.run_dir().join("pods").join(pod);
    let layers = host.data().join("layers").join(&id);
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        host.sh(&format!("cp -a {} {}", from.display(), to.display())).success();
    };
    copy(&layers, &kept.join("layers"));
    for file in ["state.json", "journal"] {
        let text = fs::read_to_string(state.join(file)).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(text.contains(boot.trim()), "{file}");
        host.file(&format!("kept/{file}"), text.replace(boot.trim(), "another-boot"));
    }
    host.down(pod);
    copy(&kept.join("layers"), &layers);
    fs::create_dir_all(state.join("mnt/ns")).unwrap();
    for file in ["state.json", "journal"] {
        copy(&kept.join(file), &state.join(file));
    }
    let lease = host.run_dir().join("net/leases").join(address);
    std::os::unix::fs::symlink(id, lease).unwrap();
    for pin in [state.join("mnt/ns/uts"), PathBuf::from("/run/netns").join(pod)] {
        fs::write(pin, "").unwrap();
    }
    for root in [host.run_dir(), &host.data()] {
        fs::write(root.join("boot"), "another-boot").unwrap();
    }
    fs::write(host.run_dir().join("net/ip_forward"), "0").unwrap();
}

#[test]
fn what_another_boot_left_is_said_and_removed_by_the_first_command() {
    let Some(host) = Host::new() else { return };
    let pod = json!({ "name": "old", "containers": { "c": sh("echo x > /etc/written; sleep infinity") } });
    let file = host.up(&pod);
    host.podspec(["exec", "old", "--", "true"]).success();
    lose_power(&host, "old");
    // Somebody of this boot uses a name that the pod would have used.
    host.sh("ip netns add old.c").success();
    let listed = host.podspec(["ps"]);
    assert_eq!(listed.code, Some(0), "{listed}");
    assert!(!listed.stdout.contains("old"), "{listed}");
    let note = "note: the machine was restarted: removed what was left of pod `old`";
    assert_eq!(listed.stderr.lines().count(), 1, "{listed}");
    assert!(listed.stderr.starts_with(note), "{listed}");
    assert_eq!(host.podspec(["ps"]).stderr, "", "once");
    assert_eq!(host.netns(), ["old.c"], "what lives is somebody's");
    assert!(!host.run_dir().join("net/ip_forward").exists(), "another boot's");
    host.sh("ip netns del old.c").success();
    let left: Vec<String> = host.leftovers();
    assert!(left.is_empty(), "{left:?}");
    host.podspec(["up", "-d", &file]).success();
    host.down("old");
    host.assert_clean();
}

#[test]
fn layers_are_found_where_the_runtime_directory_went_with_the_boot() {
    let Some(host) = Host::new() else { return };
    host.file("data/layers/0123456789/c/0/upper/file", vec![1; 1 << 16]);
    host.file("data/boot", "another-boot");
    let file = host.pod(&with_data("p"));
    let said = host.podspec(["up", "-d", &file]).stderr;
    assert!(said.contains("the machine was restarted: removed what pods had written ("), "{said}");
    assert!(!host.data().join("layers/0123456789").exists());
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_pod_of_this_boot_is_not_taken_for_one_of_another() {
    let Some(host) = Host::new() else { return };
    host.up(&with_data("p"));
    for root in [host.run_dir(), &host.data()] {
        let _ = fs::remove_file(root.join("boot"));
    }
    let listed = host.podspec(["ps"]);
    assert!(listed.stdout.contains("running") && listed.stderr.is_empty(), "{listed}");
    // Nor where the mark is of another boot, as after a copy of the directory.
    fs::write(host.data().join("boot"), "another-boot").unwrap();
    assert_eq!(host.podspec(["ps"]).stderr, "");
    assert_eq!(host.podspec(["exec", "p", "--", "true"]).code, Some(0));
    host.down("p");
    host.assert_clean();
}

#[test]
fn logs_and_volumes_stay_where_pods_of_another_runtime_directory_live() {
    let Some(host) = Host::new() else { return };
    host.up(&with_data("p"));
    host.wait_log("p", "written");
    let other = host.dir.join("run");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podspec"));
    command.arg("--run").arg(&other).arg("--root").arg(host.data()).arg("prune");
    let ended = host.finish(host.start(&mut command));
    assert!(ended.stderr.contains("pods of another --run directory"), "{ended}");
    assert_eq!(ended.success(), "nothing to remove\n");
    assert!(host.logs("p").contains("written"));
    host.podspec(["exec", "p", "--", "test", "-s", "/data/file"]).success();
    host.down("p");
    host.assert_clean();
}
