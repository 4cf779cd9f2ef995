//! Bytes of a text to lines and columns, for many places of a long text.

use std::sync::Mutex;

/// Where the lines of a text begin.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<u32>,
    /// A byte and its column: places come in order, and a line may be the whole of a long file.
    last: Mutex<(usize, usize)>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = ends.filter_map(|(at, _)| u32::try_from(at + 1).ok());
        Self { text, starts: std::iter::once(0).chain(starts).collect(), last: Mutex::new((0, 0)) }
    }

    /// The index of the line that a byte is on.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= byte) - 1
    }

    /// The bytes of a line, without its end.
    pub(super) fn range(&self, line: usize) -> std::ops::Range<usize> {
        let start = self.starts.get(line).map_or(self.text.len(), |start| *start as usize);
        let next = self.starts.get(line + 1).map(|start| *start as usize - 1);
        start..next.unwrap_or(self.text.len())
    }

    /// Line and column of a byte, from 1; columns are characters.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let line = self.line(byte);
        let start = self.range(line).start;
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (known, column) = match *last {
            (at, column) if (start..=byte).contains(&at) => (at, column),
            _ => (start, 0),
        };
        let mut counted = self.text.get(known..byte).unwrap_or_default();
        if known == 0 {
            // A mark at the head of the file is no column.
            counted = counted.trim_start_matches('\u{feff}');
        }
        let column = column + counted.chars().count();
        *last = (byte, column);
        (line + 1, column + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_any_order() {
        let text = "\u{feff}ab\nж\u{1f600}c\n";
        let lines = Lines::new(text);
        let at = |word: &str| lines.position(text.find(word).unwrap());
        assert_eq!((at("c"), at("b"), at("a")), ((2, 3), (1, 2), (1, 1)));
        assert_eq!((lines.position(0), lines.position(999)), ((1, 1), (3, 1)));
        assert_eq!(&text[lines.range(1)], "ж\u{1f600}c");
    }
}
