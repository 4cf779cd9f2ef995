//! Carries out one step: one `match`, an arm a kind of step, each a call or two of a mechanism.

use super::launch::{self, Created};
use super::secrets::Secrets;
use super::{ExecError, apparmor, network, secrets, volumes};
use crate::cgroup::{Cgroup, DevicePrograms, Hierarchy, Legacy};
use crate::names::ContainerName;
use crate::net::{conntrack, firewall, link, netns, sockets};
use crate::plan::step::{
    self, Connection, Forward, IdMaps, Infra, Namespace, Plan, Protocol, Step,
};
use crate::sandbox::{self, Child, NamespaceKind, Offsets, infra, sysctl};
use crate::state::store::{claim, make_directory};
use crate::sys::ids::Maps;
use nix::mount::{MsFlags, mount};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a step has set going.
#[derive(Debug)]
pub enum Begun {
    /// It is done.
    Done,
    /// Done when the child reports that its namespaces exist.
    Infra(Child),
    /// Done when the child reports that it waits for its start.
    Container(Box<Created>),
    /// The container's channel is to be told; done when its program runs.
    Release(ContainerName),
}

/// Handles on the kernel that outlive a step.
#[derive(Debug)]
pub struct Machine {
    pub hierarchy: Hierarchy,
    pub devices: DevicePrograms,
    /// Sockets that keep host ports from others as long as we live.
    reserved: Vec<OwnedFd>,
    infra: Option<i32>,
    /// Until they are written.
    pub secrets: Secrets,
}

impl Machine {
    pub fn open() -> Result<Self, ExecError> {
        Ok(Self {
            hierarchy: Hierarchy::open()?,
            devices: DevicePrograms::default(),
            reserved: Vec::new(),
            infra: None,
            secrets: Secrets::default(),
        })
    }

    /// Lets go of what was held for a plan that is undone.
    pub fn forget(&mut self) {
        self.reserved.clear();
        self.infra = None;
        self.secrets = Secrets::default();
    }

    /// Carries out a step of the plan.
    pub fn apply(&mut self, plan: &Plan, step: &Step) -> Result<Begun, ExecError> {
        match step {
            Step::MakeNetwork(network) => network::make(network)?,
            Step::LoadProfile { name } => apparmor::load(name)?,
            Step::MountPodTmpfs { at } => mount_pod_tmpfs(at)?,
            Step::MakeCgroup { cgroup, limits } => self.make_cgroup(cgroup, limits)?,
            Step::StartInfra(order) => return self.start_infra(order).map(Begun::Infra),
            Step::PinNamespaces { pins } => pin_namespaces(self.infra, pins)?,
            Step::TakeIds { lease, ids } => take_ids(lease, ids)?,
            Step::MakeNetns { pin, user: None, .. } => netns::pin(netns::create()?.as_fd(), pin)?,
            Step::MakeNetns { pin, user: Some(user), .. } => {
                netns::pin(sandbox::owned_network(user)?.as_fd(), pin)?;
            }
            Step::TakeAddress { lease, address, used_before } => {
                if !claim(lease, plan.id.as_str())? {
                    return Err(ExecError::AddressTaken { address: *address });
                }
                if *used_before {
                    conntrack::forget(&[], &[*address])?;
                }
            }
            Step::Connect(connection) => connect(connection)?,
            Step::LoopbackUp { netns } => link::loopback_up(netns::open(netns)?.as_fd())?,
            Step::ReservePorts { ports } => self.reserve(ports)?,
            Step::Publish { forwards } => publish(plan, forwards)?,
            Step::SetSysctls { namespaces, sysctls } => set_sysctls(namespaces, sysctls)?,
            Step::MountShm { at, size } => mount_shm(at, *size)?,
            Step::MakeVolume(volume) => volumes::make(volume)?,
            Step::WriteFiles { files } => write_files(files)?,
            Step::MakeSecrets { at, files, .. } => secrets::make(at, files, &self.secrets)?,
            Step::MakeLayers { overlays, .. } => overlays.iter().try_for_each(make_layers)?,
            Step::CreateContainer(launch) => {
                let created = launch::create(&self.hierarchy, plan, launch)?;
                return Ok(Begun::Container(Box::new(created)));
            }
            Step::StartContainer { container } => return Ok(Begun::Release(container.clone())),
        }
        Ok(Begun::Done)
    }

    fn make_cgroup(&self, path: &Path, limits: &step::Limits) -> Result<(), ExecError> {
        let cgroup = self.hierarchy.make(path)?;
        self.hierarchy.enable(path, &limits.controllers)?;
        cgroup.limit(&limits.files)?;
        for of in &limits.legacy {
            Legacy { mount: &of.mount, path }.make(&of.files)?;
        }
        Ok(())
    }

    fn start_infra(&mut self, order: &Infra) -> Result<Child, ExecError> {
        let cgroup = self.hierarchy.make(&order.cgroup)?;
        let namespaces: Vec<NamespaceKind> =
            order.namespaces.iter().map(|kind| namespace_kind(*kind)).collect();
        let ids = order.ids.as_ref().map(maps);
        let cgroup_root = order.cgroup_root.as_ref().map(|root| self.hierarchy.make(root));
        let cgroup_root = cgroup_root.transpose()?;
        let child = infra::start_infra(&infra::InfraOrder {
            namespaces: &namespaces,
            hostname: order.hostname.as_deref(),
            cgroup: cgroup.fd(),
            ids: ids.as_ref(),
            cgroup_root: cgroup_root.as_ref().map(Cgroup::fd),
            offsets: Offsets { boottime: order.time.boottime, monotonic: order.time.monotonic },
        })?;
        self.infra = Some(child.pid);
        Ok(child)
    }

    fn reserve(&mut self, ports: &[Forward]) -> Result<(), ExecError> {
        for forward in ports {
            for port in (forward.host..=u16::MAX).take(usize::from(forward.count)) {
                let place = (forward.address, firewall_protocol(forward.protocol), port);
                self.reserved.push(sockets::reserve(place)?);
            }
        }
        Ok(())
    }
}

fn namespace_kind(kind: Namespace) -> NamespaceKind {
    match kind {
        Namespace::Net => NamespaceKind::Net,
        Namespace::Uts => NamespaceKind::Uts,
        Namespace::Ipc => NamespaceKind::Ipc,
        Namespace::Pid => NamespaceKind::Pid,
        Namespace::Cgroup => NamespaceKind::Cgroup,
        Namespace::User => NamespaceKind::User,
        Namespace::Time => NamespaceKind::Time,
        Namespace::Mnt => NamespaceKind::Mnt,
    }
}

fn maps(ids: &IdMaps) -> Maps {
    Maps { uids: IdMaps::plain(&ids.uids), gids: IdMaps::plain(&ids.gids) }
}

/// One line a range: what others need to know to stay away from it. One write, for whoever reads it holds no lock
/// of ours after a crash.
fn take_ids(lease: &Path, ids: &[IdMaps]) -> Result<(), ExecError> {
    if let Some(parent) = lease.parent() {
        make_directory(parent)?;
    }
    let text: String = ids.iter().map(ToString::to_string).collect();
    let error = |source| ExecError::WriteFile { path: lease.to_owned(), source };
    std::fs::write(lease, text).map_err(error)
}

fn connect(connection: &Connection) -> Result<(), ExecError> {
    let netns = netns::open(&connection.netns)?;
    let veth = link::Veth {
        host: connection.host.clone(),
        peer: connection.peer.clone(),
        bridge: connection.bridge.clone(),
        mac: connection.mac,
        mtu: connection.mtu,
        address: connection.address,
        prefix: connection.gateway.prefix,
        gateway: connection.gateway.address,
    };
    Ok(link::connect(&veth, netns.as_fd())?)
}

fn publish(plan: &Plan, forwards: &[Forward]) -> Result<(), ExecError> {
    let elements = firewall_forwards(forwards);
    firewall::publish(plan.id.as_str(), &elements, None)?;
    Ok(conntrack::forget(&datagrams(elements), &[])?)
}

/// A client that keeps sending while a port comes or goes keeps its entry alive, and that leads nowhere.
/// Only datagrams do that; a TCP connection ends by itself. To look costs 10 ms where the machine tracks
/// anything at all.
pub(super) fn datagrams(mut forwards: Vec<firewall::Forward>) -> Vec<firewall::Forward> {
    forwards.retain(|forward| forward.protocol == firewall::Protocol::Udp);
    forwards
}

/// The forwards in the firewall's words.
pub(super) fn firewall_forwards(forwards: &[Forward]) -> Vec<firewall::Forward> {
    forwards
        .iter()
        .map(|forward| firewall::Forward {
            address: forward.address,
            protocol: firewall_protocol(forward.protocol),
            host: forward.host,
            count: forward.count,
            target: forward.target,
            target_port: forward.target_port,
        })
        .collect()
}

fn firewall_protocol(protocol: Protocol) -> firewall::Protocol {
    match protocol {
        Protocol::Tcp => firewall::Protocol::Tcp,
        Protocol::Udp => firewall::Protocol::Udp,
    }
}

fn set_sysctls(
    namespaces: &BTreeMap<Namespace, PathBuf>,
    sysctls: &BTreeMap<String, String>,
) -> Result<(), ExecError> {
    let namespaces = namespaces.iter().map(|(kind, at)| (namespace_kind(*kind), at.as_path()));
    Ok(sysctl::set(&namespaces.collect::<Vec<_>>(), sysctls)?)
}

fn pin_namespaces(
    infra: Option<i32>,
    pins: &BTreeMap<step::Namespace, PathBuf>,
) -> Result<(), ExecError> {
    let pid = infra.ok_or(ExecError::NoInfra)?;
    for (kind, at) in pins {
        let path = PathBuf::from(format!("/proc/{pid}/ns/{}", kind));
        if *kind == Namespace::Net {
            netns::pin(netns::open(&path)?.as_fd(), at)?;
        } else {
            pin(&path, at)?;
        }
    }
    Ok(())
}

fn pin(namespace: &Path, at: &Path) -> Result<(), ExecError> {
    if let Some(parent) = at.parent() {
        make_directory(parent)?;
    }
    let error = |source| ExecError::Pin { at: at.to_owned(), source };
    std::fs::File::create_new(at).map_err(error)?;
    let none = None::<&str>;
    mount(Some(namespace), at, none, MsFlags::MS_BIND, none).map_err(|errno| error(errno.into()))
}

fn mount_pod_tmpfs(at: &Path) -> Result<(), ExecError> {
    make_directory(at)?;
    mount_tmpfs(at, "mode=0700")?;
    // Pins below it must not spread to other mount namespaces, where nobody would remove them.
    let none = None::<&str>;
    mount(none, at, none, MsFlags::MS_PRIVATE, none)
        .map_err(|errno| ExecError::MountTmpfs { at: at.to_owned(), source: errno.into() })
}

fn mount_shm(at: &Path, size: u64) -> Result<(), ExecError> {
    make_directory(at)?;
    mount_tmpfs(at, &format!("mode=1777,size={size}"))
}

pub(super) fn mount_tmpfs(at: &Path, options: &str) -> Result<(), ExecError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("podspec"), at, Some("tmpfs"), flags, Some(options))
        .map_err(|errno| ExecError::MountTmpfs { at: at.to_owned(), source: errno.into() })
}

/// The merged directory shows the owner and mode of the upper one: they are made those of the lower.
fn make_layers(overlay: &step::Overlay) -> Result<(), ExecError> {
    make_directory(&overlay.work)?;
    make_directory(&overlay.upper)?;
    let Some(lower) = overlay.lower.first() else { return Ok(()) };
    let error = |source| ExecError::WriteFile { path: overlay.upper.clone(), source };
    let of_lower = std::fs::metadata(lower).map_err(error)?;
    let owner = (of_lower.uid(), of_lower.gid());
    if owner != (0, 0) {
        std::os::unix::fs::lchown(&overlay.upper, Some(owner.0), Some(owner.1)).map_err(error)?;
    }
    std::fs::set_permissions(&overlay.upper, of_lower.permissions()).map_err(error)
}

pub(super) fn write_files(files: &BTreeMap<PathBuf, String>) -> Result<(), ExecError> {
    for (path, text) in files {
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        let error = |source| ExecError::WriteFile { path: path.clone(), source };
        std::fs::write(path, text).map_err(error)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).map_err(error)?;
    }
    Ok(())
}
