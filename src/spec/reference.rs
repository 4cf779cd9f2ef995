//! The reference of the pod file as Markdown, made from the types as the schema is: a field without its
//! text cannot be.

use super::{schema, yaml};
use serde_json::{Map, Value};
use std::fmt::Write;

const HEAD: &str = "\
# The pod file

Every key, made from podspec's own types by `podspec docs`; do not edit it here. An unknown key is an
error. `${VAR}`, `${VAR:-default}` and `${VAR:?message}` in a value are replaced from the environment, and
from an `.env` beside the file; `$$` is a dollar. Top-level keys that begin with `x-` are ignored, and can
hold anchors. Several documents (`---`) are several pods. A relative path begins at the file.

Sizes are numbers with `k M G` (1000) or `Ki Mi Gi` (1024), durations numbers with `ms s m h`: `1m30s`.
Where a key takes *text*, numbers and booleans are taken as they are written. What this version of podspec
does not do yet is refused at its place (P0900), never ignored.
";

/// The whole reference.
pub fn reference() -> String {
    let rules = schema::rules();
    let mut out = HEAD.to_owned();
    section(&mut out, "Pod", &rules);
    for (name, of) in rules["definitions"].as_object().into_iter().flatten() {
        section(&mut out, name, of);
    }
    out
}

fn section(out: &mut String, name: &str, of: &Value) {
    let Some(fields) = of["properties"].as_object().filter(|fields| !fields.is_empty()) else {
        return;
    };
    let _ = writeln!(out, "\n## {name}\n\n{}\n", of["description"].as_str().unwrap_or_default());
    out.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> =
        of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, field) in fields {
        let default = match field.get("default") {
            Some(default) => format!("`{}`", yaml::inline(default)),
            None if required.contains(&key.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let text = field["description"].as_str().unwrap_or_default();
        let _ = writeln!(out, "| `{key}` | {} | {default} | {} |", takes(field), cell(text));
    }
    values(out, fields);
    out.push_str("\nFor example, each key on its own:\n\n```yaml\n");
    for (key, field) in fields {
        examples(out, key, field);
    }
    out.push_str("```\n");
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Words and what each means.
type Values = Vec<(String, String)>;

/// Words with their meanings, once for all keys that take the same.
fn values(out: &mut String, fields: &Map<String, Value>) {
    let mut lists: Vec<(Vec<String>, Values)> = Vec::new();
    for (key, field) in fields {
        let (key, mut values) = (format!("`{key}`"), Vec::new());
        each_value(field, &mut values);
        match lists.iter_mut().find(|(_, known)| *known == values) {
            Some((keys, _)) => keys.push(key),
            None => lists.push((vec![key], values)),
        }
    }
    for (keys, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
        let _ = writeln!(out, "\nValues of {}:\n", keys.join(", "));
        for (value, meaning) in values {
            let _ = writeln!(out, "- `{value}`: {meaning}");
        }
    }
}

/// The first as it is, others as comments: a key may stand in a map once.
fn examples(out: &mut String, key: &str, field: &Value) {
    for (n, example) in field["examples"].as_array().into_iter().flatten().enumerate() {
        let pair = Value::Object(Map::from_iter([(key.to_owned(), example.clone())]));
        for line in yaml::text(&pair).lines() {
            let mark = if n == 0 { "" } else { "# " };
            let _ = writeln!(out, "{mark}{line}");
        }
    }
}

fn each_value(schema: &Value, found: &mut Values) {
    let texts = schema["markdownEnumDescriptions"].as_array().into_iter().flatten();
    let values = schema["enum"].as_array().into_iter().flatten();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found.extend(values.zip(texts).map(|(value, text)| (word(value), word(text))));
    for inner in schema["anyOf"].as_array().into_iter().flatten().chain(schema.get("items")) {
        each_value(inner, found);
    }
}

/// What a value may be, in words.
fn takes(schema: &Value) -> String {
    if let Some(reference) = reference_of(schema) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return match name {
            "EmptyDir" => "`{}`".to_owned(),
            _ => format!("[{name}](#{})", name.to_lowercase()),
        };
    }
    let form = schema["x-form"].as_str().unwrap_or_default();
    match form {
        "text" => return "text".to_owned(),
        "size" => return "size".to_owned(),
        "duration" => return "duration".to_owned(),
        "port" => return "`HOST:CONTAINER`".to_owned(),
        "open" => return "word".to_owned(),
        "nullable" | "" | "word" | "command" => {}
        other => return other.to_owned(),
    }
    if let Some(forms) = schema["anyOf"].as_array() {
        let mut words: Vec<String> = forms.iter().map(takes).collect();
        words.dedup();
        return words.join(" or ");
    }
    let has = |kind: &str| match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        _ => false,
    };
    match () {
        () if schema.get("enum").is_some() => "word".to_owned(),
        () if has("array") => format!("list of {}", takes(&schema["items"])),
        () if has("object") => format!("map of name to {}", takes(&schema["additionalProperties"])),
        () if has("string") && has("integer") => "number or string".to_owned(),
        () if has("string") => "string".to_owned(),
        () if has("boolean") => "boolean".to_owned(),
        () if has("null") => "nothing".to_owned(),
        () => "number".to_owned(),
    }
}

fn reference_of(schema: &Value) -> Option<&str> {
    let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
    reference.and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_reference() {
        schema::tests::is_in_file(
            concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md"),
            &reference(),
        );
    }

    #[test]
    fn links_lead_somewhere() {
        let page = reference();
        let links = page.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
        let mut count = 0;
        for link in links {
            count += 1;
            let heading =
                |line: &&str| line.strip_prefix("## ").is_some_and(|h| h.to_lowercase() == link);
            assert!(page.lines().any(|line| heading(&line)), "no section for {link}");
        }
        assert!(count > 20, "{count}");
    }
}
