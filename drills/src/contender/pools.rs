//! What people write by hand: a pool for each node.
//!
//! Writes go to the pool of the node that was the primary when the settings were made, reads to the
//! replicas' pools in turn, and an error is the caller's. Where rows must not be
//! old, a check of each replica's lag is added, and late ones are left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_testkit::Cluster;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::{
    Asked, Contender, Outcome, PATIENCE, Row, Seen, by_deadline, pool_options, read_on, write_on,
};
use crate::Result;

/// One pool for each node.
#[derive(Debug)]
pub(super) struct Pools {
    primary: PgPool,
    replicas: Vec<PgPool>,
    turn: AtomicUsize,
    check: Option<Check>,
}

/// The usual check: replicas that are late are asked every half second, and left out.
#[derive(Debug)]
struct Check {
    late: Arc<Vec<AtomicBool>>,
    _asking: JoinSet<()>,
}

/// How often replicas are asked how late they are.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How late they may be.
const LATE: &str = "select coalesce(now() - pg_last_xact_replay_timestamp() > '1 s', false)";

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
            check: None,
        })
    }

    /// These pools, with a check of how late replicas are: reads go to those that are not, and to the
    /// primary when all are.
    pub(super) fn checked(mut self) -> Self {
        let late: Vec<AtomicBool> = self.replicas.iter().map(|_| false.into()).collect();
        let late = Arc::new(late);
        let mut asking = JoinSet::new();
        asking.spawn(ask(self.replicas.clone(), Arc::clone(&late)));
        self.check = Some(Check {
            late,
            _asking: asking,
        });
        self
    }

    /// Whose turn it is.
    fn next(&self) -> &PgPool {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let late = |replica: usize| {
            let late = self
                .check
                .as_ref()
                .and_then(|check| check.late.get(replica));
            late.is_some_and(|late| late.load(Ordering::Relaxed))
        };
        let fit: Vec<&PgPool> = (0..)
            .zip(&self.replicas)
            .filter(|(replica, _)| !late(*replica))
            .map(|(_, pool)| pool)
            .collect();
        let pool = fit.get(turn % fit.len().max(1));
        pool.copied().unwrap_or(&self.primary)
    }
}

async fn ask(replicas: Vec<PgPool>, late: Arc<Vec<AtomicBool>>) {
    loop {
        for (replica, late) in replicas.iter().zip(late.iter()) {
            let is_late = sqlx::query_scalar(LATE).fetch_one(replica).await;
            late.store(is_late.unwrap_or(true), Ordering::Relaxed);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

impl Contender for Pools {
    fn write(&self, row: Row) -> BoxFuture<'_, Outcome<String>> {
        Box::pin(write_on(&self.primary, row))
    }

    fn read(&self, asked: Asked) -> BoxFuture<'_, Outcome<Seen>> {
        Box::pin(by_deadline(asked, read_on(self.next(), asked)))
    }
}
