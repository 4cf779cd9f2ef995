//! Which steps of a plan may be done now. Pure: it is told what happened and answers what follows.

use crate::plan::step::{Edge, Plan, Planned, Step, StepId, Until};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How far a plan has been carried out.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What each step waits for.
    after: Edges,
    /// Who waits for a step, and for what of it.
    waiting: Edges,
    /// Edges that each step still waits for.
    open: Vec<u32>,
    ready: BTreeSet<(bool, StepId)>,
    /// Begun before all others that are ready.
    urgent: Vec<bool>,
    begun: Vec<bool>,
    done: Vec<bool>,
    /// Steps whose container is ready.
    ready_now: Vec<bool>,
    /// Steps whose container has ended with 0.
    completed: Vec<bool>,
    /// Steps that wait for the end of what they did before.
    held: BTreeSet<StepId>,
}

/// Edges from each step to others, in one piece: a supervisor keeps them as long as its pod lives.
#[derive(Debug, Clone)]
struct Edges {
    /// Where each step's begin; behind the last, where they end.
    begin: Vec<u32>,
    to: Vec<(u32, Until)>,
}

impl Edges {
    /// From (from, to, until).
    fn new(count: usize, edges: impl Iterator<Item = (StepId, StepId, Until)> + Clone) -> Self {
        let mut begin = vec![0; count + 1];
        edges.clone().for_each(|(from, ..)| begin[from + 1] += 1);
        for id in 0..count {
            begin[id + 1] += begin[id];
        }
        let mut next = begin.clone();
        let mut to = vec![(0, Until::Done); begin[count] as usize];
        for (from, step, until) in edges {
            to[next[from] as usize] = (number(step), until);
            next[from] += 1;
        }
        Self { begin, to }
    }

    /// Places of a step's edges.
    fn of(&self, id: StepId) -> Range<usize> {
        self.begin[id] as usize..self.begin[id + 1] as usize
    }

    fn get(&self, at: usize) -> Edge {
        let (step, until) = self.to[at];
        Edge { step: step as StepId, until }
    }
}

/// Steps are counted in 32 bits: a plan of more would not fit into any memory.
fn number(id: usize) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX)
}

impl Progress {
    pub fn new(plan: &Plan) -> Self {
        let count = plan.steps.len();
        let edges = || {
            plan.steps
                .iter()
                .enumerate()
                .flat_map(|(id, planned)| planned.after.iter().map(move |edge| (id, *edge)))
        };
        let mut progress = Self {
            after: Edges::new(count, edges().map(|(id, edge)| (id, edge.step, edge.until))),
            waiting: Edges::new(count, edges().map(|(id, edge)| (edge.step, id, edge.until))),
            open: plan.steps.iter().map(|planned| number(planned.after.len())).collect(),
            ready: BTreeSet::new(),
            urgent: urgent(plan),
            begun: vec![false; count],
            done: vec![false; count],
            ready_now: vec![false; count],
            completed: vec![false; count],
            held: BTreeSet::new(),
        };
        (0..count).for_each(|id| progress.note_if_ready(id));
        progress
    }

    /// The step to begin next; it is not offered again.
    pub fn take_next(&mut self) -> Option<StepId> {
        let (_, id) = self.ready.pop_first()?;
        self.begun[id] = true;
        Some(id)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The step is done: what waited only for it becomes ready.
    pub fn done(&mut self, id: StepId) {
        if !std::mem::replace(&mut self.done[id], true) {
            self.release(id, Until::Done);
        }
    }

    /// The container that this step started has ended with 0.
    pub fn completed(&mut self, start: StepId) {
        if !std::mem::replace(&mut self.completed[start], true) {
            self.release(start, Until::Completed);
        }
    }

    /// The container that this step started is ready.
    pub fn became_ready(&mut self, start: StepId) {
        if !std::mem::replace(&mut self.ready_now[start], true) {
            self.release(start, Until::Ready);
        }
    }

    /// It is not any more: what waits for that, and has not begun, waits again.
    pub fn lost_readiness(&mut self, start: StepId) {
        if std::mem::replace(&mut self.ready_now[start], false) {
            self.withdraw(start, Until::Ready);
        }
    }

    /// What this step waits for.
    pub fn edges(&self, id: StepId) -> impl Iterator<Item = Edge> {
        self.after.of(id).map(|at| self.after.get(at))
    }

    /// What this step still waits for.
    pub fn open_edges(&self, id: StepId) -> impl Iterator<Item = Edge> {
        self.edges(id).filter(|edge| !self.is_satisfied(*edge))
    }

    /// Whether it waits for the end of a container, and not only for what comes before that.
    pub fn waits_for_end(&self, id: StepId) -> bool {
        self.open_edges(id).any(|edge| edge.until == Until::Completed)
    }

    fn is_satisfied(&self, edge: Edge) -> bool {
        match edge.until {
            Until::Done => self.done[edge.step],
            Until::Ready => self.ready_now[edge.step],
            Until::Completed => self.completed[edge.step],
        }
    }

    /// The step is to be done anew, and what waits for it and has not begun waits again. One that is held
    /// is not ready before `unhold`.
    pub fn reopen(&mut self, id: StepId, hold: bool) {
        if std::mem::replace(&mut self.done[id], false) {
            self.withdraw(id, Until::Done);
        }
        if std::mem::replace(&mut self.completed[id], false) {
            self.withdraw(id, Until::Completed);
        }
        self.lost_readiness(id);
        self.begun[id] = false;
        if hold {
            self.held.insert(id);
        } else {
            // It may have been held for its policy's restart, which does not come any more.
            self.held.remove(&id);
        }
        self.note_if_ready(id);
    }

    pub fn unhold(&mut self, id: StepId) {
        if self.held.remove(&id) {
            self.note_if_ready(id);
        }
    }

    pub fn is_done(&self, id: StepId) -> bool {
        self.done[id]
    }

    /// Steps that are not done.
    pub fn undone(&self) -> impl Iterator<Item = StepId> {
        (0..self.done.len()).filter(|id| !self.done[*id])
    }

    /// Steps that will not be done, each with the step that it waits for in vain: one that starts a
    /// container which has ended, by `has_ended`.
    pub fn lost(&self, has_ended: impl Fn(StepId) -> bool) -> BTreeMap<StepId, StepId> {
        let mut lost = BTreeMap::new();
        for id in self.undone() {
            let in_vain = self.open_edges(id).find_map(|edge| match edge.step {
                needed if has_ended(needed) => Some(needed),
                needed => lost.get(&needed).copied(),
            });
            lost.extend(in_vain.map(|cause| (id, cause)));
        }
        lost
    }

    fn release(&mut self, id: StepId, what: Until) {
        for at in self.waiting.of(id) {
            let waiter = self.waiting.get(at);
            if waiter.until == what {
                self.open[waiter.step] -= 1;
                self.note_if_ready(waiter.step);
            }
        }
    }

    fn withdraw(&mut self, id: StepId, what: Until) {
        for at in self.waiting.of(id) {
            let waiter = self.waiting.get(at);
            if waiter.until == what {
                self.open[waiter.step] += 1;
                self.ready.remove(&(!self.urgent[waiter.step], waiter.step));
            }
        }
    }

    fn note_if_ready(&mut self, id: StepId) {
        if self.open[id] == 0 && !self.begun[id] && !self.held.contains(&id) {
            self.ready.insert((!self.urgent[id], id));
        }
    }
}

/// Steps that another process carries out, and what these wait for: begun first, they use the other cores meanwhile. Not
/// containers that wait for what others' programs do: the network of those that do not is more urgent, and they have time.
fn urgent(plan: &Plan) -> Vec<bool> {
    let is_create = |planned: &Planned| matches!(planned.step, Step::CreateContainer(_));
    let is_start = |planned: &Planned| matches!(planned.step, Step::StartContainer { .. });
    let runs_beside =
        |planned: &Planned| is_create(planned) || matches!(planned.step, Step::StartInfra(_));
    let mut urgent: Vec<bool> = plan.steps.iter().map(runs_beside).collect();
    let waits = |edge: &Edge| edge.until != Until::Done && is_start(&plan.steps[edge.step]);
    for start in plan.steps.iter().filter(|planned| is_start(planned)) {
        if start.after.iter().any(waits) {
            let creates = start.after.iter().filter(|edge| is_create(&plan.steps[edge.step]));
            creates.for_each(|edge| urgent[edge.step] = false);
        }
    }
    // Edges point backwards: from the last step on, whatever an urgent step waits for is as urgent.
    for (id, planned) in plan.steps.iter().enumerate().rev() {
        if urgent[id] {
            planned.after.iter().for_each(|edge| urgent[edge.step] = true);
        }
    }
    urgent
}

#[cfg(test)]
mod tests {
    use super::*;
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
        Plan {
            id: crate::names::PodId::new("/run".as_ref(), &pod),
            pod,
            steps,
            seccomp: Vec::new(),
            exit_policy: Default::default(),
            stop_timeout: None,
        }
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
        assert_eq!(progress.undone().count(), 0);
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
        assert_eq!(progress.lost(|id| id == 0), BTreeMap::from([(1, 0), (2, 0)]));
        progress.completed(0);
        progress.completed(0);
        assert_eq!(progress.take_next(), Some(1));
        assert!(progress.lost(|id| id == 0).is_empty());
    }

    #[test]
    fn readiness_comes_and_goes() {
        let plan = plan(vec![
            (start("db"), vec![]),
            (start("web"), vec![(0, Until::Ready)]),
            (start("late"), vec![(0, Until::Ready)]),
        ]);
        let mut progress = Progress::new(&plan);
        assert_eq!(progress.take_next(), Some(0));
        progress.done(0);
        assert_eq!(progress.take_next(), None, "started is not ready");
        progress.became_ready(0);
        progress.became_ready(0);
        assert_eq!(progress.take_next(), Some(1));
        progress.lost_readiness(0);
        progress.lost_readiness(0);
        assert_eq!(progress.take_next(), None, "late has not begun, and waits again");
        assert_eq!(progress.open_edges(2).next(), Some(Edge { step: 0, until: Until::Ready }));
        assert_eq!(progress.lost(|id| id == 0), BTreeMap::from([(1, 0), (2, 0)]));
        progress.became_ready(0);
        assert_eq!(progress.take_next(), Some(2));
    }

    #[test]
    fn what_is_done_anew_is_waited_for_anew() {
        let plan = plan(vec![
            (start("db"), vec![]),
            (start("web"), vec![(0, Until::Done)]),
            (start("late"), vec![(0, Until::Done), (1, Until::Completed)]),
        ]);
        let mut progress = Progress::new(&plan);
        for id in [0, 1] {
            assert_eq!(progress.take_next(), Some(id));
            progress.done(id);
        }
        progress.reopen(0, true);
        progress.reopen(1, false);
        assert_eq!(progress.take_next(), None, "db is held, web waits for it");
        progress.unhold(0);
        assert_eq!(progress.take_next(), Some(0));
        progress.completed(1);
        assert_eq!(progress.take_next(), None, "late waits for db, too");
        progress.done(0);
        assert_eq!((progress.take_next(), progress.take_next()), (Some(1), Some(2)));
    }
}
