//! Namespaces of one container that are not what `share` says.

use super::model::{NetworkMode, Scope, Shared};
use super::problem::{Problem, did_you_mean};
use super::raw::{self, Either};
use super::tree::Node;
use super::validate::Checks;
use super::{rights, share};
use indexmap::IndexMap;
use std::ops::Range;
use std::path::PathBuf;

/// `namespaces` of the container called `word`, whose place is `container`.
pub(super) fn of(
    word: &str,
    raw: Option<&raw::Namespaces>,
    container: &Node,
    checks: &mut Checks<'_>,
) -> IndexMap<Shared, Scope> {
    let mut result = IndexMap::new();
    let (Some(raw), Some(node)) = (raw, container.get("namespaces")) else { return result };
    let words = [&raw.net, &raw.uts, &raw.ipc, &raw.pid, &raw.user, &raw.cgroup, &raw.time];
    for (kind, value) in Shared::ALL.into_iter().zip(words) {
        let (Some(value), Some(place)) = (value, node.get(kind.word())) else { continue };
        let Some(scope) = scope(kind, value, place, checks) else { continue };
        if scope == Scope::Host {
            rights::of_the_machine(kind, word, place, checks);
        }
        if let Scope::At(_) = scope {
            rights::of_somebody(kind, word, place, checks);
        }
        result.insert(kind, scope);
    }
    result
}

fn scope(kind: Shared, word: &str, place: &Node, checks: &mut Checks<'_>) -> Option<Scope> {
    match word {
        "private" => Some(Scope::Private),
        "host" => Some(Scope::Host),
        path if path.starts_with("ns:") => at(path, &place.span, checks).map(Scope::At),
        _ => {
            let message = format!("`{word}` is no value of `namespaces.{}`", kind.word());
            let label = "one of: private, host, ns:/path";
            let help = did_you_mean(word, ["private", "host"]).unwrap_or_else(|| {
                "remove it to be in the pod's own namespace, or write `private`".to_owned()
            });
            let problem = Problem::error("P0436", message, place.span.clone(), label);
            checks.report(problem.help(help));
            None
        }
    }
}

/// The path of `ns:/path`. What is there is the machine's to say.
pub(super) fn at(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<PathBuf> {
    let path = word.strip_prefix("ns:").unwrap_or(word);
    if !path.starts_with('/') {
        let message = format!("`{word}` does not name a file by its whole path");
        let problem = Problem::error("P0477", message, place.clone(), "here");
        checks.report(problem.help("write `ns:/run/netns/NAME` or `ns:/proc/PID/ns/KIND`"));
        return None;
    }
    checks.one_line(path, place).then(|| PathBuf::from(path))
}

/// Ids are mapped where there is something to map them to.
pub(super) fn idmaps(
    word: &str,
    raw: Option<&Vec<Either<String, raw::Mount>>>,
    namespaces: &IndexMap<Shared, Scope>,
    container: &Node,
    checks: &mut Checks<'_>,
) {
    let maps = match namespaces.get(&Shared::User) {
        Some(scope) => *scope != Scope::Host,
        None => checks.share.contains(&Shared::User),
    };
    let Some(list) = container.get("volumes").filter(|_| !maps) else { return };
    for (index, item) in raw.into_iter().flatten().enumerate() {
        if let Either::Long(raw::Mount { idmap: Some(true), .. }) = item
            && let Some(entry) = list.item(index).and_then(|item| item.entry("idmap"))
        {
            let message = format!("`{word}` has no user namespace that ids could be mapped to");
            let problem = Problem::error("P0542", message, entry.key.clone(), "to what?");
            checks.report(problem.help("remove `idmap`, or add `user` to the pod's `share`"));
        }
    }
}

/// A pod in another's network lends its containers that, and has nothing of its own to give.
pub(super) fn network(node: &Node, checks: &mut Checks<'_>) {
    let (NetworkMode::At(path), Some(network)) = (&checks.network, node.entry("network")) else {
        return;
    };
    if !checks.share.contains(&Shared::Net) {
        let message = "the pod is in the network of a path, but its containers do not share `net`";
        let problem =
            Problem::error("P0543", message, network.key.clone(), "no container is in it");
        let share = node.get("share").map(|share| share.span.clone());
        let problem = match share {
            Some(share) => problem.also(share, "without `net`"),
            None => problem,
        };
        checks.report(problem.help(format!(
            "write `{}`, or give one container `namespaces: {{ net: ns:{} }}`",
            share::with(Shared::Net, node),
            path.display()
        )));
    }
}
