//! The right to use one connection of a node, for a while.
//!
//! Nothing but this module and [`node`](crate::node) touches a pool, so that what a lease costs can
//! change without anybody noticing. A lease knows since when its connection is known to be the same
//! one: a connection that was opened after its node was last observed may talk to a server that has
//! crashed and gone back since, and has to be judged by what it shows itself.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::Instant;
use sqlx::Connection as _;
use sqlx::pool::{PoolConnection, PoolConnectionMetadata, PoolOptions};

use crate::backend::Backend;
use crate::clock;
use crate::load::InFlight;
use crate::node::Node;

/// A connection of a node, on loan.
#[derive(Debug)]
pub(crate) struct Lease<DB: Backend> {
    connection: PoolConnection<DB>,
    /// Since when this is known to be one and the same connection.
    connected_by: Instant,
    in_flight: InFlight,
}

impl<DB: Backend> Lease<DB> {
    /// Borrows a connection. Waits for the pool at most as long as the pool's own settings say.
    pub(crate) async fn acquire(node: &Node<DB>) -> Result<Self, sqlx::Error> {
        let in_flight = InFlight::enter(&node.load);
        let asked = clock::now();
        // Boxed: the pool's future is large, and callers hold several of ours in theirs.
        let acquire = Box::pin(AGE.scope(Cell::new(None), async {
            let connection = node.pool.acquire().await?;
            let age = AGE.try_with(Cell::get).ok().flatten();
            Ok::<_, sqlx::Error>((connection, age))
        }));
        let outcome = acquire.await;
        let now = clock::now();
        // What it takes to open a connection says nothing of how fast the node answers.
        if !matches!(outcome, Ok((_, None))) {
            node.load.observe(now, now.since(asked));
        }
        let (connection, age) = outcome?;
        // The pool took the age before now: the connection was there at least this long ago.
        let connected_by = age.map_or(now, |age| now.before(age));
        Ok(Self {
            connection,
            connected_by,
            in_flight,
        })
    }

    /// Since when this is known to be one and the same connection.
    pub(crate) const fn connected_by(&self) -> Instant {
        self.connected_by
    }

    /// Cuts the connection instead of giving it back: to take leave of a server that says nothing
    /// would wait for it, and hold its place in the pool.
    pub(crate) fn discard(self) {
        drop(self.connection.detach());
    }

    /// Gives up the loan's parts: whoever takes them keeps the place in flight as long as the
    /// connection.
    pub(crate) fn into_parts(self) -> (PoolConnection<DB>, InFlight) {
        (self.connection, self.in_flight)
    }
}

impl<DB: Backend> Deref for Lease<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Backend> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

/// Makes a pool tell each lease how old its connection is, and ping only connections that were idle
/// for so long that something between may have dropped them.
pub(crate) fn attentive<DB: Backend>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    options
        .test_before_acquire(false)
        .before_acquire(|connection, metadata| {
            Box::pin(async move {
                note_age(metadata.age);
                if is_stale(&metadata) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// Makes a pool tell each lease how old its connection is, and leaves its tests as they are.
pub(crate) fn telling_age<DB: Backend>(options: PoolOptions<DB>) -> PoolOptions<DB> {
    options.before_acquire(|_, metadata| {
        Box::pin(async move {
            note_age(metadata.age);
            Ok(true)
        })
    })
}

/// Outside a lease nobody asks for the age, and there is nowhere to put it.
fn note_age(age: Duration) {
    if AGE.try_with(|cell| cell.set(Some(age))).is_err() {
        tracing::trace!("a connection was taken from the pool without a lease");
    }
}

fn is_stale(metadata: &PoolConnectionMetadata) -> bool {
    metadata.idle_for > Duration::from_secs(1)
}

tokio::task_local! {
    /// The age of the connection that the pool is about to hand to the lease being taken; none where
    /// the pool opens a new one.
    static AGE: Cell<Option<Duration>>;
}

/// A connection that belongs to nobody yet, with the node it came from.
#[derive(Debug)]
pub(crate) struct Leased<DB: Backend> {
    pub(crate) node: Arc<Node<DB>>,
    pub(crate) lease: Lease<DB>,
}
