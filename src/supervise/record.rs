//! What `ps` and `inspect` are told of a pod: kept in step with the units, written when something has
//! changed. While a pod starts much changes at once, and it is written at most every 20 ms.

use super::pod::{Pod, Stage};
use super::protocol::Event;
use super::unit::{Phase, Unit};
use crate::state::record::{ContainerRecord, ContainerStatus, PodStatus, Process};
use crate::sys::process::start_time;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How late the record may be while the pod starts or stops.
const LAG: Duration = Duration::from_millis(20);

/// A live process as it is recorded.
pub(super) fn process(pid: i32) -> Option<Process> {
    start_time(pid).ok().map(|start_time| Process { pid, start_time })
}

impl Pod<'_> {
    /// Something that is recorded has changed.
    pub(super) fn changed(&mut self) {
        let much = matches!(self.stage, Stage::Starting | Stage::Stopping);
        let lag = if much { LAG } else { Duration::ZERO };
        self.record_due.get_or_insert_with(|| Instant::now() + lag);
    }

    pub(super) fn write_record_if_due(&mut self) {
        if self.record_due.is_some_and(|due| due <= Instant::now()) {
            self.write_record();
        }
    }

    /// Writes the record; a disk that refuses costs the report, never the pod.
    pub(super) fn write_record(&mut self) {
        self.record_due = None;
        self.refresh_pod();
        for (unit, record) in self.units.iter().zip(&mut self.record.containers) {
            refresh(unit, record);
        }
        let _ = self.dir.write_record(&self.record);
    }

    fn refresh_pod(&mut self) {
        if let (None, Some(infra)) = (self.record.infra, &self.infra) {
            self.record.infra = process(infra.child.pid);
            self.record.namespaces = namespaces(infra.child.pid);
        }
        let failed = self.units.iter().any(Unit::has_failed);
        self.record.status = match self.stage {
            Stage::Starting => PodStatus::Starting,
            Stage::Stopping => PodStatus::Stopping,
            Stage::Broken | Stage::Failing(_) | Stage::Outdated(_) => PodStatus::Failed,
            Stage::Up if !self.all_ended() => PodStatus::Running,
            Stage::Up if failed => PodStatus::Failed,
            Stage::Up => PodStatus::Exited,
        };
    }

    pub(super) fn note_started(&mut self, index: usize) {
        let pid = self.units[index].created.as_ref().map(|created| created.child.pid);
        let record = &mut self.record.containers[index];
        record.pid = pid;
        record.start_time = pid.and_then(|pid| start_time(pid).ok());
        record.started_at = Some(now());
        record.finished_at = None;
        self.changed();
    }

    pub(super) fn note_finished(&mut self, index: usize) {
        self.units[index].finished = Some(Instant::now());
        let record = &mut self.record.containers[index];
        record.pid = None;
        record.start_time = None;
        record.finished_at = Some(now());
        self.changed();
    }

    /// Tells clients how a container is.
    pub(super) fn tell_container(&mut self, index: usize) {
        let unit = &self.units[index];
        let event = Event::Container {
            name: unit.name.clone(),
            status: status(unit),
            exit_code: unit.code,
            reason: unit.problem.clone(),
        };
        self.tell(&event);
        self.changed();
    }
}

fn refresh(unit: &Unit, record: &mut ContainerRecord) {
    record.status = status(unit);
    record.exit_code = unit.code;
    record.restarts = unit.restarts;
    record.reason.clone_from(&unit.problem);
}

fn status(unit: &Unit) -> ContainerStatus {
    match unit.phase {
        Phase::Waiting => ContainerStatus::Waiting,
        Phase::Creating | Phase::Created | Phase::Releasing => ContainerStatus::Created,
        Phase::Running | Phase::Emptying => ContainerStatus::Running,
        Phase::BackOff => ContainerStatus::Restarting,
        Phase::Ended if unit.has_failed() => ContainerStatus::Failed,
        Phase::Ended => ContainerStatus::Exited,
    }
}

/// Inode numbers of a process's namespaces, by their names in /proc/PID/ns.
fn namespaces(pid: i32) -> BTreeMap<String, u64> {
    ["net", "uts", "ipc", "pid"]
        .into_iter()
        .filter_map(|kind| {
            let inode = std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino();
            Some((kind.to_owned(), inode))
        })
        .collect()
}

/// RFC 3339, UTC, to the millisecond.
pub(super) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
