//! Timelines of plans that were carried out on paper.

use super::*;
use crate::plan::facts::{Directories, HostFacts, NetworkFacts};
use crate::plan::timing::{Phase, Span};
use crate::plan::{self, Goal};
use crate::spec::{Context, load};

fn planned(text: &str) -> Plan {
    let context = Context {
        base: "/work".into(),
        default_name: None,
        env: &|_| None,
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        look: &|_| Some(crate::spec::Found::Directory),
    };
    let spec = load(text, &context).unwrap().pods.remove(0).spec;
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
    plan::plan(Goal::Up(&spec), None, &facts).unwrap()
}

/// One step after the other, 100 µs each, as soon as what it waits for has come: what a container takes to be
/// ready or to complete is told by name.
fn carried_out(plan: &Plan, takes: &[(&str, u64)]) -> Times {
    let mut times = Times {
        phases: vec![Phase { what: "load".into(), span: Span { from: 5_000, to: 6_000 } }],
        ..Times::default()
    };
    let all = containers(plan);
    let mut busy = 6_000;
    let mut left: Vec<StepId> = (0..plan.steps.len()).collect();
    while !left.is_empty() {
        // The one that can be begun first.
        let may = |id: &StepId| {
            let after = plan.steps[*id].after.iter();
            let reached = after.map(|edge| {
                let of = all.iter().find(|one| one.start == edge.step);
                times.reached(edge.step, edge.until, of.is_some_and(Container::is_probed))
            });
            let reached: Option<Vec<u64>> = reached.collect();
            reached.map(|all| all.into_iter().max().unwrap_or(0).max(busy))
        };
        let next = left.iter().filter_map(|id| may(id).map(|at| (at, *id))).min();
        let Some((from, id)) = next else { break };
        left.retain(|other| *other != id);
        times.steps.insert(id, Span { from, to: from + 100 });
        busy = from + 100;
        if let Step::StartContainer { container } = &plan.steps[id].step
            && let Some((_, takes)) = takes.iter().find(|(name, _)| *name == container.as_str())
        {
            let waits = |until| {
                plan.steps
                    .iter()
                    .flat_map(|one| &one.after)
                    .any(|e| e.step == id && e.until == until)
            };
            let mark = if waits(Until::Completed) { Mark::Completed } else { Mark::Ready };
            times.marks.insert((id, mark), busy + takes);
        }
    }
    times
}

fn drawn(text: &str, takes: &[(&str, u64)]) -> Timeline {
    let plan = planned(text);
    let times = carried_out(&plan, takes);
    let now = 60_000_000;
    timeline(&Start { plan: &plan, times: &times, began_at: "2026-11-24", now }).unwrap()
}

const SHOP: &str = "
name: shop
initContainers:
  migrate: { rootfs: host, command: [/m] }
containers:
  db: { rootfs: host, command: [/db], readinessProbe: { tcp: 5432 } }
  cache: { rootfs: host, command: [/c], readinessProbe: { tcp: 6379 } }
  web: { rootfs: host, command: [/w], dependsOn: { db: ready, cache: ready } }
";

/// The path has no holes, and ends where the start does.
fn check_path(timeline: &Timeline) {
    let path = &timeline.critical_path;
    assert_eq!(path.first().map(|part| part.from), Some(0), "{path:#?}");
    assert_eq!(path.last().map(|part| part.to), Some(timeline.end), "{path:#?}");
    for pair in path.windows(2) {
        // What is shorter than `path::SHORT` is no part of its own.
        assert!(pair[1].from.abs_diff(pair[0].to) <= 300, "{pair:#?}");
    }
}

#[test]
fn the_chain_that_decided_is_found_through_programs() {
    let timeline = drawn(SHOP, &[("migrate", 50_000), ("db", 900_000), ("cache", 200_000)]);
    check_path(&timeline);
    assert!(timeline.is_ready);
    let names = timeline.path_names();
    assert!(names.ends_with(&["migrate", "db", "web"]), "{names:?}");
    assert!(!names.contains(&"cache"));
    let spent: BTreeMap<Spent, u64> = timeline.spent().into_iter().collect();
    assert_eq!(spent[&Spent::Completion], 50_000);
    assert_eq!(spent[&Spent::Readiness], 900_000);
    assert_eq!(timeline.for_programs(), 950_000);
    // With the other one slow it is the other's.
    let timeline = drawn(SHOP, &[("migrate", 50_000), ("db", 100), ("cache", 200_000)]);
    assert!(timeline.path_names().ends_with(&["cache", "web"]));
    check_path(&timeline);
}

#[test]
fn what_never_came_ready_is_where_the_path_ends() {
    let timeline = drawn(SHOP, &[("migrate", 50_000), ("cache", 200_000)]);
    assert!(!timeline.is_ready);
    let last = timeline.critical_path.last().unwrap();
    assert_eq!(timeline.rows[last.row].name, "db");
    assert_eq!((last.spent, last.to), (Spent::Readiness, timeline.end));
    assert!(last.what.contains("tcp 5432"));
    let db = timeline.rows.iter().find(|row| row.name == "db").unwrap();
    assert!(db.bars.iter().any(|bar| bar.open));
    let web = timeline.rows.iter().find(|row| row.name == "web").unwrap();
    assert!(web.bars.iter().any(|bar| bar.spent == Spent::Held && bar.to == timeline.end));
}

#[test]
fn each_container_and_step_has_its_bar_and_each_wait_its_arrow() {
    let timeline = drawn(SHOP, &[("migrate", 50_000), ("db", 900_000), ("cache", 200_000)]);
    for name in ["migrate", "db", "cache", "web"] {
        let row = timeline.rows.iter().find(|row| row.name == name).unwrap();
        for spent in [Spent::Files, Spent::SetUp, Spent::Start] {
            assert!(row.bars.iter().any(|bar| bar.spent == spent), "{name} {spent:?}");
        }
        // What podspec does first may be for the same container.
        let own: Vec<&Bar> = row.bars.iter().filter(|bar| bar.spent != Spent::Queue).collect();
        for pair in own.windows(2) {
            assert!(pair[0].to <= pair[1].from, "{name}: bars overlap: {pair:#?}");
        }
    }
    let own: Vec<&str> = timeline.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(own[..4], ["podspec", "infra", "network", "files"]);
    let name = |row: usize| timeline.rows[row].name.as_str();
    let arrow = |from: &str, to: &str| {
        timeline.arrows.iter().find(|arrow| (name(arrow.from), name(arrow.to)) == (from, to))
    };
    assert!(arrow("db", "web").unwrap().critical);
    let other = arrow("cache", "web").unwrap();
    assert!(!other.critical && other.until == Wait::Ready && other.at < other.until_at);
    assert!(arrow("migrate", "db").is_some());
}

#[test]
fn a_program_whose_end_is_waited_for_has_a_bar_until_then_and_it_is_marked() {
    let text = "
name: shop
containers:
  migrate: { rootfs: host, command: [/m] }
  web: { rootfs: host, command: [/w], dependsOn: { migrate: completed } }
";
    let timeline = drawn(text, &[("migrate", 50_000)]);
    check_path(&timeline);
    let of = |name: &str| timeline.rows.iter().find(|row| row.name == name).unwrap();
    let runs: Vec<&Bar> =
        of("migrate").bars.iter().filter(|bar| bar.spent == Spent::Completion).collect();
    assert_eq!(runs.len(), 1);
    assert!(runs[0].critical && runs[0].to - runs[0].from == 50_000, "{runs:?}");
    assert!(of("migrate").bars.iter().all(|bar| bar.spent != Spent::Running));
    let drawn = svg(&timeline);
    assert!(drawn.contains("migrate: completed at") && drawn.contains("waited for its end"));
    // Also the last line of the legend is on the paper.
    let xml = roxmltree::Document::parse(&drawn).unwrap();
    let number = |node: roxmltree::Node<'_, '_>, key| node.attribute(key)?.parse::<f64>().ok();
    let height = number(xml.root_element(), "height").unwrap();
    let last = xml.descendants().filter_map(|node| number(node, "y")).fold(0.0, f64::max);
    assert!(last + 10.0 < height, "{last} of {height}");
    // Each part of the path that took a time is marked where it is drawn.
    for part in &timeline.critical_path {
        let bars = &timeline.rows[part.row].bars;
        let marked = |bar: &Bar| bar.critical && (bar.spent, bar.to) == (part.spent, part.to);
        assert!(bars.iter().any(marked), "{part:?}");
    }
}

/// A pod of so many containers, each of which waits for the one before the last.
fn many(count: usize) -> Timeline {
    let mut text = String::from("name: many\ncontainers:\n");
    for n in 0..count {
        let needs =
            if n > 1 { format!(", dependsOn: {{ c{}: ready }}", n - 2) } else { String::new() };
        text += &format!(
            "  c{n}: {{ rootfs: host, command: [/x], readinessProbe: {{ tcp: 1 }}{needs} }}\n"
        );
    }
    let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
    let takes: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 40_000)).collect();
    drawn(&text, &takes)
}

#[test]
fn drawings_are_xml_and_everything_is_on_the_paper() {
    for count in [1, 3, 10, 50] {
        let timeline = many(count);
        check_path(&timeline);
        let drawn = svg(&timeline);
        let xml = roxmltree::Document::parse(&drawn).unwrap();
        let number = |node: roxmltree::Node<'_, '_>, key: &str| -> f64 {
            node.attribute(key).unwrap().parse().unwrap()
        };
        let (width, height) =
            (number(xml.root_element(), "width"), number(xml.root_element(), "height"));
        let of_class = |class: &'static str| {
            xml.descendants().filter(move |node| {
                node.attribute("class").is_some_and(|all| all.split(' ').any(|one| one == class))
            })
        };
        for bar in of_class("bar") {
            let (x, y) = (number(bar, "x"), number(bar, "y"));
            assert!(x >= 0.0 && x + number(bar, "width") <= width + 1.0, "{count}: {bar:?}");
            assert!(y >= 0.0 && y + number(bar, "height") <= height, "{count}: {bar:?}");
        }
        let labels: Vec<f64> = of_class("label").map(|label| number(label, "y")).collect();
        assert!(labels.len() > count);
        // Legible: a label is at most 13 high.
        let least = if count < 30 { 19.0 } else { 15.0 };
        assert!(labels.windows(2).all(|pair| pair[1] - pair[0] >= least), "{labels:?}");
        assert!(of_class("critical").count() > 1);
    }
}

#[test]
fn no_word_of_a_file_gets_out_of_the_drawing_or_the_page() {
    const EVIL: &str = "</title></svg><script>alert(1)</script>";
    let text = format!(
        "name: evil\ncontainers:\n  a:\n    rootfs: host\n    command: [/x]\n    readinessProbe:\n      exec: ['{EVIL}', '\"\\u202e']\n    lifecycle: {{ postStart: {{ exec: ['{EVIL}'] }} }}\n"
    );
    let plan = planned(&text);
    let times = carried_out(&plan, &[]);
    let start = Start { plan: &plan, times: &times, began_at: EVIL, now: 9_000_000 };
    let timeline = timeline(&start).unwrap();
    let (drawing, page) = (svg(&timeline), html(&timeline));
    roxmltree::Document::parse(&drawing).unwrap();
    assert!(!drawing.contains("<script") && drawing.contains("&lt;script&gt;"));
    // Its own script alone, whose hash the policy has.
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("default-src 'none'") && page.contains("script-src 'sha256-"));
    assert!(
        !page.contains("http://")
            || page.matches("http://").count()
                == page.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(!page.contains("https://") && !page.contains("unsafe-eval"));
}

#[test]
fn times_read_well() {
    let of = |micros| time(micros);
    assert_eq!(of(0), "0 \u{b5}s");
    assert_eq!(of(1_500), "1.50 ms");
    assert_eq!(of(47_812), "47.8 ms");
    assert_eq!(of(99_960), "100 ms");
    assert_eq!(of(1_239_900), "1.24 s");
    assert_eq!(of(65_000_000), "65.0 s");
    assert_eq!(of(200_000_000), "3 min 20 s");
}
