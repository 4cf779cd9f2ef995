//! A profile as its file has it: rules with conditions on the container and the machine. Resolving takes
//! the rules that hold for one container and drops the conditions.

use super::{Machine, SeccompError};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSyscall,
};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// podspec's own profile.
pub const DEFAULT: &str = include_str!("../../docs/seccomp-default.json");

/// What conditions of a profile can ask for.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    /// Those of its bounding set, as `CAP_CHOWN`.
    pub capabilities: &'a [String],
    /// Of the kernel: 6.18 is (6, 18).
    pub kernel: (u32, u32),
}

/// A profile file: moby's format, and with it OCI's own, which has fewer fields.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile<'a> {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    default_errno: Option<&'a str>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<Architecture>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<IgnoredAny>,
    listener_metadata: Option<IgnoredAny>,
    #[serde(borrow, default)]
    syscalls: Option<Vec<Rule<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Architecture {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule<'a> {
    #[serde(borrow, default)]
    names: Option<Vec<&'a str>>,
    name: Option<&'a str>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    errno: Option<&'a str>,
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(rename = "comment")]
    _comment: Option<IgnoredAny>,
    #[serde(borrow, default)]
    includes: Option<Condition<'a>>,
    #[serde(borrow, default)]
    excludes: Option<Condition<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition<'a> {
    #[serde(borrow, default)]
    caps: Option<Vec<&'a str>>,
    #[serde(borrow, default)]
    arches: Option<Vec<&'a str>>,
    min_kernel: Option<&'a str>,
}

impl<'a> Profile<'a> {
    pub fn parse(text: &'a str) -> Result<Self, SeccompError> {
        let profile: Self =
            serde_json::from_str(text).map_err(|error| SeccompError::Json(error.to_string()))?;
        if profile.architectures.is_some() && profile.arch_map.is_some() {
            return Err(SeccompError::TwoArchitectures);
        }
        if profile.listener_path.is_some() || profile.listener_metadata.is_some() {
            return Err(SeccompError::Listener("listenerPath"));
        }
        if let (Some(name), None) = (profile.default_errno, profile.default_errno_ret) {
            return Err(SeccompError::Errno(name.to_owned()));
        }
        for rule in profile.syscalls.iter().flatten() {
            rule.check()?;
        }
        Ok(profile)
    }

    /// Whether what it does not name is allowed: then it refuses, and does not allow.
    pub fn allows_the_rest(&self) -> bool {
        let allows = [LinuxSeccompAction::ScmpActAllow, LinuxSeccompAction::ScmpActLog];
        allows.contains(&self.default_action)
    }

    /// What of it holds for this container on this machine.
    pub fn resolve(&self, container: Container<'_>) -> Result<LinuxSeccomp, SeccompError> {
        let mut syscalls = Vec::new();
        for rule in self.syscalls.iter().flatten() {
            if rule.holds(container)? {
                syscalls.push(rule.resolve());
            }
        }
        let mut document = LinuxSeccomp::default();
        document
            .set_default_action(self.default_action)
            .set_default_errno_ret(self.default_errno_ret)
            .set_architectures(Some(self.architectures()))
            .set_flags(self.flags.clone())
            .set_syscalls(Some(syscalls));
        Ok(document)
    }

    /// The machine's own first, then those that the profile names beside it.
    fn architectures(&self) -> Vec<Arch> {
        let own = match Machine::own() {
            Machine::Aarch64 => Arch::ScmpArchAarch64,
            Machine::X86_64 | Machine::X86 => Arch::ScmpArchX86_64,
        };
        let mapped = self.arch_map.iter().flatten().find(|row| row.architecture == own);
        let more = mapped.and_then(|row| row.sub_architectures.as_ref());
        let listed = self.architectures.as_ref().or(more);
        let others = listed.into_iter().flatten().filter(|arch| **arch != own);
        std::iter::once(own).chain(others.copied()).collect()
    }
}

impl Rule<'_> {
    fn check(&self) -> Result<(), SeccompError> {
        if self.names.is_some() == self.name.is_some() {
            return Err(SeccompError::Names);
        }
        if let (Some(name), None) = (self.errno, self.errno_ret) {
            return Err(SeccompError::Errno(name.to_owned()));
        }
        let both = [&self.includes, &self.excludes];
        both.into_iter().flatten().try_for_each(|condition| condition.kernel().map(drop))
    }

    fn holds(&self, container: Container<'_>) -> Result<bool, SeccompError> {
        let has = |cap: &&str| container.capabilities.iter().any(|known| known == cap);
        if let Some(wanted) = &self.includes {
            let arches = wanted.arches.as_deref().unwrap_or(&[]);
            let here = arches.is_empty() || arches.contains(&own_name());
            let kernel = wanted.kernel()?.is_none_or(|least| container.kernel >= least);
            if !(here && kernel && wanted.caps.iter().flatten().all(has)) {
                return Ok(false);
            }
        }
        let Some(unwanted) = &self.excludes else { return Ok(true) };
        let here = unwanted.arches.iter().flatten().any(|arch| *arch == own_name());
        let kernel = unwanted.kernel()?.is_some_and(|least| container.kernel >= least);
        Ok(!(here || kernel || unwanted.caps.iter().flatten().any(has)))
    }

    fn resolve(&self) -> LinuxSyscall {
        let names = self.names.iter().flatten().copied().chain(self.name);
        let mut syscall = LinuxSyscall::default();
        syscall
            .set_names(names.map(str::to_owned).collect())
            .set_action(self.action)
            .set_errno_ret(self.errno_ret)
            .set_args(self.args.clone().filter(|args| !args.is_empty()));
        syscall
    }
}

impl Condition<'_> {
    fn kernel(&self) -> Result<Option<(u32, u32)>, SeccompError> {
        let Some(text) = self.min_kernel else { return Ok(None) };
        let parts = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parts.map(Some).ok_or_else(|| SeccompError::Kernel(text.to_owned()))
    }
}

/// What profiles call this machine.
fn own_name() -> &'static str {
    match Machine::own() {
        Machine::Aarch64 => "arm64",
        Machine::X86_64 | Machine::X86 => "amd64",
    }
}

/// SECCOMP_FILTER_FLAG_… of a document. A thread of its own has nobody to be in step with (TSYNC), and
/// without a listener nobody waits (WAIT_KILLABLE_RECV).
pub fn known_flags(document: &LinuxSeccomp) -> u32 {
    let bits = document.flags().iter().flatten().map(|flag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync
        | LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
    });
    u32::try_from(bits.fold(0, |all, bit| all | bit)).unwrap_or(0)
}
