//! What `stop`, `start`, `restart` and `kill` have in common: their targets by pods, a request to each
//! pod's supervisor, and what came of it, a line for each container.

use super::error::CliError;
use super::output::{self, sanitize};
use super::ps::describe;
use super::target::{self, Target, TargetArg};
use super::{Format, down};
use crate::names::{ContainerName, PodName};
use crate::state::record::{PodRecord, PodStatus};
use crate::state::store::Store;
use crate::supervise::control;
use crate::supervise::protocol::{ContainerState, Event, Request};
use crate::supervise::wire::{Received, Wire};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A pod and what of it was named; none: all of it.
pub(super) struct Group {
    pub(super) record: PodRecord,
    pub(super) named: Vec<ContainerName>,
}

impl Group {
    /// The named containers, or all.
    pub(super) fn containers(&self) -> Vec<ContainerName> {
        if !self.named.is_empty() {
            return self.named.clone();
        }
        self.record.containers.iter().map(|container| container.name.clone()).collect()
    }
}

/// A single target.
pub(super) fn group(store: &Store, target: &Target) -> Result<Group, CliError> {
    let record = target::find(store, &target.pod)?;
    let mut named = Vec::new();
    if target.container.is_some() {
        named.push(target::container(&record, target.container.as_ref())?.name.clone());
    }
    Ok(Group { record, named })
}

/// The targets by pods. One that is not there is an error before anything is touched.
pub(super) fn groups(store: &Store, targets: &[TargetArg]) -> Result<Vec<Group>, CliError> {
    let mut groups: Vec<Group> = Vec::new();
    let mut whole: Vec<PodName> = Vec::new();
    for target in target::many(targets)? {
        let at = match groups.iter().position(|group| group.record.name == target.pod) {
            Some(at) => at,
            None => {
                let record = target::find(store, &target.pod)?;
                groups.push(Group { record, named: Vec::new() });
                groups.len() - 1
            }
        };
        match &target.container {
            None => whole.push(target.pod),
            Some(name) => {
                let found = target::container(&groups[at].record, Some(name))?.name.clone();
                if !groups[at].named.contains(&found) {
                    groups[at].named.push(found);
                }
            }
        }
    }
    for group in groups.iter_mut().filter(|group| whole.contains(&group.record.name)) {
        group.named.clear();
    }
    Ok(groups)
}

/// A container as these commands report it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    pod: &'a PodName,
    container: &'a ContainerName,
    status: &'static str,
    exit_code: Option<i32>,
    reason: Option<&'a str>,
}

/// Does one thing to every group. One that fails keeps the others from nothing.
pub(super) fn each(
    groups: &[Group],
    format: Format,
    mut act: impl FnMut(&Group) -> Result<Vec<ContainerState>, CliError>,
) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    let mut states = Vec::new();
    for group in groups {
        match act(group) {
            Ok(of_pod) => states.push((&group.record.name, of_pod)),
            Err(error) => code = error.report(),
        }
    }
    let all = states.iter().flat_map(|(pod, of_pod)| of_pod.iter().map(move |one| (*pod, one)));
    match format {
        Format::Json => {
            let row = |(pod, one)| {
                let one: &ContainerState = one;
                Row {
                    pod,
                    container: &one.name,
                    status: one.status.word(),
                    exit_code: one.exit_code,
                    reason: one.reason.as_deref(),
                }
            };
            output::json(&all.map(row).collect::<Vec<_>>())?;
        }
        Format::Human => {
            for (pod, one) in all {
                let words = describe(one.status, one.exit_code, one.reason.as_deref());
                output::done(&format!("{pod}/{}  {words}", one.name))?;
            }
        }
    }
    Ok(code)
}

/// A pod whose supervisor is gone can only be taken down.
pub(super) fn unsupervised(pod: &PodName, verb: &str) -> CliError {
    CliError::refused(
        format!("cannot {verb} `{pod}`: its supervisor is gone"),
        format!(
            "`podspec down {pod}` ends what is left, `podspec up --recreate FILE` starts it anew"
        ),
    )
}

/// Connects to the pod's supervisor.
pub(super) fn connect(store: &Store, pod: &PodRecord, verb: &str) -> Result<Wire, CliError> {
    let failed = |error: std::io::Error| {
        CliError::host(format!("cannot talk to the supervisor of `{}`", pod.name), &error)
    };
    if pod.status != PodStatus::Unsupervised
        && let Some(wire) = control::connect(&store.pod(&pod.name).socket()).map_err(failed)?
    {
        return Ok(wire);
    }
    Err(unsupervised(&pod.name, verb))
}

/// Asks, and waits for the answer: at most `within`, or as long as it takes.
pub(super) fn ask(
    store: &Store,
    group: &Group,
    request: &Request,
    (verb, within): (&str, Option<Duration>),
) -> Result<Vec<ContainerState>, CliError> {
    let pod = &group.record.name;
    let mut wire = connect(store, &group.record, verb)?;
    wire.send(request).map_err(|_| unsupervised(pod, verb))?;
    let deadline = within.map(|within| Instant::now() + within);
    let mut told = BTreeMap::new();
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) || wire.stream().set_read_timeout(left).is_err()
        {
            return Err(CliError::refused(
                format!("the supervisor of `{pod}` does not answer"),
                format!("`podspec down {pod}` ends it and the pod"),
            ));
        }
        match wire.receive::<Event>() {
            Ok(Received::Frame(Event::Note { text })) => output::progress(&sanitize(&text)),
            Ok(Received::Frame(Event::Container(of))) => {
                let words = describe(of.status, of.exit_code, of.reason.as_deref());
                // That it is ready no more is told before that it ends, in the same words.
                if told.insert(of.name.clone(), words.clone()).as_ref() != Some(&words) {
                    output::verbose(|| format!("{pod}/{} {words}", of.name));
                }
            }
            received => {
                if let Some(answer) = answer(pod, verb, received) {
                    return answer;
                }
            }
        }
    }
}

/// What came from the supervisor, for who has asked it; `None` where that is no answer yet.
pub(super) fn answer(
    pod: &PodName,
    verb: &str,
    received: std::io::Result<Received<Event>>,
) -> Option<Result<Vec<ContainerState>, CliError>> {
    Some(match received {
        Ok(Received::Frame(Event::Done { containers, problems })) if problems.is_empty() => {
            Ok(containers)
        }
        Ok(Received::Frame(Event::Done { problems, .. })) => Err(not_done(pod, verb, problems)),
        Ok(Received::Frame(Event::Gone { .. } | Event::Failed(_) | Event::Stale { .. })) => {
            Err(CliError::refused(
                format!("cannot {verb} `{pod}`: it was brought down meanwhile"),
                "`podspec up FILE` starts it anew",
            ))
        }
        Ok(Received::Frame(_) | Received::Nothing) => return None,
        // Whether the time is over is judged by who waits.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
        Ok(Received::Closed) | Err(_) => Err(unsupervised(pod, verb)),
    })
}

fn not_done(pod: &PodName, verb: &str, problems: Vec<String>) -> CliError {
    CliError::Host {
        message: format!("cannot {verb} `{pod}`"),
        causes: problems,
        hint: Some(format!("`podspec ps {pod}` shows how its containers are")),
        code: 1,
    }
}

/// What a stop may take at most: stops follow each other where `dependsOn` orders them.
pub(super) fn stop_time(store: &Store, group: &Group, grace: Option<Duration>) -> Duration {
    let count = u32::try_from(group.record.containers.len()).unwrap_or(u32::MAX);
    let stops = match grace {
        Some(grace) => grace.saturating_mul(count),
        None => down::longest_stop(&store.pod(&group.record.name)),
    };
    stops + down::ANSWER_WITHIN
}

/// `-t`, as podman has it.
pub(super) fn seconds(word: &str) -> Result<Duration, String> {
    let wrong = "write seconds, such as 5 or 0.5, or a duration, such as 1m; 0 kills at once";
    super::wait::duration(word).map_err(|_| wrong.to_owned())
}
