//! The tree judged by the schema. Every mistake of form is found here, all of them in one walk, and the
//! good part comes out as typed JSON. What is wrong is cut from the tree (its key noted in `lost`), so
//! that the checks of meaning go on with the rest and never complain of what is already reported.

mod quotes;

use super::advice::{self, form, has_type, wants};
use super::foreign::{self, Meaning};
use super::place::{Place, Thing};
use super::problem::{Edit, Problem, Problems, did_you_mean, nearest, surely};
use super::tree::{Entry, Kind, Node, Style};
use super::{namespaces, schema, yaml};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::rc::Rc;

/// Typed JSON of a document that fits the schema where it is not cut; `text` is the file.
pub fn check(
    schema: &Value,
    root: &mut Node,
    text: &str,
    problems: &mut Problems,
) -> Option<Value> {
    quotes::warn(root, text, problems);
    let mut judge = Judge { root: schema, text, problems, forms: HashMap::new() };
    judge.judge(schema, root, &Place::Root)
}

/// The language's keys of a map: those that are here, and those that are free.
struct Keys<'k> {
    present: Vec<&'k str>,
    free: Vec<&'k str>,
}

/// Which key was meant by one that there is not.
enum Meant {
    Surely(String),
    /// This one, where any: it is not missing too.
    Perhaps(Option<String>),
}

/// What a key that must be there may look like, as it stands in a file.
fn example(key: &str, path: &Place<'_>) -> String {
    if key == "containers" {
        return schema::LEAST.to_owned();
    }
    let example = schema::example(&Place::Key(path, key).steps());
    example.map_or_else(|| "\u{2026}".to_owned(), |example| yaml::inline(&example))
}

/// An image to show how one is named.
const IMAGE: &str = "docker.io/library/httpd:2.4";

struct Judge<'a> {
    root: &'a Value,
    text: &'a str,
    problems: &'a mut Problems,
    /// The forms of every schema that was asked for, by its address.
    forms: HashMap<*const Value, Rc<[&'a Value]>>,
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
            && let Some(problem) = advice::port_mistake(node, path, self.text)
        {
            return self.report(problem);
        }
        if let Kind::List(items) = &node.kind
            && let Some(help) = advice::named_values(items, &forms)
        {
            let message = format!("{} has items of Kubernetes, `name` and `value`", path.subject());
            let problem = Problem::error("P0201", message, node.head(), "a map in the list");
            return self.report(problem.help(help));
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
            Kind::Map(_) => self.map(wanted, node, path),
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

    /// What is good of a map; nothing where it lacks what must be there, but of a pod.
    fn map(&mut self, schema: &'a Value, node: &mut Node, path: &Place<'_>) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let head = node.head();
        let Kind::Map(map) = &mut node.kind else { return None };
        let find = |key: &str| properties.and_then(|known| known.get(key)).or(others);
        let mut lost = Vec::new();
        if !map.keys().all(|key| find(key).is_some()) {
            lost = self.unknown_keys(map, properties, path);
        }
        let mut typed = Map::with_capacity(map.len());
        map.retain(|key, entry| {
            let place = Place::Key(path, key);
            let value = find(key).and_then(|known| self.judge(known, &mut entry.value, &place));
            let is_good = value.is_some();
            match value {
                Some(value) => drop(typed.insert(key.clone(), value)),
                None => lost.push(key.clone()),
            }
            is_good
        });
        let mut is_whole = true;
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let Some(key) = required.as_str().filter(|key| !typed.contains_key(*key)) else {
                continue;
            };
            is_whole = false;
            if lost.iter().any(|lost| lost == key) {
                continue;
            }
            let message = format!("{} has no `{key}`", path.subject());
            let label = format!("`{key}` is missing here");
            let problem = Problem::error("P0204", message, head.clone(), label);
            self.problems.push(problem.help(format!("add `{key}: {}`", example(key, path))));
            lost.push(key.to_owned());
        }
        node.lost = lost.into();
        (is_whole || matches!(path, Place::Root)).then_some(Value::Object(typed))
    }

    /// Reports every key that there is not. What is surely meant is read as such, so that what is wrong inside
    /// is told too; of the others these keys are accounted for.
    fn unknown_keys(
        &mut self,
        map: &mut IndexMap<String, Entry>,
        properties: Option<&'a Map<String, Value>>,
        path: &Place<'_>,
    ) -> Vec<String> {
        let known: Vec<&str> =
            properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let (present, free) = known.into_iter().partition(|key| map.contains_key(*key));
        let mut keys = Keys { present, free };
        let mut lost = Vec::new();
        *map = std::mem::take(map)
            .into_iter()
            .filter_map(|(key, entry)| {
                if properties.is_some_and(|known| known.contains_key(&key)) {
                    return Some((key, entry));
                }
                match self.unknown_key(&key, &entry, path, &keys) {
                    Meant::Surely(meant) => {
                        keys.free.retain(|key| *key != meant);
                        Some((meant, entry))
                    }
                    Meant::Perhaps(meant) => {
                        lost.extend(meant);
                        lost.push(key);
                        None
                    }
                }
            })
            .collect();
        lost
    }

    /// Reports a key that there is not; the key that was meant.
    fn unknown_key(
        &mut self,
        key: &str,
        entry: &Entry,
        path: &Place<'_>,
        keys: &Keys<'_>,
    ) -> Meant {
        let message = format!("unknown key `{key}`");
        let label = format!("not a key of {}", path.subject());
        let problem = Problem::error("P0200", message, entry.key.clone(), label);
        if self.problems.is_full() {
            self.report(problem);
            return Meant::Perhaps(None);
        }
        let (help, meant) = self.meant(key, entry, path, keys);
        let edit = match &meant {
            Meant::Surely(meant) => Edit::of_word(self.text, &entry.key, key, meant),
            Meant::Perhaps(_) => None,
        };
        self.report(problem.help(help).maybe_fix(edit));
        meant
    }

    /// What an unknown key probably means, and what to do about it.
    fn meant(
        &self,
        key: &str,
        entry: &Entry,
        path: &Place<'_>,
        Keys { present, free }: &Keys<'_>,
    ) -> (String, Meant) {
        let accounted = |meant: &str| Meant::Perhaps(Some(meant.to_owned()));
        match foreign::key(key, path.thing()) {
            Some(Meaning::Named(meant, whose)) if free.contains(&meant) => {
                let help = format!("write `{meant}`: {whose} calls it `{key}`");
                return (help, Meant::Surely(meant.to_owned()));
            }
            Some(Meaning::Named(meant, whose)) => {
                let help = format!(
                    "put what it says under `{meant}`, which is here already: {whose} calls it `{key}`"
                );
                return (help, accounted(meant));
            }
            Some(Meaning::Said(meant, help)) => return (help.to_owned(), accounted(meant)),
            None => {}
        }
        if path.thing() == Thing::PodNamespaces && key == "net" {
            return (namespaces::net_of_pod(entry.value.text(), present), Meant::Perhaps(None));
        }
        if let Some(help) = self.elsewhere(key, &entry.value, path) {
            return (help, accounted("containers"));
        }
        let near = |keys: &[&str]| nearest(key, keys.iter().copied()).map(str::to_owned);
        if let Some(meant) = near(free) {
            let help = format!("did you mean `{meant}`?");
            let is_sure = surely(key, free.iter().copied()).is_some();
            return (
                help,
                if is_sure { Meant::Surely(meant) } else { Meant::Perhaps(Some(meant)) },
            );
        }
        let help = match near(present) {
            Some(word) => format!("did you mean `{word}`, which is here already?"),
            None => match (free.len(), path.thing()) {
                (1..=12, _) => format!("remove it, or write one of: {}", free.join(", ")),
                (_, Thing::Pod) => "remove it; `podspec docs` lists the keys of a pod".to_owned(),
                (_, Thing::Container) => {
                    "remove it; `podspec docs` lists the keys of a container".to_owned()
                }
                _ => "remove it".to_owned(),
            },
        };
        (help, Meant::Perhaps(None))
    }

    /// What to do about a key that is one of ours, but not here.
    fn elsewhere(&self, key: &str, value: &Node, path: &Place<'_>) -> Option<String> {
        let has =
            |place: &str| self.root.pointer(place).is_some_and(|keys| keys.get(key).is_some());
        match path.thing() {
            Thing::Pod if has("/definitions/Container/properties") => Some(format!(
                "`{key}` belongs to a container: write `containers: {{ NAME: {{ {key}: … }} }}`"
            )),
            Thing::Pod if ["image", "rootfs", "command"].iter().any(|k| value.get(k).is_some()) => {
                Some(format!("write `{key}` under `containers`: it looks like a container"))
            }
            Thing::Container if has("/properties") => {
                Some(format!("`{key}` belongs to the pod: write it at the top"))
            }
            _ => None,
        }
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
            node.lost = vec![String::from("item")].into();
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
            // What is neither their word nor a list is told so, and not to be put in quotes.
            let is_lists = matches!(path, Place::Key(Place::Root, "ports" | "share"));
            let fits = !plain
                || is_lists
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
        if let Some((what, help)) = foreign::later(path.key(), text) {
            return self.report(Problem::not_yet(what, node.span.clone()).help(help));
        }
        let words: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        let message = format!("`{text}` is no value of `{path}`");
        let label = format!("one of: {}", words.join(", "));
        let problem = Problem::error("P0202", message, node.span.clone(), label);
        if let Some(meant) = foreign::value(path.key(), text).filter(|word| words.contains(word)) {
            let edit = self.reword(node, meant);
            return self.report(problem.help(format!("write `{meant}`")).maybe_fix(edit));
        }
        let edit = surely(text, words.iter().copied()).and_then(|meant| self.reword(node, meant));
        let help = match (did_you_mean(text, words.iter().copied()), path.key()) {
            (Some(help), _) => help,
            (None, "type") => {
                "remove it: what begins with `/` or `.` is a path, else a volume".to_owned()
            }
            (None, _) => format!("write one of them, such as `{}`", words.first().unwrap_or(&"")),
        };
        self.report(problem.help(help).maybe_fix(edit))
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
        self.report(problem.help(format!("write `{nearest}`, or another number in this range")))
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
                    .help(format!("write `{text}s` for seconds; there is also ms, m, h"))
                    .maybe_fix(edit.filter(|_| node.integer().is_some_and(|number| number >= 0)))
            }
            _ if let Some(meant) = foreign::value(path.key(), text) => {
                Problem::error("P0206", format!("`{path}` must be a string"), place, label)
                    .help(format!("write `{meant}`"))
                    .maybe_fix(self.rewrite(node, meant.to_owned()))
            }
            _ => Problem::error("P0206", format!("`{path}` must be a string"), place, label)
                .help(format!("put it in quotes: `\"{text}\"`"))
                .maybe_fix(self.rewrite(node, format!("\"{text}\""))),
        };
        self.report(problem)
    }

    fn null(&mut self, forms: &[&Value], node: &Node, path: &Place<'_>) -> Option<Value> {
        let help = if forms.iter().any(|leaf| form(leaf) == "text") {
            let what = if matches!(path, Place::Item(..)) { "item" } else { "key" };
            format!("write '' for an empty text, or remove the {what}")
        } else if let (Thing::Container, Place::Key(_, name)) = (path.thing(), path) {
            format!("write what it runs, such as `{name}: {{ image: {IMAGE} }}`, or remove the key")
        } else if let (Place::Key(_, key), Some(example)) = (path, schema::example(&path.steps())) {
            format!("write a value, such as `{key}: {}`, or remove the key", yaml::inline(&example))
        } else {
            format!("write {}, or remove this", wants(forms))
        };
        let message = format!("{} has no value", path.subject());
        // An empty value has no bytes of its own.
        self.report(Problem::error("P0205", message, node.span.clone(), "nothing here").help(help))
    }

    fn wrong_kind(&mut self, forms: &[&'a Value], node: &Node, path: &Place<'_>) -> Option<Value> {
        let message = format!("{} must be {}", path.subject(), wants(forms));
        let label = format!("this is {}", node.noun());
        let problem = Problem::error("P0201", message, node.head(), label);
        if let Some(help) = advice::of_indentation(path) {
            return self.report(problem.help(help));
        }
        let problem = match node.text() {
            Some(text) => match advice::mended(forms, node, text, path) {
                // Only a tag makes of it what it is.
                Some((new, _)) if self.text.get(node.span.clone()) == Some(new.as_str()) => {
                    problem.help(format!("write `{new}` without the tag before it"))
                }
                Some((new, true)) => {
                    let edit = self.rewrite(node, new.clone());
                    problem.help(format!("write `{new}`")).maybe_fix(edit)
                }
                Some((new, false)) => problem.help(format!("write `{new}`")),
                None => problem.help(advice::shapes(forms, path)),
            },
            None => {
                let help = advice::of_collection(forms, node, path);
                problem.help(help.unwrap_or_else(|| advice::shapes(forms, path)))
            }
        };
        self.report(problem)
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
            "write `10s` for seconds; there is also ms, m, h",
        );
        one("containers: {w: {tty: yes}}", "yes", "write `true`");
        one(
            "containers: {}\nports: [8080]",
            "8080",
            "write `8080:8080` for the same port on both sides",
        );
        one("containers: {}\nports:\n- 8080: 80", "8080: 80", "write `8080:80`");
        one("containers: {w: {env: {A: }}}", "", "write '' for an empty text, or remove the key");
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
