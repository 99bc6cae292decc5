//! A turn at the connections of a node.
//!
//! There are as many places as a pool has connections, and they are given in the order in which they
//! were asked for. Whoever waits for one keeps its turn wherever it waits: for a moment where a read is
//! routed at once, and for longer where a way is searched for it. Which connection goes with a place is
//! the business of [`lease`](crate::lease).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use lagwise_core::Instant;
use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use crate::backend::Backend;
use crate::clock;
use crate::node::Node;

/// A turn that was asked for.
pub(crate) struct Turn<DB: Backend> {
    asked: Asked<DB>,
    place: Place,
}

/// A place that somebody has; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Loan<DB: Backend>(Arc<Node<DB>>);

enum Place {
    Awaited(
        Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>,
    ),
    Given(OwnedSemaphorePermit),
    Taken,
}

/// A connection that was asked for and is not there. Whoever gives it up has learned how slow the node
/// is at least; else one that hangs would look like the fastest of all.
struct Asked<DB: Backend> {
    node: Arc<Node<DB>>,
    at: Instant,
    is_over: bool,
}

impl<DB: Backend> Turn<DB> {
    pub(crate) fn ask(node: &Arc<Node<DB>>, now: Instant) -> Self {
        let place = Arc::clone(&node.places).acquire_owned();
        Self::asked(node, now, Place::Awaited(Box::pin(place)))
    }

    /// One that has come, where a place is free and nobody waits for it.
    pub(crate) fn at_once(node: &Arc<Node<DB>>, now: Instant) -> Option<Self> {
        let place = Arc::clone(&node.places).try_acquire_owned().ok()?;
        Some(Self::asked(node, now, Place::Given(place)))
    }

    fn asked(node: &Arc<Node<DB>>, now: Instant, place: Place) -> Self {
        node.load.enter();
        Self {
            asked: Asked {
                node: Arc::clone(node),
                at: now,
                is_over: false,
            },
            place,
        }
    }

    pub(crate) const fn node(&self) -> &Arc<Node<DB>> {
        &self.asked.node
    }

    pub(crate) const fn asked_at(&self) -> Instant {
        self.asked.at
    }

    /// Waits until it comes. A dropped call leaves it where it is.
    ///
    /// # Errors
    /// There are no places any longer.
    pub(crate) async fn comes(&mut self) -> Result<(), sqlx::Error> {
        if let Place::Awaited(place) = &mut self.place {
            let place = place.await.map_err(|_closed| sqlx::Error::PoolClosed)?;
            self.place = Place::Given(place);
        }
        Ok(())
    }

    /// Whether it has come and was not taken.
    pub(crate) const fn has_come(&self) -> bool {
        matches!(self.place, Place::Given(_))
    }

    /// Takes it, if it has come. From here on nobody waits.
    pub(crate) fn take(&mut self) -> Option<Loan<DB>> {
        self.asked.is_over = true;
        match std::mem::replace(&mut self.place, Place::Taken) {
            Place::Given(place) => {
                place.forget();
                Some(Loan::begin(self.node()))
            }
            Place::Awaited(_) | Place::Taken => None,
        }
    }
}

impl<DB: Backend> Loan<DB> {
    /// A place that is free, if there is one.
    pub(crate) fn at_once(node: &Arc<Node<DB>>) -> Option<Self> {
        node.places.try_acquire().ok()?.forget();
        Some(Self::begin(node))
    }

    /// Its place was taken from those that are free.
    fn begin(node: &Arc<Node<DB>>) -> Self {
        node.load.enter();
        Self(Arc::clone(node))
    }

    /// Where it is.
    pub(crate) const fn node(&self) -> &Arc<Node<DB>> {
        &self.0
    }
}

impl<DB: Backend> Drop for Loan<DB> {
    fn drop(&mut self) {
        self.0.load.leave();
        self.0.places.add_permits(1);
    }
}

impl<DB: Backend> fmt::Debug for Turn<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn")
            .field("node", self.node().name())
            .finish_non_exhaustive()
    }
}

impl<DB: Backend> Drop for Asked<DB> {
    fn drop(&mut self) {
        self.node.load.leave();
        if !self.is_over {
            let now = clock::now();
            self.node.load.outlasted(now, now.since(self.at));
        }
    }
}

#[cfg(test)]
#[cfg(feature = "postgres")]
mod tests {
    use std::time::Duration;

    use sqlx::Postgres;
    use sqlx::postgres::PgPoolOptions;
    use tokio::time::timeout;

    use super::*;
    use crate::node::tests::node;

    /// A node that one at a time has a connection of.
    fn narrow() -> Arc<Node<Postgres>> {
        node(PgPoolOptions::new().max_connections(1))
    }

    fn ask(node: &Arc<Node<Postgres>>) -> Turn<Postgres> {
        Turn::ask(node, clock::now())
    }

    /// Whether a turn is there without anybody else doing anything.
    async fn is_there(turn: &mut Turn<Postgres>) -> bool {
        let comes = timeout(Duration::ZERO, turn.comes()).await;
        comes.is_ok_and(|comes| comes.is_ok())
    }

    #[tokio::test]
    async fn a_turn_keeps_its_place_however_often_it_is_waited_for() {
        let node = narrow();
        let (mut first, mut second, mut third) = (ask(&node), ask(&node), ask(&node));
        assert!(is_there(&mut first).await);
        for _ in 0..3 {
            assert!(!is_there(&mut second).await && !is_there(&mut third).await);
        }
        drop(first.take());
        assert!(!is_there(&mut third).await, "it is not its turn");
        assert!(is_there(&mut second).await);
        drop(second);
        assert!(
            is_there(&mut third).await,
            "a place that nobody takes is free"
        );
    }

    #[tokio::test]
    async fn a_loan_has_its_place_until_it_ends() {
        let node = narrow();
        let (mut first, mut second) = (ask(&node), ask(&node));
        assert!(is_there(&mut first).await && first.has_come());
        let loan = first.take();
        assert!(loan.is_some() && first.take().is_none(), "there is one");
        drop(first);
        assert!(!is_there(&mut second).await);
        assert_eq!(node.load.in_flight(), 2);
        drop(loan);
        assert!(is_there(&mut second).await);
        assert_eq!(node.load.in_flight(), 1);
    }

    #[tokio::test]
    async fn a_turn_that_is_only_wanted_at_once_waits_behind_nobody_and_goes_before_nobody() {
        let node = narrow();
        let at_once = || Turn::at_once(&node, clock::now());
        let first = at_once();
        assert!(first.as_ref().is_some_and(Turn::has_come));
        assert!(at_once().is_none());
        let mut second = ask(&node);
        assert!(!is_there(&mut second).await);
        drop(first);
        assert!(at_once().is_none(), "it is the turn of who has waited");
        assert!(is_there(&mut second).await);
    }

    #[tokio::test]
    async fn who_gives_up_a_turn_has_learned_how_long_it_takes_at_least() {
        let node = narrow();
        let now = clock::now();
        let unasked = node.load.cost(now);
        let waits = Turn::ask(&node, now.before(Duration::from_secs(9)));
        drop(waits);
        assert!(node.load.cost(clock::now()) > 1000 * unasked);
        let after = node.load.cost(now);
        let mut comes = ask(&node);
        assert!(is_there(&mut comes).await);
        drop(comes.take());
        drop(comes);
        assert!(node.load.cost(now) <= after, "it came");
    }
}
