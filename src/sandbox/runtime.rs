//! Other OCI runtimes (crun, runc, …): their `create`, `start`, `exec`, `kill` and `delete`, each a process of the
//! runtime's that is soon over. What they make becomes the caller's child, and is waited for and signalled as any
//! container of podspec's own.

use super::channel::{pair, receive};
use super::error::{At, SandboxError, Stage};
use super::{Child, Entered, namespaces, root};
use crate::sys::clone::{Cloned, clone3, exit_now};
use crate::sys::descriptors::{keep_only, restore_open_files};
use crate::sys::identity::default_signals;
use crate::sys::process;
use crate::sys::program::{PATH, exec_path};
use nix::sched::CloneFlags;
use oci_spec::runtime::Process;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::process::Signal;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A runtime that is asked to delete a container and has not after that is stuck. Seconds.
const PATIENCE: i64 = 10;
/// Files of a call, in its directory.
const LOG: &str = "log.json";
const PID: &str = "pid";
const SOCKET: &str = "console.sock";
const PROCESS: &str = "process.json";

/// A runtime, and the container as it knows it.
#[derive(Debug, Clone, Copy)]
pub struct Runtime<'a> {
    pub program: &'a Path,
    /// Its `--root`, where it keeps what it knows.
    pub state: &'a Path,
    pub id: &'a str,
    /// The time namespace that the container joins. Not every runtime knows of such; and one that looks at the clocks of
    /// another takes its own containers for dead.
    pub clock: Option<&'a Path>,
}

/// A further process of the container.
#[derive(Debug, Clone, Copy)]
pub struct Further<'a> {
    pub process: &'a Process,
    /// The container's. The call's own files are for a moment in a directory in there.
    pub bundle: &'a Path,
    /// /dev/null where None. With a terminal, they are none of the program's.
    pub streams: [Option<BorrowedFd<'a>>; 3],
    /// As [`Contract::home`](super::runner::Contract::home).
    pub home: BorrowedFd<'a>,
}

/// Whether what descendants leave behind becomes the caller's child (PR_SET_CHILD_SUBREAPER).
pub fn take_orphans(takes: bool) {
    // The kernel refuses nobody.
    let _ = rustix::process::set_child_subreaper(takes.then(rustix::process::getpid));
}

/// A call after which a process is there that was not.
pub(super) struct Birth<'a> {
    pub(super) verb: &'a str,
    pub(super) words: &'a [&'a str],
    /// Where the runtime stands.
    pub(super) directory: &'a Path,
    pub(super) streams: [Option<BorrowedFd<'a>>; 3],
    pub(super) terminal: bool,
    pub(super) home: BorrowedFd<'a>,
    /// As [`Given::stage`].
    pub(super) stage: Option<&'a Path>,
}

pub(super) struct Born {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) terminal: Option<OwnedFd>,
}

/// What a process of the runtime's is given; by itself nothing.
#[derive(Clone, Copy, Default)]
struct Given<'a> {
    /// Where it stands, and writes its log.
    directory: Option<&'a Path>,
    streams: [Option<BorrowedFd<'a>>; 3],
    cgroup: Option<BorrowedFd<'a>>,
    /// Made anew, for it alone: runc stands in the path of the root whatever is there.
    stage: Option<&'a Path>,
}

/// Directories that are on every machine.
const STAGES: [&str; 3] = ["/mnt", "/media", "/srv"];
/// The container's root on the stage.
pub(super) const ROOT: &str = "root";

/// Covers the directory in this mount namespace, and makes a place for the root.
pub(super) fn make_stage(stage: &Path) -> Result<PathBuf, Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("podspec", stage, "tmpfs", flags, c"mode=0755,size=1m")?;
    let root = stage.join(ROOT);
    rustix::fs::mkdir(&root, Mode::from_raw_mode(0o755))?;
    Ok(root)
}

impl Runtime<'_> {
    /// Where the root and the sources of mounts are put, in a mount namespace that nobody else sees: over a directory in
    /// which nothing lies that the runtime needs. All above it can be passed by anyone: a runtime mounts as the
    /// container's root, who may be nobody out here.
    pub(super) fn stage(&self, bundle: &Path) -> Result<&'static Path, SandboxError> {
        let is_free = |place: &&Path| {
            let needed = [self.program, self.state, bundle];
            place.is_dir() && !needed.iter().any(|needed| needed.starts_with(place))
        };
        let found = STAGES.iter().map(Path::new).find(is_free);
        found.ok_or_else(|| SandboxError::unsupported("root at a path (there is no free /mnt)"))
    }

    /// Starts what was created; `directory` is for the files of the call.
    pub(super) fn start(&self, directory: &Path) -> Result<(), SandboxError> {
        let given = Given { directory: Some(directory), ..Given::default() };
        self.run(&["start", self.id], &given)
    }

    /// Starts a further process in the container, which is the caller's child if it is the reaper of its descendants
    /// (`take_orphans`). The process has begun; its channel says so.
    pub fn exec(&self, further: &Further<'_>) -> Result<Entered, SandboxError> {
        let Further { process, bundle, streams, home } = *further;
        let nanos = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_nsec;
        let directory = &bundle.join(format!("exec-{}-{nanos}", std::process::id()));
        let stage = Some(self.stage(bundle)?);
        std::fs::create_dir(directory).at(Stage::Bundle, directory)?;
        let text = serde_json::to_vec(process).map_err(std::io::Error::from);
        let written = text.and_then(|text| std::fs::write(directory.join(PROCESS), text));
        let born = written.at(Stage::Bundle, directory).and_then(|()| {
            let words = &["--detach", "--process", PROCESS];
            let terminal = process.terminal().unwrap_or(false);
            self.bear(&Birth { verb: "exec", words, directory, streams, terminal, home, stage })
        });
        let _ = std::fs::remove_dir_all(directory);
        let Born { pid, pidfd, terminal } = born?;
        let (channel, _) = pair()?;
        Ok(Entered { child: Child { pid, pidfd, channel }, terminal })
    }

    /// Sends a signal to the container's first process. The runtime's process is the caller's to be waited for.
    pub fn kill(&self, signal: i32) -> Result<OwnedFd, SandboxError> {
        self.begin(&["kill", self.id, &signal.to_string()], &Given::default())
    }

    /// Ends the container, if it is alive, and lets the runtime forget it; one that it does not know is forgotten.
    pub fn delete(&self) -> Result<(), SandboxError> {
        if !self.knows() {
            return Ok(());
        }
        let pidfd = self.begin(&["delete", "--force", self.id], &Given::default())?;
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
        if !matches!(rustix::event::poll(&mut polled, Some(&patience)), Ok(1)) {
            let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        match exit_code(&pidfd) {
            0 => Ok(()),
            code => Err(self.refused("delete", &format!("exit code {code}"))),
        }
    }

    /// Each runtime has files of its own; their names begin with the container's.
    fn knows(&self) -> bool {
        let all = std::fs::read_dir(self.state).into_iter().flatten().flatten();
        all.into_iter().any(|entry| entry.file_name().as_bytes().starts_with(self.id.as_bytes()))
    }

    pub(super) fn bear(&self, birth: &Birth<'_>) -> Result<Born, SandboxError> {
        let Birth { verb, directory, streams, stage, .. } = *birth;
        for left in [SOCKET, PID] {
            let _ = std::fs::remove_file(directory.join(left));
        }
        let console = birth.terminal.then(|| listen(directory)).transpose();
        let console = console.at(Stage::Terminal, "of the runtime")?;
        let mut words = vec![verb];
        words.extend(birth.words);
        words.extend(["--pid-file", PID]);
        if console.is_some() {
            words.extend(["--console-socket", SOCKET]);
        }
        words.push(self.id);
        let cgroup = (!is_unified()).then_some(birth.home);
        self.run(&words, &Given { directory: Some(directory), streams, cgroup, stage })?;
        let text = std::fs::read_to_string(directory.join(PID)).unwrap_or_default();
        let pid = text.trim().parse();
        let pid = pid.map_err(|_| self.refused(verb, "it has made no process"))?;
        // Its parent has gone, and whoever is its parent now waits for nobody meanwhile: its number is nobody else's.
        let pidfd = process::pidfd_open(pid).at(Stage::Clone, "of the runtime")?;
        let terminal = console.map(|console| master(&console)).transpose()?;
        Ok(Born { pid, pidfd, terminal })
    }

    /// To its end; what the runtime says of a failure is the error.
    fn run(&self, words: &[&str], given: &Given<'_>) -> Result<(), SandboxError> {
        let log = given.directory.unwrap_or(Path::new("")).join(LOG);
        let _ = std::fs::remove_file(&log);
        match exit_code(&self.begin(words, given)?) {
            0 => Ok(()),
            code => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let said = last_error(&log).unwrap_or_else(|| format!("exit code {code}"));
                Err(self.refused(words[0], &said))
            }
        }
    }

    fn refused(&self, verb: &str, why: &str) -> SandboxError {
        SandboxError::Runtime { what: format!("`{} {verb}`: {why}", self.program.display()) }
    }

    fn begin(&self, words: &[&str], given: &Given<'_>) -> Result<OwnedFd, SandboxError> {
        let (program, state) = (self.program.as_os_str(), self.state.as_os_str());
        let log = if given.directory.is_some() { LOG } else { "/dev/null" };
        let mut argv = vec![program.as_bytes(), b"--root", state.as_bytes()];
        argv.extend([b"--log".as_slice(), log.as_bytes(), b"--log-format", b"json"]);
        argv.extend(words.iter().map(|word| word.as_bytes()));
        let argv = argv.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let argv = argv.map_err(|_| Errno::INVAL).at(Stage::Program, self.program)?;
        match clone3(0, given.cgroup).at(Stage::Clone, self.program)? {
            Cloned::Parent { pidfd, .. } => Ok(pidfd),
            Cloned::Child => {
                // There is nobody to tell but the exit code, which is a shell's for a program that cannot be run.
                let _ = self.become_runtime(&argv, given);
                exit_now(127)
            }
        }
    }

    fn become_runtime(&self, argv: &[CString], given: &Given<'_>) -> std::io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        default_signals()?;
        restore_open_files();
        if let Some(directory) = given.directory {
            rustix::process::chdir(directory)?;
        }
        if let Some(stage) = given.stage {
            nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
            root::isolate_mounts().map_err(std::io::Error::other)?;
            make_stage(stage)?;
        }
        // Where it is gone, so is the container.
        if let Some(clock) = self.clock.and_then(|clock| namespaces::open(clock).ok()) {
            nix::sched::setns(clock, namespaces::NEWTIME)?;
        }
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let streams = given.streams.map(|stream| Some(stream.unwrap_or(null.as_fd())));
        keep_only(streams, &[])?;
        // Its whole environment: where it finds its own helpers (newuidmap, criu).
        let path = CString::new(format!("PATH={PATH}"))?;
        Err(exec_path(&argv[0], argv, &[path]))
    }
}

/// As runtimes ask it: whether all of this machine's cgroups are of v2.
pub(super) fn is_unified() -> bool {
    const CGROUP2_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type == CGROUP2_MAGIC)
}

/// For the terminal that the runtime makes. By a descriptor: the path of a socket holds 108 bytes.
fn listen(directory: &Path) -> std::io::Result<UnixListener> {
    let opened = File::open(directory)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()))
}

/// Of the terminal that the runtime has made, which it has sent before it ended.
fn master(console: &UnixListener) -> Result<OwnedFd, SandboxError> {
    let take = || {
        rustix::io::ioctl_fionbio(console, true)?;
        let connection = rustix::net::accept(console)?;
        // With its name, which nobody needs.
        let (_, master) = receive(connection.as_fd(), &mut [0; 256])?;
        master.ok_or(Errno::BADMSG)
    };
    take().at(Stage::Terminal, "of the runtime")
}

/// Of one that cannot be waited for no program has this one.
fn exit_code(pidfd: &OwnedFd) -> i32 {
    process::exit_code(pidfd.as_fd(), true).unwrap_or(255)
}

/// What a runtime's log, a JSON object a line, says at last.
fn last_error(log: &str) -> Option<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut errors = lines.filter(|line| line["level"] != "info" && line["level"] != "debug");
    errors.rfind(|line| line["msg"].is_string())?["msg"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_told() {
        let log = r#"{"level":"warning","msg":"first"}
            {"level":"error","msg":"no such program","time":"x"}
            {"level":"info","msg":"bye"}
            cut"#;
        assert_eq!(last_error(log).as_deref(), Some("no such program"));
        assert_eq!(last_error("crun: something"), None);
    }
}
