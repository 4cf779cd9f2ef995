//! Where in the language a value stands: the path in the words of the file, and what kind of thing its
//! keys are of.

use std::fmt;

/// A place in the words of the file: `containers.web.ports[0]`; made to text only for a problem.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Root,
    Key(&'a Self, &'a str),
    Item(&'a Self, usize),
}

/// What a map says something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Pod,
    Container,
    Port,
    Mount,
    Volume,
    SecretMount,
    Dependency,
    Probe,
    Request,
    Resources,
    Security,
    Dns,
    Network,
    PodNamespaces,
    Other,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'a> Place<'a> {
    pub(super) fn subject(&self) -> String {
        if matches!(self, Self::Root) { "a pod".to_owned() } else { format!("`{self}`") }
    }

    /// The key whose value this is; of an item, of its list.
    pub(super) fn key(&self) -> &'a str {
        match self {
            Self::Root => "",
            Self::Key(_, key) => key,
            Self::Item(list, _) => list.key(),
        }
    }

    /// Every step from the root; None: an item of a list.
    pub(super) fn steps(&self) -> Vec<Option<&'a str>> {
        let (mut steps, step) = match *self {
            Self::Root => return Vec::new(),
            Self::Key(parent, key) => (parent.steps(), Some(key)),
            Self::Item(parent, _) => (parent.steps(), None),
        };
        steps.push(step);
        steps
    }

    pub(super) fn thing(&self) -> Thing {
        match self {
            Self::Root => Thing::Pod,
            Self::Key(Self::Key(Self::Root, list), _) => match *list {
                "containers" | "initContainers" => Thing::Container,
                "volumes" => Thing::Volume,
                _ => Thing::Other,
            },
            Self::Item(list, _) => match list.key() {
                "ports" => Thing::Port,
                "volumes" => Thing::Mount,
                "secrets" => Thing::SecretMount,
                _ => Thing::Other,
            },
            Self::Key(Self::Key(_, "dependsOn"), _) => Thing::Dependency,
            Self::Key(Self::Root, "namespaces") => Thing::PodNamespaces,
            Self::Key(_, key) => match *key {
                "startupProbe" | "readinessProbe" | "livenessProbe" => Thing::Probe,
                "http" => Thing::Request,
                "resources" => Thing::Resources,
                "security" => Thing::Security,
                "dns" => Thing::Dns,
                "network" => Thing::Network,
                _ => Thing::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_its_name_and_its_thing() {
        let list = Place::Key(&Place::Root, "containers");
        let web = Place::Key(&list, "resources");
        let (ports, probe) = (Place::Key(&web, "ports"), Place::Key(&web, "startupProbe"));
        let port = Place::Item(&ports, 2);
        assert_eq!(port.to_string(), "containers.resources.ports[2]");
        assert_eq!(port.steps(), [Some("containers"), Some("resources"), Some("ports"), None]);
        // A name is no key of the language.
        let things = [web.thing(), port.thing(), probe.thing(), list.thing()];
        assert_eq!(things, [Thing::Container, Thing::Port, Thing::Probe, Thing::Other]);
    }
}
