//! Carrying out the plan: steps are begun as soon as their edges allow, containers set themselves up side
//! by side, and the first error undoes it all.

use super::SuperviseError;
use super::end::cause_of_end;
use super::events::Token;
use super::logs::{self, Log};
use super::pod::{Infra, Pod, Stage};
use super::protocol::{Event, Failure, chain};
use super::unit::Phase;
use crate::exec::ExecError;
use crate::exec::apply::Begun;
use crate::exec::launch::{self, Created};
use crate::names::ContainerName;
use crate::plan::step::{Launch, Step, StepId};
use crate::sandbox::{self, Report};
use crate::state::lock::Range;
use crate::state::store::{make_directory, remove_tree};
use std::os::fd::AsFd;
use std::time::Instant;

impl Pod<'_> {
    pub(super) fn make_log_directory(&self) -> Result<(), SuperviseError> {
        let logs = self.store.logs(&self.record.name);
        make_directory(&logs)?;
        // Logs begin anew when their container does; those of containers that are no more go now.
        let ours = |name: &str| {
            let container = name.split_once(".log").map_or(name, |(container, _)| container);
            self.record.containers.iter().any(|known| known.name.as_str() == container)
        };
        for entry in std::fs::read_dir(&logs).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(ours) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn begin_next_step(&mut self) {
        let Some(id) = self.progress.take_next() else { return };
        if let Err(error) = self.begin(id) {
            self.fail(id, &error);
        }
        self.release_network_lock();
    }

    fn begin(&mut self, id: StepId) -> Result<(), ExecError> {
        self.journal.begin(id)?;
        self.step_begun(id);
        let plan = self.plan.clone();
        let step = &plan.steps[id].step;
        if let Step::CreateContainer(launch) = step {
            self.prepare_output(launch)?;
        }
        match self.machine.apply(&plan, step)? {
            Begun::Done => self.step_done(id),
            Begun::Infra(child) => {
                self.watch(&child.channel, Token::InfraReport);
                self.watch(&child.pidfd, Token::InfraEnd);
                self.infra = Some(Infra { child, step: id });
            }
            Begun::Container(created) => self.take_container(&container_of(step), *created),
            Begun::Release(container) => self.release(&container)?,
        }
        Ok(())
    }

    /// What the network lock protects is done: others may go on.
    fn release_network_lock(&mut self) {
        let pending = self.plan.steps.iter().enumerate().any(|(id, planned)| {
            !self.progress.is_done(id)
                && matches!(
                    planned.step,
                    Step::MakeNetwork(_)
                        | Step::TakeAddress { .. }
                        | Step::ReservePorts { .. }
                        | Step::Publish { .. }
                )
        });
        if !pending {
            self.drop_network_lock();
        }
    }

    pub(super) fn drop_network_lock(&mut self) {
        if let Some(locks) = self.locks.take() {
            // The client holds a copy of the descriptor: closing ours alone would free nothing.
            let _ = locks.release(Range::Network);
        }
    }

    /// The FIFOs and the log of a container's first start; later starts go on with them.
    fn prepare_output(&mut self, launch: &Launch) -> Result<(), ExecError> {
        let Some(index) = self.unit_index(&launch.container) else { return Ok(()) };
        if self.units[index].output.is_some() {
            return Ok(());
        }
        let output = launch::open_output(launch)?;
        let stdio = &launch.stdio;
        let log = Log::create(&stdio.log, stdio.max_size, stdio.max_files)
            .map_err(|source| ExecError::WriteFile { path: stdio.log.clone(), source })?;
        let number = token_number(index);
        self.watch(&output.stdout, Token::Stdout(number));
        self.watch(&output.stderr, Token::Stderr(number));
        self.units[index].output = Some(output);
        self.units[index].log = Some(log);
        Ok(())
    }

    fn take_container(&mut self, name: &Option<ContainerName>, created: Created) {
        let Some(index) = name.as_ref().and_then(|name| self.unit_index(name)) else { return };
        let number = token_number(index);
        self.watch(&created.child.channel, Token::Report(number));
        self.watch(&created.child.pidfd, Token::End(number));
        let unit = &mut self.units[index];
        unit.created = Some(created);
        unit.phase = Phase::Creating;
        unit.killed = false;
        // An earlier run's: this one has yet to begin.
        unit.started = None;
        unit.problem = None;
    }

    /// The container's turn has come.
    fn release(&mut self, name: &ContainerName) -> Result<(), ExecError> {
        let Some(index) = self.unit_index(name) else { return Ok(()) };
        let unit = &mut self.units[index];
        if let Some(created) = &unit.created {
            unit.phase = Phase::Releasing;
            sandbox::start(created.child.channel.as_fd())?;
        }
        Ok(())
    }

    /// A failed create or start of a container that ran before: it counts as a run that failed.
    pub(super) fn create_again(&mut self, index: usize) {
        let plan = self.plan.clone();
        let Step::CreateContainer(launch) = &plan.steps[self.units[index].create].step else {
            return;
        };
        self.units[index].restarts += 1;
        self.units[index].tries += 1;
        match launch::create(&self.machine.hierarchy, launch) {
            Ok(created) => self.take_container(&Some(launch.container.clone()), created),
            Err(error) => self.start_failed(index, &chain(&error)),
        }
        self.changed();
    }

    /// Starts containers anew that have ended, as a second `up` asks.
    pub(super) fn start_again(&mut self, names: &[ContainerName]) {
        if !matches!(self.stage, Stage::Up) {
            return;
        }
        for name in names {
            if let Some(index) = self.unit_index(name)
                && self.units[index].phase == Phase::Ended
            {
                let unit = &mut self.units[index];
                (unit.tries, unit.code, unit.problem) = (0, None, None);
                if self.progress.is_done(unit.create) {
                    self.create_again(index);
                } else {
                    // It waited for another one, and does so again: its turn comes as the plan has it.
                    unit.phase = Phase::Waiting;
                }
            }
        }
        self.told_end = false;
        self.stage = Stage::Starting;
    }

    pub(super) fn infra_reports(&mut self) {
        let Some(infra) = &self.infra else { return };
        let step = infra.step;
        match sandbox::report(infra.child.channel.as_fd()) {
            // Infra has none.
            Report::NotYet | Report::Terminal(_) => {}
            Report::Ready => self.step_done(step),
            Report::Running => self.events.forget(infra.child.channel.as_fd()),
            Report::Failed(error) => {
                self.events.forget(infra.child.channel.as_fd());
                self.fail(step, &error.into());
            }
        }
    }

    pub(super) fn container_reports(&mut self, index: usize) {
        let Some(created) = &self.units[index].created else { return };
        match sandbox::report(created.child.channel.as_fd()) {
            Report::NotYet => {}
            Report::Ready => self.container_ready(index),
            Report::Terminal(master) => self.take_terminal(index, master),
            Report::Running => self.container_runs(index),
            Report::Failed(error) => {
                self.events.forget(created.child.channel.as_fd());
                self.container_failed(index, &error.into());
            }
        }
    }

    fn container_ready(&mut self, index: usize) {
        let unit = &mut self.units[index];
        unit.phase = Phase::Created;
        if self.progress.is_done(unit.create) {
            // A later start: its turn came long ago.
            let name = unit.name.clone();
            if let Err(error) = self.release(&name) {
                self.start_failed(index, &chain(&error));
            }
        } else {
            let create = unit.create;
            self.step_done(create);
        }
    }

    /// Its program runs: the channel was closed by execve.
    pub(super) fn container_runs(&mut self, index: usize) {
        let unit = &mut self.units[index];
        if let Some(created) = &unit.created {
            self.events.forget(created.child.channel.as_fd());
        }
        if unit.phase != Phase::Releasing {
            return;
        }
        unit.phase = Phase::Running;
        unit.started = Some(Instant::now());
        let start = unit.start;
        self.note_started(index);
        self.step_done(start);
        self.tell_container(index);
    }

    /// The set-up of a container failed. The first time this undoes the whole `up`.
    pub(super) fn container_failed(&mut self, index: usize, error: &ExecError) {
        let unit = &self.units[index];
        if self.progress.is_done(unit.start) {
            self.start_failed(index, &chain(error));
        } else if matches!(self.stage, Stage::Starting) {
            let step = if self.progress.is_done(unit.create) { unit.start } else { unit.create };
            self.units[index].problem = Some(chain(error).join(": "));
            self.fail(step, error);
        }
    }

    fn start_failed(&mut self, index: usize, causes: &[String]) {
        self.units[index].problem = Some(causes.join(": "));
        if self.units[index].created.is_none() {
            self.finish(index);
        }
        // Else its end is yet to come: the process that could not become the program.
    }

    /// The first error decides; what comes after it comes from it.
    pub(super) fn fail(&mut self, id: StepId, error: &ExecError) {
        if !matches!(self.stage, Stage::Starting) {
            return;
        }
        if error.is_anothers() {
            self.not_ours = Some(id);
        }
        if error.is_stale() {
            self.stage = Stage::Outdated(error.to_string());
            return;
        }
        let plan = self.plan.clone();
        let step = &plan.steps[id].step;
        let container = container_of(step);
        let log = container.as_ref().and_then(|name| self.unit_index(name)).map(|index| {
            self.units[index].close_output();
            self.log_tail(index)
        });
        self.stage = Stage::Failing(Failure {
            step: step.to_string(),
            container,
            causes: chain(error),
            log: log.unwrap_or_default(),
            leftovers: Vec::new(),
        });
    }

    fn log_tail(&self, index: usize) -> Vec<String> {
        const LINES: usize = 10;
        let plan = &self.plan;
        match &plan.steps[self.units[index].create].step {
            Step::CreateContainer(launch) => logs::tail(&launch.stdio.log, LINES),
            _ => Vec::new(),
        }
    }

    /// All is started that can be: tells it, once.
    pub(super) fn check_up(&mut self) {
        if !matches!(self.stage, Stage::Starting) || self.units.iter().any(|u| u.is_starting()) {
            return;
        }
        let never = self.never();
        let lost = |id: &StepId| never.iter().any(|(index, _)| self.units[*index].owns(*id));
        if !self.progress.undone().iter().all(lost) {
            return;
        }
        let mut told = Vec::new();
        for (index, reason) in never {
            let unit = &mut self.units[index];
            unit.problem = Some(reason.clone());
            unit.phase = Phase::Ended;
            told.push((unit.name.clone(), reason));
            self.tell_container(index);
        }
        self.stage = Stage::Up;
        self.changed();
        self.write_record();
        self.tell(&Event::Up { never: told });
        self.check_all_ended();
    }

    /// Containers that wait for another to complete, which ended for good and did not.
    fn never(&self) -> Vec<(usize, String)> {
        let mut never = Vec::new();
        for failed in self.units.iter().filter(|unit| unit.has_failed()) {
            let lost = self.progress.lost_with(&failed.name);
            for (index, unit) in self.units.iter().enumerate() {
                if lost.contains(&unit.start) && !never.iter().any(|(known, _)| *known == index) {
                    never.push((index, cause_of_end(failed)));
                }
            }
        }
        never
    }

    fn watch(&self, fd: impl AsFd, token: Token) {
        // Fails only for want of kernel memory; the deadline of the client then shows it.
        let _ = self.events.watch(fd, token);
    }
}

fn token_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn container_of(step: &Step) -> Option<ContainerName> {
    match step {
        Step::CreateContainer(launch) => Some(launch.container.clone()),
        Step::StartContainer { container }
        | Step::MakeNetns { container, .. }
        | Step::MakeLayers { container, .. } => Some(container.clone()),
        Step::Connect(connection) => connection.container.clone(),
        _ => None,
    }
}
