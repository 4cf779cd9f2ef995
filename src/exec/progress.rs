//! Which steps of a plan may be done now. Pure: it is told what happened and answers what follows.

use crate::names::ContainerName;
use crate::plan::step::{Plan, Step, StepId, Until};
use std::collections::{BTreeMap, BTreeSet};

/// How far a plan has been carried out.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Edges that each step still waits for.
    open: Vec<usize>,
    /// Who waits for a step, and for what of it.
    waiting: Vec<Vec<(StepId, Until)>>,
    ready: BTreeSet<(bool, StepId)>,
    /// Steps that run on beside others once begun, and what these wait for: begun first.
    slow: Vec<bool>,
    starts: BTreeMap<ContainerName, StepId>,
    done: Vec<bool>,
    completed: BTreeSet<StepId>,
    left: usize,
}

impl Progress {
    pub fn new(plan: &Plan) -> Self {
        let count = plan.steps.len();
        let mut progress = Self {
            open: plan.steps.iter().map(|planned| planned.after.len()).collect(),
            waiting: vec![Vec::new(); count],
            ready: BTreeSet::new(),
            slow: plan.steps.iter().map(|planned| runs_beside(&planned.step)).collect(),
            starts: BTreeMap::new(),
            done: vec![false; count],
            completed: BTreeSet::new(),
            left: count,
        };
        // Edges point backwards: from the last step on, whatever a slow step waits for is as urgent.
        for (id, planned) in plan.steps.iter().enumerate().rev() {
            if progress.slow[id] {
                planned.after.iter().for_each(|edge| progress.slow[edge.step] = true);
            }
        }
        for (id, planned) in plan.steps.iter().enumerate() {
            for edge in &planned.after {
                progress.waiting[edge.step].push((id, edge.until));
            }
            if let Step::StartContainer { container } = &planned.step {
                progress.starts.insert(container.clone(), id);
            }
            progress.note_if_ready(id);
        }
        progress
    }

    /// The step to begin next; it is not offered again.
    pub fn take_next(&mut self) -> Option<StepId> {
        self.ready.pop_first().map(|(_, id)| id)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The step is done: what waited only for it becomes ready.
    pub fn done(&mut self, id: StepId) {
        if !std::mem::replace(&mut self.done[id], true) {
            self.left -= 1;
            self.release(id, Until::Done);
        }
    }

    /// The container has ended with 0.
    pub fn completed(&mut self, container: &ContainerName) {
        if let Some(&id) = self.starts.get(container)
            && self.completed.insert(id)
        {
            self.release(id, Until::Completed);
        }
    }

    pub fn is_done(&self, id: StepId) -> bool {
        self.done[id]
    }

    /// Whether every step is done.
    pub fn is_finished(&self) -> bool {
        self.left == 0
    }

    /// Steps that are not done.
    pub fn undone(&self) -> Vec<StepId> {
        if self.is_finished() {
            return Vec::new();
        }
        (0..self.done.len()).filter(|id| !self.done[*id]).collect()
    }

    /// Steps that cannot be done any more once `container` has ended for good without completing.
    pub fn lost_with(&self, container: &ContainerName) -> BTreeSet<StepId> {
        let mut lost = BTreeSet::new();
        let Some(&start) = self.starts.get(container) else { return lost };
        let mut next: Vec<StepId> = self.waiters(start, Until::Completed).collect();
        while let Some(id) = next.pop() {
            if !self.done[id] && lost.insert(id) {
                next.extend(
                    self.waiters(id, Until::Done).chain(self.waiters(id, Until::Completed)),
                );
            }
        }
        lost
    }

    fn waiters(&self, id: StepId, what: Until) -> impl Iterator<Item = StepId> {
        self.waiting[id].iter().filter(move |(_, until)| *until == what).map(|(waiter, _)| *waiter)
    }

    fn release(&mut self, id: StepId, what: Until) {
        let waiters: Vec<StepId> = self.waiters(id, what).collect();
        for waiter in waiters {
            self.open[waiter] -= 1;
            self.note_if_ready(waiter);
        }
    }

    fn note_if_ready(&mut self, id: StepId) {
        if self.open[id] == 0 {
            self.ready.insert((!self.slow[id], id));
        }
    }
}

/// Steps that another process carries out: begun first, they use the other cores meanwhile.
fn runs_beside(step: &Step) -> bool {
    matches!(step, Step::StartInfra(_) | Step::CreateContainer(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{Edge, Planned};
    use std::path::PathBuf;

    fn plan(steps: Vec<(Step, Vec<(StepId, Until)>)>) -> Plan {
        let steps = steps
            .into_iter()
            .map(|(step, after)| Planned {
                step,
                after: after.into_iter().map(|(step, until)| Edge { step, until }).collect(),
                why: String::new(),
            })
            .collect();
        let pod = "shop".parse().unwrap();
        Plan { id: crate::names::PodId::new("/run".as_ref(), &pod), pod, steps }
    }

    fn start(name: &str) -> Step {
        Step::StartContainer { container: name.parse().unwrap() }
    }

    fn tmpfs() -> Step {
        Step::MountPodTmpfs { at: PathBuf::from("/x") }
    }

    #[test]
    fn a_step_waits_for_all_its_edges() {
        let plan = plan(vec![
            (tmpfs(), vec![]),
            (tmpfs(), vec![]),
            (start("a"), vec![(0, Until::Done), (1, Until::Done)]),
        ]);
        let mut progress = Progress::new(&plan);
        assert_eq!(
            (progress.take_next(), progress.take_next(), progress.take_next()),
            (Some(0), Some(1), None)
        );
        progress.done(1);
        assert_eq!(progress.take_next(), None);
        progress.done(0);
        progress.done(0);
        assert_eq!(progress.take_next(), Some(2));
        progress.done(2);
        assert!(progress.is_finished());
    }

    #[test]
    fn completed_is_more_than_done_and_its_loss_is_passed_on() {
        let plan = plan(vec![
            (start("migrate"), vec![]),
            (start("web"), vec![(0, Until::Completed)]),
            (start("proxy"), vec![(1, Until::Done)]),
        ]);
        let mut progress = Progress::new(&plan);
        assert_eq!(progress.take_next(), Some(0));
        progress.done(0);
        assert_eq!(progress.take_next(), None);
        let migrate = "migrate".parse().unwrap();
        assert_eq!(progress.lost_with(&migrate), BTreeSet::from([1, 2]));
        progress.completed(&migrate);
        progress.completed(&migrate);
        assert_eq!(progress.take_next(), Some(1));
    }
}
