//! What is wrong with a file, where, and how it is mended. A problem is a value: how it is drawn is the
//! command line's.

use std::ops::Range;

/// The most problems of one file that are kept; whoever has more begins with these.
const MOST: usize = 500;
/// The longest word of a file that is repeated in a message, and the longest one that is looked up.
const LONG: usize = 100;
/// How many words are compared with a wrong one.
const COMPARED: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake, with its places in the text (byte ranges; the first is the mistake's own).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub labels: Vec<(Range<usize>, String)>,
    pub help: Option<String>,
    /// Edits that mend it; none where it takes a person to choose.
    pub fix: Vec<Edit>,
}

/// Text to be put in the place of other text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub place: Range<usize>,
    pub text: String,
}

impl Problem {
    pub fn error(
        code: &'static str,
        message: impl Into<String>,
        place: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: shortened(message.into(), LONG),
            labels: vec![(place, shortened(label.into(), LONG))],
            help: None,
            fix: Vec::new(),
        }
    }

    /// Of something that there is elsewhere, and that podspec does not do yet.
    pub fn not_yet(what: &str, place: Range<usize>) -> Self {
        Self::error("P0900", format!("{what} is not supported yet"), place, "not supported yet")
    }

    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        // Help is there to be copied.
        self.help = Some(shortened(help.into(), 10 * LONG));
        self
    }

    pub fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    pub fn also(mut self, place: Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push((place, shortened(label.into(), LONG)));
        self
    }

    /// An edit that belongs to the fix: only where it is sure what was meant.
    pub fn fix(mut self, place: Range<usize>, text: impl Into<String>) -> Self {
        self.fix.push(Edit { place, text: text.into() });
        self
    }

    /// As `fix`, where there is one.
    pub fn maybe_fix(mut self, edit: Option<Edit>) -> Self {
        self.fix.extend(edit);
        self
    }

    /// Where the mistake begins, for the order of a report.
    pub fn start(&self) -> usize {
        self.labels.first().map_or(0, |(place, _)| place.start)
    }
}

impl Edit {
    /// A word of the file in the place of another, in the same quotes; none where the text does not have
    /// the word as it is (it came of a variable, or has escapes).
    pub fn of_word(text: &str, place: &Range<usize>, old: &str, new: &str) -> Option<Self> {
        let source = text.get(place.clone())?;
        let quote = ["\"", "'"].into_iter().find(|quote| {
            let inside = source.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            inside == Some(old)
        });
        let text = match quote {
            Some(quote) if !new.contains(['"', '\'', '\\']) => format!("{quote}{new}{quote}"),
            None if source == old => new.to_owned(),
            _ => return None,
        };
        Some(Self { place: place.clone(), text })
    }
}

/// The problems of a file; a hostile one cannot fill the memory with them.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub fn push(&mut self, mut problem: Problem) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        // Nobody is left with a mistake and nothing to do about it.
        let explain =
            || format!("`podspec explain {}` shows a wrong and a right file", problem.code);
        problem.help = problem.help.take().or_else(|| Some(explain()));
        self.list.push(problem);
    }

    /// Whether there is one that is more than a warning.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    pub fn has(&self, code: &str) -> bool {
        self.list.iter().any(|problem| problem.code == code)
    }

    pub fn len(&self) -> usize {
        self.list.len() + self.more
    }

    /// Whether a further problem is only counted: then it needs no help.
    pub fn is_full(&self) -> bool {
        self.list.len() >= MOST
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes back what was found since there were `length`, where `unwanted` says so.
    pub fn retain_since(&mut self, length: usize, mut wanted: impl FnMut(&Problem) -> bool) {
        let mut index = 0;
        self.list.retain(|problem| {
            index += 1;
            index <= length || wanted(problem)
        });
    }

    /// All of them in the order of the text, each once.
    pub fn in_order(mut self) -> Vec<Problem> {
        self.list.sort_by_key(Problem::start);
        // An anchor with a mistake is judged wherever its aliases stand.
        let mut seen = std::collections::HashSet::new();
        self.list.retain(|problem| {
            let places: Vec<usize> = problem.labels.iter().map(|(place, _)| place.start).collect();
            seen.insert((problem.code, places, problem.message.clone()))
        });
        if self.more > 0 {
            let at = self.list.last().map_or(0, Problem::start);
            let message = format!("{} more problems are not shown", self.more);
            let problem = Problem::error("P0111", message, at..at, "the last that is shown");
            self.list.push(problem.help("mend these first"));
        }
        self.list
    }
}

/// A message whose words are of a length that people read.
fn shortened(text: String, longest: usize) -> String {
    let is_long = |word: &str| word.len() > longest;
    if text.len() <= longest {
        return text;
    }
    let words: Vec<String> = text
        .split(' ')
        .map(|word| {
            let count = word.chars().count();
            if !is_long(word) || count <= longest / 2 {
                return word.to_owned();
            }
            let head: String = word.chars().take(longest / 2).collect();
            let tail: String = word.chars().skip(count - 4).collect();
            format!("{head}\u{2026}{tail}")
        })
        .collect();
    // A text of many short words is no better.
    match words.join(" ") {
        long if long.chars().count() > 20 * LONG => long.chars().take(20 * LONG).collect(),
        text => text,
    }
}

/// The word that was probably meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes the product of both lengths, in time and memory.
    if word.len() > LONG {
        return None;
    }
    let lower = word.to_lowercase();
    let near = |known: &str| (known.len().max(word.len()) / 3).max(1);
    words
        .into_iter()
        .take(COMPARED)
        .filter(|known| known.len().abs_diff(word.len()) <= near(known) && known.len() <= LONG)
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= near(known))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The only word that can have been meant: near, and no other is as near.
pub fn surely<'a>(word: &str, words: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let known = nearest(word, words.clone())?;
    let distance =
        |other: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase());
    let least = distance(known);
    let mut others = words.into_iter().take(COMPARED).filter(|other| other.len() <= LONG);
    let alone = !others.any(|other| other != known && distance(other) <= least + 1);
    // Of a short word one letter says little; `TCP` for `tcp` is none at all.
    (alone && (least == 0 || least <= 2 && word.len() > 2)).then_some(known)
}

/// "did you mean `x`?", where a known word is near.
pub fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, words).map(|known| format!("did you mean `{known}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("hostnme", ["name", "hostname"]), Some("hostname"));
        assert_eq!(nearest("envfile", ["envFile"]), Some("envFile"));
        assert_eq!(nearest("zebra", ["name", "hostname"]), None);
        assert_eq!(nearest(&"a".repeat(1 << 20), ["name"]), None);
    }

    #[test]
    fn a_message_does_not_repeat_a_megabyte() {
        let key = format!("unknown key `{}`", "ж".repeat(1 << 20));
        let problem = Problem::error("P0000", key, 0..0, "");
        assert!(problem.message.len() < 200 && problem.message.ends_with("ж`"));
        let problem = Problem::error("P0000", "a ".repeat(1 << 20), 0..0, "");
        assert!(problem.message.len() < 5_000);
    }

    #[test]
    fn the_first_problems_are_kept_and_the_others_counted() {
        let mut problems = Problems::default();
        for at in 0..MOST + 7 {
            problems.push(Problem::error("P0000", "m", at..at, ""));
        }
        assert_eq!(problems.len(), MOST + 7);
        let list = problems.in_order();
        assert_eq!(list.len(), MOST + 1);
        assert!(list[MOST].message.starts_with("7 more"));
    }
}
