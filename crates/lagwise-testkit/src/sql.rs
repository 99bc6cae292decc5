//! Connections of the kit to its servers, and statements on them.
//!
//! They go over the Unix socket, past every wire, so that a test can look at a server that its
//! service cannot reach. Each statement has a connection of its own: one that was kept would have
//! to be doubted after every restart. What is asked is `node`'s business.

use std::path::Path;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection, Decode, Postgres, Row, Type};

use crate::error::{Error, Result};

/// Types that one column of an answer can be read as, such as `i64`, `bool`, `String`, or an
/// `Option` of these.
///
/// It is implemented for all types that can be; it only shortens the bounds.
pub trait Scalar: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin {}

impl<T> Scalar for T where T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin {}

/// The database that every server has.
pub(crate) const DATABASE: &str = "postgres";

/// Connects as the superuser, whatever the environment says.
pub(crate) async fn connect(socket_folder: &Path, database: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(socket_folder)
        .port(5432)
        .username("postgres")
        .database(database)
        .application_name("lagwise-testkit")
        .ssl_mode(PgSslMode::Disable);
    // Large, and a part of every question and every wait.
    Box::pin(PgConnection::connect_with(&options))
        .await
        .map_err(|error| Error::because("cannot connect over the socket", error))
}

pub(crate) async fn execute(socket_folder: &Path, statements: &str) -> Result<u64> {
    let mut connection = connect(socket_folder, DATABASE).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut connection)
        .await?;
    // The statements are done; that saying goodbye fails changes nothing.
    drop(connection.close().await);
    Ok(done.rows_affected())
}

pub(crate) async fn query_scalar<T: Scalar>(socket_folder: &Path, query: &str) -> Result<T> {
    let mut connection = connect(socket_folder, DATABASE).await?;
    let query = sqlx::query(AssertSqlSafe(query)).persistent(false);
    let row = query.fetch_one(&mut connection).await?;
    drop(connection.close().await);
    Ok(row.try_get(0)?)
}
