//! Containers of other runtimes: whose child is whose, and the processes that carry out what a runtime is asked for.

use super::checks::has_ended;
use super::events::Token;
use super::pod::Pod;
use super::start::token_number;
use crate::exec::ExecError;
use crate::exec::launch;
use crate::sandbox::runtime::take_orphans;
use crate::sys::process;
use std::os::fd::{AsFd, OwnedFd};

impl Pod<'_> {
    /// The runtime has made a container's first process, which is a child of ours from now on, as any container's is.
    pub(super) fn adopt(&mut self, index: usize, pid: i32, pidfd: OwnedFd) {
        let Some(created) = &mut self.units[index].created else { return };
        self.events.forget(created.child.pidfd.as_fd());
        let _ = self.events.watch(&pidfd, Token::End(token_number(index)));
        let runner = std::mem::replace(&mut created.child.pidfd, pidfd);
        created.child.pid = pid;
        self.await_helper(runner);
        self.forget_runner(index);
    }

    /// Once nothing is being made, what containers leave behind is again whose it would be without us.
    pub(super) fn forget_runner(&mut self, index: usize) {
        let was_runner = std::mem::take(&mut self.units[index].is_runner);
        if was_runner && !self.units.iter().any(|unit| unit.is_runner) {
            take_orphans(false);
        }
    }

    /// Sends a signal to a container's first process.
    pub(super) fn send_signal(&mut self, index: usize, signal: i32) -> Result<(), ExecError> {
        let unit = &self.units[index];
        let Some(created) = &unit.created else { return Ok(()) };
        // What is not born yet has no runtime to be asked; of others the plan need not be looked up.
        if !unit.is_anothers || unit.is_runner {
            return process::pidfd_send_signal(created.child.pidfd.as_fd(), signal)
                .map_err(|source| ExecError::Signal { source });
        }
        if let Some(runtime) = &self.launch(index)?.runtime {
            self.await_helper(launch::known(runtime).kill(signal)?);
        }
        Ok(())
    }

    fn await_helper(&mut self, pidfd: OwnedFd) {
        let _ = self.events.watch(&pidfd, Token::Helper);
        self.helpers.push(pidfd);
    }

    pub(super) fn helper_ended(&mut self) {
        self.helpers.retain(|pidfd| has_ended(pidfd).is_none());
    }
}
