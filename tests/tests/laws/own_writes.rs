//! A session reads its own writes, whatever the replicas do meanwhile.

use std::sync::Arc;
use std::time::Duration;

use lagwise::{PgRouter, PgSession, Role};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::checker::{Chronicle, REGISTERS, look};
use lagwise_tests::cluster::{PATIENCE, commit_asynchronously, router, settle, start};
use lagwise_tests::observe::{snapshot_where, until, view};
use lagwise_tests::{Outcome, cluster};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pauses, delays and lets go replicas at random until it is told to stop, and then heals them.
async fn disturb(replicas: Vec<Node>, seed: u64, stop: watch::Receiver<bool>) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    while !*stop.borrow() {
        let node = &replicas[random.usize(..replicas.len())];
        match random.u8(..4) {
            0 | 1 => {
                node.pause_replay().await?;
                let pause = Duration::from_millis(random.u64(20..300));
                tokio::time::sleep(pause).await;
                node.resume_replay().await?;
            }
            2 => {
                let delay = Duration::from_millis(random.u64(30..250));
                node.set_apply_delay(delay).await?;
            }
            _ => node.set_apply_delay(Duration::ZERO).await?,
        }
    }
    Ok(())
}

/// A session that writes and reads its register at once, in every way there is.
async fn live(chronicle: Arc<Chronicle>, db: PgSession, number: usize, turns: usize) -> Outcome {
    let mut random = fastrand::Rng::with_seed(0x5E55 + number as u64);
    let key = i32::try_from(number)?;
    for _ in 0..turns {
        match random.u8(..10) {
            0..=2 => {
                chronicle.write(number, &db, key).await?;
            }
            3 | 4 => {
                chronicle.commit(number, &db, key).await?;
            }
            5 => {
                let (written, read, other) = tokio::join!(
                    chronicle.write(number, &db, key),
                    chronicle.read(number, &db, key),
                    chronicle.read(number, &db, key),
                );
                written?;
                read?;
                other?;
            }
            _ => {}
        }
        for _ in 0..random.u8(1..4) {
            chronicle.read(number, &db, key).await?;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
    }
    Ok(())
}

/// Several instances of a service, each with several sessions, over disturbed replicas.
async fn sessions_over(cluster: &Cluster, seed: u64) -> Outcome {
    let mut routers: Vec<PgRouter> = Vec::new();
    for _ in 0..3 {
        routers.push(settle(router(cluster).wait(Duration::from_millis(60)), 2).await?);
    }
    let (stop, stopped) = watch::channel(false);
    let mut disturber = JoinSet::new();
    disturber.spawn(disturb(cluster.replicas().to_vec(), seed, stopped));
    let chronicle = Arc::new(Chronicle::default());
    let sessions: Vec<_> = (0..18)
        .map(|number| routers[number % 3].session())
        .collect();
    // Where replicas are late and the machine is busy, most reads are the primary's.
    for _ in 0..4 {
        let mut lives = JoinSet::new();
        for (number, db) in sessions.iter().enumerate() {
            lives.spawn(live(Arc::clone(&chronicle), db.clone(), number, 40));
        }
        while let Some(lived) = lives.join_next().await {
            lived??;
        }
        if chronicle.verdict().expect(1200, 100).is_ok() {
            break;
        }
    }
    stop.send(true)?;
    while let Some(disturbed) = disturber.join_next().await {
        disturbed??;
    }
    chronicle.verdict().expect(1200, 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_sees_what_it_has_just_written() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    sessions_over(&cluster, 7).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_sees_what_it_has_just_committed_asynchronously() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    commit_asynchronously(cluster.primary()).await?;
    sessions_over(&cluster, 11).await
}

/// A write that takes a while and commits after that.
async fn slow_write(db: &PgSession, key: i32, seconds: f64) -> Outcome {
    let mut connection = db.write().await?;
    sqlx::query(
        "with written as (update registers set version = version + 1 where key = $1 returning key)
         select pg_sleep($2) from written",
    )
    .bind(key)
    .bind(seconds)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// What the primary shows by now is what the session's next read must show: nobody else writes this
/// register. Looks until the session is back on a replica, and at least for a while.
async fn never_misses(cluster: &Cluster, db: &PgSession, key: i32, a_while: Duration) -> Outcome {
    let mut primary = cluster.primary().connect().await?;
    let began = lagwise::now();
    loop {
        let (committed, _) = look(&mut primary, key).await?;
        let mut node = db.read().await?;
        let (seen, _) = look(&mut node, key).await?;
        let route = node.route();
        assert!(
            seen >= committed,
            "version {committed} was committed when {route} showed {seen}"
        );
        let took = lagwise::now().since(began);
        if route.role == Role::Replica && took > a_while {
            return Ok(());
        }
        assert!(took < PATIENCE, "the session never returned to a replica");
    }
}

/// Gives up one write after the other, each at another moment of its life.
async fn give_up_writes(cluster: &Cluster, db: &PgSession, key: i32) -> Outcome {
    let seconds = 0.02 + 0.02 * f64::from(key);
    for turn in 1..=6_u64 {
        let given_up = Duration::from_millis(5 + 7 * turn);
        let write = tokio::time::timeout(given_up, slow_write(db, key, seconds));
        // Done in time, given up halfway, or before it was sent.
        if let Ok(done) = write.await {
            done?;
        }
        let a_while = Duration::from_secs_f64(seconds) * 2;
        never_misses(cluster, db, key, a_while).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_was_given_up_is_not_missed_once_it_is_committed() -> Outcome {
    let (cluster, router) = cluster::with_router(2, REGISTERS).await?;
    let mut tasks: JoinSet<Outcome> = JoinSet::new();
    let cluster = Arc::new(cluster);
    for number in 0..6 {
        let (cluster, db) = (Arc::clone(&cluster), router.session());
        tasks.spawn(async move { give_up_writes(&cluster, &db, number).await });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_was_given_up_keeps_its_session_on_the_primary_while_it_may_commit()
-> Outcome {
    let (cluster, router) = cluster::with_router(1, REGISTERS).await?;
    let db = router.session();
    let mut connection = db.write().await?;
    let bumped = tokio::time::timeout(
        Duration::from_millis(30),
        sqlx::query(
            "with written as (update registers set version = version + 1 where key = 0 \
             returning key) select pg_sleep(0.4) from written",
        )
        .execute(&mut *connection),
    );
    assert!(bumped.await.is_err(), "the statement is still under way");
    // The handle is alive, and its statement may commit at any time.
    for _ in 0..5 {
        let node = db.read().await?;
        assert_eq!(node.route().role, Role::Primary, "{}", node.route());
    }
    drop(connection);
    never_misses(&cluster, &db, 0, Duration::from_millis(600)).await?;
    let mut node = db.read().await?;
    assert_eq!(look(&mut node, 0).await?.0, 1, "it was committed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_connection_was_lost_is_not_missed_when_it_commits_later() -> Outcome {
    let cluster = start(1, REGISTERS).await?;
    let patient = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let router = settle(router(&cluster).policy(patient), 1).await?;
    let db = router.session();
    let write = tokio::time::timeout(Duration::from_millis(150), slow_write(&db, 0, 0.8));
    assert!(write.await.is_err(), "the statement is still under way");
    cluster.primary().client_wire().reset();
    let lost = lagwise::now();
    let version = "select version from registers where key = 0";
    let committed = async || Ok(cluster.primary().query_scalar::<i64>(version).await? == 1);
    assert!(!committed().await?, "it commits only later");
    // Another commit has the log flushed, with what there is of the write so far.
    cluster
        .primary()
        .execute("update registers set version = 1 where key = 1")
        .await?;
    // The replica is proved to show the instant at which the write was given up, and goes no further.
    snapshot_where(&router, "r1 is proved to have that instant", |snapshot| {
        view(snapshot, "r1").as_of > Some(lost.after(Duration::from_millis(50)))
    })
    .await?;
    cluster.replica(0).freeze_replay()?;
    until("the write takes effect", PATIENCE, committed).await?;
    for _ in 0..5 {
        let mut node = db.read().await?;
        let (seen, _) = look(&mut node, 0).await?;
        let route = node.route();
        assert_eq!(seen, 1, "the session's write is missing on {route}");
    }
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_moves_a_session_to_the_primary_and_replay_moves_it_back() -> Outcome {
    let (cluster, router) = cluster::with_router(1, REGISTERS).await?;
    let db = router.session();
    let chronicle = Chronicle::default();
    cluster.replica(0).freeze_replay()?;
    chronicle.write(0, &db, 0).await?;
    let node = db.read().await?;
    assert_eq!(
        (node.route().role, node.route().reason),
        (Role::Primary, lagwise::Reason::BehindFloor),
        "the replica stands still"
    );
    drop(node);
    cluster.replica(0).thaw_replay()?;
    never_misses(&cluster, &db, 0, Duration::ZERO).await
}
