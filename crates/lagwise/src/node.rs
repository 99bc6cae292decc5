//! One node as the router holds it: its pool, what is kept at hand beside it, its load, its name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lagwise_core::{Instant, NodeId, NodeSpec};
use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Pool};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use crate::backend::Backend;
use crate::backend::sealed::ConnectOptions;
use crate::clock;
use crate::lease::Lease;
use crate::load::Load;
use crate::observe;
use crate::route::Route;
use crate::tally::Tally;
use crate::tenure::Tenure;
use crate::warm::{Kept, TERM, Warm};

/// A node and the way to it.
#[derive(Debug)]
pub(crate) struct Node<DB: Backend> {
    pub(crate) id: NodeId,
    pub(crate) spec: NodeSpec,
    pub(crate) load: Arc<Load>,
    pub(crate) pool: Pool<DB>,
    /// Whether the pool is ours to close.
    pub(crate) owned: bool,
    /// The text that the application gave as its address, where it gave one.
    pub(crate) address: Address,
    /// Which server is known to answer here.
    pub(crate) tenure: Arc<Tenure>,
    /// Whether a connection is being opened that nobody waits for.
    pub(crate) opening: AtomicBool,
    /// Whether connections were opened for its share of the reads since it last had none.
    pub(crate) is_ready: AtomicBool,
    /// How often it was chosen.
    pub(crate) tally: Tally,
    /// The connections that are at hand.
    pub(crate) warm: Warm<PoolConnection<DB>>,
    /// One for each connection that the pool may have: leases have their turns here.
    pub(crate) places: Arc<Semaphore>,
    keeps: Keeps,
    /// Whether its pool tests connections before it hands them out.
    is_tested: bool,
    /// Told when a connection was put at hand where there was none.
    stirred: Notify,
    /// A pool gives connections back by tasks, also where its last holder is no task.
    runtime: Option<Handle>,
}

/// After what use a node's connections are kept at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nothing,
    /// After one that sets nothing on the connection: nobody misses what the pool would do on its
    /// return.
    AfterReads,
    AfterAll,
}

/// How a connection was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// By one statement that is known to be a read.
    ByRead,
    /// By somebody who may have done anything.
    ByHolder,
    /// Something on it has failed.
    InVain,
}

impl Keeps {
    fn after(self, used: Used) -> bool {
        match used {
            Used::ByRead => self != Self::Nothing,
            Used::ByHolder => self == Self::AfterAll,
            Used::InVain => false,
        }
    }
}

/// The parts of a node that are the application's choice.
pub(crate) struct Way<DB: Backend> {
    pub(crate) pool: Pool<DB>,
    pub(crate) owned: bool,
    pub(crate) address: Address,
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) keeps: Keeps,
}

/// The text of a URL, to tell it from another. It may hold a password, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Option<String>);

impl Address {
    pub(crate) const fn new(url: Option<String>) -> Self {
        Self(url)
    }

    /// Whether both are known and the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.is_some() && self == other
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

impl<DB: Backend> Node<DB> {
    pub(crate) fn new(id: NodeId, spec: NodeSpec, way: Way<DB>) -> Self {
        let is_tested = way.pool.options().get_test_before_acquire();
        let most = way.pool.options().get_max_connections();
        let places = usize::try_from(most).unwrap_or(usize::MAX);
        Self {
            id,
            spec,
            load: Arc::new(Load::new(clock::now())),
            pool: way.pool,
            owned: way.owned,
            address: way.address,
            tenure: way.tenure,
            opening: AtomicBool::default(),
            is_ready: AtomicBool::default(),
            tally: Tally::default(),
            warm: Warm::new(),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            keeps: way.keeps,
            is_tested,
            stirred: Notify::new(),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Accounts for a route that leads here.
    pub(crate) fn chosen(&self, route: &Route) {
        self.tally.count(route.reason);
        observe::routed(route);
    }

    /// A connection at hand that may be used as it is, and was there at an instant.
    pub(crate) fn fresh(
        &self,
        now: Instant,
        there_at: Instant,
    ) -> Option<Kept<PoolConnection<DB>>> {
        self.warm.take_if(|kept| self.is_fresh(kept, now, there_at))
    }

    fn is_fresh<T>(&self, kept: &Kept<T>, now: Instant, there_at: Instant) -> bool {
        kept.connected_by <= there_at
            && !kept.is_over(now)
            && self.tenure.covers(kept.connected_by)
            && !self.is_cold(kept, now)
    }

    /// A connection that was at hand, if it may be used: one that has been silent for a while is
    /// tested, where the pool tests its own.
    pub(crate) async fn tested(
        &self,
        mut kept: Kept<PoolConnection<DB>>,
    ) -> Option<Kept<PoolConnection<DB>>> {
        let now = clock::now();
        if !self.tenure.covers(kept.connected_by) {
            drop(kept.connection.detach());
            return None;
        }
        if kept.is_over(now) {
            return None;
        }
        if self.is_cold(&kept, now) && kept.connection.ping().await.is_err() {
            drop(kept.connection.detach());
            return None;
        }
        Some(kept)
    }

    /// Whether a connection has to be tested before it is used. What is lost by one that has gone
    /// since it was last heard of is a write that nobody may send again.
    fn is_cold<T>(&self, kept: &Kept<T>, now: Instant) -> bool {
        self.is_tested && now.since(kept.heard) > FRESH
    }

    /// The server has just said something on a connection.
    pub(crate) fn heard(&self, kept: &mut Kept<PoolConnection<DB>>) {
        if self.is_tested {
            kept.heard = clock::now();
        }
    }

    /// Takes a connection back.
    pub(crate) fn give_back(&self, mut kept: Kept<PoolConnection<DB>>, used: Used) {
        let stays = self.keeps.after(used) && DB::is_at_rest(&mut kept.connection);
        let left = if stays {
            self.warm.put(kept)
        } else {
            Some(kept)
        };
        match left {
            Some(kept) => self.give_to_pool([kept]),
            None => self.stirred.notify_one(),
        }
    }

    /// Lets the pool have what is out of it, whatever thread this is on.
    fn give_to_pool(&self, kept: impl IntoIterator<Item = Kept<PoolConnection<DB>>>) {
        let _entered = self.runtime.as_ref().map(Handle::enter);
        kept.into_iter().for_each(drop);
    }

    /// Gives all connections that are at hand back to the pool, which tests them: one has failed as if
    /// the node had gone.
    pub(crate) fn cool(&self) {
        self.give_to_pool(self.warm.clear());
    }

    /// Sees to it that no connection stays out of its pool, until the node is closed. Where nobody
    /// does so any longer, nothing is kept.
    pub(crate) fn keep_terms(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        // Made before the future is first polled, which it may never be.
        let terms = Terms(self);
        async move { terms.0.return_overdue().await }
    }

    async fn return_overdue(&self) {
        while !self.warm.is_closed() {
            self.stirred.notified().await;
            // First of all: whatever is at hand is taken and put back all the time, and to be woken each
            // time would cost more than what is saved.
            tokio::time::sleep(TERM / 2).await;
            drop(self.warm.overdue(clock::now()));
            if self.warm.len() > 0 {
                self.stirred.notify_one();
            }
        }
    }

    /// How many connections nobody uses.
    pub(crate) fn idle(&self) -> u32 {
        u32::try_from(self.pool.num_idle() + self.warm.len()).unwrap_or(u32::MAX)
    }

    /// Whether a read may have a connection here soon: one is idle or can be opened, or those there are
    /// have come round of late.
    pub(crate) fn has_room(&self, now: Instant, of_late: Duration) -> bool {
        let most = self.pool.options().get_max_connections();
        self.idle() > 0 || self.pool.size() < most || self.load.grants(now, of_late)
    }

    /// Borrows a connection.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease<DB>, sqlx::Error> {
        Lease::acquire(self).await
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// How many of its connections somebody holds. Of a pool that is not ours, those borrowed here.
    pub(crate) fn on_loan(&self) -> u32 {
        let out = if self.owned && !self.pool.is_closed() {
            self.pool.size().saturating_sub(self.idle())
        } else {
            0
        };
        out.max(self.load.in_flight())
    }

    /// Closes the pool, if it is ours. Connections on loan are waited for until `deadline`; whatever
    /// is given back later is closed then.
    pub(crate) async fn close(&self, deadline: Instant) {
        drop(self.warm.close());
        self.stirred.notify_one();
        if !self.owned {
            return;
        }
        // The pool itself closes idle connections only once none is on loan.
        let sweeps = async {
            while let Some(idle) = self.pool.try_acquire() {
                idle.close().await.ok();
            }
        };
        tokio::time::timeout(clock::until(deadline), sweeps)
            .await
            .ok();
        // Even where no time is left, this lets nobody borrow any longer.
        let closes = self.pool.close();
        tokio::time::timeout(clock::until(deadline), closes)
            .await
            .ok();
    }

    /// How the monitor connects.
    pub(crate) fn monitor_options(&self, timeout: Duration) -> ConnectOptions<DB> {
        DB::monitor_options(&self.pool.connect_options(), timeout)
    }
}

/// That somebody sees to it that no connection stays out of its pool.
struct Terms<DB: Backend>(Arc<Node<DB>>);

impl<DB: Backend> Drop for Terms<DB> {
    fn drop(&mut self) {
        self.0.give_to_pool(self.0.warm.close());
    }
}

impl<DB: Backend> Drop for Node<DB> {
    fn drop(&mut self) {
        self.give_to_pool(self.warm.close());
    }
}

/// A connection on which the server has just answered need not be asked whether it is there.
const FRESH: Duration = Duration::from_millis(10);

#[cfg(test)]
#[cfg(feature = "postgres")]
pub(crate) mod tests {
    use lagwise_core::Role;
    use sqlx::Postgres;
    use sqlx::postgres::PgPoolOptions;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A node with so many places that nobody can connect to.
    pub(crate) fn node(options: PgPoolOptions) -> Arc<Node<Postgres>> {
        let pool = options.connect_lazy("postgres://nobody@localhost/x");
        let way = Way {
            pool: pool.unwrap(),
            owned: true,
            address: Address::new(None),
            tenure: Arc::default(),
            keeps: Keeps::AfterAll,
        };
        let spec = NodeSpec::new("r", Role::Replica);
        Arc::new(Node::new(NodeId::new(0), spec, way))
    }

    /// A connection that was opened, left its pool and was heard of, so many milliseconds after a start.
    fn kept(connected_by: u64, left: u64, heard: u64) -> Kept<()> {
        let at = |millis: u64| start().after(MS * u32::try_from(millis).unwrap());
        Kept {
            connection: (),
            left: at(left),
            connected_by: at(connected_by),
            heard: at(heard),
        }
    }

    fn start() -> Instant {
        Instant::from_nanos(1 << 40)
    }

    #[tokio::test]
    async fn a_connection_is_used_untested_only_if_all_that_is_asked_of_it_is_so() {
        let node = node(PgPoolOptions::new());
        let (now, there_at) = (start().after(MS * 1000), start().after(MS * 500));
        assert!(node.is_fresh(&kept(500, 800, 995), now, there_at));
        for (unfit, why) in [
            (
                kept(501, 800, 995),
                "it was opened after its node was observed",
            ),
            (
                kept(500, 750, 995),
                "it has been out of its pool for too long",
            ),
            (kept(500, 800, 989), "nothing has been heard on it of late"),
        ] {
            assert!(!node.is_fresh(&unfit, now, there_at), "{why}");
        }
        node.tenure.renew(start().after(MS * 501));
        let before = kept(500, 800, 995);
        assert!(!node.is_fresh(&before, now, there_at), "of another server");
    }

    #[tokio::test]
    async fn where_a_pool_does_not_test_silence_says_nothing() {
        let node = node(PgPoolOptions::new().test_before_acquire(false));
        let (now, there_at) = (start().after(MS * 1000), start().after(MS * 500));
        assert!(node.is_fresh(&kept(500, 800, 800), now, there_at));
    }

    #[test]
    fn what_has_failed_is_never_kept_and_what_may_be_set_only_where_nobody_minds() {
        let kept = |keeps: Keeps| {
            [Used::ByRead, Used::ByHolder, Used::InVain].map(|used| keeps.after(used))
        };
        assert_eq!(kept(Keeps::AfterAll), [true, true, false]);
        assert_eq!(kept(Keeps::AfterReads), [true, false, false]);
        assert_eq!(kept(Keeps::Nothing), [false; 3]);
    }
}
