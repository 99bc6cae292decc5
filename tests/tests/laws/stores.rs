//! Sessions that are kept under a key read their own writes on every instance, whatever the replicas
//! and the store do meanwhile.
//!
//! Two routers stand for two instances of a service. What one of them writes under a key and
//! remembers, whoever reads under that key next must see, on either of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lagwise::{
    Budget, MemoryStore, PgRouter, PgSession, Reason, Recalled, RedisStore, Role, Route,
    RouterBuilder, SessionStore,
};
use lagwise_testkit::{Cluster, RedisServer};
use lagwise_tests::checker::{REGISTERS, look};
use lagwise_tests::cluster::{PATIENCE, router, settle, start};
use lagwise_tests::counters::Counters;
use lagwise_tests::observe::until;
use lagwise_tests::{Outcome, fail};
use sqlx::Postgres;
use tokio::task::JoinSet;

use crate::redis_store::trusted;

/// Longer than a replica that takes reads may lag, and than a busy machine may take.
const KEEP_FOR: Duration = Duration::from_secs(3);

/// How long a request may take on a busy machine, whatever has failed.
const DEADLINE: Duration = Duration::from_secs(4);

/// An instance of a service.
#[derive(Clone)]
struct Instance {
    db: PgRouter,
    store: Arc<dyn SessionStore>,
}

impl Instance {
    async fn session(&self, key: i32) -> PgSession {
        let key = format!("user:{key}");
        self.db.session_of(&*self.store, &key).await
    }

    /// Writes the register of a user, and remembers it.
    async fn write(&self, key: i32) -> Outcome<i64> {
        let session = self.session(key).await;
        let bump = "update registers set version = version + 1 where key = $1 returning version";
        let version = sqlx::query_scalar(bump).bind(key);
        let version = version.fetch_one(&session).await?;
        session.remember(&*self.store, &format!("user:{key}")).await;
        Ok(version)
    }

    /// Reads the register of a user, and remembers that.
    async fn read(&self, key: i32) -> Outcome<(i64, Route)> {
        let session = self.session(key).await;
        let mut node = session.read().await?;
        let (version, _) = look(&mut node, key).await?;
        let route = node.route().clone();
        drop(node);
        session.remember(&*self.store, &format!("user:{key}")).await;
        Ok((version, route))
    }
}

/// Replicas that stand still stay in rotation.
fn patient(cluster: &Cluster) -> RouterBuilder<Postgres> {
    router(cluster).policy(|policy| policy.max_lag = Duration::from_secs(60))
}

async fn with_memory(cluster: &Cluster, replicas: usize) -> Outcome<[Instance; 2]> {
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new(1000));
    Ok([
        Instance {
            db: settle(patient(cluster), replicas).await?,
            store: Arc::clone(&store),
        },
        Instance {
            db: settle(patient(cluster), replicas).await?,
            store,
        },
    ])
}

/// Each instance has a connection and an opinion of its own.
async fn with_redis(
    cluster: &Cluster,
    redis: &RedisServer,
    replicas: usize,
) -> Outcome<[Instance; 2]> {
    let store = || -> Outcome<RedisStore> {
        let timeout = Duration::from_millis(400);
        Ok(RedisStore::new(&redis.url())?.timeout(timeout))
    };
    let stores = [store()?, store()?];
    trusted(redis, &stores[0]).await?;
    let [one, other] = stores.map(|store| -> Arc<dyn SessionStore> { Arc::new(store) });
    Ok([
        Instance {
            db: settle(patient(cluster), replicas).await?,
            store: one,
        },
        Instance {
            db: settle(patient(cluster), replicas).await?,
            store: other,
        },
    ])
}

/// One instance writes while the replica stands still.
async fn own_writes(cluster: &Cluster, [one, other]: &[Instance; 2]) -> Outcome {
    cluster.replica(0).freeze_replay()?;
    assert_eq!(one.write(1).await?, 1);
    let mut stale = other.db.session().read().await?;
    let (seen, _) = look(&mut stale, 1).await?;
    assert_eq!(
        seen,
        0,
        "without the store, {} would be stale",
        stale.route()
    );
    drop(stale);
    // Who knows nothing of it takes nothing away.
    other.db.session().remember(&other.store, "user:1").await;
    for (instance, nobody) in [(other, 2), (one, 3)] {
        let (seen, route) = instance.read(1).await?;
        assert_eq!((seen, route.role), (1, Role::Primary), "{route}");
        let (_, route) = instance.read(nobody).await?;
        assert_eq!(route.role, Role::Replica, "nobody wrote that: {route}");
    }
    cluster.replica(0).thaw_replay()?;
    let back = async || {
        let (seen, route) = other.read(1).await?;
        assert_eq!(seen, 1, "{route}");
        Ok(route.role == Role::Replica)
    };
    until("the session is back on the replica", PATIENCE, back).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_kept_in_memory_sees_what_it_wrote_elsewhere() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let instances = with_memory(&cluster, 1).await?;
    own_writes(&cluster, &instances).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_kept_in_redis_sees_what_it_wrote_on_another_instance() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let redis = RedisServer::start().await?;
    let instances = with_redis(&cluster, &redis, 1).await?;
    own_writes(&cluster, &instances).await
}

/// One replica catches up, and the session reads there; the other one still stands.
async fn not_shortened(cluster: &Cluster, [one, other]: &[Instance; 2]) -> Outcome {
    cluster.replica(0).freeze_replay()?;
    assert_eq!(one.write(1).await?, 1);
    let caught_up = async || Ok(&*other.read(1).await?.1.node == "r2");
    until("the second replica serves the session", PATIENCE, caught_up).await?;
    for turn in 0..40 {
        let instance = if turn % 2 == 0 { one } else { other };
        let (seen, route) = instance.read(1).await?;
        assert!(
            seen == 1 && &*route.node != "r1",
            "{seen} was read: {route}"
        );
    }
    cluster.replica(1).client_wire().cut();
    for turn in 0..20 {
        let instance = if turn % 2 == 0 { one } else { other };
        let (seen, route) = instance.read(1).await?;
        assert!(
            seen == 1 && route.role == Role::Primary,
            "{seen} was read: {route}"
        );
    }
    cluster.replica(0).thaw_replay()?;
    let caught_up = async || Ok(&*other.read(1).await?.1.node == "r1");
    until("the first replica serves the session", PATIENCE, caught_up).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_keeps_is_not_dropped_because_one_replica_has_it() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let instances = with_memory(&cluster, 2).await?;
    not_shortened(&cluster, &instances).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_keeps_is_not_dropped_because_one_replica_has_it() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let redis = RedisServer::start().await?;
    let instances = with_redis(&cluster, &redis, 2).await?;
    not_shortened(&cluster, &instances).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_had_no_room_for_is_not_missed() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let store = Arc::new(MemoryStore::new(2));
    let instance = Instance {
        db: settle(patient(&cluster), 1).await?,
        store,
    };
    cluster.replica(0).freeze_replay()?;
    for key in 0..6 {
        instance.write(key).await?;
    }
    for key in 0..6 {
        let (seen, route) = instance.read(key).await?;
        assert_eq!(seen, 1, "{route}");
    }
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

/// Users who read, and sometimes write, on one instance after the other, until they are told to stop.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    turns: AtomicUsize,
    on_replicas: AtomicUsize,
}

impl Load {
    async fn live(self: Arc<Self>, instances: [Instance; 2], key: i32) -> Outcome {
        let mut random = fastrand::Rng::with_seed(0x57_0E + key.unsigned_abs() as u64);
        let mut written = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let began = lagwise::now();
            let instance = &instances[random.usize(..2)];
            if random.u8(..3) == 0 {
                written = instance.write(key).await?;
            }
            let instance = &instances[random.usize(..2)];
            let (seen, route) = instance.read(key).await?;
            if seen < written {
                return fail(format!("user {key} wrote {written}, {route} showed {seen}"));
            }
            let took = lagwise::now().since(began);
            if took > DEADLINE {
                return fail(format!("user {key} waited for {took:?}"));
            }
            let on_replica = usize::from(route.role == Role::Replica);
            self.on_replicas.fetch_add(on_replica, Ordering::SeqCst);
            self.turns.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(random.u64(..8))).await;
        }
        Ok(())
    }

    /// Waits until so many more turns were taken.
    async fn goes_on(&self, users: &mut JoinSet<Outcome>, turns: usize) -> Outcome {
        let goal = self.turns.load(Ordering::SeqCst) + turns;
        let done = async || Ok(self.turns.load(Ordering::SeqCst) >= goal);
        tokio::select! {
            done = until("the users take turns", PATIENCE * 3, done) => done,
            Some(ended) = users.join_next() => ended?.and_then(|()| fail("a user left")),
        }
    }
}

/// Something happens to Redis, the users go on, and it ends.
async fn strike(redis: &RedisServer, fault: usize) -> Outcome {
    match fault {
        0 => redis.wire().cut(),
        1 => redis.wire().blackhole(),
        2 => redis.pause()?,
        _ => redis.kill().await?,
    }
    Ok(())
}

async fn heal(redis: &RedisServer, fault: usize) -> Outcome {
    match fault {
        0 | 1 => redis.wire().heal(),
        2 => redis.resume()?,
        _ => redis.start_again().await?,
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_redis_nobody_misses_a_write_or_waits() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let redis = RedisServer::start().await?;
    let mut instances = Vec::new();
    for _ in 0..2 {
        let store = RedisStore::new(&redis.url())?.keep_for(KEEP_FOR);
        instances.push(Instance {
            db: settle(router(&cluster).wait(Duration::from_millis(100)), 2).await?,
            store: Arc::new(store.timeout(Duration::from_millis(150))),
        });
    }
    let Ok(instances) = <[Instance; 2]>::try_from(instances) else {
        return fail("two instances");
    };
    let load = Arc::new(Load::default());
    let mut users = JoinSet::new();
    for key in 0..6 {
        users.spawn(Arc::clone(&load).live(instances.clone(), key));
    }
    for fault in 0..4 {
        cluster.replica(fault % 2).freeze_replay()?;
        load.goes_on(&mut users, 60).await?;
        strike(&redis, fault).await?;
        load.goes_on(&mut users, 60).await?;
        heal(&redis, fault).await?;
        load.goes_on(&mut users, 60).await?;
        for instance in &instances {
            let trusted =
                async || Ok(instance.store.load("user:nobody").await? == Recalled::Nothing);
            until("Redis is trusted again", PATIENCE * 2, trusted).await?;
        }
        cluster.replica(fault % 2).thaw_replay()?;
        let before = load.on_replicas.load(Ordering::SeqCst);
        let served = async || Ok(load.on_replicas.load(Ordering::SeqCst) > before + 20);
        until("replicas serve the users again", PATIENCE, served).await?;
    }
    load.stop.store(true, Ordering::SeqCst);
    while let Some(user) = users.join_next().await {
        user??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_primary_serves_no_more_than_its_budget() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let redis = RedisServer::start().await?;
    let [instance, _] = with_redis(&cluster, &redis, 1).await?;
    let budget = Budget::new().concurrent(2).queue_for(PATIENCE);
    let instance = Instance {
        db: settle(patient(&cluster).budget(budget), 1).await?,
        ..instance
    };
    let counters = Counters::install();
    let failed = || counters.sum("lagwise_store_errors_total", &[("op", "load")]);
    let before = failed();
    redis.wire().blackhole();
    cluster.replica(0).freeze_replay()?;
    let bump = "update registers set version = version + 1 where key = 60";
    cluster.primary().execute(bump).await?;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut users: JoinSet<Outcome> = JoinSet::new();
    for key in 0..12 {
        let (instance, running, most) = (instance.clone(), Arc::clone(&running), Arc::clone(&most));
        users.spawn(async move {
            let session = instance.session(key).await;
            let mut node = session.read().await?;
            assert_eq!(node.route().role, Role::Primary, "{}", node.route());
            assert_eq!(node.route().reason, Reason::BehindFloor);
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let slept = sqlx::query("select pg_sleep(0.05)").execute(&mut *node);
            let slept = slept.await;
            running.fetch_sub(1, Ordering::SeqCst);
            slept?;
            Ok(())
        });
    }
    while let Some(user) = users.join_next().await {
        user??;
    }
    assert_eq!(most.load(Ordering::SeqCst), 2, "the budget is for two");
    assert!(failed() >= before + 12, "each load that failed is counted");
    cluster.replica(0).thaw_replay()?;
    Ok(())
}
