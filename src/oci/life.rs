//! What happens to a container that was created: start, signals, its end.

use super::OciError;
use super::cgroups::pids;
use super::create::{poststart, runs, unmount};
use super::hooks::{self, Moment};
use super::store::{self, Container, Status, Store};
use crate::cgroup::{self, Hierarchy};
use crate::sandbox;
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// A process that was killed can hang in the kernel.
const END_WAIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Lets a created container become its program. Gives what of the hooks is to be warned of.
pub fn start(store: &Store, id: &str) -> Result<Vec<String>, OciError> {
    let container = store.find(id)?;
    expect(&container, "start", &[Status::Created])?;
    let connection = store::connect(&container.directory).map_err(|_| OciError::Status {
        operation: "start",
        id: id.to_owned(),
        status: Status::Stopped,
    })?;
    let spec = container.document()?;
    sandbox::start_telling(connection.as_fd(), &container.state())?;
    runs(connection.as_fd())?;
    store::forget_socket(&container.directory);
    Ok(poststart(&spec, &container.record))
}

fn expect(
    container: &Container,
    operation: &'static str,
    statuses: &[Status],
) -> Result<(), OciError> {
    match statuses.contains(&container.status) {
        true => Ok(()),
        false => Err(OciError::Status {
            operation,
            id: container.id().to_owned(),
            status: container.status,
        }),
    }
}

/// Sends a signal to the first process, or to all.
pub fn kill(store: &Store, id: &str, signal: i32, all: bool) -> Result<(), OciError> {
    let container = store.find(id)?;
    if all {
        return kill_all(&container, signal);
    }
    let not_running = || OciError::NotRunning { id: id.to_owned(), status: Status::Stopped };
    if matches!(container.status, Status::Stopped | Status::Creating) {
        return Err(OciError::NotRunning { id: id.to_owned(), status: container.status });
    }
    let pidfd = container.pidfd()?.ok_or_else(not_running)?;
    send(pidfd.as_fd(), signal, id)?;
    if signal == libc::SIGKILL && !container.record.own_pids {
        // No namespace takes the others with it.
        return kill_all(&container, signal);
    }
    Ok(())
}

fn send(pidfd: BorrowedFd<'_>, signal: i32, id: &str) -> Result<(), OciError> {
    match pidfd_send_signal(pidfd, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            Err(OciError::NotRunning { id: id.to_owned(), status: Status::Stopped })
        }
        other => other.map_err(|source| OciError::file("signal container", Path::new(id), source)),
    }
}

fn kill_all(container: &Container, signal: i32) -> Result<(), OciError> {
    let path = &container.record.place.path;
    let Some(cgroup) = Hierarchy::open()?.find(path)? else { return Ok(()) };
    if signal == libc::SIGKILL {
        // Also those that are being forked meanwhile.
        return Ok(cgroup.kill()?);
    }
    for pid in pids(path)? {
        let Ok(pidfd) = pidfd_open(pid) else { continue };
        match send(pidfd.as_fd(), signal, container.id()) {
            Err(OciError::NotRunning { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Removes a container that has stopped, or with `force` any. Gives what of the hooks is to be warned of.
pub fn delete(store: &Store, id: &str, force: bool) -> Result<Vec<String>, OciError> {
    let container = match store.find(id) {
        Err(OciError::Unknown { .. }) if force => {
            // Whoever forces wants nothing to be there, and nothing is.
            store.forget(id)?;
            return Ok(Vec::new());
        }
        Err(error @ OciError::Json { .. }) if force => {
            store.forget(id)?;
            return Ok(vec![format!(
                "{error}: what was left of `{id}` is not known, and may run on"
            )]);
        }
        other => other?,
    };
    if !force {
        expect(&container, "delete", &[Status::Stopped])?;
    }
    destroy(&container)
}

/// Whatever it is doing.
pub fn destroy(container: &Container) -> Result<Vec<String>, OciError> {
    if let Some((pid, pidfd)) = container.first()? {
        match send(pidfd.as_fd(), libc::SIGKILL, container.id()) {
            Ok(()) => {
                // Where that is refused the wait tells of it.
                let _ = cgroup::thaw(pid);
                ended(container.id(), pidfd.as_fd())?;
            }
            Err(OciError::NotRunning { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    container.record.place.remove()?;
    unmount(&container.record);
    let state = store::state(&container.record, Status::Stopped);
    let warnings = match container.document() {
        Ok(spec) => hooks::run_all(&spec, Moment::Poststop, container.bundle(), &state),
        Err(error) => vec![format!("poststop hooks are not known: {error}")],
    };
    store::remove(&container.directory)?;
    Ok(warnings)
}

fn ended(id: &str, pidfd: BorrowedFd<'_>) -> Result<(), OciError> {
    let fail = |errno: Errno| OciError::file("wait for the end of container", Path::new(id), errno);
    loop {
        match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&END_WAIT)) {
            Ok(0) => return Err(fail(Errno::TIMEDOUT)),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
}

/// Stops every process of a container where it is.
pub fn pause(store: &Store, id: &str) -> Result<(), OciError> {
    freeze(store, id, "pause", Status::Running)
}

/// Lets them go on.
pub fn resume(store: &Store, id: &str) -> Result<(), OciError> {
    freeze(store, id, "resume", Status::Paused)
}

fn freeze(store: &Store, id: &str, operation: &'static str, is: Status) -> Result<(), OciError> {
    let container = store.find(id)?;
    expect(&container, operation, &[is])?;
    let cgroup = Hierarchy::open()?.make(&container.record.place.path)?;
    Ok(cgroup.freeze(is == Status::Running)?)
}

/// The pids of a container's processes.
pub fn processes(store: &Store, id: &str) -> Result<Vec<i32>, OciError> {
    pids(&store.find(id)?.record.place.path)
}
