//! The nightly clean-up, by one instance at a time.

use std::time::Duration;

use sqlx::Either;
use sqlx::postgres::PgAdvisoryLock;

use crate::db::Db;

const NIGHT: Duration = Duration::from_secs(24 * 60 * 60);

/// The lock that excludes other instances.
pub const LOCK: &str = "lagwise-notes clean-up";

/// Removes notes without text. Nothing, if another instance is at it.
///
/// # Errors
/// What the database said.
pub async fn clean(db: &Db) -> Result<Option<u64>, sqlx::Error> {
    let lock = PgAdvisoryLock::new(LOCK);
    let Either::Left(mut guard) = lock.try_acquire(db.acquire().await?).await? else {
        return Ok(None);
    };
    let outcome = sqlx::query!("delete from notes where title = '' and body = ''")
        .execute(&mut *guard)
        .await?;
    guard.release_now().await?;
    Ok(Some(outcome.rows_affected()))
}

/// Cleans up every night, for ever.
///
/// # Errors
/// As [`clean`].
pub async fn every_night(db: &Db) -> Result<(), sqlx::Error> {
    loop {
        tokio::time::sleep(NIGHT).await;
        clean(db).await?;
    }
}
