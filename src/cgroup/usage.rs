//! What a cgroup uses. Each value comes from the controller that accounts it: of the v2 hierarchy, or of v1
//! where the cgroup's processes are in a cgroup of the same path there. Where neither has it, it is summed
//! over /proc of the processes that live now, and said to be so.

use super::legacy;
use super::process::{directory, file};
use super::{Cgroup, CgroupError};
use rustix::fs::OFlags;
use serde::Serialize;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Who accounts a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Cgroup2,
    Cgroup1,
    /// The processes that live now, each by itself.
    Proc,
    /// Other values of the same sample.
    Sum,
}

/// A quantity and its limit, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount {
    pub used: u64,
    pub limit: Option<u64>,
    pub source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BlockIo {
    /// Bytes.
    pub read: u64,
    pub written: u64,
    pub source: Source,
}

/// Per cent of the last ten seconds in which some task waited for this resource.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pressure {
    pub cpu: f64,
    pub memory: f64,
    pub io: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Microseconds, since the cgroup was made.
    pub cpu: u64,
    /// Bytes: with page cache where a controller counts, else each process's share of what is mapped.
    pub memory: Amount,
    /// Processes and threads.
    pub tasks: Amount,
    pub io: BlockIo,
    /// None where the kernel keeps no pressure.
    pub pressure: Option<Pressure>,
}

/// As long as the files of a cgroup mostly are: one read has all of it, a second one finds its end.
const MOSTLY: usize = 1024;

/// Where this machine has v1 controllers, read once for many cgroups.
#[derive(Debug, Default)]
pub struct Accounts {
    /// controller -> mount point.
    mounts: Vec<(String, PathBuf)>,
}

impl Accounts {
    /// Without /proc there is nothing to be read there.
    pub fn open() -> Self {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self { mounts: mount_points(&mountinfo) }
    }
}

impl Cgroup {
    /// None: the cgroup is gone.
    pub fn usage(&self, accounts: &Accounts) -> Result<Option<Usage>, CgroupError> {
        let Some(cpu) = self.text("cpu.stat").and_then(|text| value(&text, "usage_usec")) else {
            return Ok(None);
        };
        let pids = self.pids_below()?;
        let v1 = V1::of(&pids, &self.path, accounts);
        Ok(Some(Usage {
            cpu,
            memory: self.memory(v1.as_ref(), &pids),
            tasks: self.tasks(v1.as_ref()),
            io: self.io(v1.as_ref(), &pids),
            pressure: self.pressure(),
        }))
    }

    /// The pressure of this cgroup and all below it.
    pub fn pressure(&self) -> Option<Pressure> {
        let of = |file: &str| {
            let text = self.text(file)?;
            let some = text.lines().find(|line| line.starts_with("some "))?;
            some.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
        };
        Some(Pressure {
            cpu: of("cpu.pressure")?,
            memory: of("memory.pressure")?,
            io: of("io.pressure")?,
        })
    }

    fn memory(&self, v1: Option<&V1>, pids: &[i32]) -> Amount {
        if let Some(used) = self.number("memory.current") {
            let limit = self.number("memory.max");
            return Amount { used, limit, source: Source::Cgroup2 };
        }
        if let Some(used) = v1.and_then(|v1| v1.number("memory", "memory.usage_in_bytes")) {
            let limit = v1.and_then(|v1| v1.number("memory", "memory.limit_in_bytes"));
            // What stands there without a limit: the largest number of whole pages.
            let limit = limit.filter(|limit| *limit < i64::MAX.cast_unsigned() / 2);
            return Amount { used, limit, source: Source::Cgroup1 };
        }
        let used = pids.iter().filter_map(|pid| resident(*pid)).sum();
        Amount { used, limit: None, source: Source::Proc }
    }

    fn tasks(&self, v1: Option<&V1>) -> Amount {
        if let Some(used) = self.number("pids.current") {
            return Amount { used, limit: self.number("pids.max"), source: Source::Cgroup2 };
        }
        if let Some(used) = v1.and_then(|v1| v1.number("pids", "pids.current")) {
            let limit = v1.and_then(|v1| v1.number("pids", "pids.max"));
            return Amount { used, limit, source: Source::Cgroup1 };
        }
        Amount { used: self.threads(), limit: None, source: Source::Cgroup2 }
    }

    fn threads(&self) -> u64 {
        let threads = self.text("cgroup.threads").unwrap_or_default();
        let below: u64 = self.children().iter().map(Self::threads).sum();
        threads.lines().count() as u64 + below
    }

    fn io(&self, v1: Option<&V1>, pids: &[i32]) -> BlockIo {
        if let Some(text) = self.text("io.stat") {
            let sum = |key: &str| {
                let words = text.split_ascii_whitespace();
                words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
            };
            return BlockIo {
                read: sum("rbytes="),
                written: sum("wbytes="),
                source: Source::Cgroup2,
            };
        }
        if let Some(text) = v1.and_then(|v1| v1.text("blkio", "blkio.throttle.io_service_bytes")) {
            let sum = |kind: &str| {
                let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
                let of_kind = lines.filter(|words| words.get(1) == Some(&kind));
                of_kind.filter_map(|words| words.get(2)?.parse::<u64>().ok()).sum()
            };
            return BlockIo { read: sum("Read"), written: sum("Write"), source: Source::Cgroup1 };
        }
        let mut io = BlockIo { read: 0, written: 0, source: Source::Proc };
        for text in pids.iter().filter_map(|pid| of_process(*pid, "io")) {
            io.read += value(&text, "read_bytes:").unwrap_or(0);
            io.written += value(&text, "write_bytes:").unwrap_or(0);
        }
        io
    }

    /// `None` where there is no such file: the controller is not on here, or the cgroup is gone.
    fn text(&self, name: &str) -> Option<String> {
        let mut text = String::with_capacity(MOSTLY);
        let file = self.open_file(name, OFlags::RDONLY).ok()?;
        std::fs::File::from(file).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// `max` is none.
    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }
}

/// The number behind a key at the begin of a line.
fn value(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn of_process(pid: i32, name: &str) -> Option<String> {
    String::from_utf8(file(directory(pid)?.as_fd(), name)?).ok()
}

/// A process's share of the memory that it has mapped: a page that four map counts a quarter.
fn resident(pid: i32) -> Option<u64> {
    let text = of_process(pid, "smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The v1 controllers that the cgroup's processes are in, under the same path as in v2.
struct V1 {
    /// controller -> directory.
    controllers: Vec<(String, PathBuf)>,
}

impl V1 {
    fn of(pids: &[i32], path: &Path, accounts: &Accounts) -> Option<Self> {
        if accounts.mounts.is_empty() {
            return None;
        }
        let memberships = pids.iter().find_map(|pid| of_process(*pid, "cgroup"))?;
        let controllers = joined(&memberships, path).filter_map(|(controller, at)| {
            let (_, mount) = accounts.mounts.iter().find(|(name, _)| name == controller)?;
            Some((controller.to_owned(), mount.join(at)))
        });
        Some(Self { controllers: controllers.collect() })
    }

    fn text(&self, controller: &str, file: &str) -> Option<String> {
        let (_, directory) = self.controllers.iter().find(|(name, _)| name == controller)?;
        let mut text = String::with_capacity(MOSTLY);
        std::fs::File::open(directory.join(file)).ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn number(&self, controller: &str, file: &str) -> Option<u64> {
        self.text(controller, file)?.trim().parse().ok()
    }
}

/// The v1 controllers of a /proc/PID/cgroup text whose cgroup is of this path; where that is below the
/// mount's root.
fn joined<'a>(text: &'a str, path: &'a Path) -> impl Iterator<Item = (&'a str, &'a str)> {
    text.lines().flat_map(move |line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, at) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let at = at.trim_start_matches('/');
        let ours = Path::new(at).ends_with(path);
        names.split(',').filter(move |name| ours && !name.is_empty()).map(move |name| (name, at))
    })
}

/// The v1 controllers of a mountinfo text, each with its mount point.
fn mount_points(mountinfo: &str) -> Vec<(String, PathBuf)> {
    let controllers = legacy::points(mountinfo).flat_map(|(point, _, options)| {
        options.split(',').map(move |word| (word.to_owned(), point.clone()))
    });
    controllers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Hierarchy;
    use crate::sys::clone::{Cloned, clone3};

    #[test]
    fn v1_counts_only_where_it_is_the_cgroup_itself() {
        let path = Path::new("podspec/ab/web");
        let text = "9:name=systemd:/\n4:memory:/podspec/ab/web\n3:cpu,cpuacct:/x/podspec/ab/web\n\
                    2:pids:/podspec/ab\n0::/podspec/ab/web\n";
        let found: Vec<_> = joined(text, path).collect();
        let elsewhere = "x/podspec/ab/web";
        assert_eq!(
            found,
            [("memory", "podspec/ab/web"), ("cpu", elsewhere), ("cpuacct", elsewhere)]
        );
        let info = "24 30 0:22 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory\n";
        let mounts = mount_points(info);
        let point = PathBuf::from("/sys/fs/cgroup/memory");
        assert_eq!(mounts, [("rw".to_owned(), point.clone()), ("memory".to_owned(), point)]);
    }

    #[test]
    fn what_a_process_uses_is_seen_from_outside() {
        let hierarchy = Hierarchy::open().unwrap();
        let path = PathBuf::from(format!("podspec/test-{}-usage", std::process::id()));
        let cgroup = hierarchy.make(&path).unwrap();
        let usage = || cgroup.usage(&Accounts::open()).unwrap();
        assert_eq!(usage().unwrap().tasks.used, 0);
        let Cloned::Parent { pid, .. } = clone3(0, Some(cgroup.fd())).unwrap() else {
            loop {
                nix::unistd::pause();
            }
        };
        let used = usage().unwrap();
        assert_eq!(used.tasks.used, 1);
        assert!(used.memory.used > 0, "{used:?}");
        assert_eq!(cgroup.processes().unwrap()[0].pid, pid);
        hierarchy.remove(&path).unwrap();
        assert!(usage().is_none(), "a cgroup that is gone uses nothing");
    }
}
