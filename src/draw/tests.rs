//! Pictures of pods of every shape: nothing lost, nothing over another, nothing that a word can break.

use super::*;
use crate::spec::{Context, load};
use std::collections::BTreeSet;
use std::fmt::Write;

fn pod(text: &str) -> PodSpec {
    let context = Context {
        base: "/work".into(),
        default_name: None,
        env: &|_| None,
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        look: &|_| Some(crate::spec::Found::Directory),
    };
    load(text, &context).unwrap().pods.remove(0).spec
}

/// `count` containers with up to three dependencies each, the same for the same seed.
fn random(count: usize, seed: u64) -> PodSpec {
    let mut state = seed;
    let mut roll = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let mut text = String::from("name: random\nports: [8080:80]\ncontainers:\n");
    for n in 0..count {
        let mut needs = std::collections::BTreeMap::new();
        for _ in 0..roll(4).min(n) {
            let other = n - 1 - roll(n.min(20));
            needs.insert(other, ["started", "completed"][roll(2)]);
        }
        let needs: Vec<String> = needs.iter().map(|(n, wait)| format!("c{n}: {wait}")).collect();
        let needs = needs.join(", ");
        let _ = writeln!(
            text,
            "  c{n}: {{ rootfs: host, command: [/bin/c{n}], dependsOn: {{ {needs} }} }}"
        );
    }
    pod(&text)
}

#[derive(Debug, Clone, Copy)]
struct Rect {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Rect {
    fn of(node: roxmltree::Node<'_, '_>) -> Self {
        let number = |key| node.attribute(key).unwrap().parse::<f64>().unwrap();
        Self { x: number("x"), y: number("y"), width: number("width"), height: number("height") }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

fn check(picture: &Picture) {
    let drawn = svg(picture);
    assert_eq!(drawn, svg(picture), "the same picture is drawn in two ways");
    let document = roxmltree::Document::parse(&drawn).unwrap_or_else(|e| panic!("{e}\n{drawn}"));
    let class = |node: &roxmltree::Node<'_, '_>, word: &str| {
        node.attribute("class").is_some_and(|class| class.split(' ').any(|part| part == word))
    };
    let all = || document.descendants().filter(roxmltree::Node::is_element);
    let cards: Vec<&str> = all()
        .filter(|node| class(node, "card"))
        .map(|node| node.attribute("id").unwrap())
        .collect();
    assert_eq!(cards.len(), picture.cards.len());

    let boxes = all().filter(|node| class(node, "body") || class(node, "rail"));
    let pills = all().filter(|node| class(node, "pill"));
    let pills = pills.filter_map(|node| node.children().find(|child| child.has_tag_name("rect")));
    let boxes: Vec<Rect> = boxes.chain(pills).map(Rect::of).collect();
    let root = document.root_element();
    let size = |key| root.attribute(key).unwrap().parse::<f64>().unwrap();
    for (n, one) in boxes.iter().enumerate() {
        assert!(one.x >= 0.0 && one.x + one.width <= size("width"), "{one:?} is outside");
        assert!(one.y >= 0.0 && one.y + one.height <= size("height"), "{one:?} is outside");
        for other in &boxes[n + 1..] {
            assert!(!one.overlaps(other), "{one:?} and {other:?}");
        }
    }

    let ends = |node: roxmltree::Node<'_, '_>| {
        Some((node.attribute("data-from")?.to_owned(), node.attribute("data-to")?.to_owned()))
    };
    let found: BTreeSet<(String, String)> =
        all().filter_map(ends).filter(|(from, _)| from != "infra").collect();
    let wanted: BTreeSet<(String, String)> = picture
        .edges
        .iter()
        .map(|edge| (format!("n{}", edge.from), format!("n{}", edge.to)))
        .collect();
    assert_eq!(found, wanted);
    for edge in &picture.edges {
        assert!(picture.cards[edge.from].level < picture.cards[edge.to].level);
    }
}

#[test]
fn nothing_is_lost_and_nothing_lies_over_another() {
    for (count, seed) in [(1, 1), (3, 1), (3, 2), (12, 3), (12, 4), (40, 5), (100, 6), (100, 7)] {
        check(&containers(&random(count, seed)));
    }
    let flat: String =
        (0..100).map(|n| format!("  c{n}: {{ rootfs: host, command: [a] }}\n")).collect();
    check(&containers(&pod(&format!("name: flat\ncontainers:\n{flat}"))));
}

#[test]
fn words_of_the_file_cannot_break_a_picture() {
    let hostile = "]]></title><script>alert(1)</script>&amp;\"'--> {}|`${x}\u{202e}\\";
    let text = format!(
        "name: p\nshare: none\ncontainers:\n  a: {{ rootfs: host, command: [a, {}] }}\n  b: {{ rootfs: host, command: [\"\\e[2J\\a\"], dependsOn: [a] }}\n",
        serde_json::to_string(&hostile.replace('$', "$$")).unwrap()
    );
    let picture = containers(&pod(&text));
    check(&picture);
    let drawn = svg(&picture);
    assert!(!drawn.contains("<script") && !drawn.contains('\u{202e}') && !drawn.contains('\u{1b}'));
    let document = roxmltree::Document::parse(&drawn).unwrap();
    let title = document.descendants().filter_map(|node| node.text());
    assert!(title.into_iter().any(|text| text.contains("<script>alert(1)</script>&amp;\"'-->")));

    let graph = dot(&picture);
    assert!(graph.contains(r#"<script>alert(1)</script>&amp;amp;\"'-->"#), "{graph}");
    for line in graph.lines() {
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes % 2, 0, "{line}");
    }
    let chart = mermaid(&picture);
    assert!(!chart.contains("<script") && !chart.contains('`') && !chart.contains("{}"), "{chart}");
}

/// A script is one line of a picture, and its lines are told apart.
#[test]
fn lines_of_a_command_do_not_run_into_each_other() {
    let text =
        "name: p\ncontainers: { a: { rootfs: host, command: [sh, -c, \"one\\ntwo\\tx\\n\"] } }\n";
    let picture = containers(&pod(text));
    let shown = "sh -c one \u{21b5} two x";
    assert_eq!(picture.cards[0].lines, ["this machine's root", shown]);
    assert!(svg(&picture).contains(&format!(">{shown}</text>")));
    assert!(dot(&picture).contains(&format!("\\n{shown}\"")), "{}", dot(&picture));
    let chart = mermaid(&picture);
    assert!(chart.contains("<br/>sh -c one #8629; two x\""), "{chart}");
    assert!(tree(&picture, 80, &|_, text| text.to_owned()).contains(shown));
}

#[test]
fn text_formats_have_every_card_and_edge() {
    let picture = containers(&random(12, 3));
    let (graph, chart) = (dot(&picture), mermaid(&picture));
    assert!(chart.starts_with("flowchart LR\n"));
    for n in 0..12 {
        assert!(graph.contains(&format!("  n{n} [label=\"c{n}\\n")), "{graph}");
        assert!(chart.contains(&format!("  n{n}[\"c{n}<br/>")), "{chart}");
    }
    for edge in &picture.edges {
        let (from, to, word) = (edge.from, edge.to, edge.until.word());
        assert!(graph.contains(&format!("  n{from} -> n{to} [label=\"{word}\"")), "{graph}");
        let arrow = if edge.critical { "==>" } else { "-->" };
        assert!(chart.contains(&format!("  n{from} {arrow}|{word}| n{to}\n")), "{chart}");
    }
}

const SHOP: &str = "name: shop\nports: [8080:80]\ncontainers:\n  \
    web: { rootfs: host, command: [httpd], dependsOn: { migrate: completed, db: started } }\n  \
    db: { rootfs: ./db, command: [postgres, -D, /data] }\n  \
    cache: { rootfs: host, command: [redis] }\n  \
    migrate: { rootfs: host, command: [migrate], dependsOn: [db] }\n";

#[test]
fn a_tree_has_levels_and_what_each_waits_for() {
    let picture = containers(&pod(SHOP));
    assert_eq!(picture.about, "4 containers in 3 levels");
    assert_eq!(picture.critical_path(), ["db", "migrate", "web"]);
    let expected = "\
infra  holds net, uts, ipc   8080 \u{2192} 80
\u{251c}\u{2500} level 1, 2 side by side
\u{2502}  \u{251c}\u{2500} db       /work/db  postgres -D /data
\u{2502}  \u{2514}\u{2500} cache    this machine's root  redis
\u{251c}\u{2500} level 2
\u{2502}  \u{2514}\u{2500} migrate  after db started  this machine's root  migrate
\u{2514}\u{2500} level 3
   \u{2514}\u{2500} web      after migrate completed, db started  this machine's root  httpd
";
    assert_eq!(tree(&picture, usize::MAX, &|_, text| text.to_owned()), expected);
    let narrow = "\
infra  holds net, uts, ipc   8080 \u{2192} 80
\u{251c}\u{2500} level 1, 2 side by side
\u{2502}  \u{251c}\u{2500} db       /work/db  postgres -D /\u{2026}
\u{2502}  \u{2514}\u{2500} cache    this machine's root  re\u{2026}
\u{251c}\u{2500} level 2
\u{2502}  \u{2514}\u{2500} migrate  after db started  this\u{2026}
\u{2514}\u{2500} level 3
   \u{2514}\u{2500} web      after migrate completed, \u{2026}
";
    assert_eq!(tree(&picture, 40, &|_, text| text.to_owned()), narrow);
}

/// One wait for a program may take longer than a hundred starts.
#[test]
fn a_sidecar_with_a_probe_is_waited_for_until_it_is_ready() {
    let waits = |probe: &str| {
        let picture = containers(&pod(&format!(
            "name: p\ninitContainers:\n\
             \x20 side: {{ rootfs: host, command: [a], restart: always, {probe} }}\n\
             containers:\n  web: {{ rootfs: host, command: [a] }}\n"
        )));
        picture.edges.into_iter().map(|edge| edge.until).collect::<Vec<_>>()
    };
    assert_eq!(waits("startupProbe: { tcp: 80 }"), [Wait::Ready]);
    assert_eq!(waits(""), [Wait::Started]);
}

#[test]
fn a_wait_for_a_program_is_more_critical_than_a_long_chain() {
    let text = "name: p\ncontainers:\n  \
        a: { rootfs: host, command: [a] }\n  \
        b: { rootfs: host, command: [a], dependsOn: [a] }\n  \
        c: { rootfs: host, command: [a], dependsOn: [b] }\n  \
        job: { rootfs: host, command: [a] }\n  \
        d: { rootfs: host, command: [a], dependsOn: { c: started, job: completed } }\n";
    assert_eq!(containers(&pod(text)).critical_path(), ["job", "d"]);
    let alone = containers(&pod("name: p\ncontainers: { a: { rootfs: host, command: [a] } }"));
    assert_eq!(alone.critical_path(), [""; 0]);
}
