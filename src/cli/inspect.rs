//! `podspec inspect`: all that is known of a pod, as one JSON object.

use super::error::CliError;
use super::running;
use super::target::{self, TargetArg};
use super::{Format, output};
use crate::image::{Image, Store as ImageStore};
use crate::state::record::{ContainerRecord, PodRecord};
use crate::state::store::Store;
use crate::sys::ids::Maps;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

/// Show all that is known of a pod, as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec inspect shop
  podspec inspect shop/web
  podspec inspect              the pod of ./pod.yaml
  podspec inspect shop | jq -r .network.ipv4
  podspec inspect shop/web | jq .namespaces    inodes, as in /proc/PID/ns")]
pub(super) struct Inspect {
    /// The pod, or one container of it; the pod of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    target: Option<TargetArg>,
    /// How to report; JSON either way
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json, hide = true)]
    format: Format,
}

impl Inspect {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let target = target::one(self.target.as_ref())?;
        let record = target::find(store, &target.pod)?;
        if target.container.is_some() {
            let container = target::container(&record, target.container.as_ref())?;
            output::json(&whole(container, &images(store)))?;
        } else {
            output::json(&shown(store, &record))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn images(store: &Store) -> Vec<Image> {
    ImageStore::open(&store.data).images().unwrap_or_default()
}

/// All that is known of a pod.
pub(super) fn shown(store: &Store, record: &PodRecord) -> Value {
    let images = images(store);
    let mut shown = serde_json::to_value(record).unwrap_or(Value::Null);
    shown["containers"] =
        record.containers.iter().map(|container| whole(container, &images)).collect();
    if running::supervisor(record).is_some() {
        shown["supervisor"]["oomScoreAdj"] = json!(oom_score(record.supervisor.pid));
    }
    shown
}

/// How early the kernel ends the process when memory is out: negative where podspec could ask for that.
fn oom_score(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?;
    text.trim().parse().ok()
}

/// The record, what its image says beside its program, and what only the running process can tell: its namespaces,
/// and what its ids are outside.
fn whole(container: &ContainerRecord, images: &[Image]) -> Value {
    const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let mut shown = serde_json::to_value(container).unwrap_or(Value::Null);
    if let Some(used) = &container.image
        && let Some(image) = images.iter().find(|image| image.digest == used.digest)
    {
        shown["image"]["exposedPorts"] = json!(image.config.exposed_ports);
        shown["image"]["labels"] = json!(image.config.labels);
    }
    let Some(pid) = container.pid.filter(|_| running::first_process(container).is_some()) else {
        return shown;
    };
    let inode = |kind: &str| {
        let inode = std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino();
        Some((kind.to_owned(), json!(inode)))
    };
    shown["namespaces"] = Value::Object(KINDS.into_iter().filter_map(inode).collect());
    if let Ok(Maps { uids, gids }) = Maps::read(pid) {
        let list = |ranges: Vec<(u32, u32, u32)>| -> Value {
            let one = |(inside, outside, count)| json!({ "container": inside, "host": outside, "count": count });
            ranges.into_iter().map(one).collect()
        };
        shown["ids"] = json!({ "uids": list(uids), "gids": list(gids) });
    }
    shown
}
