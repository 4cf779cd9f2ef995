//! The life of a pod and of its containers as a machine of states. Pure: it is told what happened and when,
//! and says what is to be done; the supervisor does it. `docs/states.md` has every state and what follows
//! it, and the tests hold the two together.

use super::restart::{self, Next};
use super::shutdown::Order;
use crate::exec::progress::Progress;
use crate::names::ContainerName;
use crate::plan::step::{ExitPolicy, Launch, Plan, Restart, Role, Step, StepId};
use crate::state::record::{ContainerStatus, PodStatus};
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
pub enum Due {
    /// It had its time to stop.
    Kill,
    /// Its back-off is over.
    Restart,
}

/// Who wants a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    User,
    /// The pod's exitPolicy.
    Policy,
    Infra,
    Down,
}

impl By {
    /// As a cause, in `ps` and `events`.
    pub fn words(self) -> &'static str {
        match self {
            Self::User => "stopped by the user",
            Self::Policy => "stopped by the pod's exitPolicy",
            Self::Infra => "stopped because infra ended",
            Self::Down => "stopped by `down`",
        }
    }
}

/// A container is to end, or has ended because it was to.
#[derive(Debug, Clone, Copy)]
struct Asked {
    by: By,
    /// It is to start again afterwards.
    again: bool,
    /// It was sent its stop signal, or SIGKILL.
    sent: bool,
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
    cause: Option<String>,
    /// Starts by its policy since a user started it.
    pub restarts: u32,
    policy: Restart,
    /// How long a stop waits before it kills: the file's, and what was asked for last.
    patience: Duration,
    grace: Duration,
    asked: Option<Asked>,
    deadline: Option<(Instant, Due)>,
    /// When the program of this run began.
    began: Option<Instant>,
    finished: Option<Instant>,
    /// Starts since the last good run, for the back-off.
    tries: u32,
    /// Its processes were sent SIGKILL, all of them.
    killed: bool,
    /// Its program has begun once.
    has_run: bool,
    /// What it waits for will not come.
    lost: bool,
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
    Down,
    /// Nobody is waited for any more.
    Hurry,
    InfraDied,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Set a process up, as the first time.
    Create(usize),
    /// Let the program begin.
    Release(usize),
    /// Send the stop signal.
    Ask(usize),
    /// Send SIGKILL to every process; why.
    Kill(usize, &'static str),
    /// Watch for the end of what outlives the first process, and end it.
    Empty(usize),
    /// It has come to this state: for the record, for `events`, for clients.
    Changed(usize, ContainerStatus),
    /// All is started that can be.
    Up,
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
#[derive(Debug)]
pub struct Life {
    pub stage: Stage,
    containers: Vec<Container>,
    progress: Progress,
    order: Order,
    exit_policy: ExitPolicy,
    /// The container that each step is of, if any.
    owners: Vec<Option<usize>>,
    /// The end of the pod's work was told.
    told_over: bool,
    /// A container of the pod's work ended by itself, and the policy has not been asked.
    ended: Option<usize>,
    hurry: bool,
    now: Instant,
    acts: Vec<Act>,
}

impl Container {
    fn new(launch: &Launch, create: StepId, start: StepId) -> Self {
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
            policy: launch.restart,
            patience: launch.stop_timeout,
            grace: launch.stop_timeout,
            asked: None,
            deadline: None,
            began: None,
            finished: None,
            tries: 0,
            killed: false,
            has_run: false,
            lost: false,
        }
    }

    /// Whether it has processes.
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Waiting | Phase::BackOff | Phase::Ended)
    }

    /// Whether it is between its creation and its program's begin.
    fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Creating | Phase::Created | Phase::Releasing)
    }

    /// Whether a run of it is over.
    pub fn has_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Whether its program has begun in this run.
    pub fn has_begun(&self) -> bool {
        self.began.is_some()
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

    fn ended_well(&self) -> bool {
        self.phase == Phase::Ended && self.asked.is_none() && !self.has_failed()
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
            _ if self.asked.is_some() => ContainerStatus::Stopping,
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

    /// A user starts it: what was before counts no more.
    fn renew(&mut self) {
        self.phase = Phase::Waiting;
        (self.asked, self.deadline, self.problem, self.cause) = (None, None, None, None);
        (self.restarts, self.tries, self.killed, self.began) = (0, 0, false, None);
        self.lost = false;
    }
}

impl Life {
    pub fn new(plan: &Plan, names: &[ContainerName], now: Instant) -> Self {
        let mut owners = vec![None; plan.steps.len()];
        let mut containers: Vec<Option<Container>> = vec![None; names.len()];
        for (id, planned) in plan.steps.iter().enumerate() {
            let place = |name: &ContainerName| names.iter().position(|known| known == name);
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
            owners,
            told_over: false,
            ended: None,
            hurry: false,
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

    /// Whether a step could be begun now.
    pub fn has_step(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Up) && self.progress.has_ready()
    }

    /// The step to begin now. One of a container is begun with that: what follows is told by an event.
    pub fn next_step(&mut self) -> Option<StepId> {
        while self.has_step() {
            let id = self.progress.take_next()?;
            let Some(index) = self.owners[id] else { return Some(id) };
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
            Event::Deaf(index) => self.kill(index, "it does not handle its stop signal as PID 1"),
            Event::Tick => self.tick(),
            Event::Stop { containers, grace } => self.stop(&containers, By::User, grace),
            Event::Start { containers } => self.start(&containers),
            Event::Restart { containers, grace } => self.restart(&containers, grace),
            Event::Down => self.down(),
            Event::Hurry => self.hurry(),
            Event::InfraDied => {
                if self.stage == Stage::Starting {
                    self.stage = Stage::Undoing;
                } else if self.stage == Stage::Up {
                    self.stage = Stage::Broken;
                    self.stop_all(By::Infra);
                }
            }
        }
        self.settle();
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
            // Started again by its policy: its turn came long ago.
            self.containers[index].phase = Phase::Releasing;
            self.acts.push(Act::Release(index));
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
        if container.asked.is_none() {
            self.progress.done(container.start);
        }
        self.changed(index);
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
        container.code = Some(code);
        container.phase = Phase::Emptying;
        container.killed = true;
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
        if ran.is_some_and(|ran| ran >= restart::GOOD_RUN) {
            container.tries = 0;
        }
        container.phase = Phase::Ended;
        match container.asked {
            Some(Asked { again: true, .. }) => {
                // Told before it waits: `events` has both ends and starts.
                self.changed(index);
                return self.renew(index);
            }
            Some(_) => {}
            None => {
                let clean =
                    ran.is_some() && container.code == Some(0) && container.problem.is_none();
                if clean {
                    self.progress.completed(container.start);
                }
                let next = restart::next(container.policy, clean, container.tries);
                let lives = matches!(stage, Stage::Starting | Stage::Up) && !container.lost;
                if let (Next::StartAfter(wait), true) = (next, lives) {
                    container.phase = Phase::BackOff;
                    container.deadline = Some((now + wait, Due::Restart));
                } else {
                    self.note_end(index);
                }
            }
        }
        self.changed(index);
    }

    fn tick(&mut self) {
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
                    (container.began, container.problem, container.killed) = (None, None, false);
                    container.cause = None;
                    self.acts.push(Act::Create(index));
                }
            }
        }
    }

    /// Marks these as to be ended; `settle` asks them in their order.
    fn stop(&mut self, containers: &[usize], by: By, grace: Option<Duration>) {
        for &index in containers {
            let container = &mut self.containers[index];
            container.grace = grace.unwrap_or(container.patience);
            match container.phase {
                Phase::Ended => {}
                Phase::Waiting | Phase::BackOff => {
                    container.phase = Phase::Ended;
                    container.deadline = None;
                    container.asked = Some(Asked { by, again: false, sent: true });
                    self.changed(index);
                }
                _ => {
                    let before = container.asked;
                    let sent = before.is_some_and(|asked| asked.sent);
                    // A user's stop stays one where the policy wants the same.
                    let by =
                        before.map(|asked| asked.by).filter(|_| by == By::Policy).unwrap_or(by);
                    container.asked = Some(Asked { by, again: false, sent });
                    if let (Some((at, Due::Kill)), Some(grace)) = (container.deadline, grace) {
                        container.deadline = Some((at.min(self.now + grace), Due::Kill));
                    }
                    if before.is_none() {
                        self.changed(index);
                    }
                }
            }
        }
    }

    fn stop_all(&mut self, by: By) {
        let all: Vec<usize> = (0..self.containers.len()).collect();
        self.stop(&all, by, None);
    }

    fn start(&mut self, containers: &[usize]) {
        if self.stage != Stage::Up && self.stage != Stage::Starting {
            return;
        }
        for &index in containers {
            let container = &mut self.containers[index];
            match (container.phase, &mut container.asked) {
                (Phase::Ended | Phase::BackOff, _) => {
                    self.reopen(index);
                    self.renew(index);
                }
                // On its way out: it comes back.
                (phase, Some(asked)) if phase != Phase::Waiting && !asked.again => {
                    asked.again = true;
                    self.reopen(index);
                }
                _ => {}
            }
        }
    }

    /// Ends those that run, and starts them all again: whoever waits for one of them waits again.
    fn restart(&mut self, containers: &[usize], grace: Option<Duration>) {
        if self.stage != Stage::Up && self.stage != Stage::Starting {
            return;
        }
        let alive = |index: &usize| self.containers[*index].is_alive();
        let (alive, others): (Vec<usize>, Vec<usize>) = containers.iter().partition(|i| alive(i));
        self.stop(&alive, By::User, grace);
        self.start(&others);
        self.start(&alive);
    }

    /// Its steps are to be done anew. While its last run is not over they are held.
    fn reopen(&mut self, index: usize) {
        let container = &self.containers[index];
        self.progress.reopen(container.create, container.is_alive());
        self.progress.reopen(container.start, false);
        self.told_over = false;
    }

    fn renew(&mut self, index: usize) {
        let container = &mut self.containers[index];
        container.renew();
        self.progress.unhold(container.create);
        self.changed(index);
    }

    fn kill(&mut self, index: usize, why: &'static str) {
        let container = &mut self.containers[index];
        if container.is_alive() {
            container.killed = true;
            container.deadline = None;
            self.acts.push(Act::Kill(index, why));
        }
    }

    fn down(&mut self) {
        if !matches!(self.stage, Stage::Stopping | Stage::Undoing) {
            self.stage = Stage::Stopping;
            self.stop_all(By::Down);
        }
    }

    fn hurry(&mut self) {
        self.down();
        self.hurry = true;
        for index in 0..self.containers.len() {
            if !self.containers[index].killed {
                self.kill(index, "the user is in a hurry");
            }
        }
    }

    fn changed(&mut self, index: usize) {
        self.acts.push(Act::Changed(index, self.containers[index].status()));
    }

    /// What follows for the others and for the pod.
    fn settle(&mut self) {
        self.give_up_the_lost();
        self.ask_the_policy();
        self.stop_those_that_may();
        if self.stage == Stage::Starting && self.is_all_started() {
            self.stage = Stage::Up;
            self.acts.push(Act::Up);
        }
        let is_over = match self.stage {
            Stage::Up => self.work_is_over(),
            Stage::Broken => self.all_ended(),
            _ => false,
        };
        if is_over && !std::mem::replace(&mut self.told_over, true) {
            let code = self.exit_code();
            let code = if self.stage == Stage::Broken { code.max(1) } else { code };
            self.acts.push(Act::Over { code });
        }
    }

    /// Ends those that wait for what will not come.
    fn give_up_the_lost(&mut self) {
        let waits = |c: &Container| matches!(c.phase, Phase::Waiting | Phase::Created) && !c.lost;
        let in_vain = |c: &Container| c.phase == Phase::Ended && !c.ended_well();
        if !matches!(self.stage, Stage::Starting | Stage::Up)
            || !self.containers.iter().any(waits)
            || !self.containers.iter().any(in_vain)
        {
            return;
        }
        let owner = |step: StepId| self.owners[step].map(|index| &self.containers[index]);
        let lost = self.progress.lost(|step| owner(step).is_some_and(|c| c.phase == Phase::Ended));
        for (step, cause) in lost {
            let (Some(index), Some(cause)) = (self.owners[step], self.owners[cause]) else {
                continue;
            };
            if !waits(&self.containers[index]) {
                continue;
            }
            let reason = in_vain_because(&self.containers[cause]);
            let container = &mut self.containers[index];
            container.problem = Some(reason);
            container.lost = true;
            if container.phase == Phase::Created {
                self.kill(index, "what it waits for will not come");
            } else {
                container.phase = Phase::Ended;
                self.changed(index);
                self.note_end(index);
            }
        }
    }

    fn note_end(&mut self, index: usize) {
        let container = &self.containers[index];
        // One that was lost with another must not hide that one's end.
        if container.role == Role::Main && !(container.lost && self.ended.is_some()) {
            self.ended = Some(index);
        }
    }

    fn ask_the_policy(&mut self) {
        let Some(index) = self.ended.take() else { return };
        // One that waited in vain has not ended: what it waited for has, and was judged.
        let (it, is_over) = (&self.containers[index], self.work_is_over());
        let stops = match self.exit_policy {
            ExitPolicy::Continue => false,
            ExitPolicy::Stop => is_over,
            ExitPolicy::StopOnFailure => is_over || it.has_failed() && !it.lost,
            ExitPolicy::StopOnExit => is_over || !it.lost,
        };
        if stops && matches!(self.stage, Stage::Starting | Stage::Up) {
            self.stop_all(By::Policy);
        }
    }

    fn stop_those_that_may(&mut self) {
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            let Some(asked) = container.asked.filter(|asked| !asked.sent) else { continue };
            let in_the_way = |other: usize| {
                let other = &self.containers[other];
                other.is_alive() && other.asked.is_some()
            };
            if !container.is_alive() || !self.order.may_stop(index, in_the_way) {
                continue;
            }
            let container = &mut self.containers[index];
            container.asked = Some(Asked { sent: true, ..asked });
            match container.phase {
                Phase::Emptying => {}
                Phase::Running if !container.grace.is_zero() && !self.hurry => {
                    container.deadline = Some((self.now + container.grace, Due::Kill));
                    self.acts.push(Act::Ask(index));
                }
                Phase::Running => self.kill(index, "it was given no time to stop"),
                _ => self.kill(index, "its program has not begun"),
            }
        }
    }

    fn is_all_started(&self) -> bool {
        let settled = |c: &Container| !c.is_starting() && c.phase != Phase::Waiting;
        self.containers.iter().all(settled)
            && self.progress.undone().all(|step| self.owners[step].is_some())
    }

    /// Whether every container that the pod is there for has ended and will not start by itself.
    fn work_is_over(&self) -> bool {
        let mut work = self.containers.iter().filter(|c| c.role == Role::Main);
        work.all(|c| c.phase == Phase::Ended)
    }

    fn all_ended(&self) -> bool {
        self.containers.iter().all(|c| c.phase == Phase::Ended)
    }

    /// Of the first container that failed for good, in time; else 0.
    pub fn exit_code(&self) -> i32 {
        let failed = self.containers.iter().filter(|container| container.has_failed());
        failed
            // What never started comes after what kept it from starting.
            .min_by_key(|c| (c.finished.is_none(), c.finished))
            .map_or(0, |c| c.code.filter(|code| *code != 0).unwrap_or(1))
    }

    /// What `ps` says of the pod; the second table in docs/states.md.
    pub fn status(&self) -> PodStatus {
        let by_user = |c: &Container| c.phase == Phase::Ended && c.asked_by() == Some(By::User);
        match self.stage {
            Stage::Starting => PodStatus::Starting,
            Stage::Stopping => PodStatus::Stopping,
            Stage::Broken | Stage::Undoing => PodStatus::Failed,
            Stage::Up if !self.work_is_over() => PodStatus::Running,
            Stage::Up if self.containers.iter().any(by_user) => PodStatus::Stopped,
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
        self.containers.iter().filter_map(|c| c.deadline.map(|(at, _)| at)).min()
    }

    pub fn has_reached(&self, goal: &Goal) -> bool {
        let all = |of: &[usize], test: &dyn Fn(&Container) -> bool| {
            of.iter().all(|index| test(&self.containers[*index]))
        };
        match goal {
            Goal::Up => self.stage != Stage::Starting,
            Goal::Ended(of) => all(of, &|c| c.phase == Phase::Ended),
            Goal::Started(of) => all(of, &|c| match c.phase {
                Phase::Running | Phase::Emptying => c.asked.is_none_or(|asked| !asked.again),
                Phase::BackOff | Phase::Ended => true,
                _ => false,
            }),
        }
    }
}

/// Why whatever waited for this container waits for ever.
fn in_vain_because(cause: &Container) -> String {
    let name = &cause.name;
    match (&cause.problem, cause.code) {
        (Some(problem), _) if cause.lost => problem.clone(),
        (Some(problem), _) => format!("`{name}` did not complete: {problem}"),
        _ if cause.asked.is_some() => format!("`{name}` was stopped"),
        (None, Some(code)) => match &cause.cause {
            Some(why) => format!("`{name}` did not complete: {why}"),
            None => format!("`{name}` did not complete: exit code {code}"),
        },
        (None, None) => format!("`{name}` did not complete"),
    }
}

#[cfg(test)]
mod tests;
