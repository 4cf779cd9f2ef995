//! What comes from strangers, made badly: archives of layers and changes of them, and what must be true whatever the
//! unpacker is given. The tests draw them by lot (`hunts`).
#![allow(clippy::unwrap_used)]

#[cfg(test)]
mod hunts;
#[path = "../../../tests/random.rs"]
mod random;

pub use random::Random;

use super::OPAQUE;
use super::rig::{Layer, Place};
use super::tar::Skip;
use super::unpack::{UnpackError, unpack};
use ::tar::{EntryType, Header};
use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

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
struct Bytes(Cursor<Vec<u8>>);

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Skip for Bytes {}

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

    /// Unpacks it beside the canary; nothing outside changes, and nothing inside steers an overlay. How it ended.
    pub fn unpack(&self, bytes: &[u8]) -> String {
        let Self(place) = self;
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
}
