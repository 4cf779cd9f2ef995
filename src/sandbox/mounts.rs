//! The document's mounts, devices, masked and read-only paths. Sources are opened on the host, targets inside the
//! root, both once; a mount gets its flags while it is detached, so it is never seen without them.

use super::bundle::{brings_dev, may_cover};
use super::container::User;
use super::copyup::copy_up;
use super::error::{At, SandboxError, Stage};
use super::namespaces::Namespaces;
use super::root::{Kind, Root, attach, kind_of, status};
use super::{Shown, cgroups, owned, sysctl};
use crate::sys::ids::Maps;
use crate::sys::mounts::{MountAttr, mount_setattr};
use nix::sched::CloneFlags;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount, Spec};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const PROC_MAGIC: i64 = 0x9fa0;
const TMPFS_MAGIC: i64 = 0x0102_1994;
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// `/dev`, the only directory that podspec fills: always a tmpfs of the container's own.
pub(super) const DEV: &str = "/dev";

/// Flags of a mount, to be set and to be taken away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) set: u64,
    clear: u64,
}

impl Flags {
    /// A word of `FLAGS` or `TIMES`; false where it is none.
    fn take(&mut self, word: &str) -> bool {
        if let Some((_, bit)) = TIMES.iter().find(|(name, _)| *name == word) {
            if let Some(bit) = bit {
                self.clear |= libc::MOUNT_ATTR__ATIME;
                self.set = (self.set & !libc::MOUNT_ATTR__ATIME) | bit;
            }
            return true;
        }
        for (yes, no, bit) in FLAGS {
            if word == yes {
                (self.set, self.clear) = (self.set | bit, self.clear & !bit);
            } else if word == no {
                (self.set, self.clear) = (self.set & !bit, self.clear | bit);
            } else {
                continue;
            }
            return true;
        }
        false
    }

    /// Nothing that the source forbids is allowed again.
    pub(super) fn forbid_only(self) -> Self {
        Self { clear: self.clear & libc::MOUNT_ATTR__ATIME, ..self }
    }

    fn and(self, other: Self) -> Self {
        Self { set: self.set | other.set, clear: self.clear | other.clear }
    }

    pub(super) fn attr(self) -> MountAttr {
        MountAttr { set: self.set, clear: self.clear, ..MountAttr::default() }
    }
}

/// The word that sets a flag, and the one that takes it away.
const FLAGS: [(&str, &str, u64); 6] = [
    ("ro", "rw", libc::MOUNT_ATTR_RDONLY),
    ("nosuid", "suid", libc::MOUNT_ATTR_NOSUID),
    ("nodev", "dev", libc::MOUNT_ATTR_NODEV),
    ("noexec", "exec", libc::MOUNT_ATTR_NOEXEC),
    ("nosymfollow", "symfollow", libc::MOUNT_ATTR_NOSYMFOLLOW),
    ("nodiratime", "diratime", libc::MOUNT_ATTR_NODIRATIME),
];

/// When the time of the last access is written; some words leave it as it is.
const TIMES: [(&str, Option<u64>); 6] = [
    ("noatime", Some(libc::MOUNT_ATTR_NOATIME)),
    ("strictatime", Some(libc::MOUNT_ATTR_STRICTATIME)),
    ("relatime", Some(0)),
    ("atime", None),
    ("norelatime", None),
    ("nostrictatime", None),
];

/// What the words of a mount's `options` come to.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    /// Of the mount itself.
    own: Flags,
    /// Of the mount and all below it: the words that begin with another `r`.
    below: Flags,
    recursive: bool,
    /// Ids are those of the container's user namespace; with the mounts below.
    idmap: bool,
    ridmap: bool,
    propagation: Option<u64>,
    /// A tmpfs begins with what it covers.
    copy_up: bool,
    /// For the file system itself: key and, after `=`, value.
    data: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Options<'a> {
    pub(super) fn of(mount: &'a Mount) -> Self {
        let mut options = Self::default();
        for word in mount.options().iter().flatten() {
            options.take(word);
        }
        options
    }

    fn take(&mut self, word: &'a str) {
        if self.own.take(word) || word.strip_prefix('r').is_some_and(|word| self.below.take(word)) {
            return;
        }
        match word {
            "rbind" => self.recursive = true,
            "idmap" => self.idmap = true,
            "ridmap" => (self.idmap, self.ridmap) = (true, true),
            "private" | "rprivate" => self.propagation = Some(libc::MS_PRIVATE),
            "slave" | "rslave" => self.propagation = Some(libc::MS_SLAVE),
            "shared" | "rshared" => self.propagation = Some(libc::MS_SHARED),
            "unbindable" | "runbindable" => self.propagation = Some(libc::MS_UNBINDABLE),
            "tmpcopyup" => self.copy_up = true,
            // What is so without being asked for.
            "bind" | "defaults" | "async" | "nomand" | "nolazytime" | "loud" | "silent"
            | "noiversion" => {}
            word => self.data.push(match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            }),
        }
    }

    /// Of a file system that is made for this mount.
    pub(super) fn flags(&self) -> Flags {
        self.own.and(self.below)
    }

    pub(super) fn is_readonly(&self) -> bool {
        self.flags().set & libc::MOUNT_ATTR_RDONLY != 0
    }
}

/// Words of a mount's `options` that are known; others are for the file system.
pub const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "loud",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "tmpcopyup",
    "unbindable",
];

/// Whether it shows what is mounted elsewhere: by its type, or by its options.
pub fn is_bind(mount: &Mount) -> bool {
    let bind = |word: &String| word == "bind" || word == "rbind";
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(bind)
}

/// Where bind mounts come from, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// As [`Order::beneath`](super::Order::beneath).
    pub(super) beneath: &'a BTreeMap<PathBuf, PathBuf>,
    pub(super) user: Option<User<'a>>,
    /// User namespaces with the mappings that mounts have of their own.
    pub(super) mapped: &'a [(&'a Maps, BorrowedFd<'a>)],
    /// Others wrote the document, and each word of theirs counts.
    pub(super) is_bundles: bool,
}

impl<'a> Sources<'a> {
    /// Whose ids a mount shows: of its own mappings, else of the container's.
    fn user_of(&self, mount: &Mount) -> Option<BorrowedFd<'a>> {
        let maps = owned::maps_of_mount(mount);
        let own = self.mapped.iter().find(|(known, _)| **known == maps);
        own.map(|(_, namespace)| *namespace).or(self.user.map(|user| user.namespace))
    }
}

/// The sources of the bind mounts, in the order of the document; None for the others. Before the root is attached.
pub(super) fn open_sources(
    mounts: &[Mount],
    sources: Sources<'_>,
) -> Result<Vec<Option<OwnedFd>>, SandboxError> {
    let open = |mount| open_source(mount, sources).map(Some);
    mounts.iter().map(|mount| if is_bind(mount) { open(mount) } else { Ok(None) }).collect()
}

/// The source, to be cloned: by its path, or, beneath a directory that containers write, by a walk that
/// no link leads out of (CVE-2021-25741).
fn find_source(source: &Path, beneath: Option<&PathBuf>) -> Result<Option<OwnedFd>, Errno> {
    let Some(beneath) = beneath else { return Ok(None) };
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(beneath, directory, Mode::empty())?;
    let relative = source.strip_prefix(beneath).map_err(|_| Errno::XDEV)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(&top, relative, flags, Mode::empty(), resolve).map(Some)
}

fn open_source(mount: &Mount, sources: Sources<'_>) -> Result<OwnedFd, SandboxError> {
    let beneath = sources.beneath.get(mount.destination());
    let Some(source) = mount.source() else {
        return Err(Errno::INVAL).at(Stage::OpenSource, mount.destination());
    };
    let options = Options::of(mount);
    if let Some((word, _)) = options.data.first() {
        return Err(SandboxError::unsupported(&format!("option {word} of a bind mount")));
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if options.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = match find_source(source, beneath).at(Stage::OpenSource, source)? {
        Some(found) => rustix::mount::open_tree(&found, "", flags | OpenTreeFlags::AT_EMPTY_PATH),
        None => rustix::mount::open_tree(CWD, source, flags),
    };
    let tree = tree.at(Stage::OpenSource, source)?;
    let propagation = options.propagation.unwrap_or(libc::MS_PRIVATE);
    let (own, below) = match sources.is_bundles {
        true => (options.own, options.below),
        // With everything below: a volume that is read-only is read-only to its last mount.
        false => (Flags::default(), options.flags().forbid_only()),
    };
    let attr = MountAttr { propagation, ..below.attr() };
    mount_setattr(tree.as_fd(), attr, options.recursive).at(Stage::OpenSource, source)?;
    if own != Flags::default() {
        mount_setattr(tree.as_fd(), own.attr(), false).at(Stage::OpenSource, source)?;
    }
    if options.idmap {
        let all = if sources.is_bundles { options.ridmap } else { options.recursive };
        let user = sources.user_of(mount);
        map_ids(tree.as_fd(), all, user, sources.is_bundles).at(Stage::MapSource, source)?;
    }
    Ok(tree)
}

/// Before Linux 6.3 a tmpfs cannot map ids. What a container of a pod makes there is its own all the same; what podspec has
/// put there is nobody's, to be read by all. A bundle's word counts.
fn map_ids(
    tree: BorrowedFd<'_>,
    recursive: bool,
    user: Option<BorrowedFd<'_>>,
    is_bundles: bool,
) -> Result<(), std::io::Error> {
    let user = user.ok_or(Errno::INVAL)?;
    let userns = u64::from(user.as_raw_fd().cast_unsigned());
    let attr = MountAttr { set: libc::MOUNT_ATTR_IDMAP, userns, ..MountAttr::default() };
    match mount_setattr(tree, attr, recursive) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !is_bundles => {
            let is_tmpfs = rustix::fs::fstatfs(tree)?.f_type == TMPFS_MAGIC;
            if is_tmpfs { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}

/// Where file systems are mounted, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) root: &'a Root,
    pub(super) namespaces: &'a Namespaces<'a>,
    pub(super) user: Option<User<'a>>,
    /// As [`Extras::legacy`](super::Extras::legacy).
    pub(super) legacy: &'a [Shown],
}

/// How mounts of the host and in the container reach each other, from this one down.
pub(super) fn set_propagation(mount: BorrowedFd<'_>, propagation: u64) -> std::io::Result<()> {
    mount_setattr(mount, MountAttr { propagation, ..MountAttr::default() }, true)
}

/// The container's own /dev.
pub(super) struct Dev {
    pub(super) mount: OwnedFd,
    /// As soon as all is in it.
    is_readonly: bool,
}

impl Dev {
    /// One that nobody sees.
    pub(super) fn hidden(mount: OwnedFd) -> Self {
        Self { mount, is_readonly: false }
    }

    /// Nothing more is put into it.
    pub(super) fn finish(&self) -> Result<(), SandboxError> {
        match self.is_readonly {
            true => mount_setattr(self.mount.as_fd(), READ_ONLY, false).at(Stage::ReadOnly, DEV),
            false => Ok(()),
        }
    }
}

/// Carries out `mounts`. Returns the container's own /dev, where it has one.
pub(super) fn mount_all(
    place: Place<'_>,
    oci: &Spec,
    sources: Vec<Option<OwnedFd>>,
) -> Result<Option<Dev>, SandboxError> {
    let (root, namespaces) = (place.root, place.namespaces);
    let mut dev = None;
    let mut has_proc = false;
    for (mount, source) in oci.mounts().iter().flatten().zip(sources) {
        let at = mount.destination();
        if let Some(source) = source {
            attach_bind(root, at, source.as_fd())?;
            continue;
        }
        if mount.typ().as_deref() == Some("cgroup") && !place.legacy.is_empty() {
            cgroups::mount_all(mount, place)?;
            continue;
        }
        let made = new_filesystem(mount, place)?;
        if mount.typ().as_deref() == Some("proc") {
            set_sysctls(oci, namespaces, made.as_fd())?;
            has_proc = true;
        }
        attach_filesystem(root, mount, made.as_fd())?;
        if at == Path::new(DEV) && mount.typ().as_deref() == Some("tmpfs") {
            fill_dev(place, oci, made.as_fd())?;
            dev = Some(Dev { mount: made, is_readonly: Options::of(mount).is_readonly() });
        }
    }
    if !root.is_bundles && dev.is_none() {
        return Err(SandboxError::unsupported("missing tmpfs at /dev"));
    }
    if !brings_dev(oci) {
        let extra = ResolveFlags::NO_SYMLINKS;
        let own = root.target(Path::new(DEV), Kind::Directory, extra)?;
        fill_dev(place, oci, own.as_fd())?;
    }
    if !has_proc {
        let proc = sysctl::procfs().at(Stage::Mount, "a procfs")?;
        set_sysctls(oci, namespaces, proc.as_fd())?;
    }
    Ok(dev)
}

fn attach_bind(root: &Root, at: &Path, source: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let is = |path: &str| at == Path::new(path);
    let covers_own = match root.is_bundles {
        false => [DEV, "/proc", "/sys", "/"].into_iter().any(is),
        // Its own /proc may be another procfs, and nothing else.
        true if is("/proc") => {
            rustix::fs::fstatfs(source).at(Stage::OpenSource, at)?.f_type != PROC_MAGIC
        }
        true => is("/"),
    };
    if covers_own {
        return Err(Errno::PERM).at(Stage::Mount, at);
    }
    let kind = kind_of(source).at(Stage::OpenSource, at)?;
    let target = covered(root, at, kind)?;
    match (kind, kind_of(target.as_fd()).at(Stage::FindTarget, at)?) {
        (Kind::Directory, Kind::File) => Err(Errno::NOTDIR).at(Stage::MountDirectory, at),
        (Kind::File, Kind::Directory) => Err(Errno::ISDIR).at(Stage::MountFile, at),
        _ => attach(source, target.as_fd()).at(Stage::Mount, at),
    }
}

/// The place of a mount of files. Below /sys no link leads there.
fn covered(root: &Root, at: &Path, kind: Kind) -> Result<OwnedFd, SandboxError> {
    let is_sys = root.is_bundles && at.starts_with("/sys");
    let extra = if is_sys { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    let target = root.target(at, kind, extra)?;
    refuse_kernel_files(root, target.as_fd(), at)?;
    Ok(target)
}

/// Nothing may cover what the kernel shows in /proc and /sys: later writes there must reach the kernel.
fn refuse_kernel_files(root: &Root, target: BorrowedFd<'_>, at: &Path) -> Result<(), SandboxError> {
    let magic = rustix::fs::fstatfs(target).at(Stage::FindTarget, at)?.f_type;
    if matches!(magic, PROC_MAGIC | SYSFS_MAGIC)
        && !(root.is_bundles && may_cover(at, magic == PROC_MAGIC))
    {
        return Err(Errno::PERM).at(Stage::Mount, at);
    }
    Ok(())
}

pub(super) fn new_filesystem(mount: &Mount, place: Place<'_>) -> Result<OwnedFd, SandboxError> {
    let any_kind = place.root.is_bundles;
    let kind = match mount.typ().as_deref() {
        Some("cgroup" | "cgroup2")
            if any_kind && !place.namespaces.has(CloneFlags::CLONE_NEWCGROUP) =>
        {
            return cgroups::own(mount);
        }
        Some("cgroup" | "cgroup2") if place.namespaces.has(CloneFlags::CLONE_NEWCGROUP) => {
            "cgroup2"
        }
        // To mount it would set the flags of the host's whole hierarchy.
        Some("cgroup" | "cgroup2") => return cgroups::hosts(mount),
        Some(kind @ ("proc" | "sysfs" | "tmpfs" | "devpts" | "mqueue")) => kind,
        Some(other) if any_kind => other,
        Some(other) => return Err(SandboxError::unsupported(&format!("mount type {other}"))),
        None => return Err(SandboxError::unsupported("mount without a type")),
    };
    let options = Options::of(mount);
    let make = || {
        let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        let named = mount.source().as_deref().filter(|_| any_kind && kind != "cgroup2");
        let source = named.unwrap_or(Path::new(kind));
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
        for (key, value) in &options.data {
            let mapped = value.and_then(|value| mapped(key, value, place.user));
            match mapped.as_deref().or(*value) {
                Some(value) => rustix::mount::fsconfig_set_string(&context, *key, value)?,
                None => rustix::mount::fsconfig_set_flag(&context, *key)?,
            }
        }
        rustix::mount::fsconfig_create(&context)?;
        // What is put into a tmpfs at first is put there before it is read-only.
        let later = if kind == "tmpfs" { libc::MOUNT_ATTR_RDONLY } else { 0 };
        let attr = MountAttrFlags::from_bits_retain((options.flags().set & !later) as u32);
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
    };
    let made = make().at(Stage::Mount, mount.destination())?;
    if let (Some(user), "devpts") = (place.user, kind) {
        // Which has no option for that.
        user.own(made.as_fd()).at(Stage::Mount, mount.destination())?;
    }
    Ok(made)
}

/// An owner is named by the container's ids, and the kernel is told by one who has the machine's.
fn mapped(key: &str, value: &str, user: Option<User<'_>>) -> Option<String> {
    let (maps, id) = (user?.maps, value.parse().ok()?);
    match key {
        "uid" => Some(maps.owner(id, 0).0.to_string()),
        "gid" => Some(maps.owner(0, id).1.to_string()),
        _ => None,
    }
}

pub(super) fn attach_filesystem(
    root: &Root,
    mount: &Mount,
    made: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let at = mount.destination();
    const KERNELS: [&str; 6] = ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"];
    let kind = mount.typ().as_deref().unwrap_or_default();
    // The kernel's own file systems and /dev belong where the document says; an image that has a link there
    // wants something else.
    let target = match at == Path::new(DEV) || KERNELS.contains(&kind) {
        true => root.target(at, Kind::Directory, ResolveFlags::NO_SYMLINKS)?,
        false => covered(root, at, Kind::Directory)?,
    };
    let options = Options::of(mount);
    let has_mode = options.data.iter().any(|(key, _)| *key == "mode");
    if root.is_bundles && kind == "tmpfs" && at != Path::new(DEV) && !has_mode {
        // As what it covers, not open to everybody.
        keep_mode(target.as_fd(), made).at(Stage::Mount, at)?;
    }
    if options.copy_up {
        copy_up(target.as_fd(), made).at(Stage::CopyUp, at)?;
    }
    if kind == "tmpfs" && at != Path::new(DEV) && options.is_readonly() {
        mount_setattr(made, READ_ONLY, false).at(Stage::Mount, at)?;
    }
    attach(made, target.as_fd()).at(Stage::Mount, at)?;
    match options.propagation.filter(|kind| *kind != libc::MS_PRIVATE) {
        Some(kind) => set_propagation(made, kind).at(Stage::Mount, at),
        None => Ok(()),
    }
}

fn keep_mode(covered: BorrowedFd<'_>, made: BorrowedFd<'_>) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(status(covered)?.st_mode & 0o7777);
    rustix::fs::chmodat(made, ".", mode, rustix::fs::AtFlags::empty())
}

/// (name, major, minor): the six that OCI asks for, 0666.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// `dev` is the tmpfs that was made a moment ago, and nobody else has put anything into it, or a directory of the root,
/// in which what is there already stays if it is the right thing.
fn fill_dev(place: Place<'_>, oci: &Spec, dev: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let listed = oci.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or(&[]);
    for (name, major, minor) in DEVICES {
        if listed.iter().any(|device| device.path() == &Path::new(DEV).join(name)) {
            continue;
        }
        let number = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        make_node(dev, Path::new(name), (FileType::CharacterDevice, number), mode)
            .at(Stage::Device, name)?;
    }
    for device in listed {
        make_device(place, device)?;
    }
    for (name, leads) in LINKS {
        match rustix::fs::symlinkat(leads, dev, name) {
            Err(Errno::EXIST) if place.root.is_bundles => {}
            made => made.at(Stage::Device, name)?,
        }
    }
    Ok(())
}

/// One that is there already must be it.
fn make_node(
    directory: BorrowedFd<'_>,
    name: &Path,
    (kind, number): (FileType, u64),
    mode: Mode,
) -> Result<(), Errno> {
    match rustix::fs::mknodat(directory, name, kind, mode, number) {
        Err(Errno::EXIST) => {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            let found = rustix::fs::statat(directory, name, flags)?;
            let is_it = FileType::from_raw_mode(found.st_mode) == kind
                && (kind == FileType::Fifo || found.st_rdev == number);
            if is_it { Ok(()) } else { Err(Errno::EXIST) }
        }
        other => other,
    }
}

fn make_device(place: Place<'_>, device: &LinuxDevice) -> Result<(), SandboxError> {
    let path = device.path();
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return Err(Errno::INVAL).at(Stage::Device, path),
    };
    let make = || {
        if !place.root.is_bundles && !path.starts_with(DEV) {
            return Err(Errno::PERM);
        }
        let parent = path.parent().ok_or(Errno::INVAL)?;
        let name = Path::new(path.file_name().ok_or(Errno::INVAL)?);
        let directory = place.root.make_directory(parent, ResolveFlags::NO_SYMLINKS, 0)?;
        let number = |number: i64| u32::try_from(number).map_err(|_| Errno::INVAL);
        let number = rustix::fs::makedev(number(device.major())?, number(device.minor())?);
        let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
        make_node(directory.as_fd(), name, (kind, number), mode)?;
        let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
        if (uid, gid) == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = place.user.map_or((uid, gid), |user| user.maps.owner(uid, gid));
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&directory, name, Some(uid), Some(gid), flags)
    };
    make().at(Stage::Device, path)
}

/// Written through the container's own procfs before anything can be mounted over it.
fn set_sysctls(
    oci: &Spec,
    namespaces: &Namespaces<'_>,
    proc: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let sysctls = oci.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for (name, value) in sysctls.into_iter().flatten() {
        let set = || {
            if !is_own(name, namespaces) {
                return Err(Errno::PERM);
            }
            let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
            sysctl::write(proc, &path, value)
        };
        set().at(Stage::Sysctl, name)?;
    }
    Ok(())
}

/// A sysctl of a namespace that is the host's would change the host.
fn is_own(name: &str, namespaces: &Namespaces<'_>) -> bool {
    let name = name.replace('/', ".");
    let ipc = ["kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."];
    if name.starts_with("net.") {
        namespaces.has(CloneFlags::CLONE_NEWNET)
    } else if ipc.iter().any(|prefix| name.starts_with(prefix)) {
        namespaces.has(CloneFlags::CLONE_NEWIPC)
    } else {
        name == "kernel.domainname" && namespaces.has(CloneFlags::CLONE_NEWUTS)
    }
}

/// Covers each path that exists: a file by the null of `dev`, a directory by one empty read-only tmpfs. Neither the
/// image's own /dev/null, which could be anything, nor the host's: root in the container could change its mode.
pub(super) fn mask(root: &Root, dev: BorrowedFd<'_>, paths: &[String]) -> Result<(), SandboxError> {
    let null = own_null(dev, OFlags::PATH)?;
    let (mut for_files, mut for_directories) = (None, None);
    for path in paths {
        let target = match root.find(Path::new(path), ResolveFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other.at(Stage::Mask, path)?,
        };
        let mode = status(target.as_fd()).at(Stage::Mask, path)?.st_mode;
        let covered = match FileType::from_raw_mode(mode) {
            FileType::Directory => cover(&target, &mut for_directories, || Ok(empty_directory()?)),
            _ => cover(&target, &mut for_files, || read_only_null(null.as_fd())),
        };
        covered.at(Stage::Mask, path)?;
    }
    Ok(())
}

/// The first of its kind is made; the others are clones of it once it is attached, for before Linux 6.15 a
/// detached mount cannot be cloned.
fn cover(
    target: &OwnedFd,
    first: &mut Option<OwnedFd>,
    make: impl FnOnce() -> std::io::Result<OwnedFd>,
) -> std::io::Result<()> {
    let next = match first {
        Some(first) => clone_mount(first.as_fd(), false)?,
        None => make()?,
    };
    attach(next.as_fd(), target.as_fd())?;
    first.get_or_insert(next);
    Ok(())
}

/// A mount of the device alone, which can be opened, and through which its mode cannot be changed.
fn read_only_null(null: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    let cover = clone_mount(null, false)?;
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    mount_setattr(cover.as_fd(), MountAttr { set, ..MountAttr::default() }, false)?;
    Ok(cover)
}

/// The null device of the container's own /dev, verified to be that.
pub(super) fn own_null(dev: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, SandboxError> {
    let open = || {
        let flags = flags | OFlags::CLOEXEC;
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let null = rustix::fs::openat2(dev, "null", flags, Mode::empty(), how)?;
        let status = status(null.as_fd())?;
        let character = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice;
        if character && status.st_rdev == rustix::fs::makedev(1, 3) {
            Ok(null)
        } else {
            Err(Errno::NODEV)
        }
    };
    open().at(Stage::Stdio, "/dev/null")
}

/// A detached tmpfs that holds nothing and takes nothing.
pub(super) fn empty_directory() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("nr_blocks", "1"), ("nr_inodes", "2"), ("mode", "0555")] {
        rustix::mount::fsconfig_set_string(&context, key, value)?;
    }
    rustix::mount::fsconfig_set_flag(&context, "ro")?;
    rustix::mount::fsconfig_create(&context)?;
    let attr = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// Each path that exists becomes a read-only mount of itself, with everything below.
pub(super) fn make_readonly(root: &Root, paths: &[String]) -> Result<(), SandboxError> {
    for path in paths {
        let change = || {
            let target = match root.find(Path::new(path), ResolveFlags::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                other => other?,
            };
            let clone = clone_mount(target.as_fd(), true)?;
            mount_setattr(clone.as_fd(), READ_ONLY, true)?;
            attach(clone.as_fd(), target.as_fd()).map_err(std::io::Error::from)
        };
        change().at(Stage::ReadOnly, path)?;
    }
    Ok(())
}

pub(super) const READ_ONLY: MountAttr =
    MountAttr { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };

/// `root.readonly`: the root's own mounts, not the volumes on them.
pub(super) fn make_root_readonly(root: &Root) -> Result<(), SandboxError> {
    root.mounts()
        .try_for_each(|mount| mount_setattr(mount, READ_ONLY, false))
        .at(Stage::ReadOnly, "/")
}

fn clone_mount(of: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(of, "", flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_and_the_rest_is_data() {
        let mut options = Options::default();
        for word in
            ["rbind", "ro", "nosuid", "noatime", "strictatime", "size=64k", "newinstance", "rslave"]
        {
            options.take(word);
        }
        let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_STRICTATIME;
        assert_eq!(options.own, Flags { set, clear: libc::MOUNT_ATTR__ATIME });
        assert_eq!(options.below, Flags::default());
        assert_eq!(options.propagation, Some(libc::MS_SLAVE));
        assert!(options.recursive);
        assert_eq!(options.data, [("size", Some("64k")), ("newinstance", None)]);
    }

    #[test]
    fn the_last_word_counts_and_an_r_is_for_all_below() {
        let mut options = Options::default();
        for word in ["ro", "rw", "rro", "exec", "rnosuid", "rrelatime"] {
            options.take(word);
        }
        let (ro, noexec) = (libc::MOUNT_ATTR_RDONLY, libc::MOUNT_ATTR_NOEXEC);
        assert_eq!(options.own, Flags { set: 0, clear: ro | noexec });
        let set = ro | libc::MOUNT_ATTR_NOSUID;
        assert_eq!(options.below, Flags { set, clear: libc::MOUNT_ATTR__ATIME });
        assert_eq!(options.own.forbid_only(), Flags::default());
        assert!(options.data.is_empty());
    }
}
