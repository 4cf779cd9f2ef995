//! `dependsOn`: every name resolved, every round found.

use super::model::{Condition, Container, Dependency};
use super::problem::{Problem, did_you_mean};
use super::raw::{self, Either, RawContainer, RawPod};
use super::tree::Node;
use super::validate::{self, Checks};
use super::{init, order};
use crate::names::ContainerName;
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Resolves `dependsOn` of every container, and looks for rounds.
pub(super) fn dependencies(
    raw: &RawPod,
    node: &Node,
    restarts: &HashSet<&str>,
    checks: &mut Checks<'_>,
    result: &mut IndexMap<ContainerName, Container>,
) {
    let known = validate::known_containers(node);
    let beside = raw.init_containers.iter().flatten().filter(|(_, init)| init::is_sidecar(init));
    let nameable: Vec<&str> =
        known.iter().copied().chain(beside.map(|(name, _)| name.as_str())).collect();
    let index: IndexMap<&str, usize> =
        known.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    let mut edges: Vec<Vec<(usize, Range<usize>)>> = vec![Vec::new(); known.len()];
    for (word, container) in raw.containers.iter().flatten() {
        let place = node.get("containers").and_then(|all| all.get(word));
        let (Some(from), Some(list)) =
            (index.get(word.as_str()), place.and_then(|one| one.get("dependsOn")))
        else {
            continue;
        };
        let wanted = wanted(container, list, checks);
        let mut resolved = IndexMap::with_capacity(wanted.len());
        for (other, dependency, at) in wanted {
            let condition = dependency.condition;
            let Some(to) = index.get(other) else {
                let init = raw.init_containers.as_ref().and_then(|all| all.get(other));
                let Some(init) = init else {
                    let lost = node.get("initContainers").map_or(&[][..], |list| &list.lost);
                    if !lost.iter().any(|name| name == other) {
                        unknown(word, other, at, &nameable, checks);
                    }
                    continue;
                };
                if init::may_be_needed((word, other), init, condition, at, checks) {
                    let other = ContainerName::try_from(other).ok();
                    resolved.extend(other.map(|name| (name, dependency)));
                }
                continue;
            };
            if condition == Condition::Completed && restarts.contains(other) {
                let message =
                    format!("`{word}` waits for the end of `{other}`, which is always restarted");
                let problem = Problem::error("P0522", message, at.clone(), "never completes");
                checks
                    .report(problem.help(format!("give `{other}` `restart: no` or `on-failure`")));
            }
            if condition == Condition::Ready {
                warn_of_no_probe(other, raw, at.clone(), checks);
            }
            edges[*from].push((*to, at));
            if let Ok(name) = ContainerName::try_from(other) {
                resolved.insert(name, dependency);
            }
        }
        if let Some(container) =
            ContainerName::try_from(word.as_str()).ok().and_then(|name| result.get_mut(&name))
        {
            container.depends_on = resolved;
        }
    }
    rounds(&known, &edges, checks);
}

/// `ready` of a container that nobody asks whether it is: an image may bring a check of its own.
fn warn_of_no_probe(other: &str, raw: &RawPod, at: Range<usize>, checks: &mut Checks<'_>) {
    let known = raw.containers.as_ref().and_then(|all| all.get(other));
    if known.is_none_or(|known| {
        known.startup_probe.is_some() || known.readiness_probe.is_some() || known.image.is_some()
    }) {
        return;
    }
    let message = format!("`{other}` has no probe that says when it is ready");
    let problem = Problem::error("P0566", message, at, "as `started`").warning();
    checks.report(problem.help(format!(
        "give `{other}` a `readinessProbe`, such as `{{ tcp: 8080 }}`, or write `started`"
    )));
}

/// What a container waits for: the other's name, what must have happened, and where that stands.
fn wanted<'a>(
    raw: &'a RawContainer,
    list: &Node,
    checks: &mut Checks<'_>,
) -> Vec<(&'a str, Dependency, Range<usize>)> {
    let mut result: Vec<(&str, Dependency, Range<usize>)> = Vec::new();
    let mut seen: HashMap<&str, Range<usize>> = HashMap::new();
    match &raw.depends_on {
        Some(Either::Short(names)) => {
            for (index, name) in names.iter().enumerate() {
                let at = list.item(index).map_or_else(|| list.head(), |item| item.span.clone());
                if let Some(first) = seen.get(name.as_str()) {
                    let message = format!("`{name}` is in `dependsOn` twice");
                    checks.report(
                        Problem::error("P0523", message, at, "again")
                            .also(first.clone(), "first")
                            .help("remove one of the two"),
                    );
                    continue;
                }
                seen.insert(name, at.clone());
                result.push((name, Condition::Started.into(), at));
            }
        }
        Some(Either::Long(map)) => {
            for (name, value) in map {
                let Some(entry) = list.entry(name) else { continue };
                result.push((name, dependency(value), entry.key.clone()));
            }
        }
        None => {}
    }
    result
}

fn dependency(value: &Either<raw::Condition, raw::Dependency>) -> Dependency {
    let (word, restart) = match value {
        Either::Short(word) => (Some(*word), None),
        Either::Long(long) => (long.condition, long.restart),
    };
    let condition = match word {
        None | Some(raw::Condition::Started) => Condition::Started,
        Some(raw::Condition::Ready) => Condition::Ready,
        Some(raw::Condition::Completed) => Condition::Completed,
    };
    Dependency { condition, restart: restart.unwrap_or(false) }
}

fn unknown(word: &str, other: &str, place: Range<usize>, known: &[&str], checks: &mut Checks<'_>) {
    let message = format!("`{word}` depends on `{other}`, which is no container of this pod");
    if checks.problems.is_full() {
        return checks.report(Problem::error("P0524", message, place, "no such container"));
    }
    let others: Vec<&str> = known.iter().copied().filter(|name| *name != word).collect();
    let help = did_you_mean(other, others.iter().copied()).or_else(|| {
        (!others.is_empty() && others.len() < 12)
            .then(|| format!("name one of: {}", others.join(", ")))
    });
    let help = help.unwrap_or_else(|| match others.len() {
        0 => "remove it: this pod has no other container".to_owned(),
        _ => format!("add `{other}` to `containers`, or remove it here"),
    });
    let problem = Problem::error("P0524", message, place, "no such container").help(help);
    checks.report(checks.with_known(problem, other, others.iter().copied()));
}

/// Of a longer round the first members are told.
const SHOWN: usize = 12;

/// Reports every round in `dependsOn`, with each edge of it labelled.
fn rounds(names: &[&str], edges: &[Vec<(usize, Range<usize>)>], checks: &mut Checks<'_>) {
    let plain: Vec<Vec<usize>> =
        edges.iter().map(|edges| edges.iter().map(|(to, _)| *to).collect()).collect();
    for cycle in order::cycles(&plain) {
        let mut drawn: Vec<&str> = cycle.iter().take(SHOWN).map(|index| names[*index]).collect();
        if cycle.len() > SHOWN {
            drawn.push("\u{2026}");
        }
        drawn.push(names[cycle[0]]);
        let mut labels = Vec::new();
        for (place, index) in cycle.iter().enumerate().take(SHOWN) {
            let next = cycle[(place + 1) % cycle.len()];
            if let Some((_, span)) = edges[*index].iter().find(|(to, _)| *to == next) {
                labels.push((
                    span.clone(),
                    format!("`{}` waits for `{}`", names[*index], names[next]),
                ));
            }
        }
        let (message, help) = match cycle.as_slice() {
            [one] => (
                format!("`{}` waits for itself", names[*one]),
                "remove it from its own `dependsOn`",
            ),
            _ => (
                format!("`dependsOn` goes round: {}", drawn.join(" -> ")),
                "none of these could ever start: remove one of the dependencies",
            ),
        };
        let mut problem = Problem::error("P0520", message, 0..0, "");
        problem.labels = labels;
        checks.report(problem.help(help));
    }
}
