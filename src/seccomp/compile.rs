//! `linux.seccomp` to classic BPF (seccomp(2), and filter.txt of the kernel). A program finds the machine,
//! then the call by a binary search over ranges of numbers that are decided alike: some ten instructions
//! for a call, where a list would be hundreds.

use super::numbers::{is_known, number};
use super::profile::known_flags;
use super::{Machine, SeccompError};
use crate::sys::filter::{Instruction, Program};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

/// BPF_MAXINSNS.
const LONGEST: usize = 4096;
/// Above it are the calls of x32, another machine under the same name: no profile allows them.
const X32: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;

/// Where `struct seccomp_data` has the call's number, its machine, and the first argument.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What a filter returns for a call that no rule knows, or of another machine.
const NO_SUCH_CALL: u32 = 0x0005_0000 | libc::ENOSYS.cast_unsigned();
const KILL: u32 = 0x8000_0000;

/// The program of this document for processes of `machine`, and of what else it names that runs there.
pub fn compile(document: &LinuxSeccomp, machine: Machine) -> Result<Program, SeccompError> {
    let otherwise = verdict(document.default_action(), document.default_errno_ret())?;
    let mut rules = Vec::new();
    for syscall in document.syscalls().iter().flatten() {
        Rule::add(syscall, otherwise, &mut rules)?;
    }
    let mut machines = vec![machine];
    let named = |arch| document.architectures().iter().flatten().any(|known| *known == arch);
    if machine == Machine::X86_64 && named(Arch::ScmpArchX86) {
        machines.push(Machine::X86);
    }
    let mut program = vec![plain(LOAD, MACHINE)];
    for machine in machines {
        let block = block(&rules, otherwise, machine);
        program.push(jump(IF_EQUAL, audit_number(machine), 1, 0));
        program.push(plain(JUMP, length(&block)));
        program.extend(block);
    }
    // 32-bit programs, whose calls have other numbers, where the document does not name them.
    program.push(plain(RETURN, KILL));
    if program.len() > LONGEST {
        return Err(SeccompError::TooLong(program.len()));
    }
    Ok(Program { flags: known_flags(document), instructions: program })
}

/// AUDIT_ARCH_….
fn audit_number(machine: Machine) -> u32 {
    match machine {
        Machine::X86_64 => 0xc000_003e,
        Machine::Aarch64 => 0xc000_00b7,
        Machine::X86 => 0x4000_0003,
    }
}

fn verdict(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    use LinuxSeccompAction::{ScmpActErrno, ScmpActNotify, ScmpActTrace};
    match (action, errno) {
        (ScmpActNotify, _) => Err(SeccompError::Listener("SCMP_ACT_NOTIFY")),
        (ScmpActErrno, Some(errno)) if errno > 4095 => Err(SeccompError::ErrnoRange(errno)),
        (ScmpActErrno | ScmpActTrace, errno) => {
            Ok(action.as_u32(Some(errno.unwrap_or(libc::EPERM.cast_unsigned()) & 0xffff)))
        }
        (_, Some(_)) => Err(SeccompError::NoErrno(action)),
        (action, None) => Ok(action.as_u32(None)),
    }
}

/// The kernel's order of actions: the smaller, the stricter. Of two errnos the smaller one counts.
fn strictness(verdict: u32) -> i32 {
    verdict.cast_signed()
}

/// A rule of the document, checked.
struct Rule<'a> {
    names: &'a [String],
    verdict: u32,
    /// All must hold.
    conditions: &'a [LinuxSeccompArg],
}

impl<'a> Rule<'a> {
    fn add(
        syscall: &'a LinuxSyscall,
        otherwise: u32,
        rules: &mut Vec<Self>,
    ) -> Result<(), SeccompError> {
        let verdict = verdict(syscall.action(), syscall.errno_ret())?;
        let conditions = syscall.args().as_deref().unwrap_or(&[]);
        if let Some(wrong) = conditions.iter().find(|condition| condition.index() > 5) {
            return Err(SeccompError::Argument(wrong.index()));
        }
        // What is unknown gets the default: for a call that was to be stopped that may be too little.
        if strictness(verdict) < strictness(otherwise)
            && let Some(name) = syscall.names().iter().find(|name| !is_known(name))
        {
            return Err(SeccompError::NoSuchCall(name.clone()));
        }
        let rule = |conditions| Self { names: syscall.names(), verdict, conditions };
        // As runc and crun have it: conditions on one argument twice are alternatives, each a rule.
        let twice = |(n, one): (usize, &LinuxSeccompArg)| {
            conditions[..n].iter().any(|before| before.index() == one.index())
        };
        if conditions.iter().enumerate().any(twice) {
            rules.extend(conditions.chunks(1).map(rule));
        } else {
            rules.push(rule(conditions));
        }
        Ok(())
    }
}

/// Consecutive numbers that are decided alike.
struct Segment<'a> {
    first: u32,
    /// Of calls with conditions: the strictest first.
    conditional: Vec<&'a Rule<'a>>,
    otherwise: u32,
}

/// For one machine: the accumulator is free, and every way through ends in a return.
fn block(rules: &[Rule<'_>], otherwise: u32, machine: Machine) -> Vec<Instruction> {
    let mut program = vec![plain(LOAD, NUMBER)];
    if machine == Machine::X86_64 {
        program.push(jump(IF_AT_LEAST, X32, 0, 1));
        program.push(plain(RETURN, NO_SUCH_CALL));
    }
    program.extend(search(&segments(rules, otherwise, machine)));
    program
}

fn segments<'a>(rules: &'a [Rule<'a>], otherwise: u32, machine: Machine) -> Vec<Segment<'a>> {
    let of_rule = |rule: &'a Rule<'a>| {
        rule.names.iter().filter_map(move |name| Some((number(name, machine)?, rule)))
    };
    let mut ruled: Vec<(u32, &Rule<'_>)> = rules.iter().flat_map(of_rule).collect();
    ruled.sort_by_key(|(number, _)| *number);
    let mut segments: Vec<Segment<'_>> = Vec::new();
    let mut add = |segment: Segment<'a>| {
        let alike = |last: &Segment<'_>| {
            last.otherwise == segment.otherwise
                && last.conditional.is_empty()
                && segment.conditional.is_empty()
        };
        if !segments.last().is_some_and(alike) {
            segments.push(segment);
        }
    };
    let mut next = 0;
    for group in ruled.chunk_by(|a, b| a.0 == b.0) {
        let first = group[0].0;
        if first > next {
            add(Segment { first: next, conditional: Vec::new(), otherwise });
        }
        add(decide(first, group, otherwise));
        next = first + 1;
    }
    add(Segment { first: next, conditional: Vec::new(), otherwise });
    segments
}

/// All rules of one call. Where one has no condition, only stricter ones matter beside it.
fn decide<'a>(first: u32, group: &[(u32, &'a Rule<'a>)], otherwise: u32) -> Segment<'a> {
    let rules = || group.iter().map(|(_, rule)| *rule);
    let always = rules().filter(|rule| rule.conditions.is_empty()).map(|rule| rule.verdict);
    let always = always.min_by_key(|verdict| strictness(*verdict));
    let matters = |rule: &&Rule<'_>| {
        let stricter = |always| strictness(rule.verdict) < strictness(always);
        !rule.conditions.is_empty() && always.is_none_or(stricter)
    };
    let mut conditional: Vec<&Rule<'_>> = rules().filter(matters).collect();
    conditional.sort_by_key(|rule| strictness(rule.verdict));
    Segment { first, conditional, otherwise: always.unwrap_or(otherwise) }
}

fn search(segments: &[Segment<'_>]) -> Vec<Instruction> {
    let middle = segments.len() / 2;
    let (below, above) = segments.split_at(middle);
    let (false, Some(pivot)) = (below.is_empty(), above.first()) else {
        return segments.first().map(leaf).unwrap_or_default();
    };
    let (below, above) = (search(below), search(above));
    let mut program = match u8::try_from(below.len()) {
        Ok(skipped) => vec![jump(IF_AT_LEAST, pivot.first, skipped, 0)],
        // A condition jumps 255 instructions at most.
        Err(_) => {
            vec![jump(IF_AT_LEAST, pivot.first, 0, 1), plain(JUMP, length(&below))]
        }
    };
    program.extend(below);
    program.extend(above);
    program
}

fn leaf(segment: &Segment<'_>) -> Vec<Instruction> {
    let mut program = Vec::new();
    for rule in &segment.conditional {
        // Backwards, for a condition that fails jumps over all that is behind it.
        let mut tail = vec![plain(RETURN, rule.verdict)];
        for condition in rule.conditions.iter().rev() {
            let mut whole = compare(condition, tail.len() as u8);
            whole.extend(tail);
            tail = whole;
        }
        program.extend(tail);
    }
    program.push(plain(RETURN, segment.otherwise));
    program
}

/// Goes on where the condition holds, and else over `skipped` more instructions, at most some fifty: six
/// arguments of a rule and its return.
fn compare(condition: &LinuxSeccompArg, skipped: u8) -> Vec<Instruction> {
    use LinuxSeccompOperator as Op;
    let low_at = ARGUMENTS + 8 * condition.index() as u32;
    let (low, high) = (plain(LOAD, low_at), plain(LOAD, low_at + 4));
    let (wanted, mask) = match condition.op() {
        Op::ScmpCmpMaskedEq => (condition.value_two().unwrap_or(0), condition.value()),
        _ => (condition.value(), u64::MAX),
    };
    let (low_is, high_is) = (wanted as u32, (wanted >> 32) as u32);
    // Where the halves are compared the jumps are counted from the instruction behind: `over(n)` leads to
    // where the condition fails, with n instructions of its own still to come.
    let over = |own: u8| own + skipped;
    match condition.op() {
        Op::ScmpCmpEq => {
            vec![high, jump(IF_EQUAL, high_is, 0, over(2)), low, jump(IF_EQUAL, low_is, 0, over(0))]
        }
        Op::ScmpCmpMaskedEq => {
            let low = masked(low, mask as u32, low_is, over(0));
            let mut program = masked(high, (mask >> 32) as u32, high_is, over(low.len() as u8));
            program.extend(low);
            program
        }
        Op::ScmpCmpNe => {
            vec![high, jump(IF_EQUAL, high_is, 0, 2), low, jump(IF_EQUAL, low_is, over(0), 0)]
        }
        Op::ScmpCmpGt | Op::ScmpCmpGe => {
            let test = if condition.op() == Op::ScmpCmpGt { IF_GREATER } else { IF_AT_LEAST };
            vec![
                high,
                jump(IF_GREATER, high_is, 3, 0),
                jump(IF_EQUAL, high_is, 0, over(2)),
                low,
                jump(test, low_is, 0, over(0)),
            ]
        }
        Op::ScmpCmpLt | Op::ScmpCmpLe => {
            let test = if condition.op() == Op::ScmpCmpLt { IF_AT_LEAST } else { IF_GREATER };
            vec![
                high,
                jump(IF_GREATER, high_is, over(3), 0),
                jump(IF_EQUAL, high_is, 0, 2),
                low,
                jump(test, low_is, over(0), 0),
            ]
        }
    }
}

/// One half under its mask; of a mask of nothing or of everything less is to be done.
fn masked(load: Instruction, mask: u32, wanted: u32, over: u8) -> Vec<Instruction> {
    let test = jump(IF_EQUAL, wanted, 0, over);
    match mask {
        0 if wanted == 0 => Vec::new(),
        u32::MAX => vec![load, test],
        mask => vec![load, plain(AND, mask), test],
    }
}

fn plain(code: u16, value: u32) -> Instruction {
    Instruction { code, if_true: 0, if_false: 0, value }
}

fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

fn length(program: &[Instruction]) -> u32 {
    program.len() as u32
}
