//! How a document's process is scheduled, in the document's words: `scheduler`, `ioPriority`, `execCPUAffinity`,
//! `memoryPolicy`, `personality`. The calling thread takes it on for itself and for what it becomes.

use super::error::{At, SandboxError, Stage};
use crate::sys::cpus;
use crate::sys::schedule::{Attributes, set_io_priority, set_memory_policy, set_scheduler};
use nix::sys::personality::Persona;
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxMemoryPolicy, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process,
    Scheduler, Spec,
};
use rustix::io::Errno;
use std::collections::BTreeSet;

/// While this process still has the machine's own rights, for some of it needs them. After the hooks: who is
/// scheduled by deadlines may not fork.
pub(super) fn take(oci: &Spec, process: &Process) -> Result<(), SandboxError> {
    let linux = oci.linux().as_ref();
    if let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) {
        place_memory(policy)?;
    }
    if linux.is_some_and(|linux| linux.personality().is_some()) {
        take_personality(oci)?;
    }
    if let Some(asked) = process.io_priority() {
        let class = match asked.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        let name = format!("{} {}", asked.class(), asked.priority());
        let level = u16::try_from(asked.priority()).ok().filter(|level| *level < 8);
        let level = level.ok_or(Errno::INVAL).at(Stage::IoPriority, &name)?;
        set_io_priority(class, level).at(Stage::IoPriority, &name)?;
    }
    match process.scheduler() {
        Some(asked) => schedule(asked),
        None => Ok(()),
    }
}

fn schedule(asked: &Scheduler) -> Result<(), SandboxError> {
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        // Reserved, and in no kernel.
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let attributes = Attributes {
        policy: policy.cast_unsigned(),
        flags: asked.flags().iter().flatten().map(flag).fold(0, |all, flag| all | flag),
        nice: asked.nice().unwrap_or(0),
        priority: asked.priority().unwrap_or(0).cast_unsigned(),
        runtime: asked.runtime().unwrap_or(0),
        deadline: asked.deadline().unwrap_or(0),
        period: asked.period().unwrap_or(0),
    };
    set_scheduler(&attributes).at(Stage::Scheduler, &asked.policy().to_string())
}

fn place_memory(policy: &LinuxMemoryPolicy) -> Result<(), SandboxError> {
    let name = format!("{} of `{}`", policy.mode(), policy.nodes().as_deref().unwrap_or(""));
    let mode: u32 = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flag = |flag: &MemoryPolicyFlagType| match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    };
    let flags = policy.flags().iter().flatten().map(flag).fold(0, |all, flag: u32| all | flag);
    let listed = policy.nodes().as_deref().unwrap_or("");
    let listed = numbers(listed).ok_or(Errno::INVAL).at(Stage::MemoryPolicy, &name)?;
    let mut nodes = vec![0_u64; listed.last().map_or(0, |last| last / 64 + 1)];
    for node in &listed {
        nodes[node / 64] |= 1 << (node % 64);
    }
    set_memory_policy(mode | flags, &nodes).at(Stage::MemoryPolicy, &name)
}

/// personality(2), of linux/personality.h.
const PER_LINUX32: i32 = 8;

fn take_personality(oci: &Spec) -> Result<(), SandboxError> {
    let linux = oci.linux().as_ref();
    let Some(asked) = linux.and_then(|linux| linux.personality().as_ref()) else { return Ok(()) };
    if asked.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(SandboxError::unsupported("flags of the personality"));
    }
    let domain = match asked.domain() {
        LinuxPersonalityDomain::PerLinux => Persona::empty(),
        LinuxPersonalityDomain::PerLinux32 => Persona::from_bits_retain(PER_LINUX32),
    };
    nix::sys::personality::set(domain)
        .map(drop)
        .map_err(|e| SandboxError::step(Stage::Personality, "of the document", e))
}

/// When, in the life of a process that joins a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before it is in the container's cgroup, as far as it was not born there.
    Initial,
    Final,
}

/// `execCPUAffinity`, which is for further processes alone.
pub(super) fn take_processors(process: &Process, when: When) -> Result<(), SandboxError> {
    let of = |asked: &ExecCPUAffinity| match when {
        When::Initial => asked.initial().clone(),
        When::Final => asked.cpu_affinity_final().clone(),
    };
    let asked = process.exec_cpu_affinity().as_ref().and_then(of);
    let Some(list) = asked.filter(|list| !list.is_empty()) else { return Ok(()) };
    let listed = numbers(&list).ok_or(Errno::INVAL).at(Stage::Processors, &list)?;
    cpus::run_on(&listed).at(Stage::Processors, &list)
}

/// No machine has more of anything.
const NUMBER_MAX: usize = 4096;

/// A list as in `0-3,7`; None where it is none.
pub fn numbers(list: &str) -> Option<BTreeSet<usize>> {
    let mut all = BTreeSet::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last > NUMBER_MAX {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        let of = |list| numbers(list).map(|all| all.into_iter().collect::<Vec<_>>());
        assert_eq!(of("0-2, 7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(of(""), Some(vec![]));
        for wrong in ["2-1", "a", "0-9876543210", "-1"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
