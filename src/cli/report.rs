//! Problems of a file as people read them: the file and line, the line itself, a label under the token,
//! and the fix. It prints nothing; the text goes back to the command.

use super::output::is_harmful;
use crate::spec::problem::{Problem, Severity};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, NamedSource, SourceCode, SourceSpan, SpanContents,
};
use std::fmt;

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
    let source = Source::new(file, text);
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

/// The problems for a program: the list that `validate --format json` gives. Lines and columns count from
/// 1, columns in characters; the end is the first character behind the place.
pub fn json_problems(file: &str, text: &str, problems: &[Problem]) -> Vec<serde_json::Value> {
    let one = |problem: &Problem| {
        let (place, label) = problem.labels.first().cloned().unwrap_or_default();
        let ((line, column), (end_line, end_column)) =
            (position(text, place.start), position(text, place.end));
        serde_json::json!({
            "file": file,
            "line": line,
            "column": column,
            "endLine": end_line,
            "endColumn": end_column,
            "severity": match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "code": problem.code,
            "message": problem.message,
            "label": label,
            "help": problem.help,
        })
    };
    problems.iter().map(one).collect()
}

/// Line and column of a byte.
pub(super) fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    // A mark at the head of the file is no column.
    (line, last.trim_start_matches('\u{feff}').chars().count() + 1)
}

/// The text as it can be drawn: what moves the cursor or is of no width is replaced by as many bytes.
struct Source(NamedSource<String>);

impl Source {
    fn new(file: &str, text: &str) -> Self {
        let mut drawn = String::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '\n' | '\t' => drawn.push(c),
                // Three bytes for three: spans stay true.
                '\u{feff}' => drawn.push_str("   "),
                '\r' => drawn.push(' '),
                c if is_harmful(c) => drawn.extend(std::iter::repeat_n('?', c.len_utf8())),
                c => drawn.push(c),
            }
        }
        Self(NamedSource::new(file, drawn))
    }
}

impl SourceCode for Source {
    /// The whole lines of the span: miette's own context is lines around, or a piece of the line.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.0.inner();
        let (from, to) = (span.offset(), span.offset() + span.len());
        if before + after == 0 || text.get(from..to).is_none() {
            return self.0.read_span(span, 0, 0);
        }
        let start = text[..from].rfind('\n').map_or(0, |index| index + 1);
        // A span that ends with its line's newline does not have the next line too.
        let inside = if to > from && text[..to].ends_with('\n') { to - 1 } else { to };
        let end = text[inside..].find('\n').map_or(text.len(), |index| inside + index);
        let line = text[..start].matches('\n').count();
        let count = text[start..end].matches('\n').count() + 1;
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.name().to_owned(),
            &text.as_bytes()[start..end],
            (start, end - start).into(),
            line,
            0,
            count,
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
    source: &'a Source,
}

impl fmt::Debug for Source {
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
        let labels = self.problem.labels.iter().enumerate().map(|(index, (place, label))| {
            let label = Some(visible(label)).filter(|label| !label.is_empty());
            let place = place.clone();
            if index == 0 {
                LabeledSpan::new_primary_with_span(label, place)
            } else {
                LabeledSpan::new_with_span(label, place)
            }
        });
        Some(Box::new(labels))
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
    fn no_text_of_a_file_drives_the_terminal() {
        let text = "a: \u{1b}[2J\u{202e}b\n";
        let problem =
            Problem::error("P0000", "m\u{1b}[31m\u{202e}", 3..4, "l\u{9b}").help("h\u{7}");
        let page = render_problems("pod.yaml", text, &[problem], false, 80);
        assert!(!page.chars().any(|c| is_harmful(c) && c != '\n'), "{page:?}");
    }

    #[test]
    fn a_program_reads_lines_and_columns() {
        let text = "\u{feff}a: 1\nж: token\n";
        let at = text.find("token").unwrap();
        let problem = Problem::error("P0000", "message", at..at + 5, "label").help("help");
        let found = &json_problems("pod.yaml", text, &[problem])[0];
        let number = |key: &str| found[key].as_u64().unwrap();
        assert_eq!((number("line"), number("column")), (2, 4));
        assert_eq!((number("endLine"), number("endColumn")), (2, 9));
        assert_eq!(found["severity"], "error");
        assert_eq!(position(text, 3), (1, 1));
        assert_eq!(position(text, 999), (3, 1));
    }

    #[test]
    fn an_empty_text_and_an_end_can_be_labelled() {
        let problem = |at| Problem::error("P0000", "message", at..at, "label");
        assert!(render_problems("f", "", &[problem(0)], false, 80).contains("message"));
        assert!(render_problems("f", "a\n", &[problem(2)], false, 80).contains("message"));
    }
}
