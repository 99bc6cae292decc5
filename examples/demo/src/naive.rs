//! A client as services write it before they have lagwise: writes to the primary, reads anywhere.
//!
//! It is no caricature. Its pools are sqlx's own, and they give up on a node sooner than theirs
//! would by default, which is to wait for half a minute.

use std::time::Duration;

use fastrand::Rng;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::failure::Failure;
use crate::stage::Stage;
use crate::workload::{Answer, Client, READ, WRITE, Writing};

/// How long a person waits for a page before it counts as broken.
const PATIENCE: Duration = Duration::from_millis(500);

/// The pools that all naive clients share.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    primary: PgPool,
    replicas: Vec<PgPool>,
}

impl Pools {
    pub(crate) fn over(stage: &Stage) -> Result<Self, Failure> {
        let primary = PgPool::connect_lazy(&stage.cluster.primary().url())?;
        let options = PgPoolOptions::new().acquire_timeout(PATIENCE);
        let replicas = stage.cluster.replicas().iter();
        let replicas = replicas.map(|node| options.clone().connect_lazy(&node.url()));
        Ok(Self {
            primary,
            replicas: replicas.collect::<Result<_, _>>()?,
        })
    }
}

/// A client that knows nothing of lag.
#[derive(Debug)]
pub(crate) struct Naive {
    pools: Pools,
    random: Rng,
}

impl Naive {
    pub(crate) fn new(pools: Pools, random: Rng) -> Self {
        Self { pools, random }
    }
}

impl Client for Naive {
    fn begin_session(&mut self) {}

    async fn read(&mut self, row: i64) -> Result<Answer, Failure> {
        let replica = self
            .random
            .choice(&self.pools.replicas)
            .ok_or_else(|| Failure::new("there is no replica"))?;
        let found = sqlx::query_as(READ).bind(row).fetch_one(replica).await?;
        Answer::from_row(found)
    }

    async fn write(&mut self, how: Writing, row: i64, value: i64) -> Result<(), Failure> {
        let write = sqlx::query(WRITE).bind(row).bind(value);
        match how {
            Writing::Alone => {
                write.execute(&self.pools.primary).await?;
            }
            Writing::InTransaction => {
                let mut transaction = self.pools.primary.begin().await?;
                write.execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}
