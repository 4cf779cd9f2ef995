//! The runner of another runtime's container: a child between the supervisor and the runtime. It puts the root together in
//! a mount namespace of its own, lets the runtime create the container there, hands over its first process, waits for
//! Start as every child does, and lets the runtime start it.

use super::channel::{await_start, last_word, pair, say_born, say_ready, send_terminal};
use super::container::User;
use super::error::{At, SandboxError, Stage};
use super::identity::{guard, make_files_as};
use super::root::{self, Kind, Root, attach, kind_of};
use super::runtime::{self, Birth, Runtime, is_unified};
use super::{Child, Overlay, mounts, namespaces, owned};
use crate::sys::clone::{Cloned, clone3, exit_now};
use crate::sys::descriptors::keep_only;
use crate::sys::identity::default_signals;
use crate::sys::ids::Maps;
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Mount, Spec};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::process::Signal;
use rustix::stdio::{stderr, stdin, stdout};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where every container has file systems of the kernel's.
const KERNELS: [&str; 3] = [mounts::DEV, "/proc", "/sys"];

/// A container that it is to make.
#[derive(Debug, Clone, Copy)]
pub struct Contract<'a> {
    pub runtime: Runtime<'a>,
    /// Where its bundle is made.
    pub bundle: &'a Path,
    /// Complete: with `linux.seccomp`.
    pub oci: &'a Spec,
    pub overlays: &'a [Overlay],
    /// As [`Order::beneath`](super::Order::beneath).
    pub beneath: &'a BTreeMap<PathBuf, PathBuf>,
    /// /dev/null where None. Where the document asks for a terminal, that is stdin, stdout and stderr.
    pub stdin: Option<BorrowedFd<'a>>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Where the runner and the runtime are born.
    pub cgroup: BorrowedFd<'a>,
    /// The container's own of the v2 hierarchy. A runtime that knows v1 alone moves nobody there: what it makes is born
    /// there.
    pub home: BorrowedFd<'a>,
}

/// Makes the container's first process, by a runner that reports Born with it, then Ready, and waits for `start`. The
/// caller must be the reaper of its descendants (PR_SET_CHILD_SUBREAPER) until Born: the process becomes its child.
pub fn create(contract: &Contract<'_>) -> Result<Child, SandboxError> {
    let user = owned::user(contract.oci)?;
    let mapped = owned::for_mounts(contract.oci)?;
    let (parent, child) = pair()?;
    match clone3(0, Some(contract.cgroup)).at(Stage::Clone, "of the runtime")? {
        Cloned::Parent { pid, pidfd } => Ok(Child { pid, pidfd, channel: parent }),
        Cloned::Child => super::in_child(child.as_fd(), |channel| {
            become_runner(contract, user.as_ref(), &mapped, channel)
        }),
    }
}

fn become_runner(
    contract: &Contract<'_>,
    user: Option<&(OwnedFd, Maps)>,
    mapped: &[(Maps, OwnedFd)],
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let mut kept = vec![channel, contract.home];
    kept.extend(mapped.iter().map(|(_, namespace)| namespace.as_fd()));
    kept.extend(user.map(|(namespace, _)| namespace.as_fd()));
    let stdio = [contract.stdin, Some(contract.stdout), Some(contract.stderr)];
    let kept = keep_only(stdio, &kept).at(Stage::Stdio, "of the runtime")?;
    let [channel, home, namespaces @ ..] = &kept[..] else {
        return Err(SandboxError::unsupported("channel"));
    };
    let maps = mapped.iter().map(|(maps, _)| maps);
    let mapped: Vec<_> = maps.zip(namespaces.iter().map(AsFd::as_fd)).collect();
    let user = user.zip(namespaces.last());
    let user = user.map(|((_, maps), namespace)| User::new(namespace.as_fd(), maps));
    let runner = Runner { contract, user, mapped: &mapped, home: home.as_fd() };
    last_word(channel, runner.run(channel.as_fd()))
}

struct Runner<'a> {
    contract: &'a Contract<'a>,
    user: Option<User<'a>>,
    /// As [`Sources::mapped`](mounts::Sources::mapped).
    mapped: &'a [(&'a Maps, BorrowedFd<'a>)],
    home: BorrowedFd<'a>,
}

impl Runner<'_> {
    fn run(&self, channel: BorrowedFd<'_>) -> Result<Infallible, SandboxError> {
        guard(Some(Signal::KILL)).at(Stage::Identity, "dumpable")?;
        default_signals().at(Stage::Identity, "signals")?;
        rustix::process::setsid().at(Stage::Identity, "session")?;
        rustix::process::umask(Mode::from_raw_mode(super::UMASK));
        self.make_bundle()?;
        let runtime = &self.contract.runtime;
        self.create(channel)?;
        say_ready(channel)?;
        await_start(channel)?;
        if let Err(error) = runtime.start(self.contract.bundle) {
            // Who waits for its start must not wait for ever; the first error is the one to be told.
            let _ = runtime.delete();
            return Err(error);
        }
        exit_now(0)
    }

    /// What the document names by paths of the host is put where only this mount namespace shows it, opened as for the
    /// embedded runtime: no link of a container's leads out of its volume, and ids are mapped.
    fn make_bundle(&self) -> Result<(), SandboxError> {
        let Contract { bundle, oci, overlays, beneath, .. } = *self.contract;
        namespaces::unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        root::isolate_mounts()?;
        let listed = oci.mounts().as_deref().unwrap_or(&[]);
        let sources =
            mounts::Sources { beneath, user: self.user, mapped: self.mapped, is_bundles: false };
        let sources = mounts::open_sources(listed, sources)?;
        make_directory(bundle)?;
        self.make_clock()?;
        let stage = self.contract.runtime.stage(bundle)?;
        let user = self.user.map(|user| user.namespace);
        // An overlay whose user cannot write is read-only.
        self.user.map_or(Ok(()), |user| user.make_files())?;
        // The stage is covered once all layers are open.
        let root = root::assemble(overlays, user, |root| {
            let merged = runtime::make_stage(stage)?;
            root::attach_over(root, &merged)
        })?;
        self.make_targets(&root, &sources)?;
        make_files_as((0, 0))?;
        let mut document = oci.clone();
        if let Some(root) = document.root_mut() {
            root.set_path(stage.join(runtime::ROOT));
        }
        if let Some(mounts) = document.mounts_mut() {
            for (n, (mount, source)) in mounts.iter_mut().zip(&sources).enumerate() {
                let Some(source) = source else { continue };
                let at = stage.join(n.to_string());
                place(source.as_fd(), &at)?;
                made_plain(mount, at);
            }
        }
        if let Some(linux) = document.linux_mut()
            && let Some(namespaces) = linux.namespaces_mut()
        {
            namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Time);
        }
        hide_unified()?;
        let text = serde_json::to_vec(&document).map_err(std::io::Error::from);
        let written = text.and_then(|text| std::fs::write(bundle.join("config.json"), text));
        written.at(Stage::Bundle, bundle)
    }

    /// Made in the upper layer where they are missing, as the embedded runtime makes them: in a root that is read-only, or
    /// whose root is nobody, another runtime cannot.
    fn make_targets(&self, root: &Root, sources: &[Option<OwnedFd>]) -> Result<(), SandboxError> {
        let oci = self.contract.oci;
        for (mount, source) in oci.mounts().iter().flatten().zip(sources) {
            let at = mount.destination();
            let kind =
                source.as_ref().map_or(Ok(Kind::Directory), |source| kind_of(source.as_fd()));
            let kind = kind.at(Stage::OpenSource, at)?;
            // What is below these is on a mount to come.
            let covers = KERNELS.iter().map(Path::new);
            if !covers.clone().any(|cover| at.starts_with(cover) && at != cover) {
                root.target(at, kind, ResolveFlags::empty())?;
            }
        }
        if let Some(process) = oci.process() {
            let made = root.make_directory(process.cwd(), ResolveFlags::empty(), 0);
            made.map(drop).at(Stage::WorkingDirectory, process.cwd())?;
        }
        Ok(())
    }

    /// Runtimes of before 2023 know no time namespaces: the document names none, what is born from now on is in one.
    fn make_clock(&self) -> Result<(), SandboxError> {
        let linux = self.contract.oci.linux().as_ref();
        let listed = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or(&[]);
        let is_new =
            |one: &LinuxNamespace| one.typ() == LinuxNamespaceType::Time && one.path().is_none();
        if listed.iter().any(is_new) { namespaces::unshare(namespaces::NEWTIME) } else { Ok(()) }
    }

    fn create(&self, channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
        let Contract { runtime, bundle, oci, .. } = self.contract;
        let process = oci.process().as_ref();
        let born = runtime.bear(&Birth {
            verb: "create",
            words: &["--bundle", "."],
            directory: bundle,
            streams: [Some(stdin()), Some(stdout()), Some(stderr())],
            terminal: process.and_then(|process| process.terminal()).unwrap_or(false),
            home: self.home,
            stage: None,
        })?;
        say_born(channel, born.pid, born.pidfd.as_fd())?;
        born.terminal.map_or(Ok(()), |master| send_terminal(channel, master.as_fd()))
    }
}

/// What `open_sources` has done is not to be done again.
fn made_plain(mount: &mut Mount, source: PathBuf) {
    let done = |word: &String| matches!(word.as_str(), "idmap" | "ridmap");
    let options = mount.options().iter().flatten().filter(|word| !done(word)).cloned().collect();
    mount.set_source(Some(source)).set_options(Some(options));
    mount.set_uid_mappings(None).set_gid_mappings(None);
}

/// Attaches a detached mount at a path of ours.
fn place(mount: BorrowedFd<'_>, at: &Path) -> Result<(), SandboxError> {
    match kind_of(mount).at(Stage::OpenSource, at)? {
        Kind::Directory => make_directory(at)?,
        Kind::File => std::fs::File::create(at).map(drop).at(Stage::MakeTarget, at)?,
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let target = rustix::fs::openat(CWD, at, flags, Mode::empty()).at(Stage::FindTarget, at)?;
    attach(mount, target.as_fd()).at(Stage::Mount, at)
}

fn make_directory(at: &Path) -> Result<(), SandboxError> {
    std::fs::create_dir_all(at).at(Stage::MakeTarget, at)
}

/// On a machine with both kinds of cgroups crun moves its container in v2's, which `home` has done, and fails where
/// that has none of the controllers. Where it sees no v2 it makes directories in its place: they are to lie in a tmpfs that
/// goes with this namespace, not in the machine's.
fn hide_unified() -> Result<(), SandboxError> {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if is_unified() || !unified.is_dir() {
        return Ok(());
    }
    let make = || {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        let attr = MountAttrFlags::empty();
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
    };
    place(make().at(Stage::Mount, unified)?.as_fd(), unified)
}
