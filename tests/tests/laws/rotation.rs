//! A lagging replica leaves once and returns once.

use std::time::Duration;

use lagwise::{Cause, Event, Membership, Role, Snapshot};
use lagwise_tests::cluster::{MAX_LAG, PATIENCE, router, settle, start, with_router};
use lagwise_tests::observe::{Diary, each_poll, ejected, readmitted, snapshot_where, view};
use lagwise_tests::workload::{LANES, Load, Style};
use lagwise_tests::{Outcome, fail};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_leaves_once_and_returns_once() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    let diary = Diary::begin(&router);
    let r1 = cluster.replica(0);
    r1.set_apply_delay(MAX_LAG * 3).await?;
    ejected(&router, "r1", Cause::Lagging).await?;
    for _ in 0..50 {
        let node = router.read().await?;
        assert_ne!(&*node.route().node, "r1", "it is out: {}", node.route());
    }
    let caught_up = lagwise::now();
    r1.set_apply_delay(Duration::ZERO).await?;
    readmitted(&router, "r1").await?;
    let snapshot = router.snapshot();
    let policy = &snapshot.policy;
    let took = lagwise::now().since(caught_up);
    let least = policy.poll_interval * (policy.return_after - 1) / 2;
    assert!(took >= least, "it was back after {took:?}, untried");
    each_poll(&router, "r1", 25, |_| {}).await?;
    load.stop().await?;
    assert_eq!(diary.moves_of("r1"), (1, 1), "left and returned:\n{diary}");
    assert_eq!(diary.moves_of("r2"), (0, 0), "nothing happened:\n{diary}");
    let was_lagging = |event: &Event| matches!(event, Event::Readmitted { after, .. } if *after == Cause::Lagging);
    diary.wait_for("r1", was_lagging).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lag_that_hovers_at_the_limit_does_not_make_a_replica_flap() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    let diary = Diary::begin(&router);
    let r1 = cluster.replica(0);
    let mut worst = Duration::ZERO;
    for percent in [85, 105, 90, 110, 80, 100] {
        r1.set_apply_delay(MAX_LAG * percent / 100).await?;
        each_poll(&router, "r1", 18, |snapshot| {
            let staleness = view(snapshot, "r1").staleness(lagwise::now());
            worst = worst.max(staleness.unwrap_or_default());
        })
        .await?;
    }
    load.stop().await?;
    assert!(worst > MAX_LAG, "{worst:?} never came to the limit");
    let (left, back) = diary.moves_of("r1");
    assert!(left <= 1 && back == 0, "it flaps:\n{diary}");
    assert_eq!(diary.moves_of("r2"), (0, 0), "nothing happened:\n{diary}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_is_too_short_to_matter_moves_nobody() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    let diary = Diary::begin(&router);
    let r1 = cluster.replica(0);
    for _ in 0..5 {
        r1.freeze_replay()?;
        let frozen = view(&router.snapshot(), "r1").observed_at;
        each_poll(&router, "r1", 4, |_| {}).await?;
        r1.thaw_replay()?;
        each_poll(&router, "r1", 4, |_| {}).await?;
        assert!(view(&router.snapshot(), "r1").observed_at > frozen, "asked");
    }
    load.stop().await?;
    assert_eq!(diary.moves_of("r1"), (0, 0), "nothing happened:\n{diary}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_late_observation_takes_nobody_out() -> Outcome {
    let cluster = start(1, LANES).await?;
    // Slow enough that a thaw and the replay after it fit between two observations.
    let slow = router(&cluster)
        .poll_interval(Duration::from_millis(300))
        .max_lag(Duration::from_millis(1200));
    let router = settle(slow, 1).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    let diary = Diary::begin(&router);
    cluster.replica(0).freeze_replay()?;
    let late = |snapshot: &Snapshot| match view(snapshot, "r1").membership {
        Membership::InRotation { late, .. } => late > 0,
        Membership::Ejected { .. } | Membership::Probation { .. } => true,
    };
    snapshot_where(&router, "r1 was late once", late).await?;
    cluster.replica(0).thaw_replay()?;
    each_poll(&router, "r1", 4, |_| {}).await?;
    load.stop().await?;
    assert_eq!(diary.moves_of("r1"), (0, 0), "nothing happened:\n{diary}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_spread_over_all_replicas_in_rotation() -> Outcome {
    let (_cluster, router) = with_router(3, LANES).await?;
    // Balance weighs latency, and how fast three servers answer on a busy machine is chance. What
    // is no chance: none is forgotten for long.
    let mut counts = [0; 3];
    let patience = lagwise::now().after(PATIENCE);
    while counts.iter().any(|count| *count < 20) {
        assert!(
            lagwise::now() < patience,
            "reads over three replicas: {counts:?}"
        );
        let mut held = Vec::new();
        for _ in 0..10 {
            let node = router.read().await?;
            let route = node.route();
            assert_eq!(route.role, Role::Replica, "{route}");
            match &*route.node {
                "r1" => counts[0] += 1,
                "r2" => counts[1] += 1,
                "r3" => counts[2] += 1,
                other => return fail(format!("read from {other}")),
            }
            held.push(node);
        }
    }
    Ok(())
}
