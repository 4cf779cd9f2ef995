//! The inspector (tests/inspector) in containers of podspec and, with the same settings, of Debian's podman and crun:
//! what podspec lets a program see and do is what they let it, or less, in every row. What is meant to be otherwise is
//! a list, with reasons.

use crate::host::Host;
use crate::oci_podman::{box_root, podman_by};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

type Section = BTreeMap<String, String>;
/// What an inspector printed.
type Seen = BTreeMap<String, Section>;

/// What podspec lets a program do and Debian's podman 4.3 or crun 1.8 do not: section, begin of a row's name, reason.
const INTENDED: [(&str, &str, &str); 11] = [
    ("calls", "fchmodat2", "newer than podman's list: fchmodat with flags"),
    ("calls", "futex_", "newer than podman's list: futex, in parts"),
    ("calls", "getxattrat", "newer than podman's list: getxattr, by descriptor"),
    ("calls", "listxattrat", "newer than podman's list: listxattr, by descriptor"),
    ("calls", "removexattrat", "newer than podman's list: removexattr, by descriptor"),
    ("calls", "setxattrat", "newer than podman's list: setxattr, by descriptor"),
    ("calls", "mseal", "newer than podman's list: a program locks its own mappings"),
    (
        "calls",
        "landlock_restrict_self",
        "a program takes rights from itself, which asks for no_new_privs",
    ),
    ("environment", "HOSTNAME", "what the first process has; podman's `exec` leaves it out"),
    ("mounts", "/proc/interrupts", "null lies over it, where podman shows the file itself"),
    (
        "kernel files",
        "/sys/fs/cgroup/",
        "its own cgroup, read-only, on a machine where podman shows v1's",
    ),
];

/// Builds the inspector into the root.
fn build(host: &Host, root: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/inspector/main.rs");
    let options = ["target-feature=+crt-static", "panic=abort", "strip=symbols", "opt-level=1"];
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-name=inspector", "-o"]).arg(root.join("bin/inspector"));
    rustc.args(options.iter().flat_map(|option| ["-C", option])).arg(source);
    host.finish(host.start(&mut rustc)).success();
}

fn seen(text: &str) -> Seen {
    let seen: Seen = serde_json::from_str(text)
        .unwrap_or_else(|error| panic!("not what an inspector prints: {error}\n{:.400}", text));
    // It has looked, and has not just been refused all.
    for (section, least) in [("calls", 300), ("kernel files", 1000), ("mounts", 8), ("devices", 8)]
    {
        assert!(seen[section].len() > least, "{section}: {:?}", seen[section]);
    }
    assert_eq!(seen["calls"]["getpid"], "done");
    seen
}

fn bits(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

/// Each word of ours is one of theirs.
fn within(ours: &str, theirs: &str) -> bool {
    ours.split_whitespace().all(|word| theirs.split_whitespace().any(|known| known == word))
}

/// Each letter of ours is one of theirs.
fn spelled(ours: &str, theirs: &str) -> bool {
    ours.chars().all(|letter| theirs.contains(letter))
}

/// A row of /proc/self/status and its like. None: a row that says nothing of tightness.
fn process(row: &str, ours: &str, theirs: &str, gid: &str) -> bool {
    match row {
        "CapInh" | "CapPrm" | "CapEff" | "CapBnd" | "CapAmb" | "SigBlk" | "SigIgn" => {
            bits(ours) & !bits(theirs) == 0
        }
        "NoNewPrivs" | "Seccomp" | "Seccomp_filters" | "oom_score_adj" => {
            number(ours) >= number(theirs)
        }
        "processes in view" | "keys in view" => number(ours) <= number(theirs),
        "Umask" => {
            let mask = |text| u32::from_str_radix(text, 8).unwrap();
            mask(theirs) & !mask(ours) == 0
        }
        // Listed, a group's denials cannot be shed (CVE-2022-2989).
        "Groups" => within(ours, &format!("{theirs} {gid}")),
        // Lines that show where the cgroup is on the machine.
        "cgroup" => {
            let shown = |text: &str| text.split(' ').filter(|line| !line.ends_with(":/")).count();
            shown(ours) <= shown(theirs)
        }
        _ => ours == theirs,
    }
}

/// Refused, an error like any other, done.
fn verdict(text: &str) -> u8 {
    match text {
        "EPERM" | "ENOSYS" => 0,
        killed if killed.starts_with("signal") => 0,
        "done" => 2,
        _ => 1,
    }
}

/// The mount that is seen at a path.
fn covering<'a>(mounts: &'a Section, path: &str) -> (&'a str, &'a str) {
    let is_above = |at: &&String| Path::new(path).starts_with(at.as_str());
    let at = mounts.keys().filter(is_above).max_by_key(|at| at.len()).expect("a root");
    (at, &mounts[at])
}

/// Flags of a mount that take something away; those of the file system count for `ro`.
fn walls(mount: &str) -> BTreeSet<&str> {
    let words: Vec<&str> = mount.split(' ').collect();
    let own = words[1].split(',').filter(|word| ["ro", "nosuid", "nodev", "noexec"].contains(word));
    own.chain(words[2].split(',').filter(|word| *word == "ro")).collect()
}

fn mount(at: &str, ours: &Section, theirs: &Section) -> bool {
    let ((_, ours), (_, theirs)) = (covering(ours, at), covering(theirs, at));
    let is_shared = |mount: &str| mount.ends_with(" shared");
    walls(ours).is_superset(&walls(theirs)) && (!is_shared(ours) || is_shared(theirs))
}

/// A file that they do not show: hidden, unless it was just not there when they looked.
fn is_hidden(path: &str, mounts: &Section) -> bool {
    !matches!(covering(mounts, path).0, "/proc" | "/sys")
}

fn device(row: &str, ours: &str, theirs: Option<&str>) -> bool {
    let Some(theirs) = theirs.filter(|_| !ours.is_empty()) else { return ours.is_empty() };
    if row.starts_with("made ") || ours.starts_with("->") {
        return ours == theirs || within(ours, theirs) || ours.is_empty();
    }
    let words = |text: &'_ str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (ours, theirs) = (words(ours), words(theirs));
    let mode = |text: &str| u32::from_str_radix(text, 8).unwrap();
    ours[..2] == theirs[..2]
        && mode(&ours[2]) & !mode(&theirs[2]) == 0
        && spelled(&ours[3], &theirs[3])
}

fn limit(ours: &str, theirs: &str) -> bool {
    let numbers = |text: &str| text.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
    numbers(ours).iter().zip(numbers(theirs)).all(|(ours, theirs)| *ours <= theirs)
}

/// Whether what we let a program do in this row is what they let it do, or less.
fn is_tight(section: &str, row: &str, ours: &Seen, theirs: &Seen, host: &Section) -> bool {
    let value = &ours[section].get(row).map_or("", String::as_str);
    let other = theirs[section].get(row).map(String::as_str);
    match (section, other) {
        ("mounts", _) => mount(row, &ours[section], &theirs[section]),
        ("devices", _) => device(row, value, other),
        ("kernel files", None) => !is_hidden(row, &theirs["mounts"]),
        ("kernel files", Some(theirs)) => spelled(value, theirs),
        // Variables, descriptors: each is one more.
        (_, None) => value.is_empty(),
        ("descriptors" | "environment", Some(_)) => true,
        ("process", Some(other)) => {
            process(row, value, other, ours["process"]["Gid"].split(' ').next().unwrap())
        }
        ("limits", Some(other)) => limit(value, other),
        // The host's own, where theirs is not.
        ("namespaces", Some(other)) => {
            Some(*value) != host.get(row).map(String::as_str) || *value == other
        }
        ("calls", Some(other)) => verdict(value).min(1) <= verdict(other).min(1),
        ("sockets", Some(other)) => *value != "done" || other == "done",
        (_, Some(other)) => verdict(value) <= verdict(other),
    }
}

/// Rows where ours is looser than theirs, and how many rows there are.
fn looser(ours: &Seen, theirs: &Seen, host: &Section) -> (Vec<(String, String)>, usize) {
    let mut found = Vec::new();
    let mut count = 0;
    for section in ours.keys() {
        let rows: BTreeSet<&String> = ours[section].keys().chain(theirs[section].keys()).collect();
        count += rows.len();
        let loose = rows.into_iter().filter(|row| !is_tight(section, row, ours, theirs, host));
        found.extend(loose.map(|row| (section.clone(), row.clone())));
    }
    (found, count)
}

fn reason(section: &str, row: &str) -> Option<&'static str> {
    let named = |(in_section, begin, _): &&(&str, &str, &str)| {
        *in_section == section && row.starts_with(begin)
    };
    INTENDED.iter().find(named).map(|(_, _, reason)| *reason)
}

/// Fails where one is looser without a reason; prints the comparison, and gives the reasons that were needed.
fn compare(
    (name, ours): (&str, &Seen),
    (other, theirs): (&str, &Seen),
    host: &Section,
) -> BTreeSet<&'static str> {
    let (found, count) = looser(ours, theirs, host);
    let (meant, wrong): (Vec<_>, Vec<_>) =
        found.iter().partition(|(section, row)| reason(section, row).is_some());
    let (tighter, _) = looser(theirs, ours, host);
    eprintln!(
        "{name} beside {other}: {count} rows, tighter in {}, looser in {} and meant so",
        tighter.len(),
        meant.len()
    );
    let shown: Vec<String> = wrong
        .iter()
        .map(|(section, row)| {
            let value = |seen: &Seen| seen[section].get(row).cloned();
            format!("{section}: {row}: {:?} beside {:?}", value(ours), value(theirs))
        })
        .collect();
    assert!(wrong.is_empty(), "{name} is looser than {other}:\n{}", shown.join("\n"));
    meant.iter().filter_map(|(section, row)| reason(section, row)).collect()
}

/// Both ways.
fn assert_alike(a: (&str, &Seen), b: (&str, &Seen), host: &Section) {
    for (one, other) in [(a, b), (b, a)] {
        let (mut found, _) = looser(one.1, other.1, host);
        // Who runs a command sees the first process, too.
        found.retain(|(_, row)| row != "processes in view");
        assert!(found.is_empty(), "{} is not as {}: {found:?}", one.0, other.0);
    }
}

fn pod(root: &Path) -> Value {
    // As many as the configuration of podman has.
    let container = |command: Value, more: Value| {
        let mut all = json!({ "rootfs": root, "command": command,
            "ulimits": { "nofile": 1024, "nproc": 1024 } });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let (inspect, wait) = (json!(["/bin/inspector"]), json!(["/bin/sleep", "1000"]));
    json!({
        "name": "p",
        "network": "none",
        "initContainers": { "init": container(inspect.clone(), json!({})) },
        "containers": {
            "root": container(inspect.clone(), json!({})),
            "user": container(inspect, json!({ "user": "1000:1000" })),
            // It fails, and comes again.
            "again": container(json!(["/bin/inspector", "3"]), json!({ "restart": "on-failure:1" })),
            "wait": container(wait.clone(), json!({})),
            "wait-user": container(wait, json!({ "user": "1000:1000" })),
        },
    })
}

/// Where the host itself is.
fn own_namespaces(host: &Host) -> Section {
    let script = "cd /proc/self/ns && for kind in *; do echo $kind $(readlink $kind); done";
    let lines = host.sh(script).success();
    let pair = |line: &str| line.split_once(' ').map(|(kind, at)| (kind.into(), at.into()));
    lines.lines().filter_map(pair).collect()
}

/// What podspec's containers see, by name.
fn by_podspec(host: &Host) -> BTreeMap<&'static str, Seen> {
    for name in ["root", "user", "again"] {
        host.podspec(["wait", &format!("p/{name}")]);
    }
    let mut all = BTreeMap::new();
    for name in ["init", "root", "user"] {
        all.insert(name, seen(&host.logs(&format!("p/{name}"))));
    }
    let twice = host.logs("p/again");
    let second = twice.rfind("\n{").expect("a second run") + 1;
    assert_eq!(seen(&twice[..second])["calls"], seen(&twice[second..])["calls"]);
    all.insert("again", seen(&twice[second..]));
    for (name, target) in [("exec", "p/wait"), ("exec as user", "p/wait-user")] {
        all.insert(name, seen(&host.podspec(["exec", target, "--", "/bin/inspector"]).success()));
    }
    all
}

/// The document that podspec's planner wrote for a container, for another runtime that runs beside it: it joins the
/// same namespaces and has the same files.
fn bundle(host: &Host, plan: &Value, name: &str, command: &Value) {
    let steps = plan["steps"].as_array().unwrap().iter().map(|step| &step["step"]);
    let of = |step: &&Value| step["kind"] == "createContainer" && step["container"] == name;
    let mut document = steps.clone().find(of).unwrap()["oci"].clone();
    document["root"]["path"] = json!(host.dir.join("rootfs"));
    let parent = host.dir.file_name().unwrap().to_str().unwrap();
    document["linux"]["cgroupsPath"] = json!(format!("/{parent}/crun-{name}"));
    document["process"]["args"] = command.clone();
    host.file(&format!("crun-{name}/config.json"), document.to_string());
}

/// Whoever is podman's and crun's, by name.
fn by_others(host: &Host) -> BTreeMap<&'static str, Seen> {
    let script = r#"
        run --rm box /bin/inspector > $work/podman.json
        run --rm --user 1000:1000 box /bin/inspector > $work/podman-user.json
        run -d --name wait box /bin/sleep 1000 >/dev/null
        podman exec wait /bin/inspector > $work/podman-exec.json
        podman exec --user 1000:1000 wait /bin/inspector > $work/podman-exec-user.json
        for name in root user; do
          crun --root $work/crun run -b $work/crun-$name $name > $work/crun-$name.json
        done
        crun --root $work/crun run -d -b $work/crun-wait wait </dev/null >/dev/null 2>&1
        crun --root $work/crun exec wait /bin/inspector > $work/crun-exec.json
        crun --root $work/crun delete -f wait
        "#;
    podman_by(host, Path::new("crun"), script).success();
    let names = [
        "podman",
        "podman-user",
        "podman-exec",
        "podman-exec-user",
        "crun-root",
        "crun-user",
        "crun-exec",
    ];
    let read = |name| fs::read_to_string(host.dir.join(format!("{name}.json"))).unwrap();
    names.into_iter().map(|name| (name, seen(&read(name)))).collect()
}

#[test]
fn podspec_lets_a_program_do_no_more_than_podman_and_crun() {
    let Some(host) = Host::new() else { return };
    build(&host, &box_root(&host));
    let pod = pod(&host.dir.join("rootfs"));
    let file = host.pod(&pod);
    let plan = host.podspec(["plan", "--format", "json", "--oci", &file]).success();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    for (name, command) in [
        ("root", json!(["/bin/inspector"])),
        ("user", json!(["/bin/inspector"])),
        ("wait", json!(["/bin/sleep", "1000"])),
    ] {
        bundle(&host, &plan, name, &command);
    }
    host.up(&pod);
    let own = own_namespaces(&host);
    let (ours, theirs) = (by_podspec(&host), by_others(&host));
    let ours_of = |name| (name, &ours[name]);
    let mut needed = BTreeSet::new();
    for (name, others) in [
        ("init", &["podman", "crun-root"][..]),
        ("root", &["podman", "crun-root"]),
        ("again", &["podman", "crun-root"]),
        ("user", &["podman-user", "crun-user"]),
        ("exec", &["podman-exec", "crun-exec"]),
        ("exec as user", &["podman-exec-user"]),
    ] {
        for other in others {
            needed.extend(compare(ours_of(name), (other, &theirs[other]), &own));
        }
    }
    for (a, b) in [("root", "init"), ("root", "again"), ("root", "exec"), ("user", "exec as user")]
    {
        assert_alike(ours_of(a), ours_of(b), &own);
    }
    let all: BTreeSet<&str> = INTENDED.iter().map(|(_, _, reason)| *reason).collect();
    let stale: Vec<_> = all.difference(&needed).collect();
    assert!(stale.is_empty(), "no longer so: {stale:?}");
    host.down("p");
    host.assert_clean();
}

/// The comparison finds what it is there to find.
#[test]
fn walls_that_are_taken_away_are_found_by_the_inspector() {
    let Some(host) = Host::new() else { return };
    let root = box_root(&host);
    build(&host, &root);
    let mut pod = pod(&root);
    let containers = pod["containers"].as_object_mut().unwrap();
    containers.retain(|name, _| name == "root");
    let mut open = containers["root"].clone();
    open["security"] = json!({ "capabilities": { "add": ["NET_RAW", "SYS_ADMIN"] }, "noNewPrivileges": false,
        "seccomp": "unconfined", "unmask": ["/proc", "/sys"] });
    open["devices"] = json!(["/dev/net/tun"]);
    open["oomScoreAdj"] = json!(100);
    open["env"] = json!({ "MORE": "x" });
    open["ulimits"]["core"] = json!(1000);
    let mut scored = containers["root"].clone();
    scored["oomScoreAdj"] = json!(200);
    containers.insert("open".into(), open);
    containers.insert("scored".into(), scored);
    pod.as_object_mut().unwrap().remove("initContainers");
    host.up(&pod);
    for name in ["root", "open", "scored"] {
        host.podspec(["wait", &format!("p/{name}")]);
    }
    let [tight, open, scored] =
        ["root", "open", "scored"].map(|name| seen(&host.logs(&format!("p/{name}"))));
    let own = own_namespaces(&host);
    let rows = |ours: &Seen, theirs: &Seen| {
        let (found, _) = looser(ours, theirs, &own);
        found.into_iter().map(|(section, row)| format!("{section}: {row}")).collect::<BTreeSet<_>>()
    };
    let found = rows(&open, &tight);
    for row in [
        "process: CapEff",
        "process: CapBnd",
        "process: NoNewPrivs",
        "process: Seccomp",
        "environment: MORE",
        "limits: core",
        "devices: /dev/net/tun",
        "mounts: /proc/sys",
        "mounts: /proc/keys",
        "kernel files: /proc/sys/kernel/core_pattern",
        "sockets: packets",
        "deeds: unshare mnt",
        "deeds: mount a tmpfs",
        "calls: keyctl",
        "calls: bpf",
    ] {
        assert!(found.contains(row), "{row}: {found:#?}");
    }
    assert!(rows(&tight, &scored).contains("process: oom_score_adj"));
    host.down("p");
    host.assert_clean();
}
