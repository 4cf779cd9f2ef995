//! Pods for the tests of the model and of the view.

use super::model::Pod;
use crate::cli::board::Needs;
use crate::plan::step::Until;
use serde_json::{Value, json};

/// The clock of these pods.
pub(super) const NOW: &str = "2026-11-23T12:00:00Z";

/// Containers by name, status and whether each is ready.
pub(super) fn pod(name: &str, status: &str, containers: &[(&str, &str, bool)]) -> Pod {
    let container = |(name, status, ready): &(&str, &str, bool)| {
        let runs = matches!(*status, "running" | "stopping");
        json!({
            "name": name, "status": status, "ready": ready, "exitCode": null, "restarts": 0, "ipv4": null,
            "pid": runs.then_some(4711), "startTime": runs.then_some(1),
            "startedAt": runs.then_some("2026-11-23T11:58:20Z"), "finishedAt": null,
        })
    };
    let containers: Vec<Value> = containers.iter().map(container).collect();
    let record = json!({
        "name": name, "id": "0123456789", "labels": {}, "status": status,
        "createdAt": "2026-11-20T12:00:00Z", "boot": "b", "supervisor": { "pid": 1, "startTime": 1 },
        "infra": { "pid": 1234567, "startTime": 1 }, "namespaces": {},
        "network": { "interface": "eth0", "ipv4": "10.89.3.27", "gateway": "10.89.0.1", "mac": "" },
        "ports": [], "containers": containers,
    });
    Pod {
        name: name.parse().unwrap(),
        status: status.to_owned(),
        record: Some(serde_json::from_value(record).unwrap()),
        needs: Needs::default(),
    }
}

/// `web` waits for a database, a cache and a migration of the database.
pub(super) fn shop() -> Pod {
    let containers = [
        ("web", "waiting", false),
        ("db", "running", true),
        ("cache", "running", false),
        ("migrate", "exited", false),
    ];
    let mut pod = pod("shop", "running", &containers);
    let mut need = |of: &str, needs: &[(&str, Until)]| {
        let needs = needs.iter().map(|(name, until)| (name.parse().unwrap(), *until));
        pod.needs.insert(of.parse().unwrap(), needs.collect());
    };
    need("web", &[("cache", Until::Ready), ("db", Until::Ready), ("migrate", Until::Completed)]);
    need("migrate", &[("db", Until::Ready)]);
    let record = pod.record.as_mut().unwrap();
    record.containers[0].reason =
        Some("for cache to be ready (tcp 6379: refused, 14 tries)".to_owned());
    record.containers[1].restarts = 2;
    record.containers[3].exit_code = Some(0);
    pod
}
