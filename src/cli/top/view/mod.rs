//! The model on a screen, whatever its size: a line about all, the list, the selected one with its log, and
//! the keys. Pure: it fills a buffer. All text in the model that came from a container is harmless already.

mod list;
mod over;
mod panel;
mod style;

use super::model::{Model, Tone};
use crate::cli::output;
use crate::cli::table::cut;
use crate::cli::target::Target;
use crate::state::record::ContainerStatus;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use style::{Kind, Style};

/// From here on the list and the selected one stand side by side.
const WIDE: u16 = 150;
/// A screen that is lower has the list alone.
const LOW: u16 = 14;
/// Rows of the selected one: its frame, what it is, and some of its log.
const PANEL: u16 = 9;

/// Where the parts of the screen are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    head: Rect,
    list: Rect,
    panel: Rect,
    foot: Rect,
}

impl Places {
    pub(super) fn of(area: Rect, model: &Model) -> Self {
        let row = |y: u16, height: u16| Rect { y: area.y + y, height, ..area }.intersection(area);
        let (head, foot) = (row(0, 1), row(area.height.saturating_sub(1), 1));
        let middle = row(1, area.height.saturating_sub(2));
        let nothing = Rect { height: 0, ..middle };
        let (list, panel) = if model.shows_log() {
            (nothing, middle)
        } else if area.height < LOW || model.rows.is_empty() {
            (middle, nothing)
        } else if area.width >= WIDE {
            let width = (area.width * 3 / 5).max(100);
            let panel = Rect { x: middle.x + width, width: middle.width - width, ..middle };
            (Rect { width, ..middle }, panel)
        } else {
            let all = u16::try_from(model.rows.len()).unwrap_or(u16::MAX).saturating_add(1);
            let height = all.min(middle.height - PANEL.min(middle.height / 2));
            let below = Rect { y: middle.y + height, height: middle.height - height, ..middle };
            (Rect { height, ..middle }, below)
        };
        Self { head, list, panel, foot }
    }

    /// Rows of the list, and lines of a log, that there is room for.
    pub(super) fn room(&self) -> (usize, usize) {
        let rows = self.list.height.saturating_sub(1);
        (usize::from(rows), usize::from(panel::log_height(self.panel)))
    }
}

/// What is drawn with, and on.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    style: Style,
    now: jiff::Timestamp,
}

impl Pen<'_> {
    /// A line at the begin of an area.
    fn put(&mut self, area: Rect, line: &Line<'_>) {
        let area = area.intersection(self.buffer.area);
        if !area.is_empty() {
            self.buffer.set_line(area.x, area.y, line, area.width);
        }
    }
}

/// Draws all of it. `color`: with colours, else with what is bold, faint or turned round.
pub(super) fn draw(model: &Model, now: jiff::Timestamp, color: bool, buffer: &mut Buffer) {
    let places = Places::of(buffer.area, model);
    let pen = &mut Pen { buffer, style: Style { color }, now };
    head(model, pen, places.head);
    if model.rows.is_empty() {
        nothing(model, pen, places.list);
    } else {
        list::draw(model, pen, places.list);
        panel::draw(model, pen, places.panel);
    }
    foot(model, pen, places.foot);
    over::draw(model, pen);
}

/// All of it in a line: how many containers there are in which state, and what they use.
fn head(model: &Model, pen: &mut Pen<'_>, area: Rect) {
    let style = pen.style;
    let mut spans = vec![Span::styled(" podspec top ", style.of(Kind::Title)), Span::raw(" ")];
    for (count, words, kind) in counts(model) {
        spans.push(Span::styled(format!(" {count} {words} "), style.of(kind)));
    }
    let line = Line::from(spans);
    pen.put(area, &line);
    let pods = model.pods.iter().map(|pod| Target::whole(pod.name.clone()));
    let of_pods: Vec<_> = pods.filter_map(|pod| model.usage(&pod)).collect();
    let cpu: f64 = of_pods.iter().map(|usage| usage.values.cpu.percent).sum();
    let memory: u64 = of_pods.iter().map(|usage| usage.values.memory.used).sum();
    let right = format!("cpu {cpu:.1} %  memory {} ", output::size(memory));
    let width = columns(&right);
    if !of_pods.is_empty() && usize::from(area.width) > usize::from(width) + line.width() {
        let at = Rect { x: area.x + area.width - width, width, ..area };
        pen.put(at, &Line::styled(right, style.of(Kind::Faint)));
    }
}

fn counts(model: &Model) -> Vec<(usize, &'static str, Kind)> {
    let containers = || model.pods.iter().flat_map(|pod| pod.containers());
    let count = |wanted: &dyn Fn(ContainerStatus, bool) -> bool| {
        containers().filter(|one| wanted(one.status, one.ready)).count()
    };
    use ContainerStatus::{Exited, Failed, Restarting, Running, Stopped};
    let ready = count(&|status, ready| status == Running && ready);
    let ended = count(&|status, _| status == Exited);
    let stopped = count(&|status, _| status == Stopped);
    let failed = count(&|status, _| matches!(status, Failed | Restarting));
    let all = containers().count();
    let pods = if model.pods.len() == 1 { "pod" } else { "pods" };
    let mut counts = vec![(model.pods.len(), pods, Kind::Plain)];
    counts.push((ready, "ready", Kind::Good));
    counts.push((all - ready - ended - stopped - failed, "not ready", Kind::Waiting));
    counts.push((failed, "failed", Kind::Bad));
    counts.push((ended, "done", Kind::Faint));
    counts.push((stopped, "stopped", Kind::Faint));
    counts.retain(|(count, words, _)| *count > 0 || words.starts_with("pod"));
    counts
}

fn nothing(model: &Model, pen: &mut Pen<'_>, area: Rect) {
    let (what, hint) = match &model.only {
        _ if !model.filter.is_empty() => {
            (format!("nothing has `{}` in its name", model.filter), "Esc shows all".to_owned())
        }
        Some(pod) => {
            let hint =
                format!("it will stand here as soon as it is up again: podspec up -d {pod}.yaml");
            (format!("`{pod}` is down"), hint)
        }
        None => {
            let hint = "one will stand here as soon as it starts: podspec up -d FILE".to_owned();
            ("there is no pod".to_owned(), hint)
        }
    };
    let middle = area.y + area.height / 3;
    for (row, text, kind) in [(0, what, Kind::Name), (2, hint, Kind::Faint)] {
        let text = cut(&text, usize::from(area.width));
        let x = area.x + area.width.saturating_sub(columns(&text)) / 2;
        if middle + row < area.bottom() {
            let at = Rect { x, y: middle + row, width: area.width - (x - area.x), height: 1 };
            pen.put(at, &Line::styled(text, pen.style.of(kind)));
        }
    }
}

/// What was done or went wrong; else the keys, as many as there is room for.
fn foot(model: &Model, pen: &mut Pen<'_>, area: Rect) {
    let style = pen.style;
    if model.is_filtering() {
        let spans = vec![
            Span::styled(" / ", style.of(Kind::Title)),
            Span::raw(format!(" {}", model.filter)),
            Span::styled("▏", style.of(Kind::Name)),
            Span::styled("  Enter keeps it, Esc shows all", style.of(Kind::Faint)),
        ];
        return pen.put(area, &Line::from(spans));
    }
    if let Some((tone, text)) = model.said() {
        let kind = match tone {
            Tone::Busy => Kind::Waiting,
            Tone::Done => Kind::Good,
            Tone::Error => Kind::Bad,
        };
        let text = cut(text, usize::from(area.width.saturating_sub(2)));
        return pen.put(area, &Line::styled(format!(" {text}"), style.of(kind)));
    }
    let keys: &[(&str, &str)] = if model.shows_log() {
        &[
            ("Esc", "back"),
            ("↑↓", "scroll"),
            ("f", "follow"),
            ("r", "restart"),
            ("s", "stop"),
            ("e", "shell"),
            ("?", "help"),
        ]
    } else {
        &[
            ("↑↓", "select"),
            ("Enter", "log"),
            ("r", "restart"),
            ("s", "stop"),
            ("e", "shell"),
            ("?", "help"),
            ("q", "quit"),
            ("t", "tree"),
            ("/", "filter"),
        ]
    };
    let mut spans = Vec::new();
    let mut left = area.width;
    for (key, what) in keys {
        let needed = columns(key) + columns(what) + 4;
        if needed > left {
            break;
        }
        left -= needed;
        spans.push(Span::styled(format!(" {key} "), style.of(Kind::Key)));
        spans.push(Span::styled(format!(" {what} "), style.of(Kind::Faint)));
    }
    if !model.filter.is_empty() {
        spans.push(Span::styled(format!(" /{}", model.filter), style.of(Kind::Waiting)));
    }
    pen.put(area, &Line::from(spans));
}

/// What a text takes of a row.
fn columns(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
