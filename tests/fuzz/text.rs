//! Pod files, made badly: changes of a text, and what must be true of whatever the loader, the report and the planner are
//! given. The tests draw them by lot (tests/cli/fuzz.rs).

#![allow(unreachable_pub, clippy::unwrap_used)]

use crate::random::Random;
use podspec::cli::report::render_problems;
use podspec::plan::facts::{ContainerFacts, Directories, HostFacts, NetworkFacts};
use podspec::plan::{self, Goal};
use podspec::spec::problem::Problem;
use podspec::spec::{self, Context, Found, mend};

/// The longest text, in bytes.
pub const LONGEST: usize = 8_000;

/// What YAML and the language have rules for.
const WORDS: &[&str] = &[
    "${PORT}",
    "${",
    "}",
    "${A:-",
    "$$",
    "&a ",
    "*a",
    "<<: *a",
    "---\n",
    "...\n",
    "\t",
    "  ",
    "\r\n",
    "\u{feff}",
    "\u{1f600}",
    "e\u{301}",
    "\u{202e}",
    "\0",
    "[",
    "]",
    "{",
    "}",
    "- ",
    ": ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "# ",
    "!!str ",
    "? ",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "65536",
    "99999999999999999999",
    "1e999",
    ".inf",
    "10s",
    "64Mi",
    "64m",
    "8080:80",
    "[::1]:1:1",
    "0:80",
    "1-65535:1-65535",
    "host",
    "none",
    "private",
    "/",
    "..",
    "../x",
    "./x:/y:ro",
    "name: a\n",
    "share: [net]\n",
    "network: none\n",
    "dependsOn: [web]",
    "restart: always",
    "hostname: a",
    "ports: [1:1]",
    "x-a: &a ",
    "\\x1b",
    "%",
    "@",
    "`",
];

fn boundary(text: &str, random: &mut Random) -> usize {
    let at = random.below(text.len() + 1);
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn line_of(text: &str, random: &mut Random) -> std::ops::Range<usize> {
    let at = boundary(text, random);
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
    start..end
}

/// One change of a text, with pieces of others.
pub fn change(text: &mut String, others: &[String], random: &mut Random) {
    let (one, two) = (boundary(text, random), boundary(text, random));
    let other = random.any(others);
    match random.below(8) {
        0 => {
            let word = *random.any(WORDS);
            text.insert_str(one, word);
        }
        1 => {
            let (start, end) = (one.min(two), one.max(two).min(one.min(two) + 8));
            let end = (start..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(start);
            text.replace_range(start..end, "");
        }
        2 => drop(text.drain(line_of(text, random))),
        3 => {
            let line = other[line_of(other, random)].to_owned();
            let at = line_of(text, random).start;
            text.insert_str(at, &line);
        }
        4 => {
            let line = text[line_of(text, random)].to_owned();
            let at = line_of(text, random).start;
            text.insert_str(at, &line);
        }
        5 => {
            let rest = other[boundary(other, random)..].to_owned();
            text.truncate(one);
            text.push_str(&rest);
        }
        6 => {
            let word = *random.any(WORDS);
            let end = (one + 4).min(text.len());
            let end = (one..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(one);
            text.replace_range(one..end, word);
        }
        _ => {
            let line = line_of(text, random);
            text.insert_str(line.start, &" ".repeat(random.below(5)));
        }
    }
    text.truncate(
        (0..=LONGEST.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0),
    );
}

fn facts(spec: &spec::model::PodSpec) -> HostFacts {
    HostFacts {
        directories: Directories {
            run: "/run/podspec".into(),
            data: "/var/lib/podspec".into(),
            netns: "/run/netns".into(),
            cgroups: "podspec".into(),
        },
        network: NetworkFacts { mtu: 1500, ..NetworkFacts::default() },
        containers: spec
            .containers
            .keys()
            .map(|name| (name.clone(), ContainerFacts::default()))
            .collect(),
        ..HostFacts::default()
    }
}

/// A text with its fixes is no worse: it is YAML where it was, has no more mistakes of form, the same
/// comments in the same lines, and nothing left to fix.
pub fn mends(text: &str, judge: impl Fn(&str) -> Vec<Problem>) {
    let (mended, count) = mend::mend(text, &judge);
    let (before, after) = (judge(text), judge(&mended));
    if count == 0 {
        assert_eq!(text, mended);
        return;
    }
    let was_broken = mend::is_broken(&before);
    assert!(was_broken || !mend::is_broken(&after), "no YAML any more:\n{mended}");
    // What a mistake of form hid comes to light, so those of meaning may be more.
    let of_form = |all: &[Problem]| all.iter().filter(|problem| problem.code < "P0500").count();
    // So it is behind a value of the wrong type that is mended: nothing in it was judged.
    let was_hidden =
        before.iter().any(|problem| problem.code == "P0201" && !problem.fix.is_empty());
    let is_better = was_broken || was_hidden || of_form(&after) <= of_form(&before);
    assert!(is_better, "not better:\n{mended}\n{after:#?}");
    let comments = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_once(" #").map_or("", |(_, rest)| rest).to_owned())
            .collect()
    };
    assert_eq!(comments(text), comments(&mended), "{mended}");
    assert_eq!(mend::mend(&mended, &judge).1, 0, "not at once:\n{mended}");
}

/// Everything that reads a text; it panics where one of them is wrong.
pub fn try_text(text: &str) {
    let context = Context {
        base: "/work/fuzz".into(),
        default_name: Some("fuzz".to_owned()),
        env: &|name| (name == "PORT").then(|| "8080".to_owned()),
        read: &|_| Ok("A=1\n".to_owned()),
        look: &|_| Some(Found::Directory),
    };
    let _ = spec::name_only(text, &context);
    let problems = match spec::load(text, &context) {
        Ok(loaded) => {
            for pod in &loaded.pods {
                // In debug builds the planner checks every plan that it makes.
                let _ = plan::plan(Goal::Up(&pod.spec), None, &facts(&pod.spec));
            }
            loaded.warnings
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            problems
        }
    };
    let judge =
        |text: &str| spec::load(text, &context).map_or_else(|all| all, |loaded| loaded.warnings);
    if problems.iter().any(|problem| !problem.fix.is_empty()) {
        mends(text, judge);
    }
    for problem in &problems {
        assert_ne!(problem.code, "P0001", "{problem:?}");
        assert!(!problem.labels.is_empty(), "{problem:?}");
        let edits = problem.fix.iter().map(|edit| &edit.place);
        for place in problem.labels.iter().map(|(place, _)| place).chain(edits) {
            assert!(text.get(place.clone()).is_some(), "{problem:?} is outside of the text");
        }
    }
    let page = render_problems("pod.yaml", text, &problems, false, 80);
    assert!(!page.contains(['\u{1b}', '\0', '\u{202e}']), "the report drives the terminal");
}
