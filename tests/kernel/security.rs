//! What a container can reach of the host is what the file says, and no more. The roots here are
//! hostile: links that lead out, files that never end, programs that reach for the runner. Whether a pod
//! starts on such a root is its own affair; that the host stays untouched and nothing hangs is ours.

use crate::host::{Host, Outcome, root_directory};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub const CANARY: &str = "canary-e41c";

const PROGRAMS: &[&str] = &["/bin/sh", "/bin/cat", "/bin/ls", "/bin/sleep", "/usr/bin/id"];

/// A root, and a directory of the host beside it that must stay as it is.
pub struct Victim {
    pub root: PathBuf,
    pub canary: PathBuf,
}

pub fn victim(host: &Host) -> Victim {
    let canary = host.dir.join("canary");
    fs::create_dir_all(&canary).unwrap();
    for name in ["file", "null", "ptmx", "hosts", "hostname", "resolv.conf", "passwd"] {
        fs::write(canary.join(name), CANARY).unwrap();
    }
    Victim { root: root_directory(host, "root", PROGRAMS), canary }
}

/// Every path below, with its kind, mode, owner, size, time of change and the target of a link.
pub fn fingerprint(folder: &Path) -> String {
    let script = "find \"$0\" -printf '%P %y %m %U:%G %s %C@ %l\\n' | sort";
    let output =
        std::process::Command::new("sh").args(["-c", script]).arg(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn pod(root: &Path, script: &str, more: &Value) -> Value {
    let mut fields = json!({ "rootfs": root, "command": ["/bin/sh", "-c", script] });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "name": "p", "containers": { "c": fields } })
}

/// `up` in front: it ends with its only container.
fn run(host: &Host, pod: &Value) -> Outcome {
    let begin = Instant::now();
    let outcome = host.podspec(["up", &host.pod(pod)]);
    assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
    outcome
}

#[test]
fn links_in_the_root_lead_nowhere_outside() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    let up = "../".repeat(20);
    let out = canary.display().to_string();
    let relative = format!("{up}{}", out.trim_start_matches('/'));
    let targets = [
        "etc/hosts",
        "etc/hostname",
        "etc/resolv.conf",
        "etc",
        "dev",
        "run",
        "proc",
        "sys",
        "dev/shm",
        "data",
    ];
    for target in targets {
        for link in [out.as_str(), &relative, &format!("{out}/file"), "loop", "/nowhere/at/all"] {
            let path = root.join(target);
            let saved = root.with_extension("saved");
            let _ = fs::rename(&path, &saved);
            let link =
                if link == "loop" { path.file_name().unwrap().to_str().unwrap() } else { link };
            symlink(link, &path).unwrap();
            let (before_canary, before_root) = (fingerprint(&canary), fingerprint(&root));
            let volumes =
                json!({ "volumes": [format!("{}:/data/below", host.dir.join("bound").display())] });
            host.file("bound/text", "bound");
            let outcome = run(
                &host,
                &pod(&root, "echo x > /etc/hosts; cat /etc/passwd; ls -a / /dev", &volumes),
            );
            let what = format!("{target} -> {link}");
            assert!(!outcome.stdout.contains(CANARY), "{what}: {outcome}");
            assert_eq!(fingerprint(&canary), before_canary, "{what} changed the host");
            assert_eq!(fingerprint(&root), before_root, "{what} changed the root");
            host.assert_clean();
            fs::remove_file(&path).unwrap();
            let _ = fs::rename(&saved, &path);
        }
    }
}

#[test]
fn proc_is_the_kernels_or_nothing() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    fs::remove_dir(root.join("proc")).unwrap();
    fs::create_dir(root.join("fake")).unwrap();
    symlink("/fake", root.join("proc")).unwrap();
    let before = fingerprint(&canary);
    let outcome = run(&host, &pod(&root, "cat /proc/self/status", &json!({})));
    assert!(outcome.code != Some(0) || outcome.stdout.contains("NoNewPrivs:\t1"), "{outcome}");
    assert_eq!(fingerprint(&canary), before);
    host.assert_clean();
}

#[test]
fn no_mount_may_cover_what_the_kernel_says() {
    let Some(host) = Host::new() else { return };
    let bound = host.file("bound/text", "bound");
    for target in
        ["/proc", "/proc/self/attr", "//proc/.", "/sub/../proc", "/sys/fs", "/dev", "/dev/pts", "/"]
    {
        let volumes =
            json!({ "volumes": [format!("{}:{target}", bound.parent().unwrap().display())] });
        let mut pod = pod(Path::new("/"), "true", &volumes);
        pod["containers"]["c"]["rootfs"] = json!("host");
        host.podspec(["validate", &host.pod(&pod)]).fails(2);
    }
}

#[test]
fn a_working_directory_is_inside() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    symlink(format!("{}{}", "../".repeat(20), canary.display()), root.join("w")).unwrap();
    let before = fingerprint(&canary);
    let depth = "../".repeat(20);
    let look = format!("ls -a; cat file ./{depth}{}/file; echo x > x", canary.display());
    let directories = (3..16)
        .flat_map(|fd| [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/../../..")])
        .chain(["/w".into(), "/w/new".into(), "/proc/1/root".into(), "/proc/1/cwd".into()]);
    for directory in directories {
        let outcome = run(&host, &pod(&root, &look, &json!({ "workingDir": directory })));
        assert!(!outcome.stdout.contains(CANARY), "{directory}: {outcome}");
        assert_eq!(fingerprint(&canary), before, "{directory} changed the host");
        host.assert_clean();
    }
}

#[test]
fn no_descriptor_crosses() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    // `ls` has the directory that it lists, and nothing else beyond stdio.
    let look = "exec ls -l /proc/self/fd";
    host.up(&pod(&root, &format!("{look}; sleep 1000"), &json!({})));
    let listed = host.wait_log("p/c", "3 -> ");
    let again = json!({ "command": ["/bin/sleep", "1000"] });
    host.down("p");
    host.up(&pod(&root, "", &again));
    let executed = host.podspec(["exec", "p/c", "--", "/bin/sh", "-c", look]).success();
    for text in [listed, executed] {
        let numbers: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(" -> ")?.0.rsplit(' ').next()).collect();
        assert_eq!(numbers, ["0", "1", "2", "3"], "{text}");
        let third = text.lines().find(|line| line.contains(" 3 -> ")).unwrap();
        assert!(third.contains("/proc/"), "{third}");
    }
    host.down("p");
    host.assert_clean();
}

#[test]
fn infra_leads_nowhere() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    // With what the file gives by default, and to one who may look into every process that it sees.
    let capabilities = json!({ "add": ["SYS_PTRACE", "DAC_READ_SEARCH", "SYS_ADMIN"] });
    let all =
        json!({ "capabilities": capabilities, "seccomp": "unconfined", "apparmor": "unconfined" });
    let walls = [json!({}), all];
    for (security, share) in
        walls.iter().flat_map(|wall| [(wall, json!(["+pid"])), (wall, json!(["+pid", "+user"]))])
    {
        let mut shared = pod(&root, "exec sleep 1000", &json!({ "security": security }));
        shared["share"] = share;
        host.up(&shared);
        let script = "cd /proc/1; ls -A root/ cwd/ fd/ 2>/dev/null | grep -v :; ls -l exe; cat environ mountinfo maps; echo x > root/x && echo wrote; \
                      ls -A map_files task/1/fd; echo end";
        let seen = host.podspec(["exec", "p/c", "--", "/bin/sh", "-c", script]).success();
        let may = security.get("capabilities").is_some();
        for word in [
            "home", "bin", "vmlinuz", CANARY, "hunter2", "socket", "pipe", "null", "/dev", "wrote",
            "/work", "/usr",
        ] {
            assert!(!seen.contains(word), "{word}:\n{seen}");
        }
        // Who may look finds a file in memory, on an empty root that cannot be written.
        assert_eq!(seen.contains("/memfd:podspec-infra"), may, "{seen}");
        let mounts: Vec<&str> = seen.lines().filter(|line| line.contains(" - ")).collect();
        assert!(matches!(mounts[..], [only] if only.contains(" / ro,")), "{seen}");
        let infra = host.inspect("p")["infra"]["pid"].clone();
        let status = fs::read_to_string(format!("/proc/{infra}/status")).unwrap();
        assert!(
            status.contains("CapEff:\t0000000000000000") && status.contains("NoNewPrivs:\t1"),
            "{status}"
        );
        host.down("p");
        host.assert_clean();
    }
}

#[test]
fn the_runner_cannot_be_overwritten() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let binary = Path::new(env!("CARGO_BIN_EXE_podspec"));
    let before = fs::read(binary).unwrap();
    fs::write(root.join("evil"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(root.join("evil"), fs::Permissions::from_mode(0o755)).unwrap();
    for entry in ["/proc/self/exe", "/evil"] {
        run(&host, &pod(&root, "", &json!({ "command": [entry, "--version"] })));
        host.assert_clean();
    }
    // Every process that comes by is opened for writing, while podspec comes by often.
    let grab = "while :; do for p in /proc/[0-9]*; do echo evil >> $p/exe; done 2>/dev/null; done";
    let mut shared = pod(&root, grab, &json!({}));
    shared["share"] = json!(["+pid"]);
    host.up(&shared);
    for _ in 0..100 {
        host.podspec(["exec", "p/c", "--", "/bin/id"]);
    }
    host.down("p");
    assert!(fs::read(binary).unwrap() == before, "the binary has been changed");
    host.assert_clean();
}

#[test]
fn a_hostile_passwd_neither_hangs_nor_fills_memory() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    let passwd = root.join("etc/passwd");
    let makers: [(&str, &dyn Fn()); 5] = [
        ("a FIFO", &|| nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("endless", &|| symlink("/dev/zero", &passwd).unwrap()),
        ("sparse", &|| fs::File::create(&passwd).unwrap().set_len(2 << 30).unwrap()),
        ("one long line", &|| fs::write(&passwd, vec![b'x'; 100 << 20]).unwrap()),
        ("outside", &|| symlink(canary.join("passwd"), &passwd).unwrap()),
    ];
    for (what, make) in makers {
        fs::remove_file(&passwd).unwrap();
        make();
        for user in ["bob", "0"] {
            let begin = Instant::now();
            let file = host.pod(&pod(&root, "id -u", &json!({ "user": user })));
            let outcome = host.podspec(["up", &file]);
            assert!(begin.elapsed() < Duration::from_secs(3), "{what}: {:?}", begin.elapsed());
            assert!(user != "bob" || outcome.code == Some(2), "{what}: {outcome}");
            host.assert_clean();
        }
    }
}

#[test]
fn digits_are_ids_and_never_names() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let users = [
        "0",
        "1",
        "1:1",
        "00",
        "+0",
        " 0",
        "-1",
        "1:",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "99999999999",
    ];
    // Every one of these is a name of uid 0 in the root's own table.
    let lines: String = users.iter().map(|user| format!("{user}:x:0:0::/:/bin/sh\n")).collect();
    fs::write(root.join("etc/passwd"), lines).unwrap();
    for user in users {
        let outcome = run(&host, &pod(&root, "id -u", &json!({ "user": user })));
        let expected = match user {
            "0" | "00" => Some("0"),
            "1" | "1:1" => Some("1"),
            "2147483647" => Some("2147483647"),
            _ => None,
        };
        match expected {
            Some(uid) => assert!(outcome.stdout.trim().ends_with(uid), "{user:?}: {outcome}"),
            None => assert!(matches!(outcome.code, Some(1 | 2)), "{user:?}: {outcome}"),
        }
        host.assert_clean();
    }
}

#[test]
fn a_restarted_container_is_the_same_user() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let again = json!({ "user": "bob", "restart": "on-failure:3" });
    host.up(&pod(&root, "echo I am $(id -u) $(id -g); exit 1", &again));
    host.wait_status("p", "c", "failed");
    assert_eq!(host.logs("p/c").matches("I am 1000 1000").count(), 4);
    host.down("p");
    host.assert_clean();
}

#[test]
fn the_hosts_secrets_are_not_in_view() {
    let Some(host) = Host::new() else { return };
    fs::write("/run/marker", CANARY).unwrap();
    let script = "cat /etc/shadow /etc/gshadow /etc/ssh/ssh_host_*_key 2>/dev/null | wc -c
        for folder in /root /home /boot /mnt /media; do ls -A $folder 2>/dev/null; done | wc -l
        cat /run/marker; ls -A $1";
    let mut all = pod(Path::new("/"), "", &json!({}));
    all["containers"]["c"]["rootfs"] = json!("host");
    all["containers"]["c"]["command"] = json!(["sh", "-c", script, "sh", host.data()]);
    let outcome = run(&host, &all);
    let zeros = outcome.stdout.split_whitespace().filter(|word| *word == "0").count();
    assert_eq!(zeros, 2, "{outcome}");
    assert!(!outcome.stdout.contains(CANARY), "{outcome}");
    assert!(!outcome.stdout.contains("layers"), "podspec's own directories are in view: {outcome}");
    fs::remove_file("/run/marker").unwrap();
    host.assert_clean();
}

#[test]
fn other_users_of_the_host_see_nothing() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let file = host.pod(&pod(&root, "sleep 1000", &json!({})));
    // Whatever the caller's own umask is.
    let podspec = host.command(["up", "-d", &file]);
    let words = podspec.get_args().map(|word| word.to_str().unwrap());
    let words: Vec<&str> =
        [podspec.get_program().to_str().unwrap()].into_iter().chain(words).collect();
    host.sh(&format!("umask 0; exec {}", words.join(" "))).success();
    for folder in [host.run_dir().to_owned(), host.data()] {
        let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
        let look = format!(
            "setpriv --reuid 65534 --regid 65534 --clear-groups find {} 2>&1",
            folder.display()
        );
        let seen = host.sh(&look).stdout;
        assert!(seen.contains("Permission denied") && seen.lines().count() <= 2, "{seen}");
    }
    host.down("p");
    host.assert_clean();
}

/// A pod on the host's network sees the host's abstract sockets (CVE-2020-15257).
#[test]
fn no_socket_of_podspec_is_without_a_path() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let named = || {
        let all = host.sh("cat /proc/net/unix").success();
        let names = all.lines().filter_map(|line| line.split_whitespace().nth(7));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = named();
    let mut pod = pod(&root, "exec sleep 1000", &json!({}));
    pod["network"] = json!("host");
    host.up(&pod);
    let new: Vec<_> = named().into_iter().filter(|name| !before.contains(name)).collect();
    let control = host.run_dir().join("pods/p/control.sock");
    assert!(!new.is_empty() && new.iter().all(|name| !name.starts_with('@')), "{new:?}");
    assert!(control.exists());
    let ask = "use IO::Socket::UNIX; print IO::Socket::UNIX->new(Peer => shift) ? q(open) : qq($!)";
    let connect = format!("perl -e '{ask}' {}", control.display());
    assert_eq!(host.sh(&connect).success(), "open");
    let other = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {connect}");
    assert_eq!(host.sh(&other).success(), "Permission denied");
    // From inside there is no way to it at all.
    let inside = ["exec", "p/c", "--", "/bin/ls", control.to_str().unwrap()];
    assert_ne!(host.podspec(inside).code, Some(0));
    host.down("p");
    host.assert_clean();
}

#[test]
fn the_files_that_are_made_for_a_container_cannot_grow() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let grow = "for f in hosts hostname resolv.conf; do cat /bin/sh >> /etc/$f && echo grew $f; done 2>/dev/null; echo end; exec sleep 1000";
    host.up(&pod(&root, grow, &json!({})));
    let said = host.wait_log("p/c", "end");
    assert!(!said.contains("grew"), "{said}");
    host.down("p");
    host.assert_clean();
}

/// The log is written and rotated by the supervisor, who has every right.
#[test]
fn a_log_that_is_a_link_is_not_followed() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    let write = "n=0; while :; do n=$((n + 1)); echo line $n; done";
    host.up(&pod(&root, write, &json!({ "logs": { "maxSize": "4Ki", "maxFiles": 2 } })));
    host.wait_log("p/c", "line");
    let before = fingerprint(&canary);
    let target = canary.join("file").display().to_string();
    let swap = format!(
        "find {} -path '*logs*' -type f -exec ln -sf {target} {{}} \\; | wc -l",
        host.data().display()
    );
    for _ in 0..50 {
        host.sh(&swap).success();
        host.podspec(["logs", "--tail", "1", "p/c"]);
        assert_eq!(fingerprint(&canary), before);
    }
    assert_eq!(host.container("p", "c")["status"], "running");
    host.down("p");
    assert_eq!(fingerprint(&canary), before);
    host.assert_clean();
}

/// A root whose only honest program is `/busybox`: under every name that podspec, or a C library in it, might want stands
/// something that leaves a mark when it is run or loaded.
fn trapped_root(host: &Host) -> PathBuf {
    let root = host.dir.join("root");
    let libraries = root.join("lib/x86_64-linux-gnu");
    for folder in ["etc", "proc", "sys", "dev", "tmp", "srv", "lib/x86_64-linux-gnu"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/usr/bin/busybox", root.join("busybox")).unwrap();
    let mark = "#include <fcntl.h>\n#include <unistd.h>\n\
        __attribute__((constructor)) static void mark(void) { close(open(\"/mark\", O_CREAT | O_WRONLY, 0600)); }\n";
    let (source, library) = (host.file("mark.c", mark), host.dir.join("mark.so"));
    host.sh(&format!("cc -shared -fPIC -o {} {}", library.display(), source.display())).success();
    for name in "libnss_files.so.2 libnss_dns.so.2 libc.so.6 libgcc_s.so.1".split(' ') {
        fs::copy(&library, libraries.join(name)).unwrap();
    }
    let programs =
        "sh tar xz gzip zstd ps nsenter ip nft mount id getent cat modprobe newuidmap crun";
    for folder in ["bin", "usr/bin", "sbin", "usr/sbin"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        for path in programs.split(' ').map(|name| root.join(folder).join(name)) {
            fs::write(&path, "#!/busybox sh\n/busybox touch /mark\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    for (name, text) in [
        ("passwd", "root:x:0:0::/:/bin/sh\n"),
        ("group", "root:x:0:\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("ld.so.preload", "/lib/x86_64-linux-gnu/libnss_files.so.2\n"),
    ] {
        fs::write(root.join("etc").join(name), text).unwrap();
    }
    root
}

/// CVE-2022-1227, CVE-2019-14271 and CVE-2026-41567.
#[test]
fn nothing_of_a_root_is_run_but_what_somebody_named() {
    let Some(host) = Host::new() else { return };
    host.up(&json!({ "name": "p", "containers": { "c": {
        "rootfs": trapped_root(&host), "user": "root:root", "command": ["/busybox", "sleep", "1000"],
        "readinessProbe": { "exec": ["/busybox", "true"] }, "livenessProbe": { "file": "/etc/passwd" },
        "lifecycle": { "postStart": { "exec": ["/busybox", "true"] } } } } }));
    let tree = host.dir.join("tree").display().to_string();
    host.file("tree/below/text", "text");
    let commands: [&[&str]; 7] = [
        &["restart", "p/c"],
        &["cp", &tree, "p/c:/srv/tree"],
        &["cp", "p/c:/srv/tree", &format!("{tree}-again")],
        &["top", "p"],
        &["logs", "p"],
        &["stats", "--no-stream", "p"],
        &["inspect", "p"],
    ];
    for command in commands {
        host.podspec(command).success();
    }
    let inside = |words: &[&str]| {
        let command = ["exec", "p/c", "--"].iter().chain(words);
        host.podspec(command).success()
    };
    let seen = inside(&["/busybox", "ls", "/", "/srv/tree/below"]);
    assert!(seen.contains("text") && !seen.contains("mark"), "{seen}");
    // The traps do spring.
    inside(&["/bin/tar"]);
    assert!(inside(&["/busybox", "ls", "/"]).contains("mark"));
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_sub_path_stays_in_its_volume() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    let volume = host.dir.join("volume");
    fs::create_dir_all(volume.join("good")).unwrap();
    fs::write(volume.join("good/text"), "good").unwrap();
    symlink("/", volume.join("abs")).unwrap();
    symlink("../canary", volume.join("rel")).unwrap();
    symlink(&canary, volume.join("out")).unwrap();
    for sub_path in ["good", "abs", "rel", "out", "../canary", "good/../../canary", "/"] {
        let mut pod = pod(
            &root,
            "cat /v/text /v/file; ls -a /v",
            &json!({
                "volumes": [{ "source": "v", "target": "/v", "subPath": sub_path }],
            }),
        );
        pod["volumes"] = json!({ "v": { "host": volume } });
        let outcome = run(&host, &pod);
        assert!(
            !outcome.stdout.contains(CANARY) && !outcome.stdout.contains("lost+found"),
            "{sub_path}: {outcome}"
        );
        assert!(sub_path != "good" || outcome.stdout.contains("good"), "{outcome}");
        host.assert_clean();
    }
}

#[test]
fn no_string_carries_a_line_break_into_a_file() {
    let Some(host) = Host::new() else { return };
    for (field, value) in [
        ("hostname", json!("a\nb")),
        ("hosts", json!({ "a\n192.0.2.9 bank": "192.0.2.7" })),
        ("dns", json!({ "search": ["a\nnameserver 192.0.2.9"] })),
        ("dns", json!({ "options": ["a\r\nb"] })),
    ] {
        let mut pod = pod(Path::new("/"), "true", &json!({}));
        pod[field] = value;
        host.podspec(["validate", &host.pod(&pod)]).fails(2);
    }
    for (field, value) in [
        ("user", json!("a\nb")),
        ("env", json!({ "A\nB": "x" })),
        ("env", json!({ "A": "x\u{0}y" })),
        ("workingDir", json!("/a\u{0}b")),
    ] {
        let pod = pod(Path::new("/"), "true", &json!({ field: value }));
        host.podspec(["validate", &host.pod(&pod)]).fails(2);
    }
}

#[test]
fn a_containers_output_cannot_drive_the_terminal() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    host.up(&pod(&root, "printf 'a\\033]0;evil\\007b\\033[2Jc\\n'", &json!({})));
    host.wait_status("p", "c", "exited");
    let podspec = format!(
        "{} --run {} --root {} logs p/c",
        env!("CARGO_BIN_EXE_podspec"),
        host.run_dir().display(),
        host.data().display()
    );
    let shown = host.sh(&format!("script -qec '{podspec}' /dev/null")).success();
    assert!(!shown.contains("\u{1b}]0;") && !shown.contains("\u{1b}[2J"), "{shown:?}");
    host.down("p");
    host.assert_clean();
}

/// As an old kernel, or a filter around podspec, has it; the same for everything that it starts.
const WITHOUT_OPENAT2: &str = r#"
my $filter = pack("SCCL" x 4, 0x20,0,0,0, 0x15,0,1,437, 0x06,0,0,0x50026, 0x06,0,0,0x7fff0000);
my $program = pack("S x6 P", 4, $filter);
syscall(SYS_prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall(SYS_seccomp, 1, 0, $program) == 0 or die "seccomp: $!";
exec @ARGV or die "exec: $!";
"#;

/// openat2 is what keeps paths inside a root. Nothing else is tried in its place.
#[test]
fn without_openat2_nothing_starts() {
    let Some(host) = Host::new() else { return };
    let Victim { root, .. } = victim(&host);
    let script = WITHOUT_OPENAT2
        .replace("SYS_prctl", &libc::SYS_prctl.to_string())
        .replace("SYS_seccomp", &libc::SYS_seccomp.to_string());
    let podspec = host.command([] as [&str; 0]);
    for root in [json!(root), json!("host")] {
        let mut pod = pod(Path::new("/"), "sleep 1000", &json!({}));
        pod["containers"]["c"]["rootfs"] = root;
        let mut command = std::process::Command::new("perl");
        command.args(["-e", &script]).arg(podspec.get_program()).args(podspec.get_args());
        let outcome = host.finish(host.start(command.args(["up", "-d", &host.pod(&pod)])));
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("without leaving it"), "{outcome}");
        assert!(outcome.stderr.contains("openat2"), "{outcome}");
        host.assert_clean();
    }
}
