//! Makes PostgreSQL read replicas safe to use with sqlx.
//!
//! A [`Router`] sends writes to the primary and reads to the replicas. A [`Session`] reads its own
//! writes: after a write, its reads go only to nodes that are *proved* to have it. A monitor task
//! measures how far each replica is behind, takes a lagging, unreachable, diverged or promoted one
//! out of rotation, and lets it back in gently.
//!
//! ```no_run
//! use std::time::Duration;
//! use lagwise::PgRouter;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let db = PgRouter::builder()
//!     .primary("postgres://app@db-1/app")
//!     .replica("postgres://app@db-2/app")
//!     .replica("postgres://app@db-3/app")
//!     .max_lag(Duration::from_secs(1))
//!     .connect()
//!     .await?;
//!
//! let session = db.session();
//! sqlx::query("insert into notes (body) values ('hello')").execute(&session).await?;
//!
//! // On a replica that has the note, or on the primary.
//! let notes: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&session).await?;
//!
//! // A connection that knows where it leads.
//! let mut node = session.read().await?;
//! let again: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&mut *node).await?;
//! println!("{notes} and {again} notes, the latter from {}", node.route());
//! # Ok(()) }
//! ```
//!
//! Statements run on `&Router` and `&Session` as on a pool. Outside a session they go to the primary;
//! inside one, each goes where its text, and what the database's catalog says of the names in it,
//! allow: [`Router::classify`] says where and why.
//!
//! # What a read may ask for
//!
//! | handle | what it sees |
//! |---|---|
//! | a statement on `&Session`, [`Session::read`] | everything the session wrote, and nothing older than it has read |
//! | [`Router::read_with`] with [`Within`] | every commit acknowledged longer ago than that |
//! | [`Router::read`] outside a session | what any replica in rotation has: `max_lag` old at most, but for `min_in_rotation` and a lost primary |
//! | [`Router::write`] | the primary |
//!
//! When no replica has it, the read waits a moment for one, and then does what its [`Fallback`]
//! says: the primary within a [`Budget`], the freshest replica, or an error.
//!
//! # Cancel safety
//!
//! Every future of this crate may be dropped at any time. A dropped read has no effect. A write that
//! is dropped halfway may still take effect, and its session knows that: it stays on the primary
//! until the outcome is certain.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `postgres` (default) | [`PgRouter`] |
//! | `metrics` (default) | counters, gauges and histograms through the `metrics` facade |
//! | `tower` | sessions over HTTP: a layer for services, and one for clients |
//! | `axum` | `tower`, and extractors |
//! | `tonic` | `tower`, and the session of a gRPC request |
//! | `redis` | `RedisStore`: sessions under keys, in Redis or Valkey |
//! | `config` | nodes and settings from a file or from libpq's connection strings: `Router::from_config` |
//! | `status` | what the router knows, as JSON, as a web page and as events, for an axum application |
//! | `serde` | tokens in the payloads of jobs |
//! | `encryption` | tokens whose content only their keys can read |
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]
#![cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "a backend is what uses it all")
)]

mod ahead;
mod ambient;
mod backend;
mod budget;
mod builder;
mod capture;
mod clock;
#[cfg(feature = "config")]
pub mod config;
mod connection;
mod error;
mod events;
mod executor;
mod hedge;
mod job;
mod lease;
mod load;
mod monitor;
mod node;
mod node_config;
mod observe;
mod options;
mod publish;
mod requests;
mod route;
mod router;
mod routing;
mod rules;
mod session;
mod shared;
mod statements;
#[cfg(feature = "status")]
pub mod status;
mod store;
mod sync;
mod tally;
mod tenure;
mod token;
#[cfg(feature = "tower")]
pub mod tower;
mod transaction;
mod turn;
mod view;
mod warm;

pub use lagwise_core::{
    Because, Catalog, Cause, Claim, Classification, Event, Fallback, Instant, Membership,
    NameError, NodeId, NodeView, Overrides, Policy, PrimaryLoss, Reason, Role, Snapshot, Verdict,
    classify,
};

pub use self::backend::{Backend, read_catalog};
pub use self::budget::Budget;
pub use self::builder::RouterBuilder;
pub use self::clock::now;
pub use self::connection::{ReadConnection, WriteConnection};
pub use self::error::{Error, may_have_been_applied};
pub use self::events::{Events, Happened};
pub use self::hedge::{Hedge, Hedged};
pub use self::job::{Consistency, JobOptions};
pub use self::node_config::NodeConfig;
pub use self::options::{ReadOptions, Within};
pub use self::route::{DryRoute, Route};
pub use self::router::{Router, Shutdown};
pub use self::session::Session;
pub use self::statements::{BoundStatements, OutsideSession};
#[cfg(feature = "redis")]
pub use self::store::RedisStore;
pub use self::store::{MemoryStore, Recalled, SessionStore, StoreError};
pub use self::token::{Keys, Token, TokenFault};
pub use self::transaction::Transaction;

/// A router over PostgreSQL nodes.
#[cfg(feature = "postgres")]
pub type PgRouter = Router<sqlx::Postgres>;

/// A session over PostgreSQL nodes.
#[cfg(feature = "postgres")]
pub type PgSession = Session<sqlx::Postgres>;

/// The code in the guides compiles.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../README.md")]
    mod readme {}
    #[doc = include_str!("../../../docs/command-line.md")]
    mod command_line {}
    #[cfg(feature = "config")]
    #[doc = include_str!("../../../docs/configuration.md")]
    mod configuration {}
    #[doc = include_str!("../../../docs/consistency.md")]
    mod consistency {}
    #[doc = include_str!("../../../docs/failure.md")]
    mod failure {}
    #[doc = include_str!("../../../docs/moving-from-pgpool.md")]
    mod moving_from_pgpool {}
    #[doc = include_str!("../../../docs/performance.md")]
    mod performance {}
    #[doc = include_str!("../../../docs/sessions.md")]
    mod sessions {}
    #[doc = include_str!("../../../docs/statements.md")]
    mod statements {}
}
