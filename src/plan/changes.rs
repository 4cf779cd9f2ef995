//! What differs between the pod that runs and the pod of the file, in the words of the file: dotted paths
//! and both values.

use crate::spec::model::PodSpec;
use serde_json::Value;
use std::time::Duration;

/// Words of the model that are other words in the file.
const WORDS: [(&str, &str); 15] = [
    ("exit_policy", "exitPolicy"),
    ("argv", "command"),
    ("backoff", "restart.backoff"),
    ("root", "rootfs"),
    ("mounts", "volumes"),
    ("working_dir", "workingDir"),
    ("depends_on", "dependsOn"),
    ("stop_signal", "stopSignal"),
    ("stop_timeout", "stopTimeout"),
    ("read_only", "readOnly"),
    ("sub_path", "subPath"),
    ("max_size", "maxSize"),
    ("max_files", "maxFiles"),
    ("shm_size", "shmSize"),
    ("oom_score_adj", "oomScoreAdj"),
];

/// One line a difference; empty: the same pod.
pub(super) fn differences(runs: &Value, wanted: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    match serde_json::to_value(wanted) {
        Ok(wanted) => {
            compare("", runs, &wanted, &mut found);
            let lists = found.iter().filter_map(|line| in_its_list(line, runs, &wanted));
            found = lists.collect();
        }
        // Only a map whose keys are no strings cannot be written, and the model has none.
        Err(error) => found.push(error.to_string()),
    }
    found
}

/// The model has one list of containers, the file has two.
fn in_its_list(line: &str, runs: &Value, wanted: &Value) -> Option<String> {
    let Some(rest) = line.strip_prefix("containers.") else { return Some(line.to_owned()) };
    let name = rest.split(['.', ':']).next().unwrap_or(rest);
    let role = |pod: &Value| pod["containers"].get(name).map(|one| one["role"].clone());
    let list = |role: &Value| if *role == "main" { "containers" } else { "initContainers" };
    let (old, new) = (role(runs), role(wanted));
    let (old, new) = (old.as_ref().map(list), new.as_ref().map(list));
    if rest.strip_prefix(name).is_some_and(|field| field.starts_with(".role:")) {
        // A sidecar is one by its `restart`, which is another line.
        let moved = old != new;
        return moved
            .then(|| format!("{}.{name}: now in {}", old.unwrap_or(""), new.unwrap_or("")));
    }
    Some(format!("{}.{rest}", new.or(old).unwrap_or("containers")))
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        _ if duration(old).is_some() && duration(new).is_some() => changed(path, old, new, found),
        (Value::Object(olds), Value::Object(news)) => {
            for (key, old) in olds {
                let path = below(path, key);
                match news.get(key) {
                    Some(new) => compare(&path, old, new, found),
                    None => found.push(format!("{path}: removed")),
                }
            }
            let added = news.iter().filter(|(key, _)| !olds.contains_key(*key));
            found.extend(added.map(|(key, new)| added_line(&below(path, key), new)));
        }
        (Value::Array(olds), Value::Array(news)) if olds.len() == news.len() => {
            for (n, (old, new)) in olds.iter().zip(news).enumerate() {
                compare(&below(path, &n.to_string()), old, new, found);
            }
        }
        _ => changed(path, old, new, found),
    }
}

fn changed(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    found.push(format!("{path}: {} -> {}", shown(old), shown(new)));
}

/// A whole container is named, not written out.
fn added_line(path: &str, new: &Value) -> String {
    match new {
        Value::Object(_) => format!("{path}: added"),
        new => format!("{path}: added, {}", shown(new)),
    }
}

fn below(path: &str, key: &str) -> String {
    // A variable or a label may be called like a word of ours.
    let free = path.ends_with(".env") || ["labels", "hosts", "sysctls"].contains(&path);
    let word = WORDS.iter().find(|(model, _)| !free && *model == key).map_or(key, |(_, file)| file);
    if path.is_empty() { word.to_owned() } else { format!("{path}.{word}") }
}

fn shown(value: &Value) -> String {
    match duration(value) {
        Some(duration) => format!("{duration:?}"),
        None => value.to_string(),
    }
}

/// serde writes a duration as `{ secs, nanos }`.
fn duration(value: &Value) -> Option<Duration> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    let secs = fields.get("secs")?.as_u64()?;
    let nanos = u32::try_from(fields.get("nanos")?.as_u64()?).ok()?;
    Some(Duration::new(secs, nanos.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn lines(change: impl FnOnce(&mut PodSpec)) -> Vec<String> {
        let mut spec = sample::pod("shop", &["web", "db"]);
        spec.containers[0].env.insert("A".into(), "1".into());
        let text = serde_json::to_string(&spec).unwrap();
        change(&mut spec);
        differences(&serde_json::from_str(&text).unwrap(), &spec)
    }

    #[test]
    fn the_same_pod_has_no_differences() {
        assert_eq!(lines(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_a_line_in_the_words_of_the_file() {
        let found = lines(|spec| {
            let web = &mut spec.containers[0];
            web.env.insert("A".into(), "2".into());
            web.env.insert("argv".into(), "x".into());
            web.stop_timeout = Duration::from_millis(1500);
            web.argv = vec!["/bin/sh".into()];
            spec.ports = vec![sample::port("8080:80")];
            spec.containers.shift_remove(&"db".parse::<crate::names::ContainerName>().unwrap());
            spec.containers.insert("cache".parse().unwrap(), sample::container());
        });
        for expected in [
            r#"containers.web.env.A: "1" -> "2""#,
            r#"containers.web.env.argv: added, "x""#,
            "containers.web.stopTimeout: 10s -> 1.5s",
            r#"containers.web.command.0: "/bin/true" -> "/bin/sh""#,
            "containers.db: removed",
            "containers.cache: added",
        ] {
            assert!(found.iter().any(|line| line == expected), "{expected} not in {found:#?}");
        }
        assert!(found.iter().any(|line| line.starts_with("ports: [] -> ")), "{found:#?}");
        assert_eq!(found.len(), 7);
    }
}
