//! Frames between a pod's supervisor and its clients: a length (u32, little-endian), then JSON. The
//! first frame of a handover may carry descriptors. Neither side trusts a length.

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// More than any plan; a frame that says it is longer is damaged.
const LONGEST: usize = 256 << 20;

/// A stream of frames.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    /// Bytes that came and are no whole frame yet.
    pending: Vec<u8>,
}

/// What a read found.
#[derive(Debug)]
pub enum Received<T> {
    Frame(T),
    /// Nothing whole has come yet.
    Nothing,
    /// The other side is gone.
    Closed,
}

impl Wire {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.send_bytes(&serde_json::to_vec(message)?)
    }

    /// Sends a message that is JSON already.
    pub fn send_bytes(&mut self, json: &[u8]) -> io::Result<()> {
        self.stream.write_all(&framed(json)?)
    }

    /// Sends a message that is JSON already, with a descriptor.
    pub fn send_with(&mut self, json: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let frame = framed(json)?;
        let fds = [fd.as_raw_fd()];
        let sent = sendmsg::<()>(
            self.stream.as_raw_fd(),
            &[IoSlice::new(&frame)],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        self.stream.write_all(&frame[sent..])
    }

    /// Waits for a frame and a descriptor that may come with its first byte.
    pub fn receive_with(&mut self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut head = [0; 4];
        let (read, fd) = self.read_with_fd(&mut head)?;
        if read == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut head[read..])?;
        let mut body = vec![0; length(head)?];
        self.stream.read_exact(&mut body)?;
        Ok(Some((body, fd)))
    }

    fn read_with_fd(&self, into: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(into)];
        let message = recvmsg(&self.stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let fd = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        Ok((message.bytes, fd))
    }

    /// Takes the next frame that has come; blocks as the stream does.
    pub fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Received<T>> {
        Ok(match self.receive_frame()? {
            Received::Frame(frame) => Received::Frame(serde_json::from_slice(&frame)?),
            Received::Nothing => Received::Nothing,
            Received::Closed => Received::Closed,
        })
    }

    /// As `receive`, whatever the frame holds.
    pub fn receive_frame(&mut self) -> io::Result<Received<Vec<u8>>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Received::Frame(frame));
            }
            self.pending.reserve(8192);
            match rustix::io::read(&self.stream, spare_capacity(&mut self.pending)) {
                Ok(0) | Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(head) = self.pending.first_chunk::<4>() else { return Ok(None) };
        let end = 4 + length(*head)?;
        if self.pending.len() < end {
            return Ok(None);
        }
        let frame = self.pending[4..end].to_vec();
        self.pending.drain(..end);
        Ok(Some(frame))
    }
}

pub(super) fn framed(json: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(4 + json.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(json);
    Ok(frame)
}

fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of absurd length"));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_being_cut_and_joined() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (mut ours, mut theirs) = (ours, Wire::new(theirs));
        let bytes = [framed(b"\"one\"").unwrap(), framed(b"\"two\"").unwrap()].concat();
        for byte in &bytes[..11] {
            ours.write_all(&[*byte]).unwrap();
        }
        assert!(matches!(theirs.receive::<String>().unwrap(), Received::Frame(t) if t == "one"));
        assert!(matches!(theirs.receive::<String>().unwrap(), Received::Nothing));
        ours.write_all(&bytes[11..]).unwrap();
        assert!(matches!(theirs.receive::<String>().unwrap(), Received::Frame(t) if t == "two"));
        drop(ours);
        assert!(matches!(theirs.receive::<String>().unwrap(), Received::Closed));
    }

    #[test]
    fn an_absurd_length_is_an_error_and_takes_no_memory() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(&[0xff; 8]).unwrap();
        assert!(Wire::new(theirs).receive::<String>().is_err());
    }

    #[test]
    fn a_descriptor_travels_with_its_frame() {
        use std::os::fd::AsFd;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Wire::new(ours), Wire::new(theirs));
        let file = std::fs::File::open("/proc/self/comm").unwrap();
        ours.send_with(b"{}", file.as_fd()).unwrap();
        let (json, fd) = theirs.receive_with().unwrap().unwrap();
        let mut text = String::new();
        std::fs::File::from(fd.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(json, b"{}");
        assert!(!text.is_empty());
    }
}
