//! In which order containers start: what `dependsOn` asks for, else the order of the file. Finds cycles
//! and draws them whole.

use crate::names::ContainerName;
use crate::plan::error::PlanError;
use crate::spec::model::Container;
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet};

type Containers = IndexMap<ContainerName, Container>;

/// Every container after all that it depends on; of those that could come next, the first of the file.
pub(super) fn start_order(containers: &Containers) -> Result<Vec<&ContainerName>, PlanError> {
    let mut waits_for: Vec<usize> = vec![0; containers.len()];
    let mut releases: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, (name, container)) in containers.iter().enumerate() {
        for needed in container.depends_on.keys() {
            let needed_place = containers.get_index_of(needed).ok_or_else(|| {
                let place = format!("containers.{name}.dependsOn.{needed}");
                PlanError::NotDeclared { place, what: needed.to_string() }
            })?;
            waits_for[place] += 1;
            releases.entry(needed_place).or_default().push(place);
        }
    }
    let mut ready: BTreeSet<usize> = (0..containers.len()).filter(|&c| waits_for[c] == 0).collect();
    let mut order = Vec::with_capacity(containers.len());
    while let Some(place) = ready.pop_first() {
        order.extend(containers.get_index(place).map(|(name, _)| name));
        for &freed in releases.get(&place).into_iter().flatten() {
            waits_for[freed] -= 1;
            if waits_for[freed] == 0 {
                ready.insert(freed);
            }
        }
    }
    if order.len() == containers.len() { Ok(order) } else { Err(cycle(containers, &order)) }
}

/// One cycle among the containers that have found no place. Each of them waits for another one of them,
/// so following these leads back to where it has been.
fn cycle(containers: &Containers, placed: &[&ContainerName]) -> PlanError {
    let placed: BTreeSet<&ContainerName> = placed.iter().copied().collect();
    let mut path: Vec<&ContainerName> = Vec::new();
    let mut next = containers.keys().find(|name| !placed.contains(name));
    while let Some(name) = next {
        if let Some(begin) = path.iter().position(|seen| *seen == name) {
            path.drain(..begin);
            break;
        }
        path.push(name);
        next = containers[name].depends_on.keys().find(|needed| !placed.contains(needed));
    }
    PlanError::Cycle { path: path.into_iter().cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;
    use crate::spec::model::Condition;

    fn containers(edges: &[(&str, &[&str])]) -> Containers {
        let mut containers = Containers::new();
        for (name, needs) in edges {
            let mut container = sample::container();
            for needed in *needs {
                container.depends_on.insert(needed.parse().unwrap(), Condition::Started.into());
            }
            containers.insert(name.parse().unwrap(), container);
        }
        containers
    }

    fn names(edges: &[(&str, &[&str])]) -> Result<Vec<String>, PlanError> {
        let containers = containers(edges);
        Ok(start_order(&containers)?.into_iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_needed_comes_first_and_the_file_decides_the_rest() {
        let order = names(&[("c", &["b"]), ("b", &[]), ("a", &[]), ("d", &["c", "a"])]).unwrap();
        assert_eq!(order, ["b", "c", "a", "d"]);
    }

    #[test]
    fn a_cycle_is_found_without_what_merely_waits_for_it() {
        let error =
            names(&[("x", &["b"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("f", &[])]);
        let PlanError::Cycle { path } = error.unwrap_err() else { panic!("another error") };
        let path: Vec<String> = path.into_iter().map(String::from).collect();
        assert_eq!(path, ["b", "c", "a"]);
    }

    #[test]
    fn a_container_may_not_wait_for_itself() {
        let error = names(&[("a", &["a"])]).unwrap_err();
        assert!(error.to_string().contains("a -> a"), "{error}");
    }
}
