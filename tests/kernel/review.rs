//! What an adversarial reading broke: each of these hung, leaked, lied or ended somebody else's pod.

use crate::host::{Host, Outcome, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::Duration;

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

fn pod(containers: Value) -> Value {
    json!({ "name": "p", "network": "none", "containers": containers })
}

fn supervisor(host: &Host) -> Value {
    host.inspect("p")["supervisor"]["pid"].clone()
}

fn gone(host: &Host, pid: &Value) {
    let pid = pid.as_u64().unwrap();
    let alive = || host.processes().iter().any(|(other, _)| u64::from(*other) == pid);
    wait_for("the process to be gone", || !alive());
}

#[test]
fn ctrl_c_is_heard_while_a_container_writes_without_end() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&pod(json!({ "c": sh("exec yes") })));
    let front = format!(
        "exec {} --run {} --root {} up {file} >/dev/null",
        env!("CARGO_BIN_EXE_podspec"),
        host.run_dir().display(),
        host.data().display()
    );
    let client = host.start(Command::new("sh").arg("-c").arg(front));
    wait_for("a log that was turned over", || host.data().join("logs/p/c.log.2").exists());
    let pid = nix::unistd::Pid::from_raw(client.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    host.finish(client);
    host.assert_clean();
}

#[test]
fn a_caller_that_ignores_sigchld_still_learns_exit_codes() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&pod(json!({ "c": sh("exit 7") })));
    let up = format!(
        "trap '' CHLD; exec {} --run {} --root {} up {file}",
        env!("CARGO_BIN_EXE_podspec"),
        host.run_dir().display(),
        host.data().display()
    );
    let ended = host.finish(host.start(Command::new("bash").arg("-c").arg(up)));
    assert_eq!(ended.code, Some(7), "{ended}");
}

#[test]
fn a_pod_that_lost_its_infra_is_started_anew() {
    let Some(host) = Host::new() else { return };
    let file = host.up(&pod(json!({ "c": sh("exec sleep infinity") })));
    host.kill(&host.inspect("p")["infra"]["pid"], "KILL");
    wait_some("the pod to fail", || Some(()).filter(|()| host.inspect("p")["status"] == "failed"));
    host.podspec(["up", "-d", &file]).success();
    assert_eq!(host.inspect("p")["status"], "running");
    host.down("p");
    host.assert_clean();
}

#[test]
fn what_waits_for_another_waits_again_when_both_are_started_again() {
    let Some(host) = Host::new() else { return };
    let first = sh("test -e /v/again || { touch /v/again; exit 3; }; sleep 0.5");
    let mut web = sh("exec sleep infinity");
    web["dependsOn"] = json!({ "migrate": "completed" });
    let mut migrate = first;
    migrate["volumes"] = json!(["v:/v"]);
    let mut p = pod(json!({ "migrate": migrate, "web": web }));
    p["volumes"] = json!({ "v": { "emptyDir": {} } });
    let file = host.pod(&p);
    assert_eq!(host.podspec(["up", "-d", &file]).code, Some(1));
    let again = host.podspec(["up", "-d", &file]);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(!again.to_string().contains("web  failed"), "{again}");
    assert_eq!(host.container("p", "web")["restarts"], 0, "its first start is no restart");
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_damaged_record_keeps_no_pod_up() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "c": sh("exec sleep infinity") })));
    let supervisor = supervisor(&host);
    host.kill(&supervisor, "KILL");
    gone(&host, &supervisor);
    fs::write(host.run_dir().join("pods/p/state.json"), "{\"na").unwrap();
    host.podspec(["down", "p"]).success();
    host.assert_clean();
}

#[test]
fn a_live_supervisor_without_a_record_is_met_with_an_error_and_not_with_a_wait() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&pod(json!({ "c": sh("exec sleep infinity") })));
    // Not only up: that all is ready is the last that the supervisor writes into the record.
    host.podspec(["up", "--wait", &file]).success();
    fs::remove_file(host.run_dir().join("pods/p/state.json")).unwrap();
    let up = host.podspec(["up", "-d", &file]);
    assert_eq!(up.code, Some(1), "{up}");
    host.podspec(["down", "p"]).success();
    host.assert_clean();
}

#[test]
fn recreations_of_one_pod_at_the_same_time_follow_each_other() {
    let Some(host) = Host::new() else { return };
    let files: Vec<_> = (0..5)
        .map(|n| {
            let text = pod(json!({ "c": sh(&format!("exec sleep 100{n}")) })).to_string();
            host.file(&format!("{n}.yaml"), text)
        })
        .collect();
    host.pod(&pod(json!({ "c": sh("true") })));
    let ups: Vec<_> = files
        .iter()
        .map(|file| host.start_podspec(["up", "-d", "--recreate", file.to_str().unwrap()]))
        .collect();
    let ups: Vec<_> = ups.into_iter().map(|up| host.finish(up)).collect();
    // One that the next took down before it was up says so.
    let lost = |up: &Outcome| up.stderr.contains("`p` was brought down before it was up");
    let (well, other): (Vec<_>, Vec<_>) = ups.iter().partition(|up| up.code == Some(0));
    assert!(!well.is_empty() && other.iter().all(|up| up.code == Some(1) && lost(up)), "{ups:?}");
    assert_eq!(host.inspect("p")["status"], "running");
    host.podspec(["down", "p"]).success();
    host.assert_clean();
}

#[test]
fn up_waits_for_a_pod_that_is_leaving() {
    let Some(host) = Host::new() else { return };
    let slow = "trap 'sleep 1; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let file = host.up(&pod(json!({ "c": sh(slow) })));
    host.wait_log("p/c", "ready");
    let down = host.start_podspec(["down", "p"]);
    wait_for("the pod to be stopping", || host.inspect("p")["status"] == "stopping");
    host.podspec(["up", "-d", &file]).success();
    host.finish(down).success();
    assert_eq!(host.inspect("p")["status"], "running");
    host.down("p");
    host.assert_clean();
}

#[test]
fn many_containers_under_a_low_limit_of_open_files() {
    let Some(host) = Host::new() else { return };
    let all = (0..100).map(|n| (format!("c{n}"), sh("exec sleep infinity"))).collect();
    let file = host.pod(&pod(Value::Object(all)));
    let up = format!(
        "ulimit -Sn 256; exec {} --run {} --root {} up -d {file}",
        env!("CARGO_BIN_EXE_podspec"),
        host.run_dir().display(),
        host.data().display()
    );
    host.finish(host.start(Command::new("bash").arg("-c").arg(up))).success();
    let limit = host.podspec(["exec", "p/c7", "--", "sh", "-c", "ulimit -Sn"]);
    assert_ne!(limit.to_string(), "", "a limit");
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_full_run_directory_keeps_no_pod_up() {
    let Some(host) = Host::new() else { return };
    let run = host.run_dir().display().to_string();
    host.sh(&format!("mkdir -p {run} && mount -t tmpfs -o size=1m tmpfs {run}")).success();
    let mut p = pod(json!({ "c": sh("exec sleep infinity") }));
    p["network"] = json!("bridge");
    host.up(&p);
    let _ = fs::write(host.run_dir().join("filler"), vec![0; 2 << 20]);
    host.podspec(["down", "p"]).success();
    fs::remove_file(host.run_dir().join("filler")).unwrap();
    assert!(fs::read_dir(host.run_dir().join("net/leases")).unwrap().next().is_none(), "a lease");
    std::thread::sleep(Duration::from_millis(10));
    host.sh(&format!("umount {run}")).success();
}

/// A pod with everything that can be left behind, whose supervisor is dead.
fn orphan(host: &Host) {
    host.up(&json!({
        "name": "p", "ports": ["8080:80", "9000-9002:9000-9002/udp"],
        "volumes": { "t": { "tmpfs": "1Mi" }, "e": { "emptyDir": {} } },
        "containers": {
            "c": { "rootfs": "host", "command": ["sleep", "infinity"], "volumes": ["t:/t", "e:/e"] },
            "d": { "rootfs": "host", "command": ["sleep", "infinity"],
                   "namespaces": { "net": "private" } } } }));
    let pid = supervisor(host);
    host.kill(&pid, "KILL");
    gone(host, &pid);
}

#[test]
fn a_damaged_journal_keeps_nothing_up() {
    let Some(host) = Host::new() else { return };
    for garbage in [&b"\xff\xfe no journal\n"[..], b"{\"boot\": 1}\n", b"[]\nbegin 7\n"] {
        orphan(&host);
        fs::write(host.run_dir().join("pods/p/journal"), garbage).unwrap();
        host.podspec(["down", "p"]).success();
        host.assert_clean();
    }
}

#[test]
fn a_pod_whose_state_is_lost_is_found_by_its_names() {
    let Some(host) = Host::new() else { return };
    orphan(&host);
    let pods = host.run_dir().join("pods/p");
    host.sh(&format!("umount -R {0}/mnt; rm -r {0}", pods.display())).success();
    let file = host.pod(&pod(json!({ "c": sh("exec sleep infinity") })));
    let error = host.podspec(["up", "-d", &file]).fails(1);
    assert!(error.contains("podspec down p"), "{error}");
    host.podspec(["down", "p"]).success();
    host.assert_clean();
    orphan(&host);
    host.sh(&format!("umount -R {0}/mnt; rm -r {0}", pods.display())).success();
    host.podspec(["up", "-d", "--recreate", &file]).success();
    host.down("p");
    host.assert_clean();
}
