//! Which ids of the machine are whose: /etc/subuid and /etc/subgid, its accounts, and the leases of pods.

use super::HostError;
use crate::names::PodId;
use crate::plan::facts::{Directories, IdFacts, Span};
use crate::plan::step::IdMaps;
use crate::spec::model::{PodSpec, Scope, Shared};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// To whom an administrator gives the ids of containers, for podman too (containers-storage.conf(5)).
const CONTAINERS: &str = "containers";

/// Nothing is read for a pod without a user namespace.
pub(super) fn facts(pod: &PodSpec, directories: &Directories) -> Result<IdFacts, HostError> {
    if !pod.share.contains(&Shared::User) && !pod.containers.values().any(|c| pod.maps_ids(c)) {
        return Ok(IdFacts::default());
    }
    let (containers_uids, others_uids) = split(&subordinate("/etc/subuid"));
    let (containers_gids, others_gids) = split(&subordinate("/etc/subgid"));
    let mut facts = IdFacts {
        containers_uids,
        containers_gids,
        used_uids: others_uids,
        used_gids: others_gids,
        joined: joined(pod),
    };
    facts.used_uids.extend(accounts("/etc/passwd"));
    facts.used_gids.extend(accounts("/etc/group"));
    let own = PodId::new(&directories.run, &pod.name);
    for maps in leases(&directories.run.join("ids"), own.as_str())? {
        let span =
            |range: &crate::spec::model::IdRange| Span { first: range.host, count: range.count };
        facts.used_uids.extend(maps.uids.iter().map(span));
        facts.used_gids.extend(maps.gids.iter().map(span));
    }
    Ok(facts)
}

/// (owner, ids) of each line. A machine without the file gives nobody anything.
fn subordinate(path: &str) -> Vec<(String, Span)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(subordinate_line).collect()
}

/// `name:first:count` (subuid(5)).
fn subordinate_line(line: &str) -> Option<(String, Span)> {
    let mut fields = line.split(':');
    let owner = fields.next()?.to_owned();
    let span = Span { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
    Some((owner, span))
}

fn split(lines: &[(String, Span)]) -> (Vec<Span>, Vec<Span>) {
    let (ours, others): (Vec<_>, Vec<_>) = lines.iter().partition(|(owner, _)| owner == CONTAINERS);
    let spans = |lines: Vec<&(String, Span)>| lines.into_iter().map(|(_, span)| *span).collect();
    (spans(ours), spans(others))
}

/// The ids of the machine's own users or groups: the third field of each line.
fn accounts(path: &str) -> Vec<Span> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let id = |line: &str| line.split(':').nth(2)?.parse().ok();
    text.lines().filter_map(id).map(|first| Span { first, count: 1 }).collect()
}

fn leases(directory: &Path, own: &str) -> Result<Vec<IdMaps>, HostError> {
    let read = |source| HostError::Read { path: directory.to_owned(), source };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(read(source)),
    };
    let mut leases = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        // Gone meanwhile: given back.
        if entry.file_name() != own
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            leases.push(IdMaps::parse(&text));
        }
    }
    Ok(leases)
}

/// The kernel tells a map only of a process: one that is in the namespace is looked for.
fn joined(pod: &PodSpec) -> BTreeMap<PathBuf, IdMaps> {
    let scopes = pod.containers.values().filter_map(|c| c.namespaces.get(&Shared::User));
    let paths = scopes.filter_map(|scope| match scope {
        Scope::At(path) => Some(path),
        Scope::Private | Scope::Host => None,
    });
    paths.filter_map(|path| Some((path.clone(), maps_of(path)?))).collect()
}

/// Directories of /proc.
fn processes_in(path: &Path) -> impl Iterator<Item = PathBuf> {
    let inode = std::fs::metadata(path).map(|found| found.ino()).ok();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|entry| entry.path()).filter(move |process| {
        let found = std::fs::metadata(process.join("ns/user"));
        found.is_ok_and(|found| Some(found.ino()) == inode)
    })
}

/// As it is for good where somebody without rights has mapped the ids (user_namespaces(7)).
pub(super) fn denies_groups(path: &Path) -> bool {
    let mut words = processes_in(path)
        .filter_map(|process| std::fs::read_to_string(process.join("setgroups")).ok());
    words.next().is_some_and(|word| word.trim() == "deny")
}

pub(super) fn maps_of(path: &Path) -> Option<IdMaps> {
    processes_in(path).find_map(|process| {
        let read = |kind: &str, file: &str| {
            let text = std::fs::read_to_string(process.join(file)).ok()?;
            let words = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            Some(text.lines().map(|line| format!("{kind} {}\n", words(line))).collect::<String>())
        };
        Some(IdMaps::parse(&(read("uid", "uid_map")? + &read("gid", "gid_map")?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_say_nothing_are_left_out() {
        let span = |first, count| Span { first, count };
        let line = |text| subordinate_line(text);
        assert_eq!(
            line("containers:100000:65536"),
            Some(("containers".into(), span(100_000, 65536)))
        );
        for text in ["", "# a", "a:b:c", "a:1", "a:1:99999999999"] {
            assert_eq!(line(text), None, "{text}");
        }
    }

    #[test]
    fn a_lease_says_what_was_taken() {
        let text = "uid 0 524288 65536\ngid 0 600000 10\nnonsense\nuid 1\n";
        let maps = IdMaps::parse(text);
        assert_eq!(maps.to_string(), "uid 0 524288 65536\ngid 0 600000 10\n");
    }
}
