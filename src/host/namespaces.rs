//! Namespaces that somebody else has made, and that a file names by a path.

use crate::plan::facts::ContainerFacts;
use crate::spec::model::{Container, NetworkMode, PodSpec, Scope, Shared};
use crate::sys::namespaces::kind_of;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is wrong with those of a container goes to its problems.
pub(super) fn facts(container: &Container, facts: &mut ContainerFacts) {
    for (kind, scope) in &container.namespaces {
        if let Scope::At(path) = scope
            && let Some(problem) = problem(*kind, path)
        {
            facts.problems.push((format!("namespaces.{}", kind.word()), problem));
        }
    }
}

/// What is wrong with the network of the pod, where that is somebody else's.
pub(super) fn of_pod(pod: &PodSpec) -> Option<String> {
    match &pod.network {
        NetworkMode::At(path) => problem(Shared::Net, path),
        NetworkMode::Bridge | NetworkMode::Host | NetworkMode::None => None,
    }
}

fn problem(kind: Shared, path: &Path) -> Option<String> {
    let shown = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Some(format!("cannot open the namespace {shown}: {error}")),
    };
    let word = kind.word();
    match kind_of(file.as_fd()) {
        None => return Some(format!("{shown} is no namespace")),
        Some(flag) if flag != flag_of(kind) => {
            return Some(format!("{shown} is a namespace of another kind than `{word}`"));
        }
        Some(_) => {}
    }
    let inode = |file: std::io::Result<std::fs::Metadata>| file.ok().map(|found| found.ino());
    let own = inode(std::fs::metadata(format!("/proc/self/ns/{word}")));
    if inode(file.metadata()) == own {
        return Some(format!("{shown} is the machine's own: write `host`"));
    }
    if kind == Shared::User && super::ids::maps_of(path).is_none_or(|maps| maps.uids.is_empty()) {
        return Some(format!("no process is in {shown} that its ids could be learnt from"));
    }
    if kind == Shared::User && super::ids::denies_groups(path) {
        return Some(format!("in {shown} nobody can set groups: its `setgroups` is `deny`"));
    }
    None
}

fn flag_of(kind: Shared) -> i32 {
    match kind {
        Shared::Net => libc::CLONE_NEWNET,
        Shared::Uts => libc::CLONE_NEWUTS,
        Shared::Ipc => libc::CLONE_NEWIPC,
        Shared::Pid => libc::CLONE_NEWPID,
        Shared::User => libc::CLONE_NEWUSER,
        Shared::Cgroup => libc::CLONE_NEWCGROUP,
        Shared::Time => libc::CLONE_NEWTIME,
    }
}
