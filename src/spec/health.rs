//! Probes and hooks of a container: the file's to the model's, with every default, and what can be wrong with
//! them as far as the file alone can tell.

use super::model::{Check, Lifecycle, Probe, Probes, Request};
use super::problem::{Edit, Problem};
use super::quantity;
use super::raw::{self, HttpProbe, RawContainer, Scheme, Span, Text};
use super::tree::Node;
use super::validate::Checks;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(1);
const FAILURES: u32 = 3;
/// More than a regular expression of a line needs; one of `a{1000}{1000}` would take all memory.
const LARGEST_PATTERN: usize = 1 << 20;

const PROBE_KINDS: [&str; 6] = ["exec", "http", "tcp", "log", "file", "notify"];

/// Every probe of a container.
pub(super) fn probes(raw: &RawContainer, node: &Node, checks: &mut Checks<'_>) -> Probes {
    let mut one = |key: &'static str, probe: &Option<Box<raw::Probe>>| {
        let (probe, place) = probe.as_deref().zip(node.get(key))?;
        build(key, probe, place, checks)
    };
    Probes {
        startup: one("startupProbe", &raw.startup_probe),
        readiness: one("readinessProbe", &raw.readiness_probe),
        liveness: one("livenessProbe", &raw.liveness_probe),
    }
}

pub(super) fn lifecycle(raw: &RawContainer, node: &Node, checks: &mut Checks<'_>) -> Lifecycle {
    let hooks = raw.lifecycle.as_deref();
    let mut one = |key: &'static str, hook: Option<&raw::Hook>| {
        let place = node.get("lifecycle").and_then(|lifecycle| lifecycle.get(key));
        let (hook, place) = hook.zip(place)?;
        if !one_of(key, &["exec", "http"], place, checks) {
            return None;
        }
        match (&hook.exec, &hook.http) {
            (Some(argv), _) => exec(argv, place, checks),
            (None, Some(request)) => http(request, place, checks),
            (None, None) => None,
        }
    };
    Lifecycle {
        post_start: one("postStart", hooks.and_then(|hooks| hooks.post_start.as_ref())),
        pre_stop: one("preStop", hooks.and_then(|hooks| hooks.pre_stop.as_ref())),
    }
}

/// An init container ends before anybody could ask it anything.
pub(super) fn refuse_of_init(word: &str, node: &Node, checks: &mut Checks<'_>) {
    for key in ["startupProbe", "readinessProbe", "livenessProbe", "lifecycle"] {
        let Some(entry) = node.entry(key) else { continue };
        let message = format!("`{word}` is an init container, and has `{key}`");
        let label = "runs to its end before others begin";
        let problem = Problem::error("P0565", message, entry.key.clone(), label);
        checks.report(problem.help("remove it, or make it a sidecar with `restart: always`"));
    }
}

fn build(key: &str, raw: &raw::Probe, node: &Node, checks: &mut Checks<'_>) -> Option<Probe> {
    let check = one_of(key, &PROBE_KINDS, node, checks).then(|| kind(raw, node, checks)).flatten();
    let initial_delay =
        span("initialDelay", raw.initial_delay.as_ref(), Duration::ZERO, node, checks);
    let interval = positive("interval", raw.interval.as_ref(), INTERVAL, node, checks);
    let timeout = positive("timeout", raw.timeout.as_ref(), TIMEOUT, node, checks);
    let successes = raw.success_threshold.unwrap_or(1);
    if let (true, Some(place)) =
        (key == "livenessProbe" && successes > 1, node.get("successThreshold"))
    {
        let message = "a liveness probe has `successThreshold: 1`";
        let label = "one success is enough to live";
        let problem = Problem::error("P0563", message, place.span.clone(), label);
        checks.report(problem.help("remove it: what counts here is `failureThreshold`"));
    }
    Some(Probe {
        check: check?,
        initial_delay: initial_delay?,
        interval: interval?,
        timeout: timeout?,
        successes,
        failures: raw.failure_threshold.unwrap_or(FAILURES),
    })
}

fn kind(raw: &raw::Probe, node: &Node, checks: &mut Checks<'_>) -> Option<Check> {
    let raw::Probe { exec: argv, http: request, tcp, log, file, .. } = raw;
    if let Some(argv) = argv {
        return exec(argv, node, checks);
    }
    if let Some(request) = request {
        return http(request, node, checks);
    }
    if let Some(port) = tcp {
        return Some(Check::Tcp(*port));
    }
    if let Some(word) = log {
        return pattern(word, node.get("log")?, checks).then(|| Check::Log(word.clone()));
    }
    if let Some(word) = file {
        return absolute(word, node.get("file")?, checks).map(Check::File);
    }
    raw.notify.filter(|notify| *notify).map(|_| Check::Notify)
}

fn exec(argv: &[Text], node: &Node, checks: &mut Checks<'_>) -> Option<Check> {
    let list = node.get("exec")?;
    if argv.first().is_none_or(|word| word.0.is_empty()) && list.lost.is_empty() {
        let message = "the program has an empty name";
        let place = list.item(0).map_or_else(|| list.span.clone(), |item| item.span.clone());
        let problem = Problem::error("P0407", message, place, "here");
        checks.report(problem.help(
            "the first item is the program in the container, such as `exec: [/bin/check, --fast]`",
        ));
        return None;
    }
    Some(Check::Exec(argv.iter().map(|word| word.0.clone()).collect()))
}

fn http(raw: &HttpProbe, node: &Node, checks: &mut Checks<'_>) -> Option<Check> {
    let node = node.get("http")?;
    let at = |key: &str| node.get(key).map_or_else(|| node.head(), |value| value.span.clone());
    let path = raw.path.clone().unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') {
        let message = format!("the path of a request begins with `/`, and `{path}` does not");
        let (problem, place) = (Problem::error("P0481", message, at("path"), "no `/`"), at("path"));
        let edit = Edit::of_word(checks.text, &place, &path, &format!("/{path}"));
        checks.report(problem.help(format!("write `/{path}`")).maybe_fix(edit));
    } else if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
        let help = "write what is special as in a URL: `%20` is a space";
        cannot_stand("a path of a request", at("path"), help, checks);
    }
    let mut headers = indexmap::IndexMap::new();
    for (name, value) in raw.headers.iter().flatten() {
        let entry = node.get("headers").and_then(|all| all.entry(name));
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            let place = entry.map_or_else(|| node.head(), |entry| entry.key.clone());
            let help = "write letters, digits and `-`, such as `Host`";
            cannot_stand("the name of a header", place, help, checks);
        } else if value.0.bytes().any(|b| b < b' ' && b != b'\t' || b == 0x7f) {
            let place = entry.map_or_else(|| node.head(), |entry| entry.value.span.clone());
            cannot_stand("the value of a header", place, "write it in one line", checks);
        }
        headers.insert(name.clone(), value.0.clone());
    }
    let tls = raw.scheme == Some(Scheme::Https);
    Some(Check::Http(Request { port: raw.port, path, tls, headers, status: raw.status }))
}

fn cannot_stand(what: &str, place: Range<usize>, help: &str, checks: &mut Checks<'_>) {
    let message = format!("this cannot be {what}");
    checks.report(Problem::error("P0564", message, place, "here").help(help));
}

/// Whether the expression is one, told at the place inside the text where it is not.
fn pattern(word: &str, node: &Node, checks: &mut Checks<'_>) -> bool {
    // Over bytes, as lines come: they may be no UTF-8.
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let Err(error) = parser.parse(word) else {
        let mut builder = regex::bytes::RegexBuilder::new(word);
        let built = builder.unicode(false).size_limit(LARGEST_PATTERN).build();
        if built.is_err() {
            let message = "this regular expression needs more than 1 MiB of memory";
            let problem = Problem::error("P0560", message, node.span.clone(), "here");
            checks.report(problem.help("write smaller counts between `{` and `}`"));
        }
        return built.is_ok();
    };
    let (span, what) = match &error {
        regex_syntax::Error::Parse(error) => (error.span(), error.kind().to_string()),
        regex_syntax::Error::Translate(error) => (error.span(), error.kind().to_string()),
        _ => return true,
    };
    let place = within(checks.text, &node.span, word, span.start.offset..span.end.offset);
    let message = format!("`{word}` is no regular expression: {what}");
    let problem = Problem::error("P0560", message, place, "here");
    let help = if what.starts_with("Unicode") {
        "write the characters themselves, in `[ ]`: classes of Unicode are not known here"
    } else {
        "write a backslash before a special character that means itself: `.` `*` `+` `?` `(` `[` `{` `|` `^` `$` `\\`"
    };
    checks.report(problem.help(help));
    false
}

/// The part of a scalar that this part of its value stands in, where its source is the value.
fn within(text: &str, scalar: &Range<usize>, value: &str, part: Range<usize>) -> Range<usize> {
    let source = text.get(scalar.clone()).unwrap_or_default();
    match source.find(value) {
        Some(begin) if part.start < value.len() => {
            let begin = scalar.start + begin;
            let end = part.end.max(part.start + 1).min(value.len());
            begin + part.start..begin + end
        }
        _ => scalar.clone(),
    }
}

fn absolute(word: &str, node: &Node, checks: &mut Checks<'_>) -> Option<PathBuf> {
    if word.starts_with('/') {
        return checks.one_line(word, &node.span).then(|| Path::new(word).to_owned());
    }
    let message = format!("`{word}` is not an absolute path");
    let problem = Problem::error("P0562", message, node.span.clone(), "inside the container");
    checks.report(problem.help(format!("write `/{}`", word.trim_start_matches("./"))));
    None
}

fn span(
    key: &str,
    raw: Option<&Span>,
    default: Duration,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Duration> {
    match (raw, node.get(key)) {
        (Some(span), Some(place)) => {
            checks.quantity("P0410", quantity::duration(&span.0), place.span.clone())
        }
        _ => Some(default),
    }
}

/// A time above zero; `default` where the file is silent.
pub(super) fn positive(
    key: &str,
    raw: Option<&Span>,
    default: Duration,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Duration> {
    let span = span(key, raw, default, node, checks)?;
    if span.is_zero() {
        let place = node.get(key).map_or_else(|| node.head(), |place| place.span.clone());
        let problem = Problem::error("P0561", format!("`{key}` is no time at all"), place, "here");
        checks.report(
            problem.help(format!("write a time above 0s, such as `{default:?}`, the default")),
        );
        return None;
    }
    Some(span)
}

/// Exactly one of the kinds stands here.
fn one_of(key: &str, kinds: &[&str], node: &Node, checks: &mut Checks<'_>) -> bool {
    if kinds.iter().any(|kind| node.has_lost(kind)) {
        return false;
    }
    // `notify: false` is none.
    let is_there = |kind: &&str| match node.get(kind) {
        Some(value) => *kind != "notify" || value.boolean() != Some(false),
        None => false,
    };
    let mut found: Vec<_> = kinds
        .iter()
        .filter(|kind| is_there(kind))
        .filter_map(|kind| Some((kind, node.entry(kind)?)))
        .collect();
    found.sort_by_key(|(_, entry)| entry.key.start);
    match found.as_slice() {
        [_] => return true,
        [] => {
            let is_probe = kinds.len() == PROBE_KINDS.len();
            let message =
                format!("`{key}` does not say what to {}", if is_probe { "ask" } else { "do" });
            let label = format!("none of {}", kinds.join(", "));
            let problem = Problem::error("P0480", message, node.head(), label);
            checks.report(problem.help(if is_probe {
                "write what to ask, such as `tcp: 8080`, `http: { port: 8080 }` or `exec: [PROGRAM]`"
            } else {
                "write what to do: `exec: [PROGRAM]` or `http: { port: 8080 }`"
            }));
        }
        [(one, first), (two, second), ..] => {
            let message = format!("`{key}` has both `{one}` and `{two}`, and does one thing");
            let problem = Problem::error("P0480", message, second.key.clone(), "a second thing");
            let help = format!("remove `{two}`, or remove `{one}`");
            checks.report(problem.also(first.key.clone(), "the first").help(help));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_inside_a_text_is_found_where_the_text_is_as_written() {
        let text = "log: 'a(b'";
        assert_eq!(within(text, &(5..10), "a(b", 1..2), 7..8);
        // An escape stands between: the whole is shown.
        assert_eq!(within("log: \"a\\tb(\"", &(5..12), "a\tb(", 3..4), 5..12);
        // At its very end there is nothing to show.
        assert_eq!(within(text, &(5..10), "a(b", 3..3), 5..10);
    }
}
