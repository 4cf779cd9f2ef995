//! A blob while it comes. Where it is cut off, or hardly comes at all, it is asked for anew from there; what it
//! is worth is for its reader to check, by its digest.

use super::error::RegistryError;
use super::settings::SLOWEST;
use super::source::Registry;
use super::transport::{Answer, Request, broken};
use crate::names::image::Digest;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// The least that counts as getting on, after which patience begins anew.
const PROGRESS: u64 = 64 << 10;

pub(super) struct Blob {
    registry: Registry,
    digest: Digest,
    size: u64,
    /// Bytes that were handed on.
    at: u64,
    body: Option<Body>,
    /// Failures since it got on last, and where that was.
    failures: u32,
    since: u64,
    waited: Duration,
    window_bytes: u64,
}

struct Body {
    url: String,
    reader: Box<dyn Read + Send>,
}

impl Blob {
    pub(super) fn new(registry: Registry, digest: Digest, size: u64, offset: u64) -> Self {
        Self {
            registry,
            digest,
            size,
            at: offset,
            body: None,
            failures: 0,
            since: offset,
            waited: Duration::ZERO,
            window_bytes: 0,
        }
    }

    /// Asks until there is an answer.
    pub(super) fn open(&mut self) -> Result<(), RegistryError> {
        while self.body.is_none() && self.at < self.size {
            match self.try_open() {
                Ok(body) => self.body = Some(body),
                Err(error) => self.failed(error)?,
            }
        }
        Ok(())
    }

    fn try_open(&mut self) -> Result<Body, RegistryError> {
        let Self { digest, size, at, .. } = self;
        let request = Request { accept: "*/*", from: *at, authorization: None };
        let answer = self.registry.ask("blobs", &digest.to_string(), request)?;
        let url = answer.url.clone();
        let begins = first_byte(&answer)?;
        if let Some(length) = answer.response.body().content_length() {
            let found = begins.saturating_add(length);
            if begins <= *at && found != *size {
                return Err(RegistryError::Length { url, found, wanted: *size });
            }
        }
        if begins > *at {
            return Err(RegistryError::Answer { url, what: "another part than was asked for" });
        }
        // It never sends parts: what is here already is read over.
        let over = *at - begins;
        let mut reader = answer.response.into_body().into_reader();
        let skipped = io::copy(&mut (&mut reader).take(over), &mut io::sink());
        if skipped.map_err(|error| broken(&url, error))? < over {
            return Err(RegistryError::Ended);
        }
        (self.waited, self.window_bytes) = (Duration::ZERO, 0);
        Ok(Body { url, reader: Box::new(reader) })
    }

    /// Notes a failure and pauses; the error where that was one too many.
    fn failed(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let url = self.body.take().map(|body| body.url);
        // A server that cuts everything short after a few bytes would otherwise have us for ever.
        if self.at - self.since >= PROGRESS.max(self.size / 64) {
            (self.failures, self.since) = (0, self.at);
        }
        self.failures += 1;
        let tries = self.failures;
        if !error.passes() {
            return Err(error);
        }
        if tries < self.registry.tries {
            return self.registry.pause(tries, error);
        }
        match url {
            Some(url) => {
                let (at, size, source) = (self.at, self.size, Box::new(error));
                Err(RegistryError::Cut { url, at, size, tries, source })
            }
            None => Err(error),
        }
    }

    fn read_on(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buffer.len());
        loop {
            self.open()?;
            let Some(body) = &mut self.body else { return Ok(0) };
            let began = Instant::now();
            let error = match body.reader.read(&mut buffer[..left]) {
                Ok(0) => RegistryError::Ended,
                Ok(count) => {
                    self.at += count as u64;
                    let Err(slow) = self.judge(began.elapsed(), count as u64) else {
                        return Ok(count);
                    };
                    // These bytes are good all the same; the next read begins anew.
                    self.failed(slow)?;
                    return Ok(count);
                }
                Err(error) => broken(&body.url, error),
            };
            self.failed(error)?;
        }
    }

    /// Only waiting for the network counts: who unpacks may take its time.
    fn judge(&mut self, waited: Duration, bytes: u64) -> Result<(), RegistryError> {
        self.waited += waited;
        self.window_bytes += bytes;
        let window = self.registry.client.0.settings.patience.window;
        if self.waited < window {
            return Ok(());
        }
        let (bytes, seconds) = (self.window_bytes, self.waited.as_secs());
        let least = (window.as_secs_f64() * SLOWEST as f64) as u64;
        (self.waited, self.window_bytes) = (Duration::ZERO, 0);
        if bytes >= least { Ok(()) } else { Err(RegistryError::Slow { bytes, seconds }) }
    }
}

/// Where the answer begins: `Content-Range: bytes 5-9/10`, or with the first byte.
fn first_byte(answer: &Answer) -> Result<u64, RegistryError> {
    if answer.response.status().as_u16() != 206 {
        return Ok(0);
    }
    let range =
        answer.header("content-range").and_then(|value| value.trim().strip_prefix("bytes "));
    let first = range.and_then(|range| range.split('-').next()?.parse().ok());
    let url = answer.url.clone();
    first.ok_or(RegistryError::Answer { url, what: "a part without its place" })
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        self.read_on(buffer).map_err(io::Error::other)
    }
}
