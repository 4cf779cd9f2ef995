//! Completion as a user of bash, zsh or fish meets it: the real shells, on a terminal where they need one,
//! with the names of pods that are there.

use super::target::directory;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A state with two pods, a volume, and a directory with a pod file.
fn machine() -> PathBuf {
    let here = directory(&format!("completion-{}", std::process::id()));
    for pod in ["shop", "blog"] {
        let container = |name: &str| {
            json!({ "name": name, "status": "running", "pid": 1, "startTime": 1, "exitCode": null,
                "restarts": 0, "startedAt": null, "finishedAt": null, "ipv4": null })
        };
        let record = json!({
            "name": pod, "id": "0123456789", "labels": {}, "status": "running", "createdAt": "",
            "boot": "", "supervisor": { "pid": 1, "startTime": 1 }, "infra": null,
            "namespaces": {}, "network": null, "ports": [],
            "containers": [container("web"), container("worker"), container("db")],
        });
        let state = here.join("run/pods").join(pod);
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("state.json"), record.to_string()).unwrap();
    }
    fs::create_dir_all(here.join("data/volumes/shop/uploads")).unwrap();
    fs::create_dir_all(here.join("files/pods dir")).unwrap();
    fs::write(here.join("files/front.yaml"), "name: front\n").unwrap();
    fs::write(here.join("files/notes.txt"), "").unwrap();
    fs::write(here.join("files/two words.yaml"), "").unwrap();
    fs::write(here.join("pod.yaml"), "name: shop\nbroken: [\n").unwrap();
    here
}

/// What a shell makes of the line when Tab is pressed behind it; `begin` is typed first.
fn pressed(shell: &str, begin: &str, line: &str) -> String {
    let here = machine();
    // Behind the completed line the cursor goes to its begin, so that Enter prints the line.
    let typed = format!(
        "{begin}\necho ready\npodspec --run run --root data {line}\t\u{1}echo GOT: \u{5} :END\nexit\n"
    );
    let mut terminal = Command::new("script")
        .args(["-qec", shell, "/dev/null"])
        .current_dir(&here)
        .env("PATH", path())
        .env("TERM", "xterm")
        .env("HOME", &here)
        .env_remove("PROMPT_COMMAND")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    terminal.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = terminal.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // What the shell draws has control sequences in it; what echo prints has none.
    let printed = text.rsplit_once("GOT: podspec --run run --root data ");
    let (_, got) = printed.unwrap_or_else(|| panic!("{shell}: {text}"));
    got.split(" :END").next().unwrap().trim_end_matches(' ').to_owned()
}

/// With the program under test in front.
fn path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_podspec")).parent().unwrap().display().to_string();
    format!("{program}:{}", std::env::var("PATH").unwrap())
}

fn bash(line: &str) -> String {
    pressed("bash --norc --noprofile -i", ". <(podspec completions bash)", line)
}

fn zsh(line: &str) -> String {
    let begin =
        "PS1='$ '; bindkey -e; autoload -Uz compinit; compinit -u -D; . <(podspec completions zsh)";
    pressed("zsh -f -i", begin, line)
}

/// What fish would offer.
fn fish(line: &str) -> Vec<String> {
    let script = format!(
        "podspec completions fish | source; complete -C 'podspec --run run --root data {line}'"
    );
    let output = Command::new("fish")
        .args(["-c", &script])
        .current_dir(machine())
        .env("PATH", path())
        .output();
    let output = output.unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

const LINES: [(&str, &str); 11] = [
    ("insp", "inspect"),
    ("logs bl", "logs blog"),
    ("logs shop/d", "logs shop/db"),
    ("logs /d", "logs /db"),
    ("up --rec", "up --recreate"),
    ("ps --format j", "ps --format json"),
    ("up files/fr", "up files/front.yaml"),
    ("volume rm sh", "volume rm shop/uploads"),
    ("cp shop/d", "cp shop/db:"),
    ("cp shop/db:/etc/hosts files/no", "cp shop/db:/etc/hosts files/notes.txt"),
    ("cp files/notes.txt /worke", "cp files/notes.txt /worker:"),
];

#[test]
fn bash_completes_live_names() {
    for (line, expected) in LINES {
        assert_eq!(bash(line), expected, "{line}");
    }
    // Bash makes words of `=` and `:`.
    assert_eq!(bash("ps --format=j"), "ps --format=json");
    assert_eq!(bash("cp --root=x -a shop/db: fil"), "cp --root=x -a shop/db: files/");
    assert_eq!(bash("cp shop/web:"), "cp shop/web:");
    for begun in ["files/tw", "'files/tw", "\"files/tw"] {
        assert_eq!(bash(&format!("up {begun}")), "up files/two words.yaml", "{begun}");
    }
    assert_eq!(bash("up 'files/fr"), "up files/front.yaml");
    assert_eq!(bash("logs nothing"), "logs nothing");
}

#[test]
fn zsh_completes_live_names() {
    for (line, expected) in LINES {
        assert_eq!(zsh(line), expected, "{line}");
    }
    assert_eq!(zsh("ps --format=j"), "ps --format=json");
}

#[test]
fn fish_completes_live_names() {
    for (line, expected) in LINES {
        let last = expected.rsplit(' ').next().unwrap();
        let offered = fish(line);
        assert!(
            offered.iter().any(|one| one.split('\t').next() == Some(last)),
            "{line}: {offered:?}"
        );
    }
    assert_eq!(
        fish("logs shop/w"),
        ["shop/web\tcontainer running", "shop/worker\tcontainer running"]
    );
}

#[test]
fn what_is_wrong_is_silent() {
    let here = machine();
    fs::write(here.join("run/pods/shop/state.json"), "{").unwrap();
    for words in
        [["logs", "shop/"].as_slice(), &["logs", "x/y/z"], &["no-such", ""], &[], &["--run"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
        command.arg("__complete").args(["--run", "run"]).args(words).current_dir(&here);
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
}
