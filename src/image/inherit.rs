//! Directories that a layer has entries in and says nothing of. Where layers are applied to one tree such a
//! directory stays as the layers below made it; in an overlay the topmost layer's attributes count, and those
//! were made up. A layer is shared by images with other layers below it, so the truth can be in none of them:
//! an image that needs it gets one small tree more, on top, which has these directories and nothing in them.
//!
//! The same tree mends what an overlay shows of deletions: in a directory that one layer alone has, the kernel lists
//! the names that are deleted in it, for it looks for deletions only where it merges.

use super::merged::{Merged, Parts};
use super::store::{Layer, Store, overlay_order};
use super::tar::Entry;
use super::unpack::dress;
use super::{Error, OPAQUE};
use crate::names::image::Digest;
use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tar::EntryType;

/// What else there is to know of a layer's directories; beside its tree, a file for each that is not empty, with a
/// zero byte after each path.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// No entry describes them.
    pub implied: BTreeSet<PathBuf>,
    /// Something is deleted in them.
    pub deleting: BTreeSet<PathBuf>,
}

const IMPLIED: &str = "implied";
const DELETING: &str = "deleting";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Notes {
    pub(super) fn write(&self, place: &Path) -> Result<(), Error> {
        for (name, paths) in [(IMPLIED, &self.implied), (DELETING, &self.deleting)] {
            if paths.is_empty() {
                continue;
            }
            let path = place.join(name);
            let text: Vec<u8> = paths
                .iter()
                .flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat())
                .collect();
            fs::write(&path, text).map_err(|source| Error::File { what: "write", path, source })?;
        }
        Ok(())
    }

    fn read(place: &Path) -> Result<Self, Error> {
        Ok(Self {
            implied: read_paths(place.join(IMPLIED))?,
            deleting: read_paths(place.join(DELETING))?,
        })
    }
}

fn read_paths(path: PathBuf) -> Result<BTreeSet<PathBuf>, Error> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(source) => return Err(Error::File { what: "read", path, source }),
    };
    let mut paths = text.split(|byte| *byte == 0).collect::<Vec<_>>();
    paths.pop();
    Ok(paths.into_iter().map(|path| OsString::from_vec(path.to_vec()).into()).collect())
}

/// A stack of layers, and what there is to know of each.
struct Stack {
    /// Of layers, the topmost first.
    merged: Merged,
    notes: Vec<Notes>,
    /// Directories that were looked for, the root first of all; None where there is none.
    known: HashMap<PathBuf, Option<Parts>>,
}

impl Store {
    /// What stands for the tree of these layers, the lowest first.
    pub(super) fn chain(layers: &[Layer]) -> Digest {
        let ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        Digest::of(ids.join(" ").as_bytes())
    }

    /// Makes the tree of directories that these layers need over them; whether they need one.
    pub(super) fn inherit(&self, layers: &[Layer]) -> Result<bool, Error> {
        let folder = |layer: &Layer| self.path("layers").join(layer.diff_id.hex());
        let ordered = overlay_order(layers);
        let notes = ordered.iter().map(|layer| Notes::read(&folder(layer)));
        let notes = notes.collect::<Result<Vec<_>, _>>()?;
        // The lowest has nobody to inherit from.
        let silent = notes.iter().rev().skip(1).all(|notes| notes.implied.is_empty());
        if silent && notes.iter().all(|notes| notes.deleting.is_empty()) {
            return Ok(false);
        }
        let trees: Vec<PathBuf> = ordered.iter().map(|layer| self.tree(&layer.diff_id)).collect();
        let all: Vec<usize> = (0..trees.len()).collect();
        let last = ordered.iter().position(|layer| layer.opaque).unwrap_or(trees.len());
        let visible = all.iter().copied().take_while(|index| *index <= last).collect();
        // The root is one directory in all of them: overlayfs asks nothing of it.
        let known = HashMap::from([(PathBuf::new(), Some(Parts { visible, all }))]);
        let mut stack = Stack { merged: Merged::open(&trees), notes, known };
        let failed = |errno: Errno| Error::File {
            what: "compare the directories of",
            path: self.path("layers"),
            source: errno.into(),
        };
        let wanted = stack.wanted().map_err(failed)?;
        if wanted.is_empty() {
            return Ok(false);
        }
        let chain = Self::chain(layers);
        let _lock = self.lock_layer(&chain, || {})?;
        let whole = self.path("inherited").join(chain.hex());
        if whole.is_dir() {
            return Ok(true);
        }
        let new = self.path("tmp").join(chain.hex());
        self.take_away(&new)?;
        let file =
            |path: &Path, source| Error::File { what: "make", path: path.to_owned(), source };
        let make = || -> io::Result<()> {
            DirBuilder::new().mode(0o700).create(&new)?;
            DirBuilder::new().mode(0o700).create(new.join("tree"))?;
            let root = File::open(new.join("tree"))?;
            make_tree(root.as_fd(), &wanted)?;
            rustix::fs::syncfs(&root)?;
            fs::rename(&new, &whole)?;
            File::open(self.path("inherited"))?.sync_all()
        };
        make().map_err(|source| file(&whole, source))?;
        Ok(true)
    }
}

impl Stack {
    /// Every directory that an overlay would not show as it is, with those on the way to it.
    fn wanted(&mut self) -> Result<BTreeMap<PathBuf, Entry>, Errno> {
        let of_all = |paths: fn(&Notes) -> &BTreeSet<PathBuf>| -> BTreeSet<PathBuf> {
            self.notes.iter().flat_map(paths).cloned().collect()
        };
        let (implied, deleting) = (of_all(|notes| &notes.implied), of_all(|notes| &notes.deleting));
        let mut wanted = BTreeMap::new();
        for path in implied.union(&deleting) {
            let shows_deleted = deleting.contains(path) && self.shows_deleted(path)?;
            if !shows_deleted && !self.is_other(path)? {
                continue;
            }
            // An ancestor would be seen as it is in the new tree.
            for path in path.ancestors() {
                if wanted.contains_key(path) {
                    break;
                }
                if let Some((own, _)) = self.both(path)? {
                    wanted.insert(path.to_owned(), own);
                }
            }
        }
        Ok(wanted)
    }

    /// Whether it is not as its topmost layer has it.
    fn is_other(&mut self, path: &Path) -> Result<bool, Errno> {
        let Some((own, topmost)) = self.both(path)? else { return Ok(false) };
        let other_time = own.modified != topmost.modified && !path.as_os_str().is_empty();
        Ok(other_time
            || own.mode != topmost.mode
            || (own.uid, own.gid) != (topmost.uid, topmost.gid)
            || own.xattrs != topmost.xattrs)
    }

    /// Whether nothing is merged in it, and the layer that has it deletes something there.
    fn shows_deleted(&mut self, path: &Path) -> Result<bool, Errno> {
        let Some(parts) = self.parts(path)? else { return Ok(false) };
        let [alone] = parts.visible[..] else { return Ok(false) };
        Ok(self.notes[alone].deleting.contains(path))
    }

    /// What the directory is like, and what its topmost layer says; None where it cannot be seen.
    fn both(&mut self, path: &Path) -> Result<Option<(Entry, Entry)>, Errno> {
        let Some(parts) = self.parts(path)? else { return Ok(None) };
        let Some(topmost) = parts.visible.first() else { return Ok(None) };
        let described = parts.all.iter().find(|layer| !self.notes[**layer].implied.contains(path));
        let read = |layer: usize| read(self.merged.open_in(layer, path, DIRECTORY)?.as_fd());
        Ok(Some((read(*described.unwrap_or(topmost))?, read(*topmost)?)))
    }

    /// From the nearest parent that is known to one after the other, so that none is looked for twice.
    fn parts(&mut self, path: &Path) -> Result<Option<Parts>, Errno> {
        let unknown: Vec<&Path> =
            path.ancestors().take_while(|path| !self.known.contains_key(*path)).collect();
        for path in unknown.into_iter().rev() {
            let parent = path.parent().and_then(|parent| self.known.get(parent)?.as_ref());
            let parts = match parent {
                Some(parent) => self.merged.below(parent, path)?,
                None => None,
            };
            self.known.insert(path.to_owned(), parts);
        }
        Ok(self.known.get(path).cloned().flatten())
    }
}

/// A directory as an archive would have it.
fn read(directory: BorrowedFd<'_>) -> Result<Entry, Errno> {
    let stat = rustix::fs::fstat(directory)?;
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::flistxattr(directory, &mut names[..])?;
    let mut xattrs = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name == OPAQUE.as_bytes() || !super::unpack::is_an_images(name) {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(directory, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(length);
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort();
    Ok(Entry {
        name: Vec::new(),
        link: Vec::new(),
        kind: EntryType::Directory,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        },
        device: (0, 0),
        xattrs,
        size: 0,
        sparse: None,
    })
}

/// Nobody else has the tree, and no link is in it.
fn make_tree(root: BorrowedFd<'_>, wanted: &BTreeMap<PathBuf, Entry>) -> io::Result<()> {
    let open = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        rustix::fs::openat(root, path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
    };
    for (path, entry) in wanted {
        if !path.as_os_str().is_empty() {
            rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o700))?;
        }
        dress(open(path)?.as_fd(), entry).map_err(io::Error::other)?;
    }
    // The deepest first: what is made in a directory changes its time.
    for (path, entry) in wanted.iter().rev() {
        let directory = open(path)?;
        let times = Timestamps { last_access: entry.modified, last_modification: entry.modified };
        rustix::fs::futimens(&directory, &times)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Layer, Made, Place, header};
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn directory(layer: Layer, name: &str, mode: u32, owner: u64) -> Layer {
        let mut header = header(EntryType::Directory, name.as_bytes(), "", 0);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_mtime(1_234_567_890);
        header.set_cksum();
        layer.pax(&[("SCHILY.xattr.user.note", b"hello")]).raw(&header, b"")
    }

    fn seen(path: &Path) -> (u32, u32, i64) {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.mtime())
    }

    #[test]
    fn a_shared_layer_has_in_each_image_the_directories_of_the_layers_below() {
        let place = Place::new("inherit");
        let base = |mode| {
            let layer = directory(Layer::default(), "a", mode, 33);
            directory(layer, "a/b", 0o1777, 44).end()
        };
        let upper = Layer::default().file("a/b/c/new", "x").end();
        let told = Layer::default().file("other", "x").end();
        let one = Made::of(&[base(0o750), upper.clone(), told]);
        let one = place.fetch(&one, "one").unwrap();
        let two = place.fetch(&Made::of(&[base(0o711), upper.clone()]), "two").unwrap();
        for (image, layers, mode) in [(&one, 3, 0o750), (&two, 2, 0o711)] {
            let trees = place.store.trees(image);
            assert_eq!(trees.len(), layers + 1);
            assert_eq!(seen(&trees[0].join("a")), (mode, 33, 1_234_567_890));
            assert_eq!(seen(&trees[0].join("a/b")), (0o1777, 44, 1_234_567_890));
            // Nobody says what `c` is like.
            assert!(!trees[0].join("a/b/c").exists());
            let mut note = [0; 8];
            let read = rustix::fs::getxattr(trees[0].join("a/b"), "user.note", &mut note[..]);
            assert_eq!((read, &note[..5]), (Ok(5), &b"hello"[..]));
        }
        // The layers themselves are one, and what an image needs beside them goes with it.
        assert_eq!(fs::read_dir(place.store.path("layers")).unwrap().count(), 4);
        let name = one.reference.clone();
        place.store.remove(|image| image.reference == name, &BTreeSet::new(), false).unwrap();
        assert_eq!(fs::read_dir(place.store.path("inherited")).unwrap().count(), 1);
        let found = place.store.find(&two.reference, &two.platform).unwrap();
        assert_eq!(found.as_ref(), Some(&two));
        fs::remove_dir_all(place.store.trees(&two)[0].parent().unwrap()).unwrap();
        assert_eq!(place.store.find(&two.reference, &two.platform).unwrap(), None);
    }

    #[test]
    fn what_hides_or_describes_a_directory_has_nothing_to_inherit() {
        let place = Place::new("inherit-not");
        let base = directory(Layer::default(), "d", 0o700, 33).end();
        let deleted = Layer::default().file(".wh.d", "").end();
        let upper = Layer::default().file("d/new", "x");
        let cases: [(&str, Vec<Vec<u8>>); 7] = [
            ("alone", vec![upper.clone().end()]),
            ("deleted below", vec![base.clone(), deleted.clone(), upper.clone().end()]),
            (
                "deleted before",
                vec![base.clone(), Layer::default().file(".wh.d", "").file("d/new", "x").end()],
            ),
            ("deleted after", vec![base.clone(), upper.clone().file(".wh.d", "").end()]),
            ("described after", vec![base.clone(), upper.clone().directory("d").end()]),
            ("deleted above", vec![base.clone(), upper.clone().end(), deleted]),
            (
                "no directory above",
                vec![base.clone(), upper.clone().end(), Layer::default().file("d", "x").end()],
            ),
        ];
        for (index, (name, layers)) in cases.into_iter().enumerate() {
            let image = place.fetch(&Made::of(&layers), &format!("not:{index}")).unwrap();
            assert!(!image.inherits, "{name}");
        }
        // What is in it is hidden, and it is the same directory still.
        let emptied = Layer::default().file("d/.wh..wh..opq", "").file("d/new", "x").end();
        let image = place.fetch(&Made::of(&[base.clone(), emptied]), "emptied").unwrap();
        assert_eq!(seen(&place.store.trees(&image)[0].join("d")).0, 0o700);
        // The root is a directory as any other.
        let root = directory(Layer::default(), ".", 0o751, 0).end();
        let image = place.fetch(&Made::of(&[root, upper.end()]), "root").unwrap();
        assert_eq!(seen(&place.store.trees(&image)[0]).0, 0o751);
    }

    #[test]
    fn what_is_deleted_where_nothing_is_merged_is_not_listed() {
        let place = Place::new("inherit-deleted");
        let base = Layer::default().directory("d").file("d/old", "x").end();
        let deletes = directory(Layer::default(), "d", 0o711, 33).file("d/.wh.old", "");
        let hides = deletes.clone().file("d/.wh..wh..opq", "").end();
        // Over the base it is merged; alone, or hiding what is below, it is not.
        let merged = Made::of(&[base.clone(), deletes.clone().end()]);
        assert!(!place.fetch(&merged, "merged").unwrap().inherits);
        for (name, layers) in [("alone", vec![deletes.end()]), ("hides", vec![base, hides])] {
            let image = place.fetch(&Made::of(&layers), name).unwrap();
            let trees = place.store.trees(&image);
            assert_eq!(
                (trees.len(), seen(&trees[0].join("d"))),
                (layers.len() + 1, (0o711, 33, 1_234_567_890))
            );
            assert_eq!(fs::read_dir(trees[0].join("d")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_directory_that_a_link_leads_to_is_the_one_that_inherits() {
        let place = Place::new("inherit-link");
        let base = directory(Layer::default(), "real", 0o700, 33);
        let base = directory(base, "real/sub", 0o710, 44).end();
        let upper =
            Layer::default().directory("real").symlink("link", "real").file("link/sub/new", "x");
        let image = place.fetch(&Made::of(&[base, upper.end()]), "link").unwrap();
        let top = &place.store.trees(&image)[0];
        assert_eq!(seen(&top.join("real/sub")), (0o710, 44, 1_234_567_890));
        assert_eq!(seen(&top.join("real")), (0o755, 0, 1_000_000_000));
        assert!(fs::symlink_metadata(top.join("link")).is_err());
    }
}
