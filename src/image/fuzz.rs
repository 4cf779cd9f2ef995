//! Fuzzing of what comes from strangers: layers, manifests, configs and references, made of good ones by mutation.
//! The same seed gives the same bytes. `FUZZ_ROUNDS` and `FUZZ_SEED` ask for more; what finds something is kept in
//! tests/fuzz/images, and is tried first ever after.

use super::manifest::{Compression, Kind, choose};
use super::rig::{Layer, Made, Place, gzip};
use super::stream::Decoder;
use super::tar::Skip;
use super::unpack::{UnpackError, unpack};
use super::{Document, OPAQUE, config};
use crate::names::image::{Digest, ImageReference, Platform};
use ::tar::{EntryType, Header};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/images");
const BLOCK: usize = 512;

/// Names and targets that lead somewhere, as far as they may.
const NAMES: &[&str] = &[
    "a",
    "a/b",
    "a/b/c",
    "./a",
    "/a",
    "../x",
    "a/../../x",
    ".",
    "/",
    "",
    "a/",
    "a//b",
    "l",
    "l/x",
    "l/l/l",
    "/podspec-escaped",
    ".wh.a",
    "a/.wh.b",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    ".wh.",
    ".wh..",
    ".wh...",
    ".wh..wh.plnk",
    "l/.wh.x",
    "\u{e9}",
    "a\nb",
    "/proc/self/root/x",
    "/dev/null",
    "dev/null",
];
const KINDS: &[u8] = b"0123456789SLKxgMVN\0";
const RECORDS: &[(&str, &[u8])] = &[
    ("path", b"../x"),
    ("path", b"a/pax"),
    ("path", b"a\0b"),
    ("linkpath", b"/podspec-escaped"),
    ("size", b"18446744073709551615"),
    ("size", b"3"),
    ("uid", b"4294967295"),
    ("mtime", b"-1.5"),
    ("mtime", b"99999999999999999999"),
    ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
    ("SCHILY.xattr.user.x", b"\0"),
    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
    ("GNU.sparse.major", b"1"),
    ("GNU.sparse.minor", b"0"),
    ("GNU.sparse.realsize", b"1000000000000"),
    ("GNU.sparse.map", b"0,1,5"),
    ("GNU.sparse.name", b"/../y"),
];
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

/// xorshift: the numbers are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

struct Bytes(Cursor<Vec<u8>>);

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Skip for Bytes {}

/// An archive of entries that meet each other, then a few changes of its bytes.
fn layer(random: &mut Random, place: &Place) -> Vec<u8> {
    let mut layer = Layer::default();
    for _ in 0..=random.below(8) {
        if random.below(4) == 0 {
            let records: Vec<_> = (0..=random.below(3)).map(|_| *random.of(RECORDS)).collect();
            layer = layer.pax(&records);
        }
        let kind = EntryType::new(*random.of(KINDS));
        let canary = place.canary();
        let link = match random.below(4) {
            0 if canary.len() < 100 => canary.as_str(),
            _ => *random.of(NAMES),
        };
        let content = vec![b'x'; random.below(3) * 300];
        let content = if matches!(kind, EntryType::Regular) { &content[..] } else { b"" };
        layer = layer.entry(kind, NAMES[random.below(NAMES.len())], link, content);
    }
    let mut bytes = layer.end();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(BLOCK)),
            2 => drop(bytes.splice(at..at, vec![0; random.below(BLOCK)])),
            // A field of a header, and its sum made right.
            _ => {
                let block = at / BLOCK * BLOCK;
                if block + BLOCK <= bytes.len() {
                    bytes[block + random.below(345)] = *random.of(b"\0 /07\x80\xff.a");
                    let header: &mut [u8] = &mut bytes[block..block + BLOCK];
                    let mut fixed = Header::new_old();
                    fixed.as_mut_bytes().copy_from_slice(header);
                    fixed.set_cksum();
                    header.copy_from_slice(fixed.as_bytes());
                }
            }
        }
    }
    bytes
}

/// Unpacks it beside the canary; nothing outside changes, and nothing inside steers an overlay. How it ended.
fn try_layer(place: &Place, bytes: &[u8]) -> String {
    let tree = place.store.path("fuzzed");
    fs::create_dir_all(&tree).unwrap();
    let root = File::open(&tree).unwrap();
    let unpacked = unpack(&mut Bytes(Cursor::new(bytes.to_vec())), root.as_fd());
    place.assert_untouched();
    let mut folders = vec![tree.clone()];
    while let Some(folder) = folders.pop() {
        let mut names = vec![0; 1 << 16];
        let length = rustix::fs::llistxattr(&folder, &mut names[..]).unwrap();
        for name in names[..length].split(|byte| *byte == 0) {
            assert!(!name.starts_with(b"trusted.") || name == OPAQUE.as_bytes(), "{folder:?}");
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            assert!(!path.file_name().unwrap().as_bytes().starts_with(b".wh."), "{path:?}");
            // A whiteout, or what the archive has.
            assert!(meta.nlink() > 0);
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    fs::remove_dir_all(tree).unwrap();
    let end = match unpacked {
        Ok(_) => return "Unpacked".to_owned(),
        Err(UnpackError::Entry { source, .. }) => format!("{source:?}"),
        Err(UnpackError::Tar(error)) => format!("{error:?}"),
        Err(other) => format!("{other:?}"),
    };
    end.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn try_packed(bytes: &[u8]) {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        if let Ok(decoder) = Decoder::new(bytes, compression) {
            let _ = io::copy(&mut decoder.take(1 << 20), &mut io::sink());
        }
    }
}

fn try_document(bytes: &[u8]) {
    let kinds = [None, Some("application/vnd.oci.image.index.v1+json"), Some("application/json")];
    for kind in kinds {
        let document =
            Document { bytes: bytes.to_vec(), media_type: kind.map(str::to_owned), digest: None };
        let digest = document.verify("it", None).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        match document.read("it") {
            Ok(Kind::Index(entries)) => drop(choose(&entries, &Platform::host())),
            Ok(Kind::Manifest(manifest)) => {
                // What becomes a file's name.
                for (layer, _) in &manifest.layers {
                    assert!(layer.digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()));
                }
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
        }
    }
    let _ = config::read_config(bytes, 1);
}

fn try_reference(word: &str) {
    let Ok(reference) = word.parse::<ImageReference>() else { return };
    let whole = reference.to_string();
    assert!(!whole.contains(char::is_control), "{whole:?}");
    assert_eq!(whole.parse::<ImageReference>().as_ref(), Ok(&reference), "{whole}");
    if let ImageReference::Registry(reference) = &reference {
        let parts = reference.repository.split('/');
        assert!(parts.clone().all(|part| !part.is_empty() && part != ".."), "{whole}");
    }
}

/// A text with words put in, taken out and cut.
fn mutated(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        match random.below(4) {
            0 => drop(chars.drain(at..(at + random.below(12)).min(chars.len()))),
            1 => chars.truncate(at.max(1)),
            _ => drop(chars.splice(at..at, random.of(WORDS).chars())),
        }
    }
    chars.into_iter().collect()
}

/// Tries what was found before, then new ones; one that finds something is kept.
fn hunt(kind: &str, rounds: u64, make: impl Fn(&mut Random) -> Vec<u8>, attempt: impl Fn(&[u8])) {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the test asks for more")]
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|word| word.parse().ok()).unwrap_or(default)
    };
    let mut kept: Vec<PathBuf> =
        fs::read_dir(CORPUS).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.retain(|path| path.extension().is_some_and(|ending| ending == kind));
    kept.sort();
    assert!(!kept.is_empty(), "no {kind} is kept");
    for path in &kept {
        attempt(&fs::read(path).unwrap());
    }
    let mut random = Random(number("FUZZ_SEED", 0x9e37_79b9) | 1);
    for round in 0..number("FUZZ_ROUNDS", rounds) {
        let bytes = make(&mut random);
        if catch_unwind(AssertUnwindSafe(|| attempt(&bytes))).is_err() {
            let path = Path::new(CORPUS).join(format!("found-{round}.{kind}"));
            fs::write(&path, &bytes).unwrap();
            panic!("this is kept as {}", path.display());
        }
    }
}

#[test]
fn no_layer_gets_out_or_makes_the_unpacker_panic() {
    let place = Place::new("fuzz");
    place.store.hold().unwrap();
    let ends = RefCell::new(BTreeMap::<String, u64>::new());
    let attempt = |bytes: &[u8]| {
        *ends.borrow_mut().entry(try_layer(&place, bytes)).or_default() += 1;
    };
    hunt("layer", 2_000, |random| layer(random, &place), attempt);
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
fn no_stream_makes_a_decoder_panic() {
    let plain = Layer::default().file("a", &"text ".repeat(500)).end();
    let packed = [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()];
    let make = |random: &mut Random| {
        let mut bytes = random.of(&packed).clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes.truncate(at.max(1)),
                _ => bytes[at] ^= 1 << random.below(8),
            }
        }
        bytes
    };
    hunt("stream", 3_000, make, try_packed);
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
        let text = random.of(&texts).clone();
        mutated(random, &text).into_bytes()
    };
    hunt("document", 4_000, make, try_document);
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
        let word = random.of(&words).clone();
        mutated(random, &word).into_bytes()
    };
    hunt("reference", 20_000, make, |bytes| try_reference(&String::from_utf8_lossy(bytes)));
}
