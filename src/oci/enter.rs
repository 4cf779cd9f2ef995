//! `exec`: a further process in a container, as its document has the first one, or as another says.

use super::create::{end, hand_over};
use super::store::{self, Container, Status};
use super::{OciError, environment};
use crate::sandbox::{self, Entered, Entry, Extras};
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What is asked for beside the process.
#[derive(Debug, Clone, Copy)]
pub struct Further<'a> {
    pub console_socket: Option<&'a Path>,
    pub pid_file: Option<&'a Path>,
    pub preserved: &'a [i32],
    /// One that is paused goes on some time, and with it the process.
    pub ignore_paused: bool,
    /// Cgroups below the container's own, as `[CONTROLLER[,CONTROLLER]:]PATH`.
    pub below: &'a [String],
    pub streams: [Option<BorrowedFd<'a>>; 3],
}

impl Container {
    /// Its document's process, to begin with.
    pub fn process(&self) -> Result<Process, OciError> {
        let spec = self.document()?;
        spec.process().clone().ok_or_else(|| {
            OciError::document(&self.directory.join("config.json"), "`process` is missing")
        })
    }
}

/// The processors that it is to begin on, a bit each; those beyond 64 are not told.
pub fn initial_processors(process: &Process) -> Option<u64> {
    let asked = process.exec_cpu_affinity().as_ref()?.initial().as_deref()?;
    let all = sandbox::numbers(asked)?;
    Some(all.into_iter().filter(|cpu| *cpu < 64).fold(0, |mask, cpu| mask | 1 << cpu))
}

/// Starts it, and waits until it has become its program.
pub fn enter(
    container: &Container,
    process: &Process,
    further: &Further<'_>,
) -> Result<Entered, OciError> {
    let id = || container.id().to_owned();
    let refuse = |status| OciError::Status { operation: "run a process in", id: id(), status };
    match container.status {
        Status::Created | Status::Running => {}
        Status::Paused if further.ignore_paused => {}
        Status::Paused => return Err(OciError::Paused { id: id() }),
        status => return Err(refuse(status)),
    }
    if container.record.shares_mounts {
        let message = "a further process needs a container with a mount namespace of its own";
        return Err(OciError::Usage { message: message.to_owned() });
    }
    let (pid, target) = container.first()?.ok_or_else(|| refuse(Status::Stopped))?;
    let root = crate::sys::process::root(pid, target.as_fd())
        .map_err(|source| OciError::file("find the root of", &container.directory, source))?;
    let mut process = process.clone();
    environment::complete(&mut process, &root);
    drop(root);
    // What its caller is bound to is no business of the container's; a sandbox may forbid the change.
    let _ = crate::sys::cpus::run_anywhere();
    let home = container.record.place.find(further.below, pid)?;
    let document = container.document()?;
    let filter = super::create::filter(&document)?;
    let [stdin, stdout, stderr] = further.streams;
    let mut entered = sandbox::enter(&Entry {
        target: target.as_fd(),
        oci: &document,
        process: &process,
        filter: filter.as_ref(),
        cgroup: home.cgroup.fd(),
        join: &home.join,
        extras: Extras { preserved: further.preserved, ..Extras::default() },
        terminal: process.terminal().unwrap_or(false),
        stdin,
        stdout,
        stderr,
    })?;
    let finish = || {
        super::create::runs(entered.child.channel.as_fd())?;
        if let (Some(master), Some(socket)) = (&entered.terminal, further.console_socket) {
            hand_over(socket, master.as_fd())?;
        }
        match further.pid_file {
            Some(path) => store::replace(path, entered.child.pid.to_string().as_bytes()),
            None => Ok(()),
        }
    };
    if let Err(error) = finish() {
        // One that nobody waited for would keep the container's pid namespace from its end.
        end(&entered.child);
        return Err(error);
    }
    if further.console_socket.is_some() {
        entered.terminal = None;
    }
    Ok(entered)
}
