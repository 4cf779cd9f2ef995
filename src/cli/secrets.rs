//! The texts of a pod's secrets, read at `up` for the supervisor alone.

use super::error::CliError;
use super::file::PodFile;
use crate::exec::secrets::{LARGEST, Secret, Secrets};
use crate::names::SecretName;
use crate::spec;
use crate::spec::model::SecretSource;
use crate::spec::problem::Problem;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// All that some container sees.
pub(super) fn read(file: &PodFile, pod: &spec::Pod) -> Result<Secrets, CliError> {
    let seen = |name: &SecretName| {
        let mut all = pod.spec.containers.values().flat_map(|container| &container.secrets);
        all.any(|mount| mount.name == *name)
    };
    let mut secrets = Secrets::new();
    for (name, source) in pod.spec.secrets.iter().filter(|(name, _)| seen(name)) {
        let text = match source {
            SecretSource::File(path) => of_file(path).map_err(|error| {
                let message =
                    format!("cannot read the secret `{name}` from {}: {error}", path.display());
                at_place(file, pod, &format!("secrets.{name}.file"), message)
            }),
            SecretSource::Env(variable) => {
                std::env::var_os(variable).map(OsStringExt::into_vec).ok_or_else(|| {
                    let message =
                        format!("the variable `{variable}` is not set in podspec's environment");
                    at_place(file, pod, &format!("secrets.{name}.env"), message)
                })
            }
        };
        secrets.insert(name.clone(), Secret(text?));
    }
    Ok(secrets)
}

/// Wrong input is shown where the file asks for it.
fn at_place(file: &PodFile, pod: &spec::Pod, place: &str, message: String) -> CliError {
    let Some(span) = pod.places.find(place) else {
        return CliError::Host { message, causes: Vec::new(), hint: None, code: 2 };
    };
    let problem = Problem::error("P0667", message, span, "this secret");
    let problem =
        problem.help("a secret is a regular file of at most 1 MiB, or a variable that is set");
    CliError::Place { at: Box::new((file.clone(), problem)), code: 2 }
}

fn of_file(path: &Path) -> io::Result<Vec<u8>> {
    // A FIFO would hold us, and a device never end.
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    if !open.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    open.take(LARGEST as u64 + 1).read_to_end(&mut text)?;
    if text.len() > LARGEST {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(text)
}
