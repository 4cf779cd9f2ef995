//! The files that podspec writes for containers: /etc/hosts, /etc/hostname, /etc/resolv.conf. Texts that
//! are the same for several containers are one file: a pod of a hundred would else have ten thousand
//! lines of hosts.

use crate::names::ContainerName;
use crate::plan::network::{self, PodNetwork, Side};
use crate::plan::places::Places;
use crate::spec::model::{Container, NetworkMode, PodSpec, Scope, Shared};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Where each container finds its generated files, and their texts.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) texts: BTreeMap<PathBuf, String>,
    sources: BTreeMap<ContainerName, Sources>,
}

#[derive(Debug)]
pub(super) struct Sources {
    pub(super) hosts: PathBuf,
    pub(super) resolv_conf: PathBuf,
    /// None where the host's uts namespace is used: we do not know its name.
    pub(super) hostname: Option<PathBuf>,
}

impl Files {
    pub(super) fn of(&self, container: &ContainerName) -> Option<&Sources> {
        self.sources.get(container)
    }
}

/// The host name that a container sees; none: the host's.
pub(super) fn hostname<'a>(spec: &'a PodSpec, container: &'a Container) -> Option<&'a str> {
    match container.namespaces.get(&Shared::Uts) {
        // Whose it is has named it.
        Some(Scope::Host | Scope::At(_)) => None,
        None if spec.share.contains(&Shared::Uts) => Some(&spec.hostname),
        _ => Some(&container.hostname),
    }
}

pub(super) fn generate(
    spec: &PodSpec,
    network: &PodNetwork,
    host_resolv_conf: &str,
    places: &Places<'_>,
) -> Files {
    let mut files = Files::default();
    let mut known: BTreeMap<(&str, String), PathBuf> = BTreeMap::new();
    let mut siblings: BTreeMap<View, Entries> = BTreeMap::new();
    let resolv_conf = resolv_conf(spec, host_resolv_conf);
    for (name, container) in &spec.containers {
        let mut file = |file: &'static str, text: String| {
            let path = known.entry((file, text)).or_insert_with_key(|(file, text)| {
                let path = places.etc(name, file);
                files.texts.insert(path.clone(), text.clone());
                path
            });
            path.clone()
        };
        let view = View::of(spec, network, name);
        let siblings =
            siblings.entry(view).or_insert_with(|| Entries::siblings(spec, network, view));
        let sources = Sources {
            hosts: file("hosts", siblings.text(own_names(spec, network, name, container))),
            resolv_conf: file("resolv.conf", resolv_conf.clone()),
            hostname: hostname(spec, container).map(|host| file("hostname", format!("{host}\n"))),
        };
        files.sources.insert(name.clone(), sources);
    }
    files
}

/// From where one looks at the siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum View {
    Pod,
    Host,
    /// From a namespace of one's own, with a network.
    Connected,
    /// From one with nothing but `lo`.
    Alone,
    /// From one that podspec knows nothing of.
    Elsewhere,
}

impl View {
    fn of(spec: &PodSpec, network: &PodNetwork, name: &ContainerName) -> Self {
        match network::side(spec, &spec.containers[name]) {
            Side::Pod => Self::Pod,
            Side::Host => Self::Host,
            Side::At(_) => Self::Elsewhere,
            Side::Own if network.own.contains_key(name) => Self::Connected,
            Side::Own => Self::Alone,
        }
    }
}

/// Lines of /etc/hosts. One name a line: musl reads lines of at most 511 bytes.
struct Entries {
    names: BTreeSet<String>,
    text: String,
}

impl Entries {
    /// What the file says comes first and wins, then the containers.
    fn siblings(spec: &PodSpec, network: &PodNetwork, view: View) -> Self {
        let mut entries = Self { names: BTreeSet::new(), text: String::new() };
        for (host, address) in &spec.hosts {
            entries.add(host, *address);
        }
        for name in spec.containers.keys() {
            if let Some(address) = seen_from(view, spec, network, name) {
                entries.add(name.as_str(), address.into());
            }
        }
        entries
    }

    fn add(&mut self, host: &str, address: IpAddr) {
        if self.names.insert(host.to_owned()) {
            self.text.push_str(&line(host, address));
        }
    }

    /// The whole file; `own` are names that only this container's file is sure to have.
    fn text(&self, own: Vec<(&str, Ipv4Addr)>) -> String {
        let mut text = line("localhost", Ipv4Addr::LOCALHOST.into());
        let mut added: Vec<&str> = Vec::new();
        for (host, address) in own {
            if !self.names.contains(host) && !added.contains(&host) {
                added.push(host);
                text.push_str(&line(host, address.into()));
            }
        }
        text + &self.text
    }
}

fn line(host: &str, address: IpAddr) -> String {
    format!("{address}\t{host}\n")
}

/// The address at which a container is reached from there, if it is.
fn seen_from(
    view: View,
    spec: &PodSpec,
    network: &PodNetwork,
    name: &ContainerName,
) -> Option<Ipv4Addr> {
    let pod = network.pod.as_ref();
    match (view, network::side(spec, &spec.containers[name])) {
        (View::Pod, Side::Pod) | (View::Host, Side::Host) => Some(Ipv4Addr::LOCALHOST),
        // Those who are in one network by its path are there together.
        (View::Elsewhere, Side::At(path)) => {
            matches!(&spec.network, NetworkMode::At(at) if at == path)
                .then_some(Ipv4Addr::LOCALHOST)
        }
        (View::Alone | View::Elsewhere, _) | (_, Side::At(_)) => None,
        (_, Side::Pod) => pod.map(|connection| connection.address),
        (_, Side::Own) => network.own.get(name).map(|connection| connection.address),
        (_, Side::Host) => pod.map(|connection| connection.gateway.address),
    }
}

/// A container's own names at its own address, so that a program can bind to its host name; then the
/// pod's.
fn own_names<'a>(
    spec: &'a PodSpec,
    network: &PodNetwork,
    name: &'a ContainerName,
    container: &'a Container,
) -> Vec<(&'a str, Ipv4Addr)> {
    let pod = network.pod.as_ref().map(|connection| connection.address);
    let own = match network::side(spec, container) {
        Side::Pod => pod,
        Side::Own => network.own.get(name).map(|connection| connection.address),
        Side::Host | Side::At(_) => None,
    };
    let own = own.unwrap_or(Ipv4Addr::LOCALHOST);
    let host = hostname(spec, container).map(|host| (host, own));
    let pod = match spec.network {
        NetworkMode::Bridge => pod,
        NetworkMode::Host | NetworkMode::None | NetworkMode::At(_) => Some(Ipv4Addr::LOCALHOST),
    };
    host.into_iter()
        .chain([(name.as_str(), own)])
        .chain(pod.map(|address| (spec.hostname.as_str(), address)))
        .collect()
}

/// What the file says, and the host's own line for a kind that it says nothing of.
fn resolv_conf(spec: &PodSpec, host: &str) -> String {
    let dns = &spec.dns;
    if dns.servers.is_empty() && dns.search.is_empty() && dns.options.is_empty() {
        return host.to_owned();
    }
    let lines = |keyword: &str, given: Vec<String>| {
        if given.is_empty() {
            let kept = host.lines().filter(|line| line.split_whitespace().next() == Some(keyword));
            return kept.map(|line| format!("{line}\n")).collect::<String>();
        }
        given.into_iter().map(|value| format!("{keyword} {value}\n")).collect()
    };
    let joined = |words: &[String]| match words {
        [] => Vec::new(),
        words => vec![words.join(" ")],
    };
    lines("search", joined(&dns.search))
        + &lines("nameserver", dns.servers.iter().map(ToString::to_string).collect())
        + &lines("options", joined(&dns.options))
}

/// The generated files of a container as bind mounts: (from, to).
pub(super) fn binds(sources: &Sources) -> impl Iterator<Item = (&Path, &'static str)> {
    let hostname = sources.hostname.as_deref().map(|path| (path, "/etc/hostname"));
    [(sources.hosts.as_path(), "/etc/hosts")]
        .into_iter()
        .chain(hostname)
        .chain([(sources.resolv_conf.as_path(), "/etc/resolv.conf")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn files_of(spec: &PodSpec) -> (Files, PodNetwork) {
        let facts = sample::facts();
        let places = Places::new(&facts.directories, &spec.name);
        let network = network::choose(spec, &facts, &places).unwrap();
        let files = generate(spec, &network, "search lan\nnameserver 192.0.2.1\n", &places);
        (files, network)
    }

    fn hosts<'a>(files: &'a Files, container: &str) -> &'a str {
        &files.texts[&files.of(&container.parse().unwrap()).unwrap().hosts]
    }

    #[test]
    fn siblings_that_share_the_network_meet_on_localhost() {
        let (files, network) = files_of(&sample::pod("shop", &["web", "db"]));
        let pod = network.pod.unwrap().address;
        let expected =
            format!("127.0.0.1\tlocalhost\n{pod}\tshop\n127.0.0.1\tweb\n127.0.0.1\tdb\n");
        assert_eq!(hosts(&files, "web"), expected);
        assert_eq!(files.texts.len(), 3, "one text is one file");
    }

    #[test]
    fn siblings_that_do_not_share_it_have_their_own_addresses() {
        let mut spec = sample::pod("shop", &["web", "db"]);
        spec.share.clear();
        let (files, network) = files_of(&spec);
        let own = |name: &str| network.own[&name.parse().unwrap()].address;
        let expected = format!(
            "127.0.0.1\tlocalhost\n{}\tshop\n{}\tweb\n{}\tdb\n",
            network.pod.as_ref().unwrap().address,
            own("web"),
            own("db")
        );
        assert_eq!(hosts(&files, "web"), expected);
        assert_eq!(hosts(&files, "db"), expected);
    }

    #[test]
    fn the_shared_host_name_is_a_containers_own_address_where_it_has_one() {
        let mut spec = sample::pod("shop", &["web", "db"]);
        spec.share = [Shared::Uts].into();
        let (files, network) = files_of(&spec);
        let own = network.own[&"db".parse().unwrap()].address;
        assert!(hosts(&files, "db").contains(&format!("{own}\tshop\n")));
    }

    #[test]
    fn the_file_has_the_last_word_on_names() {
        let mut spec = sample::pod("shop", &["web", "db"]);
        spec.hosts = [("db".to_owned(), "192.0.2.7".parse().unwrap())].into();
        let (files, _) = files_of(&spec);
        assert!(hosts(&files, "web").contains("192.0.2.7\tdb\n"));
        assert!(!hosts(&files, "web").contains("127.0.0.1\tdb\n"));
    }

    #[test]
    fn without_a_network_only_ones_own_names_are_known() {
        let mut spec = sample::pod("shop", &["web", "db"]);
        spec.network = NetworkMode::None;
        spec.share.clear();
        let (files, _) = files_of(&spec);
        assert_eq!(hosts(&files, "web"), "127.0.0.1\tlocalhost\n127.0.0.1\tweb\n127.0.0.1\tshop\n");
    }

    #[test]
    fn dns_replaces_only_what_it_names() {
        let mut spec = sample::pod("shop", &["web"]);
        assert_eq!(resolv_conf(&spec, "# the host's\n"), "# the host's\n");
        spec.dns.options = vec!["ndots:2".into(), "rotate".into()];
        let host = "search lan\nnameserver 192.0.2.1\noptions edns0\n";
        let expected = "search lan\nnameserver 192.0.2.1\noptions ndots:2 rotate\n";
        assert_eq!(resolv_conf(&spec, host), expected);
        spec.dns.servers = vec!["192.0.2.9".parse().unwrap()];
        assert!(resolv_conf(&spec, host).contains("nameserver 192.0.2.9\n"));
    }
}
