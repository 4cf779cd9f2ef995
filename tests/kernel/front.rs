//! `podspec up` in front, on a real terminal: the board of a start, and the logs that it folds into.

use crate::host::Host;
use crate::tmux::Tmux;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

/// Ready when somebody makes a file in it.
fn slow(needs: &Value) -> Value {
    let script = "$| = 1; print qq(begins\\n); $SIG{TERM} = sub { exit }; sleep";
    json!({ "rootfs": "host", "command": ["perl", "-e", script], "dependsOn": needs,
        "readinessProbe": { "file": "/tmp/ready", "interval": "1s" } })
}

fn make_ready(host: &Host, of: &str) {
    host.podspec(["exec", of, "--", "touch", "/tmp/ready"]).success();
}

const LONG: &str = "a-database-of-a-rather-long-name-that-goes-on-and-on";

#[test]
fn the_board_says_what_is_waited_for_until_all_is_ready() {
    let Some(host) = Host::new() else { return };
    let containers = json!({
        LONG: slow(&json!({})),
        "web": slow(&json!({ LONG: "ready" })),
        "front": slow(&json!({ "web": "ready" })),
    });
    let file = host.pod(&json!({ "name": "shop", "network": "none", "containers": containers }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec(&format!("up {file}"));
    // With what was asked how often, as the supervisor notes it.
    let screen = tmux.wait("the board", |screen| {
        screen.contains("running, not ready (file") && screen.contains("front ")
    });
    let row = |screen: &str, name: &str| {
        let is_of = |line: &&str| line.starts_with(&format!("{name} ")) && !line.contains(" | ");
        let found = screen.lines().find(is_of);
        found.unwrap_or_default().to_owned()
    };
    assert!(row(&screen, "web").contains("waiting for a-database"), "{screen}");
    assert!(row(&screen, "front").contains("waiting for web to be ready"), "{screen}");
    assert!(!screen.contains("starting"), "who waits does not start: {screen}");

    // Half as wide: no line is broken, and none is left of the board as it was.
    tmux.resize(40, 24);
    tmux.wait("the narrow board", |screen| {
        screen.matches("front ").count() == 1 && row(screen, "web").ends_with("...")
    });
    make_ready(&host, &format!("shop/{LONG}"));
    tmux.wait("web to run", |screen| row(screen, "web").contains("running"));
    make_ready(&host, "shop/web");
    // All has begun, and the last is not ready yet.
    let screen = tmux.wait("all to be up", |screen| {
        let below = screen.split("shop is up").nth(1).unwrap_or_default();
        row(below, "front").contains("running, not")
    });
    let below = screen.split("shop is up").nth(1).unwrap();
    assert!(row(below, "web").is_empty(), "it is ready: {screen}");
    make_ready(&host, "shop/front");
    let screen = tmux.wait("the logs alone", |screen| {
        let below = screen.split("shop is up").nth(1).unwrap_or_default();
        row(below, "front").is_empty() && below.contains("shop/front")
    });
    // Names in front of what was written leave room for it.
    let begins: Vec<&str> = screen.lines().filter(|line| line.ends_with("| begins")).collect();
    assert!(!begins.is_empty() && begins.iter().all(|line| line.chars().count() <= 40), "{screen}");

    tmux.keys(&["C-c"]);
    tmux.wait_text("shop is down");
    tmux.wait_line("%");
    tmux.end();
    host.assert_clean();
}

#[test]
fn fifty_containers_on_24_lines_show_those_that_keep_the_pod_from_being_up() {
    let Some(host) = Host::new() else { return };
    let quick = json!({ "rootfs": "host", "command": ["sleep", "infinity"] });
    let mut containers: serde_json::Map<String, Value> =
        (0..48).map(|n| (format!("c{n}"), quick.clone())).collect();
    containers.insert("late".to_owned(), slow(&json!({})));
    containers.insert("last".to_owned(), slow(&json!({ "late": "ready" })));
    let file = host.pod(&json!({ "name": "many", "network": "none", "containers": containers }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec(&format!("up {file}"));
    let screen = tmux.wait("the two that are late, and some more", |screen| {
        screen.contains("late  running, not ready")
            && screen.contains("last  waiting for late to be ready")
            && screen.contains("0 of them not ready")
    });
    assert!(screen.lines().count() <= 24, "{screen}");
    make_ready(&host, "many/late");
    tmux.wait_text("many is up");
    make_ready(&host, "many/last");
    tmux.wait("the board to be gone", |screen| {
        let below = screen.split("many is up").nth(1).unwrap_or_default();
        !below.contains("not ready") && below.contains("many/last")
    });
    tmux.keys(&["C-c"]);
    tmux.wait_text("many is down");
    tmux.end();
    host.assert_clean();
}

#[test]
fn without_colours_or_a_terminal_lines_are_plain() {
    let Some(host) = Host::new() else { return };
    let quick = json!({ "rootfs": "host", "command": ["true"] });
    let file =
        host.pod(&json!({ "name": "shop", "network": "none", "containers": { "web": quick } }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec(&format!("up {file}"));
    tmux.wait_text("shop is down");
    assert!(tmux.has_colors(), "{:?}", tmux.colored());
    tmux.wait_line("%");
    tmux.line("export NO_COLOR=1");
    tmux.podspec(&format!("up {file}"));
    tmux.wait_text("shop is down");
    assert!(!tmux.has_colors(), "{:?}", tmux.colored());
    tmux.end();
    let piped = host.podspec(["up", &file]);
    assert!(!piped.stderr.contains('\u{1b}'), "{piped}");
    assert!(piped.stderr.contains("shop/web  exited (0)"), "{piped}");
    assert!(!piped.stderr.contains("stopping"), "nothing is left to stop: {piped}");
    host.assert_clean();
}

/// Where nobody sees a board, as in a CI's log.
#[test]
fn a_start_that_hangs_says_what_it_waits_for() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&json!({ "name": "shop", "network": "none", "containers": {
        "db": slow(&json!({})), "web": slow(&json!({ "db": "ready" })) } }));
    let mut up = host.start_podspec(["up", "-d", &file]);
    let mut lines = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let hangs: Vec<String> = lines
        .by_ref()
        .skip_while(|line| !line.starts_with("shop: not up after "))
        .take(3)
        .collect();
    let [_, db, web] = hangs.as_slice() else { panic!("{hangs:?}") };
    assert!(
        db.starts_with("  db   running, not ready (file /tmp/ready: it is not there, "),
        "{db}"
    );
    assert!(web.starts_with("  web  waiting for db to be ready (file /tmp/ready: "), "{web}");
    host.down("shop");
    let last: Vec<String> = lines.collect();
    assert!(last.contains(&"error: `shop` was brought down before it was up".into()), "{last:?}");
    host.finish(up).fails(1);
    host.assert_clean();
}
