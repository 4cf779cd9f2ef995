//! `podspec pull` from Debian's own registry on the host's loopback: plain, with logins, with TLS of an authority
//! of the test's own. The image is made by umoci and pushed by skopeo.

use crate::formats::{compare, described};
use crate::host::{Host, Outcome, wait_for};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

pub const ADDRESS: &str = "127.0.0.1:5000";
pub const IMAGE: &str = "127.0.0.1:5000/test/busybox:1";

/// A registry that ends with the test.
pub struct Registry {
    process: Child,
}

impl Registry {
    /// `more` is what its configuration has beside the storage; `http` what `http:` has beside the address.
    pub fn start(host: &Host, http: &Value, more: &Value) -> Self {
        let mut config = json!({
            "version": 0.1,
            "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": host.dir.join("registry") } },
            "http": { "addr": ADDRESS },
        });
        merge(&mut config["http"], http);
        merge(&mut config, more);
        let file = host.file("registry.yml", config.to_string());
        let mut command = Command::new("docker-registry");
        let log = std::fs::File::create(host.dir.join("registry.log")).unwrap();
        command.arg("serve").arg(file).stdout(log.try_clone().unwrap()).stderr(log);
        command.stdin(std::process::Stdio::null());
        let registry = Self { process: host.spawn(&mut command) };
        wait_for("the registry to listen", || TcpStream::connect(ADDRESS).is_ok());
        registry
    }

    /// Before the test looks at what is left.
    pub fn stop(self) {}

    /// Paths and codes of what it was asked for so far.
    pub fn log(host: &Host) -> String {
        std::fs::read_to_string(host.dir.join("registry.log")).unwrap()
    }
}

/// Reaped, too: until that the host's PID 1 cannot end.
impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// An image of two layers with Debian's static busybox, pushed with these options of skopeo.
pub fn push(host: &Host, options: &str) {
    host.sh(&format!(
        "set -e; cd '{dir}'
         umoci init --layout image; umoci new --image image:1
         umoci unpack --image image:1 first
         mkdir -p first/rootfs/bin; cp /bin/busybox first/rootfs/bin/busybox
         ln -s busybox first/rootfs/bin/sh; umoci repack --image image:1 first
         umoci unpack --image image:1 second
         echo hello > second/rootfs/hello; umoci repack --image image:1 second
         umoci config --image image:1 --config.cmd /bin/sh
         skopeo --insecure-policy copy -q {options} oci:image:1 docker://{IMAGE}",
        dir = host.dir.display()
    ))
    .success();
}

/// The digest of what the registry has under the name.
pub fn pushed(host: &Host) -> String {
    let index = std::fs::read(host.dir.join("image/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// As a user whose files are in the test's directory.
fn pull(host: &Host, environment: &[(&str, &Path)], arguments: &[&str]) -> Outcome {
    let mut command = host.command(["pull"]);
    command.args(arguments).env("HOME", host.dir.join("home")).env_remove("DOCKER_CONFIG");
    for (name, value) in environment {
        command.env(name, value);
    }
    host.finish(host.start(&mut command))
}

/// Files of the store's layers with this name.
fn unpacked(host: &Host, name: &str) -> Vec<PathBuf> {
    let found = host.sh(&format!("find '{}' -path '*/tree/{name}'", host.data().display()));
    found.success().lines().map(PathBuf::from).collect()
}

#[test]
fn an_image_is_pulled_once_and_from_a_plain_registry_of_loopback() {
    let Some(host) = Host::new() else { return };
    let registry = Registry::start(&host, &json!({}), &json!({ "log": { "level": "info" } }));
    push(&host, "--dest-tls-verify=false");
    let out = pull(&host, &[], &["--format", "json", IMAGE]);
    assert!(out.stderr.contains("pulling 127.0.0.1:5000/test/busybox:1"), "{out}");
    assert_eq!(out.stderr.matches("is here").count(), 2, "{out}");
    let pulled: Value = serde_json::from_str(&out.success()).unwrap();
    assert_eq!(compare("pull", &described("pull"), std::slice::from_ref(&pulled)), [""; 0]);
    assert_eq!(pulled[0]["digest"], pushed(&host).as_str());
    assert_eq!((&pulled[0]["layers"], &pulled[0]["reference"]), (&json!(2), &json!(IMAGE)));
    let [hello] = &unpacked(&host, "hello")[..] else { panic!("no file") };
    assert_eq!(std::fs::read_to_string(hello).unwrap(), "hello\n");
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let [copy] = &unpacked(&host, "bin/busybox")[..] else { panic!("no file") };
    assert!(std::fs::read(copy).unwrap() == busybox);
    // Again: the tag is looked up, and no blob is asked for.
    let blobs = || Registry::log(&host).matches("GET /v2/test/busybox/blobs").count();
    let before = blobs();
    assert!(before > 0, "{}", Registry::log(&host));
    let out = pull(&host, &[], &[IMAGE, IMAGE]).success();
    assert_eq!(out.matches("is here: sha256:").count(), 1, "{out}");
    assert_eq!(blobs(), before);
    // By digest, and several at once.
    let by_digest = format!("{ADDRESS}/test/busybox@{}", pushed(&host));
    let layout = format!("oci:{}:1", host.dir.join("image").display());
    let out = pull(&host, &[], &[&by_digest, &layout]).success();
    assert_eq!(out.lines().count(), 2, "{out}");
    registry.stop();
    host.assert_clean();
}

#[test]
fn what_cannot_be_pulled_says_why() {
    let Some(host) = Host::new() else { return };
    let registry = Registry::start(&host, &json!({}), &json!({}));
    push(&host, "--dest-tls-verify=false");
    let refused = |code, arguments: &[&str]| pull(&host, &[], arguments).fails(code);
    let said = refused(1, &["127.0.0.1:5000/test/busybox:2"]);
    assert!(said.contains("does not know it: manifest unknown"), "{said}");
    assert!(said.contains("is the name right, and its tag or digest?"), "{said}");
    let said = refused(1, &["127.0.0.1:5000/test/other"]);
    assert!(said.contains("does not know it"), "{said}");
    // All that fail are told, and what is the same to do about them once.
    let said = refused(1, &["127.0.0.1:5000/test/other", IMAGE, "127.0.0.1:5000/test/busybox:2"]);
    let wrong = said.lines().filter(|line| line.starts_with("error: cannot pull "));
    let wrong: Vec<_> = wrong.map(|line| line.rsplit_once('/').unwrap().1).collect();
    assert_eq!(wrong, ["other:latest", "busybox:2"], "{said}");
    assert_eq!(
        said.matches("hint: is the name right, and its tag or digest?").count(),
        1,
        "{said}"
    );
    let said = refused(1, &["--platform", "linux/arm64", IMAGE]);
    assert!(said.contains("linux/arm64") && said.contains("linux/amd64"), "{said}");
    let command = json!({ "rootfs": "host", "command": ["true"] });
    let file = host.pod(&json!({ "name": "own", "containers": { "c": command } }));
    assert_eq!(pull(&host, &[], &[&file]).success(), "nothing to pull: no image is named\n");
    let said = refused(2, &["Bad/Name"]);
    assert!(said.contains("`Bad/Name` names no image"), "{said}");
    // A good one and a bad one: the bad one decides.
    let said = refused(1, &[IMAGE, "127.0.0.1:5000/test/other"]);
    assert!(said.contains("cannot pull 127.0.0.1:5000/test/other:latest"), "{said}");
    registry.stop();
    let said = refused(1, &[IMAGE]);
    assert!(said.contains("Connection refused"), "{said}");
    host.assert_clean();
}

#[test]
fn logins_come_from_dockers_and_podmans_files_and_helpers() {
    let Some(host) = Host::new() else { return };
    let line = host.sh("htpasswd -Bbn bob hunter2").success();
    let passwords = host.file("htpasswd", line);
    let auth = json!({ "auth": { "htpasswd": { "realm": "test", "path": passwords } } });
    let registry = Registry::start(&host, &json!({}), &auth);
    push(&host, "--dest-tls-verify=false --dest-creds bob:hunter2");
    let said = pull(&host, &[], &[IMAGE]).fails(1);
    assert!(said.contains("`podman login 127.0.0.1:5000`"), "{said}");
    // Made by the tool itself, in its own place.
    let run = host.dir.join("user");
    let file = run.join("containers/auth.json");
    host.sh(&format!(
        "skopeo login --tls-verify=false -u bob -p hunter2 --authfile '{}' {ADDRESS}",
        file.display()
    ))
    .success();
    pull(&host, &[("XDG_RUNTIME_DIR", &run)], &[IMAGE]).success();
    pull(&host, &[("REGISTRY_AUTH_FILE", &file)], &[IMAGE]).success();
    pull(&host, &[], &["--authfile", file.to_str().unwrap(), IMAGE]).success();
    // Docker's, with a wrong password, and with a helper.
    let docker = host.dir.join("docker");
    let wrong = json!({ "auths": { ADDRESS: { "username": "bob", "password": "x" } } });
    host.file("docker/config.json", wrong.to_string());
    let said = pull(&host, &[("DOCKER_CONFIG", &docker)], &[IMAGE]).fails(1);
    assert!(said.contains("log in anew") && !said.contains("hunter2"), "{said}");
    host.file("docker/config.json", json!({ "credHelpers": { ADDRESS: "test" } }).to_string());
    let helper = "#!/bin/sh\nread server\n[ \"$1 $server\" = \"get 127.0.0.1:5000\" ] || exit 1\n\
                  echo '{\"Username\":\"bob\",\"Secret\":\"hunter2\"}'\n";
    let helper = host.file("docker/docker-credential-test", helper);
    host.sh(&format!("chmod +x '{}'", helper.display())).success();
    let mut command = host.command(["pull", IMAGE]);
    command.env("DOCKER_CONFIG", &docker).env("HOME", host.dir.join("home"));
    let script = "PATH=$PATH:$DOCKER_CONFIG exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env("DOCKER_CONFIG", &docker).env("HOME", host.dir.join("home"));
    host.finish(host.start(&mut shell)).success();
    let missing = host.dir.join("none.json");
    let said = pull(&host, &[], &["--authfile", missing.to_str().unwrap(), IMAGE]).fails(1);
    assert!(said.contains("none.json"), "{said}");
    registry.stop();
    host.assert_clean();
}

#[test]
fn tls_is_checked_against_the_users_own_authority() {
    let Some(host) = Host::new() else { return };
    host.sh(&format!(
        "set -e; cd '{}'; mkdir certs
         openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out certs/ca.crt -subj /CN=test-ca -days 2
         openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=registry
         printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > names
         openssl x509 -req -in server.csr -CA certs/ca.crt -CAkey ca.key -CAcreateserial -out server.crt \
           -days 2 -extfile names",
        host.dir.display()
    ))
    .success();
    let (key, certificate) = (host.dir.join("server.key"), host.dir.join("server.crt"));
    let tls = json!({ "tls": { "certificate": certificate, "key": key } });
    let registry = Registry::start(&host, &tls, &json!({}));
    push(&host, "--dest-tls-verify=false");
    // It speaks TLS: nobody falls back to plain HTTP, on loopback neither.
    let said = pull(&host, &[], &[IMAGE]).fails(1);
    assert!(said.contains("its certificate is not trusted"), "{said}");
    assert!(said.contains("certs.d/127.0.0.1:5000/ca.crt"), "{said}");
    let certs = host.dir.join("certs");
    pull(&host, &[], &["--cert-dir", certs.to_str().unwrap(), IMAGE]).success();
    pull(&host, &[], &["--insecure-registry", ADDRESS, IMAGE]).success();
    // A misspelled option is not one that is left out.
    let said = pull(&host, &[], &["--cert-dir", "/no/such/certs", IMAGE]).fails(1);
    assert!(said.contains("cannot read /no/such/certs"), "{said}");
    let url = format!("https://{ADDRESS}");
    let said = pull(&host, &[], &["--insecure-registry", &url, IMAGE]).fails(2);
    assert!(said.contains("write HOST or HOST:PORT"), "{said}");
    let conf = "[[registry]]\nlocation = \"127.0.0.1:5000/test\"\ninsecure = true\n";
    let conf = host.file("insecure.conf", conf);
    pull(&host, &[("CONTAINERS_REGISTRIES_CONF", &conf)], &[IMAGE]).success();
    let other = "127.0.0.1:5000/other/busybox:1";
    let said = pull(&host, &[("CONTAINERS_REGISTRIES_CONF", &conf)], &[other]).fails(1);
    assert!(said.contains("its certificate is not trusted"), "{said}");
    host.sh(&format!(
        "mkdir -p '{0}/home/.config/containers/certs.d/localhost:5000'; \
         cp '{0}/certs/ca.crt' '{0}/home/.config/containers/certs.d/localhost:5000'",
        host.dir.display()
    ))
    .success();
    pull(&host, &[], &["localhost:5000/test/busybox:1"]).success();
    registry.stop();
    host.assert_clean();
}

/// A registries.conf that gives the registry these mirrors.
pub fn mirrored(host: &Host, location: &str, mirrors: &[&str]) -> PathBuf {
    let mirror = |place: &&str| format!("[[registry.mirror]]\nlocation = \"{place}\"\n");
    let mirrors: String = mirrors.iter().map(mirror).collect();
    host.file("registries.conf", format!("[[registry]]\nlocation = \"{location}\"\n{mirrors}"))
}

#[test]
fn registries_conf_says_where_an_image_is() {
    let Some(host) = Host::new() else { return };
    let registry = Registry::start(&host, &json!({}), &json!({}));
    push(&host, "--dest-tls-verify=false");
    let pull_by =
        |conf: &Path, image: &str| pull(&host, &[("CONTAINERS_REGISTRIES_CONF", conf)], &[image]);
    // The first is not there, the second has it; the image keeps its own name.
    let conf = mirrored(&host, "reg.invalid", &["127.0.0.1:1", ADDRESS]);
    let out = pull_by(&conf, "reg.invalid/test/busybox:1");
    assert!(
        out.stderr
            .contains(&format!("Connection refused (os error 111): asking {ADDRESS} instead")),
        "{out}"
    );
    let said = out.success();
    assert!(
        said.starts_with(&format!("reg.invalid/test/busybox:1 is here: {}", pushed(&host))),
        "{said}"
    );
    // What no mirror has is asked for where it belongs.
    let said = pull_by(&conf, "reg.invalid/test/other").fails(1);
    assert!(said.contains("manifest unknown: asking reg.invalid instead"), "{said}");
    assert!(said.contains("because: https://reg.invalid/v2/test/other/"), "{said}");
    assert!(
        said.contains("registries.conf a mirror") && said.contains("oci-archive:FILE"),
        "{said}"
    );
    // Another place, none, and a file that is not one.
    let moved = "[[registry]]\nprefix = \"reg.invalid/a\"\nlocation = \"127.0.0.1:5000/test\"\n";
    let moved = host.file("moved.conf", moved);
    pull_by(&moved, "reg.invalid/a/busybox:1").success();
    let blocked =
        host.file("blocked.conf", "[[registry]]\nlocation = \"127.0.0.1:5000\"\nblocked = true\n");
    let said = pull_by(&blocked, IMAGE).fails(1);
    assert!(said.contains("blocked.conf blocks `127.0.0.1:5000`"), "{said}");
    let wrong = host.file("wrong.conf", "[[registry]]\nlocation = 5\n");
    let said = pull_by(&wrong, IMAGE).fails(1);
    assert!(said.contains("wrong.conf cannot be understood: line 2"), "{said}");
    let said = pull_by(&host.dir.join("none.conf"), IMAGE).fails(1);
    assert!(said.contains("cannot read") && said.contains("none.conf"), "{said}");
    registry.stop();
    host.assert_clean();
}

#[test]
fn a_pod_runs_from_a_registry_and_asks_it_once() {
    let Some(host) = Host::new() else { return };
    let registry = Registry::start(&host, &json!({}), &json!({}));
    push(&host, "--dest-tls-verify=false");
    let command =
        ["/bin/sh", "-c", "echo $(/bin/busybox cat /hello); exec /bin/busybox sleep 1000"];
    let pod = json!({
        "name": "pulled",
        "containers": { "web": { "image": IMAGE, "command": command } },
    });
    let file = host.up(&pod);
    host.wait_log("pulled/web", "hello");
    // Nobody is there any more, and nobody is asked.
    registry.stop();
    let said = host.podspec(["up", "-d", &file]).success();
    assert!(said.contains("unchanged"), "{said}");
    host.down("pulled");
    host.podspec(["up", "-d", &file]).success();
    host.down("pulled");
    // `pull` of the file does ask.
    let said = pull(&host, &[], &[&file]).fails(1);
    assert!(said.contains("Connection refused"), "{said}");
    host.assert_clean();
}
