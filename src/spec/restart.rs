//! `restart`: when a container starts again and how long that waits, in the short form and in the long one. What
//! a container does not say the pod does.

use super::foreign;
use super::health::positive;
use super::model::{Backoff, Restart};
use super::problem::{Edit, Problem, did_you_mean};
use super::raw::{self, Either};
use super::tree::Node;
use super::validate::Checks;
use std::ops::Range;

/// As the file has it.
pub(super) type Raw = Either<String, raw::RestartRule>;

/// What `restart` says, complete.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rule {
    pub(super) policy: Restart,
    pub(super) backoff: Backoff,
}

impl Rule {
    /// Without a restart there is nothing to wait for.
    pub(super) fn backoff(&self) -> Backoff {
        if self.policy == Restart::No { Backoff::default() } else { self.backoff }
    }
}

/// The word of the policy, whatever it is.
pub(super) fn word(raw: Option<&Raw>) -> Option<&str> {
    match raw? {
        Either::Short(word) => Some(word),
        Either::Long(long) => long.policy.as_deref(),
    }
}

/// Of a pod, or of a container: then `fallback` is the pod's.
pub(super) fn rule(
    raw: Option<&Raw>,
    node: &Node,
    fallback: Rule,
    checks: &mut Checks<'_>,
) -> Option<Rule> {
    let (Some(raw), Some(place)) = (raw, node.get("restart")) else { return Some(fallback) };
    let long = match raw {
        Either::Short(word) => {
            return Some(Rule { policy: policy(word, &place.span, checks)?, ..fallback });
        }
        Either::Long(long) => long,
    };
    let policy = match (&long.policy, place.get("policy")) {
        (Some(word), Some(place)) => policy(word, &place.span, checks),
        _ => Some(fallback.policy),
    };
    let backoff = match (&long.backoff, place.get("backoff")) {
        (Some(raw), Some(place)) => backoff(raw, place, fallback.backoff, checks),
        _ => Some(fallback.backoff),
    };
    Some(Rule { policy: policy?, backoff: backoff? })
}

/// Warns of a back-off of a container that is never started again.
pub(super) fn warn_of_unused(word: &str, rule: Rule, node: &Node, checks: &mut Checks<'_>) {
    let own = node.get("restart").and_then(|restart| restart.entry("backoff"));
    let (Some(own), Restart::No) = (own, rule.policy) else { return };
    let message = format!("`{word}` has a `backoff`, and is never started again");
    let problem = Problem::error("P0669", message, own.key.clone(), "its policy is `no`").warning();
    checks.report(problem.help("write `policy: on-failure` or `always` beside it, or remove it"));
}

fn backoff(
    raw: &raw::Backoff,
    node: &Node,
    fallback: Backoff,
    checks: &mut Checks<'_>,
) -> Option<Backoff> {
    let initial = positive("initial", raw.initial.as_ref(), fallback.initial, node, checks);
    let max = positive("max", raw.max.as_ref(), fallback.max, node, checks);
    let reset_after =
        positive("resetAfter", raw.reset_after.as_ref(), fallback.reset_after, node, checks);
    let (initial, max) = (initial?, max?);
    if max < initial {
        let message = format!("the longest wait, {max:?}, is shorter than the first, {initial:?}");
        let place = node.get("max").or_else(|| node.get("initial"));
        let place = place.map_or_else(|| node.head(), |place| place.span.clone());
        let problem = Problem::error("P0668", message, place, "here");
        let help =
            format!("write both: `initial: {max:?}` and `max: {max:?}` wait as long each time");
        checks.report(problem.help(help));
        return None;
    }
    Some(Backoff { initial, max, reset_after: reset_after? })
}

fn policy(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<Restart> {
    const ALL: [&str; 4] = ["no", "on-failure", "always", "unless-stopped"];
    let problem =
        match word.split_once(':') {
            None if word == "no" => return Some(Restart::No),
            None if word == "always" => return Some(Restart::Always),
            None if word == "unless-stopped" => return Some(Restart::UnlessStopped),
            None if word == "on-failure" => return Some(Restart::OnFailure { most: None }),
            Some(("on-failure", count)) => {
                let digits = count.bytes().all(|b| b.is_ascii_digit());
                match count.parse().ok().filter(|most| digits && *most > 0) {
                    Some(most) => return Some(Restart::OnFailure { most: Some(most) }),
                    None => Problem::error(
                        "P0437",
                        format!("`{count}` is no count of restarts"),
                        place.clone(),
                        "here",
                    )
                    .help("write a whole number from 1, such as `on-failure:5`"),
                }
            }
            _ => {
                let label = "one of: no, on-failure[:N], always, unless-stopped";
                let message = format!("`{word}` is no restart policy");
                let problem = Problem::error("P0437", message, place.clone(), label);
                match foreign::value("restart", word) {
                    Some(meant) => problem
                        .help(format!("write `{meant}`"))
                        .maybe_fix(Edit::of_word(checks.text, place, word, meant)),
                    None => {
                        let help = did_you_mean(word, ALL);
                        let help =
                            help.unwrap_or_else(|| "write `no`, `on-failure` or `always`".into());
                        checks.with_known(problem.help(help), word, ALL)
                    }
                }
            }
        };
    checks.report(problem);
    None
}
