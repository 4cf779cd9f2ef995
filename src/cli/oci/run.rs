//! From a bundle to a container, and its life: `create`, `start`, `run`, `kill`, `delete`, `pause`, `resume`.

use super::log::Log;
use crate::cli::exec::exit_code;
use crate::cli::streams::Streams;
use crate::cli::terminal::lend_size;
use crate::oci::{self, Ask, Document, Fresh, Manager, OciError, Store};
use crate::sys::descriptors::inherited_among;
use nix::sys::signal::Signal;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `create` and `run` take.
#[derive(Debug, clap::Args)]
struct Making {
    /// The bundle: a directory with config.json and the root
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Another file than config.json, relative to the bundle
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A unix socket that takes the terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Write the pid of the container's first process there
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Move the root instead of pivot_root(2), for an initramfs
    #[arg(long)]
    no_pivot: bool,
    /// The container keeps the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Of the next so many descriptors, from 3 on, those that are open are the container's, too
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    preserve_fds: u32,
    /// Accepted for the sake of callers: a process that starts others waits for them
    #[arg(long, hide = true)]
    no_subreaper: bool,
    /// The container's name
    #[arg(value_name = "ID")]
    id: String,
}

/// Descriptors are few; a number that is a mistake is refused at once.
pub(super) const PRESERVED_MOST: u32 = 1024;

impl Making {
    /// The document, with what a service manager hands down.
    fn load(&mut self, log: &Log) -> Result<Document, OciError> {
        let usage = |message: String| Err(OciError::Usage { message });
        let mut document = oci::load(&self.bundle, self.config.as_deref())?;
        log.warn(&document.warnings);
        if let Some(count) =
            std::env::var_os("LISTEN_FDS").and_then(|word| word.to_str()?.parse().ok())
        {
            self.preserve_fds = self.preserve_fds.saturating_add(count);
            if let Some(process) = document.spec.process_mut() {
                let mut env = process.env().clone().unwrap_or_default();
                env.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()]);
                process.set_env(Some(env));
            }
        }
        let wanted = self.preserve_fds;
        if wanted > PRESERVED_MOST {
            return usage(format!(
                "{wanted} descriptors cannot be preserved; {PRESERVED_MOST} can"
            ));
        }
        log.debug(&format!("read the document of the bundle {}", document.bundle.display()));
        Ok(document)
    }

    fn make(
        &self,
        store: &Store,
        document: &Document,
        way: Way,
        streams: &Streams,
    ) -> Result<Fresh, OciError> {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let own = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let mut theirs = own;
        for (theirs, given) in theirs.iter_mut().zip(&streams.child) {
            if let Some(given) = given {
                *theirs = given.as_fd();
            }
        }
        let preserved = inherited_among(self.preserve_fds);
        let ask = Ask {
            id: &self.id,
            console_socket: self.console_socket.as_deref(),
            pid_file: self.pid_file.as_deref(),
            preserved: &preserved,
            cgroups: way.cgroups,
            no_pivot: self.no_pivot,
            keep_keyring: self.no_new_keyring,
            streams: theirs,
            waits: way.waits,
        };
        oci::create(store, document, &ask)
    }
}

/// Who makes its cgroup, and whether another process starts it.
#[derive(Debug, Clone, Copy)]
struct Way {
    cgroups: Manager,
    waits: bool,
}

/// Make a container, which waits for `start`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci create --bundle demo demo1
  podspec oci create --bundle demo --console-socket s --pid-file pid demo1")]
pub(super) struct Create {
    #[command(flatten)]
    making: Making,
}

impl Create {
    pub(super) fn run(
        mut self,
        store: &Store,
        cgroups: Manager,
        log: &Log,
    ) -> Result<ExitCode, OciError> {
        let document = self.making.load(log)?;
        let way = Way { cgroups, waits: true };
        let fresh = self.making.make(store, &document, way, &Streams::default())?;
        log.debug(&format!("the container is made, and its first process is {}", fresh.child.pid));
        fresh.leave()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Start the program of a created container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci start demo1")]
pub(super) struct Start {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Start {
    pub(super) fn run(self, store: &Store, log: &Log) -> Result<ExitCode, OciError> {
        log.warn(&oci::start(store, &self.id)?);
        log.debug("its program runs");
        Ok(ExitCode::SUCCESS)
    }
}

/// Create and start a container, and wait for its end
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci run --bundle demo demo1
  podspec oci run --detach --bundle demo --pid-file pid demo1

Exit code: the program's; 128 + N where signal N ended it; 1 the container could not be made.")]
pub(super) struct Run {
    #[command(flatten)]
    making: Making,
    /// Return when the program runs; the container is removed by `delete`
    #[arg(short, long)]
    detach: bool,
    /// Keep the container when its program has ended
    #[arg(long)]
    keep: bool,
}

/// What a user or a service manager sends to a program in front.
const PASSED_ON: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
];

impl Run {
    pub(super) fn run(
        mut self,
        store: &Store,
        cgroups: Manager,
        log: &Log,
    ) -> Result<ExitCode, OciError> {
        let mut document = self.making.load(log)?;
        document.spec.process_mut().iter_mut().for_each(lend_size);
        let process = document.spec.process().as_ref();
        let terminal = process.and_then(|process| process.terminal()).unwrap_or(false);
        let usage = |message: String| OciError::Usage { message };
        let attached = !self.detach;
        if terminal && attached == self.making.console_socket.is_some() {
            let wanted = if attached { "`--detach` with" } else { "a detached one needs" };
            return Err(usage(format!(
                "a process with `terminal: true`: {wanted} `--console-socket`"
            )));
        }
        let failed = |error: io::Error| usage(format!("cannot carry its streams: {error}"));
        let mut streams = match attached {
            true => Streams::open(true, terminal).map_err(failed)?,
            false => Streams::default(),
        };
        if attached {
            let own = if terminal { &PASSED_ON[..9] } else { &PASSED_ON[..] };
            streams.pass_on(own).map_err(failed)?;
        }
        let way = Way { cgroups, waits: false };
        let fresh = self.making.make(store, &document, way, &streams)?;
        log.debug(&format!("the container is made, and its first process is {}", fresh.child.pid));
        let started = fresh.start();
        let warnings = match started {
            Ok(warnings) => warnings,
            Err(error) => {
                // The first error is the one to tell.
                let _ = oci::delete(store, &self.making.id, true);
                return Err(error);
            }
        };
        log.warn(&warnings);
        log.debug("its program runs");
        if self.detach {
            return Ok(ExitCode::SUCCESS);
        }
        let pidfd = fresh.child.pidfd.as_fd();
        let relayed = streams.relay(pidfd, fresh.terminal.as_ref(), true);
        let code = exit_code(pidfd);
        if !self.keep {
            log.warn(&oci::delete(store, &self.making.id, true)?);
        }
        relayed.map_err(failed)?;
        Ok(code)
    }
}

/// Send a signal to a container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci kill demo1
  podspec oci kill demo1 KILL
  podspec oci kill --all demo1 9")]
pub(super) struct Kill {
    /// To every process of the container
    #[arg(short, long)]
    all: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// By name or number
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    signal: String,
}

impl Kill {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        let number = signal(&self.signal).ok_or_else(|| OciError::Usage {
            message: format!("there is no signal `{}`", self.signal),
        })?;
        oci::kill(store, &self.id, number, self.all)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// `9`, `KILL`, `SIGKILL`, `rtmin+3`. Zero looks whether somebody is there.
fn signal(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse::<i32>() {
        return (0..=64).contains(&number).then_some(number);
    }
    crate::spec::signal::signal(word)
}

/// Remove a container that has stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci delete demo1
  podspec oci delete --force demo1")]
pub(super) struct Delete {
    /// Kill it first; one that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// All whose ids match this regular expression
    #[arg(short, long)]
    regex: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Delete {
    pub(super) fn run(self, store: &Store, log: &Log) -> Result<ExitCode, OciError> {
        if !self.regex {
            log.warn(&oci::delete(store, &self.id, self.force)?);
            return Ok(ExitCode::SUCCESS);
        }
        let pattern = regex::Regex::new(&self.id)
            .map_err(|error| OciError::Usage { message: error.to_string() })?;
        let (found, _) = store.list()?;
        for container in found.iter().filter(|found| pattern.is_match(found.id())) {
            log.warn(&oci::delete(store, container.id(), self.force)?);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Stop every process of a container where it is
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci pause demo1")]
pub(super) struct Pause {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Pause {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        oci::pause(store, &self.id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Let the processes of a paused container go on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci resume demo1")]
pub(super) struct Resume {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Resume {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        oci::resume(store, &self.id)?;
        Ok(ExitCode::SUCCESS)
    }
}
