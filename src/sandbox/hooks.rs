//! OCI's hooks: programs of the machine's (or, last, the container's) that are told the container's state on their
//! standard input. They run in the caller's namespaces: those of the runtime, or in the child those of the container.

use super::error::SandboxError;
use crate::sys::process::pidfd_open;
use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Of what a hook has written, so much is told when it fails.
const TOLD_MAX: u64 = 1024;

/// Where a hook runs, and what it has of its surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    pub directory: &'a Path,
    /// What a hook whose document names no environment has; none: the caller's own.
    pub env: Option<&'a [String]>,
}

/// Runs one hook to its end. `kind` is its name in the document.
pub fn run_hook(kind: &str, hook: &Hook, site: Site<'_>, state: &[u8]) -> Result<(), SandboxError> {
    let failed = |why: String| SandboxError::Hook {
        what: format!("the {kind} hook {} {why}", hook.path().display()),
    };
    let refused = |error: io::Error| failed(format!("cannot be run: {error}"));
    let input = memory("podspec-hook-state", state).map_err(refused)?;
    let mut output = memory("podspec-hook-output", &[]).map_err(refused)?;
    let mut child = command(hook, site, input, &output)
        .and_then(|mut command| command.spawn())
        .map_err(refused)?;
    match finish(&mut child, hook.timeout()).map_err(refused)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let mut said = String::new();
            let told =
                output.rewind().and_then(|()| output.take(TOLD_MAX).read_to_string(&mut said));
            // An error is one line.
            let said = if told.is_ok() { said.trim().replace('\n', "; ") } else { String::new() };
            let colon = if said.is_empty() { "" } else { ": " };
            Err(failed(format!("failed ({status}){colon}{said}")))
        }
        None => Err(failed("did not end in time, and was killed".to_owned())),
    }
}

fn command(hook: &Hook, site: Site<'_>, input: File, output: &File) -> io::Result<Command> {
    let mut command = Command::new(hook.path());
    if let Some((name, arguments)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(arguments);
    }
    command.current_dir(site.directory);
    if let Some(env) = hook.env().as_deref().or(site.env) {
        command.env_clear().envs(env.iter().filter_map(|word| word.split_once('=')));
    }
    let both = (output.try_clone()?, output.try_clone()?);
    command.stdin(Stdio::from(input)).stdout(Stdio::from(both.0)).stderr(Stdio::from(both.1));
    Ok(command)
}

/// A file of its own for each stream: nobody has to carry anything meanwhile, and no writer waits.
fn memory(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// None: it took longer than `seconds` and is killed.
fn finish(child: &mut Child, seconds: Option<i64>) -> io::Result<Option<ExitStatus>> {
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0) else {
        return child.wait().map(Some);
    };
    let pid = i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let pidfd = pidfd_open(pid)?;
    let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let ended = loop {
        match rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other? > 0,
        }
    };
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(ended.then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::HookBuilder;

    fn run(script: &str, timeout: i64) -> Result<(), String> {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let hook = HookBuilder::default()
            .path("/bin/sh")
            .args(words)
            .env(vec!["A=b".to_owned()])
            .timeout(timeout)
            .build()
            .unwrap();
        let site = Site { directory: Path::new("/"), env: None };
        run_hook("prestart", &hook, site, b"{\"id\":\"x\"}").map_err(|e| e.to_string())
    }

    #[test]
    fn a_hook_is_told_the_state_and_nothing_else() {
        run(
            r#"[ "$(cat)" = '{"id":"x"}' ] && [ "$A" = b ] && [ "$(env | grep -c ^CARGO)" = 0 ]"#,
            9,
        )
        .unwrap();
    }

    #[test]
    fn how_it_failed_is_told() {
        let error = run("echo no; echo way >&2; exit 3", 9).unwrap_err();
        assert_eq!(error, "the prestart hook /bin/sh failed (exit status: 3): no; way");
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let error = run("exec sleep 100", 1).unwrap_err();
        assert_eq!(error, "the prestart hook /bin/sh did not end in time, and was killed");
    }
}
