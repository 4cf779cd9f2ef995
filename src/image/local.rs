//! Images on this machine as sources: an OCI layout in a directory or in a tar archive, and what `docker save`
//! writes. As hostile as a registry: paths are resolved inside the directory, what is no plain file is not
//! opened, and an archive is read where it lies and never unpacked.

use super::config::read_config;
use super::error::shown;
use super::hash::Hasher;
use super::tar::{Reader, Skip};
use super::{CONFIG_MAX, Document, Error, MANIFEST_MAX, Source};
use crate::names::image::{Algorithm, Digest, ImageReference};
use crate::sys::paths::open_in_root;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tar::EntryType;

/// Members of an archive: an image has a few for each layer.
const MEMBERS_MAX: usize = 100_000;
/// What lists the images of a layout, and of what `docker save` writes; newer versions of it write both.
const LAYOUT: &str = "index.json";
const SAVED: &str = "manifest.json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The source that a local reference names; None for one of a registry.
pub fn open(reference: &ImageReference) -> Result<Option<Box<dyn Source>>, Error> {
    Ok(Some(match reference {
        ImageReference::Registry(_) => return Ok(None),
        ImageReference::Layout { directory, tag } => {
            Box::new(Layout { files: Folder::open(directory)?, tag: tag.clone() })
        }
        ImageReference::OciArchive { file, tag } => {
            Box::new(Layout { files: Archive::open(file)?.listed_in(LAYOUT)?, tag: tag.clone() })
        }
        ImageReference::DockerArchive { file, tag } => {
            Box::new(Saved::open(Archive::open(file)?.listed_in(SAVED)?, tag.as_deref())?)
        }
    }))
}

/// Plain files by name, wherever they are.
trait Files: Send + Sync {
    fn path(&self) -> &Path;
    /// From `offset` on, and how long the whole file is.
    fn read(&self, name: &str, offset: u64) -> io::Result<(Box<dyn Read + Send>, u64)>;

    fn small(&self, name: &str, most: u64) -> Result<Vec<u8>, Error> {
        let (from, size) = self.read(name, 0).map_err(|source| self.failed(name, source))?;
        let what = || format!("`{name}` of {}", self.path().display());
        if size > most {
            return Err(Error::TooLarge { what: what(), most });
        }
        let mut bytes = Vec::new();
        from.take(most).read_to_end(&mut bytes).map_err(|source| self.failed(name, source))?;
        Ok(bytes)
    }

    fn failed(&self, name: &str, source: io::Error) -> Error {
        let doing = format!("cannot read `{}` of {}", shown(name), self.path().display());
        Error::Source { doing, source: source.into() }
    }
}

/// A directory.
struct Folder {
    root: File,
    path: PathBuf,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { what: "open", path: path.to_owned(), source };
        let root = File::open(path).map_err(failed)?;
        if !root.metadata().map_err(failed)?.is_dir() {
            let why =
                "it is no directory: an archive is named with `oci-archive:` or `docker-archive:`";
            return Err(Error::nonsense(path.display().to_string(), why));
        }
        Ok(Self { root, path: path.to_owned() })
    }
}

impl Files for Folder {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str, offset: u64) -> io::Result<(Box<dyn Read + Send>, u64)> {
        // A FIFO must not make it wait.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let none = ResolveFlags::empty();
        let fd = open_in_root(self.root.as_fd(), Path::new(name), flags, Mode::empty(), none)?;
        let mut file = File::from(fd);
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
        }
        file.seek(SeekFrom::Start(offset))?;
        Ok((Box::new(file), meta.len()))
    }
}

/// A tar archive that is read where it lies.
struct Archive {
    file: Arc<File>,
    path: PathBuf,
    /// Where each plain file begins, and its bytes.
    members: HashMap<String, (u64, u64)>,
    /// What older versions of docker write for a layer that is there twice.
    links: HashMap<String, String>,
}

impl Skip for File {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.seek_relative(bytes)
    }
}

/// A path without dots; None where it leads out.
fn plain(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

impl Archive {
    fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { what: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            let why = "it is no plain file: a directory is named with `oci:`";
            return Err(Error::nonsense(path.display().to_string(), why));
        }
        let mut magic = [0; 4];
        let _ = file.read_at(&mut magic, 0);
        if magic[..2] == [0x1f, 0x8b] || magic == [0x28, 0xb5, 0x2f, 0xfd] {
            let why = "it is compressed as a whole: unpack it with gunzip or unzstd first";
            return Err(Error::nonsense(path.display().to_string(), why));
        }
        let size = meta.len();
        let mut archive = Self {
            file: Arc::new(file),
            path: path.to_owned(),
            members: HashMap::new(),
            links: HashMap::new(),
        };
        archive.index(size)?;
        Ok(archive)
    }

    fn index(&mut self, size: u64) -> Result<(), Error> {
        let what = || self.path.display().to_string();
        let failed = |source| Error::Archive { path: self.path.clone(), source };
        let file = self.file.try_clone();
        let file =
            file.map_err(|source| Error::File { what: "read", path: self.path.clone(), source })?;
        let mut reader = Reader::new(file);
        let (mut members, mut links) = (HashMap::new(), HashMap::new());
        while let Some(entry) = reader.next().map_err(failed)? {
            let Some(name) = std::str::from_utf8(&entry.name).ok().and_then(plain) else {
                continue;
            };
            match entry.kind {
                EntryType::Regular | EntryType::Continuous if entry.sparse.is_none() => {
                    let at = reader.position();
                    if at.checked_add(entry.size).is_none_or(|end| end > size) {
                        return Err(failed(super::tar::TarError::Cut));
                    }
                    members.insert(name, (at, entry.size));
                }
                EntryType::Symlink => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let target = String::from_utf8_lossy(&entry.link);
                    links.extend(plain(&format!("{folder}/{target}")).map(|target| (name, target)));
                }
                _ => {}
            }
            if members.len() + links.len() > MEMBERS_MAX {
                return Err(Error::nonsense(what(), "it has too many files for an image"));
            }
        }
        (self.members, self.links) = (members, links);
        Ok(())
    }

    fn member(&self, name: &str) -> io::Result<(u64, u64)> {
        let name = plain(name).unwrap_or_default();
        let found = self.members.get(&name).or_else(|| self.members.get(self.links.get(&name)?));
        found.copied().ok_or_else(|| io::Error::other("the archive has no such file"))
    }

    /// It has this list of images; one that has the other is of the other kind.
    fn listed_in(self, list: &str) -> Result<Self, Error> {
        if self.member(list).is_ok() {
            return Ok(self);
        }
        let kinds = [(LAYOUT, "oci-archive"), (SAVED, "docker-archive")];
        let other = kinds.into_iter().find(|(list, _)| self.member(list).is_ok());
        let other = other.map(|(_, kind)| format!(": it is named with `{kind}:`"));
        let why = format!("it has no `{list}`{}", other.unwrap_or_default());
        Err(Error::nonsense(self.path.display().to_string(), why))
    }
}

/// A piece of a file, read without moving anybody's offset.
struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Files for Archive {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self, name: &str, offset: u64) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let (at, size) = self.member(name)?;
        let offset = offset.min(size);
        let section =
            Section { file: Arc::clone(&self.file), at: at + offset, left: size - offset };
        Ok((Box::new(section), size))
    }
}

/// An OCI layout.
struct Layout<F> {
    files: F,
    tag: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: Option<String>,
    digest: Digest,
    platform: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

impl<F: Files> Layout<F> {
    /// The entry of the tag; without one the only image, or the index itself where it has one for each platform.
    fn first(&self) -> Result<Document, Error> {
        let bytes = self.files.small(LAYOUT, MANIFEST_MAX)?;
        let what = || format!("`{LAYOUT}` of {}", self.files.path().display());
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Malformed { what: what(), source })?;
        let names = |entry: &Entry| entry.annotations.get(REF_NAME).cloned();
        let entry = match &self.tag {
            Some(tag) => index.manifests.iter().find(|entry| names(entry).as_ref() == Some(tag)),
            None if index.manifests.len() == 1 => index.manifests.first(),
            None if index.manifests.iter().all(|entry| entry.platform.is_some()) => {
                return Ok(Document { bytes, media_type: None, digest: None });
            }
            None => None,
        };
        match entry {
            Some(entry) => self.document(&entry.digest, entry.media_type.clone()),
            None => {
                let there: Vec<String> =
                    index.manifests.iter().filter_map(names).map(|name| shown(&name)).collect();
                Err(no_such(self.files.path(), self.tag.as_deref(), &there))
            }
        }
    }

    fn document(&self, digest: &Digest, media_type: Option<String>) -> Result<Document, Error> {
        let bytes = self.files.small(&blob_name(digest), MANIFEST_MAX)?;
        Ok(Document { bytes, media_type, digest: Some(digest.clone()) })
    }
}

fn no_such(path: &Path, tag: Option<&str>, there: &[String]) -> Error {
    let list = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let why = match tag {
        Some(tag) => format!("it has no image `{}`; it has: {list}", shown(tag)),
        None => format!("it has several images, or none: name one of: {list}"),
    };
    Error::nonsense(path.display().to_string(), why)
}

impl<F: Files> Source for Layout<F> {
    fn manifest(&self, digest: Option<&Digest>) -> Result<Document, Error> {
        match digest {
            Some(digest) => self.document(digest, None),
            None => self.first(),
        }
    }

    fn blob(&self, digest: &Digest, _: u64, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let name = blob_name(digest);
        let read = self.files.read(&name, offset);
        read.map(|(from, _)| from).map_err(|source| self.files.failed(&name, source))
    }

    fn is_remote(&self) -> bool {
        false
    }
}

/// What `docker save` writes: a list of images, each with the names of its config and its layers. It has no
/// manifest, so one is made of it.
struct Saved {
    files: Archive,
    manifest: Vec<u8>,
    /// The file of each blob.
    blobs: HashMap<Digest, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Saved {
    fn open(files: Archive, tag: Option<&str>) -> Result<Self, Error> {
        let bytes = files.small(SAVED, MANIFEST_MAX)?;
        let what = || format!("`{SAVED}` of {}", files.path().display());
        let images: Vec<SavedImage> = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Malformed { what: what(), source })?;
        // `busybox:1` in the file is docker.io/library/busybox:1 in full, as what is asked for.
        let full = |word: &str| {
            word.parse::<ImageReference>().map_or_else(|_| word.to_owned(), |name| name.to_string())
        };
        let has = |image: &SavedImage, tag: &str| {
            image.repo_tags.iter().flatten().any(|own| full(own) == full(tag))
        };
        let image = match tag {
            Some(tag) => images.iter().find(|image| has(image, tag)),
            None if images.len() == 1 => images.first(),
            None => None,
        };
        let Some(image) = image else {
            let there = images.iter().filter_map(|image| image.repo_tags.as_ref()).flatten();
            let there: Vec<String> = there.map(|name| shown(name)).collect();
            return Err(no_such(files.path(), tag, &there));
        };
        let config = files.small(&image.config, CONFIG_MAX)?;
        let diff_ids = read_config(&config, image.layers.len())?.diff_ids;
        let config_digest = Digest::of(&config);
        let mut blobs = HashMap::from([(config_digest.clone(), image.config.clone())]);
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(diff_ids) {
            let (digest, kind, size) = layer(&files, name, diff_id)?;
            layers.push(serde_json::json!({
                "mediaType": format!("application/vnd.docker.image.rootfs.diff.{kind}"),
                "size": size,
                "digest": digest,
            }));
            blobs.insert(digest, name.clone());
        }
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(),
                "digest": config_digest,
            },
            "layers": layers,
        });
        Ok(Self { files, manifest: manifest.to_string().into_bytes(), blobs })
    }
}

/// A layer of an archive. A plain one's digest is the one that the config has; a compressed one's is not written
/// anywhere.
fn layer(
    files: &Archive,
    name: &str,
    diff_id: Digest,
) -> Result<(Digest, &'static str, u64), Error> {
    let failed = |source| files.failed(name, source);
    let (from, size) = files.read(name, 0).map_err(failed)?;
    let mut from = BufReader::with_capacity(128 << 10, from);
    let head = io::BufRead::fill_buf(&mut from).map_err(failed)?;
    let kind = match head {
        [0x1f, 0x8b, ..] => "tar.gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "tar.zstd",
        _ => return Ok((diff_id, "tar", size)),
    };
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut bite = vec![0; 128 << 10];
    loop {
        match from.read(&mut bite).map_err(failed)? {
            0 => return Ok((hasher.finish(), kind, size)),
            read => hasher.update(&bite[..read]),
        }
    }
}

impl Source for Saved {
    fn manifest(&self, _: Option<&Digest>) -> Result<Document, Error> {
        Ok(Document { bytes: self.manifest.clone(), media_type: None, digest: None })
    }

    fn blob(&self, digest: &Digest, _: u64, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let missing =
            || self.files.failed(&digest.to_string(), io::Error::other("nothing in it has it"));
        let name = self.blobs.get(digest).ok_or_else(missing)?;
        let read = self.files.read(name, offset);
        read.map(|(from, _)| from).map_err(|source| self.files.failed(name, source))
    }

    fn is_remote(&self) -> bool {
        false
    }
}
