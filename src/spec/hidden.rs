//! What of /proc and /sys a container does not see or does not write: facts of what docker and podman
//! hide, all of both. The kernel shows there what belongs to the machine and not to a container.

/// Covered, where they are there.
pub const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// How hot each processor is and was, which tells what its neighbours compute; one of each processor.
pub const THERMAL: (&str, &str) = ("/sys/devices/system/cpu/cpu", "/thermal_throttle");

/// Shown, and not to be written.
pub const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Whether taking `unmasked` away from the lists leaves this path open: it is that path, or below it.
pub fn opens(unmasked: &str, path: &str) -> bool {
    let rest = path.strip_prefix(unmasked.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether it is, or leads to, something of the lists.
pub fn is_hidden(path: &str) -> bool {
    let (before, behind) = THERMAL;
    let numbered = |path: &str| {
        let number = path.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    MASKED.iter().chain(&READ_ONLY).any(|hidden| opens(path, hidden))
        || numbered(path)
        || opens(path, before.rsplit_once('/').map_or(before, |(parent, _)| parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_opens_itself_and_what_is_below() {
        assert!(opens("/proc", "/proc/kcore") && opens("/proc/", "/proc/kcore"));
        assert!(opens("/proc/kcore", "/proc/kcore"));
        assert!(!opens("/proc/k", "/proc/kcore") && !opens("/proc/kcore/x", "/proc/kcore"));
        for hidden in
            ["/proc", "/sys/firmware", "/sys/devices/system/cpu/cpu3/thermal_throttle", "/sys"]
        {
            assert!(is_hidden(hidden), "{hidden}");
        }
        for seen in ["/proc/cpuinfo", "/etc", "/sys/devices/system/cpu/cpux/thermal_throttle"] {
            assert!(!is_hidden(seen), "{seen}");
        }
    }
}
