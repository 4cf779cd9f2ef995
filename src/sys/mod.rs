//! The only `unsafe` of the program: system calls that nix and rustix lack, one file per topic, each
//! function one call with a safe signature. No policy here, and nothing of podspec's own words.

pub mod bpf;
pub mod clone;
pub mod cpus;
pub mod descriptors;
pub mod filter;
pub mod identity;
pub mod ids;
pub mod locks;
pub mod memory;
pub mod mounts;
pub mod namespaces;
pub mod netlink;
pub mod paths;
pub mod process;
pub mod program;
pub mod schedule;
