//! One container: what its process is given, how it ends and begins again, what is kept of its output,
//! and commands run beside it.

use crate::host::{Host, Outcome, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// A pod `p` with one container `c`, whose fields are merged over `rootfs: host`.
fn pod(container: Value) -> Value {
    let mut fields = json!({ "rootfs": "host" });
    fields.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    json!({ "name": "p", "containers": { "c": fields } })
}

fn sh(script: &str) -> Value {
    json!({ "command": ["sh", "-c", script] })
}

/// `sh` with more fields.
fn sh_with(script: &str, more: &Value) -> Value {
    let mut fields = sh(script);
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fields
}

/// What the container prints before it ends with 0.
fn output(host: &Host, container: Value) -> String {
    host.up(&pod(container));
    let ended = wait_some("the end of p/c", || {
        Some(host.container("p", "c"))
            .filter(|c| c["status"] == "exited" || c["status"] == "failed")
    });
    // Without the prefix of the container's name, if there is one.
    let text = host.logs("p/c");
    assert_eq!(ended["exitCode"], 0, "{text}");
    host.down("p");
    text
}

fn exec(host: &Host, command: &[&str]) -> Outcome {
    host.podspec(["exec", "p/c", "--"].iter().chain(command))
}

/// The value of a line `Name:\tvalue` of /proc/PID/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.split_once(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).1.trim()
}

#[test]
fn the_environment_is_the_files_and_no_more() {
    let Some(host) = Host::new() else { return };
    let env = host.file("more.env", "FROM_FILE=1\n# no\nQUOTED=\"a b\"\nA=file\n");
    let fields = json!({ "env": { "A": 1, "DOLLAR": "$HOME" }, "envFile": [env] });
    let text = output(&host, sh_with("env", &fields));
    for line in ["A=1", "DOLLAR=$HOME", "FROM_FILE=1", "QUOTED=a b"] {
        assert!(text.lines().any(|found| found.ends_with(line)), "no {line} in\n{text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("CARGO"), "{text}");
    host.assert_clean();
}

#[test]
fn a_process_is_who_the_file_says() {
    let Some(host) = Host::new() else { return };
    let ids = "id -u; id -g; id -G; umask; pwd";
    for (fields, expected) in [
        (json!({}), "0 0 0 0022 /"),
        (json!({ "user": "1000:1001", "groups": [1002] }), "1000 1001 1001 1002 0022 /"),
        (json!({ "user": 54321, "workingDir": "/usr/bin" }), "54321 0 0 0022 /usr/bin"),
        (json!({ "user": "daemon" }), "1 1 1 0022 /"),
        (json!({ "user": "daemon:sys" }), "1 3 3 0022 /"),
    ] {
        let text = output(&host, sh_with(ids, &fields));
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words.join(" "), expected, "{fields}");
    }
    host.assert_clean();
}

#[test]
fn privileges_are_podmans_defaults() {
    let Some(host) = Host::new() else { return };
    let status = output(&host, sh("cat /proc/self/status"));
    for (name, value) in [
        ("CapEff", "00000000800405fb"),
        ("CapPrm", "00000000800405fb"),
        ("CapBnd", "00000000800405fb"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("SigBlk", "0000000000000000"),
        ("SigIgn", "0000000000000000"),
    ] {
        assert_eq!(field(&status, name), value, "{name}");
    }
    let status = output(&host, sh_with("cat /proc/self/status", &json!({ "user": 1000 })));
    assert_eq!(field(&status, "CapEff"), "0000000000000000");
    assert_eq!(field(&status, "CapPrm"), "0000000000000000");
    host.assert_clean();
}

#[test]
fn kernel_paths_are_masked_or_read_only() {
    let Some(host) = Host::new() else { return };
    let text = output(
        &host,
        sh("for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /sys/firmware; do
              [ ! -e $path ] || [ -z \"$(head -c 1 $path 2>/dev/null; ls -A $path 2>/dev/null | grep -v ^/proc)\" ] ||
                echo \"open $path\"
            done
            for path in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/irq/x /sys/x /proc/bus/x; do
              if sh -c \"echo x > $path\" 2>/dev/null; then echo \"writable $path\"; fi
            done
            echo done"),
    );
    assert!(
        text.contains("done") && !text.contains("open") && !text.contains("writable"),
        "{text}"
    );
    host.assert_clean();
}

#[test]
fn dev_is_fresh_and_complete() {
    let Some(host) = Host::new() else { return };
    let text = output(
        &host,
        sh("for name in null zero full random urandom tty; do [ -c /dev/$name ] || echo missing $name; done
            for name in fd stdin stdout stderr ptmx; do [ -L /dev/$name ] || [ -c /dev/$name ] || echo missing $name; done
            for dir in pts shm mqueue; do grep -q \" /dev/$dir \" /proc/self/mounts || echo missing $dir; done
            echo x > /dev/null && head -c 4 /dev/zero | wc -c
            ls /dev/vda /dev/sda /dev/mem 2>/dev/null; echo done"),
    );
    assert!(!text.contains("missing") && !text.contains("/dev/"), "{text}");
    assert!(text.contains("done"), "{text}");
    host.assert_clean();
}

#[test]
fn volumes_are_where_the_file_says() {
    let Some(host) = Host::new() else { return };
    let file = host.file("bound/text", "bound");
    let folder = file.parent().unwrap();
    host.up(&json!({
        "name": "p",
        "volumes": { "kept": {}, "memory": { "tmpfs": "1Mi" }, "scratch": { "emptyDir": {} },
                     "texts": { "files": { "a.txt": "text a" } } },
        "containers": { "c": { "rootfs": "host", "command": ["sleep", "infinity"], "volumes": [
            "kept:/data/kept", "memory:/data/memory", "scratch:/data/scratch", "texts:/data/texts:ro",
            format!("{}:/data/bound:ro", folder.display()),
        ] } },
    }));
    assert_eq!(
        exec(&host, &["cat", "/data/texts/a.txt", "/data/bound/text"]).success(),
        "text abound"
    );
    for name in ["kept", "memory", "scratch"] {
        exec(&host, &["sh", "-c", &format!("echo here > /data/{name}/f")]).success();
    }
    for name in ["texts", "bound"] {
        let write = exec(&host, &["sh", "-c", &format!("echo no > /data/{name}/f")]);
        assert_ne!(write.code, Some(0), "{name} is writable");
    }
    let mounts = exec(&host, &["grep", " /data/memory ", "/proc/self/mounts"]).success();
    assert!(mounts.contains("tmpfs") && mounts.contains("size=1024k"), "{mounts}");
    host.down("p");
    host.assert_clean();
    // What is persistent stays until it is asked to go.
    let kept = host.data().join("volumes/p/kept/f");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "here\n");
    host.podspec(["down", "--volumes", "p"]);
    assert!(!kept.exists(), "down --volumes left {}", kept.display());
}

#[test]
fn a_root_directory_is_never_written() {
    let Some(host) = Host::new() else { return };
    let script =
        "echo new > /etc/podspec-was-here; rm -f /etc/debian_version; cat /etc/podspec-was-here";
    assert!(output(&host, sh(script)).contains("new"));
    assert!(!std::path::Path::new("/etc/podspec-was-here").exists());
    assert!(std::path::Path::new("/etc/debian_version").exists());
    host.assert_clean();
}

#[test]
fn siblings_find_each_other_by_name() {
    let Some(host) = Host::new() else { return };
    let mut two = pod(json!({ "command": ["sleep", "infinity"] }));
    two["hosts"] = json!({ "elsewhere": "192.0.2.7" });
    two["containers"]["other"] = two["containers"]["c"].clone();
    host.up(&two);
    let hosts = exec(&host, &["cat", "/etc/hosts"]).success();
    for name in ["localhost", "c", "other", "elsewhere"] {
        assert!(hosts.split_whitespace().any(|word| word == name), "no {name} in\n{hosts}");
    }
    assert_eq!(exec(&host, &["cat", "/etc/hostname"]).success().trim(), "p");
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_failing_container_is_restarted_as_often_as_allowed() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(sh_with("echo run; exit 3", &json!({ "restart": "on-failure:2" }))));
    let ended = host.wait_status("p", "c", "failed");
    assert_eq!((&ended["exitCode"], &ended["restarts"]), (&json!(3), &json!(2)), "{ended}");
    assert_eq!(host.logs("p/c").matches("run").count(), 3);
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_root_is_never_flushed_and_outlives_its_container() {
    let Some(host) = Host::new() else { return };
    let script = "cat /root-was 2>/dev/null; echo written >> /root-was; grep ' / ' /proc/self/mounts; exit 3";
    host.up(&pod(sh_with(script, &json!({ "restart": "on-failure:1" }))));
    host.wait_status("p", "c", "failed");
    let said = host.logs("p/c");
    assert_eq!(said.matches("volatile").count(), 2, "both runs: {said}");
    assert_eq!(
        said.matches("written").count(),
        1,
        "the second run sees what the first wrote: {said}"
    );
    host.down("p");
    host.assert_clean();
}

#[test]
fn restarts_back_off() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(sh_with("exit 0", &json!({ "restart": "always" }))));
    std::thread::sleep(Duration::from_secs(2));
    // 10 ms doubling: the seventh restart is due after 1.3 s, the eighth after 2.6 s.
    let restarts = host.container("p", "c")["restarts"].as_u64().unwrap();
    assert!((5..=8).contains(&restarts), "{restarts} restarts in 2 s");
    let begin = Instant::now();
    host.down("p");
    assert!(begin.elapsed() < Duration::from_secs(3), "down waited for a restart");
    host.assert_clean();
}

#[test]
fn the_first_process_may_not_outlive_the_container() {
    let Some(host) = Host::new() else { return };
    let mut shared = pod(sh("sleep 7654 & exit 0"));
    shared["share"] = json!(["+pid"]);
    host.up(&shared);
    host.wait_status("p", "c", "exited");
    let left: Vec<_> =
        host.processes().into_iter().filter(|(_, what)| what.contains("7654")).collect();
    assert!(left.is_empty(), "{left:?}");
    host.down("p");
    host.assert_clean();
}

#[test]
fn stopping_asks_first() {
    let Some(host) = Host::new() else { return };
    let script = "trap 'echo bye; exit 0' USR1; echo ready; while :; do sleep 0.05; done";
    host.up(&pod(sh_with(script, &json!({ "stopSignal": "SIGUSR1" }))));
    host.wait_log("p/c", "ready");
    host.down("p");
    let log = fs::read_to_string(host.data().join("logs/p/c.log")).unwrap();
    assert!(log.contains("bye"), "{log}");
    host.assert_clean();
}

#[test]
fn stopping_does_not_ask_for_ever() {
    let Some(host) = Host::new() else { return };
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    host.up(&pod(sh_with(script, &json!({ "stopTimeout": "1s" }))));
    host.wait_log("p/c", "ready");
    let begin = Instant::now();
    host.down("p");
    let took = begin.elapsed();
    assert!((1.0..4.0).contains(&took.as_secs_f32()), "{took:?}");
    host.assert_clean();
}

#[test]
fn a_first_process_that_cannot_hear_is_not_waited_for() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    let begin = Instant::now();
    host.down("p");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    host.assert_clean();
}

#[test]
fn a_container_waits_for_what_it_depends_on() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({
        "name": "p",
        "volumes": { "v": { "emptyDir": {} } },
        "containers": {
            "web": { "rootfs": "host", "command": ["cat", "/v/migrated"], "volumes": ["v:/v"],
                     "dependsOn": { "migrate": "completed" } },
            "migrate": { "rootfs": "host", "volumes": ["v:/v"],
                         "command": ["sh", "-c", "sleep 0.5; echo migrated > /v/migrated"] },
        },
    }));
    host.wait_log("p/web", "migrated");
    assert_eq!(host.wait_status("p", "web", "exited")["exitCode"], 0);
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_container_never_starts_when_what_it_depends_on_fails() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&json!({ "name": "p", "containers": {
        "web": { "rootfs": "host", "command": ["echo", "started"], "dependsOn": { "migrate": "completed" } },
        "migrate": { "rootfs": "host", "command": ["sh", "-c", "sleep 0.2; exit 4"] },
    }}));
    host.podspec(["up", "-d", &file]);
    assert_eq!(host.wait_status("p", "migrate", "failed")["exitCode"], 4);
    let web = host.container("p", "web");
    assert!(
        web["pid"].is_null() && web["status"] != "running" && web["status"] != "exited",
        "{web}"
    );
    host.down("p");
    host.assert_clean();
}

/// The numbers of lines `line N`, in order.
fn numbers(log: &str) -> Vec<u64> {
    let number = |line: &str| line.rsplit_once("line ")?.1.trim().parse().ok();
    log.lines().filter_map(number).collect()
}

#[test]
fn logs_are_whole_and_in_order() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(sh(
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo err >&2",
    )));
    host.wait_status("p", "c", "exited");
    let log = host.logs("p/c");
    assert_eq!(numbers(&log), (0..20000).collect::<Vec<_>>());
    assert!(log.contains("err") || host.podspec(["logs", "p/c"]).stderr.contains("err"));
    let tail = host.podspec(["logs", "--tail", "3", "p/c"]);
    assert_eq!((tail.stdout + &tail.stderr).lines().count(), 3);
    let stamped = host.podspec(["logs", "--tail", "1", "--timestamps", "p/c"]);
    let stamped = stamped.stdout + &stamped.stderr;
    assert!(stamped.contains('T') && stamped.contains(':') && stamped.contains("err"), "{stamped}");
    let since = host.podspec(["logs", "--since", "1h", "p/c"]).success();
    assert!(numbers(&since).len() == 20000);
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_last_line_without_its_end_is_kept() {
    let Some(host) = Host::new() else { return };
    assert!(output(&host, sh("printf 'no newline'")).contains("no newline"));
    host.assert_clean();
}

#[test]
fn logs_are_bounded() {
    let Some(host) = Host::new() else { return };
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    host.up(&pod(sh_with(script, &json!({ "logs": { "maxSize": "20Ki", "maxFiles": 3 } }))));
    host.wait_status("p", "c", "exited");
    let files = fs::read_dir(host.data().join("logs/p")).unwrap().flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with("c.log"));
    let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.len() <= 3 && sizes.iter().sum::<u64>() <= 3 * 21 * 1024, "{sizes:?}");
    let kept = numbers(&host.logs("p/c"));
    assert_eq!(kept.last(), Some(&19999));
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole between two files");
    host.down("p");
    host.assert_clean();
}

#[test]
fn logs_can_be_followed() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(sh("for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done")));
    let followed = host.finish(host.start_podspec(["logs", "-f", "p/c"])).success();
    assert_eq!(numbers(&followed), [1, 2, 3, 4, 5]);
    host.down("p");
    host.assert_clean();
}

#[test]
fn exec_ends_as_its_program_does() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    exec(&host, &["true"]).success();
    exec(&host, &["sh", "-c", "exit 7"]).fails(7);
    exec(&host, &["/etc/passwd"]).fails(126);
    exec(&host, &["/no/such/program"]).fails(127);
    exec(&host, &["no-such-program"]).fails(127);
    for nobody in ["p/nobody", "nobody/c"] {
        host.podspec(["exec", nobody, "--", "true"]).fails(125);
    }
    let both = exec(&host, &["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    host.down("p");
    host.podspec(["exec", "p/c", "--", "true"]).fails(125);
    host.assert_clean();
}

#[test]
fn exec_is_inside_in_every_way() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"], "env": { "A": "1" } })));
    let pid = host.container("p", "c")["pid"].clone();
    let look = "for n in net uts ipc pid mnt cgroup user; do readlink /proc/self/ns/$n; done; \
                cat /proc/self/cgroup; env; cat /proc/self/status";
    let inside = exec(&host, &["sh", "-c", look]).success();
    for kind in ["net", "uts", "ipc", "pid", "mnt", "cgroup", "user"] {
        let namespace = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert!(inside.contains(namespace.to_str().unwrap()), "not in the container's {kind}");
    }
    assert!(inside.contains("A=1") && !inside.contains("hunter2"), "{inside}");
    assert_eq!(field(&inside, "CapEff"), "00000000800405fb");
    assert_eq!(field(&inside, "CapInh"), "0000000000000000");
    assert_eq!(field(&inside, "NoNewPrivs"), "1");
    host.down("p");
    host.assert_clean();
}

#[test]
fn exec_is_in_the_containers_cgroup() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    let mut inside = host.start_podspec(["exec", "p/c", "--", "sleep", "7654"]);
    let cgroup = |what: &str| {
        let found = host.processes().into_iter().find(|(_, command)| command.trim() == what)?;
        fs::read_to_string(format!("/proc/{}/cgroup", found.0)).ok().map(|text| {
            text.lines().find(|line| line.starts_with("0::")).unwrap_or_default().to_owned()
        })
    };
    let executed = wait_some("exec's process", || cgroup("sleep 7654"));
    assert_eq!(Some(executed), cgroup("sleep infinity"));
    host.down("p");
    inside.wait().unwrap();
    host.assert_clean();
}

#[test]
fn exec_can_have_a_terminal_of_the_container() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    let (run, data) = (host.run_dir().display().to_string(), host.data().display().to_string());
    let podspec = format!("{} --run {run} --root {data}", env!("CARGO_BIN_EXE_podspec"));
    let script = format!("script -qec '{podspec} exec -it p/c -- sh -c \"tty; exit 5\"' /dev/null");
    let outcome = host.sh(&script);
    assert!(outcome.stdout.contains("/dev/pts/0"), "{outcome}");
    assert_eq!(outcome.code, Some(5), "{outcome}");
    let without = exec(&host, &["tty"]);
    assert!(without.stdout.contains("not a tty"), "{without}");
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_second_up_changes_nothing() {
    let Some(host) = Host::new() else { return };
    let file = host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    let before = host.inspect("p");
    let said = host.podspec(["up", "-d", &file]);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(!(said.stdout + &said.stderr).is_empty(), "it does not say so");
    assert_eq!(host.inspect("p"), before);
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_second_up_starts_what_failed_and_nothing_else() {
    let Some(host) = Host::new() else { return };
    let mut two = pod(json!({ "command": ["sleep", "infinity"] }));
    two["containers"]["bad"] =
        json!({ "rootfs": "host", "command": ["sh", "-c", "echo run; exit 1"] });
    let file = host.up(&two);
    host.wait_status("p", "bad", "failed");
    let before = host.container("p", "c");
    host.podspec(["up", "-d", &file]).success();
    wait_for("a second run of p/bad", || host.logs("p/bad").matches("run").count() == 2);
    assert_eq!(host.container("p", "c"), before);
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_changed_file_asks_before_it_recreates() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    let before = host.inspect("p");
    let file = host.pod(&pod(json!({ "command": ["sleep", "7654"] })));
    let refused = host.podspec(["up", "-d", &file]);
    assert_ne!(refused.code, Some(0), "{refused}");
    let said = refused.stdout + &refused.stderr;
    assert!(said.contains("--recreate") && said.contains("command"), "{said}");
    assert_eq!(host.inspect("p"), before);
    host.podspec(["up", "-d", "--recreate", &file]).success();
    assert!(host.processes().iter().any(|(_, command)| command.trim() == "sleep 7654"));
    host.down("p");
    host.assert_clean();
}

#[test]
fn up_in_front_ends_with_the_code_of_what_failed() {
    let Some(host) = Host::new() else { return };
    let mut two = pod(sh("echo one line; exit 0"));
    let in_front = |pod: &Value| host.podspec(["up", &host.pod(pod)]);
    let outcome = in_front(&two);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stdout.contains("one line") && outcome.stdout.contains('c'), "{outcome}");
    host.assert_clean();
    two["containers"]["bad"] = json!({ "rootfs": "host", "command": ["sh", "-c", "exit 9"] });
    assert_eq!(in_front(&two).code, Some(9));
    host.assert_clean();
    // The last container of this pod ends by never starting.
    two["containers"]["never"] = json!({
        "rootfs": "host", "command": ["true"], "dependsOn": { "bad": "completed" }
    });
    assert_eq!(in_front(&two).code, Some(9));
    host.assert_clean();
}

#[test]
fn a_missing_program_is_told_with_the_rootfs_as_the_file_has_it() {
    let Some(host) = Host::new() else { return };
    let mut wrong = pod(sh(""));
    wrong["containers"]["c"]["command"] = json!(["/bin/no-such-program"]);
    let said = host.podspec(["up", "-d", &host.pod(&wrong)]);
    assert_eq!(said.code, Some(1), "{said}");
    let expected = "c: no such file in the rootfs host: /bin/no-such-program";
    assert!(said.stderr.contains(expected), "{said}");
    host.assert_clean();
}

#[test]
fn ctrl_c_ends_the_pod_as_down_does() {
    let Some(host) = Host::new() else { return };
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let file = host.pod(&pod(sh("echo ready; exec sleep infinity")));
        let client = host.start_podspec(["up", &file]);
        host.wait_log("p/c", "ready");
        // The pid that `kill` knows is the host's, not the one that this test sees.
        let inner =
            host.processes().into_iter().find(|(_, command)| command.contains(" up /")).unwrap().0;
        host.kill(&json!(inner), signal);
        host.finish(client);
        wait_for("the end of the pod", || host.leftovers().is_empty());
    }
    host.assert_clean();
}

#[test]
fn a_program_that_is_not_there_undoes_all_and_names_itself() {
    let Some(host) = Host::new() else { return };
    let mut two = pod(json!({ "command": ["sleep", "infinity"] }));
    two["containers"]["web"] =
        json!({ "rootfs": "host", "command": ["/bin/htpd"], "dependsOn": ["c"] });
    let error = host.podspec(["up", "-d", &host.pod(&two)]).fails(1);
    assert!(error.contains("web") && error.contains("/bin/htpd"), "{error}");
    host.assert_clean();
}

#[test]
fn a_mistake_in_the_file_touches_nothing() {
    let Some(host) = Host::new() else { return };
    let file = host.file("bad.yaml", "name: p\nports: [8080:80]\ncontianers: {}\n");
    let error = host.podspec(["up", "-d", file.to_str().unwrap()]).fails(2);
    assert!(error.contains("contianers") && error.contains("containers"), "{error}");
    assert!(!host.run_dir().exists() && !host.data().exists());
    host.assert_clean();
}

#[test]
fn ps_and_inspect_agree() {
    let Some(host) = Host::new() else { return };
    host.up(&pod(json!({ "command": ["sleep", "infinity"] })));
    let pod = host.inspect("p");
    assert_eq!((&pod["name"], &pod["status"]), (&json!("p"), &json!("running")));
    let comm = |pid: &Value| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm(&pod["containers"][0]["pid"]), "sleep\n");
    assert!(comm(&pod["supervisor"]["pid"]).starts_with("podspec"));
    assert!(fs::metadata(format!("/proc/{}", pod["infra"]["pid"])).is_ok());
    let listed = host.podspec(["ps"]).success();
    assert!(listed.contains('p') && listed.contains("running"), "{listed}");
    let listed: Value =
        serde_json::from_str(&host.podspec(["ps", "--format", "json"]).success()).unwrap();
    assert!(listed.to_string().contains("\"p\""), "{listed}");
    host.down("p");
    host.assert_clean();
}

#[test]
fn the_default_directories_are_used() {
    let Some(host) = Host::new() else { return };
    // A tmpfs hides the machine's own, which is not to have a directory more; a pod without layers needs no disk.
    host.sh("mount -t tmpfs lib /var/lib").success();
    let outcome = host.finish(host.start(Command::new(env!("CARGO_BIN_EXE_podspec")).arg("ps")));
    outcome.success();
    host.sh("umount /var/lib").success();
}
