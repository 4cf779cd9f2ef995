//! What an editor writes for a user who has not yet decided: whole pods, containers, ports, probes.
//! `${1:word}` is where the cursor stops, `${1|a,b|}` a choice.

use serde_json::{Value, json};

/// Where in the schema (a JSON pointer), and what is offered there.
pub(super) fn snippets() -> Vec<(String, Value)> {
    let mut all = pods();
    all.extend(containers());
    all.extend(volumes());
    all.extend(probes());
    all.extend(long_forms());
    let place = |(place, list): (&str, Value)| (place.to_owned(), list);
    all.into_iter().map(place).collect()
}

fn pods() -> Vec<(&'static str, Value)> {
    vec![
        ("", whole_pods()),
        ("/properties/containers", json!([image_container("${1:web}")])),
        ("/properties/initContainers", json!([host_container("${1:migrate}")])),
        (
            "/definitions/Port",
            json!([{
                "label": "long form",
                "description": "A port with an address and a protocol.",
                "body": {
                    "host": "${1:8080}",
                    "container": "${2:80}",
                    "address": "${3:127.0.0.1}",
                    "protocol": "${4|tcp,udp|}",
                },
            }]),
        ),
        (
            "/properties/volumes",
            json!([{ "label": "persistent volume", "body": { "${1:data}": "{}" } }]),
        ),
    ]
}

fn whole_pods() -> Value {
    json!([
                {
                    "label": "pod: one container",
                    "description": "One container from an image, with a port.",
                    "body": {
                        "name": "${1:shop}",
                        "ports": ["${2:8080}:${3:80}"],
                        "containers": { "${4:web}": { "image": "${5:docker.io/library/httpd:2.4}" } },
                    },
                },
                {
                    "label": "pod: web and database",
                    "description": "Two containers: the second starts once the first answers.",
                    "body": {
                        "name": "${1:shop}",
                        "ports": ["${2:8080}:${3:80}"],
                        "containers": {
                            "${4:db}": {
                                "image": "${5:docker.io/library/postgres:16}",
                                "volumes": ["data:${6:/var/lib/postgresql/data}"],
                                "readinessProbe": { "tcp": "${7:5432}" },
                            },
                            "${8:web}": {
                                "image": "${9:docker.io/library/httpd:2.4}",
                                "dependsOn": { "${4:db}": "ready" },
                            },
                        },
                        "volumes": { "data": "{}" },
                    },
                },
                {
                    "label": "pod: this machine's programs",
                    "description": "One container that sees a copy of this machine's root; needs no image.",
                    "body": {
                        "name": "${1:hello}",
                        "containers": {
                            "${2:hello}": { "rootfs": "host", "command": ["${3:hostname}"] },
                        },
                    },
                },
    ])
}

fn image_container(name: &str) -> Value {
    json!({
        "label": "container from an image",
        "body": { name: { "image": "${2:docker.io/library/httpd:2.4}" } },
    })
}

fn host_container(name: &str) -> Value {
    json!({
        "label": "container from this machine's root",
        "body": { name: { "rootfs": "host", "command": ["${2:/bin/true}"] } },
    })
}

fn containers() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/definitions/Container",
            json!([
                {
                    "label": "from an image",
                    "body": { "image": "${1:docker.io/library/httpd:2.4}" },
                },
                {
                    "label": "from this machine's root",
                    "body": { "rootfs": "host", "command": ["${1:sleep}", "${2:1h}"] },
                },
                {
                    "label": "from a directory",
                    "body": { "rootfs": "${1:./root}", "command": ["${2:/bin/sh}"] },
                },
            ]),
        ),
        (
            "/definitions/Container/properties/dependsOn",
            json!([
                {
                    "label": "NAME: condition",
                    "description": "What must have happened to it.",
                    "body": { "${1:db}": "${2|started,ready,completed|}" },
                },
            ]),
        ),
        (
            "/definitions/Container/properties/env",
            json!([{ "label": "KEY: value", "body": { "${1:KEY}": "${2:value}" } }]),
        ),
    ]
}

fn volumes() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/definitions/Volume",
            json!([
                { "label": "in memory", "body": { "tmpfs": "${1:64Mi}" } },
                { "label": "on disk, as long as the pod", "body": { "emptyDir": "{}" } },
                { "label": "files", "body": { "files": { "${1:index.html}": "${2:hello}" } } },
                { "label": "directory of the host", "body": { "host": "${1:./data}" } },
            ]),
        ),
        (
            "/definitions/VolumeMount",
            json!([
                {
                    "label": "volume, long form",
                    "body": { "source": "${1:data}", "target": "${2:/var/lib/data}", "readOnly": "${3|true,false|}" },
                },
                { "label": "tmpfs", "body": { "type": "tmpfs", "target": "${1:/tmp}", "size": "${2:64Mi}" } },
            ]),
        ),
    ]
}

/// The long form of what is mostly one word.
fn long_forms() -> Vec<(&'static str, Value)> {
    let long = |description: &str, body: Value| json!([{ "label": "long form", "description": description, "body": body }]);
    vec![
        (
            "/definitions/Secret",
            json!([
                { "label": "of a file", "body": { "file": "${1:./password.txt}" } },
                { "label": "of a variable", "body": { "env": "${1:DB_PASSWORD}" } },
            ]),
        ),
        (
            "/definitions/SecretMount",
            long(
                "A secret at another place, or with another mode.",
                json!({ "name": "${1:password}", "target": "${2:/etc/db/password}" }),
            ),
        ),
        (
            "/definitions/Device",
            long(
                "A device under another name, or with less access.",
                json!({ "path": "${1:/dev/fuse}", "target": "${2:/dev/fuse}", "access": "${3|rw,r,rwm|}" }),
            ),
        ),
        (
            "/definitions/Ulimit",
            long("A soft and a hard limit.", json!({ "soft": "${1:1024}", "hard": "${2:65536}" })),
        ),
        (
            "/definitions/Dependency",
            long(
                "With a restart when the other restarts.",
                json!({ "condition": "${1|ready,started,completed|}", "restart": "^true" }),
            ),
        ),
        (
            "/definitions/UserNs",
            json!([
                { "label": "so many ids", "body": { "size": "${1:65536}" } },
                {
                    "label": "ids written out",
                    "body": { "uids": ["${1:0:100000:65536}"], "gids": ["${2:0:100000:65536}"] },
                },
            ]),
        ),
    ]
}

fn probes() -> Vec<(&'static str, Value)> {
    let http = json!({ "port": "${1:8080}", "path": "${2:/health}" });
    vec![
        (
            "/definitions/Probe",
            json!([
                { "label": "http: a request is answered", "body": { "http": http } },
                { "label": "tcp: a port accepts", "body": { "tcp": "${1:8080}" } },
                { "label": "exec: a program ends with 0", "body": { "exec": ["${1:/bin/check}"] } },
                { "label": "log: a line matches", "body": { "log": "${1:ready to accept connections}" } },
                { "label": "file: it exists", "body": { "file": "${1:/run/ready}" } },
                { "label": "notify: it says so itself", "body": { "notify": "^true" } },
            ]),
        ),
        (
            "/definitions/Hook",
            json!([
                { "label": "exec: a program", "body": { "exec": ["${1:/bin/drain}"] } },
                { "label": "http: a request", "body": { "http": http } },
            ]),
        ),
    ]
}

/// Examples as snippets: what they hold is written as it is.
pub(super) fn of_examples(examples: &[Value]) -> Value {
    let shown = |example: &Value| json!({ "label": label(example), "body": literal(example) });
    Value::Array(examples.iter().map(shown).collect())
}

/// The first key or item is enough to know it by.
fn label(example: &Value) -> String {
    match example {
        Value::Object(map) => match map.iter().next() {
            Some((key, Value::Object(_) | Value::Array(_))) => format!("{key}: …"),
            Some((key, value)) => format!("{key}: {}", label(value)),
            None => "{}".to_owned(),
        },
        Value::Array(items) => {
            items.first().map_or_else(|| "[]".to_owned(), |item| format!("- {}", label(item)))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A dollar means something in a snippet.
fn literal(example: &Value) -> Value {
    match example {
        Value::String(text) => {
            json!(text.replace('\\', r"\\").replace('$', r"\$").replace('}', r"\}"))
        }
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), literal(value))).collect()
        }
        // An editor would put a boolean's text into quotes.
        Value::Bool(word) => json!(format!("^{word}")),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Context, load, schema, yaml};

    /// The body as an editor writes it when a user presses nothing but Tab.
    fn filled(body: &Value) -> Value {
        match body {
            Value::String(text) => {
                let text = text.trim_start_matches('^');
                let mut out = String::new();
                let mut rest = text;
                while let Some((before, after)) = rest.split_once("${") {
                    let (hole, after) = after.split_once('}').unwrap();
                    let word = hole.trim_start_matches(|c: char| c.is_ascii_digit());
                    let word = word.trim_start_matches([':', '|']).trim_end_matches('|');
                    out = out + before + word.split(',').next().unwrap();
                    rest = after;
                }
                out += rest;
                match out.as_str() {
                    "true" => json!(true),
                    "false" => json!(false),
                    "{}" => json!({}),
                    word => word.parse::<i64>().map_or_else(|_| json!(word), |n| json!(n)),
                }
            }
            Value::Array(items) => items.iter().map(filled).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    (filled(&json!(key)).as_str().unwrap().to_owned(), filled(value))
                })
                .collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn each_has_its_place_and_fits_there() {
        let whole = schema::schema();
        for (place, list) in snippets() {
            let mut there = whole.pointer(&place).unwrap_or_else(|| panic!("no {place}")).clone();
            there["definitions"] = whole["definitions"].clone();
            let judge = jsonschema::draft7::new(&there).unwrap();
            for snippet in list.as_array().unwrap() {
                let body = filled(&snippet["body"]);
                assert!(judge.is_valid(&body), "{place}: {body}");
            }
        }
    }

    #[test]
    fn a_pod_from_a_snippet_is_a_pod() {
        let context = Context {
            base: "/work".into(),
            default_name: None,
            env: &|_| None,
            read: &|_| Err(std::io::ErrorKind::NotFound.into()),
            look: &|_| Some(super::super::Found::Directory),
        };
        let list = whole_pods();
        for snippet in list.as_array().unwrap() {
            let text = yaml::text(&filled(&snippet["body"]));
            let loaded = load(&text, &context);
            assert!(loaded.is_ok_and(|loaded| loaded.warnings.is_empty()), "{text}");
        }
    }
}
