//! Connections to a port of a network namespace's own loopback, without waiting and without a process in
//! there: a socket belongs for ever to the namespace that it was made in.

use crate::net::NetError;
use crate::net::netns::Visit;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage,
    connect, getpeername, socket,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// What has come of it.
#[derive(Debug)]
pub enum Dialled {
    Connected(OwnedFd),
    /// Writable when it is settled; then `settle` tells.
    Pending(OwnedFd),
    Failed(Errno),
}

/// Sockets for one port. One that was refused serves for the next try.
#[derive(Debug)]
pub struct Dialler {
    port: u16,
    v4: Option<OwnedFd>,
    v6: Option<OwnedFd>,
    /// The namespace has no IPv6 to speak of.
    is_v4_only: bool,
}

impl Dialler {
    pub fn new(port: u16) -> Self {
        Self { port, v4: None, v6: None, is_v4_only: false }
    }

    /// Dials 127.0.0.1, then `[::1]`. `netns`: the namespace, or a pidfd of a process in it.
    pub fn dial(&mut self, netns: BorrowedFd<'_>) -> Result<Dialled, NetError> {
        let v4 = take(&mut self.v4, AddressFamily::Inet, netns)?;
        let first = match self.settle_v4(v4) {
            Dialled::Failed(errno) => errno,
            other => return Ok(other),
        };
        if self.is_v4_only || first != Errno::ECONNREFUSED {
            return Ok(Dialled::Failed(first));
        }
        let Ok(v6) = take(&mut self.v6, AddressFamily::Inet6, netns) else {
            self.is_v4_only = true;
            return Ok(Dialled::Failed(first));
        };
        let to = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, self.port, 0, 0));
        Ok(match try_connect(v6, &to) {
            (Dialled::Failed(errno), socket) => {
                self.is_v4_only = errno != Errno::ECONNREFUSED;
                self.v6 = socket;
                // What 127.0.0.1 says is what a reader expects.
                Dialled::Failed(first)
            }
            (other, _) => other,
        })
    }

    fn settle_v4(&mut self, socket: OwnedFd) -> Dialled {
        let to = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port));
        let (dialled, socket) = try_connect(socket, &to);
        self.v4 = socket;
        dialled
    }
}

/// Whether a pending connection is there now.
pub fn settle(socket: OwnedFd) -> Dialled {
    match nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::SocketError) {
        // It may have been told of another socket, closed meanwhile.
        Ok(0) if getpeername::<SockaddrStorage>(socket.as_raw_fd()).is_err() => {
            Dialled::Pending(socket)
        }
        Ok(0) => Dialled::Connected(socket),
        Ok(errno) => Dialled::Failed(Errno::from_raw(errno)),
        Err(errno) => Dialled::Failed(errno),
    }
}

fn take(
    kept: &mut Option<OwnedFd>,
    family: AddressFamily,
    netns: BorrowedFd<'_>,
) -> Result<OwnedFd, NetError> {
    if let Some(socket) = kept.take() {
        return Ok(socket);
    }
    let visit = Visit::enter(netns)?;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let made = socket(family, SockType::Stream, flags, None);
    visit.leave()?;
    made.map_err(NetError::Socket)
}

/// On the loopback a refusal is there when connect returns, and a second call tells it and makes the socket
/// as good as new (tried; connect(2) promises neither).
fn try_connect(socket: OwnedFd, to: &dyn SockaddrLike) -> (Dialled, Option<OwnedFd>) {
    let mut tried = connect(socket.as_raw_fd(), to);
    if tried == Err(Errno::EINPROGRESS) {
        tried = connect(socket.as_raw_fd(), to);
    }
    match tried {
        Ok(()) => (Dialled::Connected(socket), None),
        Err(Errno::EALREADY | Errno::EINPROGRESS) => (Dialled::Pending(socket), None),
        Err(Errno::ECONNREFUSED) => (Dialled::Failed(Errno::ECONNREFUSED), Some(socket)),
        Err(errno) => (Dialled::Failed(errno), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{link, netns, rig};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_port_is_dialled_in_its_namespace_again_and_again() {
        rig::on_new_host(|| {
            let inside = netns::create().unwrap();
            link::loopback_up(inside.as_fd()).unwrap();
            let mut dialler = Dialler::new(7);
            for _ in 0..5 {
                let dialled = dialler.dial(inside.as_fd()).unwrap();
                assert!(matches!(dialled, Dialled::Failed(Errno::ECONNREFUSED)), "{dialled:?}");
            }
            let visit = Visit::enter(inside.as_fd()).unwrap();
            let listener = TcpListener::bind("127.0.0.1:7").unwrap();
            visit.leave().unwrap();
            let dialled = dialler.dial(inside.as_fd()).unwrap();
            let Dialled::Connected(socket) = dialled else { panic!("{dialled:?}") };
            let there = listener.accept().unwrap().0;
            assert_eq!(
                there.peer_addr().unwrap(),
                TcpStream::from(socket).local_addr().unwrap(),
                "the kept socket, not another"
            );
        });
    }

    #[test]
    fn a_server_of_ipv6_alone_is_found() {
        rig::on_new_host(|| {
            let inside = netns::create().unwrap();
            link::loopback_up(inside.as_fd()).unwrap();
            let visit = Visit::enter(inside.as_fd()).unwrap();
            for link in ["all", "lo"] {
                let setting = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
                std::fs::write(setting, "0").unwrap();
            }
            let listener = TcpListener::bind("[::1]:7").unwrap();
            visit.leave().unwrap();
            let dialled = Dialler::new(7).dial(inside.as_fd()).unwrap();
            assert!(matches!(dialled, Dialled::Connected(_)), "{dialled:?}");
            listener.accept().unwrap();
        });
    }
}
