//! `PodSpec` and `HostFacts` to a `Plan`: a graph of typed steps with every value already chosen. Pure: no
//! I/O, no clock, no randomness, no environment; the same input gives the same bytes. After this nobody
//! makes a choice about a pod.

pub mod facts;
pub mod health;
pub mod step;
pub mod timing;

mod error;
pub mod places;

pub mod accounts;
mod declared;
mod files;
mod ids;
mod image;
pub mod network;
pub mod oci;
mod order;
mod ports;
mod probes;
mod process;
mod rootfs;
mod security;

mod again;
pub mod cgroups;
mod changes;
mod graph;
mod limits;
mod resources;

pub mod bundle;
pub mod check;
pub mod render;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use error::{Holder, PlanError};
pub use limits::EVERYBODYS_DEVICES;
pub use ports::DYNAMIC as DYNAMIC_PORTS;

use crate::names::ContainerName;
use crate::spec::model::PodSpec;
use facts::HostFacts;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use step::{Plan, StepId};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Goal<'a> {
    /// This pod runs.
    Up(&'a PodSpec),
    /// Nothing of the pod is left.
    Down,
}

/// What is there of the pod now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// What was carried out.
    pub plan: Plan,
    /// The `PodSpec` it was made from.
    pub spec: serde_json::Value,
    /// Containers that have ended for good, with their exit codes.
    pub ended: BTreeMap<ContainerName, i32>,
    /// Those of them that were stopped: they did not end by themselves.
    pub stopped: BTreeSet<ContainerName>,
}

/// The steps from what is there to what is asked for. `Up` of a pod that runs from the same file: only
/// those containers again that were stopped or ended with an error. `Down`: the steps that are to be undone, in the order
/// of `undo_order`.
pub fn plan(
    goal: Goal<'_>,
    observed: Option<&Observed>,
    facts: &HostFacts,
) -> Result<Plan, PlanError> {
    let plan = match (goal, observed) {
        (Goal::Up(spec), None) => graph::first_start(spec, facts)?,
        (Goal::Up(spec), Some(observed)) => {
            let differences = changes::differences(&observed.spec, spec);
            if !differences.is_empty() {
                return Err(PlanError::Changed { pod: spec.name.clone(), differences });
            }
            again::again(observed, &[])
        }
        (Goal::Down, Some(observed)) => observed.plan.clone(),
        (Goal::Down, None) => return Err(PlanError::NotObserved),
    };
    debug_assert_eq!(check::broken(&plan), Vec::<String>::new());
    Ok(plan)
}

/// The steps that start these containers again, as far as they have ended, with what they need; with none
/// named as a second `up` does.
pub fn start_again(observed: &Observed, containers: &[ContainerName]) -> Plan {
    again::again(observed, containers)
}

/// Newest first.
pub fn undo_order(plan: &Plan) -> impl Iterator<Item = StepId> + use<> {
    (0..plan.steps.len()).rev()
}
