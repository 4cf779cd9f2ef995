//! The lock file beside a pod file: which digest each tag of it stood for when it was written, so that the file
//! starts the same everywhere. A tag that is not in it is an error at its place: nothing is looked up behind
//! the back of whoever locked it.

use super::Pod;
use super::model::{PodSpec, Root};
use super::problem::{Problem, Severity};
use crate::names::image::{Digest, ImageReference, Platform, RegistryReference};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The only form that there is so far.
const VERSION: u32 = 1;

/// What stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    /// By the whole name, tag and all.
    images: BTreeMap<String, Locked>,
}

/// What a tag stood for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Of the index or the manifest that the tag named.
    pub digest: Digest,
    /// The platform that was looked at, and its manifest.
    #[serde(with = "word")]
    pub platform: Platform,
    pub manifest: Digest,
}

/// A platform as people write it.
mod word {
    use super::Platform;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(platform: &Platform, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(platform)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Platform, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The tags of a pod, each once; a digest needs no lock, and an image of this machine has no tag that moves
/// behind anybody's back.
pub fn tags(pod: &PodSpec) -> BTreeSet<&RegistryReference> {
    let images = pod.containers.values().filter_map(|container| match &container.root {
        Root::Image(image) => Some(&image.reference),
        _ => None,
    });
    let tags = images.filter_map(|reference| match reference {
        ImageReference::Registry(reference) if reference.digest.is_none() => Some(reference),
        _ => None,
    });
    tags.collect()
}

impl Lock {
    pub fn new(images: BTreeMap<String, Locked>) -> Self {
        Self { version: VERSION, images }
    }

    /// Reads the text of a lock file; what is wrong with it otherwise.
    pub fn read(text: &str) -> Result<Self, String> {
        let lock: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if lock.version != VERSION {
            return Err(format!(
                "it is of version {}, and this podspec knows {VERSION}",
                lock.version
            ));
        }
        Ok(lock)
    }

    /// For people and for version control: a line a value, in the order of the names.
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }

    pub fn find(&self, reference: &RegistryReference) -> Option<&Locked> {
        self.images.get(&reference.to_string())
    }

    /// Puts its digests into the pods. What the file has and the lock has not is an error at its place, what
    /// only the lock has a warning. `name` is the lock's, `file` the pod file's, as the user writes them.
    pub fn apply(&self, pods: &mut [Pod], name: &str, file: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut used = BTreeSet::new();
        for pod in pods.iter_mut() {
            for (container, of_container) in &mut pod.spec.containers {
                let Root::Image(image) = &mut of_container.root else { continue };
                let ImageReference::Registry(reference) = &mut image.reference else { continue };
                if reference.digest.is_some() {
                    continue;
                }
                used.insert(reference.to_string());
                if let Some(locked) = self.find(reference) {
                    reference.digest = Some(locked.digest.clone());
                    continue;
                }
                let place = pod.places.find(&format!("containers.{container}.image"));
                let message = format!("{name} does not know {reference}: it is stale");
                problems.push(
                    Problem::error("P0640", message, place.unwrap_or(0..0), "newer than the lock")
                        .help(format!("`podspec lock {file}` adds what is missing")),
                );
            }
        }
        let superfluous = self.images.keys().filter(|locked| !used.contains(*locked));
        for locked in superfluous {
            let place = pods.first().and_then(|pod| pod.places.find("containers"));
            let message = format!("{name} has {locked}, which the file does not name any more");
            problems.push(
                Problem::error("P0641", message, place.unwrap_or(0..0), "in none of these")
                    .warning()
                    .help(format!("`podspec lock {file}` takes it away")),
            );
        }
        problems.sort_by_key(|problem| (problem.severity == Severity::Warning, problem.start()));
        problems
    }
}

/// A lock file that cannot be used is no lock: nothing starts by it.
pub fn unreadable(pods: &[Pod], name: &str, file: &str, why: &str) -> Problem {
    let place = pods.first().and_then(|pod| pod.places.find("containers"));
    let message = format!("{name} cannot be read");
    Problem::error("P0642", message, place.unwrap_or(0..0), "its images are locked there")
        .help(format!("{why}; `podspec lock --update {file}` writes it anew"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_as_it_was_written_and_no_other() {
        let locked = Locked {
            digest: Digest::of(b"index"),
            platform: "linux/arm/v7".parse().unwrap(),
            manifest: Digest::of(b"manifest"),
        };
        let lock = Lock::new([("docker.io/library/httpd:2.4".to_owned(), locked)].into());
        let text = lock.text();
        assert!(text.contains("\"platform\": \"linux/arm/v7\"") && text.ends_with("}\n"), "{text}");
        assert_eq!(Lock::read(&text), Ok(lock));
        let wrong = |from: &str, to: &str| Lock::read(&text.replace(from, to)).unwrap_err();
        assert!(wrong("\"version\": 1", "\"version\": 2").contains("version 2"));
        assert!(wrong("sha256:", "sha256:../").contains("digits"));
        assert!(wrong("\"manifest\"", "\"other\"").contains("other"));
        assert!(Lock::read("").is_err());
    }
}
