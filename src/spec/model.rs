//! A pod as it is meant: every value typed, every default filled in, every reference resolved inside the
//! file. A `PodSpec` is always valid; `validate.rs` is the only road to it. It knows nothing of a machine.

use crate::names::image::ImageReference;
use crate::names::{ContainerName, PodName, SecretName, VolumeName};
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// One pod: one document of a pod file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodSpec {
    pub name: PodName,
    pub labels: IndexMap<String, String>,
    /// The host name of the shared uts namespace; the pod's name where the file has none.
    pub hostname: String,
    pub share: IndexSet<Shared>,
    pub network: NetworkMode,
    /// Of the interfaces that podspec makes for the pod; None: as large as the machine's way out takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Of the shared user namespace.
    #[serde(default, skip_serializing_if = "UserNs::is_default")]
    pub userns: UserNs,
    /// Of the shared time namespace.
    #[serde(default, skip_serializing_if = "TimeOffsets::is_none")]
    pub time: TimeOffsets,
    pub dns: Dns,
    /// Entries of /etc/hosts beside every container's name.
    pub hosts: IndexMap<String, IpAddr>,
    /// Forwards to the pod's own network namespace: its `ports`, and those of containers that share it.
    pub ports: Vec<Port>,
    /// What the images expose is published, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_ports: bool,
    /// By their names as sysctl(8) has them, dots between the parts; each of a namespace that the containers share.
    pub sysctls: IndexMap<String, String>,
    /// Bytes of the shared /dev/shm.
    pub shm_size: u64,
    /// Of all containers together.
    pub resources: Resources,
    pub volumes: IndexMap<VolumeName, Volume>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<SecretName, SecretSource>,
    /// `initContainers` first, then `containers`, each in the order of the file.
    pub containers: IndexMap<ContainerName, Container>,
    pub exit_policy: ExitPolicy,
    /// How long its stop takes at most; None: as long as those of its containers, one after another.
    #[serde(default)]
    pub stop_timeout: Option<Duration>,
}

/// What the end of containers means for the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitPolicy {
    /// Nothing.
    #[default]
    Continue,
    /// When every container of `containers` has ended, whatever still runs is stopped.
    Stop,
    /// When one has failed, too.
    StopOnFailure,
    /// When one has ended, however, too.
    StopOnExit,
}

/// Which list of the file a container is of, and what that means for its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Of `containers`.
    #[default]
    Main,
    /// Of `initContainers`: runs to its end before whatever comes after it.
    Init,
    /// Of `initContainers`, with `restart: always`: runs beside whatever comes after it.
    Sidecar,
}

impl Role {
    /// Whether the pod is done only when it has ended.
    pub fn is_main(&self) -> bool {
        *self == Self::Main
    }
}

/// A kind of namespace that the containers of a pod can have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shared {
    Net,
    Uts,
    Ipc,
    Pid,
    User,
    Cgroup,
    Time,
}

impl Shared {
    pub const ALL: [Self; 7] =
        [Self::Net, Self::Uts, Self::Ipc, Self::Pid, Self::User, Self::Cgroup, Self::Time];

    pub fn word(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

/// Which ids of the machine are those of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UserNs {
    /// So many, from 0, wherever the machine has them free.
    Auto { size: u32 },
    /// These. Each list maps 0, and no id twice.
    Maps { uids: Vec<IdRange>, gids: Vec<IdRange> },
}

impl UserNs {
    /// The ids that programs know of: 0 to `nobody`.
    pub const SIZE: u32 = 65536;

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for UserNs {
    fn default() -> Self {
        Self::Auto { size: Self::SIZE }
    }
}

/// Ids of a container and what they are on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IdRange {
    /// The first, inside.
    pub container: u32,
    /// The first, outside.
    pub host: u32,
    /// How many, at least 1.
    pub count: u32,
}

impl IdRange {
    /// What this id is outside.
    pub fn outside(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.container).filter(|offset| *offset < self.count)?;
        self.host.checked_add(offset)
    }
}

/// What clocks inside are ahead of the machine's; nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffsets {
    pub boottime: i64,
    pub monotonic: i64,
}

impl TimeOffsets {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// A veth pair to podspec's bridge.
    Bridge,
    /// The machine's own network namespace.
    Host,
    /// A namespace with nothing but `lo`.
    None,
    /// A network namespace that somebody else has made.
    #[serde(rename = "ns")]
    At(PathBuf),
}

/// What goes to /etc/resolv.conf; all empty: the host's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A published port, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The host's address; none: every address of the host.
    pub address: Option<Ipv4Addr>,
    /// First host port; 0: a free one, chosen at `up`.
    pub host: u16,
    /// First container port.
    pub container: u16,
    /// How many ports, at least 1.
    pub count: u16,
    pub protocol: Protocol,
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Volume {
    /// Stays until `down --volumes`.
    Persistent,
    /// In memory, as long as the pod; bytes.
    Tmpfs { size: u64 },
    /// On disk, as long as the pod.
    EmptyDir,
    /// Files with these texts, read-only.
    Files { files: IndexMap<String, String> },
    /// A directory of the host; absolute.
    Host { path: PathBuf, create: bool },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub role: Role,
    pub root: Root,
    /// `command` then `args`: never empty for a `rootfs`.
    pub argv: Vec<String>,
    pub working_dir: PathBuf,
    pub user: User,
    pub groups: Vec<NameOrId>,
    /// `env` over the files of `envFile`, in order; complete.
    pub env: IndexMap<String, String>,
    pub mounts: Vec<Mount>,
    /// No two at one target, and none where a volume is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretMount>,
    /// No two at one target.
    pub devices: Vec<Device>,
    pub ulimits: IndexMap<Rlimit, Ulimit>,
    /// None: as the caller's.
    pub oom_score_adj: Option<i32>,
    pub resources: Resources,
    /// The host name where uts is not shared; the container's name where the file has none.
    pub hostname: String,
    /// Ports that lead to this container's own network namespace; empty where it shares the pod's.
    pub ports: Vec<Port>,
    pub depends_on: IndexMap<ContainerName, Dependency>,
    pub restart: Restart,
    #[serde(default)]
    pub backoff: Backoff,
    pub stop_signal: Signal,
    pub stop_timeout: Duration,
    /// The program has a terminal.
    pub tty: bool,
    /// A reaper is its first process, and the program that one's child.
    #[serde(default, skip_serializing_if = "is_no")]
    pub init: bool,
    /// Its standard input stays open, for whoever attaches.
    pub stdin: bool,
    /// None: podspec's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    pub namespaces: IndexMap<Shared, Scope>,
    pub logs: Logs,
    #[serde(flatten)]
    pub probes: Probes,
    pub lifecycle: Lifecycle,
    pub security: Security,
}

/// Another OCI runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Runtime {
    /// A program of the machine.
    Named(String),
    At(PathBuf),
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::At(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Where a secret comes from. Its text is read at `up`, and is nowhere in the model or the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretSource {
    File(PathBuf),
    /// A variable of podspec's environment.
    Env(String),
}

/// A secret as a container sees it: a file of its user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretMount {
    pub name: SecretName,
    pub target: PathBuf,
    /// Permission bits.
    pub mode: u32,
}

/// What a container may do beyond the defaults, and what of them it may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    pub privileged: bool,
    /// Names as in capabilities(7), without `CAP_`, or `ALL`; none is in both lists.
    pub add: Vec<String>,
    pub drop: Vec<String>,
    pub no_new_privileges: bool,
    pub read_only_rootfs: bool,
    pub seccomp: Seccomp,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
    /// Absolute, of /proc and /sys.
    pub unmask: Vec<String>,
    pub run_as_non_root: bool,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            privileged: false,
            add: Vec::new(),
            drop: Vec::new(),
            no_new_privileges: true,
            read_only_rootfs: false,
            seccomp: Seccomp::Default,
            apparmor: None,
            selinux: None,
            unmask: Vec::new(),
            run_as_non_root: false,
        }
    }
}

/// Which system calls a container may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// What podspec's profile allows.
    Default,
    /// All.
    Unconfined,
    /// What the profile of this file allows: JSON that is known to be one.
    Profile { path: PathBuf, text: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Root {
    /// A directory, never written; absolute.
    Directory(PathBuf),
    /// A copy-on-write view of this machine's own root.
    Host,
    /// The layers of an image, never written.
    Image(Image),
}

/// An image, and which of the container's fields are the file's own words: the others are the image's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub reference: ImageReference,
    pub pull: PullPolicy,
    /// Replaces the entrypoint, and the image's command with it.
    pub command: Option<Vec<String>>,
    /// Replaces the image's command.
    pub args: Option<Vec<String>>,
    pub working_dir: bool,
    pub user: bool,
    pub stop_signal: bool,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Where it is not here.
    #[default]
    Missing,
    /// At every `up`.
    Always,
    /// Never: a missing image is an error.
    Never,
}

/// Digits are always an id, anything else a name of the root's own /etc/passwd or /etc/group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NameOrId {
    Id(u32),
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub user: NameOrId,
    /// None: the user's own group by /etc/passwd, 0 where it has no entry.
    pub group: Option<NameOrId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute, normal (no `.`, `..`, `//`), and neither `/` nor at or below /proc, /sys, /dev.
    pub target: PathBuf,
    pub read_only: bool,
    /// Where the container has a user namespace, ids in it are those of the volume.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub idmap: bool,
    #[serde(default, skip_serializing_if = "Propagation::is_private")]
    pub propagation: Propagation,
}

/// How what is mounted below a path of the host later on spreads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    #[default]
    Private,
    /// From the host to the container.
    Rslave,
    /// And from the container to the host.
    Rshared,
}

impl Propagation {
    /// The mount option (mount(8)); all that is mounted below is bound, too.
    pub fn option(self) -> &'static str {
        match self {
            Self::Private => "rprivate",
            Self::Rslave => "rslave",
            Self::Rshared => "rshared",
        }
    }

    fn is_private(&self) -> bool {
        *self == Self::Private
    }
}

fn yes() -> bool {
    true
}

fn is_yes(word: &bool) -> bool {
    *word
}

fn is_no(word: &bool) -> bool {
    !*word
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    Volume {
        name: VolumeName,
        sub_path: Option<PathBuf>,
    },
    /// A file or a directory of the host that must exist; absolute.
    Path(PathBuf),
    /// In memory, the container's own; bytes.
    Tmpfs {
        size: u64,
    },
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host; absolute.
    pub path: PathBuf,
    /// In the container, below /dev; normal, and nothing that podspec puts there.
    pub target: PathBuf,
    /// Letters of `rwm`, in this order; never empty.
    pub access: String,
}

/// What of a process can be limited (getrlimit(2)), by the names that ulimits have in compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rlimit {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Rlimit {
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::As, "as"),
        (Self::Core, "core"),
        (Self::Cpu, "cpu"),
        (Self::Data, "data"),
        (Self::Fsize, "fsize"),
        (Self::Locks, "locks"),
        (Self::Memlock, "memlock"),
        (Self::Msgqueue, "msgqueue"),
        (Self::Nice, "nice"),
        (Self::Nofile, "nofile"),
        (Self::Nproc, "nproc"),
        (Self::Rss, "rss"),
        (Self::Rtprio, "rtprio"),
        (Self::Rttime, "rttime"),
        (Self::Sigpending, "sigpending"),
        (Self::Stack, "stack"),
    ];
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name))
    }
}

/// -1: unlimited; `soft` is never above `hard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

/// Limits that cgroups carry; None: no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<u64>,
    pub memory_swap: Option<Swap>,
    /// Of processor time, at least 0.01.
    pub cpus: Option<f64>,
    /// From 1 to 10000, beside others of 100.
    pub cpu_weight: Option<u32>,
    /// As cpuset(7) lists them.
    pub cpuset: Option<String>,
    /// None of a container: 2048, where the controller is there.
    pub pids: Option<u64>,
    pub io: Option<Io>,
}

/// Memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Swap {
    /// Bytes, at least as many as of memory.
    Most(u64),
    Unlimited,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Io {
    /// From 1 to 10000, beside others of 100.
    pub weight: Option<u32>,
    /// By the block device's path on the host; absolute.
    pub devices: IndexMap<PathBuf, IoLimits>,
}

/// Bytes and operations in a second, each at least 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IoLimits {
    pub read_bps: Option<u64>,
    pub write_bps: Option<u64>,
    pub read_iops: Option<u64>,
    pub write_iops: Option<u64>,
}

/// Another container that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub condition: Condition,
    /// This one is restarted when the other is.
    pub restart: bool,
}

impl From<Condition> for Dependency {
    fn from(condition: Condition) -> Self {
        Self { condition, restart: false }
    }
}

/// What of the other container must have happened before this one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Its program runs.
    Started,
    /// Its startup and readiness probes succeed; where it has none, its program runs.
    Ready,
    /// Its program ended with 0.
    Completed,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    No,
    /// When it ended with an error, at most this often (none: always).
    OnFailure {
        most: Option<u32>,
    },
    Always,
    /// As `always`, until the user stops it.
    UnlessStopped,
}

/// How long a restart waits: `initial`, twice as long each time, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Above zero.
    pub initial: Duration,
    /// Not below `initial`.
    pub max: Duration,
    /// A run that was well so long is a good one: after it the waits, and the count of restarts, begin anew.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(10),
            max: Duration::from_secs(300),
            reset_after: Duration::from_secs(10),
        }
    }
}

/// A signal by its number on this architecture, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal(pub i32);

/// Where one container's namespace of a kind is not what `share` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Its own.
    Private,
    /// The machine's.
    Host,
    /// Somebody else's; absolute.
    #[serde(rename = "ns")]
    At(PathBuf),
}

/// What says how a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Holds the others off until it has succeeded.
    #[serde(rename = "startupProbe")]
    pub startup: Option<Probe>,
    #[serde(rename = "readinessProbe")]
    pub readiness: Option<Probe>,
    #[serde(rename = "livenessProbe")]
    pub liveness: Option<Probe>,
}

impl Probes {
    /// Whether one of them says that it is ready.
    pub fn tell_readiness(&self) -> bool {
        self.startup.is_some() || self.readiness.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    #[serde(flatten)]
    pub check: Check,
    pub initial_delay: Duration,
    /// Above 0.
    pub interval: Duration,
    /// Above 0.
    pub timeout: Duration,
    /// In a row, at least 1.
    #[serde(rename = "successThreshold")]
    pub successes: u32,
    /// In a row, at least 1.
    #[serde(rename = "failureThreshold")]
    pub failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// A program in the container; never empty.
    Exec(Vec<String>),
    Http(Request),
    Tcp(u16),
    /// A regular expression that a line of its output matches.
    Log(String),
    /// Absolute, in the container.
    File(PathBuf),
    /// It says so itself, as sd_notify(3) does.
    Notify,
}

/// What is asked of a server in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub port: u16,
    /// Begins with `/`.
    pub path: String,
    /// Over TLS; nobody's certificate is checked.
    pub tls: bool,
    pub headers: IndexMap<String, String>,
    /// None: 200 to 399.
    pub status: Option<u16>,
}

/// What is done beside a container's start and stop: `exec` or `http`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    pub post_start: Option<Check>,
    pub pre_stop: Option<Check>,
}

/// Bounds of a container's log on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Bytes of one file.
    pub max_size: u64,
    /// Files, the current one included; at least 1.
    pub max_files: u32,
}

impl PodSpec {
    /// Whether this container is in the pod's namespace of this kind.
    pub fn shares(&self, container: &Container, kind: Shared) -> bool {
        self.share.contains(&kind) && !container.namespaces.contains_key(&kind)
    }

    /// Whether ids in this container are not the machine's.
    pub fn maps_ids(&self, container: &Container) -> bool {
        match container.namespaces.get(&Shared::User) {
            Some(Scope::Host) => false,
            Some(_) => true,
            None => self.share.contains(&Shared::User),
        }
    }
}
