//! Which containers of a pod that is there are started again, and in which order: what was stopped, what
//! ended with an error, and what these need. What has done its work is left alone.

use crate::names::ContainerName;
use crate::plan::Observed;
use crate::plan::step::{Edge, Launch, Plan, Planned, Role, Step, StepId, Until};
use std::collections::{BTreeMap, BTreeSet};

/// `asked` empty: whatever should run and does not.
pub(super) fn again(observed: &Observed, asked: &[ContainerName]) -> Plan {
    let wanted = wanted(observed, asked);
    let old = &observed.plan.steps;
    let mut moved: BTreeMap<StepId, StepId> = BTreeMap::new();
    let mut steps: Vec<Planned> = Vec::new();
    for (id, planned) in old.iter().enumerate() {
        let why = match &planned.step {
            Step::CreateContainer(launch) => wanted.get(&launch.container).cloned(),
            Step::StartContainer { container } if wanted.contains_key(container) => {
                Some(planned.why.clone())
            }
            _ => None,
        };
        let Some(why) = why else { continue };
        moved.insert(id, steps.len());
        let after = planned
            .after
            .iter()
            .filter_map(|edge| moved.get(&edge.step).map(|&step| Edge { step, until: edge.until }));
        steps.push(Planned { step: planned.step.clone(), after: after.collect(), why });
    }
    Plan {
        pod: observed.plan.pod.clone(),
        id: observed.plan.id.clone(),
        steps,
        seccomp: observed.plan.seccomp.clone(),
        exit_policy: observed.plan.exit_policy,
        stop_timeout: observed.plan.stop_timeout,
    }
}

/// The containers to be started, each with its reason.
fn wanted<'a>(
    observed: &'a Observed,
    asked: &[ContainerName],
) -> BTreeMap<&'a ContainerName, String> {
    let launches: Vec<(StepId, &Launch)> = launches(&observed.plan);
    let mut wanted = BTreeMap::new();
    for (id, launch) in &launches {
        let name = &launch.container;
        let why = if !asked.is_empty() {
            asked.contains(name).then(|| "asked for".to_owned())
        } else if launch.role == Role::Sidecar {
            None
        } else {
            reason(observed, name).or_else(|| waits_in_vain(observed, *id, &wanted))
        };
        if let (Some(why), true) = (why, has_ended(observed, name) || asked.is_empty()) {
            wanted.insert(name, why);
        }
    }
    let main_runs = launches.iter().any(|(_, launch)| {
        let name = &launch.container;
        launch.role.is_main() && (wanted.contains_key(name) || !has_ended(observed, name))
    });
    let sidecars = launches.iter().filter(|(_, launch)| launch.role == Role::Sidecar);
    for (_, launch) in sidecars.filter(|_| asked.is_empty() && main_runs) {
        if let Some(why) = reason(observed, &launch.container) {
            wanted.insert(&launch.container, why);
        }
    }
    // Edges point backwards, so one way back finds what is needed by what is needed.
    for (id, launch) in launches.iter().rev() {
        if wanted.contains_key(&launch.container) {
            for needed in needs(&observed.plan, *id, launch) {
                if reason(observed, needed).is_some() {
                    let why = format!("{} needs it", launch.container);
                    wanted.entry(needed).or_insert(why);
                }
            }
        }
    }
    wanted
}

fn launches(plan: &Plan) -> Vec<(StepId, &Launch)> {
    let steps = plan.steps.iter().enumerate();
    steps
        .filter_map(|(id, planned)| match &planned.step {
            Step::CreateContainer(launch) => Some((id, &**launch)),
            _ => None,
        })
        .collect()
}

fn has_ended(observed: &Observed, name: &ContainerName) -> bool {
    observed.ended.contains_key(name)
}

/// Why it should be started again; none: it runs, or its work is done.
fn reason(observed: &Observed, name: &ContainerName) -> Option<String> {
    let code = observed.ended.get(name)?;
    if observed.stopped.contains(name) {
        return Some("it was stopped".to_owned());
    }
    (*code != 0).then(|| format!("it ended with {code}"))
}

/// It has never run, because it waits for the end of one that is started again.
fn waits_in_vain(
    observed: &Observed,
    create: StepId,
    wanted: &BTreeMap<&ContainerName, String>,
) -> Option<String> {
    let Step::CreateContainer(launch) = &observed.plan.steps[create].step else { return None };
    let edges = steps_of(&observed.plan, create, launch);
    let waits = edges.flat_map(|id| &observed.plan.steps[id].after).any(|edge| {
        edge.until != Until::Done
            && started(&observed.plan, edge.step).is_some_and(|name| wanted.contains_key(name))
    });
    (waits && !has_ended(observed, &launch.container)).then(|| "it has never run".to_owned())
}

fn started(plan: &Plan, id: StepId) -> Option<&ContainerName> {
    match &plan.steps[id].step {
        Step::StartContainer { container } => Some(container),
        _ => None,
    }
}

/// Its creation and its start.
fn steps_of(plan: &Plan, create: StepId, launch: &Launch) -> impl Iterator<Item = StepId> {
    let start = plan.steps.iter().position(|planned| {
        matches!(&planned.step, Step::StartContainer { container } if *container == launch.container)
    });
    [Some(create), start].into_iter().flatten()
}

/// The containers that this one's creation or start waits for.
fn needs<'a>(plan: &'a Plan, create: StepId, launch: &Launch) -> BTreeSet<&'a ContainerName> {
    let edges = steps_of(plan, create, launch).flat_map(|id| &plan.steps[id].after);
    edges
        .filter_map(|edge| started(plan, edge.step))
        .filter(|name| **name != launch.container)
        .collect()
}
