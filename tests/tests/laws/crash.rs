//! A replica that crashes and comes back further behind deceives nobody.

use std::sync::Arc;
use std::time::Duration;

use lagwise::{PgRouter, Role};
use lagwise_core::Instant;
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{self, number, router, settle, start};
use lagwise_tests::observe::{each_poll, snapshot_where, until, view};
use lagwise_tests::workload::{LANES, Ledger, Load, Style, expect_as_of, read_lanes};
use lagwise_tests::{Outcome, fail};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Reads in one session, and holds each answer against what its route claims, until it is stopped.
async fn read_and_compare(
    router: PgRouter,
    ledger: Arc<Ledger>,
    stop: watch::Receiver<bool>,
) -> Outcome<(u32, u32)> {
    let (mut answers, mut failures) = (0, 0);
    while !*stop.borrow() {
        let db = router.session();
        for _ in 0..20 {
            let asked = lagwise::now();
            // A node that dies under a read may cost it: that is `run_read`'s business.
            let Ok(mut node) = db.read().await else {
                failures += 1;
                continue;
            };
            let Ok(seen) = read_lanes(&mut node).await else {
                failures += 1;
                continue;
            };
            answers += 1;
            let route = node.route();
            if route.role == Role::Replica {
                let as_of = asked.before(route.staleness);
                expect_as_of(&ledger, as_of, &seen, &route.to_string())?;
            }
        }
    }
    Ok((answers, failures))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_claim_is_false_while_a_replica_crashes_and_recovers_under_load() -> Outcome {
    let cluster = start(2, LANES).await?;
    let router = settle(router(&cluster), 2).await?;
    let style = Style {
        pause: Duration::ZERO,
        ballast: 6000,
        ..Style::default()
    };
    let load = Load::start(cluster.primary(), style).await?;
    let (stop, stopped) = watch::channel(false);
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (router, stopped) = (router.clone(), stopped.clone());
        readers.spawn(read_and_compare(router, load.ledger(), stopped));
    }
    for _ in 0..3 {
        let seen = load.ledger().commits();
        let more = async || Ok(load.ledger().commits() > seen + 500);
        until("500 more commits", cluster::PATIENCE, more).await?;
        cluster.replica(0).kill().await?;
        cluster.replica(0).start().await?;
        direct_claims_hold(&cluster, &router, &load.ledger(), 200).await?;
    }
    stop.send(true)?;
    let mut answered = 0;
    while let Some(reader) = readers.join_next().await {
        answered += reader??.0;
    }
    load.stop().await?;
    assert!(answered > 300, "{answered} reads were answered");
    Ok(())
}

/// Checks what the router says of the first replica against a connection made before it says so.
async fn direct_claims_hold(
    cluster: &Cluster,
    router: &PgRouter,
    ledger: &Ledger,
    claims: usize,
) -> Outcome {
    let mut direct = cluster.replica(0).connect().await?;
    let connected = lagwise::now();
    let mut made = 0;
    let deadline = connected.after(cluster::PATIENCE);
    while made < claims && lagwise::now() < deadline {
        let snapshot = router.snapshot();
        let r1 = view(&snapshot, "r1");
        // An observation from before the crash speaks of connections from before the crash.
        let Some(as_of) = r1.as_of.filter(|_| r1.observed_at > Some(connected)) else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let seen = read_lanes(&mut direct).await?;
        expect_as_of(ledger, as_of, &seen, "r1 after its crash")?;
        made += 1;
    }
    if made < claims {
        return fail(format!(
            "only {made} claims were made of r1 after its crash"
        ));
    }
    Ok(())
}

/// A router that asks so seldom that a crash fits between two questions.
async fn drowsy_router(cluster: &Cluster) -> Outcome<PgRouter> {
    let router = cluster::bare()
        .primary(cluster::config(cluster.primary()))
        .replica(cluster::config(cluster.replica(0)))
        .poll_interval(Duration::from_millis(1500))
        .max_lag(Duration::from_secs(30))
        .policy(|policy| {
            policy.return_after = 1;
            policy.unseen_for = Duration::from_secs(30);
            policy.idle_poll_interval = Duration::from_millis(1500);
        });
    settle(router, 1).await
}

/// Has a replica crash, and come back without what was committed in the last minute.
async fn crash_and_go_back(cluster: &Cluster) -> Outcome {
    let r1 = cluster.replica(0);
    r1.kill().await?;
    // A commit younger than this is replayed no more; the crash alone would lose it only for a while.
    r1.set_apply_delay(Duration::from_secs(60)).await?;
    r1.start().await?;
    let sum = r1
        .query_scalar::<i64>("select sum(n)::int8 from lanes")
        .await?;
    assert_eq!(sum, 0, "the replica has gone back before all commits");
    Ok(())
}

/// Starts a cluster whose replica, should it crash, recovers from here.
async fn start_with_a_restart_point() -> Outcome<Cluster> {
    let cluster = start(1, LANES).await?;
    cluster.primary().execute("checkpoint").await?;
    cluster.wait_caught_up().await?;
    cluster.replica(0).execute("checkpoint").await?;
    Ok(cluster)
}

/// Commits, and waits until the router says that the replica has it.
async fn commit_and_wait(cluster: &Cluster, router: &PgRouter) -> Outcome<Instant> {
    cluster
        .primary()
        .execute("update lanes set n = 1 where lane = 0")
        .await?;
    let committed = lagwise::now();
    cluster.wait_caught_up().await?;
    snapshot_where(router, "r1 is proved to have the commit", |snapshot| {
        view(snapshot, "r1").as_of > Some(committed)
    })
    .await?;
    Ok(committed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_made_after_a_crash_is_not_trusted_by_what_was_seen_before_it() -> Outcome {
    let cluster = start_with_a_restart_point().await?;
    let router = drowsy_router(&cluster).await?;
    let committed = commit_and_wait(&cluster, &router).await?;
    crash_and_go_back(&cluster).await?;
    let believed = view(&router.snapshot(), "r1").as_of;
    assert!(
        believed > Some(committed),
        "the monitor was to be asleep meanwhile, or this tests nothing"
    );
    for _ in 0..20 {
        let bound = lagwise::now().since(committed);
        let mut node = router.read_with(lagwise::Within(bound)).await?;
        let n = number(&mut node, "select n from lanes where lane = 0").await?;
        assert_eq!(n, 1, "a commit is missing on {}", node.route());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_not_go_back_on_the_replica_that_it_has_read_from_before_the_crash()
-> Outcome {
    let cluster = start_with_a_restart_point().await?;
    let router = router(&cluster).max_lag(Duration::from_secs(30));
    let router = settle(router, 1).await?;
    commit_and_wait(&cluster, &router).await?;
    let query = "select n from lanes where lane = 0";
    let db = router.session();
    let mut node = db.read().await?;
    assert_eq!(&*node.route().node, "r1", "{}", node.route());
    assert_eq!(number(&mut node, query).await?, 1, "the session sees it");
    drop(node);
    crash_and_go_back(&cluster).await?;
    let restarted = lagwise::now();
    let again = |snapshot: &lagwise::Snapshot| view(snapshot, "r1").observed_at > Some(restarted);
    snapshot_where(&router, "r1 is seen again", again).await?;
    // Others read meanwhile, so that there are connections to the restarted server.
    for _ in 0..10 {
        let other =
            router.run_read(|node| Box::pin(number(node, "select n from lanes where lane = 1")));
        assert_eq!(other.await?, 0, "nobody writes there");
    }
    each_poll(&router, "r1", 10, |snapshot| {
        let r1 = view(snapshot, "r1");
        assert_eq!(r1.as_of, None, "nothing is proved of this run yet: {r1:?}");
    })
    .await?;
    for _ in 0..20 {
        let n = db.run_read(|node| Box::pin(number(node, query))).await?;
        assert_eq!(n, 1, "the session has seen the commit");
    }
    Ok(())
}
