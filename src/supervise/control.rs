//! The socket behind `down` and a second `up`: listens under the pod's directory, which only its owner
//! may enter, and asks each peer who it is all the same.

use super::protocol::{Event, Request};
use super::wire::{Received, Wire, framed};
use crate::sys::process::pidfd_open;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A socket path holds 108 bytes (unix(7)), a directory's path may be longer: it is reached through a
/// descriptor of the directory, which must live as long as the path is used.
fn short_path(socket: &Path) -> io::Result<(File, PathBuf)> {
    let directory = File::open(socket.parent().unwrap_or(Path::new("/")))?;
    let name = socket.file_name().unwrap_or_default();
    let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((directory, path))
}

/// Begins to listen.
pub fn listen(socket: &Path) -> io::Result<UnixListener> {
    let (_directory, path) = short_path(socket)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to a supervisor; `None` where none listens.
pub fn connect(socket: &Path) -> io::Result<Option<Wire>> {
    let connected = short_path(socket).and_then(|(_directory, path)| UnixStream::connect(path));
    match connected {
        Ok(stream) => Ok(Some(Wire::new(stream))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

/// A pidfd of the supervisor behind a connection: of the process that listens.
pub fn supervisor(wire: &Wire) -> Option<OwnedFd> {
    let peer = rustix::net::sockopt::socket_peercred(wire.stream()).ok()?;
    pidfd_open(peer.pid.as_raw_nonzero().get()).ok()
}

/// A client that the supervisor talks to.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    /// What it was told and has not taken yet.
    unsent: Vec<u8>,
    /// The container whose output it sees, by its place in the pod.
    pub attached: Option<usize>,
    /// It is told nothing of single containers.
    pub terse: bool,
}

/// Who leaves more than this unread is not listening.
const UNSENT_MOST: usize = 4 << 20;

impl Connection {
    /// Takes the next client; `None` where nobody waits, or it is nobody we obey.
    pub fn accept(listener: &UnixListener) -> Option<Self> {
        let (stream, _) = listener.accept().ok()?;
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
        let ours = rustix::process::geteuid();
        if !peer.uid.is_root() && peer.uid != ours {
            return None;
        }
        Self::new(stream).ok()
    }

    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { wire: Wire::new(stream), unsent: Vec::new(), attached: None, terse: false })
    }

    /// The next request, if a whole one has come; an error ends the connection.
    pub fn request(&mut self) -> io::Result<Received<Request>> {
        self.wire.receive()
    }

    /// Tells the client; one that is slow is no reason to wait, and gets it later.
    pub fn tell(&mut self, event: &Event) -> io::Result<()> {
        self.tell_frame(&serde_json::to_vec(event)?)
    }

    /// As `tell`, for a frame of any kind.
    pub fn tell_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.unsent.extend(framed(frame)?);
        self.send_on()?;
        if self.unsent.len() > UNSENT_MOST { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Tells the client and gives it a descriptor. Who has left so much unread that this does not fit is
    /// told nothing, and that is an error.
    pub fn tell_with(&mut self, event: &Event, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.send_on()?;
        if self.has_unsent() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.wire.send_with(&serde_json::to_vec(event)?, fd)
    }

    /// Sends what it takes now of what it was told.
    pub fn send_on(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.wire.stream().write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The next thing heard from it is its end.
    pub fn hang_up(&self) {
        // Of one that is gone already there is nothing to shut down.
        let _ = self.wire.stream().shutdown(std::net::Shutdown::Both);
    }

    /// Tells the client, and waits until it is told: for the last word.
    pub fn tell_last(&mut self, event: &Event) {
        let _ = self.wire.stream().set_nonblocking(false);
        let _ = self.wire.stream().set_write_timeout(Some(std::time::Duration::from_secs(1)));
        // A client that is gone has no use for it.
        let _ = self.tell(event);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.stream().as_fd()
    }
}
