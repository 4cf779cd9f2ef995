//! Which namespaces a child joins and which it makes. Joining comes first: what is private must be owned by what is
//! shared. Only the pid namespace is chosen before the clone, by the parent (`ChildrenIn`).

use super::error::{At, SandboxError, Stage};
use super::owned::{self, Made, Offsets, Owner, Wanted};
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A kind of namespace that infra can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamespaceKind {
    Net,
    Uts,
    Ipc,
    Pid,
    Cgroup,
    User,
    Time,
    /// Infra always has one of its own.
    Mnt,
}

/// nix has no name for it.
pub(super) const NEWTIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

impl NamespaceKind {
    /// In /proc/PID/ns.
    fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
            Self::Mnt => "mnt",
        }
    }

    pub(super) fn flag(self) -> CloneFlags {
        match self {
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            Self::User => CloneFlags::CLONE_NEWUSER,
            Self::Time => NEWTIME,
            Self::Mnt => CloneFlags::CLONE_NEWNS,
        }
    }
}

/// The document's namespaces, sorted by what has to be done.
pub(super) struct Namespaces<'a> {
    /// Made new by the child.
    pub(super) made: CloneFlags,
    joined: Vec<(CloneFlags, &'a Path)>,
    pub(super) pid: PidNamespace<'a>,
    user: UserNamespace<'a>,
    offsets: Offsets,
}

enum UserNamespace<'a> {
    Shared,
    New,
    At(&'a Path),
}

pub(super) enum PidNamespace<'a> {
    Shared,
    Private,
    At(&'a Path),
}

impl<'a> Namespaces<'a> {
    pub(super) fn of(oci: &'a Spec) -> Result<Self, SandboxError> {
        let listed =
            oci.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or(&[]);
        let mut sorted = Self {
            made: CloneFlags::empty(),
            joined: Vec::new(),
            pid: PidNamespace::Shared,
            user: UserNamespace::Shared,
            offsets: Offsets::default(),
        };
        for namespace in listed {
            let path = namespace.path().as_ref().map(PathBuf::as_path);
            let flag = match namespace.typ() {
                LinuxNamespaceType::Pid => {
                    sorted.pid = path.map_or(PidNamespace::Private, PidNamespace::At);
                    continue;
                }
                LinuxNamespaceType::Mount if path.is_some() => {
                    return Err(SandboxError::unsupported("mount namespace with a path"));
                }
                LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
                LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
                LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
                LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
                LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
                LinuxNamespaceType::User => {
                    sorted.user = path.map_or(UserNamespace::New, UserNamespace::At);
                    continue;
                }
                LinuxNamespaceType::Time => NEWTIME,
            };
            match path {
                Some(path) => sorted.joined.push((flag, path)),
                None => sorted.made |= flag,
            }
        }
        let offsets = oci.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
        if offsets.is_some() && !sorted.made.contains(NEWTIME) {
            return Err(SandboxError::unsupported("timeOffsets without a time namespace to make"));
        }
        sorted.offsets = Offsets::of(offsets);
        Ok(sorted)
    }

    /// Whether the child has a namespace of this kind that is not the host's.
    pub(super) fn has(&self, flag: CloneFlags) -> bool {
        self.made.contains(flag) || self.joined.iter().any(|(joined, _)| *joined == flag)
    }

    /// In the parent: what the child cannot make, because a user namespace is to own it that the child enters last, or
    /// because nobody who makes it is in it. None where the child can make everything.
    pub(super) fn prepare(
        &self,
        oci: &Spec,
        cgroup: BorrowedFd<'_>,
    ) -> Result<Option<Made>, SandboxError> {
        let maps = owned::maps(oci);
        let user = match self.user {
            UserNamespace::At(path) => Some(open(path)?),
            UserNamespace::New if maps.is_empty() => {
                return Err(SandboxError::unsupported("user namespace without uidMappings"));
            }
            UserNamespace::New | UserNamespace::Shared => None,
        };
        let owner = match (&self.user, &user) {
            (UserNamespace::New, _) => Owner::New(&maps),
            (_, Some(user)) => Owner::At(user.as_fd()),
            (_, None) if self.made.contains(NEWTIME) => Owner::Caller,
            (_, None) => return Ok(None),
        };
        let kinds = self.made - CloneFlags::CLONE_NEWNS;
        owned::make(&Wanted { owner, kinds, offsets: self.offsets, cgroup: Some(cgroup) }).map(Some)
    }

    /// In the child: joins, then makes. The user namespace comes much later.
    pub(super) fn enter(
        &self,
        prepared: &[(CloneFlags, BorrowedFd<'_>)],
    ) -> Result<(), SandboxError> {
        for (flag, path) in &self.joined {
            let namespace = open(path)?;
            nix::sched::setns(&namespace, *flag).at(Stage::Join, *path)?;
        }
        let mut left = self.made;
        for (flag, namespace) in prepared {
            nix::sched::setns(namespace, *flag).at(Stage::Join, &names(*flag))?;
            left -= *flag;
        }
        unshare(left)
    }
}

pub(super) fn unshare(kinds: CloneFlags) -> Result<(), SandboxError> {
    if kinds.is_empty() {
        return Ok(());
    }
    nix::sched::unshare(kinds).map_err(|e| SandboxError::step(Stage::Unshare, names(kinds), e))
}

fn names(kinds: CloneFlags) -> String {
    let mut words: Vec<&str> =
        kinds.iter_names().map(|(name, _)| &name["CLONE_NEW".len()..]).collect();
    words.extend(kinds.contains(NEWTIME).then_some("time"));
    words.join(", ").to_lowercase()
}

pub(super) fn open(path: &Path) -> Result<OwnedFd, SandboxError> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at(Stage::Join, path)
}

/// A stay of the calling thread in a pinned namespace; its drop brings the thread back.
pub(super) struct Stay {
    kind: CloneFlags,
    home: Option<OwnedFd>,
}

impl Stay {
    pub(super) fn enter(kind: NamespaceKind, at: &Path) -> Result<Self, SandboxError> {
        let namespace = open(at)?;
        let home = open(&Path::new("/proc/thread-self/ns").join(kind.name()))?;
        nix::sched::setns(&namespace, kind.flag()).at(Stage::Join, at)?;
        Ok(Self { kind: kind.flag(), home: Some(home) })
    }

    /// Back, with an error where `drop` could have none.
    pub(super) fn leave(mut self) -> Result<(), SandboxError> {
        match self.home.take() {
            Some(home) => nix::sched::setns(&home, self.kind).at(Stage::Join, "of podspec itself"),
            None => Ok(()),
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            // Only after another error, which is the one to tell.
            let _ = nix::sched::setns(&home, self.kind);
        }
    }
}

/// While this lives, the calling thread's children are born in another pid namespace.
pub(super) struct ChildrenIn {
    own: OwnedFd,
}

impl ChildrenIn {
    pub(super) fn new(pid_namespace: BorrowedFd<'_>, name: &Path) -> Result<Self, SandboxError> {
        let own = open(Path::new("/proc/thread-self/ns/pid"))?;
        nix::sched::setns(pid_namespace, CloneFlags::CLONE_NEWPID).at(Stage::Join, name)?;
        Ok(Self { own })
    }

    /// Back to the caller's own, with an error where `drop` could have none.
    pub(super) fn end(self) -> Result<(), SandboxError> {
        nix::sched::setns(self.own.as_fd(), CloneFlags::CLONE_NEWPID)
            .at(Stage::Join, "/proc/self/ns/pid")
    }
}

impl Drop for ChildrenIn {
    fn drop(&mut self) {
        // After `end` once more, which changes nothing; on an error path the first error is the one to tell.
        let _ = nix::sched::setns(self.own.as_fd(), CloneFlags::CLONE_NEWPID);
    }
}
