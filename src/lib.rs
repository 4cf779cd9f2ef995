//! podspec, a declarative pod runner for Linux: a pod file goes in, a running pod comes out, in
//! milliseconds and without a daemon. This page is the map of the code.
//!
//! ```text
//!  pod.yaml --> spec -----> plan --------------------> exec ---------> supervise
//!               text ->     PodSpec + HostFacts        one match       one process a pod:
//!               PodSpec,    + what runs now            does a step,    waits on pidfds, signals,
//!               or every    -> a graph of steps,       one undoes it   deadlines, its socket
//!               problem     infra first; pure
//! ```
//!
//! # The way of an `up`
//! `cli/up.rs` starts the supervisor before it has read the file, so that the supervisor's own exec
//! overlaps with loading (`spec`), looking at the machine (`host`) and planning (`plan`). The plan, with
//! the locks that were taken for it, goes over a socket; from then on the supervisor is the pod's parent
//! (`supervise`). It notes each step in the journal (`state`) before it does it (`exec`), and each step
//! is a call or two of a mechanism (`net`, `cgroup`, `sandbox`). `down` is the same journal, undone.
//!
//! # Rules
//! - A choice about a pod is made in `plan` or before; whoever comes after it obeys.
//! - Mechanisms take names, descriptors and numbers. They know no pods, and never call each other.
//! - `cli` alone prints, sets exit codes and reads the environment; `sys` alone is unsafe.
//! - Who may use whom is a table in `tests/layering.rs`, and a test.
//! - Undoing is idempotent and never stops at an error, for a crash may have come at any moment.
//!
//! # Kernel features
//! Linux 6.1 is the oldest kernel.
//!
//! | feature | since | used for | where it is missing |
//! |---|---|---|---|
//! | `clone3` with `CLONE_INTO_CGROUP` | 5.7 | processes born in their cgroup | error |
//! | `BPF_CGROUP_DEVICE` | 4.15 | which devices a container may use | error |
//! | `cgroup.kill` | 5.14 | ending what outlives a container's first process | error |
//! | `open_tree`, `move_mount`, `fsopen` | 5.2 | mounts by descriptor, not by path | error |
//! | `mount_setattr` | 5.12 | read-only copies of mounts, of podspec's own program | error |
//! | `openat2` | 5.6 | paths inside a root that may be hostile | error |
//! | `close_range` | 5.9 | no descriptor of the host survives exec | error |
//! | `MFD_EXEC` | 6.3 | infra's program | a memfd without the flag |
//! | `NF_NAT_RANGE_PROTO_OFFSET` in nf_tables | 5.18 | a port range as one element | error |

/// Words with rules: names of pods, containers, volumes, links.
pub mod names;

/// Text to a `PodSpec`, or every problem of the text.
pub mod spec;

/// A `PodSpec` and facts of the machine to a graph of steps.
pub mod plan;

/// Pictures of a pod and of a plan.
pub mod draw;

/// The machine's facts, read and not changed.
pub mod host;

/// System calls that nix and rustix lack.
pub mod sys;

/// Which system calls a container may make.
pub mod seccomp;

/// Cgroups: of the v2 hierarchy, and what bounds them in v1's.
pub mod cgroup;
/// Files in and out of a root that may be hostile.
pub mod copy;
/// Images: fetched, verified, unpacked and kept as layers that an overlay can stand on.
pub mod image;
/// Links, addresses, port maps.
pub mod net;
/// Between clone and execve: infra, containers, further processes in them.
pub mod sandbox;

/// What survives us on disk: records, journals, locks.
pub mod state;

/// The embedded runtime for others: OCI's bundles and their lives.
pub mod oci;

/// Doing steps and undoing them.
pub mod exec;

/// A running pod's one process.
pub mod supervise;

/// The command line.
pub mod cli;
