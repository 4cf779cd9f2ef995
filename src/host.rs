//! Reads this machine into `HostFacts`; changes nothing. What of it belongs to an image or a root
//! directory is hostile: it is opened inside that root, must be a regular file, and is bounded.

mod cgroups;
mod ids;
mod namespaces;
mod runtimes;
mod spread;

pub mod images;

pub use images::Images;

use crate::names::PodId;
use crate::names::{ContainerName, IfName};
use crate::net::{NetError, firewall, sockets, survey};
use crate::plan::facts::{
    CallerFacts, CgroupFacts, ContainerFacts, Controller, DeviceKind, DeviceNode, Directories,
    ForeignChain, HostFacts, Listener, NetworkFacts, Subnet,
};
use crate::plan::step::{Forward, Protocol};
use crate::spec::model::{
    self, Container, MountSource, NetworkMode, PodSpec, Port, Rlimit, Root, Volume,
};
use crate::sys::paths::open_in_root;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::process::Resource;
use rustix::thread::CapabilitySet;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// podspec's bridge.
pub const BRIDGE: &str = "podspec0";
/// The most that is read of an /etc/passwd or /etc/group, bytes.
const ACCOUNTS_MAX: u64 = 1 << 20;
/// So many ports are tried one by one.
const TRIED_MOST: u32 = 64;
/// Where a disk mount gets an overlay of its own under `rootfs: host` (SPEC).
const OVERLAID: [&str; 6] = ["/usr", "/etc", "/opt", "/srv", "/nix", "/var"];

mod kernel;

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot look into the store of images")]
    Image(#[source] crate::image::Error),
    #[error("cannot read the machine's network")]
    Network(#[from] NetError),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot look into the root directory {} without leaving it", root.display())]
    NoOpenat2 { root: PathBuf, source: io::Error },
}

/// What of this machine these controllers can bound.
pub fn cgroup_facts(wanted: &[Controller]) -> CgroupFacts {
    cgroups::of_controllers(wanted)
}

/// All that the planner may know of this machine, for this pod.
pub fn facts(
    directories: Directories,
    pod: &PodSpec,
    images: &Images,
) -> Result<HostFacts, HostError> {
    let has_host_root = pod.containers.values().any(|container| container.root == Root::Host);
    let network = if pod.network == NetworkMode::Bridge {
        let mut network = network_facts(&directories.run)?;
        let containers = pod.containers.values().flat_map(|container| &container.ports);
        let ports: Vec<&Port> = pod.ports.iter().chain(containers).collect();
        let wants_free = ports.iter().any(|port| port.host == 0);
        network.listeners = listeners(&ports, wants_free)?;
        if wants_free {
            network.local_ports = read_ports("ip_local_port_range")?.first().copied();
            network.reserved_ports = read_ports("ip_local_reserved_ports")?;
        }
        network
    } else {
        NetworkFacts { problem: namespaces::of_pod(pod), ..NetworkFacts::default() }
    };
    Ok(HostFacts {
        network,
        caller: caller_facts(pod)?,
        cgroups: cgroups::facts(pod),
        kernel: kernel::facts(pod),
        ids: ids::facts(pod, &directories)?,
        uptime: if pod.time.is_none() { 0 } else { uptime() },
        resolv_conf: resolv_conf(),
        host_mounts: if has_host_root { host_mounts()? } else { Vec::new() },
        host_secrets: if has_host_root { host_secrets() } else { Vec::new() },
        images: images.iter().map(|(name, image)| (name.clone(), images::facts(image))).collect(),
        containers: container_facts(pod, images)?,
        directories,
    })
}

fn uptime() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs()
}

/// podspec's bridge, there or not.
pub fn bridge() -> Result<IfName, HostError> {
    Ok(IfName::try_from(BRIDGE).map_err(|_| NetError::Stale)?)
}

fn network_facts(run: &Path) -> Result<NetworkFacts, HostError> {
    let bridge = bridge()?;
    let survey = survey::survey(&bridge)?;
    let rules = firewall::read()?;
    let mut foreign_drops = Vec::new();
    for chain in rules.foreign_drops {
        if !firewall::names_link(&chain, &bridge)? {
            foreign_drops.push(foreign_chain(chain));
        }
    }
    Ok(NetworkFacts {
        bridge: survey.bridge.map(subnet),
        table: rules.table,
        routes: survey.routes.into_iter().map(subnet).collect(),
        mtu: survey.mtu,
        ip_forward: survey.ip_forward,
        forwards_for_pods: run.join("net/ip_forward").exists(),
        foreign_drops,
        leases: leases(&run.join("net/leases"))?,
        released: released(&run.join("net/released")),
        forwards: rules.forwards.iter().filter_map(forward).collect(),
        generation: rules.generation,
        ..NetworkFacts::default()
    })
}

fn caller_facts(pod: &PodSpec) -> Result<CallerFacts, HostError> {
    let hard = |kind| rustix::process::getrlimit(resource(kind)).maximum.unwrap_or(u64::MAX);
    let mut caller = CallerFacts {
        hard_limits: Rlimit::ALL.into_iter().map(|(kind, _)| (kind, hard(kind))).collect(),
        ..CallerFacts::default()
    };
    let asks =
        |container: &Container| container.security.privileged || !container.security.add.is_empty();
    if pod.containers.values().any(asks) {
        // Where even that is refused the kernel will say it again.
        let own = rustix::thread::capabilities(None).map_or(u64::MAX, |own| own.permitted.bits());
        caller.lacks = !own;
    }
    if pod.containers.values().any(|container| container.oom_score_adj.is_some()) {
        let path = PathBuf::from("/proc/self/oom_score_adj");
        let read = |source| HostError::Read { path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(read)?;
        let score = text.trim().parse();
        caller.oom_score_adj =
            score.map_err(|error| read(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let own = rustix::thread::capabilities(None).map_err(|errno| read(errno.into()))?;
        caller.may_lower_oom_score_adj = own.effective.contains(CapabilitySet::SYS_RESOURCE);
    }
    Ok(caller)
}

fn resource(kind: Rlimit) -> Resource {
    match kind {
        Rlimit::As => Resource::As,
        Rlimit::Core => Resource::Core,
        Rlimit::Cpu => Resource::Cpu,
        Rlimit::Data => Resource::Data,
        Rlimit::Fsize => Resource::Fsize,
        Rlimit::Locks => Resource::Locks,
        Rlimit::Memlock => Resource::Memlock,
        Rlimit::Msgqueue => Resource::Msgqueue,
        Rlimit::Nice => Resource::Nice,
        Rlimit::Nofile => Resource::Nofile,
        Rlimit::Nproc => Resource::Nproc,
        Rlimit::Rss => Resource::Rss,
        Rlimit::Rtprio => Resource::Rtprio,
        Rlimit::Rttime => Resource::Rttime,
        Rlimit::Sigpending => Resource::Sigpending,
        Rlimit::Stack => Resource::Stack,
    }
}

/// A setting of the network namespace that names ports.
fn read_ports(name: &str) -> Result<Vec<(u16, u16)>, HostError> {
    let path = Path::new("/proc/sys/net/ipv4").join(name);
    let text = std::fs::read_to_string(&path).map_err(|source| HostError::Read { path, source })?;
    Ok(port_ranges(&text))
}

/// `32768\t60999` and `8080,9000-9010`; what is neither is left out.
fn port_ranges(text: &str) -> Vec<(u16, u16)> {
    let range = |word: &str| {
        let (first, last) = word.split_once(['-', '\t']).unwrap_or((word, word));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    text.trim().split(',').filter_map(range).collect()
}

fn foreign_chain(chain: firewall::ForeignChain) -> ForeignChain {
    let firewall::ForeignChain { family, table, chain } = chain;
    ForeignChain { family: family.to_owned(), table, chain }
}

fn subnet(subnet: crate::net::Subnet) -> Subnet {
    Subnet { address: subnet.address, prefix: subnet.prefix }
}

fn protocol(protocol: firewall::Protocol) -> Protocol {
    match protocol {
        firewall::Protocol::Tcp => Protocol::Tcp,
        firewall::Protocol::Udp => Protocol::Udp,
    }
}

fn forward((tag, forward): &(String, firewall::Forward)) -> Option<(PodId, Forward)> {
    let forward = Forward {
        address: forward.address,
        protocol: protocol(forward.protocol),
        host: forward.host,
        count: forward.count,
        target: forward.target,
        target_port: forward.target_port,
    };
    Some((PodId::try_from(tag.clone()).ok()?, forward))
}

/// Sockets in the way of what the pod publishes; where a free port is wanted, all. To ask who holds what
/// costs the kernel 0.4 ms, for it looks through a table sized for the whole machine; to try whether few
/// ports can be taken costs next to nothing, and only a refusal is a reason to ask.
fn listeners(ports: &[&Port], wants_free: bool) -> Result<Vec<Listener>, HostError> {
    let few = ports.iter().map(|port| u32::from(port.count)).sum::<u32>() <= TRIED_MOST;
    let sockets = if wants_free {
        sockets::bound(crate::plan::DYNAMIC_PORTS)?
    } else if few && ports.iter().all(|port| is_free(port)) {
        Vec::new()
    } else {
        sockets::listening()?
    };
    Ok(sockets.iter().map(listener).collect())
}

fn is_free(port: &Port) -> bool {
    let protocol = match port.protocol {
        model::Protocol::Tcp => firewall::Protocol::Tcp,
        model::Protocol::Udp => firewall::Protocol::Udp,
    };
    (0..port.count).all(|nth| {
        sockets::reserve((port.address, protocol, port.host.saturating_add(nth))).is_ok()
    })
}

fn listener(bound: &sockets::Bound) -> Listener {
    Listener {
        protocol: protocol(bound.protocol),
        address: bound.address,
        port: bound.port,
        inode: bound.inode,
    }
}

/// Links named by an address, to the id of the pod that has it.
fn leases(path: &Path) -> Result<BTreeMap<Ipv4Addr, String>, HostError> {
    let read = |source| HostError::Read { path: path.to_owned(), source };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(read(source)),
    };
    let mut leases = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        if let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            let holder = std::fs::read_link(entry.path()).unwrap_or_default();
            leases.insert(address, holder.to_string_lossy().into_owned());
        }
    }
    Ok(leases)
}

/// Addresses given back, each with its last place in the order of giving back.
fn released(path: &Path) -> BTreeMap<Ipv4Addr, u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    (1..).zip(text.lines()).filter_map(|(place, line)| Some((line.parse().ok()?, place))).collect()
}

/// The host's resolv.conf; where it names only a resolver on 127/8, which is another one inside a pod,
/// the one that systemd-resolved writes for such readers.
fn resolv_conf() -> String {
    let visible = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if !names_loopback(&visible) {
        return visible;
    }
    std::fs::read_to_string("/run/systemd/resolve/resolv.conf").unwrap_or(visible)
}

fn names_loopback(text: &str) -> bool {
    let mut servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")).peekable();
    servers.peek().is_some() && servers.all(|server| server.trim().starts_with("127."))
}

fn host_mounts() -> Result<Vec<PathBuf>, HostError> {
    let path = PathBuf::from("/proc/self/mountinfo");
    let text = std::fs::read_to_string(&path).map_err(|source| HostError::Read { path, source })?;
    Ok(disk_mounts(&text))
}

/// Mount points on a block device at or below the overlaid directories, outer before inner.
fn disk_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mut mounts: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let point = unescape(front.split(' ').nth(4)?);
            let device = back.split(' ').nth(1)?;
            let below = OVERLAID.iter().any(|top| point.starts_with(top));
            (below && device.starts_with("/dev/") && point.is_dir()).then_some(point)
        })
        .collect();
    mounts.sort();
    mounts.dedup();
    mounts
}

/// mountinfo writes space, tab, line feed and backslash as `\ooo` (proc_pid_mountinfo(5)).
fn unescape(word: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = word.as_bytes();
    let mut path = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (bytes[at], octal) {
            (b'\\', Some(byte)) => {
                path.push(byte);
                at += 4;
            }
            (byte, _) => {
                path.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

/// Files of the host's root that no container may read.
fn host_secrets() -> Vec<PathBuf> {
    let fixed = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"];
    let mut secrets: Vec<PathBuf> =
        fixed.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    let keys = std::fs::read_dir("/etc/ssh").into_iter().flatten().flatten();
    let mut keys: Vec<PathBuf> = keys
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("ssh_host_") && name.ends_with("_key")
        })
        .map(|entry| entry.path())
        .collect();
    keys.sort();
    secrets.append(&mut keys);
    secrets
}

fn container_facts(
    pod: &PodSpec,
    images: &Images,
) -> Result<BTreeMap<ContainerName, ContainerFacts>, HostError> {
    // Many containers may have one root: it is read once.
    let mut accounts: BTreeMap<&Path, ContainerFacts> = BTreeMap::new();
    let mut of_root = |root| match accounts.entry(root) {
        Entry::Occupied(known) => Ok(known.get().clone()),
        Entry::Vacant(place) => root_facts(root).map(|facts| place.insert(facts).clone()),
    };
    let mut facts = BTreeMap::new();
    for (name, container) in &pod.containers {
        let mut of_container = match &container.root {
            Root::Directory(path) => of_root(path.as_path())?,
            Root::Host => of_root(Path::new("/"))?,
            Root::Image(image) => {
                let known = images.get(&image.reference);
                known.map(images::account_facts).transpose()?.unwrap_or_default()
            }
        };
        mount_facts(pod, container, &mut of_container);
        namespaces::facts(container, &mut of_container);
        device_facts(container, &mut of_container);
        runtimes::facts(container, &mut of_container);
        facts.insert(name.clone(), of_container);
    }
    Ok(facts)
}

fn root_facts(root: &Path) -> Result<ContainerFacts, HostError> {
    let mut facts = ContainerFacts::default();
    let mut problem = |field: &str, text: String| facts.problems.push((field.to_owned(), text));
    match File::open(root).and_then(|file| Ok((file.metadata()?.is_dir(), file))) {
        Ok((true, directory)) => {
            for (file, text) in [("etc/passwd", &mut facts.passwd), ("etc/group", &mut facts.group)]
            {
                match read_account(&directory, Path::new(file)) {
                    Ok(found) => *text = found,
                    Err(error) => problem("rootfs", unreadable(file, root, error)?),
                }
            }
        }
        Ok((false, _)) => problem("rootfs", format!("{} is not a directory", root.display())),
        Err(error) => problem("rootfs", format!("cannot open {}: {error}", root.display())),
    }
    Ok(facts)
}

/// What is wrong with a file of a root. Where there is no openat2 no other way is tried: any other can be led out of
/// the root.
fn unreadable(file: &str, root: &Path, error: io::Error) -> Result<String, HostError> {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Err(HostError::NoOpenat2 { root: root.to_owned(), source: error }),
        _ => Ok(format!("cannot read {file} in it: {error}")),
    }
}

/// A small regular file inside a root that may be hostile; a missing one is empty.
pub fn read_account(root: &impl AsFd, path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match open_in_root(root.as_fd(), path, flags, Mode::empty(), ResolveFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(errno.into()),
    };
    read_text(fd)
}

/// What was opened, if it is a small regular file.
fn read_text(fd: std::os::fd::OwnedFd) -> io::Result<String> {
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::from(fd).take(ACCOUNTS_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ACCOUNTS_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn mount_facts(pod: &PodSpec, container: &Container, facts: &mut ContainerFacts) {
    for (index, mount) in container.mounts.iter().enumerate() {
        let (path, may_make) = match &mount.source {
            MountSource::Path(path) => (path, false),
            MountSource::Volume { name, .. } => match pod.volumes.get(name) {
                Some(Volume::Host { path, create }) => (path, *create),
                _ => continue,
            },
            MountSource::Tmpfs { .. } => continue,
        };
        if let Some(why) = spread::mismatch(path, mount.propagation) {
            facts.problems.push((format!("volumes.{index}.propagation"), why));
        }
        match rustix::fs::statat(CWD, path, rustix::fs::AtFlags::empty()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                facts.directories.push(path.clone());
            }
            Ok(_) => {}
            Err(rustix::io::Errno::NOENT) if may_make => facts.directories.push(path.clone()),
            Err(errno) => {
                let text = format!("{}: {}", path.display(), io::Error::from(errno));
                facts.problems.push((format!("volumes.{index}"), text));
            }
        }
    }
}

/// The nodes by their paths; a link to one is as good.
fn device_facts(container: &Container, facts: &mut ContainerFacts) {
    for (index, device) in container.devices.iter().enumerate() {
        let path = &device.path;
        let mut problem = |text: String| {
            let text = format!("{} {text}", path.display());
            facts.problems.push((format!("devices.{index}"), text));
        };
        let stat = match rustix::fs::statat(CWD, path, rustix::fs::AtFlags::empty()) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => {
                problem("is not there: load its kernel module, or leave it out".to_owned());
                continue;
            }
            Err(errno) => {
                problem(format!("cannot be looked at: {}", io::Error::from(errno)));
                continue;
            }
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => DeviceKind::Block,
            FileType::CharacterDevice => DeviceKind::Character,
            FileType::Directory => {
                problem("is a directory: name each device in it".to_owned());
                continue;
            }
            _ => {
                problem("is not a device".to_owned());
                continue;
            }
        };
        facts.devices.insert(path.clone(), node_of(kind, &stat));
    }
}

/// The node of a device; none where it is something else. Links are not followed.
fn device_node(path: &Path) -> io::Result<Option<DeviceNode>> {
    let stat = rustix::fs::lstat(path)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => DeviceKind::Block,
        FileType::CharacterDevice => DeviceKind::Character,
        _ => return Ok(None),
    };
    Ok(Some(node_of(kind, &stat)))
}

fn node_of(kind: DeviceKind, stat: &rustix::fs::Stat) -> DeviceNode {
    DeviceNode {
        kind,
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
        mode: stat.st_mode & 0o777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// Which process has the socket: (pid, command); `None` where it is gone, or in a place we cannot see.
pub fn holder_of(inode: u64) -> Option<(i32, String)> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let fds = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut links = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        if links.any(|link| link.as_os_str() == wanted.as_str()) {
            let command = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, command.trim_end().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_unescaped() {
        assert_eq!(unescape(r"/srv/a\040b\134c"), PathBuf::from(r"/srv/a b\c"));
        assert_eq!(unescape(r"/x\"), PathBuf::from(r"/x\"));
    }

    #[test]
    fn only_disk_mounts_of_the_overlaid_directories_count() {
        let info = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    2 1 8:2 / /usr rw - ext4 /dev/sda2 rw\n\
                    3 1 0:4 / /var rw - tmpfs tmpfs rw\n\
                    4 1 8:3 / /home rw - ext4 /dev/sda3 rw\n";
        assert_eq!(disk_mounts(info), [PathBuf::from("/usr")]);
    }

    #[test]
    fn settings_that_name_ports_are_understood() {
        assert_eq!(port_ranges("32768\t60999\n"), [(32768, 60999)]);
        assert_eq!(port_ranges("8080,9000-9010\n"), [(8080, 8080), (9000, 9010)]);
        assert_eq!(port_ranges("\n"), []);
    }

    #[test]
    fn a_resolver_on_the_hosts_loopback_is_no_use_in_a_pod() {
        assert!(names_loopback("nameserver 127.0.0.53\noptions edns0\n"));
        assert!(!names_loopback("nameserver 127.0.0.1\nnameserver 9.9.9.9\n"));
        assert!(!names_loopback("search example.org\n"));
    }

    #[test]
    fn an_account_file_stays_inside_its_root() {
        let root = std::env::temp_dir().join(format!("podspec-accounts-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.join("etc/passwd")).unwrap();
        nix::unistd::mkfifo(&root.join("etc/group"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let directory = File::open(&root).unwrap();
        assert_eq!(read_account(&directory, Path::new("etc/passwd")).unwrap(), "");
        assert!(read_account(&directory, Path::new("etc/group")).is_err(), "a FIFO");
        std::fs::remove_dir_all(root).unwrap();
    }
}
