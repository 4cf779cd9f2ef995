//! Volumes: what a pod declares, and where its containers see it. Paths are made absolute and normal by
//! their words alone; whether they exist is the host's to say.

use super::model::{Mount, MountSource, Propagation, Volume};
use super::problem::{Problem, did_you_mean};
use super::raw::{self, Either};
use super::tree::{Entry, Node};
use super::validate::Checks;
use super::{Found, quantity, tree};
use crate::names::VolumeName;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

const DEFAULT_TMPFS: u64 = 64 << 20;

/// A volume of the pod.
pub(super) fn declared(
    raw: Option<&raw::Volume>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Volume> {
    let Some(raw) = raw else { return Some(Volume::Persistent) };
    let mut kinds: Vec<(&str, &Entry)> = ["tmpfs", "emptyDir", "files", "host"]
        .into_iter()
        .filter_map(|kind| node.entry(kind).map(|entry| (kind, entry)))
        .collect();
    kinds.sort_by_key(|(_, entry)| entry.key.start);
    if let [(one, first), (two, second), ..] = kinds.as_slice() {
        let message = format!("a volume is of one kind, and this has both `{one}` and `{two}`");
        let problem = Problem::error("P0440", message, second.key.clone(), "a second kind");
        let help = format!("remove `{two}`, or remove `{one}`");
        checks.report(problem.also(first.key.clone(), "the first").help(help));
        return None;
    }
    if let (None, Some(create)) = (node.entry("host"), node.entry("create")) {
        let message = "`create` belongs to `host`";
        checks.report(
            Problem::error("P0441", message, create.key.clone(), "only with `host`")
                .help("name the directory, `host: ./path`, or remove `create`"),
        );
        return None;
    }
    let place = |key: &str| node.get(key).map_or_else(|| node.head(), |value| value.span.clone());
    if let Some(size) = &raw.tmpfs {
        let size = checks.quantity("P0411", quantity::size(&size.0), place("tmpfs"))?;
        return Some(Volume::Tmpfs { size });
    }
    if raw.empty_dir.is_some() {
        return Some(Volume::EmptyDir);
    }
    if let Some(files) = &raw.files {
        for name in files.keys() {
            let at = node.get("files").and_then(|files| files.entry(name));
            file_name(name, &at?.key, checks);
        }
        return Some(Volume::Files { files: files.clone() });
    }
    if let Some(path) = &raw.host {
        let path = host_path(path, &place("host"), checks)?;
        warn_of_the_machine(&path, &place("host"), checks);
        return Some(Volume::Host { path, create: raw.create.unwrap_or(false) });
    }
    // A kind that was wrong is no reason to make another.
    node.lost.is_empty().then_some(Volume::Persistent)
}

fn file_name(name: &str, place: &Range<usize>, checks: &mut Checks<'_>) {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') || name.len() > 255 {
        let message = format!("`{name}` cannot be the name of a file");
        checks.report(
            Problem::error("P0442", message, place.clone(), "one name, without `/`")
                .help("write a plain name, such as `app.conf`; all files lie in one directory"),
        );
    } else {
        checks.one_line(name, place);
    }
}

/// A path of the host, absolute and normal.
pub(super) fn host_path(
    word: &str,
    place: &Range<usize>,
    checks: &mut Checks<'_>,
) -> Option<PathBuf> {
    if !checks.one_line(word, place) {
        return None;
    }
    if word.is_empty() {
        checks.report(
            Problem::error("P0443", "a path cannot be empty", place.clone(), "here")
                .help("write the path, such as `./data`; or remove the key"),
        );
        return None;
    }
    if word == "~" || word.starts_with("~/") {
        let message = "`~` has no meaning in a pod file";
        let help = format!("write `${{HOME}}{}`, or the whole path", &word[1..]);
        checks.report(Problem::error("P0444", message, place.clone(), "here").help(help));
        return None;
    }
    Some(normal(&checks.context.base.join(word)))
}

/// What a file brings along must be there; an absolute path may be of the machine that runs the pod.
pub(super) fn is_there(
    word: &str,
    path: &Path,
    as_directory: bool,
    place: &Range<usize>,
    checks: &mut Checks<'_>,
) {
    let (message, label) = match (checks.context.look)(path) {
        Some(Found::File) if as_directory => {
            (format!("`{word}` is a file, and a root is a directory"), "a file")
        }
        Some(_) => return,
        None => (format!("there is nothing at `{word}`"), "does not exist"),
    };
    let problem = Problem::error("P0525", message, place.clone(), label);
    checks.report(if word.starts_with('/') {
        problem
            .warning()
            .help("create it on the machine that will run the pod, or correct the path")
    } else {
        problem.help(format!("create {}, or correct the path", path.display()))
    });
}

/// A container's own root, /proc and /sys keep from it what these have.
fn warn_of_the_machine(path: &Path, place: &Range<usize>, checks: &mut Checks<'_>) {
    let message = if path == Path::new("/") {
        "all that this machine has is below this path"
    } else if path.starts_with("/proc") || path.starts_with("/sys") {
        "here nothing of the machine is hidden or read-only, as it is in the container's own"
    } else {
        return;
    };
    let problem = Problem::error("P0576", message, place.clone(), "loosens the sandbox").warning();
    checks.report(problem.help("name the directory that the program needs, and no more of it"));
}

/// Without `.` and `..`, by the words alone.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(result.pop()),
            Component::CurDir => {}
            part => result.push(part),
        }
    }
    result
}

/// The mounts of a container.
pub(super) fn mounts(
    raw: Option<&Vec<Either<String, raw::Mount>>>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Vec<Mount> {
    let (Some(raw), Some(list)) = (raw, node.get("volumes")) else { return Vec::new() };
    let mut mounts = Vec::new();
    let mut targets: HashMap<PathBuf, Range<usize>> = HashMap::new();
    for (index, item) in raw.iter().enumerate() {
        let Some(place) = list.item(index) else { continue };
        let mount = match item {
            Either::Short(word) => short(word, place, checks),
            Either::Long(long) => self::long(long, place, checks),
        };
        let Some(mount) = mount else { continue };
        let at =
            place.get("target").map_or_else(|| place.span.clone(), |target| target.span.clone());
        if let Some(first) = targets.get(&mount.target) {
            let message = format!("two volumes are mounted at `{}`", mount.target.display());
            checks.report(
                Problem::error("P0445", message, at, "again").also(first.clone(), "first").help(
                    format!(
                        "remove one of them, or mount it elsewhere, such as at `{}-2`",
                        mount.target.display()
                    ),
                ),
            );
            continue;
        }
        targets.insert(mount.target.clone(), at);
        mounts.push(mount);
    }
    checks.lost_mounts |= mounts.len() < raw.len();
    mounts
}

/// `source:/target[:ro|rw]`.
fn short(word: &str, node: &Node, checks: &mut Checks<'_>) -> Option<Mount> {
    const FORM: &str = "a volume is `NAME:/target[:ro]` or `./host/path:/target[:ro]`";
    let place = &node.span;
    let parts: Vec<&str> = word.split(':').collect();
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, None),
        [source, target, options] => (source, target, Some(options)),
        _ => {
            let help = if word.starts_with('/') && parts.len() == 1 {
                format!(
                    "for a directory in memory write `{{ type: tmpfs, target: {word} }}`; else name what is mounted: `NAME:{word}`"
                )
            } else {
                FORM.to_owned()
            };
            let message = if parts.len() > 3 {
                format!("`{word}` has more parts than a volume: it has two or three")
            } else {
                format!("`{word}` has no target")
            };
            checks.report(Problem::error("P0446", message, place.clone(), "here").help(help));
            return None;
        }
    };
    let mut read_only = false;
    let mut from = 0;
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            _ => {
                let message = format!("`{option}` is no option of a volume");
                let help = match option {
                    "z" | "Z" => "remove it: podspec does not relabel files",
                    _ => "write `ro` or `rw`; for more there is the long form",
                };
                let before = word.len() - options.map_or(0, str::len);
                let place = part(node, before + from, Some(option));
                checks.report(Problem::error("P0447", message, place, "here").help(help));
                return None;
            }
        }
        from += option.len() + 1;
    }
    let source_place = part(node, 0, Some(source));
    let target_place = part(node, source.len() + 1, Some(target));
    let source = source_of(source, None, &source_place, checks);
    let target = self::target(target, &target_place, checks);
    let (source, target) = (source?, target?);
    Some(Mount { source, target, read_only, idmap: true, propagation: Propagation::Private })
}

/// The bytes of a part of a scalar; the whole scalar where quotes or variables move them.
pub(super) fn part(node: &Node, offset: usize, text: Option<&str>) -> Range<usize> {
    let whole = node.text().map_or(0, str::len);
    let length = text.map_or(0, str::len);
    let (start, bytes) = (node.span.start, node.span.len());
    match node.kind {
        tree::Kind::Scalar { style: tree::Style::Plain, .. } if bytes == whole => {
            start + offset..start + offset + length
        }
        tree::Kind::Scalar { style: tree::Style::Quoted, .. } if bytes == whole + 2 => {
            start + 1 + offset..start + 1 + offset + length
        }
        _ => node.span.clone(),
    }
}

fn long(raw: &raw::Mount, node: &Node, checks: &mut Checks<'_>) -> Option<Mount> {
    let at = |key: &str| node.get(key).map_or_else(|| node.head(), |value| value.span.clone());
    let target = raw.target.as_ref().and_then(|target| self::target(target, &at("target"), checks));
    let source = if raw.kind == Some(raw::MountKind::Tmpfs) {
        for key in ["source", "subPath"] {
            if let Some(entry) = node.entry(key) {
                let message = format!("a tmpfs has no `{key}`");
                checks.report(
                    Problem::error("P0448", message, entry.key.clone(), "not with `type: tmpfs`")
                        .help(format!("remove `{key}`, or remove `type: tmpfs`")),
                );
            }
        }
        let size = match &raw.size {
            Some(size) => checks.quantity("P0411", quantity::size(&size.0), at("size"))?,
            None => DEFAULT_TMPFS,
        };
        Some(MountSource::Tmpfs { size })
    } else {
        if let Some(entry) = node.entry("size") {
            let message = "`size` belongs to `type: tmpfs`";
            checks.report(
                Problem::error("P0448", message, entry.key.clone(), "only with `type: tmpfs`")
                    .help("add `type: tmpfs`, or remove `size`"),
            );
        }
        let sub_path = match &raw.sub_path {
            Some(path) => Some((sub_path(path, &at("subPath"), checks)?, at("subPath"))),
            None => None,
        };
        match &raw.source {
            Some(source) => source_of(source, sub_path, &at("source"), checks),
            None if node.has_lost("source") => None,
            None => {
                let message = "this volume has no `source`";
                let problem = Problem::error("P0449", message, node.head(), "in this");
                checks.report(
                    problem.help("add `source: NAME` or `source: ./path`, or `type: tmpfs`"),
                );
                None
            }
        }
    };
    let source = source?;
    Some(Mount {
        propagation: propagation(raw.propagation, &source, node, checks)?,
        source,
        target: target?,
        read_only: raw.read_only.unwrap_or(false),
        idmap: raw.idmap.unwrap_or(true),
    })
}

/// Only the host mounts anything below its own paths: volumes are podspec's.
fn propagation(
    raw: Option<raw::Propagation>,
    source: &MountSource,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Propagation> {
    let (Some(raw), Some(entry)) = (raw, node.entry("propagation")) else {
        return Some(Propagation::Private);
    };
    if !matches!(source, MountSource::Path(_)) {
        let message = "`propagation` belongs to a path of the host";
        let problem = Problem::error("P0448", message, entry.key.clone(), "only with a path");
        checks.report(problem.help("remove `propagation`, or name a path: `source: /mnt/disks`"));
        return None;
    }
    match raw {
        raw::Propagation::Private => Some(Propagation::Private),
        raw::Propagation::Rslave => Some(Propagation::Rslave),
        raw::Propagation::Rshared => {
            let message = "what the container mounts there is mounted on the machine, too";
            let place = entry.value.span.clone();
            let problem = Problem::error("P0576", message, place, "loosens the sandbox");
            checks.report(
                problem
                    .warning()
                    .help("write `rslave` if the container need only see what the machine mounts"),
            );
            Some(Propagation::Rshared)
        }
    }
}

fn sub_path(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<PathBuf> {
    let path = Path::new(word);
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    if word.is_empty() || !normal {
        let message = format!("`{word}` does not stay inside the volume");
        let help = "write a path below the volume, without `..`, such as `logs`";
        checks.report(Problem::error("P0450", message, place.clone(), "here").help(help));
        return None;
    }
    checks.one_line(word, place).then(|| path.components().collect())
}

fn source_of(
    word: &str,
    sub_path: Option<(PathBuf, Range<usize>)>,
    place: &Range<usize>,
    checks: &mut Checks<'_>,
) -> Option<MountSource> {
    let is_path = word.starts_with('/')
        || word.starts_with("./")
        || word.starts_with("../")
        || matches!(word, "." | ".." | "~")
        || word.starts_with("~/");
    if is_path {
        let path = host_path(word, place, checks)?;
        is_there(word, &path, false, place, checks);
        warn_of_the_machine(&path, place, checks);
        if let Some((sub, place)) = sub_path {
            let message = "a `subPath` belongs to a volume, and the source is a path";
            let problem = Problem::error("P0451", message, place, "here");
            checks.report(problem.help(format!(
                "write `source: {}/{}`",
                word.trim_end_matches('/'),
                sub.display()
            )));
            return None;
        }
        return Some(MountSource::Path(path));
    }
    if !checks.volumes.contains(word) {
        let message = format!("no volume of this pod is named `{word}`");
        let path = || {
            format!(
                "declare it: `volumes: {{ {word}: {{}} }}`; a path of the host begins with `./` or `/`"
            )
        };
        let help = did_you_mean(word, checks.volumes.iter().copied()).unwrap_or_else(path);
        let help = if word.is_empty() { "write `NAME:/target`".to_owned() } else { help };
        let problem = Problem::error("P0521", message, place.clone(), "not declared").help(help);
        checks.report(checks.with_known(problem, word, checks.volumes.iter().copied()));
        return None;
    }
    let name = VolumeName::try_from(word).ok()?;
    checks.used.insert(word.to_owned());
    Some(MountSource::Volume { name, sub_path: sub_path.map(|(path, _)| path) })
}

/// Where a container may see a volume.
pub(super) fn target(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<PathBuf> {
    let refuse = |message: String, help: Option<String>, checks: &mut Checks<'_>| {
        let problem = Problem::error("P0452", message, place.clone(), "this target")
            .help("write an absolute path, such as `/data`");
        checks.report(problem.maybe_help(help));
        None
    };
    if !checks.one_line(word, place) {
        return None;
    }
    if !word.starts_with('/') {
        let help = (!word.is_empty()).then(|| format!("write `/{word}`"));
        return refuse(format!("`{word}` is not an absolute path"), help, checks);
    }
    let clean = normal(Path::new(word));
    let shown = clean.display();
    let trimmed = word.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(word);
    if clean == Path::new("/") {
        let help =
            "mount it below, such as at `/data`; a directory as root is `rootfs: ./directory`";
        return refuse("a volume cannot be the root itself".to_owned(), Some(help.into()), checks);
    }
    if clean.as_os_str() != trimmed {
        return refuse(
            format!("`{word}` is a path with `.`, `..` or `//` in it"),
            Some(format!("write `{shown}`")),
            checks,
        );
    }
    if let Some(own) = ["/proc", "/sys", "/dev"].iter().find(|own| clean.starts_with(own)) {
        let help = "mount it elsewhere, such as at `/data`".to_owned();
        return refuse(format!("`{own}` of a container is podspec's own"), Some(help), checks);
    }
    Some(clean)
}
