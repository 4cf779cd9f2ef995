//! The life of a pod and of its containers as a machine of states. Pure: it is told what happened and when,
//! and says what is to be done; the supervisor does it. `docs/states.md` has every state and what follows
//! it, and the tests hold the two together.

mod cause;
mod container;
mod ending;
mod gauge;
mod health;
mod settle;
mod words;

pub use container::{By, Container, Phase};
pub use gauge::{Answer, seconds};
pub use health::Task;

use super::restart::{self, Next};
use super::shutdown::Order;
use crate::exec::progress::Progress;
use crate::names::ContainerName;
use crate::plan::step::{ExitPolicy, Plan, Step, StepId};
use crate::state::record::{ContainerStatus, PodStatus};
use container::{Asked, Due, SetOff};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Where the pod is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Starting,
    /// All is started that can be.
    Up,
    /// Infra died: containers are ended; then the pod stays, failed.
    Broken,
    /// The pod is brought down: containers are ended, then all is undone.
    Stopping,
    /// The start failed: all is undone at once.
    Undoing,
}

/// What the machine is told. The number is a container's place in the pod.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step that is no container's is done.
    StepDone(StepId),
    /// The start failed, or the machine changed under it.
    StartFailed,
    /// Its process is set up, and waits for its start.
    Ready(usize),
    /// Its program runs.
    Runs(usize),
    /// It could not be set up, or its program could not begin.
    Failed(usize, String),
    /// Why its first process is about to be told ended.
    Because(usize, String),
    /// Its first process ended.
    Ended(usize, i32),
    /// None of its processes is left.
    Emptied(usize),
    /// A check or a hook has come to this.
    Told(usize, Task, Answer),
    /// Its program says that it is not ready any more; in which words.
    Revoked(usize, &'static str),
    /// As PID 1 it cannot hear its stop signal, or there is nobody to hear it.
    Deaf(usize),
    /// Time has passed.
    Tick,
    Stop {
        containers: Vec<usize>,
        /// None: what the file says.
        grace: Option<Duration>,
    },
    Start {
        containers: Vec<usize>,
    },
    Restart {
        containers: Vec<usize>,
        grace: Option<Duration>,
    },
    /// The pod is to be brought down; why.
    Down(&'static str),
    /// Nobody is waited for any more.
    Hurry,
    /// In which words.
    InfraDied(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Set a process up, as the first time.
    Create(usize),
    /// Send the stop signal.
    Ask(usize),
    /// Send SIGKILL to every process; why.
    Kill(usize, &'static str),
    /// Watch for the end of what outlives the first process, and end it.
    Empty(usize),
    /// Begin a check or a hook; answered by [`Event::Told`], at once or later.
    Begin(usize, Task),
    /// End it, if it has not: its answer is not waited for.
    Cancel(usize, Task),
    /// One with a probe is ready now, or is not any more.
    Readiness(usize, bool),
    /// It has come to this state, and why: for the record, for `events`, for clients.
    Changed(usize, ContainerStatus, String),
    /// All is started that can be.
    Up,
    /// All is ready that is to run, and what was to end well has.
    AllReady,
    /// No container that the pod is there for runs or will start again by itself.
    Over {
        /// Of the first container that failed for good, else 0.
        code: i32,
    },
}

/// What a client waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// These run, or have shown that they do not.
    Started(Vec<usize>),
    /// These have ended.
    Ended(Vec<usize>),
    Up,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Life {
    pub stage: Stage,
    containers: Vec<Container>,
    progress: Progress,
    order: Order,
    exit_policy: ExitPolicy,
    /// Whom the restart of a container restarts.
    followers: BTreeMap<usize, Vec<usize>>,
    /// The container that each step is of, if any.
    owners: Vec<Option<u32>>,
    /// The end of the pod's work was told.
    told_over: bool,
    told_ready: bool,
    /// A container of the pod's work ended by itself, and the policy has not been asked.
    ended: Option<usize>,
    hurry: bool,
    /// Why all of it is to end.
    end_cause: String,
    /// The container that has changed last.
    last: Option<usize>,
    /// How long the stop of all of it takes at most, and when that is over.
    stop_timeout: Option<Duration>,
    stop_until: Option<Instant>,
    now: Instant,
    acts: Vec<Act>,
}

impl Life {
    pub fn new(plan: &Plan, names: &[ContainerName], now: Instant) -> Self {
        let mut owners = vec![None; plan.steps.len()];
        let mut containers: Vec<Option<Container>> = vec![None; names.len()];
        let places: BTreeMap<_, _> = names.iter().zip(0..).collect();
        let place = |name: &ContainerName| places.get(name).copied();
        for (id, planned) in plan.steps.iter().enumerate() {
            match &planned.step {
                Step::CreateContainer(launch) => {
                    let Some(index) = place(&launch.container) else { continue };
                    owners[id] = Some(index);
                    containers[index] = Some(Container::new(launch, id, id));
                }
                Step::StartContainer { container } => {
                    let Some(index) = place(container) else { continue };
                    owners[id] = Some(index);
                    if let Some(container) = &mut containers[index] {
                        container.start = id;
                    }
                }
                _ => {}
            }
        }
        Self {
            stage: Stage::Starting,
            containers: containers.into_iter().flatten().collect(),
            progress: Progress::new(plan),
            order: Order::new(plan, &owners),
            exit_policy: plan.exit_policy,
            owners: owners
                .iter()
                .map(|owner| owner.and_then(|owner| u32::try_from(owner).ok()))
                .collect(),
            followers: followers(plan, place),
            told_over: false,
            told_ready: false,
            ended: None,
            hurry: false,
            end_cause: String::new(),
            last: None,
            stop_timeout: plan.stop_timeout,
            stop_until: None,
            now,
            acts: Vec::new(),
        }
    }

    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    pub fn container(&self, index: usize) -> &Container {
        &self.containers[index]
    }

    pub fn index(&self, name: &ContainerName) -> Option<usize> {
        self.containers.iter().position(|container| container.name == *name)
    }

    /// The container that the step creates or starts.
    pub fn owner(&self, step: StepId) -> Option<usize> {
        self.owners.get(step).copied().flatten().map(|owner| owner as usize)
    }

    /// Whether a step could be begun now.
    pub fn has_step(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Up) && self.progress.has_ready()
    }

    /// The step to begin now. One of a container is begun with that: what follows is told by an event.
    pub fn next_step(&mut self) -> Option<StepId> {
        while self.has_step() {
            let id = self.progress.take_next()?;
            let Some(index) = self.owner(id) else { return Some(id) };
            let container = &mut self.containers[index];
            // One that was stopped meanwhile has steps that nobody wants.
            let (from, to) = if id == container.create {
                (Phase::Waiting, Phase::Creating)
            } else {
                (Phase::Created, Phase::Releasing)
            };
            if container.phase == from && container.asked.is_none() {
                container.phase = to;
                return Some(id);
            }
        }
        None
    }

    /// Whether a failure of this container undoes the whole start.
    pub fn is_first_start(&self, index: usize) -> bool {
        let container = &self.containers[index];
        self.stage == Stage::Starting && container.asked.is_none() && !container.has_run
    }

    pub fn is_done(&self, step: StepId) -> bool {
        self.progress.is_done(step)
    }

    /// Takes in what happened: what is to be done about it, in that order.
    pub fn hear(&mut self, event: Event, now: Instant) -> Vec<Act> {
        self.now = now;
        match event {
            Event::StepDone(id) => self.progress.done(id),
            Event::StartFailed => self.stage = Stage::Undoing,
            Event::Ready(index) => self.ready(index),
            Event::Runs(index) => self.runs(index),
            Event::Failed(index, problem) => drop(self.containers[index].problem.replace(problem)),
            Event::Because(index, cause) => drop(self.containers[index].cause.replace(cause)),
            Event::Ended(index, code) => self.first_process_ended(index, code),
            Event::Emptied(index) => self.emptied(index),
            Event::Told(index, task, answer) => self.told(index, task, answer),
            Event::Revoked(index, why) => self.revoked(index, why),
            Event::Deaf(index) => self.kill(index, "it does not handle its stop signal as PID 1"),
            Event::Tick => self.tick(),
            Event::Stop { containers, grace } => self.stop(&containers, By::User, grace),
            Event::Start { containers } => self.start(&containers),
            Event::Restart { containers, grace } => self.restart(&containers, grace),
            Event::Down(why) => self.down(why),
            Event::Hurry => self.hurry(),
            Event::InfraDied(why) => {
                self.end_cause = why;
                if self.stage == Stage::Starting {
                    self.stage = Stage::Undoing;
                } else if self.stage == Stage::Up {
                    self.stage = Stage::Broken;
                    self.stop_all(By::Infra);
                }
            }
        }
        self.settle();
        self.tend_vitals();
        std::mem::take(&mut self.acts)
    }

    fn ready(&mut self, index: usize) {
        let container = &mut self.containers[index];
        if container.phase != Phase::Creating {
            return;
        }
        container.phase = Phase::Created;
        let (create, again) = (container.create, self.progress.is_done(container.create));
        if container.asked.is_some() {
            return;
        }
        self.changed(index);
        if again {
            // Started again by its policy: when what it depends on is there, as the first time.
            self.progress.unhold(self.containers[index].start);
        } else {
            self.progress.done(create);
        }
    }

    fn runs(&mut self, index: usize) {
        let container = &mut self.containers[index];
        if container.phase != Phase::Releasing {
            return;
        }
        container.phase = Phase::Running;
        container.began = Some(self.now);
        container.has_run = true;
        self.changed(index);
        self.begin_vitals(index);
    }

    fn first_process_ended(&mut self, index: usize, code: i32) {
        let container = &mut self.containers[index];
        if !container.is_alive() || container.phase == Phase::Emptying {
            return;
        }
        if container.began.is_none() && container.asked.is_none() {
            let died = || format!("it died while it was set up (exit code {code})");
            container.problem.get_or_insert_with(died);
        }
        // One that was stopped while it waited has run nothing that could have a code.
        if container.began.is_some() || container.asked.is_none() {
            container.code = Some(code);
        }
        container.phase = Phase::Emptying;
        container.killed = true;
        self.end_vitals(index);
        self.acts.push(Act::Empty(index));
    }

    /// A container has ended: its policy says what follows.
    fn emptied(&mut self, index: usize) {
        let (now, stage) = (self.now, self.stage);
        let container = &mut self.containers[index];
        if !container.is_alive() {
            return;
        }
        container.deadline = None;
        container.finished = Some(now);
        let ran = container.began.map(|began| now.saturating_duration_since(began));
        if container.was_good(now) {
            container.tries = 0;
        }
        container.phase = Phase::Ended;
        match container.asked {
            Some(Asked { again: true, .. }) => {
                // Told before it waits: `events` has both ends and starts.
                self.changed(index);
                self.restart_followers(index);
                return self.renew(index);
            }
            Some(_) => {}
            None => {
                let clean =
                    ran.is_some() && container.code == Some(0) && container.problem.is_none();
                if clean {
                    self.progress.completed(container.start);
                }
                let Container { policy, backoff, tries, .. } = *container;
                let next = restart::next(policy, backoff, clean, tries);
                let lives = matches!(stage, Stage::Starting | Stage::Up) && !container.lost;
                if let (Next::StartAfter(wait), true) = (next, lives) {
                    container.phase = Phase::BackOff;
                    container.deadline = Some((now + wait, Due::Restart));
                    let start = container.start;
                    self.progress.reopen(start, true);
                    self.restart_followers(index);
                } else {
                    self.note_end(index);
                }
            }
        }
        self.changed(index);
    }

    fn tick(&mut self) {
        self.end_the_stop();
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            let Some((_, due)) = container.deadline.filter(|(at, _)| *at <= self.now) else {
                continue;
            };
            container.deadline = None;
            match due {
                Due::Kill => self.kill(index, "its stop time is over"),
                Due::Restart => {
                    container.restarts += 1;
                    container.tries += 1;
                    container.phase = Phase::Creating;
                    container.set_off = SetOff::Policy;
                    (container.began, container.problem, container.killed) = (None, None, false);
                    container.vitals.ailing = false;
                    container.cause = None;
                    self.acts.push(Act::Create(index));
                }
            }
        }
    }

    fn changed(&mut self, index: usize) {
        self.last = Some(index);
        self.acts.push(Act::Changed(index, self.containers[index].status(), self.cause(index)));
    }

    /// The first container that failed for good, in time.
    fn first_failed(&self) -> Option<usize> {
        let failed =
            (0..self.containers.len()).filter(|index| self.containers[*index].has_failed());
        // What never started comes after what kept it from starting.
        failed.min_by_key(|index| {
            let finished = self.containers[*index].finished;
            (finished.is_none(), finished)
        })
    }

    /// Of the first container that failed for good, else 0; a pod without its infra has failed in any case.
    pub fn exit_code(&self) -> i32 {
        let code = |index: usize| self.containers[index].code.filter(|code| *code != 0);
        let well = i32::from(self.stage == Stage::Broken);
        self.first_failed().map_or(well, |index| code(index).unwrap_or(1))
    }

    /// What `ps` says of the pod; the second table in docs/states.md.
    pub fn status(&self) -> PodStatus {
        match self.stage {
            Stage::Starting => PodStatus::Starting,
            Stage::Stopping => PodStatus::Stopping,
            Stage::Broken | Stage::Undoing => PodStatus::Failed,
            Stage::Up if !self.work_is_over() => PodStatus::Running,
            Stage::Up if self.containers.iter().any(Container::is_stopped_by_user) => {
                PodStatus::Stopped
            }
            Stage::Up if self.containers.iter().any(Container::has_failed) => PodStatus::Failed,
            Stage::Up => PodStatus::Exited,
        }
    }

    /// Whether the pod is brought down and nothing of its containers need be waited for but the kernel's
    /// clearing away.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Stopping && self.containers.iter().all(|c| c.killed || !c.is_alive())
    }

    /// Containers that will never start, and why.
    pub fn never(&self) -> Vec<(ContainerName, String)> {
        let never = self.containers.iter().filter(|c| c.lost && c.phase == Phase::Ended);
        never.map(|c| (c.name.clone(), c.problem.clone().unwrap_or_default())).collect()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let own = |c: &Container| c.deadline.map(|(at, _)| at);
        let due = self.containers.iter().flat_map(|c| [own(c), c.vitals.deadline()]);
        due.flatten().chain(self.stop_until).min()
    }

    pub fn has_reached(&self, goal: &Goal) -> bool {
        let all = |of: &[usize], test: &dyn Fn(&Container) -> bool| {
            of.iter().all(|index| test(&self.containers[*index]))
        };
        match goal {
            Goal::Up => self.stage != Stage::Starting,
            Goal::Ended(of) => all(of, &|c| c.phase == Phase::Ended),
            Goal::Started(of) => all(of, &|c| match c.phase {
                Phase::Running | Phase::Emptying => {
                    !c.is_starting() && c.asked.is_none_or(|asked| !asked.again)
                }
                Phase::BackOff | Phase::Ended => true,
                _ => false,
            }),
        }
    }
}

/// Whom the restart of each container restarts.
fn followers(
    plan: &Plan,
    place: impl Fn(&ContainerName) -> Option<usize>,
) -> BTreeMap<usize, Vec<usize>> {
    let mut followers: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for planned in &plan.steps {
        let Step::CreateContainer(launch) = &planned.step else { continue };
        for needed in launch.health.restarts_with.iter().filter_map(&place) {
            followers.entry(needed).or_default().extend(place(&launch.container));
        }
    }
    followers
}

#[cfg(test)]
mod tests;
