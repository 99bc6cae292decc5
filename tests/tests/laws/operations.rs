//! What an operator does while traffic runs: nodes come and go, limits change, nodes are drained, and
//! the router ends. No request fails for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lagwise::{Cause, Event, NodeConfig, PgRouter, PgSession};
use lagwise_testkit::{Cluster, Node, Stop};
use lagwise_tests::cluster::{
    MAX_LAG, PATIENCE, POLL, bare, config, number, router, settle, start, with_router,
};
use lagwise_tests::observe::{
    Diary, describe, each_poll, ejected, primary_is, readmitted, snapshot_where, until, view,
};
use lagwise_tests::workload::{LANES, Load, Style};
use lagwise_tests::{Outcome, fail};
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, Postgres};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clients that read and write in sessions, one request after the other, until they are stopped or
/// refused.
struct Traffic {
    seen: Arc<Mutex<Seen>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

/// What they saw.
#[derive(Debug, Default)]
struct Seen {
    reads: BTreeMap<String, u64>,
    writes: u64,
    /// How many were refused because the router was closed.
    refused: usize,
    failures: Vec<String>,
}

impl Traffic {
    async fn start(router: &PgRouter) -> Outcome<Self> {
        let (stop, stopped) = watch::channel(false);
        let seen = Arc::<Mutex<Seen>>::default();
        let mut clients = JoinSet::new();
        for lane in 0..CLIENTS {
            let (session, seen, stopped) = (router.session(), Arc::clone(&seen), stopped.clone());
            clients.spawn(client(session, lane, seen, stopped));
        }
        let traffic = Self {
            seen,
            stop,
            clients,
        };
        traffic.goes_on().await?;
        Ok(traffic)
    }

    fn reads_on(&self, node: &str) -> u64 {
        lock(&self.seen).reads.get(node).copied().unwrap_or(0)
    }

    /// Waits for more reads and writes.
    async fn goes_on(&self) -> Outcome {
        let count = || {
            let seen = lock(&self.seen);
            (seen.reads.values().sum::<u64>(), seen.writes)
        };
        let before = count();
        let more = async || {
            let now = count();
            Ok(now.0 > before.0 + 50 && now.1 > before.1 + 10)
        };
        until("the traffic goes on", PATIENCE, more).await
    }

    /// Waits for more reads on a node.
    async fn reaches(&self, node: &str) -> Outcome {
        let before = self.reads_on(node);
        let more = async || Ok(self.reads_on(node) > before + 20);
        until("the node serves", PATIENCE, more).await
    }

    /// Waits for the clients' ends. Nothing may have failed.
    async fn end(self) -> Outcome<Seen> {
        self.stop.send_replace(true);
        drop(self.clients.join_all().await);
        let seen = std::mem::take(&mut *lock(&self.seen));
        match seen.failures.first() {
            Some(failure) => fail(format!("{} failed: {failure}", seen.failures.len())),
            None => Ok(seen),
        }
    }
}

async fn client(
    session: PgSession,
    lane: i64,
    seen: Arc<Mutex<Seen>>,
    stopped: watch::Receiver<bool>,
) {
    let mut turn = 0;
    while !*stopped.borrow() {
        turn += 1;
        let Err(error) = request(&session, lane, turn, &seen).await else {
            continue;
        };
        let ours = error.downcast_ref::<lagwise::Error>();
        let behind = error.downcast_ref().and_then(lagwise::Error::behind);
        let mut seen = lock(&seen);
        if ours.or(behind).is_some_and(lagwise::Error::is_closed) {
            seen.refused += 1;
            return;
        }
        seen.failures.push(format!("{error:?}"));
    }
}

/// One request: mostly reads, of every kind.
async fn request(
    session: &PgSession,
    lane: i64,
    turn: u64,
    seen: &Mutex<Seen>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let count = "select count(*) from lanes";
    let update = format!("update lanes set n = n + 1 where lane = {lane}");
    match turn % 6 {
        0 => {
            let update = sqlx::query(AssertSqlSafe(update));
            update.execute(session).await?;
            lock(seen).writes += 1;
        }
        1 => {
            let mut transaction = session.begin().await?;
            let update = sqlx::query(AssertSqlSafe(update));
            update.execute(&mut *transaction).await?;
            transaction.commit().await?;
            lock(seen).writes += 1;
        }
        2 => {
            let _: i64 = sqlx::query_scalar(count).fetch_one(session).await?;
        }
        3 => {
            let mut transaction = session.begin_read_only().await?;
            number(&mut transaction, count).await?;
            transaction.commit().await?;
        }
        _ => {
            let mut node = session.read().await?;
            number(&mut node, count).await?;
            let name = node.route().node.to_string();
            *lock(seen).reads.entry(name).or_default() += 1;
        }
    }
    Ok(())
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

const CLIENTS: i64 = 4;

/// Waits until a server has no connection but the test kit's, and those that the kit itself uses.
async fn no_connections(node: &Node) -> Outcome {
    let clients = "select count(*) from pg_stat_activity \
        where backend_type = 'client backend' and application_name <> 'lagwise-testkit'";
    let gone = async || Ok(node.query_scalar::<i64>(clients).await? == 0);
    until("no connection of the router is left", PATIENCE, gone).await
}

async fn nothing_left(cluster: &Cluster) -> Outcome {
    for node in cluster.nodes() {
        no_connections(node).await?;
    }
    Ok(())
}

fn pooled(node: &Node) -> NodeConfig<Postgres> {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(16);
    config(node).pool_options(pool.acquire_timeout(Duration::from_secs(1)))
}

async fn of_primary_and_first(cluster: &Cluster) -> Outcome<PgRouter> {
    let router = bare()
        .primary(pooled(cluster.primary()))
        .replica(pooled(cluster.replica(0)));
    settle(router, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_added_replica_serves_once_it_is_proved() -> Outcome {
    let cluster = start(2, LANES).await?;
    let router = of_primary_and_first(&cluster).await?;
    let diary = Diary::begin(&router);
    let traffic = Traffic::start(&router).await?;
    cluster.replica(1).pause_replay().await?;
    router.add_replica(pooled(cluster.replica(1))).await?;
    let added = router.snapshot();
    let cause = view(&added, "r2").membership.cause();
    assert!(cause.is_some(), "it is known at once, and out: {cause:?}");
    ejected(&router, "r2", Cause::Paused).await?;
    traffic.goes_on().await?;
    assert_eq!(traffic.reads_on("r2"), 0, "it has proved nothing");
    cluster.replica(1).resume_replay().await?;
    readmitted(&router, "r2").await?;
    traffic.reaches("r2").await?;
    traffic.end().await?;
    let first = diary.entries().into_iter().next().ok_or("no event")?;
    assert!(matches!(first.event, Event::NodeAdded { .. }), "{diary}");
    assert_eq!(first.node.as_deref(), Some("r2"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_added_or_removed_changes_nothing_and_is_said() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    let before = router.snapshot().nodes.len();
    let url = cluster.replica(0).url();
    let refusals = [
        (
            router.add_replica(config(cluster.replica(0))).await,
            "\"r1\": give each a name of its own",
        ),
        (
            router.add_replica(NodeConfig::url(url).name("again")).await,
            "again has the same URL as r1",
        ),
        (
            router.add_replica("this is no URL").await,
            "replica-1 is not one",
        ),
        (router.remove_node("nobody").await, "there are p, r1"),
        (router.remove_node("p").await, "promote another node"),
        (router.set_weight("nobody", 1).await, "no node is named"),
    ];
    for (refused, part) in refusals {
        let error = refused.err().ok_or(part)?;
        assert!(error.is_config(), "{error}");
        assert!(error.to_string().contains(part), "{part:?}: {error}");
        assert!(!error.to_string().contains("postgres://"), "{error}");
    }
    assert_eq!(router.snapshot().nodes.len(), before);
    drop(router.write().await?);
    assert_eq!(&*router.read().await?.route().node, "r1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_replica_costs_no_read_and_keeps_no_connection() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let diary = Diary::begin(&router);
    let traffic = Traffic::start(&router).await?;
    traffic.reaches("r1").await?;
    router.set_weight("r2", 0).await?;
    let mut held = router.read().await?;
    assert_eq!(&*held.route().node, "r1", "nobody else has a weight");
    router.set_weight("r2", 100).await?;
    let old = view(&router.snapshot(), "r1").sight();
    router.remove_node("r1").await?;
    let gone = router.snapshot();
    assert!(gone.present().all(|node| &*node.spec.name != "r1"));
    traffic.goes_on().await?;
    let before = traffic.reads_on("r1");
    traffic.reaches("r2").await?;
    assert_eq!(traffic.reads_on("r1"), before, "it gets no new reads");
    number(&mut held, "select 1::int8").await?;
    // Its place is not free while somebody holds a connection of it.
    router.add_replica(pooled(cluster.replica(0))).await?;
    readmitted(&router, "r1").await?;
    let new = snapshot_where(&router, "r1 is there again", |snapshot| {
        let again = snapshot.present().find(|node| &*node.spec.name == "r1");
        again.is_some_and(|again| again.id != old.node && again.membership.is_in_rotation())
    });
    new.await?;
    number(&mut held, "select 1::int8").await?;
    router.remove_node("r1").await?;
    drop(held);
    no_connections(cluster.replica(0)).await?;
    traffic.goes_on().await?;
    let seen = traffic.end().await?;
    let on_primary = seen.reads.get("p").copied().unwrap_or_default();
    let on_replicas = seen.reads.values().sum::<u64>() - on_primary;
    assert!(on_primary * 10 < on_replicas, "{:?}", seen.reads);
    let told = |event: &Event| matches!(event, Event::NodeRemoved { .. });
    diary.wait_for("r1", told).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_was_handed_over_outlives_its_node() -> Outcome {
    let cluster = start(1, LANES).await?;
    let router = settle(bare().primary(pooled(cluster.primary())), 0).await?;
    let pool = sqlx::PgPool::connect(&cluster.replica(0).url()).await?;
    router.add_replica(pool.clone()).await?;
    readmitted(&router, "replica-1").await?;
    let held = router.read().await?;
    assert_eq!(&*held.route().node, "replica-1");
    let place = view(&router.snapshot(), "replica-1").id;
    router.remove_node("replica-1").await?;
    // Long enough to see that nothing is under way, if that were so.
    each_poll(&router, "p", 5, |_| {}).await?;
    router.add_replica(pooled(cluster.replica(0))).await?;
    assert_ne!(view(&router.snapshot(), "r1").id, place, "it is in use");
    drop(held);
    let freed = async || {
        router.remove_node("r1").await?;
        router.add_replica(pooled(cluster.replica(0))).await?;
        Ok(view(&router.snapshot(), "r1").id == place)
    };
    until("the place is free", PATIENCE, freed).await?;
    assert!(!pool.is_closed());
    let one: i64 = sqlx::query_scalar("select 1::int8")
        .fetch_one(&pool)
        .await?;
    assert_eq!(one, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_free_again_is_another_run_of_another_node() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let old = view(&router.snapshot(), "r1").sight();
    let session = router.session();
    router.set_weight("r2", 0).await?;
    drop(session.read().await?);
    router.remove_node("r1").await?;
    no_connections(cluster.replica(0)).await?;
    // The place is free a moment after the last connection is.
    let reused = async || {
        router
            .add_replica(config(cluster.replica(0)).name("new"))
            .await?;
        let id = view(&router.snapshot(), "new").id;
        let reused = id == old.node;
        if !reused {
            router.remove_node("new").await?;
        }
        Ok(reused)
    };
    until("the place is given away", PATIENCE, reused).await?;
    let snapshot = router.snapshot();
    let new = view(&snapshot, "new");
    assert!(new.incarnation > old.incarnation, "{new:?}");
    readmitted(&router, "new").await?;
    drop(session.read().await?);
    Ok(())
}

/// As if a server were stopped right after it was removed.
async fn remove_and_fail(router: &PgRouter, node: &mut PgConnection) -> Result<i64, sqlx::Error> {
    router.remove_node("r1").await?;
    let stop = "select pg_terminate_backend(pg_backend_pid())::int4::int8";
    number(node, stop).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_fails_on_a_removed_replica_goes_on_elsewhere() -> Outcome {
    let (_cluster, router) = with_router(2, LANES).await?;
    router.set_weight("r2", 0).await?;
    let mut tries = 0;
    let answer = router
        .run_read(|node| {
            tries += 1;
            let (first, router) = (tries == 1, router.clone());
            Box::pin(async move {
                match first {
                    true => remove_and_fail(&router, node).await,
                    false => number(node, "select count(*) from lanes").await,
                }
            })
        })
        .await?;
    assert_eq!((answer, tries), (8, 2));
    assert_eq!(router.snapshot().replicas().count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_primary_can_be_removed_once_another_node_writes() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    drop(router.write().await?);
    cluster.replica(0).promote().await?;
    primary_is(&router, "r1").await?;
    router.remove_node("p").await?;
    no_connections(cluster.primary()).await?;
    let present: Vec<String> = router
        .snapshot()
        .present()
        .map(|node| node.spec.name.to_string())
        .collect();
    assert_eq!(present, ["r1", "r2"]);
    sqlx::query("update lanes set n = 7 where lane = 0")
        .execute(&router)
        .await?;
    // Also the pool that a reference leads to.
    let n: i64 = sqlx::query_scalar("select n from lanes where lane = 0")
        .fetch_one(&*router)
        .await?;
    assert_eq!(n, 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_weights_move_the_shares() -> Outcome {
    let (_cluster, router) = with_router(2, LANES).await?;
    let traffic = Traffic::start(&router).await?;
    traffic.reaches("r1").await?;
    traffic.reaches("r2").await?;
    for (idle, serving) in [("r1", "r2"), ("r2", "r1")] {
        router.set_weight(serving, 100).await?;
        router.set_weight(idle, 0).await?;
        // The traffic's sessions may need what only the idle one has by then; these reads need nothing.
        for _ in 0..100 {
            let node = router.read().await?;
            assert_eq!(&*node.route().node, serving, "{idle} has no weight");
        }
    }
    traffic.end().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_limit_holds_at_once_and_a_higher_one_lets_replicas_return() -> Outcome {
    let cluster = start(2, LANES).await?;
    let router = router(&cluster).max_lag(Duration::from_secs(60));
    let router = settle(router, 2).await?;
    let load = Load::start(cluster.primary(), Style::default()).await?;
    cluster.replica(0).freeze_replay()?;
    let late = 2 * MAX_LAG;
    let what = "r1 is late, and still in";
    snapshot_where(&router, what, |snapshot| {
        let staleness = view(snapshot, "r1").staleness(lagwise::now());
        staleness.is_some_and(|staleness| staleness > late)
    })
    .await?;
    assert_eq!(router.snapshot().in_rotation(), 2, "60 s are allowed");
    let limit =
        |limit| move |policy: &mut lagwise::Policy| *policy = policy.clone().with_max_lag(limit);
    router.change_policy(limit(MAX_LAG)).await?;
    let cause = view(&router.snapshot(), "r1").membership.cause();
    assert_eq!(cause, Some(Cause::Lagging), "it is out when this returns");
    assert_eq!(router.snapshot().policy.max_lag, MAX_LAG);
    readmitted(&router, "r2").await?;
    router.change_policy(limit(Duration::from_secs(60))).await?;
    cluster.replica(0).thaw_replay()?;
    readmitted(&router, "r1").await?;
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cannot_be_honored_changes_nothing() -> Outcome {
    let cluster = start(1, LANES).await?;
    let keys = lagwise::Keys::new([7; 32])?.max_age(Duration::from_secs(20));
    let router = settle(router(&cluster).keys(keys), 1).await?;
    let longer = Duration::from_secs(30);
    let changed = router
        .change_policy(|policy| *policy = policy.clone().with_max_lag(longer))
        .await;
    let error = changed.err().ok_or("a token is not good for as long")?;
    assert!(error.to_string().contains("the keys' max_age"), "{error}");
    let changed = router
        .change_policy(|policy| {
            policy.max_lag = Duration::from_millis(1);
            policy.leave_after = 0;
        })
        .await;
    let error = changed.err().ok_or("it was taken")?;
    assert!(error.is_config(), "{error}");
    for part in ["max_lag is 1ms", "leave_after is 0", "cannot be changed"] {
        assert!(error.to_string().contains(part), "{part:?}: {error}");
    }
    assert_eq!(router.snapshot().policy.max_lag, MAX_LAG);
    assert_eq!(router.snapshot().in_rotation(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_monitor_asks_at_a_changed_pace() -> Outcome {
    let (_cluster, router) = with_router(1, LANES).await?;
    let slow = Duration::from_millis(400);
    router
        .change_policy(|policy| {
            *policy = policy.clone().with_poll_interval(slow);
            *policy = policy.clone().with_max_lag(Duration::from_secs(8));
        })
        .await?;
    // The pace holds from the second answer on: one question was already on its way.
    each_poll(&router, "r1", 2, |_| {}).await?;
    let began = lagwise::now();
    each_poll(&router, "r1", 5, |_| {}).await?;
    let took = lagwise::now().since(began);
    assert!(took > 10 * POLL * 2, "five questions took {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_automation_undoes_a_drain() -> Outcome {
    let cluster = start(2, LANES).await?;
    let router = router(&cluster).policy(|policy| policy.min_in_rotation = 2);
    let router = settle(router, 2).await?;
    let diary = Diary::begin(&router);
    let traffic = Traffic::start(&router).await?;
    router.drain("r1")?;
    ejected(&router, "r1", Cause::Drained).await?;
    traffic.goes_on().await?;
    let before = traffic.reads_on("r1");
    let stays_out = async |after: &str| -> Outcome {
        each_poll(&router, "r1", 8, |snapshot| {
            let cause = view(snapshot, "r1").membership.cause();
            assert_eq!(
                cause,
                Some(Cause::Drained),
                "{after}: {}",
                describe(snapshot)
            );
        })
        .await
    };
    stays_out("the floor of replicas in rotation").await?;
    router
        .change_policy(|policy| policy.min_in_rotation = 1)
        .await?;
    stays_out("another policy").await?;
    router.remove_node("r1").await?;
    router.add_replica(pooled(cluster.replica(0))).await?;
    let what = "r1 is there again, and drained";
    snapshot_where(&router, what, |snapshot| {
        let again = snapshot.present().find(|node| &*node.spec.name == "r1");
        again.is_some_and(|again| again.membership.cause() == Some(Cause::Drained))
    })
    .await?;
    traffic.goes_on().await?;
    assert_eq!(traffic.reads_on("r1"), before);
    router.undrain("r1")?;
    traffic.reaches("r1").await?;
    traffic.end().await?;
    for wanted in ["drained", "undrained"] {
        diary
            .wait_for("r1", |event| event.as_str() == wanted)
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_primary_keeps_its_writes_and_a_drained_replica_takes_them() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    router.drain("p")?;
    router.drain("r1")?;
    ejected(&router, "r1", Cause::Drained).await?;
    assert_eq!(&*router.write().await?.route().node, "p");
    cluster.primary().stop(Stop::Immediate).await?;
    cluster.replica(0).promote().await?;
    primary_is(&router, "r1").await?;
    assert_eq!(&*router.write().await?.route().node, "r1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_everything_end_and_takes_nothing_new() -> Outcome {
    let (cluster, router) = with_router(2, LANES).await?;
    let mut events = router.events();
    let traffic = Traffic::start(&router).await?;
    let session = router.session();
    let mut transaction = session.begin().await?;
    sqlx::query("update lanes set n = 77 where lane = 7")
        .execute(&mut *transaction)
        .await?;
    let mut read = router.read().await?;
    let over = AtomicBool::new(false);
    let slow = async {
        let slow = sqlx::query("select pg_sleep(0.5)");
        let slow = slow.execute(&mut *read).await.map(|_| ());
        drop(read);
        over.store(true, Ordering::SeqCst);
        slow
    };
    // A read that waits for a replica to have what was written.
    let waits = router.session();
    for replica in cluster.replicas() {
        replica.freeze_replay()?;
    }
    sqlx::query("update lanes set n = 66 where lane = 6")
        .execute(&waits)
        .await?;
    let options = lagwise::ReadOptions::new().wait(PATIENCE);
    let waiting = waits.read_with(options);
    let ends = async {
        let refused = async || Ok(router.session().read().await.is_err_and(|e| e.is_closed()));
        until("new requests are refused", PATIENCE, refused).await?;
        number(&mut transaction, "select n from lanes where lane = 7").await?;
        transaction.commit().await?;
        let others = async || Ok(lock(&traffic.seen).refused == 4 && over.load(Ordering::SeqCst));
        until("only one read is left, which waits", PATIENCE, others).await?;
        each_poll(&router, "r1", 5, |_| {}).await?;
        for replica in cluster.replicas() {
            replica.thaw_replay()?;
        }
        Outcome::Ok(())
    };
    // In this order: the shutdown begins when the read has.
    let (waiting, slow, ended, ends) = tokio::join!(
        async { waiting.await.map(|read| read.route().role) },
        slow,
        router.shutdown(2 * PATIENCE),
        ends
    );
    assert_eq!(waiting?, lagwise::Role::Replica, "it was worth the wait");
    slow?;
    ends?;
    assert!(ended.is_complete(), "{ended:?}");
    assert!(router.is_closed());
    let seen = traffic.end().await?;
    assert_eq!(seen.refused, usize::try_from(CLIENTS)?, "{seen:?}");
    nothing_left(&cluster).await?;
    let told = async { while events.next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, told).await.is_err() {
        return fail("the stream of events goes on after the end");
    }
    let refused = router.add_replica(config(cluster.replica(0))).await;
    assert!(refused.is_err_and(|error| error.is_closed()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_no_longer_than_it_may_and_says_what_is_left() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    let mut held = router.write().await?;
    sqlx::query("update lanes set n = 1 where lane = 0")
        .execute(&mut *held)
        .await?;
    let reader = router.read().await?;
    let grace = Duration::from_millis(300);
    let shutdown = tokio::time::timeout(PATIENCE, router.shutdown(grace));
    let Ok(left) = shutdown.await else {
        return fail("it hangs on connections on loan");
    };
    assert_eq!((left.connections, left.requests), (2, 0));
    assert!(!left.is_complete());
    // Who holds one may go on with it.
    number(&mut held, "select n from lanes where lane = 0").await?;
    drop((held, reader));
    nothing_left(&cluster).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_hang_on_a_connection_on_loan() -> Outcome {
    let (cluster, router) = with_router(1, LANES).await?;
    let held = router.write().await?;
    if tokio::time::timeout(2 * PATIENCE, router.close())
        .await
        .is_err()
    {
        return fail("it hangs on a connection on loan");
    }
    no_connections(cluster.replica(0)).await?;
    drop(held);
    no_connections(cluster.primary()).await
}
