//! `podspec down`: end a pod and remove what it made. The supervisor does it; where there is none, or it
//! does not answer, the same is done from here, from the journal.

use super::error::CliError;
use super::file::PodFile;
use super::ps::describe;
use super::running;
use super::target::{self, is_supervised};
use super::up;
use super::{Format, output};
use crate::cgroup::{Cgroup, CgroupError, Hierarchy};
use crate::exec::undo::undo;
use crate::exec::{ExecError, traces};
use crate::names::PodName;
use crate::plan::places::Places;
use crate::plan::step::{Launch, Plan, Step};
use crate::state::StateError;
use crate::state::lock::{Locks, Range};
use crate::state::record::{PodRecord, Process};
use crate::state::store::{PodDir, Store, boot_id, remove_tree};
use crate::supervise::control;
use crate::supervise::history::{Entry, History};
use crate::supervise::logs::{self, Log, Stream};
use crate::supervise::protocol::{Event, Request, chain};
use crate::supervise::wire::{Received, Wire};
use crate::sys::{descriptors, process};
use serde::Serialize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What a supervisor may take beside the containers' stop times.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Stop pods and remove everything they made
///
/// Named volumes and logs stay unless asked for. Of a file only the names are read, so that a mistake
/// elsewhere in it keeps no pod up. A pod that is not up is no error. Works also where the supervisor of a
/// pod was killed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec down                    the pods of ./pod.yaml
  podspec down shop               by name, from anywhere
  podspec down --volumes shop     and its data
  podspec down --volumes --logs a.yaml b.yaml")]
pub(super) struct Down {
    /// Also remove the pod's named volumes
    #[arg(long)]
    volumes: bool,
    /// Also remove the logs of its last run
    #[arg(long)]
    logs: bool,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    /// Pod files or names of pods; ./pod.yaml where none is named
    #[arg(value_name = "FILE|POD")]
    pods: Vec<String>,
}

impl Down {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let mut names = if self.pods.is_empty() { target::pods_here()? } else { Vec::new() };
        for word in &self.pods {
            names.extend(named_pods(store, word)?);
        }
        let mut code = ExitCode::SUCCESS;
        let mut rows = Vec::new();
        for name in names {
            // One that cannot be taken down must not keep the others up.
            match self.take_down(store, name) {
                Ok(row) if self.format == Format::Human => output::done(&row.words())?,
                Ok(row) => rows.push(row),
                Err(error) => code = error.report(),
            }
        }
        if self.format == Format::Json {
            output::json(&rows)?;
        }
        Ok(code)
    }

    fn take_down(&self, store: &Store, pod: PodName) -> Result<Row, CliError> {
        let name = &pod;
        let was_up = take_down(store, name)?;
        let mut removed = Vec::new();
        for (wanted, path, what) in
            [(self.volumes, store.volumes(name), "volumes"), (self.logs, store.logs(name), "logs")]
        {
            if wanted && path.exists() {
                remove_tree(&path).map_err(|error| {
                    CliError::host(format!("cannot remove the {what} of `{name}`"), &error)
                })?;
                removed.push(what);
            }
        }
        Ok(Row { pod, was_up, removed })
    }
}

/// A pod that is down, as it is reported.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    pod: PodName,
    was_up: bool,
    removed: Vec<&'static str>,
}

impl Row {
    fn words(&self) -> String {
        let also = if self.removed.is_empty() {
            String::new()
        } else {
            format!(", its {} removed", self.removed.join(" and "))
        };
        format!("{} {}{also}", self.pod, if self.was_up { "is down" } else { "is not up" })
    }
}

/// The pods that a word names: those of a file, or one by its name.
fn named_pods(store: &Store, word: &str) -> Result<Vec<PodName>, CliError> {
    let looks_like_a_file = word == "-" || word.contains(['/', '.']);
    let name = word.parse::<PodName>();
    if let (Ok(name), false) = (&name, looks_like_a_file)
        && (store.pod(name).exists() || !Path::new(word).exists())
    {
        return Ok(vec![name.clone()]);
    }
    if let Some((pod, _)) = word.split_once('/')
        && let Ok(pod) = pod.parse::<PodName>()
        && store.pod(&pod).exists()
        && !Path::new(word).exists()
    {
        return Err(CliError::Usage {
            message: format!("there is no file {word}, and a pod goes down as a whole"),
            hint: Some(format!("write `podspec stop {word}`, or `podspec down {pod}`")),
        });
    }
    // Reads only names: a mistake elsewhere in the file must not keep a pod up.
    PodFile::read(Some(Path::new(word)))?.names()
}

/// Ends the pod; `false` where there was none.
pub(super) fn take_down(store: &Store, name: &PodName) -> Result<bool, CliError> {
    let dir = store.pod(name);
    let failed =
        |error: &dyn std::error::Error| CliError::host(format!("cannot take `{name}` down"), error);
    // An `up` that was just handed over has no directory yet, but the lock: also where its client died.
    let mut locks = None;
    if store.run.exists() {
        let taken = Locks::open(&store.run).map_err(|error| failed(&error))?;
        taken.take(Range::Pod(name)).map_err(|error| failed(&error))?;
        locks = Some(taken);
    }
    if !dir.exists() {
        // Under the lock: what bears the name could be an `up` that has just begun.
        return clean_lost(store, name, true);
    }
    drop(locks);
    let connected = control::connect(&dir.socket()).map_err(|error| failed(&error))?;
    // By the socket, or as it was recorded: the record may be damaged.
    let supervisor =
        connected.as_ref().and_then(control::supervisor).or_else(|| supervisor_of(&dir));
    if let Some(wire) = connected
        && ask_supervisor(wire, &dir, name)?
    {
        return Ok(true);
    }
    end_supervisor(store, supervisor.as_ref(), name).map_err(|error| failed(&error))?;
    let locks = Locks::open(&store.run).map_err(|error| failed(&error))?;
    locks.take(Range::Pod(name)).map_err(|error| failed(&error))?;
    let deadline = Instant::now() + ANSWER_WITHIN;
    while is_supervised(store, name).map_err(|error| failed(&error))? {
        // Somebody brought it up anew before we had the lock: ours is gone, and that one is not ours.
        if control::connect(&dir.socket()).map_err(|error| failed(&error))?.is_some() {
            return Ok(true);
        }
        // Without a socket it is leaving: a matter of a millisecond, and nothing tells of it.
        if Instant::now() >= deadline {
            return Err(CliError::refused(
                format!("the supervisor of `{name}` neither answers nor ends"),
                format!("`podspec down {name}` tries again"),
            ));
        }
        let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let _ = rustix::event::poll(&mut [], Some(&moment));
    }
    // Under the lock, or the journal could be that of a pod which somebody has just brought up.
    stop_unsupervised(&dir).map_err(|error| failed(&error))?;
    clean(store, name)?;
    Ok(true)
}

/// Asks the supervisor, and waits until the pod is gone; `false` where it did not answer.
fn ask_supervisor(mut wire: Wire, dir: &PodDir, name: &PodName) -> Result<bool, CliError> {
    if wire.send(&Request::Down { terse: !output::is_verbose() }).is_err() {
        return Ok(false);
    }
    output::verbose(|| format!("asked the supervisor of {name}"));
    let mut deadline = Instant::now() + ANSWER_WITHIN;
    let mut waits_for_stops = false;
    loop {
        // Most pods are gone before anybody need know how long their containers may take.
        if Instant::now() >= deadline && !std::mem::replace(&mut waits_for_stops, true) {
            deadline += longest_stop(dir);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || wire.stream().set_read_timeout(Some(left)).is_err() {
            return Ok(!dir.exists());
        }
        match wire.receive::<Event>() {
            Ok(Received::Frame(Event::Gone { errors })) if errors.is_empty() => {
                output::verbose(|| format!("{name} is undone"));
                return Ok(true);
            }
            Ok(Received::Frame(Event::Gone { errors })) => {
                return Err(left_behind(name, errors));
            }
            // A start that failed in the same moment: undone as well.
            Ok(Received::Frame(Event::Failed(failure))) if failure.leftovers.is_empty() => {
                return Ok(true);
            }
            Ok(Received::Frame(Event::Note { text })) => output::progress(&text),
            Ok(Received::Frame(Event::Container(of))) => {
                let words = describe(of.status, of.exit_code, of.reason.as_deref());
                output::verbose(|| format!("{name}/{} {words}", of.name));
            }
            Ok(Received::Frame(_) | Received::Nothing) => {}
            Ok(Received::Closed) | Err(_) => return Ok(!dir.exists()),
        }
    }
}

/// An error where something could not be undone.
fn all_undone(name: &PodName, left: &[ExecError]) -> Result<(), CliError> {
    if left.is_empty() {
        return Ok(());
    }
    Err(left_behind(name, left.iter().map(|error| chain(error).join(": ")).collect()))
}

fn left_behind(name: &PodName, errors: Vec<String>) -> CliError {
    CliError::Host {
        message: format!("`{name}` is down, but not all of it could be removed"),
        causes: errors,
        hint: Some(format!("`podspec down {name}` tries again")),
        code: 1,
    }
}

/// Stops follow each other where `dependsOn` orders them, so the stop times may add up.
pub(super) fn longest_stop(dir: &PodDir) -> Duration {
    let Ok(Some(found)) = dir.read_journal() else { return Duration::ZERO };
    let plan = &found.header.plan;
    let all = launches(plan).map(|launch| launch.stop_timeout).sum();
    plan.stop_timeout.map_or(all, |most| most.min(all))
}

fn launches(plan: &Plan) -> impl Iterator<Item = &Launch> {
    plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::CreateContainer(launch) => Some(&**launch),
        _ => None,
    })
}

/// A supervisor that lives and did not do it is ended, by a pidfd of exactly that process.
fn end_supervisor(
    store: &Store,
    supervisor: Option<&OwnedFd>,
    name: &PodName,
) -> Result<(), StateError> {
    if !is_supervised(store, name)? {
        return Ok(());
    }
    if let Some(pidfd) = supervisor {
        // Gone already is fine.
        let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        await_exit(pidfd);
    }
    Ok(())
}

/// A pidfd of exactly the process that was recorded.
fn supervisor_of(dir: &PodDir) -> Option<OwnedFd> {
    running::supervisor(&dir.read_record().ok()??)
}

/// A process that was killed is gone when the kernel says so.
fn await_exit(process: &OwnedFd) {
    await_exit_until(process, Instant::now() + ANSWER_WITHIN);
}

fn await_exit_until(process: &OwnedFd, deadline: Instant) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let left = deadline.saturating_duration_since(Instant::now());
    let most =
        Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&most));
}

/// Whether a pod without a supervisor still has processes.
pub(super) fn has_processes(store: &Store, name: &PodName) -> Result<bool, CliError> {
    let dir = store.pod(name);
    let failed = |error: &dyn std::error::Error| {
        CliError::host(format!("cannot tell how `{name}` is"), error)
    };
    // Without a journal that can be read nobody tells what of it is whose; its cgroup does.
    let Some(found) = dir.read_journal().ok().flatten() else {
        let hierarchy = Hierarchy::open().map_err(|error| failed(&error))?;
        return traces::is_populated(&hierarchy, &Places::new(&up::directories(store), name))
            .map_err(|error| failed(&error));
    };
    let alive = || -> Result<bool, CgroupError> {
        let hierarchy = Hierarchy::open()?;
        for launch in launches(&found.header.plan) {
            if let Some(cgroup) = hierarchy.find(&launch.cgroup)?
                && Cgroup::populated(cgroup.events()?.as_fd())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    };
    alive().map_err(|error| failed(&error))
}

/// Containers that run on without a supervisor get their stop signal and their stop time, side by side.
fn stop_unsupervised(dir: &PodDir) -> Result<(), StopError> {
    // A journal that cannot be read names nobody to ask.
    let Some(found) = dir.read_journal().ok().flatten() else { return Ok(()) };
    // Without a record that can be read nobody can be asked to stop; they are ended all the same.
    let record = dir.read_record().ok().flatten();
    if found.header.boot != boot_id()? {
        return Ok(());
    }
    let hierarchy = Hierarchy::open()?;
    // Three a container.
    descriptors::raise_open_files();
    // Held open to the end: a FIFO that nobody has open loses what is in it.
    let mut outputs: Vec<Unread> = launches(&found.header.plan).filter_map(Unread::open).collect();
    outputs.iter_mut().for_each(Unread::read);
    let asked = ask_to_stop(&found.header.plan, record.as_ref());
    asked.iter().for_each(|(deadline, pidfd)| await_exit_until(pidfd, *deadline));
    // Beside the cgroups: somebody may have moved these out of theirs.
    let infra = record.as_ref().and_then(|record| running::pidfd_of(record.infra.as_ref()?));
    for pidfd in asked.iter().map(|(_, pidfd)| pidfd).chain(&infra) {
        let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
    for launch in launches(&found.header.plan) {
        hierarchy.remove(&launch.cgroup)?;
    }
    outputs.into_iter().for_each(Unread::close);
    Ok(())
}

/// Sends each container that was recorded its stop signal: until when it may take its time.
fn ask_to_stop(plan: &Plan, record: Option<&PodRecord>) -> Vec<(Instant, OwnedFd)> {
    let mut asked = Vec::new();
    for launch in launches(plan) {
        let mut containers = record.iter().flat_map(|record| &record.containers);
        let known = containers.find(|container| container.name == launch.container);
        if let Some((pid, start_time)) = known.and_then(|known| known.pid.zip(known.start_time))
            && let Some(pidfd) = running::pidfd_of(&Process { pid, start_time })
        {
            let heeds = !process::is_deaf_init(pid, launch.stop_signal)
                && process::pidfd_send_signal(pidfd.as_fd(), launch.stop_signal).is_ok();
            let patience = if heeds { launch.stop_timeout } else { Duration::ZERO };
            asked.push((Instant::now() + patience, pidfd));
        }
    }
    asked
}

#[derive(Debug, thiserror::Error)]
enum StopError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// What a container wrote while nobody read, on its way to the container's log.
struct Unread {
    log: Log,
    fifos: Vec<(Stream, OwnedFd)>,
}

impl Unread {
    fn open(launch: &Launch) -> Option<Self> {
        use nix::fcntl::{OFlag, open};
        let stdio = &launch.stdio;
        let log = Log::resume(&stdio.log, stdio.max_size, stdio.max_files).ok()?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fifos = [(Stream::Stdout, &stdio.stdout), (Stream::Stderr, &stdio.stderr)];
        let open = |(stream, path): (Stream, &std::path::PathBuf)| {
            Some((stream, open(path, flags, nix::sys::stat::Mode::empty()).ok()?))
        };
        Some(Self { log, fifos: fifos.into_iter().filter_map(open).collect() })
    }

    fn read(&mut self) {
        let mut memory = Vec::new();
        for (stream, fifo) in &self.fifos {
            while let Ok(bite @ [_, ..]) = logs::bite(fifo.as_fd(), &mut memory) {
                self.log.write(*stream, bite, jiff::Timestamp::now());
            }
        }
    }

    fn close(mut self) {
        self.read();
        self.log.finish(jiff::Timestamp::now());
    }
}

/// A pod whose directory under RUN was lost, but not the pod (somebody emptied /run); `false` where
/// nothing of it is there. Processes that run on are an error, unless they are to be ended. The pod's lock
/// is held by the caller.
pub(super) fn clean_lost(
    store: &Store,
    name: &PodName,
    end_processes: bool,
) -> Result<bool, CliError> {
    let failed =
        |error: &dyn std::error::Error| CliError::host(format!("cannot take `{name}` down"), error);
    let directories = up::directories(store);
    let places = Places::new(&directories, name);
    let hierarchy = Hierarchy::open().map_err(|error| failed(&error))?;
    // Its first step made the cgroup, the last undoing removes it.
    let Some(cgroup) = hierarchy.find(&places.cgroup()).map_err(|error| failed(&error))? else {
        return Ok(false);
    };
    let populated = || Cgroup::populated(cgroup.events()?.as_fd());
    if !end_processes && populated().map_err(|error| failed(&error))? {
        return Err(CliError::refused(
            format!("processes of an earlier pod `{name}` run on, and its state is lost"),
            format!("`podspec down {name}` ends them, `up --recreate` starts it anew"),
        ));
    }
    all_undone(name, &traces::undo(&hierarchy, &places))?;
    Ok(true)
}

/// Undoes what the journal of a pod without a supervisor says, and removes its directory. The pod's
/// lock is held by the caller.
pub(super) fn clean(store: &Store, name: &PodName) -> Result<(), CliError> {
    let dir = store.pod(name);
    let failed =
        |error: &dyn std::error::Error| CliError::host(format!("cannot take `{name}` down"), error);
    let hierarchy = Hierarchy::open().map_err(|error| failed(&error))?;
    let left = match dir.read_journal() {
        Ok(Some(found)) => undo(&hierarchy, &found.header.plan, &found.begun),
        // It was not begun: nothing else can be there.
        Ok(None) => Vec::new(),
        Err(error) => {
            let how = chain(&error).join(": ");
            output::progress(&format!("note: {how}: `{name}` is undone by its names"));
            traces::undo(&hierarchy, &Places::new(&up::directories(store), name))
        }
    };
    all_undone(name, &left)?;
    dir.remove().map_err(|error| failed(&error))?;
    let mut history = History::new(&store.logs(name));
    let cause = Some("its supervisor was gone".to_owned());
    history.note(&Entry { cause, ..Entry::new(name, "down") });
    history.write();
    Ok(())
}
