//! Where containers are kept between commands: a directory each, with its record, a copy of its document, and the socket
//! that its start is waited for at. What is alive is asked of the kernel, not of the record.

use super::OciError;
use super::cgroups::Place;
use crate::state::store::boot_id;
use crate::sys::process::{Life, life, pidfd_open};
use oci_spec::runtime::Spec;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const RECORD: &str = "state.json";
const DOCUMENT: &str = "config.json";
const SOCKET: &str = "start.sock";
const LONGEST_ID: usize = 255;

/// What a container is doing, by the runtime spec; `paused` is what other runtimes have beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// What is known of a container without its document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: String,
    pub(super) owner: u32,
    pub(super) boot: String,
    /// With the time of its start. None: it is being made, or its maker died.
    pub(super) process: Option<(i32, u64)>,
    pub(super) place: Place,
    pub(super) annotations: BTreeMap<String, String>,
    /// The spec that the document is written by.
    pub(super) version: String,
    /// It has a pid namespace of its own: its first process takes the others with it.
    pub(super) own_pids: bool,
    /// It has no mount namespace of its own: its root is mounted in its caller's.
    #[serde(default)]
    pub(super) shares_mounts: bool,
}

/// A container that was found.
#[derive(Debug)]
pub struct Container {
    pub(super) record: Record,
    pub(super) directory: PathBuf,
    pub status: Status,
}

/// All containers of one root directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes the container's directory, which no other container has.
    pub(super) fn claim(&self, id: &str) -> Result<PathBuf, OciError> {
        let directory = self.directory(id)?;
        let make = |path: &Path| {
            let mode = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(CWD, path, mode)
        };
        let failed = |path: &Path, errno: Errno| OciError::file("make", path, errno);
        let made = match make(&directory) {
            Err(Errno::NOENT) => {
                let parent = self.root.parent().unwrap_or(Path::new("/"));
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)
                    .map_err(|source| OciError::file("make", &self.root, source))?;
                match make(&self.root) {
                    Ok(()) | Err(Errno::EXIST) => make(&directory),
                    Err(errno) => return Err(failed(&self.root, errno)),
                }
            }
            other => other,
        };
        match made {
            Ok(()) => Ok(directory),
            Err(Errno::EXIST) => Err(OciError::Exists { id: id.to_owned() }),
            Err(errno) => Err(failed(&directory, errno)),
        }
    }

    fn directory(&self, id: &str) -> Result<PathBuf, OciError> {
        match is_id(id) {
            true => Ok(self.root.join(id)),
            false => Err(OciError::Id { id: id.to_owned() }),
        }
    }

    pub fn find(&self, id: &str) -> Result<Container, OciError> {
        let directory = self.directory(id)?;
        let unknown = || OciError::Unknown { id: id.to_owned() };
        let path = directory.join(RECORD);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown()),
            Err(error) => return Err(OciError::file("read", &path, error)),
        };
        let record: Record =
            serde_json::from_slice(&text).map_err(|source| OciError::Json { path, source })?;
        let status = status(&record, &directory);
        Ok(Container { record, directory, status })
    }

    /// By id, and what is wrong with those whose records cannot be read. What goes meanwhile, or was never finished, is
    /// left out.
    pub fn list(&self) -> Result<(Vec<Container>, Vec<OciError>), OciError> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Vec::new(), Vec::new()));
            }
            Err(error) => return Err(OciError::file("read", &self.root, error)),
        };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for name in names {
            match self.find(&name) {
                Ok(container) => found.push(container),
                Err(OciError::Unknown { .. } | OciError::Id { .. }) => {}
                Err(error) => damaged.push(error),
            }
        }
        Ok((found, damaged))
    }

    /// The directory of an attempt whose maker died before it wrote anything, or of a record that cannot be understood.
    pub fn forget(&self, id: &str) -> Result<bool, OciError> {
        let directory = self.directory(id)?;
        match directory.exists() {
            true => remove(&directory).map(|()| true),
            false => Ok(false),
        }
    }
}

/// It is the name of a directory.
fn is_id(id: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    !matches!(id, "" | "." | "..") && id.len() <= LONGEST_ID && id.chars().all(fits)
}

fn status(record: &Record, directory: &Path) -> Status {
    let Some((pid, start)) = record.process else { return Status::Creating };
    if boot_id().is_ok_and(|boot| boot != record.boot) || !is_alive(pid, start) {
        return Status::Stopped;
    }
    if waits(directory) {
        return Status::Created;
    }
    if record.place.is_frozen() { Status::Paused } else { Status::Running }
}

fn is_alive(pid: i32, start: u64) -> bool {
    matches!(life(pid), Ok(Life { state, start: found }) if found == start && !matches!(state, 'Z' | 'X'))
}

/// Whether the container's first process still waits for its start. One that has become its program has the socket no
/// more; its file may be there.
fn waits(directory: &Path) -> bool {
    connect(directory).is_ok()
}

/// A path in a socket's address is 108 bytes at most, so it goes by the directory's descriptor.
fn address(directory: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd());
    Ok((held, SocketAddrUnix::new(path)?))
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// What the first process of a container waits at.
pub(super) fn listen(directory: &Path) -> Result<OwnedFd, OciError> {
    let make = || {
        let socket = socket()?;
        let (_held, address) = address(directory)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 16)?;
        Ok(socket)
    };
    make().map_err(|errno: Errno| OciError::file("listen at", &directory.join(SOCKET), errno))
}

/// Refused where nobody waits.
pub(super) fn connect(directory: &Path) -> Result<OwnedFd, Errno> {
    let (_held, address) = address(directory)?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

pub(super) fn forget_socket(directory: &Path) {
    // Whether somebody waits is asked of the socket, not of its file.
    let _ = std::fs::remove_file(directory.join(SOCKET));
}

pub(super) fn write_document(directory: &Path, text: &[u8]) -> Result<(), OciError> {
    write_new(&directory.join(DOCUMENT), text)
}

pub(super) fn write_record(directory: &Path, record: &Record) -> Result<(), OciError> {
    let path = directory.join(RECORD);
    let text = serde_json::to_vec(record)
        .map_err(|source| OciError::Json { path: path.clone(), source })?;
    replace(&path, &text)
}

/// Whoever reads sees the old file or the new one, and never half of it.
pub(super) fn replace(path: &Path, text: &[u8]) -> Result<(), OciError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    write_new(&new, text)?;
    std::fs::rename(&new, path).map_err(|source| OciError::file("write", path, source))
}

fn write_new(path: &Path, text: &[u8]) -> Result<(), OciError> {
    let write = || {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))?;
        io::Write::write_all(&mut std::fs::File::from(file), text)
    };
    write().map_err(|source: io::Error| OciError::file("write", path, source))
}

pub(super) fn remove(directory: &Path) -> Result<(), OciError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OciError::file("remove", directory, error))
        }
        _ => Ok(()),
    }
}

impl Container {
    pub fn id(&self) -> &str {
        &self.record.id
    }

    pub fn bundle(&self) -> &Path {
        &self.record.bundle
    }

    pub fn rootfs(&self) -> &Path {
        &self.record.rootfs
    }

    pub fn created(&self) -> &str {
        &self.record.created
    }

    pub fn owner(&self) -> u32 {
        self.record.owner
    }

    /// None: it has no process any more, or not yet.
    pub fn pid(&self) -> Option<i32> {
        let (pid, _) = self.record.process?;
        (self.status != Status::Stopped).then_some(pid)
    }

    /// What the runtime spec calls the state, as JSON.
    pub fn state(&self) -> Vec<u8> {
        state(&self.record, self.status)
    }

    /// The document that it was made of.
    pub(super) fn document(&self) -> Result<Spec, OciError> {
        let path = self.directory.join(DOCUMENT);
        super::bundle::parse(&path, &super::bundle::read(&path)?, &mut Vec::new())
    }

    /// Its first process, certainly that one; None where it has ended.
    pub(super) fn pidfd(&self) -> Result<Option<OwnedFd>, OciError> {
        Ok(self.first()?.map(|(_, pidfd)| pidfd))
    }

    /// With its pid.
    pub(super) fn first(&self) -> Result<Option<(i32, OwnedFd)>, OciError> {
        let Some((pid, start)) = self.record.process else { return Ok(None) };
        let pidfd = match pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => {
                return Err(OciError::file("find the process of", &self.directory, error));
            }
        };
        Ok(is_alive(pid, start).then_some((pid, pidfd)))
    }
}

/// What hooks are told, and `state` prints.
pub(super) fn state(record: &Record, status: Status) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct State<'a> {
        oci_version: &'a str,
        id: &'a str,
        pid: i32,
        status: Status,
        bundle: &'a Path,
        rootfs: &'a Path,
        created: &'a str,
        owner: String,
        annotations: &'a BTreeMap<String, String>,
    }
    let process = record.process.filter(|_| status != Status::Stopped);
    let state = State {
        oci_version: &record.version,
        id: &record.id,
        status,
        pid: process.map_or(0, |(pid, _)| pid),
        bundle: &record.bundle,
        rootfs: &record.rootfs,
        created: &record.created,
        owner: if record.owner == 0 { "root".to_owned() } else { record.owner.to_string() },
        annotations: &record.annotations,
    };
    // Strings and numbers alone: it cannot fail.
    serde_json::to_vec(&state).unwrap_or_default()
}

/// Of the process behind a pidfd that nobody has waited for.
pub(super) fn started(pid: i32, pidfd: BorrowedFd<'_>) -> Option<(i32, u64)> {
    let found = life(pid).ok()?;
    // Had it been waited for, another process could have its pid.
    crate::sys::process::pidfd_send_signal(pidfd.as_fd(), 0).ok()?;
    Some((pid, found.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_name_and_no_path() {
        for good in ["a", "shop-1.web", "0_+"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "ä", &"x".repeat(256)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
