//! `podspec plan`: what `up` would do, without doing it.

use super::error::CliError;
use super::file::PodFile;
use super::graph::{self, Drawing};
use super::output;
use super::pulled::{self, Wanted};
use super::up::{self, plan_error};
use crate::draw::{self, Picture};
use crate::host::Images;
use crate::names::{ContainerName, PodId};
use crate::plan::step::{Plan as Steps, Step};
use crate::plan::{self, Goal};
use crate::spec::Pod;
use crate::state::store::Store;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show what `up` would do; touches nothing
///
/// The containers by levels: what stands in one level starts side by side, once what it waits for is there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec plan shop.yaml                         containers, by levels
  podspec plan --steps shop.yaml                 each step, with its reason
  podspec plan --format json --oci shop.yaml     OCI runtime specs, too
  podspec plan --steps --format svg > steps.svg  the steps as a drawing

A step waits for those alone that it needs, also where it stands in a later level. The critical path is
the chain that decides how long a start takes. Nothing has been timed: a wait for a program to complete
counts more than any number of others, then the longer chain does.")]
pub(super) struct Plan {
    /// Pod file, `-` for standard input; ./pod.yaml where none is named
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to show it
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Shown::Human)]
    format: Shown,
    /// Every step (JSON always has them)
    #[arg(long)]
    steps: bool,
    /// With the OCI runtime spec of every container (JSON only)
    #[arg(long)]
    oci: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    // Not doc comments: clap would make a page of them.
    Human,
    Json,
    Svg,
    Dot,
    Mermaid,
}

impl Shown {
    fn drawing(self) -> Option<Drawing> {
        match self {
            Self::Human | Self::Json => None,
            Self::Svg => Some(Drawing::Svg),
            Self::Dot => Some(Drawing::Dot),
            Self::Mermaid => Some(Drawing::Mermaid),
        }
    }
}

impl Plan {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let file = PodFile::read(self.file.as_deref())?;
        let loaded = file.load()?;
        let drawing = self.format.drawing();
        if drawing.is_some() && loaded.pods.len() != 1 {
            return Err(graph::several(&file, loaded.pods.len()));
        }
        let mut documents = Vec::new();
        for pod in &loaded.pods {
            let images = pulled::here(store, &pod.spec)?;
            let wanted = Wanted::of(&pod.spec, &images);
            pulled::show(&pod.spec, &wanted);
            // The steps depend on what the image says.
            let absent = wanted.iter().any(Wanted::is_absent);
            if absent && self.format == Shown::Json {
                documents.push(without_steps(store, pod, &wanted));
            }
            if absent && drawing.is_none() {
                if self.format == Shown::Human {
                    let head = format!("pod {}\n", pod.spec.name);
                    output::raw(containers(head, &draw::containers(&pod.spec)).as_bytes())?;
                }
                continue;
            }
            let plan = steps(store, &file, pod, &images)?;
            match (self.format, drawing) {
                (_, Some(drawing)) => {
                    output::raw(drawing.draw(&self.picture(pod, &plan)).as_bytes())?;
                }
                (Shown::Json, _) => {
                    let mut document = plan::render::json(&plan, self.oci);
                    document["images"] = json!(wanted);
                    documents.push(document);
                }
                _ => output::raw(self.text(pod, &plan).as_bytes())?,
            }
        }
        if self.format == Shown::Json {
            // One pod is an object, several are a list of them.
            match documents.as_slice() {
                [one] => output::json(one)?,
                many => output::json(&many)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn picture(&self, pod: &Pod, plan: &Steps) -> Picture {
        if self.steps { draw::steps(plan) } else { draw::containers(&pod.spec) }
    }

    fn text(&self, pod: &Pod, plan: &Steps) -> String {
        let head = plan::render::head(plan);
        if plan.steps.is_empty() {
            return head;
        }
        // Of a pod that runs, only those that start again.
        let started = |name: &ContainerName| {
            plan.steps.iter().any(|planned| matches!(&planned.step, Step::StartContainer { container } if container == name))
        };
        let mut out = containers(head, &draw::some_containers(&pod.spec, &started));
        if self.steps {
            out.push_str(&plan::render::steps(plan));
        }
        out
    }
}

/// The containers by levels and the critical path, below what is known of the whole pod.
fn containers(head: String, picture: &Picture) -> String {
    let mut out = head;
    let path = picture.critical_path();
    if !path.is_empty() {
        let path = paint(draw::Style::Critical, &path.join(" \u{2192} "));
        out.push_str(&format!("  {:<10}  {path}\n", "critical"));
    }
    out.push('\n');
    out.push_str(&draw::tree(picture, output::stdout_width(), &paint));
    out
}

/// What is known of the plan of a pod whose images are not all here.
fn without_steps(store: &Store, pod: &Pod, wanted: &[Wanted<'_>]) -> Value {
    let id = PodId::new(&store.run, &pod.spec.name);
    json!({
        "pod": pod.spec.name, "id": id, "exitPolicy": pod.spec.exit_policy,
        "steps": null, "images": wanted,
    })
}

fn steps(store: &Store, file: &PodFile, pod: &Pod, images: &Images) -> Result<Steps, CliError> {
    let observed = up::observe(store, &pod.spec.name)?;
    let facts = up::facts(store, &pod.spec, images)?;
    let plan = plan::plan(Goal::Up(&pod.spec), observed.as_ref(), &facts)
        .map_err(|error| plan_error(store, file, pod, &error))?;
    up::notices(&plan, &facts).iter().for_each(|notice| output::error_line(notice));
    Ok(plan)
}

/// Words of the file are made harmless before they are coloured.
fn paint(part: draw::Style, text: &str) -> String {
    output::paint(&output::sanitize(text), style(part), output::stdout_colors())
}

fn style(part: draw::Style) -> Style {
    match part {
        draw::Style::Dim => Style::new().dimmed(),
        draw::Style::Name => Style::new().bold(),
        draw::Style::Critical => AnsiColor::Magenta.on_default().bold(),
        draw::Style::Started => AnsiColor::Blue.on_default(),
        draw::Style::Ready => AnsiColor::Green.on_default(),
        draw::Style::Completed => AnsiColor::Yellow.on_default(),
    }
}
