//! What the planner may know of the machine, as data: filled by `host.rs`, written by hand in tests.

use crate::names::image::{Digest, ImageReference};
use crate::names::{ContainerName, PodId};
use crate::plan::step::{Forward, IdMaps, Protocol};
use crate::spec::model::Rlimit;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    pub directories: Directories,
    pub network: NetworkFacts,
    pub caller: CallerFacts,
    pub cgroups: CgroupFacts,
    pub kernel: KernelFacts,
    /// Only where the pod has a user namespace.
    #[serde(default)]
    pub ids: IdFacts,
    /// Since the machine's boot, in whole seconds; asked for only where the pod has clock offsets.
    #[serde(default)]
    pub uptime: u64,
    /// The host's real resolv.conf (systemd-resolved's where the visible one names 127/8).
    pub resolv_conf: String,
    /// Mounts that `rootfs: host` needs an overlay of its own for, each a mount point at or below
    /// /usr, /etc, /opt, /srv, /nix or /var; sorted, outer before inner.
    pub host_mounts: Vec<PathBuf>,
    /// What of the host's root is masked: files (/etc/shadow, ssh host keys) that are there.
    pub host_secrets: Vec<PathBuf>,
    /// What is here of the images that the pod names.
    #[serde(default)]
    pub images: BTreeMap<ImageReference, ImageFacts>,
    /// What each container's root and mounts look like on disk.
    pub containers: BTreeMap<ContainerName, ContainerFacts>,
}

/// Where everything of podspec's lies, and where named netns are pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directories {
    /// Gone after a boot; /run/podspec.
    pub run: PathBuf,
    /// Stays; /var/lib/podspec.
    pub data: PathBuf,
    /// Where `ip netns` looks: /run/netns.
    pub netns: PathBuf,
    /// podspec's own cgroup, below the mount of the v2 hierarchy: `podspec`, or a scope of systemd's.
    pub cgroups: PathBuf,
}

impl Directories {
    /// The cgroup of the pod with this id, below the mount of the v2 hierarchy.
    pub fn cgroup(&self, id: &str) -> PathBuf {
        self.cgroups.join(id)
    }
}

/// The kernel, as far as containers' rights depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// 6.18 is (6, 18).
    pub version: (u32, u32),
    /// Directories that tell how hot each processor is.
    pub thermal: Vec<PathBuf>,
    /// Its security modules that are at work.
    pub modules: Vec<SecurityModule>,
    /// Whether podspec's own profile of AppArmor can be had: AppArmor is at work, and so is what compiles profiles.
    pub has_default_profile: bool,
    /// Every device node in the host's /dev; only where a container is privileged.
    pub devices: BTreeMap<PathBuf, DeviceNode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityModule {
    AppArmor,
    SeLinux,
}

/// What whoever runs podspec may have, and so may give to containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerFacts {
    /// The largest number: unlimited.
    pub hard_limits: BTreeMap<Rlimit, u64>,
    /// Asked for only where a container has one of its own.
    pub oom_score_adj: i32,
    /// Capabilities that it has not, a bit each; asked for only where a container has others than the default.
    pub lacks: u64,
    /// It has CAP_SYS_RESOURCE.
    pub may_lower_oom_score_adj: bool,
}

impl CallerFacts {
    pub fn hard(&self, kind: Rlimit) -> u64 {
        self.hard_limits.get(&kind).copied().unwrap_or(u64::MAX)
    }
}

/// Which ids of the machine are whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdFacts {
    /// What /etc/subuid and /etc/subgid give to the user `containers`.
    pub containers_uids: Vec<Span>,
    pub containers_gids: Vec<Span>,
    /// What they give to others, what pods have, and the accounts of the machine.
    pub used_uids: Vec<Span>,
    pub used_gids: Vec<Span>,
    /// The maps of user namespaces that containers join by a path.
    pub joined: BTreeMap<PathBuf, IdMaps>,
}

/// Ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub first: u32,
    pub count: u32,
}

impl Span {
    pub fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }

    pub fn meets(self, other: Self) -> bool {
        u64::from(self.first) < other.end() && u64::from(other.first) < self.end()
    }
}

/// A part of the kernel that counts and bounds what a cgroup uses, under its name in cgroup v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    Cpu,
    Cpuset,
    Io,
    Memory,
    Pids,
}

impl Controller {
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Io, Self::Memory, Self::Pids];

    /// In cgroup.controllers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Io => "io",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }

    /// In the mount options of a v1 hierarchy.
    pub fn v1_name(self) -> &'static str {
        match self {
            Self::Io => "blkio",
            other => other.name(),
        }
    }
}

/// What of this machine can be bounded. Only what some limit of the pod needs is looked up; the rest counts as
/// missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// Controllers that cgroups of the v2 hierarchy can have.
    pub unified: BTreeSet<Controller>,
    /// Where those of v1 are mounted.
    pub legacy: BTreeMap<Controller, PathBuf>,
    /// Swap is counted.
    pub swap: bool,
    /// The processors there are, as cpuset(7) lists them.
    pub cpus: String,
    /// The file that takes a share of disk time, where the kernel has one.
    pub io_weight: Option<String>,
    /// The disks that `io` names.
    pub disks: BTreeMap<PathBuf, Disk>,
}

impl CgroupFacts {
    pub fn has(&self, controller: Controller) -> bool {
        self.unified.contains(&controller) || self.legacy.contains_key(&controller)
    }
}

/// What is behind a path that `io` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    Whole {
        major: u32,
        minor: u32,
    },
    /// Why it can have no limit of its own.
    Unfit(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeviceKind {
    Block,
    Character,
}

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Facts of one container that only its root on disk can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerFacts {
    /// The root's /etc/passwd and /etc/group, empty where they are missing. Hostile.
    pub passwd: String,
    pub group: String,
    /// Problems found while looking: (field of the container such as `rootfs`, what is wrong).
    pub problems: Vec<(String, String)>,
    /// Host paths among its mounts that are directories (the others are files).
    pub directories: Vec<PathBuf>,
    /// The program of its runtime, where it has another than podspec's own.
    #[serde(default)]
    pub runtime: PathBuf,
    /// What its devices are on the host.
    pub devices: BTreeMap<PathBuf, DeviceNode>,
}

/// An image of the store, and what it says of its program. Hostile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    pub digest: Digest,
    /// Directories, the topmost first.
    pub layers: Vec<PathBuf>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// KEY=VALUE.
    pub env: Vec<String>,
    pub working_dir: String,
    pub user: String,
    pub stop_signal: String,
    /// Of its volumes those that are no directory in it.
    pub missing_volumes: Vec<String>,
    /// `80/tcp`, `80`, `8000-8010/udp`.
    pub exposed_ports: Vec<String>,
    pub healthcheck: Option<ImageHealth>,
}

/// What an image says of how its program is asked whether it is well; zero: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageHealth {
    /// `[NONE]`, `[CMD, program, …]` or `[CMD-SHELL, line]`.
    pub test: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub retries: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// podspec's bridge, when it is there and set up.
    pub bridge: Option<Subnet>,
    /// Whether our nftables table is there.
    pub table: bool,
    /// IPv4 networks that the host routes otherwise, the bridge's own left out.
    pub routes: Vec<Subnet>,
    /// Of the link that the default route leaves by; 1500 without one. Bytes.
    pub mtu: u32,
    pub ip_forward: bool,
    /// It is on because podspec turned it on.
    pub forwards_for_pods: bool,
    /// Chains of others that drop what they are to forward and do not know; none that names our bridge.
    pub foreign_drops: Vec<ForeignChain>,
    /// Addresses that are leased, and to which pod.
    pub leases: BTreeMap<Ipv4Addr, String>,
    /// When an address was last given back, in seconds since 1970; never: not in the map.
    pub released: BTreeMap<Ipv4Addr, u64>,
    /// Elements of our port maps.
    pub forwards: Vec<(PodId, Forward)>,
    /// Sockets of this network namespace that listen (TCP) or are bound (UDP); all that are bound, where a free
    /// port is to be chosen.
    pub listeners: Vec<Listener>,
    /// The first and the last port that the kernel hands out by itself; none: nobody asked.
    pub local_ports: Option<(u16, u16)>,
    /// Ports that the administrator keeps from that, first and last of each range.
    pub reserved_ports: Vec<(u16, u16)>,
    /// What is wrong with the namespace that the pod's network is, where somebody else has made that.
    #[serde(default)]
    pub problem: Option<String>,
    /// The nftables generation these facts are of.
    pub generation: u32,
}

/// An IPv4 network: (address, prefix length); host bits may be set (a bridge's own address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subnet {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// A chain of somebody else's firewall, by the names that nft(8) gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChain {
    pub family: String,
    pub table: String,
    pub chain: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    pub protocol: Protocol,
    /// 0.0.0.0: every address. An IPv6 wildcard that also takes IPv4 is listed as 0.0.0.0.
    pub address: Ipv4Addr,
    pub port: u16,
    /// The socket's inode, by which its process can be found in /proc.
    pub inode: u64,
}

impl Subnet {
    pub fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// The network's own address, host bits cleared.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        (u32::from(address) ^ u32::from(self.address)) & self.mask() == 0
    }

    pub fn overlaps(self, other: Self) -> bool {
        let shorter = if self.prefix < other.prefix { self } else { other };
        shorter.contains(self.address) && shorter.contains(other.address)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
