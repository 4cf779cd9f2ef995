//! One container of the file to one of the model.

use super::interpolate::{environment, is_env_key};
use super::model::{
    Container, Logs, NameOrId, NetworkMode, Port, Restart, Role, Root, Runtime, Scope, Shared,
    Signal, User,
};
use super::problem::Problem;
use super::raw::{self, Either, RawContainer, RawPod};
use super::restart::Rule;
use super::tree::{Entry, Node};
use super::validate::{self, Checks};
use super::{
    depends, device, health, image, init, limits, namespaces, publish, quantity, resources,
    restart, rights, runtime, secret, signal, volume,
};
use crate::names::ContainerName;
use indexmap::IndexMap;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const LOGS: Logs = Logs { max_size: 10 << 20, max_files: 5 };

/// Every container; ports of those that share the pod's `net` go to `pod_ports`.
pub(super) fn containers(
    raw: &RawPod,
    node: &Node,
    stop_timeout: Option<Duration>,
    checks: &mut Checks<'_>,
    pod_ports: &mut Vec<Port>,
) -> IndexMap<ContainerName, Container> {
    let mut result = IndexMap::with_capacity(raw.containers.as_ref().map_or(0, IndexMap::len));
    let Some(list) = node.get("containers") else { return result };
    let pod_restart = restart::rule(raw.restart.as_ref(), node, Rule::default(), checks);
    let runtime = runtime::runtime(raw.runtime.as_ref(), node, checks);
    let inherited = Inherited { restart: pod_restart.unwrap_or_default(), stop_timeout, runtime };
    if raw.containers.as_ref().is_some_and(IndexMap::is_empty) && list.lost.is_empty() {
        let message = "this pod has no container";
        checks
            .report(Problem::error("P0503", message, list.span.clone(), "nothing in here").help(
                "add one: `containers: { web: { rootfs: host, command: [sleep, \"10\"] } }`",
            ));
    }
    let restarts = restarts(raw, inherited.restart.policy);
    let mut add = |(word, raw), list: &Node, pod: &Inherited, checks: &mut Checks<'_>| {
        let word: &String = word;
        let Some(entry) = list.entry(word) else { return };
        let name = validate::container_name(word, entry.key.clone(), checks);
        let one = One { word, raw, entry, node: &entry.value };
        let container = one.build(pod, checks, pod_ports);
        if let (Some(name), Some(container)) = (name, container) {
            result.insert(name, container);
        }
    };
    if let Some(list) = node.get("initContainers") {
        let of_init = Inherited { restart: Rule::default(), ..inherited.clone() };
        for one in raw.init_containers.iter().flatten() {
            init::check(one, list, node, checks);
            add(one, list, &of_init, checks);
        }
    }
    for one in raw.containers.iter().flatten() {
        add(one, list, &inherited, checks);
    }
    init::roles(raw, &mut result);
    depends::dependencies(raw, node, &restarts, checks, &mut result);
    result
}

/// Which containers are started again however they end, by their words.
fn restarts(raw: &RawPod, pod: Restart) -> HashSet<&str> {
    let always = |container: &RawContainer| match restart::word(container.restart.as_ref()) {
        Some(word) => matches!(word, "always" | "unless-stopped"),
        None => matches!(pod, Restart::Always | Restart::UnlessStopped),
    };
    let all = raw.containers.iter().flatten();
    all.filter(|(_, container)| always(container)).map(|(name, _)| name.as_str()).collect()
}

/// How long the pod's stop may take.
pub(super) fn stop_timeout(
    raw: Option<&raw::Span>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Duration> {
    let (span, place) = raw.zip(node.get("stopTimeout"))?;
    checks.quantity("P0410", quantity::duration(&span.0), place.span.clone())
}

/// What of the pod holds for a container that says nothing else.
#[derive(Debug, Clone)]
struct Inherited {
    restart: Rule,
    stop_timeout: Option<Duration>,
    runtime: Option<Runtime>,
}

/// A container of the file and its place.
struct One<'a> {
    word: &'a str,
    raw: &'a RawContainer,
    entry: &'a Entry,
    node: &'a Node,
}

impl One<'_> {
    fn at(&self, key: &str) -> Range<usize> {
        self.node.get(key).map_or_else(|| self.entry.key.clone(), |value| value.span.clone())
    }

    fn item(&self, key: &str, index: usize) -> Range<usize> {
        let item = self.node.get(key).and_then(|list| list.item(index));
        item.map_or_else(|| self.at(key), |item| item.span.clone())
    }

    fn lost(&self, key: &str) -> bool {
        self.node.has_lost(key)
    }

    fn build(
        &self,
        pod: &Inherited,
        checks: &mut Checks<'_>,
        pod_ports: &mut Vec<Port>,
    ) -> Option<Container> {
        let raw = self.raw;
        let root = self.root(checks);
        let argv = self.argv(checks);
        let working_dir = self.working_dir(checks);
        let user = self.user(checks);
        let groups = self.groups(checks);
        let env = self.env(checks);
        let mounts = volume::mounts(raw.volumes.as_ref(), self.node, checks);
        let secrets = secret::mounts(raw.secrets.as_ref(), &mounts, self.node, checks);
        let devices = device::devices(raw.devices.as_ref(), self.node, checks);
        let ulimits = limits::ulimits(raw.ulimits.as_ref(), self.node, checks);
        let resources = resources::resources(raw.resources.as_deref(), self.node, checks);
        let namespaces = namespaces::of(self.word, raw.namespaces.as_deref(), self.node, checks);
        namespaces::idmaps(self.word, raw.volumes.as_ref(), &namespaces, self.node, checks);
        let hostname = self.hostname(&namespaces, checks);
        let mut ports = self.ports(&namespaces, checks);
        if checks.share.contains(&Shared::Net) && !namespaces.contains_key(&Shared::Net) {
            pod_ports.append(&mut ports);
        }
        let restart = restart::rule(raw.restart.as_ref(), self.node, pod.restart, checks);
        if let Some(rule) = restart {
            restart::warn_of_unused(self.word, rule, self.node, checks);
        }
        let stop_signal = self.stop_signal(checks);
        let stop_timeout = self.stop_timeout(pod.stop_timeout, checks);
        let logs = self.logs(checks);
        let probes = health::probes(raw, self.node, checks);
        let lifecycle = health::lifecycle(raw, self.node, checks);
        let security = rights::security(self.word, self.raw, self.node, checks);
        Some(Container {
            role: Role::Main,
            root: root?,
            argv,
            working_dir: working_dir?,
            user: user?,
            groups,
            env,
            mounts,
            secrets,
            devices,
            ulimits,
            oom_score_adj: raw.oom_score_adj,
            resources,
            hostname,
            ports,
            depends_on: IndexMap::new(),
            restart: restart?.policy,
            backoff: restart?.backoff(),
            stop_signal: stop_signal?,
            stop_timeout: stop_timeout?,
            tty: raw.tty.unwrap_or(false),
            init: raw.init.unwrap_or(false),
            stdin: raw.stdin.unwrap_or(false),
            runtime: self.runtime(pod.runtime.as_ref(), checks),
            namespaces,
            logs: logs?,
            probes,
            lifecycle,
            security: security?,
        })
    }

    fn runtime(&self, pod: Option<&Runtime>, checks: &mut Checks<'_>) -> Option<Runtime> {
        let runtime = match &self.raw.runtime {
            Some(_) => runtime::runtime(self.raw.runtime.as_ref(), self.node, checks),
            None => pod.cloned(),
        };
        runtime::refuse_reaper(runtime.as_ref(), self.raw, self.at("init"), checks);
        runtime
    }

    fn root(&self, checks: &mut Checks<'_>) -> Option<Root> {
        image::refuse_policy(self.word, self.raw, self.node, checks);
        match (&self.raw.image, &self.raw.rootfs) {
            (Some(_), Some(_)) => {
                let (image, rootfs) = (self.node.entry("image")?, self.node.entry("rootfs")?);
                let message = format!("`{}` has both an `image` and a `rootfs`", self.word);
                let problem = Problem::error("P0505", message, rootfs.key.clone(), "a second root");
                checks.report(
                    problem
                        .also(image.key.clone(), "the first")
                        .help("remove `rootfs`, or remove `image`: a container has one root"),
                );
                None
            }
            (Some(word), None) => {
                let place = self.at("image");
                image::image(word, self.raw, &place, checks).map(Root::Image)
            }
            (None, Some(word)) if word == "host" => Some(Root::Host),
            (None, Some(word)) => {
                let path = volume::host_path(word, &self.at("rootfs"), checks)?;
                volume::is_there(word, &path, true, &self.at("rootfs"), checks);
                Some(Root::Directory(path))
            }
            (None, None) => {
                if !self.lost("image") && !self.lost("rootfs") {
                    let message = format!("`{}` has neither `image` nor `rootfs`", self.word);
                    let problem = Problem::error(
                        "P0504",
                        message,
                        self.entry.key.clone(),
                        "has no root file system",
                    );
                    checks.report(
                        problem.help("write `rootfs: host`, `rootfs: ./directory` or `image: …`"),
                    );
                }
                None
            }
        }
    }

    fn argv(&self, checks: &mut Checks<'_>) -> Vec<String> {
        let (command, args) = (self.raw.command.as_ref(), self.raw.args.as_ref());
        let words = command.into_iter().flatten().chain(args.into_iter().flatten());
        let argv: Vec<String> = words.map(|word| word.0.clone()).collect();
        let unknown = self.lost("command")
            || self.lost("args")
            || self.node.get("command").is_some_and(|command| !command.lost.is_empty());
        if self.raw.rootfs.is_some() && command.is_none_or(Vec::is_empty) && !unknown {
            let message = format!("`{}` has no `command`", self.word);
            let problem =
                Problem::error("P0506", message, self.entry.key.clone(), "has nothing to run");
            let help = if argv.is_empty() {
                "a root directory has no program of its own: write `command: [program, argument]`"
            } else {
                "write `command: [program]` before `args`: a root directory has no program of its own"
            };
            checks.report(problem.help(help));
        } else if argv.first().is_some_and(String::is_empty) && !unknown {
            let message = "the program has an empty name";
            checks
                .report(Problem::error("P0407", message, self.item("command", 0), "here").help(
                    "the first item is the program, such as `command: [/bin/sleep, \"10\"]`",
                ));
        }
        argv
    }

    fn working_dir(&self, checks: &mut Checks<'_>) -> Option<PathBuf> {
        let Some(word) = &self.raw.working_dir else { return Some(PathBuf::from("/")) };
        let place = self.at("workingDir");
        if !word.starts_with('/') {
            let message = format!("`{word}` is not an absolute path");
            let help = format!("write `/{}`", word.trim_start_matches("./"));
            checks
                .report(Problem::error("P0453", message, place, "inside the container").help(help));
            return None;
        }
        checks.one_line(word, &place).then(|| Path::new(word).components().collect())
    }

    fn user(&self, checks: &mut Checks<'_>) -> Option<User> {
        let Some(word) = &self.raw.user else {
            return Some(User { user: NameOrId::Id(0), group: None });
        };
        let place = self.at("user");
        let (user, group) = match word.0.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (word.0.as_str(), None),
        };
        let user = name_or_id(user, &place, checks)?;
        let group = match group {
            Some(group) => Some(name_or_id(group, &place, checks)?),
            None => None,
        };
        Some(User { user, group })
    }

    fn groups(&self, checks: &mut Checks<'_>) -> Vec<NameOrId> {
        let groups = self.raw.groups.iter().flatten().enumerate();
        groups
            .filter_map(|(index, word)| name_or_id(&word.0, &self.item("groups", index), checks))
            .collect()
    }

    /// The files of `envFile`, then `env` over them.
    fn env(&self, checks: &mut Checks<'_>) -> IndexMap<String, String> {
        let mut env = IndexMap::new();
        match &self.raw.env_file {
            Some(Either::Short(file)) => self.env_file(file, self.at("envFile"), &mut env, checks),
            Some(Either::Long(files)) => {
                for (index, file) in files.iter().enumerate() {
                    self.env_file(file, self.item("envFile", index), &mut env, checks);
                }
            }
            None => {}
        }
        match &self.raw.env {
            Some(Either::Long(map)) => {
                for (key, value) in map {
                    let entry = self.node.get("env").and_then(|env| env.entry(key));
                    let place = entry.map_or_else(|| self.at("env"), |entry| entry.key.clone());
                    if env_key(key, &place, checks) {
                        env.insert(key.clone(), value.0.clone());
                    }
                }
            }
            Some(Either::Short(list)) => self.env_list(list, &mut env, checks),
            None => {}
        }
        env
    }

    fn env_list(
        &self,
        list: &[raw::Text],
        env: &mut IndexMap<String, String>,
        checks: &mut Checks<'_>,
    ) {
        let mut seen: IndexMap<&str, Range<usize>> = IndexMap::new();
        for (index, text) in list.iter().enumerate() {
            let place = self.item("env", index);
            let Some((key, value)) = text.0.split_once('=') else {
                let message = format!("`{}` is not KEY=VALUE", text.0);
                let problem = Problem::error("P0454", message, place, "no `=` in this");
                checks.report(problem.help(format!(
                    "for a variable of your own environment write `{0}=${{{0}}}`",
                    text.0
                )));
                continue;
            };
            if let Some(first) = seen.get(key) {
                let message = format!("the variable `{key}` is here twice");
                checks.report(
                    Problem::error("P0455", message, place, "again")
                        .also(first.clone(), "first")
                        .help("keep one of the two"),
                );
                continue;
            }
            if env_key(key, &place, checks) {
                env.insert(key.to_owned(), value.to_owned());
            }
            seen.insert(key, place);
        }
    }

    fn env_file(
        &self,
        file: &str,
        place: Range<usize>,
        env: &mut IndexMap<String, String>,
        checks: &mut Checks<'_>,
    ) {
        let Some(path) = volume::host_path(file, &place, checks) else { return };
        let pairs = match (checks.context.read)(&path) {
            Ok(text) => environment(&text).map_err(|line| {
                let message = format!("line {line} of {} is not KEY=VALUE", path.display());
                (message, format!("write line {line} as `NAME=value`, or put `#` before a comment"))
            }),
            Err(error) => {
                let message = match error.kind() {
                    ErrorKind::NotFound => format!("there is no file {}", path.display()),
                    _ => format!("cannot read {}: {error}", path.display()),
                };
                let help = "create it, or correct the path: it is relative to the pod file";
                Err((message, help.to_owned()))
            }
        };
        match pairs {
            Ok(pairs) => env.extend(pairs),
            Err((message, help)) => {
                checks.report(Problem::error("P0456", message, place, "named here").help(help));
            }
        }
    }

    fn hostname(&self, namespaces: &IndexMap<Shared, Scope>, checks: &mut Checks<'_>) -> String {
        let Some(name) = &self.raw.hostname else { return self.word.to_owned() };
        let scope = namespaces.get(&Shared::Uts);
        let own = scope == Some(&Scope::Private)
            || scope.is_none() && !checks.share.contains(&Shared::Uts);
        if !own && let Some(entry) = self.node.entry("hostname") {
            let of = if scope.is_some() { "the machine's" } else { "the pod's" };
            let message = format!("`{}` has a `hostname`, but its host name is {of}", self.word);
            let help = if checks.apart.get(&Shared::Uts).is_some_and(|pod| Some(pod) == scope) {
                "remove it, or give this container `namespaces: { uts: private }`"
            } else if scope.is_some() {
                "remove it, or leave the machine's `uts`"
            } else {
                "set the pod's `hostname`, or give this container `namespaces: { uts: private }`"
            };
            checks.report(
                Problem::error("P0513", message, entry.key.clone(), "has no effect").help(help),
            );
        }
        checks.host_name(name, &self.at("hostname"));
        name.clone()
    }

    fn ports(&self, namespaces: &IndexMap<Shared, Scope>, checks: &mut Checks<'_>) -> Vec<Port> {
        let first = checks.ports.len();
        let ports = publish::ports(self.raw.ports.as_ref(), self.node, checks);
        if checks.share.contains(&Shared::Net) && !namespaces.contains_key(&Shared::Net) {
            let own = checks.ports[first..].iter();
            let own: Vec<_> =
                own.map(|(port, at)| (port.clone(), at.clone(), self.word.to_owned())).collect();
            checks.listeners.extend(own);
        }
        if namespaces.get(&Shared::Net) == Some(&Scope::Host)
            && checks.network == NetworkMode::Bridge
            && let Some(entry) = self.node.entry("ports").filter(|_| !ports.is_empty())
        {
            let message =
                format!("`{}` is in the machine's network: there is nothing to publish", self.word);
            let problem = Problem::error("P0511", message, entry.key.clone(), "these ports");
            checks
                .report(problem.help("remove `ports`: it listens on the machine's own addresses"));
            return Vec::new();
        }
        ports
    }

    fn stop_timeout(&self, pod: Option<Duration>, checks: &mut Checks<'_>) -> Option<Duration> {
        let Some(span) = &self.raw.stop_timeout else { return Some(pod.unwrap_or(STOP_TIMEOUT)) };
        let at = self.at("stopTimeout");
        let own = checks.quantity("P0410", quantity::duration(&span.0), at.clone())?;
        if let Some(pod) = pod.filter(|pod| own > *pod) {
            let message = format!("the pod stops within {pod:?}, and `{}` has {own:?}", self.word);
            let problem = Problem::error("P0670", message, at, "more than the whole pod");
            checks
                .report(problem.help("write no more than the pod's `stopTimeout`, or raise that"));
        }
        Some(own)
    }

    fn stop_signal(&self, checks: &mut Checks<'_>) -> Option<Signal> {
        let Some(word) = &self.raw.stop_signal else { return Some(Signal(libc::SIGTERM)) };
        let number = signal::signal(&word.0);
        if number.is_none() {
            let message = format!("`{}` is no signal", word.0);
            let help = signal::near(&word.0).unwrap_or_else(|| {
                "write a name such as `SIGTERM` or `INT`, or a number from 1 to 64".to_owned()
            });
            checks
                .report(Problem::error("P0457", message, self.at("stopSignal"), "here").help(help));
        }
        number.map(Signal)
    }

    fn logs(&self, checks: &mut Checks<'_>) -> Option<Logs> {
        let (Some(raw), Some(node)) = (&self.raw.logs, self.node.get("logs")) else {
            return Some(LOGS);
        };
        let max_size = match (&raw.max_size, node.get("maxSize")) {
            (Some(size), Some(place)) => {
                checks.quantity("P0411", quantity::size(&size.0), place.span.clone())?
            }
            _ => LOGS.max_size,
        };
        Some(Logs { max_size, max_files: raw.max_files.unwrap_or(LOGS.max_files) })
    }
}

fn env_key(key: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> bool {
    if !is_env_key(key) && checks.one_line(key, place) {
        let message = match key {
            "" => "a variable has an empty name".to_owned(),
            key => format!("`{key}` cannot be the name of a variable"),
        };
        let label = if key.is_empty() { "empty" } else { "a space or `=` in it" };
        checks.report(Problem::error("P0458", message, place.clone(), label).help(
            match key.replace([' ', '='], "_").trim_matches('_') {
                "" => "write a name of letters, digits and `_`, such as `LOG_LEVEL`".to_owned(),
                name => format!("write `{name}`: a name has letters, digits and `_`"),
            },
        ));
    }
    is_env_key(key)
}

/// Digits are an id below 2^31, anything else a name of the root's own files.
fn name_or_id(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<NameOrId> {
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        let id = word.parse::<u32>().ok().filter(|id| *id < 1 << 31);
        if id.is_none() {
            let message = format!("the id {word} is too large");
            checks.report(
                Problem::error("P0459", message, place.clone(), "at most 2147483647")
                    .help("write a smaller id, such as `1000`"),
            );
        }
        return id.map(NameOrId::Id);
    }
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '$');
    if word.is_empty() || word.starts_with('-') || word.len() > 255 || !word.chars().all(legal) {
        if checks.one_line(word, place) {
            let message = if word.is_empty() {
                "a user or group is empty here".to_owned()
            } else {
                format!("`{word}` is neither a name nor an id")
            };
            let help = "write `uid`, `uid:gid`, `name` or `name:group`";
            checks.report(Problem::error("P0460", message, place.clone(), "here").help(help));
        }
        return None;
    }
    Some(NameOrId::Name(word.to_owned()))
}
