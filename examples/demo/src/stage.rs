//! The servers, their table, and the router that watches over them.
//!
//! Every run starts a cluster of its own and removes it at the end: `end` does it with a word on
//! what went wrong, and a drop does it all the same. What happens on the stage is the business of
//! `workload` and `scenario`.

use std::time::Duration;

use lagwise::{NodeConfig, PgRouter};
use lagwise_testkit::Cluster;

use crate::failure::Failure;

/// The nodes by index, named as in the router and in everything that is shown.
pub(crate) const NODES: [&str; 3] = ["primary", "replica-1", "replica-2"];

/// The index of the node that accepts writes.
pub(crate) const PRIMARY: usize = 0;

/// Replicas are in rotation well under a second after the router's start.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A cluster with a table in it, and a router over it.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Before the cluster, so that its monitor does not see the servers end.
    pub(crate) router: PgRouter,
    pub(crate) cluster: Cluster,
}

impl Stage {
    /// Starts everything, and waits until both replicas take reads.
    pub(crate) async fn set(rows: usize) -> Result<Self, Failure> {
        let cluster = Cluster::builder().replicas(NODES.len() - 1).start().await?;
        cluster
            .primary()
            .execute(&format!(
                "create table notes (id bigint primary key, value bigint not null); \
                 insert into notes select id, 0 from generate_series(1, {rows}) id"
            ))
            .await?;
        cluster.wait_caught_up().await?;
        let router = connect(&cluster).await?;
        router.ready(NODES.len() - 1, READY_WITHIN).await?;
        Ok(Self { router, cluster })
    }

    /// Stops the router and the servers, and removes the folder.
    pub(crate) async fn end(self) -> Result<(), Failure> {
        self.router.close().await;
        Ok(self.cluster.shutdown().await?)
    }
}

/// The index of the node that calls itself by this `cluster_name`.
pub(crate) fn node_of(cluster_name: &str) -> Option<usize> {
    let names = ["p", "r1", "r2"];
    names.iter().position(|name| *name == cluster_name)
}

async fn connect(cluster: &Cluster) -> Result<PgRouter, Failure> {
    let mut builder = PgRouter::builder();
    for (index, (node, name)) in cluster.nodes().iter().zip(NODES).enumerate() {
        let config = NodeConfig::url(node.url()).name(name);
        builder = match index {
            PRIMARY => builder.primary(config),
            _ => builder.replica(config),
        };
    }
    Ok(builder.connect().await?)
}
