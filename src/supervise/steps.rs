//! When each step was begun and done: kept in the journal for `podspec analyze`, and told to a client that
//! asked. It costs a reading of the clock a step; lines go to the journal with writes that come anyway.

use super::events::Token;
use super::life;
use super::pod::{Pod, tell};
use super::protocol::Event;
use crate::plan::step::StepId;
use crate::plan::timing::{self, Mark, Moment, Span};
use std::time::Duration;

/// Of the start: nothing is kept any more once all is ready.
#[derive(Debug)]
pub(super) struct Steps {
    /// The client wants to know of each.
    wanted: bool,
    begun: Vec<Option<Moment>>,
    /// What the journal has already, by step: its end, and each [`Mark`].
    noted: Vec<[bool; 4]>,
}

/// The time that every process of this machine tells alike, since some moment of its own.
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The clock never stands before its own beginning.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The same as the journal has it.
pub fn moment(time: Duration) -> Moment {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Steps {
    pub(super) fn new(count: usize, wanted: bool) -> Self {
        Self { wanted, begun: vec![None; count], noted: vec![[false; 4]; count] }
    }

    /// Whether this is the first time.
    fn is_news(&mut self, id: StepId, what: Option<Mark>) -> bool {
        let at = what.map_or(0, |mark| mark as usize + 1);
        self.noted.get_mut(id).is_some_and(|noted| !std::mem::replace(&mut noted[at], true))
    }
}

impl Pod<'_> {
    /// A step is being done.
    pub(super) fn step_begun(&mut self, id: StepId) {
        let Some(begun) = self.steps.begun.get_mut(id) else { return };
        let at = now();
        *begun = Some(moment(at));
        if self.steps.wanted {
            self.tell_client(&Event::Step { id, at, took: None });
        }
    }

    /// A step is done: what waited only for it becomes ready.
    pub(super) fn step_done(&mut self, id: StepId) {
        self.note_step_done(id);
        self.tell_life(life::Event::StepDone(id));
    }

    pub(super) fn note_step_done(&mut self, id: StepId) {
        let Some(from) = self.steps.begun.get(id).copied().flatten() else { return };
        let at = now();
        let span = Span { from, to: moment(at) };
        if self.steps.is_news(id, None) {
            self.journal.note(&timing::took(id, span));
        }
        if self.steps.wanted && !self.life.is_done(id) {
            let took = Some(Duration::from_micros(span.length()));
            self.tell_client(&Event::Step { id, at, took });
        }
    }

    /// A container has come to what others may wait for.
    pub(super) fn mark(&mut self, index: usize, mark: Mark) {
        let start = self.life.container(index).start;
        if self.steps.is_news(start, Some(mark)) {
            self.journal.note(&timing::marked(start, mark, moment(now())));
        }
    }

    /// All is ready: the start is over, and whatever comes now is no part of it.
    pub(super) fn end_timing(&mut self) {
        self.journal.flush();
        if !self.steps.wanted {
            self.steps = Steps::new(0, false);
        }
    }

    /// The one who handed the plan over, and knows its steps.
    fn tell_client(&mut self, event: &Event) {
        if let Some(client) = &mut self.client {
            tell(&self.events, client, Token::Client, event);
        }
    }
}
