//! `validate --fix`: the mended text, shown as its changes and put in the place of the old one.

use std::io::{self, Write};
use std::path::Path;

/// The changed lines, as diff(1) has them without lines around.
pub(super) fn diff(name: &str, old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut page = format!("--- {name}\n+++ {name}\n");
    // Fixes change lines, and never add or take away one.
    let mut index = 0;
    while index < old.len().max(new.len()) {
        let differs = |index: &usize| old.get(*index) != new.get(*index);
        let run = (index..old.len().max(new.len())).take_while(differs).count();
        if run > 0 {
            let range = index..index + run;
            page.push_str(&format!("@@ -{0},{run} +{0},{run} @@\n", index + 1));
            let side = |sign: char, lines: &[&str]| -> String {
                let part = lines.get(range.start..range.end.min(lines.len())).unwrap_or_default();
                part.iter().map(|line| format!("{sign}{line}\n")).collect()
            };
            page.push_str(&side('-', &old));
            page.push_str(&side('+', &new));
        }
        index += run.max(1);
    }
    page
}

/// Puts a new file in the place of the old one in one step; mode and owner stay, a link stays a link.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
    let path = match path.canonicalize() {
        // Nothing is there yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        path => path?,
    };
    let old = std::fs::metadata(&path).ok();
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".podspec-{}", std::process::id()));
    let beside = path.with_file_name(beside);
    let write = || {
        // As the umask has it, where there is none to be replaced.
        let mode = if old.is_some() { 0o600 } else { 0o666 };
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Some(old) = &old {
            if file.metadata()?.uid() != old.uid() || file.metadata()?.gid() != old.gid() {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_the_lines_that_changed() {
        assert_eq!(diff("f", "a\nb\nc\n", "a\nB\nc\n"), "--- f\n+++ f\n@@ -2,1 +2,1 @@\n-b\n+B\n");
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_through_links() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("podspec-fix-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, link) = (dir.join("pod.yaml"), dir.join("link.yaml"));
        std::fs::write(&file, "old").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("pod.yaml", &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
