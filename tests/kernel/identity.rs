//! User, time and cgroup namespaces, and namespaces that somebody else has made: who is whom inside and outside, whose
//! files are whose, and that nothing is left.

use crate::host::{Host, wait_for, wait_some};
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// The inode of the user namespace that owns the namespace at this path (ioctl_ns(2)).
fn owner(host: &Host, path: &str) -> String {
    const NS_GET_USERNS: u32 = 0xb701;
    let script = format!(
        "perl -e 'open(my $f, \"<\", \"{path}\") or die; my $fd = ioctl($f, {NS_GET_USERNS}, 0) or die $!; print readlink(\"/proc/self/fd/$fd\")'"
    );
    host.sh(&script).success()
}

fn link(pid: &Value, kind: &str) -> String {
    let path = format!("/proc/{pid}/ns/{kind}");
    std::fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

fn sleeper(more: &Value) -> Value {
    let mut container = json!({ "rootfs": "host", "command": ["sleep", "infinity"] });
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

fn exec(host: &Host, target: &str, command: &str) -> String {
    host.podspec(["exec", target, "--", "sh", "-c", command]).success()
}

/// What the article would have done, had podman not refused it.
#[test]
fn usershared_root_inside_is_nobody_outside() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("usershared")]).success();
    assert!(exec(&host, "usershared/user1", "id").starts_with("uid=0(root) gid=0(root)"));
    let seen = host.inspect("usershared");
    let first = seen["containers"][0]["ids"]["uids"][0]["host"].as_u64().unwrap();
    assert!(first >= 524_288, "{first}");
    let map = exec(&host, "usershared/user1", "cat /proc/self/uid_map");
    let map: Vec<u64> = map.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(map, [0, first, 65536]);
    for (name, inside) in [("user1", 0), ("user2", 33)] {
        let pid = &host.container("usershared", name)["pid"];
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
        let uids: Vec<u64> = line.split_whitespace().skip(1).map(|w| w.parse().unwrap()).collect();
        assert_eq!(uids, [first + inside; 4], "{name}");
    }
    let data = host.data().join("volumes/usershared/data");
    wait_for("the file of uid 33", || data.join("box/33").exists());
    let seen = exec(
        &host,
        "usershared/user1",
        "stat -c '%n %u:%g' /data/root /data/box /data/box/33 /etc/passwd /etc/hosts /dev/null /",
    );
    assert_eq!(
        seen,
        "/data/root 0:0\n/data/box 33:33\n/data/box/33 33:33\n/etc/passwd 0:0\n/etc/hosts 0:0\n/dev/null 0:0\n/ 0:0\n"
    );
    let outside = |name: &str| {
        let found = std::fs::metadata(data.join(name)).unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!((outside("root"), outside("box/33")), ((0, 0), (33, 33)), "on the volume itself");
    host.podspec(["down", "--volumes", "usershared"]).success();
    host.assert_clean();
}

#[test]
fn the_pods_namespaces_are_owned_by_its_user_namespace() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({
        "name": "owned",
        "share": ["net", "uts", "ipc", "pid", "user", "cgroup", "time"],
        "containers": {
            "a": sleeper(&json!({})),
            "b": sleeper(&json!({ "namespaces": {
                "net": "private", "uts": "private", "ipc": "private", "cgroup": "private", "time": "private" } })),
        },
    }));
    let record = host.inspect("owned");
    let (infra, a, b) =
        (&record["infra"]["pid"], &record["containers"][0]["pid"], &record["containers"][1]["pid"]);
    let user = link(infra, "user");
    assert_ne!(Path::new(&user), std::fs::read_link("/proc/1/ns/user").unwrap());
    for kind in ["net", "uts", "ipc", "pid", "cgroup", "time"] {
        assert_eq!(link(a, kind), link(infra, kind), "{kind} is shared");
        assert_eq!(owner(&host, &format!("/proc/{infra}/ns/{kind}")), user, "{kind} of infra");
        assert_eq!(owner(&host, &format!("/proc/{b}/ns/{kind}")), user, "{kind} of b");
        assert_eq!(link(b, kind) == link(a, kind), kind == "pid", "{kind} of b is its own");
    }
    assert_eq!((link(a, "user"), link(b, "user")), (user.clone(), user.clone()));
    let inode = |of: &Value| of["namespaces"]["user"].as_u64().unwrap();
    assert_eq!(user, format!("user:[{}]", inode(&record["containers"][0])));
    // What is the machine's stays out of reach, whatever a program does.
    let refused = exec(
        &host,
        "owned/a",
        "chmod 777 /proc/sysrq-trigger 2>&1; mount -t tmpfs x /mnt 2>&1; echo x > /proc/sys/kernel/hostname; true",
    );
    assert!(!refused.contains("mounted"), "{refused}");
    host.down("owned");
    host.assert_clean();
}

/// An idmapped copy of the host's root that stayed over it would be let go of in its place.
#[test]
fn nothing_of_the_hosts_root_stays_mounted() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({
        "name": "alone", "share": ["+user"], "containers": { "a": sleeper(&json!({})) },
    }));
    let mounts = exec(&host, "alone", "cat /proc/self/mountinfo");
    let roots: Vec<&str> =
        mounts.lines().filter(|line| line.split(' ').nth(4) == Some("/")).collect();
    assert_eq!(roots.len(), 1, "{mounts}");
    assert!(roots[0].contains(" - overlay "), "{mounts}");
    // `exec` goes to the topmost root that there is.
    let lock = host.run_dir().join("lock");
    assert!(lock.exists());
    let seen = exec(&host, "alone", &format!("ls {0} /..{0} 2>&1; true", lock.display()));
    assert_eq!(seen.matches("No such file").count(), 2, "{seen}");
    host.down("alone");
    host.assert_clean();
}

#[test]
fn every_command_works_in_a_user_namespace() {
    let Some(host) = Host::new() else { return };
    let bind = host.dir.join("bind");
    std::fs::create_dir(&bind).unwrap();
    std::fs::write(bind.join("f"), "x").unwrap();
    std::os::unix::fs::chown(bind.join("f"), Some(1000), Some(1000)).unwrap();
    host.up(&json!({
        "name": "all", "share": ["+user"],
        "volumes": { "e": { "emptyDir": {} }, "t": { "tmpfs": "1Mi" }, "f": { "files": { "x": "text" } } },
        "containers": { "a": sleeper(&json!({
            "user": "33:33", "tty": true,
            "volumes": ["e:/e", "t:/t", "f:/f", format!("{}:/b", bind.display()),
                { "source": bind, "target": "/raw", "idmap": false }],
        })) },
    }));
    let ours = host.file("ours", "hello");
    host.podspec(["cp", ours.to_str().unwrap(), "all:/e/ours"]).success();
    let stat = "stat -c '%n %u:%g' /e/ours /e /t /f/x /b/f /raw/f; : > /t/made; stat -c %u /t/made; : > /e/made";
    assert_eq!(
        exec(&host, "all", stat),
        "/e/ours 33:33\n/e 0:0\n/t 0:0\n/f/x 0:0\n/b/f 1000:1000\n/raw/f 65534:65534\n33\n"
    );
    let out = host.dir.join("out");
    host.podspec(["cp", "-a", "all:/e/made", out.to_str().unwrap()]).success();
    assert_eq!(std::fs::metadata(&out).unwrap().uid(), 33, "by the number inside");
    let tar = host.sh(&format!("{} cp all:/e/made - | tar tvn", podspec(&host))).success();
    assert!(tar.contains("33/33"), "{tar}");
    assert!(
        host.podspec(["exec", "-t", "all", "--", "sh", "-c", "stat -c %u $(tty)"])
            .success()
            .contains("33")
    );
    assert!(host.podspec(["top", "all"]).success().contains("sleep infinity"));
    host.podspec(["restart", "all/a"]).success();
    assert_eq!(exec(&host, "all", "id -u; cat /e/made | wc -c"), "33\n0\n");
    let infra = host.inspect("all")["supervisor"]["pid"].clone();
    host.kill(&infra, "KILL");
    host.down("all");
    host.assert_clean();
}

fn podspec(host: &Host) -> String {
    let command = host.command(["--version"]);
    let mut words: Vec<String> = vec![command.get_program().to_str().unwrap().to_owned()];
    words.extend(command.get_args().map(|word| word.to_str().unwrap().to_owned()));
    words.retain(|word| word != "--version");
    words.join(" ")
}

#[test]
fn no_two_pods_have_an_id_in_common() {
    let Some(host) = Host::new() else { return };
    let first = |pod: &str| {
        let pod = host.inspect(pod);
        let uid = pod["containers"][0]["ids"]["uids"][0]["host"].as_u64();
        (
            uid.unwrap_or_else(|| panic!("{pod}")),
            pod["containers"][0]["ids"]["gids"][0]["host"].as_u64().unwrap(),
        )
    };
    let subuid = host.file("subuid", "someone:1000000:65536\ncontainers:2000000:100000\n");
    let subgid = host.file("subgid", "containers:3000000:200000\n");
    for (file, at) in [(&subuid, "/etc/subuid"), (&subgid, "/etc/subgid")] {
        host.sh(&format!("mount --bind {} {at}", file.display())).success();
    }
    let pod = |name: &str, userns: Value| json!({ "name": name, "share": ["+user"], "userns": userns, "containers": { "a": sleeper(&json!({})) } });
    host.up(&pod("one", json!("auto")));
    assert_eq!(first("one"), (2_000_000, 3_000_000));
    host.up(&pod("two", json!({ "size": 1000 })));
    assert_eq!(first("two"), (2_065_536, 3_065_536));
    let file = host.pod(&pod("three", json!("auto")));
    let said = host.podspec(["up", "-d", &file]).fails(2);
    assert!(said.contains("no 65536 ids in a row are free"), "{said}");
    assert!(said.contains("give `containers` more in /etc/subuid"), "{said}");
    let mut named = pod("named", json!({ "size": 10 }));
    named["containers"]["a"]["user"] = json!("www-data");
    let said = host.podspec(["up", "-d", &host.pod(&named)]).fails(2);
    assert!(said.contains("id 33 is not mapped") && said.contains("or widen `userns`"), "{said}");
    let map = json!({ "uids": ["0:5000000:10", "33:6000000:1"], "gids": ["0:5000000:10"] });
    host.up(&pod("maps", map));
    assert_eq!(
        exec(&host, "maps", "id -u; tail -1 /proc/self/uid_map")
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["0", "33", "6000000", "1"]
    );
    host.kill(&host.inspect("one")["supervisor"]["pid"], "KILL");
    host.down("one");
    // Its ids are free again.
    host.podspec(["up", "-d", &file]).success();
    assert_eq!(first("three"), (2_000_000, 3_000_000));
    for pod in ["two", "three", "maps"] {
        host.down(pod);
    }
    host.sh("umount /etc/subuid /etc/subgid").success();
    host.assert_clean();
}

#[test]
fn a_container_of_its_own_ids_in_a_pod_of_the_machines() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({
        "name": "mixed",
        "volumes": { "data": {} },
        "containers": {
            "own": sleeper(&json!({ "namespaces": { "user": "private" }, "volumes": ["data:/data"] })),
            "plain": sleeper(&json!({ "volumes": ["data:/data"] })),
        },
    }));
    exec(&host, "mixed/own", ": > /data/own; : > /dev/shm/own");
    exec(&host, "mixed/plain", ": > /data/plain");
    assert_eq!(
        exec(&host, "mixed/plain", "stat -c %u /data/own /data/plain /dev/shm/own"),
        "0\n0\n0\n"
    );
    assert_eq!(exec(&host, "mixed/own", "stat -c %u /data/own /data/plain"), "0\n0\n");
    let (own, plain) = (host.container("mixed", "own"), host.container("mixed", "plain"));
    assert!(own["ids"]["uids"][0]["host"].as_u64().unwrap() >= 524_288);
    assert_eq!(plain["ids"]["uids"][0]["host"], 0);
    assert_eq!(own["namespaces"]["net"], plain["namespaces"]["net"]);
    host.podspec(["down", "--volumes", "mixed"]).success();
    host.assert_clean();
}

#[test]
fn clocks_and_cgroups_of_the_pod() {
    let Some(host) = Host::new() else { return };
    host.podspec(["up", "-d", &host.example("timeshared")]).success();
    let uptime = |text: String| text.split('.').next().unwrap().parse::<u64>().unwrap();
    let outside = uptime(host.sh("cat /proc/uptime").success());
    for container in ["timeshared/time1", "timeshared/time2"] {
        let inside = uptime(exec(&host, container, "cat /proc/uptime"));
        let ahead = inside - outside;
        assert!((720 * 3600..720 * 3600 + 60).contains(&ahead), "{container}: {ahead}");
        let name = container.split('/').next_back().unwrap();
        let of_program = exec(&host, container, "grep ^0: /proc/1/cgroup");
        assert_eq!(of_program, format!("0::/{name}\n"));
    }
    host.podspec(["restart", "timeshared/time1"]).success();
    assert!(uptime(exec(&host, "timeshared/time1", "cat /proc/uptime")) > 720 * 3600);
    host.down("timeshared");
    let early = json!({ "name": "early", "share": ["+time"], "time": { "boottime": "-900000h" },
        "containers": { "a": sleeper(&json!({})) } });
    let said = host.podspec(["up", "-d", &host.pod(&early)]).fails(2);
    assert!(said.contains("set back to before 0"), "{said}");
    let back = json!({ "name": "back", "share": ["+time", "+user"], "time": { "monotonic": "-1s" },
        "containers": { "a": sleeper(&json!({})) } });
    host.up(&back);
    let offsets = exec(&host, "back", "cat /proc/self/timens_offsets");
    let words: Vec<&str> = offsets.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "-1", "0", "boottime", "0", "0"]);
    host.down("back");
    host.assert_clean();
}

#[test]
fn namespaces_of_others_are_joined_and_left_alone() {
    let Some(host) = Host::new() else { return };
    host.sh("ip netns add theirs && ip -n theirs link set lo up").success();
    let mut other = host.start(
        std::process::Command::new("unshare")
            .args(["--net", "--uts", "--ipc", "--cgroup", "--time", "--user", "--pid", "--fork"])
            .args(["sleep", "1000"]),
    );
    let pid = wait_some("their process", || {
        let all = host.processes();
        all.into_iter().find(|(_, known)| known.trim() == "sleep 1000").map(|(pid, _)| json!(pid))
    });
    let at = |kind: &str| format!("ns:/proc/{pid}/ns/{kind}");
    for file in ["uid_map", "gid_map"] {
        host.sh(&format!("echo 0 7000000 65536 > /proc/{pid}/{file}")).success();
    }
    host.sh(&format!("nsenter -t {pid} -u hostname theirs")).success();
    host.up(&json!({
        "name": "guest", "network": "ns:/run/netns/theirs",
        "containers": {
            "net": sleeper(&json!({})),
            "all": sleeper(&json!({ "namespaces": { "net": at("net"), "uts": at("uts"), "ipc": at("ipc"),
                "cgroup": at("cgroup"), "time": at("time"), "user": at("user"), "pid": at("pid") } })),
            "host": sleeper(&json!({ "namespaces": { "cgroup": "host", "time": "host", "user": "host" } })),
        },
    }));
    let inode = std::fs::metadata("/run/netns/theirs").unwrap().ino();
    assert_eq!(host.container("guest", "net")["namespaces"]["net"], inode);
    let all = &host.container("guest", "all")["pid"];
    for kind in ["net", "uts", "ipc", "cgroup", "time", "user", "pid"] {
        assert_eq!(link(all, kind), link(&pid, kind), "{kind}");
    }
    assert_eq!(exec(&host, "guest/all", "hostname; id -u"), "theirs\n0\n");
    assert_eq!(host.container("guest", "all")["ids"]["uids"][0]["host"], 7_000_000);
    // The machine's cgroups are seen, and not written.
    let seen = exec(&host, "guest/host", "ls /sys/fs/cgroup; mkdir /sys/fs/cgroup/x 2>&1; true");
    assert!(seen.contains("Read-only file system"), "{seen}");
    host.down("guest");
    host.kill(&pid, "KILL");
    let _ = other.wait();
    assert!(Path::new("/run/netns/theirs").exists());
    host.sh("ip netns delete theirs").success();
    host.assert_clean();
}

#[test]
fn containers_begin_with_the_pods_namespaces() {
    let Some(host) = Host::new() else { return };
    let mut other = host.start(Command::new("unshare").args(["--time", "--fork", "sleep", "1000"]));
    let theirs = wait_some("their process", || {
        let all = host.processes();
        all.into_iter().find(|(_, known)| known.trim() == "sleep 1000").map(|(pid, _)| json!(pid))
    });
    host.up(&json!({
        "name": "apart",
        "namespaces": { "ipc": "host", "pid": "host", "uts": "private", "cgroup": "host",
            "time": format!("ns:/proc/{theirs}/ns/time") },
        "initContainers": { "first": sleeper(&json!({ "restart": "always" })) },
        "containers": {
            "plain": sleeper(&json!({ "hostname": "named" })),
            "own": sleeper(&json!({ "namespaces": { "ipc": "private", "uts": "host" } })),
        },
    }));
    let machine = json!(1);
    let infra = &host.inspect("apart")["infra"]["pid"];
    let pid = |name: &str| host.container("apart", name)["pid"].clone();
    let all = ["first", "plain", "own"].map(pid);
    let [first, plain, own] = &all;
    for of in &all {
        for kind in ["pid", "cgroup", "user"] {
            assert_eq!(link(of, kind), link(&machine, kind), "{kind} is the machine's");
        }
        assert_eq!(link(of, "time"), link(&theirs, "time"));
        assert_eq!(link(of, "net"), link(infra, "net"), "shared, as ever");
    }
    assert_ne!(link(&theirs, "time"), link(&machine, "time"));
    let of = |kind: &str| [&machine, infra, first, plain, own].map(|pid| link(pid, kind));
    let [machines, infras, firsts, plains, owns] = of("ipc");
    assert_eq!([&infras, &firsts, &plains], [&machines; 3]);
    assert_ne!(owns, machines, "a container's own word comes first");
    let [machines, infras, firsts, plains, owns] = of("uts");
    assert_eq!([&infras, &owns], [&machines; 2]);
    assert!(firsts != machines && plains != machines && firsts != plains, "each has its own");
    // Infra makes what is shared, and that is its network.
    for kind in ["pid", "cgroup", "time"] {
        assert_eq!(link(infra, kind), link(&machine, kind), "{kind} of infra");
    }
    assert_eq!(exec(&host, "apart/plain", "hostname"), "named\n");
    assert_eq!(exec(&host, "apart/first", "hostname"), "first\n");
    host.podspec(["restart", "apart/plain"]).success();
    assert_eq!(link(&pid("plain"), "ipc"), link(&machine, "ipc"));
    host.down("apart");
    host.kill(&theirs, "KILL");
    let _ = other.wait();
    host.assert_clean();
}

#[test]
fn what_is_no_such_namespace_is_refused_before_anything_is_touched() {
    let Some(host) = Host::new() else { return };
    let attempt = |kind: &str, path: &str| {
        let pod = json!({ "name": "no", "containers": {
            "a": sleeper(&json!({ "namespaces": { kind: format!("ns:{path}") } })) } });
        host.podspec(["up", "-d", &host.pod(&pod)]).fails(2)
    };
    for (kind, path, why) in [
        ("net", "/run/netns/none", "No such file"),
        ("net", "/etc/passwd", "is no namespace"),
        ("uts", "/proc/self/ns/net", "of another kind than `uts`"),
        ("ipc", "/proc/self/ns/ipc", "is the machine's own: write `host`"),
    ] {
        let said = attempt(kind, path);
        assert!(said.contains(why) && said.contains(&format!("ns:{path}")), "{said}");
    }
    let mut holder = host.start(Command::new("unshare").args(["-U", "-r", "sleep", "1000"]));
    // It maps ids first.
    wait_for("its program", || !host.pids_of("sleep 1000").is_empty());
    let said = attempt("user", &format!("/proc/{}/ns/user", host.pid_of("sleep 1000")));
    assert!(said.contains("its `setgroups` is `deny`"), "{said}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let pod = json!({ "name": "no", "namespaces": { "time": "ns:/proc/1/ns/time" }, "containers": {
        "a": sleeper(&json!({ "namespaces": { "uts": "private" } })) } });
    let said = host.podspec(["up", "-d", &host.pod(&pod)]).fails(2);
    assert!(said.contains("is the machine's own: write `host`"), "{said}");
    let at = said.lines().find(|line| line.contains("ns:/proc/1/ns/time")).unwrap();
    assert!(at.contains("\"time\": "), "the pod's own line is shown: {said}");
    let pod = json!({ "name": "no", "network": "ns:/etc/passwd", "containers": { "a": sleeper(&json!({})) } });
    let said = host.podspec(["up", "-d", &host.pod(&pod)]).fails(2);
    assert!(said.contains("is no namespace"), "{said}");
    host.assert_clean();
}

/// Those of an ipc namespace are for its own root alone (since Linux 6.11), those of a network for the machine's.
#[test]
fn sysctls_are_set_where_the_pod_has_ids_of_its_own() {
    let Some(host) = Host::new() else { return };
    let own = json!({ "namespaces": { "net": "private", "ipc": "private" } });
    host.up(&json!({
        "name": "tuned",
        "share": ["+user"],
        "sysctls": {
            "kernel.shmmax": "1000000", "fs.mqueue.msg_max": "7", "net.ipv4.ip_forward": "1",
        },
        "containers": { "a": sleeper(&json!({})), "b": sleeper(&own) },
    }));
    let read = "cd /proc/sys && cat kernel/shmmax fs/mqueue/msg_max net/ipv4/ip_forward";
    assert_eq!(exec(&host, "tuned/a", read), "1000000\n7\n1\n");
    // Nobody lost rights on the way.
    let made = exec(&host, "tuned/b", "touch /x /tmp/x && stat -c %u /x && id -u");
    assert_eq!(made, "0\n0\n");
    host.down("tuned");
    host.assert_clean();
}
