//! The words between a child that sets itself up and its parent: Ready and Failed one way, Start the other, each one
//! packet; the end of the child's side is its execve. The child's side is close-on-exec and waits, the parent's does not.

use super::error::{At, SandboxError, Stage};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const READY: u8 = b'r';
const FAILED: u8 = b'f';
const TERMINAL: u8 = b't';
const BORN: u8 = b'b';
const START: u8 = b's';
/// Descriptors that go with it.
const HANDED_MOST: usize = 2;

const MOUNTED: u8 = b'm';

/// The longest packet: what a socket takes at once, by the kernel's default.
const PACKET_MAX: usize = 200 * 1024;

/// What a child has said.
#[derive(Debug)]
pub enum Report {
    /// Its namespaces and mounts are made, its root is not yet the container's; hooks come now. It waits for
    /// `start_telling` with the state that hooks are told. Where the document has such hooks.
    Mounted,
    /// It is set up and waits for `start`.
    Ready,
    /// Its end of the channel is closed: it has become its program, or something killed it before; its pidfd knows.
    Running,
    Failed(SandboxError),
    /// It has made its terminal: the master. Before Ready.
    Terminal(OwnedFd),
    /// What another runtime has made, and is the caller's child from now on. Before Ready.
    Born {
        pid: i32,
        pidfd: OwnedFd,
    },
    NotYet,
}

/// The parent's end and the child's.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let make = || {
        let kind = SocketType::SEQPACKET;
        let (parent, child) =
            rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&parent, true)?;
        Ok::<_, Errno>((parent, child))
    };
    make().at(Stage::Channel, "the child")
}

/// Reads what has arrived, without waiting.
pub fn report(channel: BorrowedFd<'_>) -> Report {
    let mut packet = [0; 5000];
    let (length, fd) = loop {
        match receive(channel, &mut packet) {
            Ok(got) => break got,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Report::NotYet,
            // The child is gone with our word unread: as good as an end.
            Err(Errno::CONNRESET) => return Report::Running,
            Err(e) => return Report::Failed(SandboxError::step(Stage::Channel, "the child", e)),
        }
    };
    match (&packet[..length], fd) {
        ([], _) => Report::Running,
        ([READY], _) => Report::Ready,
        ([MOUNTED], _) => Report::Mounted,
        ([TERMINAL], Some(master)) => Report::Terminal(master),
        ([BORN, a, b, c, d], Some(pidfd)) => {
            Report::Born { pid: i32::from_le_bytes([*a, *b, *c, *d]), pidfd }
        }
        ([FAILED, error @ ..], _) => Report::Failed(decoded(error)),
        _ => Report::Failed(decoded(&[])),
    }
}

/// A packet that has come, and the descriptor that came with it.
pub(super) fn receive(
    channel: BorrowedFd<'_>,
    packet: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [IoSliceMut::new(packet)];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(channel, &mut text, &mut control, flags)?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((got.bytes, fds.next()))
}

fn decoded(packet: &[u8]) -> SandboxError {
    SandboxError::decode(packet)
        .unwrap_or_else(|| SandboxError::step(Stage::Channel, "the child", Errno::BADMSG))
}

/// Lets a Ready child become its program.
pub fn start(channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    send(channel, &[START])
}

/// Lets a waiting child go on with what it could not make itself.
pub(super) fn start_with(
    channel: BorrowedFd<'_>,
    fds: &[BorrowedFd<'_>],
) -> Result<(), SandboxError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::NOBUFS).at(Stage::Channel, "the child");
    }
    let text = [IoSlice::new(&[START])];
    rustix::net::sendmsg(channel, &text, &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .at(Stage::Channel, "the child")
}

/// Waits for that.
pub(super) fn await_start_with(channel: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, SandboxError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut packet = [0; 8];
    let mut text = [IoSliceMut::new(&mut packet)];
    let got = loop {
        match rustix::net::recvmsg(channel, &mut text, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            got => break got.at(Stage::Channel, "the parent")?,
        }
    };
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    if got.bytes == 1 && packet[0] == START {
        return Ok(fds);
    }
    Err(Errno::PIPE).at(Stage::Channel, "the parent")
}

/// As `start`, with what the hooks are told that the child runs itself.
pub fn start_telling(channel: BorrowedFd<'_>, state: &[u8]) -> Result<(), SandboxError> {
    send(channel, &[&[START], state].concat())
}

pub(super) fn say_mounted(channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    send(channel, &[MOUNTED])
}

pub(super) fn say_ready(channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    send(channel, &[READY])
}

/// The child's last word. Where even that fails there is nobody to hear it.
pub(super) fn say_failed(channel: BorrowedFd<'_>, error: &SandboxError) {
    let mut packet = vec![FAILED];
    packet.extend(error.encode());
    let _ = send(channel, &packet);
}

fn send(channel: BorrowedFd<'_>, packet: &[u8]) -> Result<(), SandboxError> {
    rustix::net::send(channel, packet, SendFlags::NOSIGNAL)
        .map(drop)
        .at(Stage::Channel, "the other side")
}

/// Waits for the parent's Start, and what it tells with it. An end instead means that the parent is gone.
pub(super) fn await_start(channel: BorrowedFd<'_>) -> Result<Vec<u8>, SandboxError> {
    match started(channel).at(Stage::Channel, "the parent")? {
        Some(state) => Ok(state),
        None => Err(Errno::PIPE).at(Stage::Channel, "the parent"),
    }
}

fn started(channel: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let receive = |room: &mut [u8], flags| loop {
        match rustix::net::recv(channel, &mut *room, flags) {
            Err(Errno::INTR) => {}
            got => return got.map(|(_, length)| length),
        }
    };
    // Mostly a byte. Room for the longest, whatever comes, would make a copy of every page where the heap has a hole.
    let length = receive(&mut [0], RecvFlags::PEEK | RecvFlags::TRUNC)?;
    let mut packet = vec![0; length.min(PACKET_MAX)];
    receive(&mut packet, RecvFlags::empty())?;
    let is_start = packet.first() == Some(&START);
    Ok(is_start.then(|| packet.split_off(1)))
}

/// Waits for who starts the program once the parent has gone; to the connection goes what fails from then on. Who
/// connects and says nothing has looked whether somebody waits here.
pub(super) fn await_starter(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Vec<u8>), SandboxError> {
    loop {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(connection) => {
                if let Ok(Some(state)) = started(connection.as_fd()) {
                    return Ok((connection, state));
                }
            }
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(e) => return Err(e).at(Stage::Channel, "who starts it"),
        }
    }
}

/// The child hands the parent the master of its terminal.
pub(super) fn send_terminal(
    channel: BorrowedFd<'_>,
    master: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    send_with(channel, &[TERMINAL], master)
}

/// The runner of another runtime hands over the first process of its container.
pub(super) fn say_born(
    channel: BorrowedFd<'_>,
    pid: i32,
    pidfd: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let [a, b, c, d] = pid.to_le_bytes();
    send_with(channel, &[BORN, a, b, c, d], pidfd)
}

fn send_with(
    channel: BorrowedFd<'_>,
    packet: &[u8],
    fd: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let text = [IoSlice::new(packet)];
    rustix::net::sendmsg(channel, &text, &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .at(Stage::Channel, "the parent")
}

/// Waits for what a child says that does little before that.
pub(super) fn await_report(channel: BorrowedFd<'_>) -> Result<Report, SandboxError> {
    // One that hangs is stuck in the kernel.
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut polled = [PollFd::new(&channel, PollFlags::IN)];
    while let Err(e) = rustix::event::poll(&mut polled, Some(&patience)) {
        if e != Errno::INTR {
            return Err(e).at(Stage::Channel, "the child");
        }
    }
    Ok(report(channel))
}

/// The parent waits for that, or for why it does not come.
pub(super) fn receive_terminal(channel: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
    match await_report(channel)? {
        Report::Terminal(master) => Ok(master),
        Report::Failed(error) => Err(error),
        _ => Err(Errno::PIPE).at(Stage::Channel, "the child"),
    }
}

/// A child's own end, to which every failure goes.
pub(super) fn last_word(
    channel: &impl AsFd,
    outcome: Result<std::convert::Infallible, SandboxError>,
) -> ! {
    let Err(error) = outcome;
    say_failed(channel.as_fd(), &error);
    crate::sys::clone::exit_now(1)
}
