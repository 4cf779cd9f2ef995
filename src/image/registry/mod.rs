//! Images from registries, over the distribution protocol's `/v2/`. A registry is hostile, and so is whatever
//! answers in its place: nothing is read without a limit, no password goes to another host than its own, and
//! TLS is given up only where the user said so. Blocking sockets, for the threads that unpack read from them.
//!
//! ```text
//! settings.rs     what the command line and the environment say
//! client.rs       what all images of a command share: connections, roots, logins
//! transport.rs    one request: redirects, proxies, certificates, plain HTTP
//! credentials.rs  docker's and podman's files, and their helpers
//! challenge.rs    what a 401 asks for
//! token.rs        a token for a repository
//! places.rs       where a name leads: registries.conf
//! mirrors.rs      the places of an image as one source
//! source.rs       manifests and blobs; tries again
//! blob.rs         a blob that goes on where it was cut off
//! ```
//!
//! Why not `oci-client`, which speaks the same protocol: version 0.18 brings 139 crates with tokio, reqwest and
//! aws-lc's C, where `ureq` has 29. It reads manifests, tokens and errors into memory however long they are, sends a
//! password to whatever realm an answer names, follows redirects from https to http, tries nothing again, and keeps a
//! token that was refused. Its streams are asynchronous, where unpacking is threads. What would be left of it are
//! names of media types.

mod blob;
mod challenge;
mod client;
mod credentials;
mod error;
mod mirrors;
mod places;
mod settings;
mod source;
mod token;
mod transport;

#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;

pub use client::Client;
pub use error::{RegistryError, Trouble};
pub use mirrors::Mirrored;
pub use settings::{Notice, Patience, Settings};
