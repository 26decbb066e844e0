//! The data plane of load balancers: real HTTP proxies on loopback where machines are real, simulated visits where they are not.
//! Both ask `elbv2` for every request where it goes; nothing is decided here.

mod body;
mod proxy;
mod replies;
mod sockets;
#[cfg(test)]
mod tests;
mod upgrade;
mod visit;

pub(super) use sockets::{Sockets, open_sockets};
pub use visit::{Visit, Visited};
