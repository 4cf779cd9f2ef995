//! Why a container or the pod has come to the state that it is in, in words: each change of state that `events`
//! has carries one. What it waits for now, and why it is not ready, is `words.rs`'s to say.

use super::super::restart;
use super::container::{Asked, By, Container, SetOff};
use super::{Life, Stage};
use crate::plan::step::{ExitPolicy, Restart, StepId, Until};
use crate::state::record::{ContainerStatus, PodStatus};
use nix::sys::signal::Signal;
use std::time::Duration;

/// So many of those that a container waited for are named.
const MOST_NAMED: usize = 5;

impl Life {
    /// Of what a container has just come to.
    pub(super) fn cause(&self, index: usize) -> String {
        use ContainerStatus::{
            Created, Exited, Failed, Restarting, Running, Stopped, Stopping, Waiting,
        };
        let container = self.container(index);
        match container.status() {
            Waiting => self.set_off(container),
            Created => self.begun(container, &[container.create]),
            Running => self.begun(container, &[container.create, container.start]),
            Stopping => self.told_to_stop(container),
            Restarting => format!("{}; {}", how_it_ended(container), again(container)),
            Exited => how_it_ended(container),
            Failed => match given_up(container) {
                Some(policy) => format!("{}; {policy}", how_it_ended(container)),
                None => how_it_ended(container),
            },
            Stopped if container.has_finished() => {
                format!("{}; {}", self.told_to_stop(container), how_it_ended(container))
            }
            Stopped => self.told_to_stop(container),
        }
    }

    /// Of a container's being ready no more, where that is no answer of its probe.
    pub fn unready_by_a_stop(&self, index: usize) -> Option<String> {
        let container = self.container(index);
        let stops = container.is_asked() || container.vitals.ailing;
        stops.then(|| self.told_to_stop(container))
    }

    /// Of what the pod has just come to. `before`: what it was.
    pub fn pod_cause(&self, before: Option<PodStatus>) -> String {
        let of = |index: usize| {
            let container = self.container(index);
            format!("{}: {}", has_come_to(container), self.cause(index))
        };
        let stopped = || self.containers.iter().position(Container::is_stopped_by_user);
        match self.status() {
            PodStatus::Starting => "asked for by `up`".to_owned(),
            PodStatus::Running if before == Some(PodStatus::Starting) => {
                "all is started that can be".to_owned()
            }
            PodStatus::Stopping => self.end_cause.clone(),
            PodStatus::Failed if self.stage != Stage::Up => self.end_cause.clone(),
            PodStatus::Failed => self.first_failed().map(of).unwrap_or_default(),
            PodStatus::Stopped => stopped().map(of).unwrap_or_default(),
            _ => self.last.map(of).unwrap_or_default(),
        }
    }

    /// The container that has changed last.
    pub fn last_changed(&self) -> Option<usize> {
        self.last
    }

    /// What set this run off, and which containers these steps waited for.
    fn begun(&self, container: &Container, steps: &[StepId]) -> String {
        let mut needs = self.waited_for(container, steps);
        if needs.is_empty() {
            return self.set_off(container);
        }
        if needs.len() > MOST_NAMED {
            let others = needs.split_off(MOST_NAMED - 1).len();
            needs.push(format!("and {others} others"));
        }
        match container.set_off {
            SetOff::Up => needs.join(", "),
            _ => format!("{}; {}", self.set_off(container), needs.join(", ")),
        }
    }

    fn set_off(&self, container: &Container) -> String {
        match container.set_off {
            SetOff::Up => "started by `up`".to_owned(),
            SetOff::Start => "started by the user".to_owned(),
            SetOff::Restart => "restarted by the user".to_owned(),
            SetOff::Dependency(needed) => {
                format!("restarted with `{}`", self.container(needed).name)
            }
            SetOff::Policy => format!("policy {}", counted(container, 0)),
        }
    }

    fn waited_for(&self, container: &Container, steps: &[StepId]) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for edge in steps.iter().flat_map(|step| self.progress.edges(*step)) {
            let needed = self.owner(edge.step).map(|index| self.container(index));
            let Some(needed) = needed.filter(|needed| needed.name != container.name) else {
                continue;
            };
            let has_come = match edge.until {
                Until::Done => "has started",
                Until::Ready => "is ready",
                Until::Completed => "has completed",
            };
            let words = format!("`{}` {has_come}", needed.name);
            if all.last() != Some(&words) {
                all.push(words);
            }
        }
        all
    }

    fn told_to_stop(&self, container: &Container) -> String {
        let Some(Asked { by, .. }) = container.asked else {
            return container.problem.clone().unwrap_or_default();
        };
        match by {
            By::User => "stopped by the user".to_owned(),
            By::Restart => "restarted by the user".to_owned(),
            By::Policy(index) => {
                let policy = policy_word(self.exit_policy);
                format!("exitPolicy {policy}: {}", has_come_to(self.container(index)))
            }
            By::Infra => self.end_cause.clone(),
            By::Down => format!("the pod is brought down: {}", self.end_cause),
            By::Dependency(needed) => format!("restarted with `{}`", self.container(needed).name),
        }
    }
}

/// `` `web` has failed ``, or `` `web` is running ``.
fn has_come_to(container: &Container) -> String {
    let status = container.status();
    let verb = match status {
        ContainerStatus::Exited | ContainerStatus::Failed => "has",
        _ => "is",
    };
    format!("`{}` {verb} {}", container.name, status.word())
}

/// As the file has it.
fn policy_word(policy: ExitPolicy) -> &'static str {
    match policy {
        ExitPolicy::Continue => "continue",
        ExitPolicy::Stop => "stop",
        ExitPolicy::StopOnFailure => "stop-on-failure",
        ExitPolicy::StopOnExit => "stop-on-exit",
    }
}

/// What ended its last run: what podspec knows of it, else its exit code.
fn how_it_ended(container: &Container) -> String {
    match (&container.problem, &container.cause, container.code) {
        (Some(problem), _, _) => problem.clone(),
        (None, Some(cause), _) => cause.clone(),
        (None, None, Some(code)) => exit_code(code),
        (None, None, None) => "it has not run".to_owned(),
    }
}

/// `exit code 3`, or `exit code 137, SIGKILL`.
fn exit_code(code: i32) -> String {
    match Signal::try_from(code - 128) {
        Ok(signal) => format!("exit code {code}, {signal}"),
        Err(_) => format!("exit code {code}"),
    }
}

/// `policy on-failure: 2 of 3 in 20 ms`.
fn again(container: &Container) -> String {
    let wait = restart::wait(container.backoff, container.tries);
    format!("policy {} in {}", counted(container, 1), milliseconds(wait))
}

/// `on-failure: 2 of 3`, or `always: 2`. `ahead`: restarts that are still to come, and count.
fn counted(container: &Container, ahead: u32) -> String {
    let number = container.tries.saturating_add(ahead);
    match container.policy {
        Restart::No => "no".to_owned(),
        Restart::Always => format!("always: {number}"),
        Restart::OnFailure { most: None } => format!("on-failure: {number}"),
        Restart::OnFailure { most: Some(most) } => format!("on-failure: {number} of {most}"),
    }
}

/// Why its policy does not start it again, where it has one that could have.
fn given_up(container: &Container) -> Option<String> {
    match container.policy {
        Restart::OnFailure { most: Some(most) } if container.tries >= most && !container.lost => {
            Some(format!("policy on-failure: {most} of {most} used up"))
        }
        _ => None,
    }
}

fn milliseconds(wait: Duration) -> String {
    match wait.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => super::gauge::seconds(wait),
    }
}
