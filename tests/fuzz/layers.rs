//! A layer's blob, packed or not, the whole way into a directory, and the same bytes as an archive of images
//! (src/image/fuzz). Every second change is one of the
//! archive's own kind, with its sums made right: bytes changed by lot seldom come behind the first header.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use podspec::image::fuzz::{Random, Target};

thread_local!(static TARGET: Target = Target::new());

fuzz_target!(|blob: &[u8]| {
    TARGET.with(|target| {
        target.unpack(blob);
        target.list(blob);
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, most);
    }
    let mut random = Random::new(seed.into());
    let mut blob = data[..size].to_vec();
    TARGET.with(|target| target.change(&mut blob, &mut random));
    blob.truncate(most);
    data[..blob.len()].copy_from_slice(&blob);
    blob.len()
});
