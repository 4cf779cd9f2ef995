//! In which order containers are stopped. Pure: a container is stopped when nothing that is to stop, too,
//! depends on it, so all stop side by side unless the plan orders their starts.

use crate::plan::step::{Plan, StepId, Until};
use std::collections::{BTreeMap, BTreeSet};

/// Who depends on whom, by their places in the pod; of those on whom somebody does.
#[derive(Debug, Clone, Default)]
pub struct Order {
    dependents: BTreeMap<usize, BTreeSet<usize>>,
}

impl Order {
    /// `owners` has the container that each step of the plan is of.
    pub fn new(plan: &Plan, owners: &[Option<usize>]) -> Self {
        let count = owners.iter().flatten().max().map_or(0, |last| last + 1);
        let mut needs: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        let edges = |id: StepId| plan.steps[id].after.iter();
        for (id, owner) in owners.iter().enumerate() {
            let Some(owner) = *owner else { continue };
            for edge in edges(id) {
                let Some(needed) = owners[edge.step].filter(|needed| *needed != owner) else {
                    continue;
                };
                if edge.until == Until::Completed {
                    // It will be gone by then, and what it needed was there for us, too.
                    let its = needs[needed].clone();
                    needs[owner].extend(its);
                }
                needs[owner].insert(needed);
            }
        }
        let mut order = Self::default();
        for (owner, needs) in needs.into_iter().enumerate() {
            for needed in needs {
                order.dependents.entry(needed).or_default().insert(owner);
            }
        }
        order
    }

    /// Whether `container` may be stopped while those run for which `is_in_the_way` holds.
    pub fn may_stop(&self, container: usize, is_in_the_way: impl Fn(usize) -> bool) -> bool {
        let mut dependents = self.dependents.get(&container).into_iter().flatten();
        dependents.all(|dependent| !is_in_the_way(*dependent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{Edge, Planned, Step};

    #[test]
    fn what_others_depend_on_stops_last() {
        let start = |name: &str, after: Vec<Edge>| Planned {
            step: Step::StartContainer { container: name.parse().unwrap() },
            after,
            why: String::new(),
        };
        let pod = "shop".parse().unwrap();
        let plan = Plan {
            id: crate::names::PodId::new("/run".as_ref(), &pod),
            pod,
            seccomp: Vec::new(),
            exit_policy: Default::default(),
            stop_timeout: None,
            steps: vec![
                start("db", vec![]),
                start("migrate", vec![Edge { step: 0, until: Until::Done }]),
                start("web", vec![Edge { step: 1, until: Until::Completed }]),
            ],
        };
        let order = Order::new(&plan, &[Some(0), Some(1), Some(2)]);
        assert!(order.may_stop(2, |_| true));
        assert!(!order.may_stop(0, |other| other == 1));
        assert!(!order.may_stop(0, |other| other == 2), "migrate needed db for web");
        assert!(order.may_stop(0, |_| false));
    }
}
