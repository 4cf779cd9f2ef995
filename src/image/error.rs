//! Why an image could not be had, each with the thing that is to blame. What the image or the source wrote is
//! shown without its control characters.

use crate::names::image::{Digest, Platform};
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the source, in its own words: a request, an answer, a file of a layout.
    #[error("{doing}")]
    Source { doing: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    /// Of a blob while it comes.
    #[error("cannot read {what}")]
    Blob { what: String, source: io::Error },
    #[error("the layer {layer} cannot be unpacked")]
    Layer { layer: Digest, source: super::UnpackError },
    #[error("cannot read the archive {}", path.display())]
    Archive { path: PathBuf, source: super::TarError },
    #[error("{what} has the digest {found}, and {wanted} was asked for")]
    Digest { what: String, wanted: Digest, found: Digest },
    #[error("{what} has {found} bytes, and {wanted} were announced")]
    Size { what: String, wanted: u64, found: u64 },
    #[error("{what} has more than {most} bytes")]
    TooLarge { what: String, most: u64 },
    #[error("{what} cannot be understood")]
    Malformed { what: String, source: serde_json::Error },
    #[error("{what} makes no sense: {why}")]
    Nonsense { what: String, why: String },
    #[error("{what} is a manifest of schema 1, which docker gave up in 2017")]
    Schema1 { what: String },
    #[error("{what} is of the kind `{media_type}`, which is none of an image's")]
    MediaType { what: String, media_type: String },
    #[error("nothing in it is for {wanted}: it has {}", list(offered))]
    NoPlatform { wanted: Platform, offered: Vec<String> },
}

fn list(offered: &[String]) -> String {
    if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") }
}

/// A word of somebody else's, fit for a line on a terminal.
pub(super) fn shown(word: &str) -> String {
    word.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

impl Error {
    pub(super) fn nonsense(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Nonsense { what: what.into(), why: why.into() }
    }
}
