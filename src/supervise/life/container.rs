//! One container in the machine of states: where it is in its life, and what that means.

use super::health::Vitals;
use crate::names::ContainerName;
use crate::plan::step::{Backoff, Launch, Restart, Role, StepId};
use crate::state::record::ContainerStatus;
use std::time::{Duration, Instant};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its turn has not come.
    Waiting,
    /// A process sets itself up.
    Creating,
    /// The process waits for its start.
    Created,
    /// Told to start; its program does not run yet.
    Releasing,
    Running,
    /// Its first process ended, others of its cgroup have not.
    Emptying,
    /// Starts again when its wait is over.
    BackOff,
    Ended,
}

/// What is to happen at a container's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It had its time to stop.
    Kill,
    /// Its back-off is over.
    Restart,
}

/// Who wants a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    User,
    /// A user's `restart`, of this one or of one that it goes with.
    Restart,
    /// The pod's exitPolicy, for the end of this container.
    Policy(usize),
    Infra,
    Down,
    /// This container, which it depends on, is restarted.
    Dependency(usize),
}

impl By {
    pub(super) fn is_user(self) -> bool {
        matches!(self, Self::User | Self::Restart)
    }

    /// As a reason, in `ps`.
    pub fn words(self) -> &'static str {
        match self {
            Self::User | Self::Restart => "stopped by the user",
            Self::Policy(_) => "stopped by the pod's exitPolicy",
            Self::Infra => "stopped because infra ended",
            Self::Down => "the pod is brought down",
            Self::Dependency(_) => "restarted with what it depends on",
        }
    }
}

/// What set a run off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOff {
    Up,
    /// A user's `start`, or a second `up`.
    Start,
    Restart,
    Policy,
    /// The restart of this container, which it depends on.
    Dependency(usize),
}

/// A container is to end, or has ended because it was to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) by: By,
    /// It is to start again afterwards.
    pub(super) again: bool,
    /// It was sent its stop signal, or SIGKILL.
    pub(super) sent: bool,
}

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    pub name: ContainerName,
    pub role: Role,
    /// Its CreateContainer step.
    pub create: StepId,
    /// Its StartContainer step.
    pub start: StepId,
    pub phase: Phase,
    /// Of the run that ended last.
    pub code: Option<i32>,
    /// Why it can never start, or could not start again.
    pub problem: Option<String>,
    /// What ended its last run, where its exit code does not say.
    pub(super) cause: Option<String>,
    /// Starts by its policy since a user started it.
    pub restarts: u32,
    /// What asks it to end.
    pub stop_signal: i32,
    pub(super) policy: Restart,
    pub(super) backoff: Backoff,
    /// How long a stop waits before it kills: the file's, and what was asked for last.
    pub(super) patience: Duration,
    pub(super) grace: Duration,
    pub(super) asked: Option<Asked>,
    pub(super) set_off: SetOff,
    pub(super) deadline: Option<(Instant, Due)>,
    /// When the program of this run began.
    pub(super) began: Option<Instant>,
    pub(super) finished: Option<Instant>,
    /// Starts since the last good run, for the back-off.
    pub(super) tries: u32,
    /// Its processes were sent SIGKILL, all of them.
    pub(super) killed: bool,
    /// Its program has begun once.
    pub(super) has_run: bool,
    /// What it waits for will not come.
    pub(super) lost: bool,
    pub(super) vitals: Vitals,
}

impl Container {
    pub(super) fn new(launch: &Launch, create: StepId, start: StepId) -> Self {
        Self {
            name: launch.container.clone(),
            role: launch.role,
            create,
            start,
            phase: Phase::Waiting,
            code: None,
            problem: None,
            cause: None,
            restarts: 0,
            stop_signal: launch.stop_signal,
            policy: launch.restart,
            backoff: launch.backoff,
            patience: launch.stop_timeout,
            grace: launch.stop_timeout,
            asked: None,
            set_off: SetOff::Up,
            deadline: None,
            began: None,
            finished: None,
            tries: 0,
            killed: false,
            has_run: false,
            lost: false,
            vitals: Vitals::new(&launch.health),
        }
    }

    /// Whether it has processes.
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Waiting | Phase::BackOff | Phase::Ended)
    }

    /// Whether it is between its creation and its program's begin, its postStart included.
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Creating | Phase::Created | Phase::Releasing)
            || self.vitals.is_starting()
    }

    /// Whether a run of it is over.
    pub fn has_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Whether its program has begun in this run.
    pub fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    /// How long its program runs in this run.
    pub fn ran(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Whether it is to end, or ended because it was to.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether it has ended for good by itself, and not well.
    pub fn has_failed(&self) -> bool {
        self.phase == Phase::Ended
            && self.asked.is_none()
            && (self.problem.is_some() || self.code.is_some_and(|code| code != 0))
    }

    pub(super) fn ended_well(&self) -> bool {
        self.phase == Phase::Ended && self.asked.is_none() && !self.has_failed()
    }

    pub(super) fn is_stopped_by_user(&self) -> bool {
        self.phase == Phase::Ended && self.asked.is_some_and(|asked| asked.by.is_user())
    }

    /// Why it was or is to be ended.
    pub fn asked_by(&self) -> Option<By> {
        self.asked.map(|asked| asked.by)
    }

    /// What `ps` says of it; the first column of the table in docs/states.md.
    pub fn status(&self) -> ContainerStatus {
        match self.phase {
            Phase::Waiting => ContainerStatus::Waiting,
            Phase::BackOff => ContainerStatus::Restarting,
            Phase::Ended if self.asked.is_some() => ContainerStatus::Stopped,
            Phase::Ended if self.has_failed() => ContainerStatus::Failed,
            Phase::Ended => ContainerStatus::Exited,
            _ if self.asked.is_some() || self.vitals.ailing => ContainerStatus::Stopping,
            Phase::Running | Phase::Emptying if self.began.is_some() => ContainerStatus::Running,
            _ => ContainerStatus::Created,
        }
    }

    /// Why it is as it is, where that needs words.
    pub fn reason(&self) -> Option<String> {
        match (&self.problem, self.asked) {
            (Some(problem), _) => Some(problem.clone()),
            (None, Some(asked)) if asked.by != By::User => Some(asked.by.words().to_owned()),
            _ => self.cause.clone(),
        }
    }

    /// Whether it runs and its probes, where it has any, say that it is ready.
    pub fn is_ready(&self) -> bool {
        self.vitals.is_ready()
    }

    /// Whether it has a probe that says whether it is ready.
    pub fn is_probed(&self) -> bool {
        self.vitals.is_probed()
    }

    /// Whether it ran well long enough for its back-off to begin anew. One that was ended because it was ill
    /// was well as long as its liveness probe said so.
    pub(super) fn was_good(&self, now: Instant) -> bool {
        let until = if self.vitals.ailing { self.vitals.last_good() } else { Some(now) };
        let ran =
            self.began.zip(until).map(|(began, until)| until.saturating_duration_since(began));
        ran.is_some_and(|ran| ran >= self.backoff.reset_after)
    }

    /// It starts anew. Where a user wants that, what was before counts no more.
    pub(super) fn renew(&mut self) {
        self.set_off = match self.asked {
            Some(Asked { by: By::Dependency(needed), again: true, .. }) => {
                SetOff::Dependency(needed)
            }
            Some(Asked { by: By::Restart, again: true, .. }) => SetOff::Restart,
            _ => SetOff::Start,
        };
        let by_itself = matches!(self.set_off, SetOff::Dependency(_));
        let (restarts, tries) = (self.restarts, self.tries);
        self.phase = Phase::Waiting;
        (self.asked, self.deadline, self.problem, self.cause) = (None, None, None, None);
        (self.restarts, self.tries, self.killed, self.began) = (0, 0, false, None);
        self.lost = false;
        self.vitals.ailing = false;
        if by_itself {
            (self.restarts, self.tries) = (restarts, tries);
        }
    }
}
