//! What a read does when no replica has what it needs, and what it must not do to the primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lagwise::{Budget, Cause, Fallback, PgRouter, ReadOptions, Reason, Role, Within};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{MAX_LAG, router, settle, start, with_router};
use lagwise_tests::observe::{each_poll, ejected, snapshot_where, view};
use lagwise_tests::workload::{LANES, Load, Style};
use lagwise_tests::{Outcome, fail};
use tokio::task::JoinSet;

/// A router all of whose replicas are out.
async fn drained(cluster: &Cluster, budget: Budget) -> Outcome<PgRouter> {
    let router = settle(router(cluster).budget(budget), 2).await?;
    router.drain("r1")?;
    router.drain("r2")?;
    ejected(&router, "r1", Cause::Drained).await?;
    ejected(&router, "r2", Cause::Drained).await?;
    Ok(router)
}

/// Runs so many reads at once, each of which takes a while, and says how many were refused and how
/// many ran at the same time at most.
async fn crowd(router: &PgRouter, reads: usize) -> Outcome<(usize, usize)> {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..reads {
        let (router, running, most) = (router.clone(), Arc::clone(&running), Arc::clone(&most));
        tasks.spawn(async move {
            let mut node = router.read().await?;
            assert_eq!(node.route().role, Role::Primary, "{}", node.route());
            assert_eq!(node.route().reason, Reason::NoneInRotation);
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let slept = sqlx::query("select pg_sleep(0.1)")
                .execute(&mut *node)
                .await;
            running.fetch_sub(1, Ordering::SeqCst);
            drop(node);
            slept.map(|_| ()).map_err(lagwise::Error::from)
        });
    }
    let mut refused = 0;
    while let Some(read) = tasks.join_next().await {
        match read? {
            Ok(()) => {}
            Err(error) if error.is_overloaded() => {
                assert!(error.is_unavailable(), "overloaded is unavailable, too");
                refused += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((refused, most.load(Ordering::SeqCst)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_reads_fall_back_at_once_than_the_budget_allows() -> Outcome {
    let cluster = start(2, LANES).await?;
    let budget = Budget::new().concurrent(3);
    let router = drained(&cluster, budget.queue_for(Duration::from_secs(8))).await?;
    let (refused, most) = crowd(&router, 15).await?;
    assert_eq!((refused, most), (0, 3), "each has its turn");

    let hasty = drained(&cluster, budget.queue_for(Duration::from_millis(150))).await?;
    let (refused, most) = crowd(&hasty, 15).await?;
    assert_eq!(most, 3, "the budget is for three");
    assert!((6..=12).contains(&refused), "{refused} reads were refused");

    // Half of a pool of sixteen, where nothing was said.
    let usual = drained(&cluster, Budget::new().queue_for(Duration::from_secs(8))).await?;
    assert_eq!(crowd(&usual, 20).await?, (0, 8), "half of the pool");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_reads_fall_back_in_a_second_than_the_budget_allows() -> Outcome {
    let cluster = start(2, LANES).await?;
    let budget = Budget::new().per_second(10).queue_for(Duration::ZERO);
    let router = drained(&cluster, budget).await?;
    let began = lagwise::now();
    let (mut served, mut refused) = (0_u32, 0_u32);
    while lagwise::now().since(began) < Duration::from_secs(2) {
        match router.read().await {
            Ok(node) => served += u32::from(node.route().role == Role::Primary),
            Err(error) if error.is_overloaded() => refused += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((15..=32).contains(&served), "{served} reads in two seconds");
    assert!(refused > 50, "the others were refused: {refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_asks_for_the_primary_and_a_write_spend_no_budget() -> Outcome {
    let cluster = start(2, LANES).await?;
    let budget = Budget::new().concurrent(1).queue_for(Duration::ZERO);
    let router = drained(&cluster, budget).await?;
    let fallback = router.read().await?;
    let refused = router.read().await;
    assert!(refused.is_err_and(|error| error.is_overloaded()), "spent");
    let asked = router.read_with(ReadOptions::primary()).await?;
    assert_eq!(asked.route().reason, Reason::Asked);
    drop(router.write().await?);
    router.begin().await?.rollback().await?;
    drop(fallback);
    drop(router.read().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_read_says_what_each_replica_lacks() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    router.drain("r1")?;
    ejected(&router, "r1", Cause::Drained).await?;
    cluster.replica(1).freeze_replay()?;
    let session = router.session();
    let mut node = session.write().await?;
    sqlx::query("update lanes set n = 1 where lane = 0")
        .execute(&mut *node)
        .await?;
    drop(node);
    let refuse = ReadOptions::new().fallback(Fallback::Refuse);
    let error = session.read_with(refuse).await.map(|_| ()).unwrap_err();
    assert!(error.is_unavailable() && !error.is_overloaded(), "{error}");
    let message = error.to_string();
    for part in [
        "r1 is out of rotation: drained",
        "r2 is ",
        "what the session wrote",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let bound = refuse.within(Duration::from_millis(1));
    let error = router.read_with(bound).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("1ms is accepted"), "{error}");
    cluster.replica(1).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_freshest_replica_serves_flagged_but_never_against_a_bound_or_a_floor() -> Outcome {
    let cluster = start(2, LANES).await?;
    let router = settle(router(&cluster).fallback(Fallback::Freshest), 2).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    cluster.replica(0).set_apply_delay(MAX_LAG * 3).await?;
    cluster.replica(1).set_apply_delay(MAX_LAG * 2).await?;
    ejected(&router, "r1", Cause::Lagging).await?;
    ejected(&router, "r2", Cause::Lagging).await?;
    each_poll(&router, "r2", 40, |_| {}).await?;
    for _ in 0..20 {
        let node = router.read().await?;
        let route = node.route();
        assert_eq!((&*route.node, route.reason), ("r2", Reason::Freshest));
        assert!(route.staleness > MAX_LAG, "it says how stale: {route}");
    }
    let refused = router.read_with(Within(MAX_LAG)).await;
    assert!(
        refused.is_err_and(|error| error.is_unavailable()),
        "the freshest replica is not within the bound"
    );
    drop(router.read_with(Within(MAX_LAG * 20)).await?);
    let session = router.session();
    let mut node = session.write().await?;
    sqlx::query("update lanes set n = 1 where lane = 7")
        .execute(&mut *node)
        .await?;
    drop(node);
    let refused = session.read().await.map(|node| node.route().to_string());
    assert!(
        refused.as_ref().is_err_and(lagwise::Error::is_unavailable),
        "the freshest replica lacks the session's write: {refused:?}"
    );
    router.drain("r2")?;
    ejected(&router, "r2", Cause::Drained).await?;
    assert_eq!(
        &*router.read().await?.route().node,
        "r1",
        "r2 is out by hand"
    );
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_waits_longer_than_it_was_told() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    cluster.replica(0).freeze_replay()?;
    let session = router.session();
    for millis in [0, 40, 250] {
        let mut node = session.write().await?;
        sqlx::query("update lanes set n = n + 1 where lane = 0")
            .execute(&mut *node)
            .await?;
        drop(node);
        let wait = Duration::from_millis(millis);
        let began = lagwise::now();
        let node = session.read_with(ReadOptions::new().wait(wait)).await?;
        let took = lagwise::now().since(began);
        assert_eq!(node.route().reason, Reason::BehindFloor);
        let waited = node.route().waited;
        let limit = wait + SLACK;
        assert!(took < limit, "{took:?} for a wait of {wait:?}");
        assert!(waited <= took, "it says {waited:?} of {took:?}");
        let least = wait / 2;
        assert!(waited >= least, "it gave up after {waited:?} of {wait:?}");
    }
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_gets_its_replica_as_soon_as_it_has_replayed() -> Outcome {
    let (_cluster, router) = with_router(2, LANES).await?;
    let (session, mut replicas) = (router.session(), 0);
    let wait = ReadOptions::new().wait(Duration::from_secs(2));
    let mut longest = Duration::ZERO;
    for _ in 0..30 {
        let mut node = session.write().await?;
        sqlx::query("update lanes set n = n + 1 where lane = 0")
            .execute(&mut *node)
            .await?;
        drop(node);
        let node = session.read_with(wait).await?;
        replicas += u32::from(node.route().role == Role::Replica);
        longest = longest.max(node.route().waited);
    }
    assert_eq!(replicas, 30, "a healthy replica needs no two seconds");
    assert!(longest < Duration::from_secs(1), "{longest:?} for a replay");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_replicas_stay_in_while_the_policy_needs_them() -> Outcome {
    let cluster = start(2, LANES).await?;
    let keep = |policy: &mut lagwise::Policy| policy.min_in_rotation = 1;
    let router = settle(router(&cluster).policy(keep), 2).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    for replica in cluster.replicas() {
        replica.set_apply_delay(MAX_LAG * 2).await?;
    }
    let one = |snapshot: &lagwise::Snapshot| snapshot.in_rotation() == 1;
    snapshot_where(&router, "one replica is left", one).await?;
    each_poll(&router, "r1", 40, |snapshot| {
        assert!(snapshot.in_rotation() >= 1, "lag took out the last one");
    })
    .await?;
    let served = router.read().await?.route().clone();
    let staleness = view(&router.snapshot(), &served.node).staleness(lagwise::now());
    load.stop().await?;
    if served.role != Role::Replica {
        return fail(format!("{served}, while a replica is {staleness:?} behind"));
    }
    Ok(())
}

/// What a busy machine may take away from a read.
const SLACK: Duration = Duration::from_millis(400);
