//! The document's hooks that run in the runtime's own namespaces, told the container's state.

use super::OciError;
use crate::sandbox::{Site, run_hook};
use oci_spec::runtime::{Hook, Hooks, Spec};
use std::path::Path;

/// When a hook of the runtime's runs, as the document calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Prestart,
    CreateRuntime,
    Poststart,
    Poststop,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    fn hooks(self, hooks: &Hooks) -> Option<&Vec<Hook>> {
        let hooks = match self {
            Self::Prestart => hooks.prestart(),
            Self::CreateRuntime => hooks.create_runtime(),
            Self::Poststart => hooks.poststart(),
            Self::Poststop => hooks.poststop(),
        };
        hooks.as_ref()
    }
}

fn of(oci: &Spec, moment: Moment) -> impl Iterator<Item = &Hook> {
    oci.hooks().as_ref().and_then(|hooks| moment.hooks(hooks)).into_iter().flatten()
}

/// In their order; the first that fails ends it.
pub(super) fn run(oci: &Spec, moment: Moment, bundle: &Path, state: &[u8]) -> Result<(), OciError> {
    let site = Site { directory: bundle, env: None };
    for hook in of(oci, moment) {
        run_hook(moment.name(), hook, site, state)?;
    }
    Ok(())
}

/// One that fails is to be warned of, and the others run all the same.
pub(super) fn run_all(oci: &Spec, moment: Moment, bundle: &Path, state: &[u8]) -> Vec<String> {
    let site = Site { directory: bundle, env: None };
    let failed = |hook| run_hook(moment.name(), hook, site, state).err();
    of(oci, moment).filter_map(failed).map(|error| error.to_string()).collect()
}
