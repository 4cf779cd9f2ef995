//! What a file asks for beyond the defaults: rights that exist, their combinations, and a warning where
//! they take a wall away.

use super::model::{self, Scope, Seccomp, Shared};
use super::problem::{Problem, did_you_mean};
use super::raw::{RawContainer, Security};
use super::tree::{Kind, Node};
use super::validate::Checks;
use super::{hidden, volume};
use crate::seccomp::{self, Profile};
use std::io::ErrorKind;

/// Every capability of Linux 6.1, by its number.
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those with which a program can become root of the machine.
const MIGHTY: [&str; 8] = [
    "ALL",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_PTRACE",
    "DAC_READ_SEARCH",
    "BPF",
    "SYS_BOOT",
];

/// Those that act on the whole machine, whatever namespaces the container has.
const OUTSIDE_OF_NAMESPACES: [&str; 8] = [
    "SYS_TIME",
    "SYS_RESOURCE",
    "SYS_PACCT",
    "SYSLOG",
    "PERFMON",
    "AUDIT_CONTROL",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
];

/// `security` of a container, its defaults where there is none.
pub(super) fn security(
    word: &str,
    raw: &RawContainer,
    container: &Node,
    checks: &mut Checks<'_>,
) -> Option<model::Security> {
    let (Some(security), Some(node)) = (&raw.security, container.get("security")) else {
        return Some(model::Security::default());
    };
    let lists = security.capabilities.as_ref();
    let add = capabilities("add", lists.and_then(|lists| lists.add.as_ref()), node, checks);
    let drop = capabilities("drop", lists.and_then(|lists| lists.drop.as_ref()), node, checks);
    both(&add, &drop, node, checks);
    loosened(security, node, checks);
    let root = raw.user.as_ref().is_some_and(|user| user.0 == "0" || user.0.starts_with("0:"));
    if security.run_as_non_root == Some(true)
        && root
        && let (Some(asks), Some(user)) = (node.entry("runAsNonRoot"), container.get("user"))
    {
        let message = format!("`{word}` may not run as root, and its `user` is root");
        let problem = Problem::error("P0516", message, user.span.clone(), "this is root");
        checks.report(
            problem
                .also(asks.key.clone(), "refused here")
                .help("write another user, such as `user: 1000`"),
        );
    }
    let privileged = security.privileged.unwrap_or(false);
    let unconfined = if privileged { Seccomp::Unconfined } else { Seccomp::Default };
    let seccomp = match &security.seccomp {
        Some(word) => seccomp(word, node, checks)?,
        None => unconfined,
    };
    Some(model::Security {
        privileged,
        add,
        drop,
        no_new_privileges: security.no_new_privileges.unwrap_or(!privileged),
        read_only_rootfs: security.read_only_rootfs.unwrap_or(false),
        seccomp,
        apparmor: label("apparmor", security.apparmor.as_ref(), node, checks),
        selinux: label("selinux", security.selinux.as_ref(), node, checks),
        unmask: unmask(security.unmask.as_ref(), node, checks),
        run_as_non_root: security.run_as_non_root.unwrap_or(false),
    })
}

fn capabilities(
    key: &str,
    list: Option<&Vec<String>>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Vec<String> {
    let place = node.get("capabilities").and_then(|capabilities| capabilities.get(key));
    let items = list.into_iter().flatten().enumerate().filter_map(|(index, name)| {
        let item = place.and_then(|list| list.item(index))?;
        capability(name, key == "add", item, checks)
    });
    items.collect()
}

/// The name as capabilities(7) has it, without `CAP_`.
fn bare(written: &str) -> String {
    let upper = written.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map_or(upper.clone(), str::to_owned)
}

fn capability(written: &str, added: bool, item: &Node, checks: &mut Checks<'_>) -> Option<String> {
    let name = bare(written);
    let name = name.as_str();
    let place = item.span.clone();
    if name != "ALL" && !CAPABILITIES.contains(&name) {
        let message = format!("`{written}` is no capability");
        let help =
            did_you_mean(name, CAPABILITIES.into_iter().chain(["ALL"])).unwrap_or_else(|| {
                "write a name of capabilities(7), such as `NET_ADMIN`, or `ALL`".to_owned()
            });
        let problem = Problem::error("P0468", message, place, "no such capability").help(help);
        checks.report(checks.with_known(problem, name, CAPABILITIES));
        return None;
    }
    let loosens = match name {
        _ if !added => None,
        name if MIGHTY.contains(&name) => {
            Some(format!("with `{name}` a program can become root of the machine"))
        }
        name if OUTSIDE_OF_NAMESPACES.contains(&name) => {
            Some(format!("`{name}` acts on the whole machine: no namespace confines it"))
        }
        _ => None,
    };
    if let Some(message) = loosens {
        let problem = Problem::error("P0572", message, place, "loosens the sandbox").warning();
        checks.report(
            problem.help(format!("remove `{written}`, unless the program cannot run without it")),
        );
    }
    Some(name.to_owned())
}

/// What is added and dropped: `ALL` on one side leaves the names of the other side what they are.
fn both(add: &[String], drop: &[String], node: &Node, checks: &mut Checks<'_>) {
    let Some(name) = add.iter().find(|name| drop.contains(name)) else { return };
    let Some(capabilities) = node.get("capabilities") else { return };
    let item = |key: &str| {
        let Kind::List(items) = &capabilities.get(key)?.kind else { return None };
        items.iter().find(|item| item.text().is_some_and(|text| bare(text) == *name))
    };
    let place = |key: &str| item(key).unwrap_or(capabilities).span.clone();
    let message = format!("`{name}` is both added and dropped");
    let problem = Problem::error("P0530", message, place("drop"), "dropped");
    let problem = problem.also(place("add"), "added");
    checks.report(problem.help(format!("remove `{name}` from one of the two lists")));
}

/// A profile is read and judged with the file that names it: one that cannot be used must not come to
/// mean that nothing is refused (CVE-2023-2431).
fn seccomp(word: &str, node: &Node, checks: &mut Checks<'_>) -> Option<Seccomp> {
    match word {
        "default" => return Some(Seccomp::Default),
        "unconfined" => return Some(Seccomp::Unconfined),
        _ => {}
    }
    let place = node.get("seccomp").map_or_else(|| node.head(), |node| node.span.clone());
    let path = volume::host_path(word, &place, checks)?;
    let read = (checks.context.read)(&path).map_err(|error| {
        // A word without a path is more likely a wrong word than a file.
        let help = did_you_mean(word, ["default", "unconfined"]).unwrap_or_else(|| {
            "write `default`, `unconfined`, or the path of a profile".to_owned()
        });
        let message = match error.kind() {
            ErrorKind::NotFound => format!("there is no seccomp profile `{word}`"),
            _ => format!("cannot read the seccomp profile `{word}`: {error}"),
        };
        (message, help)
    });
    let profile = read.and_then(|text| {
        let container = seccomp::Container { capabilities: &[], kernel: (u32::MAX, 0) };
        let judged = Profile::parse(&text).and_then(|profile| {
            profile.resolve(container).and_then(seccomp::Filter::of)?;
            Ok(profile.allows_the_rest())
        });
        judged.map(|allows_the_rest| (text, allows_the_rest)).map_err(|error| {
            let help = "a profile is JSON as docker and podman take it; podspec's own is \
                        docs/seccomp-default.json";
            (format!("`{word}` cannot be used: {error}"), help.to_owned())
        })
    });
    match profile {
        Ok((text, allows_the_rest)) => {
            if allows_the_rest {
                let message = format!("`{word}` allows every system call that it does not name");
                let problem = Problem::error("P0571", message, place, "loosens the sandbox");
                checks.report(problem.warning().help(
                    "write the calls that the program needs, and `\"defaultAction\": \"SCMP_ACT_ERRNO\"`",
                ));
            }
            Some(Seccomp::Profile { path, text })
        }
        Err((message, help)) => {
            checks.report(Problem::error("P0531", message, place, "this profile").help(help));
            None
        }
    }
}

/// The name of a profile or label of the kernel's security modules: written to a file of the kernel.
fn label(key: &str, word: Option<&String>, node: &Node, checks: &mut Checks<'_>) -> Option<String> {
    let (word, place) = (word?, node.get(key)?);
    if word.is_empty() || word.contains(char::is_whitespace) {
        let (message, label) = match word.as_str() {
            "" => (format!("`{key}` has an empty name"), "empty"),
            word => (format!("`{word}` is no value of `{key}`"), "a space in it"),
        };
        let problem = Problem::error("P0532", message, place.span.clone(), label);
        checks.report(
            problem.help(format!("write the name as this machine knows it, or remove `{key}`")),
        );
        return None;
    }
    checks.one_line(word, &place.span).then(|| word.clone())
}

fn unmask(list: Option<&Vec<String>>, node: &Node, checks: &mut Checks<'_>) -> Vec<String> {
    for (index, path) in list.into_iter().flatten().enumerate() {
        if !hidden::is_hidden(path)
            && let Some(item) = node.get("unmask").and_then(|list| list.item(index))
        {
            let message = format!("`{path}` is not hidden");
            let known = hidden::MASKED.into_iter().chain(hidden::READ_ONLY);
            let help = did_you_mean(path, known)
                .unwrap_or_else(|| "remove it: every container sees this path".to_owned());
            checks.report(Problem::error("P0533", message, item.span.clone(), "here").help(help));
        }
    }
    list.cloned().unwrap_or_default()
}

fn loosened(security: &Security, node: &Node, checks: &mut Checks<'_>) {
    let unconfined = |word: &Option<String>| word.as_deref() == Some("unconfined");
    for (code, key, is_loose, what) in [
        (
            "P0570",
            "privileged",
            security.privileged == Some(true),
            "the container has every right of the machine's root",
        ),
        ("P0571", "seccomp", unconfined(&security.seccomp), "every system call is allowed"),
        (
            "P0573",
            "noNewPrivileges",
            security.no_new_privileges == Some(false),
            "programs can gain rights by setuid and file capabilities",
        ),
        (
            "P0574",
            "unmask",
            security.unmask.as_ref().is_some_and(|paths| !paths.is_empty()),
            "paths of the kernel that are hidden can be seen",
        ),
        (
            "P0575",
            "apparmor",
            unconfined(&security.apparmor),
            "no AppArmor profile confines the container",
        ),
    ] {
        if is_loose && let Some(entry) = node.entry(key) {
            let problem = Problem::error(code, what, entry.key.clone(), "loosens the sandbox");
            checks.report(
                problem
                    .warning()
                    .help(format!("remove `{key}`, unless the program cannot run without it")),
            );
        }
    }
}

/// Warns of a namespace that is the machine's or somebody else's, of this container or of all of the pod.
pub(super) fn of_scope(
    kind: Shared,
    scope: &Scope,
    (node, container): (&Node, Option<&str>),
    checks: &mut Checks<'_>,
) {
    let what = match scope {
        Scope::Private => None,
        Scope::Host => of_the_machine(kind, checks),
        Scope::At(_) => of_somebody(kind),
    };
    let Some(what) = what else { return };
    let message = match container {
        Some(word) => format!("`{word}` {what}"),
        None => format!("a container of this pod {what}"),
    };
    let problem = Problem::error("P0553", message, node.span.clone(), "loosens the sandbox");
    let help = within_the_pod(kind, container.is_some(), checks);
    checks.report(problem.warning().help(help));
}

/// What a namespace of the machine itself means.
fn of_the_machine(kind: Shared, checks: &Checks<'_>) -> Option<&'static str> {
    let pod_has_ids = checks.share.contains(&Shared::User)
        || matches!(checks.apart.get(&Shared::User), Some(Scope::Private | Scope::At(_)));
    Some(match kind {
        Shared::Pid => "sees and can signal every process of the machine",
        Shared::Ipc => "can read the shared memory of the machine's programs",
        Shared::User if pod_has_ids => {
            "has the machine's ids, while the rest of the pod does not: its root is root outside"
        }
        Shared::Cgroup => "sees the cgroups of the whole machine",
        Shared::Net | Shared::Uts | Shared::User | Shared::Time => return None,
    })
}

/// What a namespace means that somebody else has made.
fn of_somebody(kind: Shared) -> Option<&'static str> {
    Some(match kind {
        Shared::Pid => "sees and can signal every process in there",
        Shared::Ipc => "can read the shared memory of the programs in there",
        Shared::User => "is as good as whoever has these ids",
        Shared::Net | Shared::Uts | Shared::Cgroup | Shared::Time => return None,
    })
}

/// What is needed, mostly, where a namespace outside of the pod is asked for.
fn within_the_pod(kind: Shared, of_container: bool, checks: &Checks<'_>) -> String {
    let word = kind.word();
    let is_shared = checks.share.contains(&kind);
    match (of_container, is_shared) {
        (true, _) if checks.apart.contains_key(&kind) => {
            format!("remove `{word}` here: what the pod's `namespaces` say then holds")
        }
        (true, true) => format!("remove `{word}` here: it then shares the pod's own"),
        (false, true) => format!("remove `{word}` here: the containers then share the pod's own"),
        (_, false) => format!(
            "remove `{word}` here; in the pod's `share` it is shared among its containers alone"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::words;

    #[test]
    fn capabilities_are_those_of_the_kernel() {
        let known: Vec<String> = caps::all().iter().map(caps::Capability::to_string).collect();
        for name in CAPABILITIES {
            assert!(known.contains(&format!("CAP_{name}")), "{name}");
        }
        assert_eq!(known.len(), CAPABILITIES.len());
    }

    #[test]
    fn an_editor_knows_every_capability_and_which_are_mighty() {
        let named: Vec<&str> = words::CAPABILITIES.iter().map(|(name, _)| *name).collect();
        assert_eq!(named[1..], CAPABILITIES);
        for (name, text) in words::CAPABILITIES {
            assert_eq!(text.contains("root of the machine"), MIGHTY.contains(name), "{name}");
        }
    }
}
