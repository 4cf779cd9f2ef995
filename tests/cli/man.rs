//! The manual pages, judged by groff.

use super::target::directory;
use std::fs;
use std::process::Command;

#[test]
fn every_page_is_good_groff_and_has_its_sections() {
    let here = directory("man");
    let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
    let written = command.arg("man").arg(&here).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let mut pages: Vec<_> = fs::read_dir(&here).unwrap().map(|page| page.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    for page in &pages {
        let judged = Command::new("groff")
            .args(["-man", "-ww", "-Tutf8", "-rHY=0", "-P-cbou"])
            .arg(page)
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&judged.stderr);
        assert!(
            judged.status.success() && complaints.is_empty(),
            "{}: {complaints}",
            page.display()
        );
        let text = String::from_utf8(judged.stdout).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == section), "{}: no {section}", page.display());
        }
    }
    let keys = Command::new("groff")
        .args(["-man", "-Tascii", "-P-cbou"])
        .arg(here.join("podspec-top.1"))
        .output()
        .unwrap();
    let keys = String::from_utf8(keys.stdout).unwrap();
    assert!(
        keys.lines().any(|line| line.trim_start().starts_with("q     ")),
        "a line a key: {keys}"
    );
    let text = |name: &str| fs::read_to_string(here.join(name)).unwrap();
    assert!(text("podspec.1").contains("/var/lib/podspec"));
    assert!(text("podspec-exec.1").contains("125"), "its own exit codes");
    assert!(text("podspec-volume-ls.1").contains("volume ls"));
}
