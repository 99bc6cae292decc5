//! A driver that is given all hosts, and looks for one that fits whenever it connects.
//!
//! It is what libpq's settings of the same names do. A connection is looked at when it is made and
//! never again, so what it leads to later is left to the pool and to the caller.

use std::time::Duration;

use deadpool_postgres::{Pool, PoolError, Runtime};
use futures_core::future::BoxFuture;
use lagwise_testkit::{Cluster, Node};
use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};
use tokio_postgres::{Config, NoTls};

use super::{
    Asked, Contender, Failed, Kind, Outcome, PATIENCE, PLACES, Row, Seen, WRITE, by_deadline,
    said_kind,
};
use crate::Result;

/// A pool for writes and one for reads.
#[derive(Debug)]
pub(super) struct Driver {
    writes: Pool,
    reads: Pool,
}

impl Driver {
    pub(super) fn connect(cluster: &Cluster) -> Result<Self> {
        let (of_reads, of_writes) = PATIENCE;
        let mut writes = config(cluster.nodes());
        writes.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let mut reads = config(cluster.replicas());
        reads.load_balance_hosts(LoadBalanceHosts::Random);
        Ok(Self {
            writes: pool(writes, of_writes)?,
            reads: pool(reads, of_reads)?,
        })
    }
}

fn config(nodes: &[Node]) -> Config {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    config.connect_timeout(Duration::from_secs(1));
    for node in nodes {
        let address = node.client_wire().address();
        config.host(address.ip().to_string()).port(address.port());
    }
    config
}

fn pool(config: Config, patience: Duration) -> Result<Pool> {
    let pool = Pool::builder(deadpool_postgres::Manager::new(config, NoTls))
        .max_size(usize::try_from(PLACES)?)
        .wait_timeout(Some(patience))
        .create_timeout(Some(patience))
        .recycle_timeout(Some(patience))
        .runtime(Runtime::Tokio1);
    Ok(pool.build()?)
}

/// Until there is a connection, nothing can have been done.
fn unconnected(error: &PoolError) -> Failed {
    Failed::new(Kind::NotDone, error)
}

fn failed(error: &tokio_postgres::Error) -> Failed {
    let kind = error
        .code()
        .map_or(Kind::Unknown, |state| said_kind(Some(state.code())));
    Failed::new(kind, error)
}

impl Contender for Driver {
    fn write(&self, row: Row) -> BoxFuture<'_, Outcome<String>> {
        Box::pin(async move {
            let client = self.writes.get().await.map_err(|e| unconnected(&e))?;
            let statement = client.prepare_cached(WRITE).await.map_err(|e| failed(&e))?;
            let written = client.query_one(&statement, &[&row.writer, &row.n]).await;
            Ok(written.map_err(|e| failed(&e))?.get(0))
        })
    }

    fn read(&self, asked: Asked) -> BoxFuture<'_, Outcome<Seen>> {
        let work = async move {
            let client = self.reads.get().await.map_err(|e| unconnected(&e))?;
            let statement = client.prepare_cached(asked.query).await;
            let statement = statement.map_err(|e| failed(&e))?;
            let row = client.query_one(&statement, &[]).await;
            let row = row.map_err(|e| failed(&e))?;
            Ok(Seen {
                number: row.get(0),
                node: row.get(1),
            })
        };
        Box::pin(by_deadline(asked, work))
    }
}
