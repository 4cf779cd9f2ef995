//! The journal of one pod: the plan, written before anything is done, then a line before each step.
//! Whoever finds it after a crash knows all that may exist. An append is one small write, so a kill cuts
//! it between lines or leaves a last line that is not whole and is not read. How long steps took goes
//! along with the next of these writes, for `podspec analyze`: it may be lost.

use super::StateError;
use crate::plan::step::{Plan, Planned, StepId};
use crate::plan::timing::{Phase, Times};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What was handed over: enough to carry it out, and to undo it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// The boot that the kernel objects are of.
    pub boot: String,
    pub plan: Plan,
    /// The pod as it was meant, to compare a later file with: a `PodSpec`.
    pub spec: Box<RawValue>,
    /// What the client did before, and when.
    #[serde(default)]
    pub phases: Vec<Phase>,
}

/// The plan of a header, for whoever needs nothing else of it.
pub fn plan_of(header: &[u8]) -> Result<Plan, serde_json::Error> {
    #[derive(Deserialize)]
    struct Part {
        plan: Plan,
    }
    serde_json::from_slice::<Part>(header).map(|part| part.plan)
}

/// Where a step of the plan is in the journal, and a digest that tells whether it is still the same.
#[derive(Debug)]
pub struct Excerpt {
    at: u32,
    length: u32,
    digest: Digest128,
}

/// Half of a SHA-256: of every step of a pod at rest one is kept in memory.
type Digest128 = [u8; 16];

fn digest(text: &[u8]) -> Digest128 {
    let whole: [u8; 32] = Sha256::digest(text).into();
    whole.first_chunk().copied().unwrap_or_default()
}

/// The steps of a header, in their order.
pub fn excerpts(header: &[u8]) -> Result<Vec<Excerpt>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Outline<'a> {
        #[serde(borrow)]
        plan: Steps<'a>,
    }
    #[derive(Deserialize)]
    struct Steps<'a> {
        #[serde(borrow)]
        steps: Vec<&'a RawValue>,
    }
    let outline: Outline<'_> = serde_json::from_slice(header)?;
    let excerpt = |raw: &&RawValue| {
        let text = raw.get().as_bytes();
        let at = text.as_ptr() as usize - header.as_ptr() as usize;
        let (at, length) = (u32::try_from(at).ok()?, u32::try_from(text.len()).ok()?);
        Some(Excerpt { at, length, digest: digest(text) })
    };
    outline
        .plan
        .steps
        .iter()
        .map(excerpt)
        .collect::<Option<_>>()
        .ok_or_else(|| serde::de::Error::custom("a journal of more than 4 GiB"))
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    begun: Vec<StepId>,
    /// Lines that wait for the next write.
    unwritten: String,
}

/// A journal as it was found.
#[derive(Debug)]
pub struct Found {
    pub header: Header,
    /// Steps that were begun, in that order; each may or may not be done.
    pub begun: Vec<StepId>,
    pub times: Times,
}

impl Journal {
    /// Writes a new journal; `header` is a [`Header`] as JSON, on one line.
    pub fn create(path: &Path, header: &[u8]) -> Result<Self, StateError> {
        let path = path.to_owned();
        let write = |source| StateError::Write { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
            .open(&path)
            .map_err(write)?;
        let mut text = Vec::with_capacity(header.len() + 1);
        text.extend_from_slice(header);
        text.push(b'\n');
        file.write_all(&text).map_err(write)?;
        Ok(Self { file, path, begun: Vec::new(), unwritten: String::new() })
    }

    /// Notes that a step is about to be done: before it, so that a crash orphans nothing.
    pub fn begin(&mut self, step: StepId) -> Result<(), StateError> {
        self.begun.push(step);
        self.unwritten.push_str(&format!("begin {step}\n"));
        self.append()
    }

    /// Notes how long something took, with the next write.
    pub fn note(&mut self, line: &str) {
        self.unwritten.push_str(line);
    }

    /// Writes what was noted. A disk that refuses costs the report, never the pod.
    pub fn flush(&mut self) {
        if !self.unwritten.is_empty() {
            let _ = self.append();
        }
    }

    /// Steps that were begun, in that order.
    pub fn begun(&self) -> &[StepId] {
        &self.begun
    }

    /// A step of the plan, from the file: as it was written, or an error.
    pub fn read_back(&self, excerpt: &Excerpt) -> Result<Planned, StateError> {
        let path = || self.path.clone();
        let mut text = vec![0; excerpt.length as usize];
        self.file
            .read_exact_at(&mut text, excerpt.at.into())
            .map_err(|source| StateError::Read { path: path(), source })?;
        if digest(&text) != excerpt.digest {
            return Err(StateError::Altered { path: path() });
        }
        serde_json::from_slice(&text).map_err(|source| StateError::Damaged { path: path(), source })
    }

    fn append(&mut self) -> Result<(), StateError> {
        let written = self.file.write_all(self.unwritten.as_bytes());
        self.unwritten.clear();
        written.map_err(|source| StateError::Write { path: self.path.clone(), source })
    }
}

/// Reads a journal; `None` where there is none, or its first line was never finished: then nothing
/// was begun either.
pub fn read(path: &Path) -> Result<Option<Found>, StateError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Read { path: path.to_owned(), source }),
    };
    let Some((first, rest)) = text.split_once('\n') else { return Ok(None) };
    let header: Header = serde_json::from_str(first)
        .map_err(|source| StateError::Damaged { path: path.to_owned(), source })?;
    let mut times = Times { phases: header.phases.clone(), ..Times::default() };
    // A last line without its end may lack digits.
    let whole = rest.rfind('\n').map_or("", |end| &rest[..end]);
    whole.lines().for_each(|line| times.read_line(line));
    Ok(Some(Found { header, begun: begun_steps(rest), times }))
}

fn begun_steps(lines: &str) -> Vec<StepId> {
    let mut seen = BTreeSet::new();
    lines
        .lines()
        .filter_map(|line| line.strip_prefix("begin ")?.parse().ok())
        .filter(|step| seen.insert(*step))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begun_twice_counts_once_and_a_cut_line_does_not_harm() {
        assert_eq!(begun_steps("begin 0\nbegin 1\nbegin 0\nbegi"), [0, 1]);
    }

    #[test]
    fn what_was_never_finished_is_no_journal() {
        let path = std::env::temp_dir().join(format!("podspec-journal-{}", std::process::id()));
        std::fs::write(&path, "{\"boot\":").unwrap();
        assert!(read(&path).unwrap().is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap().is_none());
    }
}
