//! `podspec pull`: images into the store, all at once.

use super::error::CliError;
use super::file::PodFile;
use super::images::Described;
use super::progress::View;
use super::pulled;
use super::registry::{RegistryOptions, cannot_pull};
use super::{Format, output, signals};
use crate::image::registry::Client;
use crate::image::{Error, Image, Store as ImageStore, local};
use crate::names::image::{ImageReference, Platform};
use crate::state::store::Store;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Images that are fetched at once, each with several layers at once.
const AT_ONCE: usize = 4;

/// Fetch images
///
/// From a registry, or from a layout or an archive on this machine. A tag is looked up anew; layers that are here
/// are not fetched again. What has arrived when a pull is ended by Ctrl-C stays for the next one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec pull httpd:2.4 ghcr.io/x/y:1
  podspec pull shop.yaml                      every image of the file
  podspec pull oci-archive:image.tar          from a file here
  podspec pull --insecure-registry reg.lan:5000 reg.lan:5000/a:b
  podspec pull --format json httpd | jq -r '.[].digest'

Logins are those of `podman login` and `docker login`, with their helpers; authorities of registries are in
/etc/containers/certs.d/HOST:PORT/ca.crt; mirrors in /etc/containers/registries.conf. HTTPS_PROXY, http_proxy and
NO_PROXY count.

Exit code: 0 all are here; 1 one could not be had; 2 a name is none.")]
pub(super) struct Pull {
    /// The platform to pull for, as linux/arm64; that of this machine where it is not given
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    registries: RegistryOptions,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
    /// Names of images; or pod files, for all that they name
    #[arg(required = true, value_name = "IMAGE|FILE")]
    images: Vec<String>,
}

impl Pull {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let mut wanted = Vec::new();
        for word in &self.images {
            for reference in references(word)? {
                if !wanted.contains(&reference) {
                    wanted.push(reference);
                }
            }
        }
        if !rustix::process::geteuid().is_root() {
            return Err(CliError::refused(
                "cannot unpack images: their files have owners",
                "run it as root",
            ));
        }
        let view = View::new();
        let client = self.registries.client(view.notice());
        let platform = self.platform.unwrap_or_else(Platform::host);
        let images = ImageStore::open(&store.data);
        let all = fetch(&images, &wanted, &platform, (&client, &view))?;
        let pulled: Vec<Described> = all.iter().map(Described::new).collect();
        if self.format == Format::Json {
            output::json(&pulled)?;
        } else if pulled.is_empty() {
            output::done("nothing to pull: no image is named")?;
        } else {
            for image in &pulled {
                let size = output::size(image.bytes);
                output::done(&format!("{} is here: {}, {size}", image.reference, image.digest))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The images of a pod file, or the one of this name.
fn references(word: &str) -> Result<Vec<ImageReference>, CliError> {
    let is_path = ["/", "./", "../"].iter().any(|start| word.starts_with(start));
    let is_file = [".yaml", ".yml"].iter().any(|end| word.ends_with(end));
    if word != "-" && !is_path && !is_file {
        return Ok(vec![reference(word)?]);
    }
    let loaded = PodFile::read(Some(Path::new(word)))?.load()?;
    let of_pods = loaded.pods.iter().flat_map(|pod| pulled::wanted([&pod.spec]).into_keys());
    Ok(of_pods.cloned().collect())
}

/// The name of an image, or which part of the word is none.
fn reference(word: &str) -> Result<ImageReference, CliError> {
    let wrong = |why: String| CliError::Usage {
        message: format!("`{}` names no image: {why}", output::sanitize(word)),
        hint: Some(
            "write NAME[:TAG], HOST/NAME@DIGEST, oci:DIR, oci-archive:FILE or docker-archive:FILE"
                .to_owned(),
        ),
    };
    let reference: ImageReference = word
        .parse()
        .map_err(|error: crate::names::image::ReferenceError| wrong(error.to_string()))?;
    let here = std::env::current_dir().map_err(|error| wrong(error.to_string()))?;
    Ok(reference.below(&here))
}

/// All of them, several at once.
pub(super) fn fetch(
    images: &ImageStore,
    wanted: &[ImageReference],
    platform: &Platform,
    (client, view): (&Client, &View),
) -> Result<Vec<Image>, CliError> {
    let all = || {
        each(wanted, |reference| {
            view.say(&format!("pulling {reference}"));
            fetch_one(images, reference, platform, (client, view))
                .map_err(|error| cannot_pull(reference, &error))
        })
    };
    signals::with_last_words(|| view.last_words(), all)
        .map_err(|error| CliError::host("cannot wait for signals", &error))?
}

/// Does the same for each, a few at once; where some fail, all of their errors, in the order of what was wanted.
pub(super) fn each<W: Sync, T: Send>(
    wanted: &[W],
    work: impl Fn(&W) -> Result<T, CliError> + Sync,
) -> Result<Vec<T>, CliError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(wanted.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = wanted.get(index) else { return };
                    let result = work(one);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for (_, result) in results {
        match result {
            Ok(one) => done.push(one),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(done) } else { Err(CliError::all(errors)) }
}

fn fetch_one(
    images: &ImageStore,
    reference: &ImageReference,
    platform: &Platform,
    (client, view): (&Client, &View),
) -> Result<Image, Error> {
    let progress = view.image(reference);
    match (local::open(reference)?, reference) {
        (Some(source), _) => images.fetch(&*source, reference, platform, &progress),
        (None, ImageReference::Registry(named)) => {
            images.fetch(&client.image(named)?, reference, platform, &progress)
        }
        (None, _) => Err(Error::Nonsense {
            what: format!("`{reference}`"),
            why: "nothing on this machine has it".to_owned(),
        }),
    }
}
