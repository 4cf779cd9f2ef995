//! What a container may do: capabilities, no_new_privs, hidden paths, the filter of its system calls. The
//! defaults are docker's and podman's, of each the tighter; what the file loosens is loosened here and
//! nowhere else.

use crate::names::ContainerName;
use crate::plan::error::PlanError;
use crate::plan::facts::{CallerFacts, HostFacts, KernelFacts, SecurityModule};
use crate::plan::limits;
use crate::seccomp::{self, Filter, Profile, SeccompError};
use crate::spec::hidden::{self, MASKED, READ_ONLY};
use crate::spec::model::{Container, Seccomp, Security};
use crate::spec::rights::CAPABILITIES as ALL;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxDevice, Process};
use std::path::Path;

/// What podman leaves to a container's root. NET_RAW and MKNOD are not among them.
const DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
];

/// Gives the process of this user its capabilities and no_new_privs.
pub(super) fn confine(
    process: &mut Process,
    name: &ContainerName,
    container: &Container,
    caller: &CallerFacts,
    kernel: &KernelFacts,
) -> Result<(), PlanError> {
    let security = &container.security;
    let added = |name: &&&str| security.add.iter().any(|known| known == **name);
    if let Some(&capability) = lacked(caller.lacks).iter().find(added) {
        return Err(PlanError::LacksCapability { container: name.clone(), capability });
    }
    let uid = process.user().uid();
    // Of the uid that came of it, whatever the file's or the image's words for it were.
    if security.run_as_non_root && uid == 0 {
        return Err(PlanError::RunsAsRoot { container: name.clone() });
    }
    process
        .set_capabilities(Some(capabilities(security, caller.lacks, uid)))
        .set_no_new_privileges(Some(security.no_new_privileges))
        .set_apparmor_profile(profile(security, kernel).map(str::to_owned))
        .set_selinux_label(security.selinux.clone());
    Ok(())
}

/// The profile of AppArmor that no file has to name.
pub(super) const DEFAULT_PROFILE: &str = "podspec-default";

/// As podman has it: where the file says nothing the default one, and none for who is privileged.
pub(super) fn profile<'a>(security: &'a Security, kernel: &KernelFacts) -> Option<&'a str> {
    match security.apparmor.as_deref() {
        Some("unconfined") => None,
        None if security.privileged || !kernel.has_default_profile => None,
        None => Some(DEFAULT_PROFILE),
        named => named,
    }
}

/// What the file names of a security module must be there: without the module it would confine nothing.
pub(super) fn modules(
    name: &ContainerName,
    container: &Container,
    kernel: &KernelFacts,
) -> Result<(), PlanError> {
    let security = &container.security;
    let wanted = [
        ("apparmor", "AppArmor", SecurityModule::AppArmor, &security.apparmor),
        ("selinux", "SELinux", SecurityModule::SeLinux, &security.selinux),
    ];
    for (field, module, kind, word) in wanted {
        let Some(word) = word.as_ref().filter(|word| *word != "unconfined") else { continue };
        if !kernel.modules.contains(&kind) {
            let (container, name) = (name.clone(), word.clone());
            return Err(PlanError::NoSecurityModule { container, module, field, name });
        }
    }
    Ok(())
}

/// What these bits stand for; a capability's bit is its place among all.
fn lacked(bits: u64) -> Vec<&'static str> {
    let is_lacked = |(bit, _): &(usize, &'static str)| bits & (1 << bit) != 0;
    ALL.into_iter().enumerate().filter(is_lacked).map(|(_, name)| name).collect()
}

/// Those that root in the container can have, as capabilities(7) has them, without `CAP_`; all are all
/// that the caller has.
fn bounding(security: &Security, lacks: u64) -> Vec<&'static str> {
    let lacked = lacked(lacks);
    let names = |list: &[String], name: &str| list.iter().any(|known| known == name);
    let none = names(&security.drop, "ALL");
    let all = security.privileged && !none || names(&security.add, "ALL");
    let has = |name: &&str| {
        if names(&security.add, name) {
            return true;
        }
        (all && !lacked.contains(name) || !none && DEFAULT.contains(name))
            && !names(&security.drop, name)
    };
    ALL.into_iter().filter(has).collect()
}

/// Another user than root begins with those that the file adds by name, as ambient ones, and else with
/// none: setuid files are dead under `no_new_privs`, so its bounding set is only what a root inside could have.
fn capabilities(security: &Security, lacks: u64, uid: u32) -> LinuxCapabilities {
    let bounding = bounding(security, lacks);
    let added = |name: &&&str| security.add.iter().any(|known| known == **name);
    let ambient = if uid == 0 { Capabilities::new() } else { set(bounding.iter().filter(added)) };
    let active = if uid == 0 { set(bounding.iter()) } else { ambient.clone() };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(set(bounding.iter())))
        .set_effective(Some(active.clone()))
        .set_permitted(Some(active))
        .set_inheritable(Some(ambient.clone()))
        .set_ambient(Some(ambient));
    sets
}

fn set<'a>(names: impl Iterator<Item = &'a &'static str>) -> Capabilities {
    names.filter_map(|name| name.parse::<Capability>().ok()).collect()
}

/// What is covered and what is read-only.
pub(super) fn hidden(container: &Container, kernel: &KernelFacts) -> (Vec<String>, Vec<String>) {
    let security = &container.security;
    if security.privileged {
        return (Vec::new(), Vec::new());
    }
    let stays = |path: &String| !security.unmask.iter().any(|open| hidden::opens(open, path));
    let thermal = kernel.thermal.iter().filter_map(|path| path.to_str().map(str::to_owned));
    let masked = MASKED.map(str::to_owned).into_iter().chain(thermal);
    (
        masked.filter(stays).collect(),
        READ_ONLY.map(str::to_owned).into_iter().filter(stays).collect(),
    )
}

/// The container's filter, by its place among those of the pod: two containers with one profile and one
/// set of capabilities share it.
pub(super) fn filter(
    filters: &mut Vec<Filter>,
    name: &ContainerName,
    container: &Container,
    facts: &HostFacts,
) -> Result<Option<usize>, PlanError> {
    let text = match &container.security.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => seccomp::DEFAULT,
        Seccomp::Profile { text, .. } => text,
    };
    let wrong = |source: SeccompError| PlanError::Seccomp { container: name.clone(), source };
    let capabilities: Vec<String> = bounding(&container.security, facts.caller.lacks)
        .iter()
        .map(|name| format!("CAP_{name}"))
        .collect();
    let of = seccomp::Container { capabilities: &capabilities, kernel: facts.kernel.version };
    let document = Profile::parse(text).and_then(|profile| profile.resolve(of)).map_err(wrong)?;
    if let Some(known) = filters.iter().position(|known| known.document.as_ref() == Some(&document))
    {
        return Ok(Some(known));
    }
    filters.push(Filter::of(document).map_err(wrong)?);
    Ok(Some(filters.len() - 1))
}

/// Whether two containers have the same filter, without making one.
pub(super) fn same_filter(a: &Container, b: &Container) -> bool {
    let (a, b) = (&a.security, &b.security);
    a.seccomp == b.seccomp && (a.privileged, &a.add, &a.drop) == (b.privileged, &b.add, &b.drop)
}

/// Of a privileged container: every device of the host, where the file does not say otherwise and podspec
/// has none of its own.
pub(super) fn devices(
    container: &Container,
    kernel: &KernelFacts,
    listed: Vec<LinuxDevice>,
) -> Vec<LinuxDevice> {
    if !container.security.privileged {
        return listed;
    }
    let taken = |path: &Path| listed.iter().any(|device| device.path() == path);
    let hosts = kernel.devices.iter().filter(|(path, _)| !taken(path));
    let hosts = hosts.map(|(path, node)| limits::node_at(path, node));
    let hosts: Vec<LinuxDevice> = hosts.collect();
    listed.into_iter().chain(hosts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn names(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        bounding(&Security { add: list(add), drop: list(drop), ..Security::default() }, 0)
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        assert_eq!(names(&[], &[]).len(), 11);
        assert_eq!(names(&["NET_ADMIN"], &["ALL"]), ["NET_ADMIN"]);
        assert_eq!(names(&[], &["ALL"]), [""; 0]);
        assert_eq!(names(&["NET_RAW"], &["CHOWN"]).len(), 11);
        assert_eq!(names(&["ALL"], &["SYS_ADMIN", "SYS_MODULE"]).len(), ALL.len() - 2);
        let privileged = Security { privileged: true, ..Security::default() };
        assert_eq!(bounding(&privileged, 0), ALL);
        let dropped = Security { drop: vec!["ALL".to_owned()], ..privileged.clone() };
        assert_eq!(bounding(&dropped, 0), [""; 0]);
        let kept = Security { add: vec!["CHOWN".to_owned()], ..dropped };
        assert_eq!(bounding(&kept, 0), ["CHOWN"]);
        // SYS_ADMIN is number 21.
        assert!(!bounding(&privileged, 1 << 21).contains(&"SYS_ADMIN"));
        assert_eq!(bounding(&privileged, 1 << 21).len(), ALL.len() - 1);
        // Every name is one that the document knows.
        assert_eq!(set(ALL.iter()).len(), ALL.len());
    }

    #[test]
    fn only_root_begins_with_what_nobody_asked_for() {
        let sets = |uid, add: &[&str]| {
            let add = add.iter().map(|&name| name.to_owned()).collect();
            let sets = capabilities(&Security { add, ..Security::default() }, 0, uid);
            [
                sets.bounding(),
                sets.effective(),
                sets.permitted(),
                sets.inheritable(),
                sets.ambient(),
            ]
            .map(|set| set.as_ref().unwrap().len())
        };
        assert_eq!(sets(0, &[]), [11, 11, 11, 0, 0]);
        assert_eq!(sets(33, &[]), [11, 0, 0, 0, 0]);
        assert_eq!(sets(0, &["NET_RAW"]), [12, 12, 12, 0, 0]);
        assert_eq!(sets(33, &["NET_RAW"]), [12, 1, 1, 1, 1]);
    }

    #[test]
    fn a_filter_is_made_once_for_each_profile_and_set_of_capabilities() {
        let (mut filters, facts) = (Vec::new(), sample::facts());
        let name = "web".parse().unwrap();
        let mut of = |security| {
            let container = Container { security, ..sample::container() };
            filter(&mut filters, &name, &container, &facts).unwrap()
        };
        assert_eq!(of(Security::default()), Some(0));
        assert_eq!(of(Security { add: vec!["SYS_ADMIN".into()], ..Security::default() }), Some(1));
        // No rule of the profile asks for it.
        assert_eq!(of(Security { add: vec!["NET_RAW".into()], ..Security::default() }), Some(0));
        let unconfined = Security { seccomp: Seccomp::Unconfined, ..Security::default() };
        assert_eq!(of(unconfined), None);
        let seccomp = Seccomp::Profile { path: "/p".into(), text: "{}".into() };
        let broken = Security { seccomp, ..Security::default() };
        let container = Container { security: broken, ..sample::container() };
        let error = filter(&mut filters, &name, &container, &facts).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.security.seccomp"));
        assert_eq!(filters.len(), 2);
    }

    #[test]
    fn what_is_unmasked_is_open_and_nothing_else() {
        let kernel = KernelFacts {
            thermal: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
            ..KernelFacts::default()
        };
        let counts = |security| {
            let container = Container { security, ..sample::container() };
            let (masked, read_only) = hidden(&container, &kernel);
            (masked.len(), read_only.len())
        };
        let unmask = |path: &str| Security { unmask: vec![path.to_owned()], ..Security::default() };
        assert_eq!(counts(Security::default()), (14, 5));
        assert_eq!(counts(unmask("/proc/kcore")), (13, 5));
        assert_eq!(counts(unmask("/proc/sys")), (14, 4));
        assert_eq!(counts(unmask("/proc")), (4, 0));
        assert_eq!(counts(Security { privileged: true, ..Security::default() }), (0, 0));
    }

    #[test]
    fn root_is_refused_by_its_id_and_a_module_must_be_there() {
        let name: ContainerName = "web".parse().unwrap();
        let security =
            Security { run_as_non_root: true, apparmor: Some("p".into()), ..Security::default() };
        let container = Container { security, ..sample::container() };
        let mut process = Process::default();
        let error = confine(
            &mut process,
            &name,
            &container,
            &CallerFacts::default(),
            &KernelFacts::default(),
        )
        .unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.security.runAsNonRoot"));
        let mut kernel = KernelFacts::default();
        let error = modules(&name, &container, &kernel).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.security.apparmor"));
        kernel.modules.push(SecurityModule::AppArmor);
        assert_eq!(modules(&name, &container, &kernel), Ok(()));
    }
}
