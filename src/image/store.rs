//! What has been fetched, under DATA/images: layers by the digest of what they unpack to, so that images share
//! them, manifests and configs by their own digest, and which name stands for what. A layer has its name only
//! when it is whole and on disk; what a killed fetch leaves has none.
//!
//! ```text
//! layers/HEX/tree, layer.json, implied, deleting   blobs/HEX   names/HEX.json   inherited/HEX/tree   partial/HEX-HEX   tmp/…   lock
//! ```

use super::config::Config;
use super::{Error, hash};
use crate::names::image::{Digest, ImageReference, Platform};
use crate::sys::locks::LockFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The byte of the lock file that stands for the whole store; a layer's is made of its digest.
const WHOLE: i64 = 0;

/// An image that is here, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    pub reference: ImageReference,
    pub platform: Platform,
    /// Of what the reference names, an index or a manifest.
    pub digest: Digest,
    /// Of the platform's manifest.
    pub manifest: Digest,
    /// Of the config: what other tools call the image's id.
    pub id: Digest,
    /// The lowest first.
    pub layers: Vec<Layer>,
    pub config: Config,
    /// Over its layers there is a tree of directories that these are silent of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherits: bool,
    /// When it was fetched, in seconds since 1970.
    pub fetched: u64,
}

/// A layer that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    pub diff_id: Digest,
    /// Of its files.
    pub bytes: u64,
    pub entries: u64,
    /// Hides every layer below it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
}

impl Image {
    /// Bytes of its files, a layer that it has twice counted once.
    pub fn bytes(&self) -> u64 {
        let mut seen = BTreeSet::new();
        let layers = self.layers.iter().filter(|layer| seen.insert(&layer.diff_id));
        layers.map(|layer| layer.bytes).sum()
    }
}

/// What was, or would be, taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub images: Vec<ImageReference>,
    pub layers: Vec<Layer>,
    /// Layers that a fetch left in the middle: how many, and their bytes.
    pub unfinished: (usize, u64),
}

impl Removed {
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum::<u64>() + self.unfinished.1
    }
}

/// The store of one data directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// As long as it lives nothing is taken out of the store.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "its descriptor is the lock")] LockFile);

impl Store {
    /// The store under `data`; it is made when the first image is fetched.
    pub fn open(data: &Path) -> Self {
        Self { root: data.join("images") }
    }

    pub(super) fn path(&self, folder: &str) -> PathBuf {
        self.root.join(folder)
    }

    /// Where the tree of a layer is.
    pub fn tree(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.hex()).join("tree")
    }

    /// The trees that an overlay stands on, the topmost first. A layer that hides all below it ends them.
    pub fn trees(&self, image: &Image) -> Vec<PathBuf> {
        let mut trees: Vec<PathBuf> =
            image.inherits.then(|| self.inherited(image)).into_iter().collect();
        for layer in overlay_order(&image.layers) {
            trees.push(self.tree(&layer.diff_id));
            if layer.opaque {
                break;
            }
        }
        trees
    }

    fn inherited(&self, image: &Image) -> PathBuf {
        self.path("inherited").join(Self::chain(&image.layers).hex()).join("tree")
    }

    /// Makes the store's directories; nobody but their owner sees into them.
    pub(super) fn make(&self) -> Result<(), Error> {
        for folder in ["layers", "blobs", "names", "inherited", "partial", "tmp"] {
            let path = self.path(folder);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| Error::File { what: "make", path, source })?;
        }
        Ok(())
    }

    fn lock_file(&self) -> Result<LockFile, Error> {
        let path = self.path("lock");
        LockFile::open(&path).map_err(|source| Error::File { what: "lock", path, source })
    }

    /// Keeps everything that is in the store there until this is dropped.
    pub fn hold(&self) -> Result<Hold, Error> {
        self.make()?;
        let lock = self.lock_file()?;
        lock.share(WHOLE).map_err(|source| self.lock_error(source))?;
        Ok(Hold(lock))
    }

    /// Waits until nobody holds the store, and keeps others from it.
    fn alone(&self) -> Result<Hold, Error> {
        self.make()?;
        let lock = self.lock_file()?;
        lock.take(WHOLE).map_err(|source| self.lock_error(source))?;
        Ok(Hold(lock))
    }

    fn lock_error(&self, source: io::Error) -> Error {
        Error::File { what: "lock", path: self.path("lock"), source }
    }

    /// One fetch of a layer at a time. Tries first, so that the caller can say that it waits.
    pub(super) fn lock_layer(&self, diff_id: &Digest, waits: impl FnOnce()) -> Result<Hold, Error> {
        let lock = self.lock_file()?;
        let word: [u8; 8] =
            crate::names::digest(&[diff_id.hex().as_bytes()])[..8].try_into().unwrap_or_default();
        // Offsets are signed, and the first is the whole store's.
        let byte = (i64::from_le_bytes(word) & i64::MAX >> 1).max(1);
        let taken = lock.try_take(byte).map_err(|source| self.lock_error(source))?;
        if !taken {
            waits();
            lock.take(byte).map_err(|source| self.lock_error(source))?;
        }
        Ok(Hold(lock))
    }

    /// What is known of a layer, if it is here.
    pub(super) fn layer(&self, diff_id: &Digest) -> Result<Option<Layer>, Error> {
        let path = self.path("layers").join(diff_id.hex()).join("layer.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { what: "read", path, source }),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| Error::Malformed { what: path.display().to_string(), source })
    }

    /// A manifest, index or config that was kept, if its bytes are still what they were.
    pub(super) fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = fs::read(self.path("blobs").join(digest.hex())).ok()?;
        (hash::of(digest.algorithm(), &bytes) == *digest).then_some(bytes)
    }

    pub(super) fn keep_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path("blobs").join(digest.hex());
        if self.blob(digest).is_some() {
            return Ok(());
        }
        self.write(&path, bytes, false)
    }

    /// All or nothing of a file; `lasting` survives a power cut, and what does not is checked when it is read.
    pub(super) fn write(&self, path: &Path, bytes: &[u8], lasting: bool) -> Result<(), Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unique = format!("{name}.{}.{:?}", std::process::id(), std::thread::current().id());
        let new = self.path("tmp").join(unique);
        let write = || {
            let mut file =
                File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            if lasting {
                file.sync_all()?;
            }
            fs::rename(&new, path)?;
            match path.parent() {
                Some(folder) if lasting => File::open(folder)?.sync_all(),
                _ => Ok(()),
            }
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&new);
            Error::File { what: "write", path: path.to_owned(), source }
        })
    }

    fn record_path(&self, reference: &ImageReference, platform: &Platform) -> PathBuf {
        let (reference, platform) = (reference.to_string(), platform.to_string());
        let name = crate::names::digest(&[reference.as_bytes(), platform.as_bytes()]);
        let hex = name.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.path("names").join(format!("{hex}.json"))
    }

    /// The name stands for this image from now on.
    pub(super) fn record(&self, image: &Image) -> Result<(), Error> {
        let path = self.record_path(&image.reference, &image.platform);
        let text = serde_json::to_vec(image)
            .map_err(|source| Error::Malformed { what: path.display().to_string(), source })?;
        self.write(&path, &text, true)
    }

    /// The image of this name, if it and all its layers are here. Asks nobody.
    pub fn find(
        &self,
        reference: &ImageReference,
        platform: &Platform,
    ) -> Result<Option<Image>, Error> {
        let Some(image) = self.read_record(&self.record_path(reference, platform))? else {
            return Ok(None);
        };
        Ok(self.is_whole(&image).then_some(image))
    }

    fn is_whole(&self, image: &Image) -> bool {
        image.layers.iter().all(|layer| self.tree(&layer.diff_id).is_dir())
            && (!image.inherits || self.inherited(image).is_dir())
    }

    /// A record that cannot be read is none: the next fetch writes it anew.
    fn read_record(&self, path: &Path) -> Result<Option<Image>, Error> {
        let mut text = Vec::new();
        match File::open(path).and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { what: "read", path: path.to_owned(), source }),
        }
    }

    /// Every image, by name.
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let mut images = Vec::new();
        for path in self.entries("names")? {
            images.extend(self.read_record(&path)?);
        }
        images
            .sort_by_cached_key(|image| (image.reference.to_string(), image.platform.to_string()));
        Ok(images)
    }

    fn entries(&self, folder: &str) -> Result<Vec<PathBuf>, Error> {
        let path = self.path(folder);
        let failed = |source| Error::File { what: "read", path: path.clone(), source };
        match fs::read_dir(&path) {
            Ok(entries) => {
                entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Takes these names away, then every layer that no other name and none of `used` (trees of pods) needs,
    /// and what fetches left unfinished. With `dry` it only tells.
    pub fn remove(
        &self,
        unwanted: impl Fn(&Image) -> bool,
        used: &BTreeSet<PathBuf>,
        dry: bool,
    ) -> Result<Removed, Error> {
        if !self.root.exists() {
            return Ok(Removed::default());
        }
        let _alone = self.alone()?;
        let (gone, kept): (Vec<Image>, Vec<Image>) = self.images()?.into_iter().partition(unwanted);
        if !dry {
            for image in &gone {
                let path = self.record_path(&image.reference, &image.platform);
                fs::remove_file(&path).map_err(|source| Error::File {
                    what: "remove",
                    path,
                    source,
                })?;
            }
        }
        let mut removed = Removed {
            images: gone.into_iter().map(|image| image.reference).collect(),
            ..Removed::default()
        };
        self.sweep(&kept, used, dry, &mut removed)?;
        Ok(removed)
    }

    fn sweep(
        &self,
        kept: &[Image],
        used: &BTreeSet<PathBuf>,
        dry: bool,
        removed: &mut Removed,
    ) -> Result<(), Error> {
        let layers: BTreeSet<&str> =
            kept.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id.hex()).collect();
        let blobs: BTreeSet<&str> = kept
            .iter()
            .flat_map(|image| [&image.digest, &image.manifest, &image.id])
            .map(Digest::hex)
            .collect();
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for path in self.entries("layers")? {
            if layers.contains(name(&path).as_str()) || used.contains(&path.join("tree")) {
                continue;
            }
            let known = fs::read(path.join("layer.json"));
            let known = known.ok().and_then(|text| serde_json::from_slice::<Layer>(&text).ok());
            removed.layers.extend(known);
            if !dry {
                self.take_away(&path)?;
            }
        }
        let inherited: BTreeSet<PathBuf> =
            kept.iter().filter(|image| image.inherits).map(|image| self.inherited(image)).collect();
        for path in self.entries("inherited")? {
            let tree = path.join("tree");
            if !dry && !inherited.contains(&tree) && !used.contains(&tree) {
                self.take_away(&path)?;
            }
        }
        // Nobody fetches now: the store is ours alone.
        for path in self.entries("tmp")?.into_iter().chain(self.entries("partial")?) {
            removed.unfinished.0 += 1;
            removed.unfinished.1 += size_of(&path);
            if !dry {
                self.take_away(&path)?;
            }
        }
        for path in self.entries("blobs")? {
            if !dry && !blobs.contains(name(&path).as_str()) {
                self.take_away(&path)?;
            }
        }
        Ok(())
    }

    /// Out of sight first: a removal that is killed leaves no half of anything.
    pub(super) fn take_away(&self, path: &Path) -> Result<(), Error> {
        let gone = self.path("tmp").join(format!(
            "gone-{}-{}",
            std::process::id(),
            path.file_name().unwrap_or_default().to_string_lossy()
        ));
        let remove = || {
            fs::rename(path, &gone)?;
            if fs::symlink_metadata(&gone)?.is_dir() {
                fs::remove_dir_all(&gone)
            } else {
                fs::remove_file(&gone)
            }
        };
        match remove() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => {
                done.map_err(|source| Error::File { what: "remove", path: path.to_owned(), source })
            }
        }
    }
}

/// The topmost first. overlayfs refuses one directory twice; what is above hides the same thing below.
pub(super) fn overlay_order(layers: &[Layer]) -> Vec<&Layer> {
    let mut seen = BTreeSet::new();
    layers.iter().rev().filter(|layer| seen.insert(&layer.diff_id)).collect()
}

/// Bytes of the files at and below a path, as far as they can be seen.
fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size_of(&entry.path())).sum()
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
