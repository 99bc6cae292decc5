//! The right to use one connection of a node, for a while.
//!
//! Nothing but this module and [`node`](crate::node) touches a pool, so that what a lease costs can
//! change without anybody noticing. A lease knows since when its connection is known to be the same
//! one: a connection that was opened after its node was last observed may talk to a server that has
//! crashed and gone back since, and has to be judged by what it shows itself.
//!
//! A connection that is given back is kept at hand ([`warm`](crate::warm)) only if all that was sent on it
//! was answered, nothing on it has failed, and nobody may have set something on it that the next one
//! would find. Whose [turn](crate::turn) has come finds a connection here or there.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, Role};
use sqlx::Connection as _;
use sqlx::pool::{PoolConnection, PoolConnectionMetadata, PoolOptions};

use crate::backend::Backend;
use crate::clock;
use crate::node::{Node, Used};
use crate::tenure::Tenure;
use crate::turn::{Loan, Turn};
use crate::warm::Kept;

/// A connection of a node, on loan. It is given back when this is dropped, and then its place is free for
/// the next.
#[derive(Debug)]
pub(crate) struct Lease<DB: Backend> {
    /// None only once it was taken out.
    kept: Option<Kept<PoolConnection<DB>>>,
    /// Whether it is known where the connection leads. If not, it is not given back: the next one to
    /// borrow it would take its age for a proof.
    vouched: bool,
    used: Used,
    loan: Loan<DB>,
}

/// What was found for a place.
struct Found<DB: Backend> {
    kept: Kept<PoolConnection<DB>>,
    /// Whether it was borrowed before, so that it is known where it leads. If not, it was opened for this.
    known: bool,
}

impl<DB: Backend> Lease<DB> {
    /// A connection that is at hand, was there at an instant, and needs no test: nobody is asked, and
    /// nothing waited for.
    pub(crate) fn at_hand(node: &Arc<Node<DB>>, now: Instant, there_at: Instant) -> Option<Self> {
        let loan = Loan::at_once(node)?;
        let kept = node.fresh(now, there_at)?;
        Some(Self::new(loan, now, Found::again(kept)))
    }

    /// The same in a turn that has come. Where there is none, the turn is left as it is.
    pub(crate) fn at_hand_in_turn(
        turn: &mut Turn<DB>,
        now: Instant,
        there_at: Instant,
    ) -> Option<Self> {
        let kept = turn
            .has_come()
            .then(|| turn.node().fresh(now, there_at))??;
        let loan = turn.take()?;
        let waited = now.since(turn.asked_at());
        loan.node().load.observe(now, waited);
        Some(Self::new(loan, now, Found::again(kept)))
    }

    /// Borrows a connection. Waits for its turn and for the pool at most as long as the pool's own
    /// settings say.
    pub(crate) async fn acquire(node: &Arc<Node<DB>>) -> Result<Self, sqlx::Error> {
        let asked = clock::now();
        if let Some(lease) = Self::at_hand(node, asked, asked) {
            return Ok(lease);
        }
        Self::in_turn(Turn::ask(node, asked)).await
    }

    /// The same in a turn that was asked for.
    pub(crate) async fn in_turn(turn: Turn<DB>) -> Result<Self, sqlx::Error> {
        // Boxed: the pool's future is large, and callers hold several of ours in theirs.
        Box::pin(Self::take_turn(turn)).await
    }

    async fn take_turn(mut turn: Turn<DB>) -> Result<Self, sqlx::Error> {
        let node = Arc::clone(turn.node());
        let limit = node.pool.options().get_acquire_timeout();
        let borrows = async {
            turn.comes().await?;
            match take(&node).await {
                Some(kept) => Ok(Found::again(kept)),
                None => wait_for_pool(&node).await,
            }
        };
        let found = tokio::time::timeout(limit, borrows).await;
        let found = found.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let (loan, now) = (turn.take(), clock::now());
        // What it takes to open a connection says nothing of how fast the node answers.
        if found.as_ref().map_or(true, |found| found.known) {
            node.load.observe(now, now.since(turn.asked_at()));
        }
        let (found, loan) = (found?, loan.ok_or(sqlx::Error::PoolTimedOut)?);
        Ok(Self::new(loan, now, found))
    }

    fn new(loan: Loan<DB>, now: Instant, found: Found<DB>) -> Self {
        loan.node().load.grant(now);
        Self {
            kept: Some(found.kept),
            // Only those that were vouched for are given back.
            vouched: found.known,
            used: Used::ByHolder,
            loan,
        }
    }

    /// Where it leads.
    pub(crate) const fn node(&self) -> &Arc<Node<DB>> {
        self.loan.node()
    }

    /// Since when this is known to be one and the same connection.
    pub(crate) fn connected_by(&self) -> Instant {
        let kept = self.kept.as_ref();
        kept.map_or(Instant::NEVER, |kept| kept.connected_by)
    }

    /// The connection was asked, and leads where it should.
    pub(crate) const fn vouch(&mut self) {
        self.vouched = true;
    }

    /// Nothing is done on it but one statement that is known to be a read.
    pub(crate) const fn for_read(&mut self) {
        self.used = Used::ByRead;
    }

    /// The server has just answered.
    pub(crate) fn answered(&mut self) {
        if let Some(kept) = &mut self.kept {
            self.loan.node().heard(kept);
        }
    }

    /// Something on it has failed: its pool has to test it.
    pub(crate) const fn doubt(&mut self) {
        self.used = Used::InVain;
    }

    /// Cuts the connection instead of giving it back: to take leave of a server that says nothing
    /// would wait for it, and hold its place in the pool.
    pub(crate) fn discard(mut self) {
        self.cut();
    }

    fn cut(&mut self) {
        if let Some(kept) = self.kept.take() {
            drop(kept.connection.detach());
        }
    }

    /// Takes the connection out. Whoever takes it keeps what is left of the lease, its place, for as long.
    #[expect(clippy::expect_used, reason = "it is taken here and by what drops it")]
    pub(crate) fn take_out(mut self) -> (PoolConnection<DB>, Self) {
        let kept = self.kept.take().expect("a lease has its connection");
        (kept.connection, self)
    }
}

impl<DB: Backend> Found<DB> {
    /// One that was at hand.
    const fn again(kept: Kept<PoolConnection<DB>>) -> Self {
        Self { kept, known: true }
    }
}

/// A connection of the pool, or one that comes to hand meanwhile.
async fn wait_for_pool<DB: Backend>(node: &Node<DB>) -> Result<Found<DB>, sqlx::Error> {
    let mut from_pool = pin!(take_from_pool(node));
    // Who has a place is soon served by the pool, unless others hold its connections who have none. What
    // is being opened meanwhile is waited for.
    loop {
        if let Ok(borrowed) = tokio::time::timeout(SOON, &mut from_pool).await {
            return borrowed;
        }
        if node.pool.size() >= node.pool.options().get_max_connections() {
            break;
        }
    }
    // Said before the last look: from now on, nothing is kept from this one.
    let _waiting = node.warm.wait();
    match take(node).await {
        Some(kept) => Ok(Found::again(kept)),
        None => from_pool.await,
    }
}

/// A connection that is at hand, if one may be used.
async fn take<DB: Backend>(node: &Node<DB>) -> Option<Kept<PoolConnection<DB>>> {
    while let Some(kept) = node.warm.take() {
        if let Some(kept) = node.tested(kept).await {
            return Some(kept);
        }
    }
    None
}

async fn take_from_pool<DB: Backend>(node: &Node<DB>) -> Result<Found<DB>, sqlx::Error> {
    let acquire = AGE.scope(Cell::new(None), async {
        let connection = node.pool.acquire().await?;
        let age = AGE.try_with(Cell::get).ok().flatten();
        Ok::<_, sqlx::Error>((connection, age))
    });
    let (connection, age) = acquire.await?;
    let now = clock::now();
    let kept = Kept {
        connection,
        left: now,
        // The pool took the age before now: the connection was there at least this long ago.
        connected_by: age.map_or(now, |age| now.before(age)),
        heard: now,
    };
    Ok(Found {
        kept,
        known: age.is_some(),
    })
}

impl<DB: Backend> Drop for Lease<DB> {
    fn drop(&mut self) {
        if !self.vouched {
            self.cut();
        }
        if let Some(kept) = self.kept.take() {
            self.node().give_back(kept, self.used);
        }
    }
}

impl<DB: Backend> Deref for Lease<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "it is taken by what ends the lease")]
    fn deref(&self) -> &DB::Connection {
        let kept = self.kept.as_ref();
        &kept.expect("a lease has its connection").connection
    }
}

impl<DB: Backend> DerefMut for Lease<DB> {
    #[expect(clippy::expect_used, reason = "it is taken by what ends the lease")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        let kept = self.kept.as_mut();
        &mut kept.expect("a lease has its connection").connection
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
                if is_replica && is_stale(&metadata) {
                    connection.ping().await?;
                }
                // Last of all: in the place of one that fails here, the pool opens another.
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

/// How long a pool takes to give back what one of ours has just returned to it.
const SOON: Duration = Duration::from_millis(10);

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
