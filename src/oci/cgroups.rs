//! The cgroup of a container: where it is, what bounds it, and its end. Every process of it is born in the v2
//! hierarchy; v1 has it, too, as far as limits are held there.

use super::OciError;
use super::resources::limits;
use crate::cgroup::{self, Cgroup, Hierarchy, Legacy, Placeholder, Scope};
use crate::plan::step::{LegacyLimits, Limits};
use crate::sandbox::Shown;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

/// Of containers whose documents name no cgroup.
const OWN: &str = "podspec-oci";
/// Below a scope, whose own files are systemd's to write.
const IN_SCOPE: &str = "container";

/// Who makes the cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// This runtime, in the file system.
    Cgroupfs,
    /// systemd, which makes a scope for each container.
    Systemd,
}

/// Who names a cgroup looks for it in every hierarchy of v1, whatever is limited there.
fn everywhere(limits: &mut Limits) {
    for (controller, mount) in cgroup::legacy_mounts().unwrap_or_default() {
        if !limits.legacy.iter().any(|of| of.mount == mount) {
            limits.legacy.push(LegacyLimits { mount, controller, files: Vec::new() });
        }
    }
}

/// By v1's freezer: whoever joins stops there.
fn is_frozen(cgroup: &Path) -> bool {
    let state = std::fs::read_to_string(cgroup.join("freezer.state"));
    state.is_ok_and(|state| state.trim() != "THAWED")
}

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
    /// What a mount of v1 shows.
    pub(super) shown: Vec<Shown>,
    /// Keeps systemd's scope until the first process is born.
    _placeholder: Option<Placeholder>,
}

/// A cgroup below the container's, as `exec --cgroup` names it.
struct Below<'a> {
    /// Of v1; none: everywhere.
    controllers: Vec<&'a str>,
    path: &'a Path,
}

impl<'a> Below<'a> {
    fn of(word: &'a str) -> Result<Self, OciError> {
        let (controllers, path) = word.split_once(':').unwrap_or(("", word));
        let path = Path::new(path);
        let path = path.strip_prefix("/").unwrap_or(path);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            let why = "it is not a sub cgroup path of the container's own";
            return Err(OciError::NoSuchCgroup { word: word.to_owned(), why });
        }
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).collect();
        Ok(Self { controllers, path })
    }
}

impl Place {
    /// By the document; one without a word is beside the others of this runtime. A relative path begins there, too.
    fn path(oci: &Spec, id: &str) -> Result<PathBuf, OciError> {
        let linux = oci.linux().as_ref();
        let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
        let Some(asked) = asked.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(Path::new(OWN).join(id));
        };
        if is_of_systemd(asked) {
            let message = format!(
                "cgroupsPath `{}` is one of systemd's, but the cgroup manager is `cgroupfs`: \
                 use `--systemd-cgroup`, or name a path",
                asked.display()
            );
            return Err(OciError::Usage { message });
        }
        Ok(asked.strip_prefix("/").unwrap_or(asked).to_owned())
    }

    /// Makes it, with its limits. Nobody may live there yet, nor may the caller have a second thread.
    pub(super) fn make(oci: &Spec, id: &str, manager: Manager) -> Result<(Self, Home), OciError> {
        let hierarchy = Hierarchy::open()?;
        let (path, placeholder) = match manager {
            Manager::Cgroupfs => (Self::path(oci, id)?, None),
            Manager::Systemd => in_scope(oci, id, &hierarchy)?,
        };
        let linux = oci.linux().as_ref();
        let mut limits = limits(linux.and_then(|linux| linux.resources().as_ref()), &hierarchy)?;
        let is_named = linux.is_some_and(|linux| linux.cgroups_path().is_some());
        if is_named {
            everywhere(&mut limits);
        }
        if placeholder.is_none()
            && let Some(found) = hierarchy.find(&path)?
        {
            if !found.processes()?.is_empty() {
                return Err(OciError::CgroupInUse { path });
            }
            if found.is_frozen() {
                return Err(OciError::CgroupFrozen { path });
            }
            // Whatever is put into one that was killed is killed at once.
            hierarchy.remove(&path)?;
        }
        let legacy: Vec<PathBuf> = limits.legacy.iter().map(|of| of.mount.clone()).collect();
        if legacy.iter().any(|mount| is_frozen(&mount.join(&path))) {
            return Err(OciError::CgroupFrozen { path });
        }
        let place = Self { path, legacy };
        let made = place.furnish(hierarchy, &limits, is_named, placeholder);
        match made {
            Ok(home) => Ok((place, home)),
            Err(error) => {
                // The first error is the one to tell.
                let _ = place.remove();
                Err(error)
            }
        }
    }

    /// Who names a cgroup finds every controller in it, as with other runtimes: what is counted, and what the
    /// container may give to cgroups of its own.
    fn furnish(
        &self,
        hierarchy: Hierarchy,
        limits: &Limits,
        is_named: bool,
        placeholder: Option<Placeholder>,
    ) -> Result<Home, OciError> {
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            hierarchy.make(parent)?;
            hierarchy.enable(parent, &limits.controllers)?;
            // Of a scope those that systemd has given it: what is above is systemd's.
            let all = match &placeholder {
                Some(_) => hierarchy.make(parent)?.controllers(),
                None => hierarchy.controllers(),
            };
            for controller in all.into_iter().filter(|_| is_named) {
                // Where it cannot be had, no limit asks for it.
                let _ = hierarchy.enable(parent, &[controller].into());
            }
        } else {
            hierarchy.enable_at_root(&limits.controllers)?;
        }
        // Another container's end may just have removed the directory of all of them.
        let cgroup = hierarchy.make(&self.path).or_else(|_| hierarchy.make(&self.path))?;
        cgroup.limit(&limits.files)?;
        let of = limits.legacy.iter();
        let join = of.map(|of| Legacy { mount: &of.mount, path: &self.path }.make(&of.files));
        let join = join.collect::<Result<_, _>>()?;
        Ok(Home { cgroup, join, shown: self.shown(), _placeholder: placeholder })
    }

    fn shown(&self) -> Vec<Shown> {
        let shown = |mount: &PathBuf| {
            let hierarchy = mount.file_name()?.to_str()?.to_owned();
            Some(Shown { hierarchy, directory: mount.join(&self.path) })
        };
        self.legacy.iter().filter_map(shown).collect()
    }

    /// What a further process is born in: the container's own, whose first process this is, or those below it that are
    /// asked for.
    pub(super) fn find(&self, below: &[String], first: i32) -> Result<Home, OciError> {
        let below = below.iter().map(|word| Below::of(word)).collect::<Result<Vec<_>, _>>()?;
        let own = || self.path.clone();
        let hierarchy = Hierarchy::open()?;
        let everywhere = below.iter().find(|below| below.controllers.is_empty());
        let path = everywhere.map_or_else(own, |below| self.path.join(below.path));
        let missing = || OciError::NoSuchCgroup {
            word: path.display().to_string(),
            why: "there is no such cgroup",
        };
        let cgroup = match everywhere {
            None => hierarchy.home_of_further(hierarchy.make(&path)?, first)?,
            Some(_) => hierarchy.find(&path)?.ok_or_else(missing)?,
        };
        let mut paths: BTreeMap<&Path, PathBuf> =
            self.legacy.iter().map(|mount| (mount.as_path(), path.clone())).collect();
        let mounts = if below.iter().all(|below| below.controllers.is_empty()) {
            Vec::new()
        } else {
            cgroup::legacy_mounts().unwrap_or_default()
        };
        for (below, controller) in
            below.iter().flat_map(|below| below.controllers.iter().map(move |name| (below, *name)))
        {
            let why = "the container is in no cgroup of this controller";
            let unknown = || OciError::NoSuchCgroup { word: controller.to_owned(), why };
            let mount = mounts.iter().find(|(name, _)| name == controller).ok_or_else(unknown)?;
            let place = paths.get_mut(mount.1.as_path()).ok_or_else(unknown)?;
            *place = self.path.join(below.path);
        }
        let join = paths.iter().map(|(mount, path)| Legacy { mount, path }.find());
        let join = join.collect::<Result<_, _>>()?;
        Ok(Home { cgroup, join, shown: Vec::new(), _placeholder: None })
    }

    pub(super) fn is_frozen(&self) -> bool {
        let found = || Hierarchy::open().ok()?.find(&self.path).ok()?;
        found().is_some_and(|cgroup| cgroup.is_frozen())
    }

    /// Ends whoever lives there, and removes it. Done twice is done.
    pub(super) fn remove(&self) -> Result<(), OciError> {
        let hierarchy = Hierarchy::open()?;
        let mut first = hierarchy.remove(&self.path);
        if self.path.parent() == Some(Path::new(OWN)) {
            // With the last one; while there are others it stays.
            let _ = hierarchy.remove_empty(Path::new(OWN));
        }
        for mount in &self.legacy {
            first = first.and(Legacy { mount, path: &self.path }.remove());
        }
        Ok(first?)
    }
}

/// `slice:prefix:name`
fn is_of_systemd(asked: &Path) -> bool {
    !asked.is_absolute() && asked.to_string_lossy().split(':').count() == 3
}

/// Gets the container's scope, and makes its cgroup there. No process may be in the scope's own: controllers are
/// enabled there, for those below.
fn in_scope(
    oci: &Spec,
    id: &str,
    hierarchy: &Hierarchy,
) -> Result<(PathBuf, Option<Placeholder>), OciError> {
    let usage = |message: String| OciError::Usage { message };
    if !cgroup::is_systemds() {
        let message = "systemd is not the first process here: use the cgroup manager `cgroupfs`";
        return Err(usage(message.to_owned()));
    }
    let linux = oci.linux().as_ref();
    let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
    let asked = asked.map(|path| path.to_string_lossy()).unwrap_or_default();
    let (slice, name) = match asked.splitn(3, ':').collect::<Vec<_>>()[..] {
        [""] => ("", format!("podspec-{id}.scope")),
        [slice, "", name] => (slice, format!("{name}.scope")),
        [slice, prefix, name] => (slice, format!("{prefix}-{name}.scope")),
        _ => {
            return Err(usage(format!(
                "cgroupsPath `{asked}` is none of systemd's: it has the form `slice:prefix:name`"
            )));
        }
    };
    let slice = if slice.is_empty() { "system.slice" } else { slice };
    let description = format!("Container {id}");
    let scope = Scope { name: &name, slice, description: &description };
    let path = scope.path();
    let Some(first) = scope.start(hierarchy)? else { return Err(OciError::CgroupInUse { path }) };
    let path = path.join(IN_SCOPE);
    let cgroup = hierarchy.make(&path)?;
    let placeholder = Placeholder::start(Some(cgroup.fd()))
        .map_err(|error| OciError::file("start a process in", &path, error))?;
    drop(first);
    Ok((path, Some(placeholder)))
}

/// Every process, first and further ones.
pub(super) fn pids(path: &Path) -> Result<Vec<i32>, OciError> {
    let Some(cgroup) = Hierarchy::open()?.find(path)? else { return Ok(Vec::new()) };
    Ok(cgroup.processes()?.iter().map(|process| process.pid).collect())
}
