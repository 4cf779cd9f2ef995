//! What goes wrong, as callers of a runtime read it: a line on standard error, and one in the file of `--log`.

use crate::cli::output;
use crate::oci::OciError;
use crate::sandbox::SandboxError;
use crate::supervise::protocol::chain;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

pub(super) struct Log {
    file: Option<File>,
    format: Format,
    debug: bool,
}

impl Log {
    /// The file is made at once: callers look for it.
    pub(super) fn open(path: Option<&Path>, format: Format, debug: bool) -> io::Result<Self> {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        Ok(Self { file: path.map(open).transpose()?, format, debug })
    }

    /// What `--debug` asks for: in the file, or where there is none on standard error.
    pub(super) fn debug(&self, message: &str) {
        if !self.debug {
            return;
        }
        match &self.file {
            Some(_) => self.write("debug", message),
            None => output::error_line(&output::sanitize(&text("debug", message))),
        }
    }

    pub(super) fn error(&self, error: &OciError) {
        let message = message(error);
        self.write("error", &message);
        output::error_line(&format!("error: {}", output::sanitize(&message)));
    }

    /// What is no error by the runtime spec.
    pub(super) fn warn(&self, messages: &[String]) {
        for message in messages {
            self.write("warning", message);
            output::error_line(&format!("warning: {}", output::sanitize(message)));
        }
    }

    fn write(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let line = match self.format {
            Format::Json => {
                let time = jiff::Timestamp::now().to_string();
                serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
            }
            Format::Text => text(level, message),
        };
        // Whoever gave it reads it; there is nobody else to tell.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

fn text(level: &str, message: &str) -> String {
    let time = jiff::Timestamp::now().to_string();
    format!("time={time:?} level={level} msg={message:?}")
}

/// In one line. Callers look for the words that runc has for a program that is missing.
fn message(error: &OciError) -> String {
    match error {
        OciError::Sandbox(SandboxError::NotFound { program, .. }) => {
            format!("exec: {program:?}: executable file not found in $PATH of the container")
        }
        OciError::Sandbox(SandboxError::NotExecutable { program, .. }) => {
            format!("exec: {program:?}: permission denied: it is not an executable program")
        }
        other => chain(other).join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_said_as_others_say_it() {
        let source = std::io::Error::from_raw_os_error(libc::ENOENT);
        let error = SandboxError::NotFound { program: "htpd".to_owned(), source };
        let message = message(&error.into());
        assert!(message.contains(r#"exec: "htpd": executable file not found in $PATH"#));
    }

    #[test]
    fn the_log_is_json() {
        let file = std::env::temp_dir().join(format!("podspec-oci-log-{}", std::process::id()));
        let log = Log::open(Some(&file), Format::Json, false).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "", "it is there at once");
        log.debug("nobody asked");
        log.warn(&["one \"word\"".to_owned()]);
        log.warn(&["two".to_owned()]);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["msg"], "one \"word\"");
        assert_eq!((&lines[1]["level"], lines.len()), (&"warning".into(), 2));
    }
}
