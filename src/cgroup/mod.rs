//! Cgroups: make, kill, remove.
