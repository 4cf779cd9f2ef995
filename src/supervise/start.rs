//! Carrying out the plan: steps are begun as soon as their edges allow, containers set themselves up side
//! by side, and the first error undoes it all.

use super::SuperviseError;
use super::events::Token;
use super::history;
use super::life::{self, Stage};
use super::logs::{self, Log};
use super::pod::{Fall, Infra, Pod};
use super::protocol::{Event, Failure, chain};
use super::senses::Senses;
use crate::exec::ExecError;
use crate::exec::apply::Begun;
use crate::exec::launch::{self, Created};
use crate::names::ContainerName;
use crate::plan::step::{Launch, Step, StepId};
use crate::sandbox::{self, Report};
use crate::state::lock::Range;
use crate::state::store::{make_directory, remove_tree};
use std::os::fd::AsFd;

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
            let is_history = |name: &str| name.starts_with(history::FILE);
            if !entry.file_name().to_str().is_some_and(|name| ours(name) || is_history(name)) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn begin_next_step(&mut self) {
        let Some(id) = self.life.next_step() else { return };
        if let Err(error) = self.begin(id) {
            self.step_failed(id, &error);
        }
        self.release_network_lock();
    }

    fn begin(&mut self, id: StepId) -> Result<(), ExecError> {
        self.step_begun(id);
        let step = &*self.step(id)?;
        if self.life.stage == Stage::Starting {
            // What is done again later was noted the first time.
            self.journal.begin(id)?;
        }
        if let Step::CreateContainer(launch) = step {
            self.prepare_output(launch)?;
            let owner = self.life.owner(id);
            if let Some(index) = owner.filter(|index| self.life.container(*index).has_finished()) {
                let created =
                    launch::create_again(&self.machine.hierarchy, &self.script.plan, launch)?;
                self.take_container(index, created);
                return Ok(());
            }
        }
        match self.machine.apply(&self.script.plan, step)? {
            Begun::Done => self.step_done(id),
            Begun::Infra(child) => {
                self.watch(&child.channel, Token::InfraReport);
                self.watch(&child.pidfd, Token::InfraEnd);
                self.infra = Some(Infra { child, step: id });
            }
            Begun::Container(created) => {
                if let Some(index) = self.life.owner(id) {
                    self.take_container(index, *created);
                }
                if let Step::CreateContainer(launch) = step {
                    launch::prepare_devices(&mut self.machine.devices, launch);
                }
            }
            Begun::Release(_) => {
                if let Some(index) = self.life.owner(id) {
                    self.release(index)?;
                }
            }
        }
        Ok(())
    }

    /// The first time it undoes the whole `up`; a container that ran before counts it as a run that failed.
    fn step_failed(&mut self, id: StepId, error: &ExecError) {
        let of_step = || self.life.index(&container_of(&*self.step(id).ok()?)?);
        match self.life.owner(id).or_else(of_step) {
            // Where there is nobody to be released any more, the end of it is yet to be heard.
            Some(index)
                if id == self.life.container(index).start && !self.life.is_first_start(index) =>
            {
                self.tell_life(life::Event::Failed(index, words(error)));
            }
            Some(index) if !self.life.is_first_start(index) => {
                for event in failed_at_once(index, error) {
                    self.tell_life(event);
                }
            }
            _ => self.fail(id, error),
        }
    }

    /// What the network lock protects is done: others may go on.
    fn release_network_lock(&mut self) {
        let pending = self.script.here().any(|(id, step)| {
            !self.life.is_done(id)
                && matches!(
                    step,
                    Step::MakeNetwork(_)
                        | Step::TakeAddress { .. }
                        | Step::TakeIds { .. }
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
        let Some(index) = self.life.index(&launch.container) else { return Ok(()) };
        if self.units[index].output.is_some() {
            return Ok(());
        }
        self.listen_to(index, launch)?;
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

    fn take_container(&mut self, index: usize, created: Created) {
        if let Ok(launch) = self.launch(index) {
            let unit = &mut self.units[index];
            unit.senses = Senses::new(&launch.health).map(Box::new);
            unit.is_anothers = launch.runtime.is_some();
            unit.is_runner = unit.is_anothers;
        }
        let number = token_number(index);
        self.watch(&created.child.channel, Token::Report(number));
        self.watch(&created.child.pidfd, Token::End(number));
        self.units[index].created = Some(created);
    }

    /// The container's turn has come.
    fn release(&mut self, index: usize) -> Result<(), ExecError> {
        let unit = &mut self.units[index];
        if let Some(created) = &unit.created {
            unit.is_starting = unit.is_anothers;
            sandbox::start(created.child.channel.as_fd())?;
        }
        Ok(())
    }

    pub(super) fn create_again(&mut self, index: usize) -> Vec<life::Event> {
        let created = self.launch(index).and_then(|launch| {
            let plan = &self.script.plan;
            launch::create_again(&self.machine.hierarchy, plan, &launch)
        });
        match created {
            Ok(created) => {
                self.take_container(index, created);
                Vec::new()
            }
            Err(error) => failed_at_once(index, &error),
        }
    }

    pub(super) fn infra_reports(&mut self) {
        let Some(infra) = &self.infra else { return };
        let step = infra.step;
        match sandbox::report(infra.child.channel.as_fd()) {
            // Infra has none.
            Report::NotYet | Report::Terminal(_) | Report::Mounted | Report::Born { .. } => {}
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
            Report::NotYet | Report::Mounted => {}
            Report::Ready => self.container_ready(index),
            Report::Terminal(master) => self.take_terminal(index, master),
            Report::Born { pid, pidfd } => self.adopt(index, pid, pidfd),
            Report::Running => self.container_runs(index),
            Report::Failed(error) => {
                self.events.forget(created.child.channel.as_fd());
                self.hear_end(index);
                self.container_failed(index, &error.into());
            }
        }
    }

    /// Another runtime has said how its start went: the container may have ended before.
    fn hear_end(&mut self, index: usize) {
        let unit = &mut self.units[index];
        let was_starting = std::mem::take(&mut unit.is_starting);
        if let Some(created) = unit.created.as_ref().filter(|_| was_starting) {
            let end = Token::End(token_number(index));
            // Watched still, where it has not.
            let _ = self.events.watch(&created.child.pidfd, end);
        }
    }

    fn container_ready(&mut self, index: usize) {
        if let Err(error) = self.bound_devices(index) {
            return self.container_failed(index, &error);
        }
        self.note_step_done(self.life.container(index).create);
        self.tell_life(life::Event::Ready(index));
    }

    fn bound_devices(&mut self, index: usize) -> Result<(), ExecError> {
        let launch = self.launch(index)?;
        match &self.units[index].created {
            Some(created) => launch::bound_devices(&mut self.machine.devices, &launch, created),
            None => Ok(()),
        }
    }

    /// Its program runs: the channel was closed by execve.
    pub(super) fn container_runs(&mut self, index: usize) {
        if let Some(created) = &self.units[index].created {
            self.events.forget(created.child.channel.as_fd());
        }
        self.hear_end(index);
        self.note_step_done(self.life.container(index).start);
        self.tell_life(life::Event::Runs(index));
        if self.life.stage == Stage::Up {
            self.rest_soon();
        }
    }

    /// The set-up of a container failed. The first time this undoes the whole `up`.
    pub(super) fn container_failed(&mut self, index: usize, error: &ExecError) {
        let container = self.life.container(index);
        if self.life.is_first_start(index) {
            let is_created = self.life.is_done(container.create);
            let step = if is_created { container.start } else { container.create };
            self.fail(step, error);
        } else {
            self.tell_life(life::Event::Failed(index, words(error)));
        }
    }

    /// The first error decides; what comes after it comes from it.
    pub(super) fn fail(&mut self, id: StepId, error: &ExecError) {
        if self.life.stage != Stage::Starting {
            return;
        }
        if error.is_anothers() {
            self.not_ours = Some(id);
        }
        if error.is_stale() {
            self.fall = Some(Fall::Outdated(error.to_string()));
            return self.tell_life(life::Event::StartFailed);
        }
        // Nothing was put away before all was started.
        let step = self.step(id).ok();
        let container = step.as_deref().and_then(container_of);
        let log = container.as_ref().and_then(|name| self.life.index(name)).map(|index| {
            self.units[index].close_output();
            self.log_tail(index)
        });
        let failure = Failure {
            step: step.map(|step| step.to_string()).unwrap_or_default(),
            container,
            causes: chain(error),
            log: log.unwrap_or_default(),
            leftovers: Vec::new(),
        };
        self.note_failure(&failure);
        self.fall = Some(Fall::Failed(failure));
        self.tell_life(life::Event::StartFailed);
    }

    fn log_tail(&self, index: usize) -> Vec<String> {
        const LINES: usize = 10;
        let log = self.units[index].log.as_ref();
        log.map(|log| logs::tail(log.path(), LINES)).unwrap_or_default()
    }

    /// All is started that can be.
    pub(super) fn is_up(&mut self) {
        self.note_status();
        self.write_record();
        // Written before any container was made.
        self.machine.secrets.clear();
        let never = self.life.never();
        self.tell(&Event::Up { never });
        self.rest_soon();
    }

    fn watch(&self, fd: impl AsFd, token: Token) {
        // Fails only for want of kernel memory; the deadline of the client then shows it.
        let _ = self.events.watch(fd, token);
    }
}

/// An error and what it came from, in one line.
fn words(error: &ExecError) -> String {
    chain(error).join(": ")
}

/// A container that did not even get a process.
fn failed_at_once(index: usize, error: &ExecError) -> Vec<life::Event> {
    vec![life::Event::Failed(index, words(error)), life::Event::Emptied(index)]
}

pub(super) fn token_number(index: usize) -> u32 {
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
