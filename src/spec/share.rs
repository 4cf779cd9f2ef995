//! `share`: which namespaces the containers of a pod have in common.

use super::model::Shared;
use super::problem::{Edit, Problem, Problems, did_you_mean, surely};
use super::raw::{Either, RawPod};
use super::tree::{Entry, Kind, Node};
use indexmap::{IndexMap, IndexSet};
use std::ops::Range;

const ALL: [&str; 7] = ["net", "uts", "ipc", "pid", "user", "cgroup", "time"];
const DEFAULT_SHARE: [Shared; 3] = [Shared::Net, Shared::Uts, Shared::Ipc];

/// The kinds of the file, or the default.
pub(super) fn share(
    raw: &RawPod,
    node: &Node,
    text: &str,
    problems: &mut Problems,
) -> IndexSet<Shared> {
    let default = || IndexSet::from(DEFAULT_SHARE);
    let (Some(share), Some(place)) = (&raw.share, node.get("share")) else { return default() };
    let words = match share {
        Either::Short(word) if word == "none" => return IndexSet::new(),
        Either::Short(word) => {
            let parts: Vec<&str> =
                word.split([',', ' ', '+']).filter(|part| !part.is_empty()).collect();
            let plus = if word.contains('+') { "+" } else { "" };
            let list =
                parts.iter().map(|part| format!("{plus}{part}")).collect::<Vec<_>>().join(", ");
            let message = "`share` is a list, or the word `none`";
            let problem = Problem::error("P0430", message, place.span.clone(), "this is neither");
            let known = parts.iter().all(|part| ALL.contains(part)) && !parts.is_empty();
            let source = text.get(place.span.clone()).unwrap_or_default();
            let edit = (known && source.trim_matches(['"', '\'']) == word.as_str())
                .then(|| Edit { place: place.span.clone(), text: format!("[{list}]") });
            let help = match known {
                true => format!("write `share: [{list}]`"),
                false => "write `share: none`, or a list, such as `share: [net, pid]`".to_owned(),
            };
            problems.push(problem.help(help).maybe_fix(edit));
            return default();
        }
        Either::Long(words) => words,
    };
    let adds = |word: &str| word.starts_with('+');
    if words.iter().any(|word| adds(word)) && !words.iter().all(|word| adds(word)) {
        let odd = words.iter().position(|word| !adds(word)).and_then(|index| place.item(index));
        let all = words.iter().map(|word| format!("+{}", word.trim_start_matches('+')));
        let plain = words.iter().map(|word| word.trim_start_matches('+'));
        let help = format!(
            "write `[{}]` to add to the default, or `[{}]` for exactly these",
            all.collect::<Vec<_>>().join(", "),
            plain.collect::<Vec<_>>().join(", ")
        );
        let message = "`share` mixes items with and without `+`";
        let place = odd.map_or_else(|| place.head(), |item| item.span.clone());
        problems.push(Problem::error("P0431", message, place, "without `+`").help(help));
    }
    let mut kinds = if words.iter().any(|word| adds(word)) { default() } else { IndexSet::new() };
    let mut seen: IndexMap<&str, Range<usize>> = IndexMap::new();
    for (index, word) in words.iter().enumerate() {
        let at = place.item(index).map_or_else(|| place.head(), |item| item.span.clone());
        let bare = word.strip_prefix('+').unwrap_or(word);
        if let Some(first) = seen.get(bare) {
            let message = format!("`{bare}` is in `share` twice");
            problems.push(
                Problem::error("P0432", message, at, "again")
                    .also(first.clone(), "first")
                    .help("remove one of the two"),
            );
            continue;
        }
        seen.insert(bare, at.clone());
        kinds.extend(shared((word.as_str(), bare), at, text, problems));
    }
    kinds.sort();
    kinds
}

/// The item of the list that is this kind.
pub(super) fn listed(kind: Shared, node: &Node) -> Option<&Node> {
    let Kind::List(items) = &node.get("share")?.kind else { return None };
    let is_it = |text: &str| text.strip_prefix('+').unwrap_or(text) == kind.word();
    items.iter().find(|item| item.text().is_some_and(is_it))
}

/// Where the pod's `namespaces` have this kind.
fn apart(kind: Shared, node: &Node) -> Option<&Entry> {
    node.get("namespaces")?.entry(kind.word())
}

/// The problem with the place that says that this kind is not shared, where one does.
pub(super) fn also(problem: Problem, kind: Shared, node: &Node) -> Problem {
    match (apart(kind, node), node.get("share")) {
        (Some(entry), _) => problem.also(entry.key.clone(), "not shared"),
        (None, Some(share)) => {
            problem.also(share.span.clone(), format!("without `{}`", kind.word()))
        }
        (None, None) => problem,
    }
}

/// What to do, so that this kind is shared, too.
pub(super) fn with(kind: Shared, node: &Node) -> String {
    if apart(kind, node).is_none() {
        return format!("write `{}`", with_item(kind, node));
    }
    let word = kind.word();
    // Without a list of its own the pod then has the default.
    let adds = |item: &Node| item.text().is_some_and(|text| text.starts_with('+'));
    let has_default = match node.get("share").map(|share| &share.kind) {
        None => true,
        Some(Kind::List(items)) => items.iter().any(adds),
        Some(_) => false,
    };
    match has_default && DEFAULT_SHARE.contains(&kind) {
        true => format!("remove `{word}` from the pod's `namespaces`"),
        false => {
            format!("write `{}` and no `{word}` in the pod's `namespaces`", with_item(kind, node))
        }
    }
}

/// The whole line of `share` with this kind.
fn with_item(kind: Shared, node: &Node) -> String {
    let kind = kind.word();
    let words: Vec<&str> = match node.get("share").map(|share| &share.kind) {
        Some(Kind::List(items)) => items.iter().filter_map(Node::text).collect(),
        Some(Kind::Scalar { text, .. }) if **text == *"none" => Vec::new(),
        // The default, and what is no list yet.
        _ => return format!("share: [+{kind}]"),
    };
    let plus = if words.iter().any(|word| word.starts_with('+')) { "+" } else { "" };
    let words = words.into_iter().map(str::to_owned).chain([format!("{plus}{kind}")]);
    format!("share: [{}]", words.collect::<Vec<_>>().join(", "))
}

fn shared(
    (written, word): (&str, &str),
    place: Range<usize>,
    text: &str,
    problems: &mut Problems,
) -> Option<Shared> {
    let problem = match word {
        "net" => return Some(Shared::Net),
        "uts" => return Some(Shared::Uts),
        "ipc" => return Some(Shared::Ipc),
        "pid" => return Some(Shared::Pid),
        "user" => return Some(Shared::User),
        "cgroup" => return Some(Shared::Cgroup),
        "time" => return Some(Shared::Time),
        "none" => Problem::error("P0433", "`none` stands alone", place, "not in a list")
            .help("write `share: none`"),
        _ if word.contains([',', ' ']) => {
            let parts: Vec<&str> = word.split([',', ' ']).filter(|part| !part.is_empty()).collect();
            Problem::error("P0430", format!("`{word}` is one item"), place, "here").help(format!(
                "write {}",
                parts.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ")
                    + ", each an item of the list"
            ))
        }
        _ => {
            let meant = surely(word, ALL).map(|known| written.replace(word, known));
            let edit = meant.and_then(|meant| Edit::of_word(text, &place, written, &meant));
            let label = format!("one of: {}", ALL.join(", "));
            Problem::error("P0434", format!("`{word}` is no kind of namespace"), place, label)
                .help(
                    did_you_mean(word, ALL).unwrap_or_else(|| {
                        "write one of them, such as `pid`, or remove it".to_owned()
                    }),
                )
                .maybe_fix(edit)
        }
    };
    problems.push(problem);
    None
}
