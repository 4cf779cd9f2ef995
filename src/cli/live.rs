//! A pod on its way up, and in front: its containers' states as they change, then their output. On a
//! terminal the start is drawn in place, else each change is a line. What ends the client ends the pod,
//! unless it was asked to detach.

use super::board::{Board, status_style};
use super::error::CliError;
use super::logs::Follower;
use super::output::{self, paint, sanitize};
use super::ps::describe;
use super::screen::{On, Screen};
use super::{service, signals};
use crate::names::{ContainerName, PodName};
use crate::plan::step::StepId;
use crate::state::record::{ContainerRecord, ContainerStatus};
use crate::state::store::Store;
use crate::supervise::life::seconds;
use crate::supervise::protocol::{ContainerState, Event, Failure, Request};
use crate::supervise::wire::{Received, Wire};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Well,
    Code(u8),
}

pub(super) struct Live<'a> {
    store: &'a Store,
    pod: &'a PodName,
    wire: Wire,
    wants: Wants,
    begun: Instant,
    /// When that was, as logs have it.
    since: String,
    board: Board,
    /// Where the board is drawn, until the pod is ready.
    screen: Option<Screen>,
    /// All is started that can be.
    is_up: bool,
    signals: Option<SignalFd>,
    /// What all containers ended with, once they have.
    code: Option<u8>,
    follower: Option<Follower>,
    /// The logs may have grown since they were shown.
    grown: bool,
    /// The supervisor has spoken, and so made the directory of the logs.
    heard: bool,
    /// The user asked for the end.
    interrupted: bool,
    /// The pod's start is another client's.
    is_guest: bool,
    /// It is up, and one of several that are waited for and shown together: these tell the service manager as one.
    held: bool,
    /// All of it is ready, or was.
    is_ready: bool,
    is_stopping: bool,
    /// How long the start may take until a line tells what it waits for, where no board does.
    patience: Duration,
}

/// The first time; then it is twice as long each time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the client waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wants {
    /// Leave when the pod is up.
    pub(super) detach: bool,
    /// Leave when it is up, and stay its client: others are to be shown beside it (`front.rs`).
    pub(super) hold: bool,
    /// And not before it is ready.
    pub(super) ready: bool,
    pub(super) deadline: Option<Instant>,
}

/// What there is to be heard.
enum Said {
    Nothing,
    Stale,
    End(Ending),
}

/// What an event means for us.
enum Heard {
    GoOn,
    /// The machine changed: another plan may be sent.
    Stale,
    End(Ending),
}

impl<'a> Live<'a> {
    pub(super) fn new(
        store: &'a Store,
        pod: &'a PodName,
        wire: Wire,
        board: Board,
        wants: Wants,
    ) -> Self {
        Self {
            store,
            pod,
            wire,
            wants,
            begun: Instant::now(),
            since: format!("{:.9}", jiff::Timestamp::now()),
            board,
            // Who wants to see less than states, or more, is shown no board.
            screen: if output::is_normal() { Screen::open(On::Stderr) } else { None },
            is_up: false,
            signals: None,
            code: None,
            follower: None,
            grown: false,
            heard: false,
            interrupted: false,
            is_guest: false,
            held: false,
            is_ready: false,
            is_stopping: false,
            patience: PATIENCE,
        }
    }

    /// Shows until the end; the pod was up before.
    pub(super) fn show(mut self) -> Result<Ending, CliError> {
        Ok(self.show_start()?.unwrap_or(Ending::Well))
    }

    /// Shows the start that another client has begun; `None` where it came to nothing and all is undone.
    pub(super) fn show_anothers(mut self) -> Result<Option<Ending>, CliError> {
        self.is_guest = true;
        self.show_start()
    }

    /// Shows until the end; `None` where the plan is stale and all is undone.
    pub(super) fn show_start(&mut self) -> Result<Option<Ending>, CliError> {
        let shown = self.show_all();
        self.fold();
        shown
    }

    fn show_all(&mut self) -> Result<Option<Ending>, CliError> {
        if !self.wants.detach {
            self.signals = Some(take_signals(&ENDS)?);
        } else if self.screen.is_some() {
            self.signals = Some(take_signals(&[])?);
        }
        // Else there is little to do between two events, and reading waits for the next.
        let waits =
            self.signals.is_some() || self.screen.is_some() || self.wants.deadline.is_some();
        let stream = self.wire.stream();
        stream
            .set_nonblocking(waits)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .map_err(|error| CliError::host("cannot wait for the pod", &error))?;
        loop {
            match self.listen()? {
                Said::Nothing => {
                    if waits {
                        self.wait()?;
                    }
                    if self.wants.deadline.is_some_and(|at| at <= Instant::now()) {
                        return Err(self.late());
                    }
                    self.remind();
                }
                Said::Stale => return Ok(None),
                Said::End(ending) => return Ok(Some(ending)),
            }
        }
    }

    /// Hears what the supervisor has said by now: of several frames that came at once all but the first are ours
    /// already.
    fn listen(&mut self) -> Result<Said, CliError> {
        loop {
            match self.wire.receive::<Event>() {
                Ok(Received::Frame(event)) => match self.hear(event)? {
                    Heard::GoOn => {}
                    Heard::Stale => return Ok(Said::Stale),
                    Heard::End(ending) => return Ok(Said::End(ending)),
                },
                Ok(Received::Nothing) => return Ok(Said::Nothing),
                Ok(Received::Closed) | Err(_) => {
                    return self.orphaned().map(|ending| ending.map_or(Said::Stale, Said::End));
                }
            }
        }
    }

    /// In front beside others from now on: the lines of its containers begin with its name, too.
    pub(super) fn stand_beside(&mut self, shown: usize) -> usize {
        self.wants.hold = false;
        self.signals = None;
        self.open_follower();
        let Some(follower) = &mut self.follower else { return 0 };
        follower.name_pod(shown);
        follower.names().count()
    }

    /// What was said and written by now; the ending once there is one.
    pub(super) fn catch_up(&mut self) -> Result<Option<Ending>, CliError> {
        match self.listen()? {
            Said::End(ending) => Ok(Some(ending)),
            // A plan is stale before its pod is up, and this one is.
            Said::Nothing | Said::Stale => {
                self.grown = self.show_output()?;
                Ok(None)
            }
        }
    }

    /// Where more will come from.
    pub(super) fn sources(&self) -> Vec<PollFd<'_>> {
        let wire = PollFd::from_borrowed_fd(self.wire.stream().as_fd(), PollFlags::IN);
        let follower = self.follower.as_ref().map(|follower| PollFd::new(follower, PollFlags::IN));
        std::iter::once(wire).chain(follower).collect()
    }

    /// Not all that was written has been shown.
    pub(super) fn has_more(&self) -> bool {
        self.grown
    }

    pub(super) fn take_down(self) -> Result<(), CliError> {
        super::down::take_down(self.store, self.pod)?;
        output::progress(&format!("{} is down", self.pod));
        Ok(())
    }

    /// It is up, and was left to be shown beside others.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    pub(super) fn into_wire(self) -> Wire {
        // The next plan is sent as the first was.
        let stream = self.wire.stream();
        let _ = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(None));
        self.wire
    }

    /// Output and the board are shown while we wait for the supervisor; a signal asks it to end the pod.
    fn wait(&mut self) -> Result<(), CliError> {
        if self.follower.is_none() && self.heard && !self.wants.detach && !self.wants.hold {
            self.open_follower();
            self.grown = true;
        }
        let more = std::mem::take(&mut self.grown) && self.show_output()?;
        self.draw();
        let mut fds = vec![PollFd::from_borrowed_fd(self.wire.stream().as_fd(), PollFlags::IN)];
        fds.extend(self.signals.as_ref().map(|signals| PollFd::new(signals, PollFlags::IN)));
        let follower_at = fds.len();
        fds.extend(self.follower.as_ref().map(|follower| PollFd::new(follower, PollFlags::IN)));
        // The board tells how long a container has been waiting.
        let beat = (more || self.screen.is_some()).then(|| Duration::from_secs(u64::from(!more)));
        let reminder = self.may_hang().then(|| self.begun + self.patience);
        let until = [self.wants.deadline, reminder].into_iter().flatten().min();
        let left = until.map(|at| at.saturating_duration_since(Instant::now()));
        let most = [beat, left].into_iter().flatten().min();
        // What is left of a nanosecond is not waited for.
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        match poll(&mut fds, most.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                return Err(CliError::host("cannot wait", &std::io::Error::from(errno)));
            }
        }
        self.grown = more || fds.get(follower_at).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        self.obey_signals();
        Ok(())
    }

    fn open_follower(&mut self) {
        self.follower = Follower::open(self.store, self.pod, &[], true).ok();
        if let Some(follower) = &mut self.follower {
            // A container's log of an earlier run stays until it is made anew.
            follower.since = Some(self.since.clone());
        }
    }

    fn obey_signals(&mut self) {
        let ends = self.signals.as_ref().map_or(0, count_ends);
        (0..ends).for_each(|_| self.interrupt());
    }

    /// The user wants the pod's end; the second time, at once.
    pub(super) fn interrupt(&mut self) {
        let request = if std::mem::replace(&mut self.interrupted, true) {
            self.say(&format!("{}: killing whatever still runs", self.pod));
            Request::Hurry
        } else {
            Request::Down { terse: false }
        };
        // A supervisor that is gone is noticed by the next read.
        let _ = self.wire.send(&request);
    }

    /// Some of what was written; whether there is more.
    fn show_output(&mut self) -> Result<bool, CliError> {
        if let Some(screen) = &mut self.screen {
            screen.hide();
        }
        self.follower.as_mut().map_or(Ok(false), Follower::show_some)
    }

    /// Whether nobody would see why: no board is drawn.
    fn may_hang(&self) -> bool {
        self.screen.is_none() && !self.is_ready && !self.is_stopping
    }

    /// Says what a start waits for that takes long.
    fn remind(&mut self) {
        if !self.may_hang() || self.begun.elapsed() < self.patience {
            return;
        }
        self.patience *= 2;
        self.refresh();
        self.board.show_unready();
        let lines = self.board.lines(usize::MAX, 10, output::error_style().0);
        if !lines.is_empty() {
            let (yet, after) = (self.next_stage(), time(self.begun.elapsed()));
            let lines = lines.join("\n  ");
            output::progress(&format!("{}: not {yet} after {after}\n  {lines}", self.pod));
        }
    }

    /// What the pod has not come to.
    fn next_stage(&self) -> &'static str {
        if self.is_up { "ready" } else { "up" }
    }

    fn refresh(&mut self) {
        if let Ok(Some(record)) = self.store.pod(self.pod).read_record() {
            self.board.refresh(&record);
        }
    }

    fn draw(&mut self) {
        if self.screen.is_some() {
            self.refresh();
        }
        if let Some(screen) = &mut self.screen {
            let (width, height) = screen.room();
            let plain = self.board.lines(width, height, false);
            let (color, _) = output::error_style();
            let lines = if color { self.board.lines(width, height, true) } else { plain.clone() };
            screen.draw(lines, &plain);
        }
    }

    /// The whole of it stays as it is. Where we stay, what is not ready yet is shown below until it is.
    fn leave_board(&mut self) {
        self.draw();
        if let Some(screen) = &mut self.screen {
            screen.leave();
        }
        self.is_up = true;
        self.board.show_unready();
        if self.wants.detach && !self.wants.ready {
            self.screen = None;
        }
    }

    /// The board is drawn no more.
    fn fold(&mut self) {
        if let Some(mut screen) = self.screen.take() {
            screen.hide();
        }
    }

    /// A line above the board.
    fn say(&mut self, text: &str) {
        if let Some(screen) = &mut self.screen {
            screen.hide();
        }
        output::progress(text);
    }

    fn hear(&mut self, event: Event) -> Result<Heard, CliError> {
        match event {
            Event::Container(state) => self.hear_state(&state)?,
            Event::Up { never } => {
                let lost =
                    never.iter().map(|(name, why)| (name, format!("will never start: {why}")));
                return self.up(&lost.collect::<Vec<_>>());
            }
            Event::Done { containers, problems } => return self.started(&containers, &problems),
            Event::Note { text } => self.say(&sanitize(&text)),
            Event::Step { id, at, took } => self.show_step(id, at, took),
            Event::Ready => return Ok(self.ready()),
            Event::Stale { .. } => return Ok(Heard::Stale),
            Event::Failed(failure) => return Err(self.failed(failure)),
            Event::Ended { code } => {
                self.code = Some(u8::try_from(code.clamp(0, 255)).unwrap_or(1));
            }
            Event::Stopping => {
                self.is_stopping = true;
                if !self.held {
                    service::tell("STOPPING=1");
                }
                self.fold();
                if self.board.has_work() {
                    let kill = "what has not ended within its stopTimeout is killed";
                    let hurry = if self.interrupted { " (Ctrl-C again: at once)" } else { "" };
                    output::progress(&format!("{}: stopping; {kill}{hurry}", self.pod));
                }
            }
            Event::Gone { errors } => return self.gone(errors).map(Heard::End),
            // Answers to `attach`.
            Event::Attached { .. } | Event::NotAttached { .. } => {}
        }
        Ok(Heard::GoOn)
    }

    fn hear_state(&mut self, state: &ContainerState) -> Result<(), CliError> {
        self.heard = true;
        if self.wants.ready && state.status == ContainerStatus::Failed {
            let words = describe(state.status, state.exit_code, state.reason.as_deref());
            return Err(self.in_vain(&state.name, &words));
        }
        self.board.hear(state);
        if self.screen.is_none() || self.is_up {
            self.show_state(state);
        }
        Ok(())
    }

    fn show_step(&self, id: StepId, at: Duration, took: Option<Duration>) {
        let Some(words) = self.board.steps.get(id) else { return };
        output::verbose_at(at, || match took {
            None => format!("  {words}"),
            Some(took) => format!("  {words}: done in {:.2} ms", took.as_secs_f64() * 1000.0),
        });
    }

    fn failed(&self, mut failure: Failure) -> CliError {
        // A supervisor that broke off (at no step) leaves its journal, by which the rest is undone from
        // here. Otherwise all is undone, and a pod that is there now is somebody else's.
        if failure.step.is_empty()
            && let Err(error) = super::down::take_down(self.store, self.pod)
        {
            failure.leftovers.extend(error.causes());
        }
        CliError::Start { pod: self.pod.to_string(), failure: Box::new(failure), hint: None }
    }

    /// `lost`: what is not, and why. Those that wait for one thing are told together.
    fn up(&mut self, lost: &[(&ContainerName, String)]) -> Result<Heard, CliError> {
        self.leave_board();
        for alike in lost.chunk_by(|(_, one), (_, next)| one == next) {
            let names: Vec<String> =
                alike.iter().map(|(name, _)| format!("{}/{name}", self.pod)).collect();
            let text = format!("{} {}", names.join(", "), sanitize(&alike[0].1));
            output::error_line(&format!("{} {text}", output::paint_error("error:")));
        }
        let took = time(self.begun.elapsed());
        let but = match lost.len() {
            0 => String::new(),
            1 => ", but for one container".to_owned(),
            count => format!(", but for {count} containers"),
        };
        output::progress(&format!("{} is up{but} ({took})", self.pod));
        for port in &self.board.chosen {
            output::progress(&format!("{}: {port}", self.pod));
        }
        if self.wants.hold {
            self.held = true;
            return Ok(Heard::End(Ending::Well));
        }
        Ok(match (self.wants.detach, lost.is_empty()) {
            (true, true) if self.wants.ready => Heard::GoOn,
            (true, true) => Heard::End(Ending::Well),
            (true, false) => Heard::End(Ending::Code(1)),
            (false, _) => Heard::GoOn,
        })
    }

    /// All of the pod is ready.
    fn ready(&mut self) -> Heard {
        self.fold();
        self.is_ready = true;
        if !self.wants.detach && !self.held {
            service::tell("READY=1");
        }
        if !self.wants.ready {
            return Heard::GoOn;
        }
        output::progress(&format!("{} is ready ({})", self.pod, time(self.begun.elapsed())));
        Heard::End(Ending::Well)
    }

    /// One that has failed is not waited for.
    fn in_vain(&self, name: &ContainerName, is: &str) -> CliError {
        CliError::Host {
            message: format!("`{}` will not be ready: `{name}` has {is}", self.pod),
            causes: Vec::new(),
            hint: Some(format!(
                "`podspec logs {0}/{name}` shows what it said; the pod runs on: `podspec down {0}` ends it",
                self.pod
            )),
            code: 1,
        }
    }

    fn late(&self) -> CliError {
        CliError::Host {
            message: format!("`{}` is not ready after {}", self.pod, time(self.begun.elapsed())),
            causes: unready(self.store, self.pod),
            hint: Some(format!("it runs on: `podspec down {}` ends it", self.pod)),
            code: 1,
        }
    }

    /// The answer to what completes a pod that was up before.
    fn started(
        &mut self,
        containers: &[ContainerState],
        problems: &[String],
    ) -> Result<Heard, CliError> {
        for problem in problems {
            let text = format!("{}: {}", self.pod, sanitize(problem));
            self.say(&format!("{} {text}", output::paint_error("error:")));
        }
        let failed = containers.iter().filter(|one| one.status == ContainerStatus::Failed);
        let failed = failed.map(|one| {
            let words = describe(one.status, one.exit_code, one.reason.as_deref());
            (&one.name, format!("was started again: {words}"))
        });
        let lost: Vec<_> = failed.collect();
        match (self.up(&lost)?, problems.is_empty()) {
            (Heard::End(Ending::Well), false) => Ok(Heard::End(Ending::Code(1))),
            (heard, _) => Ok(heard),
        }
    }

    fn show_state(&mut self, state: &ContainerState) {
        // A name that is longer stands out: others need not stand so far off.
        let (color, columns) = output::error_style();
        let width = self.board.name_width().min(columns / 3);
        let words = describe(state.status, state.exit_code, state.reason.as_deref());
        let words = paint(&words, status_style(Some(state.status)), color);
        let line = |name: &ContainerName, words: &str| {
            format!("{}/{:<width$}  {words}", self.pod, name.as_str())
        };
        let mut lines = vec![line(&state.name, &words)];
        let waiters = self.board.waiters(state);
        lines.extend(waiters.iter().map(|(waiter, words)| line(waiter, words)));
        self.say(&lines.join("\n"));
    }

    fn gone(&mut self, errors: Vec<String>) -> Result<Ending, CliError> {
        if let Some(follower) = &mut self.follower {
            follower.show_new()?;
        }
        output::progress(&format!("{} is down", self.pod));
        if !errors.is_empty() {
            return Err(CliError::Host {
                message: format!("not all of pod `{}` could be removed", self.pod),
                causes: errors,
                hint: Some(format!("`podspec down {}` tries again", self.pod)),
                code: 1,
            });
        }
        match self.code {
            None | Some(0) if self.wants.detach => Err(self.missed()),
            code => Ok(code.map_or(Ending::Well, Ending::Code)),
        }
    }

    /// Who detaches has left before the pod ends, unless it never came to what was waited for.
    fn missed(&self) -> CliError {
        CliError::refused(
            format!("`{}` was brought down before it was {}", self.pod, self.next_stage()),
            format!("`podspec events {}` tells how it went", self.pod),
        )
    }

    /// The supervisor went away without a word: whatever it made is removed from here.
    fn orphaned(&self) -> Result<Option<Ending>, CliError> {
        super::down::take_down(self.store, self.pod)?;
        if self.is_guest {
            return Ok(None);
        }
        Err(CliError::refused(
            format!("the supervisor of `{}` died; what was done is undone", self.pod),
            "`podspec up` starts the pod anew",
        ))
    }
}

/// `7.4 ms`, `3.1 s`, `2m05s`.
fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds @ 0.0..1.0 => format!("{:.1} ms", seconds * 1000.0),
        _ => seconds(time),
    }
}

/// What each container that is not ready waits for.
fn unready(store: &Store, pod: &PodName) -> Vec<String> {
    how_are(store, pod, |one| !one.ready && one.status != ContainerStatus::Exited)
}

/// How these containers are, as their supervisor noted it.
pub(super) fn how_are(
    store: &Store,
    pod: &PodName,
    which: impl Fn(&ContainerRecord) -> bool,
) -> Vec<String> {
    let record = super::target::read(store, pod).ok().flatten();
    let containers = record.into_iter().flat_map(|record| record.containers);
    let words = containers.filter(which).map(|one| {
        let is = describe(one.status, one.exit_code, one.reason.as_deref());
        format!("{}: {is}", one.name)
    });
    words.collect()
}

pub(super) const ENDS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// What would end us is read instead; a second client of the same process takes it anew. A terminal of another
/// size wakes us, and the board is drawn anew.
pub(super) fn take_signals(ends: &[Signal]) -> Result<SignalFd, CliError> {
    signals::take(&[ends, &[Signal::SIGWINCH]].concat())
        .map_err(|error| CliError::host("cannot wait for signals", &error))
}

/// How often we were asked to end.
pub(super) fn count_ends(signals: &SignalFd) -> usize {
    signals::read(signals).filter(|signal| ENDS.contains(signal)).count()
}
