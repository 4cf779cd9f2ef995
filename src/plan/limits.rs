//! Limits of a container's processes and its devices, in OCI's words: what the file asks for, and what holds where it
//! says nothing.

use crate::names::ContainerName;
use crate::plan::error::PlanError;
use crate::plan::facts::{CallerFacts, ContainerFacts, DeviceKind, DeviceNode};
use crate::spec::model::{Container, Rlimit, Ulimit};
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Process,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Open files of a container whose file says nothing, where the caller may have as many.
const NOFILE: u64 = 524_288;

/// Gives the process its limits. Nothing is raised above what the caller may have itself.
pub(super) fn limit(
    process: &mut Process,
    name: &ContainerName,
    container: &Container,
    caller: &CallerFacts,
) -> Result<(), PlanError> {
    let nofile = NOFILE.min(caller.hard(Rlimit::Nofile));
    // A core file of a container is the host's to write, by the host's core_pattern.
    let mut limits: BTreeMap<Rlimit, (u64, u64)> =
        [(Rlimit::Nofile, (nofile, nofile)), (Rlimit::Core, (0, 0))].into();
    for (&kind, &Ulimit { soft, hard }) in &container.ulimits {
        let most = caller.hard(kind);
        // -1 is the largest.
        let (soft, hard) = (soft.cast_unsigned(), hard.cast_unsigned());
        if hard > most {
            return Err(PlanError::AboveLimit {
                container: name.clone(),
                kind,
                wanted: hard,
                most,
            });
        }
        limits.insert(kind, (soft, hard));
    }
    process
        .set_rlimits(Some(limits.into_iter().map(|(kind, bounds)| rlimit(kind, bounds)).collect()));
    if let Some(wanted) = container.oom_score_adj {
        let least = caller.oom_score_adj;
        if wanted < least && !caller.may_lower_oom_score_adj {
            return Err(PlanError::BelowOomScore { container: name.clone(), wanted, least });
        }
        process.set_oom_score_adj(Some(wanted));
    }
    Ok(())
}

fn rlimit(kind: Rlimit, (soft, hard): (u64, u64)) -> PosixRlimit {
    let built = PosixRlimitBuilder::default().typ(posix(kind)).soft(soft).hard(hard).build();
    #[expect(clippy::expect_used, reason = "each of its three fields is set")]
    built.expect("a whole limit")
}

fn posix(kind: Rlimit) -> PosixRlimitType {
    match kind {
        Rlimit::As => PosixRlimitType::RlimitAs,
        Rlimit::Core => PosixRlimitType::RlimitCore,
        Rlimit::Cpu => PosixRlimitType::RlimitCpu,
        Rlimit::Data => PosixRlimitType::RlimitData,
        Rlimit::Fsize => PosixRlimitType::RlimitFsize,
        Rlimit::Locks => PosixRlimitType::RlimitLocks,
        Rlimit::Memlock => PosixRlimitType::RlimitMemlock,
        Rlimit::Msgqueue => PosixRlimitType::RlimitMsgqueue,
        Rlimit::Nice => PosixRlimitType::RlimitNice,
        Rlimit::Nofile => PosixRlimitType::RlimitNofile,
        Rlimit::Nproc => PosixRlimitType::RlimitNproc,
        Rlimit::Rss => PosixRlimitType::RlimitRss,
        Rlimit::Rtprio => PosixRlimitType::RlimitRtprio,
        Rlimit::Rttime => PosixRlimitType::RlimitRttime,
        Rlimit::Sigpending => PosixRlimitType::RlimitSigpending,
        Rlimit::Stack => PosixRlimitType::RlimitStack,
    }
}

/// The nodes of the container's /dev beside the standard ones: as on the host, with number, owner and mode.
pub(super) fn devices(container: &Container, facts: &ContainerFacts) -> Vec<LinuxDevice> {
    let found = container.devices.iter().filter_map(|device| {
        let node = facts.devices.get(&device.path)?;
        Some(node_at(&device.target, node))
    });
    found.collect()
}

/// This node of the host, in a container.
pub(super) fn node_at(path: &Path, node: &DeviceNode) -> LinuxDevice {
    let mut made = LinuxDevice::default();
    made.set_path(path.to_owned())
        .set_typ(kind(node.kind))
        .set_major(node.major.into())
        .set_minor(node.minor.into())
        .set_file_mode(Some(node.mode))
        .set_uid(Some(node.uid))
        .set_gid(Some(node.gid));
    made
}

/// Character devices of every container: null, zero, full, random, urandom, tty, console, ptmx, and what ptmx makes.
pub const EVERYBODYS_DEVICES: [(i32, Option<i32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Which devices the container may use, whatever nodes it finds or makes: those that every container has and
/// its own, each as far as the file says. Nodes of others can be made where the capability is, and not used.
pub(super) fn device_rules(
    container: &Container,
    facts: Option<&ContainerFacts>,
    may_make_nodes: bool,
) -> Vec<LinuxDeviceCgroup> {
    if container.security.privileged {
        return vec![rule(true, (LinuxDeviceType::A, None, None), "rwm")];
    }
    let mut rules = vec![rule(false, (LinuxDeviceType::A, None, None), "rwm")];
    if may_make_nodes {
        for kind in [LinuxDeviceType::B, LinuxDeviceType::C] {
            rules.push(rule(true, (kind, None, None), "m"));
        }
    }
    let nodes = EVERYBODYS_DEVICES
        .map(|(major, minor)| (LinuxDeviceType::C, Some(major.into()), minor.map(i64::from)));
    rules.extend(nodes.map(|node| rule(true, node, "rwm")));
    // A device may be there under several names: what one of them may, all may.
    let mut own: BTreeMap<(DeviceKind, u32, u32), BTreeSet<char>> = BTreeMap::new();
    for device in &container.devices {
        if let Some(node) = facts.and_then(|facts| facts.devices.get(&device.path)) {
            let access = own.entry((node.kind, node.major, node.minor)).or_default();
            access.extend(device.access.chars());
            // Another name for one that every container has leaves that one as it is.
            if device.target != device.path && is_everybodys(node) {
                access.extend("rwm".chars());
            }
        }
    }
    for ((of, major, minor), access) in own {
        let node = (kind(of), Some(major.into()), Some(minor.into()));
        // One of the standard ones can be had with less, too: rules that come later win.
        rules.push(rule(false, node, "rwm"));
        let access: String = "rwm".chars().filter(|letter| access.contains(letter)).collect();
        rules.push(rule(true, node, &access));
    }
    rules
}

fn is_everybodys(node: &DeviceNode) -> bool {
    let (major, minor) = (i32::try_from(node.major), i32::try_from(node.minor));
    let is_it =
        |of: i32, which: Option<i32>| major == Ok(of) && which.is_none_or(|it| minor == Ok(it));
    node.kind == DeviceKind::Character
        && EVERYBODYS_DEVICES.iter().any(|(major, minor)| is_it(*major, *minor))
}

fn kind(kind: DeviceKind) -> LinuxDeviceType {
    match kind {
        DeviceKind::Block => LinuxDeviceType::B,
        DeviceKind::Character => LinuxDeviceType::C,
    }
}

fn rule(
    allow: bool,
    (kind, major, minor): (LinuxDeviceType, Option<i64>, Option<i64>),
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(Some(kind))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;
    use crate::spec::model::Device;

    fn limits_of(
        caller: &CallerFacts,
        change: impl FnOnce(&mut Container),
    ) -> Result<Vec<(String, u64, u64)>, PlanError> {
        let mut container = sample::container();
        change(&mut container);
        let mut process = Process::default();
        limit(&mut process, &"web".parse().unwrap(), &container, caller)?;
        let limits = process.rlimits().clone().unwrap();
        Ok(limits.iter().map(|l| (l.typ().to_string(), l.soft(), l.hard())).collect())
    }

    fn caller(nofile: u64) -> CallerFacts {
        CallerFacts { hard_limits: [(Rlimit::Nofile, nofile)].into(), ..CallerFacts::default() }
    }

    #[test]
    fn a_file_that_says_nothing_has_many_files_and_no_core() {
        let of = |nofile| limits_of(&caller(nofile), |_| {}).unwrap();
        let core = ("RLIMIT_CORE".to_owned(), 0, 0);
        let files = |most| ("RLIMIT_NOFILE".to_owned(), most, most);
        assert_eq!(of(1 << 20), [core.clone(), files(524_288)]);
        assert_eq!(of(1024), [core.clone(), files(1024)]);
        assert_eq!(of(u64::MAX), [core, files(524_288)]);
    }

    #[test]
    fn what_the_file_says_holds_up_to_what_the_caller_may_have() {
        let wanted = |soft, hard| {
            move |c: &mut Container| {
                c.ulimits = [
                    (Rlimit::Nofile, Ulimit { soft, hard }),
                    (Rlimit::Core, Ulimit { soft: -1, hard: -1 }),
                ]
                .into();
            }
        };
        let found = limits_of(&caller(4096), wanted(1024, 4096)).unwrap();
        assert_eq!(found[1], ("RLIMIT_NOFILE".to_owned(), 1024, 4096));
        assert_eq!(found[0], ("RLIMIT_CORE".to_owned(), u64::MAX, u64::MAX));
        for above in [4097, -1] {
            let error = limits_of(&caller(4096), wanted(0, above)).unwrap_err();
            assert_eq!(error.place().as_deref(), Some("containers.web.ulimits.nofile"));
            assert!(error.to_string().contains("4096"), "{error}");
        }
    }

    #[test]
    fn a_score_is_lowered_only_by_who_may() {
        let of = |own, may, wanted| {
            let caller = CallerFacts {
                oom_score_adj: own,
                may_lower_oom_score_adj: may,
                ..CallerFacts::default()
            };
            limits_of(&caller, |c| c.oom_score_adj = Some(wanted)).map(|_| ())
        };
        assert_eq!(of(0, false, 0), Ok(()));
        assert_eq!(of(0, false, 500), Ok(()));
        assert_eq!(of(0, true, -500), Ok(()));
        let error = of(200, false, 100).unwrap_err();
        assert_eq!(error.place().as_deref(), Some("containers.web.oomScoreAdj"));
        assert!(error.to_string().contains("200"), "{error}");
    }

    /// At its own path it can be had with less.
    #[test]
    fn another_name_for_a_standard_device_takes_nothing_from_it() {
        let node = |minor| DeviceNode {
            kind: DeviceKind::Character,
            major: 1,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        };
        let access = |minor, target: &str| {
            let mut container = sample::container();
            let path = std::path::PathBuf::from("/dev/x");
            container.devices =
                vec![Device { path: path.clone(), target: target.into(), access: "r".to_owned() }];
            let facts =
                ContainerFacts { devices: [(path, node(minor))].into(), ..Default::default() };
            let rules = device_rules(&container, Some(&facts), false);
            rules.last().and_then(|rule| rule.access().clone()).unwrap()
        };
        assert_eq!(access(3, "/dev/nix"), "rwm", "null");
        assert_eq!(access(3, "/dev/x"), "r");
        assert_eq!(access(4, "/dev/port"), "r", "port, which nobody has otherwise");
    }
}
