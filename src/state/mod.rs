//! What survives us, on disk.
