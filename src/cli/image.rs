//! `podspec image inspect`: all that is known of images, as JSON.

use super::error::CliError;
use super::images::{Known, failed, find, usage};
use super::{Format, output};
use crate::image::{Config, Layer, Store as ImageStore};
use crate::state::store::Store;
use serde::Serialize;
use std::process::ExitCode;

/// Show all that is known of images
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  podspec image inspect httpd:2.4 | jq '.[].config.ExposedPorts'")]
pub(super) struct Image {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show images with their config and their layers, as JSON
    #[command(after_help = "Example:\n  podspec image inspect httpd:2.4 | jq '.[].config.Env'")]
    Inspect {
        /// Names of images, or beginnings of their ids, of six digits or more
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// How to report; JSON either way
        #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Json, hide = true)]
        format: Format,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(flatten)]
    known: Known,
    /// As the image has it.
    config: Config,
    layer_list: Vec<Layer>,
}

impl Image {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let Command::Inspect { images: words, .. } = self.command;
        let all = ImageStore::open(&store.data).images().map_err(|error| failed(&error))?;
        let usage = usage(store)?;
        let wanted = find(&all, &words)?;
        let shown = wanted.iter().map(|image| Whole {
            known: Known::new(image, &usage),
            config: image.config.clone(),
            layer_list: image.layers.clone(),
        });
        output::json(&shown.collect::<Vec<_>>())?;
        Ok(ExitCode::SUCCESS)
    }
}
