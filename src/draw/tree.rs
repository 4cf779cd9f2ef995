//! The picture as a tree for a terminal: a branch a level, a leaf a card.

use super::{Card, Picture, Wait};
use std::fmt::Write;

/// How a part of the tree is meant, for whoever has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Lines of the tree, and what is said beside.
    Dim,
    Name,
    Critical,
    Started,
    Ready,
    Completed,
}

/// The tree, each part painted by `paint`, no line longer than `columns`.
pub fn tree(picture: &Picture, columns: usize, paint: &dyn Fn(Style, &str) -> String) -> String {
    let mut out = String::new();
    if let Some(lines) = &picture.infra {
        let about = [(Style::Dim, lines.join("   "))];
        let about = fitted(&about, columns.saturating_sub(7), paint);
        let _ = writeln!(out, "{}  {about}", paint(Style::Name, "infra"));
    }
    let width = picture.cards.iter().map(|card| card.name.chars().count()).max().unwrap_or(0);
    let levels = picture.levels();
    for level in 0..levels {
        let cards: Vec<usize> =
            (0..picture.cards.len()).filter(|&n| picture.cards[n].level == level).collect();
        let last_level = level + 1 == levels;
        let head = match cards.len() {
            1 => format!("level {}", level + 1),
            count => format!("level {}, {count} side by side", level + 1),
        };
        let (branch, stem) =
            if last_level { ("\u{2514}\u{2500}", "  ") } else { ("\u{251c}\u{2500}", "\u{2502} ") };
        let _ = writeln!(out, "{}", paint(Style::Dim, &format!("{branch} {head}")));
        for (place, &n) in cards.iter().enumerate() {
            let branch =
                if place + 1 == cards.len() { "\u{2514}\u{2500}" } else { "\u{251c}\u{2500}" };
            let card = &picture.cards[n];
            let style = if card.critical { Style::Critical } else { Style::Name };
            let _ = writeln!(
                out,
                "{} {}{}",
                paint(Style::Dim, &format!("{stem} {branch}")),
                paint(style, &format!("{:<width$}", card.name)),
                fitted(&after(picture, n, card), columns.saturating_sub(6 + width), paint)
            );
        }
    }
    out
}

/// What it waits for, and what it runs.
fn after(picture: &Picture, n: usize, card: &Card) -> Vec<(Style, String)> {
    let mut parts = Vec::new();
    for edge in picture.edges.iter().filter(|edge| edge.to == n && edge.until != Wait::Done) {
        let style = match edge.until {
            Wait::Completed => Style::Completed,
            Wait::Ready => Style::Ready,
            Wait::Done | Wait::Started => Style::Started,
        };
        let before = if parts.is_empty() { "  after " } else { ", " };
        parts.push((Style::Dim, before.to_owned()));
        parts.push((style, format!("{} {}", picture.cards[edge.from].name, edge.until.word())));
    }
    let runs = card.lines.join("  ");
    if !runs.is_empty() {
        parts.push((Style::Dim, format!("  {runs}")));
    }
    parts
}

/// The parts one after another, as far as there is room. What is beyond ASCII is taken to be two columns wide.
fn fitted(
    parts: &[(Style, String)],
    mut room: usize,
    paint: &dyn Fn(Style, &str) -> String,
) -> String {
    let column = |c: char| if c.is_ascii() { 1 } else { 2 };
    let mut out = String::new();
    for (style, text) in parts {
        let wide: usize = text.chars().map(column).sum();
        if wide <= room {
            out.push_str(&paint(*style, text));
            room -= wide;
            continue;
        }
        let mut left = room.saturating_sub(2);
        let fits = |c: &char| {
            let is_room = column(*c) <= left;
            left = left.saturating_sub(column(*c));
            is_room
        };
        let begin: String = text.chars().take_while(fits).collect();
        out.push_str(&paint(*style, &format!("{}\u{2026}", begin.trim_end())));
        break;
    }
    out
}
