//! The lines of a log that are kept to be shown, and which of them stand on the screen. Pure.

use super::input::Move;
use std::collections::VecDeque;

/// More than anyone scrolls through here; `podspec logs` has all.
const LINES: usize = 10_000;
/// Of a line, in characters.
const LONGEST: usize = 4000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogLine {
    /// The container's place among those whose lines these are.
    pub(super) container: usize,
    pub(super) is_error: bool,
    /// As a terminal may have it.
    pub(super) text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// Whose lines these are; one alone is not named in front of them.
    pub(super) names: Vec<String>,
    lines: VecDeque<LogLine>,
    /// How many there were before the first that is kept.
    dropped: usize,
    /// The lowest that is shown, counted from the first there ever was; `None`: whichever comes last.
    bottom: Option<usize>,
}

impl Log {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    pub(super) fn push(&mut self, mut line: LogLine) {
        if let Some((end, _)) = line.text.char_indices().nth(LONGEST) {
            line.text.truncate(end);
        }
        line.text = line.text.replace('\t', "    ");
        if self.lines.len() == LINES {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether new lines are shown as they come.
    pub(super) fn follows(&self) -> bool {
        self.bottom.is_none()
    }

    /// How many lines came after the lowest that is shown.
    pub(super) fn below(&self) -> usize {
        self.bottom.map_or(0, |bottom| self.end().saturating_sub(bottom + 1))
    }

    /// The lowest line that is shown, and those above it, upwards.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &LogLine> {
        let shown = self
            .bottom
            .map_or(self.lines.len(), |bottom| bottom + 1 - self.dropped.min(bottom + 1));
        self.lines.iter().take(shown.max(1)).rev()
    }

    pub(super) fn follow(&mut self) {
        self.bottom = None;
    }

    /// Goes through it; `height` lines are a page.
    pub(super) fn go(&mut self, way: Move, height: usize) {
        let page = height.saturating_sub(1).max(1);
        let at = self.bottom.unwrap_or(self.end().saturating_sub(1));
        let to = match way {
            Move::Up => at.saturating_sub(1),
            Move::Down => at + 1,
            Move::PageUp => at.saturating_sub(page),
            Move::PageDown => at.saturating_add(page),
            Move::First => 0,
            Move::Last => usize::MAX,
            Move::PreviousPod | Move::NextPod => return,
        };
        // The first page is the highest there is.
        let to = to.max(self.dropped + page);
        self.bottom = (to < self.end().saturating_sub(1)).then_some(to);
    }

    /// How many lines there ever were.
    pub(super) fn written(&self) -> usize {
        self.end()
    }

    fn end(&self) -> usize {
        self.dropped + self.lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: usize) -> Log {
        let mut log = Log::new(vec!["web".to_owned()]);
        for n in 0..lines {
            log.push(LogLine { container: 0, is_error: false, text: n.to_string() });
        }
        log
    }

    fn shown(log: &Log, height: usize) -> Vec<usize> {
        let mut lines: Vec<usize> =
            log.upwards().take(height).map(|line| line.text.parse().unwrap()).collect();
        lines.reverse();
        lines
    }

    #[test]
    fn it_follows_until_one_goes_up_and_again_from_the_end_on() {
        let mut log = log(20);
        assert_eq!(shown(&log, 5), [15, 16, 17, 18, 19]);
        log.go(Move::Up, 5);
        assert_eq!((shown(&log, 5), log.below()), (vec![14, 15, 16, 17, 18], 1));
        log.push(LogLine { container: 0, is_error: false, text: "20".to_owned() });
        assert_eq!((shown(&log, 5), log.below()), (vec![14, 15, 16, 17, 18], 2), "it stays");
        log.go(Move::PageUp, 5);
        assert_eq!(shown(&log, 5), [10, 11, 12, 13, 14]);
        log.go(Move::First, 5);
        assert_eq!(shown(&log, 5), [0, 1, 2, 3, 4]);
        log.go(Move::Up, 5);
        assert_eq!(shown(&log, 5), [0, 1, 2, 3, 4]);
        log.go(Move::Last, 5);
        assert!(log.follows());
        assert_eq!(shown(&log, 5), [16, 17, 18, 19, 20]);
        log.go(Move::Down, 5);
        assert!(log.follows());
    }

    #[test]
    fn few_lines_have_nothing_to_go_through() {
        for lines in 0..5 {
            let mut log = log(lines);
            for way in [Move::Up, Move::PageUp, Move::First, Move::Down] {
                log.go(way, 5);
                assert!(log.follows(), "{lines} {way:?}");
            }
            assert_eq!(shown(&log, 5).len(), lines);
        }
    }

    #[test]
    fn the_oldest_lines_go_and_what_is_shown_does_not_jump() {
        let mut log = log(LINES);
        log.go(Move::PageUp, 5);
        let before = shown(&log, 5);
        for n in LINES..LINES + 100 {
            log.push(LogLine { container: 0, is_error: false, text: n.to_string() });
        }
        assert_eq!(shown(&log, 5), before);
        // Also where it is gone.
        log.go(Move::First, 5);
        for n in 0..LINES {
            log.push(LogLine { container: 0, is_error: false, text: n.to_string() });
        }
        assert!(!shown(&log, 5).is_empty());
        log.go(Move::Down, 5);
        assert!(!log.follows());
    }
}
