//! The cgroup of a container: where it is, what bounds it, and its end. Every process of it is born in the v2
//! hierarchy; v1 has it, too, as far as limits are held there.

use super::OciError;
use super::resources::limits;
use crate::cgroup::{Cgroup, Hierarchy, Legacy};
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where a container's cgroup is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Mount points of the v1 hierarchies that have it, too.
    pub(super) legacy: Vec<PathBuf>,
}

/// A cgroup to be born in, and what else to join.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) cgroup: Cgroup,
    pub(super) join: Vec<OwnedFd>,
}

impl Place {
    /// By the document; one without a word has a cgroup of its own at the top. A relative path begins there, too.
    fn path(oci: &Spec, id: &str) -> Result<PathBuf, OciError> {
        let linux = oci.linux().as_ref();
        let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
        let Some(asked) = asked.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(PathBuf::from(format!("podspec-oci-{id}")));
        };
        if !asked.is_absolute() && asked.to_string_lossy().split(':').count() == 3 {
            let message = format!(
                "cgroupsPath `{}` is one of systemd's, which this runtime does not talk to: \
                 use the cgroup manager `cgroupfs`",
                asked.display()
            );
            return Err(OciError::Usage { message });
        }
        Ok(asked.strip_prefix("/").unwrap_or(asked).to_owned())
    }

    /// Makes it, with its limits. Nobody may live there yet.
    pub(super) fn make(oci: &Spec, id: &str) -> Result<(Self, Home), OciError> {
        let path = Self::path(oci, id)?;
        let hierarchy = Hierarchy::open()?;
        let limits = limits(oci, &hierarchy)?;
        if let Some(found) = hierarchy.find(&path)? {
            if !found.processes()?.is_empty() {
                return Err(OciError::CgroupInUse { path });
            }
            // Whatever is put into one that was killed is killed at once.
            hierarchy.remove(&path)?;
        }
        let legacy = limits.legacy.iter().map(|of| of.mount.clone()).collect();
        let place = Self { path, legacy };
        let made = place.furnish(hierarchy, &limits);
        match made {
            Ok(home) => Ok((place, home)),
            Err(error) => {
                // The first error is the one to tell.
                let _ = place.remove();
                Err(error)
            }
        }
    }

    fn furnish(
        &self,
        hierarchy: Hierarchy,
        limits: &crate::plan::step::Limits,
    ) -> Result<Home, OciError> {
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            hierarchy.make(parent)?;
            hierarchy.enable(parent, &limits.controllers)?;
        } else {
            hierarchy.enable_at_root(&limits.controllers)?;
        }
        let cgroup = hierarchy.make(&self.path)?;
        cgroup.limit(&limits.files)?;
        let of = limits.legacy.iter();
        let join = of.map(|of| Legacy { mount: &of.mount, path: &self.path }.make(&of.files));
        let join = join.collect::<Result<_, _>>()?;
        Ok(Home { cgroup, join })
    }

    /// What a further process is born in.
    pub(super) fn find(&self) -> Result<Home, OciError> {
        let hierarchy = Hierarchy::open()?;
        let cgroup = hierarchy.make(&self.path)?;
        let join = self.legacy.iter().map(|mount| Legacy { mount, path: &self.path }.find());
        let join = join.collect::<Result<_, _>>()?;
        Ok(Home { cgroup, join })
    }

    pub(super) fn is_frozen(&self) -> bool {
        let found = || Hierarchy::open().ok()?.find(&self.path).ok()?;
        found().is_some_and(|cgroup| cgroup.is_frozen())
    }

    /// Ends whoever lives there, and removes it. Done twice is done.
    pub(super) fn remove(&self) -> Result<(), OciError> {
        let mut first = Hierarchy::open()?.remove(&self.path);
        for mount in &self.legacy {
            first = first.and(Legacy { mount, path: &self.path }.remove());
        }
        Ok(first?)
    }
}

/// Every process, first and further ones.
pub(super) fn pids(path: &Path) -> Result<Vec<i32>, OciError> {
    let Some(cgroup) = Hierarchy::open()?.find(path)? else { return Ok(Vec::new()) };
    Ok(cgroup.processes()?.iter().map(|process| process.pid).collect())
}
