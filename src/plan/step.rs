//! The steps a plan is made of: one variant per kind of change to the host, every value already chosen.
//! `exec/apply.rs` has the one `match` that does them, `exec/undo.rs` the one that undoes them.

use crate::names::image::{Digest, ImageReference};
use crate::names::{ContainerName, IfName, PodId, PodName, SecretName};
use crate::plan::facts::Subnet;
use crate::plan::health::Health;
use crate::seccomp::Filter;
pub use crate::spec::model::{Backoff, ExitPolicy, Role};
use crate::spec::model::{IdRange, TimeOffsets};
use crate::spec::quantity;
use crate::sys::filter::Program;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// A step's place in its plan.
pub type StepId = usize;

/// What brings a machine from what is observed to what is desired. Steps are in an order that respects
/// every edge, so carrying them out one by one is right, if slow; undo is the reverse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub pod: PodName,
    pub id: PodId,
    pub steps: Vec<Planned>,
    /// What containers may ask of the kernel, each profile once; `Launch::seccomp` counts from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seccomp: Vec<Filter>,
    #[serde(default)]
    pub exit_policy: ExitPolicy,
    /// How long the stop of all of it takes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Duration>,
}

impl Plan {
    /// The filter of a container's processes.
    pub fn filter(&self, launch: &Launch) -> Option<&Program> {
        self.seccomp.get(launch.seccomp?).map(|filter| &filter.program)
    }

    /// The OCI runtime spec of a container with everything in it, for whoever else carries it out.
    pub fn document(&self, launch: &Launch) -> oci_spec::runtime::Spec {
        let mut document = (*launch.oci).clone();
        let filter = launch.seccomp.and_then(|index| self.seccomp.get(index));
        if let (Some(filter), Some(linux)) = (filter, document.linux_mut()) {
            linux.set_seccomp(Some(filter.for_others()));
        }
        document
    }
}

/// A secret's file, as its container's user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFile {
    pub secret: SecretName,
    pub path: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub step: Step,
    pub after: Vec<Edge>,
    /// Why this step, and why with these values: for the reader of `podspec plan`.
    pub why: String,
}

/// A step waits for an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    pub step: StepId,
    pub until: Until,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// The step is done.
    Done,
    /// The container that the step started is ready, now.
    Ready,
    /// The container that the step started has ended with 0.
    Completed,
}

/// One change to the host. Written as `{kind: fields}`: a kind that stood among its fields would have serde take each
/// step apart twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// The machine's part of the network: bridge, nftables table, forwarding. Shared by all pods, so
    /// undoing a pod leaves it.
    MakeNetwork(Network),
    /// AppArmor's profile of containers whose files name none, for the whole machine; undoing a pod leaves it.
    LoadProfile { name: String },
    /// A small tmpfs for the pod's pins, generated files and shared memory.
    MountPodTmpfs { at: PathBuf },
    /// `podspec/<id>` of the v2 hierarchy, which every process of the pod is born below.
    MakeCgroup {
        cgroup: PathBuf,
        /// Of the whole pod. The controllers are enabled for the cgroups below it, too.
        #[serde(default, skip_serializing_if = "Limits::is_none")]
        limits: Limits,
    },
    /// The process that holds the shared namespaces.
    StartInfra(Infra),
    /// A file by which no other pod takes these ids of the machine.
    TakeIds { lease: PathBuf, ids: Vec<IdMaps> },
    /// Gives infra's namespaces names that outlive it; `net` goes where `ip netns` looks.
    PinNamespaces { pins: BTreeMap<Namespace, PathBuf> },
    /// A network namespace of a container's own, pinned.
    MakeNetns {
        container: ContainerName,
        pin: PathBuf,
        /// The user namespace that owns it, where that is not the machine's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<PathBuf>,
    },
    /// A file by which no other pod takes the address.
    TakeAddress {
        lease: PathBuf,
        address: Ipv4Addr,
        /// Another pod had it: the kernel may still track connections to that one.
        used_before: bool,
    },
    /// A veth pair from the bridge into a pinned network namespace.
    Connect(Connection),
    /// `lo` alone, for a namespace without a network.
    LoopbackUp { netns: PathBuf },
    /// Sysctls (name as sysctl(8) has it -> value) of namespaces of the pod, which are pinned there.
    SetSysctls { namespaces: BTreeMap<Namespace, PathBuf>, sysctls: BTreeMap<String, String> },
    /// Sockets bound to the host's side of the forwards, so that nobody else takes these ports. At most 64
    /// sockets a pod: longer ranges are not among them.
    ReservePorts { ports: Vec<Forward> },
    /// Elements of the port maps.
    Publish { forwards: Vec<Forward> },
    /// The shared /dev/shm. Bytes.
    MountShm { at: PathBuf, size: u64 },
    /// Somewhere for a volume.
    MakeVolume(VolumeStep),
    /// Files that podspec generates for containers (hosts, hostname, resolv.conf): path -> text.
    WriteFiles { files: BTreeMap<PathBuf, String> },
    /// Files of a container's secrets, on a tmpfs of their own. What is in them goes from the client to the
    /// supervisor beside the plan, and is kept nowhere else.
    MakeSecrets { container: ContainerName, at: PathBuf, files: Vec<SecretFile> },
    /// Upper and work directory of a container's overlays, each upper with the owner and mode of what
    /// lies under it.
    MakeLayers { container: ContainerName, overlays: Vec<Overlay> },
    /// A process in its namespaces, cgroup and root, waiting right before its program. OCI's `create`.
    CreateContainer(Rc<Launch>),
    /// Lets the program begin. OCI's `start`.
    StartContainer { container: ContainerName },
}

/// The machine's network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub bridge: IfName,
    /// The bridge's own address, the pods' gateway.
    pub gateway: Subnet,
    /// Bytes.
    pub mtu: u32,
    /// ip_forward is off: set it, and note in the record that it was.
    pub enable_forwarding: bool,
    /// The machine forwards for pods alone: nothing else may pass it.
    pub guard_forwarding: bool,
    /// Says what ip_forward was, as long as it is on because of us.
    pub forwarding_record: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infra {
    pub cgroup: PathBuf,
    /// Made new by infra; the host's where a kind is not listed.
    pub namespaces: Vec<Namespace>,
    /// Set in the new uts namespace.
    pub hostname: Option<String>,
    /// Of the new user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdMaps>,
    /// What the root of the new cgroup namespace is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_root: Option<PathBuf>,
    /// Of the new time namespace: nanoseconds.
    #[serde(default, skip_serializing_if = "TimeOffsets::is_none")]
    pub time: TimeOffsets,
}

/// What ids of a user namespace are outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdMaps {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

impl IdMaps {
    /// (inside, outside, how many).
    pub fn plain(ranges: &[IdRange]) -> Vec<(u32, u32, u32)> {
        ranges.iter().map(|range| (range.container, range.host, range.count)).collect()
    }

    /// What the lines say that `Display` writes; what is no such line says nothing.
    pub fn parse(text: &str) -> Self {
        let mut maps = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let kind = words.next();
            let mut number = || words.next()?.parse::<u32>().ok();
            let (Some(container), Some(host), Some(count)) = (number(), number(), number()) else {
                continue;
            };
            let range = IdRange { container, host, count };
            match kind {
                Some("uid") => maps.uids.push(range),
                Some("gid") => maps.gids.push(range),
                _ => {}
            }
        }
        maps
    }
}

/// One line a range.
impl std::fmt::Display for IdMaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kind, list) in [("uid", &self.uids), ("gid", &self.gids)] {
            for IdRange { container, host, count } in list {
                writeln!(f, "{kind} {container} {host} {count}")?;
            }
        }
        Ok(())
    }
}

/// A kind of namespace, named as in /proc/PID/ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    Net,
    Uts,
    Ipc,
    Pid,
    Cgroup,
    User,
    Time,
    Mnt,
}

/// What bounds a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Of the v2 hierarchy.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub controllers: BTreeSet<String>,
    /// Files of the v2 hierarchy and what is written to them, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<(String, String)>,
    /// A cgroup of the same path in each of these v1 hierarchies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub legacy: Vec<LegacyLimits>,
}

/// What bounds a cgroup of a v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyLimits {
    pub mount: PathBuf,
    pub controller: String,
    /// None: processes are counted there for the sake of the pod's limit.
    pub files: Vec<(String, String)>,
}

impl Limits {
    pub fn is_none(&self) -> bool {
        self.controllers.is_empty() && self.files.is_empty() && self.legacy.is_empty()
    }

    /// How much memory, as one writes it; None: any.
    pub fn memory(&self) -> Option<String> {
        self.memory_bytes().map(quantity::written)
    }

    pub fn memory_bytes(&self) -> Option<u64> {
        self.number(&["memory.max", "memory.limit_in_bytes"])
    }

    pub fn pids(&self) -> Option<u64> {
        self.number(&["pids.max"])
    }

    /// How many processors.
    pub fn cpus(&self) -> Option<f64> {
        let words = self.value(&["cpu.max"]).and_then(|both| both.split_once(' '));
        let of_v1 =
            || Some((self.value(&["cpu.cfs_quota_us"])?, self.value(&["cpu.cfs_period_us"])?));
        let (quota, period) = words.or_else(of_v1)?;
        Some(quota.parse::<f64>().ok().filter(|q| *q > 0.0)? / period.parse::<f64>().ok()?)
    }

    fn number(&self, files: &[&str]) -> Option<u64> {
        self.value(files)?.parse().ok()
    }

    fn value(&self, files: &[&str]) -> Option<&str> {
        let legacy = self.legacy.iter().flat_map(|of| &of.files);
        let mut all = self.files.iter().chain(legacy);
        all.find_map(|(file, value)| files.contains(&file.as_str()).then_some(value.as_str()))
    }

    /// Takes over the controllers and hierarchies of others, without their values.
    pub fn join(&mut self, others: &Self) {
        self.controllers.extend(others.controllers.iter().cloned());
        for other in &others.legacy {
            if !self.legacy.iter().any(|known| known.mount == other.mount) {
                self.legacy.push(LegacyLimits { files: Vec::new(), ..other.clone() });
            }
        }
    }
}

/// A veth pair and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// None: the pod's own (infra's).
    pub container: Option<ContainerName>,
    pub netns: PathBuf,
    pub host: IfName,
    pub peer: IfName,
    pub bridge: IfName,
    pub mac: [u8; 6],
    pub address: Ipv4Addr,
    pub gateway: Subnet,
    pub mtu: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// One published port or range.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Forward {
    /// None: every address of the host.
    pub address: Option<Ipv4Addr>,
    pub protocol: Protocol,
    /// First host port.
    pub host: u16,
    /// How many ports, at least 1.
    pub count: u16,
    /// The namespace's address.
    pub target: Ipv4Addr,
    pub target_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStep {
    pub name: String,
    pub path: PathBuf,
    pub content: VolumeContent,
    /// Directories in it that containers mount alone, made where they are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeContent {
    /// Stays at `down`.
    Persistent,
    /// Removed at `down`.
    EmptyDir,
    /// Bytes.
    Tmpfs {
        size: u64,
    },
    Files {
        files: BTreeMap<String, String>,
    },
    /// The host's own directory, made where it is missing; never removed.
    Host,
}

/// All that starting (and starting again) one container needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub container: ContainerName,
    #[serde(default, skip_serializing_if = "Role::is_main")]
    pub role: Role,
    /// Below the mount of the v2 hierarchy, without a leading `/`.
    pub cgroup: PathBuf,
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// The OCI runtime spec, complete: namespaces by path, mounts, process, capabilities.
    #[serde(serialize_with = "crate::plan::oci::serialize")]
    pub oci: Box<oci_spec::runtime::Spec>,
    /// Of `Plan::seccomp`; none: every system call is allowed. Beside the document, where it would be
    /// the larger part of every container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<usize>,
    pub root: RootLayers,
    /// What the root is of, where that is an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageUsed>,
    /// Bind mounts of a part of a volume: target -> the volume's root. The source must be resolved
    /// beneath it, because a container that writes the volume may have put a link in the way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beneath: BTreeMap<PathBuf, PathBuf>,
    /// A reaper is the first process, and the program its child.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// What runs it, where that is not podspec's own runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    pub stdio: Stdio,
    pub restart: Restart,
    /// How long a restart waits.
    #[serde(default)]
    pub backoff: Backoff,
    pub stop_signal: i32,
    pub stop_timeout: Duration,
    #[serde(default, skip_serializing_if = "Health::is_nothing")]
    pub health: Health,
}

/// Another OCI runtime, and the container as it knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    pub program: PathBuf,
    /// Its `--root`.
    pub state: PathBuf,
    /// Where its bundle is made.
    pub bundle: PathBuf,
    pub id: String,
    /// The time namespace that the container joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<PathBuf>,
}

/// An image as a container runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsed {
    pub reference: ImageReference,
    /// Of what the reference named then, an index or a manifest.
    pub digest: Digest,
}

/// What OCI does not say: what the root is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootLayers {
    /// What the document names as its root: another runtime's has it where its runner puts it.
    pub merged: PathBuf,
    /// The root's overlay first, then, for `rootfs: host`, one per disk mount, outer before inner.
    pub overlays: Vec<Overlay>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Where in the container's root; `/` for the root itself.
    pub at: PathBuf,
    /// Topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    #[serde(default, skip_serializing_if = "Input::is_nothing")]
    pub input: Input,
    /// FIFOs that the container's stdout and stderr are.
    pub stdout: PathBuf,
    pub stderr: PathBuf,
    /// Where the records go.
    pub log: PathBuf,
    pub max_size: u64,
    pub max_files: u32,
}

/// What a container's stdin is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Input {
    /// /dev/null.
    #[default]
    Nothing,
    /// A FIFO that never ends, for who attaches.
    Fifo { path: PathBuf },
    /// A terminal, which stdout and stderr are too. `open`: who attaches may type.
    Terminal { open: bool },
}

impl Input {
    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    No,
    OnFailure {
        most: Option<u32>,
    },
    /// `always` and `unless-stopped`: they differ where a machine boots, and nothing is started there.
    Always,
}
