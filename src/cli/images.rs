//! `podspec images`: what is in the store of images, and who uses it.

use super::error::CliError;
use super::table::{Cell, Relief, table};
use super::unused::{Kind, Unused};
use super::{Format, output};
use crate::image::{Image, Removed, Store as ImageStore};
use crate::names::image::{Digest, ImageReference};
use crate::plan::step::Step;
use crate::state::store::Store;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

/// List the images that are here
///
/// The size is that of an image's files; layers that images share are on disk once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec images
  podspec images -q            the names alone
  podspec images --digests     to write as NAME@DIGEST in a pod file
  podspec images --format json | jq '.[].reference'")]
pub(super) struct Images {
    /// Also each digest
    #[arg(long)]
    digests: bool,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

/// An image as every command reports it.
#[derive(Debug, Serialize)]
pub(super) struct Described {
    pub(super) reference: String,
    id: Digest,
    pub(super) digest: Digest,
    manifest: Digest,
    platform: String,
    layers: usize,
    pub(super) bytes: u64,
}

/// An image and who uses it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    #[serde(flatten)]
    image: Described,
    fetched_at: String,
    used_by: BTreeSet<String>,
}

/// What pods that are up have of the store.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Directories of layers.
    pub(super) trees: BTreeSet<PathBuf>,
    /// POD/CONTAINER by the name of the image.
    pub(super) by: BTreeMap<ImageReference, BTreeSet<String>>,
}

pub(super) fn failed(error: &crate::image::Error) -> CliError {
    CliError::host("cannot look at the images", error)
}

/// From the plans that the pods were brought up by.
pub(super) fn usage(store: &Store) -> Result<Usage, CliError> {
    let failed =
        |error: &dyn std::error::Error| CliError::host("cannot tell who uses an image", error);
    let mut usage = Usage::default();
    for pod in store.pods().map_err(|error| failed(&error))? {
        let journal = store.pod(&pod).read_journal().map_err(|error| failed(&error))?;
        for planned in journal.into_iter().flat_map(|found| found.header.plan.steps) {
            let Step::CreateContainer(launch) = &planned.step else { continue };
            let Some(image) = &launch.image else { continue };
            let overlays = launch.root.overlays.iter();
            usage.trees.extend(overlays.flat_map(|overlay| overlay.lower.iter().cloned()));
            let user = format!("{pod}/{}", launch.container);
            usage.by.entry(image.reference.clone()).or_default().insert(user);
        }
    }
    Ok(usage)
}

impl Described {
    pub(super) fn new(image: &Image) -> Self {
        Self {
            reference: image.reference.to_string(),
            id: image.id.clone(),
            digest: image.digest.clone(),
            manifest: image.manifest.clone(),
            platform: image.platform.to_string(),
            layers: image.layers.len(),
            bytes: image.bytes(),
        }
    }
}

impl Known {
    pub(super) fn new(image: &Image, usage: &Usage) -> Self {
        let seconds = i64::try_from(image.fetched).unwrap_or_default();
        Self {
            image: Described::new(image),
            fetched_at: Timestamp::from_second(seconds).unwrap_or_default().to_string(),
            used_by: usage.by.get(&image.reference).cloned().unwrap_or_default(),
        }
    }
}

impl Images {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let images = ImageStore::open(&store.data).images().map_err(|error| failed(&error))?;
        let usage = usage(store)?;
        let known: Vec<Known> = images.iter().map(|image| Known::new(image, &usage)).collect();
        if self.format == Format::Json {
            output::json(&known)?;
            return Ok(ExitCode::SUCCESS);
        }
        if output::is_quiet() {
            known.iter().try_for_each(|known| output::line(&known.image.reference))?;
            return Ok(ExitCode::SUCCESS);
        }
        let row = |known: &Known| {
            let mut row = vec![
                Cell::Name(known.image.reference.clone()),
                Cell::Text(known.image.id.short().to_owned()),
                Cell::Number(known.image.layers.to_string()),
                Cell::Number(output::size(known.image.bytes)),
                Cell::List(known.used_by.iter().cloned().collect()),
            ];
            if self.digests {
                row.insert(1, Cell::Text(known.image.digest.to_string()));
            }
            row
        };
        let rows: Vec<Vec<Cell>> = known.iter().map(row).collect();
        let mut heads = vec!["IMAGE", "ID", "LAYERS", "SIZE", "USED BY"];
        if self.digests {
            heads.insert(1, "DIGEST");
        }
        let relief = [Relief::Shrink("USED BY", 16), Relief::Shrink("IMAGE", 24)];
        output::line(&table(&heads, &rows, &relief, output::stdout_width()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The images of these words: names, or beginnings of ids.
pub(super) fn find(images: &[Image], words: &[String]) -> Result<Vec<Image>, CliError> {
    let here = std::env::current_dir()
        .map_err(|error| CliError::host("cannot tell the current directory", &error))?;
    let mut found = Vec::new();
    for word in words {
        let name = word.parse::<ImageReference>().ok().map(|name| name.below(&here));
        let named = |image: &&Image| name.as_ref() == Some(&image.reference);
        let hex = word.strip_prefix("sha256:").unwrap_or(word);
        let has_id = |image: &&Image| hex.len() >= 6 && image.id.hex().starts_with(hex);
        let mut of_word: Vec<Image> = images.iter().filter(named).cloned().collect();
        if of_word.is_empty() {
            of_word = images.iter().filter(has_id).cloned().collect();
        }
        // One image under several names is all of them; two that only begin alike are none.
        if of_word.iter().any(|image| image.id != of_word[0].id) {
            return Err(CliError::refused(
                format!("the ids of several images begin with {}", output::sanitize(word)),
                "write more of the id, or the name: `podspec images` has both",
            ));
        }
        if of_word.is_empty() {
            let shown = name.map_or_else(|| output::sanitize(word), |name| name.to_string());
            return Err(CliError::refused(
                format!("there is no image {shown} here"),
                "`podspec images` lists the images",
            ));
        }
        found.extend(of_word);
    }
    Ok(found)
}

/// What no image needs any more, and with `all` the images that no pod uses, as `prune` reports it.
pub(super) fn prune(store: &Store, all: bool, trial: bool) -> Result<Vec<Unused>, CliError> {
    let images = ImageStore::open(&store.data);
    let usage = usage(store)?;
    let unwanted = |image: &Image| all && !usage.by.contains_key(&image.reference);
    let removed = images.remove(unwanted, &usage.trees, trial).map_err(|error| failed(&error))?;
    Ok(unused(store, &images, &removed))
}

/// What went, or would go, as commands report it.
pub(super) fn unused(store: &Store, images: &ImageStore, removed: &Removed) -> Vec<Unused> {
    let directory = store.data.join("images");
    let mut found: Vec<Unused> = Vec::new();
    for name in &removed.images {
        let (name, path) = (name.to_string(), directory.clone());
        found.push(Unused { kind: Kind::Image, name, path, bytes: 0 });
    }
    for layer in &removed.layers {
        let path = images.tree(&layer.diff_id);
        let name = layer.diff_id.short().to_owned();
        found.push(Unused { kind: Kind::ImageLayer, name, path, bytes: layer.bytes });
    }
    let (count, bytes) = removed.unfinished;
    if count > 0 {
        let name = format!("{count} unfinished");
        found.push(Unused { kind: Kind::ImageLayer, name, path: directory, bytes });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(name: &str, id: &str) -> Image {
        let digest = format!("sha256:{}", id.repeat(64)[..64].to_owned());
        serde_json::from_value(json!({
            "reference": name, "platform": { "os": "linux", "architecture": "amd64" }, "digest": digest, "manifest": digest,
            "id": digest, "layers": [], "config": {}, "fetched": 0
        }))
        .unwrap()
    }

    #[test]
    fn an_image_has_several_names_but_two_images_no_common_id() {
        let images = [image("a", "abcdef0"), image("b", "abcdef1"), image("c", "abcdef0")];
        let found = |word: &str| find(&images, &[word.to_owned()]).map(|found| found.len());
        assert_eq!(found("a").unwrap(), 1);
        assert_eq!(found("abcdef1").unwrap(), 1);
        assert_eq!(found("sha256:abcdef0").unwrap(), 2, "two names of one");
        let error = found("abcdef").unwrap_err();
        assert!(matches!(&error, CliError::Host { message, .. } if message.contains("several")));
        found("abcde").unwrap_err();
    }
}
