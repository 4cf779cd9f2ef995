//! What the supervisor waits for: descriptors in one epoll set, each under a token that says what it is.

use crate::sys::memory;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What became readable. The number is a container's place in the pod, or a connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The client that brought the pod up.
    Client,
    Signals,
    Listener,
    Connection(u32),
    InfraReport,
    InfraEnd,
    /// A container's set-up has something to say.
    Report(u32),
    /// A container's first process ended.
    End(u32),
    /// The processes of a container changed: are there any left?
    Emptied(u32),
    Stdout(u32),
    Stderr(u32),
    TableLost,
    /// A container's terminal has output.
    Terminal(u32),
    /// A check or a hook of a container has come on.
    Check(u32),
    /// Its program says something.
    CheckOutput(u32),
    /// A container says something by sd_notify.
    Notify(u32),
    /// A process of another runtime's ended.
    Helper,
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, index) = match self {
            Self::Client => (0, 0),
            Self::Signals => (1, 0),
            Self::Listener => (2, 0),
            Self::Connection(index) => (3, index),
            Self::InfraReport => (4, 0),
            Self::InfraEnd => (5, 0),
            Self::Report(index) => (6, index),
            Self::End(index) => (7, index),
            Self::Emptied(index) => (8, index),
            Self::Stdout(index) => (9, index),
            Self::Stderr(index) => (10, index),
            Self::TableLost => (11, 0),
            Self::Terminal(index) => (12, index),
            Self::Check(index) => (13, index),
            Self::CheckOutput(index) => (14, index),
            Self::Notify(index) => (15, index),
            Self::Helper => (16, 0),
        };
        (kind << 32) | u64::from(index)
    }

    fn decode(data: u64) -> Option<Self> {
        let index = u32::try_from(data & 0xffff_ffff).ok()?;
        Some(match data >> 32 {
            0 => Self::Client,
            1 => Self::Signals,
            2 => Self::Listener,
            3 => Self::Connection(index),
            4 => Self::InfraReport,
            5 => Self::InfraEnd,
            6 => Self::Report(index),
            7 => Self::End(index),
            8 => Self::Emptied(index),
            9 => Self::Stdout(index),
            10 => Self::Stderr(index),
            11 => Self::TableLost,
            12 => Self::Terminal(index),
            13 => Self::Check(index),
            14 => Self::CheckOutput(index),
            15 => Self::Notify(index),
            16 => Self::Helper,
            _ => return None,
        })
    }
}

/// The epoll set.
#[derive(Debug)]
pub(super) struct Events {
    epoll: Epoll,
}

impl Events {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)? })
    }

    /// Tells when the descriptor is readable or closed at the other end.
    pub(super) fn watch(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.encode()))?)
    }

    /// Tells each time that the socket takes or has something more, once.
    pub(super) fn watch_socket(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        Ok(self.epoll.add(fd, EpollEvent::new(flags, token.encode()))?)
    }

    /// Tells of an exceptional condition, as cgroup.events has it (cgroups(7)).
    pub(super) fn watch_priority(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLPRI, token.encode()))?)
    }

    /// Tells also when the descriptor of `token` takes more, or no longer.
    pub(super) fn watch_room(&self, fd: impl AsFd, token: Token, on: bool) {
        let room = if on { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | room, token.encode());
        // One that is not watched any more has been let go.
        let _ = self.epoll.modify(fd, &mut event);
    }

    /// Stops telling; a descriptor that is not watched is fine.
    pub(super) fn forget(&self, fd: BorrowedFd<'_>) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits for something, at most until `deadline`; before that, memory is given back where it `lets_go`.
    pub(super) fn wait(&self, deadline: Option<Instant>, lets_go: bool) -> io::Result<Vec<Token>> {
        let timeout = deadline.map_or(EpollTimeout::NONE, timeout_until);
        let mut events = [EpollEvent::empty(); 64];
        if lets_go {
            memory::let_go();
        }
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => {
                Ok(events[..count].iter().filter_map(|event| Token::decode(event.data())).collect())
            }
            Err(nix::errno::Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Rounded up to the next millisecond, or the last one before a deadline would be spent spinning.
fn timeout_until(deadline: Instant) -> EpollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = left.saturating_add(Duration::from_micros(999)).as_millis();
    EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for token in [
            Token::Client,
            Token::Connection(7),
            Token::Report(0),
            Token::Stderr(u32::MAX),
            Token::TableLost,
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(99 << 32), None);
    }
}
