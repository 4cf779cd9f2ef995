//! The end of one container's log, or of all of a pod, read on as it grows.

use super::log::{Log, LogLine};
use super::model::Run;
use crate::cli::error::CliError;
use crate::cli::logs::{Follower, parse_since};
use crate::state::store::Store;
use crate::supervise::logs::Stream;
use std::os::fd::{AsFd, BorrowedFd};

/// How much of what is there already is read, of all containers together.
const BEGIN: u64 = 256 << 10;

pub(super) struct Tail {
    of: Run,
    follower: Follower,
}

impl Tail {
    /// With what there is so far.
    pub(super) fn open(store: &Store, of: Run) -> Result<(Self, Log), CliError> {
        let wanted: Vec<_> = of.target.container.iter().cloned().collect();
        let mut follower = Follower::open(store, &of.target.pod, &wanted, false)?;
        // Before that it was another run.
        follower.since = Some(parse_since(&of.since)?);
        let names: Vec<String> = follower.names().map(str::to_owned).collect();
        let count = u64::try_from(names.len()).unwrap_or(u64::MAX).max(1);
        follower.skip_to_last((BEGIN / count).max(1 << 10));
        let mut log = Log::new(names);
        let mut tail = Self { of, follower };
        while tail.read(&mut log) {}
        Ok((tail, log))
    }

    pub(super) fn of(&self) -> &Run {
        &self.of
    }

    /// Takes what has come since, by time; whether there may be more.
    pub(super) fn read(&mut self, log: &mut Log) -> bool {
        let (mut lines, more) = self.follower.take_some();
        lines.sort_by(|(_, one), (_, other)| one.time.cmp(&other.time));
        for (container, line) in lines {
            let is_error = line.stream == Stream::Stderr;
            log.push(LogLine { container, is_error, text: line.harmless() });
        }
        more
    }
}

impl AsFd for Tail {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.follower.as_fd()
    }
}
