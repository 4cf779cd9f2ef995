//! Golden cases: every folder of tests/cases has a pod.yaml, and what podspec says of it: error.txt, or
//! warning.txt, or nothing where all is well; and plan.txt, what `up` would do on a machine without pods. `UPDATE=1` writes them anew; read what it wrote.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

// The shells' completion, in the shells.
mod completion;
mod flags;
// The manual pages.
mod man;
// The file as it is understood.
mod config;
// A first file.
mod init;
// Drawings, where nothing runs.
mod picture;
mod pictures;

// Which pod a command means.
mod target;

// Loader and schema, case by case.
mod judge;
// What `up` would do, case by case.
mod plans;

// The command itself, as a process.
mod validate;
// What every code means.
mod explain;
// What the documentation quotes.
mod compared;
// The problems, as code scanners read them.
mod sarif;
// Texts of all kinds.
mod fuzz;
#[path = "../random.rs"]
mod random;
#[path = "../fuzz/text.rs"]
mod text;

use podspec::cli::report::render_problems;
use podspec::spec::{self, Context, Found};
use std::fs;
use std::path::{Path, PathBuf};

fn env(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/ada".to_owned()),
        "PORT" => Some("8080".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// The file as if it were /work/CASE/pod.yaml, so that no golden holds a path of this machine.
fn load(case: &Path, text: &str) -> Result<spec::Loaded, Vec<spec::problem::Problem>> {
    let base = Path::new("/work").join(case.file_name().unwrap());
    let read = |path: &Path| {
        let inside = path.strip_prefix(&base);
        fs::read_to_string(case.join(inside.map_err(|_| std::io::ErrorKind::NotFound)?))
    };
    let default_name = spec::default_name(&base.join("pod.yaml"));
    // Whatever a case does not call missing is there.
    let look = |path: &Path| {
        let is_file = path.extension().is_some();
        let found = if is_file { Found::File } else { Found::Directory };
        (!path.to_string_lossy().contains("missing")).then_some(found)
    };
    let context = Context { base: base.clone(), default_name, env: &env, read: &read, look: &look };
    spec::load(text, &context)
}

fn cases() -> Vec<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// The file holds this text; `UPDATE=1` writes it anew.
fn is_in_file(path: &Path, text: &str) {
    let mut bad = Vec::new();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    compare(path, Some(text), &mut bad);
    assert!(bad.is_empty(), "{} is not up to date: UPDATE=1 writes it anew", path.display());
}

/// What a golden file should hold; None: it should not be there.
fn compare(path: &Path, found: Option<&str>, bad: &mut Vec<String>) {
    let known = fs::read_to_string(path).ok();
    if known.as_deref() == found {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        match found {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        return;
    }
    let (known, found) = (known.unwrap_or_default(), found.unwrap_or_default());
    bad.push(format!("{}\n--- expected\n{known}\n--- found\n{found}", path.display()));
}

#[test]
fn every_case_says_what_it_said() {
    let mut bad = Vec::new();
    for case in cases() {
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        let show = |problems: &[_]| render_problems("pod.yaml", &text, problems, false, 100);
        let (error, warning) = match load(&case, &text) {
            Ok(loaded) if loaded.warnings.is_empty() => (None, None),
            Ok(loaded) => (None, Some(show(&loaded.warnings))),
            Err(problems) => (Some(show(&problems)), None),
        };
        compare(&case.join("error.txt"), error.as_deref(), &mut bad);
        compare(&case.join("warning.txt"), warning.as_deref(), &mut bad);
    }
    assert!(bad.is_empty(), "{}\nUPDATE=1 writes these anew", bad.join("\n\n"));
}

/// A name that says what is expected keeps `UPDATE=1` from turning a good case into a bad one.
#[test]
fn good_cases_are_good_and_all_others_are_not() {
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        assert_eq!(name.starts_with("good-"), load(&case, &text).is_ok(), "{name}");
    }
}

/// What a text alone can show is shown by some case, and so was read by somebody.
#[test]
fn every_code_has_a_case() {
    let read = |case: &PathBuf, file| fs::read_to_string(case.join(file)).unwrap_or_default();
    let goldens: Vec<String> = cases()
        .iter()
        .flat_map(|case| [read(case, "error.txt"), read(case, "warning.txt")])
        .collect();
    let heads: Vec<&str> = goldens.iter().flat_map(|golden| golden.lines()).collect();
    let without: Vec<&str> = spec::pages::all()
        .filter(|page| page.example("wrong").is_some())
        .map(|page| page.code)
        .filter(|code| !heads.contains(code))
        .collect();
    assert_eq!(without, [""; 0], "no case has these");
}

/// Whoever made a mistake is told what to do about it, in words of its own.
#[test]
fn every_problem_has_a_help() {
    let mut without = Vec::new();
    for case in cases() {
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        let problems = load(&case, &text).map_or_else(|all| all, |loaded| loaded.warnings);
        for problem in problems {
            // What refers to `explain` had none.
            if problem.help.as_ref().is_none_or(|help| help.starts_with("`podspec explain")) {
                without.push(format!("{}: {}", case.display(), problem.message));
            }
        }
    }
    assert!(without.is_empty(), "{}", without.join("\n"));
}
