//! `podspec wait`: until containers have come to a state. The supervisor tells of each change, so that none
//! is missed however short it was.

use super::error::CliError;
use super::live::how_are;
use super::ps::describe;
use super::request::{self, Group};
use super::target::{self, TargetArg};
use super::{Format, output};
use crate::names::{ContainerName, PodName};
use crate::plan::step::Role;
use crate::state::record::{ContainerStatus, PodStatus};
use crate::state::store::Store;
use crate::supervise::protocol::{ContainerState, Event, Request};
use crate::supervise::wire::{Received, Wire};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Wait until containers end, run or are ready; print exit codes
///
/// A line each, in the order of the arguments; for a whole pod that of the first container that failed, else
/// 0, once all of `containers` are there (init containers and sidecars do not count). A container that a
/// restart policy starts again has not ended. With `--for running` and `--for ready` nothing is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec wait shop/migrate                  prints its exit code
  podspec wait shop/migrate --for completed  fails where it ends otherwise
  podspec wait shop --for ready --timeout 30s

Exit code: 0; 1 where it was not reached: the time is over, or it cannot come any more.")]
pub(super) struct Wait {
    /// What is waited for
    #[arg(long = "for", value_enum, value_name = "STATE", default_value_t = Until::Exited)]
    until: Until,
    /// Give up after this time, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[arg(allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Pods, or containers of them; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// Ended for good: exited, failed or stopped
    Exited,
    /// Ended because a user or the pod stopped it
    Stopped,
    /// Ended by itself with 0
    Completed,
    /// Its program runs
    Running,
    /// It runs, and its startup and readiness probes, where it has any, succeed
    Ready,
}

impl Until {
    /// What is to be said of who is waited for in vain.
    fn missed(self) -> &'static str {
        match self {
            Self::Exited => "did not end",
            Self::Stopped => "was not stopped",
            Self::Completed => "did not complete",
            Self::Running => "did not run",
            Self::Ready => "did not become ready",
        }
    }
}

/// As the pod file has it, or a number of seconds, as podman and docker have it.
pub(super) fn duration(word: &str) -> Result<Duration, String> {
    let seconds = word.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    if let Some(duration) = seconds {
        return Ok(duration);
    }
    let wrong = || "write a duration such as 30s, 5m, 1h30m, or seconds".to_owned();
    let parsed: jiff::SignedDuration = word.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).map_err(|_| wrong())
}

/// A target as it is reported.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    pod: PodName,
    /// None: the pod.
    container: Option<ContainerName>,
    exit_code: Option<i32>,
}

impl Wait {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let groups = request::groups(store, &self.targets)?;
        let mut watched = Vec::new();
        // All at once: what happens while another is waited for must not be missed.
        for group in &groups {
            let mut wire = request::connect(store, &group.record, "wait for")?;
            let lost = |_| request::unsupervised(&group.record.name, "wait for");
            wire.send(&Request::Watch).map_err(lost)?;
            let failed = group.record.exit_code.filter(|code| *code != 0);
            watched.push(Watched {
                store,
                group,
                wire,
                states: BTreeMap::new(),
                failed,
                gone: false,
            });
        }
        let mut rows = Vec::new();
        for watched in &mut watched {
            rows.extend(watched.wait(self.until, deadline)?);
        }
        match self.format {
            Format::Json => output::json(&rows)?,
            // What runs has no exit code to tell.
            Format::Human if matches!(self.until, Until::Running | Until::Ready) => {}
            Format::Human => {
                for row in &rows {
                    let code =
                        row.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
                    output::line(&code)?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A pod whose supervisor tells us how its containers are.
struct Watched<'a> {
    store: &'a Store,
    group: &'a Group,
    wire: Wire,
    states: BTreeMap<ContainerName, ContainerState>,
    /// The exit code of the first that failed.
    failed: Option<i32>,
    gone: bool,
}

impl Watched<'_> {
    fn wait(&mut self, until: Until, deadline: Option<Instant>) -> Result<Vec<Row>, CliError> {
        let wanted = self.wanted();
        loop {
            let open: Vec<&ContainerName> =
                wanted.iter().filter(|name| !self.has_reached(name, until)).collect();
            if open.is_empty() {
                break;
            }
            if let Some(name) = open.iter().find(|name| self.cannot_reach(name, until)) {
                return Err(self.in_vain(name, until));
            }
            if !self.hear(deadline)? {
                return Err(self.late(&open, until));
            }
        }
        let pod = &self.group.record.name;
        let code = |name: &ContainerName| self.states.get(name).and_then(|state| state.exit_code);
        if self.group.named.is_empty() {
            let code = (!matches!(until, Until::Running | Until::Ready)).then(|| self.code());
            return Ok(vec![Row { pod: pod.clone(), container: None, exit_code: code }]);
        }
        let row = |name: &ContainerName| Row {
            pod: pod.clone(),
            container: Some(name.clone()),
            exit_code: code(name),
        };
        Ok(self.group.named.iter().map(row).collect())
    }

    /// Of the first container that failed, or of the pod where that failed without one: its infra is gone.
    fn code(&self) -> i32 {
        let of_pod = || {
            let record = target::read(self.store, &self.group.record.name).ok().flatten()?;
            record.exit_code.filter(|_| record.status == PodStatus::Failed)
        };
        self.failed.or_else(of_pod).unwrap_or(0)
    }

    fn wanted(&self) -> Vec<ContainerName> {
        if !self.group.named.is_empty() {
            return self.group.named.clone();
        }
        let mains = self.group.record.containers.iter().filter(|one| one.role == Role::Main);
        mains.map(|container| container.name.clone()).collect()
    }

    fn has_reached(&self, name: &ContainerName, until: Until) -> bool {
        use ContainerStatus::{Exited, Failed, Running, Stopped};
        let Some(state) = self.states.get(name) else { return false };
        match until {
            // What was killed with its pod has no time to say so.
            Until::Exited => matches!(state.status, Exited | Failed | Stopped) || self.gone,
            Until::Stopped => state.status == Stopped || self.gone,
            Until::Completed => state.status == Exited,
            Until::Running => state.status == Running,
            // What has done its work makes no pod unready.
            Until::Ready if self.group.named.is_empty() => state.ready || state.status == Exited,
            Until::Ready => state.ready,
        }
    }

    fn cannot_reach(&self, name: &ContainerName, until: Until) -> bool {
        use ContainerStatus::{Exited, Failed, Stopped};
        let Some(state) = self.states.get(name) else { return self.gone };
        match until {
            Until::Exited => false,
            Until::Stopped => matches!(state.status, Exited | Failed),
            Until::Completed => self.gone || matches!(state.status, Failed | Stopped),
            Until::Running | Until::Ready => {
                self.gone || matches!(state.status, Exited | Failed | Stopped)
            }
        }
    }

    fn in_vain(&self, name: &ContainerName, until: Until) -> CliError {
        let pod = &self.group.record.name;
        let is = self.states.get(name).map(|state| {
            let words = describe(state.status, state.exit_code, state.reason.as_deref());
            let has_ended = matches!(
                state.status,
                ContainerStatus::Exited | ContainerStatus::Failed | ContainerStatus::Stopped
            );
            format!("it {} {words}", if has_ended { "has" } else { "is" })
        });
        CliError::Host {
            message: format!("`{pod}/{name}` {}", until.missed()),
            causes: is.into_iter().collect(),
            hint: Some(format!("`podspec logs {pod}/{name}` shows what it said")),
            code: 1,
        }
    }

    /// How those are that had not come to it in time.
    fn late(&self, open: &[&ContainerName], until: Until) -> CliError {
        let pod = &self.group.record.name;
        CliError::Host {
            message: format!("`{pod}` {} in time", until.missed()),
            causes: how_are(self.store, pod, |one| open.contains(&&one.name)),
            hint: Some(format!("`podspec ps {pod}` shows how its containers are")),
            code: 1,
        }
    }

    /// Whether there was time left to hear something.
    fn hear(&mut self, deadline: Option<Instant>) -> Result<bool, CliError> {
        let pod = &self.group.record.name;
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero())
            || self.wire.stream().set_read_timeout(left).is_err()
        {
            return Ok(false);
        }
        match self.wire.receive::<Event>() {
            Ok(Received::Frame(Event::Container(state))) => {
                if state.status == ContainerStatus::Failed {
                    let code = state.exit_code.filter(|code| *code != 0).unwrap_or(1);
                    self.failed.get_or_insert(code);
                }
                self.states.insert(state.name.clone(), state);
            }
            Ok(Received::Frame(Event::Gone { .. })) => self.gone = true,
            Ok(Received::Frame(_) | Received::Nothing) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(Received::Closed) | Err(_) if self.gone => {}
            Ok(Received::Closed) | Err(_) => return Err(request::unsupervised(pod, "wait for")),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        let words = ["3", "0.5", "0", "1m30s", "200ms"];
        let parsed: Vec<Duration> = words.iter().map(|word| duration(word).unwrap()).collect();
        assert_eq!(parsed, [3000, 500, 0, 90_000, 200].map(Duration::from_millis));
        for word in ["", "-1", "-1s", "soon", "inf", "NaN"] {
            duration(word).unwrap_err();
        }
    }
}
