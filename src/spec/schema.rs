//! The JSON schema of the pod file, made from the types of `raw.rs`: no `null` beside what may be left
//! out, and enums that keep a description for each value. `editor.rs` adds what only an editor needs.

use super::editor;
use super::raw::RawPod;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// What is published, draft-07: the draft that editors complete best.
pub fn schema() -> Value {
    let mut schema = rules();
    editor::dress(&mut schema);
    schema
}

/// The language: every key, form, value, default, example and text, once.
pub(super) fn rules() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<RawPod>().to_value();
    tidy(&mut schema);
    if let Some(pod) = schema.as_object_mut() {
        // An editor would write it above the text of every field.
        pod.shift_remove("title");
        pod.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    }
    schema
}
/// The schema without its words for people, which is all that the loader asks. Making the whole one takes
/// 1 ms, reading this text a tenth of it; a test keeps the two alike.
pub(super) fn shape() -> &'static Value {
    static SHAPE: OnceLock<Value> = OnceLock::new();
    SHAPE.get_or_init(|| match serde_json::from_str(include_str!("shape.json")) {
        Ok(shape) => shape,
        Err(_) => rules(),
    })
}

/// The first example of what stands at these steps from the root; None: an item of a list.
pub(super) fn example(steps: &[Option<&str>]) -> Option<Value> {
    let of = |schema: &&'static Value| schema.pointer("/examples/0").cloned();
    at(steps).iter().find_map(of)
}

/// Whether what stands at these steps may be a map with this key.
pub(super) fn has(steps: &[Option<&str>], key: &str) -> bool {
    !at(&[steps, &[Some(key)]].concat()).is_empty()
}

/// What the schema has at these steps from the root; none where nothing may stand there.
fn at(steps: &[Option<&str>]) -> Vec<&'static Value> {
    static WHOLE: OnceLock<Value> = OnceLock::new();
    let whole = WHOLE.get_or_init(rules);
    let mut at = vec![whole];
    for step in steps {
        let next = |schema: &&'static Value| -> Option<&'static Value> {
            let Some(key) = step else { return schema.get("items") };
            let named = schema.get("properties").and_then(|named| named.get(*key));
            named.or_else(|| schema.get("additionalProperties").filter(|rest| rest.is_object()))
        };
        at = at.iter().flat_map(|schema| forms(whole, schema)).filter_map(|f| next(&f)).collect();
    }
    at
}

/// The schemas that a schema leads to: itself, or what it refers to, or its branches.
fn forms(whole: &'static Value, schema: &'static Value) -> Vec<&'static Value> {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let target = reference.and_then(|path| whole.pointer(path.trim_start_matches('#')));
    if let Some(target) = target {
        return forms(whole, target);
    }
    let branches = schema.get("allOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
    match branches {
        Some(branches) => branches.iter().flat_map(|branch| forms(whole, branch)).collect(),
        None => vec![schema],
    }
}

/// The least value of `containers`.
pub(super) const LEAST: &str = "{ web: { rootfs: host, command: [sleep, \"10\"] } }";

fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            for (key, inner) in object.iter_mut() {
                if !matches!(key.as_str(), "default" | "examples" | "enum" | "const") {
                    tidy(inner);
                }
            }
            tidy_object(object);
        }
        _ => {}
    }
}

fn tidy_object(object: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = object.get_mut("description") {
        // A line of a comment is no line of a text.
        *text = text.replace('\n', " ");
    }
    if object.get("default") == Some(&Value::Null) {
        object.shift_remove("default");
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if object.get("x-form") != Some(&json!("nullable")) {
        drop_null(object);
    }
    describe_values(object);
}

/// `Option<T>` is "may be left out" in a pod file, never "may be null".
fn drop_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type") != Some(&json!("null")));
    if branches.len() != 1 {
        return;
    }
    let only = branches.remove(0);
    object.shift_remove("anyOf");
    match only {
        // Draft-07 ignores what stands beside a `$ref`.
        reference if reference.get("$ref").is_some() && !object.is_empty() => {
            object.insert("type".to_owned(), json!("object"));
            object.insert("allOf".to_owned(), json!([reference]));
        }
        Value::Object(inner) => {
            for (key, value) in inner {
                object.entry(key).or_insert(value);
            }
        }
        _ => {}
    }
}

/// `oneOf` constants to one `enum`, whose values and descriptions editors show together.
fn describe_values(object: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = object.get("oneOf") else { return };
    let part = |key: &str| branches.iter().map(|branch| branch.get(key).cloned()).collect();
    let values: Option<Vec<Value>> = part("const");
    let texts: Option<Vec<Value>> = part("description");
    let Some(values) = values else { return };
    object.shift_remove("oneOf");
    object.insert("type".to_owned(), json!("string"));
    object.insert("enum".to_owned(), Value::Array(values));
    if let Some(texts) = texts {
        object.insert("markdownEnumDescriptions".to_owned(), Value::Array(texts));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const WORDS: &[&str] = &[
        "$schema",
        "title",
        "description",
        "default",
        "examples",
        "markdownEnumDescriptions",
        "format",
        "pattern",
        "patternErrorMessage",
        "propertyNames",
        "minProperties",
    ];

    /// Takes away what the loader does not ask: words for people, and grammars of words, which
    /// `validate.rs` reads. Properties of such names stay.
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(object) => {
                if object.get("x-form") == Some(&json!("open")) {
                    *object = Map::from_iter([("type".to_owned(), json!("string"))]);
                }
                object.retain(|word, _| !WORDS.contains(&word.as_str()));
                for (key, inner) in object.iter_mut() {
                    match inner.as_object_mut() {
                        Some(named) if matches!(key.as_str(), "properties" | "definitions") => {
                            named.values_mut().for_each(strip);
                        }
                        _ => strip(inner),
                    }
                }
            }
            _ => {}
        }
    }

    pub(in crate::spec) fn is_in_file(path: &str, text: &str) {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, text).unwrap();
        }
        let file = std::fs::read_to_string(path).unwrap();
        assert!(file == text, "run `UPDATE=1 cargo test` to write {path} anew, and build again");
    }

    fn each_object(value: &Value, see: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| each_object(item, see)),
            Value::Object(object) => {
                see(object);
                object.values().for_each(|inner| each_object(inner, see));
            }
            _ => {}
        }
    }

    #[test]
    fn the_file_in_schema_is_the_schema_of_the_types() {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
        is_in_file(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/pod.schema.json"), &text);
        let mut shape = rules();
        strip(&mut shape);
        let text = format!("{shape}\n");
        is_in_file(concat!(env!("CARGO_MANIFEST_DIR"), "/src/spec/shape.json"), &text);
    }

    #[test]
    fn nothing_is_null_but_a_volume() {
        let mut nulls = 0;
        each_object(&rules(), &mut |object| {
            nulls += usize::from(object.get("type") == Some(&json!("null")));
            assert!(
                !matches!(object.get("type"), Some(Value::Array(t)) if t.contains(&json!("null")))
            );
            assert_ne!(object.get("default"), Some(&Value::Null));
            assert!(!object.contains_key("oneOf"), "{object:?}");
        });
        assert_eq!(nulls, 1);
    }

    /// Every field: its place, and its schema.
    fn each_field(see: &mut impl FnMut(String, &Value)) {
        let rules = rules();
        let named = rules["definitions"].as_object().unwrap().iter();
        let types = named.map(|(name, of)| (name.as_str(), of)).chain([("Pod", &rules)]);
        for (name, of) in types {
            for (key, field) in of["properties"].as_object().into_iter().flatten() {
                see(format!("{name}.{key}"), field);
            }
        }
    }

    /// One of several, required, or a list or map that may be empty: there is no default to name.
    const NO_DEFAULT: &[&str] = &[
        "Container.image",
        "Container.rootfs",
        "Device.path",
        "HttpProbe.port",
        "Hook.exec",
        "Hook.http",
        "Port.container",
        "Port.host",
        "Probe.exec",
        "Probe.file",
        "Probe.http",
        "Probe.log",
        "Probe.tcp",
        "Secret.env",
        "Secret.file",
        "SecretMount.name",
        "Ulimit.hard",
        "Ulimit.soft",
        "Volume.emptyDir",
        "Volume.host",
        "Volume.tmpfs",
        "VolumeMount.target",
    ];

    #[test]
    fn every_field_has_its_words() {
        let mut fields = 0;
        each_field(&mut |place, field| {
            fields += 1;
            let text = field["description"].as_str().unwrap_or_default();
            assert!(
                text.ends_with('.'),
                "{place} has no description, or half a sentence: {text:?}"
            );
            let examples = field["examples"].as_array().map_or(0, Vec::len);
            assert!(examples > 0, "{place} has no example");
            let has_default = field.get("default").is_some() || text.contains("Default: ");
            let may_be_empty = |kind: &Value| matches!(kind.as_str(), Some("object" | "array"));
            let forms = field["anyOf"].as_array().cloned().unwrap_or_else(|| vec![field.clone()]);
            let empty =
                forms.iter().any(|form| may_be_empty(&form["type"]) || form.get("$ref").is_some());
            let named = NO_DEFAULT.contains(&place.as_str());
            assert!(has_default || empty || named, "{place} has no default");
            assert!(!(has_default && named), "{place} has a default");
        });
        assert!(fields > 100, "{fields}");
    }

    #[test]
    fn every_value_of_an_enum_has_its_meaning() {
        each_object(&rules(), &mut |object| {
            if let Some(values) = object.get("enum").and_then(Value::as_array) {
                let texts = object.get("markdownEnumDescriptions").and_then(Value::as_array);
                let of_limits = object.get("title") == Some(&json!("limit"));
                assert!(of_limits || texts.is_some_and(|t| t.len() == values.len()), "{values:?}");
            }
        });
    }
}
