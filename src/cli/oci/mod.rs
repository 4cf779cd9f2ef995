//! `podspec oci`: the embedded runtime under the command line of OCI runtimes, for podman, containerd and whoever else
//! drives one. Through a link named `podspec-oci` it is the whole program. Errors go to standard error and, as others
//! read them there, to the file of `--log`.

mod exec;
mod list;
mod log;
mod run;
mod spec;
mod update;

use crate::cli::output;
use crate::oci::{Manager, OciError, Store};
use crate::sys::program;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::{CString, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The name under which this is the whole program.
const LINK: &str = "podspec-oci";

/// Run containers of OCI bundles, as runc and crun do
///
/// The embedded runtime under the command line of OCI runtimes. A link to podspec named `podspec-oci` takes
/// the same arguments without `oci`: `podman --runtime /usr/local/bin/podspec-oci run IMAGE`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  podspec oci spec --bundle demo                 writes demo/config.json
  podspec oci run --bundle demo demo1
  podspec oci create --bundle demo demo2 && podspec oci start demo2
  podspec oci exec -t demo2 sh
  podspec oci kill demo2 KILL && podspec oci delete demo2")]
pub(super) struct Oci {
    /// Directory for the state of containers
    // The name of podspec's own option, which it replaces here.
    #[arg(long, value_name = "DIR", default_value = "/run/podspec-oci")]
    root: PathBuf,
    /// Also write errors and warnings to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How they are written there
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = log::Format::Text)]
    log_format: log::Format,
    /// Also tell what is being done
    #[arg(long)]
    debug: bool,
    /// The same as `--cgroup-manager systemd`
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who makes cgroups: podspec in the file system, or systemd, a scope each
    #[arg(long, value_enum, value_name = "NAME", default_value_t = CgroupManager::Cgroupfs)]
    cgroup_manager: CgroupManager,
    /// Accepted for the sake of callers: whoever runs this is root
    #[arg(long, value_name = "BOOL", hide = true)]
    rootless: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CgroupManager {
    Cgroupfs,
    Systemd,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(run::Create),
    Start(run::Start),
    State(list::State),
    Kill(run::Kill),
    Delete(run::Delete),
    Run(run::Run),
    Exec(exec::Exec),
    List(list::List),
    Ps(list::Ps),
    Pause(run::Pause),
    Resume(run::Resume),
    Update(update::Update),
    Spec(spec::Spec),
    Features(spec::Features),
}

/// Podspec's own options stand before `oci`, and are none of these.
#[derive(Debug, Parser)]
#[command(
    name = "podspec oci",
    about = "Run containers of OCI bundles, as runc and crun do",
    version = VERSION,
    disable_version_flag = true,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
struct Alone {
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    oci: Oci,
}

/// In the words that callers look for.
const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1");

/// The arguments behind `podspec oci`, or those of the link. They are looked at before all others: a runtime
/// is called many times for each container.
pub(super) fn words() -> Option<Vec<OsString>> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    let is_link = Path::new(&program).file_name().is_some_and(|name| name == LINK);
    if !is_link && words.next()? != "oci" {
        return None;
    }
    Some(words.collect())
}

/// The whole program, with these arguments.
pub(super) fn alone(words: Vec<OsString>) -> ExitCode {
    // What these make stands in a container before its program runs there.
    let enters = ["create", "run", "exec"];
    if words.iter().any(|word| enters.iter().any(|name| word == name)) {
        // Before the arguments are read twice; why it could not be is said after that.
        let _ = seal();
    }
    let words = std::iter::once(OsString::from("podspec oci")).chain(words);
    let matches = Alone::command().get_matches_from(words);
    match Alone::from_arg_matches(&matches) {
        Ok(alone) => alone.oci.run(),
        Err(error) => error.exit(),
    }
}

/// In a container /proc/self/exe is this program until the container's own runs, and for good where that is an
/// interpreter of scripts: it must be one that nobody there can write (CVE-2019-5736).
pub(super) fn seal() -> std::io::Result<()> {
    let c_string = |word: OsString| Ok(CString::new(word.into_encoded_bytes())?);
    let argv = std::env::args_os().map(c_string).collect::<std::io::Result<Vec<_>>>()?;
    let env = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        c_string(name)
    });
    program::seal(&argv, &env.collect::<std::io::Result<Vec<_>>>()?)
}

impl Oci {
    pub(super) fn run(self) -> ExitCode {
        // Of a process in a container `exec` tells its exit code; this is none that programs choose.
        let failure = if matches!(self.command, Command::Exec(_)) { 255 } else { 1 };
        let log = match log::Log::open(self.log.as_deref(), self.log_format, self.debug) {
            Ok(log) => log,
            Err(error) => {
                let path = self.log.unwrap_or_default();
                output::error_line(&format!("error: cannot open {}: {error}", path.display()));
                return ExitCode::from(failure);
            }
        };
        let refused = |message: String| {
            log.error(&OciError::Usage { message });
            ExitCode::from(failure)
        };
        let enters =
            matches!(self.command, Command::Create(_) | Command::Run(_) | Command::Exec(_));
        if enters && let Err(error) = seal() {
            return refused(format!("cannot start from a read-only copy of podspec: {error}"));
        }
        let root = match std::path::absolute(&self.root) {
            Ok(root) => root,
            Err(error) => return refused(format!("{}: {error}", self.root.display())),
        };
        let cgroups = match self.cgroup_manager {
            CgroupManager::Cgroupfs if !self.systemd_cgroup => Manager::Cgroupfs,
            _ => Manager::Systemd,
        };
        let result = self.command.run(&Store::new(root), cgroups, &log);
        result.unwrap_or_else(|error| {
            log.error(&error);
            ExitCode::from(failure)
        })
    }
}

impl Command {
    fn run(self, store: &Store, cgroups: Manager, log: &log::Log) -> Result<ExitCode, OciError> {
        match self {
            Self::Create(command) => command.run(store, cgroups, log),
            Self::Start(command) => command.run(store, log),
            Self::State(command) => command.run(store),
            Self::Kill(command) => command.run(store),
            Self::Delete(command) => command.run(store, log),
            Self::Run(command) => command.run(store, cgroups, log),
            Self::Exec(command) => command.run(store, log),
            Self::List(command) => command.run(store, log),
            Self::Ps(command) => command.run(store),
            Self::Pause(command) => command.run(store),
            Self::Resume(command) => command.run(store),
            Self::Update(command) => command.run(store),
            Self::Spec(command) => command.run(),
            Self::Features(command) => command.run(),
        }
    }
}

fn print(text: &[u8]) -> Result<ExitCode, OciError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(OciError::Usage { message: format!("cannot write to standard output: {error}") })
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
