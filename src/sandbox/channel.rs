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
const START: u8 = b's';
/// Descriptors that go with it.
const HANDED_MOST: usize = 2;

/// What a child has said.
#[derive(Debug)]
pub enum Report {
    /// It is set up and waits for `start`.
    Ready,
    /// Its end of the channel is closed: it has become its program, or something killed it before; its pidfd knows.
    Running,
    Failed(SandboxError),
    /// It has made its terminal: the master. Before Ready.
    Terminal(OwnedFd),
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
    if let Some(master) = fd {
        return Report::Terminal(master);
    }
    match packet[..length] {
        [] => Report::Running,
        [READY] => Report::Ready,
        [FAILED, ref error @ ..] => Report::Failed(decoded(error)),
        _ => Report::Failed(decoded(&[])),
    }
}

/// A packet that has come, and the descriptor that came with it.
fn receive(channel: BorrowedFd<'_>, packet: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
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

/// Waits for the parent's Start. An end instead means that the parent is gone.
pub(super) fn await_start(channel: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let mut packet = [0; 8];
    loop {
        match rustix::net::recv(channel, &mut packet[..], RecvFlags::empty()) {
            Ok((1, _)) if packet[0] == START => return Ok(()),
            Err(Errno::INTR) => {}
            Ok(_) => return Err(Errno::PIPE).at(Stage::Channel, "the parent"),
            Err(e) => return Err(e).at(Stage::Channel, "the parent"),
        }
    }
}

/// The child hands the parent the master of its terminal.
pub(super) fn send_terminal(
    channel: BorrowedFd<'_>,
    master: BorrowedFd<'_>,
) -> Result<(), SandboxError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [master];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let text = [IoSlice::new(&[TERMINAL])];
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
