//! How images come on, for who waits: a bar per layer on a terminal, elsewhere a line per layer that is done.

use super::bars::{Bars, State};
use super::output;
use crate::image::registry::Notice;
use crate::image::{Outcome, Progress};
use crate::names::image::{Digest, ImageReference};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The view of all images of a command.
#[derive(Clone)]
pub(super) struct View {
    /// None where standard error is no terminal, or nobody wants to see it.
    bars: Option<Arc<Mutex<Bars>>>,
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
        let bars = Bars::open().map(|bars| Arc::new(Mutex::new(bars)));
        Self { bars, layers: Arc::default() }
    }

    /// What is left of a fetch that is ended in the middle.
    pub(super) fn last_words(&self) {
        if let Some(mut bars) = self.bars() {
            bars.end();
        }
        output::progress(&kept(self.layers().values()));
    }

    fn bars(&self) -> Option<MutexGuard<'_, Bars>> {
        self.bars.as_deref().map(lock)
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<Digest, Arrived>> {
        lock(&self.layers)
    }

    /// A line above the bars.
    pub(super) fn say(&self, line: &str) {
        let line = output::sanitize(line);
        match self.bars() {
            Some(mut bars) => bars.say(&line),
            None => output::progress(&line),
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Their sizes, and the numbers of their bars.
    layers: Mutex<HashMap<Digest, (u64, Option<usize>)>>,
}

impl ImageView {
    fn layer(&self, digest: &Digest) -> Option<(u64, Option<usize>)> {
        lock(&self.layers).get(digest).copied()
    }

    /// On the layer's bar, or where there are none as a line.
    fn tell(&self, digest: &Digest, state: State, line: impl FnOnce(u64) -> String) {
        match self.layer(digest) {
            Some((total, Some(number))) => {
                if let Some(mut bars) = self.view.bars() {
                    bars.change(number, |bar| {
                        bar.state = state;
                        if matches!(state, State::Done(_)) {
                            bar.here = total;
                        }
                    });
                }
            }
            Some((total, None)) => {
                self.view.say(&format!("{}: {}", self.reference, line(total)));
            }
            None => {}
        }
    }
}

impl Progress for ImageView {
    fn blob(&self, digest: &Digest, total: u64) {
        let number = self.view.bars().map(|mut bars| bars.add(digest.short().to_owned(), total));
        self.view.layers().entry(digest.clone()).or_default();
        lock(&self.layers).insert(digest.clone(), (total, number));
    }

    fn arrived(&self, digest: &Digest, bytes: u64) {
        if self.keeps_parts {
            self.view.layers().entry(digest.clone()).or_default().kept = bytes;
        }
        if let Some((_, Some(number))) = self.layer(digest)
            && let Some(mut bars) = self.view.bars()
        {
            bars.change(number, |bar| bar.here = bytes);
        }
    }

    fn waits(&self, digest: &Digest) {
        let layer = digest.short();
        self.tell(digest, State::Waits("another pull fetches it"), |_| {
            format!("{layer} waits for another pull")
        });
    }

    fn done(&self, digest: &Digest, outcome: Outcome) {
        self.view.layers().entry(digest.clone()).or_default().whole = true;
        let words = match outcome {
            Outcome::Present => "was here",
            Outcome::Unpacked => "is here",
        };
        let layer = digest.short();
        self.tell(digest, State::Done(words), |total| {
            format!("layer {layer} {words} ({})", output::size(total))
        });
    }
}
