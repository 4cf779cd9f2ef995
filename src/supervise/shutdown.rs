//! In which order containers are stopped. Pure: a container is stopped when nothing that runs depends on
//! it, so all stop side by side unless `dependsOn` orders them.

use crate::names::ContainerName;
use crate::plan::step::{Plan, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Who depends on whom, as the plan has it.
#[derive(Debug, Default)]
pub struct Order {
    dependents: BTreeMap<ContainerName, BTreeSet<ContainerName>>,
}

impl Order {
    pub fn new(plan: &Plan) -> Self {
        let container = |id: usize| match &plan.steps[id].step {
            Step::StartContainer { container } => Some(container),
            _ => None,
        };
        let mut order = Self::default();
        for planned in &plan.steps {
            let dependent = match &planned.step {
                Step::StartContainer { container } => container,
                Step::CreateContainer(launch) => &launch.container,
                _ => continue,
            };
            for on in planned.after.iter().filter_map(|edge| container(edge.step)) {
                order.dependents.entry(on.clone()).or_default().insert(dependent.clone());
            }
        }
        order
    }

    /// Whether `container` may be stopped while `alive` are.
    pub fn may_stop(
        &self,
        container: &ContainerName,
        alive: impl Fn(&ContainerName) -> bool,
    ) -> bool {
        self.dependents.get(container).is_none_or(|dependents| !dependents.iter().any(alive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::step::{Edge, Planned, Until};

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
            steps: vec![
                start("db", vec![]),
                start("web", vec![Edge { step: 0, until: Until::Done }]),
            ],
        };
        let order = Order::new(&plan);
        let (db, web): (ContainerName, ContainerName) =
            ("db".parse().unwrap(), "web".parse().unwrap());
        assert!(order.may_stop(&web, |_| true));
        assert!(!order.may_stop(&db, |name| *name == web));
        assert!(order.may_stop(&db, |_| false));
    }
}
