//! OCI's device rules as the cgroup's: what a document lists, before it nothing, after it what every container has.

use crate::cgroup::DeviceRule;
use crate::plan::EVERYBODYS_DEVICES;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};

/// Of the document itself, in its order.
pub fn rules(resources: &LinuxResources) -> Option<Vec<DeviceRule>> {
    Some(resources.devices().as_ref()?.iter().map(rule).collect())
}

fn rule(rule: &LinuxDeviceCgroup) -> DeviceRule {
    // No number at all, or a negative one, is any.
    let number = |number: Option<i64>| i32::try_from(number?).ok().filter(|number| *number >= 0);
    let access = rule.access().as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
    DeviceRule {
        allow: rule.allow(),
        kind: match rule.typ() {
            Some(LinuxDeviceType::B) => Some('b'),
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some('c'),
            _ => None,
        },
        major: number(rule.major()),
        minor: number(rule.minor()),
        read: access.contains('r'),
        write: access.contains('w'),
        make: access.contains('m'),
    }
}

/// As other runtimes have it: a document that lists nothing allows nothing but these.
pub fn of_document(resources: Option<&LinuxResources>) -> Vec<DeviceRule> {
    let any = DeviceRule {
        allow: false,
        kind: None,
        major: None,
        minor: None,
        read: true,
        write: true,
        make: true,
    };
    let listed = resources.and_then(rules).unwrap_or_default();
    let everybodys = EVERYBODYS_DEVICES.map(|(major, minor)| DeviceRule {
        allow: true,
        kind: Some('c'),
        major: Some(major),
        minor,
        ..any.clone()
    });
    // A node can be made of whatever cannot be used (mknod of images), where the capability is.
    let nodes = ['b', 'c'].map(|kind| DeviceRule {
        allow: true,
        kind: Some(kind),
        read: false,
        write: false,
        ..any.clone()
    });
    [any].into_iter().chain(listed).chain(nodes).chain(everybodys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_container_has_comes_last() {
        let rules = of_document(None);
        assert!(!rules[0].allow && rules[0].kind.is_none());
        assert!(rules.last().is_some_and(|rule| rule.allow && rule.major == Some(136)));
        let resources: LinuxResources = serde_json::from_str(
            r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]}"#,
        )
        .unwrap();
        let fuse = &of_document(Some(&resources))[1];
        assert!(fuse.allow && fuse.read && !fuse.make && fuse.minor == Some(229));
    }
}
