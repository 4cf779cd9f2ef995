//! OCI's limits as files of cgroups on this machine: of the v2 hierarchy where the controller is there, else of
//! v1. A limit that the machine cannot hold is refused here, with what to do about it.

use crate::names::ContainerName;
use crate::plan::error::PlanError;
use crate::plan::facts::{CgroupFacts, Controller, Disk};
use crate::plan::resources;
use crate::plan::step::{LegacyLimits, Limits};
use crate::spec::model::{Io, PodSpec, Resources};
use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};
use std::collections::{BTreeMap, BTreeSet};

/// Why a limit cannot be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Of `resources`, as the file has it.
    pub field: &'static str,
    pub what: String,
    pub remedy: String,
}

/// Whose limits they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Pod,
    Container,
}

/// What bounds a pod and its containers.
#[derive(Default)]
pub(super) struct Bounds {
    pub(super) pod: Limits,
    pub(super) containers: BTreeMap<ContainerName, (LinuxResources, Limits)>,
}

/// Of a whole pod file, or the first limit that this machine cannot hold.
pub(super) fn bounds(spec: &PodSpec, facts: &CgroupFacts) -> Result<Bounds, PlanError> {
    let refused = |place: String| {
        move |refusal: Refusal| PlanError::NoLimit {
            place: format!("{place}resources.{}", refusal.field),
            what: refusal.what,
            remedy: refusal.remedy,
        }
    };
    disks(spec.resources.io.as_ref(), facts).map_err(refused(String::new()))?;
    let of_pod = resources::oci(&spec.resources, facts);
    let mut pod = limits(&of_pod, Level::Pod, facts).map_err(refused(String::new()))?;
    let mut containers = BTreeMap::new();
    for (name, container) in &spec.containers {
        let refused = refused(format!("containers.{name}."));
        let own = &container.resources;
        within_pod(own, &spec.resources).map_err(&refused)?;
        disks(own.io.as_ref(), facts).map_err(&refused)?;
        let oci = resources::of_container(own, &spec.resources, facts);
        let own = limits(&oci, Level::Container, facts).map_err(&refused)?;
        pod.join(&own);
        containers.insert(name.clone(), (oci, own));
    }
    // A privileged container may have cgroups of its own, and a systemd or a docker in it needs controllers there.
    if spec.containers.values().any(|container| container.security.privileged) {
        pod.controllers.extend(facts.unified.iter().map(|controller| controller.name().to_owned()));
    }
    // Every container is counted wherever the pod or a sibling is.
    for (_, own) in containers.values_mut() {
        own.join(&Limits { files: Vec::new(), ..pod.clone() });
    }
    Ok(Bounds { pod, containers })
}

/// v2 would quietly give the container what is left of its pod's.
fn within_pod(own: &Resources, pod: &Resources) -> Result<(), Refusal> {
    match (&own.cpuset, &pod.cpuset) {
        (Some(own), Some(all)) if !is_within(own, all) => Err(Refusal {
            field: "cpuset",
            what: format!("not every processor of `{own}` is the pod's"),
            remedy: format!("the pod has {all}"),
        }),
        _ => Ok(()),
    }
}

fn disks(io: Option<&Io>, facts: &CgroupFacts) -> Result<(), Refusal> {
    for path in io.iter().flat_map(|io| io.devices.keys()) {
        let why = match facts.disks.get(path) {
            Some(Disk::Whole { .. }) => continue,
            Some(Disk::Unfit(why)) => why.as_str(),
            None => "was not looked at",
        };
        return Err(Refusal {
            field: "io.devices",
            what: format!("{} {why}", path.display()),
            remedy: "name a whole disk, such as `/dev/sda`; `lsblk` lists them".to_owned(),
        });
    }
    Ok(())
}

/// A file of a controller and what is written to it, in order.
type Writes = Vec<(Controller, String, String)>;

/// What is to be written where. Of `resources` only what this reads: the device rules are no file.
pub fn limits(
    resources: &LinuxResources,
    level: Level,
    facts: &CgroupFacts,
) -> Result<Limits, Refusal> {
    let mut writes = Writes::new();
    memory(resources, facts, &mut writes)?;
    processors(resources, facts, &mut writes)?;
    if let Some(pids) = resources.pids() {
        let most = if pids.limit() > 0 { pids.limit().to_string() } else { "max".to_owned() };
        there("pids", Controller::Pids, facts)?;
        writes.push((Controller::Pids, "pids.max".to_owned(), most));
    }
    if let Some(io) = resources.block_io() {
        there("io", Controller::Io, facts)?;
        match facts.unified.contains(&Controller::Io) {
            true => io_max(io, &mut writes),
            false => blkio(io, level, facts, &mut writes)?,
        }
    }
    let unified: BTreeMap<_, _> = resources.unified().iter().flatten().collect();
    for (file, value) in unified {
        let named = Controller::ALL.into_iter().find(|c| file.split('.').next() == Some(c.name()));
        let Some(controller) = named.filter(|c| facts.unified.contains(c)) else {
            return Err(missing("unified", file));
        };
        if controller == Controller::Io && facts.io_weight.as_ref() != Some(file) {
            return Err(no_io_weight());
        }
        writes.push((controller, file.clone(), value.clone()));
    }
    Ok(sorted(writes, facts))
}

fn sorted(writes: Writes, facts: &CgroupFacts) -> Limits {
    let mut limits = Limits::default();
    let mut legacy: BTreeMap<Controller, Vec<(String, String)>> = BTreeMap::new();
    for (controller, file, value) in writes {
        if facts.unified.contains(&controller) {
            limits.controllers.insert(controller.name().to_owned());
            limits.files.push((file, value));
        } else {
            legacy.entry(controller).or_default().push((file, value));
        }
    }
    let place = |(controller, files)| {
        let mount = facts.legacy.get(&controller)?.clone();
        Some(LegacyLimits { mount, controller: controller.v1_name().to_owned(), files })
    };
    limits.legacy = legacy.into_iter().filter_map(place).collect();
    limits
}

fn memory(
    resources: &LinuxResources,
    facts: &CgroupFacts,
    writes: &mut Writes,
) -> Result<(), Refusal> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    let field = if memory.limit().is_some() { "memory" } else { "memorySwap" };
    there(field, Controller::Memory, facts)?;
    let is_v2 = facts.unified.contains(&Controller::Memory);
    let word = |bytes: i64, none: &str| if bytes < 0 { none.to_owned() } else { bytes.to_string() };
    let mut write = |file: &str, value| writes.push((Controller::Memory, file.to_owned(), value));
    if let Some(limit) = memory.limit() {
        let file = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        write(file, word(limit, if is_v2 { "max" } else { "-1" }));
    }
    let Some(swap) = memory.swap() else { return Ok(()) };
    if !facts.swap {
        // No limit holds by itself.
        let refusal = Refusal {
            field: "memorySwap",
            what: "this machine does not count swap".to_owned(),
            remedy: "boot with `swapaccount=1` on the kernel's command line, or leave it out"
                .to_owned(),
        };
        return if swap < 0 { Ok(()) } else { Err(refusal) };
    }
    if is_v2 {
        let of_swap = if swap < 0 { -1 } else { (swap - memory.limit().unwrap_or(0)).max(0) };
        write("memory.swap.max", word(of_swap, "max"));
    } else {
        write("memory.memsw.limit_in_bytes", word(swap, "-1"));
    }
    Ok(())
}

fn processors(
    resources: &LinuxResources,
    facts: &CgroupFacts,
    writes: &mut Writes,
) -> Result<(), Refusal> {
    let Some(cpu) = resources.cpu() else { return Ok(()) };
    let is_v2 = facts.unified.contains(&Controller::Cpu);
    let mut write = |controller, file: &str, value| {
        writes.push((controller, file.to_owned(), value));
    };
    if cpu.quota().is_some() || cpu.period().is_some() {
        there("cpus", Controller::Cpu, facts)?;
        let period = cpu.period().unwrap_or(100_000).to_string();
        let quota = cpu.quota().filter(|quota| *quota > 0).map(|quota| quota.to_string());
        if is_v2 {
            let quota = quota.unwrap_or_else(|| "max".to_owned());
            write(Controller::Cpu, "cpu.max", format!("{quota} {period}"));
        } else {
            write(Controller::Cpu, "cpu.cfs_period_us", period);
            let quota = quota.unwrap_or_else(|| "-1".to_owned());
            write(Controller::Cpu, "cpu.cfs_quota_us", quota);
        }
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
        there("cpuWeight", Controller::Cpu, facts)?;
        if is_v2 {
            // As other runtimes translate it (2 to 262144 becomes 1 to 10000).
            let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
            write(Controller::Cpu, "cpu.weight", weight.to_string());
        } else {
            write(Controller::Cpu, "cpu.shares", shares.to_string());
        }
    }
    let lists = [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())];
    for (file, list) in lists {
        let Some(list) = list else { continue };
        there("cpuset", Controller::Cpuset, facts)?;
        if file == "cpuset.cpus" && !is_within(list, &facts.cpus) {
            return Err(Refusal {
                field: "cpuset",
                what: format!("not every processor of `{list}` is there"),
                remedy: format!("this machine has {}", facts.cpus),
            });
        }
        write(Controller::Cpuset, file, list.clone());
    }
    Ok(())
}

/// One line a disk, with all its rates.
fn io_max(io: &LinuxBlockIo, writes: &mut Writes) {
    let mut disks: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
    for (key, list) in rates(io) {
        for rate in list.iter().flatten() {
            let words = disks.entry((rate.major(), rate.minor())).or_default();
            words.push(format!("{}={}", key.0, rate.rate()));
        }
    }
    for ((major, minor), words) in disks {
        let line = format!("{major}:{minor} {}", words.join(" "));
        writes.push((Controller::Io, "io.max".to_owned(), line));
    }
}

fn blkio(
    io: &LinuxBlockIo,
    level: Level,
    facts: &CgroupFacts,
    writes: &mut Writes,
) -> Result<(), Refusal> {
    for (key, list) in rates(io) {
        for rate in list.iter().flatten() {
            if level == Level::Pod {
                return Err(Refusal {
                    field: "io",
                    what: "cgroup v1 cannot limit the disks of a whole pod".to_owned(),
                    remedy:
                        "limit each container, or boot with `systemd.unified_cgroup_hierarchy=1`"
                            .to_owned(),
                });
            }
            let line = format!("{}:{} {}", rate.major(), rate.minor(), rate.rate());
            let file = format!("blkio.throttle.{}_device", key.1);
            writes.push((Controller::Io, file, line));
        }
    }
    if let Some(weight) = io.weight() {
        let file = facts.io_weight.clone().ok_or_else(no_io_weight)?;
        writes.push((Controller::Io, file, weight.to_string()));
    }
    Ok(())
}

/// By their names in v2 and in v1.
#[expect(clippy::type_complexity, reason = "four rows of a table")]
fn rates(io: &LinuxBlockIo) -> [((&str, &str), &Option<Vec<LinuxThrottleDevice>>); 4] {
    [
        (("rbps", "read_bps"), io.throttle_read_bps_device()),
        (("wbps", "write_bps"), io.throttle_write_bps_device()),
        (("riops", "read_iops"), io.throttle_read_iops_device()),
        (("wiops", "write_iops"), io.throttle_write_iops_device()),
    ]
}

/// Whether the machine has the controller of this field.
fn there(field: &'static str, controller: Controller, facts: &CgroupFacts) -> Result<(), Refusal> {
    match facts.has(controller) {
        true => Ok(()),
        false => Err(missing(field, controller.name())),
    }
}

fn missing(field: &'static str, controller: &str) -> Refusal {
    let remedy = match controller {
        "memory" => {
            "boot with `cgroup_enable=memory` on the kernel's command line, or leave it out"
        }
        _ => "the kernel, or the container that podspec runs in, must offer it; or leave it out",
    };
    Refusal {
        field,
        what: format!("no cgroup here has the controller `{controller}`"),
        remedy: remedy.to_owned(),
    }
}

fn no_io_weight() -> Refusal {
    Refusal {
        field: "io",
        what: "no disk here is shared by weight".to_owned(),
        remedy:
            "give it the scheduler that does so, `echo bfq > /sys/block/DISK/queue/scheduler`, \
                 or leave `weight` out"
                .to_owned(),
    }
}

/// Whether every number of one list is in the other.
pub(super) fn is_within(list: &str, all: &str) -> bool {
    numbers(list).is_subset(&numbers(all))
}

fn numbers(list: &str) -> BTreeSet<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let ends = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        Some(ends.0..=ends.1)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::model::{IoLimits, Swap};
    use std::path::PathBuf;

    fn machine() -> CgroupFacts {
        let disk = Disk::Whole { major: 8, minor: 16 };
        CgroupFacts {
            swap: true,
            cpus: "0-3".into(),
            disks: [("/dev/sdb".into(), disk)].into(),
            ..CgroupFacts::default()
        }
    }

    fn v2() -> CgroupFacts {
        let io_weight = Some("io.weight".into());
        CgroupFacts { unified: Controller::ALL.into(), io_weight, ..machine() }
    }

    fn v1() -> CgroupFacts {
        let mount = |c: Controller| (c, PathBuf::from("/cg").join(c.v1_name()));
        let io_weight = Some("blkio.bfq.weight".into());
        CgroupFacts { legacy: Controller::ALL.map(mount).into(), io_weight, ..machine() }
    }

    fn all() -> Resources {
        let rates = IoLimits { read_bps: Some(1 << 20), write_iops: Some(9), ..Default::default() };
        Resources {
            memory: Some(64 << 20),
            memory_swap: Some(Swap::Most(96 << 20)),
            cpus: Some(0.5),
            cpu_weight: Some(200),
            cpuset: Some("0-1".into()),
            pids: Some(50),
            io: Some(Io { weight: Some(50), devices: [("/dev/sdb".into(), rates)].into() }),
        }
    }

    fn of(resources: &Resources, level: Level, facts: &CgroupFacts) -> Result<Limits, Refusal> {
        limits(&resources::oci(resources, facts), level, facts)
    }

    #[test]
    fn every_limit_is_a_file_of_v2() {
        let limits = of(&all(), Level::Pod, &v2()).unwrap();
        let files: Vec<_> = limits.files.iter().map(|(f, v)| (f.as_str(), v.as_str())).collect();
        assert_eq!(
            files,
            [
                ("memory.max", "67108864"),
                ("memory.swap.max", "33554432"),
                ("cpu.max", "50000 100000"),
                ("cpuset.cpus", "0-1"),
                ("pids.max", "50"),
                ("io.max", "8:16 rbps=1048576 wiops=9"),
                ("cpu.weight", "200"),
                ("io.weight", "50"),
            ]
        );
        assert!(limits.legacy.is_empty());
        assert_eq!(limits.controllers.len(), 5);
    }

    #[test]
    fn and_of_v1_where_the_controller_is_there() {
        let limits = of(&all(), Level::Container, &v1()).unwrap();
        let files = |name: &str| {
            let of = limits.legacy.iter().find(|of| of.controller == name).unwrap();
            let files = of.files.iter().map(|(file, value)| format!("{file}={value}"));
            files.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            files("memory"),
            "memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=100663296"
        );
        assert_eq!(files("cpu"), "cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 cpu.shares=2048");
        assert_eq!(
            (files("cpuset"), files("pids")),
            ("cpuset.cpus=0-1".into(), "pids.max=50".into())
        );
        assert_eq!(
            files("blkio"),
            "blkio.throttle.read_bps_device=8:16 1048576 blkio.throttle.write_iops_device=8:16 9 \
             blkio.bfq.weight=50"
        );
        assert!(limits.files.is_empty() && limits.controllers.is_empty());
    }

    #[test]
    fn what_the_machine_lacks_is_refused_at_its_field() {
        let field = |change: fn(&mut CgroupFacts)| {
            let mut facts = v2();
            change(&mut facts);
            of(&all(), Level::Container, &facts).unwrap_err().field
        };
        assert_eq!(field(|facts| facts.swap = false), "memorySwap");
        assert_eq!(field(|facts| facts.cpus = "0".into()), "cpuset");
        for (controller, wanted) in [
            (Controller::Memory, "memory"),
            (Controller::Cpu, "cpus"),
            (Controller::Cpuset, "cpuset"),
            (Controller::Pids, "pids"),
            (Controller::Io, "io"),
        ] {
            let mut facts = v2();
            facts.unified.remove(&controller);
            let refusal = of(&all(), Level::Container, &facts).unwrap_err();
            assert_eq!(refusal.field, wanted);
            assert!(refusal.what.contains(controller.name()), "{refusal:?}");
        }
        assert_eq!(of(&all(), Level::Pod, &v1()).unwrap_err().field, "io");
    }

    #[test]
    fn lists_of_processors_are_compared_as_sets() {
        assert!(is_within("0,2-3", "0-3") && is_within("1", "0-1\n"));
        assert!(!is_within("4", "0-3") && !is_within("0-4", "0-3"));
    }
}
