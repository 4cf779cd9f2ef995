//! OCI bundles that stand alone: what a pod gives its containers from outside of their documents (generated files,
//! volumes, the namespaces that they share) is in the bundle, made new by the document, or said to be left out.

use crate::plan::step::{
    Infra, Launch, Overlay, Plan, SecretFile, Step, VolumeContent, VolumeStep,
};
use crate::spec::model::TimeOffsets;
use oci_spec::runtime::{LinuxNamespaceType, LinuxTimeOffset, Mount, Spec};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The directory of the root in a bundle.
pub const ROOT: &str = "rootfs";

/// A bundle, on its way to a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    pub document: Spec,
    /// Texts, by their path.
    pub files: BTreeMap<PathBuf, String>,
    /// Empty directories, where the pod has volumes that containers write.
    pub volumes: BTreeSet<PathBuf>,
    /// Layers of the root, the topmost first; empty where it is this machine's own.
    pub layers: Vec<Overlay>,
    /// What of the container is not in the bundle, and what to do about it.
    pub notes: Vec<String>,
}

impl Bundle {
    /// Its `config.json`: the same bytes every time.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        #[serde(transparent)]
        struct Written<'a>(#[serde(serialize_with = "super::oci::serialize")] &'a Spec);
        serde_json::to_string_pretty(&Written(&self.document)).map(|text| text + "\n")
    }
}

/// Of a container of the plan, to be written at `at`: a document names what is in its bundle by absolute paths, for runtimes
/// differ in what others are relative to.
pub fn bundle(plan: &Plan, launch: &Launch, at: &Path) -> Bundle {
    let of_pod = OfPod::of(plan, launch, at);
    let mut bundle = Bundle {
        document: plan.document(launch),
        files: BTreeMap::new(),
        volumes: BTreeSet::new(),
        layers: Vec::new(),
        notes: Vec::new(),
    };
    let is_host = launch.root.overlays.iter().any(|overlay| overlay.lower == [Path::new("/")]);
    if is_host {
        bundle.notes.push(
            "its root is this machine's own, and `rootfs` is empty: put a root there, or mount one \
             (`mount -t overlay overlay -o lowerdir=/,upperdir=…,workdir=… rootfs`)"
                .to_owned(),
        );
    } else {
        bundle.layers = launch.root.overlays.clone();
    }
    if let Some(root) = bundle.document.root_mut() {
        root.set_path(ROOT.into());
    }
    let mounts = bundle.document.mounts().clone().unwrap_or_default();
    let mounts = mounts.into_iter().filter_map(|mount| of_pod.mount(mount, &mut bundle)).collect();
    bundle.document.set_mounts(Some(mounts));
    of_pod.namespaces(&mut bundle);
    if launch.init {
        bundle.notes.push("`init: true` is podspec's own: no reaper is in the bundle".to_owned());
    }
    bundle
}

/// What the steps of a plan make that documents name by a path.
struct OfPod<'p> {
    files: BTreeMap<&'p Path, &'p str>,
    volumes: Vec<&'p VolumeStep>,
    shm: Option<(&'p Path, u64)>,
    secrets: Vec<(&'p Path, &'p [SecretFile])>,
    /// Namespaces that podspec has made, and what they are bounded by.
    pins: BTreeSet<&'p Path>,
    infra: Option<&'p Infra>,
    sysctls: HashMap<String, String>,
    /// Where the container's supervisor listens to sd_notify.
    notify: Option<&'p Path>,
    bundle: &'p Path,
}

impl<'p> OfPod<'p> {
    fn of(plan: &'p Plan, launch: &'p Launch, bundle: &'p Path) -> Self {
        let mut found = Self {
            files: BTreeMap::new(),
            volumes: Vec::new(),
            shm: None,
            secrets: Vec::new(),
            pins: BTreeSet::new(),
            infra: None,
            sysctls: HashMap::new(),
            bundle,
            notify: launch.health.notify.as_deref().and_then(Path::parent),
        };
        for planned in &plan.steps {
            match &planned.step {
                Step::WriteFiles { files } => found
                    .files
                    .extend(files.iter().map(|(path, text)| (path.as_path(), text.as_str()))),
                Step::MakeVolume(volume) => found.volumes.push(volume),
                Step::MountShm { at, size } => found.shm = Some((at, *size)),
                Step::MakeSecrets { at, files, .. } => found.secrets.push((at, files)),
                Step::PinNamespaces { pins } => {
                    found.pins.extend(pins.values().map(PathBuf::as_path));
                }
                Step::MakeNetns { pin, .. } => found.pins.extend([pin.as_path()]),
                Step::StartInfra(infra) => found.infra = Some(infra),
                Step::SetSysctls { sysctls, .. } => {
                    found.sysctls.extend(sysctls.iter().map(|(k, v)| (k.clone(), v.clone())));
                }
                _ => {}
            }
        }
        found
    }

    /// The mount as the bundle has it; None: not at all.
    fn mount(&self, mut mount: Mount, bundle: &mut Bundle) -> Option<Mount> {
        let source = mount.source().clone().unwrap_or_default();
        let at = mount.destination().clone();
        if mount.typ().as_deref() != Some("bind") {
            return Some(mount);
        }
        if let Some(text) = self.files.get(source.as_path()) {
            let name = Path::new("files").join(source.file_name().unwrap_or_default());
            let path = self.bundle.join(name);
            bundle.files.insert(path.clone(), (*text).to_owned());
            mount.set_source(Some(path));
            return Some(mount);
        }
        if let Some((_, size)) = self.shm.filter(|(shm, _)| source == *shm) {
            return Some(in_memory(mount, size, "nodev,nosuid,noexec,mode=1777"));
        }
        if self.secrets.iter().any(|(place, _)| source.starts_with(place)) {
            let at = at.display();
            bundle.notes.push(format!("the secret at {at} is left out: no text of it is written"));
            return None;
        }
        if let Some(volume) = self.volumes.iter().find(|volume| source.starts_with(&volume.path)) {
            let inside = source.strip_prefix(&volume.path).unwrap_or(Path::new(""));
            let beside = self.bundle.parent().unwrap_or(self.bundle);
            let own = beside.join("volumes").join(&volume.name);
            match &volume.content {
                VolumeContent::Host => return Some(mount),
                VolumeContent::Tmpfs { size } => {
                    return Some(in_memory(mount, *size, "nodev,nosuid,mode=1777"));
                }
                VolumeContent::Files { files } => bundle
                    .files
                    .extend(files.iter().map(|(name, text)| (own.join(name), text.clone()))),
                VolumeContent::Persistent | VolumeContent::EmptyDir => {
                    bundle.volumes.insert(own.join(inside));
                }
            }
            // Its files are the container's root's already.
            let options = mount.options().iter().flatten();
            let options = options.filter(|word| !word.ends_with("idmap")).cloned().collect();
            mount.set_options(Some(options)).set_uid_mappings(None).set_gid_mappings(None);
            // Without the `/` that an empty rest would leave.
            mount.set_source(Some(own.join(inside).components().collect()));
            return Some(mount);
        }
        if self.notify == Some(source.as_path()) {
            let at = at.display();
            bundle.notes.push(format!("{at} is left out: nobody would listen to sd_notify there"));
            return None;
        }
        Some(mount)
    }

    /// What the pod shares each bundle makes for itself.
    fn namespaces(&self, bundle: &mut Bundle) {
        let mut shared: Vec<&str> = Vec::new();
        let Some(linux) = bundle.document.linux_mut() else { return };
        linux.set_cgroups_path(None);
        if !self.sysctls.is_empty() {
            linux.set_sysctl(Some(self.sysctls.clone()));
        }
        for namespace in linux.namespaces_mut().iter_mut().flatten() {
            if namespace.path().as_ref().is_some_and(|path| self.pins.contains(path.as_path())) {
                namespace.set_path(None);
                shared.push(word(namespace.typ()));
            }
        }
        let offsets = self.infra.map(|infra| infra.time).unwrap_or_default();
        if shared.contains(&"time") && offsets != TimeOffsets::default() {
            linux.set_time_offsets(Some(time_offsets(offsets)));
        }
        if shared.contains(&"uts") {
            let hostname = self.infra.and_then(|infra| infra.hostname.clone());
            bundle.document.set_hostname(hostname);
        }
        if !shared.is_empty() {
            let shared = shared.join(", ");
            bundle.notes.push(format!(
                "{shared}: the pod's, here new for this container alone; nothing connects a new net"
            ));
        }
    }
}

/// A tmpfs in the place of a bind mount.
fn in_memory(mut mount: Mount, size: u64, options: &str) -> Mount {
    let access = mount.options().iter().flatten().find(|word| *word == "ro").cloned();
    let words = options.split(',').map(str::to_owned);
    let words = words.chain([format!("size={size}")]).chain(access).collect();
    mount.set_typ(Some("tmpfs".to_owned())).set_source(Some("tmpfs".into()));
    mount.set_options(Some(words)).set_uid_mappings(None).set_gid_mappings(None);
    mount
}

fn time_offsets(offsets: TimeOffsets) -> HashMap<String, LinuxTimeOffset> {
    const SECOND: i64 = 1_000_000_000;
    let of = |name: &str, nanos: i64| {
        let mut offset = LinuxTimeOffset::default();
        let rest = u32::try_from(nanos.rem_euclid(SECOND)).unwrap_or(0);
        offset.set_secs(Some(nanos.div_euclid(SECOND))).set_nanosecs(Some(rest));
        (name.to_owned(), offset)
    };
    [of("boottime", offsets.boottime), of("monotonic", offsets.monotonic)].into()
}

/// As the pod file has it.
fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Time => "time",
        LinuxNamespaceType::Mount => "mnt",
    }
}
