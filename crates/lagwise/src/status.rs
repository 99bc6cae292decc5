//! What a router knows, for people and programs.
//!
//! A [`Cluster`] is one look at everything the monitor knows, ready to be serialized: whoever asks
//! costs the nodes nothing. It holds names, positions and durations, and never an address, a user or a
//! password. What is unknown is absent, never zero.
//!
//! [`router`] makes an [`axum::Router`] of it that an application mounts wherever it likes:
//!
//! ```no_run
//! # async fn example(db: lagwise::PgRouter) -> std::io::Result<()> {
//! let app = axum::Router::new()
//!     .route("/", axum::routing::get(async || "the application"))
//!     .nest("/status", lagwise::status::router(db));
//! let socket = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(socket, app).await
//! # }
//! ```
//!
//! | address | what it answers |
//! |---|---|
//! | `/` | a page for people: live, and without anything from elsewhere |
//! | `/cluster` | a [`Cluster`] as JSON |
//! | `/events` | server-sent events: `cluster` first, then `sample` every second and `event` for each change |
//! | `/history` | samples and changes of the last ten minutes, for whoever has just come |
//!
//! All of it is read-only. Whether everybody may read it is for the application to say: put a layer
//! around it if not.

mod board;
mod events;
mod history;
mod page;
mod report;
mod sampler;

use self::board::Board;
pub use self::report::{Cluster, Node, Pool};
use crate::backend::Backend;
use crate::router::Router;

/// The status of a router, to be mounted under any prefix.
///
/// Streams of events end when the router is closed; a graceful shutdown of the server waits for
/// them, so close the router first. At most 64 streams are served at a time. The samples are kept by a
/// task of the router, which ends with it or with the last clone of what is returned here. It fits into
/// an application of any state, under a prefix that does not end with a slash.
pub fn router<DB, S>(db: Router<DB>) -> axum::Router<S>
where
    DB: Backend,
    S: Clone + Send + Sync + 'static,
{
    board::routes(Board::start(db))
}
