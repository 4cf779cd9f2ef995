//! What cgroups bound: memory, processors, processes, disks, devices. Each is read from the kernel's own files, of v2
//! where the machine has the controller there and else of v1, and each is crossed.

use crate::host::{Host, cgroup2_root, root_directory, wait_for, wait_some};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A controller by its names in v2 and v1.
const MEMORY: (&str, &str) = ("memory", "memory");
const CPU: (&str, &str) = ("cpu", "cpu");
const CPUSET: (&str, &str) = ("cpuset", "cpuset");
const PIDS: (&str, &str) = ("pids", "pids");
const IO: (&str, &str) = ("io", "blkio");

/// Where this machine has a controller.
enum Mounted {
    V2(PathBuf),
    V1(PathBuf),
}

fn mounted((v2, v1): (&str, &str)) -> Mounted {
    let root = cgroup2_root().expect("a visible cgroup2");
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap();
    if controllers.split_whitespace().any(|word| word == v2) {
        return Mounted::V2(root);
    }
    let text = fs::read_to_string("/proc/1/mountinfo").unwrap();
    let has = |line: &&str| {
        line.split_once(" - cgroup ").is_some_and(|(_, rest)| {
            rest.split(' ').nth(1).is_some_and(|options| options.split(',').any(|one| one == v1))
        })
    };
    let line = text.lines().find(has).unwrap_or_else(|| panic!("no controller {v2}"));
    Mounted::V1(line.split(' ').nth(4).unwrap().into())
}

/// A pod's cgroups, as the kernel shows them.
struct Kernel<'a> {
    host: &'a Host,
    pod: &'a str,
    id: String,
}

impl<'a> Kernel<'a> {
    fn new(host: &'a Host, pod: &'a str) -> Self {
        Self { host, pod, id: host.inspect(pod)["id"].as_str().unwrap().to_owned() }
    }

    /// A file of a container's cgroup, or (empty) of the pod's, by its names in v2 and v1.
    fn read(&self, controller: (&str, &str), container: &str, v2: &str, v1: &str) -> String {
        let (root, file) = match mounted(controller) {
            Mounted::V2(root) => (root, v2),
            Mounted::V1(root) => (root, v1),
        };
        let path = root.join("podspec").join(&self.id).join(container).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().to_owned()
    }

    /// Whether the process is where the container's limits of this controller hold.
    fn holds(&self, controller: (&str, &str), container: &str) {
        let pid = &self.host.container(self.pod, container)["pid"];
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let end = format!("/podspec/{}/{container}", self.id);
        let of = |line: &&str| match mounted(controller) {
            Mounted::V2(_) => line.starts_with("0::"),
            Mounted::V1(_) => line.split(':').nth(1).unwrap().split(',').any(|c| c == controller.1),
        };
        let line = text.lines().find(of).unwrap();
        assert!(line.ends_with(&end), "{line}");
    }
}

pub fn is_v2(controller: (&str, &str)) -> bool {
    matches!(mounted(controller), Mounted::V2(_))
}

fn perl(script: &str, resources: &Value) -> Value {
    json!({ "rootfs": "host", "command": ["perl", "-e", script], "resources": resources })
}

fn sleep(resources: &Value) -> Value {
    json!({ "rootfs": "host", "command": ["sleep", "infinity"], "resources": resources })
}

/// More memory than any test gives.
const EAT: &str = "my @x; push @x, 'x' x (1 << 20) for 1..512; print \"survived\\n\"; sleep";

/// As a systemd in a container does, and a docker: it goes into a cgroup below its own, and enables controllers.
#[test]
fn a_privileged_container_can_have_cgroups_of_its_own() {
    let Some(host) = Host::new() else { return };
    let script = "cd /sys/fs/cgroup; echo controllers: $(cat cgroup.controllers); mkdir init; \
                  echo 1 > init/cgroup.procs; echo +memory > cgroup.subtree_control; \
                  echo enabled: $(cat cgroup.subtree_control); exec sleep infinity";
    host.up(&json!({ "name": "web", "containers": { "init": {
        "rootfs": "host", "command": ["sh", "-c", script], "security": { "privileged": true },
    }}}));
    let logs = host.wait_log("web", "enabled:");
    if is_v2(MEMORY) {
        for controller in ["cpu", "cpuset", "io", "memory", "pids"] {
            let line = logs.lines().find(|line| line.contains("controllers:")).unwrap();
            assert!(line.split_whitespace().any(|word| word == controller), "{controller}: {logs}");
        }
        assert!(logs.contains("enabled: memory"), "{logs}");
    }
    // Whoever enters is where the first process is: in the container's own cgroup nobody can be.
    let cgroup = host.podspec(["exec", "web", "--", "cat", "/proc/self/cgroup"]).success();
    let line = cgroup.lines().find(|line| line.starts_with("0::")).unwrap();
    assert_eq!(line, if is_v2(MEMORY) { "0::/init" } else { "0::/" });
    host.down("web");
    host.assert_clean();
}

#[test]
fn every_limit_is_what_the_kernel_holds() {
    let Some(host) = Host::new() else { return };
    let own = json!({ "memory": "64Mi", "memorySwap": "96Mi", "cpus": 0.5, "cpuWeight": 200,
        "cpuset": "0", "pids": 50 });
    let pod = json!({ "memory": "1Gi", "cpus": 1.5, "pids": 400 });
    host.up(&json!({ "name": "web", "restart": "always", "resources": pod, "containers": {
        "bound": sleep(&own), "plain": sleep(&json!({})), "more": sleep(&json!({ "cpus": 100 })),
    }}));
    let kernel = Kernel::new(&host, "web");
    let check = || {
        let bound = |controller, v2, v1| kernel.read(controller, "bound", v2, v1);
        assert_eq!(bound(MEMORY, "memory.max", "memory.limit_in_bytes"), (64 << 20).to_string());
        let swap = if is_v2(MEMORY) { 32 << 20 } else { 96 << 20 };
        let of_swap = bound(MEMORY, "memory.swap.max", "memory.memsw.limit_in_bytes");
        assert_eq!(of_swap, swap.to_string());
        let quota = if is_v2(CPU) { "50000 100000" } else { "50000" };
        assert_eq!(bound(CPU, "cpu.max", "cpu.cfs_quota_us"), quota);
        let weight = if is_v2(CPU) { "200" } else { "2048" };
        assert_eq!(bound(CPU, "cpu.weight", "cpu.shares"), weight);
        assert_eq!(bound(CPUSET, "cpuset.cpus", "cpuset.cpus"), "0");
        assert_eq!(bound(PIDS, "pids.max", "pids.max"), "50");
        for controller in [MEMORY, CPU, CPUSET, PIDS] {
            kernel.holds(controller, "bound");
            kernel.holds(controller, "plain");
        }
    };
    check();
    // Of the pod as a whole; a container that may have more than it has what it has.
    let of_pod = |controller, v2, v1| kernel.read(controller, "", v2, v1);
    assert_eq!(of_pod(MEMORY, "memory.max", "memory.limit_in_bytes"), (1u64 << 30).to_string());
    assert_eq!(of_pod(PIDS, "pids.max", "pids.max"), "400");
    let quota = if is_v2(CPU) { "150000 100000" } else { "150000" };
    assert_eq!(kernel.read(CPU, "more", "cpu.max", "cpu.cfs_quota_us"), quota);
    // Where the file says nothing: 2048 processes.
    assert_eq!(kernel.read(PIDS, "plain", "pids.max", "pids.max"), "2048");
    // A process that comes later is bound, too, and so is one that is started again.
    let asked = ["exec", "web/bound", "--", "grep", "Cpus_allowed_list", "/proc/self/status"];
    assert_eq!(host.podspec(asked).success(), "Cpus_allowed_list:\t0\n");
    let entered = host.podspec(["exec", "web/bound", "--", "cat", "/proc/self/cgroup"]).success();
    let joined = entered.lines().filter(|line| !line.ends_with(":/"));
    assert_eq!(joined.count(), 0, "as its own root, everywhere:\n{entered}");
    let before = host.container("web", "bound")["pid"].clone();
    host.kill(&before, "KILL");
    wait_some("the restart", || {
        let now = host.container("web", "bound")["pid"].clone();
        (now.is_i64() && now != before).then_some(())
    });
    check();
    host.down("web");
    host.assert_clean();
}

#[test]
fn limits_are_shown_beside_what_is_used() {
    let Some(host) = Host::new() else { return };
    let own = json!({ "memory": "64Mi", "cpus": 0.5, "pids": 50 });
    let pod = json!({ "memory": "1Gi", "cpus": 1.5, "pids": 400 });
    host.up(&json!({ "name": "web", "resources": pod, "containers": {
        "bound": sleep(&own), "plain": sleep(&json!({})) } }));
    let stats = host.podspec(["stats", "web/bound", "--format", "json"]).success();
    let stats: Value = serde_json::from_str(&stats).unwrap();
    let one = &stats["pods"][0]["containers"][0];
    let source = if is_v2(MEMORY) { "cgroup2" } else { "cgroup1" };
    assert_eq!((&one["memory"]["limit"], &one["tasks"]["limit"]), (&json!(64 << 20), &json!(50)));
    assert_eq!((&one["memory"]["source"], &one["tasks"]["used"]), (&json!(source), &json!(1)));
    assert_eq!((&one["cpu"]["limit"], &stats["pods"][0].get("cpu")), (&json!(0.5), &None));
    let table = host.podspec(["stats", "web"]).success();
    assert!(
        table.contains(" / 400 ") && table.contains("/ 50 ") && table.contains("64.0Mi"),
        "{table}"
    );
    let inspected = host.inspect("web");
    assert_eq!(inspected["resources"], pod);
    assert_eq!(host.container("web", "bound")["resources"], own);
    assert_eq!(host.container("web", "plain")["resources"], json!({ "pids": 2048 }));
    host.down("web");
    host.assert_clean();
}

#[test]
fn more_memory_than_its_limit_ends_a_container_and_is_said() {
    let Some(host) = Host::new() else { return };
    let limit = json!({ "memory": "32Mi", "memorySwap": "32Mi" });
    host.up(&json!({ "name": "web", "containers": {
        "hungry": perl(EAT, &limit), "other": sleep(&limit) } }));
    let ended = host.wait_status("web", "hungry", "failed");
    let why = "killed (out of memory, limit 32Mi)";
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!(why), &json!(137)));
    assert!(!host.logs("web/hungry").contains("survived"));
    assert!(host.podspec(["ps", "web"]).success().contains(&format!("failed: {why}")));
    let events = host.podspec(["events", "--format", "json", "web"]).success();
    let failed = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let failed = failed.filter(|event| event["event"] == "failed").collect::<Vec<_>>();
    assert_eq!(failed[0]["cause"], why, "{events}");
    assert_eq!(host.container("web", "other")["status"], "running");
    host.down("web");
    // One that is killed otherwise was not out of memory.
    host.up(&json!({ "name": "web", "containers": { "other": sleep(&limit) } }));
    host.kill(&host.container("web", "other")["pid"], "KILL");
    assert_eq!(host.wait_status("web", "other", "failed")["reason"], Value::Null);
    host.down("web");
    // Each run is counted anew.
    host.up(&json!({ "name": "web", "restart": "on-failure:2", "containers": {
        "hungry": perl(EAT, &limit) } }));
    let ended = host.wait_status("web", "hungry", "failed");
    assert_eq!((&ended["reason"], &ended["restarts"]), (&json!(why), &json!(2)));
    host.down("web");
    host.assert_clean();
}

/// A program whose child was killed fails for that more often than not.
#[test]
fn memory_that_was_out_for_another_process_is_said_where_the_container_fails() {
    let Some(host) = Host::new() else { return };
    let script = format!("if (!fork) {{ {EAT} }} wait; exit($? ? 3 : 0)");
    let limit = json!({ "memory": "32Mi", "memorySwap": "32Mi" });
    host.up(&json!({ "name": "web", "containers": { "c": perl(&script, &limit) } }));
    let ended = host.wait_status("web", "c", "failed");
    let why = "one of its processes was killed (out of memory, limit 32Mi)";
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!(why), &json!(3)));
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_pod_has_no_more_memory_than_it_may_whichever_container_wants_it() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "web", "resources": { "memory": "48Mi", "memorySwap": "48Mi" },
        "containers": { "hungry": perl(EAT, &json!({ "memory": "4Gi" })), "small": sleep(&json!({})) } }));
    let ended = host.wait_status("web", "hungry", "failed");
    assert_eq!(ended["reason"], "killed (out of memory, the pod's limit 48Mi)");
    assert_eq!(host.container("web", "small")["status"], "running");
    host.down("web");
    host.assert_clean();
}

#[test]
fn memory_that_is_too_little_to_start_with_undoes_the_start_and_is_said() {
    let Some(host) = Host::new() else { return };
    let file = host.pod(&json!({ "name": "web", "containers": {
        "c": sleep(&json!({ "memory": "4Ki", "memorySwap": "4Ki" })) } }));
    let error = host.podspec(["up", "-d", &file]).fails(1);
    assert!(error.contains("out of memory") && error.contains("limit 4Ki"), "{error}");
    host.assert_clean();
}

/// Children until the kernel gives no more; the number of them, and who says no.
const FORK: &str = "$| = 1; my $n = 0; while (1) { my $pid = fork; if (!defined $pid) { \
                    print \"$n: $!\\n\"; sleep } if (!$pid) { sleep; exit } $n++ }";

#[test]
fn no_more_processes_than_its_limit() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "web", "resources": { "pids": 60 }, "containers": {
        "own": perl(FORK, &json!({ "pids": 20 })), "other": sleep(&json!({})) } }));
    assert_eq!(host.wait_log("web/own", "Resource").trim(), "19: Resource temporarily unavailable");
    let kernel = Kernel::new(&host, "web");
    assert_eq!(kernel.read(PIDS, "own", "pids.current", "pids.current"), "20");
    host.down("web");
    host.up(&json!({ "name": "web", "resources": { "pids": 30 }, "containers": {
        "own": perl(FORK, &json!({})) } }));
    let said = host.wait_log("web/own", "Resource");
    let most: u32 = said.split(':').next().unwrap().parse().unwrap();
    assert!((25..30).contains(&most), "{said}");
    host.down("web");
    host.assert_clean();
}

#[test]
fn more_processor_time_than_its_share_is_held_back() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "web", "containers": {
        "busy": perl("while (1) {}", &json!({ "cpus": 0.1 })) } }));
    let kernel = Kernel::new(&host, "web");
    wait_for("the kernel to throttle it", || {
        let stat = kernel.read(CPU, "busy", "cpu.stat", "cpu.stat");
        let times = stat.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        times.is_some_and(|times| times != "0")
    });
    host.down("web");
    host.assert_clean();
}

/// A whole disk of this machine, and its number.
fn disk() -> (String, String) {
    let all = fs::read_dir("/sys/block").unwrap().flatten();
    let mut names: Vec<String> = all.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    let there = |name: &&String| fs::metadata(format!("/dev/{name}")).is_ok();
    let name = names.iter().find(there).expect("a disk").clone();
    let number = fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
    (format!("/dev/{name}"), number.trim().to_owned())
}

#[test]
fn disks_have_rates() {
    let Some(host) = Host::new() else { return };
    let (path, number) = disk();
    let rates = json!({ "readBps": "1Mi", "writeIops": 10 });
    let io = json!({ "io": { "devices": { path.as_str(): rates } } });
    host.up(&json!({ "name": "web", "containers": { "c": sleep(&io) } }));
    let kernel = Kernel::new(&host, "web");
    kernel.holds(IO, "c");
    if is_v2(IO) {
        let line = format!("{number} rbps=1048576 wbps=max riops=max wiops=10");
        assert_eq!(kernel.read(IO, "c", "io.max", ""), line);
    } else {
        let read = |what: &str| kernel.read(IO, "c", "", &format!("blkio.throttle.{what}_device"));
        assert_eq!(read("read_bps"), format!("{number} 1048576"));
        assert_eq!(read("write_iops"), format!("{number} 10"));
    }
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_limit_that_cannot_be_held_is_refused_at_its_place_and_nothing_is_touched() {
    let Some(host) = Host::new() else { return };
    let disk = |path: &str| json!({ "io": { "devices": { path: { "readIops": 1 } } } });
    for (resources, words) in [
        (json!({ "cpuset": "0,4000" }), ["`0,4000`", "this machine has"]),
        (disk("/dev/null"), ["is no disk", "lsblk"]),
        (disk("/dev/nothing-like-this"), ["is not there", "lsblk"]),
    ] {
        for whole in [false, true] {
            let mut pod = json!({ "name": "web", "containers": { "c": sleep(&json!({})) } });
            let holder = if whole { &mut pod } else { &mut pod["containers"]["c"] };
            holder["resources"] = resources.clone();
            let file = host.pod(&pod);
            for command in [&["up", "-d", &file][..], &["plan", &file]] {
                let error = host.podspec(command).fails(2);
                for word in words.iter().chain(&["web.yaml:"]) {
                    assert!(error.contains(word), "{word:?} is not in:\n{error}");
                }
            }
        }
    }
    host.assert_clean();
}

#[test]
fn a_changed_limit_is_said_and_holds_after_recreate() {
    let Some(host) = Host::new() else { return };
    let pod = |pids: u32| json!({ "name": "web", "containers": { "c": sleep(&json!({ "pids": pids })) } });
    host.up(&pod(50));
    let file = host.pod(&pod(60));
    let said = host.podspec(["up", "-d", &file]).fails(1);
    assert!(said.contains("containers.c.resources.pids: 50 -> 60"), "{said}");
    assert!(said.contains("--recreate"), "{said}");
    let pids = || Kernel::new(&host, "web").read(PIDS, "c", "pids.max", "pids.max");
    assert_eq!(pids(), "50");
    host.podspec(["up", "-d", "--recreate", &file]).success();
    assert_eq!(pids(), "60");
    host.down("web");
    host.assert_clean();
}

#[test]
fn a_device_can_be_had_with_less() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "web", "restart": "always", "containers": { "c": {
        "rootfs": "host", "command": ["sleep", "infinity"],
        "devices": ["/dev/loop-control:/dev/l:r", "/dev/kmsg:/dev/k:w"] } } }));
    let may = |path: &str, mode: &str| {
        let script = format!("open(F, '{mode}', '{path}') ? print 'yes' : print $!");
        host.podspec(["exec", "web/c", "--", "perl", "-e", &script]).success()
    };
    let check = || {
        assert_eq!(may("/dev/l", "<"), "yes");
        assert_eq!(may("/dev/l", "+<"), "Operation not permitted");
        assert_eq!(may("/dev/k", ">"), "yes");
        assert_eq!(may("/dev/k", "<"), "Operation not permitted");
        for standard in ["/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/ptmx"] {
            assert_eq!(may(standard, "+<"), "yes", "{standard}");
        }
    };
    check();
    let before = host.container("web", "c")["pid"].clone();
    host.kill(&before, "KILL");
    wait_some("the restart", || {
        let now = host.container("web", "c");
        (now["status"] == "running" && now["pid"] != before).then_some(())
    });
    check();
    host.down("web");
    host.assert_clean();
}

/// A node that somebody has put into the root is of no use, whatever its mode.
#[test]
fn a_device_that_the_file_does_not_name_cannot_be_used() {
    let Some(host) = Host::new() else { return };
    let root = root_directory(&host, "root", &["/bin/sh", "/bin/cat"]);
    let root = root.to_str().unwrap();
    host.sh(&format!(
        "mkdir {root}/n; mknod -m 666 {root}/n/kmsg c 1 11; mknod -m 666 {root}/n/null c 1 3"
    ))
    .success();
    // Of a root, none can be opened, whatever it leads to: a root is as hostile as an image.
    let command = ["/bin/sh", "-c", "cat /n/kmsg; cat /n/null; echo end"];
    host.up(
        &json!({ "name": "web", "containers": { "c": { "rootfs": root, "command": command } } }),
    );
    host.wait_status("web", "c", "exited");
    let said = host.logs("web/c");
    assert_eq!(said.matches("Permission denied").count(), 2, "{said}");
    assert!(said.ends_with("end\n"), "{said}");
    host.down("web");
    host.assert_clean();
}
