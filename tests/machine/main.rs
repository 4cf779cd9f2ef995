//! What takes a machine of its own: systemd as the first process, and SELinux. tests/vm/run builds this program and
//! runs it in a virtual machine; `cargo test` does not, for it would change the machine that it runs on.

#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods, unreachable_pub)]

#[allow(dead_code)]
#[path = "../kernel/host.rs"]
mod host;

mod selinux;
mod systemd;
