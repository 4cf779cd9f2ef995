//! A plan for a reader: as text for a person, as JSON for a program. Says only what the plan says.

use crate::plan::step::{
    ExitPolicy, Forward, Launch, Limits, Plan, Planned, Role, Step, StepId, Until, VolumeContent,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::path::Path;

/// A column is not made wider than this for the sake of one long step.
const COLUMN_MOST: usize = 68;

/// The steps by levels, for a person. Steps of one level run side by side.
pub fn steps(plan: &Plan) -> String {
    let mut out = String::new();
    let levels = levels(plan);
    let width = plan.steps.iter().map(|planned| planned.step.to_string().chars().count());
    let width = width.filter(|&width| width <= COLUMN_MOST).max().unwrap_or(0);
    let last = levels.iter().max().copied().unwrap_or(0);
    let digits = last.to_string().len();
    for level in 1..=last {
        out.push('\n');
        let steps = plan.steps.iter().zip(&levels).filter(|(_, at)| **at == level);
        for (n, (planned, _)) in steps.enumerate() {
            let number = if n == 0 { level.to_string() } else { String::new() };
            let what = planned.step.to_string();
            let why = planned.why.as_str();
            line(&mut out, &format!("{number:>digits$}  {what:<width$}  {why}"));
            for detail in details(&planned.step) {
                line(&mut out, &format!("{:digits$}    {detail}", ""));
            }
        }
    }
    out
}

/// Words of the file reach a terminal here: a control character or a change of direction is spelt out.
fn line(out: &mut String, text: &str) {
    for c in text.trim_end().chars() {
        if c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('\n');
}

/// The plan in short: what a reader looks for first.
pub fn head(plan: &Plan) -> String {
    let mut out = format!("pod {} ({})\n", plan.pod, plan.id);
    if plan.steps.is_empty() {
        out.push_str("nothing to do\n");
        return out;
    }
    let mut rows: Vec<(&str, String)> = Vec::new();
    for planned in &plan.steps {
        match &planned.step {
            Step::PinNamespaces { pins } => {
                let shared: Vec<_> = pins
                    .iter()
                    .filter(|(_, pin)| is_joined(plan, pin))
                    .map(|(kind, _)| kind)
                    .collect();
                if !shared.is_empty() {
                    rows.push(("shared", words(&shared)));
                }
            }
            Step::Connect(c) => {
                let owner = c.container.as_ref().map_or("the pod", |name| name.as_str());
                rows.push(("address", format!("{} of {owner}, by {}", c.address, c.host)));
            }
            Step::Publish { forwards } => {
                rows.extend(forwards.iter().map(|forward| ("port", arrow(forward))));
            }
            _ => {}
        }
    }
    let created = |is_main| {
        let created = plan.steps.iter().filter_map(move |planned| match &planned.step {
            Step::CreateContainer(launch) if launch.role.is_main() == is_main => {
                Some(match launch.role {
                    Role::Sidecar => format!("{} (sidecar)", launch.container),
                    Role::Main | Role::Init => launch.container.to_string(),
                })
            }
            _ => None,
        });
        created.collect::<Vec<_>>().join(", ")
    };
    rows.extend(Some(("init", created(false))).filter(|(_, names)| !names.is_empty()));
    rows.push(("containers", created(true)));
    if plan.exit_policy != ExitPolicy::Continue {
        rows.push(("at an end", exit_policy(plan.exit_policy).to_owned()));
    }
    if let Some(most) = plan.stop_timeout {
        rows.push(("stops", format!("within {most:?}, then all of it is killed")));
    }
    let most = levels(plan).into_iter().max().unwrap_or(0);
    rows.push((
        "steps",
        format!("{} in {most} levels; a level runs side by side", plan.steps.len()),
    ));
    let mut before = "";
    for (label, value) in rows {
        let shown = if label == before { "" } else { label };
        line(&mut out, &format!("  {shown:<10}  {value}"));
        before = label;
    }
    out
}

fn exit_policy(policy: ExitPolicy) -> &'static str {
    match policy {
        ExitPolicy::Continue => "the others go on",
        ExitPolicy::Stop => "the pod stops when all containers have ended",
        ExitPolicy::StopOnFailure => "the pod stops when a container has failed, or all have ended",
        ExitPolicy::StopOnExit => "the pod stops when a container has ended",
    }
}

fn arrow(forward: &Forward) -> String {
    let target = forward.target_port;
    let last = target.saturating_add(forward.count.saturating_sub(1));
    let range = if last > target { format!("{target}-{last}") } else { target.to_string() };
    format!("{forward} -> {}:{range}", forward.target)
}

/// Whether a container runs in this namespace: infra may hold one that answers the pod's address alone.
fn is_joined(plan: &Plan, pin: &Path) -> bool {
    plan.steps.iter().any(|planned| {
        let Step::CreateContainer(launch) = &planned.step else { return false };
        let linux = launch.oci.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        linux.is_some_and(|all| all.iter().any(|one| one.path().as_deref() == Some(pin)))
    })
}

fn words<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A step is one level below the deepest that it waits for; the first level is 1.
fn levels(plan: &Plan) -> Vec<usize> {
    let mut levels: Vec<usize> = Vec::with_capacity(plan.steps.len());
    for planned in &plan.steps {
        let deepest = planned.after.iter().filter_map(|edge| levels.get(edge.step)).max();
        levels.push(deepest.map_or(1, |deepest| deepest + 1));
    }
    levels
}

/// What does not fit into a step's own line.
fn details(step: &Step) -> Vec<String> {
    match step {
        Step::PinNamespaces { pins } => {
            pins.iter().map(|(kind, pin)| format!("{kind:<4} {}", pin.display())).collect()
        }
        Step::CreateContainer(launch) => {
            created(launch).into_iter().chain(bounds(&launch.limits)).collect()
        }
        Step::MakeCgroup { limits, .. } => bounds(limits).collect(),
        _ => Vec::new(),
    }
}

fn created(launch: &Launch) -> Vec<String> {
    let Some(process) = launch.oci.process() else { return Vec::new() };
    let args = process.args().as_deref().unwrap_or_default();
    let user = process.user();
    let reaper = if launch.init { " (below a reaper)" } else { "" };
    let mut lines = vec![
        format!(
            "runs  {}{reaper}",
            args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ")
        ),
        format!("as    {}:{} in {}", user.uid(), user.gid(), process.cwd().display()),
    ];
    let standard: BTreeSet<&str> = ["/proc", "/sys", "/dev", "/etc"].into();
    for mount in launch.oci.mounts().iter().flatten() {
        let target = mount.destination();
        let is_ours = standard.iter().any(|top| target.starts_with(top));
        if let (false, Some("bind"), Some(source)) =
            (is_ours, mount.typ().as_deref(), mount.source())
        {
            let read_only = mount.options().iter().flatten().any(|option| option == "ro");
            let access = if read_only { " (read-only)" } else { "" };
            lines.push(format!("sees  {} at {}{access}", source.display(), target.display()));
        }
    }
    lines
}

/// Each file of a cgroup that is written, with its value.
fn bounds(limits: &Limits) -> impl Iterator<Item = String> {
    let legacy = limits.legacy.iter().flat_map(|of| &of.files);
    let files = limits.files.iter().chain(legacy);
    files.map(|(file, value)| format!("limit {file} = {value}"))
}

/// As one would type it in a shell.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        return arg.to_owned();
    }
    format!("'{}'", arg.replace('\'', r"'\''"))
}

/// The plan for a program. The OCI documents are most of its bytes, so they come only when asked for.
pub fn json(plan: &Plan, with_oci: bool) -> Value {
    let levels = levels(plan);
    let steps = plan.steps.iter().zip(levels).enumerate();
    let steps: Vec<Value> = steps
        .map(|(id, (planned, level))| step_json(plan, (id, planned), level, with_oci))
        .collect();
    json!({ "pod": plan.pod, "id": plan.id, "exitPolicy": plan.exit_policy, "steps": steps })
}

fn step_json(
    plan: &Plan,
    (id, planned): (StepId, &Planned),
    level: usize,
    with_oci: bool,
) -> Value {
    let mut fields = fields(&planned.step);
    if let Step::CreateContainer(launch) = &planned.step {
        fields.shift_remove("seccomp");
        if with_oci {
            // Here it is whole, as another runtime would take it.
            let filter = launch.seccomp.and_then(|index| plan.seccomp.get(index));
            fields["oci"]["linux"]["seccomp"] =
                json!(filter.and_then(|filter| filter.document.as_ref()));
        } else {
            fields.shift_remove("oci");
        }
    }
    json!({
        "id": id,
        "level": level,
        "what": planned.step.to_string(),
        "why": planned.why,
        "after": planned.after.iter().filter(|edge| edge.until == Until::Done)
            .map(|edge| edge.step).collect::<Vec<_>>(),
        "afterReadiness": planned.after.iter().filter(|edge| edge.until == Until::Ready)
            .map(|edge| edge.step).collect::<Vec<_>>(),
        "afterCompletion": planned.after.iter().filter(|edge| edge.until == Until::Completed)
            .map(|edge| edge.step).collect::<Vec<_>>(),
        "step": fields,
    })
}

/// The fields of a step, the first of which is its kind.
fn fields(step: &Step) -> Map<String, Value> {
    let mut all = Map::new();
    if let Ok(Value::Object(step)) = serde_json::to_value(step) {
        for (kind, fields) in step {
            all.insert("kind".to_owned(), kind.into());
            all.extend(fields.as_object().cloned().unwrap_or_default());
        }
    }
    all
}

/// One line, the same in `podspec plan`, in the live view of `up` and in errors.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeNetwork(network) => {
                write!(f, "make the machine's network {} {}", network.bridge, network.gateway)
            }
            Self::LoadProfile { name } => write!(f, "load AppArmor's profile {name}"),
            Self::MountPodTmpfs { at } => write!(f, "mount the pod's tmpfs {}", at.display()),
            Self::MakeCgroup { cgroup, .. } => write!(f, "make cgroup {}", cgroup.display()),
            Self::StartInfra(infra) if infra.namespaces.is_empty() => f.write_str("start infra"),
            Self::StartInfra(infra) => {
                write!(f, "start infra with new {}", words(&infra.namespaces))
            }
            Self::TakeIds { ids, .. } => {
                let uids = ids.iter().flat_map(|maps| &maps.uids);
                let shown = uids.map(|range| {
                    let last = u64::from(range.host) + u64::from(range.count) - 1;
                    format!("{}-{last}", range.host)
                });
                write!(f, "take ids {}", shown.collect::<Vec<_>>().join(", "))
            }
            Self::PinNamespaces { .. } => f.write_str("pin infra's namespaces"),
            Self::MakeNetns { container, pin, .. } => {
                write!(f, "make {container}'s network namespace {}", pin.display())
            }
            Self::TakeAddress { address, .. } => write!(f, "take address {address}"),
            Self::Connect(c) => {
                let owner = c.container.as_ref().map_or("the pod", |name| name.as_str());
                write!(f, "connect {owner} by {} -> {}", c.host, c.peer)
            }
            Self::LoopbackUp { netns } => write!(f, "set up lo in {}", netns.display()),
            Self::ReservePorts { ports } => write!(f, "reserve {}", ports_named(ports)),
            Self::Publish { forwards } => match forwards.as_slice() {
                [forward] => write!(f, "publish {}", arrow(forward)),
                forwards => write!(f, "publish {}", ports_named(forwards)),
            },
            Self::SetSysctls { sysctls, .. } => {
                let shown = sysctls.iter().map(|(name, value)| format!("{name}={value}"));
                write!(f, "set {}", shown.collect::<Vec<_>>().join(", "))
            }
            Self::MountShm { at, .. } => write!(f, "mount the shared /dev/shm {}", at.display()),
            Self::MakeVolume(volume) => {
                let kind = volume_kind(&volume.content);
                write!(f, "make {kind} {} {}", volume.name, volume.path.display())
            }
            Self::WriteFiles { files } => {
                write!(f, "write {} generated files", files.len())
            }
            Self::MakeSecrets { container, files, .. } => {
                let named = files.iter().map(|file| file.secret.as_str()).collect::<Vec<_>>();
                let what = if named.len() == 1 { "secret" } else { "secrets" };
                write!(f, "write {container}'s {what} {}", named.join(", "))
            }
            Self::MakeLayers { container, .. } => write!(f, "make {container}'s layers"),
            Self::CreateContainer(launch) => write!(f, "create {}", launch.container),
            Self::StartContainer { container } => write!(f, "start {container}"),
        }
    }
}

fn ports_named(forwards: &[Forward]) -> String {
    let mut out = String::from(if forwards.len() == 1 { "port " } else { "ports " });
    const SHOWN: usize = 4;
    let shown: Vec<_> = forwards.iter().take(SHOWN).map(ToString::to_string).collect();
    out.push_str(&shown.join(", "));
    if let Some(more) = forwards.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        // Writing to a string cannot fail.
        let _ = write!(out, " and {more} more");
    }
    out
}

fn volume_kind(content: &VolumeContent) -> &'static str {
    match content {
        VolumeContent::Persistent | VolumeContent::EmptyDir => "volume",
        VolumeContent::Tmpfs { .. } => "memory volume",
        VolumeContent::Files { .. } => "file volume",
        VolumeContent::Host => "host directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shown_as_one_would_type_them() {
        assert_eq!(quoted("--flag=/a/b"), "--flag=/a/b");
        assert_eq!(quoted("echo it's"), r"'echo it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn words_of_the_file_cannot_drive_the_terminal() {
        let mut out = String::new();
        line(&mut out, "a\u{1b}[2J\nb\u{202e}c  ");
        assert_eq!(out, "a\\u{1b}[2J\\nb\\u{202e}c\n");
    }
}
