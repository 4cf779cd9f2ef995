//! The kernel, as far as containers' rights depend on it: its version, its security modules, and what it
//! shows of the machine in places that are not the same everywhere.

use super::device_node;
use crate::plan::facts::{DeviceNode, KernelFacts, SecurityModule};
use crate::spec::hidden::THERMAL;
use crate::spec::model::PodSpec;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn facts(pod: &PodSpec) -> KernelFacts {
    let any = |is: &dyn Fn(&crate::spec::model::Security) -> bool| {
        pod.containers.values().any(|container| is(&container.security))
    };
    let modules = modules();
    KernelFacts {
        version: version(&rustix::system::uname().release().to_string_lossy()),
        thermal: thermal(),
        has_default_profile: modules.contains(&SecurityModule::AppArmor) && can_load_profiles(),
        modules,
        devices: if any(&|security| security.privileged) { devices() } else { BTreeMap::new() },
    }
}

/// The first two numbers of a release; an odd one is an old one.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// One look where there is none, as in a virtual machine.
fn thermal() -> Vec<PathBuf> {
    let (before, behind) = THERMAL;
    if !Path::new(&format!("{before}0{behind}")).exists() {
        return Vec::new();
    }
    let numbers = (0_u32..).map(|n| (n, Path::new(&format!("{before}{n}")).exists()));
    let processors = numbers.take_while(|(_, is_there)| *is_there);
    processors.map(|(n, _)| PathBuf::from(format!("{before}{n}{behind}"))).collect()
}

fn modules() -> Vec<SecurityModule> {
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    let apparmor = apparmor.is_ok_and(|text| text.starts_with('Y'));
    // Mounted only where it is at work.
    let selinux = Path::new("/sys/fs/selinux/enforce").exists();
    let found = [(apparmor, SecurityModule::AppArmor), (selinux, SecurityModule::SeLinux)];
    found.into_iter().filter(|(is_there, _)| *is_there).map(|(_, module)| module).collect()
}

/// Whether there are the program that compiles AppArmor's profiles and the files by which the kernel takes them: in
/// somebody else's container there may be the first alone.
fn can_load_profiles() -> bool {
    let parsers = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"];
    parsers.iter().any(|path| Path::new(path).exists())
        && Path::new("/sys/kernel/security/apparmor/profiles").exists()
}

/// What podspec puts into every /dev itself.
const OURS: [&str; 9] =
    ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "console", "shm"];

/// Every node of the host's /dev, by path; terminals and what is mounted below are not of it.
fn devices() -> BTreeMap<PathBuf, DeviceNode> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let ours = folder == Path::new("/dev") && OURS.iter().any(|own| name == *own);
            let Ok(kind) = entry.file_type() else { continue };
            if ours || path == Path::new("/dev/pts") || path == Path::new("/dev/mqueue") {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if let Ok(Some(node)) = device_node(&path) {
                found.insert(path, node);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        assert_eq!(version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(version("6.1"), (6, 1));
        assert_eq!(version("x"), (0, 0));
    }
}
