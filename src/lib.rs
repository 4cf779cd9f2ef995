//! podspec: a declarative pod runner for Linux.

pub mod names;

pub mod spec;

pub mod plan;

pub mod host;

pub mod sys;

pub mod cgroup;
pub mod net;
pub mod sandbox;

pub mod state;

pub mod exec;

pub mod supervise;

pub mod cli;
