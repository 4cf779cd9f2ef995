//! `image` of a container: the word to a reference, or what is wrong with which part of it.

use super::interpolate;
use super::model::{Image, PullPolicy};
use super::problem::{Edit, Problem};
use super::raw::{self, RawContainer, Text};
use super::tree::Node;
use super::validate::Checks;
use crate::names::image::{ImageReference, ReferenceError, Why};
use std::ops::Range;

/// The image of a container, with what of it the file replaces.
pub(super) fn image(
    word: &str,
    raw: &RawContainer,
    place: &Range<usize>,
    checks: &mut Checks<'_>,
) -> Option<Image> {
    let words = |list: &Vec<Text>| list.iter().map(|word| word.0.clone()).collect::<Vec<String>>();
    Some(Image {
        reference: reference(word, place, checks)?,
        pull: match raw.pull_policy {
            None | Some(raw::PullPolicy::Missing) => PullPolicy::Missing,
            Some(raw::PullPolicy::Always) => PullPolicy::Always,
            Some(raw::PullPolicy::Never) => PullPolicy::Never,
        },
        // An empty list is as none, as in Kubernetes.
        command: raw.command.as_ref().map(words).filter(|list| !list.is_empty()),
        args: raw.args.as_ref().map(words).filter(|list| !list.is_empty()),
        working_dir: raw.working_dir.is_some(),
        user: raw.user.is_some(),
        stop_signal: raw.stop_signal.is_some(),
    })
}

/// A directory is never pulled.
pub(super) fn refuse_policy(word: &str, raw: &RawContainer, node: &Node, checks: &mut Checks<'_>) {
    if let (Some(entry), Some(_)) = (node.entry("pullPolicy"), &raw.rootfs) {
        let message = format!("`{word}` has a `pullPolicy`, but its root is no image");
        let place = entry.key.clone();
        checks.report(
            Problem::error("P0491", message, place, "nothing to pull")
                .help("remove `pullPolicy`, or write `image: NAME` for `rootfs`"),
        );
    }
}

/// The reference, its path absolute.
fn reference(word: &str, place: &Range<usize>, checks: &mut Checks<'_>) -> Option<ImageReference> {
    match word.parse::<ImageReference>() {
        Ok(reference) => Some(reference.below(&checks.context.base)),
        Err(error) => {
            report(word, &error, place, checks);
            None
        }
    }
}

fn report(word: &str, error: &ReferenceError, place: &Range<usize>, checks: &mut Checks<'_>) {
    let shown: String = word.chars().filter(|c| !c.is_control()).take(80).collect();
    let message = format!("`{shown}` is not the name of an image");
    if let Some(braced) = interpolate::with_braces(word) {
        let problem = Problem::error("P0490", message, place.clone(), "a variable without braces");
        return checks.report(problem.help(format!("write `{braced}`")));
    }
    let fixed = fixed(word, error);
    let problem =
        Problem::error("P0490", message, token(word, error, place, checks), error.why.to_string())
            .help(help(&error.why, fixed.as_deref()));
    let edit = fixed.and_then(|new| Edit::of_word(checks.text, place, word, &new));
    checks.report(problem.maybe_fix(edit));
}

/// The part of the word, where the file has the word as it is; else the whole value.
fn token(
    word: &str,
    error: &ReferenceError,
    place: &Range<usize>,
    checks: &Checks<'_>,
) -> Range<usize> {
    let source = checks.text.get(place.clone()).unwrap_or_default();
    match source.find(word) {
        Some(at) if !error.at.is_empty() => {
            let start = place.start + at;
            start + error.at.start..start + error.at.end
        }
        _ => place.clone(),
    }
}

/// What was surely meant.
fn fixed(word: &str, error: &ReferenceError) -> Option<String> {
    let new = match &error.why {
        Why::UpperCase => {
            let small = word[error.at.clone()].to_lowercase();
            format!("{}{small}{}", &word[..error.at.start], &word[error.at.end..])
        }
        Why::Scheme(_) => word[error.at.end..].to_owned(),
        Why::EmptyTag => word.trim_end_matches(':').to_owned(),
        _ => return None,
    };
    new.parse::<ImageReference>().is_ok().then_some(new)
}

fn help(why: &Why, fixed: Option<&str>) -> String {
    match (fixed, why) {
        (Some(fixed), _) => format!("write `{fixed}`"),
        (None, Why::NoPath(prefix)) => format!("write `{prefix}./path` or `{prefix}./path:tag`"),
        (None, Why::Digest(_)) => {
            "write `name@sha256:` and 64 hexadecimal digits, as `podspec images --digests` shows them".to_owned()
        }
        _ => "write `name`, `name:tag`, `registry.example/name:tag` or `oci:./directory`".to_owned(),
    }
}
