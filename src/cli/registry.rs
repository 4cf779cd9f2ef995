//! How a command reaches registries: its options, the environment, and the user's own files. What a registry's
//! errors ask the user to do is told here, too.

use super::error::CliError;
use super::output;
use crate::image::Error;
use crate::image::registry::{Client, Notice, RegistryError, Settings, Trouble};
use crate::names::image::ImageReference;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Options of every command that may pull.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RegistryOptions {
    /// A registry that may speak plain HTTP, or whose certificate is not checked; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host, help_heading = "Registries")]
    insecure_registry: Vec<String>,
    /// Directory with certificates for the registries: authorities in *.crt, one's own in *.cert and *.key
    #[arg(long, value_name = "DIR", help_heading = "Registries")]
    cert_dir: Option<PathBuf>,
    /// File with logins instead of podman's and docker's own
    #[arg(long, value_name = "FILE", help_heading = "Registries")]
    authfile: Option<PathBuf>,
}

impl RegistryOptions {
    pub(super) fn client(&self, notice: Notice) -> Client {
        let home = path("HOME").unwrap_or_else(|| PathBuf::from("/root"));
        let config = path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let runtime = path("XDG_RUNTIME_DIR").map_or_else(
            || {
                let uid = rustix::process::geteuid().as_raw();
                PathBuf::from(format!("/run/containers/{uid}/auth.json"))
            },
            |runtime| runtime.join("containers/auth.json"),
        );
        let docker = path("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker"));
        Client::new(Settings {
            https_proxy: either("HTTPS_PROXY", "https_proxy"),
            // Never HTTP_PROXY: who calls a program may set it by a header (CVE-2016-5385).
            http_proxy: text("http_proxy"),
            no_proxy: either("NO_PROXY", "no_proxy").unwrap_or_default(),
            insecure: self.insecure_registry.clone(),
            certs_d: vec![
                "/etc/docker/certs.d".into(),
                "/etc/containers/certs.d".into(),
                config.join("containers/certs.d"),
            ],
            cert_dir: self.cert_dir.clone(),
            auth_files: vec![
                runtime,
                config.join("containers/auth.json"),
                docker.join("config.json"),
            ],
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            registries_confs: vec![
                config.join("containers/registries.conf"),
                "/etc/containers/registries.conf".into(),
            ],
            registries_dirs: vec![
                "/etc/containers/registries.conf.d".into(),
                config.join("containers/registries.conf.d"),
            ],
            auth_file: self.authfile.clone().or_else(|| path("REGISTRY_AUTH_FILE")),
            notice: Some(notice),
            ..Settings::default()
        })
    }
}

/// The part of an image's name that says which registry.
fn host(word: &str) -> Result<String, &'static str> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
    let fits = !word.is_empty() && word.chars().all(is_host);
    if fits { Ok(word.to_owned()) } else { Err("write HOST or HOST:PORT, as in the image's name") }
}

fn text(variable: &str) -> Option<String> {
    std::env::var_os(variable)?.into_string().ok().filter(|text| !text.is_empty())
}

fn either(variable: &str, other: &str) -> Option<String> {
    text(variable).or_else(|| text(other))
}

fn path(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Why an image could not be had, and what can be done about it.
pub(super) fn cannot_pull(reference: &ImageReference, error: &Error) -> CliError {
    let mut refused = CliError::host(format!("cannot pull {reference}"), error);
    if let CliError::Host { causes, hint, .. } = &mut refused {
        causes.iter_mut().for_each(|cause| *cause = output::sanitize(cause));
        *hint = registry_error(error)
            .and_then(|error| what_to_do(reference, error))
            .or_else(|| machine_error(reference, error).map(str::to_owned));
    }
    refused
}

/// What this machine lacks.
fn machine_error(reference: &ImageReference, error: &Error) -> Option<&'static str> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                return Some(
                    "make room: `podspec prune --all` removes images that no pod uses; `--root` names another disk",
                );
            }
            Some(ErrorKind::NotFound) if reference.is_local() => {
                return Some(
                    "is the path right? A relative one begins at the pod file, or at the current directory",
                );
            }
            _ => next = cause.source(),
        }
    }
    None
}

/// The registry's own error among the causes; one of a blob has passed through `Read`.
fn registry_error(error: &Error) -> Option<&RegistryError> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        let found = cause
            .downcast_ref::<RegistryError>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<RegistryError>()));
        if found.is_some() {
            return found;
        }
        next = cause.source();
    }
    None
}

fn what_to_do(reference: &ImageReference, error: &RegistryError) -> Option<String> {
    let ImageReference::Registry(reference) = reference else { return None };
    let host = &reference.registry;
    Some(match error {
        RegistryError::Denied { logged_in: false, .. } => {
            format!(
                "is the name right? If it is private: `podman login {host}` or `docker login {host}`"
            )
        }
        RegistryError::Denied { .. } => {
            format!("the login that is stored for {host} does not reach it: log in anew")
        }
        // As a lock writes them.
        RegistryError::NotFound { .. } if reference.tag.is_some() && reference.digest.is_some() => {
            "is the name right? What was locked and is gone is looked up anew by `podspec lock --update FILE`"
                .to_owned()
        }
        RegistryError::NotFound { .. } => "is the name right, and its tag or digest?".to_owned(),
        RegistryError::Connection { kind: Trouble::Certificate, .. } => format!(
            "put its authority into /etc/containers/certs.d/{host}/ca.crt, or name a directory with `--cert-dir`"
        ),
        RegistryError::Connection { kind: Trouble::NoTls, .. }
        | RegistryError::Downgrade { .. }
        | RegistryError::PlainRealm { .. } => {
            "who is trusted without TLS is named with `--insecure-registry HOST[:PORT]`".to_owned()
        }
        RegistryError::Connection { kind: Trouble::Network, .. } => {
            "is the name of the registry right, and is this machine online? HTTPS_PROXY names a proxy, \
             /etc/containers/registries.conf a mirror; a file needs neither: oci-archive:FILE, docker-archive:FILE"
                .to_owned()
        }
        RegistryError::Status { status: 429, .. } | RegistryError::TooBusy { .. } => {
            format!("it limits how much is pulled: log in to {host}, or try later")
        }
        _ => return None,
    })
}
