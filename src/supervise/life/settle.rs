//! What an event means for the other containers and for the pod.

use super::container::{By, Container, Phase};
use super::{Act, Life, Stage};
use crate::plan::step::{ExitPolicy, Role, StepId};

impl Life {
    /// What follows for the others and for the pod.
    pub(super) fn settle(&mut self) {
        self.give_up_the_lost();
        self.ask_the_policy();
        self.stop_those_that_may();
        self.time_the_stop();
        if self.stage == Stage::Starting && self.is_all_started() {
            self.stage = Stage::Up;
            self.acts.push(Act::Up);
        }
        let is_ready = self.stage == Stage::Up && self.is_all_ready();
        if !std::mem::replace(&mut self.told_ready, is_ready) && is_ready {
            self.acts.push(Act::AllReady);
        }
        let is_over = match self.stage {
            Stage::Up => self.work_is_over(),
            Stage::Broken => self.all_ended(),
            _ => false,
        };
        if is_over && !std::mem::replace(&mut self.told_over, true) {
            self.acts.push(Act::Over { code: self.exit_code() });
        }
    }

    /// Ends those that wait for what will not come.
    pub(super) fn give_up_the_lost(&mut self) {
        let waits = |c: &Container| matches!(c.phase, Phase::Waiting | Phase::Created) && !c.lost;
        let has_ended = |c: &Container| c.phase == Phase::Ended;
        if !matches!(self.stage, Stage::Starting | Stage::Up)
            || !self.containers.iter().any(waits)
            || !self.containers.iter().any(has_ended)
        {
            return;
        }
        let owner = |step: StepId| self.owner(step).map(|index| &self.containers[index]);
        let lost = self.progress.lost(|step| owner(step).is_some_and(|c| c.phase == Phase::Ended));
        for (step, cause) in lost {
            let (Some(index), Some(cause)) = (self.owner(step), self.owner(cause)) else {
                continue;
            };
            if !waits(&self.containers[index]) {
                continue;
            }
            let waits_for_end = self.progress.waits_for_end(step);
            let reason = in_vain_because(&self.containers[cause], waits_for_end);
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

    pub(super) fn note_end(&mut self, index: usize) {
        let container = &self.containers[index];
        // One that was lost with another must not hide that one's end.
        if container.role == Role::Main && !(container.lost && self.ended.is_some()) {
            self.ended = Some(index);
        }
    }

    pub(super) fn ask_the_policy(&mut self) {
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
            self.stop_all(By::Policy(index));
        }
    }

    pub(super) fn is_all_started(&self) -> bool {
        let settled = |c: &Container| !c.is_starting() && c.phase != Phase::Waiting;
        self.containers.iter().all(settled)
            && self.progress.undone().all(|step| self.owner(step).is_some())
    }

    /// Whether all is ready that is to run, and what was to end well has.
    pub fn is_all_ready(&self) -> bool {
        self.stage == Stage::Up && self.containers.iter().all(|c| c.is_ready() || c.ended_well())
    }

    /// Whether every container that the pod is there for has ended and will not start by itself.
    pub(super) fn work_is_over(&self) -> bool {
        let mut work = self.containers.iter().filter(|c| c.role == Role::Main);
        work.all(|c| c.phase == Phase::Ended)
    }

    pub(super) fn all_ended(&self) -> bool {
        self.containers.iter().all(|c| c.phase == Phase::Ended)
    }
}

/// Why whatever waited for this container waits for ever. `for_its_end`: it was to complete, else to be ready
/// or to start.
fn in_vain_because(cause: &Container, for_its_end: bool) -> String {
    let name = &cause.name;
    let did_not = if for_its_end { "did not complete" } else { "is not ready" };
    match (&cause.problem, cause.code) {
        (Some(problem), _) if cause.lost => problem.clone(),
        (Some(problem), _) => format!("`{name}` {did_not}: {problem}"),
        _ if cause.asked.is_some() => format!("`{name}` was stopped"),
        (None, Some(code)) if for_its_end => match &cause.cause {
            Some(why) => format!("`{name}` {did_not}: {why}"),
            None => format!("`{name}` {did_not}: exit code {code}"),
        },
        (None, Some(code)) => format!("`{name}` {did_not}: it has ended (exit code {code})"),
        (None, None) => format!("`{name}` {did_not}"),
    }
}
