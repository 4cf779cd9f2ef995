//! The sandbox against the real kernel: containers whose root is an overlay of this machine's, hostile images, infra,
//! entering, and what each of them leaves behind. Each test has a cgroup and a directory of its own.

use super::*;
use crate::cgroup::{Cgroup, Hierarchy};
use oci_spec::runtime::Spec;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{WaitId, WaitIdOptions};
use serde_json::json;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Directories and a cgroup for one test, removed at its end.
struct Bench {
    directory: PathBuf,
    hierarchy: Hierarchy,
    path: PathBuf,
    cgroup: Cgroup,
    output: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let id = format!("sandbox-{name}-{}", std::process::id());
        let directory = PathBuf::from("/var/tmp").join(&id);
        for part in ["upper", "work", "image", "canary"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        let hierarchy = Hierarchy::open().unwrap();
        let path = Path::new("podspec").join(&id);
        let cgroup = hierarchy.make(&path).unwrap();
        let output = directory.join("output");
        Self { directory, hierarchy, path, cgroup, output }
    }

    /// The machine's own root below an upper layer of the test.
    fn host(&self) -> Overlay {
        self.over(Path::new("/"))
    }

    fn over(&self, lower: &Path) -> Overlay {
        Overlay {
            at: "/".into(),
            lower: vec![lower.into()],
            upper: self.directory.join("upper"),
            work: self.directory.join("work"),
        }
    }

    fn create(&self, oci: &Spec) -> Result<Child, SandboxError> {
        self.create_in(oci, &[self.host()])
    }

    fn create_in(&self, oci: &Spec, overlays: &[Overlay]) -> Result<Child, SandboxError> {
        let output = fs::File::create(&self.output).unwrap();
        let fd = output.as_fd();
        let beneath = &std::collections::BTreeMap::new();
        create(&Order {
            oci,
            filter: None,
            overlays,
            beneath,
            stdin: None,
            stdout: fd,
            stderr: fd,
            cgroup: self.cgroup.fd(),
            init: false,
            join: &[],
            extras: Extras::default(),
        })
    }

    /// What the shell script prints, run as a whole container.
    fn run(&self, oci: &Spec) -> String {
        let child = self.create(oci).unwrap();
        self.finish(&child)
    }

    fn finish(&self, child: &Child) -> String {
        expect_ready(child);
        start(child.channel.as_fd()).unwrap();
        expect_running(child);
        let status = wait(child);
        let output = fs::read_to_string(&self.output).unwrap();
        assert_eq!(status, Some(0), "output: {output}");
        output
    }

    fn failure(&self, oci: &Spec, overlays: &[Overlay]) -> String {
        match self.create_in(oci, overlays) {
            Err(error) => error.to_string(),
            Ok(child) => {
                let said = next(&child);
                assert_eq!(wait(&child), Some(1));
                let Report::Failed(error) = said else { panic!("{said:?} instead of a failure") };
                error.to_string()
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let removed = self.hierarchy.remove(&self.path);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let _ = fs::remove_dir_all(&self.directory);
        if !std::thread::panicking() {
            removed.unwrap();
            assert!(!mounts.contains(&*self.directory.to_string_lossy()), "a mount is left behind");
        }
    }
}

/// The next word of a child, within 5 s.
fn next(child: &Child) -> Report {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match report(child.channel.as_fd()) {
            Report::NotYet => {}
            said => return said,
        }
        assert!(Instant::now() < deadline, "nothing said");
        let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
        let _ =
            rustix::event::poll(&mut [PollFd::new(&child.channel, PollFlags::IN)], Some(&patience));
    }
}

fn expect_ready(child: &Child) {
    let said = next(child);
    assert!(matches!(said, Report::Ready), "{said:?}");
}

fn expect_running(child: &Child) {
    let said = next(child);
    assert!(matches!(said, Report::Running), "{said:?}");
}

/// The exit code; None for a signal.
fn wait(child: &Child) -> Option<i32> {
    let id = WaitId::PidFd(child.pidfd.as_fd());
    rustix::process::waitid(id, WaitIdOptions::EXITED).unwrap().unwrap().exit_status()
}

fn document(args: &[&str]) -> serde_json::Value {
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs" },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "uts" }, { "type": "ipc" },
                { "type": "network" }, { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
                "/sys/devices/virtual/powercap", "/etc/shadow", "/nowhere",
            ],
            "readonlyPaths": ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn spec(document: serde_json::Value) -> Spec {
    serde_json::from_value(document).unwrap()
}

fn shell(script: &str) -> serde_json::Value {
    document(&["/bin/sh", "-ec", script])
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_else(|| panic!("no {key} in {text}"))
        .trim()
}

#[test]
fn a_container_has_the_identity_of_its_document() {
    let bench = Bench::new("identity");
    let mut oci = shell(
        "cat /proc/self/status; echo umask=$(umask); echo id=$(id -u):$(id -G); echo cwd=$(pwd)",
    );
    oci["process"]["user"] =
        json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o027 });
    oci["process"]["cwd"] = json!("/made/by/us");
    let said = bench.run(&spec(oci));
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(&said, set), "0000000000000000", "{set}");
    }
    assert_eq!(line(&said, "CapBnd:"), format!("{:016x}", 1 | (1 << 5) | (1 << 6) | (1 << 7)));
    assert_eq!(line(&said, "NoNewPrivs:"), "1");
    assert_eq!(line(&said, "SigIgn:"), "0000000000000000");
    assert_eq!(line(&said, "SigBlk:"), "0000000000000000");
    assert_eq!(line(&said, "umask="), "0027");
    assert_eq!(line(&said, "id="), "1000:1001 5 7");
    assert_eq!(line(&said, "cwd="), "/made/by/us");
}

#[test]
fn root_has_the_capabilities_of_the_document_and_no_more() {
    let bench = Bench::new("root");
    let said = bench.run(&spec(shell("cat /proc/self/status; hostname; echo pid=$$")));
    let four = format!("{:016x}", 1 | (1 << 5) | (1 << 6) | (1 << 7));
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(line(&said, set), four, "{set}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(line(&said, set), "0000000000000000", "{set}");
    }
    assert!(said.lines().any(|line| line == "box"), "{said}");
    assert_eq!(line(&said, "pid="), "1");
}

#[test]
fn no_descriptor_of_the_host_gets_in() {
    let bench = Bench::new("descriptors");
    let leak = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let said = bench.run(&spec(shell("ls -l /proc/self/fd; ls /proc/self/fd | wc -l; stat -c %t:%T /proc/self/fd/0/ 2>&1 || true")));
    // ls itself holds one more, on the directory.
    assert!(said.lines().any(|line| line == "4"), "{said}");
    assert!(said.contains("0 -> /dev/null"), "{said}");
    assert!(!said.contains("-> /\n"), "{said}");
}

#[test]
fn mounts_devices_masks_and_read_only_paths_are_as_asked() {
    let bench = Bench::new("mounts");
    let script = "cat /proc/self/mountinfo; ls -la /dev; stat -c 'shadow=%t:%T' /etc/shadow; stat -c 'keys=%t:%T' /proc/keys
        echo x > /proc/sys/kernel/domainname && echo WRITTEN || true
        mkdir /sys/fs/cgroup/x && echo WRITTEN || true
        touch /sys/firmware/x && echo WRITTEN || true
        echo cgroup=$(cat /proc/self/cgroup | grep ^0:)
        test -c /dev/null && echo > /dev/null && head -c 4 /dev/zero | wc -c; chmod 0 /proc/keys && echo WRITTEN || true";
    let said = bench.run(&spec(shell(script)));
    let mount = |at: &str| {
        let mark = format!(" {at} ");
        said.lines()
            .find(|line| line.contains(&mark) && line.contains(" - "))
            .unwrap_or_else(|| panic!("{at}: {said}"))
    };
    assert!(mount("/sys").contains(" ro,nosuid,nodev,noexec"));
    assert!(mount("/sys/fs/cgroup").contains("cgroup2"));
    assert!(mount("/proc").contains(" rw,nosuid,nodev,noexec"));
    assert!(mount("/proc/sys").contains(" ro,"));
    assert!(mount("/dev/pts").contains("ptmxmode=666"));
    assert_eq!(line(&said, "shadow="), "1:3");
    assert_eq!(line(&said, "keys="), "1:3");
    assert!(!said.contains("WRITTEN"), "{said}");
    let null =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata("/dev/null").unwrap().permissions());
    assert_eq!(null & 0o777, 0o666, "a container has changed the host's null");
    assert_eq!(line(&said, "cgroup="), "0::/");
    assert!(said.contains("ptmx -> pts/ptmx"));
    assert!(
        !said.contains(&*bench.directory.to_string_lossy()) || said.contains("upperdir="),
        "{said}"
    );
}

#[test]
fn a_read_only_root_takes_nothing() {
    let bench = Bench::new("readonly");
    let mut oci = shell("touch /x 2>&1 || true; touch /dev/shm/x && echo shm");
    oci["root"]["readonly"] = json!(true);
    let said = bench.run(&spec(oci));
    assert!(said.contains("Read-only") && said.contains("shm"), "{said}");
}

#[test]
fn binds_are_made_inside_the_upper_layer() {
    let bench = Bench::new("binds");
    fs::write(bench.directory.join("canary/file"), "content").unwrap();
    let mut oci = shell(
        "cat /etc/new-file; cat /a/b/c/file; touch /a/b/c/x 2>&1 || true; cat /proc/self/mountinfo",
    );
    let canary = bench.directory.join("canary");
    let mounts = oci["mounts"].as_array_mut().unwrap();
    mounts.push(json!({ "destination": "/etc/new-file", "type": "bind", "source": canary.join("file"), "options": ["bind", "ro"] }));
    mounts.push(json!({ "destination": "/a/b/c", "type": "bind", "source": canary, "options": ["rbind", "ro", "nosuid", "nodev"] }));
    let said = bench.run(&spec(oci));
    assert!(said.starts_with("contentcontent"), "{said}");
    assert!(said.contains("Read-only"), "{said}");
    assert!(said.lines().any(|line| line.contains(" /a/b/c ro,nosuid,nodev")), "{said}");
    assert!(bench.directory.join("upper/etc/new-file").is_file());
    assert!(!Path::new("/etc/new-file").exists() && !Path::new("/a/b/c").exists());
    assert!(!canary.join("x").exists());
}

/// An image directory with the tools of this machine bound in, so that only its links are of interest.
fn hostile(bench: &Bench) -> (PathBuf, serde_json::Value) {
    let image = bench.directory.join("image");
    let mut oci = shell("cat /etc/hosts; readlink -f /etc/hosts");
    let mounts = oci["mounts"].as_array_mut().unwrap();
    for place in ["/bin", "/usr", "/lib", "/lib64"] {
        mounts.push(json!({ "destination": place, "type": "bind", "source": place, "options": ["rbind", "ro"] }));
    }
    (image, oci)
}

fn bind_hosts(bench: &Bench, oci: &mut serde_json::Value) {
    let hosts = bench.directory.join("hosts");
    fs::write(&hosts, "ours\n").unwrap();
    let mount = json!({ "destination": "/etc/hosts", "type": "bind", "source": hosts, "options": ["bind"] });
    oci["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn links_of_an_image_stay_in_the_image() {
    for (case, canary_name) in [
        ("absolute", "canary-absolute"),
        ("climbing", "canary-climbing"),
        ("directory", "canary-dir"),
    ] {
        let bench = Bench::new(case);
        let (image, mut oci) = hostile(&bench);
        bind_hosts(&bench, &mut oci);
        match case {
            "absolute" => {
                fs::create_dir(image.join("etc")).unwrap();
                std::os::unix::fs::symlink(format!("/{canary_name}"), image.join("etc/hosts"))
                    .unwrap();
            }
            "climbing" => {
                fs::create_dir(image.join("etc")).unwrap();
                std::os::unix::fs::symlink(
                    format!("../../../../{canary_name}"),
                    image.join("etc/hosts"),
                )
                .unwrap();
            }
            _ => std::os::unix::fs::symlink("/", image.join("etc")).unwrap(),
        }
        let child = bench.create_in(&spec(oci), &[bench.over(&image)]).unwrap();
        let said = bench.finish(&child);
        assert!(said.starts_with("ours\n"), "{case}: {said}");
        assert!(!Path::new("/").join(canary_name).exists(), "{case} got out");
        assert!(!Path::new("/hosts").exists(), "{case} got out");
        assert_eq!(fs::read_dir(bench.directory.join("canary")).unwrap().count(), 0);
    }
}

#[test]
fn a_link_where_the_kernels_files_belong_is_refused() {
    for place in ["proc", "sys", "dev"] {
        let bench = Bench::new(&format!("link-{place}"));
        let (image, oci) = hostile(&bench);
        fs::create_dir(image.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("/elsewhere", image.join(place)).unwrap();
        let said = bench.failure(&spec(oci), &[bench.over(&image)]);
        assert_eq!(said, format!("cannot find in the rootfs the mount target /{place}"));
    }
}

#[test]
fn a_volume_cannot_cover_the_kernels_files() {
    for place in ["/proc", "/proc/self/attr", "//proc/.", "/dev", "/sys/kernel", "/link/self"] {
        let bench = Bench::new("cover");
        let (image, mut oci) = hostile(&bench);
        std::os::unix::fs::symlink("/proc", image.join("link")).unwrap();
        let source = bench.directory.join("canary");
        let mount =
            json!({ "destination": place, "type": "bind", "source": source, "options": ["rbind"] });
        oci["mounts"].as_array_mut().unwrap().push(mount);
        let said = bench.failure(&spec(oci), &[bench.over(&image)]);
        assert!(said.starts_with("cannot "), "{place}: {said}");
    }
}

#[test]
fn failures_say_what_is_missing() {
    let bench = Bench::new("failures");
    let overlays = [bench.host()];
    let program = |args: &[&str]| bench.failure(&spec(document(args)), &overlays);
    assert_eq!(program(&["/bin/htpd"]), "no such file in the rootfs: /bin/htpd");
    assert_eq!(program(&["htpd"]), "no such file in the rootfs: htpd");
    assert_eq!(program(&["/etc/passwd"]), "not an executable program: /etc/passwd");
    assert_eq!(program(&["/etc"]), "not an executable program: /etc");
    let mut oci = document(&["/bin/true"]);
    oci["process"]["cwd"] = json!("/etc/passwd");
    assert_eq!(
        bench.failure(&spec(oci), &overlays),
        "cannot change to the working directory /etc/passwd"
    );
    let mut oci = document(&["/bin/true"]);
    oci["linux"]["namespaces"][4] = json!({ "type": "network", "path": "/run/netns/none-such" });
    assert_eq!(bench.failure(&spec(oci), &overlays), "cannot join namespace /run/netns/none-such");
    let mut oci = document(&["/bin/true"]);
    oci["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    assert_eq!(bench.failure(&spec(oci), &overlays), "cannot carry out the OCI document's seccomp");
    let mut oci = document(&["/bin/true"]);
    oci["mounts"][0]["type"] = json!("ext4");
    assert_eq!(
        bench.failure(&spec(oci), &overlays),
        "cannot carry out the OCI document's mount type ext4"
    );
}

#[test]
fn a_working_directory_cannot_be_the_hosts() {
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/4/../..", "/proc/1/root/../../.."] {
        let bench = Bench::new("cwd");
        let mut oci = shell("pwd; test ! -e /proc/self/cwd/run/host-marker && echo inside");
        oci["process"]["cwd"] = json!(cwd);
        let child = bench.create(&spec(oci)).unwrap();
        match next(&child) {
            Report::Failed(_) => assert_eq!(wait(&child), Some(1)),
            Report::Ready => {
                let here = fs::read_link(format!("/proc/{}/cwd", child.pid)).unwrap();
                assert!(!here.starts_with(&bench.directory), "{}", here.display());
                bench.cgroup.kill().unwrap();
                assert_eq!(wait(&child), None);
            }
            said => panic!("{said:?}"),
        }
    }
}

#[test]
fn a_sysctl_goes_to_the_containers_namespace_only() {
    let bench = Bench::new("sysctl");
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let mut oci = shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    oci["linux"]["sysctl"] = json!({ "net.ipv4.ip_unprivileged_port_start": "77" });
    assert_eq!(bench.run(&spec(oci)), "77\n");
    assert_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(),
        before
    );
    for name in ["kernel.core_pattern", "net/ipv4/../../kernel/core_pattern"] {
        let mut oci = document(&["/bin/true"]);
        oci["linux"]["sysctl"] = json!({ name: "x" });
        let said = bench.failure(&spec(oci), &[bench.host()]);
        assert_eq!(said, format!("cannot set the sysctl {name}"));
        assert_ne!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), "x\n");
    }
}

#[test]
fn a_parent_that_goes_before_start_takes_the_child_along() {
    let bench = Bench::new("orphan");
    let child = bench.create(&spec(document(&["/bin/sleep", "60"]))).unwrap();
    expect_ready(&child);
    drop(child.channel);
    let id = WaitId::PidFd(child.pidfd.as_fd());
    let status = rustix::process::waitid(id, WaitIdOptions::EXITED).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(1));
}

fn namespace(pid: i32, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap()
}

fn infra(bench: &Bench, namespaces: &[NamespaceKind]) -> Child {
    let order = InfraOrder {
        namespaces,
        hostname: Some("pod"),
        cgroup: bench.cgroup.fd(),
        ids: None,
        cgroup_root: None,
        offsets: Offsets::default(),
    };
    let child = start_infra(&order).unwrap();
    expect_ready(&child);
    child
}

#[test]
fn infra_holds_namespaces_and_nothing_else() {
    use NamespaceKind::{Ipc, Net, Uts};
    let bench = Bench::new("infra");
    let child = infra(&bench, &[Net, Uts, Ipc]);
    let own = std::process::id() as i32;
    for kind in ["net", "uts", "ipc"] {
        assert_ne!(namespace(child.pid, kind), namespace(own, kind), "{kind}");
    }
    assert_eq!(namespace(child.pid, "pid"), namespace(own, "pid"));
    expect_running(&child);
    let proc = PathBuf::from(format!("/proc/{}", child.pid));
    let exe = fs::read_link(proc.join("exe")).unwrap();
    assert!(exe.to_string_lossy().starts_with("/memfd:podspec-infra"), "{}", exe.display());
    assert_eq!(fs::read_dir(proc.join("root")).unwrap().count(), 0);
    assert!(fs::write(proc.join("root/x"), "").is_err());
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    assert_eq!(fs::read_to_string(proc.join("mountinfo")).unwrap().lines().count(), 1);
    assert_eq!(fs::read_dir(proc.join("fd")).unwrap().count(), 0);
    let status = fs::read_to_string(proc.join("status")).unwrap();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(line(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(line(&status, "NoNewPrivs:"), "1");
    bench.cgroup.kill().unwrap();
    assert_eq!(wait(&child), None);
}

#[test]
fn containers_join_infra_and_its_first_process_reaps() {
    use NamespaceKind::{Ipc, Net, Pid, Uts};
    let bench = Bench::new("reaps");
    let holder = infra(&bench, &[Net, Uts, Ipc, Pid]);
    expect_running(&holder);
    // The orphan outlives its parent by a moment, then is infra's; only PID 1 and the shell are left at the end.
    let mut oci = shell(
        "echo host=$(hostname); (sleep 0.1 & ) ; sleep 0.4; for p in /proc/[0-9]*; do cat $p/stat 2>/dev/null; done; echo self=$$",
    );
    let paths = [("pid", "pid"), ("uts", "uts"), ("ipc", "ipc"), ("network", "net")];
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    for (name, file) in paths {
        namespaces.push(json!({ "type": name, "path": format!("/proc/{}/ns/{file}", holder.pid) }));
    }
    oci["linux"]["namespaces"] = json!(namespaces);
    let own = std::process::id() as i32;
    let said = bench.run(&spec(oci));
    assert_eq!(line(&said, "host="), "pod");
    assert!(said.contains("1 (podspec-infra) S"), "{said}");
    assert!(!said.contains("(sleep)"), "{said}");
    assert_ne!(line(&said, "self="), "1");
    // The caller's own children are born where it is again.
    assert_eq!(namespace(own, "pid_for_children"), namespace(own, "pid"));
    bench.cgroup.kill().unwrap();
    wait(&holder);
}

/// A container that sleeps, to enter.
fn sleeper(bench: &Bench) -> Child {
    let child = bench.create(&spec(document(&["/bin/sleep", "100"]))).unwrap();
    expect_ready(&child);
    start(child.channel.as_fd()).unwrap();
    expect_running(&child);
    child
}

#[test]
fn a_further_process_sees_what_the_container_sees() {
    let bench = Bench::new("enter");
    let target = sleeper(&bench);
    let script = "readlink /proc/self/ns/mnt; cat /proc/1/comm; hostname; ls /proc/self/fd | wc -l; grep CapEff /proc/self/status; cat /proc/self/cgroup | grep ^0:; readlink /proc/self/fd/0";
    let oci = spec(shell(script));
    let (read, write) = rustix::pipe::pipe().unwrap();
    let entry = Entry {
        target: target.pidfd.as_fd(),
        oci: &oci,
        process: oci.process().as_ref().unwrap(),
        filter: None,
        cgroup: bench.cgroup.fd(),
        join: &[],
        extras: Extras::default(),
        terminal: false,
        stdin: None,
        stdout: Some(write.as_fd()),
        stderr: Some(write.as_fd()),
    };
    let entered = enter(&entry).unwrap();
    drop(write);
    expect_running(&entered.child);
    let mut said = String::new();
    fs::File::from(read).read_to_string(&mut said).unwrap();
    assert_eq!(wait(&entered.child), Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(Path::new(lines[0]), namespace(target.pid, "mnt"));
    assert_eq!(&lines[1..4], ["sleep", "box", "4"]);
    assert_eq!(lines[4], "CapEff:\t00000000000000e1");
    assert_eq!(&lines[5..], ["0::/", "/dev/null"]);
}

#[test]
fn entering_tells_apart_what_is_missing() {
    let bench = Bench::new("missing");
    let target = sleeper(&bench);
    let attempt = |args: &[&str], cwd: &str| {
        let mut oci = document(args);
        oci["process"]["cwd"] = json!(cwd);
        let oci = spec(oci);
        let entry = Entry {
            target: target.pidfd.as_fd(),
            oci: &oci,
            process: oci.process().as_ref().unwrap(),
            filter: None,
            cgroup: bench.cgroup.fd(),
            join: &[],
            extras: Extras::default(),
            terminal: false,
            stdin: None,
            stdout: None,
            stderr: None,
        };
        let entered = enter(&entry).unwrap();
        let said = next(&entered.child);
        wait(&entered.child);
        let Report::Failed(error) = said else { panic!("{said:?}") };
        error
    };
    assert!(matches!(attempt(&["none-such"], "/"), SandboxError::NotFound { .. }));
    assert!(matches!(attempt(&["/etc/passwd"], "/"), SandboxError::NotExecutable { .. }));
    let error = attempt(&["/bin/true"], "/none/such");
    assert_eq!(error.to_string(), "cannot change to the working directory /none/such");
}

#[test]
fn a_terminal_is_the_containers_own() {
    let bench = Bench::new("terminal");
    let target = sleeper(&bench);
    let mut oci = shell(
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all; stat -c 'owner=%u' $(tty); echo x > /dev/tty",
    );
    oci["process"]["user"]["uid"] = json!(1000);
    let oci = spec(oci);
    let entry = Entry {
        target: target.pidfd.as_fd(),
        oci: &oci,
        process: oci.process().as_ref().unwrap(),
        filter: None,
        cgroup: bench.cgroup.fd(),
        join: &[],
        extras: Extras::default(),
        terminal: true,
        stdin: None,
        stdout: None,
        stderr: None,
    };
    let entered = enter(&entry).unwrap();
    let mut master = fs::File::from(entered.terminal.unwrap());
    expect_running(&entered.child);
    let mut said = Vec::new();
    // The end of a terminal is EIO.
    let end = master.read_to_end(&mut said).unwrap_err();
    assert_eq!(end.raw_os_error(), Some(libc::EIO));
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("/dev/pts/0\r\nall\r\nowner=1000\r\nx"), "{said}");
    assert_eq!(wait(&entered.child), Some(0));
}

#[test]
fn the_cgroup_ends_everything() {
    let bench = Bench::new("kill");
    let child = bench.create(&spec(shell("sleep 100 & setsid sleep 100 & wait"))).unwrap();
    expect_ready(&child);
    start(child.channel.as_fd()).unwrap();
    expect_running(&child);
    bench.hierarchy.remove(&bench.path).unwrap();
    assert_eq!(wait(&child), None);
    assert!(bench.hierarchy.find(&bench.path).unwrap().is_none());
}

#[test]
fn further_overlays_lie_over_the_root() {
    let bench = Bench::new("overlays");
    let second = bench.directory.join("second");
    for part in ["lower", "upper", "work"] {
        fs::create_dir_all(second.join(part)).unwrap();
    }
    fs::write(second.join("lower/hello"), "from below").unwrap();
    let opt = Overlay {
        at: "/opt".into(),
        lower: vec![second.join("lower")],
        upper: second.join("upper"),
        work: second.join("work"),
    };
    let oci = spec(shell("cat /opt/hello; echo new > /opt/new"));
    let child = bench.create_in(&oci, &[bench.host(), opt]).unwrap();
    assert_eq!(bench.finish(&child), "from below");
    assert!(second.join("upper/new").is_file());
    assert!(!Path::new("/opt/new").exists());
}

#[test]
fn an_image_of_many_layers_is_one_overlay() {
    let bench = Bench::new("layers");
    let (image, mut oci) = hostile(&bench);
    oci["process"]["args"] = json!(["/bin/sh", "-c", "ls -d /from-* | wc -l"]);
    let mut root = bench.over(&image);
    for number in 0..60 {
        let layer = bench.directory.join(format!("layer{number}"));
        fs::create_dir(&layer).unwrap();
        fs::write(layer.join(format!("from-{number}")), "").unwrap();
        root.lower.insert(0, layer);
    }
    let child = bench.create_in(&spec(oci), &[root]).unwrap();
    assert_eq!(bench.finish(&child), "60\n");
}
