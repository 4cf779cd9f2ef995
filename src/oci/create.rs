//! `create`: from a bundle to a container that waits for its start.

use super::bundle::Document;
use super::cgroups::{Home, Manager, Place};
use super::hooks::{self, Moment};
use super::store::{self, Record, Status, Store};
use super::{OciError, devices};
use crate::cgroup::DevicePrograms;
use crate::sandbox::{self, Child, Extras, Order, Report};
use crate::seccomp::{Filter, Machine, calls};
use crate::state::store::boot_id;
use crate::sys::filter::Program;
use crate::sys::process;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is asked for beside the document.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub id: &'a str,
    pub console_socket: Option<&'a Path>,
    pub pid_file: Option<&'a Path>,
    pub preserved: &'a [i32],
    pub cgroups: Manager,
    pub no_pivot: bool,
    pub keep_keyring: bool,
    /// stdin, stdout and stderr, unless the document asks for a terminal.
    pub streams: [BorrowedFd<'a>; 3],
    /// It is started by another process, after this one has ended.
    pub waits: bool,
}

/// A container that was created by this process.
#[derive(Debug)]
pub struct Fresh {
    pub child: Child,
    /// Its master, where no console socket took it.
    pub terminal: Option<OwnedFd>,
    spec: Spec,
    record: Record,
}

impl Fresh {
    /// Starts the program, and waits until it runs. Gives what of the hooks is to be warned of.
    pub fn start(&self) -> Result<Vec<String>, OciError> {
        let state = store::state(&self.record, Status::Created);
        let channel = self.child.channel.as_fd();
        sandbox::start_telling(channel, &state)?;
        runs(channel)?;
        Ok(poststart(&self.spec, &self.record))
    }

    /// Leaves it to whoever starts it.
    pub fn leave(&self) -> Result<(), OciError> {
        Ok(sandbox::start_telling(self.child.channel.as_fd(), &[])?)
    }
}

pub(super) fn poststart(spec: &Spec, record: &Record) -> Vec<String> {
    let state = store::state(record, Status::Running);
    hooks::run_all(spec, Moment::Poststart, &record.bundle, &state)
}

/// Waits until the other side has become its program.
pub(super) fn runs(channel: BorrowedFd<'_>) -> Result<(), OciError> {
    match next_report(channel)? {
        Report::Running => Ok(()),
        Report::Failed(error) => Err(error.into()),
        _ => Err(OciError::Died),
    }
}

/// Waits for what a child says next.
fn next_report(channel: BorrowedFd<'_>) -> Result<Report, OciError> {
    loop {
        match sandbox::report(channel) {
            Report::NotYet => {}
            report => return Ok(report),
        }
        match rustix::event::poll(&mut [PollFd::new(&channel, PollFlags::IN)], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(OciError::file("wait for", Path::new("the container"), errno));
            }
        }
    }
}

/// Makes the container, or nothing.
pub fn create(store: &Store, document: &Document, ask: &Ask<'_>) -> Result<Fresh, OciError> {
    let spec = &document.spec;
    judge_terminal(spec, ask)?;
    let directory = store.claim(ask.id)?;
    let made = Place::make(spec, ask.id, ask.cgroups).and_then(|(place, home)| {
        let record = record(document, ask.id, place)?;
        let set_up = set_up(document, ask, &directory, &home, record.clone());
        if set_up.is_err() {
            undo(spec, &record);
        }
        set_up
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = store::remove(&directory);
    }
    made
}

fn judge_terminal(spec: &Spec, ask: &Ask<'_>) -> Result<(), OciError> {
    let usage = |message: &str| Err(OciError::Usage { message: message.to_owned() });
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    match (terminal, ask.console_socket) {
        (false, Some(_)) => usage("a console socket is for a process with `terminal: true`"),
        (true, None) if ask.waits => {
            usage("a process with `terminal: true` that is not attached needs `--console-socket`")
        }
        _ => Ok(()),
    }
}

fn record(document: &Document, id: &str, place: Place) -> Result<Record, OciError> {
    let spec = &document.spec;
    let boot = boot_id().map_err(|error| OciError::Usage { message: error.to_string() })?;
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let kinds = || namespaces.into_iter().flatten();
    Ok(Record {
        id: id.to_owned(),
        bundle: document.bundle.clone(),
        rootfs: spec.root().as_ref().map_or_else(PathBuf::new, |root| root.path().clone()),
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::geteuid().as_raw(),
        boot,
        process: None,
        place,
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        version: spec.version().clone(),
        own_pids: kinds()
            .any(|kind| kind.typ() == LinuxNamespaceType::Pid && kind.path().is_none()),
        shares_mounts: kinds().all(|kind| kind.typ() != LinuxNamespaceType::Mount),
    })
}

fn set_up(
    document: &Document,
    ask: &Ask<'_>,
    directory: &Path,
    home: &Home,
    record: Record,
) -> Result<Fresh, OciError> {
    let spec = &document.spec;
    store::write_document(directory, &document.text)?;
    // With it `delete --force` finds what a maker leaves that is killed.
    store::write_record(directory, &record)?;
    let listener = if ask.waits { Some(store::listen(directory)?) } else { None };
    // What its caller is bound to is no business of the container's; a sandbox may forbid the change.
    let _ = crate::sys::cpus::run_anywhere();
    let filter = filter(spec)?;
    let [stdin, stdout, stderr] = ask.streams;
    let child = sandbox::create(&Order {
        oci: spec,
        filter: filter.as_ref(),
        overlays: &[],
        beneath: &BTreeMap::new(),
        stdin: Some(stdin),
        stdout,
        stderr,
        cgroup: home.cgroup.fd(),
        init: false,
        join: &home.join,
        extras: Extras {
            preserved: ask.preserved,
            keep_keyring: ask.keep_keyring,
            no_pivot: ask.no_pivot,
            listener: listener.as_ref().map(AsFd::as_fd),
            bundle: Some(&document.bundle),
            legacy: &home.shown,
        },
    })?;
    drop(listener);
    let made = finish(document, ask, (directory, home), &child, record);
    match made {
        Ok((record, terminal)) => Ok(Fresh { child, terminal, spec: spec.clone(), record }),
        Err(error) => {
            end(&child);
            Err(error)
        }
    }
}

/// From a child that sets itself up to a container that can be started.
fn finish(
    document: &Document,
    ask: &Ask<'_>,
    (directory, home): (&Path, &Home),
    child: &Child,
    mut record: Record,
) -> Result<(Record, Option<OwnedFd>), OciError> {
    let spec = &document.spec;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let rules = devices::of_document(resources);
    let mut programs = DevicePrograms::default();
    // While the child sets itself up; a kernel that refuses does so again when it matters.
    let _ = programs.load(&rules);
    record.process = store::started(child.pid, child.pidfd.as_fd());
    let master = follow(document, child, &record)?;
    // From here on the devices of the document alone; its nodes are made.
    programs.bound(&home.cgroup, &rules)?;
    store::write_record(directory, &record)?;
    let terminal = match (master, ask.console_socket) {
        (Some(master), Some(socket)) => {
            hand_over(socket, master.as_fd())?;
            None
        }
        (master, _) => master,
    };
    if let Some(path) = ask.pid_file {
        store::replace(path, child.pid.to_string().as_bytes())?;
    }
    Ok((record, terminal))
}

/// What the document's `linux.seccomp` comes to.
pub(super) fn filter(spec: &Spec) -> Result<Option<Program>, OciError> {
    let linux = spec.linux().as_ref();
    let Some(mut seccomp) = linux.and_then(|linux| linux.seccomp().clone()) else {
        return Ok(None);
    };
    // Documents name calls of every machine there is, and of kernels to come: what has no number here cannot be made,
    // and every runtime passes over it.
    let here = [Machine::own(), Machine::X86];
    let known: BTreeSet<&str> =
        here.into_iter().flat_map(|machine| calls(machine).map(|(name, _)| name)).collect();
    let mut rules = seccomp.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let names = rule.names().iter().filter(|name| known.contains(name.as_str()));
        let names = names.cloned().collect::<Vec<_>>();
        rule.set_names(names);
    }
    rules.retain(|rule| !rule.names().is_empty());
    seccomp.set_syscalls(Some(rules));
    Ok(Some(Filter::of(seccomp)?.program))
}

/// Until the child is set up; hooks run on the way. Gives the master of its terminal.
fn follow(
    document: &Document,
    child: &Child,
    record: &Record,
) -> Result<Option<OwnedFd>, OciError> {
    let mut terminal = None;
    loop {
        match next_report(child.channel.as_fd())? {
            Report::Ready => return Ok(terminal),
            Report::Terminal(master) => terminal = Some(master),
            Report::Mounted => {
                let state = store::state(record, Status::Creating);
                for moment in [Moment::Prestart, Moment::CreateRuntime] {
                    hooks::run(&document.spec, moment, &document.bundle, &state)?;
                }
                sandbox::start_telling(child.channel.as_fd(), &state)?;
            }
            Report::Failed(error) => return Err(error.into()),
            Report::Running | Report::NotYet | Report::Born { .. } => return Err(OciError::Died),
        }
    }
}

/// Gives the master of a terminal to who listens at a socket, as every runtime does.
pub(super) fn hand_over(socket: &Path, master: BorrowedFd<'_>) -> Result<(), OciError> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let send = || {
        let flags = SocketFlags::CLOEXEC;
        let to = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&to, &SocketAddrUnix::new(socket)?)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [master];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let text = [IoSlice::new(b"/dev/ptmx")];
        rustix::net::sendmsg(&to, &text, &mut control, SendFlags::NOSIGNAL).map(drop)
    };
    send().map_err(|errno: Errno| OciError::file("give the terminal to", socket, errno))
}

/// Whatever was made; the first error is the one to tell.
fn undo(spec: &Spec, record: &Record) {
    let _ = record.place.remove();
    unmount(record);
    let state = store::state(record, Status::Stopped);
    let _ = hooks::run_all(spec, Moment::Poststop, &record.bundle, &state);
}

/// The root of a container that was mounted for all to see, with what is mounted below it.
pub(super) fn unmount(record: &Record) {
    if record.shares_mounts {
        // Somebody may have done so already.
        let _ = rustix::mount::unmount(&record.rootfs, UnmountFlags::DETACH);
    }
}

/// Ends a child of this process, and waits for it.
pub(super) fn end(child: &Child) {
    process::end(child.pidfd.as_fd());
}
