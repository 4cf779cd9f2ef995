//! `podspec events`: what has happened to pods, from the files that their supervisors wrote; following by
//! inotify, not by looking again.

use super::error::CliError;
use super::logs::parse_since;
use super::output::{self, sanitize};
use super::target::{self, TargetArg};
use super::{Format, running};
use crate::names::{ContainerName, PodName};
use crate::state::record::PodStatus;
use crate::state::store::Store;
use crate::supervise::history::{Entry, FILE};
use crate::supervise::logs::numbered;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what has happened to pods
///
/// Every state that a container or a pod has come to, with its cause, its exit code and, in brackets, the step of
/// the plan that it belongs to: docs/states.md has the words. It stays after `down`, for this run and those before
/// it, within bounds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec events shop
  podspec events shop/web         of one container
  podspec events -f               of all pods, also of those to come
  podspec events --since 10m --format json shop | jq -r .cause

With -f of named pods it ends when these are down, or their supervisor is gone.")]
pub(super) struct Events {
    /// Go on until the pods are down
    #[arg(short, long)]
    follow: bool,
    /// Only since a time: 2026-11-23T18:00:00Z, or a duration before now such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Pods, or containers of them; all pods where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report; JSON is one object a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Events {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let since = self.since.as_deref().map(parse_since).transpose()?;
        // Records have six digits behind the point, and are compared as text.
        let since = since.map(|since| since.replace('Z', ""));
        let mut shown = Shown { since, format: self.format, tails: Vec::new() };
        let is_all = self.targets.is_empty();
        let pods = self.pods(store)?;
        // Watched before they are read, or what comes between would wait for what comes after it.
        let watch = self.follow.then(|| Watch::new(store, is_all)).transpose()?;
        for (name, containers) in &pods {
            shown.tails.push(Tail::open(store, name, containers.clone()));
            if let Some(watch) = &watch {
                watch.add(store, name);
            }
        }
        shown.show()?;
        match watch {
            Some(watch) if is_all => follow_all(store, &watch, &mut shown)?,
            Some(watch) => {
                let names: Vec<PodName> = pods.into_iter().map(|(name, _)| name).collect();
                follow(store, &watch, &names, &mut shown)?;
            }
            None => {}
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The pods, each with its containers that are wanted; none: all that happens to it.
    fn pods(&self, store: &Store) -> Result<Vec<(PodName, Vec<ContainerName>)>, CliError> {
        if self.targets.is_empty() {
            return Ok(known(store).into_iter().map(|pod| (pod, Vec::new())).collect());
        }
        let pods = target::by_pod(target::many(&self.targets)?);
        for (pod, containers) in &pods {
            if !store.logs(pod).join(FILE).exists() && !store.pod(pod).exists() {
                return Err(CliError::refused(
                    format!("nothing is known of a pod `{pod}`"),
                    "`podspec ps` lists the pods, `podspec events` what happened to all",
                ));
            }
            for container in containers {
                is_known(store, pod, container)?;
            }
        }
        Ok(pods)
    }
}

/// A container that the pod has, or has had.
fn is_known(store: &Store, pod: &PodName, name: &ContainerName) -> Result<(), CliError> {
    if !Tail::open(store, pod, vec![name.clone()]).read().is_empty() {
        return Ok(());
    }
    match target::read(store, pod)? {
        Some(record) => target::container(&record, Some(name)).map(drop),
        None => Err(CliError::refused(
            format!("nothing is known of a container `{name}` in pod `{pod}`"),
            format!("`podspec events {pod}` shows what happened to all of it"),
        )),
    }
}

/// Pods that have a history.
fn known(store: &Store) -> Vec<PodName> {
    let entries = std::fs::read_dir(store.data.join("logs")).into_iter().flatten().flatten();
    let mut names: Vec<PodName> = entries
        .filter_map(|entry| PodName::try_from(entry.file_name().to_str()?).ok())
        .filter(|name| store.logs(name).join(FILE).exists())
        .collect();
    names.sort();
    names
}

/// What is read, and how it is shown.
struct Shown {
    since: Option<String>,
    format: Format,
    tails: Vec<Tail>,
}

impl Shown {
    /// Whatever is new, of all pods in one order of time.
    fn show(&mut self) -> Result<(), CliError> {
        let mut entries: Vec<Entry> = self.tails.iter_mut().flat_map(Tail::read).collect();
        entries.sort_by(|one, other| one.time.cmp(&other.time));
        for entry in entries {
            if self.since.as_ref().is_some_and(|since| entry.time < *since) {
                continue;
            }
            match self.format {
                Format::Json => output::json_line(&entry)?,
                Format::Human => output::line(&words(&entry))?,
            }
        }
        Ok(())
    }
}

fn words(entry: &Entry) -> String {
    let mut name = entry.pod.to_string();
    if let Some(container) = &entry.container {
        name = format!("{name}/{container}");
    }
    let mut text = format!("{}  {name}  {}", entry.time, sanitize(&entry.event));
    let cause = entry.cause.as_deref().unwrap_or_default();
    // A cause of podspec's own, such as a probe that failed, has not the code in it.
    if let Some(code) = entry.exit_code.filter(|_| !cause.contains("exit code")) {
        text.push_str(&format!(" ({code})"));
    }
    if !cause.is_empty() {
        text.push_str(&format!(": {}", sanitize(cause)));
    }
    if let Some(step) = &entry.step {
        text.push_str(&format!("  [{}]", sanitize(step)));
    }
    text
}

/// A pod's history, read on as it grows and is turned over.
struct Tail {
    path: PathBuf,
    file: Option<(BufReader<File>, u64)>,
    begun: Vec<u8>,
    /// What happens to these alone is read; none: all of it.
    containers: Vec<ContainerName>,
}

impl Tail {
    fn open(store: &Store, pod: &PodName, containers: Vec<ContainerName>) -> Self {
        let path = store.logs(pod).join(FILE);
        let file = Self::file(&numbered(&path, 1)).or_else(|| Self::file(&path));
        Self { path, file, begun: Vec::new(), containers }
    }

    fn file(path: &std::path::Path) -> Option<(BufReader<File>, u64)> {
        let file = File::open(path).ok()?;
        let inode = file.metadata().ok()?.ino();
        Some((BufReader::new(file), inode))
    }

    fn read(&mut self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            if let Some((file, _)) = &mut self.file {
                while file.read_until(b'\n', &mut self.begun).is_ok_and(|read| read > 0) {
                    if self.begun.pop_if(|last| *last == b'\n').is_none() {
                        break;
                    }
                    entries.extend(serde_json::from_slice::<Entry>(&self.begun));
                    self.begun.clear();
                }
            }
            // At its end: another one may have taken its place.
            let read = self.file.as_ref().map(|(_, inode)| *inode);
            match Self::file(&self.path) {
                Some((file, inode)) if Some(inode) != read => self.file = Some((file, inode)),
                _ => break,
            }
        }
        if !self.containers.is_empty() {
            let is_of = |of: &ContainerName| self.containers.contains(of);
            entries.retain(|entry| entry.container.as_ref().is_some_and(is_of));
        }
        entries
    }
}

/// What wakes us.
struct Watch {
    inotify: Inotify,
    logs: PathBuf,
}

impl Watch {
    fn new(store: &Store, all: bool) -> Result<Self, CliError> {
        let failed = |errno: nix::errno::Errno| {
            CliError::host("cannot follow events", &io::Error::from(errno))
        };
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let logs = store.data.join("logs");
        if all {
            crate::state::store::make_directory(&logs)
                .map_err(|error| CliError::host("cannot follow events", &error))?;
            inotify.add_watch(&logs, AddWatchFlags::IN_CREATE).map_err(failed)?;
        }
        Ok(Self { inotify, logs })
    }

    /// A watch that is there already stays one.
    fn add(&self, store: &Store, pod: &PodName) {
        let of_log = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        let _ = self.inotify.add_watch(&store.logs(pod), of_log);
    }

    fn wait(&self, supervisors: &[OwnedFd]) -> Result<(), CliError> {
        let fds = supervisors.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN));
        let mut fds: Vec<PollFd<'_>> = fds.collect();
        fds.push(PollFd::new(&self.inotify, PollFlags::IN));
        fds.push(output::reader());
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(CliError::host("cannot wait", &io::Error::from(errno))),
        }
        fds.last().map_or(Ok(()), output::reads)?;
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        Ok(())
    }
}

/// Of every pod, until nobody wants to know.
fn follow_all(store: &Store, watch: &Watch, shown: &mut Shown) -> Result<(), CliError> {
    loop {
        watch.wait(&[])?;
        let entries = std::fs::read_dir(&watch.logs).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| PodName::try_from(name).ok()) else {
                continue;
            };
            let path = store.logs(&name).join(FILE);
            if !shown.tails.iter().any(|tail| tail.path == path) {
                watch.add(store, &name);
                shown.tails.push(Tail::open(store, &name, Vec::new()));
            }
        }
        shown.show()?;
    }
}

/// Until these pods are down, or nobody is left to tell of them.
fn follow(
    store: &Store,
    watch: &Watch,
    names: &[PodName],
    shown: &mut Shown,
) -> Result<(), CliError> {
    loop {
        // First whether it is over, then what was written: the other way round loses the last.
        let lives = |name: &&PodName| {
            let record = target::read(store, name).ok().flatten();
            record.filter(|record| record.status != PodStatus::Unsupervised)
        };
        let pods: Vec<_> = names.iter().filter_map(|name| lives(&name)).collect();
        let supervisors: Vec<_> = pods.iter().filter_map(running::supervisor).collect();
        shown.show()?;
        if pods.is_empty() {
            return Ok(());
        }
        // One that has gone since we looked has no descriptor any more.
        if names.iter().filter_map(|name| lives(&name)).count() == pods.len() {
            watch.wait(&supervisors)?;
        }
    }
}
