//! The timeline as a drawing of its own: no script, no font; light or dark as the reader's desk is. Where the
//! programs take so much longer than podspec that its steps would be hair-thin, a panel of its own shows
//! these larger.

use super::{Bar, Row, Spent, Timeline, time};
use crate::draw::Wait;
use crate::draw::svg::STYLE as COMMON;
use crate::draw::words::{escape, fit, measure, text};
use std::collections::BTreeSet;
use std::fmt::Write;

const STYLE: &str = include_str!("style.css");

const MARGIN: f64 = 32.0;
/// Name, what it took, the critical path.
const HEAD: f64 = 84.0;
/// Above the first row: what a panel shows, and its ticks.
const PANEL_HEAD: f64 = 44.0;
/// Below the last line of the legend.
const FOOT: f64 = 24.0;
const WIDTH: f64 = 1240.0;
const LABEL_MOST: f64 = 210.0;
const PANEL_GAP: f64 = 26.0;
/// Between podspec's own rows and the containers'.
const GROUP_GAP: f64 = 10.0;
/// At the right of a panel; of the whole, for what is written beside the last bars.
const ROOM: f64 = 14.0;
const ROOM_OF_WHOLE: f64 = 66.0;
/// A bar is at least as wide.
const THINNEST: f64 = 1.6;
/// The whole is shown beside the set-up where it took so many times longer.
const MUCH_LONGER: u64 = 5;

/// What is written in bars, as large as it is measured: half bold is bold where a font has no half.
const INSIDE: f64 = 12.5;

/// As names are measured: half bold, as above.
fn label_size(row_height: f64) -> f64 {
    if row_height < 20.0 { 12.5 } else { 14.5 }
}

/// The timeline as one SVG document.
pub fn svg(timeline: &Timeline) -> String {
    Drawing::new(timeline, false).document()
}

/// Part of an HTML page, whose script can move its bars: one panel, times as attributes.
pub(super) fn zoomable(timeline: &Timeline) -> String {
    Drawing::new(timeline, true).document()
}

/// A stretch of time as a stretch of the drawing.
#[derive(Debug, Clone, Copy)]
struct Panel {
    x: f64,
    width: f64,
    /// Of it, at its right.
    room: f64,
    until: u64,
}

impl Panel {
    fn at(&self, micros: u64) -> f64 {
        let share = micros.min(self.until) as f64 / self.until as f64;
        self.x + share * (self.width - self.room)
    }

    fn right(&self) -> f64 {
        self.x + self.width
    }
}

struct Drawing<'a> {
    timeline: &'a Timeline,
    panels: Vec<Panel>,
    row_height: f64,
    /// A script moves its parts.
    moves: bool,
}

impl<'a> Drawing<'a> {
    fn new(timeline: &'a Timeline, moves: bool) -> Self {
        let row_height = match timeline.rows.len() {
            0..=16 => 30.0,
            17..=32 => 24.0,
            _ => 19.0,
        };
        let size = label_size(row_height);
        let names = timeline.rows.iter().map(|row| measure(&row.name, size));
        let label = names.fold(60.0, f64::max).min(LABEL_MOST) + 18.0;
        let (left, width) = (MARGIN + label, WIDTH - 2.0 * MARGIN - label);
        let whole = |x, width| Panel { x, width, room: ROOM_OF_WHOLE, until: timeline.end };
        let set_up = timeline.set_up.max(1);
        let panels = if moves || timeline.end < MUCH_LONGER * set_up {
            vec![whole(left, width)]
        } else {
            let own = (width - PANEL_GAP) * 0.38;
            let rest = whole(left + own + PANEL_GAP, width - own - PANEL_GAP);
            vec![Panel { x: left, width: own, room: ROOM, until: set_up }, rest]
        };
        Self { timeline, panels, row_height, moves }
    }

    fn top(&self) -> f64 {
        MARGIN + HEAD + PANEL_HEAD
    }

    /// The middle of a row.
    fn y(&self, row: usize) -> f64 {
        let first = self.timeline.rows.iter().position(|row| row.role.is_some());
        let gap = if first.is_some_and(|first| row >= first) { GROUP_GAP } else { 0.0 };
        self.top() + gap + (row as f64 + 0.5) * self.row_height
    }

    fn bottom(&self) -> f64 {
        match self.timeline.rows.len() {
            0 => self.top(),
            rows => self.y(rows - 1) + self.row_height / 2.0 + 6.0,
        }
    }

    fn document(&self) -> String {
        let foot = self.legend().last().map_or(self.bottom(), |entry| entry.at.1);
        let (width, height) = (WIDTH, foot + FOOT);
        let pod = escape(&self.timeline.pod);
        let dense = if self.row_height < 20.0 { " class=\"dense\"" } else { "" };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"start of pod {pod}\"{dense}{}>\n",
            self.geometry()
        );
        if !self.moves {
            let _ = writeln!(out, "<title>pod {pod}: {}</title>", escape(&about(self.timeline)));
        }
        let _ = writeln!(
            out,
            "<style>\n{COMMON}{STYLE}</style>\n<defs>\n\
             <pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><path class=\"hatch\" d=\"M0 0 V6\"/></pattern>"
        );
        for word in ["started", "ready", "completed", "critical"] {
            let _ = writeln!(
                out,
                "<marker id=\"t-{word}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
                 markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
                 <path class=\"{word} tip\" d=\"M0 0.6 L7.5 4 L0 7.4 Z\"/></marker>"
            );
        }
        for (n, panel) in self.panels.iter().enumerate() {
            let _ = writeln!(
                out,
                "<clipPath id=\"panel{n}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath>",
                panel.x - 2.0,
                self.top() - PANEL_HEAD,
                panel.width + 4.0,
                self.bottom() - self.top() + PANEL_HEAD
            );
        }
        let _ = writeln!(out, "</defs>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>");
        self.head(&mut out);
        self.labels(&mut out);
        for (n, panel) in self.panels.iter().enumerate() {
            self.panel(&mut out, n, panel);
        }
        self.foot(&mut out);
        out.push_str("</svg>\n");
        out
    }

    /// What the script needs to know.
    fn geometry(&self) -> String {
        let Some(panel) = self.panels.first().filter(|_| self.moves) else { return String::new() };
        format!(
            " data-x=\"{:.1}\" data-width=\"{:.1}\" data-end=\"{}\" data-top=\"{:.1}\" data-bottom=\"{:.1}\"",
            panel.x,
            panel.width - panel.room,
            panel.until,
            self.top(),
            self.bottom()
        )
    }

    fn head(&self, out: &mut String) {
        let room = WIDTH - 2.0 * MARGIN;
        text(out, "name", (MARGIN, MARGIN + 14.0), &fit(&self.timeline.pod, 22.0, room));
        text(out, "about", (MARGIN, MARGIN + 36.0), &fit(&about(self.timeline), 13.0, room));
        let path = self.timeline.path_names().join(" \u{2192} ");
        if !path.is_empty() {
            let words = format!("critical path: {path}");
            text(out, "path", (MARGIN, MARGIN + 56.0), &fit(&words, 14.0, room));
        }
    }

    fn labels(&self, out: &mut String) {
        let left = self.panels.first().map_or(MARGIN, |panel| panel.x);
        for (n, row) in self.timeline.rows.iter().enumerate() {
            let y = self.y(n);
            if n % 2 == 1 {
                let _ = writeln!(
                    out,
                    "<rect class=\"stripe\" x=\"{MARGIN}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"4\"/>",
                    y - self.row_height / 2.0,
                    left - MARGIN - 6.0,
                    self.row_height
                );
            }
            let class = if row.role.is_some() { "label" } else { "label own" };
            let name = fit(&row.name, label_size(self.row_height), left - MARGIN - 16.0);
            text(out, class, (MARGIN + 6.0, y + 4.0), &name);
        }
    }

    fn panel(&self, out: &mut String, n: usize, panel: &Panel) {
        let (top, bottom) = (self.top(), self.bottom());
        let _ = writeln!(
            out,
            "<rect class=\"panel\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"8\"/>",
            panel.x,
            top - PANEL_HEAD + 20.0,
            panel.width,
            bottom - top + PANEL_HEAD - 20.0
        );
        let words = match (self.panels.len(), n) {
            (1, _) => format!("from `podspec up`: {}", time(panel.until)),
            (_, 0) => format!("podspec sets the pod up: the first {}", time(panel.until)),
            _ => format!("the whole start: {}", time(panel.until)),
        };
        text(out, "range", (panel.x, top - PANEL_HEAD + 10.0), &fit(&words, 12.5, panel.width));
        for n in (1..self.timeline.rows.len()).step_by(2) {
            let _ = writeln!(
                out,
                "<rect class=\"stripe\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                panel.x,
                self.y(n) - self.row_height / 2.0,
                panel.width,
                self.row_height
            );
        }
        let _ = writeln!(out, "<g clip-path=\"url(#panel{n})\"><g class=\"scale\">");
        self.ticks(out, panel);
        out.push_str("</g>\n");
        for row in 0..self.timeline.rows.len() {
            self.row(out, panel, row);
        }
        self.arrows(out, panel);
        for row in 0..self.timeline.rows.len() {
            self.flag(out, panel, row);
        }
        out.push_str("</g>\n");
    }

    fn ticks(&self, out: &mut String, panel: &Panel) {
        let most = (panel.width / 84.0).max(2.0) as u64;
        let step = tick(panel.until, most);
        let (top, bottom) = (self.top(), self.bottom());
        for at in (0..=panel.until).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let x = panel.at(at);
            let _ =
                writeln!(out, "<path class=\"tick\" d=\"M{x:.1} {:.1} V{bottom:.1}\"/>", top - 4.0);
            let words = if at == 0 { "0".to_owned() } else { tick_words(at, step) };
            let x = x.max(panel.x + measure(&words, 11.0) / 2.0 + 2.0);
            text(out, "ticks", (x, top - 9.0), &words);
        }
    }

    fn row(&self, out: &mut String, panel: &Panel, n: usize) {
        let row = &self.timeline.rows[n];
        for bar in
            row.bars.iter().filter(|bar| bar.from < panel.until || panel.until == self.timeline.end)
        {
            self.bar(out, panel, n, bar);
        }
    }

    fn bar(&self, out: &mut String, panel: &Panel, n: usize, bar: &Bar) {
        let share = match bar.spent {
            Spent::Held => 0.3,
            Spent::Running => 0.24,
            Spent::Queue => 0.4,
            _ => 0.62,
        };
        let height = self.row_height * share;
        let (x, y) = (panel.at(bar.from), self.y(n) - height / 2.0);
        let width = (panel.at(bar.to) - x).max(THINNEST);
        let critical = if bar.critical { " critical" } else { "" };
        let _ = writeln!(
            out,
            "<rect class=\"bar {}{critical}\" x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" \
             rx=\"{:.1}\"{}><title>{}</title></rect>",
            bar.spent.class(),
            f64::min(3.0, width / 2.0),
            self.data_of(n, bar.from, bar.to),
            escape(&tip(&self.timeline.rows[n], bar))
        );
        self.inside(out, n, bar, (x, width));
    }

    /// As much about a bar as there is room in it for.
    fn inside(&self, out: &mut String, n: usize, bar: &Bar, (x, width): (f64, f64)) {
        if matches!(bar.spent, Spent::Held | Spent::Running | Spent::Queue) {
            return;
        }
        let class = if is_bright(bar.spent) { "inside" } else { "inside pale" };
        let short = time(bar.to.saturating_sub(bar.from));
        let full = format!("{} \u{b7} {short}", bar.what);
        let fits = |words: &&String| measure(words, INSIDE) + 12.0 < width;
        let words = [&full, &short].into_iter().find(fits);
        if words.is_none() && !self.moves {
            return;
        }
        let data = match self.moves {
            true => format!(" data-full=\"{}\" data-short=\"{short}\"", escape(&full)),
            false => String::new(),
        };
        let _ = writeln!(
            out,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\"{}{data}>{}</text>",
            x + 6.0,
            self.y(n) + 4.0,
            self.data(bar.from, bar.to),
            escape(words.map_or("", String::as_str))
        );
    }

    /// When a container was ready, or had completed.
    fn flag(&self, out: &mut String, panel: &Panel, n: usize) {
        let row = &self.timeline.rows[n];
        let is_last = panel.until == self.timeline.end;
        let Some((at, class)) = reached(row).filter(|(at, _)| is_last || *at <= panel.until) else {
            return;
        };
        let is_end = self.timeline.critical_path.last().is_some_and(|part| part.row == n);
        let critical = if is_end && self.timeline.is_ready { " critical" } else { "" };
        let (x, y) = (panel.at(at), self.y(n));
        let _ = writeln!(
            out,
            "<circle class=\"flag {class}{critical}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.2\"{}>\
             <title>{}: {class} at {}</title></circle>",
            self.data_of(n, at, at),
            escape(&row.name),
            time(at)
        );
        if !is_last {
            return;
        }
        let words = time(at);
        let width = measure(&words, 11.0);
        let beyond = x + 9.0 + width > panel.right();
        let (x, anchor) = if beyond { (x - 9.0, "end") } else { (x + 9.0, "start") };
        let _ = writeln!(
            out,
            "<text class=\"note{critical}\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\"{}>{words}</text>",
            y + 4.0,
            self.data(at, at)
        );
    }

    /// What waited for what; the critical path last, above the others.
    fn arrows(&self, out: &mut String, panel: &Panel) {
        let is_whole = panel.until == self.timeline.end;
        for arrow in self.timeline.arrows.iter().filter(|arrow| !arrow.critical) {
            if is_whole || arrow.until_at <= panel.until {
                let word = arrow.until.word();
                let ends = ((arrow.from, arrow.at), (arrow.to, arrow.until_at));
                self.arrow(out, panel, (word, word), ends);
            }
        }
        for pair in self.timeline.critical_path.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            if before.row != after.row && (is_whole || after.from <= panel.until) {
                let ends = ((before.row, before.to), (after.row, after.from));
                self.arrow(out, panel, ("critical", "critical"), ends);
            }
        }
    }

    fn arrow(
        &self,
        out: &mut String,
        panel: &Panel,
        (class, tip): (&str, &str),
        ((from, at), (to, until)): ((usize, u64), (usize, u64)),
    ) {
        let (x0, x1) = (panel.at(at), panel.at(until));
        let down = if to > from { 1.0 } else { -1.0 };
        let half = self.row_height * 0.31;
        let (y0, y1) = (self.y(from) + down * half, self.y(to));
        let d = if x1 - x0 > 14.0 {
            let bend = y1 - down * 7.0;
            format!("M{x0:.1} {y0:.1} V{bend:.1} Q{x0:.1} {y1:.1} {:.1} {y1:.1} H{x1:.1}", x0 + 7.0)
        } else {
            format!("M{x1:.1} {y0:.1} V{:.1}", y1 - down * half)
        };
        let data = if self.moves {
            format!(
                " data-from=\"{from}\" data-to=\"{to}\" data-a=\"{at}\" data-b=\"{until}\" data-y0=\"{y0:.1}\" data-y1=\"{y1:.1}\" data-half=\"{half:.1}\""
            )
        } else {
            String::new()
        };
        let _ = writeln!(
            out,
            "<path class=\"wait {class}\" marker-end=\"url(#t-{tip})\" d=\"{d}\"{data}/>"
        );
    }

    fn data(&self, from: u64, to: u64) -> String {
        if self.moves { format!(" data-a=\"{from}\" data-b=\"{to}\"") } else { String::new() }
    }

    fn data_of(&self, row: usize, from: u64, to: u64) -> String {
        let row = if self.moves { format!(" data-row=\"{row}\"") } else { String::new() };
        row + &self.data(from, to)
    }

    fn foot(&self, out: &mut String) {
        for Entry { sign, words, at: (x, y) } in self.legend() {
            let _ = match sign {
                Sign::Bar(spent) => writeln!(
                    out,
                    "<rect class=\"bar {}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"17\" height=\"11\" rx=\"2.5\"/>",
                    spent.class(),
                    y - 10.0
                ),
                Sign::Arrow(class) => writeln!(
                    out,
                    "<path class=\"wait {class}\" d=\"M{x:.1} {:.1} h17\" marker-end=\"url(#t-{class})\"/>",
                    y - 4.5
                ),
            };
            text(out, "about", (x + 24.0, y), words);
        }
    }

    /// What the signs mean, as many beside each other as there is room for.
    fn legend(&self) -> Vec<Entry> {
        let rows = self.timeline.rows.iter();
        let spent: BTreeSet<Spent> = rows.flat_map(|row| &row.bars).map(|bar| bar.spent).collect();
        let waits: BTreeSet<Wait> = self.timeline.arrows.iter().map(|arrow| arrow.until).collect();
        let bars = spent.into_iter().map(|spent| (Sign::Bar(spent), spent.words()));
        let arrows = waits.into_iter().map(|wait| (Sign::Arrow(wait.word()), waited_for(wait)));
        let path = (Sign::Arrow("critical"), "critical path");
        let (mut x, mut y) = (MARGIN, self.bottom() + 28.0);
        let place = |(sign, words): (Sign, &'static str)| {
            let width = 24.0 + measure(words, 13.0) + 22.0;
            if x + width > WIDTH - MARGIN {
                (x, y) = (MARGIN, y + 22.0);
            }
            x += width;
            Entry { sign, words, at: (x - width, y) }
        };
        bars.chain(arrows).chain([path]).map(place).collect()
    }
}

/// A line of the legend, and where it stands.
struct Entry {
    sign: Sign,
    words: &'static str,
    at: (f64, f64),
}

enum Sign {
    Bar(Spent),
    /// Of this class.
    Arrow(&'static str),
}

/// What it took, in a line.
pub(super) fn about(timeline: &Timeline) -> String {
    let total = time(timeline.end);
    let programs = timeline.for_programs();
    let own = timeline.end.saturating_sub(programs);
    let containers = timeline.rows.iter().filter(|row| row.role.is_some()).count();
    let noun = if containers == 1 { "container" } else { "containers" };
    let head = if timeline.is_ready {
        format!("ready {total} after `podspec up`")
    } else {
        format!("not ready {total} after `podspec up`")
    };
    let share = match programs {
        0 => String::new(),
        _ => format!(
            " \u{b7} on the critical path {} for programs, {} for podspec",
            time(programs),
            time(own)
        ),
    };
    format!("{head}{share} \u{b7} {containers} {noun} \u{b7} {}", timeline.began_at)
}

/// The moment for which others wait.
fn reached(row: &Row) -> Option<(u64, &'static str)> {
    match row.bars.iter().any(|bar| bar.spent == Spent::Completion) {
        true => row.completed.map(|at| (at, "completed")),
        false => row.ready.map(|at| (at, "ready")),
    }
}

fn waited_for(wait: Wait) -> &'static str {
    match wait {
        Wait::Done | Wait::Started => "waited for its start",
        Wait::Ready => "waited until it was ready",
        Wait::Completed => "waited for its end",
    }
}

/// Whether words in a bar of this kind are dark.
fn is_bright(spent: Spent) -> bool {
    matches!(
        spent,
        Spent::Readiness | Spent::Completion | Spent::Images | Spent::SetUp | Spent::PostStart
    )
}

fn tip(row: &Row, bar: &Bar) -> String {
    let length = time(bar.to.saturating_sub(bar.from));
    let open = if bar.open { ", and is not over" } else { "" };
    format!(
        "{}: {}\n{length}{open}, from {} to {}\n{}",
        row.name,
        bar.what,
        time(bar.from),
        time(bar.to),
        bar.spent.words()
    )
}

/// 1, 2 or 5 of a power of ten: at most so many of them.
fn tick(until: u64, most: u64) -> u64 {
    let mut power = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if until / step <= most || power > u64::MAX / 100 {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn tick_words(at: u64, step: u64) -> String {
    match at {
        0..1_000 => format!("{at} \u{b5}s"),
        1_000..1_000_000 if step.is_multiple_of(1_000) => format!("{} ms", at / 1_000),
        1_000..1_000_000 => format!("{:.1} ms", at as f64 / 1_000.0),
        _ if step.is_multiple_of(1_000_000) => format!("{} s", at / 1_000_000),
        _ => format!("{:.1} s", at as f64 / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(tick(12_400, 5), 5_000);
        assert_eq!(tick(1_240_000, 9), 200_000);
        assert_eq!(tick(1, 9), 1);
        assert_eq!(tick_words(1_500, 500), "1.5 ms");
        assert_eq!(tick_words(2_000_000, 1_000_000), "2 s");
    }
}
