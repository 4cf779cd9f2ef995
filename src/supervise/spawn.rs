//! Makes a pod's supervisor out of a client, before the client has even read its file: the exec overlaps
//! with that. It is born in the cgroup of all supervisors (to move a process into a cgroup later costs
//! the kernel 8 to 20 ms), in a session of its own, from a read-only copy of the program that nobody can
//! write through /proc/PID/exe.

use crate::cgroup::{self, CgroupError, Hierarchy};
use crate::sys::{clone, cpus, descriptors, program};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// All supervisors' cgroup, in podspec's own.
const CGROUP: &str = "supervisors";
/// It cannot go as often as that.
const TRIES: u32 = 3;
/// What the program is called with to be a supervisor.
pub const ARGUMENT: &str = "__supervise";
/// Where the supervisor finds its channel.
const CHANNEL: i32 = 3;
/// Where it finds its own program. It holds it as long as it lives: whoever is the last to let go of a
/// detached mount waits for the kernel's readers (`synchronize_rcu_expedited`), 1 ms in the middle of exec.
const PROGRAM: i32 = 4;

/// The supervisor's whole environment. Up to seven freed pieces of each size are kept for the next who asks, and
/// each may keep a page of what was free around it: 0.7 MB after a start of 200 containers.
const ALLOCATOR: &CStr = c"GLIBC_TUNABLES=glibc.malloc.tcache_count=0";

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot make a cgroup for the supervisor")]
    Cgroup(#[from] CgroupError),
    #[error("cannot make a channel to the supervisor")]
    Channel { source: io::Error },
    #[error("cannot start the supervisor")]
    Start { source: io::Error },
}

/// A supervisor that waits for a plan, and leaves when its channel is closed.
#[derive(Debug)]
pub struct Supervisor {
    pub channel: UnixStream,
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// Starts a supervisor. The caller must not have a second thread yet.
pub fn spawn() -> Result<Supervisor, SpawnError> {
    let start = |source| SpawnError::Start { source };
    let hierarchy = Hierarchy::open()?;
    let (ours, theirs) = UnixStream::pair().map_err(|source| SpawnError::Channel { source })?;
    let binary = program::sealed_copy().map_err(start)?;
    match born(&hierarchy)? {
        clone::Cloned::Parent { pid, pidfd } => {
            cpus::spread(pid);
            Ok(Supervisor { channel: ours, pid, pidfd })
        }
        clone::Cloned::Child => become_supervisor(&binary, &theirs.into()),
    }
}

/// In the cgroup of all supervisors. Under systemd that goes with the last of them, maybe at this very moment.
fn born(hierarchy: &Hierarchy) -> Result<clone::Cloned, SpawnError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (cgroup, _placeholder) = cgroup::move_in(hierarchy, CGROUP)?;
        match clone::clone3(0, Some(cgroup.fd())) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) && tries < TRIES => {}
            born => return born.map_err(|source| SpawnError::Start { source }),
        }
    }
}

/// In the child: there is nobody to tell but the closed channel.
fn become_supervisor(binary: &OwnedFd, channel: &OwnedFd) -> ! {
    let _ = nix::unistd::setsid();
    descriptors::restore_open_files();
    // `/` holds no mount of the caller's busy.
    let _ = std::env::set_current_dir("/");
    if let Ok(kept) = place_descriptors(channel, binary) {
        let argv = [c"podspec".to_owned(), CString::new(ARGUMENT).unwrap_or_default()];
        let _ = program::exec_fd(kept[1].as_fd(), &argv, &[ALLOCATOR.to_owned()]);
    }
    clone::exit_now(1)
}

/// Standard streams to nowhere, the channel at its number, the program behind it; nothing else stays.
fn place_descriptors(channel: &OwnedFd, binary: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let nowhere = Some(null.as_fd());
    let kept = descriptors::keep_only([nowhere; 3], &[channel.as_fd(), binary.as_fd()])?;
    // `null` was closed with everything else.
    std::mem::forget(null);
    for fd in &kept {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    }
    Ok(kept)
}

/// What a process holds that was started as a supervisor.
#[derive(Debug)]
pub struct Inherited {
    pub channel: OwnedFd,
    /// Only to be held.
    pub program: OwnedFd,
}

/// Takes over what `spawn` left; an error in a process that it did not start.
pub fn inherited() -> io::Result<Inherited> {
    let program = descriptors::inherited(PROGRAM)?;
    Ok(Inherited { channel: descriptors::inherited(CHANNEL)?, program })
}
