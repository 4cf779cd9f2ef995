//! podspec's own cgroup, which everything of it is below: at the top of the hierarchy, or where systemd owns the tree,
//! a scope of its.

use super::systemd::{self, Placeholder, Scope};
use super::{Cgroup, CgroupError, Hierarchy};
use std::path::PathBuf;

const SCOPE: Scope<'_> =
    Scope { name: "podspec.scope", slice: "system.slice", description: "Pods of podspec" };

/// Below the mount of the hierarchy, whether it is there or not.
pub fn home() -> PathBuf {
    if systemd::is_booted() { SCOPE.path() } else { PathBuf::from("podspec") }
}

/// Makes a cgroup right below podspec's own. Whoever is to live there must be born while the placeholder is alive,
/// if there is one. The caller must not have a second thread yet.
pub fn move_in(
    hierarchy: &Hierarchy,
    name: &str,
) -> Result<(Cgroup, Option<Placeholder>), CgroupError> {
    let placeholder = if systemd::is_booted() { SCOPE.start(hierarchy)? } else { None };
    Ok((hierarchy.make(&home().join(name))?, placeholder))
}
