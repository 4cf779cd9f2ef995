//! Whether a container has started, is ready and is well, as its probes and hooks say; and what follows when
//! it is not.

use super::container::{Due, Phase};
use super::gauge::{Answer, Gauge, Verdict, seconds};
use super::{Act, Life};
use crate::plan::health::{Check, Health};
use std::time::Instant;

/// What podspec does beside a running container, one of each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Startup,
    Readiness,
    Liveness,
    PostStart,
    PreStop,
}

impl Task {
    pub const PROBES: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];
    pub const ALL: [Self; 5] =
        [Self::Startup, Self::Readiness, Self::Liveness, Self::PostStart, Self::PreStop];

    /// As the file and people call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Startup => "startup probe",
            Self::Readiness => "readiness probe",
            Self::Liveness => "liveness probe",
            Self::PostStart => "postStart hook",
            Self::PreStop => "preStop hook",
        }
    }

    /// What it does.
    pub fn check(self, health: &Health) -> Option<&Check> {
        match self {
            Self::Startup => health.startup.as_ref().map(|probe| &probe.check),
            Self::Readiness => health.readiness.as_ref().map(|probe| &probe.check),
            Self::Liveness => health.liveness.as_ref().map(|probe| &probe.check),
            Self::PostStart => health.post_start.as_ref(),
            Self::PreStop => health.pre_stop.as_ref(),
        }
    }
}

/// Of one container.
#[derive(Debug, Clone)]
pub(super) struct Vitals {
    /// By [`Task::PROBES`]. Most containers have none, and are many.
    gauges: [Option<Box<Gauge>>; 3],
    hooks: [Option<Box<str>>; 2],
    /// The hook that runs now, and since when.
    hook: Option<(Task, Instant)>,
    /// Its program runs and its postStart is over.
    started: bool,
    ready: bool,
    /// It is being ended because a probe or a hook failed.
    pub(super) ailing: bool,
}

impl Vitals {
    pub(super) fn new(health: &Health) -> Self {
        let gauge = |probe: &Option<_>, eager| {
            probe.clone().map(|probe| Box::new(Gauge::new(probe, eager)))
        };
        let words = |check: &Option<Check>| check.as_ref().map(|check| check.to_string().into());
        Self {
            gauges: [
                gauge(&health.startup, true),
                gauge(&health.readiness, true),
                gauge(&health.liveness, false),
            ],
            hooks: [words(&health.post_start), words(&health.pre_stop)],
            hook: None,
            started: false,
            ready: false,
            ailing: false,
        }
    }

    /// Whether its postStart runs.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.hook, Some((Task::PostStart, _)))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it is ready at another time than its program begins.
    pub(super) fn is_probed(&self) -> bool {
        self.gauges[..2].iter().any(Option::is_some) || self.hooks[0].is_some()
    }

    pub(super) fn has_pre_stop(&self) -> bool {
        self.hooks[1].is_some()
    }

    fn gauge(&mut self, task: Task) -> Option<&mut Gauge> {
        self.gauges.get_mut(task as usize)?.as_deref_mut()
    }

    fn passes(&self, task: Task) -> bool {
        self.gauges[task as usize].as_deref().is_none_or(Gauge::passes)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.gauges.iter().flatten().filter_map(|gauge| gauge.deadline()).min()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.gauges.iter().flatten().any(|gauge| gauge.is_due(now))
    }

    /// Since when it was well, where it is ended for being ill.
    pub(super) fn last_good(&self) -> Option<Instant> {
        self.gauges[Task::Liveness as usize].as_deref().and_then(Gauge::good_at)
    }

    pub(super) fn waits(&self, task: Task) -> bool {
        self.gauges.get(task as usize).and_then(Option::as_deref).is_some_and(Gauge::waits)
    }

    /// What made it ready, in words.
    pub(super) fn good_words(&self, now: Instant) -> Option<String> {
        let [startup, readiness, _] = &self.gauges;
        readiness.as_ref().or(startup.as_ref()).map(|gauge| gauge.words(now))
    }

    /// Why it is not ready, in words.
    pub(super) fn words(&self, now: Instant) -> Option<String> {
        if let Some((Task::PostStart, since)) = self.hook {
            let since = seconds(now.saturating_duration_since(since));
            return Some(format!("its postStart runs, {since}"));
        }
        let startup = self.gauges[0].as_ref().filter(|gauge| !gauge.passes());
        let readiness = self.gauges[1].as_ref().filter(|gauge| !gauge.passes());
        startup.or(readiness).filter(|gauge| gauge.is_open()).map(|gauge| gauge.words(now))
    }
}

impl Life {
    /// Its program runs now.
    pub(super) fn begin_vitals(&mut self, index: usize) {
        let now = self.now;
        let vitals = &mut self.containers[index].vitals;
        if vitals.hooks[0].is_some() {
            vitals.hook = Some((Task::PostStart, now));
            self.acts.push(Act::Begin(index, Task::PostStart));
        } else {
            self.started(index);
        }
    }

    /// And its postStart is over.
    fn started(&mut self, index: usize) {
        let container = &mut self.containers[index];
        container.vitals.started = true;
        if container.asked.is_none() {
            self.progress.done(container.start);
            self.open_gauges(index);
        }
        self.refresh_readiness(index);
    }

    /// The startup probe holds the others off.
    fn open_gauges(&mut self, index: usize) {
        let now = self.now;
        let vitals = &mut self.containers[index].vitals;
        if let Some(startup) = vitals.gauge(Task::Startup).filter(|gauge| !gauge.passes()) {
            startup.open(now);
            return;
        }
        for task in [Task::Readiness, Task::Liveness] {
            if let Some(gauge) = vitals.gauge(task) {
                gauge.open(now);
            }
        }
    }

    /// A check or a hook has come to this.
    pub(super) fn told(&mut self, index: usize, task: Task, answer: Answer) {
        let (now, crowd) = (self.now, self.crowd());
        match task {
            Task::PostStart | Task::PreStop => return self.hook_ended(index, task, answer),
            Task::Startup | Task::Readiness | Task::Liveness => {}
        }
        let vitals = &mut self.containers[index].vitals;
        let Some(gauge) = vitals.gauge(task) else { return };
        match (gauge.take(answer, now, crowd), task) {
            (Verdict::Passes, Task::Startup) => {
                // It is done for this run.
                gauge.settle();
                self.open_gauges(index);
                self.refresh_readiness(index);
            }
            (Verdict::Passes | Verdict::Fails, Task::Readiness) => self.refresh_readiness(index),
            (Verdict::Fails, Task::Startup | Task::Liveness) => {
                let why = format!("its {} failed: {}", task.words(), gauge.words(now));
                self.ail(index, why);
            }
            _ => {}
        }
    }

    fn hook_ended(&mut self, index: usize, task: Task, answer: Answer) {
        let container = &mut self.containers[index];
        if container.vitals.hook.is_none_or(|(running, _)| running != task) {
            return;
        }
        container.vitals.hook = None;
        let words = container.vitals.hooks[usize::from(task == Task::PreStop)].clone();
        match (task, answer) {
            // What a preStop has to say changes nothing: the end comes anyway.
            (Task::PreStop, _) if container.phase == Phase::Running && !container.killed => {
                self.acts.push(Act::Ask(index));
            }
            (Task::PreStop, _) => {}
            (_, Answer::Good) => self.started(index),
            (_, answer) => {
                let (words, why) = (words.unwrap_or_default(), answer.why());
                self.ail(index, format!("its postStart hook failed: {words}: {why}"));
            }
        }
    }

    /// It says itself that it is not ready any more.
    pub(super) fn revoked(&mut self, index: usize, why: &str) {
        let now = self.now;
        if let Some(gauge) = self.containers[index].vitals.gauge(Task::Readiness) {
            gauge.revoke(now, why);
        }
        self.refresh_readiness(index);
    }

    /// It is ended because it is not well, and that counts as a failure.
    fn ail(&mut self, index: usize, why: String) {
        let container = &mut self.containers[index];
        if container.asked.is_some() || container.vitals.ailing || container.phase != Phase::Running
        {
            return;
        }
        container.vitals.ailing = true;
        container.problem = Some(why);
        self.close_vitals(index);
        self.changed(index);
        self.send_stop(index);
    }

    /// Asks a container whose turn to stop it is to end, within its time.
    pub(super) fn send_stop(&mut self, index: usize) {
        let (now, hurry) = (self.now, self.hurry);
        let container = &mut self.containers[index];
        match container.phase {
            Phase::Emptying => {}
            Phase::Running if !container.grace.is_zero() && !hurry => {
                container.deadline = Some((now + container.grace, Due::Kill));
                // A postStart that has not ended has no say any more.
                self.close_vitals(index);
                let vitals = &mut self.containers[index].vitals;
                if vitals.has_pre_stop() && vitals.started {
                    vitals.hook = Some((Task::PreStop, now));
                    self.acts.push(Act::Begin(index, Task::PreStop));
                } else {
                    self.acts.push(Act::Ask(index));
                }
            }
            Phase::Running => self.kill(index, "it was given no time to stop"),
            _ => self.kill(index, "its program has not begun"),
        }
    }

    /// Nothing is asked of it any more.
    pub(super) fn close_vitals(&mut self, index: usize) {
        let vitals = &mut self.containers[index].vitals;
        for task in Task::PROBES {
            if vitals.gauge(task).is_some_and(Gauge::close) {
                self.acts.push(Act::Cancel(index, task));
            }
        }
        if let Some((task, _)) = vitals.hook.take() {
            self.acts.push(Act::Cancel(index, task));
        }
        self.refresh_readiness(index);
    }

    /// Its program has ended.
    pub(super) fn end_vitals(&mut self, index: usize) {
        self.close_vitals(index);
        self.containers[index].vitals.started = false;
        self.refresh_readiness(index);
    }

    pub(super) fn refresh_readiness(&mut self, index: usize) {
        let container = &mut self.containers[index];
        let vitals = &mut container.vitals;
        let runs = container.phase == Phase::Running && vitals.started;
        let is_ready = runs
            && container.asked.is_none()
            && !vitals.ailing
            && vitals.passes(Task::Startup)
            && vitals.passes(Task::Readiness);
        if std::mem::replace(&mut vitals.ready, is_ready) == is_ready {
            return;
        }
        let (start, tells) = (container.start, vitals.is_probed() && runs);
        if is_ready {
            self.progress.became_ready(start);
        } else {
            self.progress.lost_readiness(start);
        }
        if tells {
            self.acts.push(Act::Readiness(index, is_ready));
        }
    }

    /// Checks whose time it is begin, and those that have had their time are over.
    pub(super) fn tend_vitals(&mut self) {
        let now = self.now;
        for index in 0..self.containers.len() {
            if !self.containers[index].vitals.is_due(now) {
                continue;
            }
            for task in Task::PROBES {
                let Some(gauge) = self.containers[index].vitals.gauge(task) else { continue };
                if let Some(answer) = gauge.expired(now) {
                    self.acts.push(Act::Cancel(index, task));
                    self.told(index, task, answer);
                }
                let gauge = self.containers[index].vitals.gauge(task);
                if gauge.is_some_and(|gauge| gauge.ask(now)) {
                    self.acts.push(Act::Begin(index, task));
                }
            }
        }
    }

    /// How many probes are asked as fast as is cheap.
    fn crowd(&self) -> u32 {
        let gauges = self.containers.iter().flat_map(|c| c.vitals.gauges.iter().flatten());
        u32::try_from(gauges.filter(|gauge| gauge.is_hasty()).count()).unwrap_or(u32::MAX)
    }
}
