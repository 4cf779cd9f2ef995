//! Texts of secrets, on their way from the client to a tmpfs that is never written to a disk. They are in no plan,
//! no journal and no record.

use super::ExecError;
use super::apply::mount_tmpfs;
use crate::names::SecretName;
use crate::plan::step::SecretFile;
use crate::state::store::make_directory;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// The most that one may have: more is no secret, but data.
pub const LARGEST: usize = 1 << 20;

/// One secret's text, overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub Vec<u8>);

pub type Secrets = BTreeMap<SecretName, Secret>;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // It is read, as far as the compiler knows.
        std::hint::black_box(&self.0);
    }
}

/// Puts a container's secrets where it will see them.
pub(super) fn make(at: &Path, files: &[SecretFile], texts: &Secrets) -> Result<(), ExecError> {
    make_directory(at)?;
    let size: usize = files.iter().filter_map(|file| Some(texts.get(&file.secret)?.0.len())).sum();
    // A page for each and for the directory, in which the last part of a text may lie.
    let size = size + (files.len() + 2) * 4096;
    let options = format!("mode=0700,size={size}");
    // Since Linux 6.4 a tmpfs can be kept from swap.
    mount_tmpfs(at, &format!("{options},noswap")).or_else(|_| mount_tmpfs(at, &options))?;
    files.iter().try_for_each(|file| write(file, texts))
}

fn write(file: &SecretFile, texts: &Secrets) -> Result<(), ExecError> {
    let Some(text) = texts.get(&file.secret) else {
        return Err(ExecError::NoSecret { name: file.secret.clone() });
    };
    let error = |source| ExecError::WriteFile { path: file.path.clone(), source };
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path);
    let mut open = open.map_err(error)?;
    open.write_all(&text.0).map_err(error)?;
    fchown(&open, Some(file.uid), Some(file.gid)).map_err(error)?;
    open.set_permissions(PermissionsExt::from_mode(file.mode)).map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_shows_a_secret() {
        let secrets = Secrets::from([("db".parse().unwrap(), Secret(b"hunter2".to_vec()))]);
        let shown = format!("{secrets:?} {secrets:#?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
        let sent = serde_json::to_vec(&secrets).unwrap();
        assert_eq!(serde_json::from_slice::<Secrets>(&sent).unwrap(), secrets);
    }
}
