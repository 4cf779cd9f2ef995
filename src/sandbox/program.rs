//! From a set-up child to its program: which file it is, by the container's own PATH, and the exec.

use super::error::{At, SandboxError, Stage};
use super::identity;
use crate::sys::clone::fork;
use crate::sys::descriptors::close_at_exec;
use crate::sys::filter;
use crate::sys::identity::{block_signals, default_signals};
use crate::sys::program::{PATH, exec_fd, exec_path, sealed_memfd};
use oci_spec::runtime::Process;
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd;

/// A program that was found, with all that execve takes.
pub(super) struct Program {
    /// It has no descriptor from this number on.
    pub(super) close_from: u32,
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Looks as the container's user, in the container's root and working directory.
    pub(super) fn find(process: &Process) -> Result<Self, SandboxError> {
        let args = process.args().as_deref().unwrap_or(&[]);
        let Some(name) = args.first() else { return Err(missing("", Errno::NOENT)) };
        let env = process.env().as_deref().unwrap_or(&[]);
        let found = if name.contains('/') {
            executable(name).map(|()| name.clone())
        } else {
            let path = env.iter().find_map(|word| word.strip_prefix("PATH=")).unwrap_or(PATH);
            search(name, path)
        };
        let path = found.map_err(|e| missing(name, e))?;
        let (argv, env) = (c_strings(args)?, c_strings(env)?);
        Ok(Self { close_from: 3, path: c_string(&path)?, argv, env })
    }

    /// Ends in execve; returns only to say why it could not.
    pub(super) fn run(&self, filter: Option<&filter::Program>) -> Result<Infallible, SandboxError> {
        let name = || self.path.to_string_lossy().into_owned();
        let fail = |e: std::io::Error| SandboxError::step(Stage::Execute, name(), e);
        // The containers live on when whoever started them dies.
        rustix::process::set_parent_process_death_signal(None).map_err(|e| fail(e.into()))?;
        close_at_exec(self.close_from).map_err(fail)?;
        confine(filter)?;
        let error = exec_path(&self.path, &self.argv, &self.env);
        match error.raw_os_error() {
            Some(libc::EACCES | libc::ENOEXEC | libc::EISDIR) => {
                Err(SandboxError::NotExecutable { program: name(), source: error })
            }
            // ENOENT here is its interpreter: the file itself was found.
            _ => Err(fail(error)),
        }
    }
}

/// As late as can be: no call of ours but execve has to be one that the filter allows.
fn confine(filter: Option<&filter::Program>) -> Result<(), SandboxError> {
    let Some(filter) = filter else { return Ok(()) };
    identity::raise_admin().at(Stage::Filter, "system calls")?;
    filter::filter_system_calls(filter).at(Stage::Filter, "system calls")
}

/// What `init` makes the first process.
const REAPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

impl Program {
    /// As the child of a reaper, which this process becomes. The program is in a process group of its own, the one in
    /// front where there is a terminal: what is typed there reaches it once.
    pub(super) fn run_under_reaper(
        &self,
        terminal: bool,
        filter: Option<&filter::Program>,
    ) -> Result<Infallible, SandboxError> {
        let fail = |e: std::io::Error| SandboxError::step(Stage::Program, "the reaper", e);
        let reaper = sealed_memfd(c"podspec-init", REAPER).map_err(fail)?;
        block_signals().map_err(fail)?;
        match fork().map_err(fail)? {
            None => {
                rustix::process::setpgid(None, None).map_err(|e| fail(e.into()))?;
                if terminal {
                    // While its signals are blocked: who is in the background may not take the front (SIGTTOU).
                    let own = rustix::process::getpid();
                    rustix::termios::tcsetpgrp(rustix::stdio::stdin(), own)
                        .map_err(|e| fail(e.into()))?;
                }
                default_signals().map_err(fail)?;
                self.run(filter)
            }
            Some(child) => {
                rustix::process::set_parent_process_death_signal(None)
                    .map_err(|e| fail(e.into()))?;
                close_at_exec(3).map_err(fail)?;
                confine(filter)?;
                let argv = [c"podspec-init".to_owned(), c_string(&child.to_string())?];
                Err(fail(exec_fd(reaper.as_fd(), &argv, &[])))
            }
        }
    }
}

fn missing(name: &str, e: Errno) -> SandboxError {
    let program = name.to_owned();
    match e {
        Errno::NOENT | Errno::NOTDIR => SandboxError::NotFound { program, source: e.into() },
        Errno::ACCESS => SandboxError::NotExecutable { program, source: e.into() },
        e => SandboxError::step(Stage::Program, program, e),
    }
}

/// As execvp: a file that may not be executed does not end the search, but is what is told if nothing else is found.
fn search(name: &str, path: &str) -> Result<String, Errno> {
    let mut worst = Errno::NOENT;
    for directory in path.split(':') {
        let candidate =
            if directory.is_empty() { format!("./{name}") } else { format!("{directory}/{name}") };
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => worst = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(worst)
}

fn executable(path: &str) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty())?;
    let mode = rustix::fs::stat(path)?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::RegularFile { Ok(()) } else { Err(Errno::ACCESS) }
}

fn c_strings(words: &[String]) -> Result<Vec<CString>, SandboxError> {
    words.iter().map(|word| c_string(word)).collect()
}

fn c_string(word: &str) -> Result<CString, SandboxError> {
    CString::new(word)
        .map_err(|_| SandboxError::step(Stage::Program, word.replace('\0', "\\0"), Errno::INVAL))
}
