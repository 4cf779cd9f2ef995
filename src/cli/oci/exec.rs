//! `podspec oci exec`: a further process in a container, from the arguments or from a document of its own.

use super::log::Log;
use crate::cli::exec::exit_code;
use crate::cli::streams::Streams;
use crate::cli::terminal::lend_size;
use crate::oci::{self, Container, Further, OciError, Store};
use crate::sys::descriptors::inherited_among;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a further process in a container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci exec demo1 ls -l /
  podspec oci exec -t demo1 sh
  podspec oci exec --user 1000:1000 --cwd /srv --env A=b demo1 ./check
  podspec oci exec --detach --process process.json --pid-file pid demo1

Exit code: the command's; 128 + N where signal N ended it; 255 it could not be run.")]
pub(super) struct Exec {
    /// The whole process, as in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return when it runs
    #[arg(short, long)]
    detach: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Its working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// A variable of its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Its user, by numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// A further group
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// A capability beside those of the container
    #[arg(short, long, value_name = "NAME")]
    cap: Vec<String>,
    /// It cannot gain privileges
    #[arg(long)]
    no_new_privs: bool,
    /// A unix socket that takes the terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Write its pid there
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Of the next so many descriptors, from 3 on, those that are open are its, too
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    preserve_fds: u32,
    /// A cgroup below the container's own, as `[CONTROLLER[,CONTROLLER]:]PATH`
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Also where the container is paused: it runs when that is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// Its profile of AppArmor
    #[arg(long, value_name = "NAME")]
    apparmor: Option<String>,
    /// Its label of SELinux
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Accepted for the sake of callers: a process that starts others waits for them
    #[arg(long, hide = true)]
    no_subreaper: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, store: &Store, log: &Log) -> Result<ExitCode, OciError> {
        let usage = |message: String| OciError::Usage { message };
        let preserved = inherited_among(self.preserve_fds.min(super::run::PRESERVED_MOST));
        let container = store.find(&self.id)?;
        let mut process = self.whole_process(&container, log)?;
        if let Some(mask) = oci::initial_processors(&process) {
            log.debug(&format!("initial CPU affinity: {mask:#x}"));
        }
        let terminal = process.terminal().unwrap_or(false);
        if terminal && self.detach != self.console_socket.is_some() {
            return Err(usage(
                "a terminal of a detached process needs `--console-socket`, and that `--detach`"
                    .to_owned(),
            ));
        }
        let failed = |error: io::Error| usage(format!("cannot carry its streams: {error}"));
        let streams = match self.detach {
            false => Streams::open(true, terminal).map_err(failed)?,
            true => Streams::default(),
        };
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let own = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let given = streams.child.each_ref().map(|end| end.as_ref().map(AsFd::as_fd));
        let mut ends: [Option<BorrowedFd<'_>>; 3] = [None; 3];
        for (number, end) in ends.iter_mut().enumerate() {
            *end = given[number].or(Some(own[number])).filter(|_| !terminal);
        }
        let further = Further {
            console_socket: self.console_socket.as_deref(),
            pid_file: self.pid_file.as_deref(),
            preserved: &preserved,
            ignore_paused: self.ignore_paused,
            below: &self.cgroup,
            streams: ends,
        };
        lend_size(&mut process);
        let entered = oci::enter(&container, &process, &further)?;
        log.debug(&format!("it runs in the container as process {}", entered.child.pid));
        if self.detach {
            return Ok(ExitCode::SUCCESS);
        }
        let pidfd = entered.child.pidfd.as_fd();
        streams.relay(pidfd, entered.terminal.as_ref(), true).map_err(failed)?;
        Ok(exit_code(pidfd))
    }

    /// As the container's own, but for what is said here.
    fn whole_process(&self, container: &Container, log: &Log) -> Result<Process, OciError> {
        let usage = |message: String| OciError::Usage { message };
        if let Some(path) = &self.process {
            let mut process = oci::process(path)?;
            if self.tty {
                process.set_terminal(Some(true));
            }
            return Ok(process);
        }
        if self.command.is_empty() {
            return Err(usage("what to run is missing: a command, or `--process`".to_owned()));
        }
        let mut process = container.process()?;
        process.set_args(Some(self.command.clone())).set_terminal(Some(self.tty));
        if let Some(cwd) = &self.cwd {
            if !cwd.is_absolute() {
                return Err(usage(format!("`--cwd {}` is no absolute path", cwd.display())));
            }
            process.set_cwd(cwd.clone());
        }
        let mut env = process.env().clone().unwrap_or_default();
        for word in &self.env {
            let name = word.split('=').next().unwrap_or_default();
            env.retain(|known| known.split('=').next() != Some(name));
            env.push(word.clone());
        }
        process.set_env(Some(env));
        if self.no_new_privs {
            process.set_no_new_privileges(Some(true));
        }
        if self.apparmor.is_some() {
            process.set_apparmor_profile(self.apparmor.clone());
        }
        if self.process_label.is_some() {
            process.set_selinux_label(self.process_label.clone());
        }
        self.identify(&mut process, log)?;
        Ok(process)
    }

    fn identify(&self, process: &mut Process, log: &Log) -> Result<(), OciError> {
        let usage = |message: String| OciError::Usage { message };
        if let Some(user) = &self.user {
            let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
            let number = |word: &str| {
                word.parse::<u32>().map_err(|_| {
                    usage(format!("`--user {user}`: write numbers, `UID` or `UID:GID`"))
                })
            };
            let (uid, gid) = (number(uid)?, number(gid)?);
            process.user_mut().set_uid(uid).set_gid(gid).set_additional_gids(None);
        }
        if !self.additional_gids.is_empty() {
            process.user_mut().set_additional_gids(Some(self.additional_gids.clone()));
        }
        if self.cap.is_empty() {
            return Ok(());
        }
        let mut added = Capabilities::new();
        for word in &self.cap {
            let name = word.to_ascii_uppercase();
            let name = name.trim_start_matches("CAP_").to_owned();
            // As in documents: a kernel to come may have it.
            match serde_json::from_value::<Capability>(format!("CAP_{name}").into()) {
                Ok(known) => _ = added.insert(known),
                Err(_) => log.warn(&[format!("capability {word} is unknown, and left out")]),
            }
        }
        let mut sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
        let with = |set: &Option<Capabilities>| {
            Some(set.iter().flatten().chain(&added).copied().collect::<Capabilities>())
        };
        let (bounding, effective) = (with(sets.bounding()), with(sets.effective()));
        let permitted = with(sets.permitted());
        LinuxCapabilities::set_bounding(&mut sets, bounding)
            .set_effective(effective)
            .set_permitted(permitted);
        process.set_capabilities(Some(sets));
        Ok(())
    }
}

/// Of a process whose document says nothing of them; the default of the types has three, also as ambient ones.
fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None).set_effective(None).set_permitted(None);
    sets.set_inheritable(None).set_ambient(None);
    sets
}
