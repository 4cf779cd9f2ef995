//! Tests only: layers and images made in memory, a source that hands them out as badly as it is told, and a
//! store beside a canary that nothing may touch.
#![allow(clippy::unwrap_used)]

use super::{Document, Error, Image, Progress, Source, Store};
use crate::names::image::{Digest, ImageReference, Platform};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tar::{EntryType, Header};

/// An archive, entry by entry.
#[derive(Default, Clone)]
pub(super) struct Layer {
    pub bytes: Vec<u8>,
}

impl Layer {
    pub(super) fn raw(mut self, header: &Header, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(content);
        let rest = (512 - content.len() % 512) % 512;
        self.bytes.resize(self.bytes.len() + rest, 0);
        self
    }

    /// Names of up to 100 bytes, as they are: nothing is checked.
    pub(super) fn entry(self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = header(kind, name.as_bytes(), link, content.len());
        header.set_cksum();
        self.raw(&header, content)
    }

    pub(super) fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", content.as_bytes())
    }

    pub(super) fn directory(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name, "", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"")
    }

    /// Records that are about the next entry.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut text = Vec::new();
        for (key, value) in records {
            let plain = key.len() + value.len() + 3;
            let length = (plain..).find(|all| all.to_string().len() + plain == *all).unwrap();
            write!(text, "{length} {key}=").unwrap();
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        let mut header = header(EntryType::XHeader, b"pax", "", text.len());
        header.set_cksum();
        self.raw(&header, &text)
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

pub(super) fn header(kind: EntryType, name: &[u8], link: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(size as u64);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    header
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

/// An image of these layers.
pub(super) struct Made {
    pub manifest: Vec<u8>,
    pub blobs: HashMap<Digest, Vec<u8>>,
    /// Blobs end with an error after so many bytes.
    pub cut: Mutex<Option<usize>>,
    /// (blob, offset) of every request.
    pub asked: Mutex<Vec<(Digest, u64)>>,
    pub remote: bool,
}

impl Made {
    pub(super) fn of(layers: &[Vec<u8>]) -> Self {
        Self::packed(layers, "tar+gzip", gzip)
    }

    pub(super) fn packed(layers: &[Vec<u8>], kind: &str, pack: fn(&[u8]) -> Vec<u8>) -> Self {
        let mut blobs = HashMap::new();
        let mut descriptors = Vec::new();
        for layer in layers {
            let blob = pack(layer);
            descriptors.push(serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.layer.v1.{kind}"),
                "digest": Digest::of(&blob), "size": blob.len(),
            }));
            blobs.insert(Digest::of(&blob), blob);
        }
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = serde_json::json!({
            "architecture": Platform::host().architecture, "os": "linux",
            "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&config), "size": config.len(),
            },
            "layers": descriptors,
        });
        blobs.insert(Digest::of(&config), config);
        Self {
            manifest: manifest.to_string().into_bytes(),
            blobs,
            cut: Mutex::default(),
            asked: Mutex::default(),
            remote: true,
        }
    }

    /// Of one blob, from a disk.
    pub(super) fn blob(bytes: &[u8]) -> Self {
        Self {
            manifest: Vec::new(),
            blobs: HashMap::from([(Digest::of(bytes), bytes.to_vec())]),
            cut: Mutex::default(),
            asked: Mutex::default(),
            remote: false,
        }
    }

    /// Another text of the manifest: what it promises is no longer true.
    pub(super) fn lie(mut self, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.manifest).unwrap();
        assert!(text.contains(from), "{text}");
        self.manifest = text.replace(from, to).into_bytes();
        self
    }
}

struct Cut {
    from: io::Cursor<Vec<u8>>,
    left: usize,
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let most = buffer.len().min(self.left);
        let read = self.from.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

impl Source for Made {
    fn manifest(&self, _: Option<&Digest>) -> Result<Document, Error> {
        Ok(Document { bytes: self.manifest.clone(), media_type: None, digest: None })
    }

    fn blob(&self, digest: &Digest, _: u64, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        self.asked.lock().unwrap().push((digest.clone(), offset));
        let Some(blob) = self.blobs.get(digest) else {
            let source = io::Error::from(io::ErrorKind::NotFound).into();
            return Err(Error::Source { doing: format!("no blob {digest}"), source });
        };
        let rest = io::Cursor::new(blob[usize::try_from(offset).unwrap()..].to_vec());
        Ok(match *self.cut.lock().unwrap() {
            Some(left) if blob.len() > left => Box::new(Cut { from: rest, left }),
            _ => Box::new(rest),
        })
    }

    fn is_remote(&self) -> bool {
        self.remote
    }
}

/// A store of the test's own, with a canary beside it.
pub(super) struct Place {
    dir: PathBuf,
    pub store: Store,
    before: Vec<String>,
}

impl Place {
    pub(super) fn new(word: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        // Not on /tmp: a tmpfs takes no trusted attributes on some kernels.
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/tmp")
            .join(format!("image-{word}-{}-{unique}", std::process::id()));
        fs::create_dir_all(dir.join("canary/deep")).unwrap();
        fs::write(dir.join("canary/file"), "canary").unwrap();
        fs::set_permissions(dir.join("canary/file"), fs::Permissions::from_mode(0o640)).unwrap();
        let store = Store::open(&dir.join("data"));
        let before = list(&dir.join("canary"));
        Self { dir, store, before }
    }

    pub(super) fn canary(&self) -> String {
        self.dir.join("canary").to_string_lossy().into_owned()
    }

    pub(super) fn fetch(&self, source: &dyn Source, name: &str) -> Result<Image, Error> {
        self.fetch_telling(source, name, &())
    }

    pub(super) fn fetch_telling(
        &self,
        source: &dyn Source,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<Image, Error> {
        let reference: ImageReference = name.parse().unwrap();
        let fetched = self.store.fetch(source, &reference, &Platform::host(), progress);
        self.assert_untouched();
        if fetched.is_err() {
            let found = self.store.find(&reference, &Platform::host()).unwrap();
            assert_eq!(found, None, "a failed fetch has a name");
            assert_eq!(fs::read_dir(self.store.path("tmp")).unwrap().count(), 0, "left in tmp");
        }
        fetched
    }

    /// Whatever was unpacked, nothing beside the store is another.
    pub(super) fn assert_untouched(&self) {
        assert_eq!(list(&self.dir.join("canary")), self.before, "something outside was touched");
        assert!(!self.dir.join("data/x").exists() && !Path::new("/podspec-escaped").exists());
    }

    /// What is in the tree of the topmost layer.
    pub(super) fn top(&self, image: &Image) -> PathBuf {
        self.store.tree(&image.layers.last().unwrap().diff_id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Every path with what can be changed of it.
pub(super) fn list(of: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![of.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            found.push(format!(
                "{} {:o} {}:{} {} {} {}",
                path.display(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.len() * u64::from(meta.is_file()),
                meta.nlink(),
                meta.mtime(),
            ));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}
