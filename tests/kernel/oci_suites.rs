//! What the suites of other runtimes ask of one, carried out against `podspec oci`: runtime-tools' validation, youki's
//! contest, crun's tests and runc's bats. Each case is a bundle of our own; docs/oci.md tells how theirs are run.

use crate::host::{Host, wait_for};
use crate::oci::Bundle;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{chown, symlink};

/// The value of a field of /proc/PID/status.
fn status<'a>(text: &'a str, field: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim_start_matches(':').trim()
}

#[test]
fn each_variable_is_there_once_and_home_is_the_users() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "", |config| {
        config["process"]["args"] = json!(["cat", "/proc/self/environ"]);
        config["process"]["env"] = json!(["PATH=/bin", "ONE=two", "HOME=", "ONE=three"]);
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    fs::write(bundle.path.join("rootfs/etc/passwd"), "test:x:1000:1000::/var/empty:\n").unwrap();
    let words = bundle.run().success();
    assert_eq!(words, "PATH=/bin\0ONE=three\0HOME=/var/empty\0");
    bundle.rewrite(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "HOME=/own"]);
        config["process"]["user"] = json!({ "uid": 0, "gid": 0 });
        config["process"]["args"] = json!(["sleep", "1000"]);
    });
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    // A document that leaves out the user is root's; this one has no HOME either.
    let process = r#"{"args":["sh","-c","echo $HOME; id -u"],"cwd":"/","env":["PATH=/bin"]}"#;
    let process = host.file("process.json", process);
    let words = bundle.oci(&["exec", "--process", process.to_str().unwrap(), "c"]).success();
    assert_eq!(words, "/\n0\n");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn groups_and_capabilities_are_exactly_the_documents() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec cat /proc/self/status", |config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["process"]["capabilities"] =
            json!({ "inheritable": ["CAP_KILL"], "bounding": ["CAP_KILL"] });
    });
    let text = bundle.run().success();
    assert_eq!(status(&text, "Groups"), "");
    assert_eq!(status(&text, "CapInh"), "0000000000000020");
    assert_eq!(status(&text, "CapPrm"), "0000000000000000");
    bundle.rewrite(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["process"]["capabilities"] = json!({});
    });
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let unknown = bundle.oci(&["exec", "--cap", "CAP_FLY", "c", "cat", "/proc/self/status"]);
    assert!(unknown.stderr.contains("CAP_FLY is unknown, and left out"), "{unknown}");
    assert_eq!(status(&unknown.success(), "CapEff"), "0000000000000000");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn hooks_have_the_environment_that_is_theirs() {
    let Some(host) = Host::new() else { return };
    let file = host.dir.join("told");
    let tell = |word: &str| format!("echo {word} $WHO $FOO >> {}", file.display());
    let hook = |script: String| json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
    let bundle = Bundle::new(&host, "true", |config| {
        config["process"]["env"] = json!(["PATH=/bin", "FOO=bar"]);
        let mut named = hook(tell("named"));
        named["env"] = json!(["WHO=me"]);
        let inside = hook("test \"$FOO\" = bar && test -z \"$WHO\"".to_owned());
        config["hooks"] = json!({
            "createRuntime": [hook(tell("runtime")), named], "startContainer": [inside]
        });
    });
    let path = bundle.path.clone();
    let mut command = bundle.command(&["run", "-b", path.to_str().unwrap(), "c"]);
    host.finish(host.start(command.env("WHO", "caller"))).success();
    assert_eq!(fs::read_to_string(&file).unwrap(), "runtime caller\nnamed me\n");
    bundle.assert_clean();
}

#[test]
fn a_process_is_scheduled_as_its_document_says() {
    let Some(host) = Host::new() else { return };
    let script = "cat /proc/self/sched; head -n 1 /proc/self/numa_maps; exec sleep 1000";
    let bundle = Bundle::new(&host, script, |config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 19 });
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 4 });
        config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
        config["linux"]["memoryPolicy"] = json!({
            "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]
        });
        config["linux"]["personality"] = json!({ "domain": "LINUX32" });
        let masked = config["linux"]["maskedPaths"].as_array_mut().unwrap();
        masked.retain(|path| path != "/proc/sched_debug");
    });
    let _ = symlink("busybox", bundle.path.join("rootfs/bin/head"));
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let pid = bundle.state()["pid"].clone();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // nice is field 19 of proc(5), the policy 41: 3 is SCHED_BATCH.
    assert_eq!((fields[16], fields[38]), ("19", "3"), "{stat}");
    let priority = host.sh(&format!("ionice -p {pid}")).success();
    assert_eq!(priority, "best-effort: prio 4\n");
    let told = || fs::read_to_string(host.dir.join("output")).unwrap();
    wait_for("the policy of its memory", || told().contains("bind"));
    assert!(told().contains("bind=static:0"), "{}", told());
    let mut words = bundle.command(&["--debug", "exec", "c", "cat", "/proc/self/status"]);
    let further = host.finish(host.start(&mut words));
    assert!(further.stderr.contains("affinity: 0x1"), "{further}");
    assert_eq!(status(&further.success(), "Cpus_allowed_list"), "0");
    let machine = bundle.oci(&["exec", "c", "/bin/busybox", "uname", "-m"]).success();
    assert!(machine == "i686\n" || !cfg!(target_arch = "x86_64"), "{machine}");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();

    let wrong = |change: fn(&mut Value), word: &str| {
        bundle.rewrite(change);
        let told = bundle.run().fails(1);
        assert!(told.contains(word), "{told}");
    };
    wrong(|c| c["linux"]["memoryPolicy"]["nodes"] = json!("0-9876543210"), "memory policy");
    wrong(|c| c["linux"]["memoryPolicy"]["mode"] = json!("INTERLEAVE"), "INTERLEAVE");
    bundle.assert_clean();
}

#[test]
fn what_the_caller_is_bound_to_does_not_bind_the_container() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec cat /proc/self/status", |_| {});
    let own = host.sh("cat /proc/self/status").success();
    let (link, root) = (bundle.path.parent().unwrap().join("podspec-oci"), bundle.root());
    let (link, root, path) = (link.display(), root.display(), bundle.path.display());
    let text = host.sh(&format!("taskset -c 0 {link} --root {root} run -b {path} c")).success();
    assert_eq!(status(&text, "Cpus_allowed_list"), status(&own, "Cpus_allowed_list"));
    bundle.assert_clean();
}

#[test]
fn without_a_mount_namespace_the_mounts_are_the_callers() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "pwd; ls /; exec sleep 1000", |config| {
        let kinds = config["linux"]["namespaces"].as_array_mut().unwrap();
        kinds.retain(|kind| kind["type"] != "mount");
    });
    let refused = bundle.run().fails(1);
    assert!(
        refused.contains("`maskedPaths` and `readonlyPaths` need a mount namespace"),
        "{refused}"
    );
    bundle.rewrite(|config| {
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    let output = host.dir.join("output");
    bundle.create(&["c"], &output).success();
    bundle.oci(&["start", "c"]).success();
    wait_for("its root", || fs::read_to_string(&output).unwrap().contains("bin\n"));
    assert!(fs::read_to_string(&output).unwrap().starts_with("/\n"));
    let refused = bundle.oci(&["exec", "c", "true"]).fails(255);
    assert!(refused.contains("a mount namespace of its own"), "{refused}");
    let rootfs = bundle.path.join("rootfs");
    let mounted =
        || host.sh("cat /proc/self/mountinfo").success().contains(rootfs.to_str().unwrap());
    assert!(mounted(), "all see it");
    bundle.oci(&["delete", "-f", "c"]).success();
    assert!(!mounted(), "and it goes with the container");
    bundle.assert_clean();
}

#[test]
fn flags_of_mounts_are_of_one_mount_or_of_all_below() {
    let Some(host) = Host::new() else { return };
    let data = host.dir.join("data");
    fs::create_dir_all(data.join("below")).unwrap();
    let line = |at: &str| format!("grep ' {at} ' /proc/self/mountinfo");
    let script = format!(
        "{}; {}; {}; {}; {}; {}",
        line("/one"),
        line("/one/below"),
        line("/all"),
        line("/all/below"),
        line("/free"),
        line("/dev")
    );
    let bundle = Bundle::new(&host, &script, |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let mut add = |at: &str, options: &[&str]| {
            mounts.push(json!({ "destination": at, "source": data, "options": options }));
        };
        add("/one", &["rbind", "ro", "noexec"]);
        add("/all", &["rbind", "rro"]);
        add("/free", &["bind", "rw", "suid"]);
        mounts.push(json!({
            "destination": "/read", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "tmpcopyup"]
        }));
        let dev = mounts.iter_mut().find(|mount| mount["destination"] == "/dev").unwrap();
        dev["options"].as_array_mut().unwrap().push(json!("ro"));
    });
    let _ = symlink("busybox", bundle.path.join("rootfs/bin/grep"));
    fs::create_dir_all(bundle.path.join("rootfs/read/kept")).unwrap();
    let path = bundle.path.display();
    let (link, root) = (host.dir.join("podspec-oci"), bundle.root());
    // A mount below another, and both without set-user-id.
    let text = host
        .sh(&format!(
            "unshare -m sh -ec 'mount -t tmpfs -o nosuid tmpfs {0}; mkdir {0}/below; \
             mount -t tmpfs -o nosuid tmpfs {0}/below; exec {1} --root {2} run -b {path} c'",
            data.display(),
            link.display(),
            root.display(),
        ))
        .success();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].contains(" ro,") && lines[0].contains("noexec"), "{text}");
    assert!(lines[1].contains(" rw,") && !lines[1].contains("noexec"), "not below: {text}");
    assert!(lines[2].contains(" ro,") && lines[3].contains(" ro,"), "{text}");
    assert!(lines[4].contains(" rw,") && !lines[4].contains("nosuid"), "{text}");
    assert!(lines[5].contains(" ro,"), "its /dev, with all devices in it: {text}");
    bundle.assert_clean();
}

#[test]
fn limits_can_be_changed_and_a_cgroup_below_joined() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |config| {
        config["linux"]["resources"]["pids"] = json!({ "limit": 55 });
        let mounts = config["mounts"].as_array_mut().unwrap();
        let cgroup = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
        cgroup["options"] = json!(["nosuid", "noexec", "nodev"]);
    });
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let limit = || {
        // As the container sees it: in v2 as in a hierarchy of v1.
        let files = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null";
        bundle.oci(&["exec", "c", "sh", "-c", files]).stdout
    };
    assert_eq!(limit(), "55\n");
    bundle.oci(&["update", "--pids-limit", "44", "c"]).success();
    assert_eq!(limit(), "44\n");
    let file = host.file("resources.json", r#"{"pids":{"limit":33}}"#);
    bundle.oci(&["update", "-r", file.to_str().unwrap(), "c"]).success();
    assert_eq!(limit(), "33\n");
    assert!(bundle.oci(&["update", "--memory", "much", "c"]).fails(2).contains("number of bytes"));

    let exec = |words: &[&str]| {
        bundle.oci(&[&["exec"], words, &["c", "cat", "/proc/self/cgroup"]].concat())
    };
    for (word, why) in [
        ("..", "not a sub cgroup path"),
        ("none", "no such cgroup"),
        ("wat:/", "no cgroup of this"),
    ] {
        assert!(exec(&["--cgroup", word]).fails(255).contains(why), "{word}");
    }
    let root = crate::host::cgroup2_root().unwrap().join(&bundle.cgroup()[1..]);
    fs::create_dir(root.join("sub")).unwrap();
    let place =
        host.finish(host.start(&mut bundle.command(&["exec", "c", "cat", "/proc/self/cgroup"])));
    assert!(place.success().contains("0::/\n"));

    bundle.oci(&["pause", "c"]).success();
    // It is born stopped, and goes on with the others.
    let mut waits = bundle.command(&["exec", "--ignore-paused", "c", "id", "-u"]);
    let waits = host.start(&mut waits);
    wait_for("it to be there", || {
        fs::read_to_string(root.join("cgroup.procs")).unwrap().lines().count() > 1
    });
    bundle.oci(&["resume", "c"]).success();
    assert_eq!(host.finish(waits).success(), "0\n");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn a_cgroup_of_somebody_else_is_not_taken() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |_| {});
    bundle.create(&["c"], &host.dir.join("output")).success();
    let second = bundle.create(&["d"], &host.dir.join("second"));
    assert_eq!(second.code, Some(1));
    let told = fs::read_to_string(host.dir.join("second")).unwrap();
    assert!(told.contains("container's cgroup is not empty"), "{told}");
    bundle.oci(&["delete", "--force", "--regex", "^c$"]).success();
    let root = crate::host::cgroup2_root().unwrap().join(&bundle.cgroup()[1..]);
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("cgroup.freeze"), "1").unwrap();
    let frozen = bundle.run().fails(1);
    assert!(frozen.contains("container's cgroup unexpectedly frozen"), "{frozen}");
    fs::remove_dir(&root).unwrap();
    bundle.assert_clean();
}

#[test]
fn a_forced_end_reaches_a_process_in_v1s_freezer() {
    let Some(host) = Host::new() else { return };
    let freezer = std::path::Path::new("/sys/fs/cgroup/freezer");
    if !freezer.join("tasks").exists() {
        return;
    }
    let bundle = Bundle::new(&host, "exec sleep 1000", |_| {});
    bundle.create(&["c"], &host.dir.join("output")).success();
    bundle.oci(&["start", "c"]).success();
    let frozen = freezer.join(format!("{}-frozen", &bundle.cgroup()[1..]));
    fs::create_dir_all(&frozen).unwrap();
    let pid = bundle.state()["pid"].clone();
    host.sh(&format!("echo {pid} > {}", frozen.join("tasks").display())).success();
    fs::write(frozen.join("freezer.state"), "FROZEN").unwrap();
    bundle.oci(&["delete", "--force", "c"]).success();
    wait_for("the cgroup to be empty", || fs::remove_dir(&frozen).is_ok());
    bundle.assert_clean();
}

#[test]
fn the_command_line_is_the_fields() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec sleep 1000", |_| {});
    let version = bundle.oci(&["-v"]).success();
    assert!(version.contains("version ") && version.contains("\nspec: 1.2."), "{version}");
    let log = host.dir.join("log");
    bundle.oci(&["--log", log.to_str().unwrap(), "list"]).success();
    assert_eq!(fs::read_to_string(&log).unwrap(), "", "it is made at once");
    let nowhere = bundle.oci(&["--log", "/no/such/log", "list"]).fails(1);
    assert!(nowhere.contains("/no/such/log"), "{nowhere}");
    bundle.create(&["c"], &host.dir.join("output")).success();
    let shown = bundle.oci(&["ps", "c"]).success();
    assert!(
        shown.starts_with("UID ") && shown.contains(&bundle.state()["pid"].to_string()),
        "{shown}"
    );
    let listed = bundle.oci(&["list", "--format", "json"]).success();
    let keys = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created"];
    let places: Vec<_> = keys.iter().map(|key| listed.find(&format!("\"{key}\":"))).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{listed}");
    bundle.oci(&["delete", "-f", "c"]).success();
    bundle.assert_clean();
}

#[test]
fn the_callers_groups_are_kept_where_podman_asks_for_that() {
    let Some(host) = Host::new() else { return };
    let bundle = Bundle::new(&host, "exec cat /proc/self/status", |config| {
        config["annotations"] = json!({ "run.oci.keep_original_groups": "1" });
    });
    let (link, root, path) = (host.dir.join("podspec-oci"), bundle.root(), bundle.path.display());
    let run = format!("{} --root {} run -b {path} c", link.display(), root.display());
    let text = host.sh(&format!("setpriv --groups 7,9 {run}")).success();
    assert_eq!(status(&text, "Groups"), "7 9");
    // The root may be somebody else's.
    chown(bundle.path.join("rootfs"), Some(7), Some(7)).unwrap();
    bundle.run().success();
    bundle.assert_clean();
}
