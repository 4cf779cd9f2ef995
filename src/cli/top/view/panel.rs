//! What is selected: what it needs and who needs it, what it uses and has used, and the end of its log; or its
//! log alone.

use super::style::{Kind, Style, sign};
use super::{Pen, columns};
use crate::cli::output::{sanitize, size};
use crate::cli::ps;
use crate::cli::table::cut;
use crate::cli::top::log::{Log, LogLine};
use crate::cli::top::model::{Model, Pod, Usage};
use crate::names::ContainerName;
use crate::plan::step::Until;
use crate::state::record::ContainerRecord;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use std::collections::VecDeque;

/// What stands in a line with a drawing of what was used.
const BESIDE_GRAPH: usize = 49;
/// In front of what is said of the selected one.
const LABEL: usize = 11;

/// Lines of a log that a panel of this size has room for when it has nothing else.
pub(super) fn log_height(area: Rect) -> u16 {
    area.height.saturating_sub(1)
}

pub(super) fn draw(model: &Model, pen: &mut Pen<'_>, area: Rect) {
    let Some(target) = model.selected().filter(|_| area.height > 1) else { return };
    let Some(pod) = model.pod(&target.pod) else { return };
    let one = One { pod, container: model.container(target) };
    let mut inner = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let is_beside = area.x > 0;
    if is_beside {
        for y in area.y..area.bottom() {
            pen.put(Rect { y, ..area }, &Line::styled("│", pen.style.of(Kind::Line)));
        }
        inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(1), ..inner };
    }
    one.title(model, pen, Rect { x: inner.x, width: inner.width, ..area });
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    if model.shows_log() {
        return log(&model.log, pen, inner);
    }
    let about = one.about(model.usage(target), pen, inner.width);
    let mut left = inner;
    for line in about.iter().take(usize::from(inner.height)) {
        pen.put(left, line);
        left = Rect { y: left.y + 1, height: left.height - 1, ..left };
    }
    if left.height >= 2 {
        let rule = "── log ".to_owned() + &"─".repeat(usize::from(left.width));
        pen.put(left, &Line::styled(rule, pen.style.of(Kind::Line)));
        log(&model.log, pen, Rect { y: left.y + 1, height: left.height - 1, ..left });
    }
}

/// What is selected.
struct One<'a> {
    pod: &'a Pod,
    container: Option<&'a ContainerRecord>,
}

impl One<'_> {
    /// Its name and state, in a line across.
    fn title(&self, model: &Model, pen: &mut Pen<'_>, area: Rect) {
        let style = pen.style;
        let line = "─".repeat(usize::from(area.width));
        pen.put(area, &Line::styled(line, style.of(Kind::Line)));
        let mut spans = vec![Span::raw(" ")];
        let (name, state, kind) = match (self.container, &self.pod.record) {
            (Some(container), Some(record)) => {
                let (sign, kind) = sign(container.status, container.ready);
                spans.push(Span::styled(format!("{sign} "), style.of(kind)));
                let role = ps::role(container.role);
                let words = ps::container_status(record.status, container);
                (format!("{}/{}{role}", self.pod.name, container.name), words, kind)
            }
            _ => (self.pod.name.to_string(), self.pod.status.clone(), Kind::Plain),
        };
        spans.push(Span::styled(name, style.of(Kind::Name)));
        let state = cut(&state, usize::from(area.width.saturating_sub(30)));
        spans.push(Span::styled(format!("  {state} "), style.of(kind)));
        if model.shows_log() {
            let place = match (model.log.follows(), model.log.below()) {
                (true, _) => " follows ".to_owned(),
                (false, below) => format!(" {below} more below "),
            };
            spans.push(Span::styled("─", style.of(Kind::Line)));
            spans.push(Span::styled(place, style.of(Kind::Faint)));
        }
        let at = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        pen.put(at, &Line::from(spans));
    }

    fn about<'l>(&self, usage: Option<&Usage>, pen: &Pen<'_>, width: u16) -> Vec<Line<'l>> {
        let (style, now) = (pen.style, pen.now);
        match self.container {
            None => of_pod(self.pod, usage, style, width),
            Some(container) => {
                let mut lines = of_container(self.pod, container, style, width);
                // Of one that has ended its cgroup may still tell.
                if let Some(usage) = usage.filter(|_| container.pid.is_some()) {
                    lines.extend(uses(usage, style, width));
                }
                let room = usize::from(width).saturating_sub(LABEL);
                lines.push(labelled("run", &cut(&run(container, now), room), style));
                lines.extend(container.image.as_ref().map(|image| {
                    labelled("image", &cut(&image.reference.to_string(), room), style)
                }));
                lines
            }
        }
    }
}

/// What it needs, who needs it, and what is said of it.
fn of_container<'a>(
    pod: &Pod,
    container: &ContainerRecord,
    style: Style,
    width: u16,
) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let needs = pod.needs(&container.name);
    if !needs.is_empty() {
        lines.push(waits(&needs, style));
    }
    let by = pod.needed_by(&container.name);
    if !by.is_empty() {
        lines.push(labelled("needed by", &listed(&by, width), style));
    }
    if let Some(why) = &container.reason {
        lines.extend(wrapped("why", &sanitize(why), style, width));
    }
    if let Some(text) = &container.status_text {
        let room = usize::from(width).saturating_sub(LABEL);
        lines.push(labelled("says", &cut(&sanitize(text), room), style));
    }
    lines
}

fn of_pod<'a>(pod: &Pod, usage: Option<&Usage>, style: Style, width: u16) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let room = usize::from(width).saturating_sub(LABEL);
    if let Some(record) = &pod.record {
        let address = record.network.as_ref().map(|network| network.ipv4.to_string());
        let ports: Vec<String> = record.ports.iter().map(ps::arrow).collect();
        let words = [address.unwrap_or_default(), ports.join(", ")].join("  ");
        if !words.trim().is_empty() {
            lines.push(labelled("address", &cut(words.trim(), room), style));
        }
    }
    if let Some(usage) = usage {
        lines.extend(uses(usage, style, width));
        if let Some(network) = usage.values.network {
            let words = format!("{} in, {} out", size(network.received), size(network.sent));
            lines.push(labelled("network", &words, style));
        }
        if let Some(pressure) = usage.values.pressure {
            let words = format!(
                "cpu {:.1} %, memory {:.1} %, io {:.1} % of the last ten seconds",
                pressure.cpu, pressure.memory, pressure.io
            );
            lines.push(labelled("pressure", &cut(&words, room), style));
        }
    }
    lines
}

/// What it needs, and whether that is there.
fn waits<'a>(needs: &[(&ContainerName, Until, bool)], style: Style) -> Line<'a> {
    let mut spans = vec![label("needs", style)];
    for (name, until, is_there) in needs {
        let (sign, kind) = if *is_there { ("✓", Kind::Good) } else { ("○", Kind::Waiting) };
        let word = match until {
            Until::Done => "started",
            Until::Ready => "ready",
            Until::Completed => "completed",
        };
        spans.push(Span::styled(format!("{sign} "), style.of(kind)));
        spans.push(Span::raw(name.to_string()));
        spans.push(Span::styled(format!(" {word}   "), style.of(Kind::Faint)));
    }
    Line::from(spans)
}

fn listed(names: &[&ContainerName], width: u16) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    cut(&names.join(", "), usize::from(width).saturating_sub(LABEL))
}

/// Processor and memory, now and before.
fn uses<'a>(usage: &Usage, style: Style, width: u16) -> Vec<Line<'a>> {
    let values = &usage.values;
    let of = |limit: Option<String>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let most = values.cpu.limit.map_or(1000, |cpus| (cpus * 1000.0) as u64);
    let cpu_limit = values.cpu.limit.map(|cpus| format!("{:.0}", cpus * 100.0));
    let cpu = format!("{:.1} %{}", values.cpu.percent, of(cpu_limit));
    let memory = format!("{}{}", size(values.memory.used), of(values.memory.limit.map(size)));
    let tasks =
        format!("{}{}", values.tasks.used, of(values.tasks.limit.map(|limit| limit.to_string())));
    let top = values.memory.limit.unwrap_or(0).max(usage.memory.iter().copied().max().unwrap_or(0));
    let columns = usize::from(width).saturating_sub(BESIDE_GRAPH).clamp(8, 60);
    let line = |name: &str, history: &VecDeque<u64>, most: u64, words: String| {
        vec![
            label(name, style),
            Span::styled(graph(history, most, columns), style.of(Kind::Graph)),
            Span::raw(format!("  {words:<20}")),
        ]
    };
    let cpu = line("cpu", &usage.cpu, most, cpu);
    let mut memory = line("memory", &usage.memory, top, memory);
    memory.push(Span::styled("pids ", style.of(Kind::Faint)));
    memory.push(Span::raw(tasks));
    vec![Line::from(cpu), Line::from(memory)]
}

/// The newest values as bars, the last at the right.
fn graph(history: &VecDeque<u64>, most: u64, width: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = history.iter().skip(history.len().saturating_sub(width));
    let most = most.max(history.iter().copied().max().unwrap_or(0)).max(1);
    let bar = |value: &u64| BARS[usize::try_from(value * 7 / most).unwrap_or(7).min(7)];
    let bars: String = shown.map(bar).collect();
    format!("{bars:>width$}")
}

/// Its process, or how it ended.
fn run(container: &ContainerRecord, now: jiff::Timestamp) -> String {
    let ago = |at: &Option<String>| at.as_deref().and_then(|at| ps::age(at, now));
    let mut words = Vec::new();
    match (container.pid, ago(&container.started_at), ago(&container.finished_at)) {
        (Some(pid), Some(age), _) => words.push(format!("pid {pid}, for {age}")),
        (None, _, Some(age)) => words.push(format!("ended {age} ago")),
        _ => words.push("not yet".to_owned()),
    }
    match container.restarts {
        0 => {}
        1 => words.push("1 restart".to_owned()),
        count => words.push(format!("{count} restarts")),
    }
    if let Some(code) = container.exit_code {
        words.push(format!("last exit {code}"));
    }
    if let Some(address) = container.ipv4 {
        words.push(address.to_string());
    }
    words.join(", ")
}

fn label<'a>(word: &str, style: Style) -> Span<'a> {
    Span::styled(format!("{word:<LABEL$}"), style.of(Kind::Faint))
}

fn labelled<'a>(word: &str, text: &str, style: Style) -> Line<'a> {
    Line::from(vec![label(word, style), Span::raw(text.to_owned())])
}

/// In two lines at most.
fn wrapped<'a>(word: &str, text: &str, style: Style, width: u16) -> Vec<Line<'a>> {
    let room = usize::from(width).saturating_sub(LABEL).max(1);
    let pieces = pieces(text, room);
    let mut lines = Vec::new();
    for (index, piece) in pieces.iter().take(2).enumerate() {
        let piece =
            if index == 1 && pieces.len() > 2 { format!("{}...", &piece) } else { piece.clone() };
        lines.push(labelled(if index == 0 { word } else { "" }, &cut(&piece, room), style));
    }
    lines
}

/// A text in pieces of so many columns.
fn pieces(text: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut taken = 0;
    for c in text.chars() {
        let wide = usize::from(columns(c.encode_utf8(&mut [0; 4])));
        if taken + wide > width && taken > 0 {
            pieces.push(String::new());
            taken = 0;
        }
        taken += wide;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

/// The lowest line at the bottom, and above it what there is room for; long lines are broken.
fn log(log: &Log, pen: &mut Pen<'_>, area: Rect) {
    let style = pen.style;
    if log.is_empty() {
        pen.put(area, &Line::styled("nothing was written", style.of(Kind::Faint)));
        return;
    }
    let prefix = match log.names.as_slice() {
        [_] | [] => 0,
        names => names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(20),
    };
    let mut lines: VecDeque<Line<'_>> = VecDeque::new();
    for line in log.upwards() {
        if lines.len() >= usize::from(area.height) {
            break;
        }
        for line in rows(log, line, prefix, style, area.width).into_iter().rev() {
            lines.push_front(line);
        }
    }
    let hidden = lines.len().saturating_sub(usize::from(area.height));
    for (y, line) in (area.y..area.bottom()).zip(lines.iter().skip(hidden)) {
        pen.put(Rect { y, height: 1, ..area }, line);
    }
}

/// A line of a log on as many rows as it needs.
fn rows<'a>(log: &Log, line: &LogLine, prefix: usize, style: Style, width: u16) -> Vec<Line<'a>> {
    let front = if prefix > 0 { prefix + 3 } else { 0 };
    let room = usize::from(width).saturating_sub(front).max(1);
    let mut kind = style.of(Kind::Plain);
    if line.is_error {
        // What programs write there is seldom an error.
        kind = kind.add_modifier(Modifier::ITALIC);
    }
    let name = log.names.get(line.container).map_or("", String::as_str);
    let row = |(index, piece): (usize, String)| {
        let mut spans = Vec::new();
        if prefix > 0 {
            let name = if index == 0 { cut(name, prefix) } else { String::new() };
            let name = format!("{name:<prefix$} | ");
            spans.push(Span::styled(name, style.container(line.container)));
        }
        spans.push(Span::styled(piece, kind));
        Line::from(spans)
    };
    pieces(&line.text, room).into_iter().enumerate().map(row).collect()
}
