//! Images: from wherever they come to directories that an overlay can stand on. Everything in an image is
//! hostile, its names, its sizes and its JSON too. Knows nothing of pods, prints nothing: a `Source` hands over
//! bytes, and not one of them is believed before its digest is.
//!
//! ```text
//! manifest.rs   indexes and manifests, and which of them is this machine's
//! config.rs     what an image says of its program
//! store.rs      what is here: layers by digest, names, locks
//! fetch.rs      from a source to the store, several layers at once
//! stream.rs     a blob on its way: counted, hashed, decompressed    tar.rs     its entries
//! unpack.rs     entries to a tree that overlayfs understands        local.rs   layouts and archives as sources
//! merged.rs     layers as one tree                     inherit.rs  directories that a layer is silent of
//! registry/     a registry as a source
//! ```

mod config;
mod error;
mod fetch;
mod hash;
mod inherit;
pub mod local;
mod manifest;
mod merged;
pub mod registry;
mod store;
mod stream;
mod tar;
mod unpack;

pub use config::{Config, ConfigFile, Healthcheck, read_config};
pub use error::Error;
pub use fetch::{Resolved, resolve};
pub use manifest::{ACCEPTED, Compression, Descriptor, Kind, Manifest, choose};
pub use merged::{Found, Merged};
pub use store::{Hold, Image, Layer, Removed, Store};
pub use tar::TarError;
pub use unpack::{Fault, UnpackError};

use crate::names::image::Digest;
use std::io::Read;

/// The most bytes of a manifest or an index: what registries take (`distribution`). A source reads no further.
pub const MANIFEST_MAX: u64 = 4 << 20;

/// The most bytes of an image's config.
pub const CONFIG_MAX: u64 = 8 << 20;

/// How a directory of a layer says that it hides what layers below it have there (overlayfs).
const OPAQUE: &str = "trusted.overlay.opaque";

/// A manifest or an index, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// At most `MANIFEST_MAX`.
    pub bytes: Vec<u8>,
    /// What the source says that it is (Content-Type, a descriptor); None where it does not say.
    pub media_type: Option<String>,
    /// What the source says its digest is (Docker-Content-Digest); checked, like the one that was asked for.
    pub digest: Option<Digest>,
}

/// Where an image's parts come from: a registry, a layout, an archive.
pub trait Source: Send + Sync {
    /// The manifest or index that is asked for: by the reference's own tag or digest (None), or by a digest
    /// that was found in an index.
    fn manifest(&self, digest: Option<&Digest>) -> Result<Document, Error>;

    /// A blob's bytes from `offset` on, to its end. Called from several threads at once. A source that can be
    /// cut off tries again by itself, from where it was; an error of `read` is its last word. The reader need
    /// not check anything: its bytes are counted and hashed as they come.
    fn blob(&self, digest: &Digest, size: u64, offset: u64) -> Result<Box<dyn Read + Send>, Error>;

    /// Whether what has arrived is worth keeping on disk when the rest fails: not where the source is a disk.
    fn is_remote(&self) -> bool {
        true
    }
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was there already.
    Present,
    /// It has arrived, is verified and unpacked.
    Unpacked,
}

/// Hears how a fetch comes on, from several threads. Every blob is announced before the first arrives.
pub trait Progress: Sync {
    /// A blob that the image needs, and its bytes as they travel.
    fn blob(&self, _digest: &Digest, _total: u64) {}
    /// Bytes that are here so far, those kept from an earlier try included.
    fn arrived(&self, _digest: &Digest, _bytes: u64) {}
    /// Bytes that were unpacked so far.
    fn unpacked(&self, _digest: &Digest, _bytes: u64) {}
    /// Another process fetches it: this one waits for that.
    fn waits(&self, _digest: &Digest) {}
    /// Nothing more will be heard of it.
    fn done(&self, _digest: &Digest, _outcome: Outcome) {}
}

/// Tells nobody.
impl Progress for () {}

#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
mod rig;
#[cfg(test)]
mod tests;
