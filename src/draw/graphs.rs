//! The picture as text for other programs: Graphviz and Mermaid.

use super::{Picture, Wait};
use std::fmt::Write;

/// For Graphviz: `podspec graph --format dot | dot -Tpdf`.
pub fn dot(picture: &Picture) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "digraph {} {{", dot_text(&picture.name));
    out.push_str(
        "  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#f4f6fb\", ",
    );
    out.push_str("fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n");
    if let Some(lines) = &picture.infra {
        let label = [&["infra".to_owned()], lines.as_slice()].concat().join("\n");
        let _ = writeln!(out, "  infra [label={}, fillcolor=\"#e3e8f4\"];", dot_text(&label));
    }
    for (n, card) in picture.cards.iter().enumerate() {
        let label = [std::slice::from_ref(&card.name), card.lines.as_slice()].concat().join("\n");
        let width = if card.critical { ", penwidth=2" } else { "" };
        let _ = writeln!(out, "  n{n} [label={}{width}];", dot_text(&label));
        if card.level == 0 && picture.infra.is_some() {
            let _ = writeln!(out, "  infra -> n{n};");
        }
    }
    for edge in &picture.edges {
        let label = if edge.until == Wait::Done { "" } else { edge.until.word() };
        let width = if edge.critical { ", penwidth=2" } else { "" };
        let color = color(edge.until);
        let (from, to) = (edge.from, edge.to);
        let _ = writeln!(out, "  n{from} -> n{to} [label=\"{label}\", color=\"{color}\"{width}];");
    }
    out.push_str("}\n");
    out
}

/// In quotes; Graphviz reads entities of HTML in every text.
fn dot_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '&' => out.push_str("&amp;"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// For Markdown that draws: GitHub, GitLab, and others.
pub fn mermaid(picture: &Picture) -> String {
    let mut out = String::from("flowchart LR\n");
    if let Some(lines) = &picture.infra {
        let label = [&["infra".to_owned()], lines.as_slice()].concat();
        let _ = writeln!(out, "  infra[[\"{}\"]]", mermaid_text(&label));
    }
    for (n, card) in picture.cards.iter().enumerate() {
        let label = [std::slice::from_ref(&card.name), card.lines.as_slice()].concat();
        let _ = writeln!(out, "  n{n}[\"{}\"]", mermaid_text(&label));
        if card.level == 0 && picture.infra.is_some() {
            let _ = writeln!(out, "  infra --> n{n}");
        }
    }
    for edge in &picture.edges {
        let (from, to) = (edge.from, edge.to);
        let arrow = if edge.critical { "==>" } else { "-->" };
        let label = match edge.until {
            Wait::Done => String::new(),
            until => format!("|{}|", until.word()),
        };
        let _ = writeln!(out, "  n{from} {arrow}{label} n{to}");
    }
    for (n, _) in picture.cards.iter().enumerate().filter(|(_, card)| card.critical) {
        let _ = writeln!(out, "  class n{n} critical");
    }
    out.push_str("  classDef critical stroke-width:3px\n");
    out
}

/// Nothing that Mermaid or HTML could take for its own: entities by number.
fn mermaid_text(lines: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || " .,:/-_=+()".contains(c) || c == '\u{2192}';
    let line = |line: &String| {
        line.chars().fold(String::new(), |mut out, c| {
            if plain(c) {
                out.push(c);
            } else if !c.is_control() {
                let _ = write!(out, "#{};", c as u32);
            }
            out
        })
    };
    lines.iter().map(line).collect::<Vec<_>>().join("<br/>")
}

pub(super) fn color(until: Wait) -> &'static str {
    match until {
        Wait::Done => "#8a93a6",
        Wait::Started => "#3b76d6",
        Wait::Ready => "#2e8b57",
        Wait::Completed => "#b0641a",
    }
}
