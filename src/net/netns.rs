//! Network namespaces: made, visited, pinned where `ip netns` looks. A thread that enters another
//! namespace does so by a value whose drop brings it back.

use crate::net::NetError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const OWN: &str = "/proc/thread-self/ns/net";

/// A stay of the calling thread in another network namespace.
#[must_use = "dropped at once, the thread is back at once"]
pub struct Visit {
    home: Option<OwnedFd>,
}

impl Visit {
    pub fn enter(netns: BorrowedFd<'_>) -> Result<Self, NetError> {
        let visit = Self { home: Some(own()?) };
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(NetError::Enter)?;
        Ok(visit)
    }

    /// Goes home and says so if that failed, which a drop cannot.
    pub fn leave(mut self) -> Result<(), NetError> {
        match self.home.take() {
            Some(home) => setns(home, CloneFlags::CLONE_NEWNET).map_err(NetError::Leave),
            None => Ok(()),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            // Only after another error, which is the one that is reported.
            let _ = setns(home, CloneFlags::CLONE_NEWNET);
        }
    }
}

fn own() -> Result<OwnedFd, NetError> {
    open(OWN.as_ref())
}

/// A new network namespace, empty but for a `lo` that is down. The calling thread stays in its own.
pub fn create() -> Result<OwnedFd, NetError> {
    let visit = Visit { home: Some(own()?) };
    unshare(CloneFlags::CLONE_NEWNET).map_err(NetError::CreateNetns)?;
    let made = own();
    visit.leave()?;
    made
}

pub fn open(path: &Path) -> Result<OwnedFd, NetError> {
    match File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(NetError::OpenNetns { path: path.to_owned(), source }),
    }
}

/// Keeps the namespace alive under a name, as iproute2 does it, so that `ip netns exec` finds it.
pub fn pin(netns: BorrowedFd<'_>, at: &Path) -> Result<(), NetError> {
    let failed = |source| NetError::Pin { at: at.to_owned(), source };
    prepare_directory(at.parent().unwrap_or("/".as_ref())).map_err(failed)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(at) {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(NetError::PinTaken { at: at.to_owned() });
        }
        Err(e) => return Err(failed(e)),
    }
    let source = format!("/proc/thread-self/fd/{}", netns.as_raw_fd());
    mount(Some(source.as_str()), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|e| {
        // The mount's error says more than that of a left-over file could.
        let _ = fs::remove_file(at);
        failed(e.into())
    })
}

/// A pin made here must show up, and go away, in every mount namespace that sees the directory:
/// hence a shared mount, which the directory is bound onto itself for. Two pods may do so at once.
fn prepare_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, directory, None::<&str>, flags, None::<&str>)
    };
    let _lock = Flock::lock(File::open(directory)?, FlockArg::LockExclusive).map_err(|(_, e)| e)?;
    match share() {
        // Not a mount point.
        Err(Errno::EINVAL) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(directory), directory, None::<&str>, flags, None::<&str>)?;
            Ok(share()?)
        }
        done => Ok(done?),
    }
}

/// Removes a pin, or what is left of one. Either half alone would leak the other.
pub fn unpin(at: &Path) -> Result<(), NetError> {
    let unmounted = match umount2(at, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not mounted, or not there.
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        done => done.map_err(io::Error::from),
    };
    let unlinked = match fs::remove_file(at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    unmounted.and(unlinked).map_err(|source| NetError::Unpin { at: at.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::rig;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    fn inode(fd: &OwnedFd) -> u64 {
        File::from(fd.try_clone().unwrap()).metadata().unwrap().ino()
    }

    #[test]
    fn a_thread_ends_where_it_was() {
        rig::on_new_host(|| {
            let before = inode(&own().unwrap());
            let made = create().unwrap();
            assert_ne!(inode(&made), before);
            assert_eq!(inode(&own().unwrap()), before);
            let visit = Visit::enter(made.as_fd()).unwrap();
            assert_eq!(inode(&own().unwrap()), inode(&made));
            drop(visit);
            assert_eq!(inode(&own().unwrap()), before);
            let file: OwnedFd = File::open("/proc/self/status").unwrap().into();
            assert!(Visit::enter(file.as_fd()).is_err());
            assert_eq!(inode(&own().unwrap()), before, "after a failed visit");
        });
    }

    #[test]
    fn a_pin_holds_the_namespace_and_goes_whole() {
        rig::on_new_host(|| {
            let directory = rig::directory("pin");
            let at = directory.join("netns/a");
            let made = create().unwrap();
            pin(made.as_fd(), &at).unwrap();
            assert_eq!(inode(&open(&at).unwrap()), inode(&made));
            let twice = pin(made.as_fd(), &at);
            assert!(matches!(twice, Err(NetError::PinTaken { .. })), "{twice:?}");
            let other = directory.join("netns/b");
            pin(made.as_fd(), &other).unwrap();
            let parent = directory.join("netns");
            let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let on_itself =
                mounts.lines().filter(|line| line.contains(&format!(" {} ", parent.display())));
            assert_eq!(on_itself.clone().count(), 1, "bound on itself once");
            assert!(on_itself.clone().all(|line| line.contains("shared:")));
            unpin(&at).unwrap();
            assert!(!at.exists());
            unpin(&at).unwrap();
            unpin(&other).unwrap();
            umount2(&parent, MntFlags::MNT_DETACH).unwrap();
            fs::remove_dir_all(&directory).unwrap();
        });
    }
}
