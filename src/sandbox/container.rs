//! The road of a container's first process from clone3 to its program. The order is the kernel's: what is shared is joined
//! before what is private is made, mounts and devices are made as host root, ids and capabilities go last.

use super::bundle::{self, Propagation};
use super::channel::{await_start, await_starter, last_word, say_mounted, say_ready};
use super::error::{At, SandboxError, Stage};
use super::identity::{Home, become_user, guard, make_files_as, score};
use super::mounts::Dev;
use super::namespaces::Namespaces;
use super::owned::Made;
use super::program::Program;
use super::root::Root;
use super::terminal::take_terminal;
use super::{Order, Site, mounts, root, run_hook, schedule};
use crate::sys::descriptors::{beyond, keep_beyond, place};
use crate::sys::identity::{default_signals, join_new_session_keyring};
use crate::sys::ids::Maps;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Hook, Process, Spec};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::process::Signal;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What a document may ask for and this runtime does not do must not be taken for done.
pub(super) fn check(order: &Order<'_>) -> Result<(), SandboxError> {
    let oci = order.oci;
    process_of(oci)?;
    let linux = oci.linux().as_ref();
    let asked = [
        ("seccomp", order.filter.is_none() && linux.is_some_and(|l| l.seccomp().is_some())),
        (
            "mountLabel",
            linux.is_some_and(|l| l.mount_label().as_ref().is_some_and(|l| !l.is_empty())),
        ),
        ("netDevices", linux.is_some_and(|l| l.net_devices().is_some())),
        ("intelRdt", linux.is_some_and(|l| l.intel_rdt().is_some())),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(SandboxError::unsupported(what)),
        None => Ok(()),
    }
}

fn process_of(oci: &Spec) -> Result<&Process, SandboxError> {
    oci.process().as_ref().ok_or_else(|| SandboxError::unsupported("missing process"))
}

/// What the parent has made for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared<'a> {
    pub(super) made: Option<&'a Made>,
    /// As [`Sources::mapped`](mounts::Sources::mapped).
    pub(super) mapped: &'a [(Maps, OwnedFd)],
}

/// Ends in `execve`; returns only to say why it could not.
pub(super) fn become_container(
    order: &Order<'_>,
    namespaces: &Namespaces<'_>,
    Prepared { made, mapped }: Prepared<'_>,
    channel: BorrowedFd<'_>,
) -> Result<Infallible, SandboxError> {
    let stdio = [order.stdin, Some(order.stdout), Some(order.stderr)];
    let joined = super::join_cgroups(order.join);
    let user = made.and_then(|made| made.user.as_ref());
    let others = made.map_or(&[][..], |made| &made.others);
    let mut kept = vec![channel];
    kept.extend(others.iter().map(|(_, namespace)| namespace.as_fd()));
    kept.extend(user.map(|(user, _)| user.as_fd()));
    kept.extend(order.extras.listener);
    kept.extend(mapped.iter().map(|(_, namespace)| namespace.as_fd()));
    // At once: a sibling's channel or FIFO held here would hide that sibling's end.
    let kept = keep_beyond(stdio, order.extras.preserved, &kept);
    let kept = kept.at(Stage::Stdio, "of the container")?;
    let (kept, mapped_kept) = kept.split_at(kept.len().saturating_sub(mapped.len()));
    let [channel, namespaces_kept @ ..] = kept else {
        return Err(SandboxError::unsupported("channel"));
    };
    let maps = mapped.iter().map(|(maps, _)| maps);
    let mapped: Vec<_> = maps.zip(mapped_kept.iter().map(AsFd::as_fd)).collect();
    let (listener, namespaces_kept) = match (order.extras.listener, namespaces_kept) {
        (Some(_), [namespaces @ .., listener]) => (Some(listener.as_fd()), namespaces),
        (_, namespaces) => (None, namespaces),
    };
    let kinds = others.iter().map(|(kind, _)| *kind);
    let prepared: Vec<_> = kinds.zip(namespaces_kept.iter().map(AsFd::as_fd)).collect();
    let user = user.and_then(|(_, maps)| {
        let namespace = namespaces_kept.last()?.as_fd();
        Some(User::new(namespace, maps))
    });
    let entry = Way { namespaces, prepared: &prepared, user, mapped: &mapped };
    let ends = Ends { channel: channel.as_fd(), listener };
    last_word(channel, joined.and_then(|()| set_up(order, &entry, ends)))
}

/// The child's ends of what it talks over.
#[derive(Clone, Copy)]
struct Ends<'a> {
    channel: BorrowedFd<'a>,
    listener: Option<BorrowedFd<'a>>,
}

/// The container's user namespace, which it enters last.
#[derive(Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) namespace: BorrowedFd<'a>,
    pub(super) maps: &'a Maps,
    /// Whom its root is outside: (uid, gid).
    root: (u32, u32),
}

impl<'a> User<'a> {
    pub(super) fn new(namespace: BorrowedFd<'a>, maps: &'a Maps) -> Self {
        Self { namespace, root: maps.owner(0, 0), maps }
    }

    /// Files that are made from here on are its root's.
    pub(super) fn make_files(&self) -> Result<(), SandboxError> {
        make_files_as(self.root)
    }

    /// Gives a file to its root.
    pub(super) fn own(&self, file: BorrowedFd<'_>) -> Result<(), rustix::io::Errno> {
        let (uid, gid) = (Uid::from_raw(self.root.0), Gid::from_raw(self.root.1));
        rustix::fs::chownat(file, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
    }
}

/// Its way into its namespaces.
struct Way<'a> {
    namespaces: &'a Namespaces<'a>,
    prepared: &'a [(CloneFlags, BorrowedFd<'a>)],
    user: Option<User<'a>>,
    /// As [`Sources::mapped`](mounts::Sources::mapped).
    mapped: &'a [(&'a Maps, BorrowedFd<'a>)],
}

fn set_up(order: &Order<'_>, way: &Way<'_>, ends: Ends<'_>) -> Result<Infallible, SandboxError> {
    let (namespaces, channel) = (way.namespaces, ends.channel);
    let process = process_of(order.oci)?;
    // Who listens for its start outlives its parent; until then the end of the channel tells it of that.
    let death = ends.listener.is_none().then_some(Signal::KILL);
    guard(death).at(Stage::Identity, "dumpable")?;
    default_signals().at(Stage::Identity, "signals")?;
    rustix::process::setsid().at(Stage::Identity, "session")?;
    score(process)?;
    // Modes of what is made below are exact.
    rustix::process::umask(Mode::empty());
    namespaces.enter(way.prepared)?;
    way.user.map_or(Ok(()), |user| user.make_files())?;
    name_host(order, namespaces)?;
    build_root(order, way, channel)?;
    if !order.extras.keep_keyring {
        join_new_session_keyring().at(Stage::Identity, "session keyring")?;
    }
    schedule::take(order.oci, process)?;
    let own_mounts = namespaces.has(CloneFlags::CLONE_NEWNS);
    let home = way.user.map(|user| Home { namespace: user.namespace, own_mounts });
    become_user(process, home, order.filter.is_some(), death)?;
    let umask = process.user().umask().unwrap_or(super::UMASK);
    rustix::process::umask(Mode::from_raw_mode(umask));
    let mut program = Program::find(process)?;
    program.close_from = beyond(order.extras.preserved);
    say_ready(channel)?;
    let state = await_start(channel)?;
    match ends.listener {
        None => begin(order, &program, &state),
        Some(listener) => {
            let (starter, state) = await_starter(listener)?;
            last_word(&starter, begin(order, &program, &state))
        }
    }
}

fn begin(order: &Order<'_>, program: &Program, state: &[u8]) -> Result<Infallible, SandboxError> {
    let hooks = order.oci.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref());
    let env = process_of(order.oci)?.env().as_deref().unwrap_or(&[]);
    run_hooks("startContainer", hooks, Site { directory: Path::new("/"), env: Some(env) }, state)?;
    if order.init {
        let terminal = process_of(order.oci)?.terminal().unwrap_or(false);
        return program.run_under_reaper(terminal, order.filter);
    }
    program.run(order.filter)
}

fn run_hooks(
    kind: &str,
    hooks: Option<&Vec<Hook>>,
    site: Site<'_>,
    state: &[u8],
) -> Result<(), SandboxError> {
    hooks.into_iter().flatten().try_for_each(|hook| run_hook(kind, hook, site, state))
}

/// Hooks that come between the mounts and the container's own root: the parent runs its own, then lets the child.
fn hooks_before_pivot(order: &Order<'_>, channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let Some(hooks) = order.oci.hooks() else { return Ok(()) };
    let before = [hooks.prestart(), hooks.create_runtime(), hooks.create_container()];
    if before.iter().all(|hooks| hooks.as_ref().is_none_or(Vec::is_empty)) {
        return Ok(());
    }
    say_mounted(channel)?;
    let state = await_start(channel)?;
    let site = Site { directory: order.extras.bundle.unwrap_or(Path::new("/")), env: None };
    run_hooks("createContainer", hooks.create_container().as_ref(), site, &state)
}

/// Where uts is shared, its name is infra's to give.
fn name_host(order: &Order<'_>, namespaces: &Namespaces<'_>) -> Result<(), SandboxError> {
    let oci = order.oci;
    // A bundle may name a namespace that somebody made for it.
    let is_bundles = order.overlays.is_empty() && namespaces.has(CloneFlags::CLONE_NEWUTS);
    if !is_bundles && !namespaces.made.contains(CloneFlags::CLONE_NEWUTS) {
        return Ok(());
    }
    if let Some(domain) = oci.domainname() {
        rustix::system::setdomainname(domain.as_bytes()).at(Stage::DomainName, domain)?;
    }
    let Some(hostname) = oci.hostname() else { return Ok(()) };
    rustix::system::sethostname(hostname.as_bytes()).at(Stage::Hostname, hostname)
}

fn build_root(
    order: &Order<'_>,
    way: &Way<'_>,
    channel: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let propagation = Propagation::of(order.oci)?;
    // A bundle may do without; then all that is mounted is the caller's, too.
    let own_mounts = way.namespaces.has(CloneFlags::CLONE_NEWNS);
    let mounts = order.oci.mounts().as_deref().unwrap_or(&[]);
    let sources = mounts::Sources {
        beneath: order.beneath,
        user: way.user,
        mapped: way.mapped,
        is_bundles: order.overlays.is_empty(),
    };
    // What is to spread to the host must be of its kin still.
    let sources = mounts::open_sources(mounts, sources)?;
    if own_mounts {
        propagation.isolate()?;
    }
    let root = match order.overlays {
        [] => bundle::directory(order.oci, own_mounts)?,
        overlays => {
            root::assemble(overlays, way.user.map(|user| user.namespace), root::attach_over_root)?
        }
    };
    let site = mounts::Place {
        root: &root,
        namespaces: way.namespaces,
        user: way.user,
        legacy: order.extras.legacy,
    };
    let dev = mounts::mount_all(site, order.oci, sources)?;
    hooks_before_pivot(order, channel)?;
    if !own_mounts {
        bundle::change_root(root.fd())?;
        return settle(order, way, (&root, dev.as_ref()), channel);
    }
    let dev = dev.map_or_else(|| bundle::hidden_dev().map(Dev::hidden), Ok)?;
    if let Some(linux) = order.oci.linux() {
        mounts::make_readonly(&root, linux.readonly_paths().as_deref().unwrap_or(&[]))?;
        mounts::mask(&root, dev.mount.as_fd(), linux.masked_paths().as_deref().unwrap_or(&[]))?;
    }
    match order.extras.no_pivot {
        false => root::pivot(root.fd())?,
        true => bundle::move_over_root(root.fd())?,
    }
    propagation.apply()?;
    settle(order, way, (&root, Some(&dev)), channel)
}

/// What is done from within the new root: its working directory, and its terminal in its /dev.
fn settle(
    order: &Order<'_>,
    way: &Way<'_>,
    (root, dev): (&Root, Option<&Dev>),
    channel: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let process = process_of(order.oci)?;
    root::change_directory(root, process.cwd(), true)?;
    if order.oci.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false) {
        mounts::make_root_readonly(root)?;
    }
    if process.terminal().unwrap_or(false) {
        let uid = process.user().uid();
        let owner = way.user.map_or(uid, |user| user.maps.owner(uid, 0).0);
        take_terminal(root, owner, process.console_size(), channel)?;
        dev.map_or(Ok(()), |dev| bundle::console(dev.mount.as_fd()))?;
    } else if let (None, Some(dev)) = (order.stdin, dev) {
        let null = mounts::own_null(dev.mount.as_fd(), OFlags::RDWR)?;
        place(null.as_fd(), 0).at(Stage::Stdio, "/dev/null")?;
    }
    dev.map_or(Ok(()), Dev::finish)
}
