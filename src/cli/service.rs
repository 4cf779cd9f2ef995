//! What a foreground `up` tells the service manager that started it (sd_notify(3)); nothing where none did.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Nobody who cannot be told is a reason to stop.
pub(super) fn tell(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").and_then(address) else { return };
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to_addr(state.as_bytes(), &address);
    }
}

/// A path, or a name of the abstract namespace behind an `@`.
fn address(word: OsString) -> Option<SocketAddr> {
    match word.as_bytes().split_first()? {
        (b'@', name) => SocketAddr::from_abstract_name(name).ok(),
        _ => SocketAddr::from_pathname(word).ok(),
    }
}
