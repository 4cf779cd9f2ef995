//! `podspec man`: the manual, a page for each command. The text is the commands' own help; what stands
//! under it there is sorted into the sections that a manual page has.

use super::error::CliError;
use super::{help, output};
use clap::Command;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write the manual pages into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec man /usr/local/share/man/man1
  podspec man . && man ./podspec-up.1")]
pub(super) struct Man {
    /// Where the pages go; made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let failed = |path: &Path, error: io::Error| {
            CliError::host(format!("cannot write {}", path.display()), &error)
        };
        std::fs::create_dir_all(&self.directory).map_err(|e| failed(&self.directory, e))?;
        let mut root = help::command();
        root.build();
        let pages = pages(&root).map_err(|error| failed(&self.directory, error))?;
        for (name, text) in &pages {
            let path = self.directory.join(name);
            std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        }
        let directory = self.directory.display();
        output::done(&output::sanitize(&format!("{directory}: {} pages", pages.len())))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Each page with the name of its file.
fn pages(command: &Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let mut pages = vec![(format!("{name}.1"), page(command, &name)?)];
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages.extend(self::pages(command)?);
    }
    Ok(pages)
}

fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let version = concat!("podspec ", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(version)
        .manual("podspec");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis(command, &mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    sections(&below, &mut page)?;
    if command.get_name() == "podspec" {
        files(&mut page)?;
    }
    see_also(name, &mut page)?;
    Ok(page)
}

/// As the help has it: what every option takes stands below.
fn synopsis(command: &Command, page: &mut impl Write) -> io::Result<()> {
    heading("SYNOPSIS", page)?;
    let usage = command.clone().render_usage().to_string();
    paragraph(usage.trim_start_matches("Usage:").trim(), page)
}

const EXIT_STATUS: &str =
    "0; 1 the machine refused; 2 the arguments or the file are wrong, and nothing was touched.";

/// Paragraphs by how they begin: examples, exit codes, and what else there is to know.
fn sections(text: &str, page: &mut impl Write) -> io::Result<()> {
    let (mut notes, mut exit) = (Vec::new(), EXIT_STATUS.to_owned());
    for paragraph in text.split("\n\n").map(str::trim_end).filter(|text| !text.is_empty()) {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        if first.starts_with("Example") || first == help::FIRST_POD {
            heading("EXAMPLES", page)?;
            verbatim(rest, page)?;
        } else if let Some(codes) = paragraph.strip_prefix("Exit code: ") {
            exit = codes.replace('\n', " ");
        } else {
            notes.push(paragraph);
        }
    }
    for note in &notes {
        if note == &notes[0] {
            heading("NOTES", page)?;
        }
        let lines: Vec<&str> = note.lines().collect();
        // What is indented is no prose: keys, a line of a file.
        for part in lines.chunk_by(|one, next| one.starts_with(' ') == next.starts_with(' ')) {
            match part[0].starts_with(' ') {
                true => verbatim(&part.join("\n"), page)?,
                false => paragraph(&part.join(" "), page)?,
            }
        }
    }
    heading("EXIT STATUS", page)?;
    paragraph(&exit, page)
}

fn heading(name: &str, page: &mut impl Write) -> io::Result<()> {
    Roff::new().control("SH", [name]).to_writer(page)
}

fn paragraph(text: &str, page: &mut impl Write) -> io::Result<()> {
    Roff::new().control("PP", []).text([roman(text)]).to_writer(page)
}

/// Lines as they are, but for what indents them in the help: a page is indented itself.
fn verbatim(lines: &str, page: &mut impl Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []).to_writer(page)
}

fn files(page: &mut impl Write) -> io::Result<()> {
    heading("FILES", page)?;
    let places = [
        ("./pod.yaml", "the pod file where none is named"),
        ("/run/podspec", "the state of running pods (--run)"),
        ("/var/lib/podspec", "volumes, logs, what containers write (--root)"),
    ];
    for (path, what) in places {
        let mut roff = Roff::new();
        roff.control("TP", []).text([bold(path)]).text([roman(what)]);
        roff.to_writer(page)?;
    }
    Ok(())
}

fn see_also(name: &str, page: &mut impl Write) -> io::Result<()> {
    heading("SEE ALSO", page)?;
    let other = if name == "podspec" { "podspec-up" } else { "podspec" };
    Roff::new().text([bold(other), roman("(1)")]).to_writer(page)
}
