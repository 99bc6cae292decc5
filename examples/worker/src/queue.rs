//! Jobs in a table: one row each, claimed by whoever comes first.
//!
//! A claimed job is hidden for a while rather than marked: if its worker dies, the job comes back by
//! itself. So a job may run twice, and must do no harm then.

use std::time::Duration;

use lagwise::{Consistency, PgRouter, PgSession, Token};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{Postgres, Row as _};

use crate::failure::Failure;

/// What a job carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    /// What it is about.
    pub document: i64,
    /// The version that it was enqueued for: its reads must show this one, or a later one.
    pub version: i64,
    /// What it does while no replica has that.
    pub consistency: Consistency,
    /// What the session that enqueued it wrote and saw; none where the job was written in the same
    /// transaction as the document.
    pub token: Option<Token>,
}

/// A job that this worker has claimed.
#[derive(Clone, Debug)]
pub struct Job {
    id: i64,
    /// What it carries.
    pub payload: Payload,
}

/// What a job that is done has been through.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// How long after it was enqueued it was done.
    pub took: Duration,
    /// How often it was put back.
    pub put_back: i32,
}

/// A worker that has not finished a job by then is taken for dead.
const LEASE: &str = "30 seconds";

/// Makes the tables, empty.
///
/// # Errors
/// What the primary said.
pub async fn migrate(db: &PgRouter) -> Result<(), Failure> {
    let mut connection = db.write().await?;
    sqlx::raw_sql(
        "drop table if exists jobs, documents;
         create table documents (id bigint primary key, version bigint not null);
         create table jobs (
             id bigint generated always as identity primary key,
             payload jsonb not null,
             enqueued_at timestamptz not null default clock_timestamp(),
             run_at timestamptz not null default clock_timestamp(),
             put_back int not null default 0,
             done boolean not null default false
         );
         create index on jobs (run_at) where not done;",
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Adds a job, by a pool, a session or a transaction.
///
/// # Errors
/// What the primary said.
pub async fn add(
    db: impl sqlx::Executor<'_, Database = Postgres>,
    payload: &Payload,
) -> Result<(), Failure> {
    sqlx::query("insert into jobs (payload) values ($1)")
        .bind(Json(payload))
        .execute(db)
        .await?;
    Ok(())
}

/// Claims a job that is due, if there is one. The claim is a write of this session: what the session
/// reads afterwards shows whatever was committed together with the job.
///
/// # Errors
/// What the primary said.
pub async fn claim(session: &PgSession) -> Result<Option<Job>, Failure> {
    let row = sqlx::query(
        "update jobs set run_at = clock_timestamp() + $1::text::interval where id = (
             select id from jobs where not done and run_at <= clock_timestamp()
             order by run_at limit 1 for update skip locked
         ) returning id, payload",
    )
    .bind(LEASE)
    .fetch_optional(session)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let Json(payload) = row.try_get("payload")?;
    let id = row.try_get("id")?;
    Ok(Some(Job { id, payload }))
}

/// Ends a job.
///
/// # Errors
/// What the primary said.
pub async fn complete(db: &PgRouter, job: &Job) -> Result<Past, Failure> {
    let (took, put_back): (f64, i32) = sqlx::query_as(
        "update jobs set done = true where id = $1
         returning extract(epoch from clock_timestamp() - enqueued_at)::float8, put_back",
    )
    .bind(job.id)
    .fetch_one(db)
    .await?;
    let took = Duration::try_from_secs_f64(took).unwrap_or_default();
    Ok(Past { took, put_back })
}

/// Has a job run later.
///
/// # Errors
/// What the primary said.
pub async fn put_back(db: &PgRouter, job: &Job, delay: Duration) -> Result<(), Failure> {
    sqlx::query(
        "update jobs set put_back = put_back + 1,
             run_at = clock_timestamp() + $2 * interval '1 second' where id = $1",
    )
    .bind(job.id)
    .bind(delay.as_secs_f64())
    .execute(db)
    .await?;
    Ok(())
}

/// How many jobs are not done yet.
///
/// # Errors
/// What the primary said.
pub async fn left(db: &PgRouter) -> Result<i64, Failure> {
    let count = sqlx::query_scalar("select count(*) from jobs where not done");
    Ok(count.fetch_one(db).await?)
}
