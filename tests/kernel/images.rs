//! `image:` from a layout or an archive to a running container, and the commands about images.

use crate::host::Host;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A layout `img` with the image `bb`: a busybox in two layers, the second of which deletes and hides, and a
/// config that says something of everything.
pub fn layout(host: &Host) -> PathBuf {
    let script = r"
set -eu
cd $1
umoci init --layout img; umoci new --image img:bb
umoci unpack --image img:bb one >/dev/null
cd one/rootfs
mkdir -p bin etc srv/dir home/web data tmp; chmod 1777 tmp
cp $(command -v busybox) bin/busybox
for a in sh ls cat echo sleep id env pwd stat touch mkdir rm ip; do ln -s busybox bin/$a; done
printf 'root:x:0:0::/root:/bin/sh\nweb:x:33:44::/home/web:/bin/sh\n' > etc/passwd
printf 'root:x:0:\nwww:x:44:\nlog:x:4:web\n' > etc/group
chown 33:44 home/web data
cp bin/busybox bin/setuid; chmod 4755 bin/setuid; setcap cap_net_bind_service+ep bin/busybox
echo old > srv/old; echo deep > srv/dir/deep; ln srv/old srv/hard; mkfifo srv/fifo; mknod srv/null c 1 3
chown 33:44 srv; chmod 2775 srv; truncate -s 1M srv/holes; setfattr -n user.note -v hello srv/old 2>/dev/null || true
touch -d '2001-02-03 04:05:06' srv/dir
cd ../..
umoci repack --image img:bb one >/dev/null
umoci unpack --image img:bb two >/dev/null
# umoci leaves a directory out of a layer where only something in it is deleted, so this one is as it was.
cd two/rootfs; rm srv/old; rm -r srv/dir; mkdir srv/dir; echo new > srv/dir/new; chmod 0750 srv/dir; cd ../..
umoci repack --image img:bb two >/dev/null
umoci config --image img:bb --config.entrypoint /bin/echo --config.cmd hello --config.cmd image \
  --config.env A=1 --config.env PATH=/bin --config.workingdir /made/here --config.user web \
  --config.volume /data --config.volume /vol --config.stopsignal SIGINT --config.label team=shop \
  --config.exposedports 8080/tcp
umoci unpack --image img:bb whole >/dev/null
";
    host.sh(&format!("sh -c '{}' sh {}", script.replace('\'', "'\\''"), host.dir.display()))
        .success();
    host.dir.join("img")
}

fn pod(image: &str, more: Value) -> Value {
    let mut container = json!({ "image": image });
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    json!({ "name": "shop", "network": "none", "containers": { "web": container } })
}

#[test]
fn an_image_says_what_its_program_is() {
    let Some(host) = Host::new() else { return };
    let image = format!("oci:{}:bb", layout(&host).display());
    // Nothing of it is here: the plan says what would be fetched, and nothing is.
    let file = host.pod(&pod(&image, json!({})));
    let plan = host.podspec(["plan", &file]);
    assert!(plan.stderr.contains("fetches the image oci:"), "{plan}");
    plan.success();
    assert_eq!(host.podspec(["images"]).success().lines().count(), 1);
    host.up(&pod(&image, json!({})));
    host.wait_status("shop", "web", "exited");
    assert!(host.logs("shop/web").ends_with("hello image\n"));
    let record = host.container("shop", "web");
    assert_eq!(record["image"]["reference"], json!(image));
    assert!(record["image"]["digest"].as_str().unwrap().starts_with("sha256:"));
    // The second `up` does not ask the source: it is not even there.
    fs::rename(host.dir.join("img"), host.dir.join("away")).unwrap();
    let again = host.podspec(["up", "-d", &file]);
    assert!(!again.stderr.contains("pulling"), "{again}");
    again.success();
    host.down("shop");
    host.up(&pod(&image, json!({ "args": ["other"] })));
    host.wait_status("shop", "web", "exited");
    assert!(host.logs("shop/web").ends_with("other\n"));
    host.down("shop");
    let fails =
        host.podspec(["up", "-d", &host.pod(&pod(&image, json!({ "pullPolicy": "always" })))]);
    assert!(fails.fails(1).contains("cannot open"));
    let other = image.replace(":bb", ":other");
    let never = host.pod(&pod(&other, json!({ "pullPolicy": "never" })));
    assert!(host.podspec(["up", "-d", &never]).fails(1).contains("is not here"));
    host.assert_clean();
}

#[test]
fn a_container_of_an_image_is_what_the_image_says() {
    let Some(host) = Host::new() else { return };
    let image = format!("oci:{}:bb", layout(&host).display());
    let script = "id; pwd; echo A=$A B=$B HOME=$HOME; touch /data/mine /vol/x 2>&1; ls /srv /srv/dir;
        stat -c '%n %a %u:%g' /srv /srv/dir /data /vol /tmp /bin/setuid; cat /srv/null 2>&1; echo end; sleep 1000";
    let file = json!({ "command": ["/bin/sh", "-c", script], "env": { "B": "2" } });
    host.up(&pod(&image, file));
    let log = host.wait_log("shop/web", "end");
    for line in [
        "uid=33(web) gid=44(www) groups=4(log),44(www)",
        "/made/here",
        "A=1 B=2 HOME=/home/web",
        "/srv 2775 33:44",
        "/srv/dir 2750 0:44",
        "/data 755 33:44",
        // Not in the image: as an emptyDir.
        "/vol 777 0:0",
        "/tmp 1777 0:0",
        "/bin/setuid 4755 0:0",
        // Devices of an image cannot be opened: the host's disks could be among them.
        "cat: can't open '/srv/null': Permission denied",
    ] {
        assert!(log.contains(line), "{line}:\n{log}");
    }
    assert!(!log.contains("old\n") && log.contains("hard\n") && !log.contains("touch:"), "{log}");
    let refused = host.podspec(["rmi", &image]).fails(1);
    assert!(refused.contains("shop/web runs from it"), "{refused}");
    assert!(host.podspec(["images"]).success().contains("shop/web"));
    let pruned = host.podspec(["prune", "--all"]).success();
    assert!(!pruned.contains("image"), "{pruned}");
    host.down("shop");
    let told = host.podspec(["prune", "--all", "--dry-run"]).success();
    assert!(told.contains("image layer") && told.contains("would free"), "{told}");
    let freed = host.podspec(["prune", "--all"]).success();
    assert_eq!(freed.replace("freed", "would free"), told);
    assert_eq!(host.podspec(["images"]).success().lines().count(), 1);
    for folder in ["layers", "inherited", "names", "blobs", "tmp", "partial"] {
        let path = host.data().join("images").join(folder);
        assert_eq!(fs::read_dir(path).unwrap().count(), 0, "{folder}");
    }
    host.assert_clean();
}

/// Every path below `root` with all that an image can say of it, but the times of links and of the root.
pub fn entries(root: &Path, without: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(root).unwrap();
            if without.iter().any(|own| inside == Path::new(own)) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut line = format!(
                "{} {:o} {}:{} {:x} links {}",
                inside.display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.rdev(),
                if meta.is_dir() { 0 } else { meta.nlink() },
            );
            if meta.is_symlink() {
                line += &format!(" -> {}", fs::read_link(&path).unwrap().display());
            } else {
                line += &format!(" {}", meta.mtime());
            }
            if meta.is_file() {
                let content = fs::read(&path).unwrap();
                line += &format!(
                    " {} {:?}",
                    content.len(),
                    content.iter().map(|b| u64::from(*b)).sum::<u64>()
                );
                for name in ["security.capability", "user.note"] {
                    let mut value = [0; 64];
                    let read = rustix::fs::lgetxattr(&path, name, &mut value[..]);
                    line +=
                        &format!(" {name}={:?}", read.map(|length| value[..length].to_vec()).ok());
                }
            }
            if meta.is_dir() {
                folders.push(path);
            }
            found.push(line);
        }
    }
    found.sort();
    found
}

#[test]
fn trees_are_equal_to_what_umoci_unpacks() {
    let Some(host) = Host::new() else { return };
    let layout = layout(&host);
    let archive = format!("oci-archive:{}", host.dir.join("a.tar").display());
    let saved = format!("docker-archive:{}", host.dir.join("d.tar").display());
    let from = format!("oci:{}:bb", layout.display());
    // What podspec puts into a container, and what it makes because the config asks for it.
    let own = ["dev", "proc", "sys", "etc", "made", "vol"];
    let wanted = entries(&host.dir.join("whole/rootfs"), &own);
    assert!(wanted.len() > 25, "{wanted:#?}");
    host.sh(&format!("skopeo copy {from} {archive}:bb")).success();
    host.sh(&format!("skopeo copy {from} {saved}:busy/box:1")).success();
    for image in [from, format!("{archive}:bb"), saved.clone(), format!("{saved}:busy/box:1")] {
        let file = json!({ "command": ["/bin/sleep", "1000"], "workingDir": "/" });
        host.up(&pod(&image, file));
        host.wait_status("shop", "web", "running");
        let list = fs::read_dir(host.data().join("images/layers")).unwrap().count();
        assert_eq!(list, 2, "layers are shared, wherever they come from");
        let pid = host.container("shop", "web")["pid"].to_string();
        assert_eq!(entries(Path::new(&format!("/proc/{pid}/root")), &own), wanted, "{image}");
        host.down("shop");
    }
    // One kind that is named as another is told what it is.
    let at = |name: &str| host.dir.join(name).display().to_string();
    for (wrong, right) in [
        (format!("docker-archive:{}", at("a.tar")), "is named with `oci-archive:`"),
        (format!("oci-archive:{}", at("d.tar")), "is named with `docker-archive:`"),
        (format!("oci:{}", at("a.tar")), "is no directory: an archive is named with"),
        (format!("oci-archive:{}", layout.display()), "a directory is named with `oci:`"),
    ] {
        let said = host.podspec(["pull", &wrong]).fails(1);
        assert!(said.contains(right) && !said.contains("hint"), "{said}");
    }
    let told = host.podspec(["rmi", &format!("{saved}:busy/box:1")]).success();
    assert!(told.contains("is removed"), "{told}");
    assert_eq!(fs::read_dir(host.data().join("images/layers")).unwrap().count(), 2);
    host.assert_clean();
}
