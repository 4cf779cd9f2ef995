//! When a container that ended starts again. Pure: values in, a decision out.

use crate::plan::step::Restart;
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(10);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(300);
/// A program that ran this long was well: the waits begin anew.
pub const GOOD_RUN: Duration = Duration::from_secs(10);

/// What follows the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It stays ended.
    Stay,
    StartAfter(Duration),
}

/// `clean`: it ended with 0. `restarts`: how often it was started again since its last good run.
pub fn next(policy: Restart, clean: bool, restarts: u32) -> Next {
    let again = match policy {
        Restart::No => false,
        Restart::OnFailure { most } => !clean && most.is_none_or(|most| restarts < most),
        Restart::Always => true,
    };
    if again { Next::StartAfter(back_off(restarts)) } else { Next::Stay }
}

/// 10 ms, doubled with each restart, at most five minutes.
fn back_off(restarts: u32) -> Duration {
    FIRST
        .checked_mul(1u32.checked_shl(restarts).unwrap_or(u32::MAX))
        .unwrap_or(LONGEST)
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_five_minutes() {
        let waits: Vec<Next> = (0..4).map(|n| next(Restart::Always, false, n)).collect();
        assert_eq!(waits, [10, 20, 40, 80].map(|ms| Next::StartAfter(Duration::from_millis(ms))));
        for many in [15, 31, 32, 40, u32::MAX] {
            assert_eq!(next(Restart::Always, true, many), Next::StartAfter(LONGEST), "{many}");
        }
    }

    #[test]
    fn on_failure_counts_and_a_clean_end_stays() {
        let twice = Restart::OnFailure { most: Some(2) };
        assert_eq!(next(twice, true, 0), Next::Stay);
        assert!(matches!(next(twice, false, 1), Next::StartAfter(_)));
        assert_eq!(next(twice, false, 2), Next::Stay);
        assert!(matches!(next(Restart::OnFailure { most: None }, false, 99), Next::StartAfter(_)));
        assert_eq!(next(Restart::No, false, 0), Next::Stay);
    }
}
