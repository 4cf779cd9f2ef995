//! The images of pods on their way to `up`: each found in the store, or fetched as its `pullPolicy` says.

use super::error::CliError;
use super::output;
use super::progress::View;
use super::pull;
use super::registry::RegistryOptions;
use crate::host::images::{Here, Images, present};
use crate::image::{Error, Hold, Image, Store as ImageStore};
use crate::names::PodName;
use crate::names::image::{Digest, ImageReference, Platform};
use crate::spec::model::{PodSpec, PullPolicy, Root};
use crate::state::record::PodRecord;
use crate::state::store::Store;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Images that are here, and stay here as long as this is kept.
#[derive(Debug, Default)]
pub(super) struct Pulled {
    pub(super) images: Images,
    _hold: Option<Hold>,
}

/// Brings the images of one command's pods here. What a name stands for is asked once, for all of them.
#[derive(Debug)]
pub(super) struct Puller<'a> {
    store: &'a Store,
    registries: &'a RegistryOptions,
    /// In the place of what the file says.
    policy: Option<PullPolicy>,
    known: RefCell<BTreeMap<ImageReference, Image>>,
}

/// A `pullPolicy` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PullChoice {
    // Not doc comments: clap would make a page of them.
    Missing,
    Always,
    Never,
}

impl PullChoice {
    pub(super) fn policy(self) -> PullPolicy {
        match self {
            Self::Missing => PullPolicy::Missing,
            Self::Always => PullPolicy::Always,
            Self::Never => PullPolicy::Never,
        }
    }
}

/// Every image that the pods name once, with the policy that asks for most.
pub(super) fn wanted<'p>(
    pods: impl IntoIterator<Item = &'p PodSpec>,
) -> BTreeMap<&'p ImageReference, PullPolicy> {
    let mut wanted = BTreeMap::new();
    for container in pods.into_iter().flat_map(|pod| pod.containers.values()) {
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

/// An image of a pod, and what `up` does about it.
#[derive(Debug, Serialize)]
pub(super) struct Wanted<'p> {
    reference: &'p ImageReference,
    /// Of the one that is here.
    digest: Option<Digest>,
    up: Does,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Does {
    Takes,
    Asks,
    Fetches,
    Lacks,
}

impl<'p> Wanted<'p> {
    pub(super) fn of(pod: &'p PodSpec, images: &Images) -> Vec<Self> {
        let all = wanted([pod]).into_iter();
        all.map(|(reference, policy)| {
            let digest = images.get(reference).map(|here| here.image.digest.clone());
            let up = match (&digest, policy) {
                (Some(_), PullPolicy::Always) => Does::Asks,
                (Some(_), _) => Does::Takes,
                (None, PullPolicy::Never) => Does::Lacks,
                (None, _) => Does::Fetches,
            };
            Self { reference, digest, up }
        })
        .collect()
    }

    pub(super) fn is_absent(&self) -> bool {
        self.digest.is_none()
    }

    /// What there is to say of it, where there is.
    fn words(&self) -> Option<String> {
        let does = match self.up {
            Does::Takes => return None,
            Does::Asks => "asks again for",
            Does::Fetches => "fetches",
            Does::Lacks => "lacks, and must not fetch,",
        };
        Some(format!("`up` {does} the image {}", self.reference))
    }
}

/// Says what `up` would fetch.
pub(super) fn show(pod: &PodSpec, wanted: &[Wanted<'_>]) {
    for words in wanted.iter().filter_map(Wanted::words) {
        output::error_line(&format!("pod {}: {words}", pod.name));
    }
    if wanted.iter().any(Wanted::is_absent) {
        output::error_line(
            "the steps depend on what the image says: they are known once it is here",
        );
    }
}

impl<'a> Puller<'a> {
    pub(super) fn new(
        store: &'a Store,
        registries: &'a RegistryOptions,
        policy: Option<PullPolicy>,
    ) -> Self {
        Self { store, registries, policy, known: RefCell::default() }
    }

    pub(super) fn has_pod(&self, name: &PodName) -> bool {
        self.store.pod(name).exists()
    }

    /// All of them, fetched where they must be, several at once. Nobody is asked for what is here.
    pub(super) fn ensure<'p>(
        &self,
        pods: impl IntoIterator<Item = &'p PodSpec>,
    ) -> Result<Pulled, CliError> {
        let wanted = wanted(pods);
        if wanted.is_empty() {
            return Ok(Pulled::default());
        }
        let images = ImageStore::open(&self.store.data);
        let platform = Platform::host();
        let failed = |error: &Error| CliError::host("cannot look at the images", error);
        let hold = images.hold().map_err(|error| failed(&error))?;
        let mut known = self.known.borrow_mut();
        let mut absent: Vec<ImageReference> = Vec::new();
        for (reference, policy) in &wanted {
            if known.contains_key(*reference) {
                continue;
            }
            let found = images.find(reference, &platform).map_err(|error| failed(&error))?;
            match (found, self.policy.unwrap_or(*policy)) {
                (Some(image), PullPolicy::Missing | PullPolicy::Never) => {
                    known.insert(image.reference.clone(), image);
                }
                (None, PullPolicy::Never) => return Err(not_here(reference)),
                (_, PullPolicy::Always) | (None, PullPolicy::Missing) => {
                    absent.push((*reference).clone());
                }
            }
        }
        if !absent.is_empty() {
            let view = View::new();
            let client = self.registries.client(view.notice());
            let fetched = pull::fetch(&images, &absent, &platform, (&client, &view))?;
            known.extend(fetched.into_iter().map(|image| (image.reference.clone(), image)));
        }
        let here = |image: &Image| Here { image: image.clone(), trees: images.trees(image) };
        let all = wanted.into_keys().filter_map(|reference| known.get(reference));
        let images = all.map(|image| (image.reference.clone(), here(image))).collect();
        Ok(Pulled { images, _hold: Some(hold) })
    }
}

fn not_here(reference: &ImageReference) -> CliError {
    CliError::refused(
        format!("the image {reference} is not here, and its pull policy is `never`"),
        format!("`podspec pull {reference}` fetches it, `podspec images` lists what is here"),
    )
}

/// Containers of a pod that runs whose images were others when it started.
pub(super) fn moved(record: &PodRecord, images: &Images) -> Vec<String> {
    let runs = record.containers.iter().filter_map(|container| {
        let runs = container.image.as_ref()?;
        let now = &images.get(&runs.reference)?.image.digest;
        (*now != runs.digest).then(|| {
            format!("containers.{}.image: {} is another image now", container.name, runs.reference)
        })
    });
    runs.collect()
}
