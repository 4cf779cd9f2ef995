//! What goes wrong, as callers of a runtime read it: a line on standard error, and one in the file of `--log`.

use crate::cli::output;
use crate::oci::OciError;
use crate::sandbox::SandboxError;
use crate::supervise::protocol::chain;
use std::io::Write;
use std::path::PathBuf;

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

pub(super) struct Log {
    pub(super) file: Option<PathBuf>,
    pub(super) format: Format,
}

impl Log {
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
        let Some(path) = &self.file else { return };
        let time = jiff::Timestamp::now().to_string();
        let line = match self.format {
            Format::Json => {
                serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
            }
            Format::Text => format!("time={time:?} level={level} msg={message:?}"),
        };
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        // Whoever gave it reads it; there is nobody else to tell.
        let _ = file.and_then(|mut file| writeln!(file, "{line}"));
    }
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
        let log = Log { file: Some(file.clone()), format: Format::Json };
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
