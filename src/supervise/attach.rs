//! Who sees what a container writes as it comes, and may type where it has a terminal. Output goes to the
//! log first, then to clients, none of which is ever waited for: one that is too slow is let go. What is
//! typed does not come this way: a client gets the terminal's master, or writes to the FIFO, itself.

use super::events::Token;
use super::life::Phase;
use super::logs::Stream;
use super::pod::{Pod, tell};
use super::protocol::{Event, Output};
use crate::exec::ExecError;
use crate::exec::launch;
use crate::names::ContainerName;
use std::os::fd::{AsFd, OwnedFd};

impl Pod<'_> {
    /// A container has made its terminal.
    pub(super) fn take_terminal(&mut self, index: usize, master: OwnedFd) {
        let kept = rustix::io::ioctl_fionbio(&master, true)
            .map_err(|errno| ExecError::Terminal { source: errno.into() })
            .and_then(|()| {
                let launch = self.launch(index)?;
                launch::keep_terminal(&self.machine.hierarchy, &launch, master)
            });
        match kept {
            Ok(terminal) => {
                let number = u32::try_from(index).unwrap_or(u32::MAX);
                let _ = self.events.watch(&terminal.master, Token::Terminal(number));
                self.units[index].terminal = Some(terminal);
            }
            Err(error) => {
                self.container_failed(index, &error);
                self.kill(index, "its terminal could not be kept");
            }
        }
    }

    pub(super) fn output_came(&mut self, index: usize, stream: Stream) {
        self.units[index].read_output(stream, false);
        self.relay(index);
        self.sensed(index);
    }

    pub(super) fn terminal_came(&mut self, index: usize) {
        if !self.units[index].read_terminal(false)
            && let Some(terminal) = &self.units[index].terminal
        {
            // It would say so again and again.
            self.events.forget(terminal.master.as_fd());
        }
        self.relay(index);
        self.sensed(index);
    }

    /// Sends on what came since the last time.
    pub(super) fn relay(&mut self, index: usize) {
        let fresh = std::mem::take(&mut self.units[index].fresh);
        for (stream, text) in &fresh {
            let frame = Output { stream: *stream, text }.encode();
            for (number, connection) in &mut self.connections {
                if connection.attached != Some(index) {
                    continue;
                }
                if connection.tell_frame(&frame).is_err() {
                    connection.hang_up();
                } else if connection.has_unsent() {
                    self.events.watch_room(connection.as_fd(), Token::Connection(*number), true);
                }
            }
        }
    }

    pub(super) fn attach(&mut self, number: u32, container: &ContainerName) {
        let index = self.life.index(container).filter(|index| {
            matches!(
                self.life.container(*index).phase,
                Phase::Created | Phase::Releasing | Phase::Running
            )
        });
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let Some(index) = index else {
            let event = Event::NotAttached { reason: "it is not running".to_owned() };
            return tell(&self.events, connection, Token::Connection(number), &event);
        };
        connection.attached = Some(index);
        match &self.units[index].terminal {
            Some(terminal) => {
                let event = Event::Attached { terminal: true };
                if connection.tell_with(&event, terminal.master.as_fd()).is_err() {
                    connection.hang_up();
                }
            }
            None => {
                let event = Event::Attached { terminal: false };
                tell(&self.events, connection, Token::Connection(number), &event);
            }
        }
        self.count_watchers();
    }

    /// How many see each container: what nobody sees is not kept for anybody.
    pub(super) fn count_watchers(&mut self) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            let watch =
                |connection: &&super::control::Connection| connection.attached == Some(index);
            unit.watchers = self.connections.values().filter(watch).count();
        }
    }
}
