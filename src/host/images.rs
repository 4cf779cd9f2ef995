//! What the planner may know of images: their configs, and the few files of their layers that decide who a
//! program is. The layers are hostile, and are read as one tree without being mounted.

use super::{HostError, read_text};
use crate::image::{Image, Store};
use crate::names::image::{ImageReference, Platform};
use crate::plan::facts::{ContainerFacts, ImageFacts};
use crate::spec::model::{PodSpec, Root};
use crate::sys::paths::open_in_root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Links that are followed in one path, as the kernel has it.
const LINKS_MAX: u32 = 40;

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
    let layers = open(&here.trees);
    let is_directory = |path: &&String| {
        matches!(find(&layers, Path::new(path.as_str())), Ok(Some(Found::Directory)))
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
    }
}

/// /etc/passwd and /etc/group as a container will see them.
pub(super) fn account_facts(here: &Here) -> ContainerFacts {
    let mut facts = ContainerFacts::default();
    let layers = open(&here.trees);
    for (file, text) in [("etc/passwd", &mut facts.passwd), ("etc/group", &mut facts.group)] {
        let found = match find(&layers, Path::new(file)) {
            Ok(Some(Found::Other(fd))) => read_text(fd),
            Ok(_) => continue,
            Err(errno) => Err(errno.into()),
        };
        match found {
            Ok(found) => *text = found,
            Err(error) => {
                facts
                    .problems
                    .push(("image".to_owned(), format!("cannot read {file} in it: {error}")));
            }
        }
    }
    facts
}

fn open(trees: &[PathBuf]) -> Vec<File> {
    // One that has gone meanwhile is missed by whoever mounts it.
    trees.iter().filter_map(|tree| File::open(tree).ok()).collect()
}

enum Found {
    Directory,
    /// Opened for reading, whatever it is.
    Other(OwnedFd),
}

/// What a path leads to in layers that lie over each other, as overlayfs merges them.
fn find(layers: &[File], path: &Path) -> Result<Option<Found>, Errno> {
    let mut left: VecDeque<OsString> = names(path).collect();
    // Where the walk is, and which layers have that directory.
    let mut way: Vec<(PathBuf, Vec<usize>)> = vec![(PathBuf::new(), (0..layers.len()).collect())];
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            if way.len() > 1 {
                way.pop();
            }
            continue;
        }
        let Some((here, seen)) = way.last() else { return Ok(None) };
        let at = here.join(&name);
        match look(layers, seen, &at)? {
            Seen::Nothing => return Ok(None),
            Seen::Directory(has) => way.push((at, has)),
            Seen::Link(target) => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                if target.as_bytes().starts_with(b"/") {
                    way.truncate(1);
                }
                for name in names(Path::new(&target)).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(name);
                }
            }
            Seen::Other(layer) if left.is_empty() => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
                let fd = open_in(&layers[layer], &at, flags)?;
                return Ok(Some(Found::Other(fd)));
            }
            Seen::Other(_) => return Ok(None),
        }
    }
    Ok(Some(Found::Directory))
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    let kept = path.components().filter_map(|part| match part {
        std::path::Component::Normal(name) => Some(name.to_owned()),
        std::path::Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    });
    kept.collect::<Vec<_>>().into_iter()
}

enum Seen {
    Nothing,
    /// The layers that have a part of it.
    Directory(Vec<usize>),
    Link(OsString),
    /// The layer that has it.
    Other(usize),
}

fn open_in(layer: &File, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // No link on the way: `find` follows those.
    let how = ResolveFlags::NO_SYMLINKS;
    open_in_root(layer.as_fd(), path, flags, Mode::empty(), how)
}

/// One name, from the topmost layer down to where something hides what is below it.
fn look(layers: &[File], seen: &[usize], at: &Path) -> Result<Seen, Errno> {
    let mut has = Vec::new();
    for &layer in seen {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match open_in_root(
            layers[layer].as_fd(),
            at,
            flags,
            Mode::empty(),
            ResolveFlags::empty(),
        ) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(errno) => return Err(errno),
        };
        let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        match kind {
            _ if whiteout => break,
            FileType::Directory => has.push(layer),
            _ if !has.is_empty() => break,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
                return Ok(Seen::Link(OsStr::from_bytes(target.as_bytes()).to_owned()));
            }
            _ => return Ok(Seen::Other(layer)),
        }
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        let mut value = [0; 1];
        let opaque = rustix::fs::getxattr(path, "trusted.overlay.opaque", &mut value[..]);
        if matches!(opaque, Ok(1)) && value == *b"y" {
            break;
        }
    }
    Ok(if has.is_empty() { Seen::Nothing } else { Seen::Directory(has) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn layers_are_read_as_overlayfs_merges_them() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/tmp")
            .join(format!("layers-{}", std::process::id()));
        let (low, top) = (dir.join("low"), dir.join("top"));
        for path in ["etc", "nix/store", "hidden", "gone"] {
            fs::create_dir_all(low.join(path)).unwrap();
        }
        fs::create_dir_all(top.join("etc")).unwrap();
        fs::create_dir_all(top.join("hidden")).unwrap();
        fs::write(low.join("etc/passwd"), "low").unwrap();
        fs::write(low.join("etc/group"), "group").unwrap();
        fs::write(low.join("nix/store/passwd"), "store").unwrap();
        fs::write(low.join("hidden/file"), "x").unwrap();
        symlink("/nix/../../nix/store/passwd", top.join("etc/passwd")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        symlink("/etc/hostname", top.join("out")).unwrap();
        let none = Mode::empty();
        for name in ["gone", "etc/group"] {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                top.join(name),
                FileType::CharacterDevice,
                none,
                0,
            )
            .unwrap();
        }
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(top.join("hidden"), "trusted.overlay.opaque", b"y", flags).unwrap();
        let layers = open(&[top, low]);
        let text = |path: &str| match find(&layers, Path::new(path)) {
            Ok(Some(Found::Other(fd))) => {
                let mut text = String::new();
                File::from(fd).read_to_string(&mut text).unwrap();
                text
            }
            Ok(Some(Found::Directory)) => "directory".to_owned(),
            Ok(None) => "nothing".to_owned(),
            Err(errno) => errno.to_string(),
        };
        assert_eq!(text("etc/passwd"), "store");
        assert_eq!(text("/etc/group"), "nothing");
        assert_eq!(text("nix/store"), "directory");
        assert_eq!(text("hidden/file"), "nothing");
        assert_eq!(text("gone"), "nothing");
        assert_eq!(text("out"), "nothing", "a link must not lead to the host's file");
        assert!(text("loop").contains("symbolic links"));
        fs::remove_dir_all(dir).unwrap();
    }
}
