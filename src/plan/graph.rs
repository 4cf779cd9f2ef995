//! Puts the steps of a pod together: which there are, and which waits for which. Infra comes before every
//! container and everything of the pod's network; what only prepares directories may overlap with it.

use crate::names::{ContainerName, VolumeName};
use crate::plan::cgroups::{self, Bounds};
use crate::plan::error::PlanError;
use crate::plan::facts::{ContainerFacts, HostFacts};
use crate::plan::files::{self, Files};
use crate::plan::ids::{self, PodIds};
use crate::plan::image;
use crate::plan::limits;
use crate::plan::network::{self, PodNetwork, Side};
use crate::plan::oci::{self, Entry};
use crate::plan::order;
use crate::plan::places::Places;
use crate::plan::probes;
use crate::plan::process;
use crate::plan::rootfs::{self, Mounts};
use crate::plan::security;
use crate::plan::step::{
    Connection, Edge, Forward, Infra, Input, Launch, Namespace, Plan, Planned, Restart, Role,
    RootLayers, Runtime, SecretFile, Stdio, Step, StepId, Until, VolumeStep,
};
use crate::seccomp::Filter;
use crate::spec::model::{
    self, Condition, Container, MountSource, NetworkMode, PodSpec, SecretMount, Shared,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

/// So many ports of a pod are held by a bound socket each; a longer range is held by its element alone.
const RESERVED_MOST: u32 = 64;

/// Everything of a pod of which nothing is there yet.
pub(super) fn first_start(spec: &PodSpec, facts: &HostFacts) -> Result<Plan, PlanError> {
    let spec = &image::complete(spec, facts)?;
    refuse_what_is_not_there(spec, facts)?;
    let order = order::start_order(&spec.containers)?;
    let places = Places::new(&facts.directories, &spec.name);
    let network = network::choose(spec, facts, &places)?;
    let bounds = cgroups::bounds(spec, &facts.cgroups)?;
    let ids = ids::choose(spec, facts, &places)?;
    refuse_clocks(spec, facts)?;
    let files = files::generate(spec, &network, &facts.resolv_conf, &places);
    let mut graph = Graph {
        spec,
        facts,
        places: &places,
        network: &network,
        ids: &ids,
        files: &files,
        bounds: &bounds,
        made: Made::default(),
        filters: Vec::new(),
    };
    graph.infra();
    graph.connections();
    graph.sysctls();
    graph.ports();
    graph.prepare();
    for name in &order {
        graph.layers(name);
    }
    for name in &order {
        graph.container(name)?;
    }
    Ok(Plan {
        pod: spec.name.clone(),
        id: places.id.clone(),
        steps: graph.made.steps,
        seccomp: graph.filters,
        exit_policy: spec.exit_policy,
        stop_timeout: spec.stop_timeout,
    })
}

fn refuse_what_is_not_there(spec: &PodSpec, facts: &HostFacts) -> Result<(), PlanError> {
    if let Some(what) = &facts.network.problem {
        return Err(PlanError::NoNamespace { what: what.clone() });
    }
    for (name, container) in &spec.containers {
        if let Some((field, what)) =
            facts.containers.get(name).and_then(|facts| facts.problems.first())
        {
            let (field, what) = (field.clone(), what.clone());
            return Err(PlanError::NotThere { container: name.clone(), field, what });
        }
        for (n, mount) in container.mounts.iter().enumerate() {
            if let MountSource::Volume { name: volume, .. } = &mount.source
                && !spec.volumes.contains_key(volume)
            {
                let place = format!("containers.{name}.volumes.{n}");
                return Err(PlanError::NotDeclared { place, what: volume.to_string() });
            }
        }
    }
    Ok(())
}

/// A clock that is set back to before 0 is one that the kernel refuses.
fn refuse_clocks(spec: &PodSpec, facts: &HostFacts) -> Result<(), PlanError> {
    const SECOND: i64 = 1_000_000_000;
    let clocks = [("boottime", spec.time.boottime), ("monotonic", spec.time.monotonic)];
    let uptime = facts.uptime;
    match clocks
        .into_iter()
        .find(|(_, by)| *by < 0 && by.div_euclid(SECOND).unsigned_abs() > uptime)
    {
        Some((clock, by)) => {
            Err(PlanError::BeforeBoot { clock, offset: by.div_euclid(SECOND), uptime })
        }
        None => Ok(()),
    }
}

/// The steps so far, and which of them later ones wait for.
#[derive(Default)]
struct Made {
    steps: Vec<Planned>,
    tmpfs: StepId,
    infra: StepId,
    /// Where infra's namespaces can be joined; infra itself where it has none.
    joinable: StepId,
    machine: Option<StepId>,
    netns: BTreeMap<ContainerName, StepId>,
    /// The pod's own network is whole.
    pod_network: Vec<StepId>,
    /// And those of containers.
    own_network: BTreeMap<ContainerName, Vec<StepId>>,
    sysctls: Option<StepId>,
    profile: Option<StepId>,
    /// Volumes, files, shared memory.
    shm: Option<StepId>,
    volumes: BTreeMap<VolumeName, StepId>,
    files: StepId,
    layers: BTreeMap<ContainerName, StepId>,
    started: BTreeMap<ContainerName, StepId>,
    /// The init container and the sidecar that everything after them waits for.
    last_init: Option<ContainerName>,
    last_sidecar: Option<ContainerName>,
}

impl Made {
    fn add(&mut self, step: Step, after: impl IntoIterator<Item = StepId>, why: String) -> StepId {
        let edges = after.into_iter().map(|step| Edge { step, until: Until::Done });
        self.add_edges(step, edges.collect(), why)
    }

    fn add_edges(&mut self, step: Step, after: BTreeSet<Edge>, why: String) -> StepId {
        self.steps.push(Planned { step, after: after.into_iter().collect(), why });
        self.steps.len() - 1
    }
}

struct Graph<'a> {
    spec: &'a PodSpec,
    facts: &'a HostFacts,
    places: &'a Places<'a>,
    network: &'a PodNetwork,
    ids: &'a PodIds,
    files: &'a Files,
    bounds: &'a Bounds,
    made: Made,
    filters: Vec<Filter>,
}

impl Graph<'_> {
    fn infra(&mut self) {
        let limits = self.bounds.pod.clone();
        let cgroup = self.made.add(
            Step::MakeCgroup { cgroup: self.places.cgroup(), limits },
            [],
            "every process of the pod is born below it".into(),
        );
        let mut after = vec![cgroup];
        if let Some(step) = self.ids.lease(self.places) {
            let why = "no other pod has them".into();
            after.push(self.made.add(step, [], why));
        }
        let namespaces = self.infra_namespaces();
        let hostname = namespaces.contains(&Namespace::Uts).then(|| self.spec.hostname.clone());
        let why = match namespaces.len() {
            0 => "holds nothing: the pod shares no namespace of its own".into(),
            _ => "holds the pod's namespaces while containers come and go".into(),
        };
        let has_cgroup = namespaces.contains(&Namespace::Cgroup);
        let infra = Infra {
            cgroup: self.places.infra_cgroup(),
            namespaces: namespaces.clone(),
            hostname,
            ids: self.ids.pod.clone(),
            cgroup_root: has_cgroup.then(|| self.places.cgroup()),
            time: self.spec.time,
        };
        self.made.infra = self.made.add(Step::StartInfra(infra), after, why);
        let why = "pins, generated files and shared memory, gone with one unmount".into();
        self.made.tmpfs = self.made.add(Step::MountPodTmpfs { at: self.places.mnt() }, [], why);
        self.made.joinable = self.made.infra;
        let pins: BTreeMap<_, _> =
            namespaces.into_iter().map(|kind| (kind, self.places.pin(kind))).collect();
        if !pins.is_empty() {
            let after = [self.made.infra, self.made.tmpfs];
            let why = "containers join them by these names, and `ip netns` lists the pod".into();
            self.made.joinable = self.made.add(Step::PinNamespaces { pins }, after, why);
        }
    }

    /// Infra has a network namespace of its own even where `net` is not shared: the pod's ports lead there.
    fn infra_namespaces(&self) -> Vec<Namespace> {
        let has_net = !matches!(self.spec.network, NetworkMode::Host | NetworkMode::At(_));
        let net = has_net.then_some(Namespace::Net);
        let shared = Shared::ALL
            .into_iter()
            .filter(|kind| *kind != Shared::Net && self.spec.share.contains(kind));
        net.into_iter().chain(shared.map(oci::step_kind)).collect()
    }

    fn connections(&mut self) {
        if let Some(network) = &self.network.machine {
            let why = if network.enable_forwarding {
                "the machine has no complete podspec network yet, and does not forward"
            } else {
                "the machine has no complete podspec network yet"
            };
            let step = Step::MakeNetwork(network.clone());
            self.made.machine = Some(self.made.add(step, [], why.into()));
        }
        self.own_namespaces();
        let connections: Vec<&Connection> = self.network.connections().collect();
        for connection in connections {
            self.connect(connection);
        }
        if self.spec.network == NetworkMode::None {
            let netns = self.places.pin(Namespace::Net);
            let why = "the pod has no network but itself".into();
            let step = self.made.add(Step::LoopbackUp { netns }, [self.made.joinable], why);
            self.made.pod_network.push(step);
        }
    }

    fn own_namespaces(&mut self) {
        for (name, container) in &self.spec.containers {
            if network::side(self.spec, container) != Side::Own {
                continue;
            }
            let pin = self.places.own_netns(name);
            let owned = self.ids.pod.is_some();
            let user = owned.then(|| self.places.pin(Namespace::User));
            let step = Step::MakeNetns { container: name.clone(), pin: pin.clone(), user };
            let why = format!("{name} does not share the pod's network");
            let after = if owned { self.made.joinable } else { self.made.infra };
            let netns = self.made.add(step, [after], why);
            self.made.netns.insert(name.clone(), netns);
            if !self.network.own.contains_key(name) {
                let why = format!("{name} has no network but itself");
                let up = self.made.add(Step::LoopbackUp { netns: pin }, [netns], why);
                self.made.own_network.entry(name.clone()).or_default().push(up);
            }
        }
    }

    fn connect(&mut self, connection: &Connection) {
        let owner = connection.container.as_ref();
        let address = connection.address;
        let used_before = self.facts.network.released.contains_key(&address);
        let lease = self.places.lease(address);
        let take = Step::TakeAddress { lease, address, used_before };
        let why = match owner {
            None => "the pod's: by its name's hash, and free".into(),
            Some(name) => format!("{name}'s: by its name's hash, and free"),
        };
        let lease = self.made.add(take, [self.made.infra], why);
        let namespace = owner.and_then(|name| self.made.netns.get(name)).copied();
        let after = [namespace.unwrap_or(self.made.joinable), lease];
        let after: Vec<StepId> = after.into_iter().chain(self.made.machine).collect();
        let why = match owner {
            None => format!("the pod is {address} on {}", connection.bridge),
            Some(name) => format!("{name} is {address} on {}", connection.bridge),
        };
        let step = self.made.add(Step::Connect(connection.clone()), after, why);
        match owner {
            None => self.made.pod_network.push(step),
            Some(name) => self.made.own_network.entry(name.clone()).or_default().push(step),
        }
    }

    /// One transaction for all ports of the pod, and a container whose ports are among them waits for it.
    fn ports(&mut self) {
        let forwards = self.network.forwards.clone();
        if forwards.is_empty() {
            return;
        }
        let reserved = reservable(&forwards);
        let mut after: Vec<StepId> = self.made.pod_network.clone();
        after.extend(self.made.own_network.values().flatten());
        after.extend(self.made.machine);
        if !reserved.is_empty() {
            let why = "nobody else can bind them while the pod runs".into();
            let step = Step::ReservePorts { ports: reserved };
            after.push(self.made.add(step, [self.made.infra], why));
        }
        let containers = self.spec.containers.values().flat_map(|container| &container.ports);
        let is_open = self.spec.ports.iter().chain(containers).any(|port| port.host == 0);
        let why = if is_open {
            "free on this host, by its sockets and the other pods' ports; by hash for host port 0"
        } else {
            "free on this host, by its sockets and the other pods' ports"
        };
        let why = why.into();
        let publish = self.made.add(Step::Publish { forwards }, after, why);
        self.made.pod_network.push(publish);
        for (name, container) in &self.spec.containers {
            if !container.ports.is_empty() {
                self.made.own_network.entry(name.clone()).or_default().push(publish);
            }
        }
    }

    /// After the links: some sysctls are a link's, and what podspec sets of its own accord comes first.
    fn sysctls(&mut self) {
        if self.spec.sysctls.is_empty() {
            return;
        }
        let of_net = |name: &String| name.starts_with("net.");
        let (net, ipc) =
            (self.spec.sysctls.keys().any(of_net), !self.spec.sysctls.keys().all(of_net));
        let kinds = [(Namespace::Net, net), (Namespace::Ipc, ipc)];
        let kinds = kinds.into_iter().filter(|(_, wanted)| *wanted);
        let namespaces = kinds.map(|(kind, _)| (kind, self.places.pin(kind))).collect();
        let sysctls = self.spec.sysctls.iter().map(|(name, value)| (name.clone(), value.clone()));
        let step = Step::SetSysctls { namespaces, sysctls: sysctls.collect() };
        let after = self.made.pod_network.iter().copied().chain([self.made.joinable]);
        let after: Vec<StepId> = after.collect();
        let why = "of the pod's own namespaces, before any program runs".into();
        self.made.sysctls = Some(self.made.add(step, after, why));
    }

    fn prepare(&mut self) {
        if self.spec.share.contains(&Shared::Ipc) {
            let step = Step::MountShm { at: self.places.shm(), size: self.spec.shm_size };
            let why = "the containers share ipc, and so /dev/shm".into();
            self.made.shm = Some(self.made.add(step, [self.made.tmpfs], why));
        }
        for (name, volume) in &self.spec.volumes {
            if let (_, Some(step)) = rootfs::volume(name, volume, self.places) {
                let step = VolumeStep { parts: rootfs::parts(self.spec, name), ..step };
                let in_memory = step.path.starts_with(self.places.mnt());
                let after = in_memory.then_some(self.made.tmpfs);
                let why = volume_reason(volume).into();
                let made = self.made.add(Step::MakeVolume(step), after, why);
                self.made.volumes.insert(name.clone(), made);
            }
        }
        let why = "names of the containers, their host names, name servers".into();
        let files = Step::WriteFiles { files: self.files.texts.clone() };
        self.made.files = self.made.add(files, [self.made.tmpfs], why);
    }

    fn root(&self, name: &ContainerName) -> RootLayers {
        rootfs::layers(name, &self.spec.containers[name], self.facts, self.places)
    }

    fn layers(&mut self, name: &ContainerName) {
        let overlays = self.root(name).overlays;
        let step = Step::MakeLayers { container: name.clone(), overlays };
        let why = format!("what {name} writes to its root goes there");
        let made = self.made.add(step, [], why);
        self.made.layers.insert(name.clone(), made);
    }

    fn container(&mut self, name: &ContainerName) -> Result<(), PlanError> {
        let container = &self.spec.containers[name];
        let launch = self.launch(name, container)?;
        let mut after = self.needs(name, container);
        if let Some(secrets) = self.secrets(&launch, container) {
            after.insert(Edge { step: secrets, until: Until::Done });
        }
        if let Some(profile) = self.profile(container) {
            after.insert(Edge { step: profile, until: Until::Done });
        }
        let mut why = vec![root_reason(container)];
        why.extend(container.runtime.as_ref().map(|runtime| format!("by {runtime}")));
        if let Some(init) = &self.made.last_init {
            after.insert(Edge { step: self.made.started[init], until: Until::Completed });
            why.push(format!("after init container {init}"));
        }
        for (needed, dependency) in &container.depends_on {
            if dependency.condition == Condition::Completed {
                after.insert(Edge { step: self.made.started[needed], until: Until::Completed });
                why.push(format!("once {needed} has ended with 0"));
            }
        }
        let create = Step::CreateContainer(Rc::new(launch));
        let create = self.made.add_edges(create, after, why.join(", "));
        let network = match network::side(self.spec, container) {
            Side::Pod => self.made.pod_network.clone(),
            Side::Own => self.made.own_network.get(name).cloned().unwrap_or_default(),
            Side::Host | Side::At(_) => Vec::new(),
        };
        let (needed, why) = self.comes_first(container);
        let why = match why {
            Some(why) => why,
            None if network.is_empty() => "it is ready".into(),
            None => "its network is there".into(),
        };
        let after = network.into_iter().chain(self.made.sysctls).chain([create]);
        let after = after.map(|step| Edge { step, until: Until::Done });
        let after = after.chain(needed).collect();
        let step = Step::StartContainer { container: name.clone() };
        let start = self.made.add_edges(step, after, why);
        self.made.started.insert(name.clone(), start);
        match container.role {
            Role::Main => {}
            Role::Init => self.made.last_init = Some(name.clone()),
            Role::Sidecar => self.made.last_sidecar = Some(name.clone()),
        }
        Ok(())
    }

    /// Loads the default profile, once for all that are confined by it.
    fn profile(&mut self, container: &Container) -> Option<StepId> {
        let name = security::profile(&container.security, &self.facts.kernel)?;
        if name != security::DEFAULT_PROFILE {
            return None;
        }
        if self.made.profile.is_none() {
            let step = Step::LoadProfile { name: name.to_owned() };
            let why = "confines containers whose files name no profile".into();
            self.made.profile = Some(self.made.add(step, [], why));
        }
        self.made.profile
    }

    /// Containers that must run or be ready before the program of this one begins, and that in words.
    fn comes_first(&self, container: &Container) -> (Vec<Edge>, Option<String>) {
        let sidecar = self.made.last_sidecar.iter();
        let sidecar =
            sidecar.filter(|name| !container.depends_on.contains_key(*name)).map(|name| {
                let is_probed = self.spec.containers[name].probes.tell_readiness();
                (name, if is_probed { Until::Ready } else { Until::Done })
            });
        let named = container.depends_on.iter().filter_map(|(name, it)| match it.condition {
            Condition::Started => Some((name, Until::Done)),
            Condition::Ready if self.spec.containers[name].probes.tell_readiness() => {
                Some((name, Until::Ready))
            }
            // Nobody asks it whether it is ready.
            Condition::Ready => Some((name, Until::Done)),
            Condition::Completed => None,
        });
        let needed: Vec<(&ContainerName, Until)> = sidecar.chain(named).collect();
        let words = |until, verb: (&str, &str)| {
            let names: Vec<_> =
                needed.iter().filter(|(_, it)| *it == until).map(|(name, _)| *name).collect();
            (!names.is_empty()).then(|| {
                let verb = if names.len() == 1 { verb.0 } else { verb.1 };
                format!("{} {verb}", list(&names))
            })
        };
        let why =
            [words(Until::Done, ("runs", "run")), words(Until::Ready, ("is ready", "are ready"))];
        let why: Vec<String> = why.into_iter().flatten().collect();
        let edge = |(name, until): &(&ContainerName, Until)| Edge {
            step: self.made.started[*name],
            until: *until,
        };
        (needed.iter().map(edge).collect(), (!why.is_empty()).then(|| why.join(", ")))
    }

    /// Its own copies of its secrets: they belong to its user.
    fn secrets(&mut self, launch: &Launch, container: &Container) -> Option<StepId> {
        let name = &launch.container;
        let at = self.places.secrets(name);
        let user = launch.oci.process().as_ref().map(oci_spec::runtime::Process::user);
        let (uid, gid) = user.map_or((0, 0), |user| (user.uid(), user.gid()));
        let file = |(n, secret): (usize, &SecretMount)| SecretFile {
            secret: secret.name.clone(),
            path: at.join(n.to_string()),
            uid,
            gid,
            mode: secret.mode,
        };
        let files: Vec<_> = container.secrets.iter().enumerate().map(file).collect();
        if files.is_empty() {
            return None;
        }
        let why = "in memory alone, and its user's".to_owned();
        let step = Step::MakeSecrets { container: name.clone(), at, files };
        Some(self.made.add(step, [self.made.tmpfs], why))
    }

    /// What must be there for a container's process to be made; its network may come later.
    fn needs(&self, name: &ContainerName, container: &Container) -> BTreeSet<Edge> {
        let shm = oci::entry(self.spec, name, container, Shared::Ipc, self.places);
        let shm = self.made.shm.filter(|_| matches!(shm, Entry::Join(_)));
        let volumes = container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, .. } => self.made.volumes.get(name).copied(),
            MountSource::Path(_) | MountSource::Tmpfs { .. } => None,
        });
        [self.made.joinable, self.made.files]
            .into_iter()
            .chain(self.made.netns.get(name).copied())
            .chain(self.made.layers.get(name).copied())
            .chain(shm)
            .chain(volumes)
            .map(|step| Edge { step, until: Until::Done })
            .collect()
    }

    /// A profile is compiled once, however many containers have it.
    fn filter(
        &mut self,
        name: &ContainerName,
        container: &Container,
    ) -> Result<Option<usize>, PlanError> {
        let launches = self.made.steps.iter().filter_map(|planned| match &planned.step {
            Step::CreateContainer(launch) => Some(launch),
            _ => None,
        });
        for launch in launches {
            if security::same_filter(&self.spec.containers[&launch.container], container) {
                return Ok(launch.seccomp);
            }
        }
        security::filter(&mut self.filters, name, container, self.facts)
    }

    fn runtime(&self, name: &ContainerName, container: &Container) -> Option<Runtime> {
        container.runtime.as_ref()?;
        Some(Runtime {
            program: self.facts.containers.get(name)?.runtime.clone(),
            state: self.places.runtimes(),
            bundle: self.places.bundle(name),
            id: format!("{}-{name}", self.places.id),
            clock: match oci::entry(self.spec, name, container, Shared::Time, self.places) {
                Entry::Join(path) => Some(path),
                Entry::New | Entry::Host => None,
            },
        })
    }

    fn launch(&mut self, name: &ContainerName, container: &Container) -> Result<Launch, PlanError> {
        security::modules(name, container, &self.facts.kernel)?;
        let seccomp = self.filter(name, container)?;
        if let Some(index) = seccomp.filter(|_| container.runtime.is_some()) {
            self.filters[index].is_anothers = true;
        }
        let nothing = ContainerFacts::default();
        let facts = self.facts.containers.get(name).unwrap_or(&nothing);
        let hostname = files::hostname(self.spec, container);
        let mut process = process::process(name, container, facts, hostname)?;
        limits::limit(&mut process, name, container, &self.facts.caller)?;
        let HostFacts { caller, kernel, .. } = self.facts;
        security::confine(&mut process, name, container, caller, kernel)?;
        let (spec, facts, places) = (self.spec, self.facts, self.places);
        let health = probes::health(name, container, places);
        let notify = health.notify.as_deref().and_then(Path::parent);
        let sources = self.files.of(name);
        let mounts = Mounts { spec, name, container, facts, places, sources, notify };
        let root = self.root(name);
        let (resources, limits) = self.bounds.containers.get(name).cloned().unwrap_or_default();
        let merged = root.merged.clone();
        let ids = self.ids.of(spec, name).cloned();
        if let Some(ids) = &ids {
            ids::check(name, container, ids, process.user())?;
        }
        let parts = oci::Parts { process, mounts: mounts.list(), merged, resources, ids };
        Ok(Launch {
            container: name.clone(),
            role: container.role,
            cgroup: places.container_cgroup(name),
            limits,
            oci: Box::new(oci::document(spec, name, facts, places, parts)),
            seccomp,
            root,
            beneath: mounts.beneath(),
            init: container.init,
            runtime: self.runtime(name, container),
            stdio: Stdio {
                input: match (container.tty, container.stdin) {
                    (true, open) => Input::Terminal { open },
                    (false, true) => Input::Fifo { path: places.stdio(name, "in") },
                    (false, false) => Input::Nothing,
                },
                stdout: places.stdio(name, "out"),
                stderr: places.stdio(name, "err"),
                log: places.log(name),
                max_size: container.logs.max_size,
                max_files: container.logs.max_files,
            },
            image: image::used(container, self.facts),
            restart: match container.restart {
                model::Restart::No => Restart::No,
                model::Restart::OnFailure { most } => Restart::OnFailure { most },
                model::Restart::Always | model::Restart::UnlessStopped => Restart::Always,
            },
            backoff: container.backoff,
            stop_signal: container.stop_signal.0,
            stop_timeout: container.stop_timeout,
            health,
        })
    }
}

fn reservable(forwards: &[Forward]) -> Vec<Forward> {
    let mut total = 0;
    let fits = forwards.iter().filter(|forward| {
        let with_it = total + u32::from(forward.count);
        let fits = with_it <= RESERVED_MOST;
        if fits {
            total = with_it;
        }
        fits
    });
    fits.cloned().collect()
}

fn volume_reason(volume: &model::Volume) -> &'static str {
    match volume {
        model::Volume::Persistent => "stays until `down --volumes`",
        model::Volume::Tmpfs { .. } => "in memory, as long as the pod",
        model::Volume::EmptyDir => "on disk, as long as the pod",
        model::Volume::Files { .. } => "texts of the pod file, read-only",
        model::Volume::Host { .. } => "the host's own, made only if it is missing",
    }
}

fn root_reason(container: &Container) -> String {
    match &container.root {
        model::Root::Directory(path) => format!("over {}, which is never written", path.display()),
        model::Root::Host => "over this machine's own root, which is never written".into(),
        model::Root::Image(image) => format!("over {}, which is never written", image.reference),
    }
}

fn list(names: &[&ContainerName]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    match names.as_slice() {
        [first @ .., before, last] => {
            [first, &[&format!("{before} and {last}")]].concat().join(", ")
        }
        _ => names.concat(),
    }
}
