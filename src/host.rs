//! Reads this machine into `HostFacts`; changes nothing.
