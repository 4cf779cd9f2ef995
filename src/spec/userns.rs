//! What the user and the time namespace of a pod are made with: id maps and clock offsets.

use super::model::{Container, IdRange, NameOrId, Scope, Shared, TimeOffsets, User, UserNs};
use super::problem::Problem;
use super::raw::{self, Either, RawPod};
use super::tree::Node;
use super::validate::Checks;
use super::{quantity, share, volume};
use crate::names::ContainerName;
use indexmap::IndexMap;
use std::ops::Range;

/// As many ranges as the kernel takes for one map (user_namespaces(7)).
const RANGES_MOST: usize = 340;

/// `userns`; only where `user` is shared.
pub(super) fn userns(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> UserNs {
    let (Some(userns), Some(entry)) = (&raw.userns, node.entry("userns")) else {
        return UserNs::default();
    };
    if !checks.share.contains(&Shared::User) {
        of_nothing("P0540", "userns", Shared::User, node, checks);
    }
    let long = match userns {
        Either::Short(word) if word == "auto" => return UserNs::default(),
        Either::Short(word) => {
            let message = format!("`{word}` is no id mapping");
            let label = "`auto`, or a map";
            let problem = Problem::error("P0476", message, entry.value.span.clone(), label);
            checks.report(problem.help(
                "write `auto`, or `{ size: 65536 }`, or name the ids: `{ uids: […], gids: […] }`",
            ));
            return UserNs::default();
        }
        Either::Long(long) => long,
    };
    long_form(long, &entry.value, checks).unwrap_or_default()
}

fn long_form(long: &raw::UserNs, node: &Node, checks: &mut Checks<'_>) -> Option<UserNs> {
    let size = node.entry("size");
    let lists = [node.entry("uids"), node.entry("gids")];
    if let (Some(size), Some(list)) = (size, lists.into_iter().flatten().next()) {
        let message = "an id mapping has a `size` or is written out";
        let problem = Problem::error("P0476", message, list.key.clone(), "this or");
        checks.report(problem.also(size.key.clone(), "that").help("take one of them away"));
        return None;
    }
    match lists {
        [None, None] => Some(UserNs::Auto { size: long.size.unwrap_or(UserNs::SIZE) }),
        [Some(_), Some(_)] => {
            let uids = map("uids", long.uids.as_deref(), node, checks);
            let gids = map("gids", long.gids.as_deref(), node, checks);
            Some(UserNs::Maps { uids: uids?, gids: gids? })
        }
        [Some(one), None] | [None, Some(one)] => {
            let (has, lacks) = if lists[0].is_some() { ("uids", "gids") } else { ("gids", "uids") };
            let message = format!("an id mapping with `{has}` and without `{lacks}`");
            let problem = Problem::error("P0476", message, one.key.clone(), "alone");
            checks.report(problem.help(format!("write both; mostly `{lacks}` is the same list")));
            None
        }
    }
}

fn map(
    key: &str,
    words: Option<&[String]>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Vec<IdRange>> {
    let list = node.get(key)?;
    let mut ranges: Vec<(IdRange, Range<usize>)> = Vec::new();
    let mut is_good = true;
    for (index, word) in words.unwrap_or_default().iter().enumerate() {
        let place = list.item(index).map_or_else(|| list.head(), |item| item.span.clone());
        let range = match range(word) {
            Ok(range) => range,
            Err(message) => {
                let problem = Problem::error("P0475", message, place, "here");
                checks.report(problem.help(
                    "a range is `container:host:count`, such as `0:100000:65536`; ids are below 2147483648",
                ));
                is_good = false;
                continue;
            }
        };
        let meets = |of: fn(&IdRange) -> u32| {
            let begin = |other: &IdRange| (of(other), of(other) + other.count);
            let (first, end) = begin(&range);
            ranges.iter().find(move |(other, _)| {
                let (other_first, other_end) = begin(other);
                first < other_end && other_first < end
            })
        };
        if let Some((_, other)) =
            meets(|range| range.container).or_else(|| meets(|range| range.host))
        {
            let message = format!("`{word}` has ids that are mapped already");
            let problem = Problem::error("P0475", message, place, "again");
            checks.report(problem.also(other.clone(), "first").help("map each id once"));
            is_good = false;
            continue;
        }
        if range.host == 0 {
            let message = format!("`{word}` maps an id onto the machine's root");
            let problem = Problem::error("P0577", message, place.clone(), "loosens the sandbox");
            checks.report(
                problem.warning().help("begin the range of the machine's ids above 0, as 100000"),
            );
        }
        ranges.push((range, place));
    }
    let ranges: Vec<IdRange> = ranges.into_iter().map(|(range, _)| range).collect();
    (is_good && whole(key, &ranges, list, checks)).then_some(ranges)
}

/// Infra, and whoever sets a container up, is id 0 inside.
fn whole(key: &str, ranges: &[IdRange], list: &Node, checks: &mut Checks<'_>) -> bool {
    let (message, help) = if !ranges.iter().any(|range| range.container == 0) {
        (
            format!("`{key}` does not map id 0"),
            "add a range that begins with `0:`, such as `0:100000:65536`: infra is root inside"
                .to_owned(),
        )
    } else if ranges.len() > RANGES_MOST {
        (
            format!("`{key}` has {} ranges", ranges.len()),
            format!("join neighbours: the kernel takes {RANGES_MOST} ranges at most"),
        )
    } else {
        return true;
    };
    checks.report(Problem::error("P0475", message, list.head(), "in this").help(help));
    false
}

fn range(word: &str) -> Result<IdRange, String> {
    let parts: Vec<&str> = word.split(':').collect();
    let [container, host, count] = parts[..] else {
        return Err(format!("`{word}` is no range of ids"));
    };
    let id = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let id = part.parse::<u32>().ok().filter(|id| digits && *id < 1 << 31);
        id.ok_or_else(|| format!("`{part}` in `{word}` is no id"))
    };
    let range = IdRange { container: id(container)?, host: id(host)?, count: id(count)? };
    if range.count == 0 {
        return Err(format!("`{word}` maps no id"));
    }
    let ends = [range.container, range.host].map(|first| first.checked_add(range.count));
    if ends.into_iter().any(|end| end.is_none_or(|end| end > 1 << 31)) {
        return Err(format!("`{word}` goes beyond the last id"));
    }
    Ok(range)
}

/// `time`; only where `time` is shared.
pub(super) fn time(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> TimeOffsets {
    let (Some(time), Some(entry)) = (&raw.time, node.entry("time")) else {
        return TimeOffsets::default();
    };
    if !checks.share.contains(&Shared::Time) {
        of_nothing("P0541", "time", Shared::Time, node, checks);
    }
    let mut offset = |key: &str, span: &Option<raw::Span>| match (span, entry.value.get(key)) {
        (Some(span), Some(place)) => {
            checks.quantity("P0410", quantity::offset(&span.0), place.span.clone()).unwrap_or(0)
        }
        _ => 0,
    };
    TimeOffsets {
        boottime: offset("boottime", &time.boottime),
        monotonic: offset("monotonic", &time.monotonic),
    }
}

/// A program's ids must be some in its user namespace: nobody could become another. Of names the plan knows more.
pub(super) fn maps_all(
    userns: &UserNs,
    containers: &IndexMap<ContainerName, Container>,
    node: &Node,
    checks: &mut Checks<'_>,
) {
    let any = |size| vec![IdRange { container: 0, host: 0, count: size }];
    let (uids, gids) = match userns {
        UserNs::Auto { size } => (any(*size), any(*size)),
        UserNs::Maps { uids, gids } => (uids.clone(), gids.clone()),
    };
    let private = any(UserNs::SIZE);
    for (name, container) in containers {
        let (uids, gids) = match container.namespaces.get(&Shared::User) {
            Some(Scope::Private) => (&private, &private),
            None if checks.share.contains(&Shared::User) => (&uids, &gids),
            _ => continue,
        };
        let list = if container.role.is_main() { "containers" } else { "initContainers" };
        let node = node.get(list).and_then(|list| list.get(name.as_str()));
        let User { user, group } = &container.user;
        let ids = [(Some(user), "user", uids), (group.as_ref(), "group", gids)];
        let ids = ids.into_iter().filter_map(|(id, kind, map)| Some((id?, kind, map, None)));
        let groups = container.groups.iter().enumerate();
        let ids = ids.chain(groups.map(|(n, group)| (group, "group", gids, Some(n))));
        for (id, kind, map, item) in ids {
            let NameOrId::Id(id) = id else { continue };
            if map.iter().any(|range| range.outside(*id).is_some()) {
                continue;
            }
            let place = match item {
                None => node.and_then(|node| node.get("user")).map(|user| half(user, kind)),
                Some(n) => node.and_then(|node| Some(node.get("groups")?.item(n)?.span.clone())),
            };
            let place = place.or(node.map(Node::head)).unwrap_or_default();
            let message = format!("the {kind} id {id} is none in the user namespace of `{name}`");
            let problem = Problem::error("P0580", message, place, "not mapped");
            let is_pods = !container.namespaces.contains_key(&Shared::User);
            let widen = if is_pods { ", or widen `userns`" } else { "" };
            checks.report(problem.help(format!("{}: take one of these{widen}", mapped(map))));
        }
    }
}

/// The user or the group of `user:group`.
fn half(node: &Node, kind: &str) -> Range<usize> {
    match node.text().and_then(|text| text.split_once(':')) {
        Some((_, group)) if kind == "group" => {
            let before = node.text().map_or(0, str::len) - group.len();
            volume::part(node, before, Some(group))
        }
        Some((user, _)) => volume::part(node, 0, Some(user)),
        None => node.span.clone(),
    }
}

/// Which ids there are.
fn mapped(map: &[IdRange]) -> String {
    let ranges = map.iter().take(3).map(|range| {
        let IdRange { container: first, count, .. } = range;
        format!("{first} to {}", first + (count - 1))
    });
    let more = if map.len() > 3 { ", …" } else { "" };
    format!("mapped are {}{more}", ranges.collect::<Vec<_>>().join(", "))
}

fn of_nothing(code: &'static str, field: &str, kind: Shared, node: &Node, checks: &mut Checks<'_>) {
    let Some(entry) = node.entry(field) else { return };
    let word = kind.word();
    let message = format!("the pod has `{field}`, but its containers do not share `{word}`");
    let problem = Problem::error(code, message, entry.key.clone(), "has no effect");
    let problem = share::also(problem, kind, node);
    let with = share::with(kind, node);
    checks.report(problem.help(format!("{with}, or remove `{field}`")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ids() {
        let good = IdRange { container: 0, host: 100_000, count: 65536 };
        assert_eq!(range("0:100000:65536"), Ok(good));
        for word in [
            "",
            "0",
            "0:1",
            "0:1:0",
            "0:1:2:3",
            "a:1:2",
            "+0:1:2",
            "0:1:-1",
            "0: 1:2",
            "0:2147483648:1",
            "0:2147483647:2",
            "0:4294967295:1",
            "99999999999:0:1",
        ] {
            assert!(range(word).is_err(), "{word}");
        }
        assert!(range("0:2147483647:1").is_ok());
    }
}
