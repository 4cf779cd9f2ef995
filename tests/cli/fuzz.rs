//! Fuzzing of the loader, the report and the planner: texts made of the cases by mutation. The same seed
//! gives the same texts. `FUZZ_ROUNDS` and `FUZZ_SEED` ask for more; a text that finds something is kept
//! in tests/fuzz, and is tried first ever after.

use super::{cases, env};
use podspec::cli::report::render_problems;
use podspec::plan::facts::{ContainerFacts, Directories, HostFacts, NetworkFacts};
use podspec::plan::{self, Goal};
use podspec::spec::problem::Problem;
use podspec::spec::{self, Context, Found, mend};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz");

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

/// A generator of numbers that is the same everywhere (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn boundary(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    }

    fn line(&mut self, text: &str) -> std::ops::Range<usize> {
        let at = self.boundary(text);
        let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        start..end
    }
}

/// One change of a text, with pieces of others.
fn mutate(text: &mut String, others: &[String], random: &mut Random) {
    let (one, two) = (random.boundary(text), random.boundary(text));
    let other = &others[random.below(others.len())];
    match random.below(8) {
        0 => text.insert_str(one, WORDS[random.below(WORDS.len())]),
        1 => {
            let (start, end) = (one.min(two), one.max(two).min(one.min(two) + 8));
            let end = (start..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(start);
            text.replace_range(start..end, "");
        }
        2 => drop(text.drain(random.line(text))),
        3 => {
            let line = other[random.line(other)].to_owned();
            let at = random.line(text).start;
            text.insert_str(at, &line);
        }
        4 => {
            let line = text[random.line(text)].to_owned();
            let at = random.line(text).start;
            text.insert_str(at, &line);
        }
        5 => {
            let rest = other[random.boundary(other)..].to_owned();
            text.truncate(one);
            text.push_str(&rest);
        }
        6 => {
            let word = WORDS[random.below(WORDS.len())];
            let end = (one + 4).min(text.len());
            let end = (one..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(one);
            text.replace_range(one..end, word);
        }
        _ => {
            let line = random.line(text);
            text.insert_str(line.start, &" ".repeat(random.below(5)));
        }
    }
    text.truncate(
        (0..=8_000.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0),
    );
}

fn facts(spec: &spec::model::PodSpec) -> HostFacts {
    HostFacts {
        directories: Directories {
            run: "/run/podspec".into(),
            data: "/var/lib/podspec".into(),
            netns: "/run/netns".into(),
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
fn mends(text: &str, judge: impl Fn(&str) -> Vec<Problem>) {
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
    assert!(was_broken || of_form(&after) <= of_form(&before), "not better:\n{mended}\n{after:#?}");
    let comments = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_once(" #").map_or("", |(_, rest)| rest).to_owned())
            .collect()
    };
    assert_eq!(comments(text), comments(&mended), "{mended}");
    assert_eq!(mend::mend(&mended, &judge).1, 0, "not at once:\n{mended}");
}

#[test]
fn what_is_mended_is_better() {
    let mut mended = 0;
    for case in cases() {
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        let judge =
            |text: &str| super::load(&case, text).map_or_else(|all| all, |loaded| loaded.warnings);
        if judge(&text).iter().any(|problem| !problem.fix.is_empty()) {
            mends(&text, judge);
            mended += 1;
        }
    }
    assert!(mended > 30, "{mended}");
}

/// Everything that reads a text; it panics where one of them is wrong.
fn try_text(text: &str) {
    let context = Context {
        base: "/work/fuzz".into(),
        default_name: Some("fuzz".to_owned()),
        env: &env,
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

#[test]
fn no_text_makes_loader_report_or_planner_panic() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let mut kept: Vec<_> =
        fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Beside it are those of images (src/image/fuzz.rs).
    kept.retain(|path| path.is_file());
    kept.sort();
    for path in &kept {
        try_text(&fs::read_to_string(path).unwrap());
    }
    let texts: Vec<String> =
        cases().iter().map(|case| fs::read_to_string(case.join("pod.yaml")).unwrap()).collect();
    let mut random = Random(number("FUZZ_SEED", 0x9e37_79b9) | 1);
    let mut text = String::new();
    for round in 0..number("FUZZ_ROUNDS", 4_000) {
        // A new text now and then; else the last one changes on.
        if round % 12 == 0 {
            text.clone_from(&texts[random.below(texts.len())]);
        }
        mutate(&mut text, &texts, &mut random);
        if catch_unwind(AssertUnwindSafe(|| try_text(&text))).is_err() {
            let path = Path::new(CORPUS).join(format!("found-{round}.yaml"));
            fs::write(&path, &text).unwrap();
            panic!("this text is kept as {}:\n{text}", path.display());
        }
    }
}
