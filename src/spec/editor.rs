//! The schema made fit for editors (yaml-language-server and its like): Markdown to hover, snippets to
//! complete, and room for `${VAR}`, which an editor sees where the loader sees a value.

use super::{snippets, yaml};
use serde_json::{Map, Value, json};

/// An editor judges a file as it is written, with the variables still in it.
const VARIABLE: &str = r"\$\{";

pub(super) fn dress(schema: &mut Value) {
    flatten(schema);
    if let Some(pod) = schema.as_object_mut() {
        // A `---` at the end of a file begins a document of nothing.
        pod.insert("type".to_owned(), json!(["object", "null"]));
    }
    hide_what_has_a_text_of_its_own(schema);
    for (place, list) in snippets::snippets() {
        if let Some(Value::Object(object)) = schema.pointer_mut(&place) {
            object.insert("defaultSnippets".to_owned(), list);
        }
    }
    let types = schema.get("definitions").and_then(Value::as_object).into_iter().flatten();
    let types = types.filter(|(_, of)| of.get("defaultSnippets").is_some());
    let types: Vec<String> = types.map(|(name, _)| format!("#/definitions/{name}")).collect();
    each_field(schema, &mut |field| describe(field, &types));
    let_variables_in(schema);
    flatten(schema);
}

/// A choice between choices is one choice.
fn flatten(value: &mut Value) {
    each_inner(value, &mut flatten);
    let Some(Value::Array(branches)) = value.get_mut("anyOf") else { return };
    let nested = |branch: &Value| {
        let inner = branch.get("anyOf").and_then(Value::as_array).cloned();
        inner.unwrap_or_else(|| vec![branch.clone()])
    };
    *branches = branches.iter().flat_map(nested).collect();
}

/// Calls `see` on every schema right inside of this one.
fn each_inner(value: &mut Value, see: &mut impl FnMut(&mut Value)) {
    let Some(object) = value.as_object_mut() else { return };
    for (key, inner) in object.iter_mut() {
        match (key.as_str(), inner) {
            ("properties" | "definitions" | "patternProperties", Value::Object(named)) => {
                named.values_mut().for_each(&mut *see);
            }
            ("anyOf" | "allOf", Value::Array(branches)) => branches.iter_mut().for_each(&mut *see),
            ("items" | "additionalProperties", inner) => see(inner),
            _ => {}
        }
    }
}

fn each_field(value: &mut Value, see: &mut impl FnMut(&mut Map<String, Value>)) {
    if let Some(Value::Object(fields)) = value.get_mut("properties") {
        fields.values_mut().filter_map(Value::as_object_mut).for_each(&mut *see);
    }
    if let Some(Value::Object(types)) = value.get_mut("definitions") {
        types.values_mut().for_each(|of| each_field(of, see));
    }
}

/// A hover prefers the text of a type to that of the field which has it.
fn hide_what_has_a_text_of_its_own(schema: &mut Value) {
    let mut types = Vec::new();
    each_field(schema, &mut |field| {
        types.extend(reference(field).map(str::to_owned));
    });
    for reference in types {
        let place = reference.trim_start_matches('#');
        if let Some(Value::Object(of)) = schema.pointer_mut(place) {
            of.shift_remove("description");
        }
    }
}

/// Description, default and examples as Markdown. Examples that are no scalars, or lists of them, cannot
/// stay: an editor would offer `[object Object]`. They become snippets, but where the type has some.
fn describe(field: &mut Map<String, Value>, types_with_snippets: &[String]) {
    let Some(text) = field.get("description").and_then(Value::as_str) else { return };
    let mut markdown = text.to_owned();
    if let Some(default) = field.get("default") {
        markdown.push_str(&format!("\n\nDefault: `{}`", yaml::inline(default)));
    }
    let examples = field.get("examples").and_then(Value::as_array).cloned().unwrap_or_default();
    let (deep, plain): (Vec<Value>, Vec<Value>) = examples.into_iter().partition(is_deep);
    for example in &deep {
        markdown.push_str(&format!("\n\nExample:\n\n```yaml\n{}```", yaml::text(example)));
    }
    if plain.is_empty() {
        field.shift_remove("examples");
    } else {
        field.insert("examples".to_owned(), Value::Array(plain));
    }
    if !deep.is_empty() {
        let has_snippets = field.contains_key("defaultSnippets")
            || reference(field).is_some_and(|of| types_with_snippets.iter().any(|name| name == of));
        if !has_snippets {
            field.insert("defaultSnippets".to_owned(), snippets::of_examples(&deep));
        }
        field.insert("x-examples".to_owned(), Value::Array(deep));
    }
    if field.contains_key("anyOf") {
        // Where no form has a text, a hover shows this one, and takes it for Markdown.
        field.insert("description".to_owned(), json!(markdown));
    }
    field.insert("markdownDescription".to_owned(), json!(markdown));
}

/// The type of a field that has a text of its own.
fn reference(field: &Map<String, Value>) -> Option<&str> {
    field.get("allOf")?.pointer("/0/$ref")?.as_str()
}

fn is_deep(example: &Value) -> bool {
    match example {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    }
}

/// Whatever is no free text may be a variable.
fn let_variables_in(value: &mut Value) {
    each_inner(value, &mut let_variables_in);
    let Some(object) = value.as_object_mut() else { return };
    if object.contains_key("enum") {
        variable_or_enum(object);
    } else if let Some(pattern) = object.get("pattern").and_then(Value::as_str) {
        let either = format!("{pattern}|{VARIABLE}");
        object.insert("pattern".to_owned(), json!(either));
    } else if let Some(kind) = object.get("type").and_then(Value::as_str)
        && let Some(rule) = scalar(kind)
    {
        let kind = kind.to_owned();
        object.insert("type".to_owned(), json!([kind, "string"]));
        object.insert("pattern".to_owned(), json!(VARIABLE));
        object.insert("patternErrorMessage".to_owned(), json!(rule));
    }
}

fn scalar(kind: &str) -> Option<&'static str> {
    match kind {
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("true or false"),
        _ => None,
    }
}

fn variable_or_enum(object: &mut Map<String, Value>) {
    let mut listed = Map::from_iter([("type".to_owned(), json!("string"))]);
    for key in ["enum", "markdownEnumDescriptions"] {
        listed.extend(object.shift_remove(key).map(|value| (key.to_owned(), value)));
    }
    // Its text keeps an editor from taking the two for the same.
    let variable = json!({ "type": "string", "pattern": VARIABLE, "description": "a variable" });
    object.insert("anyOf".to_owned(), json!([listed, variable]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::schema;

    fn judge(text: &str) -> bool {
        let value = serde_json::from_str(text).unwrap();
        jsonschema::draft7::new(&schema::schema()).unwrap().is_valid(&value)
    }

    #[test]
    fn a_variable_is_let_in_wherever_a_value_stands() {
        let pod = |field: &str| format!(r#"{{"containers": {{"a": {{{field}}}}}}}"#);
        for (good, bad) in [
            (r#""tty": "${TTY}""#, r#""tty": "yes""#),
            (r#""readinessProbe": {"tcp": "${PORT}"}"#, r#""readinessProbe": {"tcp": "x"}"#),
            (r#""pullPolicy": "${PULL:-missing}""#, r#""pullPolicy": "often""#),
            (r#""stopTimeout": "${WAIT}s""#, r#""stopTimeout": "10""#),
            (r#""ports": ["${PORT}:80"]"#, r#""ports": ["80"]"#),
            (r#""restart": "on-failure:${N}""#, r#""restart": "onfailure""#),
        ] {
            assert!(judge(&pod(good)), "{good}");
            assert!(!judge(&pod(bad)), "{bad}");
        }
    }

    /// An editor underlines what the loader refuses with P0900, and offers none of it.
    #[test]
    fn what_podspec_does_not_do_yet_is_not_in_the_schema() {
        let pod = |field: &str| {
            let web = r#""containers": {"web": {"rootfs": "host", "command": ["a"]}}"#;
            format!("{{{field}, {web}}}")
        };
        for (good, bad) in [
            (r#""ports": ["80:80/udp"]"#, r#""ports": ["80:80/sctp"]"#),
            (r#""ports": ["127.0.0.1:80:80"]"#, r#""ports": ["[::1]:80:80"]"#),
            (
                r#""ports": [{"host": 1, "container": 1, "protocol": "udp"}]"#,
                r#""ports": [{"host": 1, "container": 1, "protocol": "sctp"}]"#,
            ),
            (
                r#""ports": [{"host": 1, "container": 1, "address": "127.0.0.1"}]"#,
                r#""ports": [{"host": 1, "container": 1, "address": "::1"}]"#,
            ),
            (r#""network": {"mode": "bridge", "mtu": 1400}"#, r#""network": {"ipv4": "10.0.0.1"}"#),
        ] {
            assert!(judge(&pod(good)), "{good}");
            assert!(!judge(&pod(bad)), "{bad}");
        }
        let web = |runtime: &str| {
            format!(r#"{{"containers": {{"a": {{"image": "a", "runtime": "{runtime}"}}}}}}"#)
        };
        for (good, bad) in [("embedded", ""), ("crun", "crun --debug"), ("/opt/bin/youki", "/")] {
            assert!(judge(&web(good)), "{good}");
            assert!(!judge(&web(bad)), "{bad}");
        }
    }

    #[test]
    fn no_example_is_offered_as_an_object() {
        each_field(&mut schema::schema(), &mut |field| {
            let examples = field.get("examples").and_then(Value::as_array);
            assert!(!examples.into_iter().flatten().any(is_deep), "{field:?}");
            assert!(field.contains_key("markdownDescription"), "{field:?}");
        });
    }
}
