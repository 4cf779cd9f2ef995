//! Where a fresh child runs.

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;

/// Sends a child that was just born to another processor than ours, if there is one that we may use. The
/// kernel's scheduler does so by itself when one idles, but not everywhere: some virtual machines pack what
/// they run, and a child waits until its parent sleeps (seen: 1.6 ms). Afterwards it may run where we may.
pub fn spread(pid: i32) {
    let pid = Pid::from_raw(pid);
    let (Ok(ours), Ok(here)) = (sched_getaffinity(Pid::from_raw(0)), sched_getcpu()) else {
        return;
    };
    let mut others = ours;
    // It moves when it may no longer stay; one that may go nowhere else stays, by the kernel's refusal.
    if others.unset(here).is_ok() && sched_setaffinity(pid, &others).is_ok() {
        let _ = sched_setaffinity(pid, &ours);
    }
}

/// Lets this process run on these processors; those that its cgroup does not have are left out by the kernel.
pub fn run_on(cpus: &std::collections::BTreeSet<usize>) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Lets this process run wherever its cgroup may: what its caller was bound to is the caller's.
pub fn run_anywhere() -> std::io::Result<()> {
    run_on(&(0..CpuSet::count()).collect())
}
