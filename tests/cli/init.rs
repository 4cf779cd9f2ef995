//! `podspec init`: a file that is right as it is, and nothing lost.

use super::target::{directory, podspec};
use std::fs;

#[test]
fn a_first_file_is_good_and_never_overwritten() {
    let here = directory("init");
    let (code, said) = podspec(&here, &["init", "shop"]);
    assert_eq!(code, Some(0), "{said}");
    let text = fs::read_to_string(here.join("shop.pod.yaml")).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema=pod.schema.json\n"), "{text}");
    assert!(text.contains("\nname: shop\n") && !text.contains("{{"), "{text}");
    let schema = fs::read_to_string(here.join("pod.schema.json")).unwrap();
    let known = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/pod.schema.json");
    assert_eq!(schema, fs::read_to_string(known).unwrap());
    // No mistake, and no warning.
    assert_eq!(podspec(&here, &["validate", "shop.pod.yaml"]), (Some(0), String::new()));

    fs::write(here.join("shop.pod.yaml"), "mine").unwrap();
    fs::write(here.join("pod.schema.json"), "mine").unwrap();
    let (code, said) = podspec(&here, &["init", "shop"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("shop.pod.yaml is there already"), "{said}");
    assert_eq!(podspec(&here, &["init", "other"]).0, Some(0));
    for file in ["shop.pod.yaml", "pod.schema.json"] {
        assert_eq!(fs::read_to_string(here.join(file)).unwrap(), "mine");
    }
}

#[test]
fn without_a_name_it_is_that_of_the_directory() {
    let here = directory("My Shop");
    assert_eq!(podspec(&here, &["init"]).0, Some(0));
    let text = fs::read_to_string(here.join("pod.yaml")).unwrap();
    assert!(text.contains("\nname: my-shop\n"), "{text}");
    let (code, said) = podspec(&here, &["init", "No/Name"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("`No/Name` cannot be the name of a pod"), "{said}");
}
