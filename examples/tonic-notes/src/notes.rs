//! The notes and every statement about them.
//!
//! A read is asked on a connection that knows where it leads, so that its answer can say so.

use lagwise::{PgRouter, PgSession, Route};
use sqlx::postgres::PgRow;
use sqlx::{Acquire as _, Row as _};

use crate::proto::Note;

/// Writes a note, and returns which of its writes this is.
pub(crate) async fn write(session: &PgSession, id: i64, body: &str) -> Result<i64, lagwise::Error> {
    let written = sqlx::query_scalar(
        "insert into notes (id, version, body) values ($1, 1, $2) \
         on conflict (id) do update set version = notes.version + 1, body = excluded.body \
         returning version",
    )
    .bind(id)
    .bind(body)
    .fetch_one(session)
    .await;
    Ok(written?)
}

/// Reads a note, and once more elsewhere if the node failed: a read can be asked twice.
pub(crate) async fn read(session: &PgSession, id: i64) -> Result<Option<Note>, lagwise::Error> {
    match find(session, id).await {
        Err(error) if error.as_sqlx().is_some() => find(session, id).await,
        found => found,
    }
}

async fn find(session: &PgSession, id: i64) -> Result<Option<Note>, lagwise::Error> {
    let mut node = session.read().await?;
    let route = node.route().clone();
    let row = sqlx::query("select id, version, body from notes where id = $1")
        .bind(id)
        .fetch_optional(&mut *node)
        .await?;
    Ok(row.map(|row| note(&row, &route)).transpose()?)
}

/// What all notes are read with.
pub(crate) const LIST: &str = "select id, version, body from notes order by id";

/// A row that was read on a route.
pub(crate) fn note(row: &PgRow, route: &Route) -> Result<Note, sqlx::Error> {
    let staleness_ms = route.staleness.as_secs_f64() * 1e3;
    Ok(Note {
        id: row.try_get(0)?,
        version: row.try_get(1)?,
        body: row.try_get(2)?,
        served_by: route.node.to_string(),
        reason: route.reason.as_str().to_owned(),
        staleness_ms: route.is_proved().then_some(staleness_ms),
    })
}

/// Makes the table of notes, if it is not there. Several instances may do so at once: `if not exists`
/// alone fails for all but one of them.
///
/// # Errors
/// What the database said, or its router.
pub async fn make_table(db: &PgRouter) -> Result<(), lagwise::Error> {
    let mut transaction = db.begin().await?;
    let connection = transaction.acquire().await?;
    for statement in [
        "set local lock_timeout = '2s'",
        // The lock of the service over HTTP, which may share the table.
        "select pg_advisory_xact_lock(hashtext('axum-notes'))",
        "create table if not exists notes \
         (id bigint primary key, version bigint not null, body text not null)",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    Ok(transaction.commit().await?)
}
