//! What a person sees while a pod starts: a line for each container, with its state or with what it still
//! waits for. Pure: it is told what happened and gives lines; `screen.rs` draws them.

use super::output::{paint, prefix_style, sanitize};
use super::ps::describe;
use super::table::{cut, cut_middle};
use crate::names::ContainerName;
use crate::plan::step::{Plan, Planned, Step, Until};
use crate::state::record::{ContainerStatus, PodRecord};
use crate::supervise::protocol::ContainerState;
use anstyle::{AnsiColor, Style};
use indexmap::IndexMap;
use std::time::Instant;

/// The containers of a pod on its way up, in the order of its file.
#[derive(Debug, Clone)]
pub(super) struct Board {
    rows: Vec<Row>,
    only_unready: bool,
    /// Published ports that the file left open, and who chose them, for when the pod is up.
    pub(super) chosen: Vec<String>,
    /// Each step in words, where the user wants to see them.
    pub(super) steps: Vec<String>,
}

/// By container, what must happen to others before it begins.
pub(super) type Needs = IndexMap<ContainerName, Vec<(ContainerName, Until)>>;

#[derive(Debug, Clone)]
struct Row {
    name: ContainerName,
    /// What must happen to other containers before this one begins.
    waits: Vec<(ContainerName, Until)>,
    /// What of that was said in a line of its own.
    told: Vec<(ContainerName, Until)>,
    /// None: nothing was heard of it yet.
    status: Option<ContainerStatus>,
    ready: bool,
    /// In words; empty: nothing is known.
    text: String,
    since: Instant,
}

impl Board {
    /// The containers that the plan starts.
    pub(super) fn new(plan: &Plan) -> Self {
        let rows = needs(plan).into_iter().map(|(name, waits)| Row::new(name, waits)).collect();
        Self { rows, only_unready: false, chosen: Vec::new(), steps: Vec::new() }
    }

    /// Takes in what a container has come to.
    pub(super) fn hear(&mut self, state: &ContainerState) {
        let (name, status) = (&state.name, state.status);
        let Some(row) = self.rows.iter_mut().find(|row| row.name == *name) else { return };
        if (row.status, row.ready) != (Some(status), state.ready) {
            row.since = Instant::now();
        }
        (row.status, row.ready) = (Some(status), state.ready);
        row.text = describe(status, state.exit_code, state.reason.as_deref());
        for row in &mut self.rows {
            row.waits.retain(|(needed, until)| {
                needed != name
                    || match until {
                        Until::Done => !has_begun(status),
                        Until::Ready => !state.ready,
                        Until::Completed => status != ContainerStatus::Exited,
                    }
            });
        }
    }

    /// Takes in what was noted of those that have come no further since: how often a probe has failed, and
    /// with what. Of others it may be old.
    pub(super) fn refresh(&mut self, record: &PodRecord) {
        for container in &record.containers {
            let Some(row) = self.rows.iter_mut().find(|row| row.name == container.name) else {
                continue;
            };
            let (is, reason) = (container.status, container.reason.as_deref());
            if row.status.is_none() && !has_begun(is) {
                // Without a reason it is its turn.
                row.text = reason.map(|_| describe(is, None, reason)).unwrap_or_default();
            } else if (row.status, row.ready) == (Some(is), container.ready) {
                row.text = describe(is, container.exit_code, reason);
            }
        }
    }

    /// From here on it shows those alone that are to be ready, and are not.
    pub(super) fn show_unready(&mut self) {
        self.only_unready = true;
    }

    /// Who waits for more than this container's start, in words, for where no line can be drawn twice: once for its
    /// end and once for its being ready, however often it is started again.
    pub(super) fn waiters(&mut self, is: &ContainerState) -> Vec<(ContainerName, String)> {
        if is.status != ContainerStatus::Running {
            return Vec::new();
        }
        let tells = |row: &&mut Row| {
            let of = row.waits.iter().filter(|(needed, _)| *needed == is.name);
            let mut until = of.map(|(_, until)| *until).filter(|until| *until != Until::Done);
            row.status.is_none() && until.any(|until| !row.told.contains(&(is.name.clone(), until)))
        };
        let told = self.rows.iter_mut().filter(tells).map(|row| {
            let of = row.waits.iter().filter(|(needed, _)| *needed == is.name);
            row.told.extend(of.cloned());
            (row.name.clone(), row.words())
        });
        told.collect()
    }

    /// Whether one of them has not ended for good.
    pub(super) fn has_work(&self) -> bool {
        self.rows.iter().any(|row| !row.status.is_some_and(ends))
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
        let is_shown = |row: &Row| !self.only_unready || row.is_awaited();
        let rows: Vec<(usize, &Row)> =
            self.rows.iter().enumerate().filter(|(_, row)| is_shown(row)).collect();
        if rows.len() <= height {
            return rows.into_iter().map(line).collect();
        }
        let (room, all) = (height.saturating_sub(1), rows.len());
        let (awaited, not): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, row)| row.is_awaited());
        let waiting = awaited.len().saturating_sub(room);
        let shown: Vec<(usize, &Row)> = awaited.into_iter().chain(not).take(room).collect();
        let more = all - shown.len();
        let mut lines: Vec<String> = shown.into_iter().map(line).collect();
        lines.push(cut(&format!("... {more} more, {waiting} of them not ready"), width));
        lines
    }
}

impl Row {
    fn new(name: ContainerName, waits: Vec<(ContainerName, Until)>) -> Self {
        let (told, text) = (Vec::new(), String::new());
        Self { name, waits, told, status: None, ready: false, text, since: Instant::now() }
    }

    fn words(&self) -> String {
        if !self.text.is_empty() {
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

    /// Whether it may still come to be ready.
    fn is_awaited(&self) -> bool {
        !self.ready && !self.status.is_some_and(ends)
    }

    fn line(&self, index: usize, names: usize, width: usize, color: bool) -> String {
        let name = cut_middle(self.name.as_str(), names);
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

/// What must happen to other containers before each that the plan starts; in the order of the plan.
pub(super) fn needs(plan: &Plan) -> Needs {
    let mut needs = Needs::new();
    for planned in &plan.steps {
        let name = match &planned.step {
            Step::CreateContainer(launch) => &launch.container,
            Step::StartContainer { container } => container,
            _ => continue,
        };
        needs.entry(name.clone()).or_default().extend(waits(plan, planned));
    }
    needs
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

pub(super) fn has_begun(status: ContainerStatus) -> bool {
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

    /// One without a probe: it is ready as soon as it runs.
    fn state(
        of: &str,
        status: ContainerStatus,
        exit_code: Option<i32>,
        reason: Option<&str>,
    ) -> ContainerState {
        let ready = status == ContainerStatus::Running;
        let reason = reason.map(str::to_owned);
        ContainerState { name: name(of), status, exit_code, reason, ready }
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
            stop_timeout: None,
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
        board.hear(&state("db", ContainerStatus::Running, None, None));
        let runs = state("migrate", ContainerStatus::Running, None, None);
        board.hear(&runs);
        assert_eq!(
            shown(&board)[1..],
            ["migrate  running", "web      waiting for migrate to complete"]
        );
        assert_eq!(
            board.waiters(&runs),
            [(name("web"), "waiting for migrate to complete".to_owned())]
        );
        board.hear(&state("migrate", ContainerStatus::Exited, Some(0), None));
        assert_eq!(shown(&board)[1..], ["migrate  exited (0)", "web      starting"]);
        assert!(board.waiters(&runs).is_empty());
    }

    #[test]
    fn one_that_runs_and_is_not_ready_is_waited_for() {
        let mut board = board(&[("db", None), ("web", Some((0, Until::Ready)))]);
        let not_ready = ContainerState {
            ready: false,
            ..state("db", ContainerStatus::Running, None, Some("not ready (tcp 5432, 0 ms)"))
        };
        board.hear(&not_ready);
        let waits = [(name("web"), "waiting for db to be ready".to_owned())];
        assert_eq!(board.waiters(&not_ready), waits);
        assert!(board.waiters(&not_ready).is_empty(), "it is said once");
        let shown = |board: &Board| board.lines(80, 24, false);
        assert_eq!(
            shown(&board),
            ["db   running, not ready (tcp 5432, 0 ms)", "web  waiting for db to be ready"]
        );
        // What is noted of the same state is newer; of another it may be old.
        let containers = serde_json::json!([
            { "name": "db", "status": "running", "ready": false, "exitCode": null, "restarts": 0,
              "reason": "not ready (tcp 5432: refused, 14 tries)" },
            { "name": "web", "status": "exited", "ready": false, "exitCode": 0, "restarts": 0,
              "reason": "an earlier run" },
        ]);
        let mut record = serde_json::json!({ "name": "shop", "id": "0123456789", "labels": {},
            "status": "starting", "createdAt": "", "boot": "", "namespaces": {}, "ports": [],
            "supervisor": { "pid": 1, "startTime": 1 }, "infra": null, "network": null });
        record["containers"] = containers;
        board.refresh(&serde_json::from_value(record).unwrap());
        assert_eq!(
            shown(&board),
            [
                "db   running, not ready (tcp 5432: refused, 14 tries)",
                "web  waiting for db to be ready"
            ]
        );
        board.hear(&state("db", ContainerStatus::Running, None, None));
        assert_eq!(shown(&board), ["db   running", "web  starting"]);

        // Once all is started, only what is not ready is of interest.
        board.show_unready();
        assert_eq!(shown(&board), ["web  starting"]);
        board.hear(&state("web", ContainerStatus::Failed, Some(1), None));
        assert!(shown(&board).is_empty(), "it will not be ready");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut board = board(&[("a-container-of-a-rather-long-name", None), ("b", None)]);
        let reason = "\u{1b}[2Jжж and on and on and on".repeat(9);
        board.hear(&state("b", ContainerStatus::Failed, Some(1), Some(&reason)));
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
            board.hear(&state(started, ContainerStatus::Running, None, None));
        }
        let lines = board.lines(80, 4, false);
        assert_eq!(
            lines,
            ["c8  starting", "c9  starting", "c0  running", "... 7 more, 0 of them not ready"]
        );
        assert_eq!(board.lines(80, 1, false), ["... 10 more, 2 of them not ready"]);
    }
}
