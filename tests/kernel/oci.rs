//! `podspec oci`: bundles of the OCI runtime spec, and the life of a container under the command line that podman and
//! containerd drive.

use crate::host::{Host, Outcome, wait_for};
use crate::terminal::Terminal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A bundle with a busybox; the runtime is a link to podspec.
pub struct Bundle<'a> {
    host: &'a Host,
    pub path: PathBuf,
    link: PathBuf,
}

impl<'a> Bundle<'a> {
    /// With a config.json of `podspec oci spec`, changed for this test; no terminal, a shell script as program.
    pub fn new(host: &'a Host, script: &str, change: impl FnOnce(&mut Value)) -> Self {
        let path = host.dir.join("bundle");
        let root = path.join("rootfs");
        for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in ["sh", "cat", "id", "ls", "sleep", "stty", "mount", "touch", "tty", "stat"] {
            let _ = symlink("busybox", root.join("bin").join(name));
        }
        let link = host.dir.join("podspec-oci");
        let _ = symlink(env!("CARGO_BIN_EXE_podspec"), &link);
        let bundle = Self { host, path, link };
        bundle.oci(&["spec", "--bundle", bundle.path.to_str().unwrap()]).success();
        bundle.rewrite(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(["sh", "-c", script]);
            // One for each test: the hierarchy is common to all.
            config["linux"]["cgroupsPath"] = json!(bundle.cgroup());
            change(config);
        });
        bundle
    }

    pub fn rewrite(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, config.to_string()).unwrap();
    }

    pub fn cgroup(&self) -> String {
        format!("/podspec/oci-{}", self.host.dir.file_name().unwrap().to_str().unwrap())
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.link);
        command.arg("--root").arg(self.root()).args(args);
        command
    }

    pub fn root(&self) -> PathBuf {
        self.host.dir.join("state")
    }

    pub fn oci(&self, args: &[&str]) -> Outcome {
        self.host.finish(self.host.start(&mut self.command(args)))
    }

    /// `create`, whose container keeps what it is given as its output.
    pub fn create(&self, args: &[&str], output: &Path) -> Outcome {
        let mut command = self.command(&["create", "--bundle", self.path.to_str().unwrap()]);
        let file = fs::File::create(output).unwrap();
        command.args(args).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        self.host.finish(self.host.spawn(&mut command))
    }

    pub fn run(&self) -> Outcome {
        self.oci(&["run", "--bundle", self.path.to_str().unwrap(), "c"])
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&self.oci(&["state", "c"]).success()).unwrap()
    }

    pub fn wait_status(&self, status: &str) {
        wait_for(&format!("the container to be {status}"), || self.state()["status"] == status);
    }

    /// Nothing of any container is left.
    pub fn assert_clean(&self) {
        assert_eq!(fs::read_dir(self.root()).map_or(0, Iterator::count), 0, "state is left");
        let root = crate::host::cgroup2_root().unwrap();
        assert!(!root.join(&self.cgroup()[1..]).exists(), "its cgroup is left");
        self.host.assert_clean();
    }
}

#[test]
fn a_container_lives_as_the_runtime_spec_has_it() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "echo begins; exec sleep 1000", |config| {
        config["annotations"] = json!({ "org.example": "yes" });
    });
    let (output, pid_file) = (host.dir.join("output"), host.dir.join("pid"));
    assert!(bundle.oci(&["state", "c"]).fails(1).contains("`c` does not exist"));
    let pid = pid_file.to_str().unwrap();
    bundle.create(&["--pid-file", pid, "c"], &output).success();
    let state = bundle.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["annotations"]["org.example"], "yes");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    assert_eq!(fs::read_to_string(&output).unwrap(), "", "nothing runs before start");
    let again = bundle.create(&["c"], &host.dir.join("again"));
    assert_eq!(again.code, Some(1));
    let said = fs::read_to_string(host.dir.join("again")).unwrap();
    assert!(said.contains("container with given ID already exists: c"), "{said}");
    assert!(bundle.oci(&["delete", "c"]).fails(1).contains("it is created"));
    // What is changed after create has no effect.
    bundle.rewrite(|config| config["process"]["args"] = json!(["false"]));

    bundle.oci(&["start", "c"]).success();
    assert_eq!(bundle.state()["status"], "running");
    wait_for("its output", || fs::read_to_string(&output).unwrap() == "begins\n");
    assert!(bundle.oci(&["start", "c"]).fails(1).contains("it is running"));
    assert!(bundle.oci(&["delete", "c"]).fails(1).contains("it is running"));
    assert!(bundle.oci(&["list"]).success().contains("running"));
    assert_eq!(bundle.oci(&["list", "-q"]).success(), "c\n");
    // Another whose record is no record is told of, and stands in nobody's way.
    fs::create_dir(bundle.root().join("torn")).unwrap();
    fs::write(bundle.root().join("torn/state.json"), "{").unwrap();
    let listed = bundle.oci(&["list", "-q"]);
    assert!(listed.stderr.contains("torn/state.json: cannot be understood"), "{listed}");
    assert_eq!(listed.success(), "c\n");
    bundle.oci(&["delete", "torn"]).fails(1);
    let forced = bundle.oci(&["delete", "--force", "torn"]);
    assert!(forced.stderr.contains("`torn` is not known, and may run on"), "{forced}");
    forced.success();

    bundle.oci(&["kill", "c", "KILL"]).success();
    bundle.wait_status("stopped");
    assert!(bundle.oci(&["kill", "c", "TERM"]).fails(1).contains("not running"));
    assert!(bundle.oci(&["start", "c"]).fails(1).contains("it is stopped"));
    bundle.oci(&["delete", "c"]).success();
    assert!(bundle.oci(&["delete", "c"]).fails(1).contains("does not exist"));
    bundle.oci(&["delete", "--force", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn a_created_container_can_be_killed_and_forced_away() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |_| {});
    let output = host.dir.join("output");
    bundle.create(&["c"], &output).success();
    bundle.oci(&["kill", "c", "9"]).success();
    bundle.wait_status("stopped");
    assert!(bundle.oci(&["start", "c"]).fails(1).contains("it is stopped"));
    bundle.oci(&["delete", "c"]).success();
    bundle.create(&["c"], &output).success();
    bundle.oci(&["delete", "--force", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn run_gives_the_programs_code_and_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let script = "id -u; id -g; id -G; pwd; echo $WORD; umask; cat /proc/self/status; \
                  touch /file || echo read-only; exit 7";
    let bundle = Bundle::new(&host, script, |config| {
        let process = &mut config["process"];
        process["user"] =
            json!({ "uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o027 });
        process["cwd"] = json!("/made/here");
        process["env"] = json!(["PATH=/bin", "WORD=a b"]);
        process["oomScoreAdj"] = json!(500);
        process["rlimits"] = json!([{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }]);
        config["root"]["readonly"] = json!(true);
    });
    fs::create_dir_all(bundle.path.join("rootfs/made/here")).unwrap();
    let ended = bundle.run();
    assert_eq!(ended.code, Some(7), "{ended}");
    let lines: Vec<&str> = ended.stdout.lines().take(6).collect();
    assert_eq!(lines, ["1000", "1001", "1001 7 8", "/made/here", "a b", "0027"]);
    assert!(ended.stdout.contains("NoNewPrivs:\t1"), "{ended}");
    assert!(ended.stdout.contains("CapEff:\t0000000000000000"), "{ended}");
    assert!(ended.stdout.contains("CapBnd:\t0000000020000420"), "{ended}");
    assert!(ended.stdout.ends_with("read-only\n"), "{ended}");
    bundle.rewrite(|config| config["process"]["args"] = json!(["nothing"]));
    let missing = bundle.run().fails(1);
    assert!(
        missing.contains(r#"exec: "nothing": executable file not found in $PATH"#),
        "{missing}"
    );
    bundle.assert_clean();
}

#[test]
fn what_cannot_be_carried_out_is_refused_and_nothing_is_left() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "true", |_| {});
    let whole = fs::read(bundle.path.join("config.json")).unwrap();
    let refused = |change: &dyn Fn(&mut Value), word: &str| {
        fs::write(bundle.path.join("config.json"), &whole).unwrap();
        bundle.rewrite(|config| change(config));
        let log = host.dir.join("log");
        let bundle_path = bundle.path.to_str().unwrap();
        let args = ["--log", log.to_str().unwrap(), "--log-format", "json", "run", "-b"];
        let told = bundle.oci(&[&args[..], &[bundle_path, "c"]].concat()).fails(1);
        assert!(told.contains(word), "{word}: {told}");
        let text = fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().unwrap().contains(word), "{text}");
        bundle.assert_clean();
        fs::remove_file(&log).unwrap();
    };
    refused(&|c| c["linux"]["intelRdt"] = json!({ "closID": "x" }), "intelRdt");
    refused(&|c| c["ociVersion"] = json!("3.0.0"), "ociVersion");
    refused(&|c| c["root"]["path"] = json!("nowhere"), "nowhere");
    refused(&|c| c["process"]["apparmorProfile"] = json!("strict"), "strict");
    refused(&|c| c["linux"]["cgroupsPath"] = json!("system.slice:x:y"), "cgroupfs");
    refused(&|c| c["linux"]["rootfsPropagation"] = json!("wide"), "rootfsPropagation wide");
    refused(
        &|c| c["linux"]["sysctl"] = json!({ "vm.swappiness": "1" }),
        "vm.swappiness: Operation not permitted",
    );
    refused(&|c| c["linux"]["resources"]["memory"] = json!({ "kernel": 1 << 20 }), "memory of the");
    if crate::resources::is_v2(("memory", "memory")) {
        for memory in [
            json!({ "kernelTCP": 1 << 20 }),
            json!({ "swappiness": 0 }),
            json!({ "disableOOMKiller": true }),
        ] {
            refused(
                &|c| c["linux"]["resources"]["memory"] = memory.clone(),
                "cgroup v2 has no such",
            );
        }
    }
    refused(
        &|c| {
            c["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": ["getcwd"], "action": "SCMP_ACT_NOTIFY" }]
            });
        },
        "listener",
    );
    let path = bundle.path.to_str().unwrap();
    let systemd = bundle.oci(&["--systemd-cgroup", "run", "--bundle", path, "c"]).fails(1);
    assert!(systemd.contains("systemd is not the first process here"), "{systemd}");
}

#[test]
fn a_seccomp_filter_of_the_document_holds_for_exec_too() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }]
        });
    });
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let refused = bundle.oci(&["exec", "c", "/bin/busybox", "mkdir", "/tmp/x"]).fails(1);
    assert!(refused.contains("not supported"), "{refused}");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

/// As a systemd in a container does, and a docker: then no process may be in the container's own cgroup.
#[test]
fn a_container_has_every_controller_for_cgroups_of_its_own() {
    let Some(host) = Host::new() else { return };
    let script = "cd /sys/fs/cgroup; ctrl=$(cat cgroup.controllers); set -- $ctrl; mkdir init; \
                  echo 1 > init/cgroup.procs; for c in hugetlb memory; do \
                  case \" $ctrl \" in *\" $c \"*) echo +$c > cgroup.subtree_control;; esac; done; \
                  echo \"$ctrl: $(cat cgroup.subtree_control)\"; exec sleep 1000";
    let bundle = Bundle::new(&host, script, |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        mounts.push(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup2",
            "options": ["rw", "nosuid", "noexec", "nodev"]
        }));
    });
    let output = host.dir.join("output");
    bundle.create(&["c"], &output).success();
    bundle.oci(&["start", "c"]).success();
    let said = || fs::read_to_string(&output).unwrap();
    wait_for("its own cgroups", || said().contains('\n'));
    let root = crate::host::cgroup2_root().unwrap();
    let machines = fs::read_to_string(root.join("cgroup.controllers")).unwrap();
    let (controllers, enabled) =
        said().trim().split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(controllers, machines.trim(), "all that the machine has");
    assert!(enabled.contains("hugetlb"), "{enabled}");
    let cgroup = bundle.oci(&["exec", "c", "/bin/cat", "/proc/self/cgroup"]).success();
    assert!(cgroup.lines().any(|line| line == "0::/init"), "{cgroup}");
    // What is frozen and killed is all of it.
    bundle.oci(&["pause", "c"]).success();
    assert_eq!(bundle.state()["status"], "paused");
    bundle.oci(&["resume", "c"]).success();
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

/// A hook that appends a line to a file.
fn hook(host: &Host, line: &str) -> Value {
    let file = host.dir.join("hooks");
    let script = format!("echo {line} $(cat) $WHO >> {}", file.display());
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["WHO=me", "PATH=/bin:/usr/bin"] })
}

#[test]
fn hooks_run_in_order_and_are_told_the_state() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "echo program >> /shared/hooks", |config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/shared", "type": "bind", "source": host.dir, "options": ["rbind", "rw"]
        }));
        let inside = json!({
            "path": "/bin/sh", "args": ["sh", "-c", "echo startContainer $(cat) >> /shared/hooks"]
        });
        config["hooks"] = json!({
            "prestart": [hook(&host, "prestart")],
            "createRuntime": [hook(&host, "createRuntime")],
            "createContainer": [hook(&host, "createContainer")],
            "startContainer": [inside],
            "poststart": [hook(&host, "poststart")],
            "poststop": [hook(&host, "poststop"), { "path": "/bin/false" }],
        });
    });
    let output = host.dir.join("output");
    bundle.create(&["c"], &output).success();
    let pid = bundle.state()["pid"].clone();
    let hooks = host.dir.join("hooks");
    let lines = || fs::read_to_string(&hooks).unwrap().lines().map(str::to_owned).collect();
    let made: Vec<String> = lines();
    let names = |lines: &[String]| {
        let first = lines.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned);
        first.collect::<Vec<_>>()
    };
    assert_eq!(names(&made), ["prestart", "createRuntime", "createContainer"]);
    for line in &made {
        let state: Value =
            serde_json::from_str(line.split_once(' ').unwrap().1.trim_end_matches(" me")).unwrap();
        assert_eq!(
            (&state["status"], &state["pid"], &state["id"]),
            (&json!("creating"), &pid, &json!("c"))
        );
    }
    bundle.oci(&["start", "c"]).success();
    bundle.wait_status("stopped");
    let warned = bundle.oci(&["delete", "c"]);
    assert_eq!(warned.code, Some(0), "a poststop hook that fails is no error");
    assert!(warned.stderr.contains("warning: the poststop hook /bin/false failed"), "{warned}");
    let all: Vec<String> = lines();
    let mut rest = names(&all[3..]);
    // The program runs side by side with poststart.
    rest[1..3].sort();
    assert_eq!(rest, ["startContainer", "poststart", "program", "poststop"]);
    assert!(all[3].contains(r#""status":"created""#), "{all:?}");
    assert!(all.iter().any(|line| line.starts_with("poststart") && line.contains("running")));
    assert!(all.iter().any(|line| line.starts_with("poststop") && line.contains("stopped")));
    bundle.assert_clean();
}

#[test]
fn a_hook_that_fails_ends_the_creation() {
    let Some(host) = Host::new() else { return };
    let failing = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo no way >&2; exit 3"] });
    for moment in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let bundle = Bundle::new(&host, "echo runs", |config| {
            config["hooks"] = json!({ moment: [failing], "poststop": [hook(&host, "poststop")] });
        });
        let told = bundle.run();
        assert_eq!((told.code, told.stdout.as_str()), (Some(1), ""), "{moment}: {told}");
        let words = format!("the {moment} hook /bin/sh failed (exit status: 3): no way");
        assert!(told.stderr.contains(&words), "{told}");
        fs::remove_file(bundle.path.join("config.json")).unwrap();
        bundle.assert_clean();
    }
    let stops = fs::read_to_string(host.dir.join("hooks")).unwrap();
    assert_eq!(stops.lines().count(), 4, "poststop hooks run all the same: {stops}");
}

#[test]
fn exec_runs_beside_the_program() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |_| {});
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let run = |args: &[&str]| bundle.oci(&[&["exec"], args].concat());
    let script = "id -u; id -G; pwd; echo $WORD; exit 9";
    let ended = run(&[
        "--user", "5:6", "-g", "7", "--cwd", "/tmp", "-e", "WORD=x", "c", "sh", "-c", script,
    ]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(9), "5\n6 7\n/tmp\nx\n"), "{ended}");
    let told = bundle.oci(&["--debug", "exec", "c", "id"]).stderr;
    assert!(told.contains("level=debug msg=\"it runs in the container as process "), "{told}");
    let caps = run(&["--cap", "CAP_CHOWN", "c", "cat", "/proc/self/status"]).success();
    assert!(caps.contains("CapEff:\t0000000020000421"), "{caps}");
    assert!(run(&["c", "nothing"]).fails(255).contains("executable file not found in $PATH"));
    let process =
        host.file("process.json", r#"{"user":{"uid":1,"gid":2},"args":["id","-u"],"cwd":"/"}"#);
    // Without an environment nothing is found but by the default path.
    assert_eq!(run(&["--process", process.to_str().unwrap(), "c"]).success(), "1\n");
    let pid_file = host.dir.join("pid");
    let words = ["exec", "-d", "--pid-file", pid_file.to_str().unwrap(), "c", "sleep", "500"];
    let mut detached = bundle.command(&words);
    detached.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    host.finish(host.spawn(&mut detached)).success();
    let pid = fs::read_to_string(&pid_file).unwrap();
    let pids = bundle.oci(&["ps", "c", "-eo", "pid"]).success();
    assert!(pids.lines().any(|line| line.trim() == pid), "{pids}");
    bundle.oci(&["pause", "c"]).success();
    assert_eq!(bundle.state()["status"], "paused");
    assert!(run(&["c", "id"]).fails(255).contains("cannot exec in a paused container"));
    bundle.oci(&["resume", "c"]).success();
    bundle.oci(&["kill", "--all", "c", "KILL"]).success();
    bundle.wait_status("stopped");
    assert!(run(&["c", "id"]).fails(255).contains("it is stopped"));
    bundle.oci(&["delete", "c"]).success();
    bundle.assert_clean();
}

/// Where the document says nothing of them.
#[test]
fn a_capability_for_exec_brings_no_others() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |config| {
        config["process"].as_object_mut().unwrap().remove("capabilities");
    });
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let status = bundle.oci(&["exec", "--cap", "CAP_CHOWN", "c", "cat", "/proc/self/status"]);
    let status = status.success();
    for (set, has) in [("Inh", 0), ("Prm", 1), ("Eff", 1), ("Bnd", 1), ("Amb", 0)] {
        assert!(status.contains(&format!("Cap{set}:\t{has:016x}")), "{status}");
    }
    bundle.oci(&["delete", "--force", "c"]).success();
    bundle.assert_clean();
}

/// The master that a runtime hands over.
fn receive(listener: &UnixListener) -> fs::File {
    let (connection, _) = listener.accept().unwrap();
    let mut text = [0; 64];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message =
        recvmsg::<()>(connection.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())
            .unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
        panic!("no descriptor came");
    };
    // SAFETY: the kernel has just made it for us.
    #[allow(unsafe_code)]
    fs::File::from(unsafe { OwnedFd::from_raw_fd(fds[0]) })
}

#[test]
fn a_terminal_goes_through_the_console_socket() {
    let Some(host) = Host::new() else { return };
    let script =
        "stty size; tty; stat -c %t:%T /dev/console; stty -echo; read word; echo got $word";
    let bundle = Bundle::new(&host, script, |config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({ "height": 20, "width": 70 });
    });
    let refused = bundle.create(&["c"], &host.dir.join("output"));
    assert_eq!(refused.code, Some(1));
    let socket = host.dir.join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    bundle
        .create(&["--console-socket", socket.to_str().unwrap(), "c"], &host.dir.join("output"))
        .success();
    let mut master = receive(&listener);
    bundle.oci(&["start", "c"]).success();
    master.write_all(b"words\n").unwrap();
    let mut all = Vec::new();
    let mut bite = [0; 512];
    // Its end is an error of input and output, when nobody has the other side any more.
    while let Ok(read @ 1..) = master.read(&mut bite) {
        all.extend_from_slice(&bite[..read]);
    }
    let text = String::from_utf8(all).unwrap();
    for line in ["20 70", "/dev/pts/0", "88:0"] {
        assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
    }
    assert!(text.ends_with("got words\r\n"), "{text}");
    bundle.wait_status("stopped");
    bundle.oci(&["delete", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn run_lends_its_own_terminal() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "stty size; read word; echo got $word; exit 4", |config| {
        config["process"]["terminal"] = json!(true);
    });
    let (root, path) = (bundle.root(), bundle.path.clone());
    let (root, path) = (root.to_str().unwrap(), path.to_str().unwrap());
    let mut terminal = Terminal::start(&host, &["oci", "--root", root, "run", "-b", path, "c"]);
    terminal.wait_text("30 100\r\n");
    terminal.keys(b"this\r");
    let ended = terminal.end(&host);
    assert_eq!(ended.code, Some(4), "{ended}");
    assert!(terminal.text().contains("got this"), "{}", terminal.text());
    assert!(terminal.is_restored());
    bundle.assert_clean();
}

#[test]
fn mounts_are_as_the_document_has_them() {
    let Some(host) = Host::new() else { return };
    let data = host.dir.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("file"), "from the host").unwrap();
    let script = "cat /bound/file; touch /bound/new 2>/dev/null || echo refused; cat /up/kept; \
                  stat -c %a /up /up/kept; cat /proc/self/mountinfo; cat /proc/sys/kernel/msgmax";
    let bundle = Bundle::new(&host, script, |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({
            "destination": "/bound", "source": data, "options": ["rbind", "ro", "rslave", "nosuid"]
        }));
        mounts.push(json!({
            "destination": "/up", "type": "tmpfs", "source": "tmpfs",
            "options": ["tmpcopyup", "nodev", "size=1m"]
        }));
        mounts.push(json!({
            "destination": "/shared", "type": "tmpfs", "source": "mine", "options": ["rshared"]
        }));
        config["linux"]["sysctl"] = json!({ "kernel.msgmax": "4321" });
        config["linux"]["rootfsPropagation"] = json!("slave");
    });
    let up = bundle.path.join("rootfs/up");
    fs::create_dir_all(&up).unwrap();
    fs::write(up.join("kept"), "copied\n").unwrap();
    fs::set_permissions(up.join("kept"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(&up, fs::Permissions::from_mode(0o711)).unwrap();
    let text = bundle.run().success();
    assert!(text.starts_with("from the hostrefused\ncopied\n711\n640\n"), "{text}");
    let of = |at: &str| {
        let line = text.lines().find(|line| line.split(' ').nth(4) == Some(at));
        line.unwrap_or_else(|| panic!("{at} is no mount: {text}")).to_owned()
    };
    assert!(of("/bound").contains("ro,nosuid"), "{}", of("/bound"));
    assert!(of("/shared").contains(" shared:") && of("/shared").contains(" mine "), "{text}");
    assert!(of("/").contains(" ro,"), "{}", of("/"));
    assert!(text.ends_with("\n4321\n"), "{text}");
    assert!(!data.join("new").exists());
    bundle.assert_clean();
}

#[test]
fn a_root_without_mounts_gets_devices_and_keeps_the_hosts() {
    let Some(host) = Host::new() else { return };
    let script = "ls -l /dev/null /dev/fuse; echo x > /dev/null && echo written; \
                  cat /etc/secret; ls /etc/hidden; touch /etc/locked/x || echo locked";
    let bundle = Bundle::new(&host, script, |config| {
        config["mounts"] = json!([]);
        config["root"]["readonly"] = json!(false);
        config["linux"]["maskedPaths"] = json!(["/etc/secret", "/etc/hidden", "/none"]);
        config["linux"]["readonlyPaths"] = json!(["/etc/locked"]);
        config["linux"]["devices"] = json!([
            { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3 }
        ]);
    });
    let etc = bundle.path.join("rootfs/etc");
    fs::write(etc.join("secret"), "hunter2").unwrap();
    fs::create_dir_all(etc.join("hidden/away")).unwrap();
    fs::create_dir_all(etc.join("locked")).unwrap();
    let before = fs::metadata("/dev/null").unwrap();
    let ended = bundle.run().success();
    let lines: Vec<&str> = ended.lines().collect();
    assert!(lines[0].starts_with("crw-r-----") && lines[0].contains("10, 229"), "{ended}");
    assert!(lines[1].starts_with("crw-rw-rw-"), "{ended}");
    assert_eq!(lines[2..], ["written", "locked"], "{ended}");
    // A second time with what the first has made.
    bundle.run().success();
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!(before.permissions(), after.permissions());
    bundle.assert_clean();
}

#[test]
fn a_link_in_the_root_leads_nowhere_outside() {
    let Some(host) = Host::new() else { return };
    let canary = host.dir.join("canary");
    fs::create_dir_all(&canary).unwrap();
    for target in ["/dev", "/proc", "/data"] {
        let bundle = Bundle::new(&host, "true", |config| {
            config["mounts"].as_array_mut().unwrap().push(json!({
                "destination": "/data", "type": "bind", "source": "rootfs/etc", "options": ["bind"]
            }));
        });
        let place = bundle.path.join("rootfs").join(&target[1..]);
        let _ = fs::remove_dir(&place);
        symlink(&canary, &place).unwrap();
        bundle.run();
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{target}");
        fs::remove_dir_all(&bundle.path).unwrap();
        bundle.assert_clean();
    }
}

#[test]
fn ids_and_clocks_are_the_documents() {
    let Some(host) = Host::new() else { return };
    let data = host.dir.join("data");
    fs::create_dir_all(&data).unwrap();
    let script = "id -u; cat /proc/self/uid_map /proc/self/timens_offsets; \
                  echo x > /mapped/file; stat -c %u /mapped/file; exec sleep 1000";
    let bundle = Bundle::new(&host, script, |config| {
        let ids = json!([{ "containerID": 0, "hostID": 200_000, "size": 1000 }]);
        let linux = &mut config["linux"];
        linux["uidMappings"] = ids.clone();
        linux["gidMappings"] = ids.clone();
        linux["timeOffsets"] = json!({ "boottime": { "secs": 5000, "nanosecs": 0 } });
        let kinds = linux["namespaces"].as_array_mut().unwrap();
        kinds.extend([json!({ "type": "user" }), json!({ "type": "time" })]);
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/mapped", "type": "bind", "source": data, "options": ["bind", "rw"],
            "uidMappings": ids, "gidMappings": ids
        }));
    });
    // As whoever makes such a bundle gives it to the container's root.
    host.sh(&format!("chown -R 200000:200000 {}", bundle.path.join("rootfs").display())).success();
    let output = host.dir.join("output");
    bundle.create(&["c"], &output).success();
    bundle.oci(&["start", "c"]).success();
    let text = || fs::read_to_string(&output).unwrap();
    wait_for("the owner", || text().lines().count() >= 5);
    let words: Vec<String> = text().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[..4], ["0", "0", "200000", "1000"], "{}", text());
    assert!(text().contains("boottime") && text().contains("5000"), "{}", text());
    assert!(text().ends_with("\n0\n"), "{}", text());
    let owner = fs::metadata(data.join("file")).unwrap().uid();
    assert_eq!(owner, 0, "on the host the file is root's");
    let status = fs::read_to_string(format!("/proc/{}/status", bundle.state()["pid"])).unwrap();
    assert!(status.contains("Uid:\t200000\t"), "{status}");
    assert_eq!(bundle.oci(&["exec", "c", "id", "-u"]).success(), "0\n");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn a_mount_has_ids_of_its_own() {
    let Some(host) = Host::new() else { return };
    let ids =
        |on_disk: u32, seen: u32| json!([{ "containerID": on_disk, "hostID": seen, "size": 10 }]);
    for users in [false, true] {
        let data = host.dir.join("data");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("file"), "").unwrap();
        std::os::unix::fs::chown(&data, Some(500), Some(500)).unwrap();
        let script = "stat -c %u:%g /one/file /two/file; touch /own/new; exec sleep 1000";
        let bundle = Bundle::new(&host, script, |config| {
            // Outside of the container, its root.
            let base = if users { 200_000 } else { 0 };
            if users {
                let linux = &mut config["linux"];
                let own = json!([{ "containerID": 0, "hostID": base, "size": 1000 }]);
                (linux["uidMappings"], linux["gidMappings"]) = (own.clone(), own);
                linux["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            }
            let mount = |at: &str, uids, gids| {
                json!({ "destination": at, "type": "bind", "source": data,
                    "options": ["bind", "rw"], "uidMappings": uids, "gidMappings": gids })
            };
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.push(mount("/one", ids(0, base), ids(0, base + 20)));
            mounts.push(mount("/two", ids(0, base + 30), ids(0, base + 40)));
            mounts.push(mount("/own", ids(500, base), ids(500, base)));
        });
        if users {
            let root = bundle.path.join("rootfs").display().to_string();
            host.sh(&format!("chown -R 200000:200000 {root}")).success();
        }
        let output = host.dir.join("output");
        bundle.create(&["c"], &output).success();
        bundle.oci(&["start", "c"]).success();
        let text = || fs::read_to_string(&output).unwrap();
        wait_for("the file", || data.join("new").exists() || text().lines().count() > 2);
        assert_eq!(text(), "0:20\n30:40\n", "with users: {users}");
        let new = fs::metadata(data.join("new")).unwrap();
        let owner = (new.uid(), new.gid());
        assert_eq!(owner, (500, 500), "on the host");
        bundle.oci(&["delete", "-f", "c"]).success();
        fs::remove_dir_all(&bundle.path).unwrap();
        fs::remove_dir_all(&data).unwrap();
        bundle.assert_clean();
    }
}

#[test]
fn the_runtime_cannot_be_overwritten_from_inside() {
    use nix::sys::statvfs::{FsFlags, fstatvfs};
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |_| {});
    let before = fs::read(env!("CARGO_BIN_EXE_podspec")).unwrap();
    bundle.create(&["c"], &host.dir.join("output")).success();
    // It waits in the container, and what it runs is on a mount that is read-only and nowhere.
    let exe = fs::File::open(format!("/proc/{}/exe", bundle.state()["pid"])).unwrap();
    assert!(fstatvfs(&exe).unwrap().flags().contains(FsFlags::ST_RDONLY));
    bundle.oci(&["start", "c"]).success();
    let grab =
        "for n in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do echo x >> $p/exe; done; done";
    let grabber = host.start(&mut bundle.command(&["exec", "c", "sh", "-c", grab]));
    for _ in 0..20 {
        bundle.oci(&["exec", "c", "/proc/self/exe", "--version"]);
    }
    host.finish(grabber);
    assert!(fs::read(env!("CARGO_BIN_EXE_podspec")).unwrap() == before, "it has been changed");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn limits_and_devices_hold() {
    let Some(host) = Host::new() else { return };
    let script = "cat /proc/self/cgroup; cat /dev/zero | true; \
                  /bin/busybox mknod /tmp/sda b 8 0; cat /tmp/sda || echo no disk";
    let bundle = Bundle::new(&host, script, |config| {
        config["linux"]["resources"]["pids"] = json!({ "limit": 55 });
        config["linux"]["resources"]["unified"] = json!({ "cgroup.max.depth": "3" });
        config["linux"]["resources"]["hugepageLimits"] =
            json!([{ "pageSize": "2MB", "limit": 4194304 }]);
        config["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_MKNOD", "CAP_NEVER_HEARD"]);
        }
    });
    let ended = bundle.run();
    assert!(ended.stdout.contains("no disk"), "{ended}");
    assert!(ended.stderr.contains("CAP_NEVER_HEARD\" is unknown, and left out"), "{ended}");
    bundle.rewrite(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    bundle.create(&["c"], &host.dir.join("output")).success();
    let root = crate::host::cgroup2_root().unwrap();
    let cgroup = root.join(&bundle.cgroup()[1..]);
    assert_eq!(fs::read_to_string(cgroup.join("cgroup.max.depth")).unwrap(), "3\n");
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        assert_eq!(fs::read_to_string(cgroup.join(file)).unwrap(), "4194304\n", "{file}");
    }
    let pids = [
        cgroup.join("pids.max"),
        Path::new("/sys/fs/cgroup/pids").join(&bundle.cgroup()[1..]).join("pids.max"),
    ];
    let found = pids.iter().find_map(|path| fs::read_to_string(path).ok());
    assert_eq!(found.as_deref(), Some("55\n"));
    bundle.oci(&["delete", "-f", "c"]).success();
    assert!(!pids[1].exists());
    bundle.assert_clean();
}

#[test]
fn descriptors_are_handed_on_if_asked_for() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "ls /proc/self/fd; cat <&3", |_| {});
    let (link, root, path) = (bundle.link.display(), bundle.root(), bundle.path.display());
    let file = host.file("given", "handed on");
    let run = |more: &str| {
        let command = format!("{link} --root {} run {more} -b {path} c", root.display());
        host.sh(&format!("exec 3<{} 4<{}; {command}", file.display(), file.display()))
    };
    // The listing has its own descriptor.
    assert_eq!(run("--preserve-fds 1").success(), "0\n1\n2\n3\n4\nhanded on");
    let closed = run("");
    assert!(closed.stdout.starts_with("0\n1\n2\n3\n") && closed.code != Some(0), "{closed}");
    // Of more than are open those are handed on that are, and none of podspec's own.
    let all = run("--preserve-fds 50").success();
    let callers = host.sh(&format!("exec 3<{0} 4<{0}; ls /proc/self/fd", file.display())).success();
    // Whoever runs the tests may have left more open.
    let is_among = |number: &&str| number.parse::<u32>().is_ok_and(|number| number < 53);
    let callers: Vec<&str> = callers.lines().filter(is_among).collect();
    let (numbers, text) = all.rsplit_once('\n').unwrap();
    assert_eq!((numbers.lines().collect::<Vec<_>>(), text), (callers, "handed on"));
    bundle.assert_clean();
}
