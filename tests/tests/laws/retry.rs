//! A dead replica costs a read at most one retry, and a write nothing.

use std::time::Duration;

use lagwise::{PgRouter, Role};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{self, config, number, router, settle, start, with_router};
use lagwise_tests::observe::{each_poll, ejected, readmitted, snapshot_where, view};
use lagwise_tests::workload::LANES;
use lagwise_tests::{Outcome, fail};
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

/// How long a read may take of which one try ends in a dead node: the time a replica's pool is given
/// to connect, the wait for its turn on the primary, and what a busy machine adds.
const LIMIT: Duration = Duration::from_millis(3500);

/// Runs so many reads at once, and returns how long the slowest took.
async fn run_reads(router: &PgRouter, reads: usize) -> Outcome<Duration> {
    let mut tasks = JoinSet::new();
    for _ in 0..reads {
        let router = router.clone();
        tasks.spawn(async move {
            let began = lagwise::now();
            let mut tries = 0;
            let count = router
                .run_read(|node| {
                    tries += 1;
                    Box::pin(number(node, "select count(*) from lanes"))
                })
                .await;
            (count, tries, lagwise::now().since(began))
        });
    }
    let mut slowest = Duration::ZERO;
    while let Some(read) = tasks.join_next().await {
        let (count, tries, took) = read?;
        assert_eq!(count?, 8, "every read is answered");
        assert!(tries <= 2, "{tries} tries for one read");
        slowest = slowest.max(took);
    }
    Ok(slowest)
}

/// Opens connections to every replica's pool, so that some of them break.
async fn warm_up(router: &PgRouter) -> Outcome {
    let mut held = Vec::new();
    for _ in 0..12 {
        let mut node = router.read().await?;
        number(&mut node, "select 1::int8").await?;
        held.push(node);
    }
    Ok(())
}

/// What must hold while the first replica of two is dead: reads and writes go on.
async fn reads_survive(router: &PgRouter) -> Outcome {
    let slowest = run_reads(router, 60).await?;
    assert!(slowest < LIMIT, "the slowest read took {slowest:?}");
    let began = lagwise::now();
    let mut node = router.write().await?;
    number(
        &mut node,
        "update lanes set n = n + 1 where lane = 7 returning n",
    )
    .await?;
    let took = lagwise::now().since(began);
    assert!(took < Duration::from_secs(1), "a write took {took:?}");
    snapshot_where(router, "the dead replica is out", |snapshot| {
        !view(snapshot, "r1").membership.is_in_rotation()
    })
    .await?;
    let slowest = run_reads(router, 30).await?;
    let limit = Duration::from_secs(1);
    assert!(
        slowest < limit,
        "a read that is not sent to it took {slowest:?}"
    );
    Ok(())
}

async fn prepared() -> Outcome<(Cluster, PgRouter)> {
    let (cluster, router) = with_router(2, LANES).await?;
    warm_up(&router).await?;
    Ok((cluster, router))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_under_way_on_a_replica_that_falls_silent_end() -> Outcome {
    let (cluster, router) = prepared().await?;
    // The connections are back in the pool by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.replica(0).client_wire().blackhole();
    let slowest = tokio::time::timeout(Duration::from_secs(10), run_reads(&router, 40)).await;
    cluster.replica(0).client_wire().heal();
    let Ok(slowest) = slowest else {
        return fail("a read on the silent replica has no deadline");
    };
    let slowest = slowest?;
    assert!(slowest < LIMIT, "the slowest read took {slowest:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_costs_a_read_at_most_one_retry() -> Outcome {
    let (cluster, router) = prepared().await?;
    cluster.replica(0).kill().await?;
    reads_survive(&router).await?;
    cluster.replica(0).start().await?;
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_be_reached_costs_a_read_at_most_one_retry() -> Outcome {
    let (cluster, router) = prepared().await?;
    cluster.replica(0).client_wire().cut();
    reads_survive(&router).await?;
    cluster.replica(0).client_wire().heal();
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_falls_silent_costs_reads_that_come_after_it_nothing() -> Outcome {
    let (cluster, router) = prepared().await?;
    cluster.replica(0).client_wire().blackhole();
    snapshot_where(&router, "the silent replica is out", |snapshot| {
        !view(snapshot, "r1").membership.is_in_rotation()
    })
    .await?;
    reads_survive(&router).await?;
    cluster.replica(0).client_wire().heal();
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_come_while_a_replica_falls_silent_end_in_time() -> Outcome {
    // No connection of the pools is open yet: what waits is the making of one.
    let (cluster, router) = with_router(2, LANES).await?;
    cluster.replica(0).client_wire().blackhole();
    let slowest = run_reads(&router, 40).await?;
    assert!(slowest < LIMIT, "the slowest read took {slowest:?}");
    cluster.replica(0).client_wire().heal();
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn getting_a_connection_survives_a_replica_that_just_died() -> Outcome {
    let cluster = start(2, LANES).await?;
    // So seldom does the monitor ask that the reads are the first to find out.
    let seldom = router(&cluster)
        .poll_interval(Duration::from_millis(500))
        .max_lag(Duration::from_secs(8));
    let router = settle(seldom, 2).await?;
    router.drain("r2")?;
    ejected(&router, "r2", lagwise::Cause::Drained).await?;
    each_poll(&router, "r1", 1, |_| {}).await?;
    // No connection of the pools is open yet, so each of these reads finds out by connecting.
    cluster.replica(0).client_wire().cut();
    let reads = JoinSet::from_iter((0..8).map(|_| {
        let router = router.clone();
        async move { router.read().await.map(|node| node.route().clone()) }
    }));
    let mut retried = 0;
    for route in reads.join_all().await {
        let route = route?;
        assert_eq!(&*route.node, "p", "{route}");
        retried += u32::from(route.retried);
    }
    if retried == 0 {
        return fail("no read met the dead replica, so this tested nothing");
    }
    Ok(())
}

/// A read that meets a conflict with replay at its first try; returns how many it took, too.
async fn conflict_once(router: &PgRouter) -> (Result<i64, lagwise::Error>, u32) {
    let mut tries = 0;
    let read = router.run_read(|node| {
        tries += 1;
        let query = if tries == 1 {
            CONFLICT
        } else {
            "select 8::int8"
        };
        Box::pin(number(node, query))
    });
    (read.await, tries)
}

/// Fails as a statement does that replay had to cancel.
const CONFLICT: &str = "select conflict()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_with_replay_costs_one_retry_and_no_replica_its_place() -> Outcome {
    let conflict = "create function conflict() returns int8 language plpgsql as \
        $$ begin raise exception 'a conflict' using errcode = '40001'; end $$";
    let (_cluster, router) = with_router(2, conflict).await?;
    let reads = (0..20).map(|_| {
        let router = router.clone();
        async move { conflict_once(&router).await }
    });
    let reads = JoinSet::from_iter(reads).join_all().await;
    for (answer, tries) in reads {
        assert_eq!((answer?, tries), (8, 2), "one retry, then an answer");
    }
    assert_eq!(router.snapshot().in_rotation(), 2, "nobody is gone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_at_fault_is_not_tried_again() -> Outcome {
    let (_cluster, router) = with_router(2, LANES).await?;
    let mut tries = 0;
    let answer = router
        .run_read(|node| {
            tries += 1;
            Box::pin(number(node, "select no_such_column from lanes"))
        })
        .await;
    assert!(answer.is_err_and(|error| error.as_sqlx().is_some()));
    assert_eq!(tries, 1, "it fails everywhere");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_no_replica_runs_goes_to_the_primary() -> Outcome {
    let (_cluster, router) = with_router(2, LANES).await?;
    let mut routes = Vec::new();
    for _ in 0..10 {
        let answer = router
            .run_read(|node| {
                let write = "update lanes set n = n + 1 where lane = 6 returning n";
                Box::pin(number(node, write))
            })
            .await?;
        routes.push(answer);
    }
    assert_eq!(routes, (1..=10).collect::<Vec<i64>>(), "each was done once");
    assert_eq!(router.snapshot().in_rotation(), 2, "no replica is blamed");
    assert_eq!(router.read().await?.route().role, Role::Replica);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_as_soon_as_it_is_connected_to_costs_one_retry() -> Outcome {
    let cluster = start(1, LANES).await?;
    let r1 = cluster.replica(0);
    let hangs = r1.clone();
    let options = PgPoolOptions::new().after_connect(move |_, _| {
        let frozen = hangs.freeze();
        Box::pin(async move { frozen.map_err(|error| sqlx::Error::Configuration(error.into())) })
    });
    let router = cluster::bare()
        .primary(config(cluster.primary()))
        .replica(config(r1).pool_options(options.acquire_timeout(Duration::from_secs(1))));
    let router = settle(router, 1).await?;
    let read = tokio::time::timeout(cluster::PATIENCE, run_reads(&router, 1)).await;
    r1.thaw()?;
    let slowest = read??;
    assert!(slowest < LIMIT, "the read took {slowest:?}");
    Ok(())
}
