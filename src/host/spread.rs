//! Whether a mount of the host can spread what is mounted below it, as the file asks for: to a private one the
//! kernel would say yes and then do nothing.

use super::unescape;
use crate::spec::model::Propagation;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::path::Path;

/// What keeps mounts at `path` from spreading as they are to. `None`: nothing does, or the path is not there.
pub(super) fn mismatch(path: &Path, wanted: Propagation) -> Option<String> {
    if wanted == Propagation::Private {
        return None;
    }
    let known = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    judge(&text, known.stx_mnt_id, wanted)
}

fn judge(mountinfo: &str, mount: u64, wanted: Propagation) -> Option<String> {
    let id = mount.to_string();
    let line = mountinfo.lines().find(|line| line.split(' ').next() == Some(&id))?;
    let (front, _) = line.split_once(" - ")?;
    let point = front.split(' ').nth(4).map(unescape)?;
    // proc_pid_mountinfo(5): the optional fields.
    let is = |kind: &str| front.split(' ').skip(6).any(|field| field.starts_with(kind));
    let fits = is("shared:") || (wanted == Propagation::Rslave && is("master:"));
    let (option, at) = (wanted.option(), point.display());
    (!fits).then(|| {
        format!(
            "nothing spreads from the mount at {at}, so `{option}` would do nothing; `mount --make-rshared {at}` lets it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shared_mount_spreads() {
        const MOUNTS: &str = "\
24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
25 24 0:22 / /mnt/a\\040b rw,relatime - tmpfs tmpfs rw
26 24 0:23 / /srv rw,relatime master:1 - tmpfs tmpfs rw";
        let judge = |mount, wanted| judge(MOUNTS, mount, wanted);
        assert_eq!(judge(24, Propagation::Rshared), None);
        assert_eq!(judge(24, Propagation::Rslave), None);
        assert_eq!(judge(26, Propagation::Rslave), None);
        assert!(judge(26, Propagation::Rshared).unwrap().contains("the mount at /srv,"));
        assert!(judge(25, Propagation::Rslave).unwrap().contains("the mount at /mnt/a b,"));
    }
}
