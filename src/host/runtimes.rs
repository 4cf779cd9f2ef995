//! Other OCI runtimes: where their programs are.

use crate::plan::facts::ContainerFacts;
use crate::spec::model::{Container, Runtime};
use crate::sys::program::PATH;
use rustix::fs::{Access, AtFlags, CWD};
use std::path::{Path, PathBuf};

pub(super) fn facts(container: &Container, facts: &mut ContainerFacts) {
    let Some(runtime) = &container.runtime else { return };
    match find(runtime) {
        Some(program) => facts.runtime = program,
        None => facts.problems.push(("runtime".to_owned(), missing(runtime))),
    }
}

fn find(runtime: &Runtime) -> Option<PathBuf> {
    match runtime {
        Runtime::At(path) => is_program(path).then(|| path.clone()),
        Runtime::Named(name) => {
            // Not the caller's: a runtime has every right on this machine.
            let mut places = PATH.split(':').map(|directory| Path::new(directory).join(name));
            places.find(|path| is_program(path))
        }
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

fn missing(runtime: &Runtime) -> String {
    match runtime {
        Runtime::At(path) => format!("{} is no program", path.display()),
        Runtime::Named(name) => {
            let directories = PATH.replace(':', ", ");
            format!("there is no program `{name}` in {directories}: install it, or write its path")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_or_path_and_a_directory_is_none() {
        let sh = find(&Runtime::Named("sh".to_owned())).unwrap();
        assert!(sh.ends_with("sh") && sh.is_absolute(), "{}", sh.display());
        assert_eq!(find(&Runtime::At("/bin/sh".into())), Some("/bin/sh".into()));
        for none in ["/etc", "/etc/passwd", "/nowhere"] {
            assert_eq!(find(&Runtime::At(none.into())), None, "{none}");
        }
        assert_eq!(find(&Runtime::Named("no-such-runtime".to_owned())), None);
    }
}
