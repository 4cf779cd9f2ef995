//! Hears that our table went. A filter in the kernel drops every other notification, so that a busy
//! firewall does not wake a supervisor.

use super::{FAMILY_INET, HEADER, SUBSYSTEM, TABLE, find, text};
use crate::net::NetError;
use crate::net::netlink::{NetlinkError, Socket, messages, receive, room};
use crate::sys::filter::Instruction;
use nix::errno::Errno;
use rustix::net::RecvFlags;
use std::os::fd::{BorrowedFd, OwnedFd};

const DELTABLE: u16 = SUBSYSTEM | 2;
/// NFNLGRP_NFTABLES is group 7.
const GROUP_NFTABLES: u32 = 1 << 6;
/// The kernel joins the messages of a transaction to datagrams of a page, which hold some 36 elements.
/// What is longer is delivered; each message more costs 4 us when the filter is attached.
const MESSAGES: usize = 48;

/// Classic BPF has no loops: the walk from message to message is written out. It reads numbers in
/// network order, netlink writes them in the machine's.
fn only_deleted_tables() -> Vec<Instruction> {
    let plain = |code, value| Instruction { code, if_true: 0, if_false: 0, value };
    let little = cfg!(target_endian = "little");
    let (low, high) = if little { (0, 1) } else { (3, 2) };
    let mut program = vec![plain(0x00, 0), plain(0x07, 0)]; // A = X = 0
    for _ in 0..MESSAGES {
        program.extend([
            plain(0x48, 4), // A = half word at X + 4: the kind
            Instruction { if_false: 1, ..plain(0x15, DELTABLE.to_be().into()) },
            plain(0x06, u32::MAX), // deliver
            plain(0x03, 1),        // M[1] = X
            plain(0x50, high),     // A = byte of the length
            plain(0x64, 8),        // A <<= 8
            plain(0x02, 0),        // M[0] = A
            plain(0x50, low),
            plain(0x61, 0), // X = M[0]
            plain(0x0c, 0), // A += X
            plain(0x04, 3), // A += 3
            plain(0x54, !3),
            plain(0x61, 1), // X = M[1]
            plain(0x0c, 0), // A += X
            plain(0x07, 0), // X = A; a load beyond the end drops the datagram
        ]);
    }
    program.push(plain(0x06, u32::MAX));
    program
}

/// A descriptor that becomes readable when a table is deleted.
pub fn watch_table() -> Result<OwnedFd, NetError> {
    Socket::nfnetlink_events(GROUP_NFTABLES, &only_deleted_tables())
        .map(OwnedFd::from)
        .map_err(NetError::WatchTable)
}

/// Reads all that the watch has heard, without waiting: whether our table was deleted, by now made
/// again or not. Lost notifications count as a loss.
pub fn table_lost(fd: BorrowedFd<'_>) -> Result<bool, NetError> {
    let (mut lost, mut room) = (false, room());
    loop {
        match receive(fd, &mut room, RecvFlags::DONTWAIT) {
            Ok(datagram) => {
                lost |= messages(datagram).any(|message| {
                    message.kind == DELTABLE
                        && message.payload.first() == FAMILY_INET.first()
                        && message.payload.get(HEADER..).and_then(|a| find(a, &[1])).map(text)
                            == Some(TABLE)
                });
            }
            Err(NetlinkError::Receive(Errno::EAGAIN)) => return Ok(lost),
            Err(NetlinkError::Receive(Errno::ENOBUFS)) => lost = true,
            Err(e) => return Err(NetError::WatchTable(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Forward, Protocol, make_table, publish, tests::host_table};
    use super::*;
    use crate::net::rig;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    fn woken(fd: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(100_u8)).unwrap() > 0
    }

    #[test]
    fn only_a_lost_table_wakes() {
        rig::on_new_host(|| {
            rig::bridge();
            let watch = watch_table().unwrap();
            make_table(&host_table()).unwrap();
            let forward = Forward {
                address: None,
                protocol: Protocol::Tcp,
                host: 80,
                count: 1,
                target: [10, 89, 0, 7].into(),
                target_port: 80,
            };
            let many: Vec<_> = (1..400).map(|host| Forward { host, ..forward }).collect();
            publish("a", &many, None).unwrap();
            assert!(!woken(&watch), "by elements");
            assert!(!table_lost(watch.as_fd()).unwrap());
            rig::run("nft", "add table inet other");
            rig::run("nft", "delete table inet other");
            assert!(woken(&watch));
            assert!(!table_lost(watch.as_fd()).unwrap(), "another table");
            assert!(!woken(&watch));
            rig::run("nft", "flush ruleset");
            assert!(woken(&watch));
            assert!(table_lost(watch.as_fd()).unwrap());
            assert!(!table_lost(watch.as_fd()).unwrap());
        });
    }
}
