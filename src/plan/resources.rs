//! Limits of the file in OCI's words, so that any runtime could obey them. What a machine lacks is judged when
//! they become files of cgroups (`cgroups.rs`).

use crate::plan::facts::{CgroupFacts, Controller, Disk};
use crate::spec::model::{Io, IoLimits, Resources, Swap};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder,
};

/// Microseconds in which a quota of processor time holds: the kernel's own default.
const PERIOD: u64 = 100_000;
/// Processes and threads of a container whose file says nothing.
const PIDS: u64 = 2048;

/// What a container may use: its own limits, below those of its pod.
pub(super) fn of_container(
    own: &Resources,
    pod: &Resources,
    facts: &CgroupFacts,
) -> LinuxResources {
    let mut effective = own.clone();
    // A part that may have more than the whole has what the whole has; v1 refuses to be told otherwise.
    effective.cpus = own.cpus.map(|cpus| pod.cpus.map_or(cpus, |most| cpus.min(most)));
    effective.pids = own.pids.or_else(|| facts.has(Controller::Pids).then_some(PIDS));
    oci(&effective, facts)
}

/// What all containers together may use.
pub(super) fn oci(resources: &Resources, facts: &CgroupFacts) -> LinuxResources {
    let mut limits = LinuxResources::default();
    let mut unified = std::collections::HashMap::new();
    limits.set_devices(None);
    if resources.memory.is_some() || resources.memory_swap.is_some() {
        limits.set_memory(Some(memory(resources, facts)));
    }
    let is_v2 = |controller| facts.unified.contains(&controller);
    let mut cpu = LinuxCpu::default();
    if let Some(cpus) = resources.cpus {
        // Whole microseconds; the least that the file may ask for is 1 ms.
        let quota = (cpus * PERIOD as f64).round() as i64;
        cpu.set_quota(Some(quota)).set_period(Some(PERIOD));
    }
    match resources.cpu_weight {
        Some(weight) if is_v2(Controller::Cpu) => {
            unified.insert("cpu.weight".to_owned(), weight.to_string());
        }
        // 1024 is to others what 100 is in v2.
        Some(weight) => drop(cpu.set_shares(Some(shares(weight)))),
        None => {}
    }
    cpu.set_cpus(resources.cpuset.clone());
    limits.set_cpu((cpu != LinuxCpu::default()).then_some(cpu));
    limits.set_pids(resources.pids.map(pids));
    if let Some(io) = &resources.io {
        match io.weight {
            Some(weight) if is_v2(Controller::Io) => {
                let file = facts.io_weight.as_deref().unwrap_or("io.weight");
                unified.insert(file.to_owned(), io_weight(file, weight).to_string());
            }
            _ => {}
        }
        limits.set_block_io(block_io(io, facts));
    }
    limits.set_unified((!unified.is_empty()).then_some(unified));
    limits
}

fn shares(weight: u32) -> u64 {
    (u64::from(weight) * 1024 / 100).clamp(2, 262_144)
}

/// BFQ has weights up to 1000 alone; both have 100 in the middle.
fn io_weight(file: &str, weight: u32) -> u32 {
    match file.contains("bfq") && weight > 100 {
        true => 100 + (weight - 100) * 900 / 9900,
        false => weight,
    }
}

fn pids(most: u64) -> LinuxPids {
    let mut pids = LinuxPids::default();
    pids.set_limit(i64::try_from(most).unwrap_or(i64::MAX));
    pids
}

/// Without a word on swap a container has as much of it as of memory, where the kernel counts it.
fn memory(resources: &Resources, facts: &CgroupFacts) -> LinuxMemory {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let swap = match (resources.memory_swap, resources.memory) {
        (Some(Swap::Unlimited), _) => Some(-1),
        (Some(Swap::Most(most)), _) => Some(bytes(most)),
        (None, Some(memory)) if facts.swap => Some(bytes(memory.saturating_mul(2))),
        (None, _) => None,
    };
    let mut memory = LinuxMemory::default();
    memory.set_limit(resources.memory.map(bytes)).set_swap(swap);
    memory
}

/// A disk that is not there, or cannot have limits, is left out here and refused by `cgroups.rs`.
fn block_io(io: &Io, facts: &CgroupFacts) -> Option<LinuxBlockIo> {
    let rates = |rate: fn(&IoLimits) -> Option<u64>| {
        let found = io.devices.iter().filter_map(|(path, limits)| {
            match (facts.disks.get(path)?, rate(limits)?) {
                (Disk::Whole { major, minor }, rate) => Some(throttle(*major, *minor, rate)),
                (Disk::Unfit(_), _) => None,
            }
        });
        Some(found.collect::<Vec<_>>()).filter(|found| !found.is_empty())
    };
    let mut limits = LinuxBlockIo::default();
    limits
        .set_throttle_read_bps_device(rates(|limits| limits.read_bps))
        .set_throttle_write_bps_device(rates(|limits| limits.write_bps))
        .set_throttle_read_iops_device(rates(|limits| limits.read_iops))
        .set_throttle_write_iops_device(rates(|limits| limits.write_iops));
    if let Some(weight) = io.weight.filter(|_| !facts.unified.contains(&Controller::Io)) {
        let weight = io_weight("blkio.bfq.weight", weight);
        limits.set_weight(u16::try_from(weight).ok());
    }
    (limits != LinuxBlockIo::default()).then_some(limits)
}

fn throttle(major: u32, minor: u32, rate: u64) -> LinuxThrottleDevice {
    let built = LinuxThrottleDeviceBuilder::default()
        .major(i64::from(major))
        .minor(i64::from(minor))
        .rate(rate)
        .build();
    #[expect(clippy::expect_used, reason = "each of its three fields is set")]
    built.expect("a whole limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2() -> CgroupFacts {
        CgroupFacts {
            unified: Controller::ALL.into(),
            swap: true,
            io_weight: Some("io.weight".into()),
            ..CgroupFacts::default()
        }
    }

    #[test]
    fn memory_without_a_word_on_swap_is_doubled_where_swap_is_counted() {
        let asked = Resources { memory: Some(64 << 20), ..Resources::default() };
        let swap =
            |facts: &CgroupFacts, asked: &Resources| oci(asked, facts).memory().unwrap().swap();
        assert_eq!(swap(&v2(), &asked), Some(128 << 20));
        assert_eq!(swap(&CgroupFacts { swap: false, ..v2() }, &asked), None);
        let any = Resources { memory_swap: Some(Swap::Unlimited), ..asked };
        assert_eq!(swap(&v2(), &any), Some(-1));
    }

    #[test]
    fn processors_are_microseconds_of_a_tenth_of_a_second() {
        for (cpus, quota) in [(0.01, 1000), (0.5, 50_000), (2.0, 200_000), (0.333, 33_300)] {
            let asked = Resources { cpus: Some(cpus), ..Resources::default() };
            let cpu = oci(&asked, &v2()).cpu().clone().unwrap();
            assert_eq!((cpu.quota(), cpu.period()), (Some(quota), Some(100_000)));
        }
    }

    #[test]
    fn a_weight_is_a_share_in_v1_and_keeps_its_proportion() {
        let asked = Resources { cpu_weight: Some(200), ..Resources::default() };
        assert_eq!(oci(&asked, &v2()).unified().clone().unwrap()["cpu.weight"], "200");
        let v1 = oci(&asked, &CgroupFacts::default());
        assert_eq!(v1.cpu().as_ref().unwrap().shares(), Some(2048));
        assert_eq!((shares(1), shares(100), shares(10_000)), (10, 1024, 102_400));
        assert_eq!(io_weight("io.bfq.weight", 10_000), 1000);
        assert_eq!(io_weight("io.bfq.weight", 50), 50);
    }

    #[test]
    fn a_container_has_2048_processes_where_they_are_counted_and_no_more_processors_than_its_pod() {
        let pod = Resources { cpus: Some(1.0), ..Resources::default() };
        let own = Resources { cpus: Some(4.0), ..Resources::default() };
        let limits = of_container(&own, &pod, &v2());
        assert_eq!(limits.pids().as_ref().unwrap().limit(), 2048);
        assert_eq!(limits.cpu().as_ref().unwrap().quota(), Some(100_000));
        let none = of_container(&Resources::default(), &pod, &CgroupFacts::default());
        assert!(none.pids().is_none() && none.cpu().is_none());
    }
}
