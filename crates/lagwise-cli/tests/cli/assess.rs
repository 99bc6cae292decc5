//! What is said to be able to move is what a router then moves.
//!
//! The one is asked of the binary after a workload ran on a primary alone; the other is counted by the
//! servers themselves while the same workload runs in sessions of a router.

mod report;

use std::process::Command;
use std::time::Duration;

use lagwise::{PgRouter, Session};
use lagwise_testkit::{Cluster, Node};
use serde_json::Value;
use sqlx::{Executor, PgConnection, PgPool, Postgres};

use crate::Outcome;
use crate::binary::{Run, lagwise};

const SCHEMA: &str = "
    create extension pg_stat_statements;
    create table notes (id serial primary key, author text, body text);
    insert into notes (author, body) select 'author ' || i % 10, 'text' from generate_series(1, 500) i;
    create unlogged table notes_seen (id int);
    create view notes_by_author as select author, count(*) from notes group by author;
    create function touch_notes(n int) returns int language sql volatile as 'select n';
    create function count_notes() returns bigint language sql stable as 'select count(*) from notes';
";

/// Within what a prediction has to be right, of the whole.
const CLOSE: f64 = 0.05;

async fn start(replicas: usize) -> Outcome<Cluster> {
    let cluster = Cluster::builder()
        .replicas(replicas)
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track", "all")
        .start()
        .await?;
    cluster.primary().execute(SCHEMA).await?;
    cluster.wait_caught_up().await?;
    reset(&cluster).await?;
    Ok(cluster)
}

async fn reset(cluster: &Cluster) -> Outcome {
    for node in cluster.nodes() {
        node.execute("select pg_stat_statements_reset()").await?;
    }
    Ok(())
}

fn assess(url: &str, options: &[&str]) -> Command {
    let mut command = lagwise();
    for name in [
        "LAGWISE_PRIMARY",
        "LAGWISE_REPLICAS",
        "LAGWISE_URL",
        "LAGWISE_CONFIG",
    ] {
        command.env_remove(name);
    }
    command.args(["assess", "--primary", url]).args(options);
    command
}

async fn run(mut command: Command) -> Outcome<Run> {
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    Run::new(&output)
}

/// The report for programs.
async fn report(url: &str, options: &[&str]) -> Outcome<Value> {
    let run = run(assess(url, &[&["--format", "json"], options].concat())).await?;
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
    assert_eq!(run.out.lines().count(), 1, "{run:?}");
    Ok(serde_json::from_str(&run.out)?)
}

fn number(report: &Value, pointer: &str) -> Outcome<f64> {
    let found = report.pointer(pointer).and_then(Value::as_f64);
    Ok(found.ok_or_else(|| format!("{pointer} is no number in {report}"))?)
}

/// One user's statements, some of them reads of what was just written.
async fn visit<E>(user: i32, on: &E) -> Result<(), sqlx::Error>
where
    for<'e> &'e E: Executor<'e, Database = Postgres>,
{
    let author = format!("author {}", user % 10);
    let by_author = "select count(*) from notes where author = $1";
    sqlx::query("select * from notes where id = $1")
        .bind(user)
        .fetch_optional(on)
        .await?;
    sqlx::query(by_author).bind(&author).fetch_one(on).await?;
    sqlx::query("select * from notes_by_author")
        .fetch_all(on)
        .await?;
    let add = "insert into notes (author, body) values ($1, 'new') returning id";
    sqlx::query(add).bind(&author).fetch_one(on).await?;
    sqlx::query(by_author).bind(&author).fetch_one(on).await?;
    sqlx::query("select count_notes()").fetch_one(on).await?;
    match user % 4 {
        0 => {
            sqlx::query("select id from notes where id = $1 for update")
                .bind(user)
                .fetch_optional(on)
                .await?
        }
        1 => {
            sqlx::query("select touch_notes($1)")
                .bind(user)
                .fetch_optional(on)
                .await?
        }
        2 => {
            sqlx::query("select nextval('notes_id_seq')")
                .fetch_optional(on)
                .await?
        }
        _ => {
            sqlx::query("select count(*) from notes_seen")
                .fetch_optional(on)
                .await?
        }
    };
    sqlx::query("update notes set body = $2 where id = $1")
        .bind(user)
        .bind("changed")
        .execute(on)
        .await?;
    sqlx::query("select body from notes where id = $1")
        .bind(user)
        .fetch_optional(on)
        .await?;
    Ok(())
}

/// A read and a write that belong together.
async fn exchange(user: i32, on: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select body from notes where id = $1")
        .bind(user)
        .fetch_optional(&mut *on)
        .await?;
    let change = "update notes set author = $2 where id = $1";
    sqlx::query(change)
        .bind(user)
        .bind("someone else")
        .execute(on)
        .await?;
    Ok(())
}

/// How many calls of the workload a server has counted.
async fn counted(node: &Node) -> Outcome<f64> {
    let query = "select coalesce(sum(calls), 0)::float8 from pg_stat_statements \
                 where query ~ 'notes|nextval' and toplevel";
    Ok(node.query_scalar(query).await?)
}

/// The share of calls that replicas have served.
async fn moved(cluster: &Cluster) -> Outcome<f64> {
    let mut on_replicas = 0.0;
    for replica in cluster.replicas() {
        on_replicas += counted(replica).await?;
    }
    let on_primary = counted(cluster.primary()).await?;
    assert!(
        on_replicas + on_primary > 500.0,
        "{on_replicas} and {on_primary} calls"
    );
    Ok(on_replicas / (on_replicas + on_primary))
}

/// A router that waits for replicas rather than falls back, as one does that is given the time.
async fn router(cluster: &Cluster) -> Outcome<PgRouter> {
    let mut builder = PgRouter::builder().primary(cluster.primary().url().as_str());
    for replica in cluster.replicas() {
        builder = builder.replica(replica.url().as_str());
    }
    let router = builder
        .policy(|policy| policy.wait = Duration::from_secs(20))
        .connect()
        .await?;
    let patience = Duration::from_secs(30);
    router.ready(cluster.replicas().len(), patience).await?;
    // Until its catalog is known, what names a view or a function stays on the primary.
    let named = "select count_notes() from notes_by_author";
    let known = async {
        while router.classify(named).verdict != lagwise::Verdict::Read {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience, known).await?;
    Ok(router)
}

#[tokio::test]
async fn what_could_move_is_what_a_router_moves() -> Outcome {
    let cluster = start(2).await?;
    let url = cluster.primary().url();
    let pool = PgPool::connect(&url).await?;
    for user in 1..=100 {
        visit(user, &pool).await?;
    }
    pool.close().await;
    let report = report(&url, &[]).await?;
    let (least, most) = (
        number(&report, "/share/calls/least")?,
        number(&report, "/share/calls/most")?,
    );
    assert!((least - most).abs() < 1e-9, "nothing is unknown: {report}");
    // What runs within functions is a part of the call, and the reset is counted as well.
    assert_eq!(report["moves"]["calls"], 600, "{report}");
    assert_eq!(report["stays"]["calls"], 301, "{report}");
    let staying = report["staying"].to_string();
    for because in [
        "for update locks rows",
        "touch_notes may write",
        "nextval writes",
        "notes_seen is an unlogged table",
    ] {
        assert!(staying.contains(because), "{because}: {staying}");
    }

    reset(&cluster).await?;
    let router = router(&cluster).await?;
    for user in 1..=100 {
        let session: Session<Postgres> = router.session();
        visit(user, &session).await?;
    }
    let moved = moved(&cluster).await?;
    assert!(
        (moved - most).abs() <= CLOSE,
        "{most:.3} was predicted, and {moved:.3} moved"
    );
    assert!(moved > 0.5, "it is a workload that moves: {moved}");
    router.close().await;
    Ok(cluster.shutdown().await?)
}

#[tokio::test]
async fn what_a_router_moves_beside_transactions_is_within_the_range() -> Outcome {
    let cluster = start(2).await?;
    let url = cluster.primary().url();
    let pool = PgPool::connect(&url).await?;
    for user in 1..=100 {
        visit(user, &pool).await?;
        let mut transaction = pool.begin().await?;
        exchange(user, &mut transaction).await?;
        transaction.commit().await?;
    }
    pool.close().await;
    let one = report(&url, &["--reads-per-transaction", "1"]).await?;
    let two = report(&url, &[]).await?;
    assert_eq!(two["transactions"]["begun"], 100, "{two}");
    let (least, most) = (
        number(&one, "/share/calls/least")?,
        number(&one, "/share/calls/most")?,
    );
    assert!(
        least < most && number(&two, "/share/calls/least")? < least,
        "{one} {two}"
    );

    reset(&cluster).await?;
    let router = router(&cluster).await?;
    for user in 1..=100 {
        let session = router.session();
        visit(user, &session).await?;
        let mut transaction = session.begin().await?;
        exchange(user, &mut transaction).await?;
        transaction.commit().await?;
    }
    let moved = moved(&cluster).await?;
    assert!(
        (moved - least).abs() <= CLOSE,
        "each held one: {least:.3}, and {moved:.3} moved"
    );
    assert!(moved < most, "{moved:.3} of at most {most:.3}");
    router.close().await;
    Ok(cluster.shutdown().await?)
}
