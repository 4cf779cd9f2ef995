//! `podspec graph` where there is nothing but a file: no root, no machine that could run the pod.

use super::target::{directory, podspec};
use std::fs;
use std::path::Path;

#[test]
fn a_picture_goes_where_it_is_wanted() {
    let here = directory("picture");
    let pod = "containers:\n  db: { rootfs: ./nowhere, command: [db] }\n  \
               web: { rootfs: host, command: [web], dependsOn: [db] }\n";
    fs::write(here.join("shop.yaml"), format!("name: shop\n{pod}")).unwrap();
    let (code, said) = podspec(&here, &["graph", "-o", "shop.svg", "shop.yaml"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let svg = fs::read_to_string(here.join("shop.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));

    let (code, said) = podspec(&here, &["graph", "-o", "no/such/place.svg", "shop.yaml"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot write no/such/place.svg"), "{said}");

    fs::write(here.join("two.yaml"), format!("name: a\n{pod}---\nname: b\n{pod}")).unwrap();
    let (code, said) = podspec(&here, &["graph", "two.yaml"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("two.yaml has 2 pods, and a picture is of one"), "{said}");
}

/// The picture in the README.
#[test]
fn the_picture_of_the_first_example_is_in_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = directory("hello-picture");
    let example = root.join("examples/hello.yaml");
    let (code, said) = podspec(&here, &["graph", "-o", "hello.svg", example.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let svg = fs::read_to_string(here.join("hello.svg")).unwrap();
    super::is_in_file(&root.join("docs/hello.svg"), &svg);
}
