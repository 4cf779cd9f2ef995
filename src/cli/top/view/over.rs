//! What lies over the rest until it is answered: a question, or the keys.

use super::style::{Kind, Style};
use super::{Pen, columns};
use crate::cli::table::cut;
use crate::cli::top::model::{Model, Question, Verb};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget};

pub(super) fn draw(model: &Model, pen: &mut Pen<'_>) {
    let style = pen.style;
    if model.help {
        window("keys", &help(style), pen);
    } else if let Some(question) = &model.question {
        let title = format!("{} {}?", question.verb.word(), question.target);
        window(&title, &asked(model, question, style), pen);
    }
}

/// Lines in a frame in the middle of the screen.
fn window(title: &str, lines: &[Line<'_>], pen: &mut Pen<'_>) {
    let (style, all) = (pen.style, pen.buffer.area);
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let width = u16::try_from(widest).unwrap_or(u16::MAX).max(columns(title)).saturating_add(6);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let (width, height) = (width.min(all.width), height.min(all.height));
    let area = Rect {
        x: all.x + (all.width - width) / 2,
        y: all.y + (all.height - height) / 2,
        width,
        height,
    };
    Clear.render(area, pen.buffer);
    let title = Span::styled(
        format!(" {} ", cut(title, usize::from(width.saturating_sub(6)))),
        style.of(Kind::Name),
    );
    let block = Block::bordered().border_type(BorderType::Rounded).title(title);
    let inner = block.inner(area);
    block.border_style(style.of(Kind::Graph)).render(area, pen.buffer);
    for (y, line) in (inner.y..inner.bottom()).zip(lines) {
        let at = Rect { x: inner.x + 2, y, width: inner.width.saturating_sub(3), height: 1 };
        pen.put(at, line);
    }
}

/// What it would do, to whom else, and the only key that does it.
fn asked<'a>(model: &Model, question: &Question, style: Style) -> Vec<Line<'a>> {
    const MOST: usize = 60;
    let target = &question.target;
    let mut lines = vec![Line::default()];
    if let Some(pod) = model.pod(&target.pod) {
        match &target.container {
            None => {
                let count = pod.containers().len();
                let all = if count == 1 {
                    "its only container".to_owned()
                } else {
                    format!("all of its {count} containers")
                };
                lines.push(Line::raw(all));
            }
            Some(name) => {
                let by: Vec<String> = pod.needed_by(name).iter().map(ToString::to_string).collect();
                if !by.is_empty() {
                    lines.push(Line::raw(cut(&format!("needed by {}", by.join(", ")), MOST)));
                }
            }
        }
    }
    let after = match question.verb {
        Verb::Restart => "it gets its stop signal, and starts again when it has ended",
        Verb::Stop => "it gets its stop signal; only `r`, `start` or `up` starts it again",
    };
    lines.push(Line::styled(after, style.of(Kind::Faint)));
    lines.push(Line::default());
    let (yes, kind) = if question.is_read { ("y", Kind::Bad) } else { (".", Kind::Faint) };
    lines.push(Line::from(vec![
        Span::styled(format!("{yes}  "), style.of(kind)),
        Span::raw(question.verb.word()),
        Span::styled("     any other key leaves it as it is", style.of(Kind::Faint)),
    ]));
    lines
}

fn help<'a>(style: Style) -> Vec<Line<'a>> {
    const KEYS: [(&str, &str); 13] = [
        ("↑ ↓  j k", "select, or scroll a log"),
        ("PgUp PgDn", "a page; Home and End (g, G) go to the ends"),
        ("Tab", "the next pod; Shift-Tab the one before"),
        ("Enter", "the log of what is selected; Esc leads back"),
        ("f", "in a log: follow it again"),
        ("r", "restart; asked first"),
        ("s", "stop; asked first"),
        ("e, x", "a shell in the container; its end leads back"),
        ("t", "below what it waits for, or in the file's order"),
        ("/", "only what has this in its name"),
        ("Ctrl-L", "draw it anew"),
        ("Ctrl-Z", "to the shell; `fg` leads back"),
        ("q, Ctrl-C", "quit; the pods run on"),
    ];
    let keys = KEYS.iter().map(|(key, what)| {
        Line::from(vec![Span::styled(format!("{key:<11}"), style.of(Kind::Key)), Span::raw(*what)])
    });
    let signs = [
        ("●", Kind::Good, "ready"),
        ("◐", Kind::Waiting, "not ready"),
        ("○", Kind::Waiting, "waits"),
        ("↻", Kind::Bad, "restarts"),
        ("✗", Kind::Bad, "failed"),
        ("✓", Kind::Good, "done"),
        ("■", Kind::Faint, "stopped"),
    ];
    let signs = signs.iter().flat_map(|(sign, kind, word)| {
        [
            Span::styled(*sign, style.of(*kind)),
            Span::styled(format!(" {word}  "), style.of(Kind::Faint)),
        ]
    });
    keys.chain([Line::default(), Line::from(signs.collect::<Vec<_>>())]).collect()
}
