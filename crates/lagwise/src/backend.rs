//! What the router must know of a database: how to ask a node where it stands, and what its errors
//! mean.
//!
//! Everything else in this crate is generic over the database. Decisions are taken in the core; a
//! backend only translates.

#[cfg(feature = "postgres")]
mod postgres;

use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::{ServerStart, Standing, SystemId, WalGeometry};
use sqlx::{Connection, Database};

/// A database that lagwise can route.
///
/// This trait is sealed: it is implemented for [`sqlx::Postgres`], and a bound on it is all that
/// generic code needs.
pub trait Backend: Database + sealed::Translate {}

#[expect(
    unnameable_types,
    reason = "sealed: nobody else implements it or calls it"
)]
pub(crate) mod sealed {
    use super::{BoxFuture, Connection, Database, Duration, Fault, Identity, Reading};

    /// How to connect to a database.
    pub(crate) type ConnectOptions<DB> = <<DB as Database>::Connection as Connection>::Options;

    /// The private half of a backend.
    pub trait Translate: Database {
        /// Begins a transaction that cannot write and sees one state throughout.
        const BEGIN_READ_ONLY: &'static str;

        /// Asks a node where it stands. `known` keeps what does not change while a connection lasts.
        fn probe<'c>(
            connection: &'c mut Self::Connection,
            known: &'c mut Option<Identity>,
        ) -> BoxFuture<'c, Result<Reading, sqlx::Error>>;

        /// How the monitor connects where the application connects with `options`: under a name of
        /// its own, and so that the server gives up on a probe when the monitor does.
        fn monitor_options(
            options: &ConnectOptions<Self>,
            timeout: Duration,
        ) -> ConnectOptions<Self>;

        /// What an error says about the node and about trying again.
        fn fault(error: &sqlx::Error) -> Fault;
    }
}

/// What a node says of itself once per connection.
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "part of the sealed trait")]
#[non_exhaustive]
pub struct Identity {
    pub(crate) system: SystemId,
    pub(crate) wal: WalGeometry,
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

/// What an error means for a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(unnameable_types, reason = "part of the sealed trait")]
#[non_exhaustive]
pub enum Fault {
    /// The node or the way to it is gone: what is known of it is void, and the read may go elsewhere.
    Node,
    /// The node is well but would not serve this read now: out of connections, or a conflict with
    /// replay. The read may go elsewhere.
    Busy,
    /// No replica will ever serve this statement. It may go to the primary.
    ReplicaRefuses,
    /// The statement itself is at fault, or the caller wanted it ended. It fails.
    Statement,
}
