//! What comes from strangers, made badly: archives of layers and changes of them, and what must be true whatever the
//! unpacker and the readers are given. The tests draw them by lot (`hunts`); libFuzzer is led by what they reach
//! (tests/fuzz).
#![allow(clippy::unwrap_used)]

#[cfg(test)]
mod hunts;
#[path = "../../../tests/random.rs"]
mod random;

pub use random::Random;

use super::fetch::unpack_alone;
use super::manifest::{Compression, Descriptor, Kind, choose};
use super::rig::{Layer, Made, Place};
use super::stream::Decoder;
use super::unpack::{Fault, UnpackError};
use super::{Document, Error, OPAQUE, config, local};
use crate::names::image::{Digest, ImageReference, Platform};
use ::tar::{EntryType, Header};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
    ".wh..wh.plnk/x",
    ".wh.a/x",
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

/// Where layers are unpacked, with something beside it that none may touch.
pub struct Target(Place);

impl Target {
    #[expect(clippy::new_without_default, reason = "it makes directories")]
    pub fn new() -> Self {
        let place = Place::new("fuzz");
        place.store.hold().unwrap();
        Self(place)
    }

    /// An archive of entries that meet each other, then a few changes of its bytes.
    pub fn layer(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=random.below(8) {
            bytes.extend(self.entry(random));
        }
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        for _ in 0..random.below(4) {
            self.change(&mut bytes, random);
        }
        bytes
    }

    /// An entry with a name and a target that lead somewhere, sometimes with records before it.
    fn entry(&self, random: &mut Random) -> Vec<u8> {
        let mut entry = Layer::default();
        if random.below(4) == 0 {
            let records: Vec<_> = (0..=random.below(3)).map(|_| *random.any(RECORDS)).collect();
            entry = entry.pax(&records);
        }
        let kind = EntryType::new(*random.any(KINDS));
        let canary = self.0.canary();
        let link = match random.below(4) {
            0 if canary.len() < 100 => canary.as_str(),
            _ => *random.any(NAMES),
        };
        let content = vec![b'x'; random.below(3) * 300];
        let content = if matches!(kind, EntryType::Regular) { &content[..] } else { b"" };
        let name = *random.any(NAMES);
        entry.entry(kind, name, link, content).bytes
    }

    /// One change of an archive.
    pub fn change(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(bytes.len());
        let block = at / BLOCK * BLOCK;
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(BLOCK)),
            2 => drop(bytes.splice(at..at, vec![0; random.below(BLOCK)])),
            3 => drop(bytes.splice(block..block, self.entry(random))),
            // A field of a header, and its sum made right.
            _ if block + BLOCK <= bytes.len() => {
                bytes[block + random.below(345)] = *random.any(b"\0 /07\x80\xff.a");
                let header: &mut [u8] = &mut bytes[block..block + BLOCK];
                let mut fixed = Header::new_old();
                fixed.as_mut_bytes().copy_from_slice(header);
                fixed.set_cksum();
                header.copy_from_slice(fixed.as_bytes());
            }
            _ => {}
        }
    }

    /// The way of a layer's blob, packed or not, beside the canary: nothing outside changes, nothing inside steers an
    /// overlay, and there is no more of it than the archive has. How it ended.
    pub fn unpack(&self, blob: &[u8]) -> String {
        let Self(place) = self;
        let tree = place.store.path("fuzzed");
        fs::create_dir_all(&tree).unwrap();
        let root = File::open(&tree).unwrap();
        let (compression, plain) = plain(blob);
        let source = Made::blob(blob);
        let (digest, size) = (Digest::of(blob), blob.len() as u64);
        let packed = (&Descriptor { digest, size, media_type: String::new() }, compression);
        let unpacked = unpack_alone(&place.store, &source, packed, &Digest::of(&plain), &root);
        place.assert_untouched();
        check(&tree, plain.len() as u64);
        fs::remove_dir_all(tree).unwrap();
        let end = match unpacked {
            Ok(layer) => {
                assert!(layer.bytes.max(layer.entries * BLOCK as u64) <= plain.len() as u64);
                return "Unpacked".to_owned();
            }
            Err(Error::Layer { source: UnpackError::Entry { source, .. }, .. }) => {
                // Where the rest of the machine is read-only or another file system (tests/fuzz/run), these tell of
                // it: in its own directory an entry meets neither.
                if let Fault::Call(_, error) = &source {
                    let outside =
                        [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::CrossesDevices];
                    assert!(!outside.contains(&error.kind()), "it has been outside: {source:?}");
                }
                format!("{source:?}")
            }
            Err(Error::Layer { source: UnpackError::Tar(error), .. }) => format!("{error:?}"),
            Err(other) => format!("{other:?}"),
        };
        first_word(&end)
    }
}

impl Target {
    /// The same bytes as an archive of images, of both kinds: no reader panics, and what is listed can be read to its
    /// end. How each ended.
    pub fn list(&self, archive: &[u8]) -> [String; 2] {
        let Self(place) = self;
        let file = place.store.path("listed");
        fs::write(&file, archive).unwrap();
        let end = |reference: &ImageReference| match list(reference) {
            Ok(end) => end.to_owned(),
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{error}");
                first_word(&format!("{error:?}"))
            }
        };
        let ends = [
            end(&ImageReference::OciArchive { file: file.clone(), tag: None }),
            end(&ImageReference::DockerArchive { file, tag: None }),
        ];
        place.assert_untouched();
        ends
    }
}

fn list(reference: &ImageReference) -> Result<&'static str, Error> {
    let source = local::open(reference)?.unwrap();
    let document = source.manifest(None)?;
    document.verify("it", None)?;
    let Kind::Manifest(manifest) = document.read("it")? else { return Ok("Index") };
    for part in [&manifest.config].into_iter().chain(manifest.layers.iter().map(|(layer, _)| layer))
    {
        let mut blob = source.blob(&part.digest, part.size, part.size / 2)?;
        io::copy(&mut blob, &mut io::sink()).unwrap();
    }
    Ok("Listed")
}

fn first_word(text: &str) -> String {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// How a blob is packed, by its first bytes, and the beginning of what it unpacks to.
fn plain(blob: &[u8]) -> (Compression, Vec<u8>) {
    let compression = match blob {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    };
    let mut plain = Vec::new();
    if let Ok(decoder) = Decoder::new(blob, compression) {
        let _ = decoder.take(8 << 20).read_to_end(&mut plain);
    }
    (compression, plain)
}

/// Nothing in the tree of an archive of so many bytes says what overlayfs would take for its own, and it takes no more
/// of the disk than was in the archive.
fn check(tree: &Path, archive: u64) {
    let mut used = 0;
    let mut folders = vec![tree.to_owned()];
    let mut names = vec![0; 1 << 16];
    while let Some(folder) = folders.pop() {
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
            if meta.is_file() {
                // A piece of a sparse file, however small, has a block of the disk.
                used += meta.blocks() * 512 / meta.nlink();
            } else if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(
        used <= 8 * archive + (1 << 16),
        "{used} bytes of the disk for {archive} of an archive"
    );
}

pub fn try_packed(bytes: &[u8]) {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        if let Ok(decoder) = Decoder::new(bytes, compression) {
            let _ = io::copy(&mut decoder.take(1 << 20), &mut io::sink());
        }
    }
}

pub fn try_document(bytes: &[u8]) {
    let kinds = [None, Some("application/vnd.oci.image.index.v1+json"), Some("application/json")];
    for kind in kinds {
        let document =
            Document { bytes: bytes.to_vec(), media_type: kind.map(str::to_owned), digest: None };
        let digest = document.verify("it", None).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        let read = document.read("it");
        // What anybody else would read, too.
        let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes);
        assert!(read.is_err() || object.is_ok(), "it is no object");
        match read {
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

pub fn try_reference(word: &str) {
    let Ok(reference) = word.parse::<ImageReference>() else { return };
    let whole = reference.to_string();
    assert!(!whole.contains(char::is_control), "{whole:?}");
    assert_eq!(whole.parse::<ImageReference>().as_ref(), Ok(&reference), "{whole}");
    if let ImageReference::Registry(reference) = &reference {
        let parts = reference.repository.split('/');
        assert!(parts.clone().all(|part| !part.is_empty() && part != ".."), "{whole}");
    }
}
