//! A blob on its way: counted, hashed, decompressed, hashed again, all in one pass. Whoever reads at the end
//! of these readers gets bytes that nothing has vouched for yet; `finish` tells whether they were the right ones.

use super::hash::Hasher;
use super::manifest::Compression;
use super::tar::Skip;
use super::{Error, Progress};
use crate::names::image::{Algorithm, Digest};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that one layer may have unpacked.
pub(super) const LAYER_MAX: u64 = 256 << 30;
/// Zeros can be packed by 1000 and more: beyond the free part a layer must not be a bomb.
const RATIO_MAX: u64 = 200;
const RATIO_FREE: u64 = if cfg!(any(test, fuzzing)) { 1 << 20 } else { 512 << 20 };

/// Why a stream ends before its end; carried through `io::Error`.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Stop {
    #[error("it has more bytes than were announced")]
    TooLong,
    #[error("unpacked it has more than {} GiB", LAYER_MAX >> 30)]
    TooLarge,
    #[error("unpacked it is more than {RATIO_MAX} times as large: it is a bomb")]
    Bomb,
    #[error("another part of the image has failed")]
    Cancelled,
}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> Self {
        Self::other(stop)
    }
}

/// What a blob is read from: what was kept of it, then the source, whose bytes are kept as they come.
pub(super) struct Arrival {
    pub kept: Option<io::Take<File>>,
    pub source: Box<dyn Read + Send>,
    pub keep: Option<File>,
}

impl Read for Arrival {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(kept) = &mut self.kept {
            let read = kept.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.kept = None;
        }
        let read = self.source.read(buffer)?;
        if let Some(keep) = &mut self.keep {
            keep.write_all(&buffer[..read])?;
        }
        Ok(read)
    }
}

/// Reads no more than was announced, counts and hashes.
pub(super) struct Verified<'a, R> {
    from: R,
    hasher: Hasher,
    digest: &'a Digest,
    size: u64,
    read: u64,
    progress: &'a dyn Progress,
    cancelled: &'a AtomicBool,
}

impl<'a, R: Read> Verified<'a, R> {
    pub(super) fn new(
        from: R,
        (digest, size): (&'a Digest, u64),
        progress: &'a dyn Progress,
        cancelled: &'a AtomicBool,
    ) -> Self {
        let hasher = Hasher::new(digest.algorithm());
        Self { from, hasher, digest, size, read: 0, progress, cancelled }
    }

    /// Reads to the end, and compares.
    pub(super) fn finish(mut self, what: &str) -> Result<(), Error> {
        io::copy(&mut self, &mut io::sink()).map_err(|source| read_failed(what, source))?;
        if self.read != self.size {
            return Err(Error::Size { what: what.to_owned(), wanted: self.size, found: self.read });
        }
        let found = self.hasher.finish();
        if found != *self.digest {
            return Err(Error::Digest {
                what: what.to_owned(),
                wanted: self.digest.clone(),
                found,
            });
        }
        Ok(())
    }
}

impl<R: Read> Read for Verified<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Stop::Cancelled.into());
        }
        let read = self.from.read(buffer)?;
        self.read += read as u64;
        if self.read > self.size {
            return Err(Stop::TooLong.into());
        }
        self.hasher.update(&buffer[..read]);
        if read > 0 {
            self.progress.arrived(self.digest, self.read);
        }
        Ok(read)
    }
}

/// Takes the compression away.
pub(super) enum Decoder<R: Read> {
    Plain(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<R>>>),
    Zstd(zstd::Decoder<'static, BufReader<R>>),
}

impl<R: Read> Decoder<R> {
    pub(super) fn new(from: R, compression: Compression) -> io::Result<Self> {
        let buffered = |from| BufReader::with_capacity(128 << 10, from);
        Ok(match compression {
            Compression::None => Self::Plain(from),
            Compression::Gzip => {
                Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(buffered(from))))
            }
            // The decoder's own bound of its window, 128 MiB, holds.
            Compression::Zstd => Self::Zstd(zstd::Decoder::with_buffer(buffered(from))?),
        })
    }

    /// What the decoder was put on, once it has given its last byte. What follows the compressed stream is lost
    /// in a buffer, and the blob's hash has it.
    pub(super) fn into_inner(self) -> R {
        match self {
            Self::Plain(from) => from,
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(from) => from.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// The layer's archive as it is unpacked: bounded, counted and hashed.
pub(super) struct Plain<'a, R> {
    from: R,
    hasher: Hasher,
    blob: (&'a Digest, u64),
    read: u64,
    progress: &'a dyn Progress,
}

impl<'a, R: Read> Plain<'a, R> {
    pub(super) fn new(
        from: R,
        algorithm: Algorithm,
        blob: (&'a Digest, u64),
        progress: &'a dyn Progress,
    ) -> Self {
        Self { from, hasher: Hasher::new(algorithm), blob, read: 0, progress }
    }

    pub(super) fn into_inner(self) -> R {
        self.from
    }

    /// Once all is read: what follows the end of the archive is hashed, too.
    pub(super) fn finish(self) -> (Digest, R) {
        (self.hasher.finish(), self.from)
    }
}

impl<R: Read> Read for Plain<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.read += read as u64;
        if self.read > LAYER_MAX {
            return Err(Stop::TooLarge.into());
        }
        if self.read > RATIO_FREE && self.read / RATIO_MAX > self.blob.1 {
            return Err(Stop::Bomb.into());
        }
        self.hasher.update(&buffer[..read]);
        self.progress.unpacked(self.blob.0, self.read);
        Ok(read)
    }
}

impl<R: Read> Skip for BufReader<Plain<'_, R>> {}

/// An error of reading a blob.
pub(super) fn read_failed(what: &str, source: io::Error) -> Error {
    Error::Blob { what: what.to_owned(), source }
}
