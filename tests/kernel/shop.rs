//! A pod of real programs of Debian's packages (tests/images/make): PostgreSQL, Redis, and an Apache that needs both.
//! For a minute one of them after the other is killed, or several at once: each time the pod converges, and the Apache
//! never starts before both are ready, by the events and by what it finds itself when it starts.

use crate::host::{Host, http_get, wait_for};
use crate::random::Random;
use crate::real::layouts;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long there is killing.
const MINUTE: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["db", "cache", "web"];

fn shop(root: &str) -> Value {
    let one = |user: &str, command: &[&str]| json!({ "rootfs": root, "user": user, "command": command, "volumes": ["data:/data"] });
    let with = |mut container: Value, more: Value| {
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    };
    let postgres = |program: &str| format!("/usr/lib/postgresql/15/bin/{program}");
    let initdb = format!(
        "{} -D /data/db -A trust -E UTF8 --no-locale --no-sync -U postgres",
        postgres("initdb")
    );
    let program = postgres("postgres");
    let db = [&*program, "-D", "/data/db", "-k", "/tmp", "-c", "fsync=off"];
    let ready =
        json!({ "exec": [postgres("pg_isready"), "-q", "-h", "127.0.0.1"], "timeout": "5s" });
    let on = json!({ "condition": "ready", "restart": true });
    json!({
        "name": "shop", "ports": ["127.0.0.1:8080:80"], "volumes": { "data": {} },
        "restart": { "policy": "always", "backoff": { "max": "100ms" } },
        "initContainers": {
            "owner": one("root", &["chown", "postgres", "/data"]),
            "initdb": one("postgres", &["/bin/sh", "-c", &initdb]),
        },
        "containers": {
            "db": with(one("postgres", &db), json!({ "readinessProbe": ready, "stopSignal": "INT" })),
            "cache": with(
                one("redis", &["/usr/bin/redis-server", "--save", ""]),
                json!({ "readinessProbe": { "log": "Ready to accept connections" } }),
            ),
            "web": with(one("root", &["/shop/start"]), json!({
                "readinessProbe": { "http": { "port": 80, "path": "/index" }, "timeout": "5s" },
                "dependsOn": { "db": on, "cache": on },
            })),
        },
    })
}

fn pids(host: &Host) -> BTreeMap<String, Value> {
    let inspected = host.inspect("shop");
    let all = inspected["containers"].as_array().unwrap().iter();
    all.map(|one| (one["name"].as_str().unwrap().to_owned(), one["pid"].clone())).collect()
}

/// All is ready, and the Apache's page has been to both.
fn serves(host: &Host) -> bool {
    let inspected = host.inspect("shop");
    let ready = |one: &Value| one["ready"] == true || one["role"] == "init";
    inspected["containers"].as_array().unwrap().iter().all(ready)
        && http_page().is_some_and(|page| page.starts_with("both are there"))
}

fn http_page() -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect("127.0.0.1:8080").ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET /index HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Kills the first processes of some containers, one right after the other; who goes with them.
fn kill_some(
    host: &Host,
    random: &mut Random,
    before: &BTreeMap<String, Value>,
) -> Vec<&'static str> {
    let mut victims: Vec<&str> = NAMES.to_vec();
    victims.rotate_left(random.below(3));
    victims.truncate(1 + random.below(3));
    let pids: Vec<String> = victims.iter().map(|name| before[*name].to_string()).collect();
    // Those that need the first one may have gone with it before their turn comes.
    let (first, others) = pids.split_first().unwrap();
    let others = others.join(" ");
    host.sh(&format!("kill -9 {first}; for one in {others}; do kill -9 $one 2>&-; done; :"))
        .success();
    // What it needs takes it along.
    if !victims.contains(&"web") {
        victims.push("web");
    }
    victims
}

/// Kills a process of PostgreSQL that is not its first: it mends that itself, and podspec has no part in it.
fn kill_a_child(host: &Host, random: &mut Random) {
    let ready = || host.logs("shop/db").matches("ready to accept connections").count();
    let before = ready();
    let which = ["checkpointer", "background writer", "walwriter", "autovacuum launcher"];
    let name = format!("postgres: {}", random.any(&which));
    let [pid] = host.pids_of(&name)[..] else { return };
    host.sh(&format!("kill -9 {pid}")).success();
    wait_for("PostgreSQL to mend itself", || ready() > before);
}

/// By the events in their order: when the Apache's program began, both were ready. How often it began.
fn starts_in_order(host: &Host) -> usize {
    let events = host.podspec(["events", "--format", "json", "shop"]).success();
    let mut ready: BTreeMap<String, bool> = BTreeMap::new();
    let mut starts = 0;
    for line in events.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let Some(name) = entry["container"].as_str() else { continue };
        match entry["event"].as_str().unwrap() {
            "ready" => drop(ready.insert(name.to_owned(), true)),
            "running" if name == "web" => {
                assert!(ready["db"] && ready["cache"], "too early: {line}\n{events}");
                starts += 1;
            }
            "running" => drop(ready.insert(name.to_owned(), false)),
            "unready" | "stopping" | "restarting" | "exited" | "failed" | "stopped" => {
                ready.insert(name.to_owned(), false);
            }
            _ => {}
        }
    }
    starts
}

#[test]
fn a_pod_of_real_programs_converges_whatever_is_killed() {
    let made = layouts();
    let Some((host, made)) = Host::new().zip(made) else { return };
    let root = made.join("shop").display().to_string();
    let file = host.pod(&shop(&root));
    host.podspec(["up", "-d", "--wait", &file]).success();
    wait_for("the first page", || serves(&host));
    let mut random = Random::of("SHOP_SEED");
    let (end, mut kills) = (Instant::now() + MINUTE, 0);
    while Instant::now() < end {
        let before = pids(&host);
        if random.below(4) == 0 {
            kill_a_child(&host, &mut random);
        } else {
            let ended = kill_some(&host, &mut random, &before);
            wait_for(&format!("{ended:?} to be others"), || {
                let now = pids(&host);
                ended.iter().all(|name| now[*name].is_u64() && now[*name] != before[*name])
            });
        }
        wait_for("the pod to serve again", || serves(&host));
        kills += 1;
    }
    // And as a user has it, who restarts one of them and all of them.
    for of in ["shop/db", "shop"] {
        host.podspec(["restart", of]).success();
        wait_for("the pod to serve again", || serves(&host));
    }
    eprintln!("{kills} times killed");
    assert!(kills > 2);
    let starts = starts_in_order(&host);
    let log = host.logs("shop/web");
    assert!(!log.contains("is missing"), "{log}");
    // A run that is ended before it has looked says nothing.
    let looked = log.matches("both are there").count();
    assert!(looked > 2 && looked <= starts, "{looked} of {starts}: {log}");
    assert!(http_get("127.0.0.1:8080").is_ok());
    host.podspec(["down", "--volumes", "shop"]).success();
    host.assert_clean();
}
