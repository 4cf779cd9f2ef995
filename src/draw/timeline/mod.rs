//! A start as it went: a row for podspec's own work and one for each container, a bar for each step, an
//! arrow for each wait, and the chain of steps and waits that decided how long it took. Pure; `svg.rs` and
//! `html.rs` draw it, `podspec analyze` says it in words.

mod html;
mod path;
mod svg;

#[cfg(test)]
mod tests;

pub use html::html;
pub use svg::svg;

use super::{Kind, Wait, step_kind};
use crate::plan::health::Health;
use crate::plan::step::{Plan, Role, Step, StepId, Until};
use crate::plan::timing::{Mark, Moment, Times};
use serde::Serialize;
use std::collections::BTreeMap;

/// All times are microseconds since the user asked for the pod.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    pub pod: String,
    /// RFC 3339, UTC.
    pub began_at: String,
    /// Whether all of the pod has come to be ready.
    pub is_ready: bool,
    /// When that was, or until when it was looked at.
    pub end: u64,
    /// When podspec had done all that waits for no program.
    pub set_up: u64,
    pub rows: Vec<Row>,
    pub arrows: Vec<Arrow>,
    /// What decided when the end was, each part beginning where the one before ended.
    pub critical_path: Vec<Part>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub name: String,
    /// None: podspec's own work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    pub bars: Vec<Bar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
}

/// What a bar or a part of the critical path is spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Spent {
    /// The client reads, looks and plans.
    Client,
    /// Images come.
    Images,
    Infra,
    Network,
    Files,
    /// A container is set up: its process, namespaces, mounts, limits.
    SetUp,
    /// Its program is about to begin.
    Start,
    /// It waits for others.
    Held,
    PostStart,
    /// Its program runs, and is not ready yet.
    Readiness,
    /// Its program runs to its end, for which others wait.
    Completion,
    /// It is ready.
    Running,
    /// Podspec does something else first.
    Queue,
}

impl Spent {
    pub fn words(self) -> &'static str {
        match self {
            Self::Client => "podspec reads, looks and plans",
            Self::Images => "images",
            Self::Infra => "infra and namespaces",
            Self::Network => "network",
            Self::Files => "root file systems and volumes",
            Self::SetUp => "containers are set up",
            Self::Start => "programs begin",
            Self::Held => "waits for others",
            Self::PostStart => "postStart hooks",
            Self::Readiness => "programs, until they are ready",
            Self::Completion => "programs, until they have ended",
            Self::Running => "ready",
            Self::Queue => "podspec does other steps first",
        }
    }

    /// For classes of style sheets.
    fn class(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Images => "images",
            Self::Infra => "infra",
            Self::Network => "network",
            Self::Files => "files",
            Self::SetUp => "setup",
            Self::Start => "start",
            Self::Held => "held",
            Self::PostStart => "hook",
            Self::Readiness => "unready",
            Self::Completion => "completion",
            Self::Running => "running",
            Self::Queue => "queue",
        }
    }

    /// Whether it is the user's programs that take this time.
    pub fn is_a_program(self) -> bool {
        matches!(self, Self::PostStart | Self::Readiness | Self::Completion)
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bar {
    pub spent: Spent,
    pub what: String,
    pub from: u64,
    pub to: u64,
    pub critical: bool,
    /// It was not over when it was looked at.
    pub open: bool,
}

/// The row `to` waited for the row `from`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub until: Wait,
    /// When what was waited for had come.
    pub at: u64,
    /// When the waiting one went on.
    pub until_at: u64,
    pub critical: bool,
}

/// Of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    pub row: usize,
    pub spent: Spent,
    pub what: String,
    pub from: u64,
    pub to: u64,
}

/// What the timeline is made of.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    pub plan: &'a Plan,
    pub times: &'a Times,
    /// RFC 3339.
    pub began_at: &'a str,
    pub now: Moment,
}

/// The timeline of a start; `None` where nothing was timed.
pub fn timeline(start: &Start<'_>) -> Option<Timeline> {
    let begin = start.times.begin()?;
    let mut builder = Builder::new(start, begin);
    builder.own_rows();
    builder.container_rows();
    Some(builder.finish())
}

/// What the analysis knows of one container.
#[derive(Debug, Clone)]
struct Container<'a> {
    name: String,
    role: Role,
    health: &'a Health,
    create: StepId,
    start: StepId,
    row: usize,
}

impl Container<'_> {
    fn is_probed(&self) -> bool {
        self.health.startup.is_some() || self.health.readiness.is_some()
    }

    /// What it is asked until it is ready.
    fn asked(&self) -> String {
        let probes = [("startup", &self.health.startup), ("readiness", &self.health.readiness)];
        let words = probes.iter().filter_map(|(kind, probe)| {
            probe.as_ref().map(|probe| format!("{kind} probe: {}", probe.check))
        });
        words.collect::<Vec<_>>().join(", then ")
    }
}

struct Builder<'a> {
    plan: &'a Plan,
    times: &'a Times,
    begin: Moment,
    /// When it was looked at, or when all was ready.
    end: u64,
    is_ready: bool,
    containers: Vec<Container<'a>>,
    /// The row of each step.
    row_of: Vec<usize>,
    timeline: Timeline,
}

const OWN: [(&str, Option<Kind>); 4] = [
    ("podspec", None),
    ("infra", Some(Kind::Infra)),
    ("network", Some(Kind::Network)),
    ("files", Some(Kind::Files)),
];

impl<'a> Builder<'a> {
    fn new(start: &Start<'a>, begin: Moment) -> Self {
        let Start { plan, times, began_at, now } = *start;
        let containers = containers(plan);
        let goods = containers.iter().map(|one| good(times, one));
        let (is_ready, end) = match goods.collect::<Option<Vec<Moment>>>() {
            Some(all) => {
                let last = times.steps.values().map(|span| span.to).chain(all).max();
                (true, last.unwrap_or(begin))
            }
            None => (false, now),
        };
        let timeline = Timeline {
            pod: plan.pod.to_string(),
            began_at: began_at.to_owned(),
            is_ready,
            end: end.saturating_sub(begin).max(1),
            set_up: 0,
            rows: Vec::new(),
            arrows: Vec::new(),
            critical_path: Vec::new(),
        };
        let end = timeline.end;
        Self { plan, times, begin, end, is_ready, containers, row_of: Vec::new(), timeline }
    }

    /// Microseconds since the begin.
    fn at(&self, moment: Moment) -> u64 {
        moment.saturating_sub(self.begin)
    }

    fn bar(&mut self, row: usize, spent: Spent, what: String, (from, to): (u64, u64)) {
        let open = !self.is_ready && to >= self.end && spent.is_a_program();
        self.timeline.rows[row].bars.push(Bar { spent, what, from, to, critical: false, open });
    }

    /// Podspec's own work, by what it is for; a row that would be empty is left out.
    fn own_rows(&mut self) {
        self.row_of = vec![0; self.plan.steps.len()];
        for (name, kind) in OWN {
            let mine = |id: &StepId| {
                let step = &self.plan.steps[*id].step;
                kind == Some(step_kind(step)) && owner(step).is_none()
            };
            let mine: Vec<StepId> = self.times.steps.keys().copied().filter(mine).collect();
            if kind.is_some() && mine.is_empty() {
                continue;
            }
            let row = self.timeline.rows.len();
            self.timeline.rows.push(Row::new(name, None));
            if kind.is_none() {
                self.client_bars(row);
            }
            for id in mine {
                self.row_of[id] = row;
                self.step_bar(row, id);
            }
        }
    }

    fn client_bars(&mut self, row: usize) {
        for phase in &self.times.phases {
            let spent = if phase.what == "images" { Spent::Images } else { Spent::Client };
            let span = (self.at(phase.span.from), self.at(phase.span.to));
            self.bar(row, spent, phase.what.clone(), span);
        }
        let last = self.times.phases.iter().map(|phase| phase.span.to).max();
        let first = self.times.steps.values().map(|span| span.from).min();
        if let (Some(last), Some(first)) = (last, first)
            && last < first
        {
            let span = (self.at(last), self.at(first));
            self.bar(row, Spent::Client, "hand over to the supervisor".to_owned(), span);
        }
    }

    fn step_bar(&mut self, row: usize, id: StepId) {
        let Some(&span) = self.times.steps.get(&id) else { return };
        let step = &self.plan.steps[id].step;
        let span = (self.at(span.from), self.at(span.to));
        self.bar(row, spent(step), step.to_string(), span);
    }

    fn container_rows(&mut self) {
        for n in 0..self.containers.len() {
            let row = self.timeline.rows.len();
            self.containers[n].row = row;
            let container = self.containers[n].clone();
            self.timeline.rows.push(Row::new(&container.name, Some(container.role)));
            for (id, planned) in self.plan.steps.iter().enumerate() {
                if owner(&planned.step) == Some(container.name.as_str()) {
                    self.row_of[id] = row;
                    if self.times.steps.contains_key(&id) {
                        self.step_bar(row, id);
                    }
                }
            }
            self.held_bar(&container);
            self.program_bars(&container);
            self.timeline.rows[row].bars.sort_by_key(|bar| (bar.from, bar.to));
        }
    }

    /// It is set up, and its turn has not come.
    fn held_bar(&mut self, container: &Container<'a>) {
        let needed = self.needed(container);
        let created = self.times.steps.get(&container.create).map(|span| self.at(span.to));
        let Some(from) = created else { return };
        let released = self.times.steps.get(&container.start).map(|span| self.at(span.from));
        let to = released.unwrap_or(self.end);
        if !needed.is_empty() && from < to {
            self.bar(container.row, Spent::Held, format!("waits for {needed}"), (from, to));
        }
    }

    /// Of other containers, in words.
    fn needed(&self, container: &Container<'a>) -> String {
        let mut words: Vec<String> = Vec::new();
        for edge in &self.plan.steps[container.start].after {
            let Some(other) = self.containers.iter().find(|other| other.start == edge.step) else {
                continue;
            };
            words.push(match edge.until {
                Until::Done => format!("{} to start", other.name),
                Until::Ready => format!("{} to be ready", other.name),
                Until::Completed => format!("{} to complete", other.name),
            });
        }
        words.join(", ")
    }

    /// From its program's begin on.
    fn program_bars(&mut self, container: &Container<'a>) {
        let Some(span) = self.times.steps.get(&container.start) else { return };
        let (row, begun) = (container.row, self.at(span.to));
        let mark = |mark| self.times.mark(container.start, mark).map(|at| self.at(at));
        let (started, ready) = (mark(Mark::Started), mark(Mark::Ready));
        let completed = mark(Mark::Completed);
        let mut from = begun;
        if let Some(hook) = &container.health.post_start {
            let to = started.unwrap_or(self.end);
            self.bar(row, Spent::PostStart, format!("postStart: {hook}"), (from, to));
            from = to;
        }
        let has_started = container.health.post_start.is_none() || started.is_some();
        let ready = if container.is_probed() { ready } else { Some(from).filter(|_| has_started) };
        if container.is_probed() && has_started {
            let to = ready.unwrap_or(self.end);
            self.bar(row, Spent::Readiness, container.asked(), (from, to));
        }
        let facts = &mut self.timeline.rows[row];
        (facts.started, facts.completed) = (has_started.then_some(from), completed);
        facts.ready = ready.filter(|_| container.role != Role::Init);
        if self.runs_to_its_end(container) {
            let (from, to) = (ready.unwrap_or(from), completed.unwrap_or(self.end));
            self.bar(row, Spent::Completion, "runs to its end".to_owned(), (from, to));
        } else if let Some(ready) = ready {
            let to = completed.unwrap_or(self.end).min(self.end);
            if ready < to {
                self.bar(row, Spent::Running, "ready".to_owned(), (ready, to));
            }
        }
    }

    /// Whether others wait for its end.
    fn runs_to_its_end(&self, container: &Container<'a>) -> bool {
        let mut edges = self.plan.steps.iter().flat_map(|planned| &planned.after);
        container.role == Role::Init
            || edges.any(|edge| (edge.step, edge.until) == (container.start, Until::Completed))
    }

    fn finish(mut self) -> Timeline {
        self.timeline.set_up = self.set_up();
        self.arrows();
        self.timeline.critical_path = path::critical(&self);
        self.mark_critical();
        self.timeline
    }

    /// When the last step was done that waits for no program.
    fn set_up(&self) -> u64 {
        let mut waits = vec![false; self.plan.steps.len()];
        let mut last = 0;
        for (id, planned) in self.plan.steps.iter().enumerate() {
            waits[id] = planned.after.iter().any(|edge| {
                waits[edge.step]
                    || edge.until != Until::Done
                    || self.times.mark(edge.step, Mark::Started).is_some()
            });
            if let (false, Some(span)) = (waits[id], self.times.steps.get(&id)) {
                last = last.max(self.at(span.to));
            }
        }
        last
    }

    fn arrows(&mut self) {
        for container in &self.containers {
            // What comes after an init container is not even set up before.
            let steps = [container.create, container.start].into_iter();
            let edges =
                steps.flat_map(|id| self.plan.steps[id].after.iter().map(move |e| (id, *e)));
            let mut arrows: Vec<Arrow> = Vec::new();
            for (id, edge) in edges {
                let Some(span) = self.times.steps.get(&id) else { continue };
                let others = self.containers.iter().filter(|other| other.row != container.row);
                let Some(other) = others.into_iter().find(|other| other.start == edge.step) else {
                    continue;
                };
                let Some(at) = self.times.reached(edge.step, edge.until, other.is_probed()) else {
                    continue;
                };
                arrows.push(Arrow {
                    from: other.row,
                    to: container.row,
                    until: Wait::until(edge.until),
                    at: self.at(at),
                    until_at: self.at(span.from),
                    critical: false,
                });
            }
            arrows.dedup_by_key(|arrow| (arrow.from, arrow.until));
            self.timeline.arrows.extend(arrows);
        }
    }

    /// Bars and arrows on the critical path are so marked.
    fn mark_critical(&mut self) {
        let Timeline { rows, arrows, critical_path, .. } = &mut self.timeline;
        for part in critical_path.iter() {
            if part.spent == Spent::Queue {
                let Part { spent, what, from, to, .. } = part.clone();
                rows[part.row].bars.push(Bar {
                    spent,
                    what,
                    from,
                    to,
                    critical: false,
                    open: false,
                });
            }
            for bar in &mut rows[part.row].bars {
                // A part may begin a little before its bar: when what it waited for came.
                bar.critical |= (bar.spent, bar.to) == (part.spent, part.to);
            }
        }
        for pair in critical_path.windows(2) {
            let (from, to) = (pair[0].row, pair[1].row);
            for arrow in arrows.iter_mut() {
                arrow.critical |= from != to
                    && (arrow.from, arrow.to) == (from, to)
                    && arrow.at.abs_diff(pair[0].to) <= 1;
            }
        }
    }
}

impl Timeline {
    /// The critical path's time by what it was spent on, the longest first.
    pub fn spent(&self) -> Vec<(Spent, u64)> {
        let mut all: BTreeMap<Spent, u64> = BTreeMap::new();
        for part in &self.critical_path {
            *all.entry(part.spent).or_default() += part.to.saturating_sub(part.from);
        }
        let mut all: Vec<(Spent, u64)> = all.into_iter().filter(|(_, time)| *time > 0).collect();
        all.sort_by_key(|(spent, time)| (std::cmp::Reverse(*time), *spent));
        all
    }

    /// How much of it was for the user's programs.
    pub fn for_programs(&self) -> u64 {
        self.spent().iter().filter(|(spent, _)| spent.is_a_program()).map(|(_, time)| time).sum()
    }

    /// The names on the critical path, each once in a row.
    pub fn path_names(&self) -> Vec<&str> {
        let names = self.critical_path.iter().map(|part| self.rows[part.row].name.as_str());
        let mut names: Vec<&str> = names.collect();
        names.dedup();
        names
    }
}

impl Row {
    fn new(name: &str, role: Option<Role>) -> Self {
        let (started, ready, completed) = (None, None, None);
        Self { name: name.to_owned(), role, bars: Vec::new(), started, ready, completed }
    }
}

/// When a container was as far as a start needs it; None: it is not yet.
fn good(times: &Times, container: &Container<'_>) -> Option<Moment> {
    let completed = times.mark(container.start, Mark::Completed);
    if container.role == Role::Init {
        return completed;
    }
    let has_started = container.health.post_start.is_none()
        || times.mark(container.start, Mark::Started).is_some();
    let ready = times.reached(container.start, Until::Ready, container.is_probed());
    ready.filter(|_| has_started).or(completed)
}

fn containers(plan: &Plan) -> Vec<Container<'_>> {
    let mut found: Vec<Container<'_>> = Vec::new();
    for (id, planned) in plan.steps.iter().enumerate() {
        match &planned.step {
            Step::CreateContainer(launch) => found.push(Container {
                name: launch.container.to_string(),
                role: launch.role,
                health: &launch.health,
                create: id,
                start: id,
                row: 0,
            }),
            Step::StartContainer { container } => {
                let known = found.iter_mut().find(|known| known.name == container.as_str());
                if let Some(known) = known {
                    known.start = id;
                }
            }
            _ => {}
        }
    }
    found
}

/// The container that a step is for alone.
fn owner(step: &Step) -> Option<&str> {
    match step {
        Step::CreateContainer(launch) => Some(launch.container.as_str()),
        Step::StartContainer { container }
        | Step::MakeNetns { container, .. }
        | Step::MakeLayers { container, .. } => Some(container.as_str()),
        Step::Connect(connection) => connection.container.as_ref().map(|name| name.as_str()),
        _ => None,
    }
}

fn spent(step: &Step) -> Spent {
    match (step, step_kind(step)) {
        (Step::CreateContainer(_), _) => Spent::SetUp,
        (Step::StartContainer { .. }, _) => Spent::Start,
        (_, Kind::Infra) => Spent::Infra,
        (_, Kind::Network) => Spent::Network,
        _ => Spent::Files,
    }
}

/// A time as a person reads it: three digits or so.
pub fn time(micros: u64) -> String {
    let millis = micros as f64 / 1000.0;
    match micros {
        0..1_000 => format!("{micros} \u{b5}s"),
        1_000..9_995 => format!("{millis:.2} ms"),
        9_995..99_950 => format!("{millis:.1} ms"),
        99_950..999_500 => format!("{millis:.0} ms"),
        999_500..9_995_000 => format!("{:.2} s", millis / 1000.0),
        9_995_000..120_000_000 => format!("{:.1} s", millis / 1000.0),
        _ => format!("{} min {} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}
