//! The pod file on its way in: found, read with bounds, and loaded in this process's environment.

use super::error::{CliError, report_problems};
use super::output;
use crate::names::PodName;
use crate::spec::lock::{self, Lock};
use crate::spec::problem::{Problem, Severity};
use crate::spec::{self, Context, Found, Loaded};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most that a pod file or an env file may hold, bytes.
const LARGEST: u64 = 4 << 20;

/// A file as it was read.
#[derive(Debug, Clone)]
pub(super) struct PodFile {
    /// As the user wrote it, fit for a terminal; `<stdin>` for `-`.
    pub name: String,
    pub text: String,
    /// Relative host paths begin here.
    base: PathBuf,
    default_name: Option<String>,
    /// Whether the paths that it names are looked up on this machine.
    looks: bool,
    /// Where its lock would be; None where it is not obeyed, or has no place.
    lock: Option<PathBuf>,
}

impl PodFile {
    /// As a command takes it.
    pub(super) fn argument(&self) -> &str {
        if self.name == "<stdin>" { "-" } else { &self.name }
    }

    /// The file alone counts: what it says of this machine is not asked.
    pub(super) fn alone(mut self) -> Self {
        self.looks = false;
        self
    }

    /// What it names as tags stays so, whatever its lock says.
    pub(super) fn unlocked(mut self) -> Self {
        self.lock = None;
        self
    }

    /// As if it held this text.
    pub(super) fn with_text(&self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self.clone() }
    }

    /// Where the lock of this pod file is: beside it, `pod.lock` for `pod.yaml`.
    pub(super) fn lock(path: &Path) -> PathBuf {
        path.with_extension("lock")
    }

    /// Reads `path`, ./pod.yaml where none is given, standard input for `-`.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, CliError> {
        let path = named.unwrap_or(Path::new("pod.yaml"));
        if path == Path::new("-") {
            return Self::read_stdin();
        }
        let unreadable = |error: io::Error| CliError::Usage {
            message: match error.kind() {
                io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
                io::ErrorKind::IsADirectory => {
                    format!("{} is a directory, and one pod file is wanted", path.display())
                }
                _ => format!("cannot read {}: {error}", path.display()),
            },
            hint: match named {
                None => Some(match pod_files_here().as_slice() {
                    [] => "name one, or `-` for standard input".to_owned(),
                    [only] => format!("name the one that is here: {only}"),
                    some => format!("name one of those that are here: {}", some.join(", ")),
                }),
                Some(_) if error.kind() == io::ErrorKind::Other && is_special(path) => {
                    Some("`-` reads standard input, also from a pipe".to_owned())
                }
                Some(_) => None,
            },
        };
        let full = std::path::absolute(path).map_err(unreadable)?;
        let base = full.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self {
            name: output::sanitize(&path.display().to_string()),
            text: read_text(path).map_err(unreadable)?,
            base,
            default_name: spec::default_name(&full),
            looks: true,
            lock: Some(Self::lock(path)),
        })
    }

    fn read_stdin() -> Result<Self, CliError> {
        let unreadable = |error: io::Error| {
            CliError::usage(format!("cannot read a pod file from standard input: {error}"))
        };
        let text = bounded_text(io::stdin().lock()).map_err(unreadable)?;
        let base = std::env::current_dir().map_err(unreadable)?;
        Ok(Self {
            name: "<stdin>".to_owned(),
            text,
            base,
            default_name: None,
            looks: true,
            lock: None,
        })
    }

    /// Every pod of the file, or every problem of it. Warnings are printed.
    pub(super) fn load(&self) -> Result<Loaded, CliError> {
        let loaded =
            self.judge().map_err(|problems| CliError::File(vec![(self.clone(), problems)]))?;
        if !loaded.warnings.is_empty() && !output::is_quiet() {
            output::error_text(&report_problems(self, &loaded.warnings));
        }
        Ok(loaded)
    }

    /// As `load`, and prints nothing.
    pub(super) fn judge(&self) -> Result<Loaded, Vec<Problem>> {
        let mut loaded = self.with_context(|context| spec::load(&self.text, context))?;
        loaded.warnings.extend(self.obey(&mut loaded.pods));
        if loaded.warnings.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(loaded.warnings);
        }
        Ok(loaded)
    }

    /// Puts the digests of the lock in the place of tags, where there is a lock.
    fn obey(&self, pods: &mut [spec::Pod]) -> Vec<Problem> {
        let Some(path) = &self.lock else { return Vec::new() };
        // No file is looked for where none could say anything.
        if pods.iter().all(|pod| lock::tags(&pod.spec).is_empty()) {
            return Vec::new();
        }
        let name = output::sanitize(&path.display().to_string());
        let read = match read_text(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => Err(error.to_string()),
            Ok(text) => Lock::read(&text),
        };
        match read {
            Ok(lock) => lock.apply(pods, &name, &self.name),
            Err(why) => vec![lock::unreadable(pods, &name, &self.name, &why)],
        }
    }

    /// The names of its pods, whatever else is wrong with it.
    pub(super) fn names(&self) -> Result<Vec<PodName>, CliError> {
        self.with_context(|context| spec::name_only(&self.text, context))
            .map_err(|problems| CliError::File(vec![(self.clone(), problems)]))
    }

    /// Calls `load` with this file's surroundings: the environment, over an `.env` beside the file.
    fn with_context<T>(&self, load: impl FnOnce(&Context<'_>) -> T) -> T {
        #[expect(clippy::disallowed_methods, reason = "the command line is who reads it")]
        let env = |name: &str| std::env::var(name).ok();
        load(&Context {
            base: self.base.clone(),
            default_name: self.default_name.clone(),
            env: &env,
            read: &|path| read_text(path),
            look: &|path| {
                if !self.looks {
                    return Some(Found::Unseen);
                }
                let found = std::fs::metadata(path).ok()?;
                Some(if found.is_dir() { Found::Directory } else { Found::File })
            },
        })
    }
}

/// Some of those in this directory that bear the name of one, as `podspec init NAME` writes them.
fn pod_files_here() -> Vec<String> {
    let all = std::fs::read_dir(".").into_iter().flatten().flatten();
    let names = all.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".pod.yaml")).collect();
    names.sort();
    names.truncate(5);
    names.iter().map(|name| output::sanitize(name)).collect()
}

/// Neither a file nor a directory.
fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// A regular file's text, bounded; a FIFO or a device could keep us for ever.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let file: File =
        std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    bounded_text(file)
}

fn bounded_text(from: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |byte| byte + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        io::Error::other(format!("it is not UTF-8 at line {line}, column {column}"))
    })
}
