//! Why a container is as it is, in words for `ps`, `events` and errors.

use super::container::Phase;
use super::{Life, Task};
use crate::plan::step::Until;
use std::time::Instant;

impl Life {
    /// What it waits for, why it is not ready, or why it ended; none: there is nothing to say.
    pub fn reason(&self, index: usize, now: Instant) -> Option<String> {
        let container = self.container(index);
        match container.phase {
            Phase::Waiting | Phase::Created if container.problem.is_none() => {
                let waits = self.needs(index, now);
                if waits.is_empty() {
                    container.reason()
                } else {
                    Some(format!("for {}", waits.join(", ")))
                }
            }
            Phase::Running if container.asked.is_none() && container.problem.is_none() => {
                container.vitals.words(now).map(|words| match container.is_starting() {
                    true => words,
                    false => format!("not ready ({words})"),
                })
            }
            _ => container.reason(),
        }
    }

    /// Whether a check waits for what it looks for.
    pub fn waits(&self, index: usize, task: Task) -> bool {
        self.container(index).vitals.waits(task)
    }

    /// How its readiness stands: what was asked how often, and since when.
    pub fn health(&self, index: usize, now: Instant) -> Option<String> {
        let vitals = &self.container(index).vitals;
        vitals.words(now).or_else(|| vitals.good_words(now))
    }

    /// `db to be ready (tcp 5432: refused, 14 tries, 1.2 s)`, of each container that it waits for.
    fn needs(&self, index: usize, now: Instant) -> Vec<String> {
        let container = self.container(index);
        let edges = [container.create, container.start]
            .into_iter()
            .flat_map(|step| self.progress.open_edges(step));
        let mut waits = Vec::new();
        for edge in edges {
            let Some(needed) = self.owner(edge.step).filter(|needed| *needed != index) else {
                continue;
            };
            let needed = self.container(needed);
            let name = &needed.name;
            let words = match edge.until {
                Until::Done => format!("{name} to start"),
                Until::Completed => format!("{name} to complete"),
                Until::Ready => match needed.vitals.words(now) {
                    Some(words) => format!("{name} to be ready ({words})"),
                    None => format!("{name} to be ready ({})", needed.status().word()),
                },
            };
            if !waits.contains(&words) {
                waits.push(words);
            }
        }
        waits
    }
}
