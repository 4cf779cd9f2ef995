//! All that is shown and what of it is selected. Pure: it is told what was read and what was typed, and says
//! what is to be done.

use super::input::{Command, Move, Where};
use super::log::Log;
use super::tree::tree;
use crate::cli::board::{Needs, has_begun};
use crate::cli::stats::{Sample, Values};
use crate::cli::target::Target;
use crate::names::{ContainerName, PodName};
use crate::plan::step::Until;
use crate::state::record::{ContainerRecord, ContainerStatus, PodRecord};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Samples that are kept to be drawn, one a second.
const HISTORY: usize = 120;
/// Samples for which something that was done is said.
const SAID: u8 = 6;

/// A pod as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pod {
    pub(super) name: PodName,
    /// In words.
    pub(super) status: String,
    /// None: nothing is known of it but that it is there.
    pub(super) record: Option<PodRecord>,
    pub(super) needs: Needs,
}

impl Pod {
    pub(super) fn unknown(name: PodName, status: String) -> Self {
        Self { name, status, record: None, needs: Needs::default() }
    }

    pub(super) fn containers(&self) -> &[ContainerRecord] {
        self.record.as_ref().map_or(&[], |record| &record.containers)
    }

    fn container(&self, name: &ContainerName) -> Option<&ContainerRecord> {
        self.containers().iter().find(|container| container.name == *name)
    }

    /// What the container needs, and whether it has that.
    pub(super) fn needs(&self, of: &ContainerName) -> Vec<(&ContainerName, Until, bool)> {
        let needs = self.needs.get(of).map_or(&[][..], Vec::as_slice);
        let is_there = |name, until| {
            self.container(name).is_some_and(|needed| match until {
                Until::Done => has_begun(needed.status),
                Until::Ready => needed.ready,
                Until::Completed => needed.status == ContainerStatus::Exited,
            })
        };
        needs.iter().map(|(name, until)| (name, *until, is_there(name, *until))).collect()
    }

    /// Who needs it.
    pub(super) fn needed_by(&self, name: &ContainerName) -> Vec<&ContainerName> {
        let needs_it =
            |needs: &[(ContainerName, Until)]| needs.iter().any(|(need, _)| need == name);
        self.needs.iter().filter(|(_, needs)| needs_it(needs)).map(|(who, _)| who).collect()
    }
}

/// What something uses, and has used.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    pub(super) values: Values,
    /// Bytes a second, in and out.
    pub(super) rate: Option<(u64, u64)>,
    /// Tenths of a per cent of a processor, the newest last.
    pub(super) cpu: VecDeque<u64>,
    pub(super) memory: VecDeque<u64>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) target: Target,
    /// Lines of the tree in front of its name.
    pub(super) branch: String,
}

/// What a log is of: a container, or all of a pod, since the pod was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) target: Target,
    /// As records have it.
    pub(super) since: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Restart,
    Stop,
}

impl Verb {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }
}

/// What the user is asked before it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) verb: Verb,
    pub(super) target: Target,
    /// It has stood there for long enough to be read: what was typed for something else is no answer.
    pub(super) is_read: bool,
}

/// What only the outside can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Ask(Verb, Target),
    Shell(Target),
    Suspend,
    Redraw,
    Quit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Busy,
    Done,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    List,
    Log,
}

#[derive(Debug)]
pub(super) struct Model {
    /// The pod that was asked for alone.
    pub(super) only: Option<PodName>,
    pub(super) pods: Vec<Pod>,
    usage: BTreeMap<Target, Usage>,
    pub(super) rows: Vec<Row>,
    selected: Option<Target>,
    /// The place of the selected one when it was there last.
    at: usize,
    /// The first row that is shown.
    pub(super) first: usize,
    /// Rows of the list, and lines of a log, that the screen has room for.
    room: (usize, usize),
    is_tree: bool,
    pub(super) filter: String,
    filtering: bool,
    page: Page,
    pub(super) help: bool,
    pub(super) question: Option<Question>,
    /// What was done or went wrong, and for how many samples more it is said.
    said: Option<(Tone, String, u8)>,
    /// Of what is selected.
    pub(super) log: Log,
}

impl Model {
    pub(super) fn new(target: Option<Target>) -> Self {
        Self {
            only: target.as_ref().map(|target| target.pod.clone()),
            pods: Vec::new(),
            usage: BTreeMap::new(),
            rows: Vec::new(),
            selected: target,
            at: 0,
            first: 0,
            room: (1, 1),
            is_tree: true,
            filter: String::new(),
            filtering: false,
            page: Page::List,
            help: false,
            question: None,
            said: None,
            log: Log::default(),
        }
    }

    /// Takes in what was read. A question about what is gone answers itself.
    pub(super) fn set_pods(&mut self, pods: Vec<Pod>) {
        self.pods = pods;
        self.arrange();
        if self.question.as_ref().is_some_and(|question| !self.exists(&question.target)) {
            self.question = None;
        }
        if self.rows.is_empty() {
            self.page = Page::List;
        }
    }

    /// Takes in what is used since `since` the sample before.
    pub(super) fn set_usage(&mut self, sample: &Sample, since: Duration) {
        let mut before = std::mem::take(&mut self.usage);
        let mut take = |pod: &PodName, container: Option<&ContainerName>, values: &Values| {
            let target = Target { pod: pod.clone(), container: container.cloned() };
            let earlier = before.remove(&target);
            self.usage.insert(target, Usage::next(earlier, *values, since));
        };
        for pod in &sample.pods {
            if let Some(total) = &pod.total {
                take(&pod.name, None, total);
            }
            for container in &pod.containers {
                take(&pod.name, Some(&container.name), &container.values);
            }
        }
        // What goes on is said until it is done, what went wrong until a key shows that it was read.
        if let Some((Tone::Done, _, left)) = &mut self.said {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.said = None;
            }
        }
    }

    pub(super) fn usage(&self, of: &Target) -> Option<&Usage> {
        self.usage.get(of)
    }

    pub(super) fn pod(&self, name: &PodName) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.name == *name)
    }

    pub(super) fn container(&self, of: &Target) -> Option<&ContainerRecord> {
        self.pod(&of.pod)?.container(of.container.as_ref()?)
    }

    fn exists(&self, target: &Target) -> bool {
        match target.container {
            Some(_) => self.container(target).is_some(),
            None => self.pod(&target.pod).is_some(),
        }
    }

    /// What keys are about.
    pub(super) fn selected(&self) -> Option<&Target> {
        self.rows.get(self.at).map(|row| &row.target)
    }

    pub(super) fn selected_run(&self) -> Option<Run> {
        let target = self.selected()?.clone();
        let since = self.pod(&target.pod)?.record.as_ref()?.created_at.clone();
        Some(Run { target, since })
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn shows_log(&self) -> bool {
        self.page == Page::Log
    }

    pub(super) fn is_filtering(&self) -> bool {
        self.filtering
    }

    pub(super) fn said(&self) -> Option<(Tone, &str)> {
        self.said.as_ref().map(|(tone, text, _)| (*tone, text.as_str()))
    }

    pub(super) fn say(&mut self, tone: Tone, text: String) {
        self.said = Some((tone, text, SAID));
    }

    pub(super) fn place(&self) -> Where {
        if self.help {
            return Where::Help;
        }
        match (&self.question, self.filtering, self.page) {
            (Some(_), _, _) => Where::Question,
            (None, true, _) => Where::Filter,
            (None, false, Page::Log) => Where::Log,
            (None, false, Page::List) => Where::List,
        }
    }

    /// The screen has room for so many rows of the list, and so many lines of a log.
    pub(super) fn fit(&mut self, rows: usize, lines: usize) {
        self.room = (rows.max(1), lines.max(1));
        self.scroll();
    }

    /// The rows anew, and the same one selected, or whichever has its place.
    fn arrange(&mut self) {
        self.rows = self.pods.iter().flat_map(|pod| self.rows_of(pod)).collect();
        let same = self.rows.iter().position(|row| Some(&row.target) == self.selected.as_ref());
        self.at = same.unwrap_or(self.at).min(self.rows.len().saturating_sub(1));
        // Of a pod that is yet to come, the one that was asked for.
        if !self.rows.is_empty() {
            self.selected = self.selected().cloned();
        }
        self.scroll();
    }

    fn rows_of(&self, pod: &Pod) -> Vec<Row> {
        let row = |container: Option<&ContainerName>, branch: String| Row {
            target: Target { pod: pod.name.clone(), container: container.cloned() },
            branch,
        };
        let containers = pod.containers();
        let mut rows = vec![row(None, String::new())];
        if self.filter.is_empty() && self.is_tree {
            let index = |name: &ContainerName| {
                containers.iter().position(|container| container.name == *name)
            };
            let needs: Vec<Vec<usize>> = containers
                .iter()
                .map(|container| pod.needs.get(&container.name))
                .map(|needs| {
                    needs.into_iter().flatten().filter_map(|(name, _)| index(name)).collect()
                })
                .collect();
            let leaves = tree(&needs);
            rows.extend(
                leaves.into_iter().map(|leaf| row(Some(&containers[leaf.index].name), leaf.branch)),
            );
            return rows;
        }
        let of_pod = pod.name.as_str().contains(&self.filter);
        let wanted = |name: &ContainerName| of_pod || name.as_str().contains(&self.filter);
        let names = containers.iter().map(|container| &container.name);
        rows.extend(names.filter(|name| wanted(name)).map(|name| row(Some(name), String::new())));
        if rows.len() == 1 && !of_pod { Vec::new() } else { rows }
    }

    /// So that the selected row is seen, and no room is left while there are more.
    fn scroll(&mut self) {
        let (height, _) = self.room;
        let most = self.rows.len().saturating_sub(height);
        self.first = self.first.min(self.at).max((self.at + 1).saturating_sub(height)).min(most);
    }

    fn select(&mut self, at: usize) {
        self.at = at.min(self.rows.len().saturating_sub(1));
        self.selected = self.selected().cloned();
        self.scroll();
    }

    /// Does what only concerns what is shown, and gives what else is to be done.
    pub(super) fn obey(&mut self, command: Command) -> Option<Effect> {
        if self.said.as_ref().is_some_and(|(tone, _, _)| *tone != Tone::Busy) {
            self.said = None;
        }
        match command {
            Command::Quit => return Some(Effect::Quit),
            Command::Suspend => return Some(Effect::Suspend),
            Command::Redraw => return Some(Effect::Redraw),
            Command::Yes => {
                let question = self.question.take_if(|question| question.is_read)?;
                return Some(Effect::Ask(question.verb, question.target));
            }
            Command::Shell => return self.shell(),
            Command::Restart => self.ask(Verb::Restart),
            Command::Stop => self.ask(Verb::Stop),
            Command::Move(way) => self.go(way),
            Command::Log => self.open_log(),
            Command::Tree => {
                self.is_tree = !self.is_tree;
                self.arrange();
            }
            Command::Help => self.help = true,
            Command::Filter => self.filtering = true,
            Command::Type(c) => self.set_filter(|filter| filter.push(c)),
            Command::Erase => self.set_filter(|filter| {
                filter.pop();
            }),
            Command::Accept => self.filtering = false,
            Command::Back => self.back(),
        }
        None
    }

    fn go(&mut self, way: Move) {
        let (height, lines) = self.room;
        if self.page == Page::Log {
            self.log.go(way, lines);
            return;
        }
        let page = height.saturating_sub(1).max(1);
        let is_pod = |at: &usize| self.rows[*at].target.container.is_none();
        let to = match way {
            Move::Up => self.at.saturating_sub(1),
            Move::Down => self.at + 1,
            Move::PageUp => self.at.saturating_sub(page),
            Move::PageDown => self.at + page,
            Move::First => 0,
            Move::Last => usize::MAX,
            Move::NextPod => (self.at + 1..self.rows.len()).find(is_pod).unwrap_or(0),
            Move::PreviousPod => (0..self.at).rev().find(is_pod).unwrap_or(0),
        };
        self.select(to);
    }

    fn open_log(&mut self) {
        if self.selected().is_some() {
            self.page = Page::Log;
        }
    }

    fn ask(&mut self, verb: Verb) {
        let target = self.selected().cloned();
        self.question = target.map(|target| Question { verb, target, is_read: false });
    }

    /// Whether a question stands there that cannot be answered yet.
    pub(super) fn has_unread(&self) -> bool {
        self.question.as_ref().is_some_and(|question| !question.is_read)
    }

    /// The question can have been read.
    pub(super) fn set_read(&mut self) {
        if let Some(question) = &mut self.question {
            question.is_read = true;
        }
    }

    /// In the only container of a pod, where the pod is selected.
    fn shell(&mut self) -> Option<Effect> {
        let mut target = self.selected()?.clone();
        if target.container.is_none() {
            let pod = self.pod(&target.pod)?;
            let [only] = pod.containers() else {
                let text =
                    format!("select the container of `{}` that is to have a shell", pod.name);
                self.say(Tone::Error, text);
                return None;
            };
            target.container = Some(only.name.clone());
        }
        Some(Effect::Shell(target))
    }

    fn set_filter(&mut self, change: impl FnOnce(&mut String)) {
        change(&mut self.filter);
        self.arrange();
    }

    fn back(&mut self) {
        match self.place() {
            Where::Help => self.help = false,
            Where::Question => self.question = None,
            Where::Log => {
                self.page = Page::List;
                self.log.follow();
            }
            Where::Filter | Where::List => {
                self.filtering = false;
                self.set_filter(String::clear);
            }
        }
    }
}

impl Usage {
    fn next(earlier: Option<Self>, values: Values, since: Duration) -> Self {
        let seconds = since.as_secs_f64();
        let per_second = |now: u64, before: u64| {
            // Less than before: it is another run's link.
            (now.saturating_sub(before) as f64 / seconds) as u64
        };
        let rate = earlier.as_ref().and_then(|earlier| {
            let (now, before) = values.network.zip(earlier.values.network)?;
            let (received, sent) = (before.received, before.sent);
            (seconds > 0.0)
                .then(|| (per_second(now.received, received), per_second(now.sent, sent)))
        });
        let (mut cpu, mut memory) =
            earlier.map(|earlier| (earlier.cpu, earlier.memory)).unwrap_or_default();
        keep(&mut cpu, (values.cpu.percent * 10.0) as u64);
        keep(&mut memory, values.memory.used);
        Self { values, rate, cpu, memory }
    }
}

fn keep(history: &mut VecDeque<u64>, value: u64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn shown(model: &Model) -> Vec<String> {
        let line = |row: &Row| match &row.target.container {
            None => row.target.pod.to_string(),
            Some(name) => format!("{}{name}", row.branch),
        };
        model.rows.iter().map(line).collect()
    }

    fn selected(model: &Model) -> String {
        model.selected().map(ToString::to_string).unwrap_or_default()
    }

    fn shop() -> Model {
        let mut model = Model::new(None);
        model.set_pods(vec![
            sample::shop(),
            sample::pod("tools", "running", &[("sh", "running", true)]),
        ]);
        model.fit(20, 20);
        model
    }

    fn press(model: &mut Model, commands: &[Command]) -> Option<Effect> {
        commands.iter().fold(None, |_, command| model.obey(*command))
    }

    #[test]
    fn containers_stand_below_what_they_wait_for_or_in_the_order_of_the_file() {
        let mut model = shop();
        let tree = ["shop", "db", "└ migrate", "  └ web", "cache", "tools", "sh"];
        assert_eq!(shown(&model), tree);
        model.obey(Command::Tree);
        assert_eq!(shown(&model), ["shop", "web", "db", "cache", "migrate", "tools", "sh"]);
    }

    #[test]
    fn what_is_selected_stays_so_while_others_come_and_go() {
        let mut model = shop();
        press(&mut model, &[Command::Move(Move::Down), Command::Move(Move::Down)]);
        assert_eq!(selected(&model), "shop/migrate");
        let more = sample::pod("blog", "running", &[("php", "running", true)]);
        model.set_pods(vec![more, sample::shop()]);
        assert_eq!(selected(&model), "shop/migrate");
        model.set_pods(vec![sample::pod("tools", "running", &[("sh", "running", true)])]);
        assert_eq!(selected(&model), "tools/sh", "the last there is");
        model.set_pods(Vec::new());
        assert_eq!(model.selected(), None);
        assert_eq!(press(&mut model, &[Command::Stop, Command::Yes]), None, "nothing is meant");
    }

    #[test]
    fn a_stop_is_asked_and_a_change_below_the_cursor_does_not_change_whom() {
        let mut model = shop();
        model.obey(Command::Move(Move::Down));
        assert_eq!(model.obey(Command::Stop), None);
        assert_eq!(model.place(), Where::Question);
        let more = sample::pod("a", "running", &[("x", "running", true)]);
        model.set_pods(vec![more.clone(), sample::shop()]);
        assert_eq!(model.obey(Command::Yes), None, "nobody can have read it");
        model.set_read();
        let stop = model.obey(Command::Yes);
        let db = Target { pod: "shop".parse().unwrap(), container: Some("db".parse().unwrap()) };
        assert_eq!(stop, Some(Effect::Ask(Verb::Stop, db)));
        // No is no, and so is the end of what was asked about.
        assert_eq!(press(&mut model, &[Command::Restart, Command::Back]), None);
        assert_eq!(model.place(), Where::List);
        model.obey(Command::Restart);
        model.set_pods(vec![more]);
        assert_eq!(model.place(), Where::List);
        assert_eq!(model.obey(Command::Yes), None);
    }

    #[test]
    fn the_one_that_was_asked_for_is_selected_once_it_is_there() {
        let web = Target { pod: "shop".parse().unwrap(), container: Some("web".parse().unwrap()) };
        let mut model = Model::new(Some(web));
        model.set_pods(Vec::new());
        model.set_pods(vec![sample::shop()]);
        assert_eq!(selected(&model), "shop/web");
    }

    #[test]
    fn two_hundred_scroll() {
        let names: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
        let containers: Vec<_> = names.iter().map(|n| (n.as_str(), "running", true)).collect();
        let mut model = Model::new(None);
        model.set_pods(vec![sample::pod("many", "running", &containers)]);
        model.fit(10, 10);
        let ends = |model: &Model| (model.first, model.at());
        for _ in 0..10 {
            model.obey(Command::Move(Move::Down));
        }
        assert_eq!(ends(&model), (1, 10));
        model.obey(Command::Move(Move::PageDown));
        assert_eq!(ends(&model), (10, 19));
        model.obey(Command::Move(Move::Last));
        assert_eq!(ends(&model), (191, 200));
        model.fit(50, 10);
        assert_eq!(ends(&model), (151, 200), "no room is left below");
        model.obey(Command::Move(Move::First));
        assert_eq!(ends(&model), (0, 0));
        model.obey(Command::Move(Move::Up));
        assert_eq!(ends(&model), (0, 0));
        model.obey(Command::Move(Move::Last));
        model.set_pods(vec![sample::pod("many", "running", &containers[..5])]);
        assert_eq!(ends(&model), (0, 5));
    }

    #[test]
    fn a_filter_shows_what_has_it_in_its_name() {
        let mut model = shop();
        press(&mut model, &[Command::Filter, Command::Type('d'), Command::Type('b')]);
        assert_eq!(shown(&model), ["shop", "db"]);
        model.obey(Command::Erase);
        model.obey(Command::Accept);
        assert_eq!(model.place(), Where::List);
        assert_eq!(shown(&model), ["shop", "db"]);
        model.obey(Command::Back);
        assert_eq!(shown(&model).len(), 7);
        press(&mut model, &[Command::Filter, Command::Type('x')]);
        assert_eq!(model.rows, []);
        assert_eq!(press(&mut model, &[Command::Move(Move::NextPod), Command::Accept]), None);
        model.obey(Command::Back);
        press(&mut model, &[Command::Move(Move::First), Command::Move(Move::NextPod)]);
        assert_eq!(selected(&model), "tools");
    }

    #[test]
    fn a_shell_is_of_a_container() {
        let mut model = shop();
        assert_eq!(model.obey(Command::Shell), None);
        assert!(model.said().is_some_and(|(tone, _)| tone == Tone::Error));
        press(&mut model, &[Command::Move(Move::Last), Command::Move(Move::Up)]);
        let sh = Target { pod: "tools".parse().unwrap(), container: Some("sh".parse().unwrap()) };
        assert_eq!(model.obey(Command::Shell), Some(Effect::Shell(sh)), "it has no other");
        assert_eq!(model.said(), None, "a key shows that it was read");
    }

    #[test]
    fn rates_are_of_the_time_between_two_samples() {
        let mut model = shop();
        let pod = Target::whole("shop".parse().unwrap());
        for (bytes, rate) in [(1000, None), (3000, Some((1000, 2000))), (0, Some((0, 0)))] {
            let sample = crate::cli::stats::tests::sample_of("shop", bytes, &[("db", 1.0, 9)]);
            model.set_usage(&sample, Duration::from_secs(2));
            assert_eq!(model.usage(&pod).unwrap().rate, rate);
        }
        assert_eq!(model.usage(&pod).unwrap().memory, [9, 9, 9]);
    }
}
