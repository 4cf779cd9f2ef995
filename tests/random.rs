//! Numbers that look random and are the same for the same seed, everywhere: every test that draws lots draws here.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

/// SplitMix64 (Steele, Lea and Flood): any seed will do, also a small one.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// With the seed in this variable, or with one of the clock, which is shown where the test fails.
    pub fn of(variable: &str) -> Self {
        let by_clock = || u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
        let seed = asked(variable).unwrap_or_else(by_clock);
        eprintln!("{variable}={seed}");
        Self(seed)
    }

    /// From 0 to `bound`, without it.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).unwrap()
    }

    pub fn any<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// The number that a variable of the environment has.
pub fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
