//! Text to `PodSpec`, or every problem of the text. Knows nothing of this machine: the environment and
//! the files that a pod file names come in by functions.

mod advice;
pub mod check;
pub mod container;
pub mod depends;
mod device;
mod editor;
mod foreign;
mod health;
pub mod hidden;
mod image;
pub mod init;
pub mod interpolate;
mod limits;
pub mod lock;
pub mod mend;
pub mod model;
mod namespaces;
pub mod order;
pub mod pages;
mod place;
pub mod port;
pub mod problem;
pub mod publish;
pub mod quantity;
pub mod raw;
mod reference;
mod resources;
mod restart;
pub mod rights;
mod runtime;
pub mod schema;
mod secret;
pub mod share;
pub mod signal;
mod snippets;
pub mod syntax;
pub mod tree;
mod userns;
pub mod validate;
pub mod volume;
mod words;
pub mod write;
pub mod yaml;

use crate::names::PodName;
use model::PodSpec;
use problem::{Problem, Problems, Severity};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tree::{Document, Kind, Node};

pub use reference::reference;
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
    /// What there is at a path of this machine; None: nothing, or nothing that can be seen.
    pub look: &'a dyn Fn(&Path) -> Option<Found>,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Directory,
    /// Whatever is no directory.
    File,
    /// Nobody looks: the file is read for another machine, or for what it means.
    Unseen,
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
        let path = self.of_pod(path).unwrap_or(path);
        let (mut at, mut place) = (&self.0, None);
        // The model has one list of containers, the file has two.
        let name =
            path.strip_prefix("containers.").map(|rest| rest.split('.').next().unwrap_or(""));
        let is_init = name.zip(self.0.get("initContainers"));
        let is_init = is_init.is_some_and(|(name, list)| list.get(name).is_some());
        for (depth, part) in path.split('.').enumerate() {
            let part = if depth == 0 && is_init { "initContainers" } else { part };
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

    /// The pod's `namespaces.KIND` where a container has that from there.
    fn of_pod<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (name, field) = path.strip_prefix("containers.")?.split_once('.')?;
        let kind = field.strip_prefix("namespaces.")?;
        self.0.get("namespaces")?.get(kind)?;
        let mut lists = ["containers", "initContainers"].into_iter();
        let has_own = lists.any(|list| {
            let container = self.0.get(list).and_then(|list| list.get(name));
            container.and_then(|of| of.get("namespaces")?.get(kind)).is_some()
        });
        (!has_own).then_some(field)
    }
}

/// How often a text is read on behind a mistake of YAML, and the longest text for which that is done, bytes.
const READ_ON: usize = 16;
const READ_ON_LENGTH: usize = 256 << 10;

/// Every pod of the text, or everything that is wrong with it, in the order of the text. A mistake of YAML whose
/// mending is sure hides nothing: the text is read on as if it were mended.
pub fn load(text: &str, context: &Context<'_>) -> Result<Loaded, Vec<Problem>> {
    let rounds = if text.len() <= READ_ON_LENGTH { READ_ON } else { 0 };
    load_on(text, context, rounds)
}

fn load_on(text: &str, context: &Context<'_>, rounds: usize) -> Result<Loaded, Vec<Problem>> {
    let problems = match load_as_is(text, context) {
        Err(problems) if rounds > 0 => problems,
        loaded => return loaded,
    };
    let Some(mended) = mend::Mended::of(text, &problems) else { return Err(problems) };
    let rest = load_on(&mended.text, context, rounds - 1);
    let rest = rest.map_or_else(|problems| problems, |loaded| loaded.warnings);
    Err(mended.back(problems, rest))
}

/// As `load`, but that what stands behind a mistake of YAML is not read.
fn load_as_is(text: &str, context: &Context<'_>) -> Result<Loaded, Vec<Problem>> {
    let (documents, problems) = tree::parse(text);
    let documents = not_empty(documents);
    let has_map = documents.iter().any(|one| matches!(one.root.kind, Kind::Map(_)));
    if let Some(problem) = foreign::text(text).filter(|_| !has_map) {
        return Err(vec![problem]);
    }
    if documents.is_empty() && problems.is_empty() {
        let problem = Problem::error("P0110", "the file has no pod", 0..0, "nothing here");
        return Err(vec![problem.help(format!(
            "write `containers: {}`, or begin with `podspec init`",
            schema::LEAST
        ))]);
    }
    let is_broken = problems.has("P0102");
    let mut reader = Reader {
        text,
        context,
        env: Environment { context, file: None },
        problems,
        ports: Vec::new(),
    };
    let (mut pods, mut names) = (Vec::new(), Vec::new());
    let mut is_foreign = false;
    for (index, document) in documents.into_iter().enumerate() {
        if let Some(problem) = foreign::document(&document.root) {
            // Of a file that is another tool's this is said once, and all that there is to say.
            if !std::mem::replace(&mut is_foreign, true) {
                reader.problems.push(problem);
            }
            continue;
        }
        let pod = match document.broken {
            Some(at) => {
                reader.broken(document.root, at);
                None
            }
            // A mistake of YAML can make a text or a list of what was to be a map.
            None if is_broken && !matches!(document.root.kind, Kind::Map(_)) => None,
            None => reader.pod(document.root, index),
        };
        let Some(pod) = pod else { continue };
        names.push((pod.spec.name.clone(), pod.places.find("name").unwrap_or(0..0)));
        // Of a file that is wrong nobody gets a pod, and a hostile one has very many.
        if reader.problems.has_errors() {
            pods = Vec::new();
        } else {
            pods.push(pod);
        }
    }
    let Reader { mut problems, ports, .. } = reader;
    validate::across(&names, ports, &mut problems);
    let problems = problems.in_order();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Loaded { pods, warnings: problems })
}

/// What the documents of a file have in common while they are read.
struct Reader<'a> {
    text: &'a str,
    context: &'a Context<'a>,
    env: Environment<'a>,
    problems: Problems,
    ports: publish::Ports,
}

impl Reader<'_> {
    fn pod(&mut self, mut root: Node, index: usize) -> Option<Pod> {
        let typed = self.form(&mut root)?;
        let raw = match serde_json::from_value(typed) {
            Ok(raw) => raw,
            Err(error) => {
                // The schema and the types come from one source; this is a mistake of podspec.
                let message = format!("podspec does not understand its own schema: {error}");
                self.problems.push(Problem::error("P0001", message, root.head(), "in this pod"));
                return None;
            }
        };
        let default = self.context.default_name.as_deref().filter(|_| index == 0);
        let (spec, mut published) =
            validate::pod(&raw, &root, (self.text, self.context), default, &mut self.problems);
        self.ports.append(&mut published);
        spec.map(|spec| Pod { spec, places: Places(root) })
    }

    /// The tree with its variables replaced, as typed JSON.
    fn form(&mut self, root: &mut Node) -> Option<serde_json::Value> {
        ignore_extensions(root);
        let env = &mut self.env;
        interpolate::interpolate(root, self.text, &mut |name| env.find(name), &mut self.problems);
        check::check(schema::shape(), root, self.text, &mut self.problems)
    }

    /// What stands before a syntax error is judged by its form; what is not there may be behind it.
    fn broken(&mut self, mut root: Node, at: usize) {
        // A text or a list is what the mistake made of a map.
        if !matches!(root.kind, Kind::Map(_)) {
            return;
        }
        let line = self.text[..at].rfind('\n').unwrap_or(0);
        let before = self.problems.len();
        self.form(&mut root);
        self.problems.retain_since(before, |problem| {
            let is_before = problem.labels.iter().all(|(place, _)| place.end <= line);
            is_before && !matches!(problem.code, "P0204" | "P0205")
        });
    }
}

/// Only the name of every document, whatever else is wrong: what `down FILE` needs.
pub fn name_only(text: &str, context: &Context<'_>) -> Result<Vec<PodName>, Vec<Problem>> {
    let (documents, syntax) = tree::parse(text);
    let mut env = Environment { context, file: None };
    let (mut names, mut problems) = (Vec::new(), Problems::default());
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
    if problems.is_empty() { Ok(names) } else { Err(problems.in_order()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ContainerName;
    use model::{Condition, MountSource, NameOrId, Restart, Root, Shared, Volume};

    const FULL: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/good-full/pod.yaml"));

    fn context() -> Context<'static> {
        Context {
            base: PathBuf::from("/work/shop"),
            default_name: Some("shop".to_owned()),
            env: &|name| (name == "PORT").then(|| "8080".to_owned()),
            read: &|path| match path.to_str() {
                Some("/work/shop/web.env") => Ok("A=0\nC='x y'\n".to_owned()),
                Some("/work/shop/.env") => Ok("PORT=1\nFROM_FILE=yes\n".to_owned()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            },
            look: &|_| Some(Found::Directory),
        }
    }

    fn one(text: &str) -> PodSpec {
        match load(text, &context()) {
            Ok(mut loaded) => loaded.pods.remove(0).spec,
            Err(problems) => panic!("{problems:#?}"),
        }
    }

    fn codes(text: &str) -> Vec<&'static str> {
        load(text, &context()).map_or_else(|p| p.iter().map(|p| p.code).collect(), |_| Vec::new())
    }

    #[test]
    fn a_full_file_becomes_what_it_says() {
        let pod = one(FULL);
        assert_eq!(pod.share, [Shared::Net, Shared::Uts, Shared::Ipc, Shared::Pid].into());
        assert_eq!(pod.labels["version"], "1.10");
        let hosts: Vec<u16> = pod.ports.iter().map(|port| port.host).collect();
        assert_eq!(hosts, [8080, 8443, 9000, 9100, 0, 0, 0, 5000, 8081]);
        assert_eq!((pod.ports[3].count, pod.ports[3].container), (100, 80));
        assert_eq!((pod.ports[2].count, pod.ports[7].container), (100, 5001));
        let volume = |name: &str| &pod.volumes[&name.parse::<crate::names::VolumeName>().unwrap()];
        assert_eq!(volume("data"), &Volume::Persistent);
        assert_eq!(volume("here"), &Volume::Host { path: "/work/shop/data".into(), create: true });
        let container = |name: &str| &pod.containers[&name.parse::<ContainerName>().unwrap()];
        let (db, web) = (container("db"), container("web"));
        assert_eq!((&db.root, db.argv.join(" ")), (&Root::Host, "db --port 5432".to_owned()));
        assert_eq!(db.env["VERSION"], "1.10");
        assert_eq!((db.restart, web.restart), (Restart::No, Restart::OnFailure { most: Some(5) }));
        assert_eq!(db.mounts[1].source, MountSource::Path("/work/shop/site".into()));
        assert_eq!(web.root, Root::Directory("/work/shop/web".into()));
        assert_eq!(web.argv, ["web", "--port=8080"]);
        let env: Vec<String> =
            web.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(env, ["A=1", "C=x y", "B=b"]);
        assert_eq!(
            web.depends_on.values().map(|needed| needed.condition).collect::<Vec<_>>(),
            [Condition::Completed, Condition::Started]
        );
        assert_eq!((web.user.user.clone(), web.stop_signal.0), (NameOrId::Id(1000), 2));
        assert_eq!(web.stop_timeout.as_secs(), 90);
        assert!(!pod.shares(web, Shared::Pid) && pod.shares(db, Shared::Pid));
    }

    #[test]
    fn places_lead_back_to_the_text() {
        let loaded = load(FULL, &context()).unwrap();
        let at = |path: &str| &FULL[loaded.pods[0].places.find(path).unwrap()];
        assert_eq!(at("containers.web.rootfs"), "./web");
        assert_eq!(at("containers.web"), "web");
        assert_eq!(at("containers.db.volumes.1"), "./site:/srv:ro");
        assert_eq!(at("ports.1"), "127.0.0.1:8443:443");
        assert_eq!(at("containers.web.image"), "web");
        assert_eq!(at("nothing"), "name");
    }

    #[test]
    fn the_environment_wins_over_the_file_beside() {
        let pod = one(
            "labels: { a: '${PORT}', b: '${FROM_FILE}' }\ncontainers: { a: { rootfs: host, command: [a] } }",
        );
        assert_eq!((&*pod.labels["a"], &*pod.labels["b"]), ("8080", "yes"));
        let problems = |read: &dyn Fn(&Path) -> std::io::Result<String>| {
            let text = "name: ${X}\ncontainers: { a: { rootfs: host, command: [a] } }";
            load(text, &Context { read, ..context() }).unwrap_err().remove(0)
        };
        assert!(
            problems(&|_| Ok("no pair".to_owned())).message.contains("line 1 of /work/shop/.env")
        );
    }

    #[test]
    fn down_reads_names_and_nothing_else() {
        let names = |text: &str| {
            name_only(text, &context())
                .map(|names| names.iter().map(PodName::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            names("name: a\nnonsense: ${NOT_SET}\n---\nname: b\ncontainers: 5").unwrap(),
            ["a", "b"]
        );
        assert_eq!(names("containers: { web: [").unwrap(), ["shop"]);
        assert_eq!(names("name: p${PORT}\nname: twice").unwrap(), ["p8080"]);
        assert!(names("name: A/B").is_err());
        assert!(names("name: a\n---\ncontainers: {}").is_err());
        assert!(names("").is_err());
    }

    #[test]
    fn default_names() {
        for (file, name) in [
            ("/x/shop.yaml", "shop"),
            ("/x/shop.pod.yaml", "shop"),
            ("/x/My Shop/pod.yaml", "my-shop"),
            ("/x/a_b.yml", "a-b"),
            ("/x/-a-.yaml", "a"),
        ] {
            assert_eq!(default_name(Path::new(file)).as_deref(), Some(name), "{file}");
        }
        assert_eq!(default_name(Path::new("/pod.yaml")), None);
        assert_eq!(default_name(Path::new("/x/\u{436}.yaml")), None);
    }

    #[test]
    fn no_text_makes_it_panic() {
        for length in (0..FULL.len()).step_by(13) {
            if let (Some(head), Some(tail)) = (FULL.get(..length), FULL.get(length..)) {
                let _ = load(head, &context());
                let _ = load(&format!("{head}{}", tail.get(1..).unwrap_or("")), &context());
            }
        }
        for text in [
            "",
            "---",
            "~",
            "a",
            "[]",
            "{}",
            "- a",
            "? [a]\n: b",
            "&a *a",
            "\u{feff}",
            "%YAML 1.2\n---\n",
            "name: \u{0}",
            "<<: 1",
        ] {
            assert!(load(text, &context()).is_err(), "{text:?}");
            let _ = name_only(text, &context());
        }
    }

    #[test]
    fn big_files_are_judged_in_bounded_time() {
        let containers: String = (0..500)
            .map(|i| {
                format!("  c{i}: {{ rootfs: host, command: [a], ports: ['{0}:{0}'] }}\n", i + 1)
            })
            .collect();
        assert_eq!(one(&format!("containers:\n{containers}")).containers.len(), 500);
        let keys: String = (0..2_000).map(|i| format!("k{i}: 1\n")).collect();
        assert_eq!(codes(&keys).len(), 501);
    }
}
