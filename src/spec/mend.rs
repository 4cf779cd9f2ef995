//! The sure fixes of a file's problems, as edits of its bytes. Comments and layout stay, for nothing else
//! is touched.

use super::problem::{Edit, Problem};

/// One fix may bring the next problem to light: a text is mended so often at most.
const ROUNDS: usize = 100;

/// The text with every sure fix of what `judge` finds in it, and how many problems that mended.
pub fn mend(text: &str, judge: impl Fn(&str) -> Vec<Problem>) -> (String, usize) {
    let (mut mended, mut count) = (text.to_owned(), 0);
    let mut problems = judge(text);
    for _ in 0..ROUNDS {
        let fixes = compatible(&problems);
        if fixes.is_empty() {
            break;
        }
        let next = apply(&mended, &fixes);
        let left = judge(&next);
        // What was YAML must still be.
        if is_broken(&left) && !is_broken(&problems) {
            break;
        }
        count += fixes.len();
        (mended, problems) = (next, left);
    }
    (mended, count)
}

/// Whether the text is no YAML.
pub fn is_broken(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.code == "P0102")
}

/// The fixes that do not meet another: the first of two, the other comes in the next round.
fn compatible(problems: &[Problem]) -> Vec<&[Edit]> {
    let mut taken: Vec<std::ops::Range<usize>> = Vec::new();
    let mut fixes = Vec::new();
    for fix in problems.iter().map(|problem| problem.fix.as_slice()) {
        // Two insertions at one byte meet too.
        let meets = |edit: &Edit| {
            taken.iter().any(|other| edit.place.start <= other.end && other.start <= edit.place.end)
        };
        if fix.is_empty() || fix.iter().any(meets) {
            continue;
        }
        taken.extend(fix.iter().map(|edit| edit.place.clone()));
        fixes.push(fix);
    }
    fixes
}

fn apply(text: &str, fixes: &[&[Edit]]) -> String {
    let mut edits: Vec<&Edit> = fixes.iter().flat_map(|fix| fix.iter()).collect();
    edits.sort_by_key(|edit| edit.place.start);
    let (mut result, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        result.push_str(text.get(at..edit.place.start).unwrap_or_default());
        result.push_str(&edit.text);
        at = edit.place.end;
    }
    result.push_str(text.get(at..).unwrap_or_default());
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_that_meet_wait_for_the_next_round() {
        let one = |place: std::ops::Range<usize>, text: &str| {
            Problem::error("P0000", "", place.clone(), "").fix(place, text)
        };
        let problems = [one(0..2, "A"), one(1..3, "B"), one(4..5, "C"), one(8..8, "D")];
        let fixes = compatible(&problems);
        assert_eq!(apply("abcdefgh", &fixes), "AcdCfghD");
    }
}
