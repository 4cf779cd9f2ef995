//! A bundle's `config.json`: read, judged, and made whole: paths that are relative to the bundle, capabilities that this
//! process or kernel does not have.

use super::{OciError, environment};
use crate::sandbox;
use oci_spec::runtime::{Capabilities, LinuxNamespaceType, Process, Spec};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A document with its bundle.
#[derive(Debug)]
pub struct Document {
    pub spec: Spec,
    /// As it was read, for later commands.
    pub text: Vec<u8>,
    /// Absolute.
    pub bundle: PathBuf,
    /// What is asked for and will not be so, and is no error by the spec.
    pub warnings: Vec<String>,
}

/// What podman asks crun for by `--group-add keep-groups`.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// No document is larger.
const LONGEST: u64 = 16 << 20;

/// Reads `config.json`, or another file, of a bundle.
pub fn load(bundle: &Path, config: Option<&Path>) -> Result<Document, OciError> {
    let bundle = std::fs::canonicalize(bundle)
        .map_err(|source| OciError::file("find the bundle", bundle, source))?;
    let path = bundle.join(config.unwrap_or(Path::new("config.json")));
    let text = read(&path)?;
    let mut warnings = Vec::new();
    let mut spec: Spec = parse(&path, &text, &mut warnings)?;
    judge(&path, &spec)?;
    let root = complete(&path, &mut spec, &bundle)?;
    let keeps_groups = spec.annotations().as_ref().is_some_and(|all| all.contains_key(KEEP_GROUPS));
    if let Some(process) = spec.process_mut() {
        environment::complete(process, &root);
        if keeps_groups {
            let groups = rustix::process::getgroups().unwrap_or_default();
            let groups = groups.into_iter().map(rustix::fs::Gid::as_raw).collect();
            process.user_mut().set_additional_gids(Some(groups));
        }
        grant(process, &mut warnings);
    }
    Ok(Document { spec, text, bundle, warnings })
}

/// A process by itself, as `exec --process` takes it.
pub fn process(path: &Path) -> Result<Process, OciError> {
    let mut warnings = Vec::new();
    let mut process: Process = parse(path, &read(path)?, &mut warnings)?;
    judge_process(path, &process)?;
    grant(&mut process, &mut warnings);
    Ok(process)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, OciError> {
    let failed = |source| OciError::file("read", path, source);
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > LONGEST {
        return Err(OciError::document(path, format!("is larger than {} MiB", LONGEST >> 20)));
    }
    std::fs::read(path).map_err(failed)
}

/// Names of capabilities that nobody here knows are no error (config.md): they are taken out.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &[u8],
    warnings: &mut Vec<String>,
) -> Result<T, OciError> {
    let failed = |source| OciError::Json { path: path.to_owned(), source };
    let first = match serde_json::from_slice(text) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else { return Err(failed(first)) };
    for place in ["/process", ""] {
        let process = value.pointer_mut(place).and_then(Value::as_object_mut);
        if let Some(process) = process.filter(|process| process.contains_key("args")) {
            // Root, as every runtime reads it.
            process.entry("user").or_insert_with(|| json!({ "uid": 0, "gid": 0 }));
        }
    }
    for place in ["/process/capabilities", "/capabilities"] {
        let sets = value.pointer_mut(place).and_then(Value::as_object_mut);
        for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
            if let Some(names) = set.as_array_mut() {
                names.retain(|name| {
                    let known = name.as_str().is_some_and(is_capability);
                    if !known {
                        warnings.push(format!("capability {name} is unknown, and left out"));
                    }
                    known
                });
            }
        }
    }
    serde_json::from_value(value).map_err(|_| failed(first))
}

/// All that are known, as documents name them.
pub fn capabilities() -> Vec<String> {
    let mut known: Vec<caps::Capability> = caps::all().into_iter().collect();
    known.sort_by_key(caps::Capability::index);
    known.iter().map(ToString::to_string).collect()
}

fn is_capability(name: &str) -> bool {
    name.to_ascii_uppercase().parse::<caps::Capability>().is_ok()
}

fn judge(path: &Path, spec: &Spec) -> Result<(), OciError> {
    let wrong = |message: String| Err(OciError::document(path, message));
    let version = spec.version();
    let major = version.split('.').next();
    if major != Some("1") || version.split('.').count() < 3 {
        return wrong(format!("ociVersion is `{version}`; 1.0.0 to {} are spoken", super::VERSION));
    }
    let Some(process) = spec.process() else {
        return wrong("`process` is missing: there would be nothing to start".to_owned());
    };
    judge_process(path, process)?;
    judge_hooks(path, spec)?;
    if spec.vm().is_some() {
        return wrong("`vm` asks for a virtual machine, which this runtime has none of".to_owned());
    }
    let offsets = spec.linux().as_ref().and_then(|linux| linux.time_offsets().as_ref());
    let clocks = ["monotonic", "boottime"];
    let mut named = offsets.into_iter().flat_map(HashMap::keys);
    if let Some(clock) = named.find(|clock| !clocks.contains(&clock.as_str())) {
        return wrong(format!(
            "`timeOffsets` has no clock `{clock}`; write `monotonic` or `boottime`"
        ));
    }
    let kinds = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let kinds: Vec<LinuxNamespaceType> = kinds.into_iter().flatten().map(|n| n.typ()).collect();
    if let Some(twice) = kinds.iter().enumerate().find(|(at, kind)| kinds[..*at].contains(kind)) {
        return wrong(format!("namespace `{}` is listed twice", twice.1));
    }
    judge_ids(path, spec, kinds.contains(&LinuxNamespaceType::User))?;
    if !kinds.contains(&LinuxNamespaceType::Mount) {
        judge_shared_mounts(path, spec)?;
    }
    let named = spec.hostname().is_some() || spec.domainname().is_some();
    if named && !kinds.contains(&LinuxNamespaceType::Uts) {
        return wrong("`hostname` needs a uts namespace, or it would be the host's".to_owned());
    }
    Ok(())
}

/// The path of a hook is the caller's: a relative one would be whatever lies in its directory.
fn judge_hooks(path: &Path, spec: &Spec) -> Result<(), OciError> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    let lists = [
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ];
    for hook in lists.into_iter().flatten().flatten() {
        let at = hook.path().display();
        if !hook.path().is_absolute() {
            let message = format!("the path of a hook must be absolute, not `{at}`");
            return Err(OciError::document(path, message));
        }
        if hook.timeout().is_some_and(|seconds| seconds < 1) {
            let message = format!("the hook {at} has a `timeout` of nothing");
            return Err(OciError::document(path, message));
        }
    }
    Ok(())
}

/// Without a mount namespace a container's mounts are the caller's: what is hidden there would be hidden from all.
fn judge_shared_mounts(path: &Path, spec: &Spec) -> Result<(), OciError> {
    let linux = spec.linux().as_ref();
    let listed = |paths: &Option<Vec<String>>| paths.as_ref().is_some_and(|all| !all.is_empty());
    if linux.is_some_and(|l| listed(l.masked_paths()) || listed(l.readonly_paths())) {
        let message = "`maskedPaths` and `readonlyPaths` need a mount namespace, or they would be \
                       the host's";
        return Err(OciError::document(path, message));
    }
    Ok(())
}

/// Mappings are of the container's user namespace; bind mounts may have others.
fn judge_ids(path: &Path, spec: &Spec, has_users: bool) -> Result<(), OciError> {
    let wrong = |message: String| Err(OciError::document(path, message));
    let own = sandbox::maps(spec);
    if !own.is_empty() && !has_users {
        return wrong("`uidMappings` and `gidMappings` need a user namespace".to_owned());
    }
    for mount in spec.mounts().iter().flatten() {
        let maps = sandbox::maps_of_mount(mount);
        let at = mount.destination().display();
        match (maps.uids.is_empty(), maps.gids.is_empty()) {
            (true, true) => {}
            _ if maps == own => {}
            (false, false) if sandbox::is_bind(mount) => {}
            (false, false) => {
                return wrong(format!("the mount at {at} is no bind mount, and maps ids"));
            }
            _ => {
                return wrong(format!(
                    "the mount at {at} needs both `uidMappings` and `gidMappings`, or neither"
                ));
            }
        }
    }
    Ok(())
}

fn judge_process(path: &Path, process: &Process) -> Result<(), OciError> {
    let wrong = |message: String| Err(OciError::document(path, message));
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return wrong("`process.args` is empty: there would be nothing to run".to_owned());
    }
    if !process.cwd().is_absolute() {
        let cwd = process.cwd().display();
        return wrong(format!("`process.cwd` must be an absolute path, not `{cwd}`"));
    }
    let limits: Vec<_> = process.rlimits().iter().flatten().map(|limit| limit.typ()).collect();
    if let Some(twice) = limits.iter().enumerate().find(|(at, kind)| limits[..*at].contains(kind)) {
        return wrong(format!("rlimit `{}` is listed twice", twice.1));
    }
    Ok(())
}

/// What is relative to the bundle. Gives the root.
fn complete(path: &Path, spec: &mut Spec, bundle: &Path) -> Result<OwnedFd, OciError> {
    let Some(root) = spec.root_mut() else {
        return Err(OciError::document(path, "`root` is missing"));
    };
    let found = bundle.join(root.path());
    let failed = |source| OciError::file("find the root", &found, source);
    let found = std::fs::canonicalize(&found).map_err(failed)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&found, flags, Mode::empty())
        .map_err(|errno| OciError::file("open the root", &found, errno))?;
    root.set_path(found);
    for mount in spec.mounts_mut().iter_mut().flatten() {
        if !mount.destination().is_absolute() {
            // Documents of before 1.0 have it so, and every runtime goes on taking them.
            mount.set_destination(Path::new("/").join(mount.destination()));
        }
        let is_bind = sandbox::is_bind(mount);
        if is_bind && mount.uid_mappings().as_ref().is_some_and(|ids| !ids.is_empty()) {
            let mut options = mount.options().clone().unwrap_or_default();
            options.push("idmap".to_owned());
            mount.set_options(Some(options));
        }
        if let Some(source) =
            mount.source().clone().filter(|source| is_bind && source.is_relative())
        {
            mount.set_source(Some(bundle.join(source)));
        }
    }
    Ok(directory)
}

/// What this process does not have nobody can be given; by the spec that is a warning.
fn grant(process: &mut Process, warnings: &mut Vec<String>) {
    let Some(mut sets) = process.capabilities().clone() else { return };
    let Ok(own) = rustix::thread::capabilities(None) else { return };
    let has = |name: &oci_spec::runtime::Capability| {
        let name = format!("CAP_{}", name.to_string().trim_start_matches("CAP_"));
        let number = name.parse::<caps::Capability>().map(|capability| capability.index());
        number.is_ok_and(|number| own.permitted.bits() & (1 << number) != 0)
    };
    let mut kept = |set: &Option<Capabilities>| {
        let set = set.as_ref()?;
        for name in set.iter().filter(|name| !has(name)) {
            let warning = format!("capability {name} cannot be granted, and is left out");
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Some(set.iter().filter(|name| has(name)).copied().collect::<Capabilities>())
    };
    let bounding = kept(sets.bounding());
    let effective = kept(sets.effective());
    let permitted = kept(sets.permitted());
    let inheritable = kept(sets.inheritable());
    let ambient = kept(sets.ambient());
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    sets.set_inheritable(inheritable).set_ambient(ambient);
    process.set_capabilities(Some(sets));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let mut value = serde_json::to_value(super::super::default_document()).unwrap();
        change(&mut value);
        let mut warnings = Vec::new();
        let path = Path::new("config.json");
        let spec: Spec = parse(path, value.to_string().as_bytes(), &mut warnings)
            .map_err(|error| error.to_string())?;
        judge(path, &spec).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(judged(|_| {}), Ok(()));
        let refused = |change: fn(&mut Value), word: &str| {
            let error = judged(change).unwrap_err();
            assert!(error.contains(word), "{error}");
        };
        refused(|v| v["ociVersion"] = "2.0.0".into(), "ociVersion");
        refused(|v| v["ociVersion"] = "".into(), "ociVersion");
        refused(|v| v["process"]["cwd"] = "work".into(), "absolute");
        refused(|v| v["process"]["args"] = Value::Array(Vec::new()), "args");
        refused(|v| v["linux"]["namespaces"] = json!([{ "type": "mount" }]), "uts");
        refused(|v| v["linux"]["namespaces"] = json!([]), "need a mount namespace");
        let ids = || json!([{ "containerID": 0, "hostID": 9, "size": 1 }]);
        let error = judged(|v| v["linux"]["uidMappings"] = ids()).unwrap_err();
        assert!(error.contains("need a user namespace"), "{error}");
        let error = judged(|v| v["mounts"][0]["gidMappings"] = ids()).unwrap_err();
        assert!(error.contains("needs both `uidMappings` and `gidMappings`"), "{error}");
        let both = |v: &mut Value| {
            v["mounts"][0]["uidMappings"] = ids();
            v["mounts"][0]["gidMappings"] = ids();
        };
        let error = judged(both).unwrap_err();
        assert!(error.contains("is no bind mount"), "{error}");
        let error = judged(|v| {
            both(v);
            v["mounts"][0]["type"] = "bind".into();
        });
        assert_eq!(error, Ok(()));
        refused(|v| v["process"] = Value::Null, "`process` is missing");
        refused(|v| v["vm"] = json!({ "kernel": { "path": "/vmlinuz" } }), "`vm`");
        refused(|v| v["linux"]["timeOffsets"] = json!({ "realtime": { "secs": 1 } }), "`realtime`");
        let offsets = judged(|v| v["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1 } }));
        assert_eq!(offsets, Ok(()));
        refused(|v| v["hooks"] = json!({ "poststop": [{ "path": "bin/true" }] }), "`bin/true`");
        refused(
            |v| v["hooks"] = json!({ "prestart": [{ "path": "/t", "timeout": 0 }] }),
            "`timeout`",
        );
        let hook = json!({ "poststop": [{ "path": "/bin/true", "timeout": 1 }] });
        assert_eq!(judged(|v| v["hooks"] = hook), Ok(()));
    }

    #[test]
    fn an_unknown_capability_is_no_error() {
        let added = |v: &mut Value| {
            let set = &mut v["process"]["capabilities"]["bounding"];
            set.as_array_mut().unwrap().push("CAP_FLY".into());
        };
        assert_eq!(judged(added), Ok(()));
        assert!(judged(|v| v["mounts"] = "none".into()).is_err());
    }
}
