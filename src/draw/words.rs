//! Text in drawings: how wide it is, as much of it as fits, and nothing in it that XML or a reader's eye
//! could take for something else.

use std::fmt::Write;

pub(super) fn text(out: &mut String, class: &str, (x, y): (f64, f64), words: &str) {
    let _ =
        writeln!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escape(words));
}

/// The width of a text in a common sans-serif font; rather too much than too little.
pub(super) fn measure(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.32,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.4,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '\u{2192}' => 0.95,
        'A'..='Z' => 0.7,
        c if c.is_ascii() => 0.6,
        _ => 1.05,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// As much of the text as there is room for.
pub(super) fn fit(text: &str, size: f64, room: f64) -> String {
    if measure(text, size) <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    for c in text.chars() {
        out.push(c);
        if measure(&out, size) + size > room {
            break;
        }
    }
    out.trim_end().to_owned() + "\u{2026}"
}

/// A text of the file as one line: a line's end is a sign, and what moves a cursor or turns the direction of text is
/// none of a picture's.
pub(super) fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => out.push_str(" \u{21b5} "),
            '\r' => {}
            '\t' => out.push(' '),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Text for XML. What XML cannot hold, and what turns the direction of text, is replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                out.push('\u{fffd}');
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
