//! The architecture, tested: which module may use which (src/lib.rs tells why), and that each file says
//! in a module doc what it owns. A new top-level module must be given its row before it compiles here.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each top-level module of the library, and the others that it may name after `crate::`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("sys", &["names"]),
    ("seccomp", &["sys"]),
    ("spec", &["names", "seccomp"]),
    // Of `sys` a filter's program, which is data.
    ("plan", &["names", "spec", "seccomp", "sys"]),
    ("draw", &["names", "spec", "plan"]),
    ("cgroup", &["names", "sys"]),
    ("net", &["names", "sys"]),
    ("sandbox", &["names", "sys"]),
    ("copy", &["names", "sys"]),
    ("image", &["names", "sys"]),
    // The pod says where to look.
    ("host", &["names", "spec", "plan", "sys", "net", "cgroup", "image"]),
    ("state", &["names", "plan", "sys"]),
    // Its documents are others'; what a limit comes to the planner knows.
    ("oci", &["spec", "plan", "host", "seccomp", "state", "sys", "cgroup", "sandbox"]),
    ("exec", &["names", "plan", "state", "oci", "sys", "cgroup", "net", "sandbox"]),
    ("supervise", &["names", "plan", "state", "exec", "sys", "cgroup", "net", "sandbox"]),
    (
        "cli",
        &[
            "names",
            "spec",
            "plan",
            "draw",
            "host",
            "sys",
            "cgroup",
            "net",
            "sandbox",
            "copy",
            "image",
            "state",
            "oci",
            "exec",
            "supervise",
        ],
    ),
];

/// Files of src/ that are no module of the library: the binary, the page of the architecture, and
/// infra's own program with the script that builds it.
const OUTSIDE: &[&str] = &["main.rs", "lib.rs", "infra"];

/// The most lines that a file may have, its tests included; a file near it has two subjects.
const LONGEST: usize = 1000;

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        if OUTSIDE.contains(&module.as_str()) {
            continue;
        }
        // A module's own kernel tests need what the caller brings in real life.
        if file.ends_with("tests.rs") {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{}: `{module}` is missing from the table", file.display()));
            continue;
        };
        for used in crate_uses(&fs::read_to_string(&file).unwrap()) {
            let known = MAY_USE.iter().any(|(name, _)| *name == used);
            if known && used != module && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: `{module}` must not use `{used}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_row_without_a_module() {
    let modules: Vec<String> = sources().iter().map(|file| module_of(file)).collect();
    for (name, allowed) in MAY_USE {
        assert!(modules.iter().any(|module| module == name), "no module `{name}`");
        for used in *allowed {
            assert!(MAY_USE.iter().any(|(row, _)| row == used), "`{name}`: no row `{used}`");
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_stays_readable() {
    let mut wrong = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        // The binary is a few lines that its name explains.
        if !text.starts_with("//!") && !file.ends_with("src/main.rs") {
            wrong.push(format!("{}: no module doc at its head", file.display()));
        }
        if lines > LONGEST {
            wrong.push(format!("{}: {lines} lines, at most {LONGEST}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_has_one_address() {
    for file in sources() {
        if matches!(module_of(&file).as_str(), "sys" | "infra") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("allow(unsafe_code)"), "{}: unsafe outside sys", file.display());
    }
}

#[test]
fn the_reader_of_uses_finds_both_forms() {
    let text =
        "use crate::plan::X;\nuse crate::{names::A, exec::{run, B}};\nlet x = crate::cli::go();";
    assert_eq!(crate_uses(text), ["plan", "names", "exec", "cli"]);
    assert_eq!(crate_uses("// crate::plan in a comment\n//! [`crate::exec`]"), [""; 0]);
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > MAY_USE.len(), "found too few files: {found:?}");
    found.sort();
    found
}

/// The first word of a file's path below src/: `net/link.rs` and `net.rs` are both `net`.
fn module_of(file: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = file.strip_prefix(src).unwrap().iter().next().unwrap().to_str().unwrap();
    if OUTSIDE.contains(&first) {
        return first.to_owned();
    }
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a text names after `crate::`, in `use crate::x`, `crate::x::y()` and
/// `use crate::{x::…, y::…}`. Comments do not count: a doc link is no dependency.
fn crate_uses(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut used = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        match rest.strip_prefix('{') {
            Some(list) => used.extend(top_level_words(list)),
            None => used.extend(first_word(rest)),
        }
    }
    used
}

/// `names::A, exec::{run, B}}` -> names, exec.
fn top_level_words(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut item = String::new();
    let mut words = Vec::new();
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => words.extend(first_word(&std::mem::take(&mut item))),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                item.push(c);
            }
        }
    }
    words.extend(first_word(&item));
    words
}

fn first_word(text: &str) -> Option<String> {
    let word: String =
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn the_map_of_attacks_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                code.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    // Other attributes may stand between.
    let function = |text: &'_ str| -> Option<String> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix("fn "))?;
        Some(line.split('(').next()?.to_owned())
    };
    let known: BTreeSet<String> = code.split("#[test]\n").skip(1).filter_map(function).collect();
    let map = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let (_, tables) = map.split_once("## Attacks").unwrap();
    let rows = tables.lines().filter(|line| line.starts_with("| ") && !line.contains("| test |"));
    let mut wrong = Vec::new();
    for row in rows {
        let proof = row.trim_end_matches(" |").rsplit_once(" | ").unwrap().1;
        let tests: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        let is_test = |name: &&str| known.contains(*name);
        wrong.extend(
            tests.iter().filter(|name| !is_test(name)).map(|name| format!("no test {name}")),
        );
        if tests.is_empty() && !proof.starts_with("none") {
            wrong.push(format!("neither a test nor why not: {row}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
