//! Transactions: one snapshot for those that read, an exact end for those that write.

use std::time::Duration;

use lagwise::Role;
use lagwise_tests::checker::{REGISTERS, bump, look};
use lagwise_tests::cluster::{PATIENCE, number, with_router};
use lagwise_tests::observe::until;
use lagwise_tests::workload::LANES;
use lagwise_tests::{Outcome, fail};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_only_reads_sees_one_state_of_one_replica_and_cannot_write() -> Outcome {
    let (cluster, router) = with_router(1, REGISTERS).await?;
    let session = router.session();
    let mut reading = session.begin_read_only().await?;
    assert_eq!(reading.route().role, Role::Replica, "{}", reading.route());
    let level: String = sqlx::query_scalar("show transaction_isolation")
        .fetch_one(&mut *reading)
        .await?;
    assert_eq!(level, "repeatable read");
    assert_eq!(look(&mut reading, 0).await?.0, 0);
    let update = "update registers set version = version + 1 where key = 0";
    cluster.primary().execute(update).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(look(&mut reading, 0).await?.0, 0, "the state is the same");
    reading.commit().await?;

    let mut reading = session.begin_read_only().await?;
    assert_eq!(look(&mut reading, 0).await?.0, 1, "a later one sees it");
    let written = bump(&mut reading, 0, 1).await.unwrap_err();
    let code = written
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    assert_eq!(code.as_deref(), Some("25006"), "{written}");
    reading.rollback().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_only_reads_cannot_write_on_the_primary_either() -> Outcome {
    let (_cluster, router) = with_router(0, REGISTERS).await?;
    let mut reading = router.begin_read_only().await?;
    assert_eq!(reading.route().role, Role::Primary, "{}", reading.route());
    assert!(bump(&mut reading, 0, 1).await.is_err(), "it only reads");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_may_begin_with_a_statement_of_its_own() -> Outcome {
    let (_cluster, router) = with_router(1, REGISTERS).await?;
    let session = router.session();
    let begin = "begin isolation level serializable";
    let mut transaction = session.begin_with(begin).await?;
    let level: String = sqlx::query_scalar("show transaction_isolation")
        .fetch_one(&mut *transaction)
        .await?;
    assert_eq!(level, "serializable");
    assert_eq!(transaction.route().role, Role::Primary);
    assert_eq!(bump(&mut transaction, 0, 1).await?, 1);
    transaction.commit().await?;
    let mut node = session.read().await?;
    assert_eq!(look(&mut node, 0).await?.0, 1, "the session's own commit");
    let none = session.begin_with("select 1").await;
    assert!(none.is_err(), "that begins no transaction");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_raises_the_floor_and_a_rollback_loses_nothing() -> Outcome {
    let (cluster, router) = with_router(1, REGISTERS).await?;
    let session = router.session();
    let mut transaction = session.begin().await?;
    bump(&mut transaction, 0, 1).await?;
    transaction.rollback().await?;
    let node = session.read().await?;
    assert_eq!(node.route().role, Role::Replica, "nothing was written");
    drop(node);

    let mut transaction = session.begin().await?;
    bump(&mut transaction, 0, 2).await?;
    // Dropping it is a rollback, too.
    drop(transaction);
    let mut node = session.read().await?;
    assert_eq!(look(&mut node, 0).await?.0, 0, "nothing was written");
    drop(node);

    cluster.replica(0).freeze_replay()?;
    let mut transaction = session.begin().await?;
    assert_eq!(bump(&mut transaction, 0, 3).await?, 1);
    transaction.commit().await?;
    let mut transaction = session.begin().await?;
    bump(&mut transaction, 0, 4).await?;
    transaction.rollback().await?;
    let mut node = session.read().await?;
    let route = node.route().clone();
    assert_eq!(route.role, Role::Primary, "the replica lacks the commit");
    assert_eq!(look(&mut node, 0).await?.0, 1, "the rollback took nothing");
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

/// Makes a commit take as long as this says.
const SLOW_COMMIT: &str = "
    create function nap() returns trigger language plpgsql
        as $$ begin perform pg_sleep(0.5); return null; end $$;
    create constraint trigger slow after update on registers
        deferrable initially deferred for each row execute function nap();
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_given_up_keeps_its_session_on_the_primary() -> Outcome {
    let (cluster, router) = with_router(1, REGISTERS).await?;
    cluster.primary().execute(SLOW_COMMIT).await?;
    cluster.wait_caught_up().await?;
    let session = router.session();
    let mut transaction = session.begin().await?;
    bump(&mut transaction, 0, 1).await?;
    let commit = tokio::time::timeout(Duration::from_millis(100), transaction.commit());
    if commit.await.is_ok() {
        return fail("the commit was to take longer");
    }
    for _ in 0..5 {
        let node = session.read().await?;
        assert_eq!(node.route().role, Role::Primary, "{}", node.route());
    }
    let committed = async || {
        let version = "select version from registers where key = 0";
        Ok(cluster.primary().query_scalar::<i64>(version).await? == 1)
    };
    until("the commit takes effect", PATIENCE, committed).await?;
    let mut node = session.read().await?;
    assert_eq!(look(&mut node, 0).await?.0, 1, "on {}", node.route());
    drop(node);
    // Replicas serve the session again when the window has passed.
    let back = async || Ok(session.read().await?.route().role == Role::Replica);
    until("the session is back on the replica", PATIENCE, back).await?;
    let mut node = session.read().await?;
    assert_eq!(look(&mut node, 0).await?.0, 1, "on {}", node.route());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_under_way_does_not_keep_its_session_from_the_replicas() -> Outcome {
    let (_cluster, router) = with_router(1, REGISTERS).await?;
    let session = router.session();
    let mut transaction = session.begin().await?;
    bump(&mut transaction, 0, 1).await?;
    let mut node = session.read().await?;
    assert_eq!(node.route().role, Role::Replica, "{}", node.route());
    let n = number(&mut node, "select version from registers where key = 0").await?;
    assert_eq!(n, 0, "it is not committed");
    drop(node);
    transaction.commit().await?;
    let mut node = session.read().await?;
    assert_eq!(look(&mut node, 0).await?.0, 1, "on {}", node.route());
    Ok(())
}

/// A router with one connection to each node, so that what one request leaves behind meets the next.
async fn narrow(cluster: &lagwise_testkit::Cluster) -> Outcome<lagwise::PgRouter> {
    let pool = || sqlx::postgres::PgPoolOptions::new().max_connections(1);
    let config = |node| lagwise_tests::cluster::config(node).pool_options(pool());
    let router = lagwise_tests::cluster::bare()
        .primary(config(cluster.primary()))
        .replica(config(cluster.replica(0)));
    lagwise_tests::cluster::settle(router, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_was_given_up_leaves_no_transaction_open_to_the_next() -> Outcome {
    let cluster = lagwise_tests::cluster::start(1, LANES).await?;
    let db = narrow(&cluster).await?;
    // Both connections are there, and known.
    drop(db.read().await?);
    drop(db.write().await?);
    for round in 1..=3 {
        let give_up = Duration::from_millis(100);
        for node in cluster.nodes() {
            node.client_wire().delay(Duration::from_millis(150));
        }
        let begun = tokio::time::timeout(give_up, db.begin_read_only()).await;
        assert!(begun.is_err(), "it was given up");
        let begun = tokio::time::timeout(give_up, db.begin()).await;
        assert!(begun.is_err(), "it was given up");
        for node in cluster.nodes() {
            node.client_wire().heal();
        }
        let write = format!("update lanes set n = {round} where lane = 1");
        sqlx::query(sqlx::AssertSqlSafe(write)).execute(&db).await?;
        let committed = "select n from lanes where lane = 1";
        assert_eq!(
            cluster.primary().query_scalar::<i64>(committed).await?,
            round,
            "it is committed"
        );
        cluster.wait_caught_up().await?;
        for _ in 0..3 {
            let query = "select n from lanes where lane = 1";
            let seen = db.run_read(|node| Box::pin(number(node, query))).await?;
            assert_eq!(seen, round, "no old snapshot is left behind");
        }
    }
    Ok(())
}
