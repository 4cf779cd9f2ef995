//! After a restart of the machine nobody watches its pods any more: the first command then says so, and
//! removes what they left on disk. What the kernel held is gone with the old boot.

use super::error::CliError;
use super::output::{self, sanitize};
use super::unused::Sweep;
use super::{target, up};
use crate::exec::traces;
use crate::names::PodName;
use crate::plan::places::Places;
use crate::state::StateError;
use crate::state::lock::{Locks, Range};
use crate::state::store::{Store, boot_id};
use crate::supervise::protocol::chain;

/// Two small files are read where all is of this boot. What goes wrong is said, and keeps no command.
pub(super) fn sweep(store: &Store) {
    let Ok(boot) = boot_id() else { return };
    let marked = [&store.run, &store.data].map(|root| store.marked_boot(root));
    let is_new = !store.run.exists() && !store.data.exists();
    if is_new || marked.iter().all(|marked| marked.as_ref() == Some(&boot)) {
        return;
    }
    // Who may not change anything is told so by the command itself.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let restarted = marked.iter().flatten().any(|marked| *marked != boot);
    if let Err(error) = clean(store, &boot, restarted) {
        let why = error.causes().join(": ");
        let note = format!("note: cannot remove all that an earlier boot left: {why}");
        output::progress(&sanitize(&note));
    }
}

fn clean(store: &Store, boot: &str, restarted: bool) -> Result<(), CliError> {
    let failed = |error: StateError| CliError::host("cannot clean up", &error);
    let mut sweep = Sweep::new(store, false)?;
    let pods = forget_pods(store, boot)?;
    // Nobody waits here for who is at work: the next command tries again.
    if sweep.try_layers_and_leases()? {
        if restarted {
            store.forget_forwarding().map_err(failed)?;
        }
        store.mark_boot(boot).map_err(failed)?;
    }
    let layers = sweep.found.iter().filter(|unused| unused.bytes > 0).count();
    let bytes = sweep.found.iter().map(|unused| unused.bytes).sum();
    let what = match (pods.len(), layers) {
        (0, 0) => return Ok(()),
        (0, _) => format!("removed what pods had written ({})", output::size(bytes)),
        (1, _) => format!("removed what was left of pod `{}`", pods[0]),
        (count, _) => {
            let names: Vec<String> = pods.iter().take(5).map(|pod| format!("`{pod}`")).collect();
            let more = if count > 5 { format!(" and {} more", count - 5) } else { String::new() };
            format!("removed what was left of pods {}{more}", names.join(", "))
        }
    };
    let why = if restarted || !pods.is_empty() { "the machine was restarted: " } else { "" };
    output::progress(&format!("note: {why}{what}; `up` starts a pod anew"));
    Ok(())
}

/// Forgets every pod of another boot; gives their names.
fn forget_pods(store: &Store, boot: &str) -> Result<Vec<PodName>, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::host("cannot list the pods", error);
    let locks = Locks::open(&store.run).map_err(|error| failed(&error))?;
    let directories = up::directories(store);
    let mut forgotten = Vec::new();
    for pod in store.pods().map_err(|error| failed(&error))? {
        if !is_of_another_boot(store, &pod, boot) {
            continue;
        }
        if !locks.try_take(Range::Pod(&pod)).map_err(|error| failed(&error))? {
            continue;
        }
        // Again, under the lock: another command may have done it, and an `up` come after it.
        let supervised = target::is_supervised(store, &pod).map_err(|error| failed(&error))?;
        if !supervised && is_of_another_boot(store, &pod, boot) {
            let left = traces::forget(&Places::new(&directories, &pod));
            if let Some(error) = left.first() {
                let why = chain(error).join(": ");
                output::progress(&sanitize(&format!(
                    "note: something of pod `{pod}` stays: {why}"
                )));
            }
            store.pod(&pod).remove().map_err(|error| failed(&error))?;
            forgotten.push(pod.clone());
        }
        locks.release(Range::Pod(&pod)).map_err(|error| failed(&error))?;
    }
    Ok(forgotten)
}

/// By its record or its journal; what says neither is left to `down`, which undoes it by its names.
fn is_of_another_boot(store: &Store, pod: &PodName, boot: &str) -> bool {
    let dir = store.pod(pod);
    let recorded = dir.read_record().ok().flatten().map(|record| record.boot);
    let journaled = || dir.read_journal().ok().flatten().map(|found| found.header.boot);
    recorded.or_else(journaled).is_some_and(|of| of != boot)
}
