//! One address that leads to one of several nodes, another one with each connection.
//!
//! Many services are given a single address for all replicas: a load balancer's, or a name with
//! several addresses. Two connections to it show two servers, so nothing that was learned on one
//! holds on the other. The way goes on over the nodes' own client wires, whose faults hold here too.
//! Which node a connection deserves is not its business: they take turns.

use crate::error::{Error, Result};
use crate::node::Node;
use crate::wire::{Listens, Relays, Wire};

/// One TCP address for several nodes, which take its connections in turn.
///
/// A node that refuses the connection is passed over for the next one; one that accepts it and says
/// nothing, as a frozen server does, is not. The first connection leads to the first node.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lagwise_testkit::Error> {
/// use lagwise_testkit::{Balancer, Cluster};
///
/// let cluster = Cluster::builder().replicas(2).start().await?;
/// let balancer = Balancer::over(cluster.replicas())?;
/// assert!(balancer.url().starts_with("postgres://postgres@127.0.0.1:"));
/// # cluster.shutdown().await
/// # }
/// ```
#[derive(Debug)]
pub struct Balancer {
    wire: Wire,
    /// Carries the wire while it lives.
    _relays: Relays,
}

impl Balancer {
    /// Takes a free port and leads it to these nodes, in this order.
    ///
    /// # Errors
    ///
    /// Where there is no node to lead to, or no port to take.
    pub fn over<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Result<Self> {
        let addresses: Vec<_> = nodes
            .into_iter()
            .map(|node| node.client_wire().address())
            .collect();
        if addresses.is_empty() {
            return Err(Error::new("a balancer over no node leads nowhere"));
        }
        let relays = Relays::start()?;
        let wire = relays.wire(Listens::Yes)?;
        wire.lead_to_each(addresses);
        Ok(Self {
            wire,
            _relays: relays,
        })
    }

    /// The address for the service under test, as [`Node::url`] is that of one node.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.wire.address())
    }

    /// The wire between clients that use [`url`](Self::url) and the balancer, whose faults concern
    /// all nodes behind it; those of one node's [`client_wire`](Node::client_wire) concern that one.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.wire
    }
}
