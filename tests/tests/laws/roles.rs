//! What a node is, is asked of the node: foreign, promoted, paused or drained, it takes no reads.

use lagwise::{Cause, Event, Role};
use lagwise_testkit::{Cluster, Stop};
use lagwise_tests::Outcome;
use lagwise_tests::cluster::{
    PATIENCE, bare, config, number, settle, start, start_with, with_router,
};
use lagwise_tests::observe::{Diary, each_poll, ejected, primary_is, readmitted, view};
use lagwise_tests::workload::LANES;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_clusters_replica_is_foreign_and_never_read_from() -> Outcome {
    let cluster = start(1, LANES).await?;
    let other = Cluster::builder().replicas(1).own_system_identifier();
    let other = start_with(other, LANES).await?;
    let foreign = config(other.replica(0)).name("foreign");
    let router = bare()
        .primary(config(cluster.primary()))
        .replica(config(cluster.replica(0)))
        .replica(foreign);
    let router = settle(router, 1).await?;
    ejected(&router, "foreign", Cause::Foreign).await?;
    // Neither its position nor the passing of time makes it ours.
    other
        .primary()
        .execute("insert into lanes select n, 0, '' from generate_series(100, 5000) n")
        .await?;
    other.primary().execute("select pg_switch_wal()").await?;
    other.wait_caught_up().await?;
    each_poll(&router, "foreign", 25, |snapshot| {
        let foreign = view(snapshot, "foreign");
        assert_eq!(foreign.membership.cause(), Some(Cause::Foreign));
        assert_eq!(foreign.as_of, None, "nothing is proved of it");
    })
    .await?;
    for _ in 0..50 {
        let node = router.read().await?;
        assert_eq!(&*node.route().node, "r1", "{}", node.route());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_clusters_primary_is_never_written_to() -> Outcome {
    let cluster = start(1, LANES).await?;
    let other = Cluster::builder().replicas(1).own_system_identifier();
    let other = start_with(other, LANES).await?;
    // On a later timeline than ours: were it ours, it would have been promoted after our primary.
    other.replica(0).promote().await?;
    let router = bare()
        .primary(config(cluster.primary()))
        .replica(config(cluster.replica(0)))
        .replica(config(other.replica(0)).name("foreign"));
    let router = settle(router, 1).await?;
    ejected(&router, "foreign", Cause::Foreign).await?;
    let foreign = view(&router.snapshot(), "foreign").id;
    let never = |snapshot: &lagwise::Snapshot| {
        assert_ne!(snapshot.primary, Some(foreign), "it holds other data");
    };
    each_poll(&router, "foreign", 15, never).await?;
    assert_eq!(&*router.write().await?.route().node, "p");
    cluster.primary().stop(Stop::Fast).await?;
    each_poll(&router, "foreign", 25, never).await?;
    let written = router.write().await;
    assert!(written.is_err(), "there is nobody to write to");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_is_out_and_takes_the_writes_when_the_old_primary_is_gone() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let diary = Diary::begin(&router);
    let (old, new, other) = (cluster.primary(), cluster.replica(0), cluster.replica(1));
    let session = router.session();
    old.stop(Stop::Fast).await?;
    new.promote().await?;
    other.follow(new).await?;
    primary_is(&router, "r1").await?;
    diary
        .wait_for("r1", |event| {
            matches!(
                event,
                Event::Ejected {
                    cause: Cause::Promoted,
                    ..
                }
            )
        })
        .await?;
    let mut node = session.write().await?;
    let route = node.route().clone();
    assert_eq!((&*route.node, route.role), ("r1", Role::Primary), "{route}");
    number(
        &mut node,
        "update lanes set n = 5 where lane = 0 returning n",
    )
    .await?;
    drop(node);
    readmitted(&router, "r2").await?;
    for _ in 0..30 {
        let mut node = session.read().await?;
        let n = number(&mut node, "select n from lanes where lane = 0").await?;
        assert_eq!(n, 5, "the session's write is on {}", node.route());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_replay_is_paused_is_out_also_while_nothing_is_written() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    cluster.replica(0).pause_replay().await?;
    ejected(&router, "r1", Cause::Paused).await?;
    for _ in 0..30 {
        assert_eq!(&*router.read().await?.route().node, "r2");
    }
    cluster.replica(0).resume_replay().await?;
    readmitted(&router, "r1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_is_out_until_it_is_undrained() -> Outcome {
    let (_cluster, router) = with_router(2, LANES).await?;
    let mut held = router.read().await?;
    router.drain("r1")?;
    router.drain("r2")?;
    ejected(&router, "r1", Cause::Drained).await?;
    ejected(&router, "r2", Cause::Drained).await?;
    number(&mut held, "select 1::int8").await?;
    each_poll(&router, "r1", 15, |snapshot| {
        assert_eq!(snapshot.in_rotation(), 0, "only a hand puts them back");
    })
    .await?;
    assert_eq!(router.read().await?.route().role, Role::Primary);
    router.undrain("r1")?;
    readmitted(&router, "r1").await?;
    assert_eq!(&*router.read().await?.route().node, "r1");
    let unknown = router.drain("db-9").unwrap_err();
    assert!(unknown.is_config(), "{unknown}");
    for word in ["db-9", "p", "r1", "r2"] {
        assert!(unknown.to_string().contains(word), "{unknown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_never_go_to_a_node_that_refuses_them() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    let p = cluster.primary();
    p.configure("default_transaction_read_only", "on").await?;
    let diary = Diary::begin(&router);
    let lost = |snapshot: &lagwise::Snapshot| snapshot.primary_lost.is_some();
    lagwise_tests::observe::snapshot_where(&router, "the primary refuses writes", lost).await?;
    p.configure("default_transaction_read_only", "off").await?;
    primary_is(&router, "p").await?;
    diary
        .wait_for("p", |event| matches!(event, Event::PrimaryFound { .. }))
        .await?;
    router.ready(1, PATIENCE).await?;
    Ok(())
}
