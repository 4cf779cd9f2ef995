//! Problems of a file as people read them: the file and line, the line itself, a label under the token,
//! and the fix. It prints nothing; the text goes back to the command.

use super::lines::Lines;
use super::output::is_harmful;
use crate::spec::problem::{Problem, Severity};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use std::fmt;
use std::ops::Range;

/// Every problem drawn on the text, then their count.
pub fn render_problems(
    file: &str,
    text: &str,
    problems: &[Problem],
    color: bool,
    width: usize,
) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width.max(40))
        .with_links(false)
        .with_context_lines(1)
        .tab_width(4);
    let drawn = drawable(text);
    let source = Source { name: file, drawn: &drawn, lines: Lines::new(&drawn) };
    let mut page = String::new();
    for problem in problems {
        let one = One { problem, source: &source };
        if handler.render_report(&mut page, &one).is_err() {
            // Writing to a String fails only where a span is outside of the text.
            page.push_str(&format!("{file}: {}\n", problem.message));
        }
        page.push('\n');
    }
    page.push_str(&total(file, problems));
    page.push('\n');
    page.lines().map(str::trim_end).fold(String::new(), |page, line| page + line + "\n")
}

fn total(file: &str, problems: &[Problem]) -> String {
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let many =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (count(Severity::Error), count(Severity::Warning)) {
        (errors, 0) => format!("{file}: {}", many(errors, "problem")),
        (0, warnings) => format!("{file}: {}", many(warnings, "warning")),
        (errors, warnings) => {
            format!("{file}: {}, {}", many(errors, "problem"), many(warnings, "warning"))
        }
    }
}

/// The text as it can be drawn: what moves the cursor or is of no width is replaced by as many bytes.
struct Source<'a> {
    name: &'a str,
    drawn: &'a str,
    lines: Lines<'a>,
}

/// A line that is longer than this is drawn in part.
const WIDE: usize = 400;
/// How much of a long line stands on each side of a label, and how much of a long token is labelled.
const BESIDE: usize = 60;
/// The most labels of one problem: a round of a thousand containers is told by its first ones.
const LABELS: usize = 12;

/// Of no width in any terminal, and nothing is joined across it; three bytes.
const APART: char = '\u{200b}';

/// How wide a sequence of emoji is, terminals do not agree on: kitty, WezTerm and Ghostty draw a family
/// or a hand with a skin tone in two columns, VTE, Alacritty, xterm and tmux draw its parts side by side,
/// and a symbol that U+FE0F makes an emoji has one column or two. They agree on each character alone, so
/// the parts are drawn apart and a label stands under its token in all of them. Two letters of a flag are
/// one column each or two together, which is the same.
fn drawable(text: &str) -> String {
    // Room for the newline at the end: a longer string would be moved, and take twice its room.
    let mut drawn = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            '\n' | '\t' => drawn.push(c),
            // The joiner, and the variation selector that widens: three bytes for three.
            '\u{200d}' | '\u{fe0f}' => drawn.push(APART),
            // A skin tone has four bytes: a space makes them up.
            '\u{1f3fb}'..='\u{1f3ff}' => drawn.extend([APART, ' ']),
            // Three bytes for three: spans stay true.
            '\u{feff}' => drawn.push_str("   "),
            '\r' => drawn.push(' '),
            c if is_harmful(c) => drawn.extend(std::iter::repeat_n('?', c.len_utf8())),
            c => drawn.push(c),
        }
    }
    if !drawn.ends_with('\n') {
        drawn.push('\n');
    }
    drawn
}

/// The nearest boundary of a character at or before this byte.
fn boundary(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl Source<'_> {
    /// The part of a place that a label can stand under: of one line, and not without end.
    fn token(&self, place: &Range<usize>) -> Range<usize> {
        let start = boundary(self.drawn, place.start);
        let line = self.lines.range(self.lines.line(start));
        let end = place.end.clamp(start, line.end.max(start));
        start..boundary(self.drawn, end.min(start + 2 * BESIDE)).max(start)
    }

    fn is_wide(&self, byte: usize) -> bool {
        self.lines.range(self.lines.line(byte)).len() > WIDE
    }
}

impl SourceCode for Source<'_> {
    /// The whole lines of the span, long ones in part: miette's own context is lines around.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (from, to) = (span.offset(), span.offset() + span.len());
        // A span that ends with its line's newline does not have the next line too.
        let inside = if to > from && self.drawn[..to].ends_with('\n') { to - 1 } else { to };
        let (first, last) = (self.lines.line(from), self.lines.line(inside));
        let (mut start, mut end) = (self.lines.range(first).start, self.lines.range(last).end);
        if self.is_wide(from) && from - start > BESIDE {
            start = boundary(self.drawn, from - BESIDE);
        }
        if self.is_wide(inside) && end - to.min(end) > BESIDE {
            end = boundary(self.drawn, to + BESIDE).max(to);
        }
        // The end of a line can be labelled, where something is missing.
        if end == self.lines.range(last).end && self.drawn[end..].starts_with('\n') {
            end += 1;
        }
        if end - start > 20 * WIDE {
            // Two labels too far apart for one picture: miette makes two.
            return Err(MietteError::OutOfBounds);
        }
        let (line, column) = self.lines.position(from);
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.to_owned(),
            &self.drawn.as_bytes()[start..end],
            (start, end - start).into(),
            line - 1,
            column - 1,
            last - first + 1,
        )))
    }
}

/// Text of a file in a message must not move a terminal's cursor.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) || c == '\t' { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[derive(Debug)]
struct One<'a> {
    problem: &'a Problem,
    source: &'a Source<'a>,
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl fmt::Display for One<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.problem.message))
    }
}

impl std::error::Error for One<'_> {}

impl Diagnostic for One<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(visible(help)) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let first = self.problem.labels.first().map_or(0, |(place, _)| place.start);
        // Of a line that is drawn in part, the part is the first label's.
        let is_drawn = move |at: usize| {
            let lines = &self.source.lines;
            at == first || !self.source.is_wide(at) || lines.line(at) != lines.line(first)
        };
        let labels = self.problem.labels.iter().enumerate().take(LABELS);
        let labels = labels.filter(move |(_, (place, _))| is_drawn(place.start));
        Some(Box::new(labels.map(|(index, (place, label))| {
            let label = Some(visible(label)).filter(|label| !label.is_empty());
            let place = self.source.token(place);
            if index == 0 {
                LabeledSpan::new_primary_with_span(label, place)
            } else {
                LabeledSpan::new_with_span(label, place)
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caret_is_under(text: &str, token: &str) {
        let start = text.find(token).unwrap();
        let problem = Problem::error("P0000", "message", start..start + token.len(), "label");
        let page = render_problems("pod.yaml", text, &[problem], false, 80);
        let lines: Vec<&str> = page.lines().collect();
        let at = lines.iter().position(|line| line.contains(token)).unwrap();
        let width = |text: &str| -> usize {
            // What a terminal makes of it: emoji are two columns wide.
            text.chars().map(|c| if c as u32 > 0x1f000 { 2 } else { 1 }).sum()
        };
        let column = width(&lines[at][..lines[at].find(token).unwrap()]);
        let mark = lines[at + 1].find(['─', '┬']).map(|byte| width(&lines[at + 1][..byte]));
        assert_eq!(mark, Some(column), "{page}");
        assert!(page.contains("pod.yaml:2:"), "{page}");
    }

    #[test]
    fn labels_stand_under_the_token_in_any_text() {
        caret_is_under("a: 1\nb: token\n", "token");
        caret_is_under("a: 1\r\nb: token\r\n", "token");
        caret_is_under("\u{feff}a: 1\nb:\t\t token\n", "token");
        caret_is_under("a: 1\nb: \"ж\u{1f600}\" # token\n", "token");
        caret_is_under("a: 1\nb: token", "token");
    }

    #[test]
    fn labels_stand_under_the_token_after_any_emoji() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        let toned = "\u{1f44d}\u{1f3fd}";
        // The columns before the token, as every terminal draws what is printed.
        for (emoji, columns) in
            [(family, 6), (toned, 3), ("\u{1f1e9}\u{1f1ea}", 2), ("\u{2764}\u{fe0f}", 1)]
        {
            let text = format!("a: {emoji}token\n");
            let start = text.find("token").unwrap();
            let problem = Problem::error("P0000", "message", start..start + 5, "label");
            let page = render_problems("pod.yaml", &text, &[problem], false, 80);
            let mark = page.lines().find(|line| line.contains('┬')).unwrap();
            let before = mark.chars().take_while(|c| !matches!(c, '─' | '┬')).count();
            assert_eq!(before, " 1 │ a: ".chars().count() + columns, "{page}");
            // Nothing is left that a terminal joins, or makes wider, in its own way.
            let joins = |c| matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
            assert!(!page.contains(joins), "{page:?}");
        }
    }

    #[test]
    fn no_text_of_a_file_drives_the_terminal() {
        let text = "a: \u{1b}[2J\u{202e}b\n";
        let problem =
            Problem::error("P0000", "m\u{1b}[31m\u{202e}", 3..4, "l\u{9b}").help("h\u{7}");
        let page = render_problems("pod.yaml", text, &[problem], false, 80);
        assert!(!page.chars().any(|c| is_harmful(c) && c != '\n'), "{page:?}");
    }

    #[test]
    fn a_long_line_is_drawn_in_part() {
        let text = format!("{}token{}\n", "ж".repeat(10_000), " x".repeat(10_000));
        let start = text.find("token").unwrap();
        let problem = Problem::error("P0000", "message", start..start + 5, "label")
            .also(0..text.len() - 1, "all of it")
            .also(start + 40..text.len(), "much");
        let page = render_problems("pod.yaml", &text, &[problem], false, 80);
        assert!(page.len() < 2_000 && page.contains("1:10001"), "{page}");
        let problem = Problem::error("P0000", "message", 0..text.len() - 1, "all of it");
        assert!(render_problems("pod.yaml", &text, &[problem], false, 80).len() < 2_000);
    }

    #[test]
    fn labels_anywhere_never_panic() {
        let text = format!("a\n{}\n\u{feff}b\r\n{}\n\n", "ж ".repeat(300), "c".repeat(1_000));
        let ends = [0, 1, 2, 5, 302, 602, 603, 604, 609, 900, text.len() - 1, text.len()];
        for (one, two) in ends.iter().flat_map(|one| ends.iter().map(move |two| (*one, *two))) {
            let problem = Problem::error("P0000", "message", one..one.max(two), "label")
                .also(two..two + 30, "other")
                .also(0..text.len(), "");
            render_problems("f", &text, &[problem], false, 80);
        }
    }

    #[test]
    fn an_empty_text_and_an_end_can_be_labelled() {
        let problem = |at| Problem::error("P0000", "message", at..at, "label");
        assert!(render_problems("f", "", &[problem(0)], false, 80).contains("message"));
        assert!(render_problems("f", "a\n", &[problem(2)], false, 80).contains("message"));
    }
}
