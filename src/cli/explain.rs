//! A failed start in the words of the file: the supervisor knows the plan, the file is ours.

use super::file::PodFile;
use super::lines::Lines;
use crate::names::ContainerName;
use crate::spec::model::{Container, Image, Root};
use crate::spec::{self, problem};
use crate::supervise::protocol::Failure;
use crate::sys::program::PATH;
use std::path::{Path, PathBuf};

/// How the sandbox says that a container's program is not there.
const NOT_FOUND: &str = "no such file in the rootfs: ";
const NOT_EXECUTABLE: &str = "not an executable program: ";

/// Says where in the file the mistake is, and what to do about it, where that can be known.
pub(super) fn explain(file: &PodFile, pod: &spec::Pod, failure: &mut Failure) -> Option<String> {
    let name = failure.container.clone()?;
    let container = pod.spec.containers.get(&name)?;
    let cause = failure.causes.first()?.clone();
    let place = |program: &str| {
        let Some(key) = key_of(container, program) else {
            return "the image names it: `command` in the file replaces it".to_owned();
        };
        let place = pod.places.find(&format!("containers.{name}.{key}"));
        let (line, column) = Lines::new(&file.text).position(place.unwrap_or_default().start);
        format!("`{key}` stands at {}:{line}:{column}", file.name)
    };
    if let Some(program) = cause.strip_prefix(NOT_FOUND) {
        let rootfs = written_root(file, pod, &name, container);
        // The errno says the same once more.
        failure.causes = vec![format!("no such file in the rootfs {rootfs}: {program}")];
        let meant = likely_program(container, program);
        return Some(match meant {
            Some(meant) => format!("did you mean `{meant}`? {}", place(program)),
            None => place(program),
        });
    }
    if let Some(program) = cause.strip_prefix(NOT_EXECUTABLE) {
        failure.causes.truncate(1);
        return Some(format!("it must be a file that this user may execute; {}", place(program)));
    }
    None
}

/// Where the file names the program; None where its image does.
fn key_of(container: &Container, program: &str) -> Option<&'static str> {
    let Root::Image(Image { command: None, args, .. }) = &container.root else {
        return Some("command");
    };
    let first = args.as_ref()?.first()?;
    (first == program).then_some("args")
}

/// The root as the file has it.
fn written_root(
    file: &PodFile,
    pod: &spec::Pod,
    name: &ContainerName,
    container: &Container,
) -> String {
    let place = pod.places.find(&format!("containers.{name}.rootfs"));
    let written = place.and_then(|place| file.text.get(place)).unwrap_or_default();
    let written = written.trim_matches(['"', '\'']);
    let Some(root) = root_directory(container) else {
        return match &container.root {
            Root::Image(image) => image.reference.to_string(),
            _ => String::new(),
        };
    };
    // A variable or an alias says less than the path that came of it.
    if written.is_empty() || written.contains(['$', '*', '\n']) {
        return root.display().to_string();
    }
    written.to_owned()
}

/// None: an image, whose files lie in many directories.
fn root_directory(container: &Container) -> Option<&Path> {
    match &container.root {
        Root::Host => Some(Path::new("/")),
        Root::Directory(path) => Some(path),
        Root::Image(_) => None,
    }
}

/// A program of the root that is named nearly so.
fn likely_program(container: &Container, program: &str) -> Option<String> {
    let root = root_directory(container)?;
    let inside = |directory: &str| root.join(directory.trim_start_matches('/'));
    let (directories, word): (Vec<PathBuf>, &str) = match program.rsplit_once('/') {
        Some((directory, word)) if program.starts_with('/') => (vec![inside(directory)], word),
        Some(_) => return None,
        None => {
            let path = container.env.get("PATH").map_or(PATH, String::as_str);
            (path.split(':').map(inside).collect(), program)
        }
    };
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let names: Vec<String> = entries
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let meant = problem::nearest(word, names.iter().map(String::as_str))?;
    Some(match program.rsplit_once('/') {
        Some((directory, _)) => format!("{directory}/{meant}"),
        None => meant.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxError;

    fn failure(error: &SandboxError) -> Failure {
        Failure {
            container: Some("web".parse().unwrap()),
            causes: crate::supervise::protocol::chain(error),
            ..Failure::default()
        }
    }

    #[test]
    fn a_missing_program_is_told_in_the_words_of_the_file() {
        let dir = std::env::temp_dir().join(format!("podspec-explain-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("web/bin")).unwrap();
        std::fs::write(dir.join("web/bin/httpd"), "").unwrap();
        let path = dir.join("shop.yaml");
        std::fs::write(
            &path,
            "containers:\n  web:\n    rootfs: './web'\n    command: [/bin/htpd]\n",
        )
        .unwrap();
        let file = PodFile::read(Some(&path)).unwrap();
        let loaded = file.judge().unwrap();
        let source = || std::io::Error::from_raw_os_error(libc::ENOENT);
        let error = SandboxError::NotFound { program: "/bin/htpd".to_owned(), source: source() };
        let mut failure = failure(&error);
        let hint = explain(&file, &loaded.pods[0], &mut failure).unwrap();
        assert_eq!(failure.causes, ["no such file in the rootfs ./web: /bin/htpd"]);
        assert!(hint.starts_with("did you mean `/bin/httpd`?"), "{hint}");
        assert!(hint.ends_with("shop.yaml:4:5"), "{hint}");
        let other = SandboxError::NotExecutable { program: "/etc".to_owned(), source: source() };
        assert!(other.to_string().starts_with(NOT_EXECUTABLE));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_program_that_the_image_names_has_no_place_in_the_file() {
        let place = |program: &str, more: &str| {
            let text = format!("name: a\ncontainers:\n  web:\n    image: httpd\n{more}");
            let path = std::env::temp_dir().join(format!("podspec-named-{}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            let file = PodFile::read(Some(&path)).unwrap();
            let loaded = file.judge().unwrap();
            std::fs::remove_file(path).unwrap();
            let source = std::io::Error::from_raw_os_error(libc::ENOENT);
            let error = SandboxError::NotFound { program: program.to_owned(), source };
            explain(&file, &loaded.pods[0], &mut failure(&error)).unwrap()
        };
        assert!(place("/no", "").starts_with("the image names it"));
        assert!(place("/no", "    args: [arg]\n").starts_with("the image names it"));
        assert!(place("no", "    args: [no]\n").ends_with(":5:5"));
        assert!(place("no", "    command: [no]\n").ends_with(":5:5"));
    }
}
