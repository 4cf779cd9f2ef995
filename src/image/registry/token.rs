//! A token for a repository, from where the registry's 401 sends us (the token protocol of `distribution`).

use super::challenge::Challenge;
use super::client::{Endpoint, Shared};
use super::credentials::Credentials;
use super::error::RegistryError;
use super::transport::{Answer, Origin, Request, WORDS_MAX, failure, without_query};
use crate::image::error::shown;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::fmt::Write;
use ureq::http::Uri;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Shared {
    /// What the challenge wants in the header `Authorization`; None where it wants a login and there is none.
    pub(super) fn authorization(
        &self,
        endpoint: &Endpoint,
        repository: &str,
        challenge: &Challenge,
    ) -> Result<Option<String>, RegistryError> {
        let login = self.login(endpoint, repository)?;
        match (challenge, login) {
            (_, Some(Credentials::Bearer(token))) => Ok(Some(format!("Bearer {token}"))),
            (Challenge::Basic, login) => Ok(login.as_ref().and_then(basic)),
            (Challenge::Bearer { realm, service }, login) => {
                let scope = format!("repository:{repository}:pull");
                let wanted = Wanted { service: service.as_deref(), scope: &scope };
                self.token(endpoint, realm, wanted, login.as_ref()).map(Some)
            }
        }
    }

    fn token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        wanted: Wanted<'_>,
        login: Option<&Credentials>,
    ) -> Result<String, RegistryError> {
        let registry = endpoint.registry.clone();
        let nowhere =
            || RegistryError::Nowhere { url: endpoint.origin.to_string(), to: shown(realm) };
        let uri: Uri = realm.parse().map_err(|_| nowhere())?;
        let origin = Origin::of(&uri).ok_or_else(nowhere)?;
        // A password goes nowhere in the clear but to the registry itself, where that was allowed to be plain.
        if !origin.is_https() && origin != endpoint.origin && !self.is_insecure(origin.authority())
        {
            let realm = shown(&without_query(&uri));
            return Err(RegistryError::PlainRealm { registry, realm });
        }
        let answer = match login {
            Some(Credentials::Identity(refresh)) => {
                self.exchange(&uri, &origin, wanted, refresh)?
            }
            login => {
                let mut url = uri.to_string();
                url.push(if uri.query().is_some() { '&' } else { '?' });
                url.push_str(&wanted.query());
                let authorization = login.and_then(basic);
                let authorization = authorization.as_deref();
                self.get(&url, Request { accept: "application/json", from: 0, authorization })?
            }
        };
        let answer = answer.success(&registry, login.is_some())?;
        let url = answer.url.clone();
        let bytes = answer.read("a token", WORDS_MAX)?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token.and_then(|both| both.token.or(both.access_token));
        // It becomes a header: no line feed, nothing that is not printed.
        match token.filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()))
        {
            Some(token) => Ok(format!("Bearer {token}")),
            None => Err(RegistryError::Answer { url, what: "a token" }),
        }
    }

    fn exchange(
        &self,
        realm: &Uri,
        origin: &Origin,
        wanted: Wanted<'_>,
        refresh: &str,
    ) -> Result<Answer, RegistryError> {
        let url = without_query(realm);
        let form = format!(
            "grant_type=refresh_token&client_id=podspec&refresh_token={}&{}",
            escaped(refresh),
            wanted.query()
        );
        let asked = self.agent(origin)?.post(realm);
        let asked = asked.content_type("application/x-www-form-urlencoded");
        let response = asked.send(&form).map_err(|error| failure(&url, error))?;
        Ok(Answer { url, response })
    }
}

/// What the token is to be good for. The scope is ours: a registry cannot have a token for another one made.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    service: Option<&'a str>,
    scope: &'a str,
}

impl Wanted<'_> {
    fn query(&self) -> String {
        let scope = format!("scope={}", escaped(self.scope));
        match self.service {
            Some(service) => format!("service={}&{scope}", escaped(service)),
            None => scope,
        }
    }
}

fn basic(credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::Password { user, password } => {
            Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        _ => None,
    }
}

/// For a query or a form.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            // Writing to a String cannot fail.
            _ => drop(write!(escaped, "%{byte:02X}")),
        }
    }
    escaped
}
