//! Where a fresh child runs.

use nix::sched::{sched_getaffinity, sched_getcpu, sched_setaffinity};
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
