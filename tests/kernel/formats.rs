//! docs/json.md and the JSON that commands print are equal: a field that is printed and not described
//! fails, and so does one that is described and never printed.

use crate::host::{Host, wait_some};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Fields by path, each with its types.
type Fields = BTreeMap<String, BTreeSet<String>>;

/// A section's fields, as the document has them.
pub fn described(section: &str) -> Fields {
    let document = include_str!("../../docs/json.md");
    let begin = document.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("{section}"));
    let text = document[begin + 4..].split("\n## ").next().unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let fields = rows.map(|row| {
        let (path, rest) = row.split_once("` | ").unwrap();
        let types = rest.split(" | ").next().unwrap().split(" or ").map(str::to_owned);
        (path.to_owned(), types.collect())
    });
    fields.collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Every field of a value, as deep as the document goes.
fn printed(value: &Value, path: &str, known: &Fields, found: &mut Fields) {
    // An object in a list is told by its fields.
    let is_item = path.ends_with("[]") && value.is_object();
    if !path.is_empty() && !is_item {
        found.entry(path.to_owned()).or_default().insert(kind(value).to_owned());
    }
    if known.get(path).is_some_and(|types| types.contains("any")) {
        return;
    }
    match value {
        Value::Array(items) => {
            items.iter().for_each(|item| printed(item, &format!("{path}[]"), known, found));
        }
        Value::Object(fields) => {
            let is_map = known.contains_key(&format!("{path}.*"));
            for (key, value) in fields {
                let key = if is_map { "*" } else { key };
                let dot = if path.is_empty() { "" } else { "." };
                printed(value, &format!("{path}{dot}{key}"), known, found);
            }
        }
        _ => {}
    }
}

fn fields(value: &Value, known: &Fields) -> Vec<String> {
    let mut found = Fields::new();
    printed(value, "", known, &mut found);
    found.into_keys().collect()
}

/// What of the fields is printed otherwise than described, or not at all.
pub fn compare(section: &str, known: &Fields, samples: &[Value]) -> Vec<String> {
    let mut found = Fields::new();
    samples.iter().for_each(|sample| printed(sample, "", known, &mut found));
    let mut wrong = Vec::new();
    for (path, kinds) in &found {
        let Some(types) = known.get(path) else {
            wrong.push(format!("{section}: `{path}` ({kinds:?}) is printed and not described"));
            continue;
        };
        // A whole number is a number.
        let fits = |kind: &String| {
            types.contains(kind)
                || types.contains("any")
                || (kind == "integer" && types.contains("number"))
        };
        if !kinds.iter().all(fits) {
            wrong.push(format!("{section}: `{path}` is {kinds:?}, described as {types:?}"));
        }
    }
    for path in known.keys().filter(|path| !found.contains_key(*path)) {
        let parents = path.match_indices('.').map(|(at, _)| &path[..at]);
        // What this machine has not, it cannot show the fields of.
        let is_null =
            |parent: &str| found.get(parent).is_some_and(|k| k.len() == 1 && k.contains("null"));
        if !parents.into_iter().any(is_null) {
            wrong.push(format!("{section}: `{path}` is described and never printed"));
        }
    }
    wrong
}

/// The fields below a path, as if they were the whole.
fn below(fields: &Fields, prefix: &str, becomes: &str) -> Fields {
    let inner = fields.iter().filter_map(|(path, types)| {
        Some((format!("{becomes}{}", path.strip_prefix(prefix)?), types.clone()))
    });
    inner.collect()
}

/// A pod as `ps` has it: what only a running process or an image can tell is not asked of every one.
fn in_a_list(pod: &Fields) -> Fields {
    let mut listed = below(pod, "", "[].");
    let asked = [
        "[].containers[].namespaces",
        "[].containers[].ids",
        "[].containers[].image.exposedPorts",
        "[].containers[].image.labels",
        "[].supervisor.oomScoreAdj",
    ];
    listed.retain(|path, _| !asked.iter().any(|of| path.starts_with(of)));
    listed
}

fn sh(script: &str) -> Value {
    json!({ "rootfs": "host", "command": ["sh", "-c", script] })
}

/// Containers in every state, ports, a volume, and a network of a container's own.
fn pod_of_all_kinds(image: &str) -> Value {
    let mut web = sh("head -c 4096 /dev/zero > /data/file; perl -MIO::Socket::UNIX -e 'my $s = \
         IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET}) or die; \
         print $s qq(STATUS=fine\\nREADY=1); $s->flush; sleep 1'; sleep infinity");
    web["volumes"] = json!(["data:/data"]);
    web["resources"] = json!({ "cpus": 8 });
    web["readinessProbe"] = json!({ "notify": true });
    let mut alone = sh("sleep infinity");
    alone["namespaces"] = json!({ "net": "private" });
    alone["dependsOn"] = json!({ "web": "ready" });
    let mut never = sh("true");
    never["dependsOn"] = json!({ "fails": "completed" });
    json!({
        "name": "shop", "labels": { "team": "a" }, "ports": ["8080:80", "127.0.0.1:8443:443"],
        "volumes": { "data": {} }, "resources": { "pids": 5000 },
        "containers": {
            "web": web, "alone": alone, "fails": sh("exit 3"), "never": never, "well": sh("true"), "says": sh("echo said"),
            "image": { "image": image, "command": ["/bin/sleep", "1000"] }
        },
    })
}

/// The file of such a pod that was never up.
fn first_plan(host: &Host, image: &str) -> String {
    let mut first = pod_of_all_kinds(image);
    (first["name"], first["ports"]) = (json!("first"), json!([]));
    host.pod(&first)
}

/// The file of a pod whose image is not here.
fn absent(host: &Host) -> String {
    let container = json!({ "image": "127.0.0.1:1/none" });
    host.pod(&json!({ "name": "absent", "containers": { "c": container } }))
}

fn images(get: &dyn Fn(&[&str]) -> Value, image: &str) -> Vec<String> {
    let both = [get(&["images", "--format", "json"]), get(&["image", "inspect", image])];
    compare("images", &described("images"), &both)
}

/// What goes, and says so in one form.
fn removals(get: &dyn Fn(&[&str]) -> Value, image: &str) -> Vec<String> {
    let volume = get(&["volume", "rm", "--format", "json", "shop/data"]);
    let rest = [get(&["rmi", "--format", "json", image]), get(&["prune", "--format", "json"])];
    compare("prune", &described("prune"), &[&[volume][..], &rest].concat())
}

/// A pod that has lost its infra.
fn up_and_break(host: &Host) {
    host.up(&json!({ "name": "broken", "containers": { "c": sh("sleep infinity") } }));
    host.kill(&host.inspect("broken")["infra"]["pid"], "KILL");
    wait_some("a reason", || host.inspect("broken")["reason"].as_str().map(str::to_owned));
}

fn problems(get: &dyn Fn(&[&str]) -> Value, host: &Host) -> Vec<String> {
    let bad = host.file("bad.yaml", "name: bad\ncontianers: {}\n").display().to_string();
    let problems = get(&["validate", "--format", "json", &bad, "/no/such.yaml"]);
    compare("validate", &described("validate"), &[problems])
}

fn bundle(get: &dyn Fn(&[&str]) -> Value, host: &Host, file: &str) -> Vec<String> {
    let out = host.dir.join("bundles");
    let written = get(&["bundle", "--format", "json", file, out.to_str().unwrap()]);
    compare("bundle", &described("bundle"), &[written])
}

#[test]
fn every_field_that_is_printed_is_described_and_the_reverse() {
    let Some(host) = Host::new() else { return };
    let image = format!("oci:{}:bb", crate::images::layout(&host).display());
    let file = host.pod(&pod_of_all_kinds(&image));
    host.podspec(["up", "-d", &file]);
    up_and_break(&host);
    host.wait_status("shop", "fails", "failed");
    host.wait_log("shop/says", "said");
    let get = |args: &[&str]| -> Value {
        let ended = host.podspec(args);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{args:?}: {ended}"))
    };

    let mut wrong = Vec::new();
    let pod = described("inspect");
    let inspected = ["shop", "broken"].map(|name| get(&["inspect", name]));
    wrong.extend(compare("inspect", &pod, &inspected));
    let container = below(&pod, "containers[].", "");
    let containers = ["web", "alone", "fails", "never", "image"]
        .map(|c| get(&["inspect", &format!("shop/{c}")]));
    wrong.extend(compare("inspect POD/CONTAINER", &container, &containers));
    let listed = in_a_list(&pod);
    wrong.extend(compare("ps", &listed, &[get(&["ps", "--format", "json"])]));
    let ports = below(&pod, "ports[].", "[].");
    wrong.extend(compare("port", &ports, &[get(&["port", "shop", "--format", "json"])]));
    wrong.extend(compare("top", &described("top"), &[get(&["top", "shop", "--format", "json"])]));

    let mut stats = described("stats");
    let of_container = below(&stats, "pods[].", "pods[].containers[].");
    stats.extend(of_container.into_iter().filter(|(path, _)| !path.ends_with(".containers")));
    // Only `alone` has a network of its own, and a mapped pressure is the machine's.
    let sample = get(&["stats", "--no-stream", "--format", "json", "shop"]);
    wrong.extend(compare("stats", &stats, &[sample]));

    let logs = host.podspec(["logs", "--format", "json", "shop/says"]).success();
    let lines: Vec<Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    wrong.extend(compare("logs", &described("logs"), &lines));
    let stop = described("stop");
    let stopped = get(&["stop", "--format", "json", "-t", "0", "shop"]);
    let broken = get(&["kill", "--format", "json", "broken"]);
    let started = get(&["start", "--format", "json", "shop"]);
    wrong.extend(compare("stop", &stop, &[stopped, broken, started]));
    let waited = get(&["wait", "--format", "json", "--for", "running", "shop/alone"]);
    let ended = get(&["wait", "--format", "json", "broken"]);
    wrong.extend(compare("wait", &described("wait"), &[waited, ended]));
    let events = host.podspec(["events", "--format", "json"]).success();
    let lines: Vec<Value> = events.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    wrong.extend(compare("events", &described("events"), &lines));
    let volume = described("volume ls");
    let listed = get(&["volume", "ls", "--format", "json"]);
    wrong.extend(compare("volume", &volume, &[listed, get(&["volume", "inspect", "shop/data"])]));
    wrong.extend(images(&get, &image));
    let plans = [&file, &first_plan(&host, &image), &absent(&host)];
    let plans = plans.map(|file| get(&["plan", "--format", "json", file]));
    wrong.extend(compare("plan", &described("plan"), &plans));
    wrong.extend(bundle(&get, &host, &file));
    wrong.extend(problems(&get, &host));

    let up = fields(&get(&["up", "-d", "--format", "json", &file]), &pod);
    assert_eq!(up, fields(&get(&["inspect", "shop"]), &pod), "`up` is described as `inspect`");
    let down = get(&["down", "--format", "json", "broken", "shop", "absent", "--logs"]);
    wrong.extend(compare("down", &described("down"), &[down]));
    wrong.extend(removals(&get, &image));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    host.assert_clean();
}

#[test]
fn pages_are_described_as_they_are_printed() {
    let get = |args: &[&str]| -> Value {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podspec"));
        let ended = command.args(["explain", "--format", "json"]).args(args).output().unwrap();
        serde_json::from_slice(&ended.stdout).unwrap()
    };
    let pages = [get(&[]), get(&["207"])];
    assert!(pages[0].as_array().unwrap().len() > 100);
    assert_eq!(pages[1][0]["code"], "P0207");
    assert_eq!(compare("explain", &described("explain"), &pages), Vec::<String>::new());
}

#[test]
fn a_difference_is_found() {
    let known = Fields::from([
        ("a".to_owned(), BTreeSet::from(["integer".to_owned()])),
        ("b".to_owned(), BTreeSet::from(["string".to_owned(), "null".to_owned()])),
    ]);
    assert_eq!(compare("x", &known, &[json!({ "a": 1, "b": null })]), Vec::<String>::new());
    let wrong = |sample: Value| compare("x", &known, &[sample]).join("\n");
    assert!(wrong(json!({ "a": 1, "b": "", "c": 2 })).contains("`c`"));
    assert!(wrong(json!({ "a": "1", "b": "" })).contains("`a` is {\"string\"}"));
    assert!(wrong(json!({ "a": 1 })).contains("`b` is described and never printed"));
}

#[test]
fn every_command_with_a_json_format_has_its_section() {
    let podspec = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_podspec");
        let output = std::process::Command::new(program).args(args).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let document = include_str!("../../docs/json.md");
    let help = podspec(&[]);
    let commands = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<&str> =
        commands.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    assert!(commands.contains(&"ps") && commands.contains(&"volume"), "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "podspec") {
        let help = podspec(&[command]);
        if help.contains("--format") && help.contains("json") {
            assert!(
                document.contains(&format!("\n## {command}\n")),
                "docs/json.md: no `{command}`"
            );
        }
    }
}
