//! Who holds ports already (sock_diag), and ports held for a pod by sockets that never listen.

use crate::net::NetError;
use crate::net::firewall::Protocol;
use crate::net::netlink::{NetlinkError, Socket, find, u32_at};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, OwnedFd};

const BY_FAMILY: u16 = 20;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const STATE_LISTEN: u32 = 10;
const STATE_CLOSE: u32 = 7;
/// Bound, and neither listening nor connected; kernels before 6.8 do not know it and leave such sockets out.
const STATE_BOUND: u32 = 13;
const V6ONLY: u16 = 11;
/// `struct inet_diag_msg`.
const HEADER: usize = 72;

/// A socket that is bound, and connected to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    pub protocol: Protocol,
    /// 0.0.0.0: every address, also where the socket is an IPv6 one that takes IPv4.
    pub address: Ipv4Addr,
    pub port: u16,
    pub inode: u64,
}

/// TCP sockets that listen, and UDP ones.
pub fn listening() -> Result<Vec<Bound>, NetError> {
    dump(1 << STATE_LISTEN)
}

/// Those that do not listen, too, for which the kernel walks a table of its own: 0.4 ms. A kernel before 6.8 cannot
/// tell of those, and each of the ports in `tried` is tried: 3 us a port.
pub fn bound(tried: RangeInclusive<u16>) -> Result<Vec<Bound>, NetError> {
    // A kernel that can tell tells of this one.
    let quiet = reserve((None, Protocol::Tcp, 0))?;
    let own: SockaddrIn = getsockname(quiet.as_raw_fd()).map_err(|errno| NetError::Survey {
        what: "own socket",
        source: NetlinkError::Receive(errno),
    })?;
    let mut found = dump((1 << STATE_LISTEN) | (1 << STATE_BOUND))?;
    let is_own = |bound: &Bound| bound.protocol == Protocol::Tcp && bound.port == own.port();
    if found.iter().any(is_own) {
        found.retain(|bound| !is_own(bound));
    } else {
        drop(quiet);
        found.extend(tried.filter_map(taken));
    }
    Ok(found)
}

/// A TCP port that somebody holds in some way.
fn taken(port: u16) -> Option<Bound> {
    let (protocol, address) = (Protocol::Tcp, Ipv4Addr::UNSPECIFIED);
    let tried = reserve((None, protocol, port));
    matches!(tried, Err(NetError::PortTaken { .. })).then_some(Bound {
        protocol,
        address,
        port,
        inode: 0,
    })
}

fn dump(tcp_states: u32) -> Result<Vec<Bound>, NetError> {
    let read = || {
        let socket = Socket::sock_diag()?;
        let mut found = Vec::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            // A UDP socket that is bound and connected to nobody is "closed".
            let states = match protocol {
                Protocol::Tcp => tcp_states,
                Protocol::Udp => 1 << STATE_CLOSE,
            };
            for family in [IPV4, IPV6] {
                let mut request = [0; 56];
                request[..2].copy_from_slice(&[family, protocol.number()]);
                request[4..8].copy_from_slice(&states.to_ne_bytes());
                let dump = socket.dump(BY_FAMILY, &request, |_| {})?;
                let sockets = dump.iter().filter(|message| message.kind == BY_FAMILY);
                found.extend(sockets.filter_map(|message| decode(message.payload, protocol)));
            }
        }
        Ok(found)
    };
    read().map_err(|source: NetlinkError| NetError::Survey { what: "sockets", source })
}

/// None: it takes no IPv4, or has no port.
fn decode(socket: &[u8], protocol: Protocol) -> Option<Bound> {
    let port = u16::from_be_bytes(socket.get(4..6)?.try_into().ok()?);
    let source: [u8; 16] = socket.get(8..24)?.try_into().ok()?;
    let only_ipv6 = || find(socket.get(HEADER..)?, &[V6ONLY])?.first().copied();
    let address = match *socket.first()? {
        IPV4 => Ipv4Addr::from(<[u8; 4]>::try_from(&source[..4]).ok()?),
        _ if source == [0; 16] && only_ipv6() != Some(1) => Ipv4Addr::UNSPECIFIED,
        _ => Ipv6Addr::from(source).to_ipv4_mapped()?,
    };
    let inode = u32_at(socket, 68)?.into();
    (port != 0).then_some(Bound { protocol, address, port, inode })
}

/// Holds a port as long as the descriptor is open: bound, never listening.
pub fn reserve(
    (address, protocol, port): (Option<Ipv4Addr>, Protocol, u16),
) -> Result<OwnedFd, NetError> {
    let hold = || {
        let kind = match protocol {
            Protocol::Tcp => SockType::Stream,
            Protocol::Udp => SockType::Datagram,
        };
        let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
        let at = SocketAddrV4::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), port);
        // TCP alone: past connections in TIME_WAIT must not hurt. Off afterwards, so that nobody
        // binds beside us. UDP knows no TIME_WAIT, and there the option would let two share.
        let reuse = |on| match protocol {
            Protocol::Tcp => setsockopt(&fd, sockopt::ReuseAddr, &on),
            Protocol::Udp => Ok(()),
        };
        reuse(true)?;
        bind(fd.as_raw_fd(), &SockaddrIn::from(at))?;
        reuse(false)?;
        Ok(fd)
    };
    hold().map_err(|source| match source {
        Errno::EADDRINUSE => NetError::PortTaken { address, protocol, port },
        source => NetError::Reserve { address, protocol, port, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::rig;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn bound_sockets_are_seen_with_the_addresses_that_they_take() {
        rig::on_new_host(|| {
            let _tcp = TcpListener::bind("127.0.0.1:81").unwrap();
            let _both = TcpListener::bind("[::]:82").unwrap();
            let _six = TcpListener::bind("[::1]:83").unwrap();
            let _udp = UdpSocket::bind("0.0.0.0:84").unwrap();
            let _silent = reserve((None, Protocol::Tcp, 85)).unwrap();
            assert!(listening().unwrap().iter().all(|socket| socket.port != 85));
            assert!(taken(85).is_some() && taken(86).is_none(), "by trying, too");
            let mut found: Vec<_> = bound(80..=90)
                .unwrap()
                .into_iter()
                .map(|l| (l.port, l.protocol, l.address, l.inode != 0))
                .collect();
            found.sort();
            let any = Ipv4Addr::UNSPECIFIED;
            assert_eq!(
                found,
                [
                    (81, Protocol::Tcp, Ipv4Addr::LOCALHOST, true),
                    (82, Protocol::Tcp, any, true),
                    (84, Protocol::Udp, any, true),
                    (85, Protocol::Tcp, any, true),
                ]
            );
        });
    }

    #[test]
    fn a_reserved_port_is_nobody_elses() {
        rig::on_new_host(|| {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let held = reserve((None, protocol, 8080)).unwrap();
                let again = reserve((Some(Ipv4Addr::LOCALHOST), protocol, 8080));
                assert!(
                    matches!(again, Err(NetError::PortTaken { port: 8080, .. })),
                    "{protocol}: {again:?}"
                );
                drop(held);
                reserve((None, protocol, 8080)).unwrap();
            }
            let held = reserve((None, Protocol::Tcp, 8081)).unwrap();
            assert!(TcpListener::bind("127.0.0.1:8081").is_err());
            assert!(TcpStream::connect("127.0.0.1:8081").is_err(), "bound is not listening");
            drop(held);
            let elsewhere = reserve((Some(Ipv4Addr::new(192, 0, 2, 9)), Protocol::Tcp, 1));
            assert!(matches!(elsewhere, Err(NetError::Reserve { .. })), "{elsewhere:?}");
        });
    }
}
