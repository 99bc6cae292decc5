//! The notes and every statement about them.

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgExecutor, PgPoolCopyExt};
use sqlx::{FromRow, PgConnection, QueryBuilder};
use tokio_stream::{Stream, StreamExt as _};

use crate::db::Db;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A note, as it is kept.
#[derive(Debug, Serialize, Deserialize, FromRow)]
pub struct Note {
    id: i64,
    title: String,
    body: String,
    tags: Vec<String>,
}

/// A note, as it comes in.
#[derive(Debug, Deserialize)]
pub struct Draft {
    title: String,
    body: String,
    #[serde(default)]
    tags: Vec<String>,
}

/// What to search for.
#[derive(Debug, Deserialize)]
pub struct Search {
    text: Option<String>,
    tag: Option<String>,
    limit: Option<i64>,
}

/// How many notes there are, and who was asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Count {
    notes: i64,
    on_replica: bool,
}

/// Brings the schema up to date, under a lock: several instances may do it at once.
///
/// # Errors
/// If a migration fails, or one that ran was changed since.
pub async fn migrate(db: &Db) -> std::result::Result<(), sqlx::migrate::MigrateError> {
    sqlx::migrate!().run(db).await
}

pub(crate) async fn create(db: &Db, draft: &Draft) -> Result<Note> {
    let mut tx = db.begin().await?;
    let id = sqlx::query_scalar!(
        "insert into notes (title, body) values ($1, $2) returning id",
        draft.title,
        draft.body
    )
    .fetch_one(&mut *tx)
    .await?;
    tag(&mut tx, id, &draft.tags).await?;
    sqlx::query!("select pg_notify('notes', $1)", id.to_string())
        .execute(&mut *tx)
        .await?;
    let note = find(&mut *tx, id).await?;
    tx.commit().await?;
    Ok(note)
}

pub(crate) async fn edit(db: &Db, id: i64, draft: &Draft) -> Result<Note> {
    sqlx::query_scalar!(
        "update notes set title = $2, body = $3 where id = $1 returning id",
        id,
        draft.title,
        draft.body
    )
    .fetch_one(db)
    .await?;
    find(db, id).await
}

pub(crate) async fn find(db: impl PgExecutor<'_>, id: i64) -> Result<Note> {
    sqlx::query_as!(
        Note,
        r#"select n.id, n.title, n.body,
                  array(select tag from note_tags t where t.note_id = n.id order by tag) as "tags!"
           from notes n where n.id = $1"#,
        id
    )
    .fetch_one(db)
    .await
}

pub(crate) async fn list(db: &Db) -> Result<Vec<Note>> {
    sqlx::query_as!(
        Note,
        r#"select n.id, n.title, n.body,
                  array(select tag from note_tags t where t.note_id = n.id order by tag) as "tags!"
           from notes n order by n.id desc limit 50"#
    )
    .fetch_all(db)
    .await
}

pub(crate) async fn search(db: &Db, search: &Search) -> Result<Vec<Note>> {
    let mut query = QueryBuilder::new(
        "select n.id, n.title, n.body, \
         array(select tag from note_tags t where t.note_id = n.id order by tag) as tags \
         from notes n where true",
    );
    if let Some(text) = &search.text {
        query
            .push(" and n.title || ' ' || n.body ilike ")
            .push_bind(format!("%{text}%"));
    }
    if let Some(tag) = &search.tag {
        query
            .push(" and n.id in (select note_id from note_tags where tag = ")
            .push_bind(tag)
            .push(")");
    }
    query
        .push(" order by n.id desc limit ")
        .push_bind(search.limit.unwrap_or(50));
    query.build_query_as().fetch_all(db).await
}

/// Every note, as the server sends them.
pub(crate) fn export(db: &Db) -> impl Stream<Item = Result<Note>> + Send + use<> {
    sqlx::query(
        "select n.id, n.title, n.body, \
         array(select tag from note_tags t where t.note_id = n.id order by tag) as tags \
         from notes n order by n.id",
    )
    .fetch(db)
    .map(|row| Note::from_row(&row?))
}

/// Adds notes from lines of `title,body`.
pub(crate) async fn import(db: &Db, csv: &[u8]) -> Result<u64> {
    let mut copy = db
        .copy_in_raw("copy notes (title, body) from stdin (format csv)")
        .await?;
    copy.send(csv).await?;
    copy.finish().await
}

pub(crate) async fn count(db: &Db) -> Result<Count> {
    sqlx::query_as!(
        Count,
        r#"select count(*) as "notes!", pg_is_in_recovery() as "on_replica!" from notes"#
    )
    .fetch_one(db)
    .await
}

async fn tag(connection: &mut PgConnection, note: i64, tags: &[String]) -> Result<()> {
    sqlx::query!(
        "insert into note_tags (note_id, tag) select $1, * from unnest($2::text[])",
        note,
        tags
    )
    .execute(connection)
    .await?;
    Ok(())
}
