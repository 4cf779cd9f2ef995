//! How images come on, for who waits: a bar per layer on a terminal, elsewhere a line per layer that is done.

use super::output;
use crate::image::registry::Notice;
use crate::image::{Outcome, Progress};
use crate::names::image::{Digest, ImageReference};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

/// The view of all images of a command.
#[derive(Clone)]
pub(super) struct View {
    /// None where standard error is no terminal, or nobody wants to see it.
    bars: Option<MultiProgress>,
}

impl View {
    pub(super) fn new() -> Self {
        let shown = std::io::stderr().is_terminal() && !output::is_quiet();
        let bars =
            shown.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { bars }
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
        ImageView { view: self.clone(), reference: reference.to_string(), layers: Mutex::default() }
    }
}

/// One image of it.
pub(super) struct ImageView {
    view: View,
    reference: String,
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
            let template = "{prefix} {bar:24} {bytes:>11} of {total_bytes:<11} {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            let bar = bar.with_prefix(digest.short().to_owned());
            // Seen before its turn comes, too.
            bar.tick();
            bar
        });
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(digest.clone(), (total, bar));
    }

    fn arrived(&self, digest: &Digest, bytes: u64) {
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
