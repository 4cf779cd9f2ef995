//! What can go wrong between clone3 and execve, and how it crosses from the child to its parent: one packet of
//! a kind, a stage, an errno and an object.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("no such file in the rootfs: {program}")]
    NotFound { program: String, source: io::Error },
    #[error("not an executable program: {program}")]
    NotExecutable { program: String, source: io::Error },
    #[error("{what}")]
    Hook { what: String },
    /// Another runtime has refused.
    #[error("{what}")]
    Runtime { what: String },
    #[error("cannot {stage} {object}")]
    Step { stage: Stage, object: String, source: io::Error },
}

macro_rules! stages {
    ($($name:ident = $text:literal,)*) => {
        /// What was being done, as it stands after "cannot".
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Stage { $($name,)* }

        impl Stage {
            const ALL: &[Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for Stage {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

stages! {
    Support = "carry out the OCI document's",
    Clone = "create the process",
    Channel = "talk over the channel to",
    Stdio = "set up the standard stream",
    Join = "join namespace",
    Unshare = "make namespaces",
    Map = "map the ids",
    Clock = "set the clocks ahead by",
    Hostname = "set the host name to",
    DomainName = "set the domain name to",
    OpenLayer = "open layer",
    MapLayer = "map the ids of the layer (does its file system have idmapped mounts?)",
    MapSource = "map the ids of the mount source (does its file system have idmapped mounts? `idmap: false` leaves them)",
    MountOverlay = "mount the overlay at",
    OpenSource = "open the mount source",
    FindTarget = "find in the rootfs the mount target",
    MakeTarget = "make in the rootfs the mount target",
    Mount = "mount",
    MountDirectory = "mount a directory onto the file",
    MountFile = "mount a file onto the directory",
    CopyUp = "copy the files of the root into the tmpfs at",
    Device = "make device",
    Pivot = "change the root to",
    Mask = "mask",
    ReadOnly = "make read-only",
    Sysctl = "set the sysctl",
    WorkingDirectory = "change to the working directory",
    Limit = "set the limit",
    Identity = "take on the identity",
    Capabilities = "set the capabilities",
    Label = "take on the label (is its profile or policy loaded here?)",
    Filter = "filter the container's",
    Program = "find the program",
    Execute = "execute",
    Personality = "take on the personality",
    Scheduler = "take on the scheduling policy",
    IoPriority = "take on the priority at disks",
    MemoryPolicy = "take on the memory policy",
    Processors = "run on the processors",
    Terminal = "open a terminal",
    Bundle = "make the bundle",
}

/// Bytes of an object that are sent; a path can be no longer.
const OBJECT_MAX: usize = 4096;

impl SandboxError {
    pub(super) fn step(
        stage: Stage,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Step { stage, object: object.into(), source: source.into() }
    }

    /// The document asks for something that the embedded runtime does not do.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::step(Stage::Support, what, io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Step { source, .. } if source.raw_os_error() == Some(libc::EBUSY))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, stage, object, source) = match self {
            Self::NotFound { program, source } => (0, 0, program, Some(source)),
            Self::NotExecutable { program, source } => (1, 0, program, Some(source)),
            Self::Step { stage, object, source } => (2, *stage as u8, object, Some(source)),
            Self::Hook { what } => (3, 0, what, None),
            Self::Runtime { what } => (4, 0, what, None),
        };
        let errno = source.and_then(io::Error::raw_os_error).unwrap_or(0);
        let object = object.as_bytes();
        let mut packet = vec![kind, stage];
        packet.extend(errno.to_le_bytes());
        packet.extend(&object[..object.len().min(OBJECT_MAX)]);
        packet
    }

    pub(super) fn decode(packet: &[u8]) -> Option<Self> {
        let (&kind, rest) = packet.split_first()?;
        let (&stage, rest) = rest.split_first()?;
        let (errno, object) = rest.split_first_chunk::<4>()?;
        let source = match i32::from_le_bytes(*errno) {
            0 => io::Error::from(io::ErrorKind::Unsupported),
            errno => io::Error::from_raw_os_error(errno),
        };
        let object = String::from_utf8_lossy(object).into_owned();
        match kind {
            0 => Some(Self::NotFound { program: object, source }),
            1 => Some(Self::NotExecutable { program: object, source }),
            3 => Some(Self::Hook { what: object }),
            4 => Some(Self::Runtime { what: object }),
            2 => Some(Self::Step { stage: *Stage::ALL.get(usize::from(stage))?, object, source }),
            _ => None,
        }
    }
}

/// Says of a failed call what it was for.
pub(super) trait At<T> {
    fn at<O: AsRef<OsStr> + ?Sized>(self, stage: Stage, object: &O) -> Result<T, SandboxError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at<O: AsRef<OsStr> + ?Sized>(self, stage: Stage, object: &O) -> Result<T, SandboxError> {
        self.map_err(|e| {
            let object = String::from_utf8_lossy(object.as_ref().as_bytes()).into_owned();
            SandboxError::step(stage, object, e)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_channel() {
        let errno = || io::Error::from_raw_os_error(libc::ENOENT);
        let errors = [
            SandboxError::NotFound { program: "/bin/htpd".into(), source: errno() },
            SandboxError::NotExecutable { program: "/etc".into(), source: errno() },
            SandboxError::step(Stage::Terminal, "/dev/pts", errno()),
            SandboxError::Hook { what: "the hook /bin/false failed".into() },
            SandboxError::Runtime { what: "`crun create`: no such file".into() },
        ];
        for error in errors {
            let back = SandboxError::decode(&error.encode()).unwrap();
            assert_eq!(format!("{error:?}"), format!("{back:?}"));
        }
        assert!(SandboxError::decode(&[2, 255, 0, 0, 0, 0]).is_none());
        assert!(SandboxError::decode(&[2, 1, 0]).is_none());
    }

    #[test]
    fn a_missing_program_is_said_plainly() {
        let source = io::Error::from_raw_os_error(libc::ENOENT);
        let error = SandboxError::NotFound { program: "/bin/htpd".into(), source };
        assert_eq!(error.to_string(), "no such file in the rootfs: /bin/htpd");
        assert_eq!(
            SandboxError::step(Stage::Mount, "/proc", rustix::io::Errno::PERM).to_string(),
            "cannot mount /proc"
        );
    }
}
