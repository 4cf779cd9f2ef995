//! The whole program on fake hosts (`host.rs`): real namespaces, links, nftables, mounts, cgroups and
//! processes, and none of the machine's own. Every test ends by looking for anything left behind.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods, unreachable_pub)]

mod host;
mod identity;
#[path = "../random.rs"]
mod random;

mod reaper;
// Ulimits, oom scores, shared memory, sysctls, devices.
mod limits;
// Memory, processors, processes, disks, devices: what cgroups bound.
mod resources;
// A user's terminal, for whatever draws or asks.
mod terminal;
// The same with a screen that can be read.
mod tmux;
// Several pods in front.
mod together;
// Parts of volumes, and mounts that spread.
mod volumes;

// What the article in the README ran, section by section, and the first minute of a new user.
mod article;
// Published ports, from everywhere; who must not get in; conflicts.
mod net;
// Somebody else changes the network and the cgroups under running pods.
mod net_resilience;
// One container: its process, its life, its logs, and `exec` into it.
mod process;
// The pod's life: init containers, policies, what users ask for.
mod life;
// How a start went.
mod analyze;
// Probes, hooks, and the order that readiness makes.
mod probes;
// Every kind of probe with every outcome.
mod outcomes;
mod review;
// kill -9 of anything at any moment.
mod crash;
// Many pods at once.
mod parallel;
// Many times, at once, in any order: nothing grows, hangs or is left.
mod soak;
// What a supervisor keeps while nothing happens.
mod rest;
// What a container can reach of the host is what the file says, and no more.
mod security;
// Containers that change things while podspec looks at them.
mod races;
// What comes over the network, or goes where it must not.
mod intruders;
// The walls of a container: system calls, capabilities, hidden paths; and what takes them away.
mod profile;
// The command line: which pod is meant, lists, prunes.
mod cli;
// What processes do and use, seen from outside.
mod observe;
// Pods on the whole screen.
mod top;
// The view of a start.
mod front;
// What no pod uses is removed, and nothing else.
mod leftovers;
// Images: what they say, what is shared, what is refused.
mod images;
// Containers of crun and runc.
mod runtimes;
// A container's stdin and terminal, and who attaches.
mod attach;
// Files in and out, whatever the container does meanwhile.
mod cp;
// docs/json.md is what the commands print.
mod formats;
// Secrets.
mod secrets;
// Images from a registry.
mod registry;
// `podspec oci`: bundles and their lives, as other runtimes have them.
mod oci;
// Which image a pod gets, and when a registry is asked.
mod locked;
// podman with it as its runtime.
mod oci_podman;
// The same program in containers of podspec, podman and crun: who lets it do more.
mod inspector;
// What the suites of other runtimes ask of one.
mod oci_suites;
// Pulls that are killed, at once, led through a proxy, without room.
mod pulls;
// PostgreSQL, Redis and Apache in one pod, killed at random.
mod shop;
// Clocks that are set.
mod clocks;
// Apache and Redis from pulled images, and what podman makes of the same.
mod real;
// Images of very many layers, and of random ones.
mod layers;
