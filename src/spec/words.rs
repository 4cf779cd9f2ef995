//! Words of the pod file as an editor sees them: what completes, what each value means, and a pattern
//! where a word has a grammar. For the published schema alone: the loader takes such a word as it is, and
//! `validate.rs` reads it, for it can say better than a pattern what is wrong with it.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A type that is only a schema.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident => $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                Schema::try_from($schema).unwrap_or_default()
            }
        }
    )*};
}

words! {
    /// `none`, in the place of a list.
    NoShare => open(&[("none", "Nothing is shared.")], None);
    /// An item of `share`.
    Kind => open(KINDS, None);
    /// What the pod's network is.
    Network => open(
        &[
            ("bridge", "An interface of its own, with an address, on podspec's bridge."),
            ("host", "The machine's own network; `ports` mean nothing then."),
            ("none", "Nothing but `lo`."),
        ],
        Some(("^ns:/.", "ns:/run/netns/NAME: a network namespace that exists")),
    );
    /// When a container starts again.
    Restart => open(
        &[
            ("no", "It stays as it ended."),
            ("on-failure", "When it ends with an error; `on-failure:5` at most five times."),
            ("always", "Whenever it ends."),
            ("unless-stopped", "Whenever it ends, unless you stopped it."),
        ],
        Some(("^on-failure:[0-9]+$", "on-failure:N, such as on-failure:5")),
    );
    /// What runs a container.
    Runtime => open(
        RUNTIMES,
        Some((RUNTIME, "the name of a program such as youki, or a path")),
    );
    /// Where a container's namespace is, if not in the pod.
    Scope => open(
        &[("private", "The container's own."), ("host", "The machine's.")],
        Some(("^ns:/.", "ns:/proc/PID/ns/KIND: a namespace that exists")),
    );
    /// `auto`, in the place of a list of ports.
    AutoPorts => open(&[("auto", "What the images expose, on the same ports.")], None);
    /// `auto`, in the place of an id mapping.
    AutoUserNs => open(&[("auto", "65536 ids, where the host has them free: of the user `containers` in /etc/subuid, else any.")], None);
    /// The seccomp profile.
    Seccomp => open(
        &[
            ("default", "podspec's profile: what programs need, and no more."),
            ("unconfined", "Every system call is allowed."),
        ],
        Some((r"^\.{0,2}/", "a path, such as ./profile.json")),
    );
    /// A capability, as capabilities(7) has it.
    Capability => capability();
    /// A DNS label.
    Label => json!({
        "type": "string",
        "maxLength": 63,
        "pattern": NAME,
        "patternErrorMessage": NAME_RULE,
    });
    /// An address of the host.
    Address => json!({
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]+){3}$",
        "patternErrorMessage": "an IPv4 address, such as 127.0.0.1",
    });
    /// The short form of a volume in a container.
    Bind => json!({
        "type": "string",
        "examples": ["data:/var/lib/data", "./site:/srv:ro"],
        "pattern": "^[^:]+:/[^:]*(:(ro|rw))?$",
        "patternErrorMessage": "NAME:/target or ./host/path:/target, and `:ro` where it may not be written",
    });
    /// Letters of what is allowed with a device.
    Access => json!({
        "type": "string",
        "pattern": "^[rwm]{1,3}$",
        "patternErrorMessage": "letters of rwm: read, write, make",
    });
}

pub(super) const NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
pub(super) const NAME_RULE: &str =
    "a name has lower-case letters, digits and `-`, and begins and ends with a letter or a digit";
pub(super) const PORT: &str = r"^([0-9.]+:)?[0-9]+(-[0-9]+)?:[0-9]+(-[0-9]+)?(/(tcp|udp))?$";
pub(super) const PORT_RULE: &str =
    "[ADDRESS:]HOST:CONTAINER[/PROTOCOL], such as 8080:80 or 127.0.0.1:8443:443/tcp";
pub(super) const RUNTIME: &str = "^([A-Za-z0-9][A-Za-z0-9._+-]*|\\.{0,2}/.*[^/])$";
pub(super) const SIZE: &str = r"^([0-9]+(\.[0-9]+)?([kMG]|[KMG]i)?|-1)$";
pub(super) const SIZE_RULE: &str =
    "a number with k, M, G (1000) or Ki, Mi, Gi (1024), such as 64Mi";
pub(super) const SPAN: &str = r"^-?([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
pub(super) const SPAN_RULE: &str = "a number with ms, s, m or h, such as 500ms, 10s or 1m30s";

/// Those that are named most.
pub(super) const RUNTIMES: &[(&str, &str)] = &[
    ("embedded", "podspec's own: no other program is started, and every feature is there."),
    ("crun", "crun, which has to be on the machine."),
    ("runc", "runc, which has to be on the machine."),
    ("runsc", "gVisor's, which has to be on the machine."),
];

const KINDS: &[(&str, &str)] = &[
    ("net", "One network: containers meet on 127.0.0.1 and have one address."),
    ("uts", "One host name."),
    ("ipc", "One set of System V IPC, POSIX message queues and /dev/shm."),
    ("pid", "One tree of processes; podspec's infra is process 1."),
    ("user", "One mapping of user and group ids."),
    ("cgroup", "One cgroup root."),
    ("time", "One pair of clock offsets."),
    ("+net", "The default, and `net`."),
    ("+uts", "The default, and `uts`."),
    ("+ipc", "The default, and `ipc`."),
    ("+pid", "The default, and `pid`."),
    ("+user", "The default, and `user`."),
    ("+cgroup", "The default, and `cgroup`."),
    ("+time", "The default, and `time`."),
];

/// Capabilities and what each is for. Those with which a program can become root of the machine say so.
pub(super) const CAPABILITIES: &[(&str, &str)] = &[
    ("ALL", "Every capability; can become root of the machine."),
    ("CHOWN", "Change the owner of files."),
    ("DAC_OVERRIDE", "Pass over the modes of files."),
    ("DAC_READ_SEARCH", "Read all files, also by handle; can become root of the machine."),
    ("FOWNER", "Act as the owner of files."),
    ("FSETID", "Keep the setuid and setgid bits of files that change."),
    ("KILL", "Signal processes of others."),
    ("SETGID", "Change group ids."),
    ("SETUID", "Change user ids."),
    ("SETPCAP", "Change its own capabilities within their bounds."),
    ("LINUX_IMMUTABLE", "Set files immutable or append-only."),
    ("NET_BIND_SERVICE", "Listen on ports below 1024."),
    ("NET_BROADCAST", "Nothing yet: Linux does not ask for it."),
    ("NET_ADMIN", "Set up interfaces, addresses, routes and firewall of its network."),
    ("NET_RAW", "Raw and packet sockets, as ping and tcpdump want them."),
    ("IPC_LOCK", "Lock memory."),
    ("IPC_OWNER", "Pass over the modes of System V IPC."),
    ("SYS_MODULE", "Load kernel modules; can become root of the machine."),
    ("SYS_RAWIO", "Ports of input and output, and /dev/mem; can become root of the machine."),
    ("SYS_CHROOT", "chroot(2), and mount namespaces."),
    ("SYS_PTRACE", "Trace and change processes of others; can become root of the machine."),
    ("SYS_PACCT", "Process accounting."),
    ("SYS_ADMIN", "Mounts and much else; can become root of the machine."),
    ("SYS_BOOT", "Reboot, and load another kernel; can become root of the machine."),
    ("SYS_NICE", "Priorities, schedulers and processors of processes."),
    ("SYS_RESOURCE", "Pass over resource limits and quotas."),
    ("SYS_TIME", "Set the machine's clock."),
    ("SYS_TTY_CONFIG", "Hang up and set up terminals."),
    ("MKNOD", "Make device nodes."),
    ("LEASE", "Leases on files."),
    ("AUDIT_WRITE", "Write to the kernel's audit log."),
    ("AUDIT_CONTROL", "Rules of the kernel's audit."),
    ("SETFCAP", "Give capabilities to files."),
    ("MAC_OVERRIDE", "Pass over Smack's access control."),
    ("MAC_ADMIN", "Set up Smack's access control."),
    ("SYSLOG", "Read the kernel's log, and addresses of the kernel."),
    ("WAKE_ALARM", "Timers that wake the machine."),
    ("BLOCK_SUSPEND", "Keep the machine from sleeping."),
    ("AUDIT_READ", "Read the kernel's audit log."),
    ("PERFMON", "Performance counters and tracing."),
    ("BPF", "Load BPF programs; can become root of the machine."),
    ("CHECKPOINT_RESTORE", "Save and restore processes."),
];

/// The names, and the other ways of writing them that podspec takes: with `CAP_`, and in lower case.
fn capability() -> Value {
    let names: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
    let upper = names.join("|");
    let pattern = format!("^(CAP_)?({upper})$|^(cap_)?({})$", upper.to_lowercase());
    open(CAPABILITIES, Some((&pattern, "a name of capabilities(7), such as NET_ADMIN")))
}

/// Words with a meaning, and beside them a pattern where other words are possible.
fn open(values: &[(&str, &str)], other: Option<(&str, &str)>) -> Value {
    let (words, texts): (Vec<&str>, Vec<&str>) = values.iter().copied().unzip();
    let listed = json!({ "type": "string", "enum": words, "markdownEnumDescriptions": texts });
    let form = json!("open");
    let Some((pattern, rule)) = other else {
        let mut listed = listed;
        listed["x-form"] = form;
        return listed;
    };
    let other = json!({ "type": "string", "pattern": pattern, "description": rule });
    // The type once more for all, so that an editor writes a default as it writes a value.
    json!({ "type": "string", "anyOf": [listed, other], "x-form": form })
}

/// For the keys of a map: how a name is written, and what to call one.
pub(super) fn names(of: &str) -> Value {
    json!({
        "title": of,
        "description": "Lower-case letters, digits and `-`.",
        "pattern": NAME,
        "patternErrorMessage": NAME_RULE,
    })
}

/// For the keys of a map with a fixed set.
pub(super) fn keys(of: &str, keys: &[&str]) -> Value {
    json!({ "title": of, "description": "A limit of setrlimit(2).", "enum": keys })
}

pub(super) const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
    "as",
];
