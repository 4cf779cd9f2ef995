//! What the pods of a machine share: the bridge, the firewall's table, and that IPv4 is forwarded. The first pod's
//! `up` makes them, and `prune` removes them when no pod is there.

use super::ExecError;
use crate::names::IfName;
use crate::net::{firewall, link};
use crate::plan::facts::Subnet;
use crate::plan::step::Network;
use crate::state::store::Store;

pub(super) fn make(network: &Network) -> Result<(), ExecError> {
    let Network { bridge, gateway, mtu, .. } = network;
    link::make_bridge(&link::Bridge {
        name: bridge.clone(),
        address: gateway.address,
        prefix: gateway.prefix,
        mtu: *mtu,
    })?;
    // The drops stand before anything is forwarded.
    firewall::make_table(&table(bridge, *gateway, network.guard_forwarding))?;
    if network.enable_forwarding {
        let path = &network.forwarding_record;
        std::fs::write(path, "0\n")
            .map_err(|source| ExecError::WriteFile { path: path.clone(), source })?;
        link::forward(true)?;
    }
    Ok(())
}

pub(super) fn table(bridge: &IfName, gateway: Subnet, guarded: bool) -> firewall::Table {
    let network = crate::net::Subnet { address: gateway.network(), prefix: gateway.prefix };
    firewall::Table { bridge: bridge.clone(), network, guard_forwarding: guarded }
}

/// Whether the bridge is there and nothing uses it: no link is in it, no port leads to it.
pub fn is_idle(bridge: &IfName) -> Result<bool, ExecError> {
    Ok(link::is_idle_bridge(bridge)? && firewall::read()?.forwards.is_empty())
}

/// Removes all of it. The caller holds the lock of the network and knows of no pod; those of another runtime directory
/// show by what `is_idle` asks.
pub fn remove(store: &Store, bridge: &IfName) -> Result<(), ExecError> {
    let record = store.forwarding_record();
    // The guard stands until nothing is forwarded any more.
    if record.exists() {
        link::forward(false)?;
        store.forget_forwarding()?;
    }
    firewall::remove_table()?;
    Ok(link::delete(bridge)?)
}
