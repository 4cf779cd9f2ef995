//! A container that changes what podspec is looking at, as fast as it can, while podspec works beside it: who enters is
//! looked into, a mount's target or /proc itself is swapped for a link. Each race is run many times, and shows that it
//! was one: the attacker gets at what it may have.

use crate::host::{Host, wait_some};
use crate::security::{CANARY, Victim, fingerprint, victim};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Opens the memory of whoever comes by in its pid namespace, which who may attach to it may (ptrace(2)), and says what it
/// sees of it. Of podspec it must see nothing: only the program that was asked for, once it runs.
const LOOK_INTO_ALL: &str = r#"
    $| = 1; print "ready\n"; my %done;
    while (1) {
      opendir my $d, "/proc" or die; my @pids = grep { /^\d+$/ && $_ > 1 && !$done{$_} } readdir $d;
      for my $p (@pids) {
        my @seen = map { readlink("/proc/$p/fd/$_") // () } 3 .. 20;
        push @seen, "its memory" if open my $memory, "<", "/proc/$p/mem";
        my $program = readlink "/proc/$p/exe";
        # Gone meanwhile, or what was looked at was not the program yet.
        next if !defined $program && !$!{EACCES};
        $program //= "what runs before";
        my $is_ours = $program =~ m{/busybox$} && "@seen" eq "its memory";
        print "stolen: of $program @seen\n" if @seen && !$is_ours;
        print "looked into $program\n" if $is_ours;
        $done{$p} = 1 if $is_ours;
      }
    }"#;

#[test]
fn who_enters_cannot_be_looked_into() {
    let Some(host) = Host::new() else { return };
    let command = json!(["perl", "-MErrno", "-e", LOOK_INTO_ALL]);
    host.up(
        &json!({ "name": "p", "containers": { "c": { "rootfs": "host", "command": command } } }),
    );
    host.wait_log("p/c", "ready");
    for _ in 0..150 {
        // Static: it opens no library.
        host.podspec(["exec", "p/c", "--", "/usr/bin/busybox", "usleep", "3000"]);
    }
    let log = host.wait_log("p/c", "looked into");
    assert!(!log.contains("stolen"), "{log}");
    assert!(log.matches("looked into").count() > 10, "hardly a race: {log}");
    host.down("p");
    host.assert_clean();
}

/// Exchanges two names for ever (renameat2 with RENAME_EXCHANGE).
fn exchange(first: &str, second: &str) -> Value {
    let program = r#"$| = 1; my ($a, $b) = @ARGV;
        while (1) { syscall(316, -100, $a, -100, $b, 2) == 0 or die "$a $b: $!"; print "ready\n" unless $n++ }"#;
    json!({ "rootfs": "host", "command": ["perl", "-e", program, first, second] })
}

/// Starts the container of a pod anew, many times; a start may fail, and the next must come all the same. Gives what
/// the container said.
fn start_often(host: &Host, file: &str, changed: impl Fn()) -> String {
    let mut said = String::new();
    for _ in 0..40 {
        host.podspec(["up", file]);
        said += &host.podspec(["logs", "victim/c"]).stdout;
        host.podspec(["down", "victim"]).success();
        changed();
    }
    said
}

/// CVE-2021-30465 and CVE-2024-45310: the swap in a volume that both have, while the other one's mount is put there; and
/// CVE-2021-25741, while a directory of it is taken for a mount.
#[test]
fn a_mount_target_that_is_swapped_leads_nowhere() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    let before = fingerprint(&canary);
    let shared = host.dir.join("shared");
    host.file("bound/text", "bound");
    for link in [canary.display().to_string(), "/proc/self/root".into(), "../../../../..".into()] {
        fs::create_dir_all(shared.join("d")).unwrap();
        symlink(&link, shared.join("l")).unwrap();
        let mut swapper = exchange("/v/d", "/v/l");
        swapper["volumes"] = json!([format!("{}:/v", shared.display())]);
        host.up(&json!({ "name": "swapper", "containers": { "c": swapper } }));
        host.wait_log("swapper/c", "ready");
        let below = format!("{}:/v/d/hosts/below", host.dir.join("bound").display());
        let look = "cat /v/d/hosts/below/text; cat /v/d/file /v/file /s/file; ls -a /v/d/ /s";
        let file = host.pod(&json!({ "name": "victim", "volumes": { "shared": { "host": shared } },
            "containers": { "c": { "rootfs": root, "command": ["/bin/sh", "-c", look],
                "volumes": ["shared:/v", below, { "source": "shared", "target": "/s", "subPath": "d" }],
            } } }));
        let said = start_often(&host, &file, || {
            assert_eq!(fingerprint(&canary), before, "{link} changed the host");
        });
        assert!(said.contains("bound"), "not once was the mount there: {said}");
        assert!(!said.contains(CANARY) && !said.contains("lost+found"), "{link}: {said}");
        host.down("swapper");
        fs::remove_dir_all(&shared).unwrap();
    }
    host.assert_clean();
}

/// CVE-2025-52881 and CVE-2023-27561: /proc of a root is swapped for a link while a container with sysctls starts on it.
#[test]
fn a_proc_that_is_swapped_takes_no_sysctl_elsewhere() {
    const KNOB: &str = "net/ipv4/ip_local_reserved_ports";
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    let decoy = canary.join("sys").join(KNOB);
    fs::create_dir_all(decoy.parent().unwrap()).unwrap();
    fs::write(&decoy, CANARY).unwrap();
    symlink(&canary, root.join("fake")).unwrap();
    let (before, own) = (fingerprint(&canary), host.sh(&format!("cat /proc/sys/{KNOB}")).success());
    let mut swapper = exchange("/r/proc", "/r/fake");
    swapper["volumes"] = json!([format!("{}:/r", root.display())]);
    host.up(&json!({ "name": "swapper", "containers": { "c": swapper } }));
    host.wait_log("swapper/c", "ready");
    let file = host.pod(&json!({ "name": "victim",
        "sysctls": { "net.ipv4.ip_local_reserved_ports": "4711" },
        "containers": { "c": { "rootfs": root,
            "command": ["/bin/cat", format!("/proc/sys/{KNOB}"), format!("/fake/sys/{KNOB}")] } } }));
    let said = start_often(&host, &file, || {
        assert_eq!(fingerprint(&canary), before, "the host's file has changed");
    });
    assert!(said.contains("4711"), "not once did it start: {said}");
    assert!(!said.contains(CANARY), "{said}");
    assert_eq!(host.sh(&format!("cat /proc/sys/{KNOB}")).success(), own);
    host.down("swapper");
    assert_eq!(fs::read_to_string(&decoy).unwrap(), CANARY);
    host.assert_clean();
}

/// CVE-2025-9566: what podspec writes for a container is not written over what an earlier run planted.
#[test]
fn what_podspec_writes_follows_no_link_of_an_earlier_run() {
    let Some(host) = Host::new() else { return };
    let Victim { root, canary } = victim(&host);
    host.file("password.txt", "hunter2");
    let target = canary.join("file").display().to_string();
    let plant = "for f in /run/secrets/password /t/a.txt /etc/hosts /kept/a.txt; do rm -f $f; ln -s $0 $f; done; \
                 ln -s $0 /run/secrets/other; exec sleep 1000";
    let file = host.up(&json!({
        "name": "p",
        "secrets": { "password": { "file": "./password.txt" } },
        "volumes": { "texts": { "files": { "a.txt": "text a" } }, "kept": {} },
        "containers": { "c": {
            "rootfs": root, "command": ["/bin/sh", "-c", plant, target], "secrets": ["password"],
            "volumes": ["texts:/t", "kept:/kept", { "source": "texts", "target": "/kept/below" }],
        } },
    }));
    let before = fingerprint(&canary);
    let look = ["exec", "p/c", "--", "/bin/cat", "/run/secrets/password", "/t/a.txt"];
    let again = |what: &str, act: &dyn Fn()| {
        act();
        wait_some(what, || {
            let said = host.podspec(look);
            (said.stdout == "hunter2text a").then_some(())
        });
        assert_eq!(fingerprint(&canary), before, "{what}");
    };
    again("a first run", &|| ());
    again("restarted", &|| {
        host.podspec(["restart", "p/c"]).success();
    });
    again("down and up", &|| {
        host.down("p");
        host.podspec(["up", "-d", &file]).success();
    });
    host.podspec(["down", "--volumes", "p"]).success();
    assert!(Path::new(&target).exists());
    host.assert_clean();
}
