//! Where systemd owns the cgroups. These run on a machine of their own, which tests/vm/run boots, and not on a
//! fake host: systemd must see the same pids.

use crate::host::{Outcome, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const CGROUPS: &str = "/sys/fs/cgroup";
const SCOPE: &str = "/sys/fs/cgroup/system.slice/podspec.scope";

/// The machine, which one test has at a time.
struct Machine {
    root: PathBuf,
    _one: MutexGuard<'static, ()>,
}

impl Machine {
    fn new() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            std::env::var_os("PODSPEC_VM").is_some(),
            "these tests change the machine that they run on: tests/vm/run has one for them"
        );
        // A test that fails may leave its programs running.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = format!("/tmp/podspec-systemd-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let root = Path::new(&root);
        for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(root.join("rootfs").join(directory)).unwrap();
        }
        fs::copy("/usr/bin/busybox", root.join("rootfs/bin/busybox")).unwrap();
        for name in ["sh", "cat", "sleep", "echo", "touch"] {
            let _ = symlink("busybox", root.join("rootfs/bin").join(name));
        }
        let _ = symlink(env!("CARGO_BIN_EXE_podspec"), root.join("podspec-oci"));
        Self { root: root.to_owned(), _one }
    }

    /// A pod of two containers, one with a limit.
    fn pod(&self, name: &str) -> String {
        let container = |resources: Value| {
            json!({
                "rootfs": self.root.join("rootfs"),
                "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"],
                "resources": resources,
            })
        };
        let containers =
            json!({ "a": container(json!({ "memory": "32Mi" })), "b": container(json!({})) });
        let pod = json!({ "name": name, "containers": containers });
        let path = self.root.join(format!("{name}.yaml"));
        fs::write(&path, pod.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn pid(&self, pod: &str, container: &str) -> String {
        let text = podspec(&["inspect", &format!("{pod}/{container}")]).success();
        let found: Value = serde_json::from_str(&text).unwrap();
        found["pid"].to_string()
    }

    /// A bundle whose document asks for this cgroup.
    fn bundle(&self, cgroup: &str) -> String {
        let bundle = self.root.join("bundle");
        fs::create_dir_all(&bundle).unwrap();
        let path = bundle.join("config.json");
        let _ = fs::remove_file(&path);
        podspec(&["oci", "spec", "--bundle", bundle.to_str().unwrap()]).success();
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["root"]["path"] = json!(self.root.join("rootfs"));
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["cgroupsPath"] = json!(cgroup);
        config["linux"]["resources"]["memory"] = json!({ "limit": 32 << 20 });
        fs::write(&path, config.to_string()).unwrap();
        bundle.to_str().unwrap().to_owned()
    }

    fn oci(&self, args: &[&str]) -> Outcome {
        run(Command::new(self.root.join("podspec-oci")).args(args))
    }

    /// Nothing is left, of podspec nor with systemd.
    fn assert_clean(&self) {
        wait_for("the scope to go", || !Path::new(SCOPE).exists());
        let units = systemctl(&["list-units", "--all", "--plain", "--no-legend", "*.scope"]);
        let left: Vec<&str> = units
            .lines()
            .filter(|line| line.contains("podspec") || line.contains("test"))
            .collect();
        assert!(left.is_empty(), "{units}");
    }
}

fn run(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn podspec(args: &[&str]) -> Outcome {
    run(Command::new(env!("CARGO_BIN_EXE_podspec")).args(args))
}

fn systemctl(args: &[&str]) -> String {
    run(Command::new("systemctl").args(args)).success()
}

fn cgroup_of(pid: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.trim().strip_prefix("0::").unwrap().to_owned()
}

#[test]
fn pods_live_in_a_delegated_scope() {
    let machine = Machine::new();
    let (one, two) = (machine.pod("one"), machine.pod("two"));
    podspec(&["up", "-d", &one]).success();
    let shown = systemctl(&["show", "podspec.scope", "-p", "ActiveState,Delegate,TasksMax"]);
    for line in ["ActiveState=active", "Delegate=yes", "TasksMax=infinity"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    // What the kernel says of a process, and of the limit that holds it.
    let cgroup = cgroup_of(&machine.pid("one", "a"));
    assert!(cgroup.starts_with("/system.slice/podspec.scope/"), "{cgroup}");
    let limit = fs::read_to_string(format!("{CGROUPS}{cgroup}/memory.max")).unwrap();
    assert_eq!(limit.trim(), (32 << 20).to_string());
    let inner = fs::read_to_string(Path::new(SCOPE).join("cgroup.procs")).unwrap();
    assert_eq!(inner, "", "no process is in an inner node");

    // The second finds it there; its end leaves the first alone, as does a reload of systemd.
    podspec(&["up", "-d", &two]).success();
    podspec(&["down", "two"]).success();
    systemctl(&["daemon-reload"]);
    let limit = fs::read_to_string(format!("{CGROUPS}{cgroup}/memory.max")).unwrap();
    assert_eq!(limit.trim(), (32 << 20).to_string());
    podspec(&["exec", "one/a", "--", "echo", "hello"]).success();
    podspec(&["down", "one"]).success();
    machine.assert_clean();

    // At once again, while systemd may still be at the end of the last.
    for _ in 0..5 {
        podspec(&["up", "-d", &one]).success();
        podspec(&["down", "one"]).success();
    }
    machine.assert_clean();
}

#[test]
fn many_come_at_once_and_systemd_ends_them_in_order() {
    let machine = Machine::new();
    let names = ["p1", "p2", "p3", "p4"];
    let files = names.map(|name| machine.pod(name));
    let clients: Vec<_> = files
        .iter()
        .map(|file| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_podspec"));
            command.args(["up", "-q", "-d", file]).stdin(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
    for name in names {
        let cgroup = cgroup_of(&machine.pid(name, "b"));
        assert!(cgroup.starts_with("/system.slice/podspec.scope/"), "{cgroup}");
    }
    systemctl(&["stop", "podspec.scope"]);
    wait_for("the pods to go", || {
        let pods = podspec(&["ps", "--format", "json"]).success();
        serde_json::from_str::<Value>(&pods).unwrap() == json!([])
    });
    // Each supervisor took its pod down: nothing waits for a `down`.
    let links = run(Command::new("ip").args(["-o", "link"])).success();
    assert!(!links.lines().any(|line| line.contains("master podspec0")), "{links}");
    machine.assert_clean();
}

#[test]
fn a_container_of_oci_has_a_scope_where_it_is_asked_for() {
    let machine = Machine::new();
    let bundle = machine.bundle("machine-test.slice:test:one");
    let refused = machine.oci(&["create", "--bundle", &bundle, "c"]).fails(1);
    assert!(refused.contains("use `--systemd-cgroup`"), "{refused}");
    let begin = |id: &str| {
        let mut command = Command::new(machine.root.join("podspec-oci"));
        command.args(["--systemd-cgroup", "run", "--detach", "--bundle", &bundle, id]);
        // The container keeps what it is given.
        let errors = fs::File::create(machine.root.join("errors")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let code = command.status().unwrap().code();
        (code, fs::read_to_string(machine.root.join("errors")).unwrap())
    };
    // Again at once: whoever has just ended holds no name.
    for _ in 0..5 {
        assert_eq!(begin("c"), (Some(0), String::new()));
        // What systemd has not given is not taken above its scope.
        let above = format!("{CGROUPS}/machine.slice/machine-test.slice/cgroup.subtree_control");
        let above = fs::read_to_string(above).unwrap();
        assert!(above.contains("memory") && !above.contains("rdma"), "{above}");
        let state: Value = serde_json::from_str(&machine.oci(&["state", "c"]).success()).unwrap();
        let cgroup = cgroup_of(&state["pid"].to_string());
        assert_eq!(cgroup, "/machine.slice/machine-test.slice/test-one.scope/container");
        let limit = fs::read_to_string(format!("{CGROUPS}{cgroup}/memory.max")).unwrap();
        assert_eq!(limit.trim(), (32 << 20).to_string());
        let (code, said) = begin("d");
        assert_eq!(code, Some(1));
        assert!(said.contains("test-one.scope has processes of somebody else"), "{said}");
        machine.oci(&["exec", "c", "echo", "hello"]).success();
        machine.oci(&["delete", "--force", "c"]).success();
    }
    assert_eq!(machine.oci(&["list", "-q"]).success(), "");
    wait_for("the scope to go", || {
        !Path::new("/sys/fs/cgroup/machine.slice/machine-test.slice/test-one.scope").exists()
    });

    let bundle = machine.bundle("/somewhere");
    let refused = machine.oci(&["--systemd-cgroup", "create", "--bundle", &bundle, "c"]).fails(1);
    assert!(refused.contains("it has the form `slice:prefix:name`"), "{refused}");
    machine.assert_clean();
}

/// By its own default on such a machine: `--cgroup-manager systemd`.
#[test]
fn podman_asks_for_scopes_and_gets_them() {
    let machine = Machine::new();
    let runtime = machine.root.join("podspec-oci");
    let rootfs = machine.root.join("rootfs");
    let podman = |args: &[&str]| {
        run(Command::new("podman").arg("--runtime").arg(&runtime).args(args)).success()
    };
    let rootfs = rootfs.to_str().unwrap();
    let said = podman(&["run", "--rm", "--network", "none", "--rootfs", rootfs, "echo", "hello"]);
    assert_eq!(said, "hello\n");
    podman(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        "--memory",
        "64m",
        "--rootfs",
        rootfs,
        "sleep",
        "1000",
    ]);
    let pid = podman(&["inspect", "web", "--format", "{{.State.Pid}}"]);
    let cgroup = cgroup_of(pid.trim());
    assert!(cgroup.starts_with("/machine.slice/libpod-"), "{cgroup}");
    assert!(cgroup.ends_with(".scope/container"), "{cgroup}");
    let limit = fs::read_to_string(format!("{CGROUPS}{cgroup}/memory.max")).unwrap();
    assert_eq!(limit.trim(), (64 << 20).to_string());
    assert_eq!(podman(&["exec", "web", "echo", "inside"]), "inside\n");
    assert!(podman(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]).contains("web 1"));
    podman(&["rm", "-f", "-t", "0", "web"]);
    wait_for("its scope to go", || !Path::new(CGROUPS).join(&cgroup[1..]).exists());
    machine.assert_clean();
}

/// A directory that a container was given of its host says nothing of who is the first process.
#[test]
fn elsewhere_systemd_is_not_asked() {
    let machine = Machine::new();
    let file = machine.pod("elsewhere");
    // Another is the first process here, and numbers pids anew.
    let mut inside = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let podspec = env!("CARGO_BIN_EXE_podspec");
    let script = format!(
        "{podspec} up -q -d {file} && cat /proc/$({podspec} inspect elsewhere/a | \
         sed -n 's/^ *\"pid\": \\([0-9]*\\).*/\\1/p' | head -1)/cgroup; {podspec} down -q elsewhere\n"
    );
    inside.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = inside.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("0::/podspec/"), "{text}");
    let _ = fs::remove_dir(Path::new(CGROUPS).join("podspec/supervisors"));
    let _ = fs::remove_dir(Path::new(CGROUPS).join("podspec"));
    machine.assert_clean();
}
