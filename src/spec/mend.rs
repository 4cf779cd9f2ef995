//! The sure fixes of a file's problems, as edits of its bytes. Comments and layout stay, for nothing else
//! is touched.

use super::problem::{Edit, Problem, Problems};
use std::ops::Range;

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

/// The code of a text that is no YAML.
const BROKEN: &str = "P0102";

/// Whether the text is no YAML.
pub fn is_broken(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.code == BROKEN)
}

/// A text whose mistakes of YAML are mended as far as that is sure, and the way back to the text as it is.
pub(super) struct Mended {
    pub text: String,
    /// In the order of the text.
    edits: Vec<Edit>,
}

impl Mended {
    /// None where nothing of that kind can be mended.
    pub(super) fn of(text: &str, problems: &[Problem]) -> Option<Self> {
        let broken: Vec<Problem> =
            problems.iter().filter(|problem| problem.code == BROKEN).cloned().collect();
        let fixes = compatible(&broken);
        let mut edits: Vec<Edit> = fixes.iter().flat_map(|fix| fix.iter()).cloned().collect();
        edits.sort_by_key(|edit| edit.place.start);
        (!edits.is_empty()).then(|| Self { text: apply(text, &fixes), edits })
    }

    /// What was found in the text as it is, and in the mended one, each at its place in the text as it is.
    pub(super) fn back(&self, found: Vec<Problem>, rest: Vec<Problem>) -> Vec<Problem> {
        let is_mended = |problem: &Problem| problem.code == BROKEN && !problem.fix.is_empty();
        let first = found.iter().filter(|problem| is_mended(problem)).map(Problem::start).min();
        let rest: Vec<Problem> = rest.into_iter().map(|problem| self.back_of(problem)).collect();
        // What was surely meant was not that: the text breaks where it broke before, or earlier in a way that is
        // none of its own.
        let is_worse = |problem: &Problem| {
            problem.code == BROKEN
                && (Some(problem.start()) == first
                    || Some(problem.start()) < first && problem.fix.is_empty())
        };
        let mut all = Problems::default();
        if rest.iter().any(is_worse) {
            found.into_iter().for_each(|problem| all.push(problem));
        } else {
            found.into_iter().filter(is_mended).chain(rest).for_each(|problem| all.push(problem));
        }
        all.in_order()
    }

    fn back_of(&self, mut problem: Problem) -> Problem {
        for (place, _) in &mut problem.labels {
            *place = self.place(place);
        }
        for edit in &mut problem.fix {
            edit.place = self.place(&edit.place);
        }
        // An edit of what is mended already is for the next round.
        let meets = |edit: &Edit| {
            self.edits.iter().any(|mine| {
                mine.place.start <= edit.place.end && edit.place.start <= mine.place.end
            })
        };
        if problem.fix.iter().any(meets) {
            problem.fix.clear();
        }
        problem
    }

    fn place(&self, place: &Range<usize>) -> Range<usize> {
        let start = self.byte(place.start, |edit| edit.start);
        start..self.byte(place.end, |edit| edit.end).max(start)
    }

    /// Of a byte inside of what was put in, the end of what was there that `side` says.
    fn byte(&self, at: usize, side: impl Fn(&Range<usize>) -> usize) -> usize {
        let (mut put_in, mut taken_out) = (0, 0);
        for Edit { place, text } in &self.edits {
            let start = place.start + put_in - taken_out;
            if at <= start {
                break;
            }
            if at < start + text.len() {
                return side(place);
            }
            put_in += text.len();
            taken_out += place.len();
        }
        at + taken_out - put_in
    }
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
    fn a_place_in_the_mended_text_is_one_in_the_text() {
        let text = "a: ${A}, b: 1, c";
        let broken = |place, new| Problem::error(BROKEN, "", 3..3, "").fix(place, new);
        let problems = [broken(3..7, "\"${A}\""), broken(9..10, ""), broken(12..12, "::")];
        let mended = Mended::of(text, &problems).unwrap();
        assert_eq!(mended.text, "a: \"${A}\", : ::1, c");
        let back = |word: &str| {
            let at = mended.text.find(word).unwrap();
            &text[mended.place(&(at..at + word.len()))]
        };
        assert_eq!((back("a"), back("${A}"), back("\"${A}\"")), ("a", "${A}", "${A}"));
        assert_eq!((back("1"), back("c"), back(", :")), ("1", "c", ", b:"));
    }

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
