//! Options that every command takes.

use super::target::directory;
use std::fs;
use std::process::Command;

/// What podspec prints on both streams.
fn said(args: &[&str], no_color: bool) -> String {
    let here = directory(&format!("flags-{}", std::process::id()));
    fs::write(here.join("bad.yaml"), "name: x\ncontianers: {}\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
    command.env_remove("NO_COLOR").args(args).current_dir(here);
    if no_color {
        command.env("NO_COLOR", "1");
    }
    let output = command.output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn colours_come_when_they_are_asked_for() {
    for what in [
        ["validate", "bad.yaml"],
        ["down", "no/such.yaml"],
        ["up", "--no-such-option"],
        ["up", "--help"],
    ] {
        let coloured = |when: &str, no_color| {
            let args = [&["--color", when], what.as_slice()].concat();
            said(&args, no_color).contains('\u{1b}')
        };
        assert!(coloured("always", false), "{what:?}");
        assert!(coloured("always", true), "{what:?}: an argument is asked before the environment");
        assert!(!coloured("never", false), "{what:?}");
        assert!(!coloured("auto", false), "{what:?}: a pipe takes no colours");
    }
}

#[test]
fn who_names_no_file_is_told_which_are_here() {
    let here = directory(&format!("no-file-{}", std::process::id()));
    let said = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
        let ended = command.arg("validate").current_dir(&here).output().unwrap();
        assert_eq!(ended.status.code(), Some(2));
        String::from_utf8(ended.stderr).unwrap()
    };
    assert!(said().contains("there is no file pod.yaml") && said().contains("standard input"));
    fs::write(here.join("shop.pod.yaml"), "").unwrap();
    assert!(said().contains("name the one that is here: shop.pod.yaml"), "{}", said());
    fs::write(here.join("blog.pod.yaml"), "").unwrap();
    assert!(said().contains("those that are here: blog.pod.yaml, shop.pod.yaml"), "{}", said());
}

#[test]
fn a_number_that_is_none_is_told_what_there_is_to_write() {
    for (args, help) in [
        (["logs", "--tail", "x"], "write a number of lines, such as 20"),
        (["logs", "--tail", "-1"], "write a number of lines, such as 20"),
        (["stop", "-t", "-1"], "write seconds, such as 5 or 0.5"),
        (["restart", "-t", "-1"], "write seconds, such as 5 or 0.5"),
        (["wait", "--timeout", "-1"], "write a duration such as 30s"),
        (["up", "--timeout", "-1"], "write a duration such as 30s"),
    ] {
        let said = said(&[&args[..], &["p"]].concat(), false);
        assert!(said.contains(help), "{args:?}: {said}");
    }
}

#[test]
fn no_directory_that_is_named_brings_an_escape_to_the_terminal() {
    let run = "bad.yaml/\u{1b}[31m";
    for args in [["--run", run, "ps"].as_slice(), &["man", "m\u{1b}[31m"]] {
        let said = said(args, false);
        assert!(said.contains('\u{fffd}') && !said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    assert!(said(&["-q", "--verbose", "ps"], false).contains("cannot be used with"));
}

#[test]
fn a_measurement_that_is_asked_for_wrongly_says_how_it_is_asked_for() {
    let scripts = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench")).unwrap();
    let scripts = scripts.map(|entry| entry.unwrap().path());
    let scripts: Vec<_> = scripts.filter(|path| path.extension().is_none()).collect();
    assert!(scripts.len() > 5, "{scripts:?}");
    for script in scripts {
        for wrong in [["--nonsense"].as_slice(), &["--rounds"], &["--rounds", "0"]] {
            let ended = Command::new(&script).args(wrong).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(2), "{script:?} {wrong:?}: {said}");
            assert!(said.starts_with("usage: tests/bench/"), "{script:?} {wrong:?}: {said}");
        }
    }
}
