//! The only code that prints, exits or reads the environment.

pub mod report;
