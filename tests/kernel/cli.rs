//! The command line beside a running pod: which pod a command means, what it lists, what it removes.

use crate::host::{Host, Outcome, wait_some};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

/// podspec as a user in this directory starts it.
fn podspec_in(host: &Host, directory: &Path, args: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
    command.arg("--run").arg(host.run_dir()).arg("--root").arg(host.data()).args(args);
    host.finish(host.start(command.current_dir(directory)))
}

#[test]
fn beside_a_pod_file_the_pod_may_be_left_out() {
    let Some(host) = Host::new() else { return };
    let containers = json!({ "web": sh("echo hello; sleep infinity"), "db": sh("sleep infinity") });
    host.up(&json!({ "name": "shop", "network": "none", "containers": containers }));
    host.wait_log("shop/web", "hello");
    // Any mistake beside the name is no matter to who asks about the pod.
    host.file("here/pod.yaml", "name: shop\ncontainers: 7\nports: [what\n");
    let here = host.dir.join("here");
    let run = |args: &[&str]| podspec_in(&host, &here, args);
    assert_eq!(run(&["logs", "/web"]).success(), "hello\n");
    assert!(run(&["logs"]).success().contains("web | hello"));
    assert_eq!(run(&["exec", "/db", "--", "hostname"]).success(), "shop\n");
    let inspected: Value = serde_json::from_str(&run(&["inspect"]).success()).unwrap();
    assert_eq!(inspected["name"], "shop");
    let web: Value = serde_json::from_str(&run(&["inspect", "/web"]).success()).unwrap();
    assert_eq!(web["name"], "web");
    assert!(run(&["inspect", "/api"]).fails(1).contains("no container `api` in pod `shop`"));
    for args in [&["exec", "web", "true"][..], &["logs", "web"], &["stop", "web"]] {
        let code = if args[0] == "exec" { 125 } else { 1 };
        assert!(run(args).fails(code).contains("it is a container of a pod: `shop/web`"));
    }
    assert!(run(&["exec", "/", "true"]).fails(125).contains("name one, as in shop/web"));
    assert_eq!(run(&["down"]).success(), "shop is down\n");
    host.assert_clean();
}

#[test]
fn who_wants_quiet_is_told_results_alone() {
    let Some(host) = Host::new() else { return };
    let pod =
        json!({ "name": "p", "network": "none", "containers": { "c": sh("sleep infinity") } });
    let file = host.pod(&pod);
    let quiet = |args: &[&str]| {
        let ended = host.podspec(args);
        assert_eq!(ended.code, Some(0), "{ended}");
        ended.stdout + &ended.stderr
    };
    assert_eq!(quiet(&["up", "-dq", &file]), "");
    assert_eq!(quiet(&["up", "-dq", &file]), "");
    assert_eq!(quiet(&["ps", "-q"]), "p\n");
    assert_eq!(quiet(&["-q", "exec", "p", "echo", "out"]), "out\n");
    assert_eq!(quiet(&["-q", "down", "p"]), "");
    assert!(host.podspec(["-q", "ps", "p"]).fails(1).contains("there is no pod `p`"));
    host.assert_clean();
}

#[test]
fn who_wants_each_step_is_told_what_containers_come_to() {
    let Some(host) = Host::new() else { return };
    let mut pod =
        json!({ "name": "p", "network": "none", "containers": { "c": sh("sleep infinity") } });
    pod["containers"]["c"]["init"] = json!(true);
    host.up(&pod);
    for (command, last) in
        [("stop", "p/c stopped"), ("start", "p/c running"), ("restart", "p/c running")]
    {
        let told = host.podspec(["--verbose", command, "p"]);
        assert_eq!(told.code, Some(0), "{told}");
        let steps: Vec<&str> =
            told.stderr.lines().filter(|line| line.contains(" ms  p/c ")).collect();
        assert!(steps.last().is_some_and(|line| line.contains(last)), "{command}: {told}");
        assert!(
            steps
                .windows(2)
                .all(|pair| pair[0].split(" ms ").nth(1) != pair[1].split(" ms ").nth(1))
        );
    }
    assert!(host.podspec(["stop", "q"]).fails(1).contains("did you mean `p`?"));
    assert!(host.podspec(["stop", "p/d"]).fails(1).contains("did you mean `p/c`?"));
    host.podspec(["stop", "-t", "1m", "p/c"]).success();
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_pod_that_cannot_be_read_does_not_hide_the_others() {
    let Some(host) = Host::new() else { return };
    for name in ["good", "bad"] {
        let containers = json!({ "c": sh("sleep infinity") });
        host.up(&json!({ "name": name, "network": "none", "containers": containers }));
    }
    let state = host.run_dir().join("pods/bad/state.json");
    // The last of a start is written a moment after its end, over what we write.
    let listed = wait_some("the damage to stay", || {
        std::fs::write(&state, "{").unwrap();
        Some(host.podspec(["ps"])).filter(|listed| listed.code != Some(0))
    });
    assert_eq!(listed.code, Some(1), "{listed}");
    assert!(listed.stdout.contains("good") && listed.stdout.contains("unreadable"), "{listed}");
    assert!(listed.stderr.contains("state.json is damaged"), "{listed}");
    std::fs::remove_file(&state).unwrap();
    assert!(host.podspec(["ps"]).success().lines().any(|line| line.starts_with("bad ")));
    host.down("good");
    host.down("bad");
    host.assert_clean();
}

#[test]
fn who_wants_to_know_sees_each_step_and_its_time() {
    let Some(host) = Host::new() else { return };
    let pod =
        json!({ "name": "p", "network": "none", "containers": { "c": sh("sleep infinity") } });
    let file = host.pod(&pod);
    let plan = host.podspec(["plan", "--format", "json", &file]).success();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let said = host.podspec(["--verbose", "up", "-d", &file]);
    let (code, said) = (said.code, said.stderr);
    assert_eq!(code, Some(0), "{said}");
    for step in steps {
        let what = step["what"].as_str().unwrap();
        let times = said.lines().filter(|line| line.contains(" ms  ") && line.contains(what));
        assert!(times.count() >= 2, "{what} is not begun and done in:\n{said}");
    }
    let times: Vec<f64> =
        said.lines().filter_map(|line| line.split_once(" ms  ")?.0.trim().parse().ok()).collect();
    assert!(times.len() > 2 * steps.len() && times.is_sorted(), "{said}");
    let said = host.podspec(["down", "--verbose", "p"]).stderr;
    assert!(
        said.contains("asked the supervisor of p") && said.contains(" ms  p is undone"),
        "{said}"
    );
    // Who does not ask is told nothing.
    assert!(!host.podspec(["up", "-d", &file]).stderr.contains(": done in"));
    host.down("p");
    host.assert_clean();
}
