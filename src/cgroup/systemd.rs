//! Where systemd is the first process, the tree of cgroups is its own, and others have what is below a unit that they
//! asked it for (its document CGROUP_DELEGATION): a scope with `Delegate=yes`. It lives as long as some process
//! does at or below it, and systemd removes it with all that is below.

mod bus;

pub use bus::BusError;

use super::{Cgroup, CgroupError, Hierarchy};
use crate::sys::clone::{Cloned, clone3, exit_now};
use crate::sys::process;
use bus::{Bus, Method};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zbus::wire::{ObjectPath, Variant};

/// The way to systemd that no bus is on, for root alone.
const SOCKET: &str = "/run/systemd/private";
/// To make a scope takes it some 20 ms.
const AT_MOST: Duration = Duration::from_secs(10);
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const START: Method<'_> = Method {
    object: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "StartTransientUnit",
    signature: "ssa(sv)a(sa(sv))",
};

/// Whether systemd is the first process here: as sd_booted(3) tells, and not only by a directory of the host's that
/// is shown to a container, for processes are named to it by their pids.
pub fn is_booted() -> bool {
    Path::new("/run/systemd/system").symlink_metadata().is_ok_and(|found| found.is_dir())
        && std::fs::read("/proc/1/comm").is_ok_and(|name| name == b"systemd\n")
}

/// A scope, by what systemd calls it.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `podspec.scope`
    pub name: &'a str,
    /// `system.slice`
    pub slice: &'a str,
    /// What `systemctl status` says of it.
    pub description: &'a str,
}

/// Properties of a unit.
type Properties<'a> = Vec<(&'a str, Variant<'a>)>;

impl Scope<'_> {
    /// Below the mount of the hierarchy. A slice is below those that its name begins with (systemd.slice(5)).
    pub fn path(&self) -> PathBuf {
        let words = self.slice.trim_end_matches(".slice");
        let ends = words.match_indices('-').map(|(end, _)| end).filter(|end| *end > 0);
        let above: PathBuf = ends.map(|end| format!("{}.slice", &words[..end])).collect();
        let slice = if words == "-" { Path::new("") } else { Path::new(self.slice) };
        above.join(slice).join(self.name)
    }

    /// Asks for it, with a process that only waits, since no scope is without one. None: it is there, and lives.
    pub fn start(&self, hierarchy: &Hierarchy) -> Result<Option<Placeholder>, CgroupError> {
        let fail = |source| CgroupError::Systemd { scope: self.name.to_owned(), source };
        if self.is_alive(hierarchy)? {
            return Ok(None);
        }
        let placeholder = Placeholder::start(None).map_err(|error| fail(error.into()))?;
        let mut bus = Bus::open(Path::new(SOCKET), AT_MOST).map_err(fail)?;
        loop {
            match self.ask(&mut bus, placeholder.pid) {
                Ok(()) => return Ok(Some(placeholder)),
                // Another asks for it at the same time, or it has just ended.
                Err(BusError::Failed { name, .. }) if name == EXISTS => {
                    if self.is_alive(hierarchy)? {
                        return Ok(None);
                    }
                    self.await_news(&mut bus).map_err(fail)?;
                    if self.is_alive(hierarchy)? {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(fail(error)),
            }
        }
    }

    fn is_alive(&self, hierarchy: &Hierarchy) -> Result<bool, CgroupError> {
        match hierarchy.find(&self.path())?.map(|scope| scope.events()) {
            Some(Ok(events)) => Cgroup::populated(events.as_fd()),
            // It ends at this moment.
            Some(Err(_)) | None => Ok(false),
        }
    }

    /// Asks, and waits until it is done.
    fn ask(&self, bus: &mut Bus, pid: u32) -> Result<(), BusError> {
        let properties: Properties<'_> = vec![
            ("Description", Variant::new(self.description)),
            ("Slice", Variant::new(self.slice)),
            ("PIDs", Variant::new(vec![pid])),
            ("Delegate", Variant::new(true)),
            // Else all pods together may have 15 % of the machine's.
            ("TasksMax", Variant::new(u64::MAX)),
            // A failed one would keep its name.
            ("CollectMode", Variant::new("inactive-or-failed")),
        ];
        let auxiliary: Vec<(&str, Properties<'_>)> = Vec::new();
        let reply = bus.call(START, &(self.name, "fail", properties, auxiliary))?;
        let job: ObjectPath<'_> = reply.read()?;
        loop {
            let signal = bus.signal()?;
            if signal.member() != "JobRemoved" {
                continue;
            }
            let (_, ended, _, result): (u32, ObjectPath<'_>, &str, &str) = signal.read()?;
            if ended != job {
                continue;
            }
            let message = format!("its job ended as `{result}`");
            let failed = || BusError::Failed { name: String::new(), message };
            return if result == "done" { Ok(()) } else { Err(failed()) };
        }
    }

    /// Waits until a job of this unit is done, or the unit is gone.
    fn await_news(&self, bus: &mut Bus) -> Result<(), BusError> {
        loop {
            let signal = bus.signal()?;
            let is_ours = match signal.member() {
                "JobRemoved" => {
                    let (_, _, unit, _): (u32, ObjectPath<'_>, &str, &str) = signal.read()?;
                    unit == self.name
                }
                "UnitRemoved" => {
                    let (unit, _): (&str, ObjectPath<'_>) = signal.read()?;
                    unit == self.name
                }
                _ => false,
            };
            if is_ours {
                return Ok(());
            }
        }
    }
}

/// A process that waits for its end, so that its cgroup is not empty. It ends with this value, and with its maker.
#[derive(Debug)]
pub struct Placeholder {
    pid: u32,
    pidfd: OwnedFd,
}

impl Placeholder {
    /// Born in `cgroup`, where one is given. The caller must not have a second thread yet.
    pub fn start(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        match clone3(0, cgroup)? {
            Cloned::Parent { pid, pidfd } => Ok(Self { pid: pid.cast_unsigned(), pidfd }),
            Cloned::Child => {
                if set_parent_process_death_signal(Some(Signal::KILL)).is_ok() {
                    nix::unistd::pause();
                }
                exit_now(1)
            }
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        process::end(self.pidfd.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_below_those_that_its_name_begins_with() {
        let path = |slice| Scope { name: "x.scope", slice, description: "" }.path();
        assert_eq!(path("system.slice"), Path::new("system.slice/x.scope"));
        assert_eq!(path("a-b-c.slice"), Path::new("a.slice/a-b.slice/a-b-c.slice/x.scope"));
        assert_eq!(path("-.slice"), Path::new("x.scope"));
    }

    #[test]
    fn a_placeholder_lives_as_long_as_its_value() {
        let placeholder = Placeholder::start(None).unwrap();
        let pid = placeholder.pid;
        let status = || std::fs::read_to_string(format!("/proc/{pid}/status"));
        assert!(status().unwrap().contains(&format!("PPid:\t{}\n", std::process::id())));
        drop(placeholder);
        assert!(status().is_err());
    }
}
