//! Bars at the foot of a terminal, one for each thing that arrives.

use super::output;
use super::screen::{On, Screen};
use super::table::begin;
use std::time::{Duration, Instant};

/// Columns of a bar itself.
const WIDTH: u64 = 24;
/// What arrives is drawn at most this often.
const EVERY: Duration = Duration::from_millis(100);

pub(super) struct Bars {
    /// None once they have come to their end.
    screen: Option<Screen>,
    bars: Vec<Bar>,
    drawn: Option<Instant>,
}

/// How much of one thing is here, in bytes.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) here: u64,
    pub(super) total: u64,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Arrives,
    /// With what it waits for.
    Waits(&'static str),
    /// With how it came.
    Done(&'static str),
}

impl Bars {
    /// `None` where standard error is no terminal, or nobody wants to see it.
    pub(super) fn open() -> Option<Self> {
        let screen = if output::is_quiet() { None } else { Screen::open(On::Stderr) };
        screen.is_some().then(|| Self { screen, bars: Vec::new(), drawn: None })
    }

    /// Seen before anything of it arrives. Its number is for `change`.
    pub(super) fn add(&mut self, name: String, total: u64) -> usize {
        self.bars.push(Bar { name, here: 0, total, state: State::Arrives });
        self.draw();
        self.bars.len() - 1
    }

    pub(super) fn change(&mut self, number: usize, change: impl FnOnce(&mut Bar)) {
        let Some(bar) = self.bars.get_mut(number) else { return };
        let before = bar.state;
        change(bar);
        let is_news = bar.state != before;
        if is_news || self.drawn.is_none_or(|at| at.elapsed() >= EVERY) {
            self.draw();
        }
    }

    /// A line above them.
    pub(super) fn say(&mut self, line: &str) {
        if let Some(screen) = &mut self.screen {
            screen.hide();
        }
        output::progress(line);
        self.draw();
    }

    /// Takes them away, for good.
    pub(super) fn end(&mut self) {
        if let Some(mut screen) = self.screen.take() {
            screen.hide();
        }
    }

    fn draw(&mut self) {
        let Some(screen) = &mut self.screen else { return };
        let (columns, rows) = screen.room();
        let lines = lines(&self.bars, columns, rows);
        screen.draw(lines.clone(), &lines);
        self.drawn = Some(Instant::now());
    }
}

/// Where there is no room for all, those that have not come to their end are seen before the others.
fn lines(bars: &[Bar], columns: usize, rows: usize) -> Vec<String> {
    let lines: Vec<String> = if bars.len() <= rows {
        bars.iter().map(Bar::line).collect()
    } else {
        let is_done = |bar: &&Bar| matches!(bar.state, State::Done(_));
        let (done, open): (Vec<_>, Vec<_>) = bars.iter().partition(is_done);
        let shown = open.len().min(rows.saturating_sub(2));
        let counts = [(done.len(), "done"), (open.len() - shown, "more")];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        let counted: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        open.iter().take(shown).map(|bar| bar.line()).chain([counted.join(", ")]).collect()
    };
    lines.iter().map(|line| begin(line, columns)).collect()
}

impl Bar {
    fn line(&self) -> String {
        let full = match self.state {
            State::Done(_) => WIDTH,
            _ => self.here.saturating_mul(WIDTH).checked_div(self.total).unwrap_or(0).min(WIDTH),
        };
        let full = full as usize;
        let mut bar = "=".repeat(full);
        if full < WIDTH as usize {
            bar.push('>');
        }
        let words = match self.state {
            State::Arrives => "",
            State::Waits(words) | State::Done(words) => words,
        };
        let [here, total] = [self.here, self.total].map(output::size);
        let (name, width) = (&self.name, WIDTH as usize);
        format!("{name} {bar:width$} {here:>6} of {total:<6} {words}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, here: u64, total: u64, state: State) -> Bar {
        Bar { name: name.to_owned(), here, total, state }
    }

    #[test]
    fn a_bar_tells_how_much_is_here_and_how_it_stands() {
        let waits = State::Waits("another pull fetches it");
        let bars = [
            bar("a1", 0, 2048, State::Arrives),
            bar("b2", 1 << 19, 1 << 20, State::Arrives),
            bar("c3", 0, 0, waits),
            bar("d4", 5, 5, State::Done("is here")),
        ];
        let expected = "\
a1 >                            0B of 2.0Ki
b2 ============>             512Ki of 1.0Mi
c3 >                            0B of 0B     another pull fetches it
d4 ========================     5B of 5B     is here";
        assert_eq!(lines(&bars, 79, 20).join("\n"), expected);
        assert_eq!(lines(&bars[..1], 10, 20), ["a1 >      "]);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut bars: Vec<Bar> =
            (0..6).map(|n| bar(&format!("d{n}"), 1, 1, State::Done("is here"))).collect();
        bars.extend((0..6).map(|n| bar(&format!("o{n}"), 1, 2, State::Arrives)));
        let shown = lines(&bars, 79, 5);
        let names: Vec<&str> = shown.iter().map(|line| &line[..2]).collect();
        assert_eq!(names, ["o0", "o1", "o2", "6 "]);
        assert_eq!(shown.last().map(String::as_str), Some("6 done, 3 more"));
        assert_eq!(lines(&bars[..6], 79, 5), ["6 done"]);
    }
}
