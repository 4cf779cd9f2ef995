//! `POD/CONTAINER` on the command line, where no pod runs: which pod is meant, and what is said where none
//! can be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("target").join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

pub(crate) fn podspec(directory: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
    command.args(["--run", "run", "--root", "data"]).args(args).current_dir(directory);
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_pod_is_that_of_the_file_here() {
    let here = directory("here");
    fs::write(here.join("pod.yaml"), "name: shop\ncontainers: {\n").unwrap();
    for args in [
        ["inspect", "/web"].as_slice(),
        &["inspect"],
        &["exec", "/web", "true"],
        &["ps", "/web"],
        &["cp", "/web:/etc/hosts", "x"],
        &["cp", "x", "/:x"],
    ] {
        let (code, said) = podspec(&here, args);
        assert!(said.contains("there is no pod `shop`"), "{args:?}: {code:?} {said}");
    }
}

#[test]
fn without_a_file_here_the_pod_must_be_named() {
    let empty = directory("empty");
    for args in [
        ["inspect"].as_slice(),
        &["logs"],
        &["logs", "/web"],
        &["exec", "/web", "--", "true"],
        &["attach"],
        &["down"],
    ] {
        let (code, said) = podspec(&empty, args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains("no pod is named, and there is no ./pod.yaml here"), "{said}");
        assert!(said.contains("hint: name the pod"), "{said}");
    }
}

#[test]
fn of_two_pods_in_the_file_one_must_be_named() {
    let two = directory("two");
    fs::write(two.join("pod.yaml"), "name: a\n---\nname: b\n").unwrap();
    let (code, said) = podspec(&two, &["inspect", "/web"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("./pod.yaml holds 2 pods: a, b"), "{said}");
    // A command that takes many takes both.
    let (_, said) = podspec(&two, &["logs"]);
    assert!(said.contains("there are no logs of a pod `a`"), "{said}");
}

#[test]
fn a_file_whose_name_is_wrong_names_no_pod() {
    let bad = directory("bad");
    fs::write(bad.join("pod.yaml"), "name: [x]\n").unwrap();
    let (code, said) = podspec(&bad, &["inspect"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`name` must be a string") && said.contains("pod.yaml:1"), "{said}");
}
