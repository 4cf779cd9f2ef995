//! `podspec cp`: files between the host and containers. Nothing runs inside for it, and nothing outside of
//! the container's root is read or written whatever the container does meanwhile (`copy`).

use super::error::CliError;
use super::output::{self, sanitize};
use super::running;
use super::target::{self, TargetArg};
use crate::copy::{self, CopyError, Owner, Place, Skipped, Source, Target};
use crate::exec::launch;
use crate::plan::step::Launch;
use crate::state::record::{ContainerRecord, ContainerStatus};
use crate::state::store::Store;
use crate::sys::ids::Maps;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

/// Copy files from or to a container
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec cp shop/web:/etc/nginx/nginx.conf .
  podspec cp ./site/. shop/web:/srv        what is in ./site, not itself
  podspec cp shop/db:/var/lib/db - | gzip > db.tar.gz
  tar c data | podspec cp - shop/db:/restore

As cp(1) does: into DST where that is a directory, else under that name. `-` is a tar archive on
standard input or output. Files, directories and links are copied with mode and time, holes of files
as holes; a link that SRC itself names is followed. What is copied into a container belongs to the
container's user, what is copied out of it to you, and no setuid bit is kept; `-a` keeps owner,
mode and file capabilities as they were; attributes of users (user.*) always come along. FIFOs, sockets
and devices are left out, said, and make the exit code 1.

Of a container that does not run any more, what it has left can be copied out as long as its pod is up.

Beside ./pod.yaml the pod may be left out: /CONTAINER:PATH. A host path that has a `:` in it is written
with `./` at its begin, or in full.")]
pub(super) struct Cp {
    /// Keep owners, by number, and all bits of modes
    #[arg(short, long)]
    archive: bool,
    /// A path on the host, POD[/CONTAINER]:PATH, or `-`
    #[arg(value_name = "SRC")]
    source: Side,
    /// The same
    #[arg(value_name = "DST")]
    target: Side,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Side {
    Stream,
    Host(PathBuf),
    Container(TargetArg, PathBuf),
}

impl FromStr for Side {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.split_once(':') {
            _ if word.is_empty() => Err("an empty path".to_owned()),
            _ if word == "-" => Ok(Self::Stream),
            Some((target, path)) if !word.starts_with('.') => match target.parse() {
                // As everywhere in containers: from the root, and an empty path is the root.
                Ok(target) => Ok(Self::Container(target, Path::new("/").join(path))),
                Err(_) if word.starts_with('/') => Ok(Self::Host(word.into())),
                Err(error) => Err(error),
            },
            _ => Ok(Self::Host(word.into())),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream => f.write_str("-"),
            Self::Host(path) => write!(f, "{}", path.display()),
            Self::Container(target, path) => write!(f, "{target}:{}", path.display()),
        }
    }
}

/// A side that is a place, opened.
struct Opened {
    place: Place,
    path: PathBuf,
    /// Whose what is written there becomes, on the host.
    user: (u32, u32),
    /// What its ids are on the host.
    ids: Maps,
}

impl Cp {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let is_container = |side: &Side| matches!(side, Side::Container(..));
        if !is_container(&self.source) && !is_container(&self.target) {
            return Err(CliError::Usage {
                message: "neither side is in a container".to_owned(),
                hint: Some("write one as POD/CONTAINER:PATH".to_owned()),
            });
        }
        crate::sys::descriptors::raise_open_files();
        let (from, to) = (open(store, &self.source, true)?, open(store, &self.target, false)?);
        let skipped = match (from, to) {
            (Some(from), Some(to)) => {
                let source = self.find(&from)?;
                let target = Target::find(&to.place, &to.path, &source);
                let target = target.map_err(|error| self.failed(&error))?;
                self.make_files_as_its_root(&to)?;
                copy::copy(&source, &target, self.owner(&from.ids, &to))
                    .map_err(|error| self.failed(&error))?
            }
            (Some(from), None) => self.pack(&from)?,
            (None, Some(to)) => {
                self.make_files_as_its_root(&to)?;
                let by_number = Maps::default();
                let owner = self.owner(&by_number, &to);
                copy::unpack(io::stdin().lock(), &to.place, &to.path, owner)
                    .map_err(|error| self.failed(&error))?
            }
            (None, None) => Vec::new(),
        };
        Ok(report(&skipped))
    }

    fn owner<'a>(&self, from: &'a Maps, to: &'a Opened) -> Owner<'a> {
        let (uid, gid) = to.user;
        if self.archive { Owner::Keep { from, to: &to.ids } } else { Owner::As { uid, gid } }
    }

    fn pack(&self, from: &Opened) -> Result<Vec<Skipped>, CliError> {
        if output::stdout_is_terminal() {
            return Err(CliError::Usage {
                message: "an archive is nothing for a terminal".to_owned(),
                hint: Some("write `podspec cp … - > FILE`, or `| tar t`".to_owned()),
            });
        }
        let stdout = io::BufWriter::with_capacity(128 * 1024, io::stdout().lock());
        copy::pack(&self.find(from)?, &from.ids, stdout).map_err(|error| match &error {
            CopyError::WriteArchive { source } if source.kind() == io::ErrorKind::BrokenPipe => {
                CliError::BrokenPipe
            }
            _ => self.failed(&error),
        })
    }

    fn find(&self, from: &Opened) -> Result<Source, CliError> {
        Source::find(&from.place, &from.path).map_err(|error| self.failed(&error))
    }

    /// Through the idmapped layers of a root nobody else can make a file.
    fn make_files_as_its_root(&self, to: &Opened) -> Result<(), CliError> {
        if to.ids.is_empty() {
            return Ok(());
        }
        crate::sandbox::make_files_as(to.ids.owner(0, 0)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn std::error::Error) -> CliError {
        CliError::host(format!("cannot copy {} to {}", self.source, self.target), error)
    }
}

/// `None`: the stream. Of a container that does not run there is something to read, at most.
fn open(store: &Store, side: &Side, to_read: bool) -> Result<Option<Opened>, CliError> {
    let (target, path) = match side {
        Side::Stream => return Ok(None),
        Side::Host(path) => {
            let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let (place, ids) = (Place::Host, Maps::default());
            return Ok(Some(Opened { place, path: path.clone(), user, ids }));
        }
        Side::Container(target, path) => (target, path),
    };
    let wanted = target::one(Some(target))?;
    let record = target::find(store, &wanted.pod)?;
    let container = target::container(&record, wanted.container.as_ref())?;
    let name = format!("{}/{}", record.name, container.name);
    let plan = running::plan(store, &record.name)?;
    let launch = running::launch(&plan, &container.name)?;
    let (root, ids) = match running::root(container) {
        Some(root) => (root, crate::sandbox::maps(&launch.oci)),
        // By the numbers that its files have.
        None if to_read && has_left(container) => (remains(&name, launch)?, Maps::default()),
        None => return Err(running::not_running(&name, &record.name)),
    };
    let process = launch.oci.process().as_ref();
    let user = process.map(|process| process.user().clone()).unwrap_or_default();
    let user = ids.owner(user.uid(), user.gid());
    Ok(Some(Opened { place: Place::Root(root), path: path.clone(), user, ids }))
}

/// It has run, and only a user starts it again: no policy of its supervisor does.
fn has_left(container: &ContainerRecord) -> bool {
    use ContainerStatus::{Exited, Failed, Stopped};
    container.started_at.is_some() && matches!(container.status, Exited | Failed | Stopped)
}

fn remains(name: &str, launch: &Launch) -> Result<OwnedFd, CliError> {
    launch::remains(launch)
        .map_err(|error| CliError::host(format!("cannot look at what {name} has left"), &error))
}

fn report(skipped: &[Skipped]) -> ExitCode {
    for Skipped { path, kind } in skipped {
        let text = format!("not copied: {} is a {kind}", path.display());
        output::error_line(&sanitize(&text));
    }
    if skipped.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_the_stream_the_host_or_a_container() {
        let side = |word: &str| word.parse::<Side>();
        let inside = |target: &str, path: &str| {
            Ok(Side::Container(target.parse().unwrap(), PathBuf::from(path)))
        };
        assert_eq!(side("-"), Ok(Side::Stream));
        assert_eq!(side("shop/web:/etc"), inside("shop/web", "/etc"));
        assert_eq!(side("shop:etc/x:y"), inside("shop", "/etc/x:y"));
        assert_eq!(side("shop/web:"), inside("shop/web", "/"));
        assert_eq!(side("/web:/etc"), inside("/web", "/etc"));
        for host in ["x", "./a:b", "/a/b:c", "//a:b", "/A:b", "../a:b", "a/b", "/web"] {
            assert_eq!(side(host), Ok(Side::Host(host.into())), "{host}");
        }
        assert!(side("").is_err());
        assert!(side("Bad Pod:/x").is_err());
    }
}
