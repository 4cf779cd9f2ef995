//! Steps as they are carried out, told to a client that asked for them; nothing is paid where none did.

use super::events::Token;
use super::life;
use super::pod::{Pod, tell};
use super::protocol::Event;
use crate::plan::step::StepId;
use std::time::Duration;

/// When each step was begun, for a client that wants to know.
#[derive(Debug)]
pub(super) struct Steps {
    begun: Vec<Option<Duration>>,
}

/// The time that every process of this machine tells alike, since some moment of its own.
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The clock never stands before its own beginning.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Steps {
    pub(super) fn new(count: usize) -> Self {
        Self { begun: vec![None; count] }
    }
}

impl Pod<'_> {
    /// A step is being done.
    pub(super) fn step_begun(&mut self, id: StepId) {
        if let Some(steps) = &mut self.steps {
            let at = now();
            steps.begun[id] = Some(at);
            self.tell_client(&Event::Step { id, at, took: None });
        }
    }

    /// A step is done: what waited only for it becomes ready.
    pub(super) fn step_done(&mut self, id: StepId) {
        self.tell_step_done(id);
        self.tell_life(life::Event::StepDone(id));
    }

    pub(super) fn tell_step_done(&mut self, id: StepId) {
        if !self.life.is_done(id)
            && let Some(begun) = self.steps.as_ref().and_then(|steps| steps.begun[id])
        {
            let at = now();
            self.tell_client(&Event::Step { id, at, took: Some(at.saturating_sub(begun)) });
        }
    }

    /// The one who handed the plan over, and knows its steps.
    fn tell_client(&mut self, event: &Event) {
        if let Some(client) = &mut self.client {
            tell(&self.events, client, Token::Client, event);
        }
    }
}
