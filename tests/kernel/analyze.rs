//! `podspec analyze`: what it says of a start is what the programs of the pod saw themselves.

use crate::formats::{compare, described};
use crate::host::{Host, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;

fn sh(script: &str, more: &Value) -> Value {
    let mut one = json!({ "rootfs": "host", "command": ["sh", "-c", script], "volumes": ["v:/v"] });
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    one
}

/// Each notes the machine's own clock, which is also podspec's.
const NOTE: &str = "note() { read up rest < /proc/uptime; echo $up >> /v/$1; };";

fn shop() -> Value {
    json!({
        "name": "p", "network": "none", "volumes": { "v": {} },
        "initContainers": { "migrate": sh("sleep 0.2", &json!({})) },
        "containers": {
            "db": sh(&format!("{NOTE} note db; sleep 0.4; touch /v/db.ready; exec sleep 999"),
                &json!({ "readinessProbe": { "file": "/v/db.ready" } })),
            "cache": sh("sleep 0.1; echo up; exec sleep 999", &json!({ "readinessProbe": { "log": "up" } })),
            "web": sh(&format!("{NOTE} note web; exec sleep 999"),
                &json!({ "dependsOn": { "db": "ready", "cache": "ready" } })),
        }
    })
}

fn analyzed(host: &Host) -> Value {
    serde_json::from_str(&host.podspec(["analyze", "p", "--format", "json"]).success()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn a_start_is_told_as_it_was() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&shop());
    host.podspec(["up", "--wait", &file]).success();
    let all = analyzed(&host);
    assert_eq!(all["isReady"], true);
    let row = |name: &str| -> Value {
        all["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    };
    let (migrate, db, web) = (row("migrate"), row("db"), row("web"));
    // `sleep` takes at least what it was told to.
    assert!(number(&migrate["completed"]) >= number(&migrate["started"]) + 200_000);
    assert!(number(&db["ready"]) >= number(&db["started"]) + 400_000, "{db}");
    assert!(number(&web["started"]) >= number(&db["ready"]));
    assert_eq!(number(&all["end"]), number(&web["ready"]));
    // The programs' own clock says the same, in its hundredths of a second.
    let uptime = |name: &str| -> f64 {
        let path = host.data().join("volumes/p/v").join(name);
        // It runs, and writes this a moment later.
        wait_some("what the program wrote", || fs::read_to_string(&path).ok()?.trim().parse().ok())
    };
    let apart = (number(&web["started"]) - number(&db["started"])) as f64 / 1e6;
    let seen = uptime("web") - uptime("db");
    assert!((apart - seen).abs() < 0.2, "{apart} {seen}");
    // The path goes through what was slowest, without a hole.
    let path = all["criticalPath"].as_array().unwrap();
    let names: Vec<&str> = path
        .iter()
        .map(|part| all["rows"][number(&part["row"]) as usize]["name"].as_str().unwrap())
        .collect();
    let position = |name: &str| names.iter().position(|known| *known == name).unwrap();
    assert!(position("migrate") < position("db") && position("db") < position("web"), "{names:?}");
    assert!(!names.contains(&"cache"));
    assert_eq!(number(&path.last().unwrap()["to"]), number(&all["end"]));
    let known = described("analyze");
    assert_eq!(compare("analyze", &known, &[all]), Vec::<String>::new());
    // A restart is no part of the start.
    let before = analyzed(&host);
    host.podspec(["restart", "p/web"]).success();
    assert_eq!(analyzed(&host), before);
    let text = host.podspec(["analyze", "p"]).success();
    assert!(text.contains("waits to be ready: readiness probe: file /v/db.ready"), "{text}");
    let drawn = host.podspec(["analyze", "p", "--format", "svg"]).success();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
    let page = host.podspec(["analyze", "p", "--format", "html"]).success();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    host.podspec(["down", "p", "--volumes"]).success();
    host.assert_clean();
}

#[test]
fn a_start_that_hangs_says_where() {
    let Some(host) = Host::new() else { return };
    let mut pod = shop();
    pod["containers"]["db"] =
        sh("exec sleep 999", &json!({ "readinessProbe": { "file": "/v/never" } }));
    let file = host.pod(&pod);
    let mut up = host.start_podspec(["up", "-d", &file]);
    wait_for("db to be waited for", || {
        let shown = host.podspec(["analyze", "p"]);
        shown.code == Some(0)
            && shown.stdout.contains("is not ready: readiness probe: file /v/never")
    });
    let all = analyzed(&host);
    assert_eq!(all["isReady"], false);
    let last = all["criticalPath"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["spent"], "readiness");
    assert_eq!(last["to"], all["end"]);
    host.podspec(["down", "p", "--volumes"]).success();
    let _ = up.wait();
    let gone = host.podspec(["analyze", "p"]);
    assert!(gone.code == Some(1) && gone.stderr.contains("there is no pod `p`"), "{gone:?}");
    host.assert_clean();
}
