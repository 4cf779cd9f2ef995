//! The socket of sd_notify(3) in a container: what its programs say of themselves. Only a process of that very
//! container is heard: the kernel says who sent a message, and its cgroup says of which container it is.

use super::events::Token;
use super::life::{self, Answer, Task};
use super::pod::Pod;
use crate::cgroup::path_of;
use crate::exec::ExecError;
use crate::plan::step::Launch;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    bind, recvmsg, setsockopt, socket, sockopt,
};
use std::fs::{DirBuilder, File};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Messages that are read at a time; one that sends more is heard later.
const AT_ONCE: usize = 16;
/// Of STATUS= so many characters are kept.
const LONGEST_STATUS: usize = 200;

/// Makes the socket that the container finds at [`crate::plan::health::NOTIFY_SOCKET`].
fn listen(path: &Path) -> io::Result<OwnedFd> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    match std::fs::remove_file(path) {
        // Of an attempt that a crash cut short.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    // A socket's path holds 108 bytes (unix(7)): it is reached by its directory.
    let directory = File::open(directory)?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    bind(made.as_raw_fd(), &UnixAddr::new(&short)?)?;
    // Whatever user its programs are; nobody else can reach it.
    std::fs::set_permissions(&short, std::fs::Permissions::from_mode(0o666))?;
    setsockopt(&made, sockopt::PassCred, &true)?;
    Ok(made)
}

/// A message and the process that sent it.
struct Message {
    sender: i32,
    text: String,
}

/// The next message. A descriptor that came with it is closed: nobody waits longer for us
/// (sd_notify_barrier(3)).
fn receive(socket: &OwnedFd) -> Option<Message> {
    let mut text = [0; 4096];
    // Room for the sender alone: the kernel itself closes what else there is.
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let got = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    let sender = got.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmCredentials(who) => Some(who.pid()),
            _ => None,
        })
    });
    let bytes = got.bytes;
    let text = String::from_utf8_lossy(&text[..bytes]).into_owned();
    Some(Message { sender: sender.unwrap_or(0), text })
}

/// Whether a process lives in this cgroup or below it.
fn is_of(cgroup: &Path, pid: i32) -> bool {
    path_of(pid).is_some_and(|own| own.starts_with(cgroup))
}

impl Pod<'_> {
    /// Before the container's first start, where its probes ask for it.
    pub(super) fn listen_to(&mut self, index: usize, launch: &Launch) -> Result<(), ExecError> {
        let Some(path) = &launch.health.notify else { return Ok(()) };
        let made = listen(path)
            .map_err(|source| ExecError::NotifySocket { path: path.clone(), source })?;
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let _ = self.events.watch(&made, Token::Notify(number));
        self.units[index].notify = Some(made);
        Ok(())
    }

    /// A container has something to say.
    pub(super) fn notified(&mut self, index: usize) {
        let Ok(launch) = self.launch(index) else { return };
        for _ in 0..AT_ONCE {
            let Some(message) = self.units[index].notify.as_ref().and_then(receive) else { return };
            if is_of(&launch.cgroup, message.sender) {
                self.hear_notice(index, &message.text);
            }
        }
    }

    fn hear_notice(&mut self, index: usize, text: &str) {
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => {
                    // Before what the next line may take back.
                    self.message(index, |task| matches!(task, Task::Startup | Task::Readiness));
                }
                Some(("WATCHDOG", "1")) => {
                    self.message(index, |task| task == Task::Liveness);
                }
                Some(("STOPPING", "1")) => {
                    self.tell_life(life::Event::Revoked(index, "it said STOPPING=1"));
                }
                Some(("RELOADING", "1")) => {
                    self.tell_life(life::Event::Revoked(index, "it said RELOADING=1"));
                }
                Some(("STATUS", status)) => {
                    let plain = status.chars().filter(|c| !c.is_control()).take(LONGEST_STATUS);
                    self.record.containers[index].status_text =
                        Some(plain.collect()).filter(|text: &String| !text.is_empty());
                    self.changed_a_little();
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, index: usize, is_for: impl Fn(Task) -> bool) {
        if let Some(senses) = &mut self.units[index].senses {
            senses.message(is_for);
        }
        self.sensed(index);
    }

    /// What a probe waited for may have come.
    pub(super) fn sensed(&mut self, index: usize) {
        let senses = self.units[index].senses.as_mut();
        for task in senses.map(|senses| senses.take()).unwrap_or_default() {
            self.tell_life(life::Event::Told(index, task, Answer::Good));
        }
    }
}
