//! Programs against an interpreter and a reading of the document that knows no machine code; the default
//! profile against what it is there to stop.

use super::numbers::number;
use super::*;
use crate::sys::filter::Instruction;
use oci_spec::runtime::{LinuxSeccompAction, LinuxSeccompOperator};
use proptest::prelude::*;
use serde_json::{Value, json};

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = ERRNO | 1;
const ENOSYS: u32 = ERRNO | 38;
const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;

/// What the kernel would return, and how many instructions it took.
fn run(program: &[Instruction], number: u32, machine: u32, args: [u64; 6]) -> (u32, usize) {
    let load = |at: u32| match at {
        0 => number,
        4 => machine,
        16.. if at < 64 && at.is_multiple_of(4) => {
            let word = args[(at as usize - 16) / 8];
            (word >> (8 * (at % 8))) as u32
        }
        at => panic!("load at {at}"),
    };
    let (mut accumulator, mut at, mut count) = (0_u32, 0_usize, 0);
    loop {
        let Instruction { code, if_true, if_false, value } = program[at];
        count += 1;
        at += 1;
        let mut branch = |is: bool| at += usize::from(if is { if_true } else { if_false });
        match code {
            0x20 => accumulator = load(value),
            0x54 => accumulator &= value,
            0x05 => at += value as usize,
            0x15 => branch(accumulator == value),
            0x25 => branch(accumulator > value),
            0x35 => branch(accumulator >= value),
            0x06 => return (value, count),
            code => panic!("code {code:#x}"),
        }
    }
}

fn holds(arg: &oci_spec::runtime::LinuxSeccompArg, args: [u64; 6]) -> bool {
    use LinuxSeccompOperator as Op;
    let (is, value) = (args[arg.index()], arg.value());
    match arg.op() {
        Op::ScmpCmpNe => is != value,
        Op::ScmpCmpLt => is < value,
        Op::ScmpCmpLe => is <= value,
        Op::ScmpCmpEq => is == value,
        Op::ScmpCmpGe => is >= value,
        Op::ScmpCmpGt => is > value,
        Op::ScmpCmpMaskedEq => is & value == arg.value_two().unwrap_or(0),
    }
}

/// The document read as its rules are written, one by one.
fn judge(document: &LinuxSeccomp, name: &str, args: [u64; 6]) -> u32 {
    let mut best: Option<u32> = None;
    for rule in document.syscalls().iter().flatten() {
        let conditions = rule.args().as_deref().unwrap_or(&[]);
        let mut indexes: Vec<usize> = conditions.iter().map(|arg| arg.index()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let matches = if indexes.len() == conditions.len() {
            conditions.iter().all(|arg| holds(arg, args))
        } else {
            conditions.iter().any(|arg| holds(arg, args))
        };
        let verdict = rule.action().as_u32(rule.errno_ret());
        let stricter = |best: u32| verdict.cast_signed() < best.cast_signed();
        if rule.names().iter().any(|known| known == name) && matches && best.is_none_or(stricter) {
            best = Some(verdict);
        }
    }
    best.unwrap_or_else(|| document.default_action().as_u32(document.default_errno_ret()))
}

fn document(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

fn default_for(capabilities: &[&str]) -> LinuxSeccomp {
    let capabilities: Vec<String> = capabilities.iter().map(|cap| format!("CAP_{cap}")).collect();
    let container = Container { capabilities: &capabilities, kernel: (6, 1) };
    Profile::parse(DEFAULT).unwrap().resolve(container).unwrap()
}

const NAMES: [&str; 8] =
    ["read", "socket", "clone", "clone3", "mount", "mseal", "personality", "arch_prctl"];
/// Words whose halves are equal, off by one, and far apart.
const WORDS: [u64; 10] =
    [0, 1, 38, 39, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 38, 38 << 32, u64::MAX];

fn action() -> impl Strategy<Value = (LinuxSeccompAction, Option<u32>)> {
    use LinuxSeccompAction as Action;
    prop_oneof![
        Just((Action::ScmpActAllow, None)),
        Just((Action::ScmpActLog, None)),
        Just((Action::ScmpActTrap, None)),
        Just((Action::ScmpActKill, None)),
        Just((Action::ScmpActKillProcess, None)),
        (0_u32..4096).prop_map(|errno| (Action::ScmpActErrno, Some(errno))),
        Just((Action::ScmpActErrno, None)),
    ]
}

fn rule() -> impl Strategy<Value = Value> {
    let op = prop_oneof![
        Just("NE"),
        Just("LT"),
        Just("LE"),
        Just("EQ"),
        Just("GE"),
        Just("GT"),
        Just("MASKED_EQ")
    ];
    let word = || prop_oneof![proptest::sample::select(&WORDS[..]), any::<u64>()];
    let arg = (0_usize..6, word(), word(), op).prop_map(|(index, value, two, op)| {
        let two = if op == "MASKED_EQ" { two & value } else { two };
        json!({ "index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}") })
    });
    let names = proptest::sample::subsequence(&NAMES[..], 1..4);
    let args = proptest::collection::vec(arg, 0..5);
    (names, action(), args).prop_map(|(names, (action, errno), args)| {
        json!({ "names": names, "action": action, "errnoRet": errno, "args": args })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_program_decides_as_the_document_says(
        rules in proptest::collection::vec(rule(), 0..24),
        (otherwise, errno) in action(),
        words in proptest::collection::vec(
            (proptest::sample::select(&WORDS[..]), any::<u64>(), any::<bool>()), 6),
        many in any::<bool>(),
    ) {
        let mut rules = rules;
        if many {
            // Long programs, whose jumps do not fit into a byte.
            let every = super::calls(Machine::X86_64).step_by(2).map(|(name, _)| name);
            rules.push(json!({ "names": every.collect::<Vec<_>>(), "action": "SCMP_ACT_LOG" }));
        }
        let document = document(json!({
            "defaultAction": otherwise, "defaultErrnoRet": errno, "syscalls": rules,
        }));
        for (machine, audit) in [(Machine::X86_64, X86_64), (Machine::Aarch64, AARCH64)] {
            let program = compile(&document, machine).unwrap().instructions;
            for (plain, random, use_random) in &words {
                let word = if *use_random { *random } else { *plain };
                let args = [word, word.rotate_left(32), word ^ 1, 38, 0, word];
                for name in NAMES {
                    let Some(number) = number(name, machine) else { continue };
                    let (verdict, _) = run(&program, number, audit, args);
                    prop_assert_eq!(verdict, judge(&document, name, args), "{} {:x?}", name, args);
                }
                let unknown = run(&program, 4000, audit, args).0;
                prop_assert_eq!(unknown, otherwise.as_u32(errno));
            }
            prop_assert_eq!(run(&program, 0, 0x28, [0; 6]).0, KILL);
        }
    }
}

#[test]
fn every_call_of_the_default_profile_is_decided_as_its_document_says() {
    for capabilities in [&[][..], &["SYS_CHROOT"], &["SYS_ADMIN", "SYS_TIME"]] {
        let document = default_for(capabilities);
        for (machine, audit) in [(Machine::X86_64, X86_64), (Machine::Aarch64, AARCH64)] {
            let program = compile(&document, machine).unwrap().instructions;
            assert!(program.len() < 700, "{}", program.len());
            for (name, number) in calls(machine) {
                for first in (0..70).chain([u64::MAX, 1 << 32, (1 << 32) + 38, 0x1000_0000]) {
                    for third in [0, 9, 15] {
                        let args = [first, 0, third, 0, 0, 0];
                        let (verdict, count) = run(&program, number, audit, args);
                        assert_eq!(verdict, judge(&document, name, args), "{name} {args:?}");
                        assert!(count < 120, "{name} takes {count} instructions");
                    }
                }
            }
        }
    }
}

/// The verdict on a call of this machine, without any capability that matters.
fn verdict(name: &str, args: [u64; 6]) -> u32 {
    let program = compile(&default_for(&["CHOWN"]), Machine::X86_64).unwrap();
    run(&program.instructions, number(name, Machine::X86_64).unwrap(), X86_64, args).0
}

#[test]
fn the_default_profile_stops_what_it_is_there_to_stop() {
    let of = |name: &str, first: u64| verdict(name, [first, 0, 0, 0, 0, 0]);
    for name in ["read", "execve", "ptrace", "mseal", "openat2", "fork"] {
        assert_eq!(of(name, 0), ALLOW, "{name}");
    }
    for name in [
        "mount",
        "unshare",
        "setns",
        "keyctl",
        "bpf",
        "io_uring_setup",
        "chroot",
        "vmsplice",
        "open_tree",
        "kexec_load",
        "perf_event_open",
        "userfaultfd",
        "reboot",
        "init_module",
    ] {
        assert_eq!(of(name, 0), EPERM, "{name}");
    }
    for name in ["clone3", "cachestat", "statmount", "open_tree_attr", "lsm_set_self_attr"] {
        assert_eq!(of(name, 0), ENOSYS, "{name}");
    }
    // fork(2) as the C library does it, and threads.
    for flags in [0x0120_0011, 0x003d_0f00] {
        assert_eq!(of("clone", flags), ALLOW);
    }
    for bit in [17, 25, 26, 27, 28, 29, 30] {
        assert_eq!(of("clone", 17 | 1 << bit), EPERM, "{bit}");
        assert_eq!(of("clone", 1 << 40 | 1 << bit), EPERM, "{bit}");
    }
    for family in 0..64 {
        let expected = if matches!(family, 38 | 40) { EPERM } else { ALLOW };
        assert_eq!(of("socket", family), expected, "{family}");
        // The kernel takes 32 bits of it.
        assert_eq!(of("socket", family | 1 << 32), expected, "{family}");
    }
    for protocol in 0..32 {
        let expected = if protocol == 9 { ERRNO | 22 } else { ALLOW };
        for high in [0, 1 << 32] {
            let args = [16 | high, 3, protocol | high, 0, 0, 0];
            assert_eq!(verdict("socket", args), expected, "{protocol}");
        }
    }
    assert_eq!(of("personality", 0xffff_ffff), ALLOW);
    assert_eq!(of("personality", 0x0004_0000), ENOSYS);
}

#[test]
fn a_capability_opens_what_belongs_to_it() {
    let verdict = |cap: &str, name: &str| {
        let program = compile(&default_for(&[cap]), Machine::X86_64).unwrap();
        let flags = [0x1000_0011, 0, 0, 0, 0, 0];
        run(&program.instructions, number(name, Machine::X86_64).unwrap(), X86_64, flags).0
    };
    for (cap, name) in [
        ("SYS_ADMIN", "mount"),
        ("SYS_ADMIN", "clone"),
        ("SYS_ADMIN", "clone3"),
        ("SYS_CHROOT", "chroot"),
        ("SYSLOG", "syslog"),
        ("SYS_ADMIN", "syslog"),
        ("BPF", "bpf"),
        ("SYS_TIME", "settimeofday"),
    ] {
        assert_eq!(verdict(cap, name), ALLOW, "{cap} {name}");
    }
    for (cap, name) in [("SYS_ADMIN", "keyctl"), ("BPF", "mount"), ("SYS_TIME", "chroot")] {
        assert_eq!(verdict(cap, name), EPERM, "{cap} {name}");
    }
}

#[test]
fn other_machines_get_nothing() {
    let closed = compile(&default_for(&[]), Machine::X86_64).unwrap().instructions;
    // 32-bit programs, whose socketcall(2) nobody can look into, and x32.
    assert_eq!(run(&closed, 3, X86, [0; 6]).0, KILL);
    assert_eq!(run(&closed, 0x4000_0000, X86_64, [0; 6]).0, ENOSYS);
    assert_eq!(run(&closed, u32::MAX, X86_64, [0; 6]).0, ENOSYS);
    let open = document(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": ["socketcall", "read"], "action": "SCMP_ACT_ALLOW" }],
    }));
    let open = compile(&open, Machine::X86_64).unwrap().instructions;
    assert_eq!(run(&open, 102, X86, [0; 6]).0, ALLOW);
    assert_eq!(run(&open, 3, X86, [0; 6]).0, ALLOW);
    assert_eq!(run(&open, 102, X86_64, [0; 6]).0, EPERM);
    assert_eq!(run(&open, 0x4000_0000, X86_64, [0; 6]).0, ENOSYS);
    let lax = document(json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    let lax = compile(&lax, Machine::X86_64).unwrap().instructions;
    assert_eq!(run(&lax, 0x4000_0000, X86_64, [0; 6]).0, ENOSYS);
    assert_eq!(run(&lax, 3, X86, [0; 6]).0, KILL);
}

#[test]
fn what_a_profile_cannot_be_is_said() {
    let error = |value: &str| {
        let container = Container { capabilities: &[], kernel: (6, 1) };
        let document = Profile::parse(value).and_then(|profile| profile.resolve(container));
        document.and_then(Filter::of).unwrap_err().to_string()
    };
    for (text, said) in [
        ("", "not a seccomp profile"),
        ("{}", "missing field `defaultAction`"),
        (r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#, "unknown variant"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","sycalls":[]}"#, "unknown field `sycalls`"),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "no listener"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#, "no listener"),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#, "above 4095"),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"ENOSYS"}"#, "`errnoRet`"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
            "SCMP_ACT_ALLOW takes no `errnoRet`",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["open"],"action":"SCMP_ACT_KILL","errnoRet":1}]}"#,
            "SCMP_ACT_KILL takes no `errnoRet`",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["opne"],"action":"SCMP_ACT_ERRNO"}]}"#,
            "`opne` is no system call",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}"#,
            "`names`",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "argument 6",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"new"}}]}"#,
            "`new` is no kernel version",
        ),
    ] {
        assert!(error(text).contains(said), "{text}: {}", error(text));
    }
}

#[test]
fn conditions_choose_rules() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            { "names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"] } },
            { "names": ["chroot"], "action": "SCMP_ACT_ALLOW", "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
            { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "6.2" } },
            { "names": ["swapcontext"], "action": "SCMP_ACT_ALLOW", "includes": { "arches": ["ppc64le"] } },
            { "name": "read", "action": "SCMP_ACT_ALLOW", "comment": "x", "args": null },
        ],
    })
    .to_string();
    let names = |capabilities: &[&str], kernel| {
        let capabilities: Vec<String> = capabilities.iter().map(|&cap| cap.to_owned()).collect();
        let container = Container { capabilities: &capabilities, kernel };
        let document = Profile::parse(&profile).unwrap().resolve(container).unwrap();
        let rules = document.syscalls().clone().unwrap();
        rules.iter().flat_map(|rule| rule.names().clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[], (6, 1)), "chroot read");
    assert_eq!(names(&["CAP_SYS_ADMIN"], (6, 2)), "ptrace read");
    assert_eq!(names(&["CAP_SYS_ADMIN", "CAP_CHOWN"], (5, 20)), "mount read");
}

#[test]
fn the_default_profile_is_no_wider_than_those_of_others() {
    // podman's own, where it is installed; see docs/security.md for the calls that it is too old to know.
    let newer = [
        "fchmodat2",
        "futex_waitv",
        "futex_requeue",
        "futex_wait",
        "futex_wake",
        "getxattrat",
        "listxattrat",
        "memfd_secret",
        "mseal",
        "process_mrelease",
        "removexattrat",
        "setxattrat",
        "uretprobe",
    ];
    let Ok(text) = std::fs::read_to_string("/usr/share/containers/seccomp.json") else { return };
    let capabilities: Vec<String> = ["CHOWN", "SYS_CHROOT"].map(|cap| format!("CAP_{cap}")).into();
    let container = Container { capabilities: &capabilities, kernel: (6, 18) };
    let theirs = Profile::parse(&text).unwrap().resolve(container).unwrap();
    let ours = default_for(&["CHOWN", "SYS_CHROOT"]);
    let mut wider = Vec::new();
    for (name, _) in calls(Machine::X86_64).filter(|(name, _)| !newer.contains(name)) {
        let is_wider = |first: &u64| {
            let args = [*first, 0, 0, 0, 0, 0];
            judge(&ours, name, args) == ALLOW && judge(&theirs, name, args) != ALLOW
        };
        wider.extend((0..50).find(is_wider).map(|first| (name, first)));
    }
    assert_eq!(wider, []);
}
