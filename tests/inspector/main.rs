//! What a container lets a program see and do, tried from inside and printed as JSON: sections of names and verdicts,
//! an entry a line. tests/kernel/inspector.rs runs it in containers of podspec, podman and crun, and compares.
//!
//! Built by that test with rustc alone, static, for it must run in a root that holds nothing else. It ends with
//! the number of its argument.
#![no_main] // Rust's own start would ignore SIGPIPE, and that is one of the things to look at.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_ulong};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The order of the columns in podspec's table of system calls.
#[allow(dead_code)]
#[derive(Clone, Copy)]
enum Machine {
    X86_64,
    Aarch64,
    X86,
}

#[allow(dead_code)]
#[path = "../../src/seccomp/numbers.rs"]
mod numbers;

const OWN: Machine = if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 };

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn fork() -> c_int;
    fn _exit(code: c_int) -> !;
    fn alarm(seconds: c_uint) -> c_uint;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn mknod(path: *const c_char, mode: c_uint, device: c_ulong) -> c_int;
    fn getrlimit(resource: c_uint, limit: *mut [c_ulong; 2]) -> c_int;
}

type Section = BTreeMap<String, String>;

/// Never made: they end the process or its parent's stack, wait for ever, or make the whole machine write its disks.
const NOT_MADE: [&str; 6] = ["exit", "exit_group", "pause", "rt_sigreturn", "sync", "vfork"];

const ALL_ONES: c_long = -1;
const SIGCHLD: c_long = 17;

/// No file, no address, no process. Some calls take that for a question of which the kernel says ENOSYS, too, and
/// some filters allow only what a program asks for.
fn arguments(name: &str) -> [c_long; 6] {
    match name {
        "clone" => [SIGCHLD, 0, 0, 0, 0, 0],
        // FUTEX_WAKE
        "futex" => [0, 1, 0, 0, 0, 0],
        "modify_ldt" => [0; 6],
        // The question which personality this is.
        "personality" => [0xffff_ffff, 0, 0, 0, 0, 0],
        _ => [ALL_ONES; 6],
    }
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A number or -1, to an errno or 0.
fn result(value: c_long) -> c_int {
    if value == -1 { errno() } else { 0 }
}

fn call(number: c_long, args: [c_long; 6]) -> c_int {
    let [a, b, c, d, e, f] = args;
    // SAFETY: in a child of its own that ends right after it, whatever the kernel makes of these.
    result(unsafe { syscall(number, a, b, c, d, e, f) })
}

/// What came of something in a child of its own: done, the name of an errno, or the signal that ended it.
fn attempt(work: impl FnOnce() -> c_int) -> String {
    let mut status = 0;
    // SAFETY: this program has one thread; the child works on copies and ends without cleaning up.
    unsafe {
        let pid = fork();
        if pid == 0 {
            alarm(2);
            _exit(work());
        }
        waitpid(pid, &raw mut status, 0);
    }
    match (status & 0x7f, status >> 8 & 0xff) {
        (0, 0) => "done".to_owned(),
        (0, 1) => "EPERM".to_owned(),
        (0, 38) => "ENOSYS".to_owned(),
        (0, errno) => format!("errno {errno}"),
        (14, _) => "waits".to_owned(),
        (signal, _) => format!("signal {signal}"),
    }
}

fn entry(key: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (key.into(), value.into())
}

/// Each call there is, and some that there are not.
fn calls() -> Section {
    let mut known: Vec<(&str, u32)> = numbers::all(OWN).collect();
    known.retain(|(name, _)| !NOT_MADE.contains(name));
    // getpid of x32, and a number that no kernel has.
    known.extend([("x32", 0x4000_0000 + 39), ("unknown", 999)]);
    let verdict = |(name, number): (&str, u32)| {
        entry(name, attempt(|| call(c_long::from(number), arguments(name))))
    };
    known.into_iter().map(verdict).collect()
}

fn number(name: &str) -> c_long {
    numbers::all(OWN).find(|(known, _)| *known == name).map_or(-1, |(_, number)| number.into())
}

fn tried(deeds: &mut Section, what: &str, name: &str, args: &[c_long]) {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    deeds.insert(what.to_owned(), attempt(|| call(number(name), all)));
}

/// Ways into namespaces, new ones and its own.
fn ways_into_namespaces(deeds: &mut Section) {
    const NEWUSER: c_long = 0x1000_0000;
    let kinds = [
        ("time", 0x80),
        ("mnt", 0x2_0000),
        ("cgroup", 0x200_0000),
        ("uts", 0x400_0000),
        ("ipc", 0x800_0000),
        ("user", NEWUSER),
        ("pid", 0x2000_0000),
        ("net", 0x4000_0000),
    ];
    for (kind, flag) in kinds {
        tried(deeds, &format!("unshare {kind}"), "unshare", &[flag]);
        tried(deeds, &format!("unshare user and {kind}"), "unshare", &[flag | NEWUSER]);
        tried(deeds, &format!("clone {kind}"), "clone", &[flag | SIGCHLD]);
        let path = CString::new(format!("/proc/self/ns/{kind}")).unwrap();
        // SAFETY: a string that lives as long as the call.
        let fd = unsafe { open(path.as_ptr(), 0) };
        tried(deeds, &format!("setns {kind}"), "setns", &[fd.into(), 0]);
    }
}

/// Calls whose arguments decide.
fn deeds() -> Section {
    let mut deeds = Section::new();
    ways_into_namespaces(&mut deeds);
    let text = |text: &'static CStr| text.as_ptr() as c_long;
    let mut scratch = [0_u64; 64];
    let space = scratch.as_mut_ptr() as c_long;
    let list: [(&str, &str, &[c_long]); 22] = [
        ("mount a tmpfs", "mount", &[text(c"x"), text(c"/tmp"), text(c"tmpfs"), 0, text(c"")]),
        ("chroot to /", "chroot", &[text(c"/")]),
        ("be traced", "ptrace", &[0, 0, 0, 0]),
        ("read the kernel's log", "syslog", &[10, 0, 0]),
        ("add a key", "add_key", &[text(c"user"), text(c"inspector"), text(c"x"), 1, -3]),
        ("ask for the session keyring", "keyctl", &[0, -3, 0]),
        ("search the user's keyring", "keyctl", &[10, -4, text(c"user"), text(c"inspector"), 0]),
        ("io_uring", "io_uring_setup", &[1, space]),
        ("userfaultfd of the user", "userfaultfd", &[1]),
        ("a program for the kernel", "bpf", &[0, space, 64]),
        ("every port of the machine", "iopl", &[3]),
        ("be first", "setpriority", &[0, 0, -20]),
        ("lock memory", "mlockall", &[1]),
        ("addresses that do not change", "personality", &[0x4_0000]),
        ("be of 32 bits", "personality", &[8]),
        ("a file by its handle", "name_to_handle_at", &[-100, text(c"/"), space, space, 0]),
        ("watch a file system", "fanotify_init", &[0, 0]),
        ("look into itself", "process_vm_readv", &[1, space, 0, space, 0, 0]),
        ("compare itself", "kcmp", &[1, 1, 0, 0, 0]),
        ("make a cgroup", "mkdirat", &[-100, text(c"/sys/fs/cgroup/inspector"), 0o755]),
        ("be root", "setuid", &[0]),
        ("be nobody", "setuid", &[65534]),
    ];
    for (what, name, args) in list {
        tried(&mut deeds, what, name, args);
    }
    deeds
}

/// Which sockets can be had.
fn sockets() -> Section {
    // SAFETY: plain numbers, in a child of its own.
    let opened = |family, kind, protocol| {
        attempt(|| result(c_long::from(unsafe { socket(family, kind, protocol) })))
    };
    let mut sockets = Section::new();
    for family in 0..48 {
        let kinds = [1, 2, 3, 5].map(|kind| opened(family, kind, 0));
        let done = kinds.iter().find(|verdict| *verdict == "done");
        sockets.insert(format!("family {family}"), done.unwrap_or(&kinds[0]).clone());
    }
    for protocol in 0..23 {
        sockets.insert(format!("netlink {protocol}"), opened(16, 3, protocol));
    }
    sockets.insert("raw icmp".into(), opened(2, 3, 1));
    sockets.insert("packets".into(), opened(17, 3, 0x300));
    sockets
}

/// Where no mount covers it, a path of a mount point has its parent's.
fn mounts() -> Section {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let words: Vec<&str> = mount.split(' ').collect();
        let words_of_it: Vec<&str> = filesystem.split(' ').collect();
        let shared = words.get(6).filter(|word| word.contains(':')).map_or("private", |word| word);
        let shared = shared.split(':').next()?;
        let options = words.get(5)?;
        Some(entry(
            *words.get(4)?,
            format!("{} {options} {} {shared}", words_of_it.first()?, words_of_it.get(2)?),
        ))
    };
    // The last one at a place is the one that is seen.
    text.lines().filter_map(mount).collect()
}

/// `r`, `w`, both, or neither: whether it can be opened so. Nothing is read or written.
fn access(path: &Path) -> String {
    const NONBLOCK_NOCTTY: c_int = 0o4400;
    let Ok(name) = CString::new(path.as_os_str().as_bytes()) else { return String::new() };
    let opens = |mode: c_int| {
        // SAFETY: a string that lives as long as the call.
        let fd = unsafe { open(name.as_ptr(), mode | NONBLOCK_NOCTTY) };
        // SAFETY: what has just been opened here.
        fd >= 0 && unsafe { close(fd) } == 0
    };
    let words = [(0, 'r'), (1, 'w')].into_iter().filter(|(mode, _)| opens(*mode));
    words.map(|(_, word)| word).collect()
}

fn numbers_of(device: u64) -> (u64, u64) {
    (device >> 8 & 0xfff, device & 0xff)
}

/// Each file of /proc and /sys, and how it can be opened; one that null covers is none.
fn kernel_files() -> Section {
    let mut files = Section::new();
    for top in ["/proc", "/sys"] {
        let mut left = vec![Path::new(top).to_owned()];
        while let Some(directory) = left.pop() {
            for found in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = found.path();
                let Ok(status) = fs::symlink_metadata(&path) else { continue };
                let name = found.file_name();
                let is_process = top == "/proc"
                    && directory == Path::new(top)
                    && name.as_bytes()[0].is_ascii_digit();
                let kind = status.file_type();
                if kind.is_dir() && !is_process {
                    left.push(path);
                } else if kind.is_file() {
                    let how = access(&path);
                    files.insert(path.display().to_string(), how);
                } else if kind.is_char_device() && numbers_of(status.rdev()) != (1, 3) {
                    files.insert(path.display().to_string(), "a device".into());
                }
            }
        }
    }
    // Of itself: what a process may change of itself, and what others are shown.
    for found in fs::read_dir("/proc/self").into_iter().flatten().flatten() {
        if found.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = Path::new("/proc/self").join(found.file_name());
            files.insert(path.display().to_string(), access(&path));
        }
    }
    files
}

/// Below /dev, and what becomes of nodes that a program makes.
fn devices() -> Section {
    let mut devices = Section::new();
    let mut left = vec![Path::new("/dev").to_owned()];
    while let Some(directory) = left.pop() {
        for found in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, Ok(status)) = (found.path(), found.metadata()) else { continue };
            let kind = status.file_type();
            let name = path.display().to_string();
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_char_device() || kind.is_block_device() {
                let (major, minor) = numbers_of(status.rdev());
                let word = if kind.is_char_device() { 'c' } else { 'b' };
                let mode = status.permissions().mode() & 0o7777;
                let node = format!("{word} {major}:{minor} {mode:o} {}", access(&path));
                devices.insert(name, node);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                devices.insert(name, format!("-> {}", target.display()));
            }
        }
    }
    let made = [
        ("mem", 'c', 1, 1),
        ("kmsg", 'c', 1, 11),
        ("null", 'c', 1, 3),
        ("console", 'c', 5, 1),
        ("misc", 'c', 10, 237),
        ("tun", 'c', 10, 200),
        ("fuse", 'c', 10, 229),
        ("loop", 'b', 7, 0),
        ("disk", 'b', 8, 0),
        ("virtual disk", 'b', 254, 0),
    ];
    for (name, word, major, minor) in made {
        let path = CString::new(format!("/dev/inspector-{name}")).unwrap();
        let mode = if word == 'c' { 0o2_0666 } else { 0o6_0666 };
        // SAFETY: a string that lives as long as the call.
        let done = unsafe { mknod(path.as_ptr(), mode, major << 8 | minor) } == 0;
        let how = if done { access(Path::new(path.to_str().unwrap())) } else { String::new() };
        devices.insert(format!("made {name}"), format!("{}{how}", if done { "made " } else { "" }));
        let _ = fs::remove_file(path.to_str().unwrap());
    }
    devices
}

fn limits() -> Section {
    let names = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice \
                 rtprio rttime";
    let limit = |(number, name): (c_uint, &str)| {
        let mut limit = [0; 2];
        // SAFETY: two numbers of the machine's word, as struct rlimit is on 64 bits.
        unsafe { getrlimit(number, &raw mut limit) };
        entry(name, format!("{} {}", limit[0], limit[1]))
    };
    (0..).zip(names.split_whitespace()).map(limit).collect()
}

/// Ids, capabilities, filters, masks of signals, and what else the kernel says of a process.
fn process() -> Section {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Seccomp_filters",
        "SigBlk",
        "SigIgn",
        "Umask",
    ];
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let value: Vec<&str> = value.split_whitespace().collect();
        wanted.contains(&name).then(|| entry(name, value.join(" ")))
    };
    let mut process: Section = status.lines().filter_map(line).collect();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    process.insert("oom_score_adj".into(), read("/proc/self/oom_score_adj"));
    let directory = fs::read_link("/proc/self/cwd").unwrap_or_default();
    process.insert("cwd".into(), directory.display().to_string());
    let numbered = |found: &fs::DirEntry| found.file_name().as_bytes()[0].is_ascii_digit();
    let others = fs::read_dir("/proc").into_iter().flatten().flatten().filter(numbered).count();
    process.insert("processes in view".into(), others.to_string());
    process.insert("keys in view".into(), read("/proc/keys").lines().count().to_string());
    process.insert("cgroup".into(), read("/proc/self/cgroup").replace('\n', " "));
    process
}

fn namespaces() -> Section {
    let kinds = fs::read_dir("/proc/self/ns").into_iter().flatten().flatten();
    let link = |found: fs::DirEntry| {
        let link = fs::read_link(found.path()).unwrap_or_default();
        entry(found.file_name().to_string_lossy(), link.display().to_string())
    };
    kinds.map(link).collect()
}

fn descriptors() -> Section {
    let mut open = Section::new();
    for number in 0..1024 {
        if let Ok(link) = fs::read_link(format!("/proc/self/fd/{number}")) {
            open.insert(number.to_string(), link.display().to_string());
        }
    }
    open
}

fn environment() -> Section {
    let all = std::env::vars_os();
    all.map(|(name, value)| entry(name.to_string_lossy(), value.to_string_lossy())).collect()
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out + "\""
}

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    // Descriptors first: nothing else may be open.
    let sections = [
        ("descriptors", descriptors()),
        ("process", process()),
        ("environment", environment()),
        ("limits", limits()),
        ("namespaces", namespaces()),
        ("mounts", mounts()),
        ("devices", devices()),
        ("kernel files", kernel_files()),
        ("sockets", sockets()),
        ("deeds", deeds()),
        ("calls", calls()),
    ];
    let section = |(name, entries): &(&str, Section)| {
        let pair = |(key, value): (&String, &String)| format!("{}: {}", quoted(key), quoted(value));
        let entries: Vec<String> = entries.iter().map(pair).collect();
        format!("{}: {{\n{}\n}}", quoted(name), entries.join(",\n"))
    };
    let sections: Vec<String> = sections.iter().map(section).collect();
    println!("{{\n{}\n}}", sections.join(",\n"));
    std::env::args().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
