//! AppArmor's profile of containers whose files name none. The kernel takes a compiled one, which apparmor_parser(8)
//! makes: once after a boot it is run, and what it loads stays.

use super::ExecError;
use std::io::{self, Write};
use std::process::{Command, Stdio};

const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
const PROFILE: &str = include_str!("apparmor.profile");

/// Loads it where it is not there.
pub(super) fn load(name: &str) -> Result<(), ExecError> {
    let fail = |source: io::Error| ExecError::Profile { name: name.to_owned(), source };
    let all = std::fs::read_to_string(LOADED).map_err(fail)?;
    // A line each: the name and, in parentheses, the mode.
    if all.lines().any(|line| line.rsplit_once(" (").is_some_and(|(loaded, _)| loaded == name)) {
        return Ok(());
    }
    parse().map_err(fail)
}

fn parse() -> io::Result<()> {
    let mut parser = Command::new("apparmor_parser")
        .args(["--replace", "--skip-cache"])
        .env_clear()
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = parser.stdin.take() {
        stdin.write_all(PROFILE.as_bytes())?;
    }
    let output = parser.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("apparmor_parser: {}", said.lines().next().unwrap_or_default())))
}
