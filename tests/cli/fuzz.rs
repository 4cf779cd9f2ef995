//! Texts for the loader, the report and the planner, made of the cases by lot. The same seed gives the same texts;
//! `FUZZ_ROUNDS` and `FUZZ_SEED` ask for more. A text that finds something is kept in tests/fuzz/kept, and is tried
//! first ever after.

use super::cases;
use crate::random::{Random, asked};
use crate::text::{change, mends, try_text};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/kept/texts");

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

#[test]
fn no_text_makes_loader_report_or_planner_panic() {
    let mut kept: Vec<_> =
        fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    for path in &kept {
        try_text(&String::from_utf8_lossy(&fs::read(path).unwrap()));
    }
    let texts: Vec<String> =
        cases().iter().map(|case| fs::read_to_string(case.join("pod.yaml")).unwrap()).collect();
    let mut random = Random::new(asked("FUZZ_SEED").unwrap_or(1));
    let mut text = String::new();
    for round in 0..asked("FUZZ_ROUNDS").unwrap_or(4_000) {
        // A new text now and then; else the last one changes on.
        if round % 12 == 0 {
            text.clone_from(random.any(&texts));
        }
        change(&mut text, &texts, &mut random);
        if catch_unwind(AssertUnwindSafe(|| try_text(&text))).is_err() {
            let path = Path::new(CORPUS).join(format!("found-{round}"));
            fs::write(&path, &text).unwrap();
            panic!("this text is kept as {}:\n{text}", path.display());
        }
    }
}
