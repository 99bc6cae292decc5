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

use lagwise_core::{Instant, Role};
use sqlx::Connection as _;
use sqlx::pool::{PoolConnection, PoolConnectionMetadata, PoolOptions};

use crate::backend::Backend;
use crate::clock;
use crate::load::{InFlight, Load};
use crate::node::Node;
use crate::tenure::Tenure;

/// A connection of a node, on loan.
#[derive(Debug)]
pub(crate) struct Lease<DB: Backend> {
    /// None only while it is being dropped.
    connection: Option<PoolConnection<DB>>,
    /// Since when this is known to be one and the same connection.
    connected_by: Instant,
    /// Whether it is known where the connection leads. If not, it is not given back: the next one to
    /// borrow it would take its age for a proof.
    vouched: bool,
    in_flight: InFlight,
    tenure: Arc<Tenure>,
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
        let unanswered = Unanswered {
            load: Some(&node.load),
            asked,
        };
        let outcome = acquire.await;
        unanswered.answered();
        let now = clock::now();
        // What it takes to open a connection says nothing of how fast the node answers.
        if !matches!(outcome, Ok((_, None))) {
            node.load.observe(now, now.since(asked));
        }
        let (connection, age) = outcome?;
        node.load.grant(now);
        // The pool took the age before now: the connection was there at least this long ago.
        let connected_by = age.map_or(now, |age| now.before(age));
        Ok(Self {
            connection: Some(connection),
            connected_by,
            // Only those that were vouched for are given back.
            vouched: age.is_some(),
            in_flight,
            tenure: Arc::clone(&node.tenure),
        })
    }

    /// Since when this is known to be one and the same connection.
    pub(crate) const fn connected_by(&self) -> Instant {
        self.connected_by
    }

    /// The connection was asked, and leads where it should.
    pub(crate) const fn vouch(&mut self) {
        self.vouched = true;
    }

    /// Cuts the connection instead of giving it back: to take leave of a server that says nothing
    /// would wait for it, and hold its place in the pool.
    pub(crate) fn discard(mut self) {
        self.cut();
    }

    fn cut(&mut self) {
        drop(self.connection.take().map(PoolConnection::detach));
    }

    /// Gives up the loan's parts: whoever takes them keeps the place in flight as long as the
    /// connection.
    #[expect(clippy::expect_used, reason = "it is taken here and by what drops it")]
    pub(crate) fn into_parts(mut self) -> (PoolConnection<DB>, InFlight, Arc<Tenure>) {
        let connection = self.connection.take().expect("a lease has its connection");
        (connection, self.in_flight.again(), Arc::clone(&self.tenure))
    }
}

impl<DB: Backend> Drop for Lease<DB> {
    fn drop(&mut self) {
        if !self.vouched {
            self.cut();
        }
    }
}

impl<DB: Backend> Deref for Lease<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "it is taken by what drops the lease")]
    fn deref(&self) -> &DB::Connection {
        self.connection
            .as_ref()
            .expect("a lease has its connection")
    }
}

impl<DB: Backend> DerefMut for Lease<DB> {
    #[expect(clippy::expect_used, reason = "it is taken by what drops the lease")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection
            .as_mut()
            .expect("a lease has its connection")
    }
}

/// A connection that was asked for and is not there. Whoever gives it up has learned how slow the node
/// is at least; else one that hangs would look like the fastest of all.
struct Unanswered<'a> {
    load: Option<&'a Load>,
    asked: Instant,
}

impl Unanswered<'_> {
    fn answered(mut self) {
        self.load = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(load) = self.load {
            let now = clock::now();
            load.outlasted(now, now.since(self.asked));
        }
    }
}

/// Makes a pool tell each lease how old its connection is, hand out none that was opened under another
/// server, and open none that nobody asked for: it would get old before anybody knows where it leads.
/// Of a replica's, only connections are pinged that were idle for so long that something between may have
/// dropped them; a primary's are tested as they are set to be.
pub(crate) fn attentive<DB: Backend>(
    options: PoolOptions<DB>,
    role: Role,
    tenure: &Arc<Tenure>,
) -> PoolOptions<DB> {
    let tenure = Arc::clone(tenure);
    let is_replica = role == Role::Replica;
    let options = if is_replica {
        options.test_before_acquire(false)
    } else {
        options
    };
    options
        .min_connections(0)
        .before_acquire(move |connection, metadata| {
            let is_covered = tenure.covers(clock::now().before(metadata.age));
            Box::pin(async move {
                if !is_covered {
                    return Ok(false);
                }
                note_age(metadata.age);
                if is_replica && is_stale(&metadata) {
                    connection.ping().await?;
                }
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
