//! What the kernel bounds for a process or a namespace: ulimits, sysctls, the shared /dev/shm.

use super::model::{NetworkMode, Rlimit, Scope, Shared, Ulimit};
use super::problem::{Problem, did_you_mean};
use super::raw::{self, Either, RawPod};
use super::tree::Node;
use super::validate::Checks;
use super::{quantity, share};
use indexmap::IndexMap;
use std::ops::Range;

/// Bytes of a /dev/shm where the file says nothing.
pub(super) const SHM_SIZE: u64 = 64 << 20;
const UNLIMITED: i64 = -1;

/// Those of one container.
pub(super) fn ulimits(
    raw: Option<&IndexMap<String, Either<i64, raw::Ulimit>>>,
    container: &Node,
    checks: &mut Checks<'_>,
) -> IndexMap<Rlimit, Ulimit> {
    let mut ulimits = IndexMap::new();
    for (word, value) in raw.into_iter().flatten() {
        let entry = container.get("ulimits").and_then(|ulimits| ulimits.entry(word));
        let Some(entry) = entry else { continue };
        let Some((kind, _)) = Rlimit::ALL.iter().find(|(_, name)| name == word) else {
            checks.report(unknown_limit(word, entry.key.clone()));
            continue;
        };
        let place = |key: &str| {
            entry.value.get(key).map_or_else(|| entry.value.span.clone(), |v| v.span.clone())
        };
        let (soft, hard) = match value {
            Either::Short(both) => (*both, *both),
            Either::Long(raw::Ulimit { soft, hard }) => (*soft, *hard),
        };
        if let Some((key, bad)) =
            [("soft", soft), ("hard", hard)].into_iter().find(|(_, n)| *n < UNLIMITED)
        {
            let message = format!("`{bad}` is no limit");
            let problem = Problem::error("P0461", message, place(key), "here");
            checks.report(problem.help("write a whole number from 0, or `-1` for unlimited"));
            continue;
        }
        // As unsigned numbers: -1 is the largest.
        if soft.cast_unsigned() > hard.cast_unsigned() {
            let message = format!("the soft limit of `{word}` is above its hard limit");
            let problem = Problem::error("P0462", message, place("soft"), "the soft limit");
            checks.report(
                problem
                    .also(place("hard"), "the hard limit")
                    .help(format!("write `hard: {soft}`, or `soft: {hard}`")),
            );
            continue;
        }
        ulimits.insert(*kind, Ulimit { soft, hard });
    }
    ulimits
}

fn unknown_limit(word: &str, place: Range<usize>) -> Problem {
    let names = Rlimit::ALL.map(|(_, name)| name);
    let bare = word.to_ascii_lowercase();
    let bare = bare.strip_prefix("rlimit_").unwrap_or(&bare);
    let help = match names.contains(&bare) {
        true => format!("write `{bare}`"),
        false => match did_you_mean(bare, names) {
            Some(meant) => meant,
            None => format!("write one of: {}", names.join(", ")),
        },
    };
    let message = format!("`{word}` is no resource limit");
    Problem::error("P0463", message, place, "no such limit").help(help)
}

/// Bytes of the shared /dev/shm.
pub(super) fn shm_size(raw: &RawPod, node: &Node, checks: &mut Checks<'_>) -> u64 {
    let (Some(size), Some(entry)) = (&raw.shm_size, node.entry("shmSize")) else { return SHM_SIZE };
    if !checks.share.contains(&Shared::Ipc) {
        let message = "the pod has a `shmSize`, but its containers do not share `ipc`";
        let problem = Problem::error("P0514", message, entry.key.clone(), "has no effect");
        let shm = match checks.apart.get(&Shared::Ipc) {
            Some(Scope::Host) => "/dev/shm is the machine's",
            _ => "each container then has its own /dev/shm of 64Mi",
        };
        let with = share::with(Shared::Ipc, node);
        let problem = share::also(problem, Shared::Ipc, node);
        checks.report(problem.help(format!("{with}, or remove this: {shm}")));
    }
    let size = checks.quantity("P0411", quantity::size(&size.0), entry.value.span.clone());
    size.unwrap_or(SHM_SIZE)
}

/// What of kernel.* and fs.* belongs to an ipc namespace (ipc_namespaces(7)).
const OF_IPC: [&str; 17] = [
    "kernel.auto_msgmni",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "fs.mqueue.msg_default",
    "fs.mqueue.msg_max",
    "fs.mqueue.msgsize_default",
    "fs.mqueue.msgsize_max",
    "fs.mqueue.queues_max",
];
/// What a pod can have, where it shares the kind.
const THERE_IS: &str = "net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.*";

/// The pod's sysctls, by their names with dots between the parts.
pub(super) fn sysctls(
    raw: &RawPod,
    node: &Node,
    checks: &mut Checks<'_>,
) -> IndexMap<String, String> {
    let mut sysctls: IndexMap<String, String> = IndexMap::new();
    let mut seen: IndexMap<String, Range<usize>> = IndexMap::new();
    for (word, value) in raw.sysctls.iter().flatten() {
        let entry = node.get("sysctls").and_then(|sysctls| sysctls.entry(word));
        let Some(entry) = entry else { continue };
        let (key, place) = (entry.key.clone(), entry.value.span.clone());
        let Some(name) = name_of(word) else {
            if checks.one_line(word, &key) {
                let problem =
                    Problem::error("P0464", format!("`{word}` is no sysctl"), key, "here");
                checks.report(problem.help("write its whole name, such as `net.core.somaxconn`"));
            }
            continue;
        };
        if let Some(first) = seen.get(&name) {
            let message = format!("the sysctl `{word}` is here twice");
            checks.report(
                Problem::error("P0465", message, key, "again")
                    .also(first.clone(), "first")
                    .help("keep one of the two"),
            );
            continue;
        }
        seen.insert(name.clone(), key.clone());
        if value.0.trim().is_empty() {
            let message = format!("the sysctl `{word}` has no value");
            checks.report(
                Problem::error("P0466", message, place, "empty")
                    .help("write its value, such as `1024`"),
            );
        } else if checks.one_line(&value.0, &place) && owned(&name, node, key, checks) {
            sysctls.insert(name, value.0.clone());
        }
    }
    sysctls
}

/// As sysctl(8) reads it: the separator that comes first is the one. Where that is the slash, dots stand for
/// themselves, and where it is the dot, a slash stands for one (`net.ipv4.conf.eth0/100.forwarding`).
fn name_of(word: &str) -> Option<String> {
    let slashes = word.find(['.', '/']).is_some_and(|at| word[at..].starts_with('/'));
    let swapped = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    let name: String = if slashes { word.chars().map(swapped).collect() } else { word.to_owned() };
    let legal = |part: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '@' | ':');
        // `/` and `//` would be `.` and `..` below /proc/sys.
        !matches!(part, "" | "/" | "//") && part.chars().all(known)
    };
    let good = name.contains('.') && name.len() <= 255 && name.split('.').all(legal);
    good.then_some(name)
}

/// Whether the sysctl belongs to a namespace that the pod's containers share, and that is not the machine's.
fn owned(word: &str, node: &Node, place: Range<usize>, checks: &mut Checks<'_>) -> bool {
    let (kind, name) = if word.starts_with("net.") {
        (Shared::Net, "net")
    } else if OF_IPC.contains(&word) {
        (Shared::Ipc, "ipc")
    } else {
        checks.report(not_of_a_namespace(word, place));
        return false;
    };
    if kind == Shared::Net && checks.network == NetworkMode::Host {
        let message = format!("the sysctl `{word}` is the machine's own with `network: host`");
        let problem = Problem::error("P0515", message, place, "would change this machine");
        checks.report(problem.help(format!(
            "remove it and set it for the machine, `sysctl -w {word}=VALUE`, or write `network: bridge`"
        )));
        return false;
    }
    if !checks.share.contains(&kind) {
        let message = format!("the sysctl `{word}` is of `{name}`, which is not shared");
        let problem = Problem::error("P0515", message, place, "not in a namespace of the pod");
        let problem = share::also(problem, kind, node);
        let with = share::with(kind, node);
        checks.report(problem.help(format!("{with}, or remove this sysctl")));
        return false;
    }
    true
}

fn not_of_a_namespace(word: &str, place: Range<usize>) -> Problem {
    let message = format!("the sysctl `{word}` is of the whole machine, or unknown");
    let problem = Problem::error("P0467", message, place, "not in a namespace of the pod");
    match word {
        "kernel.hostname" => problem.help("write `hostname:` for the pod or the container"),
        "kernel.domainname" => {
            problem.help("remove it, and write the domain into `hostname`, which may have dots")
        }
        _ => problem.help(match did_you_mean(word, OF_IPC) {
            Some(meant) => format!("{meant} A pod can have {THERE_IS}"),
            None => format!(
                "remove it, or set it for the whole machine: `sysctl -w {word}=VALUE`; a pod can have {THERE_IS}"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_is_named_as_sysctl_8_does() {
        for (word, name) in [
            ("net.core.somaxconn", Some("net.core.somaxconn")),
            ("net/core/somaxconn", Some("net.core.somaxconn")),
            ("net.ipv4.conf.eth0/100.forwarding", Some("net.ipv4.conf.eth0/100.forwarding")),
            ("net/ipv4/conf/eth0.100/forwarding", Some("net.ipv4.conf.eth0/100.forwarding")),
            ("net", None),
            ("", None),
            ("net..core", None),
            ("/net/core/x", None),
            ("net/../kernel/core_pattern", None),
            ("net/./x", None),
            ("net.core.", None),
            ("net.core.x=1", None),
            ("net.core.x\n", None),
            ("net.ipv4.//.x", None),
        ] {
            assert_eq!(name_of(word).as_deref(), name, "{word:?}");
        }
    }
}
