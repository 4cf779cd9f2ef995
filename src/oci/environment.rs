//! The environment of a process as every runtime makes it: each name once, the last word counts, and a HOME where the
//! document has none: that of its user in the container's own /etc/passwd.

use crate::host::read_account;
use crate::plan::accounts::home;
use oci_spec::runtime::Process;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;

/// `root` is the container's.
pub(super) fn complete(process: &mut Process, root: &impl AsFd) {
    let mut words = once(process.env().as_deref().unwrap_or(&[]));
    if !words.iter().any(|word| word.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
        words.retain(|word| word != "HOME=");
        // It is the container's file: one that cannot be read names nobody.
        let passwd = read_account(root, Path::new("etc/passwd")).unwrap_or_default();
        let home = home(&passwd, process.user().uid()).unwrap_or("/");
        words.push(format!("HOME={home}"));
    }
    process.set_env(Some(words));
}

/// The last word of each name, where the first one was.
fn once(words: &[String]) -> Vec<String> {
    let mut places = HashMap::new();
    let mut kept: Vec<&String> = Vec::with_capacity(words.len());
    for word in words {
        let name = word.split('=').next().unwrap_or_default();
        let place = *places.entry(name).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(known) => *known = word,
            None => kept.push(word),
        }
    }
    kept.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(uid: u32, words: &[&str]) -> Vec<String> {
        let mut process = Process::default();
        process.user_mut().set_uid(uid);
        process.set_env(Some(words.iter().map(|word| (*word).to_owned()).collect()));
        complete(&mut process, &std::fs::File::open("/").unwrap());
        process.env().clone().unwrap()
    }

    #[test]
    fn each_name_is_there_once_and_home_always() {
        assert_eq!(completed(0, &["A=1", "B=2", "A=3"]), ["A=3", "B=2", "HOME=/root"]);
        assert_eq!(completed(0, &["HOME=/srv", "HOME="]), ["HOME=/root"]);
        assert_eq!(completed(4_000_000, &["HOME=/a", "HOME=/b"]), ["HOME=/b"]);
        assert_eq!(completed(4_000_000, &[]), ["HOME=/"]);
    }
}
