//! Carrying probes and hooks out, inside the container's namespaces and without waiting: connections from
//! sockets made in its network namespace, programs and looks for files as children in a cgroup below its own.
//! What they mean is `life.rs`'s to say, and how long they may take.

use super::events::Token;
use super::life::{self, Answer, Task};
use super::logs;
use super::pod::Pod;
use super::protocol::chain;
use crate::exec::ExecError;
use crate::exec::beside::{Beside, Place, Whose};
use crate::net::NetError;
use crate::net::dial::{self, Dialled, Dialler};
use crate::net::http::{Exchange, Heard};
use crate::net::tls::{self, Stream};
use crate::plan::health::{Check, Request};
use crate::plan::step::Launch;
use crate::sandbox::{self, Report};
use crate::sys::{paths, process};
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Of what a program says so much is kept, to be told if it fails.
const KEPT: usize = 4 * 1024;
/// Of that so much is told.
const TOLD: usize = 160;

/// Slots of a container, by [`Task`]; none before the first is needed.
#[derive(Debug, Default)]
pub(super) struct Checks {
    slots: Option<Box<[Slot; Task::ALL.len()]>>,
}

impl Checks {
    fn slot(&mut self, task: Task) -> &mut Slot {
        &mut self.slots.get_or_insert_default()[task as usize]
    }
}

#[derive(Debug, Default)]
struct Slot {
    running: Running,
    dialler: Option<Dialler>,
    place: Option<Place>,
    /// Something in the place was killed.
    spoilt: bool,
}

#[derive(Debug, Default)]
enum Running {
    #[default]
    Nothing,
    Connecting(OwnedFd),
    Asking(Stream, Exchange),
    Program(Beside, Vec<u8>),
    /// Nobody waits for its answer any more, but for its end.
    Dying(OwnedFd),
}

/// The token of a container's slot.
fn number(index: usize, task: Task) -> u32 {
    u32::try_from(index * 8 + task as usize).unwrap_or(u32::MAX)
}

fn place(number: u32) -> Option<(usize, Task)> {
    Some((number as usize / 8, *Task::ALL.get(number as usize % 8)?))
}

impl Pod<'_> {
    /// Begins a check or a hook, and tells what is known of it at once.
    pub(super) fn begin_task(&mut self, index: usize, task: Task) -> Vec<life::Event> {
        let launch = match self.launch(index) {
            Ok(launch) => launch,
            Err(error) => {
                let answer = Answer::Absent(chain(&error).join(": "));
                return vec![life::Event::Told(index, task, answer)];
            }
        };
        let Some(check) = task.check(&launch.health) else { return Vec::new() };
        let begun = match check {
            Check::Tcp { port } => self.dial(index, task, *port),
            Check::Http(request) => self.dial(index, task, request.port),
            Check::Exec { argv } => self.run_beside(index, task, &launch, argv),
            Check::File { path } => self.look_for(index, task, &launch, path),
            Check::Log { .. } | Check::Notify => {
                let senses = self.units[index].senses.as_mut();
                let came = senses.is_some_and(|senses| senses.arm(task));
                return came
                    .then_some(life::Event::Told(index, task, Answer::Good))
                    .into_iter()
                    .collect();
            }
        };
        let answer = begun.unwrap_or_else(|error| Some(Answer::Absent(chain(&error).join(": "))));
        answer.map(|answer| life::Event::Told(index, task, answer)).into_iter().collect()
    }

    /// Ends what is under way; nobody waits for its answer any more.
    pub(super) fn cancel_task(&mut self, index: usize, task: Task) {
        let unit = &mut self.units[index];
        if let Some(senses) = &mut unit.senses {
            senses.disarm(task);
        }
        let slot = unit.checks.slot(task);
        match std::mem::take(&mut slot.running) {
            Running::Program(beside, _) => {
                slot.end_program(&beside.pidfd);
                slot.running = Running::Dying(beside.pidfd);
            }
            Running::Dying(pidfd) => slot.running = Running::Dying(pidfd),
            // Closed, a socket is not watched any more either.
            Running::Nothing | Running::Connecting(_) | Running::Asking(..) => {}
        }
    }

    /// The container's run is over, and its cgroups are gone: what died with it is yet to be reaped.
    pub(super) fn forget_checks(&mut self, index: usize) {
        let slots = self.units[index].checks.slots.iter_mut();
        for slot in slots.flat_map(|slots| slots.iter_mut()) {
            let running = match std::mem::take(&mut slot.running) {
                Running::Program(Beside { pidfd, .. }, _) | Running::Dying(pidfd) => {
                    Running::Dying(pidfd)
                }
                _ => Running::Nothing,
            };
            *slot = Slot { running, ..Slot::default() };
        }
    }

    fn dial(&mut self, index: usize, task: Task, port: u16) -> Result<Option<Answer>, ExecError> {
        let unit = &mut self.units[index];
        let Some(created) = &unit.created else { return Ok(None) };
        let slot = unit.checks.slot(task);
        let dialler = slot.dialler.get_or_insert_with(|| Dialler::new(port));
        let dialled = dialler.dial(created.child.pidfd.as_fd())?;
        Ok(self.dialled(index, task, dialled, false))
    }

    /// What follows; an answer, if there is one already.
    fn dialled(
        &mut self,
        index: usize,
        task: Task,
        dialled: Dialled,
        is_watched: bool,
    ) -> Option<Answer> {
        match dialled {
            Dialled::Failed(errno) => Some(Answer::Absent(dial_words(errno))),
            Dialled::Pending(socket) => {
                if !is_watched {
                    self.watch_socket(socket.as_fd(), index, task);
                }
                self.slot(index, task).running = Running::Connecting(socket);
                None
            }
            Dialled::Connected(socket) => {
                let launch = self.launch(index).ok()?;
                let Some(Check::Http(request)) = task.check(&launch.health) else {
                    return Some(Answer::Good);
                };
                if !is_watched {
                    self.watch_socket(socket.as_fd(), index, task);
                }
                let stream = match connection(request, socket.into()) {
                    Ok(stream) => stream,
                    Err(error) => return Some(Answer::Bad(chain(&error).join(": "))),
                };
                let exchange = Exchange::get(request.port, &request.path, &request.headers);
                self.slot(index, task).running = Running::Asking(stream, exchange);
                self.converse(index, task, request)
            }
        }
    }

    fn watch_socket(&self, socket: BorrowedFd<'_>, index: usize, task: Task) {
        // Without memory for it nothing is heard, and its time will be over.
        let _ = self.events.watch_socket(socket, Token::Check(number(index, task)));
    }

    fn slot(&mut self, index: usize, task: Task) -> &mut Slot {
        self.units[index].checks.slot(task)
    }

    /// Goes on with a request.
    fn converse(&mut self, index: usize, task: Task, request: &Request) -> Option<Answer> {
        let slot = self.slot(index, task);
        let Running::Asking(stream, exchange) = &mut slot.running else { return None };
        let answer = match exchange.go_on(stream) {
            Ok(Heard::NotYet) => return None,
            Ok(Heard::Status(status)) if is_good(request, status) => Answer::Good,
            Ok(Heard::Status(status)) => Answer::Bad(format!("status {status}")),
            Ok(Heard::Nonsense(what)) => Answer::Bad(what.to_owned()),
            Err(error) => Answer::Bad(tls::words(&error)),
        };
        slot.running = Running::Nothing;
        Some(answer)
    }

    /// A place for a program of this task, or why there is none now.
    fn make_place(
        &mut self,
        index: usize,
        task: Task,
        launch: &Launch,
    ) -> Result<Option<Answer>, ExecError> {
        let hierarchy = &self.machine.hierarchy;
        let slot = self.units[index].checks.slot(task);
        let place = slot.place.get_or_insert_with(|| Place::new(launch, slot_name(task)));
        if matches!(slot.running, Running::Dying(_)) || slot.spoilt && !place.is_empty() {
            return Ok(Some(Answer::Busy));
        }
        if std::mem::take(&mut slot.spoilt) {
            place.renew(hierarchy)?;
        }
        Ok(None)
    }

    fn run_beside(
        &mut self,
        index: usize,
        task: Task,
        launch: &Launch,
        argv: &[String],
    ) -> Result<Option<Answer>, ExecError> {
        if let Some(answer) = self.make_place(index, task, launch)? {
            return Ok(Some(answer));
        }
        let hierarchy = &self.machine.hierarchy;
        let unit = &mut self.units[index];
        let Some(created) = &unit.created else { return Ok(None) };
        let slot = unit.checks.slot(task);
        let Some(place) = &mut slot.place else { return Ok(None) };
        let target = created.child.pidfd.as_fd();
        let whose = Whose { launch, target, filter: self.script.plan.filter(launch) };
        let beside = place.run(hierarchy, &whose, argv)?;
        self.watch_program(index, task, beside);
        Ok(None)
    }

    fn look_for(
        &mut self,
        index: usize,
        task: Task,
        launch: &Launch,
        path: &Path,
    ) -> Result<Option<Answer>, ExecError> {
        let Some(created) = &self.units[index].created else { return Ok(None) };
        let gone = |_| Ok(Some(Answer::Absent("its process is gone".to_owned())));
        let root = match process::root(created.child.pid, created.child.pidfd.as_fd()) {
            Ok(root) => root,
            Err(error) => return gone(error),
        };
        if paths::is_known_in_root(root.as_fd(), path) {
            return Ok(Some(Answer::Good));
        }
        if let Some(answer) = self.make_place(index, task, launch)? {
            return Ok(Some(answer));
        }
        let waits = self.life.waits(index, task);
        let hierarchy = &self.machine.hierarchy;
        let slot = self.units[index].checks.slot(task);
        let Some(place) = &mut slot.place else { return Ok(None) };
        let beside = place.look_for(hierarchy, root.as_fd(), path, waits)?;
        self.watch_program(index, task, beside);
        Ok(None)
    }

    fn watch_program(&mut self, index: usize, task: Task, beside: Beside) {
        let number = number(index, task);
        let _ = self.events.watch(&beside.pidfd, Token::Check(number));
        if let Some(output) = &beside.output {
            let _ = self.events.watch(output, Token::CheckOutput(number));
        }
        self.slot(index, task).running = Running::Program(beside, Vec::new());
    }

    /// Something of a slot has come on.
    pub(super) fn check_came(&mut self, number: u32) {
        let Some((index, task)) = place(number).filter(|(index, _)| *index < self.units.len())
        else {
            return;
        };
        let answer = match &self.slot(index, task).running {
            Running::Nothing => None,
            Running::Connecting(_) => {
                let running = std::mem::take(&mut self.slot(index, task).running);
                let Running::Connecting(socket) = running else { return };
                self.dialled(index, task, dial::settle(socket), true)
            }
            Running::Asking(..) => {
                let Ok(launch) = self.launch(index) else { return };
                let Some(Check::Http(request)) = task.check(&launch.health) else { return };
                self.converse(index, task, request)
            }
            Running::Program(..) => self.program_ended(index, task),
            Running::Dying(pidfd) => {
                if has_ended(pidfd).is_some() {
                    self.slot(index, task).running = Running::Nothing;
                }
                None
            }
        };
        if let Some(answer) = answer {
            self.tell_life(life::Event::Told(index, task, answer));
        }
    }

    /// What a program says; of one that says much the most is thrown away.
    pub(super) fn check_output(&mut self, number: u32) {
        let Some((index, task)) = place(number).filter(|(index, _)| *index < self.units.len())
        else {
            return;
        };
        let slot = self.units[index].checks.slot(task);
        let Running::Program(beside, text) = &mut slot.running else { return };
        let Some(output) = &beside.output else { return };
        if !take_output(output, text) {
            // Its end would be told again and again.
            self.events.forget(output.as_fd());
        }
    }

    fn program_ended(&mut self, index: usize, task: Task) -> Option<Answer> {
        let slot = self.slot(index, task);
        let Running::Program(beside, text) = &mut slot.running else { return None };
        let ended = has_ended(&beside.pidfd)?;
        if let Some(output) = &beside.output {
            take_output(output, text);
        }
        let report = beside.channel.as_ref().map(|channel| sandbox::report(channel.as_fd()));
        let answer = match (report, ended) {
            (Some(Report::Failed(error)), _) => Answer::Bad(chain(&error).join(": ")),
            (_, WaitStatus::Exited(_, 0)) => Answer::Good,
            (None, _) => Answer::Absent("it is not there".to_owned()),
            (_, WaitStatus::Signaled(_, signal, _)) => {
                Answer::Bad(format!("ended by {signal}{}", told(text)))
            }
            (_, WaitStatus::Exited(_, code)) => {
                Answer::Bad(format!("exit code {code}{}", told(text)))
            }
            _ => Answer::Bad("it ended in no known way".to_owned()),
        };
        slot.running = Running::Nothing;
        // What it has left behind goes with it.
        if let Some(place) = &mut slot.place
            && !place.is_empty()
        {
            place.kill();
            slot.spoilt = true;
        }
        Some(answer)
    }
}

impl Slot {
    fn end_program(&mut self, pidfd: &OwnedFd) {
        if let Some(place) = &mut self.place {
            place.kill();
        }
        self.spoilt = true;
        let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
}

/// Of the cgroup.
fn slot_name(task: Task) -> &'static str {
    match task {
        Task::Startup => "startup",
        Task::Readiness => "readiness",
        Task::Liveness => "liveness",
        Task::PostStart => "poststart",
        Task::PreStop => "prestop",
    }
}

fn is_good(request: &Request, status: u16) -> bool {
    request.status.map_or((200..400).contains(&status), |wanted| wanted == status)
}

/// What the request goes over.
fn connection(request: &Request, socket: TcpStream) -> Result<Stream, NetError> {
    if request.tls { Stream::tls(socket, request.host()) } else { Ok(Stream::Plain(socket)) }
}

fn dial_words(errno: Errno) -> String {
    match errno {
        Errno::ECONNREFUSED => "refused".to_owned(),
        errno => std::io::Error::from(errno).to_string(),
    }
}

/// How a child ended, if it has.
pub(super) fn has_ended(pidfd: &OwnedFd) -> Option<WaitStatus> {
    match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
        Ok(WaitStatus::StillAlive) => None,
        Ok(status) => Some(status),
        // Nobody is there to be waited for.
        Err(_) => Some(WaitStatus::StillAlive),
    }
}

/// A bite of what it says; whether there may be more later.
fn take_output(output: &OwnedFd, text: &mut Vec<u8>) -> bool {
    match logs::bite(output.as_fd(), &mut Vec::new()) {
        Ok([]) => false,
        Ok(bite) => {
            let left = KEPT.saturating_sub(text.len()).min(bite.len());
            text.extend_from_slice(&bite[..left]);
            true
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
        Err(_) => false,
    }
}

/// Its last line, to be told beside its exit code.
fn told(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let plain =
        |line: &str| line.chars().filter(|c| !c.is_control()).take(TOLD).collect::<String>();
    line.map(|line| format!(": {}", plain(line))).unwrap_or_default()
}
