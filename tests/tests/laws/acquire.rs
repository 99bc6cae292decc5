//! What takes a pool or a connection gets the primary's, and a session knows what it cannot see end.

use std::time::Duration;

use lagwise::{BoundStatements, PgRouter, PgSession};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::PATIENCE;
use lagwise_tests::ear::{Ear, warnings};
use lagwise_tests::observe::until;
use lagwise_tests::statements::{
    calm, code, log_of, on_replica, place, settled, warm_up, with_places,
};
use lagwise_tests::{Outcome, fail};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgAdvisoryLock, PgListener, PgPool, PgPoolCopyExt as _};
use sqlx::{Acquire, AssertSqlSafe, Postgres};
use tokio::task::JoinSet;

const NOTES: &str = "create table notes (id serial primary key, body text not null);";

async fn with_notes() -> Outcome<(Cluster, PgRouter)> {
    with_places(1, NOTES).await
}

/// Generic code that writes in a transaction of the driver's own.
async fn note_down<'a, A>(db: A, body: &str) -> Result<(), sqlx::Error>
where
    A: Acquire<'a, Database = Postgres>,
{
    let mut transaction = db.begin().await?;
    sqlx::query("insert into notes (body) values ($1)")
        .bind(body)
        .execute(&mut *transaction)
        .await?;
    let mut inner = transaction.begin().await?;
    sqlx::query("insert into notes (body) values ('dropped')")
        .execute(&mut *inner)
        .await?;
    inner.rollback().await?;
    transaction.commit().await
}

async fn note_on_pool(pool: &PgPool, body: &str) -> Result<(), sqlx::Error> {
    sqlx::query("insert into notes (body) values ($1)")
        .bind(body)
        .execute(pool)
        .await
        .map(drop)
}

async fn notes(db: &PgSession) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from notes")
        .fetch_one(db)
        .await
}

/// The session stays on the primary although its replica has everything.
async fn bound(cluster: &Cluster, db: &PgSession) -> Outcome {
    cluster.wait_caught_up().await?;
    warm_up(db.router()).await?;
    for _ in 0..5 {
        assert_eq!(place(db).await?, "p", "nobody saw the end of its writes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_whose_end_nobody_sees_keeps_its_session_on_the_primary() -> Outcome {
    let (cluster, router) = with_notes().await?;
    let (db, scoped) = (router.session(), router.session());
    cluster.replica(0).freeze_replay()?;
    note_down(&db, "one").await?;
    assert_eq!(notes(&db).await?, 1, "the replica has none");
    scoped.scope(note_down(&router, "two")).await?;
    assert_eq!(notes(&scoped).await?, 2, "the replica has none");
    cluster.replica(0).thaw_replay()?;
    bound(&cluster, &db).await?;
    bound(&cluster, &scoped).await?;
    on_replica("others are not bound", &router.session()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_taken_from_a_router_keeps_the_session_around_it_on_the_primary() -> Outcome
{
    let (cluster, router) = with_notes().await?;
    let (db, other) = (router.session(), router.session());
    warm_up(&router).await?;
    cluster.replica(0).freeze_replay()?;
    // The pool is taken where its name stands: inside of the scope's future.
    db.scope(async { note_on_pool(&router, "one").await })
        .await?;
    assert_eq!(notes(&db).await?, 1, "the replica has none");
    cluster.replica(0).thaw_replay()?;
    bound(&cluster, &db).await?;
    // Outside of a scope there is nobody to bind.
    note_on_pool(&router, "two").await?;
    note_down(&router, "three").await?;
    on_replica("a session beside it reads from the replica", &other).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_to_end_binds_nobody() -> Outcome {
    let (cluster, router) = with_notes().await?;
    let db = router.session();
    db.scope(async {
        let mut transaction = router.begin().await?;
        sqlx::query("insert into notes (body) values ('one')")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let mut connection = router.acquire().await?;
        sqlx::query("insert into notes (body) values ('two')")
            .execute(&mut *connection)
            .await?;
        drop(connection);
        let read_only = router.begin_read_only().await?;
        read_only.rollback().await
    })
    .await?;
    assert_eq!(notes(&db).await?, 2);
    cluster.wait_caught_up().await?;
    on_replica("the session is back on the replica", &db).await?;
    assert_eq!(notes(&db).await?, 2);
    // A generic connection is seen to end, too: only its transactions are not.
    let mut connection = Acquire::acquire(&db).await?;
    sqlx::query("insert into notes (body) values ('three')")
        .execute(&mut *connection)
        .await?;
    drop(connection);
    assert_eq!(notes(&db).await?, 3);
    on_replica("the session is back on the replica", &db).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advisory_lock_is_held_on_the_primary() -> Outcome {
    let (cluster, router) = with_notes().await?;
    let lock = PgAdvisoryLock::new("a lock of these tests");
    let held = "select count(*) from pg_locks where locktype = 'advisory'";
    let guard = lock.acquire(router.acquire().await?).await?;
    for (node, owed) in [(cluster.primary(), 1), (cluster.replica(0), 0)] {
        assert_eq!(
            node.query_scalar::<i64>(held).await?,
            owed,
            "{}",
            node.name()
        );
    }
    let second = lock.try_acquire(router.session().acquire().await?).await?;
    assert!(second.is_right(), "it is held");
    guard.release_now().await?;
    assert_eq!(cluster.primary().query_scalar::<i64>(held).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_run_on_the_primary_once_however_often_they_are_asked_for() -> Outcome {
    let (cluster, router) = with_notes().await?;
    let folder = cluster.folder().join("migrations");
    std::fs::create_dir(&folder)?;
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
    write("1_table.sql", "create table moves (n int);")?;
    write(
        "2_rows.sql",
        "insert into moves values (1); insert into moves values (2);",
    )?;
    let migrator = Migrator::new(&*folder).await?;
    let (one, two) = tokio::join!(migrator.run(&router), migrator.run(&router));
    one.and(two)?;
    let db = router.session();
    migrator.run(&db).await?;
    db.scope(migrator.run(&router)).await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from moves")
        .fetch_one(&db)
        .await?;
    assert_eq!(rows, 2, "each ran once");
    write("3_more.sql", "insert into moves values (3);")?;
    Migrator::new(&*folder).await?.run(&router).await?;
    let p = cluster.primary();
    assert_eq!(
        p.query_scalar::<i64>("select count(*) from moves").await?,
        3
    );
    cluster.wait_caught_up().await?;
    on_replica("other sessions read from the replica", &router.session()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_on_a_router_hears_what_a_session_sends() -> Outcome {
    let (_cluster, router) = with_notes().await?;
    let db = router.session();
    let mut listener = PgListener::connect_with(&router).await?;
    listener.listen("news").await?;
    sqlx::query("notify news, 'by statement'")
        .execute(&db)
        .await?;
    sqlx::query("select pg_notify('news', $1)")
        .bind("by function")
        .execute(&db)
        .await?;
    for owed in ["by statement", "by function"] {
        let heard = tokio::time::timeout(PATIENCE, listener.recv()).await??;
        assert_eq!(heard.payload(), owed);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_copied_through_a_router() -> Outcome {
    let (cluster, router) = with_notes().await?;
    let db = router.session();
    warm_up(&router).await?;
    cluster.replica(0).freeze_replay()?;
    let copied = db.scope(async {
        let mut copy = router.copy_in_raw("copy notes (body) from stdin").await?;
        copy.send(&b"one\ntwo\n"[..]).await?;
        copy.finish().await
    });
    assert_eq!(copied.await?, 2);
    assert_eq!(notes(&db).await?, 2, "the replica has none");
    cluster.replica(0).thaw_replay()?;
    Ok(())
}

/// Runs a text, as it is and without arguments.
async fn run(db: &PgSession, text: &str) -> Result<u64, sqlx::Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(db).await?;
    Ok(done.rows_affected())
}

#[tokio::test]
async fn a_text_that_leaves_a_transaction_open_is_refused_and_nothing_of_it_runs() -> Outcome {
    let (cluster, router) = with_notes().await?;
    let db = router.session();
    for text in [
        "begin",
        "start transaction read only",
        "/* a comment */ BEGIN ISOLATION LEVEL SERIALIZABLE",
        "begin; insert into notes (body) values ('open')",
        "insert into notes (body) values ('open'); begin",
        "begin; commit; begin",
    ] {
        let Err(error) = run(&db, text).await else {
            return fail(format!("{text} was run"));
        };
        assert!(error.as_database_error().is_none(), "{text}: {error}");
        let message = error.to_string();
        assert!(message.contains("begin()"), "{message}");
    }
    for node in cluster.nodes() {
        let log = log_of(node);
        assert!(!log.contains("no transaction in progress"), "{log}");
        let open = "select count(*) from pg_stat_activity where state like 'idle in trans%'";
        assert_eq!(node.query_scalar::<i64>(open).await?, 0, "{}", node.name());
    }
    assert_eq!(notes(&db).await?, 0, "nothing was run");
    let whole = "begin; insert into notes (body) values ('whole'); commit";
    run(&db, whole).await?;
    assert_eq!(notes(&db).await?, 1, "one that ends is run");
    Ok(())
}

/// Statements that mean something only on the connection they are run on.
const BOUND: [&str; 7] = [
    "set work_mem = '8MB'",
    "set search_path to public",
    "listen news",
    "unlisten news",
    "prepare one as select 1",
    "deallocate all",
    "discard plans",
];

#[tokio::test]
async fn a_statement_that_is_bound_to_a_connection_is_refused_where_that_was_asked_for() -> Outcome
{
    let (cluster, router) = with_notes().await?;
    drop(router);
    let strict = calm(&cluster).bound_statements(BoundStatements::Refuse);
    let router = settled(strict, 1).await?;
    let db = router.session();
    let ear = Ear::open();
    for text in BOUND {
        let Err(error) = run(&db, text).await else {
            return fail(format!("{text} was run"));
        };
        assert!(error.as_database_error().is_none(), "{text}: {error}");
        let message = error.to_string();
        assert!(message.contains("bound to a connection"), "{message}");
        assert!(message.contains("write()"), "{message}");
        assert!(!message.contains("8MB"), "{message}");
    }
    assert!(lagwise_tests::ear::routes(&ear.take()).is_empty());
    let mut connection = router.write().await?;
    for text in BOUND {
        sqlx::raw_sql(text).execute(&mut *connection).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_statement_that_is_bound_to_a_connection_runs_on_the_primary_and_is_warned_of_once()
-> Outcome {
    let (_cluster, router) = with_notes().await?;
    let ear = Ear::open();
    for turn in 0..3 {
        for text in BOUND {
            let db = router.session();
            let outcome = run(&db, text).await;
            // The connection may be another one each time, or have the thing already.
            let duplicate = ["42P05", "42P07"];
            let failed = outcome.as_ref().err().map(code);
            let fine = failed.is_none_or(|code| duplicate.contains(&&*code));
            assert!(fine, "{text}: {outcome:?}");
            let heard = ear.take();
            let sent = lagwise_tests::ear::routes(&heard);
            let sent: Vec<_> = sent.iter().map(|(node, _)| &**node).collect();
            assert_eq!(sent, ["p"], "{text}");
            let warned = warnings(&heard, "bound to its connection").len();
            assert_eq!(warned, usize::from(turn == 0), "{text}, turn {turn}");
        }
    }
    Ok(())
}

async fn noted_in_a_task(router: PgRouter) -> Vec<Result<(), sqlx::Error>> {
    let note = async move { note_on_pool(&router, "elsewhere").await };
    JoinSet::from_iter([note]).join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outside_its_scope_is_bound_by_nothing_that_happens_to_the_router() -> Outcome {
    let (_cluster, router) = with_notes().await?;
    let db = router.session();
    // A scope does not follow into a task.
    for outcome in db.scope(noted_in_a_task(router.clone())).await {
        outcome?;
    }
    let away = async || Ok(place(&db).await? == "r1");
    until(
        "the session reads from the replica",
        Duration::from_secs(5),
        away,
    )
    .await
}
