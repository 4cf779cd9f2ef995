//! What all images of one command share: a connection pool a host, what each registry turned out to speak,
//! the roots of this machine. `source.rs` asks with it.

use super::credentials::{self, Credentials};
use super::error::{RegistryError, Trouble};
use super::mirrors::Mirrored;
use super::places;
use super::settings::Settings;
use super::transport::{self, Certificates, Origin};
use crate::image::Error;
use crate::names::image::RegistryReference;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use ureq::Agent;
use ureq::tls::Certificate;

/// The registry of names without one, and where it is in truth.
const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";

/// Registries as one command reaches them. Cheap to clone.
#[derive(Clone)]
pub struct Client(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) settings: Settings,
    /// One for each origin.
    agents: Mutex<HashMap<Origin, Agent>>,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
    roots: OnceLock<Vec<Certificate<'static>>>,
    /// By the host that each trusts beside this one's.
    trusting: Mutex<HashMap<String, Client>>,
}

/// A registry that was found to answer.
pub(super) struct Endpoint {
    /// As references name it.
    pub(super) registry: String,
    pub(super) origin: Origin,
    login: OnceLock<Option<Credentials>>,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            agents: Mutex::default(),
            endpoints: Mutex::default(),
            roots: OnceLock::new(),
            trusting: Mutex::default(),
        }))
    }

    /// What may have this image as its source; asks nothing yet.
    pub fn image(&self, reference: &RegistryReference) -> Result<Mirrored, Error> {
        let places = places::find(&self.0.settings, reference).map_err(|error| Error::Source {
            doing: format!("cannot tell where {} is", reference.registry),
            source: Box::new(error),
        })?;
        Ok(Mirrored::new(self, places))
    }

    /// A client that takes this host as it is, for a place of which the user's files say so. What else the host
    /// has is asked for as strictly as before.
    pub(super) fn trusting(&self, host: &str) -> Self {
        let mut known = lock(&self.0.trusting);
        let fresh = || {
            let mut settings = self.0.settings.clone();
            settings.insecure.push(host.to_owned());
            Self::new(settings)
        };
        known.entry(host.to_owned()).or_insert_with(fresh).clone()
    }
}

impl Shared {
    /// How the registry is reached. Only one on this machine, or one that the user calls insecure, is tried
    /// without TLS, and only where it does not speak it.
    pub(super) fn endpoint(&self, registry: &str) -> Result<Arc<Endpoint>, RegistryError> {
        // Held while a registry is tried: many images of one need not find out all at once.
        let mut endpoints = lock(&self.endpoints);
        if let Some(known) = endpoints.get(registry) {
            return Ok(Arc::clone(known));
        }
        let host = if registry == DOCKER { DOCKER_HOST } else { registry };
        let https = Origin::https(host);
        let may_be_plain = self.is_insecure(registry) || https.is_loopback();
        let origin = match may_be_plain.then(|| self.speaks_tls(&https)).transpose()? {
            Some(false) => Origin::http(host),
            _ => https,
        };
        let endpoint =
            Arc::new(Endpoint { registry: registry.to_owned(), origin, login: OnceLock::new() });
        endpoints.insert(registry.to_owned(), Arc::clone(&endpoint));
        Ok(endpoint)
    }

    fn speaks_tls(&self, origin: &Origin) -> Result<bool, RegistryError> {
        let url = format!("{origin}/v2/");
        match self.agent(origin)?.get(&url).call() {
            Ok(_) => Ok(true),
            Err(error) if hangs_up(&error) => Ok(false),
            Err(error) => match transport::failure(&url, error) {
                RegistryError::Connection { kind: Trouble::NoTls, .. } => Ok(false),
                other => Err(other),
            },
        }
    }

    pub(super) fn is_insecure(&self, host: &str) -> bool {
        self.settings.insecure.iter().any(|insecure| insecure.eq_ignore_ascii_case(host))
    }

    pub(super) fn agent(&self, origin: &Origin) -> Result<Agent, RegistryError> {
        if let Some(known) = lock(&self.agents).get(origin) {
            return Ok(known.clone());
        }
        let agent = self.new_agent(origin)?;
        lock(&self.agents).insert(origin.clone(), agent.clone());
        Ok(agent)
    }

    fn new_agent(&self, origin: &Origin) -> Result<Agent, RegistryError> {
        let Settings { patience, cert_dir, certs_d, .. } = &self.settings;
        let host = if origin.authority() == DOCKER_HOST { DOCKER } else { origin.authority() };
        let mut certificates = Certificates::default();
        let of_registry = certs_d.iter().map(|dir| dir.join(host)).filter(|dir| dir.exists());
        for dir in of_registry.chain(cert_dir.clone()) {
            certificates.read(&dir)?;
        }
        // Parsed only where they are needed.
        let roots: &[_] = if origin.is_https() { self.roots() } else { &[] };
        let tls = certificates.config(roots, self.is_insecure(host));
        let proxy = transport::proxy(&self.settings, origin)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // They are followed by hand: `transport.rs` says which.
            .max_redirects(0)
            .proxy(proxy)
            .user_agent(concat!("podspec/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .max_response_header_size(64 << 10)
            .tls_config(tls);
        Ok(config.build().new_agent())
    }

    fn roots(&self) -> &[Certificate<'static>] {
        self.roots.get_or_init(|| {
            // What cannot be read is missing, and says so when a certificate is not trusted.
            let found = rustls_native_certs::load_native_certs().certs;
            found.iter().map(|root| Certificate::from_der(root).to_owned()).collect()
        })
    }

    /// The user's login for the registry, looked for once.
    pub(super) fn login(
        &self,
        endpoint: &Endpoint,
        repository: &str,
    ) -> Result<Option<Credentials>, RegistryError> {
        if let Some(known) = endpoint.login.get() {
            return Ok(known.clone());
        }
        let found = credentials::find(&self.settings, &endpoint.registry, repository)?;
        // What a file has for one repository alone is nothing for its neighbours.
        if found.as_ref().is_none_or(|found| found.whole_registry) {
            let login = found.clone().map(|found| found.credentials);
            let _ = endpoint.login.set(login);
        }
        Ok(found.map(|found| found.credentials))
    }
}

/// What many a server does that expects HTTP and hears the first bytes of TLS.
fn hangs_up(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// A panic in another thread leaves these maps whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
