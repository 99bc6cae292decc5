//! A session reads by statement what it has written by statement, whatever the replicas do meanwhile.

use std::sync::Arc;
use std::time::Duration;

use lagwise::{PgRouter, PgSession};
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::checker::{Chronicle, REGISTERS};
use lagwise_tests::cluster::{commit_asynchronously, router, start};
use lagwise_tests::statements::{PLACES, settled};
use lagwise_tests::{Outcome, fail};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Pauses, delays, cuts off and kills replicas at random until it is told to stop, and then heals
/// them. At most one of them is gone at a time.
async fn disturb(replicas: Vec<Node>, seed: u64, stop: watch::Receiver<bool>) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    while !*stop.borrow() {
        let node = &replicas[random.usize(..replicas.len())];
        let pause = Duration::from_millis(random.u64(20..300));
        match random.u8(..20) {
            0 | 1 => {
                node.pause_replay().await?;
                tokio::time::sleep(pause).await;
                node.resume_replay().await?;
            }
            2 => {
                let delay = Duration::from_millis(random.u64(30..250));
                node.set_apply_delay(delay).await?;
            }
            3 => {
                node.client_wire().reset();
                tokio::time::sleep(pause).await;
            }
            4 => {
                node.kill().await?;
                tokio::time::sleep(pause).await;
                node.start().await?;
            }
            _ => {
                node.set_apply_delay(Duration::ZERO).await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    Ok(())
}

/// A session that writes and reads its register in statements, one by one and at once. Returns how
/// many reads have failed.
async fn live(
    chronicle: Arc<Chronicle>,
    db: PgSession,
    number: usize,
    turns: usize,
) -> Outcome<usize> {
    let mut random = fastrand::Rng::with_seed(0x57A7 + number as u64);
    let key = i32::try_from(number)?;
    let mut failed = 0;
    for _ in 0..turns {
        match random.u8(..10) {
            0..=2 => {
                chronicle.write_by_statement(number, &db, key).await?;
            }
            3 => {
                chronicle.commit(number, &db, key).await?;
            }
            4 => {
                let (written, _, _) = tokio::join!(
                    chronicle.write_by_statement(number, &db, key),
                    chronicle.read_by_statement(number, &db, key),
                    chronicle.read_by_statement(number, &db, key),
                );
                written?;
            }
            _ => {}
        }
        for _ in 0..random.u8(1..4) {
            // One that meets two dead connections in a row fails, and has shown nothing.
            failed += usize::from(chronicle.read_by_statement(number, &db, key).await.is_err());
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..30))).await;
    }
    Ok(failed)
}

/// Several instances of a service, each with several sessions, over disturbed replicas.
async fn sessions_over(cluster: &Cluster, seed: u64) -> Outcome {
    let mut routers: Vec<PgRouter> = Vec::new();
    for _ in 0..3 {
        let router = router(cluster).wait(Duration::from_millis(60));
        routers.push(settled(router, 2).await?);
    }
    let (stop, stopped) = watch::channel(false);
    let mut disturber = JoinSet::new();
    disturber.spawn(disturb(cluster.replicas().to_vec(), seed, stopped));
    let chronicle = Arc::new(Chronicle::default());
    let mut sessions = JoinSet::new();
    for number in 0..18 {
        let db = routers[number % 3].session();
        sessions.spawn(live(Arc::clone(&chronicle), db, number, 40));
    }
    let mut failed = 0;
    while let Some(session) = sessions.join_next().await {
        match session? {
            Ok(reads) => failed += reads,
            Err(error) => return fail(format!("a session was disturbed: {error}")),
        }
    }
    assert!(failed <= 60, "{failed} of about 1,500 reads have failed");
    stop.send(true)?;
    while let Some(disturbed) = disturber.join_next().await {
        disturbed??;
    }
    chronicle.verdict().expect(1000, 50)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_reads_by_statement_what_it_has_just_written_by_statement() -> Outcome {
    let cluster = start(2, &format!("{PLACES}{REGISTERS}")).await?;
    sessions_over(&cluster, 23).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_reads_by_statement_what_was_committed_asynchronously() -> Outcome {
    let cluster = start(2, &format!("{PLACES}{REGISTERS}")).await?;
    commit_asynchronously(cluster.primary()).await?;
    sessions_over(&cluster, 29).await
}
