//! What a container may do by default, in its first process and in every other alike, and what each field
//! of `security` changes of it. Everything is tried from inside, and read from the kernel.

use crate::host::{Host, wait_for, wait_some};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// What a program says of its own rights.
const LOOK: &str = "grep -E '^(NoNewPrivs|Seccomp|Cap)' /proc/self/status";

fn pod(script: &str, more: &Value) -> Value {
    let mut fields = json!({ "rootfs": "host", "command": ["/bin/sh", "-c", script] });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "name": "p", "containers": { "c": fields } })
}

/// What the container of a pod that ends by itself wrote.
fn run_pod(host: &Host, pod: &Value) -> String {
    host.up(pod);
    wait_for("the container's end", || {
        matches!(host.container("p", "c")["status"].as_str(), Some("exited" | "failed"))
    });
    let said = host.logs("p/c");
    host.down("p");
    host.assert_clean();
    said
}

fn run(host: &Host, script: &str, security: &Value) -> String {
    run_pod(host, &pod(script, &json!({ "security": security })))
}

/// A line of /proc/self/status by its name.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let start = text.find(&format!("{name}:\t")).unwrap_or_else(|| panic!("no {name} in {text}"));
    text[start..].lines().next().unwrap().split_whitespace().nth(1).unwrap()
}

/// A script that makes these system calls, each with its arguments, and prints the errno of each (0: none).
fn calls(list: &[(&str, i64, &[u64])]) -> String {
    let list = list.iter().map(|(name, number, args)| {
        let args: Vec<String> = args.iter().map(u64::to_string).collect();
        format!("{name}:{number}:{}", args.join(":"))
    });
    let list: Vec<String> = list.collect();
    // Perl's `syscall` makes any.
    let program = r#"for (@ARGV) { my ($name, $number, @args) = split /:/; $! = 0; my $result = syscall($number, map { $_ + 0 } @args); print "$name=", ($result == -1 ? $! + 0 : 0), "\n" }"#;
    format!("perl -e '{program}' {}", list.join(" "))
}

fn errnos(text: &str) -> BTreeMap<String, i32> {
    let pairs = text.lines().filter_map(|line| {
        let (name, errno) = line.rsplit_once(' ').map_or(line, |(_, word)| word).split_once('=')?;
        Some((name.to_owned(), errno.parse().ok()?))
    });
    pairs.collect()
}

/// Refused by the filter, each harmless were it not: bad arguments throughout.
const REFUSED: [(&str, i64, &[u64]); 12] = [
    ("mount", libc::SYS_mount, &[0, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, &[0x1000_0000]),
    ("setns", libc::SYS_setns, &[99, 0]),
    ("keyctl", libc::SYS_keyctl, &[0, 0]),
    ("add_key", libc::SYS_add_key, &[0, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, &[0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, &[0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, &[0xffff]),
    ("perf_event_open", libc::SYS_perf_event_open, &[0, 0, 0, 0, 0]),
    ("af_alg", libc::SYS_socket, &[38, 5, 0]),
    ("af_vsock", libc::SYS_socket, &[40, 1, 0]),
    // The kernel takes 32 bits of the family: so must a filter.
    ("af_alg_high", libc::SYS_socket, &[(1 << 32) + 38, 5, 0]),
];

#[test]
fn every_process_of_a_container_has_the_same_walls() {
    let Some(host) = Host::new() else { return };
    // It fails the first time.
    let script = format!("{LOOK}; echo end; test -e /v/x && exec sleep 1000; touch /v/x; exit 1");
    let mut all = pod(&script, &json!({ "restart": "on-failure:3" }));
    all["initContainers"] = json!({ "i": { "rootfs": "host", "command": ["sh", "-c", LOOK] } });
    all["containers"]["c"]["volumes"] = json!(["v:/v"]);
    all["volumes"] = json!({ "v": { "emptyDir": {} } });
    host.up(&all);
    let main = wait_some("a second run", || {
        Some(host.logs("p/c")).filter(|text| text.matches("end").count() == 2)
    });
    let runs: Vec<&str> = main.split("end").collect();
    let init = host.logs("p/i");
    let executed = host.podspec(["exec", "p/c", "--", "sh", "-c", LOOK]).success();
    for text in [runs[0], runs[1], &init, &executed] {
        assert_eq!(field(text, "Seccomp"), "2", "{text}");
        assert_eq!(field(text, "Seccomp_filters"), "1", "{text}");
        assert_eq!(field(text, "NoNewPrivs"), "1", "{text}");
        // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(field(text, set), "00000000800405fb", "{text}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(field(text, set), "0000000000000000", "{text}");
        }
    }
    host.down("p");
    host.assert_clean();
}

#[test]
fn calls_that_reach_for_the_machine_are_refused() {
    let Some(host) = Host::new() else { return };
    let script = calls(&REFUSED);
    let newer = calls(&[
        ("clone3", libc::SYS_clone3, &[0, 0]),
        ("unknown", 999, &[]),
        // x32: other numbers, other structures.
        ("x32", 0x4000_0000 + 39, &[]),
        ("netlink_audit", libc::SYS_socket, &[16, 3, 9]),
        ("getpid", libc::SYS_getpid, &[]),
        ("inet", libc::SYS_socket, &[2, 1, 0]),
    ]);
    host.up(&pod(&format!("{script}; {newer}; echo end; exec sleep 1000"), &json!({})));
    let main = errnos(&host.wait_log("p/c", "end"));
    let script = format!("{script}; {newer}");
    let executed = errnos(&host.podspec(["exec", "p/c", "--", "sh", "-c", &script]).success());
    assert_eq!(main, executed);
    for (name, ..) in REFUSED {
        assert_eq!(main[name], libc::EPERM, "{name}");
    }
    for (name, errno) in [
        ("clone3", libc::ENOSYS),
        ("unknown", libc::ENOSYS),
        ("x32", libc::ENOSYS),
        ("netlink_audit", libc::EINVAL),
        ("getpid", 0),
        ("inet", 0),
    ] {
        assert_eq!(main[name], errno, "{name}");
    }
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_filter_needs_no_other_wall() {
    let Some(host) = Host::new() else { return };
    let security = json!({ "noNewPrivileges": false });
    for user in ["0", "1000"] {
        let mut pod = pod(&format!("{LOOK}; {}", calls(&REFUSED)), &json!({ "user": user }));
        pod["containers"]["c"]["security"] = security.clone();
        let outcome = run_pod(&host, &pod);
        let text = &outcome;
        assert_eq!((field(text, "Seccomp"), field(text, "NoNewPrivs")), ("2", "0"), "{outcome}");
        // What was kept to install it is not the program's.
        let expected = if user == "0" { "00000000800405fb" } else { "0000000000000000" };
        assert_eq!(field(text, "CapPrm"), expected, "{outcome}");
        assert_eq!(field(text, "CapInh"), "0000000000000000", "{outcome}");
        assert_eq!(errnos(text)["unshare"], libc::EPERM, "{outcome}");
        host.assert_clean();
    }
}

#[test]
fn a_profile_of_ones_own_is_obeyed_by_everyone() {
    let Some(host) = Host::new() else { return };
    let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    host.file("profile.json", profile.to_string());
    let security = json!({ "security": { "seccomp": "./profile.json" } });
    host.up(&pod("mkdir /tmp/x; exec sleep 1000", &security));
    host.wait_log("p/c", "No space left");
    let said = host.podspec(["exec", "p/c", "--", "mkdir", "/tmp/x"]);
    assert!(said.stderr.contains("No space left"), "{said}");
    host.down("p");
    for text in ["", "{}", "[]", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#] {
        host.file("profile.json", text);
        let outcome = host.podspec(["up", "-d", &host.pod(&pod("true", &security))]);
        outcome.fails(2);
    }
    fs::remove_file(host.dir.join("profile.json")).unwrap();
    host.podspec(["up", "-d", &host.pod(&pod("true", &security))]).fails(2);
    host.assert_clean();
}

#[test]
fn privileged_is_what_it_says() {
    let Some(host) = Host::new() else { return };
    let script = format!(
        "{LOOK}; {}; grep -q CPU /proc/interrupts && echo seen; test -w /proc/sys/kernel/core_pattern && echo sys; ls /dev/loop-control /dev/net/tun 2>/dev/null; true",
        calls(&REFUSED)
    );
    let outcome = run(&host, &script, &json!({ "privileged": true }));
    let text = &outcome;
    assert_eq!((field(text, "Seccomp"), field(text, "NoNewPrivs")), ("0", "0"), "{outcome}");
    // All that the caller has.
    let own = host.sh("cat /proc/self/status").success();
    assert_eq!(field(text, "CapEff"), field(&own, "CapPrm"), "{outcome}");
    assert_ne!(errnos(text)["unshare"], libc::EPERM, "{outcome}");
    assert!(text.contains("seen") && text.contains("sys"), "{outcome}");
    for device in ["/dev/loop-control", "/dev/net/tun"] {
        assert_eq!(text.contains(device), fs::exists(device).unwrap(), "{device}: {outcome}");
    }
}

/// Its mounts belong to the pod's user namespace: it makes some, and takes none off that hides something.
#[test]
fn who_may_mount_in_a_user_namespace_mounts_there_and_uncovers_nothing() {
    let Some(host) = Host::new() else { return };
    let script = "mount -t tmpfs x /mnt && echo mounted; touch /mnt/x && echo used; \
                  for hidden in /proc/sys /proc/kcore /proc /dev /sys/firmware; do \
                  umount $hidden && echo uncovered $hidden; done; \
                  mount -o remount,bind,rw /proc/sys && echo loosened; \
                  mount -o remount,bind,suid,dev /sys && echo loosened; true";
    // AppArmor's default profile lets nobody mount.
    let security = json!({ "capabilities": { "add": ["SYS_ADMIN"] }, "apparmor": "unconfined" });
    let able = json!({ "security": security });
    let mut pod = pod(script, &able);
    pod["share"] = json!(["net", "uts", "ipc", "user"]);
    let said = run_pod(&host, &pod);
    assert!(said.contains("mounted\n") && said.contains("used\n"), "{said}");
    assert!(!said.contains("uncovered") && !said.contains("loosened"), "{said}");
    pod["containers"]["c"]["security"] = json!({ "privileged": true });
    pod["containers"]["c"]["command"] =
        json!(["/bin/sh", "-c", "mount -t tmpfs x /mnt && echo mounted"]);
    let said = run_pod(&host, &pod);
    assert!(said.contains("mounted\n"), "{said}");
    // And not without that right.
    pod["containers"]["c"]["security"] = json!({});
    let said = run_pod(&host, &pod);
    assert!(!said.contains("mounted\n"), "{said}");
}

/// Of AppArmor, as the kernel says whom it confines.
const LABEL: &str = "cat /proc/self/attr/current";

fn has_apparmor() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|enabled| enabled.starts_with('Y'))
}

#[test]
fn apparmor_confines_where_the_kernel_has_it() {
    let Some(host) = Host::new() else { return };
    let named = pod(LABEL, &json!({ "security": { "apparmor": "podspec-test" } }));
    let plan = || host.podspec(["plan", "--steps", &host.pod(&pod(LABEL, &json!({})))]).success();
    if !has_apparmor() {
        let refused = host.podspec(["up", "-d", &host.pod(&named)]).fails(2);
        assert!(refused.contains("AppArmor"), "{refused}");
        assert!(!plan().contains("AppArmor"));
        return host.assert_clean();
    }
    assert!(plan().contains("load AppArmor's profile podspec-default"), "{}", plan());
    let able = |more: &Value| {
        let mut security = json!({ "capabilities": { "add": ["SYS_ADMIN"] } });
        security.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run(&host, &format!("{LABEL}; mount -t tmpfs x /mnt && echo mounted; true"), &security)
    };
    let said = able(&json!({}));
    assert!(said.contains("podspec-default (enforce)") && !said.contains("mounted"), "{said}");
    let said = able(&json!({ "apparmor": "unconfined" }));
    assert!(said.contains("unconfined") && said.contains("mounted"), "{said}");
    let said = able(&json!({ "privileged": true }));
    assert!(said.contains("unconfined") && said.contains("mounted"), "{said}");

    // What comes later is confined, too, and ends by a signal like any other.
    host.up(&pod("sleep infinity", &json!({})));
    let label = host.podspec(["exec", "p", "--", "cat", "/proc/self/attr/current"]).success();
    assert_eq!(label, "podspec-default (enforce)\n");
    host.podspec(["kill", "-s", "KILL", "p/c"]).success();
    host.down("p");

    let missing = host.podspec(["up", "-d", &host.pod(&named)]).fails(1);
    assert!(missing.contains("podspec-test"), "{missing}");
    let profile = "profile podspec-test flags=(attach_disconnected,mediate_deleted) {\n\
                   file, capability, network, umount, signal, deny /etc/passwd r, }";
    host.sh(&format!("echo '{profile}' | apparmor_parser --replace --skip-cache")).success();
    let own = json!({ "apparmor": "podspec-test" });
    let said = run(&host, &format!("{LABEL}; cat /etc/passwd"), &own);
    assert!(said.contains("podspec-test (enforce)") && !said.contains("root:"), "{said}");
    host.sh(&format!("echo '{profile}' | apparmor_parser --remove")).success();
    host.assert_clean();
}

#[test]
fn capabilities_are_what_the_file_adds_and_drops() {
    let Some(host) = Host::new() else { return };
    let none = run(&host, LOOK, &json!({ "capabilities": { "drop": ["ALL"] } }));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&none, set), "0000000000000000", "{none}");
    }
    let lists = json!({ "add": ["cap_net_raw"], "drop": ["ALL"] });
    let security = json!({ "security": { "capabilities": lists }, "user": "1000" });
    host.up(&pod(&format!("{LOOK}; echo end; exec sleep 1000"), &security));
    let main = host.wait_log("p/c", "end");
    let executed = host.podspec(["exec", "p/c", "--", "sh", "-c", LOOK]).success();
    for text in [&main, &executed] {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(text, set), "0000000000002000", "{text}");
        }
    }
    host.down("p");
    host.assert_clean();
}

#[test]
fn a_read_only_root_is_read_only_everywhere() {
    let Some(host) = Host::new() else { return };
    let mut pod = pod(
        "for f in / /usr /etc /opt /var; do touch $f/x-42 2>/dev/null && echo wrote $f; done; touch /v/x /tmp/x && echo volumes; true",
        &json!({ "volumes": ["v:/v"], "security": { "readOnlyRootfs": true } }),
    );
    pod["volumes"] = json!({ "v": { "emptyDir": {} } });
    let outcome = run_pod(&host, &pod);
    assert!(!outcome.contains("wrote"), "{outcome}");
    assert!(outcome.contains("volumes"), "{outcome}");
    host.assert_clean();
}

#[test]
fn root_is_refused_by_whatever_name() {
    let Some(host) = Host::new() else { return };
    for user in ["root", "0", "00", "root:root"] {
        let more = json!({ "user": user, "security": { "runAsNonRoot": true } });
        host.podspec(["up", "-d", &host.pod(&pod("true", &more))]).fails(2);
        host.assert_clean();
    }
    // Nor where the file names nobody.
    let more = json!({ "security": { "runAsNonRoot": true } });
    let said = host.podspec(["up", "-d", &host.pod(&pod("true", &more))]).fails(2);
    assert!(said.contains("write a `user` beside it"), "{said}");
    let more = json!({ "user": "1000", "security": { "runAsNonRoot": true } });
    host.podspec(["up", &host.pod(&pod("true", &more))]).success();
    host.assert_clean();
}

#[test]
fn what_the_kernel_shows_of_the_machine_is_hidden() {
    let Some(host) = Host::new() else { return };
    let script = "
        for f in interrupts kcore keys timer_list; do [ -e /proc/$f ] && [ \"$(stat -c %t:%T /proc/$f)\" != 1:3 ] && echo open /proc/$f; done
        for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && [ -n \"$(ls -A $d)\" ] && echo open $d; touch $d/x 2>/dev/null && echo wrote $d; done
        for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches /sys/kernel/mm/ksm/run; do (: >> $f) 2>/dev/null && echo wrote $f; done
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo wrote cgroup
        cat /proc/self/cgroup; grep -E ' (/proc/scsi|/proc/acpi|/sys/firmware) ' /proc/self/mountinfo; echo end";
    let outcome = run(&host, script, &json!({}));
    assert!(!outcome.contains("open") && !outcome.contains("wrote"), "{outcome}");
    assert!(outcome.contains("0::/\n") && outcome.contains("end"), "{outcome}");
    // A directory is covered by a tmpfs that holds nothing and takes nothing.
    let covers = outcome.lines().filter(|line| line.contains("tmpfs"));
    for cover in covers {
        assert!(cover.contains("ro,") && cover.contains("size=4k,nr_inodes=2"), "{cover}");
    }
    let open = "test -c /proc/timer_list -o ! -e /proc/timer_list && echo covered; stat -c %t:%T /proc/interrupts; true";
    let seen = run(&host, open, &json!({ "unmask": ["/proc/interrupts"] }));
    assert!(seen.contains("0:0") && seen.contains("covered"), "{seen}");
}

#[test]
fn infra_makes_three_system_calls_and_has_no_right() {
    let Some(host) = Host::new() else { return };
    host.up(&pod("exec sleep 1000", &json!({})));
    let infra = host.inspect("p")["infra"]["pid"].clone();
    let read = || fs::read_to_string(format!("/proc/{infra}/status")).unwrap();
    wait_for("infra's filter", || field(&read(), "Seccomp") == "2");
    let status = read();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{status}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    // Non-dumpable: its files in /proc are the machine's root's, not its own user's.
    let environ = fs::metadata(format!("/proc/{infra}/environ")).unwrap();
    assert_eq!(environ.len(), 0);
    assert_eq!(fs::read_dir(format!("/proc/{infra}/root")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(format!("/proc/{infra}/fd")).unwrap().count(), 0);
    host.down("p");
    host.assert_clean();
}

/// Runs a program in a session that holds a key.
const WITH_A_KEY: &str = r#"
    my ($ring, $type, $name, $value) = ("of the host", "user", "inspected", "x");
    syscall(KEYCTL, 1, $ring) > 0 or die "join: $!";
    syscall(ADD_KEY, $type, $name, $value, 1, -3) > 0 or die "add: $!";
    exec @ARGV or die "exec: $!";"#;

/// What a search of the session's keyring comes to.
const SEARCH: &str = r#"my ($type, $name) = ("user", "inspected"); $! = 0; syscall(KEYCTL, 10, -3, $type, $name, 0); print "search=", $! + 0, "\n";"#;

#[test]
fn a_container_has_a_session_keyring_of_its_own() {
    let Some(host) = Host::new() else { return };
    let of = |script: &str| {
        script
            .replace("KEYCTL", &libc::SYS_keyctl.to_string())
            .replace("ADD_KEY", &libc::SYS_add_key.to_string())
    };
    let in_session = |words: Vec<String>| {
        let mut command = std::process::Command::new("perl");
        host.finish(host.start(command.args(["-e", &of(WITH_A_KEY)]).args(words))).success()
    };
    let podspec = |args: &[&str]| {
        let command = host.command(args);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        in_session(words.map(|word| word.to_str().unwrap().to_owned()).collect())
    };
    let search = of(SEARCH);
    let here = in_session(["perl", "-e", &search].map(str::to_owned).to_vec());
    assert_eq!(errnos(&here)["search"], 0, "{here}");
    // The default filter lets nobody ask.
    let mut pod = pod("", &json!({ "security": { "seccomp": "unconfined" } }));
    pod["containers"]["c"]["command"] =
        json!(["perl", "-e", format!("$| = 1; {search} sleep 1000")]);
    podspec(&["up", "-d", &host.pod(&pod)]);
    let first = host.wait_log("p/c", "search=");
    let later = podspec(&["exec", "p/c", "--", "perl", "-e", &search]);
    for text in [first, later] {
        assert_eq!(errnos(&text)["search"], libc::ENOKEY, "{text}");
    }
    host.down("p");
    host.assert_clean();
}

/// A 64-bit program that makes a call of 32-bit x86 (socketcall, whose family no filter can see), and ends with 0.
#[cfg(target_arch = "x86_64")]
const OLD_CALL: &str = r#"
void _start(void) {
  int number = 102;
  __asm__ volatile("int $0x80" : "+a"(number) : "b"(1), "c"(0) : "memory");
  __asm__ volatile("syscall" : : "a"(231), "D"(0));
}"#;

#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_of_32_bits_ends_its_program() {
    let Some(host) = Host::new() else { return };
    let root = crate::host::root_directory(&host, "root", &["/bin/sh"]);
    let (source, program) = (host.file("old.c", OLD_CALL), root.join("bin/old"));
    let build = format!("cc -static -nostdlib -o {} {}", program.display(), source.display());
    host.sh(&build).success();
    let code = |security: &Value| {
        let container = json!({ "rootfs": root, "command": ["/bin/old"], "security": security });
        let pod = json!({ "name": "p", "containers": { "c": container } });
        let code = host.podspec(["up", &host.pod(&pod)]).code;
        host.assert_clean();
        code
    };
    // A kernel may know no such calls.
    let unconfined = code(&json!({ "seccomp": "unconfined" }));
    assert!(matches!(unconfined, Some(0 | 139)), "{unconfined:?}");
    let expected = if unconfined == Some(0) { 128 + libc::SIGSYS } else { 139 };
    assert_eq!(code(&json!({})), Some(expected));
}
