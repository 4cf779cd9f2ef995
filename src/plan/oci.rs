//! The OCI runtime spec of a container: namespaces, hidden paths, cgroup, and the document put together.
//! Also how it is written: the crate keeps capabilities in hash sets, whose order differs from run to
//! run, and a plan must be the same bytes every time.

use crate::names::ContainerName;
use crate::plan::facts::HostFacts;
use crate::plan::files;
use crate::plan::ids;
use crate::plan::limits;
use crate::plan::network::{self, Side};
use crate::plan::places::Places;
use crate::plan::security;
use crate::plan::step::{IdMaps, Namespace};
use crate::spec::model::{Container, PodSpec, Root, Scope, Shared};
use oci_spec::runtime::{self as oci, Capabilities, Capability, LinuxNamespaceType, Spec};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What runc, crun and runsc of Debian 12 take too.
const VERSION: &str = "1.0.2";

/// A namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    New,
    /// Pinned there.
    Join(PathBuf),
    Host,
}

/// Where the container is, in the kinds that a pod can share.
pub(super) fn entry(
    spec: &PodSpec,
    name: &ContainerName,
    container: &Container,
    kind: Shared,
    places: &Places<'_>,
) -> Entry {
    if kind == Shared::Net {
        return match network::side(spec, container) {
            Side::Pod => Entry::Join(places.pin(Namespace::Net)),
            Side::Own => Entry::Join(places.own_netns(name)),
            Side::Host => Entry::Host,
            Side::At(path) => Entry::Join(path.to_owned()),
        };
    }
    match container.namespaces.get(&kind) {
        Some(Scope::Host) => Entry::Host,
        Some(Scope::Private) => Entry::New,
        Some(Scope::At(path)) => Entry::Join(path.clone()),
        None if spec.share.contains(&kind) => Entry::Join(places.pin(step_kind(kind))),
        // As long as nobody asks, ids and clocks are the machine's.
        None if matches!(kind, Shared::User | Shared::Time) => Entry::Host,
        None => Entry::New,
    }
}

pub(super) fn step_kind(kind: Shared) -> Namespace {
    match kind {
        Shared::Net => Namespace::Net,
        Shared::Uts => Namespace::Uts,
        Shared::Ipc => Namespace::Ipc,
        Shared::Pid => Namespace::Pid,
        Shared::User => Namespace::User,
        Shared::Cgroup => Namespace::Cgroup,
        Shared::Time => Namespace::Time,
    }
}

fn oci_kind(kind: Shared) -> LinuxNamespaceType {
    match kind {
        Shared::Net => LinuxNamespaceType::Network,
        Shared::Uts => LinuxNamespaceType::Uts,
        Shared::Ipc => LinuxNamespaceType::Ipc,
        Shared::Pid => LinuxNamespaceType::Pid,
        Shared::User => LinuxNamespaceType::User,
        Shared::Cgroup => LinuxNamespaceType::Cgroup,
        Shared::Time => LinuxNamespaceType::Time,
    }
}

/// The parts of the document that other files chose.
pub(super) struct Parts {
    pub(super) process: oci::Process,
    pub(super) mounts: Vec<oci::Mount>,
    pub(super) merged: PathBuf,
    pub(super) resources: oci::LinuxResources,
    /// What its ids are outside.
    pub(super) ids: Option<IdMaps>,
}

pub(super) fn document(
    spec: &PodSpec,
    name: &ContainerName,
    facts: &HostFacts,
    places: &Places<'_>,
    parts: Parts,
) -> Spec {
    let container = &spec.containers[name];
    let mut root = oci::Root::default();
    let read_only = container.security.read_only_rootfs;
    root.set_path(parts.merged).set_readonly(Some(read_only));
    let uts = entry(spec, name, container, Shared::Uts, places);
    let own_name = files::hostname(spec, container).filter(|_| uts == Entry::New);
    let may = parts.process.capabilities().as_ref().and_then(|sets| sets.bounding().clone());
    let may_make_nodes = may.is_some_and(|bounding| bounding.contains(&Capability::Mknod));
    let mut resources = parts.resources;
    let of_container = facts.containers.get(name);
    resources.set_devices(Some(limits::device_rules(container, of_container, may_make_nodes)));
    let mut linux = linux(spec, name, facts, places, parts.ids.as_ref());
    linux.set_resources(Some(resources));
    let mut document = Spec::default();
    document
        .set_version(VERSION.to_owned())
        .set_root(Some(root))
        .set_mounts(Some(parts.mounts))
        .set_process(Some(parts.process))
        .set_hostname(own_name.map(str::to_owned))
        .set_annotations(None)
        .set_linux(Some(linux));
    document
}

fn linux(
    spec: &PodSpec,
    name: &ContainerName,
    facts: &HostFacts,
    places: &Places<'_>,
    ids: Option<&IdMaps>,
) -> oci::Linux {
    let container = &spec.containers[name];
    let shareable = Shared::ALL.into_iter().filter_map(|kind| {
        match entry(spec, name, container, kind, places) {
            Entry::New => Some(namespace(oci_kind(kind), None)),
            Entry::Join(path) => Some(namespace(oci_kind(kind), Some(path))),
            Entry::Host => None,
        }
    });
    let own = [namespace(LinuxNamespaceType::Mount, None)];
    let secrets = match container.root {
        Root::Host => facts.host_secrets.as_slice(),
        Root::Directory(_) | Root::Image(_) => &[],
    };
    let (masked, read_only) = security::hidden(container, &facts.kernel);
    let masked = masked
        .into_iter()
        .chain(secrets.iter().filter_map(|path| path.to_str().map(str::to_owned)));
    let cgroup = Path::new("/").join(places.container_cgroup(name));
    let of_container = facts.containers.get(name);
    let devices = of_container.map(|facts| limits::devices(container, facts)).unwrap_or_default();
    let devices = security::devices(container, &facts.kernel, devices);
    let mut linux = oci::Linux::default();
    linux
        .set_namespaces(Some(shareable.chain(own).collect()))
        .set_cgroups_path(Some(cgroup))
        .set_masked_paths(Some(masked.collect()))
        .set_readonly_paths(Some(read_only))
        .set_rootfs_propagation(Some("private".to_owned()))
        .set_resources(None)
        .set_devices((!devices.is_empty()).then_some(devices))
        .set_seccomp(None)
        .set_uid_mappings(ids.map(|ids| ids::oci(&ids.uids)))
        .set_gid_mappings(ids.map(|ids| ids::oci(&ids.gids)));
    linux
}

fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> oci::LinuxNamespace {
    let mut namespace = oci::LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}

/// The document as we write it: every field that `document` sets, capabilities in one order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    oci_version: &'a str,
    root: &'a Option<oci::Root>,
    mounts: &'a Option<Vec<oci::Mount>>,
    process: Option<WrittenProcess<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    linux: Option<WrittenLinux<'a>>,
}

/// The files of `unified` in one order: the crate keeps them in a hash map, too.
struct WrittenLinux<'a>(&'a oci::Linux);

impl Serialize for WrittenLinux<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let resources = self.0.resources().as_ref();
        if resources.and_then(|resources| resources.unified().as_ref()).is_none() {
            return self.0.serialize(serializer);
        }
        let mut written = serde_json::to_value(self.0).map_err(serde::ser::Error::custom)?;
        if let Some(Value::Object(files)) = written.pointer_mut("/resources/unified") {
            files.sort_keys();
        }
        written.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenProcess<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal: Option<bool>,
    user: &'a oci::User,
    args: &'a Option<Vec<String>>,
    env: &'a Option<Vec<String>>,
    cwd: &'a Path,
    capabilities: Option<WrittenCapabilities>,
    rlimits: &'a Option<Vec<oci::PosixRlimit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<i32>,
    no_new_privileges: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    apparmor_profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selinux_label: Option<&'a str>,
}

#[derive(Serialize)]
struct WrittenCapabilities {
    bounding: Vec<Capability>,
    effective: Vec<Capability>,
    inheritable: Vec<Capability>,
    permitted: Vec<Capability>,
    ambient: Vec<Capability>,
}

pub(super) fn serialize<S: Serializer>(spec: &Spec, serializer: S) -> Result<S::Ok, S::Error> {
    let process = spec.process().as_ref().map(|process| WrittenProcess {
        terminal: process.terminal(),
        user: process.user(),
        args: process.args(),
        env: process.env(),
        cwd: process.cwd(),
        capabilities: process.capabilities().as_ref().map(written_capabilities),
        rlimits: process.rlimits(),
        oom_score_adj: process.oom_score_adj(),
        no_new_privileges: process.no_new_privileges(),
        apparmor_profile: process.apparmor_profile().as_deref(),
        selinux_label: process.selinux_label().as_deref(),
    });
    let written = Written {
        oci_version: spec.version(),
        root: spec.root(),
        mounts: spec.mounts(),
        process,
        hostname: spec.hostname().as_deref(),
        linux: spec.linux().as_ref().map(WrittenLinux),
    };
    written.serialize(serializer)
}

fn written_capabilities(sets: &oci::LinuxCapabilities) -> WrittenCapabilities {
    let sorted = |set: &Option<Capabilities>| {
        let mut sorted: Vec<Capability> = set.iter().flatten().copied().collect();
        sorted.sort_by_key(|capability| *capability as u8);
        sorted
    };
    WrittenCapabilities {
        bounding: sorted(sets.bounding()),
        effective: sorted(sets.effective()),
        inheritable: sorted(sets.inheritable()),
        permitted: sorted(sets.permitted()),
        ambient: sorted(sets.ambient()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn entries(change: impl FnOnce(&mut PodSpec)) -> Vec<(Shared, Entry)> {
        let mut spec = sample::pod("shop", &["web"]);
        change(&mut spec);
        let facts = sample::facts();
        let places = Places::new(&facts.directories, &spec.name);
        let (name, container) = spec.containers.first().unwrap();
        [Shared::Net, Shared::Uts, Shared::Ipc, Shared::Pid]
            .map(|kind| (kind, entry(&spec, name, container, kind, &places)))
            .into()
    }

    #[test]
    fn namespaces_are_joined_by_path_made_new_or_the_hosts() {
        let join = |path: &str| Entry::Join(path.into());
        let default = entries(|_| {});
        assert_eq!(default[0].1, join("/run/netns/shop"));
        assert_eq!(default[1].1, join("/run/podspec/pods/shop/mnt/ns/uts"));
        assert_eq!(default[3].1, Entry::New);
        let none = entries(|spec| spec.share.clear());
        assert_eq!(none[0].1, join("/run/netns/shop.web"));
        assert!(none[1..].iter().all(|(_, entry)| *entry == Entry::New));
        let own = entries(|spec| {
            let scopes = [(Shared::Net, Scope::Host), (Shared::Pid, Scope::Host)];
            spec.containers[0].namespaces = scopes.into();
        });
        assert_eq!((own[0].1.clone(), own[3].1.clone()), (Entry::Host, Entry::Host));
        let host = entries(|spec| spec.network = crate::spec::model::NetworkMode::Host);
        assert_eq!(host[0].1, Entry::Host);
    }
}
