//! Random events against the machine of states: a small model of the kernel answers what it asks for, users
//! ask for what they like, and whatever comes of it is in the tables of docs/states.md.

use super::*;
use crate::plan::facts::{CallerFacts, Directories, HostFacts, NetworkFacts};
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
            cgroups: Default::default(),
            directories: Directories { run: "/r".into(), data: "/d".into(), netns: "/n".into() },
            network: NetworkFacts { mtu: 1500, ..NetworkFacts::default() },
            caller: CallerFacts::default(),
            resolv_conf: String::new(),
            host_mounts: Vec::new(),
            host_secrets: Vec::new(),
            containers: [].into(),
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
            seen: BTreeSet::new(),
        }
    }

    fn count(&self) -> usize {
        self.processes.len()
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
        let follows = acts.iter().filter_map(|act| self.obey(*act)).collect::<Vec<_>>();
        self.check(&before, &format!("{event:?}"));
        self.check_policy(&acts);
        follows.into_iter().for_each(|event| self.hear(event));
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
            acts.iter().any(|act| matches!(act, Act::Changed(i, s) if *s == status && is_it(*i)))
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
                assert_ne!(container.asked_by(), Some(By::Policy));
            }
        }
    }

    /// Carries an act out; some have an answer at once.
    fn obey(&mut self, act: Act) -> Option<Event> {
        match act {
            Act::Create(index) => {
                assert!(!self.resting[index], "{index} was stopped and starts by itself");
                assert_eq!(self.processes[index], Process::None);
                self.processes[index] = Process::SettingUp;
                self.restarts[index] += 1;
                self.killed[index] = false;
            }
            Act::Release(index) => {
                assert_eq!(self.processes[index], Process::Ready);
                self.processes[index] = Process::Released;
            }
            Act::Ask(index) => assert_eq!(self.processes[index], Process::Running),
            Act::Kill(index, _) => {
                assert_ne!(self.processes[index], Process::None, "nobody to kill");
                self.killed[index] = true;
            }
            Act::Empty(index) => assert_eq!(self.processes[index], Process::Leaving),
            Act::Changed(index, ContainerStatus::Exited) => self.completed[index] = true,
            Act::Changed(index, status) => {
                if status == ContainerStatus::Waiting {
                    self.restarts[index] = 0;
                }
                let goes = self.life.container(index).phase == Phase::Waiting;
                self.completed[index] &= !goes;
            }
            Act::Up | Act::Over { .. } => {}
        }
        None
    }

    /// Begins every step that may be begun.
    fn step(&mut self) {
        loop {
            let before = self.words();
            let Some(id) = self.life.next_step() else { return };
            self.check(&before, "a step");
            let Some(index) = self.life.owners[id] else {
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
            let Some(needed) = self.life.owners[edge.step].filter(|other| *other != index) else {
                continue;
            };
            let it = self.life.container(needed);
            match edge.until {
                crate::plan::step::Until::Completed => {
                    assert!(self.completed[needed], "{} has not completed", it.name);
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
                self.hear(Event::Emptied(index));
            }
            Process::Running if well && !killed => {}
            Process::SettingUp if well && !killed => {
                self.processes[index] = Process::Ready;
                self.hear(Event::Ready(index));
            }
            Process::Released if well && !killed => {
                self.processes[index] = Process::Running;
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
        0..=119 => world.go_on(whom, how % 8 != 0, i32::from(how % 3)),
        120..=149 => world.go_on(whom, false, i32::from(how % 2)),
        150..=189 => {
            world.now += Duration::from_millis(u64::from(how) * 100);
            world.hear(Event::Tick);
        }
        190..=204 => world.hear(Event::Stop { containers: some, grace }),
        205..=224 => world.hear(Event::Start { containers: some }),
        225..=244 => world.hear(Event::Restart { containers: some, grace }),
        245..=249 if world.processes[whom] == Process::Running => world.hear(Event::Deaf(whom)),
        250 if how % 4 == 0 => world.hear(Event::InfraDied),
        251 if how % 4 == 0 => world.hear(Event::Down),
        252 if how % 4 == 0 => world.hear(Event::Hurry),
        _ => {}
    }
}

prop_compose! {
    /// A pod file: init containers and sidecars, containers that depend on earlier ones, policies.
    fn pod()(
        inits in proptest::collection::vec(0..4usize, 0..3),
        mains in proptest::collection::vec((0..4usize, 0..6u8, 0..6u8), 1..5),
        policy in 0..4usize,
    ) -> String {
        let restart = ["no", "on-failure", "on-failure:2", "always"];
        let policy = ["continue", "stop", "stop-on-failure", "stop-on-exit"][policy];
        let one = |name: String, restart: &str, more: String| {
            format!("  {name}: {{ rootfs: host, command: [a], restart: {restart}{more} }}\n")
        };
        let mut text = format!("network: none\nexitPolicy: {policy}\n");
        if !inits.is_empty() {
            text += "initContainers:\n";
        }
        for (n, kind) in inits.into_iter().enumerate() {
            text += &one(format!("i{n}"), restart[kind], String::new());
        }
        text += "containers:\n";
        for (n, (kind, started, completed)) in mains.iter().enumerate() {
            let mut needs = Vec::new();
            for (other, (its, ..)) in mains.iter().enumerate().take(n) {
                let is_it = |number: u8| usize::from(number % 5) == other;
                if is_it(*completed) && *its != 3 {
                    needs.push(format!("c{other}: completed"));
                } else if is_it(*started) {
                    needs.push(format!("c{other}: started"));
                }
            }
            let needs = format!(", dependsOn: {{ {} }}", needs.join(", "));
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
            world.hear(Event::Down);
            world.run_on();
            prop_assert!(world.life.is_over(), "{:#?}", world.life);
            prop_assert!(world.processes.iter().all(|process| *process == Process::None));
        }
    }

    #[test]
    fn a_pod_comes_up_and_what_was_stopped_comes_back(text in pod(), stopped in any::<u8>()) {
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
        }
        prop_assert_eq!(world.life.stage, Stage::Up, "{:#?}", world.life);
        prop_assert!(world.life.containers().iter().all(|c| !c.has_failed()));
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
