//! The chain that decided how long a start took, from its end backwards: whatever went on last had waited
//! for something, and that came last among all that it had waited for.

use super::{Builder, Container, Part, Spent, good, spent};
use crate::plan::step::{Role, StepId, Until};
use crate::plan::timing::{Mark, Moment};

/// What is shorter than this between two links of the chain is not told as a wait for podspec itself.
const SHORT: u64 = 300;

/// Each part begins where the one before ended.
pub(super) fn critical(builder: &Builder<'_>) -> Vec<Part> {
    let mut chain = Chain { builder, parts: Vec::new() };
    match last(builder) {
        Some(container) => chain.of_program(container),
        None => {
            let all = builder.times.steps.iter();
            if let Some((&id, _)) = all.max_by_key(|(_, span)| span.to) {
                chain.of_step(id);
            }
        }
    }
    chain.of_client();
    chain.parts.reverse();
    chain.parts.retain(|part| part.from < part.to);
    chain.parts
}

/// Whom the end of the start had to wait for: of a start that is not over, whoever others wait for.
fn last<'a, 'b>(builder: &'b Builder<'a>) -> Option<&'b Container<'a>> {
    let all = builder.containers.iter();
    let begun = |one: &&Container<'_>| builder.times.steps.contains_key(&one.start);
    if builder.is_ready {
        // Of several that came at once, the one that comes last in the file.
        return all.max_by_key(|one| good(builder.times, one));
    }
    all.filter(begun)
        .filter(|one| good(builder.times, one).is_none())
        .min_by_key(|one| builder.times.steps.get(&one.start).map(|span| span.to))
}

struct Chain<'a, 'b> {
    builder: &'b Builder<'a>,
    /// The last first.
    parts: Vec<Part>,
}

impl Chain<'_, '_> {
    fn push(&mut self, row: usize, spent: Spent, what: String, (from, to): (u64, u64)) {
        self.parts.push(Part { row, spent, what, from, to });
    }

    /// A container has come to what the pod needs of it.
    fn of_program(&mut self, container: &Container<'_>) {
        let until = match container.role {
            Role::Init => Until::Completed,
            Role::Main | Role::Sidecar => Until::Ready,
        };
        self.of_condition(container, until);
    }

    /// A container has come to what somebody waited for.
    fn of_condition(&mut self, container: &Container<'_>, until: Until) {
        let builder = self.builder;
        let end = builder.begin + builder.end;
        let times = builder.times;
        let begun = times.steps.get(&container.start).map(|span| span.to);
        let started = times.started(container.start);
        let (Some(begun), Some(started)) = (begun, started) else { return };
        let at = |moment: Moment| builder.at(moment);
        let probed = container.is_probed();
        let reached = times.reached(container.start, until, probed);
        let hooked = container.health.post_start.is_some();
        let hook_over = !hooked || times.mark(container.start, Mark::Started).is_some();
        let row = container.row;
        if until == Until::Completed {
            let span = (at(started), at(reached.unwrap_or(end)));
            self.push(row, Spent::Completion, "runs to its end".to_owned(), span);
        } else if until == Until::Ready && probed && hook_over {
            let span = (at(started), at(reached.unwrap_or(end)));
            self.push(row, Spent::Readiness, container.asked(), span);
        }
        if let Some(hook) = &container.health.post_start {
            let to = if hook_over { started } else { end };
            self.push(row, Spent::PostStart, format!("postStart: {hook}"), (at(begun), at(to)));
        }
        self.of_step(container.start);
    }

    /// A step was done.
    fn of_step(&mut self, id: StepId) {
        let builder = self.builder;
        let Some(&span) = builder.times.steps.get(&id) else { return };
        let step = &builder.plan.steps[id].step;
        let (from, to) = (builder.at(span.from), builder.at(span.to));
        self.push(builder.row_of[id], spent(step), step.to_string(), (from, to));
        let edges = builder.plan.steps[id].after.iter();
        let reached = edges.filter_map(|edge| {
            let other = builder.containers.iter().find(|one| one.start == edge.step);
            let probed = other.is_some_and(Container::is_probed);
            Some((builder.times.reached(edge.step, edge.until, probed)?, *edge))
        });
        let Some((came, edge)) = reached.max() else { return };
        let came = builder.at(came);
        if from > came + SHORT {
            let what = format!("podspec does other steps before `{step}`");
            self.push(builder.row_of[id], Spent::Queue, what, (came, from));
        } else if let Some(part) = self.parts.last_mut() {
            part.from = part.from.min(came);
        }
        match builder.containers.iter().find(|one| one.start == edge.step) {
            Some(container) => self.of_condition(container, edge.until),
            None => self.of_step(edge.step),
        }
    }

    /// Before the first step.
    fn of_client(&mut self) {
        let client = self.builder.timeline.rows.first().into_iter().flat_map(|row| &row.bars);
        let bars: Vec<_> = client.cloned().collect();
        let over = bars.iter().map(|bar| bar.to).max().unwrap_or(0);
        // The first link of the chain may be one that had to wait its turn.
        if let Some(first) = self.parts.last().cloned()
            && first.from > over + SHORT
        {
            let what = "podspec does other steps first".to_owned();
            self.push(first.row, Spent::Queue, what, (over, first.from));
        }
        for bar in bars.into_iter().rev() {
            self.push(0, bar.spent, bar.what, (bar.from, bar.to));
        }
    }
}
