//! The images of a pod on their way to `up`: each found in the store, or fetched as its `pullPolicy` says.

use super::error::CliError;
use super::output;
use super::progress::View;
use super::pull;
use super::registry::RegistryOptions;
use crate::host::images::{Here, Images, present};
use crate::image::{Error, Hold, Image, Store as ImageStore};
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

/// All of them, fetched where they must be, several at once. Nobody is asked for what is here.
pub(super) fn ensure(
    store: &Store,
    pod: &PodSpec,
    registries: &RegistryOptions,
) -> Result<Pulled, CliError> {
    let wanted = wanted(pod);
    if wanted.is_empty() {
        return Ok(Pulled::default());
    }
    let images = ImageStore::open(&store.data);
    let platform = Platform::host();
    let failed = |error: &Error| CliError::host("cannot look at the images", error);
    let hold = images.hold().map_err(|error| failed(&error))?;
    let mut pulled = Pulled { images: Images::new(), _hold: Some(hold) };
    let mut all: Vec<Image> = Vec::new();
    let mut absent: Vec<ImageReference> = Vec::new();
    for (reference, policy) in wanted {
        let found = images.find(reference, &platform).map_err(|error| failed(&error))?;
        match (found, policy) {
            (Some(image), PullPolicy::Missing | PullPolicy::Never) => all.push(image),
            (None, PullPolicy::Never) => {
                return Err(CliError::refused(
                    format!("the image {reference} is not here, and its `pullPolicy` is `never`"),
                    "`podspec images` lists what is here",
                ));
            }
            (_, PullPolicy::Always) | (None, PullPolicy::Missing) => absent.push(reference.clone()),
        }
    }
    if !absent.is_empty() {
        let view = View::new();
        let client = registries.client(view.notice());
        all.extend(pull::fetch(&images, &absent, &platform, (&client, &view))?);
    }
    for image in all {
        let trees = images.trees(&image);
        pulled.images.insert(image.reference.clone(), Here { image, trees });
    }
    Ok(pulled)
}
