//! The picture as a drawing of its own: no Graphviz, no script, no font of its own; light or dark as the
//! reader's desk is. Every word of the file is escaped.

use super::layout::{self, Graph, Layout};
use super::words::{escape, fit, measure, text};
use super::{Card, Edge, Kind, Picture, Wait};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

pub(super) const STYLE: &str = include_str!("style.css");

const MARGIN: f64 = 32.0;
/// Above the first card: name, caption, critical path, heads of the levels.
const HEAD: f64 = 104.0;
const LEVEL_HEAD: f64 = 34.0;
const BAND: f64 = 14.0;
const FOOT: f64 = 64.0;
const RAIL: f64 = 188.0;
const RAIL_GAP: f64 = 58.0;
const LINE: f64 = 17.0;
/// Between two columns with no edge between them.
const ROOM: f64 = 20.0;
const PILL_HEIGHT: f64 = 18.0;
/// From a pill's right end to its card.
const PILL_ARROW: f64 = 16.0;
/// The most lines of infra's own.
const RAIL_LINES: usize = 12;

/// The picture as one SVG document.
pub fn svg(picture: &Picture) -> String {
    let drawing = Drawing::new(picture);
    drawing.document()
}

struct Drawing<'a> {
    picture: &'a Picture,
    layout: Layout,
    card_width: f64,
    /// Left upper corner of the part with the cards.
    origin: (f64, f64),
    height: f64,
}

impl<'a> Drawing<'a> {
    fn new(picture: &'a Picture) -> Self {
        let card_width = if picture.infra.is_some() { 232.0 } else { 280.0 };
        let pills = picture.edges.iter().map(|edge| pill_width(edge.until)).fold(0.0, f64::max);
        let count = picture.cards.len();
        let graph = Graph {
            sizes: picture.cards.iter().map(|card| (card_width, card_height(card))).collect(),
            levels: picture.cards.iter().map(|card| card.level).collect(),
            edges: graph_edges(picture),
            rows: ((count as f64).sqrt() * 1.6).ceil().max(7.0) as usize,
            gap: match picture.edges.is_empty() {
                true => ROOM,
                false => 72.0 + pills,
            },
        };
        let mut layout = layout::place(&graph);
        sort_ends(picture, &mut layout);
        let rail = picture.infra.as_ref().map_or(0.0, |lines| rail_height(lines.len()));
        let height = f64::max(layout.size.1, rail);
        let left = if picture.infra.is_some() { RAIL + RAIL_GAP } else { 0.0 };
        // What is lower than infra stands in its middle.
        let lower = (height - layout.size.1) / 2.0;
        let origin = (MARGIN + left, MARGIN + HEAD + lower);
        Self { picture, layout, card_width, origin, height }
    }

    fn size(&self) -> (f64, f64) {
        let right = self.origin.0 + f64::max(self.layout.size.0, self.card_width) + BAND;
        let least = MARGIN + 620.0;
        (f64::max(right, least) + MARGIN, MARGIN + HEAD + self.height + BAND + FOOT)
    }

    fn document(&self) -> String {
        let (width, height) = self.size();
        let name = escape(&self.picture.name);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"pod {name}\">\n\
             <title>pod {name}: {}</title>\n<style>\n{STYLE}</style>\n<defs>\n",
            escape(&self.picture.about)
        );
        for wait in [Wait::Done, Wait::Started, Wait::Ready, Wait::Completed] {
            let word = wait.word();
            let _ = writeln!(
                out,
                "<marker id=\"{word}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
                 markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
                 <path class=\"{word} tip\" d=\"M0 0.6 L7.5 4 L0 7.4 Z\"/></marker>"
            );
        }
        let _ = writeln!(out, "</defs>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>");
        self.head(&mut out);
        self.bands(&mut out);
        self.rail(&mut out);
        self.edges(&mut out);
        for (n, card) in self.picture.cards.iter().enumerate() {
            self.card(&mut out, n, card);
        }
        self.foot(&mut out);
        out.push_str("</svg>\n");
        out
    }

    fn head(&self, out: &mut String) {
        let (x, width) = (MARGIN, self.size().0 - 2.0 * MARGIN);
        text(out, "name", (x, MARGIN + 16.0), &fit(&self.picture.name, 22.0, width));
        text(out, "about", (x, MARGIN + 38.0), &fit(&self.picture.about, 13.0, width));
        let path = self.picture.critical_path().join(" \u{2192} ");
        if !path.is_empty() {
            text(
                out,
                "path",
                (x, MARGIN + 58.0),
                &fit(&format!("critical path: {path}"), 14.5, width),
            );
        }
    }

    fn bands(&self, out: &mut String) {
        let top = MARGIN + HEAD;
        for (level, &(left, right)) in self.layout.bands.iter().enumerate() {
            let (x, width) = (self.origin.0 + left - BAND, right - left + 2.0 * BAND);
            let (y, height) = (top - LEVEL_HEAD, self.height + LEVEL_HEAD + BAND);
            let _ = writeln!(
                out,
                "<rect class=\"band\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
                 height=\"{height:.1}\" rx=\"14\"/>"
            );
            let count = self.picture.cards.iter().filter(|card| card.level == level).count();
            let words = match count {
                1 => format!("level {}", level + 1),
                _ => format!("level {} \u{b7} {count} side by side", level + 1),
            };
            text(out, "level", (x + BAND, top - 12.0), &words);
        }
    }

    /// Infra stands beside everything: nothing of the pod begins before it.
    fn rail(&self, out: &mut String) {
        let Some(lines) = &self.picture.infra else { return };
        let (x, y) = (MARGIN, MARGIN + HEAD - LEVEL_HEAD);
        let height = self.height + LEVEL_HEAD + BAND;
        let _ = writeln!(
            out,
            "<g class=\"infra\"><rect class=\"rail\" x=\"{x}\" y=\"{y}\" width=\"{RAIL}\" \
             height=\"{height:.1}\" rx=\"14\"/>"
        );
        text(out, "title", (x + 16.0, y + 28.0), "infra");
        let mut at = y + 50.0;
        for line in shown(lines) {
            let line = fit(&line, 12.0, RAIL - 28.0);
            text(out, "line", (x + 16.0, at), &line);
            at += LINE;
        }
        out.push_str("</g>\n");
        for (n, card) in self.picture.cards.iter().enumerate() {
            // Cards behind others of the first level wait for infra as these do; one line is enough.
            if card.level == 0 && self.layout.cards[n].0 == 0.0 {
                let y = self.origin.1 + self.layout.cards[n].1 + card_height(card) / 2.0;
                let (from, to) = (MARGIN + RAIL, self.origin.0 - 2.0);
                let _ = writeln!(
                    out,
                    "<path class=\"edge done\" data-from=\"infra\" data-to=\"n{n}\" \
                     marker-end=\"url(#done)\" d=\"M{from:.1} {y:.1} H{to:.1}\"/>"
                );
            }
        }
    }

    /// What is critical is drawn last, above the others.
    fn edges(&self, out: &mut String) {
        let mut order: Vec<usize> = (0..self.picture.edges.len()).collect();
        order.sort_by_key(|&n| self.picture.edges[n].critical);
        for n in order {
            let edge = &self.picture.edges[n];
            let word = edge.until.word();
            let critical = if edge.critical { " critical" } else { "" };
            let tip = if edge.until == Wait::Done { " marker-end=\"url(#done)\"" } else { "" };
            let _ = writeln!(
                out,
                "<path class=\"edge {word}{critical}\" data-from=\"n{}\" data-to=\"n{}\"{tip} d=\"{}\"/>",
                edge.from,
                edge.to,
                self.curve(&self.layout.routes[n])
            );
        }
        self.pills(out);
    }

    /// One for all that a card waits for in the same way, right before it.
    fn pills(&self, out: &mut String) {
        let mut pills: BTreeMap<(usize, Wait), ((f64, f64), bool)> = BTreeMap::new();
        for (edge, route) in self.picture.edges.iter().zip(&self.layout.routes) {
            if let (true, Some(&end)) = (edge.until != Wait::Done, route.last()) {
                let pill = pills.entry((edge.to, edge.until)).or_insert((end, false));
                pill.1 |= edge.critical;
            }
        }
        for ((_, until), ((x, y), critical)) in pills {
            let (x, y) = (self.origin.0 + x, self.origin.1 + y);
            let (width, word) = (pill_width(until), until.word());
            let critical = if critical { " critical" } else { "" };
            let right = x + width;
            let _ = writeln!(
                out,
                "<g class=\"pill {word}{critical}\"><path class=\"edge {word}{critical}\" \
                 marker-end=\"url(#{word})\" d=\"M{right:.1} {y:.1} h{:.1}\"/>\
                 <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width}\" height=\"{PILL_HEIGHT}\" rx=\"9\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{word}</text></g>",
                PILL_ARROW - 2.0,
                y - PILL_HEIGHT / 2.0,
                x + width / 2.0,
                y + 4.0,
            );
        }
    }

    fn curve(&self, points: &[(f64, f64)]) -> String {
        let mut out = String::new();
        let mut last: Option<(f64, f64)> = None;
        for &(x, y) in points {
            let (x, y) = (self.origin.0 + x, self.origin.1 + y);
            let _ = match last {
                None => write!(out, "M{x:.1} {y:.1}"),
                Some((_, before)) if (before - y).abs() < 0.05 => write!(out, " H{x:.1}"),
                Some((left, before)) => {
                    let bend = (x - left) / 2.0;
                    let (a, b) = (left + bend, x - bend);
                    write!(out, " C{a:.1} {before:.1} {b:.1} {y:.1} {x:.1} {y:.1}")
                }
            };
            last = Some((x, y));
        }
        out
    }

    fn card(&self, out: &mut String, n: usize, card: &Card) {
        let (x, y) = self.layout.cards[n];
        let (x, y) = (self.origin.0 + x, self.origin.1 + y);
        let (width, height) = (self.card_width, card_height(card));
        let kind = match card.kind {
            Kind::Container => "container",
            Kind::Infra => "infra",
            Kind::Network => "network",
            Kind::Files => "files",
        };
        let critical = if card.critical { " critical" } else { "" };
        let _ = writeln!(
            out,
            "<g class=\"card {kind}{critical}\" id=\"n{n}\"><title>{}</title>\
             <rect class=\"body\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>\
             <rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"{:.1}\" rx=\"2\"/>",
            escape(&[std::slice::from_ref(&card.name), card.lines.as_slice()].concat().join("\n")),
            x + 8.0,
            y + 10.0,
            height - 20.0,
        );
        let room = width - 34.0;
        text(out, "title", (x + 22.0, y + 24.0), &fit(&card.name, 16.0, room));
        for (row, line) in card.lines.iter().enumerate() {
            let at = (x + 22.0, y + 43.0 + row as f64 * LINE);
            text(out, "line", at, &fit(line, 12.0, room));
        }
        out.push_str("</g>\n");
    }

    fn foot(&self, out: &mut String) {
        let y = MARGIN + HEAD + self.height + BAND + 34.0;
        let waits: BTreeSet<Wait> = self.picture.edges.iter().map(|edge| edge.until).collect();
        let mut x = MARGIN;
        for wait in waits.into_iter().filter(|wait| *wait != Wait::Done) {
            let (word, width) = (wait.word(), pill_width(wait));
            let _ = writeln!(
                out,
                "<g class=\"pill {word}\"><rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width}\" \
                 height=\"{PILL_HEIGHT}\" rx=\"9\"/><text x=\"{:.1}\" y=\"{:.1}\">{word}</text></g>",
                y - 13.0,
                x + width / 2.0,
                y,
            );
            let meaning = match wait {
                Wait::Completed => "its program ended with 0",
                Wait::Ready => "its probes succeed",
                _ => "its program runs",
            };
            x += width + 8.0;
            text(out, "about", (x, y), meaning);
            x += measure(meaning, 13.0) + 24.0;
        }
        if self.picture.edges.iter().any(|edge| edge.critical) {
            let _ = writeln!(
                out,
                "<g class=\"legend\"><rect class=\"body\" x=\"{x:.1}\" y=\"{:.1}\" width=\"26\" \
                 height=\"14\" rx=\"5\"/></g>",
                y - 11.0
            );
            text(out, "about", (x + 34.0, y), "critical path: the longest wait (nothing is timed)");
        }
    }
}

/// Where each edge ends: at its pill, if it has one.
fn graph_edges(picture: &Picture) -> Vec<layout::Edge> {
    let before = |until: Wait| match until {
        Wait::Done => 2.0,
        _ => pill_width(until) + PILL_ARROW,
    };
    let edge =
        |edge: &Edge| layout::Edge { from: edge.from, to: edge.to, before: before(edge.until) };
    picture.edges.iter().map(edge).collect()
}

/// A card's pills one above the other, in the order in which their edges come, so that these do not cross.
fn sort_ends(picture: &Picture, layout: &mut Layout) {
    let mut waits: BTreeMap<(usize, Wait), (f64, f64)> = BTreeMap::new();
    for (edge, route) in picture.edges.iter().zip(&layout.routes) {
        let come = route.iter().rev().nth(1).map_or(0.0, |point| point.1);
        let (sum, count) = waits.entry((edge.to, edge.until)).or_default();
        (*sum, *count) = (*sum + come, *count + 1.0);
    }
    for (edge, route) in picture.edges.iter().zip(&mut layout.routes) {
        let mut mine: Vec<(f64, Wait)> = waits
            .range((edge.to, Wait::Done)..=(edge.to, Wait::Completed))
            .map(|((_, wait), (sum, count))| (sum / count, *wait))
            .collect();
        mine.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let place = mine.iter().position(|(_, wait)| *wait == edge.until).unwrap_or(0);
        let row = place as f64 - (mine.len() as f64 - 1.0) / 2.0;
        if let Some(end) = route.last_mut() {
            end.1 += row * (PILL_HEIGHT + 4.0);
        }
    }
}

fn shown(lines: &[String]) -> Vec<String> {
    let mut shown: Vec<String> = lines.iter().take(RAIL_LINES).cloned().collect();
    if lines.len() > RAIL_LINES {
        shown.push(format!("and {} more", lines.len() - RAIL_LINES));
    }
    shown
}

fn rail_height(lines: usize) -> f64 {
    let lines = if lines > RAIL_LINES { RAIL_LINES + 1 } else { lines };
    f64::max(18.0 + LINE * lines as f64, 62.0)
}

fn card_height(card: &Card) -> f64 {
    38.0 + LINE * card.lines.len() as f64
}

fn pill_width(until: Wait) -> f64 {
    match until {
        Wait::Done => 0.0,
        Wait::Started => 56.0,
        Wait::Ready => 50.0,
        Wait::Completed => 74.0,
    }
}
