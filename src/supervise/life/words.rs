//! Why a container is as it is, in words for `ps`, `events` and errors.

use super::container::{Container, Phase};
use super::gauge::seconds;
use super::{Life, Task};
use crate::plan::step::Until;
use crate::state::record::ContainerStatus;
use std::time::{Duration, Instant};

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
    pub fn health(&self, index: usize, now: Instant) -> String {
        let vitals = &self.container(index).vitals;
        let asked = vitals.words(now).or_else(|| vitals.good_words(now));
        // One that is probed and has no probe has a hook.
        asked.unwrap_or_else(|| "its postStart has ended".to_owned())
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
                Until::Done => format!("{name} to start ({})", so_far(needed, now)),
                Until::Completed => format!("{name} to complete ({})", so_far(needed, now)),
                Until::Ready => format!("{name} to be ready ({})", so_far(needed, now)),
            };
            if !waits.contains(&words) {
                waits.push(words);
            }
        }
        waits
    }

    /// How long the one that began last keeps others waiting, or is not ready: what is said of it grows old as it does.
    pub fn youngest_wait(&self, now: Instant) -> Option<Duration> {
        let waits = |c: &Container| matches!(c.phase, Phase::Waiting | Phase::Created);
        let somebody_waits = self.containers.iter().any(waits);
        let counts = |c: &&Container| {
            c.phase == Phase::Running && c.asked.is_none() && (somebody_waits || !c.is_ready())
        };
        self.containers.iter().filter(counts).map(|container| container.ran(now)).min()
    }
}

/// How far one is that others wait for.
fn so_far(needed: &Container, now: Instant) -> String {
    let is = needed.status().word();
    match needed.vitals.words(now) {
        Some(words) => words,
        None if needed.status() == ContainerStatus::Running => {
            format!("{is}, {}", seconds(needed.ran(now)))
        }
        None => is.to_owned(),
    }
}
