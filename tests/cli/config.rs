//! `podspec config`: what it writes means the same, wherever it is read.

use super::{cases, load};
use podspec::spec::{self, Context, Found, write, yaml};
use std::fs;

#[test]
fn what_is_written_loads_to_the_same_pod() {
    let elsewhere = Context {
        base: "/elsewhere".into(),
        default_name: Some("another".to_owned()),
        env: &|_| None,
        read: &|_| Err(std::io::ErrorKind::NotFound.into()),
        // As the cases name their files.
        look: &|path| Some(if path.extension().is_some() { Found::File } else { Found::Directory }),
    };
    let mut good = 0;
    for case in cases() {
        let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
        let Ok(loaded) = load(&case, &text) else { continue };
        for pod in loaded.pods {
            let document = write::document(&pod.spec);
            for text in [yaml::text(&document), document.to_string()] {
                let again = spec::load(&text, &elsewhere);
                let again = again.unwrap_or_else(|e| panic!("{}: {e:#?}\n{text}", case.display()));
                assert_eq!(again.pods[0].spec, pod.spec, "{}\n{text}", case.display());
                good += 1;
            }
        }
    }
    assert!(good > 10, "{good}");
}

/// Read it when it changes: this is what a user sees of a file that uses everything.
#[test]
fn the_full_case_is_written_so() {
    let case = cases().into_iter().find(|case| case.ends_with("good-full")).unwrap();
    let text = fs::read_to_string(case.join("pod.yaml")).unwrap();
    let pod = load(&case, &text).unwrap().pods.remove(0);
    super::is_in_file(&case.join("config.yaml"), &yaml::text(&write::document(&pod.spec)));
}
