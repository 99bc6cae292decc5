//! What the database tells of new notes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgListener;

use crate::db::Db;

/// How many new notes were heard of.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    /// The number so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts what the listener hears, for ever.
    ///
    /// # Errors
    /// If the listener can no longer reach the database.
    pub async fn follow(&self, mut listener: PgListener) -> Result<(), sqlx::Error> {
        loop {
            listener.recv().await?;
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A listener that hears of every note from now on.
///
/// # Errors
/// If the database cannot be reached.
pub async fn listen(db: &Db) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(db).await?;
    listener.listen("notes").await?;
    Ok(listener)
}
