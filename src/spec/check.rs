//! The tree judged by the schema. Every mistake of form is found here, all of them in one walk, and the
//! good part comes out as typed JSON. What is wrong is cut from the tree (its key noted in `lost`), so
//! that the checks of meaning go on with the rest and never complain of what is already reported.

use super::problem::{Problem, did_you_mean, nearest};
use super::tree::{Kind, Node, Style};
use serde_json::{Map, Value};

/// Typed JSON of a document that fits the schema where it is not cut.
pub fn check(schema: &Value, root: &mut Node, problems: &mut Vec<Problem>) -> Option<Value> {
    Judge { root: schema, problems }.judge(schema, root, "")
}

struct Judge<'a> {
    root: &'a Value,
    problems: &'a mut Vec<Problem>,
}

fn form(schema: &Value) -> &str {
    schema.get("x-form").and_then(Value::as_str).unwrap_or("")
}

fn has_type(schema: &Value, name: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == name,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        _ => false,
    }
}

/// A place in the words of the file: `containers.web.ports[0]`.
fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn subject(path: &str) -> String {
    if path.is_empty() { "a pod".to_owned() } else { format!("`{path}`") }
}

impl<'a> Judge<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let reference = schema.get("$ref").and_then(Value::as_str);
        if let Some(reference) = reference {
            let target = reference.strip_prefix('#').and_then(|path| self.root.pointer(path));
            return target.map_or(schema, |target| self.resolve(target));
        }
        match schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) => self.resolve(only),
            _ => schema,
        }
    }

    /// The forms that a value may have; a union's are never unions themselves.
    fn forms(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        match schema.get("anyOf").and_then(Value::as_array) {
            Some(branches) => branches.iter().flat_map(|branch| self.forms(branch)).collect(),
            None => vec![schema],
        }
    }

    fn judge(&mut self, schema: &'a Value, node: &mut Node, path: &str) -> Option<Value> {
        let forms = self.forms(schema);
        if node.is_null() {
            if forms.iter().any(|form| has_type(form, "null")) {
                return Some(Value::Null);
            }
            return self.null(&forms, node, path);
        }
        if forms.iter().any(|leaf| form(leaf) == "port")
            && let Some(problem) = port_mistake(node, path)
        {
            return self.report(problem);
        }
        let wanted = match &node.kind {
            Kind::Map(_) => forms.iter().find(|form| has_type(form, "object")),
            Kind::List(_) => forms.iter().find(|form| has_type(form, "array")),
            Kind::Scalar { .. } => forms
                .iter()
                .find(|form| !["object", "array", "null"].iter().any(|kind| has_type(form, kind))),
        };
        let Some(wanted) = wanted.copied() else {
            return self.wrong_kind(&forms, node, path);
        };
        match &node.kind {
            Kind::Map(_) => Some(self.map(wanted, node, path)),
            Kind::List(_) => Some(self.list(wanted, node, path)),
            Kind::Scalar { .. } => self.scalar(wanted, &forms, node, path),
        }
    }

    fn report(&mut self, problem: Problem) -> Option<Value> {
        self.problems.push(problem);
        None
    }

    fn map(&mut self, schema: &'a Value, node: &mut Node, path: &str) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let head = node.head();
        let Kind::Map(map) = &mut node.kind else { return Value::Null };
        let mut typed = Map::with_capacity(map.len());
        let present: Vec<String> = map.keys().cloned().collect();
        let mut lost = Vec::new();
        map.retain(|key, entry| {
            let known = properties.and_then(|properties| properties.get(key)).or(others);
            let value = match known {
                Some(known) => self.judge(known, &mut entry.value, &below(path, key)),
                None => self.unknown_key((key, entry.key.clone()), path, properties, &present),
            };
            match value {
                Some(value) => typed.insert(key.clone(), value),
                None => {
                    lost.push(key.clone());
                    return false;
                }
            };
            true
        });
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let Some(key) = required.as_str().filter(|key| !present.iter().any(|p| p == key))
            else {
                continue;
            };
            let message = format!("{} has no `{key}`", subject(path));
            let label = format!("`{key}` is missing here");
            self.problems.push(Problem::error("P0204", message, head.clone(), label));
            lost.push(key.to_owned());
        }
        node.lost = lost;
        Value::Object(typed)
    }

    fn unknown_key(
        &mut self,
        (key, place): (&str, std::ops::Range<usize>),
        path: &str,
        known: Option<&Map<String, Value>>,
        present: &[String],
    ) -> Option<Value> {
        let all: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let here = |word: &str| present.iter().any(|key| key == word);
        let free: Vec<&str> = all.iter().copied().filter(|word| !here(word)).collect();
        let message = format!("unknown key `{key}`");
        let label = format!("not a key of {}", subject(path));
        let help = did_you_mean(key, free.iter().copied()).or_else(|| {
            let twice = nearest(key, all.iter().copied())
                .map(|word| format!("did you mean `{word}`, which is here already?"));
            let elsewhere = (path.is_empty()
                && ["image", "rootfs", "command", "env"].contains(&key))
            .then(|| {
                format!("`{key}` belongs to a container: `containers: {{ NAME: {{ {key}: … }} }}`")
            });
            let list = || {
                (free.len() <= 12 && !free.is_empty())
                    .then(|| format!("what there is: {}", free.join(", ")))
            };
            twice.or(elsewhere).or_else(list)
        });
        self.report(Problem::error("P0200", message, place, label).maybe_help(help))
    }

    fn list(&mut self, schema: &'a Value, node: &mut Node, path: &str) -> Value {
        let Kind::List(items) = &mut node.kind else { return Value::Null };
        let Some(item) = schema.get("items") else { return Value::Array(Vec::new()) };
        let mut typed = Vec::with_capacity(items.len());
        let mut index = 0;
        let before = items.len();
        items.retain_mut(|node| {
            let value = self.judge(item, node, &format!("{path}[{index}]"));
            index += 1;
            let good = value.is_some();
            typed.extend(value);
            good
        });
        if items.len() < before {
            node.lost.push("item".to_owned());
        }
        Value::Array(typed)
    }

    fn scalar(
        &mut self,
        schema: &'a Value,
        forms: &[&'a Value],
        node: &Node,
        path: &str,
    ) -> Option<Value> {
        let text = node.text()?;
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return self.choice(values, node, text, path);
        }
        let string = || Some(Value::String(text.to_owned()));
        if has_type(schema, "string") {
            let plain = matches!(node.kind, Kind::Scalar { style: Style::Plain, .. });
            let fits = !plain
                || (node.boolean().is_none() || has_type(schema, "boolean"))
                    && (node.number().is_none()
                        || has_type(schema, "number")
                        || has_type(schema, "integer"));
            return if fits { string() } else { self.not_quoted(schema, node, text, path) };
        }
        if has_type(schema, "boolean")
            && let Some(value) = node.boolean()
        {
            return Some(Value::Bool(value));
        }
        if has_type(schema, "integer")
            && let Some(value) = node.integer()
        {
            return self.range(schema, node, value, path);
        }
        if has_type(schema, "number")
            && let Some(number) = node.number().and_then(serde_json::Number::from_f64)
        {
            return Some(Value::Number(number));
        }
        self.wrong_kind(forms, node, path)
    }

    fn choice(&mut self, values: &[Value], node: &Node, text: &str, path: &str) -> Option<Value> {
        if values.iter().any(|value| value == text) {
            return Some(Value::String(text.to_owned()));
        }
        let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let message = format!("`{text}` is no value of `{path}`");
        let label = format!("one of: {}", words.join(", "));
        let help = did_you_mean(text, words.iter().copied());
        self.report(Problem::error("P0202", message, node.span.clone(), label).maybe_help(help))
    }

    fn range(&mut self, schema: &Value, node: &Node, value: i64, path: &str) -> Option<Value> {
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        if low.is_none_or(|low| value as f64 >= low) && high.is_none_or(|high| value as f64 <= high)
        {
            return Some(Value::from(value));
        }
        let message = match (low, high) {
            (Some(low), Some(high)) => format!("`{path}` is a number from {low} to {high}"),
            (Some(low), None) => format!("`{path}` is at least {low}"),
            _ => format!("`{path}` is at most {}", high.unwrap_or_default()),
        };
        let label = format!("{value} is outside");
        self.report(Problem::error("P0203", message, node.span.clone(), label))
    }

    /// YAML sees a number or a boolean where the language wants a string.
    fn not_quoted(&mut self, schema: &Value, node: &Node, text: &str, path: &str) -> Option<Value> {
        let place = node.span.clone();
        let label = format!("YAML reads this as {}", node.noun());
        let problem = match form(schema) {
            "duration" => Problem::error("P0410", format!("`{path}` needs a unit"), place, label)
                .help(format!("for {text} seconds write `{text}s`; there is also ms, m, h")),
            _ => Problem::error("P0206", format!("`{path}` must be a string"), place, label)
                .help(format!("put it in quotes: `\"{text}\"`")),
        };
        self.report(problem)
    }

    fn null(&mut self, forms: &[&Value], node: &Node, path: &str) -> Option<Value> {
        let text = forms.iter().any(|leaf| form(leaf) == "text");
        let help = if text {
            "write '' for an empty text".to_owned()
        } else {
            format!("give it {}, or leave the key out", wants(forms))
        };
        let message = format!("{} has no value", subject(path));
        // An empty value has no bytes of its own.
        self.report(Problem::error("P0205", message, node.span.clone(), "nothing here").help(help))
    }

    fn wrong_kind(&mut self, forms: &[&'a Value], node: &Node, path: &str) -> Option<Value> {
        let message = format!("{} must be {}", subject(path), wants(forms));
        let label = format!("this is {}", node.noun());
        let problem = Problem::error("P0201", message, node.head(), label);
        let list = forms.iter().find(|form| has_type(form, "array"));
        let help = match (list, node.text()) {
            (Some(leaf), Some(text)) if form(leaf) == "command" => {
                Some(format!("write a list: `{}`", command_list(text)))
            }
            (Some(leaf), Some(_)) if leaf.get("items").is_some_and(|item| form(item) == "text") => {
                None
            }
            (Some(_), Some(text)) => Some(format!("write a list: `[{text}]`")),
            _ if has_type(forms.first().copied().unwrap_or(&Value::Null), "boolean") => {
                match node.text() {
                    Some("yes" | "on" | "Yes" | "On" | "YES" | "ON") => {
                        Some("write `true`".to_owned())
                    }
                    Some("no" | "off" | "No" | "Off" | "NO" | "OFF") => {
                        Some("write `false`".to_owned())
                    }
                    _ => None,
                }
            }
            (None, Some(_)) if matches!(node.kind, Kind::Scalar { style: Style::Quoted, .. }) => {
                (node.text().is_some_and(|text| text.parse::<f64>().is_ok()))
                    .then(|| "write it without quotes".to_owned())
            }
            _ => None,
        };
        self.report(problem.maybe_help(help))
    }
}

/// What the forms take, in words: "a string or a list".
fn wants(forms: &[&Value]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for form in forms {
        for (kind, word) in [
            ("string", "a string"),
            ("integer", "a whole number"),
            ("number", "a number"),
            ("boolean", "true or false"),
            ("array", "a list"),
            ("object", "a map"),
        ] {
            let short = matches!(self::form(form), "text" | "word" | "size" | "port");
            if has_type(form, kind) && !words.contains(&word) && !(short && kind != "string") {
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

/// A command as one string, rewritten as the list that it means.
fn command_list(text: &str) -> String {
    let quoted = |word: &str| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
    if text.contains(['|', '&', ';', '<', '>', '$', '`', '"', '\'', '(', '*', '\n']) {
        return format!("[/bin/sh, -c, {}]", quoted(text));
    }
    let plain = |word: &&str| {
        word.parse::<f64>().is_err()
            && word.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.'))
            && !word.contains(['#', ':', ',', '[', ']', '{', '}'])
            && !matches!(*word, "true" | "false" | "null")
    };
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| if plain(&word) { word.to_owned() } else { quoted(word) })
        .collect();
    format!("[{}]", words.join(", "))
}

/// Port forms that YAML itself reads as something else.
fn port_mistake(node: &Node, path: &str) -> Option<Problem> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match &node.kind {
        Kind::Map(map) if map.len() == 1 => {
            let (key, entry) = map.first()?;
            let value = entry.value.text()?;
            let message = format!("`{path}` is a map because of the space after the colon");
            number(key).then(|| {
                Problem::error("P0420", message, entry.key.start..entry.value.span.end, "a map")
                    .help(format!("write `{key}:{value}`"))
            })
        }
        Kind::List(items) => {
            let address = items.first().and_then(Node::text).unwrap_or("::1");
            let message = "an address in brackets must be in quotes";
            let label = "YAML reads this as a list";
            Some(
                Problem::error("P0421", message, node.span.clone(), label)
                    .help(format!("write `\"[{address}]:HOST:CONTAINER\"`")),
            )
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
    use crate::spec::{schema, tree};

    fn problems(text: &str) -> Vec<(String, String)> {
        let mut root = tree::parse(text).0.remove(0).root;
        let mut found = Vec::new();
        check(schema::shape(), &mut root, &mut found);
        let place = |problem: &Problem| text[problem.labels[0].0.clone()].to_owned();
        found
            .iter()
            .map(|problem| (place(problem), problem.help.clone().unwrap_or_default()))
            .collect()
    }

    fn one(text: &str, place: &str, help: &str) {
        assert_eq!(problems(text), [(place.to_owned(), help.to_owned())], "{text}");
    }

    #[test]
    fn the_place_is_the_token_and_the_help_is_the_fix() {
        one("containers: {}\nhostnme: a", "hostnme", "did you mean `hostname`?");
        one("containers: {}\nhostname: 80", "80", "put it in quotes: `\"80\"`");
        one("containers: {w: {command: sleep 10}}", "sleep 10", "write a list: `[sleep, \"10\"]`");
        one(
            "containers: {w: {stopTimeout: 10}}",
            "10",
            "for 10 seconds write `10s`; there is also ms, m, h",
        );
        one("containers: {w: {tty: yes}}", "yes", "write `true`");
        one(
            "containers: {}\nports: [8080]",
            "8080",
            "write `8080:8080` for the same port on both sides",
        );
        one("containers: {}\nports:\n- 8080: 80", "8080: 80", "write `8080:80`");
        one("containers: {w: {env: {A: }}}", "", "write '' for an empty text");
        one(
            "containers: {}\nports: [{host: 1, container: 2, protocol: tpc}]",
            "tpc",
            "did you mean `tcp`?",
        );
    }

    #[test]
    fn texts_keep_their_source() {
        let mut root =
            tree::parse("containers: {w: {env: {A: 1.10, B: true, C: 0x1F}}}").0.remove(0).root;
        let value = check(schema::shape(), &mut root, &mut Vec::new()).unwrap();
        assert_eq!(
            value["containers"]["w"]["env"],
            serde_json::json!({"A": "1.10", "B": "true", "C": "0x1F"})
        );
    }

    #[test]
    fn what_is_wrong_is_cut_and_noted() {
        let mut root = tree::parse("containers: {w: {rootfs: 1, user: 5}}").0.remove(0).root;
        let value = check(schema::shape(), &mut root, &mut Vec::new()).unwrap();
        assert_eq!(value["containers"]["w"], serde_json::json!({"user": "5"}));
        assert_eq!(root.get("containers").unwrap().get("w").unwrap().lost, ["rootfs"]);
    }
}
