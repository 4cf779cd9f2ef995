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

/// The tree, each part painted by `paint`.
pub fn tree(picture: &Picture, paint: &dyn Fn(Style, &str) -> String) -> String {
    let mut out = String::new();
    if let Some(lines) = &picture.infra {
        let about = paint(Style::Dim, &lines.join("   "));
        let _ = writeln!(out, "{}  {about}", paint(Style::Name, "infra"));
    }
    let width = picture.cards.iter().map(|card| card.name.chars().count()).max().unwrap_or(0);
    let levels = picture.levels();
    for level in 0..levels {
        let cards: Vec<usize> =
            (0..picture.cards.len()).filter(|&n| picture.cards[n].level == level).collect();
        let last_level = level + 1 == levels;
        let head = match cards.len() {
            1 => format!("{}", level + 1),
            count => format!("{}, {count} side by side", level + 1),
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
                after(picture, n, card, paint)
            );
        }
    }
    out
}

/// What it runs, and what it waits for.
fn after(
    picture: &Picture,
    n: usize,
    card: &Card,
    paint: &dyn Fn(Style, &str) -> String,
) -> String {
    let waits: Vec<String> = picture
        .edges
        .iter()
        .filter(|edge| edge.to == n && edge.until != Wait::Done)
        .map(|edge| {
            let style = match edge.until {
                Wait::Completed => Style::Completed,
                Wait::Ready => Style::Ready,
                Wait::Done | Wait::Started => Style::Started,
            };
            paint(style, &format!("{} {}", picture.cards[edge.from].name, edge.until.word()))
        })
        .collect();
    let mut out = String::new();
    if !waits.is_empty() {
        out = format!("  {} {}", paint(Style::Dim, "after"), waits.join(&paint(Style::Dim, ", ")));
    }
    let runs = card.lines.join("  ");
    if !runs.is_empty() {
        let _ = write!(out, "  {}", paint(Style::Dim, &runs));
    }
    out
}
