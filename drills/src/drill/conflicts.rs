//! Replicas cancel reads that are in the way of what they have to replay.

use std::time::Duration;

use lagwise_testkit::{Cluster, Node};
use tokio::sync::watch;

use super::{WARM_UP, remark};
use crate::contender::{Asked, Which};
use crate::load::{Load, PAUSE, Plan};
use crate::report::{Column, Figure, Target};
use crate::tally::{self, Window};
use crate::{Result, clock, stage};

/// How many read.
const READERS: usize = 8;

/// How often rows that somebody may still read are cleaned away.
const BEAT: Duration = Duration::from_millis(150);

/// Writes a row over and has its page cleaned, until told to stop.
async fn clean(primary: Node, mut stop: watch::Receiver<bool>) -> Result {
    let mut connection = primary.connect().await?;
    while !*stop.borrow() {
        for statement in ["update heartbeat set n = n + 1", "vacuum heartbeat"] {
            sqlx::query(statement).execute(&mut connection).await?;
        }
        drop(tokio::time::timeout(BEAT, stop.wait_for(|stopped| *stopped)).await);
    }
    Ok(())
}

/// How many reads the replicas canceled.
async fn canceled(cluster: &Cluster) -> Result<usize> {
    let mut canceled = 0;
    for replica in cluster.replicas() {
        let count = "select confl_snapshot + confl_lock + confl_bufferpin \
                     from pg_stat_database_conflicts where datname = current_database()";
        canceled += usize::try_from(replica.query_scalar::<i64>(count).await?)?;
    }
    Ok(canceled)
}

/// Runs it for one contender.
pub async fn run(which: Which, length: Duration) -> Result<Column> {
    let cluster = stage::set(&[("max_standby_streaming_delay", "10ms")]).await?;
    let entrant = which.connect(&cluster).await?;
    let plan = Plan {
        writers: 0,
        readers: READERS,
        asked: Asked {
            query: stage::SLOW_READ,
            ..stage::READ
        },
        pause: PAUSE,
    };
    let load = Load::begin(&entrant.contender, plan);
    tokio::time::sleep(WARM_UP / 2).await;
    let (stop, stopped) = watch::channel(false);
    let begun = clock::now();
    let beats = clean(cluster.primary().clone(), stopped);
    let waits = async {
        tokio::time::sleep(length).await;
        stop.send(true).ok();
    };
    let (beats, ()) = tokio::join!(beats, waits);
    beats?;
    let ended = clock::now();
    let reads = load.end().await?.reads();
    let window = Window {
        from: begun,
        until: ended,
    };
    let during = window.reads(&reads);
    let mut column = Column::default();
    column.count("reads", during.len());
    let canceled = canceled(&cluster).await?;
    column.count("reads canceled by replicas", canceled);
    let failed = tally::errors(&during);
    column.count("reads that failed", failed);
    let on_primary = tally::share(&during, "p");
    column.enter("share of the primary, %", on_primary);
    column.enter(
        "reads, p50 / p99 / max, ms",
        tally::told(tally::latency(&during)),
    );
    remark(
        &mut column,
        during.iter().filter_map(|read| read.outcome.as_ref().err()),
    );
    let percent = Figure::Text(format!("{failed} of {}", during.len()));
    column.judge(
        "callers see no cancellation",
        Target::Goal,
        failed == 0,
        percent,
    );
    drop(entrant);
    cluster.shutdown().await?;
    Ok(column)
}
