//! `runtime`: what runs a container, podspec's own runtime or another one of the machine.

use super::model::Runtime;
use super::problem::{Problem, surely};
use super::raw::RawContainer;
use super::tree::Node;
use super::validate::Checks;
use super::volume;
use super::words::RUNTIMES;
use std::ops::Range;

/// podspec's own.
const EMBEDDED: &str = "embedded";

/// Of a pod or a container; None where it is podspec's own, or where nothing usable is said.
pub(super) fn runtime(
    word: Option<&String>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Runtime> {
    let (word, place) = word.zip(node.get("runtime"))?;
    if word == EMBEDDED {
        return None;
    }
    if word.contains('/') {
        return volume::host_path(word, &place.span, checks).map(Runtime::At);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    if !word.chars().all(is_plain) || !word.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let message = match word.as_str() {
            "" => "the runtime has an empty name".to_owned(),
            word => format!("`{word}` is no name of a runtime"),
        };
        let problem = Problem::error("P0492", message, place.span.clone(), "here");
        let words = RUNTIMES.iter().map(|(word, _)| *word);
        let known = word.split_whitespace().next().and_then(|word| surely(word, words));
        checks.report(problem.help(match known {
            Some(known) => format!("write `{known}`: a runtime takes no arguments here"),
            None => "write the name of a program, such as `crun`, or its path".to_owned(),
        }));
        return None;
    }
    Some(Runtime::Named(word.clone()))
}

/// The reaper is a part of podspec's own runtime.
pub(super) fn refuse_reaper(
    runtime: Option<&Runtime>,
    raw: &RawContainer,
    place: Range<usize>,
    checks: &mut Checks<'_>,
) {
    if let (Some(runtime), Some(true)) = (runtime, raw.init) {
        let message = format!("`init: true` is podspec's own, and `{runtime}` runs this container");
        let problem = Problem::error("P0493", message, place, "only with podspec's runtime");
        checks.report(problem.help(
            "write `runtime: embedded`; or remove `init`, and let `command` begin with an init \
             program that is in the root, such as `tini`",
        ));
    }
}
