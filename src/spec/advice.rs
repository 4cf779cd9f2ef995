//! What to write where a value is of the wrong kind: what was probably meant, in the form that fits, or an
//! example of the schema.

use super::place::{Place, Thing};
use super::problem::{Edit, Problem};
use super::tree::{Kind, Node, Style};
use super::{quantity, schema, yaml};
use serde_json::Value;

/// Of what form a value of this schema is, beyond its type.
pub(super) fn form(schema: &Value) -> &str {
    schema.get("x-form").and_then(Value::as_str).unwrap_or("")
}

pub(super) fn has_type(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == name,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        _ => false,
    }
}

/// What the forms take, in words: "a string or a list".
pub(super) fn wants(forms: &[&Value]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for schema in forms {
        for (kind, word) in [
            ("string", "a string"),
            ("integer", "a whole number"),
            ("number", "a number"),
            ("boolean", "true or false"),
            ("array", "a list"),
            ("object", "a map"),
        ] {
            let short = matches!(form(schema), "text" | "word" | "size" | "port");
            if has_type(schema, kind) && !words.contains(&word) && !(short && kind != "string") {
                words.push(word);
            }
        }
    }
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "something else".to_owned(),
    }
}

/// What a scalar of the wrong kind probably means, and whether that is sure.
pub(super) fn mended(
    forms: &[&Value],
    node: &Node,
    text: &str,
    path: &Place<'_>,
) -> Option<(String, bool)> {
    let first = forms.first().copied().unwrap_or(&Value::Null);
    if has_type(first, "boolean") {
        return match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "y" | "1" => Some(("true".to_owned(), true)),
            "no" | "off" | "false" | "n" | "0" => Some(("false".to_owned(), true)),
            _ => None,
        };
    }
    // `image:httpd:2.4` where a map belongs.
    if let Some((key, value)) = text.split_once(':')
        && forms.iter().any(|form| form.get("properties").is_some_and(|of| of.get(key).is_some()))
        && !value.is_empty()
    {
        return Some((format!("{key}: {value}"), !value.contains([':', '#', '\n'])));
    }
    if let Some(map) = as_map(text, path).filter(|_| has_type(first, "object")) {
        return Some((map, false));
    }
    if let Some(list) = forms.iter().find(|form| has_type(form, "array")) {
        let item = text.strip_prefix('-').and_then(|rest| rest.split_once(" - "));
        return match item {
            // Without a space behind its first `-` a list is a text of several lines, joined to one.
            Some((item, _)) if node.span.len() > text.len() + 2 => {
                Some((format!("- {item}"), false))
            }
            _ => as_list(list, text, path),
        };
    }
    // As ulimit(1) and systemd call it.
    let in_ulimits = matches!(path, Place::Key(Place::Key(_, "ulimits"), _));
    if in_ulimits && matches!(text, "unlimited" | "infinity") {
        return Some(("-1".to_owned(), true));
    }
    let quoted = matches!(node.kind, Kind::Scalar { style: Style::Quoted, .. });
    let number = has_type(first, "integer") || has_type(first, "number");
    (quoted && number && text.parse::<f64>().is_ok()).then(|| (text.to_owned(), true))
}

/// A text as the map in which it is the only thing that it can be.
fn as_map(text: &str, path: &Place<'_>) -> Option<String> {
    let (word, is_path) = (yaml::word(text), text.starts_with(['.', '/']));
    Some(match (path.thing(), path) {
        (Thing::Container, _) if is_path => format!("{{ rootfs: {word}, command: [PROGRAM] }}"),
        (Thing::Container, _) => format!("{{ image: {word} }}"),
        (Thing::Volume, _) if is_path => format!("{{ host: {word} }}"),
        (Thing::Volume, _) if quantity::size(text).is_ok() => format!("{{ tmpfs: {text} }}"),
        (Thing::Volume, _) if text == "tmpfs" => "{ tmpfs: 64Mi }".to_owned(),
        (Thing::Volume, _) => "{}".to_owned(),
        (Thing::Probe, _) if text.parse::<u16>().is_ok() => format!("{{ tcp: {text} }}"),
        (_, Place::Key(Place::Key(Place::Root, "secrets"), _)) => format!("{{ file: {word} }}"),
        _ => return None,
    })
}

/// A text as the list that it means.
fn as_list(list: &Value, text: &str, path: &Place<'_>) -> Option<(String, bool)> {
    if form(list) == "command" {
        // What begins with `-` is no program.
        return match words(text) {
            Some(all) if text.starts_with('-') && path.key() == "command" => {
                Some((format!("args: {}", yaml::list(&all)), false))
            }
            Some(all) if !all.is_empty() => Some((yaml::list(&all), true)),
            _ => Some((format!("[/bin/sh, -c, {}]", yaml::quoted(text)), false)),
        };
    }
    // The space behind a `-` is missing: YAML joins the lines to one text.
    if let Some(item) = text.split_whitespace().next().and_then(|word| word.strip_prefix('-'))
        && item.starts_with(|c: char| c.is_ascii_alphabetic() || "./".contains(c))
    {
        return Some((format!("- {item}"), false));
    }
    if list.get("items").is_some_and(|item| form(item) == "text") {
        return text.contains('=').then(|| (yaml::list(&[text]), true));
    }
    let items: Vec<&str> =
        text.split([',', ' ', '\n']).map(str::trim).filter(|item| !item.is_empty()).collect();
    Some((yaml::list(&items), items.len() == 1))
}

/// The words of a command line that needs no shell; quotes are taken away.
fn words(text: &str) -> Option<Vec<String>> {
    /// Characters that a shell does something about, outside of single quotes.
    const SHELL: [char; 11] = ['|', '&', ';', '<', '>', '$', '`', '(', '*', '\\', '\n'];
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if open == c => quote = None,
            Some('\'') => word.get_or_insert_default().push(c),
            _ if SHELL.contains(&c) => return None,
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// What to do about a key of a container that stands where its name belongs.
pub(super) fn of_indentation(path: &Place<'_>) -> Option<String> {
    let key = path.key();
    let is_key = path.thing() == Thing::Container && schema::has(&path.steps(), key);
    is_key.then(|| format!("indent `{key}` further, below the name of its container"))
}

/// What to write in the place of a list or a map that cannot stand here.
pub(super) fn of_collection(forms: &[&Value], node: &Node, path: &Place<'_>) -> Option<String> {
    let takes = |kind: &str| forms.iter().any(|form| has_type(form, kind));
    match &node.kind {
        Kind::List(items) if takes("object") => map_of_items(items, path),
        Kind::List(items) => match items.as_slice() {
            [one] => one.text().map(|text| format!("write `{text}`, without brackets or `-`")),
            _ => None,
        },
        // As compose has it: `- db: { condition: ready }`.
        Kind::Map(map) if path.key() == "dependsOn" && matches!(path, Place::Item(..)) => {
            let (name, entry) = map.first()?;
            let condition = entry.value.get("condition").unwrap_or(&entry.value).text();
            let known = condition.filter(|word| matches!(*word, "started" | "completed"));
            let condition = known.unwrap_or("ready");
            Some(format!("write a map, without `-`: `dependsOn: {{ {name}: {condition} }}`"))
        }
        Kind::Map(map) if takes("array") => {
            let (key, entry) = map.first()?;
            if forms.iter().any(|leaf| form(leaf) == "command") && map.len() == 1 {
                let Kind::List(items) = &entry.value.kind else { return None };
                let items: Option<Vec<&str>> = items.iter().map(Node::text).collect();
                return Some(format!("write the list alone: `{}`", yaml::list(&items?)));
            }
            // An item whose dash is missing.
            if schema::has(&[&path.steps()[..], &[None]].concat(), key) {
                let value = entry.value.text().unwrap_or("…");
                return Some(format!(
                    "write `- {key}: {value}`: each item of a list begins with `-`"
                ));
            }
            let value = entry.value.text().filter(|text| !text.is_empty());
            let is_port = key.starts_with(|c: char| c.is_ascii_digit());
            let items = match (path.key(), value) {
                // A name is no part of a port.
                ("ports", Some(_)) if !is_port => map
                    .values()
                    .filter_map(|entry| entry.value.text())
                    .map(with_both_ends)
                    .collect(),
                ("ports" | "volumes" | "devices", Some(value)) => vec![format!("{key}:{value}")],
                _ => vec![key.clone()],
            };
            Some(format!("write a list: `{}`", yaml::list(&items)))
        }
        // `a: b` in a list of texts.
        Kind::Map(map) if map.len() == 1 && takes("string") && !takes("object") => {
            let (key, entry) = map.first()?;
            let value = entry.value.text()?;
            Some(format!("put it in quotes: `{}`", yaml::quoted(&format!("{key}: {value}"))))
        }
        _ => None,
    }
}

/// A list where a map is wanted: the map that its items mean.
fn map_of_items(items: &[Node], path: &Place<'_>) -> Option<String> {
    let key = path.key();
    if let Some(name) = items.first().and_then(|item| item.get("name")).and_then(Node::text) {
        return Some(format!(
            "it is a map: write `{name}:` in the place of `- name: {name}`, and the other keys below it"
        ));
    }
    let texts: Option<Vec<&str>> = items.iter().map(Node::text).collect();
    let texts = texts.filter(|texts| !texts.is_empty())?;
    match key {
        "capabilities" => return Some(format!("write `{{ add: {} }}`", yaml::list(&texts))),
        "dns" => return Some(format!("write `{{ servers: {} }}`", yaml::list(&texts))),
        "postStart" | "preStop" | "startupProbe" | "readinessProbe" | "livenessProbe" => {
            return Some(format!("write `{{ exec: {} }}`", yaml::list(&texts)));
        }
        _ => {}
    }
    let first = *texts.first()?;
    if let Some((name, value)) = first.split_once(['=', ':']) {
        return Some(format!("write a map: `{{ {name}: {} }}`", yaml::word(value.trim())));
    }
    // As the example has it, under the name that is there.
    let example = schema::example(&path.steps())?;
    let (_, value) = example.as_object()?.iter().next()?;
    let value = if key == "volumes" { "{}".to_owned() } else { yaml::inline(value) };
    Some(format!("write a map: `{{ {first}: {value} }}`"))
}

/// What stands here elsewhere, where nothing is known of what was meant.
pub(super) fn shapes(forms: &[&Value], path: &Place<'_>) -> String {
    let takes = |kind: &str| forms.iter().any(|form| has_type(form, kind));
    let texts = forms.iter().filter_map(|form| form.get("items")).any(|item| form(item) == "text");
    if texts && takes("object") {
        return "write a map, `{ NAME: value }`, or a list, `[NAME=value]`".to_owned();
    }
    if takes("boolean") && !takes("string") && forms.len() == 1 {
        return "write `true` or `false`".to_owned();
    }
    if matches!(path, Place::Root) {
        return format!("write the keys of a pod, such as `containers: {}`", schema::LEAST);
    }
    match schema::example(&path.steps()) {
        Some(example) => format!("write {}, such as `{}`", wants(forms), yaml::inline(&example)),
        None => format!("write {}", wants(forms)),
    }
}

/// Items of Kubernetes, `{ name, value }`, where one text each is wanted: the map that they mean.
pub(super) fn named_values(items: &[Node], forms: &[&Value]) -> Option<String> {
    let texts = forms.iter().filter_map(|form| form.get("items")).any(|item| form(item) == "text");
    if !texts || items.is_empty() {
        return None;
    }
    let pair = |item: &Node| {
        let name = item.get("name")?.text()?;
        let value = item.get("value").and_then(Node::text).unwrap_or("…");
        Some(format!("{name}: {}", yaml::word(value)))
    };
    let pairs: Option<Vec<String>> = items.iter().map(pair).collect();
    Some(format!("write a map: `{{ {} }}`", pairs?.join(", ")))
}

/// `80:80` of `80`; what has both ends is as it was.
pub(super) fn with_both_ends(port: &str) -> String {
    if port.contains(':') { port.to_owned() } else { format!("{port}:{port}") }
}

/// Port forms that YAML itself reads as something else.
pub(super) fn port_mistake(node: &Node, path: &Place<'_>, text: &str) -> Option<Problem> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match &node.kind {
        Kind::Map(map) if map.len() == 1 => {
            let (key, entry) = map.first()?;
            let value = entry.value.text().filter(|_| number(key))?;
            let place = entry.key.start..entry.value.span.end;
            let message = format!("`{path}` is a map because of the space after the colon");
            let whole = format!("{key}:{value}");
            let as_it_reads =
                text.get(place.clone()).is_some_and(|source| source.replace(' ', "") == whole);
            let edit = as_it_reads.then(|| Edit { place: place.clone(), text: whole.clone() });
            Some(
                Problem::error("P0420", message, place, "a map")
                    .help(format!("write `{whole}`"))
                    .maybe_fix(edit),
            )
        }
        Kind::List(items) => {
            let label = "YAML reads this as a list";
            let source = text.get(node.span.clone()).unwrap_or_default();
            let (message, help) = match items.first().and_then(Node::text) {
                Some(port) if !source.contains("::") => (
                    format!("`{path}` is a list, and a port is a text"),
                    format!("write `{}`, without brackets", with_both_ends(port)),
                ),
                address => (
                    "an address in brackets must be in quotes".to_owned(),
                    format!("write `\"[{}]:HOST:CONTAINER\"`", address.unwrap_or("::1")),
                ),
            };
            Some(Problem::error("P0421", message, node.span.clone(), label).help(help))
        }
        Kind::Scalar { text, .. } if number(text) => {
            let message = format!("`{path}` names one port; a published port is HOST:CONTAINER");
            Some(
                Problem::error("P0422", message, node.span.clone(), "which of the two is it?")
                    .help(format!("write `{text}:{text}` for the same port on both sides")),
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_words_where_no_shell_is_needed() {
        let all = |text: &str| words(text).map(|all| all.join("|"));
        assert_eq!(all("sleep  10").as_deref(), Some("sleep|10"));
        assert_eq!(all("-c \"echo hi\" '' a'b c'd").as_deref(), Some("-c|echo hi||ab cd"));
        assert_eq!(all("echo '$HOME'").as_deref(), Some("echo|$HOME"));
        for shell in ["echo $HOME", "a | b", "a \"$b\"", "a 'b", "a\\ b"] {
            assert_eq!(all(shell), None, "{shell}");
        }
    }
}
