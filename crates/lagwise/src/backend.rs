//! What the router must know of a database: how to ask a node where it stands, and what its errors
//! mean.
//!
//! Everything else in this crate is generic over the database. Decisions are taken in the core; a
//! backend only translates.

#[cfg(feature = "postgres")]
mod postgres;

use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use lagwise_core::{
    Catalog, CatalogObject, Classification, Overrides, Role, ServerStart, Standing, SystemId,
    WalGeometry,
};
use sqlx::{Connection, Database, Describe, SqlStr};

use crate::executor::{Item, Statement};

/// A database that lagwise can route.
///
/// This trait is sealed: it is implemented for [`sqlx::Postgres`], and a bound on it is all that
/// generic code needs.
pub trait Backend: sealed::Translate {}

/// What the database behind a connection holds that a statement's text cannot show: the catalog that
/// a router's monitor would read there.
///
/// # Errors
/// If the database cannot be asked.
///
/// # Cancel safety
/// A dropped call has no effect, but the connection is of no more use.
pub async fn read_catalog<DB: Backend>(
    connection: &mut DB::Connection,
    overrides: &Overrides,
) -> Result<Catalog, sqlx::Error> {
    Ok(Catalog::new(DB::catalog(connection).await?, overrides))
}

#[expect(
    unnameable_types,
    reason = "sealed: nobody else implements it or calls it"
)]
pub(crate) mod sealed {
    use super::{
        BoxFuture, BoxStream, Catalog, CatalogObject, Classification, Connection, Database,
        Describe, Duration, Fault, Identity, Item, Reading, SqlStr, Statement,
    };

    /// How to connect to a database.
    pub(crate) type ConnectOptions<DB> = <<DB as Database>::Connection as Connection>::Options;

    /// The private half of a backend.
    pub trait Translate: Database<Arguments: Clone + Sync, TypeInfo: Clone> {
        /// Begins a transaction that cannot write and sees one state throughout.
        const BEGIN_READ_ONLY: &'static str;

        /// Asks a node where it stands. `known` keeps what does not change while a connection lasts.
        fn probe<'c>(
            connection: &'c mut Self::Connection,
            known: &'c mut Option<Identity>,
        ) -> BoxFuture<'c, Result<Reading, sqlx::Error>>;

        /// Asks where a node stands on a connection that others use as well: prepares nothing there.
        fn ask_once(
            connection: &mut Self::Connection,
        ) -> BoxFuture<'_, Result<Reading, sqlx::Error>>;

        /// How the monitor connects where the application connects with `options`: under a name of
        /// its own, and so that the server gives up on a probe when the monitor does.
        fn monitor_options(
            options: &ConnectOptions<Self>,
            timeout: Duration,
        ) -> ConnectOptions<Self>;

        /// What an error says about the node and about trying again.
        fn fault(error: &sqlx::Error) -> Fault;

        /// Whether the server refused to write at all: it is in recovery, or set to be read-only.
        fn is_read_only(error: &sqlx::Error) -> bool;

        /// Whether the server accepts writes on a connection, asked behind everything that was sent
        /// on it before.
        fn accepts_writes(
            connection: &mut Self::Connection,
        ) -> BoxFuture<'_, Result<bool, sqlx::Error>>;

        /// Whether all that was sent on a connection has been answered, and no transaction of the
        /// driver's is open on it. Asks nobody.
        fn is_at_rest(connection: &mut Self::Connection) -> bool;

        /// Where a text may run, and what in it says so.
        fn classify<'a>(sql: &'a str, catalog: &Catalog) -> Classification<'a>;

        /// The objects that a statement's text cannot tell apart from harmless ones.
        fn catalog(
            connection: &mut Self::Connection,
        ) -> BoxFuture<'_, Result<Vec<CatalogObject>, sqlx::Error>>;

        /// A text that changes when one of the objects does.
        fn catalog_mark(
            connection: &mut Self::Connection,
        ) -> BoxFuture<'_, Result<String, sqlx::Error>>;

        /// Runs a statement. Here and below: that a connection is an executor cannot be said of every
        /// database at once.
        fn fetch_many_on(
            connection: &mut Self::Connection,
            statement: Statement<Self>,
        ) -> BoxStream<'_, Result<Item<Self>, sqlx::Error>>;

        /// Runs a statement for its first row.
        fn fetch_optional_on(
            connection: &mut Self::Connection,
            statement: Statement<Self>,
        ) -> BoxFuture<'_, Result<Option<Self::Row>, sqlx::Error>>;

        /// Prepares a text.
        fn prepare_on<'c>(
            connection: &'c mut Self::Connection,
            sql: SqlStr,
            parameters: &'c [Self::TypeInfo],
        ) -> BoxFuture<'c, Result<Self::Statement, sqlx::Error>>;

        /// Describes a text.
        fn describe_on(
            connection: &mut Self::Connection,
            sql: SqlStr,
        ) -> BoxFuture<'_, Result<Describe<Self>, sqlx::Error>>;
    }
}

/// What a node says of itself once per connection, and the role it had when it was last asked there.
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "part of the sealed trait")]
#[non_exhaustive]
pub struct Identity {
    pub(crate) system: SystemId,
    pub(crate) wal: WalGeometry,
    pub(crate) role: Option<Role>,
}

/// What a node says of itself when asked.
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "part of the sealed trait")]
#[non_exhaustive]
pub struct Reading {
    pub(crate) system: SystemId,
    pub(crate) started: ServerStart,
    pub(crate) standing: Standing,
}

/// Whether the server itself has said how a statement ended. Otherwise it may still take effect.
pub(crate) fn is_certain<DB: Backend, T>(outcome: &Result<T, sqlx::Error>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => error.as_database_error().is_some() && DB::fault(error) != Fault::Node,
    }
}

/// What an error means for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(unnameable_types, reason = "part of the sealed trait")]
#[non_exhaustive]
pub enum Fault {
    /// The node or the way to it is gone: what is known of it is void, and the read may go elsewhere.
    Node,
    /// The node is well but would not serve this read now, such as for want of a connection. The read
    /// may go elsewhere.
    Busy,
    /// Replay had to cancel the read, if it ran on a replica. It may go elsewhere.
    Conflict,
    /// No replica will ever serve this statement. It may go to the primary.
    ReplicaRefuses,
    /// The statement itself is at fault, or the caller wanted it ended. It fails.
    Statement,
}
