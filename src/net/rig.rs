//! Tests only: a host of their own (a thread in a fresh network and mount namespace), pods on its
//! bridge, and the plain tools to look at it. Nothing touches the machine's network.

use crate::names::IfName;
use crate::net::link::{self, Bridge, Veth};
use crate::net::netns;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

pub(in crate::net) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);

/// Runs the test on a thread that is a host of its own, `lo` up.
pub(in crate::net) fn on_new_host(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let host = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            ip("link set lo up");
            // A new network namespace begins with the machine's own setting.
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
            test();
        });
        if let Err(panic) = host.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs something on a thread inside another network namespace.
pub(in crate::net) fn within<T: Send>(netns: &OwnedFd, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            f()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub(in crate::net) fn run(program: &str, arguments: &str) -> String {
    let output = std::process::Command::new(program).args(arguments.split(' ')).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

pub(in crate::net) fn ip(arguments: &str) -> String {
    run("ip", arguments)
}

pub(in crate::net) fn name(word: &str) -> IfName {
    IfName::try_from(word).unwrap()
}

pub(in crate::net) fn directory(word: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("podspec-net-{word}-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    path
}

pub(in crate::net) fn bridge() {
    let name = name("podspec0");
    link::make_bridge(&Bridge { name, address: GATEWAY, prefix: 16, mtu: 1400 }).unwrap();
}

pub(in crate::net) fn veth(host: &str, address: [u8; 4]) -> Veth {
    Veth {
        host: name(host),
        peer: name("eth0"),
        bridge: name("podspec0"),
        mac: [2, 0, 0, 0, 0, address[3]],
        mtu: 1400,
        address: address.into(),
        prefix: 16,
        gateway: GATEWAY,
    }
}

/// A namespace on the bridge.
pub(in crate::net) fn pod(host: &str, address: [u8; 4]) -> OwnedFd {
    let inside = netns::create().unwrap();
    link::connect(&veth(host, address), inside.as_fd()).unwrap();
    inside
}
