//! A registry as the source of one image: its manifests and its blobs. What fails and may be better in a moment
//! is tried again, with pauses that grow, or that the registry asks for.

use super::blob::Blob;
use super::challenge::Challenge;
use super::client::{Client, Endpoint, lock};
use super::error::RegistryError;
use super::transport::{Answer, Request};
use crate::image::{ACCEPTED, Document, Error, MANIFEST_MAX, Source};
use crate::names::image::{Digest, RegistryReference};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One image of a registry. Cheap to clone; clones share their login.
#[derive(Clone)]
pub(super) struct Registry {
    pub(super) client: Client,
    reference: Arc<RegistryReference>,
    /// The header `Authorization` that was good last.
    authorization: Arc<Mutex<Option<Arc<str>>>>,
    /// Tries of one thing without getting on.
    pub(super) tries: u32,
}

impl Registry {
    pub(super) fn new(client: Client, reference: RegistryReference, tries: u32) -> Self {
        let (reference, authorization) = (Arc::new(reference), Arc::default());
        Self { client, reference, authorization, tries }
    }

    /// Host and port.
    pub(super) fn host(&self) -> &str {
        &self.reference.registry
    }

    /// Asks for a part of the image, and logs in where that is wanted.
    pub(super) fn ask(
        &self,
        kind: &str,
        name: &str,
        request: Request<'_>,
    ) -> Result<Answer, RegistryError> {
        let shared = &self.client.0;
        let RegistryReference { registry, repository, .. } = &*self.reference;
        let endpoint = shared.endpoint(registry)?;
        let url = format!("{}/v2/{repository}/{kind}/{name}", endpoint.origin);
        let mut sent: Option<Arc<str>> = lock(&self.authorization).clone();
        // Once more with a new login: a token is good for minutes, and a large image may take longer.
        for _ in 0..2 {
            let authorization = sent.as_deref();
            let answer = shared.get(&url, Request { authorization, ..request })?;
            // Another host's 401 is none of the registry's.
            if answer.response.status().as_u16() != 401 || answer.url != url {
                return answer.success(registry, authorization.is_some());
            }
            match self.log_in(&endpoint, &answer, sent.as_ref())? {
                Some(fresh) => sent = Some(fresh),
                None => return answer.success(registry, false),
            }
        }
        let answer = shared.get(&url, Request { authorization: sent.as_deref(), ..request })?;
        answer.success(registry, true)
    }

    /// A login other than the one that was refused; None where the user has none.
    fn log_in(
        &self,
        endpoint: &Endpoint,
        answer: &Answer,
        refused: Option<&Arc<str>>,
    ) -> Result<Option<Arc<str>>, RegistryError> {
        // Held meanwhile: the threads of an image need one token, not each its own.
        let mut held = lock(&self.authorization);
        if let Some(known) = held.as_ref().filter(|known| Some(*known) != refused) {
            return Ok(Some(Arc::clone(known)));
        }
        let headers = answer.response.headers().get_all("www-authenticate");
        let challenge = Challenge::best(headers.iter().filter_map(|value| value.to_str().ok()));
        let challenge = challenge.map_err(|asked| RegistryError::Challenge {
            registry: endpoint.registry.clone(),
            asked: crate::image::error::shown(&asked),
        })?;
        let repository = &self.reference.repository;
        let fresh = self.client.0.authorization(endpoint, repository, &challenge)?;
        *held = fresh.map(Arc::from);
        Ok(held.clone())
    }

    /// Tries until it succeeds, cannot, or was tried often enough.
    fn patiently<T>(
        &self,
        mut work: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut tries = 1;
        loop {
            match work() {
                Err(error) if error.passes() && tries < self.tries => {
                    self.pause(tries, error)?;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Waits before the next try; an error where the registry wants us to wait too long.
    pub(super) fn pause(&self, tries: u32, error: RegistryError) -> Result<(), RegistryError> {
        let settings = &self.client.0.settings;
        let grown = settings.patience.pause * 2u32.saturating_pow(tries - 1);
        let wanted = error.after().unwrap_or(Duration::ZERO).max(grown);
        if wanted > settings.patience.longest_pause {
            return Err(match error {
                RegistryError::Status { url, after: Some(after), .. } => {
                    RegistryError::TooBusy { url, after }
                }
                other => other,
            });
        }
        if let Some(notice) = &settings.notice {
            notice(&format!("{error}: trying again in {:.1} s", wanted.as_secs_f64()));
        }
        let until = std::time::Instant::now() + wanted;
        // `park` may return for nothing.
        while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
            std::thread::park_timeout(left);
        }
        Ok(())
    }

    fn document(&self, name: &str) -> Result<Document, RegistryError> {
        let accept = ACCEPTED.join(", ");
        let request = Request { accept: &accept, ..Request::default() };
        let answer = self.ask("manifests", name, request)?;
        let media_type = answer.header("content-type");
        let media_type = media_type.and_then(|value| value.split(';').next());
        let media_type = media_type.map(|value| value.trim().to_owned());
        // One that is no digest says nothing; what was asked for is checked in any case.
        let digest = answer.header("docker-content-digest").and_then(|value| value.parse().ok());
        let bytes = answer.read("a manifest", MANIFEST_MAX)?;
        Ok(Document { bytes, media_type, digest })
    }

    fn error(&self, what: &str, error: RegistryError) -> Error {
        let RegistryReference { registry, repository, .. } = &*self.reference;
        let doing = format!("cannot get {what} of {repository} from {registry}");
        Error::Source { doing, source: Box::new(error) }
    }
}

impl Source for Registry {
    fn manifest(&self, digest: Option<&Digest>) -> Result<Document, Error> {
        let asked = digest.or(self.reference.digest.as_ref());
        let name = match (asked, &self.reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        };
        self.patiently(|| self.document(&name))
            .map_err(|error| self.error(&format!("the manifest `{name}`"), error))
    }

    fn blob(&self, digest: &Digest, size: u64, offset: u64) -> Result<Box<dyn Read + Send>, Error> {
        let mut blob = Blob::new(self.clone(), digest.clone(), size, offset);
        // What cannot be had at all is said at once, not in the middle of unpacking.
        blob.open().map_err(|error| self.error(&format!("the blob {digest}"), error))?;
        Ok(Box::new(blob))
    }
}
