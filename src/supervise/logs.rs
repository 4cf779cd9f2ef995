//! A container's output on disk, as records of the form that the kubelet writes (the CRI log format):
//! `TIME STREAM F|P TEXT`, a line each; `P` says that the line goes on in the next record of its stream.
//! Nothing a container prints can look like another record, and what it prints is bounded: a file of
//! `max_size` is turned over, and of `max_files` files the oldest goes.

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A line longer than this is cut into records.
pub const LONGEST_RECORD: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What a container has written, at most 64 KiB of it; nothing at its end. It is read into memory that nobody has
/// cleared before: most bites are small, and each page that is touched costs a fault.
pub fn bite<'a>(from: BorrowedFd<'_>, memory: &'a mut Vec<u8>) -> Result<&'a [u8], Errno> {
    memory.clear();
    memory.reserve_exact(64 * 1024);
    rustix::io::read(from, spare_capacity(memory))?;
    Ok(memory)
}

/// Writes the records of one container.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    max_size: u64,
    max_files: u32,
    /// The begun line of each stream.
    partial: [Vec<u8>; 2],
    /// Records lost because the disk refused them.
    pub lost: u64,
}

impl Log {
    /// Begins a new log; logs of an earlier run under this name go.
    pub fn create(path: &Path, max_size: u64, max_files: u32) -> io::Result<Self> {
        let mut number = 1;
        // Whatever their number was then: they have none missing between.
        while remove_if_there(&numbered(path, number))? {
            number += 1;
        }
        let mut log = Self {
            path: path.to_owned(),
            file: None,
            size: 0,
            max_size,
            max_files,
            partial: [Vec::new(), Vec::new()],
            lost: 0,
        };
        // Truncated and not removed: on ext4 a new file costs more.
        log.open()?.set_len(0)?;
        log.size = 0;
        Ok(log)
    }

    /// Goes on with a log that another process began.
    pub fn resume(path: &Path, max_size: u64, max_files: u32) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).custom_flags(FLAGS).open(path)?;
        let size = file.metadata()?.len();
        let partial = [Vec::new(), Vec::new()];
        let path = path.to_owned();
        Ok(Self { path, file: Some(file), size, max_size, max_files, partial, lost: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Allocates what it keeps anew.
    pub fn relocate(&mut self) {
        self.path = self.path.clone();
    }

    /// Takes what the container wrote.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: jiff::Timestamp) {
        let mut records = Vec::with_capacity(bytes.len() + 128);
        let mut rest = bytes;
        let partial = &mut self.partial[stream as usize];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            partial.extend_from_slice(&rest[..end]);
            push_line(&mut records, stream, partial, now, true);
            rest = &rest[end + 1..];
        }
        partial.extend_from_slice(rest);
        if partial.len() >= LONGEST_RECORD {
            push_line(&mut records, stream, partial, now, false);
        }
        if partial.is_empty() {
            // What a long line took is not kept for the next.
            *partial = Vec::new();
        }
        self.append(&records);
    }

    /// The container is gone: a line that it left unfinished is written as it is.
    pub fn finish(&mut self, now: jiff::Timestamp) {
        let mut records = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = &mut self.partial[stream as usize];
            if !partial.is_empty() {
                push_line(&mut records, stream, partial, now, true);
            }
        }
        self.append(&records);
    }

    /// A disk that refuses costs records, never the container: it goes on, and so do we.
    fn append(&mut self, mut records: &[u8]) {
        while !records.is_empty() {
            let room = usize::try_from(self.max_size.saturating_sub(self.size));
            let fits = whole_records(records, room.unwrap_or(usize::MAX));
            if fits == 0 && self.size > 0 {
                self.turn_over();
                continue;
            }
            // A record that is larger than a whole file is written all the same.
            let now = if fits == 0 { first_record(records) } else { fits };
            match self.open().and_then(|file| file.write_all(&records[..now])) {
                Ok(()) => self.size += now as u64,
                Err(_) => self.lost += 1,
            }
            records = &records[now..];
        }
    }

    fn open(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .custom_flags(FLAGS)
                .open(&self.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// `log` becomes `log.1`, that `log.2`, and so on; with one file only, it begins anew.
    fn turn_over(&mut self) {
        self.file = None;
        for n in (1..self.max_files.max(1)).rev() {
            let from = if n == 1 { self.path.clone() } else { numbered(&self.path, n - 1) };
            // A number that is not there yet is no error, and a refusal only means a longer file.
            let _ = std::fs::rename(from, numbered(&self.path, n));
        }
        if self.max_files <= 1 {
            let _ = std::fs::remove_file(&self.path);
        }
        self.size = 0;
    }
}

/// How many bytes of `records` are whole records that fit in `room`.
fn whole_records(records: &[u8], room: usize) -> usize {
    if records.len() <= room {
        return records.len();
    }
    records[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn first_record(records: &[u8]) -> usize {
    records.iter().position(|byte| *byte == b'\n').map_or(records.len(), |end| end + 1)
}

const FLAGS: i32 = libc::O_CLOEXEC | libc::O_NOFOLLOW;

/// The name of an older file: `web.log.1` is the newest of them.
pub fn numbered(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// Whether there was something to remove.
fn remove_if_there(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Moves a line out of `partial`, in records of bounded length.
fn push_line(
    records: &mut Vec<u8>,
    stream: Stream,
    partial: &mut Vec<u8>,
    now: jiff::Timestamp,
    ended: bool,
) {
    let mut pieces = partial.chunks(LONGEST_RECORD).peekable();
    if pieces.peek().is_none() {
        push_record(records, stream, b"", now, 'F');
    }
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        push_record(records, stream, piece, now, if last && ended { 'F' } else { 'P' });
    }
    partial.clear();
}

fn push_record(
    records: &mut Vec<u8>,
    stream: Stream,
    text: &[u8],
    now: jiff::Timestamp,
    tag: char,
) {
    records.extend_from_slice(format!("{now:.9} {} {tag} ", stream.word()).as_bytes());
    records.extend_from_slice(text);
    records.push(b'\n');
}

/// The last lines of a log, as text for a message.
pub fn tail(path: &Path, lines: usize) -> Vec<String> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let all: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()).collect();
    let records = all[all.len().saturating_sub(lines)..].iter().filter_map(|line| parse(line));
    records.map(|record| String::from_utf8_lossy(record.text).into_owned()).collect()
}

/// One record, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub time: &'a str,
    pub stream: Stream,
    /// Whether the line ends here.
    pub ends: bool,
    pub text: &'a [u8],
}

/// Reads a line of a log, without its line feed; `None` for a line that is no record.
pub fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let ends = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Record { time, stream, ends, text: parts.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("podspec-log-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir.join("web.log")
    }

    /// What was written, put together again from the records of one stream.
    fn read_back(bytes: &[u8], stream: Stream) -> Vec<u8> {
        let mut text = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record = parse(line).expect("a record");
            if record.stream == stream {
                text.extend_from_slice(record.text);
                if record.ends {
                    text.push(b'\n');
                }
            }
        }
        text
    }

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let long = vec![b'x'; 3 * LONGEST_RECORD + 7];
        let fake =
            b"2026-01-01T00:00:00Z stderr F not a record of ours\n\n\xff\x00\x1b[2J\n".to_vec();
        let text = [fake, long, b"\nthe end\n".to_vec()].concat();
        for size in [1, 7, 4096, 65536, text.len()] {
            let path = scratch(&format!("cut{size}"));
            let mut log = Log::create(&path, u64::MAX, 1).unwrap();
            for chunk in text.chunks(size) {
                log.write(Stream::Stdout, chunk, now);
                log.write(Stream::Stderr, b"e\n", now);
            }
            log.finish(now);
            let bytes = std::fs::read(&path).unwrap();
            assert!(read_back(&bytes, Stream::Stdout) == text, "chunks of {size}");
            assert_eq!(read_back(&bytes, Stream::Stderr).len(), 2 * text.chunks(size).len());
        }
    }

    #[test]
    fn files_are_turned_over_and_bounded() {
        let path = scratch("turn");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let mut log = Log::create(&path, 1000, 3).unwrap();
        for n in 0..200 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), now);
        }
        let sizes: Vec<u64> = [path.clone(), numbered(&path, 1), numbered(&path, 2)]
            .iter()
            .map(|file| std::fs::metadata(file).unwrap().len())
            .collect();
        assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
        let many: String = (0..100).map(|n| format!("more {n}\n")).collect();
        log.write(Stream::Stdout, many.as_bytes(), now);
        let size = std::fs::metadata(numbered(&path, 1)).unwrap().len();
        assert!(size <= 1000, "one write of many lines made a file of {size}");
        assert!(!numbered(&path, 3).exists(), "a fourth file");
        let last = std::fs::read(&path).unwrap();
        assert!(read_back(&last, Stream::Stdout).ends_with(b"more 99\n"));
    }

    #[test]
    fn a_line_without_an_end_is_kept() {
        let path = scratch("partial");
        let mut log = Log::create(&path, 1000, 1).unwrap();
        log.write(Stream::Stdout, b"no line feed", jiff::Timestamp::UNIX_EPOCH);
        assert!(std::fs::read(&path).unwrap().is_empty(), "a line is a record when it is whole");
        log.finish(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(read_back(&std::fs::read(&path).unwrap(), Stream::Stdout), b"no line feed\n");
    }
}
