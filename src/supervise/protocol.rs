//! What a pod's supervisor and its clients say to each other. Every message is one frame (`wire.rs`).

use crate::exec::secrets::Secrets;
use crate::names::ContainerName;
use crate::plan::step::StepId;
use crate::state::record::ContainerStatus;
use crate::state::store::Store;
use crate::supervise::logs::Stream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// From `up` to a fresh supervisor; the locks come as a descriptor beside it, the journal's header (the
/// plan) as the next frame, so that it goes to disk as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Handover {
    pub store: Store,
    /// The pod outlives its client.
    pub detach: bool,
    /// The client wants each step told ([`Event::Step`]).
    pub steps: bool,
    /// Containers and labels as the file has them, for the record.
    pub record: crate::state::record::PodRecord,
    /// Texts of the pod's secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: Secrets,
}

/// From a client to a running supervisor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Request {
    /// End the pod as `down` does; answered by [`Event::Gone`].
    Down {
        /// Say nothing of single containers on the way.
        #[serde(default)]
        terse: bool,
    },
    /// As `Down`, and nobody is waited for.
    Hurry,
    /// Tell how each container is, then when the pod is up, also where it is already.
    Watch,
    /// Start these containers, which have ended; answered by [`Event::Done`].
    Start { containers: Vec<ContainerName> },
    /// See what a container writes from now on; answered by [`Event::Attached`].
    Attach { container: ContainerName },
    /// End these containers, which start only when a user starts them; answered by [`Event::Done`].
    Stop {
        containers: Vec<ContainerName>,
        /// How long each may take; none: what the file says.
        grace: Option<Duration>,
    },
    /// End these containers and start them again; answered by [`Event::Done`].
    Restart { containers: Vec<ContainerName>, grace: Option<Duration> },
    /// Send the first process of each a signal; answered by [`Event::Done`].
    Kill { containers: Vec<ContainerName>, signal: i32 },
}

/// How a container is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    pub name: ContainerName,
    pub status: ContainerStatus,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    #[serde(default)]
    pub ready: bool,
}

/// From a supervisor to its clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Event {
    Container(ContainerState),
    /// All is started that can be.
    Up {
        /// Containers that will never start, and why.
        never: Vec<(ContainerName, String)>,
    },
    /// All of it is ready that is to run, and what was to end well has.
    Ready,
    /// What was asked for is done: how the containers are now, and what could not be done.
    Done {
        containers: Vec<ContainerState>,
        problems: Vec<String>,
    },
    /// What the container writes follows in frames of its own ([`Output`]). Where it has a terminal, its
    /// master comes with this frame: to be written and sized, not read.
    Attached {
        terminal: bool,
    },
    /// There is nothing to attach to.
    NotAttached {
        reason: String,
    },
    /// Something that the user should know, and that stops nothing.
    Note {
        text: String,
    },
    /// A step was begun, or (where it took some time) done; for a client that asked.
    Step {
        id: StepId,
        /// By [`super::steps::now`].
        at: Duration,
        took: Option<Duration>,
    },
    /// The machine has changed since the plan was made: all is undone, another plan may be sent.
    Stale {
        reason: String,
    },
    /// The start failed, and all of it is undone.
    Failed(Failure),
    /// Every container has ended and none will start again.
    Ended {
        /// Of the first container that failed for good, else 0.
        code: i32,
    },
    /// The pod is being brought down.
    Stopping,
    /// The pod is gone; what could not be undone.
    Gone {
        errors: Vec<String>,
    },
}

/// What a container wrote: a frame that is no JSON, the stream's byte and then the text as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output<'a> {
    pub stream: Stream,
    pub text: &'a [u8],
}

impl<'a> Output<'a> {
    const STDOUT: u8 = 1;
    const STDERR: u8 = 2;

    pub fn encode(self) -> Vec<u8> {
        let stream = match self.stream {
            Stream::Stdout => Self::STDOUT,
            Stream::Stderr => Self::STDERR,
        };
        [&[stream], self.text].concat()
    }

    /// `None` for a frame that is an event.
    pub fn decode(frame: &'a [u8]) -> Option<Self> {
        let (first, text) = frame.split_first()?;
        let stream = match *first {
            Self::STDOUT => Stream::Stdout,
            Self::STDERR => Stream::Stderr,
            _ => return None,
        };
        Some(Self { stream, text })
    }
}

/// Why a start failed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed, as `plan` prints it.
    pub step: String,
    pub container: Option<ContainerName>,
    /// The error and what it came from, outermost first.
    pub causes: Vec<String>,
    /// The last lines of that container's log.
    pub log: Vec<String>,
    /// What could not be undone.
    pub leftovers: Vec<String>,
}

/// An error and its sources, outermost first.
pub fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes
}
