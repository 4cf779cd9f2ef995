//! The store as its users see it, on images made here: what a hostile layer can do (SECURITY.md 1.3), what
//! becomes of a layer, and that what is not whole is not there.

use super::rig::{Layer, Made, Place, gzip, header, list};
use super::*;
use crate::names::image::Platform;
use ::tar::EntryType;
use std::error::Error as _;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;

/// An error with everything that caused it.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

/// Fetches an image of one layer; the tree, or why there is none.
fn unpack(place: &Place, layer: Layer) -> Result<std::path::PathBuf, String> {
    let bytes = layer.end();
    let name = format!("test:{}", Digest::of(&bytes).short());
    let image = place.fetch(&Made::of(&[bytes]), &name).map_err(|error| whole(&error))?;
    Ok(place.top(&image))
}

/// Layers that try to get out by a name, and why each is refused.
fn by_name(canary: &str) -> Vec<(&'static str, Layer, &'static str)> {
    vec![
        ("parent", Layer::default().file("../x", "x"), "leads out"),
        ("inner parent", Layer::default().directory("a").file("a/../../x", "x"), "leads out"),
        (
            "deep parent",
            Layer::default().file(&format!("{}tmp/x", "../".repeat(20)), "x"),
            "leads out",
        ),
        (
            "root as link",
            Layer::default().symlink("/.", canary).file("file", "x"),
            "root directory",
        ),
        ("root as file", Layer::default().file(".", "x"), "root directory"),
        ("root as hard link", Layer::default().hard_link(".", "etc/passwd"), "root directory"),
        (
            "hard link out",
            Layer::default().hard_link("x", "../../canary/file"),
            "leads to `../../canary/file`",
        ),
        (
            "hard link absolute",
            Layer::default().hard_link("x", &format!("{canary}/file")),
            "no file of this layer",
        ),
        (
            "hard link to shadow",
            Layer::default().hard_link("x", "/etc/shadow"),
            "no file of this layer",
        ),
        ("hard link to nothing", Layer::default().hard_link("x", "y"), "no file of this layer"),
        (
            "hard link to a directory",
            Layer::default().directory("d").hard_link("x", "d"),
            "no file of this layer",
        ),
        ("whiteout of nothing", Layer::default().file(".wh.", ""), "deletes nothing"),
        ("whiteout of dot", Layer::default().file("a/.wh..", ""), "deletes nothing"),
        ("whiteout of parent", Layer::default().file("a/.wh...", ""), "deletes nothing"),
        ("file in a whiteout", Layer::default().file("a/.wh.b/c", ""), "something is deleted"),
        ("file as directory", Layer::default().file("f", "x").file("f/g", "x"), "Not a directory"),
        (
            "link loop",
            Layer::default().symlink("l", "l").file("l/x", "x"),
            "levels of symbolic links",
        ),
    ]
}

/// Those that may be unpacked, for the way out leads nowhere.
fn contained(canary: &str) -> Vec<(&'static str, Layer)> {
    vec![
        ("absolute", Layer::default().file("/podspec-escaped", "x")),
        ("link out", Layer::default().symlink("l", canary).file("l/file", "x")),
        (
            "link up",
            Layer::default().symlink("l", &"../".repeat(30)).file("l/podspec-escaped", "x"),
        ),
        (
            "link, then directory",
            Layer::default().symlink("l", canary).directory("l").file("l/file", "x"),
        ),
        (
            "link replaced by file",
            Layer::default().symlink("l", &format!("{canary}/file")).file("l", "x"),
        ),
        (
            "hard link to a link",
            Layer::default()
                .symlink("l", &format!("{canary}/file"))
                .hard_link("h", "l")
                .file("h", "x"),
        ),
        (
            "hard link through a link",
            Layer::default().symlink("l", canary).file("x", "x").hard_link("y", "x"),
        ),
        (
            "chmod through a link",
            Layer::default().symlink("l", canary).entry(EntryType::Directory, "l/deep", "", b""),
        ),
        ("whiteout through a link", Layer::default().symlink("l", canary).file("l/.wh.file", "")),
        ("opaque through a link", Layer::default().symlink("l", canary).file("l/.wh..wh..opq", "")),
    ]
}

/// The canary is as it was after each, which every fetch of the rig checks.
#[test]
fn no_entry_reaches_outside() {
    let place = Place::new("breakout");
    for (name, layer, why) in by_name(&place.canary()) {
        let error = unpack(&place, layer).expect_err(name);
        assert!(error.contains(why), "{name}: {error}");
    }
    for (name, layer) in contained(&place.canary()) {
        match unpack(&place, layer) {
            Ok(tree) => drop(list(&tree)),
            // A link to nothing inside the root: there is no directory to make a file in.
            Err(error) => assert!(error.contains("Not a directory"), "{name}: {error}"),
        }
    }
}

#[test]
fn a_link_of_one_layer_does_not_lead_the_next_out() {
    let place = Place::new("layers");
    let first =
        Layer::default().symlink("l", &place.canary()).symlink("up", "../../../../..").end();
    let second = Layer::default().file("l/file", "x").file("up/x", "x").end();
    let image = place.fetch(&Made::of(&[first, second]), "two").unwrap();
    let top = place.top(&image);
    assert!(fs::symlink_metadata(top.join("l")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(top.join("l/file")).unwrap(), "x");
}

#[test]
fn attributes_that_steer_the_overlay_are_refused() {
    let place = Place::new("xattr");
    for name in ["trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.metacopy"] {
        let record = format!("SCHILY.xattr.{name}");
        let layer = Layer::default().pax(&[(&record, b"/../../etc")]).directory("d");
        let error = unpack(&place, layer).unwrap_err();
        assert!(error.contains(name) && error.contains("steer"), "{error}");
    }
    // cap_net_raw=ep, as setcap(8) writes it.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layer = Layer::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"a\nb\0c"),
            ("SCHILY.xattr.trusted.other", b"x"),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0"),
        ])
        .file("ping", "x");
    let tree = unpack(&place, layer).unwrap();
    let ping = tree.join("ping");
    assert_eq!(xattr(&ping, "security.capability").unwrap(), capability);
    assert_eq!(xattr(&ping, "user.note").unwrap(), b"a\nb\0c");
    assert_eq!(xattr(&ping, "trusted.other"), None);
    assert_eq!(xattr(&ping, "security.selinux"), None);
}

#[test]
fn deletions_take_the_form_of_overlayfs() {
    let place = Place::new("whiteout");
    let layer = Layer::default()
        .file("a/.wh.gone", "")
        .file("b/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .file(".wh..wh.plnk/7.12", "")
        // Means what is below, and not what this layer has: in either order.
        .directory("kept")
        .file("kept/file", "x")
        .file(".wh.kept", "")
        .file(".wh.later", "")
        .file("later/file", "x")
        .file(".wh.file", "")
        .file("file", "new")
        // A file in between hides what is below it, too.
        .file("twice", "x")
        .directory("twice");
    let tree = unpack(&place, layer).unwrap();
    let gone = fs::symlink_metadata(tree.join("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    for opaque in ["b", "kept", "later", "twice"] {
        let value = xattr(&tree.join(opaque), "trusted.overlay.opaque");
        assert_eq!(value.as_deref(), Some(&b"y"[..]), "{opaque}");
    }
    assert_eq!(xattr(&tree.join("a"), "trusted.overlay.opaque"), None);
    assert_eq!(fs::read_to_string(tree.join("kept/file")).unwrap(), "x");
    assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "new");
    assert!(!tree.join(".wh..wh.plnk").exists());
}

#[test]
fn a_layer_that_hides_everything_ends_the_stack() {
    let place = Place::new("opaque");
    let first = Layer::default().file("old", "x").end();
    let second = Layer::default().file(".wh..wh..opq", "").file("new", "x").end();
    let third = Layer::default().file("newer", "x").end();
    let image = place.fetch(&Made::of(&[first, second, third]), "opaque").unwrap();
    assert_eq!(image.layers.len(), 3);
    assert_eq!(place.store.trees(&image).len(), 2);
}

#[test]
fn entries_are_what_the_archive_says() {
    let place = Place::new("entries");
    let mut odd = header(EntryType::Regular, b"caf\xe9\xff", "", 1);
    odd.set_mode(0o4751);
    odd.set_uid(1234);
    odd.set_gid(3_000_000_000);
    odd.set_cksum();
    let mut device = header(EntryType::Char, b"dev", "", 0);
    device.set_device_major(1).unwrap();
    device.set_device_minor(3).unwrap();
    device.set_mode(0o622);
    device.set_cksum();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let layer = Layer::default()
        .raw(&odd, b"x")
        .raw(&device, b"")
        .entry(EntryType::Fifo, "fifo", "", b"")
        .pax(&[("path", long.as_bytes()), ("mtime", b"1234567890.123456789")])
        .file("short", "long")
        .file("twice", "first")
        .file("twice", "second")
        .directory("d")
        .file("d/in", "x")
        .file("d", "now a file")
        .file("one", "1")
        .hard_link("two", "one")
        .hard_link("three", "./two")
        .symlink("link", "../outside")
        .pax(&[("uid", b"70000"), ("gid", b"70001"), ("mtime", b"-1.5")])
        .file("owned", "x");
    let tree = unpack(&place, layer).unwrap();
    let meta = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
    let odd = fs::symlink_metadata(tree.join(std::ffi::OsStr::from_bytes(b"caf\xe9\xff"))).unwrap();
    assert_eq!((odd.mode() & 0o7777, odd.uid(), odd.gid()), (0o4751, 1234, 3_000_000_000));
    assert_eq!(meta("dev").rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(meta("dev").mode() & 0o7777, 0o622);
    assert!(meta("fifo").file_type().is_fifo());
    assert_eq!((meta(&long).mtime(), meta(&long).mtime_nsec()), (1_234_567_890, 123_456_789));
    assert_eq!(fs::read_to_string(tree.join("twice")).unwrap(), "second");
    assert_eq!(fs::read_to_string(tree.join("d")).unwrap(), "now a file");
    assert_eq!(meta("three").ino(), meta("one").ino());
    assert_eq!(meta("one").nlink(), 3);
    assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("../outside"));
    assert_eq!((meta("owned").uid(), meta("owned").gid()), (70_000, 70_001));
    assert_eq!((meta("owned").mtime(), meta("owned").mtime_nsec()), (-2, 500_000_000));
}

#[test]
fn archives_that_lie_are_refused() {
    let place = Place::new("lies");
    let good = || Layer::default().file("a", "x");
    let mut broken = good();
    broken.bytes[0] ^= 1;
    let mut huge = header(EntryType::Regular, b"huge", "", 0);
    huge.set_size(u64::MAX / 2);
    huge.set_cksum();
    let mut long = header(EntryType::GNULongName, b"long", "", 0);
    long.set_size(10 << 30);
    long.set_cksum();
    let mut owner = header(EntryType::Regular, b"owner", "", 0);
    owner.set_uid(u64::from(u32::MAX));
    owner.set_cksum();
    let kind = good().entry(EntryType::new(b'Z'), "z", "", b"");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("checksum", broken.end(), "checksum is wrong"),
        ("size", good().raw(&huge, b"").end(), "ends in the middle"),
        ("name of 10 GiB", good().raw(&long, b"").end(), "longer than"),
        ("owner -1", good().raw(&owner, b"").end(), "owner"),
        ("kind", kind.end(), "kind `Z`"),
        ("half a header", good().file("b", "y").bytes[..1100].to_vec(), "ends in the middle"),
        (
            "half a content",
            Layer::default().file("a", "xyz").bytes[..514].to_vec(),
            "ends in the middle",
        ),
        ("records", good().entry(EntryType::XHeader, "x", "", b"99 path=x\n").end(), "PAX"),
        (
            "size of a link",
            good().entry(EntryType::Symlink, "l", "a", b"content").end(),
            "has a size",
        ),
        (
            "map",
            good()
                .pax(&[("GNU.sparse.size", b"5"), ("GNU.sparse.map", b"9,9")])
                .file("s", "x")
                .end(),
            "sparse",
        ),
    ];
    for (name, bytes, why) in cases {
        let error = place.fetch(&Made::of(&[bytes]), "lie").expect_err(name);
        assert!(whole(&error).contains(why), "{name}: {}", whole(&error));
    }
}

/// `umoci insert` of 0.4 ends an archive so.
#[test]
fn the_last_block_need_not_be_full() {
    let place = Place::new("unpadded");
    let layer = Layer::default().file("a", "x").file("b", "yz").bytes[..1538].to_vec();
    let image = place.fetch(&Made::of(&[layer]), "unpadded").unwrap();
    assert_eq!(fs::read_to_string(place.top(&image).join("b")).unwrap(), "yz");
}

#[test]
fn sparse_files_keep_their_holes() {
    let place = Place::new("sparse");
    let mib = 1 << 20;
    let map = format!("{mib},1,{},1", 3 * mib);
    let size = (4 * mib).to_string();
    let layer = Layer::default()
        .pax(&[
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.map", map.as_bytes()),
            ("GNU.sparse.name", b"old"),
        ])
        .file("x", "ab")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ])
        .entry(EntryType::Regular, "new", "", &{
            let mut content = format!("2\n{mib}\n1\n{}\n1\n", 3 * mib).into_bytes();
            content.resize(512, 0);
            content.extend_from_slice(b"ab");
            content
        });
    let tree = unpack(&place, layer).unwrap();
    let wanted = |at: usize| match at {
        at if at == mib => b'a',
        at if at == 3 * mib => b'b',
        _ => 0,
    };
    for name in ["old", "new"] {
        let content = fs::read(tree.join(name)).unwrap();
        assert_eq!(content.len(), 4 * mib, "{name}");
        assert!(content.iter().enumerate().all(|(at, byte)| *byte == wanted(at)), "{name}");
        let blocks = fs::metadata(tree.join(name)).unwrap().blocks();
        assert!(blocks * 512 < mib as u64, "{name} has {blocks} blocks");
    }
}

#[test]
fn what_gnu_tar_packs_comes_out_the_same() {
    let place = Place::new("gnu");
    for format in ["gnu", "posix", "ustar", "v7"] {
        let script = format!(
            "set -e; d=$(mktemp -d); cd $d; mkdir -p t/sub; echo hi > t/sub/f; ln t/sub/f t/hard; ln -s sub/f t/l;
            mkdir t/{long}; [ {format} = v7 ] || echo x > t/{long}/{long}; chmod 2750 t/sub;
            if [ {format} = gnu ] || [ {format} = posix ]; then truncate -s 3M t/holes; printf end >> t/holes; S=-S; fi
            touch -d @1500000000 t/sub/f t/sub t; tar --format={format} $S -C t -c . ; rm -r $d",
            long = if format == "gnu" || format == "posix" { "n".repeat(120) } else { "n".repeat(40) },
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = place.fetch(&Made::of(&[output.stdout]), "gnu").unwrap();
        let tree = place.top(&image);
        let meta = |name: &str| fs::symlink_metadata(tree.join(name)).unwrap();
        assert_eq!(fs::read_to_string(tree.join("l")).unwrap(), "hi\n", "{format}");
        assert_eq!(meta("hard").ino(), meta("sub/f").ino());
        assert_eq!(meta("sub").mode() & 0o7777, 0o2750);
        assert_eq!((meta("sub").mtime(), meta("").mtime()), (1_500_000_000, 1_500_000_000));
        if format == "gnu" || format == "posix" {
            let holes = fs::read(tree.join("holes")).unwrap();
            assert!(holes.len() == (3 << 20) + 3 && holes.ends_with(b"end"), "{format}");
            assert!(meta("holes").blocks() < 100, "{format}");
        }
    }
}

#[test]
fn nothing_is_believed_before_its_digest() {
    let place = Place::new("digest");
    let layer = Layer::default().file("a", "x").end();
    let other = Digest::of(b"other").to_string();
    let blob = Digest::of(&gzip(&layer)).to_string();
    let fetch = |made: &Made| whole(&place.fetch(made, "lies").unwrap_err());
    // Other bytes under the blob's name: a good archive, none, or one that is wrong in its last byte alone.
    let mut wrong_sum = gzip(&layer);
    *wrong_sum.last_mut().unwrap() ^= 1;
    let another = gzip(&Layer::default().file("b", "y").end());
    for bytes in [another, b"garbage".to_vec(), wrong_sum] {
        let mut made = Made::of(std::slice::from_ref(&layer));
        let size = made.blobs[&blob.parse().unwrap()].len();
        let mut bytes = bytes;
        bytes.resize(size, 0);
        made.blobs.insert(blob.parse().unwrap(), bytes.clone());
        let error = fetch(&made);
        let found = Digest::of(&bytes).to_string();
        assert!(error.contains(&blob) && error.contains(&found), "both digests: {error}");
    }
    // The archive is not the one that the config means.
    let mut made = Made::of(std::slice::from_ref(&layer));
    let config = made.blobs.iter().find(|(_, bytes)| bytes.starts_with(b"{")).unwrap();
    let (old, text) = (config.0.to_string(), String::from_utf8(config.1.clone()).unwrap());
    let text = text.replace(&Digest::of(&layer).to_string(), &other);
    let new = Digest::of(text.as_bytes());
    made.blobs.insert(new.clone(), text.into_bytes());
    let error = fetch(&made.lie(&old, &new.to_string()));
    assert!(error.contains(&other) && error.contains("unpacks to"), "{error}");
    // Sizes.
    let made = || Made::of(std::slice::from_ref(&layer));
    let size = gzip(&layer).len();
    let (announced, less, more) = (
        format!("\"size\":{size}"),
        format!("\"size\":{}", size - 1),
        format!("\"size\":{}", size + 1),
    );
    assert!(fetch(&made().lie(&announced, &less)).contains("more bytes than were announced"));
    assert!(
        fetch(&made().lie(&announced, &more)).contains(&format!("{} were announced", size + 1))
    );
    // And the same image, told truly.
    place.fetch(&made(), "lies").unwrap();
}

#[test]
fn a_bomb_stops_at_its_bound() {
    let place = Place::new("bomb");
    let mut huge = header(EntryType::Regular, b"zeros", "", 0);
    huge.set_size(1 << 30);
    huge.set_cksum();
    let mut to = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::Write::write_all(&mut to, huge.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take((1 << 30) + 1024), &mut to).unwrap();
    let bomb = to.finish().unwrap();
    let mut made = Made::packed(&[b"layer".to_vec()], "tar+zstd", <[u8]>::to_vec);
    let (old, new) = (Digest::of(b"layer"), Digest::of(&bomb));
    let size = format!("\"size\":{}", bomb.len());
    made.blobs.insert(new.clone(), bomb);
    let old = format!("\"{old}\"");
    let made = made.lie(&old, &format!("\"{new}\"")).lie("\"size\":5", &size);
    let error = whole(&place.fetch(&made, "bomb").unwrap_err());
    assert!(error.contains("bomb"), "{error}");
}

#[test]
fn what_has_arrived_is_kept_and_the_rest_is_asked_for() {
    let place = Place::new("resume");
    let noise: String =
        (0..200_000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    let layers =
        [Layer::default().file("a", &noise).end(), Layer::default().file("b", &noise).end()];
    let made = Made::of(&layers);
    let blob = Digest::of(&gzip(&layers[0]));
    *made.cut.lock().unwrap() = Some(400_000);
    let error = place.fetch(&made, "resume").unwrap_err();
    assert!(whole(&error).contains("reset"), "{}", whole(&error));
    *made.cut.lock().unwrap() = None;
    place.fetch(&made, "resume").unwrap();
    let asked = made.asked.lock().unwrap();
    let offsets: Vec<u64> =
        asked.iter().filter(|(digest, _)| *digest == blob).map(|one| one.1).collect();
    assert_eq!(offsets[0], 0);
    assert!(offsets[1] > 0 && offsets[1] <= 400_000, "{offsets:?}");
    assert_eq!(
        fs::read_dir(place.store.path("partial")).unwrap().count(),
        0,
        "kept beyond its use"
    );
}

#[test]
fn layers_are_shared_and_fetched_once() {
    let place = Place::new("share");
    let (base, top) =
        (Layer::default().file("a", "x").end(), Layer::default().file("b", "y").end());
    let first = Made::of(&[base.clone(), base.clone()]);
    let image = place.fetch(&first, "first").unwrap();
    assert_eq!((image.layers.len(), place.store.trees(&image).len()), (2, 1));
    let second = Made::of(&[base.clone(), top]);
    place.fetch(&second, "second").unwrap();
    let asked = second.asked.lock().unwrap();
    let blob = Digest::of(&gzip(&base));
    assert!(asked.iter().all(|(digest, _)| *digest != blob), "the base was asked for again");
    drop(asked);
    // Once more from many sides at once.
    let place = Place::new("share-many");
    let layers: Vec<Vec<u8>> =
        (0..8).map(|n| Layer::default().file("f", &format!("{n}")).end()).collect();
    let made = Made::of(&layers);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (place, made) = (&place, &made);
            scope.spawn(move || place.fetch(made, &format!("many:{n}")).unwrap());
        }
    });
    let asked = made.asked.lock().unwrap();
    for layer in &layers {
        let blob = Digest::of(&gzip(layer));
        assert_eq!(asked.iter().filter(|(digest, _)| *digest == blob).count(), 1);
    }
}

#[test]
fn names_come_and_go_with_what_only_they_need() {
    let place = Place::new("remove");
    let (base, one, two) = (
        Layer::default().file("base", "1234").end(),
        Layer::default().file("one", "123").end(),
        Layer::default().file("two", "12").end(),
    );
    place.fetch(&Made::of(&[base.clone(), one]), "one").unwrap();
    let second = place.fetch(&Made::of(&[base, two]), "two").unwrap();
    let is = |name: &'static str| move |image: &Image| image.reference == name.parse().unwrap();
    let none = std::collections::BTreeSet::new();
    let told = place.store.remove(is("one"), &none, true).unwrap();
    assert_eq!((told.bytes(), told.images.len(), told.layers.len()), (3, 1, 1));
    assert_eq!(place.store.images().unwrap().len(), 2, "a dry run takes nothing");
    assert_eq!(place.store.remove(is("one"), &none, false).unwrap(), told);
    assert_eq!(place.store.images().unwrap(), std::slice::from_ref(&second));
    // A pod that runs keeps its layers, whatever becomes of the name.
    let used = place.store.trees(&second).into_iter().collect();
    assert_eq!(place.store.remove(is("two"), &used, false).unwrap().layers, []);
    assert!(place.store.trees(&second).iter().all(|tree| tree.is_dir()));
    assert_eq!(place.store.remove(|_| false, &none, false).unwrap().bytes(), 6);
    for folder in ["layers", "blobs", "names", "partial", "tmp"] {
        assert_eq!(fs::read_dir(place.store.path(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn half_a_layer_does_not_count() {
    let place = Place::new("half");
    let layer = Layer::default().file("a", "x").end();
    let made = Made::of(std::slice::from_ref(&layer));
    // What a fetch that was killed leaves behind.
    place.store.hold().unwrap();
    let half = place.store.path("tmp").join(Digest::of(&layer).hex());
    fs::create_dir_all(half.join("tree/a/b")).unwrap();
    fs::write(place.store.path("partial").join("x"), "12345").unwrap();
    let reference = "half".parse().unwrap();
    assert_eq!(place.store.find(&reference, &Platform::host()).unwrap(), None);
    let image = place.fetch(&made, "half").unwrap();
    assert_eq!(fs::read_to_string(place.top(&image).join("a")).unwrap(), "x");
    // A layer that is gone makes its image incomplete, and the next fetch makes it whole.
    fs::remove_dir_all(place.store.path("layers").join(Digest::of(&layer).hex())).unwrap();
    assert_eq!(place.store.find(&reference, &Platform::host()).unwrap(), None);
    place.fetch(&made, "half").unwrap();
    assert!(place.store.find(&reference, &Platform::host()).unwrap().is_some());
    let removed = place.store.remove(|_| false, &std::collections::BTreeSet::new(), false).unwrap();
    assert_eq!((removed.unfinished, removed.layers.len()), ((1, 5), 0));
}

#[test]
fn progress_is_told_from_beginning_to_end() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);
    impl Progress for Heard {
        fn blob(&self, _: &Digest, total: u64) {
            self.0.lock().unwrap().push(format!("blob {total}"));
        }
        fn arrived(&self, _: &Digest, bytes: u64) {
            self.0.lock().unwrap().push(format!("arrived {bytes}"));
        }
        fn done(&self, _: &Digest, outcome: Outcome) {
            self.0.lock().unwrap().push(format!("{outcome:?}"));
        }
    }
    let place = Place::new("progress");
    let layer = Layer::default().file("a", "x").end();
    let size = gzip(&layer).len();
    let made = Made::of(&[layer]);
    for last in ["Unpacked", "Present"] {
        let heard = Heard::default();
        place.fetch_telling(&made, "told", &heard).unwrap();
        let heard = heard.0.into_inner().unwrap();
        assert_eq!(heard.first(), Some(&format!("blob {size}")));
        assert_eq!(heard.last().map(String::as_str), Some(last));
        assert_eq!(heard.contains(&format!("arrived {size}")), last == "Unpacked");
    }
}
