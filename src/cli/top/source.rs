//! What there is to see: the records of pods, what waits for what in their plans, and what they use. Changes
//! wake us, for a supervisor replaces its record with each; the tick sees what no file tells.

use super::model::Pod;
use crate::cli::board::{self, Needs};
use crate::cli::error::CliError;
use crate::cli::ps;
use crate::cli::running;
use crate::cli::stats::{Meter, Readings, Sample};
use crate::cli::target::{self, Target};
use crate::names::PodName;
use crate::state::store::{Store, boot_id};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

pub(super) struct Source<'a> {
    store: &'a Store,
    /// None: every pod.
    pod: Option<PodName>,
    boot: String,
    meter: Meter<'a>,
    before: Option<Readings>,
    inotify: Inotify,
    /// By when its journal was written last: a plan is long, and seldom a new one.
    needs: BTreeMap<PodName, (SystemTime, Needs)>,
}

impl<'a> Source<'a> {
    pub(super) fn open(store: &'a Store, pod: Option<PodName>) -> Result<Self, CliError> {
        let failed =
            |error: &dyn std::error::Error| CliError::host("cannot follow the pods", error);
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = Inotify::init(flags).map_err(|errno| failed(&errno))?;
        let whole = pod.clone().map(|pod| vec![Target::whole(pod)]);
        Ok(Self {
            store,
            pod,
            boot: boot_id().map_err(|error| failed(&error))?,
            meter: Meter::open(store, whole)?,
            before: None,
            inotify,
            needs: BTreeMap::new(),
        })
    }

    /// Every pod as it is now.
    pub(super) fn pods(&mut self) -> Result<Vec<Pod>, CliError> {
        // What changes from here on wakes us again.
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        self.watch_all();
        let names = match &self.pod {
            Some(pod) => vec![pod.clone()],
            None => {
                self.store.pods().map_err(|error| CliError::host("cannot list the pods", &error))?
            }
        };
        let pods: Vec<Pod> = names.iter().filter_map(|name| self.pod(name)).collect();
        self.needs.retain(|name, _| names.contains(name));
        Ok(pods)
    }

    /// `None` where there is none, any more.
    fn pod(&mut self, name: &PodName) -> Option<Pod> {
        let directory = self.store.pod(name);
        let of_state = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE_SELF;
        let _ = self.inotify.add_watch(directory.path(), of_state);
        match target::read(self.store, name) {
            Ok(Some(record)) => {
                let status = ps::pod_status(&record, &self.boot);
                Some(Pod {
                    name: name.clone(),
                    status,
                    needs: self.needs(name),
                    record: Some(record),
                })
            }
            Ok(None) if !directory.exists() => None,
            Ok(None) => {
                let status = ps::unrecorded_status(self.store, name).to_owned();
                Some(Pod::unknown(name.clone(), status))
            }
            Err(_) => Some(Pod::unknown(name.clone(), "unreadable".to_owned())),
        }
    }

    fn needs(&mut self, name: &PodName) -> Needs {
        let journal = std::fs::metadata(self.store.pod(name).journal());
        let Ok(written) = journal.and_then(|metadata| metadata.modified()) else {
            return Needs::default();
        };
        if let Some((known, needs)) = self.needs.get(name)
            && *known == written
        {
            return needs.clone();
        }
        let Ok(plan) = running::plan(self.store, name) else { return Needs::default() };
        let needs = board::needs(&plan);
        self.needs.insert(name.clone(), (written, needs.clone()));
        needs
    }

    /// Pods that come and go. A watch that is there already stays one.
    fn watch_all(&self) {
        let of_pods = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE;
        let pods = self.store.pod_directories();
        if self.inotify.add_watch(&pods, of_pods).is_err() {
            // Before the first pod there is no directory of pods; without one above, the tick has to do.
            let _ = self.inotify.add_watch(&self.store.run, AddWatchFlags::IN_CREATE);
        }
    }

    /// What is used, measured since the call before; `None` for the first.
    pub(super) fn sample(&mut self) -> Result<Option<Sample>, CliError> {
        let now = self.meter.read()?;
        let before = self.before.replace(now);
        Ok(before.zip(self.before.as_ref()).map(|(before, now)| self.meter.sample(&before, now)))
    }
}

impl AsFd for Source<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
