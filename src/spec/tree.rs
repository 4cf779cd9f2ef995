//! YAML text to a tree in which every node knows its bytes. Here is all that is YAML's own: duplicate
//! keys, aliases, merge keys, tags, documents, limits. What the nodes mean is for others.
//! Every limit is there so that recursion over a tree, and its memory, are bounded.

use super::problem::{Problem, Problems};
use super::syntax;
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span, Tag};
use indexmap::IndexMap;
use std::collections::HashMap;
use std::ops::Range;

/// Levels of lists and maps; the language itself needs 8.
const DEPTH: usize = 48;
/// Nodes that all aliases of a file may copy.
const COPIES: usize = 10_000;
/// Nodes of a file, with what its anchors keep; what takes more memory counts more.
const NODES: usize = 250_000;
const MAP: usize = 2;
const DOCUMENT: usize = 7;
/// Bytes of a file.
const LENGTH: usize = 4 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub span: Range<usize>,
    pub kind: Kind,
    /// Keys of this map whose values were wrong and are gone: what misses them must not complain.
    pub lost: Lost,
}

/// Mostly none; one word, for memory is bounded.
#[expect(clippy::box_collection, reason = "a Vec is three words")]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lost(Option<Box<Vec<String>>>);

impl From<Vec<String>> for Lost {
    fn from(keys: Vec<String>) -> Self {
        Self((!keys.is_empty()).then(|| Box::new(keys)))
    }
}

impl std::ops::Deref for Lost {
    type Target = [String];

    fn deref(&self) -> &[String] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Scalar { text: Box<str>, style: Style },
    // In boxes, for most nodes are scalars and memory is bounded: a test holds a node to its size.
    List(Box<Vec<Node>>),
    Map(Box<IndexMap<String, Entry>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Unquoted: may be a number, a boolean, null.
    Plain,
    /// Always a string.
    Quoted,
    /// Text with a variable in it: a number where one is wanted, else a string.
    Interpolated,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: Range<usize>,
    pub value: Node,
}

/// One document.
#[derive(Debug)]
pub struct Document {
    pub root: Node,
    /// Where reading it ended in a syntax error: what stands before the line of this byte was read.
    pub broken: Option<usize>,
}

impl Node {
    /// A map of nothing.
    pub fn empty() -> Self {
        Self::new(0..0, Kind::Map(Box::default()))
    }

    fn new(span: Range<usize>, kind: Kind) -> Self {
        Self { span, kind, lost: Lost::default() }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Moves the text out, for one that is asked for no more: of such a file may consist.
    pub(super) fn take_text(&mut self) -> String {
        match &mut self.kind {
            Kind::Scalar { text, style } => {
                *style = Style::Quoted;
                std::mem::take(text).into_string()
            }
            _ => String::new(),
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(map) => map.get(key),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub fn item(&self, index: usize) -> Option<&Self> {
        match &self.kind {
            Kind::List(items) => items.get(index),
            _ => None,
        }
    }

    /// Whether the value of this key was wrong and is gone.
    pub fn has_lost(&self, key: &str) -> bool {
        self.lost.iter().any(|lost| lost == key)
    }

    /// The place to label: the node itself, or the first token of a collection.
    pub fn head(&self) -> Range<usize> {
        match &self.kind {
            Kind::Map(map) => match map.first() {
                Some((_, entry)) if entry.key.start >= self.span.start => entry.key.clone(),
                _ => self.span.clone(),
            },
            Kind::List(items) => match items.first() {
                Some(item) if item.span.start >= self.span.start => item.head(),
                _ => self.span.clone(),
            },
            Kind::Scalar { .. } => self.span.clone(),
        }
    }

    fn plain(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, style: Style::Plain } => Some(text),
            _ => None,
        }
    }

    fn unquoted(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, style } if *style != Style::Quoted => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.plain(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    pub fn boolean(&self) -> Option<bool> {
        match self.unquoted()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i64> {
        let text = self.unquoted()?;
        if let Some(hex) = text.strip_prefix("0x") {
            return i64::from_str_radix(hex, 16).ok();
        }
        if let Some(octal) = text.strip_prefix("0o") {
            return i64::from_str_radix(octal, 8).ok();
        }
        text.parse().ok()
    }

    /// A number of the core schema of YAML 1.2.
    pub fn number(&self) -> Option<f64> {
        let text = self.unquoted()?;
        if let Some(integer) = self.integer() {
            return Some(integer as f64);
        }
        let plain = text.trim_start_matches(['-', '+']);
        if matches!(plain, ".inf" | ".Inf" | ".INF") {
            return Some(f64::INFINITY);
        }
        if matches!(text, ".nan" | ".NaN" | ".NAN") {
            return Some(f64::NAN);
        }
        let shape = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
        (text.chars().any(|c| c.is_ascii_digit()) && text.chars().all(shape))
            .then(|| text.parse().ok())
            .flatten()
    }

    /// What a person would call this node.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Map(_) => "a map",
            Kind::List(_) => "a list",
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } if self.boolean().is_some() => "a boolean",
            Kind::Scalar { .. } if self.number().is_some() => "a number",
            Kind::Scalar { .. } => "a string",
        }
    }

    fn weigh(&self) -> (usize, usize) {
        let children: Vec<(usize, usize)> = match &self.kind {
            Kind::Scalar { .. } => Vec::new(),
            Kind::List(items) => items.iter().map(Self::weigh).collect(),
            Kind::Map(map) => map.values().map(|entry| entry.value.weigh()).collect(),
        };
        let count = children.iter().map(|(count, _)| count).sum::<usize>();
        (count + 1, children.iter().map(|(_, depth)| *depth).max().unwrap_or(0) + 1)
    }
}

/// A collection that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    key: Option<Node>,
    merges: Vec<(Range<usize>, Node)>,
}

/// An anchored node, how many nodes it is, and how deep.
struct Anchored {
    node: Node,
    count: usize,
    depth: usize,
}

struct Builder<'a> {
    text: &'a str,
    /// Where the part of the text begins that is being parsed.
    base: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    copied: usize,
    documents: Vec<Document>,
    problems: Problems,
}

/// Every document of the text, and what is wrong with it as YAML.
pub fn parse(text: &str) -> (Vec<Document>, Problems) {
    let mut builder = Builder {
        text,
        base: 0,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        copied: 0,
        documents: Vec::new(),
        problems: Problems::default(),
    };
    if text.len() > LENGTH {
        let message = format!("the file has {} bytes; a pod file has at most {LENGTH}", text.len());
        builder.problems.push(Problem::error("P0101", message, 0..0, "too long"));
        return (Vec::new(), builder.problems);
    }
    while let Err(at) = builder.run() {
        builder.give_up(at);
        // What a mistake makes of the lines after it means nothing; the next document is another matter.
        match syntax::next_document(text, at.max(builder.base + 1)) {
            Some(next) => builder.base = next,
            None => break,
        }
    }
    (builder.documents, builder.problems)
}

/// Where the text cannot be read further; the problem is reported.
type Stop = usize;

impl Builder<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let options = granit_parser::options! {
            flow_nesting_limit: DEPTH,
            block_nesting_limit: DEPTH,
        };
        let mut parser = Parser::new_from_str_with_options(&self.text[self.base..], options);
        while let Some(event) = parser.next_event() {
            match event {
                Ok((event, span)) => {
                    let place = self.place(span);
                    self.event(event, place)?;
                }
                Err(error) => {
                    let at = self.base + error.marker().byte_offset().unwrap_or(0);
                    let at = at.min(self.text.len());
                    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
                        return self.too_deep(at..at);
                    }
                    let begins = self.open.last().map(|open| open.node.head());
                    self.problems.push(syntax::problem(self.text, at, error.kind(), begins));
                    return Err(at);
                }
            }
        }
        Ok(())
    }

    fn place(&self, span: Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        let end = (self.base + range.end).min(self.text.len());
        (self.base + range.start).min(end)..end
    }

    fn event(&mut self, event: Event<'_>, place: Range<usize>) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut style =
                    if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let mut text: Box<str> = text.into();
                if self.tag(tag.as_deref(), "str", &place) {
                    style = Style::Quoted;
                } else if let Some(tag) = tag.filter(|_| text.is_empty()) {
                    // `!important` was to be a text.
                    (text, style) = (tag.original().into(), Style::Quoted);
                }
                self.count(1, &place)?;
                let place = self.nothing(place);
                let kind = Kind::Scalar { text, style };
                self.close(Node::new(place, kind), anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), "seq", &place);
                self.begin(Node::new(place, Kind::List(Box::default())), anchor)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), "map", &place);
                self.begin(Node::new(place, Kind::Map(Box::default())), anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place.end)?,
            Event::Alias(id) => self.alias(id, place)?,
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.count(DOCUMENT, &place)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// So many nodes more are kept in memory.
    fn count(&mut self, nodes: usize, place: &Range<usize>) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes <= NODES {
            return Ok(());
        }
        let message = format!("the file has more than {NODES} values");
        self.problems.push(
            Problem::error("P0112", message, place.clone(), "this is one too many")
                .help("make several pods of it, in files of their own"),
        );
        Err(self.text.len())
    }

    /// Where a value is missing: right behind its `-` or `:`, not behind the comment after it.
    fn nothing(&self, place: Range<usize>) -> Range<usize> {
        if !place.is_empty() {
            return place;
        }
        let before = &self.text[..place.start];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = before[start..].split(" #").next().unwrap_or("").trim_end();
        let at = if line.is_empty() { place.start } else { start + line.len() };
        at..at
    }

    /// Whether the node has the one tag that is allowed on it; any other is a problem.
    fn tag(&mut self, tag: Option<&Tag>, allowed: &str, place: &Range<usize>) -> bool {
        let Some(tag) = tag else { return false };
        if tag.core_suffix() == Some(allowed) {
            return true;
        }
        self.problems.push(
            Problem::error(
                "P0106",
                format!("the tag `{}` means nothing in a pod file", tag.original()),
                self.tag_place(&tag.original(), place),
                "this tag",
            )
            .help(format!(
                "remove the tag; if it is a text, put it in quotes: `\"{}\"`",
                tag.original()
            )),
        );
        false
    }

    /// The tag stands before its value, on the same line or the one above.
    fn tag_place(&self, tag: &str, value: &Range<usize>) -> Range<usize> {
        let mut from = value.start.saturating_sub(300);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        let before = &self.text[from..value.start];
        before.rfind(tag).map_or_else(|| value.clone(), |at| from + at..from + at + tag.len())
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if self.open.len() >= DEPTH {
            return self.too_deep(node.span);
        }
        let weight = if matches!(node.kind, Kind::Map(_)) { MAP } else { 1 };
        self.count(weight, &node.span)?;
        self.open.push(Open { node, anchor, key: None, merges: Vec::new() });
        Ok(())
    }

    fn too_deep(&mut self, place: Range<usize>) -> Result<(), Stop> {
        let message = format!("lists and maps are nested more than {DEPTH} deep");
        let at = place.start;
        let line = self.text[..at].rsplit('\n').next().unwrap_or_default();
        let help = match line.contains(['[', '{']) {
            true => {
                "close the bracket or brace that was left open; no pod needs more than 8 levels"
            }
            false => "indent this less; no pod needs more than 8 levels",
        };
        let problem = Problem::error("P0103", message, place, "one level too many");
        self.problems.push(problem.help(help));
        Err(at)
    }

    fn end(&mut self, at: usize) -> Result<(), Stop> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        open.node.span.end = self.trim(open.node.span.start, at);
        if let Kind::Map(map) = &mut open.node.kind {
            for (place, source) in std::mem::take(&mut open.merges) {
                merge(map, source, &place, &mut self.problems);
            }
        }
        self.close(open.node, open.anchor)
    }

    /// A block collection ends where the next token begins; its last character is what people see.
    fn trim(&self, start: usize, end: usize) -> usize {
        let end = end.clamp(start, self.text.len());
        start + self.text.get(start..end).map_or(end - start, |text| text.trim_end().len())
    }

    fn alias(&mut self, id: usize, place: Range<usize>) -> Result<(), Stop> {
        let Some(anchored) = self.anchors.get(&id) else {
            let (message, at) = ("an alias inside its own anchor has no end", place.start);
            self.problems.push(
                Problem::error("P0105", message, place, "this alias").help(
                    "write the value out in its place: the alias stands for what contains it",
                ),
            );
            return Err(at);
        };
        if self.open.len() + anchored.depth > DEPTH {
            return self.too_deep(place);
        }
        let count = anchored.count;
        self.copied += count;
        if self.copied > COPIES {
            let at = place.start;
            let message = format!("the aliases of this file stand for more than {COPIES} values");
            self.problems.push(
                Problem::error("P0104", message, place, "with this one")
                    .help("write the value out, or use fewer: aliases of aliases multiply"),
            );
            return Err(at);
        }
        let mut node = anchored.node.clone();
        self.count(count, &place)?;
        node.span = place;
        self.close(node, 0)
    }

    /// Gives a finished node to what contains it.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let (count, depth) = node.weigh();
            self.count(count, &node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), count, depth });
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(Document { root: node, broken: None });
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(map) => match open.key.take() {
                None => {
                    // A key is no node of the tree.
                    self.nodes = self.nodes.saturating_sub(1);
                    open.key = Some(node);
                }
                Some(key) if key.plain() == Some("<<") => open.merges.push((key.span, node)),
                Some(key) => insert(map, key, node, &mut self.problems),
            },
            Kind::Scalar { .. } => {}
        }
        Ok(())
    }

    /// Keeps what was read of a document before it broke at this byte.
    fn give_up(&mut self, at: usize) {
        let before = self.documents.len();
        while !self.open.is_empty() {
            // Nothing is lost by an anchor that cannot be kept.
            let _ = self.end(at);
        }
        self.anchors.clear();
        if self.documents.len() > before
            && let Some(last) = self.documents.last_mut()
        {
            last.broken = Some(at);
        }
    }
}

fn insert(map: &mut IndexMap<String, Entry>, key: Node, value: Node, problems: &mut Problems) {
    let Kind::Scalar { text, .. } = key.kind else {
        let message = "a key is a word, not a list or a map";
        problems.push(
            Problem::error("P0107", message, key.span, "this key")
                .help("write `name: value`; put a key with `[` or `{` in it into quotes"),
        );
        return;
    };
    if let Some(first) = map.get(&*text) {
        let message = format!("the key `{text}` is here twice");
        let problem = Problem::error("P0108", message, key.span, "again here")
            .also(first.key.clone(), "first here")
            .help("put what both say under one of them: a key stands once");
        problems.push(problem);
        return;
    }
    map.insert(text.into_string(), Entry { key: key.span, value });
}

/// `<<: *base` or `<<: [*one, *two]`: keys that are not there yet.
fn merge(
    map: &mut IndexMap<String, Entry>,
    source: Node,
    place: &Range<usize>,
    problems: &mut Problems,
) {
    let sources = match source.kind {
        Kind::List(items) => *items,
        _ => vec![source],
    };
    for source in sources {
        let Kind::Map(entries) = source.kind else {
            let message = "`<<` takes a map, or a list of maps, to copy keys from";
            let label = "this is neither";
            problems.push(
                Problem::error("P0109", message, source.span, label)
                    .also(place.clone(), "")
                    .help("write `<<: *name`, and `&name` before the map whose keys it copies"),
            );
            continue;
        };
        for (key, entry) in *entries {
            map.entry(key).or_insert(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 48);
    }

    fn one(text: &str) -> Node {
        let (mut documents, problems) = parse(text);
        assert_eq!(problems.in_order(), []);
        assert_eq!(documents.len(), 1);
        documents.remove(0).root
    }

    fn codes(text: &str) -> Vec<&'static str> {
        parse(text).1.in_order().iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn spans_are_the_bytes_of_the_token() {
        let text = "\u{feff}name: \"ж\u{1f600}\" # c\r\nitems:\r\n- a\r\n- 8080:80\r\n";
        let root = one(text);
        assert_eq!(&text[root.get("name").unwrap().span.clone()], "\"ж\u{1f600}\"");
        let item = root.get("items").unwrap().item(1).unwrap();
        assert_eq!((&text[item.span.clone()], item.text()), ("8080:80", Some("8080:80")));
        assert_eq!(&text[root.entry("items").unwrap().key.clone()], "items");
    }

    #[test]
    fn yaml_1_2_has_few_booleans_and_no_sexagesimals() {
        let root = one("[no, on, yes, 8080:80, true, 1.10, 0x10, 0644, ~, '', '1']");
        let nouns: Vec<_> = (0..11).map(|i| root.item(i).unwrap().noun()).collect();
        let (s, n) = ("a string", "a number");
        assert_eq!(nouns, [s, s, s, s, "a boolean", n, n, n, "nothing", s, s]);
    }

    #[test]
    fn merge_keys_never_win_over_own_keys() {
        let root = one("x-a: &a {k: 1, l: 2}\nx-b: &b {k: 3, m: 4}\nc:\n  <<: [*a, *b]\n  l: 9\n");
        let c = root.get("c").unwrap();
        let value = |key| c.get(key).and_then(Node::text);
        assert_eq!((value("k"), value("l"), value("m")), (Some("1"), Some("9"), Some("4")));
        assert!(c.get("<<").is_none());
    }

    #[test]
    fn bombs_and_depth_end_early() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let item = format!("*a{}", level - 1);
            laughs.push_str(&format!("a{level}: &a{level} [{}]\n", [item.as_str(); 9].join(", ")));
        }
        assert_eq!(codes(&laughs), ["P0104"]);
        assert_eq!(codes(&"[".repeat(100_000)).len(), 1);
        assert_eq!(codes(&"- ".repeat(100_000)).len(), 1);
        let mut deep = String::from("a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n");
        for level in 1..20 {
            deep.push_str(&format!("a{level}: &a{level} [[[[[[*a{}]]]]]]\n", level - 1));
        }
        assert_eq!(codes(&deep), ["P0103"]);
        assert_eq!(codes("a: &a [*a]"), ["P0105"]);
    }

    #[test]
    fn duplicate_keys_label_both_places() {
        let text = "name: a\nname: b\n";
        let problems = parse(text).1.in_order();
        assert_eq!(problems[0].labels[0].0, 8..12);
        assert_eq!(problems[0].labels[1].0, 0..4);
    }

    #[test]
    fn a_broken_document_keeps_what_came_before() {
        let (documents, problems) = parse("name: shop\ncontainers:\n  web: [\n");
        assert_eq!(problems.len(), 1);
        assert_eq!(documents[0].broken, Some(30));
        assert_eq!(documents[0].root.get("name").and_then(Node::text), Some("shop"));
        assert_eq!(parse("---\nname: a\n---\nname: b\n").0.len(), 2);
    }

    #[test]
    fn tags_are_refused_but_str() {
        assert_eq!(codes("a: !secret x"), ["P0106"]);
        let root = one("a: !!str 5");
        assert_eq!(root.get("a").unwrap().noun(), "a string");
    }
}
