//! The cluster that everything is measured on, and the ways to it.
//!
//! Its servers listen on loopback addresses of their own, without a wire in between: what is measured is
//! the way that production takes, by TCP.

use std::time::Duration;

use lagwise::PgRouter;
use lagwise_testkit::{Cluster, Node, Stop};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::{Result, clock};

/// A cluster whose servers can be reached by TCP.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    /// Of each node, in the order of the cluster.
    addresses: Vec<String>,
}

/// Notes of a hundred authors, a hundred of each.
const TABLES: &str = "
    create table note (id int primary key, author int not null, body text not null);
    insert into note select n, n / 100, repeat('x', 60) from generate_series(0, 9999) n;
    create index on note (author);
    create table counter (id int primary key, n bigint not null) with (fillfactor = 50);
    insert into counter select n, 0 from generate_series(0, 999) n;
    analyze;
";

impl Stage {
    /// A primary and so many replicas, all of them caught up.
    pub(crate) async fn set(replicas: usize) -> Result<Self> {
        Self::set_with(replicas, &[]).await
    }

    /// The same, with settings of the servers.
    pub(crate) async fn set_with(replicas: usize, settings: &[(&str, &str)]) -> Result<Self> {
        let builder = Cluster::builder()
            .replicas(replicas)
            .hba("host all all 127.0.0.0/8 trust");
        let settings = settings.iter();
        let builder = settings.fold(builder, |builder, (name, value)| {
            builder.setting(*name, *value)
        });
        let cluster = builder.start().await?;
        cluster.primary().execute(TABLES).await?;
        let mut addresses = Vec::new();
        for node in cluster.nodes() {
            addresses.push(listen(node).await?);
        }
        cluster.wait_streaming().await?;
        cluster.wait_caught_up().await?;
        Ok(Self { cluster, addresses })
    }

    /// The URL of a node, by TCP: the primary is number 0.
    pub(crate) fn url(&self, number: usize) -> &str {
        &self.addresses[number]
    }

    /// The first process of each server.
    pub(crate) fn first_processes(&self) -> Result<Vec<u32>> {
        let nodes = self.cluster.nodes().iter();
        nodes.map(clock::first_process).collect()
    }

    /// A pool of the driver to a node, with the driver's defaults.
    pub(crate) async fn pool(&self, number: usize) -> Result<PgPool> {
        Ok(PgPoolOptions::new().connect(self.url(number)).await?)
    }

    /// A router over all nodes, with its defaults, once every replica takes reads.
    pub(crate) async fn router(&self) -> Result<PgRouter> {
        let mut builder = PgRouter::builder().primary(self.url(0));
        for url in &self.addresses[1..] {
            builder = builder.replica(url.as_str());
        }
        let router = builder.connect().await?;
        let replicas = self.addresses.len() - 1;
        router.ready(replicas, PATIENCE).await?;
        Ok(router)
    }
}

/// How long a router may take to know its nodes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has a server listen on an address that nobody else here uses.
async fn listen(node: &Node) -> Result<String> {
    let address = format!(
        "127.{}.{}.{}",
        fastrand::u8(1..255),
        fastrand::u8(..),
        fastrand::u8(1..255)
    );
    node.configure("listen_addresses", &address).await?;
    node.restart(Stop::Fast).await?;
    Ok(format!(
        "postgres://postgres@{address}:5432/postgres?sslmode=disable"
    ))
}
