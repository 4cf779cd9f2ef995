//! Probes and hooks of a container: their values, as far as the file alone can tell.

use super::problem::Problem;
use super::quantity;
use super::raw::{Hook, HttpProbe, Probe, RawContainer, Span};
use super::tree::Node;
use super::validate::Checks;

/// Checks every probe and hook of a container.
pub(super) fn check(raw: &RawContainer, node: &Node, checks: &mut Checks<'_>) {
    for (key, probe) in [
        ("startupProbe", &raw.startup_probe),
        ("readinessProbe", &raw.readiness_probe),
        ("livenessProbe", &raw.liveness_probe),
    ] {
        if let (Some(probe), Some(place)) = (probe, node.get(key)) {
            self::probe(key, probe, place, checks);
        }
    }
    let hooks = raw.lifecycle.as_ref();
    for (key, hook) in [
        ("postStart", hooks.and_then(|hooks| hooks.post_start.as_ref())),
        ("preStop", hooks.and_then(|hooks| hooks.pre_stop.as_ref())),
    ] {
        let place = node.get("lifecycle").and_then(|lifecycle| lifecycle.get(key));
        if let (Some(Hook { http, .. }), Some(place)) = (hook, place) {
            one_of(key, &["exec", "http"], place, checks);
            path(http.as_ref(), place, checks);
        }
    }
}

fn probe(key: &str, probe: &Probe, node: &Node, checks: &mut Checks<'_>) {
    one_of(key, &["exec", "http", "tcp", "log", "file", "notify"], node, checks);
    path(probe.http.as_ref(), node, checks);
    let spans: [(&str, &Option<Span>); 3] = [
        ("initialDelay", &probe.initial_delay),
        ("interval", &probe.interval),
        ("timeout", &probe.timeout),
    ];
    for (key, span) in spans {
        if let (Some(span), Some(place)) = (span, node.get(key)) {
            checks.quantity("P0410", quantity::duration(&span.0), place.span.clone());
        }
    }
}

/// Exactly one of the kinds stands here.
fn one_of(key: &str, kinds: &[&str], node: &Node, checks: &mut Checks<'_>) {
    if kinds.iter().any(|kind| node.has_lost(kind)) {
        return;
    }
    let found: Vec<_> = kinds.iter().filter_map(|kind| Some((kind, node.entry(kind)?))).collect();
    match found.as_slice() {
        [_] => {}
        [] => {
            let message = format!("`{key}` does not say what is to be done");
            let problem =
                Problem::error("P0480", message, node.head(), "none of its kinds is here");
            checks.report(problem.help(format!("one of: {}", kinds.join(", "))));
        }
        [(one, first), (two, second), ..] => {
            let message = format!("`{key}` is of one kind, and this is `{one}` and `{two}`");
            let problem = Problem::error("P0480", message, second.key.clone(), "this or");
            checks.report(problem.also(first.key.clone(), "that").help("take one of them away"));
        }
    }
}

fn path(http: Option<&HttpProbe>, node: &Node, checks: &mut Checks<'_>) {
    let place = node.get("http").and_then(|http| http.get("path"));
    if let (Some(word), Some(place)) = (http.and_then(|http| http.path.as_ref()), place)
        && !word.starts_with('/')
    {
        let message = format!("`{word}` is not the path of a request");
        let problem = Problem::error("P0481", message, place.span.clone(), "no `/` at its head");
        checks.report(problem.help(format!("write `/{word}`")));
    }
}
