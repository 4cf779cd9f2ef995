//! What users, policies and `down` ask of containers: to end, in which order, and to start again.

use super::container::{Asked, By, Container, Due, Phase};
use super::{Act, Life, Stage};
use std::time::Duration;

impl Life {
    /// Marks these as to be ended; `settle` asks them in their order.
    pub(super) fn stop(&mut self, containers: &[usize], by: By, grace: Option<Duration>) {
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
                    let sent = before.is_some_and(|asked| asked.sent) || container.vitals.ailing;
                    // A user's stop stays one where the policy wants the same.
                    let by = before
                        .map(|asked| asked.by)
                        .filter(|_| matches!(by, By::Policy(_)))
                        .unwrap_or(by);
                    container.asked = Some(Asked { by, again: false, sent });
                    if let (Some((at, Due::Kill)), Some(grace)) = (container.deadline, grace) {
                        container.deadline = Some((at.min(self.now + grace), Due::Kill));
                    }
                    if !container.vitals.ailing && before.is_none_or(|asked| !asked.sent) {
                        self.close_vitals(index);
                    }
                    if before.is_none() {
                        self.changed(index);
                    }
                }
            }
        }
    }

    pub(super) fn stop_all(&mut self, by: By) {
        let all: Vec<usize> = (0..self.containers.len()).collect();
        self.stop(&all, by, None);
    }

    pub(super) fn start(&mut self, containers: &[usize]) {
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
    pub(super) fn restart(&mut self, containers: &[usize], grace: Option<Duration>) {
        if self.stage != Stage::Up && self.stage != Stage::Starting {
            return;
        }
        let is_alive = |index: &usize| self.containers[*index].is_alive();
        let (mut alive, others): (Vec<usize>, Vec<usize>) =
            containers.iter().partition(|i| is_alive(i));
        // Whom it restarts stops before it.
        for index in self.all_followers(&alive) {
            if !alive.contains(&index) && is_begun(&self.containers[index]) {
                alive.push(index);
            }
        }
        self.stop(&alive, By::Restart, grace);
        self.start(&others);
        self.start(&alive);
    }

    /// It was ended and starts again: so do those whose file says that they go with it.
    pub(super) fn restart_followers(&mut self, index: usize) {
        if !matches!(self.stage, Stage::Starting | Stage::Up) {
            return;
        }
        for follower in self.followers.get(&index).cloned().into_iter().flatten() {
            let container = &mut self.containers[follower];
            if container.asked.is_some() || !is_begun(container) {
                continue;
            }
            container.grace = container.patience;
            let sent = container.vitals.ailing;
            container.asked = Some(Asked { by: By::Dependency(index), again: true, sent });
            if !sent {
                self.close_vitals(follower);
            }
            self.reopen(follower);
            self.changed(follower);
        }
    }

    /// Whom the restart of these restarts, and whom the restart of those.
    fn all_followers(&self, of: &[usize]) -> Vec<usize> {
        let mut all: Vec<usize> = Vec::new();
        let mut left = of.to_vec();
        while let Some(next) = left.pop() {
            for &follower in self.followers.get(&next).into_iter().flatten() {
                if !all.contains(&follower) {
                    all.push(follower);
                    left.push(follower);
                }
            }
        }
        all
    }

    /// Its steps are to be done anew. While its last run is not over they are held.
    pub(super) fn reopen(&mut self, index: usize) {
        let container = &self.containers[index];
        self.progress.reopen(container.create, container.is_alive());
        self.progress.reopen(container.start, false);
        self.told_over = false;
    }

    pub(super) fn renew(&mut self, index: usize) {
        let container = &mut self.containers[index];
        container.renew();
        self.progress.unhold(container.create);
        self.changed(index);
    }

    pub(super) fn kill(&mut self, index: usize, why: &'static str) {
        let container = &mut self.containers[index];
        if container.is_alive() {
            container.killed = true;
            container.deadline = None;
            self.acts.push(Act::Kill(index, why));
        }
    }

    pub(super) fn down(&mut self, why: &str) {
        if !matches!(self.stage, Stage::Stopping | Stage::Undoing) {
            why.clone_into(&mut self.end_cause);
            self.stage = Stage::Stopping;
            self.stop_all(By::Down);
        }
    }

    pub(super) fn hurry(&mut self) {
        self.down("the user is in a hurry");
        self.hurry = true;
        for index in 0..self.containers.len() {
            if !self.containers[index].killed {
                self.kill(index, "the user is in a hurry");
            }
        }
    }

    pub(super) fn stop_those_that_may(&mut self) {
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
            self.send_stop(index);
        }
    }

    /// While nothing runs but what is to end, the whole pod stops, and has its own time for it.
    pub(super) fn time_the_stop(&mut self) {
        let Some(most) = self.stop_timeout else { return };
        let mut alive = self.containers.iter().filter(|c| c.is_alive()).peekable();
        let stops = alive.peek().is_some() && alive.all(Container::is_asked);
        let now = self.now;
        self.stop_until = stops.then(|| self.stop_until.unwrap_or(now + most));
    }

    /// Ends what still runs when the pod's stop time is over, whosever turn it is.
    pub(super) fn end_the_stop(&mut self) {
        if self.stop_until.is_none_or(|until| until > self.now) {
            return;
        }
        self.stop_until = None;
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            let Some(asked) = container.asked.filter(|_| !container.killed) else { continue };
            container.asked = Some(Asked { sent: true, ..asked });
            self.kill(index, "the pod's stop time is over");
        }
    }
}

/// Whether its program has begun, or is about to.
fn is_begun(container: &Container) -> bool {
    matches!(container.phase, Phase::Releasing | Phase::Running | Phase::Emptying)
}
