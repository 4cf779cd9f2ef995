//! The event loop of one pod, and what each event means. `life.rs` decides what follows; `start.rs`,
//! `end.rs`, `requests.rs`, `record.rs` and `firewall.rs` are the other chapters of the same type.

use super::SuperviseError;
use super::control::{Connection, listen};
use super::events::{Events, Token};
use super::firewall::Firewall;
use super::history::History;
use super::life::{self, Act, Goal, Life, Stage};
use super::logs::Stream;
use super::protocol::{Event, Failure, Handover, Request};
use super::script::Script;
use super::steps::Steps;
use super::unit::Unit;
use super::wire;
use crate::exec::ExecError;
use crate::exec::apply::Machine;
use crate::exec::launch::Created;
use crate::names::ContainerName;
use crate::plan::step::{Launch, Step, StepId};
use crate::plan::timing::Mark;
use crate::sandbox::Child;
use crate::state::StateError;
use crate::state::journal::{self, Journal};
use crate::state::lock::{Locks, Range};
use crate::state::record::{PodRecord, PodStatus, Process};
use crate::state::store::{PodDir, Store};
use crate::sys::memory;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long after a start nothing of it is left to be done.
const REST_AFTER: Duration = Duration::from_millis(200);

/// How a pod's life under this supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is undone.
    Over,
    /// All is undone, and the client may send another plan.
    Stale,
}

/// What a client has handed over.
pub(super) struct Received {
    pub(super) handover: Handover,
    /// The journal's, as JSON.
    pub(super) header: Vec<u8>,
    pub(super) locks: Locks,
    pub(super) client: UnixStream,
    /// This process, as it is recorded.
    pub(super) own: Option<Process>,
}

/// Why all is undone at once.
#[derive(Debug)]
pub(super) enum Fall {
    /// A step failed.
    Failed(Failure),
    /// The machine changed under the plan.
    Outdated(String),
}

#[derive(Debug)]
pub(super) struct Infra {
    pub(super) child: Child,
    pub(super) step: StepId,
}

pub(super) struct Pod<'a> {
    pub(super) store: Store,
    pub(super) dir: PodDir,
    pub(super) detach: bool,
    pub(super) script: Script,
    pub(super) journal: Journal,
    pub(super) life: Life,
    pub(super) steps: Steps,
    pub(super) machine: &'a mut Machine,
    pub(super) events: Events,
    pub(super) signals: &'a SignalFd,
    pub(super) locks: Option<Locks>,
    /// Held until the pod is gone.
    pub(super) life_lock: Locks,
    pub(super) listener: UnixListener,
    pub(super) client: Option<Connection>,
    pub(super) connections: BTreeMap<u32, Connection>,
    pub(super) next_connection: u32,
    /// What connections wait for, and of which containers.
    pub(super) goals: BTreeMap<u32, (Goal, Vec<usize>)>,
    pub(super) infra: Option<Infra>,
    pub(super) units: Vec<Unit>,
    /// Containers that have ended since the pod is to end, not let go of yet.
    pub(super) dead: Vec<Created>,
    /// Processes of other runtimes, until they are reaped.
    pub(super) helpers: Vec<OwnedFd>,
    pub(super) fall: Option<Fall>,
    pub(super) history: History,
    /// The pod's status as it was noted last.
    pub(super) noted: Option<PodStatus>,
    pub(super) record: PodRecord,
    /// What clients are told when it is written down.
    pub(super) news: Vec<Event>,
    /// When what changed is written down at the latest.
    pub(super) record_due: Option<Instant>,
    /// When what it says of waiting is old.
    pub(super) record_old: Option<Instant>,
    /// When to give back what a start needed.
    pub(super) rest_due: Option<Instant>,
    /// Memory is given back right before the next wait: what runs after it comes back, a window of 64 KiB for each place.
    lets_go: bool,
    /// The step that failed for what somebody else has made.
    pub(super) not_ours: Option<StepId>,
    pub(super) firewall: Firewall,
}

/// Blocks what would end us and reads it from a descriptor instead.
pub(super) fn take_signals() -> Result<SignalFd, SuperviseError> {
    let signals = |errno: nix::errno::Errno| SuperviseError::Signals { source: errno.into() };
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().map_err(signals)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(signals)
}

impl<'a> Pod<'a> {
    /// Takes over from the client: from here on the pod has a directory, a journal and a listener, and
    /// its name is no longer locked.
    pub(super) fn new(
        received: Received,
        machine: &'a mut Machine,
        signals: &'a SignalFd,
    ) -> Result<Self, SuperviseError> {
        let Received { handover, header, locks, client, own } = received;
        let Handover { store, detach, steps, mut record, secrets } = handover;
        machine.secrets = secrets;
        record.compact();
        let dir = store.pod(&record.name);
        let plan = journal::plan_of(&header)
            .map_err(|source| StateError::Damaged { path: dir.journal(), source })?;
        let life_lock = Locks::open(&store.run)?;
        life_lock.take(Range::Life(&record.name))?;
        dir.create()?;
        let journal = Journal::create(&dir.journal(), &header)?;
        let listener = listen(&dir.socket()).map_err(|source| SuperviseError::Listen { source })?;
        record.supervisor = own.unwrap_or(record.supervisor);
        dir.write_record(&record)?;
        locks.release(Range::Pod(&record.name))?;
        let client = Connection::new(client).map_err(|source| SuperviseError::Client { source })?;
        let firewall = Firewall::new(&plan);
        let names: Vec<_> = record.containers.iter().map(|one| one.name.clone()).collect();
        let mut pod = Self {
            life: Life::new(&plan, &names, Instant::now()),
            units: names.iter().map(|_| Unit::default()).collect(),
            history: History::new(&store.logs(&record.name)),
            noted: None,
            steps: Steps::new(plan.steps.len(), steps),
            script: Script::new(plan, header),
            store,
            dir,
            detach,
            journal,
            machine,
            events: Events::new().map_err(|source| SuperviseError::Wait { source })?,
            signals,
            locks: Some(locks),
            life_lock,
            listener,
            client: Some(client),
            connections: BTreeMap::new(),
            next_connection: 0,
            goals: BTreeMap::new(),
            infra: None,
            dead: Vec::new(),
            helpers: Vec::new(),
            fall: None,
            record,
            news: Vec::new(),
            record_due: None,
            record_old: None,
            rest_due: None,
            lets_go: false,
            not_ours: None,
            firewall,
        };
        pod.watch_fixed().map_err(|source| SuperviseError::Wait { source })?;
        pod.make_log_directory()?;
        pod.note_status();
        Ok(pod)
    }

    fn watch_fixed(&self) -> io::Result<()> {
        self.events.watch(self.signals.as_fd(), Token::Signals)?;
        self.events.watch(&self.listener, Token::Listener)?;
        match &self.client {
            Some(client) => self.events.watch(client, Token::Client),
            None => Ok(()),
        }
    }

    /// Until the pod is gone.
    pub(super) fn live(mut self) -> Result<Verdict, SuperviseError> {
        loop {
            if self.life.has_step() {
                self.begin_next_step();
                // Between steps: a report may make more ready, and a stop may end it all.
                self.react(Some(Instant::now()))?;
            } else {
                self.write_record_if_due();
                if !self.is_record_due_soon() {
                    self.history.write();
                    self.journal.flush();
                }
                let deadline = self.next_deadline();
                self.react(deadline)?;
            }
            if let Some(verdict) = self.check_end() {
                return Ok(verdict);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let life = self.life.next_deadline().into_iter();
        let record = self.record_due.into_iter().chain(self.record_old);
        life.chain(record).chain(self.firewall.due()).chain(self.rest_due).min()
    }

    fn react(&mut self, deadline: Option<Instant>) -> Result<(), SuperviseError> {
        let lets_go = std::mem::take(&mut self.lets_go);
        let tokens = self
            .events
            .wait(deadline, lets_go)
            .map_err(|source| SuperviseError::Wait { source })?;
        for token in tokens {
            self.handle(token);
        }
        self.meet_deadlines();
        Ok(())
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Client => self.hear_client(),
            Token::Signals => {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.begin_stop("its supervisor was told to end by a signal");
            }
            Token::Listener => self.accept(),
            Token::Connection(index) => self.hear(index),
            Token::InfraReport => self.infra_reports(),
            Token::InfraEnd => self.infra_ended(),
            Token::Report(index) => self.container_reports(index as usize),
            Token::End(index) => self.process_ended(index as usize),
            Token::Emptied(index) => self.check_emptied(index as usize),
            Token::Stdout(index) => self.output_came(index as usize, Stream::Stdout),
            Token::Stderr(index) => self.output_came(index as usize, Stream::Stderr),
            Token::Terminal(index) => self.terminal_came(index as usize),
            Token::TableLost => self.firewall_changed(),
            Token::Check(number) => self.check_came(number),
            Token::CheckOutput(number) => self.check_output(number),
            Token::Notify(index) => self.notified(index as usize),
            Token::Helper => self.helper_ended(),
        }
    }

    /// Tells the machine of states, and does what it says. All that comes of it is heard as of one moment: a check that
    /// answers at once would else make others due meanwhile, and with many of them nobody would be listened to again.
    pub(super) fn tell_life(&mut self, event: life::Event) {
        if let life::Event::Told(index, life::Task::PostStart, life::Answer::Good) = event {
            self.mark(index, Mark::Started);
        }
        let now = Instant::now();
        let mut acts: VecDeque<Act> = self.life.hear(event, now).into();
        while let Some(act) = acts.pop_front() {
            for event in self.obey(act) {
                acts.extend(self.life.hear(event, now));
            }
        }
        self.note_status();
        self.answer_goals();
    }

    /// What comes of it at once.
    fn obey(&mut self, act: Act) -> Vec<life::Event> {
        match act {
            Act::Create(index) => return self.create_again(index),
            Act::Ask(index) => return self.ask_to_stop(index),
            Act::Kill(index, why) => self.kill(index, why),
            Act::Empty(index) => return self.empty(index),
            Act::Begin(index, task) => {
                self.note_waiting(index);
                return self.begin_task(index, task);
            }
            Act::Cancel(index, task) => {
                self.note_waiting(index);
                self.cancel_task(index, task);
            }
            Act::Readiness(index, ready) => self.readiness_changed(index, ready),
            Act::AllReady => self.all_ready(),
            Act::Changed(index, status, cause) => self.container_changed(index, status, cause),
            Act::Up => self.is_up(),
            Act::Over { code } => self.is_over(code),
        }
        Vec::new()
    }

    /// The client of `up` says that the pod is to end, or that it is gone itself.
    fn hear_client(&mut self) {
        let Some(client) = &mut self.client else { return };
        send_on(&self.events, client, Token::Client);
        match client.request() {
            Ok(wire::Received::Nothing) => {}
            Ok(wire::Received::Frame(Request::Hurry)) => self.hurry(),
            Ok(wire::Received::Frame(_)) => self.begin_stop("`up` was interrupted"),
            Ok(wire::Received::Closed) | Err(_) => {
                self.events.forget(client.as_fd());
                self.client = None;
                if !self.detach {
                    self.begin_stop("`up` in front is gone");
                }
            }
        }
    }

    fn accept(&mut self) {
        let Some(connection) = Connection::accept(&self.listener) else { return };
        let index = self.next_connection;
        self.next_connection = index.wrapping_add(1);
        if self.events.watch(&connection, Token::Connection(index)).is_ok() {
            self.connections.insert(index, connection);
        }
    }

    fn hear(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(&index) else { return };
        send_on(&self.events, connection, Token::Connection(index));
        match connection.request() {
            Ok(wire::Received::Nothing) => {}
            Ok(wire::Received::Frame(request)) => self.obey_request(index, request),
            Ok(wire::Received::Closed) | Err(_) => {
                self.events.forget(connection.as_fd());
                self.connections.remove(&index);
                self.goals.remove(&index);
                self.count_watchers();
            }
        }
    }

    pub(super) fn tell_one(&mut self, index: u32, event: &Event) {
        self.write_news();
        if let Some(connection) = self.connections.get_mut(&index) {
            tell(&self.events, connection, Token::Connection(index), event);
        }
    }

    /// Tells everyone who listens.
    pub(super) fn tell(&mut self, event: &Event) {
        self.write_news();
        self.tell_all(event);
    }

    /// What is news comes before whatever is told now.
    fn write_news(&mut self) {
        if !self.news.is_empty() {
            self.write_record();
        }
    }

    pub(super) fn tell_news(&mut self) {
        for event in std::mem::take(&mut self.news) {
            self.tell_all(&event);
        }
    }

    /// The end of one is noticed where it is waited for (`hear_client`): it may be the pod's.
    fn tell_all(&mut self, event: &Event) {
        if let Some(client) = &mut self.client {
            tell(&self.events, client, Token::Client, event);
        }
        let of_one = matches!(event, Event::Container(_));
        for (index, connection) in &mut self.connections {
            if of_one && connection.terse {
                continue;
            }
            tell(&self.events, connection, Token::Connection(*index), event);
        }
    }

    fn meet_deadlines(&mut self) {
        self.tend_firewall_if_due();
        if self.rest_due.is_some_and(|due| due <= Instant::now()) {
            self.rest();
        }
        if self.life.next_deadline().is_some_and(|at| at <= Instant::now()) {
            self.tell_life(life::Event::Tick);
        }
    }

    pub(super) fn step(&self, id: StepId) -> Result<Rc<Step>, StateError> {
        self.script.step(id, &self.journal)
    }

    /// What a container is started with.
    pub(super) fn launch(&self, index: usize) -> Result<Rc<Launch>, ExecError> {
        match &*self.step(self.life.container(index).create)? {
            Step::CreateContainer(launch) => Ok(launch.clone()),
            _ => Err(ExecError::NotCreated),
        }
    }

    /// Something was started. What follows it at once is to be over before memory is given back.
    pub(super) fn rest_soon(&mut self) {
        self.rest_due = Some(Instant::now() + REST_AFTER);
    }

    /// Nobody waits for anything: what only a start needs is given back.
    fn rest(&mut self) {
        self.rest_due = None;
        if self.life.stage == Stage::Up && self.script.put_away(|id| self.life.is_done(id)) {
            memory::gather(|| self.relocate());
        }
        self.history.rest();
        self.lets_go = true;
    }

    /// Allocates anew what stays for as long as the pod.
    fn relocate(&mut self) {
        self.script.relocate();
        self.life = self.life.clone();
        self.record = self.record.clone();
        let mut units = Vec::with_capacity(self.units.len());
        units.append(&mut self.units);
        self.units = units;
        self.units.iter_mut().for_each(Unit::relocate);
    }

    pub(super) fn name(&self, index: usize) -> &ContainerName {
        &self.life.container(index).name
    }
}

/// Tells a client, and waits for room where it is slow.
pub(super) fn tell(events: &Events, client: &mut Connection, token: Token, event: &Event) {
    if client.tell(event).is_err() {
        client.hang_up();
    } else if client.has_unsent() {
        events.watch_room(client.as_fd(), token, true);
    }
}

fn send_on(events: &Events, client: &mut Connection, token: Token) {
    if !client.has_unsent() {
        return;
    }
    if client.send_on().is_err() {
        client.hang_up();
    }
    events.watch_room(client.as_fd(), token, client.has_unsent());
}
