//! What a user asked of a supervisor and the screen does not wait for; and a shell in a container, for which it
//! does.

use super::model::Verb;
use crate::cli::error::CliError;
use crate::cli::exec::Exec;
use crate::cli::request::{self, Group};
use crate::cli::restart;
use crate::cli::running;
use crate::cli::target::{self, Target};
use crate::state::store::Store;
use crate::supervise::protocol::Request;
use crate::supervise::wire::Wire;
use crate::sys::paths::open_in_root;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// A request that is not answered yet.
pub(super) struct Job {
    pub(super) verb: Verb,
    pub(super) target: Target,
    wire: Wire,
}

impl Job {
    /// Asks as `podspec stop` and `podspec restart` do.
    pub(super) fn begin(store: &Store, verb: Verb, target: Target) -> Result<Self, CliError> {
        let group = request::group(store, &target)?;
        let mut wire = request::connect(store, &group.record, verb.word())?;
        let request = request_of(store, &group, verb)?;
        let gone = |_| request::unsupervised(&target.pod, verb.word());
        wire.send(&request).map_err(gone)?;
        wire.stream().set_nonblocking(true).map_err(gone)?;
        Ok(Self { verb, target, wire })
    }

    /// What became of it, once that is known.
    pub(super) fn answer(&mut self) -> Option<Result<(), CliError>> {
        loop {
            let received = self.wire.receive();
            let is_last = !matches!(received, Ok(crate::supervise::wire::Received::Frame(_)));
            let answer = request::answer(&self.target.pod, self.verb.word(), received);
            if answer.is_some() || is_last {
                return answer.map(|answer| answer.map(drop));
            }
        }
    }
}

impl AsFd for Job {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.stream().as_fd()
    }
}

fn request_of(store: &Store, group: &Group, verb: Verb) -> Result<Request, CliError> {
    Ok(match verb {
        Verb::Stop => Request::Stop { containers: group.containers(), grace: None },
        Verb::Restart => {
            Request::Restart { containers: restart::restartable(store, group)?, grace: None }
        }
    })
}

/// The shells that are looked for, the best first.
const SHELLS: [&str; 4] = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"];

/// A shell in the container until its end, as `podspec exec -it` runs it.
pub(super) fn shell(store: &Store, target: &Target) -> Result<Exec, CliError> {
    let record = target::find(store, &target.pod)?;
    let container = target::container(&record, target.container.as_ref())?;
    let not_running = || running::not_running(&target.to_string(), &target.pod);
    let root = running::root(container).ok_or_else(not_running)?;
    let shell = SHELLS.into_iter().find(|shell| is_program(root.as_fd(), shell));
    let shell = shell.ok_or_else(|| {
        CliError::refused(
            format!("there is no shell in {target}: neither bash nor sh"),
            format!("`podspec exec {target} -- PROGRAM` runs what is there"),
        )
    })?;
    Ok(Exec::on_terminal(target, vec![shell.to_owned()]))
}

fn is_program(root: BorrowedFd<'_>, path: &str) -> bool {
    let found = || -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file =
            open_in_root(root, Path::new(path), flags, Mode::empty(), ResolveFlags::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_file && stat.st_mode & 0o111 != 0)
    };
    found().unwrap_or(false)
}
