//! `PodSpec` and `HostFacts` to a `Plan`: pure.
pub mod facts;
pub mod step;
