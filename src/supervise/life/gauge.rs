//! One probe of a running container: when it is asked, and what its answers in a row mean.
//!
//! Until it has succeeded for the first time a startup or readiness probe is asked again as soon as that costs
//! little, so that readiness is seen when it is there and not an interval later; failures count once an
//! interval all the same. What can be waited for (a line, a file, a message) is asked once an interval, and
//! answers when it happens.

use crate::plan::health::{Check, Probe};
use std::time::{Duration, Instant};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Good,
    /// Nobody was there to be asked: to ask again disturbs nobody.
    Absent(String),
    Bad(String),
    /// What was begun before has not ended: it fails again, as it has failed.
    Busy,
}

const BUSY: &str = "its last run is still ending";

impl Answer {
    /// What is wrong, in words.
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Good => "",
            Self::Absent(words) | Self::Bad(words) => words,
            Self::Busy => BUSY,
        }
    }
}

/// What an answer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Unchanged,
    Passes,
    Fails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Due(Instant),
    Asked {
        since: Instant,
        until: Instant,
    },
    /// It has been answered for good.
    Settled,
}

/// The shortest time between two checks.
const SHORTEST: Duration = Duration::from_millis(1);
/// What each probe adds to that, of those that are asked eagerly at the same time.
const CROWDED: Duration = Duration::from_micros(50);
/// Which part of the time since its beginning passes between two checks, where nobody was there to be asked,
/// and where somebody had to answer.
const UNHEARD: u32 = 256;
const HEARD: u32 = 16;
/// Which part of its interval early one that passes may be asked, where the supervisor is awake for another: each time
/// that it wakes costs, and who is asked together stays together.
const EARLY: u32 = 20;
/// A program is run at most for so much of the time: one part in five.
const IDLE: u32 = 4;

#[derive(Debug, Clone)]
pub(super) struct Gauge {
    probe: Probe,
    /// Of startup and readiness.
    is_eager: bool,
    state: State,
    began: Option<Instant>,
    /// In this spell: since it began, or since it answered well for the last time.
    spell: Option<Instant>,
    tries: u32,
    successes: u32,
    failures: u32,
    /// A failure before this moment does not count.
    counts_from: Option<Instant>,
    /// What is said of it now.
    passes: bool,
    /// It has passed in this run.
    has_passed: bool,
    good_at: Option<Instant>,
    last: Option<String>,
}

impl Gauge {
    pub(super) fn new(probe: Probe, is_eager: bool) -> Self {
        Self {
            probe,
            is_eager,
            state: State::Off,
            began: None,
            spell: None,
            tries: 0,
            successes: 0,
            failures: 0,
            counts_from: None,
            passes: false,
            has_passed: false,
            good_at: None,
            last: None,
        }
    }

    /// Begins anew.
    pub(super) fn open(&mut self, now: Instant) {
        let first = now + self.probe.initial_delay;
        *self = Self::new(self.probe.clone(), self.is_eager);
        self.state = State::Due(first);
        (self.began, self.spell) = (Some(first), Some(first));
        self.counts_from = self.is_eager.then(|| first + self.probe.interval);
    }

    /// Asks no more; whether a check is under way.
    pub(super) fn close(&mut self) -> bool {
        let was = std::mem::replace(&mut self.state, State::Off);
        self.passes = false;
        matches!(was, State::Asked { .. })
    }

    /// It has been answered for this run.
    pub(super) fn settle(&mut self) {
        self.state = State::Settled;
    }

    pub(super) fn passes(&self) -> bool {
        self.passes
    }

    pub(super) fn is_open(&self) -> bool {
        self.state != State::Off
    }

    /// Whether it is asked again and again as fast as is cheap.
    pub(super) fn is_hasty(&self) -> bool {
        self.is_eager
            && !self.has_passed
            && !self.probe.check.is_event()
            && matches!(self.state, State::Due(_) | State::Asked { .. })
    }

    /// When it answered well for the last time.
    pub(super) fn good_at(&self) -> Option<Instant> {
        self.good_at
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Due(at) | State::Asked { until: at, .. } => Some(at),
            State::Off | State::Settled => None,
        }
    }

    /// Whether the check waits for something to happen.
    pub(super) fn waits(&self) -> bool {
        match self.probe.check {
            Check::File { .. } => self.is_eager && !self.passes,
            _ => self.probe.check.is_event(),
        }
    }

    /// Whether there is something to do now: to ask, or to wait no longer.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_steady = self.passes && self.last.is_none();
        let early = if is_steady { self.probe.interval / EARLY } else { Duration::ZERO };
        match self.state {
            State::Due(at) => at <= now + early,
            State::Asked { until, .. } => until <= now,
            State::Off | State::Settled => false,
        }
    }

    /// Whether a check is to begin now; it is under way then.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if !matches!(self.state, State::Due(_)) || !self.is_due(now) {
            return false;
        }
        let patience = if self.waits() { self.probe.interval } else { self.probe.timeout };
        self.state = State::Asked { since: now, until: now + patience };
        true
    }

    /// The answer of a check that has had its time.
    pub(super) fn expired(&self, now: Instant) -> Option<Answer> {
        let State::Asked { until, .. } = self.state else { return None };
        if until > now {
            return None;
        }
        Some(Answer::Absent(match (self.missing(), &self.probe.check) {
            // What it has said itself, such as STOPPING=1, says more.
            (Some(_), Check::Notify) if self.last.is_some() => {
                self.last.clone().unwrap_or_default()
            }
            (Some(missing), _) => missing.to_owned(),
            (None, Check::Notify) => format!("no WATCHDOG=1 within {:?}", self.probe.interval),
            (None, _) => format!("no answer within {:?}", self.probe.timeout),
        }))
    }

    /// What has not happened, of what is waited for.
    fn missing(&self) -> Option<&'static str> {
        match self.probe.check {
            Check::Log { .. } => Some("no line matches"),
            Check::File { .. } if self.waits() => Some("it is not there"),
            Check::Notify if self.is_eager => Some("no READY=1"),
            _ => None,
        }
    }

    /// Takes an answer in. `crowd`: how many probes are hasty now.
    pub(super) fn take(&mut self, answer: Answer, now: Instant, crowd: u32) -> Verdict {
        let State::Asked { since, .. } = self.state else { return Verdict::Unchanged };
        if self.has_passed && self.last.is_none() && answer != Answer::Good {
            (self.tries, self.spell) = (0, self.good_at);
        }
        self.tries = self.tries.saturating_add(1);
        match answer {
            Answer::Good => self.succeed(now),
            Answer::Absent(words) => self.fail(words, now, self.next(now, since, UNHEARD, crowd)),
            Answer::Bad(words) => self.fail(words, now, self.next(now, since, HEARD, crowd)),
            Answer::Busy => {
                let words = self.last.clone().unwrap_or_else(|| BUSY.to_owned());
                self.fail(words, now, self.next(now, since, UNHEARD, crowd))
            }
        }
    }

    fn succeed(&mut self, now: Instant) -> Verdict {
        self.successes = self.successes.saturating_add(1);
        self.failures = 0;
        self.last = None;
        self.good_at = Some(now);
        let passes = self.passes || self.successes >= self.probe.successes;
        let verdict = if passes && !self.passes { Verdict::Passes } else { Verdict::Unchanged };
        self.passes = passes;
        self.has_passed |= passes;
        self.state = match self.probe.check {
            // A line that has come does not go.
            Check::Log { .. } | Check::Notify if self.is_eager && passes => State::Settled,
            Check::Log { .. } | Check::Notify => State::Due(now),
            _ => State::Due(now + self.probe.interval),
        };
        verdict
    }

    fn fail(&mut self, words: String, now: Instant, next: Instant) -> Verdict {
        self.last = Some(words);
        self.successes = 0;
        if self.has_passed || self.counts_from.is_none_or(|from| from <= now) {
            self.failures = self.failures.saturating_add(1);
            self.counts_from = self.is_eager.then(|| now + self.probe.interval);
        }
        self.state = State::Due(next);
        if self.failures < self.probe.failures {
            return Verdict::Unchanged;
        }
        self.passes = false;
        Verdict::Fails
    }

    /// When it is asked again after a failure. What waits for something has waited, unless it could not even begin.
    fn next(&self, now: Instant, since: Instant, part: u32, crowd: u32) -> Instant {
        match self.waits() && since < now {
            true => now,
            false => now + self.gap(now, since, part, crowd),
        }
    }

    fn gap(&self, now: Instant, since: Instant, part: u32, crowd: u32) -> Duration {
        let interval = self.probe.interval;
        if !self.is_eager || self.has_passed {
            return interval;
        }
        let elapsed =
            self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let mut gap = (elapsed / part).max(SHORTEST + CROWDED * crowd);
        if matches!(self.probe.check, Check::Exec { .. }) {
            gap = gap.max(now.saturating_duration_since(since) * IDLE);
        }
        // And it is asked when its failure counts.
        let counts = self.counts_from.map(|from| from.saturating_duration_since(now));
        gap.min(interval).min(counts.filter(|left| !left.is_zero()).unwrap_or(interval))
    }

    /// What was answered for good is taken back.
    pub(super) fn revoke(&mut self, now: Instant, why: &str) {
        if self.state == State::Settled {
            self.passes = false;
            self.successes = 0;
            self.last = Some(why.to_owned());
            (self.tries, self.spell) = (0, Some(now));
            self.state = State::Due(now);
        }
    }

    /// `tcp 5432: refused, 14 tries, 1.2 s`: since its begin, or since it answered well.
    pub(super) fn words(&self, now: Instant) -> String {
        let mut text = self.probe.check.to_string();
        let missing = self.missing().filter(|_| !self.has_passed);
        if let Some(last) = self.last.as_deref().or(missing) {
            text += &format!(": {last}");
        }
        if !self.waits() && self.tries > 0 {
            text += &format!(", {} {}", self.tries, if self.tries == 1 { "try" } else { "tries" });
        }
        match self.spell {
            Some(began) if began <= now => text + &format!(", {}", seconds(now - began)),
            Some(began) => text + &format!(", first asked in {}", seconds(began - now)),
            None => text,
        }
    }
}

/// As a person is told of it: `250 ms`, `3.1 s`, `2m05s`.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        0.0..1.0 => format!("{:.0} ms", seconds * 1000.0),
        1.0..60.0 => format!("{seconds:.1} s"),
        _ => format!("{}m{:02}s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const CHECKS: [fn() -> Check; 5] = [
        || Check::Tcp { port: 80 },
        || Check::Exec { argv: vec!["a".to_owned()] },
        || Check::Log { pattern: "a".to_owned() },
        || Check::File { path: PathBuf::from("/a") },
        || Check::Notify,
    ];

    fn gauge(check: Check, is_eager: bool, failures: u32) -> Gauge {
        let (interval, timeout) = (Duration::from_secs(10), Duration::from_secs(1));
        let probe = Probe {
            check,
            initial_delay: Duration::ZERO,
            interval,
            timeout,
            successes: 1,
            failures,
        };
        Gauge::new(probe, is_eager)
    }

    #[test]
    fn what_could_not_even_begin_is_not_asked_again_at_once() {
        for (check, is_eager) in CHECKS.iter().flat_map(|check| [(check, true), (check, false)]) {
            let (mut gauge, start) = (gauge(check(), is_eager, 3), Instant::now());
            gauge.open(start);
            let (mut now, mut asked) = (start, 0);
            while now < start + Duration::from_secs(60) {
                assert!(gauge.ask(now), "{gauge:?}");
                gauge.take(Answer::Busy, now, 1);
                let next = gauge.deadline().unwrap();
                assert!(next > now, "asked again in the same moment: {gauge:?}");
                (now, asked) = (next, asked + 1);
            }
            // A part of the time that has passed: a logarithm of it, and never a loop.
            assert!((6..5000).contains(&asked), "{asked} times: {gauge:?}");
        }
    }

    /// Of many probes in one second most would wake the supervisor for themselves alone.
    #[test]
    fn one_that_passes_is_asked_with_others_that_are_due_a_little_sooner() {
        let (mut gauge, start) = (gauge(Check::Tcp { port: 80 }, false, 3), Instant::now());
        gauge.open(start);
        assert!(gauge.ask(start));
        gauge.take(Answer::Good, start, 1);
        let due = gauge.deadline().unwrap();
        assert_eq!(due, start + Duration::from_secs(10), "nobody is woken sooner for it");
        assert!(!gauge.ask(due - Duration::from_millis(501)));
        assert!(gauge.ask(due - Duration::from_millis(500)));
        gauge.take(Answer::Bad("no".to_owned()), due, 1);
        let due = gauge.deadline().unwrap();
        assert!(!gauge.ask(due - Duration::from_millis(1)), "what fails has its whole interval");
    }

    #[test]
    fn what_has_waited_in_vain_waits_on_without_a_gap() {
        for check in &CHECKS[2..] {
            let (mut gauge, start) = (gauge(check(), true, 3), Instant::now());
            gauge.open(start);
            assert!(gauge.ask(start));
            let over = gauge.deadline().unwrap();
            let answer = gauge.expired(over).unwrap();
            gauge.take(answer, over, 1);
            // That it is cleared away is no news to anybody.
            let said = gauge.words(over);
            assert!(gauge.ask(over));
            gauge.take(Answer::Busy, over, 1);
            assert_eq!(gauge.words(over), said);
            gauge.take(Answer::Busy, over, 1);
            let over = gauge.deadline().unwrap();
            assert!(gauge.ask(over), "what happens meanwhile would be missed: {gauge:?}");
        }
    }

    #[test]
    fn what_a_program_has_said_of_itself_is_told_until_it_says_otherwise() {
        let (mut gauge, start) = (gauge(Check::Notify, true, 3), Instant::now());
        gauge.open(start);
        assert!(gauge.ask(start) && gauge.words(start).contains("no READY=1"));
        assert_eq!(gauge.take(Answer::Good, start, 1), Verdict::Passes);
        gauge.revoke(start, "STOPPING=1");
        assert!(gauge.ask(start));
        let over = gauge.deadline().unwrap();
        let answer = gauge.expired(over).unwrap();
        gauge.take(answer, over, 1);
        assert!(gauge.words(over).contains("STOPPING=1"), "{}", gauge.words(over));
        assert!(!gauge.passes());
    }

    #[test]
    fn what_fails_is_counted_since_it_answered_well() {
        let (mut gauge, start) = (gauge(CHECKS[0](), false, 3), Instant::now());
        gauge.open(start);
        let mut now = start;
        let mut answer = |gauge: &mut Gauge, answer| {
            assert!(gauge.ask(now));
            gauge.take(answer, now, 1);
            let words = gauge.words(now);
            now = gauge.deadline().unwrap();
            words
        };
        let refused = || Answer::Absent("refused".to_owned());
        assert!(answer(&mut gauge, refused()).ends_with("refused, 1 try, 0 ms"));
        (0..7).for_each(|_| drop(answer(&mut gauge, Answer::Good)));
        assert!(answer(&mut gauge, refused()).ends_with("refused, 1 try, 10.0 s"));
        assert!(answer(&mut gauge, refused()).ends_with("refused, 2 tries, 20.0 s"));
        answer(&mut gauge, Answer::Good);
        assert!(answer(&mut gauge, refused()).ends_with("refused, 1 try, 10.0 s"));
    }

    /// A failure of a readiness probe does no harm before the first success, however many there are: that is what
    /// an image's start period asks for. After it each counts, however early that was.
    #[test]
    fn a_start_takes_as_long_as_it_takes_and_ends_with_the_first_success() {
        let (mut gauge, start) = (gauge(CHECKS[1](), true, 2), Instant::now());
        gauge.open(start);
        let mut now = start;
        let mut answer = |gauge: &mut Gauge, answer| {
            now = now.max(gauge.deadline().unwrap());
            assert!(gauge.ask(now));
            gauge.take(answer, now, 1)
        };
        for _ in 0..1000 {
            answer(&mut gauge, Answer::Bad("exit code 1".to_owned()));
            assert!(!gauge.passes());
        }
        assert_eq!(answer(&mut gauge, Answer::Good), Verdict::Passes);
        let bad = || Answer::Bad("exit code 1".to_owned());
        assert_eq!(answer(&mut gauge, bad()), Verdict::Unchanged, "one of two");
        assert_eq!(answer(&mut gauge, bad()), Verdict::Fails);
        assert_eq!(answer(&mut gauge, Answer::Good), Verdict::Passes);
    }
}
