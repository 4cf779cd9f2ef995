//! Images of layers that nobody makes by hand: hundreds of them, and random ones, beside what umoci and podman make of the same.

use crate::host::Host;
use crate::images::entries;
use crate::random::Random;
use crate::real::{stored, stored_by_podman};
use podspec::names::image::{Digest, Platform};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Writes a layout with these layers, the lowest first, as the image `1`.
fn layout(host: &Host, name: &str, layers: &[Vec<u8>], config: &Value) -> String {
    let blobs = host.dir.join(name).join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |kind: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    };
    let layers: Vec<Value> = layers.iter().map(|layer| blob("layer.v1.tar", layer)).collect();
    let ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let Platform { os, architecture, .. } = Platform::host();
    let config = json!({
        "os": os, "architecture": architecture, "config": config,
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "1" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    host.file(&format!("{name}/index.json"), index.to_string());
    host.file(&format!("{name}/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    format!("{}:1", host.dir.join(name).display())
}

/// An entry's header; the rest is as the caller sets it.
fn header(kind: EntryType, mode: u32, owner: (u64, u64), size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header.set_mtime(1_000_000_000);
    header.set_size(size as u64);
    header
}

fn add(tar: &mut Builder<Vec<u8>>, mut header: Header, name: &str, content: &[u8]) {
    header.set_path(name).unwrap();
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

#[test]
fn an_image_of_two_hundred_layers_runs_with_ids_of_its_own() {
    let Some(host) = Host::new() else { return };
    let owner = (33, 44);
    let file = |size| header(EntryType::Regular, 0o644, owner, size);
    let mut base = Builder::new(Vec::new());
    let busybox = fs::read("/bin/busybox").unwrap();
    add(
        &mut base,
        header(EntryType::Regular, 0o755, (0, 0), busybox.len()),
        "bin/busybox",
        &busybox,
    );
    let users = b"root:x:0:0::/:/bin/sh\nweb:x:33:44::/l:/bin/sh\n";
    add(&mut base, file(users.len()), "etc/passwd", users);
    add(&mut base, header(EntryType::Directory, 0o700, owner, 0), "l", b"");
    let mut layers = vec![base.into_inner().unwrap()];
    for number in 1..200 {
        let (mut layer, text) = (Builder::new(Vec::new()), format!("{number}\n"));
        add(&mut layer, file(text.len()), &format!("l/{number}"), text.as_bytes());
        add(&mut layer, file(text.len()), "l/last", text.as_bytes());
        layers.push(layer.into_inner().unwrap());
    }
    let script = "b=/bin/busybox; $b id -u; $b ls /l | $b wc -l; $b cat /l/1 /l/last; \
                  $b stat -c '%a %u:%g' /l /l/7; $b touch /l/mine && echo end; $b sleep 1000";
    let config = json!({ "Cmd": ["/bin/busybox", "sh", "-c", script], "User": "web" });
    let image = format!("oci:{}", layout(&host, "many", &layers, &config));
    let pod = json!({ "name": "many", "share": ["+user"], "containers": { "c": { "image": image, "stopSignal": "SIGKILL" } } });
    host.up(&pod);
    let log = host.wait_log("many/c", "end");
    assert_eq!(log, "33\n200\n1\n199\n700 33:44\n644 33:44\nend\n");
    host.down("many");
    host.assert_clean();
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Directory,
    File,
    Deleted,
}

/// Layers in the making. They say nothing that two readers read in two ways: no entry twice, none below a file.
struct Maker {
    random: Random,
    /// Whether each path that is to be seen is a directory.
    seen: BTreeMap<String, bool>,
    /// What the layer at hand has; directories that it is silent of, too.
    own: BTreeMap<String, Own>,
    /// Directories that some layer has something in and does not describe.
    silent: BTreeSet<String>,
    tar: Builder<Vec<u8>>,
    /// Of its last plain file.
    link: Option<(String, Header)>,
}

const NAMES: [&str; 5] = ["a", "b", "c", "x", "y"];

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn any_below<T>(map: &BTreeMap<String, T>, path: &str) -> bool {
    map.keys().any(|other| other.starts_with(&format!("{path}/")))
}

impl Maker {
    fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        let (seen, own, silent) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { random, seen, own, silent, tar: Builder::new(Vec::new()), link: None }
    }

    fn layer(&mut self) -> Vec<u8> {
        self.own.clear();
        self.link = None;
        for _ in 0..4 + self.random.below(12) {
            let depth = 1 + self.random.below(3);
            let path = (0..depth).map(|_| *self.random.any(&NAMES)).collect::<Vec<_>>().join("/");
            let is_open = |parent: &str| {
                self.seen.get(parent) != Some(&false)
                    && !matches!(self.own.get(parent), Some(Own::Deleted))
            };
            if self.own.contains_key(&path) || !parents(&path).all(is_open) {
                continue;
            }
            match self.random.below(10) {
                0..3 => self.directory(&path, false),
                3 => self.directory(&path, true),
                4..8 => self.file(&path),
                _ => self.delete(&path),
            }
        }
        std::mem::replace(&mut self.tar, Builder::new(Vec::new())).into_inner().unwrap()
    }

    fn header(&mut self, kind: EntryType, modes: &[u32], size: usize) -> Header {
        let owner = (*self.random.any(&[0, 33, 1000]), *self.random.any(&[0, 44]));
        header(kind, *self.random.any(modes), owner, size)
    }

    fn has(&mut self, path: &str, own: Own) {
        for parent in parents(path) {
            self.seen.insert(parent.to_owned(), true);
            self.own.entry(parent.to_owned()).or_insert_with(|| {
                self.silent.insert(parent.to_owned());
                Own::Directory
            });
        }
        self.own.insert(path.to_owned(), own);
        if own != Own::Directory {
            self.seen.retain(|other, _| !other.starts_with(&format!("{path}/")));
        }
        match own {
            Own::Deleted => self.seen.remove(path),
            _ => self.seen.insert(path.to_owned(), own == Own::Directory),
        };
    }

    /// `hides`: nothing of the layers below is to be seen in it; one of the names is deleted, too.
    fn directory(&mut self, path: &str, hides: bool) {
        if hides && any_below(&self.own, path) {
            return;
        }
        let header = self.header(EntryType::Directory, &[0o755, 0o700, 0o1777], 0);
        add(&mut self.tar, header, path, b"");
        if hides {
            let nothing = self.header(EntryType::Regular, &[0o600], 0);
            add(&mut self.tar, nothing.clone(), &format!("{path}/.wh..wh..opq"), b"");
            let below = format!("{path}/x");
            if self.seen.contains_key(&below) {
                add(&mut self.tar, nothing, &format!("{path}/.wh.x"), b"");
                self.own.insert(below, Own::Deleted);
            }
            self.seen.retain(|other, _| !other.starts_with(&format!("{path}/")));
        }
        self.has(path, Own::Directory);
    }

    fn file(&mut self, path: &str) {
        if any_below(&self.own, path) {
            return;
        }
        let text = self.random.below(1 << 20).to_string();
        match (self.random.below(4), self.link.clone()) {
            (0, Some((target, mut header))) => {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                header.set_link_name(target).unwrap();
                add(&mut self.tar, header, path, b"");
            }
            (1, _) => {
                let mut header = self.header(EntryType::Symlink, &[0o777], 0);
                header.set_link_name(self.random.any(&NAMES)).unwrap();
                add(&mut self.tar, header, path, b"");
            }
            (2, _) => {
                let header = self.header(EntryType::Fifo, &[0o644], 0);
                add(&mut self.tar, header, path, b"");
            }
            _ => {
                let header = self.header(EntryType::Regular, &[0o644, 0o4755, 0o600], text.len());
                add(&mut self.tar, header.clone(), path, text.as_bytes());
                self.link = Some((path.to_owned(), header));
            }
        }
        self.has(path, Own::File);
    }

    fn delete(&mut self, path: &str) {
        if !self.seen.contains_key(path) || any_below(&self.own, path) {
            return;
        }
        let (parent, name) = path
            .rsplit_once('/')
            .map_or((String::new(), path), |(parent, name)| (format!("{parent}/"), name));
        let header = self.header(EntryType::Regular, &[0o600], 0);
        add(&mut self.tar, header, &format!("{parent}.wh.{name}"), b"");
        self.has(path, Own::Deleted);
    }
}

/// Without what umoci and an overlay cannot agree on: when a directory was changed, and how many names a file has
/// where a layer deletes one of them.
fn tree(root: &Path) -> Vec<String> {
    let plain = |line: String| {
        let words: Vec<&str> = line.split(' ').collect();
        let (known, rest) = words.split_at(words.iter().position(|word| *word == "links").unwrap());
        let kept = if known[1].starts_with('4') { &[] } else { &rest[2..] };
        [known, kept].concat().join(" ")
    };
    entries(root, &[]).into_iter().map(plain).collect()
}

/// Without what podman makes root's, where a layer does not say what a directory is like: to umoci and to us it is what
/// the layers below say.
fn described(entries: Vec<String>, silent: &BTreeSet<String>) -> Vec<String> {
    let path = |line: &str| line.split(' ').next().unwrap().to_owned();
    entries.into_iter().filter(|line| !silent.contains(&path(line))).collect()
}

#[test]
fn random_layers_make_the_tree_that_umoci_and_podman_make_of_them() {
    let Some(host) = Host::new() else { return };
    for seed in 1..25 {
        let mut maker = Maker::new(seed);
        let layers: Vec<Vec<u8>> = (0..2 + seed % 4).map(|_| maker.layer()).collect();
        let from = layout(&host, &format!("random-{seed}"), &layers, &json!({ "Cmd": ["/x"] }));
        let out = host.dir.join(format!("umoci-{seed}"));
        host.sh(&format!("umoci unpack --image {from} {}", out.display())).success();
        let image = format!("oci:{from}");
        host.podspec(["pull", &image]).success();
        let at = stored(&host, &image);
        assert_eq!(tree(&at), tree(&out.join("rootfs")), "seed {seed}");
        let podman = described(stored_by_podman(&host, &image), &maker.silent);
        assert_eq!(described(entries(&at, &[]), &maker.silent), podman, "seed {seed}");
        host.sh(&format!("umount '{}'", at.display())).success();
        host.podspec(["rmi", &image]).success();
    }
    host.assert_clean();
}
