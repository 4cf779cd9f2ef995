//! A pod back into the words of a pod file: what was understood, defaults and all. It loads to the same
//! `PodSpec` again, on any machine and in any directory: variables are replaced, paths are absolute.

use super::model::*;
use super::quantity;
use super::signal;
use crate::names::{ContainerName, SecretName};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

/// The pod as a document of a pod file.
pub fn document(spec: &PodSpec) -> Value {
    // Without `..`: a new field must find its place here.
    let PodSpec {
        name,
        labels,
        hostname,
        share,
        network,
        mtu,
        userns,
        time,
        dns,
        hosts,
        ports,
        auto_ports,
        sysctls,
        shm_size,
        resources: limits,
        volumes,
        secrets,
        containers,
        exit_policy,
        stop_timeout,
    } = spec;
    let mut pod = Map::new();
    pod.insert("name".to_owned(), json!(name));
    put(&mut pod, "labels", texts(labels));
    if share.contains(&Shared::Uts) {
        pod.insert("hostname".to_owned(), text(hostname));
    }
    pod.insert("share".to_owned(), if share.is_empty() { json!("none") } else { json!(share) });
    pod.insert("network".to_owned(), network_words(network, *mtu));
    if share.contains(&Shared::User) {
        pod.insert("userns".to_owned(), userns_words(userns));
    }
    if !time.is_none() {
        let TimeOffsets { boottime, monotonic } = time;
        let words = json!({ "boottime": offset(*boottime), "monotonic": offset(*monotonic) });
        pod.insert("time".to_owned(), words);
    }
    put(&mut pod, "dns", dns_words(dns));
    put(&mut pod, "hosts", json!(hosts));
    let list = ports.iter().map(port).collect();
    put(&mut pod, "ports", if *auto_ports { json!("auto") } else { list });
    put(&mut pod, "sysctls", texts(sysctls));
    if share.contains(&Shared::Ipc) {
        pod.insert("shmSize".to_owned(), size(*shm_size));
    }
    put(&mut pod, "resources", resources(limits));
    let named = volumes.iter().map(|(name, of)| (name.to_string(), volume(of)));
    put(&mut pod, "volumes", Value::Object(named.collect()));
    put(&mut pod, "secrets", secrets.iter().map(secret).collect());
    let list = |of_main| {
        let list = containers.iter().filter(|(_, of)| (of.role == Role::Main) == of_main);
        Value::Object(list.map(|(name, of)| (name.to_string(), container(spec, of))).collect())
    };
    put(&mut pod, "initContainers", list(false));
    pod.insert("containers".to_owned(), list(true));
    pod.insert("exitPolicy".to_owned(), json!(exit_policy));
    put(&mut pod, "stopTimeout", json!(stop_timeout.map(span)));
    Value::Object(pod)
}

fn network_words(network: &NetworkMode, mtu: Option<u32>) -> Value {
    let mode = match network {
        NetworkMode::At(at) => ns_word(at),
        word => json!(word),
    };
    mtu.map_or(mode.clone(), |mtu| json!({ "mode": mode, "mtu": mtu }))
}

/// What is empty is left out.
fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    let empty = match &value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        value => value.is_null(),
    };
    if !empty {
        map.insert(key.to_owned(), value);
    }
}

/// Beside `ports: auto` there is no list of the pod for those of containers that joined it: the first has them.
fn ports_of<'s>(spec: &'s PodSpec, container: &'s Container) -> impl Iterator<Item = &'s Port> {
    let first = spec.containers.values().find(|of| spec.shares(of, Shared::Net));
    let has_them = spec.auto_ports && first.is_some_and(|first| std::ptr::eq(first, container));
    container.ports.iter().chain(spec.ports.iter().filter(move |_| has_them))
}

fn container(spec: &PodSpec, container: &Container) -> Value {
    let Container {
        // Said by the list that it is in, and by its `restart`.
        role: _,
        root,
        argv,
        working_dir,
        user,
        groups,
        tty,
        init,
        stdin,
        runtime,
        env,
        mounts,
        secrets,
        devices,
        ulimits,
        oom_score_adj,
        resources: bounds,
        hostname,
        ports: _,
        depends_on,
        restart,
        backoff,
        stop_signal,
        stop_timeout,
        namespaces,
        logs,
        probes,
        lifecycle,
        security,
    } = container;
    let mut map = Map::new();
    let image = root_words(&mut map, root, argv);
    // What the file leaves to the image stays the image's.
    if image.is_none_or(|image| image.working_dir) {
        map.insert("workingDir".to_owned(), path(working_dir));
    }
    if image.is_none_or(|image| image.user) {
        map.insert("user".to_owned(), user_word(user));
    }
    put(&mut map, "groups", groups.iter().map(|group| text(&name_or_id(group))).collect());
    manner(&mut map, [("tty", *tty), ("init", *init), ("stdin", *stdin)], runtime.as_ref());
    put(&mut map, "env", texts(env));
    put(&mut map, "volumes", mounts.iter().map(mount).collect());
    put(&mut map, "secrets", secrets.iter().map(secret_mount).collect());
    put(&mut map, "devices", devices.iter().map(device).collect());
    bound(&mut map, ulimits, *oom_score_adj, bounds);
    let own_name = (!spec.shares(container, Shared::Uts)).then(|| text(hostname));
    put(&mut map, "hostname", json!(own_name));
    put(&mut map, "ports", ports_of(spec, container).map(port).collect());
    put(&mut map, "dependsOn", dependencies(depends_on));
    map.insert("restart".to_owned(), restart_rule(*restart, *backoff));
    if image.is_none_or(|image| image.stop_signal) {
        map.insert("stopSignal".to_owned(), json!(signal::name(stop_signal.0)));
    }
    map.insert("stopTimeout".to_owned(), json!(span(*stop_timeout)));
    put(&mut map, "namespaces", scopes(namespaces));
    map.insert("logs".to_owned(), kept(*logs));
    health(probes, lifecycle, &mut map);
    put(&mut map, "security", rights(security));
    Value::Object(map)
}

/// How its program is run, and by what.
fn manner(map: &mut Map<String, Value>, switches: [(&str, bool); 3], runtime: Option<&Runtime>) {
    map.extend(switches.map(|(key, is_on)| (key.to_owned(), json!(is_on))));
    put(map, "runtime", json!(runtime.map(ToString::to_string)));
}

/// What its processes may use, and who goes first where there is not enough.
fn bound(
    map: &mut Map<String, Value>,
    ulimits: &IndexMap<Rlimit, Ulimit>,
    oom_score_adj: Option<i32>,
    bounds: &Resources,
) {
    put(map, "ulimits", rlimits(ulimits));
    put(map, "oomScoreAdj", json!(oom_score_adj));
    put(map, "resources", resources(bounds));
}

fn rlimits(ulimits: &IndexMap<Rlimit, Ulimit>) -> Value {
    let limits = ulimits.iter().map(|(kind, limit)| (kind.to_string(), json!(limit)));
    Value::Object(limits.collect())
}

fn kept(logs: Logs) -> Value {
    json!({ "maxSize": size(logs.max_size), "maxFiles": logs.max_files })
}

/// Nothing where it is as it is by default.
fn rights(security: &Security) -> Value {
    let Security {
        privileged,
        add,
        drop,
        no_new_privileges,
        read_only_rootfs,
        seccomp,
        apparmor,
        selinux,
        unmask,
        run_as_non_root,
    } = security;
    if *security == Security::default() {
        return Value::Null;
    }
    let word = |word: &Option<String>| word.as_ref().map_or(Value::Null, |word| text(word));
    let mut lists = Map::new();
    put(&mut lists, "add", json!(add));
    put(&mut lists, "drop", json!(drop));
    let mut map = Map::new();
    map.insert("privileged".to_owned(), json!(privileged));
    put(&mut map, "capabilities", Value::Object(lists));
    map.insert("noNewPrivileges".to_owned(), json!(no_new_privileges));
    map.insert("readOnlyRootfs".to_owned(), json!(read_only_rootfs));
    let seccomp = match seccomp {
        Seccomp::Default => json!("default"),
        Seccomp::Unconfined => json!("unconfined"),
        Seccomp::Profile { path: at, .. } => path(at),
    };
    map.insert("seccomp".to_owned(), seccomp);
    put(&mut map, "apparmor", word(apparmor));
    put(&mut map, "selinux", word(selinux));
    put(&mut map, "unmask", unmask.iter().map(|path| text(path)).collect());
    map.insert("runAsNonRoot".to_owned(), json!(run_as_non_root));
    Value::Object(map)
}

fn health(probes: &Probes, lifecycle: &Lifecycle, map: &mut Map<String, Value>) {
    let Probes { startup, readiness, liveness } = probes;
    for (key, of) in
        [("startupProbe", startup), ("readinessProbe", readiness), ("livenessProbe", liveness)]
    {
        put(map, key, of.as_ref().map_or(Value::Null, probe));
    }
    let Lifecycle { post_start, pre_stop } = lifecycle;
    let hook = |hook: &Option<Check>| hook.as_ref().map_or(Value::Null, |of| check(of).into());
    let mut hooks = Map::new();
    put(&mut hooks, "postStart", hook(post_start));
    put(&mut hooks, "preStop", hook(pre_stop));
    put(map, "lifecycle", Value::Object(hooks));
}

fn dependencies(of: &IndexMap<ContainerName, Dependency>) -> Value {
    Value::Object(of.iter().map(|(name, it)| (name.to_string(), dependency(*it))).collect())
}

fn dependency(dependency: Dependency) -> Value {
    match dependency {
        Dependency { condition, restart: false } => json!(condition),
        Dependency { condition, restart } => json!({ "condition": condition, "restart": restart }),
    }
}

fn probe(probe: &Probe) -> Value {
    let Probe { check: of, initial_delay, interval, timeout, successes, failures } = probe;
    let mut map = check(of);
    map.insert("initialDelay".to_owned(), json!(span(*initial_delay)));
    map.insert("interval".to_owned(), json!(span(*interval)));
    map.insert("timeout".to_owned(), json!(span(*timeout)));
    map.insert("successThreshold".to_owned(), json!(successes));
    map.insert("failureThreshold".to_owned(), json!(failures));
    Value::Object(map)
}

/// A probe without its times, or a hook.
fn check(check: &Check) -> Map<String, Value> {
    let (key, value) = match check {
        Check::Exec(argv) => ("exec", argv.iter().map(|word| text(word)).collect()),
        Check::Http(Request { port, path, tls, headers, status }) => {
            let mut map = Map::new();
            map.insert("port".to_owned(), json!(port));
            map.insert("path".to_owned(), text(path));
            map.insert("scheme".to_owned(), json!(if *tls { "https" } else { "http" }));
            put(&mut map, "headers", texts(headers));
            put(&mut map, "status", json!(status));
            ("http", Value::Object(map))
        }
        Check::Tcp(port) => ("tcp", json!(port)),
        Check::Log(pattern) => ("log", text(pattern)),
        Check::File(at) => ("file", path(at)),
        Check::Notify => ("notify", json!(true)),
    };
    Map::from_iter([(key.to_owned(), value)])
}

/// The root, and what runs in it.
fn root_words<'a>(
    map: &mut Map<String, Value>,
    root: &'a Root,
    argv: &[String],
) -> Option<&'a Image> {
    let list = |words: &[String]| words.iter().map(|word| text(word)).collect::<Value>();
    let place = match root {
        Root::Directory(at) => path(at),
        Root::Host => json!("host"),
        Root::Image(image) => {
            map.insert("image".to_owned(), text(&image.reference.to_string()));
            map.insert("pullPolicy".to_owned(), json!(image.pull));
            put(map, "command", list(image.command.as_deref().unwrap_or_default()));
            put(map, "args", list(image.args.as_deref().unwrap_or_default()));
            return Some(image);
        }
    };
    map.insert("rootfs".to_owned(), place);
    put(map, "command", list(argv));
    None
}

fn scopes(namespaces: &IndexMap<Shared, Scope>) -> Value {
    let word = |(kind, scope): (&Shared, &Scope)| (kind.word().to_owned(), scope_word(scope));
    Value::Object(namespaces.iter().map(word).collect())
}

fn scope_word(scope: &Scope) -> Value {
    match scope {
        Scope::Private => json!("private"),
        Scope::Host => json!("host"),
        Scope::At(at) => ns_word(at),
    }
}

fn ns_word(at: &Path) -> Value {
    text(&format!("ns:{}", at.to_string_lossy()))
}

fn userns_words(userns: &UserNs) -> Value {
    let words = |ranges: &[IdRange]| -> Vec<String> {
        let word = |range: &IdRange| {
            let IdRange { container, host, count } = range;
            format!("{container}:{host}:{count}")
        };
        ranges.iter().map(word).collect()
    };
    match userns {
        UserNs::Auto { size } => json!({ "size": size }),
        UserNs::Maps { uids, gids } => json!({ "uids": words(uids), "gids": words(gids) }),
    }
}

fn offset(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{sign}{}", span(Duration::from_nanos(nanos.unsigned_abs())))
}

/// A dollar that is meant as one.
fn text(word: &str) -> Value {
    Value::String(word.replace('$', "$$"))
}

fn path(path: &Path) -> Value {
    text(&path.to_string_lossy())
}

fn texts(map: &IndexMap<String, String>) -> Value {
    Value::Object(map.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn dns_words(dns: &Dns) -> Value {
    let Dns { servers, search, options } = dns;
    let mut map = Map::new();
    put(&mut map, "servers", json!(servers));
    put(&mut map, "search", search.iter().map(|word| text(word)).collect());
    put(&mut map, "options", options.iter().map(|word| text(word)).collect());
    Value::Object(map)
}

fn port(port: &Port) -> Value {
    let Port { address, host, container, count, protocol, name } = port;
    let end = |first: u16| match count {
        0 | 1 => json!(first),
        count => json!(format!("{first}-{}", u32::from(first) + u32::from(*count) - 1)),
    };
    let mut map = Map::new();
    map.insert("host".to_owned(), end(*host));
    map.insert("container".to_owned(), end(*container));
    put(&mut map, "address", json!(address));
    map.insert("protocol".to_owned(), json!(protocol));
    put(&mut map, "name", name.as_ref().map_or(Value::Null, |name| text(name)));
    Value::Object(map)
}

fn volume(volume: &Volume) -> Value {
    match volume {
        Volume::Persistent => json!({}),
        Volume::Tmpfs { size: bytes } => json!({ "tmpfs": size(*bytes) }),
        Volume::EmptyDir => json!({ "emptyDir": {} }),
        Volume::Files { files } => json!({ "files": texts(files) }),
        Volume::Host { path: at, create } => json!({ "host": path(at), "create": create }),
    }
}

fn secret((name, source): (&SecretName, &SecretSource)) -> (String, Value) {
    let words = match source {
        SecretSource::File(at) => json!({ "file": path(at) }),
        SecretSource::Env(variable) => json!({ "env": text(variable) }),
    };
    (name.to_string(), words)
}

fn secret_mount(mount: &SecretMount) -> Value {
    let SecretMount { name, target, mode } = mount;
    json!({ "name": name, "target": path(target), "mode": format!("{mode:04o}") })
}

fn mount(mount: &Mount) -> Value {
    let Mount { source, target, read_only, idmap, propagation } = mount;
    let mut map = Map::new();
    match source {
        MountSource::Volume { name, sub_path } => {
            map.insert("source".to_owned(), json!(name));
            map.insert("target".to_owned(), path(target));
            put(&mut map, "subPath", sub_path.as_ref().map_or(Value::Null, |sub| path(sub)));
        }
        MountSource::Path(at) => {
            map.insert("source".to_owned(), path(at));
            map.insert("target".to_owned(), path(target));
        }
        MountSource::Tmpfs { size: bytes } => {
            map.insert("type".to_owned(), json!("tmpfs"));
            map.insert("target".to_owned(), path(target));
            map.insert("size".to_owned(), size(*bytes));
        }
    }
    map.insert("readOnly".to_owned(), json!(read_only));
    if !idmap {
        map.insert("idmap".to_owned(), json!(false));
    }
    if *propagation != Propagation::Private {
        map.insert("propagation".to_owned(), json!(propagation));
    }
    Value::Object(map)
}

fn device(device: &Device) -> Value {
    let Device { path: at, target, access } = device;
    json!({ "path": path(at), "target": path(target), "access": access })
}

/// Null where there is no limit.
pub fn limits(of: &Resources) -> Value {
    match resources(of) {
        Value::Object(fields) if fields.is_empty() => Value::Null,
        fields => fields,
    }
}

fn resources(resources: &Resources) -> Value {
    let Resources { memory, memory_swap, cpus, cpu_weight, cpuset, pids, io } = resources;
    let mut map = Map::new();
    put(&mut map, "memory", json!(memory.map(size)));
    put(
        &mut map,
        "memorySwap",
        match memory_swap {
            None => Value::Null,
            Some(Swap::Unlimited) => json!(-1),
            Some(Swap::Most(bytes)) => size(*bytes),
        },
    );
    put(&mut map, "cpus", json!(cpus));
    put(&mut map, "cpuWeight", json!(cpu_weight));
    put(&mut map, "cpuset", json!(cpuset));
    put(&mut map, "pids", json!(pids));
    put(&mut map, "io", io.as_ref().map_or(Value::Null, disks));
    Value::Object(map)
}

fn disks(io: &Io) -> Value {
    let Io { weight, devices } = io;
    let of = |limits: &IoLimits| {
        let IoLimits { read_bps, write_bps, read_iops, write_iops } = limits;
        let mut map = Map::new();
        put(&mut map, "readBps", json!(read_bps.map(size)));
        put(&mut map, "writeBps", json!(write_bps.map(size)));
        put(&mut map, "readIops", json!(read_iops));
        put(&mut map, "writeIops", json!(write_iops));
        Value::Object(map)
    };
    let devices =
        devices.iter().map(|(at, limits)| (at.to_string_lossy().into_owned(), of(limits)));
    let mut map = Map::new();
    put(&mut map, "weight", json!(weight));
    put(&mut map, "devices", Value::Object(devices.collect()));
    Value::Object(map)
}

fn name_or_id(who: &NameOrId) -> String {
    match who {
        NameOrId::Id(id) => id.to_string(),
        NameOrId::Name(name) => name.clone(),
    }
}

fn user_word(user: &User) -> Value {
    let group = user.group.as_ref().map(|group| format!(":{}", name_or_id(group)));
    text(&format!("{}{}", name_or_id(&user.user), group.unwrap_or_default()))
}

/// In its short form where the waits are the usual ones.
fn restart_rule(restart: Restart, backoff: Backoff) -> Value {
    let policy = restart_word(restart);
    if backoff == Backoff::default() {
        return json!(policy);
    }
    let Backoff { initial, max, reset_after } = backoff;
    let waits =
        json!({ "initial": span(initial), "max": span(max), "resetAfter": span(reset_after) });
    json!({ "policy": policy, "backoff": waits })
}

fn restart_word(restart: Restart) -> String {
    match restart {
        Restart::No => "no".to_owned(),
        Restart::OnFailure { most: None } => "on-failure".to_owned(),
        Restart::OnFailure { most: Some(most) } => format!("on-failure:{most}"),
        Restart::Always => "always".to_owned(),
        Restart::UnlessStopped => "unless-stopped".to_owned(),
    }
}

/// A number where no unit divides it.
fn size(bytes: u64) -> Value {
    let word = quantity::written(bytes);
    if word.ends_with('i') { json!(word) } else { json!(bytes) }
}

/// `1m30s`, exact to the nanosecond.
fn span(span: Duration) -> String {
    let (seconds, nanos) = (span.as_secs(), span.subsec_nanos());
    let mut out = String::new();
    for (unit, count) in [("h", seconds / 3600), ("m", seconds / 60 % 60), ("s", seconds % 60)] {
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
        }
    }
    match nanos {
        0 if out.is_empty() => "0s".to_owned(),
        0 => out,
        nanos if nanos.is_multiple_of(1_000_000) => format!("{out}{}ms", nanos / 1_000_000),
        nanos => format!("{out}{}.{:06}ms", nanos / 1_000_000, nanos % 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact() {
        for nanos in
            [0, 1, 1_000_000, 1_500_000, 90_000_000_000, 3_600_000_000_000, 3_661_001_000_001]
        {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(quantity::duration(&span(duration)), Ok(duration), "{}", span(duration));
        }
        assert_eq!((size(64 << 20), size(4097)), (json!("64Mi"), json!(4097)));
    }
}
