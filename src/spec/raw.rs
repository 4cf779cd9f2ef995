//! The pod file as it is written: every field of the language, its short and its long forms, and its
//! words for people. The JSON schema is made from these types, and the loader judges by that schema, so
//! an editor and `podspec` cannot disagree. Nothing here says what a value means.

use super::words;
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
    {
        "type": ["string", "integer"],
        "x-form": "size",
        "pattern": (words::SIZE),
        "patternErrorMessage": (words::SIZE_RULE),
    }
);
word!(
    /// A time span, with units.
    Span,
    {
        "type": "string",
        "x-form": "duration",
        "pattern": (words::SPAN),
        "patternErrorMessage": (words::SPAN_RULE),
    }
);
word!(
    /// A name or a number.
    NameOrNumber,
    { "type": ["string", "integer"], "x-form": "word" }
);
word!(
    /// The short form of a port.
    ShortPort,
    {
        "type": "string",
        "x-form": "port",
        "examples": ["8080:80", "127.0.0.1:8443:443", "9000-9099:9000-9099/udp"],
        "pattern": (words::PORT),
        "patternErrorMessage": (words::PORT_RULE),
    }
);
word!(
    /// One port or `a-b`.
    PortEnd,
    {
        "type": ["integer", "string"],
        "x-form": "word",
        "minimum": 0,
        "maximum": 65535,
        "pattern": "^[0-9]+(-[0-9]+)?$",
        "patternErrorMessage": "a port, or a range such as 9000-9099",
    }
);

// One form or the other; which one is clear from the kind of the YAML node. No doc comment: an editor
// would show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Either<S, L> {
    Short(S),
    Long(L),
}

impl<S, L> Either<S, L> {
    pub(super) fn long(&self) -> Option<&L> {
        match self {
            Self::Short(_) => None,
            Self::Long(long) => Some(long),
        }
    }
}

/// A pod: containers that share namespaces, a network and volumes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Pod", extend("required" = ["containers"]))]
pub struct RawPod {
    /// The pod's name, a DNS label. Default: the file's name without `.pod`; for `pod.yaml` the
    /// directory's name.
    #[schemars(with = "Option<words::Label>")]
    #[schemars(extend("examples" = ["shop"]))]
    pub name: Option<String>,
    /// Labels, for people and for tools.
    #[schemars(extend("examples" = [{"app": "shop", "version": "1.10"}]))]
    pub labels: Option<IndexMap<String, Text>>,
    /// The host name of the shared uts namespace. Default: the pod's name.
    #[schemars(extend("examples" = ["shop"]))]
    pub hostname: Option<String>,
    /// Namespaces that all containers share, or `none`. An item such as `+pid` adds to the default.
    #[schemars(with = "Option<Either<words::NoShare, Vec<words::Kind>>>")]
    #[schemars(extend("default" = ["net", "uts", "ipc"], "examples" = [["net", "uts", "ipc", "pid"], ["+pid"], "none"]))]
    pub share: Option<Either<String, Vec<String>>>,
    /// Namespaces that the containers are in instead of a shared one: kind to where it is. What a container's own
    /// `namespaces` say comes first. The network is `network`.
    #[schemars(extend("examples" = [{"pid": "host"}, {"uts": "private", "ipc": "ns:/proc/4711/ns/ipc"}]))]
    pub namespaces: Option<PodNamespaces>,
    /// The pod's network: one word, or a map with more.
    #[schemars(with = "Option<Either<words::Network, Network>>")]
    #[schemars(extend("default" = "bridge", "examples" = ["host", {"mode": "bridge", "mtu": 1400}]))]
    pub network: Option<Either<String, Network>>,
    /// What goes to /etc/resolv.conf. Default: the host's own.
    #[schemars(extend("examples" = [{"servers": ["192.0.2.53"], "search": ["example.org"]}]))]
    pub dns: Option<Dns>,
    /// Entries of /etc/hosts beside every container's name: name to address.
    #[schemars(extend("examples" = [{"registry.local": "192.0.2.5"}]))]
    pub hosts: Option<IndexMap<String, String>>,
    /// Published ports: `HOST:CONTAINER`, or a map. They lead to the pod's network namespace,
    /// whichever container listens there. `auto` publishes what the images expose.
    #[schemars(with = "Option<Either<words::AutoPorts, Vec<Either<ShortPort, Port>>>>")]
    #[schemars(extend("examples" = [["8080:80"]]))]
    pub ports: Option<Either<String, Vec<Either<ShortPort, Port>>>>,
    /// The id mapping, where `share` has `user`.
    #[schemars(with = "Option<Either<words::AutoUserNs, UserNs>>")]
    #[schemars(extend("default" = "auto", "examples" = ["auto", {"size": 65536}]))]
    pub userns: Option<Either<String, UserNs>>,
    /// Clock offsets, where `share` has `time`.
    #[schemars(extend("examples" = [{"boottime": "-1h"}]))]
    pub time: Option<TimeOffsets>,
    /// Namespaced sysctls. The namespace of each must be shared.
    #[schemars(extend("examples" = [{"net.core.somaxconn": 1024}]))]
    pub sysctls: Option<IndexMap<String, Text>>,
    /// The size of the shared /dev/shm.
    #[schemars(extend("default" = "64Mi", "examples" = ["256Mi"]))]
    pub shm_size: Option<Size>,
    /// Volumes, by name. Containers mount them as `NAME:/target`. One without a value is persistent.
    #[schemars(extend("propertyNames" = (words::names("volume name"))))]
    #[schemars(extend("examples" = [{"data": {}, "cache": {"tmpfs": "64Mi"}, "site": {"host": "./site"}}]))]
    pub volumes: Option<IndexMap<String, VolumeEntry>>,
    /// Secrets: texts that are read at `up` and kept in memory alone. A container that names one in its own
    /// `secrets` sees it as a file, by default /run/secrets/NAME with mode 0400, which belongs to its user.
    #[schemars(extend("propertyNames" = (words::names("secret name"))))]
    #[schemars(extend("examples" = [{"password": {"file": "./password.txt"}}]))]
    pub secrets: Option<IndexMap<String, Secret>>,
    /// Containers that run one after another to completion before `containers` start. One with
    /// `restart: always` keeps running beside them.
    #[schemars(extend("propertyNames" = (words::names("container name"))))]
    #[schemars(extend("examples" = [{"migrate": {"rootfs": "host", "command": ["/bin/true"]}}]))]
    pub init_containers: Option<IndexMap<String, RawContainer>>,
    /// The pod's containers, by name. They start side by side, unless `dependsOn` orders them.
    #[schemars(extend("minProperties" = 1, "propertyNames" = (words::names("container name"))))]
    #[schemars(extend("examples" = [{"web": {"image": "docker.io/library/httpd:2.4"}}]))]
    pub containers: Option<IndexMap<String, RawContainer>>,
    /// What to do when a container ends: one word, or a map with how long a restart waits.
    #[schemars(with = "Option<Either<words::Restart, RestartRule>>")]
    #[schemars(extend("default" = "no", "examples" = ["on-failure:5", "always"]))]
    pub restart: Option<Either<String, RestartRule>>,
    /// How long the stop of the whole pod takes at most: what runs then is killed. It is also the `stopTimeout` of
    /// each container that has none. Default: none, and stops that follow each other add up.
    #[schemars(extend("examples" = ["30s"]))]
    pub stop_timeout: Option<Span>,
    /// What the end of containers means for the pod.
    #[schemars(extend("default" = "continue", "examples" = ["stop-on-failure"]))]
    pub exit_policy: Option<ExitPolicy>,
    /// What runs the containers that say nothing else: podspec's own runtime, or another OCI runtime by name or path.
    #[schemars(with = "Option<words::Runtime>")]
    #[schemars(extend("default" = "embedded", "examples" = ["crun"]))]
    pub runtime: Option<String>,
    /// Limits of the whole pod.
    #[schemars(extend("examples" = [{"memory": "1Gi", "cpus": 2}]))]
    pub resources: Option<Resources>,
}

/// One container of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Container")]
pub struct RawContainer {
    /// An OCI image: of a registry, or `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`. A
    /// container has this or `rootfs`.
    #[schemars(extend("examples" = ["docker.io/library/httpd:2.4"]))]
    pub image: Option<String>,
    /// A directory that is the root file system (never written), or `host`: a copy-on-write view of
    /// this machine's own root.
    #[schemars(extend("examples" = ["host", "./web"]))]
    pub rootfs: Option<String>,
    /// When to pull the image.
    #[schemars(extend("default" = "missing", "examples" = ["always"]))]
    pub pull_policy: Option<PullPolicy>,
    /// The program and its first arguments; replaces the image's entrypoint. A shell's own words
    /// need a shell: `[/bin/sh, -c, …]`.
    #[schemars(extend("x-form" = "command"))]
    #[schemars(extend("examples" = [["sleep", "10"]]))]
    pub command: Option<Vec<Text>>,
    /// Arguments after `command`; replace the image's command.
    #[schemars(extend("x-form" = "command"))]
    #[schemars(extend("examples" = [["--port", "8080"]]))]
    pub args: Option<Vec<Text>>,
    /// The directory that the program starts in. Without it: the image's, else `/`.
    #[schemars(extend("default" = "/", "examples" = ["/srv"]))]
    pub working_dir: Option<String>,
    /// Who runs the program: a number, `uid[:gid]` or `name[:group]`; digits are always ids.
    #[schemars(extend("default" = "0", "examples" = [1000, "1000:1000", "www-data"]))]
    pub user: Option<NameOrNumber>,
    /// More groups of the program. Of an image's user those that the image's /etc/group names him in come by
    /// themselves, unless `user` has a group.
    #[schemars(extend("examples" = [["audio", 20]]))]
    pub groups: Option<Vec<NameOrNumber>>,
    /// Whether the program gets a terminal; `podspec attach` lends it yours.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub tty: Option<bool>,
    /// Whether the program's standard input stays open, for `podspec attach`; else it is /dev/null.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub stdin: Option<bool>,
    /// Whether a reaper is process 1, with the program as its child.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub init: Option<bool>,
    /// Environment variables: a map, or a list of KEY=VALUE. `${VAR}` is taken from the environment
    /// of podspec.
    #[schemars(extend("examples" = [{"PORT": 8080, "PASSWORD": "${PASSWORD:?set PASSWORD}"}]))]
    pub env: Option<Either<Vec<Text>, IndexMap<String, Text>>>,
    /// A file of KEY=VALUE lines, or a list of such; `env` wins over them.
    #[schemars(extend("examples" = ["./web.env", ["./web.env", "./local.env"]]))]
    pub env_file: Option<Either<String, Vec<String>>>,
    /// What it sees of volumes and of the host: `name:/target[:ro]`, `./host/path:/target[:ro]`, or
    /// a map.
    #[schemars(with = "Option<Vec<Either<words::Bind, Mount>>>")]
    #[schemars(extend("examples" = [["data:/var/lib/data", "./site:/srv:ro"]]))]
    pub volumes: Option<Vec<Either<String, Mount>>>,
    /// Secrets of the pod that it sees as files of its user, read-only, at /run/secrets/NAME where nothing else
    /// is said.
    #[schemars(extend("examples" = [["password"]]))]
    pub secrets: Option<Vec<Either<String, SecretMount>>>,
    /// Devices of the host, as they are there; below /dev in the container. Each can be read and written.
    #[schemars(extend("examples" = [["/dev/fuse"]]))]
    pub devices: Option<Vec<Either<String, Device>>>,
    /// Resource limits of each process, none above the caller's own; a number is both the soft and the hard one.
    /// Default: 524288 open files, no core file, for the rest what the caller has.
    #[schemars(extend("propertyNames" = (words::keys("limit", words::ULIMITS))))]
    #[schemars(extend("examples" = [{"nofile": 65536}]))]
    pub ulimits: Option<IndexMap<String, Either<i64, Ulimit>>>,
    /// How likely the kernel ends it when memory runs out: -1000 is never, 1000 is first. Below the caller's own
    /// needs CAP_SYS_RESOURCE.
    #[schemars(range(min = -1000, max = 1000))]
    #[schemars(extend("default" = 0, "examples" = [500]))]
    pub oom_score_adj: Option<i32>,
    /// The host name, where uts is not shared. Default: the container's name.
    #[schemars(extend("examples" = ["web"]))]
    pub hostname: Option<String>,
    /// Published ports. They lead to this container where `net` is not shared, else to the pod.
    #[schemars(with = "Option<Either<words::AutoPorts, Vec<Either<ShortPort, Port>>>>")]
    #[schemars(extend("examples" = [["8080:80"]]))]
    pub ports: Option<Either<String, Vec<Either<ShortPort, Port>>>>,
    /// Containers that come first: a list (they have started), or a map with what must have
    /// happened.
    #[schemars(extend("examples" = [["db"], {"db": "ready", "migrate": "completed"}]))]
    pub depends_on: Option<Either<Vec<String>, Dependencies>>,
    /// Until it succeeds, the other probes wait.
    #[schemars(extend("examples" = [{"tcp": 8080, "failureThreshold": 30}]))]
    pub startup_probe: Option<Box<Probe>>,
    /// While it succeeds, the container is ready: what `dependsOn: { NAME: ready }` waits for.
    #[schemars(extend("examples" = [{"http": {"port": 8080, "path": "/health"}}]))]
    pub readiness_probe: Option<Box<Probe>>,
    /// When it fails, the container is restarted.
    #[schemars(extend("examples" = [{"exec": ["/bin/check"], "interval": "30s"}]))]
    pub liveness_probe: Option<Box<Probe>>,
    /// What runs after the start and before the stop.
    #[schemars(extend("examples" = [{"preStop": {"exec": ["/bin/drain"]}}]))]
    pub lifecycle: Option<Box<Lifecycle>>,
    /// What to do when it ends: one word, or a map with how long a restart waits. Default: the pod's.
    #[schemars(with = "Option<Either<words::Restart, RestartRule>>")]
    #[schemars(extend("examples" = ["on-failure:5", {"policy": "always", "backoff": {"max": "10s"}}]))]
    pub restart: Option<Either<String, RestartRule>>,
    /// The signal that asks the program to end. Without it: the image's, else SIGTERM.
    #[schemars(extend("default" = "SIGTERM", "examples" = ["SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1"]))]
    pub stop_signal: Option<NameOrNumber>,
    /// How long a stop waits before the program is killed, `preStop` included. Without it: the pod's, else 10s.
    #[schemars(extend("default" = "10s", "examples" = ["1m30s"]))]
    pub stop_timeout: Option<Span>,
    /// Limits of this container.
    #[schemars(extend("examples" = [{"memory": "256Mi", "cpus": 0.5, "pids": 200}]))]
    pub resources: Option<Box<Resources>>,
    /// Rights of this container and their bounds.
    #[schemars(extend("examples" = [{"capabilities": {"drop": ["ALL"]}, "readOnlyRootfs": true}]))]
    pub security: Option<Box<Security>>,
    /// Namespaces that are not the pod's: kind to where it is.
    #[schemars(extend("examples" = [{"pid": "private"}]))]
    pub namespaces: Option<Box<Namespaces>>,
    /// What runs the container: podspec's own runtime, or another OCI runtime by name or path. Default: the pod's.
    #[schemars(with = "Option<words::Runtime>")]
    #[schemars(extend("default" = "embedded", "examples" = ["crun", "/opt/bin/youki"]))]
    pub runtime: Option<String>,
    /// Bounds of its log on disk.
    #[schemars(extend("examples" = [{"maxSize": "50Mi", "maxFiles": 3}]))]
    pub logs: Option<Box<Logs>>,
}

/// The pod's network, long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Network {
    /// What the network is.
    #[schemars(with = "Option<words::Network>")]
    #[schemars(extend("default" = "bridge", "examples" = ["host"]))]
    pub mode: Option<String>,
    /// The MTU of the pod's interfaces, where the network is a bridge. Default: that of the host's default route.
    #[schemars(range(min = 68, max = 65535))]
    #[schemars(extend("examples" = [1400]))]
    pub mtu: Option<u32>,
}

/// What goes to /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Dns {
    /// Addresses of name servers. Default: the host's.
    #[schemars(extend("examples" = [["192.0.2.53"]]))]
    pub servers: Option<Vec<String>>,
    /// Search domains.
    #[schemars(extend("examples" = [["example.org"]]))]
    pub search: Option<Vec<String>>,
    /// Options of the resolver.
    #[schemars(extend("examples" = [["ndots:2"]]))]
    pub options: Option<Vec<String>>,
}

/// A published port, long form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Port {
    /// The host's port or range `a-b`; 0 is a free one, chosen at `up`.
    #[schemars(extend("examples" = [8080, "9000-9099"]))]
    pub host: PortEnd,
    /// The container's port or range.
    #[schemars(extend("examples" = [80, "9000-9099"]))]
    pub container: PortEnd,
    /// The host's IPv4 address. Default: every address.
    #[schemars(with = "Option<words::Address>")]
    #[schemars(extend("examples" = ["127.0.0.1"]))]
    pub address: Option<String>,
    /// The protocol.
    #[schemars(extend("default" = "tcp", "examples" = ["udp"]))]
    pub protocol: Option<Protocol>,
    /// A name, for people and tools. Default: none.
    #[schemars(extend("examples" = ["http"]))]
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
}

/// The id mapping of the pod's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct UserNs {
    /// How many ids, from 0.
    #[schemars(range(min = 1))]
    #[schemars(extend("default" = 65536, "examples" = [1024]))]
    pub size: Option<u32>,
    /// User ids: `container:host:count`.
    #[schemars(extend("examples" = [["0:100000:65536"]]))]
    pub uids: Option<Vec<String>>,
    /// Group ids: `container:host:count`.
    #[schemars(extend("examples" = [["0:100000:65536"]]))]
    pub gids: Option<Vec<String>>,
}

/// Clock offsets; they may be negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TimeOffsets {
    /// Offset of CLOCK_BOOTTIME; it may be negative.
    #[schemars(extend("default" = "0s", "examples" = ["-1h"]))]
    pub boottime: Option<Span>,
    /// Offset of CLOCK_MONOTONIC; it may be negative.
    #[schemars(extend("default" = "0s", "examples" = ["10m"]))]
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
    /// On disk, as long as the pod: `{}`.
    #[schemars(extend("examples" = [{}]))]
    pub empty_dir: Option<EmptyDir>,
    /// Read-only files: name to text.
    #[schemars(extend("examples" = [{"index.html": "hello"}]))]
    pub files: Option<IndexMap<String, String>>,
    /// A directory of the host, absolute or relative to the file.
    #[schemars(extend("examples" = ["./data"]))]
    pub host: Option<String>,
    /// Whether to make the host's directory where it is missing.
    #[schemars(extend("default" = false, "examples" = [true]))]
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
    #[schemars(extend("examples" = ["./password.txt"]))]
    pub file: Option<String>,
    /// A variable of the environment of podspec.
    #[schemars(extend("examples" = ["DB_PASSWORD"]))]
    pub env: Option<String>,
}

/// A secret in a container, long form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretMount {
    /// The secret's name in the pod.
    #[schemars(extend("examples" = ["password"]))]
    pub name: String,
    /// Where the container sees it. Default: /run/secrets/NAME.
    #[schemars(extend("examples" = ["/etc/db/password"]))]
    pub target: Option<String>,
    /// Its mode: a 0 and three octal digits.
    #[schemars(extend("default" = "0400", "examples" = ["0440"]))]
    pub mode: Option<NameOrNumber>,
}

/// A volume in a container, long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "VolumeMount", extend("required" = ["target"]))]
pub struct Mount {
    /// `tmpfs`: in memory, the container's own. Default: a mount of `source`.
    #[serde(rename = "type")]
    #[schemars(extend("examples" = ["tmpfs"]))]
    pub kind: Option<MountKind>,
    /// A declared volume's name, or a host path that begins with `/`, `./` or `../`. Default: none,
    /// where `type` is `tmpfs`.
    #[schemars(extend("examples" = ["data", "./site"]))]
    pub source: Option<String>,
    /// Where the container sees it.
    #[schemars(extend("examples" = ["/var/lib/data"]))]
    pub target: Option<String>,
    /// Whether the container may not write.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub read_only: Option<bool>,
    /// A directory inside the volume. Default: the whole volume.
    #[schemars(extend("examples" = ["uploads"]))]
    pub sub_path: Option<String>,
    /// How what is mounted below a path of the host later on spreads. What a container has mounted there stays
    /// on the machine until somebody unmounts it.
    #[schemars(extend("default" = "private", "examples" = ["rslave"]))]
    pub propagation: Option<Propagation>,
    /// Whether the container's ids are the volume's own, where the container has a user namespace; else they
    /// are those that the machine knows it by.
    #[schemars(extend("default" = true, "examples" = [false]))]
    pub idmap: Option<bool>,
    /// The size of a tmpfs.
    #[schemars(extend("default" = "64Mi", "examples" = ["256Mi"]))]
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
    /// What the host mounts appears in the container.
    Rslave,
    /// And what the container mounts appears on the host.
    Rshared,
}

/// A device of the host, long form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Device {
    /// Its path on the host.
    #[schemars(extend("examples" = ["/dev/fuse"]))]
    pub path: String,
    /// Its path in the container. Default: the same.
    #[schemars(extend("examples" = ["/dev/fuse"]))]
    pub target: Option<String>,
    /// What is allowed: letters of `rwm` (read, write, make).
    #[schemars(with = "Option<words::Access>")]
    #[schemars(extend("default" = "rwm", "examples" = ["rw"]))]
    pub access: Option<String>,
}

/// A resource limit of a process; -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ulimit {
    /// What the process starts with; -1 is unlimited.
    #[schemars(extend("examples" = [1024]))]
    pub soft: i64,
    /// How far it may raise it; -1 is unlimited.
    #[schemars(extend("examples" = [65536]))]
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
    #[schemars(extend("default" = "started", "examples" = ["ready"]))]
    pub condition: Option<Condition>,
    /// Whether this container is restarted when the other is.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub restart: Option<bool>,
}

/// When a container starts again, long form. What is left out of a container's is the pod's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[schemars(rename = "Restart")]
pub struct RestartRule {
    /// What to do when it ends.
    #[schemars(with = "Option<words::Restart>")]
    #[schemars(extend("default" = "no", "examples" = ["on-failure:5", "always"]))]
    pub policy: Option<String>,
    /// How long a restart waits.
    #[schemars(extend("examples" = [{"initial": "1s", "max": "30s"}]))]
    pub backoff: Option<Backoff>,
}

/// How long a restart waits: at first `initial`, then twice as long each time, and never longer than `max`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Backoff {
    /// The first wait.
    #[schemars(extend("default" = "10ms", "examples" = ["1s"]))]
    pub initial: Option<Span>,
    /// The longest wait.
    #[schemars(extend("default" = "5m", "examples" = ["30s"]))]
    pub max: Option<Span>,
    /// How long it runs well before its waits, and the count of `on-failure:N`, begin anew.
    #[schemars(extend("default" = "10s", "examples" = ["1m"]))]
    pub reset_after: Option<Span>,
}

/// A check of a container, carried out by podspec inside its namespaces: one of `exec`, `http`, `tcp`,
/// `log`, `file`, `notify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Probe {
    /// A program in the container; it ends with 0.
    #[schemars(extend("x-form" = "command"))]
    #[schemars(extend("examples" = [["/bin/check", "--fast"]]))]
    pub exec: Option<Vec<Text>>,
    /// A request that is answered well.
    #[schemars(extend("examples" = [{"port": 8080, "path": "/health"}]))]
    pub http: Option<HttpProbe>,
    /// A TCP port that accepts connections.
    #[schemars(range(min = 1, max = 65535))]
    #[schemars(extend("examples" = [5432]))]
    pub tcp: Option<u16>,
    /// A line of its output that matches this regular expression.
    #[schemars(extend("examples" = ["ready to accept connections"]))]
    pub log: Option<String>,
    /// A file in the container that exists.
    #[schemars(extend("examples" = ["/run/ready"]))]
    pub file: Option<String>,
    /// Whether the program says `READY=1` itself (sd_notify).
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub notify: Option<bool>,
    /// How long the first check waits.
    #[schemars(extend("default" = "0s", "examples" = ["5s"]))]
    pub initial_delay: Option<Span>,
    /// The time between two checks.
    #[schemars(extend("default" = "10s", "examples" = ["1s"]))]
    pub interval: Option<Span>,
    /// How long a check may take.
    #[schemars(extend("default" = "1s", "examples" = ["3s"]))]
    pub timeout: Option<Span>,
    /// How many checks in a row must succeed.
    #[schemars(range(min = 1))]
    #[schemars(extend("default" = 1, "examples" = [2]))]
    pub success_threshold: Option<u32>,
    /// How many checks in a row must fail.
    #[schemars(range(min = 1))]
    #[schemars(extend("default" = 3, "examples" = [30]))]
    pub failure_threshold: Option<u32>,
}

/// A request of a probe or a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpProbe {
    /// The port, inside the container.
    #[schemars(range(min = 1, max = 65535))]
    #[schemars(extend("examples" = [8080]))]
    pub port: u16,
    /// The path.
    #[schemars(extend("default" = "/", "examples" = ["/health"]))]
    pub path: Option<String>,
    /// The scheme.
    #[schemars(extend("default" = "http", "examples" = ["https"]))]
    pub scheme: Option<Scheme>,
    /// Headers of the request.
    #[schemars(extend("examples" = [{"Host": "shop.example"}]))]
    pub headers: Option<IndexMap<String, Text>>,
    /// The status that is good. Default: 200 to 399.
    #[schemars(range(min = 100, max = 599))]
    #[schemars(extend("examples" = [204]))]
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
    /// Runs right after the start.
    #[schemars(extend("examples" = [{"exec": ["/bin/warm-up"]}]))]
    pub post_start: Option<Hook>,
    /// Runs before the stop signal.
    #[schemars(extend("examples" = [{"http": {"port": 8080, "path": "/drain"}}]))]
    pub pre_stop: Option<Hook>,
}

/// One of `exec` and `http`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Hook {
    /// A program in the container.
    #[schemars(extend("x-form" = "command"))]
    #[schemars(extend("examples" = [["/bin/drain"]]))]
    pub exec: Option<Vec<Text>>,
    /// A request to the container.
    #[schemars(extend("examples" = [{"port": 8080, "path": "/drain"}]))]
    pub http: Option<HttpProbe>,
}

/// Limits of a container or of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Resources {
    /// Memory. Default: unlimited.
    #[schemars(extend("examples" = ["256Mi"]))]
    pub memory: Option<Size>,
    /// Memory plus swap; -1 is unlimited. Default: as much swap as memory.
    #[schemars(extend("examples" = ["512Mi", -1]))]
    pub memory_swap: Option<Size>,
    /// Processor time, in processors. Default: unlimited.
    #[schemars(extend("examples" = [0.5]))]
    pub cpus: Option<f64>,
    /// Share of processor time beside others, where there is too little.
    #[schemars(range(min = 1, max = 10000))]
    #[schemars(extend("default" = 100, "examples" = [200]))]
    pub cpu_weight: Option<u32>,
    /// The processors that it may use. Default: all.
    #[schemars(extend("examples" = ["0-2,4"]))]
    pub cpuset: Option<NameOrNumber>,
    /// Processes and threads.
    #[schemars(range(min = 1))]
    #[schemars(extend("default" = 2048, "examples" = [200]))]
    pub pids: Option<u64>,
    /// Disk input and output.
    #[schemars(extend("examples" = [{"weight": 200}]))]
    pub io: Option<Io>,
}

/// Limits of disk input and output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Io {
    /// Share of disk time beside others.
    #[schemars(range(min = 1, max = 10000))]
    #[schemars(extend("default" = 100, "examples" = [200]))]
    pub weight: Option<u32>,
    /// Limits by device.
    #[schemars(extend("examples" = [{"/dev/sda": {"writeBps": "50Mi"}}]))]
    pub devices: Option<IndexMap<String, IoDevice>>,
}

/// Limits of one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct IoDevice {
    /// Bytes read in a second. Default: unlimited.
    #[schemars(extend("examples" = ["100Mi"]))]
    pub read_bps: Option<Size>,
    /// Bytes written in a second. Default: unlimited.
    #[schemars(extend("examples" = ["50Mi"]))]
    pub write_bps: Option<Size>,
    /// Reads in a second. Default: unlimited.
    #[schemars(extend("examples" = [1000]))]
    pub read_iops: Option<u64>,
    /// Writes in a second. Default: unlimited.
    #[schemars(extend("examples" = [500]))]
    pub write_iops: Option<u64>,
}

/// Rights of a container and their bounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Security {
    /// All rights of the caller, all of the kernel's files, and the host's devices.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub privileged: Option<bool>,
    /// Capabilities beside and without the default.
    #[schemars(extend("examples" = [{"add": ["NET_ADMIN"], "drop": ["ALL"]}]))]
    pub capabilities: Option<Capabilities>,
    /// Whether programs cannot gain rights by setuid. Default: true, false where `privileged`.
    #[schemars(extend("default" = true, "examples" = [false]))]
    pub no_new_privileges: Option<bool>,
    /// Whether the root file system cannot be written.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub read_only_rootfs: Option<bool>,
    /// Which system calls are allowed: `default`, `unconfined`, or the path of a profile.
    #[schemars(with = "Option<words::Seccomp>")]
    #[schemars(extend("default" = "default", "examples" = ["unconfined", "./profile.json"]))]
    pub seccomp: Option<String>,
    /// The AppArmor profile, loaded on the host, or `unconfined`. Default: `podspec-default`, where the kernel has AppArmor.
    #[schemars(extend("examples" = ["my-profile"]))]
    pub apparmor: Option<String>,
    /// The SELinux label of its processes. Default: none of its own.
    #[schemars(extend("examples" = ["system_u:system_r:container_t:s0"]))]
    pub selinux: Option<String>,
    /// Paths of /proc and /sys that are neither hidden nor read-only, with what is below them.
    #[schemars(extend("examples" = [["/proc/kcore"]]))]
    pub unmask: Option<Vec<String>>,
    /// Whether a user of id 0 is an error.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub run_as_non_root: Option<bool>,
}

/// Capabilities beside and without the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Capabilities to add, or `ALL`. A `user` other than root has these, and no others.
    #[schemars(with = "Option<Vec<words::Capability>>")]
    #[schemars(extend("examples" = [["NET_ADMIN", "SYS_PTRACE"]]))]
    pub add: Option<Vec<String>>,
    /// Capabilities to drop, or `ALL`.
    #[schemars(with = "Option<Vec<words::Capability>>")]
    #[schemars(extend("examples" = [["ALL"]]))]
    pub drop: Option<Vec<String>>,
}

/// Namespaces of one container that are not the pod's: `private`, `host` or `ns:/path`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Namespaces {
    /// Its network. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub net: Option<String>,
    /// Its host name. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub uts: Option<String>,
    /// Its System V IPC, message queues and /dev/shm. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub ipc: Option<String>,
    /// Its processes. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub pid: Option<String>,
    /// Its users. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub user: Option<String>,
    /// Its cgroup root. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub cgroup: Option<String>,
    /// Its clocks. Default: the pod's.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub time: Option<String>,
}

/// Namespaces of the pod's containers that none of them shares by itself: `private` (each has its own), `host` or
/// `ns:/path`. A kind that is here is not in the default `share`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodNamespaces {
    /// Their host names. Default: as `share` has it.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub uts: Option<String>,
    /// Their System V IPC, message queues and /dev/shm. Default: as `share` has it.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub ipc: Option<String>,
    /// Their processes. Default: as `share` has it.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub pid: Option<String>,
    /// Their users. Default: as `share` has it.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub user: Option<String>,
    /// Their cgroup roots. Default: as `share` has it.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub cgroup: Option<String>,
    /// Their clocks. Default: as `share` has it.
    #[schemars(with = "Option<words::Scope>")]
    #[schemars(extend("examples" = ["private", "host"]))]
    pub time: Option<String>,
}

/// Bounds of a container's log on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Logs {
    /// Bytes of one file.
    #[schemars(extend("default" = "10Mi", "examples" = ["50Mi"]))]
    pub max_size: Option<Size>,
    /// How many files; the oldest is dropped.
    #[schemars(range(min = 1, max = 1000))]
    #[schemars(extend("default" = 5, "examples" = [3]))]
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
