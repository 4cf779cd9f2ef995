//! Cgroups of the v2 hierarchy: make, find, list, kill, remove. Where no usable mount of it is in sight it is
//! reached by a detached one, so that hybrid and v1 machines have it too. Nothing is ever moved between
//! v2 cgroups here: processes are born in them (CLONE_INTO_CGROUP). `home.rs` has the one that all of podspec's are
//! below, `systemd.rs` asks for it where systemd owns them, `limits.rs` bounds one, `legacy.rs` has the hierarchies of v1, `devices.rs` says which devices it may use, `process.rs` reads who lives in one, `usage.rs`
//! what it uses, `oom.rs` whether it had too little memory.

mod devices;
mod home;
mod legacy;
mod limits;
mod oom;
mod process;
mod systemd;
mod usage;

pub use devices::{DevicePrograms, DeviceRule};
pub use home::{home, move_in};
pub use legacy::{
    Legacy, hierarchies as legacy_hierarchies, join as legacy_processes, mounts as legacy_mounts,
    thaw,
};
pub use oom::OutOfMemory;
pub use process::{Process, path_of};
pub use systemd::{BusError, Placeholder, Scope, is_booted as is_systemds};
pub use usage::{Accounts, Amount, BlockIo, Pressure, Source, Usage};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("cannot mount the cgroup v2 hierarchy")]
    Mount { source: io::Error },
    #[error("{} is no path of a cgroup", path.display())]
    Path { path: PathBuf },
    #[error("cannot get {scope} from systemd, whose cgroups these are")]
    Systemd { scope: String, source: BusError },
    #[error("cannot make cgroup {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("cannot open cgroup {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot read {file} of cgroup {}", path.display())]
    Read { path: PathBuf, file: &'static str, source: io::Error },
    #[error("cannot end the processes of cgroup {}", path.display())]
    Kill { path: PathBuf, source: io::Error },
    #[error("cannot enable the controller `{controller}` below cgroup {}", path.display())]
    Enable { path: PathBuf, controller: String, source: io::Error },
    #[error("cannot write `{value}` to {file} of cgroup {}", path.display())]
    Limit { path: PathBuf, file: String, value: String, source: io::Error },
    #[error("cannot bound the devices of cgroup {}", path.display())]
    Devices { path: PathBuf, source: io::Error },
    #[error("cgroup {} still has processes after {} s", path.display(), REMOVE_WAIT.as_secs())]
    StillPopulated { path: PathBuf },
    #[error("cannot remove cgroup {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

/// A killed process can hang in the kernel (a dead NFS server); then `remove` says so.
const REMOVE_WAIT: Duration = Duration::from_secs(5);

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The v2 hierarchy, from the root that this process's cgroup namespace shows.
#[derive(Debug)]
pub struct Hierarchy {
    root: OwnedFd,
}

/// One cgroup, held open.
#[derive(Debug)]
pub struct Cgroup {
    directory: OwnedFd,
    path: PathBuf,
}

impl Hierarchy {
    pub fn open() -> Result<Self, CgroupError> {
        let root = VISIBLE.iter().find_map(|path| visible_hierarchy(Path::new(path)));
        match root.or_else(|| {
            let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
            mount_points(&mountinfo).find_map(|path| visible_hierarchy(Path::new(path)))
        }) {
            Some(root) => Ok(Self { root }),
            None => mount_hierarchy()
                .map(|root| Self { root })
                .map_err(|source| CgroupError::Mount { source }),
        }
    }

    /// Makes the cgroup and what is missing above it. One that is there already is right, too.
    pub fn make(&self, path: &Path) -> Result<Cgroup, CgroupError> {
        let fail =
            |source: Errno| CgroupError::Make { path: path.to_owned(), source: source.into() };
        let mut so_far = PathBuf::new();
        for name in names(path)? {
            so_far.push(name);
            match rustix::fs::mkdirat(&self.root, &so_far, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(fail(e)),
            }
        }
        self.find(path)?.ok_or_else(|| fail(Errno::NOENT))
    }

    pub fn find(&self, path: &Path) -> Result<Option<Cgroup>, CgroupError> {
        let relative: PathBuf = names(path)?.into_iter().collect();
        match rustix::fs::openat(&self.root, &relative, DIRECTORY, Mode::empty()) {
            Ok(directory) => Ok(Some(Cgroup { directory, path: relative })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(CgroupError::Open { path: relative, source: e.into() }),
        }
    }

    /// Removes a cgroup in which nobody lives and no other cgroup is.
    pub fn remove_empty(&self, path: &Path) -> Result<(), CgroupError> {
        let relative: PathBuf = names(path)?.into_iter().collect();
        rustix::fs::unlinkat(&self.root, &relative, AtFlags::REMOVEDIR)
            .map_err(|errno| CgroupError::Remove { path: relative, source: errno.into() })
    }

    /// Ends every process at and below `path`, waits until it is empty, and removes the cgroups from the bottom up.
    /// A cgroup that is not there is removed.
    pub fn remove(&self, path: &Path) -> Result<(), CgroupError> {
        let Some(cgroup) = self.find(path)? else { return Ok(()) };
        let deadline = Instant::now() + REMOVE_WAIT;
        cgroup.kill()?;
        cgroup.wait_empty(deadline)?;
        let fail =
            |source: Errno| CgroupError::Remove { path: path.to_owned(), source: source.into() };
        remove_below(cgroup.directory.as_fd()).map_err(fail)?;
        match rustix::fs::unlinkat(&self.root, &cgroup.path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(fail(e)),
        }
    }
}

impl Cgroup {
    /// For CLONE_INTO_CGROUP.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// SIGKILL to every process at and below, also to frozen ones and to those being forked meanwhile.
    pub fn kill(&self) -> Result<(), CgroupError> {
        let write = || {
            let file = self.open_file("cgroup.kill", OFlags::WRONLY)?;
            rustix::io::write(file, b"1").map(drop)
        };
        match write() {
            // The cgroup itself is gone: nothing lives in it.
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(e) => Err(CgroupError::Kill { path: self.path.clone(), source: e.into() }),
        }
    }

    /// Allocates what it keeps anew.
    pub fn relocate(&mut self) {
        self.path = self.path.clone();
    }

    /// `cgroup.events`, which reports POLLPRI (EPOLLPRI) whenever it changes.
    pub fn events(&self) -> Result<OwnedFd, CgroupError> {
        self.open_file("cgroup.events", OFlags::RDONLY)
            .map_err(|e| self.read_error("cgroup.events", e))
    }

    /// Whether any process lives at or below the cgroup that `events` is of. A removed cgroup has none.
    pub fn populated(events: BorrowedFd<'_>) -> Result<bool, CgroupError> {
        let mut text = [0; 256];
        match rustix::io::pread(events, &mut text, 0) {
            Ok(read) => Ok(text[..read].split(|&b| b == b'\n').any(|line| line == b"populated 1")),
            Err(Errno::NODEV) => Ok(false),
            Err(e) => Err(CgroupError::Read {
                path: PathBuf::new(),
                file: "cgroup.events",
                source: e.into(),
            }),
        }
    }

    /// The processes of this cgroup itself, as this process's pid namespace numbers them.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        const FILE: &str = "cgroup.procs";
        let fail =
            |source: io::Error| CgroupError::Read { path: self.path.clone(), file: FILE, source };
        let file = match self.open_file(FILE, OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
            other => other.map_err(|e| fail(e.into()))?,
        };
        match io::read_to_string(std::fs::File::from(file)) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
            Err(e) => Err(fail(e)),
        }
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.directory, name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    fn read_error(&self, file: &'static str, e: Errno) -> CgroupError {
        CgroupError::Read { path: self.path.clone(), file, source: e.into() }
    }

    fn wait_empty(&self, deadline: Instant) -> Result<(), CgroupError> {
        let events = match self.open_file("cgroup.events", OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            other => other.map_err(|e| self.read_error("cgroup.events", e))?,
        };
        while Self::populated(events.as_fd())? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CgroupError::StillPopulated { path: self.path.clone() });
            }
            let left = rustix::event::Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(self.read_error("cgroup.events", e)),
            }
        }
        Ok(())
    }
}

/// The plain names of a path, without a leading `/`; nothing that could climb.
fn names(path: &Path) -> Result<Vec<&OsStr>, CgroupError> {
    let refuse = || CgroupError::Path { path: path.to_owned() };
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(refuse()),
        }
    }
    if names.is_empty() { Err(refuse()) } else { Ok(names) }
}

/// Where unified and hybrid machines show the hierarchy.
const VISIBLE: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const CGROUP2_MAGIC: u32 = 0x6367_7270;

/// Where a mountinfo text has cgroup2 mounted.
fn mount_points(mountinfo: &str) -> impl Iterator<Item = &str> {
    let cgroup2 = mountinfo.lines().filter(|line| line.contains(" - cgroup2 "));
    cgroup2.filter_map(|line| line.split(' ').nth(4))
}

/// A mount of the hierarchy that is there already, if it is writable and the whole of it. To make one
/// from the first cgroup namespace costs 7 to 15 ms.
fn visible_hierarchy(path: &Path) -> Option<OwnedFd> {
    let root = rustix::fs::open(path, DIRECTORY, Mode::empty()).ok()?;
    // statfs's type is signed on some targets.
    let is_cgroup2 = u32::try_from(rustix::fs::fstatfs(&root).ok()?.f_type) == Ok(CGROUP2_MAGIC);
    let flags = rustix::fs::fstatvfs(&root).ok()?.f_flag;
    // Only the root of the hierarchy has no events.
    let events = rustix::fs::statat(&root, "cgroup.events", AtFlags::empty());
    let is_writable = !flags.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    (is_cgroup2 && is_writable && matches!(events, Err(Errno::NOENT))).then_some(root)
}

fn mount_hierarchy() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Mounting from the first cgroup namespace sets the flags of the whole hierarchy; the ones that the
    // machine runs with (systemd's nsdelegate, memory_recursiveprot) must be named or they are lost.
    for flag in hierarchy_flags(&std::fs::read_to_string("/proc/self/mountinfo")?) {
        rustix::mount::fsconfig_set_flag(&context, flag)?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attr)?)
}

/// The super-block options of a cgroup2 mount in a mountinfo text, less what every mount has.
fn hierarchy_flags(mountinfo: &str) -> Vec<&str> {
    let options = mountinfo.lines().find_map(|line| {
        let mut words = line.split_once(" - ")?.1.split(' ');
        if words.next() == Some("cgroup2") { words.nth(1) } else { None }
    });
    options.unwrap_or("").split(',').filter(|flag| !matches!(*flag, "" | "rw" | "ro")).collect()
}

fn remove_below(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != rustix::fs::FileType::Directory
            || matches!(name.to_bytes(), b"." | b"..")
        {
            continue;
        }
        let remove = || match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        };
        // Most have nothing below them.
        match remove() {
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            removed => {
                removed?;
                continue;
            }
        }
        match rustix::fs::openat(directory, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            child => remove_below(child?.as_fd())?,
        }
        remove()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{Cloned, clone3, exit_now};

    fn own(name: &str) -> PathBuf {
        format!("podspec/test-{}-{name}", std::process::id()).into()
    }

    #[test]
    fn a_path_cannot_climb() {
        assert_eq!(names(Path::new("/a/b")).unwrap(), ["a", "b"]);
        assert!(names(Path::new("a/../b")).is_err());
        assert!(names(Path::new("/")).is_err());
        assert!(names(Path::new("")).is_err());
    }

    #[test]
    fn the_flags_of_the_machine_are_kept() {
        let info = "24 30 0:22 / /sys rw - sysfs sysfs rw\n\
                    25 24 0:23 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        assert_eq!(hierarchy_flags(info), ["nsdelegate", "memory_recursiveprot"]);
        assert!(hierarchy_flags("").is_empty());
        assert_eq!(mount_points(info).collect::<Vec<_>>(), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn making_twice_and_removing_twice_is_right() {
        let hierarchy = Hierarchy::open().unwrap();
        let path = own("idempotent");
        assert!(hierarchy.find(&path).unwrap().is_none());
        hierarchy.make(&path.join("a/b")).unwrap();
        hierarchy.make(&path.join("a/b")).unwrap();
        assert!(hierarchy.find(&path).unwrap().is_some());
        hierarchy.remove(&path).unwrap();
        hierarchy.remove(&path).unwrap();
        assert!(hierarchy.find(&path).unwrap().is_none());
    }

    #[test]
    fn removing_ends_what_was_born_in_it() {
        let hierarchy = Hierarchy::open().unwrap();
        let path = own("born");
        let cgroup = hierarchy.make(&path.join("c")).unwrap();
        let events = cgroup.events().unwrap();
        assert!(!Cgroup::populated(events.as_fd()).unwrap());
        let Cloned::Parent { pid, pidfd } = clone3(0, Some(cgroup.fd())).unwrap() else {
            loop {
                nix::unistd::pause();
            }
        };
        assert!(Cgroup::populated(events.as_fd()).unwrap());
        assert_eq!(cgroup.pids().unwrap(), [pid]);
        hierarchy.remove(&path).unwrap();
        let status = rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        assert_eq!(status.unwrap().unwrap().terminating_signal(), Some(9));
        assert!(!Cgroup::populated(events.as_fd()).unwrap());
        assert!(cgroup.pids().unwrap().is_empty());
        cgroup.kill().unwrap();
    }

    #[test]
    fn a_child_that_ends_empties_its_cgroup() {
        let hierarchy = Hierarchy::open().unwrap();
        let path = own("ends");
        let cgroup = hierarchy.make(&path).unwrap();
        let Cloned::Parent { pidfd, .. } = clone3(0, Some(cgroup.fd())).unwrap() else {
            exit_now(3)
        };
        let status = rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        );
        assert_eq!(status.unwrap().unwrap().exit_status(), Some(3));
        assert!(cgroup.pids().unwrap().is_empty());
        hierarchy.remove(&path).unwrap();
    }
}
