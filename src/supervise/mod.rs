//! A running pod: one single-threaded process, parent of infra and of every container. It carries out
//! the plan, then waits on pidfds, signals, deadlines and its socket, and at the end undoes what was done.
//!
//! ```text
//! life.rs       what follows what: pure      pod.rs       what each event means
//! restart.rs    whether it starts again      start.rs     carrying out the plan
//! shutdown.rs   in which order it stops      end.rs       what ends, stopping, and the last of it
//! events.rs     what is waited for           requests.rs  what clients ask for
//! unit.rs       a container's handles        record.rs    what `ps` and `inspect` are told
//! history.rs    what `events` is told
//! logs.rs       its output on disk           control.rs   clients; protocol.rs, wire.rs: their words
//! checks.rs     probes and hooks             senses.rs    lines and messages they wait for
//! notify.rs     sd_notify of a container    helpers.rs   containers of other runtimes
//! script.rs     the plan's steps, and where they are while nobody needs them
//! firewall.rs   puts back what others flush  steps.rs    what is told of it to who asks
//! attach.rs     who sees a container's output as it comes, and types
//! ```

mod attach;
mod checks;
pub mod control;
mod end;
mod events;
mod firewall;
mod helpers;
pub mod history;
pub mod life;
pub mod logs;
mod notify;
mod pod;
pub mod protocol;
mod record;
mod requests;
pub mod restart;
mod script;
mod senses;
pub mod shutdown;
pub mod spawn;
mod start;
pub mod steps;
mod unit;
pub mod wire;

use crate::exec::ExecError;
use crate::exec::apply::Machine;
use crate::state::StateError;
use crate::state::lock::Locks;
use pod::{Pod, Received, Verdict};
use protocol::{Event, Failure, Handover, chain};
use spawn::Inherited;
use std::io;
use std::os::unix::net::UnixStream;
use wire::Wire;

#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error("cannot talk to the client")]
    Client { source: io::Error },
    #[error("cannot wait for events")]
    Wait { source: io::Error },
    #[error("cannot read signals")]
    Signals { source: io::Error },
    #[error("cannot listen on the control socket")]
    Listen { source: io::Error },
    #[error("cannot make the log {path}")]
    MakeLog { path: String, source: io::Error },
    #[error("the client sent no lock")]
    NoLock,
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Exec(#[from] ExecError),
}

/// The supervisor's whole life. Its channel leads to the client that made it; when the client goes away
/// without a plan, nothing was touched.
pub fn main(inherited: Inherited) -> Result<(), SuperviseError> {
    let client = |source| SuperviseError::Client { source };
    let signals = pod::take_signals()?;
    // Each container costs seven descriptors.
    crate::sys::descriptors::raise_open_files();
    crate::sandbox::outlive_others();
    let Inherited { channel, program: _program } = inherited;
    let mut channel = Wire::new(UnixStream::from(channel));
    let mut machine = Machine::open()?;
    // Read while the client looks at the machine and plans: nobody waits for it.
    let own = record::process(std::process::id().cast_signed());
    while let Some((mut json, lock)) = channel.receive_with().map_err(client)? {
        let handover: Handover =
            serde_json::from_slice(&json).map_err(|error| client(error.into()))?;
        // Secrets were in it.
        json.fill(0);
        drop(json);
        let Some((header, _)) = channel.receive_with().map_err(client)? else { return Ok(()) };
        let locks = Locks::adopt(lock.ok_or(SuperviseError::NoLock)?);
        let stream = channel.stream().try_clone().map_err(client)?;
        let received = Received { handover, header, locks, client: stream, own };
        let lived = Pod::new(received, &mut machine, &signals).and_then(Pod::live);
        match lived {
            Ok(Verdict::Over) => return Ok(()),
            Ok(Verdict::Stale) => {}
            Err(error) => {
                // What was begun stays in the journal, and the client undoes it.
                let causes = chain(&error);
                let _ = channel.stream().set_nonblocking(false);
                let _ = channel.send(&Event::Failed(Failure { causes, ..Failure::default() }));
                return Err(error);
            }
        }
        machine.forget();
        // The pod's end of the channel was non-blocking, and shares its flags with ours.
        channel.stream().set_nonblocking(false).map_err(client)?;
    }
    Ok(())
}
