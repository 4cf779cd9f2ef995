//! What clients ask for while the pod lives, and the answers: a request is answered when what it asks for is
//! reached, not when it is begun.

use super::life::{self, Goal, Stage};
use super::pod::Pod;
use super::protocol::{Event, Request, chain};
use crate::names::ContainerName;
use crate::sys::process;

impl Pod<'_> {
    pub(super) fn obey_request(&mut self, connection: u32, request: Request) {
        match request {
            Request::Down { terse } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.terse = terse;
                }
                self.begin_stop("asked for by `down`");
            }
            Request::Hurry => self.hurry(),
            Request::Watch => self.watch_for(connection),
            Request::Start { containers } => {
                let containers = self.indices(&containers);
                self.pursue(connection, Goal::Started(containers.clone()), &containers);
                self.tell_life(life::Event::Start { containers });
            }
            Request::Stop { containers, grace } => {
                let containers = self.indices(&containers);
                self.pursue(connection, Goal::Ended(containers.clone()), &containers);
                self.tell_life(life::Event::Stop { containers, grace });
            }
            Request::Restart { containers, grace } => {
                let containers = self.indices(&containers);
                self.pursue(connection, Goal::Started(containers.clone()), &containers);
                self.tell_life(life::Event::Restart { containers, grace });
            }
            Request::Attach { container } => self.attach(connection, &container),
            Request::Kill { containers, signal } => self.signal(connection, &containers, signal),
        }
    }

    fn indices(&self, names: &[ContainerName]) -> Vec<usize> {
        names.iter().filter_map(|name| self.life.index(name)).collect()
    }

    fn pursue(&mut self, connection: u32, goal: Goal, containers: &[usize]) {
        self.goals.insert(connection, (goal, containers.to_vec()));
    }

    /// Whoever waits learns that it is reached.
    pub(super) fn answer_goals(&mut self) {
        if self.goals.is_empty() || self.life.stage == Stage::Stopping {
            return;
        }
        let reached = |(_, (goal, _)): &(&u32, &(Goal, Vec<usize>))| self.life.has_reached(goal);
        let reached: Vec<u32> =
            self.goals.iter().filter(reached).map(|(index, _)| *index).collect();
        for connection in reached {
            if let Some((goal, containers)) = self.goals.remove(&connection) {
                self.answer(connection, &goal, &containers);
            }
        }
    }

    fn answer(&mut self, connection: u32, goal: &Goal, containers: &[usize]) {
        if *goal == Goal::Up {
            let never = self.life.never();
            return self.tell_one(connection, &Event::Up { never });
        }
        let problems = match (goal, self.life.stage) {
            (Goal::Started(_), Stage::Broken) => vec!["its infra has ended".to_owned()],
            _ => Vec::new(),
        };
        let containers = containers.iter().map(|index| self.state(*index)).collect();
        self.tell_deaf();
        self.tell_one(connection, &Event::Done { containers, problems });
    }

    fn watch_for(&mut self, connection: u32) {
        for index in 0..self.units.len() {
            let state = self.state(index);
            self.tell_one(connection, &Event::Container(state));
        }
        // Whoever is told when the pod is up needs no answer of its own.
        if self.life.has_reached(&Goal::Up) {
            self.answer(connection, &Goal::Up, &[]);
            if self.life.is_all_ready() {
                self.tell_one(connection, &Event::Ready);
            }
        }
    }

    fn signal(&mut self, connection: u32, names: &[ContainerName], signal: i32) {
        let mut problems = Vec::new();
        let containers = self.indices(names);
        for &index in &containers {
            if let Err(problem) = self.signal_one(index, signal) {
                problems.push(format!("{}: {problem}", self.name(index)));
            }
        }
        let containers = containers.iter().map(|index| self.state(*index)).collect();
        self.tell_one(connection, &Event::Done { containers, problems });
    }

    fn signal_one(&mut self, index: usize, signal: i32) -> Result<(), String> {
        let container = self.life.container(index);
        let Some(created) = self.units[index].created.as_ref().filter(|_| container.has_begun())
        else {
            return Err(format!("it does not run ({})", container.status().word()));
        };
        if signal == libc::SIGKILL {
            // What it has made goes with it.
            created.cgroup.kill().map_err(|error| error.to_string())?;
        }
        let is_deaf = process::is_deaf_init(created.child.pid, signal);
        self.send_signal(index, signal).map_err(|error| chain(&error).join(": "))?;
        let cause = format!("signal {signal} sent by the user");
        self.note_event(index, "signal", cause);
        if is_deaf && signal != libc::SIGKILL {
            return Err("as PID 1 it does not handle this signal, and the kernel dropped it".into());
        }
        Ok(())
    }
}
