//! A replica without a connection slot left costs reads a short wait, and none of them its answer.

use std::time::Duration;

use lagwise::{Fallback, NodeConfig, PgRouter, ReadOptions};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::cluster::{
    PATIENCE, bare, config, connect, router as router_over, settle, start_with,
};
use lagwise_tests::observe::{readmitted, view};
use lagwise_tests::readers::Readers;
use lagwise_tests::statements::PLACES;
use lagwise_tests::{Outcome, fail};
use sqlx::postgres::{PgConnection, PgPoolOptions, Postgres};

/// Takes every connection slot that a node has left.
async fn use_up(node: &Node) -> Outcome<Vec<PgConnection>> {
    let mut taken = Vec::new();
    for _ in 0..200 {
        match connect(node).await {
            Ok(connection) => taken.push(connection),
            Err(error) if error.to_string().contains("too many clients") => return Ok(taken),
            Err(error) => return Err(error),
        }
    }
    fail("the node has no end of slots")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_a_slot_left_fails_no_read() -> Outcome {
    let small = Cluster::builder()
        .replicas(2)
        .setting("max_connections", "100");
    let cluster = start_with(small, PLACES).await?;
    let router = settle(router_over(&cluster), 2).await?;
    let taken = use_up(cluster.replica(0)).await?;
    // No connection to it is open yet, and none can be.
    let deadline = Duration::from_secs(4);
    let readers = Readers::start(&router, 6, ReadOptions::new().deadline(deadline));
    readers
        .wait_for("the other one serves", |tally| tally.by("r2") > 300)
        .await?;
    let tally = readers.take();
    assert_eq!(tally.failures, Vec::<String>::new(), "{tally:?}");
    assert!(tally.slowest < deadline, "{tally:?}");
    assert_eq!(tally.by("r1"), 0, "it had no slot: {tally:?}");
    let alive = view(&router.snapshot(), "r1").observed_at;
    assert!(alive.is_some(), "the monitor has its own connection");
    drop(taken);
    readmitted(&router, "r1").await?;
    readers
        .wait_for("it serves again", |tally| tally.by("r1") > 20)
        .await?;
    let tally = readers.stop().await;
    assert_eq!(tally.failures, Vec::<String>::new(), "{tally:?}");
    Ok(())
}

/// A replica with one place in its pool, for which a read waits longer than this test does.
fn narrow(node: &Node) -> NodeConfig<Postgres> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(60));
    config(node).pool_options(pool)
}

/// Two such replicas, of which `r2` is read from only where `r1` cannot be, and no way to the primary.
async fn narrow_replicas() -> Outcome<(Cluster, PgRouter)> {
    let cluster = start_with(Cluster::builder().replicas(2), PLACES).await?;
    let router = bare()
        .primary(config(cluster.primary()))
        .replica(narrow(cluster.replica(0)))
        .replica(narrow(cluster.replica(1)).weight(0))
        .fallback(Fallback::Refuse);
    let router = settle(router, 2).await?;
    Ok((cluster, router))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_for_a_place_gets_elsewhere_where_there_is_room() -> Outcome {
    let (_cluster, router) = narrow_replicas().await?;
    let held = router.read().await?;
    assert_eq!(&*held.route().node, "r1", "r2 is the last resort");
    let read = tokio::time::timeout(PATIENCE, router.read()).await??;
    assert_eq!(&*read.route().node, "r2");
    drop(held);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_for_a_place_keeps_its_turn_where_there_is_no_room_elsewhere() -> Outcome
{
    let (_cluster, router) = narrow_replicas().await?;
    let held = router.read().await?;
    let elsewhere = tokio::time::timeout(PATIENCE, router.read()).await??;
    let mut waiting = Box::pin(router.read());
    // Several times as long as it would take to be refused by both.
    let early = tokio::time::timeout(Duration::from_secs(2), &mut waiting).await;
    assert!(
        early.is_err(),
        "it has gone from one full pool to the other: {early:?}"
    );
    drop(held);
    let read = tokio::time::timeout(PATIENCE, waiting).await??;
    assert_eq!(&*read.route().node, "r1");
    drop(elsewhere);
    Ok(())
}
