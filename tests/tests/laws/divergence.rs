//! A node with another history serves nobody, however fresh it looks.

use lagwise::{Cause, PgRouter, Role};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{PATIENCE, with_router};
use lagwise_tests::observe::{Diary, each_poll, primary_is, readmitted, view};
use lagwise_tests::{Outcome, cluster};
use tokio::sync::watch;
use tokio::task::JoinSet;

const NOTES: &str = "create table notes (id int primary key, body text not null)";

/// Makes an old primary with rows that were acknowledged and are on no other node, and a new
/// primary, `r1`, which `r2` follows.
async fn part_ways(cluster: &Cluster) -> Outcome {
    let [r1, r2] = [cluster.replica(0), cluster.replica(1)];
    for replica in [r1, r2] {
        replica.upstream_wire().cut();
    }
    cluster
        .primary()
        .execute("insert into notes select id, 'lost' from generate_series(1, 9000) id")
        .await?;
    r1.promote().await?;
    r2.follow(r1).await?;
    r2.upstream_wire().heal();
    r2.wait_streaming().await?;
    Ok(())
}

/// Reads in and out of sessions, and fails if any answer shows what the cluster has lost, or comes
/// from the old primary.
async fn never_sees_the_lost(router: PgRouter, stop: watch::Receiver<bool>) -> Outcome<u32> {
    let mut on_replicas = 0;
    let session = router.session();
    while !*stop.borrow() {
        for mut node in [router.read().await?, session.read().await?] {
            let lost = "select count(*) from notes where body = 'lost'";
            let lost = cluster::number(&mut node, lost).await?;
            let route = node.route();
            assert_ne!(&*route.node, "p", "the old primary serves: {route}");
            assert_eq!(lost, 0, "{route} shows rows that were lost");
            on_replicas += u32::from(route.role == Role::Replica);
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    Ok(on_replicas)
}

/// Stays out for so many polls, for a cause that says why.
async fn stays_out(router: &PgRouter, polls: usize) -> Outcome {
    each_poll(router, "p", polls, |snapshot| {
        let p = view(snapshot, "p");
        assert!(!p.membership.is_in_rotation(), "it must be out: {p:?}");
        let as_of = p.as_of;
        assert_eq!(as_of, None, "nothing is proved of another history: {p:?}");
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_with_rows_of_its_own_serves_nobody_until_it_was_rewound() -> Outcome {
    let (cluster, router) = with_router(2, NOTES).await?;
    let (old, new) = (cluster.primary(), cluster.replica(0));
    let diary = Diary::begin(&router);
    part_ways(&cluster).await?;
    primary_is(&router, "r1").await?;
    readmitted(&router, "r2").await?;

    let (stop, stopped) = watch::channel(false);
    let mut reader = JoinSet::new();
    reader.spawn(never_sees_the_lost(router.clone(), stopped));
    old.rejoin_without_rewind(new).await?;
    let ours = old.query_scalar::<i64>("select count(*) from notes where body = 'lost'");
    assert_eq!(ours.await?, 9000, "the old primary shows what it alone has");
    stays_out(&router, 20).await?;
    let cause = view(&router.snapshot(), "p").membership.cause();
    assert_eq!(cause, Some(Cause::Diverged), "it is ahead of the primary");

    // Its position is behind the new primary's from here on, and only its history tells.
    new.execute("insert into notes select id, 'kept' from generate_series(10000, 19000) id")
        .await?;
    new.execute("select pg_switch_wal(); checkpoint").await?;
    new.execute("insert into notes values (30000, 'kept')")
        .await?;
    let passed = format!("select pg_last_wal_replay_lsn() < '{}'", new.lsn().await?);
    assert!(old.query_scalar::<bool>(&passed).await?, "it was passed");
    stays_out(&router, 25).await?;
    // Whoever restarts it, or whatever breaks its connections, makes the monitor see it anew.
    old.client_wire().reset();
    stays_out(&router, 25).await?;
    assert_eq!(diary.moves_of("p").1, 0, "it never took reads:\n{diary}");

    stop.send(true)?;
    while let Some(read) = reader.join_next().await {
        let on_replicas = read??;
        assert!(on_replicas > 50, "{on_replicas} reads were on replicas");
    }
    old.rejoin(new).await?;
    readmitted(&router, "p").await?;
    let rejoined = old.query_scalar::<i64>("select count(*) from notes where body = 'lost'");
    assert_eq!(rejoined.await?, 0, "the rewound node has the one history");
    router.ready(2, PATIENCE).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_is_still_writable_gets_neither_reads_nor_writes() -> Outcome {
    let (cluster, router) = with_router(2, NOTES).await?;
    let diary = Diary::begin(&router);
    part_ways(&cluster).await?;
    primary_is(&router, "r1").await?;
    diary
        .wait_for("p", |event| matches!(event, lagwise::Event::Rival { .. }))
        .await?;
    for id in 10000..10030 {
        let mut node = router.write().await?;
        assert_eq!(&*node.route().node, "r1", "writes go to the new primary");
        sqlx::query("insert into notes values ($1, 'kept')")
            .bind(id)
            .execute(&mut *node)
            .await?;
        assert_ne!(&*router.read().await?.route().node, "p");
    }
    let on_old = cluster.primary();
    let kept = on_old.query_scalar::<i64>("select count(*) from notes where body = 'kept'");
    assert_eq!(kept.await?, 0, "nothing was written to the old primary");
    Ok(())
}
