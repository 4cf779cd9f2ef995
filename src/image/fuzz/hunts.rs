//! Layers, streams, manifests, configs and references drawn by lot. The same seed gives the same bytes; `FUZZ_ROUNDS`
//! and `FUZZ_SEED` ask for more. What finds something is kept in tests/fuzz/kept, and is tried first ever after.

use super::random::asked;
use super::{Random, Target, try_document, try_packed, try_reference};
use crate::image::rig::{Layer, Made, gzip};
use crate::names::image::Digest;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/kept");

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "-1",
    "0",
    "18446744073709551616",
    "1e400",
    "\\ud800",
    "sha256:",
    "sha512:",
    "sha256:../../x",
    "sha256:AB",
    "\"manifests\":[],",
    "\"layers\":[],",
    "\"config\":{},",
    "application/vnd.oci.image.index.v1+json",
    "+zstd",
    "\u{202e}",
    "\0",
    "a/b",
    "..",
    "//",
    "@",
    ":5000",
    "[::1]",
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "://",
    "A",
    "_",
    "__",
    "-",
    ".",
    "localhost",
];

/// A text with words put in, taken out and cut.
fn mutated(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        match random.below(4) {
            0 => drop(chars.drain(at..(at + random.below(12)).min(chars.len()))),
            1 => chars.truncate(at.max(1)),
            _ => drop(chars.splice(at..at, (*random.any(WORDS)).chars())),
        }
    }
    chars.into_iter().collect()
}

/// Tries what was found before, then new ones; one that finds something is kept.
fn hunt(kind: &str, rounds: u64, make: impl Fn(&mut Random) -> Vec<u8>, attempt: impl Fn(&[u8])) {
    let corpus = Path::new(CORPUS).join(kind);
    let mut kept: Vec<PathBuf> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    assert!(!kept.is_empty(), "no {kind} are kept");
    for path in &kept {
        attempt(&fs::read(path).unwrap());
    }
    let mut random = Random::new(asked("FUZZ_SEED").unwrap_or(1));
    for round in 0..asked("FUZZ_ROUNDS").unwrap_or(rounds) {
        let bytes = make(&mut random);
        if catch_unwind(AssertUnwindSafe(|| attempt(&bytes))).is_err() {
            let path = corpus.join(format!("found-{round}"));
            fs::write(&path, &bytes).unwrap();
            panic!("this is kept as {}", path.display());
        }
    }
}

#[test]
fn no_layer_gets_out_or_makes_the_unpacker_panic() {
    let target = Target::new();
    let ends = RefCell::new(BTreeMap::<String, u64>::new());
    let attempt = |bytes: &[u8]| {
        *ends.borrow_mut().entry(target.unpack(bytes)).or_default() += 1;
    };
    hunt("layers", 2_000, |random| target.layer(random), attempt);
    // It comes everywhere: each refusal that few bytes can ask for, and layers that are none, many times.
    let ends = ends.into_inner();
    for end in [
        "Unpacked",
        "Climbs",
        "Zero",
        "Root",
        "Whiteout",
        "LinkTarget",
        "Attribute",
        "Kind",
        "Call",
        "Header",
        "Cut",
    ] {
        assert!(ends.get(end).is_some_and(|times| *times >= 5), "{end}: {ends:?}");
    }
}

#[test]
fn no_archive_of_images_makes_a_reader_panic() {
    let target = Target::new();
    let kept = Path::new(CORPUS).join("archives");
    let archives: Vec<_> =
        ["layout", "saved"].map(|name| fs::read(kept.join(name)).unwrap()).into();
    let make = |random: &mut Random| {
        let mut archive = random.any(&archives).clone();
        for _ in 0..random.below(3) {
            target.change(&mut archive, random);
        }
        // A word of a document for another of its length: the archive stays one.
        let at = random.below(archive.len());
        let word = random.any(WORDS).as_bytes();
        if let Some(room) = archive.get_mut(at..at + word.len()).filter(|_| random.below(2) == 0) {
            room.copy_from_slice(word);
        }
        archive
    };
    let ends = RefCell::new(BTreeMap::<String, u64>::new());
    hunt("archives", 2_000, make, |bytes| {
        for end in target.list(bytes) {
            *ends.borrow_mut().entry(end).or_default() += 1;
        }
    });
    let ends = ends.into_inner();
    for end in ["Listed", "Archive", "Malformed", "Nonsense", "Source"] {
        assert!(ends.get(end).is_some_and(|times| *times >= 5), "{end}: {ends:?}");
    }
}

#[test]
fn no_stream_makes_a_decoder_panic() {
    let plain = Layer::default().file("a", &"text ".repeat(500)).end();
    let packed = [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()];
    let make = |random: &mut Random| {
        let mut bytes = random.any(&packed).clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes.truncate(at.max(1)),
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        bytes
    };
    hunt("streams", 3_000, make, try_packed);
}

#[test]
fn no_document_makes_a_reader_panic() {
    let made = Made::of(&[Layer::default().file("a", "x").end()]);
    let manifest = String::from_utf8(made.manifest.clone()).unwrap();
    let digest = Digest::of(manifest.as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
        {{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":3,
        "platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}}]}}"#
    );
    let config = made.blobs.values().find_map(|blob| {
        let text = String::from_utf8(blob.clone()).ok()?;
        text.contains("diff_ids").then_some(text)
    });
    let texts = [manifest, index, config.unwrap()];
    let make = |random: &mut Random| {
        let text = random.any(&texts).clone();
        mutated(random, &text).into_bytes()
    };
    hunt("documents", 4_000, make, try_document);
}

#[test]
fn no_word_makes_a_reference_that_is_another_when_it_is_read_again() {
    let digest = Digest::of(b"x");
    let words = [
        "httpd".to_owned(),
        "httpd:2.4".to_owned(),
        format!("ghcr.io/x/y@{digest}"),
        "localhost:5000/a:b".to_owned(),
        "[::1]:5000/a/b:c".to_owned(),
        "oci:./dir:tag".to_owned(),
        format!("a/b:c@{digest}"),
        "docker-archive:/a/b.tar:x/y:1".to_owned(),
    ];
    let make = |random: &mut Random| {
        let word = random.any(&words).clone();
        mutated(random, &word).into_bytes()
    };
    hunt("references", 20_000, make, |bytes| try_reference(&String::from_utf8_lossy(bytes)));
}
