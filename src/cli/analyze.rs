//! `podspec analyze`: how a start went, in words or drawn. Reads the pod's journal alone; the supervisor is
//! not asked, and need not be there.

use super::error::CliError;
use super::graph;
use super::output::{self, sanitize};
use super::table::{Cell, table};
use super::target::{self, TargetArg};
use crate::draw::timeline::{self, Part, Spent, Start, Timeline, time, timeline};
use crate::state::store::Store;
use crate::supervise::steps;
use anstyle::{AnsiColor, Style};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show where a pod's start took its time, and what waited for what
///
/// The critical path is the chain of steps and waits that decided when the pod was ready: whatever is not on
/// it could have been slower for nothing. Of a pod that is not ready yet, what it waits for now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  podspec analyze shop
  podspec analyze shop --format svg > shop.svg     a timeline, as an image
  podspec analyze shop --format html -o shop.html  the same, with tables
  podspec analyze shop --format json | jq '.criticalPath[].what'

Times are of the first start of each container, since `podspec up` was typed; `>` is before what goes on.
Later restarts are told by `podspec events`. JSON has times in microseconds.")]
pub(super) struct Analyze {
    /// The pod; that of ./pod.yaml where none is named
    #[arg(value_name = "POD")]
    target: Option<TargetArg>,
    /// How to show it
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Shown::Human)]
    format: Shown,
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shown {
    // Not doc comments: clap would make a page of them.
    Human,
    Json,
    Svg,
    Html,
}

impl Analyze {
    pub(super) fn run(self, store: &Store) -> Result<ExitCode, CliError> {
        let target = target::one(self.target.as_ref())?;
        if target.container.is_some() {
            return Err(CliError::usage("a start is of a whole pod: name the pod alone"));
        }
        let record = target::find(store, &target.pod)?;
        let failed = |error: &dyn std::error::Error| {
            CliError::host(format!("cannot read how `{}` started", target.pod), error)
        };
        let journal = store.pod(&target.pod).read_journal().map_err(|error| failed(&error))?;
        let timeline = journal.and_then(|found| {
            let start = Start {
                plan: &found.header.plan,
                times: &found.times,
                began_at: &record.created_at,
                now: steps::moment(steps::now()),
            };
            timeline(&start)
        });
        let Some(timeline) = timeline else {
            return Err(CliError::refused(
                format!("nothing of the start of `{}` was timed yet", target.pod),
                "it is just beginning (try again), or an older podspec started it",
            ));
        };
        let shown = match self.format {
            Shown::Human => text(&timeline, self.output.is_none() && output::stdout_colors()),
            Shown::Json => output::json_text(&timeline)? + "\n",
            Shown::Svg => timeline::svg(&timeline),
            Shown::Html => timeline::html(&timeline),
        };
        match &self.output {
            Some(path) => graph::write(path, &shown)?,
            None => output::raw(shown.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// For a person.
fn text(timeline: &Timeline, colored: bool) -> String {
    let strong = |text: &str| output::paint(text, Style::new().bold(), colored);
    let total = strong(&time(timeline.end));
    let pod = &timeline.pod;
    let mut out = if timeline.is_ready {
        format!("{pod} was ready {total} after `podspec up`\n")
    } else {
        format!("{pod} is not ready {total} after `podspec up`\n")
    };
    out.push_str(&format!("\n{}\n", strong("The critical path")));
    out.push_str(&path(timeline, colored));
    out.push_str(&format!("\n{}\n", strong("Where that time went")));
    out.push_str(&spent(timeline, colored));
    out.push_str(&format!("\n{}\n", strong("Containers")));
    out.push_str(&containers(timeline));
    out
}

/// What takes a tenth of the whole or more stands out.
fn weight(micros: u64, timeline: &Timeline) -> Style {
    match micros.saturating_mul(10) >= timeline.end {
        true => AnsiColor::Red.on_default(),
        false => Style::new(),
    }
}

fn path(timeline: &Timeline, colored: bool) -> String {
    let name = |part: &Part| timeline.rows[part.row].name.clone();
    let width = timeline.critical_path.iter().map(|part| name(part).len()).max().unwrap_or(0);
    let mut out = String::new();
    for part in &timeline.critical_path {
        let took = part.to.saturating_sub(part.from);
        let shown = output::paint(&format!("{:>9}", time(took)), weight(took, timeline), colored);
        let what = match (part.spent, part.to == timeline.end && !timeline.is_ready) {
            (Spent::Readiness, true) => format!("is not ready: {}", part.what),
            (Spent::Readiness, false) => format!("waits to be ready: {}", part.what),
            (_, true) => format!("{}, and is not done", part.what),
            _ => part.what.clone(),
        };
        let row = format!("{:<width$}", name(part));
        out.push_str(&format!(
            "  at {:>9}  {shown}  {row}  {}\n",
            time(part.from),
            sanitize(&what)
        ));
    }
    out
}

fn spent(timeline: &Timeline, colored: bool) -> String {
    const BAR: f64 = 30.0;
    let mut out = String::new();
    for (spent, micros) in timeline.spent() {
        let share = micros as f64 / timeline.end as f64;
        let bar = "\u{2588}".repeat((share * BAR).round() as usize);
        let bar = output::paint(&bar, weight(micros, timeline), colored);
        let line = format!(
            "  {:>5.1} %  {:>9}  {:<34}  {bar}",
            share * 100.0,
            time(micros),
            spent.words()
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn containers(timeline: &Timeline) -> String {
    let cell = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), time);
    let rows = timeline.rows.iter().filter(|row| row.role.is_some()).map(|row| {
        let sum = |wanted: Spent| {
            let bars = row.bars.iter().filter(|bar| bar.spent == wanted);
            Some(bars.map(|bar| bar.to.saturating_sub(bar.from)).sum()).filter(|sum| *sum > 0)
        };
        // What goes on is longer than it is by now.
        let so_far = |took: Option<u64>, end: Option<u64>| match (took, end) {
            (Some(took), None) if !timeline.is_ready => format!(">{}", time(took)),
            (took, _) => cell(took),
        };
        let times = [
            cell(sum(Spent::SetUp)),
            so_far(sum(Spent::Held), row.started),
            cell(row.started),
            so_far(sum(Spent::Readiness), row.ready),
            cell(row.ready),
            cell(row.completed),
        ];
        let mut cells = vec![Cell::Text(format!("  {}", row.name))];
        cells.extend(times.map(Cell::Number));
        cells
    });
    let heads =
        ["  CONTAINER", "SET UP IN", "HELD FOR", "STARTED", "READY IN", "READY", "COMPLETED"];
    table(&heads, &rows.collect::<Vec<_>>(), &[], usize::MAX) + "\n"
}
