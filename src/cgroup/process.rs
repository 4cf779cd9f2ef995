//! The processes of a cgroup as /proc shows them. Each is read through one descriptor of its directory, so
//! that no line is put together from two processes that had a pid one after the other. Their names and
//! arguments are whatever they want others to see.

use super::limits::text;
use super::{Cgroup, CgroupError, Hierarchy};
use nix::unistd::{SysconfVar, sysconf};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// A process may say of itself as much as it likes; of that we read this much.
const LONGEST_COMMAND: u64 = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    /// As its own pid namespace numbers it.
    pub inside: i32,
    pub parent: i32,
    /// The effective one, as our user namespace numbers it.
    pub uid: u32,
    /// As ps(1) has it: R, S, D, Z, T, t, I.
    pub state: char,
    /// All threads, user and system.
    pub cpu: Duration,
    /// Since it was made.
    pub elapsed: Duration,
    /// Resident, bytes.
    pub rss: u64,
    /// Its name in the kernel.
    pub name: String,
    /// Empty for a zombie. Lossy, and cut.
    pub arguments: Vec<String>,
}

impl Hierarchy {
    /// Where a further process of a container can be born, whose cgroup and first process these are. A container that
    /// has cgroups of its own (a systemd, a docker) and has enabled controllers for them has no processes in its own
    /// one (cgroups(7), "no internal processes"); then it is where the first process has gone.
    pub fn home_of_further(&self, own: Cgroup, first: i32) -> Result<Cgroup, CgroupError> {
        let enabled = text(own.fd(), "cgroup.subtree_control").unwrap_or_default();
        if enabled.trim().is_empty() {
            return Ok(own);
        }
        match path_of(first).filter(|path| path.starts_with(&own.path)) {
            Some(path) => Ok(self.find(&path)?.unwrap_or(own)),
            None => Ok(own),
        }
    }
}

/// The v2 cgroup that a process lives in, below the mount of the hierarchy. None: it has ended, or is outside of what
/// our cgroup namespace shows.
pub fn path_of(pid: i32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::/")).map(PathBuf::from)
}

impl Cgroup {
    /// What lives at and below this cgroup, by pid; who ends meanwhile is left out.
    pub fn processes(&self) -> Result<Vec<Process>, CgroupError> {
        let mut pids = self.pids_below()?;
        pids.sort_unstable();
        Ok(pids.into_iter().filter_map(read).collect())
    }

    /// As `pids`, with those of the cgroups below, which a container may make for itself.
    pub(super) fn pids_below(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = self.pids()?;
        for child in self.children() {
            pids.extend(child.pids_below()?);
        }
        // Zero: a process that our pid namespace does not see.
        pids.retain(|pid| *pid > 0);
        Ok(pids)
    }

    /// The cgroups right below; one that goes meanwhile is left out.
    pub(super) fn children(&self) -> Vec<Self> {
        let Ok(entries) = rustix::fs::Dir::read_from(&self.directory) else { return Vec::new() };
        let named = entries.flatten().filter(|entry| {
            entry.file_type() == rustix::fs::FileType::Directory
                && !matches!(entry.file_name().to_bytes(), b"." | b"..")
        });
        let open = |entry: rustix::fs::DirEntry| {
            let name = entry.file_name();
            let directory =
                rustix::fs::openat(&self.directory, name, super::DIRECTORY, Mode::empty()).ok()?;
            let path = self.path.join(OsStr::from_bytes(name.to_bytes()));
            Some(Self { directory, path })
        };
        named.filter_map(open).collect()
    }
}

/// /proc/PID, which goes on being that process's.
pub(super) fn directory(pid: i32) -> Option<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}"), flags, Mode::empty()).ok()
}

pub(super) fn file(directory: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    // As long as most are: one read has all of it, a second one finds its end.
    let mut bytes = Vec::with_capacity(2048);
    std::fs::File::from(fd).take(LONGEST_COMMAND).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn read(pid: i32) -> Option<Process> {
    let directory = directory(pid)?;
    let stat = file(directory.as_fd(), "stat")?;
    let status = file(directory.as_fd(), "status")?;
    let command = file(directory.as_fd(), "cmdline").unwrap_or_default();
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let uptime = Duration::new(uptime.tv_sec.cast_unsigned(), uptime.tv_nsec.try_into().ok()?);
    parse(pid, &stat, &status, &command, uptime)
}

fn parse(
    pid: i32,
    stat: &[u8],
    status: &[u8],
    command: &[u8],
    uptime: Duration,
) -> Option<Process> {
    // The name in parentheses may hold spaces, parentheses and line feeds.
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let name = String::from_utf8_lossy(stat.get(begin..end)?).into_owned();
    let fields: Vec<&str> =
        std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace().collect();
    // proc_pid_stat(5) counts from 1, and two fields lie before the state.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let status = String::from_utf8_lossy(status);
    // The name stands first, and the kernel escapes its line feeds.
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let arguments = command.strip_suffix(b"\0").unwrap_or(command);
    let arguments = arguments.split(|byte| *byte == 0);
    Some(Process {
        pid,
        inside: value("NSpid:")?.split_ascii_whitespace().last()?.parse().ok()?,
        parent: i32::try_from(field(4)?).ok()?,
        uid: value("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        cpu: ticks(field(14)? + field(15)?),
        elapsed: uptime.saturating_sub(ticks(field(22)?)),
        // Not field 24, which lags behind; a zombie has none.
        rss: value("VmRSS:")
            .and_then(|text| text.strip_suffix(" kB")?.trim().parse::<u64>().ok())
            .unwrap_or(0)
            * 1024,
        name,
        arguments: if command.is_empty() {
            Vec::new()
        } else {
            arguments.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        },
    })
}

fn ticks(count: u64) -> Duration {
    let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let second = u64::try_from(second).unwrap_or(100).max(1);
    Duration::from_secs(count / second)
        + Duration::from_nanos(count % second * 1_000_000_000 / second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_moves_no_field() {
        let stat = b"7 (a) R 1 (\x1b[2J\n) S 4 5 6 7 8 9 10 11 12 13 150 50 16 17 18 19 20 21 1000 23 25 0";
        let status = b"Name:\ta) R\\n\nNSpid:\t7\t2\nUid:\t1\t1000\t3\t4\nVmRSS:\t    100 kB\n";
        let process = parse(7, stat, status, b"sh\0-c\0\0", Duration::from_secs(60)).unwrap();
        assert_eq!(process.name, "a) R 1 (\x1b[2J\n");
        assert_eq!((process.state, process.parent, process.inside, process.uid), ('S', 4, 2, 1000));
        assert_eq!(process.arguments, ["sh", "-c", ""]);
        let ours = sysconf(SysconfVar::CLK_TCK).unwrap().unwrap();
        assert_eq!(process.cpu, Duration::from_secs_f64(200.0 / ours as f64));
        assert_eq!(process.elapsed, Duration::from_secs(60) - ticks(1000));
        assert_eq!(process.rss, 100 * 1024);
        assert!(parse(7, b"7 (a", status, b"", Duration::ZERO).is_none());
    }

    #[test]
    fn we_can_read_ourselves() {
        let own = read(std::process::id().cast_signed()).unwrap();
        assert!(own.rss > 0 && !own.arguments.is_empty());
        assert_eq!(own.uid, nix::unistd::geteuid().as_raw());
        assert!(read(i32::MAX).is_none());
    }
}
