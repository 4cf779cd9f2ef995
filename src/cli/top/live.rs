//! The loop of the whole screen: waits for keys, signals, changes of pods and logs, answers, and the next
//! second; tells the model, and draws when something is new, at most so often that a flood of a log costs little.

use super::input;
use super::job::{self, Job};
use super::log::Log;
use super::model::{Effect, Model, Run, Tone, Verb};
use super::session::Session;
use super::source::Source;
use super::tail::Tail;
use super::view::{self, Places};
use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::signals;
use crate::cli::stats::{GLANCE, TICK};
use crate::cli::target::Target;
use crate::cli::terminal::wait;
use crate::state::store::Store;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io;
use std::time::{Duration, Instant};

/// Between two drawings.
const FRAME: Duration = Duration::from_millis(40);
/// So long no key is pressed before a question can be answered: who types for something else does not stop.
const READ: Duration = Duration::from_millis(300);

struct Live<'a> {
    store: &'a Store,
    session: Session,
    source: Source<'a>,
    model: Model,
    tail: Option<Tail>,
    /// What could not be read as a log is not tried again until something else is selected.
    without_log: Option<Run>,
    jobs: Vec<Job>,
    color: bool,
    /// When the next sample is due, and when the one before was taken.
    due: Instant,
    sampled: Instant,
    drawn: Instant,
    typed: Instant,
    is_new: bool,
}

/// What has come.
struct Woken {
    keys: bool,
    hung_up: bool,
    pods: bool,
    log: bool,
}

/// Until the user has seen enough.
pub(super) fn run(store: &Store, target: Option<Target>) -> Result<(), CliError> {
    // Before anything is drawn: it starts this program anew. Where it cannot, a shell says why.
    let _ = crate::cli::oci::seal();
    let source = Source::open(store, target.as_ref().map(|target| target.pod.clone()))?;
    let color = output::stdout_colors();
    let now = Instant::now();
    let mut live = Live {
        store,
        session: Session::enter()?,
        source,
        model: Model::new(target),
        tail: None,
        without_log: None,
        jobs: Vec::new(),
        color,
        due: now + GLANCE,
        sampled: now,
        drawn: now,
        typed: now,
        is_new: true,
    };
    live.read_pods()?;
    live.sample();
    live.draw()?;
    while live.turn()? {}
    Ok(())
}

impl Live<'_> {
    /// Waits for something, and does what it asks for; `false` at the end.
    fn turn(&mut self) -> Result<bool, CliError> {
        let woken = self.wait()?;
        if woken.hung_up {
            return Ok(false);
        }
        if woken.pods {
            self.read_pods()?;
        }
        if woken.log {
            self.read_log();
        }
        self.hear_answers();
        if self.due <= Instant::now() {
            self.due = Instant::now() + TICK;
            self.read_pods()?;
            self.sample();
        }
        if !self.obey_signals()? || (woken.keys && !self.obey_keys()?) {
            return Ok(false);
        }
        if self.model.has_unread() && self.typed.elapsed() >= READ {
            self.model.set_read();
            self.is_new = true;
        }
        self.choose_log();
        if self.is_new && self.drawn.elapsed() >= FRAME {
            self.draw()?;
        }
        Ok(true)
    }

    fn wait(&self) -> Result<Woken, CliError> {
        let stdin = io::stdin();
        let mut fds = vec![
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(&self.session.signals, PollFlags::IN),
            PollFd::new(&self.source, PollFlags::IN),
        ];
        fds.extend(self.jobs.iter().map(|job| PollFd::new(job, PollFlags::IN)));
        let log_at = fds.len();
        // A flood is looked at with each picture, and not with each line.
        let quiet = if self.is_new { FRAME.saturating_sub(self.drawn.elapsed()) } else { TICK };
        fds.extend(self.tail.iter().map(|tail| PollFd::new(tail, PollFlags::IN)));
        if self.is_new {
            fds.truncate(log_at);
        }
        let mut left = self.due.saturating_duration_since(Instant::now()).min(quiet);
        if self.model.has_unread() {
            left = left.min(READ.saturating_sub(self.typed.elapsed()));
        }
        let left = Timespec::try_from(left).ok();
        wait(&mut fds, left.as_ref()).map_err(|error| CliError::host("cannot wait", &error))?;
        let came = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let ends = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(Woken {
            keys: came(0),
            hung_up: fds[0].revents().intersects(ends),
            pods: came(2),
            log: self.is_new || came(log_at),
        })
    }

    fn read_pods(&mut self) -> Result<(), CliError> {
        let pods = self.source.pods()?;
        if pods != self.model.pods {
            self.model.set_pods(pods);
            // A log may have begun with it.
            self.without_log = None;
            self.is_new = true;
        }
        Ok(())
    }

    /// One that goes away while it is read is no error here: the next sample has no such one.
    fn sample(&mut self) {
        if let Ok(Some(sample)) = self.source.sample() {
            self.model.set_usage(&sample, self.sampled.elapsed());
            self.is_new = true;
        }
        self.sampled = Instant::now();
    }

    fn read_log(&mut self) {
        if let Some(tail) = &mut self.tail {
            let before = self.model.log.written();
            tail.read(&mut self.model.log);
            self.is_new |= self.model.log.written() != before;
        }
    }

    /// The log of what is selected now.
    fn choose_log(&mut self) {
        let wanted = self.model.selected_run();
        if self.tail.as_ref().map(Tail::of) == wanted.as_ref() || self.without_log == wanted {
            return;
        }
        self.is_new = true;
        (self.tail, self.without_log, self.model.log) = (None, None, Log::default());
        let Some(wanted) = wanted else { return };
        match Tail::open(self.store, wanted.clone()) {
            Ok((tail, log)) => (self.tail, self.model.log) = (Some(tail), log),
            Err(_) => self.without_log = Some(wanted),
        }
    }

    fn hear_answers(&mut self) {
        let mut going = Vec::new();
        for mut job in std::mem::take(&mut self.jobs) {
            match job.answer() {
                None => going.push(job),
                Some(answer) => {
                    self.is_new = true;
                    let (verb, target) = (job.verb, job.target);
                    match answer {
                        Ok(()) => self.model.say(Tone::Done, format!("{target}: {}", done(verb))),
                        Err(error) => self.say_error(error),
                    }
                }
            }
        }
        self.jobs = going;
    }

    fn say_error(&mut self, error: CliError) {
        let (message, hint) = (error.message(), error.hint());
        let causes: Vec<String> = error.causes().into_iter().filter(|it| *it != message).collect();
        let parts = [vec![message], causes, hint.into_iter().collect()].concat();
        self.model.say(Tone::Error, output::sanitize(&parts.join("; ")));
        self.is_new = true;
    }

    /// `false`: one of them ends us.
    fn obey_signals(&mut self) -> Result<bool, CliError> {
        for signal in signals::read(&self.session.signals).collect::<Vec<_>>() {
            match signal {
                Signal::SIGWINCH => self.is_new = true,
                Signal::SIGTSTP => self.suspend()?,
                // Somebody stopped us without a word.
                Signal::SIGCONT => self.redraw()?,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// `false`: one of them ends us.
    fn obey_keys(&mut self) -> Result<bool, CliError> {
        let failed = |error: io::Error| CliError::host("cannot read keys", &error);
        while let Some(event) = self.session.typed().map_err(failed)? {
            (self.is_new, self.typed) = (true, Instant::now());
            let Some(command) = input::command(&event, self.model.place()) else { continue };
            match self.model.obey(command) {
                None => {}
                Some(Effect::Quit) => return Ok(false),
                Some(Effect::Suspend) => self.suspend()?,
                Some(Effect::Redraw) => self.redraw()?,
                Some(Effect::Ask(verb, target)) => self.ask(verb, target),
                Some(Effect::Shell(target)) => self.shell(&target)?,
            }
        }
        Ok(true)
    }

    fn ask(&mut self, verb: Verb, target: Target) {
        match Job::begin(self.store, verb, target) {
            Ok(job) => {
                let text = format!("{}: {}", job.target, doing(verb));
                self.model.say(Tone::Busy, text);
                self.jobs.push(job);
            }
            Err(error) => self.say_error(error),
        }
    }

    fn shell(&mut self, target: &Target) -> Result<(), CliError> {
        let shell = match job::shell(self.store, target) {
            Ok(shell) => shell,
            Err(error) => {
                self.say_error(error);
                return Ok(());
            }
        };
        let store = self.store;
        let ended = self.session.aside(|| {
            output::error_line(&format!("a shell in {target}; `exit` or Ctrl-D leads back"));
            shell.run(store)
        })?;
        if let Err(error) = ended {
            self.say_error(error);
        }
        self.is_new = true;
        Ok(())
    }

    fn suspend(&mut self) -> Result<(), CliError> {
        self.session.suspend()?;
        self.is_new = true;
        Ok(())
    }

    fn redraw(&mut self) -> Result<(), CliError> {
        self.session.take_again()?;
        self.is_new = true;
        Ok(())
    }

    fn draw(&mut self) -> Result<(), CliError> {
        let (model, color) = (&mut self.model, self.color);
        let drawn = self.session.terminal.draw(|frame| {
            let (rows, lines) = Places::of(frame.area(), model).room();
            model.fit(rows, lines);
            view::draw(model, jiff::Timestamp::now(), color, frame.buffer_mut());
        });
        drawn.map_err(|error| CliError::host("cannot draw", &error))?;
        self.is_new = false;
        self.drawn = Instant::now();
        Ok(())
    }
}

fn doing(verb: Verb) -> &'static str {
    match verb {
        Verb::Restart => "restarting...",
        Verb::Stop => "stopping...",
    }
}

fn done(verb: Verb) -> &'static str {
    match verb {
        Verb::Restart => "restarted",
        Verb::Stop => "stopped",
    }
}
