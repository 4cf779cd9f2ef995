//! Our own terminal lent to a process in a container, by `exec` and `attach`: raw while it lasts, its size
//! passed on, what is typed carried over, and the keys that leave.

use oci_spec::runtime::{Box as Cells, BoxBuilder, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

/// Our terminal passes every key on until this is dropped.
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// How large ours is, where it is one.
pub(super) fn own_size() -> Option<Cells> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    BoxBuilder::default().height(size.ws_row).width(size.ws_col).build().ok()
}

/// A process that has a terminal has one of our size, where it asks for none of its own.
pub(super) fn lend_size(process: &mut Process) {
    if process.terminal() == Some(true) && process.console_size().is_none() {
        process.set_console_size(own_size());
    }
}

/// The other terminal is as large as ours. Who draws on it hears of a change alone: `redraw` makes one.
pub(super) fn copy_size(master: BorrowedFd<'_>, redraw: bool) {
    let Ok(size) = tcgetwinsize(io::stdin()) else { return };
    if redraw && tcgetwinsize(master).is_ok_and(|known| known == size) {
        let mut other = size;
        other.ws_row = other.ws_row.saturating_add(1);
        let _ = rustix::termios::tcsetwinsize(master, other);
    }
    let _ = rustix::termios::tcsetwinsize(master, size);
}

/// What became of what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    GoOn,
    /// There is no more, or nobody to take it.
    Over,
    /// The keys that leave were typed.
    Detached,
}

/// Our standard input on its way to a process. The process is never waited for, or the two could wait for
/// each other.
#[derive(Debug)]
pub(super) struct Input {
    to: OwnedFd,
    /// What was read and is not there yet.
    pending: Vec<u8>,
    /// There is no more to read than that.
    read_all: bool,
    /// What the end of our input is for the other side.
    end: &'static [u8],
    keys: DetachKeys,
}

impl Input {
    pub(super) fn new(to: OwnedFd, end: &'static [u8], keys: DetachKeys) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&to, true)?;
        Ok(Self { to, pending: Vec::new(), read_all: false, end, keys })
    }

    /// What to wait for before the next `carry`.
    pub(super) fn poll_fd<'a>(&'a self, stdin: &'a io::Stdin) -> PollFd<'a> {
        if self.pending.is_empty() {
            PollFd::new(stdin, PollFlags::IN)
        } else {
            PollFd::new(&self.to, PollFlags::OUT)
        }
    }

    pub(super) fn carry(&mut self) -> Carried {
        let mut detached = false;
        if self.pending.is_empty() {
            let mut bite = [0; 16 * 1024];
            match rustix::io::read(io::stdin(), &mut bite) {
                Ok(read @ 1..) => detached = self.keys.feed(&bite[..read], &mut self.pending),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Carried::GoOn,
                _ => {
                    self.pending.extend_from_slice(self.end);
                    self.read_all = true;
                }
            }
        }
        match rustix::io::write(&self.to, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // Nobody reads any more.
            Err(_) => return Carried::Over,
        }
        match (detached, self.read_all && self.pending.is_empty()) {
            (true, _) => Carried::Detached,
            (false, true) => Carried::Over,
            (false, false) => Carried::GoOn,
        }
    }
}

/// A sequence of keys by which a user leaves a container without ending it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them were typed so far.
    typed: usize,
}

impl DetachKeys {
    /// Moves what was typed to `out`, but a begun sequence only once it turns out to be none; `true` when
    /// the whole of it was typed: what comes after it is dropped.
    fn feed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for key in typed {
            if self.keys.get(self.typed) == Some(key) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(self.keys.first() == Some(key));
            if self.typed == 0 {
                out.push(*key);
            }
        }
        false
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// As podman and docker write it: `ctrl-p,ctrl-q`, single characters, or nothing for none.
    fn from_str(word: &str) -> Result<Self, String> {
        let key = |name: &str| match name.as_bytes() {
            [key] if key.is_ascii_graphic() || *key == b' ' => Ok(*key),
            [b'c', b't', b'r', b'l', b'-', key @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => {
                Ok(key.to_ascii_uppercase() & 0x1f)
            }
            _ => Err(format!("`{name}` is no key: write a character, or `ctrl-` and a letter")),
        };
        let names = word.split(',').filter(|_| !word.is_empty());
        Ok(Self { keys: names.map(key).collect::<Result<_, _>>()?, typed: 0 })
    }
}

pub(super) fn wait(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> io::Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Bytes as they are; waits where a stream that is no file takes them only later.
pub(super) fn write_all(to: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            // Another process made our stream non-blocking: the flag is its description's.
            Err(rustix::io::Errno::AGAIN) => wait(&mut [PollFd::new(&to, PollFlags::OUT)], None)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(keys: &str, typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys: DetachKeys = keys.parse().unwrap();
        let mut out = Vec::new();
        let left = typed.iter().any(|typed| keys.feed(typed, &mut out));
        (out, left)
    }

    #[test]
    fn the_keys_that_leave_are_found_however_they_come() {
        const KEYS: &str = "ctrl-p,ctrl-q";
        assert_eq!(feed(KEYS, &[b"ls\r\x10\x11x"]), (b"ls\r".to_vec(), true));
        assert_eq!(feed(KEYS, &[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
        assert_eq!(feed(KEYS, &[b"\x10", b"b"]), (b"\x10b".to_vec(), false));
        assert_eq!(feed(KEYS, &[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(feed("", &[b"\x10\x11"]), (b"\x10\x11".to_vec(), false));
        assert_eq!(feed("q", &[b"xq"]), (b"x".to_vec(), true));
    }

    #[test]
    fn keys_have_names() {
        let keys = |word: &str| word.parse::<DetachKeys>().map(|keys| keys.keys);
        assert_eq!(keys("ctrl-p,ctrl-q"), Ok(vec![0x10, 0x11]));
        assert_eq!(keys("ctrl-@,ctrl-[,ctrl-_,a"), Ok(vec![0, 0x1b, 0x1f, b'a']));
        assert_eq!(keys(""), Ok(vec![]));
        for bad in ["ctrl-", "ctrl-1", "strg-p", "ctrl-p,", "ö"] {
            assert!(keys(bad).is_err(), "{bad}");
        }
    }
}
