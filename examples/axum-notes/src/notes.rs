//! The notes and every statement about them.
//!
//! A read is asked on a connection that knows where it leads, so that its answer can say so, and asked
//! again elsewhere when the node fails. A write is never sent twice: nobody knows what became of one
//! whose node has failed.

use std::time::Duration;

use lagwise::{PgRouter, PgSession, ReadConnection, ReadOptions, Route};
use sqlx::{Acquire as _, Postgres, Row as _};
use tokio::time::timeout;

/// A note as it is kept.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) version: i64,
    pub(crate) body: String,
}

/// How long one node may take over a read, once there is a connection: how long to look for one, the router
/// knows. The monitor takes out a node that has fallen silent after less than that, so that the next
/// attempt goes elsewhere.
const ATTEMPT: Duration = Duration::from_millis(1100);

/// One of them after a read failed on its node, and then the primary, which is the last resort.
const ATTEMPTS: u32 = 3;

/// Writes a note, and returns which of its writes this is.
pub(crate) async fn write(session: &PgSession, id: i64, body: &str) -> Result<i64, sqlx::Error> {
    let written = put(session, id, body).await;
    match written {
        // A primary that was promoted before it had the table: nothing can have been written.
        Err(error) if is_no_table(&error) => {
            make_table(session.router()).await?;
            put(session, id, body).await
        }
        written => written,
    }
}

async fn put(session: &PgSession, id: i64, body: &str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "insert into notes (id, version, body) values ($1, 1, $2) \
         on conflict (id) do update set version = notes.version + 1, body = excluded.body \
         returning version",
    )
    .bind(id)
    .bind(body)
    .fetch_one(session)
    .await
}

/// Reads a note, and tells where.
pub(crate) async fn read(
    session: &PgSession,
    id: i64,
) -> Result<(Option<Note>, Route), lagwise::Error> {
    for _ in 1..ATTEMPTS {
        let node = session.read().await?;
        // Its connection goes with an attempt that is cut.
        if let Ok(Ok(found)) = timeout(ATTEMPT, find(node, id)).await {
            return Ok(found);
        }
    }
    let primary = session.read_with(ReadOptions::primary()).await?;
    Ok(find(primary, id).await?)
}

async fn find(
    mut node: ReadConnection<Postgres>,
    id: i64,
) -> Result<(Option<Note>, Route), sqlx::Error> {
    let route = node.route().clone();
    let found = sqlx::query("select version, body from notes where id = $1")
        .bind(id)
        .fetch_optional(&mut *node)
        .await;
    let row = match found {
        // A replica that stands before the table was made stands before every note.
        Err(error) if is_no_table(&error) => None,
        found => found?,
    };
    let note = row.map(|row| {
        Ok::<_, sqlx::Error>(Note {
            version: row.try_get(0)?,
            body: row.try_get(1)?,
        })
    });
    Ok((note.transpose()?, route))
}

/// Whether the table is there, as the primary has it.
pub(crate) async fn has_table(db: &PgRouter) -> Result<bool, sqlx::Error> {
    let mut primary = db.acquire().await?;
    sqlx::query_scalar("select to_regclass('notes') is not null")
        .fetch_one(&mut *primary)
        .await
}

/// Makes the table of notes, if it is not there. Several instances may do so at once: `if not exists`
/// alone fails for all but one of them.
///
/// # Errors
/// What the database said, or its router.
pub async fn make_table(db: &PgRouter) -> Result<(), sqlx::Error> {
    // Asked first: who may not make tables may still have one.
    if has_table(db).await? {
        return Ok(());
    }
    let mut transaction = db.begin().await?;
    let connection = transaction.acquire().await?;
    for statement in [
        "set local lock_timeout = '2s'",
        "select pg_advisory_xact_lock(hashtext('axum-notes'))",
        "create table if not exists notes \
         (id bigint primary key, version bigint not null, body text not null)",
    ] {
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    transaction.commit().await
}

/// Whether the table is not there (`undefined_table`).
fn is_no_table(error: &sqlx::Error) -> bool {
    has_code(error, "42P01")
}

/// Whether a server said this, by its `SQLSTATE`.
pub(crate) fn has_code(error: &sqlx::Error, code: &str) -> bool {
    let said = error.as_database_error().and_then(|said| said.code());
    said.is_some_and(|said| said == code)
}
