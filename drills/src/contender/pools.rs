//! What people write by hand: a pool for each node.
//!
//! Writes go to the pool of the node that was the primary when the settings were made, reads to the
//! replicas' pools in turn, and an error is the caller's.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_core::future::BoxFuture;
use lagwise_testkit::Cluster;
use sqlx::PgPool;

use super::{
    Asked, Contender, Failed, Kind, Outcome, PATIENCE, Row, Seen, by_deadline, pool_options,
    read_on, write_on,
};
use crate::Result;

/// One pool for each node.
#[derive(Debug)]
pub(super) struct Pools {
    primary: PgPool,
    replicas: Vec<PgPool>,
    turn: AtomicUsize,
}

impl Pools {
    pub(super) fn connect(cluster: &Cluster) -> Result<Self> {
        let (of_replicas, of_primary) = PATIENCE;
        let replicas = cluster
            .replicas()
            .iter()
            .map(|node| pool_options(of_replicas).connect_lazy(&node.url()));
        Ok(Self {
            primary: pool_options(of_primary).connect_lazy(&cluster.primary().url())?,
            replicas: replicas.collect::<std::result::Result<_, _>>()?,
            turn: AtomicUsize::new(0),
        })
    }
}

impl Contender for Pools {
    fn write(&self, row: Row) -> BoxFuture<'_, Outcome<String>> {
        Box::pin(write_on(&self.primary, row))
    }

    fn read(&self, asked: Asked) -> BoxFuture<'_, Outcome<Seen>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let pool = self.replicas.get(turn % self.replicas.len().max(1));
        Box::pin(async move {
            let Some(pool) = pool else {
                return Err(Failed {
                    kind: Kind::NotDone,
                    text: "there is no replica".to_owned(),
                });
            };
            by_deadline(asked, read_on(pool, asked)).await
        })
    }
}
