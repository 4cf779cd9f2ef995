//! What a person sees while a pod starts: a line for each container, with its state or with what it still
//! waits for. Pure: it is told what happened and gives lines; `screen.rs` draws them.

use super::output::{paint, prefix_style, sanitize};
use super::ps::describe;
use super::table::cut;
use crate::names::ContainerName;
use crate::plan::step::{Plan, Planned, Step, Until};
use crate::state::record::ContainerStatus;
use anstyle::{AnsiColor, Style};
use std::time::Instant;

/// The containers of a pod on its way up, in the order of its file.
#[derive(Debug, Clone)]
pub(super) struct Board {
    rows: Vec<Row>,
    /// Published ports that the planner chose, for when the pod is up.
    pub(super) chosen: Vec<String>,
    /// Each step in words, where the user wants to see them.
    pub(super) steps: Vec<String>,
}

#[derive(Debug, Clone)]
struct Row {
    name: ContainerName,
    /// What must happen to other containers before this one begins.
    waits: Vec<(ContainerName, Until)>,
    /// None: nothing was heard of it yet.
    status: Option<ContainerStatus>,
    text: String,
    since: Instant,
}

impl Board {
    /// The containers that the plan starts.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for planned in &plan.steps {
            let name = match &planned.step {
                Step::CreateContainer(launch) => &launch.container,
                Step::StartContainer { container } => container,
                _ => continue,
            };
            let waits = waits(plan, planned);
            match rows.iter_mut().find(|row| row.name == *name) {
                Some(row) => row.waits.extend(waits),
                None => rows.push(Row::new(name.clone(), waits)),
            }
        }
        Self { rows, chosen: Vec::new(), steps: Vec::new() }
    }

    /// Takes in what a container has come to.
    pub(super) fn hear(
        &mut self,
        name: &ContainerName,
        status: ContainerStatus,
        code: Option<i32>,
        reason: Option<&str>,
    ) {
        let Some(row) = self.rows.iter_mut().find(|row| row.name == *name) else { return };
        if row.status != Some(status) {
            row.since = Instant::now();
        }
        row.status = Some(status);
        row.text = describe(status, code, reason);
        for row in &mut self.rows {
            row.waits.retain(|(needed, until)| {
                needed != name
                    || match until {
                        Until::Done | Until::Ready => !has_begun(status),
                        Until::Completed => status != ContainerStatus::Exited,
                    }
            });
        }
    }

    /// Who waits for this container's end, in words, for where no line can be drawn twice.
    pub(super) fn waiters(&self, name: &ContainerName) -> Vec<(&ContainerName, String)> {
        let waits = |row: &&Row| {
            row.status.is_none()
                && row
                    .waits
                    .iter()
                    .any(|(needed, until)| needed == name && *until == Until::Completed)
        };
        self.rows.iter().filter(waits).map(|row| (&row.name, row.words())).collect()
    }

    /// Columns that the longest name needs.
    pub(super) fn name_width(&self) -> usize {
        self.rows.iter().map(|row| row.name.as_str().len()).max().unwrap_or(0)
    }

    /// At most `height` lines, each of at most `width` columns. Where there is no room for all, those
    /// that still keep the pod from being up come first.
    pub(super) fn lines(&self, width: usize, height: usize, color: bool) -> Vec<String> {
        let names = self.name_width().min(width.saturating_sub(2) / 2);
        let line = |(index, row): (usize, &Row)| row.line(index, names, width, color);
        if self.rows.len() <= height {
            return self.rows.iter().enumerate().map(line).collect();
        }
        let room = height.saturating_sub(1);
        let (begun, not): (Vec<_>, Vec<_>) =
            self.rows.iter().enumerate().partition(|(_, row)| row.status.is_some_and(has_begun));
        let waiting = not.len().saturating_sub(room);
        let shown: Vec<(usize, &Row)> = not.into_iter().chain(begun).take(room).collect();
        let more = self.rows.len() - shown.len();
        let mut lines: Vec<String> = shown.into_iter().map(line).collect();
        lines.push(cut(&format!("... {more} more, {waiting} of them not started"), width));
        lines
    }
}

impl Row {
    fn new(name: ContainerName, waits: Vec<(ContainerName, Until)>) -> Self {
        Self { name, waits, status: None, text: String::new(), since: Instant::now() }
    }

    fn words(&self) -> String {
        if self.status.is_some() {
            return sanitize(&self.text);
        }
        let needed = self.waits.iter().map(|(needed, until)| match until {
            Until::Done => format!("{needed} to start"),
            Until::Ready => format!("{needed} to be ready"),
            Until::Completed => format!("{needed} to complete"),
        });
        match needed.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "starting".to_owned(),
            needed => format!("waiting for {needed}"),
        }
    }

    fn line(&self, index: usize, names: usize, width: usize, color: bool) -> String {
        let name = cut(self.name.as_str(), names);
        let mut words = self.words();
        let seconds = self.since.elapsed().as_secs();
        if seconds > 0 && !self.status.is_some_and(ends) {
            words.push_str(&format!("  {seconds}s"));
        }
        let words = cut(&words, width.saturating_sub(names + 2));
        let name = paint(&format!("{name:<names$}"), prefix_style(index), color);
        let words = paint(&words, status_style(self.status), color);
        format!("{name}  {words}")
    }
}

/// What a step waits for of other containers.
fn waits(plan: &Plan, planned: &Planned) -> Vec<(ContainerName, Until)> {
    let needed = planned.after.iter().filter_map(|edge| match &plan.steps[edge.step].step {
        Step::StartContainer { container } => Some((container.clone(), edge.until)),
        _ => None,
    });
    let mut waits: Vec<(ContainerName, Until)> = needed.collect();
    // Who waits for an end need not be told that it waits for the start.
    let ends: Vec<ContainerName> = waits
        .iter()
        .filter(|(_, u)| *u == Until::Completed)
        .map(|(name, _)| name.clone())
        .collect();
    waits.retain(|(name, until)| *until == Until::Completed || !ends.contains(name));
    waits
}

fn has_begun(status: ContainerStatus) -> bool {
    !matches!(status, ContainerStatus::Waiting | ContainerStatus::Created)
}

fn ends(status: ContainerStatus) -> bool {
    matches!(status, ContainerStatus::Exited | ContainerStatus::Failed | ContainerStatus::Stopped)
}

/// The colour of a state, in the board and in single lines.
pub(super) fn status_style(status: Option<ContainerStatus>) -> Style {
    match status {
        Some(ContainerStatus::Running | ContainerStatus::Exited) => AnsiColor::Green.on_default(),
        Some(ContainerStatus::Failed) => AnsiColor::Red.on_default(),
        _ => AnsiColor::Yellow.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::PodId;
    use crate::plan::step::Edge;

    fn name(name: &str) -> ContainerName {
        name.parse().unwrap()
    }

    /// Starts in a row; each waits for an earlier one, if for any.
    fn board(starts: &[(&str, Option<(usize, Until)>)]) -> Board {
        let step = |(container, after): &(&str, Option<(usize, Until)>)| Planned {
            step: Step::StartContainer { container: name(container) },
            after: after.iter().map(|&(step, until)| Edge { step, until }).collect(),
            why: String::new(),
        };
        let pod = "shop".parse().unwrap();
        let id = PodId::new("/run".as_ref(), &pod);
        Board::new(&Plan {
            pod,
            id,
            steps: starts.iter().map(step).collect(),
            seccomp: Vec::new(),
            exit_policy: Default::default(),
        })
    }

    #[test]
    fn a_line_says_what_a_container_still_waits_for() {
        let mut board = board(&[
            ("db", None),
            ("migrate", Some((0, Until::Done))),
            ("web", Some((1, Until::Completed))),
        ]);
        let shown = |board: &Board| board.lines(80, 24, false);
        assert_eq!(
            shown(&board),
            [
                "db       starting",
                "migrate  waiting for db to start",
                "web      waiting for migrate to complete"
            ]
        );
        board.hear(&name("db"), ContainerStatus::Running, None, None);
        board.hear(&name("migrate"), ContainerStatus::Running, None, None);
        assert_eq!(
            shown(&board)[1..],
            ["migrate  running", "web      waiting for migrate to complete"]
        );
        assert_eq!(board.waiters(&name("migrate"))[0].1, "waiting for migrate to complete");
        board.hear(&name("migrate"), ContainerStatus::Exited, Some(0), None);
        assert_eq!(shown(&board)[1..], ["migrate  exited (0)", "web      starting"]);
        assert!(board.waiters(&name("migrate")).is_empty());
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut board = board(&[("a-container-of-a-rather-long-name", None), ("b", None)]);
        let reason = "\u{1b}[2Jжж and on and on and on".repeat(9);
        board.hear(&name("b"), ContainerStatus::Failed, Some(1), Some(&reason));
        for width in [0, 1, 2, 5, 10, 20, 40] {
            for line in board.lines(width, 24, false) {
                assert!(line.chars().count() <= width.max(2), "{width}: {line:?}");
                assert!(!line.contains('\u{1b}'));
            }
        }
    }

    #[test]
    fn a_low_terminal_shows_what_keeps_the_pod_from_being_up() {
        let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
        let starts: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let mut board = board(&starts);
        for started in &names[..8] {
            board.hear(&name(started), ContainerStatus::Running, None, None);
        }
        let lines = board.lines(80, 4, false);
        assert_eq!(
            lines,
            ["c8  starting", "c9  starting", "c0  running", "... 7 more, 0 of them not started"]
        );
        assert_eq!(board.lines(80, 1, false), ["... 10 more, 2 of them not started"]);
    }
}
