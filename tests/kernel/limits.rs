//! What the kernel bounds: ulimits, oom scores, /dev/shm, sysctls, devices. Each is read where it holds, of the first
//! process, of one that came later, and of one that was started again.

use crate::host::{Host, wait_some};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// (soft, hard) of a live process by its name in /proc/PID/limits.
fn limit(pid: &Value, name: &str) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let mut words = line[name.len()..].split_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

fn words(soft: impl ToString, hard: impl ToString) -> (String, String) {
    (soft.to_string(), hard.to_string())
}

fn hard_nofile() -> u64 {
    nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap().1
}

/// Ends the container's program and gives its pid once it runs again.
fn after_restart(host: &Host, pod: &str, container: &str) -> Value {
    let before = host.container(pod, container)["pid"].clone();
    host.kill(&before, "KILL");
    wait_some("the restart", || {
        let now = host.container(pod, container);
        Some(now["pid"].clone()).filter(|pid| pid.is_i64() && *pid != before)
    })
}

#[test]
fn ulimits_hold_for_the_first_process_a_later_one_and_one_started_again() {
    let Some(host) = Host::new() else { return };
    let ulimits = json!({ "nofile": { "soft": 512, "hard": 1024 }, "stack": 1048576, "nproc": 99 });
    let sleep = json!(["sleep", "infinity"]);
    host.up(&json!({ "name": "web", "restart": "always", "containers": {
        "bound": { "rootfs": "host", "command": sleep, "user": 1000, "ulimits": ulimits },
        "plain": { "rootfs": "host", "command": sleep },
    }}));
    let check = |pid: &Value| {
        assert_eq!(limit(pid, "Max open files"), words(512, 1024));
        assert_eq!(limit(pid, "Max stack size"), words(1_048_576, 1_048_576));
        assert_eq!(limit(pid, "Max processes"), words(99, 99));
    };
    check(&host.container("web", "bound")["pid"]);
    let asked = ["exec", "web/bound", "--", "sh", "-c", "ulimit -n; ulimit -Hn; ulimit -s"];
    assert_eq!(host.podspec(asked).success(), "512\n1024\n1024\n");
    check(&after_restart(&host, "web", "bound"));
    // Where the file says nothing: many files, and no core file.
    let plain = &host.container("web", "plain")["pid"];
    let files = hard_nofile().min(524_288);
    assert_eq!(limit(plain, "Max open files"), words(files, files));
    assert_eq!(limit(plain, "Max core file size"), words(0, 0));
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_ulimit_above_the_callers_own_is_refused_at_its_place() {
    let Some(host) = Host::new() else { return };
    let most = hard_nofile();
    let file = host.pod(&json!({ "name": "web", "containers": { "c": {
        "rootfs": "host", "command": ["true"], "ulimits": { "nofile": most + 1 },
    }}}));
    for command in [&["up", "-d", &file][..], &["plan", &file]] {
        let error = host.podspec(command).fails(2);
        assert!(error.contains("\"nofile\"") && error.contains(&most.to_string()), "{error}");
    }
    host.assert_clean();
}

#[test]
fn an_oom_score_is_the_files_and_lowered_only_by_who_may() {
    let Some(host) = Host::new() else { return };
    let pod = |score: i32| {
        json!({ "name": "web", "restart": "always", "containers": { "c": {
            "rootfs": "host", "command": ["sleep", "infinity"], "oomScoreAdj": score } } })
    };
    host.up(&pod(500));
    let score = |pid: &Value| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(&host.container("web", "c")["pid"]), "500\n");
    let inside = ["exec", "web/c", "--", "cat", "/proc/self/oom_score_adj"];
    assert_eq!(host.podspec(inside).success(), "500\n");
    assert_eq!(score(&after_restart(&host, "web", "c")), "500\n");
    host.down("web");
    // Below our own: with CAP_SYS_RESOURCE alone.
    let may = host.sh("grep CapEff /proc/self/status").success();
    let may = u64::from_str_radix(may.split_whitespace().nth(1).unwrap(), 16).unwrap() >> 24 & 1;
    let file = host.pod(&pod(-500));
    let lowered = host.podspec(["up", "-d", &file]);
    if may == 1 {
        lowered.success();
        assert_eq!(score(&host.container("web", "c")["pid"]), "-500\n");
        host.down("web");
    } else {
        let error = lowered.fails(2);
        assert!(error.contains("CAP_SYS_RESOURCE") && error.contains("oomScoreAdj"), "{error}");
    }
    host.assert_clean();
}

/// Where memory is out on the machine: who may ask for it (CAP_SYS_RESOURCE) has a supervisor, and an infra, that the
/// kernel ends after others. Programs are what their caller is, by whomever they are started.
#[test]
fn a_supervisor_is_ended_late_and_its_containers_are_as_their_caller() {
    let Some(host) = Host::new() else { return };
    let score = |pid: &Value| {
        fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))
            .unwrap()
            .trim()
            .parse::<i32>()
            .unwrap()
    };
    let own = host.sh("cat /proc/self/oom_score_adj; grep CapEff /proc/self/status").success();
    let words: Vec<&str> = own.split_whitespace().collect();
    let own: i32 = words[0].parse().unwrap();
    let may = u64::from_str_radix(words[2], 16).unwrap() >> 24 & 1 == 1;
    let look = "cat /proc/self/oom_score_adj > /v/probe; test -s /v/probe";
    host.up(
        &json!({ "name": "web", "restart": "always", "volumes": { "v": {} }, "containers": { "c": {
        "rootfs": "host", "command": ["sleep", "infinity"], "volumes": ["v:/v"],
        "readinessProbe": { "exec": ["sh", "-c", look] } } } }),
    );
    host.podspec(["wait", "--for", "ready", "web/c"]).success();
    let pod = host.inspect("web");
    let late = if may { -500 } else { own };
    assert_eq!(pod["supervisor"]["oomScoreAdj"], late);
    assert_eq!([&pod["supervisor"], &pod["infra"]].map(|of| score(&of["pid"])), [late, late]);
    assert_eq!(score(&host.container("web", "c")["pid"]), own);
    let inside = ["exec", "web/c", "--", "cat", "/v/probe", "/proc/self/oom_score_adj"];
    assert_eq!(host.podspec(inside).success(), format!("{own}\n{own}\n"));
    assert_eq!(score(&after_restart(&host, "web", "c")), own);
    host.podspec(["down", "--volumes", "web"]).success();
    host.assert_clean();
}

#[test]
fn shm_size_is_of_the_shared_dev_shm() {
    let Some(host) = Host::new() else { return };
    let sleep = json!(["sleep", "infinity"]);
    host.up(&json!({ "name": "web", "shmSize": "1Mi", "containers": {
        "shared": { "rootfs": "host", "command": sleep },
        "own": { "rootfs": "host", "command": sleep, "namespaces": { "ipc": "private" } },
    }}));
    let kib = |container: &str| {
        let of = format!("web/{container}");
        let shown = host.podspec(["exec", &of, "--", "df", "-k", "--output=size", "/dev/shm"]);
        shown.success().lines().nth(1).unwrap().trim().to_owned()
    };
    assert_eq!((kib("shared").as_str(), kib("own").as_str()), ("1024", "65536"));
    let fill = "head -c 2000000 /dev/zero > /dev/shm/x";
    host.podspec(["exec", "web/shared", "--", "sh", "-c", fill]).fails(1);
    host.down("web");
    host.assert_clean();
}

const SYSCTLS: [(&str, &str); 6] = [
    ("net.core.somaxconn", "77"),
    // Set by podspec too: the file wins.
    ("net.ipv4.ip_unprivileged_port_start", "99"),
    ("net.ipv4.ip_local_port_range", "40000\t50000"),
    ("net.ipv4.conf.eth0.log_martians", "1"),
    ("kernel.shm_rmid_forced", "1"),
    ("fs.mqueue.msg_max", "33"),
];

#[test]
fn sysctls_are_set_in_the_pods_namespaces_and_nowhere_else() {
    let Some(host) = Host::new() else { return };
    let mut sysctls: serde_json::Map<String, Value> = SYSCTLS
        .map(|(name, value)| (name.to_owned(), json!(value.replace('\t', " "))))
        .into_iter()
        .collect();
    sysctls.insert("net/ipv4/tcp_keepalive_time".to_owned(), json!(61));
    let names: Vec<&str> = SYSCTLS.iter().map(|(name, _)| *name).collect();
    let ours: Vec<&str> = names.iter().copied().filter(|name| !name.contains("eth0")).collect();
    let before = host.sh(&format!("sysctl -n {}", ours.join(" "))).success();
    // The program itself finds them: none begins before they are set.
    let read: Vec<String> =
        names.iter().map(|name| format!("/proc/sys/{}", name.replace('.', "/"))).collect();
    let command: Vec<String> =
        ["tail", "-n", "+1", "-q"].map(str::to_owned).into_iter().chain(read).collect();
    host.up(&json!({ "name": "web", "sysctls": sysctls, "containers": {
        "c": { "rootfs": "host", "command": command },
        "own": { "rootfs": "host", "command": ["sleep", "infinity"],
                 "namespaces": { "net": "private", "ipc": "private" } },
    }}));
    host.wait_status("web", "c", "exited");
    let values: String = SYSCTLS.iter().map(|(_, value)| format!("{value}\n")).collect();
    assert_eq!(host.logs("web/c"), values);
    let read = |of: &str, name: &str| {
        host.podspec(["exec", of, "--", "cat", &format!("/proc/sys/{name}")]).success()
    };
    assert_ne!(read("web/own", "net/core/somaxconn"), "77\n");
    assert_ne!(read("web/own", "fs/mqueue/msg_max"), "33\n");
    assert_eq!(host.sh(&format!("sysctl -n {}", ours.join(" "))).success(), before);
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_sysctl_that_the_kernel_refuses_is_named_with_its_value_and_undoes_the_pod() {
    let Some(host) = Host::new() else { return };
    for (name, value, why) in [
        ("net.core.somaxconn", "many", "does not take this value"),
        ("net.ipv4.tcp_mem", "1 2 3", "of the whole machine"),
        ("net.ipv4.conf.eth7.forwarding", "1", "unknown to this kernel"),
        ("kernel.shm_rmid_forced", "7", "does not take this value"),
    ] {
        let mut sysctls = serde_json::Map::new();
        sysctls.insert(name.to_owned(), json!(value));
        let file = host.pod(&json!({ "name": "web", "sysctls": sysctls, "containers": {
            "c": { "rootfs": "host", "command": ["sleep", "infinity"] } } }));
        let error = host.podspec(["up", "-d", &file]).fails(1);
        for word in [name, value, why] {
            assert!(error.contains(word), "{word:?} is not in:\n{error}");
        }
        host.assert_clean();
    }
}

#[test]
fn a_device_is_as_on_the_host_and_no_other_is_there() {
    let Some(host) = Host::new() else { return };
    let devices = host.dir.join("devices");
    let at = |name: &str| devices.join(name).to_str().unwrap().to_owned();
    fs::create_dir(&devices).unwrap();
    host.sh(&format!(
        "mknod -m 640 {0}/zero c 1 5; chown 3:6 {0}/zero; mknod {0}/disk b 7 9",
        devices.display()
    ))
    .success();
    symlink("zero", devices.join("link")).unwrap();
    let list = json!([
        format!("{}:/dev/sub/zero", at("zero")),
        format!("{}:/dev/by-link:rwm", at("link")),
        { "path": at("disk"), "target": "/dev/disk9", "access": "rw" },
    ]);
    host.up(&json!({ "name": "web", "restart": "always", "containers": {
        "c": { "rootfs": "host", "command": ["sleep", "infinity"], "devices": list },
        "plain": { "rootfs": "host", "command": ["sleep", "infinity"] },
    }}));
    let stat = [
        "exec",
        "web/c",
        "--",
        "stat",
        "-c",
        "%F %t:%T %a %u:%g",
        "/dev/sub/zero",
        "/dev/by-link",
        "/dev/disk9",
    ];
    let zero = "character special file 1:5 640 3:6\n";
    let mode = fs::metadata(devices.join("disk")).unwrap().permissions().mode() & 0o777;
    let all = format!("{zero}{zero}block special file 7:9 {mode:o} 0:0\n");
    assert_eq!(host.podspec(stat).success(), all);
    let read = ["exec", "web/c", "--", "sh", "-c", "head -c 3 /dev/sub/zero | od -An -tx1"];
    assert_eq!(host.podspec(read).success(), " 00 00 00\n");
    after_restart(&host, "web", "c");
    host.wait_status("web", "c", "running");
    assert_eq!(host.podspec(stat).success(), all);
    let nodes = [
        "exec",
        "web/plain",
        "--",
        "sh",
        "-c",
        "find /dev -xdev -type b -o -xdev -type c | sort | xargs",
    ];
    let standard = "/dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero\n";
    assert_eq!(host.podspec(nodes).success(), standard);
    // What the container does to its node is not done to the host's.
    host.podspec(["exec", "web/c", "--", "chmod", "777", "/dev/sub/zero"]).success();
    assert_eq!(fs::metadata(devices.join("zero")).unwrap().mode() & 0o777, 0o640);
    host.podspec(["exec", "web/c", "--", "mknod", "/tmp/disk", "b", "7", "0"]).fails(1);
    host.down("web");
    host.assert_clean();
}

#[test]
fn what_is_no_device_is_said_at_its_place() {
    let Some(host) = Host::new() else { return };
    let plain = host.file("plain", "").to_str().unwrap().to_owned();
    for (device, why) in [
        (format!("{plain}:/dev/x"), "is not a device"),
        ("/dev/pts:/dev/x".to_owned(), "is a directory"),
        ("/dev/nothing-like-this".to_owned(), "load its kernel module"),
    ] {
        let file = host.pod(&json!({ "name": "web", "containers": { "c": {
            "rootfs": "host", "command": ["true"], "devices": ["/dev/zero", device] } } }));
        let error = host.podspec(["up", "-d", &file]).fails(2);
        assert!(error.contains(why) && error.contains("web.yaml:"), "{error}");
    }
    host.assert_clean();
}

#[test]
fn the_plan_shows_each_limit() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&json!({ "name": "web", "shmSize": "1Mi",
        "sysctls": { "net.core.somaxconn": 77 },
        "containers": { "c": {
            "rootfs": "host", "command": ["true"], "oomScoreAdj": 500, "devices": ["/dev/zero:/dev/z"],
            "ulimits": { "nofile": { "soft": 512, "hard": 1024 } } } } }));
    let plan = host.podspec(["plan", "--format", "json", "--oci", &file]).success();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let step = |kind: &str| {
        let steps = plan["steps"].as_array().unwrap();
        steps.iter().find(|step| step["step"]["kind"] == kind).unwrap()["step"].clone()
    };
    assert_eq!(step("mountShm")["size"], 1 << 20);
    assert_eq!(step("setSysctls")["sysctls"], json!({ "net.core.somaxconn": "77" }));
    let oci = step("createContainer")["oci"].clone();
    let nofile = json!({ "type": "RLIMIT_NOFILE", "soft": 512, "hard": 1024 });
    assert!(oci["process"]["rlimits"].as_array().unwrap().contains(&nofile), "{oci}");
    assert_eq!(oci["process"]["oomScoreAdj"], 500);
    let zero = &oci["linux"]["devices"][0];
    assert_eq!(
        (&zero["path"], &zero["type"], &zero["major"], &zero["minor"]),
        (&json!("/dev/z"), &json!("c"), &json!(1), &json!(5))
    );
    host.assert_clean();
}

#[test]
fn a_command_has_the_limits_of_its_container_as_far_as_its_caller_may_give_them() {
    let Some(host) = Host::new() else { return };
    let program =
        json!({ "rootfs": "host", "command": ["sleep", "9999"], "ulimits": { "nofile": 900 } });
    host.up(&json!({ "name": "p", "containers": { "c": program } }));
    // A service, or a shell, with less than the one that started the pod, and without the right to raise it.
    let podspec = host.command(["exec", "p/c", "--", "sh", "-c", "ulimit -n; ulimit -Hn"]);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--inh-caps=-sys_resource", "--bounding-set=-sys_resource"]);
    command.args(["prlimit", "--nofile=300:300"]);
    command.arg(podspec.get_program()).args(podspec.get_args());
    let child = host.start(&mut command);
    assert_eq!(host.finish(child).success(), "300\n300\n");
    assert_eq!(host.podspec(["exec", "p/c", "--", "sh", "-c", "ulimit -n"]).success(), "900\n");
    host.down("p");
    host.assert_clean();
}
