//! The command line beside a running pod: which pod a command means, what it lists, what it removes.

use crate::host::{Host, Outcome};
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
    assert!(run(&["exec", "/", "true"]).fails(125).contains("name one, as in shop/web"));
    assert_eq!(run(&["down"]).success(), "shop is down\n");
    host.assert_clean();
}
