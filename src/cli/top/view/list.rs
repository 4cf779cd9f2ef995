//! The list: a line for each pod and each of its containers, in as many columns as there is room for.

use super::style::{Kind, pod_kind, sign};
use super::{Pen, columns};
use crate::cli::output::size;
use crate::cli::ps;
use crate::cli::table::cut;
use crate::cli::top::model::{Model, Pod, Row, Usage};
use crate::state::record::{ContainerRecord, ContainerStatus};
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

/// A line of the list, with all that is known of it.
struct Entry<'a> {
    pod: &'a Pod,
    /// None: it is the pod itself.
    container: Option<&'a ContainerRecord>,
    usage: Option<&'a Usage>,
    branch: &'a str,
    now: jiff::Timestamp,
}

/// A column behind those of names and states; numbers, and so to the right.
struct Column {
    head: &'static str,
    width: u16,
    cell: fn(&Entry<'_>) -> (String, Kind),
}

/// In their order on the screen.
const COLUMNS: [Column; 10] = [
    Column { head: "READY", width: 5, cell: ready },
    Column { head: "CPU%", width: 6, cell: |entry| used(entry, cpu) },
    Column { head: "MEM", width: 6, cell: |entry| used(entry, memory) },
    Column { head: "LIMIT", width: 6, cell: |entry| used(entry, limit) },
    Column { head: "PIDS", width: 4, cell: |entry| used(entry, tasks) },
    Column {
        head: "NET/s",
        width: 6,
        cell: |entry| used(entry, |usage| rate(usage, |(rx, tx)| rx + tx)),
    },
    Column { head: "RX/s", width: 6, cell: |entry| used(entry, |usage| rate(usage, |(rx, _)| rx)) },
    Column { head: "TX/s", width: 6, cell: |entry| used(entry, |usage| rate(usage, |(_, tx)| tx)) },
    Column { head: "RST", width: 3, cell: restarts },
    Column { head: "AGE", width: 4, cell: age },
];
/// In the order in which a wider screen gets them.
const BY_WORTH: [&str; 10] =
    ["CPU%", "MEM", "RST", "READY", "PIDS", "NET/s", "AGE", "LIMIT", "RX/s", "TX/s"];
/// The first of them that only come where names and states have much room.
const FIRST_OF_WIDE: usize = 6;
/// What names and states need before there is room for another column, and for another of those.
const STATES: [u16; 2] = [30, 55];

pub(super) fn draw(model: &Model, pen: &mut Pen<'_>, area: Rect) {
    if area.is_empty() {
        return;
    }
    let shown = usize::from(area.height) - 1;
    let has_more = model.rows.len() > shown;
    let inner = Rect { width: area.width.saturating_sub(u16::from(has_more)), ..area };
    let columns = Columns::of(model, inner.width);
    columns.header(pen, inner);
    for (line, row) in model.rows.iter().skip(model.first).take(shown).enumerate() {
        let Some(entry) = entry(model, row, pen.now) else { continue };
        let y = area.y + 1 + u16::try_from(line).unwrap_or(u16::MAX);
        let at = Rect { y, height: 1, ..inner };
        let is_selected = model.first + line == model.at();
        entry.draw(&columns, is_selected, pen, at);
        if is_selected {
            let turned = ratatui::style::Style::new().add_modifier(Modifier::REVERSED);
            pen.buffer.set_style(at, turned);
        }
    }
    if has_more {
        scrollbar(model, pen, area);
    }
}

fn entry<'a>(model: &'a Model, row: &'a Row, now: jiff::Timestamp) -> Option<Entry<'a>> {
    let pod = model.pod(&row.target.pod)?;
    let container = model.container(&row.target);
    // Of one that has ended its cgroup may still tell.
    let runs = container.is_none_or(|container| container.pid.is_some());
    let usage = model.usage(&row.target).filter(|_| runs);
    Some(Entry { pod, container, usage, branch: &row.branch, now })
}

/// The columns that a screen of this width has.
fn chosen(width: u16) -> Vec<&'static Column> {
    let mut left = width;
    let mut names: Vec<&str> = Vec::new();
    for (place, name) in BY_WORTH.iter().enumerate() {
        let needed = COLUMNS.iter().find(|column| column.head == *name).map_or(0, |c| c.width + 1);
        let states = STATES[usize::from(place >= FIRST_OF_WIDE)];
        if left < needed + states {
            break;
        }
        left -= needed;
        names.push(name);
    }
    if names.contains(&"TX/s") {
        names.retain(|name| *name != "NET/s");
    }
    COLUMNS.iter().filter(|column| names.contains(&column.head)).collect()
}

/// How wide names and states are, and what stands behind them.
struct Columns {
    name: u16,
    state: u16,
    numbers: Vec<&'static Column>,
}

impl Columns {
    fn of(model: &Model, width: u16) -> Self {
        let numbers = chosen(width);
        let taken: u16 = numbers.iter().map(|column| column.width + 1).sum();
        let left = width.saturating_sub(taken + 3);
        let longest = model.rows.iter().map(|row| match &row.target.container {
            None => 2 + row.target.pod.as_str().len(),
            // Its sign, and the longest word for what it is.
            Some(name) => 4 + row.branch.chars().count() + name.as_str().len() + 10,
        });
        let longest = u16::try_from(longest.max().unwrap_or(0)).unwrap_or(u16::MAX);
        let name = longest.min(left / 2);
        Self { name, state: left - name, numbers }
    }

    fn header(&self, pen: &mut Pen<'_>, area: Rect) {
        let (name, state) = (usize::from(self.name), usize::from(self.state));
        let mut text = format!(" {:<name$}  {:<state$}", cut("NAME", name), cut("STATE", state));
        for column in &self.numbers {
            text.push_str(&format!(" {:>width$}", column.head, width = usize::from(column.width)));
        }
        pen.put(area, &Line::styled(text, pen.style.of(Kind::Faint)));
    }
}

impl Entry<'_> {
    fn draw(&self, columns: &Columns, is_selected: bool, pen: &mut Pen<'_>, area: Rect) {
        // A row that is turned round has no colours: they would be turned, too.
        let style = pen.style;
        let of = |kind| if is_selected { ratatui::style::Style::new() } else { style.of(kind) };
        let mut spans = vec![Span::raw(" ")];
        let mut name = self.name();
        fit(&mut name, columns.name);
        spans.extend(name.into_iter().map(|(text, kind)| Span::styled(text, of(kind))));
        let (state, kind) = self.state();
        let width = usize::from(columns.state);
        let state = cut(&state, width);
        spans.push(Span::styled(format!("  {state}"), of(kind)));
        let rest = columns.state.saturating_sub(self::columns(&state));
        spans.push(Span::raw(" ".repeat(usize::from(rest))));
        for column in &columns.numbers {
            let (text, kind) = (column.cell)(self);
            let width = usize::from(column.width);
            spans.push(Span::styled(format!(" {text:>width$}"), of(kind)));
        }
        pen.put(area, &Line::from(spans));
    }

    fn name(&self) -> Vec<(String, Kind)> {
        let Some(container) = self.container else {
            let kind = pod_kind(self.pod.record.as_ref().map(|record| record.status));
            return vec![("▪ ".to_owned(), kind), (self.pod.name.to_string(), Kind::Name)];
        };
        let (sign, kind) = sign(container.status, container.ready);
        vec![
            (format!("  {}", self.branch), Kind::Line),
            (format!("{sign} "), kind),
            (container.name.to_string(), Kind::Plain),
            (ps::role(container.role).to_owned(), Kind::Faint),
        ]
    }

    fn state(&self) -> (String, Kind) {
        match (self.container, &self.pod.record) {
            (Some(container), Some(record)) => {
                let words = ps::container_status(record.status, container);
                (words, sign(container.status, container.ready).1)
            }
            _ => {
                let kind = pod_kind(self.pod.record.as_ref().map(|record| record.status));
                (self.pod.status.clone(), kind)
            }
        }
    }
}

/// Pieces in exactly this width: what is too long is cut from its end, but a branch in front before a name.
fn fit(pieces: &mut Vec<(String, Kind)>, width: u16) {
    let long =
        |pieces: &[(String, Kind)]| pieces.iter().map(|(text, _)| columns(text)).sum::<u16>();
    let over = long(pieces).saturating_sub(width);
    if over > 0 && pieces.len() == 4 {
        // What kind of container it is stands below, too.
        pieces.pop();
    }
    let over = usize::from(long(pieces).saturating_sub(width));
    if over > 0
        && let Some((branch, Kind::Line)) = pieces.first_mut()
    {
        let kept = branch.chars().count().saturating_sub(over).max(4.min(branch.chars().count()));
        let skipped = branch.chars().count() - kept;
        if skipped > 0 {
            *branch = "…".to_owned() + &branch.chars().skip(skipped + 1).collect::<String>();
        }
    }
    let over = long(pieces).saturating_sub(width);
    if over > 0
        && let Some((name, _)) = pieces.last_mut()
    {
        *name = cut(name, usize::from(columns(name).saturating_sub(over)));
    }
    let rest = width.saturating_sub(long(pieces));
    pieces.push((" ".repeat(usize::from(rest)), Kind::Plain));
}

fn ready(entry: &Entry<'_>) -> (String, Kind) {
    use ContainerStatus::{Exited, Failed, Stopped};
    if let Some(container) = entry.container {
        return match (container.status, container.ready) {
            (Exited | Failed | Stopped, _) => (String::new(), Kind::Plain),
            (_, true) => ("yes".to_owned(), Kind::Plain),
            (_, false) => ("no".to_owned(), Kind::Waiting),
        };
    }
    let wanted = || entry.pod.containers().iter().filter(|one| one.status != Exited);
    let (ready, all) = (wanted().filter(|one| one.ready).count(), wanted().count());
    let kind = if ready == all { Kind::Plain } else { Kind::Waiting };
    let text = if all == 0 { String::new() } else { format!("{ready}/{all}") };
    (text, kind)
}

fn used(entry: &Entry<'_>, words: impl Fn(&Usage) -> String) -> (String, Kind) {
    let text = entry.usage.map(words).unwrap_or_default();
    let kind = if entry.container.is_none() { Kind::Name } else { Kind::Plain };
    (text, kind)
}

fn cpu(usage: &Usage) -> String {
    format!("{:.1}", usage.values.cpu.percent)
}

fn memory(usage: &Usage) -> String {
    size(usage.values.memory.used)
}

fn limit(usage: &Usage) -> String {
    usage.values.memory.limit.map(size).unwrap_or_default()
}

fn tasks(usage: &Usage) -> String {
    usage.values.tasks.used.to_string()
}

/// Of bytes in and out, in a second.
fn rate(usage: &Usage, of: impl Fn((u64, u64)) -> u64) -> String {
    usage.rate.map(|rate| size(of(rate))).unwrap_or_default()
}

fn restarts(entry: &Entry<'_>) -> (String, Kind) {
    match entry.container.map(|container| container.restarts) {
        None | Some(0) => (String::new(), Kind::Plain),
        Some(count) if count > 999 => ("999".to_owned(), Kind::Bad),
        Some(count) => (count.to_string(), Kind::Waiting),
    }
}

fn age(entry: &Entry<'_>) -> (String, Kind) {
    let since = match (entry.container, &entry.pod.record) {
        (Some(container), _) => container.started_at.as_deref().filter(|_| container.pid.is_some()),
        (None, Some(record)) => Some(record.created_at.as_str()),
        (None, None) => None,
    };
    (since.and_then(|since| ps::age(since, entry.now)).unwrap_or_default(), Kind::Faint)
}

/// Which part of all rows is shown.
fn scrollbar(model: &Model, pen: &mut Pen<'_>, area: Rect) {
    let (height, all) = (usize::from(area.height) - 1, model.rows.len());
    let thumb = (height * height / all).clamp(height.min(1), height);
    let room = (all - height).max(1);
    let start = (height - thumb) * model.first.min(room) / room;
    for line in 0..height {
        let is_thumb = (start..start + thumb).contains(&line);
        let (sign, kind) = if is_thumb { ("┃", Kind::Graph) } else { ("│", Kind::Line) };
        let y = area.y + 1 + u16::try_from(line).unwrap_or(u16::MAX);
        let at = Rect { x: area.right() - 1, y, width: 1, height: 1 };
        pen.put(at, &Line::styled(sign, pen.style.of(kind)));
    }
}
