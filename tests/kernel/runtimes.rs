//! Containers of other runtimes: Debian's crun and runc carry out what podspec's own does, and nobody can tell.

use crate::host::{Host, http_wait, root_directory, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const OTHERS: [&str; 2] = ["crun", "runc"];

/// What the runtime itself has written down of a pod's containers, by their names.
fn known(host: &Host, pod: &str) -> BTreeMap<String, String> {
    let state = host.run_dir().join(format!("pods/{pod}/mnt/runtimes"));
    let entries = fs::read_dir(state).unwrap().map(Result::unwrap);
    let all = entries.map(|entry| {
        let id = entry.file_name().into_string().unwrap();
        let text = ["status", "state.json"].map(|file| fs::read_to_string(entry.path().join(file)));
        (id.split_once('-').unwrap().1.to_owned(), text.into_iter().flatten().collect())
    });
    all.collect()
}

/// One of `examples/`, run by another runtime.
fn example(host: &Host, name: &str, runtime: &str) -> String {
    let text = fs::read_to_string(host.example(name)).unwrap();
    let path = host.file(&format!("{name}.yaml"), format!("runtime: {runtime}\n{text}"));
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            host.sh(&format!("cp -r {} {}", entry.path().display(), host.dir.display())).success();
        }
    }
    path.to_str().unwrap().to_owned()
}

fn examples_without_an_image() -> Vec<String> {
    let all = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap();
    let files = all.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    let names = files.filter(|path| !fs::read_to_string(path).unwrap().contains("\n    image:"));
    let mut names: Vec<String> =
        names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    names
}

fn runs_every_example(runtime: &str) {
    let Some(host) = Host::new() else { return };
    for name in examples_without_an_image() {
        let file = example(&host, &name, runtime);
        host.podspec(["up", "-d", "--wait", "--timeout", "30s", &file]).success();
        let known = known(&host, &name);
        let inspected = host.inspect(&name);
        let containers = inspected["containers"].as_array().unwrap();
        assert_eq!(known.len(), containers.len(), "{name}: {known:?}");
        for container in containers {
            let text = &known[container["name"].as_str().unwrap()];
            // What has ended has no number any more.
            let pid = container["pid"].as_u64().map_or_else(String::new, |pid| pid.to_string());
            assert!(text.contains("\"pid\"") || text.contains("\"init_process_pid\""), "{text}");
            assert!(text.contains(&pid), "{name}: {pid} is not in {text}");
        }
        if name == "hello" {
            http_wait("127.0.0.1:8080");
        }
        host.down(&name);
        host.assert_clean();
        // Where v2 is mounted beside v1, nor below that mount.
        let id = inspected["id"].as_str().unwrap();
        let below =
            format!("mount --bind /sys/fs/cgroup /mnt && find /mnt -path '*{id}*'; umount /mnt");
        assert_eq!(host.sh(&below).success(), "", "{name}");
    }
}

#[test]
fn crun_runs_every_example() {
    runs_every_example("crun");
}

#[test]
fn runc_runs_every_example() {
    runs_every_example("runc");
}

/// The article's queue, user mapping and clocks are seen through a runtime as without one.
#[test]
fn what_is_shared_is_shared_under_another_runtime() {
    let Some(host) = Host::new() else { return };
    let pod = |runtime: &str| {
        json!({
            "name": "shared", "share": ["+pid", "+user", "+time"], "time": { "boottime": "1000h" },
            "userns": { "uids": ["0:200000:1000"], "gids": ["0:200000:1000"] },
            "volumes": { "data": null },
            "containers": {
                "ours": { "rootfs": "host", "command": ["sleep", "infinity"], "volumes": ["data:/data"] },
                "theirs": { "rootfs": "host", "runtime": runtime, "volumes": ["data:/data"],
                    "command": ["sh", "-c", "echo of-theirs > /data/file; exec sleep infinity"] },
            },
        })
    };
    for runtime in OTHERS {
        host.up(&pod(runtime));
        let of = |key: &str| host.container("shared", key)["namespaces"].clone();
        let (ours, theirs) = (of("ours"), of("theirs"));
        for kind in ["net", "uts", "ipc", "pid", "user", "time"] {
            assert_eq!(ours[kind], theirs[kind], "{runtime}: {kind}");
        }
        for kind in ["mnt", "cgroup"] {
            assert_ne!(ours[kind], theirs[kind], "{runtime}: {kind}");
        }
        let pid = host.container("shared", "theirs")["pid"].as_u64().unwrap();
        let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "1000"]);
        wait_for("the file", || host.data().join("volumes/shared/data/file").exists());
        let ask = |script: &str| {
            host.podspec(["exec", "shared/theirs", "--", "sh", "-c", script]).success()
        };
        assert_eq!(ask("stat -c %u /data/file").trim(), "0");
        let owner = fs::metadata(host.data().join("volumes/shared/data/file")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0, "idmapped: nothing is chowned");
        let uptime: f64 = ask("cut -d' ' -f1 /proc/uptime").trim().parse().unwrap();
        assert!(uptime > 3_600_000.0, "{runtime}: exec is in another clock: {uptime}");
        assert!(ask("ps -ef").contains("podspec-infra"));
        host.podspec(["down", "--volumes", "shared"]).success();
        host.assert_clean();
    }
}

/// Logs, exit codes, restarts, probes, signals, limits: all as without another runtime.
#[test]
fn a_container_of_another_runtime_is_a_container_like_any() {
    let Some(host) = Host::new() else { return };
    for runtime in OTHERS {
        let script = "echo out; echo err >&2; trap 'echo asked; exit 3' TERM; touch /ready; \
                      while :; do sleep 0.05; done";
        host.up(&json!({ "name": "like", "runtime": runtime, "containers": {
            "web": { "rootfs": "host", "command": ["sh", "-c", script], "user": "33:33",
                "resources": { "memory": "64Mi", "pids": 50 },
                "env": { "GREETING": "hi" }, "workingDir": "/made/here",
                "volumes": [{ "type": "tmpfs", "target": "/ready.d" }],
                "readinessProbe": { "exec": ["sh", "-c", "test $GREETING = hi"], "interval": "1s" } },
            "crash": { "rootfs": "host", "restart": "on-failure:2", "command": ["sh", "-c", "echo run; exit 5"] },
            "short": { "rootfs": "host", "command": ["true"] },
        }}));
        host.wait_status("like", "crash", "failed");
        let crash = host.container("like", "crash");
        assert_eq!((&crash["restarts"], &crash["exitCode"]), (&json!(2), &json!(5)), "{runtime}");
        assert_eq!(host.logs("like/crash"), "run\nrun\nrun\n");
        let short = host.wait_status("like", "short", "exited");
        assert_eq!(short["exitCode"], 0);
        wait_for("readiness", || host.container("like", "web")["ready"] == true);
        let log = host.wait_log("like/web", "out");
        assert!(log.contains("err\n"), "{log}");

        let exec = |args: &[&str]| host.podspec([&["exec", "like/web", "--"], args].concat());
        assert_eq!(
            exec(&["sh", "-c", "pwd; id -u; echo $GREETING"]).success(),
            "/made/here\n33\nhi\n"
        );
        exec(&["sh", "-c", "exit 7"]).fails(7);
        assert!(exec(&["no-such-program"]).fails(127).contains("no-such-program"));
        exec(&["/etc/passwd"]).fails(126);
        let mut piped = host.command(["exec", "-i", "like/web", "--", "cat"]);
        let input = fs::File::open(host.file("input", "of stdin\n")).unwrap();
        piped.stdin(input).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
        let child = host.spawn(&mut piped);
        assert_eq!(host.finish(child).success(), "of stdin\n");

        // What bounds it is there, and it is in there.
        let pid = host.container("like", "web")["pid"].clone();
        let id = host.inspect("like")["id"].as_str().unwrap().to_owned();
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        for kind in ["0::", ":memory:", ":pids:"] {
            let line = cgroups.lines().find(|line| line.contains(kind));
            assert!(
                line.is_none_or(|line| line.ends_with(&format!("/podspec/{id}/web"))),
                "{cgroups}"
            );
        }
        let stats: Value =
            serde_json::from_str(&host.podspec(["stats", "--format", "json", "like"]).success())
                .unwrap();
        assert!(stats.to_string().contains("67108864"), "{stats}");

        host.podspec(["stop", "like/web"]).success();
        let web = host.container("like", "web");
        assert_eq!((&web["status"], &web["exitCode"]), (&json!("stopped"), &json!(3)), "{runtime}");
        assert!(host.logs("like/web").ends_with("asked\n"));
        host.podspec(["start", "like/web"]).success();
        assert_eq!(exec(&["echo", "again"]).success(), "again\n");
        host.podspec(["kill", "-s", "KILL", "like/web"]).success();
        assert_eq!(host.wait_status("like", "web", "failed")["exitCode"], 137);
        host.down("like");
        host.assert_clean();
    }
}

/// The walls are the document's, whoever builds them.
#[test]
fn the_walls_are_the_same() {
    let Some(host) = Host::new() else { return };
    let look = "exec 2>&1; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid)' /proc/self/status; umask; \
                ls /proc/self/fd | wc -l; cat /proc/kcore 2>&1 | head -c1 | wc -c; \
                mount -t tmpfs none /mnt 2>&1 | grep -c permi; echo x > /proc/sys/kernel/core_pattern 2>/dev/null; echo $?; \
                ls /sys/firmware | wc -l; keyctl show 2>/dev/null | wc -l; env | sort | grep -v ^HOSTNAME; \
                perl -e 'for (@ARGV) { syscall($_, 1, 1, 1, 1, 1); print $!+0, qq(\\n) }' $CALLS";
    // Who lets them pass has them fail by what they are given, EFAULT or EINVAL, if the kernel looks at that first.
    let calls = [
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
    ];
    let calls = calls.map(|call| call.to_string()).join(" ");
    let one = |runtime: &str| json!({ "rootfs": "host", "runtime": runtime, "command": ["sh", "-c", look], "env": { "A": "1", "CALLS": calls } });
    host.up(&json!({ "name": "walls", "containers": {
        "embedded": one("embedded"), "crun": one("crun"), "runc": one("runc") } }));
    for name in ["embedded", "crun", "runc"] {
        host.wait_status("walls", name, "exited");
    }
    let ours = host.logs("walls/embedded");
    assert!(ours.contains("NoNewPrivs:\t1") && ours.contains("Seccomp:\t2"), "{ours}");
    assert!(ours.ends_with(&"1\n".repeat(7)), "EPERM: {ours}");
    for runtime in OTHERS {
        assert_eq!(host.logs(&format!("walls/{runtime}")), ours, "{runtime}");
    }
    // Of the filter that was written down, too.
    for name in ["embedded", "crun", "runc"] {
        host.podspec(["start", &format!("walls/{name}")]).success();
        wait_for("its second end", || host.logs(&format!("walls/{name}")) == ours.repeat(2));
    }
    host.down("walls");
    host.assert_clean();
}

#[test]
fn a_terminal_comes_through_another_runtime() {
    let Some(host) = Host::new() else { return };
    for runtime in OTHERS {
        host.up(
            &json!({ "name": "tty", "containers": { "web": { "rootfs": "host", "runtime": runtime,
            "tty": true, "stdin": true, "command": ["sh", "-c", "tty; exec sleep infinity"] } } }),
        );
        host.wait_log("tty/web", "/dev/pts/0");
        let command = format!(
            "script -qec '{} --run {} --root {} exec -t tty/web -- tty' /dev/null < /dev/null",
            env!("CARGO_BIN_EXE_podspec"),
            host.run_dir().display(),
            host.data().display()
        );
        assert!(host.sh(&command).success().contains("/dev/pts/"), "{runtime}");
        host.down("tty");
        host.assert_clean();
    }
}

#[test]
fn a_runtime_that_cannot_is_told_and_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let up = |runtime: &str, command: &[&str]| {
        let file = host.pod(&json!({ "name": "bad", "containers": {
            "ok": { "rootfs": "host", "command": ["sleep", "infinity"] },
            "web": { "rootfs": "host", "runtime": runtime, "command": command } } }));
        let told = host.podspec(["up", "-d", &file]);
        host.assert_clean();
        told
    };
    let told = up("no-such-runtime", &["true"]).fails(2);
    assert!(
        told.contains("there is no program `no-such-runtime`") && told.contains("P0800"),
        "{told}"
    );
    let told = up("/bin/false", &["true"]).fails(1);
    assert!(told.contains("`/bin/false create`: exit code 1"), "{told}");
    for runtime in OTHERS {
        let told = up(runtime, &["/no/such/program"]).fails(1);
        assert!(told.contains("/no/such/program") && told.contains("create web"), "{told}");
    }
    // One that says it has made a container and has not.
    let liar = host.file("liar", "#!/bin/sh\nexit 0\n");
    host.sh(&format!("chmod +x {}", liar.display())).success();
    let told = up(liar.to_str().unwrap(), &["true"]).fails(1);
    assert!(told.contains("liar create`: it has made no process"), "{told}");
}

/// kill -9 of the supervisor at any moment: `down` leaves nothing, of the runtime's neither.
#[test]
fn a_crash_leaves_nothing_of_another_runtimes() {
    let Some(host) = Host::new() else { return };
    let sleeper = |runtime: &str| json!({ "rootfs": "host", "runtime": runtime, "command": ["sleep", "infinity"] });
    let file = host.pod(&json!({ "name": "crash", "containers": {
        "a": sleeper("crun"), "b": sleeper("runc"), "c": sleeper("crun") } }));
    let mut random = crate::random::Random::new(17);
    for _ in 0..10 {
        let up = host.start_podspec(["up", "-d", &file]);
        let moment = std::time::Duration::from_micros(random.below(150_000) as u64);
        std::thread::sleep(moment);
        for pid in host.pids_of("podspec __supervise") {
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = host.finish(up);
        host.podspec(["down", "crash"]).success();
        host.assert_clean();
    }
    // One that runs lives on without its supervisor, and `down` finds it.
    host.podspec(["up", "-d", &file]).success();
    host.kill(&json!(host.pid_of("podspec __supervise")), "KILL");
    wait_for("the supervisor's end", || host.pids_of("podspec __supervise").is_empty());
    assert_eq!(host.pids_of("sleep infinity").len(), 3);
    host.down("crash");
    host.assert_clean();
}

/// What `podspec bundle` writes another runtime runs by itself, with what is not in the root.
#[test]
fn bundles_run_without_podspec() {
    let Some(host) = Host::new() else { return };
    // crun fails where v2 is mounted beside v1 and has no controllers.
    host.sh("umount -l /sys/fs/cgroup/unified 2>/dev/null; true").success();
    let root =
        root_directory(&host, "root", &["/bin/sh", "/bin/cat", "/usr/bin/id", "/usr/bin/stat"]);
    let script = "id -u; cat /proc/sys/kernel/hostname /conf/a.txt /proc/sys/net/ipv4/ip_default_ttl; \
                  echo kept > /data/file; echo gone > /mem/file; stat -c '%u %a' / /data";
    let file = host.pod(&json!({
        "name": "bundled", "share": ["+user"],
        "userns": { "uids": ["0:100000:65536"], "gids": ["0:100000:65536"] },
        "volumes": { "data": {}, "conf": { "files": { "a.txt": "text\n" } }, "mem": { "tmpfs": "1Mi" } },
        "sysctls": { "net.ipv4.ip_default_ttl": "33" },
        "secrets": { "password": { "file": "./password" } },
        "containers": {
            "web": { "rootfs": root, "command": ["/bin/sh", "-c", script], "secrets": ["password"],
                "volumes": ["data:/data", "conf:/conf:ro", "mem:/mem"], "env": { "PATH": "/bin:/usr/bin" } },
            "host": { "rootfs": "host", "command": ["true"] },
        },
    }));
    host.file("password", "hunter3");
    let out = host.dir.join("out");
    let bundle = || host.podspec(["bundle", "--format", "json", &file, out.to_str().unwrap()]);
    let written: Value = serde_json::from_str(&bundle().success()).unwrap();
    let notes = written.to_string();
    assert!(notes.contains("/run/secrets/password is left out"), "{notes}");
    assert!(notes.contains("its root is this machine's own"), "{notes}");
    // Nobody needs to be root to pass the directories of the test.
    host.sh(&format!("chmod 755 {0} {0}/..", host.dir.display())).success();
    for runtime in OTHERS {
        let run = format!(
            "{runtime} --root {} run --bundle {}/web of-{runtime}",
            host.dir.join(runtime).display(),
            out.display()
        );
        let said = host.sh(&run).success();
        assert_eq!(said, "0\nbundled\ntext\n33\n0 755\n0 755\n", "{runtime}");
        assert_eq!(fs::read_to_string(out.join("volumes/data/file")).unwrap(), "kept\n");
        fs::remove_file(out.join("volumes/data/file")).unwrap();
    }
    let text = host.sh(&format!("grep -r hunter3 {} | wc -l", out.display())).success();
    assert_eq!(text.trim(), "0", "a secret was written");
    assert!(bundle().fails(2).contains("is there already"));
    let httpd = host.example("httpd");
    let missing = host.podspec(["bundle", &httpd, out.to_str().unwrap()]).fails(1);
    assert!(missing.contains(&format!("`podspec pull {httpd}` fetches them")), "{missing}");
    host.assert_clean();
}
