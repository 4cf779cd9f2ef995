//! The command line as clap sees it, and the first page of its help: commands by what they are about.

use super::Cli;
use clap::{Command, CommandFactory};
use std::ffi::OsString;
use std::fmt::Write;

/// Heads the examples of the first page.
pub(super) const FIRST_POD: &str = "A first pod:";

/// Every command stands in one of these, in the order in which a new user meets them.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Pods",
        &[
            "up", "down", "ps", "inspect", "start", "stop", "restart", "kill", "wait", "events",
            "analyze", "port",
        ],
    ),
    ("Containers", &["logs", "exec", "attach", "cp", "top", "stats"]),
    (
        "Files",
        &[
            "init", "validate", "plan", "bundle", "graph", "lock", "explain", "config", "schema",
            "docs",
        ],
    ),
    (
        "The machine",
        &["pull", "images", "image", "rmi", "volume", "prune", "oci", "completions", "man"],
    ),
];

/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 100;

/// The whole command line.
pub(super) fn command() -> Command {
    let command = reflowed(Cli::command());
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}{{options}}{{after-help}}",
        groups(&command)
    );
    command.help_template(template).max_term_width(WIDEST)
}

/// `podspec help up` as `podspec up --help`.
pub(super) fn asked_by_name(mut words: Vec<OsString>) -> Vec<OsString> {
    let takes_a_value = |word: &OsString| ["--root", "--run", "--color"].iter().any(|o| word == o);
    let mut at = 1;
    while words.get(at).is_some_and(|word| word.to_string_lossy().starts_with('-')) {
        at += 1 + usize::from(takes_a_value(&words[at]));
    }
    if words.get(at).is_some_and(|word| word == "help") {
        words.remove(at);
        words.push("--help".into());
    }
    words
}

/// What stands under each command's help, wrapped for the terminal and not for the source.
fn reflowed(command: Command) -> Command {
    let below = command.get_after_help().map(ToString::to_string);
    let command = command.mut_subcommands(reflowed);
    match below {
        Some(text) => command.after_help(reflow(&text)),
        None => command,
    }
}

/// Joins the lines of each paragraph; a list (lines that are indented, under their heading) stays as it is.
fn reflow(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let is_list = paragraph.lines().any(|line| line.starts_with(' '));
        if is_list { paragraph.to_owned() } else { paragraph.replace('\n', " ") }
    });
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

fn groups(command: &Command) -> String {
    let width = command.get_subcommands().map(|c| c.get_name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for (group, names) in GROUPS {
        let of_group = names.iter().filter_map(|name| command.find_subcommand(name));
        let mut shown = of_group.filter(|command| !command.is_hide_set()).peekable();
        if shown.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "{group}:");
        for command in shown {
            let about =
                command.get_about().map(|about| about.ansi().to_string()).unwrap_or_default();
            let _ = writeln!(text, "  {:<width$}  {about}", command.get_name());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    fn each(command: &Command, check: &mut impl FnMut(&str, &Command)) {
        let mut built = command.clone();
        built.build();
        fn walk(command: &Command, check: &mut impl FnMut(&str, &Command)) {
            let path = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
            check(&path, command);
            command.get_subcommands().filter(|c| !c.is_hide_set()).for_each(|c| walk(c, check));
        }
        walk(&built, check);
    }

    #[test]
    fn every_command_stands_in_one_group() {
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let name = command.get_name();
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&name)).count();
            assert_eq!(groups, 1, "`{name}` must stand in one group of src/cli/help.rs");
            assert!(
                command.get_about().is_some_and(|about| {
                    let about = about.to_string();
                    about.len() <= 65 && !about.contains('\n') && !about.ends_with('.')
                }),
                "`{name}`: a first line of at most 65 characters, without a full stop"
            );
        }
        assert!(command().render_help().to_string().contains("Containers:\n  logs "));
    }

    #[test]
    fn help_is_a_word_too() {
        let asked = |line: &str| {
            let words = asked_by_name(line.split(' ').map(OsString::from).collect());
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        };
        assert_eq!(asked("podspec help"), "podspec --help");
        assert_eq!(asked("podspec help volume rm"), "podspec volume rm --help");
        assert_eq!(asked("podspec -q --run /r help up"), "podspec -q --run /r up --help");
        assert_eq!(asked("podspec ps help"), "podspec ps help");
        assert_eq!(asked("podspec --run help"), "podspec --run help");
    }

    #[test]
    fn paragraphs_are_wrapped_by_the_terminal_and_lists_are_not() {
        let text = "Examples:\n  one\n  two\n\nA paragraph\nof two lines.\n\nThe end.";
        let joined = "Examples:\n  one\n  two\n\nA paragraph of two lines.\n\nThe end.";
        assert_eq!(reflow(text), joined);
        let narrow = command().term_width(60);
        each(&narrow, &mut |path, command| {
            let help = command.clone().render_help().to_string();
            let prose = help.split("\n\n").filter(|part| !part.contains("\n  "));
            for paragraph in prose {
                let mut lines = paragraph.lines().rev().skip(1);
                assert!(lines.all(|line| line.len() > 30), "`{path}` is ragged:\n{paragraph}");
            }
        });
    }

    /// Neither there nor in a manual page, 7 columns further right by then, is such a line wrapped well.
    #[test]
    fn a_line_of_a_list_fits_any_terminal() {
        each(&Cli::command(), &mut |path, command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 75, "`{path}`: {line}");
            }
        });
    }

    /// The examples in a command's help, as words; what a shell would do with the rest is left out.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let lines = help.lines().filter_map(|line| line.strip_prefix("  podspec"));
        let words = lines.map(|line| {
            // A remark stands behind at least two spaces.
            let line = line.trim_start().split("  ").next().unwrap_or_default();
            let words = line.split_whitespace().map(|word| word.trim_matches('\'').to_owned());
            let shell = ["|", ">", "<", "&&", "&", "2>"];
            let own = words.take_while(|word| !shell.contains(&word.as_str()));
            ["podspec".to_owned()].into_iter().chain(own).collect()
        });
        words.collect()
    }

    #[test]
    fn every_command_shows_examples_and_they_are_right() {
        each(&Cli::command(), &mut |path, command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let shown = examples(&help);
            let has_other = help.contains("| podspec") || help.contains("<(podspec");
            assert!(!shown.is_empty() || has_other, "`{path} --help` has no example");
            for words in shown {
                let parsed = Cli::command().try_get_matches_from(&words);
                let parsed = parsed.and_then(|matches| Cli::from_arg_matches(&matches));
                if let Err(error) = parsed {
                    panic!("the help of `{path}` shows {words:?}, but\n{error}");
                }
            }
        });
    }
}
