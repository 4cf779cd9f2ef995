//! What a container's root is made of and what is mounted in it: overlays, volumes, and the OCI mounts in
//! the order in which they are made.

use crate::names::{ContainerName, VolumeName};
use crate::plan::facts::HostFacts;
use crate::plan::files::{self, Sources};
use crate::plan::health;
use crate::plan::places::Places;
use crate::plan::step::{Namespace, Overlay, RootLayers, VolumeContent, VolumeStep};
use crate::spec::model::{Container, MountSource, PodSpec, Root, Scope, Shared, Volume};
use oci_spec::runtime::Mount;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Bytes of a /dev/shm.
pub(super) const SHM_SIZE: u64 = 64 << 20;
/// Of the host's root these are new and writable in a container: (where, mode).
const FRESH: [(&str, &str); 3] = [("/run", "755"), ("/tmp", "1777"), ("/var/tmp", "1777")];
/// And these are empty.
const EMPTIED: [&str; 5] = ["/root", "/home", "/boot", "/mnt", "/media"];

/// `at` is `path`, or something below it.
fn covers(path: &Path, at: &Path) -> bool {
    at.starts_with(path)
}

pub(super) fn layers(
    name: &ContainerName,
    container: &Container,
    facts: &HostFacts,
    places: &Places<'_>,
) -> RootLayers {
    // Overlays over podspec's own directories would show the upper layers of all pods as lower ones.
    let ours = [&facts.directories.run, &facts.directories.data];
    let host = Path::new("/");
    let lowers: Vec<(&Path, Vec<PathBuf>)> = match &container.root {
        Root::Directory(directory) => vec![(host, vec![directory.clone()])],
        Root::Image(image) => {
            let known = facts.images.get(&image.reference);
            vec![(host, known.map(|known| known.layers.clone()).unwrap_or_default())]
        }
        Root::Host => {
            let mounts = facts.host_mounts.iter().map(PathBuf::as_path);
            let seen = mounts.filter(|at| !ours.iter().any(|own| covers(own, at)));
            std::iter::once(host).chain(seen).map(|at| (at, vec![at.to_owned()])).collect()
        }
    };
    let overlay = |(n, (at, lower)): (usize, (&Path, Vec<PathBuf>))| {
        let (upper, work) = places.layer(name, n);
        Overlay { at: at.to_owned(), lower, upper, work }
    };
    RootLayers {
        merged: places.merged(name),
        overlays: lowers.into_iter().enumerate().map(overlay).collect(),
    }
}

/// Where a volume is, and what makes it; nothing makes a directory of the host that must exist.
pub(super) fn volume(
    name: &VolumeName,
    volume: &Volume,
    places: &Places<'_>,
) -> (PathBuf, Option<VolumeStep>) {
    let (path, content) = match volume {
        Volume::Persistent => (places.volume_that_stays(name), VolumeContent::Persistent),
        Volume::EmptyDir => (places.volume_of_this_run(name), VolumeContent::EmptyDir),
        Volume::Tmpfs { size } => {
            (places.volume_in_memory(name), VolumeContent::Tmpfs { size: *size })
        }
        Volume::Files { files } => {
            let files = files.iter().map(|(file, text)| (file.clone(), text.clone())).collect();
            (places.volume_in_memory(name), VolumeContent::Files { files })
        }
        Volume::Host { path, create: true } => (path.clone(), VolumeContent::Host),
        Volume::Host { path, create: false } => return (path.clone(), None),
    };
    let step =
        VolumeStep { name: name.to_string(), path: path.clone(), content, parts: Vec::new() };
    (path, Some(step))
}

/// The parts of a volume that containers mount; those of files are what the file says, or missing.
pub(super) fn parts(spec: &PodSpec, volume: &VolumeName) -> Vec<PathBuf> {
    if matches!(spec.volumes.get(volume), Some(Volume::Files { .. })) {
        return Vec::new();
    }
    let mounts = spec.containers.values().flat_map(|container| &container.mounts);
    let parts = mounts.filter_map(|mount| match &mount.source {
        MountSource::Volume { name, sub_path: Some(part) } if name == volume => Some(part.clone()),
        _ => None,
    });
    parts.collect::<BTreeSet<_>>().into_iter().collect()
}

/// What the mounts of a container are made from.
pub(super) struct Mounts<'a> {
    pub(super) spec: &'a PodSpec,
    pub(super) name: &'a ContainerName,
    pub(super) container: &'a Container,
    pub(super) facts: &'a HostFacts,
    pub(super) places: &'a Places<'a>,
    pub(super) sources: Option<&'a Sources>,
    /// The directory of the socket of sd_notify(3).
    pub(super) notify: Option<&'a Path>,
}

impl Mounts<'_> {
    /// What is fresh in the host's root comes before the generated files: there /etc/resolv.conf is often
    /// a link into /run, which a later mount would hide.
    pub(super) fn list(&self) -> Vec<Mount> {
        let mut mounts = kernel(self.container.security.privileged);
        mounts.push(self.shm());
        if self.container.root == Root::Host {
            mounts.extend(self.host_covers());
        }
        let etc = self.sources.into_iter().flat_map(files::binds);
        let mut options = vec!["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"];
        options.extend(self.idmap("idmap"));
        mounts.extend(etc.map(|(from, to)| mount("bind", from, to, &options)));
        mounts.extend(self.users());
        mounts.extend(self.secrets(&options));
        mounts.extend(self.notify.map(|from| {
            let to = Path::new(health::NOTIFY_SOCKET).parent().unwrap_or(Path::new("/"));
            mount("bind", from, to, &["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"])
        }));
        mounts
    }

    fn shm(&self) -> Mount {
        let to = "/dev/shm";
        match self.container.namespaces.get(&Shared::Ipc) {
            Some(Scope::Host) => {
                mount("bind", "/dev/shm", to, &["bind", "nosuid", "noexec", "nodev"])
            }
            None if self.spec.share.contains(&Shared::Ipc) => {
                let mut options = vec!["bind", "nosuid", "noexec", "nodev"];
                options.extend(self.idmap("idmap"));
                mount("bind", self.places.shm(), to, &options)
            }
            _ => {
                let size = format!("size={SHM_SIZE}");
                mount("tmpfs", "shm", to, &["nosuid", "noexec", "nodev", "mode=1777", &size])
            }
        }
    }

    /// Over the host's root: nothing of the host's homes, run-time state and of podspec itself is seen.
    fn host_covers(&self) -> Vec<Mount> {
        let targets: Vec<&Path> =
            self.container.mounts.iter().map(|m| m.target.as_path()).collect();
        let mut covers_made: Vec<Mount> = FRESH
            .iter()
            .map(|(at, mode)| mount("tmpfs", "tmpfs", at, &["nosuid", "nodev", &mode_is(mode)]))
            .collect();
        let hidden = |at: &Path| {
            let fresh = FRESH.iter().map(|(at, _)| *at);
            fresh.chain(EMPTIED).any(|cover| covers(Path::new(cover), at))
        };
        let directories = &self.facts.directories;
        let own = [directories.run.as_path(), directories.data.as_path()];
        let own = own.into_iter().filter(|at| !hidden(at));
        for at in EMPTIED.iter().map(Path::new).chain(own) {
            // A mount point for a volume below it can only be made where one can write.
            let open = targets.iter().any(|target| covers(at, target) && *target != at);
            let access = if open { "rw" } else { "ro" };
            let options = [access, "nosuid", "nodev", "noexec", "mode=755", "size=64k"];
            covers_made.push(mount("tmpfs", "tmpfs", at, &options));
        }
        covers_made
    }

    /// Read-only even for who may write by the mode: what is written there would be nobody's to keep.
    fn secrets(&self, options: &[&str]) -> impl Iterator<Item = Mount> {
        let (name, places) = (self.name, self.places);
        let numbered = self.container.secrets.iter().enumerate();
        numbered.map(move |(n, secret)| {
            mount("bind", places.secrets(name).join(n.to_string()), &secret.target, options)
        })
    }

    /// The file's own mounts, outer before inner.
    fn users(&self) -> Vec<Mount> {
        let mut wanted: Vec<_> = self.container.mounts.iter().collect();
        wanted.sort_by_key(|mount| mount.target.components().count());
        wanted.into_iter().map(|wanted| self.user(wanted)).collect()
    }

    fn user(&self, wanted: &crate::spec::model::Mount) -> Mount {
        let access = if self.read_only(wanted) { "ro" } else { "rw" };
        let bind = |from: PathBuf| {
            let spread = wanted.propagation.option();
            let mut options = vec!["rbind", spread, "nosuid", "nodev", access];
            options.extend(self.idmap("ridmap").filter(|_| wanted.idmap));
            mount("bind", from, &wanted.target, &options)
        };
        match &wanted.source {
            MountSource::Path(path) => bind(path.clone()),
            MountSource::Volume { name, sub_path } => {
                let root = self.volume_path(name);
                bind(sub_path.as_ref().map_or_else(|| root.clone(), |sub| root.join(sub)))
            }
            MountSource::Tmpfs { size } => {
                let size = format!("size={size}");
                let options = ["nosuid", "nodev", "mode=1777", &size, access];
                mount("tmpfs", "tmpfs", &wanted.target, &options)
            }
        }
    }

    /// Files show in the container with the ids that they have outside, and what it makes gets such.
    fn idmap(&self, word: &'static str) -> Option<&'static str> {
        self.spec.maps_ids(self.container).then_some(word)
    }

    fn volume_path(&self, name: &VolumeName) -> PathBuf {
        let known = self.spec.volumes.get(name);
        known.map(|known| volume(name, known, self.places).0).unwrap_or_default()
    }

    fn read_only(&self, wanted: &crate::spec::model::Mount) -> bool {
        let files = match &wanted.source {
            MountSource::Volume { name, .. } => {
                matches!(self.spec.volumes.get(name), Some(Volume::Files { .. }))
            }
            MountSource::Path(_) | MountSource::Tmpfs { .. } => false,
        };
        wanted.read_only || files
    }

    /// Mounts of a part of a volume: target -> the volume's root, which the part must not lead out of.
    /// Another container may have put a link there.
    pub(super) fn beneath(&self) -> BTreeMap<PathBuf, PathBuf> {
        let parts = self.container.mounts.iter().filter_map(|wanted| match &wanted.source {
            MountSource::Volume { name, sub_path: Some(_) } => {
                Some((wanted.target.clone(), self.volume_path(name)))
            }
            _ => None,
        });
        parts.collect()
    }
}

/// The kernel's own file systems, as every container has them; a privileged one may write to them.
fn kernel(privileged: bool) -> Vec<Mount> {
    let quiet = ["nosuid", "noexec", "nodev"];
    let quiet_ro = ["nosuid", "noexec", "nodev", if privileged { "rw" } else { "ro" }];
    let dev = ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    vec![
        mount("proc", "proc", "/proc", &quiet),
        mount("tmpfs", "tmpfs", "/dev", &dev),
        mount("devpts", "devpts", "/dev/pts", &pts),
        mount("sysfs", "sysfs", "/sys", &quiet_ro),
        mount("cgroup2", "cgroup", "/sys/fs/cgroup", &quiet_ro),
        mount("mqueue", "mqueue", "/dev/mqueue", &quiet),
    ]
}

fn mode_is(mode: &str) -> String {
    format!("mode={mode}")
}

fn mount(kind: &str, from: impl Into<PathBuf>, to: impl AsRef<Path>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(to.as_ref().to_owned())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(from.into()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Net => "net",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::User => "user",
            Self::Time => "time",
            Self::Mnt => "mnt",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;
    use crate::spec::model::{Mount as MountSpec, Propagation};

    fn list(change: impl FnOnce(&mut PodSpec, &mut Container, &mut HostFacts)) -> Vec<Mount> {
        let (mut spec, mut facts) = (sample::pod("shop", &["web"]), sample::facts());
        let mut container = sample::container();
        change(&mut spec, &mut container, &mut facts);
        let places = Places::new(&facts.directories, &spec.name);
        let (container, spec, facts) = (&container, &spec, &facts);
        let name = &"web".parse().unwrap();
        let places = &places;
        Mounts { spec, name, container, facts, places, sources: None, notify: None }.list()
    }

    fn at<'a>(mounts: &'a [Mount], target: &str) -> &'a Mount {
        mounts.iter().rfind(|m| m.destination() == Path::new(target)).unwrap()
    }

    fn has(mount: &Mount, option: &str) -> bool {
        mount.options().iter().flatten().any(|o| o == option)
    }

    fn volume_at(name: &str, target: &str) -> MountSpec {
        let source = MountSource::Volume { name: name.parse().unwrap(), sub_path: None };
        let propagation = Propagation::Private;
        MountSpec { source, target: target.into(), read_only: false, idmap: true, propagation }
    }

    #[test]
    fn shm_is_the_pods_where_ipc_is_shared_and_else_the_containers_own() {
        let shared = list(|_, _, _| {});
        let source = at(&shared, "/dev/shm").source().clone().unwrap();
        assert_eq!(source, Path::new("/run/podspec/pods/shop/mnt/shm"));
        let own = list(|spec, _, _| spec.share.clear());
        assert_eq!(at(&own, "/dev/shm").typ().as_deref(), Some("tmpfs"));
        let host = list(|_, c, _| c.namespaces = [(Shared::Ipc, Scope::Host)].into());
        assert_eq!(at(&host, "/dev/shm").source().as_deref(), Some(Path::new("/dev/shm")));
    }

    #[test]
    fn nothing_of_the_host_is_seen_that_is_not_its_system() {
        let mounts = list(|_, c, facts| {
            c.root = Root::Host;
            facts.directories.data = "/var/lib/podspec".into();
        });
        for target in ["/root", "/home", "/boot", "/mnt", "/media", "/var/lib/podspec"] {
            assert!(has(at(&mounts, target), "ro"), "{target}");
        }
        for target in ["/run", "/tmp", "/var/tmp"] {
            assert!(!has(at(&mounts, target), "ro"), "{target}");
        }
        let run = mounts.iter().filter(|m| m.destination().starts_with("/run")).count();
        assert_eq!(run, 1, "the run directory is hidden by /run already");
        let plain = list(|_, _, _| {});
        assert!(!plain.iter().any(|m| m.destination() == Path::new("/root")));
    }

    #[test]
    fn a_volume_below_an_emptied_directory_has_somewhere_to_go() {
        let mounts = list(|spec, c, _| {
            c.root = Root::Host;
            spec.volumes = [("data".parse().unwrap(), Volume::EmptyDir)].into();
            c.mounts = vec![volume_at("data", "/home/app"), volume_at("data", "/mnt")];
        });
        assert!(has(at(&mounts, "/home"), "rw"));
        assert!(has(at(&mounts, "/root"), "ro"));
        assert_eq!(at(&mounts, "/mnt").typ().as_deref(), Some("bind"));
    }

    #[test]
    fn outer_mounts_come_before_inner_ones() {
        let mounts = list(|spec, c, _| {
            spec.volumes = [("v".parse().unwrap(), Volume::Persistent)].into();
            c.mounts = vec![volume_at("v", "/a/b/c"), volume_at("v", "/a"), volume_at("v", "/z")];
        });
        let targets: Vec<_> =
            mounts.iter().map(|m| m.destination().display().to_string()).collect();
        assert_eq!(&targets[targets.len() - 3..], ["/a", "/z", "/a/b/c"]);
    }

    #[test]
    fn files_are_read_only_and_a_part_stays_in_its_volume() {
        let (mut spec, facts) = (sample::pod("shop", &["web"]), sample::facts());
        let mut container = sample::container();
        spec.volumes = [("f".parse().unwrap(), Volume::Files { files: [].into() })].into();
        let mut part = volume_at("f", "/conf");
        part.source =
            MountSource::Volume { name: "f".parse().unwrap(), sub_path: Some("a/b".into()) };
        container.mounts = vec![part];
        let places = Places::new(&facts.directories, &spec.name);
        let mounts = Mounts {
            spec: &spec,
            name: &"web".parse().unwrap(),
            container: &container,
            facts: &facts,
            places: &places,
            sources: None,
            notify: None,
        };
        let list = mounts.list();
        assert!(has(at(&list, "/conf"), "ro"));
        let root = PathBuf::from("/run/podspec/pods/shop/mnt/volumes/f");
        assert_eq!(at(&list, "/conf").source().as_ref(), Some(&root.join("a/b")));
        assert_eq!(mounts.beneath(), [("/conf".into(), root)].into());
    }

    #[test]
    fn the_hosts_root_has_an_overlay_for_each_disk_but_ours() {
        let (spec, mut facts) = (sample::pod("shop", &["web"]), sample::facts());
        let container = Container { root: Root::Host, ..sample::container() };
        facts.host_mounts =
            ["/usr", "/usr/local", "/var", "/var/lib/podspec"].map(PathBuf::from).into();
        let places = Places::new(&facts.directories, &spec.name);
        let root = layers(&"web".parse().unwrap(), &container, &facts, &places);
        let at: Vec<_> = root.overlays.iter().map(|o| o.at.to_str().unwrap()).collect();
        assert_eq!(at, ["/", "/usr", "/usr/local", "/var"]);
        let n: Vec<_> = root.overlays.iter().map(|o| o.upper.display().to_string()).collect();
        assert!(n[3].ends_with("/web.3.upper"), "{n:?}");
    }
}
