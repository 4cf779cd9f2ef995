//! Whether the kernel killed a process of a cgroup because memory was out.

use super::Cgroup;
use super::limits::text;
use rustix::fs::{CWD, Mode};
use std::os::fd::AsFd;
use std::path::Path;

/// What happened since the cgroup was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Processes that were killed for it.
    pub kills: u64,
    /// It was the cgroup's own limit that was reached.
    pub own_limit: bool,
}

impl Cgroup {
    /// By the memory controller of v2, or of the v1 cgroup of the same path in the hierarchy that is mounted at
    /// `legacy`. Nothing where nobody counts.
    pub fn out_of_memory(&self, legacy: Option<&Path>) -> OutOfMemory {
        let Some(mount) = legacy else {
            let number = |file: &str, key: &str| value(&text(self.fd(), file)?, key);
            return OutOfMemory {
                kills: number("memory.events", "oom_kill").unwrap_or(0),
                own_limit: number("memory.events.local", "oom").is_some_and(|times| times > 0),
            };
        };
        let path = mount.join(&self.path);
        let Ok(directory) = rustix::fs::openat(CWD, &path, super::DIRECTORY, Mode::empty()) else {
            return OutOfMemory::default();
        };
        let read = |file: &str| text(directory.as_fd(), file);
        let failed = read("memory.failcnt").and_then(|text| text.trim().parse::<u64>().ok());
        OutOfMemory {
            kills: read("memory.oom_control").and_then(|t| value(&t, "oom_kill")).unwrap_or(0),
            own_limit: failed.is_some_and(|times| times > 0),
        }
    }
}

fn value(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill x\n";
        assert_eq!((value(text, "oom"), value(text, "oom_kill")), (Some(3), Some(2)));
        assert_eq!((value(text, "oom_group_kill"), value("", "oom")), (None, None));
    }
}
