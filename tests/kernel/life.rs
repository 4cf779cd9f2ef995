//! The life of a pod: init containers and sidecars, what the end of a container means for the others, and
//! what a user may ask of a pod that runs.

use crate::host::{Host, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

fn with(mut container: Value, more: &Value) -> Value {
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

/// Says in the pod's volume when it begins and when it is asked to end.
fn noting(name: &str) -> Value {
    let script = format!(
        "trap 'echo {name} ends >> /v/notes; exit 0' TERM; echo {name} begins >> /v/notes; \
         echo ready; while :; do sleep 0.02; done"
    );
    with(sh(&script), &json!({ "volumes": ["v:/v"] }))
}

fn pod(mut fields: Value) -> Value {
    let more = json!({ "name": "p", "network": "none", "volumes": { "v": {} } });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

/// What the containers noted in the volume, as words.
fn notes(host: &Host) -> String {
    let text = fs::read_to_string(host.data().join("volumes/p/v/notes")).unwrap_or_default();
    text.lines().collect::<Vec<_>>().join(", ")
}

fn status(host: &Host) -> Value {
    host.inspect("p")["status"].clone()
}

fn wait_pod(host: &Host, status: &str) -> Value {
    wait_some(&format!("the pod to be {status}"), || {
        Some(host.inspect("p")).filter(|pod| pod["status"] == status)
    })
}

#[test]
fn init_containers_run_one_after_another_before_the_others() {
    let Some(host) = Host::new() else { return };
    let init = |name: &str| {
        let script =
            format!("echo {name} begins >> /v/notes; sleep 0.1; echo {name} ends >> /v/notes");
        with(sh(&script), &json!({ "volumes": ["v:/v"] }))
    };
    host.up(&pod(json!({
        "restart": "always",
        "initContainers": { "one": init("one"), "two": init("two") },
        "containers": { "web": noting("web") } })));
    assert_eq!(host.container("p", "one")["role"], "init");
    assert_eq!(host.container("p", "web")["role"], "main");
    host.wait_log("p/web", "ready");
    assert_eq!(notes(&host), "one begins, one ends, two begins, two ends, web begins");
    assert_eq!(host.container("p", "one")["restarts"], 0, "the pod's `restart` is not theirs");
    let again = host.podspec(["up", "-d", host.dir.join("p.yaml").to_str().unwrap()]).success();
    assert!(again.contains("unchanged"), "{again}");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn an_init_container_is_retried_by_its_own_policy() {
    let Some(host) = Host::new() else { return };
    let script = "echo try >> /v/notes; [ $(wc -l < /v/notes) = 3 ]";
    let init = with(sh(script), &json!({ "volumes": ["v:/v"], "restart": "on-failure:5" }));
    host.up(&pod(
        json!({ "initContainers": { "i": init }, "containers": { "web": noting("web") } }),
    ));
    let init = host.container("p", "i");
    assert_eq!((&init["status"], &init["restarts"]), (&json!("exited"), &json!(2)), "{init}");
    host.wait_status("p", "web", "running");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let Some(host) = Host::new() else { return };
    let p = pod(json!({
        "initContainers": { "i": with(sh("echo no; exit 7"), &json!({ "restart": "on-failure:1" })) },
        "containers": { "web": noting("web") } }));
    let file = host.pod(&p);
    let front = host.podspec(["up", &file]);
    assert_eq!(front.code, Some(7), "{front}");
    assert_eq!(notes(&host), "", "web has begun");
    host.assert_clean();
    assert_eq!(host.podspec(["up", "-d", &file]).code, Some(1));
    let inspected = wait_pod(&host, "failed");
    assert_eq!(inspected["exitCode"], 7, "{inspected}");
    let web = host.container("p", "web");
    assert!(web["reason"].as_str().unwrap().contains("`i` did not complete: exit code 7"), "{web}");
    assert_eq!(host.logs("p/i").matches("no").count(), 2);
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_sidecar_runs_beside_the_others_and_stops_last() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({
        "initContainers": { "side": with(noting("side"), &json!({ "restart": "always" })),
                            "i": with(sh("echo i >> /v/notes"), &json!({ "volumes": ["v:/v"] })) },
        "containers": { "web": noting("web") } })));
    for name in ["side", "web"] {
        host.wait_log(&format!("p/{name}"), "ready");
    }
    assert_eq!(host.container("p", "side")["role"], "sidecar");
    host.down("p");
    let notes = notes(&host);
    assert!(notes.ends_with("web ends, side ends"), "{notes}");
    assert!(notes.find("side begins") < notes.find("web begins"), "{notes}");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

/// A pod of a sidecar, of one that ends with this code, and of one that runs on.
fn ending(policy: &str, code: i32) -> Value {
    pod(json!({ "exitPolicy": policy,
        "initContainers": { "side": with(sh("exec sleep 1001"), &json!({ "restart": "always" })) },
        "containers": { "ends": sh(&format!("exit {code}")), "stays": sh("exec sleep 1002") } }))
}

#[test]
fn exit_policies_stop_what_still_runs() {
    let Some(host) = Host::new() else { return };
    for (policy, code, pod) in [
        ("stop-on-failure", 3, "failed"),
        ("stop-on-exit", 0, "exited"),
        ("stop-on-exit", 4, "failed"),
    ] {
        let file = host.up(&ending(policy, code));
        let inspected = wait_pod(&host, pod);
        assert_eq!(inspected["exitCode"], code, "{policy}");
        for name in ["stays", "side"] {
            let stopped = host.wait_status("p", name, "stopped");
            assert!(stopped["reason"].as_str().unwrap().contains("exitPolicy"), "{stopped}");
        }
        let sleeper =
            host.processes().into_iter().find(|(_, command)| command.contains("sleep 100"));
        assert_eq!(sleeper, None, "{policy} {code}");
        host.down("p");
        let front = host.podspec(["up", &file]);
        assert_eq!(front.code, Some(code), "{front}");
        host.assert_clean();
    }
    for (policy, code) in [("continue", 3), ("stop", 3), ("stop-on-failure", 0)] {
        host.up(&ending(policy, code));
        host.wait_status("p", "ends", if code == 0 { "exited" } else { "failed" });
        assert_eq!(host.container("p", "stays")["status"], "running", "{policy} {code}");
        assert_eq!(status(&host), "running");
        host.down("p");
    }
    host.assert_clean();
}

#[test]
fn a_sidecar_keeps_no_pod_running() {
    let Some(host) = Host::new() else { return };
    for (policy, side) in [("continue", "running"), ("stop", "stopped")] {
        let p = pod(json!({ "exitPolicy": policy,
            "initContainers": { "side": with(sh("exec sleep 1001"), &json!({ "restart": "always" })) },
            "containers": { "ends": sh("exit 0") } }));
        let file = host.up(&p);
        wait_pod(&host, "exited");
        host.wait_status("p", "side", side);
        host.down("p");
        assert_eq!(host.podspec(["up", &file]).code, Some(0));
        host.assert_clean();
    }
}

#[test]
fn a_second_up_waits_for_the_first() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&pod(json!({
        "initContainers": { "i": with(sh("while ! test -e /v/go; do sleep 0.02; done"),
                                      &json!({ "volumes": ["v:/v"] })) },
        "containers": { "web": sh("exec sleep infinity") } })));
    let first = host.start_podspec(["up", "-d", &file]);
    wait_for("the pod to be starting", || {
        let pod = host.podspec(["inspect", "p"]);
        pod.code == Some(0) && host.container("p", "i")["status"] == "running"
    });
    let second = host.start_podspec(["up", "-d", &file]);
    // Nothing tells that it waits but that it has connected; the volume lets both go on.
    fs::write(host.data().join("volumes/p/v/go"), "").unwrap();
    let second = host.finish(second);
    assert_eq!(second.code, Some(0), "{second}");
    assert_eq!(host.container("p", "web")["status"], "running");
    host.finish(first).success();
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn a_second_ctrl_c_kills() {
    let Some(host) = Host::new() else { return };
    let deaf = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";
    let deaf = with(sh(deaf), &json!({ "stopTimeout": "10m" }));
    let file = host.pod(&pod(json!({ "containers": { "web": deaf } })));
    let client = host.start_podspec(["up", &file]);
    host.wait_log("p/web", "ready");
    let interrupt = || {
        let pid = nix::unistd::Pid::from_raw(client.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    };
    interrupt();
    host.wait_log("p/web", "asked");
    interrupt();
    let ended = host.finish(client);
    assert!(ended.stderr.contains("killing whatever still runs"), "{ended}");
    host.assert_clean();
}
