//! `exec`: a further process in a container, as its document has the first one, or as another says.

use super::OciError;
use super::create::{end, hand_over};
use super::store::{self, Container, Status};
use crate::sandbox::{self, Entered, Entry, Extras};
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What is asked for beside the process.
#[derive(Debug, Clone, Copy)]
pub struct Further<'a> {
    pub console_socket: Option<&'a Path>,
    pub pid_file: Option<&'a Path>,
    pub preserved: u32,
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

/// Starts it, and waits until it has become its program.
pub fn enter(
    container: &Container,
    process: &Process,
    further: &Further<'_>,
) -> Result<Entered, OciError> {
    let refuse = |status| OciError::Status {
        operation: "run a process in",
        id: container.id().to_owned(),
        status,
    };
    if !matches!(container.status, Status::Created | Status::Running) {
        return Err(refuse(container.status));
    }
    let target = container.pidfd()?.ok_or_else(|| refuse(Status::Stopped))?;
    let home = container.record.place.find()?;
    let document = container.document()?;
    let filter = super::create::filter(&document)?;
    let [stdin, stdout, stderr] = further.streams;
    let mut entered = sandbox::enter(&Entry {
        target: target.as_fd(),
        oci: &document,
        process,
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
