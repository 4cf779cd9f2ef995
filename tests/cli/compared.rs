//! docs/errors-compared.md quotes what podspec prints: it prints that.

use crate::validate::{Dir, err, out};
use std::fs;

/// The blocks of this language, in order, as they are in the page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    page.split(opening.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn the_quotes_of_the_comparison_are_true() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors-compared.md");
    let page = fs::read_to_string(page).unwrap();
    let (ours, _) = page.split_once("\n## The files of the others").unwrap();
    let sections: Vec<&str> = ours.split("\n## ").skip(1).collect();
    assert_eq!(sections.len(), 10);
    for section in sections {
        let title = section.lines().next().unwrap();
        let dir = Dir::new("compared");
        dir.write("pod.yaml", blocks(section, "yaml")[0]);
        let output = dir.run(&["validate", "pod.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{title}");
        let (_, quoted) = section.split_once("podspec, exit 2:").unwrap();
        let printed = out(&output) + &err(&output);
        assert_eq!(printed.trim(), blocks(quoted, "text")[0].trim(), "{title}");
    }
}
