//! Keeps a pod's part of the firewall as it was made: hears that the table went, shuts what would be open
//! without it, and puts it back. Only pods on the bridge watch; nothing else of the firewall wakes them.

use super::events::Token;
use super::pod::Pod;
use super::protocol::{Event, chain};
use crate::exec::{ExecError, restore};
use crate::net::firewall::{table_lost, watch_table};
use crate::plan::step::{Connection, Forward, Plan, Step, StepId};
use crate::state::lock::{Locks, Range};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The watch begins so long after the pod was handed over: it costs a quarter of a millisecond, which no
/// `up` should wait for, and begins with a look at what was lost before.
const BEGINS_AFTER: Duration = Duration::from_millis(100);
/// Somebody changes the network: it is not for long.
const LOCKED_AGAIN: Duration = Duration::from_millis(10);
const FAILED_AGAIN: Duration = Duration::from_secs(1);

/// What is known of the firewall.
#[derive(Debug, Default)]
pub(super) struct Firewall {
    watch: Option<OwnedFd>,
    /// When to look after it.
    due: Option<Instant>,
    /// The table went and is not back as far as we know.
    lost: bool,
    /// That it cannot be put back was told.
    told: bool,
}

impl Firewall {
    pub(super) fn new(plan: &Plan) -> Self {
        let steps = plan.steps.iter().map(|planned| &planned.step).enumerate();
        let due = connection(steps).map(|_| Instant::now() + BEGINS_AFTER);
        Self { due, ..Self::default() }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// How the pod is on the bridge, if it is.
fn connection<'a>(
    mut steps: impl Iterator<Item = (StepId, &'a Step)>,
) -> Option<(StepId, &'a Connection)> {
    steps.find_map(|(id, step)| match step {
        Step::Connect(connection) => Some((id, connection)),
        _ => None,
    })
}

impl Pod<'_> {
    /// The watch has something to say.
    pub(super) fn firewall_changed(&mut self) {
        let Some(watch) = &self.firewall.watch else { return };
        // What cannot be read may be a loss.
        if table_lost(watch.as_fd()).unwrap_or(true) {
            self.firewall_lost();
            self.firewall.due = Some(Instant::now());
        }
    }

    fn firewall_lost(&mut self) {
        self.firewall.lost = true;
        if let Some((_, connection)) = connection(self.script.here()) {
            // Fails where the bridge is gone too, and then nothing is open.
            let _ = restore::close_loopback(&connection.bridge);
        }
    }

    pub(super) fn tend_firewall_if_due(&mut self) {
        if self.firewall.due.is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.firewall.due = match self.tend_firewall() {
            Ok(again) => again.map(|wait| Instant::now() + wait),
            Err(error) => {
                if !std::mem::replace(&mut self.firewall.told, true) {
                    let causes = chain(&error).join(": ");
                    let text = format!("the firewall cannot be put back: {causes}");
                    self.tell(&Event::Note { text });
                }
                Some(Instant::now() + FAILED_AGAIN)
            }
        };
        // Not each time that it is tried again.
        if self.firewall.due.is_none() {
            self.rest_soon();
        }
    }

    /// Begins the watch, and puts back what is lost; returns after how long to look again.
    fn tend_firewall(&mut self) -> Result<Option<Duration>, ExecError> {
        let connected = connection(self.script.here());
        let Some((step, connection)) = connected.map(|(step, it)| (step, it.clone())) else {
            return Ok(None);
        };
        if !self.life.is_done(step) {
            return Ok(Some(BEGINS_AFTER));
        }
        let forwards = self.published();
        if self.firewall.watch.is_none() {
            let watch = watch_table()?;
            // Without memory for it the pod is merely not watched.
            let _ = self.events.watch(&watch, Token::TableLost);
            self.firewall.watch = Some(watch);
            if !restore::is_whole(&forwards)? {
                self.firewall_lost();
            }
        }
        if !self.firewall.lost {
            return Ok(None);
        }
        // While the pod starts, the lock may be our own; and nobody's events wait for another's lock.
        let locks = match &self.locks {
            Some(_) => None,
            None => Some(Locks::open(&self.store.run)?),
        };
        if let Some(locks) = &locks
            && !locks.try_take(Range::Network)?
        {
            return Ok(Some(LOCKED_AGAIN));
        }
        let guarded = self.store.forwarding_record().exists();
        restore::restore(&connection, guarded, self.script.plan.id.as_str(), &forwards)?;
        (self.firewall.lost, self.firewall.told) = (false, false);
        let text = "somebody emptied the firewall: its table `inet podspec` is back".to_owned();
        self.tell(&Event::Note { text });
        Ok(None)
    }

    /// The ports that are published by now.
    fn published(&self) -> Vec<Forward> {
        let done = self.script.here().filter(|(id, _)| self.life.is_done(*id));
        let forwards = done.filter_map(|(_, step)| match step {
            Step::Publish { forwards } => Some(forwards),
            _ => None,
        });
        forwards.flatten().cloned().collect()
    }
}
