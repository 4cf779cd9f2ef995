//! Limits that cgroups carry: memory, processors, processes, disks; of a container or of a pod.

use super::model::{Io, IoLimits, Resources, Swap};
use super::problem::Problem;
use super::quantity;
use super::raw::{self, Size};
use super::tree::Node;
use super::validate::Checks;
use super::volume;
use indexmap::IndexMap;
use std::ops::Range;

/// The least share that the kernel's quota can express: 1 ms in 100.
const LEAST_CPUS: f64 = 0.01;
/// More than any machine has.
const MOST_CPUS: f64 = 100_000.0;

/// The limits that `resources` of this node asks for.
pub(super) fn resources(
    raw: Option<&raw::Resources>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Resources {
    let (Some(raw), Some(node)) = (raw, node.get("resources")) else {
        return Resources::default();
    };
    let memory = bytes(raw.memory.as_ref(), "memory", node, checks);
    Resources {
        memory,
        memory_swap: swap(raw, memory, node, checks),
        cpus: cpus(raw.cpus, node, checks),
        cpu_weight: raw.cpu_weight,
        cpuset: cpuset(raw, node, checks),
        pids: raw.pids,
        io: io(raw.io.as_ref(), node, checks),
    }
}

fn place(node: &Node, key: &str) -> Range<usize> {
    node.get(key).map_or_else(|| node.head(), |value| value.span.clone())
}

fn bytes(size: Option<&Size>, key: &str, node: &Node, checks: &mut Checks<'_>) -> Option<u64> {
    checks.quantity("P0411", quantity::size(&size?.0), place(node, key))
}

fn swap(
    raw: &raw::Resources,
    memory: Option<u64>,
    node: &Node,
    checks: &mut Checks<'_>,
) -> Option<Swap> {
    let size = raw.memory_swap.as_ref()?;
    if size.0 == "-1" {
        return Some(Swap::Unlimited);
    }
    let swap = bytes(Some(size), "memorySwap", node, checks)?;
    if raw.memory.is_none() && !node.has_lost("memory") {
        let message = "`memorySwap` is memory and swap together, and there is no `memory`";
        let problem = Problem::error("P0485", message, place(node, "memorySwap"), "of what?");
        checks.report(problem.help(format!("write `memory: {}` beside it, or less", size.0)));
    }
    if memory.is_some_and(|memory| swap < memory) {
        let message = "`memorySwap` is memory and swap together, and this is less than memory";
        let problem = Problem::error("P0482", message, place(node, "memorySwap"), "too little");
        checks.report(problem.also(place(node, "memory"), "more than both together").help(
            format!(
                "write `memorySwap: {}` for no swap, or `-1` for any",
                raw.memory.as_ref().map_or("", |memory| &memory.0)
            ),
        ));
    }
    Some(Swap::Most(swap))
}

fn cpus(cpus: Option<f64>, node: &Node, checks: &mut Checks<'_>) -> Option<f64> {
    let cpus = cpus?;
    if !(LEAST_CPUS..=MOST_CPUS).contains(&cpus) {
        let message = format!("`cpus` is a number from 0.01, and this is {cpus}");
        let problem = Problem::error("P0483", message, place(node, "cpus"), "out of range");
        checks.report(problem.help("write `0.5` for half of one processor, `2` for two"));
        return None;
    }
    Some(cpus)
}

fn cpuset(raw: &raw::Resources, node: &Node, checks: &mut Checks<'_>) -> Option<String> {
    let set = raw.cpuset.as_ref()?;
    if !is_cpuset(&set.0) {
        let message = format!("`{}` is no list of processors", set.0);
        let problem = Problem::error("P0484", message, place(node, "cpuset"), "not a list");
        let turned = set.0.split_once('-').map(|(first, last)| format!("{last}-{first}"));
        checks.report(problem.help(match turned.filter(|turned| is_cpuset(turned)) {
            Some(turned) => format!("write `{turned}`: a range runs upwards"),
            None => "write numbers and ranges with commas between them, such as `0-2,4`".to_owned(),
        }));
        return None;
    }
    Some(set.0.clone())
}

fn is_cpuset(word: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    word.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => {
            number(first).zip(number(last)).is_some_and(|(first, last)| first <= last)
        }
        None => number(part).is_some(),
    })
}

fn io(raw: Option<&raw::Io>, node: &Node, checks: &mut Checks<'_>) -> Option<Io> {
    let (raw, node) = (raw?, node.get("io")?);
    let mut devices = IndexMap::new();
    for (word, limits) in raw.devices.iter().flatten() {
        let entry = node.get("devices").and_then(|devices| devices.entry(word));
        let Some(entry) = entry else { continue };
        let Some(path) = volume::host_path(word, &entry.key, checks) else { continue };
        let of = &entry.value;
        let limits = IoLimits {
            read_bps: bytes(limits.read_bps.as_ref(), "readBps", of, checks),
            write_bps: bytes(limits.write_bps.as_ref(), "writeBps", of, checks),
            read_iops: rate(limits.read_iops, "readIops", of, checks),
            write_iops: rate(limits.write_iops, "writeIops", of, checks),
        };
        if devices.insert(path, limits).is_some() {
            let message = format!("the limits of `{word}` are here twice");
            let problem = Problem::error("P0487", message, entry.key.clone(), "again");
            checks.report(problem.help("keep one of the two"));
        }
    }
    Some(Io { weight: raw.weight, devices })
}

/// The kernel takes 0 for no limit, or for an error.
fn rate(rate: Option<u64>, key: &str, node: &Node, checks: &mut Checks<'_>) -> Option<u64> {
    if rate == Some(0) {
        let message = format!("with a `{key}` of 0 nothing could be read or written");
        let problem = Problem::error("P0486", message, place(node, key), "here");
        checks.report(problem.help("write a whole number from 1, or leave it out for no limit"));
    }
    rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert!(["0", "0-2,4", "7,1-1"].iter().all(|word| is_cpuset(word)));
        assert!(["", "a", "2-0", "1,,2", "-1", "1-", "+1"].iter().all(|word| !is_cpuset(word)));
    }
}
