//! `podspec bundle`: a pod's containers as OCI bundles, for any other runtime.

use super::error::CliError;
use super::file::PodFile;
use super::output::{self, sanitize};
use super::pulled::{self, Wanted};
use super::up::{self, plan_error};
use super::{Format, running};
use crate::copy::{self, Owner, Place, Source, Target};
use crate::exec::launch;
use crate::plan::bundle::{self, ROOT};
use crate::plan::step::{Launch, Plan, Step};
use crate::plan::{self, Goal};
use crate::sandbox;
use crate::spec::Pod;
use crate::state::store::Store;
use crate::sys::ids::Maps;
use serde_json::{Value, json};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a pod's containers as OCI bundles
///
/// Each stands alone: `DIR/CONTAINER` has `config.json` and `rootfs` for any runtime. What the pod shares is new in each;
/// volumes are in `DIR/volumes`. What is left out is said. Nothing is started.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec bundle shop.yaml out && crun run --bundle out/web web
  podspec bundle --format json shop.yaml out")]
pub(super) struct Bundle {
    /// Pod file of one pod, `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write; made where it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How to report
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Human)]
    format: Format,
}

impl Bundle {
    pub(super) fn run(mut self, store: &Store) -> Result<ExitCode, CliError> {
        // To put layers together this process goes elsewhere.
        self.directory = std::path::absolute(&self.directory)
            .map_err(|error| CliError::usage(format!("{}: {error}", self.directory.display())))?;
        let file = PodFile::read(Some(&self.file))?;
        let loaded = file.load()?;
        let [pod] = loaded.pods.as_slice() else {
            return Err(CliError::Usage {
                message: format!("this file has {} pods", loaded.pods.len()),
                hint: Some("write the pod that is meant to a file of its own".to_owned()),
            });
        };
        let plan = plan_of(store, &file, pod)?;
        let launches = || {
            plan.steps.iter().filter_map(|planned| match &planned.step {
                Step::CreateContainer(launch) => Some(&**launch),
                _ => None,
            })
        };
        if let Some(there) = launches().map(|launch| self.place(launch)).find(|at| at.exists()) {
            return Err(CliError::Usage {
                message: format!("{} is there already, and stays as it is", there.display()),
                hint: Some("name another directory".to_owned()),
            });
        }
        let mut written = Vec::new();
        for launch in launches() {
            // Where one cannot be written, none of it is left.
            written.push(self.write(&plan, launch).inspect_err(|_| {
                let _ = std::fs::remove_dir_all(self.place(launch));
            })?);
        }
        if self.format == Format::Json {
            output::json(&json!({ "pod": plan.pod, "bundles": written }))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn place(&self, launch: &Launch) -> PathBuf {
        self.directory.join(launch.container.as_str())
    }

    fn write(&self, plan: &Plan, launch: &Launch) -> Result<Value, CliError> {
        let at = self.place(launch);
        let bundle = bundle::bundle(plan, launch, &at);
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot write the bundle {}", at.display()), error)
        };
        // One that is filled is made as its layers have it.
        let empty = if bundle.layers.is_empty() { at.join(ROOT) } else { at.clone() };
        std::fs::create_dir_all(empty).map_err(|error| failed(&error))?;
        for volume in &bundle.volumes {
            let (uid, gid) = sandbox::maps(&bundle.document).owner(0, 0);
            let made = std::fs::create_dir_all(volume)
                .and_then(|()| std::os::unix::fs::lchown(volume, Some(uid), Some(gid)));
            made.map_err(|error| failed(&error))?;
        }
        for (path, text) in &bundle.files {
            let parent = path.parent().unwrap_or(&at);
            let made = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(path, text));
            made.map_err(|error| failed(&error))?;
        }
        let mut notes = bundle.notes.clone();
        if !bundle.layers.is_empty() {
            notes.extend(fill(&bundle, &at)?);
        }
        let document = bundle.json().map_err(|error| failed(&error))?;
        std::fs::write(at.join("config.json"), document).map_err(|error| failed(&error))?;
        if self.format == Format::Human {
            output::line(&sanitize(&at.display().to_string()))?;
            for note in &notes {
                output::error_line(&sanitize(&format!("note: {}: {note}", launch.container)));
            }
        }
        Ok(json!({ "container": launch.container, "path": at, "notes": notes }))
    }
}

/// What `up` would do, or has done where the pod runs already.
fn plan_of(store: &Store, file: &PodFile, pod: &Pod) -> Result<Plan, CliError> {
    let name = &pod.spec.name;
    let images = pulled::here(store, &pod.spec)?;
    if Wanted::of(&pod.spec, &images).iter().any(Wanted::is_absent) {
        return Err(CliError::refused(
            format!("not all images of `{name}` are here"),
            format!("`podspec pull {}` fetches them", file.argument()),
        ));
    }
    let observed = up::observe(store, name)?;
    let facts = up::facts(store, &pod.spec, &images)?;
    let plan = plan::plan(Goal::Up(&pod.spec), observed.as_ref(), &facts)
        .map_err(|error| plan_error(store, file, pod, &error))?;
    // A file that has changed since is refused above.
    if observed.is_some() { running::plan(store, name) } else { Ok(plan) }
}

/// Copies the layers, merged, into the root of the bundle; what cannot be copied is told.
fn fill(bundle: &bundle::Bundle, at: &Path) -> Result<Vec<String>, CliError> {
    let (layers, ids) = (&bundle.layers, &sandbox::maps(&bundle.document));
    let (scratch, root) = (at.join("scratch"), at.join(ROOT));
    let failed = |error: &dyn std::error::Error| {
        CliError::host(format!("cannot fill the root of {}", at.display()), error)
    };
    for n in 0..layers.len() {
        for kind in ["upper", "work"] {
            let made = std::fs::create_dir_all(scratch.join(format!("{n}.{kind}")));
            made.map_err(|error| failed(&error))?;
        }
    }
    let merged: OwnedFd = launch::merged(layers, &scratch).map_err(|error| failed(&error))?;
    let source = Source::find(&Place::Root(merged), Path::new("/")).map_err(|e| failed(&e))?;
    let target = Target::find(&Place::Host, &root, &source).map_err(|error| failed(&error))?;
    // As the container's own root sees them: nobody maps ids for a bundle.
    let owner = Owner::Keep { from: &Maps::default(), to: ids };
    let skipped = copy::copy(&source, &target, owner).map_err(|error| failed(&error))?;
    std::fs::remove_dir_all(scratch).map_err(|error| failed(&error))?;
    let told =
        |one: &copy::Skipped| format!("not copied: {} is a {}", one.path.display(), one.kind);
    Ok(skipped.iter().map(told).collect())
}
