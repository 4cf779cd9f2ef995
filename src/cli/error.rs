//! What a command can end with other than well, how it is printed, and with which exit code: 2 where
//! arguments or file are wrong and nothing was touched, 1 where the host refused.

use super::file::PodFile;
use super::output::{self, sanitize};
use super::report;
use crate::spec::problem::Problem;
use crate::supervise::protocol::{Failure, chain};
use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;

#[derive(Debug)]
pub(super) enum CliError {
    /// Problems of pod files.
    File(Vec<(PodFile, Vec<Problem>)>),
    /// The host refused something that has a place in the file.
    Place { at: Box<(PodFile, Problem)>, code: u8 },
    /// The arguments are wrong.
    Usage { message: String, hint: Option<String> },
    /// The host refused.
    Host { message: String, causes: Vec<String>, hint: Option<String>, code: u8 },
    /// A start failed, and was undone.
    Start { pod: String, failure: Box<Failure>, hint: Option<String> },
    /// Of what was done at once, more than one has failed.
    Several(Vec<Self>),
    /// Whoever reads us has seen enough.
    BrokenPipe,
}

impl CliError {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    pub(super) fn host(message: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::Host { message: message.into(), causes: chain(error), hint: None, code: 1 }
    }

    pub(super) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Host { message: message.into(), causes: Vec::new(), hint: Some(hint.into()), code: 1 }
    }

    /// All of them, the first of which decides the exit code; advice that several have is given once, at the end.
    pub(super) fn all(mut errors: Vec<Self>) -> Self {
        let mut given = BTreeSet::new();
        for error in errors.iter_mut().rev() {
            if let Self::Host { hint, .. } = error {
                *hint = hint.take().filter(|hint| given.insert(hint.clone()));
            }
        }
        match errors.len() {
            1 => errors.remove(0),
            _ => Self::Several(errors),
        }
    }

    /// Of writing: where nobody reads any more, that is no failure.
    pub(super) fn of_writing(error: io::Error, failed: impl FnOnce(io::Error) -> Self) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => failed(error),
        }
    }

    /// What happened, in one line.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Usage { message, .. } | Self::Host { message, .. } => message.clone(),
            Self::File(files) => format!("{} pod files are wrong", files.len()),
            Self::Place { at, .. } => at.1.message.clone(),
            Self::Start { pod, .. } => format!("cannot start pod `{pod}`"),
            Self::Several(errors) => errors.first().map(Self::message).unwrap_or_default(),
            Self::BrokenPipe => "nobody reads any more".to_owned(),
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::Host { hint, .. } => hint.clone(),
            _ => None,
        }
    }

    /// What it came from.
    pub(super) fn causes(self) -> Vec<String> {
        match self {
            Self::Host { message, causes, .. } if causes.is_empty() => vec![message],
            Self::Host { causes, .. } => causes,
            _ => Vec::new(),
        }
    }

    /// Prints it on standard error, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let code = match self {
            Self::File(files) => {
                for (file, problems) in files {
                    output::error_text(&report_problems(file, problems));
                }
                2
            }
            Self::Place { at, code } => {
                let (file, problem) = &**at;
                output::error_text(&report_problems(file, std::slice::from_ref(problem)));
                *code
            }
            Self::Usage { message, hint } => {
                print_chain(message, &[], hint.as_deref());
                2
            }
            Self::Host { message, causes, hint, code } => {
                print_chain(message, causes, hint.as_deref().or_else(|| refusal_hint(causes)));
                *code
            }
            Self::Start { pod, failure, hint } => {
                print_failure(pod, failure, hint.as_deref());
                1
            }
            Self::Several(errors) => {
                let codes: Vec<ExitCode> = errors.iter().map(Self::report).collect();
                return codes.first().copied().unwrap_or(ExitCode::FAILURE);
            }
            Self::BrokenPipe => 0,
        };
        ExitCode::from(code)
    }
}

/// What the kernel refuses, and what is to be done.
fn refusal_hint(causes: &[String]) -> Option<&'static str> {
    if causes.iter().any(|cause| cause.contains("Function not implemented")) {
        return Some(
            "podspec needs Linux 6.1 or later, openat2 among its system calls; inside another container, \
             its filter of system calls must let them through",
        );
    }
    let refused =
        |cause: &String| cause.starts_with("Permission denied") || cause.contains("not permitted");
    let is_root = rustix::process::geteuid().is_root();
    (!is_root && causes.iter().any(refused)).then_some("run it as root")
}

pub(super) fn report_problems(file: &PodFile, problems: &[Problem]) -> String {
    let (color, width) = output::error_style();
    report::render_problems(&file.name, &file.text, problems, color, width)
}

fn print_failure(pod: &str, failure: &Failure, hint: Option<&str>) {
    let mut causes = failure.causes.clone();
    if let (Some(container), Some(first)) = (&failure.container, causes.first_mut()) {
        *first = format!("{container}: {first}");
    }
    let title = format!("cannot start pod `{pod}`; what was done is undone");
    print_chain(&title, &causes, None);
    if !failure.step.is_empty() {
        output::error_line(&format!("  in step: {}", sanitize(&failure.step)));
    }
    if let Some(hint) = hint.or_else(|| refusal_hint(&causes)) {
        output::error_line(&format!("hint: {}", sanitize(hint)));
    }
    if !failure.log.is_empty() {
        output::error_line("its last output:");
        for line in &failure.log {
            output::error_line(&format!("  {}", sanitize(line)));
        }
    }
    for left in &failure.leftovers {
        output::error_line(&format!("left behind: {}", sanitize(left)));
    }
}

fn print_chain(message: &str, causes: &[String], hint: Option<&str>) {
    output::error_line(&format!("{} {}", output::paint_error("error:"), sanitize(message)));
    for cause in causes {
        output::error_line(&format!("  because: {}", sanitize(cause)));
    }
    if let Some(hint) = hint {
        output::error_line(&format!("hint: {}", sanitize(hint)));
    }
}
