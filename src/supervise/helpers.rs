//! Containers of other runtimes: whose child is whose, and the processes that carry out what a runtime is asked for.

use super::checks::has_ended;
use super::events::Token;
use super::pod::Pod;
use crate::exec::ExecError;
use crate::exec::launch;
use crate::sandbox::runtime::take_orphans;
use std::os::fd::{AsFd, OwnedFd};

impl Pod<'_> {
    /// The runtime has made a container's first process, which is a child of ours from now on, as any container's is.
    pub(super) fn adopt(&mut self, index: usize, pid: i32, pidfd: OwnedFd) {
        let Some(created) = &mut self.units[index].created else { return };
        self.events.forget(created.child.pidfd.as_fd());
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let _ = self.events.watch(&pidfd, Token::End(number));
        let runner = std::mem::replace(&mut created.child.pidfd, pidfd);
        created.child.pid = pid;
        self.units[index].is_runner = false;
        self.await_helper(runner);
        self.let_orphans_go();
    }

    /// Once nothing is being made, what containers leave behind is again whose it would be without us.
    pub(super) fn let_orphans_go(&self) {
        if !self.units.iter().any(|unit| unit.is_runner) {
            take_orphans(false);
        }
    }

    /// Sends a signal to a container's first process.
    pub(super) fn send_signal(&mut self, index: usize, signal: i32) -> Result<(), ExecError> {
        let launch = self.launch(index)?;
        let unit = &self.units[index];
        let Some(created) = &unit.created else { return Ok(()) };
        // What is not born yet has no runtime to be asked.
        if unit.is_runner {
            launch::signal_child(created, signal)?;
        } else if let Some(helper) = launch::signal(&launch, created, signal)? {
            self.await_helper(helper);
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
