//! What ends: processes, containers, the pod. A container has ended when its cgroup is empty; what
//! outlives its first process is killed.

use super::events::Token;
use super::life::{self, Phase, Stage};
use super::pod::{Fall, Pod, Verdict};
use super::protocol::{Event, chain};
use crate::cgroup::Cgroup;
use crate::exec::ExecError;
use crate::exec::launch;
use crate::plan::step::Step;
use crate::sandbox::{self, Report};
use crate::state::lock::Range;
use crate::sys::process;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::os::fd::AsFd;

impl Pod<'_> {
    /// A container's first process ended.
    pub(super) fn process_ended(&mut self, index: usize) {
        let Some(created) = &self.units[index].created else { return };
        // What it said last counts: that its program ran, or why it could not.
        match sandbox::report(created.child.channel.as_fd()) {
            Report::Running => self.container_runs(index),
            Report::Failed(error) => self.container_failed(index, &error.into()),
            // A short life: the runtime that has started it says so later.
            _ if self.units[index].is_starting => {
                return self.events.forget(created.child.pidfd.as_fd());
            }
            Report::Ready
            | Report::Mounted
            | Report::Terminal(_)
            | Report::Born { .. }
            | Report::NotYet => {}
        }
        let Some(created) = &self.units[index].created else { return };
        self.events.forget(created.child.pidfd.as_fd());
        self.events.forget(created.child.channel.as_fd());
        let reaped = self.life.stage != Stage::Stopping;
        let code = exit_code(created.child.pidfd.as_fd(), reaped);
        let memory = self.ran_out_of_memory(index, code);
        let container = self.life.container(index);
        if self.life.is_first_start(index) && !container.has_begun() {
            let error = match &memory {
                Some(limit) => ExecError::TooLittleMemory { limit: limit.clone() },
                None => ExecError::DiedInSetUp { code },
            };
            self.container_failed(index, &error);
        }
        if let Some(limit) = memory {
            let by_kernel = code == 128 + libc::SIGKILL;
            let who = if by_kernel { "killed" } else { "one of its processes was killed" };
            let cause = format!("{who} (out of memory, {limit})");
            self.tell_life(life::Event::Because(index, cause));
        }
        self.tell_life(life::Event::Ended(index, code));
    }

    /// Whose limit it was, where the kernel killed a process of a container that has failed because memory was out.
    fn ran_out_of_memory(&self, index: usize, code: i32) -> Option<String> {
        if code == 0 {
            return None;
        }
        let (launch, created) = (self.launch(index).ok()?, self.units[index].created.as_ref()?);
        let found = launch::out_of_memory(&launch, created);
        let of_pod = self.script.here().find_map(|(_, step)| match step {
            Step::MakeCgroup { limits, .. } => limits.memory(),
            _ => None,
        });
        let own = launch.limits.memory().filter(|_| found.own_limit || of_pod.is_none());
        (found.kills > 0).then(|| match (own, of_pod) {
            (Some(own), _) => format!("limit {own}"),
            (None, Some(of_pod)) => format!("the pod's limit {of_pod}"),
            (None, None) => "of the machine".to_owned(),
        })
    }

    /// Ends what outlived the first process.
    pub(super) fn empty(&mut self, index: usize) -> Vec<life::Event> {
        if let Some(created) = &self.units[index].created
            && !matches!(Cgroup::populated(created.events.as_fd()), Ok(false))
        {
            // Watched before the kill, or the news of the last one could be missed.
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let _ = self.events.watch_priority(&created.events, Token::Emptied(number));
            let _ = created.cgroup.kill();
        }
        self.emptied(index).into_iter().collect()
    }

    pub(super) fn check_emptied(&mut self, index: usize) {
        if self.life.container(index).phase == Phase::Emptying
            && let Some(event) = self.emptied(index)
        {
            self.tell_life(event);
        }
    }

    /// Whether a container has ended: then its log is closed.
    fn emptied(&mut self, index: usize) -> Option<life::Event> {
        if let Some(created) = &self.units[index].created {
            if !matches!(Cgroup::populated(created.events.as_fd()), Ok(false)) {
                return None;
            }
            self.events.forget(created.events.as_fd());
        }
        let unit = &mut self.units[index];
        unit.close_output();
        if let Some(terminal) = unit.terminal.take() {
            self.events.forget(terminal.master.as_fd());
        }
        let created = unit.created.take();
        unit.is_starting = false;
        if self.life.stage == Stage::Stopping {
            self.dead.extend(created);
        }
        self.forget_runner(index);
        self.forget_checks(index);
        self.relay(index);
        Some(life::Event::Emptied(index))
    }

    /// Nothing that the pod is there for runs or will start again. In front, that ends the pod.
    pub(super) fn is_over(&mut self, code: i32) {
        self.write_record();
        self.tell_deaf();
        self.tell(&Event::Ended { code });
        if !self.detach {
            self.begin_stop("all of its work is over");
        }
    }

    /// Ends the pod as `down` does.
    pub(super) fn begin_stop(&mut self, why: &'static str) {
        if matches!(self.life.stage, Stage::Starting | Stage::Up | Stage::Broken) {
            // Nothing more is taken of the network, and other pods shall not wait for our containers.
            self.drop_network_lock();
            self.tell(&Event::Stopping);
            self.tell_life(life::Event::Down(why));
            self.changed();
        }
    }

    /// As `begin_stop`, and nobody is waited for.
    pub(super) fn hurry(&mut self) {
        self.begin_stop("the user is in a hurry");
        self.tell_life(life::Event::Hurry);
    }

    pub(super) fn infra_ended(&mut self) {
        let Some(infra) = &self.infra else { return };
        let code = exit_code(infra.child.pidfd.as_fd(), true);
        self.events.forget(infra.child.pidfd.as_fd());
        self.events.forget(infra.child.channel.as_fd());
        let step = infra.step;
        match self.life.stage {
            Stage::Starting => self.fail(step, &ExecError::DiedInSetUp { code }),
            Stage::Up => {
                let reason = format!("infra ended (exit code {code})");
                self.record.reason = Some(reason.clone());
                self.tell_life(life::Event::InfraDied(reason));
            }
            _ => {}
        }
    }

    /// One note for all that could not be asked.
    pub(super) fn tell_deaf(&mut self) {
        let units = self.units.iter_mut().zip(self.life.containers());
        let deaf = units.filter_map(|(unit, container)| {
            std::mem::take(&mut unit.deaf).then(|| container.name.to_string())
        });
        let names: Vec<String> = deaf.collect();
        if !names.is_empty() {
            let does = if names.len() == 1 { "does" } else { "do" };
            let names = names.join(", ");
            let text = format!("{names} {does} not handle the stop signal as PID 1: killed");
            self.tell(&Event::Note { text });
        }
    }

    /// Sends the stop signal; what does not heed it is killed when its time is over, and a PID 1 that
    /// cannot heed it at once: the kernel drops signals to PID 1 that it has no handler for
    /// (pid_namespaces(7)).
    pub(super) fn ask_to_stop(&mut self, index: usize) -> Vec<life::Event> {
        let signal = self.life.container(index).stop_signal;
        let Some(created) = &self.units[index].created else { return Vec::new() };
        let deaf = process::is_deaf_init(created.child.pid, signal);
        let sent = self.send_signal(index, signal);
        self.units[index].deaf |= deaf;
        if deaf || sent.is_err() { vec![life::Event::Deaf(index)] } else { Vec::new() }
    }

    pub(super) fn kill(&mut self, index: usize, why: &str) {
        if let Some(created) = &self.units[index].created {
            let _ = created.cgroup.kill();
            // Somebody may have moved it out of its cgroup.
            let _ = process::pidfd_send_signal(created.child.pidfd.as_fd(), libc::SIGKILL);
            self.note_event(index, "killed", why.to_owned());
        }
    }

    /// Whether this pod's life is over, once all that can be undone is undone.
    pub(super) fn check_end(&mut self) -> Option<Verdict> {
        match (self.life.stage, self.fall.take()) {
            // What was killed goes with the whole pod's cgroup: one wait for all of it.
            (Stage::Stopping, _) if self.life.is_over() => {
                self.tell_deaf();
                let errors = self.undo();
                self.tell_last(&Event::Gone { errors });
                self.reap();
                Some(Verdict::Over)
            }
            (_, Some(Fall::Failed(mut failure))) => {
                failure.leftovers = self.undo();
                self.tell_last(&Event::Failed(failure));
                Some(Verdict::Over)
            }
            (_, Some(Fall::Outdated(reason))) => {
                self.undo();
                self.tell_last(&Event::Stale { reason });
                Some(Verdict::Stale)
            }
            _ => None,
        }
    }

    fn undo(&mut self) -> Vec<String> {
        // Each by itself, for somebody may have moved one out of its cgroup; and first, so that they die while nobody
        // waits for them yet.
        let created = self.units.iter().filter_map(|unit| Some(&unit.created.as_ref()?.child));
        for child in created.chain(self.infra.as_ref().map(|infra| &infra.child)) {
            let _ = process::pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        }
        // The record goes with the pod.
        self.tell_news();
        // Whoever is told that the pod is gone may bind its ports.
        self.machine.forget();
        let begun = self.journal.begun().iter().copied();
        let ours: Vec<_> = begun.filter(|id| Some(*id) != self.not_ours).collect();
        let (remains, unknown) = self.script.remains(&ours, &self.journal);
        let left = remains.clear(&self.machine.hierarchy, self.script.plan.id.as_str());
        let left: Vec<_> = unknown.into_iter().map(ExecError::from).chain(left).collect();
        for unit in &mut self.units {
            unit.close_output();
        }
        let mut errors: Vec<String> = left.iter().map(|error| chain(error).join(": ")).collect();
        self.note_down(&errors);
        if errors.is_empty() {
            // With something left the journal stays: the next `down` tries again.
            errors.extend(self.dir.remove().err().map(|error| chain(&error).join(": ")));
        }
        // Our own exit takes a while (the kernel takes its time to close a netfilter socket): nobody
        // who brings the pod up anew need wait for it.
        let _ = self.life_lock.release(Range::Life(&self.record.name));
        errors
    }

    /// What the kernel keeps of the dead. Nothing of theirs is left but exit codes, and to let go of these takes longer
    /// than their end did: whoever waits for the pod's end need not wait for it.
    fn reap(&mut self) {
        self.dead.clear();
        while let Ok(status) = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)
            && status != WaitStatus::StillAlive
        {}
    }

    fn tell_last(&mut self, event: &Event) {
        for connection in self.client.iter_mut().chain(self.connections.values_mut()) {
            connection.tell_last(event);
        }
    }
}

/// As it was; the pidfd has said that the process is dead, so nothing is waited for.
fn exit_code(pidfd: std::os::fd::BorrowedFd<'_>, reaped: bool) -> i32 {
    process::exit_code(pidfd, reaped).unwrap_or(255)
}
