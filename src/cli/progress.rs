//! How images come on, for who waits: a bar per layer on a terminal, elsewhere a line per layer that is done.

use super::output;
use crate::image::registry::Notice;
use crate::image::{Outcome, Progress};
use crate::names::image::{Digest, ImageReference};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::collections::HashMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The view of all images of a command.
#[derive(Clone)]
pub(super) struct View {
    /// None where standard error is no terminal, or nobody wants to see it.
    bars: Option<MultiProgress>,
    layers: Arc<Mutex<HashMap<Digest, Arrived>>>,
}

/// How much of a layer is in the store.
#[derive(Default)]
struct Arrived {
    kept: u64,
    whole: bool,
}

impl View {
    pub(super) fn new() -> Self {
        let shown = std::io::stderr().is_terminal() && !output::is_quiet();
        let bars =
            shown.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { bars, layers: Arc::default() }
    }

    /// What is left of a fetch that is ended in the middle.
    pub(super) fn last_words(&self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        output::progress(&kept(self.layers().values()));
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<Digest, Arrived>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line above the bars.
    pub(super) fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => drop(bars.println(output::sanitize(line))),
            None => output::progress(&output::sanitize(line)),
        }
    }

    /// What is tried again is said.
    pub(super) fn notice(&self) -> Notice {
        let view = self.clone();
        Arc::new(move |line| view.say(&format!("note: {line}")))
    }

    pub(super) fn image(&self, reference: &ImageReference) -> ImageView {
        ImageView {
            view: self.clone(),
            reference: reference.to_string(),
            keeps_parts: !reference.is_local(),
            layers: Mutex::default(),
        }
    }
}

fn size(bytes: u64, to: &mut dyn Write) {
    let _ = to.write_str(&output::size(bytes));
}

fn kept<'a>(layers: impl Iterator<Item = &'a Arrived>) -> String {
    let (whole, parts): (Vec<_>, Vec<_>) = layers.partition(|layer| layer.whole);
    let bytes = parts.iter().map(|layer| layer.kept).sum();
    let number = |count: usize| format!("{count} layer{}", if count == 1 { "" } else { "s" });
    let what = match (whole.len(), bytes) {
        (0, 0) => return "ended: nothing had arrived yet".to_owned(),
        (0, _) => format!("{} of unfinished layers", output::size(bytes)),
        (count, 0) => number(count),
        (count, _) => format!("{} and {} of others", number(count), output::size(bytes)),
    };
    format!("ended: what had arrived is kept ({what}); the next pull goes on from there")
}

/// One image of it.
pub(super) struct ImageView {
    view: View,
    reference: String,
    /// Of a layer that does not come to its end; not where it comes from this machine.
    keeps_parts: bool,
    layers: Mutex<HashMap<Digest, (u64, Option<ProgressBar>)>>,
}

impl ImageView {
    fn with(&self, digest: &Digest, work: impl FnOnce(u64, Option<&ProgressBar>)) {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((total, bar)) = layers.get(digest) {
            work(*total, bar.as_ref());
        }
    }
}

impl Progress for ImageView {
    fn blob(&self, digest: &Digest, total: u64) {
        let bar = self.view.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(total));
            let template = "{prefix} {bar:24} {here:>6} of {all:<6} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                let here = |state: &ProgressState, to: &mut dyn Write| size(state.pos(), to);
                let all = move |_: &ProgressState, to: &mut dyn Write| size(total, to);
                let style = style.with_key("here", here).with_key("all", all);
                bar.set_style(style.progress_chars("=> "));
            }
            let bar = bar.with_prefix(digest.short().to_owned());
            // Seen before its turn comes, too.
            bar.tick();
            bar
        });
        self.view.layers().entry(digest.clone()).or_default();
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(digest.clone(), (total, bar));
    }

    fn arrived(&self, digest: &Digest, bytes: u64) {
        if self.keeps_parts {
            self.view.layers().entry(digest.clone()).or_default().kept = bytes;
        }
        self.with(digest, |_, bar| {
            if let Some(bar) = bar {
                bar.set_position(bytes);
            }
        });
    }

    fn waits(&self, digest: &Digest) {
        self.with(digest, |_, bar| match bar {
            Some(bar) => bar.set_message("another pull fetches it"),
            None => self.view.say(&format!(
                "{}: {} waits for another pull",
                self.reference,
                digest.short()
            )),
        });
    }

    fn done(&self, digest: &Digest, outcome: Outcome) {
        self.view.layers().entry(digest.clone()).or_default().whole = true;
        let words = match outcome {
            Outcome::Present => "was here",
            Outcome::Unpacked => "is here",
        };
        self.with(digest, |total, bar| match bar {
            Some(bar) => {
                bar.set_position(total);
                bar.finish_with_message(words);
            }
            None => self.view.say(&format!(
                "{}: layer {} {words} ({})",
                self.reference,
                digest.short(),
                output::size(total)
            )),
        });
    }
}
