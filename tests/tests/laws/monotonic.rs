//! A session's reads on replicas never go back.

use std::sync::Arc;
use std::time::Duration;

use lagwise::PgSession;
use lagwise_testkit::Node;
use lagwise_tests::checker::{Chronicle, REGISTERS};
use lagwise_tests::cluster::{PATIENCE, router, settle, start};
use lagwise_tests::{Outcome, cluster};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Adds to one register, as fast as a person could not.
async fn count(db: PgSession, chronicle: Arc<Chronicle>, stop: watch::Receiver<bool>) -> Outcome {
    while !*stop.borrow() {
        chronicle.write(100, &db, 0).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Turns the delays of two replicas against each other, until it is told to stop.
async fn seesaw(replicas: Vec<Node>, stop: watch::Receiver<bool>) -> Outcome {
    let mut random = fastrand::Rng::with_seed(3);
    while !*stop.borrow() {
        for node in &replicas {
            let delay = [0, 60, 180][random.usize(..3)];
            node.set_apply_delay(Duration::from_millis(delay)).await?;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    Ok(())
}

/// Reads in a session, one after the other or two at once.
async fn watch_counter(
    db: PgSession,
    chronicle: Arc<Chronicle>,
    number: usize,
    overlapping: bool,
) -> Outcome {
    for _ in 0..200 {
        if overlapping {
            let (one, other) = tokio::join!(
                chronicle.read(number, &db, 0),
                chronicle.read(number, &db, 0)
            );
            one?;
            other?;
        } else {
            chronicle.read(number, &db, 0).await?;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..12))).await;
    }
    Ok(())
}

async fn reads_never_go_back(overlapping: bool) -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let policy = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(5);
    let router = router(&cluster)
        .wait(Duration::from_millis(10))
        .policy(policy);
    let router = settle(router, 2).await?;
    let chronicle = Arc::new(Chronicle::default());
    let (stop, stopped) = watch::channel(false);
    let mut background = JoinSet::new();
    background.spawn(count(
        router.session(),
        Arc::clone(&chronicle),
        stopped.clone(),
    ));
    background.spawn(seesaw(cluster.replicas().to_vec(), stopped));
    let mut readers = JoinSet::new();
    for number in 0..8 {
        let (db, chronicle) = (router.session(), Arc::clone(&chronicle));
        readers.spawn(watch_counter(db, chronicle, number, overlapping));
    }
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    stop.send(true)?;
    while let Some(ended) = background.join_next().await {
        ended??;
    }
    chronicle.verdict().expect(1500, 500)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_on_replicas_never_goes_back() -> Outcome {
    reads_never_go_back(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_reads_of_a_session_never_go_back_either() -> Outcome {
    reads_never_go_back(true).await
}

/// The number of a session that no reader has.
const WRITER: usize = usize::MAX;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_saw_a_fresh_replica_is_not_sent_to_a_stale_one() -> Outcome {
    let cluster = start(2, REGISTERS).await?;
    let policy = |policy: &mut lagwise::Policy| policy.max_lag = Duration::from_secs(60);
    let router = settle(router(&cluster).policy(policy), 2).await?;
    let (chronicle, writer) = (Chronicle::default(), router.session());
    cluster.replica(1).freeze_replay()?;
    chronicle.write(WRITER, &writer, 0).await?;
    cluster
        .replica(0)
        .wait_replayed(&cluster.primary().lsn().await?)
        .await?;
    // Which of two replicas is the cheaper one is chance, and lasts for seconds.
    let (mut on_r1, mut number) = (0, 0);
    let patience = lagwise::now().after(2 * PATIENCE);
    while number < 60 || on_r1 <= 5 {
        assert!(lagwise::now() < patience, "{on_r1} reads on the fresh one");
        number += 1;
        let db = router.session();
        chronicle.read(number, &db, 0).await?;
        for _ in 0..4 {
            let node = db.read().await?;
            on_r1 += u32::from(&*node.route().node == "r1");
            drop(node);
            chronicle.read(number, &db, 0).await?;
        }
    }
    cluster.replica(1).thaw_replay()?;
    chronicle.verdict().expect(250, 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_read_is_open_the_others_go_to_the_same_replica_or_the_primary() -> Outcome {
    let (_cluster, router) = cluster::with_router(2, REGISTERS).await?;
    for _ in 0..40 {
        let db = router.session();
        let open = db.read().await?;
        for _ in 0..4 {
            let other = db.read().await?;
            let (here, there) = (open.route(), other.route());
            let primary = there.role == lagwise::Role::Primary;
            assert!(
                here.node == there.node || primary,
                "open on {here}, and another on {there}"
            );
        }
    }
    Ok(())
}
