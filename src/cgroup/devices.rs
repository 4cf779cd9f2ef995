//! Which devices a cgroup may use: rules, the last that fits wins, as a small eBPF program that the kernel asks at
//! each open and mknod of a device (BPF_CGROUP_DEVICE). It holds on hybrid machines, too: every container is
//! in the v2 hierarchy, whoever has the controllers.

use super::{Cgroup, CgroupError};
use crate::sys::bpf::{self, Instruction};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One rule; what is None is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRule {
    pub allow: bool,
    /// `b` or `c`.
    pub kind: Option<char>,
    pub major: Option<i32>,
    pub minor: Option<i32>,
    pub read: bool,
    pub write: bool,
    pub make: bool,
}

/// Programs that were loaded, each by its rules: most containers have the same.
#[derive(Debug, Default)]
pub struct DevicePrograms {
    loaded: Vec<(Vec<DeviceRule>, OwnedFd)>,
}

impl DevicePrograms {
    /// Has the kernel take the program for these rules, unless it has it.
    pub fn load(&mut self, rules: &[DeviceRule]) -> io::Result<BorrowedFd<'_>> {
        let known = self.loaded.iter().position(|(known, _)| known == rules);
        let at = match known {
            Some(at) => at,
            None => {
                let program = bpf::load_for_devices(&assemble(rules))?;
                self.loaded.push((rules.to_vec(), program));
                self.loaded.len() - 1
            }
        };
        Ok(self.loaded[at].1.as_fd())
    }

    /// From now on the processes of the cgroup use no device but by these rules.
    pub fn bound(&mut self, cgroup: &Cgroup, rules: &[DeviceRule]) -> Result<(), CgroupError> {
        let bound =
            self.load(rules).and_then(|program| bpf::attach_to_cgroup(cgroup.fd(), program));
        bound.map_err(|source| CgroupError::Devices { path: cgroup.path.clone(), source })
    }
}

// Bits of the access that is asked about (linux/bpf.h, BPF_DEVCG_ACC_*).
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ANY: i32 = MAKE | READ | WRITE;

// Registers: the answer, the context, and what it holds.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// A program that looks at the rules from the last to the first. It ends with the first rule that fits anything:
/// the kernel refuses a program with instructions that are never reached.
fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::load_u32(KIND, CONTEXT, 0),
        Instruction::copy(ACCESS, KIND),
        Instruction::and(KIND, 0xffff),
        Instruction::shift_right(ACCESS, 16),
        Instruction::load_u32(MAJOR, CONTEXT, 4),
        Instruction::load_u32(MINOR, CONTEXT, 8),
    ];
    for rule in rules.iter().rev() {
        let tests = tests(rule);
        let is_last = tests.is_empty();
        let count = tests.len();
        for (at, test) in tests.into_iter().enumerate() {
            // Past the other tests, and the two that answer.
            let skip = i16::try_from(count - at - 1 + 2).unwrap_or(i16::MAX);
            program.push(if test.is_jump() { test.over(skip) } else { test });
        }
        program.push(Instruction::set(ANSWER, i32::from(rule.allow)));
        program.push(Instruction::exit());
        if is_last {
            return program;
        }
    }
    program.push(Instruction::set(ANSWER, 0));
    program.push(Instruction::exit());
    program
}

/// Jumps away where the rule does not fit; how far is not filled in.
fn tests(rule: &DeviceRule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    if let Some(kind) = rule.kind {
        tests.push(Instruction::unless_equal(KIND, if kind == 'b' { 1 } else { 2 }));
    }
    let bits = [(rule.make, MAKE), (rule.read, READ), (rule.write, WRITE)];
    let access = bits.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit);
    if access != ANY {
        tests.push(Instruction::copy(SCRATCH, ACCESS));
        if rule.allow {
            // All that is asked for is allowed.
            tests.push(Instruction::and(SCRATCH, ANY & !access));
            tests.push(Instruction::unless_equal(SCRATCH, 0));
        } else {
            // Some of it is refused.
            tests.push(Instruction::and(SCRATCH, access));
            tests.push(Instruction::if_equal(SCRATCH, 0));
        }
    }
    tests.extend(rule.major.map(|major| Instruction::unless_equal(MAJOR, major)));
    tests.extend(rule.minor.map(|minor| Instruction::unless_equal(MINOR, minor)));
    tests
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Hierarchy;
    use crate::sys::clone::{Cloned, clone3, exit_now};
    use std::path::PathBuf;

    fn rule(
        allow: bool,
        kind: Option<char>,
        node: (Option<i32>, Option<i32>),
        access: &str,
    ) -> DeviceRule {
        let has = |letter| access.contains(letter);
        let (read, write, make) = (has('r'), has('w'), has('m'));
        DeviceRule { allow, kind, major: node.0, minor: node.1, read, write, make }
    }

    /// Whether the program allows it, carried out here.
    fn asked(program: &[Instruction], kind: char, node: (u32, u32), access: &str) -> bool {
        let bits = [('m', MAKE), ('r', READ), ('w', WRITE)];
        let bits = bits.iter().filter(|(letter, _)| access.contains(*letter));
        let access = bits.fold(0, |all, (_, bit)| all | bit).cast_unsigned();
        let context = [access << 16 | if kind == 'b' { 1 } else { 2 }, node.0, node.1];
        bpf::run(program, &context) == 1
    }

    #[test]
    fn the_last_rule_that_fits_wins() {
        let program = assemble(&[
            rule(false, None, (None, None), "rwm"),
            rule(true, Some('c'), (None, None), "m"),
            rule(true, Some('c'), (Some(1), Some(3)), "rwm"),
            rule(true, Some('c'), (Some(136), None), "rw"),
            rule(true, Some('b'), (Some(7), Some(0)), "r"),
            rule(false, Some('c'), (Some(136), Some(9)), "w"),
        ]);
        for (kind, node, access, allowed) in [
            ('c', (1, 3), "rwm", true),
            ('c', (1, 3), "r", true),
            ('b', (1, 3), "r", false),
            ('c', (1, 5), "r", false),
            ('c', (1, 5), "m", true),
            ('c', (1, 5), "rm", false),
            ('c', (136, 4), "rw", true),
            ('c', (136, 9), "rw", false),
            ('c', (136, 9), "r", true),
            ('b', (7, 0), "r", true),
            ('b', (7, 0), "w", false),
            ('b', (7, 0), "rw", false),
            ('b', (8, 0), "r", false),
        ] {
            assert_eq!(asked(&program, kind, node, access), allowed, "{kind} {node:?} {access}");
        }
        assert!(!asked(&assemble(&[]), 'c', (1, 3), "r"), "without a rule nothing is allowed");
    }

    #[test]
    fn the_kernel_takes_the_program_and_asks_it() {
        let hierarchy = Hierarchy::open().unwrap();
        let path = PathBuf::from(format!("podspec/test-{}-devices", std::process::id()));
        let cgroup = hierarchy.make(&path).unwrap();
        let null_only = [
            rule(false, None, (None, None), "rwm"),
            rule(true, Some('c'), (Some(1), Some(3)), "r"),
        ];
        let mut programs = DevicePrograms::default();
        programs.bound(&cgroup, &null_only).unwrap();
        programs.bound(&hierarchy.make(&path.join("below")).unwrap(), &null_only).unwrap();
        assert_eq!(programs.loaded.len(), 1);
        let Cloned::Parent { pidfd, .. } = clone3(0, Some(cgroup.fd())).unwrap() else {
            use rustix::fs::{Mode, OFlags, open};
            use rustix::io::Errno;
            let at = |path: &str, flags| open(path, flags, Mode::empty()).map(drop);
            let right = at("/dev/null", OFlags::RDONLY).is_ok()
                && at("/dev/null", OFlags::WRONLY) == Err(Errno::PERM)
                && at("/dev/zero", OFlags::RDONLY) == Err(Errno::PERM);
            exit_now(if right { 7 } else { 1 })
        };
        let wait = rustix::process::WaitIdOptions::EXITED;
        let ended = rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), wait);
        assert_eq!(ended.unwrap().unwrap().exit_status(), Some(7));
        hierarchy.remove(&path).unwrap();
    }
}
