//! Pods and machines built by hand, for the tests of the planner alone.

use crate::names::ContainerName;
use crate::plan::facts::{
    CallerFacts, CgroupFacts, Directories, HostFacts, IdFacts, KernelFacts, NetworkFacts,
};
use crate::spec::model::*;
use std::path::PathBuf;
use std::time::Duration;

/// A container from a directory, with every default.
pub(super) fn container() -> Container {
    Container {
        role: Role::Main,
        root: Root::Directory(PathBuf::from("/srv/root")),
        argv: vec!["/bin/true".into()],
        working_dir: PathBuf::from("/"),
        user: User { user: NameOrId::Id(0), group: None },
        groups: Vec::new(),
        env: [].into(),
        secrets: Vec::new(),
        mounts: Vec::new(),
        devices: Vec::new(),
        ulimits: [].into(),
        oom_score_adj: None,
        resources: Resources::default(),
        hostname: "c".into(),
        ports: Vec::new(),
        depends_on: [].into(),
        restart: Restart::No,
        backoff: Default::default(),
        stop_signal: Signal(15),
        stop_timeout: Duration::from_secs(10),
        tty: false,
        init: false,
        stdin: false,
        runtime: None,
        namespaces: [].into(),
        logs: Logs { max_size: 10 << 20, max_files: 5 },
        probes: Probes::default(),
        lifecycle: Lifecycle::default(),
        security: Security::default(),
    }
}

/// An image of which the file says nothing more.
pub(super) fn image() -> Image {
    Image {
        reference: "httpd".parse().unwrap(),
        pull: PullPolicy::Missing,
        command: None,
        args: None,
        working_dir: false,
        user: false,
        stop_signal: false,
    }
}

/// A pod with every default.
pub(super) fn pod(name: &str, containers: &[&str]) -> PodSpec {
    let with_name = |name: &str| Container { hostname: name.to_owned(), ..container() };
    PodSpec {
        name: name.parse().unwrap(),
        labels: [].into(),
        hostname: name.to_owned(),
        share: [Shared::Net, Shared::Uts, Shared::Ipc].into(),
        network: NetworkMode::Bridge,
        mtu: None,
        userns: UserNs::default(),
        time: TimeOffsets::default(),
        dns: Dns::default(),
        hosts: [].into(),
        ports: Vec::new(),
        auto_ports: false,
        sysctls: [].into(),
        shm_size: 64 << 20,
        resources: Resources::default(),
        secrets: [].into(),
        volumes: [].into(),
        containers: containers
            .iter()
            .map(|name| (name.parse::<ContainerName>().unwrap(), with_name(name)))
            .collect(),
        exit_policy: ExitPolicy::Continue,
        stop_timeout: None,
    }
}

/// `[ADDR:]HOST:CONTAINER[/PROTOCOL]`, well formed.
pub(super) fn port(text: &str) -> Port {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let mut parts: Vec<&str> = rest.split(':').collect();
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (first.parse::<u16>().unwrap(), last.parse::<u16>().unwrap())
    };
    let (container, _) = range(parts.pop().unwrap());
    let (host, last) = range(parts.pop().unwrap());
    Port {
        address: parts.pop().map(|address| address.parse().unwrap()),
        host,
        container,
        count: last - host + 1,
        protocol: if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp },
        name: None,
    }
}

/// A machine where podspec never ran.
pub(super) fn facts() -> HostFacts {
    HostFacts {
        directories: Directories {
            run: "/run/podspec".into(),
            data: "/var/lib/podspec".into(),
            netns: "/run/netns".into(),
            cgroups: "podspec".into(),
        },
        caller: CallerFacts::default(),
        cgroups: CgroupFacts::default(),
        kernel: KernelFacts { version: (6, 1), ..KernelFacts::default() },
        ids: IdFacts::default(),
        uptime: 0,
        network: NetworkFacts { mtu: 1500, ..NetworkFacts::default() },
        resolv_conf: "nameserver 192.0.2.1\n".into(),
        host_mounts: Vec::new(),
        host_secrets: Vec::new(),
        images: [].into(),
        containers: [].into(),
    }
}
