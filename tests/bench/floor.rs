//! The floor of `up -d` and `down`: what the kernel alone asks for. The same clone3 into cgroups, the same limit of
//! processes and rules for devices, namespaces, veth, nftables element, mounts, overlays, pivot_root and exec, in the order
//! that waits least, and one fork and exec of itself for whoever stays; at the end the same stop signal, and its heeding.
//! No file, no plan, no journal, no record, no log, no words. It is built from podspec's
//! mechanisms, so what those waste is in both numbers; what everything above them costs is in podspec's alone.
//!
//! `floor host` prepares a machine once; `floor up CONTAINERS ROOTFS DATA` and `floor down` are measured by
//! tests/bench/run in a fake host of its own, and `floor time` is its stop watch, for all competitors.

use nix::sys::resource::{UsageWho, getrusage};
use oci_spec::runtime::{
    Capability, Linux, LinuxCapabilitiesBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Mount,
    MountBuilder, Process, ProcessBuilder, Spec, UserBuilder,
};
use podspec::cgroup::{Cgroup, DevicePrograms, Hierarchy, Legacy, legacy_mounts};
use podspec::names::IfName;
use podspec::net::{Subnet, firewall, link, netns};
use podspec::sandbox::{self, Child, InfraOrder, NamespaceKind, Order, Overlay, Report};
use podspec::seccomp::{self, Filter, Profile};
use podspec::spec::hidden::{MASKED, READ_ONLY};
use podspec::sys::filter::Program;
use podspec::sys::{clone, descriptors, process, program};
use std::error::Error;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write, pipe};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const RUN: &str = "/run/floor";
const SOCKET: &str = "/run/floor/socket";
/// Of one pod; gone with it.
const POD: &str = "/run/floor/pod";
const NETNS: &str = "/run/netns/floor";
const CGROUP: &str = "podspec/f100f100f1";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 2);
const CHANNEL: i32 = 3;
/// As tests/bench/run has it for the others.
const PROGRAM: [&str; 1] = ["/bin/pause"];

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["host"] => prepare_host(),
        ["up", count, rootfs, data] => up(count, rootfs, data),
        ["stay", count, rootfs, data] => stay(count.parse()?, Path::new(rootfs), Path::new(data)),
        ["down"] => down(),
        ["time", results, label, command, ref rest @ ..] => time(results, label, command, rest),
        // `cargo bench` starts every bench so; there is nothing to measure outside of a fake host.
        ["--bench"] => Ok(()),
        _ => Err("usage: floor host | up CONTAINERS ROOTFS DATA | down".into()),
    }
}

/// Notes how many microseconds a whole process takes, from before its birth to its end.
fn time(results: &str, label: &str, command: &str, rest: &[&str]) -> Outcome {
    let begin = Instant::now();
    let status = Command::new(command).args(rest).status()?;
    let took = begin.elapsed().as_micros();
    if !status.success() {
        return Err(format!("{command} {}: {status}", rest.join(" ")).into());
    }
    // This process has had no other child.
    let most = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    let mut file = File::options().append(true).create(true).open(results)?;
    Ok(writeln!(file, "{label} {took} {most}")?)
}

/// What the first pod of a machine makes and every later one finds.
fn prepare_host() -> Outcome {
    let bridge = IfName::try_from("floor0")?;
    link::make_bridge(&link::Bridge {
        name: bridge.clone(),
        address: GATEWAY,
        prefix: 16,
        mtu: 1500,
    })?;
    let network = Subnet { address: Ipv4Addr::new(10, 89, 0, 0), prefix: 16 };
    firewall::make_table(&firewall::Table { bridge, network, guard_forwarding: false })?;
    fs::create_dir_all(RUN)?;
    Ok(())
}

/// Makes the process that stays, and waits for its one word.
fn up(count: &str, rootfs: &str, data: &str) -> Outcome {
    let cgroup = Hierarchy::open()?.make(Path::new("podspec/supervisors"))?;
    let own = File::open("/proc/self/exe")?;
    let (mut ours, theirs) = UnixStream::pair()?;
    match clone::clone3(0, Some(cgroup.fd()))? {
        clone::Cloned::Child => {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            let nowhere = Some(null.as_fd());
            let kept =
                descriptors::keep_only([nowhere, nowhere, None], &[theirs.as_fd(), own.as_fd()])?;
            rustix::io::fcntl_setfd(&kept[0], rustix::io::FdFlags::empty())?;
            rustix::process::setsid()?;
            let words = ["floor", "stay", count, rootfs, data].map(CString::new);
            let argv = words.into_iter().collect::<Result<Vec<_>, _>>()?;
            // Not `?`: what was copied from the parent must not be dropped here.
            let _ = program::exec_fd(kept[1].as_fd(), &argv, &[]);
            clone::exit_now(1)
        }
        clone::Cloned::Parent { .. } => drop(theirs),
    }
    Ok(ours.read_exact(&mut [0])?)
}

fn down() -> Outcome {
    let mut wire = UnixStream::connect(SOCKET)?;
    Ok(wire.read_exact(&mut [0])?)
}

/// The process that stays: makes all of the pod, is there, and removes all of it.
fn stay(count: usize, rootfs: &Path, data: &Path) -> Outcome {
    let mut client = UnixStream::from(descriptors::inherited(CHANNEL)?);
    let hierarchy = Hierarchy::open()?;
    let layers = data.join("layers/f100f100f1");
    let pod = make_pod(&hierarchy, count, rootfs, &layers)?;
    let listener = UnixListener::bind(SOCKET)?;
    client.write_all(b"u")?;
    drop(client);
    let (mut wire, _) = listener.accept()?;
    stop(&pod)?;
    remove_pod(&hierarchy, &pod, &layers)?;
    wire.write_all(b"d")?;
    Ok(())
}

/// What holds a pod together as long as its process stays.
struct Pod {
    _infra: Child,
    containers: Vec<Container>,
    /// Where processes are counted by v1.
    pids: Option<PathBuf>,
}

struct Container {
    child: Child,
    cgroup: Cgroup,
    _output: [OwnedFd; 2],
}

fn make_pod(hierarchy: &Hierarchy, count: usize, rootfs: &Path, layers: &Path) -> Outcome<Pod> {
    let cgroup = hierarchy.make(&Path::new(CGROUP).join("_infra"))?;
    let infra = sandbox::start_infra(&InfraOrder {
        namespaces: &[NamespaceKind::Net, NamespaceKind::Uts, NamespaceKind::Ipc],
        hostname: Some("floor"),
        cgroup: cgroup.fd(),
        ids: None,
        cgroup_root: None,
        offsets: sandbox::Offsets::default(),
    })?;
    // Everything that asks nothing of infra, while it makes its namespaces.
    make_directories(count, layers)?;
    let mut document = document()?;
    wait(&infra.channel)?;
    pin(infra.pid)?;
    let pids = pids_mount()?;
    let mut containers = Vec::with_capacity(count);
    for number in 0..count {
        let order = (number, rootfs, layers);
        containers.push(create(hierarchy, pids.as_deref(), &mut document, order)?);
    }
    // Beside the containers, which set themselves up meanwhile.
    link::connect(&veth()?, netns::open(Path::new(NETNS))?.as_fd())?;
    firewall::publish("floor", &[forward()], None)?;
    let mut devices = DevicePrograms::default();
    let rules = podspec::oci::all_device_rules(None);
    devices.load(&rules)?;
    for Container { child, cgroup, .. } in &containers {
        wait(&child.channel)?;
        match sandbox::report(child.channel.as_fd()) {
            Report::Ready => {
                devices.bound(cgroup, &rules)?;
                sandbox::start(child.channel.as_fd())?;
            }
            other => return Err(format!("a container is not ready: {other:?}").into()),
        }
    }
    for Container { child, .. } in &containers {
        wait(&child.channel)?;
        match sandbox::report(child.channel.as_fd()) {
            Report::Running => {}
            other => return Err(format!("a container does not run: {other:?}").into()),
        }
    }
    Ok(Pod { _infra: infra, containers, pids })
}

/// The pod's tmpfs with shared memory and the files that containers are given, and the layers on the disk.
fn make_directories(count: usize, layers: &Path) -> Outcome {
    let flags = nix::mount::MsFlags::MS_NOSUID
        | nix::mount::MsFlags::MS_NODEV
        | nix::mount::MsFlags::MS_NOEXEC;
    let none = None::<&str>;
    let tmpfs = |at: &Path, options| {
        fs::create_dir(at)?;
        nix::mount::mount(none, at, Some("tmpfs"), flags, Some(options))?;
        Ok::<_, Box<dyn Error>>(())
    };
    let pod = Path::new(POD);
    tmpfs(pod, "mode=0700")?;
    nix::mount::mount(none, pod, none, nix::mount::MsFlags::MS_PRIVATE, none)?;
    tmpfs(&pod.join("shm"), "mode=1777,size=67108864")?;
    fs::create_dir(layers)?;
    for number in 0..count {
        let files = pod.join(number.to_string());
        fs::create_dir(&files)?;
        fs::write(files.join("hosts"), "127.0.0.1\tlocalhost\n10.89.0.2\tfloor\n")?;
        fs::write(files.join("hostname"), "floor\n")?;
        fs::write(files.join("resolv.conf"), "nameserver 192.0.2.1\n")?;
        fs::create_dir(layers.join(format!("{number}.upper")))?;
        fs::create_dir(layers.join(format!("{number}.work")))?;
    }
    Ok(())
}

fn pin(infra: i32) -> Outcome {
    netns::pin(
        netns::open(Path::new(&format!("/proc/{infra}/ns/net")))?.as_fd(),
        Path::new(NETNS),
    )?;
    for kind in ["uts", "ipc"] {
        let at = Path::new(POD).join(kind);
        File::create_new(&at)?;
        let source = format!("/proc/{infra}/ns/{kind}");
        let (none, bind) = (None::<&str>, nix::mount::MsFlags::MS_BIND);
        nix::mount::mount(Some(source.as_str()), &at, none, bind, none)?;
    }
    Ok(())
}

fn create(
    hierarchy: &Hierarchy,
    pids: Option<&Path>,
    document: &mut Spec,
    (number, rootfs, layers): (usize, &Path, &Path),
) -> Outcome<Container> {
    let files = Path::new(POD).join(number.to_string());
    for mount in document.mounts_mut().iter_mut().flatten() {
        if let Some(name) = mount.destination().strip_prefix("/etc").ok().map(Path::to_owned) {
            mount.set_source(Some(files.join(name)));
        }
    }
    let overlay = Overlay {
        at: PathBuf::from("/"),
        lower: vec![rootfs.to_owned()],
        upper: layers.join(format!("{number}.upper")),
        work: layers.join(format!("{number}.work")),
    };
    let path = Path::new(CGROUP).join(number.to_string());
    let cgroup = hierarchy.make(&path)?;
    let limit = ("pids.max".to_owned(), "2048".to_owned());
    let join = match pids {
        Some(mount) => vec![Legacy { mount, path: &path }.make(&[limit])?],
        None => {
            cgroup.limit(&[limit])?;
            Vec::new()
        }
    };
    let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
    let beneath = &std::collections::BTreeMap::new();
    let child = sandbox::create(&Order {
        beneath,
        oci: document,
        filter: Some(filter()),
        overlays: &[overlay],
        stdin: None,
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        cgroup: cgroup.fd(),
        init: false,
        join: &join,
        extras: sandbox::Extras::default(),
    })?;
    Ok(Container { child, cgroup, _output: [out.into(), err.into()] })
}

/// Where v1 counts processes, on a hybrid machine.
fn pids_mount() -> Outcome<Option<PathBuf>> {
    let mut mounts = legacy_mounts()?.into_iter();
    Ok(mounts.find(|(controller, _)| controller == "pids").map(|(_, at)| at))
}

/// The default one: containers are filtered, and so is the floor.
#[expect(clippy::unwrap_used, reason = "the profile is podspec's own")]
fn filter() -> &'static Program {
    static FILTER: OnceLock<Program> = OnceLock::new();
    FILTER.get_or_init(|| {
        let of = seccomp::Container { capabilities: &[], kernel: (6, 1) };
        let document = Profile::parse(seccomp::DEFAULT).and_then(|profile| profile.resolve(of));
        document.and_then(Filter::of).unwrap().program
    })
}

fn veth() -> Outcome<link::Veth> {
    Ok(link::Veth {
        host: IfName::try_from("psfloor")?,
        peer: IfName::try_from("eth0")?,
        bridge: IfName::try_from("floor0")?,
        mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
        address: ADDRESS,
        prefix: 16,
        gateway: GATEWAY,
    })
}

fn forward() -> firewall::Forward {
    let (address, protocol) = (None, firewall::Protocol::Tcp);
    firewall::Forward { address, protocol, host: 18080, count: 1, target: ADDRESS, target_port: 80 }
}

fn wait(channel: &OwnedFd) -> Outcome {
    let mut polled = [rustix::event::PollFd::new(channel, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut polled, None)?;
    Ok(())
}

/// Asks all to end, and waits until they have.
fn stop(pod: &Pod) -> Outcome {
    for Container { child, .. } in &pod.containers {
        process::pidfd_send_signal(child.pidfd.as_fd(), libc::SIGTERM)?;
    }
    pod.containers.iter().try_for_each(|container| wait(&container.child.pidfd))
}

/// The processes first: the kernel takes the network namespace apart while the rest is done.
fn remove_pod(hierarchy: &Hierarchy, pod: &Pod, layers: &Path) -> Outcome {
    let watch = link::LinkWatch::open()?;
    let host = veth()?.host;
    hierarchy.remove(Path::new(CGROUP))?;
    if let Some(mount) = &pod.pids {
        Legacy { mount, path: Path::new(CGROUP) }.remove()?;
    }
    netns::unpin(Path::new(NETNS))?;
    firewall::unpublish(&[forward()])?;
    // With all that is mounted below it.
    nix::mount::umount2(Path::new(POD), nix::mount::MntFlags::MNT_DETACH)?;
    fs::remove_dir(POD)?;
    fs::remove_dir_all(layers)?;
    fs::remove_file(SOCKET)?;
    let left = watch.await_gone(&[host], Duration::from_secs(10))?;
    if left.is_empty() { Ok(()) } else { Err("the link does not go".into()) }
}

/// What podspec's planner writes for the same container.
fn document() -> Outcome<Spec> {
    let mut spec = Spec::default();
    spec.set_process(Some(process()?)).set_mounts(Some(mounts()?)).set_linux(Some(linux()?));
    spec.set_hostname(None).set_annotations(None);
    Ok(spec)
}

fn process() -> Outcome<Process> {
    let capabilities = [
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Fsetid,
        Capability::Kill,
        Capability::NetBindService,
        Capability::Setgid,
        Capability::Setfcap,
        Capability::Setpcap,
        Capability::Setuid,
        Capability::SysChroot,
    ];
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities)
        .effective(capabilities)
        .permitted(capabilities)
        .inheritable([])
        .ambient([])
        .build()?;
    let user = UserBuilder::default().uid(0_u32).gid(0_u32).additional_gids([0]).build()?;
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut process = ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args(PROGRAM.map(str::to_owned))
        .env([path, "HOME=/", "HOSTNAME=floor"].map(str::to_owned))
        .cwd("/")
        .capabilities(sets)
        .no_new_privileges(true)
        .build()?;
    process.set_rlimits(None);
    Ok(process)
}

fn mounts() -> Outcome<Vec<Mount>> {
    let closed: &[&str] = &["nosuid", "noexec", "nodev"];
    let seen: &[&str] = &["nosuid", "noexec", "nodev", "ro"];
    let dev: &[&str] = &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"];
    let pts: &[&str] = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let shm: &[&str] = &["bind", "nosuid", "noexec", "nodev"];
    let file: &[&str] = &["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"];
    let shared = format!("{POD}/shm");
    let mounts = [
        ("/proc", "proc", "proc", closed),
        ("/dev", "tmpfs", "tmpfs", dev),
        ("/dev/pts", "devpts", "devpts", pts),
        ("/sys", "sysfs", "sysfs", seen),
        ("/sys/fs/cgroup", "cgroup2", "cgroup", seen),
        ("/dev/mqueue", "mqueue", "mqueue", closed),
        ("/dev/shm", "bind", &shared, shm),
        ("/etc/hosts", "bind", "", file),
        ("/etc/hostname", "bind", "", file),
        ("/etc/resolv.conf", "bind", "", file),
    ];
    let mount = |(at, kind, source, options): (&str, &str, &str, &[&str])| {
        let options: Vec<String> = options.iter().map(|&word| word.to_owned()).collect();
        let mount = MountBuilder::default().destination(at).typ(kind).source(source);
        Ok(mount.options(options).build()?)
    };
    mounts.into_iter().map(mount).collect()
}

fn linux() -> Outcome<Linux> {
    let pinned = |name: &str| Some(Path::new(POD).join(name));
    let kinds = [
        (LinuxNamespaceType::Network, Some(PathBuf::from(NETNS))),
        (LinuxNamespaceType::Uts, pinned("uts")),
        (LinuxNamespaceType::Ipc, pinned("ipc")),
        (LinuxNamespaceType::Pid, None),
        (LinuxNamespaceType::Mount, None),
        (LinuxNamespaceType::Cgroup, None),
    ];
    let mut namespaces = Vec::with_capacity(kinds.len());
    for (kind, path) in kinds {
        let mut namespace = LinuxNamespaceBuilder::default().typ(kind).build()?;
        namespace.set_path(path);
        namespaces.push(namespace);
    }
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces))
        .set_masked_paths(Some(MASKED.map(str::to_owned).to_vec()))
        .set_readonly_paths(Some(READ_ONLY.map(str::to_owned).to_vec()))
        .set_resources(None)
        .set_devices(None);
    Ok(linux)
}
