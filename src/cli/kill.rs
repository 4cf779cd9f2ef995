//! `podspec kill`: a signal to the first process of containers, also where the supervisor is gone.

use super::error::CliError;
use super::request::{self, Group};
use super::target::TargetArg;
use super::{Format, running};
use crate::cgroup::Hierarchy;
use crate::spec::signal;
use crate::state::record::{ContainerStatus, PodStatus};
use crate::state::store::Store;
use crate::supervise::protocol::{ContainerState, Request};
use crate::sys::process;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Send containers a signal
///
/// SIGKILL ends all processes of a container, any other signal goes to its first one. A container that
/// ends of it is restarted as its policy says: `stop` ends it for good.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec kill shop/web             SIGKILL
  podspec kill -s HUP shop/web      such as to read its configuration again
  podspec kill -s RTMIN+3 shop")]
pub(super) struct Kill {
    /// A name such as HUP or SIGUSR1, or a number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = parse)]
    signal: i32,
    /// Pods, or containers of them; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

fn parse(word: &str) -> Result<i32, String> {
    signal::signal(word).ok_or_else(|| {
        signal::near(word).unwrap_or_else(|| "a name such as HUP, or a number from 1 to 64".into())
    })
}

impl Kill {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let groups = request::groups(store, &self.targets)?;
        request::each(&groups, self.format, |group| {
            let mut containers = group.containers();
            if group.named.is_empty() {
                // Of a whole pod those that run: the others have no use for it.
                containers.retain(|name| {
                    let mut all = group.record.containers.iter();
                    all.any(|one| one.name == *name && one.pid.is_some())
                });
            }
            if group.record.status == PodStatus::Unsupervised {
                return self.signal_from_here(store, group);
            }
            let kill = Request::Kill { containers, signal: self.signal };
            request::ask(store, group, &kill, ("signal", Some(super::down::ANSWER_WITHIN)))
        })
    }

    /// Nobody but us is left to do it.
    fn signal_from_here(
        &self,
        store: &Store,
        group: &Group,
    ) -> Result<Vec<ContainerState>, CliError> {
        let pod = &group.record.name;
        let failed =
            |error: &dyn std::error::Error| CliError::host(format!("cannot signal `{pod}`"), error);
        let plan = running::plan(store, pod)?;
        let mut states = Vec::new();
        for container in &group.record.containers {
            if !group.named.is_empty() && !group.named.contains(&container.name) {
                continue;
            }
            let Some(first) = running::first_process(container) else {
                if group.named.is_empty() {
                    continue;
                }
                return Err(running::not_running(container.name.as_str(), pod));
            };
            if self.signal == libc::SIGKILL {
                let launch = running::launch(&plan, &container.name)?;
                let hierarchy = Hierarchy::open().map_err(|error| failed(&error))?;
                if let Some(cgroup) =
                    hierarchy.find(&launch.cgroup).map_err(|error| failed(&error))?
                {
                    cgroup.kill().map_err(|error| failed(&error))?;
                }
            }
            match process::pidfd_send_signal(first.as_fd(), self.signal) {
                // It has ended meanwhile: of the SIGKILL above, or by itself.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                sent => sent.map_err(|error| failed(&error))?,
            }
            states.push(ContainerState {
                name: container.name.clone(),
                status: ContainerStatus::Running,
                exit_code: None,
                reason: None,
                ready: container.ready,
            });
        }
        Ok(states)
    }
}
