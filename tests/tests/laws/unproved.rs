//! Unknown is stale: what was not proved since the router began takes no reads.

use std::time::Duration;

use lagwise::{Cause, Fallback, ReadOptions, Role};
use lagwise_tests::cluster::{PATIENCE, router, settle, start};
use lagwise_tests::observe::{each_poll, primary_is, readmitted, view};
use lagwise_tests::workload::{LANES, Load, Style};
use lagwise_tests::{Outcome, cluster};

#[tokio::test]
async fn before_anything_was_observed_nobody_takes_reads() -> Outcome {
    let cluster = start(2, LANES).await?;
    // On this runtime of one thread nothing else runs before the first wait.
    let impatient = |policy: &mut lagwise::Policy| policy.write_wait = Duration::ZERO;
    let lazy = router(&cluster).policy(impatient).connect_lazy()?;
    let snapshot = lazy.snapshot();
    assert_eq!(snapshot.in_rotation(), 0, "nobody was seen");
    assert!(snapshot.primary.is_none(), "not the primary either");
    for node in &snapshot.nodes {
        let (role, cause) = (node.role, node.membership.cause());
        assert_eq!((role, cause), (None, Some(Cause::Unproved)), "{node:?}");
        assert_eq!(node.as_of, None, "{node:?}");
    }
    let refused = lazy.read().await;
    assert!(
        refused.is_err_and(|error| error.is_unavailable()),
        "there is no node to read from"
    );
    lazy.ready(2, PATIENCE).await?;
    assert_eq!(lazy.read().await?.route().role, Role::Replica);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_replica_is_proved_a_read_goes_to_the_primary_or_is_refused() -> Outcome {
    let cluster = start(1, LANES).await?;
    // The replica answers too slowly to be observed, but it is there.
    cluster.replica(0).client_wire().blackhole();
    let router = router(&cluster).connect().await?;
    let node = router.read().await?;
    assert_eq!(node.route().role, Role::Primary, "{}", node.route());
    drop(node);
    let refuse = ReadOptions::new().fallback(Fallback::Refuse);
    let refused = router.read_with(refuse).await.map(|_| ()).unwrap_err();
    assert!(refused.is_unavailable(), "{refused}");
    assert!(refused.to_string().contains("r1"), "{refused}");
    cluster.replica(0).client_wire().heal();
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_never_caught_up_since_the_router_began_stays_out() -> Outcome {
    let cluster = start(2, LANES).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    cluster.replica(0).freeze_replay()?;
    let late = cluster.primary().lsn().await?;
    cluster.replica(1).wait_replayed(&late).await?;
    let policy = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let router = settle(router(&cluster).policy(policy), 1).await?;
    each_poll(&router, "r1", 30, |snapshot| {
        let r1 = view(snapshot, "r1");
        assert!(
            !r1.membership.is_in_rotation(),
            "it was never proved: {r1:?}"
        );
        assert_eq!(r1.as_of, None, "its lag is unknown, not small");
    })
    .await?;
    for _ in 0..30 {
        let node = router.read().await?;
        assert_ne!(&*node.route().node, "r1", "{}", node.route());
    }
    cluster.replica(0).thaw_replay()?;
    readmitted(&router, "r1").await?;
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_not_seen_any_more_is_out() -> Outcome {
    let (cluster, router) = cluster::with_router(1, LANES).await?;
    cluster.replica(0).client_wire().blackhole();
    let out = |snapshot: &lagwise::Snapshot| snapshot.in_rotation() == 0;
    let since = lagwise::now();
    lagwise_tests::observe::snapshot_where(&router, "r1 is out", out).await?;
    let took = lagwise::now().since(since);
    let snapshot = router.snapshot();
    let policy = &snapshot.policy;
    let limit = policy.unseen_for.max(policy.probe_timeout) + Duration::from_millis(700);
    assert!(took < limit, "it stayed in for {took:?}");
    let as_of = view(&router.snapshot(), "r1").as_of;
    assert_eq!(as_of, None, "what is known of a node that is gone is void");
    cluster.replica(0).client_wire().heal();
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_primary_reads_go_on_and_bounds_still_hold() -> Outcome {
    let (cluster, router) = cluster::with_router(2, LANES).await?;
    cluster.primary().client_wire().cut();
    let lost = |snapshot: &lagwise::Snapshot| snapshot.primary_lost.is_some();
    lagwise_tests::observe::snapshot_where(&router, "the primary is lost", lost).await?;
    let bound = Duration::from_millis(300);
    let strict = ReadOptions::new().within(bound).fallback(Fallback::Refuse);
    each_poll(&router, "r1", 20, |_| {}).await?;
    assert_eq!(
        router.read().await?.route().role,
        Role::Replica,
        "nothing was asked for that a replica cannot give"
    );
    let refused = router.read_with(strict).await;
    assert!(
        refused.is_err_and(|error| error.is_unavailable()),
        "nobody knows what was written in the last {bound:?}"
    );
    cluster.primary().client_wire().heal();
    primary_is(&router, "p").await?;
    router.ready(2, PATIENCE).await?;
    drop(router.read_with(strict.wait(PATIENCE)).await?);
    Ok(())
}
