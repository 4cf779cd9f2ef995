//! The user's logins: docker's `config.json` and podman's `auth.json`, which agree but for what a key may name,
//! and the helpers that they refer to (`docker-credential-NAME`, a program of the user's).

use super::error::RegistryError;
use super::settings::Settings;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A file of logins, or what a helper says.
const MAX: u64 = 1 << 20;
/// A helper may ask the user for a word, or a cloud for a token; one that hangs would hang every pull.
const PATIENCE: Duration =
    if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(60) };
/// What docker calls its registry in these files.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// How a user is known to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// Is exchanged for a token (OAuth 2).
    Identity(String),
    /// Is sent as it is.
    Bearer(String),
}

/// No secret reaches a log or a panic.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub credentials: Credentials,
    /// They are for each of its repositories.
    pub whole_registry: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: BTreeMap<String, Option<Entry>>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// The login of the first file that has one.
pub(super) fn find(
    settings: &Settings,
    registry: &str,
    repository: &str,
) -> Result<Option<Found>, RegistryError> {
    let must_be_there = settings.auth_file.is_some();
    let files = match &settings.auth_file {
        Some(file) => std::slice::from_ref(file),
        None => &settings.auth_files,
    };
    for path in files {
        let unreadable = |source| RegistryError::Read { path: path.clone(), source };
        let mut text = Vec::new();
        match std::fs::File::open(path) {
            Ok(file) => file.take(MAX).read_to_end(&mut text).map_err(unreadable)?,
            Err(error) if error.kind() == ErrorKind::NotFound && !must_be_there => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let file: AuthFile = serde_json::from_slice(&text)
            .map_err(|source| RegistryError::AuthFile { path: path.clone(), source })?;
        if let Some(found) = file.find(path, registry, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl AuthFile {
    /// The longest key wins: podman's may name a part of a registry.
    fn find(
        &self,
        path: &Path,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Found>, RegistryError> {
        let whole = format!("{registry}/{repository}");
        let mut key = whole.as_str();
        loop {
            let whole_registry = key == registry;
            let helper = self.cred_helpers.iter().find(|(of, _)| normal(of) == key);
            let found = match helper {
                Some((_, helper)) => ask(path, helper, key)?,
                None => self.entry(path, key)?,
            };
            if let Some(credentials) = found {
                return Ok(Some(Found { credentials, whole_registry }));
            }
            match key.rsplit_once('/').filter(|_| !whole_registry) {
                Some((shorter, _)) => key = shorter,
                None => break,
            }
        }
        if self.creds_store.is_empty() {
            return Ok(None);
        }
        let found = ask(path, &self.creds_store, registry)?;
        Ok(found.map(|credentials| Found { credentials, whole_registry: true }))
    }

    fn entry(&self, path: &Path, key: &str) -> Result<Option<Credentials>, RegistryError> {
        let entries = self.auths.iter().filter(|(of, _)| normal(of) == key);
        for entry in entries.filter_map(|(_, entry)| entry.as_ref()) {
            if !entry.identitytoken.is_empty() {
                return Ok(Some(Credentials::Identity(entry.identitytoken.clone())));
            }
            if !entry.registrytoken.is_empty() {
                return Ok(Some(Credentials::Bearer(entry.registrytoken.clone())));
            }
            if !entry.auth.is_empty() {
                let bad =
                    || RegistryError::Login { path: path.to_owned(), registry: key.to_owned() };
                let bytes = STANDARD.decode(entry.auth.trim()).map_err(|_| bad())?;
                let text = String::from_utf8(bytes).map_err(|_| bad())?;
                let (user, password) = text.split_once(':').ok_or_else(bad)?;
                // Docker pads it.
                let password = password.trim_end_matches('\0').to_owned();
                return Ok(Some(Credentials::Password { user: user.to_owned(), password }));
            }
            if !entry.username.is_empty() {
                let (user, password) = (entry.username.clone(), entry.password.clone());
                return Ok(Some(Credentials::Password { user, password }));
            }
        }
        Ok(None)
    }
}

/// A key of a file as a registry's name: docker writes URLs.
fn normal(key: &str) -> &str {
    let name = key.split_once("://").map_or(key, |(_, name)| name).trim_end_matches('/');
    let name = name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name);
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        name => name,
    }
}

/// Asks a helper: the registry on its standard input, the login on its standard output.
fn ask(path: &Path, helper: &str, registry: &str) -> Result<Option<Credentials>, RegistryError> {
    let failed = |why: String| RegistryError::Helper {
        path: path.to_owned(),
        helper: helper.to_owned(),
        why,
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if helper.is_empty() || !helper.chars().all(legal) {
        return Err(failed("this cannot be its name".to_owned()));
    }
    let program = format!("docker-credential-{helper}");
    let server = if registry == "docker.io" { DOCKER_KEY } else { registry };
    let output = converse(Command::new(&program).arg("get"), server).map_err(|error| {
        failed(match error.kind() {
            ErrorKind::TimedOut => {
                format!("{program} has not answered for {} s, and was ended", PATIENCE.as_secs())
            }
            _ => format!("{program}: {error}"),
        })
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let said =
            if said.trim().is_empty() { String::from_utf8_lossy(&output.stderr) } else { said };
        // The protocol's own words for "I have none".
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(crate::image::error::shown(said.trim())));
    }
    let Ok(Helped { username, secret }) = serde_json::from_slice(&output.stdout) else {
        return Err(failed("its answer cannot be understood".to_owned()));
    };
    Ok(Some(match username.as_str() {
        "<token>" => Credentials::Identity(secret),
        _ => Credentials::Password { user: username, password: secret },
    }))
}

/// What the helper answers, where it does so in time.
fn converse(helper: &mut Command, server: &str) -> io::Result<Output> {
    helper.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = helper.spawn()?;
    // Before anybody waits for it: the number is nobody else's yet.
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not want to know says so by its end.
        let _ = stdin.write_all(server.as_bytes());
    }
    let (answer, answers) = mpsc::channel();
    // Left alone where the time is up: a child of the helper's may hold its output still.
    thread::spawn(move || answer.send(listen(child)));
    answers.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        pidfd_send_signal(&pidfd, Signal::KILL)?;
        Err(ErrorKind::TimedOut.into())
    })
}

/// All that it says, up to a bound, and how it ends.
fn listen(mut child: Child) -> io::Result<Output> {
    fn all(from: Option<impl Read>) -> io::Result<Vec<u8>> {
        let mut said = Vec::new();
        from.map_or(Ok(0), |from| from.take(MAX).read_to_end(&mut said))?;
        Ok(said)
    }
    let errors = child.stderr.take();
    let errors = thread::spawn(move || all(errors));
    let stdout = all(child.stdout.take())?;
    let stderr = errors.join().unwrap_or_else(|_| Ok(Vec::new()))?;
    Ok(Output { status: child.wait()?, stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str, registry: &str, repository: &str) -> Option<Found> {
        let file: AuthFile = serde_json::from_str(json).unwrap();
        file.find(Path::new("auth.json"), registry, repository).unwrap()
    }

    fn user(found: Option<Found>) -> Option<(String, bool)> {
        found.map(|found| match found.credentials {
            Credentials::Password { user, .. } => (user, found.whole_registry),
            _ => ("token".to_owned(), found.whole_registry),
        })
    }

    #[test]
    fn docker_and_podman_name_registries_differently() {
        let auth = |text: &str| STANDARD.encode(text);
        let json = serde_json::json!({"auths": {
            "https://index.docker.io/v1/": {"auth": auth("hub:a:b")},
            "quay.io": {"auth": auth("quay:x")},
            "quay.io/team": {"auth": auth("team:x")},
            "http://local:5000/v2/": {"username": "plain", "password": "x"},
            "ghcr.io": {"identitytoken": "t"},
            "empty.example": {},
        }})
        .to_string();
        let whole = |name: &str| Some((name.to_owned(), true));
        let hub = of(&json, "docker.io", "library/httpd").unwrap();
        let wanted = Credentials::Password { user: "hub".into(), password: "a:b".into() };
        assert_eq!(hub, Found { credentials: wanted, whole_registry: true });
        assert_eq!(user(of(&json, "quay.io", "a/b")), whole("quay"));
        assert_eq!(user(of(&json, "quay.io", "team/b")), Some(("team".to_owned(), false)));
        assert_eq!(user(of(&json, "quay.io", "teams/b")), whole("quay"));
        assert_eq!(user(of(&json, "local:5000", "a")), whole("plain"));
        assert_eq!(user(of(&json, "ghcr.io", "a")), whole("token"));
        assert_eq!(user(of(&json, "empty.example", "a")), None);
        assert_eq!(user(of(&json, "evil.quay.io", "a")), None);
        assert_eq!(user(of("{}", "quay.io", "a")), None);
    }

    #[test]
    fn what_is_wrong_with_a_login_is_said_without_it() {
        let file: AuthFile =
            serde_json::from_str(r#"{"auths":{"a.example":{"auth":"c2VjcmV0"}}}"#).unwrap();
        let error = file.find(Path::new("auth.json"), "a.example", "x").unwrap_err().to_string();
        assert!(error.contains("auth.json") && error.contains("a.example"), "{error}");
        assert!(!error.contains("c2VjcmV0") && !error.contains("secret"), "{error}");
        for helper in ["../x", "a/b", "", "a b", "x;y"] {
            let error = ask(Path::new("auth.json"), helper, "a.example").unwrap_err().to_string();
            assert!(error.contains("cannot be its name"), "{error}");
        }
        let error = ask(Path::new("auth.json"), "none-such", "a.example").unwrap_err().to_string();
        assert!(error.contains("docker-credential-none-such"), "{error}");
    }
    #[test]
    fn a_helper_that_hangs_or_floods_is_ended() {
        let say = |script: &str| converse(Command::new("sh").args(["-c", script]), "a.example");
        let output = say("read server; echo \"$server\"; echo no >&2; exit 3").unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a.example\n"[..], &b"no\n"[..]));
        assert_eq!(output.status.code(), Some(3));
        // Itself, and with a child of its own that holds what it had.
        for hangs in ["exec sleep 60", "sleep 60"] {
            assert_eq!(say(hangs).unwrap_err().kind(), ErrorKind::TimedOut, "{hangs}");
        }
        let flood = say("exec yes").unwrap();
        assert_eq!(flood.stdout.len() as u64, MAX);
    }
}
