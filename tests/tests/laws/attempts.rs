//! A read that a node fails before its first row runs once more, elsewhere, with its arguments; one
//! that has handed out a row, and one that is at fault itself, does not.

use std::time::Duration;

use futures_core::stream::BoxStream;
use lagwise::PgSession;
use lagwise_testkit::{Cluster, Node};
use lagwise_tests::cluster::{PATIENCE, router as router_over};
use lagwise_tests::ear::{Ear, Sent};
use lagwise_tests::observe::{describe, readmitted, until};
use lagwise_tests::statements::{
    code, drained, is_read, log_of, next, settled, warm_up, with_places,
};
use lagwise_tests::{Outcome, statements};
use sqlx::types::JsonValue;
use sqlx::{AssertSqlSafe, Row as _};

/// `fails(n, from)` fails on servers in recovery as a conflict with replay does, once `n` gets there;
/// `waits(..)` does not end there.
const TROUBLE: &str = "
    create type mood as enum ('happy', 'sad');
    create table victims (id int);
    insert into victims values (1), (2);
    create function fails(n int8, onset int8) returns int8 language plpgsql stable as $$
        begin
            if pg_is_in_recovery() and n >= onset then
                raise exception 'a conflict' using errcode = '40001';
            end if;
            return n;
        end $$;
    create function waits(n int8) returns int8 language plpgsql stable as $$
        begin
            if pg_is_in_recovery() then perform pg_sleep(60); end if;
            return n;
        end $$;
    create function breaks(n int8) returns int8 language plpgsql stable as $$
        begin return 1 / (n - n); end $$;
";

async fn in_trouble(replicas: usize) -> Outcome<(Cluster, PgSession)> {
    let (cluster, router) = with_places(replicas, TROUBLE).await?;
    is_read(&router, "select fails(1, 1), waits(1), breaks(1)").await?;
    Ok((cluster, router.session()))
}

/// How the rows of a query are asked for.
#[derive(Clone, Copy, Debug)]
enum Form {
    All,
    Execute,
    One,
    Optional,
    Stream,
}

const FORMS: [Form; 5] = [
    Form::All,
    Form::Execute,
    Form::One,
    Form::Optional,
    Form::Stream,
];

/// Runs a query of one number with one argument, and returns the number.
async fn ask(db: &PgSession, form: Form, sql: &str, n: i64) -> Result<i64, sqlx::Error> {
    let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).bind(n);
    match form {
        Form::All => {
            let rows = query.fetch_all(db).await?;
            Ok(rows.iter().sum())
        }
        Form::Execute => {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(n);
            let done = query.execute(db).await?;
            assert_eq!(done.rows_affected(), 1);
            Ok(n)
        }
        Form::One => query.fetch_one(db).await,
        Form::Optional => Ok(query.fetch_optional(db).await?.unwrap_or_default()),
        Form::Stream => {
            let rows = drained(query.fetch(db)).await?;
            Ok(rows.iter().sum())
        }
    }
}

fn sent(node: &str, reason: &str) -> Sent {
    (node.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a_read_that_meets_a_conflict_runs_once_more_in_every_form() -> Outcome {
    let (_cluster, db) = in_trouble(1).await?;
    let ear = Ear::open();
    for form in FORMS {
        let work = ask(&db, form, "select fails($1, 0)", 7);
        let (answer, routes) = ear.routes_of(work).await;
        assert_eq!(answer?, 7, "{form:?}");
        assert_eq!(
            routes,
            [sent("r1", "eligible"), sent("p", "failed")],
            "{form:?}"
        );
    }
    assert_eq!(statements::place(&db).await?, "r1", "the session may go on");
    Ok(())
}

#[tokio::test]
async fn a_read_that_two_replicas_cancel_is_answered_by_the_primary() -> Outcome {
    let (_cluster, db) = in_trouble(3).await?;
    let ear = Ear::open();
    for form in FORMS {
        let work = ask(&db, form, "select fails($1, 0)", 7);
        let (answer, routes) = ear.routes_of(work).await;
        assert_eq!(answer.map_err(|error| code(&error)), Ok(7), "{form:?}");
        assert_eq!(routes.len(), 3, "{form:?}: {routes:?}");
        assert_ne!(routes[0].0, routes[1].0, "{form:?}: {routes:?}");
        assert_eq!(routes[2].0, "p", "{form:?}: {routes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_statement_at_fault_runs_once_in_every_form() -> Outcome {
    let (_cluster, db) = in_trouble(2).await?;
    let ear = Ear::open();
    let faults = [
        ("select breaks($1)", "22012"),
        ("select no_such_column + $1 from victims", "42703"),
    ];
    for (sql, owed) in faults {
        for form in FORMS {
            let (answer, routes) = ear.routes_of(ask(&db, form, sql, 7)).await;
            assert_eq!(answer.as_ref().map_err(code), Err(owed.to_owned()));
            assert_eq!(routes.len(), 1, "{form:?}: {routes:?}");
        }
    }
    Ok(())
}

/// How many rows a stream hands out, each once, and the error that ends it.
async fn count(mut rows: BoxStream<'_, Result<i64, sqlx::Error>>) -> (i64, Option<String>) {
    let mut seen = 0;
    while let Some(row) = next(&mut rows).await {
        if let Err(error) = row {
            assert!(next(&mut rows).await.is_none(), "that was the end");
            return (seen, Some(code(&error)));
        }
        seen += 1;
        assert_eq!(row.ok(), Some(seen), "each row once");
    }
    (seen, None)
}

#[tokio::test]
async fn a_stream_that_has_handed_out_a_row_ends_with_its_error() -> Outcome {
    let (_cluster, db) = in_trouble(1).await?;
    let ear = Ear::open();
    let text = "select fails(n, 5000) from generate_series(1, $1) n";
    let rows = sqlx::query_scalar::<_, i64>(text).bind(6000_i64).fetch(&db);
    let ((seen, error), routes) = ear.routes_of(count(rows)).await;
    assert!(seen > 0, "the server had sent some before it failed");
    assert_eq!(error.as_deref(), Some("40001"), "after {seen} rows");
    assert_eq!(routes, [sent("r1", "eligible")]);
    // To be handed all typed rows at once is to stream them, in the driver.
    let typed = sqlx::query_scalar::<_, i64>(text).bind(6000_i64);
    let (typed, routes) = ear.routes_of(typed.fetch_all(&db)).await;
    assert_eq!(typed.as_ref().map_err(code), Err("40001".to_owned()));
    assert_eq!(routes, [sent("r1", "eligible")]);
    // Where nobody has seen a part of it, the same statement runs again.
    let (all, routes) = ear
        .routes_of(sqlx::query(text).bind(6000_i64).fetch_all(&db))
        .await;
    assert_eq!(all?.len(), 6000);
    assert_eq!(routes, [sent("r1", "eligible"), sent("p", "failed")]);
    Ok(())
}

#[tokio::test]
async fn arguments_of_every_type_arrive_at_the_second_node() -> Outcome {
    #[derive(Debug, PartialEq, sqlx::Type)]
    #[sqlx(type_name = "mood", rename_all = "lowercase")]
    enum Mood {
        Happy,
        Sad,
    }
    let (_cluster, db) = in_trouble(1).await?;
    let ear = Ear::open();
    let bytes: Vec<u8> = (0..100_000)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    let json: JsonValue = "{\"a\": [1, null, \"ü\"]}".parse()?;
    // New text and new connections first, then known ones.
    for turn in 0..3 {
        let text = "select fails($1, 0), $2::text, $3::bytea, $4::mood, $5::int8[], $6::text[], \
                    $7::jsonb, $8::float8, $9::mood[], $10::int4";
        let query = sqlx::query(text)
            .bind(42_i64)
            .bind("a 'quoted' text")
            .bind(&bytes)
            .bind(Mood::Sad)
            .bind(vec![1_i64, i64::MAX])
            .bind(vec!["x".to_owned(), String::new()])
            .bind(&json)
            .bind(0.25)
            .bind([Mood::Happy, Mood::Sad])
            .bind(None::<i32>);
        let (row, routes) = ear.routes_of(query.fetch_one(&db)).await;
        let row = row?;
        assert_eq!(routes.len(), 2, "turn {turn}: {routes:?}");
        assert_eq!(row.try_get::<i64, _>(0)?, 42);
        assert_eq!(row.try_get::<String, _>(1)?, "a 'quoted' text");
        assert_eq!(row.try_get::<Vec<u8>, _>(2)?, bytes);
        assert_eq!(row.try_get::<Mood, _>(3)?, Mood::Sad);
        assert_eq!(row.try_get::<Vec<i64>, _>(4)?, [1, i64::MAX]);
        assert_eq!(row.try_get::<Vec<String>, _>(5)?, ["x", ""]);
        assert_eq!(row.try_get::<JsonValue, _>(6)?, json);
        assert!((row.try_get::<f64, _>(7)? - 0.25).abs() < f64::EPSILON);
        assert_eq!(row.try_get::<Vec<Mood>, _>(8)?, [Mood::Happy, Mood::Sad]);
        assert_eq!(row.try_get::<Option<i32>, _>(9)?, None);
    }
    Ok(())
}

/// Ends the sessions that a node's pool has open, but not the monitor's.
async fn end_pool_sessions(node: &Node) -> Outcome<i64> {
    let ended = "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity \
        where backend_type = 'client backend' and pid <> pg_backend_pid() \
        and application_name <> 'lagwise monitor'";
    Ok(node.query_scalar(ended).await?)
}

#[tokio::test]
async fn a_read_on_a_connection_that_was_ended_while_idle_runs_elsewhere() -> Outcome {
    let (cluster, db) = in_trouble(1).await?;
    let ear = Ear::open();
    let mut again = 0;
    for form in FORMS {
        warm_up(db.router()).await?;
        assert!(end_pool_sessions(cluster.replica(0)).await? > 0);
        let work = ask(&db, form, "select $1 from victims where id = 1", 9);
        let (answer, routes) = ear.routes_of(work).await;
        assert_eq!(answer?, 9, "{form:?}");
        assert!(routes.len() <= 2, "{form:?}: {routes:?}");
        again += usize::from(routes.len() == 2);
    }
    assert!(again > 0, "no read met a connection that had ended");
    Ok(())
}

/// Waits until a statement waits on a replica.
async fn waits_on(node: &Node) -> Outcome {
    let waiting = "select count(*) > 0 from pg_stat_activity \
        where state = 'active' and query like '%waits(%' and wait_event = 'PgSleep'";
    let waits = async || Ok(node.query_scalar::<bool>(waiting).await?);
    until("a read is under way", PATIENCE, waits).await
}

/// Runs a read that does not end on a replica while something happens to that.
async fn interrupted(
    db: &PgSession,
    form: Form,
    replica: &Node,
    happens: impl AsyncFnOnce() -> Outcome,
) -> Outcome {
    let read = ask(db, form, "select waits($1) + count(*) - 2 from victims", 11);
    let happened = async {
        waits_on(replica).await?;
        happens().await
    };
    let both = async { tokio::join!(read, happened) };
    let Ok((answer, happened)) = tokio::time::timeout(3 * PATIENCE, both).await else {
        let nodes = describe(&db.router().snapshot());
        return lagwise_tests::fail(format!("{form:?}: the read did not end\n{nodes}"));
    };
    happened?;
    assert_eq!(answer?, 11, "{form:?}");
    Ok(())
}

#[tokio::test]
async fn a_read_whose_connection_is_ended_under_it_runs_elsewhere() -> Outcome {
    let (cluster, db) = in_trouble(1).await?;
    let r1 = cluster.replica(0);
    let ear = Ear::open();
    for form in FORMS {
        warm_up(db.router()).await?;
        let end = async || end_pool_sessions(r1).await.map(drop);
        let (read, routes) = ear
            .routes_of(Box::pin(interrupted(&db, form, r1, end)))
            .await;
        read?;
        assert_eq!(
            routes,
            [sent("r1", "eligible"), sent("p", "failed")],
            "{form:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_read_that_replay_cancels_runs_elsewhere() -> Outcome {
    let (cluster, db) = in_trouble(1).await?;
    let (p, r1) = (cluster.primary(), cluster.replica(0));
    r1.configure("max_standby_streaming_delay", "20ms").await?;
    let ear = Ear::open();
    for form in FORMS {
        warm_up(db.router()).await?;
        let lock = async || {
            p.execute("begin; lock table victims in access exclusive mode; commit")
                .await?;
            Ok(())
        };
        let (read, routes) = ear
            .routes_of(Box::pin(interrupted(&db, form, r1, lock)))
            .await;
        read?;
        assert_eq!(
            routes,
            [sent("r1", "eligible"), sent("p", "failed")],
            "{form:?}"
        );
    }
    let canceled = log_of(r1);
    let canceled = canceled.matches("canceling statement due to conflict with recovery");
    assert_eq!(canceled.count(), FORMS.len(), "replay did it");
    Ok(())
}

#[tokio::test]
async fn a_read_whose_replica_is_killed_runs_elsewhere() -> Outcome {
    let (cluster, db) = in_trouble(1).await?;
    let r1 = cluster.replica(0);
    for form in FORMS {
        warm_up(db.router()).await?;
        interrupted(&db, form, r1, async || Ok(r1.kill().await?)).await?;
        r1.start().await?;
        readmitted(db.router(), "r1").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_read_whose_replica_hangs_runs_elsewhere() -> Outcome {
    let (cluster, router) = with_places(1, TROUBLE).await?;
    drop(router);
    // The monitor has to notice.
    let attentive = router_over(&cluster).max_lag(Duration::from_secs(3));
    let router = settled(attentive, 1).await?;
    is_read(&router, "select waits(1)").await?;
    let r1 = cluster.replica(0);
    for form in [Form::All, Form::Stream] {
        let db = router.session();
        warm_up(db.router()).await?;
        interrupted(&db, form, r1, async || Ok(r1.freeze()?)).await?;
        r1.thaw()?;
        // The server has not noticed that nobody waits for the answer any more.
        end_pool_sessions(r1).await?;
        readmitted(&router, "r1").await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_primary_fails_is_not_run_again() -> Outcome {
    const COUNTED: &str = "
        create sequence runs;
        create function counted(n int8) returns int8 language plpgsql volatile as $$
            begin
                perform nextval('runs');
                raise exception 'a conflict' using errcode = '40001';
            end $$;
    ";
    let (cluster, router) = with_places(1, COUNTED).await?;
    let db = router.session();
    statements::is_write(&router, "select counted(1)").await?;
    let ear = Ear::open();
    // A sequence counts what was rolled back, too.
    for (number, form) in (1_i64..).zip(FORMS) {
        let work = ask(&db, form, "select counted($1)", 1);
        let (answer, routes) = ear.routes_of(work).await;
        assert_eq!(answer.as_ref().map_err(code), Err("40001".to_owned()));
        assert_eq!(routes, [sent("p", "write")], "{form:?}");
        let runs = cluster
            .primary()
            .query_scalar::<i64>("select last_value from runs");
        assert_eq!(runs.await?, number, "{form:?}");
    }
    tokio::time::timeout(Duration::from_secs(5), router.close()).await?;
    Ok(())
}
