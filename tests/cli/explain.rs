//! `podspec explain`, and that every code has a page whose examples are what they claim to be.

use super::validate::{Dir, err, out};
use podspec::spec::{self, Context, Found, pages};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Codes that no text of a file alone can have: a page without examples.
const WITHOUT: [&str; 12] = [
    "P0001", "P0100", "P0101", "P0111", "P0112", "P0304", "P0640", "P0641", "P0642", "P0667",
    "P0800", "P0000",
];

fn codes(text: &str) -> BTreeSet<&'static str> {
    let context = Context {
        base: "/work/shop".into(),
        default_name: Some("shop".to_owned()),
        env: &|_| None,
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        look: &|path| {
            let is_file = path.extension().is_some();
            let found = if is_file { Found::File } else { Found::Directory };
            (!path.to_string_lossy().contains("missing")).then_some(found)
        },
    };
    let problems = spec::load(text, &context).map_or_else(|all| all, |loaded| loaded.warnings);
    problems.iter().map(|problem| problem.code).collect()
}

/// The codes that the sources name.
fn used(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            used(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let after = text.split("\"P").skip(1).filter_map(|rest| rest.get(..5));
            found.extend(after.filter(|word| word.ends_with('"')).filter_map(|word| {
                let digits = word.trim_end_matches('"');
                digits.bytes().all(|b| b.is_ascii_digit()).then(|| format!("P{digits}"))
            }));
        }
    }
}

#[test]
fn every_code_has_its_page_and_every_page_a_code() {
    let mut known = BTreeSet::new();
    used(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut known);
    known.remove("P0000");
    let pages: BTreeSet<String> = pages::all().map(|page| page.code.to_owned()).collect();
    assert_eq!(known.difference(&pages).collect::<Vec<_>>(), [&""; 0], "without a page");
    assert_eq!(pages.difference(&known).collect::<Vec<_>>(), [&""; 0], "without a problem");
    assert_eq!(pages.len(), pages::all().count(), "one page twice");
}

#[test]
fn wrong_examples_are_wrong_and_right_ones_are_not() {
    let mut bad = Vec::new();
    for page in pages::all() {
        let (wrong, right) = (page.example("wrong"), page.example("right"));
        if WITHOUT.contains(&page.code) {
            assert!(wrong.is_none() && right.is_none(), "{} has an example", page.code);
            continue;
        }
        let (Some(wrong), Some(right)) = (wrong, right) else {
            bad.push(format!("{} lacks an example", page.code));
            continue;
        };
        let (found, none) = (codes(wrong), codes(right));
        if !found.contains(page.code) {
            bad.push(format!("{}: the wrong example gives {found:?}", page.code));
        }
        if !none.is_empty() {
            bad.push(format!("{}: the right example gives {none:?}", page.code));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_code_is_explained_however_it_is_written() {
    let dir = Dir::new("explain");
    for word in ["P0108", "p0108", "108", "0108"] {
        let text = out(&dir.run(&["explain", word]));
        assert!(text.starts_with("P0108: a key twice\n"), "{text}");
        assert!(text.contains("# wrong\n") && text.contains("# right\n"), "{text}");
    }
    let list = out(&dir.run(&["explain"]));
    assert_eq!(list.lines().count(), pages::all().count());
    let output = dir.run(&["explain", "P9999"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("no code `P9999`"));
}
