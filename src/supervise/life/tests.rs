//! Random events against the machine of states: a small model of the kernel answers what it asks for, users
//! ask for what they like, and whatever comes of it is in the tables of docs/states.md.

use super::*;
use crate::plan::facts::{Directories, HostFacts, NetworkFacts};
use crate::plan::step::{ExitPolicy, Restart, Role};
use crate::plan::{self, Goal as PlanGoal};
use crate::spec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const STATES: &str = include_str!("../../../docs/states.md");

/// A row of a table: its cells, less the backquotes.
#[derive(Clone)]
struct Row {
    code: String,
    next: BTreeSet<String>,
}

fn table(title: &str, state: &str) -> Option<Row> {
    static ROWS: LazyLock<BTreeMap<(&str, String), Row>> = LazyLock::new(|| {
        let of = |title| rows(title).map(move |(state, row)| ((title, state), row));
        of("Containers").chain(of("Pods")).collect()
    });
    ROWS.get(&(title, state.to_owned())).cloned()
}

/// Each state of the table under a title, with its row.
fn rows(title: &str) -> impl Iterator<Item = (String, Row)> {
    let section = STATES.split_once(&format!("## {title}")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let word = |word: &str| word.trim_matches('`').to_owned();
    section.lines().filter(|line| line.starts_with("| `")).map(move |line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let next = cells[cells.len() - 2].split(' ').filter(|next| !next.is_empty());
        (word(cells[1]), Row { code: cells[3].to_owned(), next: next.map(word).collect() })
    })
}

/// What is there of a container outside the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    None,
    SettingUp,
    Ready,
    Released,
    Running,
    /// The first process has ended.
    Leaving,
}

struct World {
    life: Life,
    plan: Plan,
    now: Instant,
    processes: Vec<Process>,
    killed: Vec<bool>,
    pending: Vec<StepId>,
    /// Starts by the policy since a user's.
    restarts: Vec<u32>,
    /// Stopped, and no user has asked for it since.
    resting: Vec<bool>,
    completed: Vec<bool>,
    /// When the last run began, and whether one since the user's start was long enough to be a good one.
    began: Vec<Instant>,
    was_long: Vec<bool>,
    /// Checks and hooks that are under way.
    asked: BTreeSet<(usize, Task)>,
    /// Good answers in a row, and which probes have had enough of them in this run.
    goods: BTreeMap<(usize, Task), u32>,
    passed: BTreeSet<(usize, Task)>,
    seen: BTreeSet<String>,
}

impl World {
    fn new(text: &str) -> Self {
        let context = spec::Context {
            base: PathBuf::from("/"),
            default_name: Some("p".to_owned()),
            env: &|_| None,
            read: &|_: &Path| Err(std::io::ErrorKind::NotFound.into()),
            look: &|_| None,
        };
        let loaded = spec::load(text, &context).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
        let facts = HostFacts {
            directories: Directories {
                run: "/r".into(),
                data: "/d".into(),
                netns: "/n".into(),
                cgroups: "podspec".into(),
            },
            network: NetworkFacts { mtu: 1500, ..NetworkFacts::default() },
            ..HostFacts::default()
        };
        let spec = &loaded.pods[0].spec;
        let plan = plan::plan(PlanGoal::Up(spec), None, &facts).unwrap();
        let names: Vec<ContainerName> = spec.containers.keys().cloned().collect();
        let (count, now) = (names.len(), Instant::now());
        Self {
            life: Life::new(&plan, &names, now),
            plan,
            now,
            processes: vec![Process::None; count],
            killed: vec![false; count],
            pending: Vec::new(),
            restarts: vec![0; count],
            resting: vec![false; count],
            completed: vec![false; count],
            began: vec![now; count],
            was_long: vec![false; count],
            asked: BTreeSet::new(),
            goods: BTreeMap::new(),
            passed: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    fn count(&self) -> usize {
        self.processes.len()
    }

    fn launch(&self, index: usize) -> &crate::plan::step::Launch {
        match &self.plan.steps[self.life.container(index).create].step {
            Step::CreateContainer(launch) => launch,
            other => panic!("{other:?}"),
        }
    }

    fn words(&self) -> (Vec<&'static str>, &'static str) {
        let containers = self.life.containers().iter().map(|c| c.status().word());
        (containers.collect(), self.life.status().word())
    }

    /// Tells the machine, and holds what comes of it against the tables.
    fn hear(&mut self, event: Event) {
        let before = self.words();
        if let Event::Start { containers } | Event::Restart { containers, .. } = &event {
            containers.iter().for_each(|index| self.resting[*index] = false);
        }
        let acts = self.life.hear(event.clone(), self.now);
        acts.iter().for_each(|act| self.obey(act.clone()));
        self.check(&before, &format!("{event:?}"));
        self.check_policy(&acts);
        self.check_counts(&acts);
        self.check_health();
    }

    fn check(&mut self, before: &(Vec<&str>, &str), what: &str) {
        let after = self.words();
        for (index, (old, new)) in before.0.iter().zip(&after.0).enumerate() {
            let row = table("Containers", new).unwrap_or_else(|| panic!("no state {new}"));
            let step = table("Containers", old).unwrap().next.contains(*new);
            assert!(old == new || step, "{old} -> {new} by {what}");
            let container = self.life.container(index);
            match row.code.as_str() {
                "0" => assert_eq!(container.code, Some(0), "{new}"),
                "any or none" => {}
                other => panic!("what is {other}?"),
            }
            if *new == "failed" {
                assert!(container.code != Some(0) || container.problem.is_some());
            }
            if *new == "stopped" && old != new {
                self.resting[index] = true;
            }
            assert_eq!(container.restarts, self.restarts[index], "restarts of {index}");
            self.seen.insert((*new).to_owned());
        }
        let step = table("Pods", before.1).unwrap().next.contains(after.1);
        assert!(before.1 == after.1 || step, "pod: {} -> {} by {what}", before.1, after.1);
        assert!(table("Pods", after.1).is_some(), "no pod state {}", after.1);
        self.seen.insert(format!("pod {}", after.1));
    }

    fn check_policy(&self, acts: &[Act]) {
        let main = |index: usize| self.life.container(index).role == Role::Main;
        let ended = |status: ContainerStatus, lost: bool| {
            let is_it = |index: usize| main(index) && self.life.container(index).lost == lost;
            acts.iter().any(|act| matches!(act, Act::Changed(i, s, _) if *s == status && is_it(*i)))
        };
        let failed = ended(ContainerStatus::Failed, false);
        let any = failed || ended(ContainerStatus::Exited, false);
        let done = (any || ended(ContainerStatus::Failed, true)) && self.life.work_is_over();
        let fires = match self.life.exit_policy {
            ExitPolicy::Continue => false,
            ExitPolicy::Stop => done,
            ExitPolicy::StopOnFailure => done || failed,
            ExitPolicy::StopOnExit => done || any,
        };
        for container in self.life.containers() {
            let goes_on = container.phase != Phase::Ended && !container.is_asked();
            assert!(!fires || !goes_on, "{:?} goes on: {container:?}", self.life.exit_policy);
            if self.life.exit_policy == ExitPolicy::Continue {
                assert!(!matches!(container.asked_by(), Some(By::Policy(_))));
            }
        }
    }

    /// `on-failure:N` starts N times, no more, and where it gives up no less; a good run begins its count anew.
    fn check_counts(&self, acts: &[Act]) {
        for (index, container) in self.life.containers().iter().enumerate() {
            let Restart::OnFailure { most: Some(most) } = container.policy else { continue };
            if self.was_long[index] {
                continue;
            }
            assert!(self.restarts[index] <= most, "{container:?}");
            let gives_up = acts.iter().any(
                |act| matches!(act, Act::Changed(it, ContainerStatus::Failed, _) if *it == index),
            );
            let by_itself = gives_up && !container.lost && !container.is_asked();
            if by_itself && matches!(self.life.stage, Stage::Starting | Stage::Up) {
                assert_eq!(self.restarts[index], most, "{container:?}");
            }
        }
    }

    /// Whether all that is asked of it before it counts as ready has been answered well, often enough, in this run.
    fn has_passed(&self, index: usize) -> bool {
        let health = &self.launch(index).health;
        [Task::Startup, Task::Readiness]
            .into_iter()
            .all(|task| task.check(health).is_none() || self.passed.contains(&(index, task)))
    }

    fn note_answer(&mut self, index: usize, task: Task, answer: &Answer) {
        let health = &self.launch(index).health;
        let probe = match task {
            Task::Startup => &health.startup,
            Task::Readiness => &health.readiness,
            _ => &None,
        };
        let Some(needed) = probe.as_ref().map(|probe| probe.successes) else { return };
        let goods = self.goods.entry((index, task)).or_default();
        *goods = if *answer == Answer::Good { *goods + 1 } else { 0 };
        if *goods >= needed {
            self.passed.insert((index, task));
        }
    }

    /// A new run: nothing has been answered yet.
    fn begin_run(&mut self, index: usize) {
        self.began[index] = self.now;
        self.goods.retain(|(of, _), _| *of != index);
        self.passed.retain(|(of, _)| *of != index);
    }

    /// Who is ready runs and passes; nobody is asked anything who does not run.
    fn check_health(&self) {
        for (index, container) in self.life.containers().iter().enumerate() {
            let runs = self.processes[index] == Process::Running;
            if container.is_ready() {
                assert!(runs && !container.is_asked() && container.problem.is_none());
                assert!(self.has_passed(index), "ready too early: {container:?}");
                assert!(!self.asked.contains(&(index, Task::PostStart)), "{container:?}");
                assert!(!self.asked.contains(&(index, Task::Startup)), "{container:?}");
            }
            assert!(runs || self.asked.iter().all(|(of, _)| *of != index), "{container:?}");
            if self.asked.contains(&(index, Task::Startup)) {
                assert!(!self.asked.contains(&(index, Task::Liveness)), "held off");
                assert!(!self.asked.contains(&(index, Task::Readiness)), "held off");
            }
        }
        // Whatever is under way ends at some time.
        if self.asked.iter().any(|(_, task)| Task::PROBES.contains(task)) {
            assert!(self.life.next_deadline().is_some());
        }
    }

    /// A check or a hook under way comes to this.
    fn answer(&mut self, which: usize, how: u8) {
        let Some(&(index, task)) = self.asked.iter().nth(which % self.asked.len().max(1)) else {
            return;
        };
        self.asked.remove(&(index, task));
        let answer = match how % 4 {
            0 => Answer::Bad("status 500".to_owned()),
            1 => Answer::Absent("refused".to_owned()),
            _ => Answer::Good,
        };
        self.note_answer(index, task, &answer);
        self.hear(Event::Told(index, task, answer));
    }

    fn answer_all(&mut self) {
        for which in self.asked.clone() {
            // One may have been ended by what came of another.
            if let Some(place) = self.asked.iter().position(|one| *one == which) {
                self.answer(place, 3);
            }
        }
    }

    /// Carries an act out.
    fn obey(&mut self, act: Act) {
        match act {
            Act::Create(index) => {
                assert!(!self.resting[index], "{index} was stopped and starts by itself");
                assert_eq!(self.processes[index], Process::None);
                self.processes[index] = Process::SettingUp;
                self.restarts[index] += 1;
                self.killed[index] = false;
            }
            Act::Begin(index, task) => {
                assert_eq!(self.processes[index], Process::Running, "{task:?} of nobody");
                assert!(self.asked.insert((index, task)), "{task:?} twice at a time");
            }
            Act::Cancel(index, task) => {
                self.asked.remove(&(index, task));
            }
            Act::Readiness(index, _) => assert!(self.life.container(index).vitals.is_probed()),
            Act::Ask(index) => {
                assert!(matches!(self.processes[index], Process::Running | Process::Leaving));
            }
            Act::Kill(index, _) => {
                assert_ne!(self.processes[index], Process::None, "nobody to kill");
                self.killed[index] = true;
            }
            Act::Empty(index) => assert_eq!(self.processes[index], Process::Leaving),
            Act::Changed(index, ContainerStatus::Exited, _) => self.completed[index] = true,
            Act::Changed(index, status, cause) => {
                assert!(!cause.is_empty(), "{status:?} without a cause");
                if status == ContainerStatus::Waiting && self.life.container(index).restarts == 0 {
                    (self.restarts[index], self.was_long[index]) = (0, false);
                }
                let goes = self.life.container(index).phase == Phase::Waiting;
                self.completed[index] &= !goes;
            }
            Act::Up | Act::AllReady | Act::Over { .. } => {}
        }
    }

    /// Begins every step that may be begun.
    fn step(&mut self) {
        loop {
            let before = self.words();
            let Some(id) = self.life.next_step() else { return };
            self.check(&before, "a step");
            let Some(index) = self.life.owner(id) else {
                self.pending.push(id);
                continue;
            };
            self.check_needs(id, index);
            if id == self.life.container(index).create {
                assert!(!self.resting[index], "{index} was stopped and starts by itself");
                assert_eq!(self.processes[index], Process::None, "its last run is not over");
                self.processes[index] = Process::SettingUp;
                self.killed[index] = false;
            } else {
                assert_eq!(self.processes[index], Process::Ready);
                self.processes[index] = Process::Released;
            }
        }
    }

    /// What a container depends on has come before it.
    fn check_needs(&self, step: StepId, index: usize) {
        for edge in &self.plan.steps[step].after {
            let Some(needed) = self.life.owner(edge.step).filter(|other| *other != index) else {
                continue;
            };
            let it = self.life.container(needed);
            match edge.until {
                crate::plan::step::Until::Completed => {
                    assert!(self.completed[needed], "{} has not completed", it.name);
                }
                crate::plan::step::Until::Ready => {
                    assert!(it.is_ready(), "{} is not ready: {it:?}", it.name);
                    assert!(self.has_passed(needed), "{} was not asked: {it:?}", it.name);
                }
                crate::plan::step::Until::Done => {
                    let has_come = it.has_run && it.phase != Phase::Waiting;
                    assert!(has_come, "{} has not started: {it:?}", it.name);
                }
            }
        }
    }

    /// Something of a container's own doing, or the end of a step that is no container's.
    fn go_on(&mut self, index: usize, well: bool, code: i32) {
        if let Some(id) = self.pending.pop() {
            return self.hear(Event::StepDone(id));
        }
        let killed = self.killed[index];
        match self.processes[index] {
            Process::None => {}
            Process::Leaving => {
                self.processes[index] = Process::None;
                let reset_after = self.life.container(index).backoff.reset_after;
                self.was_long[index] |= self.now - self.began[index] >= reset_after;
                self.hear(Event::Emptied(index));
            }
            Process::Running if well && !killed => {}
            Process::SettingUp if well && !killed => {
                self.processes[index] = Process::Ready;
                self.hear(Event::Ready(index));
            }
            Process::Released if well && !killed => {
                self.processes[index] = Process::Running;
                self.begin_run(index);
                self.hear(Event::Runs(index));
            }
            Process::Ready if !killed => {}
            _ => {
                let begun = self.processes[index] == Process::Running;
                if !begun && self.life.is_first_start(index) {
                    return self.hear(Event::StartFailed);
                }
                if !begun && !killed {
                    self.hear(Event::Failed(index, "no such program".to_owned()));
                }
                self.processes[index] = Process::Leaving;
                self.hear(Event::Ended(index, if killed { 137 } else { code }));
            }
        }
    }

    /// Lets everything go its way, and the programs that do not end by themselves run.
    fn run_on(&mut self) {
        for _ in 0..200 {
            self.step();
            (0..self.count()).for_each(|index| self.go_on(index, true, 0));
            self.answer_all();
            self.now += Duration::from_secs(1);
            self.hear(Event::Tick);
        }
    }
}

/// One thing that happens: what, to whom, and how.
type Happening = (u8, usize, u8);

fn happen(world: &mut World, (what, whom, how): Happening) {
    if world.life.stage == Stage::Undoing {
        // Nobody listens to containers any more: their cgroups go.
        return;
    }
    world.step();
    let whom = whom % world.count();
    let some: Vec<usize> = (0..world.count()).filter(|i| how & (1 << i) != 0).collect();
    let grace = (how % 3 == 0).then(|| Duration::from_secs(u64::from(how % 2)));
    match what {
        0..=29 => world.answer(whom, how),
        30..=119 => world.go_on(whom, how % 8 != 0, i32::from(how % 3)),
        120..=149 => world.go_on(whom, false, i32::from(how % 2)),
        150..=189 => {
            world.now += Duration::from_millis(u64::from(how) * 100);
            world.hear(Event::Tick);
        }
        190..=204 => world.hear(Event::Stop { containers: some, grace }),
        205..=224 => world.hear(Event::Start { containers: some }),
        225..=244 => world.hear(Event::Restart { containers: some, grace }),
        245..=248 if world.processes[whom] == Process::Running => world.hear(Event::Deaf(whom)),
        249 => world.hear(Event::Revoked(whom, "it said STOPPING=1")),
        250 if how % 4 == 0 => world.hear(Event::InfraDied("infra ended".to_owned())),
        251 if how % 4 == 0 => world.hear(Event::Down("asked for by `down`")),
        252 if how % 4 == 0 => world.hear(Event::Hurry),
        _ => {}
    }
}

/// Every kind of probe and hook, as far as they differ for the machine.
const HEALTH: [&str; 7] = [
    "",
    ", readinessProbe: { tcp: 80, interval: 1s, failureThreshold: 2, successThreshold: 2 }",
    ", startupProbe: { exec: [a], interval: 2s }, livenessProbe: { http: { port: 80 }, interval: 1s }",
    ", readinessProbe: { log: a, initialDelay: 1s }, livenessProbe: { notify: true, interval: 3s }",
    ", startupProbe: { file: /a, interval: 2s }, readinessProbe: { notify: true }",
    ", lifecycle: { postStart: { exec: [a] }, preStop: { exec: [b] } }, readinessProbe: { tcp: 80 }",
    ", lifecycle: { preStop: { http: { port: 80 } } }, livenessProbe: { tcp: 80, interval: 1s, failureThreshold: 1 }",
];

prop_compose! {
    /// A pod file: init containers and sidecars, containers that depend on earlier ones, policies.
    fn pod()(
        inits in proptest::collection::vec(0..4usize, 0..3),
        mains in proptest::collection::vec((0..4usize, 0..6u8, 0..6u8), 1..5),
        health in proptest::collection::vec(0..HEALTH.len(), 8),
        restarts in any::<u8>(),
        policy in 0..4usize,
        times in 0..3usize,
    ) -> String {
        let restart = ["no", "on-failure", "on-failure:2", "always"];
        let policy = ["continue", "stop", "stop-on-failure", "stop-on-exit"][policy];
        let one = |name: String, restart: &str, more: String| {
            format!("  {name}: {{ rootfs: host, command: [a], restart: {restart}{more} }}\n")
        };
        let times = ["", "stopTimeout: 12s\n", "restart: { backoff: { max: 1s, resetAfter: 1s } }\n"][times];
        let mut text = format!("network: none\nexitPolicy: {policy}\n{times}");
        if !inits.is_empty() {
            text += "initContainers:\n";
        }
        for (n, kind) in inits.into_iter().enumerate() {
            let health = if kind == 3 { HEALTH[health[7 - n]] } else { "" };
            text += &one(format!("i{n}"), restart[kind], health.to_owned());
        }
        text += "containers:\n";
        for (n, (kind, started, completed)) in mains.iter().enumerate() {
            let mut needs = Vec::new();
            for (other, (its, ..)) in mains.iter().enumerate().take(n) {
                let is_it = |number: u8| usize::from(number % 5) == other;
                if is_it(*completed) && *its != 3 {
                    needs.push(format!("c{other}: completed"));
                } else if is_it(*started) {
                    let condition = if *completed % 2 == 0 { "ready" } else { "started" };
                    let restart = restarts & (1 << n) != 0;
                    let long = format!("{{ condition: {condition}, restart: {restart} }}");
                    needs.push(format!("c{other}: {long}"));
                }
            }
            let needs = format!("{}, dependsOn: {{ {} }}", HEALTH[health[n]], needs.join(", "));
            text += &one(format!("c{n}"), restart[*kind], needs);
        }
        text
    }
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    proptest::collection::vec((any::<u8>(), 0..8usize, any::<u8>()), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 200, ..ProptestConfig::default()
    })]

    #[test]
    fn no_order_of_events_leaves_the_tables_and_down_always_ends(
        text in pod(), happenings in happenings()
    ) {
        let mut world = World::new(&text);
        happenings.into_iter().for_each(|one| happen(&mut world, one));
        if world.life.stage != Stage::Undoing {
            world.hear(Event::Down("asked for by `down`"));
            world.run_on();
            prop_assert!(world.life.is_over(), "{:#?}", world.life);
            prop_assert!(world.processes.iter().all(|process| *process == Process::None));
        }
    }

    #[test]
    fn a_pod_comes_up_and_what_was_stopped_comes_back(text in pod(), stopped in any::<u8>()) {
        // Who waits for the readiness of one that ends may come too late.
        prop_assume!(!(text.contains("completed") && text.contains("condition: ready")));
        let mut world = World::new(&text);
        // Init containers end when they are told to: a program that ends well is one that works.
        for _ in 0..400 {
            world.step();
            for index in 0..world.count() {
                let container = world.life.container(index);
                let ends = container.role == Role::Init
                    || world.plan.steps.iter().flat_map(|planned| &planned.after).any(|edge| {
                        edge.until == crate::plan::step::Until::Completed
                            && edge.step == container.start
                    });
                let runs = world.processes[index] == Process::Running;
                world.go_on(index, !(runs && ends), 0);
            }
            world.answer_all();
            world.now += Duration::from_millis(200);
            world.hear(Event::Tick);
        }
        prop_assert_eq!(world.life.stage, Stage::Up, "{:#?}", world.life);
        prop_assert!(world.life.containers().iter().all(|c| !c.has_failed()), "{:#?}", world.life);
        let some: Vec<usize> = (0..world.count())
            .filter(|index| stopped & (1 << index) != 0 && world.life.container(*index).is_alive())
            .collect();
        world.hear(Event::Stop { containers: some.clone(), grace: Some(Duration::ZERO) });
        world.run_on();
        prop_assert!(world.life.has_reached(&Goal::Ended(some.clone())));
        world.hear(Event::Start { containers: some.clone() });
        world.run_on();
        for index in some {
            let status = world.life.container(index).status();
            prop_assert_eq!(status, ContainerStatus::Running, "{:#?}", world.life);
        }
    }
}

/// Else the test above would hold for a machine that does nothing.
#[test]
fn every_row_of_the_tables_is_reached() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..300 {
        let text = pod().new_tree(&mut runner).unwrap().current();
        let mut world = World::new(&text);
        let happenings = happenings().new_tree(&mut runner).unwrap().current();
        happenings.into_iter().for_each(|one| happen(&mut world, one));
        seen.extend(world.seen);
    }
    for word in ["waiting", "created", "running", "stopping", "restarting", "exited", "failed"] {
        assert!(seen.contains(word) && table("Containers", word).is_some(), "{word}: {seen:?}");
    }
    for word in ["starting", "running", "exited", "failed", "stopped", "stopping"] {
        assert!(seen.contains(&format!("pod {word}")), "pod {word}: {seen:?}");
        assert!(table("Pods", word).is_some());
    }
}

/// With many of them, the first ones would wait for all to be created.
#[test]
fn what_waits_for_a_program_is_created_after_the_network_is_made() {
    let world = World::new(
        "containers:\n\
         \x20 db: { rootfs: host, command: [x], readinessProbe: { tcp: 1 } }\n\
         \x20 web: { rootfs: host, command: [x], dependsOn: { db: ready } }\n\
         \x20 job: { rootfs: host, command: [x] }\n\
         \x20 next: { rootfs: host, command: [x], dependsOn: [db] }\n",
    );
    let mut progress = Progress::new(&world.plan);
    let mut order = Vec::new();
    while let Some(id) = progress.take_next() {
        match &world.plan.steps[id].step {
            Step::CreateContainer(launch) => order.push(launch.container.to_string()),
            Step::Connect(_) => order.push("network".to_owned()),
            _ => {}
        }
        progress.done(id);
    }
    assert_eq!(order, ["db", "job", "next", "network", "web"]);
}

#[test]
fn containers_stop_in_the_reverse_order_of_their_starts() {
    let mut world = World::new(
        "network: none\ninitContainers:\n  side: { rootfs: host, command: [a], restart: always }\n\
         containers:\n  db: { rootfs: host, command: [a] }\n\
         \x20 web: { rootfs: host, command: [a], dependsOn: [db] }\n",
    );
    world.run_on();
    let statuses = |world: &World| world.words().0;
    assert_eq!(statuses(&world), ["running"; 3]);
    world.hear(Event::Stop { containers: vec![0, 1, 2], grace: None });
    for last in [2, 1, 0] {
        let sent = |c: &Container| c.asked.is_some_and(|asked| asked.sent);
        let sent: Vec<bool> = world.life.containers().iter().map(sent).collect();
        assert!((0..3).all(|index| sent[index] == (index >= last)), "{sent:?} at {last}");
        world.go_on(last, false, 0);
        world.go_on(last, false, 0);
    }
    assert_eq!(world.words(), (vec!["stopped"; 3], "stopped"));
}

/// A pod of one container, up and running, with this beside its command.
fn one(more: &str) -> World {
    let mut world = World::new(&format!(
        "network: none\ncontainers:\n  c: {{ rootfs: host, command: [a], {more} }}\n"
    ));
    for _ in 0..20 {
        world.step();
        world.go_on(0, true, 0);
    }
    assert_eq!(world.processes, [Process::Running]);
    world
}

/// The end of a container that was asked to end.
fn leave(world: &mut World, code: i32) {
    world.processes[0] = Process::Leaving;
    world.hear(Event::Ended(0, code));
    world.processes[0] = Process::None;
    world.hear(Event::Emptied(0));
}

#[test]
fn what_is_stopped_before_its_program_begins_has_no_exit_code() {
    let mut world = World::new(
        "network: none\ncontainers:\n  db: { rootfs: host, command: [a], readinessProbe: { tcp: 1 } }\n\
         \x20 web: { rootfs: host, command: [a], dependsOn: { db: ready } }\n",
    );
    for _ in 0..20 {
        world.step();
        for index in [0, 1] {
            world.go_on(index, true, 0);
        }
    }
    assert_eq!(world.words().0, ["running", "created"]);
    world.hear(Event::Stop { containers: vec![1], grace: None });
    for _ in 0..2 {
        world.go_on(1, false, 137);
    }
    assert_eq!(world.words().0, ["running", "stopped"]);
    assert_eq!(world.life.container(1).code, None);
}

#[test]
fn a_liveness_failure_counts_as_one_whatever_the_exit_code() {
    let mut world =
        one("restart: on-failure:2, livenessProbe: { tcp: 80, interval: 1s, failureThreshold: 3 }");
    for round in 0..3 {
        for _ in 0..3 {
            world.answer(0, 1);
            world.now += Duration::from_secs(1);
            world.hear(Event::Tick);
        }
        assert_eq!(world.words().0, ["stopping"], "round {round}");
        let reason = world.life.reason(0, world.now).unwrap();
        assert!(
            reason.starts_with("its liveness probe failed: tcp 80: refused, 3 tries"),
            "{reason}"
        );
        // It heeds the stop signal, and ends with 0.
        leave(&mut world, 0);
        assert_eq!(world.life.container(0).restarts, round.min(2));
        if round == 2 {
            break;
        }
        assert_eq!(world.words().0, ["restarting"]);
        world.now += Duration::from_millis(10 << round);
        world.hear(Event::Tick);
        for _ in 0..3 {
            world.go_on(0, true, 0);
            world.step();
        }
        assert_eq!(world.processes, [Process::Running], "round {round}");
    }
    assert_eq!(world.words().0, ["failed"]);
    assert_eq!(world.life.exit_code(), 1, "0 would hide it");
}

#[test]
fn failures_count_once_an_interval_however_often_it_is_asked() {
    let mut world = one("startupProbe: { tcp: 80, interval: 2s, failureThreshold: 2 }");
    let begun = world.now;
    let mut asked = 0;
    loop {
        if !world.asked.is_empty() {
            asked += 1;
            world.answer(0, 1);
        }
        if world.words().0 != ["running"] {
            break;
        }
        let next = world.life.next_deadline().unwrap();
        assert!(next > world.now, "asked again at once");
        world.now = next;
        world.hear(Event::Tick);
    }
    let took = world.now - begun;
    assert!(took >= Duration::from_secs(4) && took < Duration::from_millis(4100), "{took:?}");
    assert!((300..3000).contains(&asked), "{asked} times");
}

#[test]
fn one_that_answers_badly_is_not_asked_as_often_as_one_that_is_not_there() {
    let count = |how: u8| {
        let mut world = one("readinessProbe: { http: { port: 80 } }");
        let (end, mut asked) = (world.now + Duration::from_secs(5), 0);
        while world.now < end {
            if !world.asked.is_empty() {
                asked += 1;
                world.answer(0, how);
            }
            world.now = world.life.next_deadline().unwrap();
            world.hear(Event::Tick);
        }
        asked
    };
    let (bad, absent) = (count(0), count(1));
    assert!(bad < 120 && absent > 800, "{bad} and {absent}");
}

#[test]
fn readiness_is_lost_after_its_threshold_and_seen_again() {
    let mut world = one("readinessProbe: { tcp: 80, interval: 1s, failureThreshold: 2 }");
    let ready = |world: &mut World, how: u8| {
        world.answer(0, how);
        world.now += Duration::from_secs(1);
        world.hear(Event::Tick);
        world.life.container(0).is_ready()
    };
    let seen: Vec<bool> = [1, 3, 1, 3, 1, 1, 1, 3].map(|how| ready(&mut world, how)).into();
    assert_eq!(seen, [false, true, true, true, true, false, false, true]);
    assert_eq!(world.words(), (vec!["running"], "running"), "readiness restarts nothing");
}

#[test]
fn a_pre_stop_comes_before_the_signal_and_within_the_stop_time() {
    let mut world = one("stopTimeout: 5s, lifecycle: { preStop: { exec: [a] } }");
    world.hear(Event::Stop { containers: vec![0], grace: None });
    assert_eq!(world.asked, [(0, Task::PreStop)].into());
    world.answer(0, 1);
    let deadline = world.life.next_deadline();
    assert_eq!(deadline, Some(world.now + Duration::from_secs(5)));
    let mut world = one("stopTimeout: 5s, lifecycle: { preStop: { exec: [a] } }");
    world.hear(Event::Stop { containers: vec![0], grace: None });
    world.now += Duration::from_secs(5);
    world.hear(Event::Tick);
    assert!(world.killed[0], "a hook that hangs is no way to live on");
}

#[test]
fn a_pods_stop_has_a_time_of_its_own() {
    let mut world = World::new(
        "network: none\nstopTimeout: 15s\ncontainers:\n  db: { rootfs: host, command: [a], stopTimeout: 10s }\n\
         \x20 web: { rootfs: host, command: [a], stopTimeout: 10s, dependsOn: [db] }\n\
         \x20 all: { rootfs: host, command: [a], dependsOn: [db] }\n",
    );
    world.run_on();
    assert_eq!(world.words().0, ["running"; 3]);
    assert_eq!(world.launch(2).stop_timeout, Duration::from_secs(15), "the pod's");
    let wait = |world: &mut World, seconds| {
        world.now += Duration::from_secs(seconds);
        world.hear(Event::Tick);
        world.killed.clone()
    };
    // One alone has its own time.
    world.hear(Event::Stop { containers: vec![1], grace: None });
    assert_eq!(wait(&mut world, 9), [false; 3]);
    assert_eq!(wait(&mut world, 1), [false, true, false]);
    world.go_on(1, false, 0);
    world.go_on(1, false, 0);
    world.hear(Event::Down("asked for by `down`"));
    assert_eq!(wait(&mut world, 14), [false, true, false], "db waits for its turn");
    assert_eq!(wait(&mut world, 1), [true; 3], "nobody has a turn any more");
    world.run_on();
    assert!(world.life.is_over());
}

#[test]
fn the_waits_between_restarts_are_the_files() {
    let mut world =
        one("restart: { policy: on-failure:3, backoff: { initial: 1s, max: 2s, resetAfter: 1m } }");
    for (round, wait) in [1, 2, 2].into_iter().enumerate() {
        world.now += Duration::from_secs(59);
        leave(&mut world, 1);
        let due = world.now + Duration::from_secs(wait);
        assert_eq!(world.life.next_deadline(), Some(due), "round {round}");
        world.now = due;
        world.hear(Event::Tick);
        for _ in 0..3 {
            world.go_on(0, true, 0);
            world.step();
        }
        assert_eq!(world.processes, [Process::Running], "round {round}");
    }
    // A good run: all begins anew.
    world.now += Duration::from_secs(60);
    leave(&mut world, 1);
    assert_eq!(world.life.next_deadline(), Some(world.now + Duration::from_secs(1)));
}

#[test]
fn a_dependent_goes_with_the_restart_of_what_it_depends_on() {
    let mut world = World::new(
        "network: none\ncontainers:\n  db: { rootfs: host, command: [a], restart: always, readinessProbe: { tcp: 80 } }\n\
         \x20 web: { rootfs: host, command: [a], dependsOn: { db: { condition: ready, restart: true } } }\n",
    );
    world.run_on();
    assert_eq!(world.words().0, ["running"; 2]);
    world.go_on(0, false, 1);
    world.go_on(0, false, 1);
    assert_eq!(world.words().0, ["restarting", "stopping"]);
    world.go_on(1, false, 0);
    world.go_on(1, false, 0);
    assert_eq!(world.words().0, ["restarting", "waiting"]);
    let reason = world.life.reason(1, world.now).unwrap();
    assert_eq!(reason, "for db to be ready (restarting)");
    world.run_on();
    assert_eq!(world.words().0, ["running"; 2]);
    assert_eq!((world.life.container(0).restarts, world.life.container(1).restarts), (1, 0));
}

#[test]
fn a_user_may_start_what_waits_for_its_back_off() {
    for restart in [false, true] {
        let mut world = one("restart: always");
        leave(&mut world, 1);
        assert_eq!(world.words().0, ["restarting"]);
        let containers = vec![0];
        let event = if restart {
            Event::Restart { containers, grace: None }
        } else {
            Event::Start { containers }
        };
        world.hear(event);
        for _ in 0..4 {
            world.step();
            world.go_on(0, true, 0);
        }
        assert_eq!(world.words().0, ["running"], "{restart}");
        assert!(world.life.has_reached(&Goal::Started(vec![0])));
    }
}
