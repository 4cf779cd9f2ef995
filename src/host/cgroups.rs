//! What of this machine cgroups can bound. Only what the pod's limits need is looked up: most pods ask for none.

use crate::cgroup::{self, Hierarchy};
use crate::plan::facts::{CgroupFacts, Controller, Disk};
use crate::spec::model::{Io, PodSpec, Resources};
use rustix::fs::{AtFlags, CWD, FileType};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Facts for this pod.
pub(super) fn facts(pod: &PodSpec) -> CgroupFacts {
    // Without a hierarchy nothing can be started, and whoever tries says why.
    let Ok(hierarchy) = Hierarchy::open() else { return CgroupFacts::default() };
    let own = pod.containers.values().map(|container| &container.resources);
    let all: Vec<&Resources> = own.chain([&pod.resources]).collect();
    let is_privileged = pod.containers.values().any(|container| container.security.privileged);
    let wanted = if is_privileged { Controller::ALL.to_vec() } else { wanted(&all) };
    let mut facts = of(&hierarchy, &wanted);
    if wanted.contains(&Controller::Io) {
        let ios = all.iter().filter_map(|resources| resources.io.as_ref());
        facts.disks = ios.flat_map(disks).collect();
    }
    facts
}

/// Facts of these controllers.
pub(super) fn of_controllers(wanted: &[Controller]) -> CgroupFacts {
    match Hierarchy::open() {
        Ok(hierarchy) if !wanted.is_empty() => of(&hierarchy, wanted),
        _ => CgroupFacts::default(),
    }
}

fn of(hierarchy: &Hierarchy, wanted: &[Controller]) -> CgroupFacts {
    let mut facts = CgroupFacts::default();
    let enabled = hierarchy.controllers();
    facts.unified = wanted.iter().copied().filter(|c| enabled.contains(c.name())).collect();
    let is_missing = |controller: &&Controller| !facts.unified.contains(*controller);
    let missing: Vec<Controller> = wanted.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        let mounts: BTreeMap<String, PathBuf> =
            cgroup::legacy_mounts().unwrap_or_default().into_iter().collect();
        let mount = |c: Controller| Some((c, mounts.get(c.v1_name())?.clone()));
        facts.legacy = missing.into_iter().filter_map(mount).collect();
    }
    if wanted.contains(&Controller::Memory) {
        facts.swap = counts_swap(&facts);
    }
    if wanted.contains(&Controller::Cpuset) {
        facts.cpus = processors(&facts);
    }
    if wanted.contains(&Controller::Io) {
        facts.io_weight = io_weight(&facts);
    }
    facts
}

/// Every container has a number of processes at most, also where the file says nothing.
fn wanted(all: &[&Resources]) -> Vec<Controller> {
    let any = |test: fn(&Resources) -> bool| all.iter().any(|resources| test(resources));
    let is_wanted = |controller: &Controller| match controller {
        Controller::Cpu => any(|r| r.cpus.is_some() || r.cpu_weight.is_some()),
        Controller::Cpuset => any(|r| r.cpuset.is_some()),
        Controller::Io => any(|r| r.io.is_some()),
        Controller::Memory => any(|r| r.memory.is_some() || r.memory_swap.is_some()),
        Controller::Pids => true,
    };
    Controller::ALL.into_iter().filter(is_wanted).collect()
}

fn counts_swap(facts: &CgroupFacts) -> bool {
    match facts.legacy.get(&Controller::Memory) {
        Some(mount) => mount.join("memory.memsw.limit_in_bytes").exists(),
        // v2 shows it below the root alone; it counts where the kernel can swap, unless it was told not to.
        None => {
            let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
            Path::new("/proc/swaps").exists()
                && !command_line.split_ascii_whitespace().any(|word| word == "swapaccount=0")
        }
    }
}

fn processors(facts: &CgroupFacts) -> String {
    let of_v1 = facts.legacy.get(&Controller::Cpuset).map(|mount| mount.join("cpuset.cpus"));
    let path = of_v1.unwrap_or_else(|| PathBuf::from("/sys/devices/system/cpu/online"));
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The file of a weight that some disk obeys: one that io.cost is enabled for (cgroup-v2.rst, "IO"), or that BFQ
/// schedules. The files themselves are there without.
fn io_weight(facts: &CgroupFacts) -> Option<String> {
    let is_v1 = facts.legacy.contains_key(&Controller::Io);
    let costs = std::fs::read_to_string("/sys/fs/cgroup/io.cost.qos").unwrap_or_default();
    if !is_v1 && costs.lines().any(|disk| disk.contains(" enable=1 ")) {
        return Some("io.weight".to_owned());
    }
    let mut disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let has_bfq = disks.any(|disk| {
        let scheduler = std::fs::read_to_string(disk.path().join("queue/scheduler"));
        scheduler.is_ok_and(|all| all.contains("[bfq]"))
    });
    has_bfq.then(|| if is_v1 { "blkio.bfq.weight" } else { "io.bfq.weight" }.to_owned())
}

fn disks(io: &Io) -> impl Iterator<Item = (PathBuf, Disk)> + '_ {
    io.devices.keys().map(|path| {
        let unfit = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => "is not there".to_owned(),
            _ => format!("cannot be looked at: {error}"),
        };
        (path.clone(), disk(path).unwrap_or_else(|error| Disk::Unfit(unfit(error))))
    })
}

fn disk(path: &Path) -> io::Result<Disk> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Ok(Disk::Unfit("is no disk".to_owned()));
    }
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if Path::new(&format!("/sys/dev/block/{major}:{minor}/partition")).exists() {
        return Ok(Disk::Unfit("is a partition, and limits are of whole disks".to_owned()));
    }
    Ok(Disk::Whole { major, minor })
}
