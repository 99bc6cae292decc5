//! Faults that somebody has to keep up: what they take is given back at once when they stop.
//!
//! A siege is work in the background, on the servers' own sockets, until it is raised. Its queries may
//! fail as the service's do, which is the point; only what it changed for good has to be undone.

use std::time::Duration;

use lagwise_testkit::Node;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

use crate::{Result, clock};

/// The pause after all connections are taken, and between two rounds of garbage.
const PAUSE: Duration = Duration::from_millis(20);

/// How often the service's own connections are reset, so that it needs new ones.
const RESETS: usize = 3;

/// How long a snapshot may stand in the way of replay.
const GRACE: &str = "20ms";

/// The setting that says so, and what it is by default.
const PATIENCE: (&str, &str) = ("max_standby_streaming_delay", "30s");

/// Work in the background that makes a fault.
#[derive(Debug)]
pub(super) struct Siege {
    work: JoinSet<()>,
    /// A replica whose patience was shortened.
    changed: Option<Node>,
}

impl Siege {
    /// Takes every connection that a server has to give, and each that becomes free; says from when
    /// on the service could get none.
    pub(super) async fn of_slots(node: &Node) -> (Self, Duration) {
        let mut held = Vec::new();
        take_all(node, &mut held).await;
        let begun = clock::now();
        for _ in 0..RESETS {
            node.client_wire().reset();
            take_all(node, &mut held).await;
        }
        let node = node.clone();
        let mut work = JoinSet::new();
        work.spawn(async move {
            loop {
                take_all(&node, &mut held).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        let siege = Self {
            work,
            changed: None,
        };
        (siege, begun)
    }

    /// Has replay meet snapshots all the time, and cancel them soon.
    pub(super) async fn of_snapshots(replica: &Node, primary: &Node) -> Result<Self> {
        replica.configure(PATIENCE.0, GRACE).await?;
        let mut work = JoinSet::new();
        work.spawn(repeat(replica.clone(), hold_snapshot));
        work.spawn(repeat(primary.clone(), make_garbage));
        Ok(Self {
            work,
            changed: Some(replica.clone()),
        })
    }

    /// Ends it, and waits till its connections are closed.
    pub(super) async fn raise(mut self) -> Result {
        self.work.shutdown().await;
        if let Some(replica) = self.changed {
            replica.configure(PATIENCE.0, PATIENCE.1).await?;
        }
        Ok(())
    }
}

/// Connects till there is no connection left.
async fn take_all(node: &Node, held: &mut Vec<PgConnection>) {
    while let Ok(connection) = node.connect().await {
        held.push(connection);
    }
}

/// Does something again and again; what fails is begun anew.
async fn repeat(node: Node, what: impl AsyncFn(&mut PgConnection) -> Result) {
    loop {
        if let Ok(mut connection) = node.connect().await {
            while what(&mut connection).await.is_ok() {}
            drop(connection.close().await);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Keeps a snapshot until it is cancelled.
async fn hold_snapshot(connection: &mut PgConnection) -> Result {
    for statement in [
        "begin isolation level repeatable read",
        "select count(*) from notes",
        "select pg_sleep(10)",
        "rollback",
    ] {
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Leaves rows behind that nobody sees, and removes them.
async fn make_garbage(connection: &mut PgConnection) -> Result {
    for statement in [
        "create table if not exists chaos_garbage (id int)",
        "insert into chaos_garbage select generate_series(1, 50)",
        "delete from chaos_garbage",
        "vacuum chaos_garbage",
        "vacuum notes",
    ] {
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
