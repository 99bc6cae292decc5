//! The cluster of one contender in one drill, and what is known of it past all wires.

use std::collections::BTreeSet;
use std::time::Duration;

use lagwise_testkit::{Cluster, Node};
use sqlx::Row as _;
use tokio::sync::watch;

use crate::contender::{Asked, Row};
use crate::{Result, clock, fail};

/// A read that costs nothing: the beat, and who served it.
pub const READ: Asked = Asked {
    query: "select n, current_setting('cluster_name') from heartbeat",
    deadline: None,
    within: None,
};

/// A read that holds its connection without using a processor.
pub const SLOW_READ: &str =
    "select n, current_setting('cluster_name') from heartbeat, pg_sleep(0.03)";

/// How often a waiting drill looks again.
const LOOK: Duration = Duration::from_millis(2);

/// How long a drill waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A primary and two replicas with the drills' tables.
pub async fn set(settings: &[(&str, &str)]) -> Result<Cluster> {
    let mut builder = Cluster::builder().replicas(2);
    for (name, value) in settings {
        builder = builder.setting(*name, *value);
    }
    let cluster = builder.start().await?;
    let tables = "create table entry (writer int not null, n bigint not null, node text not null, \
                  primary key (writer, n)); \
                  create table heartbeat (n bigint not null); insert into heartbeat values (0); \
                  create table accepted (node text)";
    cluster.primary().execute(tables).await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

/// Waits until something is there, or for as long as anybody would.
pub async fn wait_for<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> Result<T> {
    let until = clock::now() + PATIENCE;
    loop {
        if let Some(found) = there() {
            return Ok(found);
        }
        if clock::now() > until {
            return fail(format!("waited {PATIENCE:?} in vain: {what}"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// When a node first accepts a write on a connection of its own.
pub async fn accepts_writes(node: &Node) -> Result<Duration> {
    let mut connection = node.connect().await?;
    let until = clock::now() + PATIENCE;
    loop {
        let insert = "insert into accepted values (current_setting('cluster_name'))";
        let accepted = sqlx::query(insert).execute(&mut connection).await;
        let now = clock::now();
        match accepted {
            Ok(_) => return Ok(now),
            Err(error) if now > until => return Err(error.into()),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The rows that a node has in the end.
pub async fn rows(node: &Node) -> Result<BTreeSet<Row>> {
    let mut connection = node.connect().await?;
    let rows = sqlx::query("select writer, n from entry")
        .fetch_all(&mut connection)
        .await?;
    let row = |row: &sqlx::postgres::PgRow| {
        Ok(Row {
            writer: row.try_get(0)?,
            n: row.try_get(1)?,
        })
    };
    Ok(rows
        .iter()
        .map(row)
        .collect::<std::result::Result<_, sqlx::Error>>()?)
}

/// Writes the drill's time into the heartbeat until told to stop.
pub async fn beat(node: Node, pause: Duration, mut stop: watch::Receiver<bool>) -> Result {
    let mut connection = node.connect().await?;
    while !*stop.borrow() {
        let now = i64::try_from(clock::now().as_millis())?;
        let beat = sqlx::query("update heartbeat set n = $1").bind(now);
        beat.execute(&mut connection).await?;
        // A dropped sender has stopped as well.
        drop(tokio::time::timeout(pause, stop.wait_for(|stopped| *stopped)).await);
    }
    Ok(())
}

/// The beat that a node shows.
pub async fn shown(node: &Node) -> Result<Duration> {
    let millis = node.query_scalar::<i64>("select n from heartbeat").await?;
    Ok(Duration::from_millis(u64::try_from(millis)?))
}

/// How many slow reads a node had to serve at once at most, looked at until told to stop.
pub async fn most_at_once(node: Node, mut stop: watch::Receiver<bool>) -> Result<u64> {
    let mut connection = node.connect().await?;
    let mut most = 0;
    while !*stop.borrow() {
        let count = "select count(*) from pg_stat_activity where state = 'active' \
                     and query like '%pg_sleep%' and pid <> pg_backend_pid()";
        let at_once: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await?;
        most = most.max(u64::try_from(at_once)?);
        let pause = Duration::from_millis(5);
        drop(tokio::time::timeout(pause, stop.wait_for(|stopped| *stopped)).await);
    }
    Ok(most)
}
