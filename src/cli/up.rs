//! `podspec up`: load, plan, hand over, and show what happens. The supervisor is started first, so that
//! its exec overlaps with the loading; without a plan it leaves again, having touched nothing.

use super::board::Board;
use super::down;
use super::error::CliError;
use super::explain::explain;
use super::file::PodFile;
use super::front;
use super::inspect;
use super::live::{Ending, Live, Wants};
use super::phases::Phases;
use super::pulled::{self, PullChoice, Pulled, Puller};
use super::registry::RegistryOptions;
use super::secrets;
use super::target::{self, is_supervised, read};
use super::{Format, output};
use crate::cgroup;
use crate::host::{self, Images};
use crate::names::{ContainerName, PodId, PodName};
use crate::plan::facts::{Directories, ForeignChain, HostFacts};
use crate::plan::step::{Connection, Launch, Plan, Protocol, Step};
use crate::plan::{self, Goal, Observed, PlanError};
use crate::spec;
use crate::spec::model::{Container, PodSpec, Resources};
use crate::spec::problem::Problem;
use crate::spec::write;
use crate::state::journal::Header;
use crate::state::lock::{Locks, Range};
use crate::state::record::{
    ContainerRecord, ContainerStatus, NetworkRecord, PodRecord, PodStatus, PortRecord, Process,
};
use crate::state::store::{Store, boot_id};
use crate::supervise::control;
use crate::supervise::protocol::{Handover, Request};
use crate::supervise::spawn::{self, Supervisor};
use crate::supervise::wire::Wire;
use serde_json::Value;
use serde_json::value::to_raw_value;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often a plan is made anew when the machine changed under it.
const ATTEMPTS: usize = 10;

/// Bring a pod up
///
/// In front, the output of its containers follows, and Ctrl-C ends the pod. With -d it is left running. Several
/// pods of one file are started one after another, and then shown together. A
/// start that fails is undone as a whole. A pod that runs already and is unchanged is left alone; its
/// containers that ended with an error are started again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec up                          ./pod.yaml, in front
  podspec up -d examples/hello.yaml   return when the pod is up
  podspec up --wait --timeout 1m      when it is ready, or say why not
  podspec up -d --recreate shop.yaml  the file has changed
  podspec up -d --pull shop.yaml      fetch images whose tags have moved
  generate | podspec up -d -          a file on standard input

Exit code: 0; 1 the machine refused; 2 the file is wrong, and nothing was touched; in front, that of the
first container that failed for good.

In front under systemd (Type=notify) it says READY=1 when all of the pod is ready.")]
pub(super) struct Up {
    /// Return when the pod is up, and leave it running
    #[arg(short, long)]
    detach: bool,
    /// Return when all of the pod is ready, and leave it running
    ///
    /// Every container runs and its probes say that it is ready, or it has ended with 0. One that fails ends the
    /// wait, with exit code 1.
    #[arg(short, long)]
    wait: bool,
    /// With --wait: give up after this time, such as 30s; the pod stays, and exit code 1
    #[arg(long, value_name = "DURATION", value_parser = super::wait::duration, requires = "wait")]
    #[arg(allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Take a running pod down first where the file has changed
    #[arg(long)]
    recreate: bool,
    /// When images are fetched, whatever the file says; --pull alone is --pull=always
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "always")]
    pull: Option<PullChoice>,
    /// How to report; JSON is that of `inspect`, with -d or --wait
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    registries: RegistryOptions,
    /// Pod file, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Up {
    pub(super) fn run(mut self, store: &Store) -> Result<ExitCode, CliError> {
        self.detach |= self.wait;
        self.refuse()?;
        let mut phases = Phases::new();
        let supervisor = start_supervisor()?;
        phases.end("start a supervisor");
        output::verbose(|| "started a supervisor".to_owned());
        let file = PodFile::read(self.file.as_deref())?;
        let loaded = file.load()?;
        phases.end("load the file");
        output::verbose(|| format!("loaded {}", file.name));
        let together = loaded.pods.len() > 1 && !self.detach;
        let puller = Puller::new(store, &self.registries, self.pull.map(PullChoice::policy));
        let mut supervisors = vec![supervisor];
        let _pulled = self.prepare_several(&puller, &loaded.pods, &mut supervisors)?;
        let mut code = ExitCode::SUCCESS;
        let (mut shown, mut held) = (Vec::new(), Vec::new());
        for pod in &loaded.pods {
            let fresh = match supervisors.pop() {
                Some(fresh) => fresh,
                None => start_supervisor()?,
            };
            let start =
                Start { store, file: &file, pod, command: &self, puller: &puller, together };
            match start.run(fresh, &mut phases, &mut held) {
                Ok(Ending::Well) => {}
                Ok(Ending::Code(other)) => code = ExitCode::from(other),
                Err(error) => {
                    front::end(held);
                    return Err(error);
                }
            }
            if together && !store.pod(&pod.spec.name).exists() {
                // The user has ended it while it started.
                front::end(held);
                return Ok(code);
            }
            phases.anew();
            if self.format == Format::Json {
                shown.push(inspect::shown(store, &target::find(store, &pod.spec.name)?));
            }
        }
        if !held.is_empty() {
            return front::show(held).map(ExitCode::from);
        }
        match (self.format, shown.as_slice()) {
            (Format::Human, _) => {}
            (Format::Json, [one]) => output::json(one)?,
            (Format::Json, many) => output::json(&many)?,
        }
        Ok(code)
    }

    fn refuse(&self) -> Result<(), CliError> {
        if !rustix::process::geteuid().is_root() {
            return Err(CliError::refused(
                "cannot start a pod: podspec makes namespaces, links and mounts",
                "run it as root",
            ));
        }
        if self.format == Format::Json && !self.detach {
            return Err(CliError::usage(
                "in front the output is that of the containers: JSON comes with -d or --wait",
            ));
        }
        Ok(())
    }

    /// Where several pods have images: all supervisors, for a fetch starts threads, and none may be started after
    /// those; then the images of all pods that are not up yet, at once and before any of them starts.
    fn prepare_several(
        &self,
        puller: &Puller<'_>,
        pods: &[spec::Pod],
        supervisors: &mut Vec<Supervisor>,
    ) -> Result<Pulled, CliError> {
        if pods.len() < 2 || pulled::wanted(pods.iter().map(|pod| &pod.spec)).is_empty() {
            return Ok(Pulled::default());
        }
        for _ in 1..pods.len() {
            supervisors.push(start_supervisor()?);
        }
        let specs = pods.iter().map(|pod| &pod.spec);
        puller.ensure(specs.filter(|spec| !puller.has_pod(&spec.name)))
    }
}

fn start_supervisor() -> Result<Supervisor, CliError> {
    spawn::spawn().map_err(|error| CliError::host("cannot start a supervisor", &error))
}

/// One pod on its way up.
struct Start<'a> {
    store: &'a Store,
    file: &'a PodFile,
    pod: &'a spec::Pod,
    command: &'a Up,
    puller: &'a Puller<'a>,
    /// In front, with others.
    together: bool,
}

impl<'a> Start<'a> {
    /// What is up and stays in front goes to `held`.
    fn run(
        &self,
        supervisor: Supervisor,
        phases: &mut Phases,
        held: &mut Vec<Live<'a>>,
    ) -> Result<Ending, CliError> {
        let name = &self.pod.spec.name;
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot start pod `{name}`"), error)
        };
        self.store.prepare().map_err(|error| failed(&error))?;
        self.refuse_overlay()?;
        let locks = Locks::open(&self.store.run).map_err(|error| failed(&error))?;
        locks.take(Range::Pod(name)).map_err(|error| failed(&error))?;
        // Again after one was taken down: another `up` may have come first.
        while self.store.pod(name).exists() {
            if let Some(ending) = self.meet_existing(&locks)? {
                return Ok(ending);
            }
        }
        down::clean_lost(self.store, name, self.command.recreate)?;
        self.bring_up(supervisor, locks, phases, held)
    }

    /// What containers write is the upper layer of an overlay, and an overlay is none for another.
    fn refuse_overlay(&self) -> Result<(), CliError> {
        const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;
        let data = &self.store.data;
        let failed =
            |errno| CliError::host("cannot look at the data root", &std::io::Error::from(errno));
        if rustix::fs::statfs(data).map_err(failed)?.f_type == OVERLAYFS_SUPER_MAGIC {
            return Err(CliError::refused(
                format!(
                    "cannot keep what containers write in {}: it is on overlayfs",
                    data.display()
                ),
                "name a directory on a disk or a tmpfs with `--root`",
            ));
        }
        Ok(())
    }

    /// A pod of this name is there, or what is left of one. `None`: it is gone now.
    fn meet_existing(&self, locks: &Locks) -> Result<Option<Ending>, CliError> {
        let name = &self.pod.spec.name;
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot tell how `{name}` is"), error)
        };
        if !is_supervised(self.store, name).map_err(|error| failed(&error))? {
            if !self.command.recreate && down::has_processes(self.store, name)? {
                return Err(CliError::refused(
                    format!("pod `{name}` runs without its supervisor"),
                    format!("`podspec down {name}` ends it, `up --recreate` starts it anew"),
                ));
            }
            down::clean(self.store, name)?;
            return Ok(None);
        }
        let (Some(observed), Some(record)) = (observe(self.store, name)?, read(self.store, name)?)
        else {
            return self.without_state();
        };
        // One that is leaving is waited for; one that lost its infra can start nothing any more.
        if record.status == PodStatus::Stopping || record.reason.is_some() {
            self.make_way(locks)?;
            return Ok(None);
        }
        // Nobody is asked for an image, unless the command line says so.
        let images = match self.command.pull {
            Some(PullChoice::Always) => self.puller.ensure([&self.pod.spec])?.images,
            _ => pulled::here(self.store, &self.pod.spec)?,
        };
        let moved = match self.command.pull {
            Some(PullChoice::Always) => pulled::moved(&record, &images),
            _ => Vec::new(),
        };
        let facts = facts(self.store, &self.pod.spec, &images)?;
        match plan::plan(Goal::Up(&self.pod.spec), Some(&observed), &facts) {
            Ok(_) if record.status == PodStatus::Starting => {
                self.await_start(&observed.plan, locks)
            }
            Ok(_) if !moved.is_empty() && self.command.recreate => {
                self.make_way(locks).map(|()| None)
            }
            Ok(_) if !moved.is_empty() => Err(self.changed(&moved)),
            Ok(plan) => self.complete(&plan, locks).map(Some),
            Err(PlanError::Changed { differences, .. }) if !self.command.recreate => {
                Err(self.changed(&differences))
            }
            Err(PlanError::Changed { .. }) => self.make_way(locks).map(|()| None),
            Err(error) => Err(plan_error(self.store, self.file, self.pod, &error)),
        }
    }

    /// What runs is left alone. That a tag has moved is seen by one that asks alone, so the remedy must ask, too.
    fn changed(&self, differences: &[String]) -> CliError {
        let (name, file) = (&self.pod.spec.name, self.file.name.as_str());
        let pull = matches!(self.command.pull, Some(PullChoice::Always));
        CliError::Host {
            message: format!("pod `{name}` runs already, and {file} says otherwise"),
            causes: differences.to_vec(),
            hint: Some(format!(
                "`podspec up --recreate {}{}` takes it down and starts what the file says",
                if pull { "--pull " } else { "" },
                self.file.argument()
            )),
            code: 1,
        }
    }

    /// Takes the pod down. The lock is not held across the stop: `down` takes it, too.
    fn make_way(&self, locks: &Locks) -> Result<(), CliError> {
        let name = &self.pod.spec.name;
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot take `{name}` down"), error)
        };
        locks.release(Range::Pod(name)).map_err(|error| failed(&error))?;
        down::take_down(self.store, name)?;
        locks.take(Range::Pod(name)).map_err(|error| failed(&error))
    }

    /// A supervisor lives that has no journal or no record: it is leaving, or they were removed.
    fn without_state(&self) -> Result<Option<Ending>, CliError> {
        let name = &self.pod.spec.name;
        if !self.store.pod(name).exists() {
            return Ok(None);
        }
        Err(CliError::refused(
            format!("the state of pod `{name}` is incomplete"),
            format!("it is just going (try again), or `podspec down {name}` ends it"),
        ))
    }

    /// The file is what runs: starts what has ended with an error, if anything.
    fn complete(&self, plan: &Plan, locks: &Locks) -> Result<Ending, CliError> {
        let name = &self.pod.spec.name;
        let containers: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|planned| match &planned.step {
                Step::StartContainer { container } => Some(container.clone()),
                _ => None,
            })
            .collect();
        if containers.is_empty() && self.command.wait {
            return match self.ask_supervisor(&Request::Watch, plan, locks)? {
                Some(live) => live.show(),
                None => Err(self.is_leaving()),
            };
        }
        if containers.is_empty() {
            let text = format!("{name} is up and unchanged: nothing to do");
            match self.command.format {
                Format::Human => output::done(&text)?,
                Format::Json => output::progress(&text),
            }
            return Ok(Ending::Well);
        }
        match self.ask_supervisor(&Request::Start { containers }, plan, locks)? {
            Some(live) => live.show(),
            None => Err(self.is_leaving()),
        }
    }

    fn is_leaving(&self) -> CliError {
        let name = &self.pod.spec.name;
        CliError::refused(format!("the supervisor of `{name}` is leaving"), "try again")
    }

    /// What the client waits for.
    fn wants(&self) -> Wants {
        let Up { detach, wait, timeout, .. } = self.command;
        let deadline = timeout.map(|time| Instant::now() + time);
        Wants { detach: *detach, hold: self.together, ready: *wait, deadline }
    }

    /// Another `up` is at it: its start is shown to its end. `None`: it came to nothing.
    fn await_start(&self, plan: &Plan, locks: &Locks) -> Result<Option<Ending>, CliError> {
        let name = &self.pod.spec.name;
        let Some(live) = self.ask_supervisor(&Request::Watch, plan, locks)? else {
            return self.make_way(locks).map(|()| None);
        };
        output::progress(&format!("{name} is being started already: waiting for it"));
        let ending = live.show_anothers()?;
        if ending.is_none() {
            locks.take(Range::Pod(name)).map_err(|error| self.cannot_ask(&error))?;
        }
        Ok(ending)
    }

    /// Asks, and lets go of the pod's lock; `None` where the supervisor is leaving.
    fn ask_supervisor(
        &self,
        request: &Request,
        plan: &Plan,
        locks: &Locks,
    ) -> Result<Option<Live<'_>>, CliError> {
        let name = &self.pod.spec.name;
        let connected = control::connect(&self.store.pod(name).socket());
        let Some(mut wire) = connected.map_err(|error| self.cannot_ask(&error))? else {
            return Ok(None);
        };
        wire.send(request).map_err(|error| self.cannot_ask(&error))?;
        locks.release(Range::Pod(name)).map_err(|error| self.cannot_ask(&error))?;
        Ok(Some(Live::new(
            self.store,
            name,
            wire,
            Board::new(plan),
            Wants { detach: true, hold: false, ..self.wants() },
        )))
    }

    fn cannot_ask(&self, error: &dyn std::error::Error) -> CliError {
        let name = &self.pod.spec.name;
        CliError::host(format!("cannot talk to the supervisor of `{name}`"), error)
    }

    fn bring_up(
        &self,
        supervisor: Supervisor,
        locks: Locks,
        phases: &mut Phases,
        held: &mut Vec<Live<'a>>,
    ) -> Result<Ending, CliError> {
        let name = &self.pod.spec.name;
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot start pod `{name}`"), error)
        };
        let pulled = self.puller.ensure([&self.pod.spec])?;
        phases.end("images");
        let mut wire = Wire::new(supervisor.channel);
        let mut locks = Some(locks);
        for attempt in 0..ATTEMPTS {
            let locks = match locks.take() {
                Some(locks) => locks,
                None => {
                    let locks = Locks::open(&self.store.run).map_err(|error| failed(&error))?;
                    locks.take(Range::Pod(name)).map_err(|error| failed(&error))?;
                    locks
                }
            };
            let (board, notices) = self.hand_over(&mut wire, &locks, &pulled.images, phases)?;
            if attempt == 0 {
                notices.iter().for_each(|notice| output::progress(notice));
            }
            drop(locks);
            let mut live = Live::new(self.store, name, wire, board, self.wants());
            match live.show_start().map_err(|error| self.explained(error))? {
                Some(ending) => {
                    if live.is_held() {
                        held.push(live);
                    }
                    return Ok(ending);
                }
                None => wire = live.into_wire(),
            }
        }
        Err(CliError::refused(
            format!(
                "cannot start pod `{name}`: the machine's network changed {ATTEMPTS} times meanwhile"
            ),
            "try again",
        ))
    }

    fn explained(&self, mut error: CliError) -> CliError {
        if let CliError::Start { failure, hint, .. } = &mut error {
            *hint = explain(self.file, self.pod, failure);
        }
        error
    }

    /// Plans, and gives plan and locks to the supervisor. The network is locked from the look at it
    /// until the supervisor has taken what the plan takes of it. Returns what the user should see.
    fn hand_over(
        &self,
        wire: &mut Wire,
        locks: &Locks,
        images: &Images,
        phases: &mut Phases,
    ) -> Result<(Board, Vec<String>), CliError> {
        let spec = &self.pod.spec;
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot start pod `{}`", spec.name), error)
        };
        locks.take(Range::Network).map_err(|error| failed(&error))?;
        let facts = facts(self.store, spec, images)?;
        phases.end("look at the machine");
        output::verbose(|| "looked at the machine".to_owned());
        let plan = plan::plan(Goal::Up(spec), None, &facts)
            .map_err(|error| plan_error(self.store, self.file, self.pod, &error))?;
        refuse_foreign_pins(&spec.name, &plan)?;
        phases.end("plan");
        let notices = notices(&plan, &facts);
        let boot = boot_id().map_err(|error| failed(&error))?;
        let record = first_record(spec, &plan, &boot);
        let mut board = Board::new(&plan);
        board.chosen = chosen(spec, &record.ports);
        let steps = output::is_verbose();
        output::verbose(|| format!("planned {}: {} steps", spec.name, plan.steps.len()));
        if steps {
            board.steps = plan.steps.iter().map(|planned| planned.step.to_string()).collect();
        }
        let (store, detach) = (self.store.clone(), self.command.detach);
        let secrets = secrets::read(self.file, self.pod)?;
        let handover = Handover { store, detach, steps, record, secrets };
        let meant = to_raw_value(spec).map_err(|error| failed(&error))?;
        let header = serde_json::to_vec(&Header { boot, plan, spec: meant, phases: phases.list() })
            .map_err(|error| failed(&error))?;
        let handover = serde_json::to_vec(&handover).map_err(|error| failed(&error))?;
        wire.send_with(&handover, locks.as_fd()).map_err(|error| failed(&error))?;
        // Before the last word: from then on the supervisor has the floor, and its own clock readings.
        output::verbose(|| "handing over to the supervisor".to_owned());
        wire.send_bytes(&header).map_err(|error| failed(&error))?;
        Ok((board, notices))
    }
}

/// What the user should know of this machine before it surprises: a line each.
pub(super) fn notices(plan: &Plan, facts: &HostFacts) -> Vec<String> {
    let mut notices = Vec::new();
    let is_enabled = |step: &Step| matches!(step, Step::MakeNetwork(n) if n.enable_forwarding);
    if plan.steps.iter().any(|planned| is_enabled(&planned.step)) {
        notices.push(
            "note: net.ipv4.ip_forward was off: podspec turns it on; nothing but pods' traffic is forwarded"
                .to_owned(),
        );
    }
    for ForeignChain { family, table, chain } in &facts.network.foreign_drops {
        let place = output::sanitize(&format!("{family} {table} {chain}"));
        let [inward, outward] = ["iifname", "oifname"]
            .map(|link| format!("insert rule {place} {link} {} accept", host::BRIDGE));
        notices.push(format!(
            "warning: the chain `{place}` drops what the machine forwards, also to and from pods; \
             this admits them: nft '{inward}; {outward}'"
        ));
    }
    notices
}

/// A name under /run/netns that somebody else made is theirs, and must not be taken down with the pod.
fn refuse_foreign_pins(pod: &PodName, plan: &Plan) -> Result<(), CliError> {
    let pins = plan.steps.iter().flat_map(|planned| match &planned.step {
        Step::PinNamespaces { pins } => pins.values().map(PathBuf::as_path).collect(),
        Step::MakeNetns { pin, .. } => vec![pin.as_path()],
        _ => Vec::new(),
    });
    for pin in pins {
        if pin.symlink_metadata().is_ok() {
            return Err(CliError::refused(
                format!(
                    "cannot start pod `{pod}`: {} exists, and is not this pod's",
                    pin.display()
                ),
                format!(
                    "another tool made it (`ip netns`?): remove it there, or give the pod another name than `{pod}`"
                ),
            ));
        }
    }
    Ok(())
}

/// What runs under this name, as the planner sees it.
pub(super) fn observe(store: &Store, name: &PodName) -> Result<Option<Observed>, CliError> {
    let failed = |error: &dyn std::error::Error| {
        CliError::host(format!("cannot tell how `{name}` is"), error)
    };
    if !is_supervised(store, name).map_err(|error| failed(&error))? {
        return Ok(None);
    }
    let found = store.pod(name).read_journal().map_err(|error| failed(&error))?;
    let (Some(found), Some(record)) = (found, read(store, name)?) else { return Ok(None) };
    let ended = record
        .containers
        .iter()
        .filter(|container| {
            use ContainerStatus::{Exited, Failed, Stopped};
            matches!(container.status, Exited | Failed | Stopped)
        })
        .map(|container| (container.name.clone(), container.exit_code.unwrap_or(1)))
        .collect::<BTreeMap<_, _>>();
    let is_stopped = |container: &&ContainerRecord| container.status == ContainerStatus::Stopped;
    let stopped = record.containers.iter().filter(is_stopped);
    let stopped = stopped.map(|container| container.name.clone()).collect();
    let Header { plan, spec, .. } = found.header;
    let spec = serde_json::from_str(spec.get()).map_err(|error| failed(&error))?;
    Ok(Some(Observed { plan, spec, ended, stopped }))
}

/// Where podspec's own things are, for whoever plans.
pub(super) fn directories(store: &Store) -> Directories {
    Directories {
        run: store.run.clone(),
        data: store.data.clone(),
        netns: Path::new("/run/netns").to_owned(),
        cgroups: cgroup::home(),
    }
}

pub(super) fn facts(store: &Store, spec: &PodSpec, images: &Images) -> Result<HostFacts, CliError> {
    host::facts(directories(store), spec, images)
        .map_err(|error| CliError::host("cannot look at this machine", &error))
}

const FREE_PORT: &str =
    "publish another port of this machine, or end what has this one: `podspec ps` lists the pods";

/// An error of the planner, at its place in the file where it has one.
pub(super) fn plan_error(
    store: &Store,
    file: &PodFile,
    pod: &spec::Pod,
    error: &PlanError,
) -> CliError {
    let place = error.place();
    let span = place.as_deref().and_then(|place| pod.places.find(place));
    let (message, help) = match error {
        PlanError::PortTaken { port, by, .. } => {
            (format!("port {port} is taken by {}", holder(store, by)), Some(FREE_PORT))
        }
        PlanError::AboveLimit { .. } => {
            (error.to_string(), Some("ask for less, or raise that of the shell or service first"))
        }
        PlanError::BelowOomScore { .. } => {
            (error.to_string(), Some("ask for no less, or give CAP_SYS_RESOURCE to podspec"))
        }
        PlanError::NoLimit { remedy, .. } => (error.to_string(), Some(remedy.as_str())),
        PlanError::NoIds { .. } => (
            error.to_string(),
            Some(
                "give `containers` more in /etc/subuid and /etc/subgid, or share `user` and take fewer: `userns: { size: 1024 }`",
            ),
        ),
        PlanError::IdNotMapped { .. } => {
            (error.to_string(), Some("take an id that is mapped, or widen `userns`"))
        }
        PlanError::RunsAsRoot { .. } => {
            (error.to_string(), Some("write a `user` beside it, such as `user: \"1000\"`"))
        }
        other => (other.to_string(), None),
    };
    let help = help.map(str::to_owned);
    // The machine may have room tomorrow; what is wrong with the file stays wrong.
    let code = match error {
        PlanError::PortTaken { .. }
        | PlanError::NoImage { .. }
        | PlanError::NoFreePort { .. }
        | PlanError::NoAddress { .. }
        | PlanError::NoSubnet => 1,
        _ => 2,
    };
    let Some(span) = span else {
        return CliError::Host {
            message: format!("cannot plan pod `{}`: {message}", pod.spec.name),
            causes: Vec::new(),
            hint: help,
            code,
        };
    };
    let problem = Problem::error("P0800", message, span, "here").maybe_help(help);
    CliError::Place { at: Box::new((file.clone(), problem)), code }
}

/// Who has the port that the plan wants: a pod by its name, a process by pid and command.
fn holder(store: &Store, by: &plan::Holder) -> String {
    match by {
        plan::Holder::Pod(id) => {
            let pods = store.pods().unwrap_or_default();
            let named = pods.iter().find(|pod| PodId::new(&store.run, pod).as_str() == id);
            named.map_or_else(|| format!("a pod with id {id}"), |pod| format!("pod `{pod}`"))
        }
        plan::Holder::Socket { inode, .. } => match host::holder_of(*inode) {
            Some((pid, command)) => format!("process {pid} ({command})"),
            None => "a process that cannot be seen from here".to_owned(),
        },
    }
}

fn network_record(connection: &Connection) -> NetworkRecord {
    NetworkRecord {
        interface: connection.peer.to_string(),
        ipv4: connection.address,
        gateway: connection.gateway.address,
        mac: connection.mac.map(|byte| format!("{byte:02x}")).join(":"),
    }
}

/// The record of a pod that is about to start.
fn first_record(spec: &PodSpec, plan: &Plan, boot: &str) -> PodRecord {
    let steps = plan.steps.iter().map(|planned| &planned.step);
    let connections = steps.clone().filter_map(|step| match step {
        Step::Connect(connection) => Some(connection),
        _ => None,
    });
    let connections: Vec<&Connection> = connections.collect();
    let launches = steps.filter_map(|step| match step {
        Step::CreateContainer(launch) => Some((&launch.container, &**launch)),
        _ => None,
    });
    let launches: BTreeMap<&ContainerName, &Launch> = launches.collect();
    let own = |container| {
        connections.iter().find(|connection| connection.container.as_ref() == container)
    };
    PodRecord {
        name: spec.name.clone(),
        id: plan.id.clone(),
        labels: spec.labels.clone(),
        status: PodStatus::Starting,
        reason: None,
        exit_code: None,
        created_at: format!("{:.3}", jiff::Timestamp::now()),
        boot: boot.to_owned(),
        supervisor: Process { pid: 0, start_time: 0 },
        infra: None,
        namespaces: BTreeMap::new(),
        network: own(None).map(|connection| network_record(connection)),
        ports: ports(plan),
        resources: write::limits(&spec.resources),
        containers: spec
            .containers
            .iter()
            .map(|(name, container)| ContainerRecord {
                name: name.clone(),
                role: launches.get(name).map(|launch| launch.role).unwrap_or_default(),
                resources: limits_of(container, launches.get(name)).into(),
                status: ContainerStatus::Waiting,
                pid: None,
                start_time: None,
                exit_code: None,
                restarts: 0,
                ready: false,
                status_text: None,
                started_at: None,
                finished_at: None,
                ipv4: own(Some(name)).map(|connection| connection.address),
                reason: None,
                image: launches.get(name).and_then(|launch| launch.image.clone().map(Into::into)),
            })
            .collect(),
    }
}

/// Those of the file, and the number of processes that it has been given.
fn limits_of(container: &Container, launch: Option<&&Launch>) -> Value {
    let linux = launch.and_then(|launch| launch.oci.linux().as_ref());
    let given = linux.and_then(|linux| linux.resources().as_ref()?.pids().as_ref());
    let pids = given.and_then(|pids| u64::try_from(pids.limit()).ok());
    write::limits(&Resources { pids, ..container.resources.clone() })
}

/// The ports that the file leaves open, and who chose: with host port 0, or all to the images. Both lists are in the
/// order of the file.
fn chosen(spec: &PodSpec, published: &[PortRecord]) -> Vec<String> {
    if spec.auto_ports && published.is_empty() {
        return vec!["no port is published: the images expose none".to_owned()];
    }
    if spec.auto_ports {
        return published.iter().map(|port| format!("{port}, which an image exposes")).collect();
    }
    let of_containers = spec.containers.values().flat_map(|container| &container.ports);
    let wanted = spec.ports.iter().chain(of_containers);
    let open = wanted.zip(published).filter(|(wanted, _)| wanted.host == 0);
    open.map(|(_, published)| format!("{published}, a free port")).collect()
}

fn ports(plan: &Plan) -> Vec<PortRecord> {
    let forwards = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::Publish { forwards } => Some(forwards),
        _ => None,
    });
    forwards
        .flatten()
        .map(|forward| PortRecord {
            address: forward.address,
            host: forward.host,
            container: forward.target_port,
            count: forward.count,
            protocol: match forward.protocol {
                Protocol::Tcp => "tcp".to_owned(),
                Protocol::Udp => "udp".to_owned(),
            },
            target: forward.target,
        })
        .collect()
}
