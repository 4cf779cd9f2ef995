//! When a container that ended starts again. Pure: values in, a decision out.

use crate::plan::step::{Backoff, Restart};
use std::time::Duration;

/// What follows the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It stays ended.
    Stay,
    StartAfter(Duration),
}

/// `clean`: it ended with 0. `restarts`: how often it was started again since its last good run.
pub fn next(policy: Restart, backoff: Backoff, clean: bool, restarts: u32) -> Next {
    let again = match policy {
        Restart::No => false,
        Restart::OnFailure { most } => !clean && most.is_none_or(|most| restarts < most),
        Restart::Always => true,
    };
    if again { Next::StartAfter(wait(backoff, restarts)) } else { Next::Stay }
}

/// The first wait, doubled with each restart, at most the longest.
pub fn wait(Backoff { initial, max, .. }: Backoff, restarts: u32) -> Duration {
    let times = 1u32.checked_shl(restarts).unwrap_or(u32::MAX);
    initial.checked_mul(times).unwrap_or(max).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: Backoff, restarts: impl IntoIterator<Item = u32>) -> Vec<u128> {
        let wait = |n| match next(Restart::Always, backoff, false, n) {
            Next::StartAfter(wait) => wait.as_millis(),
            Next::Stay => panic!("it stays"),
        };
        restarts.into_iter().map(wait).collect()
    }

    #[test]
    fn the_wait_doubles_up_to_five_minutes() {
        assert_eq!(waits(Backoff::default(), 0..4), [10, 20, 40, 80]);
        assert_eq!(waits(Backoff::default(), [15, 31, 32, 40, u32::MAX]), [300_000; 5]);
    }

    #[test]
    fn the_waits_are_the_files() {
        let of = |initial, max| Backoff {
            initial: Duration::from_secs(initial),
            max: Duration::from_secs(max),
            ..Backoff::default()
        };
        assert_eq!(waits(of(1, 5), [0, 1, 2, 3, u32::MAX]), [1000, 2000, 4000, 5000, 5000]);
        assert_eq!(waits(of(2, 2), [0, 1, 9]), [2000; 3], "always as long");
        let far = Duration::MAX.as_secs();
        assert_eq!(waits(of(far, far), [0, 1]), [u128::from(far) * 1000; 2], "no overflow");
    }

    #[test]
    fn on_failure_counts_and_a_clean_end_stays() {
        let next = |policy, clean, restarts| next(policy, Backoff::default(), clean, restarts);
        let twice = Restart::OnFailure { most: Some(2) };
        assert_eq!(next(twice, true, 0), Next::Stay);
        assert!(matches!(next(twice, false, 1), Next::StartAfter(_)));
        assert_eq!(next(twice, false, 2), Next::Stay);
        assert!(matches!(next(Restart::OnFailure { most: None }, false, 99), Next::StartAfter(_)));
        assert_eq!(next(Restart::No, false, 0), Next::Stay);
    }
}
