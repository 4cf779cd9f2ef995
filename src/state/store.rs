//! Where a pod's files are, and reading and replacing them. A path is never put together elsewhere.

use super::StateError;
use super::journal::{self, Found};
use super::record::PodRecord;
use crate::names::PodName;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The two directories that all of podspec's state lies under.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Store {
    pub run: PathBuf,
    pub data: PathBuf,
}

impl Store {
    /// Makes what is missing of both directories, closed to other users; new ones are of this boot.
    pub fn prepare(&self) -> Result<(), StateError> {
        self.make_directories()?;
        if [&self.run, &self.data].iter().any(|root| self.marked_boot(root).is_none()) {
            self.mark_boot(&boot_id()?)?;
        }
        Ok(())
    }

    /// As `prepare`, and says nothing of the boot.
    pub fn make_directories(&self) -> Result<(), StateError> {
        for dir in [self.pod_directories(), self.leases(), self.data.clone()] {
            make_directory(&dir)?;
        }
        Ok(())
    }

    pub fn pod(&self, name: &PodName) -> PodDir {
        PodDir { path: self.pod_directories().join(name.as_str()) }
    }

    pub fn logs(&self, name: &PodName) -> PathBuf {
        self.data.join("logs").join(name.as_str())
    }

    pub fn volumes(&self, name: &PodName) -> PathBuf {
        self.data.join("volumes").join(name.as_str())
    }

    /// What containers of each pod have written, by id.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    pub fn leases(&self) -> PathBuf {
        self.run.join("net/leases")
    }

    /// The logs of every pod.
    pub fn all_logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    /// The named volumes of every pod.
    pub fn all_volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// The boot that was noted last in one of the two directories.
    pub fn marked_boot(&self, root: &Path) -> Option<String> {
        std::fs::read_to_string(root.join("boot")).ok()
    }

    /// Notes that both directories hold nothing of an earlier boot.
    pub fn mark_boot(&self, boot: &str) -> Result<(), StateError> {
        for root in [&self.run, &self.data] {
            let path = root.join("boot");
            // Of one's own: another process may do the same right now.
            let next = root.join(format!("boot.next.{}", std::process::id()));
            let written = std::fs::write(&next, boot).and_then(|()| std::fs::rename(&next, &path));
            written.map_err(|source| StateError::Write { path, source })?;
        }
        Ok(())
    }

    /// The machine forwards as it was told when it started.
    pub fn forget_forwarding(&self) -> Result<(), StateError> {
        let path = self.forwarding_record();
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Remove { path, source })
            }
            _ => Ok(()),
        }
    }

    /// What ip_forward was before podspec turned it on; missing where it did not.
    pub fn forwarding_record(&self) -> PathBuf {
        self.run.join("net/ip_forward")
    }

    /// Where each pod has its directory.
    pub fn pod_directories(&self) -> PathBuf {
        self.run.join("pods")
    }

    /// Names of all pods that have a directory, sorted; a foreign file there is no pod.
    pub fn pods(&self) -> Result<Vec<PodName>, StateError> {
        let path = self.pod_directories();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StateError::Read { path, source }),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| StateError::Read { path: path.clone(), source })?;
            if let Some(name) = entry.file_name().to_str().and_then(|n| PodName::try_from(n).ok()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// One pod's directory under RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDir {
    path: PathBuf,
}

impl PodDir {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    pub fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Makes the directory; one that exists is an error.
    pub fn create(&self) -> Result<(), StateError> {
        let make = |path: &Path| {
            DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(|source| StateError::MakeDirectory { path: path.to_owned(), source })
        };
        make(&self.path)?;
        make(&self.path.join("io"))
    }

    pub fn read_journal(&self) -> Result<Option<Found>, StateError> {
        journal::read(&self.journal())
    }

    /// The record; `None` where nothing was recorded yet.
    pub fn read_record(&self) -> Result<Option<PodRecord>, StateError> {
        let path = self.path.join("state.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| StateError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// Replaces the record; a reader sees the old one or the new one.
    pub fn write_record(&self, record: &PodRecord) -> Result<(), StateError> {
        let path = self.path.join("state.json");
        let next = self.path.join("state.json.next");
        let write = |source: io::Error| StateError::Write { path: path.clone(), source };
        let bytes = serde_json::to_vec(record).map_err(|error| write(error.into()))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)
            .map_err(write)?;
        file.write_all(&bytes).map_err(write)?;
        std::fs::rename(&next, &path).map_err(write)
    }

    /// Removes the directory and what is in it; gone already is fine.
    pub fn remove(&self) -> Result<(), StateError> {
        remove_tree(&self.path)
    }
}

/// Makes a directory and its parents, closed to other users; one that exists stays as it is.
pub fn make_directory(path: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .map_err(|source| StateError::MakeDirectory { path: path.to_owned(), source })
}

/// Removes a tree, or a file, without following links; gone already is fine.
pub fn remove_tree(path: &Path) -> Result<(), StateError> {
    let removed = match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => std::fs::remove_file(path),
        other => other,
    };
    match removed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StateError::Remove { path: path.to_owned(), source }),
    }
}

/// What a tree takes on disk, bytes; a file with several names counts once. What goes away meanwhile
/// counts nothing.
pub fn disk_usage(path: &Path) -> Result<u64, StateError> {
    let read = |path: &Path, source| StateError::Read { path: path.to_owned(), source };
    let (mut bytes, mut seen) = (0, std::collections::HashSet::new());
    let mut next = vec![path.to_owned()];
    while let Some(path) = next.pop() {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(read(&path, source)),
        };
        if metadata.nlink() == 1
            || metadata.is_dir()
            || seen.insert((metadata.dev(), metadata.ino()))
        {
            // st_blocks counts in 512 bytes whatever the file system's block is (stat(2)).
            bytes += metadata.blocks() * 512;
        }
        if metadata.is_dir() {
            match std::fs::read_dir(&path) {
                Ok(entries) => next.extend(entries.flatten().map(|entry| entry.path())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(read(&path, source)),
            }
        }
    }
    Ok(bytes)
}

/// Takes what the name of `path` says by a symbolic link to `holder`, which is made with its text or not
/// at all; `false` where somebody has it.
pub fn claim(path: &Path, holder: &str) -> Result<bool, StateError> {
    match std::os::unix::fs::symlink(holder, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(StateError::Write { path: path.to_owned(), source }),
    }
}

/// Gives back what was claimed; what somebody else has stays.
pub fn release(path: &Path, holder: &str) -> Result<(), StateError> {
    match std::fs::read_link(path) {
        Ok(text) if text.as_os_str() == holder => std::fs::remove_file(path)
            .map_err(|source| StateError::Remove { path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

/// Which boot this is (random(4)): what was recorded in another one is void.
pub fn boot_id() -> Result<String, StateError> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .map_err(|source| StateError::Boot { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_small_tree() {
        let path = std::env::temp_dir().join(format!("podspec-tree-{}", std::process::id()));
        std::fs::File::create(&path).unwrap();
        remove_tree(&path).unwrap();
        assert!(!path.exists());
        remove_tree(&path).unwrap();
    }
}
