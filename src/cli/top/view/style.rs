//! How each kind of text looks: in the colours of the user's own terminal, or without any.

use crate::state::record::{ContainerStatus, PodStatus};
use ratatui::style::{Color, Modifier};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Beside what matters.
    Faint,
    Name,
    Title,
    Key,
    Good,
    Waiting,
    Bad,
    /// Lines of the tree and of frames.
    Line,
    Graph,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) color: bool,
}

impl Style {
    pub(super) fn of(self, kind: Kind) -> ratatui::style::Style {
        let plain = ratatui::style::Style::new();
        let colored = |color: Color| if self.color { plain.fg(color) } else { plain };
        match kind {
            Kind::Plain => plain,
            Kind::Faint | Kind::Line => plain.add_modifier(Modifier::DIM),
            Kind::Name => plain.add_modifier(Modifier::BOLD),
            Kind::Title if self.color => {
                plain.fg(Color::Black).bg(Color::Cyan).add_modifier(Modifier::BOLD)
            }
            Kind::Title => plain.add_modifier(Modifier::REVERSED | Modifier::BOLD),
            Kind::Key => colored(Color::Cyan).add_modifier(Modifier::BOLD),
            Kind::Good => colored(Color::Green),
            Kind::Waiting => colored(Color::Yellow),
            Kind::Bad => colored(Color::Red).add_modifier(Modifier::BOLD),
            Kind::Graph => colored(Color::Cyan),
        }
    }

    /// Of a container by its place in the pod, as `logs` has it.
    pub(super) fn container(self, index: usize) -> ratatui::style::Style {
        const COLORS: [Color; 6] = [
            Color::Cyan,
            Color::Yellow,
            Color::Green,
            Color::Magenta,
            Color::Blue,
            Color::LightRed,
        ];
        let plain = ratatui::style::Style::new();
        if self.color { plain.fg(COLORS[index % COLORS.len()]) } else { plain }
    }
}

/// A state as a sign of one column, also for eyes and screens without colours.
pub(super) fn sign(status: ContainerStatus, ready: bool) -> (&'static str, Kind) {
    use ContainerStatus::{
        Created, Exited, Failed, Restarting, Running, Stopped, Stopping, Waiting,
    };
    match status {
        Running if ready => ("●", Kind::Good),
        Running => ("◐", Kind::Waiting),
        Waiting | Created => ("○", Kind::Waiting),
        Stopping => ("◌", Kind::Waiting),
        Restarting => ("↻", Kind::Bad),
        Exited => ("✓", Kind::Good),
        Failed => ("✗", Kind::Bad),
        Stopped => ("■", Kind::Faint),
    }
}

pub(super) fn pod_kind(status: Option<PodStatus>) -> Kind {
    match status {
        Some(PodStatus::Running | PodStatus::Exited) => Kind::Good,
        Some(PodStatus::Failed | PodStatus::Unsupervised) => Kind::Bad,
        Some(PodStatus::Stopped) => Kind::Faint,
        Some(PodStatus::Starting | PodStatus::Stopping) | None => Kind::Waiting,
    }
}
