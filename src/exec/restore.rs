//! Puts the firewall back when somebody else has emptied it (`nft flush ruleset`): the table, then a
//! running pod's own elements. Decides nothing: the values are those of the pod's plan.

use super::ExecError;
use super::apply::firewall_forwards;
use super::network;
use crate::names::IfName;
use crate::net::firewall::Protocol;
use crate::net::{conntrack, firewall, link};
use crate::plan::step::{Connection, Forward};

/// Shuts 127.0.0.0/8 to the bridge, at once: the rules that kept neighbours from it are gone.
pub fn close_loopback(bridge: &IfName) -> Result<(), ExecError> {
    Ok(link::route_loopback(bridge, false)?)
}

/// Whether the table is there, with these ports.
pub fn is_whole(forwards: &[Forward]) -> Result<bool, ExecError> {
    Ok(firewall::holds(&firewall_forwards(forwards))?)
}

/// Makes the table, unless somebody has by now, and publishes the ports again. `tag`: the pod's id. The
/// caller holds the network's lock.
pub fn restore(
    connection: &Connection,
    guarded: bool,
    tag: &str,
    forwards: &[Forward],
) -> Result<(), ExecError> {
    let Connection { bridge, gateway, .. } = connection;
    firewall::make_table(&network::table(bridge, *gateway, guarded))?;
    let mut forwards = firewall_forwards(forwards);
    firewall::publish_again(tag, &forwards)?;
    // A client that kept sending meanwhile has an entry that leads nowhere. Connections over TCP have
    // found their end by themselves, or live on and must not be cut.
    forwards.retain(|forward| forward.protocol == Protocol::Udp);
    Ok(conntrack::forget(&forwards, &[])?)
}
