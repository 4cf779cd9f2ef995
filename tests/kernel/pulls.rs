//! Pulls that are cut off, killed, run at once, led through a proxy, or find no room: no half of anything counts,
//! and what had arrived is not fetched again.

use crate::host::{Host, wait_for};
use crate::registry::{ADDRESS, IMAGE, Registry, push};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

/// The registry behind a door that lets so many bytes of answers through, and no more until it is opened.
struct Door {
    gauge: Mutex<Gauge>,
    opened: Condvar,
}

/// Bytes that came to the door, and how many it lets through.
struct Gauge {
    passed: u64,
    most: u64,
}

const DOOR: &str = "127.0.0.1:5001";

impl Door {
    fn new(most: u64) -> Arc<Self> {
        let door =
            Arc::new(Self { gauge: Mutex::new(Gauge { passed: 0, most }), opened: Condvar::new() });
        let listener = TcpListener::bind(DOOR).unwrap();
        let shared = Arc::clone(&door);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, door) = (client.unwrap(), Arc::clone(&shared));
                let server = TcpStream::connect(ADDRESS).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
                std::thread::spawn(move || door.pass(server, client));
            }
        });
        door
    }

    fn pass(&self, mut server: TcpStream, mut client: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = server.read(&mut buffer) {
            let mut gauge = self.gauge.lock().unwrap();
            gauge.passed += read as u64;
            drop(self.opened.wait_while(gauge, |gauge| gauge.passed > gauge.most).unwrap());
            if client.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
    }

    fn is_shut(&self) -> bool {
        let gauge = self.gauge.lock().unwrap();
        gauge.passed > gauge.most
    }

    fn open(&self) {
        self.gauge.lock().unwrap().most = u64::MAX;
        self.opened.notify_all();
    }
}

fn with_log(host: &Host) -> Registry {
    let config = json!({ "log": { "level": "error", "accesslog": { "disabled": false } } });
    let registry = Registry::start(host, &json!({}), &config);
    push(host, "--dest-tls-verify=false");
    registry
}

/// Names in a directory of the store.
fn names(host: &Host, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(host.data().join("images").join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every layer that has a name is whole.
fn assert_whole(host: &Host) {
    for layer in names(host, "layers") {
        let path = host.data().join("images/layers").join(layer);
        assert!(path.join("tree").is_dir() && path.join("layer.json").is_file(), "{path:?}");
    }
}

#[test]
fn a_pull_that_is_killed_leaves_no_half_and_the_next_goes_on() {
    end_in_the_middle(Signal::SIGKILL);
}

#[test]
fn what_has_arrived_at_a_ctrl_c_is_kept() {
    end_in_the_middle(Signal::SIGINT);
}

fn end_in_the_middle(signal: Signal) {
    let Some(host) = Host::new() else { return };
    let registry = with_log(&host);
    let door = Door::new(400_000);
    let image = IMAGE.replace(ADDRESS, DOOR);
    let child = host.start_podspec(["pull", &image]);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    wait_for("the door to be shut", || door.is_shut());
    wait_for("something to be kept", || {
        let kept = names(&host, "partial");
        kept.iter().any(|name| {
            let path = host.data().join("images/partial").join(name);
            fs::metadata(path).is_ok_and(|meta| meta.len() > 100_000)
        })
    });
    kill(pid, signal).unwrap();
    let ended = host.finish(child);
    assert_eq!(ended.code, None, "by the signal: {ended}");
    // Who can says what the next one need not fetch.
    let words = "ended: what had arrived is kept (";
    assert_eq!(ended.stderr.contains(words), signal != Signal::SIGKILL, "{ended}");
    assert_whole(&host);
    assert!(names(&host, "layers").len() < 2, "{signal}");
    assert_eq!(host.podspec(["images"]).success().lines().count(), 1);
    let said = host.podspec(["prune", "--dry-run"]).success();
    assert!(said.contains("unfinished"), "{said}");
    door.open();
    host.podspec(["pull", &image]).success();
    assert_eq!((names(&host, "layers").len(), names(&host, "partial").len()), (2, 0));
    assert_eq!(names(&host, "tmp"), [""; 0]);
    assert_whole(&host);
    // Not from the beginning again: a range was asked for.
    let log = Registry::log(&host);
    assert!(log.contains(" 206 "), "{log}");
    registry.stop();
    host.assert_clean();
}

#[test]
fn processes_that_pull_at_once_fetch_each_layer_once() {
    let Some(host) = Host::new() else { return };
    let registry = with_log(&host);
    for tag in 2..5 {
        host.sh(&format!(
            "cd '{}'; skopeo --insecure-policy copy -q --dest-tls-verify=false oci:image:1 docker://{}",
            host.dir.display(),
            IMAGE.replace(":1", &format!(":{tag}"))
        ))
        .success();
    }
    let door = Door::new(300_000);
    let image = IMAGE.replace(ADDRESS, DOOR);
    let before = Registry::log(&host).len();
    let pulls: Vec<Child> = (0..6)
        .map(|number| {
            let tag = if number < 3 { 1 } else { number - 1 };
            host.start_podspec(["pull", &image.replace(":1", &format!(":{tag}"))])
        })
        .collect();
    wait_for("the door to be shut", || door.is_shut());
    door.open();
    for pull in pulls {
        host.finish(pull).success();
    }
    assert_eq!(
        host.podspec(["images", "--format", "json"]).success().matches("\"reference\"").count(),
        4
    );
    assert_eq!(names(&host, "layers").len(), 2);
    assert_whole(&host);
    let index = fs::read(host.dir.join("image/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let blob = |digest: &serde_json::Value| -> serde_json::Value {
        let path = digest.as_str().unwrap().replace(':', "/");
        serde_json::from_slice(&fs::read(host.dir.join("image/blobs").join(path)).unwrap()).unwrap()
    };
    let log = Registry::log(&host).split_off(before);
    for layer in blob(&index["manifests"][0]["digest"])["layers"].as_array().unwrap() {
        let line = format!("GET /v2/test/busybox/blobs/{}", layer["digest"].as_str().unwrap());
        assert_eq!(log.matches(&line).count(), 1, "{log}");
    }
    registry.stop();
    host.assert_clean();
}

/// Debian's small proxy, in front of a registry on an address that is not loopback's.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_proxy_of_the_environment_is_gone_through() {
    let Some(host) = Host::new() else { return };
    host.sh("ip address add 198.51.100.1/32 dev lo").success();
    host.sh(&format!(
        "cd '{}'; openssl req -x509 -newkey rsa:2048 -nodes -keyout server.key -out server.crt -subj /CN=x -days 2",
        host.dir.display()
    ))
    .success();
    let tls =
        json!({ "certificate": host.dir.join("server.crt"), "key": host.dir.join("server.key") });
    let (there, proxy) = ("198.51.100.1:5000", "http://127.0.0.1:8888");
    let image = IMAGE.replace(ADDRESS, there);
    for (tls, variable, wanted) in [
        (None, "http_proxy", "CONNECT 198.51.100.1:5000"),
        (Some(tls), "HTTPS_PROXY", "CONNECT 198.51.100.1:5000"),
    ] {
        let mut http = json!({ "addr": "0.0.0.0:5000" });
        if let Some(tls) = tls {
            http["tls"] = tls;
        }
        let registry = Registry::start(&host, &http, &json!({}));
        host.sh(&format!(
            "rm -rf '{0}/image' '{0}/first' '{0}/second' '{1}'",
            host.dir.display(),
            host.data().display()
        ));
        push(&host, "--dest-tls-verify=false");
        let config = "Port 8888\nListen 127.0.0.1\nAllow 127.0.0.1\nLogLevel Connect\nConnectPort 5000\nTimeout 20\n";
        let config = host.file("tinyproxy.conf", config);
        let log = fs::File::create(host.dir.join("proxy.log")).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(config).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let running = Proxy(host.spawn(&mut command));
        wait_for("the proxy to listen", || TcpStream::connect("127.0.0.1:8888").is_ok());
        let pull = |environment: (&str, &str)| {
            let mut command = host.command(["pull", "--insecure-registry", there, &image]);
            command.env(environment.0, environment.1).env("HOME", host.dir.join("home"));
            host.finish(host.start(&mut command))
        };
        pull((variable, proxy)).success();
        let said = fs::read_to_string(host.dir.join("proxy.log")).unwrap();
        assert!(said.contains(wanted), "{said}");
        drop(running);
        // By no other way than through it.
        let said = pull((variable, proxy)).fails(1);
        assert!(said.contains("127.0.0.1:8888") || said.contains("refused"), "{said}");
        registry.stop();
    }
    host.sh("ip address del 198.51.100.1/32 dev lo").success();
    host.assert_clean();
}

#[test]
fn without_room_or_network_the_message_says_what_to_do() {
    let Some(host) = Host::new() else { return };
    let registry = with_log(&host);
    let small = host.dir.join("small");
    host.sh(&format!("mkdir '{0}'; mount -t tmpfs -o size=1200k tmpfs '{0}'", small.display()))
        .success();
    let mut plain = Command::new(env!("CARGO_BIN_EXE_podspec"));
    plain.arg("--run").arg(host.run_dir()).arg("--root").arg(&small).args(["pull", IMAGE]);
    let said = host.finish(host.start(&mut plain)).fails(1);
    assert!(said.contains("No space left on device") && said.contains("prune --all"), "{said}");
    host.sh(&format!("umount '{}'", small.display())).success();
    registry.stop();
    let said = host.podspec(["pull", IMAGE]).fails(1);
    assert!(said.contains("Connection refused") && said.contains("hint:"), "{said}");
    let said = host.podspec(["pull", "no-such-host.invalid/a:b"]).fails(1);
    assert!(
        said.contains("no-such-host.invalid") && said.contains("is the name of the registry right"),
        "{said}"
    );
    host.assert_clean();
}
