//! `podspec validate` as a process: files, directories, formats, fixes, exit codes.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory of its own, gone at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("podspec-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_podspec"))
            .current_dir(&self.0)
            .args(arguments)
            .env_clear()
            .env("PORT", "8080")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const GOOD: &str = "containers: { web: { rootfs: host, command: [a] } }\n";
/// A warning and nothing else.
const WARNED: &str =
    "share: none\nports: [1:2]\ncontainers: { web: { rootfs: host, command: [a] } }\n";

#[test]
fn a_bad_file_is_bad_though_nobody_reads() {
    let dir = Dir::new("unread");
    dir.write("a.yaml", GOOD);
    dir.write("b.yaml", "nmae: b\n");
    for format in ["human", "json", "sarif", "github"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_podspec"))
            .current_dir(&dir.0)
            .args(["validate", "--format", format, "a.yaml", "b.yaml"])
            .stdout(writer)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2), "{format}");
    }
}

#[test]
fn a_directory_is_its_pod_files() {
    let dir = Dir::new("directory");
    for name in ["pod.yaml", "a/web.pod.yaml", "a/b/pod.yml", "a/b/c.pod.yml"] {
        dir.write(name, GOOD);
    }
    for name in ["other.yaml", ".git/pod.yaml", "mypod.yaml", "pod.yaml.orig", "a/pod.json"] {
        dir.write(name, "not a pod");
    }
    let output = dir.run(&["validate", "."]);
    let text = out(&output);
    let files: Vec<&str> = text.lines().map(|line| line.split(": ok").next().unwrap()).collect();
    assert_eq!(files, ["a/b/c.pod.yml", "a/b/pod.yml", "a/web.pod.yaml", "pod.yaml"]);
    assert!(output.status.success());

    dir.write("empty/other.yaml", GOOD);
    let output = dir.run(&["validate", "empty", "pod.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let said = err(&output);
    assert!(said.contains("no pod file in empty"), "{said}");
    assert!(said.contains("`podspec validate empty/*.yaml`"), "{said}");
    fs::create_dir(dir.0.join("nothing")).unwrap();
    let said = err(&dir.run(&["validate", "nothing"]));
    assert!(said.contains("`podspec init` writes a first one"), "{said}");
}

#[test]
fn every_file_is_judged_and_one_bad_one_decides() {
    let dir = Dir::new("several");
    dir.write("good.yaml", GOOD);
    dir.write("bad.yaml", "containers: {}\n");
    let output = dir.run(&["validate", "bad.yaml", "gone.yaml", "good.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(out(&output), "good.yaml: ok (good)\n");
    assert!(err(&output).contains("P0503") && err(&output).contains("no file gone.yaml"));

    let output = dir.run(&["validate", "--format", "json", "bad.yaml", "gone.yaml", "good.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let list: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&list[0]["code"], &list[1]["code"]), (&"P0503".into(), &"P0100".into()));
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[test]
fn warnings_are_denied_on_request() {
    let dir = Dir::new("deny");
    dir.write("pod.yaml", WARNED);
    assert!(dir.run(&["validate"]).status.success());
    for format in ["human", "json", "sarif", "github"] {
        let output = dir.run(&["validate", "--deny", "warnings", "--format", format]);
        assert_eq!(output.status.code(), Some(2), "{format}");
    }
    let output = dir.run(&["validate", "--format", "github"]);
    assert!(out(&output).starts_with("::warning file=pod.yaml,line=2,"), "{}", out(&output));
    assert!(output.status.success());
}

#[test]
fn a_fix_touches_nothing_else() {
    let dir = Dir::new("fix");
    let wrong = "# first\r\nname: shop   # stays\r\n\r\ncontainers:\r\n  web:  \r\n    rootfs: host\r\n    command: [a]\r\n    envFle: []   # \u{1f600}\r\n    tty: no\r\n";
    let file = dir.write("pod.yaml", wrong);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    let output = dir.run(&["validate", "--fix"]);
    assert!(output.status.success(), "{}", err(&output));
    let mended = fs::read_to_string(&file).unwrap();
    assert_eq!(mended, wrong.replace("envFle", "envFile").replace("tty: no", "tty: false"));
    assert!(out(&output).contains("-    tty: no"), "{}", out(&output));
    assert!(out(&output).contains("+    tty: false"), "{}", out(&output));
    assert!(out(&output).contains("2 problems mended"), "{}", out(&output));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o604);

    let again = dir.run(&["validate", "--fix"]);
    assert_eq!(out(&again), "pod.yaml: ok (shop)\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), mended);
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "no file is left beside");
    assert_eq!(dir.run(&["validate", "--fix", "-"]).status.code(), Some(2));
}

/// What is told to be typed works as it stands, and of standard input nothing can be mended.
#[test]
fn the_command_that_mends_names_the_file() {
    let dir = Dir::new("fix-named");
    let wrong = GOOD.replace("rootfs", "rotfs");
    for name in ["pod.yaml", "shop.pod.yaml"] {
        dir.write(name, &wrong);
    }
    let said = err(&dir.run(&["validate"]));
    assert!(said.contains("`podspec validate --fix` mends 1 of them"), "{said}");
    let said = err(&dir.run(&["validate", "shop.pod.yaml"]));
    assert!(said.contains("`podspec validate --fix shop.pod.yaml` mends 1"), "{said}");
    assert!(dir.run(&["validate", "--fix", "shop.pod.yaml"]).status.success());
    let said = Command::new(env!("CARGO_BIN_EXE_podspec"))
        .args(["validate", "-"])
        .stdin(fs::File::open(dir.0.join("pod.yaml")).unwrap())
        .output()
        .unwrap();
    assert!(err(&said).contains("P0200") && !err(&said).contains("--fix"), "{}", err(&said));
}

#[test]
fn a_document_behind_a_broken_one_is_judged() {
    let dir = Dir::new("documents");
    let text = "nme: a\ncontainers: [\n---\nname: b\ncontaners: {}\n---\nname: c\ncontainers: {}\n";
    dir.write("pod.yaml", text);
    let output = dir.run(&["validate", "--format", "json"]);
    let list: Value = serde_json::from_str(&out(&output)).unwrap();
    let found: Vec<(u64, &str)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["code"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [(1, "P0200"), (2, "P0102"), (5, "P0200"), (5, "P0503"), (8, "P0503")]);
}

#[expect(clippy::zombie_processes, reason = "wait4 below waits")]
/// Runs `validate` and gives its output and its largest resident size, in KiB. The kernel counts what
/// this process had when it forked, so no file is ever whole in memory here that is near the bound.
fn measured(dir: &Dir, path: &Path) -> (Output, i64) {
    use std::io::Read;
    let mut child = Command::new(env!("CARGO_BIN_EXE_podspec"))
        .current_dir(&dir.0)
        .arg("validate")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = Vec::new();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    let (status, usage) = wait4(&child);
    (Output { status, stdout: Vec::new(), stderr }, usage)
}

/// As `wait`, with what the child used.
#[expect(unsafe_code, reason = "no crate here gives the usage of one child")]
fn wait4(child: &std::process::Child) -> (std::process::ExitStatus, i64) {
    use std::os::unix::process::ExitStatusExt;
    let mut status = 0;
    // SAFETY: rusage is a struct of integers, for which zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = child.id().try_into().unwrap();
    // SAFETY: both pointers lead to values that live until the call returns.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    assert_eq!(waited, pid);
    (std::process::ExitStatus::from_raw(status), usage.ru_maxrss)
}

/// Files that want our memory, our time or our terminal. What they take of time is in tests/bench.
pub(crate) fn hostile(dir: &Dir) -> Vec<PathBuf> {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = [format!("*a{}", level - 1).as_str(); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let mut anchors = String::new();
    (0..40).for_each(|level| anchors.push_str(&format!("{}- &a{level}\n", " ".repeat(level * 2))));
    anchors.push_str(&format!("{}- [{}]\n", " ".repeat(80), "x, ".repeat(100_000)));
    let garbage: Vec<u8> =
        (0..10u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let fifo = dir.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    vec![
        dir.write("bomb.yaml", bomb),
        dir.write("anchors.yaml", anchors),
        dir.write("deep-flow.yaml", "[".repeat(100_000)),
        dir.write("deep-block.yaml", "- ".repeat(100_000)),
        dir.write("deep-map.yaml", many(2_000, &|i| format!("{}a:\n", " ".repeat(i)))),
        dir.write("garbage.yaml", &garbage),
        dir.write("garbage-text.yaml", String::from_utf8_lossy(&garbage[..3 << 20]).as_bytes()),
        dir.write("long-key.yaml", format!("{}: 1\n", "k".repeat(1 << 20))),
        dir.write("long-quoted-key.yaml", format!("? \"{}\"\n: 1\n", "k".repeat(1 << 20))),
        dir.write("long-value.yaml", format!("name: {}\n", "v".repeat(1 << 20))),
        dir.write("not-utf8.yaml", b"name: a\nhostname: \xff\xfe\n"),
        dir.write("nul.yaml", "name: a\0b\n"),
        dir.write("only-nul.yaml", vec![0; 1 << 20]),
        fifo,
        PathBuf::from("/dev/zero"),
    ]
}

/// Files with more of something than a pod has.
pub(crate) fn huge(dir: &Dir) -> Vec<PathBuf> {
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let pod =
        |inside: String| format!("containers:\n  web: {{ rootfs: host, command: [a] }}\n{inside}");
    let waiting = |waits: &dyn Fn(usize) -> String| {
        let one =
            |i| format!("  c{i}: {{ rootfs: host, command: [a], dependsOn: [{}] }}\n", waits(i));
        format!("containers:\n{}", many(5_000, &one))
    };
    let port = |i: usize| format!("- 127.{}.{}.1:1-65535:1-65535\n", i >> 8, i & 255);
    let texts = "a,".repeat(249_000);
    let texts = format!("containers: {{ w: {{ rootfs: host, comand: 1, command: [{texts}] }} }}");
    vec![
        dir.write("items.yaml", pod(format!("labels: {{ a: [{}] }}\n", "x,".repeat(1_900_000)))),
        dir.write("keys.yaml", many(120_000, &|i| format!("k{i}: 1\n"))),
        dir.write("texts.yaml", texts),
        dir.write("variables.yaml", pod(format!("hostname: {}\n", "${A}".repeat(200_000)))),
        dir.write("documents.yaml", many(60_000, &|i| format!("---\nname: a{i}\n"))),
        dir.write("broken.yaml", many(60_000, &|_| "--- [\n".to_owned())),
        dir.write("rounds.yaml", waiting(&|i| format!("c{i}"))),
        dir.write("one-round.yaml", waiting(&|i| format!("c{}", (i + 1) % 5_000))),
        dir.write("unknown.yaml", waiting(&|i| format!("d{i}"))),
        dir.write("twice.yaml", waiting(&|_| "c1".to_owned())),
        dir.write("ports.yaml", pod(format!("ports:\n{}", many(20_000, &port)))),
        dir.write(
            "waits.yaml",
            format!(
                "containers:\n  a: {{ rootfs: host, command: [a], dependsOn: [{}] }}\n{}",
                many(5_000, &|i| format!("b{i}, ")),
                many(5_000, &|i| format!("  b{i}: {{ rootfs: host, command: [a] }}\n"))
            ),
        ),
    ]
}

#[test]
fn hostile_files_end_with_an_error_and_little_memory() {
    let dir = Dir::new("hostile");
    end_with_an_error_and_little_memory(&dir, hostile(&dir));
}

#[test]
fn huge_files_end_with_little_memory() {
    let dir = Dir::new("huge");
    end_with_an_error_and_little_memory(&dir, huge(&dir));
}

fn end_with_an_error_and_little_memory(dir: &Dir, files: impl IntoIterator<Item = PathBuf>) {
    // Of 64 MiB: the released program takes 14 for itself, this one as much as its pages happen to be cached.
    const MOST: i64 = 50 << 10;
    let itself = measured(dir, &dir.write("small.yaml", "containers: {}\n")).1;
    for path in files {
        let (output, memory) = measured(dir, &path);
        let (name, text) = (path.display(), err(&output));
        let is_good = ["waits.yaml", "ports.yaml"].iter().any(|name| path.ends_with(name));
        assert_eq!(output.status.code(), Some(if is_good { 0 } else { 2 }), "{name}: {text}");
        assert!(is_good || !text.is_empty(), "{name}");
        assert!(text.len() < 1 << 20, "{name}: {} bytes of report", text.len());
        assert!(memory - itself < MOST, "{name}: {memory} KiB of which {itself} are the program's");
    }
}
