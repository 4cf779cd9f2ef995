//! What probes and hooks lead to: restarts, and the order that readiness makes. The programs inside are perl's,
//! which every Debian has; what they did is read from the kernel and from the volume.

use crate::host::{Host, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixDatagram;

pub fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script], "volumes": ["v:/v"] })
}

pub fn with(mut container: Value, more: &Value) -> Value {
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

pub fn pod(containers: &Value) -> Value {
    json!({ "name": "p", "network": "none", "volumes": { "v": {} }, "containers": containers })
}

/// What is in a file of the pod's volume.
pub fn noted(host: &Host, file: &str) -> String {
    fs::read_to_string(host.data().join("volumes/p/v").join(file)).unwrap_or_default()
}

#[test]
fn only_its_own_container_is_heard() {
    let Some(host) = Host::new() else { return };
    let quiet = with(sh("exec sleep 999"), &json!({ "readinessProbe": { "notify": true } }));
    host.up(&pod(&json!({ "a": quiet })));
    let socket = host.run_dir().join("pods/p/mnt/notify/a/notify.sock");
    let pid = host.container("p", "a")["pid"].clone();
    // The host's root reaches the socket through the container's root, and is nobody of the container.
    let say = |path: &str| {
        host.sh(&format!(
            "perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => shift) or die; \
             print $s \"STATUS=forged\\nREADY=1\"; $s->flush; sleep 1' {path}"
        ))
    };
    say(&format!("/proc/{pid}/root/run/notify/notify.sock")).success();
    assert!(!socket.exists() || socket.starts_with(host.run_dir()));
    let a = host.container("p", "a");
    assert_eq!((&a["ready"], &a["statusText"]), (&json!(false), &Value::Null), "{a}");
    let inside = "perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET}) or die; \
                  print $s \"READY=1\"; $s->flush; sleep 1'";
    host.podspec(["exec", "p/a", "--", "sh", "-c", inside]).success();
    wait_for("the container's own word", || host.container("p", "a")["ready"] == true);
    host.down("p");
    host.assert_clean();
}

#[test]
fn what_depends_on_readiness_starts_with_it_and_says_what_it_waits_for() {
    let Some(host) = Host::new() else { return };
    let db = with(
        sh(
            "while ! test -e /v/go; do sleep 0.01; done; exec perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 5432, Listen => 9) or die; sleep 999'",
        ),
        &json!({ "readinessProbe": { "tcp": 5432 } }),
    );
    let web = with(
        sh("echo web >> /v/notes; exec sleep 999"),
        &json!({ "dependsOn": { "db": "ready" } }),
    );
    let file = host.pod(&pod(&json!({ "db": db, "web": web })));
    let up = host.start_podspec(["up", "-d", &file]);
    wait_for("web to say what it waits for", || {
        let ps = host.podspec(["ps", "p"]).stdout;
        ps.contains("waiting for db to be ready (tcp 5432: refused, ")
            && ps.contains("running, not ready")
    });
    assert_eq!(noted(&host, "notes"), "", "web has begun before db was ready");
    fs::write(host.data().join("volumes/p/v/go"), "").unwrap();
    host.finish(up).success();
    wait_for("web to run", || noted(&host, "notes") == "web\n");
    let events = host.podspec(["events", "p"]).success();
    let (ready, web) =
        (events.find("p/db  ready").unwrap(), events.find("p/web  running").unwrap());
    assert!(ready < web, "{events}");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn a_liveness_probe_that_fails_restarts_and_a_startup_probe_holds_it_off() {
    let Some(host) = Host::new() else { return };
    // It starts slowly, and after that loses its file.
    let script = "trap 'exit 0' TERM; echo begins >> /v/notes; while ! test -e /v/go; do sleep 0.01; done; \
                  touch /tmp/up /tmp/well; sleep 0.3; rm /tmp/well; while :; do sleep 0.01; done";
    let more = json!({
        "restart": "on-failure:1",
        "startupProbe": { "file": "/tmp/up", "interval": "20s" },
        "livenessProbe": { "exec": ["test", "-e", "/tmp/well"], "interval": "50ms", "failureThreshold": 2 },
    });
    host.up(&pod(&json!({ "a": with(sh(script), &more) })));
    assert_eq!(host.container("p", "a")["ready"], false);
    fs::write(host.data().join("volumes/p/v/go"), "").unwrap();
    let failed = host.wait_status("p", "a", "failed");
    assert_eq!((&failed["restarts"], &failed["exitCode"]), (&json!(1), &json!(0)), "{failed}");
    let reason = failed["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("its liveness probe failed: exec test -e /tmp/well: exit code 1"),
        "{reason}"
    );
    assert_eq!(noted(&host, "notes"), "begins\nbegins\n");
    assert_eq!(host.inspect("p")["exitCode"], 1);
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn hooks_run_inside_and_in_their_order() {
    let Some(host) = Host::new() else { return };
    let script = "trap 'echo ends >> /v/notes; exit 0' TERM; echo begins >> /v/notes; while :; do sleep 0.01; done";
    let say =
        |what: &str| json!({ "exec": ["sh", "-c", format!("sleep 0.1; echo {what} >> /v/notes")] });
    let a = with(
        sh(script),
        &json!({ "lifecycle": { "postStart": say("post"), "preStop": say("pre") } }),
    );
    let b = with(sh("echo b >> /v/notes; exec sleep 999"), &json!({ "dependsOn": ["a"] }));
    host.up(&pod(&json!({ "a": a, "b": b })));
    wait_for("b to begin", || noted(&host, "notes").ends_with("b\n"));
    host.down("p");
    assert_eq!(noted(&host, "notes"), "begins\npost\nb\npre\nends\n");
    // One that hangs has the stop time and no more; one that fails ends the container.
    let hangs = with(
        sh("exec sleep 999"),
        &json!({ "stopTimeout": "300ms", "lifecycle": { "preStop": { "exec": ["sleep", "995"] } } }),
    );
    let fails = with(
        sh("exec sleep 999"),
        &json!({ "lifecycle": { "postStart": { "exec": ["sh", "-c", "echo no; exit 3"] } } }),
    );
    host.up(&pod(&json!({ "hangs": hangs, "fails": fails })));
    let failed = host.wait_status("p", "fails", "failed");
    assert!(failed["reason"].as_str().unwrap().ends_with("exit code 3: no"), "{failed}");
    host.podspec(["stop", "p"]).success();
    assert!(host.pids_of("sleep 995").is_empty());
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn a_dependent_is_restarted_with_what_it_depends_on() {
    let Some(host) = Host::new() else { return };
    let db = with(
        sh("echo db >> /v/notes; touch /tmp/up; exec sleep 994"),
        &json!({ "restart": "always", "readinessProbe": { "file": "/tmp/up" } }),
    );
    let on = json!({ "dependsOn": { "db": { "condition": "ready", "restart": true } }, "stopTimeout": "0s" });
    let web = with(sh("echo web >> /v/notes; exec sleep 999"), &on);
    let other = with(
        sh("echo other >> /v/notes; exec sleep 999"),
        &json!({ "dependsOn": { "db": "ready" } }),
    );
    host.up(&pod(&json!({ "db": db, "web": web, "other": other })));
    wait_for("all to begin", || noted(&host, "notes").lines().count() == 3);
    host.kill(&json!(host.pid_of("sleep 994")), "KILL");
    wait_for("db and web to begin again", || noted(&host, "notes").lines().count() == 5);
    let notes = noted(&host, "notes");
    assert!(notes.ends_with("db\nweb\n"), "{notes}");
    assert_eq!(host.container("p", "web")["restarts"], 0, "its policy did not restart it");
    host.podspec(["down", "--volumes", "p"]).success();
    host.assert_clean();
}

#[test]
fn up_waits_until_all_is_ready_or_says_what_is_late() {
    let Some(host) = Host::new() else { return };
    let late = with(
        sh("while ! test -e /v/go; do sleep 0.01; done; touch /tmp/up; exec sleep 999"),
        &json!({ "readinessProbe": { "file": "/tmp/up" } }),
    );
    let file = host
        .pod(&pod(&json!({ "late": late, "done": sh("exit 0"), "plain": sh("exec sleep 999") })));
    let timed_out = host.podspec(["up", "--wait", "--timeout", "300ms", &file]);
    assert_eq!(timed_out.code, Some(1), "{timed_out}");
    assert!(timed_out.stderr.contains("late: running, not ready (file /tmp/up"), "{timed_out}");
    assert!(!timed_out.stderr.contains("plain:"), "that one is ready: {timed_out}");
    let timed_out = host.podspec(["wait", "p", "--for", "ready", "--timeout", "200ms"]);
    assert_eq!(timed_out.code, Some(1), "{timed_out}");
    let waits = host.start_podspec(["wait", "p/late", "--for", "ready"]);
    let again = host.start_podspec(["up", "--wait", &file]);
    fs::write(host.data().join("volumes/p/v/go"), "").unwrap();
    host.finish(waits).success();
    let again = host.finish(again);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(host.container("p", "late")["ready"], true);
    host.podspec(["up", "--wait", &file]).success();
    host.podspec(["down", "--volumes", "p"]).success();
    let fails = with(sh("exit 3"), &json!({ "readinessProbe": { "tcp": 80 } }));
    let failed = host.podspec(["up", "--wait", &host.pod(&pod(&json!({ "fails": fails })))]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert!(failed.stderr.contains("`fails` has failed (3)"), "{failed}");
    host.down("p");
    host.assert_clean();
}

/// What listens as a service manager does, at `manager` in the host's directory.
fn manager(host: &Host) -> UnixDatagram {
    let manager = UnixDatagram::bind(host.dir.join("manager")).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    manager
}

fn heard_by(manager: &UnixDatagram) -> String {
    let mut text = [0; 64];
    let length = manager.recv(&mut text).unwrap();
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[test]
fn a_service_manager_is_told_when_all_is_ready() {
    let Some(host) = Host::new() else { return };
    let manager = manager(&host);
    let heard = || heard_by(&manager);
    let ready = with(
        sh("trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 0.01; done"),
        &json!({ "readinessProbe": { "file": "/tmp/up" } }),
    );
    let file = host.pod(&pod(&json!({ "a": ready })));
    let mut command = host.command(["up", &file]);
    let up = host.start(command.env("NOTIFY_SOCKET", host.dir.join("manager")));
    assert_eq!(heard(), "READY=1");
    host.podspec(["down", "--volumes", "p"]).success();
    assert_eq!(heard(), "STOPPING=1");
    host.finish(up);
    host.assert_clean();
}

/// Several pods in front are one service: it is ready when the last of them is, and stops with the last.
#[test]
fn a_service_manager_is_told_once_when_the_last_of_several_pods_is_ready() {
    let Some(host) = Host::new() else { return };
    let manager = manager(&host);
    let heard = || heard_by(&manager);
    let of = |name: &str| {
        let container = json!({ "rootfs": "host", "readinessProbe": { "file": "/tmp/up" },
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done"] });
        let pod = json!({ "name": name, "network": "none", "containers": { "c": container } });
        fs::read_to_string(host.pod(&pod)).unwrap()
    };
    let file = host.file("both.yaml", format!("{}\n---\n{}\n", of("one"), of("two")));
    let mut command = host.command(["up", &file.display().to_string()]);
    let up = host.start(command.env("NOTIFY_SOCKET", host.dir.join("manager")));
    let make_ready = |pod: &str| {
        wait_for("it to be there", || host.podspec(["inspect", pod]).code == Some(0));
        host.wait_status(pod, "c", "running");
        host.podspec(["exec", &format!("{pod}/c"), "--", "touch", "/tmp/up"]).success();
        wait_for("it to be ready", || host.container(pod, "c")["ready"] == true);
    };
    let nothing_yet = || {
        manager.set_nonblocking(true).unwrap();
        let said = manager.recv(&mut [0; 64]).map_err(|error| error.kind());
        manager.set_nonblocking(false).unwrap();
        assert_eq!(said, Err(std::io::ErrorKind::WouldBlock), "each thing once, of all");
    };
    make_ready("one");
    nothing_yet();
    make_ready("two");
    assert_eq!(heard(), "READY=1");
    host.down("one");
    host.down("two");
    assert_eq!(heard(), "STOPPING=1");
    let up = host.finish(up);
    nothing_yet();
    assert!(up.stderr.contains("one is down") && up.stderr.contains("two is down"), "{up}");
    host.assert_clean();
}
