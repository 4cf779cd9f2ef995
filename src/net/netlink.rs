//! Netlink as bytes: an encoder for whole batches of messages, one send for all of them, every ack
//! read, dumps. Knows the framing and the attributes, never what a message is about.

use crate::net::NetError;
use crate::net::netns::Visit;
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use rustix::buffer::spare_capacity;
use rustix::net::RecvFlags;
use std::cell::RefCell;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// Why a conversation with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open a netlink socket")]
    Open(#[source] std::io::Error),
    #[error("cannot send {bytes} bytes over netlink")]
    Send { bytes: usize, source: Errno },
    #[error("cannot receive over netlink")]
    Receive(#[source] Errno),
    #[error("{0}")]
    Refused(Refusal),
    #[error("the kernel's netlink answer does not parse")]
    Malformed,
    #[error("the kernel's tables changed during each of {DUMP_TRIES} dumps")]
    Unsteady,
}

impl NetlinkError {
    /// The kernel's error number, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }
}

/// One message of a batch that the kernel did not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which one: its number in the batch, as `Batch::message` returned it.
    pub message: usize,
    pub errno: Errno,
    /// The kernel's own sentence (extended ack); often empty.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return write!(f, "{}", self.errno.desc());
        }
        write!(f, "{} ({})", self.text, self.errno.desc())
    }
}

/// Flags of a request, from linux/netlink.h.
pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const EXCL: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const EXTENDED_ACK: u16 = 0x200;

const KIND_ERROR: u16 = 2;
const KIND_DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;
const HEADER: usize = 16;
const DUMP_TRIES: usize = 8;
/// The kernel fills at most this much in one go of a dump.
const BUFFER: usize = 32 * 1024;

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Attributes being written behind a message's fixed header.
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        pad(self.0);
    }

    pub fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat());
    }

    pub fn host32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// In network order, as all of nfnetlink is.
    pub fn net32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A fixed structure that opens a nest (the peer's link header).
    pub fn raw(&mut self, value: &[u8]) {
        self.0.extend(value);
        pad(self.0);
    }

    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let at = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        fill(&mut Attributes(self.0));
        let length = (self.0.len() - at) as u16;
        self.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Messages that leave in one send. Sequence numbers are the messages' numbers in the batch.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    count: usize,
    acks: usize,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a message and returns its number in the batch.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> usize {
        let (at, number) = (self.bytes.len(), self.count);
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend((number as u32).to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(header);
        pad(&mut self.bytes);
        fill(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - at) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_ne_bytes());
        self.count += 1;
        if flags & ACK != 0 {
            self.acks += 1;
        }
        number
    }
}

/// A message as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// The messages of one datagram; ends at the first that does not parse.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let whole = bytes.get(..length).filter(|whole| whole.len() >= HEADER)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(whole, 4)?,
            flags: u16_at(whole, 6)?,
            sequence: u32_at(whole, 8)?,
            payload: &whole[HEADER..],
        })
    })
}

/// (kind, value) of each attribute; ends at the first that does not parse.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & KIND_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the attribute at the end of a path of nests.
pub fn find<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |within, wanted| {
        attributes(within).find(|(kind, _)| kind == wanted).map(|(_, value)| value)
    })
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// A text attribute, without its terminating zero.
pub fn text(value: &[u8]) -> &str {
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(value).unwrap_or_default()
}

/// What a dump found, datagram by datagram.
#[derive(Debug, Default)]
pub struct Dump(Vec<Vec<u8>>);

impl Dump {
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        self.0.iter().flat_map(|datagram| messages(datagram))
    }
}

/// A netlink socket. It belongs for ever to the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.0
    }
}

impl Socket {
    pub fn route() -> Result<Self, NetlinkError> {
        Self::open(SockProtocol::NetlinkRoute, 0)
    }

    /// In another network namespace; the thread is back in its own afterwards.
    pub fn route_in(netns: BorrowedFd<'_>) -> Result<Self, NetError> {
        let visit = Visit::enter(netns)?;
        let socket = Self::route().map_err(NetError::Inside);
        visit.leave()?;
        socket
    }

    pub fn sock_diag() -> Result<Self, NetlinkError> {
        Self::open(SockProtocol::NetlinkSockDiag, 0)
    }

    /// Also hears what happens: `groups` is a mask (group 1 is bit 0).
    pub fn route_events(groups: u32) -> Result<Self, NetlinkError> {
        Self::open(SockProtocol::NetlinkRoute, groups)
    }

    /// As `route_events`, but deaf to all that `filter` drops, from the start.
    pub fn nfnetlink_events(
        groups: u32,
        filter: &[sys::filter::Instruction],
    ) -> Result<Self, NetlinkError> {
        let socket = Self::open(SockProtocol::NetlinkNetFilter, 0)?;
        sys::netlink::attach_filter(socket.as_fd(), filter).map_err(NetlinkError::Open)?;
        socket.bind(groups)?;
        Ok(socket)
    }

    fn open(protocol: SockProtocol, groups: u32) -> Result<Self, NetlinkError> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(|errno| NetlinkError::Open(errno.into()))?;
        sys::netlink::explain_errors(fd.as_fd()).map_err(NetlinkError::Open)?;
        let socket = Self(fd);
        if groups != 0 {
            socket.bind(groups)?;
        }
        Ok(socket)
    }

    fn bind(&self, groups: u32) -> Result<(), NetlinkError> {
        bind(self.0.as_raw_fd(), &NetlinkAddr::new(0, groups))
            .map_err(|errno| NetlinkError::Open(errno.into()))
    }

    /// Sends the batch and reads every ack. The first refusal is the error.
    pub fn run(&self, batch: &Batch) -> Result<(), NetlinkError> {
        match self.refusals(batch)?.into_iter().next() {
            Some(refusal) => Err(NetlinkError::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// Sends the batch, reads every ack, and returns what was refused, in the batch's order.
    pub fn refusals(&self, batch: &Batch) -> Result<Vec<Refusal>, NetlinkError> {
        self.make_room(batch);
        self.send(&batch.bytes)?;
        let (mut left, mut refusals) = (batch.acks, Vec::new());
        let mut room = room();
        while left > 0 {
            for message in messages(self.receive(&mut room)?).filter(|m| m.kind == KIND_ERROR) {
                left -= 1;
                if let Some(refusal) = refusal(&message)? {
                    let asked_for_ack = is_acked(&batch.bytes, refusal.message);
                    refusals.push(refusal);
                    // The transaction as a whole: nothing else needs to follow.
                    if !asked_for_ack {
                        self.drain()?;
                        left = 0;
                        break;
                    }
                }
            }
        }
        refusals.sort_by_key(|refusal| refusal.message);
        Ok(refusals)
    }

    /// The kernel answers within the send: what else there is, is here.
    fn drain(&self) -> Result<(), NetlinkError> {
        let mut buffer = [0; 64];
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(NetlinkError::Receive(errno)),
            }
        }
    }

    /// An ack occupies about 800 bytes of the receive buffer, whose default holds some 250 of them.
    fn make_room(&self, batch: &Batch) {
        if batch.acks > 100 {
            // Best effort: needs CAP_NET_ADMIN, as what follows does.
            let _ = setsockopt(&self.0, sockopt::RcvBufForce, &(batch.acks * 1024 + 65536));
            let _ = setsockopt(&self.0, sockopt::SndBufForce, &(batch.bytes.len() * 2 + 65536));
        }
    }

    /// One request that is answered by one message; returns its payload.
    pub fn ask(&self, batch: &Batch) -> Result<Vec<u8>, NetlinkError> {
        self.send(&batch.bytes)?;
        let mut room = room();
        let message = messages(self.receive(&mut room)?).next().ok_or(NetlinkError::Malformed)?;
        match message.kind {
            KIND_ERROR => match refusal(&message)? {
                Some(refusal) => Err(NetlinkError::Refused(refusal)),
                None => Ok(Vec::new()),
            },
            _ => Ok(message.payload.to_vec()),
        }
    }

    /// Everything of one kind. A dump that the kernel marks as inconsistent is made again.
    pub fn dump(
        &self,
        kind: u16,
        header: &[u8],
        fill: impl Fn(&mut Attributes<'_>),
    ) -> Result<Dump, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            let mut batch = Batch::new();
            batch.message(kind, DUMP, header, &fill);
            self.send(&batch.bytes)?;
            if let Some(dump) = self.collect()? {
                return Ok(dump);
            }
        }
        Err(NetlinkError::Unsteady)
    }

    fn collect(&self) -> Result<Option<Dump>, NetlinkError> {
        let (mut dump, mut steady) = (Dump::default(), true);
        let mut room = room();
        loop {
            let datagram = self.receive(&mut room)?;
            let mut done = false;
            for message in messages(datagram) {
                steady &= message.flags & DUMP_INTERRUPTED == 0;
                match message.kind {
                    KIND_DONE => done = true,
                    KIND_ERROR => {
                        let refused = refusal(&message)?.ok_or(NetlinkError::Malformed)?;
                        return match refused.errno {
                            Errno::EINTR => Ok(None),
                            _ => Err(NetlinkError::Refused(refused)),
                        };
                    }
                    _ => {}
                }
            }
            dump.0.push(datagram.to_vec());
            if done {
                return Ok(steady.then_some(dump));
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        match send(self.0.as_raw_fd(), bytes, MsgFlags::empty()) {
            Ok(_) => Ok(()),
            Err(source) => Err(NetlinkError::Send { bytes: bytes.len(), source }),
        }
    }

    fn receive<'a>(&self, room: &'a mut Vec<u8>) -> Result<&'a [u8], NetlinkError> {
        receive(self.0.as_fd(), room, RecvFlags::empty())
    }
}

thread_local! {
    /// (inode of the network namespace, its socket)
    static NFNETLINK: RefCell<Option<(u64, Socket)>> = const { RefCell::new(None) };
}

/// Lends the thread's nfnetlink socket of its network namespace. One is kept, because closing any
/// waits until the kernel has let go of all deleted elements (a grace period of RCU: 12 ms, where
/// the deletion itself takes 0.03).
pub fn with_nfnetlink<T>(
    talk: impl FnOnce(&Socket) -> Result<T, NetlinkError>,
) -> Result<T, NetlinkError> {
    let here = std::fs::metadata("/proc/thread-self/ns/net").map_err(NetlinkError::Open)?.ino();
    let kept = NFNETLINK.with(|kept| kept.borrow_mut().take());
    let socket = match kept {
        Some((netns, socket)) if netns == here => socket,
        _ => Socket::open(SockProtocol::NetlinkNetFilter, 0)?,
    };
    let said = talk(&socket);
    // After any other error there may be answers in it that belong to nobody.
    if matches!(said, Ok(_) | Err(NetlinkError::Refused(_))) {
        NFNETLINK.with(|kept| kept.borrow_mut().replace((here, socket)));
    }
    said
}

/// Room for a datagram: memory that is not touched unless it is needed.
pub fn room() -> Vec<u8> {
    Vec::with_capacity(BUFFER)
}

/// One datagram; a signal does not end the wait.
pub fn receive<'a>(
    socket: BorrowedFd<'_>,
    room: &'a mut Vec<u8>,
    flags: RecvFlags,
) -> Result<&'a [u8], NetlinkError> {
    room.clear();
    let length = loop {
        match rustix::net::recv(socket, spare_capacity(room), flags | RecvFlags::TRUNC) {
            Ok((_, length)) => break length,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(NetlinkError::Receive(Errno::from_raw(errno.raw_os_error()))),
        }
    };
    if length > room.len() {
        return Err(NetlinkError::Malformed);
    }
    Ok(room)
}

fn is_acked(batch: &[u8], number: usize) -> bool {
    messages(batch).nth(number).is_some_and(|message| message.flags & ACK != 0)
}

/// Reads an error message; `None` is a plain ack.
fn refusal(message: &Message<'_>) -> Result<Option<Refusal>, NetlinkError> {
    let code = u32_at(message.payload, 0).ok_or(NetlinkError::Malformed)?.cast_signed();
    if code == 0 {
        return Ok(None);
    }
    // Behind the code stands the header of the refused request, then (NETLINK_CAP_ACK) attributes.
    let extended = message.payload.get(4 + HEADER..).filter(|_| message.flags & EXTENDED_ACK != 0);
    Ok(Some(Refusal {
        message: message.sequence as usize,
        errno: Errno::from_raw(-code),
        text: extended.and_then(|a| find(a, &[1])).map(text).unwrap_or_default().to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut batch = Batch::new();
        batch.message(16, ACK, &[7; 5], |a| {
            a.text(3, "eth0");
            a.nest(18, |a| {
                a.text(1, "veth");
                a.nest(2, |a| a.net32(9, 0x0102_0304));
            });
        });
        batch.message(20, 0, &[], |a| a.host32(1, 5));
        let all: Vec<_> = messages(&batch.bytes).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].sequence, all[1].sequence), (16, 0, 1));
        let attributes = &all[0].payload[8..];
        assert_eq!(find(attributes, &[3]).map(text), Some("eth0"));
        assert_eq!(find(attributes, &[18, 2, 9]), Some(&[1, 2, 3, 4][..]));
        assert_eq!(find(attributes, &[18, 7]), None);
    }

    #[test]
    fn broken_lengths_end_the_reading() {
        for bytes in [&[0_u8; 40][..], &[255; 40], &[4, 0], &[17, 0, 0, 0, 1]] {
            assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(attributes(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn a_refusal_names_its_message_and_the_kernels_reason() {
        let socket = Socket::route().unwrap();
        let mut batch = Batch::new();
        batch.message(18, ACK, &[0; 16], |a| a.host32(29, 0));
        batch.message(19, ACK, &[0, 0, 0, 0, 255, 255, 255, 127, 0, 0, 0, 0, 0, 0, 0, 0], |_| {});
        let refusals = socket.refusals(&batch).unwrap();
        assert_eq!(refusals.last().map(|r| (r.message, r.errno)), Some((1, Errno::ENODEV)));
    }
}
