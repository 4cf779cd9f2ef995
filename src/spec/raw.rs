//! The pod file as it is written: every field of the language, its short and its long forms, and its
//! words for people. The JSON schema is made from these types, and the loader judges by that schema, so
//! an editor and `podspec` cannot disagree. Nothing here says what a value means.

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A word of the file whose grammar the schema cannot say; `validate.rs` reads it.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

word!(
    /// Any plain scalar, taken by its source text: `8080` and `true` are texts here.
    Text,
    { "type": ["string", "number", "boolean"], "x-form": "text" }
);
word!(
    /// Bytes, with a unit.
    Size,
    { "type": ["string", "integer"], "x-form": "size" }
);
word!(
    /// A time span, with units.
    Span,
    { "type": "string", "x-form": "duration" }
);
word!(
    /// A name or a number.
    NameOrNumber,
    { "type": ["string", "integer"], "x-form": "word" }
);
word!(
    /// The short form of a port.
    ShortPort,
    { "type": "string", "x-form": "port" }
);
word!(
    /// One port or `a-b`.
    PortEnd,
    { "type": ["string", "integer"], "x-form": "word" }
);

/// One form or the other; which one is clear from the kind of the YAML node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Either<S, L> {
    Short(S),
    Long(L),
}

/// A pod: containers that share namespaces, a network and volumes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Pod", extend("required" = ["containers"]))]
pub struct RawPod {
    /// The pod's name, a DNS label. Default: the file's name without `.pod`; for `pod.yaml` the
    /// directory's name.
    #[schemars(extend("maxLength" = 63, "examples" = ["shop"]))]
    pub name: Option<String>,
    /// Labels, for people and for tools.
    #[schemars(extend("examples" = [{"app": "shop"}]))]
    pub labels: Option<IndexMap<String, Text>>,
    /// The host name of the shared uts namespace. Default: the pod's name.
    #[schemars(extend("examples" = ["shop"]))]
    pub hostname: Option<String>,
    /// Namespaces that all containers share: `net uts ipc pid user cgroup time`, or `none`. An item
    /// such as `+pid` adds to the default.
    #[schemars(extend("default" = ["net", "uts", "ipc"], "examples" = [["net", "uts", "ipc", "pid"], ["+pid"], "none"]))]
    pub share: Option<Either<String, Vec<String>>>,
    /// The pod's network: `bridge`, `host`, `none`, `ns:/path`, or a map with more.
    #[schemars(extend("default" = "bridge", "examples" = ["host"]))]
    pub network: Option<Either<String, Network>>,
    /// What goes to /etc/resolv.conf. Default: the host's own.
    pub dns: Option<Dns>,
    /// Entries of /etc/hosts beside every container's name: name to address.
    #[schemars(extend("examples" = [{"registry.local": "10.0.0.5"}]))]
    pub hosts: Option<IndexMap<String, String>>,
    /// Published ports; they lead to the pod's network namespace.
    #[schemars(extend("examples" = [["8080:80", "127.0.0.1:8443:443"]]))]
    pub ports: Option<Either<String, Vec<Either<ShortPort, Port>>>>,
    /// The id mapping, where `user` is shared.
    pub userns: Option<Either<String, UserNs>>,
    /// Clock offsets, where `time` is shared.
    pub time: Option<TimeOffsets>,
    /// Namespaced sysctls, such as `net.core.somaxconn`.
    #[schemars(extend("examples" = [{"net.core.somaxconn": 1024}]))]
    pub sysctls: Option<IndexMap<String, Text>>,
    /// The size of the shared /dev/shm.
    #[schemars(extend("default" = "64Mi"))]
    pub shm_size: Option<Size>,
    /// Volumes, by name.
    pub volumes: Option<IndexMap<String, VolumeEntry>>,
    /// Secrets, mounted at /run/secrets/NAME with mode 0400.
    pub secrets: Option<IndexMap<String, Secret>>,
    /// Containers that run one after another to completion before `containers` start.
    pub init_containers: Option<IndexMap<String, RawContainer>>,
    /// The pod's containers, in the order of the file.
    pub containers: Option<IndexMap<String, RawContainer>>,
    /// What to do when a container ends: `no`, `on-failure[:N]`, `always`, `unless-stopped`.
    #[schemars(extend("default" = "no", "examples" = ["on-failure:5", "always"]))]
    pub restart: Option<String>,
    /// What the end of containers means for the pod.
    #[schemars(extend("default" = "continue"))]
    pub exit_policy: Option<ExitPolicy>,
    /// Limits of the whole pod.
    pub resources: Option<Resources>,
}

/// One container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Container")]
pub struct RawContainer {
    /// An OCI image: of a registry, `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`.
    #[schemars(extend("examples" = ["docker.io/library/httpd:2.4"]))]
    pub image: Option<String>,
    /// A directory that is the root file system (never written), or `host`: a copy-on-write view of
    /// this machine's own root.
    #[schemars(extend("examples" = ["./web", "host"]))]
    pub rootfs: Option<String>,
    /// When to pull the image.
    #[schemars(extend("default" = "missing"))]
    pub pull_policy: Option<PullPolicy>,
    /// The program and its first arguments; replaces the image's entrypoint.
    #[schemars(extend("examples" = [["sleep", "10"]], "x-form" = "command"))]
    pub command: Option<Vec<Text>>,
    /// Arguments after `command`; replace the image's command.
    #[schemars(extend("x-form" = "command"))]
    pub args: Option<Vec<Text>>,
    /// The directory that the program starts in.
    #[schemars(extend("default" = "/"))]
    pub working_dir: Option<String>,
    /// Who runs the program: a number, `uid[:gid]` or `name[:group]`; digits are always ids.
    #[schemars(extend("default" = "0", "examples" = [1000, "1000:1000", "www-data"]))]
    pub user: Option<NameOrNumber>,
    /// More groups of the program.
    pub groups: Option<Vec<NameOrNumber>>,
    /// Whether the program gets a terminal.
    #[schemars(extend("default" = false))]
    pub tty: Option<bool>,
    /// Whether the program's standard input stays open.
    #[schemars(extend("default" = false))]
    pub stdin: Option<bool>,
    /// Whether a reaper is process 1.
    #[schemars(extend("default" = false))]
    pub init: Option<bool>,
    /// Environment variables: a map, or a list of KEY=VALUE.
    #[schemars(extend("examples" = [{"PORT": 8080}]))]
    pub env: Option<Either<Vec<Text>, IndexMap<String, Text>>>,
    /// Files of KEY=VALUE lines; `env` wins over them.
    pub env_file: Option<Either<String, Vec<String>>>,
    /// Volumes: `name:/target[:ro]`, `./host/path:/target[:ro]`, or a map.
    #[schemars(extend("examples" = [["data:/var/lib/data", "./site:/srv:ro"]]))]
    pub volumes: Option<Vec<Either<String, Mount>>>,
    /// Secrets of the pod that this container sees.
    pub secrets: Option<Vec<Either<String, SecretMount>>>,
    /// Devices of the host.
    #[schemars(extend("examples" = [["/dev/fuse"]]))]
    pub devices: Option<Vec<Either<String, Device>>>,
    /// Resource limits of each process, such as `nofile`.
    pub ulimits: Option<IndexMap<String, Either<i64, Ulimit>>>,
    /// How likely the kernel ends it when memory runs out.
    #[schemars(range(min = -1000, max = 1000))]
    pub oom_score_adj: Option<i32>,
    /// The host name, where uts is not shared. Default: the container's name.
    pub hostname: Option<String>,
    /// Published ports; they lead to this container where `net` is not shared, else to the pod.
    pub ports: Option<Either<String, Vec<Either<ShortPort, Port>>>>,
    /// Containers that come first: a list, or a map with what must have happened.
    #[schemars(extend("examples" = [["db"], {"db": "completed"}]))]
    pub depends_on: Option<Either<Vec<String>, Dependencies>>,
    /// Until it succeeds, the other probes wait.
    pub startup_probe: Option<Probe>,
    /// While it succeeds, the container is ready.
    pub readiness_probe: Option<Probe>,
    /// When it fails, the container is restarted.
    pub liveness_probe: Option<Probe>,
    /// What runs after the start and before the stop.
    pub lifecycle: Option<Lifecycle>,
    /// What to do when it ends: `no`, `on-failure[:N]`, `always`, `unless-stopped`. Default: the pod's.
    #[schemars(extend("examples" = ["on-failure:5", "always"]))]
    pub restart: Option<String>,
    /// The signal that asks the program to end.
    #[schemars(extend("default" = "SIGTERM", "examples" = ["SIGINT", "QUIT", 15]))]
    pub stop_signal: Option<NameOrNumber>,
    /// How long a stop waits before the program is killed.
    #[schemars(extend("default" = "10s", "examples" = ["1m30s"]))]
    pub stop_timeout: Option<Span>,
    /// Limits.
    pub resources: Option<Resources>,
    /// Rights and their bounds.
    pub security: Option<Security>,
    /// Namespaces that are not the pod's: kind to `private`, `host` or `ns:/path`.
    #[schemars(extend("examples" = [{"pid": "private"}]))]
    pub namespaces: Option<Namespaces>,
    /// `embedded`, or an OCI runtime by name or path.
    #[schemars(extend("default" = "embedded", "examples" = ["crun"]))]
    pub runtime: Option<String>,
    /// Bounds of the log on disk.
    pub logs: Option<Logs>,
}

/// The pod's network, long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Network {
    /// `bridge`, `host`, `none` or `ns:/path`.
    #[schemars(extend("default" = "bridge"))]
    pub mode: Option<String>,
    /// The network's name.
    pub name: Option<String>,
    /// A static IPv4 address.
    pub ipv4: Option<String>,
    /// A static IPv6 address.
    pub ipv6: Option<String>,
    /// The interface's hardware address.
    pub mac: Option<String>,
    /// The interface's MTU. Default: that of the host's default route.
    #[schemars(range(min = 68, max = 65535))]
    pub mtu: Option<u32>,
    /// More names of the pod on its network.
    pub aliases: Option<Vec<String>>,
}

/// What goes to /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Dns {
    /// Addresses of name servers.
    #[schemars(extend("examples" = [["1.1.1.1"]]))]
    pub servers: Option<Vec<String>>,
    /// Search domains.
    pub search: Option<Vec<String>>,
    /// Options of the resolver, such as `ndots:2`.
    pub options: Option<Vec<String>>,
}

/// A published port, long form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Port {
    /// The host's port or range `a-b`; 0 is a free one, chosen at `up`.
    pub host: PortEnd,
    /// The container's port or range.
    pub container: PortEnd,
    /// The host's address. Default: every address.
    pub address: Option<String>,
    /// The protocol.
    #[schemars(extend("default" = "tcp"))]
    pub protocol: Option<Protocol>,
    /// A name, for people and tools.
    pub name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// The id mapping of the pod's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct UserNs {
    /// How many ids.
    #[schemars(range(min = 1))]
    pub size: Option<u32>,
    /// User ids: `container:host:count`.
    pub uids: Option<Vec<String>>,
    /// Group ids: `container:host:count`.
    pub gids: Option<Vec<String>>,
}

/// Clock offsets; they may be negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TimeOffsets {
    /// Offset of CLOCK_BOOTTIME.
    #[schemars(extend("examples" = ["-1h"]))]
    pub boottime: Option<Span>,
    /// Offset of CLOCK_MONOTONIC.
    pub monotonic: Option<Span>,
}

/// A volume; nothing: persistent, the pod's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VolumeEntry(pub Option<Volume>);

impl JsonSchema for VolumeEntry {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "VolumeEntry".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let volume = generator.subschema_for::<Volume>();
        json_schema!({ "anyOf": [volume, { "type": "null" }], "x-form": "nullable" })
    }
}

/// A volume: empty (persistent), or one of its kinds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Volume {
    /// In memory, as long as the pod: its size.
    #[schemars(extend("examples" = ["64Mi"]))]
    pub tmpfs: Option<Size>,
    /// On disk, as long as the pod.
    pub empty_dir: Option<EmptyDir>,
    /// Read-only files: name to text.
    #[schemars(extend("examples" = [{"index.html": "hello\n"}]))]
    pub files: Option<IndexMap<String, String>>,
    /// A directory of the host, absolute or relative to the file.
    #[schemars(extend("examples" = ["./data"]))]
    pub host: Option<String>,
    /// Whether to make the host's directory where it is missing.
    #[schemars(extend("default" = false))]
    pub create: Option<bool>,
}

/// Has no keys: `{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyDir {}

/// A secret: of a file or of an environment variable of `podspec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Secret {
    /// A file of the host.
    pub file: Option<String>,
    /// A variable of the environment of `podspec`.
    pub env: Option<String>,
}

/// A secret in a container, long form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretMount {
    /// The secret's name in the pod.
    pub name: String,
    /// Where the container sees it. Default: /run/secrets/NAME.
    pub target: Option<String>,
    /// Its mode, octal.
    #[schemars(extend("default" = "0400"))]
    pub mode: Option<NameOrNumber>,
}

/// A volume in a container, long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "VolumeMount", extend("required" = ["target"]))]
pub struct Mount {
    /// `tmpfs`: in memory, the container's own. Without it: a mount of `source`.
    #[serde(rename = "type")]
    pub kind: Option<MountKind>,
    /// A declared volume's name, or a host path that begins with `/`, `./` or `../`.
    pub source: Option<String>,
    /// Where the container sees it.
    pub target: Option<String>,
    /// Whether the container may not write.
    #[schemars(extend("default" = false))]
    pub read_only: Option<bool>,
    /// A directory inside the volume, instead of the whole.
    pub sub_path: Option<String>,
    /// How mounts below it spread.
    #[schemars(extend("default" = "private"))]
    pub propagation: Option<Propagation>,
    /// Whether ids are mapped as in the pod's user namespace.
    #[schemars(extend("default" = false))]
    pub idmap: Option<bool>,
    /// The size of a tmpfs.
    #[schemars(extend("default" = "64Mi"))]
    pub size: Option<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum MountKind {
    /// In memory.
    Tmpfs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Propagation {
    /// Nothing spreads.
    Private,
    /// Mounts of the host appear in the container.
    Rslave,
    /// Mounts appear in both directions.
    Rshared,
}

/// A device of the host, long form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Device {
    /// Its path on the host.
    pub path: String,
    /// Its path in the container. Default: the same.
    pub target: Option<String>,
    /// What is allowed: letters of `rwm`.
    #[schemars(extend("default" = "rwm"))]
    pub access: Option<String>,
}

/// A resource limit of a process; -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ulimit {
    /// What the process starts with.
    pub soft: i64,
    /// How far it may raise it.
    pub hard: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Condition {
    /// Its program runs.
    Started,
    /// Its readiness probe succeeds.
    Ready,
    /// Its program ended with 0.
    Completed,
}

/// Containers that come first, each with what must have happened.
pub type Dependencies = IndexMap<String, Either<Condition, Dependency>>;

/// What of the other container must have happened, long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Dependency {
    /// What must have happened.
    #[schemars(extend("default" = "started"))]
    pub condition: Option<Condition>,
    /// Whether this container is restarted when the other is.
    #[schemars(extend("default" = false))]
    pub restart: Option<bool>,
}

/// A check of a container, carried out by podspec inside its namespaces: one of `exec`, `http`, `tcp`,
/// `log`, `file`, `notify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Probe {
    /// A program that ends with 0.
    #[schemars(extend("x-form" = "command"))]
    pub exec: Option<Vec<Text>>,
    /// A request that is answered well.
    pub http: Option<HttpProbe>,
    /// A TCP port that accepts.
    #[schemars(range(min = 1, max = 65535))]
    pub tcp: Option<u16>,
    /// A line of the log that matches this regular expression.
    pub log: Option<String>,
    /// A file that exists.
    pub file: Option<String>,
    /// `READY=1` by sd_notify.
    pub notify: Option<bool>,
    /// How long the first check waits.
    #[schemars(extend("default" = "0s"))]
    pub initial_delay: Option<Span>,
    /// The time between two checks.
    #[schemars(extend("default" = "10s"))]
    pub interval: Option<Span>,
    /// How long a check may take.
    #[schemars(extend("default" = "1s"))]
    pub timeout: Option<Span>,
    /// How many checks in a row must succeed.
    #[schemars(range(min = 1), extend("default" = 1))]
    pub success_threshold: Option<u32>,
    /// How many checks in a row must fail.
    #[schemars(range(min = 1), extend("default" = 3))]
    pub failure_threshold: Option<u32>,
}

/// A request of a probe or a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpProbe {
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The path.
    #[schemars(extend("default" = "/"))]
    pub path: Option<String>,
    /// The scheme.
    #[schemars(extend("default" = "http"))]
    pub scheme: Option<Scheme>,
    /// Headers of the request.
    pub headers: Option<IndexMap<String, Text>>,
    /// The status that is good. Default: 200 to 399.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS; the certificate is not checked.
    Https,
}

/// Hooks of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Runs after the start.
    pub post_start: Option<Hook>,
    /// Runs before the stop.
    pub pre_stop: Option<Hook>,
}

/// One of `exec` and `http`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Hook {
    /// A program in the container.
    #[schemars(extend("x-form" = "command"))]
    pub exec: Option<Vec<Text>>,
    /// A request to the container.
    pub http: Option<HttpProbe>,
}

/// Limits of a container or of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Resources {
    /// Memory.
    #[schemars(extend("examples" = ["256Mi"]))]
    pub memory: Option<Size>,
    /// Memory plus swap; -1 is unlimited.
    pub memory_swap: Option<Size>,
    /// Processor time, in processors.
    #[schemars(extend("examples" = [0.5]))]
    pub cpus: Option<f64>,
    /// Share of processor time beside others.
    #[schemars(range(min = 1, max = 10000), extend("default" = 100))]
    pub cpu_weight: Option<u32>,
    /// The processors that it may use, such as `0-2,4`.
    pub cpuset: Option<NameOrNumber>,
    /// Processes and threads.
    #[schemars(range(min = 1), extend("default" = 2048))]
    pub pids: Option<u64>,
    /// Disk input and output.
    pub io: Option<Io>,
}

/// Limits of disk input and output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Io {
    /// Share of disk time beside others.
    #[schemars(range(min = 1, max = 10000), extend("default" = 100))]
    pub weight: Option<u32>,
    /// Limits by device.
    pub devices: Option<IndexMap<String, IoDevice>>,
}

/// Limits of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct IoDevice {
    /// Bytes read in a second.
    pub read_bps: Option<Size>,
    /// Bytes written in a second.
    pub write_bps: Option<Size>,
    /// Reads in a second.
    pub read_iops: Option<u64>,
    /// Writes in a second.
    pub write_iops: Option<u64>,
}

/// Rights of a container and their bounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Security {
    /// All rights of the caller.
    #[schemars(extend("default" = false))]
    pub privileged: Option<bool>,
    /// Capabilities beside and without the default.
    pub capabilities: Option<Capabilities>,
    /// Whether programs cannot gain rights by setuid.
    #[schemars(extend("default" = true))]
    pub no_new_privs: Option<bool>,
    /// Whether the root file system cannot be written.
    #[schemars(extend("default" = false))]
    pub read_only_rootfs: Option<bool>,
    /// `default`, `unconfined`, or the path of a profile.
    #[schemars(extend("default" = "default"))]
    pub seccomp: Option<String>,
    /// The AppArmor profile.
    pub apparmor: Option<String>,
    /// The SELinux label.
    pub selinux: Option<String>,
    /// Paths of /proc and /sys that are not hidden.
    pub unmask: Option<Vec<String>>,
    /// Whether a user of id 0 is an error.
    #[schemars(extend("default" = false))]
    pub run_as_non_root: Option<bool>,
}

/// Capabilities beside and without the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Capabilities to add, such as `NET_ADMIN`.
    pub add: Option<Vec<String>>,
    /// Capabilities to drop, or `ALL`.
    pub drop: Option<Vec<String>>,
}

/// Namespaces of one container that are not the pod's: `private`, `host` or `ns:/path`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Namespaces {
    /// Its network.
    #[schemars(extend("examples" = ["private", "host"]))]
    pub net: Option<String>,
    /// Its host name.
    pub uts: Option<String>,
    /// Its System V IPC, message queues and /dev/shm.
    pub ipc: Option<String>,
    /// Its processes.
    #[schemars(extend("examples" = ["private", "host"]))]
    pub pid: Option<String>,
    /// Its users.
    pub user: Option<String>,
    /// Its cgroup root.
    pub cgroup: Option<String>,
    /// Its clocks.
    pub time: Option<String>,
}

/// Bounds of a container's log on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Logs {
    /// Bytes of one file.
    #[schemars(extend("default" = "10Mi"))]
    pub max_size: Option<Size>,
    /// How many files.
    #[schemars(range(min = 1, max = 1000), extend("default" = 5))]
    pub max_files: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum PullPolicy {
    /// Where it is not there yet.
    Missing,
    /// At every `up`.
    Always,
    /// Never: a missing image is an error.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ExitPolicy {
    /// The pod stays.
    Continue,
    /// The pod stops when all containers are done.
    Stop,
    /// The pod stops when a container fails.
    StopOnFailure,
    /// The pod stops when any container ends.
    StopOnExit,
}
