//! Statements run on a router or a session as on a pool, each where it belongs.

use lagwise::{OutsideSession, PgRouter};
use lagwise_tests::cluster::{settle, with_router};
use lagwise_tests::observe::until;
use lagwise_tests::{Outcome, cluster};
use sqlx::PgExecutor;

const NOTES: &str = "
    create table notes (id serial primary key, body text not null);
    create function touch(body text) returns bigint language sql stable
        as 'select count(*) from notes where nextval(''notes_id_seq'') > 0';
    create unlogged table scratch (n int);
";

/// Whether a statement runs on a server in recovery.
async fn on_replica(db: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    // A function that every server answers for itself, hidden in a name of the schema's.
    sqlx::query_scalar("select recovering()")
        .fetch_one(db)
        .await
}

const WHERE: &str = "
    create function recovering() returns boolean language sql stable as 'select pg_is_in_recovery()';
";

async fn with_notes() -> Outcome<(lagwise_testkit::Cluster, PgRouter)> {
    let (cluster, router) = with_router(1, &format!("{NOTES}{WHERE}")).await?;
    known(&router, "select recovering()").await?;
    Ok((cluster, router))
}

/// Waits until the router knows that a text is a read.
async fn known(router: &PgRouter, sql: &str) -> Outcome {
    let read = async || Ok(router.classify(sql).verdict == lagwise::Verdict::Read);
    until("the catalog is read", cluster::PATIENCE, read).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outside_a_session_everything_goes_to_the_primary() -> Outcome {
    let (cluster, router) = with_notes().await?;
    assert!(
        !on_replica(&router).await?,
        "nothing is known of the caller"
    );
    assert!(
        on_replica(&router.session()).await?,
        "a session has seen nothing"
    );
    let by_statement = cluster::router(&cluster).outside_session(OutsideSession::ByStatement);
    let by_statement = settle(by_statement, 1).await?;
    known(&by_statement, "select recovering()").await?;
    assert!(on_replica(&by_statement).await?, "the application says so");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_reads_by_statement_what_it_wrote_by_statement() -> Outcome {
    let (_cluster, router) = with_notes().await?;
    let session = router.session();
    for number in 0..50_i64 {
        sqlx::query("insert into notes (body) values ($1)")
            .bind(format!("note {number}"))
            .execute(&session)
            .await?;
        let count: i64 = sqlx::query_scalar("select count(*) from notes")
            .fetch_one(&session)
            .await?;
        assert_eq!(count, number + 1);
    }
    let ambient = async || {
        let scoped = session.scope(async { on_replica(&router).await });
        Ok(scoped.await?)
    };
    until(
        "the ambient session is back on a replica",
        cluster::PATIENCE,
        ambient,
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_write_is_healed_and_remembered() -> Outcome {
    let (_cluster, router) = with_notes().await?;
    let session = router.session();
    known(&router, "select touch('a')").await?;
    for _ in 0..3 {
        let count: i64 = sqlx::query_scalar("select touch($1)")
            .bind("a")
            .fetch_one(&session)
            .await?;
        assert_eq!(count, 0);
    }
    let none: Option<i32> = sqlx::query_scalar("select n from scratch")
        .fetch_optional(&session)
        .await?;
    assert_eq!(none, None);
    Ok(())
}
