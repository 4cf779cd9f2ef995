//! Hierarchies of cgroup v1, one a controller: for machines whose memory, processors or processes are counted
//! there. A cgroup has the same path as in v2. Nobody is born in it: a process joins by itself, through
//! `tasks`, which moves one thread and costs 0.1 ms; through cgroup.procs, or for somebody else, it is 8 ms
//! (the kernel waits for its readers, cgroup_threadgroup_rwsem).

use super::limits::{text, write};
use super::{CgroupError, DIRECTORY, names};
use rustix::event::{PollFd, Timespec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A killed process may be in its cgroup for a moment more.
const BUSY_AT_MOST: Duration = Duration::from_secs(5);
const BUSY_STEP: Duration = Duration::from_millis(1);

/// A cgroup of a v1 hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy<'a> {
    /// Where the hierarchy is mounted.
    pub mount: &'a Path,
    pub path: &'a Path,
}

impl Legacy<'_> {
    /// Makes the cgroup and what is missing above it, and writes each value to its file. Gives what a process
    /// joins through: it writes `0` there.
    pub fn make(&self, files: &[(String, String)]) -> Result<OwnedFd, CgroupError> {
        let path = self.mount.join(self.path);
        let fail = |source: Errno| CgroupError::Make { path: path.clone(), source: source.into() };
        names(self.path)?;
        let directory = make(&path).map_err(fail)?;
        for (file, value) in files {
            write(directory.as_fd(), file, value).map_err(|errno| CgroupError::Limit {
                path: path.clone(),
                file: file.clone(),
                value: value.clone(),
                source: errno.into(),
            })?;
        }
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&directory, "tasks", flags, Mode::empty()).map_err(fail)
    }

    /// What a process joins through, of a cgroup that is there.
    pub fn find(&self) -> Result<OwnedFd, CgroupError> {
        let path = self.mount.join(self.path).join("tasks");
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(CWD, &path, flags, Mode::empty())
            .map_err(|errno| CgroupError::Open { path, source: errno.into() })
    }

    /// Removes the cgroup and what is below it, whose processes have ended.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let path = self.mount.join(self.path);
        let fail =
            |source: Errno| CgroupError::Remove { path: path.clone(), source: source.into() };
        names(self.path)?;
        let deadline = Instant::now() + BUSY_AT_MOST;
        loop {
            match remove(&path) {
                Err(Errno::BUSY) if Instant::now() < deadline => pause(),
                other => return other.map_err(fail),
            }
        }
    }
}

/// Mostly all above it is there.
fn make(path: &Path) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::NOENT) => {
            make(path.parent().ok_or(Errno::NOENT)?)?;
            return make(path);
        }
        Err(errno) => return Err(errno),
    }
    let directory = open(path)?;
    inherit(path, directory.as_fd())?;
    Ok(directory)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())
}

fn remove(path: &Path) -> Result<(), Errno> {
    match open(path) {
        Ok(directory) => super::remove_below(directory.as_fd())?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// v1 tells of no end: there is nothing to wait for but time.
fn pause() {
    let step = Timespec { tv_sec: 0, tv_nsec: BUSY_STEP.subsec_nanos().into() };
    let _ = rustix::event::poll(&mut [] as &mut [PollFd<'_>], Some(&step));
}

/// A new cpuset is empty, and nobody can join one that is; whoever made those above may have left them so, too.
fn inherit(path: &Path, directory: BorrowedFd<'_>) -> Result<(), Errno> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let Some(own) = text(directory, file) else { return Ok(()) };
        let Some(parent) = path.parent().filter(|_| own.trim().is_empty()) else { continue };
        let above = open(parent)?;
        inherit(parent, above.as_fd())?;
        if let Some(given) = text(above.as_fd(), file) {
            write(directory, file, given.trim())?;
        }
    }
    Ok(())
}

/// Brings processes there that live already; one that ends meanwhile is left out.
pub fn join(cgroup: Legacy<'_>, pids: &[i32]) -> Result<(), CgroupError> {
    let path = cgroup.mount.join(cgroup.path);
    let fail = |errno: Errno| CgroupError::Open { path: path.clone(), source: errno.into() };
    let directory = open(&path).map_err(fail)?;
    for pid in pids {
        match write(directory.as_fd(), "cgroup.procs", &pid.to_string()) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Ok(())
}

/// The v1 controllers of this machine and where each is mounted, to be written.
pub fn mounts() -> io::Result<Vec<(String, PathBuf)>> {
    Ok(parse(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

/// Where any v1 hierarchy of this machine is mounted, to be written; those without a controller, too.
pub fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(writable(&mountinfo).map(|(point, _)| point).collect())
}

/// Each mount of a v1 hierarchy: where, with what of its own, and with the options of the hierarchy.
pub(super) fn points(mountinfo: &str) -> impl Iterator<Item = (PathBuf, &str, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - cgroup ")?;
        let mut words = mount.split(' ').skip(4);
        Some((PathBuf::from(words.next()?), words.next()?, filesystem.split(' ').nth(1)?))
    })
}

/// In somebody else's container they are to look at alone.
fn writable(mountinfo: &str) -> impl Iterator<Item = (PathBuf, &str)> {
    points(mountinfo).filter_map(|(point, own, options)| {
        own.split(',').all(|option| option != "ro").then_some((point, options))
    })
}

fn parse(mountinfo: &str) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for (point, options) in writable(mountinfo) {
        for word in options.split(',').filter(|word| KNOWN.contains(word)) {
            // The same hierarchy may be mounted at several places.
            if !found.iter().any(|(known, _)| known == word) {
                found.push((word.to_owned(), point.clone()));
            }
        }
    }
    found
}

/// Options of such a mount that name a controller.
const KNOWN: [&str; 12] = [
    "cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb",
    "net_cls", "net_prio", "rdma",
];

/// Lets a process go on that somebody has stopped by v1's freezer: a signal that kills waits there, too.
pub fn thaw(pid: i32) -> io::Result<()> {
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let of_freezer = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_it = controllers.split(',').any(|name| name == "freezer") && path != "/";
        is_it.then(|| path.trim_start_matches('/').to_owned())
    };
    let Some(path) = cgroups.lines().find_map(of_freezer) else { return Ok(()) };
    let Some((_, mount)) = mounts()?.into_iter().find(|(name, _)| name == "freezer") else {
        return Ok(());
    };
    let cgroup = open(&mount.join(path))?;
    Ok(write(cgroup.as_fd(), "freezer.state", "THAWED")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{Cloned, clone3, exit_now};

    #[test]
    fn mounts_are_found_by_their_options() {
        let info = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    31 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    35 24 0:31 / /sys/fs/cgroup/pids ro,nosuid - cgroup cgroup rw,pids\n\
                    33 24 0:29 / /elsewhere rw - cgroup cgroup rw,memory\n\
                    34 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let both = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(
            parse(info),
            [
                ("cpu".to_owned(), both.clone()),
                ("cpuacct".to_owned(), both),
                ("memory".to_owned(), "/sys/fs/cgroup/memory".into())
            ]
        );
    }

    #[test]
    fn a_child_joins_every_hierarchy_by_itself() {
        let path = PathBuf::from(format!("podspec/test-{}-legacy", std::process::id()));
        for (controller, mount) in mounts().unwrap() {
            // Somebody else has made the one above, and nothing more.
            make(&mount.join("podspec")).unwrap();
            std::fs::create_dir(mount.join(&path)).unwrap();
            let cgroup = Legacy { mount: &mount, path: &path.join("a") };
            let tasks = cgroup.make(&[]).unwrap();
            let Cloned::Parent { pid, pidfd } = clone3(0, None).unwrap() else {
                if rustix::io::write(&tasks, b"0").is_err() {
                    exit_now(1);
                }
                loop {
                    nix::unistd::pause();
                }
            };
            let within = || {
                let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
                text.lines().any(|line| line.ends_with(&*path.join("a").to_string_lossy()))
            };
            while !within() {
                std::thread::yield_now();
            }
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
                .unwrap();
            let whole = Legacy { mount: &mount, path: &path };
            whole.remove().unwrap();
            whole.remove().unwrap();
            assert!(!mount.join(&path).exists(), "{controller}");
            let wait = rustix::process::WaitIdOptions::EXITED;
            rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), wait).unwrap();
        }
    }
}
