//! One request: where it goes, what a redirect may do, which certificates and which proxy are used, and what
//! kind of trouble there was.

use super::client::Shared;
use super::error::{RegistryError, Trouble};
use super::settings::Settings;
use crate::image::error::shown;
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use ureq::http::{Response, Uri, header};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::{Body, Proxy};

/// How far a request may be sent on.
const REDIRECTS: usize = 10;
/// What a registry may say of an error, or send as a token.
pub(super) const WORDS_MAX: u64 = 256 << 10;

/// Scheme, host and port: whom a password may go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    https: bool,
    /// In small letters, with the port where it is not the scheme's.
    authority: String,
}

impl Origin {
    pub(super) fn https(authority: &str) -> Self {
        Self::new(true, authority)
    }

    pub(super) fn http(authority: &str) -> Self {
        Self::new(false, authority)
    }

    fn new(https: bool, authority: &str) -> Self {
        let authority = authority.to_ascii_lowercase();
        let usual = if https { ":443" } else { ":80" };
        let authority = authority.strip_suffix(usual).unwrap_or(&authority).to_owned();
        Self { https, authority }
    }

    /// None: no address that can be asked for (`ftp:`, `user@host`).
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        (!authority.contains('@')).then(|| Self::new(https, authority))
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    fn host(&self) -> &str {
        match self.authority.split_once(']') {
            Some((address, _)) => address.trim_start_matches('['),
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Request<'a> {
    pub accept: &'a str,
    /// The first byte that is wanted.
    pub from: u64,
    /// Goes to the origin that is asked first, and to no other.
    pub authorization: Option<&'a str>,
}

/// An answer, and who gave it.
pub(super) struct Answer {
    /// Without the query, which often is a secret.
    pub url: String,
    pub response: Response<Body>,
}

impl Shared {
    /// Asks, and follows redirects: not more than a few, never from TLS to none, and without the login.
    pub(super) fn get(&self, url: &str, request: Request<'_>) -> Result<Answer, RegistryError> {
        let nowhere = |to: &str| RegistryError::Nowhere { url: url.to_owned(), to: shown(to) };
        let mut at: Uri = url.parse().map_err(|_| nowhere(url))?;
        let home = Origin::of(&at).ok_or_else(|| nowhere(url))?;
        let mut origin = home.clone();
        for _ in 0..=REDIRECTS {
            let mut asked = self.agent(&origin)?.get(&at).header(header::ACCEPT, request.accept);
            if let Some(authorization) = request.authorization.filter(|_| origin == home) {
                asked = asked.header(header::AUTHORIZATION, authorization);
            }
            if request.from > 0 {
                asked = asked.header(header::RANGE, format!("bytes={}-", request.from));
            }
            let short = without_query(&at);
            let response = asked.call().map_err(|error| failure(&short, error))?;
            let location = response.headers().get(header::LOCATION);
            let Some(location) = location.filter(|_| is_redirect(response.status().as_u16()))
            else {
                return Ok(Answer { url: short, response });
            };
            let location = location.to_str().unwrap_or_default();
            let next = resolve(&at, location).ok_or_else(|| nowhere(location))?;
            let next_origin = Origin::of(&next).ok_or_else(|| nowhere(location))?;
            if !self.may_follow(&origin, &next_origin) {
                let to = shown(&next_origin.to_string());
                return Err(RegistryError::Downgrade { url: short, to });
            }
            (at, origin) = (next, next_origin);
        }
        let to = shown(&without_query(&at));
        Err(RegistryError::Redirects { url: url.to_owned(), to, most: REDIRECTS })
    }

    /// Without TLS only where the user said so, or from this machine to itself: what is on its loopback is
    /// nobody else's to name.
    fn may_follow(&self, from: &Origin, to: &Origin) -> bool {
        let within = !from.is_https() && from.is_loopback() && to.is_loopback();
        to.is_https() || self.is_insecure(to.authority()) || within
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

pub(super) fn without_query(uri: &Uri) -> String {
    let text = uri.to_string();
    text.split('?').next().unwrap_or_default().to_owned()
}

/// A location, which may be relative (RFC 3986, 5.2).
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let location = location.split('#').next().unwrap_or_default();
    let absolute = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    absolute.parse().ok()
}

impl Answer {
    /// The answer, where it is one; what the registry says of the error where it is none.
    pub(super) fn success(self, registry: &str, logged_in: bool) -> Result<Self, RegistryError> {
        let status = self.response.status().as_u16();
        if matches!(status, 200 | 206) {
            return Ok(self);
        }
        let after = self.header("retry-after").and_then(retry_after);
        let Self { url, response } = self;
        let said = said(response);
        let registry = registry.to_owned();
        Err(match status {
            401 | 403 => RegistryError::Denied { registry, status, said, logged_in },
            404 => RegistryError::NotFound { registry, said },
            _ => RegistryError::Status { url, status, said, after },
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The whole body, which is not longer than `most`.
    pub(super) fn read(self, what: &'static str, most: u64) -> Result<Vec<u8>, RegistryError> {
        let Self { url, response } = self;
        let announced = response.body().content_length();
        let mut bytes = Vec::new();
        if announced.is_none_or(|length| length <= most) {
            let mut body = response.into_body().into_reader().take(most + 1);
            body.read_to_end(&mut bytes).map_err(|error| broken(&url, error))?;
            if bytes.len() as u64 <= most {
                return Ok(bytes);
            }
        }
        Err(RegistryError::TooLong { url, what, most })
    }
}

/// What registries say of an error, in one line: `{"errors": [{"code", "message"}]}`.
fn said(response: Response<Body>) -> String {
    let mut bytes = Vec::new();
    // An answer about an error is not worth one of its own.
    let _ = response.into_body().into_reader().take(WORDS_MAX).read_to_end(&mut bytes);
    let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let messages = answer["errors"].as_array().into_iter().flatten().filter_map(|error| {
        let word = |key: &str| error[key].as_str().filter(|word| !word.is_empty());
        word("message").or_else(|| word("code"))
    });
    let details = answer["details"].as_str().or_else(|| answer["message"].as_str());
    let all: Vec<String> = messages.chain(details).take(3).map(shown).collect();
    all.join(", ")
}

/// Seconds or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    let seconds = then.as_second().saturating_sub(jiff::Timestamp::now().as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// A body that broke off.
pub(super) fn broken(url: &str, error: io::Error) -> RegistryError {
    failure(url, ureq::Error::Io(error))
}

/// A request that got no answer.
pub(super) fn failure(url: &str, error: ureq::Error) -> RegistryError {
    let tls = match &error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    };
    let (kind, why) = match (tls, &error) {
        (Some(rustls::Error::InvalidCertificate(error)), _) => {
            (Trouble::Certificate, format!("its certificate is not trusted: {error}"))
        }
        // What a server says that expects HTTP, or none that is meant for us.
        (Some(rustls::Error::InvalidMessage(_)), _) => {
            (Trouble::NoTls, "it does not speak TLS".to_owned())
        }
        (Some(error), _) => (Trouble::Network, error.to_string()),
        (None, ureq::Error::Io(error)) => (Trouble::Network, error.to_string()),
        (None, ureq::Error::HostNotFound) => (Trouble::Network, "there is no such host".to_owned()),
        (None, ureq::Error::Timeout(_)) => {
            (Trouble::Network, "it does not answer in time".to_owned())
        }
        (None, error) => (Trouble::Network, error.to_string()),
    };
    RegistryError::Connection { url: url.to_owned(), why: shown(&why), kind }
}

/// The user's own certificates for a registry: `*.crt` are authorities, `NAME.cert` and `NAME.key` are the
/// client's, as docker and podman have it.
#[derive(Default)]
pub(super) struct Certificates {
    authorities: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Certificates {
    pub(super) fn read(&mut self, dir: &Path) -> Result<(), RegistryError> {
        let unreadable =
            |path: &Path, source| RegistryError::Read { path: path.to_owned(), source };
        for entry in std::fs::read_dir(dir).map_err(|error| unreadable(dir, error))? {
            let path = entry.map_err(|error| unreadable(dir, error))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let read = |path: &Path| std::fs::read(path).map_err(|error| unreadable(path, error));
            match extension {
                Some("crt") => self.authorities.extend(chain(&path, &read(&path)?)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    let bad = |error: ureq::Error| RegistryError::Certificate {
                        path: key.clone(),
                        why: error.to_string(),
                    };
                    let own = chain(&path, &read(&path)?)?;
                    let key = PrivateKey::from_pem(&read(&key)?).map_err(bad)?;
                    self.client = Some(ClientCert::new_with_certs(&own, key));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn config(self, roots: &[Certificate<'static>], unverified: bool) -> TlsConfig {
        let mut all = roots.to_vec();
        all.extend(self.authorities);
        TlsConfig::builder()
            .root_certs(RootCerts::Specific(std::sync::Arc::new(all)))
            .client_cert(self.client)
            .disable_verification(unverified)
            .build()
    }
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let bad = |why: String| RegistryError::Certificate { path: path.to_owned(), why };
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        if let ureq::tls::PemItem::Certificate(one) =
            item.map_err(|error| bad(error.to_string()))?
        {
            found.push(one);
        }
    }
    if found.is_empty() { Err(bad("it has none".to_owned())) } else { Ok(found) }
}

/// The proxy of the environment; this machine itself is never asked through one.
pub(super) fn proxy(settings: &Settings, origin: &Origin) -> Result<Option<Proxy>, RegistryError> {
    let named = if origin.https { &settings.https_proxy } else { &settings.http_proxy };
    let Some(proxy) = named.as_deref().filter(|proxy| !proxy.is_empty()) else { return Ok(None) };
    if origin.is_loopback() || is_direct(&settings.no_proxy, origin) {
        return Ok(None);
    }
    let bad =
        |_| RegistryError::Proxy { proxy: shown(proxy.rsplit('@').next().unwrap_or_default()) };
    Proxy::new(proxy).map(Some).map_err(bad)
}

/// NO_PROXY: hosts, domains with or without their dot, host:port, `*`.
fn is_direct(no_proxy: &str, origin: &Origin) -> bool {
    no_proxy.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        let host = origin.host();
        entry == "*"
            || entry == host
            || entry == origin.authority
            || host.strip_suffix(entry.as_str()).is_some_and(|rest| rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved_as_browsers_do() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/x?y=1".parse().unwrap();
        let to = |location| resolve(&base, location).map(|uri| uri.to_string());
        assert_eq!(to("https://cdn/x?sig=1#f").as_deref(), Some("https://cdn/x?sig=1"));
        assert_eq!(to("/z").as_deref(), Some("https://r.example:5000/z"));
        assert_eq!(to("//cdn/z").as_deref(), Some("https://cdn/z"));
        assert_eq!(to("z").as_deref(), Some("https://r.example:5000/v2/a/blobs/z"));
        assert_eq!(to("https://"), None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let of = |url: &str| Origin::of(&url.parse().unwrap());
        assert_eq!(of("https://A.example:443/x"), Some(Origin::https("a.example")));
        assert_ne!(of("https://a.example:444/x"), of("https://a.example/x"));
        assert_ne!(of("http://a.example/x"), of("https://a.example/x"));
        assert_eq!(of("https://user:pw@a.example/"), None);
        assert_eq!(of("ftp://a.example/"), None);
        for (url, loopback) in [
            ("http://127.0.0.1:5000/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:5000/", true),
            ("http://localhost:5000/", true),
            ("http://127.0.0.1.example/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(of(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn tls_is_given_up_only_where_the_user_said_so() {
        let may = |insecure: &str, from: &Origin, to: &Origin| {
            let insecure = vec![insecure.to_owned()];
            let client =
                crate::image::registry::Client::new(Settings { insecure, ..Settings::default() });
            client.0.may_follow(from, to)
        };
        let (tls, plain) = (Origin::https("a.example"), Origin::http("a.example"));
        assert!(may("", &tls, &Origin::https("cdn.example")));
        assert!(!may("", &tls, &plain));
        assert!(!may("", &tls, &Origin::http("localhost:80")));
        assert!(!may("", &plain, &Origin::http("127.0.0.1:5000")));
        assert!(may("", &Origin::http("127.0.0.1:1"), &Origin::http("localhost:2")));
        assert!(may("a.example", &tls, &plain));
        assert!(!may("a.example:5000", &tls, &plain));
    }

    #[test]
    fn some_hosts_are_asked_without_a_proxy() {
        let is_direct = |no_proxy, host| is_direct(no_proxy, &Origin::https(host));
        assert!(is_direct("a.example, b", "a.example"));
        assert!(is_direct(".example", "a.example"));
        assert!(is_direct("example", "a.example"));
        assert!(is_direct("*.example", "a.example:5000"));
        assert!(is_direct("a.example:5000", "a.example:5000"));
        assert!(is_direct("*", "x"));
        assert!(!is_direct("a.example:5000", "a.example"));
        assert!(!is_direct("ample", "a.example"));
        assert!(!is_direct("", "a.example"));
        let proxy = |origin: &Origin| {
            let settings =
                Settings { https_proxy: Some("http://p:3128".into()), ..Settings::default() };
            proxy(&settings, origin).unwrap().is_some()
        };
        assert!(proxy(&Origin::https("a.example")));
        assert!(!proxy(&Origin::https("localhost:5000")));
        assert!(!proxy(&Origin::http("a.example")));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(
            retry_after("Wed, 21 Oct 2065 07:28:00 GMT").unwrap() > Duration::from_secs(1 << 20)
        );
        assert_eq!(retry_after("soon"), None);
    }
}
