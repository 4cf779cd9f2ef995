//! Lines at the foot of a terminal that are drawn again and again in place. Whoever writes anything else to
//! the terminal hides them first.

use std::io::{self, IsTerminal, Write};

/// Which of our streams is drawn on.
#[derive(Debug, Clone, Copy)]
pub(super) enum On {
    Stdout,
    Stderr,
}

/// A stream that can be drawn on.
#[derive(Debug)]
pub(super) struct Screen {
    on: On,
    /// Columns of each line that stands there now.
    drawn: Vec<usize>,
    shown: Vec<String>,
}

impl Screen {
    /// `None` where the stream is no terminal, or one that cannot move its cursor.
    pub(super) fn open(on: On) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "the command line is who reads it")]
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let terminal = match on {
            On::Stdout => io::stdout().is_terminal(),
            On::Stderr => io::stderr().is_terminal(),
        };
        (terminal && !dumb).then(|| Self { on, drawn: Vec::new(), shown: Vec::new() })
    }

    /// Columns and rows that lines may take: the last column stays free, for some terminals wrap there.
    pub(super) fn room(&self) -> (usize, usize) {
        let (columns, rows) = size(self.on);
        (columns.saturating_sub(1), rows.saturating_sub(2).max(1))
    }

    /// Draws the lines in the place of those that stand there; `plain` are the same without colours.
    pub(super) fn draw(&mut self, lines: Vec<String>, plain: &[String]) {
        if lines == self.shown {
            return;
        }
        let mut out = erasure(&self.drawn, size(self.on).0);
        for line in &lines {
            out.push_str(line);
            out.push('\n');
        }
        write(self.on, &out);
        self.drawn = plain.iter().map(|line| line.chars().count()).collect();
        self.shown = lines;
    }

    /// Takes the lines away, so that something else can be written.
    pub(super) fn hide(&mut self) {
        write(self.on, &erasure(&self.drawn, size(self.on).0));
        self.leave();
    }

    /// Leaves the lines where they are, as if they had been written once.
    pub(super) fn leave(&mut self) {
        self.drawn.clear();
        self.shown.clear();
    }
}

/// Up to the first of the lines, and everything below away. A terminal that has become narrower since has
/// wrapped them.
fn erasure(drawn: &[usize], columns: usize) -> String {
    let rows: usize = drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
    if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
}

fn size(on: On) -> (usize, usize) {
    let size = match on {
        On::Stdout => rustix::termios::tcgetwinsize(io::stdout()),
        On::Stderr => rustix::termios::tcgetwinsize(io::stderr()),
    };
    let size = size.ok();
    // A terminal that does not know its size says zero.
    let known = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    known.map_or((80, 24), |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

fn write(on: On, text: &str) {
    if text.is_empty() {
        return;
    }
    // Who closed the stream does not want to know.
    let _ = match on {
        On::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        }
        On::Stderr => io::stderr().lock().write_all(text.as_bytes()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_were_wrapped_since_are_erased_whole() {
        assert_eq!(erasure(&[], 80), "");
        assert_eq!(erasure(&[10, 0, 79], 80), "\r\x1b[3A\x1b[J");
        assert_eq!(erasure(&[10, 60], 30), "\r\x1b[3A\x1b[J");
        assert_eq!(erasure(&[10], 0), "\r\x1b[10A\x1b[J");
    }
}
