//! A cluster, and a router over it whose settings suit tests.
//!
//! Polls are frequent, so that a test sees many of them in a second; a node counts as unseen only
//! after a whole second, because a busy machine with two cores may well keep a poll waiting.

use std::time::Duration;

use lagwise::{NodeConfig, PgRouter, RouterBuilder};
use lagwise_testkit::{Cluster, Node};
use sqlx::postgres::{PgConnection, PgPoolOptions, Postgres};
use sqlx::{AssertSqlSafe, Connection as _};

use crate::{Outcome, observe};

/// How often the routers of these tests ask each node where it stands.
pub const POLL: Duration = Duration::from_millis(40);

/// Beyond this lag a replica leaves the rotation, unless a test says otherwise.
pub const MAX_LAG: Duration = Duration::from_millis(800);

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a cluster, and runs statements on its primary that every replica has then.
pub async fn start(replicas: usize, statements: &str) -> Outcome<Cluster> {
    start_with(Cluster::builder().replicas(replicas), statements).await
}

/// [`start`] for a cluster of a special kind.
pub async fn start_with(cluster: lagwise_testkit::Builder, statements: &str) -> Outcome<Cluster> {
    let cluster = cluster.start().await?;
    if !statements.is_empty() {
        cluster.primary().execute(statements).await?;
        cluster.wait_caught_up().await?;
    }
    Ok(cluster)
}

/// A node as a router is told of it, under the name that the kit gives it.
#[must_use]
pub fn config(node: &Node) -> NodeConfig<Postgres> {
    NodeConfig::url(node.url()).name(node.name())
}

/// Begins a router with the settings of these tests.
pub fn bare() -> RouterBuilder<Postgres> {
    PgRouter::builder()
        .poll_interval(POLL)
        .max_lag(MAX_LAG)
        .policy(|policy| {
            policy.unseen_for = Duration::from_secs(1);
            policy.slow_start = Duration::ZERO;
        })
}

/// Begins a router over all nodes of a cluster.
pub fn router(cluster: &Cluster) -> RouterBuilder<Postgres> {
    let pool = || PgPoolOptions::new().max_connections(16);
    let replicas = cluster.replicas().iter();
    replicas
        .map(|node| config(node).pool_options(pool().acquire_timeout(Duration::from_secs(1))))
        .fold(
            bare().primary(config(cluster.primary()).pool_options(pool())),
            RouterBuilder::replica,
        )
}

/// Connects a router, and waits until that many replicas take reads.
pub async fn settle(router: RouterBuilder<Postgres>, replicas: usize) -> Outcome<PgRouter> {
    let router = router.connect().await?;
    router.ready(replicas, PATIENCE).await?;
    // What brought this about is announced by the next snapshot: it is no event of the test's.
    let ready = lagwise::now();
    observe::snapshot_where(&router, "the next snapshot is there", |snapshot| {
        snapshot.taken_at > ready
    })
    .await?;
    Ok(router)
}

/// A cluster and a router over it, with every replica in rotation.
pub async fn with_router(replicas: usize, statements: &str) -> Outcome<(Cluster, PgRouter)> {
    let cluster = start(replicas, statements).await?;
    let router = settle(router(&cluster), replicas).await?;
    Ok((cluster, router))
}

/// Connects to a node as a client does, over its wire.
pub async fn connect(node: &Node) -> Outcome<PgConnection> {
    Ok(PgConnection::connect(&node.url()).await?)
}

/// The first column of the first row, as a number.
pub async fn number(connection: &mut PgConnection, query: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(connection)
        .await
}

/// A setting of a node, changed for as long as the server runs.
pub async fn commit_asynchronously(node: &Node) -> Outcome {
    Ok(node.configure("synchronous_commit", "off").await?)
}
