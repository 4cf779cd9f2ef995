//! The life of a pod: init containers and sidecars, what the end of a container means for the others, and
//! what a user may ask of a pod that runs.

use crate::host::{Host, wait_for, wait_some};
use crate::terminal::Terminal;
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
        "containers": { "web": noting("web"), "worker": noting("worker") } }));
    let file = host.pod(&p);
    let front = host.podspec(["up", &file]);
    assert_eq!(front.code, Some(7), "{front}");
    assert_eq!(notes(&host), "", "web has begun");
    host.assert_clean();
    let left = host.podspec(["up", "-d", &file]);
    assert_eq!(left.code, Some(1));
    let why = "error: p/web, p/worker will never start: `i` did not complete: exit code 7\n";
    assert!(left.stderr.contains(why), "once, of both: {left}");
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

/// As tini and dumb-init do: while such a process waits, its mask does not show what it waits for.
#[test]
fn a_pid_1_that_waits_for_its_signals_is_asked_to_stop() {
    let Some(host) = Host::new() else { return };
    let script = "use POSIX; $| = 1; my $set = POSIX::SigSet->new(SIGTERM); \
        sigprocmask(SIG_BLOCK, $set); my $bits = pack('Q', 1 << (SIGTERM - 1)); print \"ready\\n\"; \
        syscall(0 + shift, $bits, 0, 0, 8) == SIGTERM or die; print \"asked\\n\"; exit 3";
    let number = libc::SYS_rt_sigtimedwait.to_string();
    host.up(&pod(json!({ "containers": { "init": {
        "rootfs": "host", "command": ["perl", "-e", script, number], "stopTimeout": "10m",
    } } })));
    host.wait_log("p/init", "ready");
    let printed = host.podspec(["stop", "p"]).success();
    assert!(!printed.contains("killed"), "{printed}");
    assert_eq!(host.container("p", "init")["exitCode"], 3, "{}", host.inspect("p"));
    assert!(host.logs("p/init").contains("asked"));
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_second_ctrl_c_kills() {
    const CTRL_C: &[u8] = b"\x03";
    let Some(host) = Host::new() else { return };
    let deaf = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";
    let deaf = with(sh(deaf), &json!({ "stopTimeout": "10m" }));
    let file = host.pod(&pod(json!({ "containers": { "web": deaf } })));
    let mut client = Terminal::start(&host, &["up", &file]);
    host.wait_log("p/web", "ready");
    client.keys(CTRL_C);
    host.wait_log("p/web", "asked");
    // The record is written a moment after that.
    host.wait_status("p", "web", "stopping");
    client.keys(CTRL_C);
    let ended = client.end(&host);
    assert!(ended.stdout.contains("killing whatever still runs"), "{ended}");
    assert!(ended.stdout.contains("p is down"), "{ended}");
    assert!(client.is_restored());
    host.assert_clean();
}

/// A chain of two and one beside it.
fn chain() -> Value {
    pod(json!({ "restart": "always", "containers": {
        "db": noting("db"), "web": with(noting("web"), &json!({ "dependsOn": ["db"] })) } }))
}

/// What a program says first may come later than that of one behind it: the supervisor knows.
fn started_in_order(host: &Host) {
    let at = |name: &str| host.container("p", name)["startedAt"].as_str().unwrap().to_owned();
    assert!(at("db") <= at("web"), "{}", host.inspect("p"));
}

fn wait_chain(host: &Host, times: usize) {
    for name in ["db", "web"] {
        wait_for("both to have begun", || {
            notes(host).matches(&format!("{name} begins")).count() == times
        });
    }
}

#[test]
fn a_stopped_pod_keeps_what_it_has_and_starts_in_order() {
    let Some(host) = Host::new() else { return };
    let file = host.up(&chain());
    wait_chain(&host, 1);
    let before = host.inspect("p");
    let out = host.podspec(["stop", "p"]).success();
    assert!(out.contains("p/web  stopped (0)"), "{out}");
    assert!(notes(&host).ends_with("web ends, db ends"), "{}", notes(&host));
    assert_eq!(status(&host), "stopped");
    for name in ["db", "web"] {
        assert_eq!(host.container("p", name)["status"], "stopped");
    }
    let infra = |pod: &Value| pod["infra"].clone();
    assert_eq!(infra(&host.inspect("p")), infra(&before), "infra stays");
    assert_eq!(host.netns(), ["p"], "so does its network");

    let out = host.podspec(["start", "--format", "json", "p"]).success();
    let rows: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rows[0]["status"], "running", "{rows}");
    wait_chain(&host, 2);
    started_in_order(&host);
    assert_eq!(host.container("p", "db")["restarts"], 0, "a user's start is none of the policy's");

    host.podspec(["restart", "p"]).success();
    wait_chain(&host, 3);
    started_in_order(&host);
    let last: Vec<String> = notes(&host).split(", ").skip(6).map(str::to_owned).collect();
    assert_eq!(last[..2], ["web ends", "db ends"], "{}", notes(&host));

    host.podspec(["stop", "p"]).success();
    let again = host.podspec(["up", "-d", &file]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(status(&host), "running");
    wait_chain(&host, 4);
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn one_container_is_stopped_and_started_with_what_it_needs() {
    let Some(host) = Host::new() else { return };
    host.up(&chain());
    wait_chain(&host, 1);
    host.podspec(["stop", "p/web"]).success();
    assert_eq!(host.container("p", "db")["status"], "running");
    assert_eq!(status(&host), "running");
    host.podspec(["stop", "p"]).success();
    host.podspec(["start", "p/web"]).success();
    assert_eq!(host.container("p", "db")["status"], "running", "web needs it");
    let db = host.container("p", "db")["pid"].clone();
    host.podspec(["restart", "p/web"]).success();
    assert_eq!(host.container("p", "db")["pid"], db, "its neighbour runs on");
    let error = host.podspec(["stop", "p/nobody"]).fails(1);
    assert!(error.contains("db, web"), "{error}");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn a_stop_waits_as_long_as_it_is_told() {
    let Some(host) = Host::new() else { return };
    let deaf = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";
    let deaf = with(sh(deaf), &json!({ "stopTimeout": "10m", "restart": "always" }));
    host.up(&pod(json!({ "containers": { "web": deaf } })));
    for grace in ["0", "0.2"] {
        host.wait_status("p", "web", "running");
        host.podspec(["stop", "-t", grace, "p"]).success();
        let web = host.container("p", "web");
        assert_eq!((&web["status"], &web["exitCode"]), (&json!("stopped"), &json!(137)), "{web}");
        host.podspec(["start", "p"]).success();
    }
    host.podspec(["stop", "-t", "x", "p"]).fails(2);
    host.podspec(["stop", "-t", "0", "p"]).success();
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_signal_reaches_the_first_process() {
    let Some(host) = Host::new() else { return };
    let script = "for s in HUP USR1 USR2 TERM INT; do trap \"echo got $s\" $s; done; echo ready; \
                  while :; do sleep 0.02; done";
    host.up(&pod(json!({ "containers": {
        "web": with(sh(script), &json!({ "restart": "on-failure" })), "sleeps": sh("exec sleep 1003"),
    } })));
    host.wait_log("p/web", "ready");
    for signal in ["HUP", "SIGUSR1", "12", "TERM", "int"] {
        host.podspec(["kill", "-s", signal, "p/web"]).success();
    }
    for name in ["HUP", "USR1", "USR2", "TERM", "INT"] {
        host.wait_log("p/web", &format!("got {name}"));
    }
    let error = host.podspec(["kill", "-s", "HUP", "p/sleeps"]).fails(1);
    assert!(error.contains("does not handle this signal"), "{error}");
    let error = host.podspec(["kill", "-s", "NOSUCH", "p/web"]).fails(2);
    assert!(error.contains("signal"), "{error}");
    host.podspec(["kill", "p/web"]).success();
    wait_some("the policy to start it again", || {
        Some(host.container("p", "web")).filter(|web| web["restarts"] == 1)
    });
    host.podspec(["kill", "p/sleeps"]).success();
    assert_eq!(host.wait_status("p", "sleeps", "failed")["exitCode"], 137);
    let error = host.podspec(["kill", "p/sleeps"]).fails(1);
    assert!(error.contains("does not run"), "{error}");
    host.down("p");
    host.assert_clean();
}

#[test]
fn wait_tells_how_it_ended() {
    let Some(host) = Host::new() else { return };
    let go = |code: i32| {
        let script = format!("while ! test -e /v/go; do sleep 0.02; done; exit {code}");
        with(sh(&script), &json!({ "volumes": ["v:/v"] }))
    };
    host.up(&pod(
        json!({ "containers": { "good": go(0), "bad": go(5), "stays": noting("stays") } }),
    ));
    assert_eq!(host.podspec(["wait", "--for", "running", "p/stays"]).success(), "");
    let error = host.podspec(["wait", "--timeout", "100ms", "p/good"]).fails(1);
    assert!(error.contains("in time") && error.contains("good: running"), "{error}");
    let both = host.start_podspec(["wait", "p/bad", "p/good"]);
    let whole = host.start_podspec(["wait", "--format", "json", "p"]);
    fs::write(host.data().join("volumes/p/v/go"), "").unwrap();
    assert_eq!(host.finish(both).success(), "5\n0\n");
    assert_eq!(host.podspec(["wait", "--for", "completed", "p/good"]).success(), "0\n");
    let error = host.podspec(["wait", "--for", "completed", "p/bad"]).fails(1);
    assert!(error.contains("did not complete") && error.contains("it has failed (5)"), "{error}");
    // What has done its work keeps no pod from being ready; what has failed does.
    let error = host.podspec(["wait", "--for", "ready", "p"]).fails(1);
    assert!(error.contains("`p/bad` did not become ready"), "{error}");
    let error = host.podspec(["wait", "--for", "stopped", "p/good"]).fails(1);
    assert!(error.contains("`p/good` was not stopped"), "{error}");
    let stopped = host.start_podspec(["wait", "--for", "stopped", "p/stays"]);
    host.podspec(["stop", "p/stays"]).success();
    assert_eq!(host.finish(stopped).success(), "0\n");
    let whole: Value = serde_json::from_str(&host.finish(whole).success()).unwrap();
    assert_eq!(whole, json!([{ "pod": "p", "container": null, "exitCode": 5 }]));
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn one_container_is_listed_and_none_is_taken_down_alone() {
    let Some(host) = Host::new() else { return };
    let rest = || sh("exec sleep infinity");
    host.up(&pod(json!({ "containers": { "a": rest(), "b": rest() } })));
    let listed = host.podspec(["ps", "p/b", "p/b"]).success();
    let names: Vec<&str> =
        listed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["NAME", "p", "b"]);
    let listed = host.podspec(["ps", "--format", "json", "p/a"]).success();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["containers"].as_array().unwrap().len(), 1);
    assert!(host.podspec(["ps", "p/c"]).fails(1).contains("there is no container `c` in pod `p`"));
    let said = host.podspec(["down", "p/a"]).fails(2);
    assert!(said.contains("`podspec stop p/a`") && said.contains("`podspec down p`"), "{said}");
    host.down("p");
    host.assert_clean();
}

/// The words of `podspec events --format json` of one container, or (empty) of the pod.
fn history(host: &Host, container: &str) -> Vec<String> {
    let text = host.podspec(["events", "--format", "json", "p"]).success();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .filter(|entry| entry["container"].as_str().unwrap_or("") == container)
        .map(|entry| entry["event"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn events_are_whole_after_down_and_end_with_it() {
    let Some(host) = Host::new() else { return };
    let once = "test -e /v/once && exec sleep infinity; echo > /v/once; exit 3";
    let once = with(sh(once), &json!({ "volumes": ["v:/v"], "restart": "on-failure" }));
    host.up(&pod(json!({ "containers": { "web": once } })));
    wait_some("a restart", || {
        let web = host.container("p", "web");
        (web["restarts"] == 1 && web["status"] == "running").then_some(())
    });
    let follower = host.start_podspec(["events", "-f", "p"]);
    host.podspec(["stop", "p"]).success();
    host.podspec(["start", "p"]).success();
    host.down("p");
    let followed = host.finish(follower).success();
    let last = followed.lines().last().unwrap_or_default();
    assert!(last.ends_with("p  down: all of it is undone"), "{followed}");
    let web = history(&host, "web").join(" ");
    let run = "created running";
    let expected =
        format!("{run} restarting {run} stopping killed stopped waiting {run} stopping killed");
    assert!(web.starts_with(&expected), "{web}");
    let pod = history(&host, "").join(" ");
    assert_eq!(pod, "starting running stopped running stopping down");
    let text = host.podspec(["events", "--format", "json", "p"]).success();
    let entries: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let restarting = entries.iter().find(|entry| entry["event"] == "restarting").unwrap();
    assert_eq!(restarting["exitCode"], 3);
    let running = entries.iter().find(|entry| entry["event"] == "running").unwrap();
    assert_eq!(running["step"], "start web", "{running}");
    // Each change has its cause, and a container's each its step.
    let text = host.podspec(["events", "p"]).success();
    for (line, entry) in text.lines().zip(&entries) {
        let cause = entry["cause"].as_str().unwrap_or_default();
        assert!(!cause.is_empty() && line.contains(cause), "{line}");
        let step = entry["step"].as_str();
        let is_whole = ["starting", "stopping", "down"].contains(&entry["event"].as_str().unwrap());
        assert!(step.is_some() || entry["container"].is_null() && is_whole, "{entry}");
        assert!(step.is_none_or(|step| line.ends_with(&format!("  [{step}]"))), "{line}");
    }
    assert!(entries.windows(2).all(|pair| pair[0]["time"].as_str() <= pair[1]["time"].as_str()));
    // Of one container alone, also of a pod that is down.
    let of_web = |line: &&str| line.contains("  p/web  ");
    let expected: Vec<&str> = text.lines().filter(of_web).collect();
    let told = host.podspec(["events", "p/web"]).success();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    assert!(
        host.podspec(["events", "p/x"]).fails(1).contains("nothing is known of a container `x`")
    );
    assert_eq!(host.podspec(["events", "--since", "2100-01-01T00:00:00Z", "p"]).success(), "");
    host.podspec(["down", "--volumes", "--logs", "p"]).success();
    host.podspec(["events", "p"]).fails(1);
    host.assert_clean();
}

/// Also where a probe is asked for the first time just then, and what it says is written together with other things.
#[test]
fn who_hears_that_a_pod_is_up_finds_it_in_its_events() {
    let Some(host) = Host::new() else { return };
    let web = with(sh("exec sleep infinity"), &json!({ "readinessProbe": { "tcp": 80 } }));
    host.up(&pod(json!({ "containers": { "web": web } })));
    // Sooner than any program could be started that reads it.
    let text = fs::read_to_string(host.data().join("logs/p/events.jsonl")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(words, ["starting", "created", "running", "running"]);
    host.down("p");
    host.assert_clean();
}

/// Of each event of a container or (empty) of the pod its word and its cause.
fn causes(host: &Host, container: &str) -> Vec<String> {
    let text = host.podspec(["events", "--format", "json", "p"]).success();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of = |entry: &Value| entry["container"].as_str().unwrap_or("") == container;
    let words = |entry: Value| {
        format!("{}: {}", entry["event"].as_str().unwrap(), entry["cause"].as_str().unwrap())
    };
    entries.filter(of).map(words).collect()
}

#[test]
fn events_tell_why() {
    let Some(host) = Host::new() else { return };
    let sleeps = sh("trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 0.01; done");
    let db = with(sleeps.clone(), &json!({ "readinessProbe": { "file": "/tmp/up" } }));
    let needs = json!({ "dependsOn": { "db": { "condition": "ready", "restart": true } } });
    let fails = with(sh("exit 3"), &json!({ "restart": "on-failure:2" }));
    let containers = json!({ "db": db, "web": with(sleeps, &needs), "fails": fails, "killed": sh("exec sleep 999") });
    host.up(&pod(json!({ "containers": containers })));
    host.wait_status("p", "fails", "failed");
    host.podspec(["kill", "-s", "KILL", "p/killed"]).success();
    host.wait_status("p", "killed", "failed");
    host.wait_status("p", "web", "running");
    host.podspec(["restart", "p/db"]).success();
    host.wait_status("p", "web", "running");
    host.podspec(["stop", "p/web"]).success();
    host.down("p");
    let fails = causes(&host, "fails");
    let tried = |cause: &str| [format!("created: {cause}"), format!("running: {cause}")];
    let expected = [
        &tried("started by `up`")[..],
        &["restarting: exit code 3; policy on-failure: 1 of 2 in 10 ms".to_owned()],
        &tried("policy on-failure: 1 of 2"),
        &["restarting: exit code 3; policy on-failure: 2 of 2 in 20 ms".to_owned()],
        &tried("policy on-failure: 2 of 2"),
        &["failed: exit code 3; policy on-failure: 2 of 2 used up".to_owned()],
    ];
    assert_eq!(fails, expected.concat());
    let killed = causes(&host, "killed");
    let expected = ["signal: signal 9 sent by the user", "failed: exit code 137, SIGKILL"];
    assert!(killed.ends_with(&expected.map(str::to_owned)), "{killed:?}");
    let web = causes(&host, "web");
    let expected = [
        "created: started by `up`",
        "running: `db` is ready",
        "stopping: restarted by the user",
        "stopped: restarted by the user; exit code 0",
        "waiting: restarted by the user",
        "created: restarted by the user",
        "running: restarted by the user; `db` is ready",
        "stopping: stopped by the user",
        "stopped: stopped by the user; exit code 0",
    ];
    assert_eq!(web, expected);
    let db = causes(&host, "db");
    let stopping = "stopping: the pod is brought down: asked for by `down`";
    assert!(db.iter().any(|line| line == stopping), "{db:?}");
    let unready = db.iter().rfind(|line| line.starts_with("unready")).unwrap();
    assert_eq!(unready, "unready: the pod is brought down: asked for by `down`");
    let of_pod = causes(&host, "");
    assert_eq!(of_pod.first().unwrap(), "starting: asked for by `up`");
    assert!(of_pod.contains(&"stopping: asked for by `down`".to_owned()), "{of_pod:?}");
    host.podspec(["down", "--volumes", "--logs", "p"]).success();
    host.assert_clean();
}

fn kill_supervisor(host: &Host) {
    let pid = host.inspect("p")["supervisor"]["pid"].clone();
    host.kill(&pid, "KILL");
    let pid = pid.as_u64().unwrap();
    wait_for("the supervisor to be gone", || {
        !host.processes().iter().any(|(other, _)| u64::from(*other) == pid)
    });
}

#[test]
fn without_a_supervisor_each_command_says_so() {
    let Some(host) = Host::new() else { return };
    let script = "trap 'echo got HUP' HUP; echo ready; while :; do sleep 0.02; done";
    host.up(&pod(json!({ "containers": { "web": sh(script) } })));
    host.wait_log("p/web", "ready");
    let followers =
        [host.start_podspec(["logs", "-f", "p"]), host.start_podspec(["events", "-f", "p"])];
    let waiter = host.start_podspec(["wait", "p/web"]);
    kill_supervisor(&host);
    for follower in followers {
        host.finish(follower).success();
    }
    let waited = host.finish(waiter);
    assert_eq!(waited.code, Some(1), "{waited}");
    for (command, verb) in
        [("stop", "stop"), ("start", "start"), ("restart", "restart"), ("wait", "wait for")]
    {
        let error = host.podspec([command, "p"]).fails(1);
        let said = format!("cannot {verb} `p`: its supervisor is gone");
        assert!(error.contains(&said) && error.contains("podspec down p"), "{error}");
    }
    assert!(host.podspec(["events", "p"]).success().contains("p/web  running"));
    host.podspec(["kill", "-s", "HUP", "p/web"]).success();
    host.podspec(["kill", "p/web"]).success();
    wait_for("the container to be gone", || {
        !host.processes().iter().any(|(_, command)| command.contains("got HUP"))
    });
    host.down("p");
    assert_eq!(history(&host, "").last().unwrap(), "down");
    host.assert_clean();
}

#[test]
fn a_supervisor_killed_in_the_middle_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    for (command, pause) in [("stop", 5), ("start", 2), ("restart", 30), ("restart", 3)] {
        host.up(&chain());
        wait_chain(&host, 1);
        if command == "start" {
            host.podspec(["stop", "p"]).success();
        }
        let client = host.start_podspec([command, "p"]);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        kill_supervisor(&host);
        host.finish(client);
        host.podspec(["down", "--volumes", "p"]).success();
        host.assert_clean();
    }
}

#[test]
fn a_pod_in_front_ends_when_it_is_stopped_and_not_when_it_is_restarted() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&chain());
    let client = host.start_podspec(["up", &file]);
    wait_chain(&host, 1);
    wait_pod(&host, "running");
    host.podspec(["restart", "p"]).success();
    wait_chain(&host, 2);
    assert_eq!(status(&host), "running");
    host.podspec(["stop", "p"]);
    assert_eq!(host.finish(client).code, Some(0));
    host.assert_clean();
}
