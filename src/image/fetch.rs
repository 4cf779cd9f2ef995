//! From a source to the store: which manifest is this machine's, then its config, then the layers that are not
//! here yet, several at once, each read once from its first byte to its last.

use super::config::{ConfigFile, read_config};
use super::inherit::Notes;
use super::manifest::{Compression, Descriptor, Kind, Manifest, choose};
use super::store::{Hold, Image, Layer, Store, now};
use super::stream::{Arrival, Decoder, Plain, Stop, Verified, read_failed};
use super::unpack::{UnpackError, unpack};
use super::{CONFIG_MAX, Document, Error, Outcome, Progress, Source, hash};
use crate::names::image::{Digest, ImageReference, Platform};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Layers that are fetched at once: enough to hide the waiting, few enough for memory.
const AT_ONCE: usize = 4;

/// What a reference stands for, before any layer has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Of what the reference names, an index or a manifest.
    pub digest: Digest,
    /// Of the platform's manifest.
    pub manifest_digest: Digest,
    pub manifest: Manifest,
}

impl Resolved {
    /// Whether it is for the platform: a manifest that no index leads to says so in its config alone.
    pub fn check(&self, source: &dyn Source, platform: &Platform) -> Result<(), Error> {
        let config = config_of(source, &self.manifest)?;
        check_platform(&read_config(&config, self.manifest.layers.len())?, platform)
    }
}

/// Asks the source what the reference stands for on this platform: two small requests at most. What the store
/// has by digest is not asked for, and what comes is kept there.
pub fn resolve(
    source: &dyn Source,
    reference: &ImageReference,
    platform: &Platform,
    store: Option<&Store>,
) -> Result<Resolved, Error> {
    let what = format!("`{reference}`");
    let stored = |digest: &Digest, media_type: Option<String>| {
        let bytes = store.and_then(|store| store.blob(digest))?;
        Some(Document { bytes, media_type, digest: None })
    };
    let keep = |digest: &Digest, document: &Document| match store {
        Some(store) => store.keep_blob(digest, &document.bytes),
        None => Ok(()),
    };
    let asked = reference.digest();
    let first = match asked.and_then(|digest| stored(digest, None)) {
        Some(document) => document,
        None => source.manifest(None)?,
    };
    let digest = first.verify(&what, asked)?;
    let entries = match first.read(&what)? {
        Kind::Manifest(manifest) => {
            keep(&digest, &first)?;
            return Ok(Resolved { manifest_digest: digest.clone(), digest, manifest });
        }
        Kind::Index(entries) => entries,
    };
    let chosen = choose(&entries, platform)?;
    keep(&digest, &first)?;
    let what = format!("the manifest {} of {what}", chosen.digest);
    let said = Some(chosen.media_type.clone()).filter(|kind| !kind.is_empty());
    let second = match stored(&chosen.digest, said) {
        Some(document) => document,
        None => source.manifest(Some(&chosen.digest))?,
    };
    second.verify(&what, Some(&chosen.digest))?;
    let found = second.bytes.len() as u64;
    if found != chosen.size {
        return Err(Error::Size { what, wanted: chosen.size, found });
    }
    match second.read(&what)? {
        Kind::Manifest(manifest) => {
            keep(&chosen.digest, &second)?;
            Ok(Resolved { digest, manifest_digest: chosen.digest.clone(), manifest })
        }
        Kind::Index(_) => Err(Error::nonsense(what, "it is an index in an index")),
    }
}

impl Store {
    /// The image that the reference stands for now: whatever of it is not here is fetched. Nothing has its name
    /// before all of it is whole; what has arrived of a remote layer stays for the next try.
    pub fn fetch(
        &self,
        source: &dyn Source,
        reference: &ImageReference,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Image, Error> {
        let _hold = self.hold()?;
        let resolved = resolve(source, reference, platform, Some(self))?;
        if let Some(image) = self.find(reference, platform)?
            && (&image.digest, &image.manifest) == (&resolved.digest, &resolved.manifest_digest)
        {
            return Ok(tell_present(image, &resolved.manifest, progress));
        }
        let config = self.config(source, &resolved.manifest)?;
        let whole = read_config(&config, resolved.manifest.layers.len())?;
        check_platform(&whole, platform)?;
        let layers = self.layers(source, &resolved.manifest, &whole.diff_ids, progress)?;
        let image = Image {
            reference: reference.clone(),
            platform: platform.clone(),
            digest: resolved.digest,
            manifest: resolved.manifest_digest,
            id: resolved.manifest.config.digest,
            inherits: self.inherit(&layers)?,
            layers,
            config: whole.config,
            fetched: now(),
        };
        self.record(&image)?;
        Ok(image)
    }

    fn config(&self, source: &dyn Source, manifest: &Manifest) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.blob(&manifest.config.digest) {
            return Ok(bytes);
        }
        let bytes = config_of(source, manifest)?;
        self.keep_blob(&manifest.config.digest, &bytes)?;
        Ok(bytes)
    }

    fn layers(
        &self,
        source: &dyn Source,
        manifest: &Manifest,
        diff_ids: &[Digest],
        progress: &dyn Progress,
    ) -> Result<Vec<Layer>, Error> {
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        for ((blob, compression), diff_id) in manifest.layers.iter().zip(diff_ids) {
            // An empty layer is often there several times.
            if !wanted.iter().any(|other| other.diff_id == diff_id) {
                wanted.push(Wanted { blob, compression: *compression, diff_id });
                progress.blob(&blob.digest, blob.size);
            }
        }
        let fetch = Fetch {
            store: self,
            source,
            progress,
            cancelled: AtomicBool::new(false),
            failed: Mutex::new(None),
        };
        let next = AtomicUsize::new(0);
        let (unpacked, unnamed) = channel();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(wanted.len()) {
                let (fetch, wanted, next, unpacked) = (&fetch, &wanted, &next, unpacked.clone());
                scope.spawn(move || {
                    while let Some(one) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                        fetch.run(one, &unpacked);
                    }
                });
            }
            // What is left are the threads' own: its end is theirs.
            drop(unpacked);
            fetch.name_all(&unnamed);
        });
        if let Some(error) = fetch.failed.into_inner().ok().flatten() {
            return Err(error);
        }
        let read = |diff_id: &Digest| {
            self.layer(diff_id)?.ok_or_else(|| {
                Error::nonsense(format!("the layer {diff_id}"), "it has gone since it was fetched")
            })
        };
        diff_ids.iter().map(read).collect()
    }
}

/// The name stands for what it stood for, and all of that is here.
fn tell_present(image: Image, manifest: &Manifest, progress: &dyn Progress) -> Image {
    let mut layers: Vec<&Descriptor> = Vec::new();
    for (layer, _) in &manifest.layers {
        if !layers.iter().any(|other| other.digest == layer.digest) {
            layers.push(layer);
            progress.blob(&layer.digest, layer.size);
        }
    }
    layers.iter().for_each(|layer| progress.done(&layer.digest, Outcome::Present));
    image
}

/// The config's own bytes, from the source.
fn config_of(source: &dyn Source, manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let Descriptor { digest, size, .. } = &manifest.config;
    let what = "the image's config";
    let mut bytes = Vec::new();
    let mut from = source.blob(digest, *size, 0)?.take((*size + 1).min(CONFIG_MAX + 1));
    from.read_to_end(&mut bytes).map_err(|source| read_failed(what, source))?;
    let found = bytes.len() as u64;
    if found != *size {
        return Err(Error::Size { what: what.to_owned(), wanted: *size, found });
    }
    let found = hash::of(digest.algorithm(), &bytes);
    if found != *digest {
        return Err(Error::Digest { what: what.to_owned(), wanted: digest.clone(), found });
    }
    Ok(bytes)
}

fn check_platform(whole: &ConfigFile, wanted: &Platform) -> Result<(), Error> {
    let said = &whole.platform;
    // Of images that are older than the fields.
    let silent = said.os.is_empty() || said.architecture.is_empty();
    let fits = said.os == wanted.os && said.architecture == wanted.architecture;
    if silent || fits {
        return Ok(());
    }
    Err(Error::NoPlatform { wanted: wanted.clone(), offered: vec![said.to_string()] })
}

/// A layer that the image needs.
struct Wanted<'a> {
    blob: &'a Descriptor,
    compression: Compression,
    diff_id: &'a Digest,
}

/// A layer that is unpacked, and has no name yet.
struct Unnamed<'a> {
    wanted: &'a Wanted<'a>,
    place: PathBuf,
    _lock: Hold,
}

/// What the threads of one fetch have in common.
struct Fetch<'a> {
    store: &'a Store,
    source: &'a dyn Source,
    progress: &'a dyn Progress,
    cancelled: AtomicBool,
    failed: Mutex<Option<Error>>,
}

impl Fetch<'_> {
    fn run<'w>(&self, one: &'w Wanted<'w>, unpacked: &Sender<Unnamed<'w>>) {
        if self.cancelled.load(Ordering::Relaxed) {
            return;
        }
        match self.layer(one) {
            Ok(None) => self.progress.done(&one.blob.digest, Outcome::Present),
            Ok(Some(layer)) => drop(unpacked.send(layer)),
            Err(error) => self.fail(error),
        }
    }

    /// The first is the one to tell: the others end because of it.
    fn fail(&self, error: Error) {
        if let Ok(mut failed) = self.failed.lock() {
            failed.get_or_insert(error);
        }
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Names what comes, as much of it at once as there is: the disk is waited for a few times, while others
    /// unpack, and not once for each layer.
    fn name_all(&self, unnamed: &Receiver<Unnamed<'_>>) {
        while let Ok(first) = unnamed.recv() {
            let all: Vec<_> = std::iter::once(first).chain(unnamed.try_iter()).collect();
            let mut result = self.sync();
            for layer in all {
                result = result.and_then(|()| self.name(&layer));
                match result {
                    Ok(()) => self.progress.done(&layer.wanted.blob.digest, Outcome::Unpacked),
                    Err(_) => drop(self.store.take_away(&layer.place)),
                }
            }
            if let Err(error) = result {
                self.fail(error);
            }
        }
    }

    /// All of a layer before its name: after a power cut there is a whole one or none.
    fn sync(&self) -> Result<(), Error> {
        let path = self.store.path("layers");
        let sync = || Ok(rustix::fs::syncfs(File::open(&path)?)?);
        sync().map_err(|source| Error::File { what: "write", path: path.clone(), source })
    }

    /// A name that a power cut takes is missed where the image is looked for.
    fn name(&self, layer: &Unnamed<'_>) -> Result<(), Error> {
        let path = self.store.path("layers").join(layer.wanted.diff_id.hex());
        fs::rename(&layer.place, &path).map_err(|source| Error::File { what: "name", path, source })
    }

    /// None: it is here.
    fn layer<'w>(&self, one: &'w Wanted<'w>) -> Result<Option<Unnamed<'w>>, Error> {
        if self.store.layer(one.diff_id)?.is_some() {
            return Ok(None);
        }
        let waits = || self.progress.waits(&one.blob.digest);
        let lock = self.store.lock_layer(one.diff_id, waits)?;
        // Whoever had the lock has fetched it, perhaps.
        if self.store.layer(one.diff_id)?.is_some() {
            return Ok(None);
        }
        // Under the lock, what is there was left by somebody who was killed.
        let place = self.store.path("tmp").join(one.diff_id.hex());
        self.store.take_away(&place)?;
        if let Err(error) = self.unpack(one, &place) {
            let _ = self.store.take_away(&place);
            return Err(error);
        }
        Ok(Some(Unnamed { wanted: one, place, _lock: lock }))
    }

    fn unpack(&self, one: &Wanted<'_>, place: &Path) -> Result<(), Error> {
        let file = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { what, path, source }
        };
        let tree = place.join("tree");
        for (path, mode) in [(place, 0o700), (&tree, 0o755)] {
            DirBuilder::new().mode(mode).create(path).map_err(file("make", path))?;
        }
        let root = File::open(&tree).map_err(file("open", &tree))?;
        // Whatever the caller's umask is.
        rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(0o755))
            .map_err(|errno| file("set the mode of", &tree)(errno.into()))?;
        let (layer, notes) = self.stream(one, &root)?;
        notes.write(place)?;
        let record = place.join("layer.json");
        let text = serde_json::to_vec(&layer)
            .map_err(|source| Error::Malformed { what: record.display().to_string(), source })?;
        fs::write(&record, text).map_err(file("write", &record))
    }

    /// The whole way of the bytes. An error in the middle is told by its cause: the blob's digest first, for
    /// what makes no sense as an archive is mostly not what was asked for.
    fn stream(&self, one: &Wanted<'_>, root: &File) -> Result<(Layer, Notes), Error> {
        let what = format!("the layer {}", one.blob.digest);
        let blob = (&one.blob.digest, one.blob.size);
        let kept = self.store.path("partial").join(format!(
            "{}-{}",
            one.diff_id.hex(),
            one.blob.digest.hex()
        ));
        let arrival = self.arrival(one, &kept)?;
        let verified = Verified::new(arrival, blob, self.progress, &self.cancelled);
        let unpacked = self.unpack_stream(one, &what, verified, root);
        match &unpacked {
            Err(error) if error.keeps_what_came() => {}
            // It is of no use: whole, or wrong.
            _ => drop(fs::remove_file(&kept)),
        }
        unpacked
    }

    fn unpack_stream(
        &self,
        one: &Wanted<'_>,
        what: &str,
        verified: Verified<'_, Arrival>,
        root: &File,
    ) -> Result<(Layer, Notes), Error> {
        let blob = (&one.blob.digest, one.blob.size);
        let decoder =
            Decoder::new(verified, one.compression).map_err(|source| read_failed(what, source))?;
        let plain = Plain::new(decoder, one.diff_id.algorithm(), blob, self.progress);
        let mut buffered = BufReader::with_capacity(128 << 10, plain);
        let mut read = || -> Result<_, Error> {
            let unpacked = unpack(&mut buffered, root.as_fd())
                .map_err(|source| Error::Layer { layer: one.blob.digest.clone(), source })?;
            // What follows the archive, and the sum at the end of what was packed.
            io::copy(&mut buffered, &mut io::sink()).map_err(|source| read_failed(what, source))?;
            Ok(unpacked)
        };
        let unpacked = match read() {
            Ok(unpacked) => unpacked,
            Err(error) if error.keeps_what_came() => return Err(error),
            Err(error) => {
                let verified = buffered.into_inner().into_inner().into_inner();
                return Err(verified.finish(what).err().unwrap_or(error));
            }
        };
        let (found, decoder) = buffered.into_inner().finish();
        decoder.into_inner().finish(what)?;
        if found != *one.diff_id {
            let what = format!("what {what} unpacks to");
            return Err(Error::Digest { what, wanted: one.diff_id.clone(), found });
        }
        let layer = Layer {
            diff_id: one.diff_id.clone(),
            bytes: unpacked.bytes,
            entries: unpacked.entries,
            opaque: unpacked.opaque,
        };
        Ok((layer, Notes { implied: unpacked.implied, deleting: unpacked.deleting }))
    }

    /// What was kept of the blob, then the rest of it.
    fn arrival(&self, one: &Wanted<'_>, kept: &Path) -> Result<Arrival, Error> {
        let (digest, size) = (&one.blob.digest, one.blob.size);
        if !self.source.is_remote() {
            let source = self.source.blob(digest, size, 0)?;
            return Ok(Arrival { kept: None, source, keep: None });
        }
        let failed = |source| Error::File { what: "keep", path: kept.to_owned(), source };
        let mut keep = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(kept)
            .map_err(failed)?;
        let mut there = keep.seek(SeekFrom::End(0)).map_err(failed)?;
        if there > size {
            keep.set_len(0).and_then(|()| keep.rewind()).map_err(failed)?;
            there = 0;
        }
        let source: Box<dyn Read + Send> = if there == size {
            Box::new(io::empty())
        } else {
            self.source.blob(digest, size, there)?
        };
        let kept = match there {
            0 => None,
            // Read with an offset of its own.
            _ => Some(File::open(kept).map_err(failed)?.take(there)),
        };
        Ok(Arrival { kept, source, keep: Some(keep) })
    }
}

/// The way of one blob to a directory, without the store's names.
#[cfg(any(test, fuzzing))]
pub(super) fn unpack_alone(
    store: &Store,
    source: &dyn Source,
    (blob, compression): (&Descriptor, Compression),
    diff_id: &Digest,
    root: &File,
) -> Result<Layer, Error> {
    let (cancelled, failed) = (AtomicBool::new(false), Mutex::default());
    let fetch = Fetch { store, source, progress: &(), cancelled, failed };
    Ok(fetch.stream(&Wanted { blob, compression, diff_id }, root)?.0)
}

impl Error {
    /// Whether the bytes that came before it were good, as far as one knows.
    fn keeps_what_came(&self) -> bool {
        match self {
            Self::Source { .. } | Self::File { .. } => true,
            Self::Size { wanted, found, .. } => found < wanted,
            Self::Blob { source, .. } => is_interruption(source),
            Self::Layer {
                source: UnpackError::Tar(super::tar::TarError::Read(source)), ..
            } => is_interruption(source),
            _ => false,
        }
    }
}

/// The source's own error, or another layer's. One that the bytes themselves caused (a bomb, a broken stream)
/// would come again.
fn is_interruption(error: &io::Error) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()) {
        Some(stop) => matches!(stop, Stop::Cancelled),
        None => !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput),
    }
}
