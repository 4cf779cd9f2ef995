//! A program beside a container's own: of a probe or a hook. It is born in a cgroup of its own below the
//! container's, so that it is within the container's limits, and what it leaves behind can be ended without
//! the container.

use super::ExecError;
use crate::cgroup::{Cgroup, CgroupError, Hierarchy, Legacy};
use crate::plan::step::Launch;
use crate::sandbox::{self, Entry};
use crate::sys::filter::Program;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where it lives; kept from one run to the next.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    cgroup: Option<(Cgroup, OwnedFd)>,
}

/// A program that runs.
#[derive(Debug)]
pub struct Beside {
    pub pidfd: OwnedFd,
    /// What it writes, non-blocking. A child that only looks writes nothing.
    pub output: Option<OwnedFd>,
    /// What it says before its program runs.
    pub channel: Option<OwnedFd>,
}

/// What a further process of the container joins beside its cgroup: see [`Legacy`].
pub fn legacy_cgroups(launch: &Launch) -> Result<Vec<OwnedFd>, CgroupError> {
    let legacy = launch.limits.legacy.iter();
    legacy.map(|of| Legacy { mount: &of.mount, path: &launch.cgroup }.find()).collect()
}

/// Whose namespaces, limits and filter a program gets.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    pub launch: &'a Launch,
    /// The first process of the container.
    pub target: BorrowedFd<'a>,
    pub filter: Option<&'a Program>,
}

impl Place {
    /// `name` is unique among what runs beside this container.
    pub fn new(launch: &Launch, name: &str) -> Self {
        // No container's name, and no cgroup that podspec makes elsewhere, has an underscore at its head.
        Self { path: launch.cgroup.join(format!("_{name}")), cgroup: None }
    }

    fn fd(&mut self, hierarchy: &Hierarchy) -> Result<BorrowedFd<'_>, ExecError> {
        if self.cgroup.is_none() {
            let cgroup = hierarchy.make(&self.path)?;
            let events = cgroup.events()?;
            self.cgroup = Some((cgroup, events));
        }
        match &self.cgroup {
            Some((cgroup, _)) => Ok(cgroup.fd()),
            // Made above.
            None => Err(ExecError::NoInfra),
        }
    }

    pub fn is_empty(&self) -> bool {
        let populated = |(_, events): &(Cgroup, OwnedFd)| Cgroup::populated(events.as_fd());
        self.cgroup.as_ref().is_none_or(|cgroup| matches!(populated(cgroup), Ok(false)))
    }

    /// Ends whatever lives there; the next program gets a new one, for whatever clone3 puts into one that
    /// `cgroup.kill` was written to is killed at once.
    pub fn kill(&mut self) {
        if let Some((cgroup, _)) = &self.cgroup {
            let _ = cgroup.kill();
        }
    }

    /// What `kill` left is gone: away with it.
    pub fn renew(&mut self, hierarchy: &Hierarchy) -> Result<(), ExecError> {
        self.cgroup = None;
        Ok(hierarchy.remove(&self.path)?)
    }

    /// Runs a program in the container whose first process this is.
    pub fn run(
        &mut self,
        hierarchy: &Hierarchy,
        whose: &Whose<'_>,
        argv: &[String],
    ) -> Result<Beside, ExecError> {
        use rustix::pipe::{PipeFlags, pipe_with};
        let Whose { launch, target, filter } = *whose;
        let mut process = launch.oci.process().clone().unwrap_or_default();
        process.set_args(Some(argv.to_vec())).set_terminal(None);
        let pipe = |errno: rustix::io::Errno| ExecError::Pipe { source: errno.into() };
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(pipe)?;
        rustix::io::ioctl_fionbio(&output, true).map_err(pipe)?;
        let join = legacy_cgroups(launch)?;
        let entered = sandbox::enter(&Entry {
            oci: &launch.oci,
            target,
            process: &process,
            cgroup: self.fd(hierarchy)?,
            join: &join,
            filter,
            terminal: false,
            stdin: None,
            stdout: Some(theirs.as_fd()),
            stderr: Some(theirs.as_fd()),
            extras: sandbox::Extras::default(),
        })?;
        Ok(Beside {
            pidfd: entered.child.pidfd,
            output: Some(output),
            channel: Some(entered.child.channel),
        })
    }

    /// Looks for a file in a container's root.
    pub fn look_for(
        &mut self,
        hierarchy: &Hierarchy,
        root: BorrowedFd<'_>,
        path: &Path,
        waits: bool,
    ) -> Result<Beside, ExecError> {
        let pidfd = sandbox::look_for(root, path, self.fd(hierarchy)?, waits)?;
        Ok(Beside { pidfd, output: None, channel: None })
    }
}
