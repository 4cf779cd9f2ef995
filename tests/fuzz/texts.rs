//! Texts of strangers: pod files through the loader, the report and the planner (text.rs); what looks like JSON through
//! the readers of manifests and configs, too, and a single word through the one of references (src/image/fuzz).
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use podspec::image::fuzz::{try_document, try_reference};
use random::Random;
use std::sync::LazyLock;

#[path = "../random.rs"]
mod random;
mod text;

/// What pieces of other texts are taken from.
static CASES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../cases");
    let cases = std::fs::read_dir(cases).expect("the cases");
    cases
        .map(|case| {
            std::fs::read_to_string(case.expect("a case").path().join("pod.yaml")).expect("a text")
        })
        .collect()
});

fuzz_target!(|bytes: &[u8]| {
    // Any other first byte ends every reader of JSON at once.
    if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) {
        try_document(bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if !text.trim_end().contains(char::is_whitespace) {
        try_reference(text.trim_end());
    }
    text::try_text(text);
});

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    let text = std::str::from_utf8(&data[..size]).map(str::to_owned);
    let (Ok(mut text), true) = (text, seed % 2 == 1) else {
        return fuzzer_mutate(data, size, most);
    };
    text::change(&mut text, &CASES, &mut Random::new(seed.into()));
    let bytes = &text.as_bytes()[..text.len().min(most)];
    data[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
});
