//! The strict bound: what is proved of a replica is true of it, commit by commit.

use std::time::Duration;

use lagwise::PgRouter;
use lagwise_core::Instant;
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{connect, router, settle, start};
use lagwise_tests::observe::{Diary, each_poll, until, view};
use lagwise_tests::workload::{LANES, Ledger, Load, Style, expect_as_of, read_lanes};
use lagwise_tests::{Outcome, cluster, fail};
use sqlx::postgres::PgConnection;

/// Checks claims about both replicas until there are `enough` of them, and says how many were made.
async fn check_claims(
    router: &PgRouter,
    replicas: &mut [(&str, PgConnection)],
    ledger: &Ledger,
    enough: usize,
) -> Outcome<usize> {
    let mut claims = 0;
    let deadline = lagwise::now().after(cluster::PATIENCE);
    while claims < enough && lagwise::now() < deadline {
        for (name, connection) in &mut *replicas {
            let snapshot = router.snapshot();
            let Some(as_of) = view(&snapshot, name).as_of else {
                tokio::task::yield_now().await;
                continue;
            };
            let seen = read_lanes(connection).await?;
            expect_as_of(ledger, as_of, &seen, name)?;
            claims += 1;
        }
    }
    Ok(claims)
}

/// Claims while replicas keep up, lag by a fixed delay, and stand still.
async fn every_claim_holds(synchronous: bool) -> Outcome {
    let cluster = start(2, LANES).await?;
    let policy = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let router = settle(router(&cluster).policy(policy), 2).await?;
    let style = Style {
        synchronous,
        ..Style::default()
    };
    let load = Load::start(cluster.primary(), style).await?;
    let ledger = load.ledger();
    let mut replicas = Vec::new();
    for node in cluster.replicas() {
        replicas.push((node.name(), connect(node).await?));
    }
    let mut claims = check_claims(&router, &mut replicas, &ledger, 2000).await?;
    cluster.replica(0).pause_replay().await?;
    let delay = Duration::from_millis(150);
    cluster.replica(1).set_apply_delay(delay).await?;
    claims += check_claims(&router, &mut replicas, &ledger, 1500).await?;
    cluster.replica(0).resume_replay().await?;
    claims += check_claims(&router, &mut replicas, &ledger, 1500).await?;
    cluster.replica(1).set_apply_delay(Duration::ZERO).await?;
    claims += check_claims(&router, &mut replicas, &ledger, 1000).await?;
    let commits = load.stop().await?;
    if claims < 4000 || commits < 200 {
        return fail(format!(
            "{claims} claims over {commits} commits are too few"
        ));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_begins_at_the_start_of_a_segment_finds_its_replicas_caught_up() -> Outcome {
    let cluster = start(2, LANES).await?;
    let primary = cluster.primary();
    primary.execute("select pg_switch_wal()").await?;
    // The insert position stands behind a page header that no record has filled yet.
    let insert: String = primary
        .query_scalar("select pg_current_wal_insert_lsn()::text")
        .await?;
    assert!(insert.ends_with("000028"), "the primary stands at {insert}");
    let router = settle(router(&cluster), 2).await?;
    assert_eq!(router.snapshot().in_rotation(), 2);
    router.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_on_a_quiet_primary_is_nobodys_lag() -> Outcome {
    let (cluster, router) = cluster::with_router(2, LANES).await?;
    let diary = Diary::begin(&router);
    let mut open = cluster.primary().connect().await?;
    sqlx::query("begin").execute(&mut open).await?;
    sqlx::query("update lanes set n = 1 where lane = 0")
        .execute(&mut open)
        .await?;
    let (staleness, _) = worst_of(&router, 60).await?;
    let entries = diary.entries();
    assert!(entries.is_empty(), "{staleness:?}:\n{diary}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_acknowledged_before_the_as_of_instant_is_visible() -> Outcome {
    every_claim_holds(true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_as_of_instant_holds_for_commits_that_were_not_flushed_either() -> Outcome {
    every_claim_holds(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_within_a_bound_sees_every_commit_older_than_the_bound() -> Outcome {
    let cluster = start(1, LANES).await?;
    let router = settle(router(&cluster), 1).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    let ledger = load.ledger();
    let delay = Duration::from_millis(200);
    cluster.replica(0).set_apply_delay(delay).await?;
    let mut on_replicas = 0;
    for bound in [120, 160, 250, 400].repeat(70) {
        let bound = Duration::from_millis(bound);
        let mut node = router.read_with(lagwise::Within(bound)).await?;
        // The bound holds where the connection is handed out, so for whatever is read after that.
        let handed_out = lagwise::now();
        let seen = read_lanes(&mut node).await?;
        let route = node.route();
        if route.role == lagwise::Role::Replica {
            on_replicas += 1;
            assert!(
                route.staleness <= bound,
                "{route} was handed out within {bound:?}"
            );
            // The moment between the decision and this line is granted.
            let as_of = handed_out.before(bound).before(Duration::from_millis(30));
            expect_as_of(&ledger, as_of, &seen, &route.to_string())?;
        }
    }
    load.stop().await?;
    assert!(on_replicas > 60, "{on_replicas} reads were on replicas");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_way_to_the_primary_makes_no_claim_false() -> Outcome {
    let cluster = start(2, LANES).await?;
    // An answer is as old as its way is long, and so is what it proves.
    cluster
        .primary()
        .client_wire()
        .delay(Duration::from_millis(15));
    let policy = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let router = settle(router(&cluster).policy(policy), 2).await?;
    for (node, delay) in cluster.replicas().iter().zip([90, 230]) {
        node.set_apply_delay(Duration::from_millis(delay)).await?;
    }
    let load = Load::start(cluster.primary(), Style::default()).await?;
    let mut replicas = Vec::new();
    for node in cluster.replicas() {
        replicas.push((node.name(), connect(node).await?));
    }
    let claims = check_claims(&router, &mut replicas, &load.ledger(), 2000).await?;
    load.stop().await?;
    assert!(claims > 1000, "{claims} claims are too few");
    Ok(())
}

/// The largest staleness and estimate that the router states over so many polls.
async fn worst_of(router: &PgRouter, polls: usize) -> Outcome<(Duration, Duration)> {
    let mut worst = (Duration::ZERO, Duration::ZERO);
    each_poll(router, "r1", polls, |snapshot| {
        let view = view(snapshot, "r1");
        let staleness = view.staleness(lagwise::now()).unwrap_or(Duration::MAX);
        worst.0 = worst.0.max(staleness);
        worst.1 = worst.1.max(view.estimate.unwrap_or(Duration::MAX));
    })
    .await?;
    Ok(worst)
}

/// What a primary writes without a commit is replayed soon, and there is no lag after it.
async fn expect_no_lag(cluster: &Cluster, router: &PgRouter, after: &str) -> Outcome {
    cluster.wait_caught_up().await?;
    let asked = lagwise::now();
    let caught_up = async || {
        let snapshot = router.snapshot();
        Ok(snapshot
            .replicas()
            .all(|node| node.as_of > Some(asked) && node.estimate == Some(Duration::ZERO)))
    };
    until(&format!("no lag is stated {after}"), PATIENT, caught_up).await?;
    let (staleness, estimate) = worst_of(router, 25).await?;
    assert_eq!(estimate, Duration::ZERO, "the estimate {after}");
    let limit = cluster::POLL * 2 + SLACK;
    assert!(
        staleness < limit,
        "a staleness of {staleness:?} {after}, where {limit:?} can be proved"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_primary_means_no_lag_and_no_events() -> Outcome {
    let (cluster, router) = cluster::with_router(2, LANES).await?;
    let diary = Diary::begin(&router);
    expect_no_lag(&cluster, &router, "while nobody writes").await?;
    for statement in ["select pg_switch_wal()", "checkpoint"].repeat(3) {
        cluster.primary().execute(statement).await?;
        expect_no_lag(&cluster, &router, &format!("after {statement:?}")).await?;
    }
    let entries = diary.entries();
    assert!(entries.is_empty(), "nothing happens, but:\n{diary}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_replica_is_as_stale_as_its_freeze_is_long() -> Outcome {
    let (cluster, router) = cluster::with_router(1, LANES).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    cluster.replica(0).freeze_replay()?;
    let frozen = lagwise::now();
    let mut latest: Option<Instant> = None;
    each_poll(&router, "r1", 15, |snapshot| {
        latest = latest.max(view(snapshot, "r1").as_of);
    })
    .await?;
    cluster.replica(0).thaw_replay()?;
    load.stop().await?;
    assert!(
        latest.is_some_and(|latest| latest <= frozen.after(SLACK)),
        "nothing later than the freeze was proved of a frozen replica"
    );
    Ok(())
}

/// What a busy machine may take away from a poll.
const SLACK: Duration = Duration::from_millis(150);

/// How long to wait for a quiet cluster to be seen as one.
const PATIENT: Duration = Duration::from_secs(5);
