//! What a file asks for beyond the defaults: rights that exist, their combinations, and a warning where
//! they take a wall away.

use super::problem::{Problem, did_you_mean};
use super::raw::{RawContainer, Security};
use super::tree::Node;
use super::validate::Checks;

/// Every capability of Linux 6.1, by its number.
const CAPABILITIES: [&str; 41] = [
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

/// Checks `security` of a container.
pub(super) fn security(word: &str, raw: &RawContainer, container: &Node, checks: &mut Checks<'_>) {
    let (Some(security), Some(node)) = (&raw.security, container.get("security")) else { return };
    let lists = security.capabilities.as_ref();
    for (key, list) in [
        ("add", lists.and_then(|lists| lists.add.as_ref())),
        ("drop", lists.and_then(|lists| lists.drop.as_ref())),
    ] {
        let place = node.get("capabilities").and_then(|capabilities| capabilities.get(key));
        for (index, name) in list.into_iter().flatten().enumerate() {
            let Some(item) = place.and_then(|list| list.item(index)) else { continue };
            capability(name, key == "add", item, checks);
        }
    }
    loosened(security, node, checks);
    let root = raw.user.as_ref().is_some_and(|user| user.0 == "0" || user.0.starts_with("0:"));
    if security.run_as_non_root == Some(true)
        && root
        && let (Some(asks), Some(user)) = (node.entry("runAsNonRoot"), container.get("user"))
    {
        let message = format!("`{word}` may not run as root, and its `user` is root");
        let problem = Problem::error("P0516", message, user.span.clone(), "this is root");
        checks.report(
            problem.also(asks.key.clone(), "refused here").help("give it a `user` other than 0"),
        );
    }
}

fn capability(written: &str, added: bool, item: &Node, checks: &mut Checks<'_>) {
    let upper = written.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let place = item.span.clone();
    if name != "ALL" && !CAPABILITIES.contains(&name) {
        let message = format!("`{written}` is no capability");
        let help = did_you_mean(name, CAPABILITIES)
            .unwrap_or_else(|| "names are as in capabilities(7), such as `NET_ADMIN`".to_owned());
        let problem = Problem::error("P0468", message, place, "no such capability").help(help);
        checks.report(checks.with_known(problem, name, CAPABILITIES));
        return;
    }
    if added && MIGHTY.contains(&name) {
        let message = format!("with `{name}` a program can become root of the machine");
        let problem = Problem::error("P0553", message, place, "loosens the sandbox").warning();
        checks.report(problem.help("add only what the program cannot do without"));
    }
}

fn loosened(security: &Security, node: &Node, checks: &mut Checks<'_>) {
    let unconfined = |word: &Option<String>| word.as_deref() == Some("unconfined");
    for (key, is_loose, what) in [
        (
            "privileged",
            security.privileged == Some(true),
            "the container has every right of the machine's root",
        ),
        ("seccomp", unconfined(&security.seccomp), "every system call is allowed"),
        ("apparmor", unconfined(&security.apparmor), "no AppArmor profile confines the container"),
        (
            "unmask",
            security.unmask.as_ref().is_some_and(|paths| !paths.is_empty()),
            "paths of the kernel that are hidden can be seen",
        ),
    ] {
        if is_loose && let Some(entry) = node.entry(key) {
            let problem = Problem::error("P0553", what, entry.key.clone(), "loosens the sandbox");
            checks.report(
                problem
                    .warning()
                    .help(format!("remove `{key}`, unless the program cannot run without it")),
            );
        }
    }
}

/// A namespace of the machine itself.
pub(super) fn of_the_machine(kind: &str, word: &str, node: &Node, checks: &mut Checks<'_>) {
    let what = match kind {
        "pid" => "sees and can signal every process of the machine",
        "ipc" => "can read the shared memory of the machine's programs",
        _ => return,
    };
    let problem = Problem::error(
        "P0553",
        format!("`{word}` {what}"),
        node.span.clone(),
        "loosens the sandbox",
    );
    checks.report(problem.warning().help("share a namespace inside the pod instead"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_of_the_kernel() {
        let known: Vec<String> = caps::all().iter().map(caps::Capability::to_string).collect();
        for name in CAPABILITIES {
            assert!(known.contains(&format!("CAP_{name}")), "{name}");
        }
        assert_eq!(known.len(), CAPABILITIES.len());
    }
}
