//! The processes of a pod, once, from its cgroups and /proc. Nothing runs inside for it, and what a process
//! says of itself is shown without what a terminal would obey.

use crate::cgroup::{Hierarchy, Process};
use crate::cli::error::CliError;
use crate::cli::output::{self, sanitize};
use crate::cli::target::Target;
use crate::cli::{Format, running};
use crate::names::ContainerName;
use crate::state::store::Store;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// A process as it is reported.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    /// None: infra.
    container: Option<String>,
    pid: i32,
    pid_inside: i32,
    parent: i32,
    uid: u32,
    /// The host's name for that id.
    user: Option<String>,
    cpu_percent: f64,
    cpu_seconds: f64,
    rss_bytes: u64,
    state: char,
    elapsed_seconds: f64,
    name: String,
    command: Vec<String>,
}

/// Lists the processes of a pod, or of one container of it.
pub(super) fn show(store: &Store, target: &Target, format: Format) -> Result<ExitCode, CliError> {
    super::check(store, target)?;
    let plan = running::plan(store, &target.pod)?;
    let failed = |error: &dyn std::error::Error| {
        CliError::host(format!("cannot read the processes of `{}`", target.pod), error)
    };
    let hierarchy = Hierarchy::open().map_err(|error| failed(&error))?;
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut rows = Vec::new();
    for (container, cgroup) in running::cgroups(&plan) {
        if target.container.is_some() && target.container.as_ref() != container {
            continue;
        }
        let found = hierarchy.find(cgroup).map_err(|error| failed(&error))?;
        let Some(cgroup) = found else { continue };
        let processes = cgroup.processes().map_err(|error| failed(&error))?;
        rows.extend(processes.into_iter().map(|process| row(container, process, &users)));
    }
    match format {
        Format::Json => output::json(&rows)?,
        Format::Human => output::line(&table(&rows))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn row(container: Option<&ContainerName>, process: Process, users: &str) -> Row {
    let (cpu, elapsed) = (process.cpu.as_secs_f64(), process.elapsed.as_secs_f64());
    Row {
        container: container.map(ToString::to_string),
        pid: process.pid,
        pid_inside: process.inside,
        parent: process.parent,
        uid: process.uid,
        user: user(users, process.uid),
        cpu_percent: output::rounded(if elapsed > 0.0 { 100.0 * cpu / elapsed } else { 0.0 }),
        cpu_seconds: cpu,
        rss_bytes: process.rss,
        state: process.state,
        elapsed_seconds: elapsed,
        name: process.name,
        command: process.arguments,
    }
}

/// Without a name service, which could ask who knows whom.
fn user(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn table(rows: &[Row]) -> String {
    const HEADER: [&str; 9] =
        ["CONTAINER", "PID", "INSIDE", "USER", "%CPU", "RSS", "STATE", "ELAPSED", "COMMAND"];
    let cells = rows.iter().map(|row| {
        vec![
            row.container.clone().unwrap_or_else(|| "-".to_owned()),
            row.pid.to_string(),
            row.pid_inside.to_string(),
            sanitize(&row.user.clone().unwrap_or_else(|| row.uid.to_string())),
            format!("{:.1}", row.cpu_percent),
            output::size(row.rss_bytes),
            row.state.to_string(),
            elapsed(Duration::from_secs_f64(row.elapsed_seconds)),
            command(row),
        ]
    });
    output::cut_lines(&output::table(&HEADER, cells.collect()))
}

/// On one line, whatever is in it.
fn command(row: &Row) -> String {
    if row.command.is_empty() {
        return sanitize(&format!("[{}]", row.name)).replace('\t', " ");
    }
    sanitize(&row.command.join(" ")).replace('\t', " ")
}

/// As ps(1) has it: `[DD-]HH:MM:SS`, without the hours where there are none.
fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let clock = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => clock,
        (0, hours) => format!("{hours:02}:{clock}"),
        (days, hours) => format!("{days}-{hours:02}:{clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_ps() {
        let of = |seconds| elapsed(Duration::from_secs(seconds));
        assert_eq!(of(5), "00:05");
        assert_eq!(of(3661), "01:01:01");
        assert_eq!(of(2 * 86400 + 59), "2-00:00:59");
    }

    #[test]
    fn users_are_found_by_id() {
        let passwd = "root:x:0:0::/:\nodd\nweb:x:33:33::/:\n";
        assert_eq!(user(passwd, 33).as_deref(), Some("web"));
        assert_eq!(user(passwd, 34), None);
    }
}
