//! Where a name leads. Podman's registries.conf (containers-registries.conf(5), its second version) gives a
//! registry, or a part of one, mirrors that are asked first, another place, or none. A name without a registry is
//! docker.io's here, whatever that file says of it.

use super::error::RegistryError;
use super::settings::Settings;
use crate::image::error::shown;
use crate::names::image::{ImageReference, RegistryReference};
use serde::Deserialize;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A file of them.
const MAX: u64 = 1 << 20;

/// Where an image may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub reference: RegistryReference,
    /// Its certificate is not checked, and it may speak plain HTTP.
    pub insecure: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Conf {
    registry: Vec<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Entry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
    /// The file that has it.
    #[serde(skip)]
    of: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: For,
}

/// References that a mirror is asked for.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum For {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

/// The places of an image in the order in which they are asked, one at least.
pub(super) fn find(
    settings: &Settings,
    reference: &RegistryReference,
) -> Result<Vec<Place>, RegistryError> {
    let name = reference.to_string();
    let entries = entries(settings)?;
    let fitting = entries.iter().filter_map(|entry| Some((entry, entry.covers(&name)?)));
    match fitting.max_by_key(|(entry, _)| entry.prefix().len()) {
        Some((entry, length)) => entry.places(reference, &name, length),
        None => Ok(vec![Place { reference: reference.clone(), insecure: false }]),
    }
}

/// Of all files; what a later one says of a prefix is what counts.
fn entries(settings: &Settings) -> Result<Vec<Entry>, RegistryError> {
    let mut entries: Vec<Entry> = Vec::new();
    for file in files(settings)? {
        for entry in read(&file, settings.registries_conf.as_ref() == Some(&file))? {
            entries.retain(|earlier| earlier.prefix() != entry.prefix());
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// One file, then those of the directories, each directory's by name.
fn files(settings: &Settings) -> Result<Vec<PathBuf>, RegistryError> {
    let usual = || settings.registries_confs.iter().find(|path| path.exists());
    let mut files: Vec<PathBuf> =
        settings.registries_conf.as_ref().or_else(usual).cloned().into_iter().collect();
    for dir in &settings.registries_dirs {
        let unreadable = |source| RegistryError::Read { path: dir.clone(), source };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(unreadable));
        let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "conf"));
        paths.sort();
        files.extend(paths);
    }
    Ok(files)
}

fn read(path: &Path, must_be_there: bool) -> Result<Vec<Entry>, RegistryError> {
    let unreadable = |source| RegistryError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(MAX).read_to_string(&mut text).map_err(unreadable)?,
        Err(error) if error.kind() == ErrorKind::NotFound && !must_be_there => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let wrong = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let why = format!("line {line}: {}", error.message().replace('\n', ", "));
        RegistryError::Conf { path: path.to_owned(), why }
    };
    let conf: Conf = toml::from_str(&text).map_err(wrong)?;
    let of_it = conf.registry.into_iter().map(|entry| Entry { of: path.to_owned(), ..entry });
    Ok(of_it.collect())
}

impl Entry {
    fn prefix(&self) -> &str {
        if self.prefix.is_empty() { &self.location } else { &self.prefix }
    }

    /// How much of the name its prefix stands for; None where it is about others.
    fn covers(&self, name: &str) -> Option<usize> {
        let prefix = self.prefix();
        if let Some(domain) = prefix.strip_prefix('*') {
            let host = name.split(['/', ':']).next().unwrap_or_default();
            return (domain.starts_with('.') && host.ends_with(domain)).then_some(host.len());
        }
        let rest = name.strip_prefix(prefix)?;
        let ends = rest.is_empty() || rest.starts_with(['/', ':', '@']);
        (ends && !prefix.is_empty()).then_some(prefix.len())
    }

    fn places(
        &self,
        reference: &RegistryReference,
        name: &str,
        length: usize,
    ) -> Result<Vec<Place>, RegistryError> {
        if self.blocked {
            let (path, prefix) = (self.of.clone(), self.prefix().to_owned());
            return Err(RegistryError::Blocked { path, prefix });
        }
        let by_digest = reference.digest.is_some();
        let asked = |mirror: &&Mirror| match mirror.pull_from_mirror {
            For::All => by_digest || !self.mirror_by_digest_only,
            For::DigestOnly => by_digest,
            For::TagOnly => !by_digest,
        };
        let mirrors = self.mirror.iter().filter(asked);
        let all = mirrors.map(|mirror| (mirror.location.as_str(), mirror.insecure));
        all.chain([(self.location.as_str(), self.insecure)])
            .map(|(location, insecure)| {
                Ok(Place { reference: self.moved(location, name, length)?, insecure })
            })
            .collect()
    }

    /// The name with a location in the place of the prefix.
    fn moved(
        &self,
        location: &str,
        name: &str,
        length: usize,
    ) -> Result<RegistryReference, RegistryError> {
        let rest = &name[length..];
        let moved = if location.is_empty() { name.to_owned() } else { format!("{location}{rest}") };
        let wrong = |why: String| RegistryError::Conf {
            path: self.of.clone(),
            why: format!("the location `{}` leads to no image: {why}", shown(location)),
        };
        // A first part that could be a folder is none of docker.io's here.
        let host = moved.split('/').next().unwrap_or_default();
        let is_host = host.contains(['.', ':']) || host == "localhost";
        match moved.parse() {
            Ok(ImageReference::Registry(moved)) if is_host => Ok(moved),
            Ok(_) => Err(wrong("its registry is a host with a dot or a port".to_owned())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::reference;
    use super::*;
    use std::fs;

    /// Where a name leads, with `!` behind places that are not checked; or why nowhere.
    fn places(files: &[(&str, &str)], name: &str) -> String {
        let dir = std::env::temp_dir().join(format!(
            "podspec-places-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::create_dir_all(dir.join("d")).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        let settings = Settings {
            registries_confs: vec![dir.join("user.conf"), dir.join("conf")],
            registries_dirs: vec![dir.join("d"), dir.join("none")],
            ..Settings::default()
        };
        let found = find(&settings, &reference(name));
        fs::remove_dir_all(&dir).unwrap();
        let shown =
            |place: &Place| format!("{}{}", place.reference, if place.insecure { "!" } else { "" });
        match found {
            Ok(places) => places.iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string().replace(&format!("{}/", dir.display()), ""),
        }
    }

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_counts() {
        let conf = r#"
            unqualified-search-registries = ["quay.io"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "mirror.lan:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "localhost/other"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "docker.io/library/redis"
            location = "own.lan/redis"
            insecure = true
            [[registry]]
            prefix = "*.corp.lan"
            location = "corp.lan:444"
        "#;
        let of = |name: &str| places(&[("conf", conf)], name);
        assert_eq!(
            of("httpd"),
            "mirror.lan:5000/hub/library/httpd:latest! docker.io/library/httpd:latest"
        );
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            of(&format!("httpd@{digest}")),
            format!(
                "mirror.lan:5000/hub/library/httpd@{digest}! localhost/other/library/httpd@{digest} docker.io/library/httpd@{digest}"
            )
        );
        assert_eq!(of("redis:7"), "own.lan/redis:7!");
        assert_eq!(
            of("redis-stack:7"),
            "mirror.lan:5000/hub/library/redis-stack:7! docker.io/library/redis-stack:7"
        );
        assert_eq!(of("a.b.corp.lan/x:1"), "corp.lan:444/x:1");
        assert_eq!(of("evilcorp.lan/x:1"), "evilcorp.lan/x:1");
        assert_eq!(of("quay.io/a/b:1"), "quay.io/a/b:1");
        assert_eq!(of("docker.io.evil.lan/a:1"), "docker.io.evil.lan/a:1");
    }

    #[test]
    fn later_files_win_and_the_users_own_is_instead_of_the_machines() {
        let entry = |location: &str| {
            format!("[[registry]]\nprefix = \"quay.io\"\nlocation = \"{location}\"\n")
        };
        let (a, b, c) = (entry("a.lan"), entry("b.lan"), entry("c.lan"));
        assert_eq!(places(&[("conf", &a)], "quay.io/x:1"), "a.lan/x:1");
        assert_eq!(places(&[("conf", &a), ("user.conf", "")], "quay.io/x:1"), "quay.io/x:1");
        let all = [("conf", a.as_str()), ("d/2.conf", &c), ("d/1.conf", &b), ("d/3.txt", "]")];
        assert_eq!(places(&all, "quay.io/x:1"), "c.lan/x:1");
    }

    #[test]
    fn what_is_blocked_or_makes_no_sense_is_said() {
        let blocked = "[[registry]]\nlocation = \"quay.io\"\nblocked = true\n";
        assert_eq!(places(&[("conf", blocked)], "quay.io/x:1"), "conf blocks `quay.io`");
        assert_eq!(places(&[("conf", blocked)], "ghcr.io/x:1"), "ghcr.io/x:1");
        let wrong = places(&[("conf", "\n[[registry]]\nlocation = 7\n")], "quay.io/x:1");
        assert!(wrong.starts_with("conf cannot be understood: line 3: "), "{wrong}");
        let folder = "[[registry]]\nprefix = \"quay.io\"\nlocation = \"mirror\"\n";
        let wrong = places(&[("conf", folder)], "quay.io/x:1");
        assert!(wrong.contains("`mirror` leads to no image: its registry is a host"), "{wrong}");
    }
}
