//! The places where an image may be, as one source: each is asked only where those before it cannot give it.

use super::client::Client;
use super::places::Place;
use super::settings::Notice;
use super::source::Registry;
use crate::image::{Document, Error, Source};
use crate::names::image::Digest;
use std::error::Error as _;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tries of a place behind which there is another.
const TRIES: u32 = 2;

/// An image and the places where it may be, one at least.
pub struct Mirrored {
    places: Vec<Registry>,
    /// The first that has not failed.
    at: AtomicUsize,
    notice: Option<Notice>,
}

impl Mirrored {
    pub(super) fn new(client: &Client, places: Vec<Place>) -> Self {
        let last = places.len().saturating_sub(1);
        let patience = client.0.settings.patience.tries;
        let registry = |(index, place): (usize, Place)| {
            let Place { reference, insecure } = place;
            let client =
                if insecure { client.trusting(&reference.registry) } else { client.clone() };
            Registry::new(
                client,
                reference,
                if index == last { patience } else { TRIES.min(patience) },
            )
        };
        let places = places.into_iter().enumerate().map(registry).collect();
        Self { places, at: AtomicUsize::new(0), notice: client.0.settings.notice.clone() }
    }

    fn ask<T>(&self, work: impl Fn(&Registry) -> Result<T, Error>) -> Result<T, Error> {
        let mut at = self.at.load(Ordering::Relaxed);
        loop {
            match work(&self.places[at]) {
                Err(error) if at + 1 < self.places.len() => {
                    at += 1;
                    // Several threads may find out at once; one of them says so.
                    if self.at.fetch_max(at, Ordering::Relaxed) < at {
                        self.say(&error, at);
                    }
                }
                other => return other,
            }
        }
    }

    fn say(&self, error: &Error, next: usize) {
        let Some(notice) = &self.notice else { return };
        let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        notice(&format!("{error}{why}: asking {} instead", self.places[next].host()));
    }
}

impl Source for Mirrored {
    fn manifest(&self, digest: Option<&Digest>) -> Result<Document, Error> {
        self.ask(|place| place.manifest(digest))
    }

    fn blob(&self, digest: &Digest, size: u64, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        self.ask(|place| place.blob(digest, size, offset))
    }
}
