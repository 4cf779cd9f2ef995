//! What is wrong with a file, and where. A problem is a value: how it is drawn is the command line's.

use std::ops::Range;

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
            message: message.into(),
            labels: vec![(place, label.into())],
            help: None,
        }
    }

    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    pub fn also(mut self, place: Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push((place, label.into()));
        self
    }

    /// Where the mistake begins, for the order of a report.
    pub fn start(&self) -> usize {
        self.labels.first().map_or(0, |(place, _)| place.start)
    }
}

/// The word that was probably meant.
pub fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    words
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= (known.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
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
    }
}
