//! The tree judged by the schema. Every mistake of form is found here, all of them in one walk, and the
//! good part comes out as typed JSON. What is wrong is cut from the tree (its key noted in `lost`), so
//! that the checks of meaning go on with the rest and never complain of what is already reported.

use super::problem::{Edit, Problem, Problems, did_you_mean, nearest, surely};
use super::schema;
use super::tree::{Kind, Node, Style};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

/// Typed JSON of a document that fits the schema where it is not cut; `text` is the file.
pub fn check(
    schema: &Value,
    root: &mut Node,
    text: &str,
    problems: &mut Problems,
) -> Option<Value> {
    let mut judge = Judge { root: schema, text, problems, forms: HashMap::new() };
    judge.judge(schema, root, &Place::Root)
}

struct Judge<'a> {
    root: &'a Value,
    text: &'a str,
    problems: &'a mut Problems,
    /// The forms of every schema that was asked for, by its address.
    forms: HashMap<*const Value, Rc<[&'a Value]>>,
}

/// A place in the words of the file: `containers.web.ports[0]`; made to text only for a problem.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Place<'_> {
    fn subject(&self) -> String {
        if matches!(self, Self::Root) { "a pod".to_owned() } else { format!("`{self}`") }
    }
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
    fn forms(&mut self, schema: &'a Value) -> Rc<[&'a Value]> {
        if let Some(forms) = self.forms.get(&std::ptr::from_ref(schema)) {
            return Rc::clone(forms);
        }
        let resolved = self.resolve(schema);
        let forms: Rc<[&'a Value]> = match resolved.get("anyOf").and_then(Value::as_array) {
            Some(branches) => {
                branches.iter().flat_map(|branch| self.forms(branch).to_vec()).collect()
            }
            None => Rc::new([resolved]),
        };
        self.forms.insert(std::ptr::from_ref(schema), Rc::clone(&forms));
        forms
    }

    fn judge(&mut self, schema: &'a Value, node: &mut Node, path: &Place<'_>) -> Option<Value> {
        let forms = self.forms(schema);
        if node.is_null() {
            if forms.iter().any(|form| has_type(form, "null")) {
                return Some(Value::Null);
            }
            return self.null(&forms, node, path);
        }
        if forms.iter().any(|leaf| form(leaf) == "port")
            && let Some(problem) = port_mistake(node, path, self.text)
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
            Kind::Scalar { .. } if form(wanted) == "text" => Some(Value::String(node.take_text())),
            Kind::Scalar { .. } => self.scalar(wanted, &forms, node, path),
        }
    }

    fn report(&mut self, problem: Problem) -> Option<Value> {
        self.problems.push(problem);
        None
    }

    /// The word of this scalar in the place of the one that is there.
    fn reword(&self, node: &Node, new: &str) -> Option<Edit> {
        Edit::of_word(self.text, &node.span, node.text()?, new)
    }

    /// A text that is no word in the place of a scalar whose source is as it reads.
    fn rewrite(&self, node: &Node, new: String) -> Option<Edit> {
        Edit::of_word(self.text, &node.span, node.text()?, "")?;
        Some(Edit { place: node.span.clone(), text: new })
    }

    fn map(&mut self, schema: &'a Value, node: &mut Node, path: &Place<'_>) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let head = node.head();
        let Kind::Map(map) = &mut node.kind else { return Value::Null };
        let find = |key: &str| properties.and_then(|known| known.get(key)).or(others);
        let all = properties.into_iter().flat_map(Map::keys).map(String::as_str);
        let (present, free): (Vec<&str>, Vec<&str>) =
            match map.keys().all(|key| find(key).is_some()) {
                true => (Vec::new(), Vec::new()),
                false => all.partition(|key| map.contains_key(*key)),
            };
        let mut typed = Map::with_capacity(map.len());
        let mut lost = Vec::new();
        map.retain(|key, entry| {
            let place = Place::Key(path, key);
            let value = match find(key) {
                Some(known) => self.judge(known, &mut entry.value, &place),
                None => {
                    // What is probably meant is not missing too.
                    lost.extend(self.unknown_key((key, &entry.key), path, &present, &free));
                    None
                }
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
            let Some(key) = required.as_str() else { continue };
            if typed.contains_key(key) || lost.iter().any(|lost| lost == key) {
                continue;
            }
            let message = format!("{} has no `{key}`", path.subject());
            let label = format!("`{key}` is missing here");
            let problem = Problem::error("P0204", message, head.clone(), label);
            let help = format!("add `{key}: {}`", schema::example(key));
            self.problems.push(problem.help(help));
            lost.push(key.to_owned());
        }
        node.lost = lost.into();
        Value::Object(typed)
    }

    /// Reports a key that there is not; the key that was probably meant.
    fn unknown_key(
        &mut self,
        (key, place): (&str, &Range<usize>),
        path: &Place<'_>,
        present: &[&str],
        free: &[&str],
    ) -> Option<String> {
        let message = format!("unknown key `{key}`");
        let label = format!("not a key of {}", path.subject());
        let problem = Problem::error("P0200", message, place.clone(), label);
        if self.problems.is_full() {
            self.report(problem);
            return None;
        }
        if let Some((meant, help)) = foreign(key, path) {
            let renamed = free.contains(&meant) && help.starts_with("did you mean");
            let edit = renamed.then(|| Edit::of_word(self.text, place, key, meant));
            self.report(problem.help(help).maybe_fix(edit.flatten()));
            return Some(meant.to_owned());
        }
        let meant = nearest(key, free.iter().copied()).map(str::to_owned);
        let help = did_you_mean(key, free.iter().copied()).or_else(|| {
            let twice = nearest(key, present.iter().copied())
                .map(|word| format!("did you mean `{word}`, which is here already?"));
            let list = || {
                (free.len() <= 12 && !free.is_empty())
                    .then(|| format!("what there is: {}", free.join(", ")))
            };
            twice.or_else(list)
        });
        let edit = surely(key, free.iter().copied())
            .and_then(|meant| Edit::of_word(self.text, place, key, meant));
        self.report(problem.maybe_help(help).maybe_fix(edit));
        meant
    }

    fn list(&mut self, schema: &'a Value, node: &mut Node, path: &Place<'_>) -> Value {
        let Kind::List(items) = &mut node.kind else { return Value::Null };
        let Some(item) = schema.get("items") else { return Value::Array(Vec::new()) };
        let mut typed = Vec::with_capacity(items.len());
        let mut index = 0;
        let before = items.len();
        items.retain_mut(|node| {
            let value = self.judge(item, node, &Place::Item(path, index));
            index += 1;
            let good = value.is_some();
            typed.extend(value);
            good
        });
        if items.len() < before {
            node.lost = [String::from("item")].into();
        }
        Value::Array(typed)
    }

    fn scalar(
        &mut self,
        schema: &'a Value,
        forms: &[&'a Value],
        node: &Node,
        path: &Place<'_>,
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

    fn choice(
        &mut self,
        values: &[Value],
        node: &Node,
        text: &str,
        path: &Place<'_>,
    ) -> Option<Value> {
        if values.iter().any(|value| value == text) {
            return Some(Value::String(text.to_owned()));
        }
        let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let message = format!("`{text}` is no value of `{path}`");
        let label = format!("one of: {}", words.join(", "));
        let problem = Problem::error("P0202", message, node.span.clone(), label);
        let edit = surely(text, words.iter().copied()).and_then(|meant| self.reword(node, meant));
        self.report(problem.maybe_help(did_you_mean(text, words)).maybe_fix(edit))
    }

    fn range(
        &mut self,
        schema: &Value,
        node: &Node,
        value: i64,
        path: &Place<'_>,
    ) -> Option<Value> {
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        let (low, high) = (bound("minimum"), bound("maximum"));
        if low.is_none_or(|low| value as f64 >= low) && high.is_none_or(|high| value as f64 <= high)
        {
            return Some(Value::from(value));
        }
        let (message, nearest) = match (low, high) {
            (Some(low), Some(high)) => (
                format!("`{path}` is a number from {low} to {high}"),
                if (value as f64) < low { low } else { high },
            ),
            (Some(low), None) => (format!("`{path}` is at least {low}"), low),
            _ => {
                let high = high.unwrap_or_default();
                (format!("`{path}` is at most {high}"), high)
            }
        };
        let label = format!("{value} is outside");
        let problem = Problem::error("P0203", message, node.span.clone(), label);
        self.report(problem.help(format!("write a number in this range; the nearest is {nearest}")))
    }

    /// YAML sees a number or a boolean where the language wants a string.
    fn not_quoted(
        &mut self,
        schema: &Value,
        node: &Node,
        text: &str,
        path: &Place<'_>,
    ) -> Option<Value> {
        let place = node.span.clone();
        let label = format!("YAML reads this as {}", node.noun());
        let problem = match form(schema) {
            "duration" => {
                let edit = self.rewrite(node, format!("{text}s"));
                Problem::error("P0410", format!("`{path}` needs a unit"), place, label)
                    .help(format!("for {text} seconds write `{text}s`; there is also ms, m, h"))
                    .maybe_fix(edit.filter(|_| node.integer().is_some_and(|number| number >= 0)))
            }
            _ => Problem::error("P0206", format!("`{path}` must be a string"), place, label)
                .help(format!("put it in quotes: `\"{text}\"`"))
                .maybe_fix(self.rewrite(node, format!("\"{text}\""))),
        };
        self.report(problem)
    }

    fn null(&mut self, forms: &[&Value], node: &Node, path: &Place<'_>) -> Option<Value> {
        let text = forms.iter().any(|leaf| form(leaf) == "text");
        let help = if text {
            "write '' for an empty text".to_owned()
        } else {
            format!("give it {}, or remove the key", wants(forms))
        };
        let message = format!("{} has no value", path.subject());
        // An empty value has no bytes of its own.
        self.report(Problem::error("P0205", message, node.span.clone(), "nothing here").help(help))
    }

    fn wrong_kind(&mut self, forms: &[&'a Value], node: &Node, path: &Place<'_>) -> Option<Value> {
        let message = format!("{} must be {}", path.subject(), wants(forms));
        let label = format!("this is {}", node.noun());
        let problem = Problem::error("P0201", message, node.head(), label);
        let problem = match node.text() {
            Some(text) => match self.mended(forms, node, text) {
                Some((new, true)) => {
                    let edit = self.rewrite(node, new.clone());
                    problem.help(format!("write `{new}`")).maybe_fix(edit)
                }
                Some((new, false)) => problem.help(format!("write `{new}`")),
                None => problem.maybe_help(shapes(forms)),
            },
            None => problem.maybe_help(collection_help(forms, node).or_else(|| shapes(forms))),
        };
        self.report(problem)
    }

    /// What a scalar of the wrong kind probably means, and whether that is sure.
    fn mended(&self, forms: &[&Value], node: &Node, text: &str) -> Option<(String, bool)> {
        let first = forms.first().copied().unwrap_or(&Value::Null);
        if has_type(first, "boolean") {
            return match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "true" | "y" => Some(("true".to_owned(), true)),
                "no" | "off" | "false" | "n" => Some(("false".to_owned(), true)),
                _ => None,
            };
        }
        let quoted = matches!(node.kind, Kind::Scalar { style: Style::Quoted, .. });
        if let Some(list) = forms.iter().find(|form| has_type(form, "array")) {
            if form(list) == "command" {
                let simple = !text.contains(SHELL) && !text.trim().is_empty();
                return Some((command_list(text), simple));
            }
            if list.get("items").is_some_and(|item| form(item) == "text") {
                return text.contains('=').then(|| (format!("[{}]", item(text)), true));
            }
            let many = text.contains([',', ' ']);
            return Some((format!("[{}]", item(text)), !many));
        }
        let number = has_type(first, "integer") || has_type(first, "number");
        (quoted && number && text.parse::<f64>().is_ok()).then(|| (text.to_owned(), true))
    }
}

/// A key of podman, compose or Kubernetes in the words of the pod file.
fn foreign(key: &str, path: &Place<'_>) -> Option<(&'static str, String)> {
    let container = matches!(path, Place::Key(Place::Key(Place::Root, "containers"), _));
    let plain = |meant: &'static str| Some((meant, format!("did you mean `{meant}`?")));
    match (key, path) {
        ("image" | "rootfs" | "command" | "env" | "args" | "user", Place::Root) => Some((
            "containers",
            format!("`{key}` belongs to a container: `containers: {{ NAME: {{ {key}: … }} }}`"),
        )),
        ("services", Place::Root) => {
            Some(("containers", "what compose calls `services` is `containers` here".to_owned()))
        }
        ("metadata" | "spec" | "apiVersion" | "kind", Place::Root) => Some((
            "containers",
            "this is a Kubernetes manifest: `name`, `labels` and `containers` (a map) stand at the top here"
                .to_owned(),
        )),
        ("version", Place::Root) => {
            Some(("version", "remove it: a pod file has no version".to_owned()))
        }
        ("environment", _) if container => plain("env"),
        ("depends_on", _) if container => plain("dependsOn"),
        ("env_file", _) if container => plain("envFile"),
        ("working_dir", _) if container => plain("workingDir"),
        ("stop_grace_period" | "terminationGracePeriodSeconds", _) if container => plain("stopTimeout"),
        ("restartPolicy", _) => plain("restart"),
        ("volumeMounts", _) if container => plain("volumes"),
        ("securityContext", _) if container => plain("security"),
        ("healthcheck", _) if container => plain("readinessProbe"),
        ("imagePullPolicy" | "pull_policy", _) if container => plain("pullPolicy"),
        ("cap_add" | "cap_drop" | "privileged" | "read_only" | "security_opt", _) if container => Some((
            "security",
            "rights stand under `security`, such as `security: { capabilities: { add: [NET_ADMIN] } }`"
                .to_owned(),
        )),
        ("limits", _) | ("mem_limit" | "memory" | "cpus" | "pids_limit", _) if container => Some((
            "resources",
            "limits stand under `resources`, such as `resources: { memory: 256Mi }`".to_owned(),
        )),
        ("name", _) if container => {
            Some(("name", "a container's name is its key under `containers`".to_owned()))
        }
        ("entrypoint", _) if container => Some((
            "command",
            "`command` replaces the image's entrypoint, `args` its command".to_owned(),
        )),
        _ => None,
    }
}

/// A list or a map that stands where it cannot.
fn collection_help(forms: &[&Value], node: &Node) -> Option<String> {
    let takes = |kind: &str| forms.iter().any(|form| has_type(form, kind));
    match &node.kind {
        Kind::List(items) if takes("object") => {
            let named = items.iter().any(|item| item.get("name").is_some());
            Some(if named {
                "it is a map from name to value, not a list: `NAME: { … }`".to_owned()
            } else {
                "write `key: value` without the `-`".to_owned()
            })
        }
        Kind::List(items) => match items.as_slice() {
            [one] => one.text().map(|text| format!("write `{text}`, without brackets or `-`")),
            _ => None,
        },
        Kind::Map(map) if takes("array") => {
            let (key, entry) = map.first()?;
            let value = entry.value.text()?;
            let port = forms.iter().any(|leaf| {
                leaf.pointer("/items/anyOf/0/x-form").is_some_and(|form| form == "port")
            });
            Some(if port {
                format!("write a list: `[\"{key}:{value}\"]`")
            } else {
                format!("write a list, each item with a `-`: `- {key}`")
            })
        }
        _ => None,
    }
}

/// What the forms take, in words: "a string or a list".
/// What a list or a map looks like, where one is wanted.
fn shapes(forms: &[&Value]) -> Option<String> {
    let takes = |kind: &str| forms.iter().any(|form| has_type(form, kind));
    let text = |kind: &str, child: &str| {
        let of = forms.iter().find(|form| has_type(form, kind));
        of.and_then(|of| of.get(child)).is_some_and(|child| form(child) == "text")
    };
    Some(
        match (takes("array"), takes("object")) {
            (true, true) if text("array", "items") => {
                "write a map, `{ NAME: value }`, or a list, `[NAME=value]`"
            }
            (true, true) => "write a list, `[one, two]`, or a map, `{ key: value }`",
            (true, false) => "write a list: `[one, two]`",
            (false, true) => "write a map: `{ key: value }`",
            (false, false) => return None,
        }
        .to_owned(),
    )
}

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

/// Characters that a shell does something about.
const SHELL: [char; 12] = ['|', '&', ';', '<', '>', '$', '`', '"', '\'', '(', '*', '\n'];

/// A command as one string, rewritten as the list that it means.
fn command_list(text: &str) -> String {
    if text.contains(SHELL) {
        return format!("[/bin/sh, -c, {}]", quoted(text));
    }
    let words: Vec<String> = text.split_whitespace().map(item).collect();
    format!("[{}]", words.join(", "))
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A text as an item of a list in brackets.
fn item(word: &str) -> String {
    let plain = word.parse::<f64>().is_err()
        && word.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.'))
        && !word.contains(['#', ':', ',', '[', ']', '{', '}', '"', '\'', '\\', '\n'])
        && !matches!(word, "true" | "false" | "null");
    if plain { word.to_owned() } else { quoted(word) }
}

/// `80:80` of `80`; what has both ends is as it was.
fn with_both_ends(port: &str) -> String {
    if port.contains(':') { port.to_owned() } else { format!("{port}:{port}") }
}

/// Port forms that YAML itself reads as something else.
fn port_mistake(node: &Node, path: &Place<'_>, text: &str) -> Option<Problem> {
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
    use crate::spec::{schema, tree};

    fn problems(text: &str) -> Vec<(String, String)> {
        let mut root = tree::parse(text).0.remove(0).root;
        let mut found = Problems::default();
        check(schema::shape(), &mut root, text, &mut found);
        let found = found.in_order();
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
        one("containers: {w: {command: sleep 10}}", "sleep 10", "write `[sleep, \"10\"]`");
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
        let value = check(schema::shape(), &mut root, "", &mut Problems::default()).unwrap();
        assert_eq!(
            value["containers"]["w"]["env"],
            serde_json::json!({"A": "1.10", "B": "true", "C": "0x1F"})
        );
    }

    #[test]
    fn what_is_wrong_is_cut_and_noted() {
        let mut root = tree::parse("containers: {w: {rootfs: 1, user: 5}}").0.remove(0).root;
        let value = check(schema::shape(), &mut root, "", &mut Problems::default()).unwrap();
        assert_eq!(value["containers"]["w"], serde_json::json!({"user": "5"}));
        assert_eq!(root.get("containers").unwrap().get("w").unwrap().lost[..], ["rootfs"]);
    }
}
