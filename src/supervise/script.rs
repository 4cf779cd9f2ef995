//! The steps of a pod's plan. A start needs all of them at once; a pod at rest needs one now and then, when
//! a container starts again and at the end. So what grows with the number of containers is put away then
//! and read back from the journal, where it has been since before the first step: by the descriptor that
//! we hold, and only as it was written, for what a container is started with must be what was planned.

use crate::exec::undo::{Remains, remains};
use crate::plan::step::{Plan, Step, StepId};
use crate::state::StateError;
use crate::state::journal::{Excerpt, Journal, excerpts};
use std::cell::RefCell;
use std::rc::Rc;

/// The steps, by their numbers in the plan.
#[derive(Debug)]
pub(super) struct Script {
    /// Without its steps.
    pub(super) plan: Plan,
    steps: Vec<Kept>,
    /// The journal's first line, until steps are put away.
    header: Vec<u8>,
    /// What was read back last: whoever starts a container again asks for it more than once.
    last: RefCell<Option<(StepId, Rc<Step>)>>,
}

#[derive(Debug)]
enum Kept {
    Here(Rc<Step>),
    Away {
        excerpt: Excerpt,
        /// Whether there is something to undo.
        leaves: bool,
    },
}

impl Script {
    /// `header`: the journal's, which has the same plan.
    pub(super) fn new(mut plan: Plan, header: Vec<u8>) -> Self {
        let mut steps = Vec::with_capacity(plan.steps.len());
        steps.extend(plan.steps.drain(..).map(|planned| Kept::Here(Rc::new(planned.step))));
        Self { plan, steps, header, last: RefCell::default() }
    }

    pub(super) fn step(&self, id: StepId, journal: &Journal) -> Result<Rc<Step>, StateError> {
        match &self.steps[id] {
            Kept::Here(step) => Ok(step.clone()),
            Kept::Away { excerpt, .. } => {
                if let Some((_, step)) = self.last.borrow().as_ref().filter(|last| last.0 == id) {
                    return Ok(step.clone());
                }
                let step = Rc::new(journal.read_back(excerpt)?.step);
                self.last.replace(Some((id, step.clone())));
                Ok(step)
            }
        }
    }

    /// The steps that are here, with their numbers: of a pod at rest, those that `stays` names.
    pub(super) fn here(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.steps.iter().enumerate().filter_map(|(id, kept)| match kept {
            Kept::Here(step) => Some((id, &**step)),
            Kept::Away { .. } => None,
        })
    }

    /// What these steps have left, the newest last, and of which that could not be told.
    pub(super) fn remains(
        &self,
        begun: &[StepId],
        journal: &Journal,
    ) -> (Remains, Vec<StateError>) {
        let (mut remains, mut errors) = (Remains::default(), Vec::new());
        for id in begun.iter().rev() {
            match self.steps.get(*id) {
                None | Some(Kept::Away { leaves: false, .. }) => {}
                Some(_) => match self.step(*id, journal) {
                    Ok(step) => remains.of(&step),
                    Err(error) => errors.push(error),
                },
            }
        }
        (remains, errors)
    }

    /// Puts away what is not needed at rest; whether it was there until now.
    pub(super) fn put_away(&mut self, is_done: impl Fn(StepId) -> bool) -> bool {
        self.last.take();
        let header = std::mem::take(&mut self.header);
        // We have read it as a whole before.
        let Ok(excerpts) = excerpts(&header) else { return false };
        let mut is_connected = false;
        for (id, (kept, excerpt)) in self.steps.iter_mut().zip(excerpts).enumerate() {
            if let Kept::Here(step) = kept
                && !stays(step, &mut is_connected, is_done(id))
            {
                let leaves = !remains([&**step].into_iter()).is_nothing();
                *kept = Kept::Away { excerpt, leaves };
            }
        }
        true
    }

    /// Allocates what it keeps anew.
    pub(super) fn relocate(&mut self) {
        self.plan = self.plan.clone();
        let mut steps = Vec::with_capacity(self.steps.len());
        steps.extend(self.steps.drain(..).map(|kept| match kept {
            Kept::Here(step) => Kept::Here(Rc::new((*step).clone())),
            away => away,
        }));
        self.steps = steps;
    }
}

/// What is looked for among all steps while the pod runs: its limits, whom its probes ask, and what the firewall has of
/// it, which one connection shows.
fn stays(step: &Step, is_connected: &mut bool, is_done: bool) -> bool {
    match step {
        Step::MakeCgroup { .. } | Step::Publish { .. } => true,
        // Each check needs it, and may come every second.
        Step::CreateContainer(launch) => !launch.health.is_nothing(),
        Step::Connect(_) => !std::mem::replace(is_connected, true) || !is_done,
        // The network's lock is held for it.
        Step::MakeNetwork(_)
        | Step::TakeIds { .. }
        | Step::TakeAddress { .. }
        | Step::ReservePorts { .. } => !is_done,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::Planned;
    use crate::state::journal::Header;
    use serde_json::value::RawValue;
    use std::collections::BTreeMap;
    use std::io::{Seek, SeekFrom, Write};
    use std::path::PathBuf;

    fn plan() -> Plan {
        let pod = "shop".parse().unwrap();
        let text = "127.0.0.1 localhost \"ä\"\n".to_owned();
        let steps = [
            Step::Publish { forwards: Vec::new() },
            Step::WriteFiles { files: BTreeMap::from([(PathBuf::from("/x/hosts"), text)]) },
            Step::StartContainer { container: "web".parse().unwrap() },
        ];
        let steps = steps.map(|step| Planned { step, after: Vec::new(), why: "so".to_owned() });
        let id = crate::names::PodId::new("/run".as_ref(), &pod);
        Plan {
            id,
            pod,
            steps: steps.into(),
            exit_policy: Default::default(),
            stop_timeout: None,
            seccomp: Vec::new(),
        }
    }

    #[test]
    fn what_was_put_away_comes_back_as_it_was_and_never_otherwise() {
        let path = std::env::temp_dir().join(format!("podspec-script-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let header = Header {
            boot: "now".into(),
            plan: plan(),
            spec: RawValue::NULL.to_owned(),
            phases: Vec::new(),
        };
        let header = serde_json::to_vec(&header).unwrap();
        let mut journal = Journal::create(&path, &header).unwrap();
        let mut script = Script::new(plan(), header.clone());
        script.put_away(|_| true);
        assert!(matches!(script.steps[1], Kept::Away { .. }), "{:?}", script.steps[1]);
        script.put_away(|_| true);
        journal.begin(0).unwrap();
        for (id, planned) in plan().steps.into_iter().enumerate() {
            assert_eq!(*script.step(id, &journal).unwrap(), planned.step);
        }
        assert_eq!(script.here().map(|(id, _)| id).collect::<Vec<_>>(), [0]);
        // Still JSON of the same length, and not what was planned.
        let at = header.windows(9).position(|bytes| bytes == b"localhost").unwrap();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(b"evil.host").unwrap();
        let error = script.step(1, &journal).unwrap_err();
        assert!(matches!(error, StateError::Altered { .. }), "{error:?}");
        std::fs::remove_file(path).unwrap();
    }
}
