//! Sessions over HTTP and gRPC: one layer around a service, and nothing in its handlers.
//!
//! [`SessionLayer`] opens the session that a request belongs to, lets the handler run in it, and tells
//! the client how to go on from there. It works for every [`http`] request and response, so for axum
//! and tonic alike. The rule kept here: what a client sends is believed only if it was signed, and a
//! token that is no good is as if there were none; it fails no request.
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # mod example {
//! # use axum::routing::get;
//! # use lagwise::{Keys, PgRouter, PgSession};
//! use lagwise::tower::SessionLayer;
//!
//! # async fn example() -> Result<(), lagwise::Error> {
//! let db = PgRouter::builder()
//!     .primary("postgres://app@db-1/app")
//!     .replica("postgres://app@db-2/app")
//!     .keys(Keys::from_env("LAGWISE_KEY")?)
//!     .connect()
//!     .await?;
//! let app: axum::Router = axum::Router::new()
//!     .route("/notes/count", get(count))
//!     .layer(SessionLayer::new(db)?);
//!
//! async fn count(session: PgSession) -> Result<String, lagwise::Error> {
//!     let notes: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&session).await?;
//!     Ok(notes.to_string())
//! }
//! # Ok(()) }
//! # }
//! ```
//!
//! # What travels how
//!
//! | | in | out |
//! |---|---|---|
//! | HTTP | both cookies and the header, merged | a cookie and the header |
//! | gRPC | the metadata key | the metadata key: in the headers, and in the trailers for what was written while streaming |
//!
//! A response to a request that wrote sets the cookie `__Host-lagwise`, one to a request that only
//! read sets `__Host-lagwise-seen`, so that the answer to a read which overtakes, or is overtaken by,
//! a write's never takes its place. Each value says all there is to say. A response carries a token
//! only if there is something new to tell, whatever its status.
//!
//! [`ClientLayer`] does the same for the calls that a service makes to others: there with the call, and
//! back with its answer.
//!
//! # What it does not do
//!
//! * What is written while an HTTP body is being streamed comes too late for the headers, and HTTP/1
//!   has no trailers that browsers read: finish writing before you answer.
//! * Of two writes that a browser sends at the same time, the answer that comes last sets the cookie,
//!   and of two reads the other one. A [`SessionStore`](crate::SessionStore) by user has no such gap.
//! * The session does not follow into spawned tasks; wrap their futures in
//!   [`Session::scope`](crate::Session::scope).

mod answer;
mod body;
mod carrier;
mod client;
mod future;
mod layer;
mod rules;

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tonic")]
mod tonic;

#[cfg(all(feature = "axum", feature = "postgres"))]
pub use self::axum::PgReadOnly;
#[cfg(feature = "axum")]
pub use self::axum::{NoSession, ReadOnly};
pub use self::body::SessionBody;
pub use self::carrier::TimeLeft;
pub use self::client::{ClientBody, ClientFuture, ClientLayer, ClientService};
pub use self::future::SessionFuture;
pub use self::layer::{SessionLayer, SessionService};
pub use self::rules::{RulesFuture, RulesLayer, RulesService};
#[cfg(feature = "tonic")]
pub use self::tonic::grpc_session;
