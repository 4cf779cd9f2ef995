//! `POD` and `POD/CONTAINER` on the command line, and finding what they name. Beside a ./pod.yaml the pod
//! may be left out: it is the one of that file.

use super::error::CliError;
use super::file::PodFile;
use crate::names::{ContainerName, PodName};
use crate::plan::step::Role;
use crate::spec::problem::nearest;
use crate::state::lock::{Locks, Range};
use crate::state::record::{ContainerRecord, PodRecord, PodStatus};
use crate::state::store::{Store, boot_id};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A pod, or one container of it, as it stands on the command line: `shop`, `shop/web`; `/web` and `/` are
/// of the pod of ./pod.yaml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetArg {
    pod: Option<PodName>,
    container: Option<ContainerName>,
}

/// A pod, or one container of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub pod: PodName,
    pub container: Option<ContainerName>,
}

impl Target {
    pub(super) fn whole(pod: PodName) -> Self {
        Self { pod, container: None }
    }
}

impl From<Target> for TargetArg {
    fn from(target: Target) -> Self {
        Self { pod: Some(target.pod), container: target.container }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TargetArg::from(self.clone()).fmt(f)
    }
}

impl fmt::Display for TargetArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pod = self.pod.as_ref().map_or("", PodName::as_str);
        match &self.container {
            Some(container) => write!(f, "{pod}/{container}"),
            None if pod.is_empty() => f.write_str("/"),
            None => f.write_str(pod),
        }
    }
}

impl FromStr for TargetArg {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (pod, container) = match word.split_once('/') {
            Some(("", "")) => return Ok(Self { pod: None, container: None }),
            Some((pod, container)) => (Some(pod).filter(|pod| !pod.is_empty()), Some(container)),
            None => (Some(word), None),
        };
        let pod = pod
            .map(|name| name.parse().map_err(|error| format!("`{name}`: {error}")))
            .transpose()?;
        let container = container
            .map(|name| name.parse().map_err(|error| format!("`{name}`: {error}")))
            .transpose()?;
        Ok(Self { pod, container })
    }
}

/// What a command for one target was given; nothing is the pod of ./pod.yaml.
pub(super) fn one(given: Option<&TargetArg>) -> Result<Target, CliError> {
    let container = given.and_then(|given| given.container.clone());
    if let Some(pod) = given.and_then(|given| given.pod.clone()) {
        return Ok(Target { pod, container });
    }
    let pods = pods_here()?;
    let [pod] = pods.as_slice() else {
        let names: Vec<&str> = pods.iter().map(PodName::as_str).collect();
        return Err(CliError::Usage {
            message: format!("./pod.yaml holds {} pods: {}", pods.len(), names.join(", ")),
            hint: Some("name the one that is meant".to_owned()),
        });
    };
    Ok(Target { pod: pod.clone(), container })
}

/// What a command for many targets was given; nothing is every pod of ./pod.yaml.
pub(super) fn many(given: &[TargetArg]) -> Result<Vec<Target>, CliError> {
    if given.is_empty() {
        return Ok(pods_here()?.into_iter().map(Target::whole).collect());
    }
    given.iter().map(|target| one(Some(target))).collect()
}

/// Each pod once; with all of its containers where one target is the whole pod.
pub(super) fn by_pod(targets: Vec<Target>) -> Vec<(PodName, Vec<ContainerName>)> {
    let mut pods: Vec<(PodName, Vec<ContainerName>)> = Vec::new();
    for target in targets {
        let wanted: Vec<ContainerName> = target.container.into_iter().collect();
        match pods.iter_mut().find(|(pod, _)| *pod == target.pod) {
            Some((_, known)) if known.is_empty() || wanted.is_empty() => known.clear(),
            Some((_, known)) => known.extend(wanted),
            None => pods.push((target.pod, wanted)),
        }
    }
    pods
}

/// The pods of ./pod.yaml. Only its names are read: a mistake elsewhere in it is no matter here.
pub(super) fn pods_here() -> Result<Vec<PodName>, CliError> {
    const HERE: &str = "pod.yaml";
    if !Path::new(HERE).exists() {
        return Err(CliError::Usage {
            message: "no pod is named, and there is no ./pod.yaml here".to_owned(),
            hint: Some(
                "name the pod (`podspec ps` lists them), or go where its pod.yaml is".to_owned(),
            ),
        });
    }
    PodFile::read(Some(Path::new(HERE)))?.names()
}

/// One container of a pod by its name; a pod of one container needs none.
pub(super) fn container<'r>(
    record: &'r PodRecord,
    name: Option<&ContainerName>,
) -> Result<&'r ContainerRecord, CliError> {
    let pod = &record.name;
    let names: Vec<&str> = record.containers.iter().map(|c| c.name.as_str()).collect();
    let choose = format!("its containers: {}", names.join(", "));
    match (name, record.containers.as_slice()) {
        (Some(name), containers) => containers.iter().find(|c| c.name == *name).ok_or_else(|| {
            let near = nearest(name.as_str(), names.iter().copied());
            let near = near.map(|near| format!("did you mean `{pod}/{near}`? "));
            CliError::refused(
                format!("there is no container `{name}` in pod `{pod}`"),
                near.unwrap_or_default() + &choose,
            )
        }),
        (None, [only]) => Ok(only),
        (None, containers) => {
            // Init containers come first, and have ended long ago.
            let main = containers.iter().find(|c| c.role == Role::Main);
            let like = main.or(containers.first()).map_or("", |c| c.name.as_str());
            let message =
                format!("pod `{pod}` has several containers: name one, as in {pod}/{like}");
            Err(CliError::refused(message, choose))
        }
    }
}

/// The record of a pod that is there, with its status as of now.
pub(super) fn find(store: &Store, name: &PodName) -> Result<PodRecord, CliError> {
    read(store, name)?.ok_or_else(|| {
        CliError::refused(format!("there is no pod `{name}`"), which_are_there(store, name))
    })
}

/// What helps where a name is no pod's: in compose a container goes by its name alone.
pub(super) fn which_are_there(store: &Store, name: &PodName) -> String {
    let has_it = |pod: &PodName| {
        let record = store.pod(pod).read_record().ok().flatten();
        record.is_some_and(|of| of.containers.iter().any(|c| c.name.as_str() == name.as_str()))
    };
    let pods = store.pods().unwrap_or_default();
    if let Some(pod) = pods.iter().find(|pod| has_it(pod)) {
        return format!("it is a container of a pod: `{pod}/{name}`");
    }
    match nearest(name.as_str(), pods.iter().map(PodName::as_str)) {
        Some(near) => format!("did you mean `{near}`? `podspec ps` lists the pods"),
        None => "`podspec ps` lists the pods".to_owned(),
    }
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
        let target = |word: &str| one(Some(&word.parse().unwrap())).unwrap();
        assert_eq!(target("shop/web").container.unwrap().as_str(), "web");
        assert!(target("shop").container.is_none());
        for bad in ["", "shop/", "//", "//web", "a/b/c", "../x", "/web/"] {
            assert!(bad.parse::<TargetArg>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_pod_may_be_left_out() {
        let web: TargetArg = "/web".parse().unwrap();
        assert_eq!((web.pod, web.container.unwrap().as_str()), (None, "web"));
        let whole: TargetArg = "/".parse().unwrap();
        assert_eq!(whole, TargetArg { pod: None, container: None });
    }
}
