//! Which system calls a container may make: a profile in the JSON that moby and podman have, resolved for
//! one container to the `linux.seccomp` of the OCI runtime spec, compiled to the kernel's program. Pure:
//! `sys::filter` is where a program is put in front of a process.
//!
//! ```text
//!  profile (JSON) --Profile::resolve--> linux.seccomp --compile--> classic BPF
//!   conditions on capabilities,          names, arguments,          numbers; a binary search, some
//!   machine, kernel                      actions                    hundred instructions
//! ```
//!
//! Of all rules of a call that match, the strictest holds, as with filters that the kernel stacks; the
//! profile's default holds where none matches. `libseccomp` decides alike wherever no two rules
//! contradict each other. Arguments are compared in their 64 bits, as there: a profile that refuses a number which the
//! kernel takes as 32 bits must mask it (`SCMP_CMP_MASKED_EQ`), or it can be walked around by the upper half.
//!
//! Why not the `seccompiler` crate: it has one action a filter, and this needs three; its filters are
//! linear, and the kernel runs each filter once for every call there is when it is installed.

mod compile;
mod numbers;
mod profile;

pub use compile::compile;
pub use numbers::all as calls;
pub use profile::{Container, DEFAULT, Profile, known_flags};

use crate::sys::filter::Program;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use serde::{Deserialize, Serialize};

/// What system calls are numbered for. The order of the columns in `numbers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
    /// 32-bit programs on x86_64.
    X86,
}

impl Machine {
    /// This one.
    pub const fn own() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 }
    }
}

/// A resolved profile with its program: what every process of a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct Filter {
    /// `linux.seccomp` of the OCI runtime spec, for whoever reads the plan. Written down only for another runtime, and
    /// otherwise none when it is read back: podspec itself has the program.
    pub document: Option<LinuxSeccomp>,
    pub program: Program,
    /// Whether another runtime carries it out.
    pub is_anothers: bool,
}

/// A filter on its way to the supervisor.
#[derive(Serialize, Deserialize)]
struct Written<D = LinuxSeccomp, P = Program> {
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    document: Option<D>,
    program: P,
}

fn none<D>() -> Option<D> {
    None
}

impl Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.document.as_ref().filter(|_| self.is_anothers);
        Written { document, program: &self.program }.serialize(serializer)
    }
}

impl From<Written> for Filter {
    fn from(Written { document, program }: Written) -> Self {
        Self { is_anothers: document.is_some(), document, program }
    }
}

/// What is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeccompError {
    #[error("not a seccomp profile: {0}")]
    Json(String),
    #[error("both `architectures` and `archMap`")]
    TwoArchitectures,
    #[error("a rule with both `name` and `names`, or neither")]
    Names,
    #[error("`{0}` is no kernel version")]
    Kernel(String),
    #[error("`{0}` names an errno, but there is no `errnoRet` with its number")]
    Errno(String),
    #[error("the errno {0} is above 4095")]
    ErrnoRange(u32),
    #[error("{0} takes no `errnoRet`")]
    NoErrno(LinuxSeccompAction),
    #[error("argument {0}: a system call has six, from 0")]
    Argument(usize),
    #[error("`{0}` is no system call, and would not be refused")]
    NoSuchCall(String),
    #[error("{0}: podspec has no listener for system calls")]
    Listener(&'static str),
    #[error("its program has {0} instructions, and the kernel takes 4096")]
    TooLong(usize),
}

impl Filter {
    pub fn of(document: LinuxSeccomp) -> Result<Self, SeccompError> {
        let program = compile(&document, Machine::own())?;
        Ok(Self { document: Some(document), program, is_anothers: false })
    }

    /// What another runtime is given. Nothing passes where the document is not there: an empty one would let all pass.
    pub fn for_others(&self) -> LinuxSeccomp {
        self.document.clone().unwrap_or_else(|| {
            let mut closed = LinuxSeccomp::default();
            closed.set_default_action(LinuxSeccompAction::ScmpActErrno);
            closed
        })
    }
}

#[cfg(test)]
mod tests;
