//! `podspec cp`: what it copies, and what a container that plays against it cannot make it touch.

use crate::host::{Host, Outcome, root_directory};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A container with a small root of its own, in which this perl script runs.
fn up(host: &Host, script: &str) -> PathBuf {
    let programs = ["/usr/bin/perl", "/bin/sh", "/bin/cat", "/bin/ls", "/usr/bin/stat"];
    let root = root_directory(host, "root", &programs);
    let container = json!({ "rootfs": root, "command": ["perl", "-e", script], "user": "1000:100",
        "volumes": ["v:/v"] });
    let mut pod =
        json!({ "name": "shop", "network": "none", "volumes": { "v": { "emptyDir": {} } } });
    pod["containers"] = json!({ "c": container });
    host.up(&pod);
    root
}

/// What the script does until it is ended, after it has said that it begins.
fn forever(setup: &str, body: &str) -> String {
    format!("$| = 1; {setup}; print qq(ready\\n); while (1) {{ {body} }}")
}

fn cp(host: &Host, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Outcome {
    host.podspec(["cp".as_ref(), from.as_ref().as_os_str(), to.as_ref().as_os_str()])
}

/// What the container sees.
fn inside(host: &Host, script: &str) -> String {
    host.podspec(["exec", "shop", "--", "sh", "-c", script]).success()
}

fn mtime(path: &Path) -> (i64, i64) {
    let status = fs::symlink_metadata(path).unwrap();
    (status.mtime(), status.mtime_nsec())
}

#[test]
fn a_tree_goes_in_and_comes_out_as_it_was() {
    let Some(host) = Host::new() else { return };
    up(&host, "sleep");
    let tree = host.dir.join("tree");
    fs::create_dir_all(tree.join("sub/empty")).unwrap();
    fs::write(tree.join("sub/text"), "hello\n").unwrap();
    fs::set_permissions(tree.join("sub/text"), PermissionsExt::from_mode(0o640)).unwrap();
    fs::write(tree.join("run"), "#!/bin/sh\n").unwrap();
    symlink("sub/text", tree.join("relative")).unwrap();
    symlink("/nowhere at all", tree.join("dangling")).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (64 << 20) - 3).unwrap();
    std::os::unix::fs::chown(tree.join("run"), Some(33), Some(34)).unwrap();
    fs::set_permissions(tree.join("run"), PermissionsExt::from_mode(0o4755)).unwrap();
    host.sh(&format!("touch -hd '2020-02-02 02:02:02.123456789' {}/*", tree.display())).success();

    cp(&host, &tree, "shop/c:/v/new").success();
    let of = |format: &str, path: &str| inside(&host, &format!("stat -c '{format}' /v/new/{path}"));
    assert_eq!(of("%a %u %g %F", "sub/text"), "640 1000 100 regular file\n");
    assert_eq!(of("%a %u %g", "run"), "755 1000 100\n", "the container's, and not setuid");
    assert_eq!(of("%N", "dangling"), "'/v/new/dangling' -> '/nowhere at all'\n");
    assert_eq!(inside(&host, "cat /v/new/relative"), "hello\n");
    let out = host.dir.join("out");
    cp(&host, "shop/c:/v/new", &out).success();
    host.sh(&format!("diff -r --no-dereference {} {}", tree.display(), out.display())).success();
    for path in ["sub", "run", "sparse", "dangling", "relative"] {
        assert_eq!(mtime(&out.join(path)), mtime(&tree.join(path)), "the time of {path}");
    }
    let sparse = fs::metadata(out.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 64 << 20);
    assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
    assert_eq!(fs::metadata(out.join("run")).unwrap().uid(), 0, "what comes out is the caller's");

    // With -a nothing is changed, either way.
    host.podspec(["cp", "-a", tree.to_str().unwrap(), "shop:/v/kept"]).success();
    assert_eq!(inside(&host, "stat -c '%a %u %g' /v/kept/run"), "4755 33 34\n");
    let kept = host.dir.join("kept");
    host.podspec(["cp", "-a", "shop:/v/kept", kept.to_str().unwrap()]).success();
    let status = fs::metadata(kept.join("run")).unwrap();
    assert_eq!((status.mode() & 0o7777, status.uid(), status.gid()), (0o4755, 33, 34));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn the_target_decides_as_in_cp() {
    let Some(host) = Host::new() else { return };
    up(&host, "sleep");
    let dir = host.dir.join("site");
    fs::create_dir_all(&dir).unwrap();
    let page = host.file("site/page", "one\n");
    let page = page.to_str().unwrap();
    cp(&host, page, "shop:/v").success();
    cp(&host, page, "shop:/v/other").success();
    cp(&host, &dir, "shop:/v").success();
    cp(&host, dir.join("."), "shop:/v/flat").success();
    cp(&host, dir.join("."), "shop:/v/site").success();
    assert_eq!(
        inside(&host, "cd /v; ls -1; ls -1 site flat"),
        "flat\nother\npage\nsite\nflat:\npage\n\nsite:\npage\n"
    );
    host.file("site/page", "two\n");
    cp(&host, page, "shop:/v/other").success();
    assert_eq!(inside(&host, "cat /v/other"), "two\n", "a file is replaced");

    // A link of the container that the path names leads where it leads inside.
    inside(&host, "perl -e 'symlink q(/v), q(/v/link) or die'");
    cp(&host, page, "shop:/v/link/through").success();
    assert_eq!(inside(&host, "cat /v/through"), "two\n");
    inside(&host, "perl -e 'symlink q(/v/target), q(/v/pointer) or die'");
    cp(&host, page, "shop:/v/pointer").success();
    assert_eq!(inside(&host, "cat /v/target; stat -c %F /v/pointer"), "two\nsymbolic link\n");
    // /etc/hosts is a mount of its own.
    cp(&host, page, "shop:/etc/hosts").success();
    assert_eq!(inside(&host, "cat /etc/hosts"), "two\n");
    let out = host.dir.join("hosts");
    cp(&host, "shop:/etc/hosts", &out).success();
    assert_eq!(fs::read_to_string(out).unwrap(), "two\n");
    // From one container to another, or to itself.
    cp(&host, "shop:/v/page", "shop/c:/v/again").success();
    for into in ["shop:/v/site", "shop:/v/site/new", "shop:/v/site/."] {
        let said = cp(&host, "shop:/v/site", into).fails(1);
        assert!(said.contains("/v/site cannot be copied into itself"), "{said}");
    }
    assert_eq!(inside(&host, "ls /v/site"), "page\n", "nothing of it is there");
    cp(&host, "shop:/v/site", "shop:/v/site-2").success();
    assert_eq!(inside(&host, "ls /v/site-2"), "page\n");

    for (from, to, why) in [
        (page, "shop:/v/no/such", "cannot find /v/no/such"),
        (page, "shop:/v/none/", "cannot find /v/none/"),
        ("shop:/none", "x", "cannot find /none"),
        (dir.to_str().unwrap(), "shop:/v/page", "/v/page is not a directory"),
        (page, "shop:/dev/null", "/dev/null is a character device"),
        ("shop:/dev/null", "x", "/dev/null is a character device"),
        (page, "nope/c:/x", "there is no pod `nope`"),
        (page, "shop/d:/x", "no container `d`"),
    ] {
        let said = cp(&host, from, to).fails(1);
        assert!(said.contains(why), "{from} {to}: {said}");
        assert!(
            !said.contains("cannot copy") || said.contains(&format!("{from} to {to}")),
            "{said}"
        );
    }
    assert!(cp(&host, page, "y").fails(2).contains("neither side is in a container"));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn archives_are_packed_and_unpacked() {
    let Some(host) = Host::new() else { return };
    up(&host, "sleep");
    let podspec = format!(
        "{} --run {} --root {}",
        env!("CARGO_BIN_EXE_podspec"),
        host.run_dir().display(),
        host.data().display()
    );
    let script = format!(
        "set -e; cd {}; mkdir -p in/deep/$(printf %0120d 1) in/other; echo text > in/deep/file; \
         ln in/deep/file in/hard; ln -s deep/file in/soft; mkfifo in/pipe; \
         tar c -C in . > in.tar; {podspec} cp - shop:/v < in.tar || echo code $?; \
         {podspec} cp shop:/v/. - | tar t | sort; \
         {podspec} cp shop:/v/deep - | tar xO deep/file",
        host.dir.display()
    );
    let told = host.sh(&script);
    assert!(told.stderr.contains("not copied: ./pipe is a FIFO"), "{told}");
    let long = format!("deep/{:0120}/", 1);
    let expected = ["code 1", "deep/", &long, "deep/file", "hard", "other/", "soft", "text"];
    assert_eq!(told.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(
        inside(&host, "stat -c %i /v/hard; stat -c %i /v/deep/file; cat /v/soft").lines().count(),
        3
    );
    let inodes = inside(&host, "stat -c %i /v/hard /v/deep/file");
    let inodes: Vec<&str> = inodes.lines().collect();
    assert_eq!(inodes[0], inodes[1], "a hard link is one");

    let climbing = format!(
        "cd {}; echo x > climber; tar cP --transform 's,^,../../,' climber | {podspec} cp - shop:/v",
        host.dir.display()
    );
    assert!(host.sh(&climbing).fails(1).contains("leads out of the directory"));
    assert!(host.sh(&format!("echo junk | {podspec} cp - shop:/v")).fails(1).contains("archive"));
    host.down("shop");
    host.assert_clean();
}

#[test]
fn attributes_of_users_come_along_and_capabilities_with_the_owner() {
    let Some(host) = Host::new() else { return };
    up(&host, "sleep");
    let tree = host.dir.join("tree");
    fs::create_dir_all(&tree).unwrap();
    let (podspec, at) = (host.command(["cp"]), host.dir.display());
    let podspec = format!("{podspec:?}").replace('"', "");
    host.sh(&format!(
        "set -e; cd {at}; cp /bin/true tree/ping; setcap cap_net_raw+ep tree/ping; \
         setfattr -n user.note -v hello tree/ping; setfattr -n user.of -v tree tree; \
         {podspec} tree shop:/v/plain; {podspec} -a tree shop:/v/kept; \
         {podspec} shop:/v/plain plain; {podspec} -a shop:/v/kept kept; \
         {podspec} shop:/v/kept - > kept.tar; {podspec} -a - shop:/v/plain < kept.tar; \
         {podspec} -a shop:/v/plain/kept unpacked; \
         mkdir by-tar; tar xf kept.tar --xattrs --xattrs-include='*' -C by-tar"
    ))
    .success();
    for (copy, has_rights) in
        [("plain", false), ("kept", true), ("unpacked", true), ("by-tar/kept", true)]
    {
        let show = format!("cd {at}/{copy}; getfattr -d ping .; getcap ping");
        let shown = host.sh(&show).success();
        assert!(shown.contains("user.note=\"hello\""), "{copy}: {shown}");
        assert!(shown.contains("user.of=\"tree\""), "{copy}: {shown}");
        assert_eq!(shown.contains("cap_net_raw"), has_rights, "{copy}: {shown}");
    }
    host.down("shop");
    host.assert_clean();
}

/// The root's own files, those that podspec made, a volume; and nothing of the host that it did not see.
#[test]
fn what_a_container_has_left_can_be_copied_out_and_nothing_in() {
    let Some(host) = Host::new() else { return };
    let script = "echo mine > /etc/mine; rm /etc/debian_version; echo kept > /v/kept; exit 3";
    let container =
        json!({ "rootfs": "host", "command": ["sh", "-c", script], "volumes": ["v:/v"] });
    let mut pod = json!({ "name": "shop", "volumes": { "v": { "emptyDir": {} } } });
    let sleeps = json!({ "rootfs": "host", "command": ["sleep", "infinity"] });
    let never = json!({ "rootfs": "host", "command": ["true"], "dependsOn": { "c": "completed" } });
    pod["containers"] = json!({ "c": container, "sleeps": sleeps, "never": never });
    let file = host.pod(&pod);
    host.podspec(["up", "-d", &file]).fails(1);
    host.wait_status("shop", "c", "failed");
    let out = |path: &str| {
        let to = host.dir.join("out");
        cp(&host, format!("shop/c:{path}"), &to).success();
        fs::read_to_string(to).unwrap()
    };
    assert_eq!((out("/etc/mine").as_str(), out("/v/kept").as_str()), ("mine\n", "kept\n"));
    assert!(out("/etc/hosts").contains("sleeps"), "the pod's");
    let mut from_here = host.command(["cp", "shop/c:/etc/mine", "./relative"]);
    host.finish(host.start(from_here.current_dir(&host.dir))).success();
    assert_eq!(fs::read_to_string(host.dir.join("relative")).unwrap(), "mine\n");
    // Hidden from it, as in every container.
    let hidden = cp(&host, "shop/c:/etc/shadow", "x").fails(1);
    assert!(hidden.contains("/etc/shadow is a character device"), "{hidden}");
    for gone in ["/etc/debian_version", "/root/.bashrc", "/run/podspec", "/proc/version"] {
        let error = cp(&host, format!("shop/c:{gone}"), "x").fails(1);
        assert!(error.contains("cannot find"), "{gone}: {error}");
    }
    let page = host.file("page", "text");
    assert!(cp(&host, &page, "shop/c:/v").fails(1).contains("shop/c is not running"));
    assert!(cp(&host, "shop/never:/etc/hosts", "x").fails(1).contains("shop/never is not running"));
    // From what is left to what runs.
    cp(&host, "shop/c:/v/kept", "shop/sleeps:/tmp/kept").success();
    let moved = host.podspec(["exec", "shop/sleeps", "--", "cat", "/tmp/kept"]).success();
    assert_eq!(moved, "kept\n");
    // It starts again over what it has left.
    host.podspec(["start", "shop/c"]);
    host.wait_status("shop", "c", "failed");
    host.down("shop");
    host.assert_clean();
}

/// A directory of the host that no container may reach.
fn canary() -> PathBuf {
    let canary = PathBuf::from("/run/canary");
    fs::create_dir_all(canary.join("sub")).unwrap();
    fs::write(canary.join("file"), "SECRET").unwrap();
    fs::write(canary.join("sub/file"), "SECRET").unwrap();
    canary
}

fn assert_untouched(canary: &Path) {
    let names = |path: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(canary), ["file", "sub"]);
    assert_eq!(names(&canary.join("sub")), ["file"]);
    for file in ["file", "sub/file"] {
        assert_eq!(fs::read_to_string(canary.join(file)).unwrap(), "SECRET");
    }
}

/// CVE-2018-15664 and its kin: a directory is a link to the host's by turns, at every place of the path.
#[test]
fn whoever_swaps_links_under_it_gains_nothing() {
    let Some(host) = Host::new() else { return };
    let canary = canary();
    for (turn, link) in
        ["/run/canary", "../../../../../../../../run/canary", "/proc/self/root/run/canary"]
            .into_iter()
            .enumerate()
    {
        let setup = format!(
            "($d, $l) = qw(/v/d /v/l); mkdir $d; mkdir q(/v/d/sub); symlink q({link}), q(/v/l); \
             for (qw(file sub/file)) {{ open F, q(>), qq(/v/d/$_); print F q(mine); close F }}"
        );
        // renameat2 with RENAME_EXCHANGE.
        up(&host, &forever(&setup, "syscall(316, -100, $d, -100, $l, 2)"));
        host.wait_log("shop", "ready");
        let (mut copied, page) = (0, host.file("page", "from outside"));
        for round in 0..40 {
            let out = host.dir.join(format!("out-{turn}-{round}"));
            let from = ["shop:/v", "shop:/v/d/sub", "shop:/v/d", "shop:/v/d/sub/file"][round % 4];
            if cp(&host, from, &out).code == Some(0) {
                copied += 1;
            }
            let found = host.sh(&format!("grep -rlI SECRET {} || true", out.display())).success();
            assert_eq!(found, "", "the host's file came out by {link}");
            let to =
                ["shop:/v/d/page", "shop:/v/d/sub/page", "shop:/v/d", "shop:/v/d/sub"][round % 4];
            cp(&host, &page, to);
            assert_untouched(&canary);
        }
        assert!(copied > 0, "not once was the directory there");
        host.down("shop");
        fs::remove_dir_all(host.dir.join("root")).unwrap();
    }
    fs::remove_dir_all(canary).unwrap();
    host.assert_clean();
}

/// Links, FIFOs, devices and hard links that lie in wait in a tree, on either side.
#[test]
fn what_lies_in_a_tree_is_never_followed() {
    let Some(host) = Host::new() else { return };
    let canary = canary();
    let setup = "mkdir q(/v/t); symlink q(/run/canary), q(/v/t/sub); \
                 symlink q(/run/canary/file), q(/v/t/file); \
                 $p = q(/v/t/pipe); syscall(133, $p, 0010666, 0); \
                 symlink q(/proc/self/root), q(/v/t/root); symlink q(loop), q(/v/t/loop)";
    up(&host, &forever(setup, "sleep"));
    host.wait_log("shop", "ready");
    let out = host.dir.join("out");
    let said = cp(&host, "shop:/v/t", &out).fails(1);
    assert!(said.contains("not copied: /v/t/pipe is a FIFO"), "{said}");
    assert_eq!(fs::read_link(out.join("sub")).unwrap(), Path::new("/run/canary"));
    assert!(!out.join("pipe").exists());
    for path in
        ["shop:/v/t/root/x", "shop:/proc/self/root/bin", "shop:/proc/1/root", "shop:/v/t/loop"]
    {
        assert_eq!(cp(&host, path, host.dir.join("y")).code, Some(1), "{path}");
    }

    // The second copy finds the first one's links where it has directories and files.
    inside(
        &host,
        "perl -e 'unlink q(/v/t/sub), q(/v/t/file); mkdir q(/v/t/sub); \
         for (qw(sub/planted file)) { open F, q(>), qq(/v/t/$_) or die; print F q(hostile) }'",
    );
    let said = cp(&host, "shop:/v/t/.", &out).fails(1);
    assert_untouched(&canary);
    assert!(said.contains("/v/t/sub"), "{said}");
    let page = host.file("page", "new");
    // A link in the place of the file is replaced, and what it leads to is not written.
    inside(&host, "perl -e 'symlink q(/v/precious), q(/v/t/page); open F, q(>), q(/v/precious)'");
    let tree = host.dir.join("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::copy(&page, tree.join("page")).unwrap();
    cp(&host, tree.join("."), "shop:/v/t").success();
    assert_eq!(
        inside(&host, "cat /v/t/page; stat -c '%F %s' /v/t/page /v/precious"),
        "newregular file 3\nregular empty file 0\n"
    );
    fs::remove_dir_all(canary).unwrap();
    host.down("shop");
    assert!(cp(&host, &page, "shop:/v").fails(1).contains("no pod `shop`"));
    host.assert_clean();
}
