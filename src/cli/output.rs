//! Everything that reaches a terminal: lines, colours, tables. Text that came from a container, an image
//! or a file is made harmless first: a terminal obeys escapes (CVE-2021-25743).

use super::error::CliError;
use super::table::Cell;
use crate::supervise::steps;
use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags};
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

/// How much a user wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loudness {
    /// Results and errors alone.
    Quiet,
    Normal,
    /// Each step, with its time.
    Verbose,
}

/// With the time of the program's begin, by `supervise`'s clock.
static LOUDNESS: OnceLock<(Loudness, Duration)> = OnceLock::new();

/// Set once, from the arguments.
pub(super) fn set(loudness: Loudness, color: ColorChoice) {
    let _ = LOUDNESS.set((loudness, steps::now()));
    color.write_global();
}

fn loudness() -> Loudness {
    LOUDNESS.get().map_or(Loudness::Normal, |(loudness, _)| *loudness)
}

/// When the program began, by `supervise`'s clock.
pub(super) fn begin() -> Duration {
    LOUDNESS.get().map_or_else(steps::now, |(_, begin)| *begin)
}

pub(super) fn is_quiet() -> bool {
    loudness() == Loudness::Quiet
}

pub(super) fn is_verbose() -> bool {
    loudness() == Loudness::Verbose
}

/// Writes what has just been done, with its time, where the user wants to know each step.
pub(super) fn verbose(text: impl FnOnce() -> String) {
    if is_verbose() {
        verbose_at(steps::now(), text);
    }
}

/// As `verbose`, of a time that has passed.
pub(super) fn verbose_at(at: Duration, text: impl FnOnce() -> String) {
    if let Some((Loudness::Verbose, begin)) = LOUDNESS.get() {
        let since = at.saturating_sub(*begin).as_secs_f64() * 1000.0;
        error_line(&format!("{since:8.2} ms  {}", sanitize(&text())));
    }
}

pub(super) fn is_normal() -> bool {
    loudness() == Loudness::Normal
}

/// Writes a line to standard output.
pub(super) fn line(text: &str) -> Result<(), CliError> {
    raw(format!("{text}\n").as_bytes())
}

/// Writes bytes to standard output as they are.
pub(super) fn raw(bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error| CliError::host("cannot write to standard output", &error);
    io::stdout().lock().write_all(bytes).map_err(|error| CliError::of_writing(error, failed))
}

/// Standard output, to be polled by whoever waits for something to write: [`reads`] has the answer.
pub(super) fn reader() -> PollFd<'static> {
    // That nobody reads a pipe any more is told without being asked for (poll(2)).
    PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty())
}

/// Whether somebody still reads what is written: to wait for the next line would be in vain.
pub(super) fn reads(reader: &PollFd<'_>) -> Result<(), CliError> {
    match reader.revents().intersects(PollFlags::ERR) {
        true => Err(CliError::BrokenPipe),
        false => Ok(()),
    }
}

/// Writes a value as JSON, readable and with a line feed.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), CliError> {
    line(&json_text(value)?)
}

/// A value as JSON, readable, and safe to show.
pub(super) fn json_text(value: &impl serde::Serialize) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::host("cannot write JSON", &error))?;
    Ok(escape_json(text))
}

/// Writes a value as JSON on one line, for streams of them.
pub(super) fn json_line(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value)
        .map_err(|error| CliError::host("cannot write JSON", &error))?;
    line(&escape_json(text))
}

/// JSON escapes C0 alone, and a terminal obeys more than that. Outside of strings there is none of it.
fn escape_json(text: String) -> String {
    let harmful = |c: char| c > '\u{7e}' && is_harmful(c);
    if !text.contains(harmful) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) {
            // All of them are below U+10000.
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Bytes in the units of the pod file, three digits or so.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1023.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && amount < 99.95);
    format!("{amount:.digits$}{}", UNITS[unit])
}

/// To a hundredth, for reports.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Lines no longer than the terminal that standard output is.
pub(super) fn cut_lines(text: &str) -> String {
    let width = stdout_width();
    let cut = |line: &str| line.chars().take(width).collect::<String>();
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

/// Writes a line of what happens to standard error, unless the user wants to be told results alone.
pub(super) fn progress(text: &str) {
    if !is_quiet() {
        error_line(text);
    }
}

/// Writes a line of what was done to standard output, unless the user wants to be told results alone.
pub(super) fn done(text: &str) -> Result<(), CliError> {
    if is_quiet() { Ok(()) } else { line(text) }
}

/// The answer to a question; `None` where nobody sits at a terminal.
pub(super) fn ask(question: &str) -> Option<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    error_text(question);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer)
}

/// Writes a line to standard error; who closed that does not want to know.
pub(super) fn error_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

pub(super) fn error_text(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether standard error shows colours, and how wide it is.
pub(super) fn error_style() -> (bool, usize) {
    (colors(&io::stderr()), width(&io::stderr()))
}

pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Of its terminal; without one a line may be as long as it is.
pub(super) fn stdout_width() -> usize {
    if stdout_is_terminal() { width(&io::stdout()) } else { usize::MAX }
}

pub(super) fn stdout_colors() -> bool {
    colors(&io::stdout())
}

fn colors(stream: &(impl IsTerminal + anstream::stream::RawStream)) -> bool {
    anstream::AutoStream::choice(stream) != ColorChoice::Never
}

fn width(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> usize {
    const PLAIN: usize = 100;
    if !stream.is_terminal() {
        return PLAIN;
    }
    // A terminal that does not know its width says zero.
    let columns = rustix::termios::tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { PLAIN } else { columns.max(40) }
}

/// Red and bold, where standard error shows colours.
pub(super) fn paint_error(text: &str) -> String {
    paint(text, AnsiColor::Red.on_default().bold(), colors(&io::stderr()))
}

pub(super) fn paint(text: &str, style: Style, on: bool) -> String {
    if on { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// The colour of a container's prefix, by its place in the pod.
pub(super) fn prefix_style(index: usize) -> Style {
    const COLORS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Yellow,
        AnsiColor::Green,
        AnsiColor::Magenta,
        AnsiColor::Blue,
        AnsiColor::BrightRed,
    ];
    COLORS[index % COLORS.len()].on_default()
}

/// The text with everything that a terminal might obey replaced: C0 and C1 controls but tab, and the
/// characters that reorder text or end a line.
pub(super) fn sanitize(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// As `sanitize`, for text of several lines.
pub(super) fn harmless(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(sanitize).collect();
    lines.join("\n")
}

pub(super) fn is_harmful(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}' | '\u{2029}')
}

/// A table without borders, as wide as its content.
pub(super) fn table(header: &[&'static str], rows: Vec<Vec<String>>) -> String {
    let cells = |row: Vec<String>| row.into_iter().map(Cell::Text).collect();
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(cells).collect();
    super::table::table(header, &rows, &[], usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_never_sees_an_escape() {
        let hostile = "a\x1b]0;owned\x07\r\n\u{9b}2J\u{202e}txt\tend";
        let shown = sanitize(hostile);
        assert!(shown.chars().all(|c| !is_harmful(c)), "{shown:?}");
        assert!(shown.ends_with("txt\tend"));
    }

    #[test]
    fn json_carries_hostile_text_and_no_escape() {
        let hostile = "\u{1b}]52;c;x\u{7}\u{7f}\u{9b}2J\u{202e}\u{2028}ö\u{1f600}";
        let text = escape_json(serde_json::to_string(hostile).unwrap());
        assert!(text.chars().all(|c| !is_harmful(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }

    #[test]
    fn sizes_have_about_three_digits() {
        let of = |bytes| size(bytes);
        assert_eq!(of(0), "0B");
        assert_eq!(of(1023), "1023B");
        assert_eq!(of(1536), "1.5Ki");
        assert_eq!(of(200 << 20), "200Mi");
        assert_eq!(of((1 << 30) - 1), "1.0Gi");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = vec![vec!["shop".into(), "running".into()], vec!["b".into(), "x".into()]];
        assert_eq!(table(&["POD", "STATUS"], rows), "POD   STATUS\nshop  running\nb     x");
    }
}
