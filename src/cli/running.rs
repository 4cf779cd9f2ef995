//! What commands need to reach into a running pod: its plan, and the first process of a container.

use super::error::CliError;
use crate::names::{ContainerName, PodName};
use crate::plan::step::{Launch, Limits, Plan, Step};
use crate::state::record::{ContainerRecord, PodRecord, Process};
use crate::state::store::Store;
use crate::sys::process;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The plan that a pod was brought up by.
pub(super) fn plan(store: &Store, pod: &PodName) -> Result<Plan, CliError> {
    let found = store
        .pod(pod)
        .read_journal()
        .map_err(|error| CliError::host(format!("cannot read the plan of `{pod}`"), &error))?;
    found.map(|found| found.header.plan).ok_or_else(|| gone(pod))
}

/// How the plan starts a container.
pub(super) fn launch<'p>(
    plan: &'p Plan,
    container: &ContainerName,
) -> Result<&'p Launch, CliError> {
    let mut launches = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::CreateContainer(launch) => Some(&**launch),
        _ => None,
    });
    launches.find(|launch| launch.container == *container).ok_or_else(|| gone(&plan.pod))
}

/// What bounds the pod (None) or a container.
pub(super) fn limits(plan: &Plan, container: Option<&ContainerName>) -> Limits {
    let limits = plan.steps.iter().find_map(|planned| match &planned.step {
        Step::MakeCgroup { limits, .. } if container.is_none() => Some(limits),
        Step::CreateContainer(launch) if Some(&launch.container) == container => {
            Some(&launch.limits)
        }
        _ => None,
    });
    limits.cloned().unwrap_or_default()
}

/// Where the processes of infra (None) and of each container live.
pub(super) fn cgroups(plan: &Plan) -> impl Iterator<Item = (Option<&ContainerName>, &Path)> {
    plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::StartInfra(infra) => Some((None, infra.cgroup.as_path())),
        Step::CreateContainer(launch) => Some((Some(&launch.container), launch.cgroup.as_path())),
        _ => None,
    })
}

fn gone(pod: &PodName) -> CliError {
    CliError::refused(format!("`{pod}` is gone"), "`podspec ps` lists the pods")
}

/// A pidfd of exactly the process that was recorded.
pub(super) fn first_process(container: &ContainerRecord) -> Option<OwnedFd> {
    let (pid, start_time) = container.pid.zip(container.start_time)?;
    pidfd_of(&Process { pid, start_time })
}

pub(super) fn pidfd_of(process: &Process) -> Option<OwnedFd> {
    let pidfd = process::pidfd_open(process.pid).ok()?;
    (process::start_time(process.pid).ok()? == process.start_time).then_some(pidfd)
}

/// A pidfd of the pod's supervisor, which tells of its end.
pub(super) fn supervisor(pod: &PodRecord) -> Option<OwnedFd> {
    pidfd_of(&pod.supervisor)
}

/// A running container's root directory, as its first process has it.
pub(super) fn root(container: &ContainerRecord) -> Option<OwnedFd> {
    let pidfd = first_process(container)?;
    process::root(container.pid?, pidfd.as_fd()).ok()
}

pub(super) fn not_running(name: &str, pod: &PodName) -> CliError {
    CliError::refused(
        format!("{name} is not running"),
        format!("`podspec ps {pod}` shows how it is"),
    )
}
