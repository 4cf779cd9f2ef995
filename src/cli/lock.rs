//! `podspec lock`: what the tags of a pod file stand for today, written beside it.

use super::error::CliError;
use super::file::PodFile;
use super::progress::View;
use super::pull;
use super::registry::{RegistryOptions, cannot_pull};
use super::{Format, output};
use crate::image::resolve;
use crate::names::image::{ImageReference, Platform, RegistryReference};
use crate::spec::lock::{self, Locked};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Lock the images of a pod file to what their tags stand for now
///
/// Writes pod.lock beside pod.yaml: each tag with its digest, for version control. From then on `up`, `pull` and
/// `plan` take exactly those images, on every machine, and refuse a tag that the lock does not know. Tags that
/// are locked stay as they are; --update looks all of them up anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec lock                     ./pod.yaml: writes ./pod.lock
  podspec lock shop.yaml           adds new tags, and takes old ones out
  podspec lock --update shop.yaml  what the tags stand for today
  podspec lock --platform linux/arm64 shop.yaml

Images that the file names by digest, and those of this machine (oci:, oci-archive:, docker-archive:), need none.

Exit code: 0; 1 a registry could not tell; 2 the file is wrong.")]
pub(super) struct Lock {
    /// Look every tag up anew
    #[arg(long)]
    update: bool,
    /// The platform to look up, as linux/arm64, also for tags that are locked for another; that of this machine
    /// where it is not given
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registries: RegistryOptions,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    /// Pod file; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What the lock holds now.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a Path,
    written: bool,
    images: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    reference: String,
    digest: String,
    manifest: String,
    platform: String,
}

impl Lock {
    pub(super) fn run(self) -> Result<ExitCode, CliError> {
        let path = self.file.as_deref().unwrap_or(Path::new("pod.yaml"));
        if path == Path::new("-") {
            return Err(CliError::Usage {
                message: "standard input has no place for a lock beside it".to_owned(),
                hint: Some("name a file".to_owned()),
            });
        }
        let loaded = PodFile::read(self.file.as_deref())?.unlocked().load()?;
        let tags: BTreeSet<&RegistryReference> =
            loaded.pods.iter().flat_map(|pod| lock::tags(&pod.spec)).collect();
        let beside = PodFile::lock(path);
        let name = output::sanitize(&beside.display().to_string());
        let old = if self.update { None } else { existing(&beside, &name, path)? };
        let asked =
            |locked: &&Locked| self.platform.as_ref().is_none_or(|it| *it == locked.platform);
        let known = |tag: &RegistryReference| old.as_ref()?.find(tag).filter(asked).cloned();
        let wanted: Vec<&RegistryReference> =
            tags.iter().copied().filter(|tag| known(tag).is_none()).collect();
        let mut images: BTreeMap<String, Locked> =
            tags.iter().filter_map(|tag| Some((tag.to_string(), known(tag)?))).collect();
        images.extend(self.look_up(&wanted)?);
        let row = |(reference, locked): (&String, &Locked)| Row {
            reference: reference.clone(),
            digest: locked.digest.to_string(),
            manifest: locked.manifest.to_string(),
            platform: locked.platform.to_string(),
        };
        let rows = images.iter().map(row).collect();
        let new = lock::Lock::new(images);
        let is_new = old.as_ref() != Some(&new);
        if is_new {
            super::fix::replace(&beside, &new.text())
                .map_err(|error| CliError::host(format!("cannot write {name}"), &error))?;
        }
        match self.format {
            Format::Json => output::json(&Report { file: &beside, written: is_new, images: rows })?,
            Format::Human => {
                let is = if is_new { "written" } else { "as it should be" };
                output::done(&format!("{name} is {is}: {}", count(tags.len())))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn look_up(&self, wanted: &[&RegistryReference]) -> Result<Vec<(String, Locked)>, CliError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let view = View::new();
        let client = self.registries.client(view.notice());
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        pull::each(wanted, |tag| {
            let reference = ImageReference::Registry((*tag).clone());
            let look = || {
                let source = client.image(tag)?;
                let found = resolve(&source, &reference, &platform, None)?;
                found.check(&source, &platform)?;
                Ok(found)
            };
            let found = look().map_err(|error| cannot_pull(&reference, &error))?;
            view.say(&format!("{tag} is {}", found.digest));
            let (digest, manifest) = (found.digest, found.manifest_digest);
            Ok((tag.to_string(), Locked { digest, platform: platform.clone(), manifest }))
        })
    }
}

fn count(tags: usize) -> String {
    if tags == 1 { "1 image".to_owned() } else { format!("{tags} images") }
}

/// The lock that is there; one that cannot be read is not thrown away unasked.
fn existing(path: &Path, name: &str, of: &Path) -> Result<Option<lock::Lock>, CliError> {
    let text = match super::file::read_text(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| error.to_string()),
    };
    text.and_then(|text| lock::Lock::read(&text)).map(Some).map_err(|why| CliError::Usage {
        message: format!("{name} cannot be read: {why}"),
        hint: Some(format!(
            "`podspec lock --update {}` writes it anew",
            output::sanitize(&of.display().to_string())
        )),
    })
}
