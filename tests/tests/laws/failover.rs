//! The primary is lost and another node is promoted: what has not been sent waits, what was sent says
//! whether it may have been applied, and nothing is written on a node that was deposed.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lagwise::{Error, PgRouter, Role, may_have_been_applied};
use lagwise_testkit::{Cluster, Stop};
use lagwise_tests::cluster::{PATIENCE, bare, config, router, settle, start, with_router};
use lagwise_tests::observe::{primary_is, readmitted, snapshot_where, until, view};
use lagwise_tests::{Outcome, fail};
use tokio::task::JoinSet;

const NOTES: &str = "create table notes (body text not null)";

async fn count(node: &lagwise_testkit::Node, body: &str) -> Outcome<i64> {
    let query = format!("select count(*) from notes where body = '{body}'");
    Ok(node.query_scalar(&query).await?)
}

fn insert(body: &str) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query("insert into notes values ($1)").bind(body)
}

/// Waits until the monitor knows that there is no primary to be had.
async fn primary_is_lost(db: &PgRouter) -> Outcome {
    let lost = |snapshot: &lagwise::Snapshot| {
        snapshot.primary.is_none() || snapshot.primary_lost.is_some()
    };
    snapshot_where(db, "the primary is lost", lost).await?;
    Ok(())
}

/// Makes `r1` the primary, and `r2` follow it.
async fn promote(cluster: &Cluster) -> Outcome {
    let [r1, r2] = [cluster.replica(0), cluster.replica(1)];
    r1.promote().await?;
    r2.follow(r1).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_were_not_sent_wait_for_the_next_primary() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    cluster.primary().kill().await?;
    primary_is_lost(&db).await?;
    let session = db.session();
    let by_statement = insert("statement").execute(&session);
    let by_handle = async {
        let mut node = db.write().await?;
        insert("handle").execute(&mut *node).await?;
        Ok::<_, Error>(node.route().clone())
    };
    let by_transaction = async {
        let mut tx = db.begin().await?;
        insert("transaction").execute(&mut *tx).await?;
        tx.commit().await
    };
    let (promoted, statement, route, transaction) =
        tokio::join!(promote(&cluster), by_statement, by_handle, by_transaction);
    promoted?;
    statement?;
    transaction?;
    let route = route?;
    assert_eq!((&*route.node, route.role), ("r1", Role::Primary), "{route}");
    assert!(!route.waited.is_zero(), "it says that it waited");
    for body in ["statement", "handle", "transaction"] {
        assert_eq!(count(cluster.replica(0), body).await?, 1, "{body}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_no_longer_than_its_deadline_and_is_not_applied() -> Outcome {
    let cluster = start(1, NOTES).await?;
    let patient = Duration::from_millis(300);
    let db = router(&cluster).policy(|policy| policy.write_wait = patient);
    let db = settle(db, 1).await?;
    cluster.primary().stop(Stop::Fast).await?;
    primary_is_lost(&db).await?;
    let began = lagwise::now();
    let refused = insert("late").execute(&db.session()).await;
    let error = refused.expect_err("there is no primary");
    assert!(lagwise::now().since(began) >= patient, "it waited");
    assert!(!may_have_been_applied(&error), "{error}");
    let refused = db.begin().await.expect_err("there is no primary");
    assert!(!may_have_been_applied(&refused), "{refused}");

    // The primary comes back as it was: what waits for it goes on.
    cluster.primary().start().await?;
    until("a write succeeds", PATIENCE, async || {
        Ok(insert("after").execute(&db).await.is_ok())
    })
    .await?;
    assert_eq!(count(cluster.primary(), "late").await?, 0);
    assert!(count(cluster.primary(), "after").await? >= 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_flight_says_that_it_may_have_been_applied() -> Outcome {
    let (cluster, db) = with_router(1, NOTES).await?;
    let session = db.session();
    let slow = "insert into notes select 'slow' from pg_sleep(60)";
    let mut tx = db.begin().await?;
    insert("uncommitted").execute(&mut *tx).await?;
    let running = "select count(*) from pg_stat_activity where query like 'insert%pg_sleep%'";
    let dies = async {
        until("the write runs", PATIENCE, async || {
            Ok(cluster.primary().query_scalar::<i64>(running).await? == 1)
        })
        .await?;
        cluster.primary().kill().await?;
        Outcome::Ok(())
    };
    let (killed, written) = tokio::join!(dies, sqlx::query(slow).execute(&session));
    killed?;
    let error = written.expect_err("its server is gone");
    let ours = Error::behind(&error).expect("the router says so");
    assert!(ours.may_have_been_applied(), "{ours}");
    assert!(ours.to_string().contains("may have been applied"), "{ours}");
    assert!(ours.source().is_some(), "what the driver said is behind it");
    let lost = tx.commit().await.expect_err("its server is gone");
    assert!(
        may_have_been_applied(&lost),
        "nobody knows how a commit ended: {lost}"
    );

    cluster.primary().start().await?;
    primary_is(&db, "p").await?;
    let wrong = "insert into notes values (null)";
    let error = sqlx::query(wrong)
        .execute(&session)
        .await
        .expect_err("it must not be null");
    assert!(
        !may_have_been_applied(&error),
        "the server refused it: {error}"
    );
    Ok(())
}

/// Reads by statements of a session or by a closure until it is told to end, and more than ten times;
/// says how often.
async fn keep_reading(
    db: PgRouter,
    in_session: bool,
    ended: Arc<AtomicBool>,
) -> Result<u32, Error> {
    let query = "select count(*) from notes";
    let session = db.session();
    let mut reads = 0;
    // Those of a session may wait for most of the time that there is no primary.
    while !ended.load(Ordering::Relaxed) || reads <= 10 {
        if in_session {
            sqlx::query(query).fetch_one(&session).await?;
        } else {
            db.run_read(|node| Box::pin(sqlx::query(query).fetch_one(node)))
                .await?;
        }
        reads += 1;
    }
    Ok(reads)
}

/// Writes by statements of a session until it is told to end: each text, and whether it was
/// acknowledged.
async fn keep_writing(db: PgRouter, writer: usize, ended: Arc<AtomicBool>) -> Vec<(String, bool)> {
    let session = db.session();
    let mut sent = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let body = format!("{writer}-{}", sent.len());
        let outcome = insert(&body).execute(&session).await;
        let unknown = outcome.as_ref().is_err_and(may_have_been_applied);
        assert!(outcome.is_ok() || unknown, "refused: {outcome:?}");
        sent.push((body, outcome.is_ok()));
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_a_primary_that_has_vanished_is_not_waited_for_once_another_is_promoted()
-> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let (session, rows) = (db.session(), db.session());
    let mut tx = db.begin().await?;
    insert("committed").execute(&mut *tx).await?;
    let slow = "insert into notes select 'vanished' from pg_sleep(60)";
    let streamed = format!("{slow} returning body");
    let streamed = sqlx::query_as::<_, (String,)>(sqlx::AssertSqlSafe(streamed));
    let vanishes = async {
        let running = "select count(*) from pg_stat_activity \
                       where query like 'insert%pg_sleep%' and state = 'active'";
        until("both writes run", PATIENCE, async || {
            Ok(cluster.primary().query_scalar::<i64>(running).await? == 2)
        })
        .await?;
        cluster.primary().client_wire().blackhole();
        promote(&cluster).await
    };
    let (vanished, written, streamed) = tokio::join!(
        vanishes,
        sqlx::query(slow).execute(&session),
        streamed.fetch_all(&rows)
    );
    vanished?;
    for error in [written.err(), streamed.err()] {
        let error = error.ok_or("nobody answered")?;
        assert!(may_have_been_applied(&error), "{error}");
    }
    let refused = tx.commit().await.expect_err("its node was deposed");
    assert!(!may_have_been_applied(&refused), "{refused}");
    insert("after").execute(&session).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_on_healthy_replicas_never_fail_while_the_primary_is_replaced() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..4 {
        readers.spawn(keep_reading(
            db.clone(),
            reader % 2 == 0,
            Arc::clone(&ended),
        ));
    }
    cluster.primary().kill().await?;
    primary_is_lost(&db).await?;
    promote(&cluster).await?;
    insert("again").execute(&db).await?;
    readmitted(&db, "r2").await?;
    ended.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        assert!(reader?? > 10, "it read all along");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_switchover_the_old_primary_serves_reads_and_no_write_is_refused() -> Outcome {
    let (cluster, db) = with_router(2, NOTES).await?;
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..3 {
        writers.spawn(keep_writing(db.clone(), writer, Arc::clone(&ended)));
    }
    let (old, new) = (cluster.primary(), cluster.replica(0));
    // What it has acknowledged is on the new one: it stops when that has been sent.
    old.stop(Stop::Fast).await?;
    promote(&cluster).await?;
    old.rejoin(new).await?;
    primary_is(&db, "r1").await?;
    readmitted(&db, "p").await?;
    ended.store(true, Ordering::Relaxed);
    while let Some(sent) = writers.join_next().await {
        for (body, acknowledged) in sent? {
            let found = count(new, &body).await?;
            assert!(
                found == 1 || (!acknowledged && found == 0),
                "{body}: {found}"
            );
        }
    }
    Ok(())
}

/// The monitor looks so seldom that requests are the first to notice.
async fn seldom_looked_at(
    nodes: &[lagwise_testkit::Node],
    interval: Duration,
) -> Outcome<PgRouter> {
    let (primary, replicas) = nodes.split_first().ok_or("there is a primary")?;
    let db = PgRouter::builder().primary(config(primary));
    let db = db.replicas(replicas.iter().map(config)).policy(|policy| {
        *policy = policy
            .clone()
            .with_max_lag(interval * 10)
            .with_poll_interval(interval);
        policy.idle_after = Duration::from_secs(3600);
        policy.write_wait = PATIENCE;
    });
    let db = db.connect().await?;
    db.ready(replicas.len(), Duration::from_secs(30)).await?;
    Ok(db)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_demoted_between_two_looks_gets_no_write() -> Outcome {
    let cluster = start(2, NOTES).await?;
    let db = seldom_looked_at(cluster.nodes(), Duration::from_secs(2)).await?;
    insert("before").execute(&db).await?;
    let (old, new) = (cluster.primary(), cluster.replica(0));
    old.stop(Stop::Fast).await?;
    promote(&cluster).await?;
    old.rejoin(new).await?;
    let node = db.write().await?;
    assert_eq!(&*node.route().node, "r1", "{}", node.route());
    drop(node);
    insert("after").execute(&db.session()).await?;
    assert_eq!(count(new, "after").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_refuses_to_write_is_closed_and_its_node_is_looked_at() -> Outcome {
    let cluster = start(0, NOTES).await?;
    let db = seldom_looked_at(cluster.nodes(), Duration::from_secs(60)).await?;
    let session = db.session();
    insert("before").execute(&session).await?;
    let mut node = session.write().await?;
    let backend = "select pg_backend_pid()";
    let old: i32 = sqlx::query_scalar(backend).fetch_one(&mut *node).await?;
    cluster
        .primary()
        .configure("default_transaction_read_only", "on")
        .await?;
    let refused = insert("refused").execute(&mut *node).await;
    let error = refused.expect_err("the server takes no writes");
    assert!(!may_have_been_applied(&error), "{error}");
    drop(node);
    primary_is_lost(&db).await?;
    let alive = format!("select count(*) from pg_stat_activity where pid = {old}");
    until("its connection is closed", PATIENCE, async || {
        Ok(cluster.primary().query_scalar::<i64>(&alive).await? == 0)
    })
    .await?;
    // A statement of its own that is refused waits for the node that takes it.
    let mended = cluster
        .primary()
        .configure("default_transaction_read_only", "off");
    let (mended, written) = tokio::join!(mended, insert("waited").execute(&session));
    mended?;
    written?;
    assert_eq!(count(cluster.primary(), "waited").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_its_primary_refuses_is_sent_once_more_to_whoever_takes_it() -> Outcome {
    let cluster = start(0, NOTES).await?;
    let node = cluster.primary();
    let db = seldom_looked_at(cluster.nodes(), Duration::from_secs(2)).await?;
    insert("before").execute(&db).await?;
    // From then on its connection is known to lead to the primary.
    let connected = lagwise::now();
    snapshot_where(&db, "it was looked at since", |snapshot| {
        let seen = view(snapshot, "p").observed_at;
        seen.is_some_and(|at| at > connected)
    })
    .await?;
    node.configure("default_transaction_read_only", "on")
        .await?;
    let mended = async {
        primary_is_lost(&db).await?;
        node.configure("default_transaction_read_only", "off")
            .await?;
        Outcome::Ok(())
    };
    let session = db.session();
    let (mended, written) = tokio::join!(mended, insert("once").execute(&session));
    mended?;
    written?;
    assert_eq!(count(node, "once").await?, 1);
    let returning = "insert into notes values ('streamed') returning body";
    node.configure("default_transaction_read_only", "on")
        .await?;
    let mended = async {
        primary_is_lost(&db).await?;
        node.configure("default_transaction_read_only", "off")
            .await?;
        Outcome::Ok(())
    };
    let streamed = sqlx::query_as::<_, (String,)>(returning).fetch_all(&session);
    let (mended, rows) = tokio::join!(mended, streamed);
    mended?;
    assert_eq!(rows?.len(), 1);
    assert_eq!(count(node, "streamed").await?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_caller_has_made_read_only_is_refused_once_and_said() -> Outcome {
    let (cluster, _) = with_router(1, NOTES).await?;
    cluster.primary().execute("create role reader login; alter role reader set default_transaction_read_only = on; grant all on notes to reader").await?;
    let as_reader = |node: &lagwise_testkit::Node| {
        let url = node.url().replace("postgres@", "reader@");
        lagwise::NodeConfig::url(url).name(node.name())
    };
    cluster.wait_caught_up().await?;
    // The monitor's own connection is that of the same role, so there is no primary for it.
    let db = bare()
        .primary(as_reader(cluster.primary()))
        .replica(as_reader(cluster.replica(0)))
        .policy(|policy| policy.write_wait = Duration::from_millis(200))
        .connect_lazy()?;
    let refused = db.write().await;
    let Err(error) = refused else {
        return fail("nobody takes its writes");
    };
    assert!(error.is_unavailable(), "{error}");
    Ok(())
}
