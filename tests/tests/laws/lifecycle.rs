//! The beginning and the end of a router: readiness, closing, and what it leaves behind.

use std::time::Duration;

use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{PATIENCE, bare, config, router, start, with_router};
use lagwise_tests::observe::until;
use lagwise_tests::workload::LANES;
use lagwise_tests::{Outcome, fail};

/// How many connections of monitors a cluster has.
async fn monitors(cluster: &Cluster) -> Outcome<i64> {
    let query = "select count(*) from pg_stat_activity where application_name = 'lagwise monitor'";
    let mut count = 0;
    for node in cluster.nodes() {
        count += node.query_scalar::<i64>(query).await?;
    }
    Ok(count)
}

async fn wait_for_monitors(cluster: &Cluster, wanted: i64) -> Outcome {
    let what = format!("there are {wanted} monitors' connections");
    until(&what, PATIENCE, async || {
        Ok(monitors(cluster).await? == wanted)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_router_leaves_no_connection_behind_and_ends_its_events() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    wait_for_monitors(&cluster, 3).await?;
    let mut events = router.events();
    let (session, other) = (router.session(), router.clone());
    drop(session.write().await?);
    drop(session.read().await?);
    router.close().await;
    assert!(router.is_closed() && other.is_closed(), "for all clones");
    wait_for_monitors(&cluster, 0).await?;
    let clients = "select count(*) from pg_stat_activity \
        where backend_type = 'client backend' and application_name <> 'lagwise-testkit'";
    for node in cluster.nodes() {
        let gone = async || Ok(node.query_scalar::<i64>(clients).await? == 0);
        until("no connection of a pool is left", PATIENCE, gone).await?;
    }
    let ended = async { while events.next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, ended).await.is_err() {
        return fail("the stream of events goes on after the end");
    }
    for refused in [
        session.read().await.map(|_| ()),
        session.write().await.map(|_| ()),
        other.ready(0, PATIENCE).await,
    ] {
        let closed = refused.as_ref().is_err_and(lagwise::Error::is_closed);
        assert!(closed, "after the end: {refused:?}");
    }
    for refused in [
        other.begin().await.map(|_| ()),
        other.begin_read_only().await.map(|_| ()),
        sqlx::query("select 1").execute(&other).await.map(|_| ()),
        sqlx::query("select 1").execute(&session).await.map(|_| ()),
    ] {
        let error = refused.err().ok_or("it ran after the end")?;
        let closed = lagwise::Error::behind(&error).is_some_and(lagwise::Error::is_closed);
        assert!(closed, "after the end: {error:?}");
    }
    assert!(other.events().next().await.is_none(), "nothing happens now");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_monitor_ends_with_the_last_router_and_session() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    let (clone, session) = (router.clone(), router.session());
    let mut events = router.events();
    drop((router, clone));
    wait_for_monitors(&cluster, 2).await?;
    drop(session.read().await?);
    drop(session);
    wait_for_monitors(&cluster, 0).await?;
    let ended = async { while events.next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, ended).await.is_err() {
        return fail("the stream of events goes on after the end");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_is_not_ready_says_which_node_is_missing_and_why() -> Outcome {
    let cluster = start(2, LANES).await?;
    cluster.replica(1).pause_replay().await?;
    let router = router(&cluster).connect().await?;
    let timeout = Duration::from_millis(800);
    let error = router.ready(2, timeout).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let message = error.to_string();
    for part in ["1 of 2", "r2: replica, paused", "r1: replica, in rotation"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_without_a_primary_does_not_connect_and_leaves_nothing() -> Outcome {
    let cluster = start(1, LANES).await?;
    let builder = bare()
        .primary(config(cluster.replica(0)))
        .connect_timeout(Duration::from_millis(700));
    let error = builder.connect().await.map(|_| ()).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let message = error.to_string();
    for part in ["no node accepts writes", "r1: replica"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    wait_for_monitors(&cluster, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_connect_leaves_nothing() -> Outcome {
    let cluster = start(1, LANES).await?;
    cluster.primary().client_wire().blackhole();
    let connecting = router(&cluster).connect();
    let given_up = tokio::time::timeout(Duration::from_millis(300), connecting).await;
    assert!(given_up.is_err(), "the primary does not answer");
    cluster.primary().client_wire().heal();
    wait_for_monitors(&cluster, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_reads_end_when_the_router_is_closed() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    cluster.replica(0).freeze_replay()?;
    let session = router.session();
    let mut node = session.write().await?;
    sqlx::query("update lanes set n = 1 where lane = 0")
        .execute(&mut *node)
        .await?;
    drop(node);
    let options = lagwise::ReadOptions::new().wait(Duration::from_secs(20));
    let waiting = session.read_with(options);
    let close = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        router.close().await;
    };
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        tokio::join!(waiting, close)
    });
    let Ok((read, ())) = ended.await else {
        return fail("a read that waits outlives its router");
    };
    assert!(read.is_err_and(|error| error.is_closed()), "it was closed");
    cluster.replica(0).thaw_replay()?;
    Ok(())
}
