//! `update`: other limits for a container that lives. Only what is asked for is written, and the container's copy of its
//! document is rewritten with it, for whoever asks later.

use super::OciError;
use super::resources::limits;
use super::store::{self, Container, Status};
use crate::cgroup::{Hierarchy, Legacy, legacy_processes};
use crate::plan::step::LegacyLimits;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources, Spec};
use std::path::Path;

/// Carries them out.
pub fn update(container: &mut Container, asked: &LinuxResources) -> Result<(), OciError> {
    let id = container.id().to_owned();
    if matches!(container.status, Status::Creating | Status::Stopped) {
        let status = container.status;
        return Err(OciError::Status { operation: "update", id, status });
    }
    if asked.devices().as_ref().is_some_and(|devices| !devices.is_empty()) {
        let what = "devices of a container that lives".to_owned();
        return Err(OciError::Limit {
            what,
            remedy: "they are its document's, for good".to_owned(),
        });
    }
    let mut spec = container.document()?;
    let known = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    let mut known = known.unwrap_or_default();
    let complete = with_partners(asked, &known);
    let hierarchy = Hierarchy::open()?;
    let limits = limits(Some(&complete), &hierarchy)?;
    let path = container.record.place.path.clone();
    if let Some(parent) = path.parent() {
        hierarchy.enable(parent, &limits.controllers)?;
    }
    let cgroup = hierarchy.make(&path)?;
    cgroup.limit(&limits.files)?;
    for of in limits.legacy {
        let is_new = !container.record.place.legacy.contains(&of.mount);
        write_legacy(
            of,
            &path,
            is_new.then(|| super::cgroups::pids(&path)).transpose()?,
            container,
        )?;
    }
    merge(&mut known, asked);
    keep(container, &mut spec, known)
}

/// v1: as there may be no more memory than memory and swap together, what grows is written from the outside in.
fn write_legacy(
    mut of: LegacyLimits,
    path: &Path,
    movers: Option<Vec<i32>>,
    container: &mut Container,
) -> Result<(), OciError> {
    let legacy = Legacy { mount: &of.mount, path };
    if legacy.make(&of.files).is_err() {
        of.files.reverse();
        legacy.make(&of.files)?;
    }
    if let Some(pids) = movers {
        legacy_processes(legacy, &pids)?;
        container.record.place.legacy.push(of.mount);
        store::write_record(&container.directory, &container.record)?;
    }
    Ok(())
}

/// What the kernel takes together: a quota and its period, memory and the swap beside it.
fn with_partners(asked: &LinuxResources, known: &LinuxResources) -> LinuxResources {
    let mut complete = asked.clone();
    if let Some(mut cpu) = asked.cpu().clone() {
        let known = known.cpu().clone().unwrap_or_default();
        if cpu.quota().is_some() || cpu.period().is_some() {
            cpu.set_quota(cpu.quota().or(known.quota()));
            cpu.set_period(cpu.period().or(known.period()));
        }
        complete.set_cpu(Some(cpu));
    }
    if let Some(mut memory) = *asked.memory() {
        let known = known.memory().unwrap_or_default();
        if memory.swap().is_some() && memory.limit().is_none() {
            memory.set_limit(known.limit());
        }
        // Without a bound of memory there is none of it and swap together.
        if memory.limit() == Some(-1) && memory.swap().is_none() && known.swap().is_some() {
            memory.set_swap(Some(-1));
        }
        complete.set_memory(Some(memory));
    }
    complete
}

/// Field by field: what is not asked for stays.
fn merge(known: &mut LinuxResources, asked: &LinuxResources) {
    if let Some(new) = asked.cpu() {
        let mut cpu = known.cpu().clone().unwrap_or_default();
        merge_cpu(&mut cpu, new);
        known.set_cpu(Some(cpu));
    }
    if let Some(new) = asked.memory() {
        let mut memory = known.memory().unwrap_or_default();
        merge_memory(&mut memory, new);
        known.set_memory(Some(memory));
    }
    if asked.pids().is_some() {
        known.set_pids(*asked.pids());
    }
    if asked.block_io().is_some() {
        known.set_block_io(asked.block_io().clone());
    }
    if asked.hugepage_limits().is_some() {
        known.set_hugepage_limits(asked.hugepage_limits().clone());
    }
    if let Some(files) = asked.unified() {
        let mut unified = known.unified().clone().unwrap_or_default();
        unified.extend(files.clone());
        known.set_unified(Some(unified));
    }
}

fn merge_cpu(cpu: &mut LinuxCpu, new: &LinuxCpu) {
    cpu.set_quota(new.quota().or(cpu.quota()));
    cpu.set_period(new.period().or(cpu.period()));
    cpu.set_shares(new.shares().or(cpu.shares()));
    cpu.set_burst(new.burst().or(cpu.burst()));
    cpu.set_idle(new.idle().or(cpu.idle()));
    let list = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
    let (cpus, mems) = (list(new.cpus(), cpu.cpus()), list(new.mems(), cpu.mems()));
    cpu.set_cpus(cpus).set_mems(mems);
}

fn merge_memory(memory: &mut LinuxMemory, new: &LinuxMemory) {
    memory.set_limit(new.limit().or(memory.limit()));
    memory.set_swap(new.swap().or(memory.swap()));
    memory.set_reservation(new.reservation().or(memory.reservation()));
    memory.set_swappiness(new.swappiness().or(memory.swappiness()));
}

fn keep(container: &Container, spec: &mut Spec, known: LinuxResources) -> Result<(), OciError> {
    let mut linux = spec.linux().clone().unwrap_or_default();
    linux.set_resources(Some(known));
    spec.set_linux(Some(linux));
    let path = container.directory.join("config.json");
    let text =
        serde_json::to_vec(spec).map_err(|source| OciError::Json { path: path.clone(), source })?;
    store::replace(&path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resources(value: serde_json::Value) -> LinuxResources {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let mut known = resources(json!({
            "cpu": { "quota": 500, "period": 1000, "shares": 100 }, "pids": { "limit": 20 }
        }));
        let asked = resources(json!({ "cpu": { "quota": 600 }, "memory": { "limit": 9 } }));
        let complete = with_partners(&asked, &known);
        let cpu = complete.cpu().as_ref().unwrap();
        assert_eq!((cpu.quota(), cpu.period(), cpu.shares()), (Some(600), Some(1000), None));
        assert!(complete.pids().is_none());
        merge(&mut known, &asked);
        let cpu = known.cpu().as_ref().unwrap();
        assert_eq!((cpu.quota(), cpu.period(), cpu.shares()), (Some(600), Some(1000), Some(100)));
        assert_eq!(known.memory().as_ref().unwrap().limit(), Some(9));
        assert_eq!(known.pids().as_ref().unwrap().limit(), 20);
    }
}
