//! `podspec oci update`: other limits for a container that lives, from the arguments or from a document.

use crate::oci::{self, OciError, Store};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Change the limits of a container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec oci update --memory 64M --pids-limit 100 demo1
  podspec oci update --cpu-period 100000 --cpu-quota 50000 demo1
  echo '{\"pids\": {\"limit\": 20}}' | podspec oci update --resources - demo1")]
pub(super) struct Update {
    /// All of them, as config.json has `linux.resources`; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Share of disk time
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Microseconds over which processor time is counted
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds of processor time in each period; -1 is any
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// Share of processor time, as v1 counts it: 2 to 262144
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Real-time: the period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Real-time: the time in each period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// 1: runs when nobody else wants to
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Processors to run on
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Nodes to take memory from
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Bytes of memory, also as 64M; -1 is any
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory: Option<i64>,
    /// Bytes that are kept from others' need
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is any
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true, value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Processes; -1 is any
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// As every runtime reads it: a number, or one with K, M or G of 1024.
fn bytes(word: &str) -> Result<i64, String> {
    let plain = word.trim_end_matches(['b', 'B', 'i']);
    let (digits, factor) = match plain.as_bytes().last() {
        Some(b'k' | b'K') => (&plain[..plain.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&plain[..plain.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&plain[..plain.len() - 1], 1 << 30),
        _ => (plain, 1),
    };
    let number = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| format!("`{word}` is no number of bytes"))
}

impl Update {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, OciError> {
        let asked = match &self.resources {
            Some(path) => read(path)?,
            None => self.asked(),
        };
        oci::update(&mut store.find(&self.id)?, &asked)?;
        Ok(ExitCode::SUCCESS)
    }

    fn asked(&self) -> LinuxResources {
        let mut asked = LinuxResources::default();
        let mut cpu = LinuxCpu::default();
        cpu.set_period(self.cpu_period).set_quota(self.cpu_quota).set_burst(self.cpu_burst);
        cpu.set_shares(self.cpu_share).set_idle(self.cpu_idle);
        cpu.set_realtime_period(self.cpu_rt_period).set_realtime_runtime(self.cpu_rt_runtime);
        cpu.set_cpus(self.cpuset_cpus.clone()).set_mems(self.cpuset_mems.clone());
        let mut memory = LinuxMemory::default();
        memory.set_limit(self.memory).set_swap(self.memory_swap);
        memory.set_reservation(self.memory_reservation);
        asked.set_devices(None);
        asked.set_cpu(Some(cpu).filter(|cpu| *cpu != LinuxCpu::default()));
        asked.set_memory(Some(memory).filter(|memory| *memory != LinuxMemory::default()));
        asked.set_pids(self.pids_limit.map(|limit| {
            let mut pids = LinuxPids::default();
            pids.set_limit(limit);
            pids
        }));
        asked.set_block_io(self.blkio_weight.map(|weight| {
            let mut io = LinuxBlockIo::default();
            io.set_weight(Some(weight));
            io
        }));
        asked
    }
}

fn read(path: &Path) -> Result<LinuxResources, OciError> {
    let failed = |source| OciError::File { operation: "read", path: path.to_owned(), source };
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read(path).map_err(failed)?;
    }
    serde_json::from_slice(&text).map_err(|source| OciError::Json { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_other_runtimes_take_them() {
        assert_eq!(bytes("67108864"), Ok(64 << 20));
        assert_eq!(bytes("50M"), Ok(50 << 20));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("-1"), Ok(-1));
        assert!(bytes("much").is_err());
    }
}
