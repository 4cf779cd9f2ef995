//! What has happened to a pod, a JSON line each, in a file beside its logs: `podspec events` reads it, also
//! when the pod or its supervisor is gone. Lines are gathered and written with the record,
//! so that a start or a stop costs a write or two; nothing is synced. Two files bound it.

use super::logs::numbered;
use crate::names::{ContainerName, PodName};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file's name beside the logs. No container's log is called so: these end in `.log`.
pub const FILE: &str = "events.jsonl";

/// A file larger than this is turned over.
const LARGEST: u64 = 1 << 20;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// RFC 3339, UTC, to the microsecond.
    pub time: String,
    pub pod: PodName,
    /// None: it happened to the pod.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<ContainerName>,
    /// What it has come to: the words of docs/states.md.
    pub event: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<String>,
    /// The step of the plan that it belongs to, as `plan` prints it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<String>,
}

impl Entry {
    pub fn new(pod: &PodName, event: &str) -> Self {
        Self {
            time: format!("{:.6}", jiff::Timestamp::now()),
            pod: pod.clone(),
            container: None,
            event: event.to_owned(),
            exit_code: None,
            cause: None,
            step: None,
        }
    }
}

/// Appends to the history of one pod.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    unwritten: Vec<u8>,
}

impl History {
    /// Goes on with what is there; nothing is touched before something is written. `logs` is the directory
    /// of the pod's logs.
    pub fn new(logs: &Path) -> Self {
        Self { path: logs.join(FILE), file: None, size: 0, unwritten: Vec::new() }
    }

    pub fn note(&mut self, entry: &Entry) {
        // What has only strings and numbers can always be written as JSON.
        if serde_json::to_writer(&mut self.unwritten, entry).is_ok() {
            self.unwritten.push(b'\n');
        }
    }

    /// A disk that refuses costs the history, never the pod.
    pub fn write(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        if self.size >= LARGEST {
            let _ = std::fs::rename(&self.path, numbered(&self.path, 1));
            self.file = None;
        }
        if self.file.is_none() {
            self.file = open(&self.path);
            let length = self.file.as_ref().and_then(|file| file.metadata().ok());
            self.size = length.map_or(0, |metadata| metadata.len());
        }
        if let Some(file) = &mut self.file
            && file.write_all(&self.unwritten).is_ok()
        {
            self.size += self.unwritten.len() as u64;
        }
        self.unwritten.clear();
    }

    /// A start notes more at once than anything that follows.
    pub fn rest(&mut self) {
        self.unwritten.shrink_to_fit();
    }
}

fn open(path: &Path) -> Option<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let dir = std::env::temp_dir().join(format!("podspec-history-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let pod = "shop".parse().unwrap();
        let mut history = History::new(&dir);
        for n in 0..40_000 {
            history.note(&Entry { exit_code: Some(n), ..Entry::new(&pod, "exited") });
            history.write();
        }
        let sizes = std::fs::read_dir(&dir).unwrap().map(|f| f.unwrap().metadata().unwrap().len());
        let sizes: Vec<u64> = sizes.collect();
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size < LARGEST + 200), "{sizes:?}");
        let text = std::fs::read_to_string(dir.join(FILE)).unwrap();
        let last: Entry = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last.exit_code, Some(39_999));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
