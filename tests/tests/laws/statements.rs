//! What runs on a pool runs on a router and on a session, unchanged: with the right rows, on the
//! right node.

use futures_core::stream::BoxStream;
use lagwise::{Cause, OutsideSession, PgRouter, PgSession};
use lagwise_testkit::Cluster;
use lagwise_tests::cluster::{config, settle};
use lagwise_tests::observe::{ejected, readmitted};
use lagwise_tests::statements::{calm, is_read, next, on_replica, place, settled, with_places};
use lagwise_tests::{Outcome, cluster};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgPoolOptions, PgRow, PgTypeInfo};
use sqlx::{
    Acquire, Encode, Executor, PgExecutor, Postgres, QueryBuilder, Row as _, SqlSafeStr as _,
    Statement as _, Type,
};
use tokio::task::JoinSet;

const NOTES: &str = "
    create table notes (id serial primary key, body text not null);
    insert into notes (body) values ('one'), ('two'), ('three');
    create function nap(seconds float8) returns text language sql stable
        as $$ select here() from (select pg_sleep(seconds) offset 0) napped $$;
";

/// A cluster with notes, and a router that routes by statement outside of sessions, too.
async fn with_notes(replicas: usize) -> Outcome<(Cluster, PgRouter)> {
    let (cluster, router) = with_places(replicas, NOTES).await?;
    drop(router);
    let by_statement = calm(&cluster).outside_session(OutsideSession::ByStatement);
    Ok((cluster, settled(by_statement, replicas).await?))
}

/// Every way to a query's rows, with its arguments.
async fn queries<P>(db: &P) -> Outcome
where
    for<'e> &'e P: PgExecutor<'e>,
{
    let row = sqlx::query("select body, here() from notes where id = $1").bind(2);
    let row = row.fetch_one(db).await?;
    let (body, node): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    assert_eq!((&*body, &*node), ("two", "r1"));

    let rows: Vec<(i32, String)> =
        sqlx::query_as("select id, here() from notes where body <> $1 order by id")
            .bind("two")
            .fetch_all(db)
            .await?;
    assert_eq!(rows, [(1, "r1".to_owned()), (3, "r1".to_owned())]);

    let mut builder =
        QueryBuilder::<Postgres>::new("select body || here() from notes where id in (");
    let mut ids = builder.separated(", ");
    for id in [1, 3] {
        ids.push_bind(id);
    }
    builder.push(") order by id");
    let built: Vec<String> = builder.build_query_scalar().fetch_all(db).await?;
    assert_eq!(built, ["oner1", "threer1"]);

    Ok(())
}

/// Every number of rows that a query may have.
async fn rows<P>(db: &P) -> Outcome
where
    for<'e> &'e P: PgExecutor<'e>,
{
    let unprepared = sqlx::query("select here() where $1 = 5").bind(5);
    let row = unprepared.persistent(false).fetch_one(db).await?;
    assert_eq!(row.try_get::<String, _>(0)?, "r1");

    let some: Option<String> = sqlx::query_scalar("select body from notes where id = 1")
        .fetch_optional(db)
        .await?;
    let none: Option<String> = sqlx::query_scalar("select body from notes where id = 99")
        .fetch_optional(db)
        .await?;
    assert_eq!((some.as_deref(), none), (Some("one"), None));
    let missing = sqlx::query("select body from notes where id = 99");
    let missing = missing.fetch_one(db).await;
    assert!(matches!(missing, Err(sqlx::Error::RowNotFound)));
    let mapped = sqlx::query("select id from notes order by id desc")
        .try_map(|row: PgRow| row.try_get::<i32, _>(0))
        .fetch_all(db)
        .await?;
    assert_eq!(mapped, [3, 2, 1]);
    let counted = sqlx::query("select id from notes").execute(db).await?;
    assert_eq!(counted.rows_affected(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_runs_on_a_router_and_a_session_and_reads_on_a_replica() -> Outcome {
    let (_cluster, router) = with_notes(1).await?;
    let session = router.session();
    queries(&router).await?;
    rows(&router).await?;
    queries(&session).await?;
    rows(&session).await
}

/// Statements that write, in every form.
async fn writes<P>(db: &P) -> Outcome
where
    for<'e> &'e P: PgExecutor<'e>,
{
    let insert = "insert into notes (body) values ('four'), ('five')";
    assert_eq!(db.execute(insert).await?.rows_affected(), 2, "a plain text");
    let node: String =
        sqlx::query_scalar("update notes set body = body || $1 where id = 1 returning here()")
            .bind("!")
            .fetch_one(db)
            .await?;
    assert_eq!(node, "p");
    let gone = sqlx::query("delete from notes where id > 3")
        .execute(db)
        .await?;
    assert_eq!(gone.rows_affected(), 2);
    sqlx::query("update notes set body = 'one' where id = 1")
        .execute(db)
        .await?;
    Ok(())
}

/// Texts of several statements: each result counts, and the worst of them decides.
async fn several<P>(db: &P) -> Outcome
where
    for<'e> &'e P: PgExecutor<'e>,
{
    let text = "insert into notes (body) values ('a'), ('b');
        select here() from generate_series(1, 3);
        delete from notes where body in ('a', 'b')";
    let mut affected = Vec::new();
    let mut results = sqlx::raw_sql(text).execute_many(db);
    while let Some(result) = next(&mut results).await {
        affected.push(result?.rows_affected());
    }
    drop(results);
    assert_eq!(affected, [2, 3, 2]);

    let (mut places, mut ends) = (Vec::new(), 0);
    let mut items = sqlx::raw_sql(text).fetch_many(db);
    while let Some(item) = next(&mut items).await {
        match item? {
            sqlx::Either::Left(_) => ends += 1,
            sqlx::Either::Right(row) => places.push(row.try_get::<String, _>(0)?),
        }
    }
    drop(items);
    assert_eq!((&*places, ends), (&["p"; 3].map(String::from)[..], 3));

    let sum = sqlx::raw_sql(text).execute(db).await?;
    assert_eq!(sum.rows_affected(), 7, "all of them");
    let rows = sqlx::raw_sql("select here(); select here()")
        .fetch_all(db)
        .await?;
    assert_eq!(rows.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_writes_runs_on_the_primary_alone_or_among_others() -> Outcome {
    let (_cluster, router) = with_notes(1).await?;
    let session = router.session();
    for _ in 0..2 {
        writes(&router).await?;
        several(&router).await?;
        writes(&session).await?;
        several(&session).await?;
    }
    on_replica("reads are back on the replica", &session).await
}

/// A stream that outlives what it was made from.
fn numbers(db: &PgSession, up_to: i32) -> BoxStream<'static, Result<PgRow, sqlx::Error>> {
    sqlx::query("select n, here() from generate_series(1, $1) n")
        .bind(up_to)
        .fetch(db)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_may_outlive_its_session_and_end_before_its_rows() -> Outcome {
    let (cluster, _router) = with_notes(1).await?;
    // One connection for each node: what a stream leaves behind on it, the next statement meets.
    let single = || PgPoolOptions::new().max_connections(1);
    let nodes = cluster::bare()
        .primary(config(cluster.primary()).pool_options(single()))
        .replica(config(cluster.replica(0)).pool_options(single()))
        .policy(|policy| policy.unseen_for = std::time::Duration::from_secs(10));
    let router = settle(nodes, 1).await?;
    is_read(&router, "select here()").await?;
    let mut stream = {
        let session = router.session();
        numbers(&session, 5)
    };
    let mut seen = Vec::new();
    while let Some(row) = next(&mut stream).await {
        let row = row?;
        seen.push((row.try_get(0)?, row.try_get(1)?));
    }
    let owed: Vec<(i32, String)> = (1..=5).map(|n| (n, "r1".to_owned())).collect();
    assert_eq!(seen, owed);

    let session = router.session();
    for turn in 0..20 {
        let mut half = numbers(&session, 50_000);
        for _ in 0..turn {
            next(&mut half).await.transpose()?;
        }
        drop(half);
        let sum: i64 =
            sqlx::query_scalar("select coalesce(sum(n), 0) from generate_series(1, $1) n")
                .bind(turn)
                .fetch_one(&session)
                .await?;
        assert_eq!(sum, i64::from(turn * (turn + 1) / 2), "turn {turn}");
    }
    let mut writing = sqlx::query_scalar::<_, i32>(
        "insert into notes (body) select 'x' from generate_series(1, 5000) returning id",
    )
    .fetch(&session);
    next(&mut writing).await.transpose()?;
    drop(writing);
    // It was given up after its first row, and has inserted all of them or, if it was cut, none.
    let count: i64 = sqlx::query_scalar("select count(*) from notes where body = 'x'")
        .fetch_one(&session)
        .await?;
    assert!([0, 5000].contains(&count), "{count}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_prepared_on_one_node_runs_on_all() -> Outcome {
    let (_cluster, router) = with_notes(2).await?;
    let session = router.session();
    let text = "select here() || $1 from notes where id = $2".into_sql_str();
    let statement = session.prepare(text).await?;
    assert_eq!(statement.columns().len(), 1);
    let everywhere = [("r1", "r2"), ("r2", "r1")];
    for (gone, left) in everywhere {
        router.drain(gone)?;
        ejected(&router, gone, Cause::Drained).await?;
        let query = statement.query_scalar::<String>().bind("!").bind(3);
        assert_eq!(query.fetch_one(&router).await?, format!("{left}!"));
        let query = statement.query_scalar::<String>().bind("!").bind(3);
        assert_eq!(query.fetch_one(&mut *router.write().await?).await?, "p!");
        router.undrain(gone)?;
        readmitted(&router, gone).await?;
    }
    let described = "select id, body, here() from notes".into_sql_str();
    let described = session.describe(described).await?;
    let nullable: Vec<_> = (0..3).map(|column| described.nullable(column)).collect();
    assert_eq!(nullable, [Some(false), Some(false), None]);
    let unknown = "select no_such_column from notes".into_sql_str();
    assert!(session.prepare(unknown.clone()).await.is_err());
    assert!(session.describe(unknown).await.is_err());
    Ok(())
}

async fn by_value(db: impl PgExecutor<'_>) -> Result<String, sqlx::Error> {
    place(db).await
}

async fn by_name<'e, E>(db: E) -> Result<String, sqlx::Error>
where
    E: Executor<'e, Database = Postgres>,
{
    place(db).await
}

struct Repository<P>(P);

impl<P> Repository<P>
where
    for<'e> &'e P: PgExecutor<'e>,
{
    async fn places(&self) -> Result<[String; 2], sqlx::Error> {
        Ok([place(&self.0).await?, by_name(&self.0).await?])
    }
}

async fn acquiring<'a, A>(db: A) -> Result<String, sqlx::Error>
where
    A: Acquire<'a, Database = Postgres>,
{
    let mut connection = db.acquire().await?;
    place(&mut *connection).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_is_generic_over_executors_takes_a_router_and_a_session() -> Outcome {
    let (_cluster, router) = with_notes(1).await?;
    let session = router.session();
    assert_eq!(by_value(&router).await?, "r1");
    assert_eq!(by_value(&session).await?, "r1");
    assert_eq!(by_name(&router).await?, "r1");
    assert_eq!(by_name(&session).await?, "r1");
    assert_eq!(Repository(router.clone()).places().await?, ["r1", "r1"]);
    assert_eq!(Repository(session.clone()).places().await?, ["r1", "r1"]);
    assert_eq!(acquiring(&router).await?, "p");
    assert_eq!(acquiring(&session).await?, "p");
    let mut tasks = JoinSet::new();
    for number in 0..20_i64 {
        let session = session.clone();
        tasks.spawn(async move {
            let query = sqlx::query_scalar::<_, i64>("select $1 + count(*) from notes");
            (number, query.bind(number).fetch_one(&session).await)
        });
    }
    while let Some(task) = tasks.join_next().await {
        let (number, answer) = task?;
        assert_eq!(answer?, number + 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_one_session_run_at_once() -> Outcome {
    let (_cluster, router) = with_notes(1).await?;
    let session = router.session();
    let nap = || sqlx::query_scalar::<_, String>("select nap(0.4)").fetch_one(&session);
    nap().await?;
    let began = lagwise::now();
    let (one, two, three) = tokio::join!(nap(), nap(), nap());
    let took = lagwise::now().since(began);
    assert_eq!([one?, two?, three?], ["r1", "r1", "r1"]);
    assert!(took.as_secs_f64() < 1.1, "one after the other: {took:?}");
    Ok(())
}

/// A value that cannot be sent.
struct Unsendable;

impl Type<Postgres> for Unsendable {
    fn type_info() -> PgTypeInfo {
        <i32 as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Unsendable {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Err("it is stuck".into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_that_cannot_be_encoded_is_an_error_in_every_form() -> Outcome {
    let (_cluster, router) = with_notes(1).await?;
    let session = router.session();
    let query = || sqlx::query("select $1").bind(Unsendable);
    let streamed = next(&mut query().fetch(&session)).await.transpose();
    let errors = [
        query().execute(&session).await.err(),
        query().fetch_all(&session).await.err(),
        query().fetch_one(&session).await.err(),
        query().fetch_optional(&session).await.err(),
        streamed.err(),
    ];
    for error in errors {
        assert!(matches!(error, Some(sqlx::Error::Encode(_))), "{error:?}");
    }
    assert_eq!(place(&session).await?, "r1", "nothing else has suffered");
    Ok(())
}
