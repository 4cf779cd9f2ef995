//! The only `unsafe`: system calls that nix lacks, one file per topic.

pub mod netlink;
