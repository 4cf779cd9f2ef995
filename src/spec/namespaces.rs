//! Namespaces that are not what `share` says: of all containers of a pod, and of one.

use super::model::{NetworkMode, Scope, Shared};
use super::problem::{Problem, did_you_mean};
use super::raw::{self, Either, RawPod};
use super::tree::{Entry, Node};
use super::validate::Checks;
use super::{rights, share};
use indexmap::IndexMap;
use std::ops::Range;
use std::path::PathBuf;

/// The pod's own `namespaces`: what its containers are in that say nothing else, and do not share.
pub(super) fn of_pod(raw: &RawPod, pod: &Node, checks: &mut Checks<'_>) {
    let (Some(raw), Some(node)) = (&raw.namespaces, pod.get("namespaces")) else { return };
    for (kind, value) in [
        (Shared::Uts, &raw.uts),
        (Shared::Ipc, &raw.ipc),
        (Shared::Pid, &raw.pid),
        (Shared::User, &raw.user),
        (Shared::Cgroup, &raw.cgroup),
        (Shared::Time, &raw.time),
    ] {
        let (Some(value), Some(entry)) = (value, node.entry(kind.word())) else { continue };
        let Some(scope) = scope(kind, value, (&entry.value, None), checks) else { continue };
        if let Some(item) = share::listed(kind, pod) {
            // What follows is judged as if it were shared.
            checks.report(both(kind, entry, item));
            continue;
        }
        rights::of_scope(kind, &scope, (&entry.value, None), checks);
        checks.share.shift_remove(&kind);
        checks.apart.insert(kind, scope);
    }
}

fn both(kind: Shared, entry: &Entry, item: &Node) -> Problem {
    let word = kind.word();
    let message = format!("`{word}` is in `share`, and in the pod's `namespaces`");
    Problem::error("P0544", message, entry.key.clone(), "not shared")
        .also(item.span.clone(), "shared")
        .help(format!("remove `{word}` from one of the two"))
}

/// What to write for `net` in the pod's `namespaces`, beside these keys.
pub(super) fn net_of_pod(value: Option<&str>, beside: &[&str]) -> String {
    match value {
        Some("private") => {
            let rest = ["uts", "ipc"].into_iter().filter(|kind| !beside.contains(kind));
            let share = match rest.collect::<Vec<_>>()[..] {
                [] => "none".to_owned(),
                ref rest => format!("[{}]", rest.join(", ")),
            };
            format!(
                "write a `share` without `net`, such as `share: {share}`: each container then has its own"
            )
        }
        Some(at) if at.starts_with("ns:/") => format!("write `network: {at}` at the top"),
        _ => "write `network: host` at the top".to_owned(),
    }
}

/// `namespaces` of the container called `word`, whose place is `container`, over those of the pod.
pub(super) fn of(
    word: &str,
    raw: Option<&raw::Namespaces>,
    container: &Node,
    checks: &mut Checks<'_>,
) -> IndexMap<Shared, Scope> {
    let mut result = checks.apart.clone();
    let (Some(raw), Some(node)) = (raw, container.get("namespaces")) else { return result };
    let words = [&raw.net, &raw.uts, &raw.ipc, &raw.pid, &raw.user, &raw.cgroup, &raw.time];
    for (kind, value) in Shared::ALL.into_iter().zip(words) {
        let (Some(value), Some(place)) = (value, node.get(kind.word())) else { continue };
        let of = (place, Some(word));
        let Some(scope) = scope(kind, value, of, checks) else { continue };
        rights::of_scope(kind, &scope, of, checks);
        result.insert(kind, scope);
    }
    result.sort_keys();
    result
}

/// Where a namespace is, of this container or of all of the pod.
fn scope(
    kind: Shared,
    word: &str,
    (place, container): (&Node, Option<&str>),
    checks: &mut Checks<'_>,
) -> Option<Scope> {
    match word {
        "private" => Some(Scope::Private),
        "host" => Some(Scope::Host),
        path if path.starts_with("ns:") => at(path, &place.span, checks).map(Scope::At),
        _ => {
            let message = format!("`{word}` is no value of `namespaces.{}`", kind.word());
            let label = "one of: private, host, ns:/path";
            let help = did_you_mean(word, ["private", "host"]).unwrap_or_else(|| match container {
                Some(_) => "remove it to be in the pod's own namespace, or write `private`".into(),
                None => "write `private`, or remove it: then it is as `share` has it".to_owned(),
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
            let help = match checks.apart.contains_key(&Shared::User) {
                true => "remove `idmap`, or give this container `namespaces: { user: private }`",
                false => "remove `idmap`, or add `user` to the pod's `share`",
            };
            checks.report(problem.help(help));
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
        let problem = share::also(problem, Shared::Net, node);
        checks.report(problem.help(format!(
            "{}, or give one container `namespaces: {{ net: ns:{} }}`",
            share::with(Shared::Net, node),
            path.display()
        )));
    }
}
