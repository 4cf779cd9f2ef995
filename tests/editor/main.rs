//! What a user sees in an editor, asked of the real yaml-language-server: the engine of VS Code, Neovim,
//! Helix and Zed. The schema is the one that `podspec schema` prints.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

// A pod by completions alone.
mod newcomer;
mod server;
// What the README tells a user to set.
mod settings;

use server::{Item, Server};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn labels(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.label.as_str()).collect()
}

/// Every one of `wanted` is offered, and not one of `unwanted`.
fn offers(server: &mut Server, text: &str, wanted: &[&str], unwanted: &[&str]) -> Vec<Item> {
    let items = server.complete(text);
    let found = labels(&items);
    // The server takes the mark of a boolean away at the beginning of a text alone.
    let marked = items.iter().find(|item| item.insert.contains("|^"));
    assert!(marked.is_none(), "{marked:?} would be typed");
    for label in wanted {
        assert!(found.contains(label), "`{label}` is not offered in\n{text}\nbut {found:?}");
    }
    for label in unwanted {
        assert!(!found.contains(label), "`{label}` is offered in\n{text}");
    }
    items
}

fn item<'a>(items: &'a [Item], label: &str) -> &'a Item {
    items.iter().find(|item| item.label == label).unwrap()
}

#[test]
fn keys_and_values_complete() {
    let Some(mut server) = Server::start() else { return };
    let pod = ["name", "share", "ports", "containers", "volumes", "restart", "exitPolicy"];
    let items = offers(&mut server, "name: shop\n\u{2038}", &pod[1..], &["image", "name"]);
    // As the reference has them, after the whole pods.
    let keys: Vec<&str> = labels(&items).into_iter().filter(|l| pod.contains(l)).collect();
    assert_eq!(keys, ["share", "ports", "volumes", "containers", "restart", "exitPolicy"]);
    assert!(item(&items, "pod: web and database").insert.contains("dependsOn"));
    let items = offers(&mut server, "n\u{2038}", &["name", "pod: one container"], &[]);
    assert!(item(&items, "name").text.contains("DNS label"));

    let keys = ["image", "rootfs", "command", "env", "dependsOn", "readinessProbe", "security"];
    let items = offers(&mut server, "containers:\n  web:\n    \u{2038}", &keys, &["share"]);
    assert!(item(&items, "stopTimeout").text.contains("Default: `10s`"));
    offers(&mut server, "containers:\n  \u{2038}", &["container name"], &["null"]);

    let kinds = ["net", "uts", "ipc", "pid", "user", "cgroup", "time", "+pid"];
    let items = offers(&mut server, "share:\n  - \u{2038}", &kinds, &["null"]);
    assert!(item(&items, "pid").text.contains("process 1"));
    offers(&mut server, "share: [\u{2038}]", &kinds, &[]);
    offers(&mut server, "share: \u{2038}", &["none", "[\"+pid\"]"], &["null"]);

    let items = offers(&mut server, "ports:\n  - \u{2038}", &["8080:80", "long form"], &["null"]);
    assert!(item(&items, "long form").insert.contains("container: ${2:80}"));
    offers(
        &mut server,
        "ports:\n  - host: 80\n    \u{2038}",
        &["container", "address", "protocol"],
        &["8080:80"],
    );
    offers(&mut server, "network: \u{2038}", &["bridge", "host", "none"], &["null"]);
    offers(&mut server, "volumes:\n  data:\n    \u{2038}", &["tmpfs", "host", "in memory"], &[]);
}

#[test]
fn conditions_probes_and_policies_complete() {
    let Some(mut server) = Server::start() else { return };
    let web = |rest: &str| format!("containers:\n  web:\n    {rest}");
    let conditions = ["started", "ready", "completed"];
    let items = offers(&mut server, &web("dependsOn:\n      db: \u{2038}"), &conditions, &["null"]);
    assert_eq!(item(&items, "completed").text, "Its program ended with 0.");
    offers(
        &mut server,
        &web("dependsOn:\n      db:\n        condition: \u{2038}"),
        &conditions,
        &["null"],
    );
    let short_and_long = ["[\"db\"]", "NAME: condition"];
    offers(&mut server, &web("dependsOn: \u{2038}"), &short_and_long, &["null"]);

    let kinds = ["exec", "http", "tcp", "log", "file", "notify", "interval"];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        offers(&mut server, &web(&format!("{probe}:\n      \u{2038}")), &kinds, &["null"]);
    }
    let policies = ["always", "on-failure", "on-failure:5", "unless-stopped", "\"no\""];
    let items = offers(&mut server, &web("restart: \u{2038}"), &policies, &["null"]);
    assert_eq!(item(&items, "\"no\"").insert, "\"no\"");
    offers(&mut server, &web("tty: \u{2038}"), &["true", "false"], &["null"]);
    offers(&mut server, &web("namespaces:\n      pid: \u{2038}"), &["private", "host"], &["null"]);
    offers(&mut server, &web("ulimits:\n      \u{2038}"), &["nofile", "memlock"], &[]);
}

/// What came to the language last completes as what was there first: kinds, words and both forms.
#[test]
fn rights_secrets_limits_and_mappings_complete() {
    let Some(mut server) = Server::start() else { return };
    let web = |rest: &str| format!("containers:\n  web:\n    {rest}");
    let names = ["NET_ADMIN", "SYS_PTRACE", "ALL"];
    let add = web("security:\n      capabilities:\n        add:\n          - \u{2038}");
    let items = offers(&mut server, &add, &names, &["null"]);
    assert!(item(&items, "SYS_ADMIN").text.contains("root of the machine"));
    let seccomp = web("security:\n      seccomp: \u{2038}");
    offers(&mut server, &seccomp, &["default", "unconfined"], &["null"]);
    let rights = ["privileged", "capabilities", "readOnlyRootfs", "runAsNonRoot", "unmask"];
    offers(&mut server, &web("security:\n      \u{2038}"), &rights, &["null"]);

    offers(&mut server, "userns: \u{2038}", &["auto"], &["null"]);
    let forms = ["size", "uids", "gids", "so many ids", "ids written out"];
    offers(&mut server, "userns:\n  \u{2038}", &forms, &["null"]);
    offers(&mut server, "time:\n  \u{2038}", &["boottime", "monotonic"], &["null"]);

    let kinds = ["file", "env", "of a file", "of a variable"];
    offers(&mut server, "secrets:\n  password:\n    \u{2038}", &kinds, &["null"]);
    offers(&mut server, &web("secrets:\n      - \u{2038}"), &["long form", "name"], &["null"]);
    offers(&mut server, &web("devices:\n      - \u{2038}"), &["long form", "path"], &["null"]);

    let limits = ["memory", "memorySwap", "cpus", "cpuWeight", "cpuset", "pids", "io"];
    offers(&mut server, &web("resources:\n      \u{2038}"), &limits, &["null"]);
    let disk =
        web("resources:\n      io:\n        devices:\n          /dev/sda:\n            \u{2038}");
    offers(&mut server, &disk, &["readBps", "writeBps", "readIops", "writeIops"], &["null"]);

    offers(&mut server, &web("lifecycle:\n      \u{2038}"), &["postStart", "preStop"], &["null"]);
    let hook = web("lifecycle:\n      preStop:\n        \u{2038}");
    offers(&mut server, &hook, &["exec", "http"], &["tcp", "null"]);
    let scheme = web("readinessProbe:\n      http:\n        scheme: \u{2038}");
    offers(&mut server, &scheme, &["http", "https"], &["null"]);
    offers(&mut server, &web("volumes:\n      - \u{2038}"), &["volume, long form"], &[]);
    let mount = web("volumes:\n      - source: data\n        propagation: \u{2038}");
    offers(&mut server, &mount, &["private", "rslave", "rshared"], &["null"]);
}

/// A hover has the field's own text, its default, an example, and what each value means.
#[test]
fn a_hover_tells_what_a_key_means() {
    let Some(mut server) = Server::start() else { return };
    for (text, wanted) in [
        ("sha\u{2038}re: [net]", vec!["all containers share", "Default: `[net, uts, ipc]`"]),
        ("share: [p\u{2038}id]", vec!["* `pid`: One tree of processes"]),
        ("po\u{2038}rts: [8080:80]", vec!["`HOST:CONTAINER`", "- 8080:80"]),
        ("ports: [{host: 1, con\u{2038}tainer: 2}]", vec!["The container's port or range."]),
        (
            "ports: [{host: 1, container: 2, pro\u{2038}tocol: udp}]",
            vec!["Default: `tcp`", "`udp`: UDP"],
        ),
        ("d\u{2038}ns: {servers: [192.0.2.1]}", vec!["What goes to /etc/resolv.conf.", "servers:"]),
        ("contain\u{2038}ers: {a: {rootfs: host}}", vec!["The pod's containers, by name."]),
        (
            "containers: {a: {rest\u{2038}art: always}}",
            vec!["Default: the pod's", "`always`: When"],
        ),
        (
            "containers: {a: {readiness\u{2038}Probe: {tcp: 1}}}",
            vec!["the container is ready", "path: /health"],
        ),
        ("containers: {a: {readinessProbe: {no\u{2038}tify: true}}}", vec!["sd_notify"]),
        (
            "containers: {a: {depends\u{2038}On: {db: ready}}}",
            vec!["Containers that come first", "migrate: completed"],
        ),
        ("containers: {a: {dependsOn: {db: re\u{2038}ady}}}", vec!["* `ready`: Its readiness"]),
        (
            "containers: {a: {security: {capabilities: {drop: [NET_\u{2038}RAW]}}}}",
            vec!["`NET_RAW`: Raw and packet sockets"],
        ),
        ("containers: {a: {security: {secc\u{2038}omp: default}}}", vec!["Default: `default`"]),
        ("containers: {a: {resources: {memory\u{2038}Swap: -1}}}", vec!["Memory plus swap"]),
        ("user\u{2038}ns: auto", vec!["where `share` has `user`", "Default: `auto`"]),
        ("secr\u{2038}ets: {a: {file: ./a}}", vec!["kept in memory alone"]),
        ("exit\u{2038}Policy: stop", vec!["Default: `continue`", "`stop`: The pod stops when all"]),
    ] {
        let shown = server.hover(text);
        for part in wanted {
            assert!(shown.contains(part), "no `{part}` over {text}\n{shown}");
        }
        assert!(!shown.contains("null"), "{shown}");
    }
}

#[test]
fn mistakes_are_underlined_and_good_files_are_not() {
    let Some(mut server) = Server::start() else { return };
    let mistakes = [
        ("containers:\n  a: {rootfs: host}\nhostnme: a", 3, "hostnme is not allowed"),
        ("containers:\n  a:\n    comand: [a]", 3, "comand is not allowed"),
        ("containers: {}\nshare: [nett]", 2, "Valid values: \"net\""),
        ("containers:\n  a: {stopTimeout: 10x}", 2, "such as 500ms, 10s or 1m30s"),
        ("containers:\n  a: {dependsOn: {b: redy}}", 2, "\"started\", \"ready\", \"completed\""),
        ("containers: {}\nports:\n  - 8080", 3, "Port"),
        ("containers: {}\nshmSize: 64m", 2, "such as 64Mi"),
        ("name: a", 1, "containers"),
        ("containers: {}\nhostname: ~", 2, "string"),
        ("containers:\n  My_App: {rootfs: host}", 2, "lower-case letters"),
    ];
    let file = |n: usize| PathBuf::from(format!("/work/mistake{n}.pod.yaml"));
    let texts = mistakes.iter().enumerate().map(|(n, mistake)| (file(n), mistake.0.to_owned()));
    let found = server.diagnose_at(&texts.collect::<Vec<_>>());
    for ((_, line, message), found) in mistakes.into_iter().zip(found) {
        let it = found.iter().find(|one| one.message.contains(message));
        let it = it.unwrap_or_else(|| panic!("no `{message}` in {found:?}"));
        assert_eq!(it.line, line, "{it:?}");
    }
    let mut files = good_files();
    let hello = &files.iter().find(|(path, _)| path.ends_with("hello.yaml")).unwrap().1;
    // No pattern of the settings is for this name, so it is the modeline that tells what it is.
    let beside = Path::new(ROOT).join("examples/x.yaml");
    files.push((beside, hello.replace("ports:", "prts:")));
    let mut found = server.diagnose_at(&files);
    assert_eq!(found.pop().unwrap().len(), 1);
    for ((path, _), found) in files.iter().zip(found) {
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

/// The examples, and every good case.
fn good_files() -> Vec<(PathBuf, String)> {
    let folder = |name: &str| fs::read_dir(Path::new(ROOT).join(name)).unwrap();
    let examples = folder("examples").map(|entry| entry.unwrap().path());
    let examples = examples.filter(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    let cases = folder("tests/cases").map(|entry| entry.unwrap().path());
    let cases =
        cases.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("good-"));
    let paths: Vec<PathBuf> = examples.chain(cases.map(|case| case.join("pod.yaml"))).collect();
    assert!(paths.len() > 10, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}
