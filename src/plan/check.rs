//! What every plan keeps, whatever it was made from: tests check it for random pods, and debug builds for
//! every plan.

use crate::plan::step::{Input, Plan, Step, StepId, VolumeContent};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

/// Every rule that this plan breaks, in words.
pub fn broken(plan: &Plan) -> Vec<String> {
    let mut broken = edges(plan);
    if broken.is_empty() {
        broken.extend(infra_first(plan));
    }
    broken.extend(twice(plan));
    broken.extend(layers_apart(plan));
    broken.extend(create_and_start(plan));
    broken
}

fn edges(plan: &Plan) -> Vec<String> {
    let backwards = |(id, step): (StepId, &crate::plan::step::Planned)| {
        let bad = step.after.iter().find(|edge| edge.step >= id)?;
        Some(format!("step {id} waits for step {}, which does not come before it", bad.step))
    };
    plan.steps.iter().enumerate().filter_map(backwards).collect()
}

/// Where a plan starts infra, no container and nothing of the pod's network comes without it.
fn infra_first(plan: &Plan) -> Vec<String> {
    let Some(infra) = plan.steps.iter().position(|p| matches!(p.step, Step::StartInfra(_))) else {
        return Vec::new();
    };
    let mut behind: BTreeSet<StepId> = [infra].into();
    let mut broken = Vec::new();
    for (id, planned) in plan.steps.iter().enumerate() {
        if planned.after.iter().any(|edge| behind.contains(&edge.step)) {
            behind.insert(id);
        } else if needs_infra(&planned.step) {
            broken.push(format!("step {id} does not wait for infra"));
        }
    }
    broken
}

fn needs_infra(step: &Step) -> bool {
    match step {
        Step::PinNamespaces { .. }
        | Step::MakeNetns { .. }
        | Step::TakeAddress { .. }
        | Step::Connect(_)
        | Step::LoopbackUp { .. }
        | Step::ReservePorts { .. }
        | Step::Publish { .. }
        | Step::SetSysctls { .. }
        | Step::CreateContainer(_)
        | Step::StartContainer { .. } => true,
        Step::MakeNetwork(_)
        | Step::LoadProfile { .. }
        | Step::MountPodTmpfs { .. }
        | Step::MakeCgroup { .. }
        | Step::TakeIds { .. }
        | Step::StartInfra(_)
        | Step::MountShm { .. }
        | Step::MakeVolume(_)
        | Step::WriteFiles { .. }
        | Step::MakeSecrets { .. }
        | Step::MakeLayers { .. } => false,
    }
}

/// Names that two steps may not both use.
fn twice(plan: &Plan) -> Vec<String> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut broken = Vec::new();
    let mut once = |kind: &str, value: &dyn Display| {
        let thing = format!("{kind} {value}");
        if !seen.insert(thing.clone()) {
            broken.push(format!("{thing} is used twice"));
        }
    };
    for planned in &plan.steps {
        match &planned.step {
            Step::TakeAddress { lease, address, .. } => {
                once("lease", &lease.display());
                once("address", address);
            }
            Step::Connect(connection) => {
                once("link", &connection.host);
                once("namespace", &connection.netns.display());
                once("mac", &format!("{:02x?}", connection.mac));
            }
            Step::PinNamespaces { pins } => {
                pins.values().for_each(|pin| once("pin", &pin.display()));
            }
            Step::MakeNetns { pin, .. } => once("pin", &pin.display()),
            Step::MakeLayers { overlays, .. } => {
                for overlay in overlays {
                    once("layer", &overlay.upper.display());
                    once("layer", &overlay.work.display());
                }
            }
            Step::MakeVolume(volume) => once("volume", &volume.name),
            Step::CreateContainer(launch) => {
                once("cgroup", &launch.cgroup.display());
                once("pipe", &launch.stdio.stdout.display());
                once("pipe", &launch.stdio.stderr.display());
                if let Input::Fifo { path } = &launch.stdio.input {
                    once("pipe", &path.display());
                }
                once("log", &launch.stdio.log.display());
            }
            _ => {}
        }
    }
    broken
}

/// No volume shows what a container writes to its root.
fn layers_apart(plan: &Plan) -> Vec<String> {
    let volumes = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::MakeVolume(volume) if volume.content != VolumeContent::Host => Some(volume),
        _ => None,
    });
    let volumes: Vec<_> = volumes.collect();
    let layers = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::MakeLayers { overlays, .. } => Some(overlays),
        _ => None,
    });
    let layers = layers.flatten().flat_map(|overlay| [&overlay.upper, &overlay.work]);
    let meet = |layer: &std::path::PathBuf| {
        let volume = volumes.iter().find(|volume| layer.starts_with(&volume.path))?;
        Some(format!("layer {} is in volume {}", layer.display(), volume.name))
    };
    layers.filter_map(meet).collect()
}

/// A container is created once, then started once.
fn create_and_start(plan: &Plan) -> Vec<String> {
    let mut created: BTreeMap<&str, StepId> = BTreeMap::new();
    let mut broken = Vec::new();
    for (id, planned) in plan.steps.iter().enumerate() {
        match &planned.step {
            Step::CreateContainer(launch) => {
                let before = created.insert(launch.container.as_str(), id);
                broken.extend(before.map(|_| format!("{} is created twice", launch.container)));
            }
            Step::StartContainer { container } => {
                let create = created.remove(container.as_str());
                if !planned.after.iter().any(|edge| Some(edge.step) == create) {
                    broken.push(format!("{container} is started without being created"));
                }
            }
            _ => {}
        }
    }
    broken.extend(created.keys().map(|name| format!("{name} is created and never started")));
    broken
}
