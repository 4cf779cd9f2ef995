//! Probes, hooks and limits of a container: their values, as far as the file alone can tell.

use super::problem::Problem;
use super::quantity;
use super::raw::{Hook, HttpProbe, Probe, RawContainer, Resources, Span};
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

/// Checks the limits of a container or of a pod.
pub(super) fn resources(raw: Option<&Resources>, node: &Node, checks: &mut Checks<'_>) {
    let (Some(raw), Some(node)) = (raw, node.get("resources")) else { return };
    let memory = match (&raw.memory, node.get("memory")) {
        (Some(size), Some(place)) => {
            checks.quantity("P0411", quantity::size(&size.0), place.span.clone())
        }
        _ => None,
    };
    if let (Some(size), Some(place)) = (&raw.memory_swap, node.get("memorySwap"))
        && size.0 != "-1"
    {
        let swap = checks.quantity("P0411", quantity::size(&size.0), place.span.clone());
        if let (Some(swap), Some(memory), Some(first)) = (swap, memory, node.get("memory"))
            && swap < memory
        {
            let message = "`memorySwap` is memory and swap together, and this is less than memory";
            let problem = Problem::error("P0482", message, place.span.clone(), "less than");
            checks.report(
                problem
                    .also(first.span.clone(), "this")
                    .help("write as much as `memory` for no swap, or -1 for any"),
            );
        }
    }
    if let (Some(cpus), Some(place)) = (raw.cpus, node.get("cpus"))
        && !(cpus > 0.0 && cpus.is_finite())
    {
        let message = format!("`cpus` is a number above 0, and this is {cpus}");
        let problem = Problem::error("P0483", message, place.span.clone(), "here");
        checks.report(problem.help("`0.5` is half of one processor, `2` are two"));
    }
    if let (Some(set), Some(place)) = (&raw.cpuset, node.get("cpuset"))
        && !is_cpuset(&set.0)
    {
        let message = format!("`{}` is no list of processors", set.0);
        let problem = Problem::error("P0484", message, place.span.clone(), "here");
        checks.report(problem.help("numbers and ranges between commas, such as `0-2,4`"));
    }
}

fn is_cpuset(word: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    word.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => {
            number(first).zip(number(last)).is_some_and(|(first, last)| first <= last)
        }
        None => number(part).is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert!(["0", "0-2,4", "7,1-1"].iter().all(|word| is_cpuset(word)));
        assert!(["", "a", "2-0", "1,,2", "-1", "1-", "+1"].iter().all(|word| !is_cpuset(word)));
    }
}
