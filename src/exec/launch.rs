//! Starts one container: its FIFOs, its cgroup, its process. The same road for the first start and for
//! every later one, from the same frozen [`Launch`].

use super::ExecError;
use crate::cgroup::{Cgroup, DevicePrograms, DeviceRule, Hierarchy, Legacy, OutOfMemory};
use crate::plan::step::{self, Input, Launch, Plan, Runtime, Stdio};
use crate::sandbox::{self, Child, Keeper, Order, Overlay, SandboxError};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The supervisor's ends of a container's output.
#[derive(Debug)]
pub struct Output {
    /// Non-blocking; open for writing too, so that its end never comes while no container has it open:
    /// epoll would tell of that again and again.
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A process that sets itself up in its cgroup.
#[derive(Debug)]
pub struct Created {
    /// Of another runtime's container the runner, until it says who was born.
    pub child: Child,
    pub cgroup: Cgroup,
    /// `cgroup.events` of the cgroup, which says when the last process is gone.
    pub events: OwnedFd,
}

/// A container's terminal.
#[derive(Debug)]
pub struct Terminal {
    /// Non-blocking.
    pub master: OwnedFd,
    /// The terminal outlives us with it. Dropped with the container's run.
    _keeper: Keeper,
}

/// Takes a terminal over from the container that made it.
pub fn keep_terminal(
    hierarchy: &Hierarchy,
    launch: &Launch,
    master: OwnedFd,
) -> Result<Terminal, ExecError> {
    // Beside the container's, which must become empty. No container's name has an underscore.
    let cgroup = hierarchy.make(&launch.cgroup.with_file_name("_terminals"))?;
    let keeper = Keeper::start(master.as_fd(), cgroup.fd())?;
    Ok(Terminal { master, _keeper: keeper })
}

/// Makes the FIFOs of a container, owned by whom its user is outside, and opens the supervisor's ends.
pub fn open_output(launch: &Launch) -> Result<Output, ExecError> {
    let owner = owner(launch);
    make_fifo(&launch.stdio.stdout, owner)?;
    make_fifo(&launch.stdio.stderr, owner)?;
    if let Input::Fifo { path } = &launch.stdio.input {
        make_fifo(path, owner)?;
    }
    let read = OFlag::O_RDWR | OFlag::O_NONBLOCK;
    Ok(Output {
        stdout: open_fifo(&launch.stdio.stdout, read)?,
        stderr: open_fifo(&launch.stdio.stderr, read)?,
    })
}

/// As `create`, for a container that ran before. Its cgroup is made anew: whatever clone3 puts into one that
/// `cgroup.kill` was written to is killed at once, also long after (tried on 6.18).
pub fn create_again(
    hierarchy: &Hierarchy,
    plan: &Plan,
    launch: &Launch,
) -> Result<Created, ExecError> {
    if let Some(runtime) = &launch.runtime {
        // With its cgroups, which are made anew below.
        known(runtime).delete()?;
    }
    hierarchy.remove(&launch.cgroup)?;
    for of in &launch.limits.legacy {
        Legacy { mount: &of.mount, path: &launch.cgroup }.remove()?;
    }
    create(hierarchy, plan, launch)
}

/// From here on the container uses the devices of its document alone; before, podspec has made its nodes.
pub fn bound_devices(
    programs: &mut DevicePrograms,
    launch: &Launch,
    created: &Created,
) -> Result<(), ExecError> {
    match device_rules(launch) {
        Some(rules) => Ok(programs.bound(&created.cgroup, &rules)?),
        None => Ok(()),
    }
}

/// What `bound_devices` takes longest for; while the container sets itself up, it costs nothing.
pub fn prepare_devices(programs: &mut DevicePrograms, launch: &Launch) {
    if let Some(rules) = device_rules(launch) {
        // A kernel that refuses does so again when it matters.
        let _ = programs.load(&rules);
    }
}

fn device_rules(launch: &Launch) -> Option<Vec<DeviceRule>> {
    let resources = launch.oci.linux().as_ref()?.resources().as_ref()?;
    crate::oci::device_rules(resources)
}

/// Whether processes of the container were killed because memory was out, as far as that is counted.
pub fn out_of_memory(launch: &Launch, created: &Created) -> OutOfMemory {
    let mut legacy = launch.limits.legacy.iter();
    let legacy = legacy.find(|of| of.controller == "memory").map(|of| of.mount.as_path());
    if legacy.is_none() && !launch.limits.controllers.contains("memory") {
        return OutOfMemory::default();
    }
    created.cgroup.out_of_memory(legacy)
}

/// Begins to set the container up.
pub fn create(hierarchy: &Hierarchy, plan: &Plan, launch: &Launch) -> Result<Created, ExecError> {
    let cgroup = hierarchy.make(&launch.cgroup)?;
    cgroup.limit(&launch.limits.files)?;
    let legacy = launch.limits.legacy.iter();
    let legacy = legacy.map(|of| Legacy { mount: &of.mount, path: &launch.cgroup }.make(&of.files));
    let join = legacy.collect::<Result<Vec<_>, _>>()?;
    let events = cgroup.events()?;
    // Read and write: so the container never gets SIGPIPE, and loses no line, while no supervisor reads.
    let (stdout, stderr) = open_container_ends(&launch.stdio)?;
    // So, too, its stdin never ends: it holds a writing end itself, whoever else comes and goes.
    let stdin = match &launch.stdio.input {
        Input::Fifo { path } => Some(open_fifo(path, OFlag::O_RDWR)?),
        Input::Nothing | Input::Terminal { .. } => None,
    };
    let overlays = overlays(&launch.root.overlays);
    let stdin = stdin.as_ref().map(AsFd::as_fd);
    if let Some(runtime) = &launch.runtime {
        let beside = launch.cgroup.with_file_name(format!("_runtime-{}", launch.container));
        // With what a run before this one may have left half made.
        hierarchy.remove(&beside)?;
        // What the runtime makes becomes this process's child.
        sandbox::runtime::take_orphans(true);
        let child = sandbox::runner::create(&sandbox::runner::Contract {
            runtime: known(runtime),
            bundle: &runtime.bundle,
            oci: &plan.document(launch),
            overlays: &overlays,
            beneath: &launch.beneath,
            stdin,
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            cgroup: hierarchy.make(&beside)?.fd(),
            home: cgroup.fd(),
        })?;
        return Ok(Created { child, cgroup, events });
    }
    let child = sandbox::create(&Order {
        oci: &launch.oci,
        filter: plan.filter(launch),
        overlays: &overlays,
        beneath: &launch.beneath,
        init: launch.init,
        stdin,
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        cgroup: cgroup.fd(),
        join: &join,
        extras: sandbox::Extras::default(),
    })?;
    Ok(Created { child, cgroup, events })
}

/// Another runtime in the sandbox's words.
pub fn known(runtime: &Runtime) -> sandbox::runtime::Runtime<'_> {
    let Runtime { program, state, id, clock, .. } = runtime;
    sandbox::runtime::Runtime { program, state, id, clock: clock.as_deref() }
}

fn open_container_ends(stdio: &Stdio) -> Result<(OwnedFd, OwnedFd), ExecError> {
    Ok((open_fifo(&stdio.stdout, OFlag::O_RDWR)?, open_fifo(&stdio.stderr, OFlag::O_RDWR)?))
}

/// The root of a container that does not run, to be read, for this process alone.
pub fn remains(launch: &Launch) -> Result<OwnedFd, SandboxError> {
    let overlays = overlays(&launch.root.overlays);
    let Launch { oci, beneath, .. } = launch;
    sandbox::remains(&sandbox::Remains { oci, overlays: &overlays, beneath })
}

/// Layers as they are merged for a container, for this process alone; `scratch` is for what overlayfs wants to write.
pub fn merged(layers: &[step::Overlay], scratch: &Path) -> Result<OwnedFd, SandboxError> {
    let mut overlays = overlays(layers);
    for (n, overlay) in overlays.iter_mut().enumerate() {
        overlay.upper = scratch.join(format!("{n}.upper"));
        overlay.work = scratch.join(format!("{n}.work"));
    }
    sandbox::merged(&overlays)
}

fn overlays(layers: &[step::Overlay]) -> Vec<Overlay> {
    layers
        .iter()
        .map(|overlay| Overlay {
            at: overlay.at.clone(),
            lower: overlay.lower.clone(),
            upper: overlay.upper.clone(),
            work: overlay.work.clone(),
        })
        .collect()
}

fn owner(launch: &Launch) -> (u32, u32) {
    launch.oci.process().as_ref().map_or((0, 0), |process| {
        let user = process.user();
        sandbox::maps(&launch.oci).owner(user.uid(), user.gid())
    })
}

fn make_fifo(path: &Path, (uid, gid): (u32, u32)) -> Result<(), ExecError> {
    let error = |source: io::Error| ExecError::MakeFifo { path: path.to_owned(), source };
    match nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)) {
        Ok(()) => {}
        // Of an attempt that a crash cut short.
        Err(nix::errno::Errno::EEXIST) => {}
        Err(errno) => return Err(error(errno.into())),
    }
    if (uid, gid) != (0, 0) {
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(error)?;
    }
    Ok(())
}

fn open_fifo(path: &Path, flags: OFlag) -> Result<OwnedFd, ExecError> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    nix::fcntl::open(path, flags, Mode::empty())
        .map_err(|errno| ExecError::OpenFifo { path: path.to_owned(), source: errno.into() })
}
