//! The images of a pod on their way to `up`: each found in the store, or fetched as its `pullPolicy` says.

use super::error::CliError;
use super::output;
use crate::host::images::{Here, Images, present};
use crate::image::{Error, Hold, Image, Source, Store as ImageStore, local};
use crate::names::image::{ImageReference, Platform};
use crate::spec::model::{PodSpec, PullPolicy, Root};
use crate::state::store::Store;
use std::collections::BTreeMap;

/// Images that are here, and stay here as long as this is kept.
#[derive(Debug, Default)]
pub(super) struct Pulled {
    pub(super) images: Images,
    _hold: Option<Hold>,
}

/// Every image that the pod names once, with the policy that asks for most.
pub(super) fn wanted(pod: &PodSpec) -> BTreeMap<&ImageReference, PullPolicy> {
    let mut wanted = BTreeMap::new();
    for container in pod.containers.values() {
        let Root::Image(image) = &container.root else { continue };
        let policy = wanted.entry(&image.reference).or_insert(image.pull);
        let rank = |policy: PullPolicy| match policy {
            PullPolicy::Never => 0,
            PullPolicy::Missing => 1,
            PullPolicy::Always => 2,
        };
        if rank(image.pull) > rank(*policy) {
            *policy = image.pull;
        }
    }
    wanted
}

/// Those that are here; nobody is asked for the others.
pub(super) fn here(store: &Store, pod: &PodSpec) -> Result<Images, CliError> {
    present(&ImageStore::open(&store.data), pod)
        .map_err(|error| CliError::host("cannot look at the images", &error))
}

/// Says what `up` would fetch; whether some image is not here at all.
pub(super) fn show_missing(pod: &PodSpec, images: &Images) -> Result<bool, CliError> {
    let mut absent = false;
    for (reference, policy) in wanted(pod) {
        let is_here = images.contains_key(reference);
        let what = match (is_here, policy) {
            (true, PullPolicy::Always) => "asks again for",
            (true, _) => continue,
            (false, PullPolicy::Never) => "lacks, and must not fetch,",
            (false, _) => "fetches",
        };
        output::error_line(&format!("pod {}: `up` {what} the image {reference}", pod.name));
        absent |= !is_here;
    }
    if absent {
        output::error_line(
            "the steps depend on what the image says: they are known once it is here",
        );
    }
    Ok(absent)
}

/// All of them, fetched where they must be.
pub(super) fn ensure(store: &Store, pod: &PodSpec) -> Result<Pulled, CliError> {
    let wanted = wanted(pod);
    if wanted.is_empty() {
        return Ok(Pulled::default());
    }
    let images = ImageStore::open(&store.data);
    let failed = |error: &Error| CliError::host("cannot look at the images", error);
    let hold = images.hold().map_err(|error| failed(&error))?;
    let mut pulled = Pulled { images: Images::new(), _hold: Some(hold) };
    for (reference, policy) in wanted {
        let found = images.find(reference, &Platform::host()).map_err(|error| failed(&error))?;
        let image = match (found, policy) {
            (Some(image), PullPolicy::Missing | PullPolicy::Never) => image,
            (None, PullPolicy::Never) => {
                return Err(CliError::refused(
                    format!("the image {reference} is not here, and its `pullPolicy` is `never`"),
                    "`podspec images` lists what is here",
                ));
            }
            (_, PullPolicy::Always) | (None, PullPolicy::Missing) => fetch(&images, reference)?,
        };
        let trees = images.trees(&image);
        pulled.images.insert(reference.clone(), Here { image, trees });
    }
    Ok(pulled)
}

fn fetch(images: &ImageStore, reference: &ImageReference) -> Result<Image, CliError> {
    output::progress(&format!("fetching {reference}"));
    let source = source(reference)?;
    images
        .fetch(&*source, reference, &Platform::host(), &())
        .map_err(|error| cannot_fetch(reference, &error))
}

/// Where the parts of an image come from.
fn source(reference: &ImageReference) -> Result<Box<dyn Source>, CliError> {
    match local::open(reference).map_err(|error| cannot_fetch(reference, &error))? {
        Some(source) => Ok(source),
        None => Err(CliError::refused(
            format!("cannot fetch {reference}: this version of podspec asks no registry"),
            "bring it here with `skopeo copy docker://… oci:./image`, and write `image: oci:./image`",
        )),
    }
}

fn cannot_fetch(reference: &ImageReference, error: &Error) -> CliError {
    CliError::host(format!("cannot fetch the image {reference}"), error)
}
