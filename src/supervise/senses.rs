//! What of a container's doings its probes wait for: lines of its output, and messages that it sends itself.
//! What comes before anybody waits for it is remembered.

use super::life::Task;
use super::logs::{LONGEST_RECORD, Stream};
use crate::plan::health::{Check, Health};
use regex::bytes::{Regex, RegexBuilder};

#[derive(Debug, Default)]
pub(super) struct Senses {
    all: Vec<Sense>,
    /// The begun line of each stream, where lines are looked at.
    partial: [Vec<u8>; 2],
    /// What has come and was waited for.
    came: Vec<Task>,
}

#[derive(Debug)]
struct Sense {
    task: Task,
    /// None: messages.
    pattern: Option<Regex>,
    /// Somebody waits.
    armed: bool,
    /// It has come, and nobody waited.
    pending: bool,
}

impl Senses {
    /// None: it has no such probes.
    pub(super) fn new(health: &Health) -> Option<Self> {
        let sense = |task: Task| {
            let pattern = match task.check(health)? {
                Check::Log { pattern } => Some(compile(pattern)?),
                Check::Notify => None,
                _ => return None,
            };
            Some(Sense { task, pattern, armed: false, pending: false })
        };
        let all: Vec<_> = Task::PROBES.into_iter().filter_map(sense).collect();
        (!all.is_empty()).then(|| Self { all, ..Self::default() })
    }

    /// Waits from now on; true: it has come already.
    pub(super) fn arm(&mut self, task: Task) -> bool {
        let Some(sense) = self.all.iter_mut().find(|sense| sense.task == task) else {
            return false;
        };
        sense.armed = !std::mem::take(&mut sense.pending);
        !sense.armed
    }

    pub(super) fn disarm(&mut self, task: Task) {
        self.all
            .iter_mut()
            .filter(|sense| sense.task == task)
            .for_each(|sense| sense.armed = false);
    }

    /// A message came that these tasks wait for.
    pub(super) fn message(&mut self, is_for: impl Fn(Task) -> bool) {
        for sense in &mut self.all {
            if sense.pattern.is_none() && is_for(sense.task) {
                sense.fire(&mut self.came);
            }
        }
    }

    /// What the container has written.
    pub(super) fn read(&mut self, stream: Stream, bytes: &[u8]) {
        // One whose line has come is not looked for any more.
        if !self.all.iter().any(|sense| sense.pattern.is_some() && !sense.pending) {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if partial.is_empty() {
                self.line(&rest[..end]);
            } else {
                self.line(&[&partial, &rest[..end]].concat());
            }
            rest = &rest[end + 1..];
        }
        let partial = &mut self.partial[stream as usize];
        partial.extend_from_slice(rest);
        // As its log has it.
        if partial.len() >= LONGEST_RECORD {
            let piece = std::mem::take(partial);
            self.line(&piece);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for sense in self.all.iter_mut().filter(|sense| !sense.pending) {
            if sense.pattern.as_ref().is_some_and(|pattern| pattern.is_match(line)) {
                sense.fire(&mut self.came);
            }
        }
    }

    /// The tasks whose wait is over.
    pub(super) fn take(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.came)
    }
}

impl Sense {
    fn fire(&mut self, came: &mut Vec<Task>) {
        if std::mem::take(&mut self.armed) {
            came.push(self.task);
        } else {
            self.pending = true;
        }
    }
}

/// The loader has refused what is none.
fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).unicode(false).size_limit(1 << 20).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::health::Probe;
    use std::time::Duration;

    fn senses(pattern: &str) -> Senses {
        let probe = |check| Probe {
            check,
            initial_delay: Duration::ZERO,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            successes: 1,
            failures: 3,
        };
        let log = Check::Log { pattern: pattern.to_owned() };
        Senses::new(&Health {
            readiness: Some(probe(log)),
            liveness: Some(probe(Check::Notify)),
            ..Health::default()
        })
        .unwrap()
    }

    #[test]
    fn a_line_counts_as_a_whole_however_it_comes_and_before_it_is_waited_for() {
        let mut senses = senses(r"^ready to accept (?:\d+) connections$");
        senses.read(Stream::Stdout, b"not ready to accept 5 connections\nready to ac");
        senses.read(Stream::Stderr, b"cept 5 connections\n");
        assert!(!senses.arm(Task::Readiness), "the two streams are two texts");
        senses.disarm(Task::Readiness);
        senses.read(Stream::Stdout, b"cept 5 connections\r\nmore\n");
        assert!(senses.take().is_empty());
        assert!(senses.arm(Task::Readiness));
        assert!(!senses.arm(Task::Readiness), "once");
        senses.read(Stream::Stderr, b"ready to accept 6 connections\n");
        assert_eq!(senses.take(), [Task::Readiness]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut senses = senses("needle");
        senses.arm(Task::Readiness);
        for _ in 0..1000 {
            senses.read(Stream::Stdout, &[b'x'; 1000]);
        }
        assert!(senses.partial[0].len() <= LONGEST_RECORD && senses.take().is_empty());
        senses.read(Stream::Stdout, b"needle");
        senses.read(Stream::Stdout, b"\n");
        assert_eq!(senses.take(), [Task::Readiness]);
    }

    #[test]
    fn a_message_is_for_whom_it_is_meant() {
        let mut senses = senses("x");
        senses.message(|task| task == Task::Readiness);
        senses.message(|task| task == Task::Liveness);
        assert!(!senses.arm(Task::Readiness), "that one waits for a line");
        assert!(senses.arm(Task::Liveness));
    }
}
