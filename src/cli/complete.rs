//! What could stand next on a command line, for the shells' completion scripts: `podspec __complete WORD…`
//! prints a candidate a line, with a tab and what it is. Silent where anything is wrong: it runs at each
//! press of a key. `completions.rs` has the scripts.

use super::target::{self, TargetArg};
use super::{help, output, unused};
use crate::image::Store as ImageStore;
use crate::names::{ContainerName, PodName};
use crate::state::record::PodRecord;
use crate::state::store::Store;
use clap::{Arg, Command};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The hidden word that asks for candidates.
pub(super) const ARGUMENT: &str = "__complete";

/// One thing that could stand next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    value: String,
    what: String,
}

fn candidate(value: impl Into<String>, what: impl Into<String>) -> Candidate {
    Candidate { value: value.into(), what: what.into() }
}

/// Where live names come from.
trait Names {
    fn pods(&self) -> Vec<PodName>;
    fn record(&self, pod: &PodName) -> Option<PodRecord>;
    /// The pod of ./pod.yaml.
    fn here(&self) -> Option<PodName>;
    fn volumes(&self) -> Vec<String>;
    fn images(&self) -> Vec<String>;
}

impl Names for Store {
    fn pods(&self) -> Vec<PodName> {
        Self::pods(self).unwrap_or_default()
    }

    fn record(&self, pod: &PodName) -> Option<PodRecord> {
        self.pod(pod).read_record().ok()?
    }

    fn here(&self) -> Option<PodName> {
        let whole: TargetArg = "/".parse().ok()?;
        target::one(Some(&whole)).ok().map(|target| target.pod)
    }

    fn volumes(&self) -> Vec<String> {
        let volumes = unused::volumes(self).unwrap_or_default();
        volumes.iter().map(ToString::to_string).collect()
    }

    fn images(&self) -> Vec<String> {
        let images = ImageStore::open(&self.data).images().unwrap_or_default();
        images.iter().map(|image| image.reference.to_string()).collect()
    }
}

/// Prints what could stand in the place of the last of this program's words.
pub(super) fn run() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
    let mut command = help::command();
    command.build();
    let mut text = String::new();
    for Candidate { value, what } in candidates(&command, &words, &store(&command, &words)) {
        text.push_str(&format!("{value}\t{}\n", output::sanitize(&what).replace('\t', " ")));
    }
    // A shell that has gone away needs no candidates.
    let _ = output::raw(text.as_bytes());
    ExitCode::SUCCESS
}

/// Where podspec's state is, as the words say.
fn store(command: &Command, words: &[String]) -> Store {
    let given = |option: &str| {
        let with = format!("--{option}=");
        let mut values = words.windows(2).filter(|pair| pair[0] == format!("--{option}"));
        let joined = words.iter().find_map(|word| word.strip_prefix(&with).map(str::to_owned));
        values.next().map(|pair| pair[1].clone()).or(joined)
    };
    let usual = |option: &str| {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(option))?;
        arg.get_default_values().first()?.to_str().map(str::to_owned)
    };
    let path = |option| given(option).or_else(|| usual(option)).map(PathBuf::from);
    Store { run: path("run").unwrap_or_default(), data: path("root").unwrap_or_default() }
}

/// What the words before the cursor have come to.
struct Line<'c> {
    command: &'c Command,
    /// The option whose value comes next.
    awaits: Option<&'c Arg>,
    /// How many words stand where no option does.
    position: usize,
    /// After `--`, or in a command that is passed on: no options any more.
    plain: bool,
    given: Vec<&'c str>,
}

/// What could stand in the place of the last word; `command` is built.
fn candidates(command: &Command, words: &[String], names: &dyn Names) -> Vec<Candidate> {
    let Some((current, before)) = words.split_last() else { return Vec::new() };
    let mut line = Line { command, awaits: None, position: 0, plain: false, given: Vec::new() };
    before.iter().for_each(|word| line.take(word));
    let mut found = line.next(current, names);
    found.retain(|candidate| candidate.value.starts_with(current));
    found
}

impl<'c> Line<'c> {
    fn take(&mut self, word: &str) {
        if self.awaits.is_some() {
            self.awaits = None;
        } else if self.plain {
            self.position += 1;
        } else if word == "--" {
            self.plain = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, has_value) = match long.split_once('=') {
                Some((name, _)) => (name, true),
                None => (long, false),
            };
            let option = self.command.get_arguments().find(|arg| arg.get_long() == Some(name));
            self.given.extend(option.and_then(Arg::get_long));
            self.awaits = option.filter(|arg| takes_value(arg) && !has_value);
        } else if let Some(shorts) = word.strip_prefix('-').filter(|shorts| !shorts.is_empty()) {
            self.take_shorts(shorts);
        } else if let Some(command) = self.command.find_subcommand(word) {
            self.command = command;
            self.position = 0;
        } else {
            let passes_on = self.positional().is_some_and(Arg::is_trailing_var_arg_set);
            self.plain |= passes_on;
            self.position += 1;
        }
    }

    fn take_shorts(&mut self, shorts: &str) {
        for (at, short) in shorts.char_indices() {
            let option = self.command.get_arguments().find(|arg| arg.get_short() == Some(short));
            self.given.extend(option.and_then(Arg::get_long));
            if let Some(option) = option.filter(|arg| takes_value(arg)) {
                let is_last = at + short.len_utf8() == shorts.len();
                self.awaits = Some(option).filter(|_| is_last);
                return;
            }
        }
    }

    /// What stands at this position; the last one may take many words.
    fn positional(&self) -> Option<&'c Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let last = all
            .last()
            .copied()
            .filter(|arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1));
        all.get(self.position).copied().or(last)
    }

    fn next(&self, current: &str, names: &dyn Names) -> Vec<Candidate> {
        if let Some(option) = self.awaits {
            return values(option, current, names);
        }
        if !self.plain && current.starts_with('-') {
            return self.options(current, names);
        }
        let commands = self.command.get_subcommands().filter(|command| !command.is_hide_set());
        let commands = commands
            .filter(|_| !self.plain)
            .map(|command| candidate(command.get_name(), first_line(command.get_about())));
        let here = self.positional().map(|arg| values(arg, current, names));
        commands.chain(here.unwrap_or_default()).collect()
    }

    fn options(&self, current: &str, names: &dyn Names) -> Vec<Candidate> {
        if let Some((name, value)) = current.split_once('=') {
            let long = name.trim_start_matches('-');
            let option = self.command.get_arguments().find(|arg| arg.get_long() == Some(long));
            let found = option.map(|option| values(option, value, names)).unwrap_or_default();
            let joined = |one: Candidate| candidate(format!("{name}={}", one.value), one.what);
            return found.into_iter().map(joined).collect();
        }
        let shown = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let again = shown.filter(|arg| arg.get_long().is_none_or(|l| !self.given.contains(&l)));
        again
            .filter_map(|arg| {
                Some(candidate(format!("--{}", arg.get_long()?), first_line(arg.get_help())))
            })
            .collect()
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_num_args().is_some_and(|range| range.takes_values())
}

fn first_line(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(|text| text.to_string().lines().next().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// What the value of an argument could be, by what its help calls it.
fn values(arg: &Arg, current: &str, names: &dyn Names) -> Vec<Candidate> {
    let fixed: Vec<Candidate> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| candidate(value.get_name(), first_line(value.get_help())))
        .collect();
    if takes_value(arg) && !fixed.is_empty() {
        return fixed;
    }
    let called = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name);
    match called {
        "POD[/CONTAINER]" => targets(current, names),
        "POD/VOLUME" => names.volumes().into_iter().map(|name| candidate(name, "volume")).collect(),
        "IMAGE" => images(names),
        "IMAGE|FILE" => images(names).into_iter().chain(files(current, is_pod_file)).collect(),
        "FILE|POD" => pods(names).into_iter().chain(files(current, is_pod_file)).collect(),
        "FILE" => files(current, is_pod_file),
        "PATH" => files(current, |_| true),
        "DIR" => files(current, |_| false),
        "SRC" | "DST" => places(current, names),
        "SIGNAL" => ["TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT"]
            .map(|signal| candidate(signal, "signal"))
            .into(),
        _ => Vec::new(),
    }
}

fn pods(names: &dyn Names) -> Vec<Candidate> {
    let status = |pod: &PodName| names.record(pod).map_or("", |record| record.status.word());
    names.pods().iter().map(|pod| candidate(pod.as_str(), format!("pod {}", status(pod)))).collect()
}

fn images(names: &dyn Names) -> Vec<Candidate> {
    names.images().into_iter().map(|name| candidate(name, "image")).collect()
}

/// Pods; and containers where it is clear of which pod.
fn targets(current: &str, names: &dyn Names) -> Vec<Candidate> {
    if let Some((pod, _)) = current.split_once('/') {
        let named = if pod.is_empty() { names.here() } else { pod.parse().ok() };
        return named.map(|named| containers(pod, &named, names)).unwrap_or_default();
    }
    let mut found = pods(names);
    found.retain(|pod| pod.value.starts_with(current));
    if let [only] = found.as_slice()
        && let Ok(pod) = only.value.parse()
    {
        found.extend(containers(&only.value.clone(), &pod, names));
    }
    found
}

/// Files here, and containers; what is in these is not looked at. A pod leads on to its containers.
fn places(current: &str, names: &dyn Names) -> Vec<Candidate> {
    let mut found = targets(current, names);
    for Candidate { value, .. } in &mut found {
        value.push(if value.contains('/') { ':' } else { '/' });
    }
    found.extend(files(current, |_| true));
    found
}

/// `prefix` is the pod as the user writes it.
fn containers(prefix: &str, pod: &PodName, names: &dyn Names) -> Vec<Candidate> {
    let containers = names.record(pod).map(|record| record.containers).unwrap_or_default();
    let of = |name: &ContainerName| format!("{prefix}/{name}");
    containers
        .iter()
        .map(|c| candidate(of(&c.name), format!("container {}", c.status.word())))
        .collect()
}

fn is_pod_file(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

/// Directories, and the files that are wanted, as the user has begun to write them.
fn files(current: &str, wanted: impl Fn(&str) -> bool) -> Vec<Candidate> {
    let (directory, begun) = match current.rsplit_once('/') {
        Some((directory, begun)) => (format!("{directory}/"), begun),
        None => (String::new(), current),
    };
    let at = if directory.is_empty() { Path::new(".") } else { Path::new(&directory) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // As ls(1), and every shell, has it; and a name that would be two lines is none.
        if (name.starts_with('.') && !begun.starts_with('.')) || name.contains(char::is_control) {
            continue;
        }
        if entry.path().is_dir() {
            found.push(candidate(format!("{directory}{name}/"), "directory"));
        } else if wanted(&name) {
            found.push(candidate(format!("{directory}{name}"), "file"));
        }
    }
    found.sort();
    found
}
