//! A web service for notes, written for `PgPool` and moved to a router.
//!
//! Everything but `db` is the program as it was: queries checked when it is built, transactions,
//! streams, `COPY`, an advisory lock, a listener, embedded migrations. `before/db.rs` is what `db`
//! was, and the feature `plain-pool` builds the program with it. `docs/moving-from-pgpool.md` shows
//! the difference; a test holds it to the files.
//!
//! The queries are checked against what `.sqlx` remembers of a database. After a change of one, build
//! once with `DATABASE_URL` naming a database that has the migrations, and `SQLX_OFFLINE_DIR` the
//! full path of that folder.

pub mod app;
pub mod cleaning;
#[cfg(not(feature = "plain-pool"))]
pub mod db;
#[cfg(feature = "plain-pool")]
#[path = "../before/db.rs"]
pub mod db;
pub mod failure;
pub mod hearing;
pub mod nodes;
pub mod notes;
#[cfg(not(feature = "plain-pool"))]
pub mod sessions;
