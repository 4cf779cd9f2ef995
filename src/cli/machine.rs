//! Problems of files for programs: a list in JSON, SARIF 2.1.0, and the workflow commands of GitHub.
//! Lines and columns count from 1, columns in characters; the end is the first character behind.

use super::lines::Lines;
use crate::spec::problem::{Problem, Severity};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A problem with its place in lines and columns.
pub(super) struct Found {
    pub file: String,
    /// Line and column of the start and the end.
    pub place: Option<((usize, usize), (usize, usize))>,
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub label: String,
    pub help: Option<String>,
    edits: Vec<Value>,
}

/// What the programs are told of a file's problems.
pub(super) fn found(file: &str, text: &str, problems: &[Problem]) -> Vec<Found> {
    let lines = Lines::new(text);
    let one = |problem: &Problem| {
        let (place, label) = problem.labels.first().cloned().unwrap_or_default();
        let edit = |edit: &crate::spec::problem::Edit| {
            let (start, end) = (lines.position(edit.place.start), lines.position(edit.place.end));
            json!({ "deletedRegion": region((start, end)), "insertedContent": { "text": edit.text } })
        };
        Found {
            file: file.to_owned(),
            place: Some((lines.position(place.start), lines.position(place.end))),
            severity: problem.severity,
            code: problem.code,
            message: problem.message.clone(),
            label,
            help: problem.help.clone(),
            edits: problem.fix.iter().map(edit).collect(),
        }
    };
    problems.iter().map(one).collect()
}

/// A file that cannot be read has no lines.
pub(super) fn unreadable(file: &str, message: String, help: Option<String>) -> Found {
    Found {
        file: file.to_owned(),
        place: None,
        severity: Severity::Error,
        code: "P0100",
        message,
        label: String::new(),
        help,
        edits: Vec::new(),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The list of `validate --format json`.
pub(super) fn list(found: &[Found]) -> Value {
    let one = |found: &Found| {
        let ((line, column), (end_line, end_column)) = found.place.unwrap_or(((1, 1), (1, 1)));
        json!({
            "file": found.file,
            "line": line,
            "column": column,
            "endLine": end_line,
            "endColumn": end_column,
            "severity": word(found.severity),
            "code": found.code,
            "message": found.message,
            "label": found.label,
            "help": found.help,
        })
    };
    found.iter().map(one).collect()
}

fn region(((line, column), (end_line, end_column)): ((usize, usize), (usize, usize))) -> Value {
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

/// The message as one text: what is wrong, and what to do about it.
fn whole(found: &Found) -> String {
    match &found.help {
        Some(help) => format!("{}\n{help}", found.message),
        None => found.message.clone(),
    }
}

/// A log of SARIF 2.1.0, as code scanners read it; `title` of a code is its rule's name.
pub(super) fn sarif(found: &[Found], title: impl Fn(&str) -> String) -> Value {
    let codes: BTreeSet<&str> = found.iter().map(|found| found.code).collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| json!({ "id": code, "shortDescription": { "text": title(code) } }))
        .collect();
    let result = |found: &Found| {
        let artifact = json!({ "uri": uri(&found.file) });
        let mut place = json!({ "artifactLocation": artifact });
        if let Some(lines) = found.place {
            place["region"] = region(lines);
        }
        let mut result = json!({
            "ruleId": found.code,
            "ruleIndex": codes.iter().position(|code| *code == found.code),
            "level": word(found.severity),
            "message": { "text": whole(found) },
            "locations": [{ "physicalLocation": place }],
        });
        if !found.edits.is_empty() {
            let changes = json!([{ "artifactLocation": artifact, "replacements": found.edits }]);
            result["fixes"] = json!([{ "artifactChanges": changes }]);
        }
        result
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "podspec",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            // Columns are characters, not the UTF-16 units that SARIF counts by default.
            "columnKind": "unicodeCodePoints",
            "results": found.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// A path as a relative reference of RFC 3986.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let coded = path.bytes().map(|byte| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    let coded: String = coded.collect();
    if coded.starts_with('/') { format!("file://{coded}") } else { coded }
}

/// A workflow command a problem; GitHub draws it beside the line of a pull request.
pub(super) fn github(found: &Found) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let place = found.place.map_or_else(String::new, |((line, column), (end_line, end_column))| {
        let lines = format!(",line={line},endLine={end_line}");
        // GitHub takes columns only within one line; its last one is the last that is marked.
        let last = end_column.saturating_sub(1).max(column);
        if line == end_line { format!("{lines},col={column},endColumn={last}") } else { lines }
    });
    format!(
        "::{} file={}{place},title={}::{}",
        word(found.severity),
        property(&found.file),
        property(&format!("podspec {}", found.code)),
        data(&whole(found))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Found> {
        let text = "\u{feff}a: 1\nж: token\n";
        let at = text.find("token").unwrap();
        let problem = Problem::error("P0200", "100% wrong: a, b", at..at + 5, "label")
            .help("two\nlines")
            .fix(at..at + 5, "word");
        let mut all = found("dir/a b,c.yaml", text, &[problem.clone(), problem.warning()]);
        all.push(unreadable("gone.yaml", "there is no file".to_owned(), None));
        all
    }

    #[test]
    fn a_program_reads_lines_and_columns() {
        let all = list(&sample());
        let keys: Vec<&String> = all[0].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "file",
                "line",
                "column",
                "endLine",
                "endColumn",
                "severity",
                "code",
                "message",
                "label",
                "help"
            ]
        );
        assert_eq!((&all[0]["line"], &all[0]["column"]), (&json!(2), &json!(4)));
        assert_eq!((&all[0]["endLine"], &all[0]["endColumn"]), (&json!(2), &json!(9)));
        assert_eq!(all[1]["severity"], "warning");
        assert_eq!((&all[2]["code"], &all[2]["line"]), (&json!("P0100"), &json!(1)));
    }

    #[test]
    fn github_takes_a_line_a_problem() {
        assert_eq!(
            github(&sample()[0]),
            "::error file=dir/a b%2Cc.yaml,line=2,endLine=2,col=4,endColumn=8,\
             title=podspec P0200::100%25 wrong: a, b%0Atwo%0Alines"
        );
        assert_eq!(
            github(&sample()[2]),
            "::error file=gone.yaml,title=podspec P0100::there is no file"
        );
    }

    #[test]
    fn sarif_has_what_its_schema_asks_for() {
        let log = sarif(&sample(), |code| format!("title of {code}"));
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"][1]["id"], "P0200");
        let result = &run["results"][0];
        assert_eq!((&result["ruleId"], &result["ruleIndex"]), (&json!("P0200"), &json!(1)));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "dir/a%20b%2Cc.yaml");
        assert_eq!(place["region"]["startColumn"], 4);
        let change = &result["fixes"][0]["artifactChanges"][0]["replacements"][0];
        assert_eq!(change["insertedContent"]["text"], "word");
        assert!(run["results"][2]["locations"][0]["physicalLocation"].get("region").is_none());
    }
}
