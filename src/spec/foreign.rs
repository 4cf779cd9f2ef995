//! What compose, Kubernetes and podman call things, in the words of the pod file: keys, values, and whole
//! files of theirs. Whoever comes from there is told what to type here.

use super::place::Thing;
use super::problem::Problem;
use super::tree::{Kind, Node};

const COMPOSE: &str = "compose";
const KUBERNETES: &str = "Kubernetes";

/// What a foreign key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The same as this key; whose word it is.
    Named(&'static str, &'static str),
    /// Said otherwise, or not at all: which key it stands for, and what to do.
    Said(&'static str, &'static str),
}

use Meaning::{Named, Said};

type Words = &'static [(&'static str, Meaning)];

const CLUSTER: Meaning = Said("", "remove it: podspec runs on this machine, and schedules nothing");

const POD: Words = &[
    ("services", Named("containers", COMPOSE)),
    (
        "networks",
        Said(
            "network",
            "remove it: the containers of a pod share one network, and meet on 127.0.0.1",
        ),
    ),
    (
        "configs",
        Said("volumes", "write `volumes: { NAME: { files: { app.conf: TEXT } } }`, and mount NAME"),
    ),
    ("version", Said("", "remove it: a pod file has no version")),
    (
        "include",
        Said(
            "",
            "remove it: a pod is one file; several pods of a file stand between lines of `---`",
        ),
    ),
    ("pod", Said("containers", "write what is in it at the top: each document is a pod")),
    ("apiVersion", Said("", "remove it: a pod file has neither version nor kind")),
    ("kind", Said("", "remove it: a pod file has neither version nor kind")),
    ("metadata", Said("name", "write `name` and `labels` at the top")),
    (
        "spec",
        Said(
            "containers",
            "write what is in it at the top; `containers` is a map from name to container",
        ),
    ),
    ("annotations", Named("labels", KUBERNETES)),
    ("restartPolicy", Named("restart", KUBERNETES)),
    ("hostNetwork", Said("network", "write `network: host`")),
    ("network_mode", Named("network", COMPOSE)),
    ("hostPID", Said("namespaces", "write `namespaces: { pid: host }`")),
    ("hostIPC", Said("namespaces", "write `namespaces: { ipc: host }`")),
    ("hostUsers", Said("", "write `share: [+user]` for `hostUsers: false`")),
    ("shareProcessNamespace", Said("share", "write `share: [+pid]`")),
    ("terminationGracePeriodSeconds", Said("", "write `stopTimeout: 10s` in each container")),
    ("securityContext", Said("", "write `security` and `user` in each container")),
    ("hostAliases", Said("hosts", "write `hosts: { NAME: ADDRESS }`")),
    ("extra_hosts", Said("hosts", "write `hosts: { NAME: ADDRESS }`")),
    ("dnsConfig", Named("dns", KUBERNETES)),
    (
        "dnsPolicy",
        Said("dns", "write `dns: { servers: [ADDRESS] }`, or remove it for this machine's own"),
    ),
    ("imagePullSecrets", Said("", "remove it: podspec knows the logins of podman and docker")),
    ("serviceAccountName", CLUSTER),
    ("serviceAccount", CLUSTER),
    ("automountServiceAccountToken", CLUSTER),
    ("nodeSelector", CLUSTER),
    ("nodeName", CLUSTER),
    ("affinity", CLUSTER),
    ("tolerations", CLUSTER),
    ("schedulerName", CLUSTER),
    ("priorityClassName", CLUSTER),
    ("topologySpreadConstraints", CLUSTER),
    ("replicas", CLUSTER),
    ("selector", CLUSTER),
    ("template", CLUSTER),
];

const CONTAINER: Words = &[
    ("environment", Named("env", COMPOSE)),
    ("env_file", Named("envFile", COMPOSE)),
    ("depends_on", Named("dependsOn", COMPOSE)),
    ("working_dir", Named("workingDir", COMPOSE)),
    ("stop_signal", Named("stopSignal", COMPOSE)),
    ("stop_grace_period", Named("stopTimeout", COMPOSE)),
    ("stdin_open", Named("stdin", COMPOSE)),
    ("pull_policy", Named("pullPolicy", COMPOSE)),
    ("group_add", Named("groups", COMPOSE)),
    ("oom_score_adj", Named("oomScoreAdj", COMPOSE)),
    ("restartPolicy", Named("restart", KUBERNETES)),
    ("volumeMounts", Named("volumes", KUBERNETES)),
    ("securityContext", Named("security", KUBERNETES)),
    ("imagePullPolicy", Named("pullPolicy", KUBERNETES)),
    ("terminationGracePeriodSeconds", Named("stopTimeout", KUBERNETES)),
    ("name", Said("", "remove it: a container's name is its key under `containers`")),
    ("container_name", Said("", "remove it: a container's name is its key under `containers`")),
    (
        "entrypoint",
        Said(
            "command",
            "write `command`, which replaces the image's entrypoint; `args` replaces its command",
        ),
    ),
    (
        "healthcheck",
        Said(
            "readinessProbe",
            "write `readinessProbe: { exec: [PROGRAM], interval: 10s }`, or ask it by `tcp: PORT` or `http: { port: PORT }`",
        ),
    ),
    (
        "build",
        Said(
            "image",
            "remove it: podspec builds no images; build it with podman or docker, and name it by `image`",
        ),
    ),
    (
        "expose",
        Said(
            "",
            "remove it: the containers of a pod reach each other's ports; `ports` publishes them",
        ),
    ),
    (
        "networks",
        Said("", "remove it: the containers of a pod share one network, and meet on 127.0.0.1"),
    ),
    ("links", Said("", "remove it: the containers of a pod know each other by name")),
    (
        "network_mode",
        Said(
            "",
            "write `network: host` at the top for the pod, or `namespaces: { net: host }` here",
        ),
    ),
    (
        "hostNetwork",
        Said(
            "",
            "write `network: host` at the top for the pod, or `namespaces: { net: host }` here",
        ),
    ),
    ("pid", Said("", "write `namespaces: { pid: host }`, or `share: [+pid]` at the top")),
    (
        "ipc",
        Said("", "write `namespaces: { ipc: host }`; the containers of a pod share `ipc` already"),
    ),
    ("uts", Said("", "write `namespaces: { uts: host }`")),
    ("userns_mode", Said("", "write `namespaces: { user: host }`, or `share: [+user]` at the top")),
    ("cgroup", Said("", "write `namespaces: { cgroup: host }`")),
    ("tmpfs", Said("", "write `volumes: [{ type: tmpfs, target: /tmp }]`")),
    (
        "configs",
        Said(
            "",
            "write `volumes: { NAME: { files: { app.conf: TEXT } } }` at the top, and mount NAME here",
        ),
    ),
    ("shm_size", Said("", "write `shmSize: 64Mi` at the top: the containers share /dev/shm")),
    ("extra_hosts", Said("", "write `hosts: { NAME: ADDRESS }` at the top")),
    ("dns_search", Said("", "write `dns: { search: [DOMAIN] }` at the top")),
    ("dns_opt", Said("", "write `dns: { options: [OPTION] }` at the top")),
    ("domainname", Said("", "write the domain into `hostname`, which may have dots, at the top")),
    ("logging", Said("logs", "write `logs: { maxSize: 10Mi, maxFiles: 5 }`")),
    ("annotations", Said("", "write `labels` at the top: they are the pod's")),
    ("envFrom", Said("envFile", "write `envFile: ./web.env`, a file of KEY=VALUE lines")),
    ("volumeDevices", Said("devices", "write `devices: [/dev/NAME]`")),
    ("profiles", Said("", "remove it: `up` starts every container of the file")),
    ("scale", Said("", "remove it: a container is one; write a second under a name of its own")),
    ("replicas", Said("", "remove it: a container is one; write a second under a name of its own")),
    ("platform", Said("", "remove it: an image is for this machine's own platform")),
    ("extends", Said("", "write `x-base: &base { … }` at the top, and `<<: *base` here")),
    (
        "deploy",
        Said(
            "resources",
            "write `resources: { memory: 256Mi, cpus: 0.5 }`; what else it has is for a cluster",
        ),
    ),
    ("develop", Said("", "remove it: podspec builds and watches nothing")),
    ("mem_limit", Said("resources", "write `resources: { memory: 256Mi }`")),
    ("memory", Said("resources", "write `resources: { memory: 256Mi }`")),
    ("memswap_limit", Said("resources", "write `resources: { memorySwap: 512Mi }`")),
    ("memorySwap", Said("resources", "write `resources: { memorySwap: 512Mi }`")),
    (
        "mem_reservation",
        Said("", "remove it: podspec reserves nothing; `resources: { memory: 256Mi }` is a limit"),
    ),
    ("cpus", Said("resources", "write `resources: { cpus: 0.5 }`")),
    ("cpu_shares", Said("resources", "write `resources: { cpuWeight: 100 }`, from 1 to 10000")),
    ("cpuWeight", Said("resources", "write `resources: { cpuWeight: 100 }`, from 1 to 10000")),
    ("cpuset", Said("resources", "write `resources: { cpuset: \"0-1\" }`")),
    ("pids_limit", Said("resources", "write `resources: { pids: 200 }`")),
    ("pids", Said("resources", "write `resources: { pids: 200 }`")),
    ("blkio_config", Said("resources", "write `resources: { io: { weight: 100 } }`")),
    ("io", Said("resources", "write `resources: { io: { weight: 100 } }`")),
    ("limits", Said("resources", "write `resources: { memory: 256Mi, cpus: 0.5 }`")),
    ("privileged", Said("security", "write `security: { privileged: true }`")),
    ("capabilities", Said("security", "write `security: { capabilities: { add: [NET_ADMIN] } }`")),
    ("readOnlyRootfs", Said("security", "write `security: { readOnlyRootfs: true }`")),
    ("noNewPrivileges", Said("security", "write `security: { noNewPrivileges: true }`")),
    ("seccomp", Said("security", "write `security: { seccomp: ./profile.json }`")),
    ("apparmor", Said("security", "write `security: { apparmor: PROFILE }`")),
    ("selinux", Said("security", "write `security: { selinux: LABEL }`")),
    ("unmask", Said("security", "write `security: { unmask: [/proc/kcore] }`")),
    ("runAsNonRoot", Said("security", "write `security: { runAsNonRoot: true }`")),
    ("cap_add", Said("security", "write `security: { capabilities: { add: [NET_ADMIN] } }`")),
    ("cap_drop", Said("security", "write `security: { capabilities: { drop: [ALL] } }`")),
    ("read_only", Said("security", "write `security: { readOnlyRootfs: true }`")),
    (
        "security_opt",
        Said("security", "write `security: { seccomp: ./profile.json, apparmor: PROFILE }`"),
    ),
    ("terminationMessagePath", Said("", "remove it: `podspec logs` shows a program's last words")),
    (
        "terminationMessagePolicy",
        Said("", "remove it: `podspec logs` shows a program's last words"),
    ),
    ("resizePolicy", CLUSTER),
];

const PORT: Words = &[
    ("containerPort", Named("container", KUBERNETES)),
    ("hostPort", Named("host", KUBERNETES)),
    ("hostIP", Named("address", KUBERNETES)),
    ("target", Named("container", COMPOSE)),
    ("published", Named("host", COMPOSE)),
    ("host_ip", Named("address", COMPOSE)),
    ("app_protocol", Said("", "remove it: `protocol` is tcp or udp")),
    ("mode", CLUSTER),
];

const MOUNT: Words = &[
    ("name", Named("source", KUBERNETES)),
    ("mountPath", Named("target", KUBERNETES)),
    ("mountPropagation", Named("propagation", KUBERNETES)),
    ("read_only", Named("readOnly", COMPOSE)),
    ("src", Named("source", "podman")),
    ("dst", Named("target", "podman")),
    ("destination", Named("target", "podman")),
    ("ro", Said("readOnly", "write `readOnly: true`")),
    ("bind", Said("", "remove it; write its `propagation` beside `source` and `target`")),
    ("tmpfs", Said("", "remove it; write its `size` beside `type: tmpfs`")),
    ("volume", Said("", "remove it; write its `subpath` as `subPath` beside `source`")),
    ("consistency", Said("", "remove it: what is written is there at once")),
];

const VOLUME: Words = &[
    ("hostPath", Said("host", "write `host: /path`")),
    ("path", Named("host", KUBERNETES)),
    ("configMap", Said("files", "write `files: { app.conf: TEXT }`")),
    (
        "secret",
        Said(
            "files",
            "write it under `secrets` at the top, and name it in the container's `secrets`",
        ),
    ),
    (
        "persistentVolumeClaim",
        Said("", "write `{}`: podspec makes a directory that stays until `down --volumes`"),
    ),
    (
        "driver",
        Said("", "remove it: a volume is a directory that podspec makes, or `host: ./path`"),
    ),
    (
        "driver_opts",
        Said("", "remove it: a volume is a directory that podspec makes, or `host: ./path`"),
    ),
    ("external", Said("", "remove it: a volume is the pod's own, and is made where it is missing")),
];

const SECRET: Words = &[
    ("source", Named("name", COMPOSE)),
    ("uid", Said("", "remove it: the file belongs to the container's `user`")),
    ("gid", Said("", "remove it: the file belongs to the container's `user`")),
];

const PROBE: Words = &[
    ("httpGet", Named("http", KUBERNETES)),
    ("tcpSocket", Said("tcp", "write `tcp: 8080`, the port alone")),
    ("grpc", Said("tcp", "write `tcp: 8080`: podspec asks whether the port accepts connections")),
    ("initialDelaySeconds", Named("initialDelay", KUBERNETES)),
    ("periodSeconds", Named("interval", KUBERNETES)),
    ("timeoutSeconds", Named("timeout", KUBERNETES)),
    ("start_period", Named("initialDelay", COMPOSE)),
    ("retries", Named("failureThreshold", COMPOSE)),
    (
        "test",
        Said(
            "exec",
            "write `exec: [PROGRAM, ARGUMENT]`, without CMD; a shell's line is `exec: [/bin/sh, -c, LINE]`",
        ),
    ),
    ("command", Said("exec", "write `exec: [PROGRAM, ARGUMENT]`")),
    ("cmd", Said("exec", "write `exec: [PROGRAM, ARGUMENT]`")),
];

const REQUEST: Words = &[
    ("httpHeaders", Said("headers", "write `headers: { Host: shop.example }`")),
    (
        "host",
        Said(
            "",
            "remove it: the container itself is asked; another `Host` is one of the `headers`",
        ),
    ),
];

const RESOURCES: Words = &[
    (
        "limits",
        Said("memory", "write what is in it right here, such as `memory: 256Mi` and `cpus: 0.5`"),
    ),
    ("requests", Said("", "remove it: podspec reserves nothing")),
    ("reservations", Said("", "remove it: podspec reserves nothing")),
    ("cpu", Named("cpus", KUBERNETES)),
];

const SECURITY: Words = &[
    (
        "allowPrivilegeEscalation",
        Said(
            "noNewPrivileges",
            "write `noNewPrivileges: true` for `allowPrivilegeEscalation: false`, which is the default",
        ),
    ),
    ("readOnlyRootFilesystem", Named("readOnlyRootfs", KUBERNETES)),
    ("runAsUser", Said("", "write `user: 1000` in the container, beside `security`")),
    ("runAsGroup", Said("", "write `user: 1000:1000` in the container, beside `security`")),
    ("fsGroup", Said("", "write `groups: [1000]` in the container, beside `security`")),
    ("supplementalGroups", Said("", "write `groups: [1000]` in the container, beside `security`")),
    (
        "seccompProfile",
        Said("seccomp", "write `seccomp: default`, `unconfined` or the path of a profile"),
    ),
    ("appArmorProfile", Said("apparmor", "write `apparmor: PROFILE`")),
    ("seLinuxOptions", Said("selinux", "write `selinux: USER:ROLE:TYPE:LEVEL`")),
    ("procMount", Said("unmask", "write `unmask: [/proc/NAME]`")),
    ("add", Said("capabilities", "write `capabilities: { add: [NET_ADMIN] }`")),
    ("cap_add", Said("capabilities", "write `capabilities: { add: [NET_ADMIN] }`")),
    ("drop", Said("capabilities", "write `capabilities: { drop: [ALL] }`")),
    ("cap_drop", Said("capabilities", "write `capabilities: { drop: [ALL] }`")),
];

const DEPENDENCY: Words =
    &[("required", Said("", "remove it: what is waited for is always needed"))];

const OWN_ADDRESS: Meaning =
    Said("", "remove it: a pod's addresses are podspec's choice; `podspec inspect` shows them");
const ONE_NETWORK: Meaning =
    Said("", "remove it: there is one network of podspec's, and every pod with a bridge is in it");

const NETWORK: Words = &[
    ("ipv4", OWN_ADDRESS),
    ("ipv6", OWN_ADDRESS),
    ("mac", OWN_ADDRESS),
    ("ipv4_address", OWN_ADDRESS),
    ("ipv6_address", OWN_ADDRESS),
    ("mac_address", OWN_ADDRESS),
    ("ipam", OWN_ADDRESS),
    ("name", ONE_NETWORK),
    ("external", ONE_NETWORK),
    ("driver", Named("mode", COMPOSE)),
    ("aliases", Said("", "remove it: a pod has no names but its own; `hosts` names others for it")),
];

const DNS: Words =
    &[("nameservers", Named("servers", KUBERNETES)), ("searches", Named("search", KUBERNETES))];

/// What another language's key of such a thing means here.
pub(super) fn key(word: &str, thing: Thing) -> Option<Meaning> {
    let words = match thing {
        Thing::Pod => POD,
        Thing::Container => CONTAINER,
        Thing::Port => PORT,
        Thing::Mount => MOUNT,
        Thing::Volume => VOLUME,
        Thing::SecretMount => SECRET,
        Thing::Dependency => DEPENDENCY,
        Thing::Probe => PROBE,
        Thing::Request => REQUEST,
        Thing::Resources => RESOURCES,
        Thing::Security => SECURITY,
        Thing::Dns => DNS,
        Thing::Network => NETWORK,
        Thing::PodNamespaces | Thing::Other => return None,
    };
    words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

/// What another language's value of this key is called here.
pub(super) fn value(key: &str, word: &str) -> Option<&'static str> {
    Some(match (key, word) {
        ("pullPolicy", "IfNotPresent" | "if_not_present") => "missing",
        ("restart", "OnFailure" | "on_failure") => "on-failure",
        ("restart", "unless_stopped" | "UnlessStopped") => "unless-stopped",
        ("restart", "Always") => "always",
        ("restart", "Never" | "never" | "none" | "false") => "no",
        ("propagation", "HostToContainer" | "slave") => "rslave",
        ("propagation", "Bidirectional" | "shared") => "rshared",
        ("propagation", "None" | "rprivate") => "private",
        // Of `dependsOn`; the other key is the name of a container.
        (_, "service_healthy" | "healthy") => "ready",
        (_, "service_started") => "started",
        (_, "service_completed_successfully") => "completed",
        _ => return None,
    })
}

/// What a value would be that is no mistake but of a later version, where there is no such thing yet.
pub(super) fn later(key: &str, word: &str) -> Option<(&'static str, &'static str)> {
    Some(match (key, word) {
        ("protocol", "sctp") => {
            ("publishing an sctp port", "write `tcp` or `udp`, or remove this port")
        }
        _ => return None,
    })
}

/// Keys that a compose file has at its top.
const OF_COMPOSE: [&str; 8] =
    ["version", "name", "services", "networks", "volumes", "configs", "secrets", "include"];

/// A document of another language is told by its name, and not key by key.
pub(super) fn document(root: &Node) -> Option<Problem> {
    let Kind::Map(map) = &root.kind else { return None };
    if let (Some(_), Some(kind)) = (map.get("apiVersion"), map.get("kind")) {
        let word = kind.value.text().unwrap_or("…");
        let message = format!("this is a Kubernetes manifest of kind `{word}`, not a pod file");
        let problem = Problem::error("P0113", message, kind.key.clone(), "no key of a pod file");
        return Some(problem.help(
            "write `name` and `labels` of its `metadata` at the top, and `containers` as a map, each \
             under its name; `podspec init` begins a file, `podspec explain P0113` has the other words",
        ));
    }
    let services = map.get("services").filter(|entry| matches!(entry.value.kind, Kind::Map(_)))?;
    if !map.keys().all(|key| OF_COMPOSE.contains(&key.as_str()) || key.starts_with("x-")) {
        return None;
    }
    let message = "this is a compose file, not a pod file";
    let problem = Problem::error("P0113", message, services.key.clone(), "`containers` here");
    Some(problem.help(
        "write `containers` for `services`, and in each `env` for `environment` and `dependsOn` for \
         `depends_on`; `podspec init` begins a file, `podspec explain P0113` has the other words",
    ))
}

/// A text that is a file of another tool, and no YAML.
pub(super) fn text(text: &str) -> Option<Problem> {
    let text = text.trim_start_matches('\u{feff}');
    let is_said = |line: &str| !line.trim().is_empty() && !line.starts_with(['#', ';']);
    let line = text.lines().find(|line| is_said(line))?.trim_end();
    let begin = text.find(line)?;
    let place = begin..begin + line.len();
    let (message, help) = match line {
        "[Container]" | "[Pod]" | "[Kube]" | "[Unit]" | "[Service]" | "[Install]" => (
            "this is a unit of systemd, not a pod file",
            "write `containers: { NAME: { image: IMAGE } }`; `podspec init` begins a file",
        ),
        _ if line.starts_with("FROM ") => (
            "this is a Containerfile, not a pod file",
            "build the image with podman or docker, and name it: `containers: { web: { image: NAME } }`",
        ),
        _ => return None,
    };
    Some(Problem::error("P0113", message, place, "begins here").help(help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::schema;
    use serde_json::Value;

    /// The keys that the schema has for each thing.
    fn known(thing: Thing) -> Vec<String> {
        let rules = schema::rules();
        let place = match thing {
            Thing::Pod => "/properties",
            Thing::Container => "/definitions/Container/properties",
            Thing::Port => "/definitions/Port/properties",
            Thing::Mount => "/definitions/VolumeMount/properties",
            Thing::Volume => "/definitions/Volume/properties",
            Thing::SecretMount => "/definitions/SecretMount/properties",
            Thing::Dependency => "/definitions/Dependency/properties",
            Thing::Probe => "/definitions/Probe/properties",
            Thing::Request => "/definitions/HttpProbe/properties",
            Thing::Resources => "/definitions/Resources/properties",
            Thing::Security => "/definitions/Security/properties",
            Thing::Dns => "/definitions/Dns/properties",
            Thing::Network => "/definitions/Network/properties",
            Thing::PodNamespaces | Thing::Other => return Vec::new(),
        };
        let keys = rules.pointer(place).and_then(Value::as_object).unwrap().keys();
        keys.cloned().collect()
    }

    #[test]
    fn every_foreign_word_leads_to_one_of_ours() {
        for (thing, words) in [
            (Thing::Pod, POD),
            (Thing::Container, CONTAINER),
            (Thing::Port, PORT),
            (Thing::Mount, MOUNT),
            (Thing::Volume, VOLUME),
            (Thing::SecretMount, SECRET),
            (Thing::Dependency, DEPENDENCY),
            (Thing::Probe, PROBE),
            (Thing::Request, REQUEST),
            (Thing::Resources, RESOURCES),
            (Thing::Security, SECURITY),
            (Thing::Dns, DNS),
            (Thing::Network, NETWORK),
        ] {
            let known = known(thing);
            for (word, meaning) in words {
                assert!(!known.iter().any(|key| key == word), "`{word}` is a word of ours");
                let (Named(meant, _) | Said(meant, _)) = meaning;
                let is_ours = meant.is_empty() || known.iter().any(|key| key == meant);
                assert!(is_ours, "{thing:?}: `{word}` leads to `{meant}`");
            }
        }
    }

    #[test]
    fn only_a_file_of_another_is_taken_for_one() {
        let root = |text: &str| crate::spec::tree::parse(text).0.remove(0).root;
        assert!(document(&root("services: { a: {} }")).is_some());
        assert!(document(&root("apiVersion: v1\nkind: Pod")).is_some());
        // A pod file with a wrong word.
        assert!(document(&root("services: { a: {} }\nshare: [net]")).is_none());
        assert!(document(&root("kind: Pod\ncontainers: {}")).is_none());
        assert!(text("# a\n[Container]\nImage=a").is_some() && text("FROM a").is_some());
        assert!(text("containers:\n").is_none() && text("").is_none());
    }
}
