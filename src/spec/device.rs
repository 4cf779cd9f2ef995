//! Devices of the host in a container: `/dev/fuse`, `/dev/a:/dev/b:rw`, or the long form.

use super::model::Device;
use super::problem::Problem;
use super::raw::{self, Either};
use super::tree::Node;
use super::validate::Checks;
use super::volume;
use indexmap::IndexMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// What podspec itself puts into a container's /dev, and the device of that name alone may replace.
const STANDARD: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// And what is no device node there.
const KEPT: [&str; 9] =
    ["pts", "ptmx", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "console"];

/// The devices of a container, no two at one path.
pub(super) fn devices(
    raw: Option<&Vec<Either<String, raw::Device>>>,
    container: &Node,
    checks: &mut Checks<'_>,
) -> Vec<Device> {
    let (Some(raw), Some(list)) = (raw, container.get("devices")) else { return Vec::new() };
    let mut devices: Vec<Device> = Vec::new();
    let mut seen: IndexMap<PathBuf, Range<usize>> = IndexMap::new();
    for (index, item) in raw.iter().enumerate() {
        let Some(place) = list.item(index) else { continue };
        let Some(device) = Written::of(item, place).device(checks) else { continue };
        if let Some(first) = seen.get(&device.target) {
            let message = format!("two devices are at `{}`", device.target.display());
            let problem = Problem::error("P0472", message, place.head(), "again");
            checks.report(problem.also(first.clone(), "first").help("keep one of the two"));
            continue;
        }
        seen.insert(device.target.clone(), place.head());
        devices.push(device);
    }
    devices
}

/// A device as the file has it; every part with its place.
struct Written<'a> {
    path: (&'a str, Range<usize>),
    target: Option<(&'a str, Range<usize>)>,
    access: Option<(&'a str, Range<usize>)>,
}

impl<'a> Written<'a> {
    fn of(item: &'a Either<String, raw::Device>, place: &Node) -> Self {
        match item {
            Either::Short(word) => {
                let mut from = 0;
                let mut parts = word.splitn(3, ':').map(|part| {
                    let at = volume::part(place, from, Some(part));
                    from += part.len() + 1;
                    (part, at)
                });
                let path = parts.next().unwrap_or_else(|| ("", place.span.clone()));
                // `/dev/a:rw` names no other path.
                let (target, access) = match (parts.next(), parts.next()) {
                    (Some(one), None) if !one.0.starts_with('/') => (None, Some(one)),
                    other => other,
                };
                Self { path, target, access }
            }
            Either::Long(long) => {
                let at =
                    |key: &str| place.get(key).map_or_else(|| place.head(), |v| v.span.clone());
                Self {
                    path: (&long.path, at("path")),
                    target: long.target.as_deref().map(|target| (target, at("target"))),
                    access: long.access.as_deref().map(|access| (access, at("access"))),
                }
            }
        }
    }

    fn device(self, checks: &mut Checks<'_>) -> Option<Device> {
        let (word, place) = self.path;
        if !word.starts_with('/') {
            let message = format!("`{word}` is no path of a device");
            let problem = Problem::error("P0470", message, place, "not absolute");
            checks.report(problem.help(format!(
                "write `/dev/{word}`, or `/dev/{word}:/dev/NAME` for another name inside"
            )));
            return None;
        }
        let path = volume::host_path(word, &place, checks)?;
        let (target, at) = self.target.unwrap_or_else(|| (word, place.clone()));
        let inside = target_of(target, &at, checks);
        let access = access_of(self.access, checks);
        let (target, access) = inside.zip(access)?;
        let name = target.strip_prefix("/dev").ok().and_then(Path::to_str).unwrap_or_default();
        if STANDARD.contains(&name) && target != path {
            let message = format!("`{}` is what every container has already", target.display());
            let problem = Problem::error("P0471", message, at, "would be replaced");
            checks.report(problem.help("write another path inside, such as `/dev/NAME`"));
            return None;
        }
        Some(Device { path, target, access })
    }
}

/// A path below the container's /dev that is free there.
fn target_of(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<PathBuf> {
    if !checks.one_line(word, place) {
        return None;
    }
    let path: PathBuf = Path::new(word).components().collect();
    let mut inside = path.strip_prefix("/dev").ok().into_iter().flat_map(Path::components);
    let first = match inside.next() {
        Some(Component::Normal(first)) => first.to_str().unwrap_or_default(),
        _ => "",
    };
    let good = !first.is_empty()
        && !KEPT.contains(&first)
        && inside.all(|part| matches!(part, Component::Normal(_)));
    if !good {
        let message = format!("no device can be at `{word}` in a container");
        let problem = Problem::error("P0471", message, place.clone(), "here");
        let kept = KEPT.join(", ");
        checks.report(problem.help(format!("write a path below /dev that is none of: {kept}")));
    }
    good.then_some(path)
}

/// To read, to write, to make nodes of it: `rwm` where the file says nothing, as podman has it.
fn access_of(written: Option<(&str, Range<usize>)>, checks: &mut Checks<'_>) -> Option<String> {
    let Some((word, place)) = written else { return Some("rwm".to_owned()) };
    let known = |c: char| matches!(c, 'r' | 'w' | 'm');
    let twice = word.char_indices().any(|(at, c)| word[..at].contains(c));
    if word.is_empty() || !word.chars().all(known) || twice {
        let message = format!("`{word}` is no access to a device");
        let problem = Problem::error("P0473", message, place, "here");
        checks.report(problem.help("write `rw`, or other letters of `rwm`, each once"));
        return None;
    }
    Some("rwm".chars().filter(|c| word.contains(*c)).collect())
}
