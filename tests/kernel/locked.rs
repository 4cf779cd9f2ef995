//! Which image a pod gets, and when a registry is asked: locks, policies, what an image declares.

use crate::formats::{compare, described};
use crate::host::{Host, http_wait, wait_for, wait_some};
use crate::registry::{IMAGE, Registry, push, pushed};
use podspec::names::image::Digest;
use serde_json::{Value, json};
use std::fs;

/// Lines of the registry's log about manifests and blobs that were asked for.
fn asked(host: &Host) -> Vec<String> {
    let log = Registry::log(host);
    let of = log
        .lines()
        .filter(|line| line.contains("http.request.method=GET") || line.contains("\"GET /v2/"));
    of.filter(|line| line.contains("/manifests/") || line.contains("/blobs/"))
        .map(str::to_owned)
        .collect()
}

fn counting(host: &Host) -> Registry {
    let config = json!({ "log": { "level": "error", "accesslog": { "disabled": false } } });
    let registry = Registry::start(host, &json!({}), &config);
    push(host, "--dest-tls-verify=false");
    registry
}

/// Gives the tag another image, with a file `/moved`.
fn move_tag(host: &Host) {
    host.sh(&format!(
        "set -e; cd '{}'; umoci unpack --image image:1 third; echo x > third/rootfs/moved
         umoci repack --image image:1 third
         skopeo --insecure-policy copy -q --dest-tls-verify=false oci:image:1 docker://{IMAGE}",
        host.dir.display()
    ))
    .success();
}

fn sleeper(image: &str) -> Value {
    json!({ "image": image, "command": ["/bin/busybox", "sleep", "1000"], "stopSignal": "SIGKILL" })
}

fn digest_of(host: &Host, pod: &str, container: &str) -> String {
    host.container(pod, container)["image"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_tag_is_asked_for_once_and_an_unchanged_file_asks_nobody() {
    let Some(host) = Host::new() else { return };
    let registry = counting(&host);
    let pod = json!({
        "name": "shop", "network": "none",
        "containers": { "a": sleeper(IMAGE), "b": sleeper(IMAGE) },
    });
    let before = asked(&host).len();
    let file = host.up(&pod);
    let all = asked(&host).split_off(before);
    let manifests: Vec<&String> = all.iter().filter(|line| line.contains("/manifests/1")).collect();
    assert_eq!(manifests.len(), 1, "{all:#?}");
    let blobs: Vec<&String> = all.iter().filter(|line| line.contains("/blobs/")).collect();
    assert_eq!(blobs.len(), 3, "two layers and a config, each once: {all:#?}");
    for container in ["a", "b"] {
        assert_eq!(digest_of(&host, "shop", container), pushed(&host));
    }
    let now = || asked(&host).len();
    let before = now();
    host.podspec(["up", "-d", &file]).success();
    host.down("shop");
    host.podspec(["up", "-d", &file]).success();
    assert_eq!(now(), before, "{:#?}", asked(&host));
    // The tag moves: a pod that runs is told so only where the user asks.
    move_tag(&host);
    let before = now();
    host.podspec(["up", "-d", &file]).success();
    assert_eq!(now(), before);
    let said = host.podspec(["up", "-d", "--pull", &file]).fails(1);
    assert!(said.contains("containers.a.image") && said.contains("another image now"), "{said}");
    // What it says to do does it.
    assert!(said.contains(&format!("`podspec up --recreate --pull {file}`")), "{said}");
    host.podspec(["up", "-d", "--recreate", "--pull", &file]).success();
    assert_eq!(digest_of(&host, "shop", "a"), pushed(&host));
    host.down("shop");
    // What is not here stays away where the command line says so.
    let other =
        json!({ "name": "never", "containers": { "c": sleeper("127.0.0.1:5000/test/other") } });
    let said = host.podspec(["up", "-d", "--pull=never", &host.pod(&other)]).fails(1);
    assert!(said.contains("is not here") && said.contains("`podspec pull 127.0.0.1"), "{said}");
    registry.stop();
    host.assert_clean();
}

#[test]
fn the_images_of_all_pods_of_a_file_come_before_the_first_starts() {
    let Some(host) = Host::new() else { return };
    let registry = counting(&host);
    let pods = ["one", "two", "three"].map(|name| {
        let pod = json!({ "name": name, "network": "none", "containers": { "c": sleeper(IMAGE) } });
        host.pod(&pod);
        pod
    });
    let documents = pods.map(|pod| pod.to_string()).join("\n---\n");
    let file = host.file("all.yaml", &documents).display().to_string();
    // One that cannot be had: nothing starts.
    let bad = documents.replace("\"three\"", "\"three\", \"labels\": {}");
    let last = bad.rfind(IMAGE).unwrap();
    let bad = format!("{}127.0.0.1:5000/test/none:1{}", &bad[..last], &bad[last + IMAGE.len()..]);
    let bad = host.file("bad.yaml", bad).display().to_string();
    let said = host.podspec(["up", "-d", &bad]).fails(1);
    assert!(said.contains("cannot pull 127.0.0.1:5000/test/none:1"), "{said}");
    assert_eq!(host.podspec(["ps", "-q"]).success(), "");
    let before = asked(&host).len();
    host.podspec(["up", "-d", &file]).success();
    let all = asked(&host).split_off(before);
    assert!(all.iter().filter(|line| line.contains("/manifests/1")).count() <= 1, "{all:#?}");
    for name in ["one", "two", "three"] {
        assert_eq!(host.container(name, "c")["status"], "running");
        host.down(name);
    }
    registry.stop();
    host.assert_clean();
}

#[test]
fn a_lock_holds_a_tag_where_it_was() {
    let Some(host) = Host::new() else { return };
    let registry = counting(&host);
    let pod = json!({ "name": "shop", "network": "none", "containers": { "web": sleeper(IMAGE) } });
    let file = host.pod(&pod);
    let beside = host.dir.join("shop.lock");
    assert_eq!(file, host.dir.join("shop.yaml").display().to_string());
    let first = pushed(&host);
    let said = host.podspec(["lock", &file]).success();
    assert!(said.contains("shop.lock is written: 1 image"), "{said}");
    let lock: Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
    let platform = podspec::names::image::Platform::host().to_string();
    let entry = json!({ "digest": first, "platform": platform, "manifest": first });
    assert_eq!(lock, json!({ "version": 1, "images": { IMAGE: entry } }));
    // The tag moves, and the pod does not move with it.
    move_tag(&host);
    let second = pushed(&host);
    assert_ne!(first, second);
    let said = host.podspec(["lock", &file]).success();
    assert!(said.contains("is as it should be"), "{said}");
    let told = host.podspec(["lock", "--format", "json", &file]).success();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["written"], &told["images"][0]["digest"]), (&json!(false), &json!(first)));
    assert_eq!(compare("lock", &described("lock"), &[told]), Vec::<String>::new());
    let plan = host.podspec(["plan", &file]);
    assert!(plan.stderr.contains(&format!("{IMAGE}@{first}")), "{plan}");
    host.podspec(["validate", &file]).success();
    host.podspec(["pull", &file]).success();
    host.podspec(["up", "-d", &file]).success();
    assert_eq!(digest_of(&host, "shop", "web"), first);
    // With the new digest the pod is another one.
    let said = host.podspec(["lock", "--update", &file]).success();
    assert!(said.contains("is written"), "{said}");
    assert!(fs::read_to_string(&beside).unwrap().contains(&second));
    let said = host.podspec(["up", "-d", &file]).fails(1);
    assert!(said.contains("says otherwise"), "{said}");
    host.podspec(["up", "-d", "--recreate", &file]).success();
    assert_eq!(digest_of(&host, "shop", "web"), second);
    host.down("shop");
    registry.stop();
    host.assert_clean();
}

#[test]
fn a_lock_that_does_not_fit_starts_nothing() {
    let Some(host) = Host::new() else { return };
    let registry = counting(&host);
    let pod = json!({ "name": "shop", "network": "none", "containers": { "web": sleeper(IMAGE) } });
    let (file, beside) = (host.pod(&pod), host.dir.join("shop.lock"));
    host.podspec(["lock", &file]).success();
    // A tag that the lock does not know, and one that the file does not know any more.
    let other = IMAGE.replace(":1", ":2");
    host.sh(&format!(
        "skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false docker://{IMAGE} docker://{other}"
    ))
    .success();
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(IMAGE, &other)).unwrap();
    for command in [&["up", "-d"][..], &["plan"], &["validate"], &["pull"]] {
        let said = host.podspec(command.iter().copied().chain([file.as_str()])).fails(2);
        assert!(
            said.contains("P0640") && said.contains(&format!("does not know {other}")),
            "{said}"
        );
        assert!(said.contains("`podspec lock ") && said.contains("newer than the lock"), "{said}");
    }
    host.podspec(["lock", &file]).success();
    let text = fs::read_to_string(&beside).unwrap();
    assert!(text.contains(&other) && !text.contains(&format!("{IMAGE}\"")), "{text}");
    host.podspec(["up", "-d", &file]).success();
    host.down("shop");
    // One that is damaged starts nothing; what is left over is a warning. `down` needs none of it.
    fs::write(&beside, text.replace("\"version\": 1", "\"version\": 7")).unwrap();
    let said = host.podspec(["up", "-d", &file]).fails(2);
    assert!(said.contains("P0642") && said.contains("version 7"), "{said}");
    assert!(
        host.podspec(["lock", &file]).fails(2).contains("--update"),
        "a lock is not thrown away unasked"
    );
    host.podspec(["down", &file]);
    fs::write(&beside, text.replace(&format!("\"{other}\""), "\"docker.io/library/gone:1\""))
        .unwrap();
    let said = host.podspec(["validate", &file]).fails(2);
    assert!(said.contains("P0641") && said.contains("docker.io/library/gone:1"), "{said}");
    // One that the registry has no more.
    fs::write(&beside, text.replace(&pushed(&host), &Digest::of(b"gone").to_string())).unwrap();
    let said = host.podspec(["pull", &file]).fails(1);
    assert!(said.contains("gone is looked up anew by `podspec lock --update"), "{said}");
    fs::write(&beside, &text).unwrap();
    // What is for this machine alone is locked for no other, though no index says so, also where it is locked already.
    for update in [&["--update"][..], &[]] {
        let words = ["lock", "--platform", "plan9/sparc", &file];
        let said = host.podspec(words.iter().chain(update).copied()).fails(1);
        assert!(said.contains("nothing in it is for plan9/sparc: it has linux/"), "{said}");
    }
    registry.stop();
    // Without a registry the lock stays as it was.
    let before = fs::read_to_string(&beside).unwrap();
    assert!(host.podspec(["lock", "--update", &file]).fails(1).contains("Connection refused"));
    assert_eq!(fs::read_to_string(&beside).unwrap(), before);
    host.assert_clean();
}

/// Changes the config of the layout's image `1`.
fn edit_config(host: &Host, edit: impl Fn(&mut Value)) {
    let layout = host.dir.join("image");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.join(name)).unwrap()).unwrap()
    };
    let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let write = |value: &Value| -> (String, usize) {
        let text = serde_json::to_vec(value).unwrap();
        let digest = Digest::of(&text).to_string();
        fs::write(layout.join(blob(&json!(digest))), &text).unwrap();
        (digest, text.len())
    };
    let mut index = read("index.json");
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    let mut config = read(&blob(&manifest["config"]["digest"]));
    edit(&mut config["config"]);
    let (digest, size) = write(&config);
    (manifest["config"]["digest"], manifest["config"]["size"]) = (json!(digest), json!(size));
    let (digest, size) = write(&manifest);
    let entry = &mut index["manifests"][0];
    (entry["digest"], entry["size"]) = (json!(digest), json!(size));
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn what_an_image_exposes_is_published_and_its_own_check_says_when_it_is_ready() {
    let Some(host) = Host::new() else { return };
    host.sh(&format!(
        "set -e; cd '{}'; umoci init --layout image; umoci new --image image:1
         umoci unpack --image image:1 first; mkdir -p first/rootfs/bin first/rootfs/www first/rootfs/tmp
         cp /bin/busybox first/rootfs/bin/busybox
         ln -s busybox first/rootfs/bin/sh; echo page > first/rootfs/www/index.html
         umoci repack --image image:1 first
         umoci config --image image:1 --config.exposedports 8099/tcp --config.exposedports 8098 \
           --config.label team=shop",
        host.dir.display()
    ))
    .success();
    edit_config(&host, |config| {
        config["Cmd"] = json!(["/bin/busybox", "httpd", "-f", "-p", "8099", "-h", "/www"]);
        config["Healthcheck"] = json!({ "Test": ["CMD-SHELL", "/bin/busybox test -e /tmp/well"], "Interval": 50_000_000 });
    });
    let image = format!("oci:{}:1", host.dir.join("image").display());
    let pod = json!({ "name": "web", "ports": "auto", "containers": { "httpd": { "image": image, "stopSignal": "SIGKILL" } } });
    let file = host.pod(&pod);
    let told = host.podspec(["up", "-d", &file]);
    let published = "web: 0.0.0.0:8098-8099->8098-8099/tcp, which an image exposes\n";
    assert!(told.stderr.contains(published), "{told}");
    told.success();
    assert!(http_wait("127.0.0.1:8099").ends_with("page\n"));
    let ports = host.podspec(["port", "web"]).success();
    assert!(ports.contains("8098-8099"), "{ports}");
    let container = host.container("web", "httpd");
    assert_eq!(container["ready"], false);
    assert_eq!(container["image"]["exposedPorts"], json!(["8098", "8099/tcp"]));
    assert_eq!(container["image"]["labels"], json!({ "team": "shop" }));
    host.podspec(["exec", "web", "/bin/busybox", "touch", "/tmp/well"]).success();
    wait_for("the image's own check to succeed", || {
        host.container("web", "httpd")["ready"] == true
    });
    host.podspec(["up", "-d", &file]).success();
    host.podspec(["exec", "web", "/bin/busybox", "rm", "/tmp/well"]).success();
    // docker tells of an unhealthy container, and does not restart it.
    wait_some("the check to fail", || {
        let container = host.container("web", "httpd");
        (container["ready"] == false)
            .then_some(container["restarts"].clone())
            .filter(|restarts| *restarts == 0)
    });
    host.down("web");
    // The file's own probe is the one that counts.
    let mut probed = pod;
    probed["containers"]["httpd"]["readinessProbe"] = json!({ "tcp": 8099 });
    host.up(&probed);
    wait_for("the probe of the file to succeed", || {
        host.container("web", "httpd")["ready"] == true
    });
    host.down("web");
    edit_config(&host, |config| config["ExposedPorts"] = json!({}));
    let told = host.podspec(["up", "-d", "--pull", &file]);
    assert!(told.stderr.contains("web: no port is published: the images expose none\n"), "{told}");
    host.down("web");
    edit_config(&host, |config| config["ExposedPorts"] = json!({ "80/sctp": {} }));
    let said = host.podspec(["up", "-d", "--pull", &file]).fails(2);
    // However long the name of the image is: the message may be on two lines.
    let words: Vec<_> = said.split_whitespace().filter(|word| *word != "│").collect();
    assert!(words.join(" ").contains("`80/sctp` as an exposed port"), "{said}");
    host.assert_clean();
}
