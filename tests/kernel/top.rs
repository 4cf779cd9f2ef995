//! `podspec top` on the whole screen of a real terminal.

use crate::host::{Host, root_directory, wait_for};
use crate::terminal::Terminal;
use crate::tmux::Tmux;
use serde_json::{Value, json};

fn perl(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["perl", "-e", script] })
}

/// `web` waits for `db`, which is ready when somebody makes a file in it.
fn shop() -> Value {
    let mut db = perl("$| = 1; print qq(db begins\\n); $SIG{TERM} = sub { exit }; sleep");
    db["readinessProbe"] = json!({ "file": "/tmp/ready", "interval": "1s" });
    // A title, another colour, a cleared screen: whatever a terminal would obey.
    let hostile = "\\e]0;owned\\a\\e[2J\\e[41mevil\\x{9b}31m";
    let mut web =
        perl(&format!("$| = 1; print qq({hostile}\\n); print qq(web is there\\n); sleep"));
    web["dependsOn"] = json!({ "db": "ready" });
    json!({ "name": "shop", "network": "none", "containers": { "web": web, "db": db } })
}

fn make_ready(host: &Host) {
    host.podspec(["exec", "shop/db", "--", "touch", "/tmp/ready"]).success();
}

/// The line of the list that has this container.
fn row(screen: &str, container: &str) -> String {
    let mut lines = screen.lines().skip(2).filter(|line| line.contains(container));
    lines.next().unwrap_or_default().to_owned()
}

#[test]
fn a_pod_is_watched_and_acted_on_at_80_by_24() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&shop());
    let start = host.start_podspec(["up", "-d", &file]);
    host.wait_log("shop/db", "db begins");
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec("top");

    // What waits, and for what; as soon as it does not, without a key.
    tmux.wait("web to wait", |screen| row(screen, "web").contains("waiting for db"));
    assert_eq!(tmux.tells("#{alternate_on}"), "1");
    make_ready(&host);
    assert_eq!(host.finish(start).code, Some(0));
    let screen = tmux.wait("web to run", |screen| row(screen, "web").contains("running"));
    assert!(row(&screen, "db").contains("yes"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    // How much that is depends on who else has perl's pages mapped.
    let is_measured = |row: String| row.contains("Ki") || row.contains("Mi");
    tmux.wait("what db uses", |screen| is_measured(row(screen, "db")));

    // The log, and nothing in it that the terminal obeys.
    tmux.keys(&["j", "j"]);
    let screen = tmux.wait_text("needs      \u{2713} db ready");
    assert!(row(&screen, "shop/web").contains("running"), "{screen}");
    tmux.keys(&["Enter"]);
    let screen = tmux.wait("its log alone", |screen| {
        screen.contains("follows") && screen.contains("web is there")
    });
    assert!(screen.contains("evil") && !screen.contains("CPU%"), "{screen}");
    assert_ne!(tmux.tells("#{pane_title}"), "owned");

    // Esc leads back; a stop is asked, and only `y` is yes, once the question can have been read.
    tmux.keys(&["Escape"]);
    tmux.wait("the list", |screen| screen.contains("CPU%"));
    tmux.keys(&["k", "s"]);
    let screen = tmux.wait_text("stop shop/db?");
    assert!(screen.contains("needed by web"), "{screen}");
    tmux.keys(&["Enter"]);
    tmux.wait("no question", |screen| !screen.contains("stop shop/db?"));
    // Typed in one go it was meant for something else.
    tmux.keys(&["s", "y"]);
    tmux.wait_text("y  stop");
    tmux.keys(&["n"]);
    tmux.wait("no question", |screen| !screen.contains("stop shop/db?"));
    assert_eq!(host.container("shop", "db")["status"], "running");
    assert_eq!(host.container("shop", "db")["status"], "running");
    tmux.keys(&["s"]);
    tmux.wait_text("y  stop");
    tmux.keys(&["y"]);
    tmux.wait("db to be stopped", |screen| row(screen, "db").contains("stopped"));
    host.wait_status("shop", "db", "stopped");
    tmux.keys(&["r"]);
    tmux.wait_text("y  restart");
    tmux.keys(&["y"]);
    host.wait_status("shop", "db", "running");
    tmux.wait("db to run", |screen| row(screen, "db").contains("running"));

    tmux.keys(&["q"]);
    tmux.wait_line("%");
    assert_eq!(tmux.tells("#{alternate_on}"), "0");
    tmux.end();
    host.down("shop");
    host.assert_clean();
}

#[test]
fn a_shell_in_a_container_and_back() {
    let Some(host) = Host::new() else { return };
    let root = root_directory(&host, "root", &["/bin/sleep"]);
    let bare = json!({ "rootfs": root, "command": ["/bin/sleep", "999"], "stopTimeout": "0s" });
    let containers = json!({ "web": perl("sleep"), "bare": bare });
    host.up(&json!({ "name": "shop", "network": "none", "containers": containers }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec("top shop/web");
    tmux.wait_text("shop/web");
    tmux.keys(&["e"]);
    tmux.wait_text("a shell in shop/web");
    assert_eq!(tmux.tells("#{alternate_on}"), "0");
    tmux.line("echo $(hostname) $((40 + 2)); tty; stty size");
    tmux.wait_text("shop 42\n/dev/pts/0\n24 80");
    // Keys are the shell's, the one that would quit as any.
    tmux.line("q");
    tmux.wait_text("not found");
    tmux.line("exit");
    tmux.wait("the list again", |screen| screen.contains("CPU%"));
    assert_eq!(tmux.tells("#{alternate_on}"), "1");

    // What has none says so, and the list stays: a root of one program.
    tmux.keys(&["j"]);
    tmux.wait_text("shop/bare");
    tmux.keys(&["e"]);
    let screen = tmux.wait_text("there is no shell in shop/bare");
    assert!(screen.contains("CPU%"), "{screen}");
    tmux.keys(&["q"]);
    tmux.wait_line("%");
    tmux.end();
    host.down("shop");
    host.assert_clean();
}

/// The terminal is as it was when `stty -g > before` was run on it.
fn assert_given_back(tmux: &Tmux<'_>, how: &str) {
    tmux.wait_line("%");
    assert_eq!(tmux.tells("#{alternate_on} #{cursor_flag}"), "0 1", "{how}");
    tmux.line("clear; stty -g | cmp - before && echo as-before");
    tmux.wait_line("as-before");
}

/// Nothing is left of it: neither modes of the terminal nor what runs in the container.
#[test]
fn a_shell_ends_with_who_opened_it() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "shop", "network": "none", "containers": { "web": perl("sleep") } }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.line("stty -g > before");
    for signal in ["TERM", "HUP"] {
        tmux.podspec("top shop/web");
        tmux.wait_text("shop/web");
        tmux.keys(&["e"]);
        tmux.wait_text("a shell in shop/web");
        tmux.line("sleep 4242");
        wait_for("the shell to run it", || !host.pids_of("sleep 4242").is_empty());
        host.kill(&json!(host.pid_of(" top ")), signal);
        assert_given_back(&tmux, signal);
        wait_for("its shell to end", || host.pids_of("sleep 4242").is_empty());
    }
    tmux.end();
    host.down("shop");
    host.assert_clean();
}

#[test]
fn a_screen_is_given_back_however_it_ends() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "shop", "network": "none", "containers": { "web": perl("sleep") } }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.line("stty -g > before");
    let given_back = |how: &str| assert_given_back(&tmux, how);
    let begin = || {
        tmux.podspec("top");
        tmux.wait_text("web");
    };
    begin();
    tmux.keys(&["C-c"]);
    given_back("Ctrl-C");
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        begin();
        host.kill(&json!(host.pid_of(" top ")), signal);
        given_back(signal);
    }

    // Ctrl-Z and a stop from outside lead to the shell, `fg` back.
    begin();
    tmux.keys(&["C-z"]);
    tmux.wait_text("Stopped");
    given_back("Ctrl-Z");
    tmux.line("fg");
    tmux.wait("the list again", |screen| screen.contains("CPU%"));
    host.kill(&json!(host.pid_of(" top ")), "TSTP");
    tmux.wait_text("Stopped");
    given_back("SIGTSTP");
    tmux.line("fg");
    tmux.wait("the list again", |screen| screen.contains("CPU%"));
    // One that it cannot see: the shell writes over it, and with `fg` the picture is whole again.
    host.kill(&json!(host.pid_of(" top ")), "STOP");
    tmux.wait_text("Stopped");
    tmux.line("fg");
    tmux.wait("a whole picture", |screen| screen.contains("CPU%") && !screen.contains("Stopped"));
    tmux.resize(120, 30);
    tmux.wait("more columns", |screen| screen.contains("AGE"));
    tmux.resize(80, 24);
    tmux.wait("less columns", |screen| !screen.contains("AGE"));
    tmux.keys(&["q"]);
    given_back("q");
    tmux.end();
    host.down("shop");
    host.assert_clean();
}

#[test]
fn two_hundred_containers_scroll_and_pods_come_and_go() {
    let Some(host) = Host::new() else { return };
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec("top");
    tmux.wait_text("there is no pod");
    let names = (0..200).map(|n| (format!("c{n}"), perl("sleep")));
    let containers: serde_json::Map<String, Value> = names.collect();
    let many = json!({ "name": "many", "network": "none", "containers": containers });
    let file = host.pod(&many);
    host.podspec(["up", "-d", &file]).success();
    tmux.wait_text("200 ready");
    tmux.keys(&["G"]);
    tmux.wait("the last", |screen| screen.contains("c199"));
    tmux.keys(&["g"]);
    tmux.wait("the first", |screen| screen.contains("c0 ") && !screen.contains("c199"));
    tmux.keys(&["/"]);
    tmux.line("c17");
    tmux.wait("c17 and c170 to c179", |screen| screen.contains("c179") && !screen.contains("c18"));
    tmux.keys(&["Escape"]);
    tmux.resize(200, 50);
    tmux.wait("a wide screen", |screen| screen.contains("LIMIT") && screen.contains("c40"));

    // Its supervisor dies: what is shown is the last that is known, and nothing can be asked any more.
    let supervisor = host.inspect("many")["supervisor"]["pid"].clone();
    host.kill(&supervisor, "KILL");
    tmux.wait("a lost pod", |screen| {
        screen.contains("unsupervised") && screen.contains("running?")
    });
    tmux.keys(&["s"]);
    tmux.wait_text("y  stop");
    tmux.keys(&["y"]);
    tmux.wait_text("its supervisor is gone");
    host.down("many");
    tmux.wait_text("there is no pod");
    tmux.keys(&["q"]);
    tmux.wait_line("%");
    tmux.podspec("top nope");
    tmux.wait_text("there is no pod `nope`");
    tmux.end();
    host.assert_clean();
}

#[test]
fn colours_are_shown_unless_they_are_not_wanted() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "shop", "network": "none", "containers": { "web": perl("sleep") } }));
    let tmux = Tmux::start(&host, "tmux", 80, 24);
    tmux.podspec("top");
    tmux.wait_text("web");
    assert!(tmux.has_colors(), "{:?}", tmux.colored());
    tmux.keys(&["q"]);
    tmux.wait_line("%");
    tmux.podspec("--color never top");
    tmux.wait_text("web");
    assert!(!tmux.has_colors(), "{:?}", tmux.colored());
    tmux.keys(&["q"]);
    tmux.wait_line("%");
    tmux.line("export NO_COLOR=1");
    tmux.podspec("top");
    tmux.wait_text("web");
    assert!(!tmux.has_colors(), "{:?}", tmux.colored());
    tmux.keys(&["q"]);
    tmux.wait_line("%");
    tmux.end();

    // With --once it is the table, also on a terminal.
    let mut terminal = Terminal::start(&host, &["top", "--once", "shop"]);
    let table = terminal.end(&host).success();
    assert!(table.contains("COMMAND") && !table.contains("\u{1b}[?1049h"), "{table}");
    wait_for("the end", || terminal.is_restored());
    host.down("shop");
    host.assert_clean();
}
