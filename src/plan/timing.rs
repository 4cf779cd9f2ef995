//! When each step of a start was begun and done, and when containers came to what others waited for. Only
//! numbers: who reads the clock is `cli` and `supervise`, `state` keeps them, `draw` shows them.

use super::step::{StepId, Until};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Microseconds of the clock that runs evenly and alike for every process of this machine (CLOCK_MONOTONIC):
/// setting the machine's date does not move it.
pub type Moment = u64;

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: Moment,
    pub to: Moment,
}

impl Span {
    pub fn length(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// Work of the client before the first step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    pub what: String,
    pub span: Span,
}

/// What a container has come to for the first time, where that is later than its program's begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Its postStart has ended.
    Started,
    Ready,
    /// Ended with 0.
    Completed,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Completed => "completed",
        })
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Self::Started, Self::Ready, Self::Completed];
        all.into_iter().find(|mark| mark.to_string() == word).ok_or(())
    }
}

/// All that was timed of one start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    pub phases: Vec<Phase>,
    pub steps: BTreeMap<StepId, Span>,
    /// By the step that starts the container.
    pub marks: BTreeMap<(StepId, Mark), Moment>,
}

impl Times {
    /// When the user asked for the pod.
    pub fn begin(&self) -> Option<Moment> {
        let phases = self.phases.iter().map(|phase| phase.span.from);
        phases.chain(self.steps.values().map(|span| span.from)).min()
    }

    pub fn mark(&self, start: StepId, mark: Mark) -> Option<Moment> {
        self.marks.get(&(start, mark)).copied()
    }

    /// When the container that this step starts had started.
    pub fn started(&self, start: StepId) -> Option<Moment> {
        self.mark(start, Mark::Started).or_else(|| self.steps.get(&start).map(|span| span.to))
    }

    /// When a step had come to this. `probed`: that it is ready is told; else it is with its start.
    pub fn reached(&self, step: StepId, until: Until, probed: bool) -> Option<Moment> {
        match until {
            Until::Done => self.started(step),
            Until::Completed => self.mark(step, Mark::Completed),
            Until::Ready if probed => self.mark(step, Mark::Ready),
            Until::Ready => self.started(step),
        }
    }

    /// One line of the journal; what is none of ours is left alone.
    pub fn read_line(&mut self, line: &str) {
        let mut words = line.split(' ');
        let verb = words.next();
        let mut number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
        match verb {
            Some("took") => {
                let all = [words.next(), words.next(), words.next()].map(&mut number);
                if let [Some(step), Some(from), Some(to)] = all
                    && let Ok(step) = usize::try_from(step)
                {
                    self.steps.entry(step).or_insert(Span { from, to });
                }
            }
            Some("mark") => {
                let mark = words.next().and_then(|word| word.parse().ok());
                let (step, at) = (number(words.next()), number(words.next()));
                if let (Some(mark), Some(step), Some(at)) = (mark, step, at)
                    && let Ok(step) = usize::try_from(step)
                {
                    self.marks.entry((step, mark)).or_insert(at);
                }
            }
            _ => {}
        }
    }
}

/// A step's line in the journal.
pub fn took(step: StepId, span: Span) -> String {
    format!("took {step} {} {}\n", span.from, span.to)
}

/// A container's.
pub fn marked(step: StepId, mark: Mark, at: Moment) -> String {
    format!("mark {mark} {step} {at}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written_and_the_first_counts() {
        let mut times = Times::default();
        let span = Span { from: 10, to: 12 };
        let text = took(3, span)
            + &marked(3, Mark::Ready, 40)
            + &took(3, Span { from: 90, to: 99 })
            + &marked(3, Mark::Ready, 95)
            + "begin 4\nmark odd 3 5\nmark ready x 5\ntook 5 6\n";
        text.lines().for_each(|line| times.read_line(line));
        assert_eq!(times.steps, BTreeMap::from([(3, span)]));
        assert_eq!(times.marks, BTreeMap::from([((3, Mark::Ready), 40)]));
        assert_eq!(times.reached(3, Until::Ready, true), Some(40));
        assert_eq!(times.reached(3, Until::Ready, false), Some(12));
        assert_eq!(times.reached(3, Until::Completed, true), None);
    }
}
