//! Text to `PodSpec`, or every problem of the text. Knows nothing of this machine: the environment and
//! the files that a pod file names come in by functions.

pub mod check;
pub mod container;
pub mod interpolate;
pub mod model;
pub mod order;
pub mod port;
pub mod problem;
pub mod quantity;
pub mod raw;
pub mod schema;
pub mod tree;
pub mod validate;
pub mod volume;

use crate::names::PodName;
use model::PodSpec;
use problem::{Problem, Severity};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tree::{Document, Kind, Node};

pub use schema::schema;

/// What a file is read against.
pub struct Context<'a> {
    /// The directory of the file, absolute: relative host paths begin there.
    pub base: PathBuf,
    /// The name of the first document where it has none.
    pub default_name: Option<String>,
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Reads `.env` and the files of `envFile`.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<String>,
}

#[derive(Debug)]
pub struct Loaded {
    pub pods: Vec<Pod>,
    pub warnings: Vec<Problem>,
}

/// A valid pod and where its parts stand in the text.
#[derive(Debug)]
pub struct Pod {
    pub spec: PodSpec,
    pub places: Places,
}

/// Where the parts of a pod stand in its text.
#[derive(Debug)]
pub struct Places(Node);

impl Places {
    /// The place of `containers.web.rootfs` or `ports.1`; of the nearest parent where it has none.
    pub fn find(&self, path: &str) -> Option<Range<usize>> {
        let (mut at, mut place) = (&self.0, None);
        for part in path.split('.') {
            let (next, label) = match &at.kind {
                Kind::Map(map) => match map.get(part) {
                    Some(entry) if matches!(entry.value.kind, Kind::Scalar { .. }) => {
                        (&entry.value, entry.value.span.clone())
                    }
                    Some(entry) => (&entry.value, entry.key.clone()),
                    None => break,
                },
                Kind::List(_) => match part.parse().ok().and_then(|index| at.item(index)) {
                    Some(item) => (item, item.span.clone()),
                    None => break,
                },
                Kind::Scalar { .. } => break,
            };
            (at, place) = (next, Some(label));
        }
        place.or_else(|| Some(self.0.head()))
    }
}

/// Every pod of the text, or everything that is wrong with it, in the order of the text.
pub fn load(text: &str, context: &Context<'_>) -> Result<Loaded, Vec<Problem>> {
    let (documents, mut problems) = tree::parse(text);
    let mut documents = not_empty(documents);
    if documents.is_empty() && problems.is_empty() {
        let problem = Problem::error("P0110", "the file has no pod", 0..0, "nothing here");
        return Err(vec![problem.help("the least pod is a name and `containers`")]);
    }
    let mut env = Environment { context, file: None };
    let (mut pods, mut ports) = (Vec::new(), Vec::new());
    for (index, document) in documents.iter_mut().enumerate().filter(|(_, d)| !d.broken) {
        let mut root = std::mem::replace(&mut document.root, Node::empty());
        ignore_extensions(&mut root);
        interpolate::interpolate(&mut root, text, &mut |name| env.find(name), &mut problems);
        let Some(typed) = check::check(schema::cached(), &mut root, &mut problems) else {
            continue;
        };
        let raw = match serde_json::from_value(typed) {
            Ok(raw) => raw,
            Err(error) => {
                // The schema and the types come from one source; this is a mistake of podspec.
                let message = format!("podspec does not understand its own schema: {error}");
                problems.push(Problem::error("P0001", message, root.head(), "in this pod"));
                continue;
            }
        };
        let default = context.default_name.as_deref().filter(|_| index == 0);
        let (spec, mut published) = validate::pod(&raw, &root, context, default, &mut problems);
        ports.append(&mut published);
        pods.extend(spec.map(|spec| Pod { spec, places: Places(root) }));
    }
    validate::across(&pods, ports, &mut problems);
    finish(pods, problems)
}

fn finish(pods: Vec<Pod>, mut problems: Vec<Problem>) -> Result<Loaded, Vec<Problem>> {
    problems.sort_by_key(Problem::start);
    // An anchor with a mistake is judged wherever its aliases stand.
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| {
        seen.insert((
            problem.code,
            problem.start(),
            problem.labels.clone().len(),
            problem.message.clone(),
        ))
    });
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Loaded { pods, warnings: problems })
}

/// Only the name of every document, whatever else is wrong: what `down FILE` needs.
pub fn name_only(text: &str, context: &Context<'_>) -> Result<Vec<PodName>, Vec<Problem>> {
    let (documents, syntax) = tree::parse(text);
    let mut env = Environment { context, file: None };
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    for (index, mut document) in not_empty(documents).into_iter().enumerate() {
        if let Kind::Map(map) = &mut document.root.kind {
            map.retain(|key, _| key == "name");
        }
        let root = &mut document.root;
        interpolate::interpolate(root, text, &mut |name| env.find(name), &mut problems);
        let default = context.default_name.as_deref().filter(|_| index == 0);
        if root.get("name").is_some_and(|name| name.text().is_none()) {
            let message = "`name` must be a string";
            problems.push(Problem::error("P0201", message, root.head(), "here"));
            continue;
        }
        let name = root.get("name").and_then(Node::text).map(str::to_owned);
        names.extend(validate::name(name.as_deref(), root, default, &mut problems));
    }
    if names.is_empty() && problems.is_empty() {
        problems = syntax;
        if problems.is_empty() {
            problems.push(Problem::error("P0110", "the file has no pod", 0..0, "nothing here"));
        }
    }
    if problems.is_empty() { Ok(names) } else { Err(problems) }
}

/// The name of a pod file's first document where it has none; the path must be absolute.
pub fn default_name(file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_str()?;
    let stem = stem.strip_suffix(".pod").unwrap_or(stem);
    let word = if stem == "pod" { file.parent()?.file_name()?.to_str()? } else { stem };
    let legal = |c: char| matches!(c, 'a'..='z' | '0'..='9');
    let word: String =
        word.to_lowercase().chars().map(|c| if legal(c) { c } else { '-' }).take(63).collect();
    let word = word.trim_matches('-');
    (!word.is_empty()).then(|| word.to_owned())
}

/// A `---` at the end makes a document of nothing.
fn not_empty(documents: Vec<Document>) -> Vec<Document> {
    documents.into_iter().filter(|document| !document.root.is_null()).collect()
}

fn ignore_extensions(root: &mut Node) {
    if let Kind::Map(map) = &mut root.kind {
        map.retain(|key, _| !key.starts_with("x-"));
    }
}

/// The environment of the process over the `.env` beside the file, which is read when it is needed.
struct Environment<'a> {
    context: &'a Context<'a>,
    file: Option<Result<Vec<(String, String)>, String>>,
}

impl Environment<'_> {
    fn find(&mut self, name: &str) -> Result<Option<String>, String> {
        if let Some(value) = (self.context.env)(name) {
            return Ok(Some(value));
        }
        let path = self.context.base.join(".env");
        let read = || match (self.context.read)(&path) {
            Ok(text) => interpolate::environment(&text)
                .map_err(|line| format!("line {line} of {} is not KEY=VALUE", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        };
        let pairs = self.file.get_or_insert_with(read).as_ref().map_err(String::clone)?;
        Ok(pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }
}
