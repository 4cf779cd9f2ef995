//! Raw to model: every value typed, every default filled in, every reference resolved, and every mistake
//! of meaning reported at its place. What the schema said already is not asked again here.

use super::model::{Dns, NetworkMode, PodSpec, Port, Scope, Shared, Volume};
use super::problem::{Edit, Problem, Problems, did_you_mean, surely};
use super::publish::{self, Ports};
use super::quantity::Mistake;
use super::raw::{self, Either, RawPod};
use super::tree::{Kind, Node};
use super::{
    Context, container, init, limits, namespaces, resources, secret, share, userns, volume,
};
use crate::names::{ContainerName, PodName, VolumeName};
use indexmap::{IndexMap, IndexSet};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;

/// What to do about a field that has no mechanism yet.
/// What the checks of a pod have in common.
pub(super) struct Checks<'a> {
    /// The file.
    pub text: &'a str,
    pub context: &'a Context<'a>,
    pub problems: &'a mut Problems,
    pub share: IndexSet<Shared>,
    /// What containers are in that do not say where they are, and do not share.
    pub apart: IndexMap<Shared, Scope>,
    pub network: NetworkMode,
    pub volumes: IndexSet<&'a str>,
    /// Volumes that a container mounts, and whether some mount was not understood.
    pub used: HashSet<String>,
    pub lost_mounts: bool,
    pub secrets: IndexSet<&'a str>,
    /// Secrets that a container sees.
    pub used_secrets: HashSet<String>,
    /// Ports that containers of the pod's `net` listen on, each with its place and its container.
    pub listeners: Vec<(Port, Range<usize>, String)>,
    /// Every published port of the pod with its place.
    pub ports: Ports,
}

impl<'a> Checks<'a> {
    /// Of a pod that nothing is known of but which namespaces its containers begin with.
    fn of(
        raw: &'a RawPod,
        node: &'a Node,
        (text, context): (&'a str, &'a Context<'a>),
        problems: &'a mut Problems,
    ) -> Self {
        let share = share::share(raw, node, text, problems);
        let mut checks = Self {
            text,
            context,
            problems,
            share,
            apart: IndexMap::new(),
            network: NetworkMode::Bridge,
            volumes: declared(raw.volumes.as_ref(), "volumes", node),
            used: HashSet::new(),
            lost_mounts: false,
            secrets: declared(raw.secrets.as_ref(), "secrets", node),
            used_secrets: HashSet::new(),
            listeners: Vec::new(),
            ports: Vec::new(),
        };
        namespaces::of_pod(raw, node, &mut checks);
        checks
    }

    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The problem with the only word that can have been meant.
    pub(super) fn with_known<'w>(
        &self,
        problem: Problem,
        word: &str,
        known: impl IntoIterator<Item = &'w str> + Clone,
    ) -> Problem {
        let place = problem.labels.first().map_or(0..0, |(place, _)| place.clone());
        let meant = surely(word, known);
        problem.maybe_fix(meant.and_then(|known| Edit::of_word(self.text, &place, word, known)))
    }

    /// The value, or nothing and a problem at this place.
    pub(super) fn quantity<T>(
        &mut self,
        code: &'static str,
        value: Result<T, Mistake>,
        place: Range<usize>,
    ) -> Option<T> {
        value
            .map_err(|mistake| {
                let source = self.text.get(place.clone()).unwrap_or_default();
                let word = source.trim_matches(['"', '\'']);
                let edit = mistake.fix.and_then(|new| Edit::of_word(self.text, &place, word, &new));
                // The source is the word, unless a variable or an escape made it.
                let is_word = !word.contains(['$', '\\', '\n']);
                let edit = edit.filter(|_| is_word);
                let part = mistake.part.filter(|part| is_word && part.end <= word.len());
                let start = place.start + source.find(word).unwrap_or_default();
                let at = part.map_or(place, |part| start + part.start..start + part.end);
                let problem = Problem::error(code, mistake.message, at, "here");
                self.report(problem.help(mistake.help).maybe_fix(edit));
            })
            .ok()
    }

    /// Whether a text can go to a file or a terminal as one line.
    pub(super) fn one_line(&mut self, text: &str, place: &Range<usize>) -> bool {
        let bad = text.bytes().find(|byte| *byte < 0x20 || *byte == 0x7f);
        if let Some(byte) = bad {
            let message = format!("a control character (0x{byte:02x}) cannot stand here");
            self.report(
                Problem::error("P0401", message, place.clone(), "in this")
                    .help("remove it: this must be one line of plain text"),
            );
        }
        bad.is_none()
    }

    /// A name that others can resolve: DNS labels with dots.
    pub(super) fn host_name(&mut self, text: &str, place: &Range<usize>) -> bool {
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let good = text.len() <= 63 && text.split('.').all(label);
        if !good && self.one_line(text, place) {
            let message = format!("`{text}` is not a host name");
            let help = host_name_help(text);
            self.report(Problem::error("P0402", message, place.clone(), "here").help(help));
        }
        good
    }

    pub(super) fn address(&mut self, text: &str, place: &Range<usize>) -> Option<IpAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            let message = format!("`{text}` is not an IP address");
            self.report(Problem::error("P0403", message, place.clone(), "here").help(match text {
                "localhost" => "write `127.0.0.1`: an address is numbers, not a name",
                _ => "write an address in numbers, such as `127.0.0.1` or `fd00::1`",
            }));
        }
        address
    }
}

/// The host name that was probably meant.
fn host_name_help(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let near: String = text.chars().map(legal).take(63).collect();
    let labels = near.split('.').map(|label| label.trim_matches('-')).filter(|l| !l.is_empty());
    match labels.collect::<Vec<_>>().join(".") {
        near if near.is_empty() => {
            "write letters, digits, `-` and `.`, such as `db.local`".to_owned()
        }
        near => {
            format!("write `{near}`: a host name has letters, digits, and `-` and `.` between them")
        }
    }
}

fn resolver_help(option: &str) -> String {
    let parts: Vec<String> = option.split_whitespace().map(|part| format!("\"{part}\"")).collect();
    match parts.as_slice() {
        [] => "write an option of resolv.conf(5), such as `rotate`".to_owned(),
        parts => format!("write `[{}]`: each option is an item of its own", parts.join(", ")),
    }
}

/// The pod of a document whose good parts are `raw`, and what it publishes; of use only where no problem
/// was found.
pub(super) fn pod(
    raw: &RawPod,
    node: &Node,
    (text, context): (&str, &Context<'_>),
    default: Option<&str>,
    problems: &mut Problems,
) -> (Option<PodSpec>, Ports) {
    let name = name(raw.name.as_deref(), node, default, problems);
    let mut checks = Checks::of(raw, node, (text, context), problems);
    checks.network = network(raw, node, &mut checks);
    namespaces::network(node, &mut checks);
    let userns = userns::userns(raw, node, &mut checks);
    let time = userns::time(raw, node, &mut checks);
    let hostname = pod_hostname(raw, node, &mut checks);
    let labels = labels(raw, node, &mut checks);
    let dns = dns(raw, node, &mut checks);
    let hosts = hosts(raw, node, &mut checks);
    let mut ports = publish::ports(raw.ports.as_ref(), node, &mut checks);
    let sysctls = limits::sysctls(raw, node, &mut checks);
    let shm_size = limits::shm_size(raw, node, &mut checks);
    let volumes = volumes(raw, node, &mut checks);
    let secrets = secret::declared(raw, node, &mut checks);
    let stop_timeout = container::stop_timeout(raw.stop_timeout.as_ref(), node, &mut checks);
    let containers = container::containers(raw, node, stop_timeout, &mut checks, &mut ports);
    userns::maps_all(&userns, &containers, node, &mut checks);
    publish::of_all(raw, &containers, node, &mut checks);
    let resources = resources::resources(raw.resources.as_ref(), node, &mut checks);
    unused(raw, node, &mut checks);
    let (share, network, published) = (checks.share, checks.network, checks.ports);
    let spec = name.map(|name| PodSpec {
        hostname: hostname.unwrap_or_else(|| name.to_string()),
        name,
        labels,
        share,
        network,
        mtu: raw.network.as_ref().and_then(Either::long).and_then(|long| long.mtu),
        userns,
        time,
        dns,
        hosts,
        ports,
        auto_ports: publish::is_auto(raw),
        sysctls,
        shm_size,
        resources,
        volumes,
        secrets,
        containers,
        exit_policy: init::exit_policy(raw),
        stop_timeout,
    });
    (spec, published)
}

/// What the file calls the things of this map, those that were not understood among them.
fn declared<'a, T>(
    map: Option<&'a IndexMap<String, T>>,
    key: &str,
    node: &'a Node,
) -> IndexSet<&'a str> {
    let lost = node.get(key).into_iter().flat_map(|map| map.lost.iter());
    map.into_iter().flat_map(IndexMap::keys).chain(lost).map(String::as_str).collect()
}

/// Warns of secrets and of volumes that no container sees, where every mount was understood.
fn unused(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) {
    secret::unused(raw, node, checks);
    let (Some(volumes), Some(containers)) = (node.get("volumes"), node.get("containers")) else {
        return;
    };
    let is_whole = |node: &Node| {
        node.lost.is_empty() && node.get("volumes").is_none_or(|list| list.lost.is_empty())
    };
    let Kind::Map(map) = &containers.kind else { return };
    if !is_whole(containers) || !map.values().all(|entry| is_whole(&entry.value)) {
        return;
    }
    // Init containers mount them too.
    if raw.init_containers.is_some() || checks.lost_mounts {
        return;
    }
    for word in raw.volumes.iter().flat_map(IndexMap::keys) {
        if let Some(entry) = volumes.entry(word).filter(|_| !checks.used.contains(word)) {
            let message = format!("no container mounts the volume `{word}`");
            let problem = Problem::error("P0551", message, entry.key.clone(), "not used").warning();
            checks.report(problem.help(format!(
                "add `{word}:/target` to the `volumes` of a container, or remove it"
            )));
        }
    }
}

/// The pod's name, of the file or by default.
pub(super) fn name(
    word: Option<&str>,
    node: &Node,
    default: Option<&str>,
    problems: &mut Problems,
) -> Option<PodName> {
    if node.has_lost("name") {
        return None;
    }
    let Some(word) = word.or(default) else {
        let problem = Problem::error("P0501", "this pod has no name", node.head(), "begins here");
        problems.push(
            problem.help("write `name: …`; only the first pod of a file can be named by the file"),
        );
        return None;
    };
    PodName::try_from(word)
        .map_err(|error| {
            let place = node.get("name").map_or_else(|| node.head(), |name| name.span.clone());
            problems.push(name_problem("a pod", word, &error.to_string(), place));
        })
        .ok()
}

/// "`Web` cannot name a container", with the name that could.
pub(super) fn name_problem(of: &str, word: &str, why: &str, place: Range<usize>) -> Problem {
    let shown: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
    let message = format!("`{shown}` cannot be the name of {of}");
    let fixed: String = word
        .to_lowercase()
        .chars()
        .map(|c| if matches!(c, 'a'..='z' | '0'..='9') { c } else { '-' })
        .take(63)
        .collect();
    let fixed = fixed.trim_matches('-');
    let help = match fixed {
        "" => "write letters from a to z, digits and `-`, such as `web-1`".to_owned(),
        fixed => format!("write `{fixed}`"),
    };
    Problem::error("P0404", message, place, why).help(help)
}

fn network(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> NetworkMode {
    let (Some(network), Some(place)) = (&raw.network, node.get("network")) else {
        return NetworkMode::Bridge;
    };
    let (word, at) = match network {
        Either::Short(word) => (Some(word), place.span.clone()),
        Either::Long(long) => {
            mtu_of_bridge(long, place, checks);
            let at = place.get("mode").map_or_else(|| place.head(), |mode| mode.span.clone());
            (long.mode.as_ref(), at)
        }
    };
    match word.map(String::as_str) {
        None | Some("bridge") => NetworkMode::Bridge,
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(path) if path.starts_with("ns:") => {
            namespaces::at(path, &at, checks).map_or(NetworkMode::Bridge, NetworkMode::At)
        }
        Some(word) => {
            let message = format!("`{word}` is no network");
            let label = "one of: bridge, host, none, ns:/path";
            let known = ["bridge", "host", "none"];
            let problem = Problem::error("P0435", message, at, label);
            let problem = problem.help(did_you_mean(word, known).unwrap_or_else(|| {
                "write one of them, or remove it: `bridge` is the default".to_owned()
            }));
            checks.report(checks.with_known(problem, word, known));
            NetworkMode::Bridge
        }
    }
}

/// Interfaces that podspec does not make are not its to set.
fn mtu_of_bridge(long: &raw::Network, place: &Node, checks: &mut Checks<'_>) {
    let (Some(entry), Some(mode)) = (place.entry("mtu"), &long.mode) else { return };
    // Of a word that is no network that is enough to say.
    if matches!(mode.as_str(), "host" | "none") || mode.starts_with("ns:") {
        let message = format!("with `network: {mode}` there is no interface of the pod's own");
        let problem = Problem::error("P0438", message, entry.key.clone(), "an MTU of nothing");
        checks.report(problem.help("remove `mtu`, or write `mode: bridge`"));
    }
}

fn pod_hostname(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> Option<String> {
    let (name, place) = (raw.hostname.as_ref()?, node.entry("hostname")?);
    if !checks.share.contains(&Shared::Uts) {
        let message = "the pod has a `hostname`, but its containers do not share `uts`";
        let or = match checks.apart.get(&Shared::Uts) {
            Some(Scope::Host | Scope::At(_)) => "remove this",
            Some(Scope::Private) | None => "give each container its own `hostname`",
        };
        let problem =
            Problem::error("P0510", message, place.key.clone(), "no container would have it");
        let help = format!("{}, or {or}", share::with(Shared::Uts, node));
        checks.report(share::also(problem, Shared::Uts, node).help(help));
    }
    checks.host_name(name, &place.value.span).then(|| name.clone())
}

fn labels(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> IndexMap<String, String> {
    let mut labels = IndexMap::new();
    for (key, value) in raw.labels.iter().flatten() {
        let place = node.get("labels").and_then(|labels| labels.entry(key));
        let place = place.map_or_else(|| node.head(), |entry| entry.key.clone());
        if key.is_empty() {
            checks.report(
                Problem::error("P0405", "a label has an empty name", place, "here")
                    .help("write `name: value`, such as `app: shop`"),
            );
        } else if checks.one_line(key, &place) {
            labels.insert(key.clone(), value.0.clone());
        }
    }
    labels
}

fn dns(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> Dns {
    let (Some(dns), Some(place)) = (&raw.dns, node.get("dns")) else { return Dns::default() };
    let at = |key: &str, index| {
        let item = place.get(key).and_then(|list| list.item(index));
        item.map_or_else(|| place.head(), |item| item.span.clone())
    };
    let mut result = Dns::default();
    for (index, server) in dns.servers.iter().flatten().enumerate() {
        result.servers.extend(checks.address(server, &at("servers", index)));
    }
    for (index, domain) in dns.search.iter().flatten().enumerate() {
        if domain == "." || checks.host_name(domain.trim_end_matches('.'), &at("search", index)) {
            result.search.push(domain.clone());
        }
    }
    for (index, option) in dns.options.iter().flatten().enumerate() {
        let place = at("options", index);
        if option.is_empty() || option.contains(' ') {
            let message = format!("`{option}` is not one option of a resolver");
            checks.report(
                Problem::error("P0406", message, place, "here").help(resolver_help(option)),
            );
        } else if checks.one_line(option, &place) {
            result.options.push(option.clone());
        }
    }
    result
}

fn hosts(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> IndexMap<String, IpAddr> {
    let mut hosts = IndexMap::new();
    for (name, address) in raw.hosts.iter().flatten() {
        let Some(entry) = node.get("hosts").and_then(|hosts| hosts.entry(name)) else { continue };
        let address = checks.address(address, &entry.value.span);
        if checks.host_name(name, &entry.key)
            && let Some(address) = address
        {
            hosts.insert(name.clone(), address);
        }
    }
    hosts
}

fn volumes(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> IndexMap<VolumeName, Volume> {
    let mut volumes = IndexMap::new();
    for (word, entry) in raw.volumes.iter().flatten() {
        let Some(place) = node.get("volumes").and_then(|volumes| volumes.entry(word)) else {
            continue;
        };
        let name = VolumeName::try_from(word.as_str());
        let value = volume::declared(entry.0.as_ref(), &place.value, checks);
        match (name, value) {
            (Ok(name), Some(value)) => drop(volumes.insert(name, value)),
            (Ok(_), None) => {}
            (Err(error), _) => {
                let place = place.key.clone();
                checks.report(name_problem("a volume", word, &error.to_string(), place));
            }
        }
    }
    volumes
}

/// What the pods of one file cannot have in common.
pub(super) fn across(names: &[(PodName, Range<usize>)], ports: Ports, problems: &mut Problems) {
    let mut seen: HashMap<&PodName, &Range<usize>> = HashMap::new();
    for (name, at) in names {
        if let Some(first) = seen.get(name) {
            let message = format!("two pods of this file are named `{name}`");
            let problem = Problem::error("P0502", message, at.clone(), "again");
            let first = (*first).clone();
            problems.push(
                problem
                    .also(first, "first")
                    .help(format!("write another name for one of them, such as `{name}-2`")),
            );
            continue;
        }
        seen.insert(name, at);
    }
    publish::conflicts(ports, problems);
}

/// The containers' names that exist, even where what they contain is wrong.
pub(super) fn known_containers(node: &Node) -> Vec<&str> {
    let Some(containers) = node.get("containers") else { return Vec::new() };
    let good = match &containers.kind {
        Kind::Map(map) => map.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let lost = containers.lost.iter().map(String::as_str);
    good.into_iter().chain(lost).collect()
}

pub(super) fn container_name(
    word: &str,
    place: Range<usize>,
    checks: &mut Checks<'_>,
) -> Option<ContainerName> {
    ContainerName::try_from(word)
        .map_err(|error| {
            checks.report(name_problem("a container", word, &error.to_string(), place));
        })
        .ok()
}
