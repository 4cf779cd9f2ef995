//! What the planner may know of images: their configs, and the few files of their layers that decide who a
//! program is.

use super::{HostError, read_text, unreadable};
use crate::image::{Found, Image, Merged, Store};
use crate::names::image::{ImageReference, Platform};
use crate::plan::facts::{ContainerFacts, ImageFacts, ImageHealth};
use crate::spec::model::{PodSpec, Root};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An image of the store with the trees of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    pub image: Image,
    /// The topmost first.
    pub trees: Vec<PathBuf>,
}

/// Images by the names that the pod has for them.
pub type Images = BTreeMap<ImageReference, Here>;

/// Those of the pod's images that are in the store.
pub fn present(store: &Store, pod: &PodSpec) -> Result<Images, HostError> {
    let mut images = Images::new();
    for container in pod.containers.values() {
        let Root::Image(wanted) = &container.root else { continue };
        if images.contains_key(&wanted.reference) {
            continue;
        }
        let found = store.find(&wanted.reference, &Platform::host()).map_err(HostError::Image)?;
        if let Some(image) = found {
            let trees = store.trees(&image);
            images.insert(wanted.reference.clone(), Here { image, trees });
        }
    }
    Ok(images)
}

pub(super) fn facts(here: &Here) -> ImageFacts {
    let config = &here.image.config;
    let layers = Merged::open(&here.trees);
    let is_directory = |path: &&String| {
        matches!(layers.find(Path::new(path.as_str())), Ok(Some(Found::Directory)))
    };
    ImageFacts {
        digest: here.image.digest.clone(),
        layers: here.trees.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        user: config.user.clone(),
        stop_signal: config.stop_signal.clone(),
        missing_volumes: config
            .volumes
            .iter()
            .filter(|path| !is_directory(path))
            .cloned()
            .collect(),
        exposed_ports: config.exposed_ports.clone(),
        healthcheck: config.healthcheck.as_ref().map(|check| ImageHealth {
            test: check.test.clone(),
            interval: Duration::from_nanos(check.interval),
            timeout: Duration::from_nanos(check.timeout),
            retries: check.retries,
        }),
    }
}

/// /etc/passwd and /etc/group as a container will see them.
pub(super) fn account_facts(here: &Here) -> Result<ContainerFacts, HostError> {
    let mut facts = ContainerFacts::default();
    let layers = Merged::open(&here.trees);
    for (file, text) in [("etc/passwd", &mut facts.passwd), ("etc/group", &mut facts.group)] {
        let found = match layers.find(Path::new(file)) {
            Ok(Some(Found::Other(fd))) => read_text(fd),
            Ok(_) => continue,
            Err(errno) => Err(errno.into()),
        };
        match found {
            Ok(found) => *text = found,
            Err(error) => {
                let root = here.trees.first().map_or(Path::new("/"), |tree| tree);
                facts.problems.push(("image".to_owned(), unreadable(file, root, error)?));
            }
        }
    }
    Ok(facts)
}
