//! Who the program is: limits, groups, ids, capabilities, no_new_privs. Order matters: the bounding set needs
//! CAP_SETPCAP, ids need CAP_SETUID, so the capabilities of the calling process go last.

use super::error::{At, SandboxError, Stage};
use super::namespaces::unshare;
use super::sysctl;
use crate::sys::identity::{set_effective_uid, set_gid, set_groups, set_uid};
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};
use oci_spec::runtime::{Capabilities, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

/// A user namespace to be entered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home<'a> {
    pub(super) namespace: BorrowedFd<'a>,
    /// Whether nobody else is in this process's mount namespace yet.
    pub(super) own_mounts: bool,
}

/// From here on this process is the document's user, in that user namespace where it has one. `death` is the signal
/// for the parent's death, which the kernel forgets on a change of ids.
/// Where no_new_privs does not stand for it, CAP_SYS_ADMIN is kept for the filter that is `filtered` to come:
/// exec drops it, for a program's capabilities come of the bounding, inheritable and ambient sets.
pub(super) fn become_user(
    process: &Process,
    home: Option<Home<'_>>,
    filtered: bool,
    death: Option<Signal>,
) -> Result<(), SandboxError> {
    limits(process)?;
    label(process)?;
    let user = process.user();
    let sets = Sets::of(process);
    if let Some(home) = home {
        // With every capability in there, and none outside any more.
        nix::sched::setns(home.namespace, CloneFlags::CLONE_NEWUSER).at(Stage::Join, "user")?;
        // Only who may mount needs mounts that are of there. None that was made outside can be taken off by itself, or
        // loses a flag (mount_namespaces(7), "Restrictions on mount namespaces").
        if home.own_mounts && sets.bounding.contains(ADMIN) {
            unshare(CloneFlags::CLONE_NEWNS)?;
        }
    }
    sets.bound().at(Stage::Capabilities, "bounding")?;
    let no_new_privs = process.no_new_privileges().unwrap_or(false);
    let for_filter = if filtered && !no_new_privs { ADMIN } else { CapabilitySet::empty() };
    let sets = Sets { permitted: sets.permitted | for_filter, ..sets };
    let keep = user.uid() != 0 && !(sets.permitted | sets.inheritable).is_empty();
    if keep {
        rustix::thread::set_keep_capabilities(true).at(Stage::Capabilities, "kept")?;
    }
    // As the document has them: who wants the first one among them (CVE-2022-36109) lists it, as the planner does.
    let groups = user.additional_gids().as_deref().unwrap_or(&[]);
    set_groups(groups).at(Stage::Identity, "groups")?;
    set_gid(user.gid()).at(Stage::Identity, "gid")?;
    set_uid(user.uid()).at(Stage::Identity, "uid")?;
    sets.apply().at(Stage::Capabilities, "effective")?;
    if no_new_privs {
        rustix::thread::set_no_new_privs(true).at(Stage::Identity, "no_new_privs")?;
    }
    guard(death).at(Stage::Identity, "dumpable")
}

const ADMIN: CapabilitySet = CapabilitySet::SYS_ADMIN;

/// Makes CAP_SYS_ADMIN effective where `become_user` has kept it.
pub(super) fn raise_admin() -> Result<(), Errno> {
    let own = rustix::thread::capabilities(None)?;
    if own.permitted.contains(ADMIN) && !own.effective.contains(ADMIN) {
        let sets = CapabilitySets { effective: own.effective | ADMIN, ..own };
        rustix::thread::set_capabilities(None, sets)?;
    }
    Ok(())
}

/// What the kernel's security modules make of the program at exec, by a procfs of our own: what is mounted
/// at /proc is the container's.
fn label(process: &Process) -> Result<(), SandboxError> {
    let own = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
    let apparmor = own(process.apparmor_profile())
        .map(|profile| ("self/attr/apparmor/exec", format!("exec {profile}"), profile));
    let selinux =
        own(process.selinux_label()).map(|label| ("self/attr/exec", label.clone(), label));
    for (file, text, name) in apparmor.into_iter().chain(selinux) {
        let write = || {
            let proc = sysctl::procfs()?;
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&proc, file, flags, Mode::empty())?;
            rustix::io::write(file, text.as_bytes()).map(drop)
        };
        write().at(Stage::Label, &name)?;
    }
    Ok(())
}

/// Until exec nobody in the container may look into this process, and it does not outlive its parent.
pub(super) fn guard(death: Option<Signal>) -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::set_parent_process_death_signal(death)
}

/// What is made from here on belongs to that user and group: through an idmapped mount nobody else can make a file, and
/// in a new file system nobody else would be root. The change takes capabilities away (capabilities(7)) that this
/// process needs and may have back.
pub fn make_files_as((uid, gid): (u32, u32)) -> Result<(), SandboxError> {
    own_files(Uid::from_raw(uid), Gid::from_raw(gid)).at(Stage::Capabilities, "effective")
}

fn own_files(uid: Uid, gid: Gid) -> Result<(), Errno> {
    nix::unistd::setfsgid(gid);
    nix::unistd::setfsuid(uid);
    let own = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { effective: own.permitted, ..own })
}

/// Does something as that user, without any capability, and is root again.
pub(super) fn as_user<T>(uid: u32, work: impl FnOnce() -> T) -> Result<T, Errno> {
    let errno = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::PERM);
    // No id: it is only asked what it is.
    let files = nix::unistd::setfsuid(Uid::from_raw(u32::MAX));
    set_effective_uid(uid).map_err(errno)?;
    let done = work();
    set_effective_uid(0).map_err(errno)?;
    if !files.is_root() {
        own_files(files, nix::unistd::setfsgid(Gid::from_raw(u32::MAX)))?;
    }
    Ok(done)
}

/// No capability, now or by any later exec.
pub(super) fn drop_everything() -> Result<(), SandboxError> {
    let none = Sets::NONE;
    none.bound().at(Stage::Capabilities, "bounding")?;
    none.apply().at(Stage::Capabilities, "effective")?;
    rustix::thread::set_no_new_privs(true).at(Stage::Identity, "no_new_privs")
}

struct Sets {
    bounding: CapabilitySet,
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    ambient: CapabilitySet,
}

impl Sets {
    const NONE: Self = Self {
        bounding: CapabilitySet::empty(),
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
        ambient: CapabilitySet::empty(),
    };

    fn of(process: &Process) -> Self {
        let Some(asked) = process.capabilities() else { return Self::NONE };
        let ambient = set(asked.ambient());
        let root = process.user().uid() == 0;
        Self {
            bounding: set(asked.bounding()),
            // A user who is not root has of them what is ambient, and nothing else.
            effective: if root { set(asked.effective()) } else { ambient },
            permitted: if root { set(asked.permitted()) } else { ambient },
            inheritable: set(asked.inheritable()) | ambient,
            ambient,
        }
    }

    fn bound(&self) -> Result<(), Errno> {
        for number in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if self.bounding.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // Past the last one that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                other => other?,
            }
        }
        Ok(())
    }

    fn apply(&self) -> Result<(), Errno> {
        let sets = CapabilitySets {
            effective: self.effective,
            permitted: self.permitted,
            inheritable: self.inheritable,
        };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::clear_ambient_capability_set()?;
        for one in self.ambient.iter() {
            rustix::thread::configure_capability_in_ambient_set(one, true)?;
        }
        Ok(())
    }
}

fn set(names: &Option<Capabilities>) -> CapabilitySet {
    let bits = names.iter().flatten().filter_map(|name| {
        let name = format!("CAP_{}", name.to_string().trim_start_matches("CAP_"));
        name.parse::<caps::Capability>().ok().map(|capability| 1_u64 << capability.index())
    });
    CapabilitySet::from_bits_retain(bits.fold(0, |all, bit| all | bit))
}

const SCORE: &str = "/proc/self/oom_score_adj";

/// What this process had before `outlive_others`, and its children have again.
static SCORE_BEFORE: OnceLock<i32> = OnceLock::new();

/// Where memory is out on the whole machine the kernel ends others before this process, if its caller may ask for that
/// (CAP_SYS_RESOURCE). Whatever program it starts later is as it was itself, unless its document says otherwise.
pub fn outlive_others() {
    const LATE: i32 = -500;
    let own = std::fs::read_to_string(SCORE).ok().and_then(|text| text.trim().parse().ok());
    if let Some(own) = own.filter(|own| *own > LATE)
        && std::fs::write(SCORE, LATE.to_string()).is_ok()
    {
        let _ = SCORE_BEFORE.set(own);
    }
}

/// In the mount namespace that the process was born in: the container's /proc is the container's.
pub(super) fn score(process: &Process) -> Result<(), SandboxError> {
    let Some(score) = process.oom_score_adj().or(SCORE_BEFORE.get().copied()) else {
        return Ok(());
    };
    std::fs::write(SCORE, score.to_string()).at(Stage::Limit, &format!("{SCORE} to {score}"))
}

/// A process that joins a container later is its caller's, who may have less than the one who started the
/// container: without CAP_SYS_RESOURCE nobody raises a hard limit (setrlimit(2)).
pub fn within_own_limits(process: &mut Process) {
    let may_raise = rustix::thread::capabilities(None)
        .is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_RESOURCE));
    let Some(limits) = process.rlimits().as_ref().filter(|_| !may_raise) else { return };
    let mine = |limit: &PosixRlimit| {
        let own = rustix::process::getrlimit(resource(limit.typ())).maximum.unwrap_or(u64::MAX);
        let builder = PosixRlimitBuilder::default().typ(limit.typ());
        builder.soft(limit.soft().min(own)).hard(limit.hard().min(own)).build().ok()
    };
    process.set_rlimits(Some(limits.iter().filter_map(mine).collect()));
}

fn limits(process: &Process) -> Result<(), SandboxError> {
    crate::sys::descriptors::restore_open_files();
    for limit in process.rlimits().iter().flatten() {
        let most = |value: u64| if value == u64::MAX { None } else { Some(value) };
        let new = Rlimit { current: most(limit.soft()), maximum: most(limit.hard()) };
        rustix::process::setrlimit(resource(limit.typ()), new).map_err(|e| {
            let wanted = format!("{} to {}:{}", limit.typ(), limit.soft(), limit.hard());
            SandboxError::step(Stage::Limit, wanted, e)
        })?;
    }
    Ok(())
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
