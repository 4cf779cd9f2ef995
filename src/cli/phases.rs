//! What the client does before the supervisor takes over, timed for `podspec analyze`.

use super::output;
use crate::plan::timing::{Moment, Phase, Span};
use crate::supervise::steps;

/// One after another, from the program's begin on.
#[derive(Debug)]
pub(super) struct Phases {
    list: Vec<Phase>,
    at: Moment,
}

impl Phases {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), at: steps::moment(output::begin()) }
    }

    /// What was done since the phase before.
    pub(super) fn end(&mut self, what: &str) {
        let to = steps::moment(steps::now());
        let span = Span { from: std::mem::replace(&mut self.at, to), to };
        self.list.push(Phase { what: what.to_owned(), span });
    }

    pub(super) fn list(&self) -> Vec<Phase> {
        self.list.clone()
    }

    /// For the next pod of the same file.
    pub(super) fn anew(&mut self) {
        self.list.clear();
        self.at = steps::moment(steps::now());
    }
}
