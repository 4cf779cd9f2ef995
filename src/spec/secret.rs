//! Secrets: where their texts come from, and where containers see them. The texts themselves are read at
//! `up` and are in no `PodSpec`, no plan and no report.

use super::Found;
use super::model::{Mount, SecretMount, SecretSource};
use super::problem::{Problem, did_you_mean};
use super::raw::{self, Either, NameOrNumber, RawPod};
use super::tree::{Kind, Node};
use super::validate::{Checks, name_problem};
use super::volume;
use crate::names::SecretName;
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a container sees a secret whose file does not say.
const DIRECTORY: &str = "/run/secrets";
const MODE: u32 = 0o400;

/// The pod's secrets.
pub(super) fn declared(
    raw: &RawPod,
    node: &Node,
    checks: &mut Checks<'_>,
) -> BTreeMap<SecretName, SecretSource> {
    let mut result = BTreeMap::new();
    let Some(list) = node.get("secrets") else { return result };
    for (word, raw) in raw.secrets.iter().flatten() {
        let Some(entry) = list.entry(word) else { continue };
        let source = source(word, raw, &entry.value, checks);
        match (SecretName::try_from(word.as_str()), source) {
            (Ok(name), Some(source)) => drop(result.insert(name, source)),
            (Ok(_), None) => {}
            (Err(error), _) => {
                let place = entry.key.clone();
                checks.report(name_problem("a secret", word, &error.to_string(), place));
            }
        }
    }
    result
}

fn source(
    word: &str,
    raw: &raw::Secret,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<SecretSource> {
    match (node.entry("file"), node.entry("env"), &raw.file, &raw.env) {
        (Some(file), Some(env), ..) => {
            let message = format!("the secret `{word}` has both `file` and `env`");
            let mut places = [file.key.clone(), env.key.clone()];
            places.sort_by_key(|place| place.start);
            let [first, second] = places;
            let problem = Problem::error("P0660", message, second, "a second source");
            let help = "remove `env`, or remove `file`";
            checks.report(problem.also(first, "the first").help(help));
            None
        }
        (Some(entry), None, Some(path), _) => file(path, &entry.value.span, checks),
        (None, Some(entry), _, Some(variable)) => env(variable, &entry.value.span, checks),
        _ if node.has_lost("file") || node.has_lost("env") => None,
        _ => {
            let message = format!("the secret `{word}` has no source");
            let problem =
                Problem::error("P0660", message, node.head(), "neither `file` nor `env` is here");
            checks.report(problem.help(format!(
                "write `{word}: {{ file: ./{word}.txt }}`, or `{word}: {{ env: VARIABLE }}`"
            )));
            None
        }
    }
}

fn file(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<SecretSource> {
    let path = volume::host_path(word, place, checks)?;
    if (checks.context.look)(&path) == Some(Found::Directory) {
        let message = format!("`{word}` is a directory, and a secret is one file");
        let problem = Problem::error("P0661", message, place.clone(), "a directory");
        checks.report(problem.help("name the file; several secrets have a name each"));
        return None;
    }
    volume::is_there(word, &path, false, place, checks);
    Some(SecretSource::File(path))
}

fn env(variable: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<SecretSource> {
    if (checks.context.env)(variable).is_none() {
        let message = format!("the variable `{variable}` is not set in podspec's environment");
        let problem = Problem::error("P0662", message, place.clone(), "the secret is its value");
        let help = if variable.starts_with('$') {
            format!("write the name alone: `{}`", variable.trim_matches(['$', '{', '}']))
        } else {
            format!("set it: `{variable}=… podspec up`, or write `file: PATH`")
        };
        checks.report(problem.help(help));
        return None;
    }
    Some(SecretSource::Env(variable.to_owned()))
}

/// Those of a container. `mounts` are its volumes: nothing else is where a secret is.
pub(super) fn mounts(
    raw: Option<&Vec<Either<String, raw::SecretMount>>>,
    mounts: &[Mount],
    node: &Node,
    checks: &mut Checks<'_>,
) -> Vec<SecretMount> {
    let (Some(raw), Some(list)) = (raw, node.get("secrets")) else { return Vec::new() };
    let mut result = Vec::new();
    let mut targets: HashMap<PathBuf, Range<usize>> = HashMap::new();
    for (index, item) in raw.iter().enumerate() {
        let Some(place) = list.item(index) else { continue };
        let Some(mount) = one(item, place, checks) else { continue };
        let at = place.get("target").map_or_else(|| place.span.clone(), |at| at.span.clone());
        let shown = mount.target.display();
        if let Some(first) = targets.get(&mount.target) {
            let message = format!("two secrets are at `{shown}`");
            let problem = Problem::error("P0664", message, at, "again");
            checks.report(
                problem
                    .also(first.clone(), "first")
                    .help(format!("remove one of them, or write another target: `{shown}-2`")),
            );
            continue;
        }
        if let Some(volume) = mounts.iter().find(|volume| volume.target.starts_with(&mount.target))
        {
            let message = format!("the secret at `{shown}` is where a volume is mounted");
            let problem = Problem::error("P0664", message, at, "a file");
            checks.report(problem.help(format!(
                "give the secret another `target` than the volume's `{}`",
                volume.target.display()
            )));
            continue;
        }
        targets.insert(mount.target.clone(), at);
        result.push(mount);
    }
    result
}

fn one(
    raw: &Either<String, raw::SecretMount>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<SecretMount> {
    let at = |key: &str| node.get(key).map_or_else(|| node.span.clone(), |at| at.span.clone());
    let (word, place) = match raw {
        Either::Short(word) => (word, node.span.clone()),
        Either::Long(long) => (&long.name, at("name")),
    };
    let name = known(word, place, checks);
    let (target, mode) = match raw {
        Either::Short(_) => (None, None),
        Either::Long(long) => (long.target.as_deref(), long.mode.as_ref()),
    };
    let target = match target {
        Some(target) => volume::target(target, &at("target"), checks),
        None => Some(Path::new(DIRECTORY).join(word)),
    };
    let mode = match mode {
        Some(word) => mode_of(word, at("mode"), checks),
        None => Some(MODE),
    };
    Some(SecretMount { name: name?, target: target?, mode: mode? })
}

/// Whether the pod declares it.
fn known(word: &str, place: Range<usize>, checks: &mut Checks<'_>) -> Option<SecretName> {
    if checks.secrets.contains(word) {
        checks.used_secrets.insert(word.to_owned());
        return SecretName::try_from(word).ok();
    }
    let message = format!("no secret of this pod is named `{word}`");
    let declare = || {
        format!("declare it beside `containers`: `secrets: {{ {word}: {{ file: ./{word}.txt }} }}`")
    };
    let help = did_you_mean(word, checks.secrets.iter().copied()).unwrap_or_else(declare);
    let problem = Problem::error("P0665", message, place, "not declared").help(help);
    checks.report(checks.with_known(problem, word, checks.secrets.iter().copied()));
    None
}

/// Permission bits as chmod(1) has them.
fn mode_of(word: &NameOrNumber, place: Range<usize>, checks: &mut Checks<'_>) -> Option<u32> {
    let digits = word.0.strip_prefix("0o").or(word.0.strip_prefix('0'));
    let digits = digits.filter(|digits| digits.len() == 3);
    let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    if mode.is_none() {
        let message = format!("`{}` is no mode of a secret", word.0);
        let problem = Problem::error("P0663", message, place, "this mode");
        let is_short = word.0.len() == 3 && word.0.bytes().all(|b| matches!(b, b'0'..=b'7'));
        checks.report(problem.help(if is_short {
            format!("write `0{}`: a 0, then three octal digits", word.0)
        } else {
            "write a 0 and three octal digits, such as `0440`: who may read and write it".to_owned()
        }));
    }
    mode
}

/// Warns of secrets that no container sees.
pub(super) fn unused(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) {
    let Some(secrets) = node.get("secrets") else { return };
    let is_whole = |list: &Node| {
        let Kind::Map(map) = &list.kind else { return false };
        let one = |node: &Node| {
            let secrets = node.get("secrets");
            node.lost.is_empty() && secrets.is_none_or(|list| list.lost.is_empty())
        };
        list.lost.is_empty() && map.values().all(|entry| one(&entry.value))
    };
    let lists = ["initContainers", "containers"];
    if !lists.iter().filter_map(|key| node.get(key)).all(is_whole) {
        return;
    }
    for word in raw.secrets.iter().flat_map(IndexMap::keys) {
        if let Some(entry) = secrets.entry(word).filter(|_| !checks.used_secrets.contains(word)) {
            let message = format!("no container sees the secret `{word}`");
            let problem = Problem::error("P0666", message, entry.key.clone(), "not used").warning();
            checks.report(
                problem.help(format!("add `{word}` to the `secrets` of a container, or remove it")),
            );
        }
    }
}
