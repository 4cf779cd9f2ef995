//! `validate --format sarif` of every case, by the JSON schema of SARIF 2.1.0.

use crate::validate::{Dir, out};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

/// The schema, fetched by npm once; without npm a developer's run goes on, the CI's does not.
fn schema() -> Option<Value> {
    let fetch = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/sarif-schema");
    let fetched = Command::new(fetch).stderr(Stdio::inherit()).output().unwrap();
    if !fetched.status.success() {
        assert!(std::env::var_os("CI").is_none(), "{fetch} failed");
        eprintln!("skipped: {fetch} failed (is there npm?)");
        return None;
    }
    let path = String::from_utf8(fetched.stdout).unwrap();
    Some(serde_json::from_str(&fs::read_to_string(path.trim_end()).unwrap()).unwrap())
}

#[test]
fn sarif_is_as_its_schema_asks() {
    let Some(schema) = schema() else { return };
    let judge = jsonschema::draft4::new(&schema).unwrap();
    let dir = Dir::new("sarif");
    let cases = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases")).unwrap();
    let mut files: Vec<String> =
        cases.map(|case| format!("{}/pod.yaml", case.unwrap().path().display())).collect();
    // A name that is no URI as it stands, and a file that cannot be read.
    dir.write("a b\u{436}%,[c].yaml", "nmae: a\n");
    files.extend(["a b\u{436}%,[c].yaml".to_owned(), "gone.yaml".to_owned()]);
    let arguments: Vec<&str> = ["validate", "--format", "sarif"]
        .into_iter()
        .chain(files.iter().map(String::as_str))
        .collect();
    let log: Value = serde_json::from_str(&out(&dir.run(&arguments))).unwrap();
    let wrong: Vec<String> =
        judge.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(log["runs"][0]["results"].as_array().unwrap().len() > 300);

    // The judge can say no.
    let mut bad = log;
    bad["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!judge.is_valid(&bad));
}
