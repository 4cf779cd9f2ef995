//! Images of real programs, made of Debian's packages by umoci and buildah (tests/images/make), pushed by skopeo,
//! pulled from Debian's registry and run; and what podman makes of the same images.

use crate::host::{Host, http_wait, wait_some};
use crate::images::{entries, layout};
use crate::registry::{ADDRESS, Registry, mirrored};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the layouts are: made once for all runs, outside of any fake host, for Debian's mirror is asked.
pub fn layouts() -> Option<PathBuf> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = own.join("target/images");
    let mut make = Command::new(own.join("tests/images/make"));
    assert!(make.arg(&made).stdin(Stdio::null()).status().unwrap().success());
    Some(made)
}

fn push(host: &Host, layout: &str, name: &str) -> String {
    let image = format!("{ADDRESS}/{name}");
    host.sh(&format!(
        "skopeo --insecure-policy copy -q --dest-tls-verify=false 'oci:{layout}' docker://{image}"
    ))
    .success();
    image
}

#[test]
fn the_articles_pod_runs_the_real_httpd_of_a_pulled_image() {
    let made = layouts();
    let Some((host, made)) = Host::new().zip(made) else { return };
    let registry = Registry::start(&host, &json!({}), &json!({}));
    push(&host, &format!("{}/httpd:1", made.display()), "library/httpd:2.4");
    let named = "image: docker.io/library/httpd:2.4";
    // The article's example with the image that it names as the other way, and the one that has it so.
    let text = fs::read_to_string(host.example("netshared")).unwrap();
    let begin = text.find("    rootfs: host\n").unwrap();
    assert!(text[..begin].contains(named), "{text}");
    let text = format!("{}    {named}\n", &text[..begin]);
    let shared = host.file("netshared.yaml", text).display().to_string();
    let conf = mirrored(&host, "docker.io", &[ADDRESS]);
    for (pod, file) in [("netshared", shared), ("httpd", host.example("httpd"))] {
        let mut up = host.command(["up", "-d", &file]);
        host.finish(host.start(up.env("CONTAINERS_REGISTRIES_CONF", &conf))).success();
        assert!(http_wait("127.0.0.1:8080").contains("<h1>It works!</h1>"));
        let body = host.sh("curl -sS --max-time 5 localhost:8080").success();
        assert_eq!(body, "<html><body><h1>It works!</h1></body></html>\n");
        let processes = host.sh(&format!("ip netns exec {pod} ss -Hltn")).success();
        assert!(processes.contains(":80 "), "{processes}");
        let image = &host.container(pod, "net1")["image"]["reference"];
        assert_eq!(format!("image: {}", image.as_str().unwrap()), named);
        host.down(pod);
    }
    registry.stop();
    host.assert_clean();
}

#[test]
fn redis_answers_on_the_port_that_its_image_exposes() {
    let made = layouts();
    let Some((host, made)) = Host::new().zip(made) else { return };
    let registry = Registry::start(&host, &json!({}), &json!({}));
    let image = push(&host, &format!("{}/redis:1", made.display()), "library/redis:7");
    let pod =
        json!({ "name": "cache", "ports": "auto", "containers": { "redis": { "image": image } } });
    host.up(&pod);
    let ask = |words: &str| {
        let mut stream = TcpStream::connect("127.0.0.1:6379").ok()?;
        stream.write_all(format!("{words}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    };
    assert_eq!(wait_some("redis to answer", || ask("SET a hello")), "+OK\r\n+OK\r\n");
    // What it is by its image: the user, and a volume that it can write.
    assert_eq!(ask("SAVE").unwrap(), "+OK\r\n+OK\r\n");
    let pid = host.container("cache", "redis")["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("\nUid:\t101\t101\t101\t101\n"), "{status}");
    assert!(Path::new(&format!("/proc/{pid}/root/data/dump.rdb")).exists());
    assert_eq!(ask("GET a").unwrap(), "$5\r\nhello\r\n+OK\r\n");
    host.down("cache");
    registry.stop();
    host.assert_clean();
}

/// The image as an overlay of the store's layers, without a container.
pub fn stored(host: &Host, image: &str) -> PathBuf {
    let store = host.data().join("images");
    let inspected: Value =
        serde_json::from_str(&host.podspec(["image", "inspect", image]).success()).unwrap();
    let layers = inspected[0]["layerList"].as_array().unwrap().iter().rev();
    let tree = |layer: &Value| {
        let hex = layer["diffId"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        store.join("layers").join(hex).join("tree").display().to_string()
    };
    let inherited = fs::read_dir(store.join("inherited")).unwrap();
    let mut trees: Vec<String> =
        inherited.map(|entry| entry.unwrap().path().join("tree").display().to_string()).collect();
    trees.extend(layers.map(tree));
    // An overlay that nobody writes to has two at least.
    let (at, nothing) = (host.dir.join("stored"), host.dir.join("nothing"));
    fs::create_dir_all(&at).unwrap();
    fs::create_dir_all(&nothing).unwrap();
    trees.push(nothing.display().to_string());
    host.sh(&format!(
        "mount -t overlay -o ro,lowerdir={} overlay '{}'",
        trees.join(":"),
        at.display()
    ))
    .success();
    at
}

/// What podman stores of an image, in a storage of its own.
pub fn stored_by_podman(host: &Host, image: &str) -> Vec<String> {
    let dir = host.dir.display();
    let podman = format!(
        "podman --root '{dir}/podman' --runroot '{dir}/podman-run' --storage-driver overlay --events-backend none"
    );
    let script = format!(
        "id=$({podman} pull -q --tls-verify=false '{image}') && {podman} image mount $id && echo $id"
    );
    let out = host.sh(&script).success();
    let (mounted, id) = out.trim().split_once('\n').unwrap();
    let list = entries(Path::new(mounted), &[]);
    host.sh(&format!(
        "{podman} image umount {id}; umount '{dir}/podman/overlay'; rm -rf '{dir}/podman'"
    ));
    list
}

/// What podman stores of the image, and what podspec does.
fn both(host: &Host, image: &str) -> (Vec<String>, Vec<String>) {
    host.podspec(["pull", image]).success();
    let stored = stored(host, image);
    let lists = (stored_by_podman(host, image), entries(&stored, &[]));
    host.sh(&format!("umount '{}'", stored.display()));
    lists
}

#[test]
fn trees_are_equal_to_what_podman_stores() {
    let made = layouts();
    let Some((host, made)) = Host::new().zip(made) else { return };
    let registry = Registry::start(&host, &json!({}), &json!({}));
    for name in ["httpd", "redis"] {
        let image = push(&host, &format!("{}/{name}:1", made.display()), &format!("real/{name}:1"));
        let (podman, podspec) = both(&host, &image);
        assert!(podman.len() > 300, "{}", podman.len());
        let other: Vec<&String> = podspec.iter().filter(|line| !podman.contains(line)).collect();
        assert_eq!((other, podspec.len()), (Vec::new(), podman.len()), "{name}");
        host.podspec(["rmi", &image]).success();
    }
    // Deletions, opaque directories, hard links, devices, capabilities, and a directory that a layer is silent of:
    // to podman that is root's, and to umoci what the layer below has.
    let image = push(&host, &format!("{}:bb", layout(&host).display()), "test/bb:1");
    let (podman, podspec) = both(&host, &image);
    let without = |list: &[String]| -> Vec<String> {
        list.iter().filter(|line| !line.starts_with("srv ")).cloned().collect()
    };
    assert_eq!(without(&podspec), without(&podman));
    assert!(podspec.iter().any(|line| line.starts_with("srv 42775 33:44 ")), "{podspec:#?}");
    registry.stop();
    host.assert_clean();
}
