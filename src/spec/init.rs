//! `initContainers`, whose order and restarts are not those of `containers`, and `exitPolicy`, which they do
//! not count for.

use super::health;
use super::model::{Condition, Container, ExitPolicy, Role};
use super::problem::Problem;
use super::raw::{self, RawContainer, RawPod};
use super::restart;
use super::tree::Node;
use super::validate::Checks;
use crate::names::ContainerName;
use indexmap::IndexMap;
use std::ops::Range;

/// What only an init container can have wrong. `list` is `initContainers`, `pod` the whole pod.
pub(super) fn check(
    (word, init): (&String, &RawContainer),
    list: &Node,
    pod: &Node,
    checks: &mut Checks<'_>,
) {
    let Some(entry) = list.entry(word) else { return };
    if let Some(other) = pod.get("containers").and_then(|all| all.entry(word)) {
        let message = format!("`{word}` is in `initContainers` and in `containers`");
        let problem = Problem::error("P0526", message, other.key.clone(), "one of these");
        let problem = problem.also(entry.key.clone(), "needs another name");
        checks.report(problem.help(format!("rename one of them, such as `{word}-init`")));
    }
    if let Some(depends) = entry.value.entry("dependsOn") {
        let message = format!("`{word}` is an init container, and has `dependsOn`");
        let label = "these run one after another";
        let problem = Problem::error("P0527", message, depends.key.clone(), label);
        checks.report(problem.help("remove it: `initContainers` run in the order of the file"));
    }
    if !is_sidecar(init) {
        health::refuse_of_init(word, &entry.value, checks);
    }
    if let (Some("unless-stopped"), Some(place)) =
        (restart::word(init.restart.as_ref()), entry.value.get("restart"))
    {
        let message = format!("`{word}` would never complete");
        let label = "started again however it ends";
        let problem = Problem::error("P0528", message, place.span.clone(), label);
        checks.report(
            problem.help("write `restart: always` for a sidecar, else `no` or `on-failure`"),
        );
    }
}

/// An init container that is started once and runs beside the containers.
pub(super) fn is_sidecar(init: &RawContainer) -> bool {
    restart::word(init.restart.as_ref()) == Some("always")
}

/// Marks those that came from `initContainers`.
pub(super) fn roles(raw: &RawPod, containers: &mut IndexMap<ContainerName, Container>) {
    for (word, init) in raw.init_containers.iter().flatten() {
        let name = ContainerName::try_from(word.as_str()).ok();
        if let Some(container) = name.and_then(|name| containers.get_mut(&name)) {
            container.role = if is_sidecar(init) { Role::Sidecar } else { Role::Init };
        }
    }
}

/// Whether one of `containers` may depend on this one of `initContainers`: on a sidecar that runs beside it.
pub(super) fn may_be_needed(
    (word, other): (&str, &str),
    init: &RawContainer,
    condition: Condition,
    at: Range<usize>,
    checks: &mut Checks<'_>,
) -> bool {
    let problem = match condition {
        Condition::Started | Condition::Ready if is_sidecar(init) => return true,
        Condition::Completed if is_sidecar(init) => {
            let message = format!("`{word}` waits for the end of `{other}`, a sidecar");
            Problem::error("P0522", message, at, "never completes").help(
                "a sidecar runs as long as the pod: wait for `started` or `ready`, or remove this",
            )
        }
        Condition::Started | Condition::Ready | Condition::Completed => {
            let message = format!("`{word}` depends on `{other}`, an init container");
            Problem::error("P0529", message, at, "has ended before any of `containers` starts")
                .help("remove it: every container waits for the init containers")
        }
    };
    checks.report(problem);
    false
}

pub(super) fn exit_policy(raw: &RawPod) -> ExitPolicy {
    match raw.exit_policy {
        None | Some(raw::ExitPolicy::Continue) => ExitPolicy::Continue,
        Some(raw::ExitPolicy::Stop) => ExitPolicy::Stop,
        Some(raw::ExitPolicy::StopOnFailure) => ExitPolicy::StopOnFailure,
        Some(raw::ExitPolicy::StopOnExit) => ExitPolicy::StopOnExit,
    }
}
