//! `podspec logs`: what containers wrote, from their logs; following by inotify, not by looking again.

use super::Format;
use super::error::CliError;
use super::output::{self, paint, prefix_style};
use super::running;
use super::table::cut_middle;
use super::target::{self, TargetArg};
use crate::names::{ContainerName, PodName};
use crate::state::record::PodStatus;
use crate::state::store::Store;
use crate::supervise::logs::{Record, Stream, numbered, parse};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Of a container's name in front of its lines, however narrow the terminal is.
const NAME_LEAST: usize = 8;

/// Show what containers wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec logs shop                   all containers, by time
  podspec logs -f --tail 20 shop/web  the last lines, and what comes
  podspec logs -t --since 10m shop/web shop/db
  podspec logs -f                     ./pod.yaml's; `/web` is its container
  podspec logs -f shop billing        several pods, each line with its own
  podspec logs --format json shop | jq -r .text

Lines are in the order of their times. On a terminal whatever it would obey (escapes, controls, text
turned round) is shown as \u{fffd}; `--raw` passes it on, and so does every other output: a pipe gets
the bytes that the container wrote. JSON is one object a line.

The logs of a pod that is down stay until its next `up`.")]
pub(super) struct Logs {
    /// Go on until the containers have ended
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines of each container
    #[arg(long, value_name = "N", value_parser = lines)]
    #[arg(allow_negative_numbers = true)]
    tail: Option<usize>,
    /// Only since a time: 2026-11-23T18:00:00Z, or a duration before now such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// The bytes that the containers wrote, also to a terminal, which obeys them
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    /// Pods, or containers of them; the pods of ./pod.yaml where none is named
    #[arg(value_name = "POD[/CONTAINER]")]
    targets: Vec<TargetArg>,
}

impl Logs {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let since = self.since.as_deref().map(parse_since).transpose()?;
        let pods = target::by_pod(target::many(&self.targets)?);
        let mut followers = Vec::new();
        let mut shown = 0;
        for (pod, containers) in &pods {
            let mut follower = Follower::open(store, pod, containers, false)?;
            follower.timestamps = self.timestamps;
            follower.json = self.format == Format::Json;
            follower.raw = self.raw || !output::stdout_is_terminal();
            follower.since.clone_from(&since);
            if pods.len() > 1 {
                follower.name_pod(shown);
            }
            shown += follower.logs.len();
            followers.push(follower);
        }
        align(&mut followers);
        show_begin(&mut followers, self.tail)?;
        if self.follow {
            follow(followers, store)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Names in front of lines are as wide in each pod.
fn align(followers: &mut [Follower]) {
    let logs = || followers.iter().flat_map(|follower| &follower.logs);
    let width = logs().map(|log| log.width).max().unwrap_or(0);
    for log in followers.iter_mut().flat_map(|follower| &mut follower.logs) {
        log.width = width;
    }
}

/// What is there already, of all pods together: merged by time, or the last lines of each container.
fn show_begin(followers: &mut [Follower], tail: Option<usize>) -> Result<(), CliError> {
    let mut lines = Vec::new();
    let mut places = Vec::new();
    for (number, follower) in followers.iter_mut().enumerate() {
        let of_pod = follower.take_begin(tail);
        places.extend((0..of_pod.len()).map(|log| (number, log)));
        lines.extend(of_pod);
    }
    while let Some(next) = earliest(&lines) {
        if let Some(line) = lines[next].pop_front() {
            let (number, log) = places[next];
            followers[number].show(log, &line)?;
        }
    }
    Ok(())
}

/// Until the containers have ended and none will start again.
fn follow(mut followers: Vec<Follower>, store: &Store) -> Result<(), CliError> {
    loop {
        let mut going = Vec::new();
        for mut follower in followers {
            // First whether they have ended, then what they wrote: the other way round loses the last.
            let over = follower.is_over(store);
            follower.show_new()?;
            if !over {
                going.push(follower);
            }
        }
        followers = going;
        if followers.is_empty() {
            return Ok(());
        }
        // A supervisor that is killed writes nothing that would wake us.
        let records = followers.iter().filter_map(|it| target::read(store, &it.pod).ok().flatten());
        let supervisors: Vec<_> = records.filter_map(|it| running::supervisor(&it)).collect();
        // One that has gone since we looked has no descriptor any more.
        if followers.iter().any(|follower| follower.is_over(store)) {
            continue;
        }
        let mut fds: Vec<PollFd<'_>> =
            followers.iter().map(|follower| PollFd::new(follower, PollFlags::IN)).collect();
        fds.extend(supervisors.iter().map(|pidfd| PollFd::new(pidfd, PollFlags::IN)));
        fds.push(output::reader());
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(CliError::host("cannot wait", &io::Error::from(errno))),
        }
        fds.last().map_or(Ok(()), output::reads)?;
    }
}

fn lines(word: &str) -> Result<usize, &'static str> {
    word.parse().map_err(|_| "write a number of lines, such as 20")
}

/// A time in the form that records have, so that both compare as text.
pub(super) fn parse_since(text: &str) -> Result<String, CliError> {
    let wrong = || CliError::Usage {
        message: format!("`{text}` is no time"),
        hint: Some("write 2026-11-23T18:00:00Z, or a duration such as 90s, 10m, 2h".to_owned()),
    };
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let ago: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
            jiff::Timestamp::now().checked_sub(ago).map_err(|_| wrong())?
        }
    };
    Ok(format!("{time:.9}"))
}

/// The logs of a pod's containers, read on as they grow.
pub(super) struct Follower {
    pod: PodName,
    logs: Vec<Reader>,
    /// Names containers in front of each line.
    prefix: bool,
    pub timestamps: bool,
    pub since: Option<String>,
    /// Bytes as they are; else without what a terminal would obey.
    raw: bool,
    json: bool,
    inotify: Inotify,
}

impl Follower {
    /// `wanted` empty: every container that has a log.
    pub(super) fn open(
        store: &Store,
        pod: &PodName,
        wanted: &[ContainerName],
        prefix: bool,
    ) -> Result<Self, CliError> {
        let failed =
            |error: io::Error| CliError::host(format!("cannot read the logs of `{pod}`"), &error);
        let directory = store.logs(pod);
        if !directory.try_exists().map_err(failed)? {
            return Err(CliError::refused(
                format!("there are no logs of a pod `{pod}`"),
                target::which_are_there(store, pod),
            ));
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| failed(errno.into()))?;
        let of_logs = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        inotify.add_watch(&directory, of_logs).map_err(|errno| failed(errno.into()))?;
        // The state's replacement, and the end of its directory.
        let of_state = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE_SELF;
        let _ = inotify.add_watch(store.pod(pod).path(), of_state);
        let mut follower = Self {
            pod: pod.clone(),
            logs: Vec::new(),
            prefix,
            timestamps: false,
            since: None,
            raw: !output::stdout_is_terminal(),
            json: false,
            inotify,
        };
        follower.find_logs(store, wanted).map_err(failed)?;
        if let Some(missing) =
            wanted.iter().find(|name| !follower.logs.iter().any(|log| log.name == name.as_str()))
        {
            return Err(CliError::refused(
                format!("there is no log of `{pod}/{missing}`"),
                format!("`podspec ps {pod}` lists its containers"),
            ));
        }
        follower.prefix |= follower.logs.len() > 1;
        Ok(follower)
    }

    /// One log for each container: in the order of the pod where it is there, else by name.
    fn find_logs(&mut self, store: &Store, wanted: &[ContainerName]) -> io::Result<()> {
        let directory = store.logs(&self.pod);
        let mut names: Vec<String> = Vec::new();
        if let Ok(Some(record)) = store.pod(&self.pod).read_record() {
            names = record.containers.iter().map(|c| c.name.to_string()).collect();
        } else {
            for entry in std::fs::read_dir(&directory)? {
                let name = entry?.file_name();
                names.extend(name.to_str().and_then(|n| n.strip_suffix(".log")).map(str::to_owned));
            }
            names.sort();
        }
        names.retain(|name| wanted.is_empty() || wanted.iter().any(|w| w.as_str() == name));
        let width = names.iter().map(String::len).max().unwrap_or(0);
        let readers = names.into_iter().enumerate();
        self.logs = readers
            .map(|(index, name)| {
                Reader::new(directory.join(format!("{name}.log")), name, index, width)
            })
            .collect();
        Ok(())
    }

    /// What is there already, or the last of it, of each container.
    fn take_begin(&mut self, tail: Option<usize>) -> Vec<VecDeque<Line>> {
        for log in &mut self.logs {
            log.start_at_oldest();
        }
        let mut lines: Vec<VecDeque<Line>> = Vec::new();
        for log in &mut self.logs {
            let mut of_log = VecDeque::new();
            while let Some(line) = log.next_line() {
                if self.since.as_ref().is_some_and(|since| line.time < *since) {
                    continue;
                }
                if tail.is_some_and(|most| of_log.len() >= most) {
                    of_log.pop_front();
                }
                if tail != Some(0) {
                    of_log.push_back(line);
                }
            }
            lines.push(of_log);
        }
        lines
    }

    /// What was written since the last look.
    pub(super) fn show_new(&mut self) -> Result<(), CliError> {
        while self.show_some()? {}
        Ok(())
    }

    /// A part of it, of each container; `true` where there may be more. A container can write faster
    /// than a terminal shows, and whoever waits for something else, too, must come to that.
    pub(super) fn show_some(&mut self) -> Result<bool, CliError> {
        let (lines, more) = self.take_some();
        for (index, line) in &lines {
            self.show(*index, line)?;
        }
        Ok(more)
    }

    /// As `show_some`: the lines, each with its container's place among those that are followed.
    pub(super) fn take_some(&mut self) -> (Vec<(usize, Line)>, bool) {
        const LINES: usize = 1000;
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        let (mut lines, mut more) = (Vec::new(), false);
        for (index, log) in self.logs.iter_mut().enumerate() {
            let mut taken = 0;
            while taken < LINES
                && let Some(line) = log.next_line()
            {
                if self.since.as_ref().is_none_or(|since| line.time >= *since) {
                    lines.push((index, line));
                }
                taken += 1;
            }
            more |= taken == LINES;
        }
        (lines, more)
    }

    /// Leaves out what is there already, but for so many bytes of each container.
    pub(super) fn skip_to_last(&mut self, bytes: u64) {
        for log in &mut self.logs {
            log.skip_to_last(bytes);
        }
    }

    /// The containers that are followed.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.logs.iter().map(|log| log.name.as_str())
    }

    /// Lines begin with the pod's name too; so many containers of other pods have their colours.
    pub(super) fn name_pod(&mut self, others: usize) {
        self.prefix = true;
        for log in &mut self.logs {
            log.index += others;
            log.shown = format!("{}/{}", self.pod, log.name);
            log.width += self.pod.as_str().len() + 1;
        }
    }

    fn is_over(&self, store: &Store) -> bool {
        let Ok(Some(record)) = target::read(store, &self.pod) else { return true };
        if record.status == PodStatus::Unsupervised {
            return true;
        }
        use crate::state::record::ContainerStatus::{Exited, Failed, Stopped};
        record
            .containers
            .iter()
            .filter(|container| self.logs.iter().any(|log| log.name == container.name.as_str()))
            .all(|container| matches!(container.status, Exited | Failed | Stopped))
    }

    fn show(&self, index: usize, line: &Line) -> Result<(), CliError> {
        let log = &self.logs[index];
        if self.json {
            return output::json_line(&LineRecord {
                time: &line.time,
                pod: self.pod.as_str(),
                container: &log.name,
                stream: line.stream.word(),
                text: &String::from_utf8_lossy(&line.text),
            });
        }
        let mut text = Vec::with_capacity(line.text.len() + 32);
        if self.prefix {
            // Most of a terminal is for what was written.
            let width = log.width.min((output::stdout_width() / 3).max(NAME_LEAST));
            let name = format!("{:<width$} | ", cut_middle(&log.shown, width));
            let name = paint(&name, prefix_style(log.index), output::stdout_colors());
            text.extend_from_slice(name.as_bytes());
        }
        if self.timestamps {
            text.extend_from_slice(line.time.as_bytes());
            text.push(b' ');
        }
        if self.raw {
            text.extend_from_slice(&line.text);
        } else {
            text.extend_from_slice(line.harmless().as_bytes());
        }
        text.push(b'\n');
        output::raw(&text)
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn earliest(lines: &[VecDeque<Line>]) -> Option<usize> {
    let heads = lines.iter().enumerate().filter_map(|(index, of)| Some((&of.front()?.time, index)));
    heads.min().map(|(_, index)| index)
}

/// A line as JSON has it; what is no UTF-8 is replaced.
#[derive(serde::Serialize)]
struct LineRecord<'a> {
    time: &'a str,
    pod: &'a str,
    container: &'a str,
    stream: &'a str,
    text: &'a str,
}

/// A whole line of a container.
pub(super) struct Line {
    pub(super) time: String,
    pub(super) stream: Stream,
    text: Vec<u8>,
}

impl Line {
    /// As a terminal may have it.
    pub(super) fn harmless(&self) -> String {
        // A terminal's lines (`tty: true`) end with CR LF.
        let line = self.text.strip_suffix(b"\r").unwrap_or(&self.text);
        output::sanitize(&String::from_utf8_lossy(line))
    }
}

/// Reads one container's log across its turned-over files.
struct Reader {
    path: PathBuf,
    name: String,
    /// The name in front of lines.
    shown: String,
    index: usize,
    width: usize,
    file: Option<(BufReader<File>, u64)>,
    /// A record that is not whole yet.
    begun: Vec<u8>,
    /// Lines of each stream that go on in a later record.
    partial: [Vec<u8>; 2],
}

impl Reader {
    fn new(path: PathBuf, name: String, index: usize, width: usize) -> Self {
        let (begun, partial) = (Vec::new(), [Vec::new(), Vec::new()]);
        let shown = name.clone();
        Self { path, name, shown, index, width, file: None, begun, partial }
    }

    fn start_at_oldest(&mut self) {
        let mut oldest = 0;
        while numbered(&self.path, oldest + 1).exists() {
            oldest += 1;
        }
        self.open(oldest);
    }

    /// Begins with a whole record among the last bytes of the current file.
    fn skip_to_last(&mut self, bytes: u64) {
        self.open(0);
        let Some((file, _)) = &mut self.file else { return };
        let length = file.get_ref().metadata().map_or(0, |metadata| metadata.len());
        if length > bytes {
            // A file that cannot be read so is read from its begin.
            let _ = file.seek(SeekFrom::Start(length - bytes));
            let _ = file.skip_until(b'\n');
        }
    }

    /// Opens the file of a number, 0 the current one.
    fn open(&mut self, number: u32) {
        let path = if number == 0 { self.path.clone() } else { numbered(&self.path, number) };
        self.file = open_with_inode(&path);
    }

    fn next_line(&mut self) -> Option<Line> {
        loop {
            if self.file.is_none() {
                self.open(0);
            }
            let (file, _) = self.file.as_mut()?;
            file.read_until(b'\n', &mut self.begun).ok()?;
            if self.begun.pop_if(|last| *last == b'\n').is_none() {
                if !self.turn_page() {
                    return None;
                }
                continue;
            }
            let record = std::mem::take(&mut self.begun);
            if let Some(line) = parse(&record).and_then(|record| self.join(&record)) {
                return Some(line);
            }
        }
    }

    fn join(&mut self, record: &Record<'_>) -> Option<Line> {
        let partial = &mut self.partial[match record.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        }];
        partial.extend_from_slice(record.text);
        record.ends.then(|| Line {
            time: record.time.to_owned(),
            stream: record.stream,
            text: std::mem::take(partial),
        })
    }

    /// At the end of a file: goes on with the next newer one, or with what was written anew in its place;
    /// `false` where there is none.
    fn turn_page(&mut self) -> bool {
        let Some((file, inode)) = &mut self.file else { return false };
        let current = inode_of(&self.path);
        if current.is_none() {
            return false;
        }
        if current == Some(*inode) {
            let length = file.get_ref().metadata().map_or(0, |metadata| metadata.len());
            let is_anew =
                file.stream_position().is_ok_and(|at| at > length) && file.rewind().is_ok();
            if is_anew {
                self.begun.clear();
                self.partial = [Vec::new(), Vec::new()];
            }
            return is_anew;
        }
        let mut number = 1;
        loop {
            match inode_of(&numbered(&self.path, number)) {
                Some(found) if found == *inode => break,
                Some(_) => number += 1,
                // Ours is gone already: the oldest that is left comes next.
                None => break,
            }
        }
        self.open(number - 1);
        true
    }
}

fn open_with_inode(path: &Path) -> Option<(BufReader<File>, u64)> {
    let file = File::open(path).ok()?;
    let inode = file.metadata().ok()?.ino();
    Some((BufReader::new(file), inode))
}

fn inode_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::logs::Log;

    #[test]
    fn a_reader_follows_a_log_over_its_pages() {
        let dir = std::env::temp_dir().join(format!("podspec-reader-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("web.log");
        let mut log = Log::create(&path, 300, 5).unwrap();
        let mut reader = Reader::new(path, "web".to_owned(), 0, 3);
        let mut seen = Vec::new();
        for n in 0..40 {
            log.write(
                Stream::Stdout,
                format!("line {n}\n").as_bytes(),
                jiff::Timestamp::UNIX_EPOCH,
            );
            if n % 7 == 0 {
                while let Some(line) = reader.next_line() {
                    seen.push(String::from_utf8(line.text).unwrap());
                }
            }
        }
        while let Some(line) = reader.next_line() {
            seen.push(String::from_utf8(line.text).unwrap());
        }
        let all: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
        assert_eq!(seen, all);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_log_that_is_begun_anew_is_read_from_its_begin() {
        let dir = std::env::temp_dir().join(format!("podspec-anew-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("web.log");
        let write = |log: &mut Log, text: &str| {
            log.write(Stream::Stdout, text.as_bytes(), jiff::Timestamp::UNIX_EPOCH);
        };
        let mut log = Log::create(&path, 1 << 20, 5).unwrap();
        write(&mut log, "a line of an earlier run\nand one without an end");
        let mut reader = Reader::new(path.clone(), "web".to_owned(), 0, 3);
        assert!(reader.next_line().is_some() && reader.next_line().is_none());
        let mut log = Log::create(&path, 1 << 20, 5).unwrap();
        write(&mut log, "new\n");
        assert_eq!(reader.next_line().unwrap().text, b"new");
        assert!(reader.next_line().is_none());

        // Of the last bytes only whole lines.
        (0..100).for_each(|n| write(&mut log, &format!("line {n}\n")));
        let mut reader = Reader::new(path, "web".to_owned(), 0, 3);
        reader.skip_to_last(200);
        let first = String::from_utf8(reader.next_line().unwrap().text).unwrap();
        assert!(first.starts_with("line 9"), "{first}");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_time_may_be_a_duration_before_now() {
        assert_eq!(parse_since("2026-11-23T18:00:00Z").unwrap(), "2026-11-23T18:00:00.000000000Z");
        assert!(parse_since("10m").unwrap() < format!("{:.9}", jiff::Timestamp::now()));
        assert!(parse_since("yesterday").is_err());
    }
}
