//! The layers of an image as one tree, as overlayfs merges them, without a mount. They are hostile: every path
//! is resolved in its layer, and links lead through all layers and never out.

use super::OPAQUE;
use crate::sys::paths::open_in_root;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Links that are followed in one path, as the kernel has it.
const LINKS_MAX: u32 = 40;

/// Layers over each other, the topmost first.
#[derive(Debug)]
pub struct Merged {
    layers: Vec<File>,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    Directory,
    /// Opened for reading, whatever it is.
    Other(OwnedFd),
}

/// The layers that have a part of a directory, by their place in the stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Down to the one that hides what is below it.
    pub visible: Vec<usize>,
    /// And on, as far as it is the same directory with other content.
    pub all: Vec<usize>,
}

enum Seen {
    Nothing,
    Directory(Parts),
    Link(OsString),
    /// The layer that has it.
    Other(usize),
}

impl Merged {
    pub fn open(trees: &[PathBuf]) -> Self {
        // One that has gone meanwhile is missed by whoever mounts it.
        Self { layers: trees.iter().filter_map(|tree| File::open(tree).ok()).collect() }
    }

    /// What a path leads to.
    pub fn find(&self, path: &Path) -> Result<Option<Found>, Errno> {
        let mut left: VecDeque<OsString> = names(path).collect();
        // Where the walk is, and which layers have that directory.
        let mut way: Vec<(PathBuf, Vec<usize>)> =
            vec![(PathBuf::new(), (0..self.layers.len()).collect())];
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
            match self.look(seen, &at)? {
                Seen::Nothing => return Ok(None),
                Seen::Directory(parts) => way.push((at, parts.visible)),
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
                    let flags =
                        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
                    return Ok(Some(Found::Other(self.open_in(layer, &at, flags)?)));
                }
                Seen::Other(_) => return Ok(None),
            }
        }
        Ok(Some(Found::Directory))
    }

    /// The parts of the directory of this name in another; None where there is no directory to be seen.
    pub(super) fn below(&self, parent: &Parts, path: &Path) -> Result<Option<Parts>, Errno> {
        Ok(match self.look(&parent.visible, path)? {
            Seen::Directory(parts) => Some(parts),
            _ => None,
        })
    }

    /// A directory or file of one layer; no link on the way is followed.
    pub(super) fn open_in(
        &self,
        layer: usize,
        path: &Path,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let layer = self.layers.get(layer).ok_or(Errno::NOENT)?;
        open_in_root(layer.as_fd(), path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    }

    /// One name, from the topmost layer down to where something hides what is below it.
    fn look(&self, seen: &[usize], at: &Path) -> Result<Seen, Errno> {
        let mut parts = Parts::default();
        let mut hidden = false;
        for &layer in seen {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let none = ResolveFlags::empty();
            let layer_fd = self.layers[layer].as_fd();
            let fd = match open_in_root(layer_fd, at, flags, Mode::empty(), none) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(errno),
            };
            let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
            match kind {
                _ if whiteout => break,
                FileType::Directory => {
                    parts.all.push(layer);
                    if !hidden {
                        parts.visible.push(layer);
                    }
                }
                _ if !parts.all.is_empty() => break,
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
                    return Ok(Seen::Link(OsStr::from_bytes(target.as_bytes()).to_owned()));
                }
                _ => return Ok(Seen::Other(layer)),
            }
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let mut value = [0; 1];
            let opaque = rustix::fs::getxattr(path, OPAQUE, &mut value[..]);
            hidden |= matches!(opaque, Ok(1)) && value == *b"y";
        }
        Ok(if parts.all.is_empty() { Seen::Nothing } else { Seen::Directory(parts) })
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    let kept = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    });
    kept.collect::<Vec<_>>().into_iter()
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
        let layers = Merged::open(&[top, low]);
        let text = |path: &str| match layers.find(Path::new(path)) {
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
