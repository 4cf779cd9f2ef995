//! YAML that podspec writes. Every writing of YAML goes through here.

use serde_json::Value;

/// A value in block style, ended by a line feed; what another reader could take for a number or a
/// boolean is in quotes.
pub fn text(value: &Value) -> String {
    let mut options = serde_yaml::SerializerOptions::default();
    options.compact_list_indent = false;
    serde_yaml::to_string_with_options(value, options).unwrap_or_default()
}

/// As it stands in a pod file, in one line.
pub fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        inside => flow(inside),
    }
}

/// As it stands between brackets or braces.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{}: {}", word(key), flow(value));
            format!("{{ {} }}", map.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Texts as a list in brackets.
pub fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<String> = items.iter().map(|item| word(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text as an item of a list in brackets, in quotes where it would be something else without.
pub fn word(text: &str) -> String {
    let begins = text.trim_start_matches('-');
    let plain = text.parse::<f64>().is_err()
        && begins.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_'))
        && !text.contains(['#', ',', '[', ']', '{', '}', '"', '\'', '\\', '\n'])
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !matches!(text, "true" | "false" | "null");
    if plain { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tree::{self, Kind};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_comes_back_as_it_was(key in "[ -~é\u{4e2d}]{1,12}", word in "[ -~\n\té\u{1f600}]{0,40}") {
            let document = Value::Object([(key.clone(), Value::from(word.clone()))].into_iter().collect());
            let (documents, problems) = tree::parse(&text(&document));
            prop_assert!(problems.is_empty(), "{problems:?}");
            let Kind::Map(map) = &documents[0].root.kind else { panic!("no map") };
            let value = &map[&key].value;
            prop_assert_eq!(value.text(), Some(word.as_str()));
            let is_quoted = value.boolean().is_none() && value.number().is_none() && !value.is_null();
            prop_assert!(is_quoted, "{}", text(&document));
        }
    }
}
