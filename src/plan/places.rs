//! Where everything of a pod lies: the only file that joins paths of podspec's own directories, so that
//! what `down` looks for and what `up` made cannot differ. Chooses nothing else.

use crate::names::{ContainerName, PodId, PodName, VolumeName};
use crate::plan::facts::Directories;
use crate::plan::step::Namespace;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The paths of one pod.
pub struct Places<'a> {
    directories: &'a Directories,
    pub pod: &'a PodName,
    pub id: PodId,
}

impl<'a> Places<'a> {
    pub fn new(directories: &'a Directories, pod: &'a PodName) -> Self {
        Self { directories, pod, id: PodId::new(&directories.run, pod) }
    }

    pub(super) fn directories(&self) -> &Directories {
        self.directories
    }

    fn run(&self, rest: &str) -> PathBuf {
        self.directories.run.join(format!("pods/{}/{rest}", self.pod))
    }

    /// The pod's small tmpfs.
    pub fn mnt(&self) -> PathBuf {
        self.run("mnt")
    }

    pub(super) fn shm(&self) -> PathBuf {
        self.run("mnt/shm")
    }

    /// Where a namespace of infra's is pinned.
    pub fn pin(&self, kind: Namespace) -> PathBuf {
        match kind {
            Namespace::Net => self.directories.netns.join(self.pod.as_str()),
            other => self.run(&format!("mnt/ns/{other}")),
        }
    }

    /// Where a container's own network namespace is pinned. No pod's name has a dot.
    pub(super) fn own_netns(&self, container: &ContainerName) -> PathBuf {
        self.directories.netns.join(format!("{}.{container}", self.pod))
    }

    /// A generated file of a container.
    pub(super) fn etc(&self, container: &ContainerName, file: &str) -> PathBuf {
        self.run(&format!("mnt/etc/{container}/{file}"))
    }

    /// The tmpfs of a container's secrets.
    pub(super) fn secrets(&self, container: &ContainerName) -> PathBuf {
        self.run(&format!("mnt/secrets/{container}"))
    }

    pub(super) fn merged(&self, container: &ContainerName) -> PathBuf {
        self.run(&format!("mnt/root/{container}"))
    }

    /// What another runtime is given of a container.
    pub(super) fn bundle(&self, container: &ContainerName) -> PathBuf {
        self.run(&format!("mnt/bundles/{container}"))
    }

    /// Where other runtimes keep what they know of the pod's containers.
    pub(super) fn runtimes(&self) -> PathBuf {
        self.run("mnt/runtimes")
    }

    /// `out` or `err` of a container.
    pub(super) fn stdio(&self, container: &ContainerName, stream: &str) -> PathBuf {
        self.run(&format!("io/{container}.{stream}"))
    }

    pub(super) fn log(&self, container: &ContainerName) -> PathBuf {
        self.directories.data.join(format!("logs/{}/{container}.log", self.pod))
    }

    /// The socket of sd_notify(3) of a container, in a directory of its own.
    pub(super) fn notify_socket(&self, container: &ContainerName) -> PathBuf {
        self.run(&format!("mnt/notify/{container}/notify.sock"))
    }

    pub(super) fn lease(&self, address: Ipv4Addr) -> PathBuf {
        self.leases().join(address.to_string())
    }

    /// A file that says which ids the pod has.
    pub fn id_lease(&self) -> PathBuf {
        self.directories.run.join("ids").join(self.id.as_str())
    }

    /// Where every pod's leases are.
    pub fn leases(&self) -> PathBuf {
        self.directories.run.join("net/leases")
    }

    /// All that containers of this run write outside of volumes that stay.
    pub fn layers(&self) -> PathBuf {
        self.directories.data.join("layers").join(self.id.as_str())
    }

    /// What ip_forward was before podspec turned it on.
    pub(super) fn forwarding_record(&self) -> PathBuf {
        self.directories.run.join("net/ip_forward")
    }

    /// What a container writes over its `n`-th overlay: (upper, work). Side by side, for on a disk each
    /// directory costs as much as a system call of the network. No container's name has a dot.
    pub(super) fn layer(&self, container: &ContainerName, n: usize) -> (PathBuf, PathBuf) {
        let layer = |kind: &str| self.layers().join(format!("{container}.{n}.{kind}"));
        (layer("upper"), layer("work"))
    }

    /// A volume in memory: gone with the pod's tmpfs.
    pub(super) fn volume_in_memory(&self, volume: &VolumeName) -> PathBuf {
        self.run(&format!("mnt/volumes/{volume}"))
    }

    /// A volume on disk that goes with the pod. The underscore keeps it apart from the layers of a
    /// container called `volumes`.
    pub(super) fn volume_of_this_run(&self, volume: &VolumeName) -> PathBuf {
        self.layers().join(format!("_volumes/{volume}"))
    }

    pub(super) fn volume_that_stays(&self, volume: &VolumeName) -> PathBuf {
        self.directories.data.join(format!("volumes/{}/{volume}", self.pod))
    }

    /// The pod's cgroup, below the mount of the v2 hierarchy.
    pub fn cgroup(&self) -> PathBuf {
        self.directories.cgroup(self.id.as_str())
    }

    /// Infra's cgroup; no container's name has an underscore.
    pub(super) fn infra_cgroup(&self) -> PathBuf {
        self.cgroup().join("_infra")
    }

    pub(super) fn container_cgroup(&self, container: &ContainerName) -> PathBuf {
        self.cgroup().join(container.as_str())
    }
}
