//! `podspec rmi`: removes images, and the layers that no other image has.

use super::error::CliError;
use super::images::{failed, find, unused, usage};
use super::prune::{self, refuse_shared};
use super::unused::Sweep;
use super::{Format, output};
use crate::image::{Image, Store as ImageStore};
use crate::state::store::Store;
use std::process::ExitCode;

/// Remove images
///
/// Layers that another image has stay, and so does an image that a pod uses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec rmi httpd:2.4
  podspec rmi ghcr.io/x/y:1 1f3b2c5d6e7f   names, or the beginnings of ids
  podspec prune --all                     every image that no pod uses")]
pub(super) struct Rmi {
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    /// Names of images, or beginnings of their ids, of six digits or more
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Rmi {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let images = ImageStore::open(&store.data);
        let all = images.images().map_err(|error| failed(&error))?;
        // A name that is wrong removes nothing.
        let wanted = find(&all, &self.images)?;
        refuse_shared(&Sweep::new(store, true)?, store)?;
        let usage = usage(store)?;
        for image in &wanted {
            if let Some(users) = usage.by.get(&image.reference) {
                let users: Vec<&str> = users.iter().map(String::as_str).collect();
                return Err(CliError::refused(
                    format!("cannot remove {}: {} runs from it", image.reference, users.join(", ")),
                    "take the pod down first; nothing was removed",
                ));
            }
        }
        let unwanted = |image: &Image| wanted.contains(image);
        let removed =
            images.remove(unwanted, &usage.trees, false).map_err(|error| failed(&error))?;
        if self.format == Format::Json {
            prune::show(&unused(store, &images, &removed), false, self.format)?;
            return Ok(ExitCode::SUCCESS);
        }
        for name in &removed.images {
            output::done(&format!("{name} is removed"))?;
        }
        output::progress(&format!("freed {}", output::size(removed.bytes())));
        Ok(ExitCode::SUCCESS)
    }
}
