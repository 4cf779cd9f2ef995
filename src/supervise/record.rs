//! What `ps` and `inspect` are told of a pod: kept in step with the units, written when something has
//! changed. While a pod starts much changes at once, and it is written at most every 20 ms.

use super::history::Entry;
use super::life::{Container, Stage};
use super::pod::Pod;
use super::protocol::{ContainerState, Event, Failure};
use crate::plan::step::Step;
use crate::plan::timing::Mark;
use crate::state::record::{ContainerRecord, ContainerStatus, PodStatus, Process};
use crate::sys::process::start_time;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How late the record may be while the pod starts or stops.
const LAG: Duration = Duration::from_millis(20);
/// And what is said of probes: so much, or this part of the time that they have been asked for.
const OLD: Duration = Duration::from_secs(1);
const PART: u32 = 4;

/// A live process as it is recorded.
pub(super) fn process(pid: i32) -> Option<Process> {
    start_time(pid).ok().map(|start_time| Process { pid, start_time })
}

impl Pod<'_> {
    /// Something that is recorded has changed.
    pub(super) fn changed(&mut self) {
        let much = matches!(self.life.stage, Stage::Starting | Stage::Stopping);
        let lag = if much { LAG } else { Duration::ZERO };
        self.due_within(lag);
    }

    /// Something has changed that nobody waits to read.
    pub(super) fn changed_a_little(&mut self) {
        self.due_within(OLD);
    }

    /// What is said of one that is not ready changes with each check.
    pub(super) fn note_waiting(&mut self, index: usize) {
        let container = self.life.container(index);
        if !container.is_ready() {
            let ran = container.ran(Instant::now());
            self.due_within((ran / PART).clamp(LAG, OLD));
        }
    }

    fn due_within(&mut self, lag: Duration) {
        let due = Instant::now() + lag;
        self.record_due = Some(self.record_due.map_or(due, |known| known.min(due)));
    }

    pub(super) fn write_record_if_due(&mut self) {
        let now = Instant::now();
        if self.record_due.into_iter().chain(self.record_old).any(|due| due <= now) {
            self.write_record();
        }
    }

    /// Much happens at once, and all of it is written together.
    pub(super) fn is_record_due_soon(&self) -> bool {
        self.record_due.is_some_and(|due| due <= Instant::now() + LAG)
    }

    /// Writes the record and the history, and then tells what is new in them: whoever hears that a container runs finds
    /// it running. A disk that refuses costs the report, never the pod.
    pub(super) fn write_record(&mut self) {
        self.record_due = None;
        self.refresh_pod();
        let now = Instant::now();
        // Seldomer the longer it goes on: a part of it is no news.
        let wait = self.life.youngest_wait(now);
        self.record_old = wait.map(|wait| now + (wait / PART).max(LAG));
        for (index, record) in self.record.containers.iter_mut().enumerate() {
            refresh(self.life.container(index), record);
            record.reason = self.life.reason(index, now);
        }
        let _ = self.dir.write_record(&self.record);
        self.history.write();
        self.tell_news();
    }

    fn refresh_pod(&mut self) {
        if let (None, Some(infra)) = (self.record.infra, &self.infra) {
            self.record.infra = process(infra.child.pid);
            self.record.namespaces = namespaces(infra.child.pid);
        }
        self.record.status = self.life.status();
        let is_over = !matches!(self.record.status, PodStatus::Starting | PodStatus::Running);
        self.record.exit_code = is_over.then(|| self.life.exit_code());
    }

    /// A container has come to this state: for the record, for `events`, for clients.
    pub(super) fn container_changed(
        &mut self,
        index: usize,
        status: ContainerStatus,
        cause: String,
    ) {
        use ContainerStatus::{Created, Exited, Failed, Restarting, Running, Stopped, Stopping};
        let pid = self.units[index].created.as_ref().map(|created| created.child.pid);
        let record = &mut self.record.containers[index];
        match status {
            Running => {
                record.pid = pid;
                record.start_time = pid.and_then(|pid| start_time(pid).ok());
                record.started_at = Some(now());
                record.finished_at = None;
            }
            Restarting | Exited | Failed | Stopped if record.pid.is_some() => {
                (record.pid, record.start_time) = (None, None);
                record.finished_at = Some(now());
            }
            _ => {}
        }
        if status == Exited {
            self.mark(index, Mark::Completed);
        }
        if self.life.container(index).is_alive() && status != Running {
            self.record.containers[index].status_text = None;
        }
        self.note_event(index, status.word(), cause);
        self.changed();
        // Of these a client would learn nothing.
        let is_small =
            status == Created || status == Stopping && self.life.stage == Stage::Stopping;
        if !is_small {
            let state = ContainerState { status, ..self.state(index) };
            self.news.push(Event::Container(state));
        }
    }

    /// One with a probe is ready, or is not any more.
    pub(super) fn readiness_changed(&mut self, index: usize, ready: bool) {
        let word = if ready { "ready" } else { "unready" };
        if ready {
            self.mark(index, Mark::Ready);
        }
        let stopped = if ready { None } else { self.life.unready_by_a_stop(index) };
        let cause = stopped.unwrap_or_else(|| self.life.health(index, Instant::now()));
        self.note_event(index, word, cause);
        self.changed();
        let state = self.state(index);
        self.news.push(Event::Container(state));
    }

    /// All of the pod is ready.
    pub(super) fn all_ready(&mut self) {
        if self.life.containers().iter().any(Container::is_probed) {
            self.note_status();
            let cause = "every container is ready, or has ended well".to_owned();
            self.note_of_pod("ready", cause, None);
        }
        self.write_record();
        self.end_timing();
        self.tell(&Event::Ready);
    }

    pub(super) fn state(&self, index: usize) -> ContainerState {
        let container = self.life.container(index);
        ContainerState {
            name: container.name.clone(),
            status: container.status(),
            exit_code: container.code,
            reason: self.life.reason(index, Instant::now()),
            ready: container.is_ready(),
        }
    }

    /// Writes into the pod's history what happened to a container, and why.
    pub(super) fn note_event(&mut self, index: usize, event: &str, cause: String) {
        let container = self.life.container(index);
        let has_ended = ["restarting", "exited", "failed", "stopped"].contains(&event);
        self.history.note(&Entry {
            container: Some(container.name.clone()),
            exit_code: container.code.filter(|_| has_ended),
            cause: Some(cause),
            step: self.step_of(index, event).map(|step| step.to_string()),
            ..Entry::new(&self.record.name, event)
        });
    }

    /// The step that made its process, or the one that its program's run began with.
    fn step_of(&self, index: usize, event: &str) -> Option<Rc<Step>> {
        let container = self.life.container(index);
        if ["waiting", "created"].contains(&event) {
            return self.step(container.create).ok();
        }
        // As the plan has it, which may be put away: an end of many containers is not to read it back for each.
        let container = container.name.clone();
        Some(Rc::new(Step::StartContainer { container }))
    }

    /// Writes what happened to the pod, and why: by the step of the container that has changed last.
    fn note_of_pod(&mut self, event: &str, cause: String, exit_code: Option<i32>) {
        let step = match self.life.stage {
            // Of the plan as a whole.
            Stage::Stopping => None,
            Stage::Broken => self.infra.as_ref().and_then(|it| self.step(it.step).ok()),
            _ => self.life.last_changed().and_then(|index| self.step_of(index, event)),
        };
        self.history.note(&Entry {
            exit_code,
            cause: Some(cause),
            step: step.map(|step| step.to_string()),
            ..Entry::new(&self.record.name, event)
        });
    }

    /// And what it means for the pod.
    pub(super) fn note_status(&mut self) {
        let status = self.life.status();
        let before = self.noted.replace(status);
        if before == Some(status) || self.fall.is_some() {
            return;
        }
        use PodStatus::{Exited, Failed, Stopped};
        let is_over = matches!(status, Exited | Failed | Stopped);
        let exit_code = is_over.then(|| self.life.exit_code());
        self.note_of_pod(status.word(), self.life.pod_cause(before), exit_code);
    }

    pub(super) fn note_failure(&mut self, failure: &Failure) {
        self.history.note(&Entry {
            container: failure.container.clone(),
            cause: Some(failure.causes.join(": ")),
            step: Some(failure.step.clone()),
            ..Entry::new(&self.record.name, PodStatus::Failed.word())
        });
    }

    /// The last of it.
    pub(super) fn note_down(&mut self, errors: &[String]) {
        let cause = match errors {
            [] => "all of it is undone".to_owned(),
            left => left.join("; "),
        };
        self.history.note(&Entry { cause: Some(cause), ..Entry::new(&self.record.name, "down") });
        self.history.write();
    }
}

fn refresh(container: &Container, record: &mut ContainerRecord) {
    record.status = container.status();
    record.exit_code = container.code;
    record.restarts = container.restarts;
    record.ready = container.is_ready();
}

/// Inode numbers of a process's namespaces, by their names in /proc/PID/ns.
fn namespaces(pid: i32) -> BTreeMap<String, u64> {
    ["net", "uts", "ipc", "pid", "user", "cgroup", "time"]
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
