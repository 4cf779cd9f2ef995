//! What `graph` writes for other programs, as Graphviz and Mermaid themselves understand it: every container
//! with its lines, every wait, and no word of a file that they take for their own.

use super::validate::Dir;
use super::{cases, load};
use podspec::draw::{self, Picture, Wait};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the two make of these files; None where npm has not brought them, on a desk.
fn understood(files: &[PathBuf]) -> Option<Vec<Value>> {
    let fetch = format!("{ROOT}/tests/npm");
    let fetched = Command::new(&fetch)
        .args([&format!("{ROOT}/tests/cli/pictures"), "parse.mjs"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    if !fetched.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{fetch} failed");
        eprintln!("skipped: {fetch} failed (is there npm?)");
        return None;
    }
    let program = String::from_utf8(fetched.stdout).unwrap();
    let parsed =
        Command::new(program.trim_end()).args(files).stderr(Stdio::inherit()).output().unwrap();
    assert!(parsed.status.success());
    Some(serde_json::from_slice(&parsed.stdout).unwrap())
}

/// Every picture of the examples and of the good cases, and one of words that mean something to each of the two.
fn pictures() -> Vec<(String, Picture)> {
    let hostile = [
        "&amp; &lt;b&gt; #35; #quot;",
        "\\N \\l \\n \\\\",
        "end",
        "%%{init: {}}%%",
        "`**md**`",
        "\"q\" 'q' ]) }} --> |x|",
        "<script>alert(1)</script>",
        "one\ntwo\n",
        "\u{1b}[2J\u{202e}",
        "ж \u{1f600} 漢",
        ":::class",
        "http://a.b/c?d=e&f",
    ];
    let items: Vec<String> = hostile.iter().map(|word| json!(word).to_string()).collect();
    let text = format!(
        "name: p\ncontainers:\n  end: {{ rootfs: host, command: [{}] }}\n  \
         graph: {{ rootfs: ./x, command: [a], dependsOn: {{ end: completed }} }}\n",
        items.join(", ")
    );
    let of = |name: &Path, text: &str| {
        let loaded = load(name, text).unwrap_or_else(|e| panic!("{}: {e:#?}", name.display()));
        let pods = loaded.pods.into_iter();
        pods.map(|pod| draw::containers(&pod.spec)).collect::<Vec<_>>()
    };
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut all: Vec<(String, Picture)> = of(Path::new("hostile"), &text)
        .into_iter()
        .map(|picture| ("hostile".into(), picture))
        .collect();
    let is_good = |case: &PathBuf| case.file_name().unwrap().to_str().unwrap().starts_with("good-");
    for case in cases().into_iter().filter(is_good) {
        let pictures = of(&case, &read(&case.join("pod.yaml")));
        all.extend(pictures.into_iter().map(|picture| (case.display().to_string(), picture)));
    }
    all
}

/// The nodes and edges that must be found.
fn wanted(picture: &Picture) -> (Map<String, Value>, Vec<Value>) {
    let card = |(n, card): (usize, &draw::Card)| {
        let lines: Vec<&String> = std::iter::once(&card.name).chain(&card.lines).collect();
        (format!("n{n}"), json!(lines))
    };
    let mut nodes: Map<String, Value> = picture.cards.iter().enumerate().map(card).collect();
    let mut edges = Vec::new();
    if let Some(lines) = &picture.infra {
        let lines: Vec<&str> =
            std::iter::once("infra").chain(lines.iter().map(String::as_str)).collect();
        nodes.insert("infra".to_owned(), json!(lines));
        let first = picture.cards.iter().enumerate().filter(|(_, card)| card.level == 0);
        edges.extend(
            first.map(|(n, _)| json!({ "from": "infra", "to": format!("n{n}"), "label": "" })),
        );
    }
    edges.extend(picture.edges.iter().map(|edge| {
        let label = if edge.until == Wait::Done { "" } else { edge.until.word() };
        json!({ "from": format!("n{}", edge.from), "to": format!("n{}", edge.to), "label": label })
    }));
    (nodes, edges)
}

#[test]
fn graphviz_and_mermaid_understand_what_is_drawn_for_them() {
    let dir = Dir::new("pictures");
    let pictures = pictures();
    let mut files = Vec::new();
    for (n, (_, picture)) in pictures.iter().enumerate() {
        files.push(dir.write(&format!("{n}.dot"), draw::dot(picture)));
        files.push(dir.write(&format!("{n}.mmd"), draw::mermaid(picture)));
    }
    // The parsers can say no.
    files.push(dir.write("wrong.dot", "digraph { a -> "));
    files.push(dir.write("wrong.mmd", "flowchart LR\n  a[\n"));
    let Some(mut found) = understood(&files) else { return };
    for wrong in found.split_off(2 * pictures.len()) {
        assert!(wrong["error"].is_string(), "{wrong}");
    }
    for (two, (name, picture)) in found.chunks(2).zip(&pictures) {
        let (nodes, edges) = wanted(picture);
        for (found, tool) in two.iter().zip(["Graphviz", "Mermaid"]) {
            let sorted = |edges: &[Value]| {
                let mut edges: Vec<String> = edges.iter().map(Value::to_string).collect();
                edges.sort();
                edges
            };
            assert_eq!(found["nodes"], json!(nodes), "{tool}, {name}: {found}");
            let drawn = found["edges"].as_array().unwrap();
            assert_eq!(sorted(drawn), sorted(&edges), "{tool}, {name}");
        }
    }
}
