//! Limits of a cgroup of the v2 hierarchy: controllers enabled downwards, then values written to its files.

use super::{Cgroup, CgroupError, Hierarchy};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

impl Hierarchy {
    /// Controllers that cgroups below this root can have. Below a root that is not the machine's own (in somebody
    /// else's container) processes may live, and then only what is enabled already.
    pub fn controllers(&self) -> BTreeSet<String> {
        let read = |file: &str| words(&text(self.root.as_fd(), file).unwrap_or_default());
        let is_machines = rustix::fs::statat(&self.root, "cgroup.type", AtFlags::empty()).is_err();
        let is_empty = || text(self.root.as_fd(), "cgroup.procs").is_some_and(|t| t.is_empty());
        if is_machines || is_empty() {
            read("cgroup.controllers")
        } else {
            read("cgroup.subtree_control")
        }
    }

    /// Enables the controllers for the cgroups right below the root.
    pub fn enable_at_root(&self, controllers: &BTreeSet<String>) -> Result<(), CgroupError> {
        enable_in(self.root.as_fd(), Path::new("/"), controllers)
    }

    /// Enables the controllers for `path`, and for what is made below it later. No process may live in the
    /// cgroups on the way (cgroups(7), "no internal processes").
    pub fn enable(&self, path: &Path, controllers: &BTreeSet<String>) -> Result<(), CgroupError> {
        if controllers.is_empty() {
            return Ok(());
        }
        let mut on_the_way = vec![PathBuf::new()];
        for name in super::names(path)? {
            let next = on_the_way.last().map(|last| last.join(name)).unwrap_or_default();
            on_the_way.push(next);
        }
        for path in on_the_way {
            let directory = match path.as_os_str().is_empty() {
                true => None,
                false => self.find(&path)?,
            };
            let directory =
                directory.as_ref().map_or_else(|| self.root.as_fd(), |found| found.fd());
            enable_in(directory, &path, controllers)?;
        }
        Ok(())
    }
}

fn enable_in(
    directory: BorrowedFd<'_>,
    path: &Path,
    controllers: &BTreeSet<String>,
) -> Result<(), CgroupError> {
    if controllers.is_empty() {
        return Ok(());
    }
    let enabled = words(&text(directory, "cgroup.subtree_control").unwrap_or_default());
    // One by one, so that an error names the one.
    for controller in controllers.difference(&enabled) {
        write(directory, "cgroup.subtree_control", &format!("+{controller}")).map_err(|errno| {
            CgroupError::Enable {
                path: path.to_owned(),
                controller: controller.clone(),
                source: errno.into(),
            }
        })?;
    }
    Ok(())
}

impl Cgroup {
    /// Controllers that were enabled for it.
    pub fn controllers(&self) -> BTreeSet<String> {
        words(&text(self.fd(), "cgroup.controllers").unwrap_or_default())
    }

    /// Stops every process where it is, or lets all go on.
    pub fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        let value = if frozen { "1" } else { "0" };
        self.limit(&[("cgroup.freeze".to_owned(), value.to_owned())])
    }

    pub fn is_frozen(&self) -> bool {
        text(self.fd(), "cgroup.freeze").is_some_and(|text| text.trim() == "1")
    }

    /// Writes each value to its file, in this order.
    pub fn limit(&self, files: &[(String, String)]) -> Result<(), CgroupError> {
        for (file, value) in files {
            write(self.fd(), file, value).map_err(|errno| CgroupError::Limit {
                path: self.path.clone(),
                file: file.clone(),
                value: value.clone(),
                source: errno.into(),
            })?;
        }
        Ok(())
    }
}

pub(super) fn text(directory: BorrowedFd<'_>, file: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, file, flags, Mode::empty()).ok()?;
    std::io::read_to_string(std::fs::File::from(file)).ok()
}

/// In one call: the kernel takes a value whole.
pub(super) fn write(directory: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, file, flags, Mode::empty())?;
    rustix::io::write(file, value.as_bytes()).map(drop)
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_enabled_on_the_whole_way_and_bounds() {
        let hierarchy = Hierarchy::open().unwrap();
        let path = PathBuf::from(format!("podspec/test-{}-limits", std::process::id()));
        // Whatever this machine has: hugetlb on a hybrid one.
        let Some(controller) = hierarchy.controllers().into_iter().next() else { return };
        let cgroup = hierarchy.make(&path).unwrap();
        hierarchy.enable(&path, &[controller.clone()].into()).unwrap();
        hierarchy.enable(&path, &[controller.clone()].into()).unwrap();
        let below = hierarchy.make(&path.join("c")).unwrap();
        assert!(words(&text(below.fd(), "cgroup.controllers").unwrap()).contains(&controller));
        below.limit(&[("cgroup.max.depth".into(), "7".into())]).unwrap();
        assert_eq!(text(below.fd(), "cgroup.max.depth").unwrap(), "7\n");
        let error = below.limit(&[("cgroup.max.depth".into(), "x".into())]).unwrap_err();
        assert!(error.to_string().contains("`x` to cgroup.max.depth"), "{error}");
        let error = hierarchy.enable(&path, &["nothing".to_owned()].into()).unwrap_err();
        assert!(error.to_string().contains("`nothing`"), "{error}");
        drop(cgroup);
        hierarchy.remove(&path).unwrap();
    }
}
