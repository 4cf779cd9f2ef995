//! What ends: processes, containers, the pod. A container has ended when its cgroup is empty; what
//! outlives its first process is killed.

use super::events::Token;
use super::pod::{Pod, Stage, Verdict};
use super::protocol::{Event, chain};
use super::restart::{self, Next};
use super::unit::{Due, Phase, Unit};
use crate::cgroup::Cgroup;
use crate::exec::ExecError;
use crate::exec::undo::undo;
use crate::plan::step::{Launch, Step};
use crate::sandbox::{self, Report};
use crate::state::lock::Range;
use crate::state::record::PodStatus;
use crate::sys::process;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::os::fd::AsFd;
use std::time::Instant;

/// Why whatever waited for this container to complete will wait for ever.
pub(super) fn cause_of_end(unit: &Unit) -> String {
    match (&unit.problem, unit.code) {
        (Some(problem), _) => format!("`{}` did not complete: {problem}", unit.name),
        (None, Some(code)) => format!("`{}` did not complete: exit code {code}", unit.name),
        (None, None) => format!("`{}` did not complete", unit.name),
    }
}

impl Pod<'_> {
    /// A container's first process ended.
    pub(super) fn process_ended(&mut self, index: usize) {
        let Some(created) = &self.units[index].created else { return };
        // What it said last counts: that its program ran, or why it could not.
        match sandbox::report(created.child.channel.as_fd()) {
            Report::Running => self.container_runs(index),
            Report::Failed(error) => self.container_failed(index, &error.into()),
            Report::Ready | Report::Terminal(_) | Report::NotYet => {}
        }
        let Some(created) = &self.units[index].created else { return };
        self.events.forget(created.child.pidfd.as_fd());
        self.events.forget(created.child.channel.as_fd());
        let code = exit_code(created.child.pidfd.as_fd());
        let unit = &mut self.units[index];
        let began = unit.phase == Phase::Running;
        unit.code = Some(code);
        unit.phase = Phase::Emptying;
        if !began && unit.problem.is_none() && !unit.stopping {
            let error = ExecError::DiedInSetUp { code };
            unit.problem = Some(error.to_string());
            self.container_failed(index, &error);
        }
        self.empty(index);
    }

    /// Ends what outlived the first process.
    fn empty(&mut self, index: usize) {
        let Some(created) = &self.units[index].created else { return };
        if matches!(Cgroup::populated(created.events.as_fd()), Ok(false)) {
            return self.finish(index);
        }
        // Watched before the kill, or the news of the last one could be missed.
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let _ = self.events.watch_priority(&created.events, Token::Emptied(number));
        let _ = created.cgroup.kill();
        self.units[index].killed = true;
        self.check_emptied(index);
    }

    pub(super) fn check_emptied(&mut self, index: usize) {
        if self.units[index].phase != Phase::Emptying {
            return;
        }
        if let Some(created) = &self.units[index].created
            && matches!(Cgroup::populated(created.events.as_fd()), Ok(false))
        {
            self.events.forget(created.events.as_fd());
            self.finish(index);
        }
    }

    /// A container has ended: its log is closed, and its policy says what follows.
    pub(super) fn finish(&mut self, index: usize) {
        let plan = self.plan.clone();
        let Step::CreateContainer(launch) = &plan.steps[self.units[index].create].step else {
            return;
        };
        let unit = &mut self.units[index];
        unit.close_output();
        if let Some(terminal) = unit.terminal.take() {
            self.events.forget(terminal.master.as_fd());
        }
        unit.created = None;
        unit.deadline = None;
        unit.phase = Phase::Ended;
        if unit.started.is_some_and(|at| at.elapsed() >= restart::GOOD_RUN) {
            unit.tries = 0;
        }
        let ran = self.progress.is_done(unit.start);
        let clean = unit.code == Some(0) && unit.problem.is_none();
        let next = restart::next(launch.restart, clean, unit.tries);
        if let (Next::StartAfter(wait), true, false) = (next, ran, unit.stopping) {
            unit.phase = Phase::BackOff;
            unit.deadline = Some((Instant::now() + wait, Due::Restart));
        }
        let name = unit.name.clone();
        self.note_finished(index);
        self.relay(index);
        if clean && ran {
            self.progress.completed(&name);
        }
        self.tell_container(index);
        if matches!(self.stage, Stage::Stopping | Stage::Broken) {
            self.stop_those_that_may();
        }
        self.check_all_ended();
    }

    /// Tells when every container has ended and none will start again. In front, that ends the pod.
    pub(super) fn check_all_ended(&mut self) {
        if !matches!(self.stage, Stage::Up) || !self.all_ended() || self.told_end {
            return;
        }
        self.told_end = true;
        self.write_record();
        let code = self.exit_code();
        self.tell(&Event::Ended { code });
        if !self.detach {
            self.begin_stop();
        }
    }

    /// Of the first container that failed for good, in time; else 0.
    fn exit_code(&self) -> i32 {
        let failed = self.units.iter().filter(|unit| unit.has_failed());
        failed
            // What never started comes after what kept it from starting.
            .min_by_key(|unit| (unit.finished.is_none(), unit.finished))
            .map_or(0, |unit| unit.code.filter(|code| *code != 0).unwrap_or(1))
    }

    /// Ends the pod as `down` does.
    pub(super) fn begin_stop(&mut self) {
        if matches!(self.stage, Stage::Starting | Stage::Up | Stage::Broken) {
            self.stage = Stage::Stopping;
            // Nothing more is taken of the network, and other pods shall not wait for our containers.
            self.drop_network_lock();
            self.record.status = PodStatus::Stopping;
            self.changed();
            self.tell(&Event::Stopping);
            self.stop_those_that_may();
        }
    }

    pub(super) fn infra_ended(&mut self) {
        let Some(infra) = &self.infra else { return };
        let code = exit_code(infra.child.pidfd.as_fd());
        self.events.forget(infra.child.pidfd.as_fd());
        self.events.forget(infra.child.channel.as_fd());
        let step = infra.step;
        match self.stage {
            Stage::Starting => self.fail(step, &ExecError::DiedInSetUp { code }),
            Stage::Up => {
                self.record.reason = Some(format!("infra ended (exit code {code})"));
                self.stage = Stage::Broken;
                self.stop_those_that_may();
            }
            _ => {}
        }
    }

    fn stop_those_that_may(&mut self) {
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            if !unit.stopping && self.order.may_stop(&unit.name, |name| self.is_alive(name)) {
                self.stop(index);
            }
        }
        self.tell_deaf();
        self.changed();
    }

    /// One note for all that could not be asked.
    fn tell_deaf(&mut self) {
        let tell = |unit: &mut Unit| std::mem::take(&mut unit.deaf).then(|| unit.name.to_string());
        let names: Vec<String> = self.units.iter_mut().filter_map(tell).collect();
        if !names.is_empty() {
            let does = if names.len() == 1 { "does" } else { "do" };
            let names = names.join(", ");
            let text = format!("{names} {does} not handle the stop signal as PID 1: killed");
            self.tell(&Event::Note { text });
        }
    }

    fn stop(&mut self, index: usize) {
        self.units[index].stopping = true;
        match self.units[index].phase {
            Phase::Running => self.ask_to_stop(index),
            Phase::Creating | Phase::Created | Phase::Releasing => self.kill(index),
            Phase::Waiting | Phase::BackOff => {
                self.units[index].phase = Phase::Ended;
                self.units[index].deadline = None;
            }
            Phase::Emptying | Phase::Ended => {}
        }
    }

    /// Sends the stop signal; what does not heed it is killed when its time is over, and a PID 1 that
    /// cannot heed it at once: the kernel drops signals to PID 1 that it has no handler for
    /// (pid_namespaces(7)).
    fn ask_to_stop(&mut self, index: usize) {
        let Some((signal, timeout)) = self.launch(index).map(|l| (l.stop_signal, l.stop_timeout))
        else {
            return;
        };
        let Some(created) = &self.units[index].created else { return };
        let deaf = process::is_deaf_init(created.child.pid, signal);
        let sent = process::pidfd_send_signal(created.child.pidfd.as_fd(), signal);
        if deaf {
            self.units[index].deaf = true;
        }
        if deaf || sent.is_err() {
            self.kill(index);
        } else {
            self.units[index].deadline = Some((Instant::now() + timeout, Due::Kill));
        }
    }

    pub(super) fn kill(&mut self, index: usize) {
        if let Some(created) = &self.units[index].created {
            let _ = created.cgroup.kill();
            // Somebody may have moved it out of its cgroup.
            let _ = process::pidfd_send_signal(created.child.pidfd.as_fd(), libc::SIGKILL);
            self.units[index].killed = true;
        }
    }

    fn launch(&self, index: usize) -> Option<&Launch> {
        match &self.plan.steps[self.units[index].create].step {
            Step::CreateContainer(launch) => Some(launch),
            _ => None,
        }
    }

    /// Whether this pod's life is over, once all that can be undone is undone.
    pub(super) fn check_end(&mut self) -> Option<Verdict> {
        match &mut self.stage {
            Stage::Starting | Stage::Up => None,
            Stage::Broken => {
                if self.all_ended() && !self.told_end {
                    self.told_end = true;
                    self.write_record();
                    self.tell(&Event::Ended { code: 1 });
                    if !self.detach {
                        self.begin_stop();
                    }
                }
                None
            }
            // What was killed goes with the whole pod's cgroup: one wait for all of it.
            Stage::Stopping => self.units.iter().all(Unit::is_over).then(|| {
                let errors = self.undo();
                self.tell_last(&Event::Gone { errors });
                Verdict::Over
            }),
            Stage::Failing(failure) => {
                let mut failure = std::mem::take(failure);
                failure.leftovers = self.undo();
                self.tell_last(&Event::Failed(failure));
                Some(Verdict::Over)
            }
            Stage::Outdated(reason) => {
                let reason = std::mem::take(reason);
                self.undo();
                self.tell_last(&Event::Stale { reason });
                Some(Verdict::Stale)
            }
        }
    }

    fn undo(&mut self) -> Vec<String> {
        // Whoever is told that the pod is gone may bind its ports.
        self.machine.forget();
        let begun = self.journal.begun().iter().copied();
        let ours: Vec<_> = begun.filter(|id| Some(*id) != self.not_ours).collect();
        let left = undo(&self.machine.hierarchy, &self.plan, &ours);
        // Who was moved out of a cgroup of ours, by somebody else, has outlived it.
        let created = self.units.iter().filter_map(|unit| Some(&unit.created.as_ref()?.child));
        for child in created.chain(self.infra.as_ref().map(|infra| &infra.child)) {
            let _ = process::pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        }
        for unit in &mut self.units {
            unit.close_output();
        }
        let mut errors: Vec<String> = left.iter().map(|error| chain(error).join(": ")).collect();
        if errors.is_empty() {
            // With something left the journal stays: the next `down` tries again.
            errors.extend(self.dir.remove().err().map(|error| chain(&error).join(": ")));
        }
        // Our own exit takes a while (the kernel takes its time to close a netfilter socket): nobody
        // who brings the pod up anew need wait for it.
        let _ = self.life.release(Range::Life(&self.record.name));
        errors
    }

    fn tell_last(&mut self, event: &Event) {
        for connection in self.client.iter_mut().chain(self.connections.values_mut()) {
            connection.tell_last(event);
        }
    }
}

/// The program's exit code, or 128 + the signal that ended it. Waits for nothing: the pidfd said that
/// the process is dead.
fn exit_code(pidfd: std::os::fd::BorrowedFd<'_>) -> i32 {
    match waitid(Id::PIDFd(pidfd), WaitPidFlag::WEXITED) {
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        _ => 255,
    }
}
