//! `POD` and `POD/CONTAINER` on the command line, and finding what they name.

use super::error::CliError;
use crate::names::{ContainerName, PodName};
use crate::state::lock::{Locks, Range};
use crate::state::record::{PodRecord, PodStatus};
use crate::state::store::{Store, boot_id};
use std::str::FromStr;

/// A pod, or one container of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub pod: PodName,
    pub container: Option<ContainerName>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (pod, container) = match word.split_once('/') {
            Some((pod, container)) => (pod, Some(container)),
            None => (word, None),
        };
        let pod = pod.parse().map_err(|error| format!("`{pod}`: {error}"))?;
        let container = container
            .map(|name| name.parse().map_err(|error| format!("`{name}`: {error}")))
            .transpose()?;
        Ok(Self { pod, container })
    }
}

/// The record of a pod that is there, with its status as of now.
pub(super) fn find(store: &Store, name: &PodName) -> Result<PodRecord, CliError> {
    read(store, name)?.ok_or_else(|| {
        CliError::refused(format!("there is no pod `{name}`"), "`podspec ps` lists the pods")
    })
}

/// The record of a pod, with its status as of now; `None` where there is no such pod.
pub(super) fn read(store: &Store, name: &PodName) -> Result<Option<PodRecord>, CliError> {
    let unreadable = |error: &dyn std::error::Error| {
        CliError::host(format!("cannot tell how `{name}` is"), error)
    };
    let Some(mut record) = store.pod(name).read_record().map_err(|error| unreadable(&error))?
    else {
        return Ok(None);
    };
    let boot = boot_id().map_err(|error| unreadable(&error))?;
    if record.boot != boot || !is_supervised(store, name).map_err(|error| unreadable(&error))? {
        record.status = PodStatus::Unsupervised;
    }
    Ok(Some(record))
}

/// Whether a pod's supervisor lives: it holds a lock as long as it does.
pub(super) fn is_supervised(
    store: &Store,
    name: &PodName,
) -> Result<bool, crate::state::StateError> {
    if !store.run.join("lock").exists() {
        return Ok(false);
    }
    Locks::open(&store.run)?.is_held(Range::Life(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_pod_or_a_container_of_one() {
        let target: Target = "shop/web".parse().unwrap();
        assert_eq!(target.container.unwrap().as_str(), "web");
        assert!("shop".parse::<Target>().unwrap().container.is_none());
        for bad in ["", "/", "shop/", "/web", "a/b/c", "../x"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }
}
